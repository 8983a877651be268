/* anthropic.c - Anthropic Messages, both directions, requests, replies and streams.
 * Not here: pairing calls with results, ids and names (prepare.h), stream bookkeeping (flow.h), schema cleaning. */
#include "base/codec.h"
#include "wire/common.h"
#include "wire/media.h"
#include "wire/residue.h"
#include "wire/schema.h"
#include "wire/wires.h"
#include <stdio.h>

#define JSON_TOOL "json_output" /* the forced tool that stands for a response format */
#define DEFAULT_MAX_TOKENS 4096
#define MIN_BUDGET 1024  /* Messages API: the smallest thinking budget */
#define BUDGET_ROOM 8192 /* room left for the answer when a budget raises max_tokens */
#define MAX_CACHE_MARKS 4
#define HELD_MAX (8u << 20) /* bytes of interleaved block events kept back */
#define HELD_FRAMES_MAX 65536u

/* clang-format off */
static const struct word stop_words[] = { /* "stop_reason" <-> IR; the first of a kind is the one written */
    {"end_turn", IR_STOP_END},       {"max_tokens", IR_STOP_LENGTH}, {"stop_sequence", IR_STOP_END},
    {"tool_use", IR_STOP_TOOL},      {"refusal", IR_STOP_REFUSAL},   {"pause_turn", IR_STOP_PAUSE},
    {"model_context_window_exceeded", IR_STOP_LENGTH},               {"content_filter", IR_STOP_REFUSAL},
    {"compaction", IR_STOP_PAUSE},   {0},
};
static const struct word choice_words[] = {
    {"auto", IR_CHOICE_AUTO}, {"any", IR_CHOICE_ANY}, {"tool", IR_CHOICE_TOOL}, {"none", IR_CHOICE_NONE}, {0},
};
static const char *const request_members[] = { /* read into the IR; all others pass only to the same format */
    "model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream", "tools",
    "tool_choice", "metadata", "service_tier", "thinking", "output_config", "output_format",
};
static const char *const tool_members[] = {"name", "description", "input_schema", "cache_control", "strict"};
static const char *const lost[] = { /* no place for these */
    "frequency_penalty", "presence_penalty", "logit_bias", "seed", "min_p", "logprobs",
    "truncation", "verbosity", "prompt_cache_key", "prompt_cache_retention", "cachedContent",
    "safetySettings", "modalities", "audio", "max_tool_calls", "metadata", "store",
    "messages.name",
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

static struct ir_cache_mark read_cache(yyjson_val *block)
{
    yyjson_val *m = json_get(block, "cache_control");
    if (!yyjson_is_obj(m))
        return (struct ir_cache_mark){0};
    return (struct ir_cache_mark){.is_set = true, .ttl = json_get_str(m, "ttl")};
}

/* The text of a string or of an array of text blocks. */
static struct str blocks_text(struct arena *a, yyjson_val *content)
{
    if (yyjson_is_str(content))
        return json_str(content);
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 2);
    size_t i, n;
    yyjson_val *v;
    if (yyjson_is_arr(content))
        yyjson_arr_foreach (content, i, n, v)
            buf_str_add(&b, json_get_str(v, "text"));
    return buf_str(&b);
}

static struct ir_source read_source(struct arena *a, yyjson_val *v)
{
    struct ir_source s = {.media_type = json_get_str(v, "media_type")};
    struct str type = json_get_str(v, "type");
    if (str_is(type, "base64")) {
        s.kind = IR_SOURCE_DATA;
        s.base64 = json_get_str(v, "data");
    } else if (str_is(type, "url")) {
        s = ir_source_of_url(a, json_get_str(v, "url"));
    } else if (str_is(type, "file")) {
        s.kind = IR_SOURCE_REF;
        s.ref = json_get_str(v, "file_id");
    } else if (str_is(type, "text")) {
        s.kind = IR_SOURCE_TEXT;
        s.text = json_get_str(v, "data");
        if (s.media_type.n == 0)
            s.media_type = STR("text/plain");
    } else if (str_is(type, "content")) {
        s.kind = IR_SOURCE_TEXT;
        s.text = blocks_text(a, json_get(v, "content"));
        s.media_type = STR("text/plain");
    }
    return s;
}

/* Its offsets, where it has any, are into the document; in the answer it is of its whole block, of so many characters. */
static struct ir_citation *read_citation(struct arena *a, yyjson_val *v, int64_t length)
{
    struct ir_citation *cite = ARENA_NEW(a, struct ir_citation);
    struct str type = json_get_str(v, "type");
    cite->origin = WIRE_ANTHROPIC;
    cite->raw = v;
    cite->end = length;
    cite->doc_index = json_get_int(v, "document_index", -1);
    cite->cited_text = json_get_str(v, "cited_text");
    cite->title = json_get_str(v, "title");
    cite->kind = str_is(type, "web_search_result_location") ? IR_CITE_URL : IR_CITE_TEXT;
    if (cite->kind == IR_CITE_URL)
        cite->url = json_get_str(v, "url");
    else if (cite->title.n == 0)
        cite->title = json_get_str(v, "document_title");
    return cite;
}

static struct ir_citation *read_citations(struct arena *a, yyjson_val *list, int64_t length)
{
    struct ir_citation *first = NULL, **tail = &first;
    size_t i, n;
    yyjson_val *v;
    if (yyjson_is_arr(list))
        yyjson_arr_foreach (list, i, n, v) {
            *tail = read_citation(a, v, length);
            tail = &(*tail)->next;
        }
    return first;
}

static void read_document(struct wire_ctx *c, yyjson_val *v, struct ir_part *p)
{
    yyjson_val *cites = json_get(v, "citations");
    p->source = read_source(c->arena, json_get(v, "source"));
    p->title = json_get_str(v, "title");
    p->name = p->title;
    p->context = json_get_str(v, "context");
    p->has_citations_enabled = json_get_bool(cites, "enabled", false);
    p->raw = v;
}

/* A search result is a text document with an address; only this format can say it as such. */
static void read_search_result(struct wire_ctx *c, yyjson_val *v, struct ir_part *p)
{
    p->source.kind = IR_SOURCE_TEXT;
    p->source.media_type = STR("text/plain");
    p->source.text = blocks_text(c->arena, json_get(v, "content"));
    p->title = json_get_str(v, "title");
    p->name = p->title;
    p->context = json_get_str(v, "source");
    p->raw = v;
}

static bool read_result_content(struct wire_ctx *c, yyjson_val *content, const char *where,
                                struct ir_part *result, struct err *e);

static bool read_block(struct wire_ctx *c, yyjson_val *v, const char *where, struct ir_parts *parts,
                       struct err *e)
{
    struct arena *a = c->arena;
    struct str type = json_get_str(v, "type");
    struct ir_part *p;
    if (type.n == 0)
        return err_field(e, where, "%s: a content block needs a type", where);
    if (str_is(type, "text")) {
        p = ir_part_add(a, parts, IR_TEXT);
        p->text = json_get_str(v, "text");
        p->citations = read_citations(a, json_get(v, "citations"), wire_chars(p->text));
    } else if (str_is(type, "image")) {
        p = ir_part_add(a, parts, IR_IMAGE);
        p->source = read_source(a, json_get(v, "source"));
        if (p->source.kind == IR_SOURCE_NONE)
            return err_field(
                e, where, "%s.source: the image needs a source of type base64, url or file", where);
    } else if (str_is(type, "document")) {
        p = ir_part_add(a, parts, IR_FILE);
        read_document(c, v, p);
        if (p->source.kind == IR_SOURCE_NONE)
            return err_field(e, where, "%s.source: the document needs a source of a known type",
                             where);
    } else if (str_is(type, "search_result")) {
        p = ir_part_add(a, parts, IR_FILE);
        read_search_result(c, v, p);
    } else if (str_is(type, "thinking")) {
        p = ir_part_add(a, parts, IR_REASONING);
        p->text = json_get_str(v, "thinking");
        p->signature = json_get_str(v, "signature");
    } else if (str_is(type, "redacted_thinking")) {
        p = ir_part_add(a, parts, IR_REASONING);
        p->redacted = json_get_str(v, "data");
    } else if (str_is(type, "tool_use")) {
        yyjson_val *input = json_get(v, "input");
        p = ir_part_add(a, parts, IR_TOOL_CALL);
        p->call_id = json_get_str(v, "id");
        p->name = json_get_str(v, "name");
        p->args_raw = json_absent(input) ? STR_NONE : json_text(a, input);
    } else if (str_is(type, "tool_result")) {
        p = ir_part_add(a, parts, IR_TOOL_RESULT);
        p->call_id = json_get_str(v, "tool_use_id");
        p->is_error = json_get_bool(v, "is_error", false);
        if (p->call_id.n == 0)
            return err_field(e, where, "%s.tool_use_id: field required", where);
        if (!read_result_content(c, json_get(v, "content"), where, p, e))
            return false;
    } else {
        p = ir_part_add(a, parts, IR_OPAQUE);
        p->raw = v;
    }
    p->origin = WIRE_ANTHROPIC;
    p->cache = read_cache(v);
    return true;
}

static bool read_blocks(struct wire_ctx *c, yyjson_val *content, const char *where,
                        struct ir_parts *parts, struct err *e)
{
    size_t i, n;
    yyjson_val *v;
    if (yyjson_is_str(content)) {
        ir_part_add(c->arena, parts, IR_TEXT)->text = json_str(content);
        return true;
    }
    if (!yyjson_is_arr(content))
        return err_field(e, where, "%s: must be a string or an array of content blocks", where);
    yyjson_arr_foreach (content, i, n, v) {
        char at[96];
        wire_place(at, sizeof at, where, ".", i, "");
        if (!read_block(c, v, at, parts, e))
            return false;
    }
    return true;
}

static bool read_result_content(struct wire_ctx *c, yyjson_val *content, const char *where,
                                struct ir_part *result, struct err *e)
{
    char at[96];
    (void)snprintf(at, sizeof at, "%s.content", where);
    return json_absent(content) || read_blocks(c, content, at, &result->content, e);
}

static bool read_message(struct wire_ctx *c, yyjson_val *v, unsigned i, struct ir_messages *out,
                         struct err *e)
{
    char where[48];
    struct str role = json_get_str(v, "role");
    struct ir_parts parts = {0};
    wire_place(where, sizeof where, "messages", ".", i, ".content");
    if (!str_is(role, "user") && !str_is(role, "assistant") && !str_is(role, "system")) {
        wire_place(where, sizeof where, "messages", ".", i, ".role");
        return err_field(e, where, "%s: must be 'user' or 'assistant'", where);
    }
    if (!read_blocks(c, json_get(v, "content"), where, &parts, e))
        return false;
    for (const struct ir_part *p = parts.first; p && !str_is(role, "assistant"); p = p->next)
        if (p->kind == IR_TOOL_CALL) /* as the vendor has it: nobody else calls tools */
            return err_field(e, where, "%s: 'tool_use' blocks can only be in 'assistant' messages",
                             where);
    if (str_is(role, "user")) {
        wire_add_user(c, parts.first, out);
        return true;
    }
    struct ir_message *m = ir_message_add(c->arena, out,
                                          str_is(role, "system") ? IR_SYSTEM : IR_ASSISTANT);
    m->parts = parts;
    return true;
}

