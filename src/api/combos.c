/* combos.c - /sluice/v1/combos, /chains and /aliases: where names lead besides to one model. */
#include "api/combos.h"
#include "api/change_route.h"

struct combo_in {
    struct str name, id, strategy;
    struct shape_list members;
    struct str sticky;
    int64_t max_retries, retry_delay_ms, timeout_ms, concurrency, queue_timeout_ms, patience_ms,
        sticky_limit, hedge_after_ms, hedge_percentile;
    struct auto_conf weights;
    struct str system_message, tool_filter;
    bool enabled;
};
struct combo_out {
    struct str name, id, strategy;
    struct shape_list members;
    struct str sticky;
    int64_t max_retries, retry_delay_ms, timeout_ms, concurrency, queue_timeout_ms, patience_ms,
        sticky_limit, hedge_after_ms, hedge_percentile;
    struct auto_conf weights;
    struct str system_message, tool_filter;
    bool enabled;
    struct str origin;
};
struct chain_in {
    struct shape_list chain;
};
struct chain_out {
    struct str model;
    struct shape_list chain;
    struct str origin;
};
struct alias_io {
    struct str alias, to;
    int64_t priority;
    bool enabled;
    struct str origin;
};

/* clang-format off */
#define COMBO_FIELDS(type, flags) \
    FIELD(struct type, id, 0, "Name for machines, that outlives a renaming"), \
    FIELD(struct type, strategy, 0, "Who goes first: " STRATEGY_WORDS), \
    FIELD_LIST(struct type, members, &member_shape, flags, "What there is to choose from"), \
    FIELD(struct type, sticky, 0, "What keeps to the member that it began with: none, conversation, or prefix (the same system prompt and tools, for prompt caches)"), \
    FIELD_RANGE(struct type, max_retries, -1, 10, 0, "Further attempts at one member before the next one's turn; absent: combo_max_retries"), \
    FIELD_RANGE(struct type, retry_delay_ms, -1, 60000, 0, "Pause before each of them; absent: combo_retry_delay_ms"), \
    FIELD_RANGE(struct type, timeout_ms, -1, 86400000, 0, "Time that one attempt has until its reply begins; absent: combo_timeout_ms"), \
    FIELD_RANGE(struct type, concurrency, -1, 100000, 0, "Requests that one member serves at once; absent: combo_concurrency"), \
    FIELD_RANGE(struct type, queue_timeout_ms, -1, 3600000, 0, "Longest wait for a free place at a member; absent: combo_queue_timeout_ms"), \
    FIELD_RANGE(struct type, patience_ms, -1, 60000, 0, "After 502, 503 or 504: longest recovery that is waited for before the next one's turn; absent: combo_patience_ms"), \
    FIELD_RANGE(struct type, sticky_limit, -1, 1000, 0, "Requests in a row under round-robin; absent: round_robin_limit"), \
    FIELD_RANGE(struct type, hedge_after_ms, -1, 600000, 0, "Time without a first byte after which the next one is asked beside the one that is silent; 0: never; absent: combo_hedge_after_ms"), \
    FIELD_RANGE(struct type, hedge_percentile, -1, 99, 0, "Percentile of the member's own recent times to the first byte, waited for where it is longer; 0: hedge_after_ms alone; absent: combo_hedge_percentile"), \
    {FIELD_BASE(struct type, weights, "auto", SHAPE_OBJECT, 0, "Weights of strategy auto"), .shape = &auto_shape}, \
    FIELD_TEXT(struct type, tool_filter, 0, 1000, 0, "Regular expression: tools whose names it is not found in are left out of requests; empty: all go"), \
    FIELD_TEXT(struct type, system_message, 0, 50000, 0, "What the model is told as the system, in place of all that the client says so; empty: as the client says"), \
    FIELD(struct type, enabled, 0, "Whether it is served")
/* clang-format on */

static const struct shape combo_in_shape = SHAPE_STRICT(
    struct combo_in,
    FIELD(struct combo_in, name, REQUIRED | NOT_EMPTY, "Name that clients ask for as a model"),
    COMBO_FIELDS(combo_in, REQUIRED | NOT_EMPTY));
