/* admin_config.c - /admin/api/config: the configuration as llm-rosetta's panel shows and changes it. Every change is api/change.h's. */
#include "api/admin.h"
#include "api/change.h"
#include "json/shape_json.h"
#include "domain/discover.h"
#include "domain/proxy.h"
#include "version.h"

#define MODELS_TIMEOUT_MS 10000

struct server_in {
    struct str proxy;
};
struct provider_put {
    struct str api_key, base_url, type, proxy, rename_from;
};
struct model_put {
    struct str provider;
    struct strs capabilities;
    struct str upstream_model, rename_from;
};
struct models_in {
    struct str provider;
    struct strs models;
    struct str prefix;
    struct strs capabilities;
};
struct shim_out {
    struct str name, base, logo, default_base_url, default_api_key_env;
};
struct config_out {
    struct str config_path;
    yyjson_val *providers, *models, *server;
    bool credential_visible;
    struct str version;
    struct strs known_provider_types;
    struct shape_list registered_shims;
};
struct changed_out { /* what the changing calls answer, each its own part of it */
    bool ok;
    struct str provider, model, deleted;
    bool enabled;
    yyjson_val *providers, *models;
    struct strs capabilities, cascade_deleted_models, added, skipped;
    struct str message;
    yyjson_val *server;
};
struct found_out {
    struct str provider, api_standard;
    struct strs models;
};
struct reveal_out {
    struct str api_key;
};

/* clang-format off */
static const struct shape server_in_shape = SHAPE(struct server_in,
    FIELD(struct server_in, proxy, 0, "Proxy of upstreams without one of their own; empty or null removes it, absent leaves it"));
static const struct shape provider_put_shape = SHAPE(struct provider_put,
    FIELD(struct provider_put, api_key,     0, "Credential; empty or masked keeps the stored one"),
    FIELD(struct provider_put, base_url,    0, "Base URL; always needed"),
    FIELD(struct provider_put, type,        0, "API standard or shim; absent: the provider's name says it"),
    FIELD(struct provider_put, proxy,       0, "HTTP or SOCKS5 proxy; empty or absent removes it"),
    FIELD(struct provider_put, rename_from, 0, "Old name: the entry is renamed, and models that name it follow"));
static const struct shape model_put_shape = SHAPE(struct model_put,
    FIELD(struct model_put, provider,       0, "Provider that serves it; always needed"),
    FIELD(struct model_put, capabilities,   0, "What it can; text when absent"),
    FIELD(struct model_put, upstream_model, 0, "The provider's name of it; absent: the same"),
    FIELD(struct model_put, rename_from,    0, "Old name: the entry is renamed"));
static const struct shape models_in_shape = SHAPE(struct models_in,
    FIELD(struct models_in, provider,     0, "Provider that serves them; always needed"),
    FIELD(struct models_in, models,       0, "The provider's names of them; at least one"),
    FIELD(struct models_in, prefix,       0, "Put before each name"),
    FIELD(struct models_in, capabilities, 0, "What all of them can; text, vision and tools when absent"));
static const struct shape shim_shape = SHAPE(struct shim_out,
    FIELD(struct shim_out, name, 0, "Name to give as type"),
    FIELD(struct shim_out, base, 0, "Format that it speaks"),
    FIELD(struct shim_out, logo, NULL_EMPTY, "URL of its picture, or null"),
    FIELD(struct shim_out, default_base_url, NULL_EMPTY, "Where it is, unless told otherwise"),
    FIELD(struct shim_out, default_api_key_env, NULL_EMPTY, "Variable that usually holds its key"));
/* As they are written, so that nothing of them must be there, and more may be. */
static const struct shape written_provider_shape = MEMBERS("provider",
    MEMBER("type",     SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "API standard or shim"),
    MEMBER("api_key",  SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "Credential, masked"),
    MEMBER("base_url", SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "Base URL"),
    MEMBER("proxy",    SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "HTTP or SOCKS5 proxy, its credentials masked"));
static const struct shape written_model_shape = MEMBERS("model",
    MEMBER("provider",       SHAPE_STR,  0, "Provider that serves it; of several the first"),
    MEMBER("capabilities",   SHAPE_STRS, 0, "What it can"),
    MEMBER("upstream_model", SHAPE_STR,  OMIT_EMPTY, "The provider's name of it; absent: the same"));
