/* metrics.h - what the process counts of its requests. Each loop writes a shard of its own with relaxed stores; readers on any
 * thread sum them up. Nothing locks, and nothing is allocated but for a label or a combination of labels never seen before.
 * Label sets are bounded: what comes beyond the bound is counted under the label `other`.
 * Knows nothing of names and texts that are shown: meter/exposition.h. */
#ifndef METER_METRICS_H
#define METER_METRICS_H
#include "base/arena.h"
#include "domain/snapshot.h"

#define METRICS_SECONDS 300         /* the past that series reach into */
#define METRICS_WINDOW_S 5          /* resolution of the series of one label */
#define METRICS_MAX_FAULTS 16       /* kinds of failed attempts: enum fault of route */

struct metrics;
struct metrics_shard;
struct metrics *metrics_new(unsigned loops, unsigned max_labels); /* max_labels: of each label set */
void metrics_free(struct metrics *m);
struct metrics_shard *metrics_shard(struct metrics *m, unsigned loop);

/* ---- the loop's side: shards belong to one thread ---- */

struct metrics_request {            /* one that ended; nothing of it is kept */
    uint64_t now_ns;                /* monotonic */
    enum op op;
    enum wire_id client;
    struct str model;               /* as the client called it; empty: it led nowhere */
    const struct snapshot *snap;    /* says whether the model stands in the configuration by that name */
    const struct upstream *upstream; /* the last one tried; NULL: none. Counts where it was asked, or answered */
    const struct key *key;          /* NULL: anonymous */
    int status;                     /* 499: the client left */
    bool is_stream;
    const char *error_code;         /* "": none */
    const struct ir_usage *usage;
    unsigned attempts, failed_attempts;
    unsigned hedges;                /* of the attempts, those beside another */
    int64_t ttft_us, duration_us;   /* ttft -1: no byte came */
    int64_t cost_nanousd;           /* 0: nothing, or unknown */
    bool is_unpriced;               /* it was sent, and nobody knows its price */
};
void metrics_done(struct metrics_shard *s, const struct metrics_request *r);
void metrics_attempt_failed(struct metrics_shard *s, const struct upstream *u, unsigned fault);
void metrics_refused(struct metrics_shard *s, int status);    /* before a relay began: 401, 403, 404 … */

/* ---- the readers' side: any thread ---- */

enum metrics_dim { DIM_MODEL, DIM_UPSTREAM, DIM_KEY, DIM_N };

#define HISTOGRAM_MAX 20
struct bounds {                     /* upper bounds of a histogram's buckets; one more bucket takes the rest */
    unsigned n;
    int64_t v[HISTOGRAM_MAX];
};
extern const struct bounds bounds_duration, bounds_ttft, bounds_per_token, bounds_tokens; /* microseconds, tokens */
struct histogram {
    uint64_t bucket[HISTOGRAM_MAX + 1]; /* of its own: not cumulative */
    uint64_t count;
    int64_t sum;
};

struct traffic_sum {                /* of one operation, format, model, upstream; failures apart */
    enum op op;
    enum wire_id client;
    struct str model, upstream;
    const char *kind;               /* the upstream's provider kind; "": none */
    bool is_error;
    struct histogram duration, ttft, per_token, tokens_in, tokens_out;
    uint64_t streams, attempts, failovers, cache_read, cache_write, reasoning, cost_nanousd, unpriced;
};
struct outcome_sum {
    enum op op;
    enum wire_id client;
    struct str model, upstream, error; /* error empty: none */
    int status;
    uint64_t requests;
};
struct dim_sum {                    /* of one model, upstream or key */
    struct str text;                /* its name; of a key its id */
    uint64_t requests, errors, streams, tokens_in, tokens_out;
    int64_t duration_us;
};
struct attempt_sum {
    struct str upstream;
    uint64_t ok, by_fault[METRICS_MAX_FAULTS]; /* ok: the upstream's reply was taken */
};
struct status_sum {
    int status;
    uint64_t n;
};
struct metrics_sum {                /* all of it, in an arena; sorted, so that it comes in the same order each time */
    struct traffic_sum *traffic;
    struct outcome_sum *outcomes;
    struct dim_sum *dims[DIM_N];
    struct attempt_sum *attempts;
    struct status_sum *refused;
    size_t n_traffic, n_outcomes, n_dims[DIM_N], n_attempts, n_refused;
    uint64_t labels_beyond;         /* requests of which some label was counted as `other` */
};
struct metrics_sum *metrics_read(const struct metrics *m, struct arena *a);

struct metrics_point {              /* of a second, or of METRICS_WINDOW_S of them */
    uint64_t requests, errors, streams, tokens_in, tokens_out, ttft_n;
    uint64_t failures;              /* with a status of 400 or more: errors has streams that broke off as well */
    uint64_t cost_nanousd, unpriced; /* unpriced: requests that cost nobody knows what */
    uint64_t refused;               /* of no model: they led nowhere, and are no part of requests and errors */
    int64_t duration_us, ttft_us;
    int64_t answered_us;            /* of duration_us that of the ttft_n */
};
/* The last `seconds` seconds up to and with that of now_ns, oldest first. seconds <= METRICS_SECONDS. */
void metrics_series(const struct metrics *m, uint64_t now_ns, unsigned seconds, struct metrics_point *out);
/* The same of one label of a dimension in steps of METRICS_WINDOW_S; n <= METRICS_SECONDS / METRICS_WINDOW_S. false: no such label. */
bool metrics_dim_series(const struct metrics *m, enum metrics_dim dim, struct str label, uint64_t now_ns, unsigned n,
                        struct metrics_point *out);
/* Its sum over the last n steps, of every label of a dimension that had requests; in the arena. */
struct dim_recent {
    struct str text;
    struct metrics_point sum;
};
size_t metrics_recent(const struct metrics *m, enum metrics_dim dim, uint64_t now_ns, unsigned n, struct arena *a, struct dim_recent **out);
#endif
