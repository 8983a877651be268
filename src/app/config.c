#include "app/config.h"
#include "app/config_money.h"
#include "app/config_route.h"
#include "api/change_work.h"
#include "json/jsonc_place.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/placeholder.h"
#include "domain/custom_kind.h"
#include "domain/noun.h"
#include "domain/ipban.h"
#include "domain/org.h"
#include "domain/proxy.h"
#include "domain/setting.h"
#include "domain/written.h"
#include "http/curl.h"
#include "gate/ipfilter.h"
#include "http/fetch.h"
#include "json/json.h"
#include "vault/entry.h"
#include "wire/common.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE (64u << 20)
#define MAX_UPSTREAMS 4096
#define LEGACY_KEY_ID "default"
#define KEYS_AT_ONCE 64

struct loader {
    const struct config_sources *src;
    const struct config_draft *draft; /* may be NULL */
    struct arena *a;                  /* the snapshot's */
    struct snapshot *s;
    struct str text;                  /* of the file */
    yyjson_val *root;                 /* of the file; NULL: none */
    struct map upstreams;             /* by name, disabled ones too */
    struct map models;                /* by name */
    struct map holders[HOLDER_KINDS]; /* by id */
    size_t cap_upstreams, cap_models, cap_keys, cap_holders[HOLDER_KINDS];
    struct key *spare_keys; /* made many at a time: there may be a hundred thousand */
    size_t n_spare_keys, cap_ruled;
};

/* ---- small helpers ---- */

static bool bad(struct err *e, const char *where, const char *what)
{
    return err_field(e, where, "'%s' %s", where, what);
}

static bool unset(struct err *e, const char *where, const char *name)
{
    err_field(e, where, "'%s' needs the environment variable %s, which is not set", where, name);
    (void)snprintf(e->code, sizeof e->code, "variable_unset");
    return false;
}

/* ${NAME} anywhere in a text of which written_may_refer() is true. An unset variable is an error: half a configuration is worse than none. */
static bool expand(struct loader *l, struct str text, const char *where, struct str *out,
                   struct err *e)
{
    struct buf b;
    struct str said;
    size_t from = 0, at;
    if (str_index(text, '$') == text.n || !str_contains(text, STR("${"))) {
        *out = text;
        return true;
    }
    buf_init_arena(&b, l->a, 1u << 20);
    for (; (at = placeholder_find(text, from, &said)) < text.n; from = at + said.n + 3) {
        const char *name = str_z(l->a, said), *value = getenv(name);
        if (!value && !l->src->is_elsewhere)
            return unset(e, where, name);
        if (!value) /* a text that fits wherever one may stand */
            value = "http://unset.invalid";
        buf_str_add(&b, placeholder_unescape(l->a, str_n(text.p + from, at - from)));
        buf_str_add(&b, str_of(value));
    }
    buf_str_add(&b, placeholder_unescape(l->a, str_skip(text, from)));
    *out = str_dup(l->a, buf_str(&b));
    return true;
}

static bool text_member(struct loader *l, yyjson_val *obj, const char *key, const char *where,
                        struct str *out, struct err *e)
{
    yyjson_val *v = json_get(obj, key);
    char name[96];
    (void)snprintf(name, sizeof name, "%s.%s", where, key);
    if (json_absent(v)) {
        *out = STR_NONE;
        return true;
    }
    if (!yyjson_is_str(v))
        return bad(e, name, "must be a string");
    return expand(l, json_str(v), name, out, e);
}

/* file:PATH reads the first line of a file. */
static bool secret_text(struct loader *l, struct str text, const char *where, struct str *out,
                        struct err *e)
{
    *out = text;
    if (!str_starts(text, STR("file:")))
        return true;
    struct str content, line;
    struct err inner = ERR_INIT;
    const char *path = str_z(l->a, str_skip(text, 5)),
               *slash = l->src->file ? strrchr(l->src->file, '/') : NULL;
    if (path[0] != '/' && slash) /* beside the file that names it */
        path = str_fmt(l->a, "%.*s/%s", (int)(slash - l->src->file), l->src->file, path).p;
    if (!file_read(l->a, path, 65536, &content, &inner))
        return err_field(e, where, "'%s': %s", where, inner.message);
    (void)str_cut(content, '\n', &line);
    *out = str_trim(line);
    return true;
}

/* ---- upstreams ---- */

/* Ids and key rotation outlive a snapshot: counters and cooling are kept over a reload. */
static struct {
    pthread_mutex_t lock;
    char *names[MAX_UPSTREAMS];
    uint32_t n;
    _Atomic uint32_t turns[MAX_UPSTREAMS];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool upstream_id(struct str name, uint32_t *id)
{
    pthread_mutex_lock(&registry.lock);
    uint32_t i = 0;
    while (i < registry.n && !str_eq(name, str_of(registry.names[i])))
        i++;
    bool ok = i < MAX_UPSTREAMS;
    if (ok && i == registry.n) {
        registry.names[i] = strndup(name.p, name.n);
        if (!registry.names[i])
            abort();
        registry.n++;
    }
    pthread_mutex_unlock(&registry.lock);
    *id = i;
    return ok;
}

struct provider_in { /* of whichever source */
    struct str name, kind, base_url, api_key, proxy, ca_file, wire, api_version;
    int64_t priority, weight;
    struct limits limits;
    bool is_enabled, is_private, is_http2, is_insecure, allow_hosted_tools, fetch_images;
    enum origin from;
    yyjson_val *extra; /* the file's entry */
    yyjson_val *more;  /* of either: has id, pool, … */
};

static bool split_keys(struct loader *l, struct upstream *u, struct str list, const char *where,
                       struct err *e)
{
    size_t n = 1;
    for (size_t i = 0; i < list.n; i++)
        n += list.p[i] == ',';
    u->keys = ARENA_ARRAY(l->a, struct secret, n);
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        if (!one.n)
            continue;
        for (size_t i = 0; i < one.n; i++)
            if ((unsigned char)one.p[i] <= ' ' || one.p[i] == 127)
                return bad(e, where, "holds a character that no header can carry");
        u->keys[u->n_keys++] = secret_of(one);
    }
    return true;
}

/* Its own proxy, else that of its kind, else everybody's. A name that leads nowhere is no way past a proxy. */
static bool find_proxy(struct loader *l, const struct provider_in *in, struct upstream *u,
                       struct str *url, struct err *e)
{
    char where[128];
    struct err why = ERR_INIT;
    (void)snprintf(where, sizeof where, "providers.%.*s.proxy",
                   (int)(in->name.n < 64 ? in->name.n : 64), in->name.p);
    struct str global = l->s->settings.proxy;
    u->proxy = in->proxy.n ? proxy_find(l->s, in->proxy) : proxy_of_kind(l->s, u);
    u->proxy_level = in->proxy.n ? PROXY_OWN
                     : u->proxy  ? PROXY_OF_KIND
                     : global.n  ? PROXY_GLOBAL
                                 : PROXY_NONE;
    if (!u->proxy && proxy_is_name(in->proxy))
        return bad(e, where, "names no proxy that there is");
    if (in->proxy.n && !u->proxy && !proxy_check(l->a, in->proxy, &why))
        return bad(e, where, why.message);
    if (u->proxy_level == PROXY_GLOBAL)
        u->proxy = proxy_find(l->s, global);
    *url = u->proxy                         ? u->proxy->url
           : u->proxy_level == PROXY_GLOBAL ? l->s->settings.proxy_url
                                            : in->proxy;
    return true;
}

static bool build_origin(struct loader *l, const struct provider_in *in, struct upstream *u,
                         const char *where, struct err *e)
{
    struct arena *a = l->a;
    struct url url;
    struct err inner = ERR_INIT;
    struct str base = in->base_url.n      ? in->base_url
                      : u->kind->base_url ? str_of(u->kind->base_url)
                                          : STR_NONE;
    if (base.n == 0)
        return bad(e, where, "is required for this type");
    if (!url_parse_address(a, base, &url, &inner))
        return err_field(e, where, "'%s': %s", where, inner.message);
    struct str path = url.path;
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    bool is_tls = str_is(url.scheme, "https");
    struct str proxy;
    if (!find_proxy(l, in, u, &proxy, e))
        return false;
    if ((proxy.n || in->is_http2) && !curl_start_once(e))
        return false;
    bool v6 = str_contains(url.host, STR(":"));
    u->base_path = str_dup(a, path);
    u->origin = (struct http_origin){
        .is_tls = is_tls,
        .is_http2 = in->is_http2,
        .host = str_dup(a, url.host),
        .port = url.port,
        .host_header = url.port == (is_tls ? 443 : 80)
                           ? str_fmt(a, v6 ? "[%.*s]" : "%.*s", STR_ARG(url.host))
                           : str_fmt(a, v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(url.host), url.port),
        .ca_file = in->ca_file,
        .proxy = proxy,
        .allow_private = in->is_private || u->kind->is_local || host_is_private(url.host),
        .insecure = in->is_insecure,
    };
    u->origin.key = str_fmt(a, "%s|" STR_FMT "|%u|" STR_FMT "|" STR_FMT "|%d%d%d",
                            is_tls ? "https" : "http", STR_ARG(u->origin.host), u->origin.port,
                            STR_ARG(u->origin.ca_file), STR_ARG(proxy), u->origin.is_http2,
                            u->origin.allow_private, u->origin.insecure);
    return true;
}