static const struct shape config_shape = SHAPE(struct config_out,
    FIELD(struct config_out, config_path, NULL_EMPTY, "The file; null when there is none"),
    FIELD_JSON(struct config_out, providers, JSON_MAP, &written_provider_shape, 0, "By name, as written, keys masked"),
    FIELD_JSON(struct config_out, models, JSON_MAP, &written_model_shape, 0, "By name: provider, capabilities, upstream_model"),
    FIELD_JSON(struct config_out, server, 0, &json_of_object, 0, "Settings as written, keys masked"),
    FIELD(struct config_out, credential_visible, 0, "Whether keys can be revealed"),
    FIELD(struct config_out, version, 0, "Of sluice"),
    FIELD(struct config_out, known_provider_types, 0, "The base types"),
    FIELD_LIST(struct config_out, registered_shims, &shim_shape, 0, "Vendors by name"));
static const struct shape provider_changed_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD(struct changed_out, provider, 0, "Its name"),
    FIELD_JSON(struct changed_out, providers, JSON_LIST, &json_of_text, 0, "Names of the providers in use"));
static const struct shape provider_deleted_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD(struct changed_out, deleted, 0, "Its name"),
    FIELD_JSON(struct changed_out, providers, JSON_LIST, &json_of_text, 0, "Names of the providers in use"),
    FIELD(struct changed_out, cascade_deleted_models, OMIT_EMPTY, "Models that went with it"));
static const struct shape toggled_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD(struct changed_out, provider, 0, "Its name"),
    FIELD(struct changed_out, enabled, 0, "Whether it is used now"));
static const struct shape model_changed_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD(struct changed_out, model, 0, "Its name"),
    FIELD(struct changed_out, provider, 0, "Who serves it"),
    FIELD(struct changed_out, capabilities, 0, "What it can"),
    FIELD_JSON(struct changed_out, models, JSON_MAP, &json_of_text, 0, "Provider of each model in use, by name"));
static const struct shape model_deleted_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD(struct changed_out, deleted, 0, "Its name"),
    FIELD_JSON(struct changed_out, models, JSON_MAP, &json_of_text, 0, "Provider of each model in use, by name"));
static const struct shape models_added_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD(struct changed_out, added, 0, "New names"),
    FIELD(struct changed_out, skipped, 0, "Names that were there already"),
    FIELD(struct changed_out, message, OMIT_EMPTY, "When nothing was added"),
    FIELD_JSON(struct changed_out, models, JSON_MAP, &json_of_text, OMIT_EMPTY, "Provider of each model in use, by name; when something was added"));
static const struct shape server_changed_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD_JSON(struct changed_out, server, 0, &json_of_object, 0, "Settings as written, keys masked"));
static const struct shape reloaded_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, ok, 0, "true"),
    FIELD_JSON(struct changed_out, providers, JSON_LIST, &json_of_text, 0, "Names of the providers in use"),
    FIELD_JSON(struct changed_out, models, JSON_MAP, &json_of_text, 0, "Provider of each model in use, by name"));
static const struct shape found_shape = SHAPE(struct found_out,
    FIELD(struct found_out, provider, 0, "Its name"),
    FIELD(struct found_out, api_standard, 0, "Format that it speaks"),
    FIELD(struct found_out, models, 0, "Its names of them, sorted"));
static const struct shape reveal_shape = SHAPE(struct reveal_out,
    FIELD(struct reveal_out, api_key, 0, "The key as written, maybe ${VAR}"));
/* clang-format on */

/* ---- what is in use ---- */

/* A list of names, or a map from models to their providers, of the newest snapshot. */
static yyjson_val *parsed(struct control_call *c, const struct buf *b)
{
    yyjson_val *v = NULL;
    return json_parse(c->arena, buf_str(b), 0, &v, NULL) ? v : NULL;
}

static yyjson_val *live_providers(struct control_call *c)
{
    struct snapshot *now = snapshot_current();
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < now->n_upstreams; i++)
        if (now->upstreams[i]->is_enabled && now->upstreams[i]->from != ORIGIN_DEFAULT)
            jw_str(&w, now->upstreams[i]->name);
    jw_array_end(&w);
    snapshot_unref(now);
    return parsed(c, &b);
}

