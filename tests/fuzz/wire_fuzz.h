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

/* Every frame that we write is JSON, or the end mark of OpenAI's streams. */
static inline bool frame_is_json(void *arg, struct str event, struct str data, struct err *e)
{
    (void)event;
    (void)e;
    unsigned *count = arg;
    struct err why = ERR_INIT;
    REQUIRE(str_is(data, "[DONE]") || json_valid(data, 0, &why), "frame '" STR_FMT "': %s",
            STR_ARG(data), why.message);
    (*count)++;
    return true;
}
#endif
