/* shape.c - walks the tables. */
#include "json/shape.h"
#include "json/shape_json.h"
#include "base/banned.h"

#define DEEPEST 8 /* shapes within shapes; they are our own tables, so this is no limit on a peer */

/* ---- reading ---- */

struct path { /* where in the document we are; cut at the end when too long for an err */
    char text[sizeof(((struct err *)0)->field)];
    size_t n;
};
struct reader {
    struct arena *arena;
    struct path path;
    struct err *err;
};

static void path_add(struct path *p, struct str s)
{
    size_t room = sizeof p->text - 1 - p->n, n = s.n < room ? s.n : room;
    memcpy(p->text + p->n, s.p, n);
    p->n += n;
    p->text[p->n] = 0;
}

/* Returns the length to cut back to. */
static size_t path_enter(struct path *p, const char *name)
{
    size_t before = p->n;
    if (before)
        path_add(p, STR("."));
    path_add(p, str_of(name));
    return before;
}

static size_t path_enter_index(struct path *p, size_t index)
{
    char text[24];
    size_t before = p->n;
    path_add(p, str_n(text, (size_t)snprintf(text, sizeof text, "[%zu]", index)));
    return before;
}

static void path_leave(struct path *p, size_t before)
{
    p->n = before;
    p->text[before] = 0;
}

static bool refuse(struct reader *r, const char *what)
{
    const char *path = r->path.text;
    if (*path)
        return err_field(r->err, path, "'%s' %s", path, what);
    return err_field(r->err, "", "The body %s", what);
}

static bool read_shape(struct reader *r, const struct shape *s, yyjson_val *v, char *out,
                       uint64_t *present);

static bool read_number(struct reader *r, const struct field *f, yyjson_val *v, char *at)
{
    int64_t n;
    char text[96];
    int64_t min = f->kind == SHAPE_INT32 ? INT32_MIN : f->kind == SHAPE_UINT32 ? 0 : INT64_MIN;
    int64_t max = f->kind == SHAPE_INT32    ? INT32_MAX
                  : f->kind == SHAPE_UINT32 ? UINT32_MAX
                                            : INT64_MAX;
    bool is_text = f->flags & COERCE && yyjson_is_str(v) && str_to_int(json_str(v), &n);
    if (!is_text && (!json_is_number(v) || !json_int(v, &n)))
        return refuse(r, json_is_number(v) ? "must be an integer in range" : "must be an integer");
    if (f->flags & NOT_NEGATIVE && min < 0)
        min = 0;
    if (f->min != f->max) {
        min = f->min > min ? f->min : min;
        max = f->max < max ? f->max : max;
    }
    if (n < min && min == 0)
        return refuse(r, "must not be negative");
    if (n < min || n > max) {
        (void)snprintf(text, sizeof text, "must be from %lld to %lld", (long long)min,
                       (long long)max);
        return refuse(r, text);
    }
    if (f->kind == SHAPE_INT64)
        memcpy(at, &n, sizeof n);
    else if (f->kind == SHAPE_INT32)
        memcpy(at, &(int32_t){(int32_t)n}, sizeof(int32_t));
    else
        memcpy(at, &(uint32_t){(uint32_t)n}, sizeof(uint32_t));
    return true;
}

static bool read_double(struct reader *r, const struct field *f, yyjson_val *v, char *at)
{
    double d;
    char text[96];
    if (!json_double(v, &d))
        return refuse(r, "must be a number");
    if (f->flags & NOT_NEGATIVE && d < 0)
        return refuse(r, "must not be negative");
    if (f->min != f->max && !(d >= (double)f->min && d <= (double)f->max)) {
        (void)snprintf(text, sizeof text, "must be from %lld to %lld", (long long)f->min,
                       (long long)f->max);
        return refuse(r, text);
    }
    memcpy(at, &d, sizeof d);
    return true;
}

static bool read_text(struct reader *r, yyjson_val *v, unsigned flags, struct str *out)
{
    if (!yyjson_is_str(v))
        return refuse(r, "must be a string");
    struct str s = json_str(v);
    if (flags & NOT_EMPTY && str_trim(s).n == 0)
        return refuse(r, "must not be empty");
    if (str_index(s, 0) != s.n)
        return refuse(r, "must not contain a NUL character");
    *out = s;
    return true;
}

