/* ollama.c - Ollama's native API: /api/chat in both directions, /api/generate for clients.
 * Streams are lines of JSON and are the default there. */
#include "base/clock.h"
#include "wire/common.h"
#include "wire/media.h"
#include "wire/residue.h"
#include "wire/schema.h"
#include "wire/wires.h"
#include <stdio.h>

/* clang-format off */
static const char *const chat_members[] = { /* read into the IR; all others pass only to the same format */
    "model", "messages", "tools", "format", "options", "stream", "think", "logprobs", "top_logprobs",
};
static const char *const option_members[] = {
    "temperature", "top_p", "top_k", "min_p", "num_predict", "stop", "seed", "frequency_penalty", "presence_penalty",
};
static const char *const lost[] = { /* no place for these */
    "logit_bias", "truncation", "verbosity", "prompt_cache_key", "prompt_cache_retention",
    "cachedContent", "safetySettings", "modalities", "audio", "user", "metadata", "service_tier",
    "parallel_tool_calls", "max_tool_calls", "store", "cache_control", "messages.name",
    "tools.strict",
    NULL,
};
/* clang-format on */

static bool is_among(struct str key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, str_of(names[i])))
            return true;
    return false;
}

/* ======================================================================== reading requests */

static bool read_number(yyjson_val *options, const char *key, yyjson_val **out, struct err *e)
{
    yyjson_val *v = json_get(options, key);
    char field[96];
    if (json_absent(v))
        return true;
    *out = v;
    if (json_is_number(v))
        return true;
    (void)snprintf(field, sizeof field, "options.%s", key);
    return err_field(e, field, "%s: must be a number", field);
}

static bool read_stop(struct arena *a, yyjson_val *v, struct ir_request *out, struct err *e)
{
    size_t i, n;
    yyjson_val *x;
    if (json_absent(v))
        return true;
    if (yyjson_is_str(v)) {
        out->stop.v = ARENA_ARRAY(a, struct str, 1);
        out->stop.v[out->stop.n++] = json_str(v);
        out->is_stop_string = true;
        return true;
    }
    if (!yyjson_is_arr(v))
        return err_field(e, "options.stop",
                         "options.stop: must be a string or an array of strings");
    out->stop.v = ARENA_ARRAY(a, struct str, yyjson_arr_size(v) + 1);
    yyjson_arr_foreach (v, i, n, x)
        if (yyjson_is_str(x))
            out->stop.v[out->stop.n++] = json_str(x);
        else
            return err_field(e, "options.stop", "options.stop[%zu]: must be a string", i);
    return true;
}

static bool read_options(struct wire_ctx *c, yyjson_val *v, struct ir_request *out, struct err *e)
{
    yyjson_val *predict = json_get(v, "num_predict");
    if (json_absent(v))
        return true;
    if (!yyjson_is_obj(v))
        return err_field(e, "options", "options: must be an object");
    if (!json_absent(predict) && !json_int(predict, &out->max_tokens))
        return err_field(e, "options.num_predict", "options.num_predict: must be a whole number");
    if (out->max_tokens < 0)
        out->max_tokens = -1; /* -1 and -2 ask for no limit */
    return read_number(v, "temperature", &out->temperature, e) &&
           read_number(v, "top_p", &out->top_p, e) && read_number(v, "top_k", &out->top_k, e) &&
           read_number(v, "min_p", &out->min_p, e) && read_number(v, "seed", &out->seed, e) &&
           read_number(v, "frequency_penalty", &out->frequency_penalty, e) &&
           read_number(v, "presence_penalty", &out->presence_penalty, e) &&
           read_stop(c->arena, json_get(v, "stop"), out, e);
}

static bool read_format(yyjson_val *v, struct ir_request *out, struct err *e)
{
    if (json_absent(v) || (yyjson_is_str(v) && json_str(v).n == 0))
        return true;
    if (str_is(json_str(v), "json")) {
        out->format = IR_FORMAT_JSON_OBJECT;
    } else if (yyjson_is_obj(v)) {
        out->format = IR_FORMAT_JSON_SCHEMA;
        out->format_schema = v;
    } else {
        return err_field(e, "format", "format: must be \"json\" or a JSON Schema");
    }
    return true;
}

static bool read_think(yyjson_val *v, struct ir_request *out, struct err *e)
{
    if (json_absent(v))
        return true;
    if (yyjson_is_bool(v)) {
        out->reasoning = yyjson_get_bool(v) ? IR_REASONING_ENABLED : IR_REASONING_DISABLED;
    } else {
        out->reasoning = IR_REASONING_ENABLED;
        out->effort = wire_effort_parse(json_str(v));
        if (out->effort == IR_EFFORT_UNSET)
            return err_field(e, "think",
                             "think: must be a boolean, or \"low\", \"medium\" or \"high\"");
    }
    /* Whoever asks for thinking here is shown it. */
    out->has_include_thoughts = out->reasoning == IR_REASONING_ENABLED;
    out->include_thoughts = out->has_include_thoughts;
    return true;
}

