/* openai_chat.c - OpenAI Chat Completions, both directions: requests, replies, streams.
 * Not here: pairing calls with results, ids and names (prepare.h), stream bookkeeping (flow.h), schema cleaning. */
#include "base/codec.h"
#include "wire/media.h"
#include "wire/openai.h"
#include "wire/wires.h"
#include "base/banned.h"

#define CALLS_MAX 512        /* parallel calls of one stream */
#define HELD_MAX (16u << 20) /* bytes of interleaved arguments kept back */

/* clang-format off */
static const struct word stop_words[] = { /* "finish_reason" <-> IR; the first of a kind is the one written */
    {"stop", IR_STOP_END},               {"length", IR_STOP_LENGTH},     {"tool_calls", IR_STOP_TOOL},
    {"content_filter", IR_STOP_FILTER},  {"function_call", IR_STOP_TOOL}, {"eos", IR_STOP_END},
    {"end_turn", IR_STOP_END},           {"max_tokens", IR_STOP_LENGTH}, {"tool_use", IR_STOP_TOOL},
    {"stop", IR_STOP_REFUSAL},           {"stop", IR_STOP_PAUSE},        {"stop", IR_STOP_ERROR},
    {"stop", IR_STOP_CANCELLED},         {"error", IR_STOP_ERROR},       {"stop", IR_STOP_NONE},
    {0},
};
static const struct word role_words[] = {
    {"system", IR_SYSTEM}, {"developer", IR_SYSTEM}, {"user", IR_USER}, {"assistant", IR_ASSISTANT},
    {"tool", IR_TOOL},     {"function", IR_TOOL},    {0},
};
static const char *const known_members[] = {
    "model", "messages", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "logit_bias",
    "seed", "n", "stop", "logprobs", "top_logprobs", "response_format", "reasoning_effort", "thinking", "stream",
    "stream_options", "prompt_cache_key", "prompt_cache_retention", "user", "safety_identifier", "service_tier", "verbosity",
    "metadata", "modalities", "audio", "store", NULL,
};
/* clang-format on */
static const char refused[] = "refused by the upstream";

/* ======================================================================== reading requests */

static void read_thinking_list(struct wire_ctx *c, yyjson_val *list, struct ir_parts *parts)
{
    yyjson_val *item;
    size_t i, n;
    yyjson_arr_foreach (list, i, n,
                        item) { /* Mistral: {type:"thinking",thinking:[{type:"text",text}]} */
        struct ir_part *p = ir_part_add(c->arena, parts, IR_REASONING);
        p->origin = WIRE_CHAT;
        p->text = yyjson_is_str(item) ? json_str(item) : json_get_str(item, "text");
    }
}

static void read_audio(yyjson_val *v, struct ir_part *p)
{
    yyjson_val *audio = json_get(v, "input_audio");
    p->source = (struct ir_source){.kind = IR_SOURCE_DATA,
                                   .media_type = wire_media_of_audio(json_get_str(audio, "format")),
                                   .base64 = json_get_str(audio, "data")};
}

static void read_cache(yyjson_val *v, struct ir_part *p) /* an extension of several routers */
{
    yyjson_val *mark = json_get(v, "cache_control");
    if (yyjson_is_obj(mark))
        p->cache = (struct ir_cache_mark){.is_set = true, .ttl = json_get_str(mark, "ttl")};
}

static bool read_part(struct wire_ctx *c, yyjson_val *v, const char *where, struct ir_parts *parts,
                      struct err *e)
{
    struct str type = json_get_str(v, "type");
    if (yyjson_is_str(v)) {
        ir_part_add(c->arena, parts, IR_TEXT)->text = json_str(v);
        return true;
    }
    if (!yyjson_is_obj(v))
        return err_field(e, where, "a content part must be an object");
    if (str_is(type, "text") || str_is(type, "input_text") || str_is(type, "output_text") ||
        (type.n == 0 && json_get(v, "text"))) {
        if (!yyjson_is_str(json_get(v, "text")))
            return err_field(e, where, "a text part needs a string 'text'");
        struct ir_part *p = ir_part_add(c->arena, parts, IR_TEXT);
        p->text = json_get_str(v, "text");
        read_cache(v, p);
    } else if (str_is(type, "image_url") || str_is(type, "input_image")) {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_IMAGE);
        openai_read_image(c, v, p);
        read_cache(v, p);
        if (p->source.kind == IR_SOURCE_REF && p->source.ref.n == 0)
            return err_field(e, where, "an image part needs 'image_url'");
    } else if (str_is(type, "input_audio")) {
        read_audio(v, ir_part_add(c->arena, parts, IR_AUDIO));
    } else if (str_is(type, "file") || str_is(type, "input_file")) {
        yyjson_val *file = json_get(v, "file");
        struct ir_part *p = ir_part_add(c->arena, parts, IR_FILE);
        openai_read_file(c, file ? file : v, p);
        read_cache(v, p);
    } else if (str_is(type, "video_url")) {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_VIDEO);
        p->source = ir_source_of_url(c->arena, json_get_str(json_get(v, "video_url"), "url"));
    } else if (str_is(type, "refusal")) {
        ir_part_add(c->arena, parts, IR_REFUSAL)->text = json_get_str(v, "refusal");
    } else if (str_is(type, "thinking") || str_is(type, "reasoning")) {
        yyjson_val *thinking = json_get(v, "thinking");
        if (yyjson_is_arr(thinking)) {
            read_thinking_list(c, thinking, parts);
        } else {
            struct ir_part *p = ir_part_add(c->arena, parts, IR_REASONING);
            p->origin = WIRE_CHAT;
            p->text = yyjson_is_str(thinking) ? json_str(thinking) : json_get_str(v, "text");
        }
    } else {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_OPAQUE);
        p->origin = WIRE_CHAT;
        p->raw = v;
    }
    return true;
}

static bool read_content(struct wire_ctx *c, yyjson_val *content, const char *where,
                         struct ir_parts *parts, struct err *e)
{
    return openai_read_content(c, content, where, read_part, parts, e);
}

/* reasoning_content, its alias reasoning, or the texts of reasoning_details */
static void read_reasoning(struct wire_ctx *c, yyjson_val *message, struct ir_parts *parts)
{
    struct str text = json_get_str(message, "reasoning_content");
    yyjson_val *details = json_get(message, "reasoning_details"), *item;
    size_t i, n;
    if (text.n == 0)
        text = json_get_str(message, "reasoning");
    if (text.n > 0) {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_REASONING);
        p->origin = WIRE_CHAT;
        p->text = text;
        return;
    }
    yyjson_arr_foreach (details, i, n, item) {
        struct str piece = json_get_str(item, "text");
        if (piece.n == 0)
            piece = json_get_str(item, "summary");
        if (piece.n == 0)
            continue;
        struct ir_part *p = ir_part_add(c->arena, parts, IR_REASONING);
        p->origin = WIRE_CHAT;
        p->text = piece;
    }
}

static struct str args_text(struct wire_ctx *c, yyjson_val *args)
{
    return yyjson_is_str(args) ? json_str(args)
           : json_absent(args) ? STR_NONE
                               : json_text(c->arena, args);
}

static void read_call(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    bool is_custom = str_is(json_get_str(v, "type"), "custom");
    yyjson_val *inner = json_get(v, is_custom ? "custom" : "function");
    struct ir_part *p = ir_part_add(c->arena, parts, IR_TOOL_CALL);
    p->call_kind = is_custom ? IR_CALL_CUSTOM : IR_CALL_FUNCTION;
    p->call_id = json_get_str(v, "id");
    p->name = json_get_str(inner, "name");
    p->args_raw = args_text(c, json_get(inner, is_custom ? "input" : "arguments"));
    p->origin = WIRE_CHAT;
}

static struct str legacy_id(struct wire_ctx *c, struct str name)
{
    return str_fmt(c->arena, "call_" STR_FMT, STR_ARG(name));
}

static void read_calls(struct wire_ctx *c, yyjson_val *message, struct ir_parts *parts)
{
    yyjson_val *v, *legacy = json_get(message, "function_call");
    size_t i, n;
    yyjson_arr_foreach (json_get(message, "tool_calls"), i, n, v)
        read_call(c, v, parts);
    if (!yyjson_is_obj(legacy))
        return;
    struct ir_part *p = ir_part_add(c->arena, parts, IR_TOOL_CALL);
    p->name = json_get_str(legacy, "name");
    p->call_id = legacy_id(c, p->name);
    p->args_raw = args_text(c, json_get(legacy, "arguments"));
}

static bool read_assistant(struct wire_ctx *c, yyjson_val *v, const char *where,
                           struct ir_message *m, struct err *e)
{
    struct str refusal = json_get_str(v, "refusal"),
               audio = json_get_str(json_get(v, "audio"), "id");
    yyjson_val *calls = json_get(v, "tool_calls");
    if (!json_absent(calls) && !yyjson_is_arr(calls))
        return err_field(e, where, "tool_calls must be an array");
    read_reasoning(c, v, &m->parts);
    if (!read_content(c, json_get(v, "content"), where, &m->parts, e))
        return false;
    if (refusal.n > 0)
        ir_part_add(c->arena, &m->parts, IR_REFUSAL)->text = refusal;
    if (audio.n > 0) {
        struct ir_part *p = ir_part_add(c->arena, &m->parts, IR_AUDIO);
        p->source = (struct ir_source){.kind = IR_SOURCE_REF, .ref = audio};
    }
    read_calls(c, v, &m->parts);
    return true;
}

static bool read_result(struct wire_ctx *c, yyjson_val *v, bool is_legacy, const char *where,
                        struct ir_message *m, struct err *e)
{
    struct ir_part *p = ir_part_add(c->arena, &m->parts, IR_TOOL_RESULT);
    p->name = json_get_str(v, "name");
    p->call_id = is_legacy ? legacy_id(c, p->name) : json_get_str(v, "tool_call_id");
    yyjson_val *content = json_get(v, "content");
    if (yyjson_is_obj(content)) { /* no one should, some do */
        p->result_json = content;
        return true;
    }
    return read_content(c, content, where, &p->content, e);
}

/* <tool-content call-id="ID">: what write_media_of_results made of a result's media */
static bool is_tool_content(struct str text, struct str *id)
{
    struct str head = STR("<tool-content"), middle = STR("call-id=\""), tail = STR("\">");
    text = str_trim(text);
    if (!str_starts(text, head) || !str_ends(text, tail))
        return false;
    struct str rest = str_skip(text, head.n);
    size_t spaces = 0;
    while (spaces < rest.n && (rest.p[spaces] == ' ' || rest.p[spaces] == '\t'))
        spaces++;
    rest = str_skip(rest, spaces);
    if (spaces == 0 || !str_starts(rest, middle) || rest.n <= middle.n + tail.n)
        return false;
    *id = str_n(rest.p + middle.n, rest.n - middle.n - tail.n);
    return str_index(*id, '"') == id->n;
}

