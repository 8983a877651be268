/* exposition.h - the table of metrics: each with its name, kind, labels and sentence, and where its numbers come from.
 * Its readers: the Prometheus and OpenMetrics texts here, OTLP (meter/otlp.h), docs/metrics.md. */
#ifndef METER_EXPOSITION_H
#define METER_EXPOSITION_H
#include "base/buf.h"
#include "meter/metrics.h"

struct upstream_gauge {
    struct str name;
    uint64_t cooling_ms;            /* 0: it may be asked */
    uint64_t breakers_open;         /* of its credentials and models */
    bool is_enabled;
};
struct cache_gauge {                /* a layer of kept answers */
    const char *layer;
    uint64_t entries, bytes, hits, misses, joined, evicted, tokens_saved;
};
struct limit_gauge {                /* how often one kind of limit refused */
    struct str of, limit;           /* "key", "requests_per_minute" */
    uint64_t refused;
};
struct budget_gauge {
    struct str name;
    int64_t limit, spent, held;     /* nano-USD */
    uint64_t refused, cut;
};
struct metrics_gauges {             /* what stands so at this moment; filled in by who can see it */
    uint64_t requests_in_flight, streams_active, connections;
    uint64_t upstream_open, upstream_idle, upstream_connects, upstream_reuses, upstream_failures;
    int64_t body_bytes, body_bytes_max;
    uint64_t usage_queued, usage_shed, usage_written, usage_failures;
    bool is_degraded, is_draining;
    uint64_t config_version, reloads_ok, reloads_failed;
    bool is_last_reload_ok;
    int64_t last_reload_ms;         /* wall clock */
    uint64_t audit_left_out;        /* refused administrative calls that the audit log lacks */
    uint64_t otlp_sent_spans, otlp_dropped_spans, otlp_sent_points, otlp_dropped_points, otlp_failures;
    uint64_t breakers_opened, breakers_closed, global_fallbacks; /* since the start */
    uint64_t hedges[8];                     /* in the order of hedge_names */
    const char *const *hedge_names;
    size_t n_hedges, n_hedge_ends;           /* the first of them were sent */
    const struct cache_gauge *caches;
    size_t n_caches;
    const struct budget_gauge *budgets;
    size_t n_budgets;
    int64_t ledger_waiting_bytes;
    uint64_t ledger_unkept;
    const struct upstream_gauge *upstreams;
    size_t n_upstreams;
    const struct limit_gauge *limits;
    size_t n_limits;
    uint64_t limits_known, limits_evicted, limit_waiting, limit_waited, limit_queue_full;
    double cpu_seconds, start_seconds; /* of the process */
    uint64_t rss_bytes, virtual_bytes, open_fds, max_fds, threads;
    const char *version;
};
void metrics_read_process(struct metrics_gauges *g); /* the last two lines but version: from /proc */

struct metrics_view {
    const struct metrics_sum *sum;
    const struct metrics_gauges *now;
    const char *(*fault_name)(unsigned fault); /* of route, which this room does not know */
    /* The label of a key by its id, for who reads it; empty: none. arg: the configuration. */
    struct str (*key_label)(void *arg, struct str id);
    void *key_arg;
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
struct metric_label {
    const char *name;
    struct str value;
};
struct metric;
struct metric_sink {                /* who gets the numbers of a metric, one call a combination of labels */
    void *arg;
    void (*number)(void *arg, const struct metric *m, const struct metric_label *l, size_t n, double value);
    void (*histogram)(void *arg, const struct metric *m, const struct metric_label *l, size_t n, const struct histogram *h);
};
struct metric {
    const char *name;               /* without _total */
    enum metric_kind kind;
    const char *unit;               /* "seconds", "bytes"; "" for counts */
    const char *labels;             /* names, comma-separated; "" */
    const char *otel;               /* the name of the OpenTelemetry convention it follows; NULL: ours */
    const char *help;
    const struct bounds *bounds;    /* of histograms */
    double scale;                   /* from the bounds' unit to the metric's; 0: 1 */
    void (*write)(const struct metric *m, const struct metrics_view *v, const struct metric_sink *out);
};
const struct metric *metric_at(size_t i); /* NULL past the end */

/* The text that Prometheus scrapes; is_openmetrics: of the OpenMetrics standard. */
void exposition_text(const struct metrics_view *v, bool is_openmetrics, struct buf *out);
#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
/* Names of the OpenTelemetry conventions for what we call otherwise. */
const char *otel_operation(enum op op);      /* "chat" */
const char *otel_provider(const char *kind); /* "gcp.gemini" of "google" */
#endif
