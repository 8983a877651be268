/* usage_block.h - summaries of 4096 usage records each: which kinds they are of, where the rare ones stand, and a Bloom filter of
 * the request ids. They make the log searchable at a few nanoseconds a record, where an index would cost microseconds. */
#ifndef METER_USAGE_BLOCK_H
#define METER_USAGE_BLOCK_H
#include "base/buf.h"
#include "store/db.h"

#define BLOCK_ROWS 4096u
#define BLOCK_SPARSE 64u        /* a kind that stands in a block more often is found by looking through it */

/* ---- writing: on the writer thread, with its handle and inside its transactions ---- */
struct block_writer;
struct block_writer *block_writer_new(void);
void block_writer_free(struct block_writer *w);               /* NULL is allowed */
bool block_writer_open(struct block_writer *w, struct db *db, struct err *e) MUST_USE; /* with a fresh handle: forgets what it held */
void block_writer_close(struct block_writer *w);              /* before the handle closes */
/* A record was inserted. Writes a block when it is the last of one. */
bool block_writer_add(struct block_writer *w, int64_t id, int64_t kind, struct str request_id, struct err *e) MUST_USE;
/* Records without a summary that were there before: one block, in a transaction of its own. True while more remain. */
bool block_writer_is_behind(const struct block_writer *w);
bool block_writer_catch_up(struct block_writer *w, struct err *e) MUST_USE;
/* After records between first and last went: makes the block of what is left, or removes it. */
bool block_rewrite(struct db *db, int64_t first, int64_t last, struct err *e) MUST_USE;
void block_writer_forget_tail(struct block_writer *w);        /* records that are in no block yet went: they are read anew */

/* ---- reading ---- */
struct block_kinds {            /* walks over a kinds column, and with it over ids */
    const unsigned char *at, *end;
    uint64_t left, kind;
};
void block_kinds_init(struct block_kinds *k, struct str kinds);
bool block_kinds_next(struct block_kinds *k, int64_t *kind, int64_t *n); /* false: the end, or nonsense */
/* How many records are of the kinds whose bits are set, and whether each of these is sparse. */
int64_t block_count(struct str kinds, const unsigned char *bits, int64_t n_bits, bool *is_sparse);
/* Appends to out the ids of the kinds for which is_wanted(arg, kind) says so, all of which must be sparse; at most max. */
size_t block_ids(struct str kinds, struct str ids, int64_t first, bool (*is_wanted)(void *arg, int64_t kind), void *arg,
                 int64_t *out, size_t max);
bool block_may_hold(struct str filter, struct str request_id); /* false: surely not */
#endif
