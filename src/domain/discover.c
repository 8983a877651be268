/* discover.c - the model lists of the formats: where they stand and where the ids are in them. */
#include "domain/discover.h"
#include "base/banned.h"
#include "http/fetch.h"

#define MAX_LIST (32u << 20)

struct str upstream_base_url(struct arena *a, const struct upstream *u)
{
    if (u->kind->is_builtin)
        return STR_NONE;
    return str_fmt(a, "%s://" STR_FMT STR_FMT, u->origin.is_tls ? "https" : "http",
                   STR_ARG(u->origin.host_header), STR_ARG(u->base_path));
}

/* The base without a last segment that the path begins with: /v1 before /v1/models. */
static struct str join(struct arena *a, const struct upstream *u, const char *path)
{
    struct str base = u->base_path, rest = str_of(path);
    if (path[0] == '^') {
        base = STR_NONE;
        rest = str_skip(rest, 1);
    }
    size_t slash = base.n;
    while (slash > 0 && base.p[slash - 1] != '/')
        slash--;
    struct str last = slash > 0 ? str_skip(base, slash - 1) : STR_NONE;
    if (last.n > 1 && rest.n > last.n && str_starts(rest, last) && rest.p[last.n] == '/')
        base.n -= last.n;
    struct str url = str_fmt(a, "%s://" STR_FMT STR_FMT "%s" STR_FMT,
                             u->origin.is_tls ? "https" : "http", STR_ARG(u->origin.host_header),
                             STR_ARG(base), rest.p[0] == '/' ? "" : "/", STR_ARG(rest));
    if (u->kind->api_version_param && u->api_version.n)
        url = str_fmt(a, STR_FMT "?%s=" STR_FMT, STR_ARG(url), u->kind->api_version_param,
                      STR_ARG(u->api_version));
    return url;
}

static size_t headers_of(struct arena *a, const struct upstream *u, struct http_header *h)
{
    size_t n = 0;
    /* in turn with the requests, so that none of several keys bears all of it */
    uint32_t turn = u->n_keys > 1 && u->next_key ? atomic_fetch_add(u->next_key, 1) : 0;
    struct str key = u->n_keys ? secret_reveal(u->keys[turn % u->n_keys]) : STR_NONE;
    if (key.n) {
        switch (u->kind->auth) {
        case AUTH_BEARER:
            h[n++] = (struct http_header){STR("authorization"),
                                          str_fmt(a, "Bearer " STR_FMT, STR_ARG(key))};
            break;
        case AUTH_X_API_KEY:
            h[n++] = (struct http_header){STR("x-api-key"), key};
            break;
        case AUTH_X_GOOG:
            h[n++] = (struct http_header){STR("x-goog-api-key"), key};
            break;
        case AUTH_API_KEY:
            h[n++] = (struct http_header){STR("api-key"), key};
            break;
        case AUTH_NONE:
            break;
        }
    }
    if (u->kind->wires[0] == WIRE_ANTHROPIC)
        h[n++] = (struct http_header){STR("anthropic-version"), STR("2023-06-01")};
    for (size_t i = 0; i < u->n_headers && n < 32; i++)
        h[n++] = u->headers[i];
    return n;
}

