/* metrics.c - what runs and how it goes: the Prometheus text, series of the last minutes, the requests being served. */
#include "api/metrics.h"
#include "api/refusals.h"
#include "base/clock.h"
#include "base/map.h"
#include "gate/budget.h"
#include "gate/limit.h"
#include "relay/replies.h"
#include "route/live.h"
#include "version.h"
#include <math.h>
#include <stdlib.h>

#define ASK_MS 2000 /* a loop answers within microseconds, or something is very wrong */

/* ---- what only the loops know ---- */

struct loop_part {
    struct http_client_stats client;
    uint64_t connections, streams;
    struct arena *arena;
    struct relay_info *live;
    size_t n_live;
};

struct round { /* one question to all loops */
    struct relay_loop **relays;
    unsigned n;
    bool wants_live;
    struct str cancel; /* id of a request to end; empty: none */
    _Atomic bool is_cancelled;
    struct loop_part parts[];
};

static void round_free(void *arg)
{
    struct round *r = arg;
    for (unsigned i = 0; i < r->n; i++)
        arena_free(r->parts[i].arena);
    free(r);
}

static void on_loop(void *arg, unsigned i)
{
    struct round *r = arg;
    struct relay_loop *l = r->relays[i];
    struct loop_part *p = &r->parts[i];
    if (r->cancel.n) {
        if (relay_cancel(l, r->cancel))
            atomic_store(&r->is_cancelled, true);
        return;
    }
    p->client = http_client_stats(l->client);
    p->connections = http_server_conns(l->server);
    p->streams = relay_streams(l);
    if (r->wants_live)
        p->n_live = relay_list(l, p->arena, &p->live);
}

/* The answered round, to be freed with round_free(); NULL with e set. */
static struct round *ask(const struct control *k, bool wants_live, struct str cancel, struct err *e)
{
    struct round *r = calloc(1, sizeof *r + k->n_loops * sizeof r->parts[0]);
    if (!r)
        abort();
    r->relays = k->relays;
    r->n = k->n_loops;
    r->wants_live = wants_live;
    for (unsigned i = 0; i < r->n; i++)
        r->parts[i].arena = arena_new();
    r->cancel = str_dup(r->parts[0].arena, cancel); /* the round may outlive the call */
    if (loops_ask(k->loops, k->n_loops, on_loop, r, round_free, ASK_MS))
        return r;
    err_set(e, ERR_OVERLOADED, "loop_busy", "A loop did not answer in time: try again");
    return NULL;
}

/* ---- the Prometheus text ---- */

static struct upstream_gauge *upstream_gauges(const struct control *k, const struct snapshot *s,
                                              struct arena *a)
{
    struct upstream_gauge *all = ARENA_ARRAY(a, struct upstream_gauge, s->n_upstreams + 1);
    uint64_t now = clock_mono_ms();
    struct breaker_info *b;
    size_t n = live_breakers(relay_live_state(k->shared), s, a, now, &b);
    for (size_t i = 0; i < s->n_upstreams; i++)
        all[i] = (struct upstream_gauge){
            .name = s->upstreams[i]->name,
            .cooling_ms = live_cooling_ms(relay_live_state(k->shared), s->upstreams[i], now),
            .is_enabled = s->upstreams[i]->is_enabled};
    for (size_t k2 = 0; k2 < n; k2++)
        for (size_t i = 0; b[k2].state == BREAKER_OPEN && i < s->n_upstreams; i++)
            all[i].breakers_open += s->upstreams[i] == b[k2].upstream;
    return all;
}

static const struct cache_gauge *cache_gauges(const struct control *k, struct arena *a)
{
    struct cache_layer v[CACHE_LAYERS];
    struct cache_gauge *all = ARENA_ARRAY(a, struct cache_gauge, CACHE_LAYERS);
    relay_cache_layers(k->shared, v);
    for (size_t i = 0; i < CACHE_LAYERS; i++)
        all[i] = (struct cache_gauge){.layer = v[i].name,
                                      .entries = v[i].stats.entries,
                                      .bytes = v[i].stats.bytes,
                                      .hits = v[i].stats.hits,
                                      .misses = v[i].stats.misses,
                                      .joined = v[i].stats.joined,
                                      .evicted = v[i].stats.evicted,
                                      .tokens_saved = v[i].stats.tokens_saved};
    return all;
}

