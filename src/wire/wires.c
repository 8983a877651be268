#include "wire/wires.h"

static const struct wire *const wires[WIRE_N] = {
    /* clang-format off */
    [WIRE_NONE] = NULL,
    [WIRE_CHAT] = &wire_chat,
    [WIRE_ANTHROPIC] = &wire_anthropic,
    [WIRE_RESPONSES] = &wire_responses,
    [WIRE_GEMINI] = &wire_gemini,
    [WIRE_OLLAMA] = &wire_ollama,
    [WIRE_COMPLETIONS] = &wire_completions,
    [WIRE_OLLAMA_GENERATE] = &wire_ollama_generate,
    /* clang-format on */
};

const struct wire *wire_of(enum wire_id id)
{
    return (unsigned)id < WIRE_N ? wires[id] : NULL;
}

const struct wire *wire_by_name(struct str name)
{
    static const struct word aliases[] = {
        {"openai", WIRE_CHAT},
        {"chat", WIRE_CHAT},
        {"openai_responses", WIRE_RESPONSES},
        {"responses", WIRE_RESPONSES},
        {"anthropic_messages", WIRE_ANTHROPIC},
        {"gemini", WIRE_GEMINI},
        {"google_genai", WIRE_GEMINI},
        {0},
    };
    for (unsigned i = 0; i < WIRE_N; i++)
        if (wires[i] && str_eq(name, str_of(wires[i]->name)))
            return wires[i];
    return wire_of((enum wire_id)word_value(aliases, name, WIRE_NONE));
}
