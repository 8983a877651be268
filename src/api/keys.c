/* keys.c - /sluice/v1/keys: client keys. A key's text is shown once, when it is made. */
#include "api/change.h"
#include "base/clock.h"
#include "domain/written.h"

struct key_in {
    struct str label, expires_at;
    struct strs scopes, allowed_models;
    bool enabled;
    struct key_policy policy;
};
struct key_out {
    struct str id, label, key;
    struct strs scopes, allowed_models;
    bool enabled;
    struct str expires_at, created_at, origin;
    struct key_policy policy;
};

/* In the order of enum key_field. */
#define KEY_FIELDS(type)                                                               \
    FIELD(struct type, label, 0, "Name for people"),                                   \
        FIELD(struct type, scopes, 0,                                                  \
              "inference, models, admin; when absent inference and models"),           \
        FIELD(struct type, allowed_models, 0,                                          \
              "Names it may use, * stands for any run of characters; empty: all"),     \
        FIELD(struct type, enabled, 0, "Whether it opens anything; true when absent"), \
        FIELD(struct type, expires_at, 0,                                              \
              "RFC 3339 time from which it opens nothing; empty: never"),              \
        KEY_POLICY_FIELDS(struct type, policy., 0)
static const struct shape key_in_shape = SHAPE_STRICT(struct key_in, KEY_FIELDS(key_in));
static const struct shape key_shape = SHAPE(
    struct key_out,
    FIELD(struct key_out, id, 0, "Name of the key in logs and lists; says nothing of its text"),
    KEY_FIELDS(key_out), FIELD(struct key_out, created_at, 0, "When it was made"),
    FIELD(struct key_out, origin, 0, "file or api: who may change it"),
    FIELD(struct key_out, key, OMIT_EMPTY, "The key itself: only in the answer that made it"));

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    if (ms == 0)
        return STR("");
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

static struct key_out show(struct arena *a, const struct key *k)
{
    struct strs scopes = {ARENA_ARRAY(a, struct str, 3), 0};
    for (const struct word *w = scope_words; w->text; w++)
        if (k->scopes & (uint32_t)w->value)
            scopes.v[scopes.n++] = str_of(w->text);
    return (struct key_out){.id = k->id,
                            .label = k->label,
                            .scopes = scopes,
                            .allowed_models = {k->allowed_models, k->n_allowed},
                            .enabled = k->is_enabled,
                            .expires_at = time_text(a, k->expires_ms),
                            .created_at = time_text(a, k->created_ms),
                            .policy = *k->policy,
                            .origin = str_of(origin_name(k->from))};
}

static const struct key *find(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    const struct key *k = snapshot_key_by_id(c->snap, id);
    if (!k)
        err_set(e, ERR_NOT_FOUND, "not_found", "No key '" STR_FMT "'", STR_ARG(str_first(id, 100)));
    return k;
}

struct key_query {
    struct page_query page;
    struct str label, scopes, origin, org, user, tags;
    bool enabled;
};
static const struct shape key_query_shape = SHAPE(
    struct key_query, PAGE_FIELDS(struct key_query),
    FIELD(struct key_query, label, 0, "Only those with this label"),
    FIELD(struct key_query, scopes, 0, "Only those with this scope"),
    FIELD(struct key_query, origin, 0, "Only from there: file or api"),
    FIELD(struct key_query, org, 0, "Only those given to this organisation, not through a user"),
    FIELD(struct key_query, user, 0, "Only those of this user"),
    FIELD(struct key_query, tags, 0, "Only those with this tag"),
    FIELD(struct key_query, enabled, 0, "Only those that open something, or nothing"));

