/* admit.h - from a request and what its row asks for to the caller, or to a refusal. */
#ifndef GATE_ADMIT_H
#define GATE_ADMIT_H
#include "gate/auth.h"
#include "gate/identity.h"

struct gate_door {
    const struct snapshot *snap;
    struct identity *identity;
    bool is_loopback;         /* we listen on a loopback address: what require_login = false asks for */
    const char *native;       /* the header in which the row's clients send their key; may be NULL */
    const char *cookie;       /* in which the row's clients have a session's token beside sluice's own; NULL: none */
    enum access access;
    bool asks_anyway;         /* of public rows: who it is, if a good credential was sent */
    int64_t now_ms;
};
/* The data plane takes keys; the control plane sessions (X-Admin-Token, Bearer, the cookie) and admin
 * keys, in the data plane's headers; never in a query. ERR_UNAUTHENTICATED: no credential, or one that nobody has. ERR_FORBIDDEN: a good one
 * that may not, "csrf": a page of another origin may have sent it. Never blocks for longer than a short lock. */
bool gate_admit(const struct gate_door *g, const struct http_req *r, struct principal *out, struct err *e) MUST_USE;
/* Of an answer that goes on for long: whether whom gate_admit() let into the control plane may still, by what holds now. */
bool gate_may_still(const struct gate_door *g, const struct http_req *r, const struct principal *who);
/* Whether administration is open to this request without a sign-in: setting require_login, on this machine only. */
bool gate_is_open(const struct gate_door *g, const struct http_req *r);
#endif
