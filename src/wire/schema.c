/* schema.c - two writers: one that copies a JSON Schema and changes little (everyone but Google's own dialect, and the way
 * back), and one that first gathers what a schema says, over $ref, allOf and single variants, and then writes that in
 * Google's dialect. Recursion is bounded by the parser's depth, the guard on $ref and a budget of visited values:
 * two lines of $defs can mean a schema of any size. */
#include "wire/schema.h"
#include "base/banned.h"
#include "base/map.h"

#define REF_DEPTH 8          /* references within references */
#define MAX_REFS 64          /* open at once, also side by side in allOf */
#define DEEPEST 48           /* levels of schemas; the writer allows 256 of JSON */
#define BUDGET 200000        /* values visited in all */
#define CYCLE_BUDGET 2000000 /* values visited in search of cycles */

enum place {       /* what stands behind a keyword */
    PLACE_VALUE,   /* data: not ours to change */
    PLACE_SCHEMA,  /* a schema (or boolean); in old drafts a list of them */
    PLACE_SCHEMAS, /* a list of schemas */
    PLACE_NAMED,   /* names of the user's own -> schemas */
    PLACE_NUMBER,  /* sometimes written as a string */
    PLACE_META,    /* says nothing about the value */
    PLACE_REF,
    PLACE_DEFS, /* as NAMED; goes when references are inlined */
    PLACE_REQUIRED,
};
// clang-format off
static const struct word keywords[] = {
    {"properties", PLACE_NAMED},         {"patternProperties", PLACE_NAMED},
    {"dependentSchemas", PLACE_NAMED},   {"dependencies", PLACE_NAMED},
    {"$defs", PLACE_DEFS},               {"definitions", PLACE_DEFS},
    {"items", PLACE_SCHEMA},             {"additionalProperties", PLACE_SCHEMA},
    {"additionalItems", PLACE_SCHEMA},   {"unevaluatedProperties", PLACE_SCHEMA},
    {"unevaluatedItems", PLACE_SCHEMA},  {"not", PLACE_SCHEMA},
    {"if", PLACE_SCHEMA},                {"then", PLACE_SCHEMA},
    {"else", PLACE_SCHEMA},              {"contains", PLACE_SCHEMA},
    {"propertyNames", PLACE_SCHEMA},     {"contentSchema", PLACE_SCHEMA},
    {"allOf", PLACE_SCHEMAS},            {"anyOf", PLACE_SCHEMAS},
    {"oneOf", PLACE_SCHEMAS},            {"prefixItems", PLACE_SCHEMAS},
    {"minLength", PLACE_NUMBER},         {"maxLength", PLACE_NUMBER},
    {"minItems", PLACE_NUMBER},          {"maxItems", PLACE_NUMBER},
    {"minProperties", PLACE_NUMBER},     {"maxProperties", PLACE_NUMBER},
    {"minContains", PLACE_NUMBER},       {"maxContains", PLACE_NUMBER},
    {"minimum", PLACE_NUMBER},           {"maximum", PLACE_NUMBER},
    {"exclusiveMinimum", PLACE_NUMBER},  {"exclusiveMaximum", PLACE_NUMBER},
    {"multipleOf", PLACE_NUMBER},
    {"$schema", PLACE_META},             {"$id", PLACE_META},
    {"$comment", PLACE_META},            {"$anchor", PLACE_META},
    {"$dynamicAnchor", PLACE_META},      {"$dynamicRef", PLACE_META},
    {"$ref", PLACE_REF},                 {"required", PLACE_REQUIRED},
    {0},
};
// clang-format on

struct walk {
    struct arena *arena;
    yyjson_val *root;
    enum schema_profile profile;
    unsigned flags;
    bool from_gemini;
    struct jw *w;
    unsigned depth;
    unsigned budget, cycle_budget;
    yyjson_val *refs[MAX_REFS]; /* what is being inlined, outermost first */
    unsigned n_refs, ref_depth;
};

static bool spend(struct walk *k)
{
    if (k->budget)
        k->budget--;
    return k->budget > 0;
}

static void write_any_object(struct jw *w)
{
    jw_object(w);
    jw_kv_cstr(w, "type", "object");
    jw_object_end(w);
}

static yyjson_val *get(yyjson_val *obj, struct str key)
{
    return yyjson_obj_getn(obj, key.p, key.n);
}

static bool is_type(yyjson_val *schema, const char *type)
{
    return str_eq_nocase(json_get_str(schema, "type"), str_of(type));
}

/* ---- references ---- */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A fragment may be percent-encoded (RFC 6901, 6). */
static struct str percent_decode(struct arena *a, struct str s)
{
    if (str_index(s, '%') == s.n)
        return s;
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex_of(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_of(s.p[i + 2]) : -1;
        out[n++] = low >= 0 ? (char)(unsigned char)(high * 16 + low) : s.p[i];
        i += low >= 0 ? 2 : 0;
    }
    return str_n(out, n);
}

/* What "#/$defs/x" points to; NULL: nothing in this document. */
static yyjson_val *resolve(struct walk *k, struct str ref)
{
    if (!str_starts(ref, STR("#")))
        return NULL;
    ref = percent_decode(k->arena, str_skip(ref, 1));
    if (ref.n == 0)
        return k->root;
    yyjson_val *v = ref.p[0] == '/' ? yyjson_ptr_getn(k->root, ref.p, ref.n) : NULL;
    return yyjson_is_obj(v) ? v : NULL;
}