static const struct shape combo_change_shape = SHAPE_STRICT(
    struct combo_in, FIELD(struct combo_in, name, NOT_EMPTY, "New name: what refers to it follows"),
    COMBO_FIELDS(combo_in, NOT_EMPTY));
static const struct shape combo_shape = SHAPE(
    struct combo_out, FIELD(struct combo_out, name, 0, "Name that clients ask for as a model"),
    COMBO_FIELDS(combo_out, 0),
    FIELD(struct combo_out, origin, 0, "file or api: who may change it"));
static const struct shape chain_in_shape = SHAPE_STRICT(
    struct chain_in, FIELD_LIST(struct chain_in, chain, &chain_link_shape, REQUIRED | NOT_EMPTY,
                                "Providers that are asked for the same model when its own fail"));
static const struct shape chain_shape = SHAPE(
    struct chain_out, FIELD(struct chain_out, model, 0, "The model that is asked for"),
    FIELD_LIST(struct chain_out, chain, &chain_link_shape, 0, "Providers, in the order of asking"),
    FIELD(struct chain_out, origin, 0, "file or api: who may change it"));
#define ALIAS_FIELDS(flags)                                                                     \
    FIELD(struct alias_io, to, flags, "The model, provider/model or combo that it stands for"), \
        FIELD_RANGE(struct alias_io, priority, -1000000, 1000000, 0,                            \
                    "Of patterns that fit: the highest counts"),                                \
        FIELD(struct alias_io, enabled, 0, "Whether it counts")
static const struct shape alias_in_shape = SHAPE_STRICT(
    struct alias_io,
    FIELD(struct alias_io, alias, REQUIRED | NOT_EMPTY,
          "Name that clients ask for; may hold * for any text and ? for one character"),
    ALIAS_FIELDS(REQUIRED | NOT_EMPTY));
static const struct shape alias_change_shape = SHAPE_STRICT(
    struct alias_io, FIELD(struct alias_io, alias, NOT_EMPTY, "New name or pattern"),
    ALIAS_FIELDS(NOT_EMPTY));
static const struct shape alias_shape = SHAPE(
    struct alias_io, FIELD(struct alias_io, alias, 0, "Name or pattern"), ALIAS_FIELDS(0),
    FIELD(struct alias_io, origin, 0, "file or api: who may change it"));

/* ---- what is shown ---- */

static struct combo_out show_combo(struct arena *a, const struct combo *c)
{
    struct member_conf *members = ARENA_ARRAY(a, struct member_conf, c->n_members + 1);
    for (size_t i = 0; i < c->n_members; i++) {
        const struct member *m = &c->members[i];
        members[i] = (struct member_conf){m->model,    m->provider,      m->weight,
                                          m->priority, m->price_nanousd, m->is_enabled};
    }
    return (struct combo_out){
        .name = c->name,
        .id = c->id,
        .strategy = str_of(word_text(strategy_words, (int)c->strategy, "priority")),
        .members = {members, c->n_members},
        .sticky = str_of(word_text(sticky_words, (int)c->sticky, "none")),
        .max_retries = c->max_retries,
        .retry_delay_ms = c->retry_delay_ms,
        .timeout_ms = c->timeout_ms,
        .concurrency = c->concurrency,
        .queue_timeout_ms = c->queue_timeout_ms,
        .patience_ms = c->patience_ms,
        .sticky_limit = c->sticky_limit,
        .hedge_after_ms = c->hedge_after_ms,
        .hedge_percentile = c->hedge_percentile,
        .weights = c->weights,
        .system_message = c->system_message,
        .tool_filter = c->tool_filter,
        .enabled = c->is_enabled,
        .origin = str_of(origin_name(c->from))};
}

static struct chain_out show_chain(const struct chain *c)
{
    return (struct chain_out){c->model, {c->links, c->n_links}, str_of(origin_name(c->from))};
}

static struct alias_io show_alias(const struct alias *x)
{
    return (struct alias_io){x->name, x->to, x->priority, x->is_enabled,
                             str_of(origin_name(x->from))};
}

