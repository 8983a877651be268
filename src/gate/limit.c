#include "gate/limit.h"
#include "base/banned.h"
#include "base/map.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS 32
#define COUNTED 31 /* slots that count: the window is at least 30 of them long */
#define WINDOWS 5
#define SLAB 128  /* gauges that are made at once */
#define KEPT 4096 /* gauges of places that went */
#define VALUE_BITS 40
#define VALUE_MASK ((UINT64_C(1) << VALUE_BITS) - 1)
/* what a request of so many tokens costs in turns, one more than it has thousands */
#define TOKENS_A_TURN 1000
#define MAX_TURNS 64

const char *const limit_kind_names[LIMIT_KINDS] = {
    "requests_per_minute", "requests_per_hour", "requests_per_day", "tokens_per_minute",
    "tokens_per_day",      "concurrency",       "sessions"};
const char *const limit_of_names[LIMIT_OFS] = {"key", "user", "org", "model", "upstream"};
static const uint64_t slot_ms[WINDOWS] = {2000, 120000, 2880000, 2000, 2880000};

int64_t limit_value(const struct limits *l, enum limit_kind k)
{
    const int64_t values[LIMIT_KINDS] = {
        l->requests_per_minute, l->requests_per_hour, l->requests_per_day, l->tokens_per_minute,
        l->tokens_per_day,      l->concurrency,       l->sessions};
    return values[k];
}

/* A slot holds the low bits of its number above what was used in it, so that both change in one step. */
struct window {
    _Atomic int64_t total;   /* of all slots, and of what is on its way into one */
    _Atomic uint64_t newest; /* number of the slot up to which old ones were emptied */
    _Atomic uint64_t slots[SLOTS];
};
/* Who has a seat, and since when nothing was heard: the second in the low bits, enough of its number above. One word each, so that
 * nobody sees half of a change. */
struct seats {
    /* that it took the place of: freed with it, for requests may still look at that one */
    struct seats *smaller;
    size_t n;
    _Atomic uint64_t v[];
};
struct gauge {
    struct window windows[WINDOWS];
    _Atomic(struct seats *) seats; /* NULL: conversations were never limited here */
    _Atomic int64_t running;
    _Atomic uint64_t turned_away;
    _Atomic uint64_t changes; /* each thing after which there may be room */
    _Atomic int64_t waiting;  /* queued and woken */
    /* under the limiter's lock */
    struct limit_stand *flows; /* the first of each */
    size_t woken;
    uint64_t clock;         /* virtual time of the queue: the tag of who was served last */
    struct limits in_force; /* of the newest configuration */
    uint64_t bound;         /* which one that is */
};

struct entry {  /* of the registry */
    char *name; /* "key/0a1b" */
    struct gauge *gauge;
    size_t refs; /* snapshots that have it; 0: kept for a while */
};
struct limiter {
    pthread_mutex_t lock;
    struct map by_name;
    struct entry **entries;
    size_t n, cap, n_gone, hand;
    struct gauge *spare; /* of the newest slab */
    size_t n_spare;
    struct gauge **slabs;
    size_t n_slabs;
    uint64_t evicted, waited, queue_full, arrivals, bounds;
    size_t n_waiting;
    _Atomic uint64_t refused[LIMIT_OFS][LIMIT_KINDS];
};

/* ---- windows ---- */

static uint64_t packed(uint64_t number, int64_t value)
{
    return number << VALUE_BITS | ((uint64_t)value & VALUE_MASK);
}

static bool is_slot(uint64_t slot, uint64_t number)
{
    return slot >> VALUE_BITS == (number & (UINT64_MAX >> VALUE_BITS));
}

static int64_t value_of(uint64_t slot)
{
    return (int64_t)(slot & VALUE_MASK);
}

/* How many slots ago; below 0: still to come, as others see the time. */
static int age_of(uint64_t slot, uint64_t now)
{
    uint32_t apart = (uint32_t)(now - (slot >> VALUE_BITS)) << (VALUE_BITS - 32);
    return (int32_t)apart / (1 << (VALUE_BITS - 32)); /* the sign of the 24 bits that are kept */
}

/* Empties what has become too old. Whoever comes first in a new slot does it for all. */
static void advance(struct window *w, uint64_t now)
{
    uint64_t newest = atomic_load(&w->newest);
    do {
        if (now <= newest)
            return;
    } while (!atomic_compare_exchange_weak(&w->newest, &newest, now));
    uint64_t steps = now - newest < SLOTS ? now - newest : SLOTS;
    for (uint64_t i = 0; i < steps; i++) {
        _Atomic uint64_t *at = &w->slots[(now - COUNTED - i) % SLOTS];
        uint64_t slot = atomic_load(at);
        while (value_of(slot) > 0 && age_of(slot, now) >= COUNTED)
            if (atomic_compare_exchange_weak(at, &slot, slot & ~VALUE_MASK)) {
                atomic_fetch_sub(&w->total, value_of(slot));
                break;
            }
    }
}

