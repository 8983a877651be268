#include "meter/ledger_check.h"
#include "domain/ledger.h"
#include <stdlib.h>

#define HOUR_MS 3600000

struct checker {
    struct db *db;
    struct arena *a;   /* of prices */
    struct map prices; /* version as 8 bytes -> struct price */
    struct stmt *is_unpriced;
    struct ledger_check *out;
};

static const struct price *price_of(struct checker *c, int64_t version)
{
    struct str key = str_n((const char *)&version, sizeof version);
    struct price *p = map_get(&c->prices, key);
    struct err missing = ERR_INIT;
    if (p)
        return p->version ? p : NULL;
    p = ARENA_NEW(c->a, struct price);
    if (!price_version_get(c->db, c->a, version, p, &missing))
        *p = (struct price){0};
    map_set(&c->prices, str_dup(c->a, key), p);
    return p->version ? p : NULL;
}

static struct usage_vector parts_of(const struct ledger_line *l)
{
    struct usage_vector u;
    memcpy(u.v, l->parts, sizeof u.v);
    return u;
}

static bool check_line(void *arg, const struct ledger_line *l, struct err *e)
{
    struct checker *c = arg;
    struct usage_vector u = parts_of(l);
    if (l->entry != LEDGER_SETTLE) {
        c->out->corrections++;
        return true;
    }
    c->out->lines++;
    if (l->amount < 0) {
        stmt_bind_int(c->is_unpriced, 1, l->id);
        c->out->unpriced += stmt_step(c->is_unpriced, e);
        stmt_reset(c->is_unpriced);
        return e->kind == ERR_NONE;
    }
    c->out->total += l->amount;
    const struct price *p = l->price ? price_of(c, l->price) : NULL;
    struct cost again = price_cost(p, (enum price_service)l->service, &u);
    bool is_free = l->price == 0 && l->amount == 0; /* by its rule: there was nothing to price */
    if (!p && !is_free)
        c->out->missing_prices++;
    if (!p)
        again.nanousd = l->amount;
    c->out->recomputed += again.nanousd;
    if (again.nanousd == l->amount)
        return true;
    c->out->wrong++;
    if (!c->out->first_wrong)
        c->out->first_wrong = l->id;
    return true;
}

/* Hours that lie in the span as a whole: sums that are not those of their lines, and lines that no sum holds. A sum of nothing may be left
 * out. */
static bool check_hours(struct checker *c, int64_t from_ms, int64_t to_ms, struct err *e)
{
    struct stmt *s = db_prepare(
        c->db,
        "WITH sums AS (SELECT hour, kind, n, unpriced, amount, stated, stated_n, tokens_in, "
        "cached, tokens_out FROM ledger_hour WHERE hour >= ?1 AND hour < ?2), "
        "made AS (SELECT (id >> 9) / 3600000000 AS hour, kind, sum(entry = 1) AS n, "
        "sum(" LEDGER_IS_UNPRICED "), coalesce(sum(amount), 0) AS amount, "
        "coalesce(sum(stated), 0), count(stated), "
        "sum(input + cache_read + cache_write_5m + cache_write_1h + audio_in), sum(cache_read), "
        "sum(output + reasoning + audio_out) FROM ledger l WHERE id >= ?3 AND id < ?4 "
        "GROUP BY 1, 2) "
        "SELECT count(*) FROM (SELECT hour, kind FROM (SELECT * FROM sums EXCEPT SELECT * FROM "
        "made) UNION SELECT hour, kind FROM (SELECT * FROM made EXCEPT SELECT * FROM sums) "
        "WHERE n <> 0 OR amount <> 0)",
        e);
    int64_t first = (from_ms + HOUR_MS - 1) / HOUR_MS,
            end = to_ms ? to_ms / HOUR_MS : INT64_MAX / HOUR_MS / 2048;
    if (!s)
        return false;
    stmt_bind_int(s, 1, first);
    stmt_bind_int(s, 2, end);
    stmt_bind_int(s, 3, ledger_id_at(first * HOUR_MS));
    stmt_bind_int(s, 4, ledger_id_at(end * HOUR_MS));
    bool ok = stmt_step(s, e);
    if (ok)
        c->out->wrong_hours = stmt_int(s, 0);
    stmt_free(s);
    return ok;
}

bool ledger_check(struct db *db, int64_t from_ms, int64_t to_ms, struct ledger_check *out,
                  struct err *e)
{
    struct checker c = {.db = db, .a = arena_new(), .out = out};
    *out = (struct ledger_check){0};
    from_ms = from_ms > LEDGER_LAST_MS ? LEDGER_LAST_MS : from_ms;
    map_init(&c.prices);
    c.is_unpriced = db_prepare(db, "SELECT 1 FROM ledger l WHERE id = ?1 AND " LEDGER_IS_UNPRICED,
                               e);
    bool ok = c.is_unpriced && ledger_each(db, from_ms, to_ms, check_line, &c, e) &&
              check_hours(&c, from_ms, to_ms, e);
    stmt_free(c.is_unpriced);
    map_done(&c.prices);
    arena_free(c.a);
    return ok;
}

/* ---- other prices ---- */

struct repricer {
    struct db *db;
    const struct snapshot *s;
    struct arena *a;
    struct str model;
    bool is_dry;
    int64_t now_ms;
    struct stmt *corrected; /* what earlier turns of this made of a line */
    struct checker had;     /* what lines were priced with */
    struct ledger_reprice *out;
    struct repriced { /* to be appended: not while their table is read */
        struct ledger_line line;
        bool was_unpriced;
    } * lines;
    size_t n, cap;
};

