/* common.h - what the formats share: ids and names of tools, arguments, data URLs, small tables, error objects; and, through
 * its two companions, preparing a request (prepare.h) and decoding a stream (flow.h).
 * Results live in the arena they are given, or in ctx->arena. */
#ifndef WIRE_COMMON_H
#define WIRE_COMMON_H
#include "wire/flow.h"
#include "wire/prepare.h"
#include "wire/wire.h"

/* ---- names and ids of a reply ---- */
struct str wire_model_shown(const struct wire_ctx *c, struct str upstream); /* ctx->shown_model, else upstream's, else what was asked */
/* The id with the prefix ("chatcmpl-"), which is added only when missing; an empty id is made up. */
struct str wire_prefixed_id(struct wire_ctx *c, struct str id, const char *prefix);
int64_t wire_created(const struct wire_ctx *c, int64_t created); /* Unix seconds; 0 gives ctx->now_ms */
bool wire_strips(const struct wire_ctx *c, const char *field);   /* the upstream refuses this top-level field (or one it depends on) */
bool wire_takes(struct wire_ctx *c, const char *field);          /* whether it can be sent; if not, the loss is noted */

/* Images (and other media) still known only by http(s) URL, for targets that need the bytes. NULL ends the walk;
 * start with NULL. The caller may replace part->source by data. Walks tool results too. */
struct ir_part *ir_find_remote_media(const struct ir_request *req, struct ir_part *after);
/* ERR_UNSUPPORTED naming the URL. */
bool wire_refuse_remote(const struct ir_source *s, struct err *e);

/* ---- tools ---- */
struct str wire_tool_name(struct wire_ctx *c, struct str client_name);            /* as sent upstream (after wire_prepare) */
struct str wire_tool_name_back(const struct wire_ctx *c, struct str upstream_name); /* as the client wrote it; a name made of a namespace stays joined */
const struct wire_rename *wire_rename_back(const struct wire_ctx *c, struct str upstream_name); /* NULL: not renamed */
struct str wire_call_id(struct wire_ctx *c, struct str id, enum wire_id_rule rule); /* unchanged when allowed, else a hash */
/* The id of a call in a reply, within the rule of ctx->client; an empty id is made up. flow_open does this by itself. */
struct str wire_client_call_id(struct wire_ctx *c, struct str id);
const struct ir_tool *ir_tool_find(const struct ir_request *req, struct str name);  /* NULL: none */
bool wire_is_custom_tool(const struct wire_ctx *c, struct str client_name);       /* the client defined it as free text */

/* Arguments for targets that need an object, as JSON text: empty gives {}, invalid JSON {"raw_arguments":…}, another
 * kind {"input":…}; an object stays as it is. kind IR_CALL_CUSTOM: {"input": text}. */
struct str wire_args_object(struct arena *a, struct str raw, enum ir_call_kind kind);
/* Arguments for targets that need a string: empty gives "{}". kind IR_CALL_CUSTOM: {"input": text} as text. */
struct str wire_args_string(struct arena *a, struct str raw, enum ir_call_kind kind);
/* The free text of a custom tool whose call came back as {"input": text}; other JSON stays as it is. */
struct str wire_args_custom(struct arena *a, struct str json);

/* A tool result as text: its text parts joined without separator; structured values as compact JSON. Media are left out. */
struct str wire_result_text(struct arena *a, const struct ir_part *result);
bool ir_parts_have_media(const struct ir_parts *p);           /* an image, file, audio or video among them */
struct str ir_parts_text(struct arena *a, const struct ir_parts *p); /* TEXT and REFUSAL joined with "" */
struct str ir_system_text(struct arena *a, const struct ir_system *s); /* entries joined with "\n\n" */
/* The description of a schema, for models that are only told: "Answer with JSON matching this schema: …". */
struct str wire_schema_instruction(struct arena *a, const struct ir_request *r);

/* ---- media ---- */
const char *wire_media_word(enum ir_part_kind kind);           /* "image", "file", "audio", "video": as losses are named */
bool wire_is_google_uri(struct str uri);                       /* of Google's file store or cloud: nobody else can open it */
/* data:<media>[;param]*;base64,<payload> in any case; other data URLs are re-coded. Anything else is a URL. */
struct ir_source ir_source_of_url(struct arena *a, struct str url);
struct str ir_source_url(struct arena *a, const struct ir_source *s); /* a URL: data: for bytes and text; empty for refs */
struct str wire_media_of_name(struct str file_name);          /* by extension; empty when unknown */
struct str wire_media_of_audio(struct str format);            /* "wav" -> "audio/wav" */
struct str wire_audio_of_media(struct str media_type);        /* "audio/mpeg" -> "mp3" */
/* Whether the client's format can carry sound in an answer. If not, the loss is noted. */
bool wire_answers_with_sound(struct wire_ctx *c);
void wire_drop_media(struct wire_ctx *c, enum ir_part_kind kind); /* an answer's, which the client's format cannot carry */

