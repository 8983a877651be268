/* Whatever an upstream streams: events keep their grammar, the client's frames are JSON, and the end comes once. */
#include "fuzz/wire_fuzz.h"

#define CHOICES 64

struct watch { /* holds the grammar of events */
    void *enc;
    const struct wire *client;
    struct buf *out;
    struct framing_reader *frames;
    struct ir_collector *collector;
    struct wire_ctx *c;
    void *dec;
    const struct wire *upstream;
    bool is_started, is_ended, has_failed;
    struct {
        bool is_open, is_finished;
        unsigned next;
    } choices[CHOICES];
};

static void on_event(void *arg, const struct ir_event *ev)
{
    struct watch *w = arg;
    REQUIRE(!w->is_ended, "event %d behind the end", ev->kind);
    REQUIRE(!w->has_failed || ev->kind == IR_EV_END, "event %d behind an error", ev->kind);
    REQUIRE(ev->choice < CHOICES, "choice %u", ev->choice);
    bool *is_open = &w->choices[ev->choice].is_open;
    switch (ev->kind) {
    case IR_EV_START:
        REQUIRE(!w->is_started, "started twice");
        w->is_started = true;
        break;
    case IR_EV_BLOCK_START:
        REQUIRE(w->is_started && !*is_open, "block inside a block");
        REQUIRE(ev->block == w->choices[ev->choice].next, "block %u", ev->block);
        w->choices[ev->choice].next++;
        *is_open = true;
        break;
    case IR_EV_TEXT:
    case IR_EV_REASONING:
    case IR_EV_TOOL_ARGS:
    case IR_EV_CITATION:
    case IR_EV_MEDIA:
        if (ev->is_late) {
            REQUIRE(ev->kind == IR_EV_CITATION &&
                        ev->block + *is_open < w->choices[ev->choice].next,
                    "late in block %u", ev->block);
            REQUIRE(!w->choices[ev->choice].is_finished, "late behind the finish");
            break;
        }
        REQUIRE(*is_open && ev->block + 1 == w->choices[ev->choice].next, "outside of its block");
        break;
    case IR_EV_BLOCK_END:
        REQUIRE(*is_open, "closed twice");
        *is_open = false;
        break;
    case IR_EV_FINISH:
        REQUIRE(!*is_open && !w->choices[ev->choice].is_finished, "finished twice or too early");
        w->choices[ev->choice].is_finished = true;
        break;
    case IR_EV_ERROR:
        REQUIRE(ev->error && ev->error->kind != ERR_NONE, "error without an error");
        w->has_failed = true;
        break;
    case IR_EV_END:
        w->is_ended = true;
        break;
    case IR_EV_LOGPROBS:
    case IR_EV_USAGE:
    case IR_EV_PING:
        break;
    }
    ir_collect(w->collector, ev);
    w->client->encoder_push(w->enc, ev, w->out);
}

/* Google streams one JSON array where nobody asks for SSE. */
static enum framing framing_of(struct str text, const struct wire *upstream)
{
    return upstream->id == WIRE_GEMINI && text.n > 0 && text.p[0] == '[' ? FRAMING_JSON_ARRAY
                                                                         : upstream->framing;
}

static bool on_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct watch *w = arg;
    struct ir_usage usage = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    if (w->is_ended)
        return true;
    (void)w->upstream->meter(event, data, &usage, &stop);
    bool ok = w->upstream->decoder_push(w->dec, event, data, on_event, w, e);
    arena_reset(w->c->scratch);
    return ok;
}

/* What came of it, as a whole reply. */
static void check_collected(struct watch *w, struct arena *a)
{
    struct ir_response res;
    struct err e = ERR_INIT;
    struct buf body;
    buf_init_arena(&body, a, SIZE_MAX / 4);
    if (!ir_collected(w->collector, &res, &e))
        return;
    w->client->write_response(w->c, &res, &body);
    (void)must_parse(a, "collected reply", buf_str(&body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = str_n((const char *)data, size);
    struct wire_ctx c;
    take_pair(a, &text, &c);
    c.is_stream = true;
    struct ir_request req;
    ir_request_init(&req);
    req.is_stream = req.include_usage = true;
    c.req = &req;

    struct buf out;
    buf_init(&out, SIZE_MAX / 4);
    struct watch w = {
        .client = wire_of(c.client), .upstream = wire_of(c.upstream), .c = &c, .out = &out};
    w.enc = w.client->encoder_new(&c);
    w.dec = w.upstream->decoder_new(&c);
    w.collector = ir_collector_new(&c);
    struct err e = ERR_INIT;
    w.frames = framing_reader_new(framing_of(text, w.upstream), 1u << 20, on_frame, &w);
    bool ok = framing_push(w.frames, exact_copy(a, text), &e) && framing_finish(w.frames, &e);
    framing_reader_done(w.frames);
    if (ok) {
        w.upstream->decoder_end(w.dec, on_event, &w);
        REQUIRE(w.is_ended, "no end");
    } else {
        REQUIRE(e.kind == ERR_UPSTREAM, "'%s' is not the upstream's fault", e.message);
        if (!w.is_ended) {
            if (!w.has_failed)
                on_event(&w, &(struct ir_event){.kind = IR_EV_ERROR, .error = &e});
            on_event(&w, &(struct ir_event){.kind = IR_EV_END});
        }
    }
    REQUIRE(!buf_failed(&out), "stream does not fit");
    unsigned count = check_streamed(a, w.client, buf_str(&out), !w.has_failed);
    REQUIRE(!ok || count > 0, "the client gets nothing");
    check_collected(&w, a);
    buf_done(&out);
    pair_done(&c);
    arena_free(a);
    return 0;
}
