#include "meter/otlp.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "http/fetch.h"
#include "json/json.h"
#include "version.h"
#include "wire/wires.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RING 4096u /* records that one loop may be ahead; a power of two */
#define BATCH 512u
#define MAX_HEADERS 16
#define MAX_TRIES 5
#define MAX_WAIT_MS 60000
#define LAST_TIMEOUT_MS 2000 /* of what is sent when the process ends */
#define MAX_BODY (32u << 20)

struct ring { /* one producer, one consumer */
    _Alignas(64) _Atomic uint32_t head;
    _Alignas(64) _Atomic uint32_t tail;
    struct trace_record **v;
};

struct conf { /* in an arena; replaced whole */
    struct arena *arena;
    struct str traces_url, metrics_url; /* empty: not exported */
    struct http_header headers[MAX_HEADERS];
    size_t n_headers;
    struct str resource; /* JSON: attributes of it */
    struct str proxy;
    struct str fault; /* why less is sent than was asked for; empty: nothing is wrong */
    uint64_t interval_ms, metrics_interval_ms, timeout_ms;
};

struct otlp {
    struct ring *rings;
    unsigned n_rings;
    otlp_collect_fn *collect;
    void *arg;
    pthread_t thread;
    sem_t wake;
    pthread_mutex_t lock; /* guards conf; held while it is read, not while sending */
    pthread_mutex_t collecting;
    struct conf *conf;
    _Atomic bool is_stopping;
    _Atomic bool is_tracing;
    _Atomic uint64_t sample_below; /* of 2^32: requests without a trace of their caller */
    _Atomic uint64_t sent_spans, dropped_spans, sent_points, dropped_points, failures;
    /* the thread's own */
    uint64_t next_metrics_ms;
    int64_t start_ns;
    _Atomic bool is_failing; /* the collector did not take the last of what was sent */
};

/* ---- the relay's side ---- */

bool otlp_is_tracing(const struct otlp *o)
{
    return o && atomic_load_explicit(&o->is_tracing, memory_order_relaxed);
}

bool otlp_samples(const struct otlp *o, const uint8_t trace[16])
{
    uint64_t below = o ? atomic_load_explicit(&o->sample_below, memory_order_relaxed) : 0;
    uint32_t low; /* the trace's random part: all nodes decide alike */
    memcpy(&low, trace + 12, sizeof low);
    return low < below;
}

void otlp_put(struct otlp *o, unsigned loop, struct trace_record *r)
{
    struct ring *ring = &o->rings[loop];
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t held = head - atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (held >= RING) {
        atomic_fetch_add_explicit(&o->dropped_spans, 1 + r->n_attempts, memory_order_relaxed);
        arena_free(r->arena);
        return;
    }
    ring->v[head % RING] = r;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    if (held == BATCH) /* once on the way up; else the interval is soon enough */
        (void)sem_post(&o->wake);
}

struct otlp_stats otlp_stats(const struct otlp *o)
{
    return (struct otlp_stats){atomic_load(&o->sent_spans), atomic_load(&o->dropped_spans),
                               atomic_load(&o->sent_points), atomic_load(&o->dropped_points),
                               atomic_load(&o->failures)};
}

/* ---- configuration ---- */

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static bool env_is_true(const char *name)
{
    const char *v = env(name);
    return v && str_eq_nocase(str_of(v), STR("true"));
}

static bool env_says_none(const char *name)
{
    const char *v = env(name);
    return v && strcmp(v, "none") == 0;
}

static uint64_t env_ms(const char *name, uint64_t otherwise)
{
    const char *v = env(name);
    int64_t n;
    return v && str_to_int(str_of(v), &n) && n > 0 ? (uint64_t)n : otherwise;
}

/* The signal's own URL is taken as it is; to a common one the path is added. */
static struct str signal_url(struct arena *a, struct str base, const char *own, const char *path)
{
    const char *v = own ? env(own) : NULL;
    if (v)
        return str_dup(a, str_of(v));
    if (base.n == 0)
        return STR_NONE;
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    return str_fmt(a, STR_FMT "%s", STR_ARG(base), path);
}

static bool is_url(struct str s)
{
    return (str_starts(s, STR("http://")) || str_starts(s, STR("https://"))) &&
           !str_contains(s, STR("@"));
}

static void add_header(struct conf *c, struct str name, struct str value)
{
    name = str_trim(name);
    value = str_trim(value);
    if (name.n && c->n_headers < MAX_HEADERS)
        c->headers[c->n_headers++] = (struct http_header){str_dup(c->arena, name),
                                                          str_dup(c->arena, value)};
}

