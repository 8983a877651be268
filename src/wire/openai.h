/* openai.h - what the three OpenAI formats share: usage, annotations, choices of tools, small readers with good errors. */
#ifndef WIRE_OPENAI_H
#define WIRE_OPENAI_H
#include "wire/common.h"

/* Both spellings: prompt_tokens/completion_tokens and input_tokens/output_tokens, with their details. */
struct ir_usage openai_usage(yyjson_val *v);
void openai_write_chat_usage(struct jw *w, const struct ir_usage *u);
void openai_write_responses_usage(struct jw *w, const struct ir_usage *u);

/* Readers of request members. false: *e names the field. Absent and null leave *out alone. */
bool openai_read_str(yyjson_val *root, const char *key, struct str *out, struct err *e) MUST_USE;
bool openai_read_bool(yyjson_val *root, const char *key, bool *has, bool *out, struct err *e) MUST_USE;
bool openai_read_number(yyjson_val *root, const char *key, yyjson_val **out, struct err *e) MUST_USE;
bool openai_read_int(yyjson_val *root, const char *key, int64_t min, int64_t *out, struct err *e) MUST_USE;
/* A limit of tokens: at least 1; -1 is some clients' word for none. */
bool openai_read_limit(yyjson_val *root, const char *key, int64_t *out, struct err *e) MUST_USE;
/* temperature, top_p, seed, … that both formats spell alike */
bool openai_read_sampling(yyjson_val *root, struct ir_request *out, struct err *e) MUST_USE;

/* "auto", "none", "required" or an object in either spelling. */
bool openai_read_choice(struct arena *a, yyjson_val *v, struct ir_request *out, struct err *e) MUST_USE;
/* {type:"json_schema", …}; nested: the schema stands in a member json_schema (chat). */
bool openai_read_format(yyjson_val *v, bool is_nested, const char *field, struct ir_request *out, struct err *e) MUST_USE;
void openai_write_format(struct wire_ctx *c, struct jw *w, const struct ir_request *r, bool is_nested);
/* The schema of a function, cleaned for OpenAI; nothing when it has none and !is_required (then {} with properties). */
void openai_write_parameters(struct wire_ctx *c, struct jw *w, const char *key, const struct ir_tool *t, bool is_required);

struct ir_citation *openai_read_annotations(struct arena *a, yyjson_val *list, enum wire_id origin);
/* is_nested: chat's {type, url_citation:{…}}; else flat. Its text begins behind `before` characters and has `length` of them: one
 * that does not know its place is of all of it. */
void openai_write_annotation(struct jw *w, const struct ir_citation *cite, bool is_nested, int64_t before, int64_t length);

/* Content: a text, or parts that read_part understands; absent and null are none. */
typedef bool openai_part_fn(struct wire_ctx *c, yyjson_val *v, const char *where, struct ir_parts *parts, struct err *e);
bool openai_read_content(struct wire_ctx *c, yyjson_val *content, const char *where, openai_part_fn *read_part,
                         struct ir_parts *parts, struct err *e) MUST_USE;

/* image_url, input_image: string or object; a PDF becomes a file. */
void openai_read_image(struct wire_ctx *c, yyjson_val *part, struct ir_part *p);
/* input_file and chat's file object */
void openai_read_file(struct wire_ctx *c, yyjson_val *file, struct ir_part *p);

const char *openai_effort(const struct wire_ctx *c, const struct ir_request *r); /* NULL: leave it out */
void openai_write_error(const struct err *e, struct str request_id, struct buf *out);
/* The members of raw that are not in known (NULL-terminated) and that the upstream does not refuse. */
void openai_write_residue(struct wire_ctx *c, struct jw *w, yyjson_val *raw, const char *const *known);

/* ---- finding things in text, without a tree ---- */
enum openai_place { OPENAI_OF_REPLY, OPENAI_OF_EVENT };       /* members of the root, or of its member "response" */
/* The text of the member of that place; empty: it has none. Further in the same names are anybody's: of metadata, schemas and arguments.
 * key: a literal. */
struct str openai_member(struct str data, struct str key, enum openai_place place);
struct str openai_find_string(struct str data, struct str key); /* the last such string wherever it stands, without quotes, no escapes */
bool openai_meter_usage(struct str data, enum openai_place place, struct ir_usage *usage); /* and the service beside it; false: there is none */
void openai_meter_groq(struct str data, struct ir_usage *usage); /* of chat's streams, where Groq tells it */
#endif