static struct ir_part *result_by_id(struct ir_messages *list, struct str id)
{
    struct ir_part *found = NULL;
    struct ir_message *last_call = NULL;
    for (struct ir_message *m = list->first; m; m = m->next) {
        if (m->role == IR_ASSISTANT) {
            last_call = m;
            found = NULL;
        }
        for (struct ir_part *p = m->parts.first; m->role == IR_TOOL && p; p = p->next)
            if (str_eq(p->call_id, id))
                found = p;
    }
    return last_call ? found : NULL;
}

/* A user message of wrapped tool content goes back into the results it came from. false: it is an ordinary message. */
static bool fold_tool_content(struct wire_ctx *c, struct ir_messages *list,
                              const struct ir_message *m)
{
    struct str id;
    struct ir_part *result = NULL;
    const struct ir_part *first = m->parts.first;
    if (!first || first->kind != IR_TEXT || !is_tool_content(first->text, &id))
        return false;
    for (const struct ir_part *p = first; p; p = p->next) {
        if (p->kind == IR_TEXT && is_tool_content(p->text, &id)) {
            result = result_by_id(list, id);
            if (!result)
                return false;
            continue;
        }
        if (p->kind == IR_TEXT && str_is(str_trim(p->text), "</tool-content>")) {
            result = NULL;
            continue;
        }
        if (!result)
            return false;
        struct ir_part *copy = ir_part_add(c->arena, &result->content, p->kind);
        struct ir_part *next = copy->next;
        *copy = *p;
        copy->next = next;
    }
    return true;
}

static void add_system(struct wire_ctx *c, const struct ir_message *m, struct ir_system ***tail)
{
    struct ir_system *s = ARENA_NEW(c->arena, struct ir_system);
    s->text = ir_parts_text(c->arena, &m->parts);
    s->is_developer = m->is_developer;
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        if (p->cache.is_set)
            s->cache = p->cache;
    **tail = s;
    *tail = &s->next;
}

static bool read_message(struct wire_ctx *c, yyjson_val *v, unsigned i, struct ir_request *out,
                         struct ir_system ***system, struct err *e)
{
    char where[48];
    wire_place(where, sizeof where, "messages", "[", i, "]");
    if (!yyjson_is_obj(v))
        return err_field(e, where, "a message must be an object");
    struct str role = json_get_str(v, "role");
    int kind = word_value(role_words, role, -1);
    if (kind < 0) {
        wire_place(where, sizeof where, "messages", "[", i, "].role");
        return err_field(e, where, "unknown role '" STR_FMT "'", STR_ARG(str_first(role, 64)));
    }
    struct ir_message *m = ARENA_NEW(c->arena, struct ir_message);
    m->role = (enum ir_role)kind;
    m->is_developer = str_is(role, "developer");
    m->name = json_get_str(v, "name");
    bool ok = m->role == IR_ASSISTANT ? read_assistant(c, v, where, m, e)
              : m->role == IR_TOOL    ? read_result(c, v, str_is(role, "function"), where, m, e)
                                   : read_content(c, json_get(v, "content"), where, &m->parts, e);
    if (!ok)
        return false;
    if (m->role == IR_SYSTEM && out->messages.n == 0) {
        add_system(c, m, system);
        return true;
    }
    if (m->role == IR_USER && fold_tool_content(c, &out->messages, m))
        return true;
    struct ir_message *added = ir_message_add(c->arena, &out->messages, m->role);
    *added = *m;
    added->next = NULL;
    return true;
}

static bool read_messages(struct wire_ctx *c, yyjson_val *list, struct ir_request *out,
                          struct err *e)
{
    struct ir_system **system = &out->system;
    yyjson_val *v;
    size_t i, n;
    if (!yyjson_is_arr(list))
        return err_field(e, "messages", "'messages' must be an array");
    if (yyjson_arr_size(list) == 0)
        return err_field(e, "messages", "'messages' must not be empty");
    yyjson_arr_foreach (list, i, n, v)
        if (!read_message(c, v, (unsigned)i, out, &system, e))
            return false;
    return true;
}

static struct str text_of(struct wire_ctx *c,
                          yyjson_val *v) /* a description that is no string is written as text */
{
    return yyjson_is_str(v) ? json_str(v) : json_absent(v) ? STR_NONE : json_text(c->arena, v);
}

static bool read_tool(struct wire_ctx *c, yyjson_val *v, const char *where, struct ir_tool *t,
                      struct err *e)
{
    struct str type = json_get_str(v, "type");
    if (!yyjson_is_obj(v))
        return err_field(e, where, "a tool must be an object");
    t->origin = WIRE_CHAT;
    t->raw = v;
    if (type.n > 0 && !str_is(type, "function") && !str_is(type, "custom")) {
        t->kind = IR_TOOL_HOSTED;
        t->hosted_type = type;
        return true;
    }
    bool is_custom = str_is(type, "custom");
    yyjson_val *at = json_get(v, is_custom ? "custom" : "function"),
               *strict = json_get(at, "strict");
    if (!at && !json_get(v, "name"))
        return err_field(e, where, "'%s' has no '%s'", where, is_custom ? "custom" : "function");
    if (!at)
        at = v; /* the flat spelling of the other OpenAI format */
    t->kind = is_custom ? IR_TOOL_CUSTOM : IR_TOOL_FUNCTION;
    t->name = json_get_str(at, "name");
    t->description = text_of(c, json_get(at, "description"));
    t->parameters = json_get(at, "parameters");
    if (!yyjson_is_obj(t->parameters))
        t->parameters = NULL;
    t->has_strict = yyjson_is_bool(strict);
    t->strict = yyjson_get_bool(strict);
    yyjson_val *mark = json_get(v, "cache_control");
    if (yyjson_is_obj(mark))
        t->cache = (struct ir_cache_mark){.is_set = true, .ttl = json_get_str(mark, "ttl")};
    return true;
}

static bool read_tools(struct wire_ctx *c, yyjson_val *root, struct ir_request *out, struct err *e)
{
    yyjson_val *list = json_get(root, "tools"), *legacy = json_get(root, "functions"), *v;
    struct ir_tool **tail = &out->tools;
    size_t i, n;
    char where[32];
    if (!json_absent(list) && !yyjson_is_arr(list))
        return err_field(e, "tools", "'tools' must be an array");
    yyjson_arr_foreach (list, i, n, v) {
        struct ir_tool *t = ARENA_NEW(c->arena, struct ir_tool);
        wire_place(where, sizeof where, "tools", "[", i, "]");
        if (!read_tool(c, v, where, t, e))
            return false;
        *tail = t;
        tail = &t->next;
    }
    yyjson_arr_foreach (legacy, i, n, v) {
        struct ir_tool *t = ARENA_NEW(c->arena, struct ir_tool);
        t->origin = WIRE_CHAT;
        t->name = json_get_str(v, "name");
        t->description = text_of(c, json_get(v, "description"));
        t->parameters = yyjson_is_obj(json_get(v, "parameters")) ? json_get(v, "parameters") : NULL;
        *tail = t;
        tail = &t->next;
    }
    yyjson_val *choice = json_get(root, "tool_choice"), *call = json_get(root, "function_call");
    if (!json_absent(choice) || json_absent(call))
        return openai_read_choice(c->arena, choice, out, e);
    return openai_read_choice(c->arena, call, out, e);
}

static bool read_stop(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    yyjson_val *item;
    size_t i, n;
    if (json_absent(v))
        return true;
    out->is_stop_string = yyjson_is_str(v);
    if (!out->is_stop_string && !yyjson_is_arr(v))
        return err_field(e, "stop", "'stop' must be a string or an array of strings");
    out->stop.v = ARENA_ARRAY(c->arena, struct str, yyjson_arr_size(v) + 1);
    if (out->is_stop_string)
        out->stop.v[out->stop.n++] = json_str(v);
    yyjson_arr_foreach (v, i, n, item) {
        if (!yyjson_is_str(item))
            return err_field(e, "stop", "'stop' must be a string or an array of strings");
        out->stop.v[out->stop.n++] = json_str(item);
    }
    return true;
}

/* reasoning_effort, and the extensions thinking:{type,budget_tokens}, reasoning:{effort,max_tokens,enabled}, enable_thinking */
static bool read_reasoning_config(yyjson_val *root, struct ir_request *out, struct err *e)
{
    yyjson_val *thinking = json_get(root, "thinking"), *reasoning = json_get(root, "reasoning");
    yyjson_val *enable = json_get(root, "enable_thinking");
    struct str effort = STR_NONE;
    if (!openai_read_str(root, "reasoning_effort", &effort, e))
        return false;
    if (effort.n == 0 && yyjson_is_obj(reasoning))
        effort = json_get_str(reasoning, "effort");
    if (!enable)
        enable = json_get(json_get(root, "chat_template_kwargs"), "enable_thinking");
    if (effort.n > 0) {
        out->effort = wire_effort_parse(effort);
        if (out->effort == IR_EFFORT_UNSET)
            return err_field(e, "reasoning_effort", "unknown effort '" STR_FMT "'",
                             STR_ARG(str_first(effort, 32)));
        out->reasoning = out->effort == IR_EFFORT_NONE ? IR_REASONING_DISABLED
                                                       : IR_REASONING_ENABLED;
    }
    struct str type = json_get_str(thinking, "type");
    if (str_is(type, "disabled"))
        out->reasoning = IR_REASONING_DISABLED;
    else if (str_is(type, "enabled"))
        out->reasoning = IR_REASONING_ENABLED;
    else if (str_is(type, "auto") || str_is(type, "adaptive"))
        out->reasoning = IR_REASONING_AUTO;
    out->budget_tokens = json_get_int(thinking, "budget_tokens",
                                      json_get_int(reasoning, "max_tokens", -1));
    if (out->budget_tokens >= 0 && out->reasoning == IR_REASONING_UNSET)
        out->reasoning = IR_REASONING_ENABLED;
    if (yyjson_is_bool(enable) && out->reasoning == IR_REASONING_UNSET)
        out->reasoning = yyjson_get_bool(enable) ? IR_REASONING_ENABLED : IR_REASONING_DISABLED;
    return true;
}

static bool read_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                         struct err *e)
{
    ir_request_init(out);
    out->origin = WIRE_CHAT;
    out->raw = root;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_request", "the body must be a JSON object");
    static const struct wire_member members[] = {
        {"logit_bias"}, {"modalities", true}, {"audio"}, {"stream_options"}, {0}};
    if (!wire_check_members(root, members, e))
        return false;
    yyjson_val *bias = json_get(root, "logit_bias");
    out->logit_bias = json_absent(bias) ? NULL : bias;
    out->modalities = json_absent(json_get(root, "modalities")) ? NULL
                                                                : json_get(root, "modalities");
    out->audio = json_absent(json_get(root, "audio")) ? NULL : json_get(root, "audio");
    out->include_usage = json_get_bool(json_get(root, "stream_options"), "include_usage", false);
    return openai_read_sampling(root, out, e) &&
           read_messages(c, json_get(root, "messages"), out, e) && read_tools(c, root, out, e) &&
           read_stop(c, json_get(root, "stop"), out, e) &&
           openai_read_limit(root, "max_tokens", &out->max_tokens, e) &&
           openai_read_limit(root, "max_completion_tokens", &out->max_tokens, e) &&
           openai_read_int(root, "n", 1, &out->n, e) &&
           openai_read_number(root, "seed", &out->seed, e) &&
           openai_read_bool(root, "logprobs", &out->has_logprobs, &out->logprobs, e) &&
           openai_read_str(root, "verbosity", &out->verbosity, e) &&
           openai_read_format(json_get(root, "response_format"), true, "response_format", out, e) &&
           read_reasoning_config(root, out, e);
}

