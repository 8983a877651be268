/* stream.c - the streamed reply: bytes through and metered by the side, or event by event from one format to another. */
#include "relay/request.h"
#include "base/clock.h"
#include "wire/common.h"

#define MAX_SCANNED (1u << 20) /* larger frames hold no usage: they pass unread */
#define MIN_OUT (64u << 20)
#define MAX_SPARE (256u << 10)

/* ---- errors inside a stream ---- */

void write_stream_error(enum wire_id client, const struct err *e, struct str request_id,
                        struct buf *out)
{
    const struct wire *w = wire_of(client);
    switch (client) {
    case WIRE_ANTHROPIC:
        buf_lit(out, "event: error\ndata: ");
        w->write_error(e, request_id, out);
        buf_lit(out, "\n\n");
        break;
    case WIRE_RESPONSES: {
        struct jw j = jw_on(out);
        buf_lit(out, "event: error\ndata: ");
        jw_object(&j);
        jw_kv_cstr(&j, "type", "error");
        jw_kv_cstr(&j, "code", e->code[0] ? e->code : NULL);
        jw_kv_cstr(&j, "message", e->message);
        jw_kv_cstr(&j, "param", e->field[0] ? e->field : NULL);
        jw_object_end(&j);
        buf_lit(out, "\n\n");
        break;
    }
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
        w->write_error(e, request_id, out);
        buf_char(out, '\n');
        break;
    case WIRE_GEMINI:
        buf_lit(out, "data: ");
        w->write_error(e, request_id, out);
        buf_lit(out, "\r\n\r\n");
        break;
    case WIRE_CHAT:
    case WIRE_COMPLETIONS:
    case WIRE_NONE:
    case WIRE_N:
        buf_lit(out, "data: ");
        wire_of(WIRE_CHAT)->write_error(e, request_id, out);
        buf_lit(out, "\n\n");
        break;
    }
}

/* ---- to the client ---- */

/* What one read became, before it is written. An event that the upstream may send must find room as what it becomes: Responses tell a
 * text five times (piece, text, part, item, answer), and escapes may be longer. */
static size_t out_max(const struct relay *rl)
{
    size_t event = (size_t)rl->set->max_event_bytes;
    return event > MIN_OUT / 8 ? event * 8 : MIN_OUT;
}

/* An idle stream holds nothing for its next read. */
static void empty_out(struct relay *rl)
{
    struct buf *spare = &rl->env->spare;
    if (rl->out.cap > spare->cap && rl->out.cap <= MAX_SPARE) {
        struct buf smaller = *spare;
        *spare = rl->out;
        rl->out = smaller;
    }
    buf_done(&rl->out);
    buf_init(&rl->out, out_max(rl));
}

/* Growing anew with each read would copy what was written several times. */
static void ready_out(struct relay *rl)
{
    struct buf *spare = &rl->env->spare;
    if (rl->out.p || !spare->p)
        return;
    rl->out.p = spare->p;
    rl->out.cap = spare->cap;
    *spare = (struct buf){0};
}

/* What has to wait for more takes no more room than it needs. */
static void shrink_out(struct relay *rl)
{
    struct buf kept;
    if (rl->out.cap <= 2 * rl->out.n)
        return;
    buf_init(&kept, out_max(rl));
    buf_str_add(&kept, buf_str(&rl->out));
    if (buf_failed(&kept)) {
        buf_done(&kept);
        return;
    }
    empty_out(rl);
    rl->out = kept;
}

void relay_loop_done(struct relay_loop *l)
{
    buf_done(&l->spare);
}

void relay_flush(struct relay *rl)
{
    if (rl->out.n == 0)
        return;
    if (!rl->money || !commit_keeps(rl, buf_str(&rl->out)))
        http_reply_body(rl->r, buf_str(&rl->out));
    empty_out(rl);
    rl->last_write_ms = loop_now_ms(rl->env->loop);
}

/* ---- translating ---- */

static void take_usage(struct relay *rl, struct ir_usage u)
{
    if (rl->is_opening)
        u.output_total = -1; /* Anthropic's "1 so far" says nothing of the reply */
    rl->is_opening = false;
    rl->usage = ir_usage_merge(rl->usage, u);
    if (u.output_total > 0)
        rl->said = 0;
}

static void tell(struct relay *rl, const struct ir_event *ev)
{
    if (rl->collector) {
        ir_collect(rl->collector, ev);
        return;
    }
    /* its lines tell the time */
    if (rl->spec->client == WIRE_OLLAMA || rl->spec->client == WIRE_OLLAMA_GENERATE)
        rl->ctx.elapsed_ns = (int64_t)(clock_mono_ns() - rl->r->start_ns);
    if (!rl->enc)
        return;
    wire_drop_foreign_event(&rl->ctx, ev);
    wire_of(rl->spec->client)->encoder_push(rl->enc, ev, &rl->out);
}

