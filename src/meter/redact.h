/* redact.h - takes secrets out of texts that are kept: configured fields and patterns, and what looks like a credential. */
#ifndef METER_REDACT_H
#define METER_REDACT_H
#include "base/buf.h"
#include "base/err.h"

struct redactor;                                              /* immutable, shared between threads */
/* fields: names of JSON members whose strings go, comma-separated, case does not matter. pattern: a POSIX extended expression; empty:
 * none. Both are copied. NULL: ERR_INPUT, the pattern is none. */
struct redactor *redactor_new(struct str fields, struct str pattern, struct err *e) MUST_USE;
struct redactor *redactor_ref(struct redactor *r);            /* NULL is allowed */
void redactor_unref(struct redactor *r);                      /* NULL is allowed */
/* Appends text to out without them. known: secrets as they are (of 8 bytes or more). r NULL: only these and the usual shapes. */
void redact(const struct redactor *r, struct str text, const struct str *known, size_t n_known, struct buf *out);
/* The same for known secrets only; text itself where there is none. For what goes to others as it came. */
struct str redact_known(struct arena *a, struct str text, const struct str *known, size_t n_known);
#endif
