/* omni_backups.c - copies of the store: made while it is in use, listed, and restored. Restoring brings back what was configured then
 * (providers, models, combos, settings, client keys of the store); what happened since stays as it is: the request log, the audit
 * chain, versions of the configuration, and who is signed in. It is one change like any other: checked first, whole or not at all,
 * and rolled back from the list of versions. What stands in the configuration file is not in the store, and not touched. */
#include "api/change_work.h"
#include "api/omni_usage.h"
#include "base/clock.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "db_backups"
#define KEPT 20

struct backup {
    struct str name;
    int64_t size, made_ms;
    struct str reason;
};

static struct str folder(struct control_call *c)
{
    return str_fmt(c->arena, STR_FMT "/" FOLDER, STR_ARG(c->control->data_dir));
}

static struct str path_in(struct control_call *c, struct str name)
{
    return str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(folder(c)), STR_ARG(name));
}

/* db_2026-01-31T12-00-00-123Z_manual.sqlite: nothing else is looked at, so that no name leads out of the folder. */
static bool is_backup(struct str name, struct str *reason, int64_t *made_ms)
{
    char t[25];
    struct str rest;
    if (!str_starts(name, STR("db_")) || !str_ends(name, STR(".sqlite")) || name.n < 36)
        return false;
    memcpy(t, name.p + 3, 24);
    t[24] = 0;
    if (t[13] != '-' || t[16] != '-' || t[19] != '-' || name.p[27] != '_')
        return false;
    t[13] = t[16] = ':';
    t[19] = '.';
    rest = str_first(str_skip(name, 28), name.n - 28 - 7);
    for (size_t i = 0; i < rest.n; i++)
        if ((rest.p[i] < 'a' || rest.p[i] > 'z') && rest.p[i] != '-')
            return false;
    *reason = rest;
    return rest.n > 0 && clock_parse_rfc3339(str_of(t), made_ms);
}

static int newest_first(const void *a, const void *b)
{
    const struct backup *x = a, *y = b;
    return -strcmp(x->name.p, y->name.p);
}

static struct backup *list_all(struct control_call *c, size_t *n)
{
    struct backup *v = NULL;
    size_t cap = 0;
    DIR *d = opendir(str_z(c->arena, folder(c)));
    *n = 0;
    for (struct dirent *f; d && (f = readdir(d)) != NULL;) {
        struct backup b = {.name = str_dup(c->arena, str_of(f->d_name))};
        struct stat st;
        if (!is_backup(b.name, &b.reason, &b.made_ms) ||
            stat(str_z(c->arena, path_in(c, b.name)), &st) != 0)
            continue;
        b.size = st.st_size;
        if (*n == cap) {
            v = arena_realloc(c->arena, v, cap * sizeof *v, (cap * 2 + 16) * sizeof *v);
            cap = cap * 2 + 16;
        }
        v[(*n)++] = b;
    }
    if (d)
        (void)closedir(d);
    if (*n)
        qsort(v, *n, sizeof *v, newest_first);
    return v;
}

static int64_t count_in(struct db *db, const char *table)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    struct stmt *s = db_prepare(db, sql, NULL);
    int64_t n = s && stmt_step(s, NULL) ? stmt_int(s, 0) : 0;
    stmt_free(s);
    return n;
}

/* ---- listing ---- */

struct backup_out {
    struct str id, filename, createdAt;
    int64_t size;
    struct str reason;
    int64_t connectionCount;
};
struct backups_out {
    struct shape_list backups;
};
static const struct shape backup_shape = SHAPE(
    struct backup_out, FIELD(struct backup_out, id, 0, "What restoring asks for"),
    FIELD(struct backup_out, filename, 0, "Its file below db_backups in the data folder"),
    FIELD(struct backup_out, createdAt, 0, "When it was made"),
    FIELD(struct backup_out, size, 0, "Bytes"),
    FIELD(struct backup_out, reason, 0, "manual, or pre-restore: made before a restore"),
    FIELD(struct backup_out, connectionCount, 0, "Providers of the store that it holds"));
static const struct shape backups_shape = SHAPE(
    struct backups_out, FIELD_LIST(struct backups_out, backups, &backup_shape, 0, "Newest first"));