/* ======================================================================== writing requests */

static bool is_openai(const struct wire_ctx *c) /* OpenAI itself, that takes what it documents */
{
    return c->quirks & QUIRK_DEVELOPER_ROLE;
}

static void write_role_text(struct jw *w, const char *role, struct str text)
{
    jw_object(w);
    jw_kv_cstr(w, "role", role);
    jw_kv_str(w, "content", text);
    jw_object_end(w);
}

static const char *system_role(const struct wire_ctx *c, bool is_developer)
{
    return is_developer && is_openai(c) ? "developer" : "system";
}

static void write_text_part(struct jw *w, struct str text)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "text");
    jw_kv_str(w, "text", text);
    jw_object_end(w);
}

static void write_image_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "image_url");
    jw_key(w, "image_url");
    jw_object(w);
    jw_kv_str(w, "url", ir_source_url(c->arena, &p->source));
    if (p->detail.n > 0)
        jw_kv_str(w, "detail", p->detail);
    jw_object_end(w);
    jw_object_end(w);
}

static bool is_text_media(struct str media)
{
    return str_starts(media, STR("text/")) || str_is(media, "application/json") ||
           str_is(media, "application/xml");
}

static bool file_text(struct wire_ctx *c, const struct ir_source *s, struct str *out)
{
    if (s->kind == IR_SOURCE_TEXT) {
        *out = s->text;
        return true;
    }
    return s->kind == IR_SOURCE_DATA && is_text_media(s->media_type) &&
           base64_decode(c->arena, s->base64, out) && str_valid_utf8(*out);
}

static void write_file_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    struct str text;
    if ((p->source.kind == IR_SOURCE_TEXT || (c->quirks & QUIRK_NO_FILES)) &&
        file_text(c, &p->source, &text)) {
        write_text_part(w, text);
        return;
    }
    jw_object(w);
    jw_kv_cstr(w, "type", "file");
    jw_key(w, "file");
    jw_object(w);
    if (p->source.kind == IR_SOURCE_REF) {
        jw_kv_str(w, "file_id", p->source.ref);
    } else {
        struct str name = p->name.n > 0 ? p->name : p->title;
        jw_kv_str(w, "filename", name.n > 0 ? name : STR("document.pdf"));
        jw_kv_str(w, "file_data", ir_source_url(c->arena, &p->source));
    }
    jw_object_end(w);
    jw_object_end(w);
}

static void write_audio_part(struct jw *w, const struct ir_part *p)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "input_audio");
    jw_key(w, "input_audio");
    jw_object(w);
    jw_kv_str(w, "data", p->source.base64);
    jw_kv_str(w, "format", wire_audio_of_media(p->source.media_type));
    jw_object_end(w);
    jw_object_end(w);
}

static bool says_media(struct wire_ctx *c, const struct ir_part *p)
{
    const struct ir_source *s = &p->source;
    struct str text;
    switch (p->kind) {
    case IR_IMAGE:
        if (s->kind == IR_SOURCE_URL || s->kind == IR_SOURCE_DATA)
            return true;
        wire_drop(c, "known only to the format it came from", "image");
        return false;
    case IR_FILE:
        if (s->kind == IR_SOURCE_TEXT || (c->quirks & QUIRK_NO_FILES)) {
            if (file_text(c, s, &text))
                return true;
        } else if (s->kind == IR_SOURCE_DATA || s->kind == IR_SOURCE_REF) {
            return true;
        }
        wire_drop(c, "the upstream takes no such file", "file");
        return false;
    case IR_AUDIO:
        if (s->kind == IR_SOURCE_DATA || s->kind == IR_SOURCE_REF) /* an id: of an answer's audio */
            return true;
        wire_drop(c, "only audio sent along is understood", "audio");
        return false;
    case IR_VIDEO:
    case IR_TEXT:
    case IR_REASONING:
    case IR_TOOL_CALL:
    case IR_TOOL_RESULT:
    case IR_REFUSAL:
    case IR_OPAQUE:
        break;
    }
    wire_drop(c, "the format has no place for it", "%s", wire_media_word(p->kind));
    return false;
}

static void write_user_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        write_text_part(w, p->text);
        break;
    case IR_IMAGE:
        write_image_part(c, w, p);
        break;
    case IR_FILE:
        write_file_part(c, w, p);
        break;
    case IR_AUDIO:
        write_audio_part(w, p);
        break;
    case IR_VIDEO: /* never said */
        break;
    case IR_OPAQUE: /* of this format, or wire_prepare had dropped it */
        jw_val(w, p->raw);
        break;
    case IR_REASONING:
    case IR_TOOL_CALL:
    case IR_TOOL_RESULT:
        break;
    }
    if (p->cache.is_set)
        wire_drop(c, "the upstream caches by itself", "cache_control");
}

static void write_content(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    jw_key(w, "content");
    if (parts->n == 1 && parts->first->kind == IR_TEXT) {
        if (parts->first->cache.is_set)
            wire_drop(c, "the upstream caches by itself", "cache_control");
        jw_str(w, parts->first->text);
        return;
    }
    jw_array(w);
    for (const struct ir_part *p = parts->first; p; p = p->next)
        write_user_part(c, w, p);
    jw_array_end(w);
}

static void write_user(struct wire_ctx *c, struct jw *w, const struct ir_message *m)
{
    jw_object(w);
    jw_kv_cstr(w, "role", "user");
    write_content(c, w, &m->parts);
    if (m->name.n > 0)
        jw_kv_str(w, "name", m->name);
    jw_object_end(w);
}

static void write_call(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    bool is_custom = p->call_kind == IR_CALL_CUSTOM;
    jw_object(w);
    jw_kv_str(w, "id", p->call_id);
    jw_kv_cstr(w, "type", is_custom ? "custom" : "function");
    jw_key(w, is_custom ? "custom" : "function");
    jw_object(w);
    jw_kv_str(w, "name", p->name);
    if (is_custom)
        jw_kv_str(w, "input", p->args_raw);
    else
        jw_kv_str(w, "arguments", wire_args_string(c->arena, p->args_raw, IR_CALL_FUNCTION));
    jw_object_end(w);
    jw_object_end(w);
}

struct said { /* what an assistant message holds, gathered for fields that are strings */
    struct str text, reasoning, refusal, audio;
    unsigned n_calls;
    bool has_text;
};

static struct str joined(struct arena *a, struct str old, struct str more)
{
    return old.n == 0    ? more
           : more.n == 0 ? old
                         : str_fmt(a, STR_FMT STR_FMT, STR_ARG(old), STR_ARG(more));
}

static struct said gather(struct arena *a, const struct ir_parts *parts)
{
    struct said s = {0};
    struct ir_parts texts = {0};
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind == IR_TEXT) {
            s.has_text = true;
            ir_part_add(a, &texts, IR_TEXT)->text = p->text;
        } else if (p->kind == IR_REASONING) {
            s.reasoning = joined(a, s.reasoning, p->text);
        } else if (p->kind == IR_REFUSAL) {
            s.refusal = joined(a, s.refusal, p->text);
        } else if (p->kind == IR_AUDIO && p->source.kind == IR_SOURCE_REF) {
            s.audio = p->source.ref;
        } else if (p->kind == IR_TOOL_CALL) {
            s.n_calls++;
        }
    }
    s.text = ir_parts_text(a, &texts);
    return s;
}

static void write_assistant(struct wire_ctx *c, struct jw *w, const struct ir_message *m)
{
    struct said s = gather(c->arena, &m->parts);
    bool wants_reasoning = (c->quirks & QUIRK_REASONING_REPLAY) && s.n_calls > 0;
    if (ir_parts_have_media(&m->parts) && s.audio.n == 0)
        wire_drop(c, "an assistant turn is text here", "image");
    if (!s.has_text && s.n_calls == 0 && s.refusal.n == 0 && s.audio.n == 0)
        return; /* nothing that this format can say */
    jw_object(w);
    jw_kv_cstr(w, "role", "assistant");
    if (s.has_text)
        jw_kv_str(w, "content", s.text);
    else
        jw_kv_null(w, "content");
    if (wants_reasoning || (s.reasoning.n > 0 && !(c->quirks & QUIRK_NO_REASONING_HISTORY)))
        jw_kv_str(w, "reasoning_content", s.reasoning);
    if (s.refusal.n > 0)
        jw_kv_str(w, "refusal", s.refusal);
    if (s.audio.n > 0) {
        jw_key(w, "audio");
        jw_object(w);
        jw_kv_str(w, "id", s.audio);
        jw_object_end(w);
    }
    if (m->name.n > 0)
        jw_kv_str(w, "name", m->name);
    if (s.n_calls > 0) {
        jw_key(w, "tool_calls");
        jw_array(w);
        for (const struct ir_part *p = m->parts.first; p; p = p->next)
            if (p->kind == IR_TOOL_CALL)
                write_call(c, w, p);
        jw_array_end(w);
    }
    jw_object_end(w);
}