/* name=value,name=value, values percent-encoded, as W3C baggage. */
static void headers_of_env(struct conf *c, const char *text)
{
    struct str rest = str_of(text);
    while (rest.n) {
        struct str one, name, value;
        rest = str_cut(rest, ',', &one);
        value = str_cut(one, '=', &name);
        add_header(c, name, url_decode(c->arena, str_trim(value)));
    }
}

/* Lines "name: value"; a file, so that no list of settings shows a credential. */
static bool headers_of_file(struct conf *c, struct str dir, struct str path)
{
    const char *full = path.p[0] == '/' ? str_z(c->arena, path)
                                        : str_z(c->arena, str_fmt(c->arena, STR_FMT "/" STR_FMT,
                                                                  STR_ARG(dir), STR_ARG(path)));
    char line[8192];
    FILE *f = fopen(full, "re");
    if (!f) {
        log_error(NULL, "otlp.no_headers", "file=%s error=%s", full, strerror(errno));
        c->fault = str_fmt(c->arena, "otlp_headers_file cannot be read: %s: %s", full,
                           strerror(errno));
        return false;
    }
    while (fgets(line, sizeof line, f)) {
        struct str name, value = str_cut(str_of(line), ':', &name);
        if (value.n && line[0] != '#')
            add_header(c, name, value);
    }
    explicit_bzero(line, sizeof line);
    (void)fclose(f);
    return true;
}

static void attr_str(struct jw *w, const char *key, struct str v)
{
    jw_object(w);
    jw_kv_cstr(w, "key", key);
    jw_key(w, "value");
    jw_object(w);
    jw_kv_str(w, "stringValue", v);
    jw_object_end(w);
    jw_object_end(w);
}

/* A name of any text: of OTEL_RESOURCE_ATTRIBUTES. */
static void attr_of_env(struct jw *w, struct arena *a, struct str pair)
{
    struct str name, value = str_cut(pair, '=', &name);
    name = str_trim(name);
    if (name.n && !str_is(name, "service.name"))
        attr_str(w, str_z(a, name), url_decode(a, str_trim(value)));
}

static struct str resource_attributes(struct arena *a, const struct settings *set)
{
    struct buf b;
    char host[256] = "";
    const char *service = env("OTEL_SERVICE_NAME");
    struct str more = str_of(env("OTEL_RESOURCE_ATTRIBUTES"));
    struct str name = set->otlp_service_name.n ? set->otlp_service_name
                      : service                ? str_of(service)
                                               : STR("sluice");
    for (struct str rest = more, one, key; !service && !set->otlp_service_name.n && rest.n;) {
        rest = str_cut(rest, ',', &one);
        struct str value = str_cut(one, '=', &key);
        if (str_is(str_trim(key), "service.name"))
            name = url_decode(a, str_trim(value));
    }
    (void)gethostname(host, sizeof host - 1);
    buf_init_arena(&b, a, 65536);
    struct jw w = jw_on(&b);
    jw_array(&w);
    attr_str(&w, "service.name", name);
    attr_str(&w, "service.version", str_of(sluice_version));
    attr_str(&w, "service.instance.id", str_fmt(a, "%s-%d", host, (int)getpid()));
    attr_str(&w, "host.name", str_of(host));
    attr_str(&w, "telemetry.sdk.name", STR("sluice"));
    attr_str(&w, "telemetry.sdk.language", STR("c"));
    while (more.n) {
        struct str one;
        more = str_cut(more, ',', &one);
        attr_of_env(&w, a, one);
    }
    jw_array_end(&w);
    return buf_str(&b);
}

static uint64_t sample_below(const struct settings *set)
{
    const char *sampler = env("OTEL_TRACES_SAMPLER"), *arg = env("OTEL_TRACES_SAMPLER_ARG");
    double ratio = (double)set->otlp_sample_ppm / 1e6;
    /* the default: the environment may say more */
    if (set->otlp_sample_ppm == 1000000 && sampler) {
        if (strstr(sampler, "always_off"))
            ratio = 0;
        else if (strstr(sampler, "traceidratio") && arg)
            ratio = strtod(arg, NULL);
    }
    ratio = ratio >= 0 && ratio <= 1 ? ratio : 1;
    return (uint64_t)(ratio * 4294967296.0);
}

