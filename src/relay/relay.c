/* relay.c - the way of one request: model -> candidates -> attempts -> reply -> record. */
#include "relay/request.h"
#include "relay/find.h"
#include "relay/semantic.h"
#include "relay/sessions.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "wire/common.h"
#include <stdlib.h>

#define MAX_ERROR_BODY (1u << 20)
#define SHOWN_ERROR_BODY 65536
#define COUNTED_REPLY 65536
#define MAX_DECODED (64u << 20) /* of one read, where an upstream encodes what it sends */
#define LINGER_MS 1000 /* how long an upstream may keep its connection busy after its last frame */

/* ---- shared ---- */

struct relay_shared *relay_shared_new(const char *db_path, struct usage_log *usage,
                                      struct workers *workers, struct workers *fetchers,
                                      const char *spool_dir, struct limiter *limiter)
{
    struct relay_shared *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->limiter = limiter;
    s->live_state = live_new();
    s->workers = workers;
    s->fetchers = fetchers;
    s->usage = usage;
    s->signatures = signatures_new();
    s->sessions = sessions_new();
    s->spool_dir = str_of(spool_dir);
    s->responses = responses_new(db_path, s);
    s->replies = replies_new();
    return s;
}

void relay_shared_free(struct relay_shared *s)
{
    if (!s)
        return;
    semantic_free(s->semantic);
    replies_free(s->replies);
    responses_free(s->responses);
    signatures_free(s->signatures);
    sessions_free(s->sessions);
    live_free(s->live_state);
    free(s);
}

uint64_t relay_active(const struct relay_shared *s)
{
    return atomic_load_explicit(&s->active, memory_order_relaxed);
}

_Atomic int64_t *relay_held_bytes(struct relay_shared *s)
{
    return &s->held_bytes;
}

int64_t relay_body_bytes(const struct relay_shared *s)
{
    return atomic_load_explicit(&s->held_bytes, memory_order_relaxed);
}

struct sessions *relay_sessions(const struct relay_shared *s)
{
    return s->sessions;
}

struct live *relay_live_state(const struct relay_shared *s)
{
    return s->live_state;
}

uint64_t relay_hedges(const struct relay_shared *s, enum hedge_outcome o)
{
    return atomic_load_explicit(&s->hedges[o], memory_order_relaxed);
}

struct task_count relay_tasks(const struct relay_shared *s, unsigned task)
{
    return (struct task_count){atomic_load_explicit(&s->tasks_seen[task], memory_order_relaxed),
                               atomic_load_explicit(&s->tasks_led[task], memory_order_relaxed),
                               atomic_load_explicit(&s->tasks_tokens[task], memory_order_relaxed)};
}

uint64_t relay_fallbacks(const struct relay_shared *s)
{
    return atomic_load_explicit(&s->fallbacks, memory_order_relaxed);
}

void relay_set_self(struct relay_shared *s, struct str origin, struct secret key)
{
    (void)snprintf(s->self.origin, sizeof s->self.origin, STR_FMT, STR_ARG(origin));
    s->self.key = key;
}

void relay_set_semantic(struct relay_shared *s, struct semantic *engine)
{
    s->semantic = engine;
}

void relay_cache_layers(const struct relay_shared *s, struct cache_layer *out)
{
    struct replies_stats v[REPLIES_LAYERS];
    replies_read_stats(s->replies, v);
    for (size_t i = 0; i < REPLIES_LAYERS; i++)
        out[i] = (struct cache_layer){replies_layer_name((enum replies_layer)i), v[i]};
    out[CACHE_SEMANTIC] = (struct cache_layer){"semantic", semantic_read_stats(s->semantic)};
}

struct semantic *relay_semantic(const struct relay_shared *s)
{
    return s->semantic;
}

struct replies *relay_replies(const struct relay_shared *s)
{
    return s->replies;
}

struct arena *relay_brief(const struct relay *rl)
{
    return rl->body_arena ? rl->body_arena : rl->r->arena;
}

struct failures *relay_failures(struct relay *rl)
{
    if (!rl->failures) {
        rl->failures = ARENA_NEW(rl->r->arena, struct failures);
        *rl->failures = (struct failures){ERR_INIT, ERR_INIT, ERR_INIT, NULL, STR_NONE};
    }
    return rl->failures;
}

/* ---- replies ---- */

static const struct wire *client_wire(enum wire_id id)
{
    return wire_of(id == WIRE_NONE ? WIRE_CHAT : id);
}

void relay_reply_error(struct http_req *r, enum wire_id client, const struct err *e,
                       struct str request_id, const struct http_header *extra, size_t n_extra)
{
    struct buf b;
    struct http_header h[32];
    size_t n = 0;
    struct err shown = *e;
    if (err_status(e) == 529 && client != WIRE_ANTHROPIC)
        shown.status = 503; /* an Anthropic habit that nobody else knows */
    int status = err_status(&shown);
    buf_init_arena(&b, r->arena, MAX_ERROR_BODY);
    client_wire(client)->write_error(&shown, request_id, &b);
    h[n++] = (struct http_header){STR("content-type"), STR("application/json; charset=utf-8")};
    h[n++] = (struct http_header){STR("x-request-id"), request_id};
    if (client == WIRE_ANTHROPIC)
        h[n++] = (struct http_header){STR("request-id"), request_id};
    bool has_retry = false;
    for (size_t i = 0; i < n_extra && n < ARRAY_LEN(h) - 2; i++) {
        has_retry |= str_is(extra[i].name, "retry-after");
        h[n++] = extra[i];
    }
    if (e->retry_after_ms >= 0 && !has_retry) /* RFC 9110, 10.2.3: whole seconds, rounded up */
        h[n++] = (struct http_header){
            STR("retry-after"),
            str_fmt(r->arena, "%lld", (long long)((e->retry_after_ms + 999) / 1000))};
    http_reply(r, status, h, n, buf_str(&b));
}

struct str relay_dropped(struct relay *rl)
{
    struct buf b;
    if (!rl->is_ctx_ready || !rl->ctx.dropped)
        return STR_NONE;
    buf_init_arena(&b, rl->r->arena, 1024);
    for (const struct wire_dropped *d = rl->ctx.dropped; d && b.n + d->what.n + 2 < 1000;
         d = d->next) {
        if (b.n)
            buf_lit(&b, ", ");
        /* names may come from the caller: nothing that a header cannot hold */
        for (size_t i = 0; i < d->what.n; i++)
            buf_char(&b, d->what.p[i] > ' ' && d->what.p[i] < 127 && d->what.p[i] != ','
                             ? d->what.p[i]
                             : '_');
    }
    return buf_str(&b);
}

static size_t reply_headers(struct relay *rl, struct http_header *h, size_t max,
                            struct str content_type)
{
    size_t n = 0;
    h[n++] = (struct http_header){STR("content-type"), content_type};
    h[n++] = (struct http_header){STR("x-request-id"), rl->id};
    if (rl->spec->client == WIRE_ANTHROPIC)
        h[n++] = (struct http_header){STR("request-id"), rl->id};
    if (rl->target)
        h[n++] = (struct http_header){STR("x-sluice-upstream"), rl->target->upstream->name};
    if (rl->money && money_warning(rl).n)
        h[n++] = (struct http_header){STR("x-sluice-budget-warning"), money_warning(rl)};
    if (rl->given_output > 0)
        h[n++] = (struct http_header){STR("x-sluice-budget-max-tokens"),
                                      str_fmt(rl->r->arena, "%lld", (long long)rl->given_output)};
    struct str dropped = relay_dropped(rl);
    if (dropped.n)
        h[n++] = (struct http_header){STR(DROPPED_HEADER), dropped};
    if (rl->cached)
        n += cache_headers(rl, h + n, max - n);
    if (usage_log_is_degraded(rl->env->usage, loop_now_ms(rl->env->loop)))
        h[n++] = (struct http_header){STR("x-sluice-degraded"), STR("store")};
    if (rl->cors.n) {
        if (!str_is(rl->cors, "*"))
            h[n++] = (struct http_header){STR("vary"), STR("origin")};
        h[n++] = (struct http_header){STR("access-control-allow-origin"), rl->cors};
        h[n++] = (struct http_header){STR("access-control-expose-headers"), STR("*")};
    }
    bool tells = admission_tells(rl);
    for (size_t i = 0; i < rl->out_headers.n && n < max - (tells ? ADMISSION_HEADERS : 1); i++)
        if (!tells || !is_limit_header(rl->out_headers.v[i].name))
            h[n++] = rl->out_headers.v[i];
    return n + admission_headers(rl, h + n);
}

void relay_reply_json(struct relay *rl, int status, struct str body)
{
    struct http_header h[40];
    rl->status = status;
    if (rl->money)
        commit_settle(rl, body.n);
    size_t n = reply_headers(rl, h, ARRAY_LEN(h), STR("application/json; charset=utf-8"));
    rl->is_head_sent = true;
    http_reply(rl->r, status, h, n, body);
}