/* Into the slot of a moment. What still stands in it from long ago goes; where time went on without us, it counts as younger. */
static void put(struct window *w, uint64_t number, int64_t n)
{
    _Atomic uint64_t *at = &w->slots[number % SLOTS];
    uint64_t slot = atomic_load(at);
    for (;;) {
        bool is_old = age_of(slot, number) > 0;
        int64_t was = value_of(slot), value = is_old ? n : was + n;
        if (value > (int64_t)VALUE_MASK)
            value = (int64_t)VALUE_MASK;
        uint64_t next = (is_old ? number << VALUE_BITS : slot & ~VALUE_MASK) | (uint64_t)value;
        if (atomic_compare_exchange_weak(at, &slot, next)) {
            if (was + n != value)
                atomic_fetch_sub(&w->total, was + n - value);
            return;
        }
    }
}

static bool window_take(struct window *w, uint64_t number, int64_t n, int64_t limit)
{
    advance(w, number);
    int64_t total = atomic_load(&w->total);
    do {
        if (total + n > limit)
            return false;
    } while (!atomic_compare_exchange_weak(&w->total, &total, total + n));
    put(w, number, n);
    return true;
}

/* Takes back of what was put at a moment, as far as it still counts. */
static void window_give(struct window *w, uint64_t number, int64_t n)
{
    _Atomic uint64_t *at = &w->slots[number % SLOTS];
    uint64_t slot = atomic_load(at);
    while (is_slot(slot, number)) {
        int64_t back = n < value_of(slot) ? n : value_of(slot);
        if (back == 0)
            return;
        if (atomic_compare_exchange_weak(at, &slot, packed(number, value_of(slot) - back))) {
            atomic_fetch_sub(&w->total, back);
            return;
        }
    }
}

static void window_add(struct window *w, uint64_t number, int64_t n) /* whatever the limit says */
{
    advance(w, number);
    atomic_fetch_add(&w->total, n);
    put(w, number, n);
}

/* Time until n more fit. */
static int64_t window_wait(const struct window *w, enum limit_kind k, uint64_t now_ms, int64_t n,
                           int64_t limit)
{
    uint64_t now = now_ms / slot_ms[k];
    int64_t over = atomic_load(&w->total) + n - limit;
    for (uint64_t age = COUNTED; over > 0 && age-- > 0;) {
        uint64_t number = now - age, slot = atomic_load(&w->slots[number % SLOTS]);
        if (number > now || !is_slot(slot, number))
            continue;
        over -= value_of(slot);
        if (over <= 0)
            return (int64_t)((number + COUNTED) * slot_ms[k] - now_ms);
    }
    return 0;
}

/* ---- seats ---- */

#define SEAT_BITS 28
#define SEAT_MASK ((UINT64_C(1) << SEAT_BITS) - 1)
#define SEAT_S 1800 /* without a request, until another conversation may have it */

static uint64_t seat_of(uint64_t session, uint64_t now_s)
{
    return (session * 0x9e3779b97f4a7c15u & ~SEAT_MASK) | (now_s & SEAT_MASK);
}

static uint64_t silent_s(uint64_t seat, uint64_t now_s)
{
    return (now_s - seat) & SEAT_MASK;
}

/* How many are taken; left_s: until the first of them is free, last_s: until all are. */
static int64_t seats_taken(const struct seats *s, uint64_t now_s, uint64_t *left_s,
                           uint64_t *last_s)
{
    int64_t taken = 0;
    *left_s = SEAT_S;
    *last_s = 0;
    for (size_t i = 0; s && i < s->n; i++) {
        uint64_t seat = atomic_load(&s->v[i]), silent = silent_s(seat, now_s);
        if (!seat || silent >= SEAT_S)
            continue;
        taken++;
        *left_s = SEAT_S - silent < *left_s ? SEAT_S - silent : *left_s;
        *last_s = SEAT_S - silent > *last_s ? SEAT_S - silent : *last_s;
    }
    return taken;
}

/* The seat that it has; NULL: none. */
static _Atomic uint64_t *seat_had(struct seats *s, uint64_t mine, uint64_t now_s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        uint64_t seat = atomic_load(&s->v[i]);
        if (seat && (seat ^ mine) <= SEAT_MASK && silent_s(seat, now_s) < SEAT_S)
            return &s->v[i];
    }
    return NULL;
}

