/* cmd_export.c - sluice export: file and store written as one file that reproduces them. Exported again from that file it is the same
 * text. */
#include "api/config_state.h"
#include "app/cli.h"
#include "base/banned.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/placeholder.h"
#include "domain/written.h"
#include "json/jsonc_place.h"

#define MAX_FILE (64u << 20)
#define MAX_DEPTH 8
#define PREFIX "SLUICE_"

struct exporter {
    struct cli *c;
    struct arena *a;
    struct config_sources *s;
    struct buf body; /* the text, without line breaks */
    struct jw w;
    struct map variables; /* names that stand in it */
};

static bool is_reference(struct str s)
{
    return placeholder_is_in(s) || str_starts(s, STR("file:"));
}

static void add_word(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        bool is_word = (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z');
        buf_char(b, ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : is_word ? ch : '_');
    }
}

/* ${SLUICE_KEY_<NAME>}: to be set before the file is used. Names that read alike get a number. */
static struct str placeholder(struct exporter *x, const char *what, struct str of)
{
    struct buf b;
    buf_init_arena(&b, x->a, 4096);
    buf_fmt(&b, PREFIX "%s", what);
    add_word(&b, of);
    struct str base = buf_str(&b), name = base;
    for (int n = 2; map_get(&x->variables, name); n++)
        name = str_fmt(x->a, STR_FMT "_%d", STR_ARG(base), n);
    map_set(&x->variables, name, x);
    return str_fmt(x->a, "${" STR_FMT "}", STR_ARG(name));
}

/* Those of an export before this one are not given twice. */
static void note_variables(struct exporter *x, struct str text)
{
    struct str name;
    size_t at = 0;
    for (; (at = placeholder_find(text, at, &name)) < text.n; at += name.n + 3)
        if (name.n)
            map_set(&x->variables, str_dup(x->a, name), x);
}

static bool ends_in(struct str name, const char *end)
{
    size_t n = strlen(end);
    return name.n >= n && str_eq_nocase(str_skip(name, name.n - n), str_of(end));
}

/* ---- values, of which some are secret by where they stand ---- */

static void write_value(struct exporter *x, yyjson_val *v, const struct str *path, size_t depth);

static void write_key_hash(struct exporter *x, struct str text)
{
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE];
    sha256(text, hash);
    hex_encode(hex, hash, sizeof hash);
    jw_kv_str(&x->w, "hash", str_fmt(x->a, "sha256:%.64s", hex));
}

/* What takes the place of a secret; STR_NONE: it is none. */
static struct str cover_of(struct exporter *x, const struct str *path, size_t depth,
                           struct str text)
{
    if (x->c->secrets || text.n == 0 || is_reference(text))
        return STR_NONE;
    struct str last = path[depth - 1];
    bool is_url_with_password = str_contains(text, STR("://")) && str_contains(text, STR("@"));
    if (depth == 3 && str_is(path[0], "providers")) {
        if (str_is(last, "api_key"))
            return placeholder(x, "KEY_", path[1]);
        if (str_is(last, "proxy") && is_url_with_password)
            return placeholder(x, "PROXY_OF_", path[1]);
    }
    if (depth == 4 && str_is(path[0], "providers") && str_is(path[2], "headers") &&
        secret_may_be_header(last, text))
        return placeholder(x, "HEADER_",
                           str_fmt(x->a, STR_FMT "_" STR_FMT, STR_ARG(path[1]), STR_ARG(last)));
    if (depth == 2 && str_is(path[0], "server") && ends_in(last, "password"))
        return placeholder(x, "GIVEN_", last);
    if (depth == 3 && str_is(path[0], "proxies") && str_is(last, "url") && is_url_with_password)
        return placeholder(x, "PROXY_", path[1]);
    if (depth == 2 && str_is(path[0], "server") && str_is(last, "proxy") && is_url_with_password)
        return placeholder(x, "GIVEN_", last);
    return STR_NONE;
}

