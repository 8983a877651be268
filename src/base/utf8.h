/* utf8.h - one step of well-formed UTF-8 (Unicode 15, table 3-7), for the loops that leave ASCII. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include "base/str.h"

/* Length (2..4) of the well-formed sequence at p, whose first byte is >= 0x80; or 0, and *bad is the length of
 * the maximal ill-formed subpart (1..3), which one U+FFFD stands for. n >= 1. */
static inline size_t utf8_step(const unsigned char *p, size_t n, size_t *bad)
{
    unsigned char lo = 0x80, hi = 0xbf;
    size_t need;
    *bad = 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        need = 2;
    } else if ((p[0] & 0xf0) == 0xe0) {
        need = 3;
        if (p[0] == 0xe0)
            lo = 0xa0; /* overlong below */
        else if (p[0] == 0xed)
            hi = 0x9f; /* surrogates above */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        need = 4;
        if (p[0] == 0xf0)
            lo = 0x90;
        else if (p[0] == 0xf4)
            hi = 0x8f; /* beyond U+10FFFF above */
    } else {
        return 0;
    }
    if (n < 2 || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if (i >= n || (p[i] & 0xc0) != 0x80) {
            *bad = i;
            return 0;
        }
    }
    return need;
}
/* Steps over well-formed sequences of two and three bytes, four bytes at a look; stops at anything else. */
static inline const unsigned char *utf8_run(const unsigned char *p, const unsigned char *end)
{
    while (end - p >= 4) {
        uint32_t w = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
        /* 1110xxxx 10xxxxxx 10xxxxxx, neither overlong (no bit of 0f, 20) nor a surrogate (ED A0..BF) */
        if ((w & 0xc0c0f0) == 0x8080e0 && (w & 0x200f) != 0 && (w & 0x200f) != 0x200d)
            p += 3;
        else if ((w & 0xc0e0) == 0x80c0 && (w & 0x1e) != 0)
            p += 2;
        else
            break;
    }
    return p;
}
/* Writes the UTF-8 form of a scalar value; returns its length (1..4). */
static inline size_t utf8_put(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
#endif