/* What an upstream says of its failure may repeat what it was given. */
static void on_error_event(struct relay *rl, const struct ir_event *ev)
{
    struct failures *f = relay_failures(rl);
    struct ir_event masked = *ev;
    if (ev->error)
        f->stream = *note_mask_error(rl, ev->error);
    rl->saw_error_event = true;
    if (!rl->is_head_sent && !rl->has_content)
        return; /* nothing went out: the next target may do better */
    (void)snprintf(rl->error_code, sizeof rl->error_code, "%s",
                   ev->error && f->stream.code[0] ? f->stream.code : "upstream_error");
    if (ev->error)
        masked.error = &f->stream;
    tell(rl, &masked);
}

void relay_on_ir_event(void *arg, const struct ir_event *ev)
{
    struct relay *rl = arg;
    switch (ev->kind) {
    case IR_EV_START:
        rl->has_begun = true;
        trace_answered(rl, ev->model);
        rl->is_opening = rl->up == WIRE_ANTHROPIC && ev->usage.output_total > 0;
        break;
    case IR_EV_PING:
    case IR_EV_BLOCK_END:
        break;
    case IR_EV_BLOCK_START:
    case IR_EV_TEXT:
    case IR_EV_REASONING:
    case IR_EV_TOOL_ARGS:
    case IR_EV_CITATION:
    case IR_EV_LOGPROBS:
    case IR_EV_MEDIA:
        rl->has_content = true;
        rl->said += tokens_of_piece(ev->text.n);
        rl->n_images += ev->kind == IR_EV_BLOCK_START && ev->part_kind == IR_IMAGE;
        if (!rl->first_ns)
            rl->first_ns = clock_mono_ns();
        break;
    case IR_EV_USAGE:
        take_usage(rl, ev->usage);
        break;
    case IR_EV_FINISH:
        rl->has_content = true;
        rl->stop = ev->stop;
        break;
    case IR_EV_ERROR:
        on_error_event(rl, ev);
        return;
    case IR_EV_END:
        rl->is_done = true;
        if (rl->saw_error_event && !rl->is_head_sent && !rl->has_content)
            return;
        break;
    }
    tell(rl, ev);
}

static void on_upstream_event(void *arg, const struct ir_event *ev)
{
    struct relay *rl = arg;
    if (rl->money && !rl->is_done && !rl->cut && money_is_spent(rl, ev))
        money_cut(rl, ev, relay_on_ir_event, rl);
    else if (rl->is_cut)
        return;
    else if (rl->cut)
        stop_cut_push(rl->cut, ev, relay_on_ir_event, rl);
    else
        relay_on_ir_event(rl, ev);
}

/* Between reads a stream holds no scratch: most of the time it waits. */
static void scratch_open(struct relay *rl)
{
    rl->scratch = rl->ctx.scratch = arena_new();
}

static void scratch_close(struct relay *rl)
{
    arena_free(rl->scratch);
    rl->scratch = NULL;
    rl->ctx.scratch = rl->ctx.arena;
}

static bool on_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct relay *rl = arg;
    if (rl->is_done)
        return true;
    bool ok = wire_of(rl->up)->decoder_push(rl->dec, event, data, on_upstream_event, rl, e);
    arena_reset(rl->scratch);
    return ok;
}

void stream_start(struct relay *rl)
{
    const struct wire *up = wire_of(rl->up);
    buf_init(&rl->out, out_max(rl));
    if (rl->mode == REPLY_PASS) {
        size_t max = (size_t)rl->set->max_event_bytes;
        if (!rl->kept && max > MAX_SCANNED)
            max = MAX_SCANNED;
        stream_scan_init(&rl->pass, up, rl->strip_usage, max);
        rl->renames_model = relay_model_shown(rl).n > 0;
        rl->pass.needs_role = rl->up == WIRE_CHAT &&
                              (rl->target->upstream->quirks & QUIRK_REPAIR_STREAM) != 0;
        if (rl->kept) {
            buf_init(&rl->last_frame, max);
            rl->pass.last_frame = &rl->last_frame;
        }
        return;
    }
    relay_ready_reply(rl);
    rl->dec = up->decoder_new(&rl->ctx);
    if (rl->ctx.cuts_stop && rl->ir)
        rl->cut = stop_cut_new(&rl->ctx, &rl->ir->stop, ir_estimate_tokens(rl->ir));
    if (rl->mode == REPLY_FOLD)
        rl->collector = ir_collector_new(&rl->ctx);
    else
        rl->enc = wire_of(rl->spec->client)->encoder_new(&rl->ctx);
    rl->framing = framing_reader_new(up->framing, (size_t)rl->set->max_event_bytes, on_frame, rl);
}

