/* omni_proxies.c - /api/settings/proxies: the list of proxies, and who goes through which. They are the entries of "proxies"; an assignment is
 * the setting `proxy` (global), the proxy's `kinds` (provider), or the member `proxy` of a provider's entry (account). */
#include "api/change_route.h"
#include "api/omni_proxy.h"
#include "base/clock.h"
#include "base/codec.h"
#include "json/shape_json.h"

struct assignment {
    struct str id, proxy_id, scope, scope_id;
};
struct proxy_out {
    struct str id, name, type, host;
    int64_t port;
    struct str username;
    bool has_password;
    struct str region, notes, status, created_at, updated_at;
    yyjson_val *assignment;
};
struct proxy_in {
    struct str id, name, type, host;
    int64_t port;
    struct str username, password, region, notes, status;
    yyjson_val *assignment;
};
enum proxy_bit {
    IN_ID,
    IN_NAME,
    IN_TYPE,
    IN_HOST,
    IN_PORT,
    IN_USERNAME,
    IN_PASSWORD,
    IN_REGION,
    IN_NOTES,
    IN_STATUS,
    IN_ASSIGNMENT
};
struct proxies_out {
    struct shape_list items;
    int64_t total;
    bool socks5;
};
struct list_query {
    struct str id, where_used;
};
struct assign_in {
    struct str scope, scope_id;
    yyjson_val *proxy_id;
};
struct bulk_in {
    struct str scope;
    struct strs scope_ids;
    yyjson_val *proxy_id;
};
struct assignments_out {
    struct shape_list items;
    int64_t total;
};
/* clang-format off */
static const struct shape proxy_shape = SHAPE(struct proxy_out,
    FIELD(struct proxy_out, id, 0, "Stable id"),
    FIELD(struct proxy_out, name, 0, "Its name"),
    FIELD(struct proxy_out, type, 0, "http, https or socks5"),
    FIELD(struct proxy_out, host, 0, "Its name or address in the network"),
    FIELD(struct proxy_out, port, 0, "Its port"),
    FIELD(struct proxy_out, username, OMIT_EMPTY, "Whom it lets in"),
    FIELD_AS(struct proxy_out, has_password, "hasPassword", NULL, OMIT_EMPTY, "Whether a password is kept for it: never shown"),
    FIELD(struct proxy_out, region, NULL_EMPTY, "Where it stands, for people"),
    FIELD(struct proxy_out, notes, NULL_EMPTY, "For people"),
    FIELD(struct proxy_out, status, 0, "active"),
    FIELD_AS(struct proxy_out, created_at, "createdAt", NULL, OMIT_EMPTY, "When it was made, as far as that was here"),
    FIELD_AS(struct proxy_out, updated_at, "updatedAt", NULL, OMIT_EMPTY, "When it was changed last, as far as that was here"),
    FIELD_JSON(struct proxy_out, assignment, 0, &json_of_object, OMIT_EMPTY | NULL_EMPTY, "The assignment that was made with it"));
static const struct shape assignment_shape = SHAPE(struct assignment,
    FIELD(struct assignment, id, 0, "scope:scopeId"),
    FIELD_AS(struct assignment, proxy_id, "proxyId", NULL, 0, "Which proxy"),
    FIELD(struct assignment, scope, 0, "global, provider or account"),
    FIELD_AS(struct assignment, scope_id, "scopeId", NULL, NULL_EMPTY, "Of the provider or connection"));
/* In the order of enum proxy_bit. */
#define PROXY_FIELDS(flags) \
    FIELD_TEXT(struct proxy_in, name, 1, 120, (flags) | TRIM, "Its name, unique"), \
    FIELD_TEXT(struct proxy_in, type, 0, 10, TRIM, "http (when absent), https or socks5"), \
    FIELD_TEXT(struct proxy_in, host, 1, 253, (flags) | TRIM, "Its name or address in the network"), \
    FIELD_RANGE(struct proxy_in, port, 1, 65535, (flags) | COERCE, "Its port"), \
    FIELD_TEXT(struct proxy_in, username, 0, 200, TRIM, "Whom it lets in; empty: no name, absent: as it was"), \
    FIELD_TEXT(struct proxy_in, password, 0, 200, 0, "Their password; empty: none, absent: as it was"), \
    FIELD_TEXT(struct proxy_in, region, 0, 64, 0, "Where it stands, for people"), \
    FIELD_TEXT(struct proxy_in, notes, 0, 1000, 0, "For people"), \
    FIELD(struct proxy_in, status, 0, "active: one that is not used is assigned to nobody"), \
    FIELD(struct proxy_in, assignment, 0, "scope and scopeId: who goes through it from now on")