const struct combo *combo_called(const struct snapshot *s, struct str name)
{
    const struct routing *r = s->routing;
    for (size_t i = 0; i < r->n_combos; i++)
        if (str_eq(r->combos[i]->name, name))
            return r->combos[i];
    for (size_t i = 0; i < r->n_combos; i++)
        if (str_eq(r->combos[i]->id, name))
            return r->combos[i];
    return NULL;
}

static const struct chain *chain_of(const struct snapshot *s, struct str model)
{
    for (size_t i = 0; i < s->routing->n_chains; i++)
        if (str_eq(s->routing->chains[i]->model, model))
            return s->routing->chains[i];
    return NULL;
}

static const struct alias *alias_of(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->routing->n_aliases; i++)
        if (str_eq(s->routing->aliases[i]->name, name))
            return s->routing->aliases[i];
    return NULL;
}

static bool no(const char *what, struct str name, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "not_found", "No %s '" STR_FMT "'", what,
                   STR_ARG(str_first(name, 200)));
}

/* ---- combos ---- */

static bool represent_combo(struct control_call *c, const struct snapshot *s, struct str name,
                            struct buf *out)
{
    const struct combo *x = combo_called(s, name);
    struct jw w = jw_on(out);
    if (!x)
        return false;
    struct combo_out shown = show_combo(c->arena, x);
    shape_write(&combo_shape, &shown, &w);
    return true;
}

struct combo_query {
    struct page_query page;
    struct str strategy, origin;
    bool enabled;
};
static const struct shape combo_query_shape = SHAPE(
    struct combo_query, PAGE_FIELDS(struct combo_query),
    FIELD(struct combo_query, strategy, 0, "Only those of this strategy"),
    FIELD(struct combo_query, origin, 0, "Only from there: file or api"),
    FIELD(struct combo_query, enabled, 0, "Only those that are served, or not"));

static bool list_combos(struct control_call *c, struct err *e)
{
    const struct routing *r = c->snap->routing;
    struct combo_out *v = ARENA_ARRAY(c->arena, struct combo_out, r->n_combos + 1);
    for (size_t i = 0; i < r->n_combos; i++)
        v[i] = show_combo(c->arena, r->combos[i]);
    return control_reply_sorted(c, &combo_shape, v, r->n_combos, "name", e);
}

static bool reply_combo(struct control_call *c, int status, const struct snapshot *s,
                        struct str name, struct err *e)
{
    const struct combo *x = combo_called(s, name);
    if (!x)
        return no("combo", name, e);
    struct combo_out out = show_combo(c->arena, x);
    c->represent = represent_combo;
    return control_reply_tagged(c, status, &combo_shape, &out, s, x->name);
}

static bool reply_new_combo(struct control_call *c, int status, struct str name, struct err *e)
{
    struct snapshot *now = snapshot_current();
    bool ok = reply_combo(c, status, now, name, e);
    snapshot_unref(now);
    return ok;
}

static bool get_combo(struct control_call *c, struct err *e)
{
    return reply_combo(c, 200, c->snap, route_param(&c->params, "name"), e);
}

static bool put_combo(struct control_call *c, enum change_mode mode, struct str from, struct err *e)
{
    const struct combo_in *in = c->in;
    struct entry_change change = {.section = SECTION_COMBOS,
                                  .name = c->present & 1 ? in->name : from,
                                  .rename_from = from,
                                  .value = change_value_without(c, "name", e)};
    return change.value && change_entry(c, mode, &change, e) &&
           reply_new_combo(c, mode == CHANGE_CREATE ? 201 : 200, change.name, e);
}

static bool create_combo(struct control_call *c, struct err *e)
{
    return put_combo(c, CHANGE_CREATE, STR_NONE, e);
}

/* Which one the path means: its name. */
static struct str meant(struct control_call *c)
{
    struct str given = route_param(&c->params, "name");
    const struct combo *x = combo_called(c->snap, given);
    c->represent = represent_combo;
    return c->represented = x ? x->name : given;
}

static bool change_combo(struct control_call *c, struct err *e)
{
    return put_combo(c, CHANGE_UPDATE, meant(c), e);
}