static bool read_images(struct wire_ctx *c, yyjson_val *list, struct ir_parts *parts, struct err *e)
{
    size_t i, n;
    yyjson_val *v;
    if (json_absent(list))
        return true;
    if (!yyjson_is_arr(list))
        return err_field(e, "images", "images: must be an array of base64 strings");
    yyjson_arr_foreach (list, i, n, v) {
        if (!yyjson_is_str(v))
            return err_field(e, "images", "images[%zu]: must be a base64 string", i);
        struct ir_part *p = ir_part_add(c->arena, parts, IR_IMAGE);
        p->source = str_starts_nocase(json_str(v), STR("data:"))
                        ? ir_source_of_url(c->arena, json_str(v))
                        : (struct ir_source){.kind = IR_SOURCE_DATA, .base64 = json_str(v)};
        if (!p->source.media_type.n)
            p->source.media_type = wire_media_of_base64(p->source.base64);
        if (!p->source.media_type.n)
            p->source.media_type = STR("image/png");
    }
    return true;
}

static void read_calls(struct wire_ctx *c, yyjson_val *list, struct ir_parts *parts)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach (list, i, n, v) {
        yyjson_val *function = json_get(v, "function"), *args = json_get(function, "arguments");
        struct ir_part *p = ir_part_add(c->arena, parts, IR_TOOL_CALL);
        p->origin = WIRE_OLLAMA;
        p->call_id = json_get_str(v, "id");
        p->name = json_get_str(function, "name");
        if (yyjson_is_str(args))
            p->args_raw = json_str(args);
        else if (!json_absent(args))
            p->args_raw = json_text(c->arena, args);
    }
}

static bool read_tool_message(struct wire_ctx *c, yyjson_val *v, struct ir_messages *out,
                              struct err *e)
{
    struct ir_message *m = out->last && out->last->role == IR_TOOL
                               ? out->last
                               : ir_message_add(c->arena, out, IR_TOOL);
    struct ir_part *p = ir_part_add(c->arena, &m->parts, IR_TOOL_RESULT);
    p->call_id = json_get_str(v, "tool_call_id");
    p->name = json_get_str(v, "tool_name");
    if (!p->name.n)
        p->name = json_get_str(v, "name");
    ir_part_add(c->arena, &p->content, IR_TEXT)->text = json_get_str(v, "content");
    return read_images(c, json_get(v, "images"), &p->content, e);
}

static bool read_message(struct wire_ctx *c, yyjson_val *v, size_t i, struct ir_messages *out,
                         struct err *e)
{
    static const struct word roles[] = {{"user", IR_USER},     {"assistant", IR_ASSISTANT},
                                        {"system", IR_SYSTEM}, {"developer", IR_SYSTEM},
                                        {"tool", IR_TOOL},     {0}};
    char where[64];
    struct str text = json_get_str(v, "content"), thinking = json_get_str(v, "thinking");
    int role = word_value(roles, json_get_str(v, "role"), -1);
    wire_place(where, sizeof where, "messages", "[", i, "].role");
    if (role < 0)
        return err_field(e, where, "%s: must be 'system', 'user', 'assistant' or 'tool'", where);
    wire_place(where, sizeof where, "messages", "[", i, "].content");
    if (!json_absent(json_get(v, "content")) && !yyjson_is_str(json_get(v, "content")))
        return err_field(e, where, "%s: must be a string", where);
    if (role == IR_TOOL)
        return read_tool_message(c, v, out, e);
    struct ir_message *m = ir_message_add(c->arena, out, (enum ir_role)role);
    m->is_developer = str_is(json_get_str(v, "role"), "developer");
    if (thinking.n) {
        struct ir_part *p = ir_part_add(c->arena, &m->parts, IR_REASONING);
        p->text = thinking;
        p->origin = WIRE_OLLAMA;
    }
    if (text.n || role != IR_ASSISTANT)
        ir_part_add(c->arena, &m->parts, IR_TEXT)->text = text;
    read_calls(c, json_get(v, "tool_calls"), &m->parts);
    return read_images(c, json_get(v, "images"), &m->parts, e);
}

/* System messages in front of all others are the instructions; later ones keep their place. */
static void take_system(struct wire_ctx *c, struct ir_request *out)
{
    struct ir_system **tail = &out->system;
    struct ir_messages *list = &out->messages;
    while (list->first && list->first->role == IR_SYSTEM) {
        *tail = ARENA_NEW(c->arena, struct ir_system);
        (*tail)->text = ir_parts_text(c->arena, &list->first->parts);
        (*tail)->is_developer = list->first->is_developer;
        tail = &(*tail)->next;
        list->first = list->first->next;
        list->n--;
    }
    if (!list->first)
        list->last = NULL;
}

static bool read_messages(struct wire_ctx *c, yyjson_val *list, struct ir_request *out,
                          struct err *e)
{
    size_t i, n;
    yyjson_val *v;
    if (!json_absent(list) && !yyjson_is_arr(list))
        return err_field(e, "messages", "messages: must be an array");
    if (json_absent(list) || yyjson_arr_size(list) == 0) {
        out->is_preload = true; /* only asks for the model to be loaded */
        return true;
    }
    yyjson_arr_foreach (list, i, n, v)
        if (!read_message(c, v, i, &out->messages, e))
            return false;
    take_system(c, out);
    return true;
}

static bool read_tools(struct wire_ctx *c, yyjson_val *list, struct ir_request *out, struct err *e)
{
    struct ir_tool **tail = &out->tools;
    size_t i, n;
    yyjson_val *v;
    if (json_absent(list))
        return true;
    if (!yyjson_is_arr(list))
        return err_field(e, "tools", "tools: must be an array");
    yyjson_arr_foreach (list, i, n, v) {
        yyjson_val *function = json_get(v, "function"),
                   *parameters = json_get(function, "parameters");
        if (!yyjson_is_obj(function))
            return err_field(e, "tools", "tools[%zu].function: must be an object", i);
        struct ir_tool *t = ARENA_NEW(c->arena, struct ir_tool);
        t->name = json_get_str(function, "name");
        t->description = json_get_str(function, "description");
        t->parameters = json_absent(parameters) ? NULL : parameters;
        t->origin = WIRE_OLLAMA;
        t->raw = v;
        *tail = t;
        tail = &t->next;
    }
    return true;
}

