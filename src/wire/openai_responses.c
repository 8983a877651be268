/* openai_responses.c - OpenAI Responses, both directions: requests, replies, streams.
 * Not here: kept responses and previous_response_id (the relay expands them), pairing, ids and names (prepare.h), stream
 * bookkeeping (flow.h), schema cleaning. */
#include "base/codec.h"
#include "wire/openai.h"
#include "wire/wires.h"
#include "base/banned.h"

#define ITEMS_MAX 1024         /* output items of one stream */
#define REPLY_MAX (256u << 20) /* bytes of one streamed answer kept for its last event */

/* clang-format off */
static const char *const known_members[] = {
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_tool_calls", "max_output_tokens",
    "temperature", "top_p", "top_logprobs", "truncation", "text", "reasoning", "stream", "store", "previous_response_id",
    "include", "metadata", "user", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention",
    "background", NULL,
};
/* clang-format on */

/* ======================================================================== reading requests */

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
    if (str_is(type, "input_text") || str_is(type, "output_text") || str_is(type, "text") ||
        str_is(type, "summary_text")) {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_TEXT);
        if (!yyjson_is_str(json_get(v, "text")))
            return err_field(e, where, "a text part needs a string 'text'");
        p->text = json_get_str(v, "text");
        p->citations = openai_read_annotations(c->arena, json_get(v, "annotations"),
                                               WIRE_RESPONSES);
    } else if (str_is(type, "input_image") || str_is(type, "image_url")) {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_IMAGE);
        openai_read_image(c, v, p);
        if (p->source.kind == IR_SOURCE_REF && p->source.ref.n == 0)
            return err_field(e, where, "an image part needs 'image_url' or 'file_id'");
    } else if (str_is(type, "input_file")) {
        openai_read_file(c, v, ir_part_add(c->arena, parts, IR_FILE));
    } else if (str_is(type, "input_audio")) {
        yyjson_val *audio = json_get(v, "input_audio") ? json_get(v, "input_audio") : v;
        ir_part_add(c->arena, parts, IR_AUDIO)->source = (struct ir_source){
            .kind = IR_SOURCE_DATA,
            .media_type = wire_media_of_audio(json_get_str(audio, "format")),
            .base64 = json_get_str(audio, "data")};
    } else if (str_is(type, "refusal")) {
        ir_part_add(c->arena, parts, IR_REFUSAL)->text = json_get_str(v, "refusal");
    } else {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_OPAQUE);
        p->origin = WIRE_RESPONSES;
        p->raw = v;
    }
    return true;
}

static bool read_content(struct wire_ctx *c, yyjson_val *content, const char *where,
                         struct ir_parts *parts, struct err *e)
{
    return openai_read_content(c, content, where, read_part, parts, e);
}

struct reader {
    struct wire_ctx *c;
    struct ir_request *out;
    struct ir_system **system;
};

static struct ir_message *turn(struct reader *r,
                               enum ir_role role) /* the open one of this role, else a new one */
{
    struct ir_message *last = r->out->messages.last;
    return last && last->role == role ? last : ir_message_add(r->c->arena, &r->out->messages, role);
}

static void add_system(struct reader *r, struct str text, bool is_developer)
{
    struct ir_system *s = ARENA_NEW(r->c->arena, struct ir_system);
    s->text = text;
    s->is_developer = is_developer;
    *r->system = s;
    r->system = &s->next;
}

static bool read_message(struct reader *r, yyjson_val *v, const char *where, struct err *e)
{
    static const struct word roles[] = {{"user", IR_USER},
                                        {"assistant", IR_ASSISTANT},
                                        {"system", IR_SYSTEM},
                                        {"developer", IR_SYSTEM},
                                        {0}};
    struct str role = json_get_str(v, "role");
    int kind = word_value(roles, role, -1);
    struct ir_parts parts = {0};
    if (kind < 0)
        return err_field(e, where, "unknown role '" STR_FMT "'", STR_ARG(str_first(role, 64)));
    if (!read_content(r->c, json_get(v, "content"), where, &parts, e))
        return false;
    if (kind == IR_SYSTEM && r->out->messages.n == 0) {
        add_system(r, ir_parts_text(r->c->arena, &parts), str_is(role, "developer"));
        return true;
    }
    struct ir_message *m = kind == IR_ASSISTANT
                               ? turn(r, IR_ASSISTANT)
                               : ir_message_add(r->c->arena, &r->out->messages, (enum ir_role)kind);
    m->is_developer = str_is(role, "developer");
    if (m->phase.n == 0)
        m->phase = json_get_str(v, "phase");
    for (struct ir_part *p = parts.first, *next; p; p = next) {
        next = p->next;
        p->next = NULL;
        if (p == parts.first && kind == IR_ASSISTANT)
            p->item_id = json_get_str(v, "id");
        if (m->parts.last)
            m->parts.last->next = p;
        else
            m->parts.first = p;
        m->parts.last = p;
        m->parts.n++;
    }
    return true;
}

static struct str joined_texts(struct wire_ctx *c, yyjson_val *list)
{
    struct buf b;
    yyjson_val *v;
    size_t i, n;
    if (yyjson_arr_size(list) == 1)
        return json_get_str(yyjson_arr_get_first(list), "text");
    buf_init_arena(&b, c->arena, SIZE_MAX / 2);
    yyjson_arr_foreach (list, i, n, v) {
        if (b.n > 0)
            buf_lit(&b, "\n\n");
        buf_str_add(&b, json_get_str(v, "text"));
    }
    return buf_str(&b);
}

static void read_reasoning(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    struct ir_part *p = ir_part_add(c->arena, parts, IR_REASONING);
    p->origin = WIRE_RESPONSES;
    p->raw = v;
    p->item_id = json_get_str(v, "id");
    p->encrypted = json_get_str(v, "encrypted_content");
    p->text = joined_texts(c, json_get(v, "content"));
    p->is_summary = p->text.n == 0;
    if (p->is_summary)
        p->text = joined_texts(c, json_get(v, "summary"));
}

static void read_call(struct wire_ctx *c, yyjson_val *v, bool is_custom, struct ir_parts *parts)
{
    yyjson_val *args = json_get(v, is_custom ? "input" : "arguments");
    struct ir_part *p = ir_part_add(c->arena, parts, IR_TOOL_CALL);
    p->call_kind = is_custom ? IR_CALL_CUSTOM : IR_CALL_FUNCTION;
    p->call_id = json_get_str(v, "call_id");
    p->item_id = json_get_str(v, "id");
    p->name = json_get_str(v, "name");
    p->space = json_get_str(v, "namespace");
    p->args_raw = yyjson_is_str(args) ? json_str(args)
                  : json_absent(args) ? STR_NONE
                                      : json_text(c->arena, args);
    p->origin = WIRE_RESPONSES;
}

static bool read_output(struct reader *r, yyjson_val *v, bool is_custom, const char *where,
                        struct err *e)
{
    yyjson_val *output = json_get(v, "output");
    struct ir_message *m = turn(r, IR_TOOL);
    struct ir_part *p = ir_part_add(r->c->arena, &m->parts, IR_TOOL_RESULT);
    p->call_kind = is_custom ? IR_CALL_CUSTOM : IR_CALL_FUNCTION;
    p->call_id = json_get_str(v, "call_id");
    if (p->call_id.n == 0)
        return err_field(e, where, "'call_id' is required");
    if (yyjson_is_obj(output)) {
        p->result_json = output;
        return true;
    }
    return read_content(r->c, output, where, &p->content, e);
}

static bool read_item(struct reader *r, yyjson_val *v, size_t i, struct err *e)
{
    char where[32];
    struct str type = json_get_str(v, "type");
    wire_place(where, sizeof where, "input", "[", i, "]");
    if (yyjson_is_str(v)) {
        struct ir_message *m = ir_message_add(r->c->arena, &r->out->messages, IR_USER);
        ir_part_add(r->c->arena, &m->parts, IR_TEXT)->text = json_str(v);
        return true;
    }
    if (!yyjson_is_obj(v))
        return err_field(e, where, "an input item must be an object");
    if (str_is(type, "message") || (type.n == 0 && json_get(v, "role")))
        return read_message(r, v, where, e);
    if (str_is(type, "function_call") || str_is(type, "custom_tool_call")) {
        read_call(r->c, v, str_is(type, "custom_tool_call"), &turn(r, IR_ASSISTANT)->parts);
        return true;
    }
    if (str_is(type, "function_call_output") || str_is(type, "custom_tool_call_output"))
        return read_output(r, v, str_is(type, "custom_tool_call_output"), where, e);
    if (str_is(type, "reasoning")) {
        read_reasoning(r->c, v, &turn(r, IR_ASSISTANT)->parts);
        return true;
    }
    struct ir_part *p = ir_part_add(r->c->arena, &turn(r, IR_ASSISTANT)->parts, IR_OPAQUE);
    p->origin = WIRE_RESPONSES;
    p->raw = v;
    return true;
}

static bool read_input(struct reader *r, yyjson_val *input, struct err *e)
{
    yyjson_val *v;
    size_t i, n;
    if (yyjson_is_str(input) || yyjson_is_obj(input))
        return read_item(r, input, 0, e);
    if (json_absent(input))
        return true;
    if (!yyjson_is_arr(input))
        return err_field(e, "input", "'input' must be a string or an array of items");
    yyjson_arr_foreach (input, i, n, v)
        if (!read_item(r, v, i, e))
            return false;
    return true;
}

static bool read_tools(struct wire_ctx *c, yyjson_val *list, struct ir_request *out, struct err *e)
{
    struct ir_tool **tail = &out->tools;
    yyjson_val *v;
    size_t i, n;
    char where[32];
    if (!json_absent(list) && !yyjson_is_arr(list))
        return err_field(e, "tools", "'tools' must be an array");
    yyjson_arr_foreach (list, i, n, v) {
        struct ir_tool *t = ARENA_NEW(c->arena, struct ir_tool);
        struct str type = json_get_str(v, "type");
        yyjson_val *at = json_get(v, "function") ? json_get(v, "function")
                                                 : v; /* the chat spelling, seen */
        yyjson_val *strict = json_get(at, "strict");
        wire_place(where, sizeof where, "tools", "[", i, "]");
        if (!yyjson_is_obj(v))
            return err_field(e, where, "a tool must be an object");
        t->origin = WIRE_RESPONSES;
        t->raw = v;
        t->kind = str_is(type, "function") || type.n == 0 ? IR_TOOL_FUNCTION
                  : str_is(type, "custom")                ? IR_TOOL_CUSTOM
                                                          : IR_TOOL_HOSTED;
        t->hosted_type = type;
        t->name = json_get_str(at, "name");
        t->description = json_get_str(at, "description");
        t->parameters = yyjson_is_obj(json_get(at, "parameters")) ? json_get(at, "parameters")
                                                                  : NULL;
        t->has_strict = yyjson_is_bool(strict);
        t->strict = yyjson_get_bool(strict);
        *tail = t;
        tail = &t->next;
    }
    return true;
}