/* Its own, or the first one that is free, so that two requests of a new conversation find the same one. */
static bool seat_take(struct seats *s, int64_t limit, uint64_t session, uint64_t now_s)
{
    uint64_t mine = seat_of(session, now_s), ignored;
    for (;;) {
        bool is_outrun = false;
        _Atomic uint64_t *had = seat_had(s, mine, now_s);
        if (had) {
            uint64_t was = atomic_load(had);
            if ((was ^ mine) > SEAT_MASK)
                continue; /* given away meanwhile */
            if (was == mine || atomic_compare_exchange_strong(had, &was, mine))
                return true;
            continue;
        }
        /* after the limit became smaller there may be more than it */
        if (seats_taken(s, now_s, &ignored, &ignored) >= limit)
            return false;
        for (size_t i = 0; i < s->n && i < (size_t)limit && !is_outrun; i++) {
            uint64_t was = atomic_load(&s->v[i]);
            if (was && silent_s(was, now_s) < SEAT_S)
                continue;
            if (atomic_compare_exchange_strong(&s->v[i], &was, mine))
                return true;
            is_outrun = true;
        }
        if (!is_outrun)
            return false; /* those that are free are beyond the limit */
    }
}

static bool has_seat(const struct limit_place *p, uint64_t now_ms)
{
    struct seats *s = atomic_load(&p->gauge->seats);
    uint64_t now_s = now_ms / 1000, ignored;
    return !p->limits->sessions || !p->session || !s ||
           seat_had(s, seat_of(p->session, now_s), now_s) ||
           seats_taken(s, now_s, &ignored, &ignored) < p->limits->sessions;
}

/* ---- taking ---- */

static int64_t amount(enum limit_kind k, int64_t tokens, int64_t limit)
{
    if (k < LIMIT_TOKENS_MINUTE)
        return 1;
    /* what is larger than all of it goes when all of it is free */
    return tokens < limit ? tokens : limit;
}

static bool refuse(struct limit_refusal *why, size_t place, enum limit_kind k, int64_t limit,
                   int64_t wait_ms)
{
    *why = (struct limit_refusal){place, k, limit, wait_ms};
    return false;
}

static bool refuse_seat(struct limit_refusal *why, size_t place, const struct limit_place *p,
                        uint64_t now_ms)
{
    uint64_t left_s, ignored;
    (void)seats_taken(atomic_load(&p->gauge->seats), now_ms / 1000, &left_s, &ignored);
    return refuse(why, place, LIMIT_SESSIONS, p->limits->sessions, (int64_t)left_s * 1000);
}

static bool fits(const struct limit_place *p, size_t at, int64_t tokens, uint64_t now_ms,
                 struct limit_refusal *why)
{
    struct gauge *g = p->gauge;
    for (enum limit_kind k = 0; k < WINDOWS; k++) {
        int64_t limit = limit_value(p->limits, k), n = amount(k, tokens, limit);
        if (limit == 0 || n == 0)
            continue;
        advance(&g->windows[k], now_ms / slot_ms[k]);
        if (atomic_load(&g->windows[k].total) + n > limit)
            return refuse(why, at, k, limit, window_wait(&g->windows[k], k, now_ms, n, limit));
    }
    int64_t most = p->limits->concurrency;
    if (most && atomic_load(&g->running) >= most)
        return refuse(why, at, LIMIT_CONCURRENCY, most, -1);
    return has_seat(p, now_ms) || refuse_seat(why, at, p, now_ms);
}

bool limit_fits(const struct limit_place *p, size_t n, int64_t tokens, uint64_t now_ms,
                struct limit_refusal *why)
{
    for (size_t i = 0; i < n; i++)
        if (!fits(&p[i], i, tokens, now_ms, why))
            return false;
    return true;
}

static void give_back(struct gauge *g, const struct limits *l, enum limit_kind up_to,
                      int64_t tokens, uint64_t now_ms)
{
    for (enum limit_kind k = 0; k < up_to && k < WINDOWS; k++) {
        int64_t limit = limit_value(l, k);
        if (limit)
            window_give(&g->windows[k], now_ms / slot_ms[k], amount(k, tokens, limit));
    }
    if (up_to > LIMIT_CONCURRENCY)
        atomic_fetch_sub(&g->running, 1);
}

static bool take(const struct limit_place *p, size_t at, int64_t tokens, uint64_t now_ms,
                 struct limit_refusal *why)
{
    struct gauge *g = p->gauge;
    for (enum limit_kind k = 0; k < WINDOWS; k++) {
        int64_t limit = limit_value(p->limits, k), n = amount(k, tokens, limit);
        if (limit == 0 || n == 0 || window_take(&g->windows[k], now_ms / slot_ms[k], n, limit))
            continue;
        give_back(g, p->limits, k, tokens, now_ms);
        return refuse(why, at, k, limit, window_wait(&g->windows[k], k, now_ms, n, limit));
    }
    int64_t running = atomic_load(&g->running), most = p->limits->concurrency;
    do {
        if (most && running >= most) {
            give_back(g, p->limits, LIMIT_CONCURRENCY, tokens, now_ms);
            return refuse(why, at, LIMIT_CONCURRENCY, most, -1);
        }
    } while (!atomic_compare_exchange_weak(&g->running, &running, running + 1));
    struct seats *seats = atomic_load(&g->seats);
    if (!p->limits->sessions || !p->session || !seats ||
        seat_take(seats, p->limits->sessions, p->session, now_ms / 1000))
        return true;
    give_back(g, p->limits, LIMIT_SESSIONS, tokens, now_ms);
    return refuse_seat(why, at, p, now_ms);
}

