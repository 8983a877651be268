#include "meter/usage_log.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "meter/journal.h"
#include "meter/redact.h"
#include "meter/usage_block.h"
#include "meter/usage_retain.h"
#include "meter/usage_sum.h"
#include "store/db.h"
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* records that all loops together may be ahead of the writer: half a second of a slow disk */
#define MAX_WAITING 32768u
#define MIN_WAITING 4096u /* but each this many */
#define CHUNK 128u
#define SPARE_CHUNKS 16u
#define HURRY 512u   /* so many do not wait for the end of the group's time */
#define BEHIND 2048u /* so many, and the loop steps back for the writer */
#define SLICE 64u    /* records inserted at once */
#define MAX_RINGS 260u
#define MAX_DRIFT_MS 2000
#define GROUP_MS 50
#define RETRY_MS 1000
#define STALLED_MS 2000 /* at one group for longer: the store stalls */
#define MAX_POSTED 4096u
#define MAX_POSTED_BYTES (256u << 20)
/* interned; a flood of made-up names beyond it is counted as "(other)" */
#define MAX_NAMES 50000u
#define SUM_MS 1000   /* between two writings of the sums */
#define IDLE_MS 60000 /* then it looks after what is kept */

struct chunk {
    struct chunk *next;
    struct usage_record v[CHUNK];
};

/* One producer, one consumer; head and tail count for ever. A list of chunks: short and always the same few while the
 * writer keeps up, so that they stay in the cache; as long as it must be when it does not. */
struct ring {
    _Alignas(64) _Atomic uint32_t head;         /* written by the loop */
    struct chunk *newest;                       /* the loop's: where head goes */
    _Alignas(64) _Atomic uint32_t tail;         /* written by the writer */
    struct chunk *oldest;                       /* the writer's: where tail stands */
    _Alignas(64) _Atomic(struct chunk *) spare; /* pushed by the writer, popped by the loop alone */
    _Atomic uint32_t n_spare;
};

struct posted {
    struct posted *next;
    const struct usage_work *work;
    void *arg;
    size_t bytes;
};

/* A line that found the journal full: in memory alone. */
struct aside {
    struct aside *next;
    struct settled s;
};

struct usage_log {
    struct ring *rings;
    unsigned n_rings;
    uint32_t max_waiting; /* records in one ring */
    pthread_t thread;
    pthread_mutex_t lock; /* guards posted and the sleep */
    pthread_cond_t wake;
    struct posted *first, **last;
    unsigned n_posted; /* with those that the writer took */
    size_t posted_bytes;
    atomic_bool is_sleeping, is_stopping, is_degraded;
    /* monotonic: when the writer began what it is at; 0: it is at nothing */
    _Atomic uint64_t busy_since_ms;
    _Atomic uint64_t shed, written, failures, unkept;
    struct journal *journal; /* of lines, a ring for each loop */
    pthread_mutex_t learning;
    _Atomic(struct aside *) aside; /* pushed by any thread, taken as a whole: the newest first */
    _Atomic int64_t aside_bytes;
    /* the writer's own */
    struct aside *waiting;              /* taken, and not committed yet */
    struct posted *taken, **taken_last; /* run, but not committed yet */
    char *path;
    struct db *db;
    struct stmt *insert, *find_name, *add_name, *find_kind, *add_kind;
    struct map names;                            /* text -> id in a heap cell that holds both */
    struct map kinds;                            /* what repeats of a record, as bytes -> its id */
    char last_kind[sizeof(struct usage_record)]; /* of the record before, as bytes */
    size_t last_kind_n;
    int64_t last_kind_id;
    struct db_source source; /* the slice that is inserted */
    struct usage_record *slice[SLICE];
    int64_t slice_kinds[SLICE];
    int64_t last_id;
    struct stmt *add_detail;
    struct block_writer *blocks;
    struct sum_writer *sums;
    struct ledger_writer *ledger;
    uint64_t summed_ms; /* monotonic: when they were written last */
    struct retention retention;
    struct usage_limits limits; /* under lock */
    struct redactor *redactor;  /* under lock */
    _Atomic int64_t floor_ms[2];
    void (*on_record)(void *arg, const struct usage_record *r);
    void (*on_group)(void *arg);
    void *watch_arg;
    atomic_bool is_watched, is_tidy_due;
};

struct interned {
    int64_t id;
    struct str text;
};

/* ---- producers ---- */

static void wake_writer(struct usage_log *u, bool is_pressing)
{
    if (!atomic_load_explicit(&u->is_sleeping, memory_order_seq_cst) && !is_pressing)
        return;
    pthread_mutex_lock(&u->lock);
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
}

static struct chunk *new_chunk(struct ring *ring)
{
    struct chunk *c = atomic_load_explicit(&ring->spare, memory_order_acquire);
    while (c && !atomic_compare_exchange_weak_explicit(&ring->spare, &c, c->next,
                                                       memory_order_acquire, memory_order_acquire))
        ;
    if (c)
        atomic_fetch_sub_explicit(&ring->n_spare, 1, memory_order_relaxed);
    else if (!(c = malloc(sizeof *c)))
        abort();
    c->next = NULL;
    return c;
}

