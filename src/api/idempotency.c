/* idempotency.c - Idempotency-Key: a create that is sent again gets the answer of the first time, and makes nothing. Answers are kept for a
 * day, sealed, since new keys are shown in them; ten thousand at most. */
#include "api/control.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"

#define KEEP_MS 86400000
#define MAX_KEPT 10000
#define MAX_NAME 255
#define ABANDONED_MS 60000 /* no call takes so long: its process was killed */
#define UNDER_WAY 0        /* status of a call that has not ended */
#define BOUND_TO STR("idempotency")

struct repetition {
    struct str caller, name;
    uint8_t body_hash[SHA256_SIZE]; /* of all that says what is asked for */
};

/* The body, and what of the path and the query names: lengths keep them apart. */
static void hash_of(struct control_call *c, uint8_t out[SHA256_SIZE])
{
    struct buf all;
    buf_init_arena(&all, c->arena, SIZE_MAX / 2);
    for (size_t i = 0; i < c->params.n; i++)
        buf_fmt(&all, "%zu:" STR_FMT ",", c->params.v[i].value.n, STR_ARG(c->params.v[i].value));
    buf_fmt(&all, "%zu:" STR_FMT ",", c->query.n, STR_ARG(c->query));
    buf_str_add(&all, c->body);
    sha256(buf_str(&all), out);
}

static bool read_key(struct control_call *c, struct repetition *r, struct err *e)
{
    r->name = control_head(c, "idempotency-key");
    if (r->name.n > MAX_NAME)
        return err_field(e, "idempotency-key", "'idempotency-key' has more than %d characters",
                         MAX_NAME);
    r->caller = str_fmt(c->arena, "%s " STR_FMT " %s", principal_kind_name(c->who.kind),
                        STR_ARG(c->who.id), c->row->path);
    hash_of(c, r->body_hash);
    return true;
}

static struct stmt *prepare(struct db *db, const char *sql, const struct repetition *r,
                            struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    if (s) {
        stmt_bind_str(s, 1, r->caller);
        stmt_bind_str(s, 2, r->name);
    }
    return s;
}

/* What is known of the key, when it still counts. */
static bool find(struct control_call *c, struct db *db, const struct repetition *r, bool *is_there,
                 struct err *e)
{
    struct secret answer;
    struct stmt *s = prepare(db,
                             "SELECT body_hash, status, answer, expires_ms FROM idempotency"
                             " WHERE caller = ?1 AND name = ?2",
                             r, e);
    if (!s)
        return false;
    *is_there = false;
    bool ok = true;
    if (stmt_step(s, e)) {
        struct str hash = stmt_blob(s, 0), sealed = str_dup(c->arena, stmt_blob(s, 2));
        int64_t status = stmt_int(s, 1), left_ms = stmt_int(s, 3) - clock_wall_ms();
        int64_t age_ms = KEEP_MS - left_ms; /* below 0: the clock was set back since */
        bool counts = left_ms > 0 &&
                      (status != UNDER_WAY || (age_ms < ABANDONED_MS && age_ms > -ABANDONED_MS));
        *is_there = counts;
        if (counts && !str_eq(hash, str_n((const char *)r->body_hash, SHA256_SIZE)))
            ok = err_set(e, ERR_CONFLICT, "idempotency_conflict",
                         "This Idempotency-Key was used for something else");
        else if (counts && status == UNDER_WAY)
            ok = err_set(e, ERR_CONFLICT, "idempotency_under_way",
                         "The first call with this Idempotency-Key has not ended yet");
        else if (counts) {
            ok = seal_unwrap(c->control->seal, c->arena, sealed, BOUND_TO, &answer, e);
            if (ok) {
                c->status = (int)status;
                buf_str_add(&c->out, secret_reveal(answer));
                control_header(c, STR("idempotent-replayed"), STR("true"));
            }
        }
    }
    stmt_free(s);
    return ok && e->kind == ERR_NONE;
}

static bool write_row(struct control_call *c, struct db *db, const struct repetition *r, int status,
                      struct str answer, struct err *e)
{
    struct stmt *s = prepare(db,
                             "INSERT OR REPLACE INTO idempotency"
                             "(caller, name, body_hash, status, answer, expires_ms)"
                             " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                             r, e);
    if (!s)
        return false;
    struct str sealed = seal_wrap(c->control->seal, c->arena, secret_of(answer), BOUND_TO);
    stmt_bind_blob(s, 3, r->body_hash, SHA256_SIZE);
    stmt_bind_int(s, 4, status);
    stmt_bind_blob(s, 5, sealed.p, sealed.n);
    stmt_bind_int(s, 6, clock_wall_ms() + KEEP_MS);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

static bool forget_old(struct db *db, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "DELETE FROM idempotency WHERE expires_ms < ?1 OR expires_ms <= "
                                "(SELECT expires_ms FROM idempotency ORDER BY expires_ms DESC"
                                " LIMIT 1 OFFSET ?2)",
                                e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, clock_wall_ms());
    stmt_bind_int(s, 2, MAX_KEPT);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool idempotency_begin(struct control_call *c, bool *is_done, struct err *e)
{
    struct repetition r;
    bool is_there = false;
    *is_done = false;
    if (!endpoint_is_repeatable(c->row) || !control_head(c, "idempotency-key").n)
        return true;
    struct db *db = read_key(c, &r, e) ? control_db(c, e) : NULL;
    if (!db || !db_begin(db, e))
        return false;
    bool ok = find(c, db, &r, &is_there, e) &&
              (is_there || (forget_old(db, e) && write_row(c, db, &r, UNDER_WAY, STR_NONE, e)));
    if (!ok) {
        db_rollback(db);
        return false;
    }
    *is_done = is_there;
    c->is_repeatable = !is_there;
    return db_commit(db, e);
}

void idempotency_end(struct control_call *c, bool ok)
{
    struct repetition r;
    struct err e = ERR_INIT;
    if (!c->is_repeatable || !read_key(c, &r, &e))
        return;
    struct db *db = control_db(c, &e);
    if (db && ok) {
        ok = write_row(c, db, &r, c->status, buf_str(&c->out), &e);
    } else if (db) { /* what failed may be tried again */
        struct stmt *s = prepare(db, "DELETE FROM idempotency WHERE caller = ?1 AND name = ?2", &r,
                                 &e);
        (void)(s && stmt_run(s, &e));
        stmt_free(s);
    }
    if (e.kind != ERR_NONE)
        log_error(str_z(c->arena, c->request_id), "idempotency.lost", "path=%s error=%s",
                  c->row->path, e.message);
}
