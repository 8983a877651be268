#include "wire/embed.h"
#include "base/codec.h"
#include "wire/common.h"

#define MAX_TEXTS 65536

static bool texts_of(struct arena *a, yyjson_val *v, const char *field, struct embed_request *out,
                     struct err *e)
{
    size_t i, max;
    yyjson_val *item;
    if (yyjson_is_str(v)) {
        out->texts = ARENA_NEW(a, struct str);
        out->texts[0] = json_str(v);
        out->n = 1;
        out->is_single = true;
        return true;
    }
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0 || yyjson_arr_size(v) > MAX_TEXTS)
        return err_field(e, field, "'%s' must be a string or a non-empty array", field);
    yyjson_val *first = yyjson_arr_get_first(v);
    if (json_is_number(first) || yyjson_is_arr(first)) {
        out->tokens = v;
        out->is_single = !yyjson_is_arr(first);
        out->n = out->is_single ? 1 : yyjson_arr_size(v);
        return true;
    }
    out->texts = ARENA_ARRAY(a, struct str, yyjson_arr_size(v));
    yyjson_arr_foreach (v, i, max, item) {
        if (!yyjson_is_str(item)) {
            char name[64];
            (void)snprintf(name, sizeof name, "%s[%zu]", field, i);
            return err_field(e, name, "'%s' must be a string", name);
        }
        out->texts[out->n++] = json_str(item);
    }
    return true;
}

static yyjson_val *either(yyjson_val *obj, const char *camel, const char *snake)
{
    yyjson_val *v = json_get(obj, camel);
    return v ? v : json_get(obj, snake);
}

/* Once each; what is more than the list holds is told by what it does hold. */
static void note_lost(struct embed_request *out, struct str name)
{
    for (size_t i = 0; i < out->n_lost; i++)
        if (str_eq(out->lost[i], name))
            return;
    if (out->n_lost < EMBED_LOST && name.n > 0 && name.n < 64)
        out->lost[out->n_lost++] = name;
}

/* The members that are not in known (names with a space behind each). */
static void note_unknown(struct embed_request *out, yyjson_val *obj, struct str known)
{
    yyjson_val *key, *value;
    size_t i, n;
    yyjson_obj_foreach (obj, i, n, key, value) {
        struct str name = json_str(key), rest = known;
        bool is_known = json_absent(value);
        while (!is_known && rest.n > 0) {
            size_t end = str_index(rest, ' ');
            is_known = str_eq(str_first(rest, end), name);
            rest = str_skip(rest, end + 1);
        }
        if (!is_known)
            note_lost(out, name);
    }
}

/* Nobody else embeds pictures and the like; without them it would be an embedding of something else. */
static bool part_text(yyjson_val *part, const char *field, size_t at, struct str *text,
                      struct err *e)
{
    yyjson_val *v = json_get(part, "text");
    if (yyjson_is_str(v)) {
        *text = json_str(v);
        return true;
    }
    char name[64];
    (void)snprintf(name, sizeof name, "%s.parts[%zu]", field, at);
    return err_unsupported(e, name, "This upstream embeds texts only: '%s' is none", name);
}

/* {"parts":[{"text":…},…]}: its texts as one. */
static bool content_text(struct arena *a, yyjson_val *content, const char *field, struct str *out,
                         struct err *e)
{
    size_t i, max;
    yyjson_val *part, *parts = json_get(content, "parts");
    struct buf b;
    struct str text;
    if (yyjson_is_obj(parts)) /* an object instead of an array of one */
        return part_text(parts, field, 0, out, e);
    if (!yyjson_is_arr(parts))
        return err_field(e, field, "'%s.parts' must be an array", field);
    buf_init_arena(&b, a, 1u << 30);
    yyjson_arr_foreach (parts, i, max, part) {
        if (!part_text(part, field, i, &text, e))
            return false;
        buf_str_add(&b, text);
    }
    *out = buf_str(&b);
    return true;
}

static bool read_gemini_item(struct arena *a, yyjson_val *item, const char *field,
                             struct embed_request *out, struct err *e)
{
    int64_t n;
    struct str task = json_str(either(item, "taskType", "task_type"));
    if (!content_text(a, json_get(item, "content"), field, &out->texts[out->n], e))
        return false;
    out->n++;
    if (json_int(either(item, "outputDimensionality", "output_dimensionality"), &n))
        out->dimensions = n;
    if (task.n)
        out->task_type = task;
    out->title = json_get_str(item, "title");
    note_unknown(out, item, STR("model content outputDimensionality output_dimensionality "));
    return true;
}