static void drop_chunk(struct ring *ring, struct chunk *c)
{
    if (atomic_load_explicit(&ring->n_spare, memory_order_relaxed) >= SPARE_CHUNKS) {
        free(c);
        return;
    }
    atomic_fetch_add_explicit(&ring->n_spare, 1, memory_order_relaxed);
    c->next = atomic_load_explicit(&ring->spare, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&ring->spare, &c->next, c, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static void free_chunks(struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
}

struct walk { /* over the records of a ring, from the oldest on */
    struct chunk *chunk;
    uint32_t at;
};

static struct walk walk_of(const struct ring *ring)
{
    return (struct walk){ring->oldest, atomic_load_explicit(&ring->tail, memory_order_relaxed)};
}

static struct usage_record *walk_on(struct walk *w)
{
    struct usage_record *r = &w->chunk->v[w->at % CHUNK];
    if (++w->at % CHUNK == 0)
        w->chunk = w->chunk->next;
    return r;
}

static void free_ring(struct ring *ring)
{
    uint32_t head = atomic_load(&ring->head);
    for (struct walk w = walk_of(ring); w.at != head;)
        free(walk_on(&w)->extra);
    free_chunks(ring->oldest);
    free_chunks(atomic_load(&ring->spare));
}

struct usage_record *usage_log_begin(struct usage_log *u, unsigned loop)
{
    struct ring *ring = &u->rings[loop];
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) >= u->max_waiting) {
        atomic_fetch_add_explicit(&u->shed, 1, memory_order_relaxed);
        return NULL;
    }
    return &ring->newest->v[head % CHUNK];
}

void usage_log_end(struct usage_log *u, unsigned loop)
{
    struct ring *ring = &u->rings[loop];
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed) + 1;
    uint32_t waiting = head - atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (head % CHUNK == 0) /* a full one always has a next */
        ring->newest = ring->newest->next = new_chunk(ring);
    atomic_store_explicit(&ring->head, head, memory_order_seq_cst);
    wake_writer(u, waiting == HURRY);
    if (waiting >= BEHIND && waiting % SLICE == 0)
        (void)sched_yield(); /* they may share a core */
}

static void put_aside(struct usage_log *u, const struct usage_record *r)
{
    struct aside *a = malloc(sizeof *a);
    if (!a)
        abort();
    settled_fill(&a->s, r);
    a->next = atomic_load_explicit(&u->aside, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&u->aside, &a->next, a, memory_order_seq_cst,
                                                  memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&u->aside_bytes, (int64_t)sizeof *a, memory_order_relaxed);
}

void usage_log_put_line(struct usage_log *u, unsigned loop, const struct usage_record *r)
{
    struct settled *s = journal_begin(u->journal, loop);
    if (s) {
        settled_fill(s, r);
        journal_end(u->journal, loop);
    } else {
        put_aside(u, r);
    }
    if (!s || !journal_is_kept(u->journal))
        atomic_fetch_add_explicit(&u->unkept, 1, memory_order_relaxed);
    wake_writer(u, false);
}

uint64_t usage_log_unkept(const struct usage_log *u)
{
    return atomic_load_explicit(&u->unkept, memory_order_relaxed);
}

int64_t usage_log_waiting_bytes(const struct usage_log *u)
{
    return atomic_load_explicit(&u->aside_bytes, memory_order_relaxed);
}

void usage_log_learn(struct usage_log *u, int64_t id, struct str text)
{
    pthread_mutex_lock(&u->learning); /* nobody names it before it is written */
    if (ledger_writer_learn(u->ledger, id, text))
        journal_learn(u->journal, id, text);
    pthread_mutex_unlock(&u->learning);
}

void usage_log_put(struct usage_log *u, unsigned loop, const struct usage_record *r)
{
    if (r->money.id && !r->money.is_handed)
        usage_log_put_line(u, loop, r);
    struct usage_record *to = usage_log_begin(u, loop);
    if (!to) {
        free(r->extra);
        return;
    }
    *to = *r;
    usage_log_end(u, loop);
}

bool usage_log_post(struct usage_log *u, const struct usage_work *work, void *arg, size_t bytes)
{
    struct posted *p = malloc(sizeof *p);
    if (!p)
        abort();
    *p = (struct posted){NULL, work, arg, bytes};
    pthread_mutex_lock(&u->lock);
    bool ok = u->n_posted < MAX_POSTED && u->posted_bytes + bytes <= MAX_POSTED_BYTES &&
              !atomic_load(&u->is_stopping);
    if (ok) {
        *u->last = p;
        u->last = &p->next;
        u->n_posted++;
        u->posted_bytes += bytes;
        pthread_cond_signal(&u->wake);
    }
    pthread_mutex_unlock(&u->lock);
    if (!ok)
        free(p);
    return ok;
}

uint64_t usage_log_shed(const struct usage_log *u)
{
    return atomic_load_explicit(&u->shed, memory_order_relaxed);
}