static bool timeouts(struct loader *l, yyjson_val *obj, struct upstream *u, const char *where,
                     struct err *e)
{
    const struct settings *set = &l->s->settings;
    struct {
        const char *key;
        uint64_t *at;
        int64_t otherwise;
    } rows[] = {
        {"connect_timeout_ms", &u->connect_timeout_ms, set->connect_timeout_ms},
        {"first_byte_timeout_ms", &u->first_byte_timeout_ms, set->first_byte_timeout_ms},
        {"between_timeout_ms", &u->between_timeout_ms, set->between_timeout_ms},
        {"total_timeout_ms", &u->total_timeout_ms, set->total_timeout_ms},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = rows[i].otherwise;
        yyjson_val *given = json_get(obj, rows[i].key);
        char name[96];
        (void)snprintf(name, sizeof name, "%s.%s", where, rows[i].key);
        if (!json_absent(given) && (!json_int(given, &v) || v < 0))
            return bad(e, name, "must be a whole number of milliseconds");
        *rows[i].at = (uint64_t)v;
    }
    return true;
}

/* RFC 9110, 5.1 and 5.5: a token, and no control characters. */
static bool can_be_header(struct str name, struct str value)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    bool ok = name.n > 0;
    for (size_t i = 0; ok && i < name.n; i++)
        ok = isalnum((unsigned char)name.p[i]) || (name.p[i] && strchr(marks, name.p[i]));
    for (size_t i = 0; ok && i < value.n; i++)
        ok = (unsigned char)value.p[i] >= ' ' ? value.p[i] != 127 : value.p[i] == '\t';
    return ok;
}

static bool extra_headers(struct loader *l, yyjson_val *obj, struct upstream *u, const char *where,
                          struct err *e)
{
    yyjson_val *headers = json_get(obj, "headers"), *k, *v;
    size_t i, max;
    if (json_absent(headers))
        return true;
    if (!yyjson_is_obj(headers))
        return bad(e, where, "has headers that are no object");
    u->headers = ARENA_ARRAY(l->a, struct http_header, yyjson_obj_size(headers) + 1);
    yyjson_obj_foreach (headers, i, max, k, v) {
        struct str value;
        if (!yyjson_is_str(v) || !expand(l, json_str(v), where, &value, e))
            return e->kind != ERR_NONE ? false : bad(e, where, "has a header that is no string");
        if (!can_be_header(json_str(k), value))
            return bad(e, where, "has a header that no request can carry");
        u->headers[u->n_headers++] = (struct http_header){str_lower(l->a, json_str(k)),
                                                          str_dup(l->a, value)};
    }
    return true;
}

/* No address of its own, or one of the vendor's. */
static bool is_at_home(struct arena *a, struct str base_url, const struct provider_kind *home)
{
    struct url one, other;
    return base_url.n == 0 || !home->base_url ||
           (url_parse(a, base_url, &one, NULL) &&
            url_parse(a, str_of(home->base_url), &other, NULL) && str_eq(one.host, other.host));
}

static bool unknown_type(struct err *e, const char *where, struct str type)
{
    const struct provider_kind *k, *best = NULL;
    size_t least = 3;
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++) {
        size_t d = str_edit_distance(type, str_of(k->id));
        if (d < least) {
            least = d;
            best = k;
        }
    }
    return err_field(e, where, "'%s' has the unknown type '" STR_FMT "'%s%s%s", where,
                     STR_ARG(str_first(type, 64)),
                     best ? "; did you mean '" : " (sluice provider kinds lists them)",
                     best ? best->id : "", best ? "'?" : "");
}

/* ---- kinds that operators made ---- */

static bool add_kind(struct loader *l, struct str id, yyjson_val *entry, enum origin from,
                     struct err *e)
{
    struct snapshot *s = l->s;
    struct custom_kind *k = ARENA_NEW(l->a, struct custom_kind);
    char where[160];
    struct err why = ERR_INIT;
    (void)snprintf(where, sizeof where, "kinds.%.*s", (int)(id.n < 64 ? id.n : 64), id.p);
    if (!custom_kind_read(l->a, id, entry, k, &why))
        return err_field(e, where, "'%s': %s", where, why.message);
    for (size_t i = 0; i < s->n_kinds; i++) {
        if (str_eq(s->kinds[i]->id, k->id))
            return true; /* the file's hides the store's */
        if (str_eq(s->kinds[i]->prefix, k->prefix))
            return bad(e, where, "has the prefix of another kind");
    }
    k->from = from;
    s->kinds = arena_realloc(l->a, s->kinds, s->n_kinds * sizeof *s->kinds,
                             (s->n_kinds + 1) * sizeof *s->kinds);
    s->kinds[s->n_kinds++] = k;
    return true;
}

static bool store_kind(void *arg, struct str id, yyjson_val *entry, struct err *e)
{
    struct loader *l = arg;
    struct err why = ERR_INIT;
    (void)e;
    if (!add_kind(l, id, entry, ORIGIN_API, &why)) /* must not keep the rest from serving */
        log_error(NULL, "kind.skipped", "kind=" STR_FMT " error=%s", STR_ARG(id), why.message);
    return true;
}

static bool load_kinds(struct loader *l, struct db *db, struct err *e)
{
    yyjson_val *all = json_get(l->root, "kinds"), *k, *v;
    size_t i, max;
    if (!json_absent(all) && !yyjson_is_obj(all))
        return bad(e, "kinds", "must be an object");
    yyjson_obj_foreach (all, i, max, k, v)
        if (!add_kind(l, json_str(k), v, ORIGIN_FILE, e))
            return false;
    return !db || custom_kind_each(db, l->a, store_kind, l, e);
}

/* A setting's value in the file's server section; request_log_… also as llm-rosetta has it, in an object of its own. */
static yyjson_val *setting_in(yyjson_val *server, const char *name)
{
    yyjson_val *v = json_get(server, name);
    struct str whole = str_of(name), log = STR("request_log_");
    if (!json_absent(v) || !str_starts(whole, log))
        return v;
    struct str rest = str_skip(whole, log.n);
    return json_find(json_get(server, "request_log"), rest.p, rest.n);
}

