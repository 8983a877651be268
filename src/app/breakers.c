#include "app/breakers.h"
#include "base/clock.h"
#include "meter/saved.h"

#define MAX_TEXT (4u << 20)

/* By the wall clock: the monotonic one begins anew. */
static void write_breaker(struct jw *w, const struct breaker_info *b, struct str provider)
{
    int64_t now = clock_wall_ms();
    jw_object(w);
    jw_kv_str(w, "provider", provider);
    jw_kv_int(w, "key", b->key);
    jw_kv_str(w, "model", str_of(b->model));
    jw_kv_int(w, "state", (int)b->state);
    jw_kv_int(w, "fault", (int)b->fault);
    jw_kv_int(w, "failures", b->failures);
    jw_kv_int(w, "level", b->level);
    jw_kv_int(w, "until", now + (int64_t)b->wait_ms);
    jw_kv_int(w, "failed", now - (int64_t)b->age_ms);
    jw_object_end(w);
}

void breakers_save(struct live *l, const struct snapshot *snap, struct usage_log *log,
                   uint64_t *version)
{
    uint64_t is = live_version(l);
    struct breaker_info *b;
    if (is == *version || !snap)
        return;
    struct arena *a = arena_new();
    struct buf text;
    buf_init(&text, MAX_TEXT);
    struct jw w = jw_on(&text);
    size_t n = live_breakers(l, a, clock_mono_ms(), &b);
    jw_array(&w);
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = snapshot_upstream_by_id(snap, b[i].upstream);
        if (u)
            write_breaker(&w, &b[i], u->name);
    }
    jw_array_end(&w);
    arena_free(a);
    if (saved_put(log, "breakers", &text))
        *version = is;
}

static void restore(struct live *l, const struct snapshot *s, yyjson_val *v)
{
    const struct upstream *u = snapshot_upstream(s, json_get_str(v, "provider"));
    int64_t now = clock_wall_ms(), wait = json_get_int(v, "until", 0) - now,
            age = now - json_get_int(v, "failed", now), fault = json_get_int(v, "fault", 0),
            state = json_get_int(v, "state", 0);
    struct str model = json_get_str(v, "model");
    if (!u || fault < FAULT_NONE || fault > FAULT_SERVER || state < BREAKER_CLOSED ||
        state > BREAKER_HALF_OPEN)
        return;
    struct breaker_info b = {.upstream = u->id,
                             .key = (int32_t)json_get_int(v, "key", -1),
                             .state = (enum breaker_state)state,
                             .fault = (enum fault)fault,
                             .failures = (uint32_t)json_get_int(v, "failures", 0),
                             .level = (uint32_t)json_get_int(v, "level", 0),
                             .wait_ms = wait > 0 ? (uint64_t)wait : 0,
                             .age_ms = age > 0 ? (uint64_t)age : 0};
    size_t n = model.n < sizeof b.model - 1 ? model.n : sizeof b.model - 1;
    if (n)
        memcpy(b.model, model.p, n);
    live_restore(l, &b, clock_mono_ms());
}

void breakers_load(struct live *l, const struct snapshot *s, struct db *db)
{
    struct arena *a = arena_new();
    yyjson_val *v;
    size_t i, max;
    yyjson_arr_foreach (saved_get(db, a, "breakers"), i, max, v)
        restore(l, s, v);
    arena_free(a);
}
