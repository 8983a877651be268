/* omni_system.c - how it goes, as OmniRoute's pages ask: health, latency, the cache, and who changed what. */
#include "api/cache.h"
#include "api/document.h"
#include "api/metrics.h"
#include "api/omni_usage.h"
#include "base/clock.h"
#include "domain/audit.h"
#include "relay/replies.h"
#include "route/live.h"
#include "version.h"
#include "json/shape_json.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- telemetry ---- */

#define TELEMETRY_REQUESTS 1000

struct telemetry_query {
    int64_t windowMs;
};
struct telemetry_out {
    int64_t count;
    double p50, p95, p99;
    yyjson_val *phaseBreakdown;
};
static const struct shape telemetry_query_shape = SHAPE(
    struct telemetry_query, FIELD_RANGE(struct telemetry_query, windowMs, 1, 86400000, 0,
                                        "How far back; 300000 when absent"));
/* clang-format off */
static const struct shape phase_shape = MEMBERS("phase",
    MEMBER("count", SHAPE_INT64,  0, "Requests that came so far"),
    MEMBER("p50",   SHAPE_DOUBLE, 0, "Half of them took at most so many milliseconds"),
    MEMBER("p95",   SHAPE_DOUBLE, 0, "95 of 100"),
    MEMBER("avg",   SHAPE_DOUBLE, 0, "Mean"));
/* clang-format on */
static const struct shape telemetry_shape = SHAPE(
    struct telemetry_out,
    FIELD(struct telemetry_out, count, 0, "Requests looked at: the newest 1000 of the window"),
    FIELD(struct telemetry_out, p50, 0, "Half of them took at most so many milliseconds"),
    FIELD(struct telemetry_out, p95, 0, "95 of 100"),
    FIELD(struct telemetry_out, p99, 0, "99 of 100"),
    FIELD_JSON(struct telemetry_out, phaseBreakdown, JSON_MAP, &phase_shape, 0,
               "connect: until the first byte of the answer; stream: from there to its end"));

