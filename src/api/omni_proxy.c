/* omni_proxy.c - /api/settings/proxy: which outbound proxies connections go through. What OmniRoute keeps by levels is the setting `proxy` and
 * the member `proxy` of each provider's entry. Passwords go in and never come out. */
#include "api/omni_proxy.h"
#include "base/clock.h"
#include "http/fetch.h"
#include "json/shape_json.h"

#define TEST_TIMEOUT_MS 10000
#define MAX_ANSWER 65536

struct proxies_out {
    yyjson_val *global, *providers, *combos, *keys;
};
struct proxies_in {
    yyjson_val *proxy, *global, *providers, *combos, *keys;
    struct str level, id;
};
enum proxies_bit {
    IN_PROXY,
    IN_GLOBAL,
    IN_PROVIDERS,
    IN_COMBOS,
    IN_KEYS,
    IN_LEVEL
};
/* clang-format off */
static const struct shape proxy_shape = SHAPE(struct omni_proxy,
    FIELD(struct omni_proxy, type, 0, "http, https, socks5, or socks5h: names are looked up behind the proxy"),
    FIELD(struct omni_proxy, host, 0, "Its name or address"),
    FIELD(struct omni_proxy, port, 0, "Its port"),
    FIELD(struct omni_proxy, username, OMIT_EMPTY, "Whom it lets in"),
    FIELD_AS(struct omni_proxy, has_password, "hasPassword", NULL, OMIT_EMPTY, "Whether a password is kept for it: never shown"));
static const struct shape proxy_in_shape = SHAPE_STRICT(struct omni_proxy,
    FIELD_TEXT(struct omni_proxy, type, 0, 10, TRIM, "http (when absent), https, socks5 or socks5h"),
    FIELD_TEXT(struct omni_proxy, host, 1, 253, REQUIRED | TRIM, "Its name or address"),
    FIELD_RANGE(struct omni_proxy, port, 1, 65535, REQUIRED | COERCE, "Its port"),
    FIELD_TEXT(struct omni_proxy, username, 0, 200, 0, "Whom it lets in"),
    FIELD_TEXT(struct omni_proxy, password, 0, 200, 0, "Their password"),
    FIELD_AS(struct omni_proxy, has_password, "hasPassword", NULL, READ_ONLY, "As it was shown"));
static const struct shape proxies_shape = SHAPE(struct proxies_out,
    FIELD_JSON(struct proxies_out, global, 0, &json_of_object, NULL_EMPTY, "For connections without their own: type, host, port, username, hasPassword; null: none"),
    FIELD_JSON(struct proxies_out, providers, JSON_MAP, &json_of_object, 0, "Those that all connections of a provider have"),
    FIELD_JSON(struct proxies_out, combos, JSON_MAP, &json_of_object, 0, "None: proxies are connections'"),
    FIELD_JSON(struct proxies_out, keys, JSON_MAP, &json_of_object, 0, "By connection"));
/* In the order of enum proxies_bit. */
static const struct shape proxies_in_shape = SHAPE_STRICT(struct proxies_in,
    FIELD(struct proxies_in, proxy, 0, "With level and id; alone: the global one. null: none"),
    FIELD(struct proxies_in, global, 0, "For connections without their own; null: none"),
    FIELD(struct proxies_in, providers, 0, "By provider: of all connections that it has now"),
    FIELD(struct proxies_in, combos, 0, "Not taken: proxies are connections'"),
    FIELD(struct proxies_in, keys, 0, "By connection"),
    FIELD(struct proxies_in, level, 0, "global, provider or key"),
    FIELD(struct proxies_in, id, 0, "Of the provider or connection"));
/* clang-format on */

bool omni_proxy_inside(struct err *e, const char *of)
{
    char was[96];
    (void)snprintf(was, sizeof was, "%s", e->field);
    (void)snprintf(e->field, sizeof e->field, "%.60s%s%.34s", of, was[0] ? "." : "", was);
    return false;
}

/* ---- an address and its parts ---- */