struct usage_log_stats usage_log_stats(const struct usage_log *u)
{
    struct usage_log_stats s = {0, atomic_load_explicit(&u->written, memory_order_relaxed),
                                atomic_load_explicit(&u->failures, memory_order_relaxed)};
    for (unsigned i = 0; i < u->n_rings; i++) {
        uint32_t tail = atomic_load_explicit(&u->rings[i].tail, memory_order_relaxed);
        s.queued += (uint32_t)(atomic_load_explicit(&u->rings[i].head, memory_order_relaxed) -
                               tail);
    }
    return s;
}

bool usage_log_is_degraded(const struct usage_log *u, uint64_t now_ms)
{
    uint64_t since = atomic_load_explicit(&u->busy_since_ms, memory_order_relaxed);
    return atomic_load_explicit(&u->is_degraded, memory_order_relaxed) ||
           (since && now_ms > since + STALLED_MS);
}

/* ---- the writer ---- */

static void forget(struct map *m)
{
    struct str k;
    void *v;
    for (size_t i = 0; map_next(m, &i, &k, &v);)
        free(v);
    map_done(m);
    map_init(m);
}

static void forget_names(struct usage_log *u)
{
    u->last_kind_n = 0;
    forget(&u->names);
    forget(&u->kinds);
}

static void close_db(struct usage_log *u)
{
    stmt_free(u->insert);
    stmt_free(u->find_name);
    stmt_free(u->add_name);
    stmt_free(u->find_kind);
    stmt_free(u->add_kind);
    stmt_free(u->add_detail);
    u->insert = u->find_name = u->add_name = u->find_kind = u->add_kind = u->add_detail = NULL;
    block_writer_close(u->blocks);
    sum_writer_close(u->sums);
    ledger_writer_close(u->ledger);
    db_close(u->db);
    u->db = NULL;
}

static bool open_db(struct usage_log *u, struct err *e)
{
    u->db = db_open(u->path, DB_READ_WRITE, e);
    if (!u->db)
        return false;
    const struct {
        struct stmt **at;
        const char *sql;
    } statements[] = {
        {&u->insert, "INSERT INTO "
                     "usage_fact(id,request_id,kind,attempts,input_total,cache_read,cache_write,"
                     "output_total,reasoning,"
                     "audio_in,audio_out,ttft_us,duration_us,bytes_in,bytes_out,ledger) "
                     "SELECT * FROM slice"},
        {&u->find_name, "SELECT id FROM name WHERE text = ?1"},
        {&u->add_name, "INSERT INTO name(text) VALUES(?1)"},
        {&u->find_kind, "SELECT id FROM usage_kind WHERE key=?1 AND model=?2 AND upstream=?3 AND "
                        "upstream_model=?4 AND op=?5 AND"
                        " client_format=?6 AND upstream_format=?7 AND error_code=?8 AND status=?9 "
                        "AND is_stream=?10 AND stop=?11 AND"
                        " quality=?12"},
        {&u->add_kind, "INSERT INTO "
                       "usage_kind(key,model,upstream,upstream_model,op,client_format,upstream_"
                       "format,error_code,status,"
                       "is_stream,stop,quality) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)"},
        {&u->add_detail, "INSERT INTO usage_detail(id,text) VALUES(?1,?2)"},
    };
    bool is_ready = db_add_source(u->db, "slice", &u->source, e);
    for (size_t i = 0; i < ARRAY_LEN(statements) && is_ready; i++)
        is_ready = (*statements[i].at = db_prepare(u->db, statements[i].sql, e)) != NULL;
    struct stmt *s = is_ready ? db_prepare(u->db, "SELECT coalesce(max(id), 0) FROM usage_fact", e)
                              : NULL;
    bool ok = s && stmt_step(s, e) && block_writer_open(u->blocks, u->db, e) &&
              sum_writer_open(u->sums, u->db, e) && ledger_writer_open(u->ledger, u->db, e);
    if (ok)
        u->last_id = stmt_int(s, 0);
    stmt_free(s);
    if (!ok)
        close_db(u);
    return ok;
}

static void intern(struct map *m, struct str text, int64_t id)
{
    struct interned *in = malloc(sizeof *in + text.n);
    if (!in)
        abort();
    memcpy(in + 1, text.p, text.n);
    *in = (struct interned){id, str_n((const char *)(in + 1), text.n)};
    map_set(m, in->text, in);
}

static bool name_id(struct usage_log *u, const char *text, int64_t *id, struct err *e)
{
    struct str s = str_of(text);
    if (s.n == 0) {
        *id = 0;
        return true;
    }
    const struct interned *known = map_get(&u->names, s);
    if (known) {
        *id = known->id;
        return true;
    }
    if (u->names.n >= MAX_NAMES)
        return strcmp(text, "(other)") == 0 ? (*id = 0, true) : name_id(u, "(other)", id, e);
    stmt_bind_str(u->find_name, 1, s);
    bool is_there = stmt_step(u->find_name, e);
    if (is_there)
        *id = stmt_int(u->find_name, 0);
    stmt_reset(u->find_name);
    if (!is_there) {
        if (e->kind != ERR_NONE)
            return false;
        stmt_bind_str(u->add_name, 1, s);
        if (!stmt_run(u->add_name, e))
            return false;
        *id = db_last_id(u->db);
    }
    intern(&u->names, s, *id);
    return true;
}

