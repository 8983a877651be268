/* inference.c - /v1 and its relatives: what clients call. The work is the relay's. */
#include "api/api.h"

#define SPEC(shape_, op_, client_, native_) \
    (&(const struct relay_spec){            \
        .shape = shape_, .op = op_, .client = client_, .native_auth = native_})
#define TALK(op, client, native) SPEC(RELAY_TALK, op, client, native)
#define OPENAI(shape, op) SPEC(shape, op, WIRE_CHAT, "authorization")
#define GOOG "x-goog-api-key"

static void get_response(struct api_call *c)
{
    relay_stored(c->api->relay, c->r, c->snap, c->key, c->id, route_param(&c->params, "id"),
                 STORED_RESPONSE, &c->stored);
}

static void delete_response(struct api_call *c)
{
    relay_stored(c->api->relay, c->r, c->snap, c->key, c->id, route_param(&c->params, "id"),
                 STORED_DELETE, &c->stored);
}

static void get_input_items(struct api_call *c)
{
    relay_stored(c->api->relay, c->r, c->snap, c->key, c->id, route_param(&c->params, "id"),
                 STORED_INPUT_ITEMS, &c->stored);
}

/* clang-format off */
#define GOOGLE_ROWS(base) \
    { HTTP_POST, base "{model*}:generateContent",       SURFACE_GOOGLE, ACCESS_INFERENCE, "Generate content (Google GenAI)", .relay = TALK(OP_GEMINI, WIRE_GEMINI, GOOG) }, \
    { HTTP_POST, base "{model*}:streamGenerateContent", SURFACE_GOOGLE, ACCESS_INFERENCE, "Generate content as a stream (Google GenAI)", .relay = TALK(OP_GEMINI, WIRE_GEMINI, GOOG) }, \
    { HTTP_POST, base "{model*}:countTokens",           SURFACE_GOOGLE, ACCESS_INFERENCE, "Count the tokens of a request (Google GenAI)", .relay = SPEC(RELAY_COUNT, OP_COUNT_GEMINI, WIRE_GEMINI, GOOG) }, \
    { HTTP_POST, base "{model*}:embedContent",          SURFACE_GOOGLE, ACCESS_INFERENCE, "Embed one content (Google GenAI)", .relay = SPEC(RELAY_EMBED, OP_EMBED_GEMINI, WIRE_GEMINI, GOOG) }, \
    { HTTP_POST, base "{model*}:batchEmbedContents",    SURFACE_GOOGLE, ACCESS_INFERENCE, "Embed several contents (Google GenAI)", .relay = SPEC(RELAY_EMBED, OP_EMBED_GEMINI, WIRE_GEMINI, GOOG) }