bool omni_proxy_part(struct arena *a, struct str url, struct omni_proxy *out)
{
    struct str rest = url, user = STR_NONE, port;
    size_t at = 0;
    while (at + 3 <= url.n && memcmp(url.p + at, "://", 3) != 0)
        at++;
    if (at + 3 > url.n)
        return false;
    *out = (struct omni_proxy){.type = str_first(url, at)};
    rest = str_skip(url, at + 3);
    const char *sign = memrchr(rest.p, '@', rest.n);
    if (sign) {
        user = str_first(rest, (size_t)(sign - rest.p));
        rest = str_skip(rest, user.n + 1);
        out->has_password = str_cut(user, ':', &out->username).n > 0;
        out->username = url_decode(a, out->username);
    }
    (void)str_cut(rest, '/', &rest);
    const char *colon = memrchr(rest.p, ':', rest.n);
    out->host = colon ? str_first(rest, (size_t)(colon - rest.p)) : rest;
    port = colon ? str_skip(rest, out->host.n + 1) : STR_NONE;
    if (!str_to_int(port, &out->port))
        out->port = str_is(out->type, "https") ? 443 : str_is(out->type, "http") ? 80 : 1080;
    return out->host.n > 0;
}

static void write_encoded(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        bool is_plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                        (ch >= '0' && ch <= '9') || (ch && strchr("-._~", ch));
        if (is_plain)
            buf_char(b, (char)ch);
        else
            buf_fmt(b, "%%%02X", ch);
    }
}

bool omni_proxy_address(struct arena *a, const struct omni_proxy *p, struct str *out, struct err *e)
{
    struct buf b;
    if (!str_is(p->type, "http") && !str_is(p->type, "https") && !str_is(p->type, "socks5") &&
        !str_is(p->type, "socks5h"))
        return err_field(e, "type", "'type' must be http, https, socks5 or socks5h");
    for (size_t i = 0; i < p->host.n; i++)
        if ((unsigned char)p->host.p[i] <= ' ' || strchr("/@?#\\", p->host.p[i]))
            return err_field(e, "host", "'host' must be a name or address alone");
    buf_init_arena(&b, a, 4096);
    buf_fmt(&b, STR_FMT "://", STR_ARG(p->type));
    write_encoded(&b, p->username);
    if (p->password.n) {
        buf_char(&b, ':');
        write_encoded(&b, p->password);
    }
    if (p->username.n || p->password.n)
        buf_char(&b, '@');
    bool is_v6 = str_index(p->host, ':') < p->host.n && p->host.p[0] != '[';
    buf_fmt(&b, "%s" STR_FMT "%s:%lld", is_v6 ? "[" : "", STR_ARG(p->host), is_v6 ? "]" : "",
            (long long)p->port);
    *out = buf_str(&b);
    return true;
}

/* null: STR(""), none. */
static bool address_of(struct arena *a, yyjson_val *v, struct str *out, struct err *e)
{
    struct omni_proxy p = {.type = STR("http")};
    *out = STR("");
    if (json_absent(v))
        return true;
    if (!yyjson_is_obj(v))
        return err_field(e, "", "a proxy must be an object with type, host and port, or null");
    return shape_read(&proxy_in_shape, a, v, &p, NULL, e) && omni_proxy_address(a, &p, out, e);
}

const struct proxy *omni_proxy_find(const struct snapshot *s, struct str id)
{
    for (size_t i = 0; i < s->n_proxies; i++)
        if (str_eq(s->proxies[i]->id, id))
            return s->proxies[i];
    return NULL;
}

/* ---- what there is ---- */

struct str omni_proxy_said(yyjson_val *view, const struct upstream *u)
{
    yyjson_val *entry = json_find(json_get(view, "providers"), u->name.p, u->name.n);
    return json_get_str(entry, "proxy");
}

static struct str own_proxy(yyjson_val *view, const struct upstream *u)
{
    /* names are looked up there, and ${…} is filled in */
    return omni_proxy_said(view, u).n ? u->origin.proxy : STR_NONE;
}

static void write_proxy(struct jw *w, struct arena *a, struct str url)
{
    struct omni_proxy p;
    if (url.n && omni_proxy_part(a, url, &p))
        shape_write(&proxy_shape, &p, w);
    else
        jw_null(w);
}