/* Enters the target of a reference; NULL: unknown, too deep or a cycle. Leave with n_refs--. */
static yyjson_val *enter_ref(struct walk *k, struct str ref)
{
    yyjson_val *v = resolve(k, ref);
    if (!v || k->n_refs == MAX_REFS || k->ref_depth == REF_DEPTH || !spend(k))
        return NULL;
    for (unsigned i = 0; i < k->n_refs; i++) {
        if (k->refs[i] == v)
            return NULL;
    }
    k->refs[k->n_refs++] = v;
    return v;
}

/* Whether wanted lies in v or in what v refers to. seen: the targets already followed. */
static bool leads_to(struct walk *k, yyjson_val *v, const yyjson_val *wanted, yyjson_val **seen,
                     size_t *n_seen)
{
    if (v == wanted)
        return true;
    if (!yyjson_is_ctn(v) || k->cycle_budget == 0)
        return false;
    k->cycle_budget--;
    struct str ref = yyjson_is_obj(v) ? json_get_str(v, "$ref") : STR_NONE;
    yyjson_val *next = ref.n ? resolve(k, ref) : NULL;
    bool is_new = next != NULL && *n_seen < MAX_REFS;
    for (size_t i = 0; i < *n_seen; i++)
        is_new = is_new && seen[i] != next;
    if (is_new) {
        seen[(*n_seen)++] = next;
        if (leads_to(k, next, wanted, seen, n_seen))
            return true;
    }
    size_t n = yyjson_is_obj(v) ? yyjson_obj_size(v) * 2 : yyjson_arr_size(v);
    yyjson_val *item = n ? unsafe_yyjson_get_first(v) : NULL;
    for (; n; n--, item = unsafe_yyjson_get_next(item)) {
        if (leads_to(k, item, wanted, seen, n_seen))
            return true;
    }
    return false;
}

/* Whether what the schema refers to holds, in the end, the schema itself. */
static bool is_cycle(struct walk *k, yyjson_val *schema, struct str ref)
{
    yyjson_val *seen[MAX_REFS], *target = resolve(k, ref);
    size_t n_seen = 0;
    return target && leads_to(k, target, schema, seen, &n_seen);
}

/* ---- numbers and names ---- */

static bool is_number_text(struct str s)
{
    return s.n && (s.p[0] == '-' || (s.p[0] >= '0' && s.p[0] <= '9')) && json_valid(s, 1, NULL);
}

static void write_number(struct jw *w, yyjson_val *v)
{
    struct str s = json_str(v);
    if (is_number_text(s))
        jw_raw(w, s);
    else
        jw_val(w, v);
}

/* ---- the copying writer ---- */

static void copy_schema(struct walk *k, yyjson_val *v);

static void copy_list(struct walk *k, yyjson_val *list)
{
    yyjson_val *v;
    size_t i, n;
    if (!yyjson_is_arr(list)) {
        jw_val(k->w, list);
        return;
    }
    jw_array(k->w);
    yyjson_arr_foreach (list, i, n, v)
        copy_schema(k, v);
    jw_array_end(k->w);
}

static void copy_named(struct walk *k, yyjson_val *map)
{
    yyjson_val *key, *v;
    size_t i, n;
    if (!yyjson_is_obj(map)) {
        jw_val(k->w, map);
        return;
    }
    jw_object(k->w);
    yyjson_obj_foreach (map, i, n, key, v) {
        jw_key_str(k->w, json_str(key));
        if (yyjson_is_arr(v)) /* dependencies: a list of names */
            jw_val(k->w, v);
        else
            copy_schema(k, v);
    }
    jw_object_end(k->w);
}

/* Only names that properties has; false: none is left and nothing was written. */
static bool copy_required(struct walk *k, yyjson_val *required, yyjson_val *properties)
{
    yyjson_val *v, *name;
    size_t i, n, kept = 0;
    struct map known;
    /* a handful is found quicker than put into a map */
    bool is_small = yyjson_obj_size(properties) * yyjson_arr_size(required) <= 64;
    map_init(&known);
    if (!is_small && yyjson_is_obj(properties))
        yyjson_obj_foreach (properties, i, n, name, v)
            map_set(&known, json_str(name), v);
    yyjson_arr_foreach (required, i, n, v) {
        if (!yyjson_is_str(v) || !(is_small ? get(properties, json_str(v)) != NULL
                                            : map_get(&known, json_str(v)) != NULL))
            continue;
        if (kept++ == 0) {
            jw_key(k->w, "required");
            jw_array(k->w);
        }
        jw_str(k->w, json_str(v));
    }
    map_done(&known);
    if (kept)
        jw_array_end(k->w);
    return kept > 0;
}

/* ---- Google's dialect, on the way back ---- */

static void write_lower(struct walk *k, struct str type)
{
    jw_str(k->w, str_lower(k->arena, type));
}