static void put(void *arg, struct str bytes)
{
    struct relay *rl = arg;
    if (!rl->money || !commit_keeps(rl, bytes))
        http_reply_body(rl->r, bytes);
}

static void put_edited(void *arg, struct str bytes)
{
    const struct relay *rl = arg;
    if (relay_renames_reasoning(rl))
        edit_reasoning(bytes, put, arg);
    else
        put(arg, bytes);
}

static void forward(void *arg, struct str bytes)
{
    struct relay *rl = arg;
    if (rl->pass.is_error)
        bytes = note_mask_piece(rl, bytes);
    if (bytes.n == 0)
        return;
    if (!rl->is_head_sent) {
        trace_answer(rl, bytes);
        relay_begin_stream(rl);
    }
    if (rl->renames_model && !rl->pass.is_giant)
        edit_model_frames(rl, bytes, put_edited, rl);
    else
        put_edited(rl, bytes);
    rl->last_write_ms = loop_now_ms(rl->env->loop);
}

/* The upstream's first frame was an error although it said 200: judged like an error reply. */
static void first_frame_error(struct relay *rl)
{
    struct err e = ERR_INIT;
    struct str body = note_mask(rl, str_dup(rl->r->arena, rl->pass.first_error));
    wire_read_error(rl->r->arena, 200, body, &e);
    if (e.kind == ERR_NONE)
        err_set(&e, ERR_UPSTREAM, "upstream_error", "The upstream ended its reply with an error");
    int status = err_status(&e);
    rl->last_status = status >= 400 ? status : 502;
    rl->last_body = STR_NONE;
    rl->pass.first_error = STR_NONE;
    buf_clear(&rl->pass.carry);
    empty_out(rl);
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    if (!rl->is_head_sent) {
        relay_attempt_failed(rl, &e, fault_of_reply(rl->last_status, &e), -1);
        return;
    }
    choice_report(rl, fault_of_reply(rl->last_status, &e), -1); /* a keep-alive went before it */
    relay_fail(rl, &e);
}

/* No frames in an array: the end is metered from its tail. From the first "error" on it may tell of one. */
static void pass_array(struct relay *rl, struct str bytes)
{
    const struct str name = STR("\"error\"");
    struct buf *carry = &rl->pass.carry;
    buf_str_add(carry, bytes);
    size_t fresh = bytes.n + name.n - 1;
    struct str seen = str_skip(buf_str(carry), carry->n > fresh ? carry->n - fresh : 0);
    rl->pass.is_error |= find_bytes(seen, name) < seen.n;
    forward(rl, bytes);
    image_scan_push(&rl->pass.images, rl->up, bytes);
    if (carry->n > 65536)
        buf_consume(carry, carry->n - 32768);
}

void stream_bytes(struct relay *rl, struct str bytes)
{
    if (rl->mode == REPLY_PASS) {
        if (!rl->first_ns)
            rl->first_ns = clock_mono_ns();
        if (rl->is_gemini_array && rl->up == WIRE_GEMINI) {
            pass_array(rl, bytes);
            return;
        }
        /* an upstream's chunks are small: they are looked at once a read */
        ready_out(rl);
        buf_str_add(&rl->out, bytes);
        return;
    }
    struct err e = ERR_INIT;
    if (rl->mode == REPLY_TRANSLATE)
        ready_out(rl);
    scratch_open(rl);
    bool ok = framing_push(rl->framing, bytes, &e);
    scratch_close(rl);
    if (rl->saw_error_event && !rl->is_head_sent && !rl->has_content) {
        e = relay_failures(rl)->stream;
        if (rl->call) {
            http_call_cancel(rl->call);
            rl->call = NULL;
        }
        rl->last_status = err_status(&e);
        rl->last_body = STR_NONE;
        relay_attempt_failed(rl, &e, fault_of_reply(rl->last_status, &e), e.retry_after_ms);
        return;
    }
    if (ok)
        return;
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    if (rl->mode == REPLY_FOLD || !rl->is_head_sent)
        relay_attempt_failed(rl, &e, FAULT_SERVER, -1);
    else
        relay_fail(rl, &e);
}

