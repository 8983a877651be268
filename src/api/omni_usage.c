/* omni_usage.c - /api/usage/analytics, /history and what else OmniRoute's pages sum up. All of it is read from the sums by minute,
 * hour and day: never from the records themselves, of which there may be ten million. */
#include "api/omni_usage.h"
#include "api/metrics.h"
#include "base/clock.h"
#include "base/map.h"
#include "json/shape_json.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DAY_MS 86400000
#define ACTIVITY_DAYS 365
#define MOST_DAYS 4000 /* that a chart shows */

/* ---- what the views share ---- */

struct str omni_provider(const struct snapshot *s, struct str upstream)
{
    const struct upstream *u = snapshot_upstream(s, upstream);
    return u ? str_of(u->kind->id) : upstream;
}

struct str omni_connection_id(const struct snapshot *s, struct str upstream)
{
    const struct upstream *u = snapshot_upstream(s, upstream);
    return u ? u->uid : upstream;
}

struct str omni_iso(struct arena *a, int64_t wall_ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, wall_ms);
    return buf_str(&b);
}

struct str omni_date(struct arena *a, int64_t day)
{
    return str_first(omni_iso(a, day * DAY_MS), 10);
}

struct str omni_last_segment(struct str model)
{
    const char *slash = memrchr(model.p ? model.p : "", '/', model.n);
    return slash ? str_skip(model, (size_t)(slash - model.p) + 1) : model;
}

struct str omni_key_text(struct arena *a, const struct snapshot *s, struct str key_id)
{
    struct str label = request_key_label(s, key_id);
    return key_id.n == 0 ? STR_NONE
                         : str_fmt(a, STR_FMT " (" STR_FMT ")", STR_ARG(label.n ? label : key_id),
                                   STR_ARG(key_id));
}

void omni_filter_provider(struct control_call *c, struct str provider, struct usage_filter *f)
{
    const struct snapshot *s = c->snap;
    struct str *v = ARENA_ARRAY(c->arena, struct str, s->n_upstreams + 1);
    if (provider.n == 0)
        return;
    f->upstreams = v;
    f->has_upstreams = true;
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (str_eq(str_of(s->upstreams[i]->kind->id), provider))
            v[f->n_upstreams++] = s->upstreams[i]->name;
    if (f->n_upstreams == 0) /* a name, maybe of one that is gone */
        v[f->n_upstreams++] = provider;
}

/* ---- groups ---- */

struct spent {
    int64_t nanousd, priced; /* of so many requests; 0: no price was known for any */
};
static void spent_add(struct spent *to, const struct spent *c)
{
    to->nanousd += c->nanousd;
    to->priced += c->priced;
}

struct group {
    struct str key;                         /* with a NUL behind it */
    struct str name, provider, account, id; /* what the answer shows of them is the view's matter */
    struct usage_figures f;
    struct spent cost;
    int64_t *by_day; /* tokens; NULL: none yet */
};
struct groups {
    struct arena *arena;
    struct map by_key;
    struct group **v;
    size_t n, cap;
};

static struct group *group_of(struct groups *g, struct str key)
{
    struct group *one = map_get(&g->by_key, key);
    if (one)
        return one;
    if (g->n == g->cap) {
        size_t cap = g->cap * 2 + 16;
        g->v = arena_realloc(g->arena, g->v, g->cap * sizeof(struct group *),
                             cap * sizeof(struct group *));
        g->cap = cap;
    }
    one = ARENA_NEW(g->arena, struct group);
    one->key = key;
    map_set(&g->by_key, key, one);
    return g->v[g->n++] = one;
}

bool omni_live_requests(struct control_call *c, struct omni_live **out, size_t *n, struct err *e)
{
    struct relay_info *live;
    size_t n_live;
    *n = 0;
    if (!metrics_live(c, &live, &n_live, e))
        return false;
    *out = ARENA_ARRAY(c->arena, struct omni_live, n_live + 1);
    for (size_t i = 0; i < n_live; i++) {
        struct str model = live[i].upstream_model.n ? live[i].upstream_model : live[i].model;
        size_t k = 0;
        while (k < *n &&
               !(str_eq((*out)[k].model, model) && str_eq((*out)[k].upstream, live[i].upstream)))
            k++;
        if (k == *n)
            (*out)[(*n)++] = (struct omni_live){
                .model = model,
                .upstream = live[i].upstream,
                .provider = omni_provider(c->snap, live[i].upstream)};
        (*out)[k].count++;
    }
    return true;
}

static int64_t tokens(const struct usage_figures *f)
{
    return f->input_total + f->output_total;
}