static bool list(struct control_call *c, struct err *e)
{
    size_t n;
    struct backup *v = list_all(c, &n);
    struct backup_out *out = ARENA_ARRAY(c->arena, struct backup_out, n + 1);
    (void)e;
    for (size_t i = 0; i < n; i++) {
        struct db *db = db_open(str_z(c->arena, path_in(c, v[i].name)), DB_READ_ONLY, NULL);
        out[i] = (struct backup_out){.id = v[i].name,
                                     .filename = v[i].name,
                                     .createdAt = omni_iso(c->arena, v[i].made_ms),
                                     .size = v[i].size,
                                     .reason = v[i].reason,
                                     .connectionCount = db ? count_in(db, "provider") : 0};
        db_close(db);
    }
    struct backups_out all = {{out, n}};
    return control_reply(c, 200, &backups_shape, &all);
}

/* ---- making ---- */

static bool make(struct control_call *c, const char *reason, struct backup *out, struct err *e)
{
    struct str t = omni_iso(c->arena, clock_wall_ms());
    struct stat st;
    struct db *db = control_db(c, e);
    const char *dir = str_z(c->arena, folder(c));
    if (!db)
        return false;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(e, "cannot create", dir);
    out->name = str_fmt(c->arena, "db_%.13s-%.2s-%.2s-%.3sZ_%s.sqlite", t.p, t.p + 14, t.p + 17,
                        t.p + 20, reason);
    const char *path = str_z(c->arena, path_in(c, out->name));
    if (!db_copy(db, path, e))
        return false;
    out->size = stat(path, &st) == 0 ? st.st_size : 0;
    size_t n;
    struct backup *all = list_all(c, &n);
    for (size_t i = KEPT; i < n; i++) /* the oldest */
        (void)unlink(str_z(c->arena, path_in(c, all[i].name)));
    return true;
}

struct backup_in {
    struct str backupId;
};
struct made_out {
    bool created, restored;
    struct str filename;
    int64_t size;
    struct str backupId;
    int64_t connectionCount, nodeCount, comboCount, apiKeyCount;
};
/* clang-format off */
static const struct shape backup_in_shape = SHAPE(struct backup_in,
    FIELD(struct backup_in, backupId, 0, "The copy to restore; absent: make one"));
static const struct shape made_shape = SHAPE(struct made_out,
    FIELD(struct made_out, created, OMIT_EMPTY, "A copy was made"),
    FIELD(struct made_out, filename, OMIT_EMPTY, "Its file"),
    FIELD(struct made_out, size, OMIT_EMPTY, "Its size"),
    FIELD(struct made_out, restored, OMIT_EMPTY, "A copy was restored"),
    FIELD(struct made_out, backupId, OMIT_EMPTY, "Which one"),
    FIELD(struct made_out, connectionCount, OMIT_EMPTY, "Providers of the store now; absent: none"),
    FIELD(struct made_out, nodeCount, OMIT_EMPTY, "Of these of the operator's own kinds"),
    FIELD(struct made_out, comboCount, OMIT_EMPTY, "Combos, chains and aliases of the store"),
    FIELD(struct made_out, apiKeyCount, OMIT_EMPTY, "Client keys of the store"));
/* clang-format on */

static bool create(struct control_call *c, struct err *e)
{
    struct backup b;
    if (!make(c, "manual", &b, e))
        return false;
    control_audit(c, "backup", b.name, STR_NONE,
                  str_fmt(c->arena, "{\"size\":%lld}", (long long)b.size));
    struct made_out out = {.created = true, .filename = b.name, .size = b.size};
    return control_reply(c, 200, &made_shape, &out);
}

/* ---- restoring ---- */

static void remove_all(struct control_call *c, struct str path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        (void)unlink(str_z(c->arena, str_fmt(c->arena, STR_FMT "%s", STR_ARG(path), ends[i])));
}