/* false: the keyword is one like any other. */
static bool copy_from_gemini(struct walk *k, yyjson_val *schema, struct str key, yyjson_val *v)
{
    bool is_nullable = json_get_bool(schema, "nullable", false);
    if (str_is(key, "type") && yyjson_is_str(v)) {
        if (str_is(json_str(v), "TYPE_UNSPECIFIED"))
            return true;
        jw_key(k->w, "type");
        if (!is_nullable || str_eq_nocase(json_str(v), STR("null"))) {
            write_lower(k, json_str(v));
            return true;
        }
        jw_array(k->w);
        write_lower(k, json_str(v));
        jw_cstr(k->w, "null");
        jw_array_end(k->w);
        return true;
    }
    if (str_is(key, "enum") && is_nullable && yyjson_is_arr(v)) {
        yyjson_val *item;
        size_t i, n;
        bool has_null = false;
        jw_key(k->w, "enum");
        jw_array(k->w);
        yyjson_arr_foreach (v, i, n, item) {
            has_null = has_null || yyjson_is_null(item);
            jw_val(k->w, item);
        }
        if (!has_null)
            jw_null(k->w); /* else the union would promise what the list forbids */
        jw_array_end(k->w);
        return true;
    }
    if (str_is(key, "anyOf") && is_nullable && yyjson_is_arr(v) && !json_get(schema, "type")) {
        yyjson_val *item;
        size_t i, n;
        jw_key(k->w, "anyOf");
        jw_array(k->w);
        yyjson_arr_foreach (v, i, n, item)
            copy_schema(k, item);
        jw_object(k->w);
        jw_kv_cstr(k->w, "type", "null");
        jw_object_end(k->w);
        jw_array_end(k->w);
        return true;
    }
    if (str_is(key, "example")) {
        if (!json_get(schema, "examples")) {
            jw_key(k->w, "examples");
            jw_array(k->w);
            jw_val(k->w, v);
            jw_array_end(k->w);
        }
        return true;
    }
    return str_is(key, "nullable") || str_is(key, "propertyOrdering") ||
           (str_is(key, "format") && str_is(json_str(v), "enum"));
}

static bool drops_meta(const struct walk *k, struct str key)
{
    if (k->profile == SCHEMA_GEMINI_JSON)
        return str_is(key, "$schema");
    return k->profile != SCHEMA_KEEP;
}

static void copy_keyword(struct walk *k, yyjson_val *schema, struct str key, yyjson_val *v)
{
    if (k->from_gemini && copy_from_gemini(k, schema, key, v))
        return;
    bool is_plain = str_is(key, "type") || str_is(key, "description"); /* most are */
    enum place place = is_plain ? PLACE_VALUE : (enum place)word_value(keywords, key, PLACE_VALUE);
    bool inlines = (k->flags & SCHEMA_INLINE_REFS) != 0;
    if ((place == PLACE_META && drops_meta(k, key)) || (place == PLACE_DEFS && inlines) ||
        ((k->flags & SCHEMA_DROP_REF_NAME) && str_is(key, "ref")))
        return;
    if (place == PLACE_REQUIRED && k->profile == SCHEMA_GEMINI_JSON) {
        (void)copy_required(k, v, json_get(schema, "properties"));
        return;
    }
    jw_key_str(k->w, key);
    switch (place) {
    case PLACE_SCHEMA:
        if (yyjson_is_arr(v))
            copy_list(k, v);
        else
            copy_schema(k, v);
        break;
    case PLACE_SCHEMAS:
        copy_list(k, v);
        break;
    case PLACE_NAMED:
    case PLACE_DEFS:
        copy_named(k, v);
        break;
    case PLACE_NUMBER:
        write_number(k->w, v);
        break;
    case PLACE_VALUE:
    case PLACE_META:
    case PLACE_REF:
    case PLACE_REQUIRED:
        jw_val(k->w, v);
        break;
    }
}

struct beside { /* what stands beside a reference, innermost first: it wins over the target */
    yyjson_val *schema;
    const struct beside *outer;
};

static bool is_beside(const struct beside *b, struct str name)
{
    for (; b; b = b->outer) {
        if (get(b->schema, name))
            return true;
    }
    return false;
}

static void copy_members(struct walk *k, yyjson_val *schema, const struct beside *beside)
{
    yyjson_val *key, *v;
    size_t i, n;
    yyjson_obj_foreach (schema, i, n, key, v) {
        struct str name = json_str(key);
        if (str_is(name, "$ref") && (k->flags & SCHEMA_INLINE_REFS))
            continue;
        if (!is_beside(beside, name))
            copy_keyword(k, schema, name, v);
    }
}

/* With references inlined: the target's keywords, then those that stand beside the reference. */
static void copy_inlined(struct walk *k, yyjson_val *schema, const struct beside *beside)
{
    struct str ref = k->flags & SCHEMA_INLINE_REFS ? json_get_str(schema, "$ref") : STR_NONE;
    if (ref.n) {
        const struct beside here = {schema, beside};
        yyjson_val *target = enter_ref(k, ref);
        if (target) {
            k->ref_depth++;
            copy_inlined(k, target, &here);
            k->ref_depth--;
            k->n_refs--;
        } else if (!is_beside(&here, STR("type"))) {
            jw_kv_cstr(k->w, "type", "object");
        }
    }
    copy_members(k, schema, beside);
}