static bool read_reasoning_config(yyjson_val *v, struct ir_request *out, struct err *e)
{
    struct str effort = json_get_str(v, "effort");
    if (!json_absent(v) && !yyjson_is_obj(v))
        return err_field(e, "reasoning", "'reasoning' must be an object");
    out->reasoning_summary = json_get_str(v, "summary");
    if (out->reasoning_summary.n == 0)
        out->reasoning_summary = json_get_str(v, "generate_summary");
    if (out->reasoning_summary.n > 0)
        out->has_include_thoughts = out->include_thoughts = true;
    if (effort.n == 0)
        return true;
    out->effort = wire_effort_parse(effort);
    if (out->effort == IR_EFFORT_UNSET)
        return err_field(e, "reasoning.effort", "unknown effort '" STR_FMT "'",
                         STR_ARG(str_first(effort, 32)));
    out->reasoning = out->effort == IR_EFFORT_NONE ? IR_REASONING_DISABLED : IR_REASONING_ENABLED;
    return true;
}

static bool includes(yyjson_val *include, const char *what)
{
    yyjson_val *v;
    size_t i, n;
    yyjson_arr_foreach (include, i, n, v)
        if (str_eq(json_str(v), str_of(what)))
            return true;
    return false;
}

static bool read_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                         struct err *e)
{
    struct reader r = {c, out, &out->system};
    yyjson_val *text = json_get(root, "text"), *instructions = json_get(root, "instructions");
    ir_request_init(out);
    out->origin = WIRE_RESPONSES;
    out->raw = root;
    out->include_usage = true;
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_request", "the body must be a JSON object");
    static const struct wire_member members[] = {{"text"}, {"include", true}, {0}};
    if (!wire_check_members(root, members, e))
        return false;
    if (!json_absent(instructions) && !yyjson_is_str(instructions))
        return err_field(e, "instructions", "'instructions' must be a string");
    if (json_str(instructions).n > 0)
        add_system(&r, json_str(instructions), false);
    out->include = yyjson_is_arr(json_get(root, "include")) ? json_get(root, "include") : NULL;
    out->is_background = json_get_bool(root, "background", false);
    if (!openai_read_sampling(root, out, e) || !read_input(&r, json_get(root, "input"), e) ||
        !read_tools(c, json_get(root, "tools"), out, e) ||
        !openai_read_choice(c->arena, json_get(root, "tool_choice"), out, e) ||
        !openai_read_limit(root, "max_output_tokens", &out->max_tokens, e) ||
        !openai_read_int(root, "max_tool_calls", 0, &out->max_tool_calls, e) ||
        !openai_read_str(root, "truncation", &out->truncation, e) ||
        !openai_read_str(root, "previous_response_id", &out->previous_response_id, e) ||
        !read_reasoning_config(json_get(root, "reasoning"), out, e) ||
        !openai_read_format(json_get(text, "format"), false, "text.format", out, e))
        return false;
    out->verbosity = json_get_str(text, "verbosity");
    if (out->messages.n == 0 && !out->system && out->previous_response_id.n == 0 &&
        json_absent(json_get(root, "prompt")) && json_absent(json_get(root, "conversation")))
        return err_field(e, "input", "'input' is required");
    if (includes(out->include, "message.output_text.logprobs"))
        out->has_logprobs = out->logprobs = true;
    return true;
}

/* ======================================================================== writing requests */

static bool says_media(struct wire_ctx *c, const struct ir_part *p)
{
    const struct ir_source *s = &p->source;
    if (p->kind == IR_VIDEO)
        wire_drop(c, "the format has no place for it", "video");
    else if (p->kind == IR_AUDIO && s->kind != IR_SOURCE_DATA)
        wire_drop(c, "only audio sent along is understood", "audio");
    else
        return true;
    return false;
}

static void write_input_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    struct str url;
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        jw_object(w);
        jw_kv_cstr(w, "type", "input_text");
        jw_kv_str(w, "text", p->text);
        jw_object_end(w);
        break;
    case IR_IMAGE:
        url = ir_source_url(c->arena, &p->source);
        jw_object(w);
        jw_kv_cstr(w, "type", "input_image");
        if (url.n > 0)
            jw_kv_str(w, "image_url", url);
        else
            jw_kv_str(w, "file_id", p->source.ref);
        if (p->detail.n > 0)
            jw_kv_str(w, "detail", p->detail);
        jw_object_end(w);
        break;
    case IR_FILE:
        if (p->source.kind == IR_SOURCE_TEXT) {
            write_input_part(c, w, &(struct ir_part){.kind = IR_TEXT, .text = p->source.text});
            break;
        }
        jw_object(w);
        jw_kv_cstr(w, "type", "input_file");
        if (p->source.kind == IR_SOURCE_URL) {
            jw_kv_str(w, "file_url", p->source.url);
        } else if (p->source.kind == IR_SOURCE_REF) {
            jw_kv_str(w, "file_id", p->source.ref);
        } else {
            struct str name = p->name.n > 0 ? p->name : p->title;
            jw_kv_str(w, "filename", name.n > 0 ? name : STR("document.pdf"));
            jw_kv_str(w, "file_data", ir_source_url(c->arena, &p->source));
        }
        jw_object_end(w);
        break;
    case IR_AUDIO:
        jw_object(w);
        jw_kv_cstr(w, "type", "input_audio");
        jw_key(w, "input_audio");
        jw_object(w);
        jw_kv_str(w, "data", p->source.base64);
        jw_kv_str(w, "format", wire_audio_of_media(p->source.media_type));
        jw_object_end(w);
        jw_object_end(w);
        break;
    case IR_VIDEO: /* never said */
        break;
    case IR_OPAQUE:
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

static void write_input_message(struct wire_ctx *c, struct jw *w, const char *role,
                                const struct ir_parts *parts)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "message");
    jw_kv_cstr(w, "role", role);
    jw_key(w, "content");
    jw_array(w);
    for (const struct ir_part *p = parts->first; p; p = p->next)
        write_input_part(c, w, p);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_said(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    bool is_refusal = p->kind == IR_REFUSAL;
    jw_object(w);
    jw_kv_cstr(w, "type", is_refusal ? "refusal" : "output_text");
    jw_kv_str(w, is_refusal ? "refusal" : "text", p->text);
    if (!is_refusal) {
        jw_key(w, "annotations");
        jw_array(w);
        for (const struct ir_citation *cite = p->citations; cite; cite = cite->next) {
            if (cite->origin == WIRE_RESPONSES && cite->raw)
                jw_val(w, cite->raw);
            else if (cite->kind == IR_CITE_URL && cite->url.n > 0)
                openai_write_annotation(w, cite, false, 0, wire_chars(p->text));
        }
        jw_array_end(w);
    }
    jw_object_end(w);
    if (p->cache.is_set)
        wire_drop(c, "the upstream caches by itself", "cache_control");
}

static void write_call_members(struct jw *w, const struct ir_part *p, struct str space)
{
    bool is_custom = p->call_kind == IR_CALL_CUSTOM;
    jw_kv_str(w, "call_id", p->call_id);
    if (space.n > 0)
        jw_kv_str(w, "namespace", space);
    jw_kv_str(w, "name", p->name);
    if (is_custom)
        jw_kv_str(w, "input", p->args_raw);
    else
        jw_kv_str(w, "arguments", p->args_raw.n > 0 ? p->args_raw : STR("{}"));
}

/* Replayed only as the provider made it: what has neither its id nor its encrypted content means nothing to it. */
static void write_reasoning(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    if (p->item_id.n == 0 && p->encrypted.n == 0) {
        wire_drop(c, "bound to the provider that made it", "reasoning");
        return;
    }
    if (p->raw) {
        jw_val(w, p->raw);
        return;
    }
    jw_object(w);
    jw_kv_cstr(w, "type", "reasoning");
    jw_kv_str(w, "id", p->item_id);
    jw_key(w, "summary");
    jw_array(w);
    if (p->text.n > 0) {
        jw_object(w);
        jw_kv_cstr(w, "type", "summary_text");
        jw_kv_str(w, "text", p->text);
        jw_object_end(w);
    }
    jw_array_end(w);
    if (p->encrypted.n > 0)
        jw_kv_str(w, "encrypted_content", p->encrypted);
    jw_object_end(w);
}

static const struct ir_part *write_texts(struct wire_ctx *c, struct jw *w,
                                         const struct ir_message *m,
                                         const struct ir_part *p) /* gives the part behind them */
{
    jw_object(w);
    jw_kv_cstr(w, "type", "message");
    jw_kv_cstr(w, "role", "assistant");
    if (m->phase.n > 0)
        jw_kv_str(w, "phase", m->phase);
    jw_key(w, "content");
    jw_array(w);
    for (; p && (p->kind == IR_TEXT || p->kind == IR_REFUSAL); p = p->next)
        write_said(c, w, p);
    jw_array_end(w);
    jw_object_end(w);
    return p;
}

static void write_assistant(struct wire_ctx *c, struct jw *w, const struct ir_message *m)
{
    for (const struct ir_part *p = m->parts.first; p;) {
        if (p->kind == IR_TEXT && p->text.n == 0) { /* "" beside calls says nothing */
            p = p->next;
            continue;
        }
        if (p->kind == IR_TEXT || p->kind == IR_REFUSAL) {
            p = write_texts(c, w, m, p);
            continue;
        }
        if (p->kind == IR_TOOL_CALL) {
            jw_object(w);
            jw_kv_cstr(w, "type",
                       p->call_kind == IR_CALL_CUSTOM ? "custom_tool_call" : "function_call");
            write_call_members(w, p, p->space);
            jw_object_end(w);
        } else if (p->kind == IR_REASONING) {
            write_reasoning(c, w, p);
        } else if (p->kind == IR_OPAQUE) {
            jw_val(w, p->raw);
        } else {
            wire_drop(c, "an assistant turn is text here", "image");
        }
        p = p->next;
    }
}

static void write_output(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    if (p->is_error)
        wire_drop(c, "the format has no mark for failed tools", "is_error");
    jw_object(w);
    jw_kv_cstr(w, "type",
               p->call_kind == IR_CALL_CUSTOM ? "custom_tool_call_output" : "function_call_output");
    jw_kv_str(w, "call_id", p->call_id);
    if (!ir_parts_have_media(&p->content)) {
        jw_kv_str(w, "output", wire_result_text(c->arena, p));
    } else {
        jw_key(w, "output");
        jw_array(w);
        for (const struct ir_part *q = p->content.first; q; q = q->next)
            write_input_part(c, w, q);
        jw_array_end(w);
    }
    jw_object_end(w);
}

static void write_input(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    jw_key(w, "input");
    jw_array(w);
    if (!r->messages.first) /* only system text: the upstream needs an item */
        for (const struct ir_system *s = r->system; s; s = s->next) {
            struct ir_parts one = {0};
            ir_part_add(c->arena, &one, IR_TEXT)->text = s->text;
            write_input_message(c, w, "developer", &one);
        }
    for (const struct ir_message *m = r->messages.first; m; m = m->next) {
        switch (m->role) {
        case IR_SYSTEM:
            write_input_message(c, w, "developer", &m->parts);
            break;
        case IR_USER:
            write_input_message(c, w, "user", &m->parts);
            break;
        case IR_ASSISTANT:
            write_assistant(c, w, m);
            break;
        case IR_TOOL:
            for (const struct ir_part *p = m->parts.first; p; p = p->next)
                if (p->kind == IR_TOOL_RESULT)
                    write_output(c, w, p);
            break;
        }
        if (m->name.n > 0)
            wire_drop(c, "the format has no such field", "messages.name");
    }
    jw_array_end(w);
}