/* A result without any text still needs some: what it holds, as JSON. The media themselves follow in a user message. */
static struct str media_summary(struct wire_ctx *c, const struct ir_part *result)
{
    struct buf b;
    buf_init_arena(&b, c->arena, 1 << 16);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (const struct ir_part *p = result->content.first; p; p = p->next) {
        if (p->kind != IR_IMAGE && p->kind != IR_FILE && p->kind != IR_AUDIO && p->kind != IR_VIDEO)
            continue;
        jw_object(&w);
        jw_kv_cstr(&w, "type",
                   p->kind == IR_IMAGE   ? "image"
                   : p->kind == IR_AUDIO ? "audio"
                                         : "file");
        if (p->source.media_type.n > 0)
            jw_kv_str(&w, "media_type", p->source.media_type);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    return buf_str(&b);
}

static void write_result(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    struct str text = wire_result_text(c->arena, p);
    if (text.n == 0 && ir_parts_have_media(&p->content))
        text = media_summary(c, p);
    if (p->is_error)
        wire_drop(c, "the format has no mark for failed tools", "is_error");
    jw_object(w);
    jw_kv_cstr(w, "role", "tool");
    jw_kv_str(w, "tool_call_id", p->call_id);
    jw_kv_str(w, "content", text);
    jw_object_end(w);
}

static void write_media_of_results(struct wire_ctx *c, struct jw *w, const struct ir_message *m)
{
    bool has_media = false;
    for (const struct ir_part *p = m->parts.first; p && !has_media; p = p->next)
        has_media = p->kind == IR_TOOL_RESULT && ir_parts_have_media(&p->content);
    if (!has_media)
        return;
    jw_object(w);
    jw_kv_cstr(w, "role", "user");
    jw_key(w, "content");
    jw_array(w);
    for (const struct ir_part *p = m->parts.first; p; p = p->next) {
        if (p->kind != IR_TOOL_RESULT || !ir_parts_have_media(&p->content))
            continue;
        write_text_part(
            w, str_fmt(c->arena, "<tool-content call-id=\"" STR_FMT "\">", STR_ARG(p->call_id)));
        for (const struct ir_part *q = p->content.first; q; q = q->next)
            if (q->kind != IR_TEXT)
                write_user_part(c, w, q);
        write_text_part(w, STR("</tool-content>"));
    }
    jw_array_end(w);
    jw_object_end(w);
}

static void write_message(struct wire_ctx *c, struct jw *w, const struct ir_message *m)
{
    switch (m->role) {
    case IR_SYSTEM:
        write_role_text(w, system_role(c, m->is_developer), ir_parts_text(c->arena, &m->parts));
        break;
    case IR_USER:
        write_user(c, w, m);
        break;
    case IR_ASSISTANT:
        write_assistant(c, w, m);
        break;
    case IR_TOOL:
        for (const struct ir_part *p = m->parts.first; p; p = p->next)
            if (p->kind == IR_TOOL_RESULT)
                write_result(c, w, p);
        write_media_of_results(c, w, m);
        break;
    }
}

/* Models without a system role: its text opens the first user message. */
static void fold_system(struct wire_ctx *c, struct ir_request *r)
{
    struct str system = ir_system_text(c->arena, r->system);
    struct ir_message *first = r->messages.first;
    if (system.n == 0)
        return;
    r->system = NULL;
    struct ir_part *text = first && first->role == IR_USER ? first->parts.first : NULL;
    if (text && text->kind == IR_TEXT) {
        text->text = str_fmt(c->arena,
                             "[System Instructions]\n" STR_FMT "\n\n[User Message]\n" STR_FMT,
                             STR_ARG(system), STR_ARG(text->text));
        return;
    }
    struct ir_message *m = ARENA_NEW(c->arena, struct ir_message);
    m->role = IR_USER;
    ir_part_add(c->arena, &m->parts, IR_TEXT)->text = str_fmt(
        c->arena, "[System Instructions]\n" STR_FMT "\n\n[User Message]\n", STR_ARG(system));
    m->next = first;
    r->messages.first = m;
    if (!first)
        r->messages.last = m;
    r->messages.n++;
}

static void write_messages(struct wire_ctx *c, struct jw *w, struct ir_request *r)
{
    if (c->quirks & QUIRK_NO_SYSTEM_ROLE)
        fold_system(c, r);
    jw_key(w, "messages");
    jw_array(w);
    for (const struct ir_system *s = r->system; s; s = s->next) {
        write_role_text(w, system_role(c, s->is_developer), s->text);
        if (s->cache.is_set)
            wire_drop(c, "the upstream caches by itself", "cache_control");
    }
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        write_message(c, w, m);
    jw_array_end(w);
}

static void write_tool(struct wire_ctx *c, struct jw *w, const struct ir_tool *t)
{
    if (t->kind == IR_TOOL_HOSTED ||
        (t->kind == IR_TOOL_CUSTOM && t->raw && t->origin == WIRE_CHAT)) {
        jw_val(w, t->raw); /* of this format, or wire_prepare had refused it */
        return;
    }
    bool is_custom = t->kind == IR_TOOL_CUSTOM;
    jw_object(w);
    jw_kv_cstr(w, "type", is_custom ? "custom" : "function");
    jw_key(w, is_custom ? "custom" : "function");
    jw_object(w);
    jw_kv_str(w, "name", t->name);
    if (t->description.n > 0)
        jw_kv_str(w, "description", t->description);
    if (is_custom && json_get(t->raw, "format"))
        jw_kv_val(w, "format", json_get(t->raw, "format"));
    if (!is_custom) {
        openai_write_parameters(c, w, "parameters", t, false);
        if (t->has_strict)
            jw_kv_bool(w, "strict", t->strict);
    }
    jw_object_end(w);
    jw_object_end(w);
    if (t->cache.is_set)
        wire_drop(c, "the upstream caches by itself", "cache_control");
}

static void write_named(struct jw *w, struct str name)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "function");
    jw_key(w, "function");
    jw_object(w);
    jw_kv_str(w, "name", name);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_choice(struct jw *w, const struct ir_request *r)
{
    if (r->choice == IR_CHOICE_UNSET)
        return;
    jw_key(w, "tool_choice");
    switch (r->choice) {
    case IR_CHOICE_UNSET:
    case IR_CHOICE_AUTO:
        jw_cstr(w, "auto");
        break;
    case IR_CHOICE_NONE:
        jw_cstr(w, "none");
        break;
    case IR_CHOICE_ANY:
        jw_cstr(w, "required");
        break;
    case IR_CHOICE_TOOL:
        write_named(w, r->choice_tool);
        break;
    case IR_CHOICE_ALLOWED:
        jw_object(w);
        jw_kv_cstr(w, "type", "allowed_tools");
        jw_key(w, "allowed_tools");
        jw_object(w);
        jw_kv_cstr(w, "mode", r->is_allowed_any ? "required" : "auto");
        jw_key(w, "tools");
        jw_array(w);
        for (unsigned i = 0; i < r->choice_allowed.n; i++)
            write_named(w, r->choice_allowed.v[i]);
        jw_array_end(w);
        jw_object_end(w);
        jw_object_end(w);
        break;
    }
}

static bool is_allowed(const struct ir_request *r, const struct ir_tool *t)
{
    for (unsigned i = 0; i < r->choice_allowed.n; i++)
        if (str_eq(r->choice_allowed.v[i], t->name))
            return true;
    return false;
}

/* allowed_tools is OpenAI's own: elsewhere the list of tools is cut to them. */
static void settle_allowed(const struct wire_ctx *c, struct ir_request *r)
{
    if (r->choice != IR_CHOICE_ALLOWED || is_openai(c) || r->origin == WIRE_CHAT)
        return;
    for (struct ir_tool **t = &r->tools; *t;)
        if (is_allowed(r, *t))
            t = &(*t)->next;
        else
            *t = (*t)->next;
    r->choice = !r->tools ? IR_CHOICE_UNSET : r->is_allowed_any ? IR_CHOICE_ANY : IR_CHOICE_AUTO;
}

static void write_tools(struct wire_ctx *c, struct jw *w, struct ir_request *r)
{
    settle_allowed(c, r);
    if (!r->tools || !wire_takes(c, "tools"))
        return;
    jw_key(w, "tools");
    jw_array(w);
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        write_tool(c, w, t);
    jw_array_end(w);
    if (r->choice != IR_CHOICE_UNSET && wire_takes(c, "tool_choice"))
        write_choice(w, r);
    if (!r->has_disable_parallel)
        return;
    if (!(c->quirks & QUIRK_NO_PARALLEL_FIELD) && !wire_strips(c, "parallel_tool_calls"))
        jw_kv_bool(w, "parallel_tool_calls", !r->disable_parallel);
    else if (r->disable_parallel) /* else it is what the upstream does anyhow */
        wire_drop(c, refused, "parallel_tool_calls");
}

static void kv_number(struct wire_ctx *c, struct jw *w, const char *key, yyjson_val *v)
{
    if (v && wire_takes(c, key))
        jw_kv_val(w, key, v);
}

static void kv_str(struct wire_ctx *c, struct jw *w, const char *key, struct str v, bool is_home)
{
    if (v.n == 0)
        return;
    if (!is_home)
        wire_drop(c, refused, "%s", key);
    else if (wire_takes(c, key))
        jw_kv_str(w, key, v);
}

static void write_stop(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    if (r->stop.n == 0 || !wire_takes(c, "stop"))
        return;
    jw_key(w, "stop");
    if (r->is_stop_string && r->stop.n == 1) {
        jw_str(w, r->stop.v[0]);
        return;
    }
    jw_array(w);
    for (unsigned i = 0; i < r->stop.n && i < 4; i++)
        jw_str(w, r->stop.v[i]);
    jw_array_end(w);
    if (r->stop.n > 4)
        wire_drop(c, "at most four", "stop");
}

static void write_reasoning_config(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    if (r->reasoning == IR_REASONING_UNSET && r->effort == IR_EFFORT_UNSET)
        return;
    const char *effort = openai_effort(c, r);
    bool is_off = r->reasoning == IR_REASONING_DISABLED;
    if (c->quirks & QUIRK_THINKING_FIELD) {
        jw_key(w, "thinking");
        jw_object(w);
        jw_kv_cstr(w, "type", is_off ? "disabled" : "enabled");
        jw_object_end(w);
    }
    if ((c->quirks & QUIRK_REASONING_SPLIT) && !is_off)
        jw_kv_bool(w, "reasoning_split", true);
    if (!effort)
        return;
    if ((c->quirks & QUIRK_NO_REASONING_EFFORT) || wire_strips(c, "reasoning_effort")) {
        if (!(c->quirks & (QUIRK_THINKING_FIELD | QUIRK_REASONING_SPLIT)))
            wire_drop(c, refused, "reasoning_effort");
        return;
    }
    jw_kv_cstr(w, "reasoning_effort", effort);
}

static void write_logprobs(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    bool is_wanted = r->has_logprobs ? r->logprobs : r->top_logprobs >= 0;
    bool is_sent = (r->has_logprobs || r->top_logprobs >= 0) && !wire_strips(c, "logprobs");
    if (is_sent)
        jw_kv_bool(w, "logprobs", is_wanted);
    else if (is_wanted && r->has_logprobs) /* elsewhere the number alone asks for them */
        wire_drop(c, refused, "logprobs");
    if (is_wanted && r->top_logprobs >= 0 && wire_takes(c, "top_logprobs"))
        jw_kv_int(w, "top_logprobs", r->top_logprobs);
}

static void write_sampling(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    const char *limit = c->quirks & QUIRK_MAX_TOKENS_OLD ? "max_tokens" : "max_completion_tokens";
    bool has_top_k = c->quirks & QUIRK_TOP_K;
    if (r->max_tokens >= 0 && wire_takes(c, limit))
        jw_kv_int(w, limit, r->max_tokens);
    kv_number(c, w, "temperature", r->temperature);
    kv_number(c, w, "top_p", r->top_p);
    kv_number(c, w, "frequency_penalty", r->frequency_penalty);
    kv_number(c, w, "presence_penalty", r->presence_penalty);
    kv_number(c, w, "seed", r->seed);
    kv_number(c, w, "logit_bias", r->logit_bias);
    if (has_top_k || r->origin == WIRE_CHAT) {
        kv_number(c, w, "top_k", r->top_k);
        kv_number(c, w, "min_p", r->min_p);
    } else {
        if (r->top_k)
            wire_drop(c, "the format has no such field", "top_k");
        if (r->min_p)
            wire_drop(c, "the format has no such field", "min_p");
    }
    if (r->n > 0 && (r->n > 1 || r->origin == WIRE_CHAT) && wire_takes(c, "n"))
        jw_kv_int(w, "n", r->n);
    write_logprobs(c, w, r);
    write_stop(c, w, r);
}

