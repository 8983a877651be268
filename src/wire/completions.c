/* completions.c - OpenAI's legacy completions: a prompt becomes one user message, the answer its text.
 * Requests of this format reach its upstreams only as they are; their answers are read where they come in another shape
 * than was asked for: whole instead of a stream, a stream instead of whole. */
#include "wire/openai.h"
#include "wire/wires.h"
#include "base/banned.h"

static const struct word stop_words[] = {
    {"stop", IR_STOP_END}, {"length", IR_STOP_LENGTH}, {"content_filter", IR_STOP_FILTER}, {0}};

/* ======================================================================== requests */

static bool refuse(struct err *e, const char *field, const char *why)
{
    err_set(e, ERR_UNSUPPORTED, "unsupported_parameter", "'%s': %s", field, why);
    if (e)
        snprintf(e->field, sizeof e->field, "%s", field);
    return false;
}

static bool read_prompt(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    if (yyjson_is_arr(v)) {
        if (yyjson_arr_size(v) > 1 || !yyjson_is_str(yyjson_arr_get_first(v)))
            return refuse(e, "prompt", "only one prompt of text can be translated for this model");
        v = yyjson_arr_get_first(v);
    }
    if (!yyjson_is_str(v))
        return err_field(e, "prompt", "'prompt' must be a string");
    struct ir_message *m = ir_message_add(c->arena, &out->messages, IR_USER);
    ir_part_add(c->arena, &m->parts, IR_TEXT)->text = json_str(v);
    return true;
}

static bool read_stop(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    yyjson_val *item;
    size_t i, n;
    if (json_absent(v))
        return true;
    out->is_stop_string = yyjson_is_str(v);
    out->stop.v = ARENA_ARRAY(c->arena, struct str, yyjson_arr_size(v) + 1);
    if (out->is_stop_string)
        out->stop.v[out->stop.n++] = json_str(v);
    else if (!yyjson_is_arr(v))
        return err_field(e, "stop", "'stop' must be a string or an array of strings");
    yyjson_arr_foreach (v, i, n, item) {
        if (!yyjson_is_str(item))
            return err_field(e, "stop", "'stop' must be a string or an array of strings");
        out->stop.v[out->stop.n++] = json_str(item);
    }
    return true;
}

static bool read_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                         struct err *e)
{
    static const char *const residue[] = {"best_of", "echo", "logprobs"};
    int64_t best_of = 1;
    ir_request_init(out);
    out->origin = WIRE_COMPLETIONS;
    out->raw = root;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_request", "the body must be a JSON object");
    if (json_get_str(root, "suffix").n > 0)
        return refuse(e, "suffix", "this model cannot fill in the middle");
    if (!openai_read_int(root, "best_of", 1, &best_of, e))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(residue); i++) {
        yyjson_val *v = json_get(root, residue[i]);
        if (!json_absent(v) && !(yyjson_is_bool(v) && !yyjson_get_bool(v)) &&
            !(i == 0 && best_of == 1))
            wire_drop(c, "chat models have no such field", "%s", residue[i]);
    }
    yyjson_val *bias = json_get(root, "logit_bias");
    out->logit_bias = json_absent(bias) ? NULL : bias;
    out->include_usage = json_get_bool(json_get(root, "stream_options"), "include_usage", false);
    return openai_read_sampling(root, out, e) && read_prompt(c, json_get(root, "prompt"), out, e) &&
           read_stop(c, json_get(root, "stop"), out, e) &&
           openai_read_limit(root, "max_tokens", &out->max_tokens, e) &&
           openai_read_int(root, "n", 1, &out->n, e) &&
           openai_read_number(root, "seed", &out->seed, e);
}

/* ======================================================================== replies and streams of an upstream */

struct decoder {
    struct wire_ctx *c;
    struct flow flow;
};

static void *decoder_new(struct wire_ctx *c)
{
    struct decoder *d = ARENA_NEW(c->arena, struct decoder);
    d->c = c;
    flow_init(&d->flow, c);
    return d;
}

