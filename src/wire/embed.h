/* embed.h - embeddings in the three formats that have them: OpenAI /v1/embeddings, Google embedContent and batchEmbedContents,
 * Ollama /api/embed. Vectors keep the number lexemes they came with. Pure. */
#ifndef WIRE_EMBED_H
#define WIRE_EMBED_H
#include "json/json.h"
#include "wire/ir.h"

#define EMBED_LOST 16

enum embed_format { EMBED_OPENAI, EMBED_GEMINI, EMBED_GEMINI_BATCH, EMBED_OLLAMA };

struct embed_request {
    struct str *texts;        /* what is to be embedded, in order */
    size_t n;
    yyjson_val *tokens;       /* the input as token arrays: OpenAI only; texts is then empty */
    int64_t dimensions;       /* -1 absent */
    bool is_base64;           /* the caller wants little-endian 32-bit floats in base64 */
    bool is_single;           /* one text, not a list of one */
    struct str user, task_type, title;
    struct str lost[EMBED_LOST]; /* names of what only the caller's format can say */
    size_t n_lost;
};
struct embed_reply {
    yyjson_val **vectors;     /* arrays of numbers */
    size_t n;
    int64_t tokens;           /* -1 unknown */
};

/* root: the parsed body. ERR_INPUT names the field; a part that is no text is ERR_UNSUPPORTED. */
bool embed_read_request(struct arena *a, enum embed_format f, yyjson_val *root, struct embed_request *out, struct err *e) MUST_USE;
/* ERR_UNSUPPORTED for token arrays outside OpenAI. model: the upstream's id. */
bool embed_write_request(enum embed_format f, const struct embed_request *in, struct str model, struct buf *out, struct err *e) MUST_USE;
bool embed_read_reply(struct arena *a, enum embed_format f, yyjson_val *root, struct embed_reply *out, struct err *e) MUST_USE;
void embed_write_reply(struct arena *a, enum embed_format f, const struct embed_reply *in, const struct embed_request *asked,
                       struct str model, struct buf *out);
#endif
