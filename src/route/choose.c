#include "route/choose.h"

#define MAX_PLAN 1024

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double next_share(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

static uint64_t below(uint64_t *state, uint64_t n)
{
    return n ? next_random(state) % n : 0;
}

/* ---- what there is to choose from at one combo ---- */

struct option {
    const struct member *member;
    struct standing standing; /* of the best behind it */
    struct load load;         /* of that one */
    int64_t price;
    uint32_t capabilities;
    bool is_gone; /* down or excluded, all of it */
    double score;
    const char *why;
};
struct chooser {
    struct arena *a;
    struct live *live;
    const struct choose_ask *ask;
    uint64_t random;
    struct plan *out;
    size_t cap;
};

static bool is_named(struct str name, const struct str *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, list[i]))
            return true;
    return false;
}

static bool is_down(const struct choose_ask *q, const struct target *t)
{
    return is_named(t->upstream->name, q->down, q->n_down);
}

static bool is_excluded(const struct choose_ask *q, const struct target *t)
{
    return is_named(t->upstream->name, q->excluded, q->n_excluded) ||
           (q->only && !is_named(t->upstream->name, q->only->v, q->only->n));
}

static int64_t price_of(const struct chooser *c, const struct target *t, int64_t hint)
{
    int64_t known = c->ask->price ? c->ask->price(t) : -1;
    if (hint < 0)
        hint = t->price_nanousd;
    return known >= 0 ? known : hint >= 0 ? hint * 1000000 : -1;
}

static bool stands_better(const struct standing *x, const struct standing *y)
{
    return x->kind != y->kind ? x->kind < y->kind : x->wait_ms < y->wait_ms;
}

/* As a combo's own strategy sees it. */
static struct standing standing_in(const struct chooser *c, const struct combo *combo,
                                   const struct target *t)
{
    struct standing s = live_standing(c->live, t, c->ask->set, c->ask->now_ms);
    /* filled until it is used up */
    if (combo->strategy == STRATEGY_FILL_FIRST && s.kind == STANDING_STRAINED)
        s.kind = STANDING_READY;
    return s;
}

/* The best target behind a member of the combo; NULL: none that may be tried. */
static const struct target *best_of(const struct chooser *c, const struct combo *combo,
                                    const struct member *m, struct standing *standing)
{
    const struct target *best = NULL;
    if (m->combo) {
        for (size_t i = 0; i < m->combo->n_members; i++) {
            struct standing s = {0};
            const struct target *t = m->combo->members[i].is_enabled
                                         ? best_of(c, m->combo, &m->combo->members[i], &s)
                                         : NULL;
            if (t && (!best || stands_better(&s, standing))) {
                best = t;
                *standing = s;
            }
        }
        return best;
    }
    for (size_t i = 0; i < m->n_targets; i++) {
        const struct target *t = &m->targets[i];
        if (is_down(c->ask, t) || is_excluded(c->ask, t))
            continue;
        struct standing s = standing_in(c, combo, t);
        if (!best || stands_better(&s, standing)) {
            best = t;
            *standing = s;
        }
    }
    return best;
}

/* Of a member that cannot be asked: what is known of it all the same. */
static const struct target *any_of(const struct member *m)
{
    const struct target *t = m->n_targets ? &m->targets[0] : NULL;
    for (size_t i = 0; !t && m->combo && i < m->combo->n_members; i++)
        t = m->combo->members[i].is_enabled ? any_of(&m->combo->members[i]) : NULL;
    return t;
}

static size_t options_of(struct chooser *c, const struct combo *combo, struct option *v)
{
    size_t n = 0;
    for (size_t i = 0; i < combo->n_members; i++) {
        const struct member *m = &combo->members[i];
        if (!m->is_enabled || (!m->combo && m->n_targets == 0))
            continue;
        struct option *o = &v[n++];
        *o = (struct option){.member = m, .price = -1, .why = ""};
        const struct target *t = best_of(c, combo, m, &o->standing);
        o->is_gone = !t;
        if (t)
            o->load = live_load(c->live, t, c->ask->now_ms);
        else
            t = any_of(m);
        if (!t)
            continue;
        o->price = price_of(c, t, m->price_nanousd);
        o->capabilities = t->served ? t->served->capabilities : 0;
    }
    return n;
}