static void on_keepalive(struct timer *t)
{
    struct relay *rl = (struct relay *)(void *)((char *)t - offsetof(struct relay, keepalive));
    uint64_t every = (uint64_t)rl->set->keepalive_ms, now = loop_now_ms(rl->env->loop);
    if (rl->is_ended)
        return;
    if (now - rl->last_write_ms >= every && !http_reply_is_full(rl->r)) {
        const char *frame = client_wire(rl->spec->client)->keepalive;
        if (rl->mode == REPLY_TRANSLATE && rl->out.n && relay_begin_stream(rl))
            relay_flush(rl); /* the head of a reply that has no content yet */
        /* Never inside a frame that is half out. */
        if (rl->is_head_sent && frame && !rl->is_gemini_array &&
            !(rl->mode == REPLY_PASS && rl->pass.is_giant)) {
            http_reply_body(rl->r, str_of(frame));
            rl->last_write_ms = now;
        }
    }
    timer_start(rl->env->loop, t, every, on_keepalive);
}

void relay_start_keepalive(struct relay *rl)
{
    timer_start(rl->env->loop, &rl->keepalive, (uint64_t)rl->set->keepalive_ms, on_keepalive);
}

static void count(struct relay *rl, size_t n)
{
    if (n == rl->counted_bytes)
        return;
    atomic_fetch_add_explicit(&rl->env->shared->held_bytes, (int64_t)n - (int64_t)rl->counted_bytes,
                              memory_order_relaxed);
    rl->counted_bytes = n;
}

/* The ceiling of memory counts what a request holds: its body, the trees read from it, what is sent for it, its reply. */
static void count_held(struct relay *rl)
{
    size_t n = rl->received_bytes + arena_size(rl->r->arena) + rl->reply.cap + rl->out.cap;
    if (rl->body_arena)
        n += arena_size(rl->body_arena);
    if (rl->sent_arena)
        n += arena_size(rl->sent_arena);
    count(rl, n);
}

/* While a reply grows: small ones are not worth it. */
static void count_reply(struct relay *rl)
{
    if (rl->reply.cap + rl->out.cap + arena_size(rl->r->arena) >= COUNTED_REPLY)
        count_held(rl);
}

static bool has_room(struct relay *rl, struct err *e)
{
    int64_t held = atomic_load_explicit(&rl->env->shared->held_bytes, memory_order_relaxed) +
                   usage_log_waiting_bytes(rl->env->usage); /* lines of the ledger are not shed */
    if (held <= rl->set->max_memory_bytes)
        return true;
    err_set(e, ERR_OVERLOADED, "memory_limit",
            "The gateway holds too much in memory at the moment");
    e->retry_after_ms = 1000;
    return false;
}

/* An upstream may answer while the body is still on its way to it: then it is let go of with a later read. */
void relay_forget_request(struct relay *rl)
{
    if (rl->spec->shape != RELAY_TALK || !rl->call || !http_call_is_sent(rl->call))
        return;
    arena_free(rl->sent_arena);
    rl->sent_arena = NULL;
    count_held(rl);
    bool may_go = rl->mode == REPLY_PASS || (rl->mode == REPLY_TRANSLATE && rl->has_begun);
    /* a reply that is kept is kept with its input */
    if (!rl->body_arena || !may_go || (rl->kept && rl->is_body_copied))
        return;
    if (rl->mode == REPLY_TRANSLATE && rl->ir)
        rl->ctx.req = ir_request_rest(rl->r->arena, rl->ir);
    arena_free(rl->body_arena);
    rl->body_arena = NULL;
    rl->root = NULL;
    rl->ir = NULL;
    if (!rl->kept) {
        rl->prompt_bytes = rl->body.n;
        rl->body = STR_NONE;
        http_req_drop_body(rl->r);
        rl->received_bytes = 0;
    }
    count_held(rl);
}

/* What a translated stream loses on its way is known at its end: those who read trailers are told all of it there. */
static bool tells_losses_behind(const struct relay *rl)
{
    return rl->mode == REPLY_TRANSLATE && http_req_takes_trailers(rl->r);
}

bool relay_begin_stream(struct relay *rl)
{
    if (rl->is_head_sent)
        return true;
    struct http_header h[40];
    struct str type;
    switch (client_wire(rl->spec->client)->framing) {
    case FRAMING_SSE:
        type = STR("text/event-stream; charset=utf-8");
        break;
    case FRAMING_NDJSON:
        type = STR("application/x-ndjson");
        break;
    case FRAMING_JSON_ARRAY:
        type = STR("application/json; charset=utf-8");
        break;
    }
    if (rl->is_gemini_array)
        type = STR("application/json; charset=utf-8");
    size_t n = reply_headers(rl, h, ARRAY_LEN(h) - 3, type);
    h[n++] = (struct http_header){STR("cache-control"), STR("no-cache")};
    if (tells_losses_behind(rl))
        h[n++] = (struct http_header){STR("trailer"), STR(DROPPED_HEADER)};
    /* nginx in front would hold frames back */
    h[n++] = (struct http_header){STR("x-accel-buffering"), STR("no")};
    rl->is_head_sent = true;
    rl->status = 200;
    http_reply_head(rl->r, 200, h, n, -1);
    rl->last_write_ms = loop_now_ms(rl->env->loop);
    if (rl->set->keepalive_ms > 0)
        timer_start(rl->env->loop, &rl->keepalive, (uint64_t)rl->set->keepalive_ms, on_keepalive);
    relay_forget_request(rl);
    return true;
}

static void end_reply(struct relay *rl)
{
    struct http_header dropped = {STR(DROPPED_HEADER), STR_NONE};
    if (tells_losses_behind(rl))
        dropped.value = relay_dropped(rl);
    http_reply_end_with(rl->r, &dropped, dropped.value.n > 0);
}

void relay_finish(struct relay *rl)
{
    if (rl->is_ended)
        return;
    rl->is_ended = true;
    timer_stop(&rl->keepalive);
    timer_stop(&rl->linger);
    if (rl->money)
        commit_settle(rl, 0);
    end_reply(rl);
}

void relay_fail(struct relay *rl, const struct err *e)
{
    if (rl->is_ended)
        return;
    hedge_end(rl);
    e = note_mask_error(rl, e);
    (void)snprintf(rl->error_code, sizeof rl->error_code, "%s",
                   e->code[0] ? e->code : err_kind_name(e->kind));
    note_error(rl, e);
    if (rl->is_head_sent) {
        stream_break(rl, e);
        return;
    }
    rl->is_ended = true;
    rl->is_head_sent = true;
    rl->status = err_status(e);
    struct http_header h[MAX_KEPT_HEADERS + 2 + ADMISSION_HEADERS];
    size_t n = 0;
    for (size_t i = 0; i < rl->last_headers.n; i++)
        if (!admission_tells(rl) || !is_limit_header(rl->last_headers.v[i].name))
            h[n++] = rl->last_headers.v[i];
    n += admission_headers(rl, h + n);
    if (rl->cors.n && !str_is(rl->cors, "*"))
        h[n++] = (struct http_header){STR("vary"), STR("origin")};
    if (rl->cors.n)
        h[n++] = (struct http_header){STR("access-control-allow-origin"), rl->cors};
    relay_reply_error(rl->r, rl->spec->client, e, rl->id, h, n);
}

/* ---- the record ---- */

