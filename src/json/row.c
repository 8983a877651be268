/* row.c - parses a row of texts that resemble each other.
 * Two texts in turn whose trees differ in nothing but a few strings and numbers make a form: what they share, with holes. A text
 * that fits the form has the form's tree with other values in the holes, so only those are read. Any other text is parsed whole. */
#include "base/banned.h"
#include "json/json.h"

#define TEXT_MAX 1024 /* longer texts are parsed whole */
#define VALUES_MAX 96
#define HOLES_MAX 4
#define MISSES_MAX 32 /* texts without a fit until no form is looked for any more */

struct hole {
    unsigned value; /* index in the tree */
    size_t at, n;   /* of its text, quotes included */
};
struct filling {           /* of a hole, in the last text that fitted */
    struct str value, raw; /* of a string: as it is read, as it is written */
};

struct json_row {
    struct arena *arena;
    size_t n_text, n_values; /* of the last text that was parsed whole; n_text 0: none */
    unsigned n_holes, misses, n_fillings;
    bool is_form; /* the holes are known */
    struct hole holes[HOLES_MAX];
    struct filling fillings[HOLES_MAX];
    /* many streams wait at a time: no more room than their texts need */
    size_t text_cap, values_cap;
    char *text; /* as it came */
    /* what the parser made of it, with padding: the values point here */
    char *strings;
    yyjson_val *values;
};

struct json_row *json_row_new(struct arena *a)
{
    struct json_row *r = ARENA_NEW(a, struct json_row);
    r->arena = a;
    return r;
}

/* ---- fitting a text into the form ---- */

static size_t digits(struct str text) /* 0: no plain whole number that a hole takes */
{
    size_t n = 0;
    while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
        n++;
    return n > 1 && text.p[0] == '0' ? 0 : n;
}

static bool fill(struct arena *a, yyjson_val *v, struct str text, size_t *n)
{
    struct str value = text;
    if (yyjson_is_raw(v)) {
        *n = digits(text);
        value.n = *n;
    } else {
        *n = json_read_string(a, text, &value);
    }
    if (*n == 0)
        return false;
    v->tag = (v->tag & YYJSON_TYPE_MASK) | (uint64_t)value.n << YYJSON_TAG_BIT;
    v->uni.str = value.p;
    return true;
}

static yyjson_val *fit(struct json_row *r, struct arena *a, struct str text)
{
    size_t from = 0, at = 0, n; /* in the form, in the text */
    if (!r->is_form)
        return NULL;
    yyjson_val *values = arena_alloc(a, r->n_values * sizeof *values);
    memcpy(values, r->values, r->n_values * sizeof *values);
    for (unsigned i = 0; i < r->n_holes; i++) {
        const struct hole *hole = &r->holes[i];
        size_t shared = hole->at - from;
        if (text.n - at < shared || memcmp(text.p + at, r->text + from, shared) != 0)
            return NULL;
        at += shared;
        yyjson_val *v = &values[hole->value];
        if (!fill(a, v, str_skip(text, at), &n))
            return NULL;
        r->fillings[i] = (struct filling){0};
        if (yyjson_is_str(v))
            r->fillings[i] = (struct filling){str_n(v->uni.str, yyjson_get_len(v)),
                                              str_n(text.p + at + 1, n - 2)};
        at += n;
        from = hole->at + hole->n;
    }
    bool is_same = text.n - at == r->n_text - from &&
                   memcmp(text.p + at, r->text + from, text.n - at) == 0;
    if (is_same)
        r->n_fillings = r->n_holes;
    return is_same ? values : NULL;
}

struct str json_row_raw(const struct json_row *r, struct str value)
{
    for (unsigned i = 0; i < r->n_fillings; i++)
        if (r->fillings[i].value.p == value.p && r->fillings[i].value.n == value.n)
            return r->fillings[i].raw;
    return STR_NONE;
}

/* ---- finding the form ---- */

static bool is_key(struct str text, size_t behind)
{
    while (behind < text.n && (text.p[behind] == ' ' || text.p[behind] == '\n' ||
                               text.p[behind] == '\r' || text.p[behind] == '\t'))
        behind++;
    return behind < text.n && text.p[behind] == ':';
}

