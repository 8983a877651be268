/* gemini.c - Google GenAI (generateContent, streamGenerateContent), both directions.
 * Model and stream stand in the path there: the caller sets them. Every name is read in camelCase and snake_case. */
#include "base/codec.h"
#include "wire/common.h"
#include "wire/media.h"
#include "wire/residue.h"
#include "wire/schema.h"
#include "wire/wires.h"
#include <stdio.h>

#define MAX_STOPS 5
#define MAX_BUDGET 24576
#define TEXT_KEPT_MAX (4u << 20) /* bytes of answer kept to turn byte offsets into characters */
#define DUMMY_SIGNATURE \
    "skip_thought_signature_validator" /* documented for histories of other models */

/* clang-format off */
static const struct word stop_words[] = { /* "finishReason" <-> IR */
    {"STOP", IR_STOP_END},                {"MAX_TOKENS", IR_STOP_LENGTH},        {"SAFETY", IR_STOP_FILTER},
    {"RECITATION", IR_STOP_FILTER},       {"BLOCKLIST", IR_STOP_FILTER},         {"PROHIBITED_CONTENT", IR_STOP_FILTER},
    {"SPII", IR_STOP_FILTER},             {"IMAGE_SAFETY", IR_STOP_FILTER},      {"LANGUAGE", IR_STOP_FILTER},
    {"IMAGE_PROHIBITED_CONTENT", IR_STOP_FILTER},                                {"IMAGE_RECITATION", IR_STOP_FILTER},
    {"MODEL_ARMOR", IR_STOP_FILTER},      {"MALFORMED_FUNCTION_CALL", IR_STOP_ERROR},
    {"UNEXPECTED_TOOL_CALL", IR_STOP_ERROR},                                     {"TOO_MANY_TOOL_CALLS", IR_STOP_ERROR},
    {"OTHER", IR_STOP_ERROR},             {"FINISH_REASON_UNSPECIFIED", IR_STOP_ERROR},
    {"IMAGE_OTHER", IR_STOP_ERROR},       {"NO_IMAGE", IR_STOP_ERROR},           {"MISSING_THOUGHT_SIGNATURE", IR_STOP_ERROR},
    {0},
};
static const char *const request_members[] = {
    "model", "contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "tool_config",
    "safetySettings", "safety_settings", "generationConfig", "generation_config", "cachedContent", "cached_content",
};
static const char *const config_members[] = {
    "temperature", "topP", "top_p", "topK", "top_k", "maxOutputTokens", "max_output_tokens", "stopSequences",
    "stop_sequences", "candidateCount", "candidate_count", "seed", "frequencyPenalty", "frequency_penalty",
    "presencePenalty", "presence_penalty", "responseLogprobs", "response_logprobs", "logprobs", "responseMimeType",
    "response_mime_type", "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema",
    "_responseJsonSchema", "responseModalities", "response_modalities", "speechConfig", "speech_config",
    "thinkingConfig", "thinking_config",
};
static const char *const lost[] = { /* no place for these */
    "logit_bias", "min_p", "truncation", "verbosity", "prompt_cache_key",
    "prompt_cache_retention", "user", "metadata", "service_tier", "parallel_tool_calls",
    "max_tool_calls", "store", "cache_control", "messages.name", "tools.strict",
    NULL,
};
/* clang-format on */

JSON_INLINE yyjson_val *get2(yyjson_val *obj, const char *camel, const char *snake)
{
    yyjson_val *v = json_get(obj, camel);
    return v ? v : json_get(obj, snake);
}

JSON_INLINE struct str get2_str(yyjson_val *obj, const char *camel, const char *snake)
{
    return json_str(get2(obj, camel, snake));
}

static bool is_among(struct str key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, str_of(names[i])))
            return true;
    return false;
}

/* ======================================================================== reading requests */

static enum ir_part_kind kind_of_media(struct str media_type)
{
    if (str_starts_nocase(media_type, STR("image/")))
        return IR_IMAGE;
    if (str_starts_nocase(media_type, STR("audio/")))
        return IR_AUDIO;
    if (str_starts_nocase(media_type, STR("video/")))
        return IR_VIDEO;
    return IR_FILE;
}

static struct ir_source inline_source(yyjson_val *v)
{
    struct ir_source s = {.kind = IR_SOURCE_DATA,
                          .media_type = get2_str(v, "mimeType", "mime_type"),
                          .base64 = json_get_str(v, "data")};
    if (s.media_type.n == 0)
        s.media_type = wire_media_of_base64(s.base64);
    return s;
}

static void read_inline(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    struct ir_source s = inline_source(v);
    struct ir_part *p = ir_part_add(c->arena, parts, kind_of_media(s.media_type));
    p->source = s;
    p->name = get2_str(v, "displayName", "display_name");
}

static void read_file(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    struct str media = get2_str(v, "mimeType", "mime_type");
    struct str uri = get2_str(v, "fileUri", "file_uri");
    struct ir_part *p = ir_part_add(c->arena, parts, kind_of_media(media));
    p->source.kind = wire_is_google_uri(uri) ? IR_SOURCE_REF : IR_SOURCE_URL;
    p->source.media_type = media;
    *(p->source.kind == IR_SOURCE_REF ? &p->source.ref : &p->source.url) = uri;
    p->name = get2_str(v, "displayName", "display_name");
}

static void read_call(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    struct ir_part *p = ir_part_add(c->arena, parts, IR_TOOL_CALL);
    yyjson_val *args = json_get(v, "args");
    p->call_id = json_get_str(v, "id");
    p->name = json_get_str(v, "name");
    p->args_raw = json_absent(args) ? STR_NONE : json_text(c->arena, args);
}

static void result_text(struct wire_ctx *c, struct ir_part *p, struct str text)
{
    ir_part_add(c->arena, &p->content, IR_TEXT)->text = text;
}

/* {"output": x} or {"result": x} alone is x; "error" says that the call failed; else the whole object is the result. */
static void read_result_value(struct wire_ctx *c, yyjson_val *v, struct ir_part *p)
{
    yyjson_val *inner = NULL;
    p->is_error = !json_absent(json_get(v, "error"));
    if (yyjson_is_obj(v) && yyjson_obj_size(v) == 1) {
        inner = json_get(v, "output");
        if (!inner)
            inner = json_get(v, "result");
        if (!inner && yyjson_is_str(json_get(v, "error")))
            inner = json_get(v, "error");
    }
    if (!inner)
        inner = v;
    if (yyjson_is_str(inner))
        result_text(c, p, json_str(inner));
    else if (!json_absent(inner))
        p->result_json = inner;
}

/* Media of a result travel in its parts; the value then becomes text beside them. */
static void read_result_parts(struct wire_ctx *c, yyjson_val *list, struct ir_part *p)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return;
    if (p->result_json) {
        result_text(c, p, json_text(c->arena, p->result_json));
        p->result_json = NULL;
    }
    yyjson_arr_foreach (list, i, n, v) {
        yyjson_val *data = get2(v, "inlineData", "inline_data");
        yyjson_val *file = get2(v, "fileData", "file_data");
        if (yyjson_is_obj(data))
            read_inline(c, data, &p->content);
        else if (yyjson_is_obj(file))
            read_file(c, file, &p->content);
    }
}

static void read_result(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    struct ir_part *p = ir_part_add(c->arena, parts, IR_TOOL_RESULT);
    p->call_id = json_get_str(v, "id");
    p->name = json_get_str(v, "name");
    read_result_value(c, json_get(v, "response"), p);
    read_result_parts(c, json_get(v, "parts"), p);
}

static void read_text(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    bool is_thought = json_get_bool(v, "thought", false);
    struct ir_part *p = ir_part_add(c->arena, parts, is_thought ? IR_REASONING : IR_TEXT);
    p->text = json_get_str(v, "text");
}

static bool read_part(struct wire_ctx *c, yyjson_val *v, const char *where, struct ir_parts *parts,
                      struct err *e)
{
    const struct ir_part *before = parts->last;
    yyjson_val *x;
    if (yyjson_is_str(v)) {
        ir_part_add(c->arena, parts, IR_TEXT)->text = json_str(v);
        return true;
    }
    if (!yyjson_is_obj(v))
        return err_field(e, where, "%s: a part must be an object", where);
    if (yyjson_is_str(json_get(v, "text")))
        read_text(c, v, parts);
    else if (yyjson_is_obj(x = get2(v, "inlineData", "inline_data")))
        read_inline(c, x, parts);
    else if (yyjson_is_obj(x = get2(v, "fileData", "file_data")))
        read_file(c, x, parts);
    else if (yyjson_is_obj(x = get2(v, "functionCall", "function_call")))
        read_call(c, x, parts);
    else if (yyjson_is_obj(x = get2(v, "functionResponse", "function_response")))
        read_result(c, x, parts);
    else if (yyjson_obj_size(v) > 0)
        ir_part_add(c->arena, parts, IR_OPAQUE)->raw = v;
    if (parts->last != before) {
        parts->last->origin = WIRE_GEMINI;
        parts->last->thought_signature = get2_str(v, "thoughtSignature", "thought_signature");
    }
    return true;
}

/* An array of parts, one part alone, or plain text. */
static bool read_parts(struct wire_ctx *c, yyjson_val *v, const char *where, struct ir_parts *parts,
                       struct err *e)
{
    size_t i, n;
    yyjson_val *x;
    if (json_absent(v))
        return true;
    if (!yyjson_is_arr(v))
        return read_part(c, v, where, parts, e);
    yyjson_arr_foreach (v, i, n, x) {
        char at[96];
        wire_place(at, sizeof at, where, "[", i, "]");
        if (!read_part(c, x, at, parts, e))
            return false;
    }
    return true;
}

static bool read_content(struct wire_ctx *c, yyjson_val *v, size_t i, struct ir_messages *out,
                         struct err *e)
{
    char where[64];
    struct ir_parts parts = {0};
    struct str role = json_get_str(v, "role");
    wire_place(where, sizeof where, "contents", "[", i, "].parts");
    if (yyjson_is_obj(v) && json_get(v, "parts")) {
        if (!read_parts(c, json_get(v, "parts"), where, &parts, e))
            return false;
    } else if (!yyjson_is_obj(v) || !json_get(v, "role")) { /* a bare part or text */
        if (!read_parts(c, v, where, &parts, e))
            return false;
    }
    if (str_is(role, "model") || str_is(role, "assistant")) {
        ir_message_add(c->arena, out, IR_ASSISTANT)->parts = parts;
    } else if (str_is(role, "system")) {
        ir_message_add(c->arena, out, IR_SYSTEM)->parts = parts;
    } else if (role.n == 0 || str_is(role, "user") || str_is(role, "function") ||
               str_is(role, "tool")) {
        wire_add_user(c, parts.first, out);
    } else {
        wire_place(where, sizeof where, "contents", "[", i, "].role");
        return err_field(e, where, "%s: must be 'user' or 'model'", where);
    }
    return true;
}

