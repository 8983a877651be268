/* served_models.c - /sluice/v1/models: served names and the targets behind them. */
#include "api/change.h"
#include "base/clock.h"
#include "domain/price.h"

struct target_io {
    struct str provider, upstream_model;
    int64_t weight, priority, price_nanousd;
};
struct model_in {
    struct str name;
    struct shape_list targets;
    struct strs capabilities;
    int64_t max_output_tokens, context_tokens;
    bool enabled, show_alias;
    struct str strategy;
    struct limits limits;
};
struct model_out {
    struct str name;
    struct shape_list targets;
    struct strs capabilities;
    int64_t max_output_tokens, context_tokens;
    bool enabled, show_alias, is_free;
    struct str strategy, origin;
    struct limits limits;
    int64_t input_nanousd, output_nanousd;
};

static const struct shape target_shape = SHAPE_STRICT(
    struct target_io,
    FIELD(struct target_io, provider, REQUIRED | NOT_EMPTY, "Name of the provider"),
    FIELD(struct target_io, upstream_model, 0,
          "The provider's id of the model; empty: the served name"),
    FIELD_RANGE(struct target_io, weight, 0, 1000000, 0,
                "Its share under weighted; 0 or absent: the provider's"),
    FIELD_RANGE(struct target_io, priority, -1000000, 1000000, 0,
                "Lower ones go first; 0 or absent: the provider's"),
    FIELD_RANGE(struct target_io, price_nanousd, -1, 1000000000, 0,
                "Nano-dollars of one input token, where no price list knows it"));

/* In the order of enum model_field. */
#define MODEL_FIELDS(type, flags)                                                             \
    FIELD_LIST(struct type, targets, &target_shape, flags,                                    \
               "Where requests go, tried in this order"),                                     \
        FIELD(struct type, capabilities, 0,                                                   \
              "text, vision, tools, embedding, reasoning, audio, image, rerank, moderation"), \
        FIELD(struct type, max_output_tokens, 0, "Most tokens it writes; -1: unknown"),       \
        FIELD(struct type, context_tokens, 0, "Its context window; -1: unknown"),             \
        FIELD(struct type, enabled, 0, "Whether it is served"),                               \
        FIELD(struct type, show_alias, 0,                                                     \
              "Whether replies carry this name instead of the upstream's"),                   \
        FIELD(struct type, strategy, 0,                                                       \
              "Which of the targets goes first, as of combos; empty: target_strategy says"),  \
        FIELD_OBJECT(struct type, limits, &limits_shape, 0,                                   \
                     "How much it is used at most; {}: no limit")

static const struct shape model_in_shape = SHAPE_STRICT(
    struct model_in,
    FIELD(struct model_in, name, REQUIRED | NOT_EMPTY, "Name that clients ask for"),
    MODEL_FIELDS(model_in, REQUIRED | NOT_EMPTY));
static const struct shape model_change_shape = SHAPE_STRICT(
    struct model_in, FIELD(struct model_in, name, NOT_EMPTY, "New name"),
    MODEL_FIELDS(model_in, NOT_EMPTY));
static const struct shape model_shape = SHAPE(
    struct model_out, FIELD(struct model_out, name, 0, "Name that clients ask for"),
    MODEL_FIELDS(model_out, 0),
    FIELD(struct model_out, input_nanousd, NULL_NEGATIVE,
          "Nano-USD for a million input tokens at its first target; null: unknown"),
    FIELD(struct model_out, output_nanousd, NULL_NEGATIVE,
          "The same for output tokens; see /sluice/v1/prices/lookup for all of it"),
    FIELD(struct model_out, is_free, 0, "Whether none of its targets costs anything for tokens"),
    FIELD(struct model_out, origin, 0, "default, file, environment or api: who may change it"));
static const struct {
    uint32_t bit;
    const char *name;
} capabilities[] = {
    {CAP_TEXT, "text"},           {CAP_VISION, "vision"},       {CAP_TOOLS, "tools"},
    {CAP_EMBEDDING, "embedding"}, {CAP_REASONING, "reasoning"}, {CAP_AUDIO, "audio"},
    {CAP_IMAGE, "image"},         {CAP_RERANK, "rerank"},       {CAP_MODERATION, "moderation"}};

static struct target_io show_target(const struct target *t)
{
    return (struct target_io){t->upstream->name, t->model, t->weight, t->priority,
                              t->price_nanousd};
}