bool embed_read_request(struct arena *a, enum embed_format f, yyjson_val *root,
                        struct embed_request *out, struct err *e)
{
    size_t i, max;
    yyjson_val *item, *list;
    *out = (struct embed_request){.dimensions = -1};
    if (!yyjson_is_obj(root))
        return err_set(e, ERR_INPUT, "invalid_json", "The body must be a JSON object");
    switch (f) {
    case EMBED_OPENAI:
    case EMBED_OLLAMA: {
        struct str format = json_get_str(root, "encoding_format");
        yyjson_val *dimensions = json_get(root, "dimensions");
        if (!json_absent(dimensions) &&
            (!json_int(dimensions, &out->dimensions) || out->dimensions < 1))
            return err_field(e, "dimensions", "'dimensions' must be a positive whole number");
        if (format.n && !str_is(format, "float") && !str_is(format, "base64"))
            return err_field(e, "encoding_format", "'encoding_format' must be float or base64");
        out->is_base64 = f == EMBED_OPENAI && str_is(format, "base64");
        out->user = json_get_str(root, "user");
        note_unknown(out, root,
                     f == EMBED_OPENAI ? STR("model input dimensions encoding_format user ")
                                       : STR("model input dimensions truncate "));
        if (f == EMBED_OLLAMA && !json_get_bool(root, "truncate", true))
            note_lost(out, STR("truncate")); /* to cut is what others do */
        return texts_of(a, json_get(root, "input"), "input", out, e);
    }
    case EMBED_GEMINI:
        out->texts = ARENA_NEW(a, struct str);
        out->is_single = true;
        return read_gemini_item(a, root, "content", out, e);
    case EMBED_GEMINI_BATCH:
        list = json_get(root, "requests");
        if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0 || yyjson_arr_size(list) > MAX_TEXTS)
            return err_field(e, "requests", "'requests' must be a non-empty array");
        note_unknown(out, root, STR("model requests "));
        out->texts = ARENA_ARRAY(a, struct str, yyjson_arr_size(list));
        yyjson_arr_foreach (list, i, max, item)
            if (!read_gemini_item(a, item, "requests.content", out, e))
                return false;
        return true;
    }
    return false;
}

static void write_gemini_item(struct jw *w, const struct embed_request *in, size_t i,
                              struct str model)
{
    jw_object(w);
    if (model.n) {
        jw_key(w, "model");
        buf_lit(w->b, "\"models/");
        json_escape(w->b, model);
        buf_char(w->b, '"');
        w->needs_comma = true;
    }
    jw_key(w, "content");
    jw_object(w);
    jw_key(w, "parts");
    jw_array(w);
    jw_object(w);
    jw_kv_str(w, "text", in->texts[i]);
    jw_object_end(w);
    jw_array_end(w);
    jw_object_end(w);
    if (in->task_type.n)
        jw_kv_str(w, "taskType", in->task_type);
    if (in->title.n)
        jw_kv_str(w, "title", in->title);
    if (in->dimensions > 0)
        jw_kv_int(w, "outputDimensionality", in->dimensions);
    jw_object_end(w);
}

bool embed_write_request(enum embed_format f, const struct embed_request *in, struct str model,
                         struct buf *out, struct err *e)
{
    struct jw w = jw_on(out);
    if (in->tokens && f != EMBED_OPENAI) {
        err_field(e, "input", "This upstream embeds texts only: 'input' holds tokens");
        e->kind = ERR_UNSUPPORTED;
        return false;
    }
    switch (f) {
    case EMBED_OPENAI:
    case EMBED_OLLAMA:
        jw_object(&w);
        jw_kv_str(&w, "model", model);
        jw_key(&w, "input");
        if (in->tokens) {
            jw_val(&w, in->tokens);
        } else if (in->is_single) {
            jw_str(&w, in->texts[0]);
        } else {
            jw_array(&w);
            for (size_t i = 0; i < in->n; i++)
                jw_str(&w, in->texts[i]);
            jw_array_end(&w);
        }
        if (in->dimensions > 0)
            jw_kv_int(&w, "dimensions", in->dimensions);
        if (f == EMBED_OPENAI && in->user.n)
            jw_kv_str(&w, "user", in->user);
        if (f == EMBED_OPENAI)
            jw_kv_cstr(&w, "encoding_format", "float");
        jw_object_end(&w);
        break;
    case EMBED_GEMINI:
        write_gemini_item(&w, in, 0, model);
        break;
    case EMBED_GEMINI_BATCH:
        jw_object(&w);
        jw_key(&w, "requests");
        jw_array(&w);
        for (size_t i = 0; i < in->n; i++)
            write_gemini_item(&w, in, i, model);
        jw_array_end(&w);
        jw_object_end(&w);
        break;
    }
    if (buf_failed(out))
        return err_set(e, ERR_TOO_LARGE, "request_too_large",
                       "The request is too large once translated");
    return true;
}

static bool bad_reply(struct err *e)
{
    return err_set(e, ERR_UPSTREAM, "invalid_upstream_reply",
                   "The upstream's reply holds no embeddings");
}

