/* admission.c - whether a request's limits let it in: those of its key, user, organisation and model before it begins, those of an upstream
 * before each attempt. What does not fit waits for its turn, or is refused with the true time to try again. A request of which nothing
 * is limited costs a few comparisons. */
#include "base/clock.h"
#include "base/map.h"
#include "gate/limit.h"
#include "relay/request.h"
#include "relay/sessions.h"

#define PLACES 4
#define USUAL_OUTPUT 1024 /* tokens reserved for an answer whose length nobody said */
/* of several upstreams, whether another than the one that is waited for has room */
#define LOOK_AGAIN_MS 250
#define RETRY_MS 1000 /* told when nobody knows when something ends */

struct beside;
struct admission {
    struct relay *rl;
    struct limit_place places[PLACES];
    size_t n;
    uint64_t session; /* what it belongs to; 0: nobody asked */
    int64_t tokens;   /* reserved; -1: not estimated yet */
    uint64_t taken_ms;
    bool is_in;
    const struct model *model; /* of places; NULL: it has no limits */
    /* of an attempt: its upstream, and its model where that was reached by another name */
    struct up_places {
        struct limit_place v[2];
        size_t n;
        uint64_t taken_ms;
        bool is_in;
    } up;
    struct beside *beside; /* NULL: never were there two */
    /* upstreams that were left out, for want of room */
    struct limit_place nearest; /* the one with room first */
    struct limit_refusal nearest_why;
    uint64_t nearest_mark;
    size_t n_left_out;
    /* waiting */
    struct limit_waiter waiter;
    struct timer timer;
    uint64_t deadline_ms;
    bool is_waiting, is_for_upstream, has_choice;
    struct limit_place last; /* which refused, and why */
    struct limit_refusal last_why;
};

/* ---- how many tokens ---- */

static int64_t estimate(struct relay *rl)
{
    if (rl->spec->shape == RELAY_COUNT || rl->spec->shape == RELAY_FORM)
        return 0;
    int64_t output = (rl->asked_output > 0 ? rl->asked_output : USUAL_OUTPUT) * rl->asked_choices;
    return asked_input(rl->body) + (rl->spec->shape == RELAY_TALK ? output : 0);
}

static bool counts_tokens(const struct limit_place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i].limits->tokens_per_minute || p[i].limits->tokens_per_day)
            return true;
    return false;
}

/* Its client left, or the operator ended it, while its upstream worked for it. */
static bool was_ended_early(const struct relay *rl)
{
    return rl->sent_ns && !rl->is_done &&
           (rl->r->is_aborted || strcmp(rl->error_code, "cancelled") == 0);
}

/* What it really used; what nobody reported stays as it was estimated, where it was answered, or an upstream was at it. */
static int64_t used_tokens(const struct relay *rl, int64_t reserved)
{
    const struct ir_usage *u = &rl->usage;
    int64_t in = u->input_total, out = u->output_total;
    if (in < 0 && out < 0)
        return (rl->is_head_sent && rl->status < 400) || was_ended_early(rl) ? reserved : 0;
    /* of its reply only the beginning was told */
    if (rl->is_stream && rl->is_head_sent && !rl->is_done) {
        int64_t so_far = live_tokens_out(rl);
        out = so_far > out ? so_far : out;
    }
    return (in > 0 ? in : 0) + (out > 0 ? out : 0);
}

/* ---- refusing ---- */

static const char *whose(enum limit_of of)
{
    static const char *const words[LIMIT_OFS] = {"this API key", "this user", "this organisation",
                                                 "this model", "the upstreams of this model"};
    return words[of];
}

static void say_refused(const struct limit_place *p, const struct limit_refusal *why, struct err *e)
{
    int64_t wait_ms = why->wait_ms >= 0 ? why->wait_ms : RETRY_MS;
    static const char *const words[LIMIT_KINDS] = {
        "requests per minute", "requests per hour", "requests per day",     "tokens per minute",
        "tokens per day",      "requests at once",  "conversations at once"};
    err_set(e, ERR_RATE_LIMITED, "rate_limit_exceeded",
            "Rate limit reached for %s: %lld %s. Try again in %lld s", whose(p->of),
            (long long)why->limit, words[why->kind], (long long)((wait_ms + 999) / 1000));
    e->retry_after_ms = wait_ms;
}

