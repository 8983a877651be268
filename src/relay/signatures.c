/* signatures.c - Google's thought signatures by tool call id, for clients whose format has no place for them.
 * 10 000 entries, 30 minutes; eight shards, each with its lock, since calls are rare beside requests. */
#include "relay/request.h"
#include "base/clock.h"
#include "base/map.h"
#include <pthread.h>
#include <stdlib.h>

#define SHARDS 8
#define PER_SHARD 1250
#define TTL_MS (30u * 60u * 1000u)
#define MAX_SIGNATURE 65536

struct entry {
    struct str id, signature; /* one allocation: behind the struct */
    uint64_t until_ms;
};

struct shard {
    pthread_mutex_t lock;
    struct map by_id;
    struct entry *ring[PER_SHARD]; /* oldest is overwritten */
    size_t next;
};

struct signatures {
    struct shard shards[SHARDS];
};

struct signatures *signatures_new(void)
{
    struct signatures *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&s->shards[i].lock, NULL);
        map_init(&s->shards[i].by_id);
    }
    return s;
}

void signatures_free(struct signatures *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        map_done(&s->shards[i].by_id);
        for (size_t k = 0; k < PER_SHARD; k++)
            free(s->shards[i].ring[k]);
        pthread_mutex_destroy(&s->shards[i].lock);
    }
    free(s);
}

/* Signatures are bound to the account that made them, and calls to the key that saw them. */
static struct str scoped(struct relay *rl, struct str call_id)
{
    struct str key = rl->key ? rl->key->id : STR_NONE;
    return str_fmt(rl->r->arena, STR_FMT "/" STR_FMT, STR_ARG(key), STR_ARG(call_id));
}

static struct shard *shard_of(struct signatures *s, struct str id)
{
    return &s->shards[hash_bytes(id.p, id.n) % SHARDS];
}

struct str signature_get(void *arg, struct str call_id)
{
    struct relay *rl = arg;
    struct str id = scoped(rl, call_id), found = STR_NONE;
    struct shard *s = shard_of(rl->env->shared->signatures, id);
    pthread_mutex_lock(&s->lock);
    const struct entry *en = map_get(&s->by_id, id);
    if (en && en->until_ms > clock_mono_ms())
        found = str_dup(rl->r->arena, en->signature);
    pthread_mutex_unlock(&s->lock);
    return found;
}

void signature_put(void *arg, struct str call_id, struct str signature)
{
    struct relay *rl = arg;
    struct str id = scoped(rl, call_id);
    if (signature.n == 0 || signature.n > MAX_SIGNATURE)
        return;
    struct entry *en = malloc(sizeof *en + id.n + signature.n);
    if (!en)
        abort();
    char *p = (char *)(en + 1);
    memcpy(p, id.p, id.n);
    memcpy(p + id.n, signature.p, signature.n);
    *en = (struct entry){str_n(p, id.n), str_n(p + id.n, signature.n), clock_mono_ms() + TTL_MS};
    struct shard *s = shard_of(rl->env->shared->signatures, id);
    pthread_mutex_lock(&s->lock);
    struct entry *old = s->ring[s->next];
    if (old && map_get(&s->by_id, old->id) == old)
        (void)map_del(&s->by_id, old->id);
    if (map_get(&s->by_id, en->id)) /* its key must not point into the entry that leaves */
        (void)map_del(&s->by_id, en->id);
    map_set(&s->by_id, en->id, en);
    s->ring[s->next] = en;
    s->next = (s->next + 1) % PER_SHARD;
    pthread_mutex_unlock(&s->lock);
    free(old);
}
