/* cmd_model.c - sluice model …: names that clients may ask for, and where they lead. */
#include "app/office.h"
#include "base/banned.h"

static const char *const capability_names[] = {
    "text", "vision", "tools", "embedding", "reasoning", "audio", "image", "rerank", "moderation"};

static const char *nth_capability(size_t i)
{
    return i < ARRAY_LEN(capability_names) ? capability_names[i] : NULL;
}

static struct str capabilities_text(struct arena *a, uint32_t bits)
{
    struct str out = STR_NONE;
    for (size_t i = 0; i < ARRAY_LEN(capability_names); i++)
        if (bits & 1u << i)
            out = str_fmt(a, STR_FMT "%s%s", STR_ARG(out), out.n ? "," : "", capability_names[i]);
    return out;
}

static struct str targets_text(struct arena *a, const struct model *m)
{
    struct str out = STR_NONE;
    for (size_t i = 0; i < m->n_targets; i++)
        out = str_fmt(a, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(out), i ? ", " : "",
                      STR_ARG(m->targets[i].upstream->name), STR_ARG(m->targets[i].model));
    return out.n ? out : STR("-");
}

static void model_json(struct jw *w, const struct model *m)
{
    jw_object(w);
    jw_kv_str(w, "name", m->name);
    jw_key(w, "targets");
    jw_array(w);
    for (size_t i = 0; i < m->n_targets; i++) {
        jw_object(w);
        jw_kv_str(w, "provider", m->targets[i].upstream->name);
        jw_kv_str(w, "upstream_model", m->targets[i].model);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_key(w, "capabilities");
    jw_array(w);
    for (size_t i = 0; i < ARRAY_LEN(capability_names); i++)
        if (m->capabilities & 1u << i)
            jw_cstr(w, capability_names[i]);
    jw_array_end(w);
    jw_kv_bool(w, "enabled", m->is_enabled);
    jw_kv_cstr(w, "origin", origin_name(m->from));
    jw_object_end(w);
}

int cmd_model_list(struct cli *c)
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
        for (size_t i = 0; i < snap->n_models; i++)
            model_json(&w, snap->models[i]);
        jw_array_end(&w);
        (void)printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
    } else {
        sheet_init(&t, c->arena, 5);
        const char *const head[] = {"NAME", "TARGETS", "CAPABILITIES", "STATE", "FROM"};
        for (size_t i = 0; i < ARRAY_LEN(head); i++)
            sheet_add(&t, str_of(head[i]));
        for (size_t i = 0; i < snap->n_models; i++) {
            const struct model *m = snap->models[i];
            sheet_add(&t, m->name);
            sheet_add(&t, targets_text(c->arena, m));
            sheet_add(&t, capabilities_text(c->arena, m->capabilities));
            sheet_add(&t, str_of(m->is_enabled && m->n_targets ? "on" : "off"));
            sheet_add(&t, str_of(origin_name(m->from)));
        }
        sheet_print(&t);
    }
    snapshot_unref(snap);
    state_close(&s);
    return 0;
}

static bool read_capabilities(struct cli *c, struct strs *out, const char **unknown)
{
    struct str rest = c->capabilities ? str_of(c->capabilities) : STR("text,tools"), one;
    *out = (struct strs){ARENA_ARRAY(c->arena, struct str, rest.n + 1), 0};
    while (rest.n) {
        rest = str_cut(rest, ',', &one);
        one = str_trim(one);
        bool is_known = false;
        for (size_t i = 0; i < ARRAY_LEN(capability_names); i++)
            is_known |= str_eq(one, str_of(capability_names[i]));
        if (!is_known) {
            *unknown = str_z(c->arena, one);
            return false;
        }
        out->v[out->n++] = one;
    }
    return true;
}

/* "PROVIDER" or "PROVIDER/MODEL" each */
static void read_targets(struct cli *c, struct model_target *out)
{
    for (size_t i = 1; i < c->n_args; i++) {
        struct model_target *t = &out[i - 1];
        t->upstream_model = str_cut(str_of(c->args[i]), '/', &t->provider);
        if (t->upstream_model.n == 0)
            t->upstream_model = str_of(c->upstream_model);
    }
}

int cmd_model_add(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct model_target targets[CLI_MAX_ARGS];
    const char *unknown = NULL;
    struct model_change m = {.name = str_of(c->args[0]),
                             .given = MODEL_TARGETS | MODEL_CAPABILITIES,
                             .targets = targets,
                             .n_targets = c->n_args - 1,
                             .max_output_tokens = c->max_output_tokens,
                             .context_tokens = c->context_tokens};
    if (!read_capabilities(c, &m.capabilities, &unknown)) {
        const char *near = cli_near(str_of(unknown), nth_capability);
        return near ? cli_usage(c, "unknown capability '%s'; did you mean '%s'?", unknown, near)
                    : cli_usage(c, "unknown capability '%s'", unknown);
    }
    read_targets(c, targets);
    if (c->max_output_tokens > 0)
        m.given |= MODEL_MAX_OUTPUT;
    if (c->context_tokens > 0)
        m.given |= MODEL_CONTEXT;
    bool ok = office_open(c, &o, &e) && change_model(&o.call, CHANGE_PUT, &m, &e);
    if (ok)
        (void)printf("Clients may ask for '%s' now.\n", c->args[0]);
    return office_done(&o, ok, &e);
}

int cmd_model_remove(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    bool ok = office_open(c, &o, &e) && change_model_delete(&o.call, str_of(c->args[0]), false, &e);
    if (ok)
        (void)printf("Model '%s' is removed.\n", c->args[0]);
    return office_done(&o, ok, &e);
}
