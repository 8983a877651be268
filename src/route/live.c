#include "route/live.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define MAX_UPSTREAMS 4096
#define SLOTS 4096 /* breakers with something to remember */
#define SLOT_STEPS 32
#define LANES 8192
#define LANE_STEPS 16
#define PINS 16384
#define COUNTERS 16384 /* of combos and models of several targets, by name */
#define COUNTER_STEPS 64
#define PIN_TTL_MS 1800000 /* of a conversation that says nothing */
#define MAX_COOL_MS (8ull * 86400000)
#define PROBE_MAX_MS 120000 /* a probe that nobody heard of again */
#define PROBE_WAIT_MS 100   /* those behind it look again */
#define AUTH_COOL_MS 120000
#define MODEL_COOL_MS 120000
#define LOCAL_MODEL_COOL_MS 5000
#define MAX_LEVEL 20
#define ANY_KEY UINT32_MAX
#define FREED 1 /* tag of an account that was forgotten */
#define USES_HALF_MS 300000.0
#define FAILURES_HALF_MS 60000.0
#define LATENCY_TAU_MS 10000.0

const struct word breaker_words[] = {
    {"closed", BREAKER_CLOSED}, {"open", BREAKER_OPEN}, {"half-open", BREAKER_HALF_OPEN}, {0}};

struct whose { /* of which upstream, and which of its credentials, or its address */
    uint32_t upstream;
    uint64_t mark, uid; /* uid: hash of what names the upstream when it is renamed */
};
struct slot {
    _Atomic uint64_t tag; /* of upstream, mark and model; 0: empty */
    _Atomic uint64_t until_ms, last_ms, probe_ms;
    _Atomic uint32_t failures, level, fault;
    _Atomic uint32_t is_dirty; /* counted in `troubles` */
    /* under the lock */
    struct whose whose;
    char model[128];
};
struct lane {
    _Atomic uint64_t tag;
    _Atomic int64_t inflight;
    _Atomic uint64_t uses, failures, first_byte; /* struct decayed */
};
/* Times to the first byte by size, four steps an octave from a millisecond: halved now and then, so that what is recent counts. */
#define START_STEPS 80
#define START_MAX 256
struct starts {
    _Atomic uint16_t n, v[START_STEPS];
};
struct account { /* of an upstream's credential: its quota windows */
    _Atomic uint64_t tag;
    struct {
        _Atomic uint64_t used;     /* bits of a double; 0: nothing known */
        _Atomic uint64_t reset_ms; /* monotonic; 0: not said */
        _Atomic uint64_t seen_ms;
    } v[QUOTA_WINDOWS];
    struct whose whose; /* under the lock */
};
struct pin {
    _Atomic uint64_t key, lane, at_ms;
};
struct counter {
    _Atomic uint64_t tag; /* of its index; 0: nobody's */
    _Atomic uint64_t turn;
    _Atomic int64_t hedge_debt; /* of an allowance, in hundredths of an attempt; 0: it is whole */
};
struct live {
    pthread_mutex_t lock;
    _Atomic uint32_t troubles[MAX_UPSTREAMS]; /* breakers of it that are not as new */
    _Atomic uint32_t quotas[MAX_UPSTREAMS];   /* whether it has said anything of quotas */
    _Atomic uint64_t version;
    _Atomic uint64_t transitions[3];
    void (*on_change)(void *arg);
    void *on_change_arg;
    struct counter counters[COUNTERS];
    struct slot slots[SLOTS];
    struct lane lanes[LANES];
    struct starts *starts; /* of the lane at the same place */
    struct account accounts[SLOTS];
    struct pin pins[PINS];
};

#define GET(x) atomic_load_explicit(&(x), memory_order_relaxed)
#define PUT(x, v) atomic_store_explicit(&(x), (v), memory_order_relaxed)
#define ADD(x, v) atomic_fetch_add_explicit(&(x), (v), memory_order_relaxed)

struct live *live_new(void)
{
    struct live *l = calloc(1, sizeof *l);
    if (l)
        l->starts = calloc(LANES, sizeof *l->starts); /* memory that is not touched is none */
    if (!l || !l->starts || pthread_mutex_init(&l->lock, NULL) != 0)
        abort();
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l->starts);
    free(l);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    x ^= x >> 31;
    return x ? x : 1;
}

static uint64_t lane_of(uint32_t upstream, struct str model)
{
    return mix(hash_bytes(model.p, model.n) + 0x9e3779b97f4a7c15u * (upstream + 1));
}

uint64_t live_lane(const struct target *t)
{
    return t->lane ? t->lane : lane_of(t->upstream->id, t->model);
}

/* ---- breakers ---- */

static uint64_t slot_tag(uint64_t lane, uint64_t mark)
{
    return mix(lane + 0x632be59bd9b4e019u * mark);
}

/* ANY_KEY: of the address. */
uint64_t live_mark(const struct upstream *u, uint32_t key)
{
    return key == ANY_KEY ? u->address_mark : u->marks ? u->marks[key] : key + 1ull;
}

static size_t keys_of(const struct upstream *u)
{
    return u->n_keys ? u->n_keys : 1;
}

bool live_place(const struct upstream *u, uint64_t mark, int32_t *key)
{
    *key = -1;
    if (mark == u->address_mark)
        return true;
    for (uint32_t k = 0; k < keys_of(u); k++)
        if (live_mark(u, k) == mark) {
            *key = (int32_t)k;
            return true;
        }
    return false;
}

static struct whose whose_of(const struct upstream *u, uint64_t mark)
{
    return (struct whose){u->id, mark, hash_bytes(u->uid.p, u->uid.n)};
}