static bool read_common(struct wire_ctx *c, yyjson_val *root, struct ir_request *out, struct err *e)
{
    yyjson_val *logprobs = json_get(root, "logprobs");
    ir_request_init(out);
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_request", "the body must be a JSON object");
    out->origin = WIRE_OLLAMA;
    out->raw = root;
    out->model = json_get_str(root, "model");
    out->is_stream = json_get_bool(root, "stream", true);
    out->has_logprobs = yyjson_is_bool(logprobs);
    out->logprobs = yyjson_is_true(logprobs);
    out->top_logprobs = json_get_int(root, "top_logprobs", -1);
    return read_options(c, json_get(root, "options"), out, e) &&
           read_format(json_get(root, "format"), out, e) &&
           read_think(json_get(root, "think"), out, e);
}

static bool read_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                         struct err *e)
{
    if (!read_common(c, root, out, e) || !read_tools(c, json_get(root, "tools"), out, e) ||
        !read_messages(c, json_get(root, "messages"), out, e))
        return false;
    ir_link_calls(c, &out->messages);
    return true;
}

static bool read_generate_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                                  struct err *e)
{
    static const char *const ignored[] = {"template", "context", "raw"};
    if (!read_common(c, root, out, e))
        return false;
    out->origin = WIRE_OLLAMA_GENERATE;
    struct str prompt = json_get_str(root, "prompt"), system = json_get_str(root, "system");
    if (json_get_str(root, "suffix").n) {
        return err_unsupported(e, "suffix",
                               "suffix: filling in between is not possible with this model");
    }
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++) {
        yyjson_val *v = json_get(root, ignored[i]);
        if (!json_absent(v) && !yyjson_is_false(v))
            wire_drop(c, "chat models bring their own template and keep no context", "%s",
                      ignored[i]);
    }
    if (system.n) {
        out->system = ARENA_NEW(c->arena, struct ir_system);
        out->system->text = system;
    }
    out->is_preload = !prompt.n && !json_get(root, "images");
    if (out->is_preload)
        return true;
    struct ir_message *m = ir_message_add(c->arena, &out->messages, IR_USER);
    if (prompt.n)
        ir_part_add(c->arena, &m->parts, IR_TEXT)->text = prompt;
    return read_images(c, json_get(root, "images"), &m->parts, e);
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

static bool says_media(struct wire_ctx *c, const struct ir_part *p)
{
    if (p->kind != IR_IMAGE)
        wire_drop(c, "only images are accepted", "%s", wire_media_word(p->kind));
    else if (p->source.kind != IR_SOURCE_DATA && p->source.kind != IR_SOURCE_URL)
        wire_drop(c, "a file id of another provider", "image");
    else
        return true;
    return false;
}

static bool write_images(struct jw *w, const struct ir_parts *parts, struct err *e)
{
    bool is_open = false;
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind != IR_IMAGE ||
            (p->source.kind != IR_SOURCE_DATA && p->source.kind != IR_SOURCE_URL))
            continue;
        if (p->source.kind == IR_SOURCE_URL)
            return wire_refuse_remote(&p->source, e);
        if (!is_open) {
            jw_key(w, "images");
            jw_array(w);
            is_open = true;
        }
        jw_str(w, p->source.base64);
    }
    if (is_open)
        jw_array_end(w);
    return true;
}

static void write_call(struct wire_ctx *c, struct jw *w, const struct ir_part *p, unsigned index)
{
    jw_object(w);
    if (p->call_id.n)
        jw_kv_str(w, "id", p->call_id);
    jw_key(w, "function");
    jw_object(w);
    jw_kv_int(w, "index", index);
    jw_kv_str(w, "name", p->name);
    jw_key(w, "arguments");
    jw_raw(w, wire_args_object(c->arena, p->args_raw, p->call_kind));
    jw_object_end(w);
    jw_object_end(w);
}

static void write_calls(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    unsigned n = 0;
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind != IR_TOOL_CALL)
            continue;
        if (n == 0) {
            jw_key(w, "tool_calls");
            jw_array(w);
        }
        write_call(c, w, p, n++);
    }
    if (n)
        jw_array_end(w);
}

static struct str reasoning_text(struct arena *a, const struct ir_parts *parts)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 2);
    for (const struct ir_part *p = parts->first; p; p = p->next)
        if (p->kind == IR_REASONING)
            buf_str_add(&b, p->text);
    return buf_str(&b);
}

static bool write_result(struct wire_ctx *c, struct jw *w, const struct ir_part *p, struct err *e)
{
    bool ok;
    if (p->is_error)
        wire_drop(c, "the format has no place for it", "is_error");
    jw_object(w);
    jw_kv_cstr(w, "role", "tool");
    jw_kv_str(w, "content", wire_result_text(c->arena, p));
    ok = write_images(w, &p->content, e);
    if (p->name.n)
        jw_kv_str(w, "tool_name", p->name);
    if (p->call_id.n)
        jw_kv_str(w, "tool_call_id", p->call_id);
    jw_object_end(w);
    return ok;
}