static bool is_one_of(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

/* Members written wrongly, or of a version that had them: they do nothing, and that is said. where: NULL for the top. */
static void name_unknown(const struct loader *l, const char *where, yyjson_val *obj,
                         const char *const *known, size_t n_known)
{
    yyjson_val *k, *v;
    size_t i, max;
    yyjson_obj_foreach (obj, i, max, k, v)
        if (!is_one_of(json_str(k), known, n_known))
            log_warn(NULL, "config.unknown_member", "file=%s member=%s%s" STR_FMT, l->src->file,
                     where ? where : "", where ? "." : "", STR_ARG(json_str(k)));
}

/* ---- proxies that have a name ---- */

static bool add_proxy(struct loader *l, struct str name, yyjson_val *entry, enum origin from,
                      struct err *e)
{
    struct snapshot *s = l->s;
    struct proxy *p = ARENA_NEW(l->a, struct proxy);
    if (proxy_find(s, name))
        return true; /* the file's hides the store's */
    if (!proxy_read(l->a, str_dup(l->a, name), entry, p, e))
        return false;
    if ((from == ORIGIN_FILE && !expand(l, p->url, "url", &p->url, e)) ||
        !proxy_check_url(l->a, p->url, e))
        return false;
    p->from = from;
    s->proxies = arena_realloc(l->a, s->proxies, s->n_proxies * sizeof *s->proxies,
                               (s->n_proxies + 1) * sizeof *s->proxies);
    s->proxies[s->n_proxies++] = p;
    return true;
}

static bool file_proxies(struct loader *l, struct err *e)
{
    yyjson_val *all = json_get(l->root, "proxies"), *k, *v;
    size_t i, max;
    if (!json_absent(all) && !yyjson_is_obj(all))
        return bad(e, "proxies", "must be an object");
    yyjson_obj_foreach (all, i, max, k, v) {
        struct err why = ERR_INIT;
        char where[160];
        (void)snprintf(where, sizeof where, "proxies.%.*s",
                       (int)(json_str(k).n < 64 ? json_str(k).n : 64), json_str(k).p);
        if (!add_proxy(l, json_str(k), v, ORIGIN_FILE, &why))
            return err_field(e, where, "'%s': %s", where, why.message);
    }
    return true;
}

/* One that cannot be used must not keep the rest from serving: who was to go through it goes nowhere. */
static bool store_proxies(struct loader *l, struct db *db, struct err *e)
{
    struct entry_row *row;
    if (!entry_list(db, l->a, "proxies", &row, e))
        return false;
    for (; row; row = row->next) {
        struct err why = ERR_INIT;
        struct str body;
        yyjson_val *v;
        if (!entry_opened(&l->src->seal, l->a, "proxies", row->body, &body, &why) ||
            !json_parse(l->a, body, 16, &v, &why) || !add_proxy(l, row->name, v, ORIGIN_API, &why))
            log_error(NULL, "config.entry_skipped", "section=proxies name=" STR_FMT " error=%s",
                      STR_ARG(row->name), why.message);
    }
    return true;
}

/* Where the setting leads. What the store says and is gone leads nowhere: not past the proxy. */
static bool load_proxies(struct loader *l, struct db *db, struct err *e)
{
    struct settings *set = &l->s->settings;
    struct err why = ERR_INIT;
    if (!file_proxies(l, e) || (db && !store_proxies(l, db, e)))
        return false;
    const struct proxy *p = proxy_find(l->s, set->proxy);
    set->proxy_url = p ? p->url : set->proxy;
    if (p || (!proxy_is_name(set->proxy) && proxy_check(l->a, set->proxy, &why)))
        return true;
    if (!json_absent(setting_in(json_get(l->root, "server"), "proxy")) || getenv("SLUICE_PROXY"))
        return bad(e, "server.proxy", *why.message ? why.message : "names no proxy that there is");
    log_error(NULL, "config.proxy_lost", "proxy=" STR_FMT,
              STR_ARG(secret_mask_proxy(l->a, set->proxy)));
    set->proxy_url = STR("http://lost.invalid:9");
    return true;
}

static const struct provider_kind *find_kind(struct loader *l, struct str id)
{
    for (size_t i = 0; i < l->s->n_kinds; i++)
        if (str_eq(l->s->kinds[i]->id, id))
            return &l->s->kinds[i]->kind;
    return provider_kind_find(id);
}

/* What a provider says of itself to surfaces. One without an id has one made of its name, until a rename writes it down. */
static void describe(struct loader *l, yyjson_val *v, struct upstream *u)
{
    yyjson_val *extra = json_get(v, "extra");
    struct str id = json_get_str(v, "id");
    u->uid = id.n ? str_dup(l->a, id) : uuid_of(l->a, u->name);
    u->pool = str_dup(l->a, json_get_str(v, "pool"));
    u->label = str_dup(l->a, json_get_str(v, "label"));
    u->default_model = str_dup(l->a, json_get_str(v, "default_model"));
    if (yyjson_is_obj(extra))
        u->extra = json_text(l->a, extra);
}

/* What is known of an upstream belongs to a credential at an address, wherever its key stands in the list: a new key, another address
 * or another header, which may name the account, have nothing to answer for. The way to the address concerns reaching it alone. */
static void mark(const struct loader *l, struct upstream *u)
{
    const struct str base = str_fmt(l->a, "%s://" STR_FMT ":%u" STR_FMT,
                                    u->origin.is_tls ? "https" : "http", STR_ARG(u->origin.host),
                                    u->origin.port, STR_ARG(u->base_path)),
                     kind = str_of(u->kind->id);
    const size_t n = 5 + 2 * u->n_headers, n_keys = u->n_keys ? u->n_keys : 1;
    struct str *part = ARENA_ARRAY(l->a, struct str, n);
    part[0] = STR("credential");
    part[1] = kind;
    part[2] = base;
    part[3] = u->api_version;
    for (size_t i = 0; i < u->n_headers; i++) {
        part[4 + 2 * i] = u->headers[i].name;
        part[5 + 2 * i] = u->headers[i].value;
    }
    u->marks = ARENA_ARRAY(l->a, uint64_t, n_keys);
    for (size_t i = 0; i < n_keys; i++) {
        part[n - 1] = u->n_keys ? secret_reveal(u->keys[i]) : STR_NONE;
        u->marks[i] = seal_mark(&l->src->seal, part, n);
    }
    u->address_mark = seal_mark(&l->src->seal,
                                (const struct str[]){STR("address"), base, u->origin.key}, 3);
}

static bool add_provider(struct loader *l, const struct provider_in *in, struct err *e)
{
    char where[160];
    struct err why = ERR_INIT;
    struct upstream *u = ARENA_NEW(l->a, struct upstream);
    (void)snprintf(where, sizeof where, "providers.%.*s", (int)(in->name.n < 64 ? in->name.n : 64),
                   in->name.p);
    u->name = in->name;
    u->kind = find_kind(l, in->kind.n ? in->kind : in->name);
    if (!u->kind && in->kind.n == 0) /* llm-rosetta takes such; most servers speak this */
        u->kind = provider_kind_find(STR("openai-compatible"));
    if (!u->kind)
        return unknown_type(e, where, in->kind.n ? in->kind : in->name);
    const struct provider_kind *home = provider_kind_home(in->kind.n ? in->kind : in->name);
    enum wire_id only = u->kind->wires[0];
    if (home && is_at_home(l->a, in->base_url, home))
        u->kind = home; /* with its own paths and quirks, but this one format */
    else
        home = NULL;
    if (!upstream_id(in->name, &u->id))
        return bad(e, where, "is one provider too many");
    u->next_key = &registry.turns[u->id];
    if (!provider_quirks_read(json_get(in->more, "quirks"), &u->quirk_edit, &why))
        return err_field(e, where, "'%s': %s", where, why.message);
    u->quirk_said = u->quirk_edit;
    const struct custom_kind *own = custom_kind_find(l->s, str_of(u->kind->id));
    if (own) { /* what is said of the kind holds for its providers, unless they say otherwise */
        struct quirk_edit said = own->quirks;
        u->quirk_edit.with |= said.with & ~u->quirk_edit.without;
        u->quirk_edit.without |= said.without & ~u->quirk_edit.with;
    }
    u->quirks = provider_quirks_edited(u->kind->quirks, u->quirk_edit);
    u->strip = u->kind->strip;
    u->is_enabled = in->is_enabled;
    u->priority = in->priority;
    u->weight = in->weight > 0 ? in->weight : 1;
    u->limits = in->limits;
    u->from = in->from;
    u->api_version = in->api_version.n            ? in->api_version
                     : u->kind->api_version_param ? STR("2025-04-01-preview")
                                                  : STR_NONE;
    u->allow_hosted_tools = in->allow_hosted_tools;
    u->fetch_images = in->fetch_images;
    memcpy(u->wires, u->kind->wires, sizeof u->wires);
    if (home) {
        memset(u->wires, 0, sizeof u->wires);
        u->wires[0] = only;
    }
    if (in->wire.n) {
        const struct wire *w = wire_by_name(in->wire);
        if (!w || wire_op(w->id) == OP_COMPLETIONS || wire_op(w->id) == OP_OLLAMA_GENERATE)
            return bad(
                e, where,
                "has an unknown wire: openai_chat, openai_responses, anthropic, google or ollama");
        memset(u->wires, 0, sizeof u->wires);
        u->wires[0] = w->id;
    }
    char url_where[200], key_where[200];
    (void)snprintf(url_where, sizeof url_where, "%s.base_url", where);
    (void)snprintf(key_where, sizeof key_where, "%s.api_key", where);
    describe(l, in->more, u);
    if (!u->kind->is_builtin && !build_origin(l, in, u, url_where, e))
        return false;
    if (!split_keys(l, u, in->api_key, key_where, e) || !timeouts(l, in->extra, u, where, e) ||
        !extra_headers(l, in->extra, u, where, e))
        return false;
    mark(l, u);
    if (map_get(&l->upstreams, u->name))
        return true; /* the file's entry hides the store's of the same name */
    map_set(&l->upstreams, u->name, u);
    if (l->s->n_upstreams == l->cap_upstreams) {
        size_t cap = l->cap_upstreams ? l->cap_upstreams * 2 : 16;
        l->s->upstreams = arena_realloc(l->a, l->s->upstreams,
                                        l->cap_upstreams * sizeof *l->s->upstreams,
                                        cap * sizeof *l->s->upstreams);
        l->cap_upstreams = cap;
    }
    l->s->upstreams[l->s->n_upstreams++] = u;
    return true;
}

/* The key of a kind in the environment; NULL: none. */
static const char *env_key(const struct provider_kind *k)
{
    const char *key = k && k->key_env ? getenv(k->key_env) : NULL;
    if (!key && k && k->key_env && strcmp(k->key_env, "GEMINI_API_KEY") == 0)
        key = getenv("GOOGLE_API_KEY");
    return key && key[0] ? key : NULL;
}

bool is_detected_env(const struct provider_kind *k)
{
    /* tokens such as GITHUB_TOKEN are set for other purposes: only what is an API key is taken for an offer */
    if (!k->base_url || !k->base_url[0] || !env_key(k) ||
        !str_ends(str_of(k->key_env), STR("_API_KEY")))
        return false;
    /* the first kind of several with the same key */
    for (size_t i = 0; provider_kind_at(i) != k; i++) {
        const char *other = provider_kind_at(i)->key_env;
        if (other && strcmp(other, k->key_env) == 0)
            return false;
    }
    return true;
}

/* A key whose variable is not set is none: one vendor's missing key must not keep the others from serving. */
static bool key_member(struct loader *l, yyjson_val *entry, const char *where, struct str *out,
                       struct err *e)
{
    struct err why = ERR_INIT;
    if (text_member(l, entry, "api_key", where, out, &why))
        return true;
    if (strcmp(why.code, "variable_unset") != 0) {
        *e = why;
        return false;
    }
    log_warn(NULL, "config.key_missing", "where=%s error=%s", where, why.message);
    *out = STR_NONE;
    return true;
}

static bool limits_member(struct loader *l, yyjson_val *entry, const char *where,
                          struct limits *out, struct err *e)
{
    struct err why = ERR_INIT;
    yyjson_val *v = json_get(entry, "limits");
    *out = (struct limits){0};
    return json_absent(v) || shape_read(&limits_shape, l->a, v, out, NULL, &why) ||
           err_field(e, where, "'%s.limits': %s", where, why.message);
}

static bool file_providers(struct loader *l, struct err *e)
{
    static const char *const known[] = {"type",
                                        "shim",
                                        "api_key",
                                        "base_url",
                                        "enabled",
                                        "proxy",
                                        "ca_file",
                                        "wire",
                                        "api_version",
                                        "headers",
                                        "allow_private",
                                        "http2",
                                        "insecure",
                                        "fetch_images",
                                        "quirks",
                                        "map_hosted_tools",
                                        "id",
                                        "label",
                                        "default_model",
                                        "pool",
                                        "extra",
                                        "priority",
                                        "weight",
                                        "limits",
                                        "connect_timeout_ms",
                                        "first_byte_timeout_ms",
                                        "between_timeout_ms",
                                        "total_timeout_ms"};
    yyjson_val *all = json_get(l->root, "providers"), *k, *v;
    size_t i, max;
    if (json_absent(all))
        return true;
    if (!yyjson_is_obj(all))
        return bad(e, "providers", "must be an object");
    yyjson_obj_foreach (all, i, max, k, v) {
        char where[96];
        struct str name = json_str(k), type, shim;
        (void)snprintf(where, sizeof where, "providers.%.*s", (int)(name.n < 64 ? name.n : 64),
                       name.p);
        if (!yyjson_is_obj(v))
            return bad(e, where, "must be an object");
        name_unknown(l, where, v, known, ARRAY_LEN(known));
        struct provider_in in = {
            .name = str_dup(l->a, name), .from = ORIGIN_FILE, .extra = v, .more = v};
        if (!text_member(l, v, "type", where, &type, e) ||
            !text_member(l, v, "shim", where, &shim, e) ||
            !text_member(l, v, "base_url", where, &in.base_url, e) ||
            !key_member(l, v, where, &in.api_key, e) ||
            !text_member(l, v, "proxy", where, &in.proxy, e) ||
            !text_member(l, v, "ca_file", where, &in.ca_file, e) ||
            !text_member(l, v, "wire", where, &in.wire, e) ||
            !text_member(l, v, "api_version", where, &in.api_version, e) ||
            !secret_text(l, in.api_key, where, &in.api_key, e) ||
            !limits_member(l, v, where, &in.limits, e))
            return false;
        in.kind = shim.n ? shim : type;
        in.is_enabled = json_get_bool(v, "enabled", true);
        in.priority = json_get_int(v, "priority", 0);
        in.weight = json_get_int(v, "weight", 1);
        in.is_private = json_get_bool(v, "allow_private", false);
        in.is_http2 = json_get_bool(v, "http2", false);
        in.is_insecure = json_get_bool(v, "insecure", false);
        in.allow_hosted_tools = json_get_bool(v, "map_hosted_tools", false);
        in.fetch_images = json_get_bool(v, "fetch_images", true);
        if (!in.api_key.n) { /* llm-rosetta: the kind's variable */
            const struct provider_kind *kind = provider_kind_home(in.kind);
            kind = kind ? kind : find_kind(l, in.kind.n ? in.kind : in.name);
            /* and only towards the kind's own address */
            const char *env = in.base_url.n == 0 ? env_key(kind) : NULL;
            if (env)
                in.api_key = str_dup(l->a, str_of(env));
        }
        if (!add_provider(l, &in, e))
            return false;
    }
    return true;
}

static bool store_providers(struct loader *l, struct db *db, struct err *e)
{
    struct provider_row *rows;
    if (!provider_list(db, l->a, &rows, e))
        return false;
    for (const struct provider_row *p = rows; p; p = p->next) {
        struct provider_in in = {.name = p->name,
                                 .kind = p->kind,
                                 .base_url = p->base_url,
                                 .proxy = p->proxy,
                                 .ca_file = p->ca_file,
                                 .wire = p->wire,
                                 .api_version = p->api_version,
                                 .is_enabled = p->is_enabled,
                                 .priority = p->priority,
                                 .weight = p->weight,
                                 .fetch_images = true,
                                 .from = ORIGIN_API};
        struct secret key = {STR_NONE};
        struct err inner = ERR_INIT;
        if (!address_opened(&l->src->seal, l->a, p->proxy, &in.proxy, &inner)) {
            log_error(NULL, "provider.proxy_lost", "provider=" STR_FMT " error=%s",
                      STR_ARG(p->name), inner.message);
            in.proxy = STR_NONE;
            in.is_enabled = false; /* it must not go out another way */
        }
        if (p->more.n && !json_parse(l->a, p->more, 0, &in.more, NULL))
            in.more = NULL;
        if (p->sealed_key.n &&
            !seal_unwrap(&l->src->seal, l->a, p->sealed_key, p->name, &key, &inner)) {
            log_error(NULL, "provider.key_lost", "provider=" STR_FMT " error=%s", STR_ARG(p->name),
                      inner.message);
            in.is_enabled = false; /* without its key it could only fail */
        }
        in.api_key = secret_reveal(key);
        if (!limits_parse(l->a, p->limits, &in.limits))
            log_error(NULL, "provider.limits_lost", "provider=" STR_FMT, STR_ARG(p->name));
        /* a row that this program cannot use must not keep the rest from serving */
        if (!add_provider(l, &in, &inner)) {
            log_error(NULL, "provider.skipped", "provider=" STR_FMT " error=%s", STR_ARG(p->name),
                      inner.message);
            err_clear(&inner);
        }
    }
    return true;
}

/* ---- models ---- */

static const struct word capability_words[] = {
    {"text", CAP_TEXT},
    {"vision", CAP_VISION},
    {"tools", CAP_TOOLS},
    {"embedding", CAP_EMBEDDING},
    {"reasoning", CAP_REASONING},
    {"audio", CAP_AUDIO},
    {"image", CAP_IMAGE},
    {"rerank", CAP_RERANK},
    {"moderation", CAP_MODERATION},
    {0},
};

static uint32_t capabilities_of(yyjson_val *list)
{
    uint32_t bits = 0;
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(list))
        return CAP_TEXT;
    yyjson_arr_foreach (list, i, max, v)
        /* unknown words are kept in the file only */
        bits |= (uint32_t)word_value(capability_words, json_str(v), 0);
    return bits;
}

