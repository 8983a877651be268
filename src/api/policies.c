/* policies.c - /sluice/v1/policies: what the operator says of requests before they are led anywhere. */
#include "api/change_route.h"
#include "domain/route_policy.h"

struct policy_io {
    struct str name, id, model, key;
    int task, action;
    struct str target;
    int64_t priority;
    bool enabled;
    struct str origin;
};
/* clang-format off */
#define POLICY_FIELDS(flags) \
    FIELD(struct policy_io, id, 0, "Name for machines"), \
    FIELD(struct policy_io, model, 0, "Name that is asked for; * is any text; empty: any"), \
    FIELD(struct policy_io, key, 0, "Id of the client key; empty: any"), \
    FIELD_ENUM(struct policy_io, task, task_words, 0, "What the request is for, told by its words: background, coding, creative, analysis, vision, summarization or chat; any when absent"), \
    FIELD_ENUM(struct policy_io, action, policy_action_words, flags, "deny: such requests are refused; route: they go to target"), \
    FIELD(struct policy_io, target, 0, "Of route: a model, provider/model or combo"), \
    FIELD_RANGE(struct policy_io, priority, -1000000, 1000000, 0, "Of those that fit, the highest counts; of equal ones the first by name"), \
    FIELD(struct policy_io, enabled, 0, "Whether it counts")
static const struct shape policy_in_shape = SHAPE_STRICT(struct policy_io, FIELD(struct policy_io, name, READ_ONLY, "As the path says"), POLICY_FIELDS(REQUIRED));
static const struct shape policy_shape = SHAPE(struct policy_io,
    FIELD(struct policy_io, name, 0, "Its name"), POLICY_FIELDS(0),
    FIELD(struct policy_io, origin, 0, "file or api: who may change it"));
struct policy_query {
    struct page_query page;
    struct str origin;
};
static const struct shape policy_query_shape = SHAPE(struct policy_query, PAGE_FIELDS(struct policy_query),
    FIELD(struct policy_query, origin, 0, "Only from there: file or api"));
/* clang-format on */

/* All of them, those that are switched off too: as they are written. */
static bool all_of(struct control_call *c, struct policy_io **out, size_t *n, struct err *e)
{
    yyjson_val *root, *file, *k, *v;
    struct err unread = ERR_INIT;
    size_t i, max;
    *n = 0;
    if (!change_view_both(c, &root, &file, e))
        return false;
    yyjson_val *all = json_get(root, "policies"), *of_file = json_get(file, "policies");
    *out = ARENA_ARRAY(c->arena, struct policy_io, yyjson_obj_size(all) + 1);
    yyjson_obj_foreach (all, i, max, k, v) {
        struct route_policy p;
        bool is_of_file = json_find(of_file, yyjson_get_str(k), yyjson_get_len(k)) != NULL;
        if (!route_policy_read(c->arena, json_str(k), v, &p, &unread))
            continue;
        (*out)[(*n)++] = (struct policy_io){
            p.name,   p.id,     p.model,    p.key,     p.task,
            p.action, p.target, p.priority, p.enabled, is_of_file ? STR("file") : STR("api")};
    }
    return true;
}

static bool list(struct control_call *c, struct err *e)
{
    struct policy_io *v;
    size_t n;
    return all_of(c, &v, &n, e) && control_reply_sorted(c, &policy_shape, v, n, "name", e);
}

static bool find(struct control_call *c, struct str name, struct policy_io *out, struct err *e)
{
    struct policy_io *v;
    size_t n;
    if (!all_of(c, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i].name, name)) {
            *out = v[i];
            return true;
        }
    return err_set(e, ERR_NOT_FOUND, "not_found", "No policy '" STR_FMT "'",
                   STR_ARG(str_first(name, 200)));
}

/* As it is written: a snapshot has only those that count. */
static bool represent(struct control_call *c, const struct snapshot *s, struct str name,
                      struct buf *out)
{
    struct policy_io p;
    struct err none = ERR_INIT;
    struct jw w = jw_on(out);
    (void)s;
    if (!find(c, name, &p, &none))
        return false;
    shape_write(&policy_shape, &p, &w);
    return true;
}

static struct str meant(struct control_call *c)
{
    c->represent = represent;
    return c->represented = route_param(&c->params, "name");
}

static bool reply(struct control_call *c, struct str name, struct err *e)
{
    struct policy_io p;
    return find(c, name, &p, e) && control_reply_tagged(c, 200, &policy_shape, &p, c->snap, name);
}

static bool get(struct control_call *c, struct err *e)
{
    return reply(c, meant(c), e);
}

static bool put(struct control_call *c, struct err *e)
{
    struct entry_change change = {
        .section = SECTION_POLICIES, .name = meant(c), .value = c->root, .replaces = true};
    return change_entry(c, CHANGE_PUT, &change, e) && reply(c, change.name, e);
}

static bool drop(struct control_call *c, struct err *e)
{
    return change_entry_gone(c, SECTION_POLICIES, meant(c), false, e);
}

/* clang-format off */
const struct endpoint policy_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/policies",         SURFACE_SLUICE, ACCESS_VIEWER, "List what is done with requests before they are led anywhere", .on_worker = list, .query = &policy_query_shape, .out = &policy_shape, .is_page = true },
    { HTTP_GET,    "/sluice/v1/policies/{name*}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a policy", .has_tag = true, .on_worker = get, .out = &policy_shape },
    { HTTP_PUT,    "/sluice/v1/policies/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Make or replace a policy", .has_tag = true, .on_worker = put, .in = &policy_in_shape, .out = &policy_shape },
    { HTTP_DELETE, "/sluice/v1/policies/{name*}", SURFACE_SLUICE, ACCESS_ADMIN, "Delete a policy", .has_tag = true, .on_worker = drop, .status = 204 },
    {0},
};
/* clang-format on */
