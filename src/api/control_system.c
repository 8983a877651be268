/* control_system.c - /sluice/v1: what runs, and reading the configuration again. */
#include "api/control.h"
#include "base/clock.h"
#include "version.h"

struct fault_out {
    struct str message, since;
};
struct info_out {
    struct str version;
    int64_t uptime_seconds, config_version;
    struct str config_file, data_dir;
    int64_t providers, models, keys;
    struct shape_list config_faults;
};
struct reload_out {
    bool ok;
    int64_t config_version;
};
static const struct shape fault_shape = SHAPE(
    struct fault_out, FIELD(struct fault_out, message, 0, "What is wrong, and where"),
    FIELD(struct fault_out, since, 0, "When it was found (RFC 3339)"));
static const struct shape info_shape = SHAPE(
    struct info_out, FIELD(struct info_out, version, 0, "Which sluice this is"),
    FIELD(struct info_out, uptime_seconds, 0, "Since the start"),
    FIELD(struct info_out, config_version, 0, "Counts the configurations taken up since then"),
    FIELD(struct info_out, config_file, NULL_EMPTY, "The configuration file; null: none"),
    FIELD(struct info_out, data_dir, 0, "Where the store is"),
    FIELD(struct info_out, providers, 0, "How many there are"),
    FIELD(struct info_out, models, 0, "How many clients can ask for"),
    FIELD(struct info_out, keys, 0, "How many client keys there are"),
    FIELD_LIST(struct info_out, config_faults, &fault_shape, 0,
               "What is wrong with the configuration file while an older one serves"));
static const struct shape reload_shape = SHAPE(
    struct reload_out, FIELD(struct reload_out, ok, 0, "true"),
    FIELD(struct reload_out, config_version, 0, "The configuration now in force"));

bool control_config_fault(struct control_call *c, struct str *message, int64_t *since_ms)
{
    struct config_fault *f = c->control->fault;
    pthread_mutex_lock(&f->lock);
    bool is_set = atomic_load(&f->is_set);
    *message = is_set ? str_dup(c->arena, str_of(f->message)) : STR_NONE;
    *since_ms = f->since_ms;
    pthread_mutex_unlock(&f->lock);
    return is_set;
}

/* The one fault there may be; empty: none. */
static struct shape_list faults(struct control_call *c)
{
    struct fault_out *out = ARENA_NEW(c->arena, struct fault_out);
    struct buf at;
    int64_t since_ms;
    if (!control_config_fault(c, &out->message, &since_ms))
        return (struct shape_list){0};
    buf_init_arena(&at, c->arena, 64);
    clock_rfc3339(&at, since_ms);
    out->since = buf_str(&at);
    return (struct shape_list){out, 1};
}

static bool info(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct info_out out = {.version = str_of(sluice_version),
                           .uptime_seconds = control_uptime_ms(c->control) / 1000,
                           .config_version = (int64_t)s->version,
                           .config_file = c->control->config_path,
                           .data_dir = c->control->data_dir,
                           .providers = (int64_t)s->n_upstreams,
                           .keys = (int64_t)s->n_keys,
                           .config_faults = faults(c)};
    (void)e;
    for (size_t i = 0; i < s->n_models; i++)
        out.models += s->models[i]->is_enabled && s->models[i]->n_targets > 0;
    return control_reply(c, 200, &info_shape, &out);
}

static bool reload(struct control_call *c, struct err *e)
{
    if (!c->control->reload(c->control->arg, e))
        return false;
    struct snapshot *now = snapshot_current();
    struct reload_out out = {.ok = true, .config_version = (int64_t)now->version};
    snapshot_unref(now);
    return control_reply(c, 200, &reload_shape, &out);
}

/* clang-format off */
const struct endpoint control_endpoints[] = {
    { HTTP_GET,  "/sluice/v1/info",   SURFACE_SLUICE, ACCESS_VIEWER, "Version, uptime and what is configured", .on_worker = info, .out = &info_shape },
    { HTTP_POST, "/sluice/v1/reload", SURFACE_SLUICE, ACCESS_ADMIN, "Read file, environment and store again", .on_worker = reload, .out = &reload_shape },
    {0},
};
/* clang-format on */
