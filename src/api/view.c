/* view.c - the whole configuration as it is written, file and store in one. */
#include "api/change.h"
#include "domain/written.h"
#include "json/jsonc_place.h"
#include <stdio.h>

struct view {
    struct control_call *c;
    struct arena *a;
    yyjson_val *file; /* NULL: none */
    struct jw w;
};

static bool read_file(struct arena *a, struct str path, struct str *out, struct err *e)
{
    const char *name = str_z(a, path);
    char piece[65536];
    struct buf b;
    FILE *f = fopen(name, "re");
    if (!f)
        return err_errno(e, "cannot read", name);
    buf_init_arena(&b, a, 64u << 20);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(&b, piece, n);
    bool ok = !ferror(f) || err_errno(e, "cannot read", name);
    (void)fclose(f);
    *out = buf_str(&b);
    return ok && (!buf_failed(&b) ||
                  err_set(e, ERR_INPUT, "invalid_file", "'%s' is larger than 64 MiB", name));
}

static bool is_in_file(const struct view *v, const char *section, struct str name)
{
    return yyjson_obj_getn(json_get(v->file, section), name.p, name.n) != NULL;
}

static void members(struct view *v, yyjson_val *object, const char *except)
{
    size_t i, max;
    yyjson_val *k, *val;
    yyjson_obj_foreach (object, i, max, k, val) {
        if (except && str_eq(json_str(k), str_of(except)))
            continue;
        jw_key_str(&v->w, json_str(k));
        jw_val(&v->w, val);
    }
}

static bool providers(struct view *v, struct db *db, struct err *e)
{
    struct provider_row *p;
    jw_key(&v->w, "providers");
    jw_object(&v->w);
    members(v, json_get(v->file, "providers"), NULL);
    if (!provider_list(db, v->a, &p, e))
        return false;
    for (; p; p = p->next) {
        struct secret key = {STR_NONE};
        struct err lost = ERR_INIT; /* a key that does not open shows as none */
        if (is_in_file(v, "providers", p->name))
            continue;
        if (p->sealed_key.n &&
            !seal_unwrap(v->c->control->seal, v->a, p->sealed_key, p->name, &key, &lost))
            key = secret_of(STR_NONE);
        jw_key_str(&v->w, p->name);
        provider_write(&v->w, p, secret_reveal(key));
    }
    jw_object_end(&v->w);
    return true;
}

static bool models(struct view *v, struct db *db, struct err *e)
{
    struct model_row *m;
    jw_key(&v->w, "models");
    jw_object(&v->w);
    members(v, json_get(v->file, "models"), NULL);
    if (!model_list(db, v->a, &m, e))
        return false;
    for (; m; m = m->next) {
        if (is_in_file(v, "models", m->name))
            continue;
        jw_key_str(&v->w, m->name);
        model_write(&v->w, m);
    }
    jw_object_end(&v->w);
    return true;
}

static bool setting(void *arg, struct str name, struct str value, struct err *e)
{
    struct view *v = arg;
    const struct setting *row = setting_find(name);
    struct settings set;
    settings_default(&set);
    if (!row || is_in_file(v, "server", name) || !setting_set(&set, row, value, e)) {
        err_clear(e); /* of another version: it has no effect */
        return true;
    }
    jw_key(&v->w, row->name);
    setting_write(&set, row, &v->w);
    return true;
}

static void key(void *arg, const struct key_row *k)
{
    struct view *v = arg;
    key_write(&v->w, v->a, k);
}

static bool server(struct view *v, struct db *db, struct err *e)
{
    yyjson_val *server = json_get(v->file, "server"), *one;
    size_t i, max;
    jw_key(&v->w, "server");
    jw_object(&v->w);
    members(v, server, "api_keys");
    if (!setting_each(db, v->a, setting, v, e))
        return false;
    jw_key(&v->w, "api_keys");
    jw_array(&v->w);
    yyjson_arr_foreach (json_get(server, "api_keys"), i, max, one)
        jw_val(&v->w, one);
    if (!key_each(db, key, v, e))
        return false;
    jw_array_end(&v->w);
    jw_object_end(&v->w);
    return true;
}

bool change_view(struct control_call *c, yyjson_val **root, struct err *e)
{
    struct view v = {.c = c, .a = c->arena};
    struct buf b;
    struct str text;
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    if (c->control->config_path.n) {
        if (!read_file(v.a, c->control->config_path, &text, e) ||
            !jsonc_parse(v.a, jsonc_quote(v.a, text), &v.file, e))
            return false;
    }
    buf_init_arena(&b, v.a, SIZE_MAX / 4);
    v.w = jw_on(&b);
    jw_object(&v.w);
    if (!providers(&v, db, e) || !models(&v, db, e) || !server(&v, db, e))
        return false;
    yyjson_val *debug = json_get(v.file, "debug");
    if (debug) {
        jw_key(&v.w, "debug");
        jw_val(&v.w, debug);
    }
    jw_object_end(&v.w);
    return json_parse(v.a, buf_str(&b), 0, root, e);
}
