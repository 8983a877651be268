#include "relay/semantic.h"
#include "store/db.h"
#include <pthread.h>
#include <stdlib.h>

/* One answer; its row in the engine is numbered by `id`. */
struct known {
    struct known *newer;
    int64_t id;
    uint64_t until_ms;
    struct saved *answer;
};

struct semantic {
    pthread_mutex_t lock;
    struct db *db;     /* of its own, temporary */
    char model[256];   /* whose vectors are in it */
    size_t dimensions; /* 0: no table yet */
    struct known *oldest, *newest;
    int64_t last_id;
    struct replies_stats stats;
};

struct semantic *semantic_new(const char *library, struct err *e)
{
    struct semantic *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    pthread_mutex_init(&s->lock, NULL);
    s->db = db_open("", DB_READ_WRITE, e); /* "": SQLite's own temporary database */
    if (!s->db || !db_load(s->db, library, e)) {
        semantic_free(s);
        return NULL;
    }
    return s;
}

static void pop_oldest(struct semantic *s)
{
    struct known *k = s->oldest;
    s->oldest = k->newer;
    if (!s->oldest)
        s->newest = NULL;
    s->stats.entries--;
    s->stats.bytes -= saved_size(k->answer);
    saved_unref(k->answer);
    free(k);
}

void semantic_free(struct semantic *s)
{
    if (!s)
        return;
    while (s->oldest)
        pop_oldest(s);
    db_close(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- all below with the lock held ---- */

static bool delete_row(struct semantic *s, int64_t id, struct err *e)
{
    struct stmt *st = db_prepare(s->db, "DELETE FROM question WHERE rowid = ?1", e);
    if (!st)
        return false;
    stmt_bind_int(st, 1, id);
    bool ok = stmt_run(st, e);
    stmt_free(st);
    return ok;
}

/* A table for vectors of this model; those of another one go with their answers. */
static bool ready_table(struct semantic *s, const struct semantic_query *q, struct err *e)
{
    char sql[256];
    if (s->dimensions == q->n && str_eq(str_of(s->model), q->model))
        return true;
    if (q->model.n >= sizeof s->model || q->n == 0 || q->n > SEMANTIC_MAX_DIMENSIONS)
        return err_set(e, ERR_UNSUPPORTED, "embedding_unusable",
                       "Vectors of %zu dimensions cannot be compared", q->n);
    while (s->oldest)
        pop_oldest(s);
    s->dimensions = 0;
    (void)snprintf(sql, sizeof sql,
                   "DROP TABLE IF EXISTS question; CREATE VIRTUAL TABLE question USING"
                   " vec0(part text partition key, vector float[%zu] distance_metric=cosine)",
                   q->n);
    if (!db_exec(s->db, sql, e))
        return false;
    s->dimensions = q->n;
    memcpy(s->model, q->model.p, q->model.n);
    s->model[q->model.n] = 0;
    return true;
}

static void bind_question(struct stmt *st, const struct semantic_query *q,
                          char part[2 * SHA256_SIZE])
{
    hex_encode(part, q->part, SHA256_SIZE);
    stmt_bind_str(st, 1, str_n(part, 2 * SHA256_SIZE));
    stmt_bind_blob(st, 2, q->vector, q->n * sizeof q->vector[0]);
}

static struct known *known_by(const struct semantic *s, int64_t id)
{
    struct known *k = s->oldest;
    while (k && k->id != id)
        k = k->newer;
    return k;
}

static bool find(struct semantic *s, const struct semantic_query *q, uint64_t now_ms,
                 struct saved **hit, int64_t *similarity_ppm, struct err *e)
{
    char part[2 * SHA256_SIZE];
    if (!ready_table(s, q, e))
        return false;
    /* several: the time of the nearest may be over */
    struct stmt *st = db_prepare(
        s->db,
        "SELECT rowid, CAST((1 - distance) * 1000000 AS INTEGER) FROM question"
        " WHERE part = ?1 AND vector MATCH ?2 AND k = 8 ORDER BY distance",
        e);
    if (!st)
        return false;
    bind_question(st, q, part);
    while (!*hit && stmt_step(st, e)) {
        struct known *k = known_by(s, stmt_int(st, 0));
        *similarity_ppm = stmt_int(st, 1);
        if (*similarity_ppm < q->min_similarity_ppm)
            break;
        if (k && k->until_ms > now_ms)
            *hit = saved_ref(k->answer);
    }
    stmt_free(st);
    return e->kind == ERR_NONE;
}

static bool put(struct semantic *s, const struct semantic_query *q, struct saved *answer,
                uint64_t until_ms, const struct replies_limits *limits, struct err *e)
{
    char part[2 * SHA256_SIZE];
    uint64_t size = saved_size(answer);
    if (size > limits->max_bytes || limits->max_entries == 0)
        return true;
    if (!ready_table(s, q, e))
        return false;
    while (s->oldest && (s->stats.bytes + size > limits->max_bytes ||
                         s->stats.entries + 1 > limits->max_entries)) {
        if (!delete_row(s, s->oldest->id, e))
            return false;
        pop_oldest(s);
        s->stats.evicted++;
    }
    struct stmt *st = db_prepare(
        s->db, "INSERT INTO question (part, vector, rowid) VALUES (?1, ?2, ?3)", e);
    if (!st)
        return false;
    bind_question(st, q, part);
    stmt_bind_int(st, 3, ++s->last_id);
    bool ok = stmt_run(st, e);
    stmt_free(st);
    if (!ok)
        return false;
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        abort();
    *k = (struct known){.id = s->last_id, .until_ms = until_ms, .answer = saved_ref(answer)};
    *(s->newest ? &s->newest->newer : &s->oldest) = k;
    s->newest = k;
    s->stats.entries++;
    s->stats.bytes += size;
    s->stats.stored++;
    return true;
}

/* ---- the doors ---- */

bool semantic_find(struct semantic *s, const struct semantic_query *q, uint64_t now_ms,
                   struct saved **hit, int64_t *similarity_ppm, struct err *e)
{
    *hit = NULL;
    *similarity_ppm = 0;
    pthread_mutex_lock(&s->lock);
    bool ok = find(s, q, now_ms, hit, similarity_ppm, e);
    if (*hit) {
        s->stats.hits++;
        s->stats.tokens_saved += saved_tokens(*hit);
    } else {
        s->stats.misses++;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool semantic_put(struct semantic *s, const struct semantic_query *q, struct saved *answer,
                  uint64_t until_ms, const struct replies_limits *limits, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    bool ok = put(s, q, answer, until_ms, limits, e);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

size_t semantic_forget(struct semantic *s, const struct replies_drop *what, uint64_t now_ms)
{
    size_t n = 0;
    if (!s || what->id)
        return 0;
    pthread_mutex_lock(&s->lock);
    struct known *newest = NULL, **at = &s->oldest;
    while (*at) {
        struct known *k = *at;
        struct err e = ERR_INIT;
        if (saved_is_meant(k->answer, what) && (!what->is_expired || k->until_ms <= now_ms) &&
            delete_row(s, k->id, &e)) {
            *at = k->newer;
            s->stats.entries--;
            s->stats.bytes -= saved_size(k->answer);
            saved_unref(k->answer);
            free(k);
            n++;
        } else {
            newest = k;
            at = &k->newer;
        }
    }
    s->newest = newest;
    pthread_mutex_unlock(&s->lock);
    return n;
}

struct replies_stats semantic_read_stats(struct semantic *s)
{
    struct replies_stats out = {0};
    if (s) {
        pthread_mutex_lock(&s->lock);
        out = s->stats;
        pthread_mutex_unlock(&s->lock);
    }
    return out;
}

void semantic_reset_stats(struct semantic *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stats = (struct replies_stats){.entries = s->stats.entries, .bytes = s->stats.bytes};
    pthread_mutex_unlock(&s->lock);
}