/* Nobody writes to a backup: its bytes are all there is of it. */
static bool copy_file(const char *from, const char *to, struct err *e)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    ssize_t n;
    if (in == -1)
        return err_errno(e, "cannot open", from);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out == -1) {
        (void)close(in);
        return err_errno(e, "cannot create", to);
    }
    while ((n = copy_file_range(in, NULL, out, NULL, 1u << 30, 0)) > 0)
        ;
    bool ok = n == 0 || err_errno(e, "cannot copy", from);
    (void)close(out);
    (void)close(in);
    return ok;
}

/* A file that the database cannot read is its sender's fault, whatever the library calls it: it was written here a moment ago. */
static bool is_whole(struct control_call *c, struct str from, struct err *e)
{
    struct db *db = db_open(str_z(c->arena, from), DB_READ_ONLY, e);
    bool ok = db && db_verify(db, e);
    db_close(db);
    return ok || err_set(e, ERR_INPUT, "damaged", "This copy is damaged: %s",
                         str_z(c->arena, str_of(e->message)));
}

/* A copy of the copy, brought to today's schema: the backup itself is never written to. */
static struct db *open_copy(struct control_call *c, struct str from, struct str to, struct err *e)
{
    struct db *db;
    if (!is_whole(c, from, e) || !copy_file(str_z(c->arena, from), str_z(c->arena, to), e))
        return NULL;
    db = db_open(str_z(c->arena, to), DB_READ_WRITE, e);
    if (db &&
        count_in(db, "sqlite_schema WHERE name IN ('provider','model','key','setting')") != 4) {
        db_close(db);
        err_set(e, ERR_INPUT, "not_ours", "This is no copy of sluice's store");
        return NULL;
    }
    if (db && db_migrate(db, e))
        return db;
    db_close(db);
    return NULL;
}

static bool put_keys(struct work *w, struct str from, struct err *e)
{
    (void)from;
    /* the columns that are stored: `*` would name the generated ones too */
    struct stmt *s = db_prepare(
        w->db, "SELECT group_concat('\"' || name || '\"') FROM pragma_table_info('key', 'main')",
        e);
    if (!s || !stmt_step(s, e)) {
        stmt_free(s);
        return false;
    }
    struct str columns = str_dup(w->a, stmt_str(s, 0));
    stmt_free(s);
    struct str sql = str_fmt(w->a,
                             "DELETE FROM main.key; INSERT INTO main.key(" STR_FMT
                             ") SELECT " STR_FMT " FROM backup.key",
                             STR_ARG(columns), STR_ARG(columns));
    return db_exec(w->db, str_z(w->a, sql), e);
}

static bool attach(struct db *db, struct str path, struct err *e)
{
    struct stmt *s = db_prepare(db, "ATTACH ?1 AS backup", e);
    if (s)
        stmt_bind_str(s, 1, path);
    bool ok = s && stmt_run(s, e);
    stmt_free(s);
    return ok;
}

static bool put_back(struct control_call *c, struct str id, struct str copy, yyjson_val *values,
                     struct err *e)
{
    struct work w;
    struct db *db = control_db(c, e);
    if (!db || !attach(db, copy, e) || !work_begin(&w, c, e))
        return false;
    w.changes_store = true;
    w.what = str_fmt(c->arena, "Restored the backup " STR_FMT, STR_ARG(id));
    bool ok = config_store_put(c->arena, c->control->seal, w.db, values, e) &&
              put_keys(&w, copy, e);
    return work_end(&w, ok, e);
}

