#include "app/office.h"
#include "api/config_state.h"
#include "base/banned.h"
#include "domain/config_version.h"

static bool build(void *arg, const struct config_draft *d, struct snapshot **out, struct err *e)
{
    struct office *o = arg;
    return config_build(&o->sources, d, out, e);
}

static void publish(void *arg, struct snapshot *s, bool is_of_file)
{
    (void)arg;
    (void)is_of_file;
    snapshot_publish(s);
}

static void refused(void *arg, const struct err *e)
{
    (void)arg;
    (void)e; /* the caller says it */
}

static void origins_of_settings(void *arg, enum origin *from)
{
    struct office *o = arg;
    setting_origins(&o->sources, from);
}

/* What is in force as far as can be told; a file that does not load has a newest version that did. */
static bool load(struct cli *c, struct office *o, struct err *e)
{
    struct snapshot *snap;
    struct version_row v;
    struct config_state s;
    struct err why = ERR_INIT;
    if (!config_load(&o->sources, &snap, e)) {
        if (!version_get(o->call.db, c->arena, 0, &v, &why) ||
            !config_unpack(c->arena, &o->sources.seal, v.state, &s, &why) ||
            !config_build(&o->sources, &(struct config_draft){.text = s.text}, &snap, &why))
            return false;
        err_clear(e);
    }
    snapshot_publish(snap);
    return true;
}

bool office_open(struct cli *c, struct office *o, struct err *e)
{
    pthread_mutex_init(&o->lock, NULL);
    struct db *db = cli_store(c, &o->sources, e);
    o->sources.is_elsewhere = true;
    o->control = (struct control){.arg = o,
                                  .build = build,
                                  .publish = publish,
                                  .refused = refused,
                                  .setting_origins = origins_of_settings,
                                  .change_lock = &o->lock,
                                  .seal = &o->sources.seal,
                                  .data_dir = str_of(o->sources.data_dir),
                                  .db_path = str_of(o->sources.db_path),
                                  .config_path = str_of(o->sources.file)};
    o->call = (struct control_call){
        .arena = c->arena, .control = &o->control, .db = db, .who = {.role = ROLE_OWNER}};
    return db && load(c, o, e);
}

void office_close(struct office *o)
{
    snapshot_publish(NULL);
    snapshot_thread_done();
    db_close(o->call.db);
    state_close(&o->sources);
}

int office_done(struct office *o, bool ok, const struct err *e)
{
    if (ok)
        cli_tell_server(&o->sources);
    office_close(o);
    return ok ? 0 : cli_fail(e);
}