static bool write_message(struct wire_ctx *c, struct jw *w, const struct ir_message *m,
                          struct err *e)
{
    static const char *const roles[] = {[IR_SYSTEM] = "system",
                                        [IR_USER] = "user",
                                        [IR_ASSISTANT] = "assistant",
                                        [IR_TOOL] = "tool"};
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        if (p->kind == IR_TOOL_RESULT && !write_result(c, w, p, e))
            return false;
    if (m->role == IR_TOOL)
        return true;
    struct str thinking = reasoning_text(c->arena, &m->parts);
    jw_object(w);
    jw_kv_cstr(w, "role", roles[m->role]);
    jw_kv_str(w, "content", ir_parts_text(c->arena, &m->parts));
    if (thinking.n && m->role == IR_ASSISTANT)
        jw_kv_str(w, "thinking", thinking);
    write_calls(c, w, &m->parts);
    bool ok = write_images(w, &m->parts, e);
    jw_object_end(w);
    return ok;
}

static bool write_messages(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                           struct err *e)
{
    jw_key(w, "messages");
    jw_array(w);
    for (const struct ir_system *s = r->system; s; s = s->next) {
        jw_object(w);
        jw_kv_cstr(w, "role", "system");
        jw_kv_str(w, "content", s->text);
        jw_object_end(w);
    }
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        if (!write_message(c, w, m, e))
            return false;
    jw_array_end(w);
    return true;
}

/* There is no tool_choice: none means no tools, a name only that tool, a list only those. */
static bool is_offered(const struct ir_request *r, const struct ir_tool *t)
{
    if (t->kind == IR_TOOL_HOSTED || r->choice == IR_CHOICE_NONE)
        return false;
    if (r->choice == IR_CHOICE_TOOL)
        return str_eq(r->choice_tool, t->name);
    if (r->choice != IR_CHOICE_ALLOWED)
        return true;
    for (unsigned i = 0; i < r->choice_allowed.n; i++)
        if (str_eq(r->choice_allowed.v[i], t->name))
            return true;
    return false;
}

static void write_tool(struct wire_ctx *c, struct jw *w, const struct ir_tool *t)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "function");
    jw_key(w, "function");
    jw_object(w);
    jw_kv_str(w, "name", t->name);
    if (t->description.n)
        jw_kv_str(w, "description", t->description);
    struct str schema = t->is_gemini_schema
                            ? schema_from_gemini_text(c->arena, t->parameters)
                            : schema_clean_text(c->arena, t->parameters, SCHEMA_OPENAI, 0);
    jw_key(w, "parameters");
    jw_raw(w, schema.n ? schema : STR("{\"type\":\"object\",\"properties\":{}}"));
    jw_object_end(w);
    jw_object_end(w);
}

static void write_tools(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    bool is_open = false;
    if (r->choice == IR_CHOICE_ANY || r->choice == IR_CHOICE_TOOL ||
        (r->choice == IR_CHOICE_ALLOWED && r->is_allowed_any))
        wire_drop(c, "a call cannot be forced", "tool_choice");
    for (const struct ir_tool *t = r->tools; t; t = t->next) {
        if (!is_offered(r, t))
            continue;
        if (!is_open) {
            jw_key(w, "tools");
            jw_array(w);
            is_open = true;
        }
        write_tool(c, w, t);
    }
    if (is_open)
        jw_array_end(w);
}

static void write_format(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    if (r->format == IR_FORMAT_JSON_OBJECT ||
        (r->format == IR_FORMAT_JSON_SCHEMA && !r->format_schema)) {
        jw_kv_cstr(w, "format", "json");
    } else if (r->format == IR_FORMAT_JSON_SCHEMA) {
        struct str schema = r->is_gemini_format_schema
                                ? schema_from_gemini_text(c->arena, r->format_schema)
                                : schema_clean_text(c->arena, r->format_schema, SCHEMA_KEEP, 0);
        jw_key(w, "format");
        jw_raw(w, schema.n ? schema : STR("\"json\""));
    }
}

static void write_think(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    enum ir_effort effort = r->effort;
    if (r->reasoning == IR_REASONING_DISABLED || effort == IR_EFFORT_NONE) {
        jw_kv_bool(w, "think", false);
        return;
    }
    switch (effort) {
    case IR_EFFORT_UNSET:
        if (r->reasoning == IR_REASONING_ENABLED || r->budget_tokens > 0)
            jw_kv_bool(w, "think", true);
        return;
    case IR_EFFORT_MINIMAL:
    case IR_EFFORT_LOW:
        jw_kv_cstr(w, "think", "low");
        return;
    case IR_EFFORT_MEDIUM:
        jw_kv_cstr(w, "think", "medium");
        return;
    case IR_EFFORT_HIGH:
    case IR_EFFORT_XHIGH:
        jw_kv_cstr(w, "think", "high");
        return;
    case IR_EFFORT_MAX:
        jw_kv_cstr(w, "think", c->quirks & QUIRK_EFFORT_XHIGH ? "max" : "high");
        return;
    case IR_EFFORT_NONE:
        return;
    }
}

struct options { /* opens the object with its first member */
    struct jw *w;
    bool is_open;
};

static void option_key(struct options *o, struct str key)
{
    if (!o->is_open) {
        jw_key(o->w, "options");
        jw_object(o->w);
        o->is_open = true;
    }
    jw_key_str(o->w, key);
}

static void option_val(struct options *o, const char *key, yyjson_val *v)
{
    if (!v)
        return;
    option_key(o, str_of(key));
    jw_val(o->w, v);
}