static bool read_contents(struct wire_ctx *c, yyjson_val *v, struct ir_messages *out, struct err *e)
{
    size_t i, n;
    yyjson_val *x;
    if (json_absent(v) || (yyjson_is_arr(v) && yyjson_arr_size(v) == 0))
        return err_field(e, "contents", "contents is not specified");
    if (yyjson_is_obj(v)) /* one content instead of an array of one */
        return read_content(c, v, 0, out, e);
    if (!yyjson_is_arr(v))
        return err_field(e, "contents", "contents must be an array");
    yyjson_arr_foreach (v, i, n, x)
        if (!read_content(c, x, i, out, e))
            return false;
    return true;
}

static bool read_system(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    struct ir_parts parts = {0};
    struct ir_system **tail = &out->system;
    yyjson_val *inner = json_get(v, "parts");
    if (!read_parts(c, inner ? inner : v, "systemInstruction.parts", &parts, e))
        return false;
    for (const struct ir_part *p = parts.first; p; p = p->next) {
        if (p->kind != IR_TEXT)
            continue;
        *tail = ARENA_NEW(c->arena, struct ir_system);
        (*tail)->text = p->text;
        tail = &(*tail)->next;
    }
    return true;
}

static void add_tool(struct arena *a, struct ir_tool ***tail, const struct ir_tool *t)
{
    struct ir_tool *copy = ARENA_NEW(a, struct ir_tool);
    *copy = *t;
    **tail = copy;
    *tail = &copy->next;
}

static void read_function(struct wire_ctx *c, yyjson_val *v, struct ir_tool ***tail)
{
    yyjson_val *dialect = json_get(v, "parameters");
    yyjson_val *schema = get2(v, "parametersJsonSchema", "parameters_json_schema");
    bool is_gemini = json_absent(schema);
    yyjson_val *parameters = is_gemini ? dialect : schema;
    add_tool(c->arena, tail,
             &(struct ir_tool){.kind = IR_TOOL_FUNCTION,
                               .name = json_get_str(v, "name"),
                               .description = json_get_str(v, "description"),
                               .parameters = json_absent(parameters) ? NULL : parameters,
                               .is_gemini_schema = is_gemini,
                               .origin = WIRE_GEMINI,
                               .raw = v});
}

static void read_tool(struct wire_ctx *c, yyjson_val *v, struct ir_tool ***tail)
{
    size_t i, n, j, m;
    yyjson_val *k, *x, *f;
    if (!yyjson_is_obj(v))
        return;
    yyjson_obj_foreach (v, i, n, k, x) {
        struct str name = json_str(k);
        if (!str_is(name, "functionDeclarations") && !str_is(name, "function_declarations")) {
            if (!json_absent(x))
                add_tool(c->arena, tail,
                         &(struct ir_tool){.kind = IR_TOOL_HOSTED,
                                           .hosted_type = name,
                                           .name = name,
                                           .origin = WIRE_GEMINI,
                                           .raw = x});
        } else if (yyjson_is_arr(x)) {
            yyjson_arr_foreach (x, j, m, f)
                read_function(c, f, tail);
        } else if (yyjson_is_obj(x)) {
            read_function(c, x, tail);
        }
    }
}

static bool read_tools(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    struct ir_tool **tail = &out->tools;
    size_t i, n;
    yyjson_val *x;
    if (json_absent(v))
        return true;
    if (yyjson_is_obj(v)) {
        read_tool(c, v, &tail);
        return true;
    }
    if (!yyjson_is_arr(v))
        return err_field(e, "tools", "tools: must be an array");
    yyjson_arr_foreach (v, i, n, x)
        read_tool(c, x, &tail);
    return true;
}

static void read_strs(struct arena *a, yyjson_val *list, struct ir_strs *out)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list))
        return;
    out->v = ARENA_ARRAY(a, struct str, yyjson_arr_size(list) + 1);
    yyjson_arr_foreach (list, i, n, v)
        if (yyjson_is_str(v))
            out->v[out->n++] = json_str(v);
}

static void read_choice(struct wire_ctx *c, yyjson_val *root, struct ir_request *out)
{
    yyjson_val *config = get2(get2(root, "toolConfig", "tool_config"), "functionCallingConfig",
                              "function_calling_config");
    struct str mode = json_get_str(config, "mode");
    struct ir_strs names = {0};
    if (!yyjson_is_obj(config))
        return;
    read_strs(c->arena, get2(config, "allowedFunctionNames", "allowed_function_names"), &names);
    if (str_eq_nocase(mode, STR("NONE"))) {
        out->choice = IR_CHOICE_NONE;
    } else if (str_eq_nocase(mode, STR("ANY"))) {
        out->choice = IR_CHOICE_ANY;
        out->is_allowed_any = true;
    } else {
        out->choice = IR_CHOICE_AUTO; /* AUTO, VALIDATED, MODE_UNSPECIFIED */
    }
    if (out->choice == IR_CHOICE_ANY && names.n == 1) {
        out->choice = IR_CHOICE_TOOL;
        out->choice_tool = names.v[0];
    } else if (names.n && out->choice != IR_CHOICE_NONE) {
        out->choice = IR_CHOICE_ALLOWED;
        out->choice_allowed = names;
    }
}

static bool read_number(yyjson_val *config, const char *camel, const char *snake, yyjson_val **out,
                        struct err *e)
{
    yyjson_val *v = get2(config, camel, snake);
    char field[96];
    if (json_absent(v))
        return true;
    *out = v;
    if (json_is_number(v))
        return true;
    (void)snprintf(field, sizeof field, "generationConfig.%s", camel);
    return err_field(e, field, "%s: must be a number", field);
}

static bool read_count(yyjson_val *config, const char *camel, const char *snake, int64_t *out,
                       struct err *e)
{
    yyjson_val *v = get2(config, camel, snake);
    char field[96];
    if (json_absent(v))
        return true;
    if (json_int(v, out) && *out >= 0)
        return true;
    (void)snprintf(field, sizeof field, "generationConfig.%s", camel);
    return err_field(e, field, "%s: must be a whole number, 0 or more", field);
}

static void read_thinking(yyjson_val *config, struct ir_request *out)
{
    yyjson_val *t = get2(config, "thinkingConfig", "thinking_config");
    yyjson_val *include = get2(t, "includeThoughts", "include_thoughts");
    struct str level = get2_str(t, "thinkingLevel", "thinking_level");
    int64_t budget;
    if (yyjson_is_bool(include)) {
        out->has_include_thoughts = true;
        out->include_thoughts = yyjson_get_bool(include);
    }
    if (json_int(get2(t, "thinkingBudget", "thinking_budget"), &budget)) {
        out->reasoning = budget == 0  ? IR_REASONING_DISABLED
                         : budget < 0 ? IR_REASONING_AUTO
                                      : IR_REASONING_ENABLED;
        if (budget > 0)
            out->budget_tokens = budget;
    }
    static const struct word levels[] = {{"MINIMAL", IR_EFFORT_MINIMAL},
                                         {"LOW", IR_EFFORT_LOW},
                                         {"MEDIUM", IR_EFFORT_MEDIUM},
                                         {"HIGH", IR_EFFORT_HIGH},
                                         {0}};
    for (const struct word *w = levels; w->text; w++)
        if (str_eq_nocase(level, str_of(w->text))) {
            out->effort = (enum ir_effort)w->value;
            out->reasoning = IR_REASONING_ENABLED;
        }
}

static void read_format(yyjson_val *config, struct ir_request *out)
{
    struct str mime = get2_str(config, "responseMimeType", "response_mime_type");
    yyjson_val *dialect = get2(config, "responseSchema", "response_schema");
    yyjson_val *schema = get2(config, "responseJsonSchema", "response_json_schema");
    if (json_absent(schema))
        schema = json_get(config, "_responseJsonSchema");
    if (yyjson_is_obj(schema) || yyjson_is_obj(dialect)) {
        out->format = IR_FORMAT_JSON_SCHEMA;
        out->is_gemini_format_schema = !yyjson_is_obj(schema);
        out->format_schema = out->is_gemini_format_schema ? dialect : schema;
    } else if (str_is(mime, "application/json")) {
        out->format = IR_FORMAT_JSON_OBJECT;
    } else if (str_is(mime, "text/plain")) {
        out->format = IR_FORMAT_TEXT;
    }
}

static bool read_config(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    yyjson_val *logprobs = get2(v, "responseLogprobs", "response_logprobs");
    if (json_absent(v))
        return true;
    if (!yyjson_is_obj(v))
        return err_field(e, "generationConfig", "generationConfig: must be an object");
    read_strs(c->arena, get2(v, "stopSequences", "stop_sequences"), &out->stop);
    read_thinking(v, out);
    read_format(v, out);
    out->has_logprobs = yyjson_is_bool(logprobs);
    out->logprobs = yyjson_is_true(logprobs);
    out->modalities = get2(v, "responseModalities", "response_modalities");
    out->audio = get2(v, "speechConfig", "speech_config");
    return read_number(v, "temperature", "temperature", &out->temperature, e) &&
           read_number(v, "topP", "top_p", &out->top_p, e) &&
           read_number(v, "topK", "top_k", &out->top_k, e) &&
           read_number(v, "seed", "seed", &out->seed, e) &&
           read_number(v, "frequencyPenalty", "frequency_penalty", &out->frequency_penalty, e) &&
           read_number(v, "presencePenalty", "presence_penalty", &out->presence_penalty, e) &&
           read_count(v, "maxOutputTokens", "max_output_tokens", &out->max_tokens, e) &&
           read_count(v, "candidateCount", "candidate_count", &out->n, e) &&
           read_count(v, "logprobs", "logprobs", &out->top_logprobs, e);
}

static bool read_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                         struct err *e)
{
    ir_request_init(out);
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_request", "the body must be a JSON object");
    static const struct wire_member members[] = {
        {"toolConfig"}, {"tool_config"}, {"safetySettings", true}, {"safety_settings", true}, {0}};
    if (!wire_check_members(root, members, e))
        return false;
    out->origin = WIRE_GEMINI;
    out->raw = root;
    out->model = json_get_str(root, "model");
    if (str_starts(out->model, STR("models/")))
        out->model = str_skip(out->model, sizeof "models/" - 1);
    out->safety = get2(root, "safetySettings", "safety_settings");
    out->cached_content = get2_str(root, "cachedContent", "cached_content");
    if (!read_contents(c, json_get(root, "contents"), &out->messages, e) ||
        !read_system(c, get2(root, "systemInstruction", "system_instruction"), out, e) ||
        !read_tools(c, json_get(root, "tools"), out, e) ||
        !read_config(c, get2(root, "generationConfig", "generation_config"), out, e))
        return false;
    read_choice(c, root, out);
    ir_link_calls(c, &out->messages);
    return true;
}

/* ======================================================================== writing requests */

static void write_others(struct jw *w, yyjson_val *raw, const char *const *known, size_t n_known)
{
    size_t i, n;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(raw))
        return;
    yyjson_obj_foreach (raw, i, n, k, v) {
        if (is_among(json_str(k), known, n_known))
            continue;
        jw_key_str(w, json_str(k));
        jw_val(w, v);
    }
}

static void write_signature(struct jw *w, struct str signature)
{
    if (signature.n)
        jw_kv_str(w, "thoughtSignature", signature);
}

