/* ledger.h - what was spent, line by line: appended, never changed, never shed. One line a request that reached an upstream, written by the
 * writer thread in the transaction of its record in the request log; corrections and credits are lines of their own.
 *
 * A line's id is when it was settled (microseconds, made unique on its loop) and names it for ever: the same line delivered twice is kept
 * once. It says quantities, price version and service, so that its amount can be computed again: what comes out is what stands there. */
#ifndef METER_LEDGER_H
#define METER_LEDGER_H
#include "domain/ledger.h"
#include "meter/price.h"

struct usage_record;

/* How a request ended, as far as money goes; the rules stand in one table. */
enum money_end {
    MONEY_NONE,                 /* nothing was asked of an upstream: no line */
    MONEY_DONE,                 /* the reply came whole */
    MONEY_FREE,                 /* an operation that nobody bills: tokens counted, a model loaded */
    MONEY_FAILED,               /* no upstream gave a reply: an error, or nothing, before the first byte */
    MONEY_LEFT_EARLY,           /* the client left before the first byte */
    MONEY_LEFT,                 /* the client left while the reply was coming */
    MONEY_BROKEN,               /* the upstream broke off inside its reply */
    MONEY_CANCELLED,            /* the operator ended it */
    MONEY_CUT,                  /* its hold was spent */
    MONEY_HEDGED,               /* of the second line of a request: another target answered it first */
    MONEY_ENDS
};
enum money_rule {
    RULE_ZERO,                  /* costs nothing, whatever was counted */
    RULE_REPORTED,              /* what the upstream counted */
    RULE_ESTIMATE,              /* the prompt and what came of the reply, counted here */
    RULE_POLICY,                /* as the setting cost_client_left says: estimate, or zero */
};
struct money_end_rule {
    const char *name;           /* "done", … in lines and lists */
    enum money_rule reported;   /* where the upstream said how much */
    enum money_rule unreported; /* where it did not */
    const char *sentence;
};
extern const struct money_end_rule money_ends[MONEY_ENDS];
/* What counts in the end. */
enum money_rule money_rule_of(enum money_end end, bool is_reported, bool policy_estimates);

struct usage_money {            /* of a request, in its record */
    int64_t id;                 /* of its line; 0: it has none */
    int64_t account;            /* whose it is beyond the key: ledger_learn(); 0: nobody's */
    int64_t admitted_ms;        /* the moment that its price is of; 0: of when it was settled */
    int64_t price;              /* version; 0: unpriced */
    int64_t cost_nanousd;       /* -1: unknown */
    uint8_t state;              /* enum cost_state */
    uint8_t service;            /* enum price_service */
    uint8_t end;                /* enum money_end */
    bool is_handed;             /* its line is on its way: usage_log_put_line() */
    bool is_free;               /* by its rule: nothing of it is on the bill */
};
struct usage_vector ledger_parts(const struct usage_record *r); /* what its line says, and its cost is made of */

/* A line on its way to the store: nothing but what it needs, and no pointer, so that it may lie in the journal (meter/journal.h). */
#define SETTLED_TEXT 312
struct settled {
    int64_t id, price, amount, stated, admitted_ms; /* as in usage_money and ir_usage */
    struct usage_vector parts;
    uint16_t n_of, n_request;   /* bytes of text */
    uint8_t end, quality, service, state;
    /* what the line is of: the account (8 bytes), then key, model, upstream and its model, each with its NUL; behind it the request's id */
    char text[SETTLED_TEXT];
};
void settled_fill(struct settled *s, const struct usage_record *r);
size_t settled_size(const struct settled *s);                 /* bytes of it that say something, in whole words: those behind are not set */

/* ---- writing: on the writer thread, with its handle and inside its transactions ---- */
struct ledger_writer;
struct ledger_writer *ledger_writer_new(void);
void ledger_writer_free(struct ledger_writer *w);             /* NULL is allowed */
bool ledger_writer_open(struct ledger_writer *w, struct db *db, struct err *e) MUST_USE; /* with a fresh handle: forgets what it held */
void ledger_writer_close(struct ledger_writer *w);            /* before the handle closes */
bool ledger_writer_add(struct ledger_writer *w, const struct settled *s, struct err *e) MUST_USE; /* s stays there until the flush */
bool ledger_writer_flush(struct ledger_writer *w, struct err *e) MUST_USE; /* before the transaction is committed */
void ledger_writer_forget(struct ledger_writer *w);           /* it was rolled back */
/* What a price version or an account stands for, before the first line with it is put. From any thread; kept once. */
bool ledger_writer_learn(struct ledger_writer *w, int64_t id, struct str text); /* false: it was known */
/* {"org":…,"user":…,"tags":[…]} of an account, and its id; 0: nobody's. */
int64_t ledger_account_id(struct arena *a, struct str org, struct str user, const struct str *tags, size_t n_tags, struct str *text);
#endif
