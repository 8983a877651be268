/* usage_retain.h - what leaves the request log: what was cleared, what is too old, what is too much. In slices of one block, so that
 * the writer between them goes on writing. */
#ifndef METER_USAGE_RETAIN_H
#define METER_USAGE_RETAIN_H
#include "meter/age.h"
#include "meter/usage_block.h"
#include "meter/usage_log.h"

struct retention {              /* the writer's; zeroed at first */
    uint64_t next_ms;           /* when to look again */
    struct age_clock clock;     /* a clock set wrongly for a while must not empty the log */
    int64_t now_ms;             /* what it said at the last look */
    bool is_at_work;
    struct usage_limits limits; /* that it works by */
    int64_t cleared, too_old;   /* ids: gone up to here */
    int64_t summed;             /* records behind this one stay until they are in the sums */
    int64_t floor[2];           /* of successes and errors: too many up to here */
    int64_t at;                 /* blocks up to this id are done */
};
/* True: call again soon, more is due. false with e->kind set: the store refused. */
bool retention_slice(struct retention *r, struct db *db, struct block_writer *blocks, const struct usage_limits *limits,
                     struct err *e) MUST_USE;
int64_t retention_floor(const struct retention *r, bool is_error); /* the id up to which the class goes */
#endif