static void write_text(struct jw *w, struct str text, bool is_thought, struct str signature)
{
    jw_object(w);
    jw_kv_str(w, "text", text);
    if (is_thought)
        jw_kv_bool(w, "thought", true);
    write_signature(w, signature);
    jw_object_end(w);
}

static void write_inline(struct jw *w, struct str media_type, struct str base64)
{
    jw_object(w);
    jw_key(w, "inlineData");
    jw_object(w);
    jw_kv_str(w, "mimeType", media_type);
    jw_kv_str(w, "data", base64);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_file(struct jw *w, struct str media_type, struct str uri)
{
    jw_object(w);
    jw_key(w, "fileData");
    jw_object(w);
    if (media_type.n)
        jw_kv_str(w, "mimeType", media_type);
    jw_kv_str(w, "fileUri", uri);
    jw_object_end(w);
    jw_object_end(w);
}

static struct str media_of(const struct ir_part *p)
{
    struct str media = p->source.media_type;
    if (media.n && !str_is(media, "application/octet-stream"))
        return media;
    struct str better = wire_media_of_name(p->name);
    if (!better.n)
        better = wire_media_of_base64(p->source.base64);
    return better.n ? better : media;
}

static bool is_video_site(struct str url)
{
    return str_starts(url, STR("https://www.youtube.com/")) ||
           str_starts(url, STR("https://youtu.be/"));
}

static bool write_media(struct wire_ctx *c, struct jw *w, const struct ir_part *p, struct err *e)
{
    const struct ir_source *s = &p->source;
    switch (s->kind) {
    case IR_SOURCE_DATA:
        write_inline(w, media_of(p), s->base64);
        return true;
    case IR_SOURCE_TEXT:
        write_inline(w, STR("text/plain"), base64_encode(c->arena, s->text));
        return true;
    case IR_SOURCE_REF:
        write_file(w, s->media_type, s->ref);
        return true;
    case IR_SOURCE_URL:
        if (!wire_is_google_uri(s->url) && !is_video_site(s->url) &&
            !(c->quirks & QUIRK_HTTPS_FILE_URI && str_starts(s->url, STR("https://"))))
            return wire_refuse_remote(s, e);
        write_file(w, media_of(p), s->url);
        return true;
    case IR_SOURCE_NONE:
        break;
    }
    return true;
}

static bool says_media(struct wire_ctx *c, const struct ir_part *p)
{
    const struct ir_source *s = &p->source;
    if (s->kind == IR_SOURCE_REF && !wire_is_google_uri(s->ref) &&
        !str_starts(s->ref, STR("https://")))
        wire_drop(c, "a file id of another provider", "%s", wire_media_word(p->kind));
    else
        return true;
    return false;
}

/* Where the signature of a call is: on the part when the history came in this format, else kept by the relay. */
static struct str signature_of(struct wire_ctx *c, const struct ir_part *p, bool is_first_call)
{
    if (p->thought_signature.n)
        return p->thought_signature;
    struct str kept = STR_NONE;
    if (c->signature_get && p->call_id.n)
        kept = c->signature_get(c->signature_arg, p->call_id);
    if (kept.n)
        return str_dup(c->arena, kept);
    return is_first_call && c->quirks & QUIRK_DUMMY_SIGNATURE ? STR(DUMMY_SIGNATURE) : STR_NONE;
}

static void write_call(struct wire_ctx *c, struct jw *w, const struct ir_part *p,
                       struct str signature)
{
    jw_object(w);
    jw_key(w, "functionCall");
    jw_object(w);
    if (p->call_id.n)
        jw_kv_str(w, "id", p->call_id);
    jw_kv_str(w, "name", p->name);
    jw_key(w, "args");
    jw_raw(w, wire_args_object(c->arena, p->args_raw, p->call_kind));
    jw_object_end(w);
    write_signature(w, signature);
    jw_object_end(w);
}

/* Objects go as they are, everything else is wrapped; a failure says so with the key "error". */
static void write_result_value(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    yyjson_val *v = p->result_json;
    if (yyjson_is_obj(v) && (!p->is_error || json_get(v, "error"))) {
        jw_val(w, v);
        return;
    }
    jw_object(w);
    jw_key(w, p->is_error ? "error" : "output");
    if (v)
        jw_val(w, v);
    else
        jw_str(w, wire_result_text(c->arena, p));
    jw_object_end(w);
}

static void write_result(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    struct str name = p->name;
    if (!name.n) {
        name = p->call_id;
        wire_drop(c, "the call's id stands for it", "name of a tool result");
    }
    jw_object(w);
    jw_key(w, "functionResponse");
    jw_object(w);
    if (p->call_id.n)
        jw_kv_str(w, "id", p->call_id);
    jw_kv_str(w, "name", name);
    jw_key(w, "response");
    write_result_value(c, w, p);
    jw_object_end(w);
    jw_object_end(w);
}

static bool write_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p, bool *seen_call,
                       struct err *e)
{
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        if (p->text.n || p->thought_signature.n)
            write_text(w, p->text, false, p->thought_signature);
        return true;
    case IR_REASONING:
        if (p->text.n && p->origin == WIRE_GEMINI)
            write_text(w, p->text, true, p->thought_signature);
        return true;
    case IR_IMAGE:
    case IR_FILE:
    case IR_AUDIO:
    case IR_VIDEO:
        return write_media(c, w, p, e);
    case IR_TOOL_CALL:
        write_call(c, w, p, signature_of(c, p, !*seen_call));
        *seen_call = true;
        return true;
    case IR_TOOL_RESULT:
        write_result(c, w, p);
        return true;
    case IR_OPAQUE:
        if (p->origin == WIRE_GEMINI && p->raw)
            jw_val(w, p->raw);
        return true;
    }
    return true;
}

static bool is_media(const struct ir_part *p)
{
    return p->kind == IR_IMAGE || p->kind == IR_FILE || p->kind == IR_AUDIO || p->kind == IR_VIDEO;
}

/* What results show besides text follows them in the same turn: as many responses as calls must come first. */
static bool write_result_media(struct wire_ctx *c, struct jw *w, const struct ir_message *m,
                               struct err *e)
{
    for (const struct ir_part *p = m->parts.first; p; p = p->next) {
        if (p->kind != IR_TOOL_RESULT)
            continue;
        for (const struct ir_part *q = p->content.first; q; q = q->next)
            if (is_media(q) && !write_media(c, w, q, e))
                return false;
    }
    return true;
}

static bool write_message(struct wire_ctx *c, struct jw *w, const struct ir_message *m,
                          struct err *e)
{
    bool seen_call = false;
    jw_object(w);
    jw_kv_cstr(w, "role", m->role == IR_ASSISTANT ? "model" : "user");
    jw_key(w, "parts");
    jw_array(w);
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        if (p->kind == IR_TOOL_RESULT && !write_part(c, w, p, &seen_call, e))
            return false;
    if (!write_result_media(c, w, m, e))
        return false;
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        if (p->kind != IR_TOOL_RESULT && !write_part(c, w, p, &seen_call, e))
            return false;
    jw_array_end(w);
    jw_object_end(w);
    return true;
}

/* parts:[] is refused */
static bool has_content(const struct ir_message *m)
{
    for (const struct ir_part *p = m->parts.first; p; p = p->next) {
        bool is_lost = p->kind == IR_REASONING && (p->origin != WIRE_GEMINI || !p->text.n);
        bool is_empty = (p->kind == IR_TEXT || p->kind == IR_REFUSAL) && !p->text.n &&
                        !p->thought_signature.n;
        if (!is_lost && !is_empty && !(p->kind == IR_OPAQUE && p->origin != WIRE_GEMINI))
            return true;
    }
    return false;
}

static void write_system_parts(struct jw *w, const struct ir_system *s)
{
    jw_key(w, "parts");
    jw_array(w);
    for (; s; s = s->next)
        if (s->text.n)
            write_text(w, s->text, false, STR_NONE);
    jw_array_end(w);
}

static bool has_system(const struct ir_request *r)
{
    for (const struct ir_system *s = r->system; s; s = s->next)
        if (s->text.n)
            return true;
    return false;
}

static bool write_contents(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                           struct err *e)
{
    bool has_any = false;
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        has_any |= has_content(m);
    if (!has_any && !has_system(r))
        return err_field(e, "messages", "messages: at least one message with content is required");
    jw_key(w, "contents");
    jw_array(w);
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        if (has_content(m) && !write_message(c, w, m, e))
            return false;
    if (!has_any) { /* a user turn is required: the instructions are all there is to say */
        jw_object(w);
        jw_kv_cstr(w, "role", "user");
        write_system_parts(w, r->system);
        jw_object_end(w);
    }
    jw_array_end(w);
    if (has_any && has_system(r)) {
        jw_key(w, "systemInstruction");
        jw_object(w);
        write_system_parts(w, r->system);
        jw_object_end(w);
    }
    return true;
}

/* ---- tools ---- */
static unsigned schema_flags(const struct wire_ctx *c)
{
    return c->quirks & QUIRK_SCHEMA_INLINE_REFS ? SCHEMA_INLINE_REFS : 0;
}

/* An object without properties is left out: Google refuses it. */
static bool is_empty_object(yyjson_val *schema)
{
    yyjson_val *type = json_get(schema, "type");
    bool is_object = !type || str_eq_nocase(json_str(type), STR("object"));
    return is_object && yyjson_obj_size(json_get(schema, "properties")) == 0 &&
           !json_get(schema, "$ref") && !json_get(schema, "anyOf") && !json_get(schema, "oneOf") &&
           !json_get(schema, "allOf");
}

static void write_schema(struct wire_ctx *c, struct jw *w, yyjson_val *schema, bool is_gemini,
                         const char *dialect_key, const char *json_key)
{
    struct str text;
    if (is_gemini) {
        jw_kv_val(w, dialect_key, schema);
        return;
    }
    if (c->quirks & QUIRK_SCHEMA_GEMINI)
        text = schema_clean_text(c->arena, schema, SCHEMA_GEMINI, schema_flags(c));
    else
        text = schema_clean_text(c->arena, schema, SCHEMA_GEMINI_JSON, schema_flags(c));
    if (!text.n)
        return;
    jw_key(w, c->quirks & QUIRK_SCHEMA_GEMINI ? dialect_key : json_key);
    jw_raw(w, text);
}

static void write_function(struct wire_ctx *c, struct jw *w, const struct ir_tool *t)
{
    static const char *const known[] = {"name", "description", "parameters", "parametersJsonSchema",
                                        "parameters_json_schema"};
    jw_object(w);
    jw_kv_str(w, "name", t->name);
    jw_kv_str(w, "description", t->description);
    if (t->parameters && !is_empty_object(t->parameters))
        write_schema(c, w, t->parameters, t->is_gemini_schema, "parameters",
                     "parametersJsonSchema");
    if (t->origin == WIRE_GEMINI)
        write_others(w, t->raw, known, ARRAY_LEN(known));
    jw_object_end(w);
}