static bool read_messages(struct wire_ctx *c, yyjson_val *list, struct ir_messages *out,
                          struct err *e)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return err_field(e, "messages", "messages: at least one message is required");
    yyjson_arr_foreach (list, i, n, v)
        if (!read_message(c, v, (unsigned)i, out, e))
            return false;
    return true;
}

static bool read_system(struct wire_ctx *c, yyjson_val *system, struct ir_request *out,
                        struct err *e)
{
    struct ir_system **tail = &out->system;
    size_t i, n;
    yyjson_val *v;
    if (json_absent(system))
        return true;
    if (yyjson_is_str(system)) {
        *tail = ARENA_NEW(c->arena, struct ir_system);
        (*tail)->text = json_str(system);
        return true;
    }
    if (!yyjson_is_arr(system))
        return err_field(e, "system", "system: must be a string or an array of text blocks");
    yyjson_arr_foreach (system, i, n, v) {
        if (!str_is(json_get_str(v, "type"), "text"))
            return err_field(e, "system", "system.%zu: only text blocks are allowed", i);
        *tail = ARENA_NEW(c->arena, struct ir_system);
        (*tail)->text = json_get_str(v, "text");
        (*tail)->cache = read_cache(v);
        tail = &(*tail)->next;
    }
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
        struct str type = json_get_str(v, "type");
        struct ir_tool *t = ARENA_NEW(c->arena, struct ir_tool);
        if (!yyjson_is_obj(v))
            return err_field(e, "tools", "tools.%zu: must be an object", i);
        t->kind = type.n == 0 || str_is(type, "custom") ? IR_TOOL_FUNCTION : IR_TOOL_HOSTED;
        t->name = json_get_str(v, "name");
        t->description = json_get_str(v, "description");
        t->parameters = json_absent(json_get(v, "input_schema")) ? NULL
                                                                 : json_get(v, "input_schema");
        t->has_strict = yyjson_is_bool(json_get(v, "strict"));
        t->strict = json_get_bool(v, "strict", false);
        t->cache = read_cache(v);
        t->origin = WIRE_ANTHROPIC;
        t->raw = v;
        if (t->kind == IR_TOOL_HOSTED)
            t->hosted_type = type;
        *tail = t;
        tail = &t->next;
    }
    return true;
}

static bool read_choice(yyjson_val *v, struct ir_request *out, struct err *e)
{
    if (json_absent(v))
        return true;
    int mode = word_value(choice_words, json_get_str(v, "type"), IR_CHOICE_UNSET);
    if (mode == IR_CHOICE_UNSET)
        return err_field(e, "tool_choice",
                         "tool_choice.type: must be 'auto', 'any', 'tool' or 'none'");
    out->choice = (enum ir_choice_mode)mode;
    if (out->choice == IR_CHOICE_TOOL) {
        out->choice_tool = json_get_str(v, "name");
        if (out->choice_tool.n == 0)
            return err_field(e, "tool_choice.name", "tool_choice.name: field required");
    }
    out->has_disable_parallel = yyjson_is_bool(json_get(v, "disable_parallel_tool_use"));
    out->disable_parallel = json_get_bool(v, "disable_parallel_tool_use", false);
    return true;
}

static bool read_reasoning(yyjson_val *root, struct ir_request *out, struct err *e)
{
    yyjson_val *thinking = json_get(root, "thinking");
    struct str type = json_get_str(thinking, "type");
    out->effort = wire_effort_parse(json_get_str(json_get(root, "output_config"), "effort"));
    if (json_absent(thinking))
        return true;
    if (str_is(type, "disabled")) {
        out->reasoning = IR_REASONING_DISABLED;
        return true;
    }
    if (str_is(type, "adaptive")) {
        out->reasoning = IR_REASONING_AUTO;
    } else if (str_is(type, "enabled")) {
        out->reasoning = IR_REASONING_ENABLED;
        out->budget_tokens = json_get_int(thinking, "budget_tokens", -1);
    } else {
        return err_field(e, "thinking.type",
                         "thinking.type: must be 'enabled', 'adaptive' or 'disabled'");
    }
    /* Here thoughts are shown unless asked not to; elsewhere they must be asked for. */
    out->has_include_thoughts = true;
    out->include_thoughts = !str_is(json_get_str(thinking, "display"), "omitted");
    return true;
}

static bool read_stop(struct arena *a, yyjson_val *list, struct ir_strs *out, struct err *e)
{
    size_t i, n;
    yyjson_val *v;
    if (json_absent(list))
        return true;
    if (!yyjson_is_arr(list))
        return err_field(e, "stop_sequences", "stop_sequences: must be an array of strings");
    out->v = ARENA_ARRAY(a, struct str, yyjson_arr_size(list) + 1);
    yyjson_arr_foreach (list, i, n, v)
        if (yyjson_is_str(v))
            out->v[out->n++] = json_str(v);
        else
            return err_field(e, "stop_sequences", "stop_sequences.%zu: must be a string", i);
    return true;
}

static bool read_number(yyjson_val *root, const char *key, yyjson_val **out, struct err *e)
{
    yyjson_val *v = json_get(root, key);
    if (json_absent(v))
        return true;
    if (!json_is_number(v))
        return err_field(e, key, "%s: must be a number", key);
    *out = v;
    return true;
}

static bool read_max_tokens(yyjson_val *root, struct ir_request *out, struct err *e)
{
    yyjson_val *v = json_get(root, "max_tokens");
    if (json_absent(v))
        return true;
    if (!json_int(v, &out->max_tokens) || out->max_tokens < 0)
        return err_field(e, "max_tokens", "max_tokens: must be a whole number, 0 or more");
    return true;
}

static void read_format(yyjson_val *root, struct ir_request *out)
{
    yyjson_val *config = json_get(root, "output_config");
    yyjson_val *format = json_get(config, "format");
    if (json_absent(format))
        format = json_get(root, "output_format"); /* its name while it was in beta */
    if (!str_is(json_get_str(format, "type"), "json_schema"))
        return;
    out->format = IR_FORMAT_JSON_SCHEMA;
    out->format_schema = json_get(format, "schema");
    out->format_name = json_get_str(format, "name");
}

static bool read_request(struct wire_ctx *c, yyjson_val *root, struct ir_request *out,
                         struct err *e)
{
    ir_request_init(out);
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_request", "the body must be a JSON object");
    static const struct wire_member members[] = {{"metadata"}, {"output_config"}, {0}};
    if (!wire_check_members(root, members, e))
        return false;
    out->origin = WIRE_ANTHROPIC;
    out->raw = root;
    out->model = json_get_str(root, "model");
    out->is_stream = json_get_bool(root, "stream", false);
    out->user = json_get_str(json_get(root, "metadata"), "user_id");
    out->service_tier = json_get_str(root, "service_tier");
    if (str_is(out->service_tier, "standard_only"))
        out->service_tier = STR("default");
    read_format(root, out);
    return read_max_tokens(root, out, e) &&
           read_number(root, "temperature", &out->temperature, e) &&
           read_number(root, "top_p", &out->top_p, e) &&
           read_number(root, "top_k", &out->top_k, e) &&
           read_stop(c->arena, json_get(root, "stop_sequences"), &out->stop, e) &&
           read_system(c, json_get(root, "system"), out, e) &&
           read_messages(c, json_get(root, "messages"), &out->messages, e) &&
           read_tools(c, json_get(root, "tools"), out, e) &&
           read_choice(json_get(root, "tool_choice"), out, e) && read_reasoning(root, out, e);
}

/* ======================================================================== writing requests */

struct thinking { /* what is said about reasoning */
    enum {
        THINKING_UNSET,
        THINKING_OFF,
        THINKING_ADAPTIVE,
        THINKING_BUDGET
    } kind;
    int64_t budget;     /* THINKING_BUDGET */
    const char *effort; /* output_config.effort; NULL: not said */
    int64_t max_tokens;
};

static const char *effort_text(const struct wire_ctx *c, enum ir_effort effort)
{
    switch (effort) {
    case IR_EFFORT_UNSET:
    case IR_EFFORT_NONE:
        return NULL;
    case IR_EFFORT_MINIMAL:
    case IR_EFFORT_LOW:
        return "low";
    case IR_EFFORT_MEDIUM:
        return "medium";
    case IR_EFFORT_HIGH:
        return "high";
    case IR_EFFORT_XHIGH:
        return c->quirks & QUIRK_EFFORT_XHIGH ? "xhigh" : "high";
    case IR_EFFORT_MAX:
        return c->quirks & QUIRK_EFFORT_XHIGH ? "max" : "high";
    }
    return NULL;
}

/* A tool loop whose call was made without thinking cannot go on with it: Anthropic answers 400. */
static bool is_loop_without_thinking(const struct ir_request *r)
{
    const struct ir_message *called = NULL;
    if (!r->messages.last || !r->messages.last->parts.first ||
        r->messages.last->parts.first->kind != IR_TOOL_RESULT)
        return false;
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        if (m->role == IR_ASSISTANT)
            called = m;
    bool has_call = false;
    for (const struct ir_part *p = called ? called->parts.first : NULL; p; p = p->next) {
        if (p->kind == IR_REASONING && (p->signature.n || p->redacted.n))
            return false;
        has_call |= p->kind == IR_TOOL_CALL;
    }
    return has_call;
}

/* Messages API: 1024 <= budget_tokens < max_tokens. The answer gets room first, then the budget gives way. */
static void fit_budget(struct wire_ctx *c, struct thinking *t)
{
    int64_t cap = c->max_output_tokens;
    if (t->budget < MIN_BUDGET)
        t->budget = MIN_BUDGET;
    if (t->budget >= t->max_tokens) {
        int64_t wanted = t->budget + BUDGET_ROOM;
        t->max_tokens = cap > 0 && wanted > cap ? (cap > t->max_tokens ? cap : t->max_tokens)
                                                : wanted;
        c->raised_max_tokens = t->max_tokens;
    }
    if (t->budget >= t->max_tokens)
        t->budget = t->max_tokens - 1;
    if (t->budget < MIN_BUDGET) {
        t->kind = THINKING_OFF;
        wire_drop(c, "max_tokens leaves no room for the smallest budget", "thinking");
    }
}

static void plan_mode(struct wire_ctx *c, const struct ir_request *r, struct thinking *t)
{
    bool is_adaptive = c->quirks & QUIRK_ADAPTIVE_THINKING;
    enum ir_effort effort = wire_effort_of(r);
    if (r->reasoning == IR_REASONING_DISABLED || r->effort == IR_EFFORT_NONE) {
        t->kind = THINKING_OFF;
    } else if (r->reasoning == IR_REASONING_UNSET && r->budget_tokens < 0 &&
               (effort == IR_EFFORT_UNSET || r->origin == WIRE_ANTHROPIC)) {
        t->kind = THINKING_UNSET;
        t->effort = effort_text(c, r->effort);
    } else if (r->budget_tokens > 0) {
        t->kind = THINKING_BUDGET;
        t->budget = r->budget_tokens;
        t->effort = r->origin == WIRE_ANTHROPIC || is_adaptive ? effort_text(c, r->effort) : NULL;
    } else if (is_adaptive || (r->origin == WIRE_ANTHROPIC && r->reasoning == IR_REASONING_AUTO)) {
        t->kind = THINKING_ADAPTIVE;
        t->effort = effort_text(c, r->effort);
    } else {
        t->kind = THINKING_BUDGET;
        t->budget = wire_effort_budget(effort == IR_EFFORT_UNSET ? IR_EFFORT_MEDIUM : effort,
                                       c->max_output_tokens);
    }
}