static struct conf *conf_of(const struct settings *set, struct str dir)
{
    struct arena *a = arena_new();
    struct conf *c = ARENA_NEW(a, struct conf);
    const char *common = env("OTEL_EXPORTER_OTLP_ENDPOINT"),
               *headers = env("OTEL_EXPORTER_OTLP_HEADERS");
    bool is_set = set->otlp_endpoint.n > 0;
    struct str base = is_set ? set->otlp_endpoint : str_of(common);
    c->arena = a;
    c->interval_ms = env_ms("OTEL_BSP_SCHEDULE_DELAY", (uint64_t)set->otlp_interval_ms);
    c->metrics_interval_ms = env_ms("OTEL_METRIC_EXPORT_INTERVAL",
                                    (uint64_t)set->otlp_metrics_interval_ms);
    c->timeout_ms = env_ms("OTEL_EXPORTER_OTLP_TIMEOUT", (uint64_t)set->otlp_timeout_ms);
    c->proxy = str_dup(a, set->proxy_url);
    if (env_is_true("OTEL_SDK_DISABLED"))
        return c;
    bool has_headers = set->otlp_headers_file.n == 0 ||
                       headers_of_file(c, dir, set->otlp_headers_file);
    if (headers && set->otlp_headers_file.n == 0)
        headers_of_env(c, headers);
    if (set->otlp_traces && !env_says_none("OTEL_TRACES_EXPORTER"))
        c->traces_url = signal_url(a, base, is_set ? NULL : "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                                   "/v1/traces");
    if (set->otlp_metrics && !env_says_none("OTEL_METRICS_EXPORTER"))
        c->metrics_url = signal_url(a, base, is_set ? NULL : "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                                    "/v1/metrics");
    struct str *urls[] = {&c->traces_url, &c->metrics_url};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        if (urls[i]->n && !is_url(*urls[i])) {
            c->fault = STR("the endpoint must be http:// or https://, without credentials in it");
            log_error(NULL, "otlp.refused", "reason=" STR_FMT, STR_ARG(c->fault));
            *urls[i] = STR_NONE;
        }
    if (!has_headers) { /* nothing is sent without the credential that it should carry */
        c->fault = c->traces_url.n || c->metrics_url.n ? c->fault : STR_NONE;
        c->traces_url = c->metrics_url = STR_NONE;
    }
    c->resource = resource_attributes(a, set);
    return c;
}

void otlp_configure(struct otlp *o, const struct settings *set, struct str dir)
{
    struct conf *next = conf_of(set, dir), *old;
    bool is_tracing = next->traces_url.n > 0;
    (void)pthread_mutex_lock(&o->lock);
    old = o->conf;
    bool is_news = !old ? next->traces_url.n || next->metrics_url.n
                        : !str_eq(old->traces_url, next->traces_url) ||
                              !str_eq(old->metrics_url, next->metrics_url);
    if (is_news)
        log_info(NULL, "otlp.configured", "traces=" STR_FMT " metrics=" STR_FMT " headers=%zu",
                 STR_ARG(next->traces_url), STR_ARG(next->metrics_url), next->n_headers);
    o->conf = next;
    (void)pthread_mutex_unlock(&o->lock);
    atomic_store(&o->sample_below, is_tracing ? sample_below(set) : 0);
    atomic_store(&o->is_tracing, is_tracing);
    if (old)
        arena_free(old->arena);
    (void)sem_post(&o->wake);
}

bool otlp_fault(struct otlp *o, struct arena *a, struct str *why)
{
    if (!o)
        return false;
    (void)pthread_mutex_lock(&o->lock);
    bool is_sending = o->conf && (o->conf->traces_url.n || o->conf->metrics_url.n);
    *why = o->conf ? str_dup(a, o->conf->fault) : STR_NONE;
    (void)pthread_mutex_unlock(&o->lock);
    if (why->n == 0 && is_sending && atomic_load(&o->is_failing))
        *why = STR("the collector does not take what it is sent");
    return why->n > 0;
}

/* The thread's copy: sending takes its time, and the configuration may change meanwhile. */
static struct conf conf_now(struct otlp *o, struct arena *a)
{
    (void)pthread_mutex_lock(&o->lock);
    struct conf c = o->conf ? *o->conf
                            : (struct conf){.interval_ms = 5000, .metrics_interval_ms = 60000};
    c.arena = a;
    c.traces_url = str_dup(a, c.traces_url);
    c.metrics_url = str_dup(a, c.metrics_url);
    c.resource = str_dup(a, c.resource);
    c.proxy = str_dup(a, c.proxy);
    for (size_t i = 0; i < c.n_headers; i++)
        c.headers[i] = (struct http_header){str_dup(a, c.headers[i].name),
                                            str_dup(a, c.headers[i].value)};
    (void)pthread_mutex_unlock(&o->lock);
    return c;
}

/* ---- traces as JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding ---- */

static void kv_hex(struct jw *w, const char *key, const uint8_t *p, size_t n)
{
    char text[32];
    hex_encode(text, p, n);
    jw_key_str(w, str_of(key));
    jw_str(w, str_n(text, 2 * n));
}

static void kv_long(struct jw *w, const char *key, int64_t v) /* 64-bit numbers are strings there */
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)v);
    jw_key_str(w, str_of(key));
    jw_cstr(w, text);
}