void relay_copy_text(char *out, size_t size, struct str s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    while (n > 0 && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    memcpy(out, s.p ? s.p : "", n);
    out[n] = 0;
}

static void note_session(const struct relay *rl, int64_t now_ms)
{
    struct str id = session_named(rl->r);
    if (id.n)
        sessions_note(rl->env->shared->sessions, id, rl->key ? rl->key->id : STR_NONE,
                      rl->target ? rl->target->upstream->id : UINT32_MAX, now_ms);
}

static void count_request(const struct relay *rl, const struct usage_record *u, uint64_t now_ns)
{
    metrics_done(rl->env->metrics,
                 &(struct metrics_request){
                     .now_ns = now_ns,
                     .op = rl->spec->op,
                     .client = rl->spec->client == WIRE_NONE ? WIRE_CHAT : rl->spec->client,
                     .model = rl->n_order ? rl->model : STR_NONE,
                     .snap = rl->snap,
                     .upstream = rl->target ? rl->target->upstream : NULL,
                     .key = rl->key,
                     .status = u->status,
                     .is_stream = rl->is_stream,
                     .error_code = rl->error_code,
                     .usage = &rl->usage,
                     .attempts = rl->attempts,
                     .failed_attempts = rl->failed_attempts,
                     .hedges = hedge_sent(rl),
                     .ttft_us = u->ttft_us,
                     .duration_us = u->duration_us,
                     .cost_nanousd = rl->lost_nanousd +
                                     (u->money.cost_nanousd > 0 ? u->money.cost_nanousd : 0),
                     .is_unpriced = u->money.id && u->money.state == COST_UNKNOWN,
                 });
}

void relay_fill_record(struct relay *rl, struct usage_record *u)
{
    relay_copy_text(u->request_id, sizeof u->request_id, rl->id);
    if (rl->key)
        relay_copy_text(u->key_id, sizeof u->key_id, rl->key->id);
    relay_copy_text(u->model, sizeof u->model, rl->model);
    if (rl->target) {
        relay_copy_text(u->upstream, sizeof u->upstream, rl->target->upstream->name);
        relay_copy_text(u->upstream_model, sizeof u->upstream_model, rl->target->model);
    }
    relay_copy_text(u->op, sizeof u->op, str_of(op_name(rl->spec->op)));
    relay_copy_text(u->client_format, sizeof u->client_format,
                    str_of(client_wire(rl->spec->client)->name));
    if (rl->up != WIRE_NONE)
        relay_copy_text(u->upstream_format, sizeof u->upstream_format,
                        str_of(wire_of(rl->up)->name));
    bool has_left = rl->r->is_aborted && !rl->is_done;
    bool is_cancelled = strcmp(rl->error_code, "cancelled") == 0; /* its head may have said 200 */
    u->status = has_left || is_cancelled ? 499 : rl->status;
    u->attempts = (int32_t)rl->attempts;
    u->is_stream = rl->is_stream;
    relay_copy_text(u->error_code, sizeof u->error_code, str_of(rl->error_code));
    if (commit_recall(rl, u))
        return;
    if (rl->mode == REPLY_PASS) { /* also where it ended before its end */
        stream_meter_array(rl);
        rl->usage = ir_usage_merge(rl->usage, rl->pass.usage);
        rl->n_images = image_scan_end(&rl->pass.images, rl->up);
    } else if (rl->mode == REPLY_PIPE) {
        stream_pipe_end(rl);
    }
    if (rl->n_images > 0 && rl->n_images > rl->usage.images)
        rl->usage.images = rl->n_images;
    u->usage = rl->usage;
    u->quality = !ir_usage_known(&rl->usage)               ? USAGE_NONE
                 : stop_cut_is_done(rl->cut) || rl->is_cut ? USAGE_ESTIMATED
                                                           : USAGE_REPORTED;
    money_record(rl, u);
}

void relay_put_line(struct relay *rl, struct usage_record *u)
{
    if (!u->money.id || u->money.is_handed)
        return;
    usage_log_put_line(rl->env->usage, rl->env->index, u);
    u->money.is_handed = true;
}

static void record(struct relay *rl)
{
    struct usage_record u = {0};
    uint64_t now = clock_mono_ns();
    int64_t duration_us = (int64_t)((now - rl->r->start_ns) / 1000);
    relay_fill_record(rl, &u);
    relay_put_line(rl, &u); /* the record may wait for its bodies */
    u.start_ms = clock_wall_ms() - duration_us / 1000;
    u.stop = rl->stop;
    u.ttft_us = rl->first_ns ? (int64_t)((rl->first_ns - rl->r->start_ns) / 1000) : -1;
    u.duration_us = duration_us;
    u.bytes_in = (int64_t)rl->r->bytes_in;
    u.bytes_out = (int64_t)rl->r->bytes_out;
    if (rl->failures || rl->capture || rl->trace || rl->choice || rl->set->log_clients ||
        rl->policy || cache_how(rl) || (rl->is_ctx_ready && rl->ctx.dropped) ||
        (rl->target && rl->target->upstream->proxy_level != PROXY_NONE))
        note_put(rl, &u);
    else
        usage_log_put(rl->env->usage, rl->env->index, &u);
    count_request(rl, &u, now);
    note_session(rl, u.start_ms + duration_us / 1000);
    trace_end(rl, &u, now);
    if (rl->error_code[0] && log_enabled(LOG_DEBUG))
        RELAY_LOG(log_debug, rl, "relay.failed", "status=%d code=%s upstream=%s attempts=%u",
                  u.status, u.error_code, u.upstream, rl->attempts);
}

/* ---- one attempt ---- */

void relay_drop_attempt(struct relay *rl)
{
    choice_leave(rl);
    timer_stop(&rl->linger);
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    if (rl->framing) {
        framing_reader_done(rl->framing);
        rl->framing = NULL;
    }
    stream_scan_done(&rl->pass);
    buf_done(&rl->last_frame);
    buf_done(&rl->reply);
    buf_done(&rl->out);
    coding_free(rl->coding);
    rl->coding = NULL;
    rl->dec = rl->enc = NULL;
    rl->cut = NULL;
    rl->collector = NULL;
    rl->has_content = rl->has_begun = rl->is_done = rl->saw_error_event = false;
    rl->mode = REPLY_NONE;
    if (rl->failures)
        rl->failures->mask_open = STR_NONE;
    rl->said = rl->n_images = 0;
    rl->out_headers.n = 0;
}

/* Our credential or our address was refused: not the caller's mistake, so 502, and no word of ours reaches them. */
static bool is_own_fault(const struct relay *rl)
{
    return rl->last_status == 401 || (rl->last_status >= 300 && rl->last_status < 400);
}

static void own_fault(const struct relay *rl, struct err *e)
{
    err_set(e, ERR_UPSTREAM, "upstream_refused",
            "The upstream '" STR_FMT "' refused the gateway's request (HTTP %d)",
            STR_ARG(rl->target->upstream->name), rl->last_status);
    e->status = 0;
}

/* Of what the upstream said only what is true of all: others may be ready before. */
static void tell_retry(struct relay *rl, int64_t ms)
{
    struct out_headers *of = &rl->last_headers;
    struct http_header *h = ARENA_ARRAY(rl->r->arena, struct http_header, of->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < of->n; i++)
        if (!str_is(of->v[i].name, "retry-after") && !str_is(of->v[i].name, "retry-after-ms"))
            h[n++] = of->v[i];
    if (n < MAX_KEPT_HEADERS)
        h[n++] = (struct http_header){
            STR("retry-after"), str_fmt(rl->r->arena, "%lld", (long long)((ms + 999) / 1000))};
    *of = (struct out_headers){h, n};
}

void relay_attempt_failed(struct relay *rl, const struct err *e, enum fault f,
                          int64_t retry_after_ms)
{
    const struct upstream *u = rl->target->upstream;
    e = note_mask_error(rl, e);
    relay_failures(rl)->last = *e;
    rl->last_fault = f;
    rl->failed_attempts++;
    metrics_attempt_failed(rl->env->metrics, u, (unsigned)f);
    note_failed(rl, e, fault_name(f));
    rl->last_failed_status = rl->up_status;
    choice_report(rl, f, retry_after_ms);
    trace_attempt_end(rl, fault_name(f));
    /* what an upstream says may repeat the prompt: the request log has it */
    RELAY_LOG(log_info, rl, "upstream.failed",
              "upstream=" STR_FMT " attempt=%u fault=%s status=%d code=%s%s%s", STR_ARG(u->name),
              rl->attempts, fault_name(f), rl->up_status, e->code,
              rl->up_status ? "" : " message=", rl->up_status ? "" : e->message);
    rl->last_headers = rl->out_headers;
    relay_drop_attempt(rl);
    bool may_follow = fault_is_retryable(f) &&
                      (rl->spec->shape != RELAY_FORM || form_can_retry(rl));
    if (may_follow && (hedge_goes_on(rl) || choice_goes_on(rl, f)))
        return;
    hedge_end(rl);
    int64_t retry_ms = choice_retry_ms(rl, f, retry_after_ms);
    if (retry_ms != retry_after_ms)
        tell_retry(rl, retry_ms);
    /* Same format: the upstream's own words, unless they speak of our credential. */
    bool is_own = is_own_fault(rl);
    if (rl->last_body.p && !is_own && rl->up == rl->spec->client && rl->up != WIRE_NONE &&
        rl->last_status >= 400 && !(u->quirks & QUIRK_REPAIR_STREAM)) {
        struct http_header h[40];
        rl->out_headers = rl->last_headers;
        size_t n = reply_headers(rl, h, ARRAY_LEN(h),
                                 rl->last_type.n ? rl->last_type : STR("application/json"));
        (void)snprintf(rl->error_code, sizeof rl->error_code, "%s",
                       e->code[0] ? e->code : err_kind_name(e->kind));
        rl->is_head_sent = rl->is_ended = true;
        rl->status = rl->last_status;
        http_reply(rl->r, rl->last_status, h, n, rl->last_body);
        return;
    }
    struct err shown = *e;
    if (is_own)
        own_fault(rl, &shown);
    if (shown.retry_after_ms < 0 || retry_ms != retry_after_ms)
        shown.retry_after_ms = retry_ms;
    relay_fail(rl, &shown);
}

/* The upstream is asked for one array, which passes as it is. What may have to be ended in its midst comes in events. */
static bool takes_array(const struct relay *rl)
{
    return rl->up == WIRE_GEMINI && rl->is_same && rl->is_gemini_array && !money_cuts(rl) &&
           !relay_model_shown(rl).n;
}

bool relay_repairs(const struct relay *rl)
{
    uint32_t quirks = rl->target->upstream->quirks;
    bool is_framed = rl->spec->op == OP_CHAT || rl->spec->op == OP_COMPLETIONS ||
                     rl->spec->op == OP_MESSAGES || rl->spec->op == OP_RESPONSES ||
                     rl->spec->op == OP_OLLAMA_CHAT || rl->spec->op == OP_OLLAMA_GENERATE ||
                     rl->spec->op == OP_GEMINI;
    if (money_cuts(rl) && is_framed)
        return true; /* it may have to be ended in its midst */
    if (rl->is_gemini_array && relay_model_shown(rl).n)
        return true; /* asked for in events: takes_array() */
    /* <think> in the text is reasoning, also for those who speak as the upstream does */
    if (rl->up == WIRE_CHAT)
        return rl->spec->op == OP_CHAT && (quirks & QUIRK_THINK_TAGS) != 0;
    return (quirks & QUIRK_REPAIR_STREAM) && (rl->up == WIRE_ANTHROPIC || rl->up == WIRE_RESPONSES);
}

bool relay_renames_reasoning(const struct relay *rl)
{
    return rl->is_same && rl->up == WIRE_CHAT && rl->spec->op == OP_CHAT &&
           (rl->target->upstream->quirks & QUIRK_REASONING_NAME) != 0;
}

/* Nothing but a JSON document answers it: images, speech and transcriptions may come as bytes or events. */
static bool is_only_json(const struct relay *rl)
{
    enum op op = rl->spec->op;
    return rl->spec->shape == RELAY_EMBED || rl->spec->shape == RELAY_COUNT || op == OP_MODERATE ||
           op == OP_RERANK || op == OP_COMPACT;
}

static void on_head(void *arg, int status, const struct http_header *h, size_t n)
{
    struct relay *rl = arg;
    struct str type = http_header_get(h, n, "content-type");
    if (status > 599)
        status = 502; /* RFC 9110, 15: as a failure of the server */
    rl->up_status = status;
    rl->up_type = str_dup(rl->r->arena, type);
    keep_reply_headers(rl->r->arena, h, n, &rl->out_headers);
    bool is_sse = str_starts_nocase(type, STR("text/event-stream"));
    bool is_lines = str_starts_nocase(type, STR("application/x-ndjson")) ||
                    str_starts_nocase(type, STR("application/jsonl"));
    choice_head(rl, status, h, n);
    rl->coding = coding_new(http_header_get(h, n, "content-encoding"));
    if (status >= 300) {
        rl->mode = REPLY_ERROR;
        rl->reply_retry_ms = fault_retry_after_ms(h, n, STR_NONE, clock_wall_ms());
        buf_init(&rl->reply, MAX_ERROR_BODY);
        return;
    }
    if (rl->spec->shape == RELAY_TALK) {
        bool is_framed = wire_of(rl->up)->framing == FRAMING_NDJSON ? is_lines : is_sse;
        if (rl->is_stream && (is_framed || takes_array(rl))) {
            rl->mode = rl->is_same && !relay_repairs(rl) ? REPLY_PASS : REPLY_TRANSLATE;
            stream_start(rl);
            return;
        }
        rl->is_misframed = !is_framed && (is_sse || is_lines);
        if (is_framed) {
            rl->mode = REPLY_FOLD;
            stream_start(rl);
            return;
        }
    } else if (is_only_json(rl)) {
        if (is_sse || is_lines || str_starts_nocase(type, STR("text/html"))) {
            whole_refuse(rl);
            return;
        }
    } else if ((is_sse || !(str_starts_nocase(type, STR("application/json")) || type.n == 0))) {
        struct http_header out[40]; /* audio, text, events: piped */
        int64_t length;
        size_t n_out = reply_headers(rl, out, ARRAY_LEN(out),
                                     rl->up_type.n ? rl->up_type : STR("application/octet-stream"));
        bool is_text = str_starts_nocase(type, STR("text/")); /* an error in it is told otherwise */
        if (rl->coding || is_text ||
            !str_to_int(http_header_get(h, n, "content-length"), &length) || length < 0)
            length = -1;
        rl->mode = REPLY_PIPE;
        if (is_sse)
            stream_pipe_start(rl);
        rl->is_head_sent = true;
        rl->status = status;
        http_reply_head(rl->r, status, out, n_out, length);
        return;
    }
    rl->mode = REPLY_COLLECT;
    buf_init(&rl->reply, (size_t)rl->set->max_reply_bytes);
}

static void take_reply(struct relay *rl, struct str bytes)
{
    if (rl->capture)
        capture_received(rl, bytes);
    switch (rl->mode) {
    case REPLY_ERROR:
        if (rl->reply.n < MAX_ERROR_BODY)
            buf_str_add(&rl->reply, str_first(bytes, MAX_ERROR_BODY - rl->reply.n));
        break;
    case REPLY_COLLECT:
        if (!rl->first_ns)
            rl->first_ns = clock_mono_ns();
        buf_str_add(&rl->reply, bytes);
        if (buf_failed(&rl->reply)) {
            struct err e = ERR_INIT;
            if (rl->reply.lacks_memory)
                (void)err_no_memory(&e);
            else
                err_set(&e, ERR_UPSTREAM, "reply_too_large",
                        "The upstream's reply is larger than max_reply_bytes (%lld)",
                        (long long)rl->set->max_reply_bytes);
            /* another target would answer the same */
            relay_attempt_failed(rl, &e, FAULT_CLIENT, -1);
        }
        break;
    case REPLY_PIPE:
        if (!rl->first_ns)
            rl->first_ns = clock_mono_ns();
        stream_pipe_bytes(rl, bytes);
        break;
    case REPLY_FOLD:
    case REPLY_PASS:
    case REPLY_TRANSLATE:
        stream_bytes(rl, bytes);
        break;
    case REPLY_NONE:
        break;
    }
}

/* The reply cannot be gone on with. */
static void broke(struct relay *rl, const struct err *e)
{
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    if (rl->mode == REPLY_PIPE) {
        (void)snprintf(rl->error_code, sizeof rl->error_code, "%s", e->code);
        rl->is_ended = true;
        http_reply_cut(rl->r); /* bytes of audio have no error event */
    } else if (rl->is_head_sent) {
        choice_report(rl, FAULT_TRANSPORT, -1);
        relay_fail(rl, e);
    } else {
        rl->last_body = STR_NONE;
        relay_attempt_failed(rl, e, FAULT_SERVER, -1);
    }
}

static void on_body(void *arg, struct str bytes)
{
    struct relay *rl = arg;
    if (rl->is_ended || rl->is_done)
        return; /* after the terminal frame */
    if (!rl->coding) {
        take_reply(rl, bytes);
        return;
    }
    struct err e = ERR_INIT;
    struct buf plain;
    buf_init(&plain, MAX_DECODED);
    if (coding_push(rl->coding, bytes, &plain, &e)) {
        if (plain.n > 0)
            take_reply(rl, buf_str(&plain));
    } else if (rl->mode == REPLY_ERROR) {
        buf_clear(&rl->reply); /* its status says enough */
    } else {
        broke(rl, &e);
    }
    buf_done(&plain);
}

/* The upstream's last frame has come: whatever becomes of its connection, this is the reply. */
static void said_all(struct relay *rl)
{
    if (rl->mode == REPLY_FOLD)
        whole_reply(rl);
    else
        relay_finish(rl);
}

static void on_linger(struct timer *t)
{
    struct relay *rl = (struct relay *)(void *)((char *)t - offsetof(struct relay, linger));
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    said_all(rl);
}

static void on_read_end(void *arg)
{
    struct relay *rl = arg;
    if (rl->is_ended || !rl->call)
        return;
    if (rl->mode == REPLY_COLLECT || rl->mode == REPLY_FOLD)
        count_reply(rl);
    if (rl->mode == REPLY_PASS || rl->mode == REPLY_TRANSLATE) {
        stream_read_end(rl);
        if (rl->is_ended || !rl->call)
            return;
        if (stop_cut_is_done(rl->cut) || rl->is_cut) { /* the rest is of no use to anyone */
            http_call_cancel(rl->call);
            rl->call = NULL;
            relay_finish(rl);
            return;
        }
    }
    if (rl->mode == REPLY_FOLD && stop_cut_is_done(rl->cut)) {
        http_call_cancel(rl->call);
        rl->call = NULL;
        whole_reply(rl);
        return;
    }
    if (rl->is_done && !timer_is_running(&rl->linger))
        timer_start(rl->env->loop, &rl->linger, LINGER_MS, on_linger);
    if (rl->is_head_sent && http_reply_is_full(rl->r)) {
        count_reply(rl);
        http_call_pause(rl->call);
    }
}

/* It has no such call, which is no fault of its: the tokens are estimated. */
static bool cannot_count(const struct relay *rl)
{
    return rl->spec->shape == RELAY_COUNT &&
           (rl->up_status == 404 || rl->up_status == 405 || rl->up_status == 501);
}

static void error_reply(struct relay *rl)
{
    struct err e = ERR_INIT;
    struct str body = note_mask(rl, buf_str(&rl->reply));
    int64_t retry_ms = rl->reply_retry_ms;
    wire_read_error(rl->r->arena, rl->up_status, body, &e);
    if (cannot_count(rl)) {
        note_failed(rl, &e, "unsupported");
        trace_attempt_end(rl, "");
        relay_drop_attempt(rl);
        count_locally(rl);
        return;
    }
    if (retry_ms < 0)
        retry_ms = fault_retry_after_ms(NULL, 0, body, clock_wall_ms());
    if (e.retry_after_ms < 0)
        e.retry_after_ms = retry_ms;
    rl->last_status = rl->up_status;
    rl->last_type = note_mask(rl, rl->up_type);
    for (size_t i = 0; i < rl->out_headers.n; i++)
        rl->out_headers.v[i].value = note_mask(rl, rl->out_headers.v[i].value);
    rl->last_body = body.n && body.n <= SHOWN_ERROR_BODY ? str_dup(rl->r->arena, body) : STR_NONE;
    relay_attempt_failed(rl, &e, fault_of_reply(rl->up_status, &e), retry_ms);
}

static void on_end(void *arg)
{
    struct relay *rl = arg;
    struct err e = ERR_INIT;
    rl->call = NULL;
    if (rl->is_ended)
        return;
    if (!rl->is_done && rl->mode != REPLY_ERROR && !coding_end(rl->coding, &e)) {
        broke(rl, &e);
        return;
    }
    switch (rl->mode) {
    case REPLY_ERROR:
        error_reply(rl);
        break;
    case REPLY_COLLECT:
    case REPLY_FOLD:
        whole_reply(rl);
        break;
    case REPLY_PASS:
    case REPLY_TRANSLATE:
        stream_end(rl);
        break;
    case REPLY_PIPE:
    case REPLY_NONE:
        if (rl->mode == REPLY_PIPE)
            stream_pipe_end(rl);
        rl->is_done = true;
        relay_finish(rl);
        break;
    }
}

static enum fault fault_of_failure(enum http_failure f)
{
    return f == HTTP_FAIL_POLICY ? FAULT_SERVER : FAULT_TRANSPORT;
}

static void on_error(void *arg, enum http_failure f, const struct err *e, bool is_head_seen)
{
    struct relay *rl = arg;
    rl->call = NULL;
    (void)is_head_seen;
    if (rl->is_ended)
        return;
    if (rl->is_done) { /* everything had arrived: only the end of the connection was unclean */
        said_all(rl);
        return;
    }
    /* contract of translation, section 10: two codes; the record and the log keep what happened */
    struct err shown = *e;
    (void)snprintf(shown.code, sizeof shown.code, "%s",
                   e->kind == ERR_TIMEOUT ? "gateway_timeout" : "bad_gateway");
    if (rl->mode == REPLY_PIPE) {
        broke(rl, e);
        return;
    }
    if (rl->is_head_sent) {
        broke(rl, &shown);
        return;
    }
    if (rl->mode == REPLY_ERROR) { /* the status is known, its body broke off */
        error_reply(rl);
        return;
    }
    rl->last_body = STR_NONE;
    relay_attempt_failed(rl, &shown, fault_of_failure(f), -1);
}

static void on_writable(void *arg)
{
    struct relay *rl = arg;
    if (rl->form)
        form_writable(rl);
}

const struct http_call_handler relay_call_handler = {on_head, on_body,  on_read_end,
                                                     on_end,  on_error, on_writable};

bool relay_load_ir(struct relay *rl, struct err *e)
{
    if (rl->is_ir_tried) {
        if (rl->ir)
            return true;
        *e = relay_failures(rl)->read;
        return false;
    }
    rl->is_ir_tried = true;
    struct ir_request *ir = ARENA_NEW(rl->body_arena, struct ir_request);
    ir_request_init(ir);
    if (!rl->is_ctx_ready)
        wire_ctx_init(&rl->ctx, rl->r->arena);
    rl->ctx.client = rl->spec->client;
    rl->ctx.is_continuation = responses_is_continuation(rl);
    rl->ctx.arena = rl->ctx.scratch = rl->body_arena;
    bool ok = json_parse(rl->body_arena, rl->body, (unsigned)rl->set->max_json_depth, &rl->root,
                         e) &&
              client_wire(rl->spec->client)->read_request(&rl->ctx, rl->root, ir, e);
    wire_ctx_move(&rl->ctx, rl->r->arena);
    if (!ok) {
        relay_failures(rl)->read = *e;
        return false;
    }
    rl->read_dropped = rl->ctx.dropped;
    rl->read_dropped_tail = rl->ctx.dropped ? rl->ctx.dropped_tail : NULL;
    ir->model = rl->model;
    if (rl->path_model.n)
        ir->is_stream = rl->is_path_stream;
    if (rl->given_output > 0 && ir->max_tokens <= 0)
        ir->max_tokens = rl->given_output;
    if (ir->budget_tokens >= 0) /* the request says a number itself */
        rl->thinking_tokens = 0;
    rl->ir = ir;
    return true;
}

/* How much the operator has its target think. Models that do so adaptively refuse a number: there the words of the request count. */
static void say_thinking_tokens(struct relay *rl)
{
    int64_t tokens = rl->thinking_tokens, most = provider_model_thinks_most(rl->target->model);
    if (!rl->ir || tokens <= 0)
        return;
    tokens = most >= 0 && most < tokens ? most : tokens;
    rl->ir->budget_tokens = tokens > 0 && !(rl->ctx.quirks & QUIRK_ADAPTIVE_THINKING) ? tokens : -1;
}

/* NULL: provider/model, of which nothing is known */
static const struct model *model_of(const struct relay *rl)
{
    return rl->target->served ? rl->target->served : snapshot_model(rl->snap, rl->model);
}

struct str relay_model_shown(const struct relay *rl)
{
    const struct model *m = model_of(rl);
    return m && m->show_alias ? rl->model : STR_NONE;
}

void relay_ready_ctx(struct relay *rl)
{
    struct wire_ctx *c = &rl->ctx;
    const struct target *t = rl->target;
    const struct model *m = model_of(rl);
    wire_ctx_init(c, rl->r->arena);
    if (rl->read_dropped) {
        *rl->read_dropped_tail = NULL; /* without what another attempt added */
        c->dropped = rl->read_dropped;
        c->dropped_tail = rl->read_dropped_tail;
    }
    c->is_continuation = responses_is_continuation(rl);
    c->kept_mark = responses_mark(rl);
    c->client = rl->spec->client;
    c->upstream = rl->up;
    c->quirks = t->quirks;
    c->strip = t->upstream->strip;
    c->upstream_model = t->model;
    c->shown_model = relay_model_shown(rl);
    c->max_output_tokens = m ? m->max_output_tokens : -1;
    if (rl->given_output > 0 &&
        (c->max_output_tokens <= 0 || rl->given_output < c->max_output_tokens))
        c->max_output_tokens = rl->given_output; /* room for thinking is not made beyond it */
    say_thinking_tokens(rl);
    c->req = rl->ir;
    c->is_stream = rl->is_stream;
    c->is_json_array = rl->is_gemini_array;
    c->now_ms = clock_wall_ms();
    c->seed = random_u64();
    c->signature_get = signature_get;
    c->signature_put = signature_put;
    c->signature_arg = rl;
    c->cuts_stop = rl->set->emulate_stop && rl->up != WIRE_NONE && wire_of(rl->up)->knows_no_stop;
    c->allow_hosted_tools = t->upstream->allow_hosted_tools;
    rl->is_ctx_ready = true;
}

void relay_note_dropped(struct relay *rl, const char *why, const char *field)
{
    if (!rl->is_ctx_ready)
        relay_ready_ctx(rl);
    wire_drop(&rl->ctx, why, "%s", field);
}

/* Replies echo the request where they can; a request that only its own format understands leaves the defaults. */
void relay_ready_reply(struct relay *rl)
{
    struct err e = ERR_INIT;
    if (!relay_load_ir(rl, &e))
        log_debug(str_z(rl->r->arena, rl->id), "relay.no_echo", "error=%s", e.message);
    if (!rl->is_ctx_ready)
        relay_ready_ctx(rl);
    rl->ctx.req = rl->ir;
}

const char *upstream_path(struct arena *a, const struct upstream *u, struct str model, enum op op,
                          struct buf *b)
{
    const char *pattern = provider_kind_path(u->kind, op);
    for (size_t i = 0; !pattern && i < ARRAY_LEN(u->wires) && u->wires[i] != WIRE_NONE; i++)
        /* a format that was configured for this upstream */
        if (wire_op(u->wires[i]) == op)
            pattern = op_usual_path(op);
    if (!pattern)
        return NULL;
    struct str base = u->base_path, path = str_of(pattern);
    if (path.p[0] == '^') {
        base = STR_NONE;
        path = str_skip(path, 1);
    }
    /* A base that was written with what the path starts with: /v1 (Anthropic), /openai (Azure). */
    size_t slash = base.n;
    while (slash > 0 && base.p[slash - 1] != '/')
        slash--;
    struct str segment = slash > 0 ? str_skip(base, slash - 1) : STR_NONE;
    if (segment.n > 1 && path.n > segment.n && str_starts(path, segment) &&
        path.p[segment.n] == '/')
        base.n -= segment.n;
    buf_str_add(b, base);
    if (path.n && path.p[0] != '/')
        buf_char(b, '/');
    const char *at = memmem(path.p, path.n, "{model}", 7);
    if (at) {
        buf_add(b, path.p, (size_t)(at - path.p));
        buf_str_add(b, url_encode(a, model));
        buf_str_add(b, str_skip(path, (size_t)(at - path.p) + 7));
    } else {
        buf_str_add(b, path);
    }
    return pattern;
}

char upstream_query(const struct upstream *u, struct buf *b)
{
    char mark = memchr(b->p, '?', b->n) ? '&' : '?';
    if (!u->kind->api_version_param || u->api_version.n == 0)
        return mark;
    buf_fmt(b, "%c%s=" STR_FMT, mark, u->kind->api_version_param, STR_ARG(u->api_version));
    return '&';
}

const char *relay_path(struct relay *rl, const struct target *t, enum op op, struct str *out)
{
    struct buf b;
    buf_init_arena(&b, relay_brief(rl), 65536);
    const char *pattern = upstream_path(relay_brief(rl), t->upstream, t->model, op, &b);
    if (!pattern)
        return NULL;
    char mark = upstream_query(t->upstream, &b);
    if (op == OP_GEMINI) {
        buf_str_add(&b, rl->is_stream ? STR(":streamGenerateContent") : STR(":generateContent"));
        if (rl->is_stream && !takes_array(rl)) {
            buf_fmt(&b, "%calt=sse", mark);
            mark = '&';
        }
    } else if (op == OP_COUNT_GEMINI) {
        buf_lit(&b, ":countTokens");
    } else if (op == OP_EMBED_GEMINI) {
        buf_str_add(&b, str_of(rl->embed_suffix));
    }
    *out = buf_str(&b);
    return pattern;
}

static void start_call(struct relay *rl, struct str target, struct str body,
                       struct str content_type, bool is_streamed, int64_t length)
{
    const struct upstream *u = rl->target->upstream;
    struct http_out out = {
        .origin = &u->origin,
        .method = HTTP_POST,
        .target = target,
        .body = body,
        .is_streamed = is_streamed,
        .stream_length = length,
        .connect_timeout_ms = u->connect_timeout_ms,
        .first_byte_timeout_ms = choice_first_byte_timeout(rl, u->first_byte_timeout_ms),
        .between_timeout_ms = u->between_timeout_ms,
        .total_timeout_ms = u->total_timeout_ms,
    };
    upstream_headers(rl, rl->target, content_type, &out);
    rl->sent_ns = clock_mono_ns();
    if (rl->capture)
        capture_sent(rl, body);
    rl->call = hedge_call(rl, &out);
}

void relay_start_form(struct relay *rl, int64_t length, struct str content_type)
{
    struct str path;
    if (relay_path(rl, rl->target, rl->spec->op, &path))
        start_call(rl, path, STR_NONE, content_type, true, length);
}

/* The format to speak to this upstream, and whether the body passes without IR. */
static bool plan_talk(struct relay *rl, const struct target *t, enum op *op)
{
    const struct upstream *u = t->upstream;
    enum wire_id client = rl->spec->client;
    rl->is_same = false;
    rl->up = u->wires[0];
    *op = wire_op(rl->up);
    for (size_t i = 0; i < ARRAY_LEN(u->wires) && u->wires[i] != WIRE_NONE; i++) {
        bool is_twin = (client == WIRE_COMPLETIONS && u->wires[i] == WIRE_CHAT &&
                        provider_kind_path(u->kind, OP_COMPLETIONS)) ||
                       (client == WIRE_OLLAMA_GENERATE && u->wires[i] == WIRE_OLLAMA);
        if (u->wires[i] == client || is_twin) {
            rl->is_same = true;
            rl->up = client;
            *op = rl->spec->op;
            break;
        }
    }
    return rl->up != WIRE_NONE;
}

/* Anthropic's signed and hidden thinking is worth something only to the vendor that made it: another one, to which the request fell
 * back, would refuse it or believe what it cannot check. Who made it is not said in it; the first target is the one it was meant for. */
static bool is_thought_elsewhere(const struct relay *rl, const struct target *t)
{
    if (rl->up != WIRE_ANTHROPIC || rl->spec->op != OP_MESSAGES || rl->n_order == 0)
        return false;
    if (t->upstream->kind == rl->order[0]->upstream->kind && !rl->has_fallen_back)
        return false;
    return find_bytes(rl->body, STR("\"signature\"")) < rl->body.n ||
           find_bytes(rl->body, STR("\"redacted_thinking\"")) < rl->body.n;
}

static const struct ir_request *without_signed(struct relay *rl)
{
    struct arena *a = rl->ctx.arena;
    struct ir_request *r = arena_alloc(a, sizeof *r);
    *r = *rl->ir;
    r->messages = (struct ir_messages){0};
    for (const struct ir_message *m = rl->ir->messages.first; m; m = m->next) {
        struct ir_message *copy = ir_message_add(a, &r->messages, m->role);
        *copy = *m;
        copy->next = NULL;
        copy->parts = (struct ir_parts){0};
        for (const struct ir_part *p = m->parts.first; p; p = p->next) {
            if (p->kind == IR_REASONING && (p->signature.n || p->redacted.n)) {
                wire_drop(&rl->ctx, "bound to the provider that made it", "reasoning");
                continue;
            }
            struct ir_part *kept = ir_part_add(a, &copy->parts, p->kind);
            *kept = *p;
            kept->next = NULL;
        }
    }
    return r;
}

/* Writes the attempt's body and path. false with e: this target cannot take the request. */
static bool build_talk(struct relay *rl, struct str *path, struct str *body, struct err *e)
{
    enum op op;
    const struct target *t = rl->target;
    if (!plan_talk(rl, t, &op) || !relay_path(rl, t, op, path))
        return err_set(e, ERR_UNSUPPORTED, "unsupported_operation",
                       "The upstream '" STR_FMT "' does not serve conversations",
                       STR_ARG(t->upstream->name));
    rl->strip_usage = false;
    responses_plan(rl, t, rl->is_same);
    struct err unread = ERR_INIT; /* what the format's own reader cannot read passes as it came */
    bool is_elsewhere = rl->is_same && is_thought_elsewhere(rl, t);
    bool is_rewritten = rl->is_same && (is_elsewhere || edit_rewrites(rl, t)) &&
                        relay_load_ir(rl, &unread);
    if (rl->is_same && !is_rewritten) {
        rl->is_ctx_ready = false;
        rl->ctx.dropped = NULL;
        return edit_body(rl, t, body, e);
    }
    if (!relay_load_ir(rl, e))
        return false;
    relay_ready_ctx(rl);
    struct buf b;
    if (!rl->sent_arena)
        rl->sent_arena = arena_new();
    buf_init_arena(&b, rl->sent_arena, (size_t)rl->set->max_reply_bytes);
    rl->ctx.arena = rl->ctx.scratch = rl->sent_arena;
    bool ok = wire_of(rl->up)->write_request(&rl->ctx, is_elsewhere ? without_signed(rl) : rl->ir,
                                             &b, e);
    wire_ctx_move(&rl->ctx, rl->r->arena);
    if (!ok)
        return false;
    if (b.lacks_memory)
        return err_no_memory(e);
    if (buf_failed(&b))
        return err_set(e, ERR_TOO_LARGE, "request_too_large",
                       "The request is too large once translated");
    *body = buf_str(&b);
    if (is_rewritten) {
        rl->strip_usage = rl->up == WIRE_CHAT && rl->is_stream && !rl->asked_usage &&
                          !(rl->ctx.quirks & QUIRK_NO_STREAM_OPTIONS);
        /* the reply still passes as it comes, unless names in it must be told back */
        rl->is_same = !rl->ctx.renames && !rl->ctx.is_json_tool;
    }
    count_held(rl);
    return has_room(rl, e) && (!rl->money || money_covers(rl, rl->ctx.raised_max_tokens, e));
}

static bool build_json(struct relay *rl, struct str *path, struct str *body, struct err *e)
{
    const struct target *t = rl->target;
    enum op op = rl->spec->op;
    rl->up = WIRE_NONE;
    rl->is_same = true;
    if (rl->spec->shape == RELAY_EMBED)
        return embed_body(rl, t, &op, body, e) &&
               (relay_path(rl, t, op, path) != NULL ||
                err_set(e, ERR_UNSUPPORTED, "unsupported_operation",
                        "The upstream '" STR_FMT "' does not serve embeddings",
                        STR_ARG(t->upstream->name)));
    if (!relay_path(rl, t, op, path))
        return err_set(e, ERR_UNSUPPORTED, "unsupported_operation",
                       "The upstream '" STR_FMT "' does not serve %s", STR_ARG(t->upstream->name),
                       op_name(op));
    if (rl->spec->shape == RELAY_COUNT || op == OP_COMPACT)
        rl->up = rl->spec->client;
    return edit_body(rl, t, body, e);
}

/* Ollama's clients have a model loaded, or let go, by saying nothing to it: only Ollama can be asked that, elsewhere models
 * are always at hand. */
static bool is_for_loading(struct relay *rl)
{
    struct err ignored = ERR_INIT; /* a body that cannot be read is told by the attempt */
    const struct upstream *u = rl->target->upstream;
    if (rl->spec->client != WIRE_OLLAMA && rl->spec->client != WIRE_OLLAMA_GENERATE)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(u->wires) && u->wires[i] != WIRE_NONE; i++)
        if (u->wires[i] == WIRE_OLLAMA)
            return false;
    return rl->spec->shape == RELAY_TALK && relay_load_ir(rl, &ignored) && rl->ir->is_preload;
}