/* Reads along in what one read brought, and passes it on. */
static void pass_read(struct relay *rl)
{
    if (rl->out.n == 0)
        return;
    if (rl->money)
        money_passed(rl, live_tokens_out(rl));
    image_scan_push(&rl->pass.images, rl->up, buf_str(&rl->out));
    stream_scan_push(&rl->pass, buf_str(&rl->out), forward, rl);
    if (rl->pass.has_error)
        (void)snprintf(rl->error_code, sizeof rl->error_code, "upstream_error");
    if (rl->pass.first_error.n) {
        first_frame_error(rl);
        return;
    }
    rl->is_done = rl->pass.is_terminal;
    if (rl->is_done && rl->commit) {
        rl->usage = rl->pass.usage;
        rl->stop = rl->pass.stop;
    }
    empty_out(rl);
}

/* What cannot be kept for the client cannot be left out either. What there is of it ends anywhere, and what the encoder
 * would end it with may be as large. */
static void out_failed(struct relay *rl)
{
    struct err e = ERR_INIT;
    if (rl->out.lacks_memory)
        (void)err_no_memory(&e);
    else
        err_set(&e, ERR_UPSTREAM, "event_too_large",
                "An event of the upstream's stream is too large to be translated");
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    empty_out(rl);
    rl->enc = NULL;
    rl->is_done = false;
    relay_fail(rl, &e);
}

void stream_read_end(struct relay *rl)
{
    if (buf_failed(&rl->out)) {
        out_failed(rl);
        return;
    }
    if (rl->mode == REPLY_PASS) {
        pass_read(rl);
        commit_read_end(rl);
        return;
    }
    if (rl->mode != REPLY_TRANSLATE)
        return;
    if (rl->out.n == 0) {
        empty_out(rl);
        return;
    }
    if (!rl->has_content && !rl->is_done && !rl->is_head_sent) {
        /* Only the opening so far: another target could still answer. The keep-alive timer sends it when this takes long. */
        shrink_out(rl);
        if (rl->set->keepalive_ms > 0 && !timer_is_running(&rl->keepalive))
            relay_start_keepalive(rl);
        return;
    }
    relay_begin_stream(rl);
    if (rl->body_arena)
        relay_forget_request(rl);
    if (rl->is_done && rl->kept)
        responses_keep_frames(rl, buf_str(&rl->out));
    relay_flush(rl);
    commit_read_end(rl);
}

static void nowhere(void *arg, struct str bytes)
{
    (void)arg;
    (void)bytes;
}

static void pipe_on(void *arg, struct str bytes)
{
    struct relay *rl = arg;
    if (rl->pass.is_error)
        bytes = note_mask_piece(rl, bytes);
    http_reply_body(rl->r, bytes);
}

void stream_pipe_start(struct relay *rl)
{
    stream_scan_init(&rl->pass, wire_of(WIRE_CHAT), false, (size_t)rl->set->max_event_bytes);
    rl->pass.has_frames = true; /* the head is out: the first one is like any other */
}

void stream_pipe_bytes(struct relay *rl, struct str bytes)
{
    if (rl->pass.wire)
        stream_scan_push(&rl->pass, bytes, pipe_on, rl);
    else if (str_starts_nocase(rl->up_type, STR("text/")))
        http_reply_body(rl->r, note_mask_piece(rl, bytes));
    else
        http_reply_body(rl->r, bytes);
}

void stream_pipe_end(struct relay *rl)
{
    bool is_over = rl->is_ended || rl->r->is_aborted; /* nobody gets what is left */
    if (rl->pass.wire) {
        stream_scan_end(&rl->pass, is_over ? nowhere : pipe_on, rl);
        rl->usage = ir_usage_merge(rl->usage, rl->pass.usage);
        rl->pass.wire = NULL;
    }
    struct str rest = note_mask_rest(rl);
    if (!is_over)
        http_reply_body(rl->r, rest);
}

void stream_meter_array(struct relay *rl)
{
    if (rl->is_gemini_array && rl->up == WIRE_GEMINI && rl->pass.carry.n > 0)
        (void)wire_of(WIRE_GEMINI)
            ->meter(STR_NONE, buf_str(&rl->pass.carry), &rl->pass.usage, &rl->pass.stop);
}

bool stream_finish(struct relay *rl, struct err *e)
{
    scratch_open(rl);
    bool ok = framing_finish(rl->framing, e);
    if (ok && !rl->is_done)
        wire_of(rl->up)->decoder_end(rl->dec, on_upstream_event, rl);
    scratch_close(rl);
    return ok;
}

