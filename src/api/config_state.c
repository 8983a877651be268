#include "api/config_state.h"
#include "base/map.h"
#include "domain/audit.h"
#include "domain/combo.h"
#include "domain/custom_kind.h"
#include "domain/org.h"
#include "domain/setting.h"
#include "domain/written.h"
#include "json/jsonc_place.h"
#include "vault/entry.h"
#include <zlib.h>

#define BOUND_TO STR("config_version")

/* ---- reading ---- */

bool config_file_values(struct arena *a, const char *name, struct str text, yyjson_val **out,
                        struct err *e)
{
    struct err why = ERR_INIT;
    if (!jsonc_parse(a, jsonc_quote(a, text), out, &why))
        return err_set(e, ERR_INPUT, "invalid_config", "%s: %s", name, why.message);
    return yyjson_is_obj(*out) ||
           err_set(e, ERR_INPUT, "invalid_config", "%s: the file must hold a JSON object", name);
}

static bool store_providers(struct jw *w, struct arena *a, const struct seal *seal, struct db *db,
                            struct err *e)
{
    struct provider_row *p;
    jw_key(w, "providers");
    jw_object(w);
    if (!provider_list(db, a, &p, e))
        return false;
    for (; p; p = p->next) {
        struct secret key = {STR_NONE};
        struct err lost = ERR_INIT; /* a key that does not open shows as none */
        if (p->sealed_key.n && !seal_unwrap(seal, a, p->sealed_key, p->name, &key, &lost))
            key = secret_of(STR_NONE);
        if (!address_opened(seal, a, p->proxy, &p->proxy, &lost))
            p->proxy = STR_NONE;
        jw_key_str(w, p->name);
        provider_write(w, p, secret_reveal(key));
    }
    jw_object_end(w);
    return true;
}

static bool store_kind(void *arg, struct str id, yyjson_val *entry, struct err *e)
{
    (void)e;
    jw_key_str(arg, id);
    jw_val(arg, entry);
    return true;
}

static bool store_kinds(struct jw *w, struct arena *a, struct db *db, struct err *e)
{
    jw_key(w, "kinds");
    jw_object(w);
    bool ok = custom_kind_each(db, a, store_kind, w, e);
    jw_object_end(w);
    return ok;
}

static bool store_models(struct jw *w, struct arena *a, struct db *db, struct err *e)
{
    struct model_row *m;
    jw_key(w, "models");
    jw_object(w);
    if (!model_list(db, a, &m, e))
        return false;
    for (; m; m = m->next) {
        jw_key_str(w, m->name);
        model_write(w, m);
    }
    jw_object_end(w);
    return true;
}

static bool store_holders(struct jw *w, struct arena *a, enum holder_kind k, struct db *db,
                          struct err *e)
{
    struct holder_row *r;
    if (!holder_list(db, a, k, &r, e))
        return false;
    if (!r) /* few have them */
        return true;
    jw_key(w, holder_section(k));
    jw_object(w);
    for (; r; r = r->next) {
        jw_key_str(w, r->id);
        holder_write(w, a, r);
    }
    jw_object_end(w);
    return true;
}

/* Left out where there is nothing in it. */
static bool store_entries(struct jw *w, struct arena *a, const struct seal *seal, struct db *db,
                          const char *section, struct err *e)
{
    struct entry_row *row;
    if (!entry_list(db, a, section, &row, e))
        return false;
    if (!row)
        return true;
    jw_key(w, section);
    jw_object(w);
    for (; row; row = row->next) {
        struct str body;
        struct err lost = ERR_INIT; /* what does not open is not there */
        if (!entry_opened(seal, a, section, row->body, &body, &lost))
            continue;
        jw_key_str(w, row->name);
        jw_raw(w, body);
    }
    jw_object_end(w);
    return true;
}

struct setting_walk {
    struct jw *w;
    struct arena *a;
    const struct seal *seal;
};

static bool store_setting(void *arg, struct str name, struct str value, struct err *e)
{
    const struct setting_walk *walk = arg;
    const struct setting *row = setting_find(name);
    struct settings set;
    settings_default(&set);
    if (!row || !address_opened(walk->seal, walk->a, value, &value, e) ||
        !setting_set(&set, row, value, e)) {
        err_clear(e); /* of another version or under another key: it has no effect */
        return true;
    }
    jw_key(walk->w, row->name);
    setting_write(&set, row, walk->w);
    return true;
}

