/* cmd_check.c - sluice check: says what is wrong with a configuration, and what would be served with it. */
#include "app/cli.h"
#include "base/banned.h"

int cmd_check(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct snapshot *snap;
    size_t models = 0, providers = 0;
    char store[4096];
    cli_sources(c, &s);
    if (c->n_args)
        s.file = c->args[0];
    if (!s.file && !c->data) {
        err_set(&e, ERR_INPUT, "no_config",
                "no configuration file: name one, or put sluice.jsonc into '%s'", s.data_dir);
        return cli_fail(&e);
    }
    s.is_without_store = true; /* a file is checked by itself, and nothing is created for it */
    if (snprintf(store, sizeof store, "%s/sluice.db", s.data_dir) < (int)sizeof store &&
        !state_check(store, &e))
        return cli_fail(&e);
    if (!config_load(&s, &snap, &e))
        return cli_fail(&e);
    for (size_t i = 0; i < snap->n_upstreams; i++)
        providers += snap->upstreams[i]->is_enabled;
    for (size_t i = 0; i < snap->n_models; i++)
        models += snap->models[i]->is_enabled && snap->models[i]->n_targets > 0;
    (void)printf("%s is fine: %zu provider%s on, %zu model%s, %zu key%s.\n",
                 s.file ? s.file : "The environment", providers, providers == 1 ? "" : "s", models,
                 models == 1 ? "" : "s", snap->n_keys, snap->n_keys == 1 ? "" : "s");
    snapshot_unref(snap);
    return 0;
}
