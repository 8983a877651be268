/* limit.h - how much may be used: requests in a minute, an hour and a day, tokens in a minute and a day, requests and conversations at once; and who waits for whom. Knows places (a key, a
 * user, an organisation, a model, an upstream) by their gauges only. Time is an argument.
 *
 * Exactness: what a window counts never exceeds its limit by one, however many threads ask at once: a request is in only when its
 * compare-and-swap on the window's total succeeded. A window is 30 to 31 slots long, of 2 s (minute), 2 min (hour) or 48 min (day): a request counts for
 * at least the 60 s, 60 min or 24 h, and for up to one slot more. Taking takes no lock and allocates nothing; only those who must wait meet a lock.
 * Tokens are reserved as an estimate and settled as they were used: beyond the estimate a window may end above its limit, and lets
 * nobody in until it is below again.
 *
 * A conversation has its seat for half an hour after its last request was let in, and no other one gets it until then.
 *
 * Each limited place has one gauge for as long as the configuration names it; those of places that went are kept for a while, so that
 * an edit forgets nothing, and are then used for others (counted as evicted). */
#ifndef GATE_LIMIT_H
#define GATE_LIMIT_H
#include "domain/snapshot.h"

enum limit_kind { LIMIT_REQUESTS_MINUTE, LIMIT_REQUESTS_HOUR, LIMIT_REQUESTS_DAY, LIMIT_TOKENS_MINUTE, LIMIT_TOKENS_DAY, LIMIT_CONCURRENCY, LIMIT_SESSIONS, LIMIT_KINDS };
enum limit_of { LIMIT_KEY, LIMIT_USER, LIMIT_ORG, LIMIT_MODEL, LIMIT_UPSTREAM, LIMIT_OFS };
extern const char *const limit_kind_names[LIMIT_KINDS];       /* "requests_per_minute", … */
extern const char *const limit_of_names[LIMIT_OFS];           /* "key", … */
int64_t limit_value(const struct limits *l, enum limit_kind k); /* 0: none */

struct limiter;
struct limiter *limiter_new(void);
void limiter_free(struct limiter *l);                         /* after all snapshots that were bound */
/* Gives every limited key, user, organisation, model and upstream its gauge; before the snapshot is published. Blocking, short. */
void limiter_bind(struct limiter *l, struct snapshot *s);

/* What the windows of an hour and a day hold, for the next process: an array. The clock of the wall outlives it. */
void limiter_write(struct limiter *l, uint64_t now_ms, int64_t wall_ms, struct jw *w);
void limiter_read(struct limiter *l, yyjson_val *v, uint64_t now_ms, int64_t wall_ms); /* after limiter_bind, before the first request; v may be NULL */

struct limit_place { /* whose limits apply */
    struct gauge *gauge;
    const struct limits *limits;
    enum limit_of of;
    uint64_t session;         /* of the request, any number but 0; 0: conversations are not its matter */
};
struct limit_refusal {
    size_t place;             /* its index */
    enum limit_kind kind;
    int64_t limit;
    int64_t wait_ms;          /* until it would fit; -1: until another request ends */
};
/* All of the places, or none. tokens: the estimate. */
bool limit_take(struct limiter *l, const struct limit_place *p, size_t n, int64_t tokens, uint64_t now_ms, struct limit_refusal *why) MUST_USE;
bool limit_fits(const struct limit_place *p, size_t n, int64_t tokens, uint64_t now_ms, struct limit_refusal *why) MUST_USE; /* takes nothing */
/* After a take at taken_ms with that estimate: what was really used, and that it is over. Wakes who waits. */
void limit_end(struct limiter *l, const struct limit_place *p, size_t n, int64_t tokens, int64_t used, uint64_t taken_ms, uint64_t now_ms);
void limit_refused(struct limiter *l, const struct limit_place *p, const struct limit_refusal *why); /* counts one that was turned away */

