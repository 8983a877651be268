/* ir.h - the intermediate representation of one exchange with a model.
 * Every format decodes into it and encodes from it; N formats are N files, never N*N pairs.
 * Open records in the request's arena; yyjson values are borrowed from documents in the same arena.
 * Absent, null and default are three things: absent is kept as absent (has_*, NULL, IR_*_UNSET). */
#ifndef WIRE_IR_H
#define WIRE_IR_H
#include "base/str.h"
#include <yyjson.h>

enum wire_id { /* the formats; also the origin of opaque things */
    WIRE_NONE,
    WIRE_CHAT,            /* OpenAI Chat Completions */
    WIRE_RESPONSES,       /* OpenAI Responses */
    WIRE_ANTHROPIC,       /* Anthropic Messages */
    WIRE_GEMINI,          /* Google GenAI */
    WIRE_OLLAMA,          /* Ollama /api/chat */
    WIRE_COMPLETIONS,     /* OpenAI legacy completions: client side only */
    WIRE_OLLAMA_GENERATE, /* Ollama /api/generate: client side only */
    WIRE_N
};

enum ir_role { IR_SYSTEM, IR_USER, IR_ASSISTANT, IR_TOOL };

enum ir_part_kind {
    IR_TEXT,
    IR_IMAGE,
    IR_FILE,
    IR_AUDIO,
    IR_VIDEO,
    IR_REASONING,
    IR_TOOL_CALL,
    IR_TOOL_RESULT,
    IR_REFUSAL,
    IR_OPAQUE, /* re-emitted only to the format it came from */
};

enum ir_source_kind { IR_SOURCE_NONE, IR_SOURCE_URL, IR_SOURCE_DATA, IR_SOURCE_TEXT, IR_SOURCE_REF };
struct ir_source {
    enum ir_source_kind kind;
    struct str media_type; /* "image/png"; may be empty */
    struct str url;        /* IR_SOURCE_URL */
    struct str base64;     /* IR_SOURCE_DATA: payload untouched */
    struct str text;       /* IR_SOURCE_TEXT: a plain-text document */
    struct str ref;        /* IR_SOURCE_REF: file id or file URI */
};

struct ir_cache_mark {
    bool is_set;
    struct str ttl; /* "5m", "1h" or empty */
};

enum ir_citation_kind { IR_CITE_URL, IR_CITE_TEXT };
struct ir_citation {
    struct ir_citation *next;
    enum ir_citation_kind kind;
    struct str url, title, cited_text;
    int64_t start, end; /* in characters (code points) of the text part; -1 unknown */
    int64_t doc_index;  /* -1 unknown */
    enum wire_id origin;
    yyjson_val *raw;    /* as it came, for the same format */
};

enum ir_call_kind { IR_CALL_FUNCTION, IR_CALL_CUSTOM, IR_CALL_HOSTED };

struct ir_parts {
    struct ir_part *first, *last;
    unsigned n;
};

struct ir_part {
    struct ir_part *next;
    enum ir_part_kind kind;
    struct str text;               /* TEXT, REFUSAL; REASONING: the readable text; AUDIO: transcript */
    struct ir_cache_mark cache;
    struct ir_citation *citations; /* TEXT */
    struct str thought_signature;  /* Google: on TEXT, TOOL_CALL */

    struct ir_source source;       /* IMAGE, FILE, AUDIO, VIDEO */
    struct str detail;             /* IMAGE: auto, low, high, original */
    struct str name, title, context; /* FILE; name also: TOOL_CALL and TOOL_RESULT function name */
    bool has_citations_enabled;    /* FILE: anthropic citations.enabled */

    /* REASONING */
    enum wire_id origin;           /* format that produced it (also OPAQUE) */
    struct str signature;          /* anthropic */
    struct str redacted;           /* anthropic redacted_thinking data */
    struct str encrypted;          /* responses encrypted_content */
    struct str item_id;            /* responses item id: REASONING, TOOL_CALL, TEXT */
    bool is_summary;               /* text came from reasoning summaries, not raw reasoning */