static struct slot *find_slot(const struct live *l, uint64_t tag)
{
    struct live *live = (struct live *)(uintptr_t)l;
    for (size_t i = 0; i < SLOT_STEPS; i++) {
        struct slot *s = &live->slots[(tag + i) % SLOTS];
        uint64_t has = atomic_load_explicit(&s->tag, memory_order_acquire);
        if (has == tag)
            return s;
        if (has == 0)
            return NULL;
    }
    return NULL;
}

/* As new. */
static void forget_slot(struct live *l, struct slot *s)
{
    if (atomic_exchange(&s->is_dirty, 0) && s->whose.upstream < MAX_UPSTREAMS)
        (void)atomic_fetch_sub(&l->troubles[s->whose.upstream], 1);
    PUT(s->until_ms, 0);
    PUT(s->last_ms, 0);
    PUT(s->probe_ms, 0);
    PUT(s->failures, 0);
    PUT(s->level, 0);
}

/* Of a new one, or of the one that was quiet for longest. Under the lock. */
static struct slot *make_slot_locked(struct live *l, uint64_t tag, const struct whose *whose,
                                     struct str model)
{
    struct slot *best = NULL;
    for (size_t i = 0; i < SLOT_STEPS; i++) {
        struct slot *s = &l->slots[(tag + i) % SLOTS];
        uint64_t has = GET(s->tag);
        if (has == 0 || has == tag) {
            best = s;
            break;
        }
        if (!best || GET(s->last_ms) < GET(best->last_ms))
            best = s;
    }
    if (GET(best->tag) != tag) {
        forget_slot(l, best);
        best->whose = *whose;
        size_t n = model.n < sizeof best->model - 1 ? model.n : sizeof best->model - 1;
        if (n)
            memcpy(best->model, model.p, n);
        best->model[n] = 0;
        atomic_store_explicit(&best->tag, tag, memory_order_release);
    }
    return best;
}

static struct slot *make_slot(struct live *l, uint64_t tag, const struct upstream *u, uint64_t mark,
                              struct str model)
{
    const struct whose whose = whose_of(u, mark);
    pthread_mutex_lock(&l->lock);
    struct slot *s = make_slot_locked(l, tag, &whose, model);
    pthread_mutex_unlock(&l->lock);
    return s;
}

/* The three that stand in a request's way. */
struct slots {
    struct slot *v[3];
};

static struct slots slots_of(const struct live *l, const struct target *t, uint32_t key)
{
    uint64_t all = lane_of(t->upstream->id, STR_NONE), mark = live_mark(t->upstream, key);
    return (struct slots){{find_slot(l, slot_tag(live_lane(t), mark)),
                           find_slot(l, slot_tag(all, mark)),
                           find_slot(l, slot_tag(all, t->upstream->address_mark))}};
}

static bool is_open(const struct slot *s, uint64_t now)
{
    return GET(s->until_ms) > now;
}

static bool is_half_open(const struct slot *s, uint64_t now)
{
    uint64_t until = GET(s->until_ms);
    return until != 0 && until <= now;
}

static bool is_probed(const struct slot *s, uint64_t now)
{
    uint64_t at = GET(s->probe_ms);
    return at != 0 && now < at + PROBE_MAX_MS;
}

static bool has_trouble(const struct live *l, const struct upstream *u)
{
    return u->id < MAX_UPSTREAMS &&
           (atomic_load_explicit(&l->troubles[u->id], memory_order_acquire) ||
            GET(l->quotas[u->id]));
}

static void worst(struct standing *s, enum standing_kind kind, uint64_t wait, enum fault f,
                  bool is_quota)
{
    if (kind < s->kind || (kind == s->kind && wait <= s->wait_ms))
        return;
    *s = (struct standing){kind, wait, f, is_quota};
}

static void judge_quota(const struct live *l, const struct upstream *u, uint32_t key,
                        const struct settings *set, uint64_t now, struct standing *s)
{
    struct quota_window v[QUOTA_WINDOWS];
    size_t n = GET(l->quotas[u->id]) ? live_quota(l, u, key, now, v) : 0;
    double threshold = (double)set->quota_threshold_percent / 100;
    for (size_t i = 0; i < n; i++) {
        if (v[i].used >= 1 && v[i].reset_ms > 0)
            worst(s, STANDING_COOLING, (uint64_t)v[i].reset_ms, FAULT_QUOTA_WINDOW, true);
        else if (v[i].used >= threshold && quota_forecast(&v[i]) >= 1)
            worst(s, STANDING_STRAINED, 0, FAULT_NONE, true);
        else if (v[i].name <= QUOTA_TOKENS && v[i].used >= threshold)
            worst(s, STANDING_STRAINED, 0, FAULT_NONE, true);
    }
}

static struct standing of_key(const struct live *l, const struct target *t, uint32_t key,
                              const struct settings *set, uint64_t now)
{
    struct standing s = {STANDING_READY, 0, FAULT_NONE, false};
    struct slots all = slots_of(l, t, key);
    for (size_t i = 0; i < 3; i++) {
        const struct slot *one = all.v[i];
        if (!one)
            continue;
        if (is_open(one, now))
            worst(&s, STANDING_COOLING, GET(one->until_ms) - now, (enum fault)GET(one->fault),
                  false);
        else if (is_half_open(one, now) && is_probed(one, now))
            worst(&s, STANDING_COOLING, PROBE_WAIT_MS, (enum fault)GET(one->fault), false);
        else if (is_half_open(one, now))
            worst(&s, STANDING_PROBE, 0, (enum fault)GET(one->fault), false);
    }
    judge_quota(l, t->upstream, key, set, now, &s);
    return s;
}

