/* omni_ways.c - where names lead, as OmniRoute has it besides combos: fallback chains, patterns that lead models to combos, and renamed
 * models. All of them are chains and aliases of the configuration. */
#include "api/change_route.h"
#include "api/combos.h"
#include "api/omni.h"
#include "base/clock.h"
#include "json/shape_json.h"

struct success_out {
    bool success;
};
static const struct shape success_shape = SHAPE(struct success_out,
                                                FIELD(struct success_out, success, 0, "true"));

/* ---- /api/fallback/chains ---- */

static const struct shape chains_shape = {.name = "struct fallback_chains"}; /* by model */
struct chain_in {
    struct str model;
    yyjson_val *chain;
};
struct chain_out {
    bool success;
    struct str model;
};
struct unchain_in {
    struct str model;
};
struct unchain_out {
    bool success, removed;
};
/* clang-format off */
static const struct shape chain_in_shape = SHAPE(struct chain_in,
    FIELD_TEXT(struct chain_in, model, 1, 200, REQUIRED | TRIM, "The model that clients ask for"),
    FIELD(struct chain_in, chain, REQUIRED, "{provider,priority,enabled} each: a provider's id, or a connection's, that is asked for the same model when its own fail"));
static const struct shape link_shape = SHAPE(struct chain_link,
    FIELD_TEXT(struct chain_link, provider, 1, 120, REQUIRED | TRIM, "Kind of provider, node, or connection"),
    FIELD_RANGE(struct chain_link, priority, 0, 100, COERCE, "Lower ones are tried first; 0 when absent"),
    FIELD(struct chain_link, enabled, 0, "Whether it takes part; true when absent"));
static const struct shape chain_out_shape = SHAPE(struct chain_out,
    FIELD(struct chain_out, success, 0, "true"),
    FIELD(struct chain_out, model, 0, "The model"));
static const struct shape unchain_in_shape = SHAPE(struct unchain_in,
    FIELD_TEXT(struct unchain_in, model, 1, 200, REQUIRED | TRIM, "Whose chain goes"));
static const struct shape unchain_shape = SHAPE(struct unchain_out,
    FIELD(struct unchain_out, success, 0, "true"),
    FIELD(struct unchain_out, removed, 0, "Whether there was one"));
/* clang-format on */

static bool list_chains(struct control_call *c, struct err *e)
{
    const struct routing *r = c->snap->routing;
    struct jw w = jw_on(&c->out);
    (void)e;
    jw_object(&w);
    for (size_t i = 0; i < r->n_chains; i++) {
        jw_key_str(&w, r->chains[i]->model);
        shape_write_list(&chain_link_shape, r->chains[i]->links, r->chains[i]->n_links, &w);
    }
    jw_object_end(&w);
    return true;
}

/* A connection is meant by its id, too. */
static bool write_link(struct control_call *c, size_t i, yyjson_val *v, struct jw *w, struct err *e)
{
    struct chain_link link = {.enabled = true};
    const struct custom_kind *node;
    bool ok = yyjson_is_obj(v) ? shape_read(&link_shape, c->arena, v, &link, NULL, e)
                               : err_field(e, "", "'chain[%zu]' must be an object", i);
    if (ok) {
        const struct upstream *u = omni_connection(c->snap, link.provider);
        if (u)
            link.provider = u->name;
        else if (!omni_kind(c->snap, link.provider, &node))
            ok = err_field(e, "provider", "There is no provider '" STR_FMT "'",
                           STR_ARG(str_first(link.provider, 100)));
        else if (node)
            link.provider = node->id;
    }
    if (!ok) {
        char was[64];
        (void)snprintf(was, sizeof was, "%.60s", e->field);
        (void)snprintf(e->field, sizeof e->field, "chain[%zu]%s%s", i, was[0] ? "." : "", was);
        return false;
    }
    shape_write(&chain_link_shape, &link, w);
    return true;
}

static bool put_chain(struct control_call *c, struct err *e)
{
    const struct chain_in *in = c->in;
    struct entry_change change = {.section = SECTION_CHAINS, .name = in->model};
    struct chain_out out = {true, in->model};
    struct buf b;
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(in->chain) || !yyjson_arr_size(in->chain))
        return err_field(e, "chain", "'chain' must be an array that is not empty");
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    yyjson_arr_foreach (in->chain, i, max, v)
        if (!write_link(c, i, v, &w, e))
            return false;
    jw_array_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, &change.value, e) &&
           change_entry(c, CHANGE_PUT, &change, e) && control_reply(c, 200, &chain_out_shape, &out);
}

