/* admin_keys.c - /admin/api/keys: client keys as llm-rosetta's panel lists and makes them. */
#include "api/admin.h"
#include "api/change.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/written.h"
#include "json/shape_json.h"

#define LEGACY_ID "default" /* server.api_key, the one key of older files */

struct key_post {
    struct str label, key;
};
struct key_label {
    struct str label;
};
struct key_shown {
    struct str id, key, label, created;
};
struct keys_out {
    yyjson_val *keys;
};
struct made_out {
    bool ok;
    struct key_shown key;
};
struct key_changed {
    bool ok;
    struct str id, label, deleted, key;
};

/* clang-format off */
static const struct shape key_post_shape = SHAPE(struct key_post,
    FIELD(struct key_post, label, 0, "Name for people"),
    FIELD(struct key_post, key,   0, "The key itself, at least 8 characters; made up when absent"));
static const struct shape key_label_shape = SHAPE(struct key_label,
    FIELD(struct key_label, label, 0, "New name for people; absent: nothing changes"));
static const struct shape key_shown_shape = SHAPE(struct key_shown,
    FIELD(struct key_shown, id,      0, "Name of the key in logs and lists"),
    FIELD(struct key_shown, key,     0, "The key: whole only in the answer that made it"),
    FIELD(struct key_shown, label,   0, "Name for people"),
    FIELD(struct key_shown, created, 0, "When it was made"));
static const struct shape keys_shape = SHAPE(struct keys_out,
    FIELD_JSON(struct keys_out, keys, JSON_LIST, &key_shown_shape, 0, "id, key (masked), label, created and what else is written of each"));
static const struct shape made_shape = SHAPE(struct made_out,
    FIELD(struct made_out, ok, 0, "true"),
    FIELD_OBJECT(struct made_out, key, &key_shown_shape, 0, "The new key"));
static const struct shape labelled_shape = SHAPE(struct key_changed,
    FIELD(struct key_changed, ok, 0, "true"),
    FIELD(struct key_changed, id, 0, "The key's id"),
    FIELD(struct key_changed, label, 0, "Its name for people"));
static const struct shape deleted_shape = SHAPE(struct key_changed,
    FIELD(struct key_changed, ok, 0, "true"),
    FIELD(struct key_changed, deleted, 0, "The key's id"));
static const struct shape revealed_shape = SHAPE(struct key_changed,
    FIELD(struct key_changed, key, 0, "The key itself, maybe ${VAR}"));
static const struct shape rotated_shape = SHAPE(struct key_changed,
    FIELD(struct key_changed, ok, 0, "true"),
    FIELD(struct key_changed, id, 0, "The key's id, as before"),
    FIELD(struct key_changed, key, 0, "Its new text: only in this answer"));
/* clang-format on */

/* 2025-01-15T10:30:00.123000+00:00 */
static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    struct str text = buf_str(&b);
    if (text.n && text.p[text.n - 1] == 'Z')
        text.n--;
    return str_fmt(a, STR_FMT "%s+00:00", STR_ARG(text),
                   str_index(text, '.') < text.n ? "000" : "");
}

static struct str created_of(struct arena *a, yyjson_val *entry)
{
    struct str given = json_get_str(entry, "created");
    int64_t ms;
    return str_ends(given, STR("Z")) && clock_parse_rfc3339(given, &ms) ? time_text(a, ms) : given;
}

static void write_key(struct jw *w, struct arena *a, yyjson_val *entry)
{
    struct str text = json_get_str(entry, "key"), hint = json_get_str(entry, "hint");
    size_t i, max;
    yyjson_val *k, *v;
    jw_object(w);
    jw_kv_str(w, "id", key_written_id(a, entry));
    jw_kv_str(w, "key", text.n ? admin_mask(a, text) : hint.n ? hint : STR("***"));
    jw_kv_str(w, "label", json_get_str(entry, "label"));
    jw_kv_str(w, "created", created_of(a, entry));
    yyjson_obj_foreach (entry, i, max, k, v) {
        static const char *const shown[] = {"id",   "key",    "label", "created",
                                            "hash", "sealed", "hint"};
        bool is_shown = false;
        for (size_t n = 0; n < ARRAY_LEN(shown); n++)
            is_shown |= str_eq(json_str(k), str_of(shown[n]));
        if (is_shown)
            continue;
        jw_key_str(w, json_str(k));
        jw_val(w, v);
    }
    jw_object_end(w);
}

