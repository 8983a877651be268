/* omni_nodes.c - /api/provider-nodes: kinds of providers that the operator makes, as OmniRoute's nodes: a format at an address, with a prefix
 * that names of models begin with. */
#include "api/omni.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/discover.h"
#include "http/fetch.h"

#define OPENAI "openai-compatible"
#define ANTHROPIC "anthropic-compatible"

struct node_out {
    struct str id, type, name, prefix, api_type, base_url, chat_path, models_path, created_at,
        updated_at;
};
struct nodes_out {
    struct shape_list nodes;
};
struct one_out {
    struct node_out node;
};
struct node_in {
    struct str name, prefix, type, api_type, base_url, chat_path, models_path;
};
enum node_bit {
    IN_NAME,
    IN_PREFIX,
    IN_TYPE,
    IN_API_TYPE,
    IN_BASE_URL,
    IN_CHAT_PATH,
    IN_MODELS_PATH
};
struct success_out {
    bool success;
};
/* clang-format off */
static const struct shape node_shape = SHAPE(struct node_out,
    FIELD(struct node_out, id, 0, "Id: the provider of its connections"),
    FIELD(struct node_out, type, 0, OPENAI " or " ANTHROPIC),
    FIELD(struct node_out, name, 0, "Name for people"),
    FIELD(struct node_out, prefix, 0, "prefix/model names go to its connections"),
    FIELD_AS(struct node_out, api_type, "apiType", NULL, NULL_EMPTY, "chat or responses, of the OpenAI format"),
    FIELD_AS(struct node_out, base_url, "baseUrl", NULL, 0, "What paths stand behind"),
    FIELD_AS(struct node_out, chat_path, "chatPath", NULL, NULL_EMPTY, "Path of conversations, where it is not the usual one"),
    FIELD_AS(struct node_out, models_path, "modelsPath", NULL, NULL_EMPTY, "Path of the list of models, where it is not the usual one"),
    FIELD_AS(struct node_out, created_at, "createdAt", NULL, OMIT_EMPTY, "When it was made, as far as that was here"),
    FIELD_AS(struct node_out, updated_at, "updatedAt", NULL, OMIT_EMPTY, "When it was changed, as far as that was here"));
static const struct shape nodes_shape = SHAPE(struct nodes_out,
    FIELD_LIST(struct nodes_out, nodes, &node_shape, 0, "All of them"));
static const struct shape one_shape = SHAPE(struct one_out, FIELD_OBJECT(struct one_out, node, &node_shape, 0, "The node"));
#define IN(member, name, min, max, flags, doc) FIELD_AS_TEXT(struct node_in, member, name, NULL, min, max, (flags) | TRIM, doc)
/* In the order of enum node_bit. */
#define NODE_FIELDS(required, required_url) \
    IN(name, "name", 1, 200, required, "Name for people"), \
    IN(prefix, "prefix", 1, 100, required, "prefix/model names go to its connections; without spaces and slashes"), \
    IN(type, "type", 0, 50, 0, OPENAI " (when absent) or " ANTHROPIC "; stays as it is"), \
    IN(api_type, "apiType", 0, 50, 0, "chat or responses, of the OpenAI format"), \
    IN(base_url, "baseUrl", 0, 2000, required_url, "What paths stand behind; the vendor's when absent"), \
    IN(chat_path, "chatPath", 0, 500, 0, "Path of conversations, beginning with /; empty: the usual one"), \
    IN(models_path, "modelsPath", 0, 500, 0, "Path of the list of models, beginning with /; empty: the usual one")
static const struct shape create_shape = SHAPE(struct node_in, NODE_FIELDS(REQUIRED, 0));
static const struct shape patch_shape = SHAPE(struct node_in, NODE_FIELDS(0, 0));
static const struct shape put_shape = SHAPE(struct node_in, NODE_FIELDS(REQUIRED, REQUIRED));
static const struct shape success_shape = SHAPE(struct success_out, FIELD(struct success_out, success, 0, "true"));
/* clang-format on */

static struct node_out show(const struct custom_kind *k)
{
    return (struct node_out){.id = k->id,
                             .type = k->base,
                             .name = k->title,
                             .prefix = k->prefix,
                             .api_type = k->api,
                             .base_url = k->base_url,
                             .chat_path = k->chat_path,
                             .models_path = k->models_path,
                             .created_at = k->created,
                             .updated_at = k->updated};
}