static void write_tool(struct wire_ctx *c, struct jw *w, const struct ir_tool *t)
{
    if (t->kind == IR_TOOL_HOSTED && !t->raw) {
        jw_object(w);
        jw_kv_str(w, "type", t->hosted_type);
        jw_object_end(w);
        return;
    }
    if (t->kind == IR_TOOL_HOSTED) {
        jw_val(w, t->raw);
        return;
    }
    bool is_custom = t->kind == IR_TOOL_CUSTOM;
    yyjson_val *format = json_get(t->raw, "format");
    if (!format)
        format = json_get(json_get(t->raw, "custom"), "format");
    jw_object(w);
    jw_kv_cstr(w, "type", is_custom ? "custom" : "function");
    jw_kv_str(w, "name", t->name);
    if (t->description.n > 0)
        jw_kv_str(w, "description", t->description);
    if (is_custom && format)
        jw_kv_val(w, "format", format);
    if (!is_custom) {
        openai_write_parameters(c, w, "parameters", t, true);
        jw_kv_bool(w, "strict", t->has_strict && t->strict); /* absent would mean true here */
    }
    jw_object_end(w);
    if (t->cache.is_set)
        wire_drop(c, "the upstream caches by itself", "cache_control");
}

static void write_named(struct jw *w, const struct ir_request *r, struct str name)
{
    const struct ir_tool *t = ir_tool_find(r, name);
    jw_object(w);
    jw_kv_cstr(w, "type", t && t->kind == IR_TOOL_CUSTOM ? "custom" : "function");
    jw_kv_str(w, "name", name);
    jw_object_end(w);
}

static void write_choice(struct jw *w, const struct ir_request *r)
{
    static const struct word words[] = {
        {"none", IR_CHOICE_NONE}, {"auto", IR_CHOICE_AUTO}, {"required", IR_CHOICE_ANY}, {0}};
    const char *word = word_text(words, r->choice, NULL);
    if (r->choice == IR_CHOICE_UNSET)
        return;
    jw_key(w, "tool_choice");
    if (word) {
        jw_cstr(w, word);
    } else if (r->choice == IR_CHOICE_TOOL) {
        write_named(w, r, r->choice_tool);
    } else {
        jw_object(w);
        jw_kv_cstr(w, "type", "allowed_tools");
        jw_kv_cstr(w, "mode", r->is_allowed_any ? "required" : "auto");
        jw_key(w, "tools");
        jw_array(w);
        for (unsigned i = 0; i < r->choice_allowed.n; i++)
            write_named(w, r, r->choice_allowed.v[i]);
        jw_array_end(w);
        jw_object_end(w);
    }
}

static void write_tools(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    if (!r->tools || !wire_takes(c, "tools"))
        return;
    jw_key(w, "tools");
    jw_array(w);
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        write_tool(c, w, t);
    jw_array_end(w);
    if (r->choice != IR_CHOICE_UNSET && wire_takes(c, "tool_choice"))
        write_choice(w, r);
    if (r->has_disable_parallel && wire_takes(c, "parallel_tool_calls"))
        jw_kv_bool(w, "parallel_tool_calls", !r->disable_parallel);
    if (r->max_tool_calls >= 0 && wire_takes(c, "max_tool_calls"))
        jw_kv_int(w, "max_tool_calls", r->max_tool_calls);
}

static void write_reasoning_config(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    const char *effort = openai_effort(c, r);
    struct str summary = r->reasoning_summary;
    if (summary.n == 0 && r->has_include_thoughts && r->include_thoughts &&
        r->reasoning != IR_REASONING_DISABLED)
        summary = STR("auto");
    if ((!effort && summary.n == 0) || !wire_takes(c, "reasoning"))
        return;
    jw_key(w, "reasoning");
    jw_object(w);
    if (effort)
        jw_kv_cstr(w, "effort", effort);
    if (summary.n > 0)
        jw_kv_str(w, "summary", summary);
    jw_object_end(w);
}

static void kv_number(struct wire_ctx *c, struct jw *w, const char *key, yyjson_val *v)
{
    if (v && wire_takes(c, key))
        jw_kv_val(w, key, v);
}

static void kv_str(struct wire_ctx *c, struct jw *w, const char *key, struct str v)
{
    if (v.n > 0 && wire_takes(c, key))
        jw_kv_str(w, key, v);
}

static void write_include(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    bool wants_logprobs = r->origin != WIRE_RESPONSES &&
                          (r->has_logprobs ? r->logprobs : r->top_logprobs >= 0);
    yyjson_val *v;
    size_t i, n;
    if (wants_logprobs && wire_strips(c, "logprobs")) {
        wants_logprobs = false;
        if (r->has_logprobs)
            wire_drop(c, "refused by the upstream", "logprobs");
    }
    if (!r->include && !wants_logprobs)
        return;
    jw_key(w, "include");
    jw_array(w);
    yyjson_arr_foreach (r->include, i, n, v)
        jw_val(w, v);
    if (wants_logprobs)
        jw_cstr(w, "message.output_text.logprobs");
    jw_array_end(w);
}

static void write_params(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    bool is_home = r->origin == WIRE_RESPONSES;
    if (r->max_tokens >= 0 && wire_takes(c, "max_output_tokens"))
        jw_kv_int(w, "max_output_tokens", r->max_tokens);
    kv_number(c, w, "temperature", r->temperature);
    kv_number(c, w, "top_p", r->top_p);
    if (r->top_logprobs >= 0 && wire_takes(c, "top_logprobs"))
        jw_kv_int(w, "top_logprobs", r->top_logprobs);
    write_include(c, w, r);
    kv_str(c, w, "truncation", r->truncation);
    bool has_format = r->format != IR_FORMAT_UNSET && (r->format != IR_FORMAT_TEXT || is_home);
    if ((has_format || r->verbosity.n > 0) && wire_takes(c, "text")) {
        jw_key(w, "text");
        jw_object(w);
        if (has_format) {
            jw_key(w, "format");
            openai_write_format(c, w, r, false);
        }
        if (r->verbosity.n > 0)
            jw_kv_str(w, "verbosity", r->verbosity);
        jw_object_end(w);
    }
    write_reasoning_config(c, w, r);
    kv_str(c, w, "user", r->user);
    kv_str(c, w, "service_tier",
           str_is(r->service_tier, "standard_only") ? STR("default") : r->service_tier);
    kv_str(c, w, "prompt_cache_key", r->cache_key);
    kv_str(c, w, "prompt_cache_retention", r->cache_retention);
    if (r->metadata && (is_home || r->origin == WIRE_CHAT) && wire_takes(c, "metadata"))
        jw_kv_val(w, "metadata", r->metadata);
    if (!wire_strips(c, "store"))
        jw_kv_bool(w, "store", r->has_store && r->store);
    if (is_home && !c->is_continuation)
        kv_str(c, w, "previous_response_id", r->previous_response_id);
    if (is_home && r->is_background && wire_takes(c, "background"))
        jw_kv_bool(w, "background", true);
}

static void name_losses(struct wire_ctx *c, const struct ir_request *r)
{
    static const char format[] = "the format has no such field";
    const struct {
        const char *name;
        bool is_set;
    } rows[] = {
        {"stop", r->stop.n > 0 && !c->cuts_stop},
        {"top_k", r->top_k},
        {"min_p", r->min_p},
        {"frequency_penalty", r->frequency_penalty},
        {"presence_penalty", r->presence_penalty},
        {"logit_bias", r->logit_bias},
        {"seed", r->seed},
        {"cachedContent", r->cached_content.n > 0},
        {"safetySettings", r->safety},
        {"modalities", r->modalities},
        {"audio", r->audio},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].is_set)
            wire_drop(c, format, "%s", rows[i].name);
}

static bool write_request(struct wire_ctx *c, const struct ir_request *req, struct buf *out,
                          struct err *e)
{
    static const struct wire_needs needs = {
        .target = WIRE_RESPONSES,
        .mid_system = WIRE_SYSTEM_KEEP,
        .ids = WIRE_IDS_OPENAI,
        .names = WIRE_NAMES_OPENAI,
        .pairs_tools = true,
        .has_custom_tools = true,
        .web_search = "web_search",
        .says_media = says_media,
    };
    if (req->n > 1)
        return err_unsupported(e, "n", "n: this model gives one choice at a time");
    struct ir_request *r = wire_prepare(c, req, &needs, e);
    if (!r)
        return false;
    struct jw w = jw_on(out);
    name_losses(c, r);
    jw_object(&w);
    jw_kv_str(&w, "model", c->upstream_model.n > 0 ? c->upstream_model : r->model);
    if (r->system && r->messages.first)
        jw_kv_str(&w, "instructions", ir_system_text(c->arena, r->system));
    write_input(c, &w, r);
    write_tools(c, &w, r);
    write_params(c, &w, r);
    if (r->is_stream)
        jw_kv_bool(&w, "stream", true);
    if (r->origin == WIRE_RESPONSES)
        openai_write_residue(c, &w, r->raw, known_members);
    jw_object_end(&w);
    return true;
}

/* ======================================================================== reading replies */

/* llama-server says "completed" of a reply that its limit cut off. */
static bool is_cut_unsaid(const struct wire_ctx *c, yyjson_val *response)
{
    int64_t limit = c->req ? c->req->max_tokens : -1;
    return (c->quirks & QUIRK_REPAIR_STREAM) && limit > 0 &&
           json_get_int(json_get(response, "usage"), "output_tokens", 0) >= limit;
}

static enum ir_stop read_status(const struct wire_ctx *c, yyjson_val *response, bool has_refusal)
{
    struct str status = json_get_str(response, "status");
    struct str reason = json_get_str(json_get(response, "incomplete_details"), "reason");
    if (str_is(reason, "content_filter"))
        return IR_STOP_FILTER;
    if (reason.n > 0 || str_is(status, "incomplete") || is_cut_unsaid(c, response))
        return IR_STOP_LENGTH;
    if (str_is(status, "cancelled"))
        return IR_STOP_CANCELLED;
    return has_refusal ? IR_STOP_REFUSAL : IR_STOP_END;
}

static void read_reply_item(struct wire_ctx *c, yyjson_val *item, struct ir_choice *choice)
{
    struct err ignored = ERR_INIT;
    struct ir_parts *parts = &choice->message.parts;
    struct str type = json_get_str(item, "type");
    if (str_is(type, "message")) {
        struct ir_part *before = parts->last;
        (void)read_content(c, json_get(item, "content"), "content", parts, &ignored);
        struct ir_part *first = before ? before->next : parts->first;
        if (first)
            first->item_id = json_get_str(item, "id");
        choice->message.phase = json_get_str(item, "phase");
    } else if (str_is(type, "reasoning")) {
        read_reasoning(c, item, parts);
    } else if (str_is(type, "function_call") || str_is(type, "custom_tool_call")) {
        read_call(c, item, str_is(type, "custom_tool_call"), parts);
        parts->last->name = wire_tool_name_back(c, parts->last->name);
        parts->last->call_id = wire_client_call_id(c, parts->last->call_id);
    } else if (str_is(type, "image_generation_call") && json_get_str(item, "result").n > 0) {
        ir_part_add(c->arena, parts, IR_IMAGE)->source = (struct ir_source){
            .kind = IR_SOURCE_DATA,
            .media_type = STR("image/png"),
            .base64 = json_get_str(item, "result")};
    } else {
        struct ir_part *p = ir_part_add(c->arena, parts, IR_OPAQUE);
        p->origin = WIRE_RESPONSES;
        p->raw = item;
    }
}

