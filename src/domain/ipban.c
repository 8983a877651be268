#include "domain/ipban.h"
#include "base/clock.h"
#include "json/json.h"

bool ip_ban_list(struct db *db, struct arena *a, int64_t now_ms, struct ip_ban **out, size_t *n,
                 struct err *e)
{
    struct stmt *s = db_prepare(
        db,
        "SELECT address, until_ms, reason, created_ms FROM ip_ban WHERE until_ms > ?1 ORDER BY "
        "address",
        e);
    size_t cap = 0;
    *out = NULL;
    *n = 0;
    if (!s)
        return false;
    stmt_bind_int(s, 1, now_ms);
    while (stmt_step(s, e)) {
        if (*n == cap) {
            size_t more = cap ? cap * 2 : 16;
            *out = arena_realloc(a, *out, cap * sizeof **out, more * sizeof **out);
            cap = more;
        }
        (*out)[(*n)++] = (struct ip_ban){.address = str_dup(a, stmt_str(s, 0)),
                                         .until_ms = stmt_int(s, 1),
                                         .reason = str_dup(a, stmt_str(s, 2)),
                                         .created_ms = stmt_int(s, 3)};
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool ip_ban_json(struct db *db, struct arena *a, struct str address, int64_t now_ms,
                 struct str *out, struct err *e)
{
    struct ip_ban *bans;
    struct buf until, b;
    size_t n;
    *out = STR_NONE;
    if (!ip_ban_list(db, a, now_ms, &bans, &n, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(bans[i].address, address))
            continue;
        buf_init_arena(&until, a, 64);
        clock_rfc3339(&until, bans[i].until_ms);
        buf_init_arena(&b, a, 4096);
        struct jw w = jw_on(&b);
        jw_object(&w);
        jw_kv_str(&w, "until", buf_str(&until));
        jw_kv_str(&w, "reason", bans[i].reason);
        jw_object_end(&w);
        *out = buf_str(&b);
    }
    return true;
}

bool ip_ban_put(struct db *db, const struct ip_ban *b, int64_t now_ms, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM ip_ban WHERE until_ms <= ?1", e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, now_ms);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    s = ok ? db_prepare(
                 db,
                 "INSERT INTO ip_ban(address, until_ms, reason, created_ms) VALUES(?1,?2,?3,?4)"
                 " ON CONFLICT(address) DO UPDATE SET until_ms=?2, reason=?3",
                 e)
           : NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, b->address);
    stmt_bind_int(s, 2, b->until_ms);
    stmt_bind_str(s, 3, b->reason.p ? b->reason : STR(""));
    stmt_bind_int(s, 4, b->created_ms);
    ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool ip_ban_delete(struct db *db, struct str address, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM ip_ban WHERE address = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, address);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok &&
           (db_changes(db) > 0 || err_set(e, ERR_NOT_FOUND, "not_found", "No ban of '" STR_FMT "'",
                                          STR_ARG(str_first(address, 100))));
}