static bool build(struct relay *rl, struct str *path, struct str *body, struct err *e)
{
    return rl->spec->shape == RELAY_TALK ? build_talk(rl, path, body, e)
                                         : build_json(rl, path, body, e);
}

static void send_built(struct relay *rl, struct str path, struct str body)
{
    /* Google: alt, $alt, prettyPrint go along; the key never does */
    if (rl->path_model.n && rl->is_same && rl->r->query.n) {
        struct arena *a = relay_brief(rl);
        struct str q = query_without(a, rl->r->query, "key");
        q = query_without(a, q, "alt");
        if (q.n)
            path = str_fmt(a, STR_FMT "%c" STR_FMT, STR_ARG(path),
                           memchr(path.p, '?', path.n) ? '&' : '?', STR_ARG(q));
    }
    start_call(rl, path, body, STR("application/json"), false, 0);
}

enum hedge_outcome relay_attempt_beside(struct relay *rl)
{
    struct err ignored = ERR_INIT; /* it was not needed */
    struct str path = STR_NONE, body = STR_NONE;
    rl->target = rl->order[rl->next];
    rl->up_status = 0;
    if (rl->target->upstream->kind->is_builtin || !choice_admit_beside(rl))
        return HEDGE_NO_TARGET;
    if (!admission_beside(rl)) {
        choice_leave(rl);
        return HEDGE_NO_ROOM;
    }
    enum hedge_outcome why = is_for_loading(rl) || !build(rl, &path, &body, &ignored)
                                 ? HEDGE_NO_TARGET
                             : !money_beside(rl) ? HEDGE_NO_MONEY
                                                 : HEDGE_SENT;
    if (why != HEDGE_SENT) {
        choice_leave(rl);
        admission_change_places(rl);
        admission_other_over(rl, false);
        return why;
    }
    rl->next++;
    rl->attempts++;
    note_attempt(rl);
    trace_attempt(rl);
    send_built(rl, path, body);
    return HEDGE_SENT;
}