/* As they are written: those at providers that are switched off in their places. */
static struct shape_list show_targets(struct arena *a, const struct model *m)
{
    struct target_io *v = ARENA_ARRAY(a, struct target_io, m->n_targets + m->n_resting + 1);
    size_t n = 0, rest = 0;
    for (size_t i = 0; i <= m->n_targets; i++) {
        for (; rest < m->n_resting && m->resting[rest].behind == i; rest++)
            v[n++] = show_target(&m->resting[rest].target);
        if (i < m->n_targets)
            v[n++] = show_target(&m->targets[i]);
    }
    return (struct shape_list){v, n};
}

/* Whoever of its targets is asked. */
static bool is_free(const struct model *m)
{
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < m->n_targets; i++) {
        const struct price *p = price_at(m->targets[i].prices, now);
        if (!p || p->base.v[PRICE_INPUT] != 0 || p->base.v[PRICE_OUTPUT] != 0)
            return false;
    }
    return m->n_targets > 0;
}

static struct model_out show(struct arena *a, const struct model *m)
{
    struct strs caps = {ARENA_ARRAY(a, struct str, ARRAY_LEN(capabilities)), 0};
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
        if (m->capabilities & capabilities[i].bit)
            caps.v[caps.n++] = str_of(capabilities[i].name);
    const struct price *p = m->n_targets ? price_at(m->targets[0].prices, clock_wall_ms()) : NULL;
    return (struct model_out){.name = m->name,
                              .targets = show_targets(a, m),
                              .capabilities = caps,
                              .max_output_tokens = m->max_output_tokens,
                              .context_tokens = m->context_tokens,
                              .enabled = m->is_enabled,
                              .show_alias = m->show_alias,
                              .strategy = str_of(word_text(strategy_words, (int)m->strategy, "")),
                              .limits = m->limits,
                              .input_nanousd = p ? p->base.v[PRICE_INPUT] : -1,
                              .output_nanousd = p ? p->base.v[PRICE_OUTPUT] : -1,
                              .is_free = is_free(m),
                              .origin = str_of(origin_name(m->from))};
}

/* Disabled ones too, unlike snapshot_model(). */
static const struct model *any_model(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_models; i++)
        if (str_eq(s->models[i]->name, name))
            return s->models[i];
    return NULL;
}

static const struct model *find(struct control_call *c, struct err *e)
{
    struct str name = route_param(&c->params, "name");
    const struct model *m = any_model(c->snap, name);
    if (!m)
        err_set(e, ERR_NOT_FOUND, "not_found", "No model '" STR_FMT "'",
                STR_ARG(str_first(name, 200)));
    return m;
}

struct model_query {
    struct page_query page;
    struct str capabilities, origin, provider;
    bool enabled;
};
static const struct shape model_query_shape = SHAPE(
    struct model_query, PAGE_FIELDS(struct model_query),
    FIELD(struct model_query, capabilities, 0, "Only those that can do this"),
    FIELD(struct model_query, origin, 0, "Only from there: default, file, environment or api"),
    FIELD(struct model_query, provider, 0, "Only those with this provider as a target"),
    FIELD(struct model_query, enabled, 0, "Only those that are served, or not"));

static bool is_of(const struct model *m, struct str provider)
{
    for (size_t i = 0; i < m->n_targets; i++)
        if (str_eq(m->targets[i].upstream->name, provider))
            return true;
    for (size_t i = 0; i < m->n_resting; i++)
        if (str_eq(m->resting[i].target.upstream->name, provider))
            return true;
    return provider.n == 0;
}

static bool list(struct control_call *c, struct err *e)
{
    const struct model_query *q = c->asked;
    struct model_out *v = ARENA_ARRAY(c->arena, struct model_out, c->snap->n_models + 1);
    size_t n = 0;
    for (size_t i = 0; i < c->snap->n_models; i++)
        if (is_of(c->snap->models[i], q->provider))
            v[n++] = show(c->arena, c->snap->models[i]);
    return control_reply_sorted(c, &model_shape, v, n, "name", e);
}

static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    const struct model *m = any_model(s, name);
    struct jw w = jw_on(out);
    if (!m)
        return false;
    struct model_out shown = show(c->arena, m);
    shape_write(&model_shape, &shown, &w);
    return true;
}

