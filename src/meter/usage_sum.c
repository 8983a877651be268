/* usage_sum.c - the sums of one minute are gathered by kind, then added to the rows of its minute, hour and day. How far they reach is
 * written in the same transaction: after a crash the records behind that are read again. */
#include "meter/usage_sum.h"
#include <stdio.h>
#include <stdlib.h>

#define SLICE 4096 /* records of one catching up */

const int64_t usage_span_us[SPAN_N] = {60000000, 3600000000, 86400000000};
const int64_t usage_span_kept[SPAN_N] = {120, 24 * 8, 0};

#define N_FIGURES (sizeof(struct usage_figures) / sizeof(int64_t))
#define COLUMNS                                                                            \
    "n,last,input_total,cache_read,cache_write,output_total,reasoning,audio_in,audio_out," \
    "ttft_n,ttft_us,duration_us,retried,bytes_in,bytes_out"
_Static_assert(N_FIGURES == 15, "COLUMNS are its members in their order");

struct gathered {
    int64_t kind;
    struct usage_figures f;
};
struct sum_writer {
    struct db *db;
    struct stmt *add, *reach, *drop, *read;
    struct gathered *v; /* of one minute */
    size_t n, cap;
    uint32_t *slots; /* kind -> place in v + 1 */
    size_t n_slots;
    int64_t minute, up_to, pruned; /* pruned: minute in which it was done last */
    bool is_behind;
};

/* All but `last` are sums, and what is unknown counts as nothing. */
void usage_figures_add(struct usage_figures *to, const struct usage_figures *f)
{
    int64_t last = to->last > f->last ? to->last : f->last, a[N_FIGURES], b[N_FIGURES];
    memcpy(a, to, sizeof a);
    memcpy(b, f, sizeof b);
    for (size_t i = 0; i < N_FIGURES; i++)
        a[i] += b[i] > 0 ? b[i] : 0;
    memcpy(to, a, sizeof a);
    to->last = last;
}

/* ---- writing ---- */

struct sum_writer *sum_writer_new(void)
{
    struct sum_writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    return w;
}

void sum_writer_free(struct sum_writer *w)
{
    if (!w)
        return;
    sum_writer_close(w);
    free(w->v);
    free(w->slots);
    free(w);
}

static void forget(struct sum_writer *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->slots[w->v[i].kind] = 0;
    w->n = 0;
}

void sum_writer_close(struct sum_writer *w)
{
    struct stmt **all[] = {&w->add, &w->reach, &w->drop, &w->read};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        stmt_free(*all[i]);
        *all[i] = NULL;
    }
    w->db = NULL;
    forget(w);
}

static bool query_int(struct db *db, const char *sql, int64_t *n, struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    bool ok = s && stmt_step(s, e);
    if (ok)
        *n = stmt_int(s, 0);
    stmt_free(s);
    return ok;
}

#define ADD(column) "," column "=" column "+excluded." column
/* clang-format off */
#define ADD_ROW "INSERT INTO usage_sum(span,at,kind," COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)" \
    " ON CONFLICT (span,at,kind) DO UPDATE SET last=max(last,excluded.last)" ADD("n") ADD("input_total") ADD("cache_read") \
    ADD("cache_write") ADD("output_total") ADD("reasoning") ADD("audio_in") ADD("audio_out") ADD("ttft_n") ADD("ttft_us") \
    ADD("duration_us") ADD("retried") ADD("bytes_in") ADD("bytes_out")
/* clang-format on */
bool sum_writer_open(struct sum_writer *w, struct db *db, struct err *e)
{
    int64_t newest;
    sum_writer_close(w);
    w->db = db;
    w->add = db_prepare(db, ADD_ROW, e);
    w->reach = w->add ? db_prepare(db, "UPDATE usage_sum_state SET up_to=?1", e) : NULL;
    w->drop = w->reach ? db_prepare(db, "DELETE FROM usage_sum WHERE span=?1 AND at<?2", e) : NULL;
    w->read = w->drop ? db_prepare(db,
                                   "SELECT id,kind,input_total,cache_read,cache_write,output_total,"
                                   "reasoning,audio_in,audio_out,ttft_us,duration_us,attempts,"
                                   "bytes_in,bytes_out FROM usage_fact WHERE id>?1 ORDER BY id "
                                   "LIMIT ?2",
                                   e)
                      : NULL;
    bool ok = w->read && query_int(db, "SELECT up_to FROM usage_sum_state", &w->up_to, e) &&
              query_int(db, "SELECT coalesce(max(id),0) FROM usage_fact", &newest, e);
    if (!ok)
        return false;
    w->is_behind = newest > w->up_to;
    return true;
}