bool limit_take(struct limiter *l, const struct limit_place *p, size_t n, int64_t tokens,
                uint64_t now_ms, struct limit_refusal *why)
{
    if (!limit_fits(p, n, tokens, now_ms, why)) /* disturbs nobody */
        return false;
    for (size_t i = 0; i < n; i++) {
        if (take(&p[i], i, tokens, now_ms, why))
            continue;
        limit_kick(l, p[i].gauge); /* it may have looked fuller than it was */
        while (i-- > 0) {
            give_back(p[i].gauge, p[i].limits, LIMIT_KINDS, tokens, now_ms);
            limit_kick(l, p[i].gauge);
        }
        return false;
    }
    return true;
}

void limit_end(struct limiter *l, const struct limit_place *p, size_t n, int64_t tokens,
               int64_t used, uint64_t taken_ms, uint64_t now_ms)
{
    for (size_t i = 0; i < n; i++) {
        struct gauge *g = p[i].gauge;
        for (enum limit_kind k = LIMIT_TOKENS_MINUTE; k <= LIMIT_TOKENS_DAY; k++) {
            int64_t limit = limit_value(p[i].limits, k), reserved = amount(k, tokens, limit);
            if (limit && used < reserved)
                window_give(&g->windows[k], taken_ms / slot_ms[k], reserved - used);
            else if (limit && used > reserved)
                window_add(&g->windows[k], now_ms / slot_ms[k], used - reserved);
        }
        atomic_fetch_sub(&g->running, 1);
        limit_kick(l, g);
    }
}

void limit_refused(struct limiter *l, const struct limit_place *p, const struct limit_refusal *why)
{
    atomic_fetch_add(&p[why->place].gauge->turned_away, 1);
    atomic_fetch_add(&l->refused[p[why->place].of][why->kind], 1);
}

struct limit_view limit_view(const struct limit_place *p, enum limit_kind k, uint64_t now_ms)
{
    struct gauge *g = p->gauge;
    struct limit_view v = {.limit = limit_value(p->limits, k)};
    if (k == LIMIT_CONCURRENCY) {
        v.used = atomic_load(&g->running);
        return v;
    }
    if (k == LIMIT_SESSIONS) {
        uint64_t ignored, last_s;
        v.used = seats_taken(atomic_load(&g->seats), now_ms / 1000, &ignored, &last_s);
        v.reset_ms = (int64_t)last_s * 1000;
        return v;
    }
    uint64_t now = now_ms / slot_ms[k];
    advance(&g->windows[k], now);
    v.used = atomic_load(&g->windows[k].total);
    for (uint64_t age = 0; age < COUNTED; age++) {
        uint64_t slot = atomic_load(&g->windows[k].slots[(now - age) % SLOTS]);
        if (is_slot(slot, now - age) && value_of(slot) > 0) {
            v.reset_ms = (int64_t)((now - age + COUNTED) * slot_ms[k] - now_ms);
            break;
        }
    }
    return v;
}

uint64_t limit_waiting(const struct gauge *g)
{
    return (uint64_t)atomic_load(&g->waiting);
}

uint64_t limit_turned_away(const struct gauge *g)
{
    return atomic_load(&g->turned_away);
}

/* ---- waiting: start-time fair queueing between flows ---- */

static uint64_t turns(const struct limit_waiter *w)
{
    int64_t n = 1 + w->tokens / TOKENS_A_TURN;
    return (uint64_t)(n < MAX_TURNS ? n : MAX_TURNS);
}

/* The first of its flow, which also holds the flow's tag and its end. */
static struct limit_stand **flow_of(struct gauge *g, uint64_t flow)
{
    struct limit_stand **at = &g->flows;
    while (*at && (*at)->waiter->flow != flow)
        at = &(*at)->next_flow;
    return at;
}

/* A flow that comes back does not make up for the time it was away; one that only stood aside has not lost its turn. */
static uint64_t tag_at(const struct gauge *g, uint64_t was)
{
    return was == 0 || was > g->clock ? g->clock + 1 : g->clock;
}

