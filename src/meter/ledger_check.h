/* ledger_check.h - computing the ledger again: whether each line comes to what it says, whether the sums are those of the lines, and what a
 * span would have cost at other prices. Pure of anything but the store that it reads. */
#ifndef METER_LEDGER_CHECK_H
#define METER_LEDGER_CHECK_H
#include "domain/ledger.h"
#include "domain/snapshot.h"
#include "meter/price.h"

struct ledger_check {
    int64_t lines, unpriced, corrections;
    int64_t total, recomputed;  /* nano-USD, of settled lines that are priced */
    int64_t wrong;              /* lines that come to another amount */
    int64_t first_wrong;        /* id; 0: none */
    int64_t wrong_hours;        /* sums by hour that are not those of their lines */
    int64_t missing_prices;     /* lines whose price version is not in the store: taken as they stand */
};
bool ledger_check(struct db *db, int64_t from_ms, int64_t to_ms, struct ledger_check *out, struct err *e) MUST_USE;

struct ledger_reprice {
    int64_t lines, changed;     /* looked at, and now of another amount */
    int64_t unknown;            /* of these: left as they stand, since no price is known for them */
    int64_t before, after;      /* their cost, with what was made of it by this before */
};
typedef void ledger_line_fn(void *arg, const struct ledger_line *l);
/* What settled lines cost at the prices that the snapshot has for their moment. is_dry: only computed; else each difference becomes a line
 * that corrects the first, once however often it is done, in the caller's transaction; appended (may be NULL) is called with each. */
bool ledger_reprice(struct db *db, const struct snapshot *s, int64_t from_ms, int64_t to_ms, struct str model, bool is_dry, int64_t now_ms,
                    ledger_line_fn *appended, void *arg, struct ledger_reprice *out, struct err *e) MUST_USE;
#endif