/* A keyword of the schema as it is written: of its own, or of what it refers to when that is inlined. */
static yyjson_val *effective(struct walk *k, yyjson_val *schema, const char *key)
{
    for (unsigned hops = 0; schema && hops < REF_DEPTH; hops++) {
        yyjson_val *v = json_get(schema, key);
        struct str ref = k->flags & SCHEMA_INLINE_REFS ? json_get_str(schema, "$ref") : STR_NONE;
        if (v || ref.n == 0)
            return v;
        schema = resolve(k, ref);
    }
    return NULL;
}

static void complete_top(struct walk *k, yyjson_val *schema)
{
    bool is_lost = (k->flags & SCHEMA_INLINE_REFS) && json_get(schema, "$ref");
    struct str type = json_str(effective(k, schema, "type"));
    bool is_object = str_eq_nocase(type, STR("object"));
    if (k->profile == SCHEMA_ANTHROPIC && !effective(k, schema, "type")) {
        if (!is_lost) /* then the type stands there already */
            jw_kv_cstr(k->w, "type", "object");
        is_object = true;
    }
    if (is_object && !effective(k, schema, "properties") &&
        (k->profile == SCHEMA_ANTHROPIC || k->profile == SCHEMA_OPENAI)) {
        jw_key(k->w, "properties");
        jw_object(k->w);
        jw_object_end(k->w);
    }
}

static void copy_schema(struct walk *k, yyjson_val *v)
{
    if (!yyjson_is_obj(v)) { /* true and false are schemas too */
        jw_val(k->w, v);
        return;
    }
    struct str ref = json_get_str(v, "$ref");
    if (k->depth == DEEPEST || !spend(k) ||
        (ref.n && k->profile == SCHEMA_GEMINI_JSON && !(k->flags & SCHEMA_INLINE_REFS) &&
         is_cycle(k, v, ref))) {
        write_any_object(k->w);
        return;
    }
    k->depth++;
    jw_object(k->w);
    copy_inlined(k, v, NULL);
    if (k->depth == 1)
        complete_top(k, v);
    if ((k->flags & SCHEMA_ADD_ITEMS) &&
        str_eq_nocase(json_str(effective(k, v, "type")), STR("array")) &&
        !effective(k, v, "items")) {
        jw_key(k->w, "items");
        jw_object(k->w);
        jw_kv_cstr(k->w, "type", "string");
        jw_object_end(k->w);
    }
    jw_object_end(k->w);
    k->depth--;
}

/* ---- gathering for Google's dialect ---- */

struct property {
    struct property *next;
    struct str name;
    yyjson_val *schema;
    bool is_required;
};
struct name {
    struct name *next;
    struct str text;
};
struct gathered { /* what a schema says, wherever it says it */
    struct str type;
    bool is_nullable, is_lost; /* lost: a reference led nowhere or in a circle */
    yyjson_val *value[16];     /* by place in gemini_values */
    struct property *properties, **properties_tail;
    struct map by_name; /* of properties */
    struct name *required, **required_tail;
    yyjson_val *enumeration, *constant, *items, *variants, *types, *ordering;
};

enum {
    KEEP_ALWAYS,
    KEEP_STRING,
    KEEP_NUMBER,
    KEEP_FORMAT,
    UNLESS_OLD = 16,
    UNLESS_NO_LIMITS = 32
};
// clang-format off
static const struct word gemini_values[] = { /* kept as they are */
    {"title", KEEP_STRING | UNLESS_OLD},      {"description", KEEP_STRING},
    {"format", KEEP_FORMAT},                  {"pattern", KEEP_STRING | UNLESS_NO_LIMITS},
    {"minLength", KEEP_NUMBER | UNLESS_NO_LIMITS}, {"maxLength", KEEP_NUMBER | UNLESS_NO_LIMITS},
    {"minItems", KEEP_NUMBER | UNLESS_NO_LIMITS},  {"maxItems", KEEP_NUMBER | UNLESS_NO_LIMITS},
    {"minProperties", KEEP_NUMBER},           {"maxProperties", KEEP_NUMBER},
    {"minimum", KEEP_NUMBER},                 {"maximum", KEEP_NUMBER},
    {"example", KEEP_ALWAYS},                 {"default", KEEP_ALWAYS | UNLESS_OLD},
    {0},
};
static const struct word gemini_formats[] = {
    {"enum", 1}, {"date-time", 1}, {"int32", 1}, {"int64", 1}, {"float", 1}, {"double", 1}, {0},
};
// clang-format on

static void gather(struct walk *k, yyjson_val *schema, struct gathered *g, unsigned depth);

static void add_property(struct walk *k, struct gathered *g, struct str name, yyjson_val *schema)
{
    if (map_get(&g->by_name, name))
        return;
    struct property *p = ARENA_NEW(k->arena, struct property);
    p->name = name;
    p->schema = schema;
    *g->properties_tail = p;
    g->properties_tail = &p->next;
    map_set(&g->by_name, name, p);
}

static void add_required(struct walk *k, struct gathered *g, struct str text)
{
    struct name *n = ARENA_NEW(k->arena, struct name);
    n->text = text;
    *g->required_tail = n;
    g->required_tail = &n->next;
}

