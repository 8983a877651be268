#include "wire/openai.h"
#include "base/banned.h"
#include "base/codec.h"
#include "base/decimal.h"
#include "wire/schema.h"

/* ---- usage ---- */
static int64_t first_known(yyjson_val *a, yyjson_val *b)
{
    int64_t n = wire_count(a);
    return n >= 0 ? n : wire_count(b);
}

/* USD as OpenRouter has it, or in an object of Perplexity's; xAI counts in 10^-10. */
static int64_t stated_cost(yyjson_val *usd, yyjson_val *ticks)
{
    int64_t n;
    if (yyjson_is_obj(usd))
        usd = json_get(usd, "total_cost");
    if (json_is_number(usd) && decimal_parse(json_lexeme(usd), 9, &n))
        return n;
    n = json_int_or(ticks, -1);
    return n >= 0 ? n / 10 + (n % 10 >= 5) : -1;
}

struct ir_usage openai_usage(yyjson_val *v)
{
    enum {
        PROMPT,
        INPUT,
        COMPLETION,
        OUTPUT,
        TOTAL,
        HIT,
        PROMPT_DETAILS,
        INPUT_DETAILS,
        COMPLETION_DETAILS,
        OUTPUT_DETAILS,
        COST,
        TICKS,
        SEARCHES,
        SERVER_TOOLS,
        N
    };
    static const struct json_names names = {
        .n = N,
        JSON_NAME(PROMPT, "prompt_tokens"),
        JSON_NAME(INPUT, "input_tokens"),
        JSON_NAME(COMPLETION, "completion_tokens"),
        JSON_NAME(OUTPUT, "output_tokens"),
        JSON_NAME(TOTAL, "total_tokens"),
        JSON_NAME(HIT, "prompt_cache_hit_tokens"),
        JSON_NAME(PROMPT_DETAILS, "prompt_tokens_details"),
        JSON_NAME(INPUT_DETAILS, "input_tokens_details"),
        JSON_NAME(COMPLETION_DETAILS, "completion_tokens_details"),
        JSON_NAME(OUTPUT_DETAILS, "output_tokens_details"),
        JSON_NAME(COST, "cost"),
        JSON_NAME(TICKS, "cost_in_usd_ticks"),
        JSON_NAME(SEARCHES, "num_search_queries"),
        JSON_NAME(SERVER_TOOLS, "server_tool_use"),
    };
    enum {
        CACHED,
        CACHE_WRITE,
        CACHE_CREATION,
        REASONING,
        AUDIO,
        N_DETAILS
    };
    static const struct json_names details = {
        .n = N_DETAILS,
        JSON_NAME(CACHED, "cached_tokens"),
        JSON_NAME(CACHE_WRITE, "cache_write_tokens"),
        JSON_NAME(CACHE_CREATION, "cache_creation_tokens"),
        JSON_NAME(REASONING, "reasoning_tokens"),
        JSON_NAME(AUDIO, "audio_tokens"),
    };
    struct ir_usage u = IR_USAGE_NONE;
    yyjson_val *at[N], *in[N_DETAILS], *out[N_DETAILS];
    if (!yyjson_is_obj(v))
        return u;
    json_pick(v, &names, at);
    json_pick(at[PROMPT_DETAILS] ? at[PROMPT_DETAILS] : at[INPUT_DETAILS], &details, in);
    json_pick(at[COMPLETION_DETAILS] ? at[COMPLETION_DETAILS] : at[OUTPUT_DETAILS], &details, out);
    u.input_total = first_known(at[PROMPT], at[INPUT]);
    u.output_total = first_known(at[COMPLETION], at[OUTPUT]);
    u.total = wire_count(at[TOTAL]);
    u.cache_read = first_known(in[CACHED], at[HIT]);
    u.cache_write = first_known(in[CACHE_WRITE], in[CACHE_CREATION]);
    u.reasoning = wire_count(out[REASONING]);
    u.audio_in = wire_count(in[AUDIO]);
    u.audio_out = wire_count(out[AUDIO]);
    u.cost_nanousd = stated_cost(at[COST], at[TICKS]);
    u.searches = first_known(at[SEARCHES], json_get(at[SERVER_TOOLS], "web_search_requests"));
    ir_usage_settle(&u);
    return u;
}

static void kv_known(struct jw *w, const char *key, int64_t v)
{
    if (v >= 0)
        jw_kv_int(w, key, v);
}