static void remember_kind(struct usage_log *u, struct str bytes, int64_t id)
{
    memcpy(u->last_kind, bytes.p, bytes.n);
    u->last_kind_n = bytes.n;
    u->last_kind_id = id;
}

/* The row of usage_kind that says what repeats of a record. */
static bool kind_id(struct usage_log *u, const struct usage_record *r, int64_t *id, struct err *e)
{
    const char *texts[] = {r->key_id, r->model,         r->upstream,        r->upstream_model,
                           r->op,     r->client_format, r->upstream_format, r->error_code};
    const int32_t numbers[] = {r->status, r->is_stream, (int32_t)r->stop, (int32_t)r->quality};
    char bytes[sizeof *r];
    size_t n = sizeof numbers;
    memcpy(bytes, numbers, sizeof numbers);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        size_t len = strlen(texts[i]) + 1;
        memcpy(bytes + n, texts[i], len);
        n += len;
    }
    if (n == u->last_kind_n && memcmp(bytes, u->last_kind, n) == 0) {
        *id = u->last_kind_id;
        return true;
    }
    const struct interned *known = map_get(&u->kinds, str_n(bytes, n));
    if (known) {
        *id = known->id;
        remember_kind(u, str_n(bytes, n), *id);
        return true;
    }
    struct stmt *both[] = {u->find_kind, u->add_kind};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int64_t name;
        if (!name_id(u, texts[i], &name, e))
            return false;
        for (size_t k = 0; k < 2; k++)
            stmt_bind_int(both[k], (int)i + 1, name);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        for (size_t k = 0; k < 2; k++)
            stmt_bind_int(both[k], (int)(ARRAY_LEN(texts) + i) + 1, numbers[i]);
    bool is_there = stmt_step(u->find_kind, e);
    if (is_there)
        *id = stmt_int(u->find_kind, 0);
    stmt_reset(u->find_kind);
    if (!is_there) {
        if (e->kind != ERR_NONE || !stmt_run(u->add_kind, e))
            return false;
        *id = db_last_id(u->db);
    }
    if (u->kinds.n >= MAX_NAMES)
        forget(&u->kinds);
    intern(&u->kinds, str_n(bytes, n), *id);
    remember_kind(u, str_n(bytes, n), *id);
    return true;
}

static int64_t end_ms(const struct usage_record *r)
{
    return r->start_ms + r->duration_us / 1000;
}

/* The clock went back: rows go on in order, so the row's number does not say when it was. */
static void say_when(struct usage_record *r)
{
    size_t had = r->extra ? r->extra->n : 0;
    if (r->extra && r->extra->is_redacted) /* said before, in a group that was not committed */
        return;
    struct usage_extra *x = malloc(sizeof *x + had + 64);
    if (!x)
        abort();
    int n = snprintf(x->text, had + 64, "{\"at\":%lld%s%.*s", (long long)end_ms(r),
                     had > 2 ? "," : "}", had > 2 ? (int)had - 1 : 0,
                     had > 2 ? r->extra->text + 1 : "");
    x->n = (size_t)n;
    x->is_redacted = false;
    free(r->extra);
    r->extra = x;
}

/* The detail without secrets, in place of what the loop wrote. Once: the group may be written again. */
static void redact_detail(struct usage_log *u, struct usage_record *r)
{
    struct buf b;
    if (r->extra->is_redacted)
        return;
    pthread_mutex_lock(&u->lock);
    struct redactor *by = redactor_ref(u->redactor);
    pthread_mutex_unlock(&u->lock);
    buf_init(&b, 16u << 20);
    redact(by, str_n(r->extra->text, r->extra->n), NULL, 0, &b);
    redactor_unref(by);
    struct usage_extra *x = malloc(sizeof *x + b.n);
    if (!x)
        abort();
    *x = (struct usage_extra){.n = b.n, .is_redacted = true};
    memcpy(x->text, b.p ? b.p : "", b.n);
    buf_done(&b);
    free(r->extra);
    r->extra = x;
}

static bool insert_detail(struct usage_log *u, struct usage_record *r, struct err *e)
{
    redact_detail(u, r);
    stmt_bind_int(u->add_detail, 1, r->seq);
    stmt_bind_str(u->add_detail, 2, str_n(r->extra->text, r->extra->n));
    return stmt_run(u->add_detail, e);
}

static struct db_value known(int64_t v)
{
    return (struct db_value){v < 0 ? DB_NULL : DB_INT, v, STR_NONE};
}

