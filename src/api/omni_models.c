/* omni_models.c - models as OmniRoute's dashboard lists them: by provider, with those that were added to providers by hand or from their
 * lists. The latter are models of the configuration like any other, whose target is all of a provider's pool. */
#include "api/omni.h"
#include "api/change_route.h"
#include "base/clock.h"
#include "domain/discover.h"
#include "json/shape_json.h"

#define MODELS_TIMEOUT_MS 15000
#define MAX_SYNCED 5000

/* What clients may ask of it, each its word of the catalogue. What does nothing special is talked to. */
static size_t types_of(const struct model *m, const char *out[6])
{
    static const struct {
        uint32_t bit;
        const char *type;
    } words[] = {{CAP_TEXT, "chat"},     {CAP_EMBEDDING, "embedding"},
                 {CAP_IMAGE, "image"},   {CAP_AUDIO, "audio"},
                 {CAP_RERANK, "rerank"}, {CAP_MODERATION, "moderation"}};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (m->capabilities & words[i].bit)
            out[n++] = words[i].type;
    if (n == 0)
        out[n++] = "chat";
    return n;
}

/* What a model that was added for a provider is called behind the prefix. */
static struct str id_behind(const struct snapshot *s, const struct model *m)
{
    const struct custom_kind *node = custom_kind_find(s, m->wants);
    struct str prefix = node ? node->prefix : m->wants;
    return str_starts(m->name, prefix) && str_index(m->name, '/') == prefix.n
               ? str_skip(m->name, prefix.n + 1)
               : m->name;
}

/* ---- /api/models ---- */

struct listed_out {
    struct str provider, model, name, full, alias;
    bool available;
};
struct models_out {
    struct shape_list models;
};
struct models_query {
    bool all;
};
/* clang-format off */
static const struct shape listed_shape = SHAPE(struct listed_out,
    FIELD(struct listed_out, provider, 0, "The provider's prefix"),
    FIELD(struct listed_out, model, 0, "The provider's id of it"),
    FIELD(struct listed_out, name, 0, "Name for people"),
    FIELD_AS(struct listed_out, full, "fullModel", NULL, 0, "prefix/model, as it can be asked for"),
    FIELD(struct listed_out, alias, 0, "The name that it is served under"),
    FIELD(struct listed_out, available, 0, "Whether a connection is there for it"));
static const struct shape models_shape = SHAPE(struct models_out, FIELD_LIST(struct models_out, models, &listed_shape, 0, "One for each model and provider"));
static const struct shape models_query_shape = SHAPE(struct models_query,
    FIELD(struct models_query, all, 0, "true: those without an active connection too"));
/* clang-format on */

static bool list(struct control_call *c, struct err *e)
{
    const struct models_query *q = c->asked;
    const struct snapshot *s = c->snap;
    size_t n = 0, room = 1;
    (void)e;
    for (size_t i = 0; i < s->n_models; i++)
        room += s->models[i]->n_targets + 1;
    struct listed_out *v = ARENA_ARRAY(c->arena, struct listed_out, room);
    for (size_t i = 0; i < s->n_models; i++) {
        const struct model *m = s->models[i];
        struct str name = m->label.n ? m->label : m->name;
        if (m->n_targets == 0 && q->all)
            v[n++] = (struct listed_out){.provider = m->wants,
                                         .model = id_behind(s, m),
                                         .name = name,
                                         .full = m->name,
                                         .alias = m->name};
        size_t before = n;
        for (size_t t = 0; t < m->n_targets; t++) {
            const struct target *at = &m->targets[t];
            struct str prefix = omni_prefix_of(s, at->upstream);
            bool is_there = false;
            for (size_t k = before; k < n; k++)
                is_there |= str_eq(v[k].provider, prefix) && str_eq(v[k].model, at->model);
            if (is_there || (!q->all && !(m->is_enabled && at->upstream->is_enabled)))
                continue;
            v[n++] = (struct listed_out){
                .provider = prefix,
                .model = at->model,
                .name = name,
                .full = str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(prefix), STR_ARG(at->model)),
                .alias = m->name,
                .available = m->is_enabled && at->upstream->is_enabled};
        }
    }
    struct models_out out = {{v, n}};
    return control_reply(c, 200, &models_shape, &out);
}

