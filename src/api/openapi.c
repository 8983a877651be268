/* openapi.c - the endpoint table as an OpenAPI 3.1 document. */
#include "api/api.h"
#include "version.h"
#include "json/shape.h"

static const char *const surface_tags[] = {"OpenAI", "Anthropic", "Google", "Ollama", "sluice"};

static const struct {
    enum surface surface;
    const char *schema;
} error_schemas[] = {
    {SURFACE_OPENAI, "OpenAIError"}, {SURFACE_ANTHROPIC, "AnthropicError"}, {SURFACE_GOOGLE, "GoogleError"},
    {SURFACE_OLLAMA, "OllamaError"}, {SURFACE_SLUICE, "OpenAIError"},
};

/* What each operation's body must hold, beyond what its format's own documentation says. */
static const struct {
    enum op op;
    const char *required; /* comma list */
    const char *example;
} op_bodies[] = {
    {OP_CHAT, "model,messages", "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {OP_COMPLETIONS, "model,prompt", "{\"model\":\"echo\",\"prompt\":\"Hello\"}"},
    {OP_RESPONSES, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_MESSAGES, "model,messages,max_tokens", "{\"model\":\"echo\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {OP_GEMINI, "contents", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hello\"}]}]}"},
    {OP_OLLAMA_CHAT, "model,messages", "{\"model\":\"echo\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {OP_OLLAMA_GENERATE, "model", "{\"model\":\"echo\",\"stream\":false,\"prompt\":\"Hello\"}"},
    {OP_COUNT_ANTHROPIC, "model,messages", "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {OP_COUNT_GEMINI, "", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hello\"}]}]}"},
    {OP_COUNT_RESPONSES, "model", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_COMPACT, "model", "{\"model\":\"gpt\",\"input\":\"Hello\"}"},
    {OP_EMBED_OPENAI, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_EMBED_GEMINI, "", "{\"content\":{\"parts\":[{\"text\":\"Hello\"}]}}"},
    {OP_EMBED_OLLAMA, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_IMAGE_GENERATE, "model,prompt", "{\"model\":\"echo\",\"prompt\":\"A lighthouse\"}"},
    {OP_SPEECH, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\",\"voice\":\"alloy\"}"},
    {OP_MODERATE, "input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_RERANK, "model,query,documents", "{\"model\":\"echo\",\"query\":\"tea\",\"documents\":[\"tea\",\"coffee\"]}"},
};

static void ref(struct jw *w, const char *schema)
{
    char text[96];
    (void)snprintf(text, sizeof text, "#/components/schemas/%s", schema);
    jw_object(w);
    jw_kv_cstr(w, "$ref", text);
    jw_object_end(w);
}

static void write_content(struct jw *w, const char *media)
{
    jw_key(w, "content");
    jw_object(w);
    jw_key(w, media);
    jw_object(w);
    jw_key(w, "schema");
}

static void end_content(struct jw *w)
{
    jw_object_end(w);
    jw_object_end(w);
}

static void write_relay_body(struct jw *w, const struct endpoint *e)
{
    jw_key(w, "requestBody");
    jw_object(w);
    jw_kv_bool(w, "required", true);
    write_content(w, e->takes_form ? "multipart/form-data" : "application/json");
    jw_object(w);
    jw_kv_cstr(w, "type", "object");
    const char *required = e->takes_form ? "model" : "", *example = NULL;
    for (size_t i = 0; i < ARRAY_LEN(op_bodies); i++)
        if (op_bodies[i].op == e->relay->op) {
            required = op_bodies[i].required;
            example = op_bodies[i].example;
        }
    if (*required) {
        struct str rest = str_of(required), one;
        jw_key(w, "required");
        jw_array(w);
        while (rest.n) {
            rest = str_cut(rest, ',', &one);
            jw_str(w, one);
        }
        jw_array_end(w);
    }
    jw_kv_bool(w, "additionalProperties", true);
    jw_object_end(w);
    if (example) {
        jw_key(w, "example");
        jw_raw(w, str_of(example));
    }
    end_content(w);
    jw_object_end(w);
}

static void write_error_response(struct jw *w, const char *status, const char *text, const char *schema)
{
    jw_key(w, status);
    jw_object(w);
    jw_kv_cstr(w, "description", text);
    write_content(w, "application/json");
    ref(w, schema);
    end_content(w);
    jw_object_end(w);
}

static const char *media_of(const struct endpoint *e)
{
    if (str_ends(str_of(e->path), STR("/docs")))
        return "text/html";
    if (str_ends(str_of(e->path), STR(".css")))
        return "text/css";
    if (str_ends(str_of(e->path), STR(".js")))
        return "text/javascript";
    if (e->relay && e->relay->op == OP_SPEECH)
        return "audio/mpeg";
    return "application/json";
}

static const char *stream_media_of(const struct endpoint *e)
{
    if (!e->relay || e->relay->shape != RELAY_TALK)
        return NULL;
    return wire_of(e->relay->client)->framing == FRAMING_NDJSON ? "application/x-ndjson" : "text/event-stream";
}

/* {"data":[…]} around the schema of one. */
static void begin_list(struct jw *w)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "object");
    jw_key(w, "properties");
    jw_object(w);
    jw_key(w, "data");
    jw_object(w);
    jw_kv_cstr(w, "type", "array");
    jw_key(w, "items");
}

static void end_list(struct jw *w)
{
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_success(struct jw *w, const struct endpoint *e)
{
    jw_key(w, e->status == 201 ? "201" : "200");
    jw_object(w);
    jw_kv_cstr(w, "description", "Done");
    jw_key(w, "content");
    jw_object(w);
    jw_key(w, media_of(e));
    jw_object(w);
    jw_key(w, "schema");
    if (e->out) {
        if (e->is_list)
            begin_list(w);
        shape_schema(e->out, w);
        if (e->is_list)
            end_list(w);
    } else {
        jw_object(w);
        jw_kv_cstr(w, "type", strcmp(media_of(e), "application/json") == 0 ? "object" : "string");
        jw_object_end(w);
    }
    jw_object_end(w);
    if (stream_media_of(e)) {
        jw_key(w, stream_media_of(e));
        jw_object(w);
        jw_key(w, "schema");
        jw_object(w);
        jw_kv_cstr(w, "type", "string");
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_object_end(w);
}

static void write_responses(struct jw *w, const struct endpoint *e)
{
    const char *schema = error_schemas[e->surface].schema;
    jw_key(w, "responses");
    jw_object(w);
    if (e->status == 204) {
        jw_key(w, "204");
        jw_object(w);
        jw_kv_cstr(w, "description", "Done");
        jw_object_end(w);
    } else {
        write_success(w, e);
    }
    if (e->relay || e->in) {
        write_error_response(w, "400", "The request is wrong; the message names the field", schema);
        write_error_response(w, "413", "The body is too large", schema);
        write_error_response(w, "415", "The media type is not taken", schema);
    }
    if (e->access != ACCESS_PUBLIC) {
        write_error_response(w, "401", "No key, or an unknown one", schema);
        write_error_response(w, "403", "The key may not do this", schema);
    }
    if (e->relay) {
        write_error_response(w, "404", "Unknown model", schema);
        write_error_response(w, "429", "The upstream's limit is reached; Retry-After says for how long", schema);
        write_error_response(w, "502", "The upstream failed", schema);
        write_error_response(w, "503", "No capacity", schema);
        write_error_response(w, "504", "The upstream took too long", schema);
    } else if (strchr(e->path, '{')) {
        write_error_response(w, "404", "Not found", schema);
    }
    jw_object_end(w);
}

static void write_parameters(struct jw *w, const char *path)
{
    if (!strchr(path, '{'))
        return;
    jw_key(w, "parameters");
    jw_array(w);
    for (const char *p = path; (p = strchr(p, '{')) != NULL; p++) {
        size_t n = strcspn(p + 1, "*}");
        jw_object(w);
        jw_kv_str(w, "name", str_n(p + 1, n));
        jw_kv_cstr(w, "in", "path");
        jw_kv_bool(w, "required", true);
        jw_key(w, "schema");
        jw_object(w);
        jw_kv_cstr(w, "type", "string");
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_operation(struct jw *w, struct arena *a, const struct endpoint *e)
{
    static const char *const methods[] = {"get", "head", "post", "put", "patch", "delete", "options", "trace"};
    struct buf id;
    buf_init_arena(&id, a, 512);
    buf_str_add(&id, str_of(methods[e->method]));
    for (const char *p = e->path; *p; p++)
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))
            buf_char(&id, *p);
        else if (*p != '*' && *p != '}' && *p != '{')
            buf_char(&id, '_');
    jw_key(w, methods[e->method]);
    jw_object(w);
    jw_kv_str(w, "operationId", buf_str(&id));
    jw_kv_cstr(w, "summary", e->sentence);
    jw_key(w, "tags");
    jw_array(w);
    jw_cstr(w, surface_tags[e->surface]);
    jw_array_end(w);
    write_parameters(w, e->path);
    if (e->relay) {
        write_relay_body(w, e);
    } else if (e->in) {
        jw_key(w, "requestBody");
        jw_object(w);
        jw_kv_bool(w, "required", true);
        write_content(w, "application/json");
        shape_schema(e->in, w);
        end_content(w);
        jw_object_end(w);
    }
    jw_key(w, "security");
    jw_array(w);
    if (e->access != ACCESS_PUBLIC) {
        static const char *const schemes[] = {"bearer", "xApiKey", "xGoogApiKey", "queryKey"};
        for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
            jw_object(w);
            jw_key(w, schemes[i]);
            jw_array(w);
            jw_array_end(w);
            jw_object_end(w);
        }
    }
    jw_array_end(w);
    write_responses(w, e);
    jw_object_end(w);
}

/* "{model*}:x" is written "{model}:x". */
static struct str documented_path(struct arena *a, const char *path)
{
    struct buf b;
    buf_init_arena(&b, a, 512);
    for (; *path; path++)
        if (*path != '*')
            buf_char(&b, *path);
    return buf_str(&b);
}

static bool is_first_of_path(size_t at, const char *path)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(endpoint_at(i)->path, path) == 0)
            return false;
    return true;
}