static int by_tokens(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    int64_t tx = tokens(&x->f), ty = tokens(&y->f);
    if (tx != ty)
        return tx > ty ? -1 : 1;
    return x->f.n != y->f.n ? (x->f.n > y->f.n ? -1 : 1) : strcmp(x->key.p, y->key.p);
}

static void sort_groups(struct groups *g)
{
    if (g->n)
        qsort(g->v, g->n, sizeof(struct group *), by_tokens);
}

/* ---- gathering ---- */

enum grouping {
    BY_MODEL,
    BY_ACCOUNT,
    BY_MODEL_ACCOUNT,
    BY_PROVIDER,
    BY_KEY,
    GROUPINGS
};

struct kind_groups { /* hangs on a kind: found once, then added to */
    struct group *of[GROUPINGS];
    bool has_model;
};

struct gathered {
    struct control_call *c;
    struct groups by[GROUPINGS];
    struct usage_figures all;
    struct spent cost, *day_costs; /* day_costs: beside days */
    int64_t named;                 /* requests that asked for a model */
    int64_t first_day, n_days, spans_a_day;
    int64_t last_day;
    struct usage_figures *days;
    struct usage_figures *activity; /* of the last ACTIVITY_DAYS days */
    int64_t seen_from;              /* first day with a request; INT64_MAX: none */
};

static void gather_begin(struct gathered *g, struct control_call *c)
{
    *g = (struct gathered){.c = c, .seen_from = INT64_MAX};
    for (int i = 0; i < GROUPINGS; i++) {
        g->by[i].arena = c->arena;
        map_init(&g->by[i].by_key);
    }
}

static void gather_end(struct gathered *g)
{
    for (int i = 0; i < GROUPINGS; i++) {
        map_done(&g->by[i].by_key);
        sort_groups(&g->by[i]);
    }
}

/* What names the groups that requests of a kind belong to; empty: none. */
static void group_keys(struct gathered *g, const struct usage_kind *k, struct str keys[GROUPINGS])
{
    struct arena *a = g->c->arena;
    const struct snapshot *s = g->c->snap;
    struct str model = k->upstream_model.n ? k->upstream_model : k->model,
               provider = omni_provider(s, k->upstream);
    keys[BY_MODEL] = str_fmt(a, STR_FMT " (" STR_FMT ")", STR_ARG(model), STR_ARG(provider));
    keys[BY_ACCOUNT] = k->upstream;
    keys[BY_MODEL_ACCOUNT] = str_fmt(a, STR_FMT " (" STR_FMT " - " STR_FMT ")", STR_ARG(model),
                                     STR_ARG(provider), STR_ARG(k->upstream));
    keys[BY_PROVIDER] = provider;
    keys[BY_KEY] = omni_key_text(a, s, k->key);
}

/* One hour of one kind of the ledger. */
static void on_cost(void *arg, const struct row *r)
{
    struct gathered *g = arg;
    int64_t day = row_int(r, 0) / 24 - g->first_day;
    struct spent c = {row_int(r, 2), row_int(r, 1)};
    struct usage_kind k = {.key = row_str(r, 3),
                           .model = row_str(r, 4),
                           .upstream = row_str(r, 5),
                           .upstream_model = row_str(r, 6)};
    struct str keys[GROUPINGS];
    group_keys(g, &k, keys);
    spent_add(&g->cost, &c);
    for (int i = 0; i < GROUPINGS; i++) {
        struct group *one = keys[i].n ? map_get(&g->by[i].by_key, keys[i]) : NULL;
        if (one)
            spent_add(&one->cost, &c);
    }
    if (g->day_costs && day >= 0 && day < g->n_days)
        spent_add(&g->day_costs[day], &c);
}

/* After the sums were read: costs are added to the groups that there are. */
static bool read_costs(struct gathered *g, struct db *db, int64_t from_hour, struct err *e)
{
    char sql[400];
    (void)snprintf(sql, sizeof sql,
                   "SELECT each_row(h.hour,h.n-h.unpriced,h.amount,k.key,k.model,k.upstream,"
                   "k.upstream_model) FROM ledger_hour h JOIN ledger_kind k ON k.id=h.kind "
                   "WHERE h.hour>=%lld AND k.unit='nanousd'",
                   (long long)from_hour);
    return db_each_row(db, sql, on_cost, g, e);
}