static int64_t characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static bool fits_length(struct reader *r, const struct field *f, struct str s)
{
    char text[96];
    int64_t n = characters(s);
    if (f->min == f->max || (n >= f->min && n <= f->max))
        return true;
    if (n == 0)
        return refuse(r, "must not be empty");
    (void)snprintf(text, sizeof text, "must have %lld to %lld characters", (long long)f->min,
                   (long long)f->max);
    return refuse(r, text);
}

static bool read_enum(struct reader *r, const struct field *f, yyjson_val *v, char *at)
{
    struct buf b;
    char text[256];
    const struct word *w = f->words;
    for (; w->text; w++) {
        if (yyjson_is_str(v) && str_eq(json_str(v), str_of(w->text))) {
            memcpy(at, &w->value, sizeof w->value);
            return true;
        }
    }
    b = (struct buf){.p = text, .cap = sizeof text - 1, .max = sizeof text - 1};
    buf_lit(&b, "must be one of");
    for (w = f->words; w->text; w++)
        buf_fmt(&b, "%s %s", w == f->words ? ":" : ",", w->text);
    text[b.n] = 0;
    return refuse(r, text);
}

static bool read_texts(struct reader *r, const struct field *f, yyjson_val *v, struct strs *out)
{
    yyjson_val *item;
    size_t i, n, count = yyjson_arr_size(v);
    if (!yyjson_is_arr(v))
        return refuse(r, "must be an array of strings");
    if (count == 0 && f->flags & NOT_EMPTY)
        return refuse(r, "must not be empty");
    struct strs list = {ARENA_ARRAY(r->arena, struct str, count), count};
    yyjson_arr_foreach (v, i, n, item) {
        size_t before = path_enter_index(&r->path, i);
        if (!read_text(r, item, f->flags & NOT_EMPTY, &list.v[i]))
            return false;
        path_leave(&r->path, before);
    }
    *out = list;
    return true;
}

static bool read_list(struct reader *r, const struct field *f, yyjson_val *v,
                      struct shape_list *out)
{
    yyjson_val *item;
    size_t i, n, count = yyjson_arr_size(v);
    if (!yyjson_is_arr(v))
        return refuse(r, "must be an array of objects");
    if (count == 0 && f->flags & NOT_EMPTY)
        return refuse(r, "must not be empty");
    char *items = arena_zalloc(r->arena, count * f->shape->size);
    yyjson_arr_foreach (v, i, n, item) {
        size_t before = path_enter_index(&r->path, i);
        if (!read_shape(r, f->shape, item, items + i * f->shape->size, NULL))
            return false;
        path_leave(&r->path, before);
    }
    *out = (struct shape_list){items, count};
    return true;
}

static bool read_value(struct reader *r, const struct field *f, yyjson_val *v, char *at)
{
    struct str s;
    bool is_true;
    switch (f->kind) {
    case SHAPE_BOOL:
        if (!yyjson_is_bool(v))
            return refuse(r, "must be true or false");
        is_true = yyjson_get_bool(v);
        memcpy(at, &is_true, sizeof is_true);
        return true;
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
        return read_number(r, f, v, at);
    case SHAPE_DOUBLE:
        return read_double(r, f, v, at);
    case SHAPE_STR:
        if (!read_text(r, v, f->flags, &s))
            return false;
        if (f->flags & TRIM)
            s = str_trim(s);
        if (!fits_length(r, f, s))
            return false;
        memcpy(at, &s, sizeof s);
        return true;
    case SHAPE_STRS:
        return read_texts(r, f, v, (struct strs *)(void *)at);
    case SHAPE_JSON:
        memcpy(at, &v, sizeof v);
        return true;
    case SHAPE_ENUM:
        return read_enum(r, f, v, at);
    case SHAPE_OBJECT:
        return read_shape(r, f->shape, v, at, NULL);
    case SHAPE_LIST:
        return read_list(r, f, v, (struct shape_list *)(void *)at);
    }
    return false;
}

static const struct field *find_field(const struct shape *s, struct str name)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        if (str_eq(name, str_of(f->name)) || (f->alias && str_eq(name, str_of(f->alias))))
            return f;
    }
    return NULL;
}