/* The token entries of all text parts, in chat's shape. One part is the rule: its list is taken as it is. */
static yyjson_val *find_logprobs(yyjson_val *output)
{
    yyjson_val *item, *part;
    size_t i, n, k, m;
    yyjson_arr_foreach (output, i, n, item)
        yyjson_arr_foreach (json_get(item, "content"), k, m, part)
            if (yyjson_arr_size(json_get(part, "logprobs")) > 0)
                return json_get(part, "logprobs");
    return NULL;
}

static yyjson_val *chat_logprobs(struct wire_ctx *c, yyjson_val *list)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    struct str text = str_fmt(c->arena, "{\"content\":" STR_FMT ",\"refusal\":null}",
                              STR_ARG(json_text(c->arena, list)));
    return list && json_parse(c->arena, text, 0, &root, &e) ? root : NULL;
}

/* Of what its tool does with the web only searching is billed as a call, not the opening of a page nor looking in it. */
static bool is_search(yyjson_val *item)
{
    struct str action = json_get_str(json_get(item, "action"), "type");
    return str_is(json_get_str(item, "type"), "web_search_call") &&
           (action.n == 0 || str_is(action, "search"));
}

static void count_searches(yyjson_val *output, struct ir_usage *u)
{
    size_t i, n;
    yyjson_val *item;
    int64_t searches = 0;
    yyjson_arr_foreach (output, i, n, item)
        searches += is_search(item);
    if (searches)
        u->searches = searches;
}

static bool read_response(struct wire_ctx *c, yyjson_val *root, struct ir_response *out,
                          struct err *e)
{
    yyjson_val *output = json_get(root, "output"), *item;
    struct str status = json_get_str(root, "status");
    struct ir_choice *choice = ARENA_NEW(c->arena, struct ir_choice);
    bool has_refusal = false;
    size_t i, n;
    *out = (struct ir_response){
        .origin = WIRE_RESPONSES, .usage = IR_USAGE_NONE, .choices = choice};
    if (str_is(status, "failed") ||
        (!yyjson_is_arr(output) && !json_absent(json_get(root, "error")))) {
        wire_read_error_value(c->arena, 0, root, e);
        return false;
    }
    if (!yyjson_is_arr(output) || str_is(status, "in_progress") || str_is(status, "queued"))
        return err_set(e, ERR_UPSTREAM, "bad_upstream_response",
                       "the upstream's answer is not finished");
    out->id = json_get_str(root, "id");
    out->model = json_get_str(root, "model");
    out->created = json_get_int(root, "created_at", 0);
    out->service_tier = json_get_str(root, "service_tier");
    out->usage = openai_usage(json_get(root, "usage"));
    out->usage.service = ir_service_of(out->service_tier);
    count_searches(output, &out->usage);
    choice->message.role = IR_ASSISTANT;
    yyjson_arr_foreach (output, i, n, item)
        read_reply_item(c, item, choice);
    for (const struct ir_part *p = choice->message.parts.first; p; p = p->next)
        has_refusal = has_refusal || p->kind == IR_REFUSAL;
    if (find_logprobs(output))
        choice->logprobs = chat_logprobs(c, find_logprobs(output));
    choice->stop = ir_stop_overlay(read_status(c, root, has_refusal), &choice->message);
    return true;
}

/* ======================================================================== writing replies */