static struct kind_groups *groups_of_kind(struct gathered *g, struct usage_kind *k)
{
    struct arena *a = g->c->arena;
    const struct snapshot *s = g->c->snap;
    if (k->tag)
        return k->tag;
    struct kind_groups *out = ARENA_NEW(a, struct kind_groups);
    struct str model = k->upstream_model.n ? k->upstream_model : k->model,
               provider = omni_provider(s, k->upstream);
    out->has_model = k->model.n > 0;
    struct str keys[GROUPINGS];
    group_keys(g, k, keys);
    for (int i = 0; i < GROUPINGS; i++) {
        if (keys[i].n == 0) /* no upstream was asked, or no key was shown */
            continue;
        struct group *one = out->of[i] = group_of(&g->by[i], keys[i]);
        one->name = i == BY_KEY ? request_key_label(s, k->key) : model;
        one->provider = provider;
        one->account = k->upstream;
        one->id = k->key;
    }
    k->tag = out;
    return out;
}

static void on_sum(void *arg, int64_t at, struct usage_kind *k, const struct usage_figures *f)
{
    struct gathered *g = arg;
    int64_t day = at / g->spans_a_day;
    struct kind_groups *of = groups_of_kind(g, k);
    usage_figures_add(&g->all, f);
    g->named += of->has_model ? f->n : 0;
    for (int i = 0; i < GROUPINGS; i++)
        if (of->of[i])
            usage_figures_add(&of->of[i]->f, f);
    if (day < g->seen_from)
        g->seen_from = day;
    if (!g->days || day < g->first_day || day >= g->first_day + g->n_days)
        return;
    usage_figures_add(&g->days[day - g->first_day], f);
    struct group *model = of->of[BY_MODEL];
    if (!model)
        return;
    if (!model->by_day)
        model->by_day = arena_zalloc(g->c->arena, (size_t)g->n_days * sizeof(int64_t));
    model->by_day[day - g->first_day] += tokens(f);
}

static void on_activity(void *arg, int64_t day, struct usage_kind *k, const struct usage_figures *f)
{
    struct gathered *g = arg;
    int64_t i = day - (g->last_day - ACTIVITY_DAYS + 1);
    (void)k;
    if (i >= 0 && i < ACTIVITY_DAYS)
        usage_figures_add(&g->activity[i], f);
}

/* ---- analytics ---- */

struct analytics_query {
    struct str range, period;
};
struct analytics_out {
    yyjson_val *summary, *dailyTrend, *dailyByModel, *modelNames, *byModel, *byAccount, *byProvider,
        *byApiKey, *activityMap, *weeklyPattern;
    struct str range;
};
/* clang-format off */
static const struct shape analytics_query_shape = SHAPE(struct analytics_query,
    FIELD(struct analytics_query, range, 0, "1d, 7d, 30d, 90d, ytd or all; 30d when absent"),
    FIELD(struct analytics_query, period, 0, "The same in other words: day, week, month"));
#define FIGURES \
    MEMBER("requests",         SHAPE_INT64,  0, "Requests"), \
    MEMBER("promptTokens",     SHAPE_INT64,  0, "Their input tokens"), \
    MEMBER("completionTokens", SHAPE_INT64,  0, "Their output tokens"), \
    MEMBER("cost",             SHAPE_DOUBLE, NULL_EMPTY, "In USD; null while no price is known")
#define ALL_FIGURES FIGURES, MEMBER("totalTokens", SHAPE_INT64, 0, "Both together")
static const struct shape summary_shape = MEMBERS("usage_summary",
    MEMBER("totalTokens",      SHAPE_INT64,  0, "Tokens"),
    MEMBER("promptTokens",     SHAPE_INT64,  0, "Input tokens"),
    MEMBER("completionTokens", SHAPE_INT64,  0, "Output tokens"),
    MEMBER("totalCost",        SHAPE_DOUBLE, NULL_EMPTY, "In USD; null while no price is known"),
    MEMBER("totalRequests",    SHAPE_INT64,  0, "Requests"),
    MEMBER("uniqueModels",     SHAPE_INT64,  0, "Models that took part"),
    MEMBER("uniqueAccounts",   SHAPE_INT64,  0, "Connections that took part"),
    MEMBER("uniqueApiKeys",    SHAPE_INT64,  0, "Keys that took part"),
    MEMBER("streak",           SHAPE_INT64,  0, "Days with requests up to the last one"),
    MEMBER("fallbackCount",    SHAPE_INT64,  0, "Requests of more than one attempt"),
    MEMBER("fallbackRatePct",  SHAPE_DOUBLE, 0, "Of all, in percent"),
    MEMBER("requestedModelCoveragePct", SHAPE_DOUBLE, 0, "Requests that name a model, in percent"));