static void write_tools(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    bool has_functions = false;
    if (!r->tools)
        return;
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        has_functions |= t->kind != IR_TOOL_HOSTED;
    jw_key(w, "tools");
    jw_array(w);
    if (has_functions) {
        jw_object(w);
        jw_key(w, "functionDeclarations");
        jw_array(w);
        for (const struct ir_tool *t = r->tools; t; t = t->next)
            if (t->kind != IR_TOOL_HOSTED)
                write_function(c, w, t);
        jw_array_end(w);
        jw_object_end(w);
    }
    for (const struct ir_tool *t = r->tools; t; t = t->next) {
        if (t->kind != IR_TOOL_HOSTED)
            continue;
        jw_object(w);
        jw_key_str(w, t->hosted_type);
        if (t->origin == WIRE_GEMINI && t->raw)
            jw_val(w, t->raw);
        else
            jw_raw(w, STR("{}"));
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_choice(struct jw *w, const struct ir_request *r)
{
    bool is_forced = r->choice == IR_CHOICE_ANY || r->choice == IR_CHOICE_TOOL ||
                     (r->choice == IR_CHOICE_ALLOWED && r->is_allowed_any);
    if (!r->tools || r->choice == IR_CHOICE_UNSET)
        return;
    jw_key(w, "toolConfig");
    jw_object(w);
    jw_key(w, "functionCallingConfig");
    jw_object(w);
    jw_kv_cstr(w, "mode", r->choice == IR_CHOICE_NONE ? "NONE" : is_forced ? "ANY" : "AUTO");
    if (r->choice == IR_CHOICE_TOOL || r->choice == IR_CHOICE_ALLOWED) {
        jw_key(w, "allowedFunctionNames");
        jw_array(w);
        if (r->choice == IR_CHOICE_TOOL)
            jw_str(w, r->choice_tool);
        for (unsigned i = 0; r->choice == IR_CHOICE_ALLOWED && i < r->choice_allowed.n; i++)
            jw_str(w, r->choice_allowed.v[i]);
        jw_array_end(w);
    }
    jw_object_end(w);
    jw_object_end(w);
}

/* ---- generationConfig ---- */
struct config { /* opens the object with its first member */
    struct jw *w;
    bool is_open;
};

static void config_key(struct config *g, const char *key)
{
    if (!g->is_open) {
        jw_key(g->w, "generationConfig");
        jw_object(g->w);
        g->is_open = true;
    }
    jw_key(g->w, key);
}

static void config_val(struct config *g, const char *key, yyjson_val *v)
{
    if (!v)
        return;
    config_key(g, key);
    jw_val(g->w, v);
}

static void config_count(struct config *g, const char *key, int64_t v)
{
    if (v < 0)
        return;
    config_key(g, key);
    jw_int(g->w, v);
}

static void config_stop(struct wire_ctx *c, struct config *g, const struct ir_strs *stop)
{
    unsigned written = 0;
    for (unsigned i = 0; i < stop->n; i++) {
        if (!stop->v[i].n)
            continue;
        if (written == MAX_STOPS) {
            wire_drop(c, "at most 5 are allowed", "stop[%u]", i);
            continue;
        }
        if (!written++) {
            config_key(g, "stopSequences");
            jw_array(g->w);
        }
        jw_str(g->w, stop->v[i]);
    }
    if (written)
        jw_array_end(g->w);
}

static const char *level_text(enum ir_effort effort)
{
    switch (effort) {
    case IR_EFFORT_UNSET:
    case IR_EFFORT_NONE:
        return NULL;
    case IR_EFFORT_MINIMAL:
        return "minimal";
    case IR_EFFORT_LOW:
        return "low";
    case IR_EFFORT_MEDIUM:
        return "medium";
    case IR_EFFORT_HIGH:
    case IR_EFFORT_XHIGH:
    case IR_EFFORT_MAX:
        return "high";
    }
    return NULL;
}

/* The smallest of the models with a budget take 24576 at most. */
static int64_t effort_budget(const struct wire_ctx *c, enum ir_effort effort)
{
    int64_t budget = wire_effort_budget(effort, c->max_output_tokens);
    return budget > MAX_BUDGET ? MAX_BUDGET : budget;
}

static void config_thinking(struct wire_ctx *c, struct config *g, const struct ir_request *r)
{
    bool by_level = c->quirks & QUIRK_THINKING_LEVEL;
    enum ir_effort effort = wire_effort_of(r);
    const char *level = NULL;
    int64_t budget = -2; /* none */
    if (r->reasoning == IR_REASONING_DISABLED || r->effort == IR_EFFORT_NONE)
        budget = 0;
    else if (by_level)
        level = level_text(r->reasoning == IR_REASONING_AUTO ? r->effort : effort);
    else if (r->budget_tokens > 0)
        budget = r->budget_tokens;
    else if (r->effort != IR_EFFORT_UNSET)
        budget = effort_budget(c, r->effort);
    else if (r->reasoning != IR_REASONING_UNSET)
        budget = -1;
    if (budget == 0 && by_level) { /* these cannot be told not to think at all */
        budget = -2;
        level = "minimal";
    }
    if (budget == -2 && !level && !r->has_include_thoughts)
        return;
    config_key(g, "thinkingConfig");
    jw_object(g->w);
    if (budget != -2)
        jw_kv_int(g->w, "thinkingBudget", budget);
    if (level)
        jw_kv_cstr(g->w, "thinkingLevel", level);
    if (r->has_include_thoughts && budget != 0)
        jw_kv_bool(g->w, "includeThoughts", r->include_thoughts);
    jw_object_end(g->w);
}

static void config_format(struct wire_ctx *c, struct config *g, const struct ir_request *r)
{
    if (r->format != IR_FORMAT_JSON_OBJECT && r->format != IR_FORMAT_JSON_SCHEMA) {
        if (r->origin == WIRE_GEMINI)
            config_val(g, "responseMimeType",
                       get2(get2(r->raw, "generationConfig", "generation_config"),
                            "responseMimeType", "response_mime_type"));
        return;
    }
    if (r->tools && c->quirks & QUIRK_SCHEMA_GEMINI && r->origin != WIRE_GEMINI) {
        wire_drop(c, "not together with tools", "response_format");
        return;
    }
    config_key(g, "responseMimeType");
    jw_cstr(g->w, "application/json");
    if (r->format == IR_FORMAT_JSON_SCHEMA && r->format_schema)
        write_schema(c, g->w, r->format_schema, r->is_gemini_format_schema, "responseSchema",
                     "responseJsonSchema");
}

static void config_modalities(struct wire_ctx *c, struct config *g, const struct ir_request *r)
{
    size_t i, n;
    yyjson_val *v;
    if (yyjson_is_arr(r->modalities)) {
        config_key(g, "responseModalities");
        jw_array(g->w);
        yyjson_arr_foreach (r->modalities, i, n, v) {
            struct str upper = str_dup(c->arena, json_str(v));
            char *p = arena_alloc(c->arena, upper.n + 1);
            for (size_t j = 0; j < upper.n; j++)
                p[j] = (char)(upper.p[j] >= 'a' && upper.p[j] <= 'z' ? upper.p[j] - 32
                                                                     : upper.p[j]);
            jw_str(g->w, str_n(p, upper.n));
        }
        jw_array_end(g->w);
    }
    if (!r->audio)
        return;
    if (r->origin == WIRE_GEMINI) {
        config_val(g, "speechConfig", r->audio);
        return;
    }
    struct str voice = json_get_str(r->audio, "voice");
    if (!voice.n)
        return;
    config_key(g, "speechConfig");
    jw_object(g->w);
    jw_key(g->w, "voiceConfig");
    jw_object(g->w);
    jw_key(g->w, "prebuiltVoiceConfig");
    jw_object(g->w);
    jw_kv_str(g->w, "voiceName", voice);
    jw_object_end(g->w);
    jw_object_end(g->w);
    jw_object_end(g->w);
}

static void write_config(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    struct config g = {.w = w};
    config_val(&g, "temperature", r->temperature);
    config_val(&g, "topP", r->top_p);
    config_val(&g, "topK", r->top_k);
    config_count(&g, "maxOutputTokens", r->max_tokens);
    config_stop(c, &g, &r->stop);
    config_count(&g, "candidateCount", r->n);
    config_val(&g, "seed", r->seed);
    config_val(&g, "frequencyPenalty", r->frequency_penalty);
    config_val(&g, "presencePenalty", r->presence_penalty);
    if (r->has_logprobs ? r->logprobs : r->top_logprobs >= 0) {
        config_key(&g, "responseLogprobs");
        jw_bool(w, true);
        config_count(&g, "logprobs", r->top_logprobs);
    }
    config_format(c, &g, r);
    config_modalities(c, &g, r);
    config_thinking(c, &g, r);
    if (r->origin == WIRE_GEMINI) {
        yyjson_val *own = get2(r->raw, "generationConfig", "generation_config");
        size_t i, n;
        yyjson_val *k, *v;
        if (yyjson_is_obj(own))
            yyjson_obj_foreach (own, i, n, k, v) {
                if (is_among(json_str(k), config_members, ARRAY_LEN(config_members)))
                    continue;
                if (!g.is_open) {
                    jw_key(w, "generationConfig");
                    jw_object(w);
                    g.is_open = true;
                }
                jw_key_str(w, json_str(k));
                jw_val(w, v);
            }
    }
    if (g.is_open)
        jw_object_end(w);
}

static bool write_request(struct wire_ctx *c, const struct ir_request *req, struct buf *out,
                          struct err *e)
{
    const struct wire_needs needs = {
        .target = WIRE_GEMINI,
        .mid_system = WIRE_SYSTEM_FOLD,
        .ids = WIRE_IDS_ANY,
        .names = WIRE_NAMES_GEMINI,
        .pairs_tools = true,
        .merges_roles = true,
        .results_in_user = true,
        .drops_empty_text = false, /* an empty text may carry a signature */
        .web_search = "googleSearch",
        .says_media = says_media,
    };
    struct ir_request *r = wire_prepare(c, req, &needs, e);
    if (!r)
        return false;
    struct jw w = jw_on(out);
    wire_drop_lost(c, r, lost);
    jw_object(&w);
    if (!write_contents(c, &w, r, e))
        return false;
    write_tools(c, &w, r);
    write_choice(&w, r);
    if (r->safety && r->origin == WIRE_GEMINI)
        jw_kv_val(&w, "safetySettings", r->safety);
    if (r->cached_content.n && r->origin == WIRE_GEMINI)
        jw_kv_str(&w, "cachedContent", r->cached_content);
    write_config(c, &w, r);
    if (r->origin == WIRE_GEMINI)
        write_others(&w, r->raw, request_members, ARRAY_LEN(request_members));
    jw_object_end(&w);
    return true;
}

/* ======================================================================== replies and streams of an upstream */

/* Text that was told, for the offsets of its citations: bytes here, characters elsewhere. */
struct told {
    size_t n_ascii; /* as far as it is ASCII its length says all */
    /* from its first other character on; failed: too long to keep, offsets cannot be told any more */
    struct buf rest;
};

static void told_init(struct told *t, struct arena *a)
{
    t->n_ascii = 0;
    buf_init_arena(&t->rest, a, TEXT_KEPT_MAX);
}

static void told_add(struct told *t, struct str text)
{
    if (t->rest.n == 0) {
        size_t n = str_ascii(text);
        t->n_ascii += n;
        text = str_skip(text, n);
    }
    buf_str_add(&t->rest, text);
}

struct run { /* a stretch of the answer's text: what of one part stands in one block */
    struct run *next;
    int64_t part; /* the part's number, from 0 */
    unsigned block;
    size_t at, n; /* in bytes of all the text */
};

/* What of a choice must outlive its chunk. */
struct choice_state {
    enum ir_stop stop;
    bool has_stop, has_content;
    struct told
        told;      /* all its text: citations come last, and count from where their part begins */
    size_t n_told; /* bytes */
    struct run first, *last;     /* last: NULL before any text */
    int64_t n_parts;             /* begun; a stream's pieces of one text are one */
    enum ir_part_kind part_kind; /* of the last one; IR_OPAQUE: no text */
};

struct decoder {
    struct wire_ctx *c;
    struct flow flow;
    struct choice_state choices[FLOW_CHOICES];
    struct ir_usage usage;
    bool is_whole; /* one reply, no stream */
};

static void *decoder_new(struct wire_ctx *c)
{
    struct decoder *d = ARENA_NEW(c->arena, struct decoder);
    d->c = c;
    d->usage = IR_USAGE_NONE;
    flow_init(&d->flow, c);
    for (unsigned i = 0; i < FLOW_CHOICES; i++)
        told_init(&d->choices[i].told, c->arena);
    return d;
}

static int64_t count_of(yyjson_val *v, const char *camel, const char *snake)
{
    return wire_count(get2(v, camel, snake));
}

static int64_t modality_tokens(yyjson_val *list, struct str modality)
{
    size_t i, n;
    yyjson_val *v;
    if (yyjson_is_arr(list))
        yyjson_arr_foreach (list, i, n, v)
            if (str_eq_nocase(json_get_str(v, "modality"), modality))
                return count_of(v, "tokenCount", "token_count");
    return -1;
}

static int64_t or_zero(int64_t v)
{
    return v > 0 ? v : 0;
}

struct counts { /* as the format says them; -1 unknown */
    int64_t prompt, tool, cached, candidates, thoughts, total;
};

static void settle_counts(struct counts *n, struct ir_usage *u)
{
    int64_t rest = n->total - or_zero(n->prompt) - or_zero(n->thoughts) - or_zero(n->tool);
    if (n->candidates <= 0 && n->total > 0 && n->prompt >= 0)
        n->candidates = or_zero(rest);
    if (n->prompt >= 0)
        u->input_total = n->prompt + or_zero(n->tool);
    if (n->candidates >= 0 || n->thoughts >= 0)
        u->output_total = or_zero(n->candidates) + or_zero(n->thoughts);
    u->cache_read = n->cached >= 0 ? n->cached : u->cache_read;
    u->reasoning = n->thoughts >= 0 ? n->thoughts : u->reasoning;
    u->tool_prompt = n->tool >= 0 ? n->tool : u->tool_prompt;
    u->total = n->total >= 0 ? n->total : u->total;
    ir_usage_settle(u);
}

/* Counts are cumulative: the last chunk's stand. */
static void read_usage(yyjson_val *v, struct ir_usage *u)
{
    if (!yyjson_is_obj(v))
        return;
    struct counts n = {
        .prompt = count_of(v, "promptTokenCount", "prompt_token_count"),
        .tool = count_of(v, "toolUsePromptTokenCount", "tool_use_prompt_token_count"),
        .cached = count_of(v, "cachedContentTokenCount", "cached_content_token_count"),
        .candidates = count_of(v, "candidatesTokenCount", "candidates_token_count"),
        .thoughts = count_of(v, "thoughtsTokenCount", "thoughts_token_count"),
        .total = count_of(v, "totalTokenCount", "total_token_count"),
    };
    settle_counts(&n, u);
    u->audio_in = modality_tokens(get2(v, "promptTokensDetails", "prompt_tokens_details"),
                                  STR("AUDIO"));
    u->audio_out = modality_tokens(get2(v, "candidatesTokensDetails", "candidates_tokens_details"),
                                   STR("AUDIO"));
}

/* Billed once a reply that searched, however often it did. */
static bool has_searched(yyjson_val *candidates)
{
    size_t i, n;
    yyjson_val *v;
    if (yyjson_is_arr(candidates))
        yyjson_arr_foreach (candidates, i, n, v) {
            yyjson_val *ground = get2(v, "groundingMetadata", "grounding_metadata");
            if (yyjson_arr_size(get2(ground, "webSearchQueries", "web_search_queries")) > 0)
                return true;
        }
    return false;
}

/* ---- citations ---- */
/* Byte offset to characters; -1 when it lies outside of what was kept. */
static int64_t chars_at(const struct choice_state *s, int64_t bytes)
{
    const struct told *t = &s->told;
    if (bytes < 0 || buf_failed(&t->rest) || (uint64_t)bytes > t->n_ascii + t->rest.n)
        return -1;
    if ((uint64_t)bytes <= t->n_ascii)
        return bytes;
    int64_t n = (int64_t)t->n_ascii;
    for (size_t i = 0; i < (size_t)bytes - t->n_ascii; i++)
        n += ((unsigned char)t->rest.p[i] & 0xc0) != 0x80;
    return n;
}

/* Bytes from `from` to `to` of a part (-1: of all text) as bytes of all text. Those that lie in no such part are tried in the whole: its
 * number is missing then, or counts otherwise than ours. */
static const struct run *find_run(const struct choice_state *s, int64_t part, int64_t *from,
                                  int64_t *to)
{
    const struct run *r = s->last ? &s->first : NULL;
    for (; r && part >= 0; r = r->next)
        if (r->part == part && *to >= *from && *to <= (int64_t)r->n) {
            *from += (int64_t)r->at;
            *to += (int64_t)r->at;
            return r;
        }
    if (*to < *from || *to > (int64_t)s->n_told) {
        *from = *to = -1; /* of the last text as a whole */
        return s->last;
    }
    for (r = s->last ? &s->first : NULL; r && r->next; r = r->next)
        if (*from < (int64_t)(r->at + r->n))
            break;
    return r;
}

/* Where the text of a block begins and ends. */
static void block_bounds(const struct choice_state *s, unsigned block, size_t *from, size_t *to)
{
    const struct run *r = &s->first;
    while (r->block != block)
        r = r->next;
    *from = r->at;
    for (; r && r->block == block; r = r->next)
        *to = r->at + r->n;
}

/* cite->start and end: in bytes of that part, or of all text. */
static void emit_citation(struct decoder *d, unsigned choice, int64_t part,
                          struct ir_citation *cite)
{
    const struct choice_state *s = &d->choices[choice];
    const struct flow_choice *f = &d->flow.choices[choice];
    const struct run *r = find_run(s, part, &cite->start, &cite->end);
    size_t begins = 0, ends = 0;
    if (!r) {
        wire_drop(d->c, "it belongs to no text", "citation");
        return;
    }
    block_bounds(s, r->block, &begins, &ends);
    int64_t before = chars_at(s, (int64_t)begins);
    int64_t to = cite->end < (int64_t)ends ? cite->end : (int64_t)ends;
    bool has_place = before >= 0 && cite->start >= 0;
    cite->origin = WIRE_GEMINI;
    cite->doc_index = -1;
    cite->start = has_place ? chars_at(s, cite->start) - before : -1;
    cite->end = has_place ? chars_at(s, to) - before : -1;
    struct ir_event ev = {.kind = IR_EV_CITATION, .citation = cite};
    if (f->is_open && f->block == r->block) {
        flow_event(&d->flow, choice, &ev);
    } else if (before < 0) {
        wire_drop(d->c, "its text is too long to count in", "citation");
    } else {
        ev.before = before;
        ev.length = chars_at(s, (int64_t)ends) - before;
        flow_late_citation(&d->flow, choice, r->block, &ev);
    }
}

/* One support is a stretch of the answer and the numbers of the chunks (pages) it rests on. */
static void grounding_support(struct decoder *d, unsigned choice, yyjson_val *support,
                              yyjson_val *chunks)
{
    yyjson_val *segment = json_get(support, "segment");
    yyjson_val *indices = get2(support, "groundingChunkIndices", "grounding_chunk_indices");
    int64_t part = or_zero(count_of(segment, "partIndex", "part_index"));
    int64_t from = or_zero(count_of(segment, "startIndex", "start_index"));
    int64_t to = count_of(segment, "endIndex", "end_index"), which;
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(indices))
        return;
    yyjson_arr_foreach (indices, i, n, v) {
        if (!json_int(v, &which) || which < 0 || (uint64_t)which >= yyjson_arr_size(chunks))
            continue;
        yyjson_val *chunk = yyjson_arr_get(chunks, (size_t)which);
        yyjson_val *page = json_get(chunk, "web");
        if (!page)
            page = get2(chunk, "retrievedContext", "retrieved_context");
        emit_citation(d, choice, part,
                      &(struct ir_citation){.kind = IR_CITE_URL,
                                            .url = json_get_str(page, "uri"),
                                            .title = json_get_str(page, "title"),
                                            .cited_text = json_get_str(segment, "text"),
                                            .start = from,
                                            .end = to});
    }
}

static void read_citations(struct decoder *d, unsigned choice, yyjson_val *candidate)
{
    yyjson_val *grounding = get2(candidate, "groundingMetadata", "grounding_metadata");
    yyjson_val *supports = get2(grounding, "groundingSupports", "grounding_supports");
    yyjson_val *chunks = get2(grounding, "groundingChunks", "grounding_chunks");
    yyjson_val *cited = get2(candidate, "citationMetadata", "citation_metadata");
    yyjson_val *sources = get2(cited, "citationSources", "citation_sources"), *v;
    size_t i, n;
    if (!sources)
        sources = json_get(cited, "citations");
    if (yyjson_is_arr(supports) && yyjson_is_arr(chunks))
        yyjson_arr_foreach (supports, i, n, v)
            grounding_support(d, choice, v, chunks);
    else if (yyjson_arr_size(chunks) > 0)
        wire_drop(d->c, "it says of nothing in the answer that it rests on it", "citation");
    if (yyjson_is_arr(sources))
        yyjson_arr_foreach (sources, i, n, v)
            emit_citation(
                d, choice, -1,
                &(struct ir_citation){.kind = IR_CITE_URL,
                                      .url = json_get_str(v, "uri"),
                                      .title = json_get_str(v, "title"),
                                      .start = or_zero(count_of(v, "startIndex", "start_index")),
                                      .end = count_of(v, "endIndex", "end_index")});
}

/* ---- logprobs: to the shape of chat completions ---- */
static void write_logprob(struct jw *w, yyjson_val *v)
{
    struct str token = json_get_str(v, "token");
    jw_kv_str(w, "token", token);
    jw_kv_val(w, "logprob", get2(v, "logProbability", "log_probability"));
    jw_key(w, "bytes");
    jw_array(w);
    for (size_t i = 0; i < token.n; i++)
        jw_int(w, (unsigned char)token.p[i]);
    jw_array_end(w);
}

static yyjson_val *chat_logprobs(struct decoder *d, yyjson_val *result)
{
    yyjson_val *chosen = get2(result, "chosenCandidates", "chosen_candidates");
    yyjson_val *top = get2(result, "topCandidates", "top_candidates");
    struct err ignored = ERR_INIT;
    struct buf b;
    size_t i, n, j, m;
    yyjson_val *v, *x, *root = NULL;
    buf_init_arena(&b, d->c->scratch, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    jw_array(&w);
    yyjson_arr_foreach (chosen, i, n, v) {
        yyjson_val *others = json_get(yyjson_arr_get(top, i), "candidates");
        jw_object(&w);
        write_logprob(&w, v);
        jw_key(&w, "top_logprobs");
        jw_array(&w);
        if (yyjson_is_arr(others))
            yyjson_arr_foreach (others, j, m, x) {
                jw_object(&w);
                write_logprob(&w, x);
                jw_object_end(&w);
            }
        jw_array_end(&w);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    return json_parse(d->c->scratch, buf_str(&b), 0, &root, &ignored) ? root : NULL;
}

static void read_logprobs(struct decoder *d, unsigned choice, yyjson_val *candidate)
{
    yyjson_val *result = get2(candidate, "logprobsResult", "logprobs_result");
    if (!yyjson_is_arr(get2(result, "chosenCandidates", "chosen_candidates")))
        return;
    yyjson_val *entries = chat_logprobs(d, result);
    if (entries)
        flow_event(&d->flow, choice, &(struct ir_event){.kind = IR_EV_LOGPROBS, .raw = entries});
}

/* ---- parts ---- */
static void count_part(struct decoder *d, struct choice_state *s, enum ir_part_kind kind)
{
    bool is_more = !d->is_whole && s->n_parts > 0 && kind != IR_OPAQUE && kind == s->part_kind;
    s->n_parts += !is_more;
    s->part_kind = kind;
}

/* Behind what was told in the block that is open. */
static void add_to_run(struct decoder *d, unsigned choice, struct str text)
{
    struct choice_state *s = &d->choices[choice];
    unsigned block = d->flow.choices[choice].block;
    int64_t part = s->n_parts - 1;
    if (!s->last || s->last->block != block || s->last->part != part) {
        struct run *r = s->last ? ARENA_NEW(d->c->arena, struct run) : &s->first;
        *r = (struct run){.part = part, .block = block, .at = s->n_told};
        if (s->last)
            s->last->next = r;
        s->last = r;
    }
    s->last->n += text.n;
    s->n_told += text.n;
    told_add(&s->told, text);
}

static void reply_text(struct decoder *d, unsigned choice, yyjson_val *v)
{
    struct choice_state *s = &d->choices[choice];
    struct flow_choice *f = &d->flow.choices[choice];
    struct str text = json_get_str(v, "text");
    struct str signature = get2_str(v, "thoughtSignature", "thought_signature");
    bool is_thought = json_get_bool(v, "thought", false);
    enum ir_part_kind kind = is_thought ? IR_REASONING : IR_TEXT;
    if (text.n || d->is_whole)
        count_part(d, s, kind);
    if (text.n) {
        s->has_content = true;
        flow_text(&d->flow, choice, kind, text);
        if (kind == IR_TEXT)
            add_to_run(d, choice, text);
    }
    if (signature.n && f->is_open && f->kind == kind)
        flow_event(&d->flow, choice,
                   &(struct ir_event){.kind = is_thought ? IR_EV_REASONING : IR_EV_TEXT,
                                      .thought_signature = signature});
}

static void reply_call(struct decoder *d, unsigned choice, yyjson_val *call, struct str signature)
{
    struct wire_ctx *c = d->c;
    struct str id = json_get_str(call, "id");
    yyjson_val *args = json_get(call, "args");
    if (!id.n)
        id = wire_make_id(c, "call_", 24);
    d->choices[choice].has_content = true;
    flow_open(&d->flow, choice, IR_TOOL_CALL,
              &(struct ir_event){.call_id = id,
                                 .name = wire_tool_name_back(c, json_get_str(call, "name")),
                                 .thought_signature = signature});
    flow_args(&d->flow, choice, json_absent(args) ? STR("{}") : json_text(c->scratch, args));
    flow_close(&d->flow, choice);
    if (signature.n && c->signature_put)
        c->signature_put(c->signature_arg, id, signature);
}

static void reply_media(struct decoder *d, unsigned choice, yyjson_val *data)
{
    struct ir_source s = inline_source(data);
    d->choices[choice].has_content = true;
    enum ir_part_kind kind = kind_of_media(s.media_type);
    if (kind == IR_AUDIO) { /* its pieces are one sound */
        flow_open(&d->flow, choice, kind, NULL);
        flow_event(&d->flow, choice, &(struct ir_event){.kind = IR_EV_MEDIA, .source = s});
        return;
    }
    flow_open(&d->flow, choice, kind, &(struct ir_event){.source = s});
    flow_event(&d->flow, choice, &(struct ir_event){.kind = IR_EV_MEDIA, .source = s});
    flow_close(&d->flow, choice);
}

static void reply_part(struct decoder *d, unsigned choice, yyjson_val *v)
{
    yyjson_val *x;
    if (yyjson_is_str(json_get(v, "text"))) {
        reply_text(d, choice, v);
        return;
    }
    count_part(d, &d->choices[choice], IR_OPAQUE);
    if (yyjson_is_obj(x = get2(v, "functionCall", "function_call"))) {
        reply_call(d, choice, x, get2_str(v, "thoughtSignature", "thought_signature"));
    } else if (yyjson_is_obj(x = get2(v, "inlineData", "inline_data"))) {
        reply_media(d, choice, x);
    } else if (yyjson_is_obj(v) && yyjson_obj_size(v) > 0) {
        d->choices[choice].has_content = true;
        flow_open(&d->flow, choice, IR_OPAQUE, &(struct ir_event){.raw = v});
        flow_close(&d->flow, choice);
    }
}

/* Whether there is more to the candidate than its content: in most chunks there is not. */
static bool has_extras(yyjson_val *candidate)
{
    yyjson_val *key, *v;
    size_t i, n;
    yyjson_obj_foreach (candidate, i, n, key, v)
        if (!str_is(json_str(key), "content") && !str_is(json_str(key), "index"))
            return true;
    return false;
}

static void candidate(struct decoder *d, yyjson_val *v, size_t position)
{
    int64_t index = json_get_int(v, "index", (int64_t)position);
    bool is_more = has_extras(v);
    struct str reason = is_more ? get2_str(v, "finishReason", "finish_reason") : STR_NONE;
    yyjson_val *parts = json_get(json_get(v, "content"), "parts"), *p;
    size_t i, n;
    if (index < 0 || index >= FLOW_CHOICES)
        return;
    unsigned choice = (unsigned)index;
    if (yyjson_is_arr(parts))
        yyjson_arr_foreach (parts, i, n, p)
            reply_part(d, choice, p);
    else if (yyjson_is_obj(parts))
        reply_part(d, choice, parts);
    if (is_more) {
        read_citations(d, choice, v);
        read_logprobs(d, choice, v);
    }
    if (reason.n) { /* some send it with every chunk: the last one counts */
        d->choices[choice].has_stop = true;
        d->choices[choice].stop = (enum ir_stop)word_value(stop_words, reason, IR_STOP_ERROR);
        if (choice >= d->flow.n_choices)
            d->flow.n_choices = choice + 1;
    }
}

/* A refused prompt has no candidates, only a reason. */
static void prompt_feedback(struct decoder *d, yyjson_val *root)
{
    if (yyjson_arr_size(json_get(root, "candidates")) > 0)
        return;
    yyjson_val *feedback = get2(root, "promptFeedback", "prompt_feedback");
    struct str reason = get2_str(feedback, "blockReason", "block_reason");
    if (!reason.n)
        return;
    flow_text(&d->flow, 0, IR_REFUSAL, reason);
    d->choices[0].has_stop = true;
    d->choices[0].has_content = true;
    d->choices[0].stop = IR_STOP_FILTER;
}

static bool chunk(struct decoder *d, yyjson_val *root, struct err *e)
{
    yyjson_val *list = json_get(root, "candidates"), *v;
    size_t i, n;
    if (yyjson_is_arr(root) &&
        yyjson_arr_size(root) > 0) { /* what alt=sse would have had in events */
        yyjson_arr_foreach (root, i, n, v)
            if (!chunk(d, v, e))
                return false;
        return true;
    }
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_UPSTREAM, "bad_upstream_stream",
                       "a chunk of the stream is no object");
    if (yyjson_is_obj(json_get(root, "error"))) {
        struct err upstream = ERR_INIT;
        wire_read_error_value(d->c->scratch, 0, root, &upstream);
        flow_error(&d->flow, &upstream);
        return true;
    }
    struct ir_usage before = d->usage;
    read_usage(get2(root, "usageMetadata", "usage_metadata"), &d->usage);
    if (has_searched(list))
        d->usage.searches = 1;
    if (!d->flow.is_started)
        flow_start_event(
            &d->flow, &(struct ir_event){.id = get2_str(root, "responseId", "response_id"),
                                         .model = get2_str(root, "modelVersion", "model_version"),
                                         .usage = d->usage});
    if (yyjson_is_arr(list))
        yyjson_arr_foreach (list, i, n, v)
            candidate(d, v, i);
    prompt_feedback(d, root);
    if (memcmp(&before, &d->usage, sizeof before) != 0)
        flow_usage(&d->flow, &d->usage);
    return true;
}

static bool decoder_push(void *dec, struct str event, struct str data, wire_sink_fn *emit,
                         void *arg, struct err *e)
{
    struct decoder *d = dec;
    yyjson_val *root;
    (void)event;
    flow_on(&d->flow, emit, arg);
    if (d->flow.is_ended || str_is(data, "[DONE]"))
        return true;
    if (!flow_read(&d->flow, data, &root, e)) {
        if (e)
            e->kind = ERR_UPSTREAM;
        return false;
    }
    return chunk(d, root, e);
}

/* Of the reasons that mean a failure only those without any content are one: what was said is delivered. */
static bool is_failure(const struct choice_state *s)
{
    return s->has_stop && s->stop == IR_STOP_ERROR && !s->has_content;
}

static void decoder_end(void *dec, wire_sink_fn *emit, void *arg)
{
    struct decoder *d = dec;
    bool is_complete = false;
    flow_on(&d->flow, emit, arg);
    if (is_failure(&d->choices[0]) && d->flow.n_choices <= 1) {
        struct err e = ERR_INIT;
        (void)err_set(&e, ERR_UPSTREAM, "bad_gateway", "the upstream gave no answer");
        flow_error(&d->flow, &e);
        return;
    }
    for (unsigned i = 0; i < FLOW_CHOICES; i++) {
        struct choice_state *s = &d->choices[i];
        if (!s->has_stop)
            continue;
        is_complete = true;
        flow_finish(&d->flow, i, s->stop == IR_STOP_ERROR ? IR_STOP_END : s->stop, STR_NONE);
    }
    flow_end(&d->flow, is_complete);
}

/* A whole reply is a stream of one chunk. */
static bool read_response(struct wire_ctx *c, yyjson_val *root, struct ir_response *out,
                          struct err *e)
{
    struct decoder *d = decoder_new(c);
    struct ir_collector *k = ir_collector_new(c);
    d->is_whole = yyjson_is_obj(root);
    flow_on(&d->flow, ir_collect, k);
    if (!chunk(d, root, e))
        return false;
    decoder_end(d, ir_collect, k);
    if (!ir_collected(k, out, e))
        return false;
    out->origin = WIRE_GEMINI;
    return true;
}

/* ======================================================================== replies and streams to a client */

static const char *stop_text(enum ir_stop stop)
{
    switch (stop) {
    case IR_STOP_LENGTH:
        return "MAX_TOKENS";
    case IR_STOP_FILTER:
    case IR_STOP_REFUSAL:
        return "SAFETY";
    case IR_STOP_ERROR:
    case IR_STOP_CANCELLED:
        return "OTHER";
    case IR_STOP_NONE:
    case IR_STOP_END:
    case IR_STOP_TOOL:
    case IR_STOP_PAUSE:
        return "STOP";
    }
    return "STOP";
}

static void write_usage(struct jw *w, const struct ir_usage *u)
{
    int64_t reasoning = or_zero(u->reasoning), out = ir_usage_out(u);
    jw_key(w, "usageMetadata");
    jw_object(w);
    jw_kv_int(w, "promptTokenCount", ir_usage_in(u));
    if (u->cache_read > 0)
        jw_kv_int(w, "cachedContentTokenCount", u->cache_read);
    jw_kv_int(w, "candidatesTokenCount", or_zero(out - reasoning));
    if (reasoning)
        jw_kv_int(w, "thoughtsTokenCount", reasoning);
    jw_kv_int(w, "totalTokenCount", ir_usage_total(u));
    jw_object_end(w);
}

/* The bytes before a character of n_ascii bytes and text; the whole length when there are fewer. */
static int64_t bytes_at(size_t n_ascii, struct str text, int64_t chars)
{
    if (chars <= (int64_t)n_ascii)
        return chars;
    chars -= (int64_t)n_ascii;
    size_t i = 0;
    while (i < text.n && chars > 0) {
        i++;
        while (i < text.n && ((unsigned char)text.p[i] & 0xc0) == 0x80)
            i++;
        chars--;
    }
    return (int64_t)(n_ascii + i);
}

/* text: of the part, behind its first n_ascii bytes. before: bytes of the parts before it. */
static void write_citation(struct jw *w, const struct ir_citation *cite, size_t n_ascii,
                           struct str text, size_t before)
{
    jw_object(w);
    if (cite->start >= 0 && cite->end >= cite->start) {
        jw_kv_int(w, "startIndex", (int64_t)before + bytes_at(n_ascii, text, cite->start));
        jw_kv_int(w, "endIndex", (int64_t)before + bytes_at(n_ascii, text, cite->end));
    }
    if (cite->url.n)
        jw_kv_str(w, "uri", cite->url);
    if (cite->title.n)
        jw_kv_str(w, "title", cite->title);
    jw_object_end(w);
}

/* ---- logprobs: from the shape of chat completions ---- */
static void write_candidate_logprob(struct jw *w, yyjson_val *v)
{
    jw_object(w);
    jw_kv_str(w, "token", json_get_str(v, "token"));
    jw_kv_val(w, "logProbability", json_get(v, "logprob"));
    jw_object_end(w);
}

static void write_logprobs(struct jw *w, yyjson_val *entries)
{
    size_t i, n, j, m;
    yyjson_val *v, *x;
    if (!yyjson_is_arr(entries) || yyjson_arr_size(entries) == 0)
        return;
    jw_key(w, "logprobsResult");
    jw_object(w);
    jw_key(w, "topCandidates");
    jw_array(w);
    yyjson_arr_foreach (entries, i, n, v) {
        yyjson_val *top = json_get(v, "top_logprobs");
        jw_object(w);
        jw_key(w, "candidates");
        jw_array(w);
        if (yyjson_is_arr(top))
            yyjson_arr_foreach (top, j, m, x)
                write_candidate_logprob(w, x);
        jw_array_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "chosenCandidates");
    jw_array(w);
    yyjson_arr_foreach (entries, i, n, v)
        write_candidate_logprob(w, v);
    jw_array_end(w);
    jw_object_end(w);
}

static bool shows_thoughts(const struct wire_ctx *c)
{
    return c->req && c->req->has_include_thoughts && c->req->include_thoughts;
}

static void write_reply_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        if (p->text.n || p->thought_signature.n)
            write_text(w, p->text, false, p->thought_signature);
        return;
    case IR_REASONING:
        if (p->text.n && shows_thoughts(c))
            write_text(w, p->text, true, p->thought_signature);
        return;
    case IR_TOOL_CALL:
        write_call(c, w, p, p->thought_signature);
        return;
    case IR_IMAGE:
    case IR_FILE:
    case IR_AUDIO:
    case IR_VIDEO:
        if (p->kind == IR_AUDIO && p->text.n)
            wire_drop(c, "the format has no place for it in an answer", "audio.transcript");
        if (p->source.kind == IR_SOURCE_DATA)
            write_inline(w, media_of(p), p->source.base64);
        else if (p->source.kind == IR_SOURCE_URL)
            write_file(w, p->source.media_type, p->source.url);
        return;
    case IR_OPAQUE:
        if (p->origin == WIRE_GEMINI && p->raw)
            jw_val(w, p->raw);
        return;
    case IR_TOOL_RESULT:
        return;
    }
}

