/* Errors: any upstream's envelope to struct err, and the words each client family has for a kind. */
#include "base/banned.h"
#include "wire/common.h"

struct kind_words {
    enum err_kind kind;
    const char *openai_type, *openai_code, *anthropic_type, *google_status;
};
static const struct kind_words kinds[] = {
    /* clang-format off */
    {ERR_INPUT,           "invalid_request_error", NULL,                      "invalid_request_error", "INVALID_ARGUMENT"},
    {ERR_UNSUPPORTED,     "invalid_request_error", "unsupported_parameter",   "invalid_request_error", "INVALID_ARGUMENT"},
    {ERR_CONTEXT_LENGTH,  "invalid_request_error", "context_length_exceeded", "invalid_request_error", "INVALID_ARGUMENT"},
    {ERR_UNAUTHENTICATED, "authentication_error",  "invalid_api_key",         "authentication_error",  "UNAUTHENTICATED"},
    {ERR_NO_FUNDS,        "insufficient_quota",    "insufficient_quota",      "billing_error",         "RESOURCE_EXHAUSTED"},
    {ERR_FORBIDDEN,       "permission_error",      NULL,                      "permission_error",      "PERMISSION_DENIED"},
    {ERR_NOT_FOUND,       "invalid_request_error", NULL,                      "not_found_error",       "NOT_FOUND"},
    {ERR_METHOD,          "invalid_request_error", NULL,                      "invalid_request_error", "INVALID_ARGUMENT"},
    {ERR_CONFLICT,        "invalid_request_error", NULL,                      "invalid_request_error", "ABORTED"},
    {ERR_LENGTH_REQUIRED, "invalid_request_error", NULL,                      "invalid_request_error", "INVALID_ARGUMENT"},
    {ERR_TOO_LARGE,       "invalid_request_error", NULL,                      "request_too_large",     "INVALID_ARGUMENT"},
    {ERR_MEDIA_TYPE,      "invalid_request_error", NULL,                      "invalid_request_error", "INVALID_ARGUMENT"},
    {ERR_RATE_LIMITED,    "rate_limit_error",      "rate_limit_exceeded",     "rate_limit_error",      "RESOURCE_EXHAUSTED"},
    {ERR_CANCELLED,       "server_error",          "request_cancelled",       "api_error",             "CANCELLED"},
    {ERR_INTERNAL,        "server_error",          "internal_server_error",   "api_error",             "INTERNAL"},
    {ERR_UNIMPLEMENTED,   "server_error",          "not_implemented",         "api_error",             "UNIMPLEMENTED"},
    {ERR_UPSTREAM,        "server_error",          "bad_gateway",             "api_error",             "UNAVAILABLE"},
    {ERR_OVERLOADED,      "server_error",          "service_unavailable",     "overloaded_error",      "UNAVAILABLE"},
    {ERR_TIMEOUT,         "server_error",          "gateway_timeout",         "timeout_error",         "DEADLINE_EXCEEDED"},
    /* clang-format on */
};

static const struct kind_words *words_of(const struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].kind == e->kind)
            return &kinds[i];
    return &kinds[ARRAY_LEN(kinds) - 5]; /* internal */
}

const char *wire_openai_error_type(const struct err *e)
{
    return words_of(e)->openai_type;
}

const char *wire_openai_error_code(const struct err *e)
{
    return e->code[0] ? e->code : words_of(e)->openai_code;
}

const char *wire_anthropic_error_type(const struct err *e)
{
    return words_of(e)->anthropic_type;
}

const char *wire_google_error_status(const struct err *e)
{
    return words_of(e)->google_status;
}

void wire_openai_error(struct jw *w, const struct err *e)
{
    jw_object(w);
    jw_kv_cstr(w, "message", e->message);
    jw_kv_cstr(w, "type", wire_openai_error_type(e));
    jw_kv_cstr(w, "param", e->field[0] ? e->field : NULL);
    jw_kv_cstr(w, "code", wire_openai_error_code(e));
    jw_object_end(w);
}

