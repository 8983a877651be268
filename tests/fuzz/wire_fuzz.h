/* wire_fuzz.h - for the targets that go from one wire format to another. */
#ifndef FUZZ_WIRE_FUZZ_H
#define FUZZ_WIRE_FUZZ_H
#include "fuzz/fuzz.h"
#include "wire/framing.h"
#include "wire/wire.h"

/* The two formats and the quirks are chosen by the first six bytes of the input. An input that begins like JSON or a
 * stream is taken whole, so that golden cases serve as seeds; a hash of it chooses then. */
static inline void take_pair(struct arena *a, struct str *input, struct wire_ctx *c)
{
    char chosen[6] = {0};
    struct str from = *input;
    if (input->n && input->p[0] && strchr("{[de", input->p[0])) {
        uint64_t hash = 14695981039346656037u;
        for (size_t i = 0; i < input->n; i++)
            hash = (hash ^ (unsigned char)input->p[i]) * 1099511628211u;
        memcpy(chosen, (const char *)&hash + 2, sizeof chosen);
        from = str_n(chosen, sizeof chosen);
        input = &from;
    }
    wire_ctx_init(c, a);
    c->scratch = arena_new();
    c->client = (enum wire_id)(1 + take_byte(input) % (WIRE_N - 1));
    c->upstream = (enum wire_id)(1 + take_byte(input) % WIRE_OLLAMA);
    for (int i = 0; i < 4; i++)
        c->quirks = c->quirks << 8 | take_byte(input);
    c->upstream_model = STR("upstream-model");
    c->shown_model = STR("shown-model");
    c->max_output_tokens = -1;
    c->now_ms = 1700000000000;
    c->seed = 42;
    c->allow_hosted_tools = true;
}

static inline void pair_done(struct wire_ctx *c)
{
    arena_free(c->scratch);
}

/* What we wrote, read again: JSON, whatever it came from. */
static inline yyjson_val *must_parse(struct arena *a, const char *what, struct str text)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    REQUIRE(json_parse(a, text, 256, &root, &e), "%s '" STR_FMT "': %s", what, STR_ARG(text),
            e.message);
    return root;
}

/* Holds what we stream to the grammar of the client's format: frames are JSON, or the end mark of OpenAI's streams. */
struct grammar {
    struct arena *a;
    enum wire_id id;
    int64_t sequence, block;
    bool is_open, is_ended;
    unsigned n;
};

static inline void check_responses_frame(struct grammar *g, yyjson_val *root, struct str event)
{
    struct str type = json_get_str(root, "type");
    REQUIRE(str_eq(event, type), "event and type agree");
    REQUIRE(json_get_int(root, "sequence_number", -1) == g->sequence++,
            "sequence numbers have no gap");
    g->is_ended = str_is(type, "response.completed") || str_is(type, "response.incomplete") ||
                  str_is(type, "response.failed") || str_is(type, "error");
}

static inline void check_anthropic_frame(struct grammar *g, yyjson_val *root, struct str event)
{
    struct str type = json_get_str(root, "type");
    int64_t index = json_get_int(root, "index", -1);
    REQUIRE(str_eq(event, type), "event and type agree");
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

static inline bool check_frame(void *arg, struct str event, struct str data, struct err *e)
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
    yyjson_val *root = must_parse(g->a, "frame", data);
    REQUIRE(yyjson_is_obj(root), "a frame is an object");
    if (g->id == WIRE_RESPONSES)
        check_responses_frame(g, root, event);
    if (g->id == WIRE_ANTHROPIC)
        check_anthropic_frame(g, root, event);
    if (g->id == WIRE_OLLAMA || g->id == WIRE_OLLAMA_GENERATE)
        g->is_ended = json_get_bool(root, "done", false) || json_get(root, "error") != NULL;
    return true;
}

/* All that was streamed to the client; returns how many frames it was. Google's streams have no end mark. */
static inline unsigned check_streamed(struct arena *a, const struct wire *client, struct str out,
                                      bool must_end)
{
    struct grammar g = {.a = a, .id = client->id};
    struct err e = ERR_INIT;
    struct framing_reader *r = framing_reader_new(client->framing, SIZE_MAX / 4, check_frame, &g);
    REQUIRE(framing_push(r, out, &e) && framing_finish(r, &e), "wrote: %s", e.message);
    framing_reader_done(r);
    REQUIRE(!must_end || g.is_ended || client->id == WIRE_GEMINI, "%s: a stream without its end",
            client->name);
    return g.n;
}
#endif