static void limit_gauges(const struct limit_counts *counts, struct arena *a,
                         struct metrics_gauges *g)
{
    struct limit_gauge *all = ARENA_ARRAY(a, struct limit_gauge, LIMIT_OFS * LIMIT_KINDS);
    for (size_t of = 0; of < LIMIT_OFS; of++)
        for (size_t k = 0; k < LIMIT_KINDS; k++)
            if (counts->refused[of][k])
                all[g->n_limits++] = (struct limit_gauge){str_of(limit_of_names[of]),
                                                          str_of(limit_kind_names[k]),
                                                          counts->refused[of][k]};
    g->limits = all;
    g->limits_known = counts->gauges;
    g->limits_evicted = counts->evicted;
    g->limit_waiting = counts->waiting;
    g->limit_waited = counts->waited;
    g->limit_queue_full = counts->queue_full;
}

#define MAX_BUDGETS 100 /* that are told of: labels are bounded */

static const struct budget_gauge *budget_gauges(const struct snapshot *s, struct arena *a,
                                                size_t *n)
{
    *n = s->n_budgets < MAX_BUDGETS ? s->n_budgets : MAX_BUDGETS;
    struct budget_gauge *all = ARENA_ARRAY(a, struct budget_gauge, *n + 1);
    for (size_t i = 0; i < *n; i++) {
        const struct budget *b = s->budgets[i];
        struct budget_view v = budget_look(b, clock_wall_ms());
        all[i] = (struct budget_gauge){b->name, b->limit_nanousd, v.spent,
                                       v.held,  v.refused,        v.cut};
    }
    return all;
}

static struct metrics_gauges shared_gauges(const struct control *k, const struct snapshot *s,
                                           struct arena *a)
{
    struct usage_log_stats log = usage_log_stats(k->usage);
    struct otlp_stats otlp = otlp_stats(k->otlp);
    struct metrics_gauges g = {
        .requests_in_flight = relay_active(k->shared),
        .body_bytes = relay_body_bytes(k->shared),
        .body_bytes_max = s->settings.max_memory_bytes,
        .usage_shed = usage_log_shed(k->usage),
        .usage_queued = log.queued,
        .usage_written = log.written,
        .usage_failures = log.failures,
        .is_degraded = usage_log_is_degraded(k->usage, clock_mono_ms()),
        .is_draining = atomic_load(k->is_draining),
        .config_version = s->version,
        .audit_left_out = k->refusals ? refusals_left_out(k->refusals) : 0,
        .reloads_ok = atomic_load(&k->reloads->ok),
        .reloads_failed = atomic_load(&k->reloads->failed),
        .is_last_reload_ok = atomic_load(&k->reloads->is_last_ok),
        .last_reload_ms = atomic_load(&k->reloads->last_ms),
        .otlp_sent_spans = otlp.sent_spans,
        .otlp_dropped_spans = otlp.dropped_spans,
        .otlp_sent_points = otlp.sent_points,
        .otlp_dropped_points = otlp.dropped_points,
        .otlp_failures = otlp.failures,
        .breakers_opened = live_transitions(relay_live_state(k->shared), BREAKER_OPEN),
        .breakers_closed = live_transitions(relay_live_state(k->shared), BREAKER_CLOSED),
        .global_fallbacks = relay_fallbacks(k->shared),
        .hedge_names = hedge_outcome_names,
        .n_hedges = HEDGE_OUTCOMES,
        .n_hedge_ends = HEDGE_ENDS,
        .caches = cache_gauges(k, a),
        .n_caches = CACHE_LAYERS,
        .upstreams = upstream_gauges(k, s, a),
        .n_upstreams = s->n_upstreams,
        .start_seconds = (double)k->started_ms / 1000,
        .version = sluice_version,
    };
    struct limit_counts limits = limiter_counts(k->limiter);
    limit_gauges(&limits, a, &g);
    for (size_t i = 0; i < HEDGE_OUTCOMES; i++)
        g.hedges[i] = relay_hedges(k->shared, (enum hedge_outcome)i);
    g.budgets = budget_gauges(s, a, &g.n_budgets);
    g.ledger_waiting_bytes = usage_log_waiting_bytes(k->usage);
    g.ledger_unkept = usage_log_unkept(k->usage);
    metrics_read_process(&g);
    return g;
}

