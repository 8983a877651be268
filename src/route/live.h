/* live.h - what is known of upstreams at the moment: breakers, vendors' quota windows, loads and times, round-robin places, and which member
 * a conversation keeps to. Shared by all loops: atomics, no lock but where a breaker is made or listed. Time is an argument (monotonic). */
#ifndef ROUTE_LIVE_H
#define ROUTE_LIVE_H
#include "domain/snapshot.h"
#include "route/quota.h"
#include "route/taxonomy.h"

struct live;
struct live *live_new(void);
void live_free(struct live *l);
uint64_t live_lane(const struct target *t);   /* names upstream and model; never 0 */

/* What is kept of a credential is kept under its mark (upstream.marks), not under its place: a credential that stands in its place later
 * has nothing to do with it. Another snapshot is put in force: what moved with a renamed upstream is moved, what belongs to a credential or
 * an address that is not there any more is forgotten. true: something was; live_touch() once the snapshot is the current one. */
bool live_bind(struct live *l, const struct snapshot *next) MUST_USE;
void live_touch(struct live *l);              /* it is to be saved */

/* ---- breakers: of a credential and a model, of a credential, of an upstream ---- */
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
extern const struct word breaker_words[];     /* "closed", "open", "half-open" */
enum standing_kind {
    STANDING_READY,
    STANDING_PROBE,    /* half-open: one request is let through to see */
    STANDING_STRAINED, /* its quota window would run out before it is reset */
    STANDING_COOLING,  /* to be left alone for wait_ms */
};
struct standing {
    enum standing_kind kind;
    uint64_t wait_ms;         /* 0 unless cooling */
    enum fault fault;         /* why it cools */
    bool is_quota;            /* a used up quota window, not a failure */
};
/* Of the credential of a target that stands best. */
struct standing live_standing(const struct live *l, const struct target *t, const struct settings *set, uint64_t now_ms);
struct ticket {               /* what an attempt was let through with */
    uint32_t key;             /* place of the credential to use */
    uint64_t at_ms;           /* when: what fails later, it knows nothing of */
    bool is_probe;            /* it is the one that sees how a half-open breaker's upstream is */
};
/* Before an attempt. false: it cools, or another request probes it already. Attempts that were admitted are reported, or given up.
 * is_only: there is no other target, and it is tried whatever the state. */
bool live_admit(struct live *l, const struct target *t, const struct settings *set, bool is_only, uint64_t now_ms, struct ticket *p) MUST_USE;
struct outcome {
    enum fault fault;         /* FAULT_NONE, or of the request's own: the upstream is well */
    int status;               /* 0: none came */
    int64_t retry_after_ms;   /* < 0: not said */
};
/* An answer to an attempt that was sent before a breaker opened does not close it. */
void live_report(struct live *l, const struct target *t, struct ticket *p, const struct outcome *o, const struct settings *set, uint64_t now_ms);
void live_give_up(struct live *l, const struct target *t, struct ticket *p); /* no outcome: the client left. Another one's probe goes on */
uint64_t live_cooling_ms(const struct live *l, const struct upstream *u, uint64_t now_ms); /* the longest of its breakers; 0: none is open */

struct breaker_info {
    const struct upstream *upstream;
    int32_t key;              /* place among its credentials; -1: all of them */
    uint64_t mark;            /* of the credential, or of the address; not to be shown */
    char model[128];          /* the upstream's id of it; empty: every model */
    enum breaker_state state;
    enum fault fault;
    uint32_t failures, level;
    uint64_t wait_ms, age_ms; /* until it is tried again; since the last failure */
    bool is_probing;
};
/* Those with a failure to remember, of what the snapshot has. */
size_t live_breakers(struct live *l, const struct snapshot *s, struct arena *a, uint64_t now_ms, struct breaker_info **out);
/* upstream UINT32_MAX: of all; model p NULL: all models, and what vendors said of windows, which are of no model. How many breakers were not
 * closed, and credentials had used up a window. */
size_t live_reset(struct live *l, uint32_t upstream, struct str model, uint64_t now_ms);
bool live_place(const struct upstream *u, uint64_t mark, int32_t *key) MUST_USE; /* as breaker_info.key; false: it has no such credential */
uint64_t live_mark(const struct upstream *u, uint32_t key);
void live_restore(struct live *l, const struct breaker_info *b, uint64_t now_ms); /* as it was before a restart: by upstream and mark */
uint64_t live_version(const struct live *l);  /* changes with every breaker and long quota window: whether there is something to save */
void live_on_change(struct live *l, void (*fn)(void *arg), void *arg); /* before the first request; called on any thread: it only tells */
uint64_t live_transitions(const struct live *l, enum breaker_state to); /* counted since the start */

/* ---- loads and times: of upstreams that is_measured ---- */
struct load {
    int64_t inflight;
    double uses, failures;    /* of late: halved every five minutes, every minute */
    double first_byte_us;     /* peak-sensitive moving average; 0: not known yet */
};
struct load live_load(const struct live *l, const struct target *t, uint64_t now_ms);
/* max 0: no limit. false: that many are under way. */
bool live_enter(struct live *l, const struct target *t, int64_t max, uint64_t now_ms) MUST_USE;
void live_leave(struct live *l, const struct target *t);
void live_first_byte(struct live *l, const struct target *t, uint64_t us, uint64_t now_ms);

/* ---- asking twice at once: of requests that may be, so that their times compare ---- */
#define HEDGE_SAMPLES 20      /* fewer times say nothing of a percentile */
void live_note_start(struct live *l, const struct target *t, uint64_t us); /* from the sending to the first byte of the reply; or for how long none came */
uint64_t live_start_percentile_us(const struct live *l, const struct target *t, unsigned percentile); /* of the last few hundred; 0: not known */
/* A combo's allowance: each of its requests earns `percent` hundredths of an attempt, of which `burst` are kept, and are there at first. */
void live_hedge_earn(struct live *l, uint32_t combo_index, int64_t percent);
bool live_hedge_take(struct live *l, uint32_t combo_index, int64_t burst) MUST_USE;
void live_hedge_return(struct live *l, uint32_t combo_index); /* it could not be sent */

/* ---- quota windows ---- */
#define QUOTA_SAVED_MS 60000 /* those that last no longer are over before a restart is */
void live_note_quota(struct live *l, const struct target *t, uint32_t key, const struct quota_window *v, size_t n, uint64_t now_ms);
size_t live_quota(const struct live *l, const struct upstream *u, uint32_t key, uint64_t now_ms, struct quota_window out[QUOTA_WINDOWS]);

/* ---- places and pins ---- */
uint64_t live_turn(struct live *l, uint32_t combo_index, bool takes); /* the next number of a combo; takes: it is used up */
uint64_t live_pin(const struct live *l, uint64_t key, uint64_t now_ms); /* the lane that it keeps to; 0: none */
void live_set_pin(struct live *l, uint64_t key, uint64_t lane, uint64_t now_ms);
#endif
