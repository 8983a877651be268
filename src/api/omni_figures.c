/* omni_figures.c - figures that a client may let begin anew: how combos fared, and what the providers' own prompt caches saved. Both are
 * sums of the request log, which nobody resets: what there was at that moment is kept aside and taken off. */
#include "api/combos.h"
#include "api/omni.h"
#include "api/omni_usage.h"
#include "base/map.h"
#include "json/shape_json.h"
#include <math.h>

#define FIGURES 4

struct tally {
    /* of a combo its name; of its member the same, a line feed and the member's */
    struct str key;
    struct str of, member; /* member empty: all of it */
    int64_t v[FIGURES];
    int64_t last, last_ok; /* seq of the newest, and of the newest that went well */
};
struct tallies {
    struct control_call *c;
    struct map by_key;
    struct tally **v;
    size_t n, cap;
};

static struct tally *tally_of(struct tallies *t, struct str key, struct str of, struct str member)
{
    struct tally *one = map_get(&t->by_key, key);
    if (one)
        return one;
    if (t->n == t->cap) {
        size_t cap = t->cap * 2 + 16;
        t->v = arena_realloc(t->c->arena, t->v, t->cap * sizeof(struct tally *),
                             cap * sizeof(struct tally *));
        t->cap = cap;
    }
    one = ARENA_NEW(t->c->arena, struct tally);
    *one = (struct tally){.key = key, .of = of, .member = member};
    map_set(&t->by_key, key, one);
    return t->v[t->n++] = one;
}

/* ---- what there was when they began anew: {"key":[…]} ---- */

static void take_off(const struct tallies *t, yyjson_val *was)
{
    for (size_t i = 0; i < t->n; i++) {
        yyjson_val *v = json_find(was, str_z(t->c->arena, t->v[i]->key), t->v[i]->key.n);
        for (size_t k = 0; k < FIGURES; k++) {
            int64_t left = t->v[i]->v[k] - json_int_or(yyjson_arr_get(v, k), 0);
            t->v[i]->v[k] = left > 0 ? left : 0; /* days leave the sums as well */
        }
    }
}

/* Those that fit begin anew; the others stay as they began. */
static bool begin_anew(struct control_call *c, const char *name, const struct tallies *t,
                       yyjson_val *was, struct str of, struct err *e)
{
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < t->n; i++) {
        const struct tally *one = t->v[i];
        yyjson_val *old = json_find(was, str_z(c->arena, one->key), one->key.n);
        bool fits = !of.n || str_eq(one->of, of);
        if (!fits && !old)
            continue;
        jw_key_str(&w, one->key);
        if (!fits) {
            jw_val(&w, old);
            continue;
        }
        jw_array(&w);
        for (size_t k = 0; k < FIGURES; k++)
            jw_int(&w, one->v[k]);
        jw_array_end(&w);
    }
    jw_object_end(&w);
    return omni_keep(c, name, buf_str(&b), e);
}

static bool gather(struct control_call *c, usage_sum_fn *f, struct tallies *t, struct err *e)
{
    struct db *db = control_db(c, e);
    *t = (struct tallies){.c = c};
    map_init(&t->by_key);
    return db && usage_sum_read(c->arena, db, SPAN_DAY, 0, f, t, e);
}

struct done_out {
    bool success;
    struct str message;
};
static const struct shape done_shape = SHAPE(struct done_out,
                                             FIELD(struct done_out, success, 0, "true"),
                                             FIELD(struct done_out, message, 0, "What was done"));

/* ---- combos ---- */

#define COMBO_BEGUN "combo_figures"
enum {
    REQUESTS,
    SUCCESSES,
    FALLBACKS,
    LATENCY_US
};

struct metrics_query {
    struct str combo;
};
struct metrics_out {
    yyjson_val *metrics;
    struct str message;
};
/* clang-format off */
static const struct shape metrics_query_shape = SHAPE(struct metrics_query,
    FIELD(struct metrics_query, combo, 0, "Only this one: name or id"));
/* By combo, or of one: what there is differs, so no more is said than that it is an object. */
static const struct shape metrics_shape = SHAPE(struct metrics_out,
    FIELD_JSON(struct metrics_out, metrics, 0, &json_of_object, NULL_EMPTY, "By combo, or of the one that was asked for: totalRequests, totalSuccesses, totalFailures, totalFallbacks (more than one attempt), avgLatencyMs, successRate, fallbackRate, byModel, …; null: it had no requests"),
    FIELD(struct metrics_out, message, OMIT_EMPTY, "Why there are none"));
/* clang-format on */