static void write_echo_tools(struct jw *w, yyjson_val *tools)
{
    yyjson_val *tool, *key, *value;
    size_t i, n, k, m;
    if (!yyjson_is_arr(tools)) {
        jw_raw(w, STR("[]"));
        return;
    }
    jw_array(w);
    yyjson_arr_foreach (tools, i, n, tool) {
        bool is_function = str_is(json_get_str(tool, "type"), "function");
        if (!is_function || (json_get(tool, "strict") && json_get(tool, "parameters"))) {
            jw_val(w, tool);
            continue;
        }
        jw_object(w);
        yyjson_obj_foreach (tool, k, m, key, value) {
            jw_key_str(w, json_str(key));
            jw_val(w, value);
        }
        if (!json_get(tool, "parameters"))
            jw_kv_null(w, "parameters");
        if (!json_get(tool, "strict"))
            jw_kv_bool(w, "strict", false);
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* What a reply repeats of its request, with the defaults of what was absent. As text: a stream says it three times. */
static struct str echo_text(struct wire_ctx *c)
{
    enum {
        N_SAID = 17, /* repeated as they are */
        REASONING = N_SAID,
        TEXT,
        TOOLS,
        N
    };
    static const struct json_names names = {
        .n = N,
        JSON_NAME(0, "background"),
        JSON_NAME(1, "instructions"),
        JSON_NAME(2, "max_output_tokens"),
        JSON_NAME(3, "max_tool_calls"),
        JSON_NAME(4, "parallel_tool_calls"),
        JSON_NAME(5, "previous_response_id"),
        JSON_NAME(6, "prompt_cache_key"),
        JSON_NAME(7, "safety_identifier"),
        JSON_NAME(8, "service_tier"),
        JSON_NAME(9, "store"),
        JSON_NAME(10, "temperature"),
        JSON_NAME(11, "tool_choice"),
        JSON_NAME(12, "top_logprobs"),
        JSON_NAME(13, "top_p"),
        JSON_NAME(14, "truncation"),
        JSON_NAME(15, "user"),
        JSON_NAME(16, "metadata"),
        JSON_NAME(REASONING, "reasoning"),
        JSON_NAME(TEXT, "text"),
        JSON_NAME(TOOLS, "tools"),
    };
    static const struct str otherwise[N_SAID] = {
        STR_INIT("\"background\":false"),
        STR_INIT("\"instructions\":null"),
        STR_INIT("\"max_output_tokens\":null"),
        STR_INIT("\"max_tool_calls\":null"),
        STR_INIT("\"parallel_tool_calls\":true"),
        STR_INIT("\"previous_response_id\":null"),
        STR_INIT("\"prompt_cache_key\":null"),
        STR_INIT("\"safety_identifier\":null"),
        STR_INIT("\"service_tier\":\"default\""),
        STR_INIT("\"store\":true"),
        STR_INIT("\"temperature\":1"),
        STR_INIT("\"tool_choice\":\"auto\""),
        STR_INIT("\"top_logprobs\":0"),
        STR_INIT("\"top_p\":1"),
        STR_INIT("\"truncation\":\"disabled\""),
        STR_INIT("\"user\":null"),
        STR_INIT("\"metadata\":{}"),
    };
    yyjson_val *at[N];
    struct buf b;
    buf_init_arena(&b, c->arena, REPLY_MAX);
    buf_reserve(&b, 1024);
    struct jw w = jw_on(&b);
    json_pick(c->req && c->req->origin == WIRE_RESPONSES ? c->req->raw : NULL, &names, at);
    jw_object(&w);
    for (size_t i = 0; i < N_SAID; i++) {
        if (json_absent(at[i])) {
            jw_text(&w, otherwise[i].p, otherwise[i].n);
        } else {
            jw_key_str(&w, str_n(names.text[i], names.length[i]));
            jw_val(&w, at[i]);
        }
    }
    if (json_absent(at[REASONING])) {
        jw_lit(&w, "\"reasoning\":{\"effort\":null,\"summary\":null}");
    } else {
        jw_key(&w, "reasoning");
        jw_object(&w);
        jw_kv_val(&w, "effort", json_get(at[REASONING], "effort"));
        jw_kv_val(&w, "summary", json_get(at[REASONING], "summary"));
        jw_object_end(&w);
    }
    if (json_absent(at[TEXT])) {
        jw_lit(&w, "\"text\":{\"format\":{\"type\":\"text\"}}");
    } else {
        yyjson_val *format = json_get(at[TEXT], "format");
        jw_key(&w, "text");
        jw_object(&w);
        if (yyjson_is_obj(format))
            jw_kv_val(&w, "format", format);
        else
            JW(&w, "format", raw, STR("{\"type\":\"text\"}"));
        if (yyjson_is_str(json_get(at[TEXT], "verbosity")))
            jw_kv_val(&w, "verbosity", json_get(at[TEXT], "verbosity"));
        jw_object_end(&w);
    }
    jw_key(&w, "tools");
    write_echo_tools(&w, at[TOOLS]);
    jw_object_end(&w);
    return str_n(b.p + 1, b.n - 2); /* the members without the braces */
}

struct reply {
    struct str id, model, echo;
    int64_t created;
};

static struct reply reply_of(struct wire_ctx *c, struct str id, struct str model, int64_t created)
{
    return (struct reply){.id = str_cat(c->arena, wire_prefixed_id(c, id, "resp_"), c->kept_mark),
                          .model = str_dup(c->arena, wire_model_shown(c, model)),
                          .echo = echo_text(c),
                          .created = wire_created(c, created)};
}

static const char *status_of(enum ir_stop stop)
{
    switch (stop) {
    case IR_STOP_LENGTH:
    case IR_STOP_FILTER:
        return "incomplete";
    case IR_STOP_ERROR:
        return "failed";
    case IR_STOP_CANCELLED:
        return "cancelled";
    case IR_STOP_NONE:
    case IR_STOP_END:
    case IR_STOP_TOOL:
    case IR_STOP_REFUSAL:
    case IR_STOP_PAUSE:
        break;
    }
    return "completed";
}

static void write_reply_error(struct jw *w, const struct err *e)
{
    const char *code = e->code[0] ? e->code : wire_openai_error_code(e);
    jw_key(w, "error");
    jw_object(w);
    jw_kv_cstr(w, "code", code ? code : wire_openai_error_type(e));
    jw_kv_cstr(w, "message", e->message);
    jw_object_end(w);
}

/* The response object. output: the text of its items; usage NULL: not known yet. */
static void write_reply(struct jw *w, const struct reply *r, const char *status, enum ir_stop stop,
                        const struct err *error, struct str output, const struct ir_usage *usage)
{
    jw_object(w);
    jw_kv_str(w, "id", r->id);
    jw_kv_cstr(w, "object", "response");
    jw_kv_int(w, "created_at", r->created);
    jw_kv_cstr(w, "status", status);
    if (error)
        write_reply_error(w, error);
    else
        jw_kv_null(w, "error");
    if (stop == IR_STOP_LENGTH)
        JW(w, "incomplete_details", raw, STR("{\"reason\":\"max_output_tokens\"}"));
    else if (stop == IR_STOP_FILTER)
        JW(w, "incomplete_details", raw, STR("{\"reason\":\"content_filter\"}"));
    else
        jw_kv_null(w, "incomplete_details");
    jw_kv_str(w, "model", r->model);
    jw_key(w, "output");
    buf_char(w->b, '[');
    buf_str_add(w->b, output);
    buf_char(w->b, ']');
    w->needs_comma = true;
    buf_char(w->b, ',');
    buf_str_add(w->b, r->echo);
    if (usage) {
        jw_key(w, "usage");
        openai_write_responses_usage(w, usage);
    } else {
        jw_kv_null(w, "usage");
    }
    jw_object_end(w);
}

static struct str item_id(struct wire_ctx *c, struct str id, const char *prefix)
{
    return str_starts(id, str_of(prefix)) ? id : wire_make_id(c, prefix, 32);
}

struct wording { /* a text, or one that is escaped already */
    struct str text;
    bool is_json;
};

static void write_wording(struct jw *w, struct wording said)
{
    if (!said.is_json) {
        jw_str(w, said.text);
        return;
    }
    buf_char(w->b, '"');
    buf_str_add(w->b, said.text);
    buf_char(w->b, '"');
    w->needs_comma = true;
}

static void write_text_content(struct jw *w, struct wording said, bool is_refusal,
                               struct str annotations, struct str logprobs)
{
    jw_object(w);
    jw_kv_cstr(w, "type", is_refusal ? "refusal" : "output_text");
    if (is_refusal) {
        jw_key(w, "refusal");
        write_wording(w, said);
    } else {
        jw_key(w, "text");
        write_wording(w, said);
        jw_key(w, "annotations");
        buf_char(w->b, '[');
        buf_str_add(w->b, annotations);
        buf_char(w->b, ']');
        w->needs_comma = true;
        jw_key(w, "logprobs");
        buf_char(w->b, '[');
        buf_str_add(w->b, logprobs);
        buf_char(w->b, ']');
    }
    jw_object_end(w);
}

static void add_annotation(struct wire_ctx *c, struct buf *b, const struct ir_citation *cite,
                           int64_t length)
{
    struct jw w = jw_on(b);
    bool is_own = cite->origin == WIRE_RESPONSES && cite->raw;
    if (!wire_answers_with_citation(c, cite))
        return;
    if (b->n > 0)
        buf_char(b, ',');
    if (is_own)
        jw_val(&w, cite->raw);
    else
        openai_write_annotation(&w, cite, false, 0, length);
}

static void add_logprobs(struct buf *b,
                         yyjson_val *list) /* entries need bytes and top_logprobs in this format */
{
    yyjson_val *v, *key, *value;
    size_t i, n, k, m;
    yyjson_arr_foreach (list, i, n, v) {
        struct jw w = jw_on(b);
        if (b->n > 0)
            buf_char(b, ',');
        jw_object(&w);
        yyjson_obj_foreach (v, k, m, key, value) {
            jw_key_str(&w, json_str(key));
            jw_val(&w, value);
        }
        if (!json_get(v, "bytes"))
            JW(&w, "bytes", raw, STR("[]"));
        if (!json_get(v, "top_logprobs"))
            JW(&w, "top_logprobs", raw, STR("[]"));
        jw_object_end(&w);
    }
}

static void write_reasoning_item(struct jw *w, struct str id, struct wording said, bool is_raw,
                                 struct str encrypted)
{
    jw_object(w);
    jw_kv_str(w, "id", id);
    jw_kv_cstr(w, "type", "reasoning");
    jw_key(w, "summary");
    jw_array(w);
    if (said.text.n > 0 && !is_raw) {
        jw_object(w);
        jw_kv_cstr(w, "type", "summary_text");
        jw_key(w, "text");
        write_wording(w, said);
        jw_object_end(w);
    }
    jw_array_end(w);
    if (is_raw) {
        jw_key(w, "content");
        jw_array(w);
        if (said.text.n > 0) {
            jw_object(w);
            jw_kv_cstr(w, "type", "reasoning_text");
            jw_key(w, "text");
            write_wording(w, said);
            jw_object_end(w);
        }
        jw_array_end(w);
    }
    if (encrypted.n > 0)
        jw_kv_str(w, "encrypted_content", encrypted);
    jw_object_end(w);
}

struct call_words { /* how the client defined the tool that was called */
    struct str name, space;
    bool is_custom, unwraps;
};

static struct call_words call_words(const struct wire_ctx *c, struct str name,
                                    enum ir_call_kind kind)
{
    const struct wire_rename *r = wire_rename_back(c, name);
    struct call_words words = {.name = name};
    if (r && r->space.n > 0) {
        words.name = r->from;
        words.space = r->space;
    }
    words.unwraps = kind == IR_CALL_FUNCTION && wire_is_custom_tool(c, name);
    words.is_custom = kind == IR_CALL_CUSTOM || words.unwraps;
    return words;
}

static void write_call_item(struct jw *w, struct str id, const char *status,
                            const struct call_words *words, struct str call_id, struct wording args)
{
    jw_object(w);
    jw_kv_str(w, "id", id);
    jw_kv_cstr(w, "type", words->is_custom ? "custom_tool_call" : "function_call");
    jw_kv_cstr(w, "status", status);
    jw_kv_str(w, "call_id", call_id);
    jw_kv_str(w, "name", words->name);
    if (words->space.n > 0)
        jw_kv_str(w, "namespace", words->space);
    if (words->is_custom)
        jw_key(w, "input");
    else
        jw_key(w, "arguments");
    write_wording(w, args);
    jw_object_end(w);
}

static void write_image_item(struct jw *w, struct str id, struct str base64)
{
    jw_object(w);
    jw_kv_str(w, "id", id);
    jw_kv_cstr(w, "type", "image_generation_call");
    jw_kv_cstr(w, "status", "completed");
    jw_kv_str(w, "result", base64);
    jw_object_end(w);
}

static const struct ir_part *write_reply_message(struct wire_ctx *c, struct jw *w,
                                                 const struct ir_choice *choice,
                                                 const struct ir_part *p)
{
    struct buf annotations, logprobs;
    bool is_first = true;
    buf_init_arena(&logprobs, c->arena, REPLY_MAX);
    add_logprobs(&logprobs, json_get(choice->logprobs, "content"));
    jw_object(w);
    jw_kv_str(w, "id", item_id(c, p->item_id, "msg_"));
    jw_kv_cstr(w, "type", "message");
    jw_kv_cstr(w, "status", choice->stop == IR_STOP_LENGTH ? "incomplete" : "completed");
    jw_kv_cstr(w, "role", "assistant");
    if (choice->message.phase.n > 0)
        jw_kv_str(w, "phase", choice->message.phase);
    jw_key(w, "content");
    jw_array(w);
    for (; p && (p->kind == IR_TEXT || p->kind == IR_REFUSAL); p = p->next) {
        buf_init_arena(&annotations, c->arena, REPLY_MAX);
        for (const struct ir_citation *cite = p->citations; cite; cite = cite->next)
            add_annotation(c, &annotations, cite, wire_chars(p->text));
        write_text_content(w, (struct wording){p->text, false}, p->kind == IR_REFUSAL,
                           buf_str(&annotations), is_first ? buf_str(&logprobs) : STR_NONE);
        is_first = false;
    }
    jw_array_end(w);
    jw_object_end(w);
    return p;
}

static void write_reply_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    if (p->kind == IR_REASONING) {
        bool is_own = p->origin == WIRE_RESPONSES;
        if (p->text.n > 0 || (is_own && p->encrypted.n > 0))
            write_reasoning_item(w, item_id(c, p->item_id, "rs_"), (struct wording){p->text, false},
                                 is_own && !p->is_summary, is_own ? p->encrypted : STR_NONE);
    } else if (p->kind == IR_TOOL_CALL && p->call_kind != IR_CALL_HOSTED) {
        struct call_words words = call_words(c, p->name, p->call_kind);
        struct str args = words.unwraps ? wire_args_custom(c->arena, p->args_raw)
                          : words.is_custom
                              ? p->args_raw
                              : wire_args_string(c->arena, p->args_raw, IR_CALL_FUNCTION);
        write_call_item(w, item_id(c, p->item_id, words.is_custom ? "ctc_" : "fc_"), "completed",
                        &words, p->call_id, (struct wording){args, false});
    } else if (p->kind == IR_IMAGE && p->source.kind == IR_SOURCE_DATA) {
        write_image_item(w, wire_make_id(c, "ig_", 32), p->source.base64);
    } else if (p->kind == IR_OPAQUE && p->origin == WIRE_RESPONSES) {
        jw_val(w, p->raw);
    } else if (p->kind == IR_IMAGE || p->kind == IR_FILE || p->kind == IR_AUDIO ||
               p->kind == IR_VIDEO) {
        wire_drop_media(c, p->kind);
    }
}

static void write_response(struct wire_ctx *c, const struct ir_response *res, struct buf *out)
{
    static const struct ir_choice none = {.stop = IR_STOP_END};
    const struct ir_choice *choice = res->choices ? res->choices : &none;
    struct reply r = reply_of(c, res->id, res->model, res->created);
    struct buf items;
    buf_init_arena(&items, c->arena, REPLY_MAX);
    struct jw w = jw_on(&items);
    if (choice->next)
        wire_drop(c, "one choice at a time", "choices");
    jw_array(&w);
    for (const struct ir_part *p = choice->message.parts.first; p;) {
        if (p->kind == IR_TEXT || p->kind == IR_REFUSAL) {
            p = write_reply_message(c, &w, choice, p);
            continue;
        }
        write_reply_part(c, &w, p);
        p = p->next;
    }
    jw_array_end(&w);
    struct err failed = ERR_INIT;
    err_set(&failed, ERR_UPSTREAM, "server_error", "the model stopped with an error");
    w = jw_on(out);
    write_reply(&w, &r, status_of(choice->stop), choice->stop,
                choice->stop == IR_STOP_ERROR ? &failed : NULL, str_n(items.p + 1, items.n - 2),
                &res->usage);
}

/* ======================================================================== stream of an upstream */

/* An output item of the stream, known by its id, else by its index; some servers leave out one or the other. */
struct item {
    struct str id;
    int64_t index;
    bool is_call, is_custom, is_reasoning;
    bool is_opened, is_closed, has_summary;
    int64_t summary_index;
    size_t sent; /* bytes of text or arguments emitted */
};

struct decoder {
    struct wire_ctx *c;
    struct flow flow;
    struct item **items; /* up to ITEMS_MAX */
    unsigned n_items, items_cap;
    struct item *live;     /* whose block is open */
    int64_t content_index; /* of the open text */
    bool has_refusal;
};

static void *decoder_new(struct wire_ctx *c)
{
    struct decoder *d = ARENA_NEW(c->arena, struct decoder);
    d->c = c;
    flow_init(&d->flow, c);
    return d;
}

static struct item *find_item(struct decoder *d, struct str id, int64_t index)
{
    for (unsigned i = d->n_items; i-- > 0;) {
        struct item *item = d->items[i];
        if (id.n > 0 && item->id.n > 0 ? str_eq(item->id, id) : index >= 0 && item->index == index)
            return item;
    }
    return id.n == 0 && index < 0 && d->n_items > 0 ? d->items[d->n_items - 1] : NULL;
}

static struct item *need_item(struct decoder *d, struct str id, int64_t index)
{
    struct item *item = find_item(d, id, index);
    if (item || d->n_items == ITEMS_MAX)
        return item;
    if (d->n_items == d->items_cap) {
        unsigned cap = d->items_cap ? 2 * d->items_cap : 8;
        d->items = arena_realloc(d->c->arena, d->items, d->items_cap * sizeof *d->items,
                                 cap * sizeof *d->items);
        d->items_cap = cap;
    }
    item = ARENA_NEW(d->c->arena, struct item);
    item->id = str_dup(d->c->arena, id);
    item->index = index;
    item->summary_index = -1;
    d->items[d->n_items++] = item;
    return item;
}

static struct item *item_of(struct decoder *d, yyjson_val *root)
{
    return need_item(d, json_get_str(root, "item_id"), json_get_int(root, "output_index", -1));
}

static void close_live(struct decoder *d)
{
    if (d->live)
        d->live->is_closed = d->live->is_call;
    d->live = NULL;
    flow_close(&d->flow, 0);
}

static void say(struct decoder *d, struct item *item, enum ir_part_kind kind, int64_t content_index,
                struct str text)
{
    if (!item || text.n == 0)
        return;
    if (d->live != item || content_index != d->content_index)
        close_live(d);
    if (!d->live) {
        d->live = item;
        d->content_index = content_index;
        flow_open(&d->flow, 0, kind,
                  &(struct ir_event){.item_id = item->id, .is_summary = item->has_summary});
    }
    item->is_opened = true;
    item->sent += text.n;
    flow_event(&d->flow, 0,
               &(struct ir_event){.kind = kind == IR_REASONING ? IR_EV_REASONING : IR_EV_TEXT,
                                  .text = text,
                                  .is_summary = item->has_summary});
}

static void say_reasoning(struct decoder *d, struct item *item, bool is_summary, int64_t index,
                          struct str text)
{
    if (!item || text.n == 0)
        return;
    item->is_reasoning = true;
    if (!item->is_opened)
        item->has_summary = is_summary;
    if (item->has_summary != is_summary)
        return; /* both were sent: one is enough */
    if (is_summary && item->summary_index >= 0 && index > item->summary_index)
        say(d, item, IR_REASONING, 0, STR("\n\n"));
    if (is_summary && index >= 0)
        item->summary_index = index;
    say(d, item, IR_REASONING, 0, text);
}

static void open_call(struct decoder *d, struct item *item, yyjson_val *v)
{
    close_live(d);
    item->is_call = item->is_opened = true;
    item->is_custom = str_is(json_get_str(v, "type"), "custom_tool_call");
    d->live = item;
    flow_open(&d->flow, 0, IR_TOOL_CALL,
              &(struct ir_event){.call_id = json_get_str(v, "call_id"),
                                 .item_id = item->id,
                                 .name = wire_tool_name_back(d->c, json_get_str(v, "name")),
                                 .call_kind = item->is_custom ? IR_CALL_CUSTOM : IR_CALL_FUNCTION});
}

static bool is_call_type(struct str type)
{
    return str_is(type, "function_call") || str_is(type, "custom_tool_call");
}

static void call_args(struct decoder *d, struct item *item, struct str text)
{
    if (!item || item != d->live || !item->is_call)
        return; /* what is missed here comes with the item's end */
    item->sent += text.n;
    flow_args(&d->flow, 0, text);
}

static void item_added(struct decoder *d, yyjson_val *root)
{
    yyjson_val *v = json_get(root, "item");
    struct str type = json_get_str(v, "type");
    int64_t index = json_get_int(root, "output_index", -1);
    struct item *item = need_item(d, json_get_str(v, "id"), index);
    if (!item)
        return;
    /* An open call must end before another begins; its rest would be lost, so the new one waits for its own end. */
    if (is_call_type(type) && !item->is_opened && !(d->live && d->live->is_call))
        open_call(d, item, v);
    item->is_reasoning = str_is(type, "reasoning");
}

static void call_done(struct decoder *d, struct item *item, yyjson_val *v)
{
    bool is_custom = str_is(json_get_str(v, "type"), "custom_tool_call");
    struct str args = json_get_str(v, is_custom ? "input" : "arguments");
    if (item->is_closed)
        return;
    if (!item->is_opened)
        open_call(d, item, v);
    if (item == d->live && args.n > item->sent)
        call_args(d, item, str_skip(args, item->sent));
    close_live(d);
    item->is_closed = true;
}

static void message_done(struct decoder *d, struct item *item, yyjson_val *v)
{
    yyjson_val *part;
    size_t i, n;
    bool is_silent = !item->is_opened; /* no delta came: the text is only here */
    yyjson_arr_foreach (json_get(v, "content"), i, n, part) {
        bool is_refusal = str_is(json_get_str(part, "type"), "refusal");
        d->has_refusal = d->has_refusal || is_refusal;
        if (is_silent)
            say(d, item, is_refusal ? IR_REFUSAL : IR_TEXT, (int64_t)i,
                json_get_str(part, is_refusal ? "refusal" : "text"));
    }
    close_live(d);
}

static void reasoning_done(struct decoder *d, struct item *item, yyjson_val *v)
{
    struct str encrypted = json_get_str(v, "encrypted_content");
    if (!item->is_opened) {
        struct str summary = joined_texts(d->c, json_get(v, "summary"));
        say_reasoning(d, item, true, 0, summary);
        if (summary.n == 0)
            say_reasoning(d, item, false, 0, joined_texts(d->c, json_get(v, "content")));
    }
    if (encrypted.n > 0) {
        if (d->live != item) {
            close_live(d);
            d->live = item;
            flow_open(&d->flow, 0, IR_REASONING,
                      &(struct ir_event){.item_id = item->id, .is_summary = true});
        }
        flow_event(&d->flow, 0,
                   &(struct ir_event){.kind = IR_EV_REASONING, .encrypted = encrypted});
    }
    close_live(d);
}

static void other_done(struct decoder *d, yyjson_val *v)
{
    struct str result = json_get_str(v, "result");
    bool is_image = str_is(json_get_str(v, "type"), "image_generation_call") && result.n > 0;
    close_live(d);
    flow_open(&d->flow, 0, is_image ? IR_IMAGE : IR_OPAQUE,
              &(struct ir_event){.raw = is_image ? NULL : v});
    if (is_image) {
        struct ir_source s = {
            .kind = IR_SOURCE_DATA, .media_type = STR("image/png"), .base64 = result};
        flow_event(&d->flow, 0, &(struct ir_event){.kind = IR_EV_MEDIA, .source = s});
    }
    flow_close(&d->flow, 0);
}

static void item_done(struct decoder *d, yyjson_val *v, int64_t index)
{
    struct str type = json_get_str(v, "type");
    struct item *item = need_item(d, json_get_str(v, "id"), index);
    if (!item)
        return;
    if (is_call_type(type))
        call_done(d, item, v);
    else if (str_is(type, "message"))
        message_done(d, item, v);
    else if (str_is(type, "reasoning"))
        reasoning_done(d, item, v);
    else if (!item->is_closed)
        other_done(d, v);
    item->is_closed = item->is_opened = true;
}

static void text_delta(struct decoder *d, yyjson_val *root)
{
    yyjson_val *logprobs = json_get(root, "logprobs");
    say(d, item_of(d, root), IR_TEXT, json_get_int(root, "content_index", 0),
        json_get_str(root, "delta"));
    if (yyjson_arr_size(logprobs) > 0 && d->live)
        flow_event(&d->flow, 0, &(struct ir_event){.kind = IR_EV_LOGPROBS, .raw = logprobs});
}

static void annotation(struct decoder *d, yyjson_val *v)
{
    struct ir_citation *cite = ARENA_NEW(d->c->scratch, struct ir_citation);
    cite->kind = json_get_str(v, "url").n > 0 ? IR_CITE_URL : IR_CITE_TEXT;
    cite->url = json_get_str(v, "url");
    cite->title = json_get_str(v, cite->kind == IR_CITE_URL ? "title" : "filename");
    cite->start = json_get_int(v, "start_index", -1);
    cite->end = json_get_int(v, "end_index", -1);
    cite->doc_index = -1;
    cite->origin = WIRE_RESPONSES;
    cite->raw = v;
    if (d->live)
        flow_event(&d->flow, 0, &(struct ir_event){.kind = IR_EV_CITATION, .citation = cite});
}

static void finish(struct decoder *d, yyjson_val *response)
{
    struct ir_usage usage = openai_usage(json_get(response, "usage"));
    usage.service = ir_service_of(json_get_str(response, "service_tier"));
    yyjson_val *item;
    size_t i, n;
    count_searches(json_get(response, "output"), &usage);
    flow_start(&d->flow, json_get_str(response, "id"), json_get_str(response, "model"),
               json_get_int(response, "created_at", 0));
    if (d->n_items == 0) /* nothing was streamed: the answer is only here */
        yyjson_arr_foreach (json_get(response, "output"), i, n, item)
            item_done(d, item, (int64_t)i);
    close_live(d);
    flow_usage(&d->flow, &usage);
    flow_finish(&d->flow, 0, read_status(d->c, response, d->has_refusal), STR_NONE);
    flow_end(&d->flow, true);
}

static void fail(struct decoder *d, yyjson_val *root)
{
    struct err upstream = ERR_INIT;
    wire_read_error_value(d->c->scratch, 0, root, &upstream);
    flow_error(&d->flow, &upstream);
}

static void handle(struct decoder *d, struct str type, yyjson_val *root)
{
    struct str rest = str_skip(type, sizeof("response.") - 1);
    if (str_is(type, "response.output_text.delta")) { /* the most frequent by far */
        text_delta(d, root);
        return;
    }
    yyjson_val *response = json_get(root, "response");
    struct str delta = json_get_str(root, "delta");
    if (str_is(type, "error") || (!str_starts(type, STR("response.")) && json_get(root, "error"))) {
        fail(d, root);
    } else if (!str_starts(type, STR("response."))) {
        return;
    } else if (str_is(rest, "function_call_arguments.delta") ||
               str_is(rest, "custom_tool_call_input.delta")) {
        call_args(d, item_of(d, root), delta);
    } else if (str_is(rest, "reasoning_summary_text.delta")) {
        say_reasoning(d, item_of(d, root), true, json_get_int(root, "summary_index", 0), delta);
    } else if (str_is(rest, "reasoning_text.delta")) {
        say_reasoning(d, item_of(d, root), false, 0, delta);
    } else if (str_is(rest, "refusal.delta")) {
        d->has_refusal = true;
        say(d, item_of(d, root), IR_REFUSAL, json_get_int(root, "content_index", 0), delta);
    } else if (str_is(rest, "output_text.annotation.added")) {
        annotation(d, json_get(root, "annotation"));
    } else if (str_is(rest, "output_item.added")) {
        item_added(d, root);
    } else if (str_is(rest, "output_item.done")) {
        item_done(d, json_get(root, "item"), json_get_int(root, "output_index", -1));
    } else if (str_is(rest, "created") || str_is(rest, "in_progress") || str_is(rest, "queued")) {
        flow_start(&d->flow, json_get_str(response, "id"), json_get_str(response, "model"),
                   json_get_int(response, "created_at", 0));
    } else if (str_is(rest, "completed") || str_is(rest, "incomplete") ||
               str_is(rest, "cancelled")) {
        finish(d, response);
    } else if (str_is(rest, "failed")) {
        fail(d, root);
    }
}

static bool decoder_push(void *dec, struct str event, struct str data, wire_sink_fn *emit,
                         void *arg, struct err *e)
{
    struct decoder *d = dec;
    yyjson_val *root;
    flow_on(&d->flow, emit, arg);
    if (d->flow.is_ended)
        return true;
    if (str_is(str_trim(data), "[DONE]")) {
        flow_end(&d->flow, true);
        return true;
    }
    if (!flow_parse(&d->flow, data, &root, e))
        return false;
    struct str type = json_get_str(root, "type");
    handle(d, type.n > 0 ? type : event, root);
    return true;
}

static void decoder_end(void *dec, wire_sink_fn *emit, void *arg)
{
    struct decoder *d = dec;
    flow_on(&d->flow, emit, arg);
    flow_end(&d->flow, false);
}

/* ======================================================================== stream to a client */

enum open_item {
    OPEN_NONE,
    OPEN_MESSAGE,
    OPEN_REASONING,
    OPEN_CALL
};

struct encoder {
    struct wire_ctx *c;
    struct reply reply;
    int64_t sequence, output_index, content_index;
    enum open_item open;
    struct str item;         /* id of the open item, or what upstream called the next one */
    enum ir_part_kind kind;  /* of the block announced by the decoder */
    bool has_part;           /* a content or summary part is open in the item */
    bool is_raw;             /* the open reasoning is the model's own words, not a summary */
    struct call_words words; /* of the open call */
    struct str call_id, encrypted;
    struct buf
        text; /* of the open part, or the arguments of the open call: as JSON, told again when they end;
                                         only what is unwrapped then is kept as it is */
    struct buf annotations, logprobs; /* of the open text part */
    struct buf contents;              /* finished parts of the open message */
    struct buf output;                /* finished items */
    int64_t n_annotations;
    struct ir_usage usage;
    enum ir_stop stop;
    bool is_started, is_ended;
};

static void free_text(void *arg)
{
    buf_done(arg);
}

static void *encoder_new(struct wire_ctx *c)
{
    struct encoder *s = ARENA_NEW(c->arena, struct encoder);
    struct buf *bufs[] = {&s->annotations, &s->logprobs, &s->contents, &s->output};
    s->c = c;
    s->usage = IR_USAGE_NONE;
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init_arena(bufs[i], c->arena, REPLY_MAX);
    /* grows all along the stream: an arena would keep every size it had */
    buf_init(&s->text, REPLY_MAX);
    arena_on_free(c->arena, free_text, &s->text);
    return s;
}

/* event: response.<name>, data: {"type":"response.<name>","sequence_number":n – the rest of the object follows. */
static void event_begin(struct encoder *s, const char *name, struct buf *out)
{
    struct str text = str_of(name);
    buf_lit(out, "event: response.");
    buf_str_add(out, text);
    buf_lit(out, "\ndata: {\"type\":\"response.");
    buf_str_add(out, text);
    buf_lit(out, "\",\"sequence_number\":");
    buf_int(out, s->sequence++);
}

static void event_end(struct buf *out)
{
    buf_lit(out, "}\n\n");
}

static void put_place(struct encoder *s, const char *index_name,
                      struct buf *out) /* item_id, output_index, one more */
{
    buf_lit(out, ",\"item_id\":\"");
    json_escape(out, s->item);
    buf_lit(out, "\",\"output_index\":");
    buf_int(out, s->output_index);
    if (!index_name)
        return;
    buf_lit(out, ",\"");
    buf_str_add(out, str_of(index_name));
    buf_lit(out, "\":");
    buf_int(out, s->content_index);
}

static void put_key(struct buf *out, const char *key) /* of a string that follows */
{
    buf_lit(out, ",\"");
    buf_str_add(out, str_of(key));
    buf_lit(out, "\":\"");
}

static void put_str(struct buf *out, const char *key, struct str text)
{
    put_key(out, key);
    json_escape(out, text);
    buf_char(out, '"');
}

/* text that is escaped already */
static void put_json(struct buf *out, const char *key, struct str json)
{
    put_key(out, key);
    buf_str_add(out, json);
    buf_char(out, '"');
}

/* The text of a delta, which is kept for the end as it was written. */
static void put_delta(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    put_key(out, "delta");
    size_t from = out->n;
    wire_put_text(out, ev);
    if (!buf_failed(out))
        buf_add(&s->text, out->p + from, out->n - from);
    buf_char(out, '"');
}

static void delta_event(struct encoder *s, const char *name, const char *index_name,
                        const struct ir_event *ev, struct buf *out)
{
    event_begin(s, name, out);
    put_place(s, index_name, out);
    put_delta(s, ev, out);
    event_end(out);
}

static void put_response(struct encoder *s, const char *event, const char *status,
                         const struct err *error, const struct ir_usage *usage, struct buf *out)
{
    struct jw w = jw_on(out);
    event_begin(s, event, out);
    buf_lit(out, ",\"response\":");
    write_reply(&w, &s->reply, status, s->stop, error, buf_str(&s->output), usage);
    event_end(out);
}

static void start(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    if (s->is_started)
        return;
    s->is_started = true;
    s->reply = reply_of(s->c, ev->id, ev->model, ev->created);
    put_response(s, "created", "in_progress", NULL, NULL, out);
    put_response(s, "in_progress", "in_progress", NULL, NULL, out);
}

static void item_event(struct encoder *s, const char *name, struct str item, struct buf *out)
{
    event_begin(s, name, out);
    buf_lit(out, ",\"output_index\":");
    buf_int(out, s->output_index);
    buf_lit(out, ",\"item\":");
    buf_str_add(out, item);
    event_end(out);
}

/* a buffer of the scratch arena, for n bytes of text */
static void render(struct encoder *s, struct buf *b, size_t n)
{
    buf_init_arena(b, s->c->scratch, REPLY_MAX);
    (void)buf_reserve(b, n + 256);
}

static struct wording so_far(const struct encoder *s)
{
    return (struct wording){buf_str(&s->text), true};
}

static void item_finished(struct encoder *s, struct str item, struct buf *out)
{
    item_event(s, "output_item.done", item, out);
    (void)buf_reserve(&s->output, item.n + 1);
    if (s->output.n > 0)
        buf_char(&s->output, ',');
    buf_str_add(&s->output, item);
    s->output_index++;
    s->open = OPEN_NONE;
    s->has_part = false;
    s->item = STR_NONE;
    buf_clear(&s->text);
    buf_clear(&s->contents);
}

/* ---- the message item ---- */
static void part_done(struct encoder *s, struct buf *out)
{
    bool is_refusal = s->kind == IR_REFUSAL;
    struct buf b;
    if (!s->has_part)
        return;
    render(s, &b, s->text.n + s->annotations.n + s->logprobs.n);
    struct jw w = jw_on(&b);
    write_text_content(&w, so_far(s), is_refusal, buf_str(&s->annotations), buf_str(&s->logprobs));
    event_begin(s, is_refusal ? "refusal.done" : "output_text.done", out);
    put_place(s, "content_index", out);
    put_json(out, is_refusal ? "refusal" : "text", buf_str(&s->text));
    if (!is_refusal) {
        buf_lit(out, ",\"logprobs\":[");
        buf_str_add(out, buf_str(&s->logprobs));
        buf_char(out, ']');
    }
    event_end(out);
    event_begin(s, "content_part.done", out);
    put_place(s, "content_index", out);
    buf_lit(out, ",\"part\":");
    buf_str_add(out, buf_str(&b));
    event_end(out);
    (void)buf_reserve(&s->contents, b.n + 1);
    if (s->contents.n > 0)
        buf_char(&s->contents, ',');
    buf_str_add(&s->contents, buf_str(&b));
    s->has_part = false;
    s->content_index++;
    s->n_annotations = 0;
    buf_clear(&s->text);
    buf_clear(&s->annotations);
    buf_clear(&s->logprobs);
}

static void put_message(struct encoder *s, struct buf *b, const char *status)
{
    struct jw w = jw_on(b);
    jw_object(&w);
    jw_kv_str(&w, "id", s->item);
    jw_kv_cstr(&w, "type", "message");
    jw_kv_cstr(&w, "status", status);
    jw_kv_cstr(&w, "role", "assistant");
    jw_key(&w, "content");
    buf_char(b, '[');
    buf_str_add(b, buf_str(&s->contents));
    buf_char(b, ']');
    jw_object_end(&w);
}

static void message_done_event(struct encoder *s, struct buf *out)
{
    struct buf b;
    part_done(s, out);
    render(s, &b, s->contents.n);
    put_message(s, &b, s->stop == IR_STOP_LENGTH ? "incomplete" : "completed");
    item_finished(s, buf_str(&b), out);
}

static void need_part(struct encoder *s, struct buf *out)
{
    struct buf b;
    if (s->open != OPEN_MESSAGE) {
        s->item = str_dup(s->c->arena, item_id(s->c, s->item, "msg_"));
        s->open = OPEN_MESSAGE;
        s->content_index = 0;
        render(s, &b, 0);
        put_message(s, &b, "in_progress");
        item_event(s, "output_item.added", buf_str(&b), out);
    }
    if (s->has_part)
        return;
    s->has_part = true;
    event_begin(s, "content_part.added", out);
    put_place(s, "content_index", out);
    if (s->kind == IR_REFUSAL)
        buf_lit(out, ",\"part\":{\"type\":\"refusal\",\"refusal\":\"\"}");
    else
        buf_lit(out, ",\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],"
                     "\"logprobs\":[]}");
    event_end(out);
}

static void put_text(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    need_part(s, out);
    if (s->kind == IR_REFUSAL) {
        delta_event(s, "refusal.delta", "content_index", ev, out);
        return;
    }
    event_begin(s, "output_text.delta", out);
    put_place(s, "content_index", out);
    put_delta(s, ev, out);
    buf_lit(out, ",\"logprobs\":[]");
    event_end(out);
}

/* Characters of the inside of a JSON string: an escape is one, a pair of surrogates too. */
static int64_t chars_of_json(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\\' || i + 1 == s.n) {
            n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
            continue;
        }
        bool is_low = s.p[i + 1] == 'u' && i + 3 < s.n && (s.p[i + 2] | 32) == 'd' &&
                      strchr("cdefCDEF", s.p[i + 3]);
        n += !is_low;
        i += s.p[i + 1] == 'u' ? 5 : 1;
    }
    return n;
}