bool config_setting_put(struct arena *a, const struct seal *seal, struct db *db, struct str name,
                        struct str value, struct err *e)
{
    bool is_address = str_is(name, "proxy") && value.p;
    return setting_put(db, name, is_address ? address_sealed(seal, a, value) : value, e);
}

bool config_store_values(struct arena *a, const struct seal *seal, struct db *db, yyjson_val **out,
                         struct err *e)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (!store_kinds(&w, a, db, e) || !store_providers(&w, a, seal, db, e) ||
        !store_models(&w, a, db, e) || !store_holders(&w, a, HOLDER_ORG, db, e) ||
        !store_holders(&w, a, HOLDER_USER, db, e))
        return false;
    for (size_t i = 0; entry_sections[i]; i++)
        if (!store_entries(&w, a, seal, db, entry_sections[i], e))
            return false;
    jw_key(&w, "server");
    jw_object(&w);
    struct setting_walk walk = {&w, a, seal};
    if (!setting_each(db, a, store_setting, &walk, e))
        return false;
    jw_object_end(&w);
    jw_object_end(&w);
    return json_parse(a, buf_str(&b), 0, out, e);
}

/* ---- both in one ---- */

struct merger {
    struct jw w;
    struct arena *a;
};

static void names_of(struct map *m, yyjson_val *object)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (object, i, max, k, v)
        if (!map_get(m, json_str(k)))
            map_set(m, json_str(k), v);
}

/* The members of both; the file's hide the store's. */
static void merge_members(struct jw *w, yyjson_val *file, yyjson_val *store, const char *except)
{
    size_t i, max;
    yyjson_val *k, *v;
    struct map seen;
    map_init(&seen);
    names_of(&seen, file);
    yyjson_obj_foreach (file, i, max, k, v) {
        if ((except && str_eq(json_str(k), str_of(except))) || map_get(&seen, json_str(k)) != v)
            continue;
        jw_key_str(w, json_str(k));
        jw_val(w, v);
    }
    yyjson_obj_foreach (store, i, max, k, v) {
        if (map_get(&seen, json_str(k)))
            continue;
        jw_key_str(w, json_str(k));
        jw_val(w, v);
    }
    map_done(&seen);
}

static void merge_key(void *arg, const struct key_row *k)
{
    struct merger *m = arg;
    key_write(&m->w, m->a, k);
}

static bool merge_server(struct merger *m, const struct config_state *s, struct db *db,
                         struct err *e)
{
    yyjson_val *server = json_get(s->file, "server"), *one;
    size_t i, max;
    jw_key(&m->w, "server");
    jw_object(&m->w);
    merge_members(&m->w, server, json_get(s->store, "server"), "api_keys");
    jw_key(&m->w, "api_keys");
    jw_array(&m->w);
    yyjson_arr_foreach (json_get(server, "api_keys"), i, max, one)
        jw_val(&m->w, one);
    if (db && !key_each(db, merge_key, m, e))
        return false;
    jw_array_end(&m->w);
    jw_object_end(&m->w);
    return true;
}

static bool is_section(struct str name)
{
    for (size_t i = 0; entry_sections[i]; i++)
        if (str_eq(name, str_of(entry_sections[i])))
            return true;
    return str_is(name, "providers") || str_is(name, "models") || str_is(name, "orgs") ||
           str_is(name, "kinds") || str_is(name, "users") || str_is(name, "server");
}

bool config_merged(struct arena *a, const struct config_state *s, struct db *db, yyjson_val **out,
                   struct err *e)
{
    static const char *const sections[] = {"providers", "models", "kinds", "orgs", "users"};
    struct merger m = {.a = a};
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    m.w = jw_on(&b);
    jw_object(&m.w);
    for (size_t n = 0; n < ARRAY_LEN(sections); n++) {
        yyjson_val *file = json_get(s->file, sections[n]), *store = json_get(s->store, sections[n]);
        if (n > 1 && yyjson_obj_size(file) + yyjson_obj_size(store) == 0)
            continue;
        jw_key(&m.w, sections[n]);
        jw_object(&m.w);
        merge_members(&m.w, file, store, NULL);
        jw_object_end(&m.w);
    }
    for (size_t n = 0; entry_sections[n]; n++) {
        yyjson_val *file = json_get(s->file, entry_sections[n]),
                   *store = json_get(s->store, entry_sections[n]);
        if (!file && !store)
            continue;
        jw_key(&m.w, entry_sections[n]);
        jw_object(&m.w);
        merge_members(&m.w, file, store, NULL);
        jw_object_end(&m.w);
    }
    if (!merge_server(&m, s, db, e))
        return false;
    yyjson_obj_foreach (s->file, i, max, k, v) {
        if (is_section(json_str(k)))
            continue;
        jw_key_str(&m.w, json_str(k));
        jw_val(&m.w, v);
    }
    jw_object_end(&m.w);
    return json_parse(a, buf_str(&b), 0, out, e);
}