static bool list(struct control_call *c, struct err *e)
{
    size_t n = c->snap->n_kinds;
    struct node_out *v = ARENA_ARRAY(c->arena, struct node_out, n + 1);
    (void)e;
    for (size_t i = 0; i < n; i++)
        v[i] = show(c->snap->kinds[i]);
    struct nodes_out out = {{v, n}};
    return control_reply(c, 200, &nodes_shape, &out);
}

static const struct custom_kind *find(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    for (size_t i = 0; i < c->snap->n_kinds; i++)
        if (str_eq(c->snap->kinds[i]->id, id))
            return c->snap->kinds[i];
    omni_not_found("Provider node", id, e);
    return NULL;
}

static bool is_null(const struct control_call *c, const char *name)
{
    return yyjson_is_null(json_find(c->root, name, strlen(name)));
}

/* Takes over what was said, all of it when replacing. */
static void take(struct control_call *c, struct custom_kind *k, bool replaces)
{
    const struct node_in *in = c->in;
    const struct {
        unsigned bit;
        const char *name;
        struct str said, *to;
    } members[] = {{IN_NAME, "name", in->name, &k->title},
                   {IN_PREFIX, "prefix", in->prefix, &k->prefix},
                   {IN_API_TYPE, "apiType", in->api_type, &k->api},
                   {IN_BASE_URL, "baseUrl", in->base_url, &k->base_url},
                   {IN_CHAT_PATH, "chatPath", in->chat_path, &k->chat_path},
                   {IN_MODELS_PATH, "modelsPath", in->models_path, &k->models_path}};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        bool is_said = c->present >> members[i].bit & 1;
        bool is_path = members[i].to == &k->chat_path || members[i].to == &k->models_path;
        if (is_said || is_null(c, members[i].name) || (replaces && is_path))
            *members[i].to = is_said ? members[i].said : STR_NONE;
    }
    k->updated = omni_time(c->arena, clock_wall_ms());
}

/* Checked as the loader does, in the words of this surface. */
static bool save(struct control_call *c, enum change_mode mode, struct custom_kind *k, int status,
                 struct err *e)
{
    struct custom_kind checked;
    struct buf b;
    yyjson_val *entry;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    custom_kind_write(&w, k);
    if (!json_parse(c->arena, buf_str(&b), 0, &entry, e) ||
        !custom_kind_read(c->arena, k->id, entry, &checked, e) ||
        !change_kind(c, mode, &checked, e)) {
        omni_name_field(e);
        return false;
    }
    struct one_out out = {show(&checked)};
    return control_reply(c, status, &one_shape, &out);
}

static bool create(struct control_call *c, struct err *e)
{
    const struct node_in *in = c->in;
    bool is_openai = !in->type.n || str_is(in->type, OPENAI);
    struct custom_kind k = {.base = is_openai ? STR(OPENAI) : in->type,
                            .base_url = is_openai ? STR("https://api.openai.com/v1")
                                                  : STR("https://api.anthropic.com/v1")};
    struct str saved_url = k.base_url;
    take(c, &k, false);
    if (!k.base_url.n)
        k.base_url = saved_url;
    if (is_openai && !k.api.n)
        return err_field(e, "apiType", "'apiType' is required for " OPENAI);
    k.created = k.updated;
    k.id = is_openai ? str_fmt(c->arena, OPENAI "-" STR_FMT "-" STR_FMT,
                               STR_ARG(str_first(k.api, 20)), STR_ARG(random_id(c->arena, "", 12)))
                     : random_id(c->arena, ANTHROPIC "-", 12);
    return save(c, CHANGE_CREATE, &k, 201, e);
}

static bool edit(struct control_call *c, bool replaces, struct err *e)
{
    const struct custom_kind *was = find(c, e);
    if (!was)
        return false;
    struct custom_kind k = *was;
    if (replaces && str_is(k.base, OPENAI) && !(c->present >> IN_API_TYPE & 1))
        return err_field(e, "apiType", "'apiType' is required for " OPENAI);
    take(c, &k, replaces);
    return save(c, CHANGE_UPDATE, &k, 200, e);
}