static bool is_better(const struct standing *x, const struct standing *y)
{
    return x->kind != y->kind ? x->kind < y->kind : x->wait_ms < y->wait_ms;
}

struct standing live_standing(const struct live *l, const struct target *t,
                              const struct settings *set, uint64_t now)
{
    struct standing best = {STANDING_READY, 0, FAULT_NONE, false};
    if (!has_trouble(l, t->upstream))
        return best;
    for (uint32_t k = 0; k < keys_of(t->upstream); k++) {
        struct standing s = of_key(l, t, k, set, now);
        if (k == 0 || is_better(&s, &best))
            best = s;
        if (best.kind == STANDING_READY)
            break;
    }
    return best;
}

/* One of those behind it goes ahead to see. When it went is its mark: of one breaker no two have the same. */
static bool take_probe(struct slot *s, uint64_t now)
{
    uint64_t was = GET(s->probe_ms);
    if (was != 0 && now < was + PROBE_MAX_MS)
        return false;
    return atomic_compare_exchange_strong(&s->probe_ms, &was, now);
}

/* Its own mark alone: another one may be probing by now. */
static void end_probe(const struct slots *all, struct ticket *p)
{
    for (size_t i = 0; p->is_probe && i < 3; i++) {
        uint64_t mark = p->at_ms;
        if (all->v[i])
            (void)atomic_compare_exchange_strong(&all->v[i]->probe_ms, &mark, 0);
    }
    p->is_probe = false;
}

static bool admit_key(struct live *l, const struct target *t, struct ticket *p, uint64_t now)
{
    struct slots all = slots_of(l, t, p->key), taken = {{NULL, NULL, NULL}};
    for (size_t i = 0; i < 3; i++) {
        if (!all.v[i] || !is_half_open(all.v[i], now))
            continue;
        if (!take_probe(all.v[i], p->at_ms)) {
            end_probe(&taken, p);
            return false;
        }
        taken.v[i] = all.v[i];
        p->is_probe = true;
    }
    return true;
}

static uint32_t next_key(const struct upstream *u)
{
    return u->n_keys > 1 ? ADD(*u->next_key, 1) % (uint32_t)u->n_keys : 0;
}

bool live_admit(struct live *l, const struct target *t, const struct settings *set, bool is_only,
                uint64_t now, struct ticket *p)
{
    *p = (struct ticket){next_key(t->upstream), now ? now : 1, false};
    if (!has_trouble(l, t->upstream))
        return true;
    uint32_t first = p->key, n = (uint32_t)keys_of(t->upstream), best = first;
    struct standing of_best = of_key(l, t, first, set, now);
    for (uint32_t i = 1; i < n && of_best.kind != STANDING_READY; i++) {
        struct standing s = of_key(l, t, (first + i) % n, set, now);
        if (is_better(&s, &of_best)) {
            of_best = s;
            best = (first + i) % n;
        }
    }
    p->key = best;
    if (of_best.kind == STANDING_COOLING)
        return is_only;
    return admit_key(l, t, p, now) || is_only;
}

static void changed(struct live *l)
{
    atomic_fetch_add_explicit(&l->version, 1, memory_order_release);
    if (l->on_change)
        l->on_change(l->on_change_arg);
}

void live_on_change(struct live *l, void (*fn)(void *arg), void *arg)
{
    l->on_change_arg = arg;
    l->on_change = fn;
}

static void clean(struct live *l, struct slot *s, uint32_t upstream)
{
    if (!s)
        return;
    bool was_open = GET(s->until_ms) != 0;
    PUT(s->probe_ms, 0);
    PUT(s->until_ms, 0);
    PUT(s->failures, 0);
    PUT(s->level, 0);
    if (atomic_exchange(&s->is_dirty, 0)) {
        (void)atomic_fetch_sub(&l->troubles[upstream], 1);
        if (was_open)
            ADD(l->transitions[BREAKER_CLOSED], 1);
        changed(l);
    }
}

/* base doubled level times, at most max. */
static uint64_t backed_off(int64_t base, int64_t max, uint32_t level)
{
    uint64_t ms = (uint64_t)base << (level < MAX_LEVEL ? level : MAX_LEVEL);
    return ms < (uint64_t)max ? ms : (uint64_t)max;
}

struct rule {
    uint32_t key;
    bool is_of_model;
    uint32_t threshold;
    int64_t base, max; /* max 0: base alone, without doubling */
};

/* By category: what runs on one's own machines is back sooner than a vendor. */
struct patience {
    uint32_t after;
    int64_t cool_ms, cool_max_ms, limit_ms, limit_max_ms;
};

static struct patience patience_with(const struct upstream *u, const struct settings *set)
{
    if (u->kind->is_local)
        return (struct patience){(uint32_t)set->local_breaker_failures,
                                 set->local_breaker_cooldown_ms, set->local_breaker_cooldown_max_ms,
                                 set->local_rate_limit_cooldown_ms,
                                 set->rate_limit_cooldown_max_ms};
    return (struct patience){(uint32_t)set->breaker_failures, set->breaker_cooldown_ms,
                             set->breaker_cooldown_max_ms, set->rate_limit_cooldown_ms,
                             set->rate_limit_cooldown_max_ms};
}

/* Not every account may use every model: 403 is of this one alone at first. */
static bool is_forbidden(const struct outcome *o)
{
    return o->fault == FAULT_AUTH && o->status == 403;
}