/* ---- back into the store ---- */

struct str provider_more(struct arena *a, yyjson_val *entry)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (entry, i, max, k, v) {
        if (!provider_member_is_more(json_str(k)))
            continue;
        jw_key_str(&w, json_str(k));
        jw_val(&w, v);
    }
    jw_object_end(&w);
    return b.n > 2 ? buf_str(&b) : STR_NONE;
}

static struct str limits_of(struct arena *a, yyjson_val *v)
{
    yyjson_val *limits = json_get(v, "limits");
    return json_absent(limits) ? STR_NONE : json_text(a, limits);
}

static bool put_provider(struct arena *a, const struct seal *seal, struct db *db, struct str name,
                         yyjson_val *v, struct err *e)
{
    struct str key = json_get_str(v, "api_key");
    struct provider_row p = {.name = name,
                             .kind = json_get_str(v, "type"),
                             .base_url = json_get_str(v, "base_url"),
                             .proxy = address_sealed(seal, a, json_get_str(v, "proxy")),
                             .ca_file = json_get_str(v, "ca_file"),
                             .wire = json_get_str(v, "wire"),
                             .api_version = json_get_str(v, "api_version"),
                             .limits = limits_of(a, v),
                             .is_enabled = json_get_bool(v, "enabled", true),
                             .priority = json_get_int(v, "priority", 0),
                             .weight = json_get_int(v, "weight", 1),
                             .more = provider_more(a, v)};
    if (key.n)
        p.sealed_key = seal_wrap(seal, a, secret_of(key), name);
    return provider_put(db, &p, e);
}

static bool put_model(struct arena *a, struct db *db, struct str name, yyjson_val *v, struct err *e)
{
    struct model_row m = {.name = name,
                          .targets = json_text(a, json_get(v, "targets")),
                          .capabilities = json_text(a, json_get(v, "capabilities")),
                          .max_output_tokens = json_get_int(v, "max_output_tokens", -1),
                          .context_tokens = json_get_int(v, "context_tokens", -1),
                          .limits = limits_of(a, v),
                          .is_enabled = json_get_bool(v, "enabled", true),
                          .show_alias = json_get_bool(v, "show_alias", false),
                          .strategy = json_get_str(v, "strategy"),
                          .label = json_get_str(v, "label"),
                          .source = json_get_str(v, "source")};
    return model_put(db, &m, e);
}

static bool put_holders(struct arena *a, struct db *db, enum holder_kind kind, yyjson_val *values,
                        struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (json_get(values, holder_section(kind)), i, max, k, v) {
        struct holder_row r;
        if (!holder_read(a, kind, json_str(k), v, &r, e) || !holder_put(db, kind, &r, e))
            return false;
    }
    return true;
}

bool config_store_put(struct arena *a, const struct seal *seal, struct db *db, yyjson_val *values,
                      struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v;
    if (!db_exec(db,
                 "DELETE FROM kind; DELETE FROM provider; DELETE FROM setting; DELETE FROM org; "
                 "DELETE FROM user;",
                 e) ||
        !put_holders(a, db, HOLDER_ORG, values, e) || !put_holders(a, db, HOLDER_USER, values, e))
        return false;
    yyjson_obj_foreach (json_get(values, "kinds"), i, max, k, v)
        if (!custom_kind_put(db, json_str(k), json_text(a, v), e))
            return false;
    yyjson_obj_foreach (json_get(values, "providers"), i, max, k, v)
        if (!put_provider(a, seal, db, json_str(k), v, e))
            return false;
    /* models one by one: those that stay keep the time that they were made */
    struct model_row *rows;
    if (!model_list(db, a, &rows, e))
        return false;
    struct map wanted;
    map_init(&wanted);
    names_of(&wanted, json_get(values, "models"));
    bool ok = true;
    for (; ok && rows; rows = rows->next)
        ok = map_get(&wanted, rows->name) || model_delete(db, rows->name, e);
    map_done(&wanted);
    if (!ok)
        return false;
    yyjson_obj_foreach (json_get(values, "models"), i, max, k, v)
        if (!put_model(a, db, json_str(k), v, e))
            return false;
    for (size_t n = 0; entry_sections[n]; n++) {
        if (!entry_clear(db, entry_sections[n], e))
            return false;
        yyjson_obj_foreach (json_get(values, entry_sections[n]), i, max, k, v) {
            struct entry_row row = {NULL, json_str(k),
                                    entry_sealed(seal, a, entry_sections[n], json_text(a, v))};
            if (!entry_put(db, entry_sections[n], &row, e))
                return false;
        }
    }
    yyjson_obj_foreach (json_get(values, "server"), i, max, k, v)
        if (!config_setting_put(a, seal, db, json_str(k),
                                yyjson_is_str(v) ? json_str(v) : json_text(a, v), e))
            return false;
    return true;
}

