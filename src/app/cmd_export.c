/* cmd_export.c - sluice export: file and store written as one file that reproduces them. */
#include "app/cli.h"
#include "json/jsonc_place.h"
#include "base/banned.h"
#include "base/codec.h"
#include "domain/setting.h"
#include "domain/written.h"

struct exporter {
    struct cli *c;
    struct arena *a;
    struct config_sources *s;
    yyjson_val *root; /* of the file; NULL: none */
    struct buf body;  /* the text, without line breaks */
    struct jw w;
    struct strs_list *variables;
};
struct strs_list { /* placeholders that were written */
    struct strs_list *next;
    struct str text;
};

static bool is_reference(struct str s)
{
    return str_contains(s, STR("${")) || str_starts(s, STR("file:"));
}

/* ${SLUICE_KEY_<NAME>}: to be set before the file is used. */
static struct str placeholder(struct exporter *x, struct str provider)
{
    struct buf b;
    buf_init_arena(&b, x->a, 512);
    buf_lit(&b, "SLUICE_KEY_");
    for (size_t i = 0; i < provider.n; i++) {
        char ch = provider.p[i];
        bool is_word = (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z');
        buf_char(&b, ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : is_word ? ch : '_');
    }
    struct strs_list *v = ARENA_NEW(x->a, struct strs_list);
    *v = (struct strs_list){x->variables, buf_str(&b)};
    x->variables = v;
    return str_fmt(x->a, "${" STR_FMT "}", STR_ARG(v->text));
}

/* What is written for a provider's key. */
static struct str shown_secret(struct exporter *x, struct str provider, struct str text)
{
    return text.n == 0 || x->c->secrets || is_reference(text) ? text : placeholder(x, provider);
}

/* ---- what stands in the file: as it is, but for secrets ---- */

static void file_provider(struct exporter *x, struct str name, yyjson_val *entry)
{
    size_t i, max;
    yyjson_val *k, *v;
    jw_key_str(&x->w, name);
    jw_object(&x->w);
    yyjson_obj_foreach (entry, i, max, k, v) {
        jw_key_str(&x->w, json_str(k));
        if (str_is(json_str(k), "api_key") && yyjson_is_str(v))
            jw_str(&x->w, shown_secret(x, name, json_str(v)));
        else
            jw_val(&x->w, v);
    }
    jw_object_end(&x->w);
}

static void file_members(struct exporter *x, const char *section,
                         void (*write)(struct exporter *, struct str, yyjson_val *))
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (json_get(x->root, section), i, max, k, v) {
        if (write) {
            write(x, json_str(k), v);
            continue;
        }
        jw_key_str(&x->w, json_str(k));
        jw_val(&x->w, v);
    }
}

static bool is_in_file(const struct exporter *x, const char *section, struct str name)
{
    return yyjson_obj_getn(json_get(x->root, section), name.p, name.n) != NULL;
}

static void file_key(struct exporter *x, yyjson_val *entry)
{
    size_t i, max;
    yyjson_val *k, *v;
    jw_object(&x->w);
    yyjson_obj_foreach (entry, i, max, k, v) {
        if (str_is(json_str(k), "key") && yyjson_is_str(v) && !x->c->secrets &&
            !is_reference(json_str(v))) {
            uint8_t hash[SHA256_SIZE];
            char hex[2 * SHA256_SIZE];
            sha256(json_str(v), hash);
            hex_encode(hex, hash, sizeof hash);
            jw_kv_str(&x->w, "hash", str_fmt(x->a, "sha256:%.64s", hex));
            continue;
        }
        jw_key_str(&x->w, json_str(k));
        jw_val(&x->w, v);
    }
    jw_object_end(&x->w);
}

/* ---- what stands in the store ---- */

static bool store_providers(struct exporter *x, struct db *db, struct err *e)
{
    struct provider_row *p;
    if (!provider_list(db, x->a, &p, e))
        return false;
    for (; p; p = p->next) {
        struct secret key = {STR_NONE};
        if (is_in_file(x, "providers", p->name))
            continue;
        if (p->sealed_key.n && !seal_unwrap(&x->s->seal, x->a, p->sealed_key, p->name, &key, e))
            return false;
        jw_key_str(&x->w, p->name);
        provider_write(&x->w, p, shown_secret(x, p->name, secret_reveal(key)));
    }
    return true;
}

static bool store_models(struct exporter *x, struct db *db, struct err *e)
{
    struct model_row *m;
    if (!model_list(db, x->a, &m, e))
        return false;
    for (; m; m = m->next) {
        if (is_in_file(x, "models", m->name))
            continue;
        jw_key_str(&x->w, m->name);
        model_write(&x->w, m);
    }
    return true;
}