struct delete_query {
    bool cascade;
};
static const struct shape delete_query_shape = SHAPE(
    struct delete_query, FIELD(struct delete_query, cascade, 0,
                               "Take it out of combos and aliases that lead to it as well"));

static bool delete_combo(struct control_call *c, struct err *e)
{
    const struct delete_query *q = c->asked;
    return change_entry_gone(c, SECTION_COMBOS, meant(c), q->cascade, e);
}

/* ---- chains ---- */

static bool represent_chain(struct control_call *c, const struct snapshot *s, struct str name,
                            struct buf *out)
{
    const struct chain *x = chain_of(s, name);
    struct jw w = jw_on(out);
    (void)c;
    if (!x)
        return false;
    struct chain_out shown = show_chain(x);
    shape_write(&chain_shape, &shown, &w);
    return true;
}

struct list_query {
    struct page_query page;
    struct str origin;
};
static const struct shape list_query_shape = SHAPE(
    struct list_query, PAGE_FIELDS(struct list_query),
    FIELD(struct list_query, origin, 0, "Only from there: file or api"));

static bool list_chains(struct control_call *c, struct err *e)
{
    const struct routing *r = c->snap->routing;
    struct chain_out *v = ARENA_ARRAY(c->arena, struct chain_out, r->n_chains + 1);
    for (size_t i = 0; i < r->n_chains; i++)
        v[i] = show_chain(r->chains[i]);
    return control_reply_sorted(c, &chain_shape, v, r->n_chains, "model", e);
}

static bool reply_chain(struct control_call *c, const struct snapshot *s, struct str model,
                        struct err *e)
{
    const struct chain *x = chain_of(s, model);
    if (!x)
        return no("chain", model, e);
    struct chain_out out = show_chain(x);
    c->represent = represent_chain;
    return control_reply_tagged(c, 200, &chain_shape, &out, s, x->model);
}

static bool get_chain(struct control_call *c, struct err *e)
{
    return reply_chain(c, c->snap, route_param(&c->params, "model"), e);
}