static void attr_int(struct jw *w, const char *key, int64_t v)
{
    jw_object(w);
    jw_kv_cstr(w, "key", key);
    jw_key(w, "value");
    jw_object(w);
    kv_long(w, "intValue", v);
    jw_object_end(w);
    jw_object_end(w);
}

static void attr_double(struct jw *w, const char *key, double v) /* nothing of NaN */
{
    if (isnan(v))
        return;
    jw_object(w);
    jw_kv_cstr(w, "key", key);
    jw_key(w, "value");
    jw_object(w);
    jw_key(w, "doubleValue");
    jw_double(w, v);
    jw_object_end(w);
    jw_object_end(w);
}

static void attr_text(struct jw *w, const char *key, struct str v) /* nothing of an empty one */
{
    if (v.n)
        attr_str(w, key, v);
}

static void attr_known(struct jw *w, const char *key, int64_t v)
{
    if (v >= 0)
        attr_int(w, key, v);
}

static const char *finish_reason(enum ir_stop stop)
{
    switch (stop) {
    case IR_STOP_NONE:
        return NULL;
    case IR_STOP_END:
    case IR_STOP_PAUSE:
        return "stop";
    case IR_STOP_LENGTH:
        return "length";
    case IR_STOP_TOOL:
        return "tool_call";
    case IR_STOP_FILTER:
    case IR_STOP_REFUSAL:
        return "content_filter";
    case IR_STOP_ERROR:
    case IR_STOP_CANCELLED:
        return "error";
    }
    return NULL;
}