static bool store_setting(void *arg, struct str name, struct str value, struct err *e)
{
    struct exporter *x = arg;
    const struct setting *row = setting_find(name);
    struct settings set;
    settings_default(&set);
    if (!row || is_in_file(x, "server", name) || !setting_set(&set, row, value, e)) {
        err_clear(e); /* of another version: it has no effect here either */
        return true;
    }
    jw_key(&x->w, row->name);
    setting_write(&set, row, &x->w);
    return true;
}

static void store_key(void *arg, const struct key_row *k)
{
    struct exporter *x = arg;
    key_write(&x->w, x->a, k);
}

static bool server(struct exporter *x, struct db *db, struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v, *in_file = json_get(x->root, "server");
    jw_object(&x->w);
    yyjson_obj_foreach (in_file, i, max, k, v) {
        if (str_is(json_str(k), "api_keys") || str_is(json_str(k), "api_key"))
            continue;
        jw_key_str(&x->w, json_str(k));
        jw_val(&x->w, v);
    }
    if (!setting_each(db, x->a, store_setting, x, e))
        return false;
    jw_key(&x->w, "api_keys");
    jw_array(&x->w);
    yyjson_arr_foreach (json_get(in_file, "api_keys"), i, max, v)
        file_key(x, v);
    struct str legacy = json_get_str(in_file, "api_key");
    if (legacy.n && yyjson_arr_size(json_get(in_file, "api_keys")) == 0) {
        yyjson_val *entry;
        struct buf b;
        buf_init_arena(&b, x->a, 65536);
        struct jw w = jw_on(&b);
        jw_object(&w);
        jw_kv_cstr(&w, "id", "default");
        jw_kv_str(&w, "key", legacy);
        jw_object_end(&w);
        if (!json_parse(x->a, buf_str(&b), 4, &entry, e))
            return false;
        file_key(x, entry);
    }
    if (!key_each(db, store_key, x, e))
        return false;
    jw_array_end(&x->w);
    jw_object_end(&x->w);
    return true;
}

/* ---- the whole ---- */

static bool write_all(struct exporter *x, struct db *db, struct err *e)
{
    buf_init_arena(&x->body, x->a, SIZE_MAX / 2);
    x->w = jw_on(&x->body);
    jw_object(&x->w);
    jw_key(&x->w, "providers");
    jw_object(&x->w);
    file_members(x, "providers", file_provider);
    if (!store_providers(x, db, e))
        return false;
    jw_object_end(&x->w);
    jw_key(&x->w, "models");
    jw_object(&x->w);
    file_members(x, "models", NULL);
    if (!store_models(x, db, e))
        return false;
    jw_object_end(&x->w);
    jw_key(&x->w, "server");
    if (!server(x, db, e))
        return false;
    jw_object_end(&x->w);
    return !buf_failed(&x->body) ||
           err_set(e, ERR_TOO_LARGE, "too_large", "the configuration is too large");
}

static bool print_pretty(struct arena *a, struct str json, struct err *e)
{
    yyjson_val *root;
    size_t n;
    if (!json_parse(a, json, 0, &root, e))
        return false;
    char *text = yyjson_val_write_opts(root, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL, &n, NULL);
    if (!text)
        return err_set(e, ERR_INTERNAL, "write_failed", "cannot write the configuration");
    (void)printf("%.*s\n", (int)n, text);
    free(text);
    return true;
}

static bool read_file(struct exporter *x, struct err *e)
{
    struct str text, filled;
    struct buf b;
    FILE *f = x->s->file ? fopen(x->s->file, "re") : NULL;
    if (!x->s->file)
        return true;
    if (!f)
        return err_errno(e, "cannot read", x->s->file);
    char piece[65536];
    buf_init_arena(&b, x->a, 64u << 20);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(&b, piece, n);
    (void)fclose(f);
    text = buf_str(&b);
    return jsonc_fill(x->a, x->s->file, text, &filled, e) && jsonc_parse(x->a, filled, &x->root, e);
}

int cmd_export(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct exporter x = {.c = c, .a = c->arena, .s = &s};
    struct snapshot *snap;
    struct db *db = cli_store(c, &s, &e);
    bool ok = db && config_load(&s, &snap, &e); /* what does not load is not worth writing down */
    if (ok)
        snapshot_unref(snap);
    ok = ok && read_file(&x, &e) && write_all(&x, db, &e);
    db_close(db);
    state_close(&s);
    if (!ok)
        return cli_fail(&e);
    (void)printf("// written by sluice export\n");
    for (const struct strs_list *v = x.variables; v; v = v->next)
        (void)printf("// set the environment variable " STR_FMT " before it is used\n",
                     STR_ARG(v->text));
    return print_pretty(c->arena, buf_str(&x.body), &e) ? 0 : cli_fail(&e);
}