/* ---- reading ---- */
static enum err_kind kind_of_status(int status)
{
    static const struct {
        int status;
        enum err_kind kind;
    } rows[] = {
        {400, ERR_INPUT},         {401, ERR_UNAUTHENTICATED}, {402, ERR_NO_FUNDS},
        {403, ERR_FORBIDDEN},     {404, ERR_NOT_FOUND},       {405, ERR_METHOD},
        {408, ERR_TIMEOUT},       {409, ERR_CONFLICT},        {410, ERR_NOT_FOUND},
        {413, ERR_TOO_LARGE},     {415, ERR_MEDIA_TYPE},      {422, ERR_INPUT},
        {424, ERR_UPSTREAM},      {425, ERR_OVERLOADED},      {429, ERR_RATE_LIMITED},
        {501, ERR_UNIMPLEMENTED}, {503, ERR_OVERLOADED},      {504, ERR_TIMEOUT},
        {524, ERR_TIMEOUT},       {529, ERR_OVERLOADED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].status == status)
            return rows[i].kind;
    return status >= 400 && status < 500 ? ERR_INPUT : ERR_UPSTREAM;
}

/* What type, code and status strings mean; sharp: it overrules the HTTP status, which says less. */
static const struct {
    const char *text;
    enum err_kind kind;
    bool is_sharp;
} error_words[] = {
    /* clang-format off */
    {"insufficient_quota",        ERR_NO_FUNDS,        true},
    {"billing_error",             ERR_NO_FUNDS,        true},
    {"billing_hard_limit_reached", ERR_NO_FUNDS,       true},
    {"insufficient_balance",      ERR_NO_FUNDS,        true},
    {"context_length_exceeded",   ERR_CONTEXT_LENGTH,  true},
    {"exceed_context_size_error", ERR_CONTEXT_LENGTH,  true},
    {"string_above_max_length",   ERR_CONTEXT_LENGTH,  true},
    {"model_not_found",           ERR_NOT_FOUND,       true},
    {"overloaded_error",          ERR_OVERLOADED,      true},
    {"request_too_large",         ERR_TOO_LARGE,       true},
    {"invalid_api_key",           ERR_UNAUTHENTICATED, true},
    {"API_KEY_INVALID",           ERR_UNAUTHENTICATED, true},
    {"unsupported_parameter",     ERR_UNSUPPORTED,     true},
    {"rate_limit_error",          ERR_RATE_LIMITED,    false},
    {"rate_limit_exceeded",       ERR_RATE_LIMITED,    false},
    {"RESOURCE_EXHAUSTED",        ERR_RATE_LIMITED,    false},
    {"tokens",                    ERR_RATE_LIMITED,    false},
    {"requests",                  ERR_RATE_LIMITED,    false},
    {"UNAVAILABLE",               ERR_OVERLOADED,      false},
    {"service_unavailable",       ERR_OVERLOADED,      false},
    {"authentication_error",      ERR_UNAUTHENTICATED, false},
    {"UNAUTHENTICATED",           ERR_UNAUTHENTICATED, false},
    {"permission_error",          ERR_FORBIDDEN,       false},
    {"PERMISSION_DENIED",         ERR_FORBIDDEN,       false},
    {"not_found_error",           ERR_NOT_FOUND,       false},
    {"NOT_FOUND",                 ERR_NOT_FOUND,       false},
    {"timeout_error",             ERR_TIMEOUT,         false},
    {"DEADLINE_EXCEEDED",         ERR_TIMEOUT,         false},
    {"invalid_request_error",     ERR_INPUT,           false},
    {"INVALID_ARGUMENT",          ERR_INPUT,           false},
    {"FAILED_PRECONDITION",       ERR_INPUT,           false},
    {"not_supported_error",       ERR_UNIMPLEMENTED,   false},
    {"api_error",                 ERR_UPSTREAM,        false},
    {"server_error",              ERR_UPSTREAM,        false},
    {"INTERNAL",                  ERR_UPSTREAM,        false},
    /* clang-format on */
};

static bool kind_of_word(struct str word, bool only_sharp, enum err_kind *out)
{
    for (size_t i = 0; word.n > 0 && i < ARRAY_LEN(error_words); i++)
        if ((error_words[i].is_sharp || !only_sharp) && str_eq(word, str_of(error_words[i].text))) {
            *out = error_words[i].kind;
            return true;
        }
    return false;
}