static yyjson_val *live_models(struct control_call *c)
{
    struct snapshot *now = snapshot_current();
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < now->n_models; i++) {
        const struct model *m = now->models[i];
        if (!m->is_enabled || m->n_targets == 0 || m->from == ORIGIN_DEFAULT)
            continue;
        jw_key_str(&w, m->name);
        jw_str(&w, m->targets[0].upstream->name);
    }
    jw_object_end(&w);
    snapshot_unref(now);
    return parsed(c, &b);
}

/* ---- the configuration, masked ---- */

static void write_masked_members(struct jw *w, struct arena *a, yyjson_val *object)
{
    size_t i, max;
    yyjson_val *k, *v;
    jw_object(w);
    yyjson_obj_foreach (object, i, max, k, v) {
        jw_key_str(w, json_str(k));
        jw_str(w, admin_mask(a, json_str(v)));
    }
    jw_object_end(w);
}

static void write_provider(struct jw *w, struct arena *a, struct str name, yyjson_val *entry)
{
    size_t i, max;
    yyjson_val *k, *v;
    bool has_type = false;
    jw_object(w);
    yyjson_obj_foreach (entry, i, max, k, v) {
        struct str key = json_str(k);
        if (str_is(key, "type") && json_str(v).n == 0)
            continue;
        has_type |= str_is(key, "type");
        jw_key_str(w, key);
        if (str_is(key, "api_key") && yyjson_is_str(v))
            jw_str(w, admin_mask(a, json_str(v)));
        else if (str_is(key, "proxy") && yyjson_is_str(v))
            jw_str(w, secret_mask_proxy(a, json_str(v)));
        else if (str_is(key, "base_url") && yyjson_is_str(v))
            jw_str(w, secret_mask_url(a, json_str(v)));
        else if (str_is(key, "headers")) /* which may carry credentials */
            write_masked_members(w, a, v);
        else
            jw_val(w, v);
    }
    if (!has_type)
        jw_kv_str(w, "type", name);
    jw_object_end(w);
}

static yyjson_val *masked_providers(struct control_call *c, yyjson_val *root)
{
    size_t i, max;
    yyjson_val *k, *v;
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (json_get(root, "providers"), i, max, k, v) {
        jw_key_str(&w, json_str(k));
        write_provider(&w, c->arena, json_str(k), v);
    }
    jw_object_end(&w);
    return parsed(c, &b);
}

/* Whichever way it was written: {provider, capabilities, upstream_model, …}. */
static void write_model(struct jw *w, yyjson_val *entry)
{
    size_t i, max;
    yyjson_val *k, *v, *first = yyjson_arr_get_first(json_get(entry, "targets")),
                       *caps = json_get(entry, "capabilities");
    yyjson_val *from = first && !yyjson_is_str(first) ? first : entry;
    struct str provider = yyjson_is_str(entry)   ? json_str(entry)
                          : yyjson_is_str(first) ? json_str(first)
                                                 : json_get_str(from, "provider");
    struct str upstream = json_get_str(from, "upstream_model");
    jw_object(w);
    jw_kv_str(w, "provider", provider);
    jw_key(w, "capabilities");
    caps ? jw_val(w, caps) : jw_raw(w, STR("[\"text\"]"));
    if (upstream.n)
        jw_kv_str(w, "upstream_model", upstream);
    yyjson_obj_foreach (entry, i, max, k, v) {
        struct str key = json_str(k);
        if (str_is(key, "provider") || str_is(key, "capabilities") ||
            str_is(key, "upstream_model") || (str_is(key, "targets") && yyjson_arr_size(v) < 2))
            continue;
        jw_key_str(w, key);
        jw_val(w, v);
    }
    jw_object_end(w);
}

static yyjson_val *plain_models(struct control_call *c, yyjson_val *root)
{
    size_t i, max;
    yyjson_val *k, *v;
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (json_get(root, "models"), i, max, k, v) {
        jw_key_str(&w, json_str(k));
        write_model(&w, v);
    }
    jw_object_end(&w);
    return parsed(c, &b);
}

static bool is_secret_setting(struct str name)
{
    return str_is(name, "admin_password") || str_is(name, "api_key");
}

static yyjson_val *masked_server(struct control_call *c, yyjson_val *root)
{
    size_t i, max;
    yyjson_val *k, *v;
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (json_get(root, "server"), i, max, k, v) {
        struct str key = json_str(k);
        if (str_is(key, "api_keys") && yyjson_arr_size(v) == 0)
            continue; /* as nobody wrote it */
        jw_key_str(&w, key);
        if (str_is(key, "api_keys"))
            admin_write_keys(&w, c, v);
        else if (is_secret_setting(key) && yyjson_is_str(v))
            jw_str(&w, str_is(key, "api_key") ? admin_mask(c->arena, json_str(v)) : STR("***"));
        else if (str_is(key, "proxy") && yyjson_is_str(v))
            jw_str(&w, secret_mask_proxy(c->arena, json_str(v)));
        else
            jw_val(&w, v);
    }
    jw_object_end(&w);
    return parsed(c, &b);
}

