/* settings.c - /sluice/v1/settings: every setting with its value and where that comes from. */
#include "api/change.h"
#include "domain/proxy.h"

struct setting_out {
    struct str name;
    yyjson_val *value, *otherwise;
    struct str origin, sentence, type, variable;
    int64_t min, max;
    struct strs words;
    bool is_deployed;
};
struct setting_in {
    yyjson_val *value;
};
struct check_out {
    bool ok;
};
static const struct shape setting_shape = SHAPE(
    struct setting_out, FIELD(struct setting_out, name, 0, "Name, in the file under server"),
    FIELD(struct setting_out, value, 0, "Value in force"),
    FIELD(struct setting_out, origin, 0, "default, file, environment or api: who may change it"),
    FIELD(struct setting_out, sentence, 0, "What it is for"),
    FIELD(struct setting_out, type, 0, "integer, boolean or string"),
    FIELD_AS(struct setting_out, otherwise, "default", NULL, 0, "Value when nobody sets it"),
    FIELD(struct setting_out, min, OMIT_EMPTY, "Of an integer: the least; absent: 0"),
    FIELD(struct setting_out, max, OMIT_EMPTY, "Of an integer: the most"),
    FIELD(struct setting_out, words, OMIT_EMPTY, "Of a string: one of these; absent: any"),
    FIELD(struct setting_out, variable, 0, "Environment variable that sets it, before all else"),
    FIELD(struct setting_out, is_deployed, OMIT_EMPTY,
          "Set by file or environment only, never over the API"));
static const struct shape setting_in_shape = SHAPE_STRICT(
    struct setting_in, FIELD(struct setting_in, value, 0,
                             "New value; null: back to the default. Required for a change"));
static const struct shape check_shape = SHAPE(struct check_out,
                                              FIELD(struct check_out, ok, 0, "true"));

static enum origin *origins(struct control_call *c)
{
    enum origin *from = ARENA_ARRAY(c->arena, enum origin, setting_count());
    c->control->setting_origins(c->control->arg, from);
    return from;
}

static yyjson_val *value_of(struct control_call *c, const struct settings *set,
                            const struct setting *row, struct err *e)
{
    struct buf b;
    yyjson_val *v;
    buf_init_arena(&b, c->arena, 65536);
    struct jw w = jw_on(&b);
    if (row->kind == SETTING_TEXT) /* a proxy's credentials are for nobody's eyes */
        jw_str(&w,
               secret_mask_url(c->arena, *(const struct str *)((const char *)set + row->offset)));
    else
        setting_write(set, row, &w);
    return json_parse(c->arena, buf_str(&b), 4, &v, e) ? v : NULL;
}

static struct strs words_of(struct arena *a, const struct setting *row)
{
    struct strs out = {NULL, 0};
    struct str rest = row->words ? str_of(row->words) : STR_NONE;
    if (rest.n)
        out.v = ARENA_ARRAY(a, struct str, rest.n + 1);
    while (rest.n)
        rest = str_cut(rest, '|', &out.v[out.n++]);
    return out;
}

static bool show(struct control_call *c, const struct settings *set, const struct setting *row,
                 const enum origin *from, struct setting_out *out, struct err *e)
{
    static const char *const types[] = {
        [SETTING_INT] = "integer", [SETTING_BOOL] = "boolean", [SETTING_TEXT] = "string"};
    bool is_number = row->kind == SETTING_INT;
    struct settings otherwise;
    char variable[64];
    settings_default(&otherwise);
    setting_variable(row->name, variable);
    *out = (struct setting_out){.name = str_of(row->name),
                                .value = value_of(c, set, row, e),
                                .otherwise = value_of(c, &otherwise, row, e),
                                .sentence = str_of(row->sentence),
                                .origin = str_of(origin_name(from[setting_index(row)])),
                                .type = str_of(types[row->kind]),
                                .variable = str_dup(c->arena, str_of(variable)),
                                .min = is_number ? row->min : 0,
                                .max = is_number ? row->max : 0,
                                .words = words_of(c->arena, row),
                                .is_deployed = row->is_deployed};
    return out->value && out->otherwise;
}

static bool list(struct control_call *c, struct err *e)
{
    size_t n = setting_count();
    const enum origin *from = origins(c);
    struct setting_out *v = ARENA_ARRAY(c->arena, struct setting_out, n);
    for (size_t i = 0; i < n; i++)
        if (!show(c, &c->snap->settings, setting_at(i), from, &v[i], e))
            return false;
    return control_reply_sorted(c, &setting_shape, v, n, "name", e);
}

