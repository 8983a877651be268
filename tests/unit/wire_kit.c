#include "unit/wire_kit.h"
#include "wire/framing.h"
#include <check.h>
#include <stdarg.h>
#include <stdio.h>

void kit_init(struct kit *k, const struct wire *client, const struct wire *upstream)
{
    *k = (struct kit){
        .arena = arena_new(), .scratch = arena_new(), .client = client, .upstream = upstream};
    wire_ctx_init(&k->ctx, k->arena);
    k->ctx.scratch = k->scratch;
    k->ctx.client = client->id;
    k->ctx.upstream = upstream->id;
    k->ctx.upstream_model = STR("up-model");
    k->ctx.now_ms = 1735786245000; /* 2025-01-02T02:50:45Z */
    k->ctx.seed = 7;
    err_clear(&k->err);
}

void kit_done(struct kit *k)
{
    arena_free(k->scratch);
    arena_free(k->arena);
    k->scratch = k->arena = NULL;
}

void kit_use(struct kit *k, const struct wire *client, const struct wire *upstream)
{
    kit_done(k);
    kit_init(k, client, upstream);
}

struct str kit_text(struct kit *k, const char *quoted)
{
    size_t n = strlen(quoted);
    char *p = arena_alloc(k->arena, n + 1);
    for (size_t i = 0; i <= n; i++)
        p[i] = (char)(quoted[i] == '\'' ? '"' : quoted[i]);
    return str_n(p, n);
}

yyjson_val *kit_json(struct kit *k, struct str text)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    ck_assert_msg(json_parse(k->arena, text, 0, &root, &e), "%s in: " STR_FMT, e.message,
                  STR_ARG(text));
    return root;
}

struct str kit_request(struct kit *k, const char *body)
{
    struct buf out;
    yyjson_val *root = kit_json(k, kit_text(k, body));
    err_clear(&k->err);
    if (!k->client->read_request(&k->ctx, root, &k->req, &k->err))
        return STR_NONE;
    k->ctx.req = &k->req;
    k->ctx.is_stream = k->req.is_stream;
    buf_init_arena(&out, k->arena, 1u << 24);
    if (!k->upstream->write_request(&k->ctx, &k->req, &out, &k->err))
        return STR_NONE;
    (void)kit_json(k, buf_str(&out));
    return buf_str(&out);
}

struct str kit_reply(struct kit *k, const char *body)
{
    struct ir_response res;
    struct buf out;
    err_clear(&k->err);
    if (!k->upstream->read_response(&k->ctx, kit_json(k, kit_text(k, body)), &res, &k->err))
        return STR_NONE;
    buf_init_arena(&out, k->arena, 1u << 24);
    k->client->write_response(&k->ctx, &res, &out);
    (void)kit_json(k, buf_str(&out));
    return buf_str(&out);
}

/* ---- streams ---- */
struct pump {
    struct kit *k;
    void *dec, *enc;
    struct buf out;
};

static void on_event(void *arg, const struct ir_event *ev)
{
    struct pump *p = arg;
    p->k->client->encoder_push(p->enc, ev, &p->out);
}

static bool on_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct pump *p = arg;
    bool ok = p->k->upstream->decoder_push(p->dec, event, data, on_event, p, e);
    arena_reset(
        p->k->scratch); /* what was kept beyond its event is a bug that the sanitizer sees */
    return ok;
}

static struct str deliver(struct kit *k, struct str bytes, size_t piece)
{
    struct wire_ctx ctx = k->ctx; /* the same ids every time */
    struct pump p = {.k = k};
    struct framing_reader *r = framing_reader_new(k->upstream->framing, 1u << 24, on_frame, &p);
    bool ok = true;
    p.dec = k->upstream->decoder_new(&k->ctx);
    p.enc = k->client->encoder_new(&k->ctx);
    buf_init_arena(&p.out, k->arena, 1u << 24);
    for (size_t i = 0; i < bytes.n && ok; i += piece)
        ok = framing_push(r, str_first(str_skip(bytes, i), piece), &k->err);
    if (ok)
        ok = framing_finish(r, &k->err);
    (void)ok; /* a cut stream is the decoder's to tell */
    k->upstream->decoder_end(p.dec, on_event, &p);
    framing_reader_done(r);
    k->ctx.ids_made = ctx.ids_made;
    ck_assert(!buf_failed(&p.out));
    return buf_str(&p.out);
}

struct str kit_stream(struct kit *k, const char *frames)
{
    struct str bytes = kit_text(k, frames);
    struct str whole = deliver(k, bytes, bytes.n ? bytes.n : 1);
    struct str drops = deliver(k, bytes, 1);
    struct str odd = deliver(k, bytes, 7);
    ck_assert_msg(str_eq(whole, drops), "whole:\n" STR_FMT "\nby bytes:\n" STR_FMT, STR_ARG(whole),
                  STR_ARG(drops));
    ck_assert_msg(str_eq(whole, odd), "whole:\n" STR_FMT "\nin sevens:\n" STR_FMT, STR_ARG(whole),
                  STR_ARG(odd));
    return whole;
}

