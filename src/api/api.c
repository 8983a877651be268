#include "api/api.h"
#include "api/control.h"
#include "api/requests.h"
#include "api/surface/surface.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "gate/admit.h"
#include "gate/ipfilter.h"
#include "gate/peer.h"
#include "http/cidr.h"

#define MAX_CONTROL_BODY (8u << 20)
#define MAX_OPEN_BODY 65536 /* of callers whom nobody has asked anything */

static const struct surface_def *surface_for(const struct api_call *c)
{
    if (!c->row)
        return surface_of(surface_of_path(c->r->path, c->path));
    /* the lists of models look as their callers know them, and so do their errors */
    if (c->row->surface == SURFACE_OPENAI && c->row->access == ACCESS_MODELS)
        return surface_of(surface_of_caller(c->r));
    return surface_of(c->row->surface);
}

static size_t common_headers(const struct api_call *c, struct http_header *h)
{
    size_t n = 0;
    h[n++] = (struct http_header){STR("x-request-id"), c->id};
    if (c->varies_by_origin) /* a cache may not give it to another one's page */
        h[n++] = (struct http_header){STR("vary"), STR("origin")};
    if (c->cors.n) {
        h[n++] = (struct http_header){STR("access-control-allow-origin"), c->cors};
        h[n++] = (struct http_header){STR("access-control-expose-headers"), STR("*")};
    }
    const char *cache = surface_for(c)->cache_control;
    if (c->row && c->row->cache_control)
        cache = c->row->cache_control;
    if (cache)
        h[n++] = (struct http_header){STR("cache-control"), str_of(cache)};
    for (size_t i = 0; i < c->n_extra; i++)
        h[n++] = c->extra[i];
    return n;
}

void api_reply(struct api_call *c, int status, const char *content_type, struct str body)
{
    struct http_header h[16];
    size_t n = common_headers(c, h);
    if (content_type)
        h[n++] = (struct http_header){STR("content-type"), str_of(content_type)};
    http_reply(c->r, status, h, n, body);
}

void api_reply_json(struct api_call *c, int status, struct str body)
{
    api_reply(c, status, "application/json; charset=utf-8", body);
}

/* With room for one more header in h, which names the request already where the surface does not do so itself. */
static void render(struct http_req *r, const struct surface_def *surface, const struct err *e,
                   struct str id, struct http_header *h, size_t n)
{
    struct buf body;
    if (surface->wire != WIRE_NONE) {
        relay_reply_error(r, surface->wire, e, id, h, n);
        return;
    }
    buf_init_arena(&body, r->arena, 65536);
    surface->write_error(e, id, &body);
    h[n++] = (struct http_header){STR("content-type"), STR("application/json; charset=utf-8")};
    http_reply(r, err_status(e), h, n, buf_str(&body));
}

static void fail_with(struct api_call *c, const struct err *e, const struct http_header *extra)
{
    const struct surface_def *surface = surface_for(c);
    struct http_header h[16];
    size_t n = common_headers(c, h);
    if (surface->wire != WIRE_NONE) /* formats name the request, and say when to try again */
        memmove(h, h + 1, --n * sizeof *h);
    else if (e->retry_after_ms >= 0) /* RFC 9110, 10.2.3: whole seconds, rounded up */
        h[n++] = (struct http_header){
            STR("retry-after"),
            str_fmt(c->r->arena, "%lld", (long long)((e->retry_after_ms + 999) / 1000))};
    if (extra)
        h[n++] = *extra;
    render(c->r, surface, e, c->id, h, n);
}

/* A fault that was found before a handler ran. */
static void refuse(struct api_call *c, struct err *e, const struct http_header *extra)
{
    metrics_refused(c->api->relay->metrics, err_status(e));
    uint64_t size = c->r->content_length >= 0 ? (uint64_t)c->r->content_length : c->r->bytes_in;
    if (surface_for(c)->adapt)
        surface_for(c)->adapt(e);
    control_audit_refused(c, e);
    surface_phrase(surface_for(c), c->row ? c->row->bad_json : NULL, size, e);
    fail_with(c, e, extra);
}

void api_fail(struct api_call *c, const struct err *e)
{
    fail_with(c, e, NULL);
}

void api_refuse(struct api_call *c, struct err *e)
{
    refuse(c, e, NULL);
}

/* ---- before the row ---- */