static struct rule rule_for(const struct target *t, uint32_t key, const struct outcome *o,
                            const struct settings *set)
{
    struct patience p = patience_with(t->upstream, set);
    switch (o->fault) {
    case FAULT_AUTH:
    case FAULT_QUOTA_MONEY:
        return (struct rule){key, is_forbidden(o), 1, AUTH_COOL_MS, 0};
    case FAULT_MODEL:
        return (struct rule){key, true, 1,
                             t->upstream->kind->is_local ? LOCAL_MODEL_COOL_MS : MODEL_COOL_MS, 0};
    case FAULT_QUOTA_WINDOW:
        return (struct rule){key, true, 1, p.limit_ms, p.limit_max_ms};
    case FAULT_TRANSPORT:
        return (struct rule){ANY_KEY, false, p.after, p.cool_ms, p.cool_max_ms};
    case FAULT_SERVER:
        /* one request alone may have been too much for it */
        if (o->status == 500)
            p.after += 2;
        return (struct rule){key, true, p.after, p.cool_ms, p.cool_max_ms};
    case FAULT_OVERLOAD:
    case FAULT_NONE:
    case FAULT_CLIENT:
    case FAULT_POLICY:
    case FAULT_UNFIT:
        break;
    }
    return (struct rule){key, true, p.after, p.cool_ms, p.cool_max_ms};
}

static void open_slot(struct live *l, struct slot *s, const struct rule *r, const struct outcome *o,
                      uint64_t now)
{
    uint32_t level = GET(s->level);
    bool was_open = is_open(s, now);
    uint64_t ms = o->retry_after_ms >= 0 ? (uint64_t)o->retry_after_ms
                  : r->max               ? backed_off(r->base, r->max, level)
                                         : (uint64_t)r->base;
    if (ms > MAX_COOL_MS)
        ms = MAX_COOL_MS;
    if (ms == 0)
        ms = 1;
    if (was_open) { /* marked by another request of the same moment: not twice */
        if (o->retry_after_ms >= 0 && now + ms > GET(s->until_ms))
            PUT(s->until_ms, now + ms);
        return;
    }
    if (o->retry_after_ms < 0 && r->max && level < MAX_LEVEL)
        PUT(s->level, level + 1);
    PUT(s->until_ms, now + ms);
    ADD(l->transitions[BREAKER_OPEN], 1);
}

/* An attempt that was sent before it opened says nothing of how the upstream is since. Failures that did not open it are in a row: any
 * answer between them counts. */
static bool is_news(const struct slot *s, const struct ticket *p)
{
    return GET(s->until_ms) == 0 || p->at_ms > GET(s->last_ms);
}

/* In the breaker that the rule names. true: that breaker had no failure of this kind to remember. */
static bool note_failure(struct live *l, const struct target *t, const struct rule *r,
                         const struct outcome *o, const struct settings *set, uint64_t now)
{
    uint32_t upstream = t->upstream->id;
    struct str model = r->is_of_model ? t->model : STR_NONE;
    uint64_t lane = r->is_of_model ? live_lane(t) : lane_of(upstream, STR_NONE),
             mark = live_mark(t->upstream, r->key), tag = slot_tag(lane, mark);
    struct slot *s = find_slot(l, tag);
    if (!s)
        s = make_slot(l, tag, t->upstream, mark, model);
    bool is_new = !atomic_exchange(&s->is_dirty, 1);
    if (is_new)
        (void)atomic_fetch_add(&l->troubles[upstream], 1);
    uint64_t last = GET(s->last_ms);
    if (last && now > last + (uint64_t)set->breaker_quiet_ms) { /* long ago: as new */
        PUT(s->level, 0);
        PUT(s->failures, 0);
    }
    PUT(s->last_ms, now);
    is_new |= atomic_exchange(&s->fault, (uint32_t)o->fault) != (uint32_t)o->fault;
    /* a failed probe needs no further failure to be believed */
    if (ADD(s->failures, 1) + 1 >= r->threshold || o->retry_after_ms >= 0 || GET(s->until_ms) != 0)
        open_slot(l, s, r, o, now);
    return is_new;
}

void live_report(struct live *l, const struct target *t, struct ticket *p, const struct outcome *o,
                 const struct settings *set, uint64_t now)
{
    const struct upstream *u = t->upstream;
    bool is_well = !fault_is_its_own(o->fault);
    if (u->id >= MAX_UPSTREAMS)
        return;
    if (is_well && !atomic_load_explicit(&l->troubles[u->id], memory_order_acquire))
        return;
    live_give_up(l, t, p);
    if (is_well) {
        struct slots all = slots_of(l, t, p->key);
        for (size_t i = 0; i < 3; i++)
            if (all.v[i] && is_news(all.v[i], p))
                clean(l, all.v[i], u->id);
        return;
    }
    struct rule r = rule_for(t, p->key, o, set);
    /* of a second model, with no answer of any between, it is the credential's; how long the model is to be left alone says nothing of that */
    if (note_failure(l, t, &r, o, set, now) && is_forbidden(o)) {
        const struct rule of_key = {p->key, false, 2, r.base, r.max};
        (void)note_failure(l, t, &of_key, &(struct outcome){o->fault, o->status, -1}, set, now);
    }
    changed(l);
}

void live_give_up(struct live *l, const struct target *t, struct ticket *p)
{
    if (!p->is_probe)
        return;
    struct slots all = slots_of(l, t, p->key);
    end_probe(&all, p);
}

uint64_t live_cooling_ms(const struct live *l, const struct upstream *u, uint64_t now)
{
    struct live *live = (struct live *)(uintptr_t)l;
    uint64_t longest = 0;
    int32_t key;
    if (u->id >= MAX_UPSTREAMS || !GET(l->troubles[u->id]))
        return 0;
    pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *s = &l->slots[i];
        if (GET(s->tag) && s->whose.upstream == u->id && is_open(s, now) &&
            GET(s->until_ms) - now > longest && live_place(u, s->whose.mark, &key))
            longest = GET(s->until_ms) - now;
    }
    pthread_mutex_unlock(&live->lock);
    return longest;
}

