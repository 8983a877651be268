/* cmd_setting.c - sluice setting …: the table of settings, with what is in force and where it comes from. */
#include "app/office.h"
#include "base/banned.h"
#include "base/secret.h"
#include "domain/setting.h"

static struct str shown(struct arena *a, const struct setting *row, struct str value)
{
    return str_is(str_of(row->name), "proxy") ? secret_mask_proxy(a, value) : value;
}

static struct str value_text(struct arena *a, const struct settings *set, const struct setting *row)
{
    struct buf b;
    buf_init_arena(&b, a, 1u << 20);
    struct jw w = jw_on(&b);
    if (row->kind == SETTING_TEXT) /* a proxy's credentials are for nobody's eyes */
        jw_str(&w, shown(a, row, *(const struct str *)((const char *)set + row->offset)));
    else
        setting_write(set, row, &w);
    return buf_str(&b);
}

int cmd_setting_list(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct snapshot *snap;
    struct sheet t;
    const struct setting *row;
    if (!cli_snapshot(c, &s, &snap, &e))
        return cli_fail(&e);
    enum origin *from = ARENA_ARRAY(c->arena, enum origin, setting_count());
    setting_origins(&s, from);
    sheet_init(&t, c->arena, 4);
    const char *const head[] = {"SETTING", "VALUE", "FROM", "WHAT"};
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        sheet_add(&t, str_of(head[i]));
    for (size_t i = 0; (row = setting_at(i)) != NULL; i++) {
        sheet_add(&t, str_of(row->name));
        sheet_add(&t, value_text(c->arena, &snap->settings, row));
        sheet_add(&t, str_of(origin_name(from[i])));
        sheet_add(&t, str_of(row->sentence));
    }
    sheet_print(&t);
    snapshot_unref(snap);
    state_close(&s);
    return 0;
}

static const char *nth_setting(size_t i)
{
    const struct setting *row = setting_at(i);
    return row ? row->name : NULL;
}

int cmd_setting_set(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct settings scratch;
    const struct setting *row = setting_find(str_of(c->args[0]));
    if (!row) {
        const char *near = cli_near(str_of(c->args[0]), nth_setting);
        return near ? cli_usage(c, "unknown setting '%s'; did you mean '%s'?", c->args[0], near)
                    : cli_usage(c, "unknown setting '%s' (sluice setting list)", c->args[0]);
    }
    /* none: back to the default */
    struct str value = c->n_args > 1 ? str_of(c->args[1]) : STR_NONE;
    settings_default(&scratch);
    if (c->n_args > 1 && !setting_set(&scratch, row, value, &e))
        return cli_usage(c, "%s", e.message);
    bool ok = office_open(c, &o, &e) && change_setting(&o.call, row, value, &e);
    if (ok)
        (void)printf(
            "%s is " STR_FMT ".\n", row->name,
            STR_ARG(c->n_args > 1 ? shown(c->arena, row, value) : STR("back at its default")));
    return office_done(&o, ok, &e);
}