static void gather_type(struct gathered *g, yyjson_val *v)
{
    if (yyjson_is_str(v)) {
        if (str_eq_nocase(json_str(v), STR("null")))
            g->is_nullable = true;
        else if (g->type.n == 0 && !g->types)
            g->type = json_str(v);
        return;
    }
    yyjson_val *item;
    size_t i, n, real = 0;
    struct str only = STR_NONE;
    yyjson_arr_foreach (v, i, n, item) {
        if (str_eq_nocase(json_str(item), STR("null"))) {
            g->is_nullable = true;
        } else if (yyjson_is_str(item)) {
            only = json_str(item);
            real++;
        }
    }
    if (g->type.n || g->types)
        return;
    if (real == 1)
        g->type = only;
    else if (real > 1)
        g->types = v;
}

static bool is_null_schema(yyjson_val *v)
{
    yyjson_val *constant = json_get(v, "const"), *types = json_get(v, "enum");
    return is_type(v, "null") || yyjson_is_null(constant) ||
           (yyjson_arr_size(types) == 1 && yyjson_is_null(yyjson_arr_get_first(types)));
}

static int telling(struct walk *k, yyjson_val *v)
{
    struct str ref = json_get_str(v, "$ref");
    yyjson_val *target = ref.n ? resolve(k, ref) : NULL;
    if (target)
        v = target;
    if (is_type(v, "object") || json_get(v, "properties"))
        return 3;
    return is_type(v, "array") || json_get(v, "items") ? 2 : 1;
}

static void gather_variants(struct walk *k, yyjson_val *list, struct gathered *g, unsigned depth)
{
    yyjson_val *v, *best = NULL;
    size_t i, n, real = 0;
    yyjson_arr_foreach (list, i, n, v) {
        if (!yyjson_is_obj(v))
            continue;
        if (is_null_schema(v)) {
            g->is_nullable = true;
            continue;
        }
        real++;
        if (!best || telling(k, v) > telling(k, best))
            best = v;
    }
    if (real == 1 || (real > 1 && (k->flags & SCHEMA_NO_ANY_OF)))
        gather(k, best, g, depth + 1);
    else if (real > 1 && !g->variants)
        g->variants = list;
}

static void gather_value(struct walk *k, struct str key, yyjson_val *v, struct gathered *g)
{
    for (size_t i = 0; gemini_values[i].text; i++) {
        if (!str_eq(key, str_of(gemini_values[i].text)))
            continue;
        int rule = gemini_values[i].value, kind = rule & 15;
        bool fits = kind == KEEP_ALWAYS || (kind == KEEP_STRING && yyjson_is_str(v)) ||
                    (kind == KEEP_NUMBER && (json_is_number(v) || is_number_text(json_str(v)))) ||
                    (kind == KEEP_FORMAT && word_value(gemini_formats, json_str(v), 0));
        if ((rule & UNLESS_OLD && k->flags & SCHEMA_OLD_GEMINI) ||
            (rule & UNLESS_NO_LIMITS && k->flags & SCHEMA_NO_LIMITS))
            return;
        if (fits && !g->value[i])
            g->value[i] = v;
        return;
    }
}

static void gather_keyword(struct walk *k, struct str key, yyjson_val *v, struct gathered *g,
                           unsigned depth)
{
    yyjson_val *name, *item;
    size_t i, n;
    if (str_is(key, "type")) {
        gather_type(g, v);
    } else if (str_is(key, "nullable")) {
        g->is_nullable = g->is_nullable || yyjson_is_true(v);
    } else if (str_is(key, "properties")) {
        yyjson_obj_foreach (v, i, n, name, item)
            add_property(k, g, json_str(name), item);
    } else if (str_is(key, "required")) {
        yyjson_arr_foreach (v, i, n, item)
            add_required(k, g, json_str(item));
    } else if (str_is(key, "allOf")) {
        yyjson_arr_foreach (v, i, n, item)
            gather(k, item, g, depth + 1);
    } else if (str_is(key, "anyOf") || str_is(key, "oneOf")) {
        gather_variants(k, v, g, depth);
    } else if (str_is(key, "const")) {
        g->constant = g->constant ? g->constant : v;
    } else if (str_is(key, "enum")) {
        g->enumeration = g->enumeration || !yyjson_is_arr(v) ? g->enumeration : v;
    } else if (str_is(key, "items") || str_is(key, "prefixItems")) {
        if (yyjson_is_arr(v))
            v = yyjson_arr_get_first(v);
        if (yyjson_is_obj(v) && (!g->items || str_is(key, "items")))
            g->items = v;
    } else if (str_is(key, "propertyOrdering")) {
        g->ordering = yyjson_is_arr(v) ? v : g->ordering;
    } else {
        gather_value(k, key, v, g);
    }
}

static void gather(struct walk *k, yyjson_val *schema, struct gathered *g, unsigned depth)
{
    yyjson_val *key, *v;
    size_t i, n;
    if (!yyjson_is_obj(schema) || depth > DEEPEST || !spend(k))
        return;
    yyjson_obj_foreach (schema, i, n, key, v)
        gather_keyword(k, json_str(key), v, g, depth);
    struct str ref = json_get_str(schema, "$ref"); /* last: what stands beside it wins */
    if (ref.n == 0)
        return;
    yyjson_val *target = enter_ref(k, ref);
    if (!target) {
        g->is_lost = true;
        return;
    }
    gather(k, target, g, depth + 1); /* stays open while its parts are written: gemini_schema */
}

