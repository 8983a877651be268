/* route.c - /sluice/v1/route, /breakers and /quotas: why requests go where they go, and what is known of upstreams just now. */
#include "api/control.h"
#include "base/clock.h"
#include "domain/route_policy.h"
#include "relay/find.h"
#include "route/explain.h"
#include "route/task.h"

/* ---- explain ---- */

struct explain_in {
    struct str model;
    struct strs down, exclude;
    struct str key, session;
    int task;
    yyjson_val *request;
};
struct candidate_out {
    struct str provider, provider_model, combo, state;
    int64_t wait_ms;
    struct str fault;
    double score;
    int64_t price_nanousd, hedge_after_ms;
    struct str why, left;
    bool chosen;
};
struct explain_out {
    struct str model, policy;
    struct strs tasks;
    struct str kind, strategy;
    bool is_pinned;
    int64_t wait_ms;
    struct shape_list candidates;
};

static const struct shape explain_in_shape = SHAPE_STRICT(
    struct explain_in,
    FIELD(struct explain_in, model, REQUIRED | NOT_EMPTY,
          "What a client would ask for: a model, alias or combo"),
    FIELD(struct explain_in, down, 0, "Providers that are taken for unreachable"),
    FIELD(struct explain_in, exclude, 0, "Providers that are taken for absent"),
    FIELD(struct explain_in, key, 0,
          "Id of the client key that asks: its policies, what it may use, where its conversations "
          "are; absent: nobody's"),
    FIELD(struct explain_in, session, 0, "The session that the client names in a header"),
    FIELD_ENUM(struct explain_in, task, task_words, 0,
               "What it is for, for policies that name that"),
    FIELD(
        struct explain_in, request, 0,
        "Instead of task: the body of the conversation that would be sent, in any format: what it "
        "is for, what it needs of a model, and where it was before"));
static const struct shape candidate_shape = SHAPE(
    struct candidate_out, FIELD(struct candidate_out, provider, 0, "Provider"),
    FIELD(struct candidate_out, provider_model, 0, "What the model is called there"),
    FIELD(struct candidate_out, combo, OMIT_EMPTY, "The combo whose member it is"),
    FIELD(struct candidate_out, state, 0,
          "ready, probe (one request is let through to see), strained (its quota would run out "
          "early), limited (a limit of it or of its model has no room, or others wait for some), "
          "cooling, down or excluded"),
    FIELD(struct candidate_out, wait_ms, OMIT_EMPTY, "Until it is asked again"),
    FIELD(struct candidate_out, fault, OMIT_EMPTY, "Why it cools"),
    FIELD(struct candidate_out, score, 0, "What its strategy ordered it by"),
    FIELD(struct candidate_out, price_nanousd, OMIT_EMPTY, "Nano-dollars of one input token"),
    FIELD(struct candidate_out, hedge_after_ms, OMIT_EMPTY,
          "How long it may be silent before the next one is asked beside it"),
    FIELD(struct candidate_out, why, 0, "Its place among the others, in words"),
    FIELD(struct candidate_out, left, OMIT_EMPTY,
          "Why it was left, of a request that was: its fault, cooling, busy, …"),
    FIELD(struct candidate_out, chosen, OMIT_EMPTY, "Whether it answers"));
static const struct shape explain_shape = SHAPE(
    struct explain_out, FIELD(struct explain_out, model, 0, "What the name leads to"),
    FIELD(struct explain_out, policy, OMIT_EMPTY, "The policy that leads it there"),
    FIELD(struct explain_out, tasks, OMIT_EMPTY, "What the request is for, where a policy asks"),
    FIELD(struct explain_out, kind, 0, "model, combo, alias or chain"),
    FIELD(struct explain_out, strategy, 0, "How it is chosen; none: there is one target"),
    FIELD(struct explain_out, is_pinned, OMIT_EMPTY,
          "Whether the first one is where the conversation was before"),
    FIELD(struct explain_out, wait_ms, OMIT_EMPTY,
          "Until the nearest recovery, when nobody can be asked"),
    FIELD_LIST(struct explain_out, candidates, &candidate_shape, 0, "In the order of asking"));