/* ---- /api/models/catalog ---- */

struct catalog_out {
    yyjson_val *catalog;
};
static const struct shape catalog_shape = SHAPE(
    struct catalog_out,
    FIELD_JSON(
        struct catalog_out, catalog, JSON_MAP, &json_of_object, 0,
        "By prefix: provider, active, and models with id, name, type, custom; one that talks "
        "and embeds stands there once for each type"));

/* An entry says one type: what is talked to and embeds as well stands there once for each. */
static void write_entry(struct jw *w, struct arena *a, struct str prefix, const struct model *m,
                        struct str id)
{
    const char *types[6];
    size_t n = types_of(m, types);
    struct str full = str_starts(id, prefix) && str_index(id, '/') == prefix.n
                          ? id
                          : str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(prefix), STR_ARG(id));
    for (size_t i = 0; i < n; i++) {
        jw_object(w);
        jw_kv_str(w, "id", full);
        jw_kv_str(w, "name", m->label.n ? m->label : m->name);
        jw_key(w, "type");
        jw_cstr(w, types[i]);
        jw_kv_bool(w, "custom", str_is(m->source, "manual"));
        jw_object_end(w);
    }
}

/* The models of one prefix: those with a target there, each once. */
static void write_models_of(struct control_call *c, struct jw *w, struct str prefix)
{
    const struct snapshot *s = c->snap;
    struct map seen;
    map_init(&seen);
    jw_key(w, "models");
    jw_array(w);
    for (size_t i = 0; i < s->n_models; i++) {
        const struct model *m = s->models[i];
        for (size_t t = 0; m->is_enabled && t < m->n_targets; t++) {
            struct str id = m->targets[t].model;
            if (!str_eq(omni_prefix_of(s, m->targets[t].upstream), prefix) || map_get(&seen, id))
                continue;
            map_set(&seen, id, (void *)(uintptr_t)m);
            write_entry(w, c->arena, prefix, m, id);
        }
    }
    jw_array_end(w);
    map_done(&seen);
}

static bool catalog(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct catalog_out out = {NULL};
    struct buf b;
    struct map seen;
    map_init(&seen);
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        struct str prefix = omni_prefix_of(s, s->upstreams[i]);
        bool is_active = false;
        if (map_get(&seen, prefix))
            continue;
        map_set(&seen, prefix, s->upstreams[i]);
        for (size_t k = i; k < s->n_upstreams; k++)
            is_active |= s->upstreams[k]->is_enabled &&
                         str_eq(omni_prefix_of(s, s->upstreams[k]), prefix);
        jw_key_str(&w, prefix);
        jw_object(&w);
        jw_key(&w, "provider");
        jw_cstr(&w, s->upstreams[i]->kind->title);
        jw_kv_bool(&w, "active", is_active);
        write_models_of(c, &w, prefix);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    map_done(&seen);
    return json_parse(c->arena, buf_str(&b), 0, &out.catalog, e) &&
           control_reply(c, 200, &catalog_shape, &out);
}

/* ---- /api/provider-models ---- */

struct custom_out {
    struct str id, name, source, api_format;
    struct strs endpoints;
    bool is_hidden;
};
struct customs_out {
    yyjson_val *models;
    struct shape_list overrides;
};
struct custom_query {
    struct str provider, model;
    bool all;
};
struct custom_in {
    struct str provider, id, name, source, api_format;
    struct strs endpoints;
    bool is_hidden;
    yyjson_val *normalize, *developer, *headers, *protocols;
};
enum custom_bit {
    IN_PROVIDER,
    IN_ID,
    IN_NAME,
    IN_SOURCE,
    IN_FORMAT,
    IN_ENDPOINTS,
    IN_HIDDEN
};
struct custom_one {
    struct custom_out model;
};
struct removed_out {
    bool removed;
};
/* clang-format off */
static const struct shape custom_shape = SHAPE(struct custom_out,
    FIELD(struct custom_out, id, 0, "The provider's id of it"),
    FIELD(struct custom_out, name, 0, "Name for people"),
    FIELD(struct custom_out, source, 0, "manual, imported or auto-sync"),
    FIELD_AS(struct custom_out, api_format, "apiFormat", NULL, 0, "chat-completions or responses: what its provider speaks"),
    FIELD_AS(struct custom_out, endpoints, "supportedEndpoints", NULL, 0, "chat, embeddings, images, audio"),
    FIELD_AS(struct custom_out, is_hidden, "isHidden", NULL, OMIT_EMPTY, "Whether it is neither listed nor served"));