/* The combo that a name of the request log leads to now; NULL: none. */
static const struct combo *combo_behind(struct tallies *t, struct usage_kind *k)
{
    static const char none;
    if (!k->tag) {
        const struct model *m = snapshot_resolve(t->c->snap, t->c->arena, k->model);
        const struct combo *x = m && m->face == MODEL_OF_COMBO ? m->group : NULL;
        k->tag = x && !x->of ? (void *)(uintptr_t)x : (void *)(uintptr_t)&none;
    }
    return k->tag == (void *)(uintptr_t)&none ? NULL : k->tag;
}

static void count(struct tally *to, const struct usage_kind *k, const struct usage_figures *f)
{
    bool is_ok = k->status < 400 && !k->error.n;
    to->v[REQUESTS] += f->n;
    to->v[SUCCESSES] += is_ok ? f->n : 0;
    to->v[FALLBACKS] += f->retried;
    to->v[LATENCY_US] += f->duration_us;
    if (f->last > to->last)
        to->last = f->last;
    if (is_ok && f->last > to->last_ok)
        to->last_ok = f->last;
}

static void on_combo(void *arg, int64_t at, struct usage_kind *k, const struct usage_figures *f)
{
    struct tallies *t = arg;
    const struct combo *x = combo_behind(t, k);
    struct arena *a = t->c->arena;
    (void)at;
    if (!x)
        return;
    count(tally_of(t, x->name, x->name, STR_NONE), k, f);
    if (!k->upstream.n)
        return; /* it was refused before anybody was asked */
    struct str member = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(k->upstream),
                                STR_ARG(k->upstream_model.n ? k->upstream_model : k->model));
    struct str key = str_fmt(a, STR_FMT "\n" STR_FMT, STR_ARG(x->name), STR_ARG(member));
    count(tally_of(t, key, x->name, member), k, f);
}

static int64_t percent(int64_t part, int64_t of)
{
    return of ? (part * 100 + of / 2) / of : 0;
}

static void write_member(struct jw *w, struct arena *a, const struct tally *m)
{
    int64_t n = m->v[REQUESTS];
    jw_key_str(w, m->member);
    jw_object(w);
    jw_kv_int(w, "requests", n);
    jw_kv_int(w, "successes", m->v[SUCCESSES]);
    jw_kv_int(w, "failures", n - m->v[SUCCESSES]);
    jw_kv_int(w, "totalLatencyMs", m->v[LATENCY_US] / 1000);
    jw_kv_cstr(w, "lastStatus", m->last_ok == m->last ? "ok" : "error");
    jw_kv_str(w, "lastUsedAt", omni_iso(a, m->last / 1000));
    jw_kv_int(w, "avgLatencyMs", m->v[LATENCY_US] / n / 1000);
    jw_kv_int(w, "successRate", percent(m->v[SUCCESSES], n));
    jw_object_end(w);
}

static void write_combo(struct jw *w, const struct tallies *t, const struct tally *one)
{
    struct arena *a = t->c->arena;
    const struct combo *x = combo_called(t->c->snap, one->of);
    int64_t n = one->v[REQUESTS], ok = one->v[SUCCESSES], latency = one->v[LATENCY_US];
    jw_object(w);
    jw_kv_int(w, "totalRequests", n);
    jw_kv_int(w, "totalSuccesses", ok);
    jw_kv_int(w, "totalFailures", n - ok);
    jw_kv_int(w, "totalFallbacks", one->v[FALLBACKS]);
    jw_kv_int(w, "totalLatencyMs", latency / 1000);
    jw_kv_cstr(w, "strategy", word_text(strategy_words, x ? (int)x->strategy : 0, "priority"));
    jw_kv_str(w, "lastUsedAt", omni_iso(a, one->last / 1000));
    jw_key(w, "intentCounts");
    jw_object(w);
    jw_object_end(w);
    jw_kv_int(w, "avgLatencyMs", latency / n / 1000);
    jw_kv_int(w, "successRate", percent(ok, n));
    jw_kv_int(w, "fallbackRate", percent(one->v[FALLBACKS], n));
    jw_key(w, "byModel");
    jw_object(w);
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i]->member.n && str_eq(t->v[i]->of, one->of) && t->v[i]->v[REQUESTS])
            write_member(w, a, t->v[i]);
    jw_object_end(w);
    jw_object_end(w);
}

/* The name of the one that is asked for; STR_NONE: all. */
static struct str asked_combo(const struct control_call *c)
{
    const struct metrics_query *q = c->asked;
    const struct combo *x = q->combo.n ? combo_called(c->snap, q->combo) : NULL;
    return x ? x->name : q->combo;
}