void admin_write_keys(struct jw *w, struct control_call *c, yyjson_val *list)
{
    size_t i, max;
    yyjson_val *v;
    jw_array(w);
    yyjson_arr_foreach (list, i, max, v)
        write_key(w, c->arena, v);
    jw_array_end(w);
}

static yyjson_val *find(struct arena *a, yyjson_val *list, struct str id)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach (list, i, max, v)
        if (str_eq(key_written_id(a, v), id))
            return v;
    return NULL;
}

static bool entries(struct control_call *c, yyjson_val **server, yyjson_val **list, struct err *e)
{
    yyjson_val *root;
    if (!admin_view(c, &root, e))
        return false;
    *server = json_get(root, "server");
    *list = json_get(*server, "api_keys");
    return true;
}

/* The one key of an older file counts as long as no list stands beside it. */
static bool has_legacy(struct control_call *c, yyjson_val *server, yyjson_val *list)
{
    return json_get_str(server, "api_key").n && !find(c->arena, list, STR(LEGACY_ID)) &&
           snapshot_key_by_id(c->snap, STR(LEGACY_ID));
}

static bool no_key(struct err *e, struct str id)
{
    return err_set(e, ERR_NOT_FOUND, "not_found", "Key '" STR_FMT "' not found",
                   STR_ARG(str_first(id, 200)));
}

static bool list(struct control_call *c, struct err *e)
{
    yyjson_val *server, *all, *v;
    size_t i, max;
    struct buf b;
    struct keys_out out = {NULL};
    if (!entries(c, &server, &all, e))
        return false;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    if (has_legacy(c, server, all)) {
        jw_object(&w);
        jw_kv_cstr(&w, "id", LEGACY_ID);
        jw_kv_str(&w, "key", admin_mask(c->arena, json_get_str(server, "api_key")));
        jw_kv_cstr(&w, "label", LEGACY_ID);
        jw_kv_cstr(&w, "created", "");
        jw_object_end(&w);
    }
    yyjson_arr_foreach (all, i, max, v)
        write_key(&w, c->arena, v);
    jw_array_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, &out.keys, e) &&
           control_reply(c, 200, &keys_shape, &out);
}

/* "rsk-" and 48 hex digits. */
static struct secret make_text(struct arena *a)
{
    return secret_of(random_id(a, "rsk-", 48));
}

static bool create(struct control_call *c, struct err *e)
{
    const struct key_post *in = c->in;
    struct key_made made;
    struct key_change k = {.given = KEY_LABEL,
                           .label = in->label,
                           .text = in->key.n ? secret_of(in->key) : make_text(c->arena)};
    if (!change_key_create(c, &k, &made, e))
        return false;
    struct made_out out = {.ok = true,
                           .key = {.id = made.id,
                                   .key = made.text,
                                   .label = in->label,
                                   .created = time_text(c->arena, made.created_ms)}};
    return control_reply(c, 200, &made_shape, &out);
}

static bool relabel(struct control_call *c, struct err *e)
{
    const struct key_label *in = c->in;
    yyjson_val *server, *all;
    struct str id = route_param(&c->params, "id");
    if (!entries(c, &server, &all, e))
        return false;
    yyjson_val *entry = find(c->arena, all, id);
    if (!entry)
        return no_key(e, id);
    struct key_changed out = {.ok = true, .id = id, .label = json_get_str(entry, "label")};
    if (c->present & 1) {
        struct key_change k = {.id = id, .given = KEY_LABEL, .label = in->label};
        if (!change_key(c, &k, e))
            return false;
        out.label = in->label;
    }
    return control_reply(c, 200, &labelled_shape, &out);
}

