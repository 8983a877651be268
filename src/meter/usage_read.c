/* usage_read.c - what a filter asks for is mostly a property of the kind of a record: it becomes a set of kinds first, then the
 * block summaries say where records of these kinds stand. */
#include "meter/usage_read.h"
#include "base/map.h"
#include "meter/usage_block.h"
#include <stdlib.h>

struct usage_reader {
    struct arena *arena;
    struct db *db;
    struct usage_filter f;
    int64_t from, to;     /* ids */
    unsigned char *kinds; /* bits; NULL: all */
    int64_t n_kinds;
    int64_t tail; /* records up to here are in blocks */
    struct stmt *blocks, *rows, *row;
    struct usage_seen seen;
    bool has_begun;
};

/* ---- the set of kinds ---- */

struct wanted_name {
    struct str text;
    int column; /* of the SELECT below */
    int64_t id; /* -1: no such name */
};

static bool find_name(struct db *db, struct str text, int64_t *id, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT id FROM name WHERE text = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, text);
    *id = stmt_step(s, e) ? stmt_int(s, 0) : -1;
    stmt_free(s);
    return e->kind == ERR_NONE;
}

/* Sets a bit for each name that holds text. LIKE folds the case of ASCII letters. */
static bool names_with(struct usage_reader *r, unsigned char **bits, int64_t *n, struct err *e)
{
    struct buf like;
    buf_init_arena(&like, r->arena, 4096);
    buf_char(&like, '%');
    for (size_t i = 0; i < r->f.text.n; i++) {
        if (strchr("%_\\", r->f.text.p[i]))
            buf_char(&like, '\\');
        buf_char(&like, r->f.text.p[i]);
    }
    buf_char(&like, '%');
    if (buf_failed(&like))
        return err_set(e, ERR_INPUT, "invalid_query", "The text to look for is too long");
    struct stmt *s = db_prepare(r->db, "SELECT coalesce(max(id), 0) FROM name", e);
    if (!s || !stmt_step(s, e)) {
        stmt_free(s);
        return false;
    }
    *n = stmt_int(s, 0) + 1;
    stmt_free(s);
    *bits = arena_zalloc(r->arena, (size_t)*n / 8 + 1);
    if (!(s = db_prepare(r->db, "SELECT id FROM name WHERE text LIKE ?1 ESCAPE '\\'", e)))
        return false;
    stmt_bind_str(s, 1, buf_str(&like));
    while (stmt_step(s, e)) {
        int64_t id = stmt_int(s, 0);
        if (id >= 0 && id < *n)
            (*bits)[id / 8] |= (unsigned char)(1u << (id & 7));
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

static bool has_bit(const unsigned char *bits, int64_t n, int64_t i)
{
    return i >= 0 && i < n && (bits[i / 8] >> (i & 7) & 1);
}

enum {
    K_ID,
    K_KEY,
    K_MODEL,
    K_UPSTREAM,
    K_UPSTREAM_MODEL,
    K_OP,
    K_CLIENT,
    K_UP,
    K_ERROR,
    K_STATUS,
    K_STREAM
};
#define KINDS                                                                       \
    "SELECT id,key,model,upstream,upstream_model,op,client_format,upstream_format," \
    "error_code,status,is_stream FROM usage_kind"

static bool is_among(int64_t id, const int64_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] == id)
            return true;
    return false;
}