static void write_misc(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    bool is_home = is_openai(c) || r->origin == WIRE_CHAT;
    if (r->format != IR_FORMAT_UNSET && (r->format != IR_FORMAT_TEXT || r->origin == WIRE_CHAT) &&
        wire_takes(c, "response_format")) {
        jw_key(w, "response_format");
        openai_write_format(c, w, r, true);
    }
    kv_str(c, w, "verbosity", r->verbosity, is_home);
    kv_str(c, w, "user", r->user, true);
    struct str tier = str_is(r->service_tier, "standard_only") ? STR("default") : r->service_tier;
    kv_str(c, w, "service_tier", tier, is_home);
    kv_str(c, w, "prompt_cache_key", r->cache_key, is_home);
    kv_str(c, w, "prompt_cache_retention", r->cache_retention, is_home);
    if (r->metadata && !is_home)
        wire_drop(c, refused, "metadata");
    else if (r->metadata && wire_takes(c, "metadata"))
        jw_kv_val(w, "metadata", r->metadata);
    if (r->has_store && is_home && wire_takes(c, "store"))
        jw_kv_bool(w, "store", r->store);
    if (r->modalities && r->origin == WIRE_CHAT)
        jw_kv_val(w, "modalities", r->modalities);
    if (r->audio && r->origin == WIRE_CHAT)
        jw_kv_val(w, "audio", r->audio);
}

static void name_losses(struct wire_ctx *c, const struct ir_request *r)
{
    static const char format[] = "the format has no such field";
    if (r->truncation.n > 0 && !str_is(r->truncation, "disabled"))
        wire_drop(c, format, "truncation");
    if (r->max_tool_calls >= 0)
        wire_drop(c, format, "max_tool_calls");
    if (r->cached_content.n > 0)
        wire_drop(c, format, "cachedContent");
    if (r->safety)
        wire_drop(c, format, "safetySettings");
    if (r->modalities && r->origin != WIRE_CHAT)
        wire_drop(c, format, "modalities");
    if (r->audio && r->origin != WIRE_CHAT)
        wire_drop(c, format, "audio");
}

static bool write_request(struct wire_ctx *c, const struct ir_request *req, struct buf *out,
                          struct err *e)
{
    struct wire_needs needs = {
        .target = WIRE_CHAT,
        .mid_system = c->quirks & QUIRK_NO_SYSTEM_ROLE ? WIRE_SYSTEM_FOLD : WIRE_SYSTEM_KEEP,
        .ids = c->quirks & QUIRK_ID_9 ? WIRE_IDS_9 : WIRE_IDS_OPENAI,
        .names = WIRE_NAMES_OPENAI,
        .pairs_tools = true,
        .keeps_foreign_reasoning = c->quirks & QUIRK_REASONING_REPLAY,
        .has_custom_tools = is_openai(c),
        .says_media = says_media,
    };
    if (req->n > 1 && req->origin != WIRE_CHAT && wire_strips(c, "n"))
        return err_unsupported(e, "n", "n: this model gives one choice at a time");
    struct ir_request *r = wire_prepare(c, req, &needs, e);
    if (!r)
        return false;
    struct jw w = jw_on(out);
    name_losses(c, r);
    jw_object(&w);
    jw_kv_str(&w, "model", c->upstream_model.n > 0 ? c->upstream_model : r->model);
    write_messages(c, &w, r);
    write_tools(c, &w, r);
    write_sampling(c, &w, r);
    write_reasoning_config(c, &w, r);
    write_misc(c, &w, r);
    if (r->is_stream) {
        jw_kv_bool(&w, "stream", true);
        if (!(c->quirks & QUIRK_NO_STREAM_OPTIONS) && !wire_strips(c, "stream_options"))
            JW(&w, "stream_options", raw, STR("{\"include_usage\":true}"));
    }
    if (r->origin == WIRE_CHAT)
        openai_write_residue(c, &w, r->raw, known_members);
    jw_object_end(&w);
    return true;
}

/* ======================================================================== replies */

static enum ir_stop read_stop_reason(struct str reason)
{
    return (enum ir_stop)word_value(stop_words, reason, IR_STOP_END);
}

static void read_images(struct wire_ctx *c, yyjson_val *list, struct ir_parts *parts)
{
    yyjson_val *v;
    size_t i, n;
    yyjson_arr_foreach (list, i, n, v)
        openai_read_image(c, v, ir_part_add(c->arena, parts, IR_IMAGE));
}

/* What the client asked its sound to be; empty: nothing, as far as known. */
static struct str asked_sound(const struct wire_ctx *c)
{
    return c->req && c->req->origin == WIRE_CHAT ? json_get_str(c->req->audio, "format") : STR_NONE;
}

static void read_reply_audio(yyjson_val *audio, struct wire_ctx *c, struct ir_parts *parts)
{
    struct str transcript = json_get_str(audio, "transcript"), format = asked_sound(c);
    if (!yyjson_is_obj(audio))
        return;
    if (!wire_answers_with_sound(c)) {
        if (transcript.n > 0)
            ir_part_add(c->arena, parts, IR_TEXT)->text = transcript;
        return;
    }
    struct ir_part *p = ir_part_add(c->arena, parts, IR_AUDIO);
    p->item_id = json_get_str(audio, "id");
    p->text = transcript;
    p->source = (struct ir_source){.kind = IR_SOURCE_DATA,
                                   .media_type = str_is(format, "pcm16") ? STR(MEDIA_PCM16)
                                                 : format.n > 0 ? wire_media_of_audio(format)
                                                                : STR("audio/wav"),
                                   .base64 = json_get_str(audio, "data")};
    p->raw = audio;
}

static void read_reply_message(struct wire_ctx *c, yyjson_val *v, struct ir_message *m)
{
    struct err ignored = ERR_INIT;
    struct str refusal = json_get_str(v, "refusal");
    m->role = IR_ASSISTANT;
    read_reasoning(c, v, &m->parts);
    if (!read_content(c, json_get(v, "content"), "content", &m->parts, &ignored))
        ir_part_add(c->arena, &m->parts, IR_TEXT)->text = json_text(c->arena,
                                                                    json_get(v, "content"));
    if (c->quirks & QUIRK_THINK_TAGS)
        think_parts(c, &m->parts);
    struct ir_part *text = m->parts.last;
    if (text && text->kind == IR_TEXT)
        text->citations = openai_read_annotations(c->arena, json_get(v, "annotations"), WIRE_CHAT);
    if (refusal.n > 0)
        ir_part_add(c->arena, &m->parts, IR_REFUSAL)->text = refusal;
    read_reply_audio(json_get(v, "audio"), c, &m->parts);
    read_images(c, json_get(v, "images"), &m->parts);
    read_calls(c, v, &m->parts);
    for (struct ir_part *p = m->parts.first; p; p = p->next)
        if (p->kind == IR_TOOL_CALL) {
            p->name = wire_tool_name_back(c, p->name);
            p->call_id = wire_client_call_id(c, p->call_id);
        }
}

static void drop_empty_text(struct ir_parts *parts) /* "" beside calls says nothing */
{
    struct ir_part *old = parts->first, *next;
    *parts = (struct ir_parts){0};
    for (; old; old = next) {
        next = old->next;
        if (old->kind == IR_TEXT && old->text.n == 0)
            continue;
        old->next = NULL;
        if (parts->last)
            parts->last->next = old;
        else
            parts->first = old;
        parts->last = old;
        parts->n++;
    }
}

static void read_choice(struct wire_ctx *c, yyjson_val *v, size_t i, struct ir_choice *choice)
{
    struct str reason = json_get_str(v, "finish_reason");
    yyjson_val *logprobs = json_get(v, "logprobs");
    choice->index = json_get_int(v, "index", (int64_t)i);
    read_reply_message(c, json_get(v, "message"), &choice->message);
    drop_empty_text(&choice->message.parts);
    choice->stop_raw = reason;
    choice->stop = ir_stop_overlay(read_stop_reason(reason), &choice->message);
    choice->logprobs = json_absent(logprobs) ? NULL : logprobs;
}

static bool read_response(struct wire_ctx *c, yyjson_val *root, struct ir_response *out,
                          struct err *e)
{
    yyjson_val *choices = json_get(root, "choices"), *v;
    struct ir_choice **tail = &out->choices;
    size_t i, n;
    *out = (struct ir_response){.origin = WIRE_CHAT, .usage = IR_USAGE_NONE};
    if (!yyjson_is_arr(choices) || yyjson_arr_size(choices) == 0) {
        if (json_get(root, "error"))
            wire_read_error_value(c->arena, 0, root, e);
        else
            err_set(e, ERR_UPSTREAM, "bad_upstream_response",
                    "the upstream's answer has no choices");
        return false;
    }
    out->id = json_get_str(root, "id");
    out->model = json_get_str(root, "model");
    out->created = json_get_int(root, "created", 0);
    out->service_tier = json_get_str(root, "service_tier");
    out->system_fingerprint = json_get_str(root, "system_fingerprint");
    out->usage = openai_usage(json_get(root, "usage"));
    out->usage.service = ir_service_of(out->service_tier);
    yyjson_arr_foreach (choices, i, n, v) {
        struct ir_choice *choice = ARENA_NEW(c->arena, struct ir_choice);
        read_choice(c, v, i, choice);
        *tail = choice;
        tail = &choice->next;
    }
    return true;
}

/* ---- writing ---- */
static const char *stop_text(enum ir_stop stop)
{
    return word_text(stop_words, stop, "stop");
}

static void write_reply_calls(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    jw_key(w, "tool_calls");
    jw_array(w);
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind != IR_TOOL_CALL || p->call_kind == IR_CALL_HOSTED)
            continue;
        struct ir_part call = *p;
        if (call.call_kind == IR_CALL_FUNCTION && wire_is_custom_tool(c, call.name)) {
            call.call_kind = IR_CALL_CUSTOM;
            call.args_raw = wire_args_custom(c->arena, call.args_raw);
        }
        write_call(c, w, &call);
    }
    jw_array_end(w);
}

static void write_reply_annotations(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    bool is_open = false;
    int64_t before = 0; /* the texts are one here */
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind != IR_TEXT)
            continue;
        int64_t length = wire_chars(p->text);
        for (const struct ir_citation *cite = p->citations; cite; cite = cite->next) {
            if (!wire_answers_with_citation(c, cite))
                continue;
            if (!is_open) {
                jw_key(w, "annotations");
                jw_array(w);
                is_open = true;
            }
            openai_write_annotation(w, cite, true, before, length);
        }
        before += length;
    }
    if (is_open)
        jw_array_end(w);
}

/* Not kept here: an id that is sent back means nothing, so it expires as it is made. */
static void write_sound(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    struct str data = p->source.base64, asked = asked_sound(c);
    if (str_is(asked, "wav")) {
        struct str wav = wire_wav_of_pcm(c->arena, p->source.media_type, data);
        data = wav.n > 0 ? wav : data;
    } else if (asked.n > 0 && !str_eq(asked, wire_audio_of_media(p->source.media_type))) {
        wire_drop(c, "the upstream speaks another", "audio.format");
    }
    jw_object(w);
    jw_kv_str(w, "id", wire_make_id(c, "audio_", 24));
    jw_kv_str(w, "data", data);
    jw_kv_int(w, "expires_at", wire_created(c, 0));
    jw_kv_str(w, "transcript", p->text);
    jw_object_end(w);
}