/* Within its flow by arrival, also where it comes from another place or stood aside. */
static void stand(struct limit_stand *s)
{
    struct gauge *g = s->gauge;
    struct limit_stand **at = flow_of(g, s->waiter->flow), *first = *at;
    s->next = s->prev = NULL;
    s->is_in_line = true;
    s->is_passed_over = false;
    atomic_fetch_add(&g->waiting, 1);
    if (!first) {
        s->next_flow = NULL;
        s->last = s;
        s->tag = tag_at(g, s->tag);
        *at = s;
        /* those it saw in line, and did not try for, have gone meanwhile */
        s->is_passed_over = !s->is_tried && g->flows == s;
        return;
    }
    struct limit_stand *before = first->last;
    while (before && before->waiter->arrival > s->waiter->arrival)
        before = before->prev;
    if (!before) {
        s->tag = first->tag;
        s->last = first->last;
        s->next_flow = first->next_flow;
        s->next = first;
        first->prev = s;
        *at = s;
        return;
    }
    s->prev = before;
    s->next = before->next;
    before->next = s;
    if (s->next)
        s->next->prev = s;
    else
        first->last = s;
}

/* used: turns that its flow has had by it. true: it was passed over, and somebody who came later may have stood behind it since. */
static bool step_out(struct limit_stand *s, uint64_t used)
{
    struct gauge *g = s->gauge;
    if (!s->is_in_line)
        return false;
    struct limit_stand **at = flow_of(g, s->waiter->flow), *first = *at, *next = s->next;
    s->is_in_line = false;
    atomic_fetch_sub(&g->waiting, 1);
    first->tag += used;
    s->tag = first->tag;
    if (s != first) {
        s->prev->next = next;
        *(next ? &next->prev : &first->last) = s->prev;
    } else if (next) {
        next->tag = s->tag;
        next->last = s->last;
        next->next_flow = s->next_flow;
        next->prev = NULL;
        *at = next;
    } else {
        *at = s->next_flow;
    }
    return s->is_passed_over;
}

static bool comes_before(const struct limit_stand *x, const struct limit_stand *y)
{
    return x->tag != y->tag ? x->tag < y->tag : x->waiter->arrival < y->waiter->arrival;
}

/* Whoever is awake elsewhere has his turn there. Nobody of his flow overtakes him here meanwhile: once he is in, or not, one looks again. */
static struct limit_stand *next_in_turn(struct gauge *g)
{
    struct limit_stand *best = NULL;
    for (struct limit_stand *s = g->flows; s; s = s->next_flow)
        if (s->waiter->state == LIMIT_WOKEN)
            s->is_passed_over = true;
        else if (!best || comes_before(s, best))
            best = s;
    if (best)
        g->clock = best->tag;
    return best;
}

/* As far as one sees without the time. */
static bool is_full(const struct gauge *g)
{
    int64_t most = g->in_force.concurrency;
    return most && atomic_load(&g->running) >= most;
}

/* Wakes the next in turn, unless one is awake already: he wakes the next when he is in. He stays in line until then. */
static void wake(struct gauge *g)
{
    struct limit_stand *s = g->woken || is_full(g) ? NULL : next_in_turn(g);
    if (!s)
        return;
    struct limit_waiter *w = s->waiter;
    g->woken++;
    w->state = LIMIT_WOKEN;
    w->turn = s;
    w->next_woken = NULL;
    struct limit_bell *b = w->bell;
    if (!b->first)
        b->last = &b->first;
    *b->last = w;
    b->last = &w->next_woken;
    if (!b->is_rung) {
        b->is_rung = true;
        b->ring(b->arg);
    }
}

void limit_kick(struct limiter *l, struct gauge *g)
{
    atomic_fetch_add(&g->changes, 1);
    if (atomic_load(&g->waiting) == 0) /* nearly always */
        return;
    pthread_mutex_lock(&l->lock);
    wake(g);
    pthread_mutex_unlock(&l->lock);
}

uint64_t limit_mark(const struct gauge *g)
{
    return atomic_load(&g->changes);
}

bool limit_is_awaited(const struct gauge *g)
{
    return atomic_load_explicit(&g->waiting, memory_order_relaxed) > 0;
}

void limit_stand_init(struct limit_waiter *w, struct limit_stand *s, struct gauge *g)
{
    *s = (struct limit_stand){.gauge = g, .waiter = w, .sibling = w->stands};
    w->stands = s;
}

/* Where it is to stand from now on. What has happened there since it tried, or while it could not be woken, is not missed. */
static void take_stands(struct limit_waiter *w)
{
    for (struct limit_stand *s = w->stands; s; s = s->sibling)
        if (s->is_wanted && !s->is_in_line)
            stand(s);
        else if (!s->is_wanted && step_out(s, 0))
            wake(s->gauge);
    for (struct limit_stand *s = w->stands; s; s = s->sibling) {
        bool has_changed = s->is_tried && atomic_load(&s->gauge->changes) != s->mark;
        if (s->is_in_line && (s->is_passed_over || has_changed)) {
            s->is_passed_over = false;
            wake(s->gauge);
        }
        s->is_tried = false;
    }
}