/* The caller's id when it is one we can log and echo, and none that a place in the log could have; else a new one. */
static struct str request_id(struct http_req *r)
{
    struct str given = http_req_header(r, "x-request-id");
    bool ok = given.n >= 8 && given.n <= 64, is_number = true;
    for (size_t i = 0; ok && i < given.n; i++) {
        char ch = given.p[i];
        ok = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
             ch == '-' || ch == '_' || ch == '.';
        is_number &= ch >= '0' && ch <= '9';
    }
    return ok && !is_number ? given : random_id(r->arena, "req_", 24);
}

static struct str cors_origin(const struct settings *s, const struct http_req *r,
                              bool is_administrative)
{
    if (!s->cors)
        return STR_NONE;
    struct str origin = http_req_header(r, "origin"),
               list = is_administrative ? s->admin_cors_origins : s->cors_origins;
    if (origin.n == 0)
        return STR_NONE;
    if (!is_administrative && (str_is(list, "*") || list.n == 0))
        return STR("*");
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        if (str_eq(str_trim(one), origin))
            return origin;
    }
    return STR_NONE;
}

/* Whether the answer says who may read it, and to others otherwise. */
static bool varies_by_origin(const struct settings *s, bool is_administrative)
{
    if (!s->cors)
        return false;
    return is_administrative ? s->admin_cors_origins.n > 0
                             : s->cors_origins.n > 0 && !str_is(s->cors_origins, "*");
}

static struct str method_list(struct arena *a, uint32_t allowed)
{
    struct buf b;
    buf_init_arena(&b, a, 256);
    if (allowed & (1u << HTTP_GET))
        allowed |= 1u << HTTP_HEAD;
    allowed |= 1u << HTTP_OPTIONS;
    for (unsigned m = 0; m < HTTP_OTHER; m++)
        if (allowed >> m & 1)
            buf_fmt(&b, "%s%s", b.n ? ", " : "", http_method_name((enum http_method)m));
    return buf_str(&b);
}

static void reply_options(struct api_call *c, uint32_t allowed)
{
    struct http_header h[16];
    size_t n = common_headers(c, h);
    struct str methods = method_list(c->r->arena, allowed);
    if (allowed)
        h[n++] = (struct http_header){STR("allow"), methods};
    if (c->cors.n) {
        struct str asked = http_req_header(c->r, "access-control-request-headers");
        h[n++] = (struct http_header){STR("access-control-allow-methods"), methods};
        /* "*" does not cover Authorization: the asked ones are named */
        h[n++] = (struct http_header){STR("access-control-allow-headers"),
                                      asked.n ? asked : STR("*")};
        h[n++] = (struct http_header){STR("access-control-max-age"), STR("600")};
    }
    http_reply(c->r, 204, h, n, STR_NONE);
}

static bool is_json_type(struct str type)
{
    struct str media;
    if (str_is(type, "application/json")) /* nearly always */
        return true;
    (void)str_cut(type, ';', &media);
    media = str_trim(media);
    /* curl -d says form-urlencoded, browsers without preflight text/plain: the body is what counts */
    return media.n == 0 || str_eq_nocase(media, STR("application/json")) ||
           str_eq_nocase(media, STR("text/json")) || str_eq_nocase(media, STR("text/plain")) ||
           str_eq_nocase(media, STR("application/x-www-form-urlencoded")) ||
           str_eq_nocase(media, STR("application/octet-stream")) ||
           (media.n > 5 && str_eq_nocase(str_skip(media, media.n - 5), STR("+json")));
}

static bool check_body_head(const struct api_call *c, struct err *e)
{
    const struct http_req *r = c->r;
    bool takes_body = c->row->method == HTTP_POST || c->row->method == HTTP_PUT ||
                      c->row->method == HTTP_PATCH;
    bool needs_body = c->row->relay != NULL;
    struct str type = http_req_header(r, "content-type");
    if (!takes_body)
        return true;
    if (needs_body && !r->is_chunked && r->content_length < 0)
        return err_set(e, ERR_LENGTH_REQUIRED, "length_required",
                       "Send the body with Content-Length or chunked");
    if (surface_for(c)->takes_any_media)
        return true;
    if (c->row->reads_body && str_starts_nocase(type, STR("text/csv"))) /* vendors' exports */
        return true;
    if (c->row->takes_form ? !str_starts_nocase(type, STR("multipart/form-data"))
                           : !is_json_type(type))
        return err_set(e, ERR_MEDIA_TYPE, "unsupported_media_type", "Content-Type must be %s",
                       c->row->takes_form ? "multipart/form-data" : "application/json");
    return true;
}

struct gate_door api_door(const struct api_call *c)
{
    return (struct gate_door){.snap = c->snap,
                              .identity = c->api->identity,
                              .is_loopback = c->api->is_loopback,
                              .native = c->row->relay ? c->row->relay->native_auth
                                                      : surface_for(c)->token_header,
                              .cookie = surface_for(c)->cookie,
                              .access = c->row->access,
                              .asks_anyway = c->row->knows_caller,
                              .now_ms = clock_wall_ms()};
}