const struct endpoint inference_endpoints[] = {
    { HTTP_POST, "/v1/chat/completions",         SURFACE_OPENAI,    ACCESS_INFERENCE, "Create a chat completion", .relay = TALK(OP_CHAT, WIRE_CHAT, "authorization") },
    { HTTP_POST, "/v1/completions",              SURFACE_OPENAI,    ACCESS_INFERENCE, "Create a text completion (legacy)", .relay = TALK(OP_COMPLETIONS, WIRE_COMPLETIONS, "authorization") },
    { HTTP_POST, "/v1/responses",                SURFACE_OPENAI,    ACCESS_INFERENCE, "Create a response", .relay = TALK(OP_RESPONSES, WIRE_RESPONSES, "authorization") },
    { HTTP_GET,  "/v1/responses/{id}",           SURFACE_OPENAI,    ACCESS_INFERENCE, "Retrieve a stored response, as a stream with ?stream=true", .on_loop = get_response },
    { HTTP_DELETE, "/v1/responses/{id}",         SURFACE_OPENAI,    ACCESS_INFERENCE, "Delete a stored response", .on_loop = delete_response },
    { HTTP_GET,  "/v1/responses/{id}/input_items", SURFACE_OPENAI,  ACCESS_INFERENCE, "List the input items of a stored response", .on_loop = get_input_items },
    { HTTP_POST, "/v1/responses/input_tokens",   SURFACE_OPENAI,    ACCESS_INFERENCE, "Count the input tokens of a response request", .relay = SPEC(RELAY_COUNT, OP_COUNT_RESPONSES, WIRE_RESPONSES, "authorization") },
    { HTTP_POST, "/v1/responses/compact",        SURFACE_OPENAI,    ACCESS_INFERENCE, "Compact a conversation, where the upstream can", .relay = SPEC(RELAY_JSON, OP_COMPACT, WIRE_RESPONSES, "authorization") },
    { HTTP_POST, "/v1/messages",                 SURFACE_ANTHROPIC, ACCESS_INFERENCE, "Create a message (Anthropic)", .relay = TALK(OP_MESSAGES, WIRE_ANTHROPIC, "x-api-key") },
    { HTTP_POST, "/v1/messages/count_tokens",    SURFACE_ANTHROPIC, ACCESS_INFERENCE, "Count the tokens of a message request (Anthropic)", .relay = SPEC(RELAY_COUNT, OP_COUNT_ANTHROPIC, WIRE_ANTHROPIC, "x-api-key") },
    GOOGLE_ROWS("/v1beta/models/"),
    GOOGLE_ROWS("/v1/models/"),
    { HTTP_POST, "/api/chat",                    SURFACE_OLLAMA,    ACCESS_INFERENCE, "Chat (Ollama)", .relay = TALK(OP_OLLAMA_CHAT, WIRE_OLLAMA, "authorization") },
    { HTTP_POST, "/api/generate",                SURFACE_OLLAMA,    ACCESS_INFERENCE, "Generate a completion (Ollama)", .relay = TALK(OP_OLLAMA_GENERATE, WIRE_OLLAMA_GENERATE, "authorization") },
    { HTTP_POST, "/api/embed",                   SURFACE_OLLAMA,    ACCESS_INFERENCE, "Create embeddings (Ollama)", .relay = SPEC(RELAY_EMBED, OP_EMBED_OLLAMA, WIRE_OLLAMA, "authorization") },
    { HTTP_POST, "/v1/embeddings",               SURFACE_OPENAI,    ACCESS_INFERENCE, "Create embeddings", .relay = OPENAI(RELAY_EMBED, OP_EMBED_OPENAI) },
    { HTTP_POST, "/v1/images/generations",       SURFACE_OPENAI,    ACCESS_INFERENCE, "Generate images", .relay = OPENAI(RELAY_JSON, OP_IMAGE_GENERATE) },
    { HTTP_POST, "/v1/images/edits",             SURFACE_OPENAI,    ACCESS_INFERENCE, "Edit images", .relay = OPENAI(RELAY_FORM, OP_IMAGE_EDIT), .takes_form = true },
    { HTTP_POST, "/v1/audio/speech",             SURFACE_OPENAI,    ACCESS_INFERENCE, "Speak a text", .relay = OPENAI(RELAY_JSON, OP_SPEECH) },
    { HTTP_POST, "/v1/audio/transcriptions",     SURFACE_OPENAI,    ACCESS_INFERENCE, "Transcribe speech", .relay = OPENAI(RELAY_FORM, OP_TRANSCRIBE), .takes_form = true },
    { HTTP_POST, "/v1/audio/translations",       SURFACE_OPENAI,    ACCESS_INFERENCE, "Translate speech into English text", .relay = OPENAI(RELAY_FORM, OP_TRANSLATE), .takes_form = true },
    { HTTP_POST, "/v1/moderations",              SURFACE_OPENAI,    ACCESS_INFERENCE, "Classify content", .relay = &(const struct relay_spec){.shape = RELAY_JSON, .op = OP_MODERATE, .client = WIRE_CHAT, .native_auth = "authorization", .usual_model = "omni-moderation-latest"} },
    { HTTP_POST, "/v1/rerank",                   SURFACE_OPENAI,    ACCESS_INFERENCE, "Rank documents by relevance to a query", .relay = OPENAI(RELAY_JSON, OP_RERANK) },
    { HTTP_POST, "/v1/providers/{provider}/chat/completions",   SURFACE_OPENAI, ACCESS_INFERENCE, "Create a chat completion with one named provider", .relay = TALK(OP_CHAT, WIRE_CHAT, "authorization") },
    { HTTP_POST, "/v1/providers/{provider}/embeddings",         SURFACE_OPENAI, ACCESS_INFERENCE, "Create embeddings with one named provider", .relay = OPENAI(RELAY_EMBED, OP_EMBED_OPENAI) },
    { HTTP_POST, "/v1/providers/{provider}/images/generations", SURFACE_OPENAI, ACCESS_INFERENCE, "Generate images with one named provider", .relay = OPENAI(RELAY_JSON, OP_IMAGE_GENERATE) },
    {0},
};
/* clang-format on */