static bool patch(struct control_call *c, struct err *e)
{
    return edit(c, false, e);
}

static bool put(struct control_call *c, struct err *e)
{
    return edit(c, true, e);
}

static bool delete (struct control_call *c, struct err *e)
{
    const struct custom_kind *k = find(c, e);
    struct success_out out = {true};
    return k && change_kind_delete(c, k->id, e) && control_reply(c, 200, &success_shape, &out);
}

struct validate_in {
    struct str base_url, api_key, type, models_path;
};
struct validate_out {
    bool valid;
    struct str error;
};
/* clang-format off */
#define VALIDATE(member, name, min, max, flags, doc) FIELD_AS_TEXT(struct validate_in, member, name, NULL, min, max, (flags) | TRIM, doc)
static const struct shape validate_in_shape = SHAPE(struct validate_in,
    VALIDATE(base_url, "baseUrl", 1, 2000, REQUIRED, "What paths stand behind"),
    VALIDATE(api_key, "apiKey", 1, 10000, REQUIRED, "The credential to try; it is not kept"),
    VALIDATE(type, "type", 0, 50, 0, OPENAI " (when absent) or " ANTHROPIC),
    VALIDATE(models_path, "modelsPath", 0, 500, 0, "Path of the list of models; /models when absent"));
static const struct shape validate_shape = SHAPE(struct validate_out,
    FIELD(struct validate_out, valid, 0, "Whether the list of models came"),
    FIELD(struct validate_out, error, NULL_EMPTY, "Why not"));
/* clang-format on */

/* The address is an administrator's to say: it is that of a node to be. */
static bool validate(struct control_call *c, struct err *e)
{
    const struct validate_in *in = c->in;
    bool is_openai = !in->type.n || str_is(in->type, OPENAI);
    struct custom_kind k;
    struct upstream u;
    struct discovered found;
    struct err why = ERR_INIT;
    struct buf b;
    yyjson_val *entry;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    custom_kind_write(&w, &(struct custom_kind){.title = STR("x"),
                                                .prefix = STR("x"),
                                                .base = is_openai ? STR(OPENAI) : in->type,
                                                .api = STR("chat"),
                                                .base_url = in->base_url,
                                                .models_path = in->models_path});
    if (!json_parse(c->arena, buf_str(&b), 0, &entry, e) ||
        !custom_kind_read(c->arena, STR("x"), entry, &k, e) ||
        !upstream_of(c->arena, &k.kind, STR_NONE, secret_of(in->api_key),
                     c->snap->settings.proxy_url, &u, e)) {
        omni_name_field(e);
        return false;
    }
    control_audit(c, "provider_test", str_first(in->base_url, 200), STR_NONE, STR_NONE);
    bool ok = upstream_models_until(c->arena, &u, 10000, c->control->is_stopping, &found, &why);
    if (!ok && found.status == 0)
        return err_set(e, ERR_INTERNAL, "unreachable", "%s", why.message);
    struct validate_out out = {ok, ok ? STR_NONE : str_fmt(c->arena, "%s", why.message)};
    return control_reply(c, 200, &validate_shape, &out);
}

/* clang-format off */
const struct endpoint omni_node_endpoints[] = {
    { HTTP_GET,    "/api/provider-nodes",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "List custom kinds of providers", .on_worker = list, .out = &nodes_shape },
    { HTTP_POST,   "/api/provider-nodes",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Make a custom kind of providers", .on_worker = create, .in = &create_shape, .out = &one_shape, .status = 201 },
    { HTTP_PATCH,  "/api/provider-nodes/{id}",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a custom kind of providers", .on_worker = patch, .in = &patch_shape, .out = &one_shape },
    { HTTP_PUT,    "/api/provider-nodes/{id}",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Replace a custom kind of providers", .on_worker = put, .in = &put_shape, .out = &one_shape },
    { HTTP_DELETE, "/api/provider-nodes/{id}",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Remove a custom kind of providers and its connections", .on_worker = delete, .out = &success_shape },
    { HTTP_POST,   "/api/provider-nodes/validate", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Try the address of a custom kind of providers", .on_worker = validate, .in = &validate_in_shape, .out = &validate_shape, .waits = true },
    {0},
};
/* clang-format on */