static const struct shape day_shape = MEMBERS("usage_day", MEMBER("date", SHAPE_STR, 0, "UTC"), FIGURES);
static const struct shape by_model_shape = MEMBERS("usage_by_model", MEMBER("model", SHAPE_STR, 0, "The model"),
    MEMBER("provider", SHAPE_STR, 0, "Its provider"), ALL_FIGURES, MEMBER("pct", SHAPE_STR, 0, "Share of all tokens, in percent"));
static const struct shape by_account_shape = MEMBERS("usage_by_account", MEMBER("account", SHAPE_STR, 0, "The connection"),
    MEMBER("totalTokens", SHAPE_INT64, 0, "Tokens"), MEMBER("requests", SHAPE_INT64, 0, "Requests"),
    MEMBER("cost", SHAPE_DOUBLE, NULL_EMPTY, "In USD; null while no price is known"));
static const struct shape by_provider_shape = MEMBERS("usage_by_provider", MEMBER("provider", SHAPE_STR, 0, "The provider"), ALL_FIGURES);
static const struct shape by_key_shape = MEMBERS("usage_by_key", MEMBER("apiKey", SHAPE_STR, 0, "The key"),
    MEMBER("apiKeyId", SHAPE_STR, 0, "Its id"), MEMBER("apiKeyName", SHAPE_STR, 0, "Its name"), ALL_FIGURES);
static const struct shape weekday_shape = MEMBERS("usage_weekday", MEMBER("day", SHAPE_STR, 0, "Of the week"),
    MEMBER("avgTokens", SHAPE_INT64, 0, "On one of them"), MEMBER("totalTokens", SHAPE_INT64, 0, "On all of them"));
static const struct shape analytics_shape = SHAPE(struct analytics_out,
    FIELD_JSON(struct analytics_out, summary, 0, &summary_shape, 0, "Totals of the range, how many models, accounts and keys took part, how many requests fell back, and the streak of days with requests. A cost is null while no price is known"),
    FIELD_JSON(struct analytics_out, dailyTrend, JSON_LIST, &day_shape, 0, "Requests, tokens and cost by day (UTC)"),
    FIELD_JSON(struct analytics_out, dailyByModel, JSON_LIST, &json_of_object, 0, "Tokens by day and model"),
    FIELD_JSON(struct analytics_out, modelNames, JSON_LIST, &json_of_text, 0, "The models in dailyByModel"),
    FIELD_JSON(struct analytics_out, byModel, JSON_LIST, &by_model_shape, 0, "By model and provider; pct: the share of all tokens"),
    FIELD_JSON(struct analytics_out, byAccount, JSON_LIST, &by_account_shape, 0, "By connection"),
    FIELD_JSON(struct analytics_out, byProvider, JSON_LIST, &by_provider_shape, 0, "By provider"),
    FIELD_JSON(struct analytics_out, byApiKey, JSON_LIST, &by_key_shape, 0, "By client key"),
    FIELD_JSON(struct analytics_out, activityMap, JSON_MAP, &json_of_integer, 0, "Tokens by day of the last 365 days"),
    FIELD_JSON(struct analytics_out, weeklyPattern, JSON_LIST, &weekday_shape, 0, "Tokens by day of the week"),
    FIELD(struct analytics_out, range, 0, "The range that was asked for"));
/* clang-format on */

static const struct {
    const char *name, *period;
    int days;
} ranges[] = {
    {"1d", "day", 1},       {"7d", "week", 7},  {"30d", "month", 30},
    {"90d", "quarter", 90}, {"ytd", "year", 0}, {"all", "all", 0},
};

static size_t find_range(const struct analytics_query *q)
{
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (str_eq(q->range, str_of(ranges[i].name)) ||
            (q->range.n == 0 && str_eq(q->period, str_of(ranges[i].period))))
            return i;
    return 2; /* 30d, as OmniRoute takes whatever it does not know */
}

static int64_t first_of_year(int64_t now_ms)
{
    time_t t = (time_t)(now_ms / 1000);
    struct tm tm;
    if (!gmtime_r(&t, &tm))
        return 0;
    return now_ms / DAY_MS - tm.tm_yday;
}

/* Unknown while no price of it is known: never zero. */
static void write_cost(struct jw *w, const char *key, const struct spent *c)
{
    jw_key(w, key);
    if (c->priced > 0)
        jw_double(w, (double)c->nanousd / 1e9);
    else
        jw_null(w);
}