static void refuse(struct relay *rl, const struct limit_place *p, const struct limit_refusal *why)
{
    struct err e = ERR_INIT;
    struct limit_refusal counted = *why;
    counted.place = 0;
    limit_refused(rl->env->shared->limiter, p, &counted);
    say_refused(p, why, &e);
    rl->target = NULL; /* nobody was asked */
    relay_fail(rl, &e);
}

/* ---- waiting ---- */

static void on_time(struct timer *t);

static bool may_wait(const struct relay *rl, const struct admission *a,
                     const struct limit_refusal *why, uint64_t now)
{
    return rl->spec->shape != RELAY_FORM && now < a->deadline_ms &&
           (why->wait_ms < 0 || now + (uint64_t)why->wait_ms <= a->deadline_ms);
}

static void arm(struct admission *a, int64_t wait_ms, uint64_t now)
{
    uint64_t left = a->deadline_ms > now ? a->deadline_ms - now : 0;
    if (a->has_choice && (wait_ms < 0 || wait_ms > LOOK_AGAIN_MS))
        wait_ms = LOOK_AGAIN_MS;
    if (wait_ms >= 0 && (uint64_t)wait_ms < left)
        left = (uint64_t)wait_ms;
    timer_start(a->rl->env->loop, &a->timer, left > 10 ? left : 10, on_time);
}

/* true: it waits. */
static bool wait_for(struct admission *a, const struct limit_place *p,
                     const struct limit_refusal *why, uint64_t mark, uint64_t now)
{
    struct relay *rl = a->rl;
    struct limiter *l = rl->env->shared->limiter;
    if (!may_wait(rl, a, why, now))
        return false;
    a->waiter.bell = &rl->env->bell;
    a->waiter.arg = rl;
    a->waiter.flow = rl->key ? hash_bytes(rl->key->id.p, rl->key->id.n) : 0;
    a->waiter.tokens = a->tokens;
    if (a->is_waiting)
        limit_wait_again(l, p->gauge, &a->waiter, mark);
    else if (!limit_wait(l, p->gauge, &a->waiter, mark, (size_t)rl->set->limit_queue_max))
        return false;
    a->is_waiting = true;
    a->last = *p;
    a->last_why = *why;
    arm(a, why->wait_ms, now);
    return true;
}

static void stop_waiting(struct admission *a, bool is_in)
{
    timer_stop(&a->timer);
    if (!a->is_waiting)
        return;
    a->is_waiting = false;
    if (is_in)
        limit_got_in(a->rl->env->shared->limiter, &a->waiter);
    else
        limit_leave(a->rl->env->shared->limiter, &a->waiter);
}

/* May end the request: the last that happens where it is called. */
static void on_time(struct timer *t)
{
    struct admission *a = (struct admission *)(void *)((char *)t -
                                                       offsetof(struct admission, timer));
    uint64_t now = loop_now_ms(a->rl->env->loop);
    struct limit_refusal why = a->last_why;
    if (now >= a->deadline_ms) {
        stop_waiting(a, false);
        refuse(a->rl, &a->last, &why);
        return;
    }
    if (a->has_choice) { /* all of them once more */
        stop_waiting(a, false);
        a->rl->next = 0;
        relay_attempt_next(a->rl);
        return;
    }
    limit_kick(a->rl->env->shared->limiter, a->last.gauge); /* whoever is next, not this one */
    if (limit_fits(&a->last, 1, a->tokens, now, &why))
        why.wait_ms = 100; /* those before it have their turn */
    arm(a, why.wait_ms, now);
}

/* ---- before the first attempt ---- */

static struct limit_place place_of(struct admission *a, enum limit_of of, struct gauge *g,
                                   const struct limits *l)
{
    if (l->sessions && a->rl->spec->shape == RELAY_TALK && !a->session)
        a->session = choice_conversation(a->rl);
    return (struct limit_place){g, l, of, l->sessions ? a->session : 0};
}

static void add_place(struct admission *a, enum limit_of of, struct gauge *g,
                      const struct limits *l)
{
    if (g)
        a->places[a->n++] = place_of(a, of, g, l);
}