/* What is asked before what, whatever their order: those that can be tried, those whose quota is strained, those that cool. */
static int class_of(bool is_gone, const struct standing *s)
{
    if (is_gone)
        return 3;
    return s->kind == STANDING_COOLING ? 2 : s->kind == STANDING_STRAINED ? 1 : 0;
}

static bool class_before(int a, uint64_t wait_a, int b, uint64_t wait_b)
{
    return a != b ? a < b : a == 2 && wait_a < wait_b;
}

static bool is_ready(const struct option *o)
{
    return class_of(o->is_gone, &o->standing) == 0;
}

/* The place of the one that is asked first in the end. */
static size_t leader_of(const struct option *v, size_t n)
{
    size_t first = 0;
    for (size_t i = 1; i < n; i++)
        if (class_before(class_of(v[i].is_gone, &v[i].standing), v[i].standing.wait_ms,
                         class_of(v[first].is_gone, &v[first].standing), v[first].standing.wait_ms))
            first = i;
    return first;
}

/* ---- orders ---- */

static void move(struct option *v, size_t from, size_t to)
{
    struct option o = v[from];
    for (; from > to; from--)
        v[from] = v[from - 1];
    v[to] = o;
}

/* Ascending, those of the same score as they stand. */
static void by_score(struct option *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        size_t at = i;
        while (at > 0 && v[at - 1].score > v[i].score)
            at--;
        move(v, i, at);
    }
}

static void shuffle(struct option *v, size_t n, uint64_t *random)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)below(random, i);
        struct option o = v[i - 1];
        v[i - 1] = v[k];
        v[k] = o;
    }
}

static void by_priority(struct option *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i].score = (double)v[i].member->priority;
        v[i].why = "in order of priority";
    }
    by_score(v, n);
}

/* One picked in proportion to its weight, the rest by weight. */
static void by_weight(struct chooser *c, struct option *v, size_t n, size_t ready)
{
    double total = 0;
    bool is_even;
    for (size_t i = 0; i < n; i++)
        v[i].score = -(double)v[i].member->weight;
    for (size_t i = 0; i < ready; i++)
        total -= v[i].score;
    is_even = total <= 0;
    double at = next_share(&c->random) * (is_even ? (double)ready : total);
    size_t picked = 0;
    for (size_t i = 0; i < ready; i++) {
        double w = is_even ? 1 : -v[i].score;
        picked = w > 0 ? i : picked; /* rounding at the end: the last with a weight */
        if (at < w)
            break;
        at -= w;
    }
    struct option first = v[ready ? picked : 0];
    if (ready)
        move(v, picked, 0);
    by_score(v + (ready ? 1 : 0), n - (ready ? 1 : 0));
    if (ready)
        v[0] = first;
    for (size_t i = 0; i < n; i++) {
        v[i].score = -v[i].score;
        v[i].why = i == 0 && ready ? "drawn by weight" : "by weight behind the drawn one";
    }
}

/* takes: whoever's turn it is has had it then. */
static void in_turn(struct chooser *c, const struct combo *combo, bool takes, struct option *v,
                    size_t n)
{
    uint64_t turn = live_turn(c->live, combo->index, takes);
    uint64_t limit = combo->sticky_limit > 0 ? (uint64_t)combo->sticky_limit : 1;
    size_t start = n ? (size_t)(turn / limit % n) : 0;
    struct option *was = ARENA_ARRAY(c->a, struct option, n + 1);
    memcpy(was, v, n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        v[i] = was[(start + i) % n];
        v[i].score = (double)i;
        v[i].why = i == 0 ? "its turn" : "next in turn";
    }
}

/* Every one once a round in an order of its own, and never the last of a round first in the next. The order of a round is made of its
 * number, so that nothing is kept. */