static const struct shape create_shape = SHAPE(struct proxy_in,
    FIELD(struct proxy_in, id, READ_ONLY, "Made up here"), PROXY_FIELDS(REQUIRED));
static const struct shape patch_shape = SHAPE(struct proxy_in,
    FIELD(struct proxy_in, id, REQUIRED | NOT_EMPTY, "Of the proxy"), PROXY_FIELDS(0));
/* GET: the list, one, or who uses one. */
struct listed {
    yyjson_val *items;
    int64_t total;
    bool socks5;
    struct str id, name, type, host;
    int64_t port;
    struct str username;
    bool has_password;
    struct str region, notes, status, created_at, updated_at;
    int64_t count;
    yyjson_val *assignments;
};
static const struct shape listed_shape = SHAPE(struct listed,
    FIELD_JSON(struct listed, items, JSON_LIST, &json_of_object, OMIT_EMPTY, "The proxies, without passwords"),
    FIELD(struct listed, total, OMIT_EMPTY, "How many"),
    FIELD_AS(struct listed, socks5, "socks5Enabled", NULL, OMIT_EMPTY, "true"),
    FIELD(struct listed, id, OMIT_EMPTY, "With id: stable id"),
    FIELD(struct listed, name, OMIT_EMPTY, "With id: its name"),
    FIELD(struct listed, type, OMIT_EMPTY, "With id: http, https or socks5"),
    FIELD(struct listed, host, OMIT_EMPTY, "With id: its name or address in the network"),
    FIELD(struct listed, port, OMIT_EMPTY, "With id: its port"),
    FIELD(struct listed, username, OMIT_EMPTY, "With id: whom it lets in"),
    FIELD_AS(struct listed, has_password, "hasPassword", NULL, OMIT_EMPTY, "With id: whether a password is kept for it"),
    FIELD(struct listed, region, OMIT_EMPTY, "With id: where it stands"),
    FIELD(struct listed, notes, OMIT_EMPTY, "With id: for people"),
    FIELD(struct listed, status, OMIT_EMPTY, "With id: active"),
    FIELD_AS(struct listed, created_at, "createdAt", NULL, OMIT_EMPTY, "With id: when it was made"),
    FIELD_AS(struct listed, updated_at, "updatedAt", NULL, OMIT_EMPTY, "With id: when it was changed last"),
    FIELD(struct listed, count, OMIT_EMPTY, "With whereUsed: how many go through it"),
    FIELD_JSON(struct listed, assignments, JSON_LIST, &json_of_object, OMIT_EMPTY, "With whereUsed: who"));
static const struct shape proxies_shape = SHAPE(struct proxies_out,
    FIELD_LIST(struct proxies_out, items, &proxy_shape, 0, "All of them, without passwords"),
    FIELD(struct proxies_out, total, 0, "How many"),
    FIELD_AS(struct proxies_out, socks5, "socks5Enabled", NULL, 0, "true"));
static const struct shape list_query_shape = SHAPE(struct list_query,
    FIELD(struct list_query, id, 0, "Only that one"),
    FIELD_AS(struct list_query, where_used, "whereUsed", NULL, 0, "1: who goes through it"));
static const struct shape assign_in_shape = SHAPE(struct assign_in,
    FIELD(struct assign_in, scope, REQUIRED | NOT_EMPTY, "global, provider or account (key means the same)"),
    FIELD_AS(struct assign_in, scope_id, "scopeId", NULL, 0, "Of the provider or connection"),
    FIELD_AS(struct assign_in, proxy_id, "proxyId", NULL, 0, "Which proxy; null: none"));
static const struct shape bulk_in_shape = SHAPE(struct bulk_in,
    FIELD(struct bulk_in, scope, REQUIRED | NOT_EMPTY, "global, provider or account (key means the same)"),
    FIELD_AS(struct bulk_in, scope_ids, "scopeIds", NULL, 0, "Of the providers or connections"),
    FIELD_AS(struct bulk_in, proxy_id, "proxyId", NULL, 0, "Which proxy; null: none"));
static const struct shape assignments_shape = SHAPE(struct assignments_out,
    FIELD_LIST(struct assignments_out, items, &assignment_shape, 0, "Who goes through which"),
    FIELD(struct assignments_out, total, 0, "How many"));
/* clang-format on */

static bool is_given(const struct control_call *c, unsigned bit)
{
    return c->present >> bit & 1;
}

static yyjson_val *parsed(struct arena *a, struct buf *b)
{
    yyjson_val *v;
    return json_parse(a, buf_str(b), 0, &v, NULL) ? v : NULL;
}

/* ---- showing ---- */