static bool drop_chain(struct control_call *c, struct err *e)
{
    const struct unchain_in *in = c->in;
    struct unchain_out out = {.success = true};
    struct strs users;
    for (size_t i = 0; i < c->snap->routing->n_chains; i++)
        out.removed |= str_eq(c->snap->routing->chains[i]->model, in->model);
    return (!out.removed || change_entry_delete(c, SECTION_CHAINS, in->model, false, &users, e)) &&
           control_reply(c, 200, &unchain_shape, &out);
}

/* ---- /api/model-combo-mappings: aliases that lead to a combo ---- */

struct mapping_out {
    struct str id, pattern, combo_id, combo_name;
    int64_t priority;
    bool enabled;
    struct str description, created_at, updated_at;
};
struct mappings_out {
    struct shape_list mappings;
};
struct mapping_one {
    struct mapping_out mapping;
};
struct mapping_in {
    struct str pattern, combo_id;
    int64_t priority;
    bool enabled;
    struct str description;
};
enum mapping_bit {
    IN_PATTERN,
    IN_COMBO,
    IN_PRIORITY,
    IN_ENABLED,
    IN_DESCRIPTION
};
/* clang-format off */
static const struct shape mapping_shape = SHAPE(struct mapping_out,
    FIELD(struct mapping_out, id, 0, "Stable id"),
    FIELD(struct mapping_out, pattern, 0, "Name that clients ask for; * is any text, ? one character, in any case of letters"),
    FIELD_AS(struct mapping_out, combo_id, "comboId", NULL, 0, "Where it leads"),
    FIELD_AS(struct mapping_out, combo_name, "comboName", NULL, 0, "The same by name"),
    FIELD(struct mapping_out, priority, 0, "Of patterns that fit, the highest counts"),
    FIELD(struct mapping_out, enabled, 0, "Whether it counts"),
    FIELD(struct mapping_out, description, 0, "For people"),
    FIELD_AS(struct mapping_out, created_at, "createdAt", NULL, OMIT_EMPTY, "When it was made, as far as that was here"),
    FIELD_AS(struct mapping_out, updated_at, "updatedAt", NULL, OMIT_EMPTY, "When it was changed last, as far as that was here"));
static const struct shape mappings_shape = SHAPE(struct mappings_out,
    FIELD_LIST(struct mappings_out, mappings, &mapping_shape, 0, "All aliases that lead to a combo"));
static const struct shape mapping_one_shape = SHAPE(struct mapping_one,
    FIELD_OBJECT(struct mapping_one, mapping, &mapping_shape, 0, "It"));
/* In the order of enum mapping_bit. */
#define MAPPING_FIELDS(flags) \
    FIELD_TEXT(struct mapping_in, pattern, 1, 200, (flags) | TRIM, "Name that clients ask for; * is any text, ? one character"), \
    FIELD_AS(struct mapping_in, combo_id, "comboId", NULL, (flags) | NOT_EMPTY, "Id or name of the combo that it leads to"), \
    FIELD_RANGE(struct mapping_in, priority, -1000000, 1000000, COERCE, "Of patterns that fit, the highest counts; 0 when absent"), \
    FIELD(struct mapping_in, enabled, 0, "Whether it counts; true when absent"), \
    FIELD_TEXT(struct mapping_in, description, 0, 1000, 0, "For people")
static const struct shape mapping_in_shape = SHAPE(struct mapping_in, MAPPING_FIELDS(REQUIRED));
static const struct shape mapping_change_shape = SHAPE(struct mapping_in, MAPPING_FIELDS(0));
/* clang-format on */

static bool is_given(const struct control_call *c, unsigned bit)
{
    return c->present >> bit & 1;
}

static struct mapping_out show_mapping(struct arena *a, const struct snapshot *s, struct str name,
                                       yyjson_val *v)
{
    struct str to = yyjson_is_str(v) ? json_str(v) : json_get_str(v, "to"),
               id = json_get_str(v, "id");
    yyjson_val *extra = json_get(v, "extra");
    const struct combo *x = combo_called(s, to);
    if (!id.n) /* written by hand */
        id = str_fmt(a, "mapping_" STR_FMT, STR_ARG(str_skip(combo_id(a, name), 6)));
    return (struct mapping_out){.id = id,
                                .pattern = name,
                                .combo_id = x ? x->id : to,
                                .combo_name = x ? x->name : to,
                                .priority = json_get_int(v, "priority", 0),
                                .enabled = json_get_bool(v, "enabled", true),
                                .description = json_get_str(extra, "description"),
                                .created_at = json_get_str(extra, "createdAt"),
                                .updated_at = json_get_str(extra, "updatedAt")};
}

