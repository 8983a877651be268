/* choose.c - where a request goes: the name to targets in order, which of them may be asked now, and what follows a failure. A plain model of
 * one target takes none of this but a look at its breaker. */
#include "relay/request.h"
#include "relay/sessions.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "domain/route_policy.h"
#include "route/explain.h"
#include "route/task.h"

#define BUSY_POLL_MS 20 /* a place may become free on any loop */
#define MAX_STICKY_DEPTH 64

struct choice {
    const struct model *model;
    struct plan plan;
    /* of each candidate: why it was left; NULL: it was not asked, or answered */
    const char **left;
    struct timer timer;
    struct relay *rl;
    uint64_t sticky, waited_ms, busy_since_ms;
    unsigned retries; /* of the target that is being asked */
    bool is_retry;    /* the next attempt is one: no second place is taken in line */
    bool is_fallback; /* the global fallback model's turn */
};

static struct live *live_of(const struct relay *rl)
{
    return rl->env->shared->live_state;
}

static uint64_t now_of(const struct relay *rl)
{
    return loop_now_ms(rl->env->loop);
}

static uint64_t seed_of(struct relay *rl)
{
    uint64_t seed = (uint64_t)rl->set->route_seed;
    return seed ? seed * 0x9e3779b97f4a7c15u +
                      atomic_fetch_add_explicit(&rl->env->shared->chosen, 1, memory_order_relaxed)
                : random_u64();
}

/* ---- what keeps together ---- */

static uint64_t hash_on(uint64_t h, struct str s)
{
    return (h ^ hash_bytes(s.p, s.n)) * 0x9e3779b97f4a7c15u;
}

/* System prompt and tools; of a conversation also what its user said first. In any of the formats. */
static uint64_t hash_opening(struct relay *rl, enum sticky sticky)
{
    static const char *const heads[] = {"system", "instructions", "systemInstruction",
                                        "system_instruction", "tools"};
    static const char *const lists[] = {"messages", "input", "contents"};
    struct arena *a = arena_new();
    yyjson_val *root, *one;
    uint64_t h = 1;
    size_t i, max;
    if (json_parse(a, rl->body, (unsigned)rl->set->max_json_depth, &root, NULL)) {
        for (size_t k = 0; k < ARRAY_LEN(heads); k++) {
            yyjson_val *v = json_find(root, heads[k], strlen(heads[k]));
            if (v)
                h = hash_on(h, json_text(a, v));
        }
        for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
            yyjson_val *v = json_find(root, lists[k], strlen(lists[k]));
            if (yyjson_is_str(v) && sticky == STICKY_CONVERSATION)
                h = hash_on(h, json_str(v));
            yyjson_arr_foreach (v, i, max, one) {
                struct str role = json_get_str(one, "role");
                bool is_user = !str_is(role, "system") && !str_is(role, "developer");
                if (is_user && sticky == STICKY_PREFIX)
                    break;
                h = hash_on(h, json_text(a, one));
                if (is_user)
                    break;
            }
        }
        struct str prompt = json_get_str(root, "prompt");
        if (prompt.n && sticky == STICKY_CONVERSATION)
            h = hash_on(h, prompt);
    }
    arena_free(a);
    return h;
}

uint64_t choice_conversation(struct relay *rl)
{
    struct str session = session_named(rl->r);
    uint64_t h = session.n ? hash_on(2, session)
                           : hash_on(hash_opening(rl, STICKY_CONVERSATION), rl->model);
    return h ? h : 1;
}

static uint64_t sticky_of(struct relay *rl, const struct combo *group)
{
    if (group->sticky == STICKY_NONE)
        return 0;
    struct str session = group->sticky == STICKY_CONVERSATION ? session_named(rl->r) : STR_NONE;
    if (!session.n && rl->form)
        return 0;
    uint64_t h = session.n ? hash_on(2, session) : hash_opening(rl, group->sticky);
    h = hash_on(hash_on(h, group->name), rl->key ? rl->key->id : STR_NONE);
    return h ? h : 1;
}

/* What strategy auto asks of a model. */
static uint32_t wants_of(const struct relay *rl)
{
    uint32_t wants = 0;
    if (rl->spec->shape == RELAY_EMBED)
        return CAP_EMBEDDING;
    if (str_contains(rl->body, STR("\"tools\"")))
        wants |= CAP_TOOLS;
    if (str_contains(rl->body, STR("\"image_url\"")) || str_contains(rl->body, STR("\"image\"")) ||
        str_contains(rl->body, STR("\"input_image\"")) ||
        str_contains(rl->body, STR("\"inline_data\"")) ||
        str_contains(rl->body, STR("\"inlineData\"")))
        wants |= CAP_VISION;
    return wants;
}

