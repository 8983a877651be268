/* operators.c - /sluice/v1/operators: who administers, with which role. */
#include "api/control.h"
#include "base/clock.h"
#include "base/codec.h"

struct operator_in {
    struct str name, password;
    unsigned role;
    bool enabled;
};
struct operator_out {
    struct str id, name;
    unsigned role;
    bool enabled, can_sign_in;
    struct str origin, created_at, password_changed_at;
};

static const struct shape operator_new_shape = SHAPE_STRICT(
    struct operator_in, FIELD(struct operator_in, name, REQUIRED | NOT_EMPTY, "Unique name"),
    FIELD(struct operator_in, password, REQUIRED | NOT_EMPTY, "Password; kept as Argon2id only"),
    FIELD_ENUM(struct operator_in, role, role_words, REQUIRED,
               "viewer reads; member also makes test requests; admin also changes what is "
               "configured; owner also manages operators"),
    FIELD(struct operator_in, enabled, 0, "Whether they may sign in; true when absent"));
static const struct shape operator_change_shape = SHAPE_STRICT(
    struct operator_in, FIELD(struct operator_in, name, NOT_EMPTY, "New name"),
    FIELD(struct operator_in, password, NOT_EMPTY, "New password; ends all of their sessions"),
    FIELD_ENUM(struct operator_in, role, role_words, 0, "New role, at once for open sessions too"),
    FIELD(struct operator_in, enabled, 0, "false: may not sign in, and open sessions are void"));
enum {
    IN_NAME,
    IN_PASSWORD,
    IN_ROLE,
    IN_ENABLED
};
static const struct shape operator_shape = SHAPE(
    struct operator_out, FIELD(struct operator_out, id, 0, "Stable id"),
    FIELD(struct operator_out, name, 0, "Unique name"),
    FIELD_ENUM(struct operator_out, role, role_words, 0, "viewer, member, admin or owner"),
    FIELD(struct operator_out, enabled, 0, "Whether they may sign in"),
    FIELD(struct operator_out, can_sign_in, 0, "Whether they are enabled and have a password"),
    FIELD(struct operator_out, origin, 0,
          "Where the password stands: file, environment, or api for the store"),
    FIELD(struct operator_out, created_at, 0, "When they were made"),
    FIELD(struct operator_out, password_changed_at, 0, "When their password was set"));

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

static struct operator_out show(struct arena *a, const struct operator_row *o)
{
    return (struct operator_out){.id = o->id,
                                 .name = o->name,
                                 .role = (unsigned)o->role,
                                 .enabled = o->is_enabled,
                                 .can_sign_in = o->is_enabled && o->password.n > 0,
                                 .origin = str_of(origin_name((enum origin)o->origin)),
                                 .created_at = time_text(a, o->created_ms),
                                 .password_changed_at = time_text(a, o->changed_ms)};
}

static struct str shown_json(struct arena *a, const struct operator_row *o)
{
    struct operator_out out = show(a, o);
    struct buf b;
    buf_init_arena(&b, a, 65536);
    struct jw w = jw_on(&b);
    shape_write(&operator_shape, &out, &w);
    return buf_str(&b);
}

struct operator_query {
    struct page_query page;
    int role;
    struct str origin;
    bool enabled, can_sign_in;
};
static const struct shape operator_query_shape = SHAPE_STRICT(
    struct operator_query, PAGE_FIELDS(struct operator_query),
    FIELD_ENUM(struct operator_query, role, role_words, 0, "Only those with this role"),
    FIELD(struct operator_query, origin, 0, "Only from there: file, env or api"),
    FIELD(struct operator_query, enabled, 0, "Only those who may sign in, or may not"),
    FIELD(struct operator_query, can_sign_in, 0, "Only those who can sign in, or cannot"));

static bool list(struct control_call *c, struct err *e)
{
    struct operator_row *rows;
    struct db *db = control_db(c, e);
    size_t n = 0;
    if (!db || !operator_list(db, c->arena, &rows, e))
        return false;
    for (struct operator_row *o = rows; o; o = o->next)
        n++;
    struct operator_out *v = ARENA_ARRAY(c->arena, struct operator_out, n + 1);
    n = 0;
    for (struct operator_row *o = rows; o; o = o->next)
        v[n++] = show(c->arena, o);
    return control_reply_sorted(c, &operator_shape, v, n, "name", e);
}

static bool find(struct control_call *c, struct operator_row *out, struct err *e)
{
    struct db *db = control_db(c, e);
    return db && operator_get(db, c->arena, route_param(&c->params, "id"), out, e);
}

/* They stand in the store only: what a snapshot holds does not matter. */
static bool represent(struct control_call *c, const struct snapshot *s, struct str id,
                      struct buf *out)
{
    struct operator_row o;
    struct err e = ERR_INIT;
    struct db *db = control_db(c, &e);
    (void)s;
    if (!db || !operator_get(db, c->arena, id, &o, &e))
        return false;
    buf_str_add(out, shown_json(c->arena, &o));
    return true;
}

static bool get(struct control_call *c, struct err *e)
{
    struct operator_row o;
    if (!find(c, &o, e))
        return false;
    struct operator_out out = show(c->arena, &o);
    c->represent = represent;
    return control_reply_tagged(c, 200, &operator_shape, &out, c->snap, o.id);
}