static void write_reply_citations(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    bool is_open = false;
    size_t before = 0;
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        for (const struct ir_citation *cite = p->citations; cite; cite = cite->next) {
            if (!wire_answers_with_citation(c, cite))
                continue;
            if (!is_open) {
                jw_key(w, "citationMetadata");
                jw_object(w);
                jw_key(w, "citationSources");
                jw_array(w);
                is_open = true;
            }
            write_citation(w, cite, 0, p->text, before);
        }
        if (p->kind == IR_TEXT)
            before += p->text.n;
    }
    if (is_open) {
        jw_array_end(w);
        jw_object_end(w);
    }
}

/* The chat helpers of Google's own SDKs forget a turn when one of its chunks has no part. */
static void write_empty_content(struct jw *w)
{
    JW(w, "content", raw, STR("{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}"));
}

static void write_candidate(struct wire_ctx *c, struct jw *w, const struct ir_choice *choice)
{
    jw_object(w);
    jw_key(w, "content");
    jw_object(w);
    jw_key(w, "parts");
    jw_array(w);
    size_t before = w->b->n;
    for (const struct ir_part *p = choice->message.parts.first; p; p = p->next)
        write_reply_part(c, w, p);
    if (w->b->n == before)
        write_text(w, STR_NONE, false, STR_NONE);
    jw_array_end(w);
    jw_kv_cstr(w, "role", "model");
    jw_object_end(w);
    jw_kv_cstr(w, "finishReason", stop_text(choice->stop));
    jw_kv_int(w, "index", choice->index);
    write_reply_citations(c, w, &choice->message.parts);
    write_logprobs(w, json_get(choice->logprobs, "content"));
    jw_object_end(w);
}