static bool loop_gauges(const struct control *k, struct metrics_gauges *g, struct err *e)
{
    struct round *r = ask(k, false, STR_NONE, e);
    if (!r)
        return false;
    for (unsigned i = 0; i < r->n; i++) {
        const struct loop_part *p = &r->parts[i];
        g->connections += p->connections;
        g->streams_active += p->streams;
        g->upstream_open += p->client.open;
        g->upstream_idle += p->client.idle;
        g->upstream_connects += p->client.connects;
        g->upstream_reuses += p->client.reuses;
        g->upstream_failures += p->client.failures;
    }
    round_free(r);
    return true;
}

bool metrics_gather(struct control_call *c, struct metrics_gauges *g, struct err *e)
{
    *g = shared_gauges(c->control, c->snap, c->arena);
    return loop_gauges(c->control, g, e);
}

static const char *name_of_fault(unsigned fault)
{
    return fault_name((enum fault)fault);
}

static struct str label_of(void *arg, struct str id)
{
    const struct snapshot *const *s = arg;
    const struct key *k = snapshot_key_by_id(*s, id);
    return k ? k->label : STR_NONE;
}

static struct metrics_view view_of(const struct control *k, const struct snapshot *s,
                                   struct arena *a, const struct metrics_gauges *now)
{
    const struct snapshot **labels_in = ARENA_NEW(a, const struct snapshot *);
    *labels_in = s;
    return (struct metrics_view){.sum = metrics_read(k->metrics, a),
                                 .now = now,
                                 .fault_name = name_of_fault,
                                 .key_label = label_of,
                                 .key_arg = labels_in};
}

bool metrics_view(const struct control *k, const struct snapshot *s, struct arena *a,
                  bool with_loops, struct metrics_view *v)
{
    struct metrics_gauges *now = ARENA_NEW(a, struct metrics_gauges);
    struct err e = ERR_INIT;
    *now = shared_gauges(k, s, a);
    if (with_loops && !loop_gauges(k, now, &e))
        return false;
    *v = view_of(k, s, a, now);
    return true;
}

static bool prometheus(struct control_call *c, struct err *e)
{
    struct metrics_gauges now;
    if (!metrics_gather(c, &now, e))
        return false;
    struct metrics_view v = view_of(c->control, c->snap, c->arena, &now);
    bool is_openmetrics = str_contains(control_head(c, "accept"),
                                       STR("application/openmetrics-text"));
    exposition_text(&v, is_openmetrics, &c->out);
    c->content_type = is_openmetrics ? OPENMETRICS_TYPE : EXPOSITION_TYPE;
    return true;
}

static bool is_loopback(struct str peer)
{
    return str_starts(peer, STR("127.")) || str_is(peer, "::1") ||
           str_starts(peer, STR("::ffff:127."));
}

/* A proxy on this machine speaks for others. */
static bool is_open_to(const struct settings *s, const struct http_req *r)
{
    return s->metrics_public ||
           (s->metrics_loopback && is_loopback(r->peer) && !http_req_header(r, "forwarded").n &&
            !http_req_header(r, "x-forwarded-for").n);
}

/* ---- series ---- */

struct point_out {
    int64_t t, requests, errors, streams, tokens_in, tokens_out, cost_nanousd, unpriced, refused;
    double avg_ms, ttft_ms, answered_ms;
};
struct label_out {
    struct str id, label;
    int64_t requests, errors, streams, tokens_in, tokens_out, cost_nanousd, unpriced, refused;
    double avg_ms, ttft_ms, answered_ms;
};
struct series_out {
    int64_t seconds, step_seconds, in_flight, active_streams, uptime_seconds;
    struct shape_list series, models, upstreams, keys;
};