void relay_attempt_next(struct relay *rl)
{
    struct err e = ERR_INIT;
    bool has_error = false;
    if (!rl->is_money_asked && !money_admit(rl, &e)) {
        relay_fail(rl, &e);
        return;
    }
    admission_look(rl);
    int64_t max = rl->set->max_attempts + rl->has_fallen_back;
    while (rl->next < rl->n_order && (int64_t)rl->attempts < max) {
        struct str path = STR_NONE, body = STR_NONE;
        rl->target = rl->order[rl->next++];
        rl->up_status = 0;
        if (!admission_has_turn(rl))
            continue;
        enum choice_step step = choice_admit(rl);
        if (step == CHOICE_WAIT) {
            admission_step_aside(rl);
            return;
        }
        if (step == CHOICE_SKIP)
            continue;
        note_attempt(rl);
        if (rl->money && !money_takes(rl, rl->target, &e)) {
            has_error = true;
            choice_leave(rl);
            note_failed(rl, &e, "unpriced");
            continue;
        }
        if (!admission_target(rl)) {
            choice_leave(rl);
            continue;
        }
        if (is_for_loading(rl)) {
            loaded_reply(rl);
            return;
        }
        if (rl->target->upstream->kind->is_builtin) {
            rl->attempts++;
            rl->sent_ns = clock_mono_ns();
            trace_attempt(rl);
            echo_start(rl);
            return;
        }
        if (rl->spec->shape == RELAY_FORM) {
            if (!relay_path(rl, rl->target, rl->spec->op, &path)) {
                has_error = !err_set(&e, ERR_UNSUPPORTED, "unsupported_operation",
                                     "The upstream '" STR_FMT "' does not serve %s",
                                     STR_ARG(rl->target->upstream->name), op_name(rl->spec->op));
                choice_leave(rl);
                note_failed(rl, &e, "unsupported");
                continue;
            }
            rl->attempts++;
            trace_attempt(rl);
            rl->up = WIRE_NONE;
            form_attempt(rl, rl->target);
            return;
        }
        err_clear(&e);
        if (!build(rl, &path, &body, &e)) {
            if (rl->spec->shape == RELAY_TALK && !rl->is_fetching && e.kind == ERR_UNSUPPORTED &&
                images_fetch(rl)) {
                choice_leave(rl);
                rl->next--; /* the same target again, with the images at hand */
                return;
            }
            has_error = true;
            choice_leave(rl);
            note_failed(rl, &e, "unsupported");
            if (e.kind != ERR_UNSUPPORTED)
                break; /* a mistake of the request: no other target would take it */
            continue;
        }
        rl->attempts++;
        trace_attempt(rl);
        send_built(rl, path, body);
        return;
    }
    if (!has_error && admission_wait_target(rl))
        return;
    if (rl->spec->shape == RELAY_COUNT && (has_error || rl->n_order > 0)) {
        count_locally(rl);
        return;
    }
    if (!has_error) {
        if (choice_waits(rl, &e))
            return;
        if (rl->failures && rl->failures->last.kind != ERR_NONE) {
            e = rl->failures->last;
            e.retry_after_ms = choice_retry_ms(rl, rl->last_fault, e.retry_after_ms);
            if (is_own_fault(rl))
                own_fault(rl, &e);
        } else if (!admission_refuses(rl, &e) && e.kind == ERR_NONE)
            err_set(&e, ERR_OVERLOADED, "no_upstream",
                    "No upstream is available for model '" STR_FMT "'", STR_ARG(rl->model));
    }
    relay_fail(rl, &e);
}

