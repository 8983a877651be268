/* budgets.c - /sluice/v1/budgets: how much may be spent by whom, how much was, and what is held at the moment. */
#include "api/change_route.h"
#include "base/clock.h"
#include "gate/budget.h"

struct budget_in {
    struct str name, scope, subject, period, time_zone, action;
    yyjson_val *limit_usd;
    int64_t warn_percent;
    bool cut_streams, enabled;
};
struct budget_out {
    struct str name, scope, subject, period, time_zone, action, begins, ends, origin;
    int64_t limit_nanousd, spent_nanousd, held_nanousd, left_nanousd, forecast_nanousd,
        warn_percent, refused, cut, warned;
    bool cut_streams, enabled, is_warning;
};

#define BUDGET_FIELDS(limit_flags)                                                                 \
    FIELD(struct budget_in, scope, 0, "Whose spending: all, org, user, key (when absent) or tag"), \
        FIELD(struct budget_in, subject, 0,                                                        \
              "Id of the org, user or key, or the tag; empty with scope all"),                     \
        FIELD(struct budget_in, period, 0, "day, week, month (when absent) or ever"),              \
        FIELD(struct budget_in, time_zone, 0, "IANA name of where it begins; UTC when absent"),    \
        FIELD(struct budget_in, limit_usd, limit_flags, "Most USD that may be spent in it"),       \
        FIELD_RANGE(struct budget_in, warn_percent, 0, 100, 0,                                     \
                    "Share of it at which replies carry x-sluice-budget-warning; 0: never"),       \
        FIELD(struct budget_in, action, 0,                                                         \
              "stop (when absent): requests that could pass it are refused; warn: they are not"),  \
        FIELD(struct budget_in, cut_streams, 0,                                                    \
              "Whether a stream is ended when what was held for it is spent"),                     \
        FIELD(struct budget_in, enabled, 0, "Whether it holds")
static const struct shape budget_in_shape = SHAPE_STRICT(
    struct budget_in, FIELD(struct budget_in, name, REQUIRED | NOT_EMPTY, "Unique name"),
    BUDGET_FIELDS(REQUIRED));
static const struct shape budget_change_shape = SHAPE_STRICT(
    struct budget_in, FIELD(struct budget_in, name, NOT_EMPTY, "New name"), BUDGET_FIELDS(0));
static const struct shape budget_shape = SHAPE(
    struct budget_out, FIELD(struct budget_out, name, 0, "Unique name"),
    FIELD(struct budget_out, scope, 0, "Whose spending: all, org, user, key or tag"),
    FIELD(struct budget_out, subject, 0, "Id of the org, user or key, or the tag"),
    FIELD(struct budget_out, period, 0, "day, week, month or ever"),
    FIELD(struct budget_out, time_zone, 0, "Of where it begins; empty: UTC"),
    FIELD(struct budget_out, action, 0, "stop or warn"),
    FIELD(struct budget_out, limit_nanousd, 0, "Most that may be spent, in nano-USD"),
    FIELD(struct budget_out, spent_nanousd, 0, "Settled in this period"),
    FIELD(struct budget_out, held_nanousd, 0, "Held for requests that run"),
    FIELD(struct budget_out, left_nanousd, 0, "What is neither; 0 when it is passed"),
    FIELD(struct budget_out, forecast_nanousd, NULL_NEGATIVE,
          "What it comes to at this pace by the end of the period; null: too early to say"),
    FIELD(struct budget_out, warn_percent, 0, "Share of the limit that warns; 0: none"),
    FIELD(struct budget_out, is_warning, 0, "Whether that share is reached"),
    FIELD(struct budget_out, cut_streams, 0, "Whether streams are ended when their hold is spent"),
    FIELD(struct budget_out, begins, NULL_EMPTY, "When this period began"),
    FIELD(struct budget_out, ends, NULL_EMPTY, "When the next one begins; null: never"),
    FIELD(struct budget_out, refused, 0, "Requests that had no room, since the process began"),
    FIELD(struct budget_out, cut, 0, "Streams that were ended, since the process began"),
    FIELD(struct budget_out, warned, 0, "Requests that were warned, since the process began"),
    FIELD(struct budget_out, enabled, 0, "Whether it holds"),
    FIELD(struct budget_out, origin, 0, "file or api: who may change it"));

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    if (ms <= 0 || ms == INT64_MAX)
        return STR_NONE;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

/* Straight on from what was spent so far; an hour says too little. */
static int64_t forecast(const struct budget_view *v, int64_t now_ms)
{
    int64_t past = now_ms - v->begins_ms;
    if (v->ends_ms == INT64_MAX || past < 3600000)
        return -1;
    return (int64_t)((__int128)v->spent * (v->ends_ms - v->begins_ms) / past);
}

static struct budget_out show(struct arena *a, const struct budget *b)
{
    int64_t now = clock_wall_ms();
    struct budget_view v = budget_look(b, now);
    int64_t left = b->limit_nanousd - v.spent - v.held;
    return (struct budget_out){
        .name = b->name,
        .scope = str_of(word_text(budget_scope_words, (int)b->scope, "")),
        .subject = b->subject,
        .period = str_of(word_text(budget_period_words, (int)b->period, "")),
        .time_zone = b->time_zone,
        .action = str_of(b->stops ? "stop" : "warn"),
        .limit_nanousd = b->limit_nanousd,
        .spent_nanousd = v.spent,
        .held_nanousd = v.held,
        .left_nanousd = left > 0 ? left : 0,
        .forecast_nanousd = forecast(&v, now),
        .warn_percent = b->warn_percent,
        .is_warning = b->warn_percent > 0 &&
                      (v.spent + v.held) * 100 >= b->limit_nanousd * b->warn_percent,
        .cut_streams = b->cuts,
        .begins = time_text(a, v.begins_ms),
        .ends = time_text(a, v.ends_ms),
        .refused = (int64_t)v.refused,
        .cut = (int64_t)v.cut,
        .warned = (int64_t)v.warned,
        .enabled = b->is_enabled,
        .origin = str_of(origin_name((enum origin)b->from)),
    };
}

