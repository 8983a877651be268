/* served_models.c - /sluice/v1/models: served names and the targets behind them. */
#include "api/control.h"
#include "domain/noun.h"

struct target_io {
    struct str provider, upstream_model;
};
struct model_in {
    struct str name;
    struct shape_list targets;
    struct strs capabilities;
    int64_t max_output_tokens, context_tokens;
    bool enabled, show_alias;
};
struct model_out {
    struct str name;
    struct shape_list targets;
    struct strs capabilities;
    int64_t max_output_tokens, context_tokens;
    bool enabled, show_alias;
    struct str origin;
};

static const struct shape target_shape = SHAPE_STRICT(
    struct target_io,
    FIELD(struct target_io, provider, REQUIRED | NOT_EMPTY, "Name of the provider"),
    FIELD(struct target_io, upstream_model, 0,
          "The provider's id of the model; empty: the served name"));

#define MODEL_FIELDS(type, flags)                                                             \
    FIELD_LIST(struct type, targets, &target_shape, flags,                                    \
               "Where requests go, tried in this order"),                                     \
        FIELD(struct type, capabilities, 0,                                                   \
              "text, vision, tools, embedding, reasoning, audio, image, rerank, moderation"), \
        FIELD(struct type, max_output_tokens, 0, "Most tokens it writes; -1: unknown"),       \
        FIELD(struct type, context_tokens, 0, "Its context window; -1: unknown"),             \
        FIELD(struct type, enabled, 0, "Whether it is served"),                               \
        FIELD(struct type, show_alias, 0,                                                     \
              "Whether replies carry this name instead of the upstream's")

static const struct shape model_in_shape = SHAPE_STRICT(
    struct model_in,
    FIELD(struct model_in, name, REQUIRED | NOT_EMPTY, "Name that clients ask for"),
    MODEL_FIELDS(model_in, REQUIRED | NOT_EMPTY));
static const struct shape model_change_shape = SHAPE_STRICT(struct model_in,
                                                            MODEL_FIELDS(model_in, NOT_EMPTY));
static const struct shape model_shape = SHAPE(
    struct model_out, FIELD(struct model_out, name, 0, "Name that clients ask for"),
    MODEL_FIELDS(model_out, 0),
    FIELD(struct model_out, origin, 0, "default, file, environment or api: who may change it"));
/* a change has no name: one bit less */
enum {
    IN_NAME,
    IN_TARGETS,
    IN_CAPABILITIES,
    IN_MAX,
    IN_CONTEXT,
    IN_ENABLED,
    IN_ALIAS
};

static const struct {
    uint32_t bit;
    const char *name;
} capabilities[] = {
    {CAP_TEXT, "text"},           {CAP_VISION, "vision"},       {CAP_TOOLS, "tools"},
    {CAP_EMBEDDING, "embedding"}, {CAP_REASONING, "reasoning"}, {CAP_AUDIO, "audio"},
    {CAP_IMAGE, "image"},         {CAP_RERANK, "rerank"},       {CAP_MODERATION, "moderation"}};

static struct model_out show(struct arena *a, const struct model *m)
{
    struct target_io *targets = ARENA_ARRAY(a, struct target_io, m->n_targets + 1);
    struct strs caps = {ARENA_ARRAY(a, struct str, ARRAY_LEN(capabilities)), 0};
    for (size_t i = 0; i < m->n_targets; i++)
        targets[i] = (struct target_io){m->targets[i].upstream->name, m->targets[i].model};
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
        if (m->capabilities & capabilities[i].bit)
            caps.v[caps.n++] = str_of(capabilities[i].name);
    return (struct model_out){.name = m->name,
                              .targets = {targets, m->n_targets},
                              .capabilities = caps,
                              .max_output_tokens = m->max_output_tokens,
                              .context_tokens = m->context_tokens,
                              .enabled = m->is_enabled,
                              .show_alias = m->show_alias,
                              .origin = str_of(origin_name(m->from))};
}

/* Disabled ones too, unlike snapshot_model(). */
static const struct model *any_model(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_models; i++)
        if (str_eq(s->models[i]->name, name))
            return s->models[i];
    return NULL;
}

static const struct model *find(struct control_call *c, struct err *e)
{
    struct str name = route_param(&c->params, "name");
    const struct model *m = any_model(c->snap, name);
    if (!m)
        err_set(e, ERR_NOT_FOUND, "not_found", "No model '" STR_FMT "'",
                STR_ARG(str_first(name, 200)));
    return m;
}

static bool list(struct control_call *c, struct err *e)
{
    struct model_out *v = ARENA_ARRAY(c->arena, struct model_out, c->snap->n_models + 1);
    (void)e;
    for (size_t i = 0; i < c->snap->n_models; i++)
        v[i] = show(c->arena, c->snap->models[i]);
    return control_reply_list(c, &model_shape, v, c->snap->n_models);
}

static bool get(struct control_call *c, struct err *e)
{
    const struct model *m = find(c, e);
    if (!m)
        return false;
    struct model_out out = show(c->arena, m);
    return control_reply(c, 200, &model_shape, &out);
}

