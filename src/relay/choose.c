/* choose.c - where a request goes: the name to targets in order, which of them may be asked now, and what follows a failure. A plain model of
 * one target takes none of this but a look at its breaker. */
#include "relay/find.h"
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

/* turn: how many choices there were before. */
static uint64_t seed_of(const struct settings *set, uint64_t turn)
{
    uint64_t seed = (uint64_t)set->route_seed;
    return seed ? seed * 0x9e3779b97f4a7c15u + turn : random_u64();
}

/* ---- what keeps together ---- */

static uint64_t hash_on(uint64_t h, struct str s)
{
    return (h ^ hash_bytes(s.p, s.n)) * 0x9e3779b97f4a7c15u;
}

/* In whatever order a client lists them. */
static uint64_t hash_tools(struct arena *a, yyjson_val *tools)
{
    uint64_t h = 1;
    size_t i, max;
    yyjson_val *one;
    yyjson_arr_foreach (tools, i, max, one) {
        /* Google: all of them in one */
        yyjson_val *several = json_get(one, "functionDeclarations");
        h += yyjson_is_arr(several) ? hash_tools(a, several) : hash_on(1, json_text(a, one));
    }
    return h;
}

/* System prompt and tools; of a conversation also what its user said first. In any of the formats. */
static uint64_t hash_opening(struct str body, unsigned depth, enum sticky sticky)
{
    static const char *const heads[] = {"system", "instructions", "systemInstruction",
                                        "system_instruction"};
    static const char *const lists[] = {"messages", "input", "contents"};
    struct arena *a = arena_new();
    yyjson_val *root, *one;
    uint64_t h = 1;
    size_t i, max;
    if (json_parse(a, body, depth, &root, NULL)) {
        for (size_t k = 0; k < ARRAY_LEN(heads); k++) {
            yyjson_val *v = json_find(root, heads[k], strlen(heads[k]));
            if (v)
                h = hash_on(h, json_text(a, v));
        }
        h = (h ^ hash_tools(a, json_get(root, "tools"))) * 0x9e3779b97f4a7c15u;
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
    unsigned depth = (unsigned)rl->set->max_json_depth;
    uint64_t h = session.n ? hash_on(2, session)
                           : hash_on(hash_opening(rl->body, depth, STICKY_CONVERSATION), rl->model);
    return h ? h : 1;
}

static uint64_t sticky_of(const struct combo *group, const struct asker *by, unsigned depth)
{
    if (group->sticky == STICKY_NONE)
        return 0;
    struct str session = group->sticky == STICKY_CONVERSATION ? by->session : STR_NONE;
    if (!session.n && !by->body.n)
        return 0;
    uint64_t h = session.n ? hash_on(2, session) : hash_opening(by->body, depth, group->sticky);
    h = hash_on(hash_on(h, group->name), by->key ? by->key->id : STR_NONE);
    return h ? h : 1;
}

/* What strategy auto asks of a model. */
static uint32_t wants_of(const struct asker *by)
{
    static const char *const images[] = {"\"image_url\"", "\"image\"", "\"input_image\"",
                                         "\"inline_data\"", "\"inlineData\""};
    uint32_t wants = 0;
    if (by->is_embedding)
        return CAP_EMBEDDING;
    if (str_contains(by->body, STR("\"tools\"")))
        wants |= CAP_TOOLS;
    for (size_t i = 0; i < ARRAY_LEN(images); i++)
        if (str_contains(by->body, str_of(images[i])))
            wants |= CAP_VISION;
    return wants;
}

/* ---- the plan ---- */

/* Providers that the caller's key may be served by; NULL: all. */
static const struct strs *only_of(const struct key *key)
{
    return key && key->policy->providers.n ? &key->policy->providers : NULL;
}

static bool may_serve(const struct relay *rl, const struct upstream *u)
{
    const struct strs *only = only_of(rl->key);
    for (size_t i = 0; only && i < only->n; i++)
        if (str_eq(only->v[i], u->name))
            return true;
    return !only;
}

void relay_choose_ask(const struct relay_shared *s, const struct snapshot *snap,
                      const struct model *m, const struct asker *by, struct choose_ask *out)
{
    const struct combo *group = m->group;
    unsigned depth = (unsigned)snap->settings.max_json_depth;
    *out = (struct choose_ask){
        .model = m,
        .set = &snap->settings,
        .seed = seed_of(&snap->settings, atomic_load_explicit(&s->chosen, memory_order_relaxed)),
        .sticky = group ? sticky_of(group, by, depth) : 0,
        .wants = group && group->strategy == STRATEGY_AUTO ? wants_of(by) : 0,
        .only = only_of(by->key),
        .price = route_price};
}

static void plan(struct relay *rl)
{
    struct choice *c = rl->choice;
    bool is_conversation = c->model->group->sticky == STICKY_CONVERSATION;
    const struct asker by = {.key = rl->key,
                             .session = is_conversation ? session_named(rl->r) : STR_NONE,
                             .body = rl->form ? STR_NONE : rl->body,
                             .is_embedding = rl->spec->shape == RELAY_EMBED};
    struct choose_ask ask;
    relay_choose_ask(rl->env->shared, rl->snap, c->model, &by, &ask);
    ask.now_ms = now_of(rl);
    ask.seed = seed_of(
        rl->set, atomic_fetch_add_explicit(&rl->env->shared->chosen, 1, memory_order_relaxed));
    ask.is_real = true;
    c->sticky = ask.sticky;
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
    plan(rl);
    return rl->n_order > 0;
}

/* Of several vendors that all have it, the caller says which. */
static bool is_of_several(const struct snapshot *s, struct arena *a, struct str name, struct err *e)
{
    const char *kinds[PROVIDER_MAKERS];
    size_t n;
    (void)snapshot_of_vendor(s, a, name, kinds, &n);
    if (n < 2)
        return false;
    err_set(e, ERR_INPUT, "ambiguous_model",
            "Model '" STR_FMT "' is had by several providers: '%s/" STR_FMT "' or '%s/" STR_FMT "'",
            STR_ARG(str_first(name, 100)), kinds[0], STR_ARG(str_first(name, 100)), kinds[1],
            STR_ARG(str_first(name, 100)));
    (void)snprintf(e->field, sizeof e->field, "model");
    return true;
}

static bool unknown_model(const struct snapshot *s, struct arena *a, const struct key *key,
                          struct str name, struct err *e)
{
    if (is_of_several(s, a, name, e))
        return false;
    struct str near[3];
    struct buf b;
    size_t n = snapshot_near(s, key, name, near, ARRAY_LEN(near));
    buf_init_arena(&b, a, 4096);
    for (size_t i = 0; i < n; i++)
        buf_fmt(&b, "%s'" STR_FMT "'", i ? ", " : "", STR_ARG(near[i]));
    err_set(e, ERR_NOT_FOUND, "model_not_found", "Unknown model: '" STR_FMT "'%s" STR_FMT "%s",
            STR_ARG(str_first(name, 200)), n ? ". Did you mean " : "", STR_ARG(buf_str(&b)),
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
    return tasks;
}

const struct model *served_model(const struct snapshot *s, const struct target *t)
{
    const struct model *found = NULL;
    if (t->served)
        return t->served;
    for (size_t i = 0; i < s->n_models && !(found && found->gauge); i++)
        for (size_t k = 0; s->models[i]->is_enabled && k < s->models[i]->n_targets; k++) {
            const struct target *one = &s->models[i]->targets[k];
            if (one->upstream == t->upstream && str_eq(one->model, t->model) &&
                (!found || s->models[i]->gauge))
                found = s->models[i];
        }
    return found;
}

/* Of the name that was asked for, else of the combo or served model behind it, or of kind/model: aliases, patterns, provider/model and bare
 * names are other names of what they lead to, and no way around what is said of that. */
static const struct route_policy *policy_of(const struct snapshot *s, struct str name,
                                            const struct model *m, const struct asker *by)
{
    struct str id = by->key ? by->key->id : STR_NONE;
    const struct route_policy *p = route_policy_for(s->policies, name, id, by->tasks);
    if (p || !s->policies || !m || m->n_targets == 0)
        return p;
    bool is_combo = m->group && !m->group->of;
    const struct model *served = is_combo ? NULL : served_model(s, &m->targets[0]);
    struct str behind = is_combo ? m->group->name : served ? served->name : m->name;
    return str_eq(behind, name) ? NULL : route_policy_for(s->policies, behind, id, by->tasks);
}

bool relay_find_model(const struct snapshot *s, struct arena *a, struct str name,
                      const struct asker *by, struct found *out, struct err *e)
{
    struct str asked = name;
    *out = (struct found){.is_extended = snapshot_cut_extended(s, &name), .name = name};
    const struct model *m = snapshot_resolve(s, a, name);
    /* a pattern's name counts as what it leads to */
    if (by->key && !key_may_use(by->key, asked) && !key_may_use(by->key, name) &&
        !(m && key_may_use(by->key, m->name))) {
        err_set(e, ERR_FORBIDDEN, "model_not_allowed",
                "This API key may not use model '" STR_FMT "'", STR_ARG(str_first(name, 200)));
        (void)snprintf(e->field, sizeof e->field, "model");
        return false;
    }
    const struct route_policy *policy = out->policy = policy_of(s, name, m, by);
    if (policy && policy->action == POLICY_DENY) {
        err_set(e, ERR_FORBIDDEN, "policy_denied",
                "The policy '" STR_FMT "' refuses requests for model '" STR_FMT "'",
                STR_ARG(str_first(policy->name, 100)), STR_ARG(str_first(name, 200)));
        (void)snprintf(e->field, sizeof e->field, "model");
        return false;
    }
    if (policy)
        m = snapshot_resolve(s, a, policy->target);
    out->model = m;
    return (m && m->n_targets > 0) || unknown_model(s, a, by->key, name, e);
}

static void count_tasks(struct relay *rl, uint32_t tasks)
{
    const struct route_policy *policy = rl->policy;
    for (int t = TASK_BACKGROUND; t < TASKS; t++)
        if (tasks >> t & 1)
            atomic_fetch_add_explicit(&rl->env->shared->tasks_seen[t], 1, memory_order_relaxed);
    if (!policy || policy->task == TASK_ANY)
        return;
    atomic_fetch_add_explicit(&rl->env->shared->tasks_led[policy->task], 1, memory_order_relaxed);
    RELAY_LOG(log_info, rl, "route.task_led", "task=%s policy=" STR_FMT " target=" STR_FMT,
              word_text(task_words, policy->task, ""), STR_ARG(policy->name),
              STR_ARG(policy->target));
}

bool relay_resolve(struct relay *rl, struct err *e)
{
    const struct asker by = {.key = rl->key, .tasks = tasks_for(rl)};
    struct found f;
    bool is_found = relay_find_model(rl->snap, rl->r->arena, rl->model, &by, &f, e);
    const struct model *m = f.model;
    rl->is_extended = f.is_extended;
    rl->model = f.name;
    if (is_found)
        rl->policy = f.policy;
    count_tasks(rl, by.tasks);
    if (!is_found)
        return false;
    bool is_served = m->group ? start_choice(rl, m) : may_serve(rl, m->targets->upstream);
    if (!is_served)
        return only_of(rl->key) ? not_served(rl, e)
                                : unknown_model(rl->snap, rl->r->arena, rl->key, rl->model, e);
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
    struct err ignored = ERR_INIT; /* a caller who may not use it keeps the failure */
    const struct asker by = {.key = rl->key, .tasks = tasks_for(rl)};
    struct found to;
    if (!relay_find_model(rl->snap, rl->r->arena, name, &by, &to, &ignored))
        return false;
    const struct model *m = to.model;
    if (!m->group && !may_serve(rl, m->targets->upstream))
        return false;
    rl->has_fallen_back = true;
    struct choice *choice = rl->choice;
    const struct target **order = rl->order;
    const size_t n_order = rl->n_order, next = rl->next;
    rl->choice = NULL;
    if (m->group) {
        (void)start_choice(rl, m);
    } else {
        rl->order = ARENA_NEW(rl->r->arena, const struct target *);
        rl->order[0] = m->targets;
        rl->n_order = 1;
        rl->next = 0;
    }
    const bool has_any = rl->n_order > 0;
    if (!has_any || !money_follows(rl)) { /* it is dearer than a budget has room for */
        rl->choice = choice;
        rl->order = order;
        rl->n_order = n_order;
        rl->next = next;
        RELAY_LOG(log_info, rl, "route.no_fallback", "model=" STR_FMT " reason=%s", STR_ARG(name),
                  has_any ? "budget" : "no target");
        return false;
    }
    atomic_fetch_add_explicit(&rl->env->shared->fallbacks, 1, memory_order_relaxed);
    RELAY_LOG(log_info, rl, "route.fallback", "model=" STR_FMT, STR_ARG(name));
    return true;
}

/* Of all of them, the one that can be asked first: once it does not cool any more and its limits have room. skips_limited: not of those
 * that lack room alone, for which there is a line to stand in. None: its wait_ms is UINT64_MAX. */
static struct standing nearest(struct relay *rl, bool skips_limited)
{
    struct standing best = {.wait_ms = UINT64_MAX};
    for (size_t i = 0; i < rl->n_order; i++) {
        struct standing s = live_standing(live_of(rl), rl->order[i], rl->set, now_of(rl));
        uint64_t room_ms = (uint64_t)admission_room_ms(rl, rl->order[i]);
        if (s.kind != STANDING_COOLING) {
            if (room_ms && skips_limited)
                continue;
            s.wait_ms = BUSY_POLL_MS;
        }
        if (room_ms > s.wait_ms)
            s.wait_ms = room_ms;
        if (s.wait_ms < best.wait_ms)
            best = s;
    }
    return best;
}

static bool is_within(const struct relay *rl, const struct standing *s)
{
    uint64_t most = (uint64_t)rl->set->route_wait_ms, waited = rl->choice->waited_ms;
    return waited <= most && s->wait_ms <= most - waited;
}

static bool waits_within(struct relay *rl, const struct standing *s)
{
    if (!is_within(rl, s))
        return false;
    admission_step_aside(rl); /* nothing is held meanwhile */
    wait(rl, s->wait_ms + 1, on_recovery);
    return true;
}

/* All were asked in vain: a rate limit is over when its upstream said. How long a failure lasts nobody knows; whoever wants to wait for the
 * end of one has patience_ms. */
static bool is_quota(const struct standing *s)
{
    return s->kind == STANDING_COOLING && s->fault == FAULT_QUOTA_WINDOW;
}

static bool waits_for_quota(struct relay *rl)
{
    if (!rl->choice || rl->n_order < 2)
        return false;
    struct standing s = nearest(rl, true);
    return is_quota(&s) && waits_within(rl, &s);
}

int64_t choice_recovery_ms(struct relay *rl)
{
    if (!rl->choice || rl->n_order < 2)
        return -1;
    struct standing s = nearest(rl, true);
    bool counts = s.kind == STANDING_COOLING && (rl->attempts == 0 || is_quota(&s));
    return counts && is_within(rl, &s) ? (int64_t)s.wait_ms : -1;
}

void choice_waited(struct relay *rl, uint64_t ms)
{
    rl->choice->waited_ms += ms;
}

bool choice_is_left_alone(const struct relay *rl)
{
    return rl->n_order > 1 &&
           live_standing(live_of(rl), rl->target, rl->set, now_of(rl)).kind == STANDING_COOLING;
}

void choice_limited(struct relay *rl)
{
    leave(rl, "limited");
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
        return admission_wait_target(rl) || waits_for_quota(rl);
    relay_attempt_next(rl);
    return true;
}

/* Nothing could be asked: the nearest recovery is waited for, or told. */
bool choice_waits(struct relay *rl, struct err *e)
{
    if (!rl->choice || rl->n_order < 2)
        return false;
    if (rl->attempts > 0)
        return (int64_t)rl->attempts < rl->set->max_attempts + rl->has_fallen_back &&
               waits_for_quota(rl);
    struct standing s = nearest(rl, true);
    if (s.wait_ms == UINT64_MAX) /* none but for want of room */
        return false;
    if (waits_within(rl, &s))
        return true;
    err_set(e, ERR_RATE_LIMITED, "all_targets_cooling",
            "Every target of model '" STR_FMT "' is to be left alone for the moment",
            STR_ARG(str_first(rl->model, 200)));
    e->retry_after_ms = (int64_t)s.wait_ms;
    return false;
}

int64_t choice_retry_ms(struct relay *rl, enum fault f, int64_t of_last_ms)
{
    bool is_told = of_last_ms >= 0 || f == FAULT_QUOTA_WINDOW;
    if (!rl->choice || rl->n_order < 2 || !is_told)
        return of_last_ms;
    int64_t ms = (int64_t)nearest(rl, false).wait_ms;
    return of_last_ms >= 0 && of_last_ms < ms ? of_last_ms : ms;
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