/* The usual case, of which there may be very many: nothing but the keys of the page is written out. */
static bool list_by_id(struct control_call *c, const struct page_query *q)
{
    const struct key *const *v = snapshot_keys_by_id(c->snap);
    size_t most = (size_t)(q->limit ? q->limit : 1000), n = c->snap->n_keys;
    size_t from = q->after.n ? snapshot_keys_from(c->snap, q->after) : 0;
    from += from < n && q->after.n && str_eq(v[from]->id, q->after);
    bool has_more = n - from > most;
    n = has_more ? most : n - from;
    struct key_out *out = ARENA_ARRAY(c->arena, struct key_out, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = show(c->arena, v[from + i]);
    return control_reply_page(c, &key_shape, out, n, has_more ? v[from + n - 1]->id : STR_NONE);
}

static void make_shown(void *arg, struct arena *a, size_t i, void *out)
{
    const struct snapshot *s = arg;
    *(struct key_out *)out = show(a, s->keys[i]);
}

static bool list(struct control_call *c, struct err *e)
{
    const struct key_query *q = c->asked;
    if (!(c->asked_present & ~3ull)) /* limit and after only */
        return list_by_id(c, &q->page);
    return control_reply_made(c, &key_shape, c->snap->n_keys, make_shown, c->snap, "id", e);
}

static bool represent(struct control_call *c, const struct snapshot *s, struct str id,
                      struct buf *out)
{
    const struct key *k = snapshot_key_by_id(s, id);
    struct jw w = jw_on(out);
    if (!k)
        return false;
    struct key_out shown = show(c->arena, k);
    shape_write(&key_shape, &shown, &w);
    buf_add(out, k->hash, sizeof k->hash);
    return true;
}

static void meant(struct control_call *c)
{
    c->represent = represent;
    c->represented = route_param(&c->params, "id");
}

static bool get(struct control_call *c, struct err *e)
{
    const struct key *k = find(c, e);
    if (!k)
        return false;
    struct key_out out = show(c->arena, k);
    c->represent = represent;
    return control_reply_tagged(c, 200, &key_shape, &out, c->snap, k->id);
}

static bool take(struct control_call *c, struct key_change *k, struct err *e)
{
    const struct key_in *in = c->in;
    k->given = c->present;
    k->policy = in->policy;
    k->label = in->label;
    k->allowed_models = in->allowed_models;
    k->is_enabled = in->enabled;
    for (size_t i = 0; i < in->scopes.n; i++) {
        int bit = word_value(scope_words, in->scopes.v[i], 0);
        if (!bit)
            return err_field(e, "scopes", "Unknown scope '" STR_FMT "': inference, models, admin",
                             STR_ARG(str_first(in->scopes.v[i], 40)));
        k->scopes |= (uint32_t)bit;
    }
    if (k->given & KEY_SCOPES && k->scopes == 0)
        return err_field(e, "scopes", "'scopes' must name at least one scope");
    if (in->expires_at.n && !clock_parse_rfc3339(in->expires_at, &k->expires_ms))
        return err_field(e, "expires_at", "'expires_at' must be an RFC 3339 time");
    return true;
}

static bool reply_now(struct control_call *c, int status, struct str id, struct str text)
{
    struct snapshot *now = snapshot_current();
    const struct key *k = snapshot_key_by_id(now, id);
    struct key_out out = k ? show(c->arena, k) : (struct key_out){.id = id};
    out.key = text;
    c->represent = represent;
    bool ok = control_reply_tagged(c, status, &key_shape, &out, now, id);
    snapshot_unref(now);
    return ok;
}

static bool create(struct control_call *c, struct err *e)
{
    struct key_change k = {.id = STR_NONE};
    struct key_made made;
    return take(c, &k, e) && change_key_create(c, &k, &made, e) &&
           reply_now(c, 201, made.id, made.text);
}

static bool change(struct control_call *c, struct err *e)
{
    struct key_change k = {.id = route_param(&c->params, "id")};
    meant(c);
    return take(c, &k, e) && change_key(c, &k, e) && reply_now(c, 200, k.id, STR_NONE);
}

static bool delete (struct control_call *c, struct err *e)
{
    c->status = 204;
    meant(c);
    return change_key_delete(c, route_param(&c->params, "id"), e);
}

/* clang-format off */
const struct endpoint key_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/keys",      SURFACE_SLUICE, ACCESS_VIEWER, "List client keys", .on_worker = list, .query = &key_query_shape, .out = &key_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/keys",      SURFACE_SLUICE, ACCESS_ADMIN, "Make a client key; its text is in this answer only", .on_worker = create, .in = &key_in_shape, .out = &key_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/keys/{id}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a client key", .has_tag = true, .on_worker = get, .out = &key_shape },
    { HTTP_PATCH,  "/sluice/v1/keys/{id}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a client key", .has_tag = true, .on_worker = change, .in = &key_in_shape, .out = &key_shape },
    { HTTP_DELETE, "/sluice/v1/keys/{id}", SURFACE_SLUICE, ACCESS_ADMIN, "Revoke a client key", .has_tag = true, .on_worker = delete, .status = 204 },
    {0},
};
/* clang-format on */