static struct proxy_out show(struct arena *a, const struct proxy *p, yyjson_val *view)
{
    struct omni_proxy io = {.type = STR_NONE};
    yyjson_val *all = json_get(view, "proxies"),
               *extra = json_get(json_find(all, str_z(a, p->name), p->name.n), "extra");
    (void)omni_proxy_part(a, p->url, &io);
    return (struct proxy_out){
        .id = p->id,
        .name = p->name,
        .type = str_starts(io.type, STR("socks5")) ? STR("socks5") : io.type,
        .host = io.host,
        .port = io.port,
        .username = io.username,
        .has_password = io.has_password,
        .region = p->region,
        .notes = p->notes,
        .status = STR("active"),
        .created_at = json_get_str(extra, "createdAt"),
        .updated_at = json_get_str(extra, "updatedAt"),
    };
}

static struct assignment assigned(struct arena *a, const struct proxy *p, const char *scope,
                                  struct str id)
{
    return (struct assignment){
        .id = str_fmt(a, "%s%s" STR_FMT, scope, id.n ? ":" : "", STR_ARG(id)),
        .proxy_id = p->id,
        .scope = str_of(scope),
        .scope_id = id};
}

/* All of them: everybody's first, then by provider, then by connection. */
static bool assignments(struct control_call *c, const struct snapshot *s, struct assignment **out,
                        size_t *n, struct err *e)
{
    yyjson_val *view;
    size_t max = s->n_upstreams + 1;
    if (!change_view(c, &view, e))
        return false;
    for (size_t i = 0; i < s->n_proxies; i++)
        max += s->proxies[i]->kinds.n;
    *out = ARENA_ARRAY(c->arena, struct assignment, max);
    *n = 0;
    const struct proxy *p = proxy_find(s, s->settings.proxy);
    if (p)
        (*out)[(*n)++] = assigned(c->arena, p, "global", STR_NONE);
    for (size_t i = 0; i < s->n_proxies; i++)
        for (size_t k = 0; k < s->proxies[i]->kinds.n; k++)
            (*out)[(*n)++] = assigned(c->arena, s->proxies[i], "provider",
                                      s->proxies[i]->kinds.v[k]);
    for (size_t i = 0; i < s->n_upstreams; i++)
        if ((p = proxy_find(s, omni_proxy_said(view, s->upstreams[i]))) != NULL)
            (*out)[(*n)++] = assigned(c->arena, p, "account", s->upstreams[i]->uid);
    return true;
}

static bool reply_users(struct control_call *c, const struct proxy *p, struct err *e)
{
    struct assignment *v;
    size_t n, kept = 0;
    if (!assignments(c, c->snap, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i].proxy_id, p->id))
            v[kept++] = v[i];
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_int(&w, "count", (int64_t)kept);
    jw_key(&w, "assignments");
    shape_write_list(&assignment_shape, v, kept, &w);
    jw_object_end(&w);
    return true;
}

static bool list(struct control_call *c, struct err *e)
{
    const struct list_query *q = c->asked;
    const struct snapshot *s = c->snap;
    const struct proxy *one = q->id.n ? omni_proxy_find(s, q->id) : NULL;
    yyjson_val *view;
    if (q->id.n && !one)
        return omni_not_found("Proxy", q->id, e);
    if (one && str_is(q->where_used, "1"))
        return reply_users(c, one, e);
    if (!change_view(c, &view, e))
        return false;
    if (one) {
        struct proxy_out out = show(c->arena, one, view);
        return control_reply(c, 200, &proxy_shape, &out);
    }
    struct proxy_out *v = ARENA_ARRAY(c->arena, struct proxy_out, s->n_proxies + 1);
    for (size_t i = 0; i < s->n_proxies; i++)
        v[i] = show(c->arena, s->proxies[i], view);
    struct proxies_out out = {{v, s->n_proxies}, (int64_t)s->n_proxies, true};
    return control_reply(c, 200, &proxies_shape, &out);
}

/* ---- assigning ---- */

static bool scope_of(struct str text, struct str id, int *out, struct err *e)
{
    static const struct omni_level_names names = {"scope", "scopeId", "account", "here"};
    return omni_level_of(&names, text, id, out, e);
}

/* proxyId; null or absent: none. */
static bool chosen(struct control_call *c, yyjson_val *id, const struct proxy **out, struct err *e)
{
    *out = NULL;
    if (json_absent(id))
        return true;
    if (!yyjson_is_str(id))
        return err_field(e, "proxyId", "'proxyId' must be a string or null");
    *out = omni_proxy_find(c->snap, json_str(id));
    return *out || omni_not_found("Proxy", json_str(id), e);
}

static bool to_global(struct control_call *c, struct str name, struct err *e)
{
    return change_setting(c, setting_find(STR("proxy")), name.n ? name : STR_NONE, e);
}