/* ---- the plan ---- */

/* Providers that the caller's key may be served by; NULL: all. */
static const struct strs *only_of(const struct relay *rl)
{
    return rl->key && rl->key->policy->providers.n ? &rl->key->policy->providers : NULL;
}

static bool may_serve(const struct relay *rl, const struct upstream *u)
{
    const struct strs *only = only_of(rl);
    for (size_t i = 0; only && i < only->n; i++)
        if (str_eq(only->v[i], u->name))
            return true;
    return !only;
}

static void plan(struct relay *rl)
{
    struct choice *c = rl->choice;
    const struct choose_ask ask = {
        .model = c->model,
        .set = rl->set,
        .now_ms = now_of(rl),
        .seed = seed_of(rl),
        .sticky = c->sticky,
        .wants = c->model->group->strategy == STRATEGY_AUTO ? wants_of(rl) : 0,
        .is_real = true,
        .only = only_of(rl),
        .price = route_price};
    choose(rl->r->arena, live_of(rl), &ask, &c->plan);
    c->left = ARENA_ARRAY(rl->r->arena, const char *, c->plan.n + 1);
    rl->order = ARENA_ARRAY(rl->r->arena, const struct target *, c->plan.n + 1);
    rl->n_order = rl->next = 0;
    for (size_t i = 0; i < c->plan.n && !c->plan.v[i].is_excluded; i++) /* these are the last */
        rl->order[rl->n_order++] = c->plan.v[i].target;
}

static bool start_choice(struct relay *rl, const struct model *m)
{
    if (!rl->choice)
        rl->choice = ARENA_NEW(rl->r->arena, struct choice);
    rl->choice->rl = rl;
    rl->choice->model = m;
    rl->choice->sticky = sticky_of(rl, m->group);
    plan(rl);
    return rl->n_order > 0;
}

static bool unknown_model(struct relay *rl, struct err *e)
{
    struct str near[3];
    struct buf b;
    size_t n = snapshot_near(rl->snap, rl->model, near, ARRAY_LEN(near));
    buf_init_arena(&b, rl->r->arena, 4096);
    for (size_t i = 0; i < n; i++)
        buf_fmt(&b, "%s'" STR_FMT "'", i ? ", " : "", STR_ARG(near[i]));
    err_set(e, ERR_NOT_FOUND, "model_not_found", "Unknown model: '" STR_FMT "'%s" STR_FMT "%s",
            STR_ARG(str_first(rl->model, 200)), n ? ". Did you mean " : "", STR_ARG(buf_str(&b)),
            n ? "?" : "");
    (void)snprintf(e->field, sizeof e->field, "model");
    return false;
}

static bool not_served(struct relay *rl, struct err *e)
{
    return err_set(e, ERR_FORBIDDEN, "provider_not_allowed",
                   "This API key may use none of the providers of model '" STR_FMT "'",
                   STR_ARG(str_first(rl->model, 200)));
}

/* What it is for, where a policy asks: of conversations. Bits of enum task. */
static uint32_t tasks_for(struct relay *rl)
{
    static const char *const marks[] = {"x-task-type", "x-request-priority", "x-initiator"};
    struct task_ask ask = {.max_output = rl->asked_output, .phrases = rl->set->background_phrases};
    if (!rl->snap->asks_for_tasks || rl->spec->shape != RELAY_TALK)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        ask.is_marked |= str_eq_nocase(str_trim(http_req_header(rl->r, marks[i])),
                                       STR("background"));
    struct arena *a = arena_new(); /* let go at once: a stream would keep the request's for long */
    if (!json_parse(a, rl->body, (unsigned)rl->set->max_json_depth, &ask.body, NULL))
        ask.body = NULL;
    uint32_t tasks = tasks_of(&ask);
    arena_free(a);
    for (int t = TASK_BACKGROUND; t < TASKS; t++)
        if (tasks >> t & 1)
            atomic_fetch_add_explicit(&rl->env->shared->tasks_seen[t], 1, memory_order_relaxed);
    return tasks;
}

