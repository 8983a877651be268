/* control_system.c - /sluice/v1: what runs, and reading the configuration again. */
#include "api/control.h"
#include "base/clock.h"
#include "version.h"

/* What is wrong with the configuration file, while an older one serves. */
static void write_fault(struct control_call *c, struct jw *w)
{
    struct config_fault *f = c->control->fault;
    struct buf at;
    buf_init_arena(&at, c->arena, 64);
    jw_key(w, "config_fault");
    pthread_mutex_lock(&f->lock);
    if (atomic_load(&f->is_set)) {
        clock_rfc3339(&at, f->since_ms);
        jw_object(w);
        jw_kv_cstr(w, "message", f->message);
        jw_kv_str(w, "since", buf_str(&at));
        jw_object_end(w);
    } else {
        jw_null(w);
    }
    pthread_mutex_unlock(&f->lock);
}

static bool info(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct jw w = jw_on(&c->out);
    size_t enabled = 0;
    (void)e;
    for (size_t i = 0; i < s->n_models; i++)
        enabled += s->models[i]->is_enabled && s->models[i]->n_targets > 0;
    jw_object(&w);
    jw_kv_cstr(&w, "version", sluice_version);
    jw_kv_int(&w, "uptime_seconds", (clock_wall_ms() - c->control->started_ms) / 1000);
    jw_kv_int(&w, "config_version", (int64_t)s->version);
    jw_key(&w, "config_file");
    c->control->config_path.n ? jw_str(&w, c->control->config_path) : jw_null(&w);
    jw_kv_str(&w, "data_dir", c->control->data_dir);
    jw_kv_int(&w, "providers", (int64_t)s->n_upstreams);
    jw_kv_int(&w, "models", (int64_t)enabled);
    jw_kv_int(&w, "keys", (int64_t)s->n_keys);
    write_fault(c, &w);
    jw_object_end(&w);
    return true;
}

static bool reload(struct control_call *c, struct err *e)
{
    if (!c->control->reload(c->control->arg, e))
        return false;
    struct jw w = jw_on(&c->out);
    struct snapshot *now = snapshot_current();
    jw_object(&w);
    jw_kv_bool(&w, "ok", true);
    jw_kv_int(&w, "config_version", (int64_t)now->version);
    jw_object_end(&w);
    snapshot_unref(now);
    return true;
}

/* clang-format off */
const struct endpoint control_endpoints[] = {
    { HTTP_GET,  "/sluice/v1/info",   SURFACE_SLUICE, ACCESS_VIEWER, "Version, uptime and what is configured", .on_worker = info },
    { HTTP_POST, "/sluice/v1/reload", SURFACE_SLUICE, ACCESS_ADMIN, "Read file, environment and store again", .on_worker = reload },
    {0},
};
/* clang-format on */