static bool to_account(struct control_call *c, struct str id, struct str name, struct err *e)
{
    const struct upstream *u = omni_connection(c->snap, id);
    if (!u || u->from == ORIGIN_DEFAULT)
        return err_field(e, "scopeId", "There is no connection '" STR_FMT "'",
                         STR_ARG(str_first(id, 100)));
    struct provider_change p = {.name = u->name, .given = PROVIDER_PROXY, .proxy = name};
    return change_provider(c, CHANGE_UPDATE, &p, e);
}

/* The kinds of a proxy without one of them, or with it. */
static yyjson_val *kinds_with(struct arena *a, const struct proxy *p, struct str kind, bool has_it)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_key(&w, "kinds");
    size_t n = p->kinds.n + has_it;
    for (size_t i = 0; i < p->kinds.n; i++)
        n -= str_eq(p->kinds.v[i], kind);
    if (n) {
        jw_array(&w);
        for (size_t i = 0; i < p->kinds.n; i++)
            if (!str_eq(p->kinds.v[i], kind))
                jw_str(&w, p->kinds.v[i]);
        if (has_it)
            jw_str(&w, kind);
        jw_array_end(&w);
    } else {
        jw_null(&w);
    }
    jw_object_end(&w);
    return parsed(a, &b);
}

static bool has_kind(const struct proxy *p, struct str kind)
{
    for (size_t i = 0; i < p->kinds.n; i++)
        if (str_eq(p->kinds.v[i], kind))
            return true;
    return false;
}

/* One proxy takes it, all others lose it, in one change. */
static bool to_provider(struct control_call *c, struct str id, struct str name, struct err *e)
{
    const struct custom_kind *node;
    struct snapshot *now = snapshot_current();
    const struct provider_kind *kind = omni_kind(now, id, &node);
    struct entry_change *v = ARENA_ARRAY(c->arena, struct entry_change, now->n_proxies + 1);
    size_t n = 0;
    struct str word = !kind ? STR_NONE : str_dup(c->arena, node ? node->id : str_of(kind->id));
    for (size_t i = 0; kind && i < now->n_proxies; i++) {
        const struct proxy *p = now->proxies[i];
        bool is_it = str_eq(p->name, name);
        if (is_it == has_kind(p, word))
            continue;
        v[n++] = (struct entry_change){.section = SECTION_PROXIES,
                                       .name = str_dup(c->arena, p->name),
                                       .value = kinds_with(c->arena, p, word, is_it)};
    }
    snapshot_unref(now);
    if (!kind)
        return err_field(e, "scopeId", "There is no provider '" STR_FMT "'",
                         STR_ARG(str_first(id, 100)));
    return !n || change_entries(c, v, n, NULL, e);
}

static bool assign_to(struct control_call *c, int scope, struct str id, struct str name,
                      struct err *e)
{
    return scope == OMNI_GLOBAL     ? to_global(c, name, e)
           : scope == OMNI_PROVIDER ? to_provider(c, id, name, e)
                                    : to_account(c, id, name, e);
}

static void write_assignment(struct jw *w, struct arena *a, const struct proxy *p, int scope,
                             struct str id)
{
    static const char *const words[] = {"global", "provider", "account"};
    struct assignment one = p ? assigned(a, p, words[scope], scope == OMNI_GLOBAL ? STR_NONE : id)
                              : (struct assignment){.id = STR_NONE};
    if (p)
        shape_write(&assignment_shape, &one, w);
    else
        jw_null(w);
}

struct assigned_out {
    bool success;
    yyjson_val *assignment;
};
static const struct shape assigned_shape = SHAPE(
    struct assigned_out, FIELD(struct assigned_out, success, 0, "true"),
    FIELD_JSON(struct assigned_out, assignment, 0, &json_of_object, NULL_EMPTY,
               "id, proxyId, scope, scopeId; null: none any more"));

static bool assign(struct control_call *c, struct err *e)
{
    const struct assign_in *in = c->in;
    const struct proxy *p;
    int scope;
    if (!scope_of(in->scope, in->scope_id, &scope, e) || !chosen(c, in->proxy_id, &p, e) ||
        !assign_to(c, scope, in->scope_id, p ? p->name : STR_NONE, e))
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_bool(&w, "success", true);
    jw_key(&w, "assignment");
    write_assignment(&w, c->arena, p, scope, in->scope_id);
    jw_object_end(&w);
    return true;
}

struct failed {
    struct str scope_id, reason;
};
struct bulk_out {
    bool success;
    struct str scope;
    int64_t requested, updated;
    struct shape_list failed;
};
/* clang-format off */
static const struct shape failed_shape = SHAPE(struct failed,
    FIELD_AS(struct failed, scope_id, "scopeId", NULL, 0, "Of the provider or connection"),
    FIELD(struct failed, reason, 0, "Why not"));