void openai_write_chat_usage(struct jw *w, const struct ir_usage *u)
{
    jw_object(w);
    jw_kv_int(w, "prompt_tokens", ir_usage_in(u));
    jw_kv_int(w, "completion_tokens", ir_usage_out(u));
    jw_kv_int(w, "total_tokens", ir_usage_total(u));
    if (u->cache_read >= 0 || u->cache_write >= 0 || u->audio_in >= 0) {
        jw_key(w, "prompt_tokens_details");
        jw_object(w);
        kv_known(w, "cached_tokens", u->cache_read);
        kv_known(w, "cache_write_tokens", u->cache_write);
        kv_known(w, "audio_tokens", u->audio_in);
        jw_object_end(w);
    }
    if (u->reasoning >= 0 || u->audio_out >= 0) {
        jw_key(w, "completion_tokens_details");
        jw_object(w);
        kv_known(w, "reasoning_tokens", u->reasoning);
        kv_known(w, "audio_tokens", u->audio_out);
        jw_object_end(w);
    }
    jw_object_end(w);
}

void openai_write_responses_usage(struct jw *w, const struct ir_usage *u)
{
    jw_object(w);
    jw_kv_int(w, "input_tokens", ir_usage_in(u));
    jw_key(w, "input_tokens_details");
    jw_object(w);
    jw_kv_int(w, "cached_tokens", u->cache_read > 0 ? u->cache_read : 0);
    jw_object_end(w);
    jw_kv_int(w, "output_tokens", ir_usage_out(u));
    jw_key(w, "output_tokens_details");
    jw_object(w);
    jw_kv_int(w, "reasoning_tokens", u->reasoning > 0 ? u->reasoning : 0);
    jw_object_end(w);
    jw_kv_int(w, "total_tokens", ir_usage_total(u));
    jw_object_end(w);
}

/* ---- request members ---- */
static bool take_str(yyjson_val *v, const char *key, struct str *out, struct err *e)
{
    if (json_absent(v))
        return true;
    if (!yyjson_is_str(v))
        return err_field(e, key, "'%s' must be a string", key);
    *out = json_str(v);
    return true;
}

static bool take_bool(yyjson_val *v, const char *key, bool *has, bool *out, struct err *e)
{
    if (json_absent(v))
        return true;
    if (!yyjson_is_bool(v))
        return err_field(e, key, "'%s' must be true or false", key);
    if (has)
        *has = true;
    *out = yyjson_get_bool(v);
    return true;
}

static bool take_number(yyjson_val *v, const char *key, yyjson_val **out, struct err *e)
{
    if (json_absent(v))
        return true;
    if (!json_is_number(v))
        return err_field(e, key, "'%s' must be a number", key);
    *out = v;
    return true;
}

static bool take_int(yyjson_val *v, const char *key, int64_t min, int64_t *out, struct err *e)
{
    int64_t n;
    if (json_absent(v))
        return true;
    if (!json_int(v, &n))
        return err_field(e, key, "'%s' must be an integer", key);
    if (n < min)
        return err_field(e, key, "'%s' must be at least %lld", key, (long long)min);
    *out = n;
    return true;
}

bool openai_read_str(yyjson_val *root, const char *key, struct str *out, struct err *e)
{
    return take_str(json_get(root, key), key, out, e);
}

bool openai_read_bool(yyjson_val *root, const char *key, bool *has, bool *out, struct err *e)
{
    return take_bool(json_get(root, key), key, has, out, e);
}

bool openai_read_number(yyjson_val *root, const char *key, yyjson_val **out, struct err *e)
{
    return take_number(json_get(root, key), key, out, e);
}

bool openai_read_int(yyjson_val *root, const char *key, int64_t min, int64_t *out, struct err *e)
{
    return take_int(json_get(root, key), key, min, out, e);
}

bool openai_read_limit(yyjson_val *root, const char *key, int64_t *out, struct err *e)
{
    int64_t n = -1;
    if (!openai_read_int(root, key, -1, &n, e))
        return false;
    if (n == 0)
        return err_field(e, key, "'%s' must be at least 1", key);
    if (n > 0)
        *out = n;
    return true;
}