static struct thinking plan_thinking(struct wire_ctx *c, const struct ir_request *r)
{
    struct thinking t = {.max_tokens = r->max_tokens};
    if (t.max_tokens < 0)
        t.max_tokens = c->max_output_tokens > 0 ? c->max_output_tokens : DEFAULT_MAX_TOKENS;
    plan_mode(c, r, &t);
    if (t.kind == THINKING_BUDGET && is_loop_without_thinking(r)) {
        t.kind = THINKING_OFF;
        wire_drop(c, "the tool loop in the history began without thinking", "thinking");
    }
    if (t.kind == THINKING_BUDGET)
        fit_budget(c, &t);
    if (r->max_tokens >= 0 && t.max_tokens > r->max_tokens)
        wire_drop(c, "raised above the thinking budget, which counts in it", "max_tokens");
    return t;
}

static bool thinks(const struct thinking *t)
{
    return t->kind == THINKING_ADAPTIVE || t->kind == THINKING_BUDGET;
}

/* ---- cache marks: at most four; those nearest the end of the prompt are worth most ---- */
struct marks {
    struct ir_cache_mark **v;
    unsigned n, cap, fixed; /* fixed: those of tools and system, in front */
};

static void mark_add(struct wire_ctx *c, struct marks *m, struct ir_cache_mark *mark,
                     bool is_allowed)
{
    if (!mark->is_set)
        return;
    if (!is_allowed) {
        mark->is_set = false;
        return;
    }
    if (m->n == m->cap) {
        unsigned cap = m->cap ? 2 * m->cap : 16;
        m->v = arena_realloc(c->arena, m->v, m->cap * sizeof *m->v, cap * sizeof *m->v);
        m->cap = cap;
    }
    m->v[m->n++] = mark;
}

static void mark_parts(struct wire_ctx *c, struct marks *m, struct ir_parts *parts)
{
    for (struct ir_part *p = parts->first; p; p = p->next) {
        if (p->kind == IR_TOOL_RESULT)
            mark_parts(c, m, &p->content);
        mark_add(c, m, &p->cache, p->kind != IR_REASONING && (p->kind != IR_TEXT || p->text.n));
    }
}

static bool is_deferred(const struct ir_tool *t)
{
    return t->origin == WIRE_ANTHROPIC && json_get_bool(t->raw, "defer_loading", false);
}

static void limit_marks(struct wire_ctx *c, struct ir_request *r)
{
    struct marks m = {0};
    for (struct ir_tool *t = r->tools; t; t = t->next)
        mark_add(c, &m, &t->cache, !is_deferred(t));
    for (struct ir_system *s = r->system; s; s = s->next)
        mark_add(c, &m, &s->cache, s->text.n > 0);
    m.fixed = m.n;
    for (struct ir_message *msg = r->messages.first; msg; msg = msg->next)
        mark_parts(c, &m, &msg->parts);
    unsigned extra = m.n > MAX_CACHE_MARKS ? m.n - MAX_CACHE_MARKS : 0;
    if (extra)
        wire_drop(c, "at most 4 are allowed", "cache_control");
    for (unsigned i = m.fixed; i < m.n && extra; i++, extra--)
        m.v[i]->is_set = false;
    for (unsigned i = 0; i < m.fixed && extra; i++, extra--)
        m.v[i]->is_set = false;
    bool is_short = false; /* a one-hour mark must not follow a five-minute one */
    for (unsigned i = 0; i < m.n; i++) {
        if (!m.v[i]->is_set)
            continue;
        if (is_short)
            m.v[i]->ttl = STR_NONE;
        is_short |= !str_is(m.v[i]->ttl, "1h");
    }
}

static void write_cache(struct jw *w, const struct ir_cache_mark *m)
{
    if (!m->is_set)
        return;
    jw_key(w, "cache_control");
    jw_object(w);
    jw_kv_cstr(w, "type", "ephemeral");
    if (m->ttl.n)
        jw_kv_str(w, "ttl", m->ttl);
    jw_object_end(w);
}

/* ---- parts ---- */
static bool image_type(const struct ir_source *s, struct str *out, struct err *e)
{
    static const char *const known[] = {"image/jpeg", "image/png", "image/gif", "image/webp"};
    struct str type = str_is(s->media_type, "image/jpg") ? STR("image/jpeg") : s->media_type;
    if (!is_among(type, known, ARRAY_LEN(known))) {
        struct str seen = wire_media_of_base64(s->base64);
        if (!is_among(seen, known, ARRAY_LEN(known)))
            return err_set(e, ERR_UNSUPPORTED, "unsupported_media_type",
                           "images of type '" STR_FMT
                           "' are not accepted: use image/jpeg, image/png, image/gif or image/webp",
                           STR_ARG(type));
        type = seen;
    }
    *out = type;
    return true;
}

static void write_source(struct jw *w, const char *type, struct str media_type, const char *key,
                         struct str value)
{
    jw_key(w, "source");
    jw_object(w);
    jw_kv_cstr(w, "type", type);
    if (media_type.n)
        jw_kv_str(w, "media_type", media_type);
    jw_kv_str(w, key, value);
    jw_object_end(w);
}

static bool write_image(struct jw *w, const struct ir_part *p, struct err *e)
{
    struct str type = STR_NONE;
    if (p->source.kind == IR_SOURCE_DATA && !image_type(&p->source, &type, e))
        return false;
    jw_object(w);
    jw_kv_cstr(w, "type", "image");
    switch (p->source.kind) {
    case IR_SOURCE_DATA:
        write_source(w, "base64", type, "data", p->source.base64);
        break;
    case IR_SOURCE_REF:
        write_source(w, "file", STR_NONE, "file_id", p->source.ref);
        break;
    case IR_SOURCE_URL:
    case IR_SOURCE_TEXT:
    case IR_SOURCE_NONE:
        write_source(w, "url", STR_NONE, "url", p->source.url);
        break;
    }
    write_cache(w, &p->cache);
    jw_object_end(w);
    return true;
}

static struct str file_type(const struct ir_part *p)
{
    if (p->source.media_type.n && !str_is(p->source.media_type, "application/octet-stream"))
        return p->source.media_type;
    struct str by_name = wire_media_of_name(p->name);
    if (by_name.n)
        return by_name;
    struct str seen = wire_media_of_base64(p->source.base64);
    return seen.n ? seen : p->source.media_type;
}

static bool is_text_type(struct str type)
{
    return str_starts(type, STR("text/")) || str_is(type, "application/json") ||
           str_is(type, "application/xml");
}

static bool write_document_source(struct wire_ctx *c, struct jw *w, const struct ir_part *p,
                                  struct err *e)
{
    struct str type, text;
    switch (p->source.kind) {
    case IR_SOURCE_URL:
        write_source(w, "url", STR_NONE, "url", p->source.url);
        return true;
    case IR_SOURCE_REF:
        write_source(w, "file", STR_NONE, "file_id", p->source.ref);
        return true;
    case IR_SOURCE_TEXT:
        write_source(w, "text", STR("text/plain"), "data", p->source.text);
        return true;
    case IR_SOURCE_DATA:
        type = file_type(p);
        if (str_is(type, "application/pdf"))
            write_source(w, "base64", type, "data", p->source.base64);
        else if (is_text_type(type) && base64_decode(c->arena, p->source.base64, &text) &&
                 str_valid_utf8(text))
            write_source(w, "text", STR("text/plain"), "data", text);
        else
            return err_set(e, ERR_UNSUPPORTED, "unsupported_media_type",
                           "files of type '" STR_FMT
                           "' are not accepted: use application/pdf or plain text",
                           STR_ARG(type));
        return true;
    case IR_SOURCE_NONE:
        break;
    }
    return err_set(e, ERR_INPUT, "invalid_value", "a file part has neither data nor an address");
}

static bool write_document(struct wire_ctx *c, struct jw *w, const struct ir_part *p, struct err *e)
{
    struct str title = p->title.n ? p->title : p->name;
    if (p->origin == WIRE_ANTHROPIC && p->raw && !p->cache.is_set &&
        !json_get(p->raw, "cache_control")) {
        jw_val(w, p->raw); /* also sources that only this format knows */
        return true;
    }
    jw_object(w);
    jw_kv_cstr(w, "type", "document");
    bool ok = write_document_source(c, w, p, e);
    if (title.n)
        jw_kv_str(w, "title", title);
    if (p->context.n)
        jw_kv_str(w, "context", p->context);
    if (p->has_citations_enabled) {
        jw_key(w, "citations");
        jw_object(w);
        jw_kv_bool(w, "enabled", true);
        jw_object_end(w);
    }
    write_cache(w, &p->cache);
    jw_object_end(w);
    return ok;
}

/* Citations can go back only as they came; ours (made for a foreign answer) carry no encrypted_index. */
static bool is_own_citation(const struct ir_citation *cite)
{
    return cite->origin == WIRE_ANTHROPIC && cite->raw &&
           (cite->kind != IR_CITE_URL || json_get_str(cite->raw, "encrypted_index").n);
}

static void write_text(struct jw *w, const struct ir_part *p, struct str text)
{
    bool has_any = false;
    jw_object(w);
    jw_kv_cstr(w, "type", "text");
    jw_kv_str(w, "text", text);
    for (const struct ir_citation *cite = p->citations; cite; cite = cite->next) {
        if (!is_own_citation(cite))
            continue;
        if (!has_any) {
            jw_key(w, "citations");
            jw_array(w);
            has_any = true;
        }
        jw_val(w, cite->raw);
    }
    if (has_any)
        jw_array_end(w);
    write_cache(w, &p->cache);
    jw_object_end(w);
}

static void write_reasoning(struct jw *w, const struct ir_part *p)
{
    jw_object(w);
    if (p->redacted.n) {
        jw_kv_cstr(w, "type", "redacted_thinking");
        jw_kv_str(w, "data", p->redacted);
    } else {
        jw_kv_cstr(w, "type", "thinking");
        jw_kv_str(w, "thinking", p->text);
        jw_kv_str(w, "signature", p->signature);
    }
    jw_object_end(w);
}

static void write_call(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "tool_use");
    jw_kv_str(w, "id", p->call_id);
    jw_kv_str(w, "name", p->name);
    jw_key(w, "input");
    jw_raw(w, wire_args_object(c->arena, p->args_raw, p->call_kind));
    write_cache(w, &p->cache);
    jw_object_end(w);
}

static bool write_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p, struct err *e);

static bool write_result(struct wire_ctx *c, struct jw *w, const struct ir_part *p, struct err *e)
{
    const struct ir_part *first = p->content.first;
    bool ok = true;
    jw_object(w);
    jw_kv_cstr(w, "type", "tool_result");
    jw_kv_str(w, "tool_use_id", p->call_id);
    if (p->result_json) {
        jw_kv_str(w, "content", json_text(c->arena, p->result_json));
    } else if (first && !first->next && first->kind == IR_TEXT && !first->cache.is_set &&
               !first->citations) {
        if (first->text.n)
            jw_kv_str(w, "content", first->text);
    } else if (first) {
        jw_key(w, "content");
        jw_array(w);
        for (const struct ir_part *q = first; q && ok; q = q->next)
            ok = write_part(c, w, q, e);
        jw_array_end(w);
    }
    if (p->is_error)
        jw_kv_bool(w, "is_error", true);
    write_cache(w, &p->cache);
    jw_object_end(w);
    return ok;
}

