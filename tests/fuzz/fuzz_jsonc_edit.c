/* An edit of a text with comments: what comes out parses, and is what the same edit of its values gives. */
#include "fuzz/fuzz.h"
#include "json/jsonc_edit.h"
#include "json/jsonc_place.h"

enum edit {
    SET,
    REMOVE,
    RENAME,
    N_EDITS
};
struct wish {
    enum edit what;
    const struct str *path;
    size_t n;
    yyjson_val *value; /* SET */
    struct str name;   /* RENAME */
};

static void write_edited(struct jw *w, yyjson_val *v, const struct wish *wish, size_t depth);

static void write_new(struct jw *w, const struct wish *wish, size_t depth)
{
    for (size_t i = depth; i < wish->n; i++) {
        jw_object(w);
        jw_key_str(w, wish->path[i]);
    }
    jw_val(w, wish->value);
    for (size_t i = depth; i < wish->n; i++)
        jw_object_end(w);
}

static void write_object(struct jw *w, yyjson_val *v, const struct wish *wish, size_t depth)
{
    size_t i, max;
    yyjson_val *k, *one;
    bool is_last = depth + 1 == wish->n, is_found = false;
    jw_object(w);
    yyjson_obj_foreach (v, i, max, k, one) {
        bool is_it = str_eq(json_str(k), wish->path[depth]);
        bool is_first = is_it && !is_found;
        is_found |= is_it;
        if (is_last && is_it && wish->what == REMOVE)
            continue;
        jw_key_str(w, is_last && is_first && wish->what == RENAME ? wish->name : json_str(k));
        if (is_last && is_first && wish->what == SET)
            jw_val(w, wish->value);
        else if (!is_last && is_first)
            write_edited(w, one, wish, depth + 1);
        else
            jw_val(w, one);
    }
    if (!is_found && wish->what == SET) {
        jw_key_str(w, wish->path[depth]);
        write_new(w, wish, depth + 1);
    }
    jw_object_end(w);
}

static void write_array(struct jw *w, yyjson_val *v, const struct wish *wish, size_t depth)
{
    size_t i, max;
    yyjson_val *one;
    int64_t at = -1;
    bool is_last = depth + 1 == wish->n;
    if (!str_to_int(wish->path[depth], &at))
        at = -1;
    jw_array(w);
    yyjson_arr_foreach (v, i, max, one) {
        bool is_it = (int64_t)i == at;
        if (is_last && is_it && wish->what == REMOVE)
            continue;
        if (is_last && is_it && wish->what == SET)
            jw_val(w, wish->value);
        else if (!is_last && is_it)
            write_edited(w, one, wish, depth + 1);
        else
            jw_val(w, one);
    }
    if (is_last && wish->what == SET && str_is(wish->path[depth], "-"))
        jw_val(w, wish->value);
    jw_array_end(w);
}

static void write_edited(struct jw *w, yyjson_val *v, const struct wish *wish, size_t depth)
{
    if (yyjson_is_obj(v))
        write_object(w, v, wish, depth);
    else if (yyjson_is_arr(v))
        write_array(w, v, wish, depth);
    else
        jw_val(w, v);
}

/* A way down the tree that the input chooses, at its end perhaps to what is not there. */
static size_t choose_path(struct arena *a, yyjson_val *v, struct str *input, struct str *path)
{
    size_t n = 0;
    while (n < 6 && yyjson_is_ctn(v)) {
        unsigned choice = take_byte(input);
        size_t len = yyjson_get_len(v), at = len ? choice % (len + 1) : 0;
        if (at >= len) {
            path[n++] = yyjson_is_arr(v) ? STR("-") : STR("n\"w\xc3\xa9");
            break;
        }
        yyjson_val *k = NULL, *one = NULL;
        if (yyjson_is_obj(v)) {
            size_t i, max;
            yyjson_val *key, *value;
            yyjson_obj_foreach (v, i, max, key, value) {
                if (i == at)
                    k = key;
            }
            path[n++] = json_str(k);
            one = json_find(v, path[n - 1].p, path[n - 1].n);
        } else {
            path[n++] = str_fmt(a, "%zu", at);
            one = yyjson_arr_get(v, at);
        }
        v = one;
        if (choice & 0x80)
            break;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const values[] = {
        "1", "\"a\\nb\"", "{\"x\":{\"y\":[1,2]},\"z\":[]}", "[{\"id\":1}]", "null", "{}"};
    struct arena *a = arena_new();
    struct str input = str_n((const char *)data, size), out = STR_NONE, path[8];
    struct err e = ERR_INIT;
    struct wish wish = {
        .what = (enum edit)(take_byte(&input) % N_EDITS), .path = path, .name = STR("r/n")};
    struct str value = str_of(values[take_byte(&input) % ARRAY_LEN(values)]),
               choices = str_first(input, 6);
    struct str text = exact_copy(a, str_skip(input, choices.n));
    yyjson_val *root, *now;
    if (jsonc_parse(a, jsonc_quote(a, text), &root, NULL) &&
        json_parse(a, value, 0, &wish.value, NULL) &&
        (wish.n = choose_path(a, root, &choices, path)) > 0) {
        bool ok = wish.what == SET      ? jsonc_set(a, text, path, wish.n, value, &out, &e)
                  : wish.what == REMOVE ? jsonc_remove(a, text, path, wish.n, &out, &e)
                                        : jsonc_rename(a, text, path, wish.n, wish.name, &out, &e);
        struct buf b;
        buf_init_arena(&b, a, SIZE_MAX / 4);
        struct jw w = jw_on(&b);
        write_edited(&w, root, &wish, 0);
        if (wish.what != RENAME)
            REQUIRE(ok, "refused: %s: " STR_FMT, e.message, STR_ARG(text));
        else
            out = ok ? out : text;
        REQUIRE(jsonc_parse(a, jsonc_quote(a, out), &now, &e), "%s: " STR_FMT, e.message,
                STR_ARG(out));
        yyjson_val *wanted; /* a new name may be one that is there */
        REQUIRE(jsonc_parse(a, buf_str(&b), &wanted, &e), "%s", e.message);
        REQUIRE(str_eq(json_text(a, now), json_text(a, wanted)) || !ok,
                "<" STR_FMT "> became <" STR_FMT ">", STR_ARG(text), STR_ARG(out));
    }
    arena_free(a);
    return 0;
}
