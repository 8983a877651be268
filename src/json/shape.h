/* shape.h - the JSON of a struct, as a table: one table decodes, validates (naming the bad field), encodes, and describes
 * itself as JSON Schema. There is no kind for struct secret, on purpose.
 *
 *     struct org_in { struct str name; int64_t budget_nanousd; };
 *     static const struct shape org_in_shape = SHAPE(struct org_in,
 *         FIELD(struct org_in, name,           REQUIRED, "Display name, unique on this node"),
 *         FIELD(struct org_in, budget_nanousd, 0,        "Monthly ceiling in nano-USD; 0 means none"));
 */
#ifndef JSON_SHAPE_H
#define JSON_SHAPE_H
#include "json/json.h"

struct strs { /* an array of strings */
    struct str *v;
    size_t n;
};
struct shape_list { /* an array of structs of one shape */
    void *v;
    size_t n;
};

enum shape_kind {
    SHAPE_BOOL,
    SHAPE_INT32,
    SHAPE_UINT32,
    SHAPE_INT64,
    SHAPE_DOUBLE,
    SHAPE_STR,
    SHAPE_STRS,
    SHAPE_JSON,   /* yyjson_val *: any value, as it came; NULL: absent */
    SHAPE_ENUM,   /* an enum, spelled as its word table says */
    SHAPE_OBJECT, /* a struct inside */
    SHAPE_LIST,   /* struct shape_list */
};
enum field_flag {
    REQUIRED = 1u << 0,     /* reading: must be there and not null */
    NOT_EMPTY = 1u << 1,    /* reading: a string or array must hold something */
    NOT_NEGATIVE = 1u << 2, /* reading: a number must be >= 0 */
    READ_ONLY = 1u << 3,    /* reading: ignored; only we set it */
    WRITE_ONLY = 1u << 4,   /* writing: left out */
    OMIT_EMPTY = 1u << 5,   /* writing: left out when false, 0, "" or [] */
    NULL_EMPTY = 1u << 6,   /* writing: null when 0, "" or [] */
    NULL_NEGATIVE = 1u << 7, /* writing: null when below 0, our sign of unknown */
    TRIM = 1u << 8,         /* reading: a string loses white space at both ends, before it is measured */
    NULL_LEAST = 1u << 10,  /* writing: null when INT64_MIN: of a number that may be below 0 */
    COERCE = 1u << 9,       /* reading: a number may come as the text of one */
};

struct shape;
struct field {
    const char *name;
    const char *alias;         /* second name, accepted when reading; may be NULL */
    const char *doc;           /* one sentence */
    enum shape_kind kind;
    unsigned flags;            /* enum field_flag */
    size_t offset, size;
    int64_t min, max;          /* of a number, or of a string's length in characters; min == max: not bounded */
    const struct word *words;  /* SHAPE_ENUM */
    const struct shape *shape; /* SHAPE_OBJECT, SHAPE_LIST */
};
struct shape {
    const char *name;          /* of the struct's type */
    size_t size;
    const struct field *fields;
    size_t n_fields;           /* at most 64 */
    bool is_strict;            /* unknown members are refused instead of ignored */
};

// clang-format off
#define SHAPE_KIND(type, member) _Generic(((type *)0)->member, \
    bool: SHAPE_BOOL, int32_t: SHAPE_INT32, uint32_t: SHAPE_UINT32, int64_t: SHAPE_INT64, double: SHAPE_DOUBLE, \
    struct str: SHAPE_STR, struct strs: SHAPE_STRS, yyjson_val *: SHAPE_JSON)