size_t live_breakers(struct live *l, const struct snapshot *snap, struct arena *a, uint64_t now,
                     struct breaker_info **out)
{
    size_t n = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < SLOTS; i++)
        n += GET(l->slots[i].tag) && GET(l->slots[i].is_dirty);
    *out = ARENA_ARRAY(a, struct breaker_info, n + 1);
    size_t max = n;
    n = 0;
    for (size_t i = 0; i < SLOTS && n < max; i++) {
        const struct slot *s = &l->slots[i];
        if (!GET(s->tag) || !GET(s->is_dirty))
            continue;
        const struct upstream *u = snapshot_upstream_by_id(snap, s->whose.upstream);
        int32_t key;
        if (!u || !live_place(u, s->whose.mark, &key))
            continue; /* of a request that began when it was there */
        struct breaker_info *b = &(*out)[n++];
        uint64_t until = GET(s->until_ms), last = GET(s->last_ms);
        *b = (struct breaker_info){.upstream = u,
                                   .key = key,
                                   .mark = s->whose.mark,
                                   .state = until > now  ? BREAKER_OPEN
                                            : until != 0 ? BREAKER_HALF_OPEN
                                                         : BREAKER_CLOSED,
                                   .fault = (enum fault)GET(s->fault),
                                   .failures = GET(s->failures),
                                   .level = GET(s->level),
                                   .wait_ms = until > now ? until - now : 0,
                                   .age_ms = now > last ? now - last : 0,
                                   .is_probing = is_probed(s, now)};
        memcpy(b->model, s->model, sizeof b->model);
    }
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* What the vendor said of them. false: nothing. */
static bool forget_windows(struct account *a)
{
    bool has = false;
    for (size_t k = 0; k < QUOTA_WINDOWS; k++)
        has |= atomic_exchange(&a->v[k].used, 0) != 0;
    return has;
}

static bool has_used_up(const struct account *a, uint64_t now)
{
    for (size_t k = 0; k < QUOTA_WINDOWS; k++) {
        uint64_t bits = GET(a->v[k].used);
        double used;
        memcpy(&used, &bits, sizeof used);
        if (used >= 1 && GET(a->v[k].reset_ms) > now)
            return true;
    }
    return false;
}

size_t live_reset(struct live *l, uint32_t upstream, struct str model, uint64_t now)
{
    size_t n = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &l->slots[i];
        if (!GET(s->tag) || !GET(s->is_dirty) ||
            (upstream != UINT32_MAX && s->whose.upstream != upstream) ||
            (model.p && !str_eq(model, str_of(s->model))))
            continue;
        n += GET(s->until_ms) != 0;
        clean(l, s, s->whose.upstream);
    }
    size_t forgotten = 0;
    for (size_t i = 0; !model.p && i < SLOTS; i++) { /* what a vendor said is asked anew */
        struct account *a = &l->accounts[i];
        if (GET(a->tag) <= FREED || (upstream != UINT32_MAX && a->whose.upstream != upstream))
            continue;
        n += has_used_up(a, now);
        forgotten += forget_windows(a);
    }
    pthread_mutex_unlock(&l->lock);
    if (forgotten)
        changed(l);
    return n;
}

void live_restore(struct live *l, const struct breaker_info *b, uint64_t now)
{
    struct str model = str_of(b->model);
    uint32_t upstream = b->upstream->id;
    if (upstream >= MAX_UPSTREAMS)
        return;
    uint64_t tag = slot_tag(lane_of(upstream, model.n ? model : STR_NONE), b->mark);
    struct slot *s = make_slot(l, tag, b->upstream, b->mark, model);
    PUT(s->failures, b->failures);
    PUT(s->level, b->level < MAX_LEVEL ? b->level : MAX_LEVEL);
    PUT(s->fault, (uint32_t)b->fault);
    PUT(s->last_ms, now > b->age_ms ? now - b->age_ms : 1);
    /* one that was open is probed first, however long ago that was */
    PUT(s->until_ms, b->state == BREAKER_CLOSED ? 0 : b->wait_ms ? now + b->wait_ms : now);
    if (!atomic_exchange(&s->is_dirty, 1))
        (void)atomic_fetch_add(&l->troubles[upstream], 1);
}

uint64_t live_version(const struct live *l)
{
    return atomic_load_explicit(&l->version, memory_order_acquire);
}

uint64_t live_transitions(const struct live *l, enum breaker_state to)
{
    return GET(l->transitions[to]);
}

/* ---- loads ---- */

/* A number that fades, with the second of its last change: in one word, so that it is read and written whole. */
static uint64_t packed(float v, uint64_t now)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (now / 16) << 32 | bits;
}

static double value_of(uint64_t word)
{
    uint32_t bits = (uint32_t)word;
    float v;
    memcpy(&v, &bits, sizeof v);
    return (double)v;
}

static double age_of(uint64_t word, uint64_t now)
{
    uint32_t then = (uint32_t)(word >> 32), is = (uint32_t)(now / 16);
    return (double)(uint32_t)(is - then) * 16;
}

static double faded(uint64_t word, double half_ms, uint64_t now)
{
    return word ? value_of(word) * exp2(-age_of(word, now) / half_ms) : 0;
}