bool api_may_still(const struct api_call *c)
{
    struct gate_door door = api_door(c);
    struct snapshot *now = snapshot_current();
    door.snap = now;
    bool may = gate_may_still(&door, c->r, &c->who);
    snapshot_unref(now);
    return may;
}

static bool admit(struct api_call *c, struct err *e)
{
    if (c->row->is_open && c->row->is_open(&c->snap->settings, c->r))
        return true;
    struct gate_door door = api_door(c);
    if (!gate_admit(&door, c->r, &c->who, e))
        return false;
    c->key = c->who.key;
    return true;
}

/* This machine's own administration stays open to it, whatever the filter says. */
static bool is_own_administration(const struct api_call *c, struct str address)
{
    uint8_t bytes[CIDR_BYTES];
    bool is_data_plane = c->row &&
                         (c->row->access == ACCESS_INFERENCE || c->row->access == ACCESS_MODELS);
    return !is_data_plane && address_parse(address, bytes) && address_is_loopback(bytes);
}

static bool may_come_in(const struct api_call *c, struct err *e)
{
    int64_t now = clock_wall_ms(), until_ms;
    struct str address = peer_address(c->r, c->snap->settings.trusted_proxies);
    switch (ip_filter_ask(c->snap->ip_filter, address, now, &until_ms)) {
    case IP_PASSES:
        return true;
    case IP_BANNED:
        if (is_own_administration(c, address))
            return true;
        err_set(e, ERR_FORBIDDEN, "address_banned", "This address is banned for a time");
        e->retry_after_ms = until_ms - now;
        return false;
    case IP_DENIED:
    case IP_NOT_ALLOWED:
        break;
    }
    return is_own_administration(c, address) ||
           err_set(e, ERR_FORBIDDEN, "address_refused", "This address may not use this gateway");
}

static void begin_relay(struct api_call *c)
{
    struct str model = route_param(&c->params, "model");
    if (str_starts(model, STR("models/")))
        model = str_skip(model, 7);
    bool is_stream = c->row->surface == SURFACE_GOOGLE &&
                     str_ends(str_of(c->row->path), STR(":streamGenerateContent"));
    c->relay = relay_begin(c->api->relay, c->r, c->row->relay, c->snap, c->key, c->id, c->cors,
                           model, is_stream);
    struct str provider = route_param(&c->params, "provider");
    if (provider.n)
        relay_name_provider(c->relay, provider);
}

/* models/m:verb, of a verb that no row has. */
static bool is_google_call(struct str path)
{
    return (str_starts(path, STR("/v1beta/models/")) || str_starts(path, STR("/v1/models/"))) &&
           str_contains(path, STR(":"));
}

static size_t control_body_max(const struct api_call *c)
{
    size_t max = c->row->max_body_bytes ? c->row->max_body_bytes : surface_for(c)->max_body_bytes;
    if (c->row->access == ACCESS_PUBLIC)
        return MAX_OPEN_BODY;
    return max ? max : MAX_CONTROL_BODY;
}

/* What a row can do beyond the gateway is off until the operator of the machine says otherwise, and then for the machine alone. */
static bool may_do(const struct api_call *c, struct err *e)
{
    const char *name = c->row->capability;
    struct str list = c->snap->settings.capabilities, one;
    if (!name)
        return true;
    while (list.n) {
        list = str_cut(list, ',', &one);
        if (str_eq(str_trim(one), str_of(name)))
            return peer_is_local(c->r) ||
                   err_set(e, ERR_FORBIDDEN, "capability",
                           "The capability '%s' holds for callers on this machine only", name);
    }
    return err_set(e, ERR_FORBIDDEN, "capability",
                   "The capability '%s' is off: switch it on in server.capabilities of the file or "
                   "SLUICE_CAPABILITIES of the environment",
                   name);
}

static bool is_administrative(const struct api_call *c)
{
    return surface_for(c)->is_administrative || (c->row && access_is_control(c->row->access));
}

