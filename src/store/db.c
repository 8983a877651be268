#include "store/db.h"
#include "embedded.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct db {
    sqlite3 *h;
};
struct stmt {
    sqlite3_stmt *h;
    struct db *db;
};

static bool fail(struct db *db, int rc, const char *doing, struct err *e)
{
    int primary = rc & 0xff;
    if (primary == SQLITE_CONSTRAINT)
        return err_set(e, ERR_CONFLICT, "conflict", "%s", sqlite3_errmsg(db->h));
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
        return err_set(e, ERR_INTERNAL, "store_corrupt", "%s: %s", doing, sqlite3_errmsg(db->h));
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED)
        return err_set(e, ERR_OVERLOADED, "store_busy", "%s: the store is busy", doing);
    if (primary == SQLITE_TOOBIG)
        return err_set(e, ERR_TOO_LARGE, "store_too_large", "%s: too large for a row", doing);
    return err_set(e, ERR_INTERNAL, "store_failed", "%s: %s", doing, sqlite3_errmsg(db->h));
}

struct db *db_open(const char *path, enum db_mode mode, struct err *e)
{
    int flags = SQLITE_OPEN_NOMUTEX |
                (mode == DB_READ_ONLY ? SQLITE_OPEN_READONLY
                                      : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        abort();
    if (mode == DB_READ_WRITE && access(path, F_OK) != 0) {
        /* SQLite would make it readable by all. Only when there is none: closing any descriptor of the file drops the locks that the
         * other handles of this process hold on it, and another program would then take itself for the last one. */
        int fd = open(path, O_CREAT | O_EXCL | O_CLOEXEC | O_RDWR, 0600);
        if (fd >= 0)
            (void)close(fd);
    }
    int rc = sqlite3_open_v2(path, &db->h, flags, NULL);
    if (rc != SQLITE_OK) {
        err_set(e, ERR_INTERNAL, "store_failed", "cannot open '%s': %s", path,
                db->h ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc));
        db_close(db);
        return NULL;
    }
    sqlite3_extended_result_codes(db->h, 1);
    sqlite3_busy_timeout(db->h, 5000);
    if (!db_exec(db,
                 mode == DB_READ_WRITE
                     ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
                     : "PRAGMA query_only=ON; PRAGMA mmap_size=268435456;",
                 e)) {
        db_close(db);
        return NULL;
    }
    return db;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    (void)sqlite3_close(db->h);
    free(db);
}

bool db_exec(struct db *db, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(db->h, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK || fail(db, rc, "cannot run a statement", e);
}

bool db_load(struct db *db, const char *path, struct err *e)
{
    char *why = NULL;
    (void)sqlite3_db_config(db->h, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    int rc = sqlite3_load_extension(db->h, path, NULL, &why);
    (void)sqlite3_db_config(db->h, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    if (rc != SQLITE_OK)
        err_set(e, ERR_INTERNAL, "extension_failed", "cannot load '%s': %s", path, why ? why : "");
    sqlite3_free(why);
    return rc == SQLITE_OK;
}

bool db_begin(struct db *db, struct err *e)
{
    return db_exec(db, "BEGIN IMMEDIATE", e);
}

bool db_commit(struct db *db, struct err *e)
{
    if (db_exec(db, "COMMIT", e))
        return true;
    db_rollback(db);
    return false;
}

void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->h))
        (void)sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->h);
}

int64_t db_last_id(struct db *db)
{
    return sqlite3_last_insert_rowid(db->h);
}

/* ---- copies ---- */

bool db_copy(struct db *db, const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* SQLite would ask umask */
    if (fd == -1)
        return err_errno(e, "cannot create", path);
    (void)close(fd);
    struct stmt *s = db_prepare(db, "VACUUM INTO ?1", e);
    if (s)
        stmt_bind_str(s, 1, str_of(path));
    bool ok = s && stmt_run(s, e);
    stmt_free(s);
    if (!ok)
        (void)unlink(path);
    return ok;
}

bool db_verify(struct db *db, struct err *e)
{
    struct stmt *s = db_prepare(db, "PRAGMA integrity_check(1)", e);
    bool is_read = s && stmt_step(s, e);
    bool ok = is_read && (str_is(stmt_str(s, 0), "ok") ||
                          err_set(e, ERR_INPUT, "damaged", "The database is damaged: " STR_FMT,
                                  STR_ARG(str_first(stmt_str(s, 0), 200))));
    stmt_free(s);
    return ok;
}

/* ---- migrations: NNNN_what.sql, in order; PRAGMA user_version holds the last one done ---- */

