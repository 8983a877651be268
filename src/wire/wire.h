/* wire.h - what a wire format is: a table of functions. Pure: no I/O, clock or database here. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"
#include "wire/ir.h"

enum wire_quirk { /* of an upstream; what its kind's row says (domain/provider_kind.c) */
    QUIRK_MAX_TOKENS_OLD = 1u << 0,       /* chat: max_tokens, not max_completion_tokens */
    QUIRK_DEVELOPER_ROLE = 1u << 1,       /* chat: role developer is kept (others get system) */
    QUIRK_TOP_K = 1u << 2,                /* chat: accepts top_k, min_p */
    QUIRK_NO_STREAM_OPTIONS = 1u << 3,    /* chat: rejects stream_options */
    QUIRK_THINK_TAGS = 1u << 4,           /* <think>…</think> in content is reasoning */
    QUIRK_NO_SYSTEM_ROLE = 1u << 5,       /* system text goes into the first user message */
    QUIRK_ID_9 = 1u << 6,                 /* tool call ids are exactly 9 of [a-zA-Z0-9] (Mistral) */
    QUIRK_REASONING_REPLAY = 1u << 7,     /* chat: reasoning_content is required beside tool_calls in history (DeepSeek) */
    QUIRK_NO_REASONING_HISTORY = 1u << 8, /* chat: reasoning_content in history is refused */
    QUIRK_SCHEMA_GEMINI = 1u << 9,        /* google: only the cleaned Schema dialect, no JSON Schema fields */
    QUIRK_SCHEMA_INLINE_REFS = 1u << 10,  /* strict endpoints: $ref is inlined */
    QUIRK_DUMMY_SIGNATURE = 1u << 11,     /* google: insert the documented dummy thought signature */
    QUIRK_THINKING_LEVEL = 1u << 12,      /* google: thinkingLevel instead of a budget */
    QUIRK_STRUCTURED_OUTPUT = 1u << 13,   /* anthropic: output_config.format is supported */
    QUIRK_ADAPTIVE_THINKING = 1u << 14,   /* anthropic: thinking adaptive + output_config.effort */
    QUIRK_MID_SYSTEM = 1u << 15,          /* anthropic: role system is accepted behind a user turn */
    QUIRK_HOIST_SYSTEM = 1u << 16,        /* anthropic: all system text to the top (MiniMax) */
    QUIRK_EFFORT_XHIGH = 1u << 17,        /* effort xhigh and max are accepted as such */
    QUIRK_NO_REASONING_EFFORT = 1u << 18, /* chat: reasoning_effort is refused */
    QUIRK_THINKING_FIELD = 1u << 19,      /* chat: thinking:{type} extension is understood */
    QUIRK_HTTPS_FILE_URI = 1u << 20,      /* google: fileUri may be any https URL */
    QUIRK_NO_PARALLEL_FIELD = 1u << 21,   /* chat: parallel_tool_calls is refused */
    QUIRK_TEXT_AFTER_TOOL = 1u << 22,     /* anthropic: text after tool_use in a turn is dropped */
    QUIRK_REASONING_SPLIT = 1u << 23,     /* chat: set reasoning_split:true when thinking is asked for (MiniMax) */
    QUIRK_NO_FILES = 1u << 24,            /* chat: no file parts */
    QUIRK_ALTERNATION_FILLER = 1u << 25,  /* anthropic: insert a user "." before a leading assistant turn */
    QUIRK_STATEFUL_RESPONSES = 1u << 27,  /* responses: keeps what it was asked to store; others are kept by sluice */
    QUIRK_REASONING_NAME = 1u << 28,      /* chat: replies call it reasoning; clients know reasoning_content (OpenRouter) */
    QUIRK_MAX_TOKENS_NEW = 1u << 29,      /* chat: max_completion_tokens, not max_tokens (Argo) */
    QUIRK_REPAIR_STREAM = 1u << 26,       /* its streams break the grammar (llama-server): decode and encode even in the same format */
};

