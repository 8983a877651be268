#include "gate/budget.h"
#include "base/decimal.h"
#include "base/map.h"
#include "domain/ledger.h"
#include <pthread.h>
#include <stdlib.h>

#define MAX_NAMES 2048 /* bytes of a header's value: clients have limits of their own */

struct budgets {
    pthread_mutex_t lock;
    struct map states; /* key -> struct kept */
    _Atomic uint64_t turn;
};
struct kept {
    struct budget_state state;
    char key[];
};

struct budgets *budgets_new(void)
{
    struct budgets *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->states);
    return r;
}

void budgets_free(struct budgets *r)
{
    struct str k;
    void *v;
    if (!r)
        return;
    for (size_t i = 0; map_next(&r->states, &i, &k, &v);)
        free(v);
    map_done(&r->states);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct budget_state *budgets_state(struct budgets *r, const struct budget *b)
{
    struct buf key;
    buf_init(&key, SIZE_MAX / 4);
    buf_fmt(&key, "%d %d " STR_FMT " ", (int)b->scope, (int)b->period, STR_ARG(b->time_zone));
    buf_str_add(&key, b->name);
    buf_char(&key, '\0');
    buf_str_add(&key, b->subject);
    pthread_mutex_lock(&r->lock);
    struct kept *k = map_get(&r->states, buf_str(&key));
    if (!k) {
        k = calloc(1, sizeof *k + key.n);
        if (!k)
            abort();
        memcpy(k->key, key.p, key.n);
        map_set(&r->states, str_n(k->key, key.n), k);
    }
    pthread_mutex_unlock(&r->lock);
    buf_done(&key);
    return &k->state;
}

/* ---- time ---- */

/* By so much `now` may lie before the period without that the clock was set back: it was read before another loop began the period. */
#define LATE_MS 60000

/* A new period begins with nothing spent; what is held goes over into it. A clock that was set back leads into the period before: what was
 * spent in either counts there, since all of it was spent by the end of it. */
static void roll(const struct budget *b, int64_t now_ms)
{
    struct budget_state *s = b->state;
    int64_t ends = atomic_load_explicit(&s->ends_ms, memory_order_acquire), begin, end;
    bool is_back = now_ms < atomic_load_explicit(&s->begins_ms, memory_order_relaxed) - LATE_MS;
    if (now_ms < ends && !is_back)
        return;
    budget_bounds(b, now_ms, &begin, &end);
    if ((is_back ? end >= ends : end <= ends) ||
        !atomic_compare_exchange_strong_explicit(&s->ends_ms, &ends, end, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return; /* somebody else did it */
    atomic_store_explicit(&s->begins_ms, begin, memory_order_relaxed);
    if (is_back) {
        if (atomic_exchange_explicit(&s->before_ends_ms, 0, memory_order_acq_rel) != end)
            return;
        int64_t before = atomic_load_explicit(&s->before, memory_order_acquire);
        atomic_fetch_add_explicit(&s->spent, before, memory_order_acq_rel);
        atomic_fetch_add_explicit(&s->committed, before, memory_order_acq_rel);
        return;
    }
    atomic_store_explicit(&s->loaded, 0, memory_order_relaxed);
    int64_t spent = atomic_exchange_explicit(&s->spent, 0, memory_order_acq_rel);
    atomic_fetch_sub_explicit(&s->committed, spent, memory_order_acq_rel);
    atomic_store_explicit(&s->before, spent, memory_order_release);
    atomic_store_explicit(&s->before_ends_ms, ends, memory_order_release);
}

bool budget_is_counting(const struct budgets *r, const struct budget *b)
{
    uint64_t turn = atomic_load_explicit(&r->turn, memory_order_acquire);
    return turn && atomic_load_explicit(&b->state->turn, memory_order_relaxed) == turn;
}

void budgets_turn(struct budgets *r, struct budget *const *all, size_t n)
{
    uint64_t turn = atomic_load_explicit(&r->turn, memory_order_relaxed) + 1;
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&all[i]->state->turn, turn, memory_order_relaxed);
    atomic_store_explicit(&r->turn, turn, memory_order_release);
}

static void add_spent(struct budget_state *s, int64_t nanousd)
{
    atomic_fetch_add_explicit(&s->spent, nanousd, memory_order_acq_rel);
    atomic_fetch_add_explicit(&s->committed, nanousd, memory_order_acq_rel);
}

bool budget_load(const struct budget *b, struct db *db, int64_t now_ms, struct err *e)
{
    struct budget_state *s = b->state;
    int64_t begin, end, spent;
    budget_bounds(b, now_ms, &begin, &end);
    if (!ledger_spent(db, b->scope, b->subject, begin, INT64_MAX, &spent, e))
        return false;
    atomic_store_explicit(&s->begins_ms, begin, memory_order_relaxed);
    atomic_store_explicit(&s->ends_ms, end, memory_order_release);
    atomic_store_explicit(&s->loaded, spent, memory_order_relaxed);
    add_spent(s, spent - atomic_load_explicit(&s->spent, memory_order_acquire));
    return true;
}

bool budget_catch_up(const struct budget *b, struct db *db, int64_t until_ms, struct err *e)
{
    struct budget_state *s = b->state;
    int64_t begin = atomic_load_explicit(&s->begins_ms, memory_order_relaxed), spent;
    if (until_ms < begin)
        return true;
    if (!ledger_spent(db, b->scope, b->subject, begin, until_ms, &spent, e))
        return false;
    add_spent(s, spent - atomic_exchange_explicit(&s->loaded, spent, memory_order_acq_rel));
    return true;
}

/* ---- holds ---- */

static bool commit(const struct budget *b, int64_t amount)
{
    struct budget_state *s = b->state;
    int64_t is = atomic_load_explicit(&s->committed, memory_order_relaxed);
    if (!budget_binds(b)) {
        atomic_fetch_add_explicit(&s->committed, amount, memory_order_acq_rel);
        return true;
    }
    do {
        if (is >= b->limit_nanousd || amount > b->limit_nanousd - is)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&s->committed, &is, is + amount,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

static bool commit_all(const struct budget *const *budgets, int64_t amount, int64_t now_ms,
                       const struct budget **by)
{
    for (size_t i = 0; budgets && budgets[i]; i++) {
        roll(budgets[i], now_ms);
        if (commit(budgets[i], amount))
            continue;
        *by = budgets[i];
        while (i-- > 0)
            atomic_fetch_sub_explicit(&budgets[i]->state->committed, amount, memory_order_acq_rel);
        return false;
    }
    return true;
}

bool hold_try(struct hold *h, const struct budget *const *budgets, int64_t amount, int64_t now_ms)
{
    const struct budget *by;
    *h = (struct hold){.budgets = budgets, .amount = amount};
    return h->is_taken = commit_all(budgets, amount, now_ms, &by);
}

bool hold_take(struct hold *h, const struct budget *const *budgets, int64_t amount, int64_t now_ms,
               const struct budget **by)
{
    *h = (struct hold){.budgets = budgets, .amount = amount};
    h->is_taken = commit_all(budgets, amount, now_ms, by);
    if (!h->is_taken) {
        atomic_fetch_add_explicit(&(*by)->state->refused, 1, memory_order_relaxed);
        atomic_store_explicit(&(*by)->state->refused_ms, now_ms, memory_order_relaxed);
    }
    return h->is_taken;
}

bool hold_grow(struct hold *h, int64_t more, int64_t now_ms, const struct budget **by)
{
    if (!h->is_taken || !commit_all(h->budgets, more, now_ms, by))
        return false;
    h->amount += more;
    return true;
}

void hold_settle(struct hold *h, int64_t cost, int64_t now_ms)
{
    if (!h->is_taken)
        return;
    for (size_t i = 0; h->budgets && h->budgets[i]; i++) {
        struct budget_state *s = h->budgets[i]->state;
        roll(h->budgets[i], now_ms);
        atomic_fetch_add_explicit(&s->spent, cost, memory_order_acq_rel);
        atomic_fetch_add_explicit(&s->committed, cost - h->amount, memory_order_acq_rel);
        if (cost > h->amount)
            atomic_fetch_add_explicit(&s->overrun_nanousd, (uint64_t)(cost - h->amount),
                                      memory_order_relaxed);
    }
    h->is_taken = false;
    h->amount = 0;
}

void budget_adjust(const struct budget *b, int64_t nanousd, int64_t now_ms)
{
    roll(b, now_ms);
    add_spent(b->state, nanousd);
}

/* ---- looking ---- */

int64_t budget_room(const struct budget *const *budgets, int64_t now_ms)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; budgets && budgets[i]; i++) {
        const struct budget *b = budgets[i];
        if (!budget_binds(b))
            continue;
        roll(b, now_ms);
        int64_t left = b->limit_nanousd -
                       atomic_load_explicit(&b->state->committed, memory_order_relaxed);
        least = left < least ? left : least;
    }
    return least > 0 ? least : 0;
}

struct budget_view budget_look(const struct budget *b, int64_t now_ms)
{
    struct budget_state *s = b->state;
    roll(b, now_ms);
    struct budget_view v = {
        .begins_ms = atomic_load_explicit(&s->begins_ms, memory_order_relaxed),
        .ends_ms = atomic_load_explicit(&s->ends_ms, memory_order_relaxed),
        .spent = atomic_load_explicit(&s->spent, memory_order_acquire),
        .refused_ms = atomic_load_explicit(&s->refused_ms, memory_order_relaxed),
        .refused = atomic_load_explicit(&s->refused, memory_order_relaxed),
        .cut = atomic_load_explicit(&s->cut, memory_order_relaxed),
        .warned = atomic_load_explicit(&s->warned, memory_order_relaxed),
    };
    int64_t held = atomic_load_explicit(&s->committed, memory_order_acquire) - v.spent;
    v.held = held > 0 ? held : 0; /* the two are not read at one moment */
    return v;
}

static bool is_at_warning(const struct budget *b, int64_t now_ms)
{
    roll(b, now_ms);
    int64_t is = atomic_load_explicit(&b->state->committed, memory_order_relaxed);
    /* both sides fit: limits are below 2^50 */
    return b->is_enabled && b->warn_percent > 0 && is * 100 >= b->limit_nanousd * b->warn_percent;
}

struct str budget_warnings(struct arena *a, const struct budget *const *budgets, int64_t now_ms)
{
    struct buf names = {.p = NULL};
    for (int turn = 0; turn < 2; turn++) /* those that will refuse go first */
        for (size_t i = 0; budgets && budgets[i]; i++) {
            const struct budget *b = budgets[i];
            if (budget_binds(b) != (turn == 0) || !is_at_warning(b, now_ms))
                continue;
            atomic_fetch_add_explicit(&b->state->warned, 1, memory_order_relaxed);
            if (!names.max)
                buf_init_arena(&names, a, SIZE_MAX / 4);
            if (names.n && names.n + b->name.n > MAX_NAMES)
                continue;
            if (names.n)
                buf_lit(&names, ", ");
            buf_str_add(&names, b->name);
        }
    return names.n ? buf_str(&names) : STR_NONE;
}

bool budget_refusal(const struct budget *b, int64_t now_ms, struct err *e)
{
    char text[48];
    struct buf usd = {.p = text, .cap = sizeof text, .max = sizeof text};
    int64_t ends = atomic_load_explicit(&b->state->ends_ms, memory_order_relaxed);
    decimal_write_nano(&usd, b->limit_nanousd);
    bool is_for_ever = b->period == BUDGET_EVER;
    err_set(e, is_for_ever ? ERR_NO_FUNDS : ERR_RATE_LIMITED, "budget_exceeded",
            "The budget '" STR_FMT "' of " STR_FMT " USD%s%s has no room for this request",
            STR_ARG(str_first(b->name, 100)), STR_ARG(buf_str(&usd)), is_for_ever ? "" : " a ",
            is_for_ever ? "" : word_text(budget_period_words, (int)b->period, ""));
    if (!is_for_ever && ends > now_ms)
        e->retry_after_ms = ends - now_ms;
    return false;
}