static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    const struct setting *row = setting_find(name);
    struct jw w = jw_on(out);
    if (!row)
        return false;
    jw_cstr(&w, origin_name(origins(c)[setting_index(row)]));
    setting_write(&s->settings, row, &w);
    return true;
}

static const struct setting *find(struct control_call *c, struct err *e)
{
    struct str name = route_param(&c->params, "name");
    const struct setting *row = setting_find(name);
    if (!row)
        err_set(e, ERR_NOT_FOUND, "not_found", "No setting '" STR_FMT "'",
                STR_ARG(str_first(name, 100)));
    return row;
}

static bool get(struct control_call *c, struct err *e)
{
    const struct setting *row = find(c, e);
    struct setting_out out;
    c->represent = represent;
    return row && show(c, &c->snap->settings, row, origins(c), &out, e) &&
           control_reply_tagged(c, 200, &setting_shape, &out, c->snap, str_of(row->name));
}

static struct str text_of(struct control_call *c, yyjson_val *value)
{
    return yyjson_is_str(value) ? json_str(value) : json_text(c->arena, value);
}

/* An address that comes back as it is shown stays as it is. */
static bool is_kept(struct control_call *c, const struct setting *row, struct str text, bool *keeps,
                    struct err *e)
{
    *keeps = false;
    if (row->kind != SETTING_TEXT || !str_contains(text, STR("://")))
        return true;
    const void *at = (const char *)&c->snap->settings + row->offset;
    struct str shown = *(const struct str *)at;
    return secret_is_kept("value", text, secret_mask_url(c->arena, shown), keeps, e);
}

/* null counts: shapes do not tell it from nothing. */
static bool says_value(struct control_call *c)
{
    yyjson_val *root;
    return json_parse(c->arena, c->body, 0, &root, NULL) && yyjson_obj_get(root, "value");
}

static bool change(struct control_call *c, struct err *e)
{
    const struct setting_in *in = c->in;
    struct str text = STR_NONE;
    const struct setting *row = find(c, e);
    struct setting_out out;
    bool keeps;
    if (!row)
        return false;
    if (json_absent(in->value) && !says_value(c))
        return err_field(e, "value", "'value' is required; null: back to the default");
    c->represent = represent;
    c->represented = str_of(row->name);
    if (!json_absent(in->value))
        text = text_of(c, in->value);
    if (!is_kept(c, row, text, &keeps, e) || (!keeps && !change_setting(c, row, text, e)))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = show(c, &now->settings, row, origins(c), &out, e) &&
              control_reply_tagged(c, 200, &setting_shape, &out, now, str_of(row->name));
    snapshot_unref(now);
    return ok;
}

/* What a form asks while it is filled in: nothing is changed. */
static bool check(struct control_call *c, struct err *e)
{
    const struct setting_in *in = c->in;
    const struct setting *row = find(c, e);
    struct settings probe;
    bool keeps;
    settings_default(&probe);
    if (!row || !is_kept(c, row, text_of(c, in->value), &keeps, e))
        return false;
    if (!keeps && !json_absent(in->value) && !setting_set(&probe, row, text_of(c, in->value), e))
        return false;
    struct str proxy = str_is(str_of(row->name), "proxy") ? text_of(c, in->value) : STR_NONE;
    return (keeps || proxy_known(c->arena, c->snap, proxy, e)) &&
           control_reply(c, 200, &check_shape, &(struct check_out){true});
}

/* clang-format off */
const struct endpoint setting_endpoints[] = {
    { HTTP_GET,   "/sluice/v1/settings",        SURFACE_SLUICE, ACCESS_VIEWER, "List settings", .on_worker = list, .query = &page_query_shape, .out = &setting_shape, .is_page = true },
    { HTTP_GET,   "/sluice/v1/settings/{name}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a setting", .has_tag = true, .on_worker = get, .out = &setting_shape },
    { HTTP_PATCH, "/sluice/v1/settings/{name}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a setting", .has_tag = true, .on_worker = change, .in = &setting_in_shape, .out = &setting_shape },
    { HTTP_POST,  "/sluice/v1/settings/{name}/check", SURFACE_SLUICE, ACCESS_VIEWER, "Say whether a setting would take a value; nothing is changed", .on_worker = check, .in = &setting_in_shape, .out = &check_shape, .changes_nothing = true },
    {0},
};
/* clang-format on */
