/* trace.c - a request's part in a trace: what its caller said, what its upstreams are told, what a collector gets. */
#include "base/clock.h"
#include "base/codec.h"
#include "relay/request.h"
#include <math.h>
#include <stdlib.h>

#define MAX_ATTEMPTS 16
#define MAX_MODEL 256

struct trace {
    struct trace_ids ids;
    bool is_recorded; /* a collector gets it */
    struct str state; /* tracestate */
    char text[33];    /* the trace id */
    struct trace_asked asked;
    bool has_asked; /* asked was read */
    struct trace_attempt attempts[MAX_ATTEMPTS];
    size_t n_attempts;
    size_t open; /* 1 + the attempt that is under way; 0: none. Of two the one in rl */
};

/* Of several lines one (W3C trace context, 3.3.1). */
static struct str state_of(const struct http_req *r)
{
    struct buf b;
    buf_init_arena(&b, r->arena, 1024);
    for (size_t i = 0; i < r->n_headers; i++)
        if (str_is(r->headers[i].name, "tracestate")) {
            if (b.n)
                buf_char(&b, ',');
            buf_str_add(&b, r->headers[i].value);
        }
    return !buf_failed(&b) && trace_state_is_fine(buf_str(&b)) ? buf_str(&b) : STR_NONE;
}

static void new_span(uint8_t span[8])
{
    uint64_t n = random_u64() | 1; /* never all zero */
    memcpy(span, &n, sizeof n);
}

void trace_begin(struct relay *rl)
{
    struct otlp *otlp = rl->env->otlp;
    bool is_tracing = otlp_is_tracing(otlp);
    struct str given = rl->set->trace_context ? http_req_header(rl->r, "traceparent") : STR_NONE;
    if (!given.n && !is_tracing)
        return;
    struct trace_ids ids = {.flags = 0};
    ids.has_parent = given.n && trace_parse(given, &ids);
    if (!ids.has_parent) {
        if (!is_tracing)
            return;
        const uint64_t random[2] = {random_u64(), random_u64() | 1};
        memcpy(ids.trace, random, sizeof random);
        if (!otlp_samples(otlp, ids.trace))
            return;
        ids.flags = TRACE_SAMPLED;
    }
    struct trace *t = rl->trace = ARENA_NEW(rl->r->arena, struct trace);
    t->ids = ids;
    t->asked = (struct trace_asked){NAN, NAN, -1};
    t->is_recorded = is_tracing && (ids.flags & TRACE_SAMPLED); /* the caller decided */
    if (ids.has_parent)
        t->state = state_of(rl->r);
    hex_encode(t->text, t->ids.trace, sizeof t->ids.trace);
    new_span(t->ids.span);
}

const char *trace_id(const struct relay *rl)
{
    return rl->trace ? rl->trace->text : NULL;
}

enum {
    TEMPERATURE,
    TOP_P,
    MAX_TOKENS,
    ASKED_N,
    INSIDE = ASKED_N /* an object that holds them: Ollama, Google */
};

/* In any of the formats: what one has no use for stands in none of its requests. */
static const struct {
    const char *key;
    int what;
} asked_names[] = {
    {"temperature", TEMPERATURE},
    {"top_p", TOP_P},
    {"topP", TOP_P},
    {"max_tokens", MAX_TOKENS},
    {"max_completion_tokens", MAX_TOKENS},
    {"max_output_tokens", MAX_TOKENS},
    {"maxOutputTokens", MAX_TOKENS},
    {"num_predict", MAX_TOKENS},
    {"options", INSIDE},
    {"generationConfig", INSIDE},
    {"generation_config", INSIDE},
};

static void read_asked(struct trace_asked *out, struct str body, bool is_inside)
{
    struct json_want want[ARRAY_LEN(asked_names)];
    struct json_scan scan;
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        want[i] = (struct json_want){.key = asked_names[i].key};
    if (!json_scan_object(body, want, ARRAY_LEN(want), 0, &scan, NULL))
        return;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct str value = str_n(body.p + want[i].span.at, want[i].span.n);
        char text[32];
        if (!want[i].count)
            continue;
        if (asked_names[i].what == INSIDE) {
            if (!is_inside && str_starts(value, STR("{")))
                read_asked(out, value, true);
            continue;
        }
        relay_copy_text(text, sizeof text, value);
        double v = value.n < sizeof text &&
                           (value.p[0] == '-' || (value.p[0] >= '0' && value.p[0] <= '9'))
                       ? strtod(text, NULL)
                       : NAN;
        if (isnan(v))
            continue;
        if (asked_names[i].what == TEMPERATURE)
            out->temperature = v;
        else if (asked_names[i].what == TOP_P)
            out->top_p = v;
        else if (v >= 0 && v < 1e15)
            out->max_tokens = (int64_t)v;
    }
}

/* Before the first attempt: afterwards the body may be gone. */
static void note_asked(struct relay *rl)
{
    struct trace *t = rl->trace;
    if (t->has_asked || !t->is_recorded)
        return;
    t->has_asked = true;
    if (rl->spec->shape != RELAY_FORM)
        read_asked(&t->asked, rl->body, false);
}

static struct trace_attempt *answering(struct relay *rl)
{
    struct trace *t = rl->trace;
    struct trace_attempt *a = t && t->is_recorded && t->open ? &t->attempts[t->open - 1] : NULL;
    return a && a->answered.n == 0 ? a : NULL;
}

