/* audit.c - what control-plane calls leave in the audit log, and /sluice/v1/audit, which reads it. */
#include "domain/audit.h"
#include "api/control.h"
#include "api/refusals.h"
#include "base/clock.h"
#include "base/log.h"
#include "gate/peer.h"
#include "net/worker.h"

/* ---- writing ---- */

struct control_note {
    struct control_note *next; /* newest first */
    const char *kind;
    struct str name, before, after;
    bool is_written; /* in a transaction of the handler's */
};

void control_audit(struct control_call *c, const char *kind, struct str name, struct str before,
                   struct str after)
{
    struct control_note *n = ARENA_NEW(c->arena, struct control_note);
    *n = (struct control_note){.next = c->notes,
                               .kind = kind,
                               .name = str_dup(c->arena, name),
                               .before = audit_masked(c->arena, before),
                               .after = audit_masked(c->arena, after)};
    c->notes = n;
}

/* Who did what; the object is the caller's to name. */
static struct audit_row begin_row(const struct principal *who, const struct endpoint *what,
                                  int status, const char *outcome)
{
    bool is_anonymous = who->kind == PRINCIPAL_ANONYMOUS;
    return (struct audit_row){
        .at_ms = clock_wall_ms(),
        .actor_kind = str_of(principal_kind_name(who->kind)),
        .actor_id = who->id,
        .actor = who->name.n    ? who->name
                 : is_anonymous ? STR_NONE
                                : who->id,
        .method = str_of(http_method_name(what->method)),
        .path = str_of(what->path),
        .status = status,
        .outcome = str_of(outcome),
    };
}

static struct audit_row row_of(const struct control_call *c, const struct control_note *n,
                               int status, const char *outcome)
{
    struct audit_row row = begin_row(&c->who, c->row, status, outcome);
    row.address = c->address;
    row.request_id = c->request_id;
    row.kind = str_of(n->kind);
    row.object = n->name;
    row.before = n->before;
    row.after = n->after;
    return row;
}

static bool append(const struct control_call *c, struct db *db, const struct control_note *n,
                   int status, const char *outcome, struct err *e)
{
    struct audit_row row = row_of(c, n, status, outcome);
    return audit_append(db, &row, e);
}

/* Oldest first. */
static bool append_all(struct control_call *c, struct db *db, struct control_note *n, int status,
                       const char *outcome, bool is_again, struct err *e)
{
    if (!n)
        return true;
    if (!append_all(c, db, n->next, status, outcome, is_again, e))
        return false;
    if (n->is_written && !is_again)
        return true;
    n->is_written = true;
    return append(c, db, n, status, outcome, e);
}

struct strs control_noted(struct control_call *c)
{
    size_t n = 0;
    for (const struct control_note *one = c->notes; one; one = one->next)
        n++;
    struct strs out = {ARENA_ARRAY(c->arena, struct str, n + 1), 0};
    for (const struct control_note *one = c->notes; one; one = one->next)
        out.v[out.n++] = one->name;
    return out;
}

bool control_audit_write(struct control_call *c, struct db *db, int status, struct err *e)
{
    return append_all(c, db, c->notes, status, "ok", false, e) &&
           idempotency_made(c, db, status, e);
}

static bool is_left(const struct control_note *n)
{
    for (; n; n = n->next)
        if (!n->is_written)
            return true;
    return false;
}

/* "/sluice/v1/keys/{id}" is about keys. */
static const char *kind_of_row(struct arena *a, const struct endpoint *row)
{
    struct str rest = str_of(row->path), one, found = STR("call");
    while (rest.n) {
        rest = str_cut(rest, '/', &one);
        if (one.n && one.p[0] != '{')
            found = one;
    }
    return str_z(a, found);
}

static struct str object_of(const struct route_params *p)
{
    return p->n ? p->v[0].value : STR_NONE;
}

static const char *code_of(const struct err *e)
{
    return e->code[0] ? e->code : err_kind_name(e->kind);
}

static void write_refusals(void *arg)
{
    const struct control *k = arg;
    refusals_write(k->refusals, k->db_path.p, false, clock_mono_ms());
}