/* The proxy that all of a provider's connections have; STR_NONE: there is none. */
static struct str shared(const struct snapshot *s, yyjson_val *view, struct str provider)
{
    struct str one = STR_NONE;
    for (size_t i = 0; i < s->n_upstreams; i++) {
        if (!str_eq(omni_provider_of(s->upstreams[i]), provider))
            continue;
        struct str own = own_proxy(view, s->upstreams[i]);
        if (!own.n || (one.n && !str_eq(one, own)))
            return STR_NONE;
        one = own;
    }
    return one;
}

static void write_all(struct jw *w, struct arena *a, const struct snapshot *s, yyjson_val *view)
{
    jw_object(w);
    jw_key(w, "global");
    write_proxy(w, a, s->settings.proxy_url);
    jw_key(w, "providers");
    jw_object(w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        struct str provider = omni_provider_of(s->upstreams[i]), url;
        bool is_first = true;
        for (size_t k = 0; k < i; k++)
            is_first &= !str_eq(omni_provider_of(s->upstreams[k]), provider);
        if (!is_first || !(url = shared(s, view, provider)).n)
            continue;
        jw_key_str(w, provider);
        write_proxy(w, a, url);
    }
    jw_object_end(w);
    jw_key(w, "combos");
    jw_object(w);
    jw_object_end(w);
    jw_key(w, "keys");
    jw_object(w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        struct str url = own_proxy(view, s->upstreams[i]);
        if (!url.n)
            continue;
        jw_key_str(w, s->upstreams[i]->uid);
        write_proxy(w, a, url);
    }
    jw_object_end(w);
    jw_object_end(w);
}

static bool reply_all(struct control_call *c, struct err *e)
{
    yyjson_val *view;
    if (!change_view(c, &view, e))
        return false;
    struct snapshot *now = snapshot_current();
    struct jw w = jw_on(&c->out);
    write_all(&w, c->arena, now, view);
    snapshot_unref(now);
    return true;
}

struct proxy_query {
    struct str level, id, resolve;
};
static const struct shape proxy_query_shape = SHAPE(
    struct proxy_query, FIELD(struct proxy_query, level, 0, "Only that of global, provider or key"),
    FIELD(struct proxy_query, id, 0, "Of the provider or connection"),
    FIELD(struct proxy_query, resolve, 0,
          "Id of a connection: which proxy it goes through, and why"));

bool omni_level_of(const struct omni_level_names *n, struct str text, struct str id, int *out,
                   struct err *e)
{
    static const struct word words[] = {{"global", OMNI_GLOBAL},
                                        {"provider", OMNI_PROVIDER},
                                        {"key", OMNI_ACCOUNT},
                                        {"account", OMNI_ACCOUNT},
                                        {0}};
    *out = word_value(words, text, -1);
    if (str_is(text, "combo"))
        return err_field(e, n->level, "'combo' is not supported: proxies are connections'");
    if (*out < 0)
        return err_field(e, n->level, "'%s' must be global, provider or %s", n->level, n->last);
    return *out == OMNI_GLOBAL || id.n ||
           err_field(e, n->id, "'%s' is required %s", n->id, n->here);
}

static bool level_of(struct str text, struct str id, int *out, struct err *e)
{
    static const struct omni_level_names names = {"level", "id", "key", "at this level"};
    return omni_level_of(&names, text, id, out, e);
}

static bool reply_one(struct control_call *c, yyjson_val *view, struct str level, struct str id,
                      struct err *e)
{
    const struct upstream *u = omni_connection(c->snap, id);
    struct str url;
    int at;
    if (!level_of(level, id, &at, e))
        return false;
    if (at == OMNI_ACCOUNT && !u)
        return omni_not_found("Connection", id, e);
    url = at == OMNI_GLOBAL    ? c->snap->settings.proxy_url
          : at == OMNI_ACCOUNT ? own_proxy(view, u)
                               : shared(c->snap, view, id);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_str(&w, "level", level);
    jw_key(&w, "id");
    if (id.n)
        jw_str(&w, id);
    else
        jw_null(&w);
    jw_key(&w, "proxy");
    write_proxy(&w, c->arena, url);
    jw_object_end(&w);
    return true;
}