static struct target target_at(struct loader *l, const struct model *m, const struct upstream *u,
                               struct str upstream_model, yyjson_val *more)
{
    struct str model = upstream_model.n ? upstream_model : m->name;
    return (struct target){.upstream = u,
                           .model = model,
                           .served = m,
                           .weight = json_get_int(more, "weight", u->weight),
                           .priority = json_get_int(more, "priority", u->priority),
                           .price_nanousd = json_get_int(more, "price_nanousd", -1),
                           .prices = snapshot_prices(l->s, l->a, u, model),
                           .quirks = upstream_model_quirks(u, model)};
}

static void add_target(struct loader *l, struct model *m, size_t *room, struct str provider,
                       struct str upstream_model, yyjson_val *more)
{
    const struct upstream *u = map_get(&l->upstreams, provider), **pool;
    /* models that were added for a kind go to all of its providers */
    size_t n = u && !m->source.n ? 0 : pool_find(l->s, l->a, provider, &pool);
    if (!m->wants.n)
        m->wants = provider;
    if (n == 0 && !u && m->source.n)
        return; /* they wait for the first */
    if (n == 0 &&
        !u) { /* llm-rosetta drops such models silently; saying so is the better half of it */
        log_warn(NULL, "config.model_without_provider", "model=" STR_FMT " provider=" STR_FMT,
                 STR_ARG(m->name), STR_ARG(provider));
        return;
    }
    if (n == 0 && !u->is_enabled) {
        size_t was = m->n_resting++;
        m->resting = arena_realloc(l->a, m->resting, was * sizeof *m->resting,
                                   m->n_resting * sizeof *m->resting);
        m->resting[was] = (struct resting){target_at(l, m, u, upstream_model, more), m->n_targets};
        return;
    }
    if (n == 0) {
        pool = &u;
        n = 1;
    } else {
        m->targets = arena_realloc(l->a, m->targets, *room * sizeof *m->targets,
                                   (*room + n) * sizeof *m->targets);
        *room += n;
    }
    for (size_t i = 0; i < n; i++)
        m->targets[m->n_targets++] = target_at(l, m, pool[i], upstream_model, more);
}

static bool add_targets(struct loader *l, struct model *m, yyjson_val *list, const char *where,
                        struct err *e)
{
    static const char *const known[] = {"provider", "upstream_model", "weight", "priority",
                                        "price_nanousd"};
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return bad(e, where, "must be a non-empty array");
    size_t room = yyjson_arr_size(list);
    m->targets = ARENA_ARRAY(l->a, struct target, room);
    yyjson_arr_foreach (list, i, max, v) {
        struct str provider = yyjson_is_str(v) ? json_str(v) : json_get_str(v, "provider");
        struct str id = json_get_str(v, "upstream_model");
        char at[128];
        if (provider.n == 0)
            return bad(e, where, "has an entry without 'provider'");
        (void)snprintf(at, sizeof at, "%s.targets[%zu]", where, i);
        name_unknown(l, at, v, known, ARRAY_LEN(known));
        add_target(l, m, &room, str_dup(l->a, provider), id.n ? str_dup(l->a, id) : STR_NONE, v);
    }
    return true;
}

