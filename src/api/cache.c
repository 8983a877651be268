/* cache.c - /sluice/v1/cache: what is kept of answers, and how it serves. The answers themselves are shown to nobody. */
#include "api/cache.h"
#include "base/clock.h"
#include "base/codec.h"
#include "relay/semantic.h"

struct layer_out {
    struct str layer;
    bool is_on;
    int64_t entries, bytes, running, hits, misses, joined, stored, evicted, conflicts, tokens_saved;
};
struct cache_out {
    struct shape_list layers;
    int64_t entries, bytes, max_entries, max_bytes, ttl_ms, idempotency_window_ms;
};
struct forget_query {
    struct str model, id;
    int64_t older_than_ms;
    bool expired;
};
struct forgotten_out {
    int64_t forgotten;
};

static const struct shape layer_shape = SHAPE(
    struct layer_out,
    FIELD(
        struct layer_out, layer, 0,
        "response (equal requests), semantic (questions that mean the same), idempotency (requests "
        "sent again with their key)"),
    FIELD(struct layer_out, is_on, 0, "Whether the settings ask for it"),
    FIELD(struct layer_out, entries, 0, "Answers kept"),
    FIELD(struct layer_out, bytes, 0, "Memory that they take"),
    FIELD(struct layer_out, running, 0, "Being answered now, others may wait for them"),
    FIELD(struct layer_out, hits, 0, "Requests answered from it since start or reset"),
    FIELD(struct layer_out, misses, 0, "Requests that had to be answered"),
    FIELD(struct layer_out, joined, 0, "Requests that waited for the answer to an equal one"),
    FIELD(struct layer_out, stored, 0, "Answers that were kept"),
    FIELD(struct layer_out, evicted, 0, "Answers that made room for others before their time"),
    FIELD(struct layer_out, conflicts, 0, "Keys that came again with another request"),
    FIELD(struct layer_out, tokens_saved, 0, "Tokens that no upstream had to read or write"));
static const struct shape cache_shape = SHAPE(
    struct cache_out,
    {FIELD_BASE(struct cache_out, layers, "layers", SHAPE_LIST, 0, "Each with its figures"),
     .shape = &layer_shape},
    FIELD(struct cache_out, entries, 0, "Answers kept"),
    FIELD(struct cache_out, bytes, 0, "Memory that they take"),
    FIELD(struct cache_out, max_entries, 0, "response_cache_max_entries"),
    FIELD(struct cache_out, max_bytes, 0, "response_cache_max_bytes"),
    FIELD(struct cache_out, ttl_ms, 0, "response_cache_ttl_ms"),
    FIELD(struct cache_out, idempotency_window_ms, 0, "idempotency_window_ms"));
static const struct shape forget_query_shape = SHAPE_STRICT(
    struct forget_query, FIELD(struct forget_query, model, 0, "Only answers of this model"),
    FIELD(struct forget_query, id, 0, "Only the one with this id, 64 hexadecimal digits"),
    FIELD_RANGE(struct forget_query, older_than_ms, 1, INT64_MAX / 2, 0,
                "Only answers of at least this age"),
    FIELD(struct forget_query, expired, 0, "Only answers whose time is over"));
static const struct shape forgotten_shape = SHAPE(
    struct forgotten_out, FIELD(struct forgotten_out, forgotten, 0, "How many answers went"));

static struct replies *table(struct control_call *c)
{
    return relay_replies(c->control->shared);
}

static struct layer_out layer_show(const struct cache_layer *l, bool is_on)
{
    const struct replies_stats *s = &l->stats;
    return (struct layer_out){.layer = str_of(l->name),
                              .is_on = is_on,
                              .entries = (int64_t)s->entries,
                              .bytes = (int64_t)s->bytes,
                              .running = (int64_t)s->running,
                              .hits = (int64_t)s->hits,
                              .misses = (int64_t)s->misses,
                              .joined = (int64_t)s->joined,
                              .stored = (int64_t)s->stored,
                              .evicted = (int64_t)s->evicted,
                              .conflicts = (int64_t)s->conflicts,
                              .tokens_saved = (int64_t)s->tokens_saved};
}

