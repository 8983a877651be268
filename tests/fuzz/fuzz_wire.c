/* Every reader of every format takes any bytes; what is written is valid, keeps the target's grammar, and is stable when
 * it is read and written again. The input is a body or a stream as it stands, so that golden cases are seeds. */
#include "fuzz/fuzz.h"
#include "wire/common.h"
#include "wire/framing.h"
#include "wire/wires.h"

#define MAX_EVENT (1u << 20)
#define MAX_OUT (64u << 20)

static const enum wire_id upstreams[] = {WIRE_CHAT, WIRE_RESPONSES, WIRE_ANTHROPIC, WIRE_GEMINI,
                                         WIRE_OLLAMA};

struct lab {
    struct arena *a, *scratch;
    uint32_t hash; /* of the input: chooses targets and quirks without using it up */
};

static uint32_t hash_of(struct str s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static struct wire_ctx *new_ctx(struct lab *lab, enum wire_id client, enum wire_id upstream)
{
    struct wire_ctx *c = ARENA_NEW(lab->a, struct wire_ctx);
    wire_ctx_init(c, lab->a);
    c->scratch = lab->scratch;
    c->client = client;
    c->upstream = upstream;
    c->now_ms = 1700000000000;
    c->seed = 7;
    c->quirks = lab->hash % 3 == 0 ? lab->hash >> 4 : 0;
    c->allow_hosted_tools = lab->hash & 8;
    return c;
}

static yyjson_val *must_parse(struct lab *lab, const char *what, struct str text)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    REQUIRE(json_parse(lab->a, text, 200, &root, &e), "%s: %s in " STR_FMT, what, e.message,
            STR_ARG(text));
    return root;
}

/* ---- bodies ---- */
static bool rewrite(struct lab *lab, const struct wire *w, struct str text, struct str *out)
{
    struct wire_ctx *c = new_ctx(lab, w->id, w->id);
    struct ir_request req;
    struct err e = ERR_INIT;
    struct buf b;
    yyjson_val *root = must_parse(lab, "request", text);
    buf_init_arena(&b, lab->a, MAX_OUT);
    c->quirks = 0;
    c->req = &req;
    if (!w->read_request(c, root, &req, &e) || !w->write_request(c, &req, &b, &e))
        return false;
    *out = buf_str(&b);
    return true;
}

static void try_request(struct lab *lab, yyjson_val *root, const struct wire *from,
                        const struct wire *to)
{
    struct wire_ctx *c = new_ctx(lab, from->id, to->id);
    struct ir_request req;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_arena(&b, lab->a, MAX_OUT);
    if (!from->read_request || !from->read_request(c, root, &req, &e)) {
        REQUIRE(!from->read_request || e.message[0], "a refusal says why");
        return;
    }
    c->req = &req;
    c->is_stream = req.is_stream;
    (void)ir_estimate_tokens(&req);
    if (!to->write_request(c, &req, &b, &e)) {
        REQUIRE(e.message[0], "a refusal says why");
        return;
    }
    struct str once = buf_str(&b), twice, thrice;
    (void)must_parse(lab, "written request", once);
    if (rewrite(lab, to, once, &twice)) {
        REQUIRE(rewrite(lab, to, twice, &thrice), "%s: its own request is refused: " STR_FMT,
                to->name, STR_ARG(twice));
        REQUIRE(str_eq(twice, thrice), "%s: not stable:\n" STR_FMT "\n" STR_FMT, to->name,
                STR_ARG(twice), STR_ARG(thrice));
    }
}

static void try_response(struct lab *lab, yyjson_val *root, const struct wire *from,
                         const struct wire *to);

/* ---- streams ---- */
struct stream {
    struct lab *lab;
    const struct wire *from, *to;
    void *dec, *enc;
    struct buf out;
    struct ir_collector *collector;
    unsigned ends;
    bool is_open[FLOW_CHOICES];
    unsigned next[FLOW_CHOICES];
};

