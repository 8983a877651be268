/* trace.h - W3C trace context, and what is told of one request in a trace: a span of the request and one of each attempt. */
#ifndef METER_TRACE_H
#define METER_TRACE_H
#include "base/arena.h"
#include "domain/snapshot.h"

#define TRACE_SAMPLED 1u            /* the only flag there is */
#define TRACEPARENT_LENGTH 55
struct trace_ids {
    uint8_t trace[16], span[8], parent[8];
    uint8_t flags;
    bool has_parent;                /* parent is the caller's span */
};
/* A traceparent header as the caller sent it: span and has_parent are left for the caller of this. false: not one, or all zero. */
bool trace_parse(struct str header, struct trace_ids *out) MUST_USE;
/* Of the given span; out has TRACEPARENT_LENGTH bytes, no NUL. */
void trace_write(const struct trace_ids *ids, const uint8_t span[8], char *out);
bool trace_state_is_fine(struct str header) MUST_USE; /* a tracestate that may be passed on */

struct trace_asked {                /* how the model was to answer */
    double temperature, top_p;      /* NaN: not said */
    int64_t max_tokens;             /* -1 */
};
/* One request that ended, in an arena of its own. Times are monotonic nanoseconds. */
struct trace_attempt {
    uint8_t span[8];
    struct str upstream, kind, model, host;
    uint16_t port;
    uint64_t start_ns, end_ns;
    int status;                     /* 0: no answer */
    const char *fault;              /* "": its answer was taken */
    struct str answered;            /* the model that answered, as the answer calls it; empty: it does not, or there was none */
};
struct trace_record {
    struct arena *arena;
    struct trace_ids ids;
    struct str state;               /* tracestate */
    struct str request_id, key_id, model, upstream, kind, error_code, path;
    struct trace_asked asked;
    enum op op;
    enum wire_id client;
    enum ir_stop stop;
    bool is_stream;
    int status;
    struct ir_usage usage;
    uint64_t start_ns, end_ns, first_ns; /* first 0: no byte of an answer */
    int64_t now_wall_ns, now_mono_ns; /* both clocks at one moment */
    const struct trace_attempt *attempts;
    size_t n_attempts;
};
#endif
