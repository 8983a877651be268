#include "relay/sessions.h"
#include "base/map.h"
#include <stdlib.h>

#define SLOTS 4096 /* a power of two */
#define NEAR 16    /* places looked at for one */
#define ID_WORDS 8
#define KEY_WORDS 3

struct slot {
    _Atomic uint32_t version; /* odd while it is given to another session */
    _Atomic uint32_t upstream;
    _Atomic uint64_t hash; /* 0: free */
    _Atomic int64_t began_ms, last_ms;
    _Atomic uint64_t requests;
    _Atomic uint64_t id[ID_WORDS], key[KEY_WORDS]; /* texts, filled up with NUL */
};
struct sessions {
    struct slot slots[SLOTS];
};

#define GET(x) atomic_load_explicit(&(x), memory_order_relaxed)
#define SET(x, v) atomic_store_explicit(&(x), (v), memory_order_relaxed)

struct sessions *sessions_new(void)
{
    struct sessions *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    return s;
}

void sessions_free(struct sessions *s)
{
    free(s);
}

/* One walk over the headers, whose names came in lower case; the first of these that says something counts. */
struct str session_named(const struct http_req *r)
{
    static const struct str names[] = {STR_INIT("x-session-id"), STR_INIT("x-omniroute-session"),
                                       STR_INIT("session-id"), STR_INIT("x-session-affinity"),
                                       STR_INIT("x_session_id")};
    size_t best = ARRAY_LEN(names);
    struct str value = STR_NONE;
    for (size_t i = 0; i < r->n_headers; i++)
        for (size_t k = 0; k < best && r->headers[i].value.n; k++)
            if (str_eq(r->headers[i].name, names[k])) {
                best = k;
                value = r->headers[i].value;
            }
    return value;
}

static void put_text(_Atomic uint64_t *to, size_t words, struct str s)
{
    for (size_t i = 0; i < words; i++) {
        char part[8] = {0};
        size_t left = s.n > i * 8 ? s.n - i * 8 : 0;
        uint64_t word;
        if (left)
            memcpy(part, s.p + i * 8, left < 8 ? left : 8);
        memcpy(&word, part, sizeof word);
        SET(to[i], word);
    }
}

static struct str get_text(struct arena *a, const _Atomic uint64_t *from, size_t words)
{
    char text[ID_WORDS * 8 + 1] = {0};
    for (size_t i = 0; i < words; i++) {
        uint64_t word = GET(from[i]);
        memcpy(text + i * 8, &word, sizeof word);
    }
    return str_fix_utf8(a, str_dup(a, str_of(text)));
}

static bool is_over(const struct slot *p, int64_t now_ms)
{
    return now_ms - GET(p->last_ms) > SESSION_IDLE_MS;
}

/* Gives the slot to another session. Whoever comes second leaves it alone: one request more or less counts for little. */
static void take(struct slot *p, uint64_t h, struct str id, struct str key, uint32_t upstream,
                 int64_t now_ms)
{
    uint32_t version = GET(p->version);
    if (version & 1 ||
        !atomic_compare_exchange_strong_explicit(&p->version, &version, version + 1,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    put_text(p->id, ID_WORDS, id);
    put_text(p->key, KEY_WORDS, key);
    SET(p->began_ms, now_ms);
    SET(p->last_ms, now_ms);
    SET(p->requests, 1);
    SET(p->upstream, upstream);
    SET(p->hash, h);
    atomic_store_explicit(&p->version, version + 2, memory_order_release);
}

void sessions_note(struct sessions *s, struct str id, struct str key, uint32_t upstream,
                   int64_t now_ms)
{
    uint64_t h = (hash_bytes(id.p, id.n) * 31 + (key.n ? hash_bytes(key.p, key.n) : 0)) | 1;
    struct slot *victim = NULL;
    for (size_t i = 0; i < NEAR; i++) {
        struct slot *p = &s->slots[(h / 2 + i) & (SLOTS - 1)];
        uint64_t is = GET(p->hash);
        if (is == h && !is_over(p, now_ms)) {
            SET(p->last_ms, now_ms);
            if (upstream != UINT32_MAX)
                SET(p->upstream, upstream);
            atomic_fetch_add_explicit(&p->requests, 1, memory_order_relaxed);
            return;
        }
        if (is == h) { /* begun anew */
            victim = p;
            break;
        }
        if (!victim || (GET(victim->hash) && (!is || GET(p->last_ms) < GET(victim->last_ms))))
            victim = p;
    }
    take(victim, h, id, key, upstream, now_ms);
}

size_t sessions_list(const struct sessions *s, struct arena *a, int64_t now_ms,
                     struct session_info **out)
{
    size_t n = 0;
    *out = ARENA_ARRAY(a, struct session_info, SLOTS);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *p = &s->slots[i];
        uint32_t version = atomic_load_explicit(&p->version, memory_order_acquire);
        if (version & 1 || !GET(p->hash) || is_over(p, now_ms))
            continue;
        (*out)[n] = (struct session_info){.id = get_text(a, p->id, ID_WORDS),
                                          .key = get_text(a, p->key, KEY_WORDS),
                                          .began_ms = GET(p->began_ms),
                                          .last_ms = GET(p->last_ms),
                                          .requests = GET(p->requests),
                                          .upstream = GET(p->upstream)};
        n += atomic_load_explicit(&p->version, memory_order_acquire) == version;
    }
    return n;
}