static bool resolve(struct control_call *c, struct str id, struct err *e)
{
    const struct upstream *u = omni_connection(c->snap, id);
    if (!u)
        return omni_not_found("Connection", id, e);
    static const char *const levels[] = {"direct", "key", "provider", "global"};
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "proxy");
    write_proxy(&w, c->arena, u->origin.proxy);
    jw_kv_cstr(&w, "level", levels[u->proxy_level]);
    jw_key(&w, "levelId");
    if (u->proxy_level == PROXY_OWN)
        jw_str(&w, u->uid);
    else if (u->proxy_level == PROXY_OF_KIND)
        jw_str(&w, omni_provider_of(u));
    else
        jw_null(&w);
    jw_object_end(&w);
    return true;
}

/* The answer of GET, as one or the other. */
struct shown {
    yyjson_val *global, *providers, *combos, *keys, *proxy;
    struct str level;
    yyjson_val *id, *levelId;
};
/* clang-format off */
static const struct shape shown_shape = SHAPE(struct shown,
    FIELD_JSON(struct shown, global, 0, &json_of_object, OMIT_EMPTY | NULL_EMPTY, "For connections without their own: type, host, port, username, hasPassword; null: none"),
    FIELD_JSON(struct shown, providers, JSON_MAP, &json_of_object, OMIT_EMPTY, "Those that all connections of a provider have"),
    FIELD_JSON(struct shown, combos, JSON_MAP, &json_of_object, OMIT_EMPTY, "None: proxies are connections'"),
    FIELD_JSON(struct shown, keys, JSON_MAP, &json_of_object, OMIT_EMPTY, "By connection"),
    FIELD_JSON(struct shown, proxy, 0, &json_of_object, OMIT_EMPTY | NULL_EMPTY, "With level or resolve: the one that was asked for; null: none"),
    FIELD(struct shown, level, OMIT_EMPTY, "The same: global, provider, key or direct"),
    FIELD_JSON(struct shown, id, 0, &json_of_text, OMIT_EMPTY | NULL_EMPTY, "With level: of the provider or connection"),
    FIELD_JSON(struct shown, levelId, 0, &json_of_text, OMIT_EMPTY | NULL_EMPTY, "With resolve: of the connection whose own it is, or of its provider"));
/* clang-format on */

static bool get(struct control_call *c, struct err *e)
{
    const struct proxy_query *q = c->asked;
    yyjson_val *view;
    if (!q->level.n && !q->resolve.n)
        return reply_all(c, e);
    return change_view(c, &view, e) &&
           (q->resolve.n ? resolve(c, q->resolve, e) : reply_one(c, view, q->level, q->id, e));
}

/* ---- changing ---- */

struct edit {
    struct str name, url; /* of an entry */
};
struct edits {
    struct edit *v;
    size_t n, cap;
    bool has_global;
    struct str global;
    yyjson_val *view;
};

bool omni_proxy_is_shown(struct arena *a, struct str was, struct str is)
{
    struct omni_proxy x, y;
    return omni_proxy_part(a, was, &x) && omni_proxy_part(a, is, &y) && str_eq(x.type, y.type) &&
           str_eq(x.host, y.host) && x.port == y.port && str_eq(x.username, y.username) &&
           x.has_password && !y.has_password;
}

static void add(struct control_call *c, struct edits *to, struct str name, struct str url)
{
    if (to->n == to->cap) {
        size_t cap = to->cap * 2 + 16;
        to->v = arena_realloc(c->arena, to->v, to->cap * sizeof *to->v, cap * sizeof *to->v);
        to->cap = cap;
    }
    to->v[to->n++] = (struct edit){name, url};
}

static bool edit(struct control_call *c, struct edits *to, int level, struct str id, struct str url,
                 struct err *e)
{
    const struct snapshot *s = c->snap;
    const struct upstream *meant = level == OMNI_ACCOUNT ? omni_connection(s, id) : NULL;
    bool is_any = false;
    if (level == OMNI_GLOBAL) {
        to->has_global |= !omni_proxy_is_shown(c->arena, s->settings.proxy_url, url);
        to->global = url;
        return true;
    }
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        if (level == OMNI_ACCOUNT ? u != meant : u->from == ORIGIN_DEFAULT || !omni_is_of(s, u, id))
            continue;
        is_any = true;
        if (!omni_proxy_is_shown(c->arena, own_proxy(to->view, u), url))
            add(c, to, u->name, url);
    }
    return is_any || err_field(e, "", "There is no %s '" STR_FMT "'",
                               level == OMNI_ACCOUNT ? "connection" : "connection of provider",
                               STR_ARG(str_first(id, 100)));
}