static struct admission *admission_of(struct relay *rl)
{
    if (rl->admission)
        return rl->admission;
    struct admission *a = ARENA_NEW(rl->r->arena, struct admission);
    a->rl = rl;
    a->tokens = -1;
    a->deadline_ms = loop_now_ms(rl->env->loop) + (uint64_t)rl->set->limit_queue_ms;
    rl->admission = a;
    return a;
}

/* By its name, or by that of a target of its: the same limit holds, whatever it is called. */
static const struct model *limited_model(const struct relay *rl)
{
    if (!rl->snap->has_limited_models)
        return NULL;
    const struct model *m = snapshot_model(rl->snap, rl->model);
    return m || rl->n_order == 0 || choice_named(rl) ? m : served_model(rl->snap, rl->order[0]);
}

static void find_places(struct relay *rl)
{
    const struct key *k = rl->key;
    const struct model *m = limited_model(rl);
    bool is_key_limited = k &&
                          (k->gauge || (k->user && k->user->gauge) || (k->org && k->org->gauge));
    if (!is_key_limited && !(m && m->gauge))
        return;
    struct admission *a = admission_of(rl);
    if (k)
        add_place(a, LIMIT_KEY, k->gauge, &k->policy->limits);
    if (k && k->user)
        add_place(a, LIMIT_USER, k->user->gauge, &k->user->limits);
    if (k && k->org)
        add_place(a, LIMIT_ORG, k->org->gauge, &k->org->limits);
    if (m)
        add_place(a, LIMIT_MODEL, m->gauge, &m->limits);
    a->model = m;
    a->tokens = counts_tokens(a->places, a->n) ? estimate(rl) : -1;
}

/* true: it is in. false: it waits, or was refused. */
static bool enter(struct admission *a)
{
    struct relay *rl = a->rl;
    uint64_t now = loop_now_ms(rl->env->loop), marks[PLACES];
    int64_t tokens = a->tokens > 0 ? a->tokens : 0;
    struct limit_refusal why = {.wait_ms = -1};
    bool stands_behind = false;
    for (size_t i = 0; i < a->n; i++)
        marks[i] = limit_mark(a->places[i].gauge);
    for (size_t i = 0; i < a->n && !a->is_waiting && !stands_behind; i++)
        if (limit_is_awaited(a->places[i].gauge) && rl->set->limit_queue_ms > 0) {
            stands_behind = rl->spec->shape != RELAY_FORM;
            /* for want of a turn, not of room */
            if (limit_fits(&a->places[i], 1, tokens, now, &why))
                why = (struct limit_refusal){i, LIMIT_CONCURRENCY, a->places[i].limits->concurrency,
                                             -1};
            why.place = i;
        }
    if (!stands_behind &&
        limit_take(rl->env->shared->limiter, a->places, a->n, tokens, now, &why)) {
        a->is_in = true;
        a->taken_ms = now;
        stop_waiting(a, true);
        return true;
    }
    if (wait_for(a, &a->places[why.place], &why, marks[why.place], now))
        return false;
    stop_waiting(a, false);
    refuse(rl, &a->places[why.place], &why);
    return false;
}

bool admission_begin(struct relay *rl)
{
    find_places(rl);
    return !rl->admission || enter(rl->admission);
}

/* ---- before an attempt ---- */

static int64_t reserved(const struct admission *a)
{
    return a->tokens > 0 ? a->tokens : 0;
}

static void leave_places(struct relay *rl, struct up_places *up, int64_t used)
{
    if (!up->is_in)
        return;
    up->is_in = false;
    limit_end(rl->env->shared->limiter, up->v, up->n, reserved(rl->admission), used, up->taken_ms,
              loop_now_ms(rl->env->loop));
}

static void leave_target(struct relay *rl)
{
    struct admission *a = rl->admission;
    if (a)
        leave_places(rl, &a->up, used_tokens(rl, reserved(a)));
}