static bool restore(struct control_call *c, struct str id, struct err *e)
{
    struct backup b, before;
    struct stat st;
    struct str from = path_in(c, id);
    if (!is_backup(id, &b.reason, &b.made_ms) || stat(str_z(c->arena, from), &st) != 0)
        return err_set(e, ERR_INPUT, "unknown_backup", "No backup '" STR_FMT "'",
                       STR_ARG(str_first(id, 100)));
    struct str copy = path_in(c, str_fmt(c->arena, "." STR_FMT ".tmp", STR_ARG(c->request_id)));
    yyjson_val *values = NULL;
    struct db *db = open_copy(c, from, copy, e);
    bool ok = db && config_store_values(c->arena, c->control->seal, db, &values, e);
    db_close(db);
    ok = ok && make(c, "pre-restore", &before, e) && put_back(c, id, copy, values, e);
    db_close(c->db); /* it has the copy attached */
    c->db = NULL;
    remove_all(c, copy);
    if (!ok)
        return false;
    db = control_db(c, e);
    if (!db)
        return false;
    struct made_out out = {.restored = true,
                           .backupId = id,
                           .connectionCount = count_in(db, "provider"),
                           .comboCount = count_in(db, "section_entry"),
                           .apiKeyCount = count_in(db, "key")};
    /* The objects that this changed have rows of their own. */
    control_audit(c, "backup", id,
                  str_fmt(c->arena, "{\"kept_as\":\"" STR_FMT "\"}", STR_ARG(before.name)),
                  str_fmt(c->arena, "{\"providers\":%lld,\"keys\":%lld}",
                          (long long)out.connectionCount, (long long)out.apiKeyCount));
    return control_reply(c, 200, &made_shape, &out);
}

static bool create_or_restore(struct control_call *c, struct err *e)
{
    const struct backup_in *in = c->in;
    return c->present & 1 ? restore(c, in->backupId, e) : create(c, e);
}

/* ---- to take away, and to bring back ---- */

#define EXPORT_MAX (60u << 20)
#define IMPORT_MAX (100u << 20)
#define IMPORT_MIN 4096

/* It holds password hashes and sealed credentials: for the owner alone. */
static bool export_store(struct control_call *c, struct err *e)
{
    struct backup b;
    struct str bytes;
    struct stat st;
    if (stat(str_z(c->arena, c->control->db_path), &st) == 0 && st.st_size > EXPORT_MAX)
        return err_set(e, ERR_TOO_LARGE, "too_large_to_send",
                       "The store is larger than 60 MB: PUT /api/db-backups makes a copy in the "
                       "folder " FOLDER " of the data folder");
    if (!make(c, "export", &b, e))
        return false;
    const char *path = str_z(c->arena, path_in(c, b.name));
    bool ok = file_read(c->arena, path, EXPORT_MAX, &bytes, e);
    (void)unlink(path);
    if (!ok)
        return false;
    control_audit(c, "backup", STR("export"), STR_NONE, STR_NONE);
    c->content_type = "application/octet-stream";
    control_header(c, STR("content-disposition"),
                   str_fmt(c->arena, "attachment; filename=\"sluice_%.24s.sqlite\"", b.name.p + 3));
    buf_str_add(&c->out, bytes);
    return true;
}

/* The content of the part `file` of a multipart body. */
static bool part_of_form(struct control_call *c, struct str *out, struct err *e)
{
    struct str type = control_head(c, "content-type"), body = c->body;
    const char *mark = type.n ? memmem(type.p, type.n, "boundary=", 9) : NULL;
    if (!mark)
        return err_field(e, "file", "the form names no boundary");
    struct str b = str_skip(type, (size_t)(mark - type.p) + 9);
    (void)str_cut(b, ';', &b);
    b = str_trim(b);
    if (b.n > 1 && b.p[0] == '"' && b.p[b.n - 1] == '"')
        b = str_first(str_skip(b, 1), b.n - 2);
    struct str line = str_fmt(c->arena, "\r\n--" STR_FMT, STR_ARG(b)), first = str_skip(line, 2);
    const char *at = b.n ? memmem(body.p, body.n, first.p, first.n) : NULL;
    while (at) {
        struct str rest = str_skip(body, (size_t)(at - body.p) + first.n);
        const char *head = memmem(rest.p, rest.n, "\r\n\r\n", 4);
        if (!head)
            break;
        struct str name = str_lower(c->arena, str_first(rest, (size_t)(head - rest.p))),
                   data = str_skip(rest, name.n + 4);
        const char *end = memmem(data.p, data.n, line.p, line.n);
        if (!end)
            break;
        if (str_contains(name, STR(" name=\"file\"")) || str_contains(name, STR(" name=file"))) {
            *out = str_first(data, (size_t)(end - data.p));
            return true;
        }
        at = end + 2;
    }
    return err_field(e, "file", "'file' is required: a part of the form");
}

