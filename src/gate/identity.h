/* identity.h - operators and their sessions, as the running process knows them.
 * Everything that a request asks is answered from memory: identity_session() and its like never block for longer than a short lock,
 * and only requests of the control plane take it. What changes goes to the store first, by workers that bring a handle. Safe from
 * every thread. Time is an argument. */
#ifndef GATE_IDENTITY_H
#define GATE_IDENTITY_H
#include "base/secret.h"
#include "domain/operator.h"
#include "gate/principal.h"

#define SESSION_COOKIE "sluice_session"
#define SESSION_TOKEN_DIGITS 64 /* hex digits: 256 random bits */

struct identity;
/* pepper: 32 bytes of this installation, for recognising a password that stands in a file. */
struct identity *identity_new(const uint8_t pepper[32]);
void identity_free(struct identity *id);
/* Reads operators, sessions and lock-outs from the store: at start, and when another program may have changed them. */
bool identity_load(struct identity *id, struct db *db, struct err *e) MUST_USE;
/* The operator whose password file or environment give: made, changed (ending its sessions), or without one when it is unset.
 * changed: whether the store was written. Hashes only when the password is another than before. */
bool identity_adopt(struct identity *id, struct db *db, const struct settings *set, struct secret password, enum origin from,
                    int64_t now_ms, bool *changed, struct err *e) MUST_USE;
bool identity_is_configured(struct identity *id); /* somebody can sign in */

/* ---- on the loop ---- */
/* Who holds this token; false: nobody, or its session is over. Counts as its use. Texts are in the arena. */
bool identity_session(struct identity *id, struct arena *a, struct str token, const struct settings *set, int64_t now_ms,
                      struct principal *out) MUST_USE;
/* Whether a session of that id goes on: not signed out, ended or disabled since. No use of it. */
bool identity_session_lives(struct identity *id, struct str session, int64_t now_ms);

/* ---- on workers ---- */
struct sign_in {
    struct str name;          /* empty: the operator called OPERATOR_NAME, else the only owner */
    struct secret password;
    struct str address, agent; /* of the client */
};
struct signed_in {
    struct str token;         /* the only time that it is seen */
    struct str session;
    int64_t expires_ms;
    struct principal who;
};
/* Time left for a locked-out address; 0: it may try. */
int64_t identity_locked_ms(struct identity *id, struct arena *a, struct str address, int64_t now_ms);
/* The addresses that are locked out, in the arena. */
bool identity_lockouts(struct db *db, struct arena *a, int64_t now_ms, struct lockout_row **out, struct err *e) MUST_USE;
/* Lets one try again, its failures forgotten. *was: whether it was locked out. */
bool identity_unlock(struct identity *id, struct db *db, struct arena *a, struct str address, int64_t now_ms, bool *was, struct err *e) MUST_USE;
/* Slow. ERR_INPUT "not_configured"; ERR_RATE_LIMITED "locked_out" with a retry time; ERR_UNAUTHENTICATED "invalid_password", of which
 * retry_after_ms >= 0 says that it locked the address. */
bool identity_sign_in(struct identity *id, struct db *db, struct arena *a, const struct settings *set, const struct sign_in *in,
                      int64_t now_ms, struct signed_in *out, struct err *e) MUST_USE;
/* A session that began while the store took nothing lives in memory alone, 64 of them at most. Before sessions are ended in the store: puts
 * them there. */
bool identity_settle(struct identity *id, struct db *db, struct err *e) MUST_USE;
bool identity_forget_owed(struct identity *id, struct str session); /* false: it is none of those */
/* A password that an operator gives again, to change it: as signing in, without a session. */
bool identity_check_password(struct identity *id, struct db *db, struct arena *a, const struct settings *set, struct str operator_id,
                             const struct sign_in *in, int64_t now_ms, struct err *e) MUST_USE;
/* Makes the token of a claim link; an older one is void. */
bool identity_claim_new(struct db *db, struct arena *a, const struct settings *set, int64_t now_ms, struct str *token, struct err *e) MUST_USE;
/* Makes the operator that the claim link is for, an owner, and signs it in. in->name empty: OPERATOR_NAME. */
bool identity_claim(struct identity *id, struct db *db, struct arena *a, const struct settings *set, struct str token,
                    const struct sign_in *in, int64_t now_ms, struct signed_in *out, struct err *e) MUST_USE;
/* Sets o's password (not stored yet). ERR_INPUT: too short or too long. */
bool identity_set_password(struct arena *a, const struct settings *set, struct secret password, int64_t now_ms, struct operator_row *o,
                           struct err *e) MUST_USE;
/* Now and then: writes when sessions were last used, forgets those that are over and old failures. */
bool identity_sweep(struct identity *id, struct db *db, const struct settings *set, int64_t now_ms, struct err *e) MUST_USE;
#endif