/* One target: nothing to choose. */
static void plan_of_one(struct control_call *c, struct live *l, const struct model *m,
                        const struct choose_ask *ask, struct plan *p)
{
    const struct target *t = m->targets;
    *p = (struct plan){.v = ARENA_NEW(c->arena, struct candidate), .n = 1};
    *p->v = (struct candidate){.target = t,
                               .standing = live_standing(l, t, ask->set, ask->now_ms),
                               .price_nanousd = route_price(t),
                               .why = "the only one"};
    for (size_t i = 0; i < ask->n_down; i++)
        p->v->is_down |= str_eq(ask->down[i], t->upstream->name);
    for (size_t i = 0; i < ask->n_excluded; i++)
        p->v->is_excluded |= str_eq(ask->excluded[i], t->upstream->name);
    bool is_one = !ask->only;
    for (size_t i = 0; ask->only && i < ask->only->n; i++)
        is_one |= str_eq(ask->only->v[i], t->upstream->name);
    p->v->is_excluded |= !is_one;
    p->n_ready = !p->v->is_down && !p->v->is_excluded; /* tried also while it cools */
}

static bool known_providers(const struct control_call *c, const struct strs *names,
                            const char *field, struct err *e)
{
    for (size_t i = 0; i < names->n; i++)
        if (!snapshot_upstream(c->snap, names->v[i]))
            return err_field(e, field, "There is no provider '" STR_FMT "'",
                             STR_ARG(str_first(names->v[i], 100)));
    return true;
}

/* As the relay tells it. */
static uint32_t tasks_for(const struct control_call *c, const struct explain_in *in)
{
    struct task_ask ask = {.body = in->request, .max_output = task_max_output(in->request)};
    ask.phrases = c->snap->settings.background_phrases;
    if (!c->snap->asks_for_tasks || (!in->request && in->task == TASK_ANY))
        return 0;
    if (!in->request)
        return 1u << in->task;
    return tasks_of(&ask);
}

static struct strs task_names(struct arena *a, uint32_t tasks)
{
    struct strs out = {ARENA_ARRAY(a, struct str, TASKS), 0};
    for (int t = TASK_BACKGROUND; t < TASKS; t++)
        if (tasks >> t & 1)
            out.v[out.n++] = str_of(word_text(task_words, t, ""));
    return out;
}

/* Who would ask for what. */
static bool asker_of(const struct control_call *c, const struct explain_in *in, struct asker *out,
                     struct err *e)
{
    *out = (struct asker){.session = in->session};
    out->key = snapshot_key_by_id(c->snap, in->key);
    if (in->key.n && !out->key)
        return err_field(e, "key", "There is no client key '" STR_FMT "'",
                         STR_ARG(str_first(in->key, 100)));
    if (in->request && !yyjson_is_obj(in->request))
        return err_field(e, "request", "'request' must be an object");
    if (in->request)
        out->body = json_text(c->arena, in->request);
    out->tasks = tasks_for(c, in);
    return true;
}

/* As the caller of a request is refused, but for whoever asks here. */
static bool find_model(const struct control_call *c, const struct explain_in *in,
                       const struct asker *by, struct found *f, struct err *e)
{
    struct err why = ERR_INIT;
    return relay_find_model(c->snap, c->arena, in->model, by, f, &why) ||
           err_field(e, "model", "%s", why.message);
}

/* Those without room are passed by. */
static const struct target *first_to_ask(const struct plan *p)
{
    for (size_t i = 0; i < p->n_ready; i++)
        if (!p->v[i].is_limited)
            return p->v[i].target;
    return NULL;
}

static bool explain(struct control_call *c, struct err *e)
{
    const struct explain_in *in = c->in;
    struct live *l = relay_live_state(c->control->shared);
    const struct model *m;
    struct asker by;
    struct found f;
    struct plan p;
    struct buf b;
    struct explain_out out = {.model = STR_NONE};
    yyjson_val *root;
    if (!known_providers(c, &in->down, "down", e) ||
        !known_providers(c, &in->exclude, "exclude", e) || !asker_of(c, in, &by, e) ||
        !find_model(c, in, &by, &f, e))
        return false;
    m = f.model;
    struct choose_ask ask;
    relay_choose_ask(c->control->shared, c->snap, m, &by, &ask);
    ask.now_ms = clock_mono_ms();
    ask.down = in->down.v;
    ask.n_down = in->down.n;
    ask.excluded = in->exclude.v;
    ask.n_excluded = in->exclude.n;
    if (m->group)
        choose(c->arena, l, &ask, &p);
    else
        plan_of_one(c, l, m, &ask, &p);
    relay_mark_limited(c->snap, &by, task_max_output(in->request), ask.now_ms, &p);
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    explain_write(&w, m, &p, NULL, first_to_ask(&p));
    if (!json_parse(c->arena, buf_str(&b), 0, &root, e) ||
        !shape_read(&explain_shape, c->arena, root, &out, NULL, e))
        return false;
    out.policy = f.policy ? f.policy->name : STR_NONE;
    out.tasks = task_names(c->arena, by.tasks);
    return control_reply(c, 200, &explain_shape, &out);
}

