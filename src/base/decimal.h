/* decimal.h - decimals as integers: money is never a floating-point number. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H
#include "base/buf.h"

/* A decimal as JSON writes numbers, times 10^shift, rounded half up. false: none, negative, or of more than 18 digits. */
bool decimal_parse(struct str text, int shift, int64_t *out) MUST_USE;
void decimal_write_nano(struct buf *b, int64_t v);            /* v / 10^9, exactly: 2500000000 -> 2.5 */
#endif