static bool refuse_unknown(struct reader *r, const struct shape *s, struct str name)
{
    const char *nearest = NULL;
    size_t best = 3; /* two slips of the finger */
    char text[160];
    for (size_t i = 0; i < s->n_fields; i++) {
        size_t distance = str_edit_distance(name, str_of(s->fields[i].name));
        if (distance < best) {
            best = distance;
            nearest = s->fields[i].name;
        }
    }
    size_t before = r->path.n;
    if (before)
        path_add(&r->path, STR("."));
    path_add(&r->path, name);
    (void)snprintf(text, sizeof text, "is not known here%s%s%s", nearest ? "; did you mean '" : "",
                   nearest ? nearest : "", nearest ? "'?" : "");
    return refuse(r, text);
}

static bool read_shape(struct reader *r, const struct shape *s, yyjson_val *v, char *out,
                       uint64_t *present)
{
    yyjson_val *key, *value;
    size_t i, n;
    uint64_t seen = 0, filled = 0;
    if (!yyjson_is_obj(v))
        return refuse(r, "must be an object");
    yyjson_obj_foreach (v, i, n, key, value) {
        const struct field *f = find_field(s, json_str(key));
        if (!f && s->is_strict)
            return refuse_unknown(r, s, json_str(key));
        if (!f || f->flags & READ_ONLY)
            continue;
        uint64_t bit = (uint64_t)1 << (f - s->fields);
        size_t before = path_enter(&r->path, f->name);
        if (seen & bit)
            return refuse(r, "is given twice");
        seen |= bit;
        if (!yyjson_is_null(value)) {
            if (!read_value(r, f, value, out + f->offset))
                return false;
            filled |= bit;
        }
        path_leave(&r->path, before);
    }
    for (i = 0; i < s->n_fields; i++) {
        if (!(s->fields[i].flags & REQUIRED) || s->fields[i].flags & READ_ONLY || filled >> i & 1)
            continue;
        (void)path_enter(&r->path, s->fields[i].name);
        return refuse(r, "is required");
    }
    if (present)
        *present = filled;
    return true;
}

bool shape_read(const struct shape *s, struct arena *a, yyjson_val *object, void *out,
                uint64_t *present, struct err *e)
{
    struct reader r = {.arena = a, .err = e};
    if (present)
        *present = 0;
    return read_shape(&r, s, object, out, present);
}

/* A text as the JSON that its field takes; what is no such thing goes on as a string, for shape_read to refuse. */
static void text_as_json(const struct field *f, struct arena *a, struct str text, struct jw *w)
{
    yyjson_val *number;
    switch (f->kind) {
    case SHAPE_BOOL:
        if (str_is(text, "true") || str_is(text, "1"))
            jw_bool(w, true);
        else if (str_is(text, "false") || str_is(text, "0"))
            jw_bool(w, false);
        else
            jw_str(w, text);
        return;
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
    case SHAPE_DOUBLE:
        if (json_parse(a, text, 1, &number, NULL) && json_is_number(number))
            jw_raw(w, text);
        else
            jw_str(w, text);
        return;
    case SHAPE_STRS:
        jw_array(w);
        for (struct str one; text.n;) {
            text = str_cut(text, ',', &one);
            jw_str(w, str_trim(one));
        }
        jw_array_end(w);
        return;
    case SHAPE_STR:
    case SHAPE_ENUM:
    case SHAPE_JSON:
    case SHAPE_OBJECT:
    case SHAPE_LIST:
        jw_str(w, text);
        return;
    }
}

bool shape_read_texts(const struct shape *s, struct arena *a, shape_text_fn *text, void *arg,
                      void *out, uint64_t *present, struct err *e)
{
    struct buf b;
    yyjson_val *object;
    buf_init_arena(&b, a, 1u << 20);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        struct str value = text(arg, a, f->name);
        if (!value.p && f->alias)
            value = text(arg, a, f->alias);
        if (!value.p)
            continue;
        jw_key(&w, f->name);
        text_as_json(f, a, value, &w);
    }
    jw_object_end(&w);
    if (buf_failed(&b))
        return err_set(e, ERR_TOO_LARGE, "too_large", "The query is too long");
    return json_parse(a, buf_str(&b), 0, &object, e) && shape_read(s, a, object, out, present, e);
}

/* ---- writing ---- */