/* ---- breakers ---- */

struct breaker_out {
    struct str id, provider;
    int64_t credential;
    struct str model, state, fault;
    int64_t failures, level, wait_ms, age_ms;
    bool is_probing;
};
static const struct shape breaker_shape = SHAPE(
    struct breaker_out, FIELD(struct breaker_out, id, 0, "Names it among the others"),
    FIELD(struct breaker_out, provider, 0, "Provider"),
    FIELD(struct breaker_out, credential, NULL_NEGATIVE,
          "Place of the credential among the provider's, from 0; null: all of them"),
    FIELD(struct breaker_out, model, NULL_EMPTY,
          "What the model is called at the provider; null: all of them"),
    FIELD(struct breaker_out, state, 0, "closed (it failed of late), open or half-open"),
    FIELD(struct breaker_out, fault, 0, "Kind of its last failure"),
    FIELD(struct breaker_out, failures, 0, "Failures since it last answered"),
    FIELD(struct breaker_out, level, 0, "How often the time of leaving it alone was doubled"),
    FIELD(struct breaker_out, wait_ms, 0, "Until it is asked again"),
    FIELD(struct breaker_out, age_ms, 0, "Since its last failure"),
    FIELD(struct breaker_out, is_probing, 0, "Whether a request sees just now how it is"));

struct breaker_query {
    struct page_query page;
    struct str provider, state;
};
static const struct shape breaker_query_shape = SHAPE(
    struct breaker_query, PAGE_FIELDS(struct breaker_query),
    FIELD(struct breaker_query, provider, 0, "Only those of this provider"),
    FIELD(struct breaker_query, state, 0, "Only those: closed, open or half-open"));

static bool list_breakers(struct control_call *c, struct err *e)
{
    struct breaker_info *b;
    size_t n = live_breakers(relay_live_state(c->control->shared), c->snap, c->arena,
                             clock_mono_ms(), &b);
    struct breaker_out *v = ARENA_ARRAY(c->arena, struct breaker_out, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = b[i].upstream;
        char key[16] = "*";
        if (b[i].key >= 0)
            (void)snprintf(key, sizeof key, "%d", b[i].key);
        v[i] = (struct breaker_out){.id = str_fmt(c->arena, STR_FMT "/%s/%s", STR_ARG(u->name), key,
                                                  b[i].model[0] ? b[i].model : "*"),
                                    .provider = u->name,
                                    .credential = b[i].key,
                                    .model = str_of(b[i].model),
                                    .state = str_of(word_text(breaker_words, (int)b[i].state, "")),
                                    .fault = str_of(fault_name(b[i].fault)),
                                    .failures = b[i].failures,
                                    .level = b[i].level,
                                    .wait_ms = (int64_t)b[i].wait_ms,
                                    .age_ms = (int64_t)b[i].age_ms,
                                    .is_probing = b[i].is_probing};
    }
    return control_reply_sorted(c, &breaker_shape, v, n, "id", e);
}

struct reset_in {
    struct str provider, model;
};
struct reset_out {
    int64_t reset;
};
static const struct shape reset_in_shape = SHAPE_STRICT(
    struct reset_in, FIELD(struct reset_in, provider, 0, "Only those of this provider"),
    FIELD(
        struct reset_in, model, 0,
        "Only that of this model, as the provider calls it; quota windows, which are of no model, "
        "are left as they are"));
static const struct shape reset_out_shape = SHAPE(
    struct reset_out,
    FIELD(struct reset_out, reset, 0,
          "How many were not closed, and credentials had used up a quota window"));

