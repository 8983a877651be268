/* whole.c - replies that arrive in one piece: passed, translated, or replayed as the stream that was asked for. */
#include "relay/request.h"
#include "base/clock.h"
#include "wire/common.h"

static bool misframed(const struct relay *rl, struct err *e)
{
    return err_set(e, ERR_UPSTREAM, "invalid_upstream_reply",
                   "The upstream's reply is of the type '" STR_FMT
                   "', which its format does not have",
                   STR_ARG(str_first(rl->up_type, 100)));
}

static bool read_whole(struct relay *rl, struct ir_response *res, struct err *e)
{
    if (rl->is_misframed)
        return misframed(rl, e);
    struct str body = str_fix_utf8(rl->r->arena, buf_str(&rl->reply));
    yyjson_val *root;
    if (!json_parse(rl->r->arena, body, (unsigned)rl->set->max_json_depth, &root, e)) {
        struct err inner = *e;
        return err_set(e, ERR_UPSTREAM, "invalid_upstream_reply",
                       "The upstream's reply is not valid JSON: %s", inner.message);
    }
    yyjson_val *error = json_get(root, "error");
    /* an error that calls itself 200 */
    if (!json_absent(error) && (yyjson_is_obj(error) || yyjson_is_str(error))) {
        bool is_reply = json_get(root, "output") && !yyjson_is_obj(error);
        if (!is_reply) {
            wire_read_error(rl->r->arena, 200, note_mask(rl, body), e);
            if (e->kind == ERR_NONE)
                err_set(e, ERR_UPSTREAM, "upstream_error", "The upstream answered with an error");
            return false;
        }
    }
    return wire_of(rl->up)->read_response(&rl->ctx, root, res, e);
}

static void whole_failed(struct relay *rl, struct err *e)
{
    if (e->kind == ERR_INPUT)
        e->kind = ERR_UPSTREAM; /* bad JSON of an upstream is not the caller's */
    rl->last_status = err_status(e);
    rl->last_body = STR_NONE;
    relay_attempt_failed(rl, e, fault_of_reply(rl->last_status >= 400 ? rl->last_status : 502, e),
                         e->retry_after_ms);
}

/* How many pictures a reply of the images API holds; -1: it says nothing of any. */
static int64_t count_data(const struct relay *rl, struct str body)
{
    struct json_want data = {.key = "data"};
    struct json_scan scan;
    if (!json_scan_object(body, &data, 1, (unsigned)rl->set->max_json_depth, &scan, NULL) ||
        !data.count || body.p[data.span.at] != '[')
        return -1;
    return count_elements(str_n(body.p + data.span.at, data.span.n));
}

static void meter_whole(struct relay *rl, struct str body)
{
    if (body.n == 0) /* some say so little */
        return;
    (void)wire_of(rl->up == WIRE_NONE ? WIRE_CHAT : rl->up)
        ->meter(STR_NONE, body, &rl->usage, &rl->stop);
    if (rl->spec->op == OP_IMAGE_GENERATE || rl->spec->op == OP_IMAGE_EDIT)
        rl->usage.images = count_data(rl, body);
    if (rl->spec->shape == RELAY_TALK) {
        struct image_scan s = {.is_whole = true};
        image_scan_push(&s, rl->up, body);
        rl->n_images = image_scan_end(&s, rl->up);
    }
}

/* Pictures among what the model said. */
static int64_t count_parts(const struct ir_response *res)
{
    int64_t n = 0;
    for (const struct ir_choice *c = res->choices; c; c = c->next)
        for (const struct ir_part *p = c->message.parts.first; p; p = p->next)
            n += p->kind == IR_IMAGE;
    return n;
}

static void append(void *arg, struct str bytes)
{
    buf_str_add(arg, bytes);
}

/* An object from its first byte to its last: not a page, nothing, or one that breaks off. What is inside passes unread. */
static bool looks_whole(struct str body)
{
    if (str_starts(body, STR("\xef\xbb\xbf")))
        body = str_skip(body, 3);
    body = str_trim(body);
    return body.n >= 2 && body.p[0] == '{' && body.p[body.n - 1] == '}';
}