/* ---- packing ---- */

struct packed_head { /* before what is compressed: the file's text, then the store's JSON */
    uint64_t file_n, store_n;
    uint64_t has_file;
};

struct str config_pack(struct arena *a, const struct seal *seal, const struct config_state *s)
{
    struct buf b, z;
    struct str store = json_text(a, s->store);
    struct packed_head head = {s->text.n, store.n, s->text.p != NULL};
    buf_init_arena(&b, a, SIZE_MAX / 4);
    buf_init_arena(&z, a, SIZE_MAX / 4);
    buf_str_add(&b, s->text); /* as it is: comments may hold any bytes */
    buf_str_add(&b, store);
    uLongf n = compressBound(b.n);
    buf_add(&z, &head, sizeof head);
    if (!buf_reserve(&z, n) ||
        compress2((Bytef *)z.p + z.n, &n, (const Bytef *)b.p, b.n, Z_BEST_SPEED) != Z_OK)
        abort(); /* compressBound() says that it fits */
    z.n += n;
    return seal_wrap(seal, a, secret_of(buf_str(&z)), BOUND_TO);
}

bool config_unpack(struct arena *a, const struct seal *seal, struct str packed,
                   struct config_state *out, struct err *e)
{
    struct secret opened;
    struct packed_head head;
    if (!seal_unwrap(seal, a, packed, BOUND_TO, &opened, e))
        return false;
    struct str z = secret_reveal(opened);
    if (z.n < sizeof head)
        return err_set(e, ERR_INTERNAL, "invalid_version", "The stored version is damaged");
    memcpy(&head, z.p, sizeof head);
    z = str_skip(z, sizeof head);
    char *p = arena_alloc(a, (size_t)(head.file_n + head.store_n) + 1);
    uLongf n = (uLongf)(head.file_n + head.store_n);
    if (uncompress((Bytef *)p, &n, (const Bytef *)z.p, z.n) != Z_OK ||
        n != head.file_n + head.store_n)
        return err_set(e, ERR_INTERNAL, "invalid_version", "The stored version is damaged");
    *out = (struct config_state){.text = STR_NONE};
    if (!json_parse(a, str_n(p + head.file_n, (size_t)head.store_n), 0, &out->store, e))
        return false;
    if (!head.has_file)
        return true;
    out->text = str_n(p, (size_t)head.file_n);
    return config_file_values(a, "the version's file", out->text, &out->file, e);
}

/* ---- how two differ ---- */

struct comparison {
    struct arena *a;
    struct config_change *first, **last;
};

static void note(struct comparison *c, const char *kind, struct str name, yyjson_val *before,
                 yyjson_val *after)
{
    if (before && after && json_equal(before, after))
        return;
    *c->last = ARENA_NEW(c->a, struct config_change);
    **c->last = (struct config_change){
        .kind = kind, .name = name, .before = before, .after = after};
    c->last = &(*c->last)->next;
}

static void compare_members(struct comparison *c, const char *kind, yyjson_val *before,
                            yyjson_val *after, bool (*leaves_out)(struct str))
{
    size_t i, max;
    yyjson_val *k, *v;
    struct map was, is;
    map_init(&was);
    map_init(&is);
    names_of(&was, before);
    names_of(&is, after);
    yyjson_obj_foreach (before, i, max, k, v)
        if ((!leaves_out || !leaves_out(json_str(k))) && map_get(&was, json_str(k)) == v)
            note(c, kind, json_str(k), v, map_get(&is, json_str(k)));
    yyjson_obj_foreach (after, i, max, k, v)
        if ((!leaves_out || !leaves_out(json_str(k))) && !map_get(&was, json_str(k)) &&
            map_get(&is, json_str(k)) == v)
            note(c, kind, json_str(k), NULL, v);
    map_done(&is);
    map_done(&was);
}

