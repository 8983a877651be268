/* admission.c - whether a request's limits let it in: those of its key, user, organisation and model before it begins, those of an upstream
 * before each attempt. What does not fit waits for its turn, or is refused with the true time to try again. A request of which nothing
 * is limited costs a few comparisons. */
#include "base/clock.h"
#include "base/map.h"
#include "gate/limit.h"
#include "relay/cache.h"
#include "relay/find.h"
#include "relay/replies.h"
#include "relay/request.h"
#include "relay/sessions.h"

#define PLACES 4
#define USUAL_OUTPUT 1024 /* tokens reserved for an answer whose length nobody said */
#define RETRY_MS 1000     /* told when nobody knows when something ends */

/* Where it waits, or was turned away: once for each gauge, whichever targets have it. */
struct stand {
    struct limit_stand at; /* first */
    struct limit_place place;
    struct limit_refusal why;
    bool is_full; /* of the pass over all targets: it had no room */
};

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
    /* waiting, in the lines of all that it may be served by */
    struct limit_waiter waiter; /* its stands are struct stand */
    struct gauge *turn;         /* where it was woken; NULL: nowhere just now */
    struct timer timer;
    uint64_t deadline_ms;
    uint64_t waits_since_ms, recovery_ms; /* of targets that cool; 0: none is waited for */
    bool is_waiting, is_for_upstream;
    bool is_recovery; /* the pass over all targets is for those that cooled */
};

/* ---- how many tokens ---- */

