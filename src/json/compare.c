#include "json/compare.h"
#include "base/map.h"

const struct word json_fate_words[] = {{"kept", JSON_KEPT},
                                       {"mapped", JSON_MAPPED},
                                       {"dropped", JSON_DROPPED},
                                       {"added", JSON_ADDED},
                                       {0}};

struct leaf {
    struct str path, name, value; /* name: the last member of the path */
    struct leaf *next;            /* of the same value, not settled when the lists were made */
    struct leaf *twin;            /* in the other document */
    enum json_fate fate;
};
struct leaves {
    struct arena *a;
    struct leaf *v;
    size_t n, cap, max;
};

static bool add(struct leaves *l, struct str path, struct str name, yyjson_val *v)
{
    if (l->n == l->max)
        return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        l->v = arena_realloc(l->a, l->v, l->cap * sizeof *l->v, cap * sizeof *l->v);
        l->cap = cap;
    }
    l->v[l->n++] = (struct leaf){.path = path, .name = name, .value = json_text(l->a, v)};
    return true;
}

static bool gather(struct leaves *l, yyjson_val *v, struct str path, struct str name)
{
    size_t i, max;
    yyjson_val *k, *one;
    if (yyjson_is_ctn(v) && yyjson_get_len(v) > 0) {
        if (yyjson_is_arr(v)) {
            yyjson_arr_foreach (v, i, max, one)
                if (!gather(l, one, str_fmt(l->a, STR_FMT "[%zu]", STR_ARG(path), i), name))
                    return false;
            return true;
        }
        yyjson_obj_foreach (v, i, max, k, one) {
            struct str member = json_str(k);
            struct str at = str_fmt(l->a, STR_FMT "%s" STR_FMT, STR_ARG(path), path.n ? "." : "",
                                    STR_ARG(member));
            if (!gather(l, one, at, member))
                return false;
        }
        return true;
    }
    return add(l, path, name, v);
}

static void settle(struct leaf *x, struct leaf *y, enum json_fate fate)
{
    x->twin = y;
    y->twin = x;
    x->fate = y->fate = fate;
}

static void keep(struct leaves *from, struct leaves *to, struct map *by_path)
{
    for (size_t i = 0; i < to->n; i++)
        map_set(by_path, to->v[i].path, &to->v[i]);
    for (size_t i = 0; i < from->n; i++) {
        struct leaf *same = map_get(by_path, from->v[i].path);
        if (same && !same->twin && str_eq(same->value, from->v[i].value))
            settle(&from->v[i], same, JSON_KEPT);
    }
}

static bool is_telling(struct str value)
{
    return value.n > 3 && !str_is(value, "true") && !str_is(value, "false") &&
           !str_is(value, "null");
}

/* The same value elsewhere: under the same name first. */
static void follow(struct leaves *from, struct leaves *to)
{
    struct map by_value;
    map_init(&by_value);
    for (size_t i = to->n; i-- > 0;)
        if (!to->v[i].twin) {
            to->v[i].next = map_get(&by_value, to->v[i].value);
            map_set(&by_value, to->v[i].value, &to->v[i]);
        }
    for (size_t i = 0; i < from->n; i++) {
        struct leaf *x = &from->v[i], *found = NULL;
        if (x->twin)
            continue;
        size_t looked = 0;
        for (struct leaf *y = map_get(&by_value, x->value); y && looked < 1000; y = y->next) {
            looked++;
            if (y->twin)
                continue;
            if (str_eq(y->name, x->name)) {
                found = y;
                break;
            }
            found = found || !is_telling(x->value) ? found : y;
        }
        if (found)
            settle(x, found, JSON_MAPPED);
    }
    map_done(&by_value);
}

bool json_compare(struct arena *a, yyjson_val *from, yyjson_val *to, size_t max,
                  struct json_leaf **out, size_t *n)
{
    struct leaves x = {.a = a, .max = max}, y = {.a = a, .max = max};
    struct map by_path;
    if (!gather(&x, from, STR_NONE, STR_NONE) || !gather(&y, to, STR_NONE, STR_NONE))
        return false;
    map_init(&by_path);
    keep(&x, &y, &by_path);
    follow(&x, &y);
    for (size_t i = 0; i < x.n; i++) { /* another value at the same place */
        struct leaf *there = x.v[i].twin ? NULL : map_get(&by_path, x.v[i].path);
        if (there && !there->twin)
            settle(&x.v[i], there, JSON_MAPPED);
    }
    map_done(&by_path);
    *out = ARENA_ARRAY(a, struct json_leaf, x.n + y.n + 1);
    *n = 0;
    for (size_t i = 0; i < x.n; i++) {
        const struct leaf *l = &x.v[i];
        (*out)[(*n)++] = l->twin ? (struct json_leaf){(int)l->fate, l->path, l->twin->path}
                                 : (struct json_leaf){JSON_DROPPED, l->path, STR_NONE};
    }
    for (size_t i = 0; i < y.n; i++)
        if (!y.v[i].twin)
            (*out)[(*n)++] = (struct json_leaf){JSON_ADDED, STR_NONE, y.v[i].path};
    return true;
}
