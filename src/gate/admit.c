#include "gate/admit.h"
#include "gate/peer.h"
#include "http/cidr.h"

/* ---- the data plane ---- */

static bool comes_from_there(const struct gate_door *g, const struct http_req *r,
                             const struct key *k, struct err *e)
{
    if (!k || !k->policy || k->policy->allowed_ips.n == 0)
        return true;
    struct str address = peer_address(r, g->snap->settings.trusted_proxies);
    for (size_t i = 0; i < k->policy->allowed_ips.n; i++)
        if (cidr_list_has(k->policy->allowed_ips.v[i], address))
            return true;
    return err_set(e, ERR_FORBIDDEN, "address_not_allowed",
                   "This API key may not be used from this address");
}

static bool admit_caller(const struct gate_door *g, const struct http_req *r, struct principal *out,
                         struct err *e)
{
    struct pass pass = {NULL};
    uint32_t scope = g->access == ACCESS_MODELS ? SCOPE_MODELS : SCOPE_INFERENCE;
    bool ok = auth_admit(g->snap, r, g->native, scope, g->now_ms, &pass, e);
    if (!ok && g->access == ACCESS_MODELS) { /* who may infer may see what there is to infer with */
        ok = auth_admit(g->snap, r, g->native, SCOPE_INFERENCE, g->now_ms, &pass, NULL);
        if (ok)
            err_clear(e);
    }
    if (!ok || !comes_from_there(g, r, pass.key, e))
        return false;
    *out = principal_of_key(pass.key);
    return true;
}

/* ---- the control plane ---- */

bool gate_is_open(const struct gate_door *g, const struct http_req *r)
{
    return !g->snap->settings.require_login && g->is_loopback && peer_is_local(r);
}

/* A credential that was sent on purpose: a page of another origin cannot make a browser do that. */
static struct str sent_token(const struct gate_door *g, const struct http_req *r)
{
    struct str v = str_trim(http_req_header(r, "x-admin-token"));
    return v.n ? v : auth_in_header(r, g->native);
}

static bool find_operator(const struct gate_door *g, const struct http_req *r,
                          struct principal *out, struct err *e)
{
    struct str token = sent_token(g, r);
    const struct settings *set = &g->snap->settings;
    if (token.n) {
        if (identity_session(g->identity, r->arena, token, set, g->now_ms, out))
            return true;
        const struct key *k = snapshot_key(g->snap, token);
        if (k && (!auth_is_live(k, g->now_ms, e) || !comes_from_there(g, r, k, e)))
            return false;
        if (k)
            *out = principal_of_key(k);
        return k || err_set(e, ERR_UNAUTHENTICATED, "invalid_token",
                            "Unknown token: the session may have ended");
    }
    const char *const cookies[] = {SESSION_COOKIE, g->cookie};
    for (size_t i = 0; i < ARRAY_LEN(cookies) && cookies[i]; i++) {
        struct str sent = peer_cookie(r, str_of(cookies[i]));
        if (!sent.n)
            continue;
        token = sent;
        if (identity_session(g->identity, r->arena, token, set, g->now_ms, out)) {
            out->by_cookie = true;
            return true;
        }
    }
    if (gate_is_open(g, r)) {
        *out = (struct principal){.kind = PRINCIPAL_ANONYMOUS, .role = ROLE_ADMIN};
        return true;
    }
    return err_set(e, ERR_UNAUTHENTICATED, token.n ? "invalid_token" : "not_signed_in",
                   token.n ? "Unknown token: the session may have ended" : "Sign in first");
}

static bool is_unsafe(enum http_method m)
{
    return m != HTTP_GET && m != HTTP_HEAD && m != HTTP_OPTIONS;
}

static bool admit_operator(const struct gate_door *g, const struct http_req *r,
                           struct principal *out, struct err *e)
{
    if (!find_operator(g, r, out, e))
        return false;
    if (out->by_cookie && is_unsafe(r->method) &&
        !peer_is_same_origin(r, g->snap->settings.trusted_proxies))
        return err_set(e, ERR_FORBIDDEN, "csrf",
                       "A change by cookie must come from a page of this origin: send the token in "
                       "a header instead");
    if (principal_may(out, g->access))
        return true;
    return out->kind == PRINCIPAL_OPERATOR
               ? err_set(e, ERR_FORBIDDEN, "insufficient_role", "This takes the role %s",
                         access_name(g->access))
               : err_set(e, ERR_FORBIDDEN, "insufficient_scope",
                         g->access == ACCESS_OWNER
                             ? "This takes an operator with the role owner who has signed in"
                             : "This API key lacks the scope for this endpoint");
}

bool gate_admit(const struct gate_door *g, const struct http_req *r, struct principal *out,
                struct err *e)
{
    *out = (struct principal){.kind = PRINCIPAL_ANONYMOUS};
    if (g->access == ACCESS_PUBLIC) {
        if (g->asks_anyway && !find_operator(g, r, out, NULL))
            *out = (struct principal){.kind = PRINCIPAL_ANONYMOUS};
        return true;
    }
    return access_is_control(g->access) ? admit_operator(g, r, out, e) : admit_caller(g, r, out, e);
}

bool gate_may_still(const struct gate_door *g, const struct http_req *r,
                    const struct principal *who)
{
    if (who->kind == PRINCIPAL_OPERATOR)
        return identity_session_lives(g->identity, who->session, g->now_ms);
    if (!who->key)
        return gate_is_open(g, r);
    const struct key *k = snapshot_key(g->snap, sent_token(g, r));
    struct principal now = principal_of_key(k);
    return k && auth_is_live(k, g->now_ms, NULL) && comes_from_there(g, r, k, NULL) &&
           principal_may(&now, g->access);
}