bool relay_resolve(struct relay *rl, struct err *e)
{
    struct str asked = rl->model;
    rl->is_extended = snapshot_cut_extended(rl->snap, &rl->model);
    const struct model *m = snapshot_resolve(rl->snap, rl->r->arena, rl->model);
    /* a pattern's name counts as what it leads to */
    if (rl->key && !key_may_use(rl->key, asked) && !key_may_use(rl->key, rl->model) &&
        !(m && key_may_use(rl->key, m->name))) {
        err_set(e, ERR_FORBIDDEN, "model_not_allowed",
                "This API key may not use model '" STR_FMT "'", STR_ARG(str_first(rl->model, 200)));
        (void)snprintf(e->field, sizeof e->field, "model");
        return false;
    }
    const struct route_policy *policy = route_policy_for(
        rl->snap->policies, rl->model, rl->key ? rl->key->id : STR_NONE, tasks_for(rl));
    if (policy && policy->action == POLICY_DENY) {
        err_set(e, ERR_FORBIDDEN, "policy_denied",
                "The policy '" STR_FMT "' refuses requests for model '" STR_FMT "'",
                STR_ARG(str_first(policy->name, 100)), STR_ARG(str_first(rl->model, 200)));
        (void)snprintf(e->field, sizeof e->field, "model");
        return false;
    }
    if (policy) {
        m = snapshot_resolve(rl->snap, rl->r->arena, policy->target);
        rl->policy = policy;
        if (policy->task != TASK_ANY) {
            atomic_fetch_add_explicit(&rl->env->shared->tasks_led[policy->task], 1,
                                      memory_order_relaxed);
            RELAY_LOG(log_info, rl, "route.task_led", "task=%s policy=" STR_FMT " target=" STR_FMT,
                      word_text(task_words, policy->task, ""), STR_ARG(policy->name),
                      STR_ARG(policy->target));
        }
    }
    if (!m || m->n_targets == 0)
        return unknown_model(rl, e);
    bool is_served = m->group ? start_choice(rl, m) : may_serve(rl, m->targets->upstream);
    if (!is_served)
        return only_of(rl) ? not_served(rl, e) : unknown_model(rl, e);
    if (m->group)
        return true;
    rl->order = ARENA_NEW(rl->r->arena, const struct target *);
    rl->order[0] = m->targets;
    rl->n_order = 1;
    return true;
}

/* ---- one attempt ---- */

static struct candidate *candidate_of(const struct relay *rl, const struct target *t, size_t *at)
{
    for (size_t i = 0; rl->choice && i < rl->choice->plan.n; i++)
        if (rl->choice->plan.v[i].target == t) {
            *at = i;
            return &rl->choice->plan.v[i];
        }
    return NULL;
}

static const struct combo *combo_of(const struct relay *rl)
{
    size_t at;
    const struct candidate *k = candidate_of(rl, rl->target, &at);
    return k ? k->by : NULL;
}

static void leave(struct relay *rl, const char *why)
{
    size_t at;
    if (candidate_of(rl, rl->target, &at))
        rl->choice->left[at] = why;
}

static void on_timer(struct timer *t)
{
    struct choice *c = (struct choice *)(void *)((char *)t - offsetof(struct choice, timer));
    if (!c->rl->is_ended)
        relay_attempt_next(c->rl);
}

static void on_recovery(struct timer *t)
{
    struct choice *c = (struct choice *)(void *)((char *)t - offsetof(struct choice, timer));
    if (c->rl->is_ended)
        return;
    c->rl->next = 0; /* the nearest recovery stands first */
    relay_attempt_next(c->rl);
}

static void wait(struct relay *rl, uint64_t ms, void (*then)(struct timer *))
{
    rl->choice->waited_ms += ms;
    timer_start(rl->env->loop, &rl->choice->timer, ms ? ms : 1, then);
}

/* A place among those that the member serves at once; false: there is none, and is_waiting says whether one is waited for. */
static bool take_place(struct relay *rl, bool *is_waiting)
{
    const struct combo *by = combo_of(rl);
    int64_t max = by ? by->concurrency : 0;
    uint64_t now = now_of(rl);
    if (max <= 0 && !rl->target->upstream->is_measured)
        return true;
    if (live_enter(live_of(rl), rl->target, max, now)) {
        rl->entered = rl->target;
        if (rl->choice)
            rl->choice->busy_since_ms = 0;
        return true;
    }
    struct choice *c = rl->choice;
    if (c->busy_since_ms == 0)
        c->busy_since_ms = now ? now : 1;
    *is_waiting = now - c->busy_since_ms < (uint64_t)by->queue_timeout_ms;
    if (*is_waiting) {
        rl->next--;
        timer_start(rl->env->loop, &c->timer, BUSY_POLL_MS, on_timer);
    } else {
        c->busy_since_ms = 0;
        leave(rl, "busy");
    }
    return false;
}

