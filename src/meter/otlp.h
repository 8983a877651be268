/* otlp.h - sends traces and metrics to an OpenTelemetry collector: OTLP over HTTP, encoded as JSON. A thread of its own batches, sends,
 * and tries again; loops hand it records through bounded rings, and what finds a ring full is dropped and counted. */
#ifndef METER_OTLP_H
#define METER_OTLP_H
#include "meter/exposition.h"
#include "meter/trace.h"

struct otlp;
/* Fills *v for one export of metrics; everything in the arena. false: not now. Called on the exporter's thread. */
typedef bool otlp_collect_fn(void *arg, struct arena *a, struct metrics_view *v);
struct otlp *otlp_new(unsigned loops, otlp_collect_fn *collect, void *arg);
void otlp_free(struct otlp *o);     /* sends once what is queued, waits for it at most some seconds; NULL is allowed */
/* From the settings, and the OTEL_* environment where these say nothing; at the start and after each change. What it says is logged
 * when it changes. dir: where relative files of settings stand. */
void otlp_configure(struct otlp *o, const struct settings *set, struct str dir);
void otlp_settle(struct otlp *o);    /* waits for a collect under way: what it looks at is changed by the caller before and holds afterwards */

bool otlp_fault(struct otlp *o, struct arena *a, struct str *why); /* whether what should be sent is not; why: in the arena. Any thread */

/* Of the relay. */
bool otlp_is_tracing(const struct otlp *o); /* somebody takes traces */
bool otlp_samples(const struct otlp *o, const uint8_t trace[16]); /* … of a request without a trace of its caller as well */
void otlp_put(struct otlp *o, unsigned loop, struct trace_record *r); /* takes it with its arena */
struct otlp_stats {
    uint64_t sent_spans, dropped_spans, sent_points, dropped_points, failures;
};
struct otlp_stats otlp_stats(const struct otlp *o);
/* The bodies, for tests: one request with all records; one with all metrics. */
void otlp_write_traces(struct trace_record *const *r, size_t n, struct str resource, struct buf *out, size_t *spans);
void otlp_write_metrics(const struct metrics_view *v, struct str resource, int64_t start_ns, int64_t now_ns, struct buf *out, size_t *points);
#endif
