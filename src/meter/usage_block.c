/* usage_block.c - summaries of usage records.
 * kinds: the number of kinds, then for each, ascending, its distance to the one before and how often it stands there; all varints.
 * ids: for each kind of at most BLOCK_SPARSE records, in the same order, their ids as distances, the first from the block's first.
 * filter: 12 bits a record, 6 of them set, over a hash that does not change between processes. */
#include "meter/usage_block.h"
#include <stdlib.h>

#define FILTER_BITS 12u /* a record: 0.4 % of the blocks are looked through in vain */
#define FILTER_PROBES 6u
#define MAX_BLOB (1u << 20)

struct entry {
    int64_t id, kind;
    uint64_t hash;
};

struct block_writer {
    struct db *db;
    struct stmt *insert, *read;
    struct entry v[BLOCK_ROWS]; /* the records behind the last block, ascending */
    unsigned n;
    int64_t summed; /* the last block's last id */
    bool is_behind; /* v does not hold them */
};

/* ---- coding ---- */

static void put(struct buf *b, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        buf_char(b, (char)(v | 128));
    buf_char(b, (char)v);
}

static bool get(const unsigned char **at, const unsigned char *end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char c = *(*at)++;
        *v |= (uint64_t)(c & 127) << shift;
        if (c < 128)
            return true;
    }
    return false;
}

/* Not for tables that an attacker could fill: a clash costs one look through a block. */
static uint64_t hash(struct str s)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ s.n, w;
    while (s.n) {
        size_t n = s.n < 8 ? s.n : 8;
        w = 0;
        memcpy(&w, s.p, n);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        s = str_skip(s, n);
    }
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

static uint64_t probe(uint64_t h, unsigned i, uint64_t bits)
{
    return (h + i * (h >> 32 | 1)) % bits;
}

static void add_filter(struct buf *b, const struct entry *v, unsigned n)
{
    size_t bytes = ((size_t)n * FILTER_BITS + 7) / 8;
    if (!buf_reserve(b, bytes))
        return;
    unsigned char *p = memset(b->p + b->n, 0, bytes);
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < FILTER_PROBES; k++) {
            uint64_t bit = probe(v[i].hash, k, bytes * 8);
            p[bit / 8] |= (unsigned char)(1u << (bit & 7));
        }
    b->n += bytes;
}

bool block_may_hold(struct str filter, struct str request_id)
{
    uint64_t h = hash(request_id);
    for (unsigned k = 0; k < FILTER_PROBES && filter.n; k++) {
        uint64_t bit = probe(h, k, filter.n * 8);
        if (!((unsigned char)filter.p[bit / 8] >> (bit & 7) & 1))
            return false;
    }
    return filter.n > 0;
}

void block_kinds_init(struct block_kinds *k, struct str kinds)
{
    k->at = (const unsigned char *)kinds.p;
    k->end = k->at + kinds.n;
    k->kind = 0;
    if (!get(&k->at, k->end, &k->left))
        k->left = 0;
}

bool block_kinds_next(struct block_kinds *k, int64_t *kind, int64_t *n)
{
    uint64_t step, count;
    if (k->left == 0 || !get(&k->at, k->end, &step) || !get(&k->at, k->end, &count))
        return false;
    k->left--;
    k->kind += step;
    *kind = (int64_t)k->kind;
    *n = (int64_t)count;
    return true;
}

/* Nearly all numbers are below 128. */
static inline bool get_fast(const unsigned char **at, const unsigned char *end, uint64_t *v)
{
    if (*at < end && **at < 128) {
        *v = *(*at)++;
        return true;
    }
    return get(at, end, v);
}

int64_t block_count(struct str kinds, const unsigned char *bits, int64_t n_bits, bool *is_sparse)
{
    const unsigned char *at = (const unsigned char *)kinds.p, *end = at + kinds.n;
    uint64_t left = 0, kind = 0, step = 0, n = 0, found = 0;
    *is_sparse = true;
    if (!get_fast(&at, end, &left))
        return 0;
    for (; left > 0 && get_fast(&at, end, &step) && get_fast(&at, end, &n); left--) {
        kind += step;
        if (kind >= (uint64_t)n_bits || !(bits[kind / 8] >> (kind & 7) & 1))
            continue;
        found += n;
        *is_sparse &= n <= BLOCK_SPARSE;
    }
    return (int64_t)found;
}

size_t block_ids(struct str kinds, struct str ids, int64_t first,
                 bool (*is_wanted)(void *arg, int64_t kind), void *arg, int64_t *out, size_t max)
{
    struct block_kinds k;
    int64_t kind, n;
    size_t found = 0;
    const unsigned char *at = (const unsigned char *)ids.p, *end = at + ids.n;
    block_kinds_init(&k, kinds);
    while (block_kinds_next(&k, &kind, &n)) {
        if (n > BLOCK_SPARSE)
            continue;
        bool wanted = is_wanted(arg, kind);
        int64_t id = first;
        for (int64_t i = 0; i < n; i++) {
            uint64_t step;
            if (!get(&at, end, &step))
                return found;
            id += (int64_t)step;
            if (wanted && found < max)
                out[found++] = id;
        }
    }
    return found;
}