static void add_model(struct loader *l, struct model *m)
{
    if (map_get(&l->models, m->name))
        return; /* the file hides the store */
    map_set(&l->models, m->name, m);
    if (l->s->n_models == l->cap_models) {
        size_t cap = l->cap_models ? l->cap_models * 2 : 64;
        l->s->models = arena_realloc(l->a, l->s->models, l->cap_models * sizeof *l->s->models,
                                     cap * sizeof *l->s->models);
        l->cap_models = cap;
    }
    l->s->models[l->s->n_models++] = m;
}

static bool file_models(struct loader *l, struct err *e)
{
    static const char *const known[] = {"provider",     "upstream_model",    "targets",
                                        "capabilities", "max_output_tokens", "context_tokens",
                                        "show_alias",   "enabled",           "label",
                                        "source",       "strategy",          "limits"};
    yyjson_val *all = json_get(l->root, "models"), *k, *v;
    size_t i, max;
    if (json_absent(all))
        return true;
    if (!yyjson_is_obj(all))
        return bad(e, "models", "must be an object");
    yyjson_obj_foreach (all, i, max, k, v) {
        char where[160];
        struct str name = json_str(k);
        if (name.n == 0)
            return bad(e, "models", "a model must have a name");
        struct model *m = ARENA_NEW(l->a, struct model);
        (void)snprintf(where, sizeof where, "models.%.*s", (int)(name.n < 96 ? name.n : 96),
                       name.p);
        *m = (struct model){.name = str_dup(l->a, name),
                            .is_enabled = true,
                            .from = ORIGIN_FILE,
                            .capabilities = CAP_TEXT,
                            .max_output_tokens = -1,
                            .context_tokens = -1};
        yyjson_val *targets = json_get(v, "targets");
        size_t room = 1;
        m->label = str_dup(l->a, json_get_str(v, "label"));
        m->source = str_dup(l->a, json_get_str(v, "source"));
        if (yyjson_is_str(v)) { /* legacy: the provider's name */
            m->targets = ARENA_ARRAY(l->a, struct target, 1);
            add_target(l, m, &room, str_dup(l->a, json_str(v)), STR_NONE, NULL);
        } else if (!yyjson_is_obj(v)) {
            return err_field(e, where, "invalid model entry for '" STR_FMT "'",
                             STR_ARG(str_first(name, 200)));
        } else if (!json_absent(targets)) {
            if (!add_targets(l, m, targets, where, e))
                return false;
        } else {
            struct str provider = json_get_str(v, "provider"),
                       id = json_get_str(v, "upstream_model");
            if (provider.n == 0)
                return bad(e, where, "needs 'provider' or 'targets'");
            m->targets = ARENA_ARRAY(l->a, struct target, 1);
            add_target(l, m, &room, str_dup(l->a, provider), id.n ? str_dup(l->a, id) : STR_NONE,
                       NULL);
        }
        if (yyjson_is_obj(v)) {
            name_unknown(l, where, v, known, ARRAY_LEN(known));
            struct str strategy = json_get_str(v, "strategy");
            m->strategy = (enum strategy)word_value(strategy_words, strategy, STRATEGY_DEFAULT);
            if (strategy.n && m->strategy == STRATEGY_DEFAULT)
                return bad(e, where, "has an unknown strategy: " STRATEGY_WORDS);
            m->capabilities = capabilities_of(json_get(v, "capabilities"));
            m->is_enabled = json_get_bool(v, "enabled", true);
            m->show_alias = json_get_bool(v, "show_alias", false);
            m->max_output_tokens = json_get_int(v, "max_output_tokens", -1);
            m->context_tokens = json_get_int(v, "context_tokens", -1);
            if (!limits_member(l, v, where, &m->limits, e))
                return false;
        }
        add_model(l, m);
    }
    return true;
}

static bool store_models(struct loader *l, struct db *db, struct err *e)
{
    struct model_row *rows;
    if (!model_list(db, l->a, &rows, e))
        return false;
    for (const struct model_row *r = rows; r; r = r->next) {
        struct model *m = ARENA_NEW(l->a, struct model);
        yyjson_val *targets, *capabilities;
        struct err inner = ERR_INIT;
        *m = (struct model){
            .name = r->name,
            .is_enabled = r->is_enabled,
            .show_alias = r->show_alias,
            .label = r->label,
            .source = r->source,
            .from = ORIGIN_API,
            .max_output_tokens = r->max_output_tokens,
            .context_tokens = r->context_tokens,
            .strategy = (enum strategy)word_value(strategy_words, r->strategy, STRATEGY_DEFAULT),
            .created = r->created_ms / 1000};
        if (!json_parse(l->a, r->targets, 8, &targets, &inner) ||
            !json_parse(l->a, r->capabilities, 8, &capabilities, &inner) ||
            !add_targets(l, m, targets, "targets", &inner)) {
            log_error(NULL, "model.skipped", "model=" STR_FMT " error=%s", STR_ARG(r->name),
                      inner.message);
            continue;
        }
        m->capabilities = capabilities_of(capabilities);
        if (!limits_parse(l->a, r->limits, &m->limits))
            log_error(NULL, "model.limits_lost", "model=" STR_FMT, STR_ARG(r->name));
        add_model(l, m);
    }
    return true;
}

/* ---- organisations and users ---- */

static bool add_holder(struct loader *l, enum holder_kind k, const struct holder_row *r,
                       enum origin from, struct err *e)
{
    struct snapshot *s = l->s;
    if (map_get(&l->holders[k], r->id))
        return true; /* the file hides the store */
    struct holder *h = ARENA_NEW(l->a, struct holder);
    *h = (struct holder){.id = str_dup(l->a, r->id),
                         .name = str_dup(l->a, r->name),
                         .is_enabled = r->is_enabled,
                         .created_ms = r->created_ms,
                         .from = from};
    if (!limits_parse(l->a, r->limits, &h->limits))
        return bad(e, "limits", "cannot be read");
    if (r->org.n && !(h->org = map_get(&l->holders[HOLDER_ORG], r->org)))
        return err_field(e, "org", "There is no org '" STR_FMT "'",
                         STR_ARG(str_first(r->org, 100)));
    map_set(&l->holders[k], h->id, h);
    if (s->n_holders[k] == l->cap_holders[k]) {
        size_t cap = l->cap_holders[k] ? l->cap_holders[k] * 2 : 16;
        s->holders[k] = arena_realloc(l->a, s->holders[k],
                                      l->cap_holders[k] * sizeof *s->holders[k],
                                      cap * sizeof *s->holders[k]);
        l->cap_holders[k] = cap;
    }
    s->holders[k][s->n_holders[k]++] = h;
    return true;
}

static bool file_holders(struct loader *l, enum holder_kind kind, struct err *e)
{
    const char *section = holder_section(kind);
    yyjson_val *all = json_get(l->root, section), *k, *v;
    size_t i, max;
    if (json_absent(all))
        return true;
    if (!yyjson_is_obj(all))
        return bad(e, section, "must be an object");
    yyjson_obj_foreach (all, i, max, k, v) {
        struct holder_row r;
        struct err why = ERR_INIT;
        char where[96];
        (void)snprintf(where, sizeof where, "%s.%.*s", section,
                       (int)(json_str(k).n < 64 ? json_str(k).n : 64), json_str(k).p);
        if (!holder_read(l->a, kind, json_str(k), v, &r, &why) ||
            !add_holder(l, kind, &r, ORIGIN_FILE, &why))
            return err_field(e, where, "'%s': %s", where, why.message);
    }
    return true;
}

/* What this program cannot use must not keep the rest from serving: keys that refer to it open nothing. */
static bool store_holders(struct loader *l, enum holder_kind kind, struct db *db, struct err *e)
{
    struct holder_row *r;
    if (!holder_list(db, l->a, kind, &r, e))
        return false;
    for (; r; r = r->next) {
        struct err why = ERR_INIT;
        if (!add_holder(l, kind, r, ORIGIN_API, &why))
            log_error(NULL, "holder.skipped", "kind=%s id=" STR_FMT " error=%s", holder_word(kind),
                      STR_ARG(r->id), why.message);
    }
    return true;
}

static bool load_holders(struct loader *l, struct db *db, struct err *e)
{
    for (int k = 0; k < HOLDER_KINDS; k++) /* orgs first: users refer to them */
        if (!file_holders(l, (enum holder_kind)k, e) ||
            (db && !store_holders(l, (enum holder_kind)k, db, e)))
            return false;
    return true;
}

/* ---- keys ---- */

static bool find_holder(struct loader *l, enum holder_kind k, struct str id,
                        const struct holder **out, struct err *e)
{
    *out = id.n ? map_get(&l->holders[k], id) : NULL;
    return *out || id.n == 0 ||
           err_field(e, holder_word(k), "There is no %s '" STR_FMT "'", holder_word(k),
                     STR_ARG(str_first(id, 100)));
}