static void write_options(struct jw *w, const struct ir_request *r)
{
    struct options o = {.w = w};
    option_val(&o, "temperature", r->temperature);
    option_val(&o, "top_p", r->top_p);
    option_val(&o, "top_k", r->top_k);
    option_val(&o, "min_p", r->min_p);
    option_val(&o, "seed", r->seed);
    option_val(&o, "frequency_penalty", r->frequency_penalty);
    option_val(&o, "presence_penalty", r->presence_penalty);
    if (r->max_tokens >= 0) {
        option_key(&o, STR("num_predict"));
        jw_int(w, r->max_tokens);
    }
    if (r->stop.n) {
        option_key(&o, STR("stop"));
        jw_array(w);
        for (unsigned i = 0; i < r->stop.n; i++)
            jw_str(w, r->stop.v[i]);
        jw_array_end(w);
    }
    yyjson_val *own = json_get(r->raw, "options"), *k, *v;
    size_t i, n;
    if ((r->origin == WIRE_OLLAMA || r->origin == WIRE_OLLAMA_GENERATE) && yyjson_is_obj(own))
        yyjson_obj_foreach (own, i, n, k, v)
            if (!is_among(json_str(k), option_members, ARRAY_LEN(option_members))) {
                option_key(&o, json_str(k));
                jw_val(w, v);
            }
    if (o.is_open)
        jw_object_end(w);
}

static bool write_request(struct wire_ctx *c, const struct ir_request *req, struct buf *out,
                          struct err *e)
{
    const struct wire_needs needs = {
        .target = WIRE_OLLAMA,
        .mid_system = WIRE_SYSTEM_KEEP,
        .ids = WIRE_IDS_ANY,
        .names = WIRE_NAMES_ANY,
        .says_media = says_media,
    };
    if (req->n > 1)
        return err_unsupported(e, "n", "n: this model gives one choice at a time");
    struct ir_request *r = wire_prepare(c, req, &needs, e);
    if (!r)
        return false;
    struct jw w = jw_on(out);
    wire_drop_lost(c, r, lost);
    jw_object(&w);
    jw_kv_str(&w, "model", c->upstream_model.n ? c->upstream_model : r->model);
    if (!write_messages(c, &w, r, e))
        return false;
    write_tools(c, &w, r);
    write_format(c, &w, r);
    write_think(c, &w, r);
    write_options(&w, r);
    /* elsewhere the number alone asks for them */
    if (r->has_logprobs || (r->top_logprobs >= 0 && r->origin != WIRE_OLLAMA))
        jw_kv_bool(&w, "logprobs", r->logprobs || !r->has_logprobs);
    if (r->top_logprobs >= 0)
        jw_kv_int(&w, "top_logprobs", r->top_logprobs);
    if (r->origin == WIRE_OLLAMA)
        write_others(&w, r->raw, chat_members, ARRAY_LEN(chat_members));
    else if (r->origin == WIRE_OLLAMA_GENERATE && json_get(r->raw, "keep_alive"))
        jw_kv_val(&w, "keep_alive", json_get(r->raw, "keep_alive"));
    jw_kv_bool(&w, "stream", c->is_stream); /* absent would mean true */
    jw_object_end(&w);
    return true;
}

/* ======================================================================== replies and streams of an upstream */

struct decoder {
    struct wire_ctx *c;
    struct flow flow;
    struct ir_usage usage;
    bool is_done;
};

static void *decoder_new(struct wire_ctx *c)
{
    struct decoder *d = ARENA_NEW(c->arena, struct decoder);
    d->c = c;
    d->usage = IR_USAGE_NONE;
    flow_init(&d->flow, c);
    return d;
}

static void reply_calls(struct decoder *d, yyjson_val *list)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach (list, i, n, v) {
        yyjson_val *function = json_get(v, "function"), *args = json_get(function, "arguments");
        struct str id = json_get_str(v, "id");
        struct str name = wire_tool_name_back(d->c, json_get_str(function, "name"));
        if (!id.n)
            id = wire_make_id(d->c, "call_", 24);
        flow_open(&d->flow, 0, IR_TOOL_CALL, &(struct ir_event){.call_id = id, .name = name});
        if (yyjson_is_str(args))
            flow_args(&d->flow, 0, json_str(args));
        else
            flow_args(&d->flow, 0, json_absent(args) ? STR("{}") : json_text(d->c->scratch, args));
        flow_close(&d->flow, 0);
    }
}

static void reply_images(struct decoder *d, yyjson_val *list)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach (list, i, n, v) {
        struct ir_source s = {.kind = IR_SOURCE_DATA, .base64 = json_str(v)};
        s.media_type = wire_media_of_base64(s.base64);
        if (!s.base64.n)
            continue;
        if (!s.media_type.n)
            s.media_type = STR("image/png");
        flow_open(&d->flow, 0, IR_IMAGE, &(struct ir_event){.source = s});
        flow_event(&d->flow, 0, &(struct ir_event){.kind = IR_EV_MEDIA, .source = s});
        flow_close(&d->flow, 0);
    }
}

static enum ir_stop read_stop_reason(struct str reason)
{
    return str_is(reason, "length") ? IR_STOP_LENGTH
                                    : IR_STOP_END; /* stop, load, unload, unknown */
}

static void read_usage(yyjson_val *root, struct ir_usage *u)
{
    u->input_total = wire_count(json_get(root, "prompt_eval_count"));
    u->output_total = wire_count(json_get(root, "eval_count"));
}

