/* proxies.c - /sluice/v1/proxies: outbound proxies that have a name. */
#include "api/change_route.h"
#include "domain/proxy.h"

struct proxy_io {
    struct str name, id, url, region, notes;
    struct strs kinds, providers;
    bool is_global;
    struct str origin;
};
/* clang-format off */
#define PROXY_FIELDS(flags) \
    FIELD(struct proxy_io, id, 0, "Name for machines"), \
    FIELD(struct proxy_io, url, flags, "Its address: http, https, socks5 or socks5h. Credentials in it are never shown; given back as it was shown it keeps them"), \
    FIELD_TEXT(struct proxy_io, region, 0, 64, 0, "Where it stands, for people"), \
    FIELD_TEXT(struct proxy_io, notes, 0, 1000, 0, "For people"), \
    FIELD(struct proxy_io, kinds, 0, "Providers of these kinds go through it unless they say otherwise")
static const struct shape proxy_in_shape = SHAPE_STRICT(struct proxy_io,
    FIELD(struct proxy_io, name, READ_ONLY, "As the path says"), PROXY_FIELDS(REQUIRED | NOT_EMPTY),
    FIELD(struct proxy_io, providers, READ_ONLY, "As it was shown"),
    FIELD(struct proxy_io, is_global, READ_ONLY, "As it was shown"),
    FIELD(struct proxy_io, origin, READ_ONLY, "As it was shown"));
static const struct shape proxy_shape = SHAPE(struct proxy_io,
    FIELD(struct proxy_io, name, 0, "Its name: providers and the setting proxy say it in place of an address"), PROXY_FIELDS(0),
    FIELD(struct proxy_io, providers, 0, "Those that go through it now"),
    FIELD(struct proxy_io, is_global, 0, "Whether the setting proxy names it"),
    FIELD(struct proxy_io, origin, 0, "file or api: who may change it"));
struct proxy_query {
    struct page_query page;
    struct str origin;
};
static const struct shape proxy_query_shape = SHAPE(struct proxy_query, PAGE_FIELDS(struct proxy_query),
    FIELD(struct proxy_query, origin, 0, "Only from there: file or api"));
/* clang-format on */

static struct proxy_io show(struct arena *a, const struct snapshot *s, const struct proxy *p)
{
    struct proxy_io out = {.name = p->name,
                           .id = p->id,
                           .url = secret_mask_url(a, p->url),
                           .region = p->region,
                           .notes = p->notes,
                           .kinds = p->kinds,
                           .providers = {ARENA_ARRAY(a, struct str, s->n_upstreams + 1), 0},
                           .is_global = str_eq(s->settings.proxy, p->name),
                           .origin = p->from == ORIGIN_FILE ? STR("file") : STR("api")};
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (s->upstreams[i]->proxy == p)
            out.providers.v[out.providers.n++] = s->upstreams[i]->name;
    return out;
}

static bool list(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct proxy_io *v = ARENA_ARRAY(c->arena, struct proxy_io, s->n_proxies + 1);
    for (size_t i = 0; i < s->n_proxies; i++)
        v[i] = show(c->arena, s, s->proxies[i]);
    return control_reply_sorted(c, &proxy_shape, v, s->n_proxies, "name", e);
}

/* With the credentials that are not shown: a change of them is one. */
static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    const struct proxy *p = proxy_find(s, name);
    struct jw w = jw_on(out);
    if (!p)
        return false;
    struct proxy_io shown = show(c->arena, s, p);
    shown.providers.n = 0; /* who names it is not its own */
    shown.is_global = false;
    shape_write(&proxy_shape, &shown, &w);
    buf_str_add(out, p->url);
    return true;
}

static struct str meant(struct control_call *c)
{
    c->represent = represent;
    return c->represented = route_param(&c->params, "name");
}

static bool reply(struct control_call *c, const struct snapshot *s, struct str name, struct err *e)
{
    const struct proxy *p = proxy_find(s, name);
    if (!p)
        return err_set(e, ERR_NOT_FOUND, "not_found", "No proxy '" STR_FMT "'",
                       STR_ARG(str_first(name, 200)));
    struct proxy_io out = show(c->arena, s, p);
    return control_reply_tagged(c, 200, &proxy_shape, &out, s, name);
}

static bool get(struct control_call *c, struct err *e)
{
    return reply(c, c->snap, meant(c), e);
}

/* The body without what is only shown, and with the credentials of an address that was given back. */
static yyjson_val *value_of(struct control_call *c, struct str name, struct err *e)
{
    const struct proxy_io *in = c->in;
    const struct proxy *was = proxy_find(c->snap, name);
    struct str shown = was ? secret_mask_url(c->arena, was->url) : STR_NONE, url = in->url;
    bool is_kept;
    struct buf b;
    yyjson_val *out, *view;
    if (!secret_is_kept("url", in->url, shown, &is_kept, e) || !change_view(c, &view, e))
        return NULL;
    if (was && str_eq(in->url, shown)) /* as it is written: with ${…}, if that is so */
        url = json_get_str(json_find(json_get(view, "proxies"), str_z(c->arena, name), name.n),
                           "url");
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (in->id.n || was)
        jw_kv_str(&w, "id", in->id.n ? in->id : was->id);
    jw_kv_str(&w, "url", url);
    if (in->region.n)
        jw_kv_str(&w, "region", in->region);
    if (in->notes.n)
        jw_kv_str(&w, "notes", in->notes);
    if (in->kinds.n) {
        jw_key(&w, "kinds");
        jw_array(&w);
        for (size_t i = 0; i < in->kinds.n; i++)
            jw_str(&w, in->kinds.v[i]);
        jw_array_end(&w);
    }
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, &out, e) ? out : NULL;
}

static bool put(struct control_call *c, struct err *e)
{
    struct entry_change change = {.section = SECTION_PROXIES, .name = meant(c), .replaces = true};
    change.value = value_of(c, change.name, e);
    if (!change.value || !change_entry(c, CHANGE_PUT, &change, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = reply(c, now, change.name, e);
    snapshot_unref(now);
    return ok;
}

static bool drop(struct control_call *c, struct err *e)
{
    return change_entry_gone(c, SECTION_PROXIES, meant(c), false, e);
}

/* clang-format off */
const struct endpoint proxy_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/proxies",         SURFACE_SLUICE, ACCESS_VIEWER, "List outbound proxies that have a name", .on_worker = list, .query = &proxy_query_shape, .out = &proxy_shape, .is_page = true },
    { HTTP_GET,    "/sluice/v1/proxies/{name*}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a proxy", .has_tag = true, .is_live = true, .on_worker = get, .out = &proxy_shape },
    { HTTP_PUT,    "/sluice/v1/proxies/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Make or replace a proxy", .has_tag = true, .on_worker = put, .in = &proxy_in_shape, .out = &proxy_shape },
    { HTTP_DELETE, "/sluice/v1/proxies/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Delete a proxy that nobody names", .has_tag = true, .on_worker = drop, .status = 204 },
    {0},
};
/* clang-format on */
