/* db.h - one SQLite handle: statements, transactions, migrations. A handle belongs to one thread. */
#ifndef STORE_DB_H
#define STORE_DB_H
#include "base/err.h"

enum db_mode { DB_READ_ONLY, DB_READ_WRITE };
struct db;
struct stmt;

/* WAL, foreign keys on, busy timeout 5 s. NULL with e set. A read-write open creates the file (0600) when missing. */
struct db *db_open(const char *path, enum db_mode mode, struct err *e) MUST_USE;
void db_close(struct db *db);                                 /* NULL is allowed */
bool db_exec(struct db *db, const char *sql, struct err *e) MUST_USE; /* any number of statements without results */
bool db_begin(struct db *db, struct err *e) MUST_USE;         /* BEGIN IMMEDIATE */
bool db_commit(struct db *db, struct err *e) MUST_USE;        /* rolls back when it fails */
void db_rollback(struct db *db);
/* An extension of SQLite, for this handle only. path is the operator's: what it names runs in this process. */
bool db_load(struct db *db, const char *path, struct err *e) MUST_USE;
int64_t db_changes(struct db *db);                            /* rows the last statement changed */
int64_t db_last_id(struct db *db);
/* Brings the schema to the newest version, each step in its own transaction; refuses a schema newer than this program. */
bool db_migrate(struct db *db, struct err *e) MUST_USE;

/* A copy as it stands at this moment, made while others read and write. path must not exist. */
bool db_copy(struct db *db, const char *path, struct err *e) MUST_USE;
/* Whether all of it can be read and is sound: looks at every page. ERR_INPUT says what is wrong. */
bool db_verify(struct db *db, struct err *e) MUST_USE;

/* sql: one statement. NULL with e set. Statements are kept by the caller or freed; texts must outlive stmt_run and the last stmt_step. */
struct stmt *db_prepare(struct db *db, const char *sql, struct err *e) MUST_USE;
void stmt_free(struct stmt *s);                               /* NULL is allowed */
void stmt_bind_str(struct stmt *s, int at, struct str v);     /* at from 1; STR_NONE (p == NULL) binds NULL */
void stmt_bind_blob(struct stmt *s, int at, const void *p, size_t n);
void stmt_bind_int(struct stmt *s, int at, int64_t v);
void stmt_bind_null(struct stmt *s, int at);
bool stmt_run(struct stmt *s, struct err *e) MUST_USE;        /* to its end, then ready to be bound again. A broken constraint is ERR_CONFLICT */
bool stmt_step(struct stmt *s, struct err *e) MUST_USE;       /* true: a row. false: the end, or an error in e (kind set) */
void stmt_reset(struct stmt *s);
struct str stmt_str(struct stmt *s, int column);              /* from 0; valid until the next step */
struct str stmt_blob(struct stmt *s, int column);
int64_t stmt_int(struct stmt *s, int column);
bool stmt_is_null(struct stmt *s, int column);

/* Rows from code as a table to select from: INSERT … SELECT * FROM it writes many records in one run of one statement, for two
 * thirds of what binding each costs. */
struct db_value {
    enum { DB_NULL, DB_INT, DB_TEXT } kind;
    int64_t number;
    struct str text;            /* valid until the statement ends */
};
struct db_source {              /* the caller's; outlives the handle */
    unsigned columns;
    size_t rows;                /* may change between runs */
    struct db_value (*value)(void *arg, size_t row, unsigned column);
    void *arg;
};
bool db_add_source(struct db *db, const char *name, struct db_source *source, struct err *e) MUST_USE;

/* Rows by the hundred thousand, in half the time that a step and a call a column take: f is called for each row of
 * "SELECT each_row(a, b, …) FROM …". What it reads of the row is valid during the call. */
struct row;
typedef void row_fn(void *arg, const struct row *r);
bool db_each_row(struct db *db, const char *sql, row_fn *f, void *arg, struct err *e) MUST_USE;
struct str row_str(const struct row *r, int column);          /* from 0 */
struct str row_blob(const struct row *r, int column);
int64_t row_int(const struct row *r, int column);
bool row_is_null(const struct row *r, int column);
#endif
