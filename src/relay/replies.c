#include "relay/replies.h"
#include "base/map.h"
#include <pthread.h>
#include <stdlib.h>

#define KEY_SIZE (1 + SHA256_SIZE)

struct slot {
    char key[KEY_SIZE];
    uint8_t check[SHA256_SIZE];
    /* somebody is answering; then there may be waiters, and no answer yet */
    bool is_running;
    struct replies_waiter *waiters;
    struct saved *answer;
    uint64_t until_ms;
    struct slot *newer, *older; /* in the order of use, of those with an answer */
};

struct replies {
    pthread_mutex_t lock;
    struct map by_key;
    struct slot *newest, *oldest;
    uint64_t bytes, entries;
    struct replies_stats stats[REPLIES_LAYERS];
};

/* ---- answers ---- */

static char *put(char *to, struct str *field, struct str from)
{
    if (from.n)
        memcpy(to, from.p, from.n);
    *field = str_n(to, from.n);
    return to + from.n;
}

struct saved *saved_new(const struct saved *what)
{
    size_t n = what->body.n + what->dropped.n + what->model.n + what->upstream.n +
               what->upstream_model.n;
    struct saved *s = malloc(sizeof *s + n);
    if (!s)
        abort();
    memcpy(s, what, sizeof *s);
    atomic_init(&s->refs, 1);
    char *to = (char *)(s + 1);
    to = put(to, &s->body, what->body);
    to = put(to, &s->dropped, what->dropped);
    to = put(to, &s->model, what->model);
    to = put(to, &s->upstream, what->upstream);
    (void)put(to, &s->upstream_model, what->upstream_model);
    return s;
}

struct saved *saved_ref(struct saved *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void saved_unref(struct saved *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        free(s);
}

uint64_t saved_size(const struct saved *s)
{
    return sizeof(struct slot) + sizeof *s + s->body.n + s->dropped.n + s->model.n + s->upstream.n +
           s->upstream_model.n;
}

/* ---- the table; all below with the lock held ---- */

static enum replies_layer layer_of(const struct slot *s)
{
    return (enum replies_layer)s->key[0];
}

static void write_key(const struct replies_key *k, char out[KEY_SIZE])
{
    out[0] = (char)k->layer;
    memcpy(out + 1, k->id, SHA256_SIZE);
}

static struct str key_of(const struct slot *s)
{
    return str_n(s->key, KEY_SIZE);
}

static void unlink_use(struct replies *r, struct slot *s)
{
    *(s->newer ? &s->newer->older : &r->newest) = s->older;
    *(s->older ? &s->older->newer : &r->oldest) = s->newer;
    s->newer = s->older = NULL;
}

static void link_newest(struct replies *r, struct slot *s)
{
    s->newer = NULL;
    s->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = s;
    r->newest = s;
}

static void drop_answer(struct replies *r, struct slot *s)
{
    if (!s->answer)
        return;
    unlink_use(r, s);
    r->bytes -= saved_size(s->answer);
    r->entries--;
    r->stats[layer_of(s)].bytes -= saved_size(s->answer);
    r->stats[layer_of(s)].entries--;
    saved_unref(s->answer);
    s->answer = NULL;
}

static void drop_slot(struct replies *r, struct slot *s)
{
    drop_answer(r, s);
    (void)map_del(&r->by_key, key_of(s));
    free(s);
}

static void keep_answer(struct replies *r, struct slot *s, struct saved *answer, uint64_t until_ms,
                        const struct replies_limits *limits)
{
    uint64_t size = saved_size(answer);
    struct replies_stats *st = &r->stats[layer_of(s)];
    while (r->oldest &&
           (r->bytes + size > limits->max_bytes || r->entries + 1 > limits->max_entries)) {
        r->stats[layer_of(r->oldest)].evicted++;
        drop_slot(r, r->oldest);
    }
    s->answer = saved_ref(answer);
    s->until_ms = until_ms;
    link_newest(r, s);
    r->bytes += size;
    r->entries++;
    st->bytes += size;
    st->entries++;
    st->stored++;
}

/* ---- the doors ---- */

struct replies *replies_new(void)
{
    struct replies *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->by_key);
    return r;
}

void replies_free(struct replies *r)
{
    if (!r)
        return;
    struct str key;
    void *value;
    for (size_t i = 0; map_next(&r->by_key, &i, &key, &value);) {
        struct slot *s = value;
        saved_unref(s->answer);
        free(s);
    }
    map_done(&r->by_key);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

uint64_t saved_tokens(const struct saved *s)
{
    int64_t n = 0;
    if (s->usage.input_total > 0)
        n += s->usage.input_total;
    if (s->usage.output_total > 0)
        n += s->usage.output_total;
    return (uint64_t)n;
}

static enum replies_found lead(struct replies *r, struct slot *s, const struct replies_key *k,
                               const char key[KEY_SIZE])
{
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            abort();
        memcpy(s->key, key, KEY_SIZE);
        map_set(&r->by_key, key_of(s), s);
    }
    drop_answer(r, s); /* its time is over */
    memcpy(s->check, k->check, SHA256_SIZE);
    s->is_running = true;
    r->stats[k->layer].running++;
    r->stats[k->layer].misses++;
    return REPLIES_LEAD;
}