/* Whether the part has something to say here; what has not is noted as dropped. */
static bool is_sayable(struct wire_ctx *c, const struct ir_part *p)
{
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        return p->text.n > 0; /* empty text blocks are refused */
    case IR_REASONING:
        if (p->redacted.n || (p->signature.n && p->origin == WIRE_ANTHROPIC))
            return p->origin == WIRE_ANTHROPIC;
        wire_drop(c, "reasoning without a signature of this provider cannot be replayed",
                  "reasoning");
        return false;
    case IR_OPAQUE:
        if (p->origin == WIRE_ANTHROPIC && p->raw)
            return true;
        wire_drop(c, "only its own format can carry it", "content part");
        return false;
    case IR_AUDIO:
    case IR_VIDEO:
        wire_drop(c, "not accepted", "%s", wire_media_word(p->kind));
        return false;
    case IR_IMAGE:
    case IR_FILE:
    case IR_TOOL_CALL:
    case IR_TOOL_RESULT:
        return true;
    }
    return false;
}

static bool write_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p, struct err *e)
{
    if (!is_sayable(c, p))
        return true;
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        write_text(w, p, p->text);
        return true;
    case IR_IMAGE:
        return write_image(w, p, e);
    case IR_FILE:
        return write_document(c, w, p, e);
    case IR_REASONING:
        write_reasoning(w, p);
        return true;
    case IR_TOOL_CALL:
        write_call(c, w, p);
        return true;
    case IR_TOOL_RESULT:
        return write_result(c, w, p, e);
    case IR_OPAQUE:
        jw_val(w, p->raw);
        return true;
    case IR_AUDIO:
    case IR_VIDEO:
        return true;
    }
    return true;
}

/* ---- messages ---- */
/* The last assistant text is a prefill: white space at its end is refused. Done on the copy. */
static void trim_prefill(struct ir_request *r)
{
    struct ir_message *last = r->messages.last;
    if (!last || last->role != IR_ASSISTANT || !last->parts.last ||
        last->parts.last->kind != IR_TEXT)
        return;
    struct str *text = &last->parts.last->text;
    while (text->n && strchr(" \t\r\n\f\v", text->p[text->n - 1]))
        text->n--;
}

static void drop_text_after_calls(struct wire_ctx *c, struct ir_message *m)
{
    bool has_call = false;
    for (struct ir_part *p = m->parts.first; p; p = p->next) {
        has_call |= p->kind == IR_TOOL_CALL;
        if (has_call && p->kind == IR_TEXT && p->text.n) {
            p->text = STR_NONE;
            wire_drop(c, "text behind a tool call is not accepted", "text");
        }
    }
}

static bool has_content(struct wire_ctx *c, const struct ir_message *m)
{
    for (const struct ir_part *p = m->parts.first; p; p = p->next)
        if (is_sayable(c, p))
            return true;
    return false;
}

static void write_filler(struct jw *w)
{
    jw_object(w);
    jw_kv_cstr(w, "role", "user");
    jw_kv_cstr(w, "content", ".");
    jw_object_end(w);
}

static const char *role_text(enum ir_role role)
{
    switch (role) {
    case IR_ASSISTANT:
        return "assistant";
    case IR_SYSTEM:
        return "system";
    case IR_USER:
    case IR_TOOL:
        return "user";
    }
    return "user";
}

static bool write_message(struct wire_ctx *c, struct jw *w, const struct ir_message *m,
                          struct err *e)
{
    const struct ir_part *p = m->parts.first;
    bool ok = true;
    jw_object(w);
    jw_kv_cstr(w, "role", role_text(m->role));
    if (p && !p->next && p->kind == IR_TEXT && !p->cache.is_set && !p->citations) {
        jw_kv_str(w, "content", p->text);
    } else {
        jw_key(w, "content");
        jw_array(w);
        for (; p && ok; p = p->next)
            ok = write_part(c, w, p, e);
        jw_array_end(w);
    }
    jw_object_end(w);
    return ok;
}

static bool write_messages(struct wire_ctx *c, struct jw *w, struct ir_request *r, struct err *e)
{
    bool has_user = false, is_first = true, ok = true;
    trim_prefill(r);
    jw_key(w, "messages");
    jw_array(w);
    for (struct ir_message *m = r->messages.first; m && ok; m = m->next) {
        if (c->quirks & QUIRK_TEXT_AFTER_TOOL && m->role == IR_ASSISTANT)
            drop_text_after_calls(c, m);
        if (!has_content(c, m))
            continue;
        if (is_first && m->role == IR_ASSISTANT && c->quirks & QUIRK_ALTERNATION_FILLER)
            write_filler(w);
        is_first = false;
        has_user |= m->role == IR_USER || m->role == IR_TOOL;
        ok = write_message(c, w, m, e);
    }
    jw_array_end(w);
    if (ok && !has_user)
        return err_field(e, "messages", "messages: at least one user message is required");
    return ok;
}

static void write_system(struct jw *w, const struct ir_request *r, struct str instruction)
{
    const struct ir_system *only = r->system;
    unsigned n = instruction.n > 0;
    for (const struct ir_system *s = r->system; s; s = s->next)
        if (s->text.n) {
            n++;
            only = s;
        }
    if (!n)
        return;
    if (n == 1 && (instruction.n || !only->cache.is_set)) {
        jw_kv_str(w, "system", instruction.n ? instruction : only->text);
        return;
    }
    jw_key(w, "system");
    jw_array(w);
    for (const struct ir_system *s = r->system; s; s = s->next)
        if (s->text.n)
            write_text(w, &(struct ir_part){.kind = IR_TEXT, .cache = s->cache}, s->text);
    if (instruction.n)
        write_text(w, &(struct ir_part){.kind = IR_TEXT}, instruction);
    jw_array_end(w);
}

/* ---- tools ---- */
/* input_schema must be an object schema with type and properties. */
static void write_input_schema(struct wire_ctx *c, struct jw *w, yyjson_val *schema, bool is_gemini)
{
    unsigned flags = c->quirks & QUIRK_SCHEMA_INLINE_REFS ? SCHEMA_INLINE_REFS : 0;
    jw_key(w, "input_schema");
    if (is_gemini && schema_from_gemini(c->arena, schema, w))
        return;
    if (!schema_clean(c->arena, schema, SCHEMA_ANTHROPIC, flags, w))
        jw_raw(w, STR("{\"type\":\"object\",\"properties\":{}}"));
}

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

static void write_tool(struct wire_ctx *c, struct jw *w, const struct ir_tool *t)
{
    bool is_own = t->origin == WIRE_ANTHROPIC && t->raw;
    if (t->kind == IR_TOOL_HOSTED) {
        if (is_own) {
            jw_val(w, t->raw);
            return;
        }
        jw_object(w);
        jw_kv_str(w, "type", t->hosted_type);
        jw_kv_cstr(w, "name", "web_search");
        jw_object_end(w);
        return;
    }
    jw_object(w);
    jw_kv_str(w, "name", t->name);
    if (t->description.n)
        jw_kv_str(w, "description", t->description);
    write_input_schema(c, w, t->parameters, t->is_gemini_schema);
    if (t->has_strict && (is_own || c->quirks & QUIRK_STRUCTURED_OUTPUT))
        jw_kv_bool(w, "strict", t->strict);
    else if (t->has_strict && t->strict)
        wire_drop(c, "the model does not hold itself to schemas", "tools.strict");
    if (is_own)
        write_others(w, t->raw, tool_members, ARRAY_LEN(tool_members));
    write_cache(w, &t->cache);
    jw_object_end(w);
}

static bool is_tool_allowed(const struct ir_request *r, const struct ir_tool *t)
{
    if (r->choice != IR_CHOICE_ALLOWED)
        return true;
    for (unsigned i = 0; i < r->choice_allowed.n; i++)
        if (str_eq(r->choice_allowed.v[i], t->name))
            return true;
    return false;
}

static void write_json_tool(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    jw_key(w, "tools");
    jw_array(w);
    jw_object(w);
    jw_kv_cstr(w, "name", JSON_TOOL);
    if (r->format_description.n)
        jw_kv_str(w, "description", r->format_description);
    else
        jw_kv_cstr(w, "description", "Gives the answer as JSON.");
    write_input_schema(c, w, r->format_schema, r->is_gemini_format_schema);
    jw_object_end(w);
    jw_array_end(w);
    JW(w, "tool_choice", raw, STR("{\"type\":\"tool\",\"name\":\"" JSON_TOOL "\"}"));
}

static void write_choice(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                         bool is_thinking)
{
    enum ir_choice_mode mode = r->choice;
    if (mode == IR_CHOICE_ALLOWED)
        mode = r->is_allowed_any ? IR_CHOICE_ANY : IR_CHOICE_AUTO;
    if (mode == IR_CHOICE_TOOL && !r->choice_tool.n)
        mode = IR_CHOICE_ANY;
    if (is_thinking && (mode == IR_CHOICE_ANY || mode == IR_CHOICE_TOOL)) {
        mode = IR_CHOICE_AUTO;
        wire_drop(c, "thinking forbids a forced tool; auto was sent", "tool_choice");
    }
    if (mode == IR_CHOICE_UNSET) {
        if (!r->has_disable_parallel || !r->disable_parallel)
            return;
        mode = IR_CHOICE_AUTO;
    }
    jw_key(w, "tool_choice");
    jw_object(w);
    jw_kv_cstr(w, "type", word_text(choice_words, mode, "auto"));
    if (mode == IR_CHOICE_TOOL)
        jw_kv_str(w, "name", r->choice_tool);
    if (r->has_disable_parallel && mode != IR_CHOICE_NONE)
        jw_kv_bool(w, "disable_parallel_tool_use", r->disable_parallel);
    jw_object_end(w);
}

static void write_tools(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                        bool is_thinking)
{
    if (!r->tools)
        return;
    jw_key(w, "tools");
    jw_array(w);
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        if (is_tool_allowed(r, t))
            write_tool(c, w, t);
    jw_array_end(w);
    write_choice(c, w, r, is_thinking);
}

/* ---- the rest ---- */
static bool number_above(yyjson_val *v, double limit)
{
    double d;
    return json_double(v, &d) && d > limit;
}

static bool number_is(yyjson_val *v, double wanted)
{
    double d;
    return json_double(v, &d) && d >= wanted && d <= wanted;
}