/* ---- writing Google's dialect ---- */

static void gemini_schema(struct walk *k, yyjson_val *schema);

static bool is_numeric(struct str type)
{
    return str_eq_nocase(type, STR("integer")) || str_eq_nocase(type, STR("number"));
}

static struct str type_of_value(yyjson_val *v)
{
    int64_t ignored;
    if (yyjson_is_str(v))
        return STR("string");
    if (json_is_number(v))
        return json_int(v, &ignored) ? STR("integer") : STR("number");
    if (yyjson_is_bool(v))
        return STR("boolean");
    if (yyjson_is_arr(v))
        return STR("array");
    return yyjson_is_obj(v) ? STR("object") : STR_NONE;
}

static struct str type_of_list(yyjson_val *list)
{
    yyjson_val *v;
    size_t i, n;
    struct str type = STR_NONE;
    yyjson_arr_foreach (list, i, n, v) {
        struct str t = type_of_value(v);
        if (type.n == 0)
            type = t;
        else if (t.n && !str_eq(t, type))
            return is_numeric(t) && is_numeric(type) ? STR("number") : STR("string");
    }
    return type;
}

static void settle_type(struct gathered *g)
{
    yyjson_val *v;
    size_t i, n;
    yyjson_arr_foreach (g->enumeration, i, n, v)
        g->is_nullable = g->is_nullable || yyjson_is_null(v);
    g->is_nullable = g->is_nullable || yyjson_is_null(g->constant);
    if (g->type.n || g->types || g->variants)
        return;
    if (g->properties)
        g->type = STR("object");
    else if (g->items)
        g->type = STR("array");
    else if (g->constant)
        g->type = type_of_value(g->constant);
    else if (g->enumeration)
        g->type = type_of_list(g->enumeration);
    if (g->type.n == 0)
        g->type = g->is_lost ? STR("object")
                             : STR("string"); /* the dialect has no word for "anything" */
}

static void write_enum_member(struct jw *w, yyjson_val *v, size_t *written)
{
    bool is_text = yyjson_is_str(v) && yyjson_get_len(v);
    struct str other = json_is_number(v)   ? json_lexeme(v)
                       : yyjson_is_bool(v) ? (yyjson_get_bool(v) ? STR("true") : STR("false"))
                                           : STR_NONE;
    if (!is_text && other.n == 0)
        return; /* an empty string is refused, null is said by nullable */
    if ((*written)++ == 0) {
        jw_key(w, "enum");
        jw_array(w);
    }
    jw_str(w, is_text ? json_str(v) : other);
}

/* Only strings may be enumerated: for numbers the list is dropped rather than the type changed under the tool. */
static void write_enum(struct walk *k, const struct gathered *g)
{
    yyjson_val *v;
    size_t i, n, written = 0;
    if (!str_eq_nocase(g->type, STR("string")))
        return;
    if (g->constant)
        write_enum_member(k->w, g->constant, &written);
    yyjson_arr_foreach (g->constant ? NULL : g->enumeration, i, n, v)
        write_enum_member(k->w, v, &written);
    if (written)
        jw_array_end(k->w);
}

static void write_values(struct walk *k, const struct gathered *g)
{
    bool is_fixed = is_numeric(g->type) &&
                    json_is_number(g->constant); /* const: 5 is said by its bounds */
    for (size_t i = 0; gemini_values[i].text; i++) {
        const char *key = gemini_values[i].text;
        if (is_fixed && (str_is(str_of(key), "minimum") || str_is(str_of(key), "maximum"))) {
            jw_kv_val(k->w, key, g->constant);
        } else if (g->value[i]) {
            jw_key(k->w, key);
            if ((gemini_values[i].value & 15) == KEEP_NUMBER)
                write_number(k->w, g->value[i]);
            else
                jw_val(k->w, g->value[i]);
        }
    }
}

static void write_name(struct walk *k, const char *key, struct str name, size_t *written)
{
    if ((*written)++ == 0) {
        jw_key(k->w, key);
        jw_array(k->w);
    }
    jw_str(k->w, name);
}

static void write_required(struct walk *k, const struct gathered *g)
{
    yyjson_val *v;
    size_t i, n, written = 0;
    for (const struct name *name = g->required; name; name = name->next) {
        struct property *p = map_get(&g->by_name, name->text);
        if (p && !p->is_required)
            write_name(k, "required", name->text, &written);
        if (p)
            p->is_required = true;
    }
    if (written)
        jw_array_end(k->w);
    written = 0;
    yyjson_arr_foreach (g->ordering, i, n, v) {
        if (yyjson_is_str(v) && map_get(&g->by_name, json_str(v)))
            write_name(k, "propertyOrdering", json_str(v), &written);
    }
    if (written)
        jw_array_end(k->w);
}

static void write_reason(struct walk *k)
{
    jw_key(k->w, "properties");
    jw_object(k->w);
    jw_key(k->w, "reason");
    jw_object(k->w);
    jw_kv_cstr(k->w, "type", "string");
    jw_kv_cstr(k->w, "description", "Why this is called");
    jw_object_end(k->w);
    jw_object_end(k->w);
    jw_key(k->w, "required");
    jw_array(k->w);
    jw_cstr(k->w, "reason");
    jw_array_end(k->w);
}

