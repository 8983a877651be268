#include "gate/auth.h"

static struct str bearer_of(struct str header)
{
    if (!str_starts_nocase(header, STR("bearer ")))
        return STR_NONE;
    return str_trim(str_skip(header, 7));
}

struct str auth_in_header(const struct http_req *r, const char *native)
{
    struct str v = STR_NONE;
    if (native && strcmp(native, "authorization") != 0)
        v = str_trim(http_req_header(r, native));
    if (v.n)
        return v;
    v = bearer_of(http_req_header(r, "authorization"));
    if (v.n)
        return v;
    v = str_trim(http_req_header(r, "x-api-key"));
    if (v.n)
        return v;
    return str_trim(http_req_header(r, "x-goog-api-key"));
}

struct str auth_presented(struct arena *a, const struct http_req *r, const char *native)
{
    struct str v = auth_in_header(r, native);
    if (v.n)
        return v;
    return r->query.n ? query_get(a, r->query, "key") : STR_NONE;
}

bool auth_is_live(const struct key *k, int64_t now_ms, struct err *e)
{
    if (!k->is_enabled)
        return err_set(e, ERR_FORBIDDEN, "key_disabled", "This API key is disabled");
    if (k->expires_ms != 0 && now_ms >= k->expires_ms)
        return err_set(e, ERR_FORBIDDEN, "key_expired", "This API key has expired");
    if (k->user && !k->user->is_enabled)
        return err_set(e, ERR_FORBIDDEN, "user_disabled",
                       "The user that this API key belongs to is disabled");
    if ((k->org && !k->org->is_enabled) || (k->user && k->user->org && !k->user->org->is_enabled))
        return err_set(e, ERR_FORBIDDEN, "org_disabled",
                       "The organisation that this API key belongs to is disabled");
    if (k->opening && !opening_is_open(k->opening, now_ms))
        return err_set(e, ERR_FORBIDDEN, "outside_schedule",
                       "This API key opens nothing at this time: it has a schedule");
    return true;
}

bool auth_admit(const struct snapshot *s, const struct http_req *r, const char *native,
                uint32_t scope, int64_t now_ms, struct pass *out, struct err *e)
{
    struct str presented = auth_presented(r->arena, r, native);
    bool is_open = s->settings.allow_anonymous && !(scope & SCOPE_ADMIN);
    *out = (struct pass){NULL};
    if (s->n_keys == 0 && !is_open && !(scope & SCOPE_ADMIN) && !snapshot_key(s, presented))
        return err_set(e, ERR_FORBIDDEN, "no_api_keys",
                       "No API keys configured. Generate one in the admin panel.");
    if (presented.n == 0) {
        /* Anonymous callers get inference and listings, never administration, and only where it was switched on. */
        if (is_open)
            return true;
        return err_set(
            e, ERR_UNAUTHENTICATED, "invalid_api_key",
            "Invalid or missing API key. Send it as 'Authorization: Bearer <key>', 'x-api-key' or "
            "'x-goog-api-key'.");
    }
    const struct key *k = snapshot_key(s, presented);
    if (!k)
        return err_set(e, ERR_UNAUTHENTICATED, "invalid_api_key", "Invalid or missing API key");
    if (!auth_is_live(k, now_ms, e))
        return false;
    if ((k->scopes & scope) != scope)
        return err_set(e, ERR_FORBIDDEN, "insufficient_scope",
                       "This API key lacks the scope for this endpoint");
    out->key = k;
    return true;
}