/* The columns of usage_fact, in the order of the statement. */
static struct db_value fact_value(void *arg, size_t row, unsigned column)
{
    const struct usage_log *u = arg;
    const struct usage_record *r = u->slice[row];
    switch (column) {
    case 0:
        return (struct db_value){DB_INT, r->seq, STR_NONE};
    case 1:
        return (struct db_value){DB_TEXT, 0, str_of(r->request_id)};
    case 2:
        return (struct db_value){DB_INT, u->slice_kinds[row], STR_NONE};
    case 3:
        return (struct db_value){DB_INT, r->attempts, STR_NONE};
    case 4:
        return known(r->usage.input_total);
    case 5:
        return known(r->usage.cache_read);
    case 6:
        return known(r->usage.cache_write);
    case 7:
        return known(r->usage.output_total);
    case 8:
        return known(r->usage.reasoning);
    case 9:
        return known(r->usage.audio_in);
    case 10:
        return known(r->usage.audio_out);
    case 11:
        return known(r->ttft_us);
    case 12:
        return (struct db_value){DB_INT, r->duration_us, STR_NONE};
    case 13:
        return (struct db_value){DB_INT, r->bytes_in, STR_NONE};
    case 14:
        return (struct db_value){DB_INT, r->bytes_out, STR_NONE};
    default:
        return (struct db_value){r->money.id ? DB_INT : DB_NULL, r->money.id, STR_NONE};
    }
}

static struct usage_figures figures_of(const struct usage_record *r)
{
    return (struct usage_figures){.n = 1,
                                  .last = r->seq,
                                  .input_total = r->usage.input_total,
                                  .cache_read = r->usage.cache_read,
                                  .cache_write = r->usage.cache_write,
                                  .output_total = r->usage.output_total,
                                  .reasoning = r->usage.reasoning,
                                  .audio_in = r->usage.audio_in,
                                  .audio_out = r->usage.audio_out,
                                  .ttft_n = r->ttft_us >= 0,
                                  .ttft_us = r->ttft_us,
                                  .duration_us = r->duration_us,
                                  .retried = r->attempts > 1,
                                  .bytes_in = r->bytes_in,
                                  .bytes_out = r->bytes_out};
}

static bool insert_slice(struct usage_log *u, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct usage_record *r = u->slice[i];
        /* the end: rows come in this order */
        r->seq = end_ms(r) * 1000;
        if (r->seq <= u->last_id)
            r->seq = u->last_id + 1;
        u->last_id = r->seq;
        if (!kind_id(u, r, &u->slice_kinds[i], e))
            return false;
    }
    u->source.rows = n;
    if (!stmt_run(u->insert, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct usage_record *r = u->slice[i];
        if (r->seq / 1000 - end_ms(r) > MAX_DRIFT_MS)
            say_when(r);
        struct usage_figures f = figures_of(r);
        if (!sum_writer_add(u->sums, u->slice_kinds[i], &f, e) ||
            !block_writer_add(u->blocks, r->seq, u->slice_kinds[i], str_of(r->request_id), e) ||
            (r->extra && !insert_detail(u, r, e)))
            return false;
    }
    return true;
}

/* A loop on this core waits no longer than for a share of what waits: the more of it, the larger. */
static bool insert_ring(struct usage_log *u, const struct ring *ring, uint32_t head, struct err *e)
{
    struct walk w = walk_of(ring);
    uint32_t share = SLICE + (head - w.at) / 16, done = 0;
    while (w.at != head) {
        size_t n = 0;
        while (n < SLICE && w.at != head)
            u->slice[n++] = walk_on(&w);
        if (!insert_slice(u, n, e))
            return false;
        done += (uint32_t)n;
        if (done < share)
            continue;
        done = 0;
        (void)sched_yield();
    }
    return true;
}

/* They are in the store. */
static void let_records_go(struct usage_log *u, struct ring *ring, uint32_t head)
{
    bool is_watched = atomic_load_explicit(&u->is_watched, memory_order_acquire);
    for (struct walk w = walk_of(ring); w.at != head;) {
        struct chunk *before = w.chunk;
        struct usage_record *r = walk_on(&w);
        if (is_watched && u->on_record)
            u->on_record(u->watch_arg, r);
        if (r->extra)
            free(r->extra);
        if (w.chunk != before)
            drop_chunk(ring, before);
        ring->oldest = w.chunk;
    }
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_fetch_add_explicit(&u->written, head - tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, head, memory_order_release);
}

static void take_aside(struct usage_log *u)
{
    struct aside *taken = atomic_exchange_explicit(&u->aside, NULL, memory_order_acquire);
    while (taken) {
        struct aside *next = taken->next;
        taken->next = u->waiting;
        u->waiting = taken;
        taken = next;
    }
}

static void free_aside(struct usage_log *u)
{
    int64_t bytes = 0;
    for (struct aside *a = u->waiting, *next; a; a = next) {
        next = a->next;
        bytes += (int64_t)sizeof *a;
        free(a);
    }
    u->waiting = NULL;
    atomic_fetch_sub_explicit(&u->aside_bytes, bytes, memory_order_relaxed);
}

static bool write_lines(struct usage_log *u, const uint32_t *heads, struct err *e)
{
    for (unsigned i = 0; i < u->n_rings; i++)
        for (uint32_t at = journal_tail(u->journal, i); at != heads[i]; at++)
            if (!ledger_writer_add(u->ledger, journal_at(u->journal, i, at), e))
                return false;
    for (const struct aside *a = u->waiting; a; a = a->next)
        if (!ledger_writer_add(u->ledger, &a->s, e))
            return false;
    return ledger_writer_flush(u->ledger, e);
}

struct group { /* up to where it goes, of each ring */
    uint32_t records[MAX_RINGS], lines[MAX_RINGS];
};

