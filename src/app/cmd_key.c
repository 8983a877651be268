/* cmd_key.c - sluice key …: client keys. A key is shown once, when it is made. */
#include "app/office.h"
#include "base/banned.h"
#include "base/clock.h"

static const struct word scope_words[] = {
    {"inference", SCOPE_INFERENCE}, {"models", SCOPE_MODELS}, {"admin", SCOPE_ADMIN}, {0}};

static struct str scopes_text(struct arena *a, uint32_t bits)
{
    struct str out = STR_NONE;
    for (const struct word *w = scope_words; w->text; w++)
        if (bits & (uint32_t)w->value)
            out = str_fmt(a, STR_FMT "%s%s", STR_ARG(out), out.n ? "," : "", w->text);
    return out;
}

static bool read_scopes(struct cli *c, uint32_t *out, struct err *e)
{
    struct str rest = c->scopes ? str_of(c->scopes) : STR("inference,models"), one;
    *out = 0;
    while (rest.n) {
        rest = str_cut(rest, ',', &one);
        int bit = word_value(scope_words, str_trim(one), 0);
        if (!bit)
            return err_set(e, ERR_INPUT, "unknown_scope",
                           "unknown scope '" STR_FMT "': inference, models, admin", STR_ARG(one));
        *out |= (uint32_t)bit;
    }
    return *out != 0 ||
           err_set(e, ERR_INPUT, "no_scope", "a key needs a scope: inference, models, admin");
}

/* "30d", "12h", or a time */
static bool read_expiry(const char *given, int64_t *out, struct err *e)
{
    struct str s = str_of(given);
    int64_t n;
    char unit = s.n ? s.p[s.n - 1] : '\0';
    *out = 0;
    if (!given)
        return true;
    if ((unit == 'd' || unit == 'h') && str_to_int(str_first(s, s.n - 1), &n) && n > 0 &&
        n < 1000000) {
        *out = clock_wall_ms() + n * (unit == 'd' ? 86400000 : 3600000);
        return true;
    }
    return clock_parse_rfc3339(s, out) ||
           err_set(e, ERR_INPUT, "invalid_expiry",
                   "'%s' is no time: 30d, 12h or 2026-12-31T00:00:00Z", given);
}

static struct strs read_models(struct cli *c)
{
    struct str rest = str_of(c->models), one;
    struct strs out = {ARENA_ARRAY(c->arena, struct str, rest.n + 1), 0};
    while (rest.n) {
        rest = str_cut(rest, ',', &one);
        one = str_trim(one);
        if (one.n)
            out.v[out.n++] = one;
    }
    return out;
}

int cmd_key_create(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct key_made made;
    struct key_change k = {.id = str_of(c->id),
                           .given = KEY_LABEL | KEY_SCOPES | KEY_ALLOWED | KEY_EXPIRES,
                           .label = str_of(c->label)};
    if (!read_scopes(c, &k.scopes, &e) || !read_expiry(c->expires, &k.expires_ms, &e))
        return cli_usage(c, "%s", e.message);
    k.allowed_models = read_models(c);
    bool ok = office_open(c, &o, &e) && change_key_create(&o.call, &k, &made, &e);
    if (ok) {
        (void)fprintf(stderr, "Key " STR_FMT " is made. It is shown this once:\n",
                      STR_ARG(made.id));
        (void)printf(STR_FMT "\n", STR_ARG(made.text));
    }
    return office_done(&o, ok, &e);
}

static struct str date_text(struct arena *a, int64_t ms)
{
    struct buf b;
    if (ms == 0)
        return STR("-");
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return str_first(buf_str(&b), 16);
}

static void key_json(struct cli *c, struct jw *w, const struct key *k)
{
    jw_object(w);
    jw_kv_str(w, "id", k->id);
    jw_kv_str(w, "label", k->label);
    jw_kv_str(w, "scopes", scopes_text(c->arena, k->scopes));
    jw_key(w, "allowed_models");
    jw_array(w);
    for (size_t i = 0; i < k->n_allowed; i++)
        jw_str(w, k->allowed_models[i]);
    jw_array_end(w);
    jw_kv_bool(w, "enabled", k->is_enabled);
    jw_kv_int(w, "expires_ms", k->expires_ms);
    jw_kv_int(w, "created_ms", k->created_ms);
    jw_kv_cstr(w, "origin", origin_name(k->from));
    jw_object_end(w);
}

int cmd_key_list(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct snapshot *snap;
    struct sheet t;
    struct buf b;
    if (!cli_snapshot(c, &s, &snap, &e))
        return cli_fail(&e);
    if (c->json) {
        buf_init_arena(&b, c->arena, SIZE_MAX / 2);
        struct jw w = jw_on(&b);
        jw_array(&w);
        for (size_t i = 0; i < snap->n_keys; i++)
            key_json(c, &w, snap->keys[i]);
        jw_array_end(&w);
        (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
    } else {
        sheet_init(&t, c->arena, 7);
        const char *const head[] = {"ID", "LABEL", "SCOPES", "MODELS", "EXPIRES", "STATE", "FROM"};
        for (size_t i = 0; i < ARRAY_LEN(head); i++)
            sheet_add(&t, str_of(head[i]));
        for (size_t i = 0; i < snap->n_keys; i++) {
            const struct key *k = snap->keys[i];
            bool is_over = k->expires_ms != 0 && k->expires_ms <= clock_wall_ms();
            struct str models = k->n_allowed ? k->allowed_models[0] : STR("all");
            sheet_add(&t, k->id);
            sheet_add(&t, k->label.n ? k->label : STR("-"));
            sheet_add(&t, scopes_text(c->arena, k->scopes));
            sheet_add(&t, k->n_allowed > 1 ? str_fmt(c->arena, STR_FMT " and %u more",
                                                     STR_ARG(models), k->n_allowed - 1)
                                           : models);
            sheet_add(&t, date_text(c->arena, k->expires_ms));
            sheet_add(&t, str_of(!k->is_enabled ? "off" : is_over ? "expired" : "on"));
            sheet_add(&t, str_of(origin_name(k->from)));
        }
        sheet_print(&t);
    }
    snapshot_unref(snap);
    state_close(&s);
    return 0;
}

static int switch_to(struct cli *c, bool is_enabled)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct key_change k = {
        .id = str_of(c->args[0]), .given = KEY_ENABLED, .is_enabled = is_enabled};
    bool ok = office_open(c, &o, &e) && change_key(&o.call, &k, &e);
    if (ok)
        (void)printf("Key '%s' is %s.\n", c->args[0], is_enabled ? "on" : "off");
    return office_done(&o, ok, &e);
}

int cmd_key_enable(struct cli *c)
{
    return switch_to(c, true);
}

int cmd_key_disable(struct cli *c)
{
    return switch_to(c, false);
}

int cmd_key_remove(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    bool ok = office_open(c, &o, &e) && change_key_delete(&o.call, str_of(c->args[0]), &e);
    if (ok)
        (void)printf("Key '%s' is removed.\n", c->args[0]);
    return office_done(&o, ok, &e);
}
