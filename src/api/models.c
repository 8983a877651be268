/* models.c - what can be asked for: the same models in the list format that the caller's headers ask for. */
#include "api/api.h"
#include "api/surface/surface.h"
#include "base/clock.h"
#include "json/json.h"

#define OLLAMA_VERSION "0.6.4" /* of the API that is spoken, not of sluice */

enum listing {
    LIST_OPENAI,
    LIST_ANTHROPIC,
    LIST_GOOGLE
};

static enum listing listing_of(const struct api_call *c)
{
    enum surface s = c->row->surface == SURFACE_OPENAI ? surface_of_caller(c->r) : c->row->surface;
    return s == SURFACE_GOOGLE      ? LIST_GOOGLE
           : s == SURFACE_ANTHROPIC ? LIST_ANTHROPIC
                                    : LIST_OPENAI;
}

static bool is_shown(const struct api_call *c, const struct model *m)
{
    return m->is_enabled && m->n_targets > 0 && (!c->key || key_may_use(c->key, m->name));
}

static const struct {
    uint32_t bit;
    const char *name;
} capability_names[] = {
    {CAP_TEXT, "text"},           {CAP_VISION, "vision"},       {CAP_TOOLS, "tools"},
    {CAP_EMBEDDING, "embedding"}, {CAP_REASONING, "reasoning"}, {CAP_AUDIO, "audio"},
    {CAP_IMAGE, "image"},         {CAP_RERANK, "rerank"},       {CAP_MODERATION, "moderation"},
};

static void write_openai(struct jw *w, struct arena *a, const struct model *m)
{
    const struct upstream *u = m->targets[0].upstream;
    struct buf date;
    buf_init_arena(&date, a, 64);
    clock_rfc3339(&date, m->created * 1000);
    jw_object(w);
    jw_kv_str(w, "id", m->name);
    jw_kv_cstr(w, "object", "model");
    jw_kv_int(w, "created", m->created);
    jw_kv_str(w, "owned_by", m->face == MODEL_OF_COMBO ? STR("combo") : u->name);
    jw_kv_cstr(w, "api_standard",
               u->wires[0] == WIRE_NONE ? "openai_chat" : wire_of(u->wires[0])->name);
    jw_key(w, "capabilities");
    jw_array(w);
    for (size_t i = 0; i < ARRAY_LEN(capability_names); i++)
        if (m->capabilities & capability_names[i].bit)
            jw_cstr(w, capability_names[i].name);
    jw_array_end(w);
    jw_kv_cstr(w, "type", "model");
    jw_kv_str(w, "display_name", m->name);
    jw_kv_str(w, "created_at", buf_str(&date));
    if (m->context_tokens > 0)
        jw_kv_int(w, "context_length", m->context_tokens);
    if (m->max_output_tokens > 0)
        jw_kv_int(w, "max_output_tokens", m->max_output_tokens);
    jw_object_end(w);
}

static void write_anthropic(struct jw *w, struct arena *a, const struct model *m)
{
    struct buf date;
    buf_init_arena(&date, a, 64);
    clock_rfc3339(&date, m->created * 1000);
    jw_object(w);
    jw_kv_cstr(w, "type", "model");
    jw_kv_str(w, "id", m->name);
    jw_kv_str(w, "display_name", m->name);
    jw_kv_str(w, "created_at", buf_str(&date));
    jw_object_end(w);
}

static void write_google(struct jw *w, struct arena *a, const struct model *m)
{
    jw_object(w);
    jw_kv_str(w, "name", str_fmt(a, "models/" STR_FMT, STR_ARG(m->name)));
    jw_kv_str(w, "displayName", m->name);
    if (m->context_tokens > 0)
        jw_kv_int(w, "inputTokenLimit", m->context_tokens);
    if (m->max_output_tokens > 0)
        jw_kv_int(w, "outputTokenLimit", m->max_output_tokens);
    jw_key(w, "supportedGenerationMethods");
    jw_array(w);
    if (m->capabilities & CAP_EMBEDDING) {
        jw_cstr(w, "embedContent");
        jw_cstr(w, "batchEmbedContents");
    }
    if (!(m->capabilities & CAP_EMBEDDING) || (m->capabilities & CAP_TEXT)) {
        jw_cstr(w, "generateContent");
        jw_cstr(w, "streamGenerateContent");
        jw_cstr(w, "countTokens");
    }
    jw_array_end(w);
    jw_object_end(w);
}