struct budget_query {
    struct page_query page;
    struct str scope, subject, period, origin;
    bool enabled, is_warning;
};
static const struct shape budget_query_shape = SHAPE(
    struct budget_query, PAGE_FIELDS(struct budget_query),
    FIELD(struct budget_query, scope, 0, "Only of this scope"),
    FIELD(struct budget_query, subject, 0, "Only of this org, user, key or tag"),
    FIELD(struct budget_query, period, 0, "Only of this period"),
    FIELD(struct budget_query, origin, 0, "Only from there: file or api"),
    FIELD(struct budget_query, enabled, 0, "Only those that hold, or not"),
    FIELD(struct budget_query, is_warning, 0, "Only those whose warning level is reached, or not"));

static bool list(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct budget_out *v = ARENA_ARRAY(c->arena, struct budget_out, s->n_budgets + 1);
    for (size_t i = 0; i < s->n_budgets; i++)
        v[i] = show(c->arena, s->budgets[i]);
    return control_reply_sorted(c, &budget_shape, v, s->n_budgets, "name", e);
}

static const struct budget *find(const struct snapshot *s, struct str name, struct err *e)
{
    for (size_t i = 0; i < s->n_budgets; i++)
        if (str_eq(s->budgets[i]->name, name))
            return s->budgets[i];
    err_set(e, ERR_NOT_FOUND, "not_found", "No budget '" STR_FMT "'",
            STR_ARG(str_first(name, 200)));
    return NULL;
}

/* What is configured of it: what was spent is no part of its ETag, for it does not stand in the way of a change. */
static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    struct err none = ERR_INIT;
    const struct budget *b = find(s, name, &none);
    struct jw w = jw_on(out);
    (void)c;
    if (!b)
        return false;
    budget_write(&w, b);
    return true;
}

static bool reply(struct control_call *c, int status, const struct snapshot *s, struct str name,
                  struct err *e)
{
    const struct budget *b = find(s, name, e);
    if (!b)
        return false;
    struct budget_out out = show(c->arena, b);
    c->represent = represent;
    return control_reply_tagged(c, status, &budget_shape, &out, s, name);
}

static bool get(struct control_call *c, struct err *e)
{
    return reply(c, 200, c->snap, route_param(&c->params, "name"), e);
}

/* A budget of nobody would hold nothing, and say that it does. A tag may be given to keys later. */
static bool is_of_somebody(struct control_call *c, enum change_mode mode, struct str from,
                           struct err *e)
{
    const struct budget_in *in = c->in;
    struct err none = ERR_INIT; /* whether there is one to be changed is found out behind this */
    const struct budget *was = mode == CHANGE_UPDATE ? find(c->snap, from, &none) : NULL;
    int scope = in->scope.n ? word_value(budget_scope_words, in->scope, -1)
                : was       ? (int)was->scope
                            : BUDGET_KEY;
    struct str subject = in->subject.n ? in->subject : was ? was->subject : STR_NONE;
    return !subject.n || !(in->scope.n || in->subject.n) ||
           budget_has_subject(c->snap, scope, subject) ||
           err_field(e, "subject", "There is no %s '" STR_FMT "'",
                     word_text(budget_scope_words, scope, ""), STR_ARG(str_first(subject, 100)));
}

static bool put(struct control_call *c, enum change_mode mode, struct str from, struct err *e)
{
    const struct budget_in *in = c->in;
    if (!is_of_somebody(c, mode, from, e))
        return false;
    struct entry_change change = {.section = SECTION_BUDGETS,
                                  .name = c->present & 1 ? in->name : from,
                                  .rename_from = from,
                                  .value = change_value_without(c, "name", e)};
    if (!change.value || !change_entry(c, mode, &change, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply(c, mode == CHANGE_CREATE ? 201 : 200, now, change.name, e);
    snapshot_unref(now);
    return ok;
}

static bool create(struct control_call *c, struct err *e)
{
    return put(c, CHANGE_CREATE, STR_NONE, e);
}

static struct str meant(struct control_call *c)
{
    c->represent = represent;
    return c->represented = route_param(&c->params, "name");
}

static bool change(struct control_call *c, struct err *e)
{
    return put(c, CHANGE_UPDATE, meant(c), e);
}

static bool drop(struct control_call *c, struct err *e)
{
    return change_entry_gone(c, SECTION_BUDGETS, meant(c), false, e);
}

/* clang-format off */
const struct endpoint budget_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/budgets",        SURFACE_SLUICE, ACCESS_VIEWER, "List budgets with what is spent of them", .on_worker = list, .query = &budget_query_shape, .out = &budget_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/budgets",        SURFACE_SLUICE, ACCESS_ADMIN, "Add a budget", .on_worker = create, .in = &budget_in_shape, .out = &budget_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/budgets/{name}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a budget", .has_tag = true, .is_live = true, .on_worker = get, .out = &budget_shape },
    { HTTP_PATCH,  "/sluice/v1/budgets/{name}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a budget", .has_tag = true, .on_worker = change, .in = &budget_change_shape, .out = &budget_shape },
    { HTTP_DELETE, "/sluice/v1/budgets/{name}", SURFACE_SLUICE, ACCESS_ADMIN, "Delete a budget", .has_tag = true, .on_worker = drop, .status = 204 },
    {0},
};
/* clang-format on */