static bool line(struct decoder *d, yyjson_val *root, struct err *e)
{
    yyjson_val *message = json_get(root, "message"), *logprobs = json_get(root, "logprobs");
    /* /api/generate says the same without a message around it */
    bool is_generated = !message && json_get(root, "response");
    yyjson_val *from = is_generated ? root : message;
    int64_t created_ms;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_UPSTREAM, "bad_upstream_stream", "a line of the stream is no object");
    if (!json_absent(json_get(root, "error"))) {
        struct err upstream = ERR_INIT;
        wire_read_error_value(d->c->scratch, 0, root, &upstream);
        flow_error(&d->flow, &upstream);
        return true;
    }
    if (!clock_parse_rfc3339(json_get_str(root, "created_at"), &created_ms))
        created_ms = 0;
    flow_start(&d->flow, STR_NONE, json_get_str(root, "model"), created_ms / 1000);
    flow_text(&d->flow, 0, IR_REASONING, json_get_str(from, "thinking"));
    flow_text(&d->flow, 0, IR_TEXT, json_get_str(from, is_generated ? "response" : "content"));
    if (yyjson_is_arr(logprobs) && yyjson_arr_size(logprobs) > 0)
        flow_event(&d->flow, 0, &(struct ir_event){.kind = IR_EV_LOGPROBS, .raw = logprobs});
    reply_images(d, json_get(from, "images"));
    reply_calls(d, json_get(from, "tool_calls"));
    if (!json_get_bool(root, "done", false))
        return true;
    d->is_done = true;
    read_usage(root, &d->usage);
    flow_usage(&d->flow, &d->usage);
    flow_finish(&d->flow, 0, read_stop_reason(json_get_str(root, "done_reason")), STR_NONE);
    flow_end(&d->flow, true);
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
    if (!flow_read(&d->flow, data, &root, e)) {
        if (e)
            e->kind = ERR_UPSTREAM;
        return false;
    }
    return line(d, root, e);
}

static void decoder_end(void *dec, wire_sink_fn *emit, void *arg)
{
    struct decoder *d = dec;
    flow_on(&d->flow, emit, arg);
    flow_end(&d->flow, d->is_done);
}

/* A whole reply is a stream of one line, which says that it is the last. */
static bool read_response(struct wire_ctx *c, yyjson_val *root, struct ir_response *out,
                          struct err *e)
{
    struct decoder *d = decoder_new(c);
    struct ir_collector *k = ir_collector_new(c);
    flow_on(&d->flow, ir_collect, k);
    if (!line(d, root, e))
        return false;
    /* some forget to say done */
    if (!d->flow.is_ended && (json_get(root, "message") || json_get(root, "response")))
        flow_end(&d->flow, true);
    decoder_end(d, ir_collect, k);
    if (!ir_collected(k, out, e))
        return false;
    out->origin = WIRE_OLLAMA;
    return true;
}

/* ======================================================================== replies and streams to a client */

/* keep_alive of nothing: the model is to be let go at once. */
static bool is_unload(const struct ir_request *r)
{
    yyjson_val *v = json_get(r->raw, "keep_alive");
    struct str text = json_str(v);
    if (!yyjson_is_str(v))
        return json_is_number(v) && json_get_int(r->raw, "keep_alive", -1) == 0;
    return text.n > 0 && text.p[0] == '0' && (text.n == 1 || strchr("smh", text.p[1]));
}

static const char *stop_text(const struct wire_ctx *c, enum ir_stop stop)
{
    if (c->req && c->req->is_preload)
        return is_unload(c->req) ? "unload" : "load";
    return stop == IR_STOP_LENGTH ? "length" : "stop";
}

static int64_t elapsed_ns(const struct wire_ctx *c)
{
    return c->elapsed_ns > 0 ? c->elapsed_ns : 0;
}

static void write_times(const struct wire_ctx *c, struct jw *w, const struct ir_usage *u,
                        int64_t first_ns)
{
    int64_t total = elapsed_ns(c);
    jw_kv_int(w, "total_duration", total);
    jw_kv_int(w, "load_duration", 0);
    jw_kv_int(w, "prompt_eval_count", ir_usage_in(u));
    jw_kv_int(w, "prompt_eval_duration", first_ns);
    jw_kv_int(w, "eval_count", ir_usage_out(u));
    jw_kv_int(w, "eval_duration", total - first_ns);
}

static void write_head(const struct wire_ctx *c, struct jw *w, struct str model)
{
    jw_object(w);
    jw_kv_str(w, "model", model);
    jw_key(w, "created_at");
    jw_raw(w, STR("\""));
    clock_rfc3339_ns(w->b, c->now_ms * 1000000 + elapsed_ns(c));
    buf_char(w->b, '"');
}

static bool is_generate(const struct wire_ctx *c)
{
    return c->client == WIRE_OLLAMA_GENERATE;
}

static struct ir_parts *reply_media(struct wire_ctx *c, const struct ir_parts *parts)
{
    struct ir_parts *kept = ARENA_NEW(c->arena, struct ir_parts);
    for (const struct ir_part *p = parts->first; p; p = p->next)
        if (p->kind == IR_IMAGE && p->source.kind == IR_SOURCE_DATA)
            ir_part_add(c->arena, kept, IR_IMAGE)->source = p->source;
        else if (p->kind == IR_IMAGE || p->kind == IR_FILE || p->kind == IR_AUDIO ||
                 p->kind == IR_VIDEO)
            wire_drop_media(c, p->kind);
    return kept;
}

