/* shape_json.h - members that hold JSON as it came (yyjson_val *) and whose insides are known all the same: what a configuration says, a
 * map by names. It is for their JSON Schema; what is read into them is the reader's to check. */
#ifndef JSON_SHAPE_JSON_H
#define JSON_SHAPE_JSON_H
#include "json/shape.h"

enum json_kind {              /* in struct field's flags, beside enum field_flag: what the member is; without any: like its shape */
    JSON_MAP = 1u << 16,      /* an object with names of somebody's choice, each value like its shape */
    JSON_LIST = 1u << 17,     /* an array of such */
};
/* Shapes of values that are no objects, and of an object of which no more is said. */
extern const struct shape json_of_text, json_of_integer, json_of_number, json_of_object, json_of_truth;
const char *json_shape_type(const struct shape *s); /* "string", …; NULL: an object of its fields */

// clang-format off
#define FIELD_JSON(type, member, kind_, shape_, flags_, doc_) \
    {FIELD_BASE(type, member, #member, _Generic(((type *)0)->member, yyjson_val *: SHAPE_JSON), (flags_) | (kind_), doc_), .shape = (shape_)}
#define FIELD_AS_JSON(type, member, json_name, kind_, shape_, flags_, doc_) \
    {FIELD_BASE(type, member, json_name, _Generic(((type *)0)->member, yyjson_val *: SHAPE_JSON), (flags_) | (kind_), doc_), .shape = (shape_)}
/* A shape that only describes: no struct stands behind it. */
#define MEMBER(name_, kind_, flags_, doc_) {.name = (name_), .kind = (kind_), .flags = (flags_), .doc = (doc_)}
#define MEMBERS(name_, ...) {.name = (name_), .fields = (const struct field[]){__VA_ARGS__}, \
    .n_fields = sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field)}
// clang-format on
#endif