static void handle_choice(struct decoder *d, yyjson_val *v)
{
    int64_t index = json_get_int(v, "index", 0);
    unsigned choice = index < 0 || index >= FLOW_CHOICES ? FLOW_CHOICES : (unsigned)index;
    struct str reason = json_get_str(v, "finish_reason");
    if (choice == FLOW_CHOICES)
        wire_drop(d->c, "more choices than can be followed", "choices");
    if (!json_absent(json_get(v, "logprobs")))
        wire_drop(d->c, "they are of another shape elsewhere", "logprobs");
    flow_text(&d->flow, choice, IR_TEXT, json_get_str(v, "text"));
    if (reason.n > 0)
        flow_finish(&d->flow, choice, (enum ir_stop)word_value(stop_words, reason, IR_STOP_END),
                    STR_NONE);
}

/* A chunk of a stream, or a whole answer, which is one chunk. */
static void handle(struct decoder *d, yyjson_val *root)
{
    yyjson_val *choices = json_get(root, "choices"), *v;
    struct ir_usage usage = openai_usage(json_get(root, "usage"));
    size_t i, n;
    if (!json_absent(json_get(root, "error"))) {
        struct err upstream = ERR_INIT;
        wire_read_error_value(d->c->scratch, 0, root, &upstream);
        flow_error(&d->flow, &upstream);
        return;
    }
    if (yyjson_arr_size(choices) > 0)
        flow_start(&d->flow, json_get_str(root, "id"), json_get_str(root, "model"),
                   json_get_int(root, "created", 0));
    yyjson_arr_foreach (choices, i, n, v)
        handle_choice(d, v);
    flow_usage(&d->flow, &usage);
}

static bool decoder_push(void *dec, struct str event, struct str data, wire_sink_fn *emit,
                         void *arg, struct err *e)
{
    struct decoder *d = dec;
    yyjson_val *root;
    (void)event;
    flow_on(&d->flow, emit, arg);
    if (d->flow.is_ended)
        return true;
    if (str_is(str_trim(data), "[DONE]")) {
        flow_end(&d->flow, true);
        return true;
    }
    if (!flow_parse(&d->flow, data, &root, e))
        return false;
    handle(d, root);
    return true;
}

static void decoder_end(void *dec, wire_sink_fn *emit, void *arg)
{
    struct decoder *d = dec;
    flow_on(&d->flow, emit, arg);
    flow_end(&d->flow, false);
}

static bool read_response(struct wire_ctx *c, yyjson_val *root, struct ir_response *out,
                          struct err *e)
{
    struct decoder *d = decoder_new(c);
    struct ir_collector *k = ir_collector_new(c);
    if (yyjson_arr_size(json_get(root, "choices")) == 0 && !json_get(root, "error"))
        return err_set(e, ERR_UPSTREAM, "bad_upstream_response",
                       "the upstream's answer has no choices");
    flow_on(&d->flow, ir_collect, k);
    handle(d, root);
    flow_end(&d->flow, true); /* some give no reason */
    if (!ir_collected(k, out, e))
        return false;
    out->origin = WIRE_COMPLETIONS;
    return true;
}

/* ======================================================================== replies to a client */

static void write_head(struct wire_ctx *c, struct jw *w, struct str id, struct str model,
                       int64_t created)
{
    jw_object(w);
    jw_kv_str(w, "id", wire_prefixed_id(c, id, "cmpl-"));
    jw_kv_cstr(w, "object", "text_completion");
    jw_kv_int(w, "created", wire_created(c, created));
    jw_kv_str(w, "model", wire_model_shown(c, model));
}

