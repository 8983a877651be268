/* limits.h - what was used of the limits of a day, over a restart. */
#ifndef APP_LIMITS_H
#define APP_LIMITS_H
#include "gate/limit.h"
#include "meter/usage_log.h"
#include "store/db.h"

/* By the log's writer, soon, when it is not what was saved last: *mark. */
void limits_save(struct limiter *l, struct usage_log *log, uint64_t *mark);
void limits_load(struct limiter *l, struct db *db); /* at the start, once the limiter is bound; db may be NULL */
#endif