enum choice_step choice_admit(struct relay *rl)
{
    bool is_waiting = false;
    uint64_t now = now_of(rl);
    if (!live_admit(live_of(rl), rl->target, rl->set, rl->n_order == 1, now, &rl->ticket)) {
        struct standing s = live_standing(live_of(rl), rl->target, rl->set, now);
        leave(rl, s.is_quota ? "quota used up" : s.wait_ms > 0 ? "cooling" : "probed by another");
        return CHOICE_SKIP;
    }
    rl->is_admitted = true;
    if (take_place(rl, &is_waiting)) {
        leave(rl, NULL);
        return CHOICE_GO;
    }
    live_give_up(live_of(rl), rl->target, &rl->ticket);
    rl->is_admitted = false;
    return is_waiting ? CHOICE_WAIT : CHOICE_SKIP;
}

bool choice_admit_beside(struct relay *rl)
{
    struct live *l = live_of(rl);
    uint64_t now = now_of(rl);
    const struct combo *by = combo_of(rl);
    if (!by || live_standing(l, rl->target, rl->set, now).kind != STANDING_READY ||
        !live_admit(l, rl->target, rl->set, false, now, &rl->ticket))
        return false;
    rl->is_admitted = true;
    if (by->concurrency > 0 || rl->target->upstream->is_measured) {
        if (!live_enter(l, rl->target, by->concurrency, now)) {
            choice_leave(rl);
            return false;
        }
        rl->entered = rl->target;
    }
    leave(rl, NULL);
    return true;
}

const struct candidate *choice_candidate(const struct relay *rl)
{
    size_t at;
    return candidate_of(rl, rl->target, &at);
}

const struct combo *choice_named(const struct relay *rl)
{
    const struct combo *k = rl->choice ? rl->choice->model->group : NULL;
    return k && !k->of ? k : NULL;
}

void choice_outrun(struct relay *rl)
{
    leave(rl, "hedge");
}

uint64_t choice_first_byte_timeout(const struct relay *rl, uint64_t usual)
{
    const struct combo *by = rl->choice ? combo_of(rl) : NULL;
    uint64_t own = by && by->timeout_ms > 0 ? (uint64_t)by->timeout_ms : 0;
    return own && (usual == 0 || own < usual) ? own : usual;
}

void choice_head(struct relay *rl, int status, const struct http_header *h, size_t n)
{
    const struct target *t = rl->target;
    uint64_t now = now_of(rl);
    if (t->upstream->is_measured) {
        struct quota_window v[QUOTA_WINDOWS];
        size_t found = quota_read(h, n, clock_wall_ms(), v);
        if (found)
            live_note_quota(live_of(rl), t, rl->ticket.key, v, found, now);
        if (status < 300)
            live_first_byte(live_of(rl), t, (clock_mono_ns() - rl->sent_ns) / 1000, now);
    }
    if (status >= 300)
        return;
    live_report(live_of(rl), t, &rl->ticket, &(struct outcome){FAULT_NONE, status, -1}, rl->set,
                now);
    rl->is_admitted = false;
    if (rl->choice && rl->choice->sticky)
        live_set_pin(live_of(rl), rl->choice->sticky, live_lane(t), now);
}

void choice_leave(struct relay *rl)
{
    if (rl->is_admitted && rl->target)
        live_give_up(live_of(rl), rl->target, &rl->ticket);
    rl->is_admitted = false;
    if (rl->entered)
        live_leave(live_of(rl), rl->entered);
    rl->entered = NULL;
}

void choice_report(struct relay *rl, enum fault f, int64_t retry_after_ms)
{
    live_report(live_of(rl), rl->target, &rl->ticket,
                &(struct outcome){f, rl->up_status, retry_after_ms}, rl->set, now_of(rl));
    rl->is_admitted = false;
    leave(rl, fault_name(f));
}

void choice_end(struct relay *rl)
{
    if (rl->choice)
        timer_stop(&rl->choice->timer);
    choice_leave(rl);
}

/* ---- what follows ---- */

static bool is_passing(int status, enum fault f)
{
    return f == FAULT_TRANSPORT || f == FAULT_OVERLOAD || status == 408 || status == 429 ||
           status == 500 || (status >= 502 && status <= 504);
}