static void put_annotation(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct buf b;
    if (ev->is_late) { /* the part was told whole already */
        wire_drop_late(s->c, ev);
        return;
    }
    render(s, &b, 0);
    add_annotation(s->c, &b, ev->citation, chars_of_json(buf_str(&s->text)));
    if (b.n == 0)
        return;
    need_part(s, out);
    event_begin(s, "output_text.annotation.added", out);
    put_place(s, "content_index", out);
    buf_lit(out, ",\"annotation_index\":");
    buf_int(out, s->n_annotations++);
    buf_lit(out, ",\"annotation\":");
    buf_str_add(out, buf_str(&b));
    event_end(out);
    if (s->annotations.n > 0)
        buf_char(&s->annotations, ',');
    buf_str_add(&s->annotations, buf_str(&b));
}

/* ---- the reasoning item ---- */
static void need_reasoning(struct encoder *s, struct buf *out)
{
    struct buf b;
    if (s->open == OPEN_REASONING)
        return;
    s->item = str_dup(s->c->arena, item_id(s->c, s->item, "rs_"));
    s->open = OPEN_REASONING;
    s->content_index = 0;
    s->encrypted = STR_NONE;
    render(s, &b, 0);
    struct jw w = jw_on(&b);
    write_reasoning_item(&w, s->item, (struct wording){0}, s->is_raw, STR_NONE);
    item_event(s, "output_item.added", buf_str(&b), out);
}