static const struct shape customs_shape = SHAPE(struct customs_out,
    FIELD(struct customs_out, models, 0, "Those of the provider; without one, by provider"),
    {FIELD_BASE(struct customs_out, overrides, "modelCompatOverrides", SHAPE_LIST, 0, "None: formats are kept apart by the provider's kind"), .shape = &custom_shape});
static const struct shape custom_query_shape = SHAPE(struct custom_query,
    FIELD(struct custom_query, provider, 0, "Only of this provider"));
static const struct shape remove_query_shape = SHAPE(struct custom_query,
    FIELD(struct custom_query, provider, REQUIRED | NOT_EMPTY, "Whose"),
    FIELD(struct custom_query, model, 0, "The provider's id of the model"),
    FIELD(struct custom_query, all, 0, "true: all of the provider's"));
#define IN(member, name, min, max, flags, doc) FIELD_AS_TEXT(struct custom_in, member, name, NULL, min, max, flags, doc)
/* In the order of enum custom_bit. */
static const struct shape custom_in_shape = SHAPE(struct custom_in,
    IN(provider, "provider", 1, 100, REQUIRED | TRIM, "Kind of provider, or the id or prefix of a node"),
    IN(id, "modelId", 1, 200, REQUIRED | TRIM, "The provider's id of it"),
    IN(name, "modelName", 0, 200, TRIM, "Name for people; the id when absent"),
    IN(source, "source", 0, 20, 0, "manual (when absent), imported or auto-sync"),
    IN(api_format, "apiFormat", 0, 30, 0, "chat-completions or responses: must be what the provider speaks"),
    IN(endpoints, "supportedEndpoints", 0, 0, 0, "chat (when absent), embeddings, images, audio"),
    IN(is_hidden, "isHidden", 0, 0, 0, "true: neither listed nor served"),
    IN(normalize, "normalizeToolCallId", 0, 0, 0, "Not taken: the provider's kind says"),
    IN(developer, "preserveOpenAIDeveloperRole", 0, 0, 0, "Not taken: the provider's kind says"),
    IN(headers, "upstreamHeaders", 0, 0, 0, "Not taken: headers are a provider's in the file"),
    IN(protocols, "compatByProtocol", 0, 0, 0, "Not taken: the provider's kind says"));
static const struct shape custom_one_shape = SHAPE(struct custom_one, FIELD_OBJECT(struct custom_one, model, &custom_shape, 0, "The model"));
static const struct shape removed_shape = SHAPE(struct removed_out, FIELD(struct removed_out, removed, 0, "Whether there was one"));
/* clang-format on */

static const struct {
    const char *endpoint, *capability;
    uint32_t bit;
} endpoint_words[] = {{"chat", "text", CAP_TEXT},
                      {"embeddings", "embedding", CAP_EMBEDDING},
                      {"images", "image", CAP_IMAGE},
                      {"audio", "audio", CAP_AUDIO}};

static struct custom_out show(struct control_call *c, const struct snapshot *s,
                              const struct model *m)
{
    struct strs endpoints = {ARENA_ARRAY(c->arena, struct str, ARRAY_LEN(endpoint_words)), 0};
    bool is_responses = m->n_targets && m->targets[0].upstream->wires[0] == WIRE_RESPONSES;
    for (size_t i = 0; i < ARRAY_LEN(endpoint_words); i++)
        if (m->capabilities & endpoint_words[i].bit)
            endpoints.v[endpoints.n++] = str_of(endpoint_words[i].endpoint);
    return (struct custom_out){.id = id_behind(s, m),
                               .name = m->label.n ? m->label : id_behind(s, m),
                               .source = m->source,
                               .api_format = is_responses ? STR("responses")
                                                          : STR("chat-completions"),
                               .endpoints = endpoints,
                               .is_hidden = !m->is_enabled};
}

/* What models that were added say of whose they are: a node's id, a kind's name as it was given. */
static struct str provider_key(const struct snapshot *s, struct str provider)
{
    const struct custom_kind *node = custom_kind_find(s, provider);
    return node ? node->id : provider;
}