static void write_properties(struct walk *k, const struct gathered *g)
{
    if (!g->properties) {
        if (str_eq_nocase(g->type, STR("object")) && (k->flags & SCHEMA_NEEDS_PROPERTY))
            write_reason(k);
        return;
    }
    jw_key(k->w, "properties");
    jw_object(k->w);
    for (const struct property *p = g->properties; p; p = p->next) {
        jw_key_str(k->w, p->name);
        gemini_schema(k, p->schema);
    }
    jw_object_end(k->w);
    write_required(k, g);
}

static void write_only_type(struct jw *w, struct str type)
{
    jw_object(w);
    jw_kv_str(w, "type", type);
    jw_object_end(w);
}

static void write_variants(struct walk *k, const struct gathered *g)
{
    yyjson_val *v;
    size_t i, n;
    if (!g->variants && !g->types)
        return;
    jw_key(k->w, "anyOf");
    jw_array(k->w);
    yyjson_arr_foreach (g->variants, i, n, v) {
        if (yyjson_is_obj(v) && !is_null_schema(v))
            gemini_schema(k, v);
    }
    yyjson_arr_foreach (g->variants ? NULL : g->types, i, n, v) {
        if (!yyjson_is_str(v) || str_eq_nocase(json_str(v), STR("null")))
            continue;
        if (str_eq_nocase(json_str(v), STR("array")) && g->items) {
            jw_object(k->w);
            jw_kv_str(k->w, "type", json_str(v));
            jw_key(k->w, "items");
            gemini_schema(k, g->items);
            jw_object_end(k->w);
        } else if (str_eq_nocase(json_str(v), STR("array"))) {
            jw_object(k->w);
            jw_kv_str(k->w, "type", json_str(v));
            jw_key(k->w, "items");
            write_only_type(k->w, STR("string"));
            jw_object_end(k->w);
        } else {
            write_only_type(k->w, json_str(v));
        }
    }
    jw_array_end(k->w);
}

/* Of several types, where there is no anyOf: the most telling one. */
static void settle_types(struct gathered *g)
{
    yyjson_val *v;
    size_t i, n;
    int best = 0;
    yyjson_arr_foreach (g->types, i, n, v) {
        struct str t = json_str(v);
        int score = str_eq_nocase(t, STR("object"))  ? 3
                    : str_eq_nocase(t, STR("array")) ? 2
                                                     : t.n != 0;
        if (str_eq_nocase(t, STR("null")) || score <= best)
            continue;
        best = score;
        g->type = t;
    }
    g->types = NULL;
}

static void gemini_members(struct walk *k, struct gathered *g)
{
    if (g->types && (k->flags & SCHEMA_NO_ANY_OF))
        settle_types(g);
    if (g->types && g->properties) {
        g->types = NULL;
        g->type = STR("object");
    }
    settle_type(g);
    bool has_union = g->variants || g->types;
    if (!has_union)
        jw_kv_str(k->w, "type", g->type);
    write_values(k, g);
    if (g->is_nullable)
        jw_kv_bool(k->w, "nullable", true);
    write_enum(k, g);
    write_properties(k, g);
    if (str_eq_nocase(g->type, STR("array")) && !has_union) {
        jw_key(k->w, "items");
        if (g->items)
            gemini_schema(k, g->items);
        else
            write_only_type(k->w, STR("string"));
    }
    write_variants(k, g);
}

static void gathered_init(struct gathered *g)
{
    *g = (struct gathered){0};
    g->properties_tail = &g->properties;
    g->required_tail = &g->required;
    map_init(&g->by_name);
}

/* Properties of its own beside variants that have more: all become one object, since Google wants anyOf alone. What only
 * some variants require is not required. Variants that say nothing but `required` vanish here. */
static void merge_variants(struct walk *k, struct gathered *g)
{
    yyjson_val *v;
    size_t i, n;
    struct gathered kept = *g;
    yyjson_arr_foreach (kept.variants, i, n, v)
        gather(k, v, g, 1);
    kept.properties_tail = g->properties_tail;
    kept.by_name = g->by_name;
    kept.variants = NULL;
    *kept.required_tail = NULL;
    *g = kept;
}

static void gather_all(struct walk *k, yyjson_val *schema, struct gathered *g)
{
    gathered_init(g);
    gather(k, schema, g, 0);
    if (g->properties && g->variants)
        merge_variants(k, g);
}

static void gemini_schema(struct walk *k, yyjson_val *schema)
{
    struct gathered g;
    unsigned refs = k->n_refs;
    if (!yyjson_is_obj(schema)) {
        write_only_type(k->w, STR("string"));
        return;
    }
    if (k->depth == DEEPEST || k->budget == 0) {
        write_any_object(k->w);
        return;
    }
    gather_all(k, schema, &g);
    bool went_on = k->n_refs > refs;
    k->depth++;
    k->ref_depth += went_on;
    jw_object(k->w);
    gemini_members(k, &g);
    jw_object_end(k->w);
    k->ref_depth -= went_on;
    k->depth--;
    k->n_refs = refs; /* only now: its parts may lead back to what they came from */
    map_done(&g.by_name);
}