/* clang-format off */
static const struct shape point_shape = SHAPE(struct point_out,
    FIELD(struct point_out, t, 0, "Seconds before now at which the step begins, less one: 0 is the running second"),
    FIELD(struct point_out, requests, 0, "Requests that ended"),
    FIELD(struct point_out, errors, 0, "Those that failed"),
    FIELD(struct point_out, streams, 0, "Those that asked for a stream"),
    FIELD(struct point_out, tokens_in, 0, "Input tokens reported"),
    FIELD(struct point_out, tokens_out, 0, "Output tokens reported"),
    FIELD(struct point_out, cost_nanousd, 0, "What they cost, in nano-USD, without the unpriced"),
    FIELD(struct point_out, unpriced, 0, "Requests whose price nobody knows"),
    FIELD(struct point_out, avg_ms, 0, "Mean time to the end of the answer; 0 without requests"),
    FIELD(struct point_out, ttft_ms, 0, "Mean time to the first byte of the model's answer"),
    FIELD(struct point_out, answered_ms, 0, "Mean time to the end of those that began to be answered"),
    FIELD(struct point_out, refused, 0, "Requests besides that led to no model: unknown names, what a key may not use, what is no request"));
static const struct shape label_shape = SHAPE(struct label_out,
    FIELD(struct label_out, id, 0, "Name of the model or upstream, id of the key; `other`: beyond metrics_max_labels"),
    FIELD(struct label_out, label, OMIT_EMPTY, "The key's label"),
    FIELD(struct label_out, requests, 0, "Requests that ended"),
    FIELD(struct label_out, errors, 0, "Those that failed"),
    FIELD(struct label_out, streams, 0, "Those that asked for a stream"),
    FIELD(struct label_out, tokens_in, 0, "Input tokens reported"),
    FIELD(struct label_out, tokens_out, 0, "Output tokens reported"),
    FIELD(struct label_out, cost_nanousd, 0, "What they cost, in nano-USD, without the unpriced"),
    FIELD(struct label_out, unpriced, 0, "Requests whose price nobody knows"),
    FIELD(struct label_out, avg_ms, 0, "Mean time to the end of the answer"),
    FIELD(struct label_out, ttft_ms, 0, "Mean time to the first byte of the model's answer"),
    FIELD(struct label_out, answered_ms, 0, "Mean time to the end of those that began to be answered"),
    FIELD(struct label_out, refused, 0, "Requests besides that led to no model: unknown names, what a key may not use, what is no request"));
struct series_query {
    int64_t seconds;
    struct str by, label;
};
static const struct shape series_query_shape = SHAPE(struct series_query,
    FIELD(struct series_query, seconds, 0, "How far back, from 1 to 300 (others count as the nearest of these); 60 when it is not given"),
    FIELD(struct series_query, by, 0, "model, upstream or key: the series are those of one, in steps of 5 seconds"),
    FIELD(struct series_query, label, 0, "Which one: name of the model or upstream, id of the key"));
static const struct shape series_shape = SHAPE(struct series_out,
    FIELD(struct series_out, seconds, 0, "The time that the series reach back"),
    FIELD(struct series_out, step_seconds, 0, "Seconds that one point stands for"),
    FIELD(struct series_out, in_flight, 0, "Requests being served"),
    FIELD(struct series_out, active_streams, 0, "Streams open to clients"),
    FIELD(struct series_out, uptime_seconds, 0, "Since the process started"),
    FIELD_LIST(struct series_out, series, &point_shape, 0, "Oldest first, ending with the running second"),
    FIELD_LIST(struct series_out, models, &label_shape, 0, "Models that were asked for, most requests first"),
    FIELD_LIST(struct series_out, upstreams, &label_shape, 0, "The same by upstream"),
    FIELD_LIST(struct series_out, keys, &label_shape, 0, "The same by client key"));
/* clang-format on */

static double mean_ms(int64_t sum_us, uint64_t n)
{
    return n ? round((double)sum_us / (double)n / 10) / 100 : 0; /* two decimals */
}

static struct point_out point_out(const struct metrics_point *p, int64_t t)
{
    return (struct point_out){.t = t,
                              .requests = (int64_t)p->requests,
                              .errors = (int64_t)p->errors,
                              .streams = (int64_t)p->streams,
                              .tokens_in = (int64_t)p->tokens_in,
                              .tokens_out = (int64_t)p->tokens_out,
                              .cost_nanousd = (int64_t)p->cost_nanousd,
                              .unpriced = (int64_t)p->unpriced,
                              .avg_ms = mean_ms(p->duration_us, p->requests),
                              .ttft_ms = mean_ms(p->ttft_us, p->ttft_n),
                              .answered_ms = mean_ms(p->answered_us, p->ttft_n),
                              .refused = (int64_t)p->refused};
}

