/* operator.c - the SQL of operators, sessions, lock-outs and claims. */
#include "domain/operator.h"
#include "base/banned.h"

#define COLUMNS "id, name, role, password, fingerprint, origin, is_enabled, created_ms, changed_ms"

/* Runs a prepared statement of ours to its end and frees it; s NULL: e is set already. */
static bool finish(struct stmt *s, struct err *e)
{
    bool ok = s && stmt_run(s, e);
    stmt_free(s);
    return ok;
}

/* After a loop of stmt_step(s, inner). */
static bool settle(struct stmt *s, const struct err *inner, struct err *e)
{
    stmt_free(s);
    if (inner->kind != ERR_NONE && e)
        *e = *inner;
    return inner->kind == ERR_NONE;
}

/* ---- operators ---- */

static struct operator_row read_operator(struct stmt *s, struct arena *a)
{
    return (struct operator_row){.id = str_dup(a, stmt_str(s, 0)),
                                 .name = str_dup(a, stmt_str(s, 1)),
                                 .role = stmt_int(s, 2),
                                 .password = str_dup(a, stmt_str(s, 3)),
                                 .fingerprint = str_dup(a, stmt_blob(s, 4)),
                                 .origin = stmt_int(s, 5),
                                 .is_enabled = stmt_int(s, 6) != 0,
                                 .created_ms = stmt_int(s, 7),
                                 .changed_ms = stmt_int(s, 8)};
}

bool operator_list(struct db *db, struct arena *a, struct operator_row **out, struct err *e)
{
    struct err inner = ERR_INIT;
    struct stmt *s = db_prepare(db, "SELECT " COLUMNS " FROM operator ORDER BY name", e);
    if (!s)
        return false;
    for (*out = NULL; stmt_step(s, &inner); out = &(*out)->next) {
        *out = ARENA_NEW(a, struct operator_row);
        **out = read_operator(s, a);
    }
    return settle(s, &inner, e);
}

