#include "domain/ledger.h"

#define HOUR_MS 3600000

const struct word ledger_entry_words[] = {
    {"settle", LEDGER_SETTLE}, {"adjust", LEDGER_ADJUST}, {"credit", LEDGER_CREDIT}, {0}};

bool ledger_last_id(struct db *db, int64_t *id, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT coalesce(max(id), 0) FROM ledger", e);
    bool ok = s && stmt_step(s, e);
    if (ok)
        *id = stmt_int(s, 0);
    stmt_free(s);
    return ok;
}

/* ---- filters: each binds its own parameter, absent ones are NULL ---- */

#define HAS_TAG(param)                                                                           \
    "(" param                                                                                    \
    " IS NULL OR (k.tags <> '' AND EXISTS (SELECT 1 FROM json_each(k.tags) WHERE value = " param \
    ")))"
#define KIND_FITS                                                    \
    "(?3 IS NULL OR k.key = ?3) AND (?4 IS NULL OR k.org = ?4) AND " \
    "(?5 IS NULL OR k.user = ?5) AND " HAS_TAG(                      \
        "?6") " AND "                                                \
              "(?7 IS NULL OR k.model = ?7) AND (?8 IS NULL OR k.upstream = ?8)"

static struct str or_null(struct str s)
{
    return s.n ? s : STR_NONE;
}

static void bind_filter(struct stmt *s, const struct ledger_filter *f)
{
    const struct str texts[] = {f->key, f->org, f->user, f->tag, f->model, f->upstream};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        stmt_bind_str(s, (int)i + 3, or_null(texts[i]));
}

/* ---- lines ---- */

#define LINE_COLUMNS                                                                              \
    "l.id, l.entry, l.request_id, k.key, k.org, k.user, k.tags, k.model, k.upstream, "            \
    "k.upstream_model, l.note, l.ended, l.quality, l.service, l.state, coalesce(v.version, 0), "  \
    "l.amount, l.stated, l.corrects, l.input, l.cache_read, l.cache_write_5m, l.cache_write_1h, " \
    "l.audio_in, l.output, l.reasoning, l.audio_out, l.image, l.search, l.request, l.lasted_ms"
#define LINE_FROM                                               \
    " FROM ledger l CROSS JOIN ledger_kind k ON k.id = l.kind " \
    "LEFT JOIN price_version v ON v.id = l.price "

static int64_t int_or(struct stmt *s, int column, int64_t otherwise)
{
    return stmt_is_null(s, column) ? otherwise : stmt_int(s, column);
}

static void read_line(struct stmt *s, struct arena *a, struct ledger_line *l)
{
    struct str *texts[] = {&l->request_id, &l->key,   &l->org,      &l->user,
                           &l->tags,       &l->model, &l->upstream, &l->upstream_model,
                           &l->note};
    *l = (struct ledger_line){.id = stmt_int(s, 0), .entry = (enum ledger_entry)stmt_int(s, 1)};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(a, stmt_str(s, (int)i + 2));
    l->ended = (int)stmt_int(s, 11);
    l->quality = (int)stmt_int(s, 12);
    l->service = (int)stmt_int(s, 13);
    l->state = (int)stmt_int(s, 14);
    l->price = stmt_int(s, 15);
    l->amount = int_or(s, 16, l->entry == LEDGER_SETTLE ? -1 : 0);
    l->stated = int_or(s, 17, -1);
    l->corrects = int_or(s, 18, -1);
    for (int i = 0; i < PRICE_PARTS; i++)
        l->parts[i] = stmt_int(s, 19 + i);
    l->admitted_ms = ledger_id_ms(l->id) - int_or(s, 19 + PRICE_PARTS, 0);
}

#define LINES                                                                        \
    "SELECT " LINE_COLUMNS LINE_FROM "WHERE l.id >= ?1 AND l.id < ?2 AND " KIND_FITS \
    " AND (?9 IS NULL OR l.request_id = ?9) AND (?10 = 0 OR l.entry = ?10) AND "     \
    "(?11 = 0 OR " LEDGER_IS_UNPRICED ") "