struct limit_view { /* of one window, or of what runs */
    int64_t limit, used, reset_ms; /* reset_ms: until nothing of it is used any more; concurrency: 0 */
};
struct limit_view limit_view(const struct limit_place *p, enum limit_kind k, uint64_t now_ms);
uint64_t limit_waiting(const struct gauge *g);                /* requests that wait for this place */
uint64_t limit_turned_away(const struct gauge *g);            /* since it is known */

/* ---- waiting ---- */

struct limit_bell { /* of one loop: rung from any thread when somebody on it has been woken, once until the list was emptied */
    void (*ring)(void *arg);  /* passes the word on and does nothing else: the limiter's lock is held */
    void *arg;
    struct limit_waiter *first, **last; /* of limit.c, as all that follows */
    bool is_rung;
};
enum limit_wait_state { LIMIT_IDLE, LIMIT_QUEUED, LIMIT_WOKEN };
struct limit_waiter { /* the caller's memory; belongs to one loop */
    struct limit_bell *bell;
    void *arg;                /* the caller's */
    uint64_t flow;            /* those of one flow (a key) are served in order, flows share evenly */
    int64_t tokens;
    struct limit_stand *stands; /* limit_stand_init() adds to them */
    /* of limit.c */
    enum limit_wait_state state;
    uint64_t arrival;         /* its place in its flow, for good; 0: it never waited */
    struct limit_stand *turn; /* where it was woken */
    struct limit_waiter *next_woken;
};
/* Of a waiter in the line of one gauge. It may stand in several, each once, and is served by the first where its turn comes: the caller's
 * memory, for as long as the waiter's. */
struct limit_stand {
    struct gauge *gauge;
    struct limit_stand *sibling; /* the next of its waiter */
    /* the caller's, before limit_wait() and limit_wait_again() */
    bool is_wanted;           /* it is to stand here */
    bool is_tried;            /* it was tried here just now, not left to those who wait: */
    uint64_t mark;            /* limit_mark() from before that try, so that what happens between the two is not missed */
    /* of limit.c */
    struct limit_waiter *waiter;
    uint64_t tag;
    bool is_in_line, is_passed_over;
    struct limit_stand *next_flow, *last; /* of the first of each flow */
    struct limit_stand *next, *prev;
};
uint64_t limit_mark(const struct gauge *g);
bool limit_is_awaited(const struct gauge *g);                 /* somebody waits: whoever comes now stands behind */
void limit_stand_init(struct limit_waiter *w, struct limit_stand *s, struct gauge *g); /* one more of w's, wanted nowhere yet */
/* Queues w where it wants to stand. false: too many wait (max: of all queues together). */
bool limit_wait(struct limiter *l, struct limit_waiter *w, size_t max) MUST_USE;
/* The next of those woken on this loop; NULL: none. Its turn is w->turn->gauge. It tries again, then says how it went: in (the next in turn
 * is woken), or not, then it waits as before, where it wants to stand now. */
struct limit_waiter *limit_next_woken(struct limiter *l, struct limit_bell *b);
void limit_got_in(struct limiter *l, struct limit_waiter *w);
void limit_wait_again(struct limiter *l, struct limit_waiter *w); /* also of one that was not woken */
/* Of one that waits, or was woken: its client has gone, its time is up, or it stands aside. Who waits once more has the place in its flow that
 * its arrival gave it. */
void limit_leave(struct limiter *l, struct limit_waiter *w);
void limit_kick(struct limiter *l, struct gauge *g);          /* time has passed: there may be room */
/* What the newest configuration allows, for those who waited meanwhile; all 0: nothing is limited any more. true: it is another than *out was. */
bool limit_in_force(struct limiter *l, const struct gauge *g, struct limits *out) MUST_USE;

struct limit_counts {
    uint64_t gauges, evicted, waiting, waited, queue_full;
    uint64_t refused[LIMIT_OFS][LIMIT_KINDS];
};
struct limit_counts limiter_counts(struct limiter *l);
#endif
