/* providers.c - /sluice/v1/providers: upstreams and their credentials, and the kinds there are. */
#include "api/change.h"
#include "domain/noun.h"
#include "json/shape_json.h"

struct provider_in {
    struct str name, type, base_url, api_key, proxy, ca_file, wire, api_version;
    bool enabled;
    int64_t priority, weight;
    struct limits limits;
    yyjson_val *quirks;
};
struct provider_out {
    struct str name, type, base_url, api_key, proxy;
    struct strs wires;
    bool enabled;
    int64_t priority, weight;
    struct limits limits;
    yyjson_val *quirks, *headers;
    struct strs quirks_in_force;
    struct str label, ca_file, api_version;
    int64_t connect_timeout_ms, first_byte_timeout_ms, between_timeout_ms, total_timeout_ms;
    bool http2, insecure, allow_private, fetch_images, map_hosted_tools;
    struct str origin;
};
struct kind_out {
    struct str id, title, base_url, key_env;
    struct strs wires, quirks;
    bool is_local;
};

#define PRIORITY_DOC "Among providers of one kind, and for models: lower ones go first; usually 0"
#define QUIRKS_DOC                                                                      \
    "What is otherwise here than its kind says: names of quirks and true or false, as " \
    "{\"developer_role\":true}"
#define WEIGHT_DOC "Its share where requests are spread by weight; usually 1"

/* Behind the name in the order of enum provider_field. */
static const struct shape provider_in_shape = SHAPE_STRICT(
    struct provider_in,
    FIELD(struct provider_in, name, REQUIRED | NOT_EMPTY,
          "Unique name; models refer to it, and provider/model names start with it"),
    FIELD(struct provider_in, type, REQUIRED | NOT_EMPTY,
          "Kind of provider, see /sluice/v1/provider-kinds"),
    FIELD(struct provider_in, base_url, 0, "Base URL; empty: the kind's own"),
    FIELD(struct provider_in, api_key, 0,
          "Credential, or several separated by commas, used in turn; sealed at rest, never shown"),
    FIELD(struct provider_in, proxy, 0, "HTTP or SOCKS5 proxy; empty: the global one"),
    FIELD(struct provider_in, ca_file, 0,
          "PEM file of the authorities to trust; empty: the system's"),
    FIELD(struct provider_in, wire, 0, "Format to speak; empty: the kind's own"),
    FIELD(struct provider_in, api_version, 0, "Value of api-version (Azure)"),
    FIELD(struct provider_in, enabled, 0, "Whether it is used; true when absent"),
    FIELD_RANGE(struct provider_in, priority, -1000000, 1000000, 0, PRIORITY_DOC),
    FIELD_RANGE(struct provider_in, weight, 1, 1000000, 0, WEIGHT_DOC),
    FIELD_OBJECT(struct provider_in, limits, &limits_shape, 0,
                 "How much it is used at most; then other targets are, or requests wait"),
    FIELD(struct provider_in, quirks, 0, QUIRKS_DOC));

static const struct shape provider_change_shape = SHAPE_STRICT(
    struct provider_in,
    FIELD(struct provider_in, name, NOT_EMPTY, "New name: targets of models follow"),
    FIELD(struct provider_in, type, NOT_EMPTY, "Kind of provider"),
    FIELD(struct provider_in, base_url, 0, "Base URL; empty: the kind's own"),
    FIELD(struct provider_in, api_key, 0, "New credential; absent: the stored one stays"),
    FIELD(struct provider_in, proxy, 0, "HTTP or SOCKS5 proxy; empty: the global one"),
    FIELD(struct provider_in, ca_file, 0,
          "PEM file of the authorities to trust; empty: the system's"),
    FIELD(struct provider_in, wire, 0, "Format to speak; empty: the kind's own"),
    FIELD(struct provider_in, api_version, 0, "Value of api-version (Azure)"),
    FIELD(struct provider_in, enabled, 0, "Whether it is used"),
    FIELD_RANGE(struct provider_in, priority, -1000000, 1000000, 0, PRIORITY_DOC),
    FIELD_RANGE(struct provider_in, weight, 1, 1000000, 0, WEIGHT_DOC),
    FIELD_OBJECT(struct provider_in, limits, &limits_shape, 0,
                 "How much it is used at most; {}: no limit"),
    FIELD(struct provider_in, quirks, 0, QUIRKS_DOC "; {}: nothing"));