static void attr_finish(struct jw *w, enum ir_stop stop)
{
    const char *reason = finish_reason(stop);
    if (!reason)
        return;
    jw_object(w);
    jw_kv_cstr(w, "key", "gen_ai.response.finish_reasons");
    jw_key(w, "value");
    jw_object(w);
    jw_key(w, "arrayValue");
    jw_object(w);
    jw_key(w, "values");
    jw_array(w);
    jw_object(w);
    jw_kv_cstr(w, "stringValue", reason);
    jw_object_end(w);
    jw_array_end(w);
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

static int64_t wall_ns(const struct trace_record *r, uint64_t mono_ns)
{
    return r->now_wall_ns - (r->now_mono_ns - (int64_t)mono_ns);
}

enum span_kind {
    SPAN_SERVER = 2,
    SPAN_CLIENT = 3
};

static void span_head(struct jw *w, const struct trace_record *r, const uint8_t *span,
                      const uint8_t *parent, enum span_kind kind, struct str model,
                      uint64_t start_ns, uint64_t end_ns)
{
    char name[256];
    (void)snprintf(name, sizeof name, "%s%s" STR_FMT, otel_operation(r->op), model.n ? " " : "",
                   STR_ARG(str_first(model, 200)));
    kv_hex(w, "traceId", r->ids.trace, 16);
    kv_hex(w, "spanId", span, 8);
    if (parent)
        kv_hex(w, "parentSpanId", parent, 8);
    if (r->state.n)
        jw_kv_str(w, "traceState", r->state);
    jw_kv_int(w, "flags", r->ids.flags | 0x100 | (kind == SPAN_SERVER && parent ? 0x200 : 0));
    jw_kv_cstr(w, "name", name);
    jw_kv_int(w, "kind", kind);
    kv_long(w, "startTimeUnixNano", wall_ns(r, start_ns));
    kv_long(w, "endTimeUnixNano", wall_ns(r, end_ns));
}

static void span_status(struct jw *w, bool is_error, struct str message)
{
    jw_key(w, "status");
    jw_object(w);
    if (is_error) {
        jw_kv_int(w, "code", 2);
        jw_kv_str(w, "message", message);
    }
    jw_object_end(w);
}

static void write_request(struct jw *w, const struct trace_record *r)
{
    const struct ir_usage *u = &r->usage;
    bool is_error = r->status >= 500 || r->error_code.n;
    char status[16];
    (void)snprintf(status, sizeof status, "%d", r->status);
    jw_object(w);
    span_head(w, r, r->ids.span, r->ids.has_parent ? r->ids.parent : NULL, SPAN_SERVER, r->model,
              r->start_ns, r->end_ns);
    jw_key(w, "attributes");
    jw_array(w);
    attr_str(w, "http.request.method", STR("POST"));
    attr_text(w, "url.path", r->path);
    attr_int(w, "http.response.status_code", r->status);
    attr_str(w, "gen_ai.operation.name", str_of(otel_operation(r->op)));
    attr_text(w, "gen_ai.provider.name", str_of(otel_provider(r->kind.n ? r->kind.p : "")));
    attr_text(w, "gen_ai.request.model", r->model);
    attr_double(w, "gen_ai.request.temperature", r->asked.temperature);
    attr_double(w, "gen_ai.request.top_p", r->asked.top_p);
    attr_known(w, "gen_ai.request.max_tokens", r->asked.max_tokens);
    if (r->n_attempts)
        attr_text(w, "gen_ai.response.model", r->attempts[r->n_attempts - 1].answered);
    attr_known(w, "gen_ai.usage.input_tokens", u->input_total);
    attr_known(w, "gen_ai.usage.output_tokens", u->output_total);
    attr_known(w, "gen_ai.usage.cache_read.input_tokens", u->cache_read);
    attr_known(w, "gen_ai.usage.cache_creation.input_tokens", u->cache_write);
    attr_finish(w, r->stop);
    if (r->error_code.n)
        attr_str(w, "error.type", r->error_code);
    else if (r->status >= 500)
        attr_str(w, "error.type", str_of(status));
    attr_str(w, "sluice.request.id", r->request_id);
    attr_text(w, "sluice.key.id", r->key_id);
    attr_text(w, "sluice.upstream", r->upstream);
    attr_str(w, "sluice.format",
             str_of(wire_of(r->client == WIRE_NONE ? WIRE_CHAT : r->client)->name));
    attr_int(w, "sluice.attempts", (int64_t)r->n_attempts);
    attr_str(w, "sluice.stream", r->is_stream ? STR("true") : STR("false"));
    if (r->first_ns)
        attr_int(w, "sluice.time_to_first_token_us", (int64_t)(r->first_ns - r->start_ns) / 1000);
    jw_array_end(w);
    span_status(w, is_error, r->error_code);
    jw_object_end(w);
}

static void write_attempt(struct jw *w, const struct trace_record *r, size_t i)
{
    const struct trace_attempt *t = &r->attempts[i];
    jw_object(w);
    span_head(w, r, t->span, r->ids.span, SPAN_CLIENT, t->model, t->start_ns, t->end_ns);
    jw_key(w, "attributes");
    jw_array(w);
    attr_str(w, "gen_ai.operation.name", str_of(otel_operation(r->op)));
    attr_text(w, "gen_ai.provider.name", str_of(otel_provider(t->kind.n ? t->kind.p : "")));
    attr_text(w, "gen_ai.request.model", t->model);
    attr_text(w, "gen_ai.response.model", t->answered);
    attr_text(w, "server.address", t->host);
    if (t->port)
        attr_int(w, "server.port", t->port);
    if (t->status)
        attr_int(w, "http.response.status_code", t->status);
    if (t->fault[0])
        attr_str(w, "error.type", str_of(t->fault));
    if (i)
        attr_int(w, "http.request.resend_count", (int64_t)i);
    attr_text(w, "sluice.upstream", t->upstream);
    jw_array_end(w);
    span_status(w, t->fault[0] != 0, str_of(t->fault));
    jw_object_end(w);
}

static void open_scope(struct jw *w, const char *outer, const char *inner, struct str resource)
{
    jw_object(w);
    jw_key_str(w, str_of(outer));
    jw_array(w);
    jw_object(w);
    jw_key(w, "resource");
    jw_object(w);
    jw_key(w, "attributes");
    jw_raw(w, resource.n ? resource : STR("[]"));
    jw_object_end(w);
    jw_key_str(w, str_of(inner));
    jw_array(w);
    jw_object(w);
    jw_key(w, "scope");
    jw_object(w);
    jw_kv_cstr(w, "name", "sluice");
    jw_kv_cstr(w, "version", sluice_version);
    jw_object_end(w);
}

static void close_scope(struct jw *w)
{
    jw_object_end(w);
    jw_array_end(w);
    jw_object_end(w);
    jw_array_end(w);
    jw_object_end(w);
}

void otlp_write_traces(struct trace_record *const *r, size_t n, struct str resource,
                       struct buf *out, size_t *spans)
{
    struct jw w = jw_on(out);
    *spans = 0;
    open_scope(&w, "resourceSpans", "scopeSpans", resource);
    jw_key(&w, "spans");
    jw_array(&w);
    for (size_t i = 0; i < n; i++) {
        write_request(&w, r[i]);
        for (size_t k = 0; k < r[i]->n_attempts; k++)
            write_attempt(&w, r[i], k);
        *spans += 1 + r[i]->n_attempts;
    }
    jw_array_end(&w);
    close_scope(&w);
}

/* ---- metrics as JSON ---- */

struct points {
    struct jw *w;
    size_t n;
    int64_t start_ns, now_ns;
};

/* Labels under their names of the conventions. */
static void attr_label(struct jw *w, const struct metric *m, const struct metric_label *l)
{
    static const char *const names[][2] = {
        {"gen_ai_operation_name", "gen_ai.operation.name"},
        {"gen_ai_provider_name", "gen_ai.provider.name"},
        {"gen_ai_request_model", "gen_ai.request.model"},
        {"gen_ai_token_type", "gen_ai.token.type"},
        {"error_type", "error.type"},
        {"code", "http.response.status_code"},
        {"upstream", "sluice.upstream"},
        {"format", "sluice.format"},
        {"key_id", "sluice.key.id"},
        {"key_label", "sluice.key.label"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i][0], l->name) == 0) {
            attr_str(w, names[i][1], l->value);
            return;
        }
    attr_str(w, l->name, l->value);
    /* the conventions' way to say it; which error it was, sluice_request_errors tells */
    if (m->otel && strcmp(l->name, "outcome") == 0 && !str_is(l->value, "ok"))
        attr_str(w, "error.type", STR("_OTHER"));
}