/* values: the tree of text, parsed in `strings`. Notes where they differ from those of the text before. */
static bool find_holes(struct json_row *r, struct str text, const char *strings,
                       const yyjson_val *values, size_t n_values)
{
    r->n_holes = 0;
    if (r->n_text == 0 || n_values != r->n_values)
        return false;
    for (size_t i = 0; i < n_values; i++) {
        const yyjson_val *v = &values[i], *old = &r->values[i];
        bool is_text = (v->tag & YYJSON_TYPE_MASK) == YYJSON_TYPE_STR;
        bool is_number = (v->tag & YYJSON_TYPE_MASK) == YYJSON_TYPE_RAW;
        if ((v->tag & YYJSON_TYPE_MASK) != (old->tag & YYJSON_TYPE_MASK))
            return false;
        if (!is_text && !is_number) {
            if (v->tag != old->tag ||
                ((v->tag & YYJSON_TYPE_MASK) >= YYJSON_TYPE_ARR && v->uni.ofs != old->uni.ofs))
                return false;
            continue;
        }
        size_t length = (size_t)(v->tag >> YYJSON_TAG_BIT);
        if (length == (size_t)(old->tag >> YYJSON_TAG_BIT) &&
            memcmp(v->uni.str, old->uni.str, length) == 0)
            continue;
        struct hole hole = {.value = (unsigned)i, .at = (size_t)(v->uni.str - strings) - is_text};
        struct str rest = str_skip(text, hole.at);
        hole.n = is_text ? json_read_string(NULL, rest, NULL) : digits(rest);
        if (hole.n == 0 || r->n_holes == HOLES_MAX || is_key(text, hole.at + hole.n) ||
            (is_number && hole.n != length))
            return false;
        r->holes[r->n_holes++] = hole;
    }
    return true;
}

static void make_room(struct json_row *r, size_t n_text, size_t n_values)
{
    if (n_text > r->text_cap) {
        r->text_cap = n_text + n_text / 2;
        r->text = arena_alloc(r->arena, 2 * r->text_cap + YYJSON_PADDING_SIZE);
        r->strings = r->text + r->text_cap;
    }
    if (n_values > r->values_cap) {
        r->values_cap = n_values + n_values / 2;
        r->values = arena_alloc(r->arena, r->values_cap * sizeof *r->values);
    }
}

static void keep(struct json_row *r, struct str text, const char *strings, const yyjson_val *values,
                 size_t n_values)
{
    make_room(r, text.n, n_values);
    r->n_text = text.n;
    r->n_values = n_values;
    memcpy(r->text, text.p, text.n);
    memcpy(r->strings, strings, text.n + YYJSON_PADDING_SIZE);
    for (size_t i = 0; i < n_values; i++) {
        uint8_t type = (uint8_t)(values[i].tag & YYJSON_TYPE_MASK);
        r->values[i] = values[i];
        if (type == YYJSON_TYPE_STR || type == YYJSON_TYPE_RAW)
            r->values[i].uni.str = r->strings + (values[i].uni.str - strings);
    }
}

bool json_row_parse(struct json_row *r, struct arena *a, struct str text, yyjson_val **root,
                    struct err *e)
{
    bool is_tried = r->misses < MISSES_MAX && text.n <= TEXT_MAX;
    r->n_fillings = 0;
    if (is_tried && (*root = fit(r, a, text))) {
        r->misses = 0;
        return true;
    }
    char *strings = NULL;
    if (is_tried) {
        strings = arena_alloc(a, text.n + YYJSON_PADDING_SIZE);
        if (text.n)
            memcpy(strings, text.p, text.n);
        memset(strings + text.n, 0, YYJSON_PADDING_SIZE);
    }
    /* a text that does not parse in place is parsed again, for where it is wrong */
    if (!strings || !json_parse_in_place(a, strings, text.n, root))
        return json_parse(a, text, 0, root, e);
    size_t n_values = (size_t)(unsafe_yyjson_get_next(*root) - *root);
    r->misses++;
    r->is_form = false;
    if (n_values > VALUES_MAX)
        return true;
    r->is_form = find_holes(r, text, strings, *root, n_values);
    keep(r, text, strings, *root, n_values);
    return true;
}