static size_t target_places(struct relay *rl, struct limit_place out[2])
{
    const struct upstream *u = rl->target->upstream;
    const struct model *m = rl->snap->has_limited_models ? served_model(rl->snap, rl->target)
                                                         : NULL;
    size_t n = 0;
    if (u->gauge)
        out[n++] = place_of(admission_of(rl), LIMIT_UPSTREAM, u->gauge, &u->limits);
    if (m && m->gauge && (!rl->admission || rl->admission->model != m))
        out[n++] = place_of(admission_of(rl), LIMIT_MODEL, m->gauge, &m->limits);
    return n;
}

static bool is_awaited(const struct limit_place *p, size_t n, struct limit_refusal *why)
{
    for (size_t i = 0; i < n; i++)
        if (limit_is_awaited(p[i].gauge)) {
            *why = (struct limit_refusal){i, LIMIT_CONCURRENCY, p[i].limits->concurrency, -1};
            return true;
        }
    return false;
}

/* Where room comes first, as far as that is known; else where fewer wait. */
static bool is_nearer(const struct limit_refusal *why, const struct limit_place *p,
                      const struct admission *a)
{
    if (why->wait_ms < 0 && a->nearest_why.wait_ms < 0)
        return limit_waiting(p->gauge) < limit_waiting(a->nearest.gauge);
    return why->wait_ms >= 0 &&
           (a->nearest_why.wait_ms < 0 || why->wait_ms < a->nearest_why.wait_ms);
}

static bool enter_target(struct relay *rl, const struct limit_place *p, size_t n)
{
    struct admission *a = admission_of(rl);
    struct limit_refusal why;
    uint64_t now = loop_now_ms(rl->env->loop), marks[2];
    if (a->tokens < 0 && counts_tokens(p, n)) /* none was reserved elsewhere, for want of a limit */
        a->tokens = estimate(rl);
    int64_t tokens = a->tokens > 0 ? a->tokens : 0;
    for (size_t i = 0; i < n; i++)
        marks[i] = limit_mark(p[i].gauge);
    bool stands_behind = !a->is_waiting && rl->set->limit_queue_ms > 0 &&
                         rl->spec->shape != RELAY_FORM && is_awaited(p, n, &why);
    if (!stands_behind && limit_take(rl->env->shared->limiter, p, n, tokens, now, &why)) {
        a->up = (struct up_places){.n = n, .taken_ms = now, .is_in = true};
        memcpy(a->up.v, p, n * sizeof *p);
        a->n_left_out = 0;
        stop_waiting(a, true);
        return true;
    }
    if (a->n_left_out++ == 0 || is_nearer(&why, &p[why.place], a)) {
        a->nearest = p[why.place];
        a->nearest_why = why;
        a->nearest_mark = marks[why.place];
    }
    if (!a->is_for_upstream) { /* not each time that it is looked at */
        struct err e = ERR_INIT;
        say_refused(&p[why.place], &why, &e);
        note_failed(rl, &e, "limited");
    }
    return false;
}

bool admission_target(struct relay *rl)
{
    struct limit_place p[2];
    size_t n = target_places(rl, p);
    if (!rl->admission && n == 0)
        return true;
    if (rl->admission)
        leave_target(rl); /* of the attempt before */
    if (n > 0)
        return enter_target(rl, p, n);
    stop_waiting(rl->admission, true);
    return true;
}

bool admission_wait_target(struct relay *rl)
{
    struct admission *a = rl->admission;
    if (!a || a->n_left_out == 0 || rl->attempts > 0)
        return false;
    struct limit_place p = a->nearest;
    struct limit_refusal why = a->nearest_why;
    a->has_choice = a->n_left_out > 1;
    a->n_left_out = 0;
    a->is_for_upstream = true;
    if (wait_for(a, &p, &why, a->nearest_mark, loop_now_ms(rl->env->loop)))
        return true;
    stop_waiting(a, false);
    refuse(rl, &p, &why);
    return true;
}

/* ---- two at once ---- */

struct beside {
    struct up_places other; /* of the attempt that is put aside */
    /* a second one at once, of those of places that limit that */
    struct limit_place more[PLACES];
    struct limits only[PLACES]; /* concurrency alone */
    size_t n_more;
};

static struct beside *beside_of(struct admission *a)
{
    if (!a->beside)
        a->beside = ARENA_NEW(a->rl->r->arena, struct beside);
    return a->beside;
}