bool limit_wait(struct limiter *l, struct limit_waiter *w, size_t max)
{
    pthread_mutex_lock(&l->lock);
    bool has_room = l->n_waiting < max;
    if (has_room) {
        l->n_waiting++;
        if (!w->arrival) { /* once, however often it stands aside */
            w->arrival = ++l->arrivals;
            l->waited++;
        }
        w->state = LIMIT_QUEUED;
        take_stands(w);
    } else {
        l->queue_full++;
    }
    pthread_mutex_unlock(&l->lock);
    return has_room;
}

struct limit_waiter *limit_next_woken(struct limiter *l, struct limit_bell *b)
{
    pthread_mutex_lock(&l->lock);
    struct limit_waiter *w = b->first;
    if (w) {
        b->first = w->next_woken;
        if (!b->first)
            b->last = &b->first;
        w->next_woken = NULL;
    } else {
        b->is_rung = false;
    }
    pthread_mutex_unlock(&l->lock);
    return w;
}

/* Of one that was woken; gives where. */
static struct gauge *end_turn(struct limit_waiter *w)
{
    struct gauge *g = w->turn->gauge;
    g->woken--;
    w->turn = NULL;
    return g;
}

void limit_got_in(struct limiter *l, struct limit_waiter *w)
{
    pthread_mutex_lock(&l->lock);
    struct gauge *g = end_turn(w);
    w->state = LIMIT_IDLE;
    l->n_waiting--;
    for (struct limit_stand *s = w->stands; s; s = s->sibling)
        if (step_out(s, turns(w))) /* wherever it stood: its flow was served */
            wake(s->gauge);
    wake(g); /* there may be room for more */
    pthread_mutex_unlock(&l->lock);
}

/* Off the list of those woken. false: it knows already. */
static bool forget_woken(struct limit_waiter *w)
{
    struct limit_bell *bell = w->bell;
    struct limit_waiter **at = &bell->first;
    while (*at && *at != w)
        at = &(*at)->next_woken;
    if (!*at)
        return false;
    *at = w->next_woken;
    if (!*at)
        bell->last = at;
    return true;
}

void limit_wait_again(struct limiter *l, struct limit_waiter *w)
{
    pthread_mutex_lock(&l->lock);
    struct limit_stand *turn = w->state == LIMIT_WOKEN ? w->turn : NULL;
    if (turn) {
        turn->is_passed_over |= forget_woken(w); /* it looked before it was told */
        (void)end_turn(w);
    }
    w->state = LIMIT_QUEUED;
    take_stands(w);
    if (turn && !turn->is_in_line) /* what there is of room there is another's */
        wake(turn->gauge);
    pthread_mutex_unlock(&l->lock);
}

void limit_leave(struct limiter *l, struct limit_waiter *w)
{
    pthread_mutex_lock(&l->lock);
    if (w->state == LIMIT_WOKEN) {
        (void)forget_woken(w);
        (void)end_turn(w);
    }
    w->state = LIMIT_IDLE;
    l->n_waiting--;
    for (struct limit_stand *s = w->stands; s; s = s->sibling) {
        if (!s->is_in_line)
            continue;
        (void)step_out(s, 0);
        wake(s->gauge); /* his turn may have been the one */
    }
    pthread_mutex_unlock(&l->lock);
}

bool limit_in_force(struct limiter *l, const struct gauge *g, struct limits *out)
{
    pthread_mutex_lock(&l->lock);
    bool is_other = memcmp(out, &g->in_force, sizeof *out) != 0;
    *out = g->in_force;
    pthread_mutex_unlock(&l->lock);
    return is_other;
}

/* ---- the registry ---- */

struct limiter *limiter_new(void)
{
    struct limiter *l = calloc(1, sizeof *l);
    if (!l || pthread_mutex_init(&l->lock, NULL) != 0)
        abort();
    map_init(&l->by_name);
    return l;
}

static void seats_free(struct seats *s)
{
    while (s) {
        struct seats *smaller = s->smaller;
        free(s);
        s = smaller;
    }
}

void limiter_free(struct limiter *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        seats_free(atomic_load(&l->entries[i]->gauge->seats));
        free(l->entries[i]->name);
        free(l->entries[i]);
    }
    for (size_t i = 0; i < l->n_slabs; i++)
        free(l->slabs[i]);
    free(l->entries);
    free(l->slabs);
    map_done(&l->by_name);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void *grown(void *p, size_t n, size_t size)
{
    void *q = reallocarray(p, n, size);
    if (!q)
        abort();
    return q;
}

/* Many at once: memory that no request has touched yet is none. */
static struct gauge *new_gauge(struct limiter *l)
{
    if (l->n_spare == 0) {
        l->spare = calloc(SLAB, sizeof *l->spare);
        if (!l->spare)
            abort();
        l->slabs = grown(l->slabs, l->n_slabs + 1, sizeof(struct gauge *));
        l->slabs[l->n_slabs++] = l->spare;
        l->n_spare = SLAB;
    }
    l->n_spare--;
    return l->spare++;
}