static void write_of(struct control_call *c, struct jw *w, struct str provider)
{
    jw_array(w);
    for (size_t i = 0; i < c->snap->n_models; i++) {
        const struct model *m = c->snap->models[i];
        if (!m->source.n || !str_eq(m->wants, provider))
            continue;
        struct custom_out one = show(c, c->snap, m);
        shape_write(&custom_shape, &one, w);
    }
    jw_array_end(w);
}

static bool list_custom(struct control_call *c, struct err *e)
{
    const struct custom_query *q = c->asked;
    struct customs_out out = {NULL};
    struct buf b;
    struct map seen;
    map_init(&seen);
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    if (q->provider.n) {
        write_of(c, &w, provider_key(c->snap, q->provider));
    } else {
        jw_object(&w);
        for (size_t i = 0; i < c->snap->n_models; i++) {
            const struct model *m = c->snap->models[i];
            if (!m->source.n || map_get(&seen, m->wants))
                continue;
            map_set(&seen, m->wants, (void *)(uintptr_t)m);
            jw_key_str(&w, m->wants);
            write_of(c, &w, m->wants);
        }
        jw_object_end(&w);
    }
    map_done(&seen);
    return json_parse(c->arena, buf_str(&b), 0, &out.models, e) &&
           control_reply(c, 200, &customs_shape, &out);
}

static const struct model *by_name(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_models; i++)
        if (str_eq(s->models[i]->name, name))
            return s->models[i];
    return NULL;
}

static struct str name_of(struct control_call *c, struct str provider, struct str id)
{
    const struct custom_kind *node = custom_kind_find(c->snap, provider);
    return str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(node ? node->prefix : provider),
                   STR_ARG(id));
}

static bool not_taken(const char *field, struct err *e)
{
    return err_field(e, field,
                     "'%s' is not supported: the kind of the provider says how it is spoken to",
                     field);
}

static bool check(struct control_call *c, const struct custom_in *in, struct err *e)
{
    const struct custom_kind *node;
    const struct provider_kind *kind = omni_kind(c->snap, in->provider, &node);
    if (!kind)
        return err_set(e, ERR_INPUT, "unknown_provider", "Unknown provider '" STR_FMT "'",
                       STR_ARG(str_first(in->provider, 100)));
    if (!json_absent(in->normalize))
        return not_taken("normalizeToolCallId", e);
    if (!json_absent(in->developer))
        return not_taken("preserveOpenAIDeveloperRole", e);
    if (!json_absent(in->headers))
        return not_taken("upstreamHeaders", e);
    if (!json_absent(in->protocols))
        return not_taken("compatByProtocol", e);
    if (in->source.n && !str_is(in->source, "manual") && !str_is(in->source, "imported") &&
        !str_is(in->source, "auto-sync"))
        return err_field(e, "source", "'source' must be manual, imported or auto-sync");
    bool wants_responses = str_is(in->api_format, "responses"), speaks = kind->is_builtin;
    if (in->api_format.n && !wants_responses && !str_is(in->api_format, "chat-completions"))
        return err_field(e, "apiFormat", "'apiFormat' must be chat-completions or responses");
    for (size_t i = 0; i < 4 && kind->wires[i] != WIRE_NONE; i++)
        speaks |= kind->wires[i] == WIRE_RESPONSES;
    return !wants_responses || speaks ||
           err_field(e, "apiFormat", "'apiFormat': this provider does not speak responses");
}

static bool take_endpoints(struct control_call *c, const struct strs *list, struct strs *out,
                           struct err *e)
{
    *out = (struct strs){ARENA_ARRAY(c->arena, struct str, list->n + 1), 0};
    for (size_t i = 0; i < list->n; i++) {
        size_t w = 0;
        while (w < ARRAY_LEN(endpoint_words) &&
               !str_eq(list->v[i], str_of(endpoint_words[w].endpoint)))
            w++;
        if (w == ARRAY_LEN(endpoint_words))
            return err_field(e, "supportedEndpoints",
                             "'supportedEndpoints' must be of chat, embeddings, images, audio");
        out->v[out->n++] = str_of(endpoint_words[w].capability);
    }
    return true;
}