static bool import_store(struct control_call *c, struct err *e)
{
    struct str bytes, t = omni_iso(c->arena, clock_wall_ms());
    struct file_draft draft;
    if (!part_of_form(c, &bytes, e))
        return false;
    if (bytes.n < IMPORT_MIN || !str_starts(bytes, str_n("SQLite format 3", 16)))
        return err_field(e, "file", "'file' is no copy of sluice's store");
    const char *dir = str_z(c->arena, folder(c));
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(e, "cannot create", dir);
    struct str id = str_fmt(c->arena, "db_%.13s-%.2s-%.2s-%.3sZ_import.sqlite", t.p, t.p + 14,
                            t.p + 17, t.p + 20);
    const char *path = str_z(c->arena, path_in(c, id));
    if (!file_prepare(&draft, path, bytes, e) || !file_commit(&draft, e))
        return false;
    if (restore(c, id, e))
        return true;
    (void)unlink(path); /* what cannot be restored is no backup */
    return false;
}

struct import_in {
    struct str file;
};
static const struct shape import_shape = SHAPE(
    struct import_in, FIELD(struct import_in, file, REQUIRED, "The file of an export or a backup"));

/* ---- the store ---- */

struct storage_out {
    struct str driver, dbPath;
    int64_t sizeBytes;
    struct str lastBackupAt;
    int64_t backupCount, retentionDays;
    struct str dataDir;
};
static const struct shape storage_shape = SHAPE(
    struct storage_out, FIELD(struct storage_out, driver, 0, "sqlite"),
    FIELD(struct storage_out, dbPath, 0, "The store's file"),
    FIELD(struct storage_out, sizeBytes, 0,
          "Its size, with what is written but not yet moved into it"),
    FIELD(struct storage_out, lastBackupAt, NULL_EMPTY, "When the newest backup was made"),
    FIELD(struct storage_out, backupCount, 0, "How many there are"),
    FIELD(struct storage_out, retentionDays, 0, "Days that the request log is kept; 0: for ever"),
    FIELD(struct storage_out, dataDir, 0, "The data folder"));

static bool storage(struct control_call *c, struct err *e)
{
    size_t n;
    struct stat st;
    struct backup *v = list_all(c, &n);
    struct storage_out out = {.driver = STR("sqlite"),
                              .dbPath = c->control->db_path,
                              .lastBackupAt = n ? omni_iso(c->arena, v[0].made_ms) : STR_NONE,
                              .backupCount = (int64_t)n,
                              .retentionDays = c->snap->settings.usage_retention_days,
                              .dataDir = c->control->data_dir};
    static const char *const ends[] = {"", "-wal"};
    (void)e;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (stat(str_z(c->arena,
                       str_fmt(c->arena, STR_FMT "%s", STR_ARG(c->control->db_path), ends[i])),
                 &st) == 0)
            out.sizeBytes += st.st_size;
    return control_reply(c, 200, &storage_shape, &out);
}

/* clang-format off */
const struct endpoint omni_backup_endpoints[] = {
    { HTTP_GET,  "/api/db-backups",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "List the copies of the store", .on_worker = list, .out = &backups_shape },
    { HTTP_POST, "/api/db-backups",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Copy the store; with a backupId: restore what was configured then", .on_worker = create_or_restore, .in = &backup_in_shape, .out = &made_shape, .body_is_optional = true, .is_create = true },
    { HTTP_PUT,  "/api/db-backups",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Copy the store", .on_worker = create, .out = &made_shape },
    { HTTP_GET,  "/api/db-backups/export", SURFACE_OMNIROUTE, ACCESS_OWNER, "Download a copy of the store", .on_worker = export_store, .leaves_trail = true, .media = "application/octet-stream" },
    { HTTP_POST, "/api/db-backups/import", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Restore what a downloaded copy configured", .on_worker = import_store, .in = &import_shape, .reads_body = true, .takes_form = true, .out = &made_shape, .capability = "backup_import", .max_body_bytes = IMPORT_MAX },
    { HTTP_GET,  "/api/storage/health", SURFACE_OMNIROUTE, ACCESS_VIEWER, "The store, and its copies", .on_worker = storage, .out = &storage_shape },
    {0},
};
/* clang-format on */
