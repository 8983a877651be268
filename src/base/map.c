/* map.c - open addressing with linear probing; deletion shifts back, so there are no tombstones.
 * The hash is SipHash-1-3, keyed per process: peers choose keys and must not choose collisions. */
#include "base/map.h"
#include "base/banned.h"
#include "base/codec.h"
#include <pthread.h>

struct map_slot {
    struct str key;
    void *value; /* NULL: free */
    uint64_t hash;
};

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    random_bytes(seed, sizeof seed);
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t hash_bytes(const void *p, size_t n)
{
    (void)pthread_once(&seed_once, make_seed);
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575U, seed[1] ^ 0x646f72616e646f6dU,
                     seed[0] ^ 0x6c7967656e657261U, seed[1] ^ 0x7465646279746573U};
    const unsigned char *at = p;
    uint64_t word;
    for (size_t left = n; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)n << 56;
    for (size_t i = 0; i < (n & 7); i++)
        word |= (uint64_t)at[i] << (8 * i);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

/* The slot that holds key, or the free one where it would go. cap > n, so there is one. */
static struct map_slot *find(const struct map *m, struct str key, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].value && !(m->slots[i].hash == hash && str_eq(m->slots[i].key, key)))
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

void *map_get(const struct map *m, struct str key)
{
    return m->n ? find(m, key, hash_bytes(key.p, key.n))->value : NULL;
}

static void resize(struct map *m, size_t cap)
{
    struct map old = *m;
    m->slots = calloc(cap, sizeof *m->slots);
    if (!m->slots)
        abort();
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value)
            *find(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    }
    free(old.slots);
}

void map_reserve(struct map *m, size_t n)
{
    size_t cap = 8;
    while (cap / 4 * 3 < n) /* at most three quarters full */
        cap *= 2;
    if (cap > m->cap)
        resize(m, cap);
}

void map_set(struct map *m, struct str key, void *value)
{
    uint64_t hash = hash_bytes(key.p, key.n);
    map_reserve(m, m->n + 1);
    struct map_slot *s = find(m, key, hash);
    if (!s->value)
        m->n++;
    *s = (struct map_slot){key, value, hash};
}

bool map_del(struct map *m, struct str key)
{
    struct map_slot *s = m->n ? find(m, key, hash_bytes(key.p, key.n)) : NULL;
    if (!s || !s->value)
        return false;
    size_t mask = m->cap - 1, hole = (size_t)(s - m->slots);
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) { /* its home is not behind the hole */
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->n--;
    return true;
}

bool map_next(const struct map *m, size_t *i, struct str *key, void **value)
{
    while (*i < m->cap) {
        const struct map_slot *s = &m->slots[(*i)++];
        if (!s->value)
            continue;
        *key = s->key;
        *value = s->value;
        return true;
    }
    return false;
}