static void write_sampling(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                           bool is_thinking)
{
    bool is_foreign = r->origin != WIRE_ANTHROPIC, has_temperature = false;
    if (r->temperature && wire_takes(c, "temperature")) {
        if (is_thinking && !number_is(r->temperature, 1)) {
            wire_drop(c, "thinking allows only 1", "temperature");
        } else if (number_above(r->temperature, 1)) {
            JW(w, "temperature", int, 1);
            has_temperature = true;
            wire_drop(c, "at most 1 is allowed; 1 was sent", "temperature");
        } else {
            jw_kv_val(w, "temperature", r->temperature);
            has_temperature = true;
        }
    }
    if (r->top_p && wire_takes(c, "top_p")) {
        if (is_thinking && !number_above(r->top_p, 0.9499999))
            wire_drop(c, "thinking allows only 0.95 to 1", "top_p");
        else if (has_temperature && is_foreign)
            wire_drop(c, "some models refuse it beside temperature", "top_p");
        else
            jw_kv_val(w, "top_p", r->top_p);
    }
    if (r->top_k && wire_takes(c, "top_k")) {
        if (is_thinking)
            wire_drop(c, "thinking does not allow it", "top_k");
        else
            jw_kv_val(w, "top_k", r->top_k);
    }
}

static void write_stop(struct wire_ctx *c, struct jw *w, const struct ir_strs *stop)
{
    bool has_any = false;
    for (unsigned i = 0; i < stop->n; i++) {
        if (str_trim(stop->v[i]).n == 0) {
            wire_drop(c, "sequences of white space are refused", "stop[%u]", i);
            continue;
        }
        if (!has_any) {
            jw_key(w, "stop_sequences");
            jw_array(w);
            has_any = true;
        }
        jw_str(w, stop->v[i]);
    }
    if (has_any)
        jw_array_end(w);
}

static void write_thinking(struct jw *w, const struct ir_request *r, const struct thinking *t)
{
    struct str display = r->origin == WIRE_ANTHROPIC
                             ? json_get_str(json_get(r->raw, "thinking"), "display")
                             : STR_NONE;
    if (t->kind == THINKING_UNSET)
        return;
    jw_key(w, "thinking");
    jw_object(w);
    if (t->kind == THINKING_OFF) {
        jw_kv_cstr(w, "type", "disabled");
    } else if (t->kind == THINKING_ADAPTIVE) {
        jw_kv_cstr(w, "type", "adaptive");
    } else {
        jw_kv_cstr(w, "type", "enabled");
        jw_kv_int(w, "budget_tokens", t->budget);
    }
    if (display.n && thinks(t))
        jw_kv_str(w, "display", display);
    jw_object_end(w);
}

enum json_way {
    JSON_FREE,
    JSON_NATIVE,
    JSON_BY_TOOL,
    JSON_BY_TEXT
};

static enum json_way plan_format(struct wire_ctx *c, const struct ir_request *r,
                                 const struct thinking *t)
{
    struct str type = json_get_str(r->format_schema, "type");
    if (r->format != IR_FORMAT_JSON_OBJECT && r->format != IR_FORMAT_JSON_SCHEMA)
        return JSON_FREE;
    if (r->format == IR_FORMAT_JSON_SCHEMA && r->format_schema &&
        (c->quirks & QUIRK_STRUCTURED_OUTPUT || r->origin == WIRE_ANTHROPIC))
        return JSON_NATIVE;
    if (!r->tools && !thinks(t) && (!r->format_schema || str_eq_nocase(type, STR("object"))))
        return JSON_BY_TOOL;
    return JSON_BY_TEXT;
}

static void write_output_config(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                                const struct thinking *t, enum json_way way)
{
    static const char *const known[] = {"effort", "format"};
    yyjson_val *own = r->origin == WIRE_ANTHROPIC ? json_get(r->raw, "output_config") : NULL;
    if (!t->effort && way != JSON_NATIVE && !yyjson_is_obj(own))
        return;
    jw_key(w, "output_config");
    jw_object(w);
    if (t->effort)
        jw_kv_cstr(w, "effort", t->effort);
    if (way == JSON_NATIVE) {
        jw_key(w, "format");
        jw_object(w);
        jw_kv_cstr(w, "type", "json_schema");
        jw_key(w, "schema");
        if (!r->is_gemini_format_schema || !schema_from_gemini(c->arena, r->format_schema, w))
            jw_val(w, r->format_schema);
        jw_object_end(w);
    }
    write_others(w, own, known, ARRAY_LEN(known));
    jw_object_end(w);
}

static void write_metadata(struct wire_ctx *c, struct jw *w, const struct ir_request *r)
{
    if (r->origin == WIRE_ANTHROPIC && yyjson_is_obj(json_get(r->raw, "metadata"))) {
        jw_kv_val(w, "metadata", json_get(r->raw, "metadata"));
    } else if (r->user.n) {
        jw_key(w, "metadata");
        jw_object(w);
        jw_kv_str(w, "user_id", r->user);
        jw_object_end(w);
    }
    if (str_is(r->service_tier, "auto"))
        jw_kv_cstr(w, "service_tier", "auto");
    else if (str_is(r->service_tier, "default") || str_is(r->service_tier, "standard_only"))
        jw_kv_cstr(w, "service_tier", "standard_only");
    else if (r->service_tier.n)
        wire_drop(c, "no such tier", "service_tier");
}

/* A client of this format that writes role system inside of messages knows that its model takes it. */
static enum wire_system_mode mid_system(const struct wire_ctx *c, const struct ir_request *req)
{
    if (c->quirks & QUIRK_HOIST_SYSTEM)
        return WIRE_SYSTEM_HOIST;
    if (req->origin == WIRE_ANTHROPIC)
        return WIRE_SYSTEM_KEEP;
    return c->quirks & QUIRK_MID_SYSTEM ? WIRE_SYSTEM_BEHIND_USER : WIRE_SYSTEM_FOLD;
}

static bool write_request(struct wire_ctx *c, const struct ir_request *req, struct buf *out,
                          struct err *e)
{
    const struct wire_needs needs = {
        .target = WIRE_ANTHROPIC,
        .mid_system = mid_system(c, req),
        .ids = WIRE_IDS_ANTHROPIC,
        .names = WIRE_NAMES_ANTHROPIC,
        .pairs_tools = true,
        .merges_roles = true,
        .results_in_user = true,
        .drops_empty_text = true,
        .web_search = "web_search_20250305",
        .says_media = is_sayable,
    };
    if (req->n > 1)
        return err_unsupported(e, "n", "n: this model gives one choice at a time");
    struct ir_request *r = wire_prepare(c, req, &needs, e);
    if (!r)
        return false;
    struct thinking t = plan_thinking(c, r);
    enum json_way way = plan_format(c, r, &t);
    struct jw w = jw_on(out);
    limit_marks(c, r);
    wire_drop_lost(c, r, lost);
    c->is_json_tool = way == JSON_BY_TOOL;
    jw_object(&w);
    jw_kv_str(&w, "model", c->upstream_model.n ? c->upstream_model : r->model);
    jw_kv_int(&w, "max_tokens", t.max_tokens);
    write_system(&w, r, way == JSON_BY_TEXT ? wire_schema_instruction(c->arena, r) : STR_NONE);
    bool ok = write_messages(c, &w, r, e);
    if (way == JSON_BY_TOOL)
        write_json_tool(c, &w, r);
    else
        write_tools(c, &w, r, thinks(&t));
    write_thinking(&w, r, &t);
    write_output_config(c, &w, r, &t, way);
    write_sampling(c, &w, r, thinks(&t));
    write_stop(c, &w, &r->stop);
    write_metadata(c, &w, r);
    if (r->origin == WIRE_ANTHROPIC)
        write_others(&w, r->raw, request_members, ARRAY_LEN(request_members));
    if (c->is_stream)
        jw_kv_bool(&w, "stream", true);
    jw_object_end(&w);
    return ok;
}

/* ======================================================================== replies */

struct counts { /* as the format says them: input without cached tokens; -1 unknown */
    int64_t in, cache_read, cache_write, write_5m, write_1h, out, searches;
};

static int64_t at_least(int64_t old, int64_t now)
{
    return now > old ? now : old;
}

/* The counts of a stream are cumulative and may repeat or leave out fields: the larger one stands. */
static void fold_counts(struct ir_usage *u, const struct counts *n)
{
    int64_t cached = (u->cache_read > 0 ? u->cache_read : 0) +
                     (u->cache_write > 0 ? u->cache_write : 0);
    int64_t in = at_least(u->input_total < 0 ? -1 : u->input_total - cached, n->in);
    u->cache_read = at_least(u->cache_read, n->cache_read);
    u->cache_write = at_least(u->cache_write, n->cache_write);
    u->cache_write_5m = at_least(u->cache_write_5m, n->write_5m);
    u->cache_write_1h = at_least(u->cache_write_1h, n->write_1h);
    cached = (u->cache_read > 0 ? u->cache_read : 0) + (u->cache_write > 0 ? u->cache_write : 0);
    if (in >= 0 || cached > 0)
        u->input_total = (in > 0 ? in : 0) + cached;
    u->output_total = at_least(u->output_total, n->out);
    u->searches = at_least(u->searches, n->searches);
}

static void read_usage(yyjson_val *v, struct ir_usage *u)
{
    yyjson_val *creation = json_get(v, "cache_creation");
    struct counts n = {
        .in = wire_count(json_get(v, "input_tokens")),
        .cache_read = wire_count(json_get(v, "cache_read_input_tokens")),
        .cache_write = wire_count(json_get(v, "cache_creation_input_tokens")),
        .write_5m = wire_count(json_get(creation, "ephemeral_5m_input_tokens")),
        .write_1h = wire_count(json_get(creation, "ephemeral_1h_input_tokens")),
        .out = wire_count(json_get(v, "output_tokens")),
        .searches = wire_count(json_get(json_get(v, "server_tool_use"), "web_search_requests")),
    };
    int64_t service = ir_service_of(json_get_str(v, "service_tier"));
    if (yyjson_is_obj(v))
        fold_counts(u, &n);
    u->service = service >= 0 ? service : u->service;
}

static bool is_json_answer(const struct wire_ctx *c, struct str tool_name)
{
    return c->is_json_tool && str_is(tool_name, JSON_TOOL);
}

static void read_reply_block(struct wire_ctx *c, yyjson_val *v, struct ir_parts *parts)
{
    struct err ignored = ERR_INIT;
    struct str type = json_get_str(v, "type"), name = json_get_str(v, "name");
    if (str_is(type, "tool_use") && is_json_answer(c, name)) {
        ir_part_add(c->arena, parts, IR_TEXT)->text = json_text(c->arena, json_get(v, "input"));
        return;
    }
    if (str_is(type, "text") && json_get_str(v, "text").n == 0 && !json_get(v, "citations"))
        return;
    if (!read_block(c, v, "content", parts, &ignored))
        return;
    struct ir_part *p = parts->last;
    if (p->kind == IR_TOOL_CALL)
        p->name = wire_tool_name_back(c, p->name);
}

static enum ir_stop read_stop_reason(const struct wire_ctx *c, struct str reason)
{
    int stop = word_value(stop_words, reason, IR_STOP_END);
    return stop == IR_STOP_TOOL && c->is_json_tool ? IR_STOP_END : (enum ir_stop)stop;
}