/* The same once more, when it may be asked by then. */
static bool retries(struct relay *rl, enum fault f)
{
    struct choice *c = rl->choice;
    const struct combo *by = combo_of(rl);
    if (!by || c->retries >= (uint64_t)by->max_retries || !is_passing(rl->last_failed_status, f) ||
        hedge_sent(rl)) /* the place before `next` is not its own any more */
        return false;
    struct standing s = live_standing(live_of(rl), rl->target, rl->set, now_of(rl));
    if (s.kind == STANDING_COOLING && s.wait_ms > (uint64_t)by->retry_delay_ms)
        return false;
    c->retries++;
    rl->next--;
    wait(rl, (uint64_t)by->retry_delay_ms, on_timer);
    return true;
}

static bool is_patient(struct relay *rl)
{
    const struct combo *by = combo_of(rl);
    int status = rl->last_failed_status;
    if (!by || by->patience_ms <= 0 || status < 502 || status > 504)
        return false;
    struct standing s = live_standing(live_of(rl), rl->target, rl->set, now_of(rl));
    if (s.kind != STANDING_COOLING || s.wait_ms > (uint64_t)by->patience_ms)
        return false;
    wait(rl, s.wait_ms, on_timer);
    return true;
}

static bool fall_back(struct relay *rl, enum fault f)
{
    struct str name = rl->set->global_fallback_model;
    bool is_passing_fault = f == FAULT_OVERLOAD || f == FAULT_TRANSPORT || f == FAULT_SERVER;
    if (!name.n || !is_passing_fault || rl->has_fallen_back || str_eq(name, rl->model))
        return false;
    const struct model *m = snapshot_resolve(rl->snap, rl->r->arena, name);
    if (!m || m->n_targets == 0 || (!m->group && !may_serve(rl, m->targets->upstream)))
        return false;
    rl->has_fallen_back = true;
    atomic_fetch_add_explicit(&rl->env->shared->fallbacks, 1, memory_order_relaxed);
    RELAY_LOG(log_info, rl, "route.fallback", "model=" STR_FMT, STR_ARG(name));
    if (m->group)
        return start_choice(rl, m);
    rl->choice = NULL;
    rl->order = ARENA_NEW(rl->r->arena, const struct target *);
    rl->order[0] = m->targets;
    rl->n_order = 1;
    rl->next = 0;
    return true;
}

bool choice_goes_on(struct relay *rl, enum fault f)
{
    if (rl->attempts >= rl->set->max_attempts + (rl->has_fallen_back ? 1 : 0))
        return false;
    if (rl->choice && retries(rl, f))
        return true;
    if (rl->choice)
        rl->choice->retries = 0;
    if (rl->next < rl->n_order) {
        if (!rl->choice || !is_patient(rl))
            relay_attempt_next(rl);
        return true;
    }
    if (!fall_back(rl, f))
        return false;
    relay_attempt_next(rl);
    return true;
}

/* Nothing could be asked: the nearest recovery is waited for, or told. */
bool choice_waits(struct relay *rl, struct err *e)
{
    uint64_t nearest = UINT64_MAX, now = now_of(rl);
    if (!rl->choice || rl->n_order < 2 || rl->attempts > 0)
        return false;
    for (size_t i = 0; i < rl->n_order; i++) {
        struct standing s = live_standing(live_of(rl), rl->order[i], rl->set, now);
        uint64_t ms = s.kind == STANDING_COOLING ? s.wait_ms : BUSY_POLL_MS;
        nearest = ms < nearest ? ms : nearest;
    }
    if (rl->choice->waited_ms + nearest <= (uint64_t)rl->set->route_wait_ms) {
        wait(rl, nearest + 1, on_recovery);
        return true;
    }
    err_set(e, ERR_RATE_LIMITED, "all_targets_cooling",
            "Every target of model '" STR_FMT "' is to be left alone for the moment",
            STR_ARG(str_first(rl->model, 200)));
    e->retry_after_ms = (int64_t)nearest;
    return false;
}

struct str choice_text(struct relay *rl)
{
    const struct choice *c = rl->choice;
    struct buf b;
    if (!c || c->plan.n < 2)
        return STR_NONE;
    buf_init_arena(&b, rl->r->arena, 65536);
    struct jw w = jw_on(&b);
    explain_write(&w, c->model, &c->plan, c->left, rl->status < 400 ? rl->target : NULL);
    return buf_failed(&b) ? STR_NONE : buf_str(&b);
}