static void write_response(struct wire_ctx *c, const struct ir_response *res, struct buf *out)
{
    struct jw w = jw_on(out);
    jw_object(&w);
    jw_key(&w, "candidates");
    jw_array(&w);
    for (const struct ir_choice *choice = res->choices; choice; choice = choice->next)
        write_candidate(c, &w, choice);
    jw_array_end(&w);
    write_usage(&w, &res->usage);
    jw_kv_str(&w, "modelVersion", wire_model_shown(c, res->model));
    if (res->id.n)
        jw_kv_str(&w, "responseId", res->id);
    else
        jw_kv_str(&w, "responseId", wire_make_id(c, "", 24));
    jw_object_end(&w);
}

static void write_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    (void)request_id;
    jw_object(&w);
    jw_key(&w, "error");
    jw_object(&w);
    jw_kv_int(&w, "code", err_status(e) == 529 ? 503 : err_status(e)); /* 529 is Anthropic's own */
    jw_kv_cstr(&w, "message", e->message);
    jw_kv_cstr(&w, "status", wire_google_error_status(e));
    jw_object_end(&w);
    jw_object_end(&w);
}

/* ---- stream ---- */
struct pending { /* of one choice */
    bool is_seen;
    enum ir_part_kind kind; /* of the open block */
    struct ir_part call;    /* its arguments are gathered to the end of the block */
    struct buf args;
    enum ir_stop stop;
    struct told told;     /* all text */
    int64_t before;       /* characters of it in blocks before the open one */
    struct buf citations; /* JSON, without brackets */
};