static int by_bytes(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Where a kind's list stands, and what names a model in it. */
struct list_form {
    const char *kind, *list, *id;
};
static const struct list_form forms[] = {{"argo", "data", "internal_id"}, {NULL, NULL, NULL}};
static const struct list_form usual = {NULL, "data", "id"}, googles = {NULL, "models", "name"};

static const struct list_form *form_of(const struct upstream *u)
{
    for (const struct list_form *f = forms; f->kind; f++)
        if (strcmp(f->kind, u->kind->id) == 0)
            return f;
    return u->kind->wires[0] == WIRE_GEMINI ? &googles : &usual;
}

/* {"data":[{"id"}]} (OpenAI, Anthropic), {"models":[{"name":"models/…"}]} (Google), {"models":[{"name"}]} (Ollama), [{"id"}] */
static void read_ids(struct arena *a, const struct upstream *u, yyjson_val *root,
                     struct discovered *out)
{
    const struct list_form *f = form_of(u);
    yyjson_val *list = yyjson_is_arr(root) ? root : json_get(root, f->list), *v;
    size_t i, max;
    if (!yyjson_is_arr(list) && f != &googles)
        list = json_get(root, "models");
    out->models = ARENA_ARRAY(a, struct str, yyjson_arr_size(list) + 1);
    yyjson_arr_foreach (list, i, max, v) {
        struct str id = json_get_str(v, f->id);
        if (!id.n && f == &usual)
            id = json_get_str(v, "name");
        if (f == &googles && str_starts(id, STR("models/")))
            id = str_skip(id, 7);
        if (id.n)
            out->models[out->n++] = str_dup(a, id);
    }
    if (!out->n)
        return;
    qsort(out->models, out->n, sizeof *out->models, by_bytes);
    size_t kept = 1;
    for (size_t n = 1; n < out->n; n++)
        if (!str_eq(out->models[n], out->models[kept - 1]))
            out->models[kept++] = out->models[n];
    out->n = kept;
}

bool upstream_models(struct arena *a, const struct upstream *u, uint64_t timeout_ms,
                     struct discovered *out, struct err *e)
{
    return upstream_models_until(a, u, timeout_ms, NULL, out, e);
}

bool upstream_models_until(struct arena *a, const struct upstream *u, uint64_t timeout_ms,
                           const _Atomic bool *is_cancelled, struct discovered *out, struct err *e)
{
    struct http_header headers[40];
    struct fetched reply;
    struct err why = ERR_INIT;
    yyjson_val *root;
    const char *path = provider_kind_path(u->kind, OP_MODELS);
    *out = (struct discovered){.n = 0};
    if (u->kind->is_builtin || !path)
        return err_set(e, ERR_UNSUPPORTED, "no_model_list", "%s has no list of models to ask for",
                       u->kind->title);
    out->url = join(a, u, path);
    struct fetch f = {
        .method = HTTP_GET,
        .url = out->url,
        .headers = headers,
        .n_headers = headers_of(a, u, headers),
        .proxy = u->origin.proxy,
        .ca_file = u->origin.ca_file,
        .timeout_ms = timeout_ms,
        .max_bytes = MAX_LIST,
        .allow_private = u->origin.allow_private,
        .is_cancelled = is_cancelled,
    };
    if (!fetch_run(a, &f, &reply, &why)) {
        (void)snprintf(out->fault, sizeof out->fault, "%.31s", why.code);
        return err_set(e, why.kind == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UPSTREAM,
                       "upstream_unreachable", "cannot reach " STR_FMT ": %s", STR_ARG(out->url),
                       why.message);
    }
    out->status = reply.status;
    if (reply.status >= 400) {
        wire_read_error(a, reply.status, reply.body, &why);
        return err_set(e, ERR_UPSTREAM, "upstream_refused", STR_FMT " answered %d: %s",
                       STR_ARG(out->url), reply.status, why.message);
    }
    if (reply.status >= 300 || !json_parse(a, reply.body, 0, &root, &why))
        return err_set(e, ERR_UPSTREAM, "upstream_not_json",
                       STR_FMT " answered %d, but not with a JSON list of models",
                       STR_ARG(out->url), reply.status);
    read_ids(a, u, root, out);
    return true;
}

bool upstream_of(struct arena *a, const struct provider_kind *kind, struct str base_url,
                 struct secret key, struct str proxy, struct upstream *out, struct err *e)
{
    struct url url;
    struct err why = ERR_INIT;
    *out = (struct upstream){.kind = kind, .name = str_of(kind->id), .is_enabled = true};
    memcpy(out->wires, kind->wires, sizeof out->wires);
    if (kind->is_builtin)
        return true;
    if (!base_url.n)
        base_url = str_of(kind->base_url);
    if (!base_url.n)
        return err_field(e, "base_url", "'base_url' is required for type %s", kind->id);
    if (!url_parse_address(a, base_url, &url, &why))
        return err_field(e, "base_url", "'base_url': %s", why.message);
    bool is_tls = str_is(url.scheme, "https"), v6 = str_contains(url.host, STR(":"));
    struct str path = url.path;
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    out->base_path = path;
    out->origin = (struct http_origin){
        .is_tls = is_tls,
        .host = url.host,
        .port = url.port,
        .host_header = str_fmt(a, v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(url.host), url.port),
        .proxy = proxy,
        .allow_private = kind->is_local || host_is_private(url.host)};
    if (secret_is_set(key)) {
        out->keys = ARENA_NEW(a, struct secret);
        out->keys[0] = key;
        out->n_keys = 1;
    }
    return true;
}

static struct str ping_body(struct arena *a, enum wire_id wire, struct str model)
{
    struct buf b;
    buf_init_arena(&b, a, 65536);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "model", model);
    if (wire == WIRE_RESPONSES) {
        jw_kv_cstr(&w, "input", "Hi");
        jw_kv_int(&w, "max_output_tokens", 16); /* the least that is taken */
    } else {
        jw_key(&w, "messages");
        jw_raw(&w, STR("[{\"role\":\"user\",\"content\":\"Hi\"}]"));
        if (wire == WIRE_OLLAMA)
            jw_kv_bool(&w, "stream", false);
        else
            jw_kv_int(&w, "max_tokens", 1);
    }
    jw_object_end(&w);
    return buf_str(&b);
}

bool upstream_ping(struct arena *a, const struct upstream *u, struct str model, uint64_t timeout_ms,
                   const _Atomic bool *is_cancelled, int *status, struct str *said, struct err *e)
{
    struct http_header headers[40];
    struct fetched reply;
    struct err why = ERR_INIT;
    enum wire_id wire = u->wires[0];
    const char *path = wire == WIRE_NONE || wire == WIRE_GEMINI
                           ? NULL
                           : provider_kind_path(u->kind, wire_op(wire));
    *status = 0;
    if (!path || !model.n)
        return err_set(e, ERR_UNSUPPORTED, "no_probe",
                       path ? "There is no model to try it with: give one as validationModelId"
                            : "%s cannot be tried with a request",
                       u->kind->title);
    size_t n = headers_of(a, u, headers);
    headers[n++] = (struct http_header){STR("content-type"), STR("application/json")};
    struct str url = join(a, u, path);
    struct fetch f = {.method = HTTP_POST,
                      .url = url,
                      .headers = headers,
                      .n_headers = n,
                      .body = ping_body(a, wire, model),
                      .proxy = u->origin.proxy,
                      .ca_file = u->origin.ca_file,
                      .timeout_ms = timeout_ms,
                      .max_bytes = MAX_LIST,
                      .allow_private = u->origin.allow_private,
                      .is_cancelled = is_cancelled};
    if (!fetch_run(a, &f, &reply, &why))
        return err_set(e, why.kind == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UPSTREAM,
                       "upstream_unreachable", "cannot reach " STR_FMT ": %s", STR_ARG(url),
                       why.message);
    *status = reply.status;
    if (reply.status >= 400) {
        wire_read_error(a, reply.status, reply.body, &why);
        *said = str_fmt(a, "%s", why.message);
    }
    return true;
}