/* All of them, as they are written; only those that lead to a combo. */
static bool mappings(struct control_call *c, struct mapping_out **out, size_t *n, struct err *e)
{
    struct snapshot *now = snapshot_current();
    yyjson_val *root, *k, *v;
    size_t i, max;
    *n = 0;
    bool ok = change_view(c, &root, e);
    if (ok) {
        yyjson_val *all = json_get(root, "aliases");
        *out = ARENA_ARRAY(c->arena, struct mapping_out, yyjson_obj_size(all) + 1);
        yyjson_obj_foreach (all, i, max, k, v) {
            struct str to = yyjson_is_str(v) ? json_str(v) : json_get_str(v, "to");
            const struct combo *x = combo_called(now, to);
            if (!x || !str_eq(x->name, to))
                continue;
            struct mapping_out *one = &(*out)[(*n)++];
            *one = show_mapping(c->arena, now, json_str(k), v);
            one->combo_id = str_dup(c->arena, one->combo_id);
            one->combo_name = str_dup(c->arena, one->combo_name);
        }
    }
    snapshot_unref(now);
    return ok;
}

static bool list_mappings(struct control_call *c, struct err *e)
{
    struct mapping_out *v;
    struct mappings_out out = {{NULL, 0}};
    if (!mappings(c, &v, &out.mappings.n, e))
        return false;
    out.mappings.v = v;
    return control_reply(c, 200, &mappings_shape, &out);
}

static bool find_mapping(struct control_call *c, struct str id, struct mapping_out *out,
                         struct err *e)
{
    struct mapping_out *v;
    size_t n;
    if (!mappings(c, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i].id, id)) {
            *out = v[i];
            return true;
        }
    return omni_not_found("Mapping", id, e);
}

static bool reply_mapping(struct control_call *c, int status, struct str id, struct err *e)
{
    struct mapping_one out = {.mapping = {.id = id}};
    return find_mapping(c, id, &out.mapping, e) &&
           control_reply(c, status, &mapping_one_shape, &out);
}

static bool get_mapping(struct control_call *c, struct err *e)
{
    return reply_mapping(c, 200, route_param(&c->params, "id"), e);
}

static bool put_mapping(struct control_call *c, enum change_mode mode,
                        const struct mapping_out *was, struct err *e)
{
    const struct mapping_in *in = c->in;
    struct entry_change change = {.section = SECTION_ALIASES,
                                  .name = is_given(c, IN_PATTERN) || !was ? in->pattern
                                                                          : was->pattern,
                                  .rename_from = was ? was->pattern : STR_NONE};
    const struct combo *x = is_given(c, IN_COMBO) ? combo_called(c->snap, in->combo_id) : NULL;
    struct str now = omni_time(c->arena, clock_wall_ms()), made = was ? was->created_at : now,
               text = is_given(c, IN_DESCRIPTION) ? in->description
                      : was                       ? was->description
                                                  : STR_NONE,
               id = was ? was->id
                        : str_fmt(c->arena, "mapping_" STR_FMT,
                                  STR_ARG(str_skip(combo_id(c->arena, change.name), 6)));
    struct buf b;
    if (is_given(c, IN_COMBO) && !x)
        return err_field(e, "comboId", "There is no combo '" STR_FMT "'",
                         STR_ARG(str_first(in->combo_id, 100)));
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "id", id);
    if (x)
        jw_kv_str(&w, "to", x->name);
    if (is_given(c, IN_PRIORITY))
        jw_kv_int(&w, "priority", in->priority);
    if (is_given(c, IN_ENABLED))
        jw_kv_bool(&w, "enabled", in->enabled);
    jw_key(&w, "extra");
    jw_object(&w);
    if (text.n)
        jw_kv_str(&w, "description", text);
    if (made.n)
        jw_kv_str(&w, "createdAt", made);
    jw_kv_str(&w, "updatedAt", now);
    jw_object_end(&w);
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, &change.value, e) &&
           change_entry(c, mode, &change, e) &&
           reply_mapping(c, mode == CHANGE_CREATE ? 201 : 200, id, e);
}