static int by_kind(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* v ascending by id; reorders it. */
static bool insert_block(struct stmt *s, struct entry *v, unsigned n, struct err *e)
{
    struct buf kinds, filter, ids, pairs;
    int64_t first = v[0].id, last = v[n - 1].id;
    uint64_t n_kinds = 0, before = 0;
    buf_init(&kinds, MAX_BLOB);
    buf_init(&pairs, MAX_BLOB);
    buf_init(&filter, MAX_BLOB);
    buf_init(&ids, MAX_BLOB);
    add_filter(&filter, v, n);
    qsort(v, n, sizeof v[0], by_kind);
    for (unsigned i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && v[next].kind == v[i].kind;)
            next++;
        n_kinds++;
        put(&pairs, (uint64_t)v[i].kind - before);
        put(&pairs, next - i);
        before = (uint64_t)v[i].kind;
        int64_t at = first;
        for (unsigned k = i; k < next && next - i <= BLOCK_SPARSE; k++) {
            put(&ids, (uint64_t)(v[k].id - at));
            at = v[k].id;
        }
    }
    put(&kinds, n_kinds);
    buf_str_add(&kinds, buf_str(&pairs));
    stmt_bind_int(s, 1, last);
    stmt_bind_int(s, 2, first);
    stmt_bind_int(s, 3, n);
    stmt_bind_blob(s, 4, kinds.p, kinds.n);
    stmt_bind_blob(s, 5, filter.p, filter.n);
    stmt_bind_blob(s, 6, ids.p ? ids.p : "", ids.n);
    bool ok = stmt_run(s, e);
    buf_done(&kinds);
    buf_done(&pairs);
    buf_done(&filter);
    buf_done(&ids);
    return ok;
}

#define INSERT "INSERT INTO usage_block(last,first,n,kinds,filter,ids) VALUES(?1,?2,?3,?4,?5,?6)"
#define READ                                                                   \
    "SELECT id, kind, request_id FROM usage_fact WHERE id >= ?1 AND id <= ?2 " \
    "ORDER BY id LIMIT ?3"

/* Fills v with the records from id `from` to `to`. */
static bool read_entries(struct stmt *s, int64_t from, int64_t to, struct entry *v, unsigned *n,
                         struct err *e)
{
    *n = 0;
    stmt_bind_int(s, 1, from);
    stmt_bind_int(s, 2, to);
    stmt_bind_int(s, 3, BLOCK_ROWS);
    while (*n < BLOCK_ROWS && stmt_step(s, e))
        v[(*n)++] = (struct entry){stmt_int(s, 0), stmt_int(s, 1), hash(stmt_str(s, 2))};
    stmt_reset(s);
    return e->kind == ERR_NONE;
}

/* ---- the writer ---- */

struct block_writer *block_writer_new(void)
{
    struct block_writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->is_behind = true;
    return w;
}

void block_writer_close(struct block_writer *w)
{
    stmt_free(w->insert);
    stmt_free(w->read);
    w->insert = w->read = NULL;
    w->db = NULL;
}

void block_writer_free(struct block_writer *w)
{
    if (!w)
        return;
    block_writer_close(w);
    free(w);
}

bool block_writer_open(struct block_writer *w, struct db *db, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT coalesce(max(last), 0) FROM usage_block", e);
    w->db = db;
    w->n = 0;
    w->is_behind = true;
    bool ok = s && stmt_step(s, e) && (w->insert = db_prepare(db, INSERT, e)) &&
              (w->read = db_prepare(db, READ, e));
    if (ok)
        w->summed = stmt_int(s, 0);
    stmt_free(s);
    if (!ok)
        block_writer_close(w);
    return ok;
}

static bool finish_block(struct block_writer *w, struct err *e)
{
    int64_t last = w->v[w->n - 1].id;
    if (!insert_block(w->insert, w->v, w->n, e))
        return false;
    w->summed = last;
    w->n = 0;
    return true;
}

bool block_writer_add(struct block_writer *w, int64_t id, int64_t kind, struct str request_id,
                      struct err *e)
{
    if (w->is_behind)
        return true; /* read from the store once its turn comes */
    w->v[w->n++] = (struct entry){id, kind, hash(request_id)};
    return w->n < BLOCK_ROWS || finish_block(w, e);
}

bool block_writer_is_behind(const struct block_writer *w)
{
    return w->is_behind;
}

bool block_writer_catch_up(struct block_writer *w, struct err *e)
{
    if (!read_entries(w->read, w->summed + 1, INT64_MAX, w->v, &w->n, e))
        return false;
    if (w->n < BLOCK_ROWS) {
        w->is_behind = false;
        return true;
    }
    if (!db_begin(w->db, e))
        return false;
    if (!finish_block(w, e)) {
        db_rollback(w->db);
        return false;
    }
    return db_commit(w->db, e);
}

void block_writer_forget_tail(struct block_writer *w)
{
    w->n = 0;
    w->is_behind = true;
}

bool block_rewrite(struct db *db, int64_t first, int64_t last, struct err *e)
{
    unsigned n;
    struct entry *v = malloc(sizeof *v * BLOCK_ROWS);
    if (!v)
        abort();
    struct stmt *del = db_prepare(db, "DELETE FROM usage_block WHERE last = ?1", e);
    struct stmt *insert = del ? db_prepare(db, INSERT, e) : NULL;
    struct stmt *read = insert ? db_prepare(db, READ, e) : NULL;
    bool ok = read && read_entries(read, first, last, v, &n, e);
    if (ok) {
        stmt_bind_int(del, 1, last);
        ok = stmt_run(del, e) && (n == 0 || insert_block(insert, v, n, e));
    }
    stmt_free(del);
    stmt_free(insert);
    stmt_free(read);
    free(v);
    return ok;
}
