/* schema.h - a JSON Schema as a target accepts it (tool parameters, response schemas).
 * Knows a schema's place from a property's name: a property called "const" or "default" is left alone. Pure. */
#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H
#include "json/json.h"

enum schema_profile {
    SCHEMA_KEEP,        /* as it came, byte for byte but for white space */
    SCHEMA_OPENAI,      /* meta keywords dropped */
    SCHEMA_ANTHROPIC,   /* the same; the top is an object with properties */
    SCHEMA_GEMINI,      /* Google's Schema dialect: parameters, responseSchema */
    SCHEMA_GEMINI_JSON, /* parametersJsonSchema, responseJsonSchema */
};
enum schema_flag {
    SCHEMA_INLINE_REFS = 1u << 0,    /* $ref becomes what it points to (SCHEMA_GEMINI always does) */
    SCHEMA_ADD_ITEMS = 1u << 1,      /* an array without items gets {"type":"string"} (SCHEMA_GEMINI always does) */
    SCHEMA_NO_ANY_OF = 1u << 2,      /* gemini: the backend has no anyOf; the most telling variant is taken */
    SCHEMA_NO_LIMITS = 1u << 3,      /* gemini: no pattern, minLength, maxLength, minItems, maxItems (Cloud Code) */
    SCHEMA_OLD_GEMINI = 1u << 4,     /* gemini: no default, no title */
    SCHEMA_NEEDS_PROPERTY = 1u << 5, /* gemini: an empty object gets a required string "reason" instead of being left out */
    SCHEMA_DROP_REF_NAME = 1u << 6,  /* a bare "ref" keyword goes too */
};
/* Writes the schema as one value (after jw_key, in an array …). false: nothing was written, the field is to be left out
 * (schema absent or no object; for SCHEMA_GEMINI also an object without properties at the top). a: for what the work needs. */
bool schema_clean(struct arena *a, yyjson_val *schema, enum schema_profile profile, unsigned flags, struct jw *w);
/* The same as JSON text in the arena; empty: to be left out. */
struct str schema_clean_text(struct arena *a, yyjson_val *schema, enum schema_profile profile, unsigned flags);

/* Google's dialect to JSON Schema: types in lower case, nullable:true to a union with null, propertyOrdering dropped,
 * example to examples. */
bool schema_from_gemini(struct arena *a, yyjson_val *schema, struct jw *w);
struct str schema_from_gemini_text(struct arena *a, yyjson_val *schema);
#endif
