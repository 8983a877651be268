/* control.c - runs the rows of the control plane: decoded on the loop, done on a worker, answered on the loop. */
#include "api/control.h"
#include "base/log.h"
#include "net/worker.h"
#include <stdlib.h>

struct control_job {
    struct api_call *owner;   /* NULL: the caller is gone; the work is finished all the same */
    struct control_call call;
    struct err err;
    bool ok;
};

static void run(void *arg)
{
    struct control_job *job = arg;
    job->ok = job->call.row->on_worker(&job->call, &job->err);
    if (job->ok && buf_failed(&job->call.out))
        job->ok = err_set(&job->err, ERR_INTERNAL, "answer_too_large", "The answer is too large");
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
        if (job->ok)
            api_reply_json(c, job->call.status, buf_str(&job->call.out));
        else
            api_fail(c, &job->err);
    }
    if (!job->ok && job->err.kind == ERR_INTERNAL)
        log_error(NULL, "control.failed", "path=%s error=%s", job->call.row->path, job->err.message);
    free_job(job);
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
    *call = (struct control_call){.arena = a, .row = c->row, .control = c->api->control, .snap = snapshot_ref(c->snap), .status = 200};
    call->key = c->key; /* lives in the snapshot */
    call->path = str_dup(a, c->path);
    call->query = str_dup(a, c->r->query);
    call->body = str_dup(a, c->r->body);
    call->params.n = c->params.n;
    for (size_t i = 0; i < c->params.n; i++) {
        call->params.v[i].name = c->params.v[i].name;
        call->params.v[i].value = str_dup(a, c->params.v[i].value);
    }
    buf_init_arena(&call->out, a, 64u << 20);
    bool takes_body = c->row->in != NULL;
    if (takes_body && (!json_parse(a, call->body, 64, &call->root, &e) ||
                       (!yyjson_is_obj(call->root) && !err_set(&e, ERR_INPUT, "invalid_json", "The body must be a JSON object")))) {
        api_fail(c, &e);
        free_job(job);
        return;
    }
    if (!workers_run(c->api->workers, c->api->relay->loop, run, done, job)) {
        err_set(&e, ERR_OVERLOADED, "busy", "Too many administrative calls at once: try again");
        e.retry_after_ms = 1000;
        api_fail(c, &e);
        free_job(job);
        return;
    }
    c->job = job;
}

void control_forget(struct api_call *c)
{
    c->job->owner = NULL;
    c->job = NULL;
}