static const struct shape bulk_shape = SHAPE(struct bulk_out,
    FIELD(struct bulk_out, success, 0, "true"),
    FIELD(struct bulk_out, scope, 0, "global, provider or account"),
    FIELD(struct bulk_out, requested, 0, "How many were named"),
    FIELD(struct bulk_out, updated, 0, "How many were assigned"),
    FIELD_LIST(struct bulk_out, failed, &failed_shape, 0, "Those that were not"));
/* clang-format on */

static bool bulk_assign(struct control_call *c, struct err *e)
{
    static const char *const words[] = {"global", "provider", "account"};
    const struct bulk_in *in = c->in;
    const struct proxy *p;
    int scope;
    if (!scope_of(in->scope, STR("-"), &scope, e) || !chosen(c, in->proxy_id, &p, e))
        return false;
    if (scope != OMNI_GLOBAL && !in->scope_ids.n)
        return err_field(e, "scopeIds", "'scopeIds' must name at least one");
    struct str name = p ? p->name : STR_NONE;
    size_t n = scope == OMNI_GLOBAL ? 1 : in->scope_ids.n;
    struct failed *v = ARENA_ARRAY(c->arena, struct failed, n);
    struct bulk_out out = {true, str_of(words[scope]), (int64_t)n, 0, {v, 0}};
    for (size_t i = 0; i < n; i++) {
        struct err why = ERR_INIT;
        struct str id = scope == OMNI_GLOBAL ? STR_NONE : in->scope_ids.v[i];
        if (assign_to(c, scope, id, name, &why))
            out.updated++;
        else if (why.kind == ERR_INPUT || why.kind == ERR_CONFLICT || why.kind == ERR_NOT_FOUND)
            v[out.failed.n++] = (struct failed){id, str_fmt(c->arena, "%s", why.message)};
        else
            return *e = why, false;
    }
    return control_reply(c, 200, &bulk_shape, &out);
}

struct assigned_query {
    struct str proxy_id, scope, scope_id, resolve;
};
struct resolved_out {
    struct shape_list items;
    int64_t total;
    yyjson_val *proxy;
    struct str level;
    yyjson_val *level_id;
    struct str proxy_id;
};
/* clang-format off */
static const struct shape assigned_query_shape = SHAPE(struct assigned_query,
    FIELD_AS(struct assigned_query, proxy_id, "proxyId", NULL, 0, "Only those of this proxy"),
    FIELD(struct assigned_query, scope, 0, "Only those of this scope"),
    FIELD_AS(struct assigned_query, scope_id, "scopeId", NULL, 0, "Only that of this provider or connection"),
    FIELD_AS(struct assigned_query, resolve, "resolveConnectionId", NULL, 0, "Instead: which proxy this connection goes through, and why"));
static const struct shape resolved_shape = SHAPE(struct resolved_out,
    FIELD_LIST(struct resolved_out, items, &assignment_shape, OMIT_EMPTY, "Who goes through which"),
    FIELD(struct resolved_out, total, OMIT_EMPTY, "How many"),
    FIELD_JSON(struct resolved_out, proxy, 0, &json_of_object, OMIT_EMPTY | NULL_EMPTY, "With resolveConnectionId: type, host, port; null: none"),
    FIELD(struct resolved_out, level, OMIT_EMPTY, "The same: account, provider, global or direct"),
    FIELD_AS_JSON(struct resolved_out, level_id, "levelId", 0, &json_of_text, OMIT_EMPTY | NULL_EMPTY, "The same: of the connection or provider"),
    FIELD_AS(struct resolved_out, proxy_id, "proxyId", NULL, OMIT_EMPTY, "The same: where it is one of the list"));
/* clang-format on */

static bool resolve(struct control_call *c, struct str id, struct err *e)
{
    static const char *const levels[] = {"direct", "account", "provider", "global"};
    const struct upstream *u = omni_connection(c->snap, id);
    struct omni_proxy io;
    if (!u)
        return omni_not_found("Connection", id, e);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "proxy");
    if (u->origin.proxy.n && omni_proxy_part(c->arena, u->origin.proxy, &io)) {
        jw_object(&w);
        jw_kv_str(&w, "type", io.type);
        jw_kv_str(&w, "host", io.host);
        jw_kv_int(&w, "port", io.port);
        jw_object_end(&w);
    } else {
        jw_null(&w);
    }
    jw_kv_cstr(&w, "level", levels[u->proxy_level]);
    jw_key(&w, "levelId");
    if (u->proxy_level == PROXY_OWN)
        jw_str(&w, u->uid);
    else if (u->proxy_level == PROXY_OF_KIND)
        jw_str(&w, omni_provider_of(u));
    else
        jw_null(&w);
    if (u->proxy)
        jw_kv_str(&w, "proxyId", u->proxy->id);
    jw_object_end(&w);
    return true;
}

