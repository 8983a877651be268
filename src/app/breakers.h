/* breakers.h - the state of upstreams over a restart: what failed of late is still left alone afterwards, and so is who has used up the quota
 * of some hours or days. */
#ifndef APP_BREAKERS_H
#define APP_BREAKERS_H
#include "meter/usage_log.h"
#include "route/live.h"
#include "store/db.h"

/* By the log's writer, at once, when anything has changed since *version. */
void breakers_save(struct live *l, const struct snapshot *s, struct usage_log *log, uint64_t *version);
void breakers_load(struct live *l, const struct snapshot *s, struct db *db); /* at the start; db may be NULL */
#endif