extern const struct word wire_quirk_words[]; /* "max_tokens_old": in configuration, lists and golden cases; ends with {0} */

struct wire_dropped { /* what could not be said in the target */
    struct wire_dropped *next;
    struct str what; /* "logit_bias", "messages[3].name" */
    struct str why;  /* short */
};
struct wire_rename {
    struct wire_rename *next;
    struct str from, to; /* client's tool name -> the name sent upstream */
    struct str space;    /* responses: the namespace it stands in; else empty */
};

/* One exchange: what both directions must know of each other. Lives as long as the request's arena. */
struct wire_ctx {
    struct arena *arena;            /* the request's */
    struct arena *scratch;          /* reset between stream events: keep nothing in it */
    enum wire_id client, upstream;
    uint32_t quirks;                /* enum wire_quirk, of the upstream */
    const char *const *strip;       /* top-level fields the upstream refuses; NULL-terminated, may be NULL */
    struct str upstream_model;      /* id to send */
    struct str shown_model;         /* model name in replies to the client; empty: what the upstream reported */
    int64_t max_output_tokens;      /* the model's known maximum, -1 unknown (anthropic default: then 4096) */
    int64_t raised_max_tokens;      /* by write_request, beyond what the request allows; 0: it was not */
    const struct ir_request *req;   /* as decoded; NULL for bare responses */
    bool is_stream;                 /* the client's wish */
    struct wire_rename *renames;
    bool is_json_tool;              /* response format emulated by a forced tool: unwrap it */
    struct wire_dropped *dropped, **dropped_tail;
    int64_t now_ms;                 /* wall clock at the start: created, created_at */
    uint64_t seed;                  /* for made-up ids */
    unsigned ids_made;
    /* Google thought signatures by tool call id, kept by the relay; NULL: none kept */
    struct str (*signature_get)(void *arg, struct str call_id);
    void (*signature_put)(void *arg, struct str call_id, struct str signature);
    void *signature_arg;
    bool cuts_stop;                 /* policy: the relay cuts answers at stop sequences (stop.h) */
    bool allow_hosted_tools;        /* policy: map web search across formats */
    int64_t elapsed_ns;             /* since the start, kept up to date by the relay before writing: Ollama tells times */
    bool is_json_array;             /* google: the client's stream is one JSON array (no alt=sse) */
    struct str kept_mark;           /* responses: ends the id of a reply that is kept, since upstreams may give two the same; empty: it is not kept */
    bool is_continuation;           /* responses: history was expanded by the relay (previous_response_id) */
};

void wire_ctx_init(struct wire_ctx *c, struct arena *a);
/* Notes a loss once; what and why are copied. */
void wire_drop(struct wire_ctx *c, const char *why, const char *what_fmt, ...) PRINTF_LIKE(3, 4);
struct str wire_make_id(struct wire_ctx *c, const char *prefix, unsigned hex_digits); /* from seed and counter */
/* From now on c works in `to`: what reading or writing a request noted for the reply (losses, names) is copied there, so that the
 * arena it worked in can go. */
void wire_ctx_move(struct wire_ctx *c, struct arena *to);

enum framing { FRAMING_SSE, FRAMING_NDJSON, FRAMING_JSON_ARRAY };

typedef void wire_sink_fn(void *arg, const struct ir_event *ev);

struct wire {
    enum wire_id id;
    const char *name;               /* "openai_chat": in configuration, logs and headers */
    enum framing framing;           /* of its streams */
    bool knows_no_stop;             /* its requests cannot name stop sequences */
    bool answers_with_sound;        /* its replies have a place for sound: others get the transcript as text */

    /* root: the parsed body. model and stream may also come from the path (Google): the caller sets them after. */
    bool (*read_request)(struct wire_ctx *c, yyjson_val *root, struct ir_request *out, struct err *e);
    bool (*write_request)(struct wire_ctx *c, const struct ir_request *req, struct buf *out, struct err *e);
    bool (*read_response)(struct wire_ctx *c, yyjson_val *root, struct ir_response *out, struct err *e);
    void (*write_response)(struct wire_ctx *c, const struct ir_response *res, struct buf *out);

