/* admin_network.c - /admin/api/diagnostics: whether the way to the internet works, and which addresses this host has. */
#include "api/admin.h"
#include "http/fetch.h"
#include "json/shape_json.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#define PROBE_TIMEOUT_MS 15000
#define MAX_PROBE 65536
#define NO_CONTENT 204

struct network_out {
    struct str proxy;
    yyjson_val *ip, *google;
};
struct host_out {
    struct strs addresses;
};

/* clang-format off */
static const struct shape place_shape = MEMBERS("place",
    MEMBER("ok",      SHAPE_BOOL, 0, "Whether an answer came that says it"),
    MEMBER("ip",      SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "Address that we are seen with"),
    MEMBER("country", SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "Where that is"),
    MEMBER("city",    SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "Where that is"),
    MEMBER("isp",     SHAPE_STR,  OMIT_EMPTY | NULL_EMPTY, "Whose it is"),
    MEMBER("error",   SHAPE_STR,  OMIT_EMPTY, "What went wrong"));
static const struct shape reach_shape = MEMBERS("reach",
    MEMBER("ok",      SHAPE_BOOL,  0, "Whether it answered as it should"),
    MEMBER("status",  SHAPE_INT32, OMIT_EMPTY, "HTTP status of the answer"),
    MEMBER("error",   SHAPE_STR,   OMIT_EMPTY, "Why none came"));
static const struct shape network_shape = SHAPE(struct network_out,
    FIELD(struct network_out, proxy,  OMIT_EMPTY, "The global proxy, without its credentials"),
    FIELD_JSON(struct network_out, ip,     0, &place_shape, 0, "ok, and either ip, country, city, isp or error"),
    FIELD_JSON(struct network_out, google, 0, &reach_shape, 0, "ok, status, and an error when nothing came"));
static const struct shape host_shape = SHAPE(struct host_out,
    FIELD(struct host_out, addresses, 0, "Of the interfaces that are up, without loopback"));
/* clang-format on */

static void write_error(struct jw *w, const char *text)
{
    jw_kv_bool(w, "ok", false);
    jw_kv_cstr(w, "error", text);
}

static void write_place(struct jw *w, struct arena *a, const struct fetched *reply)
{
    static const char *const names[][2] = {
        {"ip", "query"}, {"country", "country"}, {"city", "city"}, {"isp", "isp"}};
    yyjson_val *root;
    if (!json_parse(a, reply->body, 16, &root, NULL) || !yyjson_is_obj(root)) {
        write_error(w, "not JSON");
        return;
    }
    jw_kv_bool(w, "ok", true);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        jw_key(w, names[i][0]);
        jw_val(w, json_get(root, names[i][1]));
    }
}

static void write_status(struct jw *w, struct arena *a, const struct fetched *reply)
{
    (void)a;
    jw_kv_bool(w, "ok", reply->status == NO_CONTENT);
    jw_kv_int(w, "status", reply->status);
}

static yyjson_val *probe(struct control_call *c, struct str url, bool is_place)
{
    struct buf b;
    struct fetched reply;
    struct err why = ERR_INIT;
    yyjson_val *out = NULL;
    struct fetch f = {.method = HTTP_GET,
                      .url = url,
                      .proxy = c->snap->settings.proxy_url,
                      .timeout_ms = PROBE_TIMEOUT_MS,
                      .max_bytes = MAX_PROBE,
                      .is_cancelled = c->control->is_stopping,
                      .allow_private = true}; /* the operator's own setting says where */
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (url.n == 0)
        write_error(&w, "switched off: no target is configured");
    else if (!fetch_run(c->arena, &f, &reply, &why))
        write_error(&w, why.message);
    else if (is_place && reply.status != 200)
        write_error(&w, str_fmt(c->arena, "HTTP %d", reply.status).p);
    else
        (is_place ? write_place : write_status)(&w, c->arena, &reply);
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, &out, NULL) ? out : NULL;
}

static bool network(struct control_call *c, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    struct network_out out = {.proxy = secret_mask_url(c->arena, set->proxy_url),
                              .ip = probe(c, set->diagnostics_ip_url, true),
                              .google = probe(c, set->diagnostics_connect_url, false)};
    (void)e;
    return control_reply(c, 200, &network_shape, &out);
}

static struct str address_text(struct arena *a, const struct sockaddr *sa)
{
    char text[INET6_ADDRSTRLEN] = "";
    const void *at = sa->sa_family == AF_INET
                         ? (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
                         : &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    return str_fmt(a, "%s", inet_ntop(sa->sa_family, at, text, sizeof text) ? text : "");
}

static bool host_ip(struct control_call *c, struct err *e)
{
    struct ifaddrs *all, *i;
    struct host_out out = {.addresses = {NULL, 0}};
    size_t n = 0;
    if (getifaddrs(&all) != 0)
        return err_errno(e, "cannot list", "the network interfaces");
    for (i = all; i; i = i->ifa_next)
        n++;
    out.addresses.v = ARENA_ARRAY(c->arena, struct str, n + 1);
    for (i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        out.addresses.v[out.addresses.n++] = address_text(c->arena, i->ifa_addr);
    }
    freeifaddrs(all);
    return control_reply(c, 200, &host_shape, &out);
}

/* clang-format off */
const struct endpoint admin_network_endpoints[] = {
    { HTTP_GET, "/admin/api/diagnostics/network", SURFACE_ROSETTA, ACCESS_MEMBER, "Try the way to the internet", .on_worker = network, .out = &network_shape, .waits = true },
    { HTTP_GET, "/admin/api/diagnostics/host-ip", SURFACE_ROSETTA, ACCESS_MEMBER, "Show the addresses of this host", .on_worker = host_ip, .out = &host_shape },
    {0},
};
/* clang-format on */