static int most_first(const void *a, const void *b)
{
    const struct label_out *x = a, *y = b;
    if (x->requests != y->requests)
        return x->requests < y->requests ? 1 : -1;
    size_t n = x->id.n < y->id.n ? x->id.n : y->id.n;
    int order = n ? memcmp(x->id.p, y->id.p, n) : 0;
    return order ? order : (x->id.n > y->id.n) - (x->id.n < y->id.n);
}

static struct shape_list recent(struct control_call *c, enum metrics_dim dim, uint64_t now_ns,
                                unsigned seconds)
{
    struct dim_recent *found;
    unsigned steps = (seconds + METRICS_WINDOW_S - 1) / METRICS_WINDOW_S;
    size_t n = metrics_recent(c->control->metrics, dim, now_ns, steps, c->arena, &found);
    struct label_out *all = ARENA_ARRAY(c->arena, struct label_out, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct metrics_point *p = &found[i].sum;
        all[i] = (struct label_out){.id = dim == DIM_KEY && !found[i].text.n ? STR("anonymous")
                                                                             : found[i].text,
                                    .requests = (int64_t)p->requests,
                                    .errors = (int64_t)p->errors,
                                    .streams = (int64_t)p->streams,
                                    .tokens_in = (int64_t)p->tokens_in,
                                    .tokens_out = (int64_t)p->tokens_out,
                                    .cost_nanousd = (int64_t)p->cost_nanousd,
                                    .unpriced = (int64_t)p->unpriced,
                                    .avg_ms = mean_ms(p->duration_us, p->requests),
                                    .ttft_ms = mean_ms(p->ttft_us, p->ttft_n),
                                    .answered_ms = mean_ms(p->answered_us, p->ttft_n),
                                    .refused = (int64_t)p->refused};
    }
    qsort(all, n, sizeof all[0], most_first);
    return (struct shape_list){all, n};
}

static void label_keys(const struct snapshot *s, const struct shape_list *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        struct label_out *k = (struct label_out *)keys->v + i;
        const struct key *known = snapshot_key_by_id(s, k->id);
        if (known)
            k->label = known->label;
    }
}

unsigned metrics_seconds(int64_t asked)
{
    return asked < 1 ? 1 : asked > METRICS_SECONDS ? METRICS_SECONDS : (unsigned)asked;
}

static bool asked_dim(struct str by, enum metrics_dim *out, struct err *e)
{
    static const struct word words[] = {
        {"model", DIM_MODEL}, {"upstream", DIM_UPSTREAM}, {"key", DIM_KEY}, {0}};
    int v = word_value(words, by, -1);
    if (v < 0)
        return err_field(e, "by", "'by' must be model, upstream or key");
    *out = (enum metrics_dim)v;
    return true;
}

/* Of one label: in coarser steps. */
static bool label_series(struct control_call *c, struct str by, struct str label, uint64_t now_ns,
                         struct series_out *out, struct err *e)
{
    enum metrics_dim dim;
    unsigned n = (unsigned)(out->seconds + METRICS_WINDOW_S - 1) / METRICS_WINDOW_S;
    struct metrics_point points[METRICS_SECONDS / METRICS_WINDOW_S];
    if (!asked_dim(by, &dim, e))
        return false;
    if (dim == DIM_KEY && str_is(label, "anonymous"))
        label = STR_NONE;
    if (!metrics_dim_series(c->control->metrics, dim, label, now_ns, n, points))
        return err_set(e, ERR_NOT_FOUND, "not_found",
                       "No requests of the " STR_FMT " '" STR_FMT "'", STR_ARG(by), STR_ARG(label));
    struct point_out *v = ARENA_ARRAY(c->arena, struct point_out, n);
    for (unsigned i = 0; i < n; i++)
        v[i] = point_out(&points[i], -(int64_t)(n - i) * METRICS_WINDOW_S + 1);
    out->step_seconds = METRICS_WINDOW_S;
    out->series = (struct shape_list){v, n};
    return true;
}