static bool gather(struct usage_log *u, struct group *g)
{
    bool is_any = false;
    for (unsigned i = 0; i < u->n_rings; i++) {
        g->records[i] = atomic_load_explicit(&u->rings[i].head, memory_order_acquire);
        g->lines[i] = journal_head(u->journal, i); /* behind it: a record's line is never later */
        is_any |= g->records[i] != atomic_load_explicit(&u->rings[i].tail, memory_order_relaxed) ||
                  g->lines[i] != journal_tail(u->journal, i);
    }
    take_aside(u);
    return is_any || u->waiting;
}

static bool insert_group(struct usage_log *u, const struct group *g, bool is_due, struct err *e)
{
    for (unsigned i = 0; i < u->n_rings; i++)
        if (!insert_ring(u, &u->rings[i], g->records[i], e))
            return false;
    return write_lines(u, g->lines, e) && (!is_due || sum_writer_flush(u->sums, e));
}

/* One group of what the rings hold. Records and lines leave their ring only once they are committed. */
static bool write_group(struct usage_log *u, bool *wrote, struct err *e)
{
    struct group g;
    *wrote = gather(u, &g);
    if (!*wrote)
        return true;
    if (!db_begin(u->db, e))
        return false;
    uint64_t now = clock_mono_ms();
    bool is_due = now - u->summed_ms >= SUM_MS;
    bool ok = insert_group(u, &g, is_due, e);
    if (!ok)
        db_rollback(u->db);
    if (!ok || !db_commit(u->db, e)) {
        forget_names(u); /* ids made in this group are gone with it */
        return false;
    }
    if (is_due)
        u->summed_ms = now;
    for (unsigned i = 0; i < u->n_rings; i++) {
        let_records_go(u, &u->rings[i], g.records[i]);
        journal_let_go(u->journal, i, g.lines[i]);
    }
    free_aside(u);
    if (atomic_load_explicit(&u->is_watched, memory_order_acquire) && u->on_group)
        u->on_group(u->watch_arg);
    return true;
}

static void take_posted(struct usage_log *u)
{
    pthread_mutex_lock(&u->lock);
    if (u->first) {
        *u->taken_last = u->first;
        u->taken_last = u->last;
        u->first = NULL;
        u->last = &u->first;
    }
    pthread_mutex_unlock(&u->lock);
}

static void let_go(struct usage_log *u)
{
    unsigned n = 0;
    size_t bytes = 0;
    for (struct posted *p = u->taken, *next; p; p = next) {
        next = p->next;
        n++;
        bytes += p->bytes;
        p->work->done(p->arg);
        free(p);
    }
    u->taken = NULL;
    u->taken_last = &u->taken;
    pthread_mutex_lock(&u->lock);
    u->n_posted -= n;
    u->posted_bytes -= bytes;
    pthread_mutex_unlock(&u->lock);
}

static bool run_posted(struct usage_log *u, struct err *e)
{
    take_posted(u);
    if (!u->taken)
        return true;
    if (!db_begin(u->db, e))
        return false; /* they wait for the store */
    for (const struct posted *p = u->taken; p; p = p->next) {
        struct err why = ERR_INIT;
        if (p->work->run(p->arg, u->db, &why))
            continue;
        if (why.kind != ERR_CONFLICT && why.kind != ERR_TOO_LARGE) {
            db_rollback(u->db);
            *e = why;
            return false;
        }
        log_error(NULL, "store.refused", "error=%s", why.message); /* for ever: the others go on */
    }
    if (!db_commit(u->db, e))
        return false;
    let_go(u);
    return true;
}

static bool write_sums(struct usage_log *u, struct err *e)
{
    if (!db_begin(u->db, e))
        return false;
    if (sum_writer_flush(u->sums, e))
        return db_commit(u->db, e);
    db_rollback(u->db);
    return false;
}

/* A slice of what is due beside the records themselves: summaries of older ones, and what is kept no longer.
 * True: more is due. A failure of the store shows with the next group. */
static bool tidy(struct usage_log *u, bool is_idle)
{
    struct err e = ERR_INIT;
    struct usage_limits limits;
    if ((is_idle && sum_writer_is_pending(u->sums) && !write_sums(u, &e)) ||
        (sum_writer_is_behind(u->sums) && !sum_writer_catch_up(u->sums, &e))) {
        close_db(u); /* what was gathered is made of the records again */
        return false;
    }
    if (sum_writer_is_behind(u->sums))
        return true;
    if (block_writer_is_behind(u->blocks) &&
        (!block_writer_catch_up(u->blocks, &e) || block_writer_is_behind(u->blocks)))
        return e.kind == ERR_NONE;
    if (atomic_exchange(&u->is_tidy_due, false))
        u->retention.next_ms = 0;
    pthread_mutex_lock(&u->lock);
    limits = u->limits;
    pthread_mutex_unlock(&u->lock);
    bool has_more = retention_slice(&u->retention, u->db, u->blocks, &limits, &e);
    for (int i = 0; i < 2; i++)
        atomic_store(&u->floor_ms[i], retention_floor(&u->retention, i) / 1000);
    return has_more;
}