/* ---- summaries ---- */
struct digest {
    struct kit *k;
    struct buf b;
    int64_t next; /* index the next block of an Anthropic stream must have */
    bool is_open;
};

static void word(struct digest *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void word(struct digest *d, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ck_assert(n >= 0 && (size_t)n < sizeof text);
    if (d->b.n)
        buf_char(&d->b, ' ');
    buf_add(&d->b, text, (size_t)n);
}

static void digest_delta(struct digest *d, yyjson_val *delta)
{
    static const char *const keys[] = {"text", "thinking", "signature", "partial_json"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_get(delta, keys[i]))
            word(d, "%.1s'" STR_FMT "'", keys[i], STR_ARG(json_get_str(delta, keys[i])));
    if (json_get(delta, "citation"))
        word(d, "cite:" STR_FMT, STR_ARG(json_get_str(json_get(delta, "citation"), "url")));
}

static void digest_anthropic(struct digest *d, yyjson_val *v)
{
    struct str type = json_get_str(v, "type");
    yyjson_val *block = json_get(v, "content_block"), *usage = json_get(v, "usage");
    if (str_is(type, "message_start")) {
        word(d, "S");
    } else if (str_is(type, "content_block_start")) {
        ck_assert_msg(!d->is_open, "a block starts before the one before ended");
        ck_assert_int_eq(json_get_int(v, "index", -1), d->next);
        d->is_open = true;
        word(d, "[" STR_FMT, STR_ARG(json_get_str(block, "type")));
        if (json_get(block, "name")) {
            word(d, STR_FMT, STR_ARG(json_get_str(block, "name")));
            ck_assert(json_get_str(block, "id").n > 0);
            ck_assert(yyjson_is_obj(json_get(block, "input")));
        }
    } else if (str_is(type, "content_block_delta")) {
        ck_assert_msg(d->is_open, "a delta outside of a block");
        ck_assert_int_eq(json_get_int(v, "index", -1), d->next);
        digest_delta(d, json_get(v, "delta"));
    } else if (str_is(type, "content_block_stop")) {
        ck_assert_int_eq(json_get_int(v, "index", -1), d->next++);
        d->is_open = false;
        word(d, "]");
    } else if (str_is(type, "message_delta")) {
        ck_assert(!d->is_open);
        word(d, "D(" STR_FMT ",%d,%d)", STR_ARG(json_get_str(json_get(v, "delta"), "stop_reason")),
             (int)json_get_int(usage, "input_tokens", -1),
             (int)json_get_int(usage, "output_tokens", -1));
    } else if (str_is(type, "message_stop")) {
        word(d, "E");
    } else if (str_is(type, "error")) {
        word(d, "!" STR_FMT, STR_ARG(json_get_str(json_get(v, "error"), "type")));
    } else {
        word(d, STR_FMT, STR_ARG(type));
    }
}

static void digest_gemini(struct digest *d, yyjson_val *v)
{
    yyjson_val *candidate = yyjson_arr_get_first(json_get(v, "candidates")), *p;
    yyjson_val *parts = json_get(json_get(candidate, "content"), "parts"),
               *usage = json_get(v, "usageMetadata");
    size_t i, n;
    if (yyjson_is_arr(parts))
        yyjson_arr_foreach (parts, i, n, p) {
            yyjson_val *call = json_get(p, "functionCall");
            if (call)
                word(d, "c:" STR_FMT STR_FMT, STR_ARG(json_get_str(call, "name")),
                     STR_ARG(json_text(d->k->arena, json_get(call, "args"))));
            else if (json_get(p, "inlineData"))
                word(d, "media");
            else
                word(d, "%s'" STR_FMT "'", json_get_bool(p, "thought", false) ? "r" : "t",
                     STR_ARG(json_get_str(p, "text")));
            if (json_get(p, "thoughtSignature"))
                word(d, "sig:" STR_FMT, STR_ARG(json_get_str(p, "thoughtSignature")));
        }
    if (json_get(candidate, "finishReason"))
        word(d, "F(" STR_FMT ",%d,%d)", STR_ARG(json_get_str(candidate, "finishReason")),
             (int)json_get_int(usage, "promptTokenCount", -1),
             (int)json_get_int(usage, "candidatesTokenCount", -1));
    if (json_get(v, "error"))
        word(d, "!" STR_FMT, STR_ARG(json_get_str(json_get(v, "error"), "status")));
}

static void digest_ollama(struct digest *d, yyjson_val *v)
{
    yyjson_val *message = json_get(v, "message"), *calls = json_get(message, "tool_calls"), *x;
    struct str text = json_get_str(message ? message : v, message ? "content" : "response");
    struct str thinking = json_get_str(message ? message : v, "thinking");
    size_t i, n;
    if (text.n)
        word(d, "t'" STR_FMT "'", STR_ARG(text));
    if (thinking.n)
        word(d, "r'" STR_FMT "'", STR_ARG(thinking));
    if (yyjson_is_arr(calls))
        yyjson_arr_foreach (calls, i, n, x) {
            yyjson_val *f = json_get(x, "function");
            word(d, "c:" STR_FMT STR_FMT, STR_ARG(json_get_str(f, "name")),
                 STR_ARG(json_text(d->k->arena, json_get(f, "arguments"))));
        }
    if (json_get_bool(v, "done", false))
        word(d, "F(" STR_FMT ",%d,%d)", STR_ARG(json_get_str(v, "done_reason")),
             (int)json_get_int(v, "prompt_eval_count", -1), (int)json_get_int(v, "eval_count", -1));
    if (json_get(v, "error"))
        word(d, "!");
}

static bool on_summary(void *arg, struct str event, struct str data, struct err *e)
{
    struct digest *d = arg;
    yyjson_val *v = kit_json(d->k, data);
    (void)e;
    if (d->k->client->id == WIRE_ANTHROPIC) {
        ck_assert(str_eq(event, json_get_str(v, "type")));
        digest_anthropic(d, v);
    } else if (d->k->client->id == WIRE_GEMINI) {
        digest_gemini(d, v);
    } else {
        digest_ollama(d, v);
    }
    return true;
}

struct str kit_summary(struct kit *k, struct str stream)
{
    struct digest d = {.k = k};
    struct err e = ERR_INIT;
    enum framing framing = k->ctx.is_json_array ? FRAMING_JSON_ARRAY : k->client->framing;
    struct framing_reader *r = framing_reader_new(framing, 1u << 24, on_summary, &d);
    buf_init_arena(&d.b, k->arena, 1u << 20);
    ck_assert_msg(framing_push(r, stream, &e) && framing_finish(r, &e), "%s", e.message);
    framing_reader_done(r);
    return buf_str(&d.b);
}

/* ---- expectations ---- */
bool kit_dropped(const struct kit *k, const char *what)
{
    for (const struct wire_dropped *d = k->ctx.dropped; d; d = d->next)
        if (str_eq(d->what, str_of(what)))
            return true;
    return false;
}

void kit_expect(struct kit *k, struct str actual, const char *expected)
{
    ck_assert_msg(actual.n > 0, "refused: %s", k->err.message);
    yyjson_val *a = kit_json(k, actual), *b = kit_json(k, kit_text(k, expected));
    ck_assert_msg(json_equal(a, b), "got:  " STR_FMT "\nwant: %s", STR_ARG(actual), expected);
}

void kit_expect_at(struct kit *k, struct str actual, const char *path, const char *expected)
{
    ck_assert_msg(actual.n > 0, "refused: %s", k->err.message);
    yyjson_val *v = kit_json(k, actual);
    struct str rest = str_of(path), head;
    while (rest.n && v) {
        int64_t i;
        rest = str_cut(rest, '.', &head);
        if (yyjson_is_arr(v))
            v = str_to_int(head, &i) ? yyjson_arr_get(v, (size_t)i) : NULL;
        else
            v = yyjson_obj_getn(v, head.p, head.n);
    }
    if (!v || strcmp(expected, "absent") == 0) {
        ck_assert_msg(!v && strcmp(expected, "absent") == 0, "%s is %s in " STR_FMT, path,
                      v ? "there" : "absent", STR_ARG(actual));
        return;
    }
    yyjson_val *want = kit_json(k, kit_text(k, expected));
    ck_assert_msg(json_equal(v, want), "%s is " STR_FMT ", not %s, in " STR_FMT, path,
                  STR_ARG(json_text(k->arena, v)), expected, STR_ARG(actual));
}

void kit_expect_text(struct str actual, const char *expected)
{
    ck_assert_msg(str_eq(actual, str_of(expected)), "got:  " STR_FMT "\nwant: %s", STR_ARG(actual),
                  expected);
}

void kit_check_request(struct kit *k, const struct kit_request_row *row)
{
    struct str out = kit_request(k, row->body);
    ck_assert_msg(out.n > 0, "%s: %s", row->body, k->err.message);
    kit_expect_at(k, out, row->path, row->expected);
}

void kit_check_refused(struct kit *k, const struct kit_refused_row *row)
{
    struct str out = kit_request(k, row->body);
    ck_assert_msg(out.n == 0, "%s was accepted: " STR_FMT, row->body, STR_ARG(out));
    ck_assert_int_eq(k->err.kind, ERR_INPUT);
    ck_assert_str_eq(k->err.field, row->field);
    ck_assert_str_ne(k->err.message, "");
}

void kit_check_stream(struct kit *k, const struct kit_stream_row *row)
{
    kit_expect_text(kit_summary(k, kit_stream(k, row->frames)), row->expected);
}