    /* Upstream stream -> events. event: the SSE event name (may be empty); data: one frame's payload.
     * A bad frame is ERR_UPSTREAM. decoder_end at EOF: emits what is owed, FINISH/ERROR and END exactly once. */
    void *(*decoder_new)(struct wire_ctx *c);
    bool (*decoder_push)(void *dec, struct str event, struct str data, wire_sink_fn *emit, void *arg, struct err *e);
    void (*decoder_end)(void *dec, wire_sink_fn *emit, void *arg);

    /* Events -> client frames, with framing, appended to out. */
    void *(*encoder_new)(struct wire_ctx *c);
    void (*encoder_push)(void *enc, const struct ir_event *ev, struct buf *out);

    /* An error body of the format (no framing). request_id may be empty. */
    void (*write_error)(const struct err *e, struct str request_id, struct buf *out);
    const char *keepalive;          /* frame to send in silence, with framing */

    /* Same-format metering: called with each frame, or with the whole body of a non-stream reply. Cheap: finds usage, stop reason and
     * response id without building a tree where possible. Returns true when this frame ends the stream. */
    bool (*meter)(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop);
};
const struct wire *wire_of(enum wire_id id);                  /* never NULL for a real id */
const struct wire *wire_by_name(struct str name);             /* "openai_chat", "anthropic", …; NULL unknown */

/* ---- shared by the formats ---- */
void ir_request_init(struct ir_request *r);                   /* all absent */
struct ir_part *ir_part_add(struct arena *a, struct ir_parts *parts, enum ir_part_kind kind);
struct ir_message *ir_message_add(struct arena *a, struct ir_messages *m, enum ir_role role);
struct ir_usage ir_usage_merge(struct ir_usage old, struct ir_usage newer); /* field by field: newer where known */
bool ir_usage_known(const struct ir_usage *u);
bool ir_usage_is_zero(const struct ir_usage *u);              /* both sides were told, as nothing: no request is that */
/* Its sides and its sum agree, where a sum is told: the sum rules. A side that is missing is the rest of it; what it has beyond both sides is
 * output, as of vendors that count their model's thoughts apart, less what of caches has no room in the input. Whoever reads a usage does this once. */
void ir_usage_settle(struct ir_usage *u);

/* events <-> whole response */
struct ir_collector *ir_collector_new(struct wire_ctx *c);    /* a sink: pass ir_collect as wire_sink_fn */
void ir_collect(void *collector, const struct ir_event *ev);
bool ir_collected(struct ir_collector *k, struct ir_response *out, struct err *e) MUST_USE; /* false: the stream ended in an error */
/* What a whole stream of that format comes to: the answer that it gives to who wants none, as JSON. Ids and times that the events do not tell
 * are made up. false: it is no such stream, or one that does not end well. */
bool wire_gather(struct arena *a, const struct wire *w, struct str stream, struct buf *out, struct err *e) MUST_USE;
void ir_replay(struct wire_ctx *c, const struct ir_response *res, wire_sink_fn *emit, void *arg);

/* Any upstream's error body, whatever its envelope: kind, code, message, field (translation contract, section 10).
 * headers for Retry-After and reset dialects are read by the relay. */
void wire_read_error(struct arena *a, int status, struct str body, struct err *e);

/* Estimated input tokens of a request, for count_tokens without an upstream's help: about 4 characters a token, images by size. */
int64_t ir_estimate_tokens(const struct ir_request *r);

/* A copy of what the rest of a stream still asks of its request once its encoder has begun: wishes and the names of free-text tools,
 * neither text nor tree. */
struct ir_request *ir_request_rest(struct arena *a, const struct ir_request *r);
#endif