bool openai_read_sampling(yyjson_val *root, struct ir_request *out, struct err *e)
{
    enum {
        METADATA,
        MODEL,
        TEMPERATURE,
        TOP_P,
        TOP_K,
        MIN_P,
        FREQUENCY,
        PRESENCE,
        TOP_LOGPROBS,
        STREAM,
        STORE,
        USER,
        SAFETY,
        TIER,
        CACHE_KEY,
        CACHE_RETENTION,
        PARALLEL,
        N
    };
    static const struct json_names names = {
        .n = N,
        JSON_NAME(METADATA, "metadata"),
        JSON_NAME(MODEL, "model"),
        JSON_NAME(TEMPERATURE, "temperature"),
        JSON_NAME(TOP_P, "top_p"),
        JSON_NAME(TOP_K, "top_k"),
        JSON_NAME(MIN_P, "min_p"),
        JSON_NAME(FREQUENCY, "frequency_penalty"),
        JSON_NAME(PRESENCE, "presence_penalty"),
        JSON_NAME(TOP_LOGPROBS, "top_logprobs"),
        JSON_NAME(STREAM, "stream"),
        JSON_NAME(STORE, "store"),
        JSON_NAME(USER, "user"),
        JSON_NAME(SAFETY, "safety_identifier"),
        JSON_NAME(TIER, "service_tier"),
        JSON_NAME(CACHE_KEY, "prompt_cache_key"),
        JSON_NAME(CACHE_RETENTION, "prompt_cache_retention"),
        JSON_NAME(PARALLEL, "parallel_tool_calls"),
    };
    yyjson_val *at[N];
    struct str safety = STR_NONE;
    bool is_parallel = true, has_parallel = false;
    json_pick(root, &names, at);
#define AT(slot) at[slot], names.text[slot]
    if (!json_absent(at[METADATA]) && !yyjson_is_obj(at[METADATA]))
        return err_field(e, "metadata", "'metadata' must be an object");
    out->metadata = json_absent(at[METADATA]) ? NULL : at[METADATA];
    bool ok = take_str(AT(MODEL), &out->model, e) &&
              take_number(AT(TEMPERATURE), &out->temperature, e) &&
              take_number(AT(TOP_P), &out->top_p, e) && take_number(AT(TOP_K), &out->top_k, e) &&
              take_number(AT(MIN_P), &out->min_p, e) &&
              take_number(AT(FREQUENCY), &out->frequency_penalty, e) &&
              take_number(AT(PRESENCE), &out->presence_penalty, e) &&
              take_int(AT(TOP_LOGPROBS), 0, &out->top_logprobs, e) &&
              take_bool(AT(STREAM), NULL, &out->is_stream, e) &&
              take_bool(AT(STORE), &out->has_store, &out->store, e) &&
              take_str(AT(USER), &out->user, e) && take_str(AT(SAFETY), &safety, e) &&
              take_str(AT(TIER), &out->service_tier, e) &&
              take_str(AT(CACHE_KEY), &out->cache_key, e) &&
              take_str(AT(CACHE_RETENTION), &out->cache_retention, e) &&
              take_bool(AT(PARALLEL), &has_parallel, &is_parallel, e);
#undef AT
    if (!ok)
        return false;
    out->has_disable_parallel = has_parallel;
    out->disable_parallel = !is_parallel;
    if (out->user.n == 0)
        out->user = safety;
    if (out->model.n == 0)
        return err_field(e, "model", "'model' is required");
    return true;
}

static void read_allowed(struct arena *a, yyjson_val *v, struct ir_request *out)
{
    yyjson_val *list = json_get(v, "tools"), *item;
    size_t i, n;
    out->choice = IR_CHOICE_ALLOWED;
    out->is_allowed_any = str_is(json_get_str(v, "mode"), "required");
    out->choice_allowed.v = ARENA_ARRAY(a, struct str, yyjson_arr_size(list) + 1);
    yyjson_arr_foreach (list, i, n, item) {
        struct str name = json_get_str(item, "name");
        if (name.n == 0)
            name = json_get_str(json_get(item, "function"), "name");
        if (name.n > 0)
            out->choice_allowed.v[out->choice_allowed.n++] = name;
    }
}