static bool read_response(struct wire_ctx *c, yyjson_val *root, struct ir_response *out,
                          struct err *e)
{
    yyjson_val *content = json_get(root, "content"), *v;
    size_t i, n;
    *out = (struct ir_response){.usage = IR_USAGE_NONE, .origin = WIRE_ANTHROPIC};
    if (str_is(json_get_str(root, "type"), "error") || yyjson_is_obj(json_get(root, "error"))) {
        wire_read_error_value(c->arena, 0, root, e);
        return false;
    }
    if (!yyjson_is_arr(content))
        return err_set(e, ERR_UPSTREAM, "bad_upstream_reply",
                       "the upstream's reply has no content");
    struct ir_choice *choice = out->choices = ARENA_NEW(c->arena, struct ir_choice);
    choice->message.role = IR_ASSISTANT;
    yyjson_arr_foreach (content, i, n, v)
        read_reply_block(c, v, &choice->message.parts);
    out->id = json_get_str(root, "id");
    out->model = json_get_str(root, "model");
    choice->stop_raw = json_get_str(root, "stop_reason");
    choice->stop_sequence = json_get_str(root, "stop_sequence");
    choice->stop = ir_stop_overlay(read_stop_reason(c, choice->stop_raw), &choice->message);
    read_usage(json_get(root, "usage"), &out->usage);
    out->service_tier = json_get_str(json_get(root, "usage"), "service_tier");
    return true;
}

static const char *stop_text(const struct wire_ctx *c, enum ir_stop stop, struct str sequence,
                             bool has_calls)
{
    switch (stop) {
    case IR_STOP_TOOL:
        return "tool_use";
    case IR_STOP_LENGTH:
        return "max_tokens";
    case IR_STOP_FILTER:
    case IR_STOP_REFUSAL:
        return "refusal";
    case IR_STOP_PAUSE: /* only its own provider can take it up again */
        return c->upstream == WIRE_ANTHROPIC ? "pause_turn" : "end_turn";
    case IR_STOP_NONE:
    case IR_STOP_END:
    case IR_STOP_ERROR:
    case IR_STOP_CANCELLED:
        break;
    }
    if (sequence.n)
        return "stop_sequence";
    return has_calls ? "tool_use" : "end_turn";
}

/* The members of a usage object; with_input: whether the prompt's counts are told. */
static void write_usage(struct jw *w, const struct ir_usage *u, struct str service_tier)
{
    int64_t cached = (u->cache_read > 0 ? u->cache_read : 0) +
                     (u->cache_write > 0 ? u->cache_write : 0);
    int64_t in = ir_usage_in(u) - cached;
    jw_object(w);
    jw_kv_int(w, "input_tokens", in > 0 ? in : 0);
    if (u->cache_write >= 0)
        jw_kv_int(w, "cache_creation_input_tokens", u->cache_write);
    if (u->cache_read >= 0)
        jw_kv_int(w, "cache_read_input_tokens", u->cache_read);
    if (u->cache_write_5m >= 0 || u->cache_write_1h >= 0) {
        jw_key(w, "cache_creation");
        jw_object(w);
        jw_kv_int(w, "ephemeral_5m_input_tokens", u->cache_write_5m > 0 ? u->cache_write_5m : 0);
        jw_kv_int(w, "ephemeral_1h_input_tokens", u->cache_write_1h > 0 ? u->cache_write_1h : 0);
        jw_object_end(w);
    }
    jw_kv_int(w, "output_tokens", ir_usage_out(u));
    if (service_tier.n)
        jw_kv_str(w, "service_tier", service_tier);
    jw_object_end(w);
}

/* Citations of other formats in the shape that clients of this one know: of a page, since a document would have to be one of the
 * request's. text: it stands in; of a stream it is gone. */
static void write_citation(struct jw *w, const struct ir_citation *cite, struct str text)
{
    struct str cited = cite->cited_text;
    if (cite->origin == WIRE_ANTHROPIC && cite->raw) {
        jw_val(w, cite->raw);
        return;
    }
    if (cited.n == 0)
        cited = wire_chars_between(text, cite->start, cite->end);
    jw_object(w);
    jw_kv_cstr(w, "type", "web_search_result_location");
    jw_kv_str(w, "cited_text", cited);
    jw_kv_cstr(w, "encrypted_index", "");
    jw_kv_str(w, "title", cite->title);
    jw_kv_str(w, "url", cite->url);
    jw_object_end(w);
}

/* Thoughts are hidden from a client that asked so; a signed block keeps its place, without its text. */
static bool hides_thoughts(const struct wire_ctx *c)
{
    return c->req && c->req->has_include_thoughts && !c->req->include_thoughts;
}

static void write_reply_text(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    bool is_open = false;
    jw_object(w);
    jw_kv_cstr(w, "type", "text");
    jw_kv_str(w, "text", p->text);
    for (const struct ir_citation *cite = p->citations; cite; cite = cite->next) {
        if (!wire_answers_with_citation(c, cite))
            continue;
        if (!is_open) {
            jw_key(w, "citations");
            jw_array(w);
            is_open = true;
        }
        write_citation(w, cite, p->text);
    }
    if (is_open)
        jw_array_end(w);
    jw_object_end(w);
}

static void write_reply_part(struct wire_ctx *c, struct jw *w, const struct ir_part *p)
{
    struct ir_part shown = *p;
    switch (p->kind) {
    case IR_TEXT:
    case IR_REFUSAL:
        if (p->text.n || p->citations)
            write_reply_text(c, w, p);
        return;
    case IR_REASONING:
        if (hides_thoughts(c))
            shown.text = STR_NONE;
        if (p->origin != WIRE_ANTHROPIC)
            shown.signature = shown.redacted = STR_NONE;
        if (shown.text.n || shown.signature.n || shown.redacted.n)
            write_reasoning(w, &shown);
        return;
    case IR_TOOL_CALL:
        write_call(c, w, p);
        return;
    case IR_OPAQUE:
        if (p->origin == WIRE_ANTHROPIC && p->raw)
            jw_val(w, p->raw);
        return;
    case IR_IMAGE:
    case IR_FILE:
    case IR_AUDIO:
    case IR_VIDEO:
    case IR_TOOL_RESULT:
        wire_drop_media(c, p->kind);
        return;
    }
}

static void write_response(struct wire_ctx *c, const struct ir_response *res, struct buf *out)
{
    const struct ir_choice *choice = res->choices;
    bool has_calls = false;
    struct jw w = jw_on(out);
    if (choice && choice->next)
        wire_drop(c, "one choice at a time", "choices");
    jw_object(&w);
    jw_kv_str(&w, "id", wire_prefixed_id(c, res->id, "msg_"));
    jw_kv_cstr(&w, "type", "message");
    jw_kv_cstr(&w, "role", "assistant");
    jw_kv_str(&w, "model", wire_model_shown(c, res->model));
    jw_key(&w, "content");
    jw_array(&w);
    for (const struct ir_part *p = choice ? choice->message.parts.first : NULL; p; p = p->next) {
        has_calls |= p->kind == IR_TOOL_CALL;
        write_reply_part(c, &w, p);
    }
    jw_array_end(&w);
    struct str sequence = choice ? choice->stop_sequence : STR_NONE;
    if (choice && res->origin == WIRE_ANTHROPIC && choice->stop_raw.n && !c->is_json_tool)
        jw_kv_str(&w, "stop_reason", choice->stop_raw);
    else
        jw_kv_cstr(&w, "stop_reason",
                   stop_text(c, choice ? choice->stop : IR_STOP_END, sequence, has_calls));
    if (sequence.n)
        jw_kv_str(&w, "stop_sequence", sequence);
    else
        jw_kv_null(&w, "stop_sequence");
    jw_key(&w, "usage");
    write_usage(&w, &res->usage, STR_NONE);
    jw_object_end(&w);
}

static void write_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    jw_object(&w);
    jw_kv_cstr(&w, "type", "error");
    jw_key(&w, "error");
    jw_object(&w);
    jw_kv_cstr(&w, "type", wire_anthropic_error_type(e));
    jw_kv_cstr(&w, "message", e->message);
    jw_object_end(&w);
    if (request_id.n)
        jw_kv_str(&w, "request_id", request_id);
    else
        jw_kv_null(&w, "request_id");
    jw_object_end(&w);
}

/* ======================================================================== stream of an upstream */

/* Whether arguments seen so far are one whole JSON object, told by counting brackets outside strings. */
struct args_state {
    int depth;
    bool in_string, is_escaped, is_whole;
};

static void args_scan(struct args_state *s, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        if (s->in_string) {
            if (s->is_escaped)
                s->is_escaped = false;
            else if (ch == '\\')
                s->is_escaped = true;
            else if (ch == '"')
                s->in_string = false;
        } else if (ch == '"') {
            s->in_string = true;
        } else if (ch == '{' || ch == '[') {
            s->depth++;
        } else if (ch == '}' || ch == ']') {
            s->depth--;
            s->is_whole = s->depth == 0;
        }
    }
}

struct held { /* an event of a block that must wait for the open one */
    struct held *next;
    int64_t index;
    struct str data;
};

struct cited { /* waits for the end of its block, to know how long that is */
    struct cited *next;
    struct str json;
};

struct decoder {
    struct wire_ctx *c;
    struct flow flow;
    struct cited *cited, **cited_tail;
    int64_t n_chars;        /* of the open text */
    int64_t live;           /* upstream's index of the open block; -1: none */
    enum ir_part_kind kind; /* of the open block */
    bool is_json;           /* it is the forced tool: its arguments are the text */
    struct args_state args; /* of an open call */
    struct held *held, **held_tail;
    size_t held_bytes;
    unsigned held_frames;
    struct ir_usage usage;
};

static void *decoder_new(struct wire_ctx *c)
{
    struct decoder *d = ARENA_NEW(c->arena, struct decoder);
    d->c = c;
    d->live = -1;
    d->usage = IR_USAGE_NONE;
    d->held_tail = &d->held;
    d->cited_tail = &d->cited;
    flow_init(&d->flow, c);
    return d;
}

static void say_text(struct decoder *d, struct str text)
{
    d->n_chars += wire_chars(text);
    flow_text(&d->flow, 0, IR_TEXT, text);
}

static void say_citation(struct decoder *d, yyjson_val *v)
{
    flow_event(&d->flow, 0,
               &(struct ir_event){.kind = IR_EV_CITATION,
                                  .citation = read_citation(d->c->scratch, v, d->n_chars)});
}

static void take_citation(struct decoder *d, yyjson_val *v)
{
    if (d->c->client == WIRE_ANTHROPIC) { /* needs no place, and has its order */
        say_citation(d, v);
        return;
    }
    struct cited *x = ARENA_NEW(d->c->arena, struct cited);
    x->json = json_text(d->c->arena, v);
    *d->cited_tail = x;
    d->cited_tail = &x->next;
}

static void close_block(struct decoder *d)
{
    const struct flow_choice *f = &d->flow.choices[0];
    for (struct cited *x = d->cited; x; x = x->next) {
        yyjson_val *v;
        if (f->is_open && f->kind == IR_TEXT && json_parse(d->c->scratch, x->json, 0, &v, NULL))
            say_citation(d, v);
        else
            wire_drop(d->c, "they belong to no text", "citations");
    }
    d->cited = NULL;
    d->cited_tail = &d->cited;
    d->n_chars = 0;
    flow_close(&d->flow, 0);
}

static bool is_waiting(const struct decoder *d, int64_t index)
{
    for (const struct held *h = d->held; h; h = h->next)
        if (h->index == index)
            return true;
    return false;
}