static struct shim_out shim_of(const struct provider_kind *k, const char *name)
{
    /* both are read: this one is theirs */
    bool is_google = str_is(str_of(k->key_env), "GEMINI_API_KEY");
    return (struct shim_out){.name = str_of(name),
                             .base = str_of(wire_of(k->wires[0])->name),
                             .default_base_url = str_of(k->base_url),
                             .default_api_key_env = is_google ? STR("GOOGLE_API_KEY")
                                                              : str_of(k->key_env)};
}

/* Every name that can stand as a type and says more than a format: the vendors' own and llm-rosetta's. */
static struct shape_list shims(struct arena *a)
{
    size_t n = 0, used = 0;
    const char *alias;
    const struct provider_kind *k;
    while (provider_kind_at(n))
        n++;
    for (size_t i = 0; provider_alias_at(i, &alias); i++)
        n++;
    struct shim_out *v = ARENA_ARRAY(a, struct shim_out, n);
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++)
        if (!k->is_builtin)
            v[used++] = shim_of(k, k->id);
    for (size_t i = 0; (k = provider_alias_at(i, &alias)) != NULL; i++) {
        const struct provider_kind *home = provider_kind_home(str_of(alias));
        v[used] = shim_of(home ? home : k, alias);
        v[used++].base = str_of(wire_of(k->wires[0])->name);
    }
    return (struct shape_list){v, used};
}

static bool get_config(struct control_call *c, struct err *e)
{
    static struct str types[] = {STR_INIT("openai_chat"), STR_INIT("openai_responses"),
                                 STR_INIT("open_responses"), STR_INIT("anthropic"),
                                 STR_INIT("google")};
    yyjson_val *root;
    if (!admin_view(c, &root, e))
        return false;
    struct config_out out = {.config_path = c->control->config_path,
                             .providers = masked_providers(c, root),
                             .models = plain_models(c, root),
                             .server = masked_server(c, root),
                             .credential_visible = c->snap->settings.credential_visible,
                             .version = str_of(sluice_version),
                             .known_provider_types = {types, ARRAY_LEN(types)},
                             .registered_shims = shims(c->arena)};
    return control_reply(c, 200, &config_shape, &out);
}

/* ---- providers ---- */

/* The refusals of api/change.h in this surface's words; any other stays as it is. */
static bool is_code(const struct err *e, const char *code)
{
    return strcmp(e->code, code) == 0;
}

static bool provider_refused(struct err *e, struct str name, struct str from)
{
    if (is_code(e, "not_found"))
        return err_set(e, ERR_NOT_FOUND, "not_found", "Provider '" STR_FMT "' not found",
                       STR_ARG(name));
    if (is_code(e, "original_not_found"))
        return err_set(e, ERR_NOT_FOUND, "original_not_found",
                       "Original provider '" STR_FMT "' not found", STR_ARG(from));
    if (is_code(e, "already_exists"))
        return err_set(e, ERR_CONFLICT, "already_exists", "Provider '" STR_FMT "' already exists",
                       STR_ARG(name));
    return false;
}

static bool put_provider(struct control_call *c, struct err *e)
{
    const struct provider_put *in = c->in;
    struct str name = route_param(&c->params, "name");
    struct str target = in->rename_from.n ? in->rename_from : name;
    yyjson_val *root;
    if (str_index(name, '/') < name.n) /* %2F: paths are decoded before they are routed */
        return err_set(e, ERR_NOT_FOUND, "not_found", "Not Found");
    if (!admin_view(c, &root, e))
        return false;
    yyjson_val *was = admin_member(json_get(root, "providers"), target);
    bool keeps_key = was && (in->api_key.n == 0 || str_contains(in->api_key, STR("***")));
    if ((!keeps_key && in->api_key.n == 0) || in->base_url.n == 0)
        return err_set(e, ERR_INPUT, "missing_field", "Both 'api_key' and 'base_url' are required");
    struct provider_change p = {.name = name,
                                .rename_from = in->rename_from,
                                .given = PROVIDER_KIND | PROVIDER_BASE_URL | PROVIDER_PROXY |
                                         (keeps_key ? 0u : (uint32_t)PROVIDER_API_KEY),
                                .kind = in->type,
                                .base_url = in->base_url,
                                .proxy = in->proxy,
                                .api_key = secret_of(in->api_key)};
    if (!change_provider(c, CHANGE_PUT, &p, e))
        return provider_refused(e, name, in->rename_from);
    struct changed_out out = {.ok = true, .provider = name, .providers = live_providers(c)};
    return control_reply(c, 200, &provider_changed_shape, &out);
}