static void write_member(struct exporter *x, yyjson_val *k, yyjson_val *v, struct str *path,
                         size_t depth)
{
    bool is_key = depth == 3 && str_is(path[0], "server") && str_is(path[1], "api_keys");
    struct str text = json_str(v);
    path[depth] = json_str(k);
    if (is_key && str_is(path[depth], "key") && text.n && !x->c->secrets && !is_reference(text)) {
        write_key_hash(x, text);
        return;
    }
    /* the same key in another form */
    if (is_key && str_is(path[depth], "sealed") && !x->c->secrets)
        return;
    jw_key_str(&x->w, path[depth]);
    write_value(x, v, path, depth + 1);
}

static void write_value(struct exporter *x, yyjson_val *v, const struct str *path, size_t depth)
{
    size_t i, max;
    yyjson_val *k, *one;
    struct str here[MAX_DEPTH + 1];
    if (depth >= MAX_DEPTH || !yyjson_is_ctn(v)) {
        struct str cover = yyjson_is_str(v) && depth > 0 && depth < MAX_DEPTH
                               ? cover_of(x, path, depth, json_str(v))
                               : STR_NONE;
        cover.p ? jw_str(&x->w, cover) : jw_val(&x->w, v);
        return;
    }
    if (depth)
        memcpy(here, path, depth * sizeof *here);
    if (yyjson_is_arr(v)) {
        jw_array(&x->w);
        yyjson_arr_foreach (v, i, max, one) {
            here[depth] = STR("[]");
            write_value(x, one, here, depth + 1);
        }
        jw_array_end(&x->w);
        return;
    }
    jw_object(&x->w);
    yyjson_obj_foreach (v, i, max, k, one)
        write_member(x, k, one, here, depth);
    jw_object_end(&x->w);
}

/* ---- the whole ---- */