void relay_start(struct relay *rl)
{
    if (cache_begin(rl))
        relay_attempt_next(rl);
}

/* ---- the request ---- */

/* Who does not say whether it wants a stream says it so, in formats whose streams are events. */
static bool accepts_stream(const struct relay *rl)
{
    return rl->spec->shape == RELAY_TALK && client_wire(rl->spec->client)->framing == FRAMING_SSE &&
           str_contains(http_req_header(rl->r, "accept"), STR("text/event-stream"));
}

static bool says_no_model(const struct relay *rl, struct err *e)
{
    err_field(e, "model", "Missing 'model' in request body%s%s%s",
              rl->spec->usual_model ? "; the usual one, '" : "",
              rl->spec->usual_model ? rl->spec->usual_model : "",
              rl->spec->usual_model ? "', is not served here" : "");
    (void)snprintf(e->code, sizeof e->code, "missing_required_parameter");
    return false;
}

/* Of a body without `model`: the usual one of its operation stands in it from here on. false: there is none, or nobody serves it. */
static bool add_usual_model(struct relay *rl)
{
    struct str name = str_of(rl->spec->usual_model ? rl->spec->usual_model : "");
    const struct model *m = name.n ? snapshot_resolve(rl->snap, rl->r->arena, name) : NULL;
    if (!m || m->n_targets == 0)
        return false;
    struct str rest = str_skip(rl->body, str_index(rl->body, '{') + 1);
    bool is_empty = str_starts(str_trim(rest), STR("}"));
    rl->body = str_fmt(rl->body_arena, "{\"model\":\"" STR_FMT "\"%s" STR_FMT, STR_ARG(name),
                       is_empty ? "" : ",", STR_ARG(rest));
    return true;
}