static int64_t estimate(struct relay *rl)
{
    if (rl->spec->shape == RELAY_COUNT)
        return 0;
    if (rl->form)
        return form_tokens(rl, true);
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

/* What it really used; what nobody reported stays as it was estimated, where it was answered, or an upstream was at it. An answer that is
 * given again was used by the one that was asked, unless it is paid for like a fresh one. */
static int64_t used_tokens(const struct relay *rl, int64_t reserved)
{
    const struct ir_usage *u = &rl->usage;
    const struct saved *again = cache_served(rl);
    if (again) {
        bool is_paid = !rl->error_code[0] && cache_costs(rl);
        return is_paid ? (int64_t)saved_tokens(again) : 0;
    }
    int64_t in = u->input_total, out = u->output_total;
    if (in <= 0 && out <= 0) {                                /* zeros are no word of it */
        int64_t came = rl->form ? form_tokens(rl, false) : 0; /* more than it announced */
        bool stays = (rl->is_head_sent && rl->status < 400) || was_ended_early(rl);
        return !stays ? 0 : came > reserved ? came : reserved;
    }
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

static void count_refused(struct relay *rl, const struct limit_place *p,
                          const struct limit_refusal *why)
{
    struct limit_refusal counted = *why;
    counted.place = 0;
    limit_refused(rl->env->shared->limiter, p, &counted);
    rl->target = NULL; /* nobody was asked */
}

static void refuse(struct relay *rl, const struct limit_place *p, const struct limit_refusal *why)
{
    struct err e = ERR_INIT;
    count_refused(rl, p, why);
    say_refused(p, why, &e);
    relay_fail(rl, &e);
}

/* ---- waiting ---- */

static void on_time(struct timer *t);

static int64_t reserved(const struct admission *a)
{
    return a->tokens > 0 ? a->tokens : 0;
}

static struct stand *first_stand(const struct admission *a)
{
    return (struct stand *)(void *)a->waiter.stands;
}

static struct stand *next_stand(const struct stand *s)
{
    return (struct stand *)(void *)s->at.sibling;
}

static struct stand *stand_at(const struct admission *a, const struct gauge *g)
{
    struct stand *s = first_stand(a);
    while (s && s->at.gauge != g)
        s = next_stand(s);
    return s;
}

static bool is_sooner(const struct limit_refusal *x, const struct limit_refusal *y)
{
    return x->wait_ms >= 0 && (y->wait_ms < 0 || x->wait_ms < y->wait_ms);
}

/* Turned away at one of its places: it was tried after *mark, or left to those who wait (NULL). Of several targets behind one gauge the one
 * with room first counts. */
static void turned_away(struct admission *a, const struct limit_place *p,
                        const struct limit_refusal *why, const uint64_t *mark)
{
    struct stand *s = stand_at(a, p->gauge);
    if (!s) {
        s = ARENA_NEW(a->rl->r->arena, struct stand);
        limit_stand_init(&a->waiter, &s->at, p->gauge);
    }
    if (!s->is_full || is_sooner(why, &s->why)) {
        s->place = *p;
        s->why = *why;
    }
    s->is_full = true;
    s->at.is_tried = mark != NULL;
    s->at.mark = mark ? *mark : 0;
}

static void forget_stands(struct admission *a)
{
    for (struct stand *s = first_stand(a); s; s = next_stand(s))
        s->is_full = false;
}

/* It stands where there may be room while it can wait. false: nowhere. */
static bool choose_stands(struct admission *a, uint64_t now)
{
    bool is_any = false;
    for (struct stand *s = first_stand(a); s; s = next_stand(s)) {
        s->at.is_wanted = s->is_full &&
                          (s->why.wait_ms < 0 || now + (uint64_t)s->why.wait_ms <= a->deadline_ms);
        is_any |= s->at.is_wanted;
    }
    return is_any && a->rl->spec->shape != RELAY_FORM && now < a->deadline_ms;
}

/* Until somewhere there may be room for it, or until its time is up. */
static void arm(struct admission *a, uint64_t now)
{
    uint64_t left = a->deadline_ms > now ? a->deadline_ms - now : 0;
    for (const struct stand *s = first_stand(a); s; s = next_stand(s))
        if (s->at.is_wanted && s->why.wait_ms >= 0 && (uint64_t)s->why.wait_ms < left)
            left = (uint64_t)s->why.wait_ms;
    if (a->recovery_ms && a->recovery_ms < now + left)
        left = a->recovery_ms > now ? a->recovery_ms - now : 0;
    timer_start(a->rl->env->loop, &a->timer, left > 10 ? left : 10, on_time);
}

/* Of what it waited for a target that cools, too. */
static void note_waited(struct admission *a, uint64_t now)
{
    if (a->recovery_ms)
        choice_waited(a->rl, now - a->waits_since_ms);
    a->recovery_ms = 0;
}

static void stop_waiting(struct admission *a, bool is_in)
{
    timer_stop(&a->timer);
    if (!a->is_waiting)
        return;
    note_waited(a, loop_now_ms(a->rl->env->loop));
    a->is_waiting = false;
    if (is_in && a->turn)
        limit_got_in(a->rl->env->shared->limiter, &a->waiter);
    else
        limit_leave(a->rl->env->shared->limiter, &a->waiter);
    a->turn = NULL;
}

/* true: it waits where it was turned away. */
static bool wait_for_room(struct admission *a, uint64_t now)
{
    struct relay *rl = a->rl;
    struct limiter *l = rl->env->shared->limiter;
    if (!choose_stands(a, now))
        return false;
    a->waiter.bell = &rl->env->bell;
    a->waiter.arg = rl;
    a->waiter.flow = rl->key ? hash_bytes(rl->key->id.p, rl->key->id.n) : 0;
    a->waiter.tokens = a->tokens;
    if (a->is_waiting)
        limit_wait_again(l, &a->waiter);
    else if (!limit_wait(l, &a->waiter, (size_t)rl->set->limit_queue_max))
        return false;
    a->is_waiting = true;
    a->turn = NULL;
    arm(a, now);
    return true;
}

/* By what is in force now: its own configuration is as old as it is. */
static void renew_limits(struct admission *a, struct limit_place *p)
{
    struct limits now = *p->limits, *own;
    if (!limit_in_force(a->rl->env->shared->limiter, p->gauge, &now))
        return;
    own = ARENA_NEW(a->rl->r->arena, struct limits);
    *own = now;
    p->limits = own;
}

/* Why it has no room there now. Where it would fit all the same, others are before it, or more of them wait than may. */
static void look_at(struct admission *a, struct stand *s, uint64_t now)
{
    if (a->is_waiting)
        renew_limits(a, &s->place);
    if (limit_fits(&s->place, 1, reserved(a), now, &s->why))
        s->why = (struct limit_refusal){0, LIMIT_CONCURRENCY, s->place.limits->concurrency, -1};
    s->why.place = 0;
}

/* Which of those where it was turned away may have room first; NULL: it was nowhere. */
static struct stand *nearest_stand(struct admission *a, uint64_t now)
{
    struct stand *best = NULL;
    for (struct stand *s = first_stand(a); s; s = next_stand(s)) {
        if (!s->is_full)
            continue;
        look_at(a, s, now);
        if (!best || is_sooner(&s->why, &best->why))
            best = s;
    }
    return best;
}

/* Time has passed: whoever is next may have room, not this one. */
static void look_around(struct admission *a, uint64_t now)
{
    for (struct stand *s = first_stand(a); s; s = next_stand(s))
        if (s->at.is_wanted) {
            look_at(a, s, now);
            limit_kick(a->rl->env->shared->limiter, s->at.gauge);
        }
    arm(a, now);
}

/* May end the request: the last that happens where it is called. */
static void on_time(struct timer *t)
{
    struct admission *a = (struct admission *)(void *)((char *)t -
                                                       offsetof(struct admission, timer));
    struct relay *rl = a->rl;
    uint64_t now = loop_now_ms(rl->env->loop);
    bool is_over = now >= a->deadline_ms;
    if (is_over && !a->is_for_upstream) {
        struct stand *s = nearest_stand(a, now);
        stop_waiting(a, false);
        refuse(rl, &s->place, &s->why);
    } else if (is_over || (a->recovery_ms && now >= a->recovery_ms)) {
        note_waited(a, now);
        a->is_recovery = !is_over;
        rl->next = is_over ? rl->n_order : 0; /* nobody more, or all of them once more */
        relay_attempt_next(rl);
    } else {
        look_around(a, now);
    }
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

/* Others wait there. Where it would fit all the same, its turn is what it lacks. */
static bool stands_behind(const struct admission *a, const struct limit_place *p, size_t n,
                          uint64_t now, struct limit_refusal *why)
{
    if (a->rl->set->limit_queue_ms == 0 || a->rl->spec->shape == RELAY_FORM)
        return false;
    for (size_t i = 0; i < n; i++)
        if (limit_is_awaited(p[i].gauge)) {
            if (limit_fits(&p[i], 1, reserved(a), now, why))
                *why = (struct limit_refusal){i, LIMIT_CONCURRENCY, p[i].limits->concurrency, -1};
            why->place = i;
            return true;
        }
    return false;
}

/* true: it is in. false: it waits, or was refused. */
static bool enter(struct admission *a)
{
    struct relay *rl = a->rl;
    uint64_t now = loop_now_ms(rl->env->loop), marks[PLACES];
    struct limit_refusal why = {.wait_ms = -1};
    for (size_t i = 0; i < a->n; i++) {
        if (a->is_waiting)
            renew_limits(a, &a->places[i]);
        marks[i] = limit_mark(a->places[i].gauge);
    }
    bool has_turn = a->is_waiting || !stands_behind(a, a->places, a->n, now, &why);
    if (has_turn && limit_take(rl->env->shared->limiter, a->places, a->n, reserved(a), now, &why)) {
        a->is_in = true;
        a->taken_ms = now;
        stop_waiting(a, true);
        forget_stands(a);
        return true;
    }
    forget_stands(a);
    turned_away(a, &a->places[why.place], &why, has_turn ? &marks[why.place] : NULL);
    if (wait_for_room(a, now))
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

/* Those of its upstream, and of its model where that is not the one whose limits hold already. */
static size_t places_of(const struct snapshot *s, const struct target *t,
                        const struct model *held_already, struct limit_place out[2])
{
    const struct upstream *u = t->upstream;
    const struct model *m = s->has_limited_models ? served_model(s, t) : NULL;
    size_t n = 0;
    if (u->gauge)
        out[n++] = (struct limit_place){u->gauge, &u->limits, LIMIT_UPSTREAM, 0};
    if (m && m->gauge && m != held_already)
        out[n++] = (struct limit_place){m->gauge, &m->limits, LIMIT_MODEL, 0};
    return n;
}

static size_t target_places(struct relay *rl, struct limit_place out[2])
{
    size_t n = places_of(rl->snap, rl->target, rl->admission ? rl->admission->model : NULL, out);
    for (size_t i = 0; i < n; i++)
        out[i] = place_of(admission_of(rl), out[i].of, out[i].gauge, out[i].limits);
    return n;
}

static bool is_awaited(const struct limit_place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (limit_is_awaited(p[i].gauge))
            return true;
    return false;
}

void admission_look(struct relay *rl)
{
    struct admission *a = rl->admission;
    if (!a)
        return;
    leave_target(rl); /* of the attempt before */
    if (rl->next == 0)
        forget_stands(a);
}

static bool is_at_turn(const struct admission *a, const struct limit_place *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a->turn && p[i].gauge == a->turn)
            return true;
    return false;
}

/* Who waits keeps his place in every line where his turn has not come, as long as what is behind it can be asked. */
bool admission_has_turn(struct relay *rl)
{
    struct admission *a = rl->admission;
    struct limit_place p[2];
    if (!a || !a->is_waiting || !a->is_for_upstream)
        return true;
    size_t n = target_places(rl, p);
    if (n == 0) /* what failed is not asked again because there is room elsewhere */
        return rl->attempts == 0 || a->is_recovery;
    if (is_at_turn(a, p, n))
        return true;
    for (size_t i = 0; i < n; i++) {
        struct stand *s = stand_at(a, p[i].gauge);
        if (!s || !s->at.is_in_line)
            continue;
        if (!s->is_full && !choice_is_left_alone(rl)) {
            look_at(a, s, loop_now_ms(rl->env->loop));
            s->is_full = true;
        }
        return false;
    }
    return true;
}

static bool enter_target(struct relay *rl, struct limit_place *p, size_t n)
{
    struct admission *a = admission_of(rl);
    struct limit_refusal why;
    uint64_t now = loop_now_ms(rl->env->loop), marks[2];
    if (a->tokens < 0 && counts_tokens(p, n)) /* none was reserved elsewhere, for want of a limit */
        a->tokens = estimate(rl);
    for (size_t i = 0; i < n; i++) {
        if (a->is_waiting)
            renew_limits(a, &p[i]);
        marks[i] = limit_mark(p[i].gauge);
    }
    bool has_turn = is_at_turn(a, p, n) || !stands_behind(a, p, n, now, &why);
    if (has_turn && limit_take(rl->env->shared->limiter, p, n, reserved(a), now, &why)) {
        a->up = (struct up_places){.n = n, .taken_ms = now, .is_in = true};
        memcpy(a->up.v, p, n * sizeof *p);
        stop_waiting(a, true);
        return true;
    }
    turned_away(a, &p[why.place], &why, has_turn ? &marks[why.place] : NULL);
    choice_limited(rl);
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
    if (n > 0)
        return enter_target(rl, p, n);
    if (rl->admission)
        stop_waiting(rl->admission, false);
    return true;
}

void admission_step_aside(struct relay *rl)
{
    if (!rl->admission)
        return;
    leave_target(rl);
    stop_waiting(rl->admission, false);
}

bool admission_wait_target(struct relay *rl)
{
    struct admission *a = rl->admission;
    uint64_t now = loop_now_ms(rl->env->loop);
    if (!a || (int64_t)rl->attempts >= rl->set->max_attempts + rl->has_fallen_back)
        return false;
    leave_target(rl);
    a->is_recovery = false;
    note_waited(a, now);
    int64_t recovery = choice_recovery_ms(rl);
    a->recovery_ms = recovery >= 0 ? now + (uint64_t)recovery + 1 : 0;
    a->waits_since_ms = now;
    if (wait_for_room(a, now)) {
        a->is_for_upstream = true;
        return true;
    }
    a->recovery_ms = 0;
    stop_waiting(a, false);
    return false;
}

bool admission_refuses(struct relay *rl, struct err *e)
{
    struct admission *a = rl->admission;
    struct stand *s = a ? nearest_stand(a, loop_now_ms(rl->env->loop)) : NULL;
    if (!s)
        return false;
    int64_t wait_ms = s->why.wait_ms >= 0 ? s->why.wait_ms : RETRY_MS;
    if (e->kind != ERR_NONE && e->retry_after_ms < wait_ms)
        return false;
    count_refused(rl, &s->place, &s->why);
    say_refused(&s->place, &s->why, e);
    return true;
}

int64_t admission_room_ms(const struct relay *rl, const struct target *t)
{
    const struct admission *a = rl->admission;
    struct limit_place p[2];
    struct limit_refusal why;
    size_t n = places_of(rl->snap, t, a ? a->model : NULL, p);
    if (n == 0)
        return 0;
    if (!limit_fits(p, n, a ? reserved(a) : 0, loop_now_ms(rl->env->loop), &why))
        return why.wait_ms > 0 ? why.wait_ms : RETRY_MS;
    return rl->set->limit_queue_ms > 0 && is_awaited(p, n) ? RETRY_MS : 0;
}

void relay_mark_limited(const struct snapshot *s, const struct asker *by, int64_t max_output,
                        uint64_t now_ms, struct plan *plan)
{
    int64_t tokens = asked_input(by->body) + (max_output > 0 ? max_output : USUAL_OUTPUT);
    for (size_t i = 0; i < plan->n; i++) {
        struct candidate *k = &plan->v[i];
        struct limit_place p[2];
        struct limit_refusal why = {.wait_ms = -1};
        size_t n = places_of(s, k->target, NULL, p);
        bool fits = limit_fits(p, n, tokens, now_ms, &why);
        k->is_limited = !fits || is_awaited(p, n);
        k->room_ms = fits ? -1 : why.wait_ms;
    }
    for (size_t i = 0; i < plan->n_ready; i++)
        if (!plan->v[i].is_limited)
            return;
    plan->wait_ms = 0; /* nobody can be asked now */
    for (size_t i = 0; i < plan->n; i++) {
        const struct candidate *k = &plan->v[i];
        uint64_t ms = k->standing.wait_ms;
        if (k->is_limited && k->room_ms > 0 && (uint64_t)k->room_ms > ms)
            ms = (uint64_t)k->room_ms;
        if (ms && !k->is_down && !k->is_excluded && (!plan->wait_ms || ms < plan->wait_ms))
            plan->wait_ms = ms;
    }
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
    if (n > 0 &&
        (is_awaited(p, n) || !limit_take(rl->env->shared->limiter, p, n, reserved(a), now, &why))) {
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
    a->turn = a->waiter.turn->gauge;
    if (a->is_for_upstream) {
        note_waited(a, loop_now_ms(rl->env->loop));
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

/* As its client named it, else a number made of how it began, where that is known: it takes a look through the body. */
static struct str session_text(const struct relay *rl)
{
    uint64_t seat = rl->admission ? rl->admission->session : 0;
    if (rl->spec->shape != RELAY_TALK)
        return STR_NONE;
    struct str name = str_first(session_named(rl->r), 64);
    if (name.n)
        return str_fmt(rl->r->arena, "ext:" STR_FMT, STR_ARG(name));
    return seat ? str_fmt(rl->r->arena, "%016llx", (unsigned long long)seat) : STR_NONE;
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
    struct str session = session_text(rl);
    if (session.n)
        h[n++] = (struct http_header){STR("x-omniroute-session-id"), session};
    if (!admission_tells(rl))
        return n;
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