#define OBJECT(props) "{\"type\":\"object\",\"properties\":{" props "}}"
#define TEXT(name) "\"" name "\":{\"type\":\"string\"}"
static const struct {
    const char *name, *json;
} components[] = {
    {"OpenAIError", OBJECT("\"error\":" OBJECT(TEXT("message") "," TEXT("type")
                    ",\"param\":{\"type\":[\"string\",\"null\"]},\"code\":{\"type\":[\"string\",\"null\"]}"))},
    {"AnthropicError", OBJECT(TEXT("type") ",\"error\":" OBJECT(TEXT("type") "," TEXT("message")) "," TEXT("request_id"))},
    {"GoogleError", OBJECT("\"error\":" OBJECT("\"code\":{\"type\":\"integer\"}," TEXT("message") "," TEXT("status")))},
    {"OllamaError", OBJECT(TEXT("error"))},
};

struct str openapi_document(struct arena *a)
{
    struct buf b;
    buf_init_arena(&b, a, 16u << 20);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "openapi", "3.1.0");
    jw_key(&w, "info");
    jw_object(&w);
    jw_kv_cstr(&w, "title", "sluice");
    jw_kv_cstr(&w, "version", sluice_version);
    jw_kv_cstr(&w, "summary", "Any client format to any model");
    jw_key(&w, "license");
    jw_object(&w);
    jw_kv_cstr(&w, "name", "Apache-2.0");
    jw_kv_cstr(&w, "identifier", "Apache-2.0");
    jw_object_end(&w);
    jw_object_end(&w);
    jw_key(&w, "servers");
    jw_array(&w);
    jw_object(&w);
    jw_kv_cstr(&w, "url", "/");
    jw_object_end(&w);
    jw_array_end(&w);
    jw_key(&w, "tags");
    jw_array(&w);
    for (size_t i = 0; i < ARRAY_LEN(surface_tags); i++) {
        jw_object(&w);
        jw_kv_cstr(&w, "name", surface_tags[i]);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_key(&w, "paths");
    jw_object(&w);
    for (size_t i = 0; endpoint_at(i); i++) {
        const char *path = endpoint_at(i)->path;
        if (!is_first_of_path(i, path))
            continue;
        jw_key_str(&w, documented_path(a, path));
        jw_object(&w);
        for (size_t k = i; endpoint_at(k); k++)
            if (strcmp(endpoint_at(k)->path, path) == 0)
                write_operation(&w, a, endpoint_at(k));
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_key(&w, "components");
    jw_object(&w);
    jw_key(&w, "schemas");
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(components); i++) {
        jw_key(&w, components[i].name);
        jw_raw(&w, str_of(components[i].json));
    }
    jw_object_end(&w);
    jw_key(&w, "securitySchemes");
    jw_raw(&w, STR("{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
                   "\"xApiKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-api-key\"},"
                   "\"xGoogApiKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-goog-api-key\"},"
                   "\"queryKey\":{\"type\":\"apiKey\",\"in\":\"query\",\"name\":\"key\"}}"));
    jw_object_end(&w);
    jw_object_end(&w);
    return buf_str(&b);
}