/* In one transaction with its record; then memory follows. */
static bool store(struct control_call *c, const struct operator_row *o, bool ends_sessions,
                  bool loses_owner, int status, struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db || !db_begin(db, e))
        return false;
    c->represent = represent;
    c->represented = o->id;
    if (!control_matches(c, c->snap, e) ||
        (loses_owner && !operator_is_spare(db, o->id, ROLE_OWNER, e)) || !operator_put(db, o, e) ||
        (ends_sessions && !session_delete_all(db, o->id, STR_NONE, NULL, e)) ||
        !control_audit_write(c, db, status, e)) {
        db_rollback(db);
        return false;
    }
    return db_commit(db, e) && identity_load(c->control->identity, db, e);
}

static bool create(struct control_call *c, struct err *e)
{
    const struct operator_in *in = c->in;
    struct operator_row was;
    if (control_was_made(c, in->name)) {
        struct db *db = control_db(c, e);
        if (!db || !operator_get(db, c->arena, in->name, &was, e))
            return false;
        struct operator_out made = show(c->arena, &was);
        return control_reply(c, 201, &operator_shape, &made);
    }
    struct operator_row o = {.id = random_id(c->arena, "op_", 16),
                             .name = in->name,
                             .role = in->role,
                             .is_enabled = !(c->present & (1u << IN_ENABLED)) || in->enabled,
                             .created_ms = clock_wall_ms()};
    if (!operator_name_check(o.name, e) ||
        !identity_set_password(c->arena, &c->snap->settings, secret_of(in->password),
                               clock_wall_ms(), &o, e))
        return false;
    control_audit(c, "operator", o.name, STR_NONE, shown_json(c->arena, &o));
    struct operator_out out = show(c->arena, &o);
    return store(c, &o, false, false, 201, e) && control_reply(c, 201, &operator_shape, &out);
}

static bool is_acting_owner(const struct operator_row *o)
{
    return o->role == ROLE_OWNER && o->is_enabled && o->password.n > 0;
}

static bool change(struct control_call *c, struct err *e)
{
    const struct operator_in *in = c->in;
    struct operator_row was, o;
    if (!find(c, &was, e))
        return false;
    o = was;
    /* Everything about the operator whose password the file gives follows from the file. */
    if (was.origin != ORIGIN_API &&
        !control_may_change(c, (enum origin)was.origin, "operator", was.name, e))
        return false;
    if (c->present & (1u << IN_NAME)) {
        if (!operator_name_check(in->name, e))
            return false;
        o.name = in->name;
    }
    if (c->present & (1u << IN_ROLE))
        o.role = in->role;
    if (c->present & (1u << IN_ENABLED))
        o.is_enabled = in->enabled;
    bool sets_password = (c->present & (1u << IN_PASSWORD)) != 0;
    if (sets_password && !identity_set_password(c->arena, &c->snap->settings,
                                                secret_of(in->password), clock_wall_ms(), &o, e))
        return false;
    control_audit(c, "operator", was.name, shown_json(c->arena, &was), shown_json(c->arena, &o));
    struct operator_out out = show(c->arena, &o);
    return store(c, &o, sets_password || !o.is_enabled,
                 is_acting_owner(&was) && !is_acting_owner(&o), 200, e) &&
           control_reply_tagged(c, 200, &operator_shape, &out, c->snap, o.id);
}

static bool delete (struct control_call *c, struct err *e)
{
    struct operator_row o;
    if (!find(c, &o, e))
        return false;
    if (o.origin != ORIGIN_API &&
        !control_may_change(c, (enum origin)o.origin, "operator", o.name, e))
        return false;
    control_audit(c, "operator", o.name, shown_json(c->arena, &o), STR_NONE);
    struct db *db = control_db(c, e);
    if (!db || !db_begin(db, e))
        return false;
    c->represent = represent;
    c->represented = o.id;
    if (!control_matches(c, c->snap, e) ||
        (is_acting_owner(&o) && !operator_is_spare(db, o.id, ROLE_OWNER, e)) ||
        !operator_delete(db, o.id, e) || !control_audit_write(c, db, 204, e)) {
        db_rollback(db);
        return false;
    }
    c->status = 204;
    return db_commit(db, e) && identity_load(c->control->identity, db, e);
}

/* clang-format off */
const struct endpoint operator_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/operators",      SURFACE_SLUICE, ACCESS_OWNER, "List operators", .on_worker = list, .query = &operator_query_shape, .out = &operator_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/operators",      SURFACE_SLUICE, ACCESS_OWNER, "Add an operator", .on_worker = create, .in = &operator_new_shape, .out = &operator_shape, .status = 201, .takes_password = true, .is_create = true },
    { HTTP_GET,    "/sluice/v1/operators/{id}", SURFACE_SLUICE, ACCESS_OWNER, "Retrieve an operator, by id or name", .has_tag = true, .on_worker = get, .out = &operator_shape },
    { HTTP_PATCH,  "/sluice/v1/operators/{id}", SURFACE_SLUICE, ACCESS_OWNER, "Change an operator: name, role, password, whether enabled", .has_tag = true, .on_worker = change, .in = &operator_change_shape, .out = &operator_shape, .takes_password = true },
    { HTTP_DELETE, "/sluice/v1/operators/{id}", SURFACE_SLUICE, ACCESS_OWNER, "Remove an operator, ending their sessions", .has_tag = true, .on_worker = delete, .status = 204 },
    {0},
};
/* clang-format on */