static void on_event(void *arg, const struct ir_event *ev)
{
    struct stream *s = arg;
    REQUIRE(s->ends == 0, "an event behind END");
    if (ev->choice < FLOW_CHOICES) {
        bool *open = &s->is_open[ev->choice];
        if (ev->kind == IR_EV_BLOCK_START) {
            REQUIRE(!*open && ev->block == s->next[ev->choice], "blocks are sequential and dense");
            *open = true;
            s->next[ev->choice]++;
        } else if (ev->kind == IR_EV_BLOCK_END) {
            REQUIRE(*open, "an end without a start");
            *open = false;
        } else if (ev->kind == IR_EV_TEXT || ev->kind == IR_EV_TOOL_ARGS ||
                   ev->kind == IR_EV_REASONING) {
            REQUIRE(*open, "content outside a block");
        }
    }
    s->ends += ev->kind == IR_EV_END;
    ir_collect(s->collector, ev);
    s->to->encoder_push(s->enc, ev, &s->out);
}

static bool on_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct stream *s = arg;
    struct ir_usage usage = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    (void)s->from->meter(event, data, &usage, &stop);
    bool ok = s->from->decoder_push(s->dec, event, data, on_event, s, e);
    arena_reset(s->lab->scratch);
    return ok;
}

struct grammar {
    struct lab *lab;
    enum wire_id id;
    int64_t sequence, block;
    bool is_open, is_ended, has_failed;
    unsigned n;
};

static bool check_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct grammar *g = arg;
    (void)e;
    REQUIRE(!g->is_ended, "a frame behind the end");
    g->n++;
    if (str_is(data, "[DONE]")) {
        REQUIRE(g->id == WIRE_CHAT || g->id == WIRE_COMPLETIONS, "only chat ends with [DONE]");
        g->is_ended = true;
        return true;
    }
    yyjson_val *root = must_parse(g->lab, "frame", data);
    struct str type = json_get_str(root, "type");
    REQUIRE(yyjson_is_obj(root), "a frame is an object");
    if (g->id == WIRE_RESPONSES) {
        REQUIRE(str_eq(event, type), "event and type agree");
        REQUIRE(json_get_int(root, "sequence_number", -1) == g->sequence++,
                "sequence numbers have no gap");
        g->is_ended = str_is(type, "response.completed") || str_is(type, "response.incomplete") ||
                      str_is(type, "response.failed") || str_is(type, "error");
    }
    if (g->id == WIRE_ANTHROPIC) {
        REQUIRE(str_eq(event, type), "event and type agree");
        int64_t index = json_get_int(root, "index", -1);
        if (str_is(type, "content_block_start")) {
            REQUIRE(!g->is_open && index == g->block, "blocks are sequential and dense");
            g->is_open = true;
        } else if (str_is(type, "content_block_delta")) {
            REQUIRE(g->is_open && index == g->block, "a delta of the open block");
        } else if (str_is(type, "content_block_stop")) {
            REQUIRE(g->is_open && index == g->block++, "the end of the open block");
            g->is_open = false;
        } else if (str_is(type, "message_delta")) {
            REQUIRE(!g->is_open, "all blocks end before the message");
        }
        g->is_ended = str_is(type, "message_stop") || str_is(type, "error");
    }
    if (g->id == WIRE_OLLAMA)
        g->is_ended = json_get_bool(root, "done", false) || json_get(root, "error") != NULL;
    return true;
}