static bool take_more(struct admission *a, struct beside *b, uint64_t now)
{
    struct limit_refusal why;
    b->n_more = 0;
    for (size_t i = 0; i < a->n; i++) {
        const struct limit_place *p = &a->places[i];
        if (!p->limits->concurrency)
            continue;
        if (limit_is_awaited(p->gauge)) /* requests that have not begun go first */
            return false;
        b->only[b->n_more] = (struct limits){.concurrency = p->limits->concurrency};
        b->more[b->n_more] = (struct limit_place){p->gauge, &b->only[b->n_more], p->of, 0};
        b->n_more++;
    }
    if (limit_take(a->rl->env->shared->limiter, b->more, b->n_more, 0, now, &why))
        return true;
    b->n_more = 0;
    return false;
}

static void give_more(struct admission *a, struct beside *b, uint64_t now)
{
    limit_end(a->rl->env->shared->limiter, b->more, b->n_more, 0, 0, now, now);
    b->n_more = 0;
}

bool admission_beside(struct relay *rl)
{
    struct limit_place p[2];
    size_t n = target_places(rl, p);
    struct limit_refusal why;
    uint64_t now = loop_now_ms(rl->env->loop);
    if (!rl->admission && n == 0)
        return true;
    struct admission *a = admission_of(rl);
    if (a->tokens < 0 && counts_tokens(p, n))
        a->tokens = estimate(rl);
    struct beside *b = beside_of(a);
    if (!take_more(a, b, now))
        return false;
    if (n > 0 && (is_awaited(p, n, &why) ||
                  !limit_take(rl->env->shared->limiter, p, n, reserved(a), now, &why))) {
        give_more(a, b, now);
        return false;
    }
    b->other = a->up;
    a->up = (struct up_places){.n = n, .taken_ms = now, .is_in = n > 0};
    memcpy(a->up.v, p, n * sizeof *p);
    return true;
}

void admission_change_places(struct relay *rl)
{
    struct admission *a = rl->admission;
    if (!a)
        return;
    struct beside *b = beside_of(a);
    struct up_places up = a->up;
    a->up = b->other;
    b->other = up;
}

void admission_other_over(struct relay *rl, bool was_asked)
{
    struct admission *a = rl->admission;
    if (!a || !a->beside)
        return;
    leave_places(rl, &a->beside->other, was_asked ? reserved(a) : 0);
    give_more(a, a->beside, loop_now_ms(rl->env->loop));
}

/* ---- woken, and over ---- */

/* The last that happens to it here. */
static void try_again(struct relay *rl)
{
    struct admission *a = rl->admission;
    if (rl->is_ended) {
        stop_waiting(a, false);
        return;
    }
    if (a->is_for_upstream) {
        rl->next = 0;
        relay_attempt_next(rl);
    } else if (enter(a)) {
        relay_admitted(rl);
    }
}

static void on_bell(void *arg)
{
    struct relay_loop *l = arg;
    struct limit_waiter *w;
    while ((w = limit_next_woken(l->shared->limiter, &l->bell)))
        try_again(w->arg);
}

static void ring(void *arg)
{
    struct relay_loop *l = arg;
    loop_post(l->loop, on_bell, l);
}

void relay_loop_init(struct relay_loop *l)
{
    l->bell = (struct limit_bell){.ring = ring, .arg = l};
}

void admission_end(struct relay *rl)
{
    struct admission *a = rl->admission;
    if (!a)
        return;
    stop_waiting(a, false);
    leave_target(rl);
    if (a->is_in)
        limit_end(rl->env->shared->limiter, a->places, a->n, reserved(a),
                  used_tokens(rl, reserved(a)), a->taken_ms, loop_now_ms(rl->env->loop));
    a->is_in = false;
}

/* ---- what is left, in the vendors' words ---- */

/* "6m0s", as OpenAI has it. */
/* Every answer carries six of these: printf would be a tenth of its cost. */
static struct str number(struct arena *a, int64_t v)
{
    struct buf b;
    buf_init_arena(&b, a, 24);
    buf_int(&b, v);
    return buf_str(&b);
}

