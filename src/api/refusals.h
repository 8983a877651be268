/* refusals.h - rows on their way into the audit log: refused administrative calls, and what the store could not take when it was done. The
 * first are noted on loops, which never block, and written on workers; and whoever is refused could send more of them than a disk holds,
 * so only so many a minute are kept and the rest counted. What cannot be written waits for the store, REFUSALS_WAITING of them at most. */
#ifndef API_REFUSALS_H
#define API_REFUSALS_H
#include "domain/audit.h"

#define REFUSALS_WAITING 10000
struct refusals;
struct refusals *refusals_new(void);
void refusals_free(struct refusals *r);                       /* NULL is allowed; what was not written is lost */
/* Copies the row. is_known: made by somebody with a role; they have an allowance of their own, which strangers cannot use up.
 * most: how many a minute are kept. false: only counted. */
bool refusals_note(struct refusals *r, const struct audit_row *row, bool is_known, int64_t most, uint64_t now_mono_ms);
/* A row of what was done though the store could not take it. */
void refusals_owe(struct refusals *r, const struct audit_row *row);
/* On a worker: writes what waits, and how many were left out of the minutes that are over. What fails is logged, and tried
 * again after REFUSALS_PAUSE_MS at the earliest, without waiting for a store that is locked; is_last: now, and waiting. */
#define REFUSALS_PAUSE_MS 1000
void refusals_write(struct refusals *r, const char *db_path, bool is_last, uint64_t now_mono_ms);
bool refusals_are_stuck(const struct refusals *r);            /* the store took nothing when it was tried last */
bool refusals_wait(const struct refusals *r);                 /* there are some to write */
uint64_t refusals_left_out(const struct refusals *r);         /* since the start */
#endif
