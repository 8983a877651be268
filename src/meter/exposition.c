#include "meter/exposition.h"
#include "wire/wires.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- names of the conventions ---- */

const char *otel_operation(enum op op)
{
    switch (op) {
    case OP_CHAT:
    case OP_RESPONSES:
    case OP_MESSAGES:
    case OP_OLLAMA_CHAT:
        return "chat";
    case OP_COMPLETIONS:
    case OP_OLLAMA_GENERATE:
        return "text_completion";
    case OP_GEMINI:
        return "generate_content";
    case OP_EMBED_OPENAI:
    case OP_EMBED_GEMINI:
    case OP_EMBED_OLLAMA:
        return "embeddings";
    case OP_COUNT_ANTHROPIC:
    case OP_COUNT_GEMINI:
    case OP_COUNT_RESPONSES:
    case OP_COMPACT:
    case OP_IMAGE_GENERATE:
    case OP_IMAGE_EDIT:
    case OP_SPEECH:
    case OP_TRANSCRIBE:
    case OP_TRANSLATE:
    case OP_MODERATE:
    case OP_RERANK:
    case OP_MODELS:
    case OP_N:
        break;
    }
    return op_name(op); /* not in the conventions: our own word */
}

const char *otel_provider(const char *kind)
{
    static const char *const names[][2] = {
        {"google", "gcp.gemini"},    {"vertex", "gcp.vertex_ai"}, {"azure", "azure.ai.openai"},
        {"bedrock", "aws.bedrock"},  {"mistral", "mistral_ai"},   {"xai", "x_ai"},
        {"moonshot", "moonshot_ai"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(kind, names[i][0]) == 0)
            return names[i][1];
    return kind;
}

static struct str format_name(enum wire_id w)
{
    return w == WIRE_NONE ? STR("openai") : str_of(wire_of(w)->name);
}

/* ---- where the numbers come from: one function a metric or a family of them ---- */

#define WRITER(name)                                                       \
    static void name(const struct metric *m, const struct metrics_view *v, \
                     const struct metric_sink *out)
#define LABELS(...) ((const struct metric_label[]){__VA_ARGS__})
#define LABELS_N(...) (sizeof(LABELS(__VA_ARGS__)) / sizeof(struct metric_label))
#define NUMBER(value, ...) \
    out->number(out->arg, m, LABELS(__VA_ARGS__), LABELS_N(__VA_ARGS__), (double)(value))
#define ALONE(value) out->number(out->arg, m, NULL, 0, (double)(value))

static struct str text(const char *z)
{
    return str_of(z);
}

static void write_hist(const struct metric *m, const struct metric_sink *out,
                       const struct traffic_sum *t, const struct histogram *h, const char *token)
{
    struct metric_label l[8];
    size_t n = 0;
    if (h->count == 0)
        return;
    l[n++] = (struct metric_label){"gen_ai_operation_name", text(otel_operation(t->op))};
    l[n++] = (struct metric_label){"gen_ai_provider_name", text(otel_provider(t->kind))};
    l[n++] = (struct metric_label){"gen_ai_request_model", t->model};
    l[n++] = (struct metric_label){"upstream", t->upstream};
    l[n++] = (struct metric_label){"format", format_name(t->client)};
    if (token)
        l[n++] = (struct metric_label){"gen_ai_token_type", text(token)};
    else
        l[n++] = (struct metric_label){"outcome", t->is_error ? STR("error") : STR("ok")};
    out->histogram(out->arg, m, l, n, h);
}

#define HIST_WRITER(name, member)                                                      \
    WRITER(name)                                                                       \
    {                                                                                  \
        for (size_t i = 0; i < v->sum->n_traffic; i++)                                 \
            write_hist(m, out, &v->sum->traffic[i], &v->sum->traffic[i].member, NULL); \
    }
HIST_WRITER(duration, duration)
HIST_WRITER(ttft, ttft)
HIST_WRITER(per_token, per_token)

/* Failed requests and good ones are one here: tokens are tokens. */
static bool is_same_but_outcome(const struct traffic_sum *a, const struct traffic_sum *b)
{
    return a->op == b->op && a->client == b->client && str_eq(a->model, b->model) &&
           str_eq(a->upstream, b->upstream);
}

static void add_histogram(struct histogram *to, const struct histogram *h)
{
    for (unsigned i = 0; i <= HISTOGRAM_MAX; i++)
        to->bucket[i] += h->bucket[i];
    to->count += h->count;
    to->sum += h->sum;
}

WRITER(token_usage)
{
    const struct metrics_sum *s = v->sum;
    for (size_t i = 0; i < s->n_traffic; i++) {
        if (s->traffic[i].is_error)
            continue; /* sorted: all failures stand behind */
        struct histogram in = s->traffic[i].tokens_in, made = s->traffic[i].tokens_out;
        for (size_t k = i + 1; k < s->n_traffic; k++)
            if (s->traffic[k].is_error && is_same_but_outcome(&s->traffic[i], &s->traffic[k])) {
                add_histogram(&in, &s->traffic[k].tokens_in);
                add_histogram(&made, &s->traffic[k].tokens_out);
            }
        write_hist(m, out, &s->traffic[i], &in, "input");
        write_hist(m, out, &s->traffic[i], &made, "output");
    }
    for (size_t i = 0; i < s->n_traffic; i++) { /* those that only ever failed */
        bool has_good = !s->traffic[i].is_error;
        for (size_t k = 0; k < i && !has_good; k++)
            has_good = !s->traffic[k].is_error &&
                       is_same_but_outcome(&s->traffic[i], &s->traffic[k]);
        if (has_good)
            continue;
        write_hist(m, out, &s->traffic[i], &s->traffic[i].tokens_in, "input");
        write_hist(m, out, &s->traffic[i], &s->traffic[i].tokens_out, "output");
    }
}

/* Sums over all rows of one model and upstream: rows of the same pair are not neighbours, so each pair is written at its first. */
static bool is_first_of_pair(const struct metrics_sum *s, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (str_eq(s->traffic[k].model, s->traffic[i].model) &&
            str_eq(s->traffic[k].upstream, s->traffic[i].upstream))
            return false;
    return true;
}

struct pair_sum {
    uint64_t in, out, cache_read, cache_write, reasoning, streams, failovers, cost, unpriced;
};

static struct pair_sum pair_sum(const struct metrics_sum *s, size_t i)
{
    struct pair_sum p = {0};
    for (size_t k = i; k < s->n_traffic; k++) {
        const struct traffic_sum *t = &s->traffic[k];
        if (!str_eq(t->model, s->traffic[i].model) || !str_eq(t->upstream, s->traffic[i].upstream))
            continue;
        p.in += (uint64_t)t->tokens_in.sum;
        p.out += (uint64_t)t->tokens_out.sum;
        p.cache_read += t->cache_read;
        p.cache_write += t->cache_write;
        p.reasoning += t->reasoning;
        p.streams += t->streams;
        p.failovers += t->failovers;
        p.cost += t->cost_nanousd;
        p.unpriced += t->unpriced;
    }
    return p;
}

WRITER(tokens)
{
    const struct metrics_sum *s = v->sum;
    for (size_t i = 0; i < s->n_traffic; i++) {
        if (!is_first_of_pair(s, i))
            continue;
        struct pair_sum p = pair_sum(s, i);
        const struct {
            const char *type;
            uint64_t n;
        } kinds[] = {{"input", p.in},
                     {"output", p.out},
                     {"cache_read", p.cache_read},
                     {"cache_write", p.cache_write},
                     {"reasoning", p.reasoning}};
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            NUMBER(kinds[k].n, {"gen_ai_request_model", s->traffic[i].model},
                   {"upstream", s->traffic[i].upstream}, {"type", text(kinds[k].type)});
    }
}

WRITER(streams)
{
    for (size_t i = 0; i < v->sum->n_traffic; i++)
        if (is_first_of_pair(v->sum, i))
            NUMBER(pair_sum(v->sum, i).streams, {"gen_ai_request_model", v->sum->traffic[i].model},
                   {"upstream", v->sum->traffic[i].upstream});
}

WRITER(failovers)
{
    for (size_t i = 0; i < v->sum->n_traffic; i++)
        if (is_first_of_pair(v->sum, i))
            NUMBER(pair_sum(v->sum, i).failovers,
                   {"gen_ai_request_model", v->sum->traffic[i].model},
                   {"upstream", v->sum->traffic[i].upstream});
}

WRITER(cost)
{
    for (size_t i = 0; i < v->sum->n_traffic; i++)
        if (is_first_of_pair(v->sum, i))
            NUMBER((double)pair_sum(v->sum, i).cost * 1e-9,
                   {"gen_ai_request_model", v->sum->traffic[i].model},
                   {"upstream", v->sum->traffic[i].upstream});
}

WRITER(unpriced)
{
    for (size_t i = 0; i < v->sum->n_traffic; i++)
        if (is_first_of_pair(v->sum, i))
            NUMBER(pair_sum(v->sum, i).unpriced, {"gen_ai_request_model", v->sum->traffic[i].model},
                   {"upstream", v->sum->traffic[i].upstream});
}

static bool is_same_outcome(const struct outcome_sum *a, const struct outcome_sum *b)
{
    return a->op == b->op && a->client == b->client && a->status == b->status &&
           str_eq(a->model, b->model) && str_eq(a->upstream, b->upstream);
}

/* Rows differ in their error as well, which another metric tells: those of the same rest are added up at their first. */
WRITER(requests)
{
    const struct metrics_sum *s = v->sum;
    for (size_t i = 0; i < s->n_outcomes; i++) {
        const struct outcome_sum *o = &s->outcomes[i];
        uint64_t n = 0;
        bool is_first = true;
        for (size_t k = 0; k < i && is_first; k++)
            is_first = !is_same_outcome(&s->outcomes[k], o);
        if (!is_first)
            continue;
        for (size_t k = i; k < s->n_outcomes; k++)
            if (is_same_outcome(&s->outcomes[k], o))
                n += s->outcomes[k].requests;
        char code[16];
        (void)snprintf(code, sizeof code, "%d", o->status);
        NUMBER(n, {"gen_ai_operation_name", text(otel_operation(o->op))},
               {"gen_ai_request_model", o->model}, {"upstream", o->upstream},
               {"format", format_name(o->client)}, {"code", text(code)});
    }
}

static bool is_same_error(const struct outcome_sum *a, const struct outcome_sum *b)
{
    return str_eq(a->model, b->model) && str_eq(a->upstream, b->upstream) &&
           str_eq(a->error, b->error);
}

WRITER(errors)
{
    const struct metrics_sum *s = v->sum;
    for (size_t i = 0; i < s->n_outcomes; i++) {
        const struct outcome_sum *o = &s->outcomes[i];
        uint64_t n = 0;
        bool is_first = o->error.n > 0;
        for (size_t k = 0; k < i && is_first; k++)
            is_first = !is_same_error(&s->outcomes[k], o);
        if (!is_first)
            continue;
        for (size_t k = i; k < s->n_outcomes; k++)
            if (is_same_error(&s->outcomes[k], o))
                n += s->outcomes[k].requests;
        NUMBER(n, {"gen_ai_request_model", o->model}, {"upstream", o->upstream},
               {"error_type", o->error});
    }
}

static struct str key_id(const struct dim_sum *d)
{
    return d->text.n ? d->text : STR("anonymous");
}

static struct str key_label(const struct metrics_view *v, const struct dim_sum *d)
{
    return v->key_label ? v->key_label(v->key_arg, d->text) : STR_NONE;
}

WRITER(key_requests)
{
    for (size_t i = 0; i < v->sum->n_dims[DIM_KEY]; i++) {
        const struct dim_sum *d = &v->sum->dims[DIM_KEY][i];
        NUMBER(d->requests - d->errors, {"key_id", key_id(d)}, {"key_label", key_label(v, d)},
               {"outcome", STR("ok")});
        NUMBER(d->errors, {"key_id", key_id(d)}, {"key_label", key_label(v, d)},
               {"outcome", STR("error")});
    }
}

WRITER(key_tokens)
{
    for (size_t i = 0; i < v->sum->n_dims[DIM_KEY]; i++) {
        const struct dim_sum *d = &v->sum->dims[DIM_KEY][i];
        NUMBER(d->tokens_in, {"key_id", key_id(d)}, {"key_label", key_label(v, d)},
               {"type", STR("input")});
        NUMBER(d->tokens_out, {"key_id", key_id(d)}, {"key_label", key_label(v, d)},
               {"type", STR("output")});
    }
}

WRITER(attempts)
{
    for (size_t i = 0; i < v->sum->n_attempts; i++) {
        const struct attempt_sum *a = &v->sum->attempts[i];
        NUMBER(a->ok, {"upstream", a->upstream}, {"fault", STR("none")});
        for (unsigned f = 0; f < METRICS_MAX_FAULTS; f++)
            if (a->by_fault[f])
                NUMBER(a->by_fault[f], {"upstream", a->upstream},
                       {"fault", text(v->fault_name(f))});
    }
}

WRITER(refused)
{
    for (size_t i = 0; i < v->sum->n_refused; i++) {
        char code[16];
        (void)snprintf(code, sizeof code, "%d", v->sum->refused[i].status);
        NUMBER(v->sum->refused[i].n, {"code", text(code)});
    }
}

WRITER(cooling)
{
    for (size_t i = 0; i < v->now->n_upstreams; i++)
        NUMBER((double)v->now->upstreams[i].cooling_ms / 1000,
               {"upstream", v->now->upstreams[i].name});
}

WRITER(breakers_open)
{
    for (size_t i = 0; i < v->now->n_upstreams; i++)
        NUMBER((double)v->now->upstreams[i].breakers_open, {"upstream", v->now->upstreams[i].name});
}

WRITER(breaker_transitions)
{
    NUMBER(v->now->breakers_opened, {"to", STR("open")});
    NUMBER(v->now->breakers_closed, {"to", STR("closed")});
}

WRITER(hedges)
{
    for (size_t i = 0; i < v->now->n_hedge_ends; i++)
        NUMBER(v->now->hedges[i], {"outcome", str_of(v->now->hedge_names[i])});
}

WRITER(hedges_withheld)
{
    for (size_t i = v->now->n_hedge_ends; i < v->now->n_hedges; i++)
        NUMBER(v->now->hedges[i], {"reason", str_of(v->now->hedge_names[i])});
}

WRITER(upstream_enabled)
{
    for (size_t i = 0; i < v->now->n_upstreams; i++)
        NUMBER(v->now->upstreams[i].is_enabled, {"upstream", v->now->upstreams[i].name});
}

WRITER(limit_refused)
{
    for (size_t i = 0; i < v->now->n_limits; i++)
        NUMBER(v->now->limits[i].refused, {"of", v->now->limits[i].of},
               {"limit", v->now->limits[i].limit});
}

WRITER(upstream_connections)
{
    NUMBER(v->now->upstream_open - v->now->upstream_idle, {"state", STR("busy")});
    NUMBER(v->now->upstream_idle, {"state", STR("idle")});
}

WRITER(reloads)
{
    NUMBER(v->now->reloads_ok, {"result", STR("ok")});
    NUMBER(v->now->reloads_failed, {"result", STR("failed")});
}

WRITER(otlp_sent)
{
    NUMBER(v->now->otlp_sent_spans, {"signal", STR("traces")});
    NUMBER(v->now->otlp_sent_points, {"signal", STR("metrics")});
}

WRITER(otlp_dropped)
{
    NUMBER(v->now->otlp_dropped_spans, {"signal", STR("traces")});
    NUMBER(v->now->otlp_dropped_points, {"signal", STR("metrics")});
}

WRITER(cache_requests)
{
    for (size_t i = 0; i < v->now->n_caches; i++) {
        const struct cache_gauge *c = &v->now->caches[i];
        NUMBER(c->hits, {"layer", text(c->layer)}, {"result", STR("hit")});
        NUMBER(c->joined, {"layer", text(c->layer)}, {"result", STR("joined")});
        NUMBER(c->misses, {"layer", text(c->layer)}, {"result", STR("miss")});
    }
}

#define CACHE_WRITER(name, member)                                                      \
    WRITER(name)                                                                        \
    {                                                                                   \
        for (size_t i = 0; i < v->now->n_caches; i++)                                   \
            NUMBER(v->now->caches[i].member, {"layer", text(v->now->caches[i].layer)}); \
    }
CACHE_WRITER(cache_entries, entries)
CACHE_WRITER(cache_bytes, bytes)
CACHE_WRITER(cache_evicted, evicted)
CACHE_WRITER(cache_tokens, tokens_saved)

#define BUDGET_WRITER(name_, value)                             \
    WRITER(name_)                                               \
    {                                                           \
        for (size_t i = 0; i < v->now->n_budgets; i++) {        \
            const struct budget_gauge *b = &v->now->budgets[i]; \
            NUMBER((double)(value), {"budget", b->name});       \
        }                                                       \
    }
BUDGET_WRITER(budget_limit, (double)b->limit * 1e-9)
BUDGET_WRITER(budget_spent, (double)b->spent * 1e-9)
BUDGET_WRITER(budget_held, (double)b->held * 1e-9)
BUDGET_WRITER(budget_refused, b->refused)
BUDGET_WRITER(budget_cut, b->cut)

WRITER(build_info)
{
    NUMBER(1, {"version", text(v->now->version)});
}

#define ALONE_WRITER(name, value) \
    WRITER(name)                  \
    {                             \
        ALONE(value);             \
    }
ALONE_WRITER(labels_beyond, v->sum->labels_beyond)
ALONE_WRITER(in_flight, v->now->requests_in_flight)
ALONE_WRITER(streams_active, v->now->streams_active)
ALONE_WRITER(connections, v->now->connections)
ALONE_WRITER(connects, v->now->upstream_connects)
ALONE_WRITER(reuses, v->now->upstream_reuses)
ALONE_WRITER(connect_failures, v->now->upstream_failures)
ALONE_WRITER(global_fallbacks, v->now->global_fallbacks)
ALONE_WRITER(body_bytes, v->now->body_bytes)
ALONE_WRITER(body_bytes_max, v->now->body_bytes_max)
ALONE_WRITER(limit_waiting, v->now->limit_waiting)
ALONE_WRITER(limit_waited, v->now->limit_waited)
ALONE_WRITER(limit_queue_full, v->now->limit_queue_full)
ALONE_WRITER(limits_known, v->now->limits_known)
ALONE_WRITER(limits_evicted, v->now->limits_evicted)
ALONE_WRITER(usage_queued, v->now->usage_queued)
ALONE_WRITER(usage_shed, v->now->usage_shed)
ALONE_WRITER(ledger_waiting, v->now->ledger_waiting_bytes)
ALONE_WRITER(ledger_unkept, v->now->ledger_unkept)
ALONE_WRITER(usage_written, v->now->usage_written)
ALONE_WRITER(usage_failures, v->now->usage_failures)
ALONE_WRITER(degraded, v->now->is_degraded)
ALONE_WRITER(draining, v->now->is_draining)
ALONE_WRITER(config_version, v->now->config_version)
ALONE_WRITER(last_reload_ok, v->now->is_last_reload_ok)
ALONE_WRITER(last_reload, (double)v->now->last_reload_ms / 1000)
ALONE_WRITER(audit_left_out, v->now->audit_left_out)
ALONE_WRITER(otlp_failures, v->now->otlp_failures)
ALONE_WRITER(cpu, v->now->cpu_seconds)
ALONE_WRITER(start, v->now->start_seconds)
ALONE_WRITER(rss, v->now->rss_bytes)
ALONE_WRITER(virtual, v->now->virtual_bytes)
ALONE_WRITER(open_fds, v->now->open_fds)
ALONE_WRITER(max_fds, v->now->max_fds)
ALONE_WRITER(threads, v->now->threads)

/* ---- the table ---- */

#define COUNTER METRIC_COUNTER
#define GAUGE METRIC_GAUGE
#define HISTOGRAM METRIC_HISTOGRAM
#define TRAFFIC \
    "gen_ai_operation_name, gen_ai_provider_name, gen_ai_request_model, upstream, format"
#define PAIR "gen_ai_request_model, upstream"

/* clang-format off */
static const struct metric rows[] = {
    { "gen_ai_server_request_duration_seconds", HISTOGRAM, "seconds", TRAFFIC ", outcome", "gen_ai.server.request.duration",
      "Time from a request's first byte to the end of its answer", &bounds_duration, 1e-6, duration },
    { "gen_ai_server_time_to_first_token_seconds", HISTOGRAM, "seconds", TRAFFIC ", outcome", "gen_ai.server.time_to_first_token",
      "Time from a request's first byte to the first byte of the model's answer", &bounds_ttft, 1e-6, ttft },
    { "gen_ai_server_time_per_output_token_seconds", HISTOGRAM, "seconds", TRAFFIC ", outcome", "gen_ai.server.time_per_output_token",
      "Of streams: time for each token behind the first", &bounds_per_token, 1e-6, per_token },
    { "gen_ai_client_token_usage", HISTOGRAM, "", TRAFFIC ", gen_ai_token_type", "gen_ai.client.token.usage",
      "Tokens of a request, as the upstream reported them", &bounds_tokens, 1, token_usage },
    { "sluice_requests", COUNTER, "", "gen_ai_operation_name, gen_ai_request_model, upstream, format, code", NULL,
      "Requests that ended, by the status the client got; 499: it left before its answer was out", NULL, 0, requests },
    { "sluice_request_errors", COUNTER, "", PAIR ", error_type", NULL, "Requests that failed, by the stable code of their error", NULL, 0, errors },
    { "sluice_refused_requests", COUNTER, "", "code", NULL,
      "Calls turned away before anything was done for them: no or wrong credential, unknown path, a query or body that does not fit", NULL, 0, refused },
    { "sluice_tokens", COUNTER, "", PAIR ", type", NULL,
      "Tokens as the upstreams reported them; cache_read and cache_write are part of input, reasoning is part of output", NULL, 0, tokens },
    { "sluice_cost_usd", COUNTER, "", PAIR, NULL, "What requests cost, in USD, as far as their price is known", NULL, 0, cost },
    { "sluice_unpriced_requests", COUNTER, "", PAIR, NULL, "Requests whose price nobody knows: their cost comes on top", NULL, 0, unpriced },
    { "sluice_budget_limit_usd", GAUGE, "", "budget", NULL, "What a budget allows in its period", NULL, 0, budget_limit },
    { "sluice_budget_spent_usd", GAUGE, "", "budget", NULL, "What is settled of it", NULL, 0, budget_spent },
    { "sluice_budget_held_usd", GAUGE, "", "budget", NULL, "What is held of it for requests that run", NULL, 0, budget_held },
    { "sluice_budget_refused_requests", COUNTER, "", "budget", NULL, "Requests that it had no room for", NULL, 0, budget_refused },
    { "sluice_budget_cut_streams", COUNTER, "", "budget", NULL, "Streams that were ended because their hold could not grow", NULL, 0, budget_cut },
    { "sluice_ledger_waiting_bytes", GAUGE, "bytes", "", NULL, "Memory of ledger lines that wait beside a full journal", NULL, 0, ledger_waiting },
    { "sluice_ledger_unkept_lines", COUNTER, "", "", NULL,
      "Ledger lines that were in memory alone until they were in the store: the journal was full, or there is none", NULL, 0, ledger_unkept },
    { "sluice_streams", COUNTER, "", PAIR, NULL, "Requests that asked for a stream", NULL, 0, streams },
    { "sluice_failovers", COUNTER, "", PAIR, NULL, "Further attempts that requests took after their first, by the upstream that ended them", NULL, 0, failovers },
    { "sluice_upstream_attempts", COUNTER, "", "upstream, fault", NULL,
      "Attempts at an upstream, by what went wrong; none: its answer was taken", NULL, 0, attempts },
    { "sluice_key_requests", COUNTER, "", "key_id, key_label, outcome", NULL, "Requests of a client key", NULL, 0, key_requests },
    { "sluice_key_tokens", COUNTER, "", "key_id, key_label, type", NULL, "Tokens of a client key", NULL, 0, key_tokens },
    { "sluice_requests_in_flight", GAUGE, "", "", NULL, "Requests being served", NULL, 0, in_flight },
    { "sluice_streams_active", GAUGE, "", "", NULL, "Streams that are open to clients", NULL, 0, streams_active },
    { "sluice_connections", GAUGE, "", "", NULL, "Open client connections", NULL, 0, connections },
    { "sluice_upstream_connections", GAUGE, "", "state", NULL, "Open connections to upstreams", NULL, 0, upstream_connections },
    { "sluice_upstream_connects", COUNTER, "", "", NULL, "Connections made to upstreams", NULL, 0, connects },
    { "sluice_upstream_reuses", COUNTER, "", "", NULL, "Attempts that found an idle connection", NULL, 0, reuses },
    { "sluice_upstream_connection_failures", COUNTER, "", "", NULL, "Attempts that failed in the connection itself", NULL, 0, connect_failures },
    { "sluice_upstream_cooling_seconds", GAUGE, "seconds", "upstream", NULL, "Time until an upstream is asked again before others; 0: it is asked", NULL, 0, cooling },
    { "sluice_breakers_open", GAUGE, "", "upstream", NULL, "Credentials and models of an upstream that are left alone", NULL, 0, breakers_open },
    { "sluice_breaker_transitions", COUNTER, "", "to", NULL, "Breakers that opened, and that closed again", NULL, 0, breaker_transitions },
    { "sluice_global_fallbacks", COUNTER, "", "", NULL, "Requests that the global fallback model took over", NULL, 0, global_fallbacks },
    { "sluice_hedges", COUNTER, "", "outcome", NULL, "Attempts beside a silent one: `won` it answered first, `lost` the other did, `failed`, `left` neither answered", NULL, 0, hedges },
    { "sluice_hedges_withheld", COUNTER, "", "reason", NULL, "Those that were due and not made: `budget` the share was used up, `limit` a limit had no room, `money` a budget had none, `target` nobody else stood well", NULL, 0, hedges_withheld },
    { "sluice_upstream_enabled", GAUGE, "", "upstream", NULL, "1 when the upstream is switched on", NULL, 0, upstream_enabled },
    { "sluice_limit_refused", COUNTER, "", "of,limit", NULL, "Requests refused because a key, user, organisation, model or upstream (`of`) had used what it may", NULL, 0, limit_refused },
    { "sluice_limit_waiting_requests", GAUGE, "", "", NULL, "Requests that wait for room within a limit", NULL, 0, limit_waiting },
    { "sluice_limit_waited_requests", COUNTER, "", "", NULL, "Requests that had to wait for it", NULL, 0, limit_waited },
    { "sluice_limit_queue_full_requests", COUNTER, "", "", NULL, "Requests that could not wait because limit_queue_max others did", NULL, 0, limit_queue_full },
    { "sluice_limit_places", GAUGE, "", "", NULL, "Keys, users, organisations, models and upstreams whose use is counted, those that went and are kept included", NULL, 0, limits_known },
    { "sluice_limit_evicted_places", COUNTER, "", "", NULL, "Of those that went, how many were forgotten for want of room", NULL, 0, limits_evicted },
    { "sluice_held_body_bytes", GAUGE, "bytes", "", NULL, "Request bodies held in memory", NULL, 0, body_bytes },
    { "sluice_held_body_limit_bytes", GAUGE, "bytes", "", NULL, "What max_memory_bytes allows of them: beyond it requests get 503", NULL, 0, body_bytes_max },
    { "sluice_cache_requests", COUNTER, "", "layer, result", NULL, "Requests that kept answers could serve: answered from one, by waiting for an equal request, or not", NULL, 0, cache_requests },
    { "sluice_cache_entries", GAUGE, "", "layer", NULL, "Answers kept", NULL, 0, cache_entries },
    { "sluice_cache_bytes", GAUGE, "bytes", "layer", NULL, "Memory that they take", NULL, 0, cache_bytes },
    { "sluice_cache_evicted", COUNTER, "", "layer", NULL, "Answers that made room for others before their time", NULL, 0, cache_evicted },
    { "sluice_cache_tokens_saved", COUNTER, "", "layer", NULL, "Tokens that no upstream had to read or write", NULL, 0, cache_tokens },
    { "sluice_usage_queue_records", GAUGE, "", "", NULL, "Usage records that wait for the store", NULL, 0, usage_queued },
    { "sluice_usage_shed_records", COUNTER, "", "", NULL, "Usage records lost because the store was too slow for too long", NULL, 0, usage_shed },
    { "sluice_store_records", COUNTER, "", "", NULL, "Usage records committed to the store", NULL, 0, usage_written },
    { "sluice_store_failures", COUNTER, "", "", NULL, "Groups that the store refused to write", NULL, 0, usage_failures },
    { "sluice_store_degraded", GAUGE, "", "", NULL, "1 while the store refuses writes or stalls", NULL, 0, degraded },
    { "sluice_draining", GAUGE, "", "", NULL, "1 while the process takes no new connections and ends", NULL, 0, draining },
    { "sluice_config_version", GAUGE, "", "", NULL, "Number of the configuration in force", NULL, 0, config_version },
    { "sluice_config_reloads", COUNTER, "", "result", NULL, "Times the configuration was read again", NULL, 0, reloads },
    { "sluice_config_last_reload_successful", GAUGE, "", "", NULL, "0 when the newest configuration was refused and the one before is in force", NULL, 0, last_reload_ok },
    { "sluice_config_last_reload_timestamp_seconds", GAUGE, "seconds", "", NULL, "When the configuration in force was taken up", NULL, 0, last_reload },
    { "sluice_audit_left_out", COUNTER, "", "", NULL, "Refused administrative calls that were only counted, beyond audit_refusals_per_minute, and rows that the store could not take and memory no longer", NULL, 0, audit_left_out },
    { "sluice_metric_labels_beyond", COUNTER, "", "", NULL, "Requests counted under `other` because metrics_max_labels names were known already", NULL, 0, labels_beyond },
    { "sluice_otlp_sent", COUNTER, "", "signal", NULL, "Spans and data points that the OpenTelemetry collector took", NULL, 0, otlp_sent },
    { "sluice_otlp_dropped", COUNTER, "", "signal", NULL, "Spans and data points lost on the way to it: no room, or refused for too long", NULL, 0, otlp_dropped },
    { "sluice_otlp_failures", COUNTER, "", "", NULL, "Sendings that failed, those that were tried again included", NULL, 0, otlp_failures },
    { "sluice_build_info", GAUGE, "", "version", NULL, "1, with the version", NULL, 0, build_info },
    { "process_cpu_seconds", COUNTER, "seconds", "", NULL, "Processor time of the process", NULL, 0, cpu },
    { "process_start_time_seconds", GAUGE, "seconds", "", NULL, "When the process started", NULL, 0, start },
    { "process_resident_memory_bytes", GAUGE, "bytes", "", NULL, "Memory of the process that is in RAM", NULL, 0, rss },
    { "process_virtual_memory_bytes", GAUGE, "bytes", "", NULL, "Address space of the process", NULL, 0, virtual },
    { "process_open_fds", GAUGE, "", "", NULL, "Open file descriptors", NULL, 0, open_fds },
    { "process_max_fds", GAUGE, "", "", NULL, "Most file descriptors the system allows", NULL, 0, max_fds },
    { "process_threads", GAUGE, "", "", NULL, "Threads of the process", NULL, 0, threads },
};
/* clang-format on */

const struct metric *metric_at(size_t i)
{
    return i < ARRAY_LEN(rows) ? &rows[i] : NULL;
}

/* ---- text ---- */

struct text_out {
    struct buf *b;
    bool is_openmetrics;
};

static void add_escaped(struct buf *b, struct str s)
{
    if (!str_valid_utf8(s))
        s = STR("invalid");
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\n')
            buf_lit(b, "\\n");
        else if (s.p[i] == '"' || s.p[i] == '\\')
            buf_add(b, (const char[]){'\\', s.p[i]}, 2);
        else
            buf_char(b, s.p[i]);
}

static void add_labels(struct buf *b, const struct metric_label *l, size_t n, const char *le)
{
    if (n == 0 && !le)
        return;
    for (size_t i = 0; i < n; i++) {
        buf_fmt(b, "%c%s=\"", i ? ',' : '{', l[i].name);
        add_escaped(b, l[i].value);
        buf_char(b, '"');
    }
    if (le)
        buf_fmt(b, "%cle=\"%s\"", n ? ',' : '{', le);
    buf_char(b, '}');
}

static void add_number(struct buf *b, double v)
{
    if (v == floor(v) && fabs(v) < 9e15)
        buf_int(b, (int64_t)v);
    else
        buf_fmt(b, "%.15g", v);
}

static void text_number(void *arg, const struct metric *m, const struct metric_label *l, size_t n,
                        double value)
{
    const struct text_out *t = arg;
    buf_fmt(t->b, "%s%s", m->name, m->kind == METRIC_COUNTER ? "_total" : "");
    add_labels(t->b, l, n, NULL);
    buf_char(t->b, ' ');
    add_number(t->b, value);
    buf_char(t->b, '\n');
}

static void text_histogram(void *arg, const struct metric *m, const struct metric_label *l,
                           size_t n, const struct histogram *h)
{
    const struct text_out *t = arg;
    uint64_t below = 0;
    for (unsigned i = 0; i <= m->bounds->n; i++) {
        char le[32];
        below += h->bucket[i];
        if (i == m->bounds->n)
            (void)snprintf(le, sizeof le, "+Inf");
        else /* OpenMetrics: a float */
            (void)snprintf(le, sizeof le, m->scale == 1 ? "%.1f" : "%.9g",
                           (double)m->bounds->v[i] * m->scale);
        buf_fmt(t->b, "%s_bucket", m->name);
        add_labels(t->b, l, n, le);
        buf_fmt(t->b, " %llu\n", (unsigned long long)below);
    }
    buf_fmt(t->b, "%s_sum", m->name);
    add_labels(t->b, l, n, NULL);
    buf_char(t->b, ' ');
    add_number(t->b, (double)h->sum * m->scale);
    buf_fmt(t->b, "\n%s_count", m->name);
    add_labels(t->b, l, n, NULL);
    buf_fmt(t->b, " %llu\n", (unsigned long long)below);
}

void exposition_text(const struct metrics_view *v, bool is_openmetrics, struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    struct text_out t = {out, is_openmetrics};
    struct metric_sink sink = {&t, text_number, text_histogram};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct metric *m = &rows[i];
        const char *tail = m->kind == METRIC_COUNTER && !is_openmetrics ? "_total" : "";
        size_t before = out->n;
        buf_fmt(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", m->name, tail, m->help, m->name, tail,
                kinds[m->kind]);
        if (is_openmetrics && m->unit[0])
            buf_fmt(out, "# UNIT %s %s\n", m->name, m->unit);
        size_t head = out->n;
        m->write(m, v, &sink);
        if (out->n == head && !buf_failed(out))
            out->n = before; /* nothing to say yet */
    }
    if (is_openmetrics)
        buf_lit(out, "# EOF\n");
}

/* ---- the process ---- */

static void read_memory(struct metrics_gauges *g)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return;
    if (fscanf(f, "%llu %llu", &size, &resident) == 2) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        g->virtual_bytes = size * page;
        g->rss_bytes = resident * page;
    }
    (void)fclose(f);
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static uint64_t count_entries(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, is_visible, alphasort);
    for (int i = 0; i < n; i++)
        free(names[i]);
    if (n >= 0)
        free(names);
    return n > 0 ? (uint64_t)n : 0;
}

void metrics_read_process(struct metrics_gauges *g)
{
    struct rusage use;
    struct rlimit files;
    read_memory(g);
    uint64_t fds = count_entries("/proc/self/fd");
    g->open_fds = fds ? fds - 1 : 0; /* less that of the reading itself */
    g->threads = count_entries("/proc/self/task");
    if (getrusage(RUSAGE_SELF, &use) == 0)
        g->cpu_seconds = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                         (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        g->max_fds = files.rlim_cur == RLIM_INFINITY ? 0 : files.rlim_cur;
}