static void write_figures(struct jw *w, const struct usage_figures *f, const struct spent *c,
                          bool with_total)
{
    jw_kv_int(w, "requests", f->n);
    jw_kv_int(w, "promptTokens", f->input_total);
    jw_kv_int(w, "completionTokens", f->output_total);
    if (with_total)
        jw_kv_int(w, "totalTokens", tokens(f));
    write_cost(w, "cost", c);
}

static int64_t streak(const struct gathered *g)
{
    int64_t n = 0, i = ACTIVITY_DAYS - 1;
    if (g->activity[i].n == 0) /* today may still come */
        i--;
    for (; i >= 0 && g->activity[i].n > 0; i--)
        n++;
    return n;
}

static double percent(int64_t part, int64_t whole)
{
    int64_t hundredths = whole > 0 ? part * 10000 / whole : 0; /* rounded down */
    return (double)hundredths / 100;
}

/* Several providers may serve the same model. */
static int64_t distinct_names(const struct groups *g)
{
    struct map seen;
    int64_t n = 0;
    map_init(&seen);
    for (size_t i = 0; i < g->n; i++)
        if (!map_get(&seen, omni_last_segment(g->v[i]->name))) {
            map_set(&seen, omni_last_segment(g->v[i]->name), g->v[i]);
            n++;
        }
    map_done(&seen);
    return n;
}

static void write_summary(struct jw *w, const struct gathered *g)
{
    jw_key(w, "summary");
    jw_object(w);
    jw_kv_int(w, "totalTokens", tokens(&g->all));
    jw_kv_int(w, "promptTokens", g->all.input_total);
    jw_kv_int(w, "completionTokens", g->all.output_total);
    write_cost(w, "totalCost", &g->cost);
    jw_kv_int(w, "totalRequests", g->all.n);
    jw_kv_int(w, "uniqueModels", distinct_names(&g->by[BY_MODEL]));
    jw_kv_int(w, "uniqueAccounts", (int64_t)g->by[BY_ACCOUNT].n);
    jw_kv_int(w, "uniqueApiKeys", (int64_t)g->by[BY_KEY].n);
    jw_kv_int(w, "streak", streak(g));
    jw_kv_int(w, "fallbackCount", g->all.retried);
    jw_key(w, "fallbackRatePct");
    jw_double(w, percent(g->all.retried, g->all.n));
    jw_key(w, "requestedModelCoveragePct");
    jw_double(w, percent(g->named, g->all.n));
    jw_object_end(w);
}

static void write_days(struct jw *w, struct gathered *g)
{
    struct arena *a = g->c->arena;
    jw_key(w, "dailyTrend");
    jw_array(w);
    for (int64_t i = 0; i < g->n_days; i++) {
        if (g->days[i].n == 0)
            continue;
        jw_object(w);
        jw_kv_str(w, "date", omni_date(a, g->first_day + i));
        write_figures(w, &g->days[i], &g->day_costs[i], false);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "dailyByModel");
    jw_array(w);
    for (int64_t i = 0; i < g->n_days; i++) {
        if (g->days[i].n == 0)
            continue;
        jw_object(w);
        jw_kv_str(w, "date", omni_date(a, g->first_day + i));
        for (size_t m = 0; m < g->by[BY_MODEL].n; m++) {
            const struct group *one = g->by[BY_MODEL].v[m];
            if (one->by_day && one->by_day[i]) {
                jw_key_str(w, omni_last_segment(one->name));
                jw_int(w, one->by_day[i]);
            }
        }
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "modelNames");
    jw_array(w);
    for (size_t m = 0; m < g->by[BY_MODEL].n; m++)
        jw_str(w, omni_last_segment(g->by[BY_MODEL].v[m]->name));
    jw_array_end(w);
}