static void write_reply_media(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    bool is_open = false, has_sound = false;
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        bool is_sound = p->kind == IR_AUDIO && (p->raw || p->source.kind == IR_SOURCE_DATA);
        if (p->kind == IR_FILE || p->kind == IR_VIDEO || (p->kind == IR_AUDIO && !is_sound) ||
            (is_sound && has_sound))
            wire_drop_media(c, p->kind);
        if (!is_sound || has_sound)
            continue;
        has_sound = true;
        jw_key(w, "audio");
        if (p->raw)
            jw_val(w, p->raw);
        else
            write_sound(c, w, p);
    }
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind != IR_IMAGE)
            continue;
        if (!is_open) {
            jw_key(w, "images");
            jw_array(w);
            is_open = true;
        }
        write_image_part(c, w, p);
    }
    if (is_open)
        jw_array_end(w);
}

static void write_reply_message(struct wire_ctx *c, struct jw *w, const struct ir_message *m,
                                enum ir_stop stop)
{
    struct said s = gather(c->arena, &m->parts);
    bool has_sound = false;
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        has_sound |= p->kind == IR_AUDIO;
    jw_object(w);
    jw_kv_cstr(w, "role", "assistant");
    if (s.has_text)
        jw_kv_str(w, "content", s.text);
    else if (s.n_calls > 0 || s.refusal.n > 0 || stop == IR_STOP_FILTER || has_sound)
        jw_kv_null(w, "content");
    else
        jw_kv_cstr(w, "content", "");
    if (s.reasoning.n > 0)
        jw_kv_str(w, "reasoning_content", s.reasoning);
    if (s.refusal.n > 0)
        jw_kv_str(w, "refusal", s.refusal);
    else
        jw_kv_null(w, "refusal");
    write_reply_annotations(c, w, &m->parts);
    write_reply_media(c, w, &m->parts);
    if (s.n_calls > 0)
        write_reply_calls(c, w, &m->parts);
    jw_object_end(w);
}