static struct lane *find_lane(const struct live *l, uint64_t tag, bool makes)
{
    struct live *live = (struct live *)(uintptr_t)l;
    for (size_t i = 0; i < LANE_STEPS; i++) {
        struct lane *lane = &live->lanes[(tag + i) % LANES];
        uint64_t has = GET(lane->tag);
        if (has == tag)
            return lane;
        if (has != 0)
            continue;
        if (!makes)
            return NULL;
        if (atomic_compare_exchange_strong(&lane->tag, &has, tag) || has == tag)
            return lane;
    }
    /* full around here: shared */
    return makes ? &live->lanes[tag % LANES] : NULL;
}

struct load live_load(const struct live *l, const struct target *t, uint64_t now)
{
    const struct lane *lane = find_lane(l, live_lane(t), false);
    if (!lane)
        return (struct load){0, 0, 0, 0};
    int64_t inflight = GET(lane->inflight);
    return (struct load){inflight > 0 ? inflight : 0, faded(GET(lane->uses), USES_HALF_MS, now),
                         faded(GET(lane->failures), FAILURES_HALF_MS, now),
                         value_of(GET(lane->first_byte))};
}

static void add_faded(_Atomic uint64_t *word, double half_ms, uint64_t now)
{
    uint64_t was = GET(*word), is;
    do
        is = packed((float)(faded(was, half_ms, now) + 1), now);
    while (!atomic_compare_exchange_weak(word, &was, is));
}

bool live_enter(struct live *l, const struct target *t, int64_t max, uint64_t now)
{
    struct lane *lane = find_lane(l, live_lane(t), true);
    if (ADD(lane->inflight, 1) >= max && max > 0) {
        ADD(lane->inflight, -1);
        return false;
    }
    add_faded(&lane->uses, USES_HALF_MS, now);
    return true;
}

void live_leave(struct live *l, const struct target *t)
{
    struct lane *lane = find_lane(l, live_lane(t), true);
    ADD(lane->inflight, -1);
}

void live_first_byte(struct live *l, const struct target *t, uint64_t us, uint64_t now)
{
    struct lane *lane = find_lane(l, live_lane(t), true);
    uint64_t was = GET(lane->first_byte), is;
    do {
        double old = value_of(was), fresh = us ? (double)us : 1;
        /* a peak counts at once and fades, so that who has become slow is avoided soon */
        double w = exp(-age_of(was, now) / LATENCY_TAU_MS);
        double next = was == 0 || fresh > old ? fresh : old * w + fresh * (1 - w);
        if (was && fresh <= old && next > old * 0.95)
            next = old * 0.95 + fresh * 0.05;
        is = packed((float)next, now);
    } while (!atomic_compare_exchange_weak(&lane->first_byte, &was, is));
}

/* ---- counters ---- */

static struct counter *find_counter(struct live *l, uint32_t index)
{
    uint64_t tag = mix(index + 1ull);
    for (size_t i = 0; i < COUNTER_STEPS; i++) {
        struct counter *c = &l->counters[(tag + i) % COUNTERS];
        uint64_t has = GET(c->tag);
        if (has == tag)
            return c;
        if (has == 0 && (atomic_compare_exchange_strong(&c->tag, &has, tag) || has == tag))
            return c;
    }
    return &l->counters[tag % COUNTERS]; /* full around here: shared */
}

/* ---- asking twice ---- */

static size_t start_step(uint64_t us)
{
    double step = us > 1000 ? ceil(4 * log2((double)us / 1000)) : 0;
    return step < START_STEPS - 1 ? (size_t)step : START_STEPS - 1;
}

static struct starts *starts_of(const struct live *l, const struct lane *lane)
{
    return &l->starts[lane - l->lanes];
}

void live_note_start(struct live *l, const struct target *t, uint64_t us)
{
    struct starts *s = starts_of(l, find_lane(l, live_lane(t), true));
    ADD(s->v[start_step(us)], 1);
    uint16_t n = (uint16_t)(ADD(s->n, 1) + 1);
    if (n < START_MAX || !atomic_compare_exchange_strong(&s->n, &n, (uint16_t)(n / 2)))
        return;
    uint16_t left = 0;
    /* one that is added meanwhile may be lost: it is one of hundreds */
    for (size_t i = 0; i < START_STEPS; i++) {
        uint16_t half = GET(s->v[i]) / 2;
        PUT(s->v[i], half);
        left = (uint16_t)(left + half);
    }
    PUT(s->n, left);
}

uint64_t live_start_percentile_us(const struct live *l, const struct target *t, unsigned percentile)
{
    const struct lane *lane = find_lane(l, live_lane(t), false);
    uint64_t n = 0, seen = 0;
    if (!lane)
        return 0;
    const struct starts *s = starts_of(l, lane);
    for (size_t i = 0; i < START_STEPS; i++)
        n += GET(s->v[i]);
    if (n < HEDGE_SAMPLES)
        return 0;
    for (size_t i = 0; i < START_STEPS; i++) {
        seen += GET(s->v[i]);
        if (seen * 100 >= n * percentile && seen > 0)
            return (uint64_t)(1000 * exp2((double)i / 4));
    }
    return 0;
}

void live_hedge_earn(struct live *l, uint32_t index, int64_t percent)
{
    _Atomic int64_t *debt = &find_counter(l, index)->hedge_debt;
    int64_t was = GET(*debt);
    while (was > 0 && !atomic_compare_exchange_weak(debt, &was, was > percent ? was - percent : 0))
        ;
}

bool live_hedge_take(struct live *l, uint32_t index, int64_t burst)
{
    _Atomic int64_t *debt = &find_counter(l, index)->hedge_debt;
    int64_t was = GET(*debt);
    do
        if (was + 100 > burst * 100)
            return false;
    while (!atomic_compare_exchange_weak(debt, &was, was + 100));
    return true;
}

void live_hedge_return(struct live *l, uint32_t index)
{
    live_hedge_earn(l, index, 100);
}

/* ---- quota windows ---- */

