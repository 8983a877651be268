/* stored_stream.c - a stored response told once more as the stream that it would have been: GET /v1/responses/{id}?stream=true.
 * The events in the midst are the encoder's; what shows the whole response or a whole item shows it as it is stored. */
#include "relay/request.h"
#include "base/codec.h"
#include "wire/common.h"

struct teller {
    struct arena *arena;
    yyjson_val *response;
    struct str text;  /* of the response */
    int64_t after;    /* number of the last event that the client has; -1: none */
    int64_t sequence; /* of the next one */
    void *enc;
    struct buf frames; /* the encoder's, of one event */
    bool has_failed;
    struct buf *out;
};

/* Of the number that comes next; NULL: one that the client has already. */
static struct buf *begin_event(struct teller *t, struct str name)
{
    int64_t number = t->sequence++;
    if (number <= t->after)
        return NULL;
    buf_lit(t->out, "event: response.");
    buf_str_add(t->out, name);
    buf_lit(t->out, "\ndata: {\"type\":\"response.");
    buf_str_add(t->out, name);
    buf_lit(t->out, "\",\"sequence_number\":");
    buf_int(t->out, number);
    return t->out;
}

static void tell_response(struct teller *t, struct str name, struct str text)
{
    struct buf *out = begin_event(t, name);
    if (!out)
        return;
    buf_lit(out, ",\"response\":");
    buf_str_add(out, text);
    buf_lit(out, "}\n\n");
}

/* As it was before the model said anything. */
static struct str at_start(struct teller *t)
{
    static const struct {
        struct str name, then;
    } were[] = {{STR_INIT("status"), STR_INIT("\"in_progress\"")},
                {STR_INIT("output"), STR_INIT("[]")},
                {STR_INIT("error"), STR_INIT("null")},
                {STR_INIT("incomplete_details"), STR_INIT("null")},
                {STR_INIT("usage"), STR_INIT("null")},
                {STR_INIT("completed_at"), STR_INIT("null")}};
    struct buf b;
    size_t i, n;
    yyjson_val *name, *value;
    buf_init_arena(&b, t->arena, t->text.n + 1024);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (t->response, i, n, name, value) {
        size_t k = 0;
        while (k < ARRAY_LEN(were) && !str_eq(json_str(name), were[k].name))
            k++;
        jw_key_str(&w, json_str(name));
        if (k < ARRAY_LEN(were))
            jw_raw(&w, were[k].then);
        else
            jw_val(&w, value);
    }
    jw_object_end(&w);
    return buf_str(&b);
}

/* The stored item of this place and id, as text; else what was encoded. */
static struct str item_text(struct teller *t, struct str data, struct str encoded)
{
    struct json_want want[2] = {{.key = "output_index"}, {.key = "item"}};
    struct json_scan scan;
    yyjson_val *item, *stored;
    int64_t at;
    if (!json_scan_object(data, want, 2, 0, &scan, NULL) || want[0].count != 1 ||
        !str_to_int(str_n(data.p + want[0].span.at, want[0].span.n), &at) || at < 0 ||
        !json_parse(t->arena, encoded, 0, &item, NULL))
        return encoded;
    stored = yyjson_arr_get(json_get(t->response, "output"), (size_t)at);
    return stored && str_eq(json_get_str(stored, "id"), json_get_str(item, "id"))
               ? json_text(t->arena, stored)
               : encoded;
}

static void tell_frame(struct teller *t, struct str name, struct str data)
{
    enum {
        SEQUENCE,
        RESPONSE,
        ITEM,
        N
    };
    struct json_want want[N] = {{.key = "sequence_number"}, {.key = "response"}, {.key = "item"}};
    struct json_scan scan;
    if (!json_scan_object(data, want, N, 0, &scan, NULL) || want[SEQUENCE].count != 1 ||
        want[RESPONSE].count > 0)
        return; /* those of the whole response are told from what is stored */
    struct buf *out = begin_event(t, name);
    if (!out)
        return;
    size_t rest = want[SEQUENCE].span.at + want[SEQUENCE].span.n;
    struct json_span item = want[ITEM].span;
    if (want[ITEM].count == 1 && item.at > rest && str_is(name, "output_item.done")) {
        buf_add(out, data.p + rest, item.at - rest);
        buf_str_add(out, item_text(t, data, str_n(data.p + item.at, item.n)));
        rest = item.at + item.n;
    }
    buf_add(out, data.p + rest, data.n - rest);
    buf_lit(out, "\n\n");
}

static void on_event(void *arg, const struct ir_event *ev)
{
    static const struct str start = STR_INIT("event: response.");
    struct teller *t = arg;
    buf_clear(&t->frames);
    wire_of(WIRE_RESPONSES)->encoder_push(t->enc, ev, &t->frames);
    t->has_failed = t->has_failed || buf_failed(&t->frames);
    struct str rest = buf_str(&t->frames), line;
    while (rest.n) { /* event: NAME, data: JSON, an empty line */
        rest = str_cut(rest, '\n', &line);
        if (!str_starts(line, start))
            continue;
        struct str name = str_skip(line, start.n);
        rest = str_cut(rest, '\n', &line);
        tell_frame(t, name, str_trim(str_skip(line, sizeof("data:") - 1)));
    }
}

bool stored_stream(struct arena *a, struct str response, int64_t after, struct buf *out,
                   struct err *e)
{
    struct teller t = {.arena = a, .text = response, .after = after, .out = out};
    struct ir_response ir;
    struct wire_ctx c;
    /* failed, or the model is at work: there is nothing in the midst */
    struct err unfinished = ERR_INIT;
    if (!json_parse(a, response, 0, &t.response, e))
        return false;
    struct str status = json_get_str(t.response, "status"), started = at_start(&t);
    uint8_t hash[SHA256_SIZE];
    sha256(json_get_str(t.response, "id"), hash);
    wire_ctx_init(&c, a);
    c.client = c.upstream = WIRE_RESPONSES;
    memcpy(&c.seed, hash, sizeof c.seed); /* ids that are made up are so again the next time */
    buf_init(&t.frames, 8 * response.n + 65536);
    tell_response(&t, STR("created"), started);
    tell_response(&t, STR("in_progress"), started);
    if (wire_of(WIRE_RESPONSES)->read_response(&c, t.response, &ir, &unfinished)) {
        t.enc = wire_of(WIRE_RESPONSES)->encoder_new(&c);
        ir_replay(&c, &ir, on_event, &t);
    }
    bool is_end = str_is(status, "incomplete") || str_is(status, "failed") ||
                  str_is(status, "cancelled");
    tell_response(&t, is_end ? status : STR("completed"), response);
    bool ok = !t.has_failed && !buf_failed(out);
    buf_done(&t.frames);
    return ok || err_set(e, ERR_TOO_LARGE, "reply_too_large", "The response is too large");
}
