/* settings.c - /sluice/v1/settings: every setting with its value and where that comes from. */
#include "api/change.h"

struct setting_out {
    struct str name;
    yyjson_val *value;
    struct str origin, sentence;
};
struct setting_in {
    yyjson_val *value;
};
static const struct shape setting_shape = SHAPE(
    struct setting_out, FIELD(struct setting_out, name, 0, "Name, in the file under server"),
    FIELD(struct setting_out, value, 0, "Value in force"),
    FIELD(struct setting_out, origin, 0, "default, file, environment or api: who may change it"),
    FIELD(struct setting_out, sentence, 0, "What it is for"));
static const struct shape setting_in_shape = SHAPE_STRICT(
    struct setting_in, FIELD(struct setting_in, value, 0, "New value; null: back to the default"));

static enum origin *origins(struct control_call *c)
{
    enum origin *from = ARENA_ARRAY(c->arena, enum origin, setting_count());
    c->control->setting_origins(c->control->arg, from);
    return from;
}

static bool show(struct control_call *c, const struct settings *set, const struct setting *row,
                 const enum origin *from, struct setting_out *out, struct err *e)
{
    struct buf b;
    buf_init_arena(&b, c->arena, 65536);
    struct jw w = jw_on(&b);
    setting_write(set, row, &w);
    *out = (struct setting_out){.name = str_of(row->name),
                                .sentence = str_of(row->sentence),
                                .origin = str_of(origin_name(from[setting_index(row)]))};
    return json_parse(c->arena, buf_str(&b), 4, &out->value, e);
}

static bool list(struct control_call *c, struct err *e)
{
    size_t n = setting_count();
    const enum origin *from = origins(c);
    struct setting_out *v = ARENA_ARRAY(c->arena, struct setting_out, n);
    for (size_t i = 0; i < n; i++)
        if (!show(c, &c->snap->settings, setting_at(i), from, &v[i], e))
            return false;
    return control_reply_list(c, &setting_shape, v, n);
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

static bool change(struct control_call *c, struct err *e)
{
    const struct setting_in *in = c->in;
    struct str text = STR_NONE;
    const struct setting *row = find(c, e);
    struct setting_out out;
    if (!row)
        return false;
    c->represent = represent;
    c->represented = str_of(row->name);
    if (!json_absent(in->value))
        text = yyjson_is_str(in->value) ? json_str(in->value) : json_text(c->arena, in->value);
    if (!change_setting(c, row, text, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = show(c, &now->settings, row, origins(c), &out, e) &&
              control_reply_tagged(c, 200, &setting_shape, &out, now, str_of(row->name));
    snapshot_unref(now);
    return ok;
}

/* clang-format off */
const struct endpoint setting_endpoints[] = {
    { HTTP_GET,   "/sluice/v1/settings",        SURFACE_SLUICE, ACCESS_VIEWER, "List settings", .on_worker = list, .out = &setting_shape, .is_list = true },
    { HTTP_GET,   "/sluice/v1/settings/{name}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a setting", .has_tag = true, .on_worker = get, .out = &setting_shape },
    { HTTP_PATCH, "/sluice/v1/settings/{name}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a setting", .has_tag = true, .on_worker = change, .in = &setting_in_shape, .out = &setting_shape },
    {0},
};
/* clang-format on */
