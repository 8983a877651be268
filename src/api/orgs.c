/* orgs.c - /sluice/v1/orgs and /sluice/v1/users: whom client keys belong to. */
#include "api/change.h"
#include "base/clock.h"
#include "domain/org.h"

struct holder_in {
    struct str name;
    bool enabled;
    struct limits limits;
    struct str org, id;
};
struct holder_out {
    struct str id, name;
    bool enabled;
    struct limits limits;
    struct str org, created_at, origin;
    int64_t keys;
};

/* In the order of enum holder_field. */
// clang-format off
#define COMMON(flags) \
    FIELD(struct holder_in, name, flags, "Name for people"), \
    FIELD(struct holder_in, enabled, 0, "Whether its keys open anything; true when absent"), \
    FIELD_OBJECT(struct holder_in, limits, &limits_shape, 0, "How much its keys may use together")
#define ORG_OF FIELD(struct holder_in, org, 0, "Organisation that the user belongs to; empty: none")
#define ID FIELD(struct holder_in, id, 0, "Name in the configuration, which stays; made up when absent")
static const struct shape org_in_shape = SHAPE_STRICT(struct holder_in, COMMON(0), ID);
static const struct shape user_in_shape = SHAPE_STRICT(struct holder_in, COMMON(0), ORG_OF, ID);
static const struct shape org_change_shape = SHAPE_STRICT(struct holder_in, COMMON(0));
static const struct shape user_change_shape = SHAPE_STRICT(struct holder_in, COMMON(0), ORG_OF);
#define SHOWN \
    FIELD(struct holder_out, id, 0, "Name in the configuration"), \
    FIELD(struct holder_out, name, 0, "Name for people"), \
    FIELD(struct holder_out, enabled, 0, "Whether its keys open anything"), \
    FIELD_OBJECT(struct holder_out, limits, &limits_shape, 0, "How much its keys may use together"), \
    FIELD(struct holder_out, created_at, 0, "When it was made"), \
    FIELD(struct holder_out, origin, 0, "file or api: where it stands"), \
    FIELD(struct holder_out, keys, 0, "How many keys belong to it")
static const struct shape org_shape = SHAPE(struct holder_out, SHOWN);
static const struct shape user_shape = SHAPE(struct holder_out, SHOWN, FIELD(struct holder_out, org, 0, "Organisation that it belongs to; empty: none"));
// clang-format on

static const struct shape *shape_of(enum holder_kind k)
{
    return k == HOLDER_ORG ? &org_shape : &user_shape;
}

static struct holder_out show(struct arena *a, enum holder_kind kind, const struct snapshot *s,
                              const struct holder *h)
{
    struct holder_out out = {.id = h->id,
                             .name = h->name,
                             .enabled = h->is_enabled,
                             .limits = h->limits,
                             .org = h->org ? h->org->id : STR(""),
                             .created_at = STR(""),
                             .origin = str_of(origin_name(h->from))};
    struct buf b;
    if (h->created_ms) {
        buf_init_arena(&b, a, 64);
        clock_rfc3339(&b, h->created_ms);
        out.created_at = buf_str(&b);
    }
    for (size_t i = 0; i < s->n_keys; i++)
        out.keys += kind == HOLDER_ORG ? s->keys[i]->org == h : s->keys[i]->user == h;
    return out;
}

struct holder_query {
    struct page_query page;
    struct str org, origin, name;
    bool enabled;
};
// clang-format off
#define QUERY \
    PAGE_FIELDS(struct holder_query), \
    FIELD(struct holder_query, name, 0, "Only those with this name"), \
    FIELD(struct holder_query, origin, 0, "Only from there: file or api"), \
    FIELD(struct holder_query, enabled, 0, "Only those whose keys open something, or nothing")
static const struct shape org_query_shape = SHAPE(struct holder_query, QUERY);
static const struct shape user_query_shape = SHAPE(struct holder_query, QUERY, FIELD(struct holder_query, org, 0, "Only of this organisation"));
// clang-format on