static bool read_version(struct db *db, int64_t *version, struct err *e)
{
    struct stmt *s = db_prepare(db, "PRAGMA user_version", e);
    if (!s)
        return false;
    bool ok = stmt_step(s, e);
    if (ok)
        *version = stmt_int(s, 0);
    stmt_free(s);
    return ok;
}

bool db_migrate(struct db *db, struct err *e)
{
    int64_t version = 0, newest = 0;
    if (!read_version(db, &version, e))
        return false;
    for (const struct embedded *f = store_migrations; f->name; f++) {
        int64_t number = strtol(f->name, NULL, 10);
        char set[64];
        newest = number > newest ? number : newest;
        if (number <= version)
            continue;
        (void)snprintf(set, sizeof set, "PRAGMA user_version=%lld", (long long)number);
        if (!db_begin(db, e))
            return false;
        /* Another process may have done it while we waited for the lock. */
        int64_t now = 0;
        if (!read_version(db, &now, e) ||
            (now < number && (!db_exec(db, (const char *)f->data, e) || !db_exec(db, set, e)))) {
            db_rollback(db);
            return false;
        }
        if (!db_commit(db, e))
            return false;
    }
    if (version > newest)
        return err_set(
            e, ERR_CONFLICT, "schema_too_new",
            "The store has schema version %lld, this program knows %lld: use a newer sluice",
            (long long)version, (long long)newest);
    return true;
}

/* ---- statements ---- */

struct stmt *db_prepare(struct db *db, const char *sql, struct err *e)
{
    sqlite3_stmt *h;
    int rc = sqlite3_prepare_v3(db->h, sql, -1, 0, &h, NULL);
    if (rc != SQLITE_OK) {
        (void)fail(db, rc, "cannot prepare a statement", e);
        return NULL;
    }
    struct stmt *s = malloc(sizeof *s);
    if (!s)
        abort();
    *s = (struct stmt){h, db};
    return s;
}

void stmt_free(struct stmt *s)
{
    if (!s)
        return;
    (void)sqlite3_finalize(s->h);
    free(s);
}

void stmt_bind_str(struct stmt *s, int at, struct str v)
{
    if (v.p)
        (void)sqlite3_bind_text64(s->h, at, v.p, v.n, SQLITE_STATIC, SQLITE_UTF8);
    else
        (void)sqlite3_bind_null(s->h, at);
}

void stmt_bind_blob(struct stmt *s, int at, const void *p, size_t n)
{
    (void)sqlite3_bind_blob64(s->h, at, p, n, SQLITE_STATIC);
}

void stmt_bind_int(struct stmt *s, int at, int64_t v)
{
    (void)sqlite3_bind_int64(s->h, at, v);
}

void stmt_bind_null(struct stmt *s, int at)
{
    (void)sqlite3_bind_null(s->h, at);
}

void stmt_reset(struct stmt *s)
{
    (void)sqlite3_reset(s->h);
    (void)sqlite3_clear_bindings(s->h);
}

bool stmt_run(struct stmt *s, struct err *e)
{
    int rc;
    do {
        rc = sqlite3_step(s->h);
    } while (rc == SQLITE_ROW);
    bool ok = rc == SQLITE_DONE || fail(s->db, rc, "cannot write to the store", e);
    stmt_reset(s);
    return ok;
}

bool stmt_step(struct stmt *s, struct err *e)
{
    int rc = sqlite3_step(s->h);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        (void)fail(s->db, rc, "cannot read from the store", e);
    return false;
}

struct str stmt_str(struct stmt *s, int column)
{
    const unsigned char *p = sqlite3_column_text(s->h, column);
    return str_n((const char *)p, (size_t)sqlite3_column_bytes(s->h, column));
}

struct str stmt_blob(struct stmt *s, int column)
{
    const void *p = sqlite3_column_blob(s->h, column);
    return str_n(p, (size_t)sqlite3_column_bytes(s->h, column));
}

int64_t stmt_int(struct stmt *s, int column)
{
    return sqlite3_column_int64(s->h, column);
}

bool stmt_is_null(struct stmt *s, int column)
{
    return sqlite3_column_type(s->h, column) == SQLITE_NULL;
}

/* ---- rows from code: an eponymous virtual table whose only plan is to walk them ---- */

struct source_table {
    sqlite3_vtab base; /* first: SQLite knows it by this */
    struct db_source *source;
};
struct source_cursor {
    sqlite3_vtab_cursor base;
    size_t row;
};

static struct db_source *source_of(sqlite3_vtab_cursor *cursor)
{
    return ((struct source_table *)cursor->pVtab)->source;
}

