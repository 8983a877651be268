/* jsonc_place.h - beside the parser of json/: where a member stands in the text of a configuration file, and ${VAR} in
 * place of a value. */
#ifndef JSON_JSONC_PLACE_H
#define JSON_JSONC_PLACE_H
#include "json/json.h"

/* "sluice.jsonc:12:5: " of the value at a path such as providers.oa.type or server.api_keys[2]; names may hold dots. The
 * nearest parent when the value itself is not there. */
struct str jsonc_where(struct arena *a, const char *file, struct str text, struct str path);
/* The first member whose name its object had before: "sluice.jsonc:12:5: 'name' stands there twice: the last one counts"; STR_NONE: none.
 * Of a text that parses. */
struct str jsonc_twice(struct arena *a, const char *file, struct str text);
/* Replaces ${VAR} outside strings and comments by the variable's text, so that numbers may come from the environment.
 * An unset one is an error that says where it stands. */
bool jsonc_fill(struct arena *a, const char *file, struct str text, struct str *out, struct err *e) MUST_USE;
/* The same places made strings, "${VAR}": the text can be parsed without its variables. */
struct str jsonc_quote(struct arena *a, struct str text);
#endif