static bool is_hurried(const struct usage_log *u)
{
    for (unsigned i = 0; i < u->n_rings; i++)
        if (atomic_load_explicit(&u->rings[i].head, memory_order_seq_cst) -
                atomic_load_explicit(&u->rings[i].tail, memory_order_relaxed) >=
            HURRY)
            return true;
    return false;
}

/* Waits go by the clock that nobody sets: a wall clock set back would make milliseconds days. */
static void init_cond(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(c, &monotonic) != 0)
        abort();
    (void)pthread_condattr_destroy(&monotonic);
}

static void sleep_a_while(struct usage_log *u, bool is_idle)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ms = atomic_load(&u->is_degraded) ? RETRY_MS : is_idle ? IDLE_MS : GROUP_MS;
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&u->lock);
    if (is_idle) { /* only an idle writer asks to be woken; a busy one gathers a group meanwhile */
        atomic_store_explicit(&u->is_sleeping, true, memory_order_seq_cst);
        for (unsigned i = 0; i < u->n_rings; i++)
            is_idle = is_idle &&
                      atomic_load_explicit(&u->rings[i].head, memory_order_seq_cst) ==
                          atomic_load_explicit(&u->rings[i].tail, memory_order_relaxed) &&
                      journal_head(u->journal, i) == journal_tail(u->journal, i);
        is_idle = is_idle && !atomic_load_explicit(&u->aside, memory_order_seq_cst);
    }
    /* else they wait for the store: no hurry */
    bool has_more = (u->first || is_hurried(u)) && !atomic_load(&u->is_degraded);
    bool skip = atomic_load(&u->is_stopping) || has_more ||
                (atomic_load(&u->is_sleeping) && !is_idle);
    if (!skip)
        (void)pthread_cond_timedwait(&u->wake, &u->lock, &until);
    atomic_store_explicit(&u->is_sleeping, false, memory_order_seq_cst);
    pthread_mutex_unlock(&u->lock);
}

static void set_degraded(struct usage_log *u, bool is_degraded, const struct err *e)
{
    if (atomic_exchange(&u->is_degraded, is_degraded) == is_degraded)
        return;
    if (is_degraded)
        log_error(NULL, "store.degraded", "error=%s", e->message);
    else
        log_info(NULL, "store.recovered", "shed=%llu", (unsigned long long)usage_log_shed(u));
}

static void note_slow(uint64_t took_ms)
{
    if (took_ms > STALLED_MS)
        log_warn(NULL, "store.slow", "ms=%llu", (unsigned long long)took_ms);
}

static void *writer(void *arg)
{
    struct usage_log *u = arg;
    /* its waking up never takes the core from a loop; refused somewhere, it works as well */
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
    for (;;) {
        struct err e = ERR_INIT;
        bool is_last = atomic_load(&u->is_stopping), wrote = false, has_more = false;
        uint64_t began_ms = clock_mono_ms();
        atomic_store_explicit(&u->busy_since_ms, began_ms, memory_order_relaxed);
        bool ok = u->db || open_db(u, &e);
        ok = ok && write_group(u, &wrote, &e) && run_posted(u, &e);
        if (ok)
            note_slow(clock_mono_ms() - began_ms);
        set_degraded(u, !ok, &e);
        if (!ok) {
            atomic_fetch_add_explicit(&u->failures, 1, memory_order_relaxed);
            close_db(u); /* a fresh handle next time */
        } else if (!is_last) {
            has_more = tidy(u, !wrote);
        }
        if (is_last && ok && sum_writer_is_pending(u->sums))
            ok = write_sums(u, &e); /* else they are made of the records, next time */
        atomic_store_explicit(&u->busy_since_ms, 0, memory_order_relaxed);
        if (is_last)
            break;
        sleep_a_while(u, !wrote && ok && !has_more);
    }
    close_db(u);
    return NULL;
}

void usage_log_set_limits(struct usage_log *u, const struct usage_limits *limits)
{
    pthread_mutex_lock(&u->lock);
    if (memcmp(&u->limits, limits, sizeof *limits) != 0) {
        u->limits = *limits;
        pthread_cond_signal(&u->wake);
    }
    pthread_mutex_unlock(&u->lock);
}

int64_t usage_log_floor_ms(const struct usage_log *u, bool is_error)
{
    return atomic_load(&u->floor_ms[is_error]);
}

void usage_log_set_redactor(struct usage_log *u, struct redactor *r)
{
    pthread_mutex_lock(&u->lock);
    struct redactor *was = u->redactor;
    u->redactor = redactor_ref(r);
    pthread_mutex_unlock(&u->lock);
    redactor_unref(was);
}

void usage_log_on_record(struct usage_log *u,
                         void (*on_record)(void *arg, const struct usage_record *r),
                         void (*on_group)(void *arg), void *arg)
{
    u->on_record = on_record;
    u->on_group = on_group;
    u->watch_arg = arg;
}

void usage_log_watch(struct usage_log *u, bool is_watched)
{
    atomic_store_explicit(&u->is_watched, is_watched, memory_order_release);
}