static bool targets_json(struct control_call *c, const struct shape_list *list, struct str *out,
                         struct err *e)
{
    const struct target_io *v = list->v;
    struct buf b;
    buf_init_arena(&b, c->arena, 1u << 20);
    struct jw w = jw_on(&b);
    for (size_t i = 0; i < list->n; i++)
        if (!snapshot_upstream(c->snap, v[i].provider)) {
            char field[48];
            (void)snprintf(field, sizeof field, "targets[%zu].provider", i);
            return err_field(e, field, "There is no provider '" STR_FMT "'",
                             STR_ARG(str_first(v[i].provider, 100)));
        }
    shape_write_list(&target_shape, v, list->n, &w);
    *out = buf_str(&b);
    return true;
}

static bool capabilities_json(struct control_call *c, const struct strs *list, struct str *out,
                              struct err *e)
{
    struct buf b;
    buf_init_arena(&b, c->arena, 65536);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < list->n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < ARRAY_LEN(capabilities); k++)
            is_known |= str_eq(list->v[i], str_of(capabilities[k].name));
        if (!is_known)
            return err_field(e, "capabilities", "Unknown capability '" STR_FMT "'",
                             STR_ARG(str_first(list->v[i], 60)));
        jw_str(&w, list->v[i]);
    }
    jw_array_end(&w);
    *out = buf_str(&b);
    return true;
}

static bool reply_now(struct control_call *c, int status, struct str name)
{
    struct snapshot *now = snapshot_current();
    const struct model *m = any_model(now, name);
    struct model_out out = m ? show(c->arena, m) : (struct model_out){.name = name};
    bool ok = control_reply(c, status, &model_shape, &out);
    snapshot_unref(now);
    return ok;
}

/* Takes the fields that are there; bits count from the first field behind the name. */
static bool take(struct control_call *c, const struct model_in *in, unsigned bit,
                 struct model_row *row, struct err *e)
{
#define HAS(field) (c->present >> ((field)-IN_TARGETS + bit) & 1)
    if (HAS(IN_TARGETS) && !targets_json(c, &in->targets, &row->targets, e))
        return false;
    if (HAS(IN_CAPABILITIES) && !capabilities_json(c, &in->capabilities, &row->capabilities, e))
        return false;
    if (HAS(IN_MAX))
        row->max_output_tokens = in->max_output_tokens > 0 ? in->max_output_tokens : -1;
    if (HAS(IN_CONTEXT))
        row->context_tokens = in->context_tokens > 0 ? in->context_tokens : -1;
    if (HAS(IN_ENABLED))
        row->is_enabled = in->enabled;
    if (HAS(IN_ALIAS))
        row->show_alias = in->show_alias;
#undef HAS
    return true;
}

static bool create(struct control_call *c, struct err *e)
{
    const struct model_in *in = c->in;
    struct model_row row = {
        .name = in->name, .is_enabled = true, .max_output_tokens = -1, .context_tokens = -1};
    if (any_model(c->snap, in->name))
        return err_set(e, ERR_CONFLICT, "already_exists", "There is a model '" STR_FMT "' already",
                       STR_ARG(str_first(in->name, 200)));
    struct db *db = take(c, in, IN_TARGETS, &row, e) ? control_db(c, e) : NULL;
    return db && model_put(db, &row, e) && control_changed(c, e) && reply_now(c, 201, row.name);
}

static bool change(struct control_call *c, struct err *e)
{
    const struct model *m = find(c, e);
    struct model_row *row;
    if (!m || !control_may_change(c, m->from, "model", m->name, e))
        return false;
    struct db *db = control_db(c, e);
    if (!db || !model_list(db, c->arena, &row, e))
        return false;
    while (row && !str_eq(row->name, m->name))
        row = row->next;
    if (!row)
        return err_set(e, ERR_NOT_FOUND, "not_found", "No model '" STR_FMT "'", STR_ARG(m->name));
    return take(c, c->in, 0, row, e) && model_put(db, row, e) && control_changed(c, e) &&
           reply_now(c, 200, m->name);
}

static bool delete (struct control_call *c, struct err *e)
{
    const struct model *m = find(c, e);
    if (!m || !control_may_change(c, m->from, "model", m->name, e))
        return false;
    struct db *db = control_db(c, e);
    c->status = 204;
    return db && model_delete(db, m->name, e) && control_changed(c, e);
}

/* clang-format off */
const struct endpoint served_model_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/models",         SURFACE_SLUICE, ACCESS_VIEWER, "List served models", .on_worker = list, .out = &model_shape, .is_list = true },
    { HTTP_POST,   "/sluice/v1/models",         SURFACE_SLUICE, ACCESS_ADMIN, "Serve a model", .on_worker = create, .in = &model_in_shape, .out = &model_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/models/{name*}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a served model", .on_worker = get, .out = &model_shape },
    { HTTP_PATCH,  "/sluice/v1/models/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a served model", .on_worker = change, .in = &model_change_shape, .out = &model_shape },
    { HTTP_DELETE, "/sluice/v1/models/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Serve a model no more", .on_worker = delete, .status = 204 },
    {0},
};
/* clang-format on */