static bool put_custom(struct control_call *c, enum change_mode mode, struct str name,
                       struct err *e)
{
    const struct custom_in *in = c->in;
    struct model_target target = {provider_key(c->snap, in->provider), in->id};
    bool is_new = mode == CHANGE_CREATE;
    struct model_change m = {.name = name,
                             .takes_pools = true,
                             .targets = &target,
                             .n_targets = 1,
                             .label = in->name,
                             .source = in->source.n ? in->source : STR("manual"),
                             .is_enabled = !in->is_hidden};
    m.given = (is_new ? MODEL_TARGETS | MODEL_SOURCE : 0u) |
              (is_new || c->present >> IN_NAME & 1 ? MODEL_LABEL : 0u) |
              (c->present >> IN_SOURCE & 1 ? MODEL_SOURCE : 0u) |
              (c->present >> IN_ENDPOINTS & 1 ? MODEL_CAPABILITIES : 0u) |
              (c->present >> IN_HIDDEN & 1 ? MODEL_ENABLED : 0u);
    if (!take_endpoints(c, &in->endpoints, &m.capabilities, e))
        return false;
    if (!change_model(c, mode, &m, e)) {
        omni_name_field(e);
        return false;
    }
    return true;
}

static bool reply_custom(struct control_call *c, struct str name, struct err *e)
{
    struct snapshot *now = snapshot_current();
    const struct model *m = by_name(now, name);
    struct custom_one out;
    if (m)
        out.model = show(c, now, m);
    bool ok = m ? control_reply(c, 200, &custom_one_shape, &out) : omni_not_found("Model", name, e);
    snapshot_unref(now);
    return ok;
}

static bool add_custom(struct control_call *c, struct err *e)
{
    const struct custom_in *in = c->in;
    struct str name = name_of(c, in->provider, in->id);
    if (!check(c, in, e))
        return false;
    if (by_name(c->snap, name)) /* as it is */
        return reply_custom(c, name, e);
    return put_custom(c, CHANGE_CREATE, name, e) && reply_custom(c, name, e);
}

static bool change_custom(struct control_call *c, struct err *e)
{
    const struct custom_in *in = c->in;
    struct str name = name_of(c, in->provider, in->id);
    if (!check(c, in, e))
        return false;
    return put_custom(c, CHANGE_UPDATE, name, e) && reply_custom(c, name, e);
}

/* All that were added for a provider, in one change. */
static bool remove_all(struct control_call *c, struct str provider, bool *is_any, struct err *e)
{
    struct models_add change = {.provider = provider, .source = STR("manual")};
    struct strs added, skipped;
    change.gone.v = ARENA_ARRAY(c->arena, struct str, c->snap->n_models + 1);
    for (size_t i = 0; i < c->snap->n_models; i++) {
        const struct model *m = c->snap->models[i];
        if (m->source.n && str_eq(m->wants, provider))
            change.gone.v[change.gone.n++] = m->name;
    }
    *is_any = change.gone.n > 0;
    return !*is_any || change_models_add(c, &change, &added, &skipped, e);
}

static bool remove_custom(struct control_call *c, struct err *e)
{
    const struct custom_query *q = c->asked;
    struct removed_out out = {false};
    struct str name = name_of(c, q->provider, q->model);
    if (q->all) {
        if (!remove_all(c, provider_key(c->snap, q->provider), &out.removed, e))
            return false;
    } else {
        const struct model *m = by_name(c->snap, name);
        if (!q->model.n)
            return err_field(e, "model", "'model' is required, or all=true");
        out.removed = m && m->source.n;
        if (out.removed && !change_model_delete(c, name, true, e))
            return false;
    }
    return control_reply(c, 200, &removed_shape, &out);
}

/* ---- /api/providers/{id}/sync-models, /refresh ---- */

struct synced_out {
    bool ok;
    struct str provider;
    int64_t n;
    struct strs models;
};
/* clang-format off */
static const struct shape synced_shape = SHAPE(struct synced_out,
    FIELD(struct synced_out, ok, 0, "true"),
    FIELD(struct synced_out, provider, 0, "Its kind or node"),
    FIELD_AS(struct synced_out, n, "syncedModels", NULL, 0, "How many its list has"),
    FIELD(struct synced_out, models, 0, "Their ids"));
/* clang-format on */