static void write_chat_message(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    struct err ignored = ERR_INIT;
    struct str thinking = reasoning_text(c->arena, parts);
    jw_key(w, "message");
    jw_object(w);
    jw_kv_cstr(w, "role", "assistant");
    jw_kv_str(w, "content", ir_parts_text(c->arena, parts));
    if (thinking.n)
        jw_kv_str(w, "thinking", thinking);
    write_calls(c, w, parts);
    (void)write_images(w, reply_media(c, parts), &ignored); /* data only: cannot fail */
    jw_object_end(w);
}

static void write_generated(struct wire_ctx *c, struct jw *w, const struct ir_parts *parts)
{
    struct str thinking = reasoning_text(c->arena, parts);
    for (const struct ir_part *p = parts->first; p; p = p->next)
        if (p->kind == IR_IMAGE || p->kind == IR_FILE || p->kind == IR_AUDIO || p->kind == IR_VIDEO)
            wire_drop_media(c, p->kind);
    jw_kv_str(w, "response", ir_parts_text(c->arena, parts));
    if (thinking.n)
        jw_kv_str(w, "thinking", thinking);
}

static void write_response(struct wire_ctx *c, const struct ir_response *res, struct buf *out)
{
    static const struct ir_parts nothing;
    const struct ir_choice *choice = res->choices;
    const struct ir_parts *parts = choice ? &choice->message.parts : &nothing;
    yyjson_val *logprobs = choice ? json_get(choice->logprobs, "content") : NULL;
    struct jw w = jw_on(out);
    if (choice && choice->next)
        wire_drop(c, "one choice at a time", "choices");
    write_head(c, &w, wire_model_shown(c, res->model));
    if (is_generate(c))
        write_generated(c, &w, parts);
    else
        write_chat_message(c, &w, parts);
    if (yyjson_is_arr(logprobs))
        jw_kv_val(&w, "logprobs", logprobs);
    jw_kv_bool(&w, "done", true);
    jw_kv_cstr(&w, "done_reason", stop_text(c, choice ? choice->stop : IR_STOP_END));
    write_times(c, &w, &res->usage, 0);
    jw_object_end(&w);
}

static void write_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    (void)request_id;
    jw_object(&w);
    jw_kv_cstr(&w, "error", e->message);
    jw_object_end(&w);
}

/* ---- stream ---- */
struct encoder {
    struct wire_ctx *c;
    bool is_generate, is_ended, has_first;
    struct str head;          /* of every line, as JSON: model and the key of the time */
    enum ir_part_kind kind;   /* of the open block */
    struct str call_id, name; /* of an open call; its arguments are gathered to its end */
    struct buf args;
    unsigned n_calls;
    int64_t first_ns;
    struct ir_usage usage;
    enum ir_stop stop;
};

static void *encoder_new(struct wire_ctx *c)
{
    struct encoder *s = ARENA_NEW(c->arena, struct encoder);
    s->c = c;
    s->is_generate = is_generate(c);
    s->usage = IR_USAGE_NONE;
    buf_init_arena(&s->args, c->arena, SIZE_MAX / 2);
    return s;
}

static void begin(struct encoder *s, struct str model)
{
    struct buf b;
    if (s->head.n)
        return;
    buf_init_arena(&b, s->c->arena, SIZE_MAX / 2);
    buf_lit(&b, "{\"model\":\"");
    json_escape(&b, wire_model_shown(s->c, model));
    buf_lit(&b, "\",\"created_at\":\"");
    s->head = buf_str(&b);
}

static void line_begin(struct encoder *s, struct buf *out)
{
    begin(s, STR_NONE);
    buf_str_add(out, s->head);
    clock_rfc3339_ns(out, s->c->now_ms * 1000000 + elapsed_ns(s->c));
    buf_lit(out, "\",");
}

static void line_end(struct buf *out)
{
    buf_lit(out, ",\"done\":false}\n");
}

static void content_seen(struct encoder *s)
{
    if (!s->has_first)
        s->first_ns = elapsed_ns(s->c);
    s->has_first = true;
}

static void put_text(struct encoder *s, const struct ir_event *ev, bool is_thinking,
                     struct buf *out)
{
    if (!ev->text.n)
        return;
    content_seen(s);
    line_begin(s, out);
    if (!s->is_generate)
        buf_lit(out, "\"message\":{\"role\":\"assistant\",");
    if (is_thinking) {
        if (s->is_generate)
            buf_lit(out, "\"response\":\"\",\"thinking\":\"");
        else
            buf_lit(out, "\"content\":\"\",\"thinking\":\"");
    } else if (s->is_generate) {
        buf_lit(out, "\"response\":\"");
    } else {
        buf_lit(out, "\"content\":\"");
    }
    wire_put_text(out, ev);
    buf_lit(out, "\"");
    if (!s->is_generate)
        buf_lit(out, "}");
    line_end(out);
}

static void begin_block(struct encoder *s, const struct ir_event *ev)
{
    s->kind = ev->part_kind;
    if (s->kind != IR_TOOL_CALL)
        return;
    s->call_id = str_dup(s->c->arena, ev->call_id);
    s->name = str_dup(s->c->arena, ev->name);
    buf_clear(&s->args);
}

static void end_block(struct encoder *s, struct buf *out)
{
    bool is_call = s->kind == IR_TOOL_CALL;
    struct jw w = jw_on(out);
    s->kind = IR_OPAQUE;
    if (!is_call)
        return;
    if (s->is_generate) {
        wire_drop(s->c, "the format has no place for it in an answer", "tool_calls");
        return;
    }
    content_seen(s);
    line_begin(s, out);
    buf_lit(out, "\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[");
    write_call(s->c, &w,
               &(struct ir_part){.kind = IR_TOOL_CALL,
                                 .call_id = s->call_id,
                                 .name = s->name,
                                 .args_raw = buf_str(&s->args)},
               s->n_calls++);
    buf_lit(out, "]}");
    line_end(out);
}