static bool combo_metrics(struct control_call *c, struct err *e)
{
    struct str only = asked_combo(c);
    struct tallies t = {.n = 0};
    yyjson_val *was;
    bool ok = omni_kept(c, COMBO_BEGUN, &was, e) && gather(c, on_combo, &t, e);
    map_done(&t.by_key);
    if (!ok)
        return false;
    take_off(&t, was);
    struct jw w = jw_on(&c->out);
    bool is_any = false;
    jw_object(&w);
    jw_key(&w, "metrics");
    if (!only.n)
        jw_object(&w);
    for (size_t i = 0; i < t.n; i++) {
        const struct tally *one = t.v[i];
        if (one->member.n || !one->v[REQUESTS] || (only.n && !str_eq(one->of, only)))
            continue;
        if (!only.n)
            jw_key_str(&w, one->of);
        write_combo(&w, &t, one);
        is_any = true;
    }
    if (!only.n)
        jw_object_end(&w);
    else if (!is_any)
        jw_null(&w);
    if (only.n && !is_any)
        jw_kv_cstr(&w, "message", "No requests have gone to this combo yet");
    jw_object_end(&w);
    return true;
}

static bool reset(struct control_call *c, const char *name, usage_sum_fn *f, struct str only,
                  const char *kind, struct err *e)
{
    struct tallies t = {.n = 0};
    struct done_out out = {true, STR("They begin anew; the request log stays")};
    yyjson_val *was;
    if (!omni_kept(c, name, &was, e))
        return false;
    if (!usage_log_sync(c->control->usage, 5000)) /* what still waits would count as later */
        return err_set(e, ERR_OVERLOADED, "store_busy",
                       "The store takes no writes at the moment: try again");
    bool ok = gather(c, f, &t, e) && begin_anew(c, name, &t, was, only, e);
    map_done(&t.by_key);
    if (!ok)
        return false;
    control_audit(c, kind, only.n ? only : STR("*"), STR_NONE, STR_NONE);
    return control_reply(c, 200, &done_shape, &out);
}

static bool reset_combos(struct control_call *c, struct err *e)
{
    return reset(c, COMBO_BEGUN, on_combo, asked_combo(c), "combo_metrics", e);
}

/* ---- providers: these never begin anew ---- */

struct provider_metrics_out {
    yyjson_val *metrics;
};
/* clang-format off */
static const struct shape provider_fared_shape = MEMBERS("provider_fared",
    MEMBER("totalRequests",  SHAPE_INT64, 0, "Requests"),
    MEMBER("totalSuccesses", SHAPE_INT64, 0, "Those that were answered well"),
    MEMBER("successRate",    SHAPE_INT64, 0, "Percent"),
    MEMBER("avgLatencyMs",   SHAPE_INT64, 0, "Milliseconds that one took"));
static const struct shape provider_metrics_shape = SHAPE(struct provider_metrics_out,
    FIELD_JSON(struct provider_metrics_out, metrics, JSON_MAP, &provider_fared_shape, 0, "By provider"));
/* clang-format on */

static void on_provider(void *arg, int64_t at, struct usage_kind *k, const struct usage_figures *f)
{
    struct tallies *t = arg;
    struct str name = omni_provider(t->c->snap, k->upstream);
    (void)at;
    if (!name.n)
        return;
    struct tally *one = tally_of(t, name, name, STR_NONE);
    one->v[REQUESTS] += f->n;
    one->v[SUCCESSES] += k->status < 400 ? f->n : 0;
    one->v[LATENCY_US] += f->duration_us;
}

static bool provider_metrics(struct control_call *c, struct err *e)
{
    struct tallies t = {.n = 0};
    bool ok = gather(c, on_provider, &t, e);
    map_done(&t.by_key);
    if (!ok)
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "metrics");
    jw_object(&w);
    for (size_t i = 0; i < t.n; i++) {
        const int64_t *v = t.v[i]->v;
        jw_key_str(&w, t.v[i]->of);
        jw_object(&w);
        jw_kv_int(&w, "totalRequests", v[REQUESTS]);
        jw_kv_int(&w, "totalSuccesses", v[SUCCESSES]);
        jw_kv_int(&w, "successRate", v[REQUESTS] ? v[SUCCESSES] * 100 / v[REQUESTS] : 0);
        jw_kv_int(&w, "avgLatencyMs", v[REQUESTS] ? v[LATENCY_US] / v[REQUESTS] / 1000 : 0);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    return true;
}

/* ---- the providers' own prompt caches ---- */

#define CACHE_BEGUN "prompt_cache_figures"
enum {
    CALLS,
    INPUT,
    READ,
    WRITTEN
};

struct prompt_cache_out {
    int64_t totalRequests, totalInputTokens, totalCachedTokens, totalCacheCreationTokens;
    double cacheHitRatePct;
    yyjson_val *byProvider;
};
/* clang-format off */
static const struct shape prompt_cached_shape = MEMBERS("prompt_cached",
    MEMBER("requests",            SHAPE_INT64, 0, "Requests"),
    MEMBER("inputTokens",         SHAPE_INT64, 0, "Their input tokens"),
    MEMBER("cachedTokens",        SHAPE_INT64, 0, "Of these read from its cache"),
    MEMBER("cacheCreationTokens", SHAPE_INT64, 0, "Of these written to it"));