/* Of a place that went, once too many did: in turn. No snapshot has it, so no request. */
static struct entry *evicted(struct limiter *l)
{
    if (l->n_gone <= KEPT)
        return NULL;
    while (l->entries[l->hand % l->n]->refs > 0)
        l->hand++;
    struct entry *e = l->entries[l->hand++ % l->n];
    (void)map_del(&l->by_name, str_of(e->name));
    free(e->name);
    seats_free(atomic_load(&e->gauge->seats));
    memset(e->gauge, 0, sizeof *e->gauge);
    l->n_gone--;
    l->evicted++;
    return e;
}

static struct entry *entry_of(struct limiter *l, enum limit_of of, struct str id)
{
    char small[256], *name = small;
    size_t n = strlen(limit_of_names[of]) + 1 + id.n;
    if (n + 1 > sizeof small)
        name = grown(NULL, n + 1, 1);
    (void)snprintf(name, n + 1, "%s/%.*s", limit_of_names[of], STR_ARG(id));
    struct entry *found = map_get(&l->by_name, str_n(name, n));
    if (!found) {
        found = evicted(l);
        if (!found) {
            found = grown(NULL, 1, sizeof *found);
            *found = (struct entry){.gauge = new_gauge(l)};
            if (l->n == l->cap) {
                l->cap = l->cap ? l->cap * 2 : 64;
                l->entries = grown(l->entries, l->cap, sizeof(struct entry *));
            }
            l->entries[l->n++] = found;
        }
        found->name = strdup(name);
        if (!found->name)
            abort();
        map_set(&l->by_name, str_of(found->name), found);
    } else {
        l->n_gone -= found->refs == 0;
    }
    found->refs++;
    if (name != small)
        free(name);
    return found;
}

struct bound { /* to a snapshot */
    struct limiter *limiter;
    struct entry **entries;
    size_t n, cap;
};

static void let_go(void *arg)
{
    struct bound *b = arg;
    struct limiter *l = b->limiter;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < b->n; i++)
        l->n_gone += --b->entries[i]->refs == 0;
    pthread_mutex_unlock(&l->lock);
    free(b->entries);
}

/* As many as the highest limit so far. One that is given away in the old table just now is asked for again by its next request. */
static void make_seats(struct gauge *g, size_t n)
{
    struct seats *was = atomic_load(&g->seats);
    if (n == 0 || (was && was->n >= n))
        return;
    struct seats *s = calloc(1, sizeof *s + n * sizeof s->v[0]);
    if (!s)
        abort();
    s->n = n;
    s->smaller = was;
    for (size_t i = 0; was && i < was->n; i++)
        atomic_store(&s->v[i], atomic_load(&was->v[i]));
    atomic_store(&g->seats, s);
}

static struct gauge *bind_one(struct bound *b, enum limit_of of, struct str id,
                              const struct limits *v)
{
    if (!limits_any(v))
        return NULL;
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->entries = grown(b->entries, b->cap, sizeof(struct entry *));
    }
    struct entry *e = entry_of(b->limiter, of, id);
    b->entries[b->n++] = e;
    make_seats(e->gauge, (size_t)v->sessions);
    e->gauge->in_force = *v;
    e->gauge->bound = b->limiter->bounds;
    return e->gauge;
}

/* Those who wait are told of what is in force now; what is not named any more limits nobody. */
static void renew(struct limiter *l)
{
    for (size_t i = 0; i < l->n; i++) {
        struct gauge *g = l->entries[i]->gauge;
        if (g->bound != l->bounds)
            g->in_force = (struct limits){0};
        if (atomic_load(&g->waiting) > 0) {
            atomic_fetch_add(&g->changes, 1);
            wake(g);
        }
    }
}

void limiter_bind(struct limiter *l, struct snapshot *s)
{
    static const enum limit_of of[HOLDER_KINDS] = {LIMIT_ORG, LIMIT_USER};
    struct bound *b = ARENA_NEW(s->arena, struct bound);
    b->limiter = l;
    pthread_mutex_lock(&l->lock);
    l->bounds++;
    for (size_t i = 0; i < s->n_ruled; i++)
        s->ruled[i]->gauge = bind_one(b, LIMIT_KEY, s->ruled[i]->id, &s->ruled[i]->policy->limits);
    for (size_t k = 0; k < HOLDER_KINDS; k++)
        for (size_t i = 0; i < s->n_holders[k]; i++) {
            struct holder *h = s->holders[k][i];
            h->gauge = bind_one(b, of[k], h->id, &h->limits);
        }
    for (size_t i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        m->gauge = bind_one(b, LIMIT_MODEL, m->name, &m->limits);
        s->has_limited_models |= m->gauge != NULL;
    }
    for (size_t i = 0; i < s->n_upstreams; i++)
        s->upstreams[i]->gauge = bind_one(b, LIMIT_UPSTREAM, s->upstreams[i]->name,
                                          &s->upstreams[i]->limits);
    renew(l);
    pthread_mutex_unlock(&l->lock);
    arena_on_free(s->arena, let_go, b);
}