static const struct upstream *find_connection(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    const struct upstream *u = omni_connection(c->snap, id);
    if (!u)
        omni_not_found("Connection", id, e);
    return u;
}

/* What an earlier sync added and the list does not have any more goes. */
static bool sync_models(struct control_call *c, struct err *e)
{
    const struct upstream *u = find_connection(c, e);
    struct discovered found;
    if (!u ||
        !upstream_models_until(c->arena, u, MODELS_TIMEOUT_MS, c->control->is_stopping, &found, e))
        return false;
    if (found.n > MAX_SYNCED)
        return err_set(e, ERR_UPSTREAM, "too_many_models", "Its list has more than %d models",
                       MAX_SYNCED);
    struct str provider = str_dup(c->arena, provider_key(c->snap, omni_provider_of(u))),
               prefix = omni_prefix_of(c->snap, u);
    struct models_add add = {.provider = provider,
                             .prefix = str_fmt(c->arena, STR_FMT "/", STR_ARG(prefix)),
                             .ids = {found.models, found.n},
                             .source = STR("auto-sync")};
    struct strs added, skipped;
    struct map listed;
    map_init(&listed);
    for (size_t i = 0; i < found.n; i++)
        map_set(&listed, found.models[i], &found);
    add.gone.v = ARENA_ARRAY(c->arena, struct str, c->snap->n_models + 1);
    for (size_t i = 0; i < c->snap->n_models; i++) {
        const struct model *m = c->snap->models[i];
        if (str_is(m->source, "auto-sync") && str_eq(m->wants, provider) &&
            !map_get(&listed, id_behind(c->snap, m)))
            add.gone.v[add.gone.n++] = m->name;
    }
    map_done(&listed);
    bool ok = change_models_add(c, &add, &added, &skipped, e);
    struct synced_out out = {true, provider, (int64_t)found.n, {found.models, found.n}};
    return ok && control_reply(c, 200, &synced_shape, &out);
}

static bool refresh(struct control_call *c, struct err *e)
{
    return find_connection(c, e) != NULL &&
           err_set(e, ERR_INPUT, "not_oauth",
                   "This connection has an API key: there is no token to renew");
}

/* ---- /api/models/alias ---- */

struct alias_in {
    struct str model, alias;
};
struct alias_out {
    bool success;
    struct str model, alias;
};
struct aliases_out {
    yyjson_val *aliases;
};
struct alias_query {
    struct str alias;
};
/* clang-format off */
static const struct shape alias_in_shape = SHAPE(struct alias_in,
    FIELD_TEXT(struct alias_in, model, 1, 200, REQUIRED | TRIM, "What is meant: a served model, a combo, or provider/model"),
    FIELD_TEXT(struct alias_in, alias, 1, 200, REQUIRED | TRIM, "The name that clients ask for; * and ? make it a pattern"));
static const struct shape alias_out_shape = SHAPE(struct alias_out,
    FIELD(struct alias_out, success, 0, "true"),
    FIELD(struct alias_out, model, 0, "What is meant"),
    FIELD(struct alias_out, alias, 0, "The name that clients ask for"));
static const struct shape aliases_shape = SHAPE(struct aliases_out, FIELD_JSON(struct aliases_out, aliases, JSON_MAP, &json_of_text, 0, "What each alias means"));
static const struct shape alias_query_shape = SHAPE(struct alias_query, FIELD(struct alias_query, alias, 0, "Which"));
/* clang-format on */

bool omni_aliases(struct control_call *c, const char *source, yyjson_val **out, struct err *e)
{
    yyjson_val *root, *k, *v;
    struct buf b;
    size_t i, max;
    if (!change_view(c, &root, e))
        return false;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (json_get(root, "aliases"), i, max, k, v) {
        if (source && !str_eq(json_get_str(v, "source"), str_of(source)))
            continue;
        jw_key_str(&w, json_str(k));
        jw_str(&w, yyjson_is_str(v) ? json_str(v) : json_get_str(v, "to"));
    }
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, out, e);
}

static bool list_aliases(struct control_call *c, struct err *e)
{
    struct aliases_out out = {NULL};
    return omni_aliases(c, NULL, &out.aliases, e) && control_reply(c, 200, &aliases_shape, &out);
}