static bool show(struct control_call *c, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    struct cache_layer v[CACHE_LAYERS];
    struct layer_out shown[CACHE_LAYERS];
    const bool is_on[CACHE_LAYERS] = {[REPLIES_EXACT] = set->response_cache || set->coalesce,
                                      [REPLIES_IDEMPOTENT] = set->idempotency_window_ms > 0,
                                      [CACHE_SEMANTIC] = set->response_cache &&
                                                         set->semantic_cache_model.n &&
                                                         relay_semantic(c->control->shared)};
    struct cache_out out = {.layers = {shown, CACHE_LAYERS},
                            .max_entries = set->response_cache_max_entries,
                            .max_bytes = set->response_cache_max_bytes,
                            .ttl_ms = set->response_cache_ttl_ms,
                            .idempotency_window_ms = set->idempotency_window_ms};
    (void)e;
    relay_cache_layers(c->control->shared, v);
    for (size_t i = 0; i < CACHE_LAYERS; i++) {
        shown[i] = layer_show(&v[i], is_on[i]);
        out.entries += shown[i].entries;
        out.bytes += shown[i].bytes;
    }
    return control_reply(c, 200, &cache_shape, &out);
}

static bool forget(struct control_call *c, struct err *e)
{
    const struct forget_query *q = c->asked;
    uint8_t id[SHA256_SIZE];
    struct replies_drop what = {.model = q->model, .is_expired = q->expired};
    if (q->older_than_ms)
        what.before_ms = clock_wall_ms() - q->older_than_ms;
    if (q->id.n) {
        if (q->id.n != 2 * SHA256_SIZE || !hex_decode(id, q->id))
            return err_field(e, "id", "'id' must have 64 hexadecimal digits");
        what.id = id;
    }
    uint64_t now = clock_mono_ms();
    size_t n = replies_forget(table(c), &what, now) +
               semantic_forget(relay_semantic(c->control->shared), &what, now);
    struct forgotten_out out = {(int64_t)n};
    control_audit(c, "cache", q->model.n ? q->model : STR("answers"),
                  str_fmt(c->arena, "{\"answers\":%zu}", n), STR_NONE);
    return control_reply(c, 200, &forgotten_shape, &out);
}

void cache_reset_figures(struct control_call *c)
{
    struct cache_layer v[CACHE_LAYERS];
    struct buf b;
    buf_init_arena(&b, c->arena, 4096);
    struct jw w = jw_on(&b);
    relay_cache_layers(c->control->shared, v);
    jw_object(&w);
    for (size_t i = 0; i < CACHE_LAYERS; i++) {
        jw_key(&w, v[i].name);
        jw_object(&w);
        jw_kv_int(&w, "hits", (int64_t)v[i].stats.hits);
        jw_kv_int(&w, "misses", (int64_t)v[i].stats.misses);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    control_audit(c, "cache", STR("figures"), buf_str(&b), STR_NONE);
    replies_reset_stats(table(c));
    semantic_reset_stats(relay_semantic(c->control->shared));
}

static bool reset(struct control_call *c, struct err *e)
{
    (void)e;
    cache_reset_figures(c);
    c->status = 204;
    return true;
}

/* clang-format off */
const struct endpoint cache_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/cache",       SURFACE_SLUICE, ACCESS_VIEWER, "Show what is kept of answers and how it serves", .on_worker = show, .out = &cache_shape },
    { HTTP_DELETE, "/sluice/v1/cache",       SURFACE_SLUICE, ACCESS_ADMIN,  "Forget kept answers: all, or those that the query names", .on_worker = forget, .query = &forget_query_shape, .out = &forgotten_shape },
    { HTTP_DELETE, "/sluice/v1/cache/stats", SURFACE_SLUICE, ACCESS_ADMIN,  "Set the figures of the cache to zero", .on_worker = reset, .status = 204 },
    {0},
};
/* clang-format on */