static const struct shape provider_shape = SHAPE(
    struct provider_out, FIELD(struct provider_out, name, 0, "Unique name"),
    FIELD(struct provider_out, type, 0, "Kind of provider"),
    FIELD(struct provider_out, base_url, 0, "Where it is reached"),
    FIELD(struct provider_out, api_key, 0, "The credential, masked; empty: none"),
    FIELD(struct provider_out, proxy, 0, "Proxy, without its credentials"),
    FIELD(struct provider_out, wires, 0, "Formats it speaks, best first"),
    FIELD(struct provider_out, enabled, 0, "Whether it is used"),
    FIELD(struct provider_out, priority, 0, PRIORITY_DOC),
    FIELD(struct provider_out, weight, 0, WEIGHT_DOC),
    FIELD_OBJECT(struct provider_out, limits, &limits_shape, 0, "How much it is used at most"),
    FIELD_JSON(struct provider_out, quirks, JSON_MAP, &json_of_truth, 0, QUIRKS_DOC),
    FIELD(struct provider_out, quirks_in_force, 0,
          "Quirks that hold here, of its kind and its own; those of single models come on top"),
    FIELD(struct provider_out, label, 0, "Name for people; empty: none"),
    FIELD(struct provider_out, ca_file, 0, "Authorities to trust; empty: the system's"),
    FIELD(struct provider_out, api_version, 0, "Value of api-version (Azure)"),
    /* what only the file says */
    FIELD_JSON(struct provider_out, headers, JSON_MAP, &json_of_text, 0,
               "Further headers of requests to it, their values masked"),
    FIELD(struct provider_out, connect_timeout_ms, 0, "Time to connect"),
    FIELD(struct provider_out, first_byte_timeout_ms, 0, "Time until a reply begins"),
    FIELD(struct provider_out, between_timeout_ms, 0, "Longest silence inside a reply"),
    FIELD(struct provider_out, total_timeout_ms, 0, "Longest time for a reply; 0: no limit"),
    FIELD(struct provider_out, http2, 0, "Whether HTTP/2 is spoken"),
    FIELD(struct provider_out, insecure, 0, "Whether its certificate goes unverified"),
    FIELD(struct provider_out, allow_private, 0, "Whether private addresses may be reached"),
    FIELD(struct provider_out, fetch_images, 0,
          "Whether images are fetched by URL where its format takes bytes only"),
    FIELD(struct provider_out, map_hosted_tools, 0, "Whether web search is carried over"),
    FIELD(struct provider_out, origin, 0, "default, file, environment or api: who may change it"));

static const struct shape kind_shape = SHAPE(
    struct kind_out, FIELD(struct kind_out, id, 0, "Name of the kind"),
    FIELD(struct kind_out, title, 0, "Name for people"),
    FIELD(struct kind_out, base_url, 0, "Its base URL; empty: must be given"),
    FIELD(struct kind_out, key_env, 0, "Environment variable that usually holds its key"),
    FIELD(struct kind_out, wires, 0, "Formats it speaks, best first"),
    FIELD(struct kind_out, quirks, 0, "Its quirks, see docs/configuration.md"),
    FIELD(struct kind_out, is_local, 0, "Runs on this machine or network; needs no key"));

static struct strs wire_names(struct arena *a, const enum wire_id *wires)
{
    struct strs s = {ARENA_ARRAY(a, struct str, 4), 0};
    for (size_t i = 0; i < 4 && wires[i] != WIRE_NONE; i++)
        s.v[s.n++] = str_of(wire_of(wires[i])->name);
    return s;
}

static struct strs quirk_names(struct arena *a, uint32_t quirks)
{
    struct strs s = {ARENA_ARRAY(a, struct str, 32), 0};
    for (const struct word *w = wire_quirk_words; w->text; w++)
        if (quirks & (uint32_t)w->value)
            s.v[s.n++] = str_of(w->text);
    return s;
}

static yyjson_val *quirks_shown(struct arena *a, struct quirk_edit q)
{
    struct buf b;
    yyjson_val *v;
    buf_init_arena(&b, a, 4096);
    struct jw w = jw_on(&b);
    provider_quirks_write(&w, q);
    return json_parse(a, buf_str(&b), 0, &v, NULL) ? v : NULL;
}

static yyjson_val *headers_shown(struct arena *a, const struct upstream *u)
{
    struct buf b;
    yyjson_val *v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < u->n_headers; i++)
        jw_kv_str(&w, str_z(a, u->headers[i].name), secret_mask(a, secret_of(u->headers[i].value)));
    jw_object_end(&w);
    return json_parse(a, buf_str(&b), 0, &v, NULL) ? v : NULL;
}