/* clang-format on */
static const struct shape prompt_cache_shape = SHAPE(
    struct prompt_cache_out,
    FIELD(struct prompt_cache_out, totalRequests, 0, "Requests since they began"),
    FIELD(struct prompt_cache_out, totalInputTokens, 0, "Their input tokens"),
    FIELD(struct prompt_cache_out, totalCachedTokens, 0, "Of these read from providers' caches"),
    FIELD(struct prompt_cache_out, totalCacheCreationTokens, 0, "Of these written to them"),
    FIELD(struct prompt_cache_out, cacheHitRatePct, 0, "Share of input tokens that were read"),
    FIELD_JSON(struct prompt_cache_out, byProvider, JSON_MAP, &prompt_cached_shape, 0,
               "The same by provider"));

static void on_cached(void *arg, int64_t at, struct usage_kind *k, const struct usage_figures *f)
{
    struct tallies *t = arg;
    struct str name = omni_provider(t->c->snap, k->upstream);
    struct tally *to[] = {tally_of(t, STR("*"), STR_NONE, STR_NONE),
                          name.n ? tally_of(t, name, name, STR_NONE) : NULL};
    (void)at;
    for (size_t i = 0; i < ARRAY_LEN(to) && to[i]; i++) {
        to[i]->v[CALLS] += f->n;
        to[i]->v[INPUT] += f->input_total;
        to[i]->v[READ] += f->cache_read;
        to[i]->v[WRITTEN] += f->cache_write;
    }
}

static bool prompt_cache(struct control_call *c, struct err *e)
{
    struct tallies t = {.n = 0};
    yyjson_val *was;
    if (!omni_kept(c, CACHE_BEGUN, &was, e) || !gather(c, on_cached, &t, e)) {
        map_done(&t.by_key);
        return false;
    }
    const struct tally *all = tally_of(&t, STR("*"), STR_NONE, STR_NONE);
    map_done(&t.by_key);
    take_off(&t, was);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_int(&w, "totalRequests", all->v[CALLS]);
    jw_kv_int(&w, "totalInputTokens", all->v[INPUT]);
    jw_kv_int(&w, "totalCachedTokens", all->v[READ]);
    jw_kv_int(&w, "totalCacheCreationTokens", all->v[WRITTEN]);
    JW(&w, "cacheHitRatePct", double,
       all->v[INPUT] ? round((double)all->v[READ] * 1000 / (double)all->v[INPUT]) / 10 : 0);
    jw_key(&w, "byProvider");
    jw_object(&w);
    for (size_t i = 0; i < t.n; i++) {
        const struct tally *one = t.v[i];
        if (!one->of.n || !one->v[CALLS])
            continue;
        jw_key_str(&w, one->of);
        jw_object(&w);
        jw_kv_int(&w, "requests", one->v[CALLS]);
        jw_kv_int(&w, "inputTokens", one->v[INPUT]);
        jw_kv_int(&w, "cachedTokens", one->v[READ]);
        jw_kv_int(&w, "cacheCreationTokens", one->v[WRITTEN]);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    return true;
}

static bool reset_cache(struct control_call *c, struct err *e)
{
    return reset(c, CACHE_BEGUN, on_cached, STR_NONE, "cache_metrics", e);
}

/* clang-format off */
const struct endpoint omni_figure_endpoints[] = {
    { HTTP_GET,    "/api/combos/metrics",         SURFACE_OMNIROUTE, ACCESS_VIEWER, "How combos and their members fared", .on_worker = combo_metrics, .query = &metrics_query_shape, .out = &metrics_shape },
    { HTTP_DELETE, "/api/combos/metrics",         SURFACE_OMNIROUTE, ACCESS_ADMIN, "Let these figures begin anew, of one combo or of all; the request log stays", .on_worker = reset_combos, .query = &metrics_query_shape, .out = &done_shape },
    { HTTP_GET,    "/api/provider-metrics",       SURFACE_OMNIROUTE, ACCESS_VIEWER, "Requests, successes and latency by provider", .on_worker = provider_metrics, .out = &provider_metrics_shape },
    { HTTP_GET,    "/api/settings/cache-metrics", SURFACE_OMNIROUTE, ACCESS_VIEWER, "What the providers' own prompt caches saved", .on_worker = prompt_cache, .out = &prompt_cache_shape },
    { HTTP_DELETE, "/api/settings/cache-metrics", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Let these figures begin anew; the request log stays", .on_worker = reset_cache, .out = &done_shape },
    {0},
};
/* clang-format on */