/* ['a', 'b'] as Python writes it: scripts were made to read that. */
static struct str python_list(struct arena *a, const struct strs *names)
{
    struct buf b;
    buf_init_arena(&b, a, 65536);
    buf_char(&b, '[');
    for (size_t i = 0; i < names->n; i++) {
        struct str s = names->v[i];
        char quote = str_index(s, '\'') < s.n && str_index(s, '"') == s.n ? '"' : '\'';
        buf_fmt(&b, "%s%c", i ? ", " : "", quote);
        for (size_t k = 0; k < s.n; k++) {
            if (s.p[k] == quote || s.p[k] == '\\')
                buf_char(&b, '\\');
            buf_char(&b, s.p[k]);
        }
        buf_char(&b, quote);
    }
    buf_char(&b, ']');
    return buf_str(&b);
}

static bool delete_provider(struct control_call *c, struct err *e)
{
    struct str name = route_param(&c->params, "name"),
               asked = query_get(c->arena, c->query, "cascade");
    bool cascade = str_is(asked, "true") || str_is(asked, "1");
    struct strs models;
    if (!change_provider_delete(c, name, cascade, &models, e)) {
        if (is_code(e, "in_use"))
            return err_set(e, ERR_CONFLICT, "in_use",
                           "Cannot delete provider '" STR_FMT "': referenced by models: " STR_FMT,
                           STR_ARG(name), STR_ARG(python_list(c->arena, &models)));
        return provider_refused(e, name, name);
    }
    struct changed_out out = {.ok = true,
                              .deleted = name,
                              .providers = live_providers(c),
                              .cascade_deleted_models = models};
    return control_reply(c, 200, &provider_deleted_shape, &out);
}

static bool toggle_provider(struct control_call *c, struct err *e)
{
    struct changed_out out = {.ok = true, .provider = route_param(&c->params, "name")};
    return change_provider_toggle(c, out.provider, &out.enabled, e)
               ? control_reply(c, 200, &toggled_shape, &out)
               : provider_refused(e, out.provider, out.provider);
}

static bool provider_key(struct control_call *c, struct err *e)
{
    struct str name = route_param(&c->params, "name");
    yyjson_val *root;
    if (!admin_may_reveal(c, e) || !admin_view(c, &root, e))
        return false;
    yyjson_val *entry = admin_member(json_get(root, "providers"), name);
    if (!entry)
        return err_set(e, ERR_NOT_FOUND, "not_found", "Provider '" STR_FMT "' not found",
                       STR_ARG(name));
    struct reveal_out out = {json_get_str(entry, "api_key")};
    control_audit(c, "reveal", str_fmt(c->arena, "provider " STR_FMT, STR_ARG(name)), STR_NONE,
                  STR_NONE);
    return control_reply(c, 200, &reveal_shape, &out);
}

/* Why an upstream gave no list, as the panel shows it. Behind a proxy it may be the proxy that is not there. */
static bool no_list(struct arena *a, const struct upstream *u, const struct discovered *found,
                    const struct err *why, struct err *e)
{
    struct str url = found->url;
    if (u->origin.proxy.n && !found->status)
        return err_set(e, ERR_UPSTREAM, why->code,
                       "No answer from " STR_FMT " through the proxy " STR_FMT
                       ": %s. Check the proxy as well as the Base URL.",
                       STR_ARG(url), STR_ARG(secret_mask_proxy(a, u->origin.proxy)), why->message);
    if (found->status >= 400)
        return err_set(e, ERR_UPSTREAM, why->code,
                       "Upstream returned HTTP %d. This provider may not support model listing.",
                       found->status);
    if (found->status)
        return err_set(e, ERR_UPSTREAM, why->code, "Upstream returned non-JSON response");
    if (strcmp(found->fault, "fetch_timeout") == 0) {
        err_set(e, ERR_UPSTREAM, why->code,
                "Connection to " STR_FMT " timed out. "
                "Check that the service is running and can be reached.",
                STR_ARG(url));
        return false;
    }
    if (strcmp(found->fault, "fetch_unresolved") == 0)
        return err_set(e, ERR_UPSTREAM, why->code,
                       "Cannot resolve hostname in " STR_FMT ". Check the Base URL.", STR_ARG(url));
    if (strcmp(found->fault, "fetch_refused") == 0)
        return err_set(e, ERR_UPSTREAM, why->code,
                       "Connection refused at " STR_FMT
                       ". Check that the service is running and the port is correct.",
                       STR_ARG(url));
    return err_set(e, ERR_UPSTREAM, why->code, "Failed to connect to upstream: %s", why->message);
}