/* It may mean what is not there yet, as OmniRoute's clients set things up in any order. */
static bool set_alias(struct control_call *c, struct err *e)
{
    const struct alias_in *in = c->in;
    struct entry_change change = {
        .section = SECTION_ALIASES, .name = in->alias, .allows_unknown = true};
    struct str text = str_fmt(c->arena, "{\"to\":" STR_FMT "}",
                              STR_ARG(omni_text(c->arena, in->model)));
    if (!json_parse(c->arena, text, 0, &change.value, e))
        return false;
    if (!change_entry(c, CHANGE_PUT, &change, e)) {
        if (strcmp(e->field, "to") == 0)
            (void)snprintf(e->field, sizeof e->field, "model");
        return false;
    }
    struct alias_out out = {true, in->model, in->alias};
    return control_reply(c, 200, &alias_out_shape, &out);
}

struct success_out {
    bool success;
};
static const struct shape success_shape = SHAPE(struct success_out,
                                                FIELD(struct success_out, success, 0, "true"));

static bool remove_alias(struct control_call *c, struct err *e)
{
    const struct alias_query *q = c->asked;
    struct success_out out = {true};
    struct strs users;
    if (!q->alias.n)
        return err_field(e, "alias", "'alias' is required");
    return change_entry_delete(c, SECTION_ALIASES, q->alias, true, &users, e) &&
           control_reply(c, 200, &success_shape, &out);
}

/* clang-format off */
const struct endpoint omni_model_endpoints[] = {
    { HTTP_GET,    "/api/models",                     SURFACE_OMNIROUTE, ACCESS_VIEWER, "List models by provider", .on_worker = list, .query = &models_query_shape, .out = &models_shape },
    { HTTP_GET,    "/api/models/catalog",             SURFACE_OMNIROUTE, ACCESS_VIEWER, "List every known model by provider", .on_worker = catalog, .out = &catalog_shape },
    { HTTP_PUT,    "/api/models",                     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Set an alias of a model, as PUT /api/models/alias", .on_worker = set_alias, .in = &alias_in_shape, .out = &alias_out_shape },
    { HTTP_GET,    "/api/models/alias",               SURFACE_OMNIROUTE, ACCESS_VIEWER, "List model aliases", .on_worker = list_aliases, .out = &aliases_shape },
    { HTTP_POST,   "/api/models/alias",               SURFACE_OMNIROUTE, ACCESS_ADMIN, "Set an alias of a model", .on_worker = set_alias, .in = &alias_in_shape, .out = &alias_out_shape, .is_create = true },
    { HTTP_PUT,    "/api/models/alias",               SURFACE_OMNIROUTE, ACCESS_ADMIN, "Set an alias of a model", .on_worker = set_alias, .in = &alias_in_shape, .out = &alias_out_shape },
    { HTTP_DELETE, "/api/models/alias",               SURFACE_OMNIROUTE, ACCESS_ADMIN, "Remove a model alias", .on_worker = remove_alias, .query = &alias_query_shape, .out = &success_shape },
    { HTTP_GET,    "/api/provider-models",            SURFACE_OMNIROUTE, ACCESS_VIEWER, "List models that were added to providers", .on_worker = list_custom, .query = &custom_query_shape, .out = &customs_shape },
    { HTTP_POST,   "/api/provider-models",            SURFACE_OMNIROUTE, ACCESS_ADMIN, "Add a model to a provider", .on_worker = add_custom, .in = &custom_in_shape, .out = &custom_one_shape, .is_create = true },
    { HTTP_PUT,    "/api/provider-models",            SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a model that was added to a provider", .on_worker = change_custom, .in = &custom_in_shape, .out = &custom_one_shape },
    { HTTP_DELETE, "/api/provider-models",            SURFACE_OMNIROUTE, ACCESS_ADMIN, "Remove a model that was added to a provider", .on_worker = remove_custom, .query = &remove_query_shape, .out = &removed_shape },
    { HTTP_POST,   "/api/providers/{id}/sync-models", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Add what a connection's list of models has", .on_worker = sync_models, .out = &synced_shape, .waits = true, .is_create = true },
    { HTTP_POST,   "/api/providers/{id}/refresh",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Renew the token of a connection: none has one yet", .on_worker = refresh, .out = &success_shape },
    {0},
};
/* clang-format on */