static uint64_t account_tag(uint32_t upstream, uint64_t mark)
{
    uint64_t tag = mix(mark + 0x9e3779b97f4a7c15u * (upstream + 1ull) + 0x51ed270b);
    return tag > FREED ? tag : FREED + 1;
}

static struct account *find_account(const struct live *l, uint64_t tag)
{
    struct live *live = (struct live *)(uintptr_t)l;
    for (size_t i = 0; i < SLOT_STEPS; i++) {
        struct account *a = &live->accounts[(tag + i) % SLOTS];
        uint64_t has = atomic_load_explicit(&a->tag, memory_order_acquire);
        if (has == tag)
            return a;
        if (has == 0)
            return NULL;
    }
    return NULL;
}

/* Under the lock. NULL: there is no room. */
static struct account *make_account(struct live *l, uint64_t tag, const struct whose *whose)
{
    struct account *found = find_account(l, tag);
    if (found)
        return found;
    for (size_t i = 0; i < SLOT_STEPS; i++) {
        struct account *a = &l->accounts[(tag + i) % SLOTS];
        if (GET(a->tag) > FREED)
            continue;
        (void)forget_windows(a);
        a->whose = *whose;
        atomic_store_explicit(&a->tag, tag, memory_order_release);
        return a;
    }
    return NULL;
}

/* Once for each credential that says anything of quotas. */
static struct account *account_of(struct live *l, const struct upstream *u, uint64_t mark)
{
    const uint64_t tag = account_tag(u->id, mark);
    struct account *a = find_account(l, tag);
    if (a)
        return a;
    const struct whose whose = whose_of(u, mark);
    pthread_mutex_lock(&l->lock);
    a = make_account(l, tag, &whose);
    pthread_mutex_unlock(&l->lock);
    return a;
}

/* Of windows that outlast a restart: what is used of them is saved, percent by percent. */
static bool is_worth_saving(const struct quota_window *v, uint64_t was_bits)
{
    double was;
    memcpy(&was, &was_bits, sizeof was);
    return v->reset_ms >= QUOTA_SAVED_MS && floor(was * 100) != floor(v->used * 100);
}

void live_note_quota(struct live *l, const struct target *t, uint32_t key,
                     const struct quota_window *v, size_t n, uint64_t now)
{
    const uint64_t mark = live_mark(t->upstream, key), tag = account_tag(t->upstream->id, mark);
    struct account *a = n && t->upstream->id < MAX_UPSTREAMS ? account_of(l, t->upstream, mark)
                                                             : NULL;
    bool is_news = false;
    for (size_t i = 0; a && i < n; i++) {
        double used = v[i].used > 0 ? v[i].used : 1e-9;
        uint64_t bits;
        memcpy(&bits, &used, sizeof bits);
        is_news |= is_worth_saving(&v[i], GET(a->v[v[i].name].used));
        /* a peer's number: any */
        const uint64_t left = v[i].reset_ms > (int64_t)MAX_COOL_MS ? MAX_COOL_MS
                                                                   : (uint64_t)v[i].reset_ms;
        PUT(a->v[v[i].name].reset_ms, v[i].reset_ms >= 0 ? now + left : 0);
        PUT(a->v[v[i].name].seen_ms, now);
        PUT(a->v[v[i].name].used, bits);
    }
    if (a && atomic_load(&a->tag) != tag)
        /* forgotten meanwhile: they are nobody's, or not those of who has the place now */
        (void)forget_windows(a);
    if (a)
        PUT(l->quotas[t->upstream->id], 1);
    if (is_news)
        changed(l);
}

size_t live_quota(const struct live *l, const struct upstream *u, uint32_t key, uint64_t now,
                  struct quota_window out[QUOTA_WINDOWS])
{
    const struct account *a = find_account(l, account_tag(u->id, live_mark(u, key)));
    size_t n = 0;
    for (size_t i = 0; a && i < QUOTA_WINDOWS; i++) {
        uint64_t bits = GET(a->v[i].used), reset = GET(a->v[i].reset_ms);
        double used;
        memcpy(&used, &bits, sizeof used);
        /* past its end, or said long ago: it says nothing any more */
        if (bits == 0 || (reset ? reset <= now : now > GET(a->v[i].seen_ms) + 60000))
            continue;
        out[n++] = (struct quota_window){(enum quota_name)i, used,
                                         reset ? (int64_t)(reset - now) : -1};
    }
    return n;
}

/* ---- another snapshot ---- */

struct bind {
    struct live *l;
    const struct snapshot *s;
    struct arena *a;
    const struct upstream **by_id;
    bool is_news;
};

static bool is_of(const struct upstream *u, const struct whose *w, bool is_same_uid)
{
    int32_t key;
    return live_place(u, w->mark, &key) &&
           (!is_same_uid || (u->uid.n && hash_bytes(u->uid.p, u->uid.n) == w->uid));
}

/* Where it belongs to now: with a renamed upstream to another id. NULL: nowhere. */
static const struct upstream *home_of(const struct bind *b, const struct whose *w)
{
    const struct upstream *own = b->by_id[w->upstream];
    if (own && is_of(own, w, true))
        return own;
    for (size_t i = 0; i < b->s->n_upstreams; i++)
        if (b->s->upstreams[i]->id < MAX_UPSTREAMS && is_of(b->s->upstreams[i], w, true))
            return b->s->upstreams[i];
    return own && is_of(own, w, false) ? own : NULL;
}

struct moved_slot {
    struct moved_slot *next;
    const struct upstream *to;
    uint64_t mark, until_ms, last_ms;
    uint32_t failures, level, fault;
    struct str model;
};
struct moved_account {
    struct moved_account *next;
    const struct upstream *to;
    uint64_t mark;
    struct {
        uint64_t used, reset_ms, seen_ms;
    } v[QUOTA_WINDOWS];
};