static void try_stream(struct lab *lab, struct str text, const struct wire *from,
                       const struct wire *to)
{
    struct wire_ctx *c = new_ctx(lab, to->id, from->id);
    struct stream s = {.lab = lab, .from = from, .to = to};
    struct err e = ERR_INIT;
    c->is_stream = true;
    s.dec = from->decoder_new(c);
    s.enc = to->encoder_new(c);
    s.collector = ir_collector_new(c);
    buf_init_arena(&s.out, lab->a, MAX_OUT);
    enum framing framing = text.n > 0 && text.p[0] == '{'   ? FRAMING_NDJSON
                           : text.n > 0 && text.p[0] == '[' ? FRAMING_JSON_ARRAY
                                                            : FRAMING_SSE;
    struct framing_reader *r = framing_reader_new(framing, MAX_EVENT, on_frame, &s);
    bool ok = framing_push(r, text, &e) && framing_finish(r, &e);
    framing_reader_done(r);
    if (!ok) {
        REQUIRE(e.kind == ERR_UPSTREAM, "the upstream's fault: %s", e.message);
        if (s.ends == 0) {
            on_event(&s, &(struct ir_event){.kind = IR_EV_ERROR, .error = &e});
            on_event(&s, &(struct ir_event){.kind = IR_EV_END});
        }
    } else {
        from->decoder_end(s.dec, on_event, &s);
    }
    REQUIRE(s.ends == 1, "%u ENDs", s.ends);
    struct grammar g = {.lab = lab, .id = to->id};
    r = framing_reader_new(to->framing, MAX_OUT, check_frame, &g);
    ok = framing_push(r, buf_str(&s.out), &e) && framing_finish(r, &e);
    framing_reader_done(r);
    REQUIRE(ok, "%s", e.message);
    struct ir_response res;
    struct buf body;
    buf_init_arena(&body, lab->a, MAX_OUT);
    if (ir_collected(s.collector, &res, &e)) {
        if (to->id == WIRE_ANTHROPIC || to->id == WIRE_RESPONSES || to->id == WIRE_CHAT ||
            to->id == WIRE_OLLAMA)
            REQUIRE(g.is_ended, "%s: a stream without its end", to->name);
        to->write_response(c, &res, &body);
        (void)must_parse(lab, "collected reply", buf_str(&body));
    }
}

static void discard(void *arg, const struct ir_event *ev)
{
    struct stream *s = arg;
    s->to->encoder_push(s->enc, ev, &s->out);
}

static void try_response(struct lab *lab, yyjson_val *root, const struct wire *from,
                         const struct wire *to)
{
    struct wire_ctx *c = new_ctx(lab, to->id, from->id);
    struct ir_response res;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_arena(&b, lab->a, MAX_OUT);
    if (!from->read_response || !from->read_response(c, root, &res, &e)) {
        REQUIRE(!from->read_response || e.kind != ERR_NONE, "a refusal says why");
        return;
    }
    to->write_response(c, &res, &b);
    (void)must_parse(lab, "reply", buf_str(&b));
    struct stream s = {.lab = lab, .to = to, .enc = to->encoder_new(c)};
    buf_init_arena(&s.out, lab->a, MAX_OUT);
    ir_replay(c, &res, discard, &s);
    struct grammar g = {.lab = lab, .id = to->id};
    struct framing_reader *r = framing_reader_new(to->framing, MAX_OUT, check_frame, &g);
    REQUIRE(framing_push(r, buf_str(&s.out), &e) && framing_finish(r, &e), "%s", e.message);
    framing_reader_done(r);
}

static void try_error(struct lab *lab, struct str text)
{
    struct err e = ERR_INIT;
    wire_read_error(lab->a, (int)(lab->hash % 600), text, &e);
    REQUIRE(e.kind != ERR_NONE && e.message[0], "an error says what");
    for (int id = WIRE_NONE + 1; id < WIRE_N; id++) {
        struct buf b;
        buf_init_arena(&b, lab->a, MAX_OUT);
        wire_of((enum wire_id)id)->write_error(&e, STR("req_1"), &b);
        (void)must_parse(lab, "error", buf_str(&b));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    struct lab lab = {.a = arena_new(), .scratch = arena_new(), .hash = hash_of(text)};
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    const struct wire *to = wire_of(upstreams[lab.hash % ARRAY_LEN(upstreams)]);
    const struct wire *client = wire_of(
        (enum wire_id)(WIRE_NONE + 1 + (lab.hash >> 8) % (WIRE_N - 1)));
    if (json_parse(lab.a, text, 0, &root, &e)) {
        for (int id = WIRE_NONE + 1; id < WIRE_N; id++) {
            const struct wire *from = wire_of((enum wire_id)id);
            struct ir_usage usage = IR_USAGE_NONE;
            enum ir_stop stop = IR_STOP_NONE;
            try_request(&lab, root, from, to);
            try_response(&lab, root, from, client);
            (void)from->meter(STR_NONE, text, &usage, &stop);
        }
    }
    try_error(&lab, text);
    for (size_t i = 0; i < ARRAY_LEN(upstreams); i++)
        try_stream(&lab, text, wire_of(upstreams[i]), client);
    arena_free(lab.scratch);
    arena_free(lab.a);
    return 0;
}