static bool list_assignments(struct control_call *c, struct err *e)
{
    const struct assigned_query *q = c->asked;
    struct str scope = str_is(q->scope, "key") ? STR("account") : q->scope;
    struct assignment *v;
    size_t n, kept = 0;
    if (q->resolve.n)
        return resolve(c, q->resolve, e);
    if (!assignments(c, c->snap, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((!q->proxy_id.n || str_eq(v[i].proxy_id, q->proxy_id)) &&
            (!scope.n || str_eq(v[i].scope, scope)) &&
            (!q->scope_id.n || str_eq(v[i].scope_id, q->scope_id)))
            v[kept++] = v[i];
    struct assignments_out out = {{v, kept}, (int64_t)kept};
    return control_reply(c, 200, &assignments_shape, &out);
}

/* ---- making, changing, removing one ---- */

static bool clash(struct err *e, struct str name)
{
    return err_set(e, ERR_CONFLICT, "name_taken", "There is already a proxy '" STR_FMT "'",
                   STR_ARG(str_first(name, 100)));
}

/* Of `was` (NULL: a new one), with what the body says. */
static bool value_of(struct control_call *c, const struct proxy *was, yyjson_val **out,
                     struct err *e)
{
    const struct proxy_in *in = c->in;
    struct omni_proxy p = {.type = STR("http")};
    struct str url = STR_NONE, now = omni_time(c->arena, clock_wall_ms()), made = now;
    struct buf b;
    yyjson_val *view;
    if (is_given(c, IN_STATUS) && !str_is(in->status, "active"))
        return err_field(e, "status",
                         "'status' must be active: who is to use it no longer is "
                         "assigned another proxy, or none");
    if (was) {
        /* the password is only in the address itself */
        (void)omni_proxy_part(c->arena, was->url, &p);
        const char *at = memrchr(was->url.p, '@', was->url.n),
                   *mark = memmem(was->url.p, was->url.n, "://", 3);
        if (at && mark) {
            struct str user = str_n(mark + 3, (size_t)(at - mark - 3)), name;
            p.password = url_decode(c->arena, str_cut(user, ':', &name));
        }
        if (!change_view(c, &view, e))
            return false;
        made = show(c->arena, was, view).created_at;
    }
    /* it is shown as socks5, and must not lose where its names are looked up when it is given back so */
    bool is_kept = str_is(in->type, "socks5") && str_is(p.type, "socks5h");
    p.type = is_given(c, IN_TYPE) && !is_kept ? in->type : p.type;
    p.host = is_given(c, IN_HOST) ? in->host : p.host;
    p.port = is_given(c, IN_PORT) ? in->port : p.port;
    p.username = is_given(c, IN_USERNAME) ? in->username : p.username;
    p.password = is_given(c, IN_PASSWORD) ? in->password : p.password;
    const uint64_t parts = 1u << IN_TYPE | 1u << IN_HOST | 1u << IN_PORT | 1u << IN_USERNAME |
                           1u << IN_PASSWORD;
    if ((!was || c->present & parts) && !omni_proxy_address(c->arena, &p, &url, e))
        return false;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (!was)
        jw_kv_str(&w, "id", random_uuid(c->arena));
    if (url.p)
        jw_kv_str(&w, "url", url);
    if (is_given(c, IN_REGION))
        jw_kv_str(&w, "region", in->region);
    if (is_given(c, IN_NOTES))
        jw_kv_str(&w, "notes", in->notes);
    jw_key(&w, "extra");
    jw_object(&w);
    if (made.n)
        jw_kv_str(&w, "createdAt", made);
    jw_kv_str(&w, "updatedAt", now);
    jw_object_end(&w);
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, out, e);
}

struct with {
    int scope; /* -1: no assignment */
    struct str id;
};

static bool read_assignment(struct control_call *c, yyjson_val *v, struct with *out, struct err *e)
{
    struct assign_in in = {.scope = STR_NONE};
    out->scope = -1;
    if (json_absent(v))
        return true;
    if (!yyjson_is_obj(v))
        return err_field(e, "assignment", "'assignment' must be an object");
    if (!shape_read(&assign_in_shape, c->arena, v, &in, NULL, e) ||
        !scope_of(in.scope, in.scope_id, &out->scope, e))
        return omni_proxy_inside(e, "assignment");
    out->id = in.scope_id;
    return true;
}

static bool reply_one(struct control_call *c, int status, struct str name, const struct with *with,
                      struct err *e)
{
    struct snapshot *now = snapshot_current();
    const struct proxy *p = proxy_find(now, name);
    yyjson_val *view;
    bool ok = p ? change_view(c, &view, e)
                : err_set(e, ERR_INTERNAL, "not_in_force", "The proxy is saved and not in force");
    if (ok) {
        struct proxy_out out = show(c->arena, p, view);
        struct buf b;
        buf_init_arena(&b, c->arena, 4096);
        struct jw w = jw_on(&b);
        if (with->scope >= 0) {
            write_assignment(&w, c->arena, p, with->scope, with->id);
            out.assignment = parsed(c->arena, &b);
        }
        (void)control_reply(c, status, &proxy_shape, &out);
    }
    snapshot_unref(now);
    return ok;
}

static bool create(struct control_call *c, struct err *e)
{
    const struct proxy_in *in = c->in;
    struct entry_change change = {.section = SECTION_PROXIES, .name = in->name};
    struct with with;
    if (!proxy_is_name(in->name))
        return err_field(e, "name", "'name' must not hold '://'");
    if (proxy_find(c->snap, in->name))
        return clash(e, in->name);
    return read_assignment(c, in->assignment, &with, e) && value_of(c, NULL, &change.value, e) &&
           change_entry(c, CHANGE_CREATE, &change, e) &&
           (with.scope < 0 || assign_to(c, with.scope, with.id, in->name, e) ||
            omni_proxy_inside(e, "assignment")) &&
           reply_one(c, 201, in->name, &with, e);
}

static bool patch(struct control_call *c, struct err *e)
{
    const struct proxy_in *in = c->in;
    const struct proxy *was = omni_proxy_find(c->snap, in->id);
    struct entry_change change = {.section = SECTION_PROXIES};
    struct with with;
    if (!was)
        return omni_not_found("Proxy", in->id, e);
    if (c->present == 1u << IN_ID)
        return err_field(e, "body", "Give at least one key besides 'id'");
    change.rename_from = was->name;
    change.name = is_given(c, IN_NAME) ? in->name : was->name;
    if (!proxy_is_name(change.name))
        return err_field(e, "name", "'name' must not hold '://'");
    if (!str_eq(change.name, was->name) && proxy_find(c->snap, change.name))
        return clash(e, change.name);
    return read_assignment(c, in->assignment, &with, e) && value_of(c, was, &change.value, e) &&
           change_entry(c, CHANGE_UPDATE, &change, e) &&
           (with.scope < 0 || assign_to(c, with.scope, with.id, change.name, e) ||
            omni_proxy_inside(e, "assignment")) &&
           reply_one(c, 200, change.name, &with, e);
}

struct drop_query {
    struct str id, force;
};
struct success_out {
    bool success;
};
/* clang-format off */
static const struct shape drop_query_shape = SHAPE(struct drop_query,
    FIELD(struct drop_query, id, REQUIRED | NOT_EMPTY, "Of the proxy"),
    FIELD(struct drop_query, force, 0, "1: also where somebody goes through it, who then has none of their own any more"));
static const struct shape success_shape = SHAPE(struct success_out, FIELD(struct success_out, success, 0, "true"));
/* clang-format on */

static bool drop(struct control_call *c, struct err *e)
{
    const struct drop_query *q = c->asked;
    const struct proxy *p = omni_proxy_find(c->snap, q->id);
    bool is_forced = str_is(q->force, "1") || str_is(q->force, "true");
    struct success_out out = {true};
    struct strs users;
    if (!p)
        return omni_not_found("Proxy", q->id, e);
    if (!is_forced && p->kinds.n)
        return err_set(e, ERR_CONFLICT, "proxy_in_use",
                       "Providers go through the proxy: say force=1");
    if (!change_entry_delete(c, SECTION_PROXIES, p->name, is_forced, &users, e)) {
        if (strcmp(e->code, "in_use") == 0) /* 409 in this corner of the surface */
            (void)snprintf(e->code, sizeof e->code, "proxy_in_use");
        return false;
    }
    return control_reply(c, 200, &success_shape, &out);
}

/* ---- from addresses to the list ---- */

struct migrate_in {
    bool force;
};
struct migrate_out {
    int64_t migrated;
    bool skipped;
    struct str reason;
};
/* clang-format off */
static const struct shape migrate_in_shape = SHAPE(struct migrate_in,
    FIELD(struct migrate_in, force, 0, "Also where the list has proxies already"));
static const struct shape migrate_shape = SHAPE(struct migrate_out,
    FIELD(struct migrate_out, migrated, 0, "How many that had an address of their own go through one of the list now"),
    FIELD(struct migrate_out, skipped, 0, "Whether nothing was done"),
    FIELD(struct migrate_out, reason, OMIT_EMPTY, "Why not: registry_not_empty, nothing_to_migrate"));
/* clang-format on */

/* The list's proxy of this address, made if there is none, under a name that is free. */
static bool named(struct control_call *c, struct str url, struct str wanted, struct str *name,
                  struct err *e)
{
    struct snapshot *now = snapshot_current();
    struct buf b;
    struct entry_change change = {.section = SECTION_PROXIES};
    *name = STR_NONE;
    for (size_t i = 0; i < now->n_proxies; i++)
        if (str_eq(now->proxies[i]->url, url))
            *name = str_dup(c->arena, now->proxies[i]->name);
    change.name = wanted;
    for (int n = 2; proxy_find(now, change.name); n++)
        change.name = str_fmt(c->arena, STR_FMT " %d", STR_ARG(wanted), n);
    snapshot_unref(now);
    if (name->n)
        return true;
    struct str at = omni_time(c->arena, clock_wall_ms());
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "id", random_uuid(c->arena));
    jw_kv_str(&w, "url", url);
    jw_key(&w, "extra");
    jw_object(&w);
    jw_kv_str(&w, "createdAt", at);
    jw_kv_str(&w, "updatedAt", at);
    jw_object_end(&w);
    jw_object_end(&w);
    *name = change.name;
    return json_parse(c->arena, buf_str(&b), 0, &change.value, e) &&
           change_entry(c, CHANGE_CREATE, &change, e);
}

