/* regex.h - regular expressions that somebody else wrote, over texts that somebody else wrote: in time that is linear in both, without
 * backtracking and without memory beyond the stack's. Bytes, not characters.
 * Literals, . [a-z] [^…] ( ) (?: ) | * + ? {m,n} ^ $ \b \B \d \D \w \W \s \S \t \n \r and escaped punctuation. No back references, no
 * looking around. */
#ifndef BASE_REGEX_H
#define BASE_REGEX_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct regex;
const struct regex *regex_new(struct arena *a, struct str pattern, struct err *e) MUST_USE; /* NULL: ERR_INPUT says why */
bool regex_finds(const struct regex *r, struct str text) MUST_USE; /* somewhere in the text */
#endif