static bool reset_breakers(struct control_call *c, struct err *e)
{
    const struct reset_in *in = c->in;
    const struct upstream *u = in->provider.n ? snapshot_upstream(c->snap, in->provider) : NULL;
    if (in->provider.n && !u)
        return err_field(e, "provider", "There is no provider '" STR_FMT "'",
                         STR_ARG(str_first(in->provider, 100)));
    struct reset_out out = {
        .reset = (int64_t)live_reset(relay_live_state(c->control->shared), u ? u->id : UINT32_MAX,
                                     in->model.n ? in->model : STR_NONE, clock_mono_ms())};
    return control_reply(c, 200, &reset_out_shape, &out);
}

/* ---- quotas ---- */

struct quota_out {
    struct str id, provider;
    int64_t credential;
    struct str window;
    double used, forecast;
    int64_t reset_ms;
};
static const struct shape quota_shape = SHAPE(
    struct quota_out, FIELD(struct quota_out, id, 0, "Names it among the others"),
    FIELD(struct quota_out, provider, 0, "Provider"),
    FIELD(struct quota_out, credential, 0, "Place of the credential among the provider's, from 0"),
    FIELD(struct quota_out, window, 0, "requests or tokens (of a minute, mostly), 5h or 7d"),
    FIELD(struct quota_out, used, 0, "Share of it that is used, from 0 to 1"),
    FIELD(struct quota_out, forecast, 0, "The same at its end, at the pace so far"),
    FIELD(struct quota_out, reset_ms, NULL_NEGATIVE, "Until it begins anew; null: not said"));
struct quota_query {
    struct page_query page;
    struct str provider, window;
};
static const struct shape quota_query_shape = SHAPE(
    struct quota_query, PAGE_FIELDS(struct quota_query),
    FIELD(struct quota_query, provider, 0, "Only those of this provider"),
    FIELD(struct quota_query, window, 0, "Only these: requests, tokens, 5h or 7d"));

static bool list_quotas(struct control_call *c, struct err *e)
{
    const struct live *l = relay_live_state(c->control->shared);
    size_t max = 0, n = 0;
    for (size_t i = 0; i < c->snap->n_upstreams; i++)
        max += (c->snap->upstreams[i]->n_keys + 1) * QUOTA_WINDOWS;
    struct quota_out *v = ARENA_ARRAY(c->arena, struct quota_out, max + 1);
    for (size_t i = 0; i < c->snap->n_upstreams; i++) {
        const struct upstream *u = c->snap->upstreams[i];
        for (uint32_t k = 0; k < (u->n_keys ? u->n_keys : 1); k++) {
            struct quota_window w[QUOTA_WINDOWS];
            size_t found = live_quota(l, u, k, clock_mono_ms(), w);
            for (size_t x = 0; x < found; x++) {
                const char *name = word_text(quota_words, (int)w[x].name, "");
                v[n++] = (struct quota_out){
                    str_fmt(c->arena, STR_FMT "/%u/%s", STR_ARG(u->name), k, name),
                    u->name,
                    k,
                    str_of(name),
                    w[x].used,
                    quota_forecast(&w[x]),
                    w[x].reset_ms};
            }
        }
    }
    return control_reply_sorted(c, &quota_shape, v, n, "id", e);
}

/* clang-format off */
const struct endpoint route_endpoints[] = {
    { HTTP_POST, "/sluice/v1/route/explain",  SURFACE_SLUICE, ACCESS_VIEWER, "Say where a request for a model would go, and why; nothing is sent", .on_worker = explain, .in = &explain_in_shape, .out = &explain_shape, .changes_nothing = true },
    { HTTP_GET,  "/sluice/v1/breakers",       SURFACE_SLUICE, ACCESS_VIEWER, "List upstreams that failed of late and how long they are left alone", .on_worker = list_breakers, .query = &breaker_query_shape, .out = &breaker_shape, .is_page = true },
    { HTTP_POST, "/sluice/v1/breakers/reset", SURFACE_SLUICE, ACCESS_ADMIN, "Ask upstreams again that are left alone", .on_worker = reset_breakers, .in = &reset_in_shape, .out = &reset_out_shape },
    { HTTP_GET,  "/sluice/v1/quotas",         SURFACE_SLUICE, ACCESS_VIEWER, "List what vendors said of their quota windows, with a forecast", .on_worker = list_quotas, .query = &quota_query_shape, .out = &quota_shape, .is_page = true },
    {0},
};
/* clang-format on */