/* The elements of server.api_keys by id. */
static void index_keys(struct arena *a, struct map *m, yyjson_val *list)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach (list, i, max, v)
        map_set(m, key_written_id(a, v), v);
}

static void compare_keys(struct comparison *c, yyjson_val *before, yyjson_val *after)
{
    struct map was, is;
    struct str id;
    void *v;
    map_init(&was);
    map_init(&is);
    index_keys(c->a, &was, before);
    index_keys(c->a, &is, after);
    for (size_t i = 0; map_next(&was, &i, &id, &v);)
        note(c, "key", id, v, map_get(&is, id));
    for (size_t i = 0; map_next(&is, &i, &id, &v);)
        if (!map_get(&was, id))
            note(c, "key", id, NULL, v);
    map_done(&is);
    map_done(&was);
}

static bool is_key_list(struct str name)
{
    return str_is(name, "api_keys");
}

const char *const entry_kinds[] = {"combo",  "chain",  "alias", "price",
                                   "budget", "policy", "proxy", NULL};

struct config_change *config_compare(struct arena *a, yyjson_val *before, yyjson_val *after)
{
    struct comparison c = {.a = a};
    c.last = &c.first;
    compare_members(&c, "kind", json_get(before, "kinds"), json_get(after, "kinds"), NULL);
    compare_members(&c, "provider", json_get(before, "providers"), json_get(after, "providers"),
                    NULL);
    compare_members(&c, "model", json_get(before, "models"), json_get(after, "models"), NULL);
    compare_members(&c, "org", json_get(before, "orgs"), json_get(after, "orgs"), NULL);
    compare_members(&c, "user", json_get(before, "users"), json_get(after, "users"), NULL);
    for (size_t i = 0; entry_sections[i]; i++)
        compare_members(&c, entry_kinds[i], json_get(before, entry_sections[i]),
                        json_get(after, entry_sections[i]), NULL);
    yyjson_val *was = json_get(before, "server"), *is = json_get(after, "server");
    compare_members(&c, "setting", was, is, is_key_list);
    compare_keys(&c, json_get(was, "api_keys"), json_get(is, "api_keys"));
    compare_members(&c, "section", before, after, is_section);
    return c.first;
}

static yyjson_val *first_member(yyjson_val *object)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (object, i, max, k, v)
        return v;
    return NULL;
}

struct str config_change_side(struct arena *a, const struct config_change *c, yyjson_val *side)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    if (!side)
        return STR_NONE;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    bool is_key = strcmp(c->kind, "key") == 0 && yyjson_is_obj(side);
    /* the name decides about masking */
    jw_object(&w);
    jw_key_str(&w, is_key ? STR("entry") : c->name);
    if (is_key) { /* how its text is kept says nothing to people */
        jw_object(&w);
        yyjson_obj_foreach (side, i, max, k, v) {
            if (str_is(json_str(k), "hash") || str_is(json_str(k), "sealed"))
                continue;
            jw_key_str(&w, json_str(k));
            jw_val(&w, v);
        }
        jw_object_end(&w);
    } else {
        jw_val(&w, side);
    }
    jw_object_end(&w);
    yyjson_val *masked;
    if (!json_parse(a, audit_masked(a, buf_str(&b)), 0, &masked, NULL))
        return STR_NONE;
    return json_text(a, first_member(masked));
}

void config_changes_write(struct jw *w, struct arena *a, const struct config_change *list)
{
    jw_array(w);
    for (const struct config_change *c = list; c; c = c->next) {
        struct str before = config_change_side(a, c, c->before),
                   after = config_change_side(a, c, c->after);
        jw_object(w);
        jw_kv_cstr(w, "kind", c->kind);
        jw_kv_str(w, "name", c->name);
        jw_key(w, "before");
        jw_raw(w, before.n ? before : STR("null"));
        jw_key(w, "after");
        jw_raw(w, after.n ? after : STR("null"));
        jw_object_end(w);
    }
    jw_array_end(w);
}