/* ---- over a restart ---- */

static const enum limit_kind lasting[] = {LIMIT_REQUESTS_HOUR, LIMIT_REQUESTS_DAY,
                                          LIMIT_TOKENS_DAY};

#define LOOKED_AT 256 /* places, before others have a turn at the lock */

/* {"place": "key/a", "kind": "tokens_per_day", "used": [[end of the slot, n], …]} */
static void write_window(struct jw *w, const struct entry *e, enum limit_kind k, uint64_t now_ms,
                         int64_t wall_ms)
{
    struct window *window = &e->gauge->windows[k];
    uint64_t now = now_ms / slot_ms[k];
    advance(window, now);
    if (atomic_load(&window->total) <= 0)
        return;
    jw_object(w);
    jw_kv_cstr(w, "place", e->name);
    jw_kv_cstr(w, "kind", limit_kind_names[k]);
    jw_key(w, "used");
    jw_array(w);
    for (uint64_t age = COUNTED; age-- > 0;) {
        uint64_t number = now - age, slot = atomic_load(&window->slots[number % SLOTS]);
        if (!is_slot(slot, number) || value_of(slot) == 0)
            continue;
        int64_t end_ms = wall_ms + (int64_t)((number + 1) * slot_ms[k] - now_ms);
        jw_array(w);
        jw_int(w, (end_ms + 500) / 1000); /* the same whenever it is looked at */
        jw_int(w, value_of(slot));
        jw_array_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

void limiter_write(struct limiter *l, uint64_t now_ms, int64_t wall_ms, struct jw *w)
{
    size_t i = 0;
    bool goes_on = true;
    jw_array(w);
    while (goes_on) {
        pthread_mutex_lock(&l->lock);
        for (size_t n = 0; n < LOOKED_AT && i < l->n; n++, i++) {
            for (size_t k = 0; k < ARRAY_LEN(lasting); k++)
                write_window(w, l->entries[i], lasting[k], now_ms, wall_ms);
        }
        goes_on = i < l->n;
        pthread_mutex_unlock(&l->lock);
    }
    jw_array_end(w);
}

/* Rather counted a slot too long than too short. A clock that went back makes nothing count for more than a day. */
static void read_slot(struct window *window, enum limit_kind k, yyjson_val *v, uint64_t now_ms,
                      int64_t wall_ms)
{
    int64_t end_s = json_int_or(yyjson_arr_get(v, 0), 0), n = json_int_or(yyjson_arr_get(v, 1), 0),
            slot = (int64_t)slot_ms[k], ahead_ms = end_s * 1000 - wall_ms;
    if (n <= 0 || n > (int64_t)VALUE_MASK || end_s < 0 || end_s > INT64_MAX / 4000 ||
        ahead_ms <= -COUNTED * slot)
        return;
    if (ahead_ms > 1)
        ahead_ms = 1; /* what is under way is of now */
    int64_t at_ms = (int64_t)now_ms + ahead_ms - 1;
    /* before the machine began: of its first slot */
    uint64_t number = at_ms > 0 ? (uint64_t)(at_ms / slot) : 0;
    if (now_ms / slot_ms[k] - number >= COUNTED)
        return;
    window_add(window, now_ms / slot_ms[k], 0);
    atomic_fetch_add(&window->total, n);
    put(window, number, n);
}

void limiter_read(struct limiter *l, yyjson_val *v, uint64_t now_ms, int64_t wall_ms)
{
    size_t i, max, k, n;
    yyjson_val *one, *slot;
    pthread_mutex_lock(&l->lock);
    yyjson_arr_foreach (v, i, max, one) {
        const struct entry *e = map_get(&l->by_name, json_get_str(one, "place"));
        struct str kind = json_get_str(one, "kind");
        size_t which = 0;
        while (which < ARRAY_LEN(lasting) &&
               !str_eq(kind, str_of(limit_kind_names[lasting[which]])))
            which++;
        if (!e || which == ARRAY_LEN(lasting)) /* not limited any more */
            continue;
        enum limit_kind of = lasting[which];
        yyjson_arr_foreach (json_get(one, "used"), k, n, slot)
            read_slot(&e->gauge->windows[of], of, slot, now_ms, wall_ms);
    }
    pthread_mutex_unlock(&l->lock);
}

struct limit_counts limiter_counts(struct limiter *l)
{
    struct limit_counts c;
    pthread_mutex_lock(&l->lock);
    c = (struct limit_counts){.gauges = l->n,
                              .evicted = l->evicted,
                              .waiting = l->n_waiting,
                              .waited = l->waited,
                              .queue_full = l->queue_full};
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < LIMIT_OFS; i++)
        for (size_t k = 0; k < LIMIT_KINDS; k++)
            c.refused[i][k] = atomic_load(&l->refused[i][k]);
    return c;
}