static void add_ruled(struct loader *l, struct key *k)
{
    struct snapshot *s = l->s;
    if (s->n_ruled == l->cap_ruled) {
        size_t cap = l->cap_ruled ? l->cap_ruled * 2 : 64;
        s->ruled = arena_realloc(l->a, s->ruled, l->cap_ruled * sizeof *s->ruled,
                                 cap * sizeof *s->ruled);
        l->cap_ruled = cap;
    }
    s->ruled[s->n_ruled++] = k;
}

/* Whom it belongs to, and what holds for it. */
static bool put_policy(struct loader *l, struct key *k, yyjson_val *from, struct err *e)
{
    struct key_policy p;
    k->policy = &key_policy_none;
    if (!key_policy_read(l->a, from, &p, e))
        return false;
    if (key_policy_json(l->a, &p).n == 0)
        return true;
    struct key_policy *kept = ARENA_NEW(l->a, struct key_policy);
    *kept = p;
    k->policy = kept;
    add_ruled(l, k);
    if (!find_holder(l, HOLDER_ORG, p.org, &k->org, e) ||
        !find_holder(l, HOLDER_USER, p.user, &k->user, e))
        return false;
    if (!k->org && k->user)
        k->org = k->user->org;
    if (p.schedule.paused || (!p.schedule.days.n && !p.schedule.from.n && !p.schedule.until.n))
        return true;
    struct opening *o = ARENA_NEW(l->a, struct opening);
    k->opening = o;
    return schedule_read(l->a, &p.schedule, o, e);
}

static struct key *add_key(struct loader *l)
{
    if (l->s->n_keys == l->cap_keys) {
        size_t cap = l->cap_keys ? l->cap_keys * 2 : 64;
        l->s->keys = arena_realloc(l->a, l->s->keys, l->cap_keys * sizeof *l->s->keys,
                                   cap * sizeof *l->s->keys);
        l->cap_keys = cap;
    }
    if (l->n_spare_keys == 0) {
        l->n_spare_keys = KEYS_AT_ONCE;
        l->spare_keys = arena_alloc(l->a, KEYS_AT_ONCE * sizeof *l->spare_keys);
    }
    struct key *k = l->spare_keys++;
    *k = (struct key){0}; /* not all of them beforehand: they are filled while the cache has them */
    l->n_spare_keys--;
    l->s->keys[l->s->n_keys++] = k;
    return k;
}

/* Room for n more at once: growing copies, and leaves what was too small behind. */
static void expect_keys(struct loader *l, size_t n)
{
    struct snapshot *s = l->s;
    if (n <= KEYS_AT_ONCE)
        return;
    s->keys = arena_realloc(l->a, s->keys, l->cap_keys * sizeof *s->keys,
                            (s->n_keys + n) * sizeof *s->keys);
    l->cap_keys = s->n_keys + n;
    l->spare_keys = arena_alloc(l->a, n * sizeof *l->spare_keys);
    l->n_spare_keys = n;
}

static void allowed_of(struct arena *a, yyjson_val *list, struct key *k)
{
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return;
    k->allowed_models = ARENA_ARRAY(a, struct str, yyjson_arr_size(list));
    yyjson_arr_foreach (list, i, max, v)
        if (yyjson_is_str(v))
            k->allowed_models[k->n_allowed++] = str_dup(a, json_str(v));
}

static bool scopes_of(yyjson_val *list, uint32_t *out)
{
    size_t i, max;
    yyjson_val *v;
    *out = SCOPE_INFERENCE | SCOPE_MODELS;
    if (json_absent(list))
        return true;
    if (!yyjson_is_arr(list))
        return false;
    *out = 0;
    yyjson_arr_foreach (list, i, max, v) {
        uint32_t bit = (uint32_t)word_value(scope_words, json_str(v), 0);
        if (!bit)
            return false;
        *out |= bit;
    }
    return true;
}

/* A rule that is written wrongly leaves a key that may do more than was meant. */
static void name_unknown_rules(const struct loader *l, const char *where, yyjson_val *entry)
{
    const char *known[64] = {"id",      "key",     "hash",    "hint",
                             "sealed",  "label",   "scopes",  "enabled",
                             "expires", "created", "rotated", "allowed_models"};
    size_t n = 12;
    for (size_t i = 0; i < key_policy_shape.n_fields && n < ARRAY_LEN(known); i++)
        known[n++] = key_policy_shape.fields[i].name;
    name_unknown(l, where, entry, known, n);
}

static bool file_key(struct loader *l, yyjson_val *v, struct str id, struct str text, size_t at,
                     struct err *e)
{
    char where[64];
    int64_t expires;
    /* "sha256:" and 64 hex digits: as sluice export writes it */
    struct str hash = json_get_str(v, "hash");
    wire_place(where, sizeof where, "server.api_keys", "[", at, "]");
    name_unknown_rules(l, where, v);
    if (!expand(l, text, where, &text, e) || !secret_text(l, text, where, &text, e))
        return false;
    struct key *k = add_key(l);
    if (hash.n && !text.n) {
        if (hash.n != 7 + 2 * sizeof k->hash || !str_starts(hash, STR("sha256:")) ||
            !hex_decode(k->hash, str_skip(hash, 7)))
            return bad(e, where, "has a hash that is not 'sha256:' and 64 hex digits");
    } else if (text.n < 8) {
        return bad(e, where, "has a key of less than 8 characters");
    } else {
        sha256(text, k->hash);
    }
    k->id = str_dup(l->a, id.n ? id : key_written_id(l->a, v));
    k->label = str_dup(l->a, v ? json_get_str(v, "label") : STR(LEGACY_KEY_ID));
    k->is_enabled = json_get_bool(v, "enabled", true);
    k->from = ORIGIN_FILE;
    if (!scopes_of(json_get(v, "scopes"), &k->scopes))
        return bad(e, where, "has unknown scopes: inference, models, admin");
    if (!json_absent(json_get(v, "expires"))) {
        if (!clock_parse_rfc3339(json_get_str(v, "expires"), &expires))
            return bad(e, where, "has an expiry that is no RFC 3339 time");
        k->expires_ms = expires;
    }
    if (clock_parse_rfc3339(json_get_str(v, "created"), &expires))
        k->created_ms = expires;
    allowed_of(l->a, json_get(v, "allowed_models"), k);
    struct err why = ERR_INIT;
    return put_policy(l, k, v, &why) || err_field(e, where, "'%s': %s", where, why.message);
}

/* Whoever names a key by its id means one. */
static bool keys_differ(yyjson_val *list, struct err *e)
{
    struct map seen;
    size_t i, max;
    yyjson_val *v;
    bool ok = true;
    map_init(&seen);
    yyjson_arr_foreach (list, i, max, v) {
        struct str id = json_get_str(v, "id");
        char where[64];
        wire_place(where, sizeof where, "server.api_keys", "[", i, "].id");
        if (id.n && map_get(&seen, id))
            ok = bad(e, where, "is the id of another key too");
        if (!ok)
            break;
        if (id.n)
            map_set(&seen, id, v);
    }
    map_done(&seen);
    return ok;
}

static bool file_keys(struct loader *l, struct err *e)
{
    yyjson_val *server = json_get(l->root, "server"), *list = json_get(server, "api_keys"), *v;
    size_t i, max;
    if (!json_absent(list) && !yyjson_is_arr(list))
        return bad(e, "server.api_keys", "must be an array");
    expect_keys(l, yyjson_arr_size(list));
    if (!keys_differ(list, e))
        return false;
    yyjson_arr_foreach (list, i, max, v)
        if (!file_key(l, v, json_get_str(v, "id"), json_get_str(v, "key"), i, e))
            return false;
    struct str legacy = json_get_str(server, "api_key");
    return legacy.n == 0 || yyjson_arr_size(list) > 0 ||
           file_key(l, NULL, STR(LEGACY_KEY_ID), legacy, 0, e);
}

static void store_key(void *arg, const struct key_row *r)
{
    struct loader *l = arg;
    struct key *k = add_key(l);
    yyjson_val *allowed;
    memcpy(k->hash, r->hash, sizeof k->hash);
    char *texts = arena_alloc(l->a, r->id.n + r->label.n + 1);
    memcpy(texts, r->id.p, r->id.n);
    k->id = str_n(texts, r->id.n);
    if (r->label.n)
        memcpy(texts + r->id.n, r->label.p, r->label.n);
    k->label = str_n(texts + r->id.n, r->label.n);
    k->scopes = (uint32_t)r->scopes;
    k->is_enabled = r->is_enabled;
    k->expires_ms = r->expires_ms;
    k->created_ms = r->created_ms;
    k->from = ORIGIN_API;
    if (r->allowed_models.n && json_parse(l->a, r->allowed_models, 4, &allowed, NULL))
        allowed_of(l->a, allowed, k);
    yyjson_val *policy = NULL;
    struct err why = ERR_INIT;
    k->policy = &key_policy_none;
    if (r->policy.n == 0 ||
        (json_parse(l->a, r->policy, 8, &policy, &why) && put_policy(l, k, policy, &why)))
        return;
    log_error(NULL, "key.policy_lost", "key=" STR_FMT " error=%s", STR_ARG(r->id), why.message);
    k->is_enabled = false; /* nobody knows any more what it may */
}