void control_audit_refused(struct api_call *c, const struct err *e)
{
    const struct control *k = c->api->control;
    const struct settings *set = &c->snap->settings;
    if (!c->row || !endpoint_is_audited(c->row) || !k || !k->refusals)
        return;
    struct audit_row row = begin_row(&c->who, c->row, err_status(e), code_of(e));
    row.address = peer_address(c->r, set->trusted_proxies);
    row.request_id = c->id;
    row.kind = str_of(kind_of_row(c->r->arena, c->row));
    row.object = object_of(&c->params);
    /* With a full queue those who work on it write it when they are done: control_audit_finish(). */
    if (refusals_note(k->refusals, &row, principal_may(&c->who, ACCESS_VIEWER),
                      set->audit_refusals_per_minute, clock_mono_ms()))
        (void)!workers_run(c->api->workers, c->api->relay->loop, write_refusals, NULL,
                           c->api->control);
}

/* A sign-in that was refused before any password was looked at: whoever sends it is a stranger, and may send many. */
static void refuse_stranger(const struct control_call *c, const char *outcome, int status)
{
    struct control_note n = {.kind = kind_of_row(c->arena, c->row)};
    struct audit_row row = row_of(c, &n, status, outcome);
    (void)refusals_note(c->control->refusals, &row, false,
                        c->snap->settings.audit_refusals_per_minute, clock_mono_ms());
}

/* Oldest first. */
static void owe_all(const struct control_call *c, const struct control_note *n, int status,
                    const char *outcome)
{
    if (!n || !c->control->refusals)
        return;
    owe_all(c, n->next, status, outcome);
    struct audit_row row = row_of(c, n, status, outcome);
    refusals_owe(c->control->refusals, &row);
}

static void finish(struct control_call *c, bool ok, const struct err *e)
{
    struct err inner = ERR_INIT;
    int status = ok ? c->status : err_status(e);
    const char *outcome = !ok            ? code_of(e)
                          : c->failed_as ? c->failed_as
                          : status < 400 ? "ok"
                                         : "refused"; /* in the handler's own words */
    if (!c->notes && c->row->access == ACCESS_PUBLIC) {
        if (endpoint_is_audited(c->row) && status >= 400 && c->control->refusals)
            refuse_stranger(c, outcome, status);
        return;
    }
    if (!c->notes && endpoint_is_audited(c->row))
        control_audit(c, kind_of_row(c->arena, c->row), object_of(&c->params), STR_NONE, STR_NONE);
    if (!c->notes || (ok && !is_left(c->notes)))
        return;
    /* A handler's transaction that failed took its records with it: they are written again, with the error. */
    struct refusals *later = c->control->refusals;
    struct db *db = later && refusals_are_stuck(later) ? NULL : control_db(c, &inner);
    bool done = db && db_begin(db, &inner);
    if (done && append_all(c, db, c->notes, status, outcome, !ok, &inner)) {
        done = db_commit(db, &inner);
    } else if (done) {
        db_rollback(db);
        done = false;
    }
    if (done)
        return;
    log_error(str_z(c->arena, c->request_id), "audit.delayed", "method=%s path=%s error=%s",
              http_method_name(c->row->method), c->row->path,
              *inner.message ? inner.message : "others wait already");
    owe_all(c, c->notes, status, outcome);
}

void control_audit_finish(struct control_call *c, bool ok, const struct err *e)
{
    finish(c, ok, e);
    if (c->control->refusals && refusals_wait(c->control->refusals))
        write_refusals(c->control);
}

/* ---- reading ---- */

struct audit_out {
    int64_t id;
    struct str at, actor_kind, actor_id, actor, address, request_id, method, path, kind, object;
    int64_t status;
    struct str outcome;
    yyjson_val *before, *after;
};
static const struct shape audit_shape = SHAPE(
    struct audit_out, FIELD(struct audit_out, id, 0, "Number in the chain, without gaps"),
    FIELD(struct audit_out, at, 0, "When"),
    FIELD(struct audit_out, actor_kind, 0,
          "operator, admin_key, anonymous, or shell for the command line"),
    FIELD(struct audit_out, actor_id, 0, "Id of the operator or key"),
    FIELD(struct audit_out, actor, 0, "Name of the operator, label of the key"),
    FIELD(struct audit_out, address, 0, "Address of the client"),
    FIELD(struct audit_out, request_id, 0, "Request that did it"),
    FIELD(struct audit_out, method, 0, "Method of that request"),
    FIELD(struct audit_out, path, 0, "Path of its endpoint, with parameters by name"),
    FIELD(struct audit_out, kind, 0, "What was changed: provider, model, key, setting, session, …"),
    FIELD(struct audit_out, object, 0, "Which one"),
    FIELD(struct audit_out, status, 0, "HTTP status of the answer; 0: no request"),
    FIELD(struct audit_out, outcome, 0, "ok, or the code of the error"),
    FIELD(struct audit_out, before, 0, "What it was, secrets masked; null: nothing"),
    FIELD(struct audit_out, after, 0, "What it became, secrets masked; null: nothing"));

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