static bool says_context_length(struct str message)
{
    static const char *const phrases[] = {
        "prompt is too long", "maximum context length",
        "context window",     "exceeds the available context size",
        "input token count",  "context_length_exceeded"};
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (str_contains(message, str_of(phrases[i])))
            return true;
    return false;
}

struct error_facts {
    struct str message, type, code, status, param;
    int64_t number; /* a numeric code: Google's HTTP status */
};

static struct str detail_text(struct arena *a, yyjson_val *detail) /* FastAPI: a string or a list */
{
    if (yyjson_is_str(detail))
        return json_str(detail);
    yyjson_val *first = yyjson_is_arr(detail) ? yyjson_arr_get_first(detail) : detail;
    struct str msg = json_get_str(first, "msg");
    if (msg.n == 0)
        msg = json_get_str(first, "message");
    if (msg.n > 0)
        return msg;
    return detail ? json_text(a, detail) : STR_NONE;
}

static void read_facts(struct arena *a, yyjson_val *root, struct error_facts *f)
{
    if (yyjson_is_arr(root))
        root = yyjson_arr_get_first(root);
    yyjson_val *error = json_get(root, "error");
    if (!yyjson_is_obj(error) && !yyjson_is_str(error)) /* response.failed: response.error */
        error = json_get(json_get(root, "response"), "error");
    yyjson_val *at = yyjson_is_obj(error) ? error : root;
    if (yyjson_is_str(error))
        f->message = json_str(error);
    yyjson_val *code = json_get(at, "code");
    f->type = json_get_str(at, "type");
    f->code = json_str(code);
    f->status = json_get_str(at, "status");
    f->param = json_get_str(at, "param");
    if (!json_int(code, &f->number))
        f->number = 0;
    static const char *const names[] = {"message", "msg", "error_description", "reason"};
    for (size_t i = 0; f->message.n == 0 && i < ARRAY_LEN(names); i++)
        f->message = json_get_str(at, names[i]);
    if (f->message.n == 0 && json_get(at, "detail"))
        f->message = detail_text(a, json_get(at, "detail"));
    if (f->message.n == 0 && json_get(root, "detail"))
        f->message = detail_text(a, json_get(root, "detail"));
    if (f->message.n == 0 && root)
        f->message = json_text(a, root);
}

static void settle(int status, const struct error_facts *f, struct err *e)
{
    bool is_telling = status >= 400;
    if (!is_telling && f->number >= 400 && f->number < 600) {
        status = (int)f->number;
        is_telling = true;
    }
    enum err_kind kind = is_telling ? kind_of_status(status) : ERR_UPSTREAM;
    if (!kind_of_word(f->code, is_telling, &kind) && !kind_of_word(f->type, is_telling, &kind))
        (void)kind_of_word(f->status, is_telling, &kind);
    if ((kind == ERR_INPUT || kind == ERR_TOO_LARGE) && says_context_length(f->message))
        kind = ERR_CONTEXT_LENGTH;
    const char *code = kind == ERR_CONTEXT_LENGTH ? "context_length_exceeded" : "";
    char text[sizeof e->code];
    if (!code[0] && f->code.n > 0) {
        snprintf(text, sizeof text, STR_FMT, STR_ARG(f->code));
        code = text;
    }
    err_set(e, kind, code, STR_FMT, STR_ARG(str_trim(f->message)));
    if (!e->message[0])
        err_set(e, kind, code, "the upstream answered with status %d", status);
    e->status = is_telling ? status : 0;
    snprintf(e->field, sizeof e->field, STR_FMT, STR_ARG(f->param));
}

void wire_read_error_value(struct arena *a, int status, yyjson_val *root, struct err *e)
{
    struct error_facts f = {0};
    read_facts(a, root, &f);
    settle(status, &f, e);
}

void wire_read_error(struct arena *a, int status, struct str body, struct err *e)
{
    yyjson_val *root = NULL;
    struct err ignored = ERR_INIT;
    if (body.n > 0 && json_parse(a, body, 0, &root, &ignored) &&
        (yyjson_is_obj(root) || yyjson_is_arr(root))) {
        wire_read_error_value(a, status, root, e);
        return;
    }
    struct error_facts f = {.message = str_fix_utf8(a, str_first(str_trim(body), 500))};
    if (root && yyjson_is_str(root))
        f.message = json_str(root);
    settle(status, &f, e);
}