static enum replies_found join(struct replies *r, struct slot *s, const struct replies_key *k,
                               struct replies_waiter *w)
{
    if (!w)
        return REPLIES_BUSY;
    w->got = NULL;
    w->next = s->waiters;
    w->prev = &s->waiters;
    if (w->next)
        w->next->prev = &w->next;
    s->waiters = w;
    r->stats[k->layer].joined++;
    return REPLIES_JOINED;
}

enum replies_found replies_enter(struct replies *r, const struct replies_key *k, uint64_t now_ms,
                                 struct replies_waiter *w, struct saved **hit)
{
    char key[KEY_SIZE];
    enum replies_found found;
    write_key(k, key);
    pthread_mutex_lock(&r->lock);
    struct slot *s = map_get(&r->by_key, str_n(key, KEY_SIZE));
    bool is_known = s && (s->is_running || (s->answer && s->until_ms > now_ms));
    if (is_known && memcmp(s->check, k->check, SHA256_SIZE) != 0) {
        r->stats[k->layer].conflicts++;
        found = REPLIES_OTHER;
    } else if (is_known && s->is_running) {
        found = join(r, s, k, w);
    } else if (is_known) {
        unlink_use(r, s);
        link_newest(r, s);
        r->stats[k->layer].hits++;
        r->stats[k->layer].tokens_saved += saved_tokens(s->answer);
        *hit = saved_ref(s->answer);
        found = REPLIES_HIT;
    } else {
        found = lead(r, s, k, key);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

void replies_settle(struct replies *r, const struct replies_key *k, struct saved *answer,
                    uint64_t ttl_ms, uint64_t now_ms, const struct replies_limits *limits)
{
    char key[KEY_SIZE];
    struct replies_waiter *waiters = NULL;
    write_key(k, key);
    pthread_mutex_lock(&r->lock);
    struct slot *s = map_get(&r->by_key, str_n(key, KEY_SIZE));
    if (s && s->is_running) {
        s->is_running = false;
        r->stats[k->layer].running--;
        waiters = s->waiters;
        s->waiters = NULL;
        for (struct replies_waiter *w = waiters; w; w = w->next) {
            w->prev = NULL; /* replies_leave() comes too late */
            w->got = answer ? saved_ref(answer) : NULL;
            if (answer)
                r->stats[k->layer].tokens_saved += saved_tokens(answer);
        }
        bool has_room = answer && ttl_ms > 0 && limits->max_entries > 0 &&
                        saved_size(answer) <= limits->max_bytes;
        if (has_room)
            keep_answer(r, s, answer, now_ms + ttl_ms, limits);
        else
            drop_slot(r, s);
    }
    pthread_mutex_unlock(&r->lock);
    while (waiters) {
        struct replies_waiter *w = waiters;
        waiters = w->next; /* w is its loop's once it is posted */
        loop_post(w->loop, w->fn, w->arg);
    }
}

bool replies_leave(struct replies *r, struct replies_waiter *w)
{
    pthread_mutex_lock(&r->lock);
    bool is_listed = w->prev != NULL;
    if (is_listed) {
        *w->prev = w->next;
        if (w->next)
            w->next->prev = w->prev;
        w->prev = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    return is_listed;
}

bool saved_is_meant(const struct saved *s, const struct replies_drop *what)
{
    return (what->model.n == 0 || str_eq(s->model, what->model)) &&
           (what->before_ms == 0 || s->created_ms < what->before_ms);
}

static bool is_meant(const struct slot *s, const struct replies_drop *what, uint64_t now_ms)
{
    return s->answer && saved_is_meant(s->answer, what) &&
           (!what->id || memcmp(s->key + 1, what->id, SHA256_SIZE) == 0) &&
           (!what->is_expired || s->until_ms <= now_ms);
}

size_t replies_forget(struct replies *r, const struct replies_drop *what, uint64_t now_ms)
{
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    for (struct slot *s = r->oldest, *newer; s; s = newer) {
        newer = s->newer;
        if (is_meant(s, what, now_ms)) {
            drop_slot(r, s);
            n++;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

const char *replies_layer_name(enum replies_layer layer)
{
    switch (layer) {
    case REPLIES_EXACT:
        return "response";
    case REPLIES_IDEMPOTENT:
        return "idempotency";
    case REPLIES_LAYERS:
        break;
    }
    return "";
}

void replies_read_stats(struct replies *r, struct replies_stats out[REPLIES_LAYERS])
{
    pthread_mutex_lock(&r->lock);
    memcpy(out, r->stats, sizeof r->stats);
    pthread_mutex_unlock(&r->lock);
}

void replies_reset_stats(struct replies *r)
{
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < REPLIES_LAYERS; i++) {
        struct replies_stats *s = &r->stats[i];
        *s = (struct replies_stats){
            .entries = s->entries, .bytes = s->bytes, .running = s->running};
    }
    pthread_mutex_unlock(&r->lock);
}