bool operator_get(struct db *db, struct arena *a, struct str id_or_name, struct operator_row *out,
                  struct err *e)
{
    struct err inner = ERR_INIT;
    struct stmt *s = db_prepare(
        db, "SELECT " COLUMNS " FROM operator WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id_or_name.p ? id_or_name : STR(""));
    bool found = stmt_step(s, &inner);
    if (found)
        *out = read_operator(s, a);
    return settle(s, &inner, e) &&
           (found || err_set(e, ERR_NOT_FOUND, "not_found", "No operator '" STR_FMT "'",
                             STR_ARG(str_first(id_or_name, 100))));
}

bool operator_put(struct db *db, const struct operator_row *o, struct err *e)
{
    struct err inner = ERR_INIT;
    struct stmt *s = db_prepare(
        db,
        "INSERT INTO operator (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) "
        "ON CONFLICT (id) DO UPDATE SET name = ?2, role = ?3, password = ?4, fingerprint = ?5, "
        "origin = ?6, is_enabled = ?7, changed_ms = ?9",
        e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, o->id);
    stmt_bind_str(s, 2, o->name);
    stmt_bind_int(s, 3, o->role);
    stmt_bind_str(s, 4, o->password.p ? o->password : STR(""));
    if (o->fingerprint.n)
        stmt_bind_blob(s, 5, o->fingerprint.p, o->fingerprint.n);
    else
        stmt_bind_null(s, 5);
    stmt_bind_int(s, 6, o->origin);
    stmt_bind_int(s, 7, o->is_enabled);
    stmt_bind_int(s, 8, o->created_ms);
    stmt_bind_int(s, 9, o->changed_ms);
    if (finish(s, &inner))
        return true;
    if (inner.kind == ERR_CONFLICT)
        return err_set(e, ERR_CONFLICT, "already_exists",
                       "There is an operator '" STR_FMT "' already", STR_ARG(o->name));
    if (e)
        *e = inner;
    return false;
}

bool operator_delete(struct db *db, struct str id, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM operator WHERE id = ?1", e);
    if (s)
        stmt_bind_str(s, 1, id);
    return finish(s, e) && (db_changes(db) > 0 ||
                            err_set(e, ERR_NOT_FOUND, "not_found", "No operator '" STR_FMT "'",
                                    STR_ARG(str_first(id, 100))));
}

bool operator_name_check(struct str name, struct err *e)
{
    bool ok = name.n > 0 && name.n <= OPERATOR_NAME_MAX && str_valid_utf8(name) &&
              str_eq(name, str_trim(name));
    for (size_t i = 0; ok && i < name.n; i++)
        ok = (unsigned char)name.p[i] >= ' ' && name.p[i] != 127 && name.p[i] != '/';
    return ok || err_field(e, "name",
                           "'name' must have 1 to %d bytes, no control characters, no / and no "
                           "space at its ends",
                           OPERATOR_NAME_MAX);
}

bool operator_is_spare(struct db *db, struct str id, int64_t owner_role, struct err *e)
{
    struct err inner = ERR_INIT;
    struct stmt *s = db_prepare(db,
                                "SELECT 1 FROM operator WHERE id <> ?1 AND role = ?2 AND "
                                "is_enabled AND password <> '' LIMIT 1",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    stmt_bind_int(s, 2, owner_role);
    bool found = stmt_step(s, &inner);
    return settle(s, &inner, e) &&
           (found || err_set(e, ERR_CONFLICT, "last_owner",
                             "This is the last owner who can sign in: make another one first"));
}

/* ---- sessions ---- */

bool session_list(struct db *db, struct arena *a, struct session_row **out, struct err *e)
{
    struct err inner = ERR_INIT;
    struct stmt *s = db_prepare(db,
                                "SELECT hash, id, operator, created_ms, expires_ms, seen_ms, "
                                "address, agent FROM session ORDER BY seen_ms DESC, id",
                                e);
    if (!s)
        return false;
    for (*out = NULL; stmt_step(s, &inner);) {
        struct str hash = stmt_blob(s, 0);
        if (hash.n != SHA256_SIZE)
            continue;
        struct session_row *row = *out = ARENA_NEW(a, struct session_row);
        memcpy(row->hash, hash.p, SHA256_SIZE);
        row->id = str_dup(a, stmt_str(s, 1));
        row->operator_id = str_dup(a, stmt_str(s, 2));
        row->created_ms = stmt_int(s, 3);
        row->expires_ms = stmt_int(s, 4);
        row->seen_ms = stmt_int(s, 5);
        row->address = str_dup(a, stmt_str(s, 6));
        row->agent = str_dup(a, stmt_str(s, 7));
        out = &row->next;
    }
    return settle(s, &inner, e);
}

bool session_insert(struct db *db, const struct session_row *r, struct err *e)
{
    struct stmt *s = db_prepare(db, "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                                e);
    if (!s)
        return false;
    stmt_bind_blob(s, 1, r->hash, sizeof r->hash);
    stmt_bind_str(s, 2, r->id);
    stmt_bind_str(s, 3, r->operator_id);
    stmt_bind_int(s, 4, r->created_ms);
    stmt_bind_int(s, 5, r->expires_ms);
    stmt_bind_int(s, 6, r->seen_ms);
    stmt_bind_str(s, 7, r->address.p ? r->address : STR(""));
    stmt_bind_str(s, 8, r->agent.p ? r->agent : STR(""));
    return finish(s, e);
}

bool session_touch(struct db *db, const uint8_t hash[SHA256_SIZE], int64_t seen_ms, struct err *e)
{
    struct stmt *s = db_prepare(db, "UPDATE session SET seen_ms = ?2 WHERE hash = ?1", e);
    if (s) {
        stmt_bind_blob(s, 1, hash, SHA256_SIZE);
        stmt_bind_int(s, 2, seen_ms);
    }
    return finish(s, e);
}

bool session_delete(struct db *db, struct str id, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM session WHERE id = ?1", e);
    if (s)
        stmt_bind_str(s, 1, id);
    return finish(s, e) &&
           (db_changes(db) > 0 || err_set(e, ERR_NOT_FOUND, "not_found", "No session '" STR_FMT "'",
                                          STR_ARG(str_first(id, 100))));
}

bool session_delete_all(struct db *db, struct str operator_id, struct str except, int64_t *n,
                        struct err *e)
{
    struct stmt *s = db_prepare(
        db, "DELETE FROM session WHERE (?1 = '' OR operator = ?1) AND id <> ?2", e);
    if (s) {
        stmt_bind_str(s, 1, operator_id.n ? operator_id : STR(""));
        stmt_bind_str(s, 2, except.n ? except : STR(""));
    }
    bool ok = finish(s, e);
    if (ok && n)
        *n = db_changes(db);
    return ok;
}

bool session_delete_over(struct db *db, int64_t now_ms, int64_t unseen_since_ms, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM session WHERE expires_ms <= ?1 OR seen_ms <= ?2",
                                e);
    if (s) {
        stmt_bind_int(s, 1, now_ms);
        stmt_bind_int(s, 2, unseen_since_ms);
    }
    return finish(s, e);
}

bool session_delete_excess(struct db *db, int64_t keep, const uint8_t newest[SHA256_SIZE],
                           struct err *e)
{
    struct stmt *s = db_prepare(
        db,
        "DELETE FROM session WHERE hash IN (SELECT hash FROM session ORDER "
        "BY hash = ?2 DESC, seen_ms DESC, created_ms DESC LIMIT -1 OFFSET ?1)",
        e);
    if (s) {
        stmt_bind_int(s, 1, keep);
        stmt_bind_blob(s, 2, newest, SHA256_SIZE);
    }
    return finish(s, e);
}

/* ---- lock-outs ---- */

bool lockout_list(struct db *db, struct arena *a, struct lockout_row **out, struct err *e)
{
    struct err inner = ERR_INIT;
    struct stmt *s = db_prepare(
        db, "SELECT address, failures, last_ms, until_ms, times FROM lockout", e);
    if (!s)
        return false;
    for (*out = NULL; stmt_step(s, &inner); out = &(*out)->next) {
        *out = ARENA_NEW(a, struct lockout_row);
        **out = (struct lockout_row){.address = str_dup(a, stmt_str(s, 0)),
                                     .failures = stmt_int(s, 1),
                                     .last_ms = stmt_int(s, 2),
                                     .until_ms = stmt_int(s, 3),
                                     .times = stmt_int(s, 4)};
    }
    return settle(s, &inner, e);
}

bool lockout_put(struct db *db, const struct lockout_row *l, struct err *e)
{
    struct stmt *s = db_prepare(db, "INSERT OR REPLACE INTO lockout VALUES (?1, ?2, ?3, ?4, ?5)",
                                e);
    if (s) {
        stmt_bind_str(s, 1, l->address);
        stmt_bind_int(s, 2, l->failures);
        stmt_bind_int(s, 3, l->last_ms);
        stmt_bind_int(s, 4, l->until_ms);
        stmt_bind_int(s, 5, l->times);
    }
    return finish(s, e);
}

bool lockout_delete(struct db *db, struct str address, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM lockout WHERE ?1 = '' OR address = ?1", e);
    if (s)
        stmt_bind_str(s, 1, address.n ? address : STR(""));
    return finish(s, e);
}

bool lockout_delete_old(struct db *db, int64_t last_before_ms, int64_t keep, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "DELETE FROM lockout WHERE (last_ms < ?1 AND until_ms < ?1) OR "
                                "address IN (SELECT address FROM lockout ORDER BY until_ms DESC, "
                                "last_ms DESC LIMIT -1 OFFSET ?2)",
                                e);
    if (s) {
        stmt_bind_int(s, 1, last_before_ms);
        stmt_bind_int(s, 2, keep);
    }
    return finish(s, e);
}

/* ---- the claim ---- */

bool claim_put(struct db *db, const uint8_t hash[SHA256_SIZE], int64_t expires_ms, struct err *e)
{
    struct stmt *s = db_prepare(db, "INSERT OR REPLACE INTO claim VALUES (1, ?1, ?2)", e);
    if (s) {
        stmt_bind_blob(s, 1, hash, SHA256_SIZE);
        stmt_bind_int(s, 2, expires_ms);
    }
    return finish(s, e);
}

bool claim_take(struct db *db, const uint8_t hash[SHA256_SIZE], int64_t now_ms, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM claim WHERE hash = ?1 AND expires_ms > ?2", e);
    if (s) {
        stmt_bind_blob(s, 1, hash, SHA256_SIZE);
        stmt_bind_int(s, 2, now_ms);
    }
    return finish(s, e) &&
           (db_changes(db) > 0 ||
            err_set(e, ERR_UNAUTHENTICATED, "invalid_claim",
                    "This claim link is not valid, was used, or has expired: `sluice admin claim` "
                    "makes a new one"));
}