static void in_rounds(struct chooser *c, const struct combo *combo, bool takes, struct option *v,
                      size_t n)
{
    uint64_t turn = live_turn(c->live, combo->index, takes), round = n ? turn / n : 0;
    size_t at = n ? (size_t)(turn % n) : 0, *deck = ARENA_ARRAY(c->a, size_t, n + 1),
           last = SIZE_MAX;
    uint64_t base = (uint64_t)c->ask->set->route_seed * 0x9e3779b97f4a7c15u + combo->index;
    if (n <= 2)
        round = 0;
    for (uint64_t r = round ? round - 1 : 0; r <= round; r++) {
        uint64_t state = base + r * 0xd1342543de82ef95u;
        if (r > 0)
            last = deck[n - 1];
        for (size_t i = 0; i < n; i++)
            deck[i] = i;
        for (size_t i = n; i > 1; i--) {
            size_t k = (size_t)below(&state, i), was = deck[i - 1];
            deck[i - 1] = deck[k];
            deck[k] = was;
        }
    }
    if (n > 2 && deck[0] == last) { /* the end of no round changes by that */
        size_t was = deck[0];
        deck[0] = deck[1];
        deck[1] = was;
    }
    struct option *was = ARENA_ARRAY(c->a, struct option, n + 1);
    memcpy(was, v, n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        v[i] = was[deck[(at + i) % n]];
        v[i].score = (double)i;
        v[i].why = i == 0 ? "its place in this round" : "later in this round";
    }
}

static void two_choices(struct chooser *c, struct option *v, size_t n, size_t ready)
{
    by_score(v, n);
    if (ready <= 1)
        return;
    /* of two at random the better one, not always the best: else all go to it at once */
    size_t i = (size_t)below(&c->random, ready), k = (size_t)below(&c->random, ready - 1);
    if (k >= i)
        k++;
    double lead = v[k].score - v[i].score; /* of equals the one that stands first */
    size_t better = lead < 0 ? k : lead > 0 ? i : k < i ? k : i;
    move(v, better, 0);
    v[0].why = "the better of two drawn";
}

static void score_each(struct option *v, size_t n, enum strategy s)
{
    double slowest = 0;
    for (size_t i = 0; i < n; i++)
        slowest = v[i].load.first_byte_us > slowest ? v[i].load.first_byte_us : slowest;
    for (size_t i = 0; i < n; i++) {
        struct option *o = &v[i];
        double inflight = (double)o->load.inflight;
        switch (s) {
        case STRATEGY_LEAST_USED:
            o->score = inflight * 1e6 + o->load.uses;
            o->why = "by use of late";
            break;
        case STRATEGY_P2C:
            o->score = inflight + 10 * o->load.failures;
            o->why = "by load and failures";
            break;
        case STRATEGY_LATENCY: /* one that is not known yet is asked soon, not at once by all */
            o->score = (o->load.first_byte_us > 0 ? o->load.first_byte_us : slowest / 2) *
                       (inflight + 1) * (1 + o->load.failures);
            o->why = "by time to the first byte and load";
            break;
        case STRATEGY_COST:
            o->score = o->price >= 0 ? (double)o->price : 1e300;
            o->why = o->price >= 0 ? "by price" : "of unknown price";
            break;
        case STRATEGY_DEFAULT:
        case STRATEGY_PRIORITY:
        case STRATEGY_WEIGHTED:
        case STRATEGY_ROUND_ROBIN:
        case STRATEGY_RANDOM:
        case STRATEGY_STRICT_RANDOM:
        case STRATEGY_FILL_FIRST:
        case STRATEGY_AUTO:
            break;
        }
    }
}

static double quota_left(const struct chooser *c, const struct combo *combo, const struct option *o)
{
    struct standing s = {0};
    const struct target *t = best_of(c, combo, o->member, &s);
    double left = 1;
    for (uint32_t k = 0; t && k < (t->upstream->n_keys ? t->upstream->n_keys : 1); k++) {
        struct quota_window v[QUOTA_WINDOWS];
        size_t n = live_quota(c->live, t->upstream, k, c->ask->now_ms, v);
        for (size_t i = 0; i < n; i++)
            if (1 - v[i].used < left)
                left = v[i].used < 1 ? 1 - v[i].used : 0;
    }
    return left;
}