struct encoder {
    struct wire_ctx *c;
    bool is_ended, shows_thoughts, has_frames;
    struct str id, model;
    struct str tail; /* of every chunk: model and id, as JSON */
    struct ir_usage usage;
    struct pending *choices[FLOW_CHOICES]; /* NULL: nothing of it yet */
};

static void *encoder_new(struct wire_ctx *c)
{
    struct encoder *s = ARENA_NEW(c->arena, struct encoder);
    s->c = c;
    s->usage = IR_USAGE_NONE;
    s->shows_thoughts = shows_thoughts(c);
    return s;
}

static struct pending *pending_of(struct encoder *s, unsigned choice)
{
    struct pending *p = s->choices[choice];
    if (p)
        return p;
    p = s->choices[choice] = ARENA_NEW(s->c->arena, struct pending);
    buf_init_arena(&p->args, s->c->arena, SIZE_MAX / 2);
    told_init(&p->told, s->c->arena);
    buf_init_arena(&p->citations, s->c->arena, TEXT_KEPT_MAX);
    return p;
}

static void begin(struct encoder *s, const struct ir_event *ev)
{
    struct buf b;
    if (s->tail.n)
        return;
    buf_init_arena(&b, s->c->arena, SIZE_MAX / 2);
    buf_lit(&b, ",\"modelVersion\":\"");
    json_escape(&b, wire_model_shown(s->c, ev->model));
    buf_lit(&b, "\",\"responseId\":\"");
    json_escape(&b, ev->id.n ? ev->id : wire_make_id(s->c, "", 24));
    buf_lit(&b, "\"}");
    s->tail = buf_str(&b);
}

static void frame_begin(struct encoder *s, struct buf *out)
{
    begin(s, &(struct ir_event){0});
    if (!s->c->is_json_array)
        buf_lit(out, "data: ");
    else if (s->has_frames)
        buf_lit(out, ",\r\n");
    else
        buf_lit(out, "[");
    s->has_frames = true;
}

static void frame_end(struct encoder *s, struct buf *out)
{
    if (!s->c->is_json_array)
        buf_lit(out, "\r\n\r\n");
}

static void part_begin(struct encoder *s, struct buf *out)
{
    frame_begin(s, out);
    buf_lit(out, "{\"candidates\":[{\"content\":{\"parts\":[");
}

