#include "json/compare.h"
#include "base/map.h"

const struct word json_fate_words[] = {
    {"kept", JSON_KEPT},   {"mapped", JSON_MAPPED},         {"dropped", JSON_DROPPED},
    {"added", JSON_ADDED}, {"uncompared", JSON_UNCOMPARED}, {0}};

#define MAX_KINDS 64             /* of things that are said differently */
#define MIN_PART 12              /* bytes of a text that is looked for within others */
#define MAX_SEARCHED (64u << 20) /* bytes */

struct leaf {
    struct str path, plain, name; /* plain: the path without indices; name: its last member */
    struct str value, text;       /* as JSON; what a string says */
    const struct json_kin *kin;   /* NULL: none */
    struct leaf *next;            /* of the same value, not settled when the lists were made */
    struct leaf *twin;            /* in the other document */
    struct leaf *host;            /* in whose text it stands; NULL: in the document itself */
    bool is_host;                 /* something in its text has a twin */
    enum json_fate fate;
};
struct leaves {
    struct arena *a;
    struct leaf *v;
    size_t n, cap, max;
};
struct spot {
    struct str path, plain, name;
};

static bool add(struct leaves *l, struct leaf leaf)
{
    if (l->n == l->max)
        return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        l->v = arena_realloc(l->a, l->v, l->cap * sizeof *l->v, cap * sizeof *l->v);
        l->cap = cap;
    }
    l->v[l->n++] = leaf;
    return true;
}

static struct str below(struct arena *a, struct str path, struct str member)
{
    return str_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(path), path.n ? "." : "", STR_ARG(member));
}

static bool gather(struct leaves *l, yyjson_val *v, struct spot at, struct leaf *host)
{
    size_t i, max;
    yyjson_val *k, *one;
    if (!yyjson_is_ctn(v) || yyjson_get_len(v) == 0)
        return add(l, (struct leaf){.path = at.path,
                                    .plain = at.plain,
                                    .name = at.name,
                                    .value = json_text(l->a, v),
                                    .text = json_str(v),
                                    .host = host});
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach (v, i, max, one) {
            struct spot in = at;
            in.path = str_fmt(l->a, STR_FMT "[%zu]", STR_ARG(at.path), i);
            if (!gather(l, one, in, host))
                return false;
        }
        return true;
    }
    yyjson_obj_foreach (v, i, max, k, one) {
        struct str member = json_str(k);
        struct spot in = {below(l->a, at.path, member), below(l->a, at.plain, member), member};
        if (!gather(l, one, in, host))
            return false;
    }
    return true;
}

static void settle(struct leaf *x, struct leaf *y, enum json_fate fate)
{
    x->twin = y;
    y->twin = x;
    x->fate = y->fate = fate;
    if (x->host)
        x->host->is_host = true;
    if (y->host)
        y->host->is_host = true;
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

/* ---- what says the same ---- */

static bool fits(struct str place, const struct leaf *x)
{
    if (str_starts(place, STR("^")))
        return str_eq(str_skip(place, 1), x->plain);
    if (str_ends(place, STR(".*"))) {
        struct str root = str_first(place, place.n - 2);
        return str_starts(x->plain, root) && (x->plain.n == root.n || x->plain.p[root.n] == '.');
    }
    return str_ends(x->plain, place) &&
           (x->plain.n == place.n || x->plain.p[x->plain.n - place.n - 1] == '.');
}

static void relate(struct leaves *l, const struct json_kin *kin)
{
    for (size_t i = 0; i < l->n; i++)
        for (const struct json_kin *k = kin; k && k->place && !l->v[i].kin; k++)
            if (fits(str_of(k->place), &l->v[i]) &&
                (!k->value || str_eq(str_of(k->value), l->v[i].value)))
                l->v[i].kin = k;
}

static bool is_telling(struct str value)
{
    return value.n > 3 && !str_is(value, "true") && !str_is(value, "false") &&
           !str_is(value, "null");
}

/* How sure it is that the equal values of both are the same thing; 0: not at all. */
static int likeness(const struct leaf *x, const struct leaf *y)
{
    if (x->kin && y->kin)
        return x->kin->what == y->kin->what ? 3 : 0;
    if (str_eq(x->name, y->name))
        return 2;
    return is_telling(x->value) ? 1 : 0;
}

/* The same value elsewhere. */
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
        int best = 0;
        if (x->twin)
            continue;
        size_t looked = 0;
        for (struct leaf *y = map_get(&by_value, x->value); y && looked < 1000 && best < 3;
             y = y->next, looked++) {
            int like = y->twin ? 0 : likeness(x, y);
            if (like > best) {
                best = like;
                found = y;
            }
        }
        if (found)
            settle(x, found, JSON_MAPPED);
    }
    map_done(&by_value);
}

/* The same thing said with another value, the first with the first. */
static void match(struct leaves *from, struct leaves *to)
{
    size_t next[MAX_KINDS] = {0};
    for (size_t i = 0; i < from->n; i++) {
        struct leaf *x = &from->v[i];
        if (x->twin || x->is_host || !x->kin || !x->kin->differs || x->kin->what >= MAX_KINDS)
            continue;
        size_t *k = &next[x->kin->what];
        while (*k < to->n && (to->v[*k].twin || to->v[*k].is_host || !to->v[*k].kin ||
                              to->v[*k].kin->what != x->kin->what))
            ++*k;
        if (*k < to->n)
            settle(x, &to->v[*k], JSON_MAPPED);
    }
}

/* ---- within texts ---- */