static struct moved_slot *take_slot(struct arena *a, const struct slot *s,
                                    const struct upstream *to)
{
    struct moved_slot *m = ARENA_NEW(a, struct moved_slot);
    *m = (struct moved_slot){.to = to,
                             .mark = s->whose.mark,
                             .until_ms = GET(s->until_ms),
                             .last_ms = GET(s->last_ms),
                             .failures = GET(s->failures),
                             .level = GET(s->level),
                             .fault = GET(s->fault),
                             .model = str_dup(a, str_of(s->model))};
    return m;
}

static void settle_slot(struct live *l, const struct moved_slot *m)
{
    const uint64_t lane = lane_of(m->to->id, m->model.n ? m->model : STR_NONE);
    const struct whose whose = whose_of(m->to, m->mark);
    struct slot *s = make_slot_locked(l, slot_tag(lane, m->mark), &whose, m->model);
    PUT(s->failures, m->failures);
    PUT(s->level, m->level);
    PUT(s->fault, m->fault);
    PUT(s->last_ms, m->last_ms);
    PUT(s->until_ms, m->until_ms);
    if (!atomic_exchange(&s->is_dirty, 1))
        (void)atomic_fetch_add(&l->troubles[m->to->id], 1);
}

static void bind_slots(struct bind *b)
{
    struct live *l = b->l;
    struct moved_slot *moved = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &l->slots[i];
        if (!GET(s->tag) || !GET(s->is_dirty))
            continue;
        const struct upstream *to = home_of(b, &s->whose);
        if (to && to->id == s->whose.upstream)
            continue;
        if (to) {
            struct moved_slot *m = take_slot(b->a, s, to);
            m->next = moved;
            moved = m;
        }
        forget_slot(l, s);
        b->is_news = true;
    }
    /* all are taken before any is put: two may have changed their names */
    for (; moved; moved = moved->next)
        settle_slot(l, moved);
}

static struct moved_account *take_account(struct arena *a, const struct account *x,
                                          const struct upstream *to)
{
    struct moved_account *m = ARENA_NEW(a, struct moved_account);
    m->to = to;
    m->mark = x->whose.mark;
    for (size_t k = 0; k < QUOTA_WINDOWS; k++) {
        m->v[k].used = GET(x->v[k].used);
        m->v[k].reset_ms = GET(x->v[k].reset_ms);
        m->v[k].seen_ms = GET(x->v[k].seen_ms);
    }
    return m;
}

static void settle_account(struct live *l, const struct moved_account *m)
{
    const struct whose whose = whose_of(m->to, m->mark);
    struct account *x = make_account(l, account_tag(m->to->id, m->mark), &whose);
    for (size_t k = 0; x && k < QUOTA_WINDOWS; k++) {
        PUT(x->v[k].reset_ms, m->v[k].reset_ms);
        PUT(x->v[k].seen_ms, m->v[k].seen_ms);
        PUT(x->v[k].used, m->v[k].used);
    }
    PUT(l->quotas[m->to->id], 1);
}

static void bind_accounts(struct bind *b)
{
    struct moved_account *moved = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        struct account *x = &b->l->accounts[i];
        if (GET(x->tag) <= FREED)
            continue;
        const struct upstream *to = home_of(b, &x->whose);
        if (to && to->id == x->whose.upstream)
            continue;
        if (to) {
            struct moved_account *m = take_account(b->a, x, to);
            m->next = moved;
            moved = m;
        }
        atomic_store(&x->tag, FREED);
        b->is_news |= forget_windows(x);
    }
    for (; moved; moved = moved->next)
        settle_account(b->l, moved);
}

bool live_bind(struct live *l, const struct snapshot *next)
{
    struct bind b = {.l = l, .s = next, .a = arena_new()};
    b.by_id = ARENA_ARRAY(b.a, const struct upstream *, MAX_UPSTREAMS);
    for (size_t i = 0; i < next->n_upstreams; i++)
        if (next->upstreams[i]->id < MAX_UPSTREAMS)
            b.by_id[next->upstreams[i]->id] = next->upstreams[i];
    pthread_mutex_lock(&l->lock);
    bind_slots(&b);
    bind_accounts(&b);
    pthread_mutex_unlock(&l->lock);
    arena_free(b.a);
    return b.is_news;
}

void live_touch(struct live *l)
{
    changed(l);
}

/* ---- places and pins ---- */

uint64_t live_turn(struct live *l, uint32_t index, bool takes)
{
    _Atomic uint64_t *c = &find_counter(l, index)->turn;
    return takes ? ADD(*c, 1) : GET(*c);
}

uint64_t live_pin(const struct live *l, uint64_t key, uint64_t now)
{
    for (size_t i = 0; i < 4; i++) {
        const struct pin *p = &l->pins[(key / 4 * 4 + i) % PINS];
        if (GET(p->key) == key && now < GET(p->at_ms) + PIN_TTL_MS)
            return GET(p->lane);
    }
    return 0;
}

void live_set_pin(struct live *l, uint64_t key, uint64_t lane, uint64_t now)
{
    struct pin *best = NULL;
    for (size_t i = 0; i < 4; i++) {
        struct pin *p = &l->pins[(key / 4 * 4 + i) % PINS];
        if (GET(p->key) == key) {
            best = p;
            break;
        }
        if (!best || GET(p->at_ms) < GET(best->at_ms))
            best = p;
    }
    PUT(best->key, key);
    PUT(best->lane, lane);
    PUT(best->at_ms, now);
}