static bool choose_kinds(struct usage_reader *r, struct err *e)
{
    const struct usage_filter *f = &r->f;
    struct wanted_name want[] = {
        {f->model, K_MODEL, 0},          {f->upstream, K_UPSTREAM, 0},  {f->op, K_OP, 0},
        {f->client_format, K_CLIENT, 0}, {f->upstream_format, K_UP, 0}, {f->error, K_ERROR, 0}};
    unsigned char *named = NULL;
    int64_t n_named = 0, *keys = ARENA_ARRAY(r->arena, int64_t, f->n_keys + 1),
            *upstreams = ARENA_ARRAY(r->arena, int64_t, f->n_upstreams + 1),
            *models = ARENA_ARRAY(r->arena, int64_t, f->n_models + 1),
            *text_keys = ARENA_ARRAY(r->arena, int64_t, f->n_text_keys + 1), model = 0;
    bool any = f->status_min || f->status_max || f->is_stream || f->has_keys || f->text.n ||
               f->has_upstreams || f->has_models || f->any_model.n;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        any |= want[i].text.n > 0;
        if (want[i].text.n && !find_name(r->db, want[i].text, &want[i].id, e))
            return false;
    }
    if (!any)
        return true;
    for (size_t i = 0; i < f->n_keys; i++) /* no text: callers without a key */
        if (f->keys[i].n && !find_name(r->db, f->keys[i], &keys[i], e))
            return false;
    for (size_t i = 0; i < f->n_upstreams; i++)
        if (!find_name(r->db, f->upstreams[i], &upstreams[i], e))
            return false;
    for (size_t i = 0; i < f->n_models; i++)
        if (!find_name(r->db, f->models[i], &models[i], e))
            return false;
    if (f->any_model.n && !find_name(r->db, f->any_model, &model, e))
        return false;
    if (f->text.n && !names_with(r, &named, &n_named, e))
        return false;
    for (size_t i = 0; i < f->n_text_keys; i++)
        if (!find_name(r->db, f->text_keys[i], &text_keys[i], e))
            return false;
    struct stmt *s = db_prepare(r->db, "SELECT coalesce(max(id), 0) FROM usage_kind", e);
    if (!s || !stmt_step(s, e)) {
        stmt_free(s);
        return false;
    }
    r->n_kinds = stmt_int(s, 0) + 1;
    stmt_free(s);
    r->kinds = arena_zalloc(r->arena, (size_t)r->n_kinds / 8 + 1);
    if (!(s = db_prepare(r->db, KINDS, e)))
        return false;
    while (stmt_step(s, e)) {
        int64_t id = stmt_int(s, K_ID), status = stmt_int(s, K_STATUS);
        bool fits = (!f->status_min || status >= f->status_min) &&
                    (!f->status_max || status <= f->status_max) &&
                    (!f->is_stream || (stmt_int(s, K_STREAM) != 0) == *f->is_stream);
        for (size_t i = 0; fits && i < ARRAY_LEN(want); i++)
            fits = want[i].text.n == 0 || stmt_int(s, want[i].column) == want[i].id;
        if (fits && f->has_keys)
            fits = is_among(stmt_int(s, K_KEY), keys, f->n_keys);
        if (fits && f->has_upstreams)
            fits = is_among(stmt_int(s, K_UPSTREAM), upstreams, f->n_upstreams);
        if (fits && f->has_models)
            fits = is_among(stmt_int(s, K_MODEL), models, f->n_models);
        if (fits && f->any_model.n)
            fits = stmt_int(s, K_MODEL) == model || stmt_int(s, K_UPSTREAM_MODEL) == model;
        if (fits && f->text.n)
            fits = has_bit(named, n_named, stmt_int(s, K_MODEL)) ||
                   has_bit(named, n_named, stmt_int(s, K_UPSTREAM)) ||
                   has_bit(named, n_named, stmt_int(s, K_UPSTREAM_MODEL)) ||
                   has_bit(named, n_named, stmt_int(s, K_KEY)) ||
                   is_among(stmt_int(s, K_KEY), text_keys, f->n_text_keys) ||
                   has_bit(named, n_named, stmt_int(s, K_ERROR));
        if (fits && id < r->n_kinds)
            r->kinds[id / 8] |= (unsigned char)(1u << (id & 7));
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

static bool is_wanted(void *arg, int64_t kind)
{
    const struct usage_reader *r = arg;
    return !r->kinds || has_bit(r->kinds, r->n_kinds, kind);
}

/* ---- the view ---- */

#define TEXTS                                                                               \
    "coalesce(kn.text,''),coalesce(mn.text,''),coalesce(un.text,''),coalesce(umn.text,'')," \
    "coalesce(onn.text,''),coalesce(cn.text,''),coalesce(ufn.text,''),coalesce(en.text,'')"
#define ROW                                                                                     \
    "SELECT f.request_id,f.attempts,k.status,k.is_stream,k.quality,k.stop,f.input_total,"       \
    "f.cache_read,f.cache_write,f.output_total,f.reasoning,f.audio_in,f.audio_out,f.ttft_us,"   \
    "f.duration_us,f.bytes_in,f.bytes_out,coalesce(d.text,'')," TEXTS ",l.amount"               \
    " FROM usage_fact f JOIN usage_kind k ON k.id=f.kind LEFT JOIN usage_detail d ON d.id=f.id" \
    " LEFT JOIN name kn ON kn.id=k.key LEFT JOIN name mn ON mn.id=k.model"                      \
    " LEFT JOIN name un ON un.id=k.upstream LEFT JOIN name umn ON umn.id=k.upstream_model"      \
    " LEFT JOIN name onn ON onn.id=k.op LEFT JOIN name cn ON cn.id=k.client_format"             \
    " LEFT JOIN name ufn ON ufn.id=k.upstream_format LEFT JOIN name en ON en.id=k.error_code"   \
    " LEFT JOIN ledger l ON l.id=f.ledger"                                                      \
    " WHERE f.id=?1"

static bool begin(struct usage_reader *r, struct err *e)
{
    /* the summaries of a large log do not fit the usual cache */
    /* one snapshot for all statements */
    if (!db_exec(r->db, "PRAGMA mmap_size=1073741824", e) || !db_exec(r->db, "BEGIN", e))
        return false;
    r->has_begun = true;
    struct stmt *s = db_prepare(r->db,
                                "SELECT cleared, (SELECT coalesce(max(last), 0) FROM usage_block) "
                                "FROM usage_state",
                                e);
    bool ok = s && stmt_step(s, e);
    int64_t cleared = ok ? stmt_int(s, 0) : 0;
    if (ok)
        r->tail = stmt_int(s, 1);
    stmt_free(s);
    const struct usage_filter *f = &r->f;
    r->from = f->from_ms > 0 && f->from_ms < INT64_MAX / 1000 ? f->from_ms * 1000 : 0;
    r->to = f->to_ms > 0 && f->to_ms < INT64_MAX / 1000 - 1 ? f->to_ms * 1000 + 999 : INT64_MAX - 1;
    if (r->from <= cleared)
        r->from = cleared + 1;
    return ok;
}

#define BLOCKS                                                            \
    "SELECT first, last, n, kinds, filter, ids FROM usage_block "         \
    "WHERE last >= ?1 AND last <= "                                       \
    "coalesce((SELECT min(last) FROM usage_block WHERE last >= ?2), ?2) " \
    "AND first <= ?2 "
#define ROWS "SELECT id, kind FROM usage_fact WHERE id >= ?1 AND id <= ?2 "

struct usage_reader *usage_reader_new(struct arena *a, struct db *db, const struct usage_filter *f,
                                      struct err *e)
{
    struct usage_reader *r = ARENA_NEW(a, struct usage_reader);
    r->arena = a;
    r->db = db;
    r->f = *f;
    r->blocks = db_prepare(
        db, f->oldest_first ? BLOCKS "ORDER BY last" : BLOCKS "ORDER BY last DESC", e);
    if (r->blocks)
        r->rows = db_prepare(db, f->oldest_first ? ROWS "ORDER BY id" : ROWS "ORDER BY id DESC", e);
    r->row = r->rows ? db_prepare(db, ROW, e) : NULL;
    if (r->row && begin(r, e) && choose_kinds(r, e))
        return r;
    usage_reader_free(r);
    return NULL;
}

void usage_reader_free(struct usage_reader *r)
{
    if (!r)
        return;
    stmt_free(r->blocks);
    stmt_free(r->rows);
    stmt_free(r->row);
    if (r->has_begun)
        db_rollback(r->db); /* nothing was written */
    r->blocks = r->rows = r->row = NULL;
    r->has_begun = false;
}

const struct usage_seen *usage_reader_seen(const struct usage_reader *r)
{
    return &r->seen;
}

/* ---- walking ---- */

struct walk {
    struct usage_reader *r;
    int64_t low, high;   /* ids */
    int64_t skip, found; /* left to leave out; seen */
    int64_t *ids;
    size_t max, n; /* max 0: counting only */
};

static bool is_full(const struct walk *w)
{
    return w->max > 0 && w->n == w->max;
}

static void take(struct walk *w, int64_t id)
{
    w->found++;
    if (w->skip > 0)
        w->skip--;
    else if (w->n < w->max)
        w->ids[w->n++] = id;
}

/* Looks through the records themselves. */
static bool walk_rows(struct walk *w, int64_t low, int64_t high, struct err *e)
{
    struct usage_reader *r = w->r;
    if (low > high)
        return true;
    stmt_bind_int(r->rows, 1, low);
    stmt_bind_int(r->rows, 2, high);
    while (!is_full(w) && stmt_step(r->rows, e)) {
        r->seen.rows++;
        if (is_wanted(r, stmt_int(r->rows, 1)))
            take(w, stmt_int(r->rows, 0));
    }
    stmt_reset(r->rows);
    return e->kind == ERR_NONE;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int descending(const void *a, const void *b)
{
    return ascending(b, a);
}

static bool walk_block(struct walk *w, struct err *e)
{
    struct usage_reader *r = w->r;
    struct stmt *s = r->blocks;
    int64_t first = stmt_int(s, 0), last = stmt_int(s, 1), matching = stmt_int(s, 2);
    bool is_sparse = false;
    struct str kinds = STR_NONE;
    r->seen.blocks++;
    if (r->kinds) {
        kinds = stmt_blob(s, 3);
        matching = block_count(kinds, r->kinds, r->n_kinds, &is_sparse);
    }
    if (matching == 0)
        return true;
    bool is_whole = first >= w->low && last <= w->high;
    if (is_whole && (w->max == 0 || w->skip >= matching)) {
        w->found += matching;
        w->skip -= w->max == 0 ? 0 : matching;
        return true;
    }
    int64_t ids[BLOCK_ROWS];
    if (!is_sparse || matching > (int64_t)ARRAY_LEN(ids))
        return walk_rows(w, first > w->low ? first : w->low, last < w->high ? last : w->high, e);
    size_t got = block_ids(kinds, stmt_blob(s, 5), first, is_wanted, r, ids, ARRAY_LEN(ids));
    qsort(ids, got, sizeof ids[0], r->f.oldest_first ? ascending : descending);
    for (size_t i = 0; i < got && !is_full(w); i++)
        if (ids[i] >= w->low && ids[i] <= w->high)
            take(w, ids[i]);
    return true;
}

/* What came after the newest block. */
static bool walk_tail(struct walk *w, struct err *e)
{
    int64_t tail = w->r->tail + 1;
    return walk_rows(w, tail > w->low ? tail : w->low, w->high, e);
}

static bool walk(struct walk *w, struct err *e)
{
    struct usage_reader *r = w->r;
    if (!r->f.oldest_first && !walk_tail(w, e))
        return false;
    stmt_bind_int(r->blocks, 1, w->low);
    stmt_bind_int(r->blocks, 2, w->high);
    while (!is_full(w) && stmt_step(r->blocks, e) && walk_block(w, e))
        ;
    stmt_reset(r->blocks);
    return e->kind == ERR_NONE && (!r->f.oldest_first || walk_tail(w, e));
}

/* ---- one request id ---- */

static bool scan_for(struct walk *w, struct stmt *scan, int64_t first, int64_t last, struct err *e)
{
    stmt_bind_int(scan, 1, first > w->low ? first : w->low);
    stmt_bind_int(scan, 2, last < w->high ? last : w->high);
    stmt_bind_str(scan, 3, w->r->f.request_id);
    while (!is_full(w) && stmt_step(scan, e))
        if (is_wanted(w->r, stmt_int(scan, 1)))
            take(w, stmt_int(scan, 0));
    stmt_reset(scan);
    return e->kind == ERR_NONE;
}

static bool walk_request(struct walk *w, struct err *e)
{
    struct usage_reader *r = w->r;
    bool up = r->f.oldest_first;
    struct stmt *scan = db_prepare(r->db,
                                   up ? ROWS "AND request_id = ?3 ORDER BY id"
                                      : ROWS "AND request_id = ?3 ORDER BY id DESC",
                                   e);
    bool ok = scan && (up || scan_for(w, scan, r->tail + 1, w->high, e));
    stmt_bind_int(r->blocks, 1, w->low);
    stmt_bind_int(r->blocks, 2, w->high);
    while (ok && !is_full(w) && stmt_step(r->blocks, e)) {
        r->seen.blocks++;
        if (!block_may_hold(stmt_blob(r->blocks, 4), r->f.request_id))
            continue;
        r->seen.rows += stmt_int(r->blocks, 2);
        ok = scan_for(w, scan, stmt_int(r->blocks, 0), stmt_int(r->blocks, 1), e);
    }
    stmt_reset(r->blocks);
    ok = ok && e->kind == ERR_NONE && (!up || scan_for(w, scan, r->tail + 1, w->high, e));
    stmt_free(scan);
    return ok;
}

bool usage_read_ids(struct usage_reader *r, int64_t beyond, int64_t skip, int64_t *ids, size_t max,
                    size_t *n, struct err *e)
{
    struct walk w = {r, r->from, r->to, skip, 0, ids, max, 0};
    if (beyond > 0 && r->f.oldest_first)
        w.low = beyond + 1 > w.low ? beyond + 1 : w.low;
    else if (beyond > 0)
        w.high = beyond - 1 < w.high ? beyond - 1 : w.high;
    bool ok = max == 0 || (r->f.request_id.n ? walk_request(&w, e) : walk(&w, e));
    *n = w.n;
    return ok;
}

bool usage_read_count(struct usage_reader *r, int64_t *n, struct err *e)
{
    struct walk w = {.r = r, .low = r->from, .high = r->to};
    bool ok = r->f.request_id.n ? walk_request(&w, e) : walk(&w, e);
    *n = w.found;
    return ok;
}

/* ---- rows ---- */

bool usage_read_row(struct usage_reader *r, int64_t id, struct usage_row *out, struct err *e)
{
    struct stmt *s = r->row;
    *out = (struct usage_row){.seq = id, .end_ms = id / 1000};
    stmt_bind_int(s, 1, id);
    if (!stmt_step(s, e)) {
        stmt_reset(s);
        return e->kind == ERR_NONE &&
               err_set(e, ERR_NOT_FOUND, "not_found", "No such request in the log");
    }
    int64_t *known[] = {&out->input_total, &out->cache_read, &out->cache_write, &out->output_total,
                        &out->reasoning,   &out->audio_in,   &out->audio_out,   &out->ttft_us,
                        &out->duration_us, &out->bytes_in,   &out->bytes_out};
    struct str *texts[] = {
        &out->detail,         &out->key, &out->model,         &out->upstream,
        &out->upstream_model, &out->op,  &out->client_format, &out->upstream_format,
        &out->error};
    out->request_id = str_dup(r->arena, stmt_str(s, 0));
    out->attempts = stmt_int(s, 1);
    out->status = (int)stmt_int(s, 2);
    out->is_stream = stmt_int(s, 3) != 0;
    out->quality = (int)stmt_int(s, 4);
    out->stop = (int)stmt_int(s, 5);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        *known[i] = stmt_is_null(s, (int)i + 6) ? -1 : stmt_int(s, (int)i + 6);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(r->arena, stmt_str(s, (int)i + 17));
    out->cost_nanousd = stmt_is_null(s, 26) ? -1 : stmt_int(s, 26);
    stmt_reset(s);
    return true;
}

bool usage_find(struct arena *a, struct db *db, struct str request_id, struct usage_row *out,
                struct err *e)
{
    struct usage_filter f = {.request_id = request_id};
    int64_t id = 0;
    size_t n = 0;
    struct usage_reader *r = usage_reader_new(a, db, &f, e);
    if (!r)
        return false;
    bool ok = usage_read_ids(r, 0, 0, &id, 1, &n, e);
    if (ok && n == 0 && str_to_int(request_id, &id) && id >= r->from)
        n = 1;
    ok = ok && (n ? usage_read_row(r, id, out, e)
                  : err_set(e, ERR_NOT_FOUND, "not_found", "No request '" STR_FMT "' in the log",
                            STR_ARG(str_first(request_id, 100))));
    usage_reader_free(r);
    return ok;
}

/* The first column of each row. */
static bool read_texts(struct arena *a, struct db *db, const char *sql, struct str **out, size_t *n,
                       struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    size_t cap = 0;
    *out = NULL;
    *n = 0;
    if (!s)
        return false;
    while (stmt_step(s, e)) {
        if (*n == cap) {
            *out = arena_realloc(a, *out, cap * sizeof **out, (cap * 2 + 16) * sizeof **out);
            cap = cap * 2 + 16;
        }
        (*out)[(*n)++] = str_dup(a, stmt_str(s, 0));
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool usage_read_keys(struct arena *a, struct db *db, struct str **keys, size_t *n, struct err *e)
{
    return read_texts(
        a, db,
        "SELECT DISTINCT coalesce(n.text, '') FROM usage_kind k LEFT JOIN name n ON n.id = k.key",
        keys, n, e);
}

bool usage_read_models(struct arena *a, struct db *db, struct str **models, size_t *n,
                       struct err *e)
{
    return read_texts(a, db,
                      "SELECT DISTINCT n.text FROM usage_kind k JOIN name n ON n.id = k.model",
                      models, n, e);
}