static int64_t integer_at(const struct field *f, const char *at)
{
    int64_t n = 0;
    int32_t narrow;
    uint32_t plain;
    if (f->kind == SHAPE_INT64) {
        memcpy(&n, at, sizeof n);
    } else if (f->kind == SHAPE_UINT32) {
        memcpy(&plain, at, sizeof plain);
        n = plain;
    } else {
        memcpy(&narrow, at, sizeof narrow); /* also enums: their values are int */
        n = narrow;
    }
    return n;
}

static double double_at(const char *at)
{
    double d;
    memcpy(&d, at, sizeof d);
    return d;
}

static bool is_empty(const struct field *f, const char *at)
{
    switch (f->kind) {
    case SHAPE_BOOL:
        return !*(const bool *)(const void *)at;
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
    case SHAPE_ENUM:
        return integer_at(f, at) == 0;
    case SHAPE_DOUBLE:
        return double_at(at) == 0;
    case SHAPE_STR:
        return ((const struct str *)(const void *)at)->n == 0;
    case SHAPE_STRS:
        return ((const struct strs *)(const void *)at)->n == 0;
    case SHAPE_LIST:
        return ((const struct shape_list *)(const void *)at)->n == 0;
    case SHAPE_JSON:
        return !*(yyjson_val *const *)(const void *)at;
    case SHAPE_OBJECT: /* when all of it is */
        for (size_t i = 0; i < f->shape->n_fields; i++)
            if (!is_empty(&f->shape->fields[i], at + f->shape->fields[i].offset))
                return false;
        return true;
    }
    return false;
}

static void write_texts(struct jw *w, const struct strs *list)
{
    jw_array(w);
    for (size_t i = 0; i < list->n; i++)
        jw_str(w, list->v[i]);
    jw_array_end(w);
}

static void write_value(const struct field *f, const char *at, struct jw *w)
{
    const struct shape_list *list;
    switch (f->kind) {
    case SHAPE_BOOL:
        jw_bool(w, *(const bool *)(const void *)at);
        break;
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
        jw_int(w, integer_at(f, at));
        break;
    case SHAPE_DOUBLE:
        jw_double(w, double_at(at));
        break;
    case SHAPE_STR:
        jw_str(w, *(const struct str *)(const void *)at);
        break;
    case SHAPE_STRS:
        write_texts(w, (const struct strs *)(const void *)at);
        break;
    case SHAPE_JSON:
        jw_val(w, *(yyjson_val *const *)(const void *)at);
        break;
    case SHAPE_ENUM:
        jw_cstr(w, word_text(f->words, (int)integer_at(f, at), NULL));
        break;
    case SHAPE_OBJECT:
        shape_write(f->shape, at, w);
        break;
    case SHAPE_LIST:
        list = (const struct shape_list *)(const void *)at;
        shape_write_list(f->shape, list->v, list->n, w);
        break;
    }
}

void shape_write(const struct shape *s, const void *in, struct jw *w)
{
    jw_object(w);
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct field *f = &s->fields[i];
        const char *at = (const char *)in + f->offset;
        bool has_nothing = (f->flags & (OMIT_EMPTY | NULL_EMPTY) && is_empty(f, at)) ||
                           (f->flags & NULL_NEGATIVE && integer_at(f, at) < 0) ||
                           (f->flags & NULL_LEAST && integer_at(f, at) == INT64_MIN);
        if (f->flags & WRITE_ONLY || (has_nothing && f->flags & OMIT_EMPTY))
            continue;
        jw_key(w, f->name);
        if (has_nothing)
            jw_null(w);
        else
            write_value(f, at, w);
    }
    jw_object_end(w);
}

void shape_write_list(const struct shape *s, const void *first, size_t n, struct jw *w)
{
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        shape_write(s, (const char *)first + i * s->size, w);
    jw_array_end(w);
}

/* ---- describing ---- */

static const char *type_name(enum shape_kind kind)
{
    switch (kind) {
    case SHAPE_BOOL:
        return "boolean";
    case SHAPE_INT32:
    case SHAPE_UINT32:
    case SHAPE_INT64:
        return "integer";
    case SHAPE_DOUBLE:
        return "number";
    case SHAPE_STR:
    case SHAPE_ENUM:
        return "string";
    case SHAPE_STRS:
    case SHAPE_LIST:
        return "array";
    case SHAPE_OBJECT:
        return "object";
    case SHAPE_JSON:
        break;
    }
    return NULL; /* any */
}