void stream_end(struct relay *rl)
{
    if (rl->mode == REPLY_PASS) {
        bool is_array = rl->is_gemini_array && rl->up == WIRE_GEMINI;
        if (is_array) {
            stream_meter_array(rl);
            rl->pass.is_terminal = true;
        } else {
            pass_read(rl); /* a reply that came in one read ends before its read does */
            if (rl->mode != REPLY_PASS || rl->is_ended)
                return; /* it began with an error: the next attempt is under way, or answered */
            stream_scan_end(&rl->pass, forward, rl);
            if (rl->pass.first_error.n) {
                first_frame_error(rl);
                return;
            }
        }
        struct str rest = note_mask_rest(rl);
        if (rest.n)
            put(rl, rest);
        rl->usage = rl->pass.usage;
        rl->stop = rl->pass.stop;
        if (!rl->is_head_sent) {
            struct err e = ERR_INIT;
            err_set(&e, ERR_UPSTREAM, "empty_stream",
                    "The upstream's stream ended before it began");
            rl->last_body = STR_NONE;
            relay_attempt_failed(rl, &e, FAULT_TRANSPORT, -1);
            return;
        }
        /* Google and others end by closing after a finish reason */
        if (!rl->pass.is_terminal && rl->stop == IR_STOP_NONE) {
            struct err e = ERR_INIT;
            err_set(&e, ERR_UPSTREAM, "stream_cut", "upstream stream ended prematurely");
            relay_fail(rl, &e);
            return;
        }
        rl->is_done = true;
        if (rl->kept && rl->last_frame.n) {
            struct str last = edit_model(rl, buf_str(&rl->last_frame));
            responses_keep_event(rl, rl->pass.has_error ? note_mask(rl, last) : last);
        }
        relay_finish(rl);
        return;
    }
    struct err e = ERR_INIT;
    bool had_end = rl->is_done;
    bool ok = had_end || stream_finish(rl, &e);
    if (!rl->is_head_sent && !rl->has_content) {
        if (rl->saw_error_event)
            e = relay_failures(rl)->stream;
        else if (ok)
            err_set(&e, ERR_UPSTREAM, "empty_stream",
                    "The upstream's stream ended before it began");
        rl->last_body = STR_NONE;
        relay_attempt_failed(rl, &e, FAULT_TRANSPORT, -1);
        return;
    }
    if (!ok) {
        relay_fail(rl, &e);
        return;
    }
    rl->is_done = true;
    stream_read_end(rl); /* a reply that came in one read ends before its read does */
    relay_finish(rl);
}

/* false: the encoder has no words for it. */
static bool encode_break(struct relay *rl, const struct err *e)
{
    struct ir_event error = {.kind = IR_EV_ERROR, .error = e}, end = {.kind = IR_EV_END};
    if (!rl->enc)
        return false;
    wire_of(rl->spec->client)->encoder_push(rl->enc, &error, &rl->out);
    wire_of(rl->spec->client)->encoder_push(rl->enc, &end, &rl->out);
    if (!buf_failed(&rl->out))
        return true;
    empty_out(rl);
    return false;
}

void stream_break(struct relay *rl, const struct err *e)
{
    struct buf b;
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    if (rl->mode == REPLY_PASS) {
        stream_scan_push(&rl->pass, buf_str(&rl->out), forward, rl);
        commit_read_end(rl);
        rl->usage = rl->pass.usage;
        buf_init_arena(&b, rl->r->arena, 65536);
        /* half a frame is out: close it, so that the error is a frame of its own */
        if (rl->pass.is_giant)
            buf_str_add(&b, wire_of(rl->spec->client)->framing == FRAMING_NDJSON ? STR("\n")
                                                                                 : STR("\n\n"));
        if (rl->is_gemini_array) { /* nothing well-formed can follow inside an array that is cut */
            rl->is_ended = true;
            http_reply_cut(rl->r);
            return;
        }
        write_stream_error(rl->spec->client, e, rl->id, &b);
        http_reply_body(rl->r, buf_str(&b));
    } else if (rl->mode == REPLY_TRANSLATE) {
        if (!encode_break(rl, e)) {
            if (rl->is_gemini_array) {
                rl->is_ended = true;
                http_reply_cut(rl->r);
                return;
            }
            write_stream_error(rl->spec->client, e, rl->id, &rl->out);
        }
        relay_flush(rl);
    }
    relay_finish(rl);
}

void stream_replay(struct relay *rl, const struct ir_response *res)
{
    rl->mode = REPLY_TRANSLATE;
    buf_done(&rl->out);
    buf_init(&rl->out, out_max(rl));
    rl->enc = wire_of(rl->spec->client)->encoder_new(&rl->ctx);
    rl->collector = NULL;
    ir_replay(&rl->ctx, res, relay_on_ir_event, rl);
    rl->has_content = rl->is_done = true;
    stream_read_end(rl);
    relay_finish(rl);
}
