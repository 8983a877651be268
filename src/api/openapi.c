/* openapi.c - the endpoint table as an OpenAPI 3.1 document. */
#include "api/api.h"
#include "api/examples.h"
#include "api/surface/surface.h"
#include "version.h"
#include "gate/identity.h"
#include "json/shape.h"

/* What each operation's body must hold, beyond what its format's own documentation says. */
static const struct {
    enum op op;
    const char *required; /* comma list */
    const char *example;
} op_bodies[] = {
    {OP_CHAT, "model,messages",
     "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {OP_COMPLETIONS, "model,prompt", "{\"model\":\"echo\",\"prompt\":\"Hello\"}"},
    {OP_RESPONSES, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_MESSAGES, "model,messages,max_tokens",
     "{\"model\":\"echo\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}"
     "]}"},
    {OP_GEMINI, "contents",
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hello\"}]}]}"},
    {OP_OLLAMA_CHAT, "model,messages",
     "{\"model\":\"echo\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"
     "}"},
    {OP_OLLAMA_GENERATE, "model", "{\"model\":\"echo\",\"stream\":false,\"prompt\":\"Hello\"}"},
    {OP_COUNT_ANTHROPIC, "model,messages",
     "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {OP_COUNT_GEMINI, "", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hello\"}]}]}"},
    {OP_COUNT_RESPONSES, "model", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_COMPACT, "model", "{\"model\":\"gpt\",\"input\":\"Hello\"}"},
    {OP_EMBED_OPENAI, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_EMBED_GEMINI, "", "{\"content\":{\"parts\":[{\"text\":\"Hello\"}]}}"},
    {OP_EMBED_OLLAMA, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_IMAGE_GENERATE, "model,prompt", "{\"model\":\"echo\",\"prompt\":\"A lighthouse\"}"},
    {OP_SPEECH, "model,input", "{\"model\":\"echo\",\"input\":\"Hello\",\"voice\":\"alloy\"}"},
    {OP_MODERATE, "input", "{\"model\":\"echo\",\"input\":\"Hello\"}"},
    {OP_RERANK, "model,query,documents",
     "{\"model\":\"echo\",\"query\":\"tea\",\"documents\":[\"tea\",\"coffee\"]}"},
    {OP_IMAGE_EDIT, "model,image,prompt", NULL},
    {OP_TRANSCRIBE, "model,file", NULL},
    {OP_TRANSLATE, "model,file", NULL},
};

#define OBJECT(props) "{\"type\":\"object\",\"properties\":{" props "}}"
#define TEXT(name) "\"" name "\":{\"type\":\"string\"}"

/* The fields that op_bodies names. Their insides are the formats' own affair: sluice carries fields that it does not know. */
static const struct {
    const char *name, *json;
} fields[] = {
    {"model", "{\"type\":\"string\",\"description\":\"A served name, or provider/model\"}"},
    {"messages", "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"},
    {"contents", "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"},
    {"max_tokens", "{\"type\":\"integer\",\"minimum\":1}"},
    {"prompt", "{\"type\":[\"string\",\"array\"],\"items\":{}}"},
    {"input", "{\"type\":[\"string\",\"array\"],\"items\":{}}"},
    {"query", "{\"type\":\"string\"}"},
    {"documents", "{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"object\"]}}"},
    {"file", "{\"type\":\"string\",\"contentMediaType\":\"application/octet-stream\"}"},
    {"image", "{\"type\":\"string\",\"contentMediaType\":\"application/octet-stream\"}"},
    {"stream", "{\"type\":\"boolean\",\"description\":\"Whether the answer comes in pieces\"}"},
};

/* Query parameters, beside those that only an upstream reads. */
static const struct {
    enum http_method method;
    const char *path; /* a whole one, or its end from a colon on */
    const char *name, *json, *text;
} queries[] = {
    {HTTP_POST, ":streamGenerateContent", "alt",
     "{\"type\":\"string\",\"enum\":[\"sse\",\"json\"]}",
     "sse: server-sent events; otherwise one JSON array"},
    {HTTP_GET, "/v1/models", "limit", "{\"type\":\"integer\"}",
     "Most models in one answer (Anthropic format only)"},
    {HTTP_GET, "/v1/models", "after_id", "{\"type\":\"string\"}",
     "Begin after this model (Anthropic format only)"},
    {HTTP_GET, "/v1/models", "before_id", "{\"type\":\"string\"}",
     "End before this model (Anthropic format only)"},
    {HTTP_GET, "/v1beta/models", "pageSize", "{\"type\":\"integer\"}", "Most models in one answer"},
    {HTTP_GET, "/v1beta/models", "pageToken", "{\"type\":\"string\"}",
     "nextPageToken of the answer before"},
};

static const char *field_json(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (str_eq(name, str_of(fields[i].name)))
            return fields[i].json;
    return "{}";
}

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
    jw_key(w, "properties");
    jw_object(w);
    for (struct str rest = str_of(required), one; rest.n;) {
        rest = str_cut(rest, ',', &one);
        jw_key_str(w, one);
        jw_raw(w, str_of(field_json(one)));
    }
    if (e->relay->shape == RELAY_TALK && e->relay->op != OP_GEMINI) {
        jw_key(w, "stream");
        jw_raw(w, str_of(field_json(STR("stream"))));
    }
    jw_object_end(w);
    if (*required) {
        jw_key(w, "required");
        jw_array(w);
        for (struct str rest = str_of(required), one; rest.n;) {
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

static void write_headers(struct jw *w, const struct endpoint *e, bool is_success)
{
    jw_key(w, "headers");
    jw_object(w);
    jw_key(w, "x-request-id");
    jw_raw(w, STR("{\"$ref\":\"#/components/headers/RequestId\"}"));
    if (is_success && (e->has_tag || endpoint_is_repeatable(e)) && e->status != 204) {
        jw_key(w, "etag");
        jw_raw(
            w,
            STR("{\"schema\":{\"type\":\"string\"},\"description\":\"Changes with the object\"}"));
    }
    if (is_success && e->relay && e->relay->shape == RELAY_TALK) {
        jw_key(w, "x-sluice-dropped");
        jw_raw(w, STR("{\"$ref\":\"#/components/headers/Dropped\"}"));
    }
    if (is_success && e->relay) {
        jw_key(w, "x-sluice-degraded");
        jw_raw(w, STR("{\"$ref\":\"#/components/headers/Degraded\"}"));
    }
    jw_object_end(w);
}

static void write_error_response(struct jw *w, const struct endpoint *e, const char *status,
                                 const char *text)
{
    const char *schema = surface_of(e->surface)->error_schema;
    jw_key(w, status);
    jw_object(w);
    jw_kv_cstr(w, "description", text);
    write_headers(w, e, false);
    write_content(w, "application/json");
    ref(w, schema);
    end_content(w);
    jw_object_end(w);
}

static const char *media_of(const struct endpoint *e)
{
    if (e->media)
        return e->media;
    if (str_ends(str_of(e->path), STR("/docs")) || str_is(str_of(e->path), "/sluice/claim") ||
        str_starts(str_of(e->path), STR("/dashboard/")))
        return "text/html";
    if (str_ends(str_of(e->path), STR(".css")))
        return "text/css";
    if (str_ends(str_of(e->path), STR(".js")))
        return "text/javascript";
    if (e->relay && e->relay->op == OP_SPEECH)
        return "audio/*";
    return "application/json";
}

static const char *stream_media_of(const struct endpoint *e)
{
    if (e->has_csv)
        return "text/csv";
    if (!e->relay || e->relay->shape != RELAY_TALK ||
        str_ends(str_of(e->path), STR(":generateContent")))
        return NULL;
    return wire_of(e->relay->client)->framing == FRAMING_NDJSON ? "application/x-ndjson"
                                                                : "text/event-stream";
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

static void end_list(struct jw *w, bool is_page)
{
    jw_object_end(w);
    if (is_page) {
        jw_key(w, "has_more");
        jw_raw(w, STR("{\"type\":\"boolean\",\"description\":\"Whether another page follows\"}"));
        jw_key(w, "next");
        jw_raw(w,
               STR("{\"type\":[\"string\",\"null\"],\"description\":\"The next page's after\"}"));
    }
    jw_object_end(w);
    jw_key(w, "required");
    jw_raw(w, is_page ? STR("[\"data\",\"has_more\",\"next\"]") : STR("[\"data\"]"));
    jw_object_end(w);
}

/* An example of what the row answers, in what is put around it. */
static void write_out_example(struct jw *w, const struct endpoint *e)
{
    jw_key(w, "example");
    if (e->is_list || e->is_page) {
        jw_object(w);
        jw_key(w, "data");
    }
    if (e->is_list || e->is_page || e->is_array)
        jw_array(w);
    if (e->out)
        example_value(e->out, w);
    if (e->is_list || e->is_page || e->is_array)
        jw_array_end(w);
    if (e->is_page) {
        jw_kv_bool(w, "has_more", false);
        jw_key(w, "next");
        jw_null(w);
    }
    if (e->is_list || e->is_page)
        jw_object_end(w);
}

static void write_success(struct jw *w, const struct endpoint *e)
{
    jw_key(w, e->status == 201 ? "201" : "200");
    jw_object(w);
    jw_kv_cstr(w, "description", "Done");
    write_headers(w, e, true);
    jw_key(w, "content");
    jw_object(w);
    jw_key(w, media_of(e));
    jw_object(w);
    jw_key(w, "schema");
    if (e->is_array) {
        jw_object(w);
        jw_kv_cstr(w, "type", "array");
        jw_key(w, "items");
        if (e->out)
            shape_schema_out(e->out, w);
        else
            jw_raw(w, STR("{\"type\":\"string\"}"));
        jw_object_end(w);
    } else if (e->out) {
        bool is_list = e->is_list || e->is_page;
        if (is_list)
            begin_list(w);
        shape_schema_out(e->out, w);
        if (is_list)
            end_list(w, e->is_page);
    } else {
        bool is_json = strcmp(media_of(e), "application/json") == 0;
        jw_object(w);
        jw_kv_cstr(w, "type",
                   !is_json                                                   ? "string"
                   : str_ends(str_of(e->path), STR(":streamGenerateContent")) ? "array"
                                                                              : "object");
        jw_object_end(w);
    }
    if (e->out || e->is_array)
        write_out_example(w, e);
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
    bool takes_body = e->relay || e->in || e->query || e->is_list || e->is_page,
         has_name = strchr(e->path, '{') != NULL;
    bool asks_upstream = strstr(e->path, "/providers/") &&
                         str_ends(str_of(e->path), STR("/models"));
    /* any row may say 400 or 404 */
    bool is_omniroute = surface_of(e->surface)->adapt == omniroute_adapt;
    takes_body |= is_omniroute;
    has_name |= is_omniroute;
    asks_upstream |= is_omniroute && e->waits;
    bool reads_file = str_ends(str_of(e->path), STR("/reload"));
    jw_key(w, "responses");
    jw_object(w);
    if (e->status == 204 || e->status == 307) {
        jw_key(w, e->status == 204 ? "204" : "307");
        jw_object(w);
        jw_kv_cstr(w, "description", e->status == 204 ? "Done" : "Location says where");
        write_headers(w, e, true);
        jw_object_end(w);
    } else {
        write_success(w, e);
    }
    if (e->has_tag && e->method == HTTP_GET && e->is_live) {
        /* always told anew */
    } else if (e->has_tag && e->method == HTTP_GET) {
        jw_key(w, "304");
        jw_raw(w, STR("{\"description\":\"It is what If-None-Match says\"}"));
    } else if (e->has_tag) {
        write_error_response(w, e, "412",
                             "It is no longer what If-Match says, or is there although "
                             "If-None-Match says that it is not");
    } else if (e->on_worker &&
               (e->method == HTTP_PUT || e->method == HTTP_PATCH || e->method == HTTP_DELETE)) {
        write_error_response(w, e, "412", "If-Match names an ETag, and nothing has one here");
    }
    if (takes_body)
        write_error_response(w, e, "400", "The request is wrong; the message names the field");
    else if (reads_file)
        write_error_response(w, e, "400", "The configuration is wrong; the one in force stays");
    else if (e->on_worker && e->surface == SURFACE_SLUICE)
        write_error_response(w, e, "400", "A parameter of the query is not known");
    if (access_is_control(e->access)) {
        write_error_response(w, e, "401", "Nobody has signed in, or the session is over");
        write_error_response(w, e, "403", "The role does not allow this");
    } else if (e->access != ACCESS_PUBLIC) {
        write_error_response(w, e, "401", "No key, or an unknown one");
        write_error_response(w, e, "403", "The key may not do this");
    } else if (is_omniroute && e->method == HTTP_POST && !e->takes_password) {
        write_error_response(w, e, "403", "A page of another origin may not do this");
    } else if (e->takes_password) {
        write_error_response(w, e, "401", "The password is wrong, or the link is void");
        write_error_response(w, e, "403", "A page of another origin may not sign in");
        write_error_response(w, e, "429", "Too many failed attempts from this address");
    }
    if (e->relay)
        write_error_response(w, e, "404", "Unknown model");
    else if (has_name || e->query)
        write_error_response(w, e, "404", "Not found");
    if (e->on_worker && e->method != HTTP_GET && !reads_file)
        write_error_response(w, e, "409",
                             "It exists already, is in use, or is not the API's to change");
    if (e->on_worker)
        write_error_response(w, e, "500", "It failed inside; the log says more");
    if (e->on_worker && asks_upstream)
        write_error_response(w, e, "502", "The upstream failed");
    if (e->relay || e->in) {
        write_error_response(w, e, "413", "The body is too large");
        write_error_response(w, e, "415", "The media type is not taken");
    }
    if (e->relay) {
        write_error_response(w, e, "429",
                             "The upstream's limit is reached; Retry-After says for how long");
        write_error_response(w, e, "502", "The upstream failed");
        write_error_response(w, e, "503", "No capacity");
        write_error_response(w, e, "504", "The upstream took too long");
    } else if (str_ends(str_of(e->path), STR("/readyz"))) {
        jw_key(w, "503");
        jw_raw(w, STR("{\"description\":\"It drains and takes no new "
                      "requests\",\"content\":{\"application/json\":"
                      "{\"schema\":" OBJECT(TEXT("status")) "}}}"));
    }
    jw_object_end(w);
}

static void begin_parameter(struct jw *w, struct str name, const char *in, bool is_required)
{
    jw_object(w);
    jw_kv_str(w, "name", name);
    jw_kv_cstr(w, "in", in);
    jw_kv_bool(w, "required", is_required);
}

static void header_parameter(struct jw *w, const char *name, const char *text)
{
    begin_parameter(w, str_of(name), "header", false);
    jw_kv_cstr(w, "description", text);
    jw_key(w, "schema");
    jw_raw(w, STR("{\"type\":\"string\"}"));
    jw_object_end(w);
}

static void write_preconditions(struct jw *w, const struct endpoint *e)
{
    if (endpoint_is_repeatable(e))
        header_parameter(w, "idempotency-key",
                         "Any text: sent again with the same one, nothing is made twice");
    else if (e->has_tag && e->method != HTTP_GET)
        header_parameter(w, "if-match", "ETag of an earlier answer");
    else if (e->has_tag && !e->is_live)
        header_parameter(w, "if-none-match", "ETag of an earlier answer");
    if (e->has_tag && e->method == HTTP_PUT && strchr(e->path, '{'))
        header_parameter(w, "if-none-match", "*: make it, do not replace one");
}

static void write_parameters(struct jw *w, const struct endpoint *e)
{
    jw_key(w, "parameters");
    jw_array(w);
    for (const char *p = e->path; (p = strchr(p, '{')) != NULL; p++) {
        size_t n = strcspn(p + 1, "*}");
        begin_parameter(w, str_n(p + 1, n), "path", true);
        if (p[1 + n] == '*')
            jw_kv_cstr(w, "description", "May hold slashes, written as they are or as %2F");
        jw_key(w, "schema");
        jw_raw(w, STR("{\"type\":\"string\"}"));
        jw_object_end(w);
    }
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct str path = str_of(e->path), want = str_of(queries[i].path);
        if (e->method != queries[i].method ||
            (*want.p == ':' ? !str_ends(path, want) : !str_eq(path, want)))
            continue;
        begin_parameter(w, str_of(queries[i].name), "query", false);
        jw_kv_cstr(w, "description", queries[i].text);
        jw_key(w, "schema");
        jw_raw(w, str_of(queries[i].json));
        jw_object_end(w);
    }
    write_preconditions(w, e);
    for (size_t i = 0; e->query && i < e->query->n_fields; i++) {
        const struct field *f = &e->query->fields[i];
        begin_parameter(w, str_of(f->name), "query", (f->flags & REQUIRED) != 0);
        jw_kv_cstr(w, "description", f->doc);
        if (f->kind == SHAPE_STRS) {
            jw_kv_cstr(w, "style", "form");
            jw_kv_bool(w, "explode", false); /* one comma list */
        }
        jw_key(w, "schema");
        shape_field_schema(f, w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_scheme(struct jw *w, const char *name)
{
    jw_object(w);
    jw_key(w, name);
    jw_array(w);
    jw_array_end(w);
    jw_object_end(w);
}

/* Where a credential may stand: gate/admit.h. A surface's own cookie is a scheme called like it. */
static void write_security(struct jw *w, const struct endpoint *e)
{
    static const char *const headers[] = {"bearer", "xApiKey", "xGoogApiKey"};
    const char *cookie = surface_of(e->surface)->cookie;
    jw_key(w, "security");
    jw_array(w);
    for (size_t i = 0; e->access != ACCESS_PUBLIC && i < ARRAY_LEN(headers); i++)
        write_scheme(w, headers[i]);
    if (access_is_control(e->access)) {
        write_scheme(w, "xAdminToken");
        write_scheme(w, "session");
        if (cookie)
            write_scheme(w, cookie);
    } else if (e->access != ACCESS_PUBLIC) {
        write_scheme(w, "queryKey");
    }
    jw_array_end(w);
}

static bool is_first_with_cookie(size_t at)
{
    const char *cookie = surface_of((enum surface)at)->cookie;
    for (size_t i = 0; i < at; i++)
        if (surface_of((enum surface)i)->cookie &&
            strcmp(surface_of((enum surface)i)->cookie, cookie) == 0)
            return false;
    return true;
}

static void write_cookie_scheme(struct jw *w, const char *scheme, const char *cookie)
{
    jw_key(w, scheme);
    jw_object(w);
    jw_kv_cstr(w, "type", "apiKey");
    jw_kv_cstr(w, "in", "cookie");
    jw_kv_cstr(w, "name", cookie);
    jw_object_end(w);
}

static void write_schemes(struct jw *w)
{
    static const struct {
        const char *name, *json;
    } schemes[] = {
        {"bearer", "{\"type\":\"http\",\"scheme\":\"bearer\"}"},
        {"xApiKey", "{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-api-key\"}"},
        {"xGoogApiKey", "{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-goog-api-key\"}"},
        {"queryKey", "{\"type\":\"apiKey\",\"in\":\"query\",\"name\":\"key\"}"},
        {"xAdminToken", "{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-admin-token\"}"},
    };
    jw_key(w, "securitySchemes");
    jw_object(w);
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        jw_key(w, schemes[i].name);
        jw_raw(w, str_of(schemes[i].json));
    }
    write_cookie_scheme(w, "session", SESSION_COOKIE);
    for (size_t i = 0; i < surface_count(); i++)
        if (surface_of((enum surface)i)->cookie && is_first_with_cookie(i))
            write_cookie_scheme(w, surface_of((enum surface)i)->cookie,
                                surface_of((enum surface)i)->cookie);
    jw_object_end(w);
}

static void write_operation(struct jw *w, struct arena *a, const struct endpoint *e)
{
    static const char *const methods[] = {"get",   "head",   "post",    "put",
                                          "patch", "delete", "options", "trace"};
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
    jw_cstr(w, surface_of(e->surface)->title);
    jw_array_end(w);
    write_parameters(w, e);
    if (e->relay) {
        write_relay_body(w, e);
    } else if (e->in) {
        jw_key(w, "requestBody");
        jw_object(w);
        jw_kv_bool(w, "required", true);
        write_content(w, e->takes_form ? "multipart/form-data" : "application/json");
        shape_schema(e->in, w);
        if (!e->takes_form) {
            jw_key(w, "example");
            example_request(e, w);
        }
        end_content(w);
        jw_object_end(w);
    }
    write_security(w, e);
    jw_kv_cstr(w, "x-sluice-access", access_name(e->access));
    jw_kv_bool(w, "x-sluice-audited", endpoint_is_audited(e));
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

static const struct {
    const char *name, *json;
} components[] = {
    {"OpenAIError", OBJECT("\"error\":" OBJECT(TEXT("message") "," TEXT(
                        "type") ",\"param\":{\"type\":[\"string\",\"null\"]},\"code\":{\"type\":["
                                "\"string\",\"null\"]}"))},
    {"AnthropicError", OBJECT(TEXT("type") ",\"error\":" OBJECT(
                           TEXT("type") "," TEXT("message")) "," TEXT("request_id"))},
    {"GoogleError", OBJECT("\"error\":" OBJECT(
                        "\"code\":{\"type\":\"integer\"}," TEXT("message") "," TEXT("status")))},
    {"OllamaError", OBJECT(TEXT("error"))},
    {"OmniRouteError",
     "{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":["
     "\"string\","
     "\"object\"],\"properties\":{" TEXT("message") "," TEXT("code") "," TEXT("type") "," TEXT(
         "correlation_id") ",\"details\":{\"type\":\"array\","
                           "\"items\":" OBJECT(TEXT("field") "," TEXT("messag"
                                                                      "e")) "}"
                                                                            "}"
                                                                            "}"
                                                                            "}"
                                                                            "}"},
    {"OmniRouteTypedError",
     "{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{"
     "\"error\":" OBJECT(TEXT("message") "," TEXT("type") "," TEXT("code") "," TEXT(
         "cor"
         "rel"
         "ati"
         "on_"
         "id") ",\"details\":{\"type\":\"array\",\"items\":" OBJECT(TEXT("field") "," TEXT("messag"
                                                                                           "e")) "}") "," TEXT("requestId") "}}"},
    {"RosettaError",
     OBJECT(TEXT("error") ",\"saved\":{\"type\":\"boolean\"},\"reloaded\":{\"type\":\"boolean\"}")},
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
    jw_kv_cstr(&w, "description",
               "Every operation answers in the format of its path, errors included. Where the "
               "model's provider speaks another "
               "format, requests and answers are translated; what it cannot be told is named in "
               "x-sluice-dropped.");
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
    for (size_t i = 0; i < surface_count(); i++) {
        jw_object(&w);
        jw_kv_cstr(&w, "name", surface_of((enum surface)i)->title);
        jw_kv_cstr(&w, "description", surface_of((enum surface)i)->text);
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
    jw_key(&w, "headers");
    jw_raw(&w, STR("{\"RequestId\":{\"description\":\"Names this request in the "
                   "log\",\"schema\":{\"type\":\"string\"}},"
                   "\"Dropped\":{\"description\":\"Fields that the provider's format has no place "
                   "for, comma-separated; absent when nothing was "
                   "lost\",\"schema\":{\"type\":\"string\"}},"
                   "\"Degraded\":{\"description\":\"`store` while the store refuses writes or "
                   "stalls: the answer is good, its record waits\","
                   "\"schema\":{\"type\":\"string\"}}}"));
    write_schemes(&w);
    jw_object_end(&w);
    jw_object_end(&w);
    return buf_str(&b);
}
