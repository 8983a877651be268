/* cmd_provider.c - sluice provider …: shown, tried, and changed where they stand. */
#include "app/office.h"
#include "base/banned.h"
#include "domain/discover.h"

#define TEST_TIMEOUT_MS 15000

static struct snapshot *load(struct cli *c, struct config_sources *s, struct err *e)
{
    struct snapshot *snap;
    return cli_snapshot(c, s, &snap, e) ? snap : NULL;
}

static struct str masked_key(struct arena *a, const struct upstream *u)
{
    if (u->n_keys == 0)
        return STR("-");
    struct str first = secret_mask(a, u->keys[0]);
    return u->n_keys == 1 ? first
                          : str_fmt(a, STR_FMT " and %zu more", STR_ARG(first), u->n_keys - 1);
}

static void provider_json(struct cli *c, struct jw *w, const struct upstream *u)
{
    jw_object(w);
    jw_kv_str(w, "name", u->name);
    jw_kv_cstr(w, "type", u->kind->id);
    jw_kv_str(w, "base_url", upstream_base_url(c->arena, u));
    jw_kv_str(w, "api_key", u->n_keys ? masked_key(c->arena, u) : STR(""));
    jw_kv_bool(w, "enabled", u->is_enabled);
    jw_kv_cstr(w, "origin", origin_name(u->from));
    jw_object_end(w);
}

int cmd_provider_list(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct sheet t;
    struct buf b;
    struct snapshot *snap = load(c, &s, &e);
    if (!snap)
        return cli_fail(&e);
    if (c->json) {
        buf_init_arena(&b, c->arena, SIZE_MAX / 2);
        struct jw w = jw_on(&b);
        jw_array(&w);
        for (size_t i = 0; i < snap->n_upstreams; i++)
            provider_json(c, &w, snap->upstreams[i]);
        jw_array_end(&w);
        (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
    } else {
        sheet_init(&t, c->arena, 6);
        const char *const head[] = {"NAME", "TYPE", "BASE URL", "KEY", "STATE", "FROM"};
        for (size_t i = 0; i < ARRAY_LEN(head); i++)
            sheet_add(&t, str_of(head[i]));
        for (size_t i = 0; i < snap->n_upstreams; i++) {
            const struct upstream *u = snap->upstreams[i];
            struct str base = upstream_base_url(c->arena, u);
            sheet_add(&t, u->name);
            sheet_add(&t, str_of(u->kind->id));
            sheet_add(&t, base.n ? base : STR("-"));
            sheet_add(&t, masked_key(c->arena, u));
            sheet_add(&t, str_of(u->is_enabled ? "on" : "off"));
            sheet_add(&t, str_of(origin_name(u->from)));
        }
        sheet_print(&t);
    }
    snapshot_unref(snap);
    state_close(&s);
    return 0;
}

int cmd_provider_kinds(struct cli *c)
{
    const struct provider_kind *k;
    struct sheet t;
    sheet_init(&t, c->arena, 5);
    const char *const head[] = {"TYPE", "WHAT", "FORMATS", "BASE URL", "KEY FROM"};
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        sheet_add(&t, str_of(head[i]));
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++) {
        struct str formats = STR_NONE;
        for (size_t j = 0; j < ARRAY_LEN(k->wires) && k->wires[j] != WIRE_NONE; j++)
            formats = str_fmt(c->arena, STR_FMT "%s%s", STR_ARG(formats), j ? "," : "",
                              wire_of(k->wires[j])->name);
        sheet_add(&t, str_of(k->id));
        sheet_add(&t, str_of(k->title));
        sheet_add(&t, formats.n ? formats : STR("-"));
        sheet_add(&t, k->base_url && k->base_url[0] ? str_of(k->base_url) : STR("-"));
        sheet_add(&t, k->key_env ? str_of(k->key_env) : STR("-"));
    }
    sheet_print(&t);
    return 0;
}

static const char *nth_kind(size_t i)
{
    const struct provider_kind *k = provider_kind_at(i);
    return k ? k->id : NULL;
}

static bool check_kind(struct cli *c, struct str kind, int *rc)
{
    if (provider_kind_find(kind))
        return true;
    const char *near = cli_near(kind, nth_kind);
    if (!c->type)
        *rc = cli_usage(c, "'%s' is no kind of provider: say --type KIND (sluice provider kinds)",
                        c->args[0]);
    else if (near)
        *rc = cli_usage(c, "unknown type '%s'; did you mean '%s'?", c->type, near);
    else
        *rc = cli_usage(c, "unknown type '%s' (sluice provider kinds lists them)", c->type);
    return false;
}

static uint32_t given(const char *option, enum provider_field field)
{
    return option ? (uint32_t)field : 0;
}

/* "no_files=false,id_9" as the entry's member. false: *e names what is no quirk. */
static bool quirks_json(struct cli *c, struct str list, struct str *out, struct err *e)
{
    struct quirk_edit said;
    struct str one, word;
    yyjson_val *v;
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    jw_object(&w);
    while (list.n) {
        list = str_cut(list, ',', &one);
        struct str is = str_cut(str_trim(one), '=', &word);
        if (word.n == 0)
            continue;
        if (is.n && !str_is(is, "true") && !str_is(is, "false"))
            return err_field(e, "quirks", "'" STR_FMT "' is not NAME, NAME=true or NAME=false",
                             STR_ARG(one));
        jw_key_str(&w, word);
        jw_bool(&w, !str_is(is, "false"));
    }
    jw_object_end(&w);
    *out = buf_str(&b);
    if (!json_parse(c->arena, *out, 0, &v, e) || !provider_quirks_read(v, &said, e))
        return false;
    if (!(said.with | said.without))
        *out = STR_NONE;
    return true;
}

