#include "app/breakers.h"
#include "base/clock.h"
#include "base/codec.h"
#include "meter/saved.h"

#define MAX_TEXT (4u << 20)
#define MARK_DIGITS 16

/* Whose it is, whatever place its key has by then. The place is for versions of sluice that know nothing of marks. */
static void write_whose(struct jw *w, const struct upstream *u, uint64_t mark, int32_t key)
{
    char hex[MARK_DIGITS];
    hex_encode(hex, &mark, sizeof mark);
    jw_kv_str(w, "provider", u->name);
    jw_kv_str(w, "mark", str_n(hex, sizeof hex));
    jw_kv_int(w, "key", key);
}

/* false: its credential or address is not there any more, or it was written by a version that told a place in a list alone, where another
 * key may stand by now. Who is asked once too often says so again. */
static bool read_whose(const struct snapshot *s, yyjson_val *v, const struct upstream **u,
                       uint64_t *mark, int32_t *key)
{
    struct str hex = json_get_str(v, "mark");
    *u = snapshot_upstream(s, json_get_str(v, "provider"));
    return *u && hex.n == MARK_DIGITS && hex_decode(mark, hex) && live_place(*u, *mark, key);
}

/* By the wall clock: the monotonic one begins anew. */
static void write_breaker(struct jw *w, const struct breaker_info *b)
{
    int64_t now = clock_wall_ms();
    jw_object(w);
    write_whose(w, b->upstream, b->mark, b->key);
    jw_kv_str(w, "model", str_of(b->model));
    jw_kv_int(w, "state", (int)b->state);
    jw_kv_int(w, "fault", (int)b->fault);
    jw_kv_int(w, "failures", b->failures);
    jw_kv_int(w, "level", b->level);
    jw_kv_int(w, "until", now + (int64_t)b->wait_ms);
    jw_kv_int(w, "failed", now - (int64_t)b->age_ms);
    jw_object_end(w);
}

/* What is used of the windows that outlast a restart. */
static void write_quotas(struct jw *w, const struct live *l, const struct snapshot *snap)
{
    int64_t now = clock_wall_ms();
    jw_array(w);
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        const struct upstream *u = snap->upstreams[i];
        for (uint32_t k = 0; k < (u->n_keys ? u->n_keys : 1); k++) {
            struct quota_window v[QUOTA_WINDOWS];
            size_t n = live_quota(l, u, k, clock_mono_ms(), v);
            for (size_t x = 0; x < n; x++) {
                if (v[x].reset_ms < QUOTA_SAVED_MS)
                    continue;
                jw_object(w);
                write_whose(w, u, live_mark(u, k), (int32_t)k);
                jw_kv_str(w, "window", str_of(word_text(quota_words, (int)v[x].name, "")));
                jw_key(w, "used");
                jw_double(w, v[x].used);
                jw_kv_int(w, "until", now + v[x].reset_ms);
                jw_object_end(w);
            }
        }
    }
    jw_array_end(w);
}

static bool save_quotas(const struct live *l, const struct snapshot *snap, struct usage_log *log)
{
    struct buf text;
    buf_init(&text, MAX_TEXT);
    struct jw w = jw_on(&text);
    write_quotas(&w, l, snap);
    return saved_put(log, "quotas", &text);
}

static void restore_quota(struct live *l, const struct snapshot *s, yyjson_val *v)
{
    const struct upstream *u;
    uint64_t mark;
    int32_t key;
    int64_t left = json_get_int(v, "until", 0) - clock_wall_ms();
    int name = word_value(quota_words, json_get_str(v, "window"), -1);
    double used;
    if (name < 0 || left <= 0 || !read_whose(s, v, &u, &mark, &key) || key < 0 ||
        !json_double(json_get(v, "used"), &used))
        return;
    const struct target t = {.upstream = u};
    const struct quota_window window = {(enum quota_name)name, used, left};
    live_note_quota(l, &t, (uint32_t)key, &window, 1, clock_mono_ms());
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
    size_t n = live_breakers(l, snap, a, clock_mono_ms(), &b);
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        write_breaker(&w, &b[i]);
    jw_array_end(&w);
    arena_free(a);
    if (saved_put(log, "breakers", &text) && save_quotas(l, snap, log))
        *version = is;
}

static void restore(struct live *l, const struct snapshot *s, yyjson_val *v)
{
    const struct upstream *u;
    uint64_t mark;
    int32_t key;
    int64_t now = clock_wall_ms(), wait = json_get_int(v, "until", 0) - now,
            age = now - json_get_int(v, "failed", now), fault = json_get_int(v, "fault", 0),
            state = json_get_int(v, "state", 0);
    struct str model = json_get_str(v, "model");
    if (!read_whose(s, v, &u, &mark, &key) || fault < FAULT_NONE || fault > FAULT_SERVER ||
        state < BREAKER_CLOSED || state > BREAKER_HALF_OPEN)
        return;
    struct breaker_info b = {.upstream = u,
                             .key = key,
                             .mark = mark,
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
    yyjson_arr_foreach (saved_get(db, a, "quotas"), i, max, v)
        restore_quota(l, s, v);
    arena_free(a);
}