static void by_merit(struct chooser *c, const struct combo *combo, struct option *v, size_t n,
                     size_t ready)
{
    const struct auto_conf *w = &combo->weights;
    double dearest = 0, slowest = 0;
    int64_t lowest = INT64_MAX, highest = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        int64_t p = v[i].member->priority;
        dearest = (double)v[i].price > dearest ? (double)v[i].price : dearest;
        slowest = v[i].load.first_byte_us > slowest ? v[i].load.first_byte_us : slowest;
        lowest = p < lowest ? p : lowest;
        highest = p > highest ? p : highest;
    }
    for (size_t i = 0; i < n; i++) {
        struct option *o = &v[i];
        double health = o->standing.kind == STANDING_READY || o->standing.kind == STANDING_STRAINED
                            ? 1
                        : o->standing.kind == STANDING_PROBE ? 0.5
                                                             : 0;
        double cost = o->price < 0 ? 0 : dearest > 0 ? 1 - (double)o->price / dearest : 1;
        double latency = o->load.first_byte_us <= 0 ? 0.5 : 1 - o->load.first_byte_us / slowest;
        double fit = !c->ask->wants                                       ? 1
                     : !o->capabilities                                   ? 0.5
                     : (o->capabilities & c->ask->wants) == c->ask->wants ? 1
                                                                          : 0;
        double rank = highest > lowest
                          ? (double)(highest - o->member->priority) / (double)(highest - lowest)
                          : 1;
        double merit = w->quota * quota_left(c, combo, o) + w->health * health + w->cost * cost +
                       w->latency * latency + w->fit * fit + w->stability / (1 + o->load.failures) +
                       w->priority * rank;
        o->score = -merit;
        o->why = "by merit";
    }
    by_score(v, n);
    if (ready > 1 && next_share(&c->random) < w->explore) {
        move(v, (size_t)below(&c->random, ready), 0);
        v[0].why = "drawn to learn";
    }
    for (size_t i = 0; i < n; i++)
        v[i].score = -v[i].score;
}

/* Those that can be tried first, in the order that they stand in. */
static size_t ready_first(struct option *v, size_t n)
{
    size_t ready = 0;
    for (size_t i = 0; i < n; i++)
        if (is_ready(&v[i]))
            move(v, i, ready++);
    return ready;
}

static void order(struct chooser *c, const struct combo *combo, bool takes, struct option *v,
                  size_t n)
{
    size_t ready;
    switch (combo->strategy) {
    case STRATEGY_DEFAULT:
    case STRATEGY_PRIORITY:
    case STRATEGY_FILL_FIRST:
        by_priority(v, n);
        break;
    case STRATEGY_WEIGHTED:
        ready = ready_first(v, n);
        by_weight(c, v, n, ready);
        break;
    case STRATEGY_ROUND_ROBIN:
        in_turn(c, combo, takes, v, n);
        break;
    case STRATEGY_STRICT_RANDOM:
        in_rounds(c, combo, takes, v, n);
        break;
    case STRATEGY_RANDOM:
        shuffle(v, n, &c->random);
        for (size_t i = 0; i < n; i++)
            v[i].why = "drawn";
        break;
    case STRATEGY_LEAST_USED:
    case STRATEGY_COST:
        score_each(v, n, combo->strategy);
        by_score(v, n);
        break;
    case STRATEGY_P2C:
    case STRATEGY_LATENCY:
        ready = ready_first(v, n);
        score_each(v, n, combo->strategy);
        by_score(v, ready);
        two_choices(c, v, ready, ready);
        by_score(v + ready, n - ready);
        break;
    case STRATEGY_AUTO:
        ready = ready_first(v, n);
        by_merit(c, combo, v, ready, ready);
        by_merit(c, combo, v + ready, n - ready, 0);
        break;
    }
}

/* ---- the whole ---- */

/* How long one may be silent; 0: for ever. */
static uint64_t hedge_after(const struct live *l, const struct combo *by, const struct target *t)
{
    uint64_t after = (uint64_t)by->hedge_after_ms, own = 0;
    if (by->hedge_percentile > 0)
        own = (live_start_percentile_us(l, t, (unsigned)by->hedge_percentile) + 999) / 1000;
    return own > after ? own : after;
}

static void add_candidate(struct chooser *c, const struct combo *by, const struct combo *hedge,
                          const struct option *o, const struct target *t)
{
    struct plan *p = c->out;
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].target->upstream == t->upstream && str_eq(p->v[i].target->model, t->model))
            return;
    if (p->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 8;
        if (p->n >= MAX_PLAN)
            return;
        p->v = arena_realloc(c->a, p->v, c->cap * sizeof *p->v, cap * sizeof *p->v);
        c->cap = cap;
    }
    struct candidate *k = &p->v[p->n++];
    *k = (struct candidate){.target = t,
                            .by = by,
                            .is_down = is_down(c->ask, t),
                            .is_excluded = is_excluded(c->ask, t),
                            .score = o->score,
                            .price_nanousd = price_of(c, t, o->member->price_nanousd),
                            .hedge = hedge,
                            .hedge_after_ms = hedge_after(c->live, hedge, t),
                            .why = o->why};
    k->standing = standing_in(c, by, t);
}

