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

/* clang-format off */
const struct word wire_quirk_words[] = {
    {"max_tokens_old", QUIRK_MAX_TOKENS_OLD},
    {"developer_role", QUIRK_DEVELOPER_ROLE},
    {"top_k", QUIRK_TOP_K},
    {"no_stream_options", QUIRK_NO_STREAM_OPTIONS},
    {"think_tags", QUIRK_THINK_TAGS},
    {"no_system_role", QUIRK_NO_SYSTEM_ROLE},
    {"id_9", QUIRK_ID_9},
    {"reasoning_replay", QUIRK_REASONING_REPLAY},
    {"no_reasoning_history", QUIRK_NO_REASONING_HISTORY},
    {"schema_gemini", QUIRK_SCHEMA_GEMINI},
    {"schema_inline_refs", QUIRK_SCHEMA_INLINE_REFS},
    {"dummy_signature", QUIRK_DUMMY_SIGNATURE},
    {"thinking_level", QUIRK_THINKING_LEVEL},
    {"structured_output", QUIRK_STRUCTURED_OUTPUT},
    {"adaptive_thinking", QUIRK_ADAPTIVE_THINKING},
    {"mid_system", QUIRK_MID_SYSTEM},
    {"hoist_system", QUIRK_HOIST_SYSTEM},
    {"effort_xhigh", QUIRK_EFFORT_XHIGH},
    {"no_reasoning_effort", QUIRK_NO_REASONING_EFFORT},
    {"thinking_field", QUIRK_THINKING_FIELD},
    {"https_file_uri", QUIRK_HTTPS_FILE_URI},
    {"no_parallel_field", QUIRK_NO_PARALLEL_FIELD},
    {"text_after_tool", QUIRK_TEXT_AFTER_TOOL},
    {"reasoning_split", QUIRK_REASONING_SPLIT},
    {"no_files", QUIRK_NO_FILES},
    {"alternation_filler", QUIRK_ALTERNATION_FILLER},
    {"stateful_responses", QUIRK_STATEFUL_RESPONSES},
    {"reasoning_name", QUIRK_REASONING_NAME},
    {"max_tokens_new", QUIRK_MAX_TOKENS_NEW},
    {"repair_stream", QUIRK_REPAIR_STREAM},
    {0},
};
/* clang-format on */

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