static bool create_mapping(struct control_call *c, struct err *e)
{
    return put_mapping(c, CHANGE_CREATE, NULL, e);
}

static bool change_mapping(struct control_call *c, struct err *e)
{
    struct mapping_out was;
    if (!find_mapping(c, route_param(&c->params, "id"), &was, e))
        return false;
    return c->present ? put_mapping(c, CHANGE_UPDATE, &was, e)
                      : err_field(e, "body", "Give at least one key");
}

static bool drop_mapping(struct control_call *c, struct err *e)
{
    struct mapping_out was;
    struct success_out out = {true};
    struct strs users;
    return find_mapping(c, route_param(&c->params, "id"), &was, e) &&
           change_entry_delete(c, SECTION_ALIASES, was.pattern, true, &users, e) &&
           control_reply(c, 200, &success_shape, &out);
}

/* ---- /api/settings/model-aliases: models that have another name now ---- */

#define RENAMED "renamed" /* tells their aliases from others */

struct renames_out {
    yyjson_val *built_in, *custom, *all;
};
struct renames_in {
    yyjson_val *aliases;
};
struct rename_in {
    struct str from, to;
};
struct unrename_in {
    struct str from;
};
struct renamed_out {
    bool success;
    struct str from, to;
};
/* clang-format off */
static const struct shape renames_shape = SHAPE(struct renames_out,
    FIELD_AS_JSON(struct renames_out, built_in, "builtIn", JSON_MAP, &json_of_text, 0, "None: sluice renames nothing by itself"),
    FIELD_JSON(struct renames_out, custom, JSON_MAP, &json_of_text, 0, "What each old name stands for"),
    FIELD_JSON(struct renames_out, all, JSON_MAP, &json_of_text, 0, "The same"));
static const struct shape renames_in_shape = SHAPE(struct renames_in,
    FIELD(struct renames_in, aliases, REQUIRED, "What each old name stands for: all of them"));
static const struct shape rename_in_shape = SHAPE(struct rename_in,
    FIELD_TEXT(struct rename_in, from, 1, 200, REQUIRED | TRIM, "The old name"),
    FIELD_TEXT(struct rename_in, to, 1, 200, REQUIRED | TRIM, "What is meant: a served model, a combo, or provider/model"));
static const struct shape unrename_in_shape = SHAPE(struct unrename_in,
    FIELD_TEXT(struct unrename_in, from, 1, 200, REQUIRED | TRIM, "The old name"));
static const struct shape renamed_shape = SHAPE(struct renamed_out,
    FIELD(struct renamed_out, success, 0, "true"),
    FIELD(struct renamed_out, from, 0, "The old name"),
    FIELD(struct renamed_out, to, OMIT_EMPTY, "What it stands for"));
/* clang-format on */

static bool list_renames(struct control_call *c, struct err *e)
{
    struct renames_out out;
    if (!omni_aliases(c, RENAMED, &out.custom, e) ||
        !json_parse(c->arena, STR("{}"), 0, &out.built_in, e))
        return false;
    out.all = out.custom;
    return control_reply(c, 200, &renames_shape, &out);
}

static bool make_rename(struct control_call *c, struct str from, struct str to,
                        struct entry_change *out, struct err *e)
{
    *out = (struct entry_change){.section = SECTION_ALIASES, .name = from, .allows_unknown = true};
    if (alias_is_pattern(from))
        return err_field(e, "from", "'from' must be a name: for patterns there are aliases");
    return json_parse(c->arena,
                      str_fmt(c->arena, "{\"to\":" STR_FMT ",\"source\":\"" RENAMED "\"}",
                              STR_ARG(omni_text(c->arena, to))),
                      0, &out->value, e);
}

static bool add_rename(struct control_call *c, struct err *e)
{
    const struct rename_in *in = c->in;
    struct entry_change change;
    struct renamed_out out = {true, in->from, in->to};
    return make_rename(c, in->from, in->to, &change, e) &&
           change_entry(c, CHANGE_PUT, &change, e) && control_reply(c, 200, &renamed_shape, &out);
}

