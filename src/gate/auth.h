/* auth.h - who calls the data plane: the credential in a request, and whether its key may do this.
 * Knows keys only; sessions of operators are not its matter. */
#ifndef GATE_AUTH_H
#define GATE_AUTH_H
#include "domain/snapshot.h"
#include "http/server.h"

struct pass {
    const struct key *key; /* NULL: anonymous, where the operator allowed it */
};

/* Authorization: Bearer, x-api-key, x-goog-api-key, ?key=, in this order of precedence after `native` (the header the caller's
 * format uses; may be NULL). STR_NONE when there is none. */
struct str auth_presented(struct arena *a, const struct http_req *r, const char *native);
/* The same without ?key=, which on the control plane is a filter of lists. */
struct str auth_in_header(const struct http_req *r, const char *native);

/* Whether a key opens anything now: enabled, not expired, inside its schedule, its user and organisation enabled. ERR_FORBIDDEN. */
bool auth_is_live(const struct key *k, int64_t now_ms, struct err *e) MUST_USE;
/* 401 unknown or missing, 403 disabled, expired or without the scope. Storage is not asked: keys are in the snapshot. */
bool auth_admit(const struct snapshot *s, const struct http_req *r, const char *native, uint32_t scope, int64_t now_ms,
                struct pass *out, struct err *e) MUST_USE;
#endif
