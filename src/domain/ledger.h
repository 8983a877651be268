/* ledger.h - reading the ledger: lines, sums by hour, what was spent of a budget. Writing it is meter/ledger.h's. */
#ifndef DOMAIN_LEDGER_H
#define DOMAIN_LEDGER_H
#include "domain/budget.h"
#include "domain/price.h"

enum ledger_entry { LEDGER_SETTLE = 1, LEDGER_ADJUST, LEDGER_CREDIT };
extern const struct word ledger_entry_words[];

/* A line's id is when it was settled, in microseconds made unique on its loop. */
#define LEDGER_LOOP_BITS 9
static inline int64_t ledger_id(int64_t wall_us, unsigned loop) { return wall_us << LEDGER_LOOP_BITS | loop; }
static inline int64_t ledger_id_ms(int64_t id) { return (id >> LEDGER_LOOP_BITS) / 1000; }
#define LEDGER_LAST_MS (INT64_MAX >> 20)
static inline int64_t ledger_id_at(int64_t ms) /* no line is older than 1970 */
{
    return ms >= LEDGER_LAST_MS ? INT64_MAX : ms > 0 ? ms * 1000 << LEDGER_LOOP_BITS : 0;
}
bool ledger_last_id(struct db *db, int64_t *id, struct err *e) MUST_USE;

/* ---- lines ---- */
struct ledger_filter {          /* empty, 0: anything */
    int64_t from_ms, to_ms;     /* [from, to) */
    struct str key, org, user, tag, model, upstream, request_id;
    int entry;                  /* enum ledger_entry */
    bool only_unpriced;
    bool oldest_first;          /* the order of ledger_list() */
};
struct ledger_line {            /* texts in the arena; -1: unknown */
    int64_t id;
    enum ledger_entry entry;
    struct str request_id, key, org, user, tags, model, upstream, upstream_model, note; /* tags: a JSON array, or empty */
    int ended, quality, service, state;
    int64_t price;              /* version; 0: none */
    int64_t admitted_ms;        /* the moment that its price is of */
    int64_t amount, stated, corrects;
    int64_t parts[PRICE_PARTS];
};
/* In the filter's order, beyond the line `beyond` (0: from the beginning of that order). */
bool ledger_list(struct db *db, struct arena *a, const struct ledger_filter *f, int64_t beyond, size_t max, struct ledger_line **out,
                 size_t *n, struct err *e) MUST_USE;
bool ledger_get(struct db *db, struct arena *a, int64_t id, struct ledger_line *out, struct err *e) MUST_USE; /* ERR_NOT_FOUND */
/* Oldest first, each in an arena of its own that lives during the call; stops when each says false. */
bool ledger_each(struct db *db, int64_t from_ms, int64_t to_ms, bool (*each)(void *arg, const struct ledger_line *l, struct err *e), void *arg,
                 struct err *e) MUST_USE;
/* A correction or a credit, with the hour's sums, in the caller's transaction. line->id: when, and is made unique; its kind is that of the
 * texts, found or made. Its parts are added to the hour's tokens: of most they are all 0. */
bool ledger_append(struct db *db, struct ledger_line *line, struct err *e) MUST_USE;

#define LEDGER_REPRICED "priced again" /* the note of these corrections, and of no others */
#define LEDGER_TOLD_LATE "usage told when it was over" /* and of these: they have parts, which are added to those of their line */
/* SQL: whether the settled line l has no known cost, also after it was priced again. */
#define LEDGER_IS_UNPRICED \
    "(l.entry = 1 AND l.amount IS NULL AND NOT EXISTS (SELECT 1 FROM ledger p WHERE " \
    "p.corrects = l.id AND p.entry = 2 AND p.note = '" LEDGER_REPRICED "'))"

/* ---- sums ---- */
struct ledger_sum {
    int64_t n, unpriced, amount, stated, stated_n, tokens_in, cached, tokens_out;
};
/* All of it was settled at or after at_ms, in the span of the caller's that this moment lies in. of: its texts only, during the call. */
typedef void ledger_sum_fn(void *arg, int64_t at_ms, const struct ledger_line *of, const struct ledger_sum *s);
typedef int64_t ledger_span_fn(void *arg, int64_t ms);        /* the end of the span that a moment lies in, behind it */
/* In [from, to), exact to the millisecond, by what lines are of, in no order, several times of one span. ends NULL: one span is all. Whole hours
 * are summed already; those that the beginning or the end of something cuts are summed from their lines. */
bool ledger_sums(struct db *db, const struct ledger_filter *f, ledger_span_fn *ends, ledger_sum_fn *each, void *arg, struct err *e) MUST_USE;
/* In [from, to), exact to the millisecond. to_ms INT64_MAX: without end. */
bool ledger_spent(struct db *db, enum budget_scope scope, struct str subject, int64_t from_ms, int64_t to_ms, int64_t *nanousd,
                  struct err *e) MUST_USE;
#endif