bool ledger_list(struct db *db, struct arena *a, const struct ledger_filter *f, int64_t beyond,
                 size_t max, struct ledger_line **out, size_t *n, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                f->oldest_first ? LINES "ORDER BY l.id LIMIT ?12"
                                                : LINES "ORDER BY l.id DESC LIMIT ?12",
                                e);
    int64_t from = f->from_ms > 0 ? ledger_id_at(f->from_ms) : 0,
            to = f->to_ms ? ledger_id_at(f->to_ms) : INT64_MAX;
    *n = 0;
    *out = ARENA_ARRAY(a, struct ledger_line, max + 1);
    if (!s)
        return false;
    if (beyond > 0 && f->oldest_first)
        from = beyond >= from ? beyond + 1 : from;
    else if (beyond > 0)
        to = beyond < to ? beyond : to;
    stmt_bind_int(s, 1, from);
    stmt_bind_int(s, 2, to);
    bind_filter(s, f);
    stmt_bind_str(s, 9, or_null(f->request_id));
    stmt_bind_int(s, 10, f->entry);
    stmt_bind_int(s, 11, f->only_unpriced);
    stmt_bind_int(s, 12, (int64_t)max);
    while (*n < max && stmt_step(s, e))
        read_line(s, a, &(*out)[(*n)++]);
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool ledger_get(struct db *db, struct arena *a, int64_t id, struct ledger_line *out, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT " LINE_COLUMNS LINE_FROM "WHERE l.id = ?1", e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, id);
    bool found = stmt_step(s, e);
    if (found)
        read_line(s, a, out);
    stmt_free(s);
    return found || (e->kind == ERR_NONE && err_set(e, ERR_NOT_FOUND, "not_found",
                                                    "No line %lld in the ledger", (long long)id));
}

bool ledger_each(struct db *db, int64_t from_ms, int64_t to_ms,
                 bool (*each)(void *arg, const struct ledger_line *l, struct err *e), void *arg,
                 struct err *e)
{
    struct stmt *s = db_prepare(
        db, "SELECT " LINE_COLUMNS LINE_FROM "WHERE l.id >= ?1 AND l.id < ?2 ORDER BY l.id", e);
    bool ok = s != NULL;
    if (!ok)
        return false;
    stmt_bind_int(s, 1, from_ms > 0 ? ledger_id_at(from_ms) : 0);
    stmt_bind_int(s, 2, to_ms ? ledger_id_at(to_ms) : INT64_MAX);
    while (ok && stmt_step(s, e)) {
        struct arena *a = arena_new();
        struct ledger_line l;
        read_line(s, a, &l);
        ok = each(arg, &l, e);
        arena_free(a);
    }
    stmt_free(s);
    return ok && e->kind == ERR_NONE;
}

/* ---- corrections and credits ---- */

static bool one_int(struct stmt *s, int64_t *out, struct err *e)
{
    bool ok = s && stmt_step(s, e);
    if (ok)
        *out = stmt_int(s, 0);
    stmt_free(s);
    return ok;
}

static bool find_kind(struct db *db, const struct ledger_line *l, int64_t *kind, struct err *e)
{
    static const char *const sql[] = {
        "INSERT INTO ledger_kind(key, org, user, tags, model, upstream, upstream_model) "
        "VALUES(?1,?2,?3,?4,?5,?6,?7) ON CONFLICT DO NOTHING",
        "SELECT id FROM ledger_kind WHERE key = ?1 AND org = ?2 AND user = ?3 AND tags = ?4 AND "
        "model = ?5 AND upstream = ?6 AND upstream_model = ?7 AND unit = 'nanousd'"};
    const struct str texts[] = {l->key,   l->org,      l->user,          l->tags,
                                l->model, l->upstream, l->upstream_model};
    struct stmt *s[2] = {db_prepare(db, sql[0], e), NULL};
    s[1] = s[0] ? db_prepare(db, sql[1], e) : NULL;
    for (size_t k = 0; k < 2 && s[1]; k++)
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
            stmt_bind_str(s[k], (int)i + 1, texts[i].p ? texts[i] : STR(""));
    bool ok = s[1] && stmt_run(s[0], e);
    stmt_free(s[0]);
    if (!ok) {
        stmt_free(s[1]);
        return false;
    }
    return one_int(s[1], kind, e);
}

