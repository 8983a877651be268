/* jsonc_lex.h - a lexer of JSON with comments that keeps positions. The text may be anything: it never fails, it only
 * finds less. ${VAR} may stand in place of a value. */
#ifndef JSON_JSONC_LEX_H
#define JSON_JSONC_LEX_H
#include "base/str.h"

size_t jsonc_skip_blank(struct str t, size_t i);              /* behind white space and comments */
size_t jsonc_skip_string(struct str t, size_t i);             /* t.p[i] is the opening quote: behind the closing one */
size_t jsonc_skip_value(struct str t, size_t i);              /* behind the value that begins at i; always further than i */
#endif