static void write_groups(struct jw *w, const struct gathered *g)
{
    struct arena *a = g->c->arena;
    jw_key(w, "byModel");
    jw_array(w);
    for (size_t i = 0; i < g->by[BY_MODEL].n; i++) {
        const struct group *one = g->by[BY_MODEL].v[i];
        jw_object(w);
        jw_kv_str(w, "model", omni_last_segment(one->name));
        jw_kv_str(w, "provider", one->provider);
        write_figures(w, &one->f, &one->cost, true);
        jw_kv_str(w, "pct", str_fmt(a, "%.1f", percent(tokens(&one->f), tokens(&g->all))));
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "byAccount");
    jw_array(w);
    for (size_t i = 0; i < g->by[BY_ACCOUNT].n; i++) {
        const struct group *one = g->by[BY_ACCOUNT].v[i];
        jw_object(w);
        jw_kv_str(w, "account", one->account);
        jw_kv_int(w, "totalTokens", tokens(&one->f));
        jw_kv_int(w, "requests", one->f.n);
        write_cost(w, "cost", &one->cost);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "byProvider");
    jw_array(w);
    for (size_t i = 0; i < g->by[BY_PROVIDER].n; i++) {
        const struct group *one = g->by[BY_PROVIDER].v[i];
        jw_object(w);
        jw_kv_str(w, "provider", one->provider);
        write_figures(w, &one->f, &one->cost, true);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "byApiKey");
    jw_array(w);
    for (size_t i = 0; i < g->by[BY_KEY].n; i++) {
        const struct group *one = g->by[BY_KEY].v[i];
        jw_object(w);
        jw_kv_str(w, "apiKey", one->key);
        jw_kv_str(w, "apiKeyId", one->id);
        jw_kv_str(w, "apiKeyName", one->name.n ? one->name : one->id);
        write_figures(w, &one->f, &one->cost, true);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_calendar(struct jw *w, const struct gathered *g)
{
    static const char *const names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    struct arena *a = g->c->arena;
    int64_t total[7] = {0}, count[7] = {0}, day;
    jw_key(w, "activityMap");
    jw_object(w);
    for (int64_t i = 0; i < ACTIVITY_DAYS; i++) {
        jw_key_str(w, omni_date(a, g->last_day - ACTIVITY_DAYS + 1 + i));
        jw_int(w, tokens(&g->activity[i]));
    }
    jw_object_end(w);
    /* the mean is over the days of the range, not over those with requests */
    for (day = g->seen_from > g->first_day ? g->seen_from : g->first_day; day <= g->last_day;
         day++) {
        int64_t of_week = (day + 4) % 7; /* 1970-01-01 was a Thursday */
        count[of_week]++;
        total[of_week] += tokens(&g->days[day - g->first_day]);
    }
    jw_key(w, "weeklyPattern");
    jw_array(w);
    for (int i = 0; i < 7; i++) {
        jw_object(w);
        jw_kv_cstr(w, "day", names[i]);
        jw_kv_int(w, "avgTokens", count[i] ? total[i] / count[i] : 0);
        jw_kv_int(w, "totalTokens", total[i]);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static bool analytics(struct control_call *c, struct err *e)
{
    size_t range = find_range(c->asked);
    struct db *db = control_db(c, e);
    struct gathered g;
    int64_t now = clock_wall_ms();
    bool by_hour = ranges[range].days == 1; /* the last 24 hours, which reach into yesterday */
    enum usage_span span = by_hour ? SPAN_HOUR : SPAN_DAY;
    if (!db)
        return false;
    gather_begin(&g, c);
    g.spans_a_day = by_hour ? 24 : 1;
    g.last_day = now / DAY_MS;
    g.first_day = by_hour              ? g.last_day - 1
                  : ranges[range].days ? g.last_day - ranges[range].days + 1
                  : range == 4         ? first_of_year(now)
                                       : g.last_day - MOST_DAYS + 1;
    g.n_days = g.last_day - g.first_day + 1;
    g.days = arena_zalloc(c->arena, (size_t)g.n_days * sizeof *g.days);
    g.day_costs = arena_zalloc(c->arena, (size_t)g.n_days * sizeof *g.day_costs);
    g.activity = arena_zalloc(c->arena, ACTIVITY_DAYS * sizeof *g.activity);
    int64_t from = by_hour ? now / 3600000 - 23 : range == 5 ? 0 : g.first_day;
    bool ok = usage_sum_read(c->arena, db, span, from, on_sum, &g, e) &&
              usage_sum_read(c->arena, db, SPAN_DAY, g.last_day - ACTIVITY_DAYS + 1, on_activity,
                             &g, e) &&
              read_costs(&g, db, by_hour ? from : from * 24, e);
    gather_end(&g);
    if (!ok)
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    write_summary(&w, &g);
    write_days(&w, &g);
    write_groups(&w, &g);
    write_calendar(&w, &g);
    jw_kv_cstr(&w, "range", ranges[range].name);
    jw_object_end(&w);
    return true;
}

/* ---- history ---- */

struct history_out {
    int64_t totalRequests, totalPromptTokens, totalCompletionTokens;
    yyjson_val *totalCost, *byProvider, *byModel, *byAccount, *byApiKey, *last10Minutes, *pending,
        *activeRequests;
};
/* clang-format off */
static const struct shape minute_shape = MEMBERS("usage_minute", FIGURES);
static const struct shape used_shape = MEMBERS("usage_of", FIGURES,
    MEMBER("rawModel",     SHAPE_STR, OMIT_EMPTY, "By model: its name"),
    MEMBER("provider",     SHAPE_STR, OMIT_EMPTY, "By model: its provider"),
    MEMBER("connectionId", SHAPE_STR, OMIT_EMPTY, "By connection: its id"),
    MEMBER("accountName",  SHAPE_STR, OMIT_EMPTY, "By connection: its name"),
    MEMBER("apiKeyId",     SHAPE_STR, OMIT_EMPTY, "By key: its id"),
    MEMBER("apiKeyName",   SHAPE_STR, OMIT_EMPTY, "By key: its name"),
    MEMBER("lastUsed",     SHAPE_STR, OMIT_EMPTY, "When it was used last"));
static const struct shape pending_shape = MEMBERS("pending",
    {.name = "byModel", .kind = SHAPE_JSON, .flags = JSON_MAP, .doc = "How many, by model", .shape = &json_of_integer},
    {.name = "byAccount", .kind = SHAPE_JSON, .flags = JSON_MAP, .doc = "How many, by connection", .shape = &json_of_integer});
static const struct shape served_shape = MEMBERS("served",
    MEMBER("model",    SHAPE_STR,   0, "The model"),
    MEMBER("provider", SHAPE_STR,   0, "Its provider"),
    MEMBER("account",  SHAPE_STR,   0, "The connection"),
    MEMBER("count",    SHAPE_INT64, 0, "How many"));
static const struct shape history_shape = SHAPE(struct history_out,
    FIELD(struct history_out, totalRequests, 0, "Requests of all times"),
    FIELD(struct history_out, totalPromptTokens, 0, "Their input tokens"),
    FIELD(struct history_out, totalCompletionTokens, 0, "Their output tokens"),
    FIELD_JSON(struct history_out, totalCost, 0, &json_of_number, NULL_EMPTY, "In USD; null while no price is known"),
    FIELD_JSON(struct history_out, byProvider, JSON_MAP, &used_shape, 0, "The same by provider"),
    FIELD_JSON(struct history_out, byModel, JSON_MAP, &used_shape, 0, "… by model and provider"),
    FIELD_JSON(struct history_out, byAccount, JSON_MAP, &used_shape, 0, "… by model, provider and connection"),
    FIELD_JSON(struct history_out, byApiKey, JSON_MAP, &used_shape, 0, "… by client key"),
    FIELD_JSON(struct history_out, last10Minutes, JSON_LIST, &minute_shape, 0, "By minute, oldest first"),
    FIELD_JSON(struct history_out, pending, 0, &pending_shape, 0, "Requests being served, by model and by connection"),
    FIELD_JSON(struct history_out, activeRequests, JSON_LIST, &served_shape, 0, "The same as a list"));
/* clang-format on */

static void write_map(struct jw *w, const struct control_call *c, const char *name,
                      const struct groups *g, enum grouping by)
{
    const struct snapshot *s = c->snap;
    jw_key(w, name);
    jw_object(w);
    for (size_t i = 0; i < g->n; i++) {
        const struct group *one = g->v[i];
        jw_key_str(w, one->key);
        jw_object(w);
        write_figures(w, &one->f, &one->cost, false);
        if (by == BY_MODEL || by == BY_MODEL_ACCOUNT) {
            jw_kv_str(w, "rawModel", one->name);
            jw_kv_str(w, "provider", one->provider);
        }
        if (by == BY_MODEL_ACCOUNT) {
            jw_kv_str(w, "connectionId", omni_connection_id(s, one->account));
            jw_kv_str(w, "accountName", one->account);
        }
        if (by == BY_KEY) {
            jw_kv_str(w, "apiKeyId", one->id);
            jw_kv_str(w, "apiKeyName", one->name.n ? one->name : one->id);
        }
        if (by != BY_PROVIDER)
            jw_kv_str(w, "lastUsed", omni_iso(c->arena, one->f.last / 1000));
        jw_object_end(w);
    }
    jw_object_end(w);
}

struct minutes {
    int64_t first;
    struct usage_figures v[10];
    struct spent costs[10];
};

static void on_minute(void *arg, int64_t at, struct usage_kind *k, const struct usage_figures *f)
{
    struct minutes *m = arg;
    (void)k;
    if (at >= m->first && at < m->first + 10)
        usage_figures_add(&m->v[at - m->first], f);
}

static struct str live_text(struct arena *a, const struct omni_live *l, bool by_account)
{
    return by_account
               ? l->upstream
               : str_fmt(a, STR_FMT " (" STR_FMT ")", STR_ARG(l->model), STR_ARG(l->provider));
}

/* {"text": how many}: several models of one connection count as one, and the other way around. */
static void write_pending(struct jw *w, struct arena *a, const char *name,
                          const struct omni_live *live, size_t n, bool by_account)
{
    jw_key(w, name);
    jw_object(w);
    for (size_t i = 0; i < n; i++) {
        struct str text = live_text(a, &live[i], by_account);
        bool is_first = true;
        int64_t sum = 0;
        for (size_t k = 0; k < n; k++)
            if (str_eq(live_text(a, &live[k], by_account), text)) {
                is_first &= k >= i;
                sum += live[k].count;
            }
        if (is_first && text.n) {
            jw_key_str(w, text);
            jw_int(w, sum);
        }
    }
    jw_object_end(w);
}

static void write_live(struct jw *w, struct arena *a, const struct omni_live *live, size_t n)
{
    jw_key(w, "pending");
    jw_object(w);
    write_pending(w, a, "byModel", live, n, false);
    write_pending(w, a, "byAccount", live, n, true);
    jw_object_end(w);
    jw_key(w, "activeRequests");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        jw_object(w);
        jw_kv_str(w, "model", live[i].model);
        jw_kv_str(w, "provider", live[i].provider);
        jw_kv_str(w, "account", live[i].upstream);
        jw_kv_int(w, "count", live[i].count);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void on_minute_cost(void *arg, const struct row *r)
{
    struct minutes *m = arg;
    int64_t i = row_int(r, 0) - m->first;
    if (i >= 0 && i < 10)
        m->costs[i] = (struct spent){row_int(r, 2), row_int(r, 1)};
}

/* From the lines themselves: their sums are by the hour. */
static bool read_minute_costs(struct minutes *m, struct db *db, struct err *e)
{
    char sql[300];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT each_row(at,n,nanousd) FROM (SELECT (id>>9)/60000000 AS at,count(amount) "
        "AS n,coalesce(sum(amount),0) AS nanousd FROM ledger WHERE id>=%lld GROUP BY 1)",
        (long long)(m->first * 60000000) << 9);
    return db_each_row(db, sql, on_minute_cost, m, e);
}

static bool history(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct gathered g;
    struct minutes m = {.first = clock_wall_ms() / 60000 - 9};
    struct omni_live *live;
    size_t n_live;
    if (!db)
        return false;
    gather_begin(&g, c);
    g.spans_a_day = 1;
    bool ok = usage_sum_read(c->arena, db, SPAN_DAY, 0, on_sum, &g, e) &&
              usage_sum_read(c->arena, db, SPAN_MINUTE, m.first, on_minute, &m, e) &&
              read_costs(&g, db, 0, e) && read_minute_costs(&m, db, e) &&
              omni_live_requests(c, &live, &n_live, e);
    gather_end(&g);
    if (!ok)
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_int(&w, "totalRequests", g.all.n);
    jw_kv_int(&w, "totalPromptTokens", g.all.input_total);
    jw_kv_int(&w, "totalCompletionTokens", g.all.output_total);
    write_cost(&w, "totalCost", &g.cost);
    write_map(&w, c, "byProvider", &g.by[BY_PROVIDER], BY_PROVIDER);
    write_map(&w, c, "byModel", &g.by[BY_MODEL], BY_MODEL);
    write_map(&w, c, "byAccount", &g.by[BY_MODEL_ACCOUNT], BY_MODEL_ACCOUNT);
    write_map(&w, c, "byApiKey", &g.by[BY_KEY], BY_KEY);
    jw_key(&w, "last10Minutes");
    jw_array(&w);
    for (int i = 0; i < 10; i++) {
        jw_object(&w);
        write_figures(&w, &m.v[i], &m.costs[i], false);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    write_live(&w, c->arena, live, n_live);
    jw_object_end(&w);
    return true;
}

/* clang-format off */
const struct endpoint omni_usage_endpoints[] = {
    { HTTP_GET, "/api/usage/analytics",    SURFACE_OMNIROUTE, ACCESS_VIEWER, "What was used in a range, by day, model, provider, connection and key", .on_worker = analytics, .query = &analytics_query_shape, .out = &analytics_shape },
    { HTTP_GET, "/api/usage/history",      SURFACE_OMNIROUTE, ACCESS_VIEWER, "What was used of all times, in the last ten minutes, and right now", .on_worker = history, .out = &history_shape },
    {0},
};
/* clang-format on */
