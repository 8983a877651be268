/* reconcile.h - our books beside those of vendors: usage exports read in, the drift by day and model, and what it comes from. The
 * attribution is pure: its parts add up to the drift exactly. */
#ifndef METER_RECONCILE_H
#define METER_RECONCILE_H
#include "meter/price.h"

struct day_use {                /* of one model on one day, UTC; -1: not told */
    int64_t day;                /* days since 1970-01-01 */
    struct str model;           /* as the upstream calls it, without a date at its end */
    int64_t requests;
    int64_t input, cached, cache_write, output; /* tokens: input with all of its kinds */
    int64_t nanousd;
    int64_t repeated;           /* ours: requests of an id that another line of the day has as well */
    int64_t unpriced;           /* ours: requests without a known cost */
    int64_t price;              /* ours: version of the price that most of them had; 0: none */
    int64_t at_price;           /* how many that are */
};
struct day_uses {               /* in an arena; one for each day and model, in their order */
    struct day_use *v;
    size_t n, cap;
    const char *format;         /* "empty": an export of nothing, whosever it is */
    const char *bad;            /* the first member that is there and no count, amount in USD or day; NULL: none */
    const char *bad_why;        /* what is wrong with it */
    size_t row, bad_row;        /* while it is read; of bad. From 1 on */
};
/* OpenAI's usage and costs, Anthropic's usage and cost reports, OpenRouter's activity (JSON or CSV): which it is shows. ERR_INPUT names a row
 * that cannot be read. */
bool vendor_read(struct arena *a, struct str text, struct day_uses *out, struct err *e) MUST_USE;
/* Keeps them beside what other exports told of the same days; what they tell takes the place of what was told before. In the caller's
 * transaction. */
bool vendor_put(struct db *db, struct str provider, const struct day_uses *uses, struct err *e) MUST_USE;
bool vendor_list(struct db *db, struct arena *a, struct str provider, int64_t from_day, int64_t to_day, struct day_uses *out,
                 struct err *e) MUST_USE;
bool ledger_days(struct db *db, struct arena *a, struct str provider, int64_t from_day, int64_t to_day, struct day_uses *out,
                 struct err *e) MUST_USE;

enum drift_cause {
    DRIFT_MISSING,              /* requests that the vendor billed and we have no line of */
    DRIFT_DUPLICATE,            /* lines of ours of one request more than once */
    DRIFT_UNBILLED,             /* other lines of ours that the vendor has no request of */
    DRIFT_UNPRICED,             /* requests whose price we did not know */
    DRIFT_TOKENS,               /* other counts for the same requests */
    DRIFT_PRICE,                /* another price for the same counts */
    DRIFT_ROUNDING,             /* less than the vendor's own unit */
    DRIFT_CAUSES
};
extern const char *const drift_cause_names[DRIFT_CAUSES];
struct drift {
    int64_t ours, vendors, nanousd; /* nanousd: vendors - ours. Where the vendor tells no cost: what its counts come to at our price */
    int64_t parts[DRIFT_CAUSES]; /* add up to nanousd */
    enum drift_cause cause;     /* of the largest part */
    bool is_agreed;             /* they differ by nothing: no part is anything but 0 */
};
/* ours or vendors may be NULL: it has nothing of that day and model. p: our price of it; may be NULL. */
struct drift drift_of(const struct day_use *ours, const struct day_use *vendors, const struct price *p);
struct str model_undated(struct str model);                   /* gpt-4o-2024-08-06 -> gpt-4o, claude-x-20250101 -> claude-x */
#endif