static int64_t sum_of(const struct ledger_line *l, enum price_part from, enum price_part to)
{
    int64_t n = 0;
    for (int i = (int)from; i <= (int)to; i++)
        n += l->parts[i];
    return n;
}

bool ledger_append(struct db *db, struct ledger_line *l, struct err *e)
{
    int64_t kind, price = 0, taken = 1;
    if (!find_kind(db, l, &kind, e))
        return false;
    struct stmt *s = db_prepare(
        db, "SELECT coalesce((SELECT id FROM price_version WHERE version = ?1), 0)", e);
    if (s)
        stmt_bind_int(s, 1, l->price);
    if (!one_int(s, &price, e))
        return false;
    while (taken) {
        s = db_prepare(db, "SELECT count(*) FROM ledger WHERE id = ?1", e);
        if (s)
            stmt_bind_int(s, 1, l->id);
        if (!one_int(s, &taken, e))
            return false;
        if (taken)
            l->id += (int64_t)1 << LEDGER_LOOP_BITS;
    }
    s = db_prepare(db,
                   "INSERT INTO ledger(id,request_id,entry,kind,ended,quality,service,price,state,"
                   "amount,stated,input,cache_read,cache_write_5m,cache_write_1h,audio_in,output,"
                   "reasoning,audio_out,image,search,request,corrects,note) VALUES(?1,?2,?3,?4,0,"
                   "?5,?6,?7,?8,?9,NULL,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?10,?11)",
                   e);
    if (!s)
        return false;
    const int64_t numbers[] = {l->entry, kind, l->quality, l->service, price, l->state, l->amount};
    stmt_bind_int(s, 1, l->id);
    stmt_bind_str(s, 2, l->request_id.p ? l->request_id : STR(""));
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        stmt_bind_int(s, (int)i + 3, numbers[i]);
    if (l->corrects > 0)
        stmt_bind_int(s, 10, l->corrects);
    stmt_bind_str(s, 11, l->note.n ? l->note : STR_NONE);
    for (int i = 0; i < PRICE_PARTS; i++)
        stmt_bind_int(s, 12 + i, l->parts[i]);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    s = ok ? db_prepare(db,
                        "INSERT INTO ledger_hour VALUES(?1,?2,0,0,?3,0,0,?4,?5,?6) ON CONFLICT "
                        "(hour, kind) DO UPDATE SET amount = amount + ?3, tokens_in = tokens_in + "
                        "?4, cached = cached + ?5, tokens_out = tokens_out + ?6",
                        e)
           : NULL;
    if (!s)
        return false;
    stmt_bind_int(s, 1, ledger_id_ms(l->id) / HOUR_MS);
    stmt_bind_int(s, 2, kind);
    stmt_bind_int(s, 3, l->amount);
    stmt_bind_int(s, 4, sum_of(l, PRICE_INPUT, PRICE_AUDIO_IN));
    stmt_bind_int(s, 5, l->parts[PRICE_CACHE_READ]);
    stmt_bind_int(s, 6, sum_of(l, PRICE_OUTPUT, PRICE_AUDIO_OUT));
    ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

/* ---- sums ---- */

#define SUM_TEXTS "k.key, k.org, k.user, k.tags, k.model, k.upstream, k.upstream_model "

struct summing {
    struct db *db;
    const struct ledger_filter *f;
    ledger_span_fn *ends;
    ledger_sum_fn *each;
    void *arg;
    struct stmt *of_lines;
};

static void tell_sum(const struct summing *s, int64_t at_ms, struct stmt *row)
{
    const struct ledger_line of = {.key = stmt_str(row, 1),
                                   .org = stmt_str(row, 2),
                                   .user = stmt_str(row, 3),
                                   .tags = stmt_str(row, 4),
                                   .model = stmt_str(row, 5),
                                   .upstream = stmt_str(row, 6),
                                   .upstream_model = stmt_str(row, 7)};
    const struct ledger_sum sum = {stmt_int(row, 8),  stmt_int(row, 9),  stmt_int(row, 10),
                                   stmt_int(row, 11), stmt_int(row, 12), stmt_int(row, 13),
                                   stmt_int(row, 14), stmt_int(row, 15)};
    s->each(s->arg, at_ms, &of, &sum);
}

static int64_t span_end(const struct summing *s, int64_t ms)
{
    return s->ends ? s->ends(s->arg, ms) : INT64_MAX;
}

/* Span by span from the lines themselves. */
static bool sum_lines(struct summing *s, int64_t from_ms, int64_t to_ms, struct err *e)
{
    while (from_ms < to_ms) {
        int64_t end = span_end(s, from_ms);
        end = end > from_ms && end < to_ms ? end : to_ms;
        stmt_bind_int(s->of_lines, 1, ledger_id_at(from_ms));
        stmt_bind_int(s->of_lines, 2, ledger_id_at(end));
        bind_filter(s->of_lines, s->f);
        while (stmt_step(s->of_lines, e))
            tell_sum(s, from_ms, s->of_lines);
        stmt_reset(s->of_lines);
        if (e->kind != ERR_NONE)
            return false;
        from_ms = end;
    }
    return true;
}

/* Hours from `first` on, before `end`. cut: gets those that lie in no one span. */
static bool sum_hours(struct summing *s, int64_t first, int64_t end, struct buf *cut, struct err *e)
{
    struct stmt *row = db_prepare(
        s->db,
        "SELECT h.hour, " SUM_TEXTS ", h.n, h.unpriced, h.amount, h.stated, h.stated_n, "
        "h.tokens_in, h.cached, h.tokens_out "
        "FROM ledger_hour h CROSS JOIN ledger_kind k ON k.id = h.kind "
        "WHERE h.hour >= ?1 AND h.hour < ?2 AND " KIND_FITS " ORDER BY h.hour",
        e);
    int64_t hour = -1;
    bool is_cut = false;
    if (!row)
        return false;
    stmt_bind_int(row, 1, first);
    stmt_bind_int(row, 2, end);
    bind_filter(row, s->f);
    while (stmt_step(row, e)) {
        bool is_new = hour != stmt_int(row, 0);
        hour = stmt_int(row, 0);
        if (is_new) {
            is_cut = span_end(s, hour * HOUR_MS) < (hour + 1) * HOUR_MS;
            if (is_cut)
                buf_add(cut, &hour, sizeof hour);
        }
        if (!is_cut)
            tell_sum(s, hour * HOUR_MS, row);
    }
    stmt_free(row);
    return e->kind == ERR_NONE;
}

static bool sum_cut(struct summing *s, const struct buf *cut, struct err *e)
{
    for (size_t i = 0; i < cut->n; i += sizeof(int64_t)) {
        int64_t hour;
        memcpy(&hour, cut->p + i, sizeof hour);
        if (!sum_lines(s, hour * HOUR_MS, (hour + 1) * HOUR_MS, e))
            return false;
    }
    return true;
}

bool ledger_sums(struct db *db, const struct ledger_filter *f, ledger_span_fn *ends,
                 ledger_sum_fn *each, void *arg, struct err *e)
{
    struct summing s = {.db = db, .f = f, .ends = ends, .each = each, .arg = arg};
    int64_t from = f->from_ms > 0 ? f->from_ms : 0,
            to = f->to_ms == 0 || f->to_ms > LEDGER_LAST_MS ? LEDGER_LAST_MS : f->to_ms;
    if (from >= to)
        return true;
    int64_t first = (from + HOUR_MS - 1) / HOUR_MS, end = to / HOUR_MS;
    int64_t head_ends = end < first ? to : first * HOUR_MS,
            tail_begins = end < first ? to : end * HOUR_MS;
    struct buf cut;
    s.of_lines = db_prepare(
        db,
        "SELECT 0, " SUM_TEXTS ", sum(l.entry = 1), sum(" LEDGER_IS_UNPRICED "), "
        "coalesce(sum(l.amount), 0), coalesce(sum(l.stated), 0), count(l.stated), "
        "sum(l.input + l.cache_read + l.cache_write_5m + l.cache_write_1h + l.audio_in), "
        "sum(l.cache_read), sum(l.output + l.reasoning + l.audio_out) "
        "FROM ledger l CROSS JOIN ledger_kind k ON k.id = l.kind "
        "WHERE l.id >= ?1 AND l.id < ?2 AND " KIND_FITS " GROUP BY l.kind",
        e);
    if (!s.of_lines)
        return false;
    buf_init(&cut, SIZE_MAX / 4);
    bool ok = sum_hours(&s, first, end, &cut, e) && sum_lines(&s, from, head_ends, e) &&
              sum_cut(&s, &cut, e) && sum_lines(&s, tail_begins, to, e);
    buf_done(&cut);
    stmt_free(s.of_lines);
    return ok;
}

bool ledger_spent(struct db *db, enum budget_scope scope, struct str subject, int64_t from_ms,
                  int64_t to_ms, int64_t *nanousd, struct err *e)
{
    static const char *const fits[] = {
        [BUDGET_ALL] = "?1 IS NULL OR true",
        [BUDGET_ORG] = "k.org = ?1",
        [BUDGET_USER] = "k.user = ?1",
        [BUDGET_KEY] = "k.key = ?1",
        [BUDGET_TAG] =
            "k.tags <> '' AND EXISTS (SELECT 1 FROM json_each(k.tags) WHERE value = ?1)"};
    char sql[1536];
    /* the hours that lie in it as a whole, and what is left at either end */
    int64_t whole = (from_ms + HOUR_MS - 1) / HOUR_MS,
            end = to_ms == INT64_MAX ? INT64_MAX / HOUR_MS / 2048 : to_ms / HOUR_MS;
    int64_t first_ends = end < whole ? to_ms : whole * HOUR_MS,
            last_begins = end < whole ? to_ms : end * HOUR_MS;
    (void)snprintf(
        sql, sizeof sql,
        "SELECT (SELECT coalesce(sum(h.amount), 0) FROM ledger_hour h CROSS JOIN ledger_kind k ON "
        "k.id = h.kind WHERE h.hour >= ?2 AND h.hour < ?3 AND (%s)) + "
        "(SELECT coalesce(sum(l.amount), 0) FROM ledger l CROSS JOIN ledger_kind k ON "
        "k.id = l.kind WHERE l.id >= ?4 AND l.id < ?5 AND (%s)) + "
        "(SELECT coalesce(sum(l.amount), 0) FROM ledger l CROSS JOIN ledger_kind k ON "
        "k.id = l.kind WHERE l.id >= ?6 AND l.id < ?7 AND (%s))",
        fits[scope], fits[scope], fits[scope]);
    struct stmt *s = db_prepare(db, sql, e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, subject.n ? subject : STR_NONE);
    stmt_bind_int(s, 2, whole);
    stmt_bind_int(s, 3, end);
    stmt_bind_int(s, 4, ledger_id_at(from_ms));
    stmt_bind_int(s, 5, ledger_id_at(first_ends));
    stmt_bind_int(s, 6, ledger_id_at(last_begins));
    stmt_bind_int(s, 7, ledger_id_at(to_ms));
    return one_int(s, nanousd, e);
}