static void write_response(struct wire_ctx *c, const struct ir_response *res, struct buf *out)
{
    struct jw w = jw_on(out);
    jw_object(&w);
    jw_kv_str(&w, "id", wire_prefixed_id(c, res->id, "chatcmpl-"));
    jw_kv_cstr(&w, "object", "chat.completion");
    jw_kv_int(&w, "created", wire_created(c, res->created));
    jw_kv_str(&w, "model", wire_model_shown(c, res->model));
    jw_key(&w, "choices");
    jw_array(&w);
    for (const struct ir_choice *choice = res->choices; choice; choice = choice->next) {
        jw_object(&w);
        jw_kv_int(&w, "index", choice->index);
        jw_key(&w, "message");
        write_reply_message(c, &w, &choice->message, choice->stop);
        if (choice->logprobs)
            jw_kv_val(&w, "logprobs", choice->logprobs);
        else
            jw_kv_null(&w, "logprobs");
        jw_kv_cstr(&w, "finish_reason", stop_text(choice->stop));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    if (ir_usage_known(&res->usage)) {
        jw_key(&w, "usage");
        openai_write_chat_usage(&w, &res->usage);
    }
    if (res->service_tier.n > 0)
        jw_kv_str(&w, "service_tier", res->service_tier);
    if (res->system_fingerprint.n > 0)
        jw_kv_str(&w, "system_fingerprint", res->system_fingerprint);
    jw_object_end(&w);
}

/* ======================================================================== stream of an upstream */

/* A call of the stream. Fragments of parallel calls may be interleaved: one call is live, the others are held, in order. */
struct call {
    unsigned choice;
    int64_t index; /* upstream's */
    struct str id, name;
    bool is_custom, is_opened, is_closed;
    struct flow_args args; /* of what was emitted */
    struct buf held;       /* arguments not yet emitted */
};

struct decoder {
    struct wire_ctx *c;
    struct flow flow;
    struct call **calls; /* up to CALLS_MAX */
    unsigned n_calls, calls_cap;
    size_t held_bytes;
    struct think_split think[FLOW_CHOICES];
    unsigned choice; /* of the chunk's part in work, for callbacks */
    bool has_content;
};

static void *decoder_new(struct wire_ctx *c)
{
    struct decoder *d = ARENA_NEW(c->arena, struct decoder);
    d->c = c;
    flow_init(&d->flow, c);
    return d;
}

static struct call *live_call(struct decoder *d, unsigned choice)
{
    for (unsigned i = 0; i < d->n_calls; i++)
        if (d->calls[i]->choice == choice && d->calls[i]->is_opened && !d->calls[i]->is_closed)
            return d->calls[i];
    return NULL;
}

static void emit_args(struct decoder *d, struct call *call, struct str text)
{
    flow_args_scan(&call->args, text);
    flow_args(&d->flow, call->choice, text);
}

static void open_call(struct decoder *d, struct call *call)
{
    call->is_opened = true;
    flow_open(&d->flow, call->choice, IR_TOOL_CALL,
              &(struct ir_event){.call_id = call->id,
                                 .name = wire_tool_name_back(d->c, call->name),
                                 .call_kind = call->is_custom ? IR_CALL_CUSTOM : IR_CALL_FUNCTION});
    emit_args(d, call, buf_str(&call->held));
    d->held_bytes -= call->held.n;
    buf_clear(&call->held);
}

static void close_call(struct decoder *d, struct call *call)
{
    call->is_closed = true;
    flow_close(&d->flow, call->choice);
}

/* Lets waiting calls go live once the open one is whole; force: the turn of calls is over. */
static void advance(struct decoder *d, unsigned choice, bool force)
{
    struct call *live = live_call(d, choice);
    for (unsigned i = 0; i < d->n_calls; i++) {
        struct call *call = d->calls[i];
        if (call->choice != choice || call->is_opened)
            continue;
        bool is_ready = force || call->held.n > 0; /* before that its name may still grow */
        if (!is_ready || (live && !force && !live->args.is_whole))
            break;
        if (live)
            close_call(d, live);
        if (call->name.n > 0 || call->held.n > 0)
            open_call(d, call);
        else
            call->is_opened = call->is_closed = true;
        live = call->is_closed ? NULL : call;
    }
    if (force && live)
        close_call(d, live);
}

static struct call *new_call(struct decoder *d, unsigned choice, int64_t index)
{
    if (d->n_calls == CALLS_MAX)
        return NULL;
    if (d->n_calls == d->calls_cap) {
        unsigned cap = d->calls_cap ? 2 * d->calls_cap : 8;
        d->calls = arena_realloc(d->c->arena, d->calls, d->calls_cap * sizeof *d->calls,
                                 cap * sizeof *d->calls);
        d->calls_cap = cap;
    }
    struct call *call = ARENA_NEW(d->c->arena, struct call);
    call->choice = choice;
    call->index = index;
    buf_init_arena(&call->held, d->c->arena, HELD_MAX);
    d->calls[d->n_calls++] = call;
    return call;
}

/* The call a fragment belongs to; a new id, or a new name behind whole arguments, at a known index begins another. */
static struct call *find_call(struct decoder *d, unsigned choice, int64_t index, struct str id,
                              struct str name)
{
    struct call *found = NULL;
    for (unsigned i = d->n_calls; i-- > 0 && !found;) {
        struct call *call = d->calls[i];
        bool is_same = index >= 0 ? call->index == index : id.n > 0 ? str_eq(call->id, id) : true;
        if (call->choice == choice && is_same)
            found = call;
    }
    if (found && id.n > 0 && found->id.n > 0 && !str_eq(id, found->id))
        found = NULL;
    if (found && name.n > 0 && id.n == 0 && found->is_opened && found->args.is_whole)
        found = NULL;
    return found ? found : new_call(d, choice, index >= 0 ? index : (int64_t)d->n_calls);
}

static bool call_fragment(struct decoder *d, unsigned choice, yyjson_val *v, struct err *e)
{
    yyjson_val *inner = json_get(v, "function"), *custom = json_get(v, "custom");
    yyjson_val *args = json_get(custom ? custom : inner, custom ? "input" : "arguments");
    struct str id = json_get_str(v, "id"), name = json_get_str(custom ? custom : inner, "name");
    struct str text = yyjson_is_str(args) ? json_str(args)
                      : json_absent(args) ? STR_NONE
                                          : json_text(d->c->scratch, args);
    struct call *call = find_call(d, choice, json_get_int(v, "index", -1), id, name);
    if (!call)
        return err_set(e, ERR_UPSTREAM, "bad_upstream_stream",
                       "more than %d tool calls in one answer", CALLS_MAX);
    if (custom)
        call->is_custom = true;
    if (id.n > 0 && call->id.n == 0)
        call->id = str_dup(d->c->arena, id);
    if (name.n > 0 && !call->is_opened && !str_eq(name, call->name))
        call->name = call->name.n == 0 ? str_dup(d->c->arena, name)
                                       : str_fmt(d->c->arena, STR_FMT STR_FMT, STR_ARG(call->name),
                                                 STR_ARG(name));
    if (text.n == 0 || call->is_closed)
        return true;
    if (call->is_opened) {
        emit_args(d, call, text);
        return true;
    }
    d->held_bytes += text.n;
    buf_str_add(&call->held, text);
    if (d->held_bytes > HELD_MAX || buf_failed(&call->held))
        return err_set(e, ERR_UPSTREAM, "bad_upstream_stream",
                       "interleaved tool calls beyond all bounds");
    advance(d, choice, false);
    return true;
}

static void say(struct decoder *d, unsigned choice, enum ir_part_kind kind, struct str text)
{
    if (text.n == 0)
        return;
    if (d->n_calls > 0)
        advance(d, choice, true);
    flow_text(&d->flow, choice, kind, text);
}

static void on_think(void *arg, bool is_reasoning, struct str text)
{
    struct decoder *d = arg;
    say(d, d->choice, is_reasoning ? IR_REASONING : IR_TEXT, text);
}

static void say_content(struct decoder *d, unsigned choice, struct str text)
{
    if (!(d->c->quirks & QUIRK_THINK_TAGS) || choice >= FLOW_CHOICES) {
        say(d, choice, IR_TEXT, text);
        return;
    }
    d->choice = choice;
    think_push(&d->think[choice], text, on_think, d);
}

/* The members of a chunk that count, each object walked once: nearly all are absent from nearly every chunk. The first of a name
 * is taken, as json_get does. */
struct chunk {
    yyjson_val *choices, *error, *usage, *id, *model, *created, *x_groq;
};
struct piece { /* a choice */
    yyjson_val *delta, *index, *finish_reason, *logprobs;
};
struct delta {
    yyjson_val *content, *reasoning_content, *reasoning, *reasoning_details, *refusal, *images,
        *annotations, *tool_calls, *function_call, *audio;
};
#define TAKE(to, name)                       \
    if (!(to)->name && str_is(key, #name)) { \
        (to)->name = v;                      \
        continue;                            \
    }

static struct chunk take_chunk(yyjson_val *root)
{
    struct chunk c = {0};
    yyjson_val *k, *v;
    size_t i, n;
    yyjson_obj_foreach (root, i, n, k, v) {
        struct str key = str_n(unsafe_yyjson_get_str(k), unsafe_yyjson_get_len(k));
        switch (key.n) {
        case 2:
            TAKE(&c, id)
            break;
        case 5:
            TAKE(&c, model)
            TAKE(&c, usage)
            TAKE(&c, error)
            break;
        case 6:
            TAKE(&c, x_groq)
            break;
        case 7:
            TAKE(&c, choices)
            TAKE(&c, created)
            break;
        }
    }
    return c;
}

static struct piece take_piece(yyjson_val *choice)
{
    struct piece p = {0};
    yyjson_val *k, *v;
    size_t i, n;
    yyjson_obj_foreach (choice, i, n, k, v) {
        struct str key = str_n(unsafe_yyjson_get_str(k), unsafe_yyjson_get_len(k));
        TAKE(&p, delta)
        TAKE(&p, index)
        TAKE(&p, finish_reason)
        TAKE(&p, logprobs)
    }
    return p;
}

static struct delta take_delta(yyjson_val *delta)
{
    struct delta d = {0};
    yyjson_val *k, *v;
    size_t i, n;
    yyjson_obj_foreach (delta, i, n, k, v) {
        struct str key = str_n(unsafe_yyjson_get_str(k), unsafe_yyjson_get_len(k));
        TAKE(&d, content)
        TAKE(&d, tool_calls)
        TAKE(&d, refusal)
        TAKE(&d, reasoning_content)
        TAKE(&d, reasoning)
        TAKE(&d, reasoning_details)
        TAKE(&d, images)
        TAKE(&d, audio)
        TAKE(&d, annotations)
        TAKE(&d, function_call)
    }
    return d;
}

static void say_reasoning(struct decoder *d, unsigned choice, const struct delta *delta)
{
    struct str text = json_str(delta->reasoning_content);
    yyjson_val *item;
    size_t i, n;
    if (text.n == 0)
        text = json_str(delta->reasoning);
    if (text.n > 0) {
        say(d, choice, IR_REASONING, text);
        return;
    }
    yyjson_arr_foreach (delta->reasoning_details, i, n, item) {
        struct str piece = json_get_str(item, "text");
        say(d, choice, IR_REASONING, piece.n > 0 ? piece : json_get_str(item, "summary"));
    }
}

static void say_list(struct decoder *d, unsigned choice,
                     yyjson_val *list) /* content as parts: Mistral */
{
    yyjson_val *v, *inner;
    size_t i, n, k, m;
    yyjson_arr_foreach (list, i, n, v) {
        yyjson_val *thinking = json_get(v, "thinking");
        if (yyjson_is_str(thinking))
            say(d, choice, IR_REASONING, json_str(thinking));
        yyjson_arr_foreach (thinking, k, m, inner)
            say(d, choice, IR_REASONING, json_get_str(inner, "text"));
        if (!thinking)
            say(d, choice, IR_TEXT, json_get_str(v, "text"));
    }
}

static void say_media(struct decoder *d, unsigned choice, yyjson_val *images)
{
    yyjson_val *v;
    size_t i, n;
    yyjson_arr_foreach (images, i, n, v) {
        struct ir_part p = {.kind = IR_IMAGE};
        openai_read_image(d->c, v, &p);
        advance(d, choice, true);
        flow_open(&d->flow, choice, IR_IMAGE, &(struct ir_event){0});
        flow_event(&d->flow, choice, &(struct ir_event){.kind = IR_EV_MEDIA, .source = p.source});
        flow_close(&d->flow, choice);
    }
}

/* Streamed sound is always pcm16: each piece of base64 stands for itself. */
static void say_sound(struct decoder *d, unsigned choice, yyjson_val *audio)
{
    struct str data = json_get_str(audio, "data"), words = json_get_str(audio, "transcript");
    if (data.n == 0 && words.n == 0)
        return;
    if (!wire_answers_with_sound(d->c)) {
        say(d, choice, IR_TEXT, words);
        return;
    }
    struct ir_event ev = {.kind = IR_EV_MEDIA, .text = words};
    if (data.n > 0)
        ev.source = (struct ir_source){
            .kind = IR_SOURCE_DATA, .media_type = STR(MEDIA_PCM16), .base64 = data};
    advance(d, choice, true);
    flow_open(&d->flow, choice, IR_AUDIO, NULL);
    flow_event(&d->flow, choice, &ev);
}

static void say_extras(struct decoder *d, unsigned choice, yyjson_val *logprobs,
                       yyjson_val *annotations)
{
    yyjson_val *content = json_get(logprobs, "content");
    const struct flow_choice *at = choice < FLOW_CHOICES ? &d->flow.choices[choice] : NULL;
    struct ir_citation *cite = openai_read_annotations(d->c->scratch, annotations, WIRE_CHAT);
    if (yyjson_arr_size(content) > 0 && at && at->is_open && at->kind == IR_TEXT)
        flow_event(&d->flow, choice, &(struct ir_event){.kind = IR_EV_LOGPROBS, .raw = content});
    for (; cite; cite = cite->next) {
        flow_open(&d->flow, choice, IR_TEXT, NULL);
        flow_event(&d->flow, choice, &(struct ir_event){.kind = IR_EV_CITATION, .citation = cite});
    }
}

static void end_choice(struct decoder *d, unsigned choice)
{
    if (choice < FLOW_CHOICES && (d->c->quirks & QUIRK_THINK_TAGS)) {
        d->choice = choice;
        think_end(&d->think[choice], on_think, d);
    }
    advance(d, choice, true);
}

static bool handle_choice(struct decoder *d, yyjson_val *v, struct err *e)
{
    const struct piece piece = take_piece(v);
    const struct delta delta = take_delta(piece.delta);
    yyjson_val *legacy = delta.function_call, *call;
    int64_t index = json_int_or(piece.index, 0);
    unsigned choice = index < 0 || index > 1024 ? FLOW_CHOICES : (unsigned)index;
    struct str reason = json_str(piece.finish_reason);
    size_t i, n;
    say_reasoning(d, choice, &delta);
    if (yyjson_is_arr(delta.content))
        say_list(d, choice, delta.content);
    else
        say_content(d, choice, json_str(delta.content));
    if (piece.logprobs || delta.annotations)
        say_extras(d, choice, piece.logprobs, delta.annotations);
    say(d, choice, IR_REFUSAL, json_str(delta.refusal));
    if (yyjson_arr_size(delta.images) > 0)
        say_media(d, choice, delta.images);
    if (delta.audio)
        say_sound(d, choice, delta.audio);
    yyjson_arr_foreach (delta.tool_calls, i, n, call)
        if (!call_fragment(d, choice, call, e))
            return false;
    if (yyjson_is_obj(legacy)) {
        struct call *c = find_call(d, choice, 0, STR_NONE, STR_NONE);
        struct str name = json_get_str(legacy, "name");
        if (c && c->id.n == 0 && name.n > 0)
            c->id = legacy_id(d->c, name);
        if (c && c->name.n == 0)
            c->name = str_dup(d->c->arena, name);
        if (c) {
            buf_str_add(&c->held, c->is_opened ? STR_NONE : json_get_str(legacy, "arguments"));
            if (c->is_opened)
                emit_args(d, c, json_get_str(legacy, "arguments"));
            else
                advance(d, choice, false);
        }
    }
    if (reason.n > 0) {
        end_choice(d, choice);
        flow_finish(&d->flow, choice, read_stop_reason(reason), STR_NONE);
    }
    return true;
}

static bool handle(struct decoder *d, yyjson_val *root, struct err *e)
{
    const struct chunk chunk = take_chunk(root);
    yyjson_val *usage = chunk.usage, *v;
    struct str id = json_str(chunk.id);
    size_t i, n;
    if (!json_absent(chunk.error)) {
        struct err upstream = ERR_INIT;
        wire_read_error_value(d->c->scratch, 0, root, &upstream);
        flow_error(&d->flow, &upstream);
        return true;
    }
    if (!d->flow.is_started &&
        (yyjson_arr_size(chunk.choices) > 0 || id.n > 0)) /* else a preflight chunk (Azure) */
        flow_start(&d->flow, id, json_str(chunk.model), json_int_or(chunk.created, 0));
    yyjson_arr_foreach (chunk.choices, i, n, v)
        if (!handle_choice(d, v, e))
            return false;
    if (!usage)
        usage = json_get(chunk.x_groq, "usage");
    if (yyjson_is_obj(usage)) {
        struct ir_usage u = openai_usage(usage);
        u.service = ir_service_of(json_get_str(root, "service_tier"));
        flow_usage(&d->flow, &u);
    }
    return true;
}

static bool decoder_push(void *dec, struct str event, struct str data, wire_sink_fn *emit,
                         void *arg, struct err *e)
{
    struct decoder *d = dec;
    yyjson_val *root;
    (void)event;
    flow_on(&d->flow, emit, arg);
    if (d->flow.is_ended)
        return true;
    if (str_is(str_trim(data), "[DONE]")) {
        for (unsigned i = 0; i < FLOW_CHOICES && i < d->flow.n_choices; i++)
            end_choice(d, i);
        flow_end(&d->flow, true);
        return true;
    }
    return flow_parse(&d->flow, data, &root, e) && handle(d, root, e);
}

static void decoder_end(void *dec, wire_sink_fn *emit, void *arg)
{
    struct decoder *d = dec;
    flow_on(&d->flow, emit, arg);
    if (d->flow.is_ended)
        return;
    for (unsigned i = 0; i < FLOW_CHOICES && i < d->flow.n_choices; i++)
        end_choice(d, i);
    flow_end(&d->flow, false);
}

/* ======================================================================== stream to a client */

struct encoder {
    struct wire_ctx *c;
    struct str head; /* data: {"id":…,"model":…, up to "choices" */
    bool has_role[FLOW_CHOICES];
    unsigned n_calls[FLOW_CHOICES];
    uint32_t before[FLOW_CHOICES],
        told[FLOW_CHOICES];   /* characters: of the texts before the open one, and of it */
    struct str sound_id;      /* of the sound that was begun */
    bool is_custom, has_args; /* of the open call */
    struct buf custom;        /* its arguments, unwrapped at its end */
    bool is_ended, wants_usage;
    struct ir_usage usage;
};

static void *encoder_new(struct wire_ctx *c)
{
    struct encoder *s = ARENA_NEW(c->arena, struct encoder);
    s->c = c;
    s->usage = IR_USAGE_NONE;
    s->wants_usage = !c->req || c->req->origin != WIRE_CHAT || c->req->include_usage;
    return s;
}

static void make_head(struct encoder *s, const struct ir_event *ev)
{
    struct buf b;
    buf_init_arena(&b, s->c->arena, 1 << 16);
    struct jw w = jw_on(&b);
    buf_lit(&b, "data: ");
    jw_object(&w);
    jw_kv_str(&w, "id", wire_prefixed_id(s->c, ev->id, "chatcmpl-"));
    jw_kv_cstr(&w, "object", "chat.completion.chunk");
    jw_kv_int(&w, "created", wire_created(s->c, ev->created));
    jw_kv_str(&w, "model", wire_model_shown(s->c, ev->model));
    if (ev->system_fingerprint.n > 0)
        jw_kv_str(&w, "system_fingerprint", ev->system_fingerprint);
    buf_lit(&b, ",\"choices\":[");
    s->head = buf_str(&b);
}

static void chunk_begin(struct encoder *s, unsigned choice, struct buf *out)
{
    buf_str_add(out, s->head);
    buf_lit(out, "{\"index\":");
    buf_int(out, choice);
    buf_lit(out, ",\"delta\":{");
}

static void chunk_end(struct buf *out)
{
    buf_lit(out, "},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
}

static void need_role(struct encoder *s, unsigned choice, struct buf *out)
{
    if (s->head.n == 0)
        make_head(s, &(struct ir_event){0});
    if (s->has_role[choice])
        return;
    s->has_role[choice] = true;
    chunk_begin(s, choice, out);
    buf_lit(out, "\"role\":\"assistant\",\"content\":\"\"");
    chunk_end(out);
}

static void text_chunk(struct encoder *s, const struct ir_event *ev, const char *open, size_t n,
                       struct buf *out)
{
    chunk_begin(s, ev->choice, out);
    buf_add(out, open, n);
    wire_put_text(out, ev);
    buf_char(out, '"');
    chunk_end(out);
}
#define TEXT_CHUNK(s, ev, field, out) \
    text_chunk((s), (ev), "\"" field "\":\"", sizeof("\"" field "\":\"") - 1, (out))

static void begin_call(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    s->is_custom = ev->call_kind == IR_CALL_CUSTOM || wire_is_custom_tool(s->c, ev->name);
    s->has_args = false;
    if (s->is_custom)
        buf_init_arena(&s->custom, s->c->arena, HELD_MAX);
    chunk_begin(s, ev->choice, out);
    buf_lit(out, "\"tool_calls\":[");
    struct jw w = jw_on(out);
    jw_object(&w);
    jw_kv_int(&w, "index", s->n_calls[ev->choice]++);
    jw_kv_str(&w, "id", ev->call_id);
    jw_kv_cstr(&w, "type", s->is_custom ? "custom" : "function");
    jw_key(&w, s->is_custom ? "custom" : "function");
    jw_object(&w);
    jw_kv_str(&w, "name", ev->name);
    jw_kv_cstr(&w, s->is_custom ? "input" : "arguments", "");
    jw_object_end(&w);
    jw_object_end(&w);
    buf_char(out, ']');
    chunk_end(out);
}

static void args_chunk(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    unsigned choice = ev->choice;
    chunk_begin(s, choice, out);
    buf_lit(out, "\"tool_calls\":[{\"index\":");
    buf_int(out, (int64_t)s->n_calls[choice] - 1);
    if (s->is_custom)
        buf_lit(out, ",\"custom\":{\"input\":\"");
    else
        buf_lit(out, ",\"function\":{\"arguments\":\"");
    wire_put_text(out, ev);
    buf_lit(out, "\"}}]");
    chunk_end(out);
    s->has_args = true;
}

static void end_call(struct encoder *s, unsigned choice, struct buf *out)
{
    if (s->is_custom) {
        struct str text = wire_args_custom(s->c->scratch, buf_str(&s->custom));
        if (text.n > 0)
            args_chunk(s, &(struct ir_event){.choice = choice, .text = text}, out);
        s->is_custom = false;
    } else if (!s->has_args) {
        args_chunk(s, &(struct ir_event){.choice = choice, .text = STR("{}")}, out);
    }
}

static void sound_chunk(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct jw w = jw_on(out);
    if (s->sound_id.n == 0)
        s->sound_id = wire_make_id(s->c, "audio_", 24);
    chunk_begin(s, ev->choice, out);
    buf_lit(out, "\"audio\":");
    jw_object(&w);
    jw_kv_str(&w, "id", s->sound_id);
    if (ev->text.n > 0)
        jw_kv_str(&w, "transcript", ev->text);
    if (ev->kind == IR_EV_BLOCK_END)
        jw_kv_int(&w, "expires_at", wire_created(s->c, 0)); /* not kept: see write_sound */
    else if (ev->source.kind == IR_SOURCE_DATA)
        jw_kv_str(&w, "data", ev->source.base64);
    jw_object_end(&w);
    chunk_end(out);
    if (ev->kind == IR_EV_BLOCK_END)
        s->sound_id = STR_NONE;
}

static void raw_chunk(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct jw w = jw_on(out);
    chunk_begin(s, ev->choice, out);
    if (ev->kind == IR_EV_CITATION) {
        buf_lit(out, "\"annotations\":[");
        openai_write_annotation(&w, ev->citation, true,
                                ev->is_late ? ev->before : s->before[ev->choice],
                                ev->is_late ? ev->length : s->told[ev->choice]);
        buf_char(out, ']');
        chunk_end(out);
    } else if (ev->kind == IR_EV_MEDIA) {
        buf_lit(out, "\"images\":[");
        write_image_part(s->c, &w, &(struct ir_part){.kind = IR_IMAGE, .source = ev->source});
        buf_char(out, ']');
        chunk_end(out);
    } else {
        buf_lit(out, "},\"logprobs\":{\"content\":");
        jw_val(&w, ev->raw);
        buf_lit(out, ",\"refusal\":null},\"finish_reason\":null}]}\n\n");
    }
}

static void finish_chunk(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    chunk_begin(s, ev->choice, out);
    buf_lit(out, "},\"logprobs\":null,\"finish_reason\":\"");
    buf_str_add(out, str_of(stop_text(ev->stop)));
    buf_lit(out, "\"}]}\n\n");
}

static void end_stream(struct encoder *s, struct buf *out)
{
    s->is_ended = true;
    if (s->wants_usage && ir_usage_known(&s->usage)) {
        if (s->head.n == 0)
            make_head(s, &(struct ir_event){0});
        struct jw w = jw_on(out);
        buf_str_add(out, s->head);
        buf_lit(out, "],\"usage\":");
        openai_write_chat_usage(&w, &s->usage);
        buf_lit(out, "}\n\n");
    }
    buf_lit(out, "data: [DONE]\n\n");
}

static void encode_error(struct encoder *s, const struct err *e, struct buf *out)
{
    s->is_ended = true; /* closed without [DONE] */
    buf_lit(out, "data: ");
    openai_write_error(e, STR_NONE, out);
    buf_lit(out, "\n\n");
}

static void encode_content(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    need_role(s, ev->choice, out);
    switch (ev->kind) {
    case IR_EV_TEXT:
        if (ev->text.n > 0 && ev->part_kind == IR_REFUSAL)
            TEXT_CHUNK(s, ev, "refusal", out);
        else if (ev->text.n > 0)
            TEXT_CHUNK(s, ev, "content", out);
        if (ev->part_kind == IR_TEXT)
            s->told[ev->choice] += (uint32_t)wire_chars(ev->text);
        break;
    case IR_EV_REASONING:
        if (ev->text.n > 0)
            TEXT_CHUNK(s, ev, "reasoning_content", out);
        break;
    case IR_EV_TOOL_ARGS:
        if (ev->part_kind != IR_TOOL_CALL || ev->text.n == 0)
            break;
        if (s->is_custom)
            buf_str_add(&s->custom, ev->text);
        else
            args_chunk(s, ev, out);
        break;
    case IR_EV_BLOCK_START:
        s->before[ev->choice] += s->told[ev->choice];
        s->told[ev->choice] = 0;
        if (ev->part_kind == IR_TOOL_CALL && ev->call_kind != IR_CALL_HOSTED)
            begin_call(s, ev, out);
        break;
    case IR_EV_BLOCK_END:
        if (ev->part_kind == IR_TOOL_CALL && ev->call_kind != IR_CALL_HOSTED)
            end_call(s, ev->choice, out);
        else if (ev->part_kind == IR_AUDIO)
            sound_chunk(s, ev, out);
        break;
    case IR_EV_CITATION:
        if (wire_answers_with_citation(s->c, ev->citation))
            raw_chunk(s, ev, out);
        break;
    case IR_EV_MEDIA:
        if (ev->part_kind == IR_AUDIO)
            sound_chunk(s, ev, out);
        else if (ev->part_kind == IR_IMAGE)
            raw_chunk(s, ev, out);
        else
            wire_drop_media(s->c, ev->part_kind);
        break;
    case IR_EV_LOGPROBS:
        raw_chunk(s, ev, out);
        break;
    case IR_EV_FINISH:
        finish_chunk(s, ev, out);
        break;
    case IR_EV_START:
    case IR_EV_USAGE:
    case IR_EV_ERROR:
    case IR_EV_END:
    case IR_EV_PING:
        break;
    }
}

static void encoder_push(void *enc, const struct ir_event *ev, struct buf *out)
{
    struct encoder *s = enc;
    if (s->is_ended || ev->choice >= FLOW_CHOICES)
        return;
    switch (ev->kind) {
    case IR_EV_START:
        make_head(s, ev);
        need_role(s, 0, out);
        break;
    case IR_EV_USAGE:
        s->usage = ir_usage_merge(s->usage, ev->usage);
        break;
    case IR_EV_ERROR:
        encode_error(s, ev->error, out);
        break;
    case IR_EV_END:
        end_stream(s, out);
        break;
    case IR_EV_PING:
        buf_lit(out, ": keep-alive\n\n");
        break;
    case IR_EV_BLOCK_START:
    case IR_EV_TEXT:
    case IR_EV_REASONING:
    case IR_EV_TOOL_ARGS:
    case IR_EV_CITATION:
    case IR_EV_LOGPROBS:
    case IR_EV_MEDIA:
    case IR_EV_BLOCK_END:
    case IR_EV_FINISH:
        encode_content(s, ev, out);
        break;
    }
}

/* ======================================================================== metering */

static bool meter(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    (void)event;
    if (data.n <= 8 && str_is(str_trim(data), "[DONE]"))
        return true;
    /* Nearly every chunk ends like this, with nothing to find in it. */
    if (str_ends(data, STR("\"finish_reason\":null}]}")) ||
        str_ends(data, STR("\"finish_reason\":null}],\"usage\":null}")))
        return false;
    struct str reason = openai_find_string(data, STR("finish_reason"));
    if (reason.n > 0)
        *stop = read_stop_reason(reason);
    if (!openai_meter_usage(data, OPENAI_OF_REPLY, usage) && str_contains(data, STR("\"x_groq\"")))
        openai_meter_groq(data, usage);
    return false;
}

const struct wire wire_chat = {
    .id = WIRE_CHAT,
    .name = "openai_chat",
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
    .write_error = openai_write_error,
    .keepalive = ": keep-alive\n\n",
    .meter = meter,
};