static void write_response(struct wire_ctx *c, const struct ir_response *res, struct buf *out)
{
    struct jw w = jw_on(out);
    write_head(c, &w, res->id, res->model, res->created);
    jw_key(&w, "choices");
    jw_array(&w);
    for (const struct ir_choice *choice = res->choices; choice; choice = choice->next) {
        jw_object(&w);
        jw_kv_str(&w, "text", ir_parts_text(c->arena, &choice->message.parts));
        jw_kv_int(&w, "index", choice->index);
        jw_kv_null(&w, "logprobs");
        jw_kv_cstr(&w, "finish_reason", word_text(stop_words, choice->stop, "stop"));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    if (ir_usage_known(&res->usage)) {
        jw_key(&w, "usage");
        openai_write_chat_usage(&w, &res->usage);
    }
    if (res->system_fingerprint.n > 0)
        jw_kv_str(&w, "system_fingerprint", res->system_fingerprint);
    jw_object_end(&w);
}

struct encoder {
    struct wire_ctx *c;
    struct str head;
    struct ir_usage usage;
    bool is_ended, wants_usage;
};

static void *encoder_new(struct wire_ctx *c)
{
    struct encoder *s = ARENA_NEW(c->arena, struct encoder);
    s->c = c;
    s->usage = IR_USAGE_NONE;
    s->wants_usage = c->req && c->req->include_usage;
    return s;
}

static void make_head(struct encoder *s, const struct ir_event *ev)
{
    struct buf b;
    buf_init_arena(&b, s->c->arena, 1 << 16);
    struct jw w = jw_on(&b);
    buf_lit(&b, "data: ");
    write_head(s->c, &w, ev->id, ev->model, ev->created);
    buf_lit(&b, ",\"choices\":[");
    s->head = buf_str(&b);
}

static void chunk(struct encoder *s, unsigned choice, struct str text, const char *reason,
                  struct buf *out)
{
    buf_str_add(out, s->head);
    buf_lit(out, "{\"text\":\"");
    json_escape(out, text);
    buf_lit(out, "\",\"index\":");
    buf_int(out, choice);
    buf_lit(out, ",\"logprobs\":null,\"finish_reason\":");
    if (reason) {
        buf_char(out, '"');
        buf_str_add(out, str_of(reason));
        buf_char(out, '"');
    } else {
        buf_lit(out, "null");
    }
    buf_lit(out, "}]}\n\n");
}

static void end_stream(struct encoder *s, struct buf *out)
{
    s->is_ended = true;
    if (s->wants_usage && ir_usage_known(&s->usage)) {
        struct jw w = jw_on(out);
        buf_str_add(out, s->head);
        buf_lit(out, "],\"usage\":");
        openai_write_chat_usage(&w, &s->usage);
        buf_lit(out, "}\n\n");
    }
    buf_lit(out, "data: [DONE]\n\n");
}

static void encoder_push(void *enc, const struct ir_event *ev, struct buf *out)
{
    struct encoder *s = enc;
    if (s->is_ended)
        return;
    if (s->head.n == 0 && ev->kind != IR_EV_PING && ev->kind != IR_EV_ERROR)
        make_head(s, ev->kind == IR_EV_START ? ev : &(struct ir_event){0});
    switch (ev->kind) {
    case IR_EV_TEXT:
        if (ev->text.n > 0)
            chunk(s, ev->choice, ev->text, NULL, out);
        break;
    case IR_EV_USAGE:
        s->usage = ir_usage_merge(s->usage, ev->usage);
        break;
    case IR_EV_FINISH:
        chunk(s, ev->choice, STR_NONE, word_text(stop_words, ev->stop, "stop"), out);
        break;
    case IR_EV_ERROR:
        s->is_ended = true;
        buf_lit(out, "data: ");
        openai_write_error(ev->error, STR_NONE, out);
        buf_lit(out, "\n\n");
        break;
    case IR_EV_END:
        end_stream(s, out);
        break;
    case IR_EV_PING:
        buf_lit(out, ": keep-alive\n\n");
        break;
    case IR_EV_START:
    case IR_EV_BLOCK_START:
    case IR_EV_REASONING:
    case IR_EV_TOOL_ARGS:
    case IR_EV_CITATION:
    case IR_EV_LOGPROBS:
    case IR_EV_BLOCK_END:
        break; /* this format has text only */
    case IR_EV_MEDIA:
        wire_drop_media(s->c, ev->part_kind);
        break;
    }
}

static bool meter(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    (void)event;
    if (data.n <= 8 && str_is(str_trim(data), "[DONE]"))
        return true;
    struct str reason = openai_find_string(data, STR("finish_reason"));
    if (reason.n > 0)
        *stop = (enum ir_stop)word_value(stop_words, reason, IR_STOP_END);
    (void)openai_meter_usage(data, OPENAI_OF_REPLY, usage);
    return false;
}

const struct wire wire_completions = {
    .id = WIRE_COMPLETIONS,
    .name = "openai_completions",
    .framing = FRAMING_SSE,
    .read_request = read_request,
    .read_response = read_response,
    .write_response = write_response,
    .decoder_new = decoder_new,
    .decoder_push = decoder_push,
    .decoder_end = decoder_end,
    .encoder_new = encoder_new,
    .encoder_push = encoder_push,
    .write_error = openai_write_error,
    .keepalive = ": keep-alive\n\n",
    .meter = meter,
};