static void put_reasoning_part(struct encoder *s, struct str json, struct buf *out)
{
    buf_lit(out, ",\"part\":{\"type\":\"");
    buf_str_add(out, s->is_raw ? STR("reasoning_text") : STR("summary_text"));
    buf_char(out, '"');
    put_json(out, "text", json);
    buf_char(out, '}');
}

static void put_reasoning(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    bool is_own = s->c->upstream == WIRE_RESPONSES;
    if (ev->text.n == 0 && !(is_own && ev->encrypted.n > 0))
        return;
    need_reasoning(s, out);
    if (is_own && ev->encrypted.n > 0)
        s->encrypted = str_dup(s->c->arena, ev->encrypted);
    if (ev->text.n == 0)
        return;
    if (!s->has_part) { /* clients look for the part that a delta belongs to */
        event_begin(s, s->is_raw ? "content_part.added" : "reasoning_summary_part.added", out);
        put_place(s, s->is_raw ? "content_index" : "summary_index", out);
        put_reasoning_part(s, STR_NONE, out);
        event_end(out);
    }
    s->has_part = true;
    delta_event(s, s->is_raw ? "reasoning_text.delta" : "reasoning_summary_text.delta",
                s->is_raw ? "content_index" : "summary_index", ev, out);
}

static void reasoning_done_event(struct encoder *s, struct buf *out)
{
    struct buf b;
    if (s->has_part) {
        event_begin(s, s->is_raw ? "reasoning_text.done" : "reasoning_summary_text.done", out);
        put_place(s, s->is_raw ? "content_index" : "summary_index", out);
        put_json(out, "text", buf_str(&s->text));
        event_end(out);
        event_begin(s, s->is_raw ? "content_part.done" : "reasoning_summary_part.done", out);
        put_place(s, s->is_raw ? "content_index" : "summary_index", out);
        put_reasoning_part(s, buf_str(&s->text), out);
        event_end(out);
    }
    render(s, &b, s->text.n + s->encrypted.n);
    struct jw w = jw_on(&b);
    write_reasoning_item(&w, s->item, so_far(s), s->is_raw, s->encrypted);
    item_finished(s, buf_str(&b), out);
}