static bool series(struct control_call *c, struct err *e)
{
    const struct series_query *asked = c->asked;
    unsigned seconds = c->asked_present & 1 ? metrics_seconds(asked->seconds) : 60;
    uint64_t now = clock_mono_ns();
    struct metrics_gauges gauges;
    if (!metrics_gather(c, &gauges, e))
        return false;
    struct series_out out = {.seconds = seconds,
                             .step_seconds = 1,
                             .in_flight = (int64_t)gauges.requests_in_flight,
                             .active_streams = (int64_t)gauges.streams_active,
                             .uptime_seconds = control_uptime_ms(c->control) / 1000};
    if (asked->by.n) {
        if (!label_series(c, asked->by, asked->label, now, &out, e))
            return false;
    } else {
        struct metrics_point points[METRICS_SECONDS];
        struct point_out *v = ARENA_ARRAY(c->arena, struct point_out, seconds);
        metrics_series(c->control->metrics, now, seconds, points);
        for (unsigned i = 0; i < seconds; i++)
            v[i] = point_out(&points[i], (int64_t)i - (int64_t)seconds + 1);
        out.series = (struct shape_list){v, seconds};
    }
    out.models = recent(c, DIM_MODEL, now, seconds);
    out.upstreams = recent(c, DIM_UPSTREAM, now, seconds);
    out.keys = recent(c, DIM_KEY, now, seconds);
    label_keys(c->snap, &out.keys);
    return control_reply(c, 200, &series_shape, &out);
}

/* ---- requests being served ---- */

struct active_out {
    struct str id, key_id, key_label, model, upstream, upstream_model, operation, format, address;
    int state;
    bool stream, tokens_estimated;
    int64_t elapsed_ms, ttft_ms, attempts, tokens_out, cost_nanousd, bytes_in, bytes_out;
};

/* clang-format off */
static const struct shape active_shape = SHAPE(struct active_out,
    FIELD(struct active_out, id, 0, "Request id"),
    FIELD(struct active_out, model, 0, "Model as the client called it; empty while the body is being read"),
    FIELD(struct active_out, upstream, NULL_EMPTY, "Upstream of the current attempt"),
    FIELD(struct active_out, upstream_model, NULL_EMPTY, "The upstream's id of the model"),
    FIELD(struct active_out, key_id, NULL_EMPTY, "Client key; null: anonymous"),
    FIELD(struct active_out, key_label, NULL_EMPTY, "Its label"),
    FIELD(struct active_out, operation, 0, "What is asked for"),
    FIELD(struct active_out, format, 0, "The client's format"),
    FIELD(struct active_out, address, 0, "Address of the client, behind trusted proxies what they say"),
    FIELD_ENUM(struct active_out, state, relay_state_words, 0, "reading the request, waiting for the upstream, answering"),
    FIELD(struct active_out, stream, 0, "The client asked for a stream"),
    FIELD(struct active_out, elapsed_ms, 0, "Since its first byte"),
    FIELD(struct active_out, ttft_ms, NULL_EMPTY, "Until the first byte of the model's answer; null: not yet"),
    FIELD(struct active_out, attempts, 0, "Upstreams tried, with the current one"),
    FIELD(struct active_out, tokens_out, 0, "Output tokens so far"),
    FIELD(struct active_out, tokens_estimated, 0, "They are estimated from what went out: the upstream tells them at the end"),
    FIELD(struct active_out, cost_nanousd, NULL_NEGATIVE, "Nano-USD so far, estimated: a token for each three bytes of the request, and the output tokens; null: unknown price, or nobody is asked yet"),
    FIELD(struct active_out, bytes_in, 0, "Of the request's body"),
    FIELD(struct active_out, bytes_out, 0, "Of the answer's body so far"));
/* clang-format on */

static int longest_first(const void *a, const void *b)
{
    const struct relay_info *x = a, *y = b;
    return (x->elapsed_ms < y->elapsed_ms) - (x->elapsed_ms > y->elapsed_ms);
}