/* Whether Google would refuse the parameters, since an object needs a property. */
static bool is_empty_object(struct walk *k, yyjson_val *schema)
{
    struct gathered g;
    gather_all(k, schema, &g);
    k->n_refs = 0;
    settle_type(&g);
    map_done(&g.by_name);
    return yyjson_obj_size(schema) == 0 ||
           (str_eq_nocase(g.type, STR("object")) && !g.properties && !g.variants);
}

/* ---- the doors ---- */

/* Nothing required but what stands among the properties. */
static bool requires_its_own(yyjson_val *schema)
{
    yyjson_val *required = json_get(schema, "required"), *properties, *v;
    size_t i, n;
    if (!required)
        return true;
    properties = json_get(schema, "properties");
    if (!yyjson_is_arr(required) || yyjson_arr_size(required) == 0 ||
        yyjson_arr_size(required) > 16)
        return false;
    yyjson_arr_foreach (required, i, n, v)
        if (!yyjson_is_str(v) || !get(properties, json_str(v)))
            return false;
    return true;
}

/* Whether the copying writer would change nothing, told in one walk over all values without asking where they stand: true is
 * certain, false may also be said of a schema that speaks of such keywords only as data. */
static bool is_clean(yyjson_val *schema, enum schema_profile profile, unsigned flags)
{
    yyjson_val *type = json_get(schema, "type");
    bool is_object = str_eq_nocase(json_str(type), STR("object"));
    bool is_google = profile == SCHEMA_GEMINI_JSON;
    if ((!is_google && profile != SCHEMA_OPENAI && profile != SCHEMA_ANTHROPIC) ||
        (flags & SCHEMA_ADD_ITEMS) || (!type && profile == SCHEMA_ANTHROPIC) ||
        (!is_google && is_object && !json_get(schema, "properties")))
        return false;
    unsigned n_containers = 0;
    yyjson_val *end = unsafe_yyjson_get_next(schema);
    for (yyjson_val *v = schema; v < end; v++) {
        n_containers += unsafe_yyjson_is_ctn(v);
        if (is_google && yyjson_is_obj(v) && !requires_its_own(v))
            return false;
        if (!yyjson_is_str(v))
            continue;
        struct str s = str_n(unsafe_yyjson_get_str(v), unsafe_yyjson_get_len(v));
        if (s.n == 0)
            continue;
        if (s.p[0] == '$' || ((flags & SCHEMA_DROP_REF_NAME) && str_is(s, "ref")) ||
            ((flags & SCHEMA_INLINE_REFS) && str_is(s, "definitions")))
            return false;
        bool is_limit = s.n >= 7 && s.n <= 16 && (s.p[0] == 'm' || s.p[0] == 'e');
        if (is_limit && v + 1 < end && yyjson_is_str(v + 1) &&
            word_value(keywords, s, PLACE_VALUE) == PLACE_NUMBER)
            return false;
    }
    return n_containers <= DEEPEST; /* so that none is nested deeper, nor the budget spent */
}

bool schema_clean(struct arena *a, yyjson_val *schema, enum schema_profile profile, unsigned flags,
                  struct jw *w)
{
    if (!yyjson_is_obj(schema))
        return false;
    if (is_clean(schema, profile, flags)) {
        jw_val(w, schema);
        return true;
    }
    struct walk k = {.arena = a,
                     .root = schema,
                     .profile = profile,
                     .flags = flags,
                     .w = w,
                     .budget = BUDGET,
                     .cycle_budget = CYCLE_BUDGET};
    switch (profile) {
    case SCHEMA_KEEP:
        jw_val(w, schema);
        return true;
    case SCHEMA_GEMINI:
        if (is_empty_object(&k, schema)) {
            if (!(flags & SCHEMA_NEEDS_PROPERTY))
                return false;
            jw_object(w);
            jw_kv_cstr(w, "type", "object");
            write_reason(&k);
            jw_object_end(w);
            return true;
        }
        k.budget = BUDGET;
        gemini_schema(&k, schema);
        return true;
    case SCHEMA_OPENAI:
    case SCHEMA_ANTHROPIC:
    case SCHEMA_GEMINI_JSON:
        copy_schema(&k, schema);
        return true;
    }
    return false;
}

bool schema_from_gemini(struct arena *a, yyjson_val *schema, struct jw *w)
{
    if (!yyjson_is_obj(schema))
        return false;
    struct walk k = {.arena = a,
                     .root = schema,
                     .profile = SCHEMA_KEEP,
                     .w = w,
                     .budget = BUDGET,
                     .cycle_budget = CYCLE_BUDGET};
    k.from_gemini = true;
    copy_schema(&k, schema);
    return true;
}

static struct str text_of(struct buf *b, bool is_written)
{
    return is_written && !buf_failed(b) ? buf_str(b) : STR_NONE;
}

struct str schema_clean_text(struct arena *a, yyjson_val *schema, enum schema_profile profile,
                             unsigned flags)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    return text_of(&b, schema_clean(a, schema, profile, flags, &w));
}

struct str schema_from_gemini_text(struct arena *a, yyjson_val *schema)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    return text_of(&b, schema_from_gemini(a, schema, &w));
}