static void open_point(struct points *p, const struct metric *m, const struct metric_label *l,
                       size_t n)
{
    p->n++;
    jw_object(p->w);
    jw_key(p->w, "attributes");
    jw_array(p->w);
    for (size_t i = 0; i < n; i++)
        attr_label(p->w, m, &l[i]);
    jw_array_end(p->w);
    if (m->kind != METRIC_GAUGE)
        kv_long(p->w, "startTimeUnixNano", p->start_ns);
    kv_long(p->w, "timeUnixNano", p->now_ns);
}

static void point_number(void *arg, const struct metric *m, const struct metric_label *l, size_t n,
                         double value)
{
    struct points *p = arg;
    open_point(p, m, l, n);
    jw_key(p->w, "asDouble");
    jw_double(p->w, value);
    jw_object_end(p->w);
}

static void point_histogram(void *arg, const struct metric *m, const struct metric_label *l,
                            size_t n, const struct histogram *h)
{
    struct points *p = arg;
    open_point(p, m, l, n);
    kv_long(p->w, "count", (int64_t)h->count);
    jw_key(p->w, "sum");
    jw_double(p->w, (double)h->sum * m->scale);
    jw_key(p->w, "bucketCounts");
    jw_array(p->w);
    for (unsigned i = 0; i <= m->bounds->n; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)h->bucket[i]);
        jw_cstr(p->w, text);
    }
    jw_array_end(p->w);
    jw_key(p->w, "explicitBounds");
    jw_array(p->w);
    for (unsigned i = 0; i < m->bounds->n; i++)
        jw_double(p->w, (double)m->bounds->v[i] * m->scale);
    jw_array_end(p->w);
    jw_object_end(p->w);
}

/* sluice_requests becomes sluice.requests; process_cpu_seconds loses the unit, which stands beside it. */
static void otel_name(const struct metric *m, char *out, size_t size)
{
    struct str name = str_of(m->name), unit = str_of(m->unit);
    if (m->otel) {
        (void)snprintf(out, size, "%s", m->otel);
        return;
    }
    if (unit.n && name.n > unit.n + 1 && str_ends(name, unit))
        name.n -= unit.n + 1;
    (void)snprintf(out, size, STR_FMT, STR_ARG(name));
    char *first = strchr(out, '_');
    if (first)
        *first = '.';
}

static void write_metric(struct points *p, const struct metric *m, const struct metrics_view *v)
{
    struct metric_sink sink = {p, point_number, point_histogram};
    struct jw before = *p->w;
    size_t at = p->w->b->n, n = p->n;
    char name[128];
    otel_name(m, name, sizeof name);
    jw_object(p->w);
    jw_kv_cstr(p->w, "name", name);
    jw_kv_cstr(p->w, "description", m->help);
    jw_kv_cstr(p->w, "unit",
               strcmp(m->unit, "seconds") == 0                                ? "s"
               : strcmp(m->unit, "bytes") == 0                                ? "By"
               : m->otel && strcmp(m->otel, "gen_ai.client.token.usage") == 0 ? "{token}"
                                                                              : "1");
    jw_key_str(p->w, m->kind == METRIC_COUNTER ? STR("sum")
                     : m->kind == METRIC_GAUGE ? STR("gauge")
                                               : STR("histogram"));
    jw_object(p->w);
    if (m->kind != METRIC_GAUGE)
        jw_kv_int(p->w, "aggregationTemporality", 2); /* cumulative */
    if (m->kind == METRIC_COUNTER)
        jw_kv_bool(p->w, "isMonotonic", true);
    jw_key(p->w, "dataPoints");
    jw_array(p->w);
    m->write(m, v, &sink);
    jw_array_end(p->w);
    jw_object_end(p->w);
    jw_object_end(p->w);
    if (p->n == n && !buf_failed(p->w->b)) { /* nothing to say yet */
        p->w->b->n = at;
        *p->w = before;
    }
}