static void meant(struct control_call *c)
{
    c->represent = represent;
    c->represented = route_param(&c->params, "name");
}

static bool get(struct control_call *c, struct err *e)
{
    const struct model *m = find(c, e);
    if (!m)
        return false;
    struct model_out out = show(c->arena, m);
    c->represent = represent;
    return control_reply_tagged(c, 200, &model_shape, &out, c->snap, m->name);
}

static bool check_capabilities(const struct strs *list, struct err *e)
{
    for (size_t i = 0; i < list->n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < ARRAY_LEN(capabilities); k++)
            is_known |= str_eq(list->v[i], str_of(capabilities[k].name));
        if (!is_known)
            return err_field(e, "capabilities", "Unknown capability '" STR_FMT "'",
                             STR_ARG(str_first(list->v[i], 60)));
    }
    return true;
}

static bool check_strategy(struct str text, struct err *e)
{
    return text.n == 0 || word_value(strategy_words, text, 0) != STRATEGY_DEFAULT ||
           err_field(e, "strategy", "'strategy' must be one of " STRATEGY_WORDS);
}

static bool reply_now(struct control_call *c, int status, struct str name)
{
    struct snapshot *now = snapshot_current();
    const struct model *m = any_model(now, name);
    struct model_out out = m ? show(c->arena, m) : (struct model_out){.name = name};
    c->represent = represent;
    bool ok = control_reply_tagged(c, status, &model_shape, &out, now, name);
    snapshot_unref(now);
    return ok;
}

static bool put(struct control_call *c, enum change_mode mode, struct str from, struct err *e)
{
    const struct model_in *in = c->in;
    const struct target_io *targets = in->targets.v;
    struct model_target *v = ARENA_ARRAY(c->arena, struct model_target, in->targets.n + 1);
    for (size_t i = 0; i < in->targets.n; i++)
        v[i] = (struct model_target){targets[i].provider, targets[i].upstream_model,
                                     targets[i].weight, targets[i].priority,
                                     targets[i].price_nanousd};
    struct model_change m = {.name = c->present & 1 ? in->name : from,
                             .rename_from = from,
                             .given = (uint32_t)(c->present >> 1),
                             .targets = v,
                             .n_targets = in->targets.n,
                             .capabilities = in->capabilities,
                             .max_output_tokens = in->max_output_tokens,
                             .context_tokens = in->context_tokens,
                             .is_enabled = in->enabled,
                             .show_alias = in->show_alias,
                             .limits = in->limits,
                             .strategy = in->strategy};
    return check_capabilities(&in->capabilities, e) && check_strategy(in->strategy, e) &&
           change_model(c, mode, &m, e) && reply_now(c, mode == CHANGE_CREATE ? 201 : 200, m.name);
}

static bool create(struct control_call *c, struct err *e)
{
    return put(c, CHANGE_CREATE, STR_NONE, e);
}

static bool change(struct control_call *c, struct err *e)
{
    meant(c);
    return put(c, CHANGE_UPDATE, route_param(&c->params, "name"), e);
}

struct delete_query {
    bool cascade;
};
static const struct shape delete_query_shape = SHAPE(
    struct delete_query,
    FIELD(struct delete_query, cascade, 0, "Take it out of combos, chains and aliases as well"));

static bool delete (struct control_call *c, struct err *e)
{
    const struct delete_query *q = c->asked;
    c->status = 204;
    meant(c);
    return change_model_delete(c, route_param(&c->params, "name"), q->cascade, e);
}

/* clang-format off */
const struct endpoint served_model_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/models",         SURFACE_SLUICE, ACCESS_VIEWER, "List served models", .on_worker = list, .query = &model_query_shape, .out = &model_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/models",         SURFACE_SLUICE, ACCESS_ADMIN, "Serve a model", .on_worker = create, .in = &model_in_shape, .out = &model_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/models/{name*}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a served model", .has_tag = true, .on_worker = get, .out = &model_shape },
    { HTTP_PATCH,  "/sluice/v1/models/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a served model", .has_tag = true, .on_worker = change, .in = &model_change_shape, .out = &model_shape },
    { HTTP_DELETE, "/sluice/v1/models/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Serve a model no more", .has_tag = true, .on_worker = delete, .query = &delete_query_shape, .status = 204 },
    {0},
};
/* clang-format on */