/* server.api_key alone, llm-rosetta's old way, becomes the first of server.api_keys: keys of the store may follow it. */
static bool with_legacy_key(struct exporter *x, yyjson_val *file, yyjson_val **root, struct err *e)
{
    yyjson_val *server = json_get(*root, "server"), *k, *v, *one;
    struct str legacy = json_get_str(server, "api_key");
    struct buf b;
    size_t i, max, j, n;
    bool is_only = yyjson_arr_size(json_get(json_get(file, "server"), "api_keys")) == 0;
    if (!legacy.n)
        return true;
    buf_init_arena(&b, x->a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (*root, i, max, k, v) {
        jw_key_str(&w, json_str(k));
        if (v != server) {
            jw_val(&w, v);
            continue;
        }
        yyjson_val *name, *value;
        jw_object(&w);
        yyjson_obj_foreach (v, j, n, name, value) {
            if (str_is(json_str(name), "api_key"))
                continue;
            jw_key_str(&w, json_str(name));
            if (!str_is(json_str(name), "api_keys")) {
                jw_val(&w, value);
                continue;
            }
            size_t at, count;
            jw_array(&w);
            if (is_only) {
                jw_object(&w);
                jw_kv_cstr(&w, "id", "default");
                jw_kv_str(&w, "key", legacy);
                jw_kv_cstr(&w, "label", "default");
                jw_object_end(&w);
            }
            yyjson_arr_foreach (value, at, count, one)
                jw_val(&w, one);
            jw_array_end(&w);
        }
        jw_object_end(&w);
    }
    jw_object_end(&w);
    return json_parse(x->a, buf_str(&b), 0, root, e);
}

/* What the store holds is text as it is: where the file would take ${ for a reference, it is written as none. */
static void write_text_of_store(struct exporter *x, struct jw *w, yyjson_val *v,
                                const struct str *path, size_t depth)
{
    size_t i, max;
    yyjson_val *k, *one;
    struct str here[MAX_DEPTH + 1];
    if (yyjson_is_str(v) && written_may_refer(path, depth)) {
        jw_str(w, placeholder_escape(x->a, json_str(v)));
        return;
    }
    if (depth >= MAX_DEPTH || !yyjson_is_ctn(v)) {
        jw_val(w, v);
        return;
    }
    if (depth)
        memcpy(here, path, depth * sizeof *here);
    if (yyjson_is_arr(v)) {
        here[depth] = STR("[]");
        jw_array(w);
        yyjson_arr_foreach (v, i, max, one)
            write_text_of_store(x, w, one, here, depth + 1);
        jw_array_end(w);
        return;
    }
    jw_object(w);
    yyjson_obj_foreach (v, i, max, k, one) {
        here[depth] = json_str(k);
        jw_key_str(w, here[depth]);
        write_text_of_store(x, w, one, here, depth + 1);
    }
    jw_object_end(w);
}

static bool store_as_written(struct exporter *x, yyjson_val **store, struct err *e)
{
    struct buf b;
    buf_init_arena(&b, x->a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    write_text_of_store(x, &w, *store, NULL, 0);
    return json_parse(x->a, buf_str(&b), 0, store, e);
}

static bool read_all(struct exporter *x, struct db *db, yyjson_val **root, struct err *e)
{
    struct config_state state = {.text = STR_NONE};
    struct str text, filled;
    if (x->s->file) {
        if (!file_read(x->a, x->s->file, MAX_FILE, &text, e) ||
            !jsonc_fill(x->a, x->s->file, text, &filled, e) ||
            !config_file_values(x->a, x->s->file, filled, &state.file, e))
            return false;
    }
    return config_store_values(x->a, &x->s->seal, db, &state.store, e) &&
           store_as_written(x, &state.store, e) && config_merged(x->a, &state, db, root, e) &&
           with_legacy_key(x, state.file, root, e);
}

static void print_variables(struct exporter *x, struct str text)
{
    struct map said;
    map_init(&said);
    struct str name;
    size_t at = 0;
    for (; (at = placeholder_find(text, at, &name)) < text.n; at += name.n + 3) {
        if (!str_starts(name, STR(PREFIX)) || map_get(&said, name))
            continue;
        map_set(&said, name, x);
        (void)printf("// set the environment variable " STR_FMT " before it is used\n",
                     STR_ARG(name));
    }
    map_done(&said);
}

static bool print_pretty(struct exporter *x, struct err *e)
{
    yyjson_val *root;
    size_t n;
    struct str json = buf_str(&x->body);
    if (buf_failed(&x->body))
        return err_set(e, ERR_TOO_LARGE, "too_large", "the configuration is too large");
    if (!json_parse(x->a, json, 0, &root, e))
        return false;
    char *text = yyjson_val_write_opts(root, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL, &n, NULL);
    if (!text)
        return err_set(e, ERR_INTERNAL, "write_failed", "cannot write the configuration");
    (void)printf("// written by sluice export\n");
    print_variables(x, json);
    (void)printf("%.*s\n", (int)n, text);
    free(text);
    return true;
}

int cmd_export(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct exporter x = {.c = c, .a = c->arena, .s = &s};
    struct snapshot *snap;
    yyjson_val *root;
    struct db *db = cli_store(c, &s, &e);
    bool ok = db && config_load(&s, &snap, &e); /* what does not load is not worth writing down */
    if (ok)
        snapshot_unref(snap);
    map_init(&x.variables);
    buf_init_arena(&x.body, x.a, SIZE_MAX / 2);
    x.w = jw_on(&x.body);
    if (ok && (ok = read_all(&x, db, &root, &e))) {
        note_variables(&x, json_text(x.a, root));
        write_value(&x, root, NULL, 0);
        ok = print_pretty(&x, &e);
    }
    map_done(&x.variables);
    db_close(db);
    state_close(&s);
    return ok ? 0 : cli_fail(&e);
}