static bool edit_map(struct control_call *c, struct edits *to, int level, const char *name,
                     yyjson_val *map, struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(map))
        return err_field(e, name, "'%s' must be an object", name);
    yyjson_obj_foreach (map, i, max, k, v) {
        char at[64];
        struct str url;
        (void)snprintf(at, sizeof at, "%s.%.40s", name, yyjson_get_str(k));
        if (!address_of(c->arena, v, &url, e) || !edit(c, to, level, json_str(k), url, e))
            return omni_proxy_inside(e, at);
    }
    return true;
}

static bool has_member(const struct control_call *c, const char *name)
{
    return json_find(c->root, name, strlen(name)) != NULL;
}

static bool read_edits(struct control_call *c, struct edits *to, struct err *e)
{
    const struct proxies_in *in = c->in;
    struct str url;
    int level = OMNI_GLOBAL;
    if (!yyjson_obj_size(c->root))
        return err_field(e, "body", "Give at least one key");
    if (yyjson_obj_size(in->combos))
        return err_field(e, "combos", "'combos' is not supported: proxies are connections'");
    if (c->present >> IN_LEVEL & 1 && !level_of(in->level, in->id, &level, e))
        return false;
    if (c->present >> IN_LEVEL & 1 && !has_member(c, "proxy"))
        return err_field(e, "proxy", "'proxy' is required with 'level'; null: none");
    if (has_member(c, "proxy") &&
        (!address_of(c->arena, in->proxy, &url, e) || !edit(c, to, level, in->id, url, e)))
        return omni_proxy_inside(e, e->field[0] || level == OMNI_GLOBAL ? "proxy" : "id");
    if (has_member(c, "global") &&
        (!address_of(c->arena, in->global, &url, e) || !edit(c, to, OMNI_GLOBAL, STR_NONE, url, e)))
        return omni_proxy_inside(e, "global");
    return (!in->providers || edit_map(c, to, OMNI_PROVIDER, "providers", in->providers, e)) &&
           (!in->keys || edit_map(c, to, OMNI_ACCOUNT, "keys", in->keys, e));
}

static bool apply(struct control_call *c, const struct edits *in, struct err *e)
{
    if (in->has_global && !change_setting(c, setting_find(STR("proxy")), in->global, e))
        return false;
    for (size_t i = 0; i < in->n; i++) {
        struct provider_change p = {
            .name = in->v[i].name, .given = PROVIDER_PROXY, .proxy = in->v[i].url};
        if (!change_provider(c, CHANGE_UPDATE, &p, e))
            return false;
    }
    return true;
}

static bool change(struct control_call *c, struct err *e)
{
    struct edits edits = {.n = 0};
    return change_view(c, &edits.view, e) && read_edits(c, &edits, e) && apply(c, &edits, e) &&
           reply_all(c, e);
}

static bool drop(struct control_call *c, struct err *e)
{
    const struct proxy_query *q = c->asked;
    struct edits edits = {.n = 0};
    int level;
    return level_of(q->level, q->id, &level, e) && change_view(c, &edits.view, e) &&
           edit(c, &edits, level, q->id, STR(""), e) && apply(c, &edits, e) && reply_all(c, e);
}

/* ---- trying one ---- */

struct test_in {
    yyjson_val *proxy;
    struct str id;
};
struct test_out {
    bool success;
    struct str ip, error;
    int64_t latency_ms;
    struct str url;
};
/* clang-format off */
static const struct shape test_in_shape = SHAPE(struct test_in,
    FIELD(struct test_in, proxy, 0, "type, host, port, username, password"),
    FIELD_AS(struct test_in, id, "proxyId", NULL, 0, "Instead: one of the list, with its password"));