static bool provider_models(struct control_call *c, struct err *e)
{
    struct str name = route_param(&c->params, "name");
    const struct upstream *u = snapshot_upstream(c->snap, name);
    struct discovered found;
    struct err why = ERR_INIT;
    if (!u || !u->is_enabled)
        return err_set(e, ERR_NOT_FOUND, "not_found", "Provider '" STR_FMT "' not found",
                       STR_ARG(name));
    if (!upstream_models_until(c->arena, u, MODELS_TIMEOUT_MS, c->control->is_stopping, &found,
                               &why))
        return no_list(c->arena, u, &found, &why, e);
    struct found_out out = {.provider = name,
                            .api_standard = str_of(wire_of(u->wires[0])->name),
                            .models = {found.models, found.n}};
    return control_reply(c, 200, &found_shape, &out);
}

/* ---- models ---- */

static bool model_refused(struct err *e, struct str name, struct str from, struct str provider)
{
    if (is_code(e, "not_found"))
        return err_set(e, ERR_NOT_FOUND, "not_found", "Model '" STR_FMT "' not found",
                       STR_ARG(name));
    if (is_code(e, "original_not_found"))
        return err_set(e, ERR_NOT_FOUND, "original_not_found",
                       "Original model '" STR_FMT "' not found", STR_ARG(from));
    if (is_code(e, "already_exists"))
        return err_set(e, ERR_CONFLICT, "already_exists", "Model '" STR_FMT "' already exists",
                       STR_ARG(name));
    if (is_code(e, "unknown_provider"))
        return err_set(e, ERR_INPUT, "unknown_provider",
                       "Provider '" STR_FMT "' not found in config", STR_ARG(provider));
    return false;
}

static bool put_model(struct control_call *c, struct err *e)
{
    static struct str text[] = {STR_INIT("text")};
    const struct model_put *in = c->in;
    struct str name = route_param(&c->params, "name");
    struct model_target target = {in->provider, in->upstream_model};
    struct strs capabilities = c->present & 2 ? in->capabilities : (struct strs){text, 1};
    struct model_change m = {.name = name,
                             .rename_from = in->rename_from,
                             .given = MODEL_TARGETS | MODEL_CAPABILITIES,
                             .targets = &target,
                             .n_targets = 1,
                             .capabilities = capabilities};
    if (in->provider.n == 0)
        return err_set(e, ERR_INPUT, "missing_field", "'provider' is required");
    if (!change_model(c, CHANGE_PUT, &m, e))
        return model_refused(e, name, in->rename_from, in->provider);
    struct changed_out out = {.ok = true,
                              .model = name,
                              .provider = in->provider,
                              .capabilities = capabilities,
                              .models = live_models(c)};
    return control_reply(c, 200, &model_changed_shape, &out);
}

static bool delete_model(struct control_call *c, struct err *e)
{
    struct changed_out out = {.ok = true, .deleted = route_param(&c->params, "name")};
    if (!change_model_delete(c, out.deleted, false, e))
        return model_refused(e, out.deleted, STR_NONE, STR_NONE);
    out.models = live_models(c);
    return control_reply(c, 200, &model_deleted_shape, &out);
}

