#include "meter/saved.h"
#include "base/log.h"
#include <stdlib.h>

struct saving {
    const char *name;
    struct buf text;
};

static bool run(void *arg, struct db *db, struct err *e)
{
    struct saving *s = arg;
    struct stmt *st = db_prepare(db, "INSERT OR REPLACE INTO metrics(key, value) VALUES(?1, ?2)",
                                 e);
    if (!st)
        return false;
    stmt_bind_str(st, 1, str_of(s->name));
    stmt_bind_str(st, 2, buf_str(&s->text));
    bool ok = stmt_run(st, e);
    stmt_free(st);
    return ok;
}

static void done(void *arg)
{
    struct saving *s = arg;
    buf_done(&s->text);
    free(s);
}

bool saved_put(struct usage_log *log, const char *name, struct buf *text)
{
    static const struct usage_work work = {run, done};
    struct saving *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    *s = (struct saving){name, *text};
    *text = (struct buf){0};
    if (!buf_failed(&s->text) && usage_log_post(log, &work, s, s->text.n))
        return true;
    done(s);
    return false;
}

yyjson_val *saved_get(struct db *db, struct arena *a, const char *name)
{
    struct err e = ERR_INIT;
    yyjson_val *root = NULL;
    struct stmt *s = db ? db_prepare(db, "SELECT value FROM metrics WHERE key = ?1", &e) : NULL;
    if (s) {
        stmt_bind_str(s, 1, str_of(name));
        if (stmt_step(s, &e) && !json_parse(a, str_dup(a, stmt_str(s, 0)), 8, &root, &e))
            root = NULL;
    }
    stmt_free(s);
    if (e.kind != ERR_NONE)
        log_warn(NULL, "saved.not_loaded", "name=%s error=%s", name, e.message);
    return root;
}