void otlp_write_metrics(const struct metrics_view *v, struct str resource, int64_t start_ns,
                        int64_t now_ns, struct buf *out, size_t *points)
{
    struct jw w = jw_on(out);
    struct points p = {&w, 0, start_ns, now_ns};
    const struct metric *m;
    open_scope(&w, "resourceMetrics", "scopeMetrics", resource);
    jw_key(&w, "metrics");
    jw_array(&w);
    for (size_t i = 0; (m = metric_at(i)) != NULL; i++)
        write_metric(&p, m, v);
    jw_array_end(&w);
    close_scope(&w);
    *points = p.n;
}

/* ---- sending ---- */

static bool is_stopping(const struct otlp *o)
{
    return atomic_load(&o->is_stopping);
}

static void nap(struct otlp *o, uint64_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (sem_clockwait(&o->wake, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR) {
    }
}

/* Waits between tries: posts of the loops do not end it, the end of the process does. */
static void wait_to_retry(struct otlp *o, uint64_t ms)
{
    uint64_t until = clock_mono_ms() + ms;
    for (uint64_t now; !is_stopping(o) && (now = clock_mono_ms()) < until;)
        nap(o, until - now < 200 ? until - now : 200);
}

static uint64_t retry_after_ms(const struct fetched *f, uint64_t otherwise)
{
    struct str v = http_header_get(f->headers, f->n_headers, "retry-after");
    int64_t n, at;
    if (str_to_int(v, &n) && n >= 0)
        return n < MAX_WAIT_MS / 1000 ? (uint64_t)n * 1000 : MAX_WAIT_MS;
    if (v.n && clock_parse_http_date(v, &at)) {
        n = at - clock_wall_ms();
        return n < 0 ? 0 : n < MAX_WAIT_MS ? (uint64_t)n : MAX_WAIT_MS;
    }
    return otherwise;
}

static void say(struct otlp *o, bool ok, struct str url, const char *why, int status)
{
    if (!ok)
        atomic_fetch_add(&o->failures, 1);
    if (atomic_exchange(&o->is_failing, !ok) == !ok)
        return; /* said before */
    if (ok)
        log_info(NULL, "otlp.recovered", "url=" STR_FMT, STR_ARG(url));
    else
        log_warn(NULL, "otlp.failed", "url=" STR_FMT " status=%d error=%s", STR_ARG(url), status,
                 why);
}

/* true: the collector took it. Tries again what may pass (OTLP: 429, 502, 503, 504, and no answer). */
static bool send_body(struct otlp *o, const struct conf *c, struct str url, struct str body)
{
    struct http_header h[MAX_HEADERS + 2];
    size_t n = 0;
    uint64_t wait = 1000;
    h[n++] = (struct http_header){STR("content-type"), STR("application/json")};
    h[n++] = (struct http_header){STR("user-agent"),
                                  str_fmt(c->arena, "sluice/%s", sluice_version)};
    for (size_t i = 0; i < c->n_headers; i++)
        h[n++] = c->headers[i];
    for (unsigned tried = 1;; tried++) {
        bool is_last = is_stopping(o);
        struct arena *a = arena_new();
        struct fetched got = {0};
        struct err e = ERR_INIT;
        struct fetch f = {.method = HTTP_POST,
                          .url = url,
                          .headers = h,
                          .n_headers = n,
                          .body = body,
                          .proxy = c->proxy,
                          .timeout_ms = is_last && c->timeout_ms > LAST_TIMEOUT_MS ? LAST_TIMEOUT_MS
                                                                                   : c->timeout_ms,
                          .max_bytes = 1u << 20,
                          .allow_private = true};
        bool has_answer = fetch_run(a, &f, &got, &e);
        bool ok = has_answer && got.status >= 200 && got.status < 300;
        bool may_pass = !has_answer || got.status == 429 || got.status == 502 ||
                        got.status == 503 || got.status == 504;
        uint64_t ms = has_answer ? retry_after_ms(&got, wait) : wait;
        say(o, ok, url, has_answer ? "refused" : e.message, got.status);
        arena_free(a);
        if (ok)
            return true;
        if (!may_pass || is_last || tried == MAX_TRIES)
            return false;
        wait_to_retry(o, ms);
        wait = wait * 2 < MAX_WAIT_MS ? wait * 2 : MAX_WAIT_MS;
    }
}

static size_t take(struct otlp *o, struct trace_record **out, size_t max)
{
    size_t n = 0;
    for (unsigned i = 0; i < o->n_rings; i++) {
        struct ring *r = &o->rings[i];
        uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
        uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
        while (tail != head && n < max)
            out[n++] = r->v[tail++ % RING];
        atomic_store_explicit(&r->tail, tail, memory_order_release);
    }
    return n;
}

static void send_traces(struct otlp *o)
{
    struct trace_record *batch[BATCH];
    size_t n;
    while ((n = take(o, batch, BATCH)) > 0) {
        struct arena *a = arena_new();
        struct conf c = conf_now(o, a);
        struct buf b;
        size_t spans;
        buf_init(&b, MAX_BODY);
        otlp_write_traces(batch, n, c.resource, &b, &spans);
        bool ok = c.traces_url.n && !buf_failed(&b) && send_body(o, &c, c.traces_url, buf_str(&b));
        atomic_fetch_add(ok ? &o->sent_spans : &o->dropped_spans, spans);
        buf_done(&b);
        for (size_t i = 0; i < n; i++)
            arena_free(batch[i]->arena);
        arena_free(a);
        if (is_stopping(o) && !ok)
            break; /* nobody is there: the process does not wait for them */
    }
}

static void send_metrics(struct otlp *o)
{
    struct arena *a = arena_new();
    struct conf c = conf_now(o, a);
    struct metrics_view v;
    uint64_t now = clock_mono_ms();
    if (c.metrics_url.n && (now >= o->next_metrics_ms || is_stopping(o))) {
        struct buf b;
        size_t points;
        o->next_metrics_ms = now + c.metrics_interval_ms;
        buf_init(&b, MAX_BODY);
        (void)pthread_mutex_lock(&o->collecting);
        bool has = o->collect && o->collect(o->arg, a, &v);
        if (has)
            otlp_write_metrics(&v, c.resource, o->start_ns, clock_wall_ms() * 1000000, &b, &points);
        (void)pthread_mutex_unlock(&o->collecting);
        if (has) {
            bool ok = !buf_failed(&b) && send_body(o, &c, c.metrics_url, buf_str(&b));
            atomic_fetch_add(ok ? &o->sent_points : &o->dropped_points, points);
        }
        buf_done(&b);
    }
    arena_free(a);
}

static uint64_t time_to_sleep(struct otlp *o)
{
    (void)pthread_mutex_lock(&o->lock);
    const struct conf *c = o->conf;
    bool is_off = !c || (!c->traces_url.n && !c->metrics_url.n);
    uint64_t ms = is_off ? 60000 : c->interval_ms;
    bool has_metrics = c && c->metrics_url.n;
    (void)pthread_mutex_unlock(&o->lock);
    uint64_t now = clock_mono_ms();
    if (has_metrics && o->next_metrics_ms > now && o->next_metrics_ms - now < ms)
        ms = o->next_metrics_ms - now;
    return ms;
}

static void *exporter(void *arg)
{
    struct otlp *o = arg;
    for (;;) {
        bool is_last = is_stopping(o);
        send_traces(o);
        send_metrics(o);
        if (is_last)
            break;
        if (!is_stopping(o))
            nap(o, time_to_sleep(o));
    }
    snapshot_thread_done();
    arena_thread_done();
    return NULL;
}

/* ---- life ---- */

struct otlp *otlp_new(unsigned loops, otlp_collect_fn *collect, void *arg)
{
    struct otlp *o = calloc(1, sizeof *o);
    if (!o || !(o->rings = aligned_alloc(64, sizeof *o->rings * loops)))
        abort();
    memset(o->rings, 0, sizeof *o->rings * loops);
    o->n_rings = loops;
    o->collect = collect;
    o->arg = arg;
    o->start_ns = clock_wall_ms() * 1000000;
    for (unsigned i = 0; i < loops; i++)
        if (!(o->rings[i].v = calloc(RING, sizeof *o->rings[i].v)))
            abort();
    if (sem_init(&o->wake, 0, 0) != 0 || pthread_mutex_init(&o->lock, NULL) != 0 ||
        pthread_mutex_init(&o->collecting, NULL) != 0 ||
        pthread_create(&o->thread, NULL, exporter, o) != 0)
        abort();
    return o;
}

void otlp_settle(struct otlp *o)
{
    if (!o)
        return;
    (void)pthread_mutex_lock(&o->collecting);
    (void)pthread_mutex_unlock(&o->collecting);
}

void otlp_free(struct otlp *o)
{
    struct trace_record *left;
    if (!o)
        return;
    atomic_store(&o->is_stopping, true);
    (void)sem_post(&o->wake);
    (void)pthread_join(o->thread, NULL);
    while (take(o, &left, 1) > 0)
        arena_free(left->arena);
    for (unsigned i = 0; i < o->n_rings; i++)
        free(o->rings[i].v);
    if (o->conf)
        arena_free(o->conf->arena);
    (void)pthread_mutex_destroy(&o->collecting);
    (void)pthread_mutex_destroy(&o->lock);
    (void)sem_destroy(&o->wake);
    free(o->rings);
    free(o);
}