/* model, stream and what else is decided by, of a JSON body. */
static bool read_head_fields(struct relay *rl, struct err *e)
{
    enum {
        MODEL,
        STREAM,
        OPTIONS,
        SERVICE,
        LEVEL,
        LEVEL_SNAKE,
        THINKING,
        EFFORT,
        N
    };
    struct json_want want[N + ASKED_WANTS + RESPONSES_WANTS] = {
        {.key = "model"},        {.key = "stream"},          {.key = "stream_options"},
        {.key = "service_tier"}, {.key = "thinkingLevel"},   {.key = "thinking_level"},
        {.key = "thinking"},     {.key = "reasoning_effort"}};
    struct json_want *of_response = want + N + ASKED_WANTS;
    asked_wants(want + N);
    of_response[WANT_STORE].key = "store";
    of_response[WANT_PREVIOUS].key = "previous_response_id";
    of_response[WANT_INPUT].key = "input";
    of_response[WANT_BACKGROUND].key = "background";
    bool is_response = rl->spec->client == WIRE_RESPONSES;
    if (!json_scan_object(rl->body, want, is_response ? ARRAY_LEN(want) : N + ASKED_WANTS,
                          (unsigned)rl->set->max_json_depth, &rl->scan, e))
        return false;
    static const unsigned char once[] = {MODEL, STREAM, OPTIONS, SERVICE};
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        if (!asked_once(&want[once[i]], "", e))
            return false;
    for (size_t i = 0; is_response && i < RESPONSES_WANTS; i++)
        if (!asked_once(&of_response[i], "", e))
            return false;
    rl->model_want = want[MODEL];
    if (!asked_take(rl, want + N, e))
        return false;
    rl->says_level = want[LEVEL].count + want[LEVEL_SNAKE].count > 0;
    rl->says_thinking = want[THINKING].count + want[EFFORT].count > 0;
    if (want[SERVICE].span.n > 2) {
        struct str tier = str_n(rl->body.p + want[SERVICE].span.at + 1, want[SERVICE].span.n - 2);
        rl->service = price_service_of(tier);
        rl->is_service_open = str_is(tier, "auto");
    }
    /* nothing that sluice keeps is read for it */
    if (is_response && rl->spec->shape != RELAY_TALK) {
        rl->has_far_context |= of_response[WANT_PREVIOUS].count > 0;
    } else if (is_response) {
        struct json_span background = of_response[WANT_BACKGROUND].span;
        rl->is_background = str_is(str_n(rl->body.p + background.at, background.n), "true");
        rl->responses_want = ARENA_ARRAY(rl->r->arena, struct json_want, RESPONSES_WANTS);
        memcpy(rl->responses_want, of_response, RESPONSES_WANTS * sizeof want[0]);
    }
    if (rl->path_model.n) {
        rl->model = rl->path_model;
        rl->is_stream = rl->is_path_stream;
        return true;
    }
    if (want[MODEL].count == 0)
        return add_usual_model(rl) ? read_head_fields(rl, e) : says_no_model(rl, e);
    if (!json_unquote(rl->r->arena, str_n(rl->body.p + want[MODEL].span.at, want[MODEL].span.n),
                      &rl->model) ||
        rl->model.n == 0)
        return err_field(e, "model", "'model' must be a non-empty string");
    /* the record still names it when the body is gone */
    rl->model = str_dup(rl->r->arena, rl->model);
    struct str stream = str_n(rl->body.p + want[STREAM].span.at, want[STREAM].span.n);
    bool default_stream = rl->spec->client == WIRE_OLLAMA ||
                          rl->spec->client == WIRE_OLLAMA_GENERATE;
    bool says_nothing = want[STREAM].count == 0 || str_is(stream, "null");
    rl->adds_stream = says_nothing && accepts_stream(rl);
    if (says_nothing)
        rl->is_stream = default_stream || rl->adds_stream;
    else if (str_is(stream, "true"))
        rl->is_stream = true;
    else if (str_is(stream, "false"))
        rl->is_stream = false;
    else
        return err_field(e, "stream", "'stream' must be true or false");
    if (want[OPTIONS].count > 0) {
        struct json_want asked = {.key = "include_usage"};
        struct json_scan scan;
        struct str text = str_n(rl->body.p + want[OPTIONS].span.at, want[OPTIONS].span.n);
        rl->asked_usage = json_scan_object(text, &asked, 1, 0, &scan, NULL) && asked.count &&
                          str_is(str_n(text.p + asked.span.at, asked.span.n), "true");
        rl->tells_usage = rl->asked_usage && asked.count == 1;
    }
    return true;
}