bool metrics_live(struct control_call *c, struct relay_info **out, size_t *n, struct err *e)
{
    struct round *r = ask(c->control, true, STR_NONE, e);
    *n = 0;
    if (!r)
        return false;
    for (unsigned i = 0; i < r->n; i++)
        *n += r->parts[i].n_live;
    *out = ARENA_ARRAY(c->arena, struct relay_info, *n + 1);
    *n = 0;
    for (unsigned i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->parts[i].n_live; k++) {
            struct relay_info *to = &(*out)[(*n)++];
            *to = r->parts[i].live[k];
            struct str *texts[] = {&to->id,    &to->key_id,   &to->key_label,     &to->peer,
                                   &to->model, &to->upstream, &to->upstream_model};
            for (size_t t = 0; t < ARRAY_LEN(texts); t++)
                *texts[t] = str_dup(c->arena, *texts[t]);
        }
    round_free(r);
    qsort(*out, *n, sizeof **out, longest_first);
    return true;
}

/* What it comes to if it ends now. What the prompt holds is told at the end only: it is taken as a hold takes it. */
static int64_t cost_so_far(struct control_call *c, const struct relay_info *i)
{
    const struct upstream *u = i->upstream.n ? snapshot_upstream(c->snap, i->upstream) : NULL;
    const struct price *p = u ? snapshot_price_at(c->snap, u, i->upstream_model,
                                                  clock_wall_ms() - (int64_t)i->elapsed_ms)
                              : NULL;
    struct usage_vector used = {.v = {[PRICE_INPUT] = (int64_t)(i->bytes_in / 3),
                                      [PRICE_OUTPUT] = i->tokens_out,
                                      [PRICE_REQUEST] = 1}};
    return price_cost(p, SERVICE_STANDARD, &used).nanousd;
}

static struct active_out active_out(struct control_call *c, const struct relay_info *i)
{
    return (struct active_out){
        .id = i->id,
        .model = i->model,
        .upstream = i->upstream,
        .upstream_model = i->upstream_model,
        .key_id = i->key_id,
        .key_label = i->key_label,
        .operation = str_of(op_name(i->op)),
        .format = str_of(wire_of(i->client == WIRE_NONE ? WIRE_CHAT : i->client)->name),
        .address = i->peer,
        .state = (int)i->state,
        .stream = i->is_stream,
        .elapsed_ms = (int64_t)i->elapsed_ms,
        .ttft_ms = (int64_t)i->ttft_ms,
        .attempts = i->attempts,
        .tokens_out = i->tokens_out,
        .tokens_estimated = i->is_estimate,
        .cost_nanousd = cost_so_far(c, i),
        .bytes_in = (int64_t)i->bytes_in,
        .bytes_out = (int64_t)i->bytes_out};
}

static bool active(struct control_call *c, struct err *e)
{
    struct relay_info *live;
    size_t n;
    if (!metrics_live(c, &live, &n, e))
        return false;
    struct active_out *all = ARENA_ARRAY(c->arena, struct active_out, n + 1);
    for (size_t i = 0; i < n; i++)
        all[i] = active_out(c, &live[i]);
    return control_reply_sorted(c, &active_shape, all, n, "id", e);
}

static bool cancel(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    struct round *r = ask(c->control, false, id, e);
    if (!r)
        return false;
    bool is_cancelled = atomic_load(&r->is_cancelled);
    round_free(r);
    c->status = 204;
    return is_cancelled || err_set(e, ERR_NOT_FOUND, "not_found",
                                   "No request '" STR_FMT "' is being served", STR_ARG(id));
}

/* clang-format off */
const struct endpoint metric_endpoints[] = {
    { HTTP_GET,    "/metrics", SURFACE_SLUICE, ACCESS_VIEWER, "Metrics as Prometheus or OpenMetrics text", .on_worker = prometheus, .is_open = is_open_to },
    { HTTP_GET,    "/sluice/v1/metrics/series", SURFACE_SLUICE, ACCESS_VIEWER, "Requests, errors, tokens and times of the last minutes, by second, model, upstream and key", .on_worker = series, .query = &series_query_shape, .out = &series_shape },
    { HTTP_GET,    "/sluice/v1/requests/active", SURFACE_SLUICE, ACCESS_VIEWER, "List the requests being served", .on_worker = active, .query = &page_query_shape, .out = &active_shape, .is_page = true },
    { HTTP_DELETE, "/sluice/v1/requests/active/{id}", SURFACE_SLUICE, ACCESS_ADMIN, "Cancel a request being served", .on_worker = cancel, .status = 204 },
    {0},
};
/* clang-format on */
