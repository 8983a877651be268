/* system.c - whether it lives, and what it serves. */
#include "api/document.h"
#include "base/clock.h"
#include "embedded.h"
#include "gate/auth.h"
#include "json/json.h"

/* Names are for those who may use them. */
static void write_names(struct api_call *c, struct jw *w)
{
    const struct snapshot *s = c->snap;
    struct pass pass;
    bool may_see = auth_admit(s, c->r, NULL, SCOPE_MODELS, clock_wall_ms(), &pass, NULL) ||
                   auth_admit(s, c->r, NULL, SCOPE_INFERENCE, clock_wall_ms(), &pass, NULL);
    jw_key(w, "providers");
    jw_array(w);
    for (size_t i = 0; may_see && i < s->n_upstreams; i++)
        if (s->upstreams[i]->is_enabled)
            jw_str(w, s->upstreams[i]->name);
    jw_array_end(w);
    jw_key(w, "models");
    jw_array(w);
    for (size_t i = 0; may_see && i < s->n_models; i++)
        if (s->models[i]->is_enabled && s->models[i]->n_targets > 0 &&
            (!pass.key || key_may_use(pass.key, s->models[i]->name)))
            jw_str(w, s->models[i]->name);
    jw_array_end(w);
}

static void reply_state(struct api_call *c, bool is_ready, bool with_names)
{
    bool is_shedding = usage_log_is_degraded(c->api->relay->usage,
                                             loop_now_ms(c->api->relay->loop));
    bool is_stale = atomic_load(&c->api->control->fault->is_set);
    struct buf b;
    buf_init_arena(&b, c->r->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "status", !is_ready ? "draining" : is_shedding || is_stale ? "degraded" : "ok");
    if (is_shedding)
        jw_kv_cstr(
            &w, "reason",
            "The store refuses writes or stalls: requests are served, their records wait or are "
            "shed");
    else if (is_stale) /* what is wrong is for operators: /sluice/v1/info */
        jw_kv_cstr(&w, "reason",
                   "The configuration file cannot be loaded: what was loaded before is served");
    if (with_names)
        write_names(c, &w);
    jw_object_end(&w);
    api_reply_json(c, is_ready ? 200 : 503, buf_str(&b));
}

/* The process runs its loops: nothing else is asked. */
static void livez(struct api_call *c)
{
    api_reply_json(c, 200, STR("{\"status\":\"ok\"}"));
}

static void readyz(struct api_call *c)
{
    reply_state(c, !atomic_load_explicit(c->api->is_draining, memory_order_relaxed), false);
}

static void healthz(struct api_call *c)
{
    reply_state(c, true, false);
}

static void health(struct api_call *c)
{
    reply_state(c, true, true);
}

/* An OpenAPI document is what its own specification says; any object for us. */
static const struct shape openapi_shape = {.name = "struct openapi_document"};

static bool openapi(struct control_call *c, struct err *e)
{
    (void)e;
    return document_reply(c);
}

static struct str page(const char *name)
{
    for (const struct embedded *f = api_pages; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return str_n((const char *)f->data, f->size);
    return STR_NONE;
}

static void reply_page(struct api_call *c, const char *name, const char *type)
{
    struct http_header h[] = {
        {STR("content-type"), str_of(type)},
        {STR("content-security-policy"),
         STR("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")},
        {STR("x-content-type-options"), STR("nosniff")},
        {STR("cache-control"), STR("no-cache")},
        {STR("referrer-policy"), STR("no-referrer")},
        {STR("x-request-id"), c->id},
    };
    http_reply(c->r, 200, h, ARRAY_LEN(h), page(name));
}

static void docs(struct api_call *c)
{
    reply_page(c, "docs.html", "text/html; charset=utf-8");
}

static void docs_css(struct api_call *c)
{
    reply_page(c, "docs.css", "text/css; charset=utf-8");
}

static void docs_js(struct api_call *c)
{
    reply_page(c, "docs.js", "text/javascript; charset=utf-8");
}

static void claim_page(struct api_call *c)
{
    reply_page(c, "claim.html", "text/html; charset=utf-8");
}

static void claim_js(struct api_call *c)
{
    reply_page(c, "claim.js", "text/javascript; charset=utf-8");
}

/* clang-format off */
const struct endpoint system_endpoints[] = {
    { HTTP_GET, "/healthz",      SURFACE_SLUICE, ACCESS_PUBLIC, "Whether it serves, and whether the store is degraded", .on_loop = healthz },
    { HTTP_GET, "/health",       SURFACE_SLUICE, ACCESS_PUBLIC, "The same, under the name other gateways use; with the names of providers and models for callers who may use them", .on_loop = health },
    { HTTP_GET, "/livez",        SURFACE_SLUICE, ACCESS_PUBLIC, "Whether the process lives", .on_loop = livez },
    { HTTP_GET, "/readyz",       SURFACE_SLUICE, ACCESS_PUBLIC, "Whether it takes new requests (503 while draining)", .on_loop = readyz },
    { HTTP_GET, "/openapi.json", SURFACE_SLUICE, ACCESS_PUBLIC, "This interface as an OpenAPI 3.1 document", .on_worker = openapi, .out = &openapi_shape, .has_tag = true, .cache_control = "no-cache" },
    { HTTP_GET, "/docs",         SURFACE_SLUICE, ACCESS_PUBLIC, "The OpenAPI document as a page", .on_loop = docs },
    { HTTP_GET, "/docs/docs.css", SURFACE_SLUICE, ACCESS_PUBLIC, "Style of that page", .on_loop = docs_css },
    { HTTP_GET, "/docs/docs.js", SURFACE_SLUICE, ACCESS_PUBLIC, "Script of that page", .on_loop = docs_js },
    { HTTP_GET, "/sluice/claim", SURFACE_SLUICE, ACCESS_PUBLIC, "The page that the claim link of the first start leads to", .on_loop = claim_page },
    { HTTP_GET, "/sluice/claim.js", SURFACE_SLUICE, ACCESS_PUBLIC, "Script of that page", .on_loop = claim_js },
    {0},
};
/* clang-format on */