struct relay *relay_begin(struct relay_loop *l, struct http_req *r, const struct relay_spec *spec,
                          struct snapshot *snap, const struct key *key, struct str request_id,
                          struct str cors_origin, struct str path_model, bool is_path_stream)
{
    struct relay *rl = ARENA_NEW(r->arena, struct relay);
    rl->asked_output = -1;
    rl->asked_choices = 1;
    rl->env = l;
    rl->r = r;
    rl->snap = snapshot_ref(snap);
    rl->set = &snap->settings;
    rl->admitted_ms = clock_wall_ms();
    rl->key = key;
    rl->spec = spec;
    rl->id = request_id;
    rl->cors = cors_origin;
    rl->path_model = path_model;
    rl->is_path_stream = is_path_stream;
    rl->is_stream = is_path_stream;
    rl->model = path_model;
    rl->usage = IR_USAGE_NONE;
    rl->body_arena = arena_new();
    atomic_fetch_add_explicit(&l->shared->active, 1, memory_order_relaxed);
    live_add(rl);
    trace_begin(rl);
    if (spec->client == WIRE_GEMINI && is_path_stream) {
        struct str alt = query_get(r->arena, r->query, "alt");
        if (alt.n == 0)
            alt = query_get(r->arena, r->query, "$alt");
        rl->is_gemini_array = !str_is(alt, "sse");
    }
    struct err e = ERR_INIT;
    if (!has_room(rl, &e)) {
        relay_fail(rl, &e);
        return rl;
    }
    size_t max = (size_t)rl->set->max_body_bytes;
    if (spec->shape == RELAY_FORM) {
        form_begin(rl);
        http_req_stream(r, (size_t)rl->set->max_upload_bytes);
    } else if (r->is_chunked) { /* of unknown length: counted as it comes */
        buf_init_arena(&rl->chunks, rl->body_arena, max);
        http_req_stream(r, max);
    } else {
        /* else it is refused unread */
        if (r->content_length > 0 && (uint64_t)r->content_length <= max)
            rl->received_bytes = (size_t)r->content_length;
        count_held(rl);
        http_req_collect(r, max);
    }
    return rl;
}

void relay_body(struct relay *rl, struct str chunk)
{
    struct err e = ERR_INIT;
    if (rl->is_ended)
        return;
    if (rl->form) {
        form_body(rl, chunk);
        return;
    }
    buf_str_add(&rl->chunks, chunk);
    count_held(rl);
    if ((buf_failed(&rl->chunks) && !err_no_memory(&e)) || !has_room(rl, &e))
        relay_fail(rl, &e);
}

/* What the operator adds to conversations; the members that were found stand elsewhere then. */
static bool add_what_is_ours(struct relay *rl, struct err *e)
{
    struct str model = rl->model;
    if (!inject(rl))
        return true;
    bool ok = read_head_fields(rl, e);
    rl->model = model; /* as it was understood meanwhile */
    return ok;
}

void relay_complete(struct relay *rl)
{
    struct err e = ERR_INIT;
    if (rl->is_ended)
        return;
    if (rl->form) {
        form_complete(rl);
        return;
    }
    struct str received = rl->r->is_chunked ? buf_str(&rl->chunks) : rl->r->body;
    bool is_logged = capture_is_wanted(rl);
    if (is_logged)
        capture_begin(rl);
    bool is_decoded = decode_body(rl->body_arena, http_req_header(rl->r, "content-encoding"),
                                  received, (size_t)rl->set->max_body_bytes, &rl->body, &e);
    if (is_logged)
        capture_request(rl, is_decoded ? rl->body : received);
    if (!is_decoded || !read_head_fields(rl, &e) || !relay_hold_to_provider(rl, &e) ||
        !relay_resolve(rl, &e) || !add_what_is_ours(rl, &e)) {
        relay_fail(rl, &e);
        return;
    }
    rl->is_body_copied = rl->r->is_chunked || rl->body.p != received.p;
    if (rl->body.p != received.p) /* decoded beside what came */
        count_held(rl);
    if (admission_begin(rl))
        relay_admitted(rl);
}

void relay_admitted(struct relay *rl)
{
    if (rl->spec->client == WIRE_RESPONSES && rl->spec->shape == RELAY_TALK &&
        !responses_prepare(rl))
        return;
    relay_start(rl);
}

void relay_bad(struct relay *rl, const struct err *e)
{
    relay_fail(rl, e);
}

void relay_drain(struct relay *rl)
{
    if (rl->call)
        http_call_resume(rl->call);
    if (rl->echo)
        echo_drain(rl);
    cache_drain(rl);
}

void relay_close(struct relay *rl)
{
    struct relay_shared *s = rl->env->shared;
    timer_stop(&rl->keepalive);
    timer_stop(&rl->linger);
    if (rl->echo)
        echo_cancel(rl);
    if (rl->form)
        form_close(rl);
    hedge_end(rl);
    choice_end(rl);
    images_forget(rl);
    responses_forget(rl);
    live_remove(rl);
    cache_end(rl);
    record(rl);
    commit_forget(rl);
    admission_end(rl);
    cache_forget(rl);
    relay_drop_attempt(rl);
    count(rl, 0);
    atomic_fetch_sub_explicit(&s->active, 1, memory_order_relaxed);
    arena_free(rl->scratch);
    arena_free(rl->sent_arena);
    arena_free(rl->body_arena);
    snapshot_unref(rl->snap);
}