struct audit_query {
    struct str sort, actor, kind, object, outcome, address, since, until;
    int64_t limit, after;
};
static const struct shape audit_query_shape = SHAPE_STRICT(
    struct audit_query,
    FIELD_RANGE(struct audit_query, limit, 1, 1000, 0, "Most rows in one answer; 100 when absent"),
    FIELD_RANGE(struct audit_query, after, 1, INT64_MAX, 0,
                "Begin behind this row: the page before's next"),
    FIELD(struct audit_query, sort, 0, JOURNAL_SORT_DOC),
    FIELD(struct audit_query, actor, 0, "Name of the operator, label of the key"),
    FIELD(struct audit_query, kind, 0, "What was changed"),
    FIELD(struct audit_query, object, 0, "Which one"),
    FIELD(struct audit_query, outcome, 0, "ok, or the code of an error"),
    FIELD(struct audit_query, address, 0, "Address of the client"),
    FIELD(struct audit_query, since, 0, "RFC 3339 time: not before it"),
    FIELD(struct audit_query, until, 0, "RFC 3339 time: before it"));

static yyjson_val *value_of(struct arena *a, struct str json)
{
    yyjson_val *v = NULL;
    return json.n && json_parse(a, json, 64, &v, NULL) ? v : NULL;
}

static bool list(struct control_call *c, struct err *e)
{
    const struct audit_query *q = c->asked;
    int64_t limit = q->limit ? q->limit : 100;
    struct audit_filter f = {.actor = q->actor,
                             .kind = q->kind,
                             .object = q->object,
                             .outcome = q->outcome,
                             .address = q->address,
                             .beyond_id = q->after,
                             .limit = limit + 1}; /* whether there are more */
    struct audit_row *rows;
    size_t n;
    if (!journal_order(q->sort, &f.oldest_first, e) ||
        !journal_time(q->since, "since", &f.since_ms, e) ||
        !journal_time(q->until, "until", &f.until_ms, e))
        return false;
    struct db *db = control_db(c, e);
    if (!db || !audit_list(db, c->arena, &f, &rows, &n, e))
        return false;
    struct audit_out *v = ARENA_ARRAY(c->arena, struct audit_out, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = (struct audit_out){.id = rows[i].id,
                                  .at = time_text(c->arena, rows[i].at_ms),
                                  .actor_kind = rows[i].actor_kind,
                                  .actor_id = rows[i].actor_id,
                                  .actor = rows[i].actor,
                                  .address = rows[i].address,
                                  .request_id = rows[i].request_id,
                                  .method = rows[i].method,
                                  .path = rows[i].path,
                                  .kind = rows[i].kind,
                                  .object = rows[i].object,
                                  .status = rows[i].status,
                                  .outcome = rows[i].outcome,
                                  .before = value_of(c->arena, rows[i].before),
                                  .after = value_of(c->arena, rows[i].after)};
    bool has_more = n > (size_t)limit;
    n = has_more ? (size_t)limit : n;
    return control_reply_page(c, &audit_shape, v, n,
                              has_more ? str_fmt(c->arena, "%lld", (long long)v[n - 1].id)
                                       : STR_NONE);
}

/* clang-format off */
const struct endpoint audit_endpoints[] = {
    { HTTP_GET, "/sluice/v1/audit", SURFACE_SLUICE, ACCESS_ADMIN, "List what was changed and by whom, newest first unless sort says otherwise", .on_worker = list, .query = &audit_query_shape, .out = &audit_shape, .is_page = true },
    {0},
};
/* clang-format on */
