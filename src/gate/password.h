/* password.h - Argon2id. Slow and hungry on purpose: for workers, never for a loop. */
#ifndef GATE_PASSWORD_H
#define GATE_PASSWORD_H
#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"

#define PASSWORD_MAX 1024  /* bytes: a peer chooses it */
struct password_cost {     /* settings password_memory_bytes, password_passes */
    int64_t memory_bytes, passes;
};
/* The text form with salt and parameters, in the arena. */
bool password_hash(struct arena *a, struct secret plain, struct password_cost cost, struct str *out, struct err *e) MUST_USE;
/* Takes the same time when there is nothing to compare with (hash empty): then it is wrong. */
bool password_is_right(struct str hash, struct secret plain, struct password_cost cost) MUST_USE;
bool password_is_stale(struct arena *a, struct str hash, struct password_cost cost); /* made with other parameters */
#endif