static void schema_type(const char *type, bool is_nullable, struct jw *w)
{
    if (!type)
        return;
    jw_key(w, "type");
    if (is_nullable)
        jw_array(w);
    jw_cstr(w, type);
    if (is_nullable) {
        jw_cstr(w, "null");
        jw_array_end(w);
    }
}

static void schema_bounds(const struct field *f, struct jw *w)
{
    bool is_number = f->kind == SHAPE_INT32 || f->kind == SHAPE_UINT32 || f->kind == SHAPE_INT64 ||
                     f->kind == SHAPE_DOUBLE;
    if (f->kind == SHAPE_STR && f->min != f->max) {
        if (f->min > 0)
            jw_kv_int(w, "minLength", f->min);
        jw_kv_int(w, "maxLength", f->max);
    } else if (f->kind == SHAPE_STR && f->flags & NOT_EMPTY) {
        jw_kv_int(w, "minLength", 1);
    }
    if ((f->kind == SHAPE_STRS || f->kind == SHAPE_LIST) && f->flags & NOT_EMPTY)
        jw_kv_int(w, "minItems", 1);
    if (is_number && f->min != f->max) {
        jw_kv_int(w, "minimum", f->min);
        jw_kv_int(w, "maximum", f->max);
    } else if (is_number && (f->flags & NOT_NEGATIVE || f->kind == SHAPE_UINT32)) {
        jw_kv_int(w, "minimum", 0);
    }
    if (f->kind == SHAPE_INT64)
        jw_kv_cstr(w, "format", "int64");
    else if (f->kind == SHAPE_INT32)
        jw_kv_cstr(w, "format", "int32");
}

static void schema_members(const struct shape *s, unsigned depth, bool is_out, struct jw *w);
static void schema_of(const struct shape *s, bool has_type, unsigned depth, bool is_out,
                      struct jw *w);

static void schema_items(const struct field *f, unsigned depth, bool is_out, struct jw *w)
{
    jw_key(w, "items");
    jw_object(w);
    if (f->kind == SHAPE_STRS)
        jw_kv_cstr(w, "type", "string");
    else
        schema_members(f->shape, depth + 1, is_out, w);
    jw_object_end(w);
}

static void schema_enum(const struct field *f, bool is_nullable, struct jw *w)
{
    jw_key(w, "enum");
    jw_array(w);
    for (const struct word *word = f->words; word->text; word++)
        jw_cstr(w, word->text);
    if (is_nullable)
        jw_null(w);
    jw_array_end(w);
}

const struct shape json_of_text = {.name = "string"}, json_of_integer = {.name = "integer"},
                   json_of_number = {.name = "number"}, json_of_object = {.name = "object"},
                   json_of_truth = {.name = "boolean"};

const char *json_shape_type(const struct shape *s)
{
    bool is_plain = s == &json_of_text || s == &json_of_integer || s == &json_of_number ||
                    s == &json_of_object || s == &json_of_truth;
    return is_plain ? s->name : NULL;
}

/* Of JSON that came as it is, where it is known what it is like. */
static void schema_json(const struct field *f, unsigned depth, bool is_out, bool is_nullable,
                        struct jw *w)
{
    unsigned kind = f->flags & (JSON_MAP | JSON_LIST);
    const char *plain = json_shape_type(f->shape);
    if (!kind && plain) {
        schema_type(plain, is_nullable, w);
        return;
    }
    schema_type(kind == JSON_LIST ? "array" : "object", is_nullable, w);
    if (kind) {
        jw_key(w, kind == JSON_LIST ? "items" : "additionalProperties");
        jw_object(w);
    }
    if (plain)
        jw_kv_cstr(w, "type", plain);
    else
        schema_of(f->shape, kind != 0, depth + 1, is_out, w);
    if (kind)
        jw_object_end(w);
}