bool openai_read_choice(struct arena *a, yyjson_val *v, struct ir_request *out, struct err *e)
{
    static const struct word words[] = {{"none", IR_CHOICE_NONE},
                                        {"auto", IR_CHOICE_AUTO},
                                        {"required", IR_CHOICE_ANY},
                                        {"any", IR_CHOICE_ANY},
                                        {0}};
    if (json_absent(v))
        return true;
    if (yyjson_is_str(v)) {
        out->choice = (enum ir_choice_mode)word_value(words, json_str(v), IR_CHOICE_UNSET);
        if (out->choice == IR_CHOICE_UNSET)
            return err_field(e, "tool_choice", "unknown tool_choice '" STR_FMT "'",
                             STR_ARG(str_first(json_str(v), 64)));
        return true;
    }
    if (!yyjson_is_obj(v))
        return err_field(e, "tool_choice", "'tool_choice' must be a string or an object");
    struct str type = json_get_str(v, "type");
    if (str_is(type, "allowed_tools")) {
        yyjson_val *inner = json_get(v, "allowed_tools");
        read_allowed(a, inner ? inner : v, out);
        return true;
    }
    int simple = word_value(words, type, IR_CHOICE_UNSET); /* {"type":"auto"}, seen in the wild */
    if (simple != IR_CHOICE_UNSET) {
        out->choice = (enum ir_choice_mode)simple;
        return true;
    }
    yyjson_val *inner = json_get(v, "function") ? json_get(v, "function") : json_get(v, "custom");
    out->choice = IR_CHOICE_TOOL;
    out->choice_tool = json_get_str(inner ? inner : v, "name");
    if (out->choice_tool.n == 0 && type.n > 0 && !str_is(type, "function") &&
        !str_is(type, "custom"))
        out->choice_tool = type; /* a hosted tool */
    return true;
}

bool openai_read_format(yyjson_val *v, bool is_nested, const char *field, struct ir_request *out,
                        struct err *e)
{
    static const struct word words[] = {{"text", IR_FORMAT_TEXT},
                                        {"json_object", IR_FORMAT_JSON_OBJECT},
                                        {"json_schema", IR_FORMAT_JSON_SCHEMA},
                                        {0}};
    if (json_absent(v))
        return true;
    struct str type = json_get_str(v, "type");
    out->format = (enum ir_format_kind)word_value(words, type, IR_FORMAT_UNSET);
    if (out->format == IR_FORMAT_UNSET)
        return err_field(e, field, "unknown format type '" STR_FMT "'",
                         STR_ARG(str_first(type, 64)));
    if (out->format != IR_FORMAT_JSON_SCHEMA)
        return true;
    yyjson_val *at = is_nested ? json_get(v, "json_schema") : v;
    if (!yyjson_is_obj(at))
        at = v;
    yyjson_val *strict = json_get(at, "strict");
    out->format_schema = json_get(at, "schema");
    out->format_name = json_get_str(at, "name");
    out->format_description = json_get_str(at, "description");
    out->has_format_strict = yyjson_is_bool(strict);
    out->format_strict = yyjson_get_bool(strict);
    if (json_absent(out->format_schema))
        out->format_schema = NULL;
    if (out->format_schema && !yyjson_is_obj(out->format_schema))
        return err_field(e, field, "the schema must be an object");
    return true;
}

static void write_schema(struct wire_ctx *c, struct jw *w, const char *key, yyjson_val *schema,
                         bool is_gemini)
{
    unsigned flags = c->quirks & QUIRK_SCHEMA_INLINE_REFS ? SCHEMA_INLINE_REFS : 0;
    struct str text = is_gemini ? schema_from_gemini_text(c->arena, schema)
                                : schema_clean_text(c->arena, schema, SCHEMA_OPENAI, flags);
    if (text.n > 0)
        JW(w, key, raw, text);
}

void openai_write_parameters(struct wire_ctx *c, struct jw *w, const char *key,
                             const struct ir_tool *t, bool is_required)
{
    if (t->parameters)
        write_schema(c, w, key, t->parameters, t->is_gemini_schema);
    else if (is_required)
        JW(w, key, raw, STR("{\"type\":\"object\",\"properties\":{}}"));
}