static bool add_models(struct control_call *c, struct err *e)
{
    static struct str usual[] = {STR_INIT("text"), STR_INIT("vision"), STR_INIT("tools")};
    const struct models_in *in = c->in;
    struct models_add add = {.provider = in->provider,
                             .prefix = in->prefix,
                             .ids = in->models,
                             .capabilities = c->present & 8 ? in->capabilities
                                                            : (struct strs){usual, 3}};
    struct changed_out out = {.ok = true};
    if (in->provider.n == 0 || in->models.n == 0)
        return err_set(e, ERR_INPUT, "missing_field", "'provider' and 'models' are required");
    if (!change_models_add(c, &add, &out.added, &out.skipped, e))
        return is_code(e, "unknown_provider")
                   ? err_set(e, ERR_INPUT, "unknown_provider", "Provider '" STR_FMT "' not found",
                             STR_ARG(in->provider))
                   : false;
    if (out.added.n)
        out.models = live_models(c);
    else
        out.message = STR("All models already exist");
    return control_reply(c, 200, &models_added_shape, &out);
}

/* ---- server ---- */

static bool put_server(struct control_call *c, struct err *e)
{
    const struct server_in *in = c->in;
    yyjson_val *root;
    if (!proxy_known(c->arena, c->snap, in->proxy, e) || !admin_view(c, &root, e))
        return false;
    struct str is = json_get_str(json_get(root, "server"), "proxy");
    bool is_kept;
    if (!secret_is_kept("proxy", in->proxy, secret_mask_proxy(c->arena, is), &is_kept, e))
        return false;
    if (yyjson_obj_get(c->root, "proxy") && !is_kept) {
        if (!change_setting(c, setting_find(STR("proxy")), in->proxy.n ? in->proxy : STR_NONE, e))
            return false;
    } else if (!control_changed(c, e)) {
        return false;
    }
    if (!admin_view(c, &root, e))
        return false;
    struct changed_out out = {.ok = true, .server = masked_server(c, root)};
    return control_reply(c, 200, &server_changed_shape, &out);
}

static bool reload(struct control_call *c, struct err *e)
{
    struct err why = ERR_INIT;
    if (!c->control->reload(c->control->arg, &why))
        return err_set(e, ERR_INTERNAL, "reload_failed", "Reload failed: %s", why.message);
    struct changed_out out = {.ok = true, .providers = live_providers(c), .models = live_models(c)};
    return control_reply(c, 200, &reloaded_shape, &out);
}

/* clang-format off */
#define ROW(method, path, access, sentence, handler, ...) \
    { method, "/admin/api/config" path, SURFACE_ROSETTA, access, sentence, .on_worker = handler, __VA_ARGS__ }
const struct endpoint admin_config_endpoints[] = {
    ROW(HTTP_GET,    "",                         ACCESS_VIEWER, "Show the whole configuration with masked keys", get_config, .out = &config_shape),
    ROW(HTTP_PUT,    "/providers/{name}",        ACCESS_ADMIN,  "Add, change or rename a provider", put_provider, .in = &provider_put_shape, .out = &provider_changed_shape),
    ROW(HTTP_DELETE, "/providers/{name}",        ACCESS_ADMIN,  "Remove a provider, optionally with its models", delete_provider, .out = &provider_deleted_shape),
    ROW(HTTP_POST,   "/providers/{name}/toggle", ACCESS_ADMIN,  "Enable or disable a provider", toggle_provider, .out = &toggled_shape, .is_create = true),
    ROW(HTTP_GET,    "/providers/{name}/key",    ACCESS_ADMIN,  "Reveal a provider's key where that is allowed", provider_key, .out = &reveal_shape, .leaves_trail = true),
    ROW(HTTP_GET,    "/providers/{name}/models", ACCESS_MEMBER, "Ask a provider for its models", provider_models, .out = &found_shape, .waits = true),
    ROW(HTTP_PUT,    "/models/{name*}",          ACCESS_ADMIN,  "Add, change or rename a model", put_model, .in = &model_put_shape, .out = &model_changed_shape),
    ROW(HTTP_DELETE, "/models/{name*}",          ACCESS_ADMIN,  "Remove a model", delete_model, .out = &model_deleted_shape),
    ROW(HTTP_POST,   "/models",                  ACCESS_ADMIN,  "Add many models of one provider", add_models, .in = &models_in_shape, .out = &models_added_shape, .is_create = true),
    ROW(HTTP_PUT,    "/server",                  ACCESS_ADMIN,  "Change server settings", put_server, .in = &server_in_shape, .out = &server_changed_shape),
    ROW(HTTP_POST,   "/reload",                  ACCESS_ADMIN,  "Read the configuration file again", reload, .out = &reloaded_shape),
    {0},
};
/* clang-format on */
