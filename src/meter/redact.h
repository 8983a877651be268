/* redact.h - takes secrets out of texts that are kept: configured fields and patterns, and what looks like a credential. */
#ifndef METER_REDACT_H
#define METER_REDACT_H
#include "base/buf.h"
#include "base/err.h"

struct redactor;                                              /* immutable, shared between threads */
/* fields: names of JSON members whose values go (null stays), comma-separated, at most REDACT_FIELDS; the case of ASCII does not matter. pattern: a POSIX extended expression; empty:
 * none. Both are copied. NULL: ERR_INPUT, the pattern is none. */
struct redactor *redactor_new(struct str fields, struct str pattern, struct err *e) MUST_USE;
struct redactor *redactor_ref(struct redactor *r);            /* NULL is allowed */
void redactor_unref(struct redactor *r);                      /* NULL is allowed */
/* Appends text to out without them. known: secrets of 8 bytes or more, found in the escapes of JSON and of URLs as well, and where a text
 * ends with 8 bytes of one. r NULL: only these and the usual shapes. */
void redact(const struct redactor *r, struct str text, const struct str *known, size_t n_known, struct buf *out);
/* The same for known secrets only; text itself where there is none. For what goes to others as it came. */
struct str redact_known(struct arena *a, struct str text, const struct str *known, size_t n_known);
size_t redact_open(struct str text, const struct str *known, size_t n_known); /* bytes at its end that begin one of them, and must wait for what follows */
#endif