void openai_write_format(struct wire_ctx *c, struct jw *w, const struct ir_request *r,
                         bool is_nested)
{
    jw_object(w);
    switch (r->format) {
    case IR_FORMAT_UNSET:
    case IR_FORMAT_TEXT:
        jw_kv_cstr(w, "type", "text");
        break;
    case IR_FORMAT_JSON_OBJECT:
        jw_kv_cstr(w, "type", "json_object");
        break;
    case IR_FORMAT_JSON_SCHEMA:
        jw_kv_cstr(w, "type", "json_schema");
        if (is_nested) {
            jw_key(w, "json_schema");
            jw_object(w);
        }
        jw_kv_str(w, "name", r->format_name.n > 0 ? r->format_name : STR("structured_output"));
        if (r->format_description.n > 0)
            jw_kv_str(w, "description", r->format_description);
        if (r->format_schema)
            write_schema(c, w, "schema", r->format_schema, r->is_gemini_format_schema);
        if (r->has_format_strict)
            jw_kv_bool(w, "strict", r->format_strict);
        if (is_nested)
            jw_object_end(w);
        break;
    }
    jw_object_end(w);
}

/* ---- annotations ---- */
struct ir_citation *openai_read_annotations(struct arena *a, yyjson_val *list, enum wire_id origin)
{
    struct ir_citation *first = NULL, **tail = &first;
    yyjson_val *item;
    size_t i, n;
    yyjson_arr_foreach (list, i, n, item) {
        yyjson_val *at = json_get(item, "url_citation") ? json_get(item, "url_citation") : item;
        struct ir_citation *cite = ARENA_NEW(a, struct ir_citation);
        cite->kind = json_get_str(at, "url").n > 0 ? IR_CITE_URL : IR_CITE_TEXT;
        cite->url = json_get_str(at, "url");
        cite->title = json_get_str(at, cite->kind == IR_CITE_URL ? "title" : "filename");
        cite->start = json_get_int(at, "start_index", -1);
        cite->end = json_get_int(at, "end_index", -1);
        cite->doc_index = -1;
        cite->origin = origin;
        cite->raw = item;
        *tail = cite;
        tail = &cite->next;
    }
    return first;
}

void openai_write_annotation(struct jw *w, const struct ir_citation *cite, bool is_nested,
                             int64_t before, int64_t length)
{
    bool has_place = cite->start >= 0 && cite->end >= cite->start;
    jw_object(w);
    jw_kv_cstr(w, "type", "url_citation");
    if (is_nested) {
        jw_key(w, "url_citation");
        jw_object(w);
    }
    jw_kv_int(w, "start_index", before + (has_place ? cite->start : 0));
    jw_kv_int(w, "end_index", before + (has_place ? cite->end : length));
    jw_kv_str(w, "url", cite->url);
    jw_kv_str(w, "title", cite->title);
    if (is_nested)
        jw_object_end(w);
    jw_object_end(w);
}

/* ---- parts ---- */
bool openai_read_content(struct wire_ctx *c, yyjson_val *content, const char *where,
                         openai_part_fn *read_part, struct ir_parts *parts, struct err *e)
{
    yyjson_val *v;
    size_t i, n;
    if (json_absent(content))
        return true;
    if (yyjson_is_str(content)) {
        ir_part_add(c->arena, parts, IR_TEXT)->text = json_str(content);
        return true;
    }
    if (!yyjson_is_arr(content))
        return err_field(e, where, "content must be a string or an array of parts");
    yyjson_arr_foreach (content, i, n, v)
        if (!read_part(c, v, where, parts, e))
            return false;
    return true;
}

void openai_read_image(struct wire_ctx *c, yyjson_val *part, struct ir_part *p)
{
    yyjson_val *image = json_get(part, "image_url");
    struct str url = yyjson_is_str(image) ? json_str(image) : json_get_str(image, "url");
    p->detail = json_get_str(yyjson_is_obj(image) ? image : part, "detail");
    if (url.n == 0) {
        p->source = (struct ir_source){.kind = IR_SOURCE_REF, .ref = json_get_str(part, "file_id")};
        return;
    }
    p->source = ir_source_of_url(c->arena, url);
    if (str_is(p->source.media_type, "application/pdf"))
        p->kind = IR_FILE;
}

static struct ir_source file_source(struct wire_ctx *c, yyjson_val *file, struct str name)
{
    struct str data = json_get_str(file, "file_data"), url = json_get_str(file, "file_url");
    if (data.n > 0) {
        struct ir_source s = {.kind = IR_SOURCE_DATA, .base64 = data};
        if (str_starts_nocase(data, STR("data:")))
            s = ir_source_of_url(c->arena, data);
        if (s.media_type.n == 0)
            s.media_type = wire_media_of_name(name);
        return s;
    }
    if (url.n > 0)
        return ir_source_of_url(c->arena, url);
    return (struct ir_source){.kind = IR_SOURCE_REF, .ref = json_get_str(file, "file_id")};
}