static int source_connect(sqlite3 *h, void *arg, int argc, const char *const *argv,
                          sqlite3_vtab **out, char **message)
{
    struct db_source *source = arg;
    char sql[1024];
    int n = snprintf(sql, sizeof sql, "CREATE TABLE x(");
    (void)argc;
    (void)argv;
    (void)message;
    for (unsigned i = 0; i < source->columns && n < (int)sizeof sql; i++)
        n += snprintf(sql + n, sizeof sql - (size_t)n, "%sc%u", i ? "," : "", i);
    if (n + 1 >= (int)sizeof sql)
        return SQLITE_TOOBIG;
    memcpy(sql + n, ")", 2);
    struct source_table *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->source = source;
    *out = &t->base;
    return sqlite3_declare_vtab(h, sql);
}

static int source_disconnect(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

static int source_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 1;
    return SQLITE_OK;
}

static int source_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    struct source_cursor *c = calloc(1, sizeof *c);
    (void)table;
    if (!c)
        abort();
    *out = &c->base;
    return SQLITE_OK;
}

static int source_close(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int source_rewind(sqlite3_vtab_cursor *cursor, int plan, const char *plan_text, int argc,
                         sqlite3_value **argv)
{
    (void)plan;
    (void)plan_text;
    (void)argc;
    (void)argv;
    ((struct source_cursor *)cursor)->row = 0;
    return SQLITE_OK;
}

static int source_next(sqlite3_vtab_cursor *cursor)
{
    ((struct source_cursor *)cursor)->row++;
    return SQLITE_OK;
}

static int source_is_at_end(sqlite3_vtab_cursor *cursor)
{
    return ((struct source_cursor *)cursor)->row >= source_of(cursor)->rows;
}

static int source_value(sqlite3_vtab_cursor *cursor, sqlite3_context *out, int column)
{
    struct db_source *source = source_of(cursor);
    size_t row = ((struct source_cursor *)cursor)->row;
    struct db_value v = source->value(source->arg, row, (unsigned)column);
    switch (v.kind) {
    case DB_NULL:
        sqlite3_result_null(out);
        break;
    case DB_INT:
        sqlite3_result_int64(out, v.number);
        break;
    case DB_TEXT:
        sqlite3_result_text64(out, v.text.p, v.text.n, SQLITE_STATIC, SQLITE_UTF8);
        break;
    }
    return SQLITE_OK;
}

static int source_row_id(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)((struct source_cursor *)cursor)->row;
    return SQLITE_OK;
}

bool db_add_source(struct db *db, const char *name, struct db_source *source, struct err *e)
{
    static const sqlite3_module module = {
        .xConnect = source_connect,
        .xBestIndex = source_plan,
        .xDisconnect = source_disconnect,
        .xOpen = source_open,
        .xClose = source_close,
        .xFilter = source_rewind,
        .xNext = source_next,
        .xEof = source_is_at_end,
        .xColumn = source_value,
        .xRowid = source_row_id,
    };
    int rc = sqlite3_create_module_v2(db->h, name, &module, source, NULL);
    return rc == SQLITE_OK || fail(db, rc, "cannot add a table of rows from code", e);
}

/* ---- many rows: an aggregate of ours is handed the values where they lie ---- */

struct row {
    sqlite3_value **values;
};
struct each {
    row_fn *f;
    void *arg;
};

static void on_row(sqlite3_context *c, int n, sqlite3_value **values)
{
    const struct each *each = sqlite3_user_data(c);
    (void)n;
    each->f(each->arg, &(struct row){values});
}

static void on_rows_end(sqlite3_context *c)
{
    (void)c;
}

bool db_each_row(struct db *db, const char *sql, row_fn *f, void *arg, struct err *e)
{
    struct each each = {f, arg};
    int rc = sqlite3_create_function_v2(db->h, "each_row", -1, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                        &each, NULL, on_row, on_rows_end, NULL);
    if (rc != SQLITE_OK)
        return fail(db, rc, "cannot read from the store", e);
    struct stmt *s = db_prepare(db, sql, e);
    bool ok = s && stmt_step(s, e); /* the one row of an aggregate */
    stmt_free(s);
    (void)sqlite3_create_function_v2(db->h, "each_row", -1, SQLITE_UTF8, NULL, NULL, NULL, NULL,
                                     NULL);
    return ok;
}

struct str row_str(const struct row *r, int column)
{
    const unsigned char *p = sqlite3_value_text(r->values[column]);
    return str_n((const char *)p, (size_t)sqlite3_value_bytes(r->values[column]));
}

struct str row_blob(const struct row *r, int column)
{
    const void *p = sqlite3_value_blob(r->values[column]);
    return str_n(p, (size_t)sqlite3_value_bytes(r->values[column]));
}

int64_t row_int(const struct row *r, int column)
{
    return sqlite3_value_int64(r->values[column]);
}

bool row_is_null(const struct row *r, int column)
{
    return sqlite3_value_type(r->values[column]) == SQLITE_NULL;
}
