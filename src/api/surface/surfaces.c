/* surfaces.c - the table of surfaces. */
#include "api/surface/surface.h"
#include "base/banned.h"

#define NEVER_KEPT "no-cache, no-store, must-revalidate"

#define OMNIROUTE_HABITS                                                            \
    .cookie = "auth_token", .adapt = omniroute_adapt, .has_uuids = true,            \
    .max_body_bytes = 10485760, .is_administrative = true, .takes_any_media = true, \
    .unauthenticated = "Authentication required", .bad_json = "Invalid JSON body",  \
    .too_large = "Request body exceeds the limit"

static const struct surface_def surfaces[] = {
    [SURFACE_OPENAI] = {.name = "openai",
                        .title = "OpenAI",
                        .text = "Chat Completions, Responses and what belongs to them, in OpenAI's "
                                "format",
                        .error_schema = "OpenAIError",
                        .wire = WIRE_CHAT},
    [SURFACE_ANTHROPIC] = {.name = "anthropic",
                           .title = "Anthropic",
                           .text = "Messages, in Anthropic's format",
                           .error_schema = "AnthropicError",
                           .wire = WIRE_ANTHROPIC,
                           .paths = "/v1/messages",
                           .mount = "/anthropic"},
    [SURFACE_GOOGLE] = {.name = "google",
                        .title = "Google",
                        .text = "Generate content, in Gemini's format",
                        .error_schema = "GoogleError",
                        .wire = WIRE_GEMINI,
                        .paths = "/v1beta",
                        .mount = "/genai"},
    [SURFACE_OLLAMA] = {.name = "ollama",
                        .title = "Ollama",
                        .text = "Chat and generate, in Ollama's format",
                        .error_schema = "OllamaError",
                        .wire = WIRE_OLLAMA,
                        .paths = "/api/"},
    [SURFACE_SLUICE] = {.name = "sluice",
                        .title = "sluice",
                        .text = "The node itself: health, documents, configuration",
                        .error_schema = "OpenAIError",
                        .wire = WIRE_CHAT},
    [SURFACE_ROSETTA] = {.cookie = "rosetta_admin_session",
                         .name = "rosetta",
                         .title = "llm-rosetta",
                         .text = "The control plane as llm-rosetta's panel and scripts use it",
                         .error_schema = "RosettaError",
                         .wire = WIRE_NONE,
                         .write_error = rosetta_write_error,
                         .adapt = rosetta_adapt,
                         .paths = "/admin",
                         .token_header = "x-admin-token",
                         .cache_control = NEVER_KEPT,
                         .max_body_bytes = 50000000,
                         .is_administrative = true,
                         .takes_any_media = true,
                         .unauthenticated = "Admin authentication required",
                         .not_found = "Not Found",
                         .bad_method = "Method Not Allowed",
                         .bad_json = "Invalid JSON body",
                         .too_large = "Request body too large"},
    [SURFACE_OMNIROUTE] = {.name = "omniroute",
                           .title = "OmniRoute",
                           .text = "The control plane as OmniRoute's dashboard and scripts use it",
                           .error_schema = "OmniRouteError",
                           .wire = WIRE_NONE,
                           .write_error = omniroute_write_error,
                           OMNIROUTE_HABITS},
    [SURFACE_OMNIROUTE_TYPED] = {.name = "omniroute-typed",
                                 .title = "OmniRoute, typed errors",
                                 .text = "The part of it whose errors have a type and name the "
                                         "request",
                                 .error_schema = "OmniRouteTypedError",
                                 .wire = WIRE_NONE,
                                 .write_error = omniroute_write_typed_error,
                                 OMNIROUTE_HABITS},
};

const struct surface_def *surface_of(enum surface s)
{
    return &surfaces[(unsigned)s < ARRAY_LEN(surfaces) ? s : SURFACE_OPENAI];
}

size_t surface_count(void)
{
    return ARRAY_LEN(surfaces);
}

/* "/admin" is below "/admin" and so is "/admin/x", but not "/administer". */
static bool is_below(struct str path, struct str root)
{
    return str_starts(path, root) &&
           (path.n == root.n || root.p[root.n - 1] == '/' || path.p[root.n] == '/');
}

enum surface surface_of_path(struct str came, struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(surfaces); i++)
        if (surfaces[i].mount && is_below(came, str_of(surfaces[i].mount)))
            return (enum surface)i;
    if (str_starts(path, STR("/v1/models/")) && str_contains(path, STR(":")))
        return SURFACE_GOOGLE; /* Google's newer clients */
    for (size_t i = 0; i < ARRAY_LEN(surfaces); i++)
        if (surfaces[i].paths && is_below(path, str_of(surfaces[i].paths)))
            return (enum surface)i;
    return SURFACE_OPENAI;
}

enum surface surface_of_caller(const struct http_req *r)
{
    if (http_req_header(r, "x-goog-api-key").n || http_req_header(r, "x-goog-api-client").n)
        return SURFACE_GOOGLE;
    return http_req_header(r, "anthropic-version").n ? SURFACE_ANTHROPIC : SURFACE_OPENAI;
}

static void say(struct err *e, const char *text)
{
    if (text)
        (void)snprintf(e->message, sizeof e->message, "%s", text);
}

void surface_phrase(const struct surface_def *s, const char *bad_json, uint64_t body_bytes,
                    struct err *e)
{
    switch (e->kind) {
    case ERR_UNAUTHENTICATED:
        say(e, s->unauthenticated);
        break;
    case ERR_METHOD:
        say(e, s->bad_method);
        break;
    case ERR_NOT_FOUND:
        say(e, s->not_found);
        break;
    case ERR_INPUT:
        if (strcmp(e->code, "invalid_json") == 0)
            say(e, bad_json ? bad_json : s->bad_json);
        break;
    case ERR_TOO_LARGE:
        if (s->too_large && err_status(e) == 413)
            (void)snprintf(e->message, sizeof e->message, "%s (%llu bytes)", s->too_large,
                           (unsigned long long)body_bytes);
        break;
    case ERR_NONE:
    case ERR_UNSUPPORTED:
    case ERR_CONTEXT_LENGTH:
    case ERR_NO_FUNDS:
    case ERR_FORBIDDEN:
    case ERR_CONFLICT:
    case ERR_LENGTH_REQUIRED:
    case ERR_MEDIA_TYPE:
    case ERR_RATE_LIMITED:
    case ERR_CANCELLED:
    case ERR_INTERNAL:
    case ERR_UNIMPLEMENTED:
    case ERR_UPSTREAM:
    case ERR_OVERLOADED:
    case ERR_TIMEOUT:
        break;
    }
}
