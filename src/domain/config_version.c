#include "domain/config_version.h"

#define COLUMNS "id, at_ms, actor, what, changes, file_hash, base_hash, is_written"

static bool finish(struct stmt *s, struct err *e)
{
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

static void read_row(struct stmt *s, struct arena *a, struct version_row *v)
{
    *v = (struct version_row){.id = stmt_int(s, 0),
                              .at_ms = stmt_int(s, 1),
                              .actor = str_dup(a, stmt_str(s, 2)),
                              .what = str_dup(a, stmt_str(s, 3)),
                              .changes = str_dup(a, stmt_str(s, 4)),
                              .file_hash = str_dup(a, stmt_blob(s, 5)),
                              .base_hash = str_dup(a, stmt_blob(s, 6)),
                              .is_written = stmt_int(s, 7) != 0};
}

bool version_add(struct db *db, struct version_row *v, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "INSERT INTO config_version(at_ms, actor, what, changes, "
                                "file_hash, base_hash, is_written, state)"
                                " VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
                                e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, v->at_ms);
    stmt_bind_str(s, 2, v->actor);
    stmt_bind_str(s, 3, v->what);
    stmt_bind_str(s, 4, v->changes);
    stmt_bind_blob(s, 5, v->file_hash.n ? v->file_hash.p : "", v->file_hash.n);
    stmt_bind_blob(s, 6, v->base_hash.n ? v->base_hash.p : "", v->base_hash.n);
    stmt_bind_int(s, 7, v->is_written);
    stmt_bind_blob(s, 8, v->state.p, v->state.n);
    bool ok = finish(s, e);
    v->id = db_last_id(db);
    return ok;
}

bool version_get(struct db *db, struct arena *a, int64_t id, struct version_row *out, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                id ? "SELECT " COLUMNS ", state FROM config_version WHERE id = ?1"
                                   : "SELECT " COLUMNS
                                     ", state FROM config_version ORDER BY id DESC LIMIT 1",
                                e);
    if (!s)
        return false;
    if (id)
        stmt_bind_int(s, 1, id);
    bool found = stmt_step(s, e);
    if (found) {
        read_row(s, a, out);
        out->state = str_dup(a, stmt_blob(s, 8));
    }
    stmt_free(s);
    return found || (e->kind == ERR_NONE && err_set(e, ERR_NOT_FOUND, "not_found",
                                                    "There is no version %lld", (long long)id));
}

bool version_list(struct db *db, struct arena *a, const struct version_filter *f,
                  struct version_row **out, size_t *n, struct err *e)
{
#define VERSIONS                                                              \
    "SELECT " COLUMNS " FROM config_version WHERE (?1 IS NULL OR actor = ?1)" \
    " AND at_ms >= ?2 AND at_ms < ?3 AND "
    struct stmt *s = db_prepare(db,
                                f->oldest_first ? VERSIONS "id > ?4 ORDER BY id LIMIT ?5"
                                                : VERSIONS "id < ?4 ORDER BY id DESC LIMIT ?5",
                                e);
#undef VERSIONS
    *out = ARENA_ARRAY(a, struct version_row, (size_t)f->limit + 1);
    *n = 0;
    if (!s)
        return false;
    stmt_bind_str(s, 1, f->actor.n ? f->actor : (struct str){NULL, 0});
    stmt_bind_int(s, 2, f->since_ms);
    stmt_bind_int(s, 3, f->until_ms ? f->until_ms : INT64_MAX);
    stmt_bind_int(s, 4, f->beyond_id || f->oldest_first ? f->beyond_id : INT64_MAX);
    stmt_bind_int(s, 5, f->limit);
    while (stmt_step(s, e))
        read_row(s, a, &(*out)[(*n)++]);
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool version_pending(struct db *db, struct arena *a, struct version_row *out, bool *is_any,
                     struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "SELECT " COLUMNS ", state FROM config_version"
                                " WHERE is_written = 0 ORDER BY id DESC LIMIT 1",
                                e);
    if (!s)
        return false;
    *is_any = stmt_step(s, e);
    if (*is_any) {
        read_row(s, a, out);
        out->state = str_dup(a, stmt_blob(s, 8));
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

static bool with_number(struct db *db, const char *sql, int64_t n, struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, n);
    return finish(s, e);
}

bool version_written(struct db *db, int64_t id, struct err *e)
{
    return with_number(
        db, "UPDATE config_version SET is_written = 1 WHERE is_written = 0 AND id <= ?1", id, e);
}

bool version_drop(struct db *db, int64_t id, struct err *e)
{
    return with_number(db, "DELETE FROM config_version WHERE id = ?1", id, e);
}

bool version_retire(struct db *db, int64_t keep, struct err *e)
{
    return with_number(
        db, "DELETE FROM config_version WHERE id <= (SELECT max(id) FROM config_version) - ?1",
        keep, e);
}