/* ---- citations ---- */
int64_t wire_chars(struct str s);                             /* code points */
struct str wire_chars_between(struct str s, int64_t from, int64_t to); /* empty where it has no such stretch */
/* Whether the client's format has a place for it in an answer. If not, the loss is noted. */
bool wire_answers_with_citation(struct wire_ctx *c, const struct ir_citation *cite);
/* Members of a request that are looked into without being read whole. Ends with {0}; null and absent ones will do. ERR_INPUT naming the member. */
struct wire_member {
    const char *name;
    bool is_array; /* else an object */
};
bool wire_check_members(yyjson_val *root, const struct wire_member *list, struct err *e) MUST_USE;
/* A user turn as some formats say it, with results of tools among its parts: in the IR they are a tool message before the rest. Takes the parts. */
void wire_add_user(struct wire_ctx *c, struct ir_part *first, struct ir_messages *out);
/* Notes what of a whole reply the client's format cannot carry: items and blocks of one vendor's own, citations. */
void wire_drop_foreign(struct wire_ctx *c, const struct ir_response *res);
/* A citation or log probabilities that come when their text was told whole, to a format that has them within it. */
void wire_drop_late(struct wire_ctx *c, const struct ir_event *ev);
void wire_drop_foreign_event(struct wire_ctx *c, const struct ir_event *ev); /* the same of a stream, before it is encoded */

/* ---- reasoning ---- */
int64_t wire_effort_budget(enum ir_effort effort, int64_t cap); /* tokens; cap < 0: unknown */
enum ir_effort wire_budget_effort(int64_t budget);
enum ir_effort wire_effort_parse(struct str s);               /* IR_EFFORT_UNSET when unknown */
const char *wire_effort_text(enum ir_effort effort);          /* NULL when unset */
/* The effort a request means, from effort, budget or mode; UNSET: nothing was asked. */
enum ir_effort wire_effort_of(const struct ir_request *r);

/* <think>…</think> in text, its tags cut over any number of pieces. */
struct think_split { /* zeroed to begin */
    char held[16];          /* line ends and bytes of a tag that may yet be text */
    unsigned char n_held, n_tag;
    bool is_inside, is_done, is_trimming;
};
/* Calls out(arg, is_reasoning, text) for each piece that is certain. */
typedef void think_fn(void *arg, bool is_reasoning, struct str text);
void think_push(struct think_split *t, struct str text, think_fn *out, void *arg);
void think_end(struct think_split *t, think_fn *out, void *arg); /* gives back what was held */
/* Splits the text parts of a whole message. */
void think_parts(struct wire_ctx *c, struct ir_parts *parts);

/* ---- places ---- */
/* The name of an item, for messages: list, open, i and close, cut to size: "messages" "[" 3 "].role". Cheaper than printf, since
 * it is made for each item and read only when that is ill. */
JSON_INLINE void wire_place(char *to, size_t size, const char *list, const char *open, size_t i, const char *close)
{
    size_t n_list = strlen(list), n_open = strlen(open), n_close = strlen(close), n_digits = 0;
    char digits[20];
    do {
        digits[sizeof digits - ++n_digits] = (char)('0' + i % 10);
        i /= 10;
    } while (i);
    if (n_list + n_open + n_digits + n_close >= size) /* a place within a place: its beginning says enough */
        n_list = size - 1 - n_open - n_digits - n_close;
    memcpy(to, list, n_list);
    memcpy(to + n_list, open, n_open);
    memcpy(to + n_list + n_open, digits + sizeof digits - n_digits, n_digits);
    memcpy(to + n_list + n_open + n_digits, close, n_close);
    to[n_list + n_open + n_digits + n_close] = 0;
}

/* ---- reply ---- */
enum ir_stop ir_stop_overlay(enum ir_stop stop, const struct ir_message *m); /* END with calls is TOOL, with a refusal REFUSAL */
int64_t ir_usage_in(const struct ir_usage *u);                /* 0 when unknown */
int64_t ir_usage_out(const struct ir_usage *u);
int64_t ir_usage_total(const struct ir_usage *u);             /* total, or the sum when smaller or unknown */
/* How many, as an upstream tells it: -1 where that is no count (absent, no whole number, below 0, more than there can be). */
int64_t wire_count(yyjson_val *v);
int64_t wire_count_text(struct str value);                    /* the same of a value's text */
int64_t wire_count_in(struct str text, const struct json_want *want); /* and of a member that was looked for */

/* The text of an event as the inside of a JSON string. */
static inline void wire_put_text(struct buf *out, const struct ir_event *ev)
{
    if (ev->text_json.n > 0)
        buf_str_add(out, ev->text_json);
    else
        json_escape(out, ev->text);
}

/* ---- errors ---- */
const char *wire_openai_error_type(const struct err *e);      /* "rate_limit_error" */
const char *wire_openai_error_code(const struct err *e);      /* NULL: null */
/* {"message","type","param","code"}: the object inside an OpenAI envelope. */
void wire_openai_error(struct jw *w, const struct err *e);
const char *wire_anthropic_error_type(const struct err *e);
const char *wire_google_error_status(const struct err *e);
/* An error object found inside a stream: e becomes ERR_UPSTREAM or better. */
void wire_read_error_value(struct arena *a, int status, yyjson_val *root, struct err *e);

/* Offset of the value of the last "key": in JSON text, or data.n. Inside of strings the quotes of a key would be escaped. */
size_t wire_last_value(struct str data, struct str key);
/* The text of that value, and how many objects and lists it stands in: 0 where there is none. STR_NONE: or it does not end. */
struct str wire_last_member(struct str data, struct str key, int *depth);
struct str wire_member(struct str object, const char *key);   /* by a look at all of it: the object's own member of that name, else STR_NONE */
/* Offset of the quote that ends the string whose inside starts at i, or u.n. */
size_t wire_string_end(struct str u, size_t i);
#endif