void usage_log_tidy(struct usage_log *u)
{
    pthread_mutex_lock(&u->lock);
    atomic_store(&u->is_tidy_due, true);
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
}

/* One who waits for the writer; whoever comes last lets go of it. */
struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int refs;
    bool is_reached, is_done;
};

static void drop_waiting(struct waiting *w)
{
    bool is_last = --w->refs == 0;
    pthread_mutex_unlock(&w->lock);
    if (!is_last)
        return;
    pthread_cond_destroy(&w->done);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static bool on_reached(void *arg, struct db *db, struct err *e)
{
    struct waiting *w = arg;
    (void)db;
    (void)e;
    pthread_mutex_lock(&w->lock);
    w->is_reached = true;
    pthread_mutex_unlock(&w->lock);
    return true;
}

static void on_committed(void *arg)
{
    struct waiting *w = arg;
    pthread_mutex_lock(&w->lock);
    w->is_done = w->is_reached;
    pthread_cond_signal(&w->done);
    drop_waiting(w);
}

static bool wait_for_turn(struct usage_log *u, unsigned timeout_ms)
{
    struct waiting *w = calloc(1, sizeof *w);
    struct timespec until;
    if (!w)
        abort();
    pthread_mutex_init(&w->lock, NULL);
    init_cond(&w->done);
    w->refs = 2;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    static const struct usage_work work = {on_reached, on_committed};
    bool is_posted = usage_log_post(u, &work, w, sizeof *w);
    pthread_mutex_lock(&w->lock);
    if (!is_posted)
        w->refs--;
    while (is_posted && !w->is_done && pthread_cond_timedwait(&w->done, &w->lock, &until) == 0)
        ;
    bool ok = w->is_done;
    drop_waiting(w);
    return ok;
}

bool usage_log_sync(struct usage_log *u, unsigned timeout_ms)
{
    /* the writer may have looked at the rings already when the first turn comes, but not for the second */
    return wait_for_turn(u, timeout_ms) && wait_for_turn(u, timeout_ms);
}

struct usage_log *usage_log_new(const char *path, unsigned loops, const struct usage_limits *limits,
                                struct err *e)
{
    struct usage_log *u = calloc(1, sizeof *u);
    if (!u || !(u->path = strdup(path)) ||
        !(u->rings = aligned_alloc(64, sizeof *u->rings * loops)))
        abort();
    assert(loops <= MAX_RINGS);
    memset(u->rings, 0, sizeof *u->rings * loops);
    u->n_rings = loops;
    u->max_waiting = MAX_WAITING / loops > MIN_WAITING ? MAX_WAITING / loops : MIN_WAITING;
    u->last = &u->first;
    u->taken_last = &u->taken;
    u->limits = *limits;
    u->source = (struct db_source){.columns = 16, .value = fact_value, .arg = u};
    u->blocks = block_writer_new();
    u->sums = sum_writer_new();
    u->ledger = ledger_writer_new();
    map_init(&u->names);
    map_init(&u->kinds);
    pthread_mutex_init(&u->lock, NULL);
    pthread_mutex_init(&u->learning, NULL);
    init_cond(&u->wake);
    u->journal = journal_new(path, loops);
    for (unsigned i = 0; i < loops; i++)
        u->rings[i].oldest = u->rings[i].newest = new_chunk(&u->rings[i]);
    if (pthread_create(&u->thread, NULL, writer, u) == 0)
        return u;
    err_errno(e, "cannot start", "the writer thread");
    for (unsigned i = 0; i < loops; i++)
        free_ring(&u->rings[i]);
    block_writer_free(u->blocks);
    sum_writer_free(u->sums);
    ledger_writer_free(u->ledger);
    journal_free(u->journal, true);
    free(u->rings);
    free(u->path);
    free(u);
    return NULL;
}

void usage_log_free(struct usage_log *u)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    atomic_store(&u->is_stopping, true);
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
    (void)pthread_join(u->thread, NULL);
    for (unsigned i = 0; i < u->n_rings; i++)
        free_ring(&u->rings[i]);
    block_writer_free(u->blocks);
    sum_writer_free(u->sums);
    ledger_writer_free(u->ledger);
    take_aside(u);
    if (u->waiting)
        log_error(NULL, "ledger.lost", "bytes=%lld", (long long)usage_log_waiting_bytes(u));
    free_aside(u);
    bool are_written = true;
    for (unsigned i = 0; i < u->n_rings; i++)
        are_written = are_written && journal_head(u->journal, i) == journal_tail(u->journal, i);
    if (!are_written)
        log_error(NULL, journal_is_kept(u->journal) ? "ledger.left" : "ledger.lost", "db=%s",
                  u->path);
    journal_free(u->journal, are_written);
    pthread_mutex_destroy(&u->learning);
    redactor_unref(u->redactor);
    take_posted(u);
    if (u->taken) /* the store could not be reached to the end */
        log_error(NULL, "store.lost", "changes=%u", u->n_posted);
    let_go(u);
    forget_names(u);
    map_done(&u->names);
    map_done(&u->kinds);
    pthread_cond_destroy(&u->wake);
    pthread_mutex_destroy(&u->lock);
    free(u->rings);
    free(u->path);
    free(u);
}