static bool put_chain(struct control_call *c, struct err *e)
{
    struct entry_change change = {.section = SECTION_CHAINS,
                                  .name = route_param(&c->params, "model"),
                                  .value = json_get(c->root, "chain")};
    c->represent = represent_chain;
    c->represented = change.name;
    if (!change_entry(c, CHANGE_PUT, &change, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply_chain(c, now, change.name, e);
    snapshot_unref(now);
    return ok;
}

static bool delete_chain(struct control_call *c, struct err *e)
{
    c->represent = represent_chain;
    c->represented = route_param(&c->params, "model");
    return change_entry_gone(c, SECTION_CHAINS, c->represented, false, e);
}

/* ---- aliases ---- */

static bool represent_alias(struct control_call *c, const struct snapshot *s, struct str name,
                            struct buf *out)
{
    const struct alias *x = alias_of(s, name);
    struct jw w = jw_on(out);
    (void)c;
    if (!x)
        return false;
    struct alias_io shown = show_alias(x);
    shape_write(&alias_shape, &shown, &w);
    return true;
}

static bool list_aliases(struct control_call *c, struct err *e)
{
    const struct routing *r = c->snap->routing;
    struct alias_io *v = ARENA_ARRAY(c->arena, struct alias_io, r->n_aliases + 1);
    for (size_t i = 0; i < r->n_aliases; i++)
        v[i] = show_alias(r->aliases[i]);
    return control_reply_sorted(c, &alias_shape, v, r->n_aliases, "alias", e);
}

static bool reply_alias(struct control_call *c, int status, const struct snapshot *s,
                        struct str name, struct err *e)
{
    const struct alias *x = alias_of(s, name);
    if (!x)
        return no("alias", name, e);
    struct alias_io out = show_alias(x);
    c->represent = represent_alias;
    return control_reply_tagged(c, status, &alias_shape, &out, s, x->name);
}

static bool get_alias(struct control_call *c, struct err *e)
{
    return reply_alias(c, 200, c->snap, route_param(&c->params, "alias"), e);
}

static bool put_alias(struct control_call *c, enum change_mode mode, struct str from, struct err *e)
{
    const struct alias_io *in = c->in;
    struct entry_change change = {.section = SECTION_ALIASES,
                                  .name = c->present & 1 ? in->alias : from,
                                  .rename_from = from,
                                  .value = change_value_without(c, "alias", e)};
    if (!change.value || !change_entry(c, mode, &change, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply_alias(c, mode == CHANGE_CREATE ? 201 : 200, now, change.name, e);
    snapshot_unref(now);
    return ok;
}

static bool create_alias(struct control_call *c, struct err *e)
{
    return put_alias(c, CHANGE_CREATE, STR_NONE, e);
}

static bool change_alias(struct control_call *c, struct err *e)
{
    c->represent = represent_alias;
    c->represented = route_param(&c->params, "alias");
    return put_alias(c, CHANGE_UPDATE, c->represented, e);
}

static bool delete_alias(struct control_call *c, struct err *e)
{
    c->represent = represent_alias;
    c->represented = route_param(&c->params, "alias");
    return change_entry_gone(c, SECTION_ALIASES, c->represented, false, e);
}

/* clang-format off */
const struct endpoint combo_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/combos",           SURFACE_SLUICE, ACCESS_VIEWER, "List combos", .on_worker = list_combos, .query = &combo_query_shape, .out = &combo_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/combos",           SURFACE_SLUICE, ACCESS_ADMIN, "Make a combo", .on_worker = create_combo, .in = &combo_in_shape, .out = &combo_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/combos/{name*}",   SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a combo by name or id", .has_tag = true, .on_worker = get_combo, .out = &combo_shape },
    { HTTP_PATCH,  "/sluice/v1/combos/{name*}",   SURFACE_SLUICE, ACCESS_ADMIN, "Change a combo", .has_tag = true, .on_worker = change_combo, .in = &combo_change_shape, .out = &combo_shape },
    { HTTP_DELETE, "/sluice/v1/combos/{name*}",   SURFACE_SLUICE, ACCESS_ADMIN, "Delete a combo", .has_tag = true, .on_worker = delete_combo, .query = &delete_query_shape, .status = 204 },
    { HTTP_GET,    "/sluice/v1/chains",           SURFACE_SLUICE, ACCESS_VIEWER, "List fallback chains", .on_worker = list_chains, .query = &list_query_shape, .out = &chain_shape, .is_page = true },
    { HTTP_GET,    "/sluice/v1/chains/{model*}",  SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve the fallback chain of a model", .has_tag = true, .on_worker = get_chain, .out = &chain_shape },
    { HTTP_PUT,    "/sluice/v1/chains/{model*}",  SURFACE_SLUICE, ACCESS_ADMIN, "Give a model a fallback chain", .has_tag = true, .on_worker = put_chain, .in = &chain_in_shape, .out = &chain_shape },
    { HTTP_DELETE, "/sluice/v1/chains/{model*}",  SURFACE_SLUICE, ACCESS_ADMIN, "Delete the fallback chain of a model", .has_tag = true, .on_worker = delete_chain, .status = 204 },
    { HTTP_GET,    "/sluice/v1/aliases",          SURFACE_SLUICE, ACCESS_VIEWER, "List aliases of models and combos", .on_worker = list_aliases, .query = &list_query_shape, .out = &alias_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/aliases",          SURFACE_SLUICE, ACCESS_ADMIN, "Make an alias", .on_worker = create_alias, .in = &alias_in_shape, .out = &alias_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/aliases/{alias*}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve an alias", .has_tag = true, .on_worker = get_alias, .out = &alias_shape },
    { HTTP_PATCH,  "/sluice/v1/aliases/{alias*}", SURFACE_SLUICE, ACCESS_ADMIN, "Change an alias", .has_tag = true, .on_worker = change_alias, .in = &alias_change_shape, .out = &alias_shape },
    { HTTP_DELETE, "/sluice/v1/aliases/{alias*}", SURFACE_SLUICE, ACCESS_ADMIN, "Delete an alias", .has_tag = true, .on_worker = delete_alias, .status = 204 },
    {0},
};
/* clang-format on */