static bool put_renames(struct control_call *c, struct err *e)
{
    const struct renames_in *in = c->in;
    yyjson_val *was, *k, *v;
    size_t i, max, n = 0;
    if (!yyjson_is_obj(in->aliases))
        return err_field(e, "aliases", "'aliases' must be an object of names");
    if (!omni_aliases(c, RENAMED, &was, e))
        return false;
    struct entry_change *all = ARENA_ARRAY(c->arena, struct entry_change,
                                           yyjson_obj_size(in->aliases) + yyjson_obj_size(was) + 1);
    yyjson_obj_foreach (was, i, max, k, v)
        if (!json_find(in->aliases, yyjson_get_str(k), yyjson_get_len(k)))
            all[n++] = (struct entry_change){
                .section = SECTION_ALIASES, .name = json_str(k), .removes = true};
    yyjson_obj_foreach (in->aliases, i, max, k, v) {
        if (!json_str(v).n || !json_str(k).n)
            return err_field(e, "aliases", "'aliases' must hold names, and what they stand for");
        if (!make_rename(c, json_str(k), json_str(v), &all[n++], e))
            return false;
    }
    return change_entries(c, all, n, NULL, e) && list_renames(c, e);
}

static bool drop_rename(struct control_call *c, struct err *e)
{
    const struct unrename_in *in = c->in;
    struct renamed_out out = {.success = true, .from = in->from};
    struct strs users;
    yyjson_val *was;
    if (!omni_aliases(c, RENAMED, &was, e))
        return false;
    if (!json_find(was, str_z(c->arena, in->from), in->from.n))
        return omni_not_found("Alias", in->from, e);
    return change_entry_delete(c, SECTION_ALIASES, in->from, true, &users, e) &&
           control_reply(c, 200, &renamed_shape, &out);
}

/* clang-format off */
const struct endpoint omni_way_endpoints[] = {
    { HTTP_GET,    "/api/fallback/chains",            SURFACE_OMNIROUTE, ACCESS_VIEWER, "List fallback chains by model", .on_worker = list_chains, .out = &chains_shape },
    { HTTP_POST,   "/api/fallback/chains",            SURFACE_OMNIROUTE, ACCESS_ADMIN, "Set the fallback chain of a model", .on_worker = put_chain, .in = &chain_in_shape, .out = &chain_out_shape, .is_create = true },
    { HTTP_DELETE, "/api/fallback/chains",            SURFACE_OMNIROUTE, ACCESS_ADMIN, "Remove the fallback chain of a model", .on_worker = drop_chain, .in = &unchain_in_shape, .out = &unchain_shape },
    { HTTP_GET,    "/api/model-combo-mappings",       SURFACE_OMNIROUTE, ACCESS_VIEWER, "List patterns that lead models to combos", .on_worker = list_mappings, .out = &mappings_shape },
    { HTTP_POST,   "/api/model-combo-mappings",       SURFACE_OMNIROUTE, ACCESS_ADMIN, "Add a pattern that leads models to a combo", .on_worker = create_mapping, .in = &mapping_in_shape, .out = &mapping_one_shape, .status = 201 },
    { HTTP_GET,    "/api/model-combo-mappings/{id}",  SURFACE_OMNIROUTE, ACCESS_VIEWER, "Retrieve one of them", .on_worker = get_mapping, .out = &mapping_one_shape },
    { HTTP_PUT,    "/api/model-combo-mappings/{id}",  SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change one of them", .on_worker = change_mapping, .in = &mapping_change_shape, .out = &mapping_one_shape },
    { HTTP_DELETE, "/api/model-combo-mappings/{id}",  SURFACE_OMNIROUTE, ACCESS_ADMIN, "Remove one of them", .on_worker = drop_mapping, .out = &success_shape },
    { HTTP_GET,    "/api/settings/model-aliases",     SURFACE_OMNIROUTE, ACCESS_VIEWER, "List models that have another name now", .on_worker = list_renames, .out = &renames_shape },
    { HTTP_POST,   "/api/settings/model-aliases",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Give a model another name", .on_worker = add_rename, .in = &rename_in_shape, .out = &renamed_shape, .is_create = true },
    { HTTP_PUT,    "/api/settings/model-aliases",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Say all of them at once", .on_worker = put_renames, .in = &renames_in_shape, .out = &renames_shape },
    { HTTP_DELETE, "/api/settings/model-aliases",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Forget one of them", .on_worker = drop_rename, .in = &unrename_in_shape, .out = &renamed_shape },
    {0},
};
/* clang-format on */
