/* control.c - runs the rows of the control plane: decoded on the loop, done on a worker, answered on the loop. */
#include "api/control.h"
#include "api/surface/surface.h"
#include "base/clock.h"
#include "base/log.h"
#include "gate/admit.h"
#include "gate/peer.h"
#include "net/worker.h"
#include <stdlib.h>

struct control_job {
    /* NULL: the caller is gone; what a worker began is finished all the same */
    struct api_call *owner;
    struct workers *workers;
    struct control_call call;
    struct err err;
    bool ok;
};

int64_t control_uptime_ms(const struct control *k)
{
    return (int64_t)(clock_mono_ms() - k->started_mono_ms);
}

struct db *control_db(struct control_call *c, struct err *e)
{
    if (!c->db)
        c->db = db_open(str_z(c->arena, c->control->db_path), DB_READ_WRITE, e);
    return c->db;
}

struct str control_head(const struct control_call *c, const char *lower_name)
{
    for (size_t i = 0; i < c->n_head; i++)
        if (str_eq(c->head[i].name, str_of(lower_name)))
            return c->head[i].value;
    return STR_NONE;
}

void control_header(struct control_call *c, struct str name, struct str value)
{
    if (c->n_headers < ARRAY_LEN(c->headers))
        c->headers[c->n_headers++] = (struct http_header){name, value};
}

bool control_changed(struct control_call *c, struct err *e)
{
    struct err inner = ERR_INIT;
    return c->control->reload(c->control->arg, &inner) ||
           err_set(e, ERR_INTERNAL, "saved_not_loaded", "Config saved but reload failed: %s",
                   inner.message);
}

bool control_may_change(struct control_call *c, enum origin from, const char *what, struct str name,
                        struct err *e)
{
    switch (from) {
    case ORIGIN_API:
        return true;
    case ORIGIN_FILE:
        return err_set(e, ERR_CONFLICT, "read_only",
                       "The %s '" STR_FMT "' stands in " STR_FMT ": change it there", what,
                       STR_ARG(name), STR_ARG(c->control->config_path));
    case ORIGIN_ENV:
        return err_set(e, ERR_CONFLICT, "read_only",
                       "The %s '" STR_FMT "' is given by the environment: change it there", what,
                       STR_ARG(name));
    case ORIGIN_DEFAULT:
        return err_set(e, ERR_CONFLICT, "read_only", "The %s '" STR_FMT "' is built in", what,
                       STR_ARG(name));
    }
    return false;
}

bool control_reply(struct control_call *c, int status, const struct shape *s, const void *value)
{
    struct jw w = jw_on(&c->out);
    c->status = status;
    shape_write(s, value, &w);
    return true;
}

bool control_reply_list(struct control_call *c, const struct shape *s, const void *first, size_t n)
{
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "data");
    shape_write_list(s, first, n, &w);
    jw_object_end(&w);
    return true;
}

/* What has no ETag here cannot be what the caller says that it is: refused, not passed over. */
static bool may_match(struct control_call *c, struct err *e)
{
    struct str wanted = control_head(c, "if-match");
    bool changes = c->row->method == HTTP_PUT || c->row->method == HTTP_PATCH ||
                   c->row->method == HTTP_DELETE;
    if (!wanted.p || str_is(wanted, "*") || c->row->has_tag || !changes)
        return true;
    err_set(e, ERR_CONFLICT, "precondition_failed",
            "'if-match': there is no ETag here, so nothing has the one that was given");
    e->status = 412;
    return false;
}

static void run(void *arg)
{
    struct control_job *job = arg;
    struct control_call *c = &job->call;
    bool is_done = false;
    job->ok = may_match(c, &job->err) && idempotency_begin(c, &is_done, &job->err);
    if (job->ok && !is_done) {
        job->ok = idempotency_end(c, c->row->on_worker(c, &job->err), &job->err);
        if (!job->ok && surface_of(c->row->surface)->adapt)
            surface_of(c->row->surface)->adapt(&job->err);
    }
    if (is_done || (c->is_resumed && job->ok))
        c->failed_as = "replayed"; /* what was made then is shown once more */
    control_audit_finish(c, job->ok, &job->err);
    db_close(job->call.db);
    job->call.db = NULL;
    snapshot_thread_done(); /* workers end without knowing of snapshots: none may stay with them */
    if (job->ok && buf_failed(&job->call.out))
        job->ok = err_set(&job->err, ERR_INTERNAL, "answer_too_large", "The answer is too large");
    snapshot_thread_done(); /* an idle worker must not keep an old configuration alive */
}

static void free_job(struct control_job *job)
{
    snapshot_unref(job->call.snap);
    arena_free(job->call.arena);
    free(job);
}

static void done(void *arg)
{
    struct control_job *job = arg;
    struct api_call *c = job->owner;
    if (c) {
        c->job = NULL;
        c->extra = job->call.headers;
        c->n_extra = job->call.n_headers;
        if (job->ok && (job->call.status == 204 || job->call.status == 304))
            api_reply(c, job->call.status, NULL, STR_NONE);
        else if (job->ok && job->call.content_type)
            api_reply(c, job->call.status, job->call.content_type, buf_str(&job->call.out));
        else if (job->ok)
            api_reply_json(c, job->call.status, buf_str(&job->call.out));
        else
            api_fail(c, &job->err);
        c->n_extra = 0; /* they are the job's */
    }
    if (!job->ok && job->err.kind == ERR_INTERNAL)
        log_error(NULL, "control.failed", "path=%s error=%s", job->call.row->path,
                  job->err.message);
    free_job(job);
}

