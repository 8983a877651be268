/* page.c - lists of the control plane in pages: by key, filtered and sorted by the fields of what is listed. For lists that lie in memory;
 * those of the store page by their index, and share the form of the answer only. */
#include "api/control.h"
#include "base/clock.h"
#include "base/codec.h"
#include <stdlib.h>

#define USUAL_LIMIT 1000

struct plain_query {
    struct page_query page;
};
const struct shape page_query_shape = SHAPE_STRICT(struct plain_query,
                                                   PAGE_FIELDS(struct plain_query));

static void write_page(struct control_call *c, const struct shape *s, const void *const *v,
                       size_t n, struct str next)
{
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "data");
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        shape_write(s, v[i], &w);
    jw_array_end(&w);
    jw_kv_bool(&w, "has_more", next.p != NULL);
    jw_key(&w, "next");
    next.p ? jw_str(&w, next) : jw_null(&w);
    jw_object_end(&w);
}

bool control_reply_page(struct control_call *c, const struct shape *s, const void *first, size_t n,
                        struct str next)
{
    const void **v = ARENA_ARRAY(c->arena, const void *, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = (const char *)first + i * s->size;
    write_page(c, s, v, n, next);
    return true;
}

static const struct field *field_of(const struct shape *s, struct str name)
{
    for (size_t i = 0; s && i < s->n_fields; i++)
        if (str_eq(name, str_of(s->fields[i].name)))
            return &s->fields[i];
    return NULL;
}

static const void *member(const void *value, const struct field *f)
{
    return (const char *)value + f->offset;
}

/* What was asked for by this name; NULL: it was not. */
static const void *asked(const struct control_call *c, const char *name)
{
    const struct field *f = field_of(c->row->query, str_of(name));
    return f && (c->asked_present >> (f - c->row->query->fields) & 1) ? member(c->asked, f) : NULL;
}

static struct str asked_text(const struct control_call *c, const char *name)
{
    const struct str *s = asked(c, name);
    return s ? *s : STR_NONE;
}

static int order(struct str x, struct str y)
{
    size_t n = x.n < y.n ? x.n : y.n;
    int by_bytes = n ? memcmp(x.p, y.p, n) : 0;
    return by_bytes ? by_bytes : x.n < y.n ? -1 : x.n > y.n;
}

/* A field as text that sorts as the field does. */
static struct str sortable(struct arena *a, const void *value, const struct field *f)
{
    switch (f->kind) {
    case SHAPE_STR:
        return *(const struct str *)member(value, f);
    case SHAPE_BOOL:
        return *(const bool *)member(value, f) ? STR("1") : STR("0");
    case SHAPE_ENUM:
        return str_of(word_text(f->words, *(const int *)member(value, f), ""));
    case SHAPE_INT64: { /* the sign turned, so that negative ones come first */
        uint64_t n = (uint64_t) * (const int64_t *)member(value, f) ^ (1ull << 63);
        return str_fmt(a, "%016llx", (unsigned long long)n);
    }
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_DOUBLE:
    case SHAPE_STRS:
    case SHAPE_JSON:
    case SHAPE_OBJECT:
    case SHAPE_LIST:
        break;
    }
    return STR_NONE;
}

static bool can_sort(const struct field *f)
{
    return f->kind == SHAPE_STR || f->kind == SHAPE_BOOL || f->kind == SHAPE_INT64 ||
           f->kind == SHAPE_ENUM;
}

struct ranked {
    const void *value; /* NULL: to be made again */
    size_t at;         /* in the list */
    struct str by, key;
};

static int compare(const void *x, const void *y, void *is_down)
{
    const struct ranked *a = x, *b = y;
    int n = order(a->by, b->by);
    if (n == 0)
        n = order(a->key, b->key);
    return *(const bool *)is_down ? -n : n;
}

static bool is_in(const struct strs *list, struct str one)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->v[i], one))
            return true;
    return false;
}

/* Each member of the query that has the name of a field must be what the field is, or in it. */
static bool fits(const struct control_call *c, const struct shape *s, const void *value)
{
    const struct shape *q = c->row->query;
    for (size_t i = 0; i < q->n_fields; i++) {
        const struct field *f = field_of(s, str_of(q->fields[i].name));
        if (!f || !(c->asked_present >> i & 1))
            continue;
        const void *want = member(c->asked, &q->fields[i]), *has = member(value, f);
        if (f->kind == SHAPE_BOOL && *(const bool *)want != *(const bool *)has)
            return false;
        if (f->kind == SHAPE_STR && !str_eq(*(const struct str *)want, *(const struct str *)has))
            return false;
        if (f->kind == SHAPE_ENUM && *(const int *)want != *(const int *)has)
            return false;
        if (f->kind == SHAPE_STRS && !is_in(has, *(const struct str *)want))
            return false;
    }
    struct str part = asked_text(c, "q");
    if (!part.n)
        return true;
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].kind == SHAPE_STR &&
            str_holds_nocase(*(const struct str *)member(value, &s->fields[i]), part))
            return true;
    return false;
}

struct order {
    const struct field *by;
    bool is_down, is_by_key;
};

/* The place behind which the page begins: where the sorting is by the key alone, the key itself; else with how it was sorted. */
static struct str cursor_of(struct arena *a, const struct ranked *r, const struct order *o)
{
    struct buf b;
    if (o->is_by_key)
        return r->key;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    jw_str(&w, r->by);
    jw_str(&w, r->key);
    jw_str(&w, str_of(o->by->name));
    jw_bool(&w, o->is_down);
    jw_array_end(&w);
    return base64_encode(a, buf_str(&b));
}

