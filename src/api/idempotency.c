/* idempotency.c - Idempotency-Key: a create that is sent again gets the answer of the first time, and makes nothing. Answers are kept for a
 * day, sealed, since new keys are shown in them; ten thousand at most.
 *
 * A row goes through three states: the call is under way; its change is committed, in one transaction with the change; its answer
 * is kept. A process that dies leaves one of the first two, and the next one knows it by its mark: what was under way has
 * changed nothing and may begin again; what was made is answered from what the row says of it. */
#include "api/control.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"

#define KEEP_MS 86400000
#define MAX_KEPT 10000
#define MAX_NAME 255
#define ABANDONED_MS 60000 /* no call takes so long: its process was killed */
#define UNDER_WAY 0        /* status of a call that has not ended */
#define MADE 1             /* … whose change is committed */
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
    /* a password in it must not be found by trying */
    sha256(c->row->takes_password ? seal_tag(c->control->seal, c->arena, buf_str(&all))
                                  : buf_str(&all),
           out);
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

/* ---- what a row says of a call that has no answer yet ---- */

static struct str state_of(struct control_call *c)
{
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_int(&w, "process", c->control->started_ms);
    jw_kv_int(&w, "at_ms", c->made.at_ms);
    jw_kv_str(&w, "text", c->made.text);
    jw_key(&w, "objects");
    jw_array(&w);
    for (size_t i = 0; i < c->made.objects.n; i++)
        jw_str(&w, c->made.objects.v[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    return buf_str(&b);
}

static void read_state(struct control_call *c, yyjson_val *state)
{
    yyjson_val *list = json_get(state, "objects"), *one;
    size_t i, max;
    c->made = (struct call_made){
        .objects = {ARENA_ARRAY(c->arena, struct str, yyjson_arr_size(list) + 1), 0},
        .text = json_get_str(state, "text"),
        .at_ms = json_get_int(state, "at_ms", 0)};
    yyjson_arr_foreach (list, i, max, one)
        c->made.objects.v[c->made.objects.n++] = json_str(one);
    c->is_resumed = true;
}

/* A call without an answer: *is_there when another one runs; resumed when its process died behind its change. */
static bool find_unanswered(struct control_call *c, int64_t status, struct str kept, int64_t age_ms,
                            bool *is_there, struct err *e)
{
    yyjson_val *state = NULL;
    int64_t process = 0;
    if (kept.n && json_parse(c->arena, kept, 8, &state, NULL))
        process = json_get_int(state, "process", 0);
    bool is_ours = process == c->control->started_ms;
    if (status == MADE && !is_ours) {
        read_state(c, state);
        return true;
    }
    /* one server serves a store: what another process began is over */
    *is_there = is_ours && (status == MADE || (age_ms < ABANDONED_MS && age_ms > -ABANDONED_MS));
    return !*is_there || err_set(e, ERR_CONFLICT, "idempotency_under_way",
                                 "The first call with this Idempotency-Key has not ended yet");
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
        bool is_same = str_eq(hash, str_n((const char *)r->body_hash, SHA256_SIZE));
        ok = left_ms <= 0 || seal_unwrap(c->control->seal, c->arena, sealed, BOUND_TO, &answer, e);
        if (ok && left_ms > 0 && (status == UNDER_WAY || status == MADE))
            /* an age below 0: the clock was set back since */
            ok = find_unanswered(c, status, secret_reveal(answer), KEEP_MS - left_ms, is_there, e);
        else if (ok && left_ms > 0)
            *is_there = true;
        if ((*is_there || c->is_resumed) && !is_same) {
            err_clear(e);
            ok = err_set(e, ERR_CONFLICT, "idempotency_conflict",
                         "This Idempotency-Key was used for something else");
        } else if (ok && *is_there) {
            c->status = (int)status;
            buf_str_add(&c->out, secret_reveal(answer));
            control_header(c, STR("idempotent-replayed"), STR("true"));
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
    struct str given = control_head(c, "idempotency-key");
    if (!endpoint_is_repeatable(c->row) || !given.p)
        return true;
    if (given.n == 0)
        return err_field(e, "idempotency-key", "'idempotency-key' is empty");
    struct db *db = read_key(c, &r, e) ? control_db(c, e) : NULL;
    if (!db || !db_begin(db, e))
        return false;
    bool ok = find(c, db, &r, &is_there, e) &&
              (is_there || c->is_resumed ||
               (forget_old(db, e) && write_row(c, db, &r, UNDER_WAY, state_of(c), e)));
    if (!ok) {
        db_rollback(db);
        return false;
    }
    *is_done = is_there;
    c->is_repeatable = !is_there;
    return db_commit(db, e);
}

bool control_was_made(struct control_call *c, struct str object)
{
    const struct strs *made = &c->made.objects;
    size_t i = 0;
    if (!c->is_resumed || !made->n)
        return false;
    while (object.n && i < made->n && !str_eq(made->v[i], object))
        i++;
    if (i == made->n)
        return false;
    c->made.objects = (struct strs){made->v + i, 1};
    control_header(c, STR("idempotent-replayed"), STR("true"));
    return true;
}

static bool lost(const struct control_call *c, struct err *e)
{
    err_clear(e);
    return err_set(e, ERR_CONFLICT, "idempotency_answer_lost",
                   "The first call with this Idempotency-Key made '" STR_FMT
                   "', but its answer was lost: read it",
                   STR_ARG(str_first(c->made.objects.n ? c->made.objects.v[0] : STR_NONE, 200)));
}

bool idempotency_made(struct control_call *c, struct db *db, int status, struct err *e)
{
    struct repetition r;
    if (!c->is_repeatable || status >= 400)
        return true;
    if (c->is_resumed)
        return lost(c, e);
    struct strs *all = &c->made.objects, asked = *all, noted = control_noted(c);
    *all = (struct strs){ARENA_ARRAY(c->arena, struct str, asked.n + noted.n + 1), 0};
    for (size_t i = 0; i < asked.n; i++)
        all->v[all->n++] = asked.v[i];
    for (size_t i = 0; i < noted.n; i++)
        all->v[all->n++] = noted.v[i];
    return read_key(c, &r, e) && write_row(c, db, &r, MADE, state_of(c), e);
}

bool idempotency_end(struct control_call *c, bool ok, struct err *e)
{
    struct repetition r;
    struct err late = ERR_INIT;
    if (!c->is_repeatable)
        return ok;
    if (!ok && c->is_resumed) /* it stays made */
        return lost(c, e);
    struct db *db = read_key(c, &r, &late) ? control_db(c, &late) : NULL;
    if (db && ok) {
        (void)write_row(c, db, &r, c->status, buf_str(&c->out), &late);
    } else if (db) { /* what failed may be tried again */
        struct stmt *s = prepare(db, "DELETE FROM idempotency WHERE caller = ?1 AND name = ?2", &r,
                                 &late);
        (void)(s && stmt_run(s, &late));
        stmt_free(s);
    }
    if (late.kind != ERR_NONE)
        log_error(str_z(c->arena, c->request_id), "idempotency.lost", "path=%s error=%s",
                  c->row->path, late.message);
    return ok;
}