static struct provider_out show(struct arena *a, const struct upstream *u)
{
    struct provider_out p = {.name = u->name,
                             .type = str_of(u->kind->id),
                             .wires = wire_names(a, u->wires),
                             .enabled = u->is_enabled,
                             .priority = u->priority,
                             .weight = u->weight,
                             .limits = u->limits,
                             .quirks = quirks_shown(a, u->quirk_said),
                             .quirks_in_force = quirk_names(a, u->quirks),
                             .proxy = secret_mask_url(a, u->origin.proxy),
                             .label = u->label,
                             .ca_file = u->origin.ca_file,
                             .api_version = u->api_version,
                             .headers = headers_shown(a, u),
                             .connect_timeout_ms = (int64_t)u->connect_timeout_ms,
                             .first_byte_timeout_ms = (int64_t)u->first_byte_timeout_ms,
                             .between_timeout_ms = (int64_t)u->between_timeout_ms,
                             .total_timeout_ms = (int64_t)u->total_timeout_ms,
                             .http2 = u->origin.is_http2,
                             .insecure = u->origin.insecure,
                             .allow_private = u->origin.allow_private,
                             .fetch_images = u->fetch_images,
                             .map_hosted_tools = u->allow_hosted_tools,
                             .origin = str_of(origin_name(u->from))};
    if (!u->kind->is_builtin)
        p.base_url = str_fmt(a, "%s://" STR_FMT STR_FMT, u->origin.is_tls ? "https" : "http",
                             STR_ARG(u->origin.host_header), STR_ARG(u->base_path));
    if (u->n_keys)
        p.api_key = secret_mask(a, u->keys[0]);
    return p;
}

struct provider_query {
    struct page_query page;
    struct str type, origin, wires;
    bool enabled;
};
static const struct shape provider_query_shape = SHAPE(
    struct provider_query, PAGE_FIELDS(struct provider_query),
    FIELD(struct provider_query, type, 0, "Only of this kind"),
    FIELD(struct provider_query, origin, 0, "Only from there: default, file, environment or api"),
    FIELD(struct provider_query, wires, 0, "Only those that speak this format"),
    FIELD(struct provider_query, enabled, 0, "Only those in use, or not in use"));

static bool list(struct control_call *c, struct err *e)
{
    struct provider_out *v = ARENA_ARRAY(c->arena, struct provider_out, c->snap->n_upstreams + 1);
    for (size_t i = 0; i < c->snap->n_upstreams; i++)
        v[i] = show(c->arena, c->snap->upstreams[i]);
    return control_reply_sorted(c, &provider_shape, v, c->snap->n_upstreams, "name", e);
}

static const struct upstream *find(struct control_call *c, const struct snapshot *s, struct err *e)
{
    struct str name = route_param(&c->params, "name");
    const struct upstream *u = snapshot_upstream(s, name);
    if (!u)
        err_set(e, ERR_NOT_FOUND, "not_found", "No provider '" STR_FMT "'",
                STR_ARG(str_first(name, 200)));
    return u;
}

/* For its ETag: also what is not shown of it. */
static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    const struct upstream *u = snapshot_upstream(s, name);
    struct jw w = jw_on(out);
    if (!u)
        return false;
    struct provider_out p = show(c->arena, u);
    shape_write(&provider_shape, &p, &w);
    for (size_t i = 0; i < u->n_keys; i++)
        buf_str_add(out, secret_reveal(u->keys[i]));
    for (size_t i = 0; i < u->n_headers; i++)
        buf_str_add(out, u->headers[i].value);
    buf_str_add(out, u->origin.proxy);
    buf_str_add(out, u->extra);
    buf_str_add(out, u->default_model);
    return true;
}

static void meant(struct control_call *c)
{
    c->represent = represent;
    c->represented = route_param(&c->params, "name");
}

static bool get(struct control_call *c, struct err *e)
{
    const struct upstream *u = find(c, c->snap, e);
    if (!u)
        return false;
    struct provider_out p = show(c->arena, u);
    c->represent = represent;
    return control_reply_tagged(c, 200, &provider_shape, &p, c->snap, u->name);
}

/* The newest snapshot's view, after a change. */
static bool reply_now(struct control_call *c, int status, struct str name, struct err *e)
{
    struct snapshot *now = snapshot_current();
    const struct upstream *u = snapshot_upstream(now, name);
    struct provider_out p = u ? show(c->arena, u) : (struct provider_out){.name = name};
    c->represent = represent;
    bool ok = u ? control_reply_tagged(c, status, &provider_shape, &p, now, name)
                : err_set(e, ERR_INPUT, "not_usable",
                          "The provider was saved, but cannot be used: see the log");
    snapshot_unref(now);
    return ok;
}

/* in provider_in's order, behind the fields of enum provider_field */
#define GIVES_QUIRKS (UINT64_C(1) << 12)