struct phase {
    double *ms;
    size_t n;
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest value that so many of a hundred do not exceed. */
static double percentile(const struct phase *p, int of_100)
{
    if (p->n == 0)
        return 0;
    size_t at = (p->n * (size_t)of_100 + 99) / 100;
    return p->ms[at > 0 ? at - 1 : 0];
}

static void write_phase(struct jw *w, const char *name, struct phase *p)
{
    double sum = 0;
    if (p->n == 0)
        return;
    qsort(p->ms, p->n, sizeof *p->ms, ascending);
    for (size_t i = 0; i < p->n; i++)
        sum += p->ms[i];
    jw_key(w, name);
    jw_object(w);
    jw_kv_int(w, "count", (int64_t)p->n);
    JW(w, "p50", double, percentile(p, 50));
    JW(w, "p95", double, percentile(p, 95));
    JW(w, "avg", double, round(sum / (double)p->n * 1000) / 1000);
    jw_object_end(w);
}

static bool telemetry(struct control_call *c, struct err *e)
{
    const struct telemetry_query *q = c->asked;
    struct usage_filter f = {.from_ms = clock_wall_ms() - (q->windowMs ? q->windowMs : 300000)};
    struct db *db = control_db(c, e);
    struct usage_reader *r = db ? usage_reader_new(c->arena, db, &f, e) : NULL;
    int64_t ids[TELEMETRY_REQUESTS];
    size_t n = 0;
    struct phase all = {ARENA_ARRAY(c->arena, double, TELEMETRY_REQUESTS), 0}, connect = all,
                 flow = all;
    connect.ms = ARENA_ARRAY(c->arena, double, TELEMETRY_REQUESTS);
    flow.ms = ARENA_ARRAY(c->arena, double, TELEMETRY_REQUESTS);
    bool ok = r && usage_read_ids(r, 0, 0, ids, TELEMETRY_REQUESTS, &n, e);
    for (size_t i = 0; ok && i < n; i++) {
        struct usage_row row;
        ok = usage_read_row(r, ids[i], &row, e);
        if (!ok)
            break;
        all.ms[all.n++] = (double)row.duration_us / 1000;
        if (row.ttft_us < 0)
            continue;
        connect.ms[connect.n++] = (double)row.ttft_us / 1000;
        if (row.is_stream)
            flow.ms[flow.n++] = (double)(row.duration_us - row.ttft_us) / 1000;
    }
    usage_reader_free(r);
    if (!ok)
        return false;
    struct jw w = jw_on(&c->out);
    qsort(all.ms, all.n, sizeof *all.ms, ascending);
    jw_object(&w);
    jw_kv_int(&w, "count", (int64_t)all.n);
    JW(&w, "p50", double, percentile(&all, 50));
    JW(&w, "p95", double, percentile(&all, 95));
    JW(&w, "p99", double, percentile(&all, 99));
    jw_key(&w, "phaseBreakdown");
    jw_object(&w);
    write_phase(&w, "connect", &connect);
    write_phase(&w, "stream", &flow);
    jw_object_end(&w);
    jw_object_end(&w);
    return true;
}

/* ---- tokens of OAuth ---- */

struct token_health_out {
    int64_t total, healthy, errored, warning;
    struct str lastCheckAt, status;
};
static const struct shape token_health_shape = SHAPE(
    struct token_health_out,
    FIELD(struct token_health_out, total, 0, "Connections that hold a refresh token"),
    FIELD(struct token_health_out, healthy, 0, "Of these in order"),
    FIELD(struct token_health_out, errored, 0, "Of these unusable"),
    FIELD(struct token_health_out, warning, 0, "Of these doubtful"),
    FIELD(struct token_health_out, lastCheckAt, NULL_EMPTY,
          "When they were looked at; null: never"),
    FIELD(struct token_health_out, status, 0, "healthy, warning or error"));

/* All connections hold API keys: none has a token that could end. */
static bool token_health(struct control_call *c, struct err *e)
{
    struct token_health_out out = {.status = STR("healthy")};
    (void)e;
    return control_reply(c, 200, &token_health_shape, &out);
}

/* ---- health ---- */

struct health_out {
    struct str status, timestamp, version;
    yyjson_val *system, *providerHealth, *providerSummary, *localProviders, *rateLimitStatus,
        *lockouts, *dedup;
    bool setupComplete;
};
/* clang-format off */
static const struct shape memory_shape = MEMBERS("memory",
    MEMBER("rss",          SHAPE_INT64, 0, "Memory of the process, in bytes"),
    MEMBER("heapTotal",    SHAPE_INT64, 0, "Of bodies that are being served"),
    MEMBER("heapUsed",     SHAPE_INT64, 0, "The same"),
    MEMBER("external",     SHAPE_INT64, 0, "0"),
    MEMBER("arrayBuffers", SHAPE_INT64, 0, "0"));
static const struct shape process_shape = MEMBERS("process",
    MEMBER("version",     SHAPE_STR,   0, "Version of sluice"),
    MEMBER("nodeVersion", SHAPE_STR,   NULL_EMPTY, "null: it is no Node.js"),
    MEMBER("uptime",      SHAPE_INT64, 0, "Seconds"),
    {.name = "memoryUsage", .kind = SHAPE_JSON, .doc = "Memory", .shape = &memory_shape},
    MEMBER("pid",         SHAPE_INT64, 0, "Of the process"),
    MEMBER("platform",    SHAPE_STR,   0, "linux"));
static const struct shape provider_state_shape = MEMBERS("provider_state",
    MEMBER("state",       SHAPE_STR,   0, "OPEN while it is left alone, else CLOSED"),
    MEMBER("failures",    SHAPE_INT64, 0, "Since the start"),
    MEMBER("lastFailure", SHAPE_STR,   NULL_EMPTY, "Not kept"));
static const struct shape provider_sum_shape = MEMBERS("provider_sum",
    MEMBER("catalogCount",    SHAPE_INT64, 0, "Kinds that are known"),
    MEMBER("configuredCount", SHAPE_INT64, 0, "Connections"),
    MEMBER("activeCount",     SHAPE_INT64, 0, "Those that are enabled"),
    MEMBER("monitoredCount",  SHAPE_INT64, 0, "Those that were asked"));
static const struct shape local_shape = MEMBERS("local", MEMBER("available", SHAPE_BOOL, 0, "Whether it may be asked now"));
static const struct shape traffic_shape = MEMBERS("traffic",
    MEMBER("queued",    SHAPE_INT64, 0, "Requests that wait"),
    MEMBER("running",   SHAPE_INT64, 0, "Requests that run"),
    MEMBER("executing", SHAPE_INT64, 0, "The same"));
static const struct shape locked_shape = MEMBERS("locked",
    MEMBER("provider",     SHAPE_STR,   0, "Its provider"),
    MEMBER("connectionId", SHAPE_STR,   0, "The connection"),
    MEMBER("remainingMs",  SHAPE_INT64, 0, "For how long"));
static const struct shape dedup_shape = MEMBERS("dedup", MEMBER("inflightRequests", SHAPE_INT64, 0, "Requests that others may wait for"));
static const struct shape health_shape = SHAPE(struct health_out,
    FIELD(struct health_out, status, 0, "healthy, or degraded while the store takes no writes or the configuration file is at fault"),
    FIELD(struct health_out, timestamp, 0, "Now"),
    FIELD(struct health_out, version, 0, "Which sluice this is"),
    FIELD_JSON(struct health_out, system, 0, &process_shape, OMIT_EMPTY, "The process: version, uptime in seconds, memory, pid. This and what follows only for those who may administer"),
    FIELD_JSON(struct health_out, providerHealth, JSON_MAP, &provider_state_shape, OMIT_EMPTY, "By connection: state (OPEN while it is left alone), failures since the start"),
    FIELD_JSON(struct health_out, providerSummary, 0, &provider_sum_shape, OMIT_EMPTY, "How many kinds are known, and connections configured, enabled and watched"),
    FIELD_JSON(struct health_out, localProviders, JSON_MAP, &local_shape, OMIT_EMPTY, "Those on this machine or network: whether they may be asked now"),
    FIELD_JSON(struct health_out, rateLimitStatus, JSON_MAP, &traffic_shape, OMIT_EMPTY, "Requests waiting and running by connection"),
    FIELD_JSON(struct health_out, lockouts, JSON_LIST, &locked_shape, OMIT_EMPTY, "Connections that are left alone, and for how long"),
    FIELD_JSON(struct health_out, dedup, 0, &dedup_shape, OMIT_EMPTY, "Requests that others may wait for"),
    FIELD(struct health_out, setupComplete, OMIT_EMPTY, "Whether somebody can sign in"));
/* clang-format on */

static uint64_t cooling_ms(struct control_call *c, const struct upstream *u)
{
    return live_cooling_ms(relay_live_state(c->control->shared), u, clock_mono_ms());
}

static void write_process(struct jw *w, struct control_call *c)
{
    struct metrics_gauges g = {.version = sluice_version};
    metrics_read_process(&g);
    jw_key(w, "system");
    jw_object(w);
    jw_kv_cstr(w, "version", sluice_version);
    jw_kv_null(w, "nodeVersion"); /* it is no Node.js */
    jw_kv_int(w, "uptime", control_uptime_ms(c->control) / 1000);
    jw_key(w, "memoryUsage");
    jw_object(w);
    jw_kv_int(w, "rss", (int64_t)g.rss_bytes);
    jw_kv_int(w, "heapTotal", relay_body_bytes(c->control->shared));
    jw_kv_int(w, "heapUsed", relay_body_bytes(c->control->shared));
    jw_kv_int(w, "external", 0);
    jw_kv_int(w, "arrayBuffers", 0);
    jw_object_end(w);
    jw_kv_int(w, "pid", getpid());
    jw_kv_cstr(w, "platform", "linux");
    jw_object_end(w);
}

static void write_providers(struct jw *w, struct control_call *c, const struct omni_live *live,
                            size_t n_live)
{
    const struct snapshot *s = c->snap;
    struct metrics_sum *m = metrics_read(c->control->metrics, c->arena);
    int64_t kinds = 0, enabled = 0, watched = 0;
    while (provider_kind_at((size_t)kinds))
        kinds++;
    jw_key(w, "providerHealth");
    jw_object(w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        uint64_t failures = 0;
        for (size_t k = 0; k < m->n_attempts; k++)
            for (size_t f = 0; f < METRICS_MAX_FAULTS && str_eq(m->attempts[k].upstream, u->name);
                 f++)
                failures += m->attempts[k].by_fault[f];
        enabled += u->is_enabled;
        watched++;
        jw_key_str(w, u->name);
        jw_object(w);
        jw_kv_cstr(w, "state", cooling_ms(c, u) ? "OPEN" : "CLOSED");
        jw_kv_int(w, "failures", (int64_t)failures);
        jw_kv_null(w, "lastFailure");
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_key(w, "providerSummary");
    jw_object(w);
    jw_kv_int(w, "catalogCount", kinds);
    jw_kv_int(w, "configuredCount", (int64_t)s->n_upstreams);
    jw_kv_int(w, "activeCount", enabled);
    jw_kv_int(w, "monitoredCount", watched);
    jw_object_end(w);
    jw_key(w, "localProviders");
    jw_object(w);
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (s->upstreams[i]->kind->is_local) {
            jw_key_str(w, s->upstreams[i]->name);
            jw_object(w);
            jw_kv_bool(w, "available",
                       s->upstreams[i]->is_enabled && !cooling_ms(c, s->upstreams[i]));
            jw_object_end(w);
        }
    jw_object_end(w);
    jw_key(w, "rateLimitStatus");
    jw_object(w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        int64_t running = 0;
        for (size_t k = 0; k < n_live; k++)
            running += str_eq(live[k].upstream, s->upstreams[i]->name) ? live[k].count : 0;
        if (running == 0)
            continue;
        jw_key_str(w, str_fmt(c->arena, "%s:" STR_FMT, s->upstreams[i]->kind->id,
                              STR_ARG(s->upstreams[i]->name)));
        jw_object(w);
        jw_kv_int(w, "queued", 0);
        jw_kv_int(w, "running", running);
        jw_kv_int(w, "executing", running);
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_key(w, "lockouts");
    jw_array(w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        uint64_t left = cooling_ms(c, s->upstreams[i]);
        if (left == 0)
            continue;
        jw_object(w);
        jw_kv_cstr(w, "provider", s->upstreams[i]->kind->id);
        jw_kv_str(w, "connectionId", s->upstreams[i]->name);
        jw_kv_int(w, "remainingMs", (int64_t)left);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static bool health(struct control_call *c, struct err *e)
{
    bool is_degraded = usage_log_is_degraded(c->control->usage, clock_mono_ms()) ||
                       atomic_load(&c->control->fault->is_set);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_cstr(&w, "status", is_degraded ? "degraded" : "healthy");
    jw_kv_str(&w, "timestamp", omni_iso(c->arena, clock_wall_ms()));
    jw_kv_cstr(&w, "version", sluice_version);
    if (principal_may(&c->who, ACCESS_VIEWER)) {
        struct replies_stats cache[REPLIES_LAYERS];
        struct omni_live *live;
        size_t n;
        if (!omni_live_requests(c, &live, &n, e))
            return false;
        replies_read_stats(relay_replies(c->control->shared), cache);
        write_process(&w, c);
        write_providers(&w, c, live, n);
        jw_key(&w, "dedup");
        jw_object(&w);
        jw_kv_int(&w, "inflightRequests", (int64_t)cache[REPLIES_EXACT].running);
        jw_object_end(&w);
        jw_kv_bool(&w, "setupComplete", identity_is_configured(c->control->identity));
    }
    jw_object_end(&w);
    return true;
}

/* ---- the cache ---- */

struct semantic_out {
    int64_t memoryEntries, dbEntries, hits, misses;
    struct str hitRate;
    int64_t tokensSaved;
};
struct idempotency_out {
    int64_t activeKeys, windowMs;
};
struct cache_out {
    struct semantic_out semanticCache;
    struct idempotency_out idempotency;
};
struct cache_query {
    struct str model, signature, staleMs;
};
struct forgotten_out {
    bool ok;
    int64_t expiredRemoved, invalidated;
    struct str scope, model;
    int64_t maxAgeMs;
};
struct stats_out {
    int64_t size, maxSize, bytes, maxBytes, hits, misses, evictions;
    double hitRate;
    yyjson_val *layers;
};
struct done_out {
    bool success;
    struct str message;
};
/* clang-format off */
static const struct shape semantic_shape = SHAPE(struct semantic_out,
    FIELD(struct semantic_out, memoryEntries, 0, "Answers kept"),
    FIELD(struct semantic_out, dbEntries, 0, "Answers kept in the store: none, they are in memory"),
    FIELD(struct semantic_out, hits, 0, "Requests answered from it"),
    FIELD(struct semantic_out, misses, 0, "Requests that had to be answered"),
    FIELD(struct semantic_out, hitRate, 0, "Percent"),
    FIELD(struct semantic_out, tokensSaved, 0, "Tokens that no provider had to read or write"));
static const struct shape idempotency_shape = SHAPE(struct idempotency_out,
    FIELD(struct idempotency_out, activeKeys, 0, "Idempotency keys whose answer is kept"),
    FIELD(struct idempotency_out, windowMs, 0, "For how long"));
static const struct shape cache_shape = SHAPE(struct cache_out,
    FIELD_OBJECT(struct cache_out, semanticCache, &semantic_shape, 0, "Answers to equal requests"),
    FIELD_OBJECT(struct cache_out, idempotency, &idempotency_shape, 0, "Answers to requests that were sent again"));
static const struct shape cache_query_shape = SHAPE(struct cache_query,
    FIELD(struct cache_query, model, 0, "Forget the answers of this model"),
    FIELD(struct cache_query, signature, 0, "… this one answer"),
    FIELD(struct cache_query, staleMs, 0, "… those of at least this age"));
static const struct shape forgotten_shape = SHAPE(struct forgotten_out,
    FIELD(struct forgotten_out, ok, 0, "true"),
    FIELD(struct forgotten_out, scope, 0, "all (those whose time is over), model, signature or stale"),
    FIELD(struct forgotten_out, expiredRemoved, OMIT_EMPTY, "How many went, of scope all; absent: none"),
    FIELD(struct forgotten_out, invalidated, OMIT_EMPTY, "How many went, of the others; absent: none"),
    FIELD(struct forgotten_out, model, OMIT_EMPTY, "The model"),
    FIELD(struct forgotten_out, maxAgeMs, OMIT_EMPTY, "The age"));
static const struct shape layer_shape = MEMBERS("layer",
    MEMBER("size",      SHAPE_INT64,  0, "Answers that are kept"),
    MEMBER("bytes",     SHAPE_INT64,  0, "Their size"),
    MEMBER("hits",      SHAPE_INT64,  0, "Requests that got one"),
    MEMBER("misses",    SHAPE_INT64,  0, "Requests that did not"),
    MEMBER("evictions", SHAPE_INT64,  0, "Answers that made room"),
    MEMBER("hitRate",   SHAPE_DOUBLE, 0, "Percent"));
static const struct shape stats_shape = SHAPE(struct stats_out,
    FIELD(struct stats_out, size, 0, "Answers kept"),
    FIELD(struct stats_out, maxSize, 0, "At most"),
    FIELD(struct stats_out, bytes, 0, "Memory that they take"),
    FIELD(struct stats_out, maxBytes, 0, "At most"),
    FIELD(struct stats_out, hits, 0, "Requests answered from them"),
    FIELD(struct stats_out, misses, 0, "Requests that had to be answered"),
    FIELD(struct stats_out, evictions, 0, "Answers that made room before their time"),
    FIELD(struct stats_out, hitRate, 0, "Percent"),
    FIELD_JSON(struct stats_out, layers, JSON_MAP, &layer_shape, 0, "The same of each layer"));
static const struct shape done_shape = SHAPE(struct done_out,
    FIELD(struct done_out, success, 0, "true"),
    FIELD(struct done_out, message, 0, "What was done"));
/* clang-format on */

static double hit_rate(const struct replies_stats *s)
{
    uint64_t asked = s->hits + s->joined + s->misses;
    return asked ? round((double)(s->hits + s->joined) * 1000 / (double)asked) / 10 : 0;
}

static bool cache(struct control_call *c, struct err *e)
{
    struct replies_stats s[REPLIES_LAYERS];
    const struct replies_stats *x = &s[REPLIES_EXACT];
    (void)e;
    replies_read_stats(relay_replies(c->control->shared), s);
    struct cache_out out = {.semanticCache = {.memoryEntries = (int64_t)x->entries,
                                              .hits = (int64_t)(x->hits + x->joined),
                                              .misses = (int64_t)x->misses,
                                              .hitRate = str_fmt(c->arena, "%.1f", hit_rate(x)),
                                              .tokensSaved = (int64_t)x->tokens_saved},
                            .idempotency = {(int64_t)s[REPLIES_IDEMPOTENT].entries,
                                            c->snap->settings.idempotency_window_ms}};
    return control_reply(c, 200, &cache_shape, &out);
}

static bool cache_forget(struct control_call *c, struct err *e)
{
    const struct cache_query *q = c->asked;
    struct replies_drop what = {.model = q->model};
    struct forgotten_out out = {.ok = true, .scope = STR("all"), .model = q->model};
    uint8_t id[SHA256_SIZE];
    if ((q->model.n > 0) + (q->signature.n > 0) + (q->staleMs.n > 0) > 1)
        return err_set(e, ERR_INPUT, "one_of", "Give one of model, signature and staleMs");
    if (q->staleMs.n) {
        if (!str_to_int(q->staleMs, &out.maxAgeMs) || out.maxAgeMs < 1)
            return err_set(e, ERR_INPUT, "bad_age", "staleMs must be a positive number");
        what.before_ms = clock_wall_ms() - out.maxAgeMs;
        out.scope = STR("stale");
    } else if (q->signature.n) {
        if (q->signature.n != 2 * SHA256_SIZE || !hex_decode(id, q->signature))
            return err_set(e, ERR_INPUT, "bad_signature",
                           "signature must have 64 hexadecimal digits");
        what.id = id;
        out.scope = STR("signature");
    } else if (q->model.n) {
        out.scope = STR("model");
    }
    what.is_expired = str_is(out.scope, "all");
    int64_t n = (int64_t)replies_forget(relay_replies(c->control->shared), &what, clock_mono_ms());
    *(what.is_expired ? &out.expiredRemoved : &out.invalidated) = n;
    control_audit(c, "cache", q->model.n ? q->model : out.scope,
                  str_fmt(c->arena, "{\"answers\":%lld}", (long long)n), STR_NONE);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_bool(&w, "ok", true);
    jw_kv_int(&w, what.is_expired ? "expiredRemoved" : "invalidated", n);
    jw_kv_str(&w, "scope", out.scope);
    if (q->model.n)
        jw_kv_str(&w, "model", q->model);
    if (q->staleMs.n)
        jw_kv_int(&w, "maxAgeMs", out.maxAgeMs);
    jw_object_end(&w);
    return true;
}

static bool cache_stats(struct control_call *c, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    struct replies_stats s[REPLIES_LAYERS], all = {0};
    (void)e;
    replies_read_stats(relay_replies(c->control->shared), s);
    for (size_t i = 0; i < REPLIES_LAYERS; i++) {
        all.entries += s[i].entries;
        all.bytes += s[i].bytes;
        all.hits += s[i].hits;
        all.joined += s[i].joined;
        all.misses += s[i].misses;
        all.evicted += s[i].evicted;
    }
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_int(&w, "size", (int64_t)all.entries);
    jw_kv_int(&w, "maxSize", set->response_cache_max_entries);
    jw_kv_int(&w, "bytes", (int64_t)all.bytes);
    jw_kv_int(&w, "maxBytes", set->response_cache_max_bytes);
    jw_kv_int(&w, "hits", (int64_t)(all.hits + all.joined));
    jw_kv_int(&w, "misses", (int64_t)all.misses);
    jw_kv_int(&w, "evictions", (int64_t)all.evicted);
    JW(&w, "hitRate", double, hit_rate(&all));
    jw_key(&w, "layers");
    jw_object(&w);
    for (size_t i = 0; i < REPLIES_LAYERS; i++) {
        jw_key_str(&w, str_of(replies_layer_name((enum replies_layer)i)));
        jw_object(&w);
        jw_kv_int(&w, "size", (int64_t)s[i].entries);
        jw_kv_int(&w, "bytes", (int64_t)s[i].bytes);
        jw_kv_int(&w, "hits", (int64_t)(s[i].hits + s[i].joined));
        jw_kv_int(&w, "misses", (int64_t)s[i].misses);
        jw_kv_int(&w, "evictions", (int64_t)s[i].evicted);
        JW(&w, "hitRate", double, hit_rate(&s[i]));
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    return true;
}

static bool cache_stats_reset(struct control_call *c, struct err *e)
{
    struct done_out out = {true, STR("The figures of the cache begin anew")};
    (void)e;
    cache_reset_figures(c);
    return control_reply(c, 200, &done_shape, &out);
}

/* ---- who changed what ---- */

struct audit_query {
    struct str action, actor;
    int64_t limit, offset;
};
struct audit_out {
    int64_t id;
    struct str timestamp, action, actor, target;
    yyjson_val *details;
    struct str ip_address;
};
static const struct shape audit_query_shape = SHAPE(
    struct audit_query,
    FIELD(struct audit_query, action, 0, "provider.create, auth.login.failure, …"),
    FIELD(struct audit_query, actor, 0, "Name of the operator, label of the key"),
    FIELD_RANGE(struct audit_query, limit, 1, 1000, 0, "Most rows in the answer; 100 when absent"),
    FIELD(struct audit_query, offset, NOT_NEGATIVE, "How many to leave out"));
static const struct shape audit_shape = SHAPE(
    struct audit_out, FIELD(struct audit_out, id, 0, "Number in the chain"),
    FIELD(struct audit_out, timestamp, 0, "When, UTC"),
    FIELD(struct audit_out, action, 0, "What was done"),
    FIELD(struct audit_out, actor, 0, "Who did it"),
    FIELD(struct audit_out, target, NULL_EMPTY, "To what"),
    FIELD_JSON(struct audit_out, details, 0, &json_of_object, NULL_EMPTY,
               "Outcome, and what it was and became, without secrets"),
    FIELD(struct audit_out, ip_address, NULL_EMPTY, "From where"));

/* OmniRoute's names for what the chain records by kind and method. */
static struct str action_of(struct arena *a, const struct audit_row *r)
{
    bool ok = str_is(r->outcome, "ok");
    if (str_is(r->kind, "sign_in"))
        return ok ? STR("auth.login.success") : STR("auth.login.failure");
    if (str_is(r->kind, "sign_out"))
        return STR("auth.logout");
    if (str_is(r->kind, "setting"))
        return STR("settings.update");
    if (str_is(r->kind, "backup") && r->before.n && str_is(r->method, "POST"))
        return STR("backup.restore");
    struct str verb = str_is(r->method, "DELETE")                     ? STR("delete")
                      : str_is(r->method, "GET")                      ? STR("read")
                      : r->before.n == 0 && str_is(r->method, "POST") ? STR("create")
                                                                      : STR("update");
    return str_fmt(a, STR_FMT "." STR_FMT, STR_ARG(r->kind), STR_ARG(verb));
}

static yyjson_val *details_of(struct arena *a, const struct audit_row *r)
{
    struct buf b;
    yyjson_val *v = NULL;
    buf_init_arena(&b, a, 4u << 20);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "outcome", r->outcome);
    jw_kv_int(&w, "status", r->status);
    jw_kv_str(&w, "requestId", r->request_id);
    if (r->before.n) {
        jw_key(&w, "before");
        jw_raw(&w, r->before);
    }
    if (r->after.n) {
        jw_key(&w, "after");
        jw_raw(&w, r->after);
    }
    jw_object_end(&w);
    return json_parse(a, buf_str(&b), 0, &v, NULL) ? v : NULL;
}

static struct str sql_time(struct arena *a, int64_t ms)
{
    struct str t = omni_iso(a, ms);
    return str_fmt(a, "%.10s %.8s", t.p, t.p + 11);
}

#define AUDIT_PAGE 500
#define AUDIT_PAGES 200 /* that one answer looks through for an action */

static bool audit_log(struct control_call *c, struct err *e)
{
    const struct audit_query *q = c->asked;
    size_t limit = q->limit ? (size_t)q->limit : 100, n = 0, got = AUDIT_PAGE;
    int64_t skip = q->offset;
    struct audit_filter f = {.actor = q->actor, .limit = AUDIT_PAGE};
    struct audit_out *v = ARENA_ARRAY(c->arena, struct audit_out, limit);
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    for (int page = 0; page < AUDIT_PAGES && n < limit && got == AUDIT_PAGE; page++) {
        struct audit_row *rows;
        if (!audit_list(db, c->arena, &f, &rows, &got, e))
            return false;
        for (size_t i = 0; i < got && n < limit; i++) {
            struct str action = action_of(c->arena, &rows[i]);
            f.beyond_id = rows[i].id;
            if (q->action.n && !str_eq(q->action, action))
                continue;
            if (skip > 0) {
                skip--;
                continue;
            }
            v[n++] = (struct audit_out){.id = rows[i].id,
                                        .timestamp = sql_time(c->arena, rows[i].at_ms),
                                        .action = action,
                                        .actor = rows[i].actor.n ? rows[i].actor
                                                                 : rows[i].actor_kind,
                                        .target = rows[i].object,
                                        .details = details_of(c->arena, &rows[i]),
                                        .ip_address = rows[i].address};
        }
    }
    struct jw w = jw_on(&c->out);
    shape_write_list(&audit_shape, v, n, &w);
    return true;
}

/* ---- which sluice, and what it serves ---- */

struct version_out {
    struct str version, current, latest;
    bool updateAvailable;
};
static const struct shape version_shape = SHAPE(
    struct version_out, FIELD(struct version_out, version, 0, "Which sluice this is"),
    FIELD(struct version_out, current, 0, "The same"),
    FIELD(struct version_out, latest, NULL_EMPTY, "null: it asks nobody"),
    FIELD(struct version_out, updateAvailable, 0, "false: it asks nobody"));

static bool version(struct control_call *c, struct err *e)
{
    struct version_out out = {.version = str_of(sluice_version), .current = str_of(sluice_version)};
    (void)e;
    return control_reply(c, 200, &version_shape, &out);
}

static const struct shape spec_shape = {.name = "struct openapi_document"};

static bool spec(struct control_call *c, struct err *e)
{
    (void)e;
    return document_reply(c);
}

/* clang-format off */
const struct endpoint omni_system_endpoints[] = {
    { HTTP_GET,    "/api/telemetry/summary",       SURFACE_OMNIROUTE, ACCESS_VIEWER, "Latency of the last minutes by phase", .on_worker = telemetry, .query = &telemetry_query_shape, .out = &telemetry_shape },
    { HTTP_GET,    "/api/token-health",            SURFACE_OMNIROUTE, ACCESS_VIEWER, "Whether connections by OAuth are in order", .on_worker = token_health, .out = &token_health_shape },
    { HTTP_GET,    "/api/monitoring/health",       SURFACE_OMNIROUTE, ACCESS_PUBLIC, "Whether it serves; for those who may administer, how", .on_worker = health, .out = &health_shape, .knows_caller = true },
    { HTTP_GET,    "/api/cache",                   SURFACE_OMNIROUTE, ACCESS_VIEWER, "How the cache of answers serves", .on_worker = cache, .out = &cache_shape },
    { HTTP_DELETE, "/api/cache",                   SURFACE_OMNIROUTE, ACCESS_ADMIN, "Forget kept answers: those whose time is over, or those that the query names", .on_worker = cache_forget, .query = &cache_query_shape, .out = &forgotten_shape },
    { HTTP_GET,    "/api/cache/stats",             SURFACE_OMNIROUTE, ACCESS_VIEWER, "Its figures, by layer", .on_worker = cache_stats, .out = &stats_shape },
    { HTTP_DELETE, "/api/cache/stats",             SURFACE_OMNIROUTE, ACCESS_ADMIN, "Let its figures begin anew", .on_worker = cache_stats_reset, .out = &done_shape },
    { HTTP_GET,    "/api/system/version",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "Which sluice runs", .on_worker = version, .out = &version_shape },
    { HTTP_GET,    "/api/openapi/spec",            SURFACE_OMNIROUTE, ACCESS_VIEWER, "This interface as an OpenAPI document, as /openapi.json", .on_worker = spec, .out = &spec_shape, .has_tag = true },
    { HTTP_GET,    "/api/compliance/audit-log",    SURFACE_OMNIROUTE, ACCESS_ADMIN, "Who changed what, newest first", .on_worker = audit_log, .query = &audit_query_shape, .out = &audit_shape, .is_array = true },
    {0},
};
/* clang-format on */
