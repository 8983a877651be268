/* admit.h - from a request and what its row asks for to the caller, or to a refusal. */
#ifndef GATE_ADMIT_H
#define GATE_ADMIT_H
#include "gate/auth.h"
#include "gate/principal.h"

/* native: the header in which the row's clients send their key; may be NULL. ERR_UNAUTHENTICATED: no credential, or one that
 * nobody has. ERR_FORBIDDEN: a good one that may not. Never blocks. */
bool gate_admit(const struct snapshot *s, const struct http_req *r, const char *native, enum access a, int64_t now_ms,
                struct principal *out, struct err *e) MUST_USE;
#endif