/* hedge: of the targets of a served model, the combo that it is a member of. leads: one of this combo's is asked first, so its turn counts;
 * in a combo that is only there in case, nobody's turn passes. */
static void expand(struct chooser *c, const struct combo *combo, const struct combo *hedge,
                   bool leads)
{
    struct option *v = ARENA_ARRAY(c->a, struct option, combo->n_members + 1);
    size_t n = options_of(c, combo, v);
    order(c, combo, leads && c->ask->is_real, v, n);
    size_t leader = leader_of(v, n);
    for (size_t i = 0; i < n; i++) {
        const struct member *m = v[i].member;
        if (m->combo)
            expand(c, m->combo, m->combo->of ? hedge : m->combo, leads && i == leader);
        else
            for (size_t t = 0; t < m->n_targets; t++)
                add_candidate(c, combo, hedge, &v[i], &m->targets[t]);
    }
}

static int class_of_candidate(const struct candidate *k)
{
    return class_of(k->is_down || k->is_excluded, &k->standing);
}

static bool goes_before(const struct candidate *x, const struct candidate *y)
{
    return class_before(class_of_candidate(x), x->standing.wait_ms, class_of_candidate(y),
                        y->standing.wait_ms);
}

static void move_candidate(struct plan *p, size_t from, size_t to)
{
    struct candidate k = p->v[from];
    for (; from > to; from--)
        p->v[from] = p->v[from - 1];
    p->v[to] = k;
}

static void partition(struct plan *p)
{
    static const char *const ahead[] = {"", "ahead of those whose quota runs low",
                                        "ahead of those that are left alone",
                                        "ahead of those that are out of reach"};
    for (size_t i = 1; i < p->n; i++) {
        size_t at = i;
        while (at > 0 && goes_before(&p->v[i], &p->v[at - 1]))
            at--;
        if (at < i && class_of_candidate(&p->v[at]) > class_of_candidate(&p->v[i]))
            p->v[i].why = ahead[class_of_candidate(&p->v[at])];
        move_candidate(p, i, at);
    }
    p->n_ready = 0;
    while (p->n_ready < p->n && class_of_candidate(&p->v[p->n_ready]) < 2)
        p->n_ready++;
    p->wait_ms = p->n_ready == 0 && p->n && class_of_candidate(&p->v[0]) == 2
                     ? p->v[0].standing.wait_ms
                     : 0;
}

/* Whether the lane can be asked. */
static bool has_lane(const struct chooser *c, const struct combo *combo, uint64_t lane)
{
    for (size_t i = 0; i < combo->n_members; i++) {
        const struct member *m = &combo->members[i];
        if (!m->is_enabled)
            continue;
        if (m->combo && has_lane(c, m->combo, lane))
            return true;
        for (size_t k = 0; k < m->n_targets; k++) {
            const struct target *t = &m->targets[k];
            struct standing s;
            if (live_lane(t) != lane)
                continue;
            s = standing_in(c, combo, t);
            if (class_of(is_down(c->ask, t) || is_excluded(c->ask, t), &s) < 2)
                return true;
        }
    }
    return false;
}

static void keep_to_pin(struct chooser *c, uint64_t lane)
{
    struct plan *p = c->out;
    for (size_t i = 0; lane && i < p->n_ready; i++)
        if (live_lane(p->v[i].target) == lane) {
            move_candidate(p, i, 0);
            p->v[0].why = "where this conversation was before";
            p->is_pinned = true;
            return;
        }
}

void choose(struct arena *a, struct live *l, const struct choose_ask *ask, struct plan *out)
{
    struct chooser c = {.a = a, .live = l, .ask = ask, .random = ask->seed, .out = out};
    const struct combo *group = ask->model->group;
    uint64_t lane = ask->sticky ? live_pin(l, ask->sticky, ask->now_ms) : 0;
    *out = (struct plan){.strategy = group->strategy};
    /* who stays where it was takes nobody's turn */
    expand(&c, group, group, !lane || !has_lane(&c, group, lane));
    partition(out);
    keep_to_pin(&c, lane);
}
