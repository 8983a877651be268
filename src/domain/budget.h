/* budget.h - how much an organisation, a user, a key, a tag, or everybody may spend in a day, week or month of some time zone. What was
 * spent so far is gate/budget.h's. */
#ifndef DOMAIN_BUDGET_H
#define DOMAIN_BUDGET_H
#include "base/zone.h"
#include "json/json.h"
#include "json/shape.h"

enum budget_scope { BUDGET_ALL, BUDGET_ORG, BUDGET_USER, BUDGET_KEY, BUDGET_TAG };
enum budget_period { BUDGET_DAY, BUDGET_WEEK, BUDGET_MONTH, BUDGET_EVER }; /* weeks begin on Monday; ever: it never begins anew */
extern const struct word budget_scope_words[], budget_period_words[];

struct budget_state;
struct snapshot;
struct budget {
    struct str name;            /* unique */
    enum budget_scope scope;
    struct str subject;         /* id of the org, user or key; the tag; empty: everybody */
    enum budget_period period;
    const struct zone *zone;
    struct str time_zone;       /* IANA name; empty: UTC */
    int64_t limit_nanousd;
    int64_t warn_percent;       /* of the limit; 0: no warning */
    bool stops;                 /* where it is enabled: requests that could pass the limit are refused; else they only warn */
    bool cuts;                  /* a stream whose hold is spent, and cannot grow, is ended */
    bool is_enabled;
    int from;                   /* enum origin */
    struct budget_state *state; /* of gate/budget.h; for the life of the process */
};
/* Whether it refuses anything. */
static inline bool budget_binds(const struct budget *b) { return b->stops && b->is_enabled; }

/* {"scope":"key","subject":"0a1b2c3d","period":"month","limit_usd":25,"time_zone":"Europe/Berlin","warn_percent":80,"action":"stop",
 * "cut_streams":false,"enabled":true}. The budget lives in the arena. where: of its entry, for messages. Blocking: reads a time zone. */
bool budget_read(struct arena *a, struct str name, yyjson_val *entry, const char *where, struct budget *out, struct err *e) MUST_USE;
/* Whether there is who the budget is of: of a tag and of all always. scope: enum budget_scope, or any other number, which has none that is missed. */
bool budget_has_subject(const struct snapshot *s, int scope, struct str subject) MUST_USE;
void budget_write(struct jw *w, const struct budget *b);      /* the same object */
/* Of the period that holds now: its first moment and that of the next. */
void budget_bounds(const struct budget *b, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms);
/* The same of a day, week or month in a zone; zone NULL: UTC. */
void period_bounds(const struct zone *z, enum budget_period p, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms);
/* Of an hour by the clocks of a zone, which need not be one of UTC. Clocks that are changed inside an hour make two of it. */
void hour_bounds(const struct zone *z, int64_t now_ms, int64_t *begin_ms, int64_t *end_ms);
#endif