static bool is_address(struct str said)
{
    return said.n && !proxy_is_name(said) && !str_contains(said, STR("${"));
}

static bool migrate(struct control_call *c, struct err *e)
{
    const struct migrate_in *in = c->in;
    const struct snapshot *s = c->snap;
    struct migrate_out out = {.migrated = 0};
    struct str name;
    yyjson_val *view;
    if (s->n_proxies && !in->force) {
        out = (struct migrate_out){.skipped = true, .reason = STR("registry_not_empty")};
        return control_reply(c, 200, &migrate_shape, &out);
    }
    if (!change_view(c, &view, e))
        return false;
    struct str global = json_get_str(json_get(view, "server"), "proxy");
    if (is_address(global)) { /* the environment's stays where it is */
        if (!named(c, global, STR("global"), &name, e) || !to_global(c, name, e))
            return false;
        out.migrated++;
    }
    for (size_t i = 0; i < s->n_upstreams; i++) {
        struct str said = omni_proxy_said(view, s->upstreams[i]);
        if (!is_address(said))
            continue;
        if (!named(c, said, s->upstreams[i]->name, &name, e) ||
            !to_account(c, s->upstreams[i]->uid, name, e))
            return false;
        out.migrated++;
    }
    out.skipped = out.migrated == 0;
    out.reason = out.skipped ? STR("nothing_to_migrate") : STR_NONE;
    return control_reply(c, 200, &migrate_shape, &out);
}