static const struct shape test_shape = SHAPE(struct test_out,
    FIELD(struct test_out, success, 0, "Whether an answer came through it"),
    FIELD_AS(struct test_out, ip, "publicIp", NULL, OMIT_EMPTY, "The address that we are seen under behind it"),
    FIELD(struct test_out, error, OMIT_EMPTY, "Why not"),
    FIELD_AS(struct test_out, latency_ms, "latencyMs", NULL, 0, "How long it took"),
    FIELD_AS(struct test_out, url, "proxyUrl", NULL, 0, "The proxy without its credentials"));
/* clang-format on */

static struct str address_in(struct arena *a, struct str body)
{
    yyjson_val *root;
    struct str text = str_trim(body);
    if (!json_parse(a, body, 16, &root, NULL))
        return str_first(text, 64);
    struct str ip = json_get_str(root, "ip");
    return ip.n                            ? ip
           : json_get_str(root, "query").n ? json_get_str(root, "query")
                                           : json_get_str(root, "origin");
}

static bool test(struct control_call *c, struct err *e)
{
    const struct test_in *in = c->in;
    struct test_out out = {.success = false};
    struct str url, target = c->snap->settings.diagnostics_ip_url;
    struct fetched reply;
    struct omni_proxy parts;
    struct err why = ERR_INIT;
    uint64_t began = clock_mono_ms();
    const struct proxy *listed = in->id.n ? omni_proxy_find(c->snap, in->id) : NULL;
    if (in->id.n && !listed)
        return omni_not_found("Proxy", in->id, e);
    if (listed)
        url = listed->url;
    else if (json_absent(in->proxy))
        return err_field(e, "proxy", "'proxy' is required, or 'proxyId'");
    else if (!address_of(c->arena, in->proxy, &url, e))
        return omni_proxy_inside(e, "proxy");
    if (!omni_proxy_part(c->arena, url, &parts))
        return err_field(e, "proxy", "'proxy' is no address");
    struct fetch f = {.method = HTTP_GET,
                      .url = target,
                      .proxy = url,
                      .timeout_ms = TEST_TIMEOUT_MS,
                      .max_bytes = MAX_ANSWER,
                      .is_cancelled = c->control->is_stopping,
                      .allow_private = true}; /* the operator's own setting says where */
    out.url = str_fmt(c->arena, STR_FMT "://" STR_FMT ":%lld", STR_ARG(parts.type),
                      STR_ARG(parts.host), (long long)parts.port);
    if (!target.n)
        out.error = STR("Nothing to ask: set diagnostics_ip_url");
    else if (!fetch_run(c->arena, &f, &reply, &why))
        out.error = str_fmt(c->arena, "%s", why.message);
    else if (reply.status >= 400)
        out.error = str_fmt(c->arena, "HTTP %d", reply.status);
    else
        out.success = true;
    if (out.success)
        out.ip = address_in(c->arena, reply.body);
    out.latency_ms = (int64_t)(clock_mono_ms() - began);
    control_audit(c, "proxy_test", out.url, STR_NONE, STR_NONE);
    return control_reply(c, 200, &test_shape, &out);
}

/* clang-format off */
const struct endpoint omni_proxy_endpoints[] = {
    { HTTP_GET,    "/api/settings/proxy",      SURFACE_OMNIROUTE_TYPED, ACCESS_VIEWER, "The outbound proxies, without passwords", .on_worker = get, .query = &proxy_query_shape, .out = &shown_shape },
    { HTTP_PATCH,  "/api/settings/proxy",      SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Change outbound proxies", .on_worker = change, .in = &proxies_in_shape, .out = &proxies_shape },
    { HTTP_PUT,    "/api/settings/proxy",      SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Change outbound proxies, as PATCH", .on_worker = change, .in = &proxies_in_shape, .out = &proxies_shape },
    { HTTP_DELETE, "/api/settings/proxy",      SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Remove an outbound proxy", .on_worker = drop, .query = &proxy_query_shape, .out = &proxies_shape },
    { HTTP_POST,   "/api/settings/proxy/test", SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Ask through a proxy for the address that we are seen under", .on_worker = test, .in = &test_in_shape, .out = &test_shape, .waits = true },
    {0},
};
/* clang-format on */