static bool store_keys(struct loader *l, struct db *db, struct err *e)
{
    int64_t n;
    if (!key_count(db, &n, e))
        return false;
    expect_keys(l, (size_t)n);
    return key_each_packed(db, store_key, l, e);
}

static void add_internal_key(struct loader *l)
{
    struct str text = str_of(l->src->internal_key);
    if (text.n == 0)
        return;
    struct key *k = ARENA_NEW(l->a, struct key);
    *k = (struct key){.id = STR("internal"),
                      .label = STR("internal"),
                      .scopes = SCOPE_INFERENCE | SCOPE_MODELS,
                      .is_enabled = true,
                      .is_internal = true,
                      .policy = &key_policy_none};
    sha256(text, k->hash);
    l->s->internal = k;
}

/* ---- the operator's password: environment over file ---- */

static bool load_admin_password(struct loader *l, struct err *e)
{
    static const char where[] = "server.admin_password";
    const char *given = getenv("SLUICE_ADMIN_PASSWORD");
    struct str text;
    if (given && given[0]) {
        l->s->admin_password = secret_of(str_dup(l->a, str_of(given)));
        l->s->admin_password_from = ORIGIN_ENV;
        return true;
    }
    if (!text_member(l, json_get(l->root, "server"), "admin_password", "server", &text, e) ||
        !secret_text(l, text, where, &text, e))
        return false;
    l->s->admin_password = secret_of(str_dup(l->a, text));
    l->s->admin_password_from = ORIGIN_FILE;
    return true;
}

/* ---- settings: environment over file over store over default ---- */

static const char *setting_env(const char *name, char out[64])
{
    setting_variable(name, out);
    return getenv(out);
}

static bool store_setting(void *arg, struct str name, struct str value, struct err *e)
{
    struct loader *l = arg;
    const struct setting *row = setting_find(name);
    struct err inner = ERR_INIT;
    (void)e;
    if (row && (!address_opened(&l->src->seal, l->a, value, &value, &inner) ||
                !setting_set(&l->s->settings, row, value, &inner)))
        log_error(NULL, "setting.skipped", "setting=" STR_FMT " error=%s", STR_ARG(name),
                  inner.message);
    return true;
}

/* llm-rosetta's section `debug` and its variables: what they switch on is ours under another name. */
static bool load_debug(struct loader *l, struct err *e)
{
    static const struct {
        const char *member, *env, *setting, *value;
    } rows[] = {
        {"verbose", "LLM_ROSETTA_VERBOSE", "log_level", "debug"},
        {"log_bodies", "LLM_ROSETTA_LOG_BODIES", "log_bodies", "all"},
    };
    yyjson_val *debug = json_get(l->root, "debug");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str given = str_of(getenv(rows[i].env));
        bool is_on = given.n ? str_is(given, "1") || str_eq_nocase(given, STR("true")) ||
                                   str_eq_nocase(given, STR("yes"))
                             : json_get_bool(debug, rows[i].member, false);
        const struct setting *row = setting_find(str_of(rows[i].setting));
        if (is_on && row && !setting_set(&l->s->settings, row, str_of(rows[i].value), e))
            return false;
    }
    return true;
}

/* llm-rosetta's members of `server` that are no settings are ours all the same. */
static void name_unknown_settings(const struct loader *l, yyjson_val *server)
{
    static const char *const others[] = {"api_key", "api_keys", "admin_password", "request_log"};
    yyjson_val *k, *v;
    size_t i, max;
    yyjson_obj_foreach (server, i, max, k, v)
        if (!setting_find(json_str(k)) && !is_one_of(json_str(k), others, ARRAY_LEN(others)))
            log_warn(NULL, "config.unknown_setting", "file=%s setting=" STR_FMT, l->src->file,
                     STR_ARG(json_str(k)));
}

static bool load_settings(struct loader *l, struct db *db, struct err *e)
{
    struct settings *set = &l->s->settings;
    yyjson_val *server = json_get(l->root, "server");
    settings_default(set);
    if (db && !setting_each(db, l->a, store_setting, l, e))
        return false;
    if (!load_debug(l, e))
        return false;
    if (!json_absent(server) && !yyjson_is_obj(server))
        return bad(e, "server", "must be an object");
    const struct setting *row;
    name_unknown_settings(l, server);
    for (size_t i = 0; (row = setting_at(i)) != NULL; i++) {
        yyjson_val *v = setting_in(server, row->name);
        char env[64];
        const char *given = setting_env(row->name, env);
        if (!json_absent(v)) {
            struct str text = yyjson_is_str(v) ? json_str(v) : json_text(l->a, v);
            bool fits = row->kind == SETTING_TEXT   ? yyjson_is_str(v)
                        : row->kind == SETTING_BOOL ? yyjson_is_bool(v)
                                                    : true;
            char where[64];
            (void)snprintf(where, sizeof where, "server.%s", row->name);
            if (!fits)
                return bad(e, where,
                           row->kind == SETTING_TEXT ? "must be a string"
                                                     : "must be true or false");
            struct err inner = ERR_INIT;
            if (!expand(l, str_dup(l->a, text), where, &text, e))
                return false;
            if (l->src->is_elsewhere && str_contains(text, STR("http://unset.invalid")))
                continue;
            if (!setting_set(set, row, text, &inner))
                return err_field(e, where, "%s", inner.message);
        }
        if (given && !setting_set(set, row, str_dup(l->a, str_of(given)), e))
            return err_field(e, row->name, "%s: the value of the environment variable is not valid",
                             env);
    }
    set->host = str_of(str_z(l->a, set->host)); /* used as a C string */
    return true;
}

/* Rows of the store's settings: what stands in no place that goes before becomes ORIGIN_API. */
static void note_stored(struct db *db, enum origin *from)
{
    struct err e = ERR_INIT;
    const struct setting *row;
    struct stmt *s = db_prepare(db, "SELECT name FROM setting", &e);
    while (s && stmt_step(s, &e))
        if ((row = setting_find(stmt_str(s, 0))) && from[setting_index(row)] == ORIGIN_DEFAULT)
            from[setting_index(row)] = ORIGIN_API;
    stmt_free(s);
}

void setting_origins(const struct config_sources *src, enum origin *from)
{
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct str text;
    yyjson_val *root = NULL;
    const struct setting *row;
    if (src->file &&
        (!file_read(a, src->file, MAX_FILE, &text, &e) || !jsonc_parse(a, text, &root, &e)))
        root = NULL;
    yyjson_val *server = json_get(root, "server");
    for (size_t i = 0; (row = setting_at(i)) != NULL; i++) {
        char env[64];
        from[i] = setting_env(row->name, env)                   ? ORIGIN_ENV
                  : !json_absent(setting_in(server, row->name)) ? ORIGIN_FILE
                                                                : ORIGIN_DEFAULT;
    }
    struct db *db = db_open(src->db_path, DB_READ_ONLY, &e);
    if (db)
        note_stored(db, from);
    db_close(db);
    arena_free(a);
}

enum origin setting_origin(const struct config_sources *src, const struct setting *row)
{
    enum origin *from = calloc(setting_count(), sizeof *from);
    if (!from)
        abort();
    setting_origins(src, from);
    enum origin one = from[setting_index(row)];
    free(from);
    return one;
}

/* ---- all of it ---- */

static bool load_file(struct loader *l, struct err *e)
{
    struct str text;
    struct err inner = ERR_INIT;
    static const char *const known[] = {"providers", "models",  "orgs",   "users",  "combos",
                                        "chains",    "aliases", "kinds",  "prices", "budgets",
                                        "policies",  "proxies", "server", "debug",  "$schema"};
    if (!l->src->file)
        return true;
    if (l->draft && l->draft->text.p)
        l->text = str_dup(l->a, l->draft->text);
    else if (!file_read(l->a, l->src->file, MAX_FILE, &l->text, e))
        return false;
    l->s->file_text = l->text;
    if (!jsonc_fill(l->a, l->src->file, l->text, &text, e))
        return false;
    if (!jsonc_parse(l->a, text, &l->root, &inner))
        return err_set(e, ERR_INPUT, "invalid_config", "%s: %s", l->src->file, inner.message);
    if (!yyjson_is_obj(l->root))
        return err_set(e, ERR_INPUT, "invalid_config", "%s: the file must hold a JSON object",
                       l->src->file);
    struct str twice = jsonc_twice(l->a, l->src->file, l->text);
    if (twice.n)
        log_warn(NULL, "config.duplicate_member", "%s", str_z(l->a, twice));
    name_unknown(l, NULL, l->root, known, ARRAY_LEN(known));
    return true;
}

/* echo is always there: an installation can be tried before any account is. */
static bool add_echo_provider(struct loader *l, struct err *e)
{
    struct provider_in in = {
        .name = STR("echo"), .kind = STR("echo"), .is_enabled = true, .from = ORIGIN_DEFAULT};
    return map_get(&l->upstreams, in.name) || add_provider(l, &in, e);
}