static bool list(struct control_call *c, enum holder_kind k, struct err *e)
{
    size_t n = c->snap->n_holders[k];
    struct holder_out *v = ARENA_ARRAY(c->arena, struct holder_out, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = show(c->arena, k, c->snap, c->snap->holders[k][i]);
    return control_reply_sorted(c, shape_of(k), v, n, "id", e);
}

static bool represent_as(struct control_call *c, enum holder_kind k, const struct snapshot *s,
                         struct str id, struct buf *out)
{
    const struct holder *h = snapshot_holder(s, k, id);
    struct jw w = jw_on(out);
    if (!h)
        return false;
    struct holder_out shown = show(c->arena, k, s, h);
    shown.keys = 0; /* not its own */
    shape_write(shape_of(k), &shown, &w);
    return true;
}

static bool represent_org(struct control_call *c, const struct snapshot *s, struct str id,
                          struct buf *out)
{
    return represent_as(c, HOLDER_ORG, s, id, out);
}

static bool represent_user(struct control_call *c, const struct snapshot *s, struct str id,
                           struct buf *out)
{
    return represent_as(c, HOLDER_USER, s, id, out);
}

static void meant(struct control_call *c, enum holder_kind k, struct str id)
{
    c->represent = k == HOLDER_ORG ? represent_org : represent_user;
    c->represented = id;
}

static bool reply_from(struct control_call *c, enum holder_kind k, int status,
                       const struct snapshot *s, struct str id, struct err *e)
{
    const struct holder *h = snapshot_holder(s, k, id);
    if (!h)
        return err_set(e, ERR_NOT_FOUND, "not_found", "No %s '" STR_FMT "'", holder_word(k),
                       STR_ARG(str_first(id, 100)));
    struct holder_out out = show(c->arena, k, s, h);
    meant(c, k, id);
    return control_reply_tagged(c, status, shape_of(k), &out, s, id);
}

static bool reply_now(struct control_call *c, enum holder_kind k, int status, struct str id,
                      struct err *e)
{
    struct snapshot *now = snapshot_current();
    bool ok = reply_from(c, k, status, now, id, e);
    snapshot_unref(now);
    return ok;
}

static bool get(struct control_call *c, enum holder_kind k, struct err *e)
{
    return reply_from(c, k, 200, c->snap, route_param(&c->params, "id"), e);
}

static bool create(struct control_call *c, enum holder_kind k, struct err *e)
{
    const struct holder_in *in = c->in;
    uint32_t all = k == HOLDER_ORG ? 7 : 15;
    struct holder_change h = {.kind = k,
                              .id = in->id,
                              .given = (uint32_t)c->present & all,
                              .name = in->name,
                              .org = in->org,
                              .limits = in->limits,
                              .is_enabled = in->enabled};
    return change_holder(c, CHANGE_CREATE, &h, e) && reply_now(c, k, 201, h.id, e);
}

static bool change(struct control_call *c, enum holder_kind k, struct err *e)
{
    const struct holder_in *in = c->in;
    struct str id = route_param(&c->params, "id");
    struct holder_change h = {.kind = k,
                              .id = id,
                              .given = (uint32_t)c->present,
                              .name = in->name,
                              .org = in->org,
                              .limits = in->limits,
                              .is_enabled = in->enabled};
    meant(c, k, id);
    return change_holder(c, CHANGE_UPDATE, &h, e) && reply_now(c, k, 200, id, e);
}

struct detach_query {
    bool detach;
};
static const struct shape detach_query_shape = SHAPE(
    struct detach_query,
    FIELD(struct detach_query, detach, 0,
          "Leave what belongs to it without it; else it is refused while something does"));

static bool delete (struct control_call *c, enum holder_kind k, struct err *e)
{
    const struct detach_query *q = c->asked;
    struct str id = route_param(&c->params, "id");
    c->status = 204;
    meant(c, k, id);
    return change_holder_delete(c, k, id, q->detach, e);
}

/* Each for both kinds. */
#define BOTH(verb)                                                  \
    static bool verb##_orgs(struct control_call *c, struct err *e)  \
    {                                                               \
        return verb(c, HOLDER_ORG, e);                              \
    }                                                               \
    static bool verb##_users(struct control_call *c, struct err *e) \
    {                                                               \
        return verb(c, HOLDER_USER, e);                             \
    }
BOTH(list)
BOTH(get)
BOTH(create)
BOTH(change)
BOTH(delete)

/* clang-format off */
const struct endpoint org_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/orgs",       SURFACE_SLUICE, ACCESS_VIEWER, "List organisations", .on_worker = list_orgs, .query = &org_query_shape, .out = &org_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/orgs",       SURFACE_SLUICE, ACCESS_ADMIN, "Add an organisation", .on_worker = create_orgs, .in = &org_in_shape, .out = &org_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/orgs/{id}",  SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve an organisation", .has_tag = true, .on_worker = get_orgs, .out = &org_shape },
    { HTTP_PATCH,  "/sluice/v1/orgs/{id}",  SURFACE_SLUICE, ACCESS_ADMIN, "Change an organisation", .has_tag = true, .on_worker = change_orgs, .in = &org_change_shape, .out = &org_shape },
    { HTTP_DELETE, "/sluice/v1/orgs/{id}",  SURFACE_SLUICE, ACCESS_ADMIN, "Delete an organisation", .has_tag = true, .on_worker = delete_orgs, .query = &detach_query_shape, .status = 204 },
    { HTTP_GET,    "/sluice/v1/users",      SURFACE_SLUICE, ACCESS_VIEWER, "List users, whom keys belong to", .on_worker = list_users, .query = &user_query_shape, .out = &user_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/users",      SURFACE_SLUICE, ACCESS_ADMIN, "Add a user", .on_worker = create_users, .in = &user_in_shape, .out = &user_shape, .status = 201 },
    { HTTP_GET,    "/sluice/v1/users/{id}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a user", .has_tag = true, .on_worker = get_users, .out = &user_shape },
    { HTTP_PATCH,  "/sluice/v1/users/{id}", SURFACE_SLUICE, ACCESS_ADMIN, "Change a user", .has_tag = true, .on_worker = change_users, .in = &user_change_shape, .out = &user_shape },
    { HTTP_DELETE, "/sluice/v1/users/{id}", SURFACE_SLUICE, ACCESS_ADMIN, "Delete a user", .has_tag = true, .on_worker = delete_users, .query = &detach_query_shape, .status = 204 },
    {0},
};
/* clang-format on */