bool embed_read_reply(struct arena *a, enum embed_format f, yyjson_val *root,
                      struct embed_reply *out, struct err *e)
{
    size_t i, max;
    yyjson_val *item, *list = NULL;
    const char *inner = NULL;
    *out = (struct embed_reply){.tokens = -1};
    if (f == EMBED_GEMINI || f == EMBED_GEMINI_BATCH)
        out->tokens = wire_count(json_get(json_get(root, "usageMetadata"), "promptTokenCount"));
    switch (f) {
    case EMBED_OPENAI:
        list = json_get(root, "data");
        inner = "embedding";
        out->tokens = wire_count(json_get(json_get(root, "usage"), "prompt_tokens"));
        if (out->tokens < 0) /* some tell the sum alone */
            out->tokens = wire_count(json_get(json_get(root, "usage"), "total_tokens"));
        break;
    case EMBED_OLLAMA:
        list = json_get(root, "embeddings");
        out->tokens = wire_count(json_get(root, "prompt_eval_count"));
        break;
    case EMBED_GEMINI_BATCH:
        list = json_get(root, "embeddings");
        inner = "values";
        break;
    case EMBED_GEMINI:
        item = json_get(json_get(root, "embedding"), "values");
        if (!yyjson_is_arr(item))
            return bad_reply(e);
        out->vectors = ARENA_NEW(a, yyjson_val *);
        out->vectors[out->n++] = item;
        return true;
    }
    if (!yyjson_is_arr(list))
        return bad_reply(e);
    out->vectors = ARENA_ARRAY(a, yyjson_val *, yyjson_arr_size(list) + 1);
    out->n = yyjson_arr_size(list);
    yyjson_arr_foreach (list, i, max, item) {
        yyjson_val *vector = inner ? json_get(item, inner) : item;
        int64_t at = f == EMBED_OPENAI ? json_get_int(item, "index", (int64_t)i) : (int64_t)i;
        if (!yyjson_is_arr(vector) || at < 0 || at >= (int64_t)out->n || out->vectors[at])
            return bad_reply(e);
        out->vectors[at] = vector;
    }
    return true;
}

/* The vendor's encoding_format=base64: 32-bit floats, little-endian. */
static struct str packed(struct arena *a, yyjson_val *vector)
{
    size_t i, max, n = yyjson_arr_size(vector);
    yyjson_val *number;
    unsigned char *p = arena_zalloc(a, 4 * n + 1);
    yyjson_arr_foreach (vector, i, max, number) {
        double d = 0;
        uint32_t bits;
        (void)!json_double(number, &d); /* not a number: 0 */
        float v = (float)d;
        memcpy(&bits, &v, sizeof bits);
        for (unsigned k = 0; k < 4; k++)
            p[4 * i + k] = (unsigned char)(bits >> (8 * k));
    }
    return base64_encode(a, str_n((char *)p, 4 * n));
}

void embed_write_reply(struct arena *a, enum embed_format f, const struct embed_reply *in,
                       const struct embed_request *asked, struct str model, struct buf *out)
{
    struct jw w = jw_on(out);
    int64_t tokens = in->tokens > 0 ? in->tokens : 0;
    jw_object(&w);
    switch (f) {
    case EMBED_OPENAI:
        jw_kv_cstr(&w, "object", "list");
        jw_key(&w, "data");
        jw_array(&w);
        for (size_t i = 0; i < in->n; i++) {
            jw_object(&w);
            jw_kv_cstr(&w, "object", "embedding");
            jw_kv_int(&w, "index", (int64_t)i);
            if (asked->is_base64)
                jw_kv_str(&w, "embedding", packed(a, in->vectors[i]));
            else
                jw_kv_val(&w, "embedding", in->vectors[i]);
            jw_object_end(&w);
        }
        jw_array_end(&w);
        jw_kv_str(&w, "model", model);
        jw_key(&w, "usage");
        jw_object(&w);
        jw_kv_int(&w, "prompt_tokens", tokens);
        jw_kv_int(&w, "total_tokens", tokens);
        jw_object_end(&w);
        break;
    case EMBED_OLLAMA:
        jw_kv_str(&w, "model", model);
        jw_key(&w, "embeddings");
        jw_array(&w);
        for (size_t i = 0; i < in->n; i++)
            jw_val(&w, in->vectors[i]);
        jw_array_end(&w);
        if (in->tokens >= 0)
            jw_kv_int(&w, "prompt_eval_count", in->tokens);
        break;
    case EMBED_GEMINI:
        jw_key(&w, "embedding");
        jw_object(&w);
        if (in->n)
            jw_kv_val(&w, "values", in->vectors[0]);
        jw_object_end(&w);
        break;
    case EMBED_GEMINI_BATCH:
        jw_key(&w, "embeddings");
        jw_array(&w);
        for (size_t i = 0; i < in->n; i++) {
            jw_object(&w);
            jw_kv_val(&w, "values", in->vectors[i]);
            jw_object_end(&w);
        }
        jw_array_end(&w);
        break;
    }
    jw_object_end(&w);
}