static void write_model(struct jw *w, struct arena *a, enum listing l, const struct model *m)
{
    switch (l) {
    case LIST_OPENAI:
        write_openai(w, a, m);
        break;
    case LIST_ANTHROPIC:
        write_anthropic(w, a, m);
        break;
    case LIST_GOOGLE:
        write_google(w, a, m);
        break;
    }
}

static bool number_param(struct api_call *c, const char *name, int64_t max, int64_t *out,
                         struct err *e)
{
    struct str text = query_get(c->r->arena, c->r->query, name);
    if (text.n && (!str_to_int(text, out) || *out < 1 || *out > max))
        return err_field(e, name, "'%s' must be a whole number from 1 to %lld", name,
                         (long long)max);
    return true;
}

static void list_models(struct api_call *c)
{
    struct arena *a = c->r->arena;
    enum listing l = listing_of(c);
    struct err e = ERR_INIT;
    struct buf b;
    struct jw w;
    /* OpenAI lists are whole; the two others page, by the last name shown */
    int64_t limit = INT64_MAX;
    struct str after = STR_NONE, before = STR_NONE;
    if (l == LIST_ANTHROPIC) {
        limit = 20;
        if (!number_param(c, "limit", 1000, &limit, &e)) {
            api_fail(c, &e);
            return;
        }
        after = query_get(a, c->r->query, "after_id");
        before = query_get(a, c->r->query, "before_id");
    } else if (l == LIST_GOOGLE) {
        limit = 50;
        if (!number_param(c, "pageSize", 1000, &limit, &e)) {
            api_fail(c, &e);
            return;
        }
        after = query_get(a, c->r->query, "pageToken");
    }
    buf_init_arena(&b, a, 64u << 20);
    w = jw_on(&b);
    struct str first = STR_NONE, last = STR_NONE;
    bool has_more = false;
    int64_t n = 0;
    size_t from = 0, end = c->snap->n_listed;
    if (before.n) { /* the page that ends in front of it */
        int64_t room = limit;
        for (end = 0; end < c->snap->n_listed && !str_eq(c->snap->listed[end]->name, before);)
            end++;
        for (from = end; from > 0 && room > 0;)
            room -= is_shown(c, c->snap->listed[--from]);
        for (size_t i = 0; i < from; i++)
            has_more |= is_shown(c, c->snap->listed[i]);
    }
    jw_object(&w);
    if (l != LIST_GOOGLE && l == LIST_OPENAI)
        jw_kv_cstr(&w, "object", "list");
    jw_key(&w, l == LIST_GOOGLE ? "models" : "data");
    jw_array(&w);
    bool is_past = after.n == 0;
    for (size_t i = from; i < end; i++) {
        const struct model *m = c->snap->listed[i];
        if (!is_past) {
            is_past = str_eq(m->name, after);
            continue;
        }
        if (!is_shown(c, m))
            continue;
        if (n == limit) {
            has_more = true;
            break;
        }
        if (n++ == 0)
            first = m->name;
        last = m->name;
        write_model(&w, a, l, m);
    }
    jw_array_end(&w);
    if (l == LIST_GOOGLE) {
        if (has_more)
            jw_kv_str(&w, "nextPageToken", last);
    } else {
        jw_kv_bool(&w, "has_more", has_more);
        jw_key(&w, "first_id");
        n ? jw_str(&w, first) : jw_null(&w);
        jw_key(&w, "last_id");
        n ? jw_str(&w, last) : jw_null(&w);
    }
    jw_object_end(&w);
    api_reply_json(c, 200, buf_str(&b));
}

