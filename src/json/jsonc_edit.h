/* jsonc_edit.h - changes one value in the text of a JSON with comments and leaves every other byte: comments, order, indentation,
 * line ends and the habit about trailing commas stay. Text in, text out; no file is touched.
 *
 * A path is a list of names; in an array a step is the decimal place of an element. A step that is not there, all but the last, is
 * made an object. Of members of the same name the last is meant, as readers do. The text must parse (with ${VAR} where a value
 * may stand), and what comes out does. */
#ifndef JSON_JSONC_EDIT_H
#define JSON_JSONC_EDIT_H
#include "json/json.h"

/* Replaces the value, or adds it at the end of its object; the step "-" adds to the end of an array. json: the new value. Of an object or
 * array in the place of one, only the members and elements that differ are touched. */
bool jsonc_set(struct arena *a, struct str text, const struct str *path, size_t n, struct str json, struct str *out,
               struct err *e) MUST_USE;
/* With the comments behind it on its line, and those on the lines directly above, unless it is the first of its object. What is not there
 * is no error. */
bool jsonc_remove(struct arena *a, struct str text, const struct str *path, size_t n, struct str *out, struct err *e) MUST_USE;
bool jsonc_rename(struct arena *a, struct str text, const struct str *path, size_t n, struct str name, struct str *out,
                  struct err *e) MUST_USE; /* ERR_NOT_FOUND when it is not there */
/* As jsonc_set() and jsonc_remove(), without a look whether text parses: one of many edits. Parse what comes out of the last. */
bool jsonc_put(struct arena *a, struct str text, const struct str *path, size_t n, struct str json, struct str *out,
               struct err *e) MUST_USE;
bool jsonc_cut(struct arena *a, struct str text, const struct str *path, size_t n, struct str *out, struct err *e) MUST_USE;
#endif