void openai_read_file(struct wire_ctx *c, yyjson_val *file, struct ir_part *p)
{
    p->name = json_get_str(file, "filename");
    p->source = file_source(c, file, p->name);
}

/* ---- the rest ---- */
const char *openai_effort(const struct wire_ctx *c, const struct ir_request *r)
{
    bool has_all = c->quirks & QUIRK_EFFORT_XHIGH;
    enum ir_effort effort = wire_effort_of(r);
    if (r->origin == WIRE_CHAT || r->origin == WIRE_RESPONSES)
        if (r->effort != IR_EFFORT_UNSET && r->effort == effort && effort != IR_EFFORT_MAX)
            return wire_effort_text(effort); /* the client knows OpenAI's levels */
    switch (effort) {
    case IR_EFFORT_UNSET:
        return NULL;
    case IR_EFFORT_NONE:
        return has_all ? "none" : NULL;
    case IR_EFFORT_MINIMAL:
        return has_all ? "minimal" : "low";
    case IR_EFFORT_LOW:
        return "low";
    case IR_EFFORT_MEDIUM:
        return "medium";
    case IR_EFFORT_HIGH:
        return "high";
    case IR_EFFORT_XHIGH:
        return has_all ? "xhigh" : "high";
    case IR_EFFORT_MAX:
        return has_all ? "max" : "high";
    }
    return NULL;
}

void openai_write_error(const struct err *e, struct str request_id, struct buf *out)
{
    struct jw w = jw_on(out);
    (void)request_id; /* these formats say it in a header only */
    jw_object(&w);
    jw_key(&w, "error");
    wire_openai_error(&w, e);
    jw_object_end(&w);
}

void openai_write_residue(struct wire_ctx *c, struct jw *w, yyjson_val *raw,
                          const char *const *known)
{
    yyjson_val *key, *value;
    size_t i, n;
    if (!yyjson_is_obj(raw))
        return;
    yyjson_obj_foreach (raw, i, n, key, value) {
        bool is_known = false;
        for (const char *const *k = known; *k && !is_known; k++)
            is_known = str_eq(json_str(key), str_of(*k));
        if (is_known || (json_str(key).n < 64 && !wire_takes(c, str_z(c->arena, json_str(key)))))
            continue;
        jw_key_str(w, json_str(key));
        jw_val(w, value);
    }
}

/* ---- finding things in text ---- */

struct str openai_member(struct str data, struct str key, enum openai_place place)
{
    int depth;
    struct str value = wire_last_member(data, key, &depth);
    if (depth == 0 || depth == (place == OPENAI_OF_REPLY ? 1 : 2))
        return value;
    return wire_member(place == OPENAI_OF_REPLY ? data : wire_member(data, "response"), key.p);
}

struct str openai_find_string(struct str data, struct str key)
{
    size_t at = wire_last_value(data, key);
    if (at >= data.n || data.p[at] != '"')
        return STR_NONE;
    struct str rest = str_skip(data, at + 1);
    return str_first(rest, str_index(rest, '"'));
}

/* Members of usage; those of its details behind. A second spelling counts when the first is absent. */
enum detail {
    WHOLE,
    IN,
    OUT,
    OTHER
};

static void take_count(struct ir_usage *u, enum detail detail, struct str name, int64_t v)
{
    static const struct {
        struct str name;
        enum detail detail;
        bool is_second;
        size_t at;
    } rows[] = {
        {STR_INIT("total_tokens"), WHOLE, false, offsetof(struct ir_usage, total)},
        {STR_INIT("input_tokens"), WHOLE, true, offsetof(struct ir_usage, input_total)},
        {STR_INIT("audio_tokens"), IN, false, offsetof(struct ir_usage, audio_in)},
        {STR_INIT("audio_tokens"), OUT, false, offsetof(struct ir_usage, audio_out)},
        {STR_INIT("prompt_tokens"), WHOLE, false, offsetof(struct ir_usage, input_total)},
        {STR_INIT("output_tokens"), WHOLE, true, offsetof(struct ir_usage, output_total)},
        {STR_INIT("cached_tokens"), IN, false, offsetof(struct ir_usage, cache_read)},
        {STR_INIT("reasoning_tokens"), OUT, false, offsetof(struct ir_usage, reasoning)},
        {STR_INIT("completion_tokens"), WHOLE, false, offsetof(struct ir_usage, output_total)},
        {STR_INIT("cache_write_tokens"), IN, false, offsetof(struct ir_usage, cache_write)},
        {STR_INIT("num_search_queries"), WHOLE, false, offsetof(struct ir_usage, searches)},
        {STR_INIT("web_search_requests"), OTHER, false, offsetof(struct ir_usage, searches)},
        {STR_INIT("cache_creation_tokens"), IN, true, offsetof(struct ir_usage, cache_write)},
        {STR_INIT("prompt_cache_hit_tokens"), WHOLE, true, offsetof(struct ir_usage, cache_read)},
    };
    if (v < 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(rows) && rows[i].name.n <= name.n; i++) { /* by length */
        int64_t *count = (int64_t *)(void *)((char *)u + rows[i].at);
        if (rows[i].name.n == name.n && rows[i].detail == detail &&
            memcmp(rows[i].name.p, name.p, name.n) == 0 && !(rows[i].is_second && *count >= 0))
            *count = v;
    }
}