/* One that is there keeps what is not said. */
int cmd_provider_add(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct secret key = {STR_NONE};
    struct provider_member quirks = {.name = "quirks"};
    int rc = 0;
    if (c->quirks && !quirks_json(c, str_of(c->quirks), &quirks.json, &e))
        return cli_usage(c, "%s", e.message);
    if (c->api_key && !cli_secret(c, c->api_key, &key, &e))
        return cli_fail(&e);
    if (c->type && !check_kind(c, str_of(c->type), &rc))
        return rc;
    struct provider_change p = {
        .name = str_of(c->args[0]),
        .given = given(c->type, PROVIDER_KIND) | given(c->base_url, PROVIDER_BASE_URL) |
                 given(c->api_key, PROVIDER_API_KEY) | given(c->proxy, PROVIDER_PROXY) |
                 given(c->ca_file, PROVIDER_CA_FILE) | given(c->wire, PROVIDER_WIRE) |
                 given(c->api_version, PROVIDER_API_VERSION),
        .kind = str_of(c->type),
        .base_url = str_of(c->base_url),
        .proxy = str_of(c->proxy),
        .ca_file = str_of(c->ca_file),
        .wire = str_of(c->wire),
        .api_version = str_of(c->api_version),
        .api_key = key,
        .more = &quirks,
        .n_more = c->quirks != NULL,
    };
    if (!office_open(c, &o, &e))
        return office_done(&o, false, &e);
    struct snapshot *before = snapshot_current();
    bool is_new = !snapshot_upstream(before, p.name);
    snapshot_unref(before);
    if (is_new && !c->type && !check_kind(c, p.name, &rc)) {
        office_close(&o);
        return rc;
    }
    bool ok = change_provider(&o.call, CHANGE_PUT, &p, &e);
    if (!ok && e.kind == ERR_INPUT) {
        office_close(&o);
        return cli_usage(c, "%s", e.message);
    }
    struct snapshot *now = snapshot_current();
    const struct upstream *u = ok ? snapshot_upstream(now, p.name) : NULL;
    if (ok)
        (void)printf("Provider '%s' is kept. Clients may ask for %s/MODEL; `sluice provider test "
                     "%s` tries it.\n",
                     c->args[0], c->args[0], c->args[0]);
    if (u && u->n_keys == 0 && !u->kind->is_local && u->kind->auth != AUTH_NONE)
        (void)fputs("It has no API key: give one with --api-key if it wants one.\n", stderr);
    snapshot_unref(now);
    return office_done(&o, ok, &e);
}

int cmd_provider_remove(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct strs models;
    bool ok = office_open(c, &o, &e) &&
              change_provider_delete(&o.call, str_of(c->args[0]), c->cascade, &models, &e);
    if (ok)
        (void)printf("Provider '%s' is removed.\n", c->args[0]);
    for (size_t i = 0; ok && i < models.n; i++)
        (void)printf("Model '" STR_FMT "' is removed with it.\n", STR_ARG(models.v[i]));
    return office_done(&o, ok, &e);
}

static int switch_to(struct cli *c, bool is_enabled)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct provider_change p = {
        .name = str_of(c->args[0]), .given = PROVIDER_ENABLED, .is_enabled = is_enabled};
    bool ok = office_open(c, &o, &e) && change_provider(&o.call, CHANGE_UPDATE, &p, &e);
    if (ok)
        (void)printf("Provider '%s' is %s.\n", c->args[0], is_enabled ? "on" : "off");
    return office_done(&o, ok, &e);
}

int cmd_provider_enable(struct cli *c)
{
    return switch_to(c, true);
}

int cmd_provider_disable(struct cli *c)
{
    return switch_to(c, false);
}

int cmd_provider_test(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct discovered d;
    struct snapshot *snap = load(c, &s, &e);
    if (!snap)
        return cli_fail(&e);
    const struct upstream *u = snapshot_upstream(snap, str_of(c->args[0]));
    int rc = 0;
    if (!u) {
        err_set(&e, ERR_NOT_FOUND, "not_found", "no provider '%s' (sluice provider list)",
                c->args[0]);
        rc = cli_fail(&e);
    } else if (u->kind->is_builtin) {
        (void)printf("'%s' is built in: it always answers.\n", c->args[0]);
    } else if (!upstream_models(c->arena, u, TEST_TIMEOUT_MS, &d, &e)) {
        rc = cli_fail(&e);
    } else {
        (void)printf(STR_FMT " answers and lists %zu models%s\n", STR_ARG(d.url), d.n,
                     d.n ? ":" : ".");
        for (size_t i = 0; i < d.n; i++)
            (void)printf("  %s/" STR_FMT "\n", c->args[0], STR_ARG(d.models[i]));
    }
    snapshot_unref(snap);
    state_close(&s);
    return rc;
}
