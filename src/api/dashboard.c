/* dashboard.c - hands out the dashboard that the binary carries: compressed files whose names change with their content, and one
 * page for every address below /dashboard/, which the script in it routes. */
#include "api/api.h"
#include "api/coding.h"
#include "base/codec.h"
#include "embedded.h"
#define ZLIB_CONST
#include <zlib.h>

#define LARGEST_FILE (16u << 20)

static const struct {
    const char *ending, *type;
} types[] = {
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".woff2", "font/woff2"},
    {".json", "application/json"},
    {".html", "text/html; charset=utf-8"},
};

static const char *type_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_ends(name, str_of(types[i].ending)))
            return types[i].type;
    return NULL;
}

static struct str file(struct arena *a, struct str name, const char *coding)
{
    struct str whole = str_fmt(a, STR_FMT "%s", STR_ARG(name), coding);
    for (const struct embedded *f = web_files; f->name; f++)
        if (str_eq(whole, str_of(f->name)))
            return str_n((const char *)f->data, f->size);
    return STR_NONE;
}

/* For the rare client that takes no coding; a gzip file ends with the length of its content (RFC 1952, 2.3.1). */
static struct str unzip(struct arena *a, struct str gz)
{
    if (gz.n < 18)
        return STR_NONE;
    const unsigned char *end = (const unsigned char *)gz.p + gz.n - 4;
    size_t n = end[0] | (size_t)end[1] << 8 | (size_t)end[2] << 16 | (size_t)end[3] << 24;
    if (n > LARGEST_FILE)
        return STR_NONE;
    char *out = arena_alloc(a, n + 1);
    z_stream z = {.next_in = (const unsigned char *)gz.p,
                  .avail_in = (uInt)gz.n,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)n};
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return STR_NONE;
    int rc = inflate(&z, Z_FINISH);
    (void)inflateEnd(&z);
    return rc == Z_STREAM_END && z.total_out == n ? str_n(out, n) : STR_NONE;
}

static void reply_asset(struct api_call *c, struct str name, const char *type)
{
    struct arena *a = c->r->arena;
    struct str data = STR_NONE;
    struct str taken = http_req_header(c->r, "accept-encoding");
    const char *coding = NULL;
    if (coding_is_taken(taken, "br"))
        data = file(a, name, coding = ".br");
    if (!data.p && coding_is_taken(taken, "gzip"))
        data = file(a, name, coding = ".gz");
    if (!data.p) {
        coding = NULL;
        data = unzip(a, file(a, name, ".gz"));
    }
    struct http_header h[] = {
        {STR("content-type"), str_of(type)},
        {STR("cache-control"), STR("public, max-age=31536000, immutable")},
        {STR("vary"), STR("accept-encoding")},
        {STR("x-content-type-options"), STR("nosniff")},
        {STR("x-request-id"), c->id},
        {STR("content-encoding"), coding && coding[1] == 'b' ? STR("br") : STR("gzip")},
    };
    http_reply(c->r, 200, h, ARRAY_LEN(h) - (coding ? 0 : 1), data);
}

static void replace(struct buf *out, struct str text, struct str mark, struct str by)
{
    for (size_t i = 0; i < text.n;) {
        if (str_starts(str_skip(text, i), mark)) {
            buf_str_add(out, by);
            i += mark.n;
        } else {
            buf_char(out, text.p[i++]);
        }
    }
}

/* The page names its files relative to <base>, so that it works behind any prefix; its styles carry a proof made for this answer,
 * so that no other style runs. */
static void reply_page(struct api_call *c, struct str below)
{
    struct arena *a = c->r->arena;
    struct str page = file(a, STR("index.html"), "");
    struct buf base, half, whole, policy;
    if (!page.p)
        page = STR("<!doctype html><title>sluice</title><p>This build carries no dashboard: "
                   "<code>tools/build-web</code> makes it.");
    buf_init_arena(&base, a, 4096);
    buf_str_add(&base, STR("./"));
    for (size_t i = 0; i < below.n; i++)
        if (below.p[i] == '/')
            buf_str_add(&base, STR("../"));
    struct str nonce = random_id(a, "", 22);
    buf_init_arena(&half, a, 1u << 20);
    buf_init_arena(&whole, a, 1u << 20);
    replace(&half, page, STR("__BASE__"), buf_str(&base));
    replace(&whole, buf_str(&half), STR("__NONCE__"), nonce);
    buf_init_arena(&policy, a, 1024);
    buf_fmt(&policy,
            "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" STR_FMT "'; "
            "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self'; "
            "font-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
            STR_ARG(nonce));
    struct http_header h[] = {
        {STR("content-type"), STR("text/html; charset=utf-8")},
        {STR("content-security-policy"), buf_str(&policy)},
        {STR("cache-control"), STR("no-store")},
        {STR("referrer-policy"), STR("no-referrer")},
        {STR("x-content-type-options"), STR("nosniff")},
        {STR("x-request-id"), c->id},
    };
    http_reply(c->r, 200, h, ARRAY_LEN(h), buf_str(&whole));
}

static void dashboard(struct api_call *c)
{
    struct str below = route_param(&c->params, "page");
    const char *type = type_of(below);
    if (!type || str_contains(below, STR("/"))) {
        /* as it was written: a %2F is no step down for the browser */
        reply_page(c, str_skip(c->path, str_of("/dashboard/").n));
    } else if (file(c->r->arena, below, ".gz").p) {
        reply_asset(c, below, type);
    } else {
        struct err e = ERR_INIT;
        err_set(&e, ERR_NOT_FOUND, "not_found", "The dashboard has no such file");
        api_fail(c, &e);
    }
}

/* 307 to a relative address: right behind any prefix. */
static void lead(struct api_call *c, struct str to)
{
    struct http_header h[] = {
        {STR("location"), to},
        {STR("cache-control"), STR("no-cache, no-store, must-revalidate")},
        {STR("x-request-id"), c->id},
    };
    http_reply(c->r, 307, h, ARRAY_LEN(h), STR_NONE);
}

static void lead_down(struct api_call *c)
{
    lead(c, STR("dashboard/"));
}

static void lead_aside(struct api_call *c)
{
    lead(c, STR("../dashboard/"));
}

/* clang-format off */
const struct endpoint dashboard_endpoints[] = {
    { HTTP_GET, "/",                  SURFACE_SLUICE, ACCESS_PUBLIC, "Lead to the dashboard", .on_loop = lead_down, .status = 307 },
    { HTTP_GET, "/admin",             SURFACE_SLUICE, ACCESS_PUBLIC, "Lead to the dashboard, from where other gateways have theirs", .on_loop = lead_down, .status = 307 },
    { HTTP_GET, "/admin/",            SURFACE_SLUICE, ACCESS_PUBLIC, "The same, with a slash", .on_loop = lead_aside, .status = 307 },
    { HTTP_GET, "/dashboard",         SURFACE_SLUICE, ACCESS_PUBLIC, "Lead to the dashboard's first page", .on_loop = lead_down, .status = 307 },
    { HTTP_GET, "/dashboard/",        SURFACE_SLUICE, ACCESS_PUBLIC, "The dashboard; it signs in by itself", .on_loop = dashboard },
    { HTTP_GET, "/dashboard/{page*}", SURFACE_SLUICE, ACCESS_PUBLIC, "A page or a file of the dashboard", .on_loop = dashboard },
    {0},
};
/* clang-format on */