/* OpenAI's list of those that can do one thing. */
static void list_able(struct api_call *c, uint32_t capability, const char *type)
{
    struct buf b;
    buf_init_arena(&b, c->r->arena, 64u << 20);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "object", "list");
    jw_key(&w, "data");
    jw_array(&w);
    for (size_t i = 0; i < c->snap->n_models; i++) {
        const struct model *m = c->snap->models[i];
        if (!(m->capabilities & capability) || !is_shown(c, m))
            continue;
        jw_object(&w);
        jw_kv_str(&w, "id", m->name);
        jw_kv_cstr(&w, "object", "model");
        jw_kv_int(&w, "created", m->created);
        jw_kv_str(&w, "owned_by", m->targets[0].upstream->name);
        jw_key(&w, "type");
        jw_cstr(&w, type);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    api_reply_json(c, 200, buf_str(&b));
}

static void list_embedding(struct api_call *c)
{
    list_able(c, CAP_EMBEDDING, "embedding");
}

static void list_image(struct api_call *c)
{
    list_able(c, CAP_IMAGE, "image");
}

static void unknown_model(struct api_call *c, struct str name)
{
    struct str near[3];
    struct err e = ERR_INIT;
    struct buf b;
    size_t n = snapshot_near(c->snap, c->key, name, near, ARRAY_LEN(near));
    bool is_ollama = c->row->surface == SURFACE_OLLAMA; /* its clients know its words */
    buf_init_arena(&b, c->r->arena, 4096);
    for (size_t i = 0; i < n; i++)
        buf_fmt(&b, "%s'" STR_FMT "'", i ? ", " : ". Did you mean ",
                STR_ARG(str_first(near[i], 200)));
    err_set(&e, ERR_NOT_FOUND, "model_not_found", "%s '" STR_FMT "' %s" STR_FMT "%s",
            is_ollama ? "model" : "The model", STR_ARG(str_first(name, 200)),
            is_ollama ? "not found" : "does not exist", STR_ARG(buf_str(&b)), n ? "?" : "");
    (void)snprintf(e.field, sizeof e.field, "model");
    api_fail(c, &e);
}

static void get_model(struct api_call *c)
{
    struct str name = route_param(&c->params, "id");
    enum listing l = listing_of(c);
    struct buf b;
    struct jw w;
    if (str_starts(name, STR("models/")))
        name = str_skip(name, 7);
    const struct model *m = snapshot_resolve(c->snap, c->r->arena, name);
    if (!m || !is_shown(c, m)) {
        unknown_model(c, name);
        return;
    }
    buf_init_arena(&b, c->r->arena, 65536);
    w = jw_on(&b);
    write_model(&w, c->r->arena, l, m);
    api_reply_json(c, 200, buf_str(&b));
}

/* ---- Ollama ---- */

static void write_tag(struct jw *w, struct arena *a, const struct model *m)
{
    struct buf date;
    buf_init_arena(&date, a, 64);
    clock_rfc3339(&date, m->created * 1000);
    jw_object(w);
    jw_kv_str(w, "name", m->name);
    jw_kv_str(w, "model", m->name);
    jw_kv_str(w, "modified_at", buf_str(&date));
    jw_kv_int(w, "size", 0);
    jw_kv_cstr(w, "digest", "");
    jw_key(w, "details");
    jw_object(w);
    jw_kv_cstr(w, "parent_model", "");
    jw_kv_cstr(w, "format", "");
    jw_kv_str(w, "family", m->targets[0].upstream->name);
    jw_key(w, "families");
    jw_array(w);
    jw_str(w, m->targets[0].upstream->name);
    jw_array_end(w);
    jw_kv_cstr(w, "parameter_size", "");
    jw_kv_cstr(w, "quantization_level", "");
    jw_object_end(w);
    jw_object_end(w);
}