/* ---- the call item ---- */
static void call_event(struct encoder *s, const char *name, const char *key, struct wording said,
                       struct buf *out)
{
    event_begin(s, name, out);
    put_place(s, NULL, out);
    if (!s->words.is_custom && strcmp(key, "arguments") == 0)
        put_str(out, "name", s->words.name);
    if (said.is_json)
        put_json(out, key, said.text);
    else
        put_str(out, key, said.text);
    event_end(out);
}

static void begin_call(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct buf b;
    s->words = call_words(s->c, ev->name, ev->call_kind);
    s->words.name = str_dup(s->c->arena, s->words.name);
    s->call_id = str_dup(s->c->arena, ev->call_id);
    s->item = str_dup(s->c->arena, item_id(s->c, s->item, s->words.is_custom ? "ctc_" : "fc_"));
    s->open = OPEN_CALL;
    render(s, &b, s->call_id.n + s->words.name.n);
    struct jw w = jw_on(&b);
    write_call_item(&w, s->item, "in_progress", &s->words, s->call_id, (struct wording){0});
    item_event(s, "output_item.added", buf_str(&b), out);
}

static void put_args(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    if (s->words.unwraps) { /* told from its wrapping when it is whole */
        buf_str_add(&s->text, ev->text);
        return;
    }
    delta_event(
        s, s->words.is_custom ? "custom_tool_call_input.delta" : "function_call_arguments.delta",
        NULL, ev, out);
}

static void call_done_event(struct encoder *s, struct buf *out)
{
    struct wording args = so_far(s);
    struct buf b;
    if (s->words.unwraps) {
        args = (struct wording){wire_args_custom(s->c->scratch, args.text), false};
        if (args.text.n > 0)
            call_event(s, "custom_tool_call_input.delta", "delta", args, out);
    } else if (args.text.n == 0 && !s->words.is_custom) {
        args.text = STR("{}");
        call_event(s, "function_call_arguments.delta", "delta", args, out);
    }
    if (s->words.is_custom)
        call_event(s, "custom_tool_call_input.done", "input", args, out);
    else
        call_event(s, "function_call_arguments.done", "arguments", args, out);
    render(s, &b, args.text.n + s->call_id.n + s->words.name.n);
    struct jw w = jw_on(&b);
    write_call_item(&w, s->item, "completed", &s->words, s->call_id, args);
    item_finished(s, buf_str(&b), out);
}

/* ---- all items ---- */
static void close_item(struct encoder *s, struct buf *out)
{
    switch (s->open) {
    case OPEN_NONE:
        break;
    case OPEN_MESSAGE:
        message_done_event(s, out);
        break;
    case OPEN_REASONING:
        reasoning_done_event(s, out);
        break;
    case OPEN_CALL:
        call_done_event(s, out);
        break;
    }
}

static void whole_item(struct encoder *s, struct str item, struct buf *out)
{
    close_item(s, out);
    item_event(s, "output_item.added", item, out);
    item_finished(s, item, out);
}

/* A message stays open while text follows text; every other block is an item of its own. */
static void begin_block(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    bool is_text = ev->part_kind == IR_TEXT || ev->part_kind == IR_REFUSAL;
    bool is_other = is_text && s->open == OPEN_MESSAGE && ev->item_id.n > 0 &&
                    !str_eq(ev->item_id, s->item) && str_starts(ev->item_id, STR("msg_"));
    if (!is_text || s->open != OPEN_MESSAGE || is_other)
        close_item(s, out);
    if (s->open == OPEN_MESSAGE)
        part_done(s, out);
    else
        s->item = str_dup(s->c->arena, ev->item_id);
    s->kind = ev->part_kind;
    s->is_raw = s->c->upstream == WIRE_RESPONSES && ev->part_kind == IR_REASONING &&
                !ev->is_summary;
    if (ev->part_kind == IR_TOOL_CALL && ev->call_kind != IR_CALL_HOSTED) {
        begin_call(s, ev, out);
    } else if (ev->part_kind == IR_OPAQUE && ev->raw && s->c->upstream == WIRE_RESPONSES) {
        whole_item(s, json_text(s->c->scratch, ev->raw), out);
    }
}

static void put_media(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    const struct ir_source *source = &ev->source;
    struct buf b;
    if (ev->part_kind != IR_IMAGE || source->kind != IR_SOURCE_DATA) {
        wire_drop_media(s->c, ev->part_kind);
        return;
    }
    render(s, &b, 0);
    struct jw w = jw_on(&b);
    write_image_item(&w, wire_make_id(s->c, "ig_", 32), source->base64);
    whole_item(s, buf_str(&b), out);
}

static void end_stream(struct encoder *s, struct buf *out)
{
    struct err failed = ERR_INIT;
    start(s, &(struct ir_event){0}, out);
    close_item(s, out);
    s->is_ended = true;
    const char *status = status_of(s->stop);
    if (s->stop == IR_STOP_ERROR) {
        err_set(&failed, ERR_UPSTREAM, "server_error", "the model stopped with an error");
        put_response(s, "failed", status, &failed, &s->usage, out);
        return;
    }
    put_response(
        s, s->stop == IR_STOP_LENGTH || s->stop == IR_STOP_FILTER ? "incomplete" : "completed",
        status, NULL, &s->usage, out);
}

static void encode_error(struct encoder *s, const struct err *e, struct buf *out)
{
    s->is_ended = true;
    if (s->is_started) {
        s->stop = IR_STOP_ERROR;
        put_response(s, "failed", "failed", e, ir_usage_known(&s->usage) ? &s->usage : NULL, out);
        return;
    }
    struct jw w = jw_on(out);
    const char *code = wire_openai_error_code(e);
    buf_lit(out, "event: error\ndata: ");
    jw_object(&w);
    jw_kv_cstr(&w, "type", "error");
    jw_kv_int(&w, "sequence_number", s->sequence++);
    jw_kv_cstr(&w, "code", code ? code : wire_openai_error_type(e));
    jw_kv_cstr(&w, "message", e->message);
    jw_kv_cstr(&w, "param", e->field[0] ? e->field : NULL);
    jw_object_end(&w);
    buf_lit(out, "\n\n");
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
        start(s, ev, out);
        break;
    case IR_EV_BLOCK_START:
        begin_block(s, ev, out);
        break;
    case IR_EV_TEXT:
        if (ev->text.n > 0)
            put_text(s, ev, out);
        break;
    case IR_EV_REASONING:
        put_reasoning(s, ev, out);
        break;
    case IR_EV_TOOL_ARGS:
        if (s->open == OPEN_CALL && ev->text.n > 0)
            put_args(s, ev, out);
        break;
    case IR_EV_CITATION:
        put_annotation(s, ev, out);
        break;
    case IR_EV_LOGPROBS:
        if (s->open == OPEN_MESSAGE)
            add_logprobs(&s->logprobs, ev->raw);
        else
            wire_drop_late(s->c, ev);
        break;
    case IR_EV_MEDIA:
        put_media(s, ev, out);
        break;
    case IR_EV_BLOCK_END:
        if (s->open == OPEN_MESSAGE)
            part_done(s, out);
        else
            close_item(s, out);
        break;
    case IR_EV_USAGE:
        s->usage = ir_usage_merge(s->usage, ev->usage);
        break;
    case IR_EV_FINISH:
        s->stop = ev->stop;
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
    }
}

/* ======================================================================== metering */

static bool is_search_text(struct str item)
{
    struct str action = wire_member(wire_member(item, "action"), "type");
    return str_is(wire_member(item, "type"), "\"web_search_call\"") &&
           (action.n == 0 || str_is(action, "\"search\""));
}

/* The same of what passes: nearly all of it has none. */
static void meter_searches(struct str data, enum openai_place place, struct ir_usage *usage)
{
    if (!str_contains(data, STR("\"web_search_call\"")))
        return;
    struct str output = openai_member(data, STR("output"), place);
    int64_t n = 0;
    size_t depth = 0, from = 0;
    for (size_t i = 0; i < output.n; i++) {
        char c = output.p[i];
        if (c == '"') {
            i = wire_string_end(output, i + 1);
        } else if (c == '{' || c == '[') {
            if (++depth == 2)
                from = i;
        } else if ((c == '}' || c == ']') && depth > 0 && depth-- == 2) {
            n += is_search_text(str_n(output.p + from, i + 1 - from));
        }
    }
    if (n)
        usage->searches = n;
}

static bool meter(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    struct str type = event;
    if (type.n == 0 && data.n > 0 && str_contains(str_first(data, 64), STR("\"type\"")))
        type = openai_find_string(str_first(data, 96), STR("type"));
    bool is_last = str_is(type, "response.completed") || str_is(type, "response.incomplete") ||
                   str_is(type, "response.failed") || str_is(type, "error");
    if (!is_last && str_starts(type, STR("response.")))
        return false;
    if (data.n <= 8 && str_is(str_trim(data), "[DONE]"))
        return true;
    enum openai_place place = is_last ? OPENAI_OF_EVENT : OPENAI_OF_REPLY;
    (void)openai_meter_usage(data, place, usage);
    meter_searches(data, place, usage);
    struct str why = openai_find_string(openai_member(data, STR("incomplete_details"), place),
                                        STR("reason"));
    if (why.n > 0)
        *stop = str_is(why, "content_filter") ? IR_STOP_FILTER : IR_STOP_LENGTH;
    else if (str_is(type, "response.failed") || str_is(type, "error"))
        *stop = IR_STOP_ERROR;
    else if (usage->output_total >= 0)
        *stop = str_contains(data, STR("\"function_call\"")) ? IR_STOP_TOOL : IR_STOP_END;
    return is_last;
}

const struct wire wire_responses = {
    .id = WIRE_RESPONSES,
    .name = "openai_responses",
    .framing = FRAMING_SSE,
    .knows_no_stop = true,
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