static void add_echo_model(struct loader *l)
{
    const struct upstream *u = map_get(&l->upstreams, STR("echo"));
    if (map_get(&l->models, STR("echo")) || !u->kind->is_builtin || !u->is_enabled)
        return;
    struct model *m = ARENA_NEW(l->a, struct model);
    *m = (struct model){.name = STR("echo"),
                        .targets = ARENA_ARRAY(l->a, struct target, 1),
                        .is_enabled = true,
                        .max_output_tokens = -1,
                        .context_tokens = -1,
                        .capabilities = CAP_TEXT | CAP_TOOLS | CAP_REASONING | CAP_EMBEDDING};
    m->targets[m->n_targets++] = (struct target){.upstream = u,
                                                 .model = STR("echo"),
                                                 .served = m,
                                                 .weight = 1,
                                                 .price_nanousd = -1,
                                                 .quirks = upstream_model_quirks(u, STR("echo"))};
    m->targets[0].prices = snapshot_prices(l->s, l->a, u, STR("echo"));
    add_model(l, m);
}

/* Upstreams that nobody configured: those whose key stands in the environment, and model servers beside us. */
static bool add_detected(struct loader *l, struct err *e)
{
    const struct provider_kind *k;
    if (!l->src->detects || l->src->file)
        return true;
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++) {
        struct provider_in in = {.name = str_of(k->id),
                                 .kind = str_of(k->id),
                                 .is_enabled = true,
                                 .fetch_images = true,
                                 .from = ORIGIN_ENV};
        if (map_get(&l->upstreams, in.name) || !is_detected_env(k))
            continue;
        in.api_key = str_dup(l->a, str_of(env_key(k)));
        if (!add_provider(l, &in, e))
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(l->src->local); i++) {
        const struct local_server *found = &l->src->local[i];
        struct provider_in in = {.name = str_of(found->kind),
                                 .kind = str_of(found->kind),
                                 .base_url = str_of(found->base_url),
                                 .is_enabled = true,
                                 .fetch_images = true,
                                 .from = ORIGIN_ENV};
        if (!found->kind || map_get(&l->upstreams, in.name))
            continue;
        if (!add_provider(l, &in, e))
            return false;
        for (size_t j = 0; j < found->n_models; j++) {
            struct model *m = ARENA_NEW(l->a, struct model);
            *m = (struct model){.name = str_fmt(l->a, "%s/%s", found->kind, found->models[j]),
                                .is_enabled = true,
                                .from = ORIGIN_ENV,
                                .targets = ARENA_ARRAY(l->a, struct target, 1),
                                .capabilities = CAP_TEXT,
                                .max_output_tokens = -1,
                                .context_tokens = -1};
            size_t room = 1;
            add_target(l, m, &room, in.name, str_dup(l->a, str_of(found->models[j])), NULL);
            add_model(l, m);
        }
    }
    return true;
}

/* Says where in the file the fault stands. */
static void add_place(const struct loader *l, struct err *e)
{
    struct err was = *e;
    if (!l->root || !was.field[0])
        return;
    struct str where = jsonc_where(l->a, l->src->file, l->text, str_of(was.field));
    (void)snprintf(e->message, sizeof e->message, STR_FMT "%.400s", STR_ARG(where), was.message);
}

static bool load_all(struct loader *l, struct db *db, struct err *e)
{
    bool ok = load_file(l, e) && load_settings(l, db, e) && load_admin_password(l, e) &&
              load_kinds(l, db, e) && load_proxies(l, db, e) && file_providers(l, e) &&
              (!db || store_providers(l, db, e)) && add_detected(l, e) && add_echo_provider(l, e) &&
              config_prices(l->s, l->root, db, e) && file_models(l, e) &&
              (!db || store_models(l, db, e)) &&
              (!db ||
               ip_ban_list(db, l->a, clock_wall_ms(), &l->s->ip_bans, &l->s->n_ip_bans, e)) &&
              load_holders(l, db, e) && file_keys(l, e) && (!db || store_keys(l, db, e)) &&
              config_budgets(l->s, l->root, db, e);
    if (ok)
        add_echo_model(l);
    add_internal_key(l);
    return ok && config_routing(l->s, &l->upstreams, &l->models, l->root, db, e);
}

bool config_build(const struct config_sources *src, const struct config_draft *draft,
                  struct snapshot **out, struct err *e)
{
    struct loader l = {.src = src, .draft = draft, .s = snapshot_new()};
    bool is_lent = draft && draft->db;
    struct db *db = is_lent                 ? draft->db
                    : src->is_without_store ? NULL
                                            : db_open(src->db_path, DB_READ_ONLY, e);
    l.a = l.s->arena;
    map_init(&l.upstreams);
    map_init(&l.models);
    for (int k = 0; k < HOLDER_KINDS; k++)
        map_init(&l.holders[k]);
    bool ok = (db || src->is_without_store) && load_all(&l, db, e);
    if (!ok)
        add_place(&l, e);
    if (!is_lent)
        db_close(db);
    map_done(&l.upstreams);
    map_done(&l.models);
    for (int k = 0; k < HOLDER_KINDS; k++)
        map_done(&l.holders[k]);
    if (!ok) {
        snapshot_unref(l.s);
        return false;
    }
    ip_filter_build(l.s);
    snapshot_index(l.s);
    *out = l.s;
    return true;
}

bool config_load(const struct config_sources *src, struct snapshot **out, struct err *e)
{
    return config_build(src, NULL, out, e);
}

/* With the folders above it. */
static bool make_folder(const char *path, struct err *e)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, 0755); /* what cannot be made shows below */
        *slash = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST || err_errno(e, "cannot create", path);
}

/* Says which file is damaged, and that it was left alone. */
static bool damaged(const char *path, struct err *e)
{
    if (strcmp(e->code, "store_corrupt") == 0) {
        struct err inner = *e;
        err_set(e, ERR_INTERNAL, "store_corrupt",
                "The store '%s' is damaged (%s). Nothing was changed in it: put a backup in its "
                "place, or move it away to "
                "start with an empty one",
                path, inner.message);
    }
    return false;
}

bool state_check(const char *path, struct err *e)
{
    if (access(path, F_OK) != 0)
        return true;
    struct db *db = db_open(path, DB_READ_ONLY, e);
    struct stmt *s = db ? db_prepare(db, "SELECT count(*) FROM sqlite_schema", e) : NULL;
    bool ok = s && stmt_step(s, e);
    stmt_free(s);
    /* of the tables that a start needs; the log may be very large */
    static const char *const needed[] = {"provider", "model", "key", "setting"};
    for (size_t i = 0; ok && i < ARRAY_LEN(needed); i++) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "PRAGMA quick_check(%s)", needed[i]);
        s = db_prepare(db, sql, e);
        ok = s && stmt_step(s, e);
        if (ok && !str_is(stmt_str(s, 0), "ok"))
            ok = err_set(e, ERR_INTERNAL, "store_corrupt", STR_FMT,
                         STR_ARG(str_first(stmt_str(s, 0), 200)));
        stmt_free(s);
    }
    db_close(db);
    return ok || damaged(path, e);
}

/* A key that is made anew would open nothing of what the store holds, and what is sealed under it would be lost once the old one is back. */
static bool key_is_missed(const struct config_sources *s, struct err *e)
{
    struct err why = ERR_INIT;
    if (s->is_first_start || seal_is_given(s->data_dir))
        return false;
    struct db *db = db_open(s->db_path, DB_READ_ONLY, &why);
    struct stmt *q = db ? db_prepare(db,
                                     "SELECT 1 FROM provider WHERE length(sealed_key) > 0 LIMIT 1",
                                     &why)
                        : NULL; /* what is no store of ours is told of where it is opened */
    bool is_missed = q && stmt_step(q, &why);
    stmt_free(q);
    db_close(db);
    if (is_missed)
        err_set(e, ERR_INPUT, "master_key_missing",
                "'%s/master.key' is missing, and the store holds credentials that only it opens: "
                "put it back, or set SLUICE_MASTER_KEY. To go on without them, write a new one "
                "there (64 hex digits, mode 600) and give the providers their keys again",
                s->data_dir);
    return is_missed;
}

struct db *state_open_held(struct config_sources *s, struct err *e)
{
    if (!make_folder(s->data_dir, e))
        return NULL;
    if (snprintf(s->db_path, sizeof s->db_path, "%s/sluice.db", s->data_dir) >=
        (int)sizeof s->db_path) {
        err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", s->data_dir);
        return NULL;
    }
    s->is_first_start = access(s->db_path, F_OK) != 0;
    if (key_is_missed(s, e) || !seal_open(&s->seal, s->data_dir, e))
        return NULL;
    struct err held = ERR_INIT;
    if (s->file && file_has_drafts(s->file)) /* they go with the lock */
        file_unlock(file_lock(s->file, 0, &held));
    struct arena *a = arena_new();
    struct db *db = db_open(s->db_path, DB_READ_WRITE, e);
    bool ok = db && db_migrate(db, e) && change_recover(a, &s->seal, db, s->file, e);
    arena_free(a);
    if (ok)
        return db;
    db_close(db);
    (void)damaged(s->db_path, e);
    return NULL;
}

bool state_open(struct config_sources *s, struct err *e)
{
    struct db *db = state_open_held(s, e);
    db_close(db);
    return db != NULL;
}

void state_close(struct config_sources *s)
{
    seal_close(&s->seal);
}