static void put_image(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    const struct ir_source *source = &ev->source;
    if (s->is_generate || source->kind != IR_SOURCE_DATA ||
        !str_starts_nocase(source->media_type, STR("image/"))) {
        wire_drop_media(s->c, ev->part_kind);
        return;
    }
    line_begin(s, out);
    buf_lit(out, "\"message\":{\"role\":\"assistant\",\"content\":\"\",\"images\":[\"");
    json_escape(out, source->base64);
    buf_lit(out, "\"]}");
    line_end(out);
}

static void put_empty(struct encoder *s, struct buf *out)
{
    if (s->is_generate)
        buf_lit(out, "\"response\":\"\"");
    else
        buf_lit(out, "\"message\":{\"role\":\"assistant\",\"content\":\"\"}");
}

static void put_logprobs(struct encoder *s, yyjson_val *entries, struct buf *out)
{
    struct jw w = jw_on(out);
    line_begin(s, out);
    put_empty(s, out);
    buf_lit(out, ",\"logprobs\":");
    jw_val(&w, entries);
    line_end(out);
}

static void put_done(struct encoder *s, struct buf *out)
{
    struct jw w = {.b = out, .depth = 1, .needs_comma = true}; /* inside of the line's object */
    if (!s->has_first)
        s->first_ns = elapsed_ns(s->c);
    line_begin(s, out);
    put_empty(s, out);
    jw_kv_bool(&w, "done", true);
    jw_kv_cstr(&w, "done_reason", stop_text(s->c, s->stop));
    write_times(s->c, &w, &s->usage, s->first_ns);
    buf_lit(out, "}\n");
}

static void encoder_push(void *enc, const struct ir_event *ev, struct buf *out)
{
    struct encoder *s = enc;
    if (s->is_ended)
        return;
    if (ev->choice != 0) {
        wire_drop(s->c, "one choice at a time", "choices");
        return;
    }
    switch (ev->kind) {
    case IR_EV_START:
        begin(s, ev->model);
        break;
    case IR_EV_BLOCK_START:
        begin_block(s, ev);
        break;
    case IR_EV_TEXT:
        put_text(s, ev, false, out);
        break;
    case IR_EV_REASONING:
        put_text(s, ev, true, out);
        break;
    case IR_EV_TOOL_ARGS:
        if (s->kind == IR_TOOL_CALL)
            buf_str_add(&s->args, ev->text);
        break;
    case IR_EV_LOGPROBS:
        if (yyjson_is_arr(ev->raw) && yyjson_arr_size(ev->raw) > 0)
            put_logprobs(s, ev->raw, out);
        break;
    case IR_EV_MEDIA:
        put_image(s, ev, out);
        break;
    case IR_EV_BLOCK_END:
        end_block(s, out);
        break;
    case IR_EV_USAGE:
        s->usage = ir_usage_merge(s->usage, ev->usage);
        break;
    case IR_EV_FINISH:
        s->stop = ev->stop;
        break;
    case IR_EV_ERROR:
        write_error(ev->error, STR_NONE, out);
        buf_char(out, '\n');
        s->is_ended = true;
        break;
    case IR_EV_END:
        put_done(s, out);
        s->is_ended = true;
        break;
    case IR_EV_CITATION:
        (void)wire_answers_with_citation(s->c, ev->citation);
        break;
    case IR_EV_PING:
        break;
    }
}

/* ======================================================================== metering */

static bool meter(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    struct json_scan scan;
    struct json_want want[] = {{.key = "done"},
                               {.key = "done_reason"},
                               {.key = "prompt_eval_count"},
                               {.key = "eval_count"}};
    (void)event;
    if (!str_contains(data, STR("\"done_reason\"")) && !str_contains(data, STR("eval_count\"")) &&
        !str_contains(data, STR("\"done\":true"))) /* embeddings tell of their prompt alone */
        return false;
    if (!json_scan_object(data, want, ARRAY_LEN(want), 0, &scan, NULL))
        return false;
    struct ir_usage found = IR_USAGE_NONE;
    found.input_total = wire_count_in(data, &want[2]);
    found.output_total = wire_count_in(data, &want[3]);
    *usage = ir_usage_merge(*usage, found);
    struct str done = str_n(data.p + want[0].span.at, want[0].span.n);
    struct str reason = str_n(data.p + want[1].span.at, want[1].span.n);
    if (reason.n > 2)
        *stop = read_stop_reason(str_n(reason.p + 1, reason.n - 2));
    return str_is(done, "true");
}

const struct wire wire_ollama = {
    .id = WIRE_OLLAMA,
    .name = "ollama",
    .framing = FRAMING_NDJSON,
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
    .meter = meter,
};

const struct wire wire_ollama_generate = {
    /* for clients; what goes upstream is a chat */
    .id = WIRE_OLLAMA_GENERATE,       .name = "ollama_generate",
    .framing = FRAMING_NDJSON,        .read_request = read_generate_request,
    .write_request = write_request,   .read_response = read_response,
    .write_response = write_response, .decoder_new = decoder_new,
    .decoder_push = decoder_push,     .decoder_end = decoder_end,
    .encoder_new = encoder_new,       .encoder_push = encoder_push,
    .write_error = write_error,       .meter = meter,
};