static void ollama_tags(struct api_call *c)
{
    struct buf b;
    struct jw w;
    buf_init_arena(&b, c->r->arena, 64u << 20);
    w = jw_on(&b);
    jw_object(&w);
    jw_key(&w, "models");
    jw_array(&w);
    for (size_t i = 0; i < c->snap->n_listed; i++)
        if (is_shown(c, c->snap->listed[i]))
            write_tag(&w, c->r->arena, c->snap->listed[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    api_reply_json(c, 200, buf_str(&b));
}

static void ollama_show(struct api_call *c)
{
    struct arena *a = c->r->arena;
    struct err e = ERR_INIT;
    yyjson_val *root;
    struct buf b;
    struct jw w;
    if (!json_parse(a, c->r->body, 16, &root, &e)) {
        api_fail(c, &e);
        return;
    }
    struct str name = json_get_str(root, "model");
    if (name.n == 0)
        name = json_get_str(root, "name");
    if (name.n == 0) {
        err_field(&e, "model", "'model' must be a non-empty string");
        api_fail(c, &e);
        return;
    }
    const struct model *m = snapshot_resolve(c->snap, c->r->arena, name);
    if (!m || !is_shown(c, m)) {
        unknown_model(c, name);
        return;
    }
    struct str family = m->targets[0].upstream->name;
    buf_init_arena(&b, a, 65536);
    w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "modelfile", "");
    jw_kv_cstr(&w, "parameters", "");
    jw_kv_cstr(&w, "template", "");
    jw_key(&w, "details");
    jw_object(&w);
    jw_kv_cstr(&w, "parent_model", "");
    jw_kv_cstr(&w, "format", "");
    jw_kv_str(&w, "family", family);
    jw_key(&w, "families");
    jw_array(&w);
    jw_str(&w, family);
    jw_array_end(&w);
    jw_kv_cstr(&w, "parameter_size", "");
    jw_kv_cstr(&w, "quantization_level", "");
    jw_object_end(&w);
    jw_key(&w, "model_info");
    jw_object(&w);
    jw_kv_str(&w, "general.architecture", family);
    if (m->context_tokens > 0) {
        jw_key_str(&w, str_fmt(a, STR_FMT ".context_length", STR_ARG(family)));
        jw_int(&w, m->context_tokens);
    }
    jw_object_end(&w);
    jw_key(&w, "capabilities");
    jw_array(&w);
    if (m->capabilities & CAP_EMBEDDING)
        jw_cstr(&w, "embedding");
    else
        jw_cstr(&w, "completion");
    if (m->capabilities & CAP_TOOLS)
        jw_cstr(&w, "tools");
    if (m->capabilities & CAP_VISION)
        jw_cstr(&w, "vision");
    if (m->capabilities & CAP_REASONING)
        jw_cstr(&w, "thinking");
    jw_array_end(&w);
    jw_object_end(&w);
    api_reply_json(c, 200, buf_str(&b));
}

static void ollama_version(struct api_call *c)
{
    api_reply_json(c, 200, STR("{\"version\":\"" OLLAMA_VERSION "\"}"));
}

/* clang-format off */
const struct endpoint model_endpoints[] = {
    { HTTP_GET,  "/v1/models",            SURFACE_OPENAI, ACCESS_MODELS, "List models, in the format that the caller's headers ask for", .on_loop = list_models },
    { HTTP_GET,  "/v1/models/{id*}",      SURFACE_OPENAI, ACCESS_MODELS, "Retrieve a model", .on_loop = get_model },
    { HTTP_GET,  "/v1/embeddings",        SURFACE_OPENAI, ACCESS_MODELS, "List the models that embed", .on_loop = list_embedding },
    { HTTP_GET,  "/v1/images/generations", SURFACE_OPENAI, ACCESS_MODELS, "List the models that make images", .on_loop = list_image },
    { HTTP_GET,  "/v1beta/models",        SURFACE_GOOGLE, ACCESS_MODELS, "List models (Google GenAI)", .on_loop = list_models },
    { HTTP_GET,  "/v1beta/models/{id*}",  SURFACE_GOOGLE, ACCESS_MODELS, "Retrieve a model (Google GenAI)", .on_loop = get_model },
    { HTTP_GET,  "/api/tags",             SURFACE_OLLAMA, ACCESS_MODELS, "List models (Ollama)", .on_loop = ollama_tags },
    { HTTP_POST, "/api/show",             SURFACE_OLLAMA, ACCESS_MODELS, "Show a model (Ollama)", .on_loop = ollama_show },
    { HTTP_GET,  "/api/version",          SURFACE_OLLAMA, ACCESS_PUBLIC, "Version of the Ollama API that is spoken", .on_loop = ollama_version },
    {0},
};
/* clang-format on */