static void part_end(struct encoder *s, unsigned choice, struct buf *out)
{
    buf_lit(out, "],\"role\":\"model\"},\"index\":");
    buf_int(out, choice);
    buf_lit(out, "}]");
    buf_str_add(out, s->tail);
    frame_end(s, out);
}

static void put_text(struct encoder *s, const struct ir_event *ev, bool is_thought, struct buf *out)
{
    if ((!ev->text.n && !ev->thought_signature.n) || (is_thought && !s->shows_thoughts))
        return;
    part_begin(s, out);
    buf_lit(out, "{\"text\":\"");
    wire_put_text(out, ev);
    buf_lit(out, "\"");
    if (is_thought)
        buf_lit(out, ",\"thought\":true");
    if (ev->thought_signature.n) {
        buf_lit(out, ",\"thoughtSignature\":\"");
        json_escape(out, ev->thought_signature);
        buf_lit(out, "\"");
    }
    buf_lit(out, "}");
    part_end(s, ev->choice, out);
    if (!is_thought)
        told_add(&pending_of(s, ev->choice)->told, ev->text);
}

static void put_part(struct encoder *s, unsigned choice, const struct ir_part *part,
                     struct buf *out)
{
    struct jw w = jw_on(out);
    part_begin(s, out);
    write_reply_part(s->c, &w, part);
    part_end(s, choice, out);
}

static void begin_block(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct pending *p = pending_of(s, ev->choice);
    struct arena *a = s->c->arena;
    p->kind = ev->part_kind;
    p->before = (int64_t)p->told.n_ascii + wire_chars(buf_str(&p->told.rest));
    buf_clear(&p->args);
    if (p->kind == IR_TOOL_CALL)
        p->call = (struct ir_part){.kind = IR_TOOL_CALL,
                                   .call_kind = ev->call_kind,
                                   .call_id = str_dup(a, ev->call_id),
                                   .name = str_dup(a, ev->name),
                                   .thought_signature = str_dup(a, ev->thought_signature)};
    else if (p->kind == IR_OPAQUE && ev->raw && s->c->upstream == WIRE_GEMINI)
        put_part(s, ev->choice,
                 &(struct ir_part){.kind = IR_OPAQUE, .origin = WIRE_GEMINI, .raw = ev->raw}, out);
}

static void end_block(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct pending *p = pending_of(s, ev->choice);
    if (p->kind == IR_TOOL_CALL) {
        p->call.args_raw = buf_str(&p->args);
        put_part(s, ev->choice, &p->call, out);
    }
    p->kind = IR_OPAQUE;
}

static void keep_citation(struct encoder *s, struct pending *p, const struct ir_event *ev)
{
    struct ir_citation cite = *ev->citation;
    int64_t before = ev->is_late ? ev->before : p->before;
    struct jw w = jw_on(&p->citations);
    if (!wire_answers_with_citation(s->c, &cite))
        return;
    if (cite.start >= 0 && cite.end >= cite.start) {
        cite.start += before;
        cite.end += before;
    }
    if (p->citations.n)
        buf_char(&p->citations, ',');
    write_citation(&w, &cite, p->told.n_ascii, buf_str(&p->told.rest), 0);
}

static void put_logprobs(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct jw w = jw_on(out);
    if (!yyjson_is_arr(ev->raw) || yyjson_arr_size(ev->raw) == 0)
        return;
    frame_begin(s, out);
    buf_lit(out, "{\"candidates\":[");
    jw_object(&w);
    write_empty_content(&w);
    jw_kv_int(&w, "index", ev->choice);
    write_logprobs(&w, ev->raw);
    jw_object_end(&w);
    buf_lit(out, "]");
    buf_str_add(out, s->tail);
    frame_end(s, out);
}

static void put_last(struct encoder *s, struct buf *out)
{
    struct jw w = jw_on(out);
    pending_of(s, 0)->is_seen = true;
    frame_begin(s, out);
    jw_object(&w);
    jw_key(&w, "candidates");
    jw_array(&w);
    for (unsigned i = 0; i < FLOW_CHOICES; i++) {
        const struct pending *p = s->choices[i];
        if (!p || !p->is_seen)
            continue;
        jw_object(&w);
        write_empty_content(&w);
        jw_kv_cstr(&w, "finishReason", stop_text(p->stop));
        jw_kv_int(&w, "index", i);
        if (p->citations.n && !buf_failed(&p->citations)) {
            jw_key(&w, "citationMetadata");
            jw_object(&w);
            jw_key(&w, "citationSources");
            jw_array(&w);
            jw_raw(&w, buf_str(&p->citations));
            jw_array_end(&w);
            jw_object_end(&w);
        }
        jw_object_end(&w);
    }
    jw_array_end(&w);
    write_usage(&w, &s->usage);
    buf_str_add(out, s->tail); /* closes the object */
    frame_end(s, out);
    if (s->c->is_json_array)
        buf_lit(out, "]");
}

static void put_error(struct encoder *s, const struct err *e, struct buf *out)
{
    frame_begin(s, out);
    write_error(e, STR_NONE, out);
    frame_end(s, out);
    if (s->c->is_json_array)
        buf_lit(out, "]");
    s->is_ended = true;
}

static void encoder_push(void *enc, const struct ir_event *ev, struct buf *out)
{
    struct encoder *s = enc;
    if (s->is_ended || ev->choice >= FLOW_CHOICES)
        return;
    struct pending *p = pending_of(s, ev->choice);
    switch (ev->kind) {
    case IR_EV_START:
        begin(s, ev);
        break;
    case IR_EV_BLOCK_START:
        p->is_seen = true;
        begin_block(s, ev, out);
        break;
    case IR_EV_TEXT:
        put_text(s, ev, false, out);
        break;
    case IR_EV_REASONING:
        put_text(s, ev, true, out);
        break;
    case IR_EV_TOOL_ARGS:
        if (p->kind == IR_TOOL_CALL)
            buf_str_add(&p->args, ev->text);
        break;
    case IR_EV_CITATION:
        keep_citation(s, p, ev);
        break;
    case IR_EV_LOGPROBS:
        put_logprobs(s, ev, out);
        break;
    case IR_EV_MEDIA:
        if (ev->text.n)
            wire_drop(s->c, "the format has no place for it in an answer", "audio.transcript");
        if (ev->source.kind != IR_SOURCE_NONE)
            put_part(s, ev->choice, &(struct ir_part){.kind = ev->part_kind, .source = ev->source},
                     out);
        break;
    case IR_EV_BLOCK_END:
        end_block(s, ev, out);
        break;
    case IR_EV_USAGE:
        s->usage = ir_usage_merge(s->usage, ev->usage);
        break;
    case IR_EV_FINISH:
        p->is_seen = true;
        p->stop = ev->stop;
        break;
    case IR_EV_ERROR:
        put_error(s, ev->error, out);
        break;
    case IR_EV_END:
        put_last(s, out);
        s->is_ended = true;
        break;
    case IR_EV_PING: /* Google's SDKs take a comment for broken JSON */
        break;
    }
}

/* ======================================================================== metering */

/* The last "finishReason" of a chunk: inside of strings its quotes would be escaped. */
static void meter_stop(struct str data, enum ir_stop *stop)
{
    const char *at = memmem(data.p, data.n, "\"finishReason\"", sizeof "\"finishReason\"" - 1);
    if (!at)
        return;
    struct str rest = str_trim(
        str_skip(data, (size_t)(at - data.p) + sizeof "\"finishReason\"" - 1));
    if (!rest.n || rest.p[0] != ':')
        return;
    rest = str_trim(str_skip(rest, 1));
    if (!rest.n || rest.p[0] != '"')
        return;
    rest = str_skip(rest, 1);
    *stop = (enum ir_stop)word_value(stop_words, str_first(rest, str_index(rest, '"')),
                                     IR_STOP_END);
}

/* Of the chunk itself, which may be the last one of a list: the arguments of a call may have such a member as well. */
static struct str meter_object(struct str data)
{
    const struct str key = STR("usageMetadata");
    int depth;
    struct str found = wire_last_member(data, key, &depth);
    if (!found.n && depth < 0) /* it is cut off there: the one before */
        found = wire_last_member(str_first(data, wire_last_value(data, key) - key.n), key, &depth);
    if (depth > 2)
        found = wire_member(data, "usageMetadata");
    return found;
}

/* [{"modality":"TEXT","tokenCount":12},{"modality":"AUDIO","tokenCount":34}]: how many of sound. */
static void meter_sound(struct str text, const char *details, int64_t *out)
{
    struct json_scan scan;
    struct json_want want[] = {{.key = details}},
                     entry[] = {{.key = "modality"}, {.key = "tokenCount"}};
    if (!str_contains(text, STR("\"AUDIO\"")) || !json_scan_object(text, want, 1, 0, &scan, NULL))
        return;
    struct str list = str_n(text.p + want[0].span.at, want[0].span.n);
    while (list.n) {
        size_t from = str_index(list, '{'), n = str_index(str_skip(list, from), '}');
        struct str one = str_n(list.p + from, from + n < list.n ? n + 1 : 0);
        if (!one.n || !json_scan_object(one, entry, ARRAY_LEN(entry), 0, &scan, NULL))
            return;
        if (str_is(str_n(one.p + entry[0].span.at, entry[0].span.n), "\"AUDIO\""))
            *out = wire_count_in(one, &entry[1]);
        list = str_skip(list, from + n + 1);
    }
}

static bool meter(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    struct json_scan scan;
    struct json_want want[] = {
        {.key = "promptTokenCount"},        {.key = "toolUsePromptTokenCount"},
        {.key = "cachedContentTokenCount"}, {.key = "candidatesTokenCount"},
        {.key = "thoughtsTokenCount"},      {.key = "totalTokenCount"},
    };
    (void)event;
    if (data.n == 0)
        return false;
    struct str text = meter_object(data);
    if (text.n && json_scan_object(text, want, ARRAY_LEN(want), 0, &scan, NULL)) {
        struct counts n = {wire_count_in(text, &want[0]), wire_count_in(text, &want[1]),
                           wire_count_in(text, &want[2]), wire_count_in(text, &want[3]),
                           wire_count_in(text, &want[4]), wire_count_in(text, &want[5])};
        settle_counts(&n, usage);
        meter_sound(text, "promptTokensDetails", &usage->audio_in);
        meter_sound(text, "candidatesTokensDetails", &usage->audio_out);
    }
    static const struct str searched = STR_INIT("\"webSearchQueries\"");
    if (memmem(data.p, data.n, searched.p, searched.n))
        usage->searches = 1;
    meter_stop(data, stop);
    return false; /* the connection's end is the end */
}

const struct wire wire_gemini = {
    .id = WIRE_GEMINI,
    .name = "google",
    .framing = FRAMING_SSE,
    .answers_with_sound = true,
    .read_request = read_request,
    .write_request = write_request,
    .read_response = read_response,
    .write_response = write_response,
    .decoder_new = decoder_new,
    .decoder_push = decoder_push,
    .decoder_end = decoder_end,
    .encoder_new = encoder_new,
    .encoder_push = encoder_push,
    .write_error = write_error,
    .keepalive = NULL, /* Google's SDKs take a comment for broken JSON */
    .meter = meter,
};