    /* TOOL_CALL, TOOL_RESULT */
    enum ir_call_kind call_kind;
    struct str call_id;
    struct str space;              /* responses: namespace of the tool */
    struct str args_raw;           /* JSON text verbatim; custom: free text; empty: none */
    struct ir_parts content;       /* TOOL_RESULT: parts; when result_json is NULL */
    yyjson_val *result_json;       /* TOOL_RESULT: a structured value (Google response object) */
    bool is_error;

    yyjson_val *raw;               /* OPAQUE: the original part; others: may be NULL */
};

struct ir_message {
    struct ir_message *next;
    enum ir_role role;
    bool is_developer;   /* a system message spelled developer */
    struct str name, id;
    struct str phase;    /* responses: commentary, final_answer … */
    struct ir_parts parts;
};
struct ir_messages {
    struct ir_message *first, *last;
    unsigned n;
};

enum ir_tool_kind { IR_TOOL_FUNCTION, IR_TOOL_CUSTOM, IR_TOOL_HOSTED };
struct ir_tool {
    struct ir_tool *next;
    enum ir_tool_kind kind;
    struct str name, description;
    yyjson_val *parameters;  /* bare JSON Schema; NULL: none */
    bool is_gemini_schema;   /* parameters are in Google's Schema dialect */
    bool has_strict, strict;
    struct ir_cache_mark cache;
    enum wire_id origin;
    struct str hosted_type;  /* "web_search", "web_search_20250305", "googleSearch" */
    yyjson_val *raw;         /* as it came, for the same format */
};

enum ir_choice_mode { IR_CHOICE_UNSET, IR_CHOICE_NONE, IR_CHOICE_AUTO, IR_CHOICE_ANY, IR_CHOICE_TOOL, IR_CHOICE_ALLOWED };
enum ir_format_kind { IR_FORMAT_UNSET, IR_FORMAT_TEXT, IR_FORMAT_JSON_OBJECT, IR_FORMAT_JSON_SCHEMA };
enum ir_reasoning_mode { IR_REASONING_UNSET, IR_REASONING_AUTO, IR_REASONING_ENABLED, IR_REASONING_DISABLED };
enum ir_effort { IR_EFFORT_UNSET, IR_EFFORT_NONE, IR_EFFORT_MINIMAL, IR_EFFORT_LOW, IR_EFFORT_MEDIUM, IR_EFFORT_HIGH,
                 IR_EFFORT_XHIGH, IR_EFFORT_MAX };

struct ir_strs {
    struct str *v;
    unsigned n;
};

struct ir_system {
    struct ir_system *next;
    struct str text;
    bool is_developer;
    struct ir_cache_mark cache;
};

struct ir_request {
    struct str model;                  /* as the client wrote it; relay puts the upstream id in wire_ctx */
    struct ir_system *system;          /* leading instructions in order */
    struct ir_messages messages;       /* later system messages stay here with role IR_SYSTEM */
    struct ir_tool *tools;
    enum ir_choice_mode choice;
    struct str choice_tool;            /* IR_CHOICE_TOOL */
    struct ir_strs choice_allowed;     /* IR_CHOICE_ALLOWED, with is_allowed_any */
    bool is_allowed_any;
    bool has_disable_parallel, disable_parallel;
    int64_t max_tool_calls;            /* -1 absent */

    /* generation; numbers are the raw JSON values (lexemes), NULL when absent */
    yyjson_val *temperature, *top_p, *top_k, *min_p, *frequency_penalty, *presence_penalty, *logit_bias, *seed;
    int64_t max_tokens;                /* -1 absent */
    struct ir_strs stop;
    bool is_stop_string;               /* the source wrote one string, not an array */
    int64_t n;                         /* -1 absent */
    bool has_logprobs, logprobs;
    int64_t top_logprobs;              /* -1 absent */
    struct str truncation;

    enum ir_format_kind format;
    struct str format_name, format_description;
    yyjson_val *format_schema;         /* bare schema */
    bool is_gemini_format_schema;
    bool has_format_strict, format_strict;

    enum ir_reasoning_mode reasoning;
    enum ir_effort effort;
    int64_t budget_tokens;             /* -1 absent */
    struct str reasoning_summary;      /* auto, concise, detailed; empty absent */
    bool has_include_thoughts, include_thoughts;