void trace_answered(struct relay *rl, struct str model)
{
    struct trace_attempt *a = answering(rl);
    if (a)
        a->answered = str_dup(rl->r->arena, str_first(model, MAX_MODEL));
}

void trace_answer(struct relay *rl, struct str json)
{
    struct str name = rl->up == WIRE_GEMINI ? STR("\"modelVersion\"") : STR("\"model\""), model;
    if (!answering(rl))
        return;
    for (size_t at; (at = find_bytes(json, name)) < json.n;) {
        json = str_trim(str_skip(json, at + name.n));
        if (!str_starts(json, STR(":")))
            continue; /* a value */
        if (json_read_string(rl->r->arena, str_trim(str_skip(json, 1)), &model))
            trace_answered(rl, model);
        return;
    }
}

void trace_attempt(struct relay *rl)
{
    struct trace *t = rl->trace;
    if (!t || t->n_attempts == MAX_ATTEMPTS)
        return;
    note_asked(rl);
    const struct upstream *u = rl->target->upstream;
    struct trace_attempt *a = &t->attempts[t->n_attempts++];
    *a = (struct trace_attempt){.upstream = u->name,
                                .kind = str_of(u->kind->id),
                                .model = rl->target->model,
                                .host = u->origin.host,
                                .port = u->origin.port,
                                .start_ns = clock_mono_ns(),
                                .fault = ""};
    new_span(a->span);
    t->open = t->n_attempts;
}

void trace_attempt_end(struct relay *rl, const char *fault)
{
    struct trace *t = rl->trace;
    if (!t || !t->open)
        return;
    struct trace_attempt *a = &t->attempts[t->open - 1];
    a->end_ns = clock_mono_ns();
    a->status = rl->up_status;
    a->fault = fault;
    t->open = 0;
}

size_t trace_span(const struct relay *rl)
{
    return rl->trace ? rl->trace->open : 0;
}

void trace_set_span(struct relay *rl, size_t span)
{
    if (rl->trace)
        rl->trace->open = span;
}

size_t trace_headers(const struct relay *rl, struct http_header *h, size_t max)
{
    const struct trace *t = rl->trace;
    size_t n = 0;
    if (!t || !rl->set->trace_propagate || max < 2)
        return 0;
    /* without a span of our own that anybody would ever see, the caller's stays the parent */
    const uint8_t *span = t->is_recorded && t->n_attempts ? t->attempts[t->n_attempts - 1].span
                          : t->is_recorded                ? t->ids.span
                                                          : t->ids.parent;
    char *text = arena_alloc(rl->r->arena, TRACEPARENT_LENGTH);
    trace_write(&t->ids, span, text);
    h[n++] = (struct http_header){STR("traceparent"), str_n(text, TRACEPARENT_LENGTH)};
    if (t->state.n)
        h[n++] = (struct http_header){STR("tracestate"), t->state};
    return n;
}

/* Faults are names that stay, or the request's own code, which is copied. */
static struct trace_attempt *attempts_dup(struct arena *a, const struct trace *t, const char *code,
                                          const char *kept_code)
{
    struct trace_attempt *all = ARENA_ARRAY(a, struct trace_attempt, t->n_attempts + 1);
    for (size_t i = 0; i < t->n_attempts; i++) {
        all[i] = t->attempts[i];
        all[i].upstream = str_dup(a, all[i].upstream);
        all[i].model = str_dup(a, all[i].model);
        all[i].host = str_dup(a, all[i].host);
        all[i].answered = str_dup(a, all[i].answered);
        if (all[i].fault == code)
            all[i].fault = kept_code;
    }
    return all;
}

void trace_end(struct relay *rl, const struct usage_record *u, uint64_t now_ns)
{
    struct trace *t = rl->trace;
    if (!t || !t->is_recorded)
        return;
    if (t->open) {
        trace_attempt_end(rl, rl->error_code);
        t->attempts[t->n_attempts - 1].end_ns = now_ns; /* not behind the request's own */
    }
    struct arena *a = arena_new(); /* goes to another thread */
    struct trace_record *r = ARENA_NEW(a, struct trace_record);
    const struct target *target = rl->target;
    *r = (struct trace_record){
        .arena = a,
        .ids = t->ids,
        .state = str_dup(a, t->state),
        .request_id = str_dup(a, rl->id),
        .key_id = rl->key ? str_dup(a, rl->key->id) : STR_NONE,
        .model = str_dup(a, rl->model),
        .upstream = target ? str_dup(a, target->upstream->name) : STR_NONE,
        .kind = target ? str_of(target->upstream->kind->id) : STR_NONE,
        .asked = t->asked,
        .error_code = str_dup(a, str_of(rl->error_code)),
        .path = str_dup(a, rl->r->path),
        .op = rl->spec->op,
        .client = rl->spec->client,
        .stop = rl->stop,
        .is_stream = rl->is_stream,
        .status = u->status,
        .usage = rl->usage,
        .start_ns = rl->r->start_ns,
        .end_ns = now_ns,
        .first_ns = rl->first_ns,
        .now_wall_ns = clock_wall_ms() * 1000000,
        .now_mono_ns = (int64_t)now_ns,
        .n_attempts = t->n_attempts,
    };
    r->attempts = attempts_dup(a, t, rl->error_code, r->error_code.p);
    otlp_put(rl->env->otlp, rl->env->index, r);
}