/* Costs are decimals, and of several vendors' making: true when this is one. */
static bool take_cost(struct ir_usage *u, unsigned depth, struct str name, struct str number)
{
    if (name.n < 4 || name.n > 17)
        return false;
    bool is_ticks = depth == 1 && str_is(name, "cost_in_usd_ticks"),
         is_usd = (depth == 1 && str_is(name, "cost")) || str_is(name, "total_cost");
    if (!is_ticks && !is_usd)
        return false;
    if (!decimal_parse(number, is_usd ? 9 : -1, &u->cost_nanousd))
        u->cost_nanousd = -1;
    return true;
}

/* Of transcripts' sound it is one token, of others several. */
static enum detail details_of(struct str name)
{
    if (str_is(name, "prompt_tokens_details") || str_is(name, "input_tokens_details") ||
        str_is(name, "input_token_details"))
        return IN;
    if (str_is(name, "completion_tokens_details") || str_is(name, "output_tokens_details") ||
        str_is(name, "output_token_details"))
        return OUT;
    return OTHER;
}

static bool is_of_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
}

/* One walk over the small object: its members are numbers and objects of numbers, strings among them are passed over. */
static void read_counts(struct str u, struct ir_usage *found)
{
    struct str name = STR_NONE;
    enum detail detail = WHOLE;
    unsigned depth = 0;
    for (size_t i = 0; i < u.n; i++) {
        char c = u.p[i];
        if (c == '"') {
            size_t from = ++i;
            i = wire_string_end(u, i);
            name = str_n(u.p + from, i - from);
        } else if (c == '{' || c == '[') {
            if (++depth == 2)
                detail = details_of(name);
            name = STR_NONE; /* of what is inside only that which has a name of its own */
        } else if (c == '}' || c == ']') {
            if (--depth == 1)
                detail = WHOLE;
        } else if (((c >= '0' && c <= '9') || c == '-') && depth <= 2) {
            size_t n = 1;
            while (i + n < u.n && is_of_number(u.p[i + n]))
                n++;
            struct str number = str_n(u.p + i, n);
            if (!take_cost(found, depth, name, number))
                take_count(found, detail, name, wire_count_text(number));
            name = STR_NONE;
            i += n - 1;
        }
    }
}

bool openai_meter_usage(struct str data, enum openai_place place, struct ir_usage *usage)
{
    struct ir_usage found = IR_USAGE_NONE;
    struct str counts = openai_member(data, STR("usage"), place);
    if (counts.n == 0 || counts.p[0] != '{')
        return false;
    read_counts(counts, &found);
    ir_usage_settle(&found);
    struct str tier = openai_member(data, STR("service_tier"), place);
    if (tier.n > 2 && tier.p[0] == '"') /* in which it was served */
        found.service = ir_service_of(str_n(tier.p + 1, tier.n - 2));
    *usage = ir_usage_merge(*usage, found);
    return true;
}

void openai_meter_groq(struct str data, struct ir_usage *usage)
{
    struct ir_usage found = IR_USAGE_NONE;
    struct str counts = wire_member(wire_member(data, "x_groq"), "usage");
    if (counts.n == 0 || counts.p[0] != '{')
        return;
    read_counts(counts, &found);
    ir_usage_settle(&found);
    *usage = ir_usage_merge(*usage, found);
}
