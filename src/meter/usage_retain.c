/* usage_retain.c - first where the limits cut, then block by block from the oldest what lies below. */
#include "meter/usage_retain.h"
#include "base/clock.h"
#include "meter/usage_read.h"
#include "meter/usage_sum.h"
#include <stdlib.h>

#define LOOK_MS 60000
#define MAX_SKIPPED 1000 /* blocks without anything to delete that one slice passes over */

static const char *const class_sql[] = {"kind IN (SELECT id FROM usage_kind WHERE status < 400)",
                                        "kind IN (SELECT id FROM usage_kind WHERE status >= 400)"};

/* The id up to which records of a class are too many. */
static bool find_floor(struct db *db, int64_t max, bool is_error, int64_t *floor, struct err *e)
{
    *floor = 0;
    if (max <= 0)
        return true;
    struct usage_filter f = {.status_min = is_error ? 400 : 0, .status_max = is_error ? 999 : 399};
    size_t n = 0;
    struct arena *a = arena_new();
    struct usage_reader *r = usage_reader_new(a, db, &f, e);
    bool ok = r && usage_read_ids(r, 0, max, floor, 1, &n, e);
    usage_reader_free(r);
    arena_free(a);
    return ok;
}

static bool look(struct retention *r, struct db *db, const struct usage_limits *limits,
                 struct err *e)
{
    r->limits = *limits;
    r->at = 0;
    r->now_ms = age_clock_ms(&r->clock, clock_wall_ms(), clock_mono_ms());
    r->too_old = limits->days > 0 ? (r->now_ms - limits->days * 86400000) * 1000 : 0;
    struct stmt *s = db_prepare(
        db, "SELECT cleared, (SELECT up_to FROM usage_sum_state) FROM usage_state", e);
    bool ok = s && stmt_step(s, e);
    r->cleared = ok ? stmt_int(s, 0) : 0;
    r->summed = ok ? stmt_int(s, 1) : 0;
    stmt_free(s);
    return ok && find_floor(db, limits->success_max, false, &r->floor[0], e) &&
           find_floor(db, limits->error_max, true, &r->floor[1], e);
}

static int64_t highest(const struct retention *r)
{
    int64_t ok = retention_floor(r, false), error = retention_floor(r, true);
    return ok > error ? ok : error;
}

static bool run(struct db *db, const char *sql, int64_t first, int64_t last, int64_t *changed,
                struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, first);
    stmt_bind_int(s, 2, last);
    bool ok = stmt_run(s, e);
    if (ok && changed)
        *changed += db_changes(db);
    stmt_free(s);
    return ok;
}

/* The records of [first, last] that `which` (SQL) names. Their sums stay. */
static bool drop_some(struct db *db, int64_t first, int64_t last, const char *which,
                      int64_t *changed, struct err *e)
{
    char sql[256];
    if (first > last)
        return true;
    (void)snprintf(sql, sizeof sql, "DELETE FROM usage_fact WHERE id BETWEEN ?1 AND ?2 AND %s",
                   which);
    return run(db, sql, first, last, changed, e);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What is due between first and last. */
static bool drop_due(struct retention *r, struct db *db, int64_t first, int64_t last,
                     int64_t *changed, struct err *e)
{
    last = least(last, r->summed);
    bool ok = drop_some(db, first, least(last, r->too_old), "true", changed, e) &&
              drop_some(db, first, least(last, r->cleared), "true", changed, e);
    for (int i = 0; i < 2; i++)
        ok = ok && drop_some(db, first, least(last, r->floor[i]), class_sql[i], changed, e);
    return ok && (*changed == 0 ||
                  run(db,
                      "DELETE FROM usage_detail WHERE id BETWEEN ?1 AND ?2 AND id NOT IN "
                      "(SELECT id FROM usage_fact WHERE id BETWEEN ?1 AND ?2)",
                      first, last, NULL, e));
}

/* The next block behind r->at that begins at or below the highest cut; false without e: none. */
static bool next_block(struct retention *r, struct db *db, int64_t *first, int64_t *last,
                       struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "SELECT first, last FROM usage_block WHERE last > ?1 AND "
                                "first <= ?2 ORDER BY last LIMIT 1",
                                e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, r->at);
    stmt_bind_int(s, 2, highest(r));
    bool is_there = stmt_step(s, e);
    if (is_there) {
        *first = stmt_int(s, 0);
        *last = stmt_int(s, 1);
    }
    stmt_free(s);
    return is_there;
}

static bool drop_old_sums(struct retention *r, struct db *db, struct err *e)
{
    int64_t days = r->limits.figures_days;
    return days <= 0 || run(db, "DELETE FROM usage_sum WHERE span = ?1 AND at <= ?2", SPAN_DAY,
                            r->now_ms / 86400000 - days, NULL, e);
}

/* One block, or what is in none yet. Sets is_at_work to false at the end. */
static bool work(struct retention *r, struct db *db, struct block_writer *blocks, struct err *e)
{
    int64_t changed = 0;
    for (int skipped = 0; changed == 0 && skipped < MAX_SKIPPED; skipped++) {
        int64_t first, last;
        if (!next_block(r, db, &first, &last, e)) {
            if (e->kind != ERR_NONE)
                return false;
            r->is_at_work = false;
            first = r->at + 1;
            if (!drop_due(r, db, first, highest(r), &changed, e) || !drop_old_sums(r, db, e))
                return false;
            if (changed)
                block_writer_forget_tail(blocks);
            return true;
        }
        if (!drop_due(r, db, first, last, &changed, e) ||
            (changed && !block_rewrite(db, first, last, e)))
            return false;
        r->at = last;
    }
    return true;
}

int64_t retention_floor(const struct retention *r, bool is_error)
{
    int64_t id = r->cleared > r->too_old ? r->cleared : r->too_old;
    return r->floor[is_error] > id ? r->floor[is_error] : id;
}

bool retention_slice(struct retention *r, struct db *db, struct block_writer *blocks,
                     const struct usage_limits *limits, struct err *e)
{
    uint64_t now = clock_mono_ms();
    if (memcmp(&r->limits, limits, sizeof *limits) != 0)
        r->next_ms = 0;
    if (!r->is_at_work) {
        if (now < r->next_ms)
            return false;
        r->next_ms = now + LOOK_MS;
        if (!look(r, db, limits, e))
            return false;
        r->is_at_work = true;
    }
    if (!db_begin(db, e))
        return false;
    if (!work(r, db, blocks, e)) {
        db_rollback(db);
        r->is_at_work = false;
        return false;
    }
    return db_commit(db, e) && r->is_at_work;
}