/* An error that calls itself 200. A Responses reply may hold one beside its output: it is a reply. */
static bool is_error(const struct relay *rl, struct str body)
{
    struct json_want want[] = {
        {.key = "error"}, {.key = "type"}, {.key = "object"}, {.key = "output"}};
    struct str value[ARRAY_LEN(want)] = {STR_NONE};
    struct json_scan scan;
    if (!json_scan_object(body, want, ARRAY_LEN(want), (unsigned)rl->set->max_json_depth, &scan,
                          NULL))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (want[i].count)
            value[i] = str_n(body.p + want[i].span.at, want[i].span.n);
    bool is_told = str_starts(value[0], STR("{")) ||
                   (str_starts(value[0], STR("\"")) && value[0].n > 2);
    return (is_told && !value[3].n) || str_is(value[1], "\"error\"") ||
           str_is(value[2], "\"error\"");
}

static void pass_whole(struct relay *rl)
{
    struct str body = buf_str(&rl->reply);
    struct str start = str_trim(str_first(body, 64));
    bool is_sane = rl->spec->shape == RELAY_TALK
                       ? looks_whole(body)
                       : start.n == 0 || start.p[0] == '{' || start.p[0] == '[';
    if (!is_sane) {
        struct err e = ERR_INIT;
        err_set(&e, ERR_UPSTREAM, "invalid_upstream_reply",
                "The upstream's reply is not valid JSON");
        whole_failed(rl, &e);
        return;
    }
    bool tells = tells_error(body);
    if (tells)
        body = note_mask(rl, body);
    if (tells && is_error(rl, body)) {
        struct err e = ERR_INIT;
        wire_read_error(rl->r->arena, 200, body, &e);
        if (e.kind == ERR_NONE)
            err_set(&e, ERR_UPSTREAM, "upstream_error", "The upstream answered with an error");
        whole_failed(rl, &e);
        return;
    }
    meter_whole(rl, body);
    trace_answer(rl, body);
    /* neither what it took nor why it ended: it may be an error in words of its own */
    if (rl->spec->shape == RELAY_TALK && rl->stop == IR_STOP_NONE && !ir_usage_known(&rl->usage))
        body = note_mask(rl, body);
    body = edit_model(rl, body);
    rl->is_open = responses_runs_on(rl, body);
    rl->is_done = true;
    rl->is_ended = true;
    if (rl->kept)
        responses_keep(rl, body);
    if (relay_renames_reasoning(rl)) {
        struct buf renamed;
        buf_init_arena(&renamed, rl->r->arena, SIZE_MAX / 4);
        edit_reasoning(body, append, &renamed);
        body = buf_str(&renamed);
    }
    relay_reply_json(rl, rl->up_status, body);
}

void whole_refuse(struct relay *rl)
{
    struct err e = ERR_INIT;
    (void)misframed(rl, &e);
    if (rl->call) {
        http_call_cancel(rl->call);
        rl->call = NULL;
    }
    whole_failed(rl, &e);
}