/* The job may outlive the request: what it needs of it is copied. */
static void take_request(struct control_call *call, const struct api_call *c)
{
    struct arena *a = call->arena;
    struct http_header *head = ARENA_ARRAY(a, struct http_header, c->r->n_headers + 1);
    for (size_t i = 0; i < c->r->n_headers; i++)
        head[i] = (struct http_header){str_dup(a, c->r->headers[i].name),
                                       str_dup(a, c->r->headers[i].value)};
    call->head = head;
    call->n_head = c->r->n_headers;
    call->who = c->who; /* a key and its texts live in the snapshot */
    call->who.id = str_dup(a, c->who.id);
    call->who.name = str_dup(a, c->who.name);
    call->who.session = str_dup(a, c->who.session);
    struct str proxies = c->snap->settings.trusted_proxies;
    struct gate_door door = api_door(c);
    call->address = str_dup(a, peer_address(c->r, proxies));
    call->is_https = peer_is_https(c->r, proxies);
    call->is_cross_origin = peer_is_cross_origin(c->r, proxies);
    call->is_open = gate_is_open(&door, c->r);
    call->request_id = str_dup(a, c->id);
}

static bool is_object(struct arena *a, struct str body)
{
    yyjson_val *root;
    return json_parse(a, body, 64, &root, NULL) && yyjson_is_obj(root);
}

/* llm-rosetta takes whatever is no object for {}; elsewhere a broken body must not mean "all of it". */
static bool counts_as_none(const struct control_call *call)
{
    if (call->row->surface == SURFACE_ROSETTA)
        return !is_object(call->arena, call->body);
    return str_trim(call->body).n == 0;
}

static struct str query_text(void *arg, struct arena *a, const char *name)
{
    return query_get(a, *(const struct str *)arg, name);
}

/* A name that nothing reads must not make a call mean more than it says: to delete what `modle` is x is not to delete all. */
static bool is_readable(struct arena *a, const struct shape *s, struct str query, struct err *e)
{
    struct str name;
    while (query_next(a, &query, &name)) {
        bool is_known = false;
        for (size_t i = 0; s && i < s->n_fields && !is_known; i++)
            is_known = str_eq(name, str_of(s->fields[i].name)) ||
                       (s->fields[i].alias && str_eq(name, str_of(s->fields[i].alias)));
        if (!is_known) {
            const char *field = str_z(a, str_first(name, 60));
            return err_field(e, field, "'%s' is no parameter here", field);
        }
    }
    return true;
}

bool control_read_query(struct arena *a, const struct endpoint *row, struct str query, void *out,
                        uint64_t *present, struct err *e)
{
    /* the other surfaces pass over such names, as what they stand for does */
    if (row->surface == SURFACE_SLUICE && !is_readable(a, row->query, query, e))
        return false;
    return !row->query || shape_read_texts(row->query, a, query_text, &query, out, present, e);
}

static bool read_query(struct control_call *call, struct err *e)
{
    const struct shape *s = call->row->query;
    call->asked = s ? arena_zalloc(call->arena, s->size) : NULL;
    return control_read_query(call->arena, call->row, call->query, call->asked,
                              &call->asked_present, e);
}

static bool read_body(struct control_call *call, struct err *e)
{
    const struct endpoint *row = call->row;
    if (!row->in || row->reads_body)
        return true;
    if (row->body_is_optional && counts_as_none(call))
        call->body = STR("{}");
    call->in = arena_zalloc(call->arena, row->in->size);
    if (!json_parse(call->arena, call->body, 64, &call->root, e))
        return false;
    if (!yyjson_is_obj(call->root))
        return err_set(e, ERR_INPUT, "invalid_json", "The body must be a JSON object");
    return shape_read(row->in, call->arena, call->root, call->in, &call->present, e);
}

void control_run(struct api_call *c)
{
    struct err e = ERR_INIT;
    struct control_job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    struct control_call *call = &job->call;
    struct arena *a = arena_new();
    job->owner = c;
    job->err = (struct err)ERR_INIT;
    *call = (struct control_call){.arena = a,
                                  .row = c->row,
                                  .control = c->api->control,
                                  .snap = snapshot_ref(c->snap),
                                  .status = 200};
    take_request(call, c);
    call->query = str_dup(a, c->r->query);
    call->params.n = c->params.n;
    for (size_t i = 0; i < c->params.n; i++) {
        call->params.v[i].name = c->params.v[i].name;
        call->params.v[i].value = str_dup(a, c->params.v[i].value);
    }
    buf_init_arena(&call->out, a, 64u << 20);
    call->body = str_dup(a, c->r->body);
    if (!read_query(call, &e) || !read_body(call, &e)) {
        api_refuse(c, &e);
        free_job(job);
        return;
    }
    job->workers = c->row->takes_password ? c->api->hashers
                   : c->row->waits        ? c->api->errands
                                          : c->api->workers;
    if (!workers_run(job->workers, c->api->relay->loop, run, done, job)) {
        err_set(&e, ERR_OVERLOADED, "busy", "Too many administrative calls at once: try again");
        e.retry_after_ms = 1000;
        control_audit_refused(c, &e);
        api_fail(c, &e);
        free_job(job);
        return;
    }
    c->job = job;
}

/* Nobody waits for an answer any more. What asks only, and was not begun, must not hold up those who still wait. */
void control_forget(struct api_call *c)
{
    struct control_job *job = c->job;
    bool asks_only = c->row->waits || c->row->method == HTTP_GET || c->row->method == HTTP_HEAD;
    c->job = NULL;
    job->owner = NULL;
    if (asks_only && workers_take_back(job->workers, job))
        free_job(job);
}
