/* lockout.h - addresses that failed to sign in: counted, and locked out for longer each time. A bounded table in memory; who uses it
 * writes it through to the store. Not for sharing between threads: gate/identity.c locks around it. */
#ifndef GATE_LOCKOUT_H
#define GATE_LOCKOUT_H
#include "domain/operator.h"
#include "domain/snapshot.h"

struct lockout;
struct lockout *lockout_new(size_t max);      /* entries; beyond it the least telling one goes */
void lockout_free(struct lockout *l);
/* As the store has it, which is the truth but for what was not stored yet, and tries under way. */
void lockout_stored(struct lockout *l, const struct lockout_row *row);
void lockout_sync(struct lockout *l, const struct lockout_row *rows);
int64_t lockout_failures(const struct lockout *l, struct str address); /* that are remembered, lock-outs included */
/* Time left until this address may try again; 0: now. Nothing is counted. */
int64_t lockout_left_ms(const struct lockout *l, struct str address, int64_t now_ms);
/* Before a password is looked at: whether one more try may begin, those under way counted as failed. Each true is ended by one of: */
bool lockout_begin(struct lockout *l, struct str address, const struct settings *set, int64_t now_ms, int64_t *left_ms) MUST_USE;
/* A wrong one. Time that the address is now locked for, 0: not yet. *row is what to store. */
int64_t lockout_failed(struct lockout *l, struct str address, const struct settings *set, int64_t now_ms, struct lockout_row *row);
void lockout_succeeded(struct lockout *l, struct str address); /* forgets the address */
void lockout_undecided(struct lockout *l, struct str address); /* something else went wrong */
size_t lockout_size(const struct lockout *l);
#define LOCKOUT_MEMORY_MS 86400000 /* earlier lock-outs are forgotten after it */
#endif