static struct usage_figures *slot(struct sum_writer *w, int64_t kind)
{
    if ((size_t)kind >= w->n_slots) {
        size_t n = (size_t)kind * 2 + 64;
        if (!(w->slots = realloc(w->slots, n * sizeof *w->slots)))
            abort();
        memset(w->slots + w->n_slots, 0, (n - w->n_slots) * sizeof *w->slots);
        w->n_slots = n;
    }
    if (w->slots[kind])
        return &w->v[w->slots[kind] - 1].f;
    if (w->n == w->cap) {
        w->cap = w->cap * 2 + 64;
        if (!(w->v = realloc(w->v, w->cap * sizeof *w->v)))
            abort();
    }
    w->v[w->n] = (struct gathered){.kind = kind};
    w->slots[kind] = (uint32_t)++w->n;
    return &w->v[w->n - 1].f;
}

static bool gather(struct sum_writer *w, int64_t kind, const struct usage_figures *f, struct err *e)
{
    int64_t minute = f->last / usage_span_us[SPAN_MINUTE];
    if (kind < 0 || kind > INT32_MAX) /* no id that we gave */
        return true;
    if (w->n && minute != w->minute && !sum_writer_flush(w, e))
        return false;
    w->minute = minute;
    usage_figures_add(slot(w, kind), f);
    w->up_to = f->last;
    return true;
}

bool sum_writer_add(struct sum_writer *w, int64_t kind, const struct usage_figures *f,
                    struct err *e)
{
    return w->is_behind || gather(w, kind, f, e); /* its turn comes with the others behind */
}

bool sum_writer_is_pending(const struct sum_writer *w)
{
    return w->n > 0;
}

static bool add_row(struct sum_writer *w, enum usage_span span, const struct gathered *g,
                    struct err *e)
{
    int64_t v[N_FIGURES];
    memcpy(v, &g->f, sizeof v);
    stmt_bind_int(w->add, 1, span);
    stmt_bind_int(w->add, 2, w->minute * usage_span_us[SPAN_MINUTE] / usage_span_us[span]);
    stmt_bind_int(w->add, 3, g->kind);
    for (size_t i = 0; i < N_FIGURES; i++)
        stmt_bind_int(w->add, (int)i + 4, v[i]);
    return stmt_run(w->add, e);
}

static bool prune(struct sum_writer *w, struct err *e)
{
    for (int span = SPAN_MINUTE; span < SPAN_DAY; span++) {
        int64_t now = w->minute * usage_span_us[SPAN_MINUTE] / usage_span_us[span];
        stmt_bind_int(w->drop, 1, span);
        stmt_bind_int(w->drop, 2, now - usage_span_kept[span]);
        if (!stmt_run(w->drop, e))
            return false;
    }
    w->pruned = w->minute;
    return true;
}

bool sum_writer_flush(struct sum_writer *w, struct err *e)
{
    if (w->n == 0)
        return true;
    for (int span = SPAN_MINUTE; span < SPAN_N; span++)
        for (size_t i = 0; i < w->n; i++)
            if (!add_row(w, (enum usage_span)span, &w->v[i], e))
                return false;
    stmt_bind_int(w->reach, 1, w->up_to);
    if (!stmt_run(w->reach, e) || (w->pruned != w->minute && !prune(w, e)))
        return false;
    forget(w);
    return true;
}

bool sum_writer_is_behind(const struct sum_writer *w)
{
    return w->is_behind;
}

enum {
    R_ID,
    R_KIND,
    R_FIGURES, /* input_total … audio_out */
    R_TTFT = R_FIGURES + 7,
    R_DURATION,
    R_ATTEMPTS,
    R_BYTES_IN,
    R_BYTES_OUT
};

static int64_t known(struct stmt *s, int column)
{
    return stmt_is_null(s, column) ? 0 : stmt_int(s, column);
}

static struct usage_figures figures_of(struct stmt *s)
{
    return (struct usage_figures){.n = 1,
                                  .last = stmt_int(s, R_ID),
                                  .input_total = known(s, R_FIGURES),
                                  .cache_read = known(s, R_FIGURES + 1),
                                  .cache_write = known(s, R_FIGURES + 2),
                                  .output_total = known(s, R_FIGURES + 3),
                                  .reasoning = known(s, R_FIGURES + 4),
                                  .audio_in = known(s, R_FIGURES + 5),
                                  .audio_out = known(s, R_FIGURES + 6),
                                  .ttft_n = !stmt_is_null(s, R_TTFT),
                                  .ttft_us = known(s, R_TTFT),
                                  .duration_us = stmt_int(s, R_DURATION),
                                  .retried = stmt_int(s, R_ATTEMPTS) > 1,
                                  .bytes_in = stmt_int(s, R_BYTES_IN),
                                  .bytes_out = stmt_int(s, R_BYTES_OUT)};
}

bool sum_writer_catch_up(struct sum_writer *w, struct err *e)
{
    int64_t n = 0;
    if (!db_begin(w->db, e))
        return false;
    stmt_bind_int(w->read, 1, w->up_to);
    stmt_bind_int(w->read, 2, SLICE);
    bool ok = true;
    while (ok && stmt_step(w->read, e)) {
        struct usage_figures f = figures_of(w->read);
        ok = gather(w, stmt_int(w->read, R_KIND), &f, e);
        n++;
    }
    stmt_reset(w->read);
    ok = ok && e->kind == ERR_NONE && sum_writer_flush(w, e);
    if (!ok) {
        db_rollback(w->db);
        return false;
    }
    w->is_behind = n == SLICE;
    return db_commit(w->db, e);
}