/* clang-format off */
const struct endpoint omni_proxies_endpoints[] = {
    { HTTP_GET,    "/api/settings/proxies",             SURFACE_OMNIROUTE_TYPED, ACCESS_VIEWER, "List the proxies, or who goes through one", .on_worker = list, .query = &list_query_shape, .out = &listed_shape },
    { HTTP_POST,   "/api/settings/proxies",             SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Add a proxy to the list", .on_worker = create, .in = &create_shape, .out = &proxy_shape, .status = 201 },
    { HTTP_PATCH,  "/api/settings/proxies",             SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Change a proxy; the password stays unless another one is given", .on_worker = patch, .in = &patch_shape, .out = &proxy_shape },
    { HTTP_DELETE, "/api/settings/proxies",             SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Remove a proxy that nobody goes through, or with force=1 any", .on_worker = drop, .query = &drop_query_shape, .out = &success_shape },
    { HTTP_GET,    "/api/settings/proxies/assignments", SURFACE_OMNIROUTE_TYPED, ACCESS_VIEWER, "Who goes through which proxy", .on_worker = list_assignments, .query = &assigned_query_shape, .out = &resolved_shape },
    { HTTP_PUT,    "/api/settings/proxies/assignments", SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Send everybody, a provider or a connection through a proxy", .on_worker = assign, .in = &assign_in_shape, .out = &assigned_shape },
    { HTTP_PUT,    "/api/settings/proxies/bulk-assign", SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "The same for many", .on_worker = bulk_assign, .in = &bulk_in_shape, .out = &bulk_shape },
    { HTTP_POST,   "/api/settings/proxies/migrate",     SURFACE_OMNIROUTE_TYPED, ACCESS_ADMIN, "Put the addresses that stand at connections into the list", .on_worker = migrate, .in = &migrate_in_shape, .out = &migrate_shape, .body_is_optional = true, .is_create = true },
    {0},
};
/* clang-format on */