void whole_reply(struct relay *rl)
{
    struct err e = ERR_INIT;
    struct ir_response res = {0};
    struct buf out;

    if (rl->mode == REPLY_FOLD) {
        bool ok = rl->is_done || stream_finish(rl, &e);
        if (!ok || !ir_collected(rl->collector, &res, &e)) {
            whole_failed(rl, &e);
            return;
        }
    } else if (rl->spec->shape == RELAY_EMBED && !rl->is_same) {
        buf_init_arena(&out, rl->r->arena, (size_t)rl->set->max_reply_bytes);
        if (!embed_reply(rl, &out, &e)) {
            whole_failed(rl, &e);
            return;
        }
        rl->is_done = rl->is_ended = true;
        relay_reply_json(rl, 200, buf_str(&out));
        return;
    } else if (rl->spec->shape != RELAY_TALK) {
        pass_whole(rl);
        return;
    } else {
        if (rl->is_same && !rl->is_stream && !relay_repairs(rl) && !rl->is_misframed) {
            pass_whole(rl);
            return;
        }
        relay_ready_reply(rl);
        if (!read_whole(rl, &res, &e)) {
            whole_failed(rl, &e);
            return;
        }
        rl->is_open = responses_runs_on(rl, buf_str(&rl->reply));
        if (rl->ctx.cuts_stop && rl->ir)
            stop_cut_response(&rl->ir->stop, &res);
    }
    if (ir_usage_known(&res.usage) && rl->mode != REPLY_FOLD) /* events have told it */
        rl->usage = res.usage;
    trace_answered(rl, res.model);
    rl->n_images = count_parts(&res);
    if (res.choices)
        rl->stop = res.choices->stop;
    wire_drop_foreign(&rl->ctx, &res);
    if (rl->is_stream) {
        stream_replay(rl, &res);
        return;
    }
    buf_init_arena(&out, rl->r->arena, (size_t)rl->set->max_reply_bytes);
    /* told by Ollama's replies */
    rl->ctx.elapsed_ns = (int64_t)(clock_mono_ns() - rl->r->start_ns);
    wire_of(rl->spec->client)->write_response(&rl->ctx, &res, &out);
    if (buf_failed(&out)) {
        err_set(&e, ERR_UPSTREAM, "reply_too_large",
                "The reply is larger than max_reply_bytes once translated");
        relay_fail(rl, &e);
        return;
    }
    rl->is_done = rl->is_ended = true;
    if (rl->kept)
        responses_keep(rl, buf_str(&out));
    relay_reply_json(rl, 200, buf_str(&out));
}

void loaded_reply(struct relay *rl)
{
    struct ir_response res = {.usage = IR_USAGE_NONE};
    struct buf out;
    rl->up = WIRE_NONE;
    relay_ready_ctx(rl);
    rl->ctx.elapsed_ns = (int64_t)(clock_mono_ns() - rl->r->start_ns);
    if (rl->is_stream) {
        stream_replay(rl, &res);
        return;
    }
    buf_init_arena(&out, rl->r->arena, (size_t)rl->set->max_reply_bytes);
    wire_of(rl->spec->client)->write_response(&rl->ctx, &res, &out);
    rl->is_done = rl->is_ended = true;
    relay_reply_json(rl, 200, buf_str(&out));
}

/* ---- counting tokens without the upstream's help: documented as an estimate ---- */

void count_locally(struct relay *rl)
{
    struct err e = ERR_INIT;
    struct buf b;
    struct jw w;
    if (rl->spec->client == WIRE_GEMINI) { /* {"contents":…} or {"generateContentRequest":{…}} */
        struct json_want want = {.key = "generateContentRequest"};
        struct json_scan scan;
        if (json_scan_object(rl->body, &want, 1, (unsigned)rl->set->max_json_depth, &scan, &e) &&
            want.count == 1)
            rl->body = str_n(rl->body.p + want.span.at, want.span.n);
    }
    if (!relay_load_ir(rl, &e)) {
        relay_fail(rl, &e);
        return;
    }
    int64_t n = ir_estimate_tokens(rl->ir);
    buf_init_arena(&b, rl->r->arena, 1024);
    w = jw_on(&b);
    jw_object(&w);
    if (rl->spec->client == WIRE_GEMINI) {
        jw_kv_int(&w, "totalTokens", n);
    } else {
        if (rl->spec->client == WIRE_RESPONSES)
            jw_kv_cstr(&w, "object", "response.input_tokens");
        jw_kv_int(&w, "input_tokens", n);
    }
    jw_object_end(&w);
    rl->usage.input_total = n;
    rl->is_done = rl->is_ended = true;
    static struct http_header estimated[] = {{STR_INIT("x-sluice-estimated"), STR_INIT("true")}};
    rl->out_headers = (struct out_headers){estimated, 1};
    relay_reply_json(rl, 200, buf_str(&b));
}