/* What is taken back or added by hand stands beside the price, whatever that is. parts: gets what was told of its usage later. */
static bool corrections_of(struct repricer *r, int64_t id, int64_t *sum, int64_t *n,
                           struct usage_vector *parts, struct err *e)
{
    stmt_bind_int(r->corrected, 1, id);
    bool ok = stmt_step(r->corrected, e);
    if (ok) {
        *sum = stmt_int(r->corrected, 0);
        *n = stmt_int(r->corrected, 1);
    }
    for (int i = 0; ok && i < PRICE_PARTS; i++)
        parts->v[i] += stmt_int(r->corrected, 2 + i);
    stmt_reset(r->corrected);
    return ok;
}

static void keep(struct repricer *r, const struct ledger_line *l, int64_t difference,
                 int64_t version, bool was_unpriced)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 64;
        r->lines = arena_realloc(r->a, r->lines, r->cap * sizeof *r->lines, cap * sizeof *r->lines);
        r->cap = cap;
    }
    r->lines[r->n].was_unpriced = was_unpriced;
    struct ledger_line *to = &r->lines[r->n++].line;
    struct str *texts[] = {&to->request_id, &to->key,   &to->org,      &to->user,
                           &to->tags,       &to->model, &to->upstream, &to->upstream_model};
    *to = *l;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(r->a, *texts[i]);
    to->entry = LEDGER_ADJUST;
    to->corrects = l->id;
    to->amount = difference;
    to->price = version;
    to->state = COST_KNOWN;
    to->note = STR(LEDGER_REPRICED);
    memset(to->parts, 0, sizeof to->parts);
}

/* At the prices known now for the moment in which it was admitted. A provider that is gone still has those of its name, and of the kind that its price was of. */
static const struct price *price_then(struct repricer *r, const struct ledger_line *l)
{
    const struct upstream *u = snapshot_upstream(r->s, l->upstream);
    if (u)
        return snapshot_price_at(r->s, u, l->upstream_model, l->admitted_ms);
    const struct price *had = l->price ? price_of(&r->had, l->price) : NULL;
    return price_find_at(r->s->prices, l->upstream, had ? had->provider : STR_NONE,
                         l->upstream_model, l->admitted_ms);
}

static bool reprice_line(void *arg, const struct ledger_line *l, struct err *e)
{
    struct repricer *r = arg;
    struct usage_vector parts = parts_of(l);
    int64_t corrected = 0, corrections = 0;
    if (l->entry != LEDGER_SETTLE || (r->model.n && !str_eq(r->model, l->model)))
        return true;
    r->out->lines++;
    if (l->price == 0 && l->amount == 0) /* by its rule: there was nothing to price */
        return true;
    if (!corrections_of(r, l->id, &corrected, &corrections, &parts, e))
        return false;
    const struct price *p = price_then(r, l);
    struct cost now = price_cost(p, (enum price_service)l->service, &parts);
    if (now.nanousd < 0) {
        r->out->unknown++;
        return true;
    }
    bool was_unpriced = l->amount < 0 && corrections == 0;
    int64_t before = (l->amount > 0 ? l->amount : 0) + corrected;
    r->out->before += before;
    r->out->after += now.nanousd;
    if (now.nanousd != before || was_unpriced) { /* nothing is another cost than an unknown one */
        r->out->changed++;
        keep(r, l, now.nanousd - before, p->version, was_unpriced);
    }
    return true;
}

/* In the sums of its hour, too. */
static bool is_priced_now(struct db *db, int64_t id, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "UPDATE ledger_hour SET unpriced = unpriced - 1 WHERE hour = ?1 "
                                "AND kind = (SELECT kind FROM ledger WHERE id = ?2)",
                                e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, ledger_id_ms(id) / HOUR_MS);
    stmt_bind_int(s, 2, id);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool ledger_reprice(struct db *db, const struct snapshot *s, int64_t from_ms, int64_t to_ms,
                    struct str model, bool is_dry, int64_t now_ms, ledger_line_fn *appended,
                    void *arg, struct ledger_reprice *out, struct err *e)
{
    struct repricer r = {.db = db,
                         .s = s,
                         .a = arena_new(),
                         .model = model,
                         .is_dry = is_dry,
                         .now_ms = now_ms,
                         .had = {.db = db},
                         .out = out};
    *out = (struct ledger_reprice){0};
    map_init(&r.had.prices);
    r.had.a = r.a;
    r.corrected = db_prepare(
        db,
        "SELECT sum(amount), sum(note = '" LEDGER_REPRICED "'), sum(input), sum(cache_read), "
        "sum(cache_write_5m), sum(cache_write_1h), sum(audio_in), sum(output), sum(reasoning), "
        "sum(audio_out), sum(image), sum(search), sum(request) FROM ledger WHERE corrects = ?1 AND "
        "entry = 2 AND note IN ('" LEDGER_REPRICED "', '" LEDGER_TOLD_LATE "')",
        e);
    bool ok = r.corrected && ledger_each(db, from_ms, to_ms, reprice_line, &r, e);
    for (size_t i = 0; ok && !is_dry && i < r.n; i++) {
        struct ledger_line *l = &r.lines[i].line;
        l->id = ledger_id_at(now_ms) + ((int64_t)i << LEDGER_LOOP_BITS);
        ok = ledger_append(db, l, e) &&
             (!r.lines[i].was_unpriced || is_priced_now(db, l->corrects, e));
        if (ok && appended)
            appended(arg, l);
    }
    stmt_free(r.corrected);
    map_done(&r.had.prices);
    arena_free(r.a);
    return ok;
}