/* What is said of them is a member of the entry. Names that are none are refused here: an entry that holds one would not load. */
static bool take_quirks(struct control_call *c, struct provider_change *p,
                        struct provider_member *member, struct err *e)
{
    const struct provider_in *in = c->in;
    struct quirk_edit said;
    p->given &= ~(uint32_t)(GIVES_QUIRKS >> 1);
    if (!(c->present & GIVES_QUIRKS))
        return true;
    if (!provider_quirks_read(in->quirks, &said, e))
        return false;
    *member = (struct provider_member){
        "quirks", said.with | said.without ? json_text(c->arena, in->quirks) : STR_NONE};
    p->more = member;
    p->n_more = 1;
    return true;
}

static bool create(struct control_call *c, struct err *e)
{
    const struct provider_in *in = c->in;
    struct provider_member quirks;
    struct provider_change p = {.name = in->name,
                                .given = PROVIDER_KIND | (uint32_t)(c->present >> 1),
                                .kind = in->type,
                                .base_url = in->base_url,
                                .api_key = secret_of(in->api_key),
                                .proxy = in->proxy,
                                .ca_file = in->ca_file,
                                .wire = in->wire,
                                .api_version = in->api_version,
                                .limits = in->limits,
                                .is_enabled = in->enabled,
                                .priority = in->priority,
                                .weight = in->weight};
    return take_quirks(c, &p, &quirks, e) && change_provider(c, CHANGE_CREATE, &p, e) &&
           reply_now(c, 201, p.name, e);
}

static bool change(struct control_call *c, struct err *e)
{
    const struct provider_in *in = c->in;
    struct str from = route_param(&c->params, "name");
    struct provider_member quirks;
    struct provider_change p = {.name = c->present & 1 ? in->name : from,
                                .rename_from = from,
                                .given = (uint32_t)(c->present >> 1),
                                .kind = in->type,
                                .base_url = in->base_url,
                                .api_key = secret_of(in->api_key),
                                .proxy = in->proxy,
                                .ca_file = in->ca_file,
                                .wire = in->wire,
                                .api_version = in->api_version,
                                .limits = in->limits,
                                .is_enabled = in->enabled,
                                .priority = in->priority,
                                .weight = in->weight};
    meant(c);
    return take_quirks(c, &p, &quirks, e) && change_provider(c, CHANGE_UPDATE, &p, e) &&
           reply_now(c, 200, p.name, e);
}

struct delete_query {
    bool cascade;
};
static const struct shape delete_query_shape = SHAPE(
    struct delete_query, FIELD(struct delete_query, cascade, 0,
                               "Delete the models with it that have no other provider"));

static bool delete (struct control_call *c, struct err *e)
{
    const struct delete_query *q = c->asked;
    struct strs models;
    c->status = 204;
    meant(c);
    return change_provider_delete(c, route_param(&c->params, "name"), q->cascade, &models, e);
}

static bool kinds(struct control_call *c, struct err *e)
{
    size_t n = 0;
    while (provider_kind_at(n))
        n++;
    struct kind_out *v = ARENA_ARRAY(c->arena, struct kind_out, n);
    for (size_t i = 0; i < n; i++) {
        const struct provider_kind *k = provider_kind_at(i);
        v[i] = (struct kind_out){.id = str_of(k->id),
                                 .title = str_of(k->title),
                                 .base_url = str_of(k->base_url),
                                 .key_env = str_of(k->key_env),
                                 .wires = wire_names(c->arena, k->wires),
                                 .quirks = quirk_names(c->arena, k->quirks),
                                 .is_local = k->is_local};
    }
    return control_reply_sorted(c, &kind_shape, v, n, "id", e);
}

/* clang-format off */
const struct endpoint provider_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/provider-kinds",   SURFACE_SLUICE, ACCESS_VIEWER, "List the kinds of providers", .on_worker = kinds, .query = &page_query_shape, .out = &kind_shape, .is_page = true },
    { HTTP_GET,    "/sluice/v1/providers",        SURFACE_SLUICE, ACCESS_VIEWER, "List providers", .on_worker = list, .query = &provider_query_shape, .out = &provider_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/providers",        SURFACE_SLUICE, ACCESS_ADMIN, "Add a provider", .on_worker = create, .in = &provider_in_shape, .out = &provider_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/providers/{name}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a provider", .has_tag = true, .on_worker = get, .out = &provider_shape },
    { HTTP_PATCH,  "/sluice/v1/providers/{name}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a provider", .has_tag = true, .on_worker = change, .in = &provider_change_shape, .out = &provider_shape },
    { HTTP_DELETE, "/sluice/v1/providers/{name}", SURFACE_SLUICE, ACCESS_ADMIN, "Delete a provider", .has_tag = true, .on_worker = delete, .query = &delete_query_shape, .status = 204 },
    {0},
};
/* clang-format on */
