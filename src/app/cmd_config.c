/* cmd_config.c - sluice config …: the versions of the configuration, how they differ, and back to one of them. */
#include "app/office.h"
#include "base/banned.h"
#include "base/clock.h"
#include "domain/config_version.h"

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

static void history_json(struct cli *c, const struct version_row *v, size_t n)
{
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < n; i++) {
        jw_object(&w);
        jw_kv_int(&w, "id", v[i].id);
        jw_kv_str(&w, "at", time_text(c->arena, v[i].at_ms));
        jw_kv_str(&w, "actor", v[i].actor);
        jw_kv_str(&w, "what", v[i].what);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
}

int cmd_config_history(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct version_row *v = NULL;
    struct sheet t;
    size_t n = 0;
    struct version_filter f = {.limit = c->lines >= 0 ? c->lines : 20};
    struct db *db = cli_kept_store(c, &s, &e);
    bool ok = db && version_list(db, c->arena, &f, &v, &n, &e);
    db_close(db);
    state_close(&s);
    if (!ok)
        return cli_fail(&e);
    if (c->json) {
        history_json(c, v, n);
        return 0;
    }
    sheet_init(&t, c->arena, 4);
    const char *const head[] = {"VERSION", "WHEN", "WHO", "WHAT"};
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        sheet_add(&t, str_of(head[i]));
    for (size_t i = 0; i < n; i++) {
        sheet_add(&t, str_fmt(c->arena, "%lld", (long long)v[i].id));
        sheet_add(&t, time_text(c->arena, v[i].at_ms));
        sheet_add(&t, v[i].actor);
        sheet_add(&t, v[i].what);
    }
    sheet_print(&t);
    return 0;
}

static bool read_number(const char *text, int64_t *out, struct err *e)
{
    return (str_to_int(str_of(text), out) && *out > 0) ||
           err_set(e, ERR_INPUT, "no_number", "'%s' is no version: see `sluice config history`",
                   text);
}

/* One change of the list that config_changes_write() makes, as lines. */
static void print_change(struct arena *a, yyjson_val *v)
{
    struct str kind = json_get_str(v, "kind"), name = json_get_str(v, "name");
    yyjson_val *before = json_get(v, "before"), *after = json_get(v, "after");
    (void)printf("%c " STR_FMT " " STR_FMT "\n",
                 json_absent(before)  ? '+'
                 : json_absent(after) ? '-'
                                      : '~',
                 STR_ARG(kind), STR_ARG(name));
    if (!json_absent(before))
        (void)printf("    - " STR_FMT "\n", STR_ARG(json_text(a, before)));
    if (!json_absent(after))
        (void)printf("    + " STR_FMT "\n", STR_ARG(json_text(a, after)));
}

int cmd_config_diff(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct version_row *v = NULL;
    struct buf b;
    int64_t from = 0, to = 0;
    size_t n = 0, i, max;
    yyjson_val *list, *one;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    struct db *db = cli_kept_store(c, &s, &e);
    bool ok = db && read_number(c->args[0], &from, &e);
    if (ok && c->n_args > 1) {
        ok = read_number(c->args[1], &to, &e);
    } else if (ok) { /* with one number: what that version did */
        to = from;
        ok = version_list(db, c->arena, &(struct version_filter){.beyond_id = to, .limit = 1}, &v,
                          &n, &e);
        from = n ? v->id : to;
    }
    ok = ok && config_version_diff(c->arena, &s.seal, db, from, to, &w, &e) &&
         json_parse(c->arena, buf_str(&b), 0, &list, &e);
    db_close(db);
    state_close(&s);
    if (!ok)
        return cli_fail(&e);
    if (c->json) {
        (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
        return 0;
    }
    yyjson_arr_foreach (list, i, max, one)
        print_change(c->arena, one);
    return 0;
}

int cmd_config_rollback(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    int64_t id;
    if (!read_number(c->args[0], &id, &e))
        return cli_usage(c, "%s", e.message);
    bool ok = office_open(c, &o, &e) && change_rollback(&o.call, id, &e);
    if (ok)
        (void)printf("The configuration is that of version %lld again; client keys are as they "
                     "were.\n",
                     (long long)id);
    return office_done(&o, ok, &e);
}