static bool add_piece(struct leaves *in, struct leaf *host, struct str piece)
{
    return add(in, (struct leaf){.path = host->path,
                                 .plain = host->plain,
                                 .value = str_fmt(in->a, "\"" STR_FMT "\"", STR_ARG(piece)),
                                 .host = host});
}

/* data:image/png;base64,iVBO… */
static bool unfold_url(struct leaves *in, struct leaf *host)
{
    struct str type, coding, data = str_cut(str_skip(host->text, 5), ',', &type);
    coding = str_cut(type, ';', &type);
    return add_piece(in, host, type) && add_piece(in, host, coding) && add_piece(in, host, data);
}

/* What texts that nothing is known of say, where they are JSON or data: URLs. */
static void unfold(struct leaves *l, struct leaves *in)
{
    bool is_room = true;
    for (size_t i = 0; i < l->n && is_room; i++) {
        struct leaf *x = &l->v[i];
        struct err e = ERR_INIT;
        yyjson_val *root;
        if (x->twin || x->text.n < 2)
            continue;
        bool is_json = (x->text.p[0] == '{' || x->text.p[0] == '[') &&
                       json_parse(l->a, x->text, 0, &root, &e) && yyjson_is_ctn(root);
        struct spot at = {x->path, x->plain, x->name};
        if (is_json)
            is_room = gather(in, root, at, x);
        else if (str_starts(x->text, STR("data:")))
            is_room = unfold_url(in, x);
    }
}

/* A longer text is part of one on the other side, as where several were joined. */
static void contain(struct leaves *from, struct leaves *to)
{
    size_t left = MAX_SEARCHED;
    for (size_t i = 0; i < from->n; i++) {
        struct leaf *x = &from->v[i];
        if (x->twin || x->is_host || x->text.n < MIN_PART)
            continue;
        for (size_t k = 0; k < to->n && !x->twin; k++) {
            struct leaf *y = &to->v[k];
            if (y->twin || y->text.n <= x->text.n)
                continue;
            if (left < y->text.n)
                return;
            left -= y->text.n;
            if (!str_contains(y->text, x->text))
                continue;
            struct leaf *part = ARENA_NEW(from->a, struct leaf);
            *part = (struct leaf){.path = y->path, .host = y};
            settle(x, part, JSON_MAPPED);
        }
    }
}

/* ---- what was left out ---- */

/* "tools.strict" is at tools.function.strict, too. */
static bool is_at(struct str name, struct str plain)
{
    struct str segment, member;
    while (name.n) {
        name = str_cut(name, '.', &segment);
        do {
            if (plain.n == 0)
                return false;
            plain = str_cut(plain, '.', &member);
        } while (!str_eq(member, segment));
    }
    return true;
}

static bool was_dropped(const struct json_compare *how, const struct leaf *x)
{
    for (size_t i = 0; i < how->n_dropped; i++) {
        struct str name = how->dropped[i];
        bool is_place = str_index(name, '[') < name.n;
        if (is_place ? str_starts(x->path, name) : name.n && is_at(name, x->plain))
            return true;
    }
    return false;
}

static struct json_leaf told(const struct json_compare *how, const struct leaf *x)
{
    if (!x->twin)
        return (struct json_leaf){was_dropped(how, x) ? JSON_DROPPED : JSON_UNCOMPARED, x->path,
                                  STR_NONE};
    const struct leaf *there = x->twin->host ? x->twin->host : x->twin;
    return (struct json_leaf){(int)x->fate, x->path, there->path};
}

bool json_compare(struct arena *a, yyjson_val *from, yyjson_val *to, const struct json_compare *how,
                  struct json_leaf **out, size_t *n)
{
    struct leaves x = {.a = a, .max = how->max}, y = x, in_x = x, in_y = x;
    struct spot root = {STR_NONE, STR_NONE, STR_NONE};
    struct map by_path;
    if (!gather(&x, from, root, NULL) || !gather(&y, to, root, NULL))
        return false;
    relate(&x, how->kin);
    relate(&y, how->kin);
    map_init(&by_path);
    keep(&x, &y, &by_path);
    follow(&x, &y);
    unfold(&y, &in_y);
    follow(&x, &in_y);
    unfold(&x, &in_x);
    follow(&in_x, &y);
    contain(&x, &y);
    contain(&y, &x);
    match(&x, &y);
    for (size_t i = 0; i < x.n; i++) { /* another value at the same place */
        struct leaf *there = x.v[i].twin || x.v[i].is_host ? NULL : map_get(&by_path, x.v[i].path);
        if (there && !there->twin && !there->is_host &&
            (!there->kin || !x.v[i].kin || there->kin->what == x.v[i].kin->what))
            settle(&x.v[i], there, JSON_MAPPED);
    }
    map_done(&by_path);
    *out = ARENA_ARRAY(a, struct json_leaf, x.n + y.n + 1);
    *n = 0;
    for (size_t i = 0; i < x.n; i++)
        if (x.v[i].twin || !x.v[i].is_host)
            (*out)[(*n)++] = told(how, &x.v[i]);
    for (size_t i = 0; i < y.n; i++)
        if (y.v[i].twin && y.v[i].twin->host)
            (*out)[(*n)++] = (struct json_leaf){JSON_MAPPED, y.v[i].twin->host->path, y.v[i].path};
    for (size_t i = 0; i < y.n; i++)
        if (!y.v[i].twin && !y.v[i].is_host)
            (*out)[(*n)++] = (struct json_leaf){JSON_ADDED, STR_NONE, y.v[i].path};
    return true;
}