static struct str duration(struct arena *a, int64_t ms)
{
    struct buf b;
    int64_t s = (ms + 999) / 1000;
    buf_init_arena(&b, a, 64);
    if (ms < 1000) {
        buf_int(&b, ms);
        buf_lit(&b, "ms");
        return buf_str(&b);
    }
    if (s >= 3600) {
        buf_int(&b, s / 3600);
        buf_char(&b, 'h');
    }
    if (s >= 60) {
        buf_int(&b, s / 60 % 60);
        buf_char(&b, 'm');
    }
    buf_int(&b, s % 60);
    buf_char(&b, 's');
    return buf_str(&b);
}

static struct str moment(struct arena *a, int64_t in_ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, (clock_wall_ms() + in_ms + 999) / 1000 * 1000);
    return buf_str(&b);
}

/* The window of requests, or of tokens, that has least left. */
static bool tightest(const struct admission *a, enum limit_kind first, enum limit_kind last,
                     uint64_t now, struct limit_view *out)
{
    bool is_any = false;
    for (size_t i = 0; i < a->n; i++)
        for (enum limit_kind k = first; k <= last; k++) {
            struct limit_view v = limit_view(&a->places[i], k, now);
            if (v.limit == 0 || (is_any && v.limit - v.used >= out->limit - out->used))
                continue;
            *out = v;
            is_any = true;
        }
    return is_any;
}

bool admission_tells(const struct relay *rl)
{
    return rl->admission && rl->admission->n > 0 && rl->set->limit_headers;
}

bool is_limit_header(struct str name)
{
    return str_starts(name, STR("x-ratelimit-")) || str_starts(name, STR("anthropic-ratelimit-")) ||
           str_starts(name, STR("ratelimit-"));
}

/* As its client named it, else a number made of how it began. */
static struct str session_text(const struct relay *rl)
{
    struct str name = str_first(session_named(rl->r), 64);
    return name.n ? str_fmt(rl->r->arena, "ext:" STR_FMT, STR_ARG(name))
                  : str_fmt(rl->r->arena, "%016llx", (unsigned long long)rl->admission->session);
}

size_t admission_headers(const struct relay *rl, struct http_header *h)
{
    static const struct {
        enum limit_kind first, last; /* windows */
        struct str openai[3], anthropic[3];
    } rows[] = {
        {LIMIT_REQUESTS_MINUTE,
         LIMIT_REQUESTS_DAY,
         {STR_INIT("x-ratelimit-limit-requests"), STR_INIT("x-ratelimit-remaining-requests"),
          STR_INIT("x-ratelimit-reset-requests")},
         {STR_INIT("anthropic-ratelimit-requests-limit"),
          STR_INIT("anthropic-ratelimit-requests-remaining"),
          STR_INIT("anthropic-ratelimit-requests-reset")}},
        {LIMIT_TOKENS_MINUTE,
         LIMIT_TOKENS_DAY,
         {STR_INIT("x-ratelimit-limit-tokens"), STR_INIT("x-ratelimit-remaining-tokens"),
          STR_INIT("x-ratelimit-reset-tokens")},
         {STR_INIT("anthropic-ratelimit-tokens-limit"),
          STR_INIT("anthropic-ratelimit-tokens-remaining"),
          STR_INIT("anthropic-ratelimit-tokens-reset")}},
    };
    struct arena *a = relay_brief(rl);
    bool is_anthropic = rl->spec->client == WIRE_ANTHROPIC;
    uint64_t now = loop_now_ms(rl->env->loop);
    size_t n = 0;
    if (!admission_tells(rl))
        return 0;
    if (rl->admission->session)
        h[n++] = (struct http_header){STR("x-omniroute-session-id"), session_text(rl)};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct limit_view v;
        const struct str *names = is_anthropic ? rows[i].anthropic : rows[i].openai;
        if (!tightest(rl->admission, rows[i].first, rows[i].last, now, &v))
            continue;
        int64_t left = v.limit > v.used ? v.limit - v.used : 0;
        h[n++] = (struct http_header){names[0], number(a, v.limit)};
        h[n++] = (struct http_header){names[1], number(a, left)};
        h[n++] = (struct http_header){names[2], is_anthropic ? moment(a, v.reset_ms)
                                                             : duration(a, v.reset_ms)};
    }
    return n;
}