static bool hold(struct decoder *d, int64_t index, struct str data, struct err *e)
{
    d->held_bytes += data.n;
    if (d->held_bytes > HELD_MAX || ++d->held_frames > HELD_FRAMES_MAX)
        return err_set(e, ERR_UPSTREAM, "bad_upstream_stream",
                       "the upstream's blocks are interleaved beyond all bounds");
    struct held *h = ARENA_NEW(d->c->arena, struct held);
    h->index = index;
    h->data = str_dup(d->c->arena, data);
    *d->held_tail = h;
    d->held_tail = &h->next;
    return true;
}

static bool must_wait(const struct decoder *d, int64_t index)
{
    if (d->live == index || d->live < 0)
        return false;
    return is_waiting(d, index) || (d->kind == IR_TOOL_CALL && !d->args.is_whole);
}

static void open_call(struct decoder *d, yyjson_val *block)
{
    yyjson_val *input = json_get(block, "input");
    struct str name = json_get_str(block, "name");
    d->args = (struct args_state){0};
    d->is_json = is_json_answer(d->c, name);
    d->kind = IR_TOOL_CALL;
    if (!d->is_json)
        flow_open(&d->flow, 0, IR_TOOL_CALL,
                  &(struct ir_event){.call_id = json_get_str(block, "id"),
                                     .name = wire_tool_name_back(d->c, name)});
    if (!yyjson_is_obj(input) || yyjson_obj_size(input) == 0)
        return;
    struct str text = json_text(d->c->scratch, input); /* some give the whole input at once */
    args_scan(&d->args, text);
    if (d->is_json)
        flow_text(&d->flow, 0, IR_TEXT, text);
    else
        flow_args(&d->flow, 0, text);
}

static void signature(struct decoder *d, struct str s)
{
    if (s.n == 0)
        return; /* llama-server sends empty ones */
    flow_open(&d->flow, 0, IR_REASONING, NULL);
    flow_event(&d->flow, 0, &(struct ir_event){.kind = IR_EV_REASONING, .signature = s});
}

static void citations(struct decoder *d, yyjson_val *list)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach (list, i, n, v)
        take_citation(d, v);
}

static void block_start(struct decoder *d, int64_t index, yyjson_val *block)
{
    struct str type = json_get_str(block, "type");
    close_block(d); /* the end of the one before may come late or never */
    d->live = index;
    d->is_json = false;
    if (str_is(type, "text")) {
        d->kind = IR_TEXT;
        flow_open(&d->flow, 0, IR_TEXT, NULL);
        say_text(d, json_get_str(block, "text"));
        citations(d, json_get(block, "citations"));
    } else if (str_is(type, "thinking")) {
        d->kind = IR_REASONING;
        flow_open(&d->flow, 0, IR_REASONING, NULL);
        flow_text(&d->flow, 0, IR_REASONING, json_get_str(block, "thinking"));
        signature(d, json_get_str(block, "signature"));
    } else if (str_is(type, "redacted_thinking")) {
        d->kind = IR_REASONING;
        flow_open(&d->flow, 0, IR_REASONING,
                  &(struct ir_event){.redacted = json_get_str(block, "data")});
    } else if (str_is(type, "tool_use")) {
        open_call(d, block);
    } else {
        d->kind = IR_OPAQUE;
        flow_open(&d->flow, 0, IR_OPAQUE, &(struct ir_event){.raw = block});
    }
}

static void args_delta(struct decoder *d, struct str fragment)
{
    if (d->kind == IR_OPAQUE) {
        if (fragment.n && d->flow.choices[0].is_open)
            flow_event(&d->flow, 0,
                       &(struct ir_event){
                           .kind = IR_EV_TOOL_ARGS, .part_kind = IR_OPAQUE, .text = fragment});
        return;
    }
    if (d->kind != IR_TOOL_CALL)
        return; /* a call that never started has no name */
    args_scan(&d->args, fragment);
    if (d->is_json)
        flow_text(&d->flow, 0, IR_TEXT, fragment);
    else
        flow_args(&d->flow, 0, fragment);
}

static void block_delta(struct decoder *d, int64_t index, yyjson_val *delta)
{
    struct str type = json_get_str(delta, "type");
    bool is_live = d->live == index;
    if (str_is(type, "text_delta")) {
        say_text(d, json_get_str(delta, "text"));
        d->kind = IR_TEXT;
    } else if (str_is(type, "thinking_delta")) {
        flow_text(&d->flow, 0, IR_REASONING, json_get_str(delta, "thinking"));
        d->kind = IR_REASONING;
    } else if (str_is(type, "signature_delta")) {
        if (is_live || d->kind == IR_REASONING)
            signature(d, json_get_str(delta, "signature"));
    } else if (str_is(type, "input_json_delta")) {
        if (is_live)
            args_delta(d, json_get_str(delta, "partial_json"));
        return;
    } else if (str_is(type, "citations_delta")) {
        flow_open(&d->flow, 0, IR_TEXT, NULL);
        d->kind = IR_TEXT;
        take_citation(d, json_get(delta, "citation"));
    } else {
        return;
    }
    if (d->flow.choices[0].is_open) /* a delta of a block that never started starts it */
        d->live = index;
}

static bool handle_block(struct decoder *d, struct str type, yyjson_val *root, struct str data,
                         struct err *e)
{
    int64_t index = json_get_int(root, "index", d->live < 0 ? 0 : d->live);
    if (index < 0)
        return err_set(e, ERR_UPSTREAM, "bad_upstream_stream",
                       "a block of the stream has a negative index");
    if (must_wait(d, index))
        return hold(d, index, data, e);
    if (str_is(type, "content_block_start")) {
        block_start(d, index, json_get(root, "content_block"));
    } else if (str_is(type, "content_block_delta")) {
        block_delta(d, index, json_get(root, "delta"));
    } else if (index == d->live) {
        close_block(d);
        d->live = -1;
    }
    return true;
}

/* Plays the events that waited; those of further blocks wait again. force: the open block will not end by itself. */
static bool release(struct decoder *d, bool force, struct err *e)
{
    while (d->held && (force || d->live < 0)) {
        struct held *h = d->held;
        d->held = NULL;
        d->held_tail = &d->held;
        d->held_bytes = d->held_frames = 0;
        close_block(d);
        d->live = -1;
        for (; h; h = h->next) {
            yyjson_val *root;
            if (!json_parse(d->c->scratch, h->data, 0, &root, e) ||
                !handle_block(d, json_get_str(root, "type"), root, h->data, e))
                return false;
        }
    }
    return true;
}

static bool finish(struct decoder *d, yyjson_val *root, struct err *e)
{
    yyjson_val *delta = json_get(root, "delta");
    struct str reason = json_get_str(delta, "stop_reason");
    if (!release(d, true, e))
        return false;
    if (json_get(root, "usage")) {
        read_usage(json_get(root, "usage"), &d->usage);
        flow_usage(&d->flow, &d->usage);
    }
    if (d->cited)
        close_block(d);
    if (reason.n)
        flow_finish(&d->flow, 0, read_stop_reason(d->c, reason),
                    json_get_str(delta, "stop_sequence"));
    return true;
}

static void start(struct decoder *d, yyjson_val *message)
{
    read_usage(json_get(message, "usage"), &d->usage);
    flow_start_event(&d->flow, &(struct ir_event){.id = json_get_str(message, "id"),
                                                  .model = json_get_str(message, "model"),
                                                  .usage = d->usage});
    flow_usage(&d->flow, &d->usage);
}

static bool handle(struct decoder *d, struct str event, struct str data, struct err *e)
{
    yyjson_val *root;
    if (!flow_read(&d->flow, data, &root, e)) {
        if (e)
            e->kind = ERR_UPSTREAM;
        return false;
    }
    struct str type = json_get_str(root, "type");
    if (type.n == 0)
        type = event;
    if (str_starts(type, STR("content_block_")))
        return handle_block(d, type, root, data, e) && release(d, false, e);
    if (str_is(type, "message_start")) {
        start(d, json_get(root, "message"));
    } else if (str_is(type, "message_delta")) {
        return finish(d, root, e);
    } else if (str_is(type, "message_stop")) {
        if (!release(d, true, e))
            return false;
        flow_end(&d->flow, true);
    } else if (str_is(type, "ping")) {
        d->flow.emit(d->flow.arg, &(struct ir_event){.kind = IR_EV_PING});
    } else if (str_is(type, "error") || json_get(root, "error")) {
        struct err upstream = ERR_INIT;
        wire_read_error_value(d->c->scratch, 0, root, &upstream);
        flow_error(&d->flow, &upstream);
    }
    return true;
}

static bool decoder_push(void *dec, struct str event, struct str data, wire_sink_fn *emit,
                         void *arg, struct err *e)
{
    struct decoder *d = dec;
    flow_on(&d->flow, emit, arg);
    if (d->flow.is_ended || str_is(data, "[DONE]"))
        return true;
    return handle(d, event, data, e);
}

static void decoder_end(void *dec, wire_sink_fn *emit, void *arg)
{
    struct decoder *d = dec;
    struct err ignored = ERR_INIT;
    flow_on(&d->flow, emit, arg);
    if (!d->flow.is_ended)
        (void)release(d, true, &ignored);
    flow_end(&d->flow, false);
}

/* ======================================================================== stream to a client */

struct encoder {
    struct wire_ctx *c;
    bool is_started, is_ended, hides_thoughts, has_calls;
    bool is_open;           /* content_block_start was sent */
    enum ir_part_kind kind; /* of the block announced by the decoder */
    int64_t index;          /* of the next content block; of the open one when is_open */
    struct ir_usage usage;
    enum ir_stop stop;
    struct str stop_sequence;
};

static void *encoder_new(struct wire_ctx *c)
{
    struct encoder *s = ARENA_NEW(c->arena, struct encoder);
    s->c = c;
    s->usage = IR_USAGE_NONE;
    s->hides_thoughts = hides_thoughts(c);
    return s;
}

static void frame_end(struct buf *out)
{
    buf_lit(out, "\n\n");
}

static void message_start(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct jw w = jw_on(out);
    struct ir_usage usage = s->usage;
    if (s->is_started)
        return;
    s->is_started = true;
    if (usage.input_total < 0 && s->c->req) /* corrected by message_delta */
        usage.input_total = ir_estimate_tokens(s->c->req);
    usage.output_total = 0;
    buf_lit(out, "event: message_start\ndata: ");
    jw_object(&w);
    jw_kv_cstr(&w, "type", "message_start");
    jw_key(&w, "message");
    jw_object(&w);
    jw_kv_str(&w, "id", wire_prefixed_id(s->c, ev->id, "msg_"));
    jw_kv_cstr(&w, "type", "message");
    jw_kv_cstr(&w, "role", "assistant");
    jw_kv_str(&w, "model", wire_model_shown(s->c, ev->model));
    JW(&w, "content", raw, STR("[]"));
    jw_kv_null(&w, "stop_reason");
    jw_kv_null(&w, "stop_sequence");
    jw_key(&w, "usage");
    write_usage(&w, &usage, STR_NONE);
    jw_object_end(&w);
    jw_object_end(&w);
    frame_end(out);
}