static void on_head(void *arg, struct http_req *r)
{
    struct api *api = arg;
    struct err e = ERR_INIT;
    uint32_t allowed;
    struct api_call *c = ARENA_NEW(r->arena, struct api_call);
    r->user = c;
    c->api = api;
    c->r = r;
    c->snap = snapshot_current();
    c->id = request_id(r);
    c->path = path_canonical(r->arena, r->path);
    c->method = r->method == HTTP_HEAD ? HTTP_GET : r->method;
    c->row = router_find(api->router, r->arena, c->method, c->path, &c->params, &allowed);
    if (surface_for(c)->has_uuids && !str_eq(c->id, http_req_header(r, "x-request-id")))
        c->id = random_uuid(r->arena);
    c->cors = cors_origin(&c->snap->settings, r, is_administrative(c));
    c->varies_by_origin = varies_by_origin(&c->snap->settings, is_administrative(c));
    if (c->snap->ip_filter && !may_come_in(c, &e)) {
        refuse(c, &e, NULL);
        return;
    }
    /* a browser reads why a path is not there from the answer itself, which it only sends for once it may */
    if (r->method == HTTP_OPTIONS &&
        (allowed || http_req_header(r, "origin").n || str_is(c->path, "*"))) {
        reply_options(c, allowed);
        return;
    }
    if (!c->row) {
        if (c->method == HTTP_POST && is_google_call(c->path)) {
            err_set(&e, ERR_NOT_FOUND, "unknown_method", "Unknown Google GenAI method");
            refuse(c, &e, NULL);
            return;
        }
        if (allowed) {
            struct http_header h = {STR("allow"), method_list(r->arena, allowed)};
            err_set(&e, ERR_METHOD, "method_not_allowed", "This path takes " STR_FMT,
                    STR_ARG(h.value));
            refuse(c, &e, &h);
            return;
        }
        err_set(&e, ERR_NOT_FOUND, "not_found", "No such path: %s " STR_FMT,
                http_method_name(r->method), STR_ARG(str_first(r->path, 200)));
        refuse(c, &e, NULL);
        return;
    }
    if (!admit(c, &e)) {
        struct http_header h = {STR("www-authenticate"), STR("Bearer")};
        refuse(c, &e, e.kind == ERR_UNAUTHENTICATED ? &h : NULL);
        return;
    }
    if (!may_do(c, &e)) {
        refuse(c, &e, NULL);
        return;
    }
    if (!check_body_head(c, &e)) {
        control_audit_refused(c, &e);
        api_fail(c, &e);
        return;
    }
    if (c->row->relay)
        begin_relay(c);
    else if (c->row->on_loop)
        http_req_collect(r, 65536);
    else
        http_req_collect(r, control_body_max(c));
}

static void on_body(void *arg, struct http_req *r, struct str chunk)
{
    struct api_call *c = r->user;
    (void)arg;
    if (c && c->relay)
        relay_body(c->relay, chunk);
}

static void on_complete(void *arg, struct http_req *r)
{
    struct api_call *c = r->user;
    (void)arg;
    if (!c || r->status)
        return;
    if (c->relay)
        relay_complete(c->relay);
    else if (c->row && c->row->on_loop)
        c->row->on_loop(c);
    else if (c->row)
        control_run(c);
}

static void on_bad(void *arg, struct http_req *r, const struct err *e)
{
    struct api_call *c = r->user;
    if (c && c->relay) {
        relay_bad(c->relay, e);
    } else if (c) {
        struct err said = *e;
        refuse(c, &said, NULL);
    } else { /* the head itself was bad: there is no call yet */
        struct http_header h[2] = {{STR("x-request-id"), random_id(r->arena, "req_", 24)}};
        const struct surface_def *surface = surface_of(
            surface_of_path(r->path, path_canonical(r->arena, r->path)));
        (void)arg;
        render(r, surface, e, h[0].value, h, surface->wire == WIRE_NONE ? 1 : 0);
    }
}

static void on_drain(void *arg, struct http_req *r)
{
    struct api_call *c = r->user;
    (void)arg;
    if (c && c->relay)
        relay_drain(c->relay);
    if (c && c->stored)
        relay_stored_drain(c->stored);
    if (c && c->tail)
        tail_drain(c->tail);
}

static void on_close(void *arg, struct http_req *r)
{
    struct api_call *c = r->user;
    (void)arg;
    if (!c)
        return;
    if (log_enabled(LOG_DEBUG)) /* the path without its query: keys may stand there */
        log_debug(str_z(r->arena, c->id), "http.request",
                  "method=%s path=" STR_FMT " status=%d aborted=%d", http_method_name(r->method),
                  STR_ARG(r->path), r->status, r->is_aborted);
    if (c->relay)
        relay_close(c->relay);
    if (c->job)
        control_forget(c);
    if (c->tail)
        tail_leave(c->tail);
    snapshot_unref(c->snap);
    r->user = NULL;
}

const struct http_handler api_handler = {on_head, on_body, on_complete, on_bad, on_drain, on_close};