    bool is_stream;
    bool include_usage;                /* chat: stream_options.include_usage */
    struct str cache_key, cache_retention, cached_content;
    struct str user, service_tier, verbosity, previous_response_id;
    yyjson_val *metadata, *safety, *modalities, *audio, *include;
    bool has_store, store;
    bool is_background;
    bool is_preload;                   /* ollama: no prompt at all, the client only wants the model loaded */

    enum wire_id origin;
    yyjson_val *raw;                   /* the whole source object: echo, extensions of the same format */
};

/* ---- response ---- */
enum ir_stop { IR_STOP_NONE, IR_STOP_END, IR_STOP_LENGTH, IR_STOP_TOOL, IR_STOP_FILTER, IR_STOP_REFUSAL, IR_STOP_PAUSE,
               IR_STOP_ERROR, IR_STOP_CANCELLED };

/* Token counts; -1 unknown. input_total includes cached tokens, output_total includes reasoning. */
struct ir_usage {
    int64_t input_total, cache_read, cache_write, cache_write_5m, cache_write_1h;
    int64_t output_total, reasoning, audio_in, audio_out, tool_prompt, total;
    int64_t images, searches; /* made, and of the web */
    int64_t cost_nanousd;     /* what the upstream says that it costs */
    int64_t service;          /* enum ir_service in which it says that it served */
};
enum ir_service { IR_SERVICE_STANDARD, IR_SERVICE_BATCH, IR_SERVICE_FLEX, IR_SERVICE_PRIORITY };
int64_t ir_service_of(struct str tier); /* "default", "priority", …; -1: it says nothing */
#define IR_USAGE_NONE ((struct ir_usage){-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1})

struct ir_choice {
    struct ir_choice *next;
    int64_t index;
    struct ir_message message;
    enum ir_stop stop;
    struct str stop_sequence; /* anthropic; empty unknown */
    struct str stop_raw;
    yyjson_val *logprobs;     /* chat shape {content:[…],refusal:[…]} */
};
struct ir_response {
    struct str id, model, service_tier, system_fingerprint;
    int64_t created;          /* Unix seconds; 0 unknown */
    struct ir_choice *choices;
    struct ir_usage usage;    /* all -1: upstream reported none */
    enum wire_id origin;
};

/* ---- stream ---- */
enum ir_event_kind {
    IR_EV_START,       /* id, model, created; usage when it is known by then (input_total 0: not) */
    IR_EV_BLOCK_START, /* block, part_kind; call_id, name for calls; signature/redacted for opaque reasoning */
    IR_EV_TEXT,        /* block, text: also of refusals */
    IR_EV_REASONING,   /* block, text and/or signature / encrypted */
    IR_EV_TOOL_ARGS,   /* block, text: a fragment of the arguments */
    IR_EV_CITATION,    /* block, citation; Google tells them last: the block may have ended */
    IR_EV_LOGPROBS,    /* raw: array of chat-shaped token entries; likewise */
    IR_EV_MEDIA,       /* block, source: an image or (a piece of) audio made by the model; text: a piece of its transcript */
    IR_EV_BLOCK_END,   /* block */
    IR_EV_USAGE,       /* usage: cumulative, replaces what was known field by field */
    IR_EV_FINISH,      /* stop, stop_sequence: of one choice */
    IR_EV_ERROR,       /* error: nothing but END follows */
    IR_EV_END,         /* exactly once, last */
    IR_EV_PING,        /* the upstream is alive; encoders may say so in their dialect */
};
struct err;
struct ir_event {
    enum ir_event_kind kind;
    unsigned choice;          /* index of the choice */
    unsigned block;           /* dense per choice, in order of BLOCK_START; blocks are strictly sequential */
    enum ir_part_kind part_kind;
    enum ir_call_kind call_kind;
    struct str text;
    struct str text_json;     /* text as the inside of a JSON string, where the upstream wrote it so; else STR_NONE */
    struct str id, model, call_id, name, item_id;
    struct str signature, redacted, encrypted, thought_signature;
    bool is_summary;
    struct ir_source source;
    const struct ir_citation *citation;
    bool is_late;             /* CITATION: of a block that has ended; then also the characters of the */
    int64_t before, length;   /* answer's text in the blocks before it, and of its own */
    yyjson_val *raw;
    struct ir_usage usage;
    enum ir_stop stop;
    struct str stop_sequence, service_tier, system_fingerprint;
    int64_t created;
    const struct err *error;
};
#endif