static bool read_cursor(struct arena *a, struct str text, const struct order *o, struct ranked *out,
                        struct err *e)
{
    yyjson_val *v = NULL;
    struct str json;
    bool is_sorted = text.n && base64_decode(a, text, &json) && json_parse(a, json, 4, &v, NULL) &&
                     yyjson_arr_size(v) == 4;
    *out = (struct ranked){.by = text, .key = text};
    if (!text.n || (o->is_by_key && !is_sorted))
        return true;
    if (!is_sorted || !str_eq(json_str(yyjson_arr_get(v, 2)), str_of(o->by->name)) ||
        yyjson_is_true(yyjson_arr_get(v, 3)) != o->is_down)
        return err_field(e, "after", "'after' is not the next of a page sorted like this one");
    out->by = json_str(yyjson_arr_get(v, 0));
    out->key = json_str(yyjson_arr_get(v, 1));
    return true;
}

static bool read_sort(const struct control_call *c, const struct shape *s, const struct field *key,
                      struct order *o, struct err *e)
{
    struct str text = asked_text(c, "sort");
    o->is_down = text.n && text.p[0] == '-';
    if (o->is_down)
        text = str_skip(text, 1);
    o->by = text.n ? field_of(s, text) : key;
    o->is_by_key = o->by == key;
    return (o->by && can_sort(o->by)) ||
           err_field(e, "sort", "'sort' is no field that can be sorted by: '" STR_FMT "'",
                     STR_ARG(str_first(text, 60)));
}

/* What is listed: it lies there, or is made one by one. */
struct listed {
    const void *first;
    page_make_fn *make;
    void *arg;
    size_t n;
};

/* Those that fit and stand behind the cursor, in order. What is made is looked at and let go: of each the page may need its place and
 * what it sorts by. */
static struct ranked *rank(struct control_call *c, const struct shape *s, const struct listed *l,
                           const struct order *o, const struct field *key,
                           const struct ranked *after, size_t *used)
{
    struct ranked *v = ARENA_ARRAY(c->arena, struct ranked, l->n + 1);
    struct arena *scratch = arena_new();
    void *made = arena_zalloc(c->arena, s->size);
    bool is_down = o->is_down;
    *used = 0;
    for (size_t i = 0; i < l->n; i++) {
        const void *value = l->make ? made : (const char *)l->first + i * s->size;
        if (l->make) {
            memset(made, 0, s->size);
            l->make(l->arg, scratch, i, made);
        }
        struct ranked one = {l->make ? NULL : value, i, sortable(scratch, value, o->by),
                             *(const struct str *)member(value, key)};
        if (fits(c, s, value) && (!after->key.n || compare(&one, after, &is_down) > 0)) {
            one.by = str_dup(c->arena, one.by);
            one.key = str_dup(c->arena, one.key);
            v[(*used)++] = one;
        }
        if (i % 64 == 63)
            arena_reset(scratch);
    }
    arena_free(scratch);
    qsort_r(v, *used, sizeof *v, compare, &is_down);
    return v;
}

static bool reply_sorted(struct control_call *c, const struct shape *s, const struct listed *l,
                         const char *key, struct err *e)
{
    const struct field *key_field = field_of(s, str_of(key));
    const int64_t *asked_limit = asked(c, "limit");
    size_t limit = asked_limit ? (size_t)*asked_limit : USUAL_LIMIT, used;
    struct order o;
    struct ranked after;
    if (!read_sort(c, s, key_field, &o, e) ||
        !read_cursor(c->arena, asked_text(c, "after"), &o, &after, e))
        return false;
    struct ranked *v = rank(c, s, l, &o, key_field, &after, &used);
    size_t count = used < limit ? used : limit;
    const void **page = ARENA_ARRAY(c->arena, const void *, count + 1);
    for (size_t i = 0; i < count; i++) {
        void *made = v[i].value ? NULL : arena_zalloc(c->arena, s->size);
        if (made)
            l->make(l->arg, c->arena, v[i].at, made);
        page[i] = made ? made : v[i].value;
    }
    write_page(c, s, page, count, count < used ? cursor_of(c->arena, &v[count - 1], &o) : STR_NONE);
    return true;
}

bool journal_time(struct str text, const char *name, int64_t *ms, struct err *e)
{
    *ms = 0;
    return text.n == 0 || clock_parse_rfc3339(text, ms) || str_to_int(text, ms) ||
           err_field(e, name, "'%s' must be a time like 2026-01-31T12:00:00Z", name);
}

bool journal_order(struct str sort, bool *oldest_first, struct err *e)
{
    *oldest_first = str_is(sort, "at");
    return sort.n == 0 || *oldest_first || str_is(sort, "-at") ||
           err_field(e, "sort", "'sort' must be at or -at");
}

bool control_reply_sorted(struct control_call *c, const struct shape *s, const void *first,
                          size_t n, const char *key, struct err *e)
{
    return reply_sorted(c, s, &(struct listed){.first = first, .n = n}, key, e);
}

bool control_reply_made(struct control_call *c, const struct shape *s, size_t n, page_make_fn *make,
                        void *arg, const char *key, struct err *e)
{
    return reply_sorted(c, s, &(struct listed){.make = make, .arg = arg, .n = n}, key, e);
}