static void schema_field(const struct field *f, unsigned depth, bool is_out, struct jw *w)
{
    bool is_nullable = (f->flags & (NULL_EMPTY | NULL_NEGATIVE | NULL_LEAST)) != 0;
    jw_object(w);
    if (f->kind == SHAPE_JSON && f->shape)
        schema_json(f, depth, is_out, is_nullable, w);
    else if (f->kind == SHAPE_OBJECT)
        schema_members(f->shape, depth + 1, is_out, w);
    else
        schema_type(type_name(f->kind), is_nullable, w);
    jw_kv_cstr(w, "description", f->doc);
    if (f->kind == SHAPE_ENUM)
        schema_enum(f, is_nullable, w);
    if (f->kind == SHAPE_STRS || f->kind == SHAPE_LIST)
        schema_items(f, depth, is_out, w);
    schema_bounds(f, w);
    if (f->flags & READ_ONLY)
        jw_kv_bool(w, "readOnly", true);
    if (f->flags & WRITE_ONLY)
        jw_kv_bool(w, "writeOnly", true);
    jw_object_end(w);
}

/* Reading asks for what is required, writing always gives what it does not leave out. */
static void schema_required(const struct shape *s, bool is_out, struct jw *w)
{
    bool has_any = false;
    for (size_t i = 0; i < s->n_fields; i++) {
        unsigned flags = s->fields[i].flags;
        if (is_out ? (flags & (OMIT_EMPTY | WRITE_ONLY)) != 0 : !(flags & REQUIRED))
            continue;
        if (!has_any) {
            jw_key(w, "required");
            jw_array(w);
        }
        has_any = true;
        jw_cstr(w, s->fields[i].name);
    }
    if (has_any)
        jw_array_end(w);
}

static void schema_of(const struct shape *s, bool has_type, unsigned depth, bool is_out,
                      struct jw *w)
{
    if (has_type)
        jw_kv_cstr(w, "type", "object");
    if (depth > DEEPEST) /* a shape that holds itself */
        return;
    jw_key(w, "properties");
    jw_object(w);
    for (size_t i = 0; i < s->n_fields; i++) {
        jw_key(w, s->fields[i].name);
        schema_field(&s->fields[i], depth, is_out, w);
    }
    jw_object_end(w);
    schema_required(s, is_out, w);
    if (s->is_strict)
        jw_kv_bool(w, "additionalProperties", false);
}

static void schema_members(const struct shape *s, unsigned depth, bool is_out, struct jw *w)
{
    schema_of(s, true, depth, is_out, w);
}

void shape_schema(const struct shape *s, struct jw *w)
{
    jw_object(w);
    schema_members(s, 0, false, w);
    jw_object_end(w);
}

void shape_schema_out(const struct shape *s, struct jw *w)
{
    jw_object(w);
    schema_members(s, 0, true, w);
    jw_object_end(w);
}

void shape_field_schema(const struct field *f, struct jw *w)
{
    schema_field(f, 0, false, w);
}

/* ---- our own mistakes ---- */

static struct str check_field(const struct shape *s, size_t i, struct arena *a)
{
    const struct field *f = &s->fields[i];
    if (!f->doc || !*f->doc)
        return str_fmt(a, "%s.%s has no sentence", s->name, f->name);
    if (find_field(s, str_of(f->name)) != f || (f->alias && find_field(s, str_of(f->alias)) != f))
        return str_fmt(a, "%s.%s is there twice", s->name, f->name);
    if (f->kind == SHAPE_ENUM && (!f->words || f->size != sizeof(int)))
        return str_fmt(a, "%s.%s has no words", s->name, f->name);
    if (f->kind == SHAPE_OBJECT && (!f->shape || f->shape->size != f->size))
        return str_fmt(a, "%s.%s is of another shape", s->name, f->name);
    if (f->kind == SHAPE_LIST && !f->shape)
        return str_fmt(a, "%s.%s is a list of nothing", s->name, f->name);
    return STR_NONE;
}

struct str shape_check(const struct shape *s, struct arena *a)
{
    struct str wrong = STR_NONE;
    if (s->n_fields > 64)
        return str_fmt(a, "%s has more than 64 fields", s->name);
    for (size_t i = 0; i < s->n_fields && wrong.n == 0; i++) {
        const struct field *f = &s->fields[i];
        wrong = check_field(s, i, a);
        if (wrong.n == 0 && f->shape && f->shape != s)
            wrong = shape_check(f->shape, a);
    }
    return wrong;
}