static void start_frame(struct encoder *s, struct buf *out)
{
    s->is_open = true;
    buf_lit(out, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
    buf_int(out, s->index);
    buf_lit(out, ",\"content_block\":");
}

static void start_end(struct buf *out)
{
    buf_lit(out, "}\n\n");
}

/* Text and thinking blocks start with their first content: clients would send empty ones back. */
static void need_block(struct encoder *s, struct buf *out)
{
    if (s->is_open)
        return;
    start_frame(s, out);
    if (s->kind == IR_REASONING)
        buf_lit(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    else
        buf_lit(out, "{\"type\":\"text\",\"text\":\"\"}");
    start_end(out);
}

static void delta_frame(struct encoder *s, const char *members, size_t n, struct buf *out)
{
    buf_lit(out, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    buf_int(out, s->index);
    buf_lit(out, ",\"delta\":");
    buf_add(out, members, n);
}

#define DELTA(s, out, members) delta_frame((s), members, sizeof(members) - 1, (out))

static void text_delta_end(const struct ir_event *ev, struct buf *out)
{
    wire_put_text(out, ev);
    buf_lit(out, "\"}}\n\n");
}

static void block_end(struct encoder *s, struct buf *out)
{
    if (!s->is_open)
        return;
    buf_lit(out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    buf_int(out, s->index++);
    buf_lit(out, "}\n\n");
    s->is_open = false;
}

static void begin_call(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    struct jw w = jw_on(out);
    start_frame(s, out);
    jw_object(&w);
    jw_kv_cstr(&w, "type", "tool_use");
    jw_kv_str(&w, "id", ev->call_id.n ? ev->call_id : wire_make_id(s->c, "toolu_", 24));
    jw_kv_str(&w, "name", ev->name);
    JW(&w, "input", raw, STR("{}"));
    jw_object_end(&w);
    start_end(out);
}

static void begin_block(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    block_end(s, out);
    s->kind = ev->part_kind;
    if (s->kind == IR_TOOL_CALL) {
        s->has_calls = true;
        begin_call(s, ev, out);
    } else if (s->kind == IR_REASONING && ev->redacted.n && s->c->upstream == WIRE_ANTHROPIC) {
        start_frame(s, out);
        buf_lit(out, "{\"type\":\"redacted_thinking\",\"data\":\"");
        json_escape(out, ev->redacted);
        buf_lit(out, "\"}");
        start_end(out);
    } else if (s->kind == IR_OPAQUE && ev->raw && s->c->upstream == WIRE_ANTHROPIC) {
        struct jw w = jw_on(out);
        start_frame(s, out);
        jw_val(&w, ev->raw);
        start_end(out);
    }
}

static void put_reasoning(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    if (ev->text.n && !s->hides_thoughts) {
        need_block(s, out);
        DELTA(s, out, "{\"type\":\"thinking_delta\",\"thinking\":\"");
        text_delta_end(ev, out);
    }
    if (ev->signature.n && s->c->upstream == WIRE_ANTHROPIC) {
        need_block(s, out);
        DELTA(s, out, "{\"type\":\"signature_delta\",\"signature\":\"");
        text_delta_end(&(struct ir_event){.text = ev->signature}, out);
    }
}

static void put_citation(struct encoder *s, const struct ir_event *ev, struct buf *out)
{
    const struct ir_citation *cite = ev->citation;
    struct jw w = jw_on(out);
    if (!wire_answers_with_citation(s->c, cite))
        return;
    if (ev->is_late) {
        wire_drop_late(s->c, ev);
        return;
    }
    need_block(s, out);
    DELTA(s, out, "{\"type\":\"citations_delta\",\"citation\":");
    write_citation(&w, cite, STR_NONE);
    buf_lit(out, "}}\n\n");
}

static void message_end(struct encoder *s, struct buf *out)
{
    struct jw w = jw_on(out);
    block_end(s, out);
    message_start(s, &(struct ir_event){0}, out);
    buf_lit(out, "event: message_delta\ndata: ");
    jw_object(&w);
    jw_kv_cstr(&w, "type", "message_delta");
    jw_key(&w, "delta");
    jw_object(&w);
    jw_kv_cstr(&w, "stop_reason", stop_text(s->c, s->stop, s->stop_sequence, s->has_calls));
    if (s->stop_sequence.n)
        jw_kv_str(&w, "stop_sequence", s->stop_sequence);
    else
        jw_kv_null(&w, "stop_sequence");
    jw_object_end(&w);
    jw_key(&w, "usage");
    write_usage(&w, &s->usage, STR_NONE);
    jw_object_end(&w);
    frame_end(out);
    buf_lit(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void encode_error(struct encoder *s, const struct err *e, struct buf *out)
{
    s->is_ended = true; /* after an error nothing follows, message_stop neither */
    buf_lit(out, "event: error\ndata: ");
    write_error(e, STR_NONE, out);
    frame_end(out);
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
        if (ev->usage.input_total > 0)
            s->usage = ir_usage_merge(s->usage, ev->usage);
        message_start(s, ev, out);
        break;
    case IR_EV_BLOCK_START:
        begin_block(s, ev, out);
        break;
    case IR_EV_TEXT:
        if (!ev->text.n)
            break;
        need_block(s, out);
        DELTA(s, out, "{\"type\":\"text_delta\",\"text\":\"");
        text_delta_end(ev, out);
        break;
    case IR_EV_REASONING:
        put_reasoning(s, ev, out);
        break;
    case IR_EV_TOOL_ARGS:
        if (!ev->text.n || !s->is_open)
            break;
        DELTA(s, out, "{\"type\":\"input_json_delta\",\"partial_json\":\"");
        text_delta_end(ev, out);
        break;
    case IR_EV_CITATION:
        put_citation(s, ev, out);
        break;
    case IR_EV_BLOCK_END:
        block_end(s, out);
        break;
    case IR_EV_USAGE:
        s->usage = ir_usage_merge(s->usage, ev->usage);
        break;
    case IR_EV_FINISH:
        s->stop = ev->stop;
        s->stop_sequence = str_dup(s->c->arena, ev->stop_sequence);
        break;
    case IR_EV_ERROR:
        encode_error(s, ev->error, out);
        break;
    case IR_EV_END:
        message_end(s, out);
        s->is_ended = true;
        break;
    case IR_EV_PING:
        buf_lit(out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        break;
    case IR_EV_MEDIA:
        wire_drop_media(s->c, ev->part_kind);
        break;
    case IR_EV_LOGPROBS:
        break;
    }
}

/* ======================================================================== metering */

static struct str span_of(struct str data, const struct json_want *want)
{
    return want->span.n ? str_n(data.p + want->span.at, want->span.n) : STR_NONE;
}

static bool meter_usage(struct str usage, struct ir_usage *u)
{
    struct json_scan scan;
    struct json_want want[] = {
        {.key = "input_tokens"},
        {.key = "cache_read_input_tokens"},
        {.key = "cache_creation_input_tokens"},
        {.key = "output_tokens"},
        {.key = "cache_creation"},
        {.key = "server_tool_use"},
        {.key = "service_tier"},
    };
    struct json_want lifetimes[] = {{.key = "ephemeral_5m_input_tokens"},
                                    {.key = "ephemeral_1h_input_tokens"}};
    struct json_want tools[] = {{.key = "web_search_requests"}};
    if (!usage.n || !json_scan_object(usage, want, ARRAY_LEN(want), 0, &scan, NULL))
        return false;
    struct str creation = span_of(usage, &want[4]), tool_use = span_of(usage, &want[5]);
    if (!creation.n || creation.p[0] != '{' ||
        !json_scan_object(creation, lifetimes, ARRAY_LEN(lifetimes), 0, &scan, NULL))
        lifetimes[0].span.n = lifetimes[1].span.n = 0;
    if (!tool_use.n || tool_use.p[0] != '{' ||
        !json_scan_object(tool_use, tools, ARRAY_LEN(tools), 0, &scan, NULL))
        tools[0].span.n = 0;
    fold_counts(u, &(struct counts){.in = wire_count_in(usage, &want[0]),
                                    .cache_read = wire_count_in(usage, &want[1]),
                                    .cache_write = wire_count_in(usage, &want[2]),
                                    .write_5m = wire_count_in(creation, &lifetimes[0]),
                                    .write_1h = wire_count_in(creation, &lifetimes[1]),
                                    .out = wire_count_in(usage, &want[3]),
                                    .searches = wire_count_in(tool_use, &tools[0])});
    struct str tier = span_of(usage, &want[6]);
    int64_t service = tier.n > 2 ? ir_service_of(str_n(tier.p + 1, tier.n - 2)) : -1;
    u->service = service >= 0 ? service : u->service;
    return true;
}

static void meter_stop(struct str quoted, enum ir_stop *stop)
{
    if (quoted.n > 2 && quoted.p[0] == '"')
        *stop = (enum ir_stop)word_value(stop_words, str_n(quoted.p + 1, quoted.n - 2),
                                         IR_STOP_END);
}

static bool has_bracket(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("{}[]", s.p[i]))
            return true;
    return false;
}

/* A whole reply usually ends with its stop_reason and usage, side by side and with nothing but the end behind them: then the
 * rest need not be looked at. false: it does not. */
static bool meter_tail(struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    data = str_trim(data);
    size_t at = wire_last_value(data, STR("usage"));
    if (at >= data.n || data.p[at] != '{' || data.p[data.n - 1] != '}')
        return false;
    size_t reason = wire_last_value(str_first(data, at), STR("stop_reason"));
    if (reason >= at || has_bracket(str_n(data.p + reason, at - reason)))
        return false;
    /* an object by itself up to the last brace, so that this is the brace of what holds both */
    struct str text = str_n(data.p + at, data.n - 1 - at);
    struct str quoted = str_n(data.p + reason, at - reason);
    quoted = quoted.p[0] == '"' ? str_first(quoted, 2 + str_index(str_skip(quoted, 1), '"'))
                                : STR_NONE;
    if (!meter_usage(text, usage))
        return false;
    meter_stop(quoted, stop);
    return true;
}

static bool meter(struct str event, struct str data, struct ir_usage *usage, enum ir_stop *stop)
{
    struct json_scan scan;
    struct json_want want[] = {
        {.key = "usage"}, {.key = "message"}, {.key = "delta"}, {.key = "stop_reason"}};
    struct json_want inner[] = {{.key = "usage"}, {.key = "stop_reason"}};
    if (str_starts(event, STR("content_block_")) || str_is(event, "ping"))
        return false;
    if (str_is(event, "message_stop") || str_is(event, "error"))
        return true;
    if (event.n == 0 && meter_tail(data, usage, stop))
        return false;
    if (!str_contains(data, STR("\"usage\"")))
        return data.n < 64 && str_contains(data, STR("\"message_stop\""));
    if (!json_scan_object(data, want, ARRAY_LEN(want), 0, &scan, NULL))
        return false;
    meter_usage(span_of(data, &want[0]), usage);
    meter_stop(span_of(data, &want[3]), stop);
    for (size_t i = 1; i <= 2; i++) {
        struct str part = span_of(data, &want[i]);
        if (!part.n || !json_scan_object(part, inner, ARRAY_LEN(inner), 0, &scan, NULL))
            continue;
        int64_t told = usage->output_total;
        meter_usage(span_of(part, &inner[0]), usage);
        if (i == 1) /* as the message begins: "1 so far" says nothing of the reply */
            usage->output_total = told;
        meter_stop(span_of(part, &inner[1]), stop);
    }
    return false;
}

const struct wire wire_anthropic = {
    .id = WIRE_ANTHROPIC,
    .name = "anthropic",
    .framing = FRAMING_SSE,
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
    .keepalive = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    .meter = meter,
};