#define FIELD_BASE(type, member, json_name, kind_, flags_, doc_) .name = (json_name), .doc = (doc_), .kind = (kind_), \
    .flags = (flags_), .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define FIELD(type, member, flags, doc) {FIELD_BASE(type, member, #member, SHAPE_KIND(type, member), flags, doc)}
/* another name than the member's; alias may be NULL */
#define FIELD_AS(type, member, json_name, alias_, flags, doc) \
    {FIELD_BASE(type, member, json_name, SHAPE_KIND(type, member), flags, doc), .alias = (alias_)}
#define FIELD_AS_RANGE(type, member, json_name, min_, max_, flags, doc) \
    {FIELD_BASE(type, member, json_name, SHAPE_KIND(type, member), flags, doc), .min = (min_), .max = (max_)}
#define FIELD_RANGE(type, member, min_, max_, flags, doc) \
    {FIELD_BASE(type, member, #member, SHAPE_KIND(type, member), flags, doc), .min = (min_), .max = (max_)}
/* a string of min to max characters */
#define FIELD_TEXT(type, member, min_, max_, flags, doc) FIELD_RANGE(type, member, min_, max_, flags, doc)
#define FIELD_AS_TEXT(type, member, json_name, alias_, min_, max_, flags, doc) \
    {FIELD_BASE(type, member, json_name, SHAPE_KIND(type, member), flags, doc), .alias = (alias_), .min = (min_), .max = (max_)}
#define FIELD_ENUM(type, member, words_, flags, doc) \
    {FIELD_BASE(type, member, #member, _Generic(((type *)0)->member, unsigned: SHAPE_ENUM, int: SHAPE_ENUM), flags, doc), \
     .words = (words_)}
#define FIELD_OBJECT(type, member, shape_, flags, doc) \
    {FIELD_BASE(type, member, #member, SHAPE_OBJECT, flags, doc), .shape = (shape_)}
#define FIELD_LIST(type, member, shape_, flags, doc) \
    {FIELD_BASE(type, member, #member, _Generic(((type *)0)->member, struct shape_list: SHAPE_LIST), flags, doc), \
     .shape = (shape_)}
#define SHAPE_OF(type, strict, ...) {.name = #type, .size = sizeof(type), .fields = (const struct field[]){__VA_ARGS__}, \
    .n_fields = sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field), .is_strict = (strict)}
#define SHAPE(type, ...) SHAPE_OF(type, false, __VA_ARGS__)
#define SHAPE_STRICT(type, ...) SHAPE_OF(type, true, __VA_ARGS__)
// clang-format on

/* Fills the members that the object has; the others keep what they hold, so set defaults before. Strings are views into the
 * parsed document. null is as if absent. present (may be NULL): bit i is set when field i stood there and was not null, for
 * partial updates. false: ERR_INPUT with the field's path, "targets[2].provider". */
bool shape_read(const struct shape *s, struct arena *a, yyjson_val *object, void *out, uint64_t *present,
                struct err *e) MUST_USE;
/* The same from texts by name, as a query string has them: text(arg, a, name) answers STR_NONE for what is absent. Numbers and
 * booleans (true, false, 1, 0) are read from their text, an array is a comma list; what does not fit is refused as in JSON. */
typedef struct str shape_text_fn(void *arg, struct arena *a, const char *name);
bool shape_read_texts(const struct shape *s, struct arena *a, shape_text_fn *text, void *arg, void *out, uint64_t *present,
                      struct err *e) MUST_USE;
void shape_write(const struct shape *s, const void *in, struct jw *w); /* one object */
void shape_write_list(const struct shape *s, const void *first, size_t n, struct jw *w); /* an array of them */
void shape_schema(const struct shape *s, struct jw *w);                /* its JSON Schema, as OpenAPI 3.1 takes it */
void shape_schema_out(const struct shape *s, struct jw *w);            /* of what shape_write writes: all is there but OMIT_EMPTY */
void shape_field_schema(const struct field *f, struct jw *w);          /* of one of its members */
/* Mistakes of ours in a table: a field without sentence, twice the same name, a nested shape of another size. For tests.
 * The answer says what is wrong; empty: nothing. */
struct str shape_check(const struct shape *s, struct arena *a);
#endif