static bool delete (struct control_call *c, struct err *e)
{
    yyjson_val *server, *all;
    struct str id = route_param(&c->params, "id");
    if (!entries(c, &server, &all, e))
        return false;
    if (!find(c->arena, all, id))
        return no_key(e, id);
    struct key_changed out = {.ok = true, .deleted = id};
    return change_key_delete(c, id, e) && control_reply(c, 200, &deleted_shape, &out);
}

static bool reveal(struct control_call *c, struct err *e)
{
    yyjson_val *server, *all;
    struct str id = route_param(&c->params, "id"), blob;
    if (!admin_may_reveal(c, e) || !entries(c, &server, &all, e))
        return false;
    yyjson_val *entry = find(c->arena, all, id);
    if (!entry)
        return no_key(e, id);
    struct str text = json_get_str(entry, "key"), sealed = json_get_str(entry, "sealed");
    struct secret opened;
    if (!text.n && sealed.n && base64_decode(c->arena, sealed, &blob) &&
        seal_unwrap(c->control->seal, c->arena, blob, id, &opened, e))
        text = secret_reveal(opened);
    if (!text.n)
        return err_set(e, ERR_NOT_FOUND, "only_hash",
                       "Key '" STR_FMT "' is kept as a hash only: it was made while "
                       "credential_visible was off",
                       STR_ARG(str_first(id, 200)));
    struct key_changed out = {.key = text};
    control_audit(c, "reveal", str_fmt(c->arena, "key " STR_FMT, STR_ARG(id)), STR_NONE, STR_NONE);
    return control_reply(c, 200, &revealed_shape, &out);
}

static bool rotate(struct control_call *c, struct err *e)
{
    yyjson_val *server, *all;
    struct str id = route_param(&c->params, "id");
    struct key_made made;
    if (!entries(c, &server, &all, e))
        return false;
    if (!find(c->arena, all, id))
        return no_key(e, id);
    if (!change_key_rotate(c, id, make_text(c->arena), &made, e))
        return false;
    struct key_changed out = {.ok = true, .id = id, .key = made.text};
    return control_reply(c, 200, &rotated_shape, &out);
}

/* clang-format off */
const struct endpoint admin_key_endpoints[] = {
    { HTTP_GET,    "/admin/api/keys",             SURFACE_ROSETTA, ACCESS_VIEWER, "List client keys, masked", .on_worker = list, .out = &keys_shape },
    { HTTP_POST,   "/admin/api/keys",             SURFACE_ROSETTA, ACCESS_ADMIN, "Create a client key", .on_worker = create, .in = &key_post_shape, .out = &made_shape, .body_is_optional = true, .is_create = true },
    { HTTP_PUT,    "/admin/api/keys/{id}",        SURFACE_ROSETTA, ACCESS_ADMIN, "Relabel a client key", .on_worker = relabel, .in = &key_label_shape, .out = &labelled_shape },
    { HTTP_DELETE, "/admin/api/keys/{id}",        SURFACE_ROSETTA, ACCESS_ADMIN, "Delete a client key", .on_worker = delete, .out = &deleted_shape },
    { HTTP_GET,    "/admin/api/keys/{id}/reveal", SURFACE_ROSETTA, ACCESS_ADMIN, "Reveal a client key where that is allowed", .on_worker = reveal, .out = &revealed_shape, .leaves_trail = true },
    { HTTP_POST,   "/admin/api/keys/{id}/rotate", SURFACE_ROSETTA, ACCESS_ADMIN, "Give a client key a new secret", .on_worker = rotate, .out = &rotated_shape, .is_create = true },
    {0},
};
/* clang-format on */