/* ---- reading ---- */

struct reading {
    struct arena *arena;
    struct str *names; /* by name.id */
    int64_t n_names;
    struct usage_kind *kinds; /* by usage_kind.id */
    int64_t n_kinds;
    int64_t from;
    usage_sum_fn *f;
    void *arg;
};

static void on_name(void *arg, const struct row *r)
{
    struct reading *to = arg;
    int64_t id = row_int(r, 0);
    if (id > 0 && id < to->n_names)
        to->names[id] = str_dup(to->arena, row_str(r, 1));
}

static struct str name(const struct reading *r, int64_t id)
{
    return id > 0 && id < r->n_names ? r->names[id] : STR_NONE;
}

static void on_kind(void *arg, const struct row *r)
{
    struct reading *to = arg;
    int64_t id = row_int(r, 0);
    if (id > 0 && id < to->n_kinds)
        to->kinds[id] = (struct usage_kind){.key = name(to, row_int(r, 1)),
                                            .model = name(to, row_int(r, 2)),
                                            .upstream = name(to, row_int(r, 3)),
                                            .upstream_model = name(to, row_int(r, 4)),
                                            .op = name(to, row_int(r, 5)),
                                            .client_format = name(to, row_int(r, 6)),
                                            .error = name(to, row_int(r, 7)),
                                            .status = (int)row_int(r, 8),
                                            .is_stream = row_int(r, 9) != 0};
}

static void on_sum(void *arg, const struct row *r)
{
    const struct reading *to = arg;
    struct usage_figures f;
    int64_t v[N_FIGURES] = {0}, kind = row_int(r, 1);
    for (size_t i = 0; i < N_FIGURES; i++)
        v[i] = row_int(r, (int)i + 2);
    memcpy(&f, v, sizeof f);
    if (kind > 0 && kind < to->n_kinds)
        to->f(to->arg, row_int(r, 0), &to->kinds[kind], &f);
}

static bool load_kinds(struct reading *r, struct db *db, struct err *e)
{
    if (!query_int(db, "SELECT coalesce(max(id),0)+1 FROM name", &r->n_names, e) ||
        !query_int(db, "SELECT coalesce(max(id),0)+1 FROM usage_kind", &r->n_kinds, e))
        return false;
    r->names = arena_zalloc(r->arena, (size_t)r->n_names * sizeof *r->names);
    r->kinds = arena_zalloc(r->arena, (size_t)r->n_kinds * sizeof *r->kinds);
    return db_each_row(db, "SELECT each_row(id,text) FROM name", on_name, r, e) &&
           db_each_row(db,
                       "SELECT each_row(id,key,model,upstream,upstream_model,op,client_format,"
                       "error_code,status,is_stream) FROM usage_kind",
                       on_kind, r, e);
}

static bool read_all(struct reading *r, struct db *db, enum usage_span span, struct err *e)
{
    char sql[1024];
    long long from = r->from;
    (void)snprintf(sql, sizeof sql,
                   "SELECT each_row(at,kind," COLUMNS ") FROM usage_sum WHERE span=%d AND at>=%lld",
                   (int)span, from);
    if (!load_kinds(r, db, e) || !db_each_row(db, sql, on_sum, r, e))
        return false;
    (void)snprintf(
        sql, sizeof sql,
        "SELECT each_row(at,kind," COLUMNS
        ") FROM (SELECT id/%lld AS at,kind,count(*) AS n,max(id) AS last,"
        "coalesce(sum(input_total),0) AS input_total,coalesce(sum(cache_read),0) AS cache_read,"
        "coalesce(sum(cache_write),0) AS cache_write,coalesce(sum(output_total),0) AS output_total,"
        "coalesce(sum(reasoning),0) AS reasoning,coalesce(sum(audio_in),0) AS audio_in,"
        "coalesce(sum(audio_out),0) AS audio_out,count(ttft_us) AS ttft_n,coalesce(sum(ttft_us),0) "
        "AS ttft_us,sum(duration_us) AS duration_us,sum(attempts>1) AS retried,"
        "sum(bytes_in) AS bytes_in,sum(bytes_out) AS bytes_out FROM usage_fact"
        " WHERE id>(SELECT up_to FROM usage_sum_state) AND id>=%lld GROUP BY 1,2)",
        (long long)usage_span_us[span], from * (long long)usage_span_us[span]);
    return db_each_row(db, sql, on_sum, r, e);
}

bool usage_sum_read(struct arena *a, struct db *db, enum usage_span span, int64_t from,
                    usage_sum_fn *f, void *arg, struct err *e)
{
    struct reading r = {.arena = a, .from = from < 0 ? 0 : from, .f = f, .arg = arg};
    if (!db_exec(db, "BEGIN", e)) /* one snapshot for all statements */
        return false;
    bool ok = read_all(&r, db, span, e);
    db_rollback(db); /* nothing was written */
    return ok;
}
