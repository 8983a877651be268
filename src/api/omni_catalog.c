/* omni_catalog.c - /api/models/openrouter-catalog: what OpenRouter offers, as a connection of that provider says it. Nobody is asked while there
 * is no such connection. */
#include "api/omni.h"
#include "base/clock.h"
#include "domain/discover.h"
#include "http/fetch.h"
#include "json/shape_json.h"

#define KEPT_MS 86400000
#define TIMEOUT_MS 15000
#define MOST (16u << 20)

struct catalog_query {
    bool refresh;
};
struct catalog_meta {
    struct str source, cached_at;
    bool stale;
    int64_t count;
    struct str error;
};
struct catalog_out {
    struct str object;
    yyjson_val *data;
    struct catalog_meta meta;
};
/* clang-format off */
static const struct shape catalog_query_shape = SHAPE(struct catalog_query,
    FIELD(struct catalog_query, refresh, 0, "Ask now, also where the answer of the last day is kept"));
static const struct shape catalog_meta_shape = SHAPE(struct catalog_meta,
    FIELD(struct catalog_meta, source, 0, "fresh, cache, or stale-cache: it was asked, and did not answer"),
    FIELD_AS(struct catalog_meta, cached_at, "cachedAt", NULL, OMIT_EMPTY, "When it was asked last"),
    FIELD(struct catalog_meta, stale, 0, "Whether that is more than a day ago"),
    FIELD(struct catalog_meta, count, 0, "How many models"),
    FIELD(struct catalog_meta, error, OMIT_EMPTY, "Why it could not be asked now"));
static const struct shape catalog_shape = SHAPE(struct catalog_out,
    FIELD(struct catalog_out, object, 0, "list"),
    FIELD_JSON(struct catalog_out, data, JSON_LIST, &json_of_object, 0, "The models, as OpenRouter describes them"),
    FIELD_OBJECT(struct catalog_out, meta, &catalog_meta_shape, 0, "Where they come from"));
/* clang-format on */

#define KEPT_AS "omni_openrouter_catalog" /* {"url","at","data"}; data is the text of an array */

struct kept {
    int64_t at_ms; /* 0: nothing of this address */
    yyjson_val *data;
};

static bool read_kept(struct control_call *c, struct str url, struct kept *out, struct err *e)
{
    yyjson_val *was;
    *out = (struct kept){0, NULL};
    if (!omni_kept(c, KEPT_AS, &was, e))
        return false;
    if (str_eq(json_get_str(was, "url"), url) &&
        json_parse(c->arena, json_get_str(was, "data"), 0, &out->data, NULL))
        out->at_ms = json_get_int(was, "at", 0);
    return true;
}

static bool keep(struct control_call *c, struct str url, int64_t now, yyjson_val *data,
                 struct err *e)
{
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "url", url);
    jw_kv_int(&w, "at", now);
    jw_kv_str(&w, "data", json_text(c->arena, data));
    jw_object_end(&w);
    return omni_keep(c, KEPT_AS, buf_str(&b), e);
}

static bool ask(struct control_call *c, const struct upstream *u, struct str url, yyjson_val **data,
                struct err *e)
{
    struct http_header auth = {STR("authorization"), STR_NONE};
    struct fetched reply;
    struct err why = ERR_INIT;
    yyjson_val *root;
    if (u->n_keys)
        auth.value = str_cat(c->arena, STR("Bearer "), secret_reveal(u->keys[0]));
    struct fetch f = {.method = HTTP_GET,
                      .url = url,
                      .headers = &auth,
                      .n_headers = u->n_keys ? 1 : 0,
                      .proxy = u->origin.proxy,
                      .ca_file = u->origin.ca_file,
                      .timeout_ms = TIMEOUT_MS,
                      .max_bytes = MOST,
                      .is_cancelled = c->control->is_stopping,
                      .allow_private = u->origin.allow_private};
    if (!fetch_run(c->arena, &f, &reply, e))
        return false;
    if (reply.status != 200)
        return err_set(e, ERR_UPSTREAM, "catalog_failed", "The catalogue answered %d",
                       reply.status);
    if (!json_parse(c->arena, reply.body, 32, &root, &why) ||
        !yyjson_is_arr(*data = json_get(root, "data")))
        return err_set(e, ERR_UPSTREAM, "catalog_failed", "The catalogue cannot be read");
    return true;
}

static const struct upstream *connection(const struct snapshot *s)
{
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (s->upstreams[i]->is_enabled && omni_is_of(s, s->upstreams[i], STR("openrouter")))
            return s->upstreams[i];
    return NULL;
}

static bool catalog(struct control_call *c, struct err *e)
{
    const struct catalog_query *q = c->asked;
    const struct upstream *u = connection(c->snap);
    int64_t now = clock_wall_ms();
    struct err why = ERR_INIT;
    struct catalog_out out = {.object = STR("list"), .meta = {.source = STR("fresh")}};
    if (!u)
        return err_set(e, ERR_INPUT, "no_openrouter",
                       "There is no connection of provider openrouter, so nobody is asked");
    struct str url = str_cat(c->arena, upstream_base_url(c->arena, u), STR("/models"));
    struct kept was;
    if (!read_kept(c, url, &was, e))
        return false;
    bool is_new = was.at_ms && now - was.at_ms < KEPT_MS && now >= was.at_ms;
    if (is_new && !q->refresh) {
        out.data = was.data;
        out.meta.source = STR("cache");
    } else if (ask(c, u, url, &out.data, &why)) {
        was.at_ms = now;
        if (!keep(c, url, now, out.data, e))
            return false;
    } else if (!was.at_ms) {
        *e = why;
        return false;
    } else {
        out.data = was.data;
        out.meta.source = STR("stale-cache");
        out.meta.stale = !is_new;
        out.meta.error = str_fmt(c->arena, "%s", why.message);
    }
    out.meta.cached_at = omni_time(c->arena, was.at_ms);
    out.meta.count = (int64_t)yyjson_arr_size(out.data);
    return control_reply(c, 200, &catalog_shape, &out);
}

/* clang-format off */
const struct endpoint omni_catalog_endpoints[] = {
    { HTTP_GET, "/api/models/openrouter-catalog", SURFACE_OMNIROUTE, ACCESS_VIEWER, "What OpenRouter offers, asked of a connection of that provider at most once a day", .on_worker = catalog, .query = &catalog_query_shape, .out = &catalog_shape, .waits = true },
    {0},
};
/* clang-format on */
