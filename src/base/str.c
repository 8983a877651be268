/* str.c - operations on borrowed views; those that need memory take it from an arena. */
#include "base/str.h"
#include "base/arena.h"
#include "base/banned.h"
#include "base/utf8.h"
#include <stdarg.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i]))
            return false;
    }
    return true;
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq_nocase(str_first(s, prefix.n), prefix);
}

bool str_holds_nocase(struct str s, struct str part)
{
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (str_starts_nocase(str_skip(s, i), part))
            return true;
    return false;
}

bool str_contains(struct str s, struct str part)
{
    return part.n == 0 || (s.n >= part.n && memmem(s.p, s.n, part.p, part.n));
}

size_t str_index(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_cut(struct str s, char sep, struct str *head)
{
    size_t at = str_index(s, sep);
    *head = str_first(s, at);
    return str_skip(s, at + 1);
}

bool str_to_int(struct str s, int64_t *out)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, v = 0;
    if (negative)
        s = str_skip(s, 1);
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || v > (limit - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

/* Offset of the first byte >= 0x80 at or behind i. */
static size_t skip_ascii(struct str s, size_t i)
{
#ifdef __SSE2__
    for (; i + 16 <= s.n; i += 16) {
        int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(s.p + i)));
        if (high)
            return i + (size_t)__builtin_ctz((unsigned)high);
    }
#endif
    while (i < s.n && (unsigned char)s.p[i] < 0x80)
        i++;
    return i;
}

/* Offset of the first ill-formed sequence at or behind i, s.n if there is none. */
static size_t skip_utf8(struct str s, size_t i, size_t *bad)
{
    for (;;) {
        i = skip_ascii(s, i);
        while (i < s.n && (unsigned char)s.p[i] >= 0x80) {
            const unsigned char *p = (const unsigned char *)s.p, *at = utf8_run(p + i, p + s.n);
            size_t len;
            if (at > p + i) {
                i = (size_t)(at - p);
                continue;
            }
            if ((len = utf8_step(at, s.n - i, bad)) == 0)
                return i;
            i += len;
        }
        if (i >= s.n)
            return s.n;
    }
}

size_t str_ascii(struct str s)
{
    return skip_ascii(s, 0);
}

bool str_valid_utf8(struct str s)
{
    size_t bad;
    return skip_utf8(s, 0, &bad) == s.n;
}

struct str str_fix_utf8(struct arena *a, struct str s)
{
    size_t bad = 0, from = 0, n = 0;
    size_t at = skip_utf8(s, 0, &bad);
    if (at == s.n)
        return s;
    if (s.n > SIZE_MAX / 4)
        abort();
    char *out = arena_alloc(a, s.n * 3 + 1); /* the worst: every byte becomes three */
    for (; at < s.n; at = skip_utf8(s, from, &bad)) {
        memcpy(out + n, s.p + from, at - from);
        n += at - from;
        memcpy(out + n, "\xef\xbf\xbd", 3);
        n += 3;
        from = at + bad;
    }
    memcpy(out + n, s.p + from, s.n - from);
    n += s.n - from;
    out[n] = 0;
    return str_n(out, n);
}

size_t str_edit_distance(struct str a, struct str b)
{
    unsigned char row[65];
    a = str_first(a, 64);
    b = str_first(b, 64);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (unsigned char)j;
    for (size_t i = 0; i < a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned char)(i + 1);
        for (size_t j = 0; j < b.n; j++) {
            unsigned best = diagonal + (a.p[i] != b.p[j]);
            diagonal = row[j + 1];
            if (diagonal + 1 < best)
                best = diagonal + 1;
            if (row[j] + 1U < best)
                best = row[j] + 1U;
            row[j + 1] = (unsigned char)best;
        }
    }
    return row[b.n];
}

struct str str_dup(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return str_n(p, s.n);
}

struct str str_cat(struct arena *a, struct str head, struct str tail)
{
    char *p = arena_alloc(a, head.n + tail.n + 1);
    if (head.n)
        memcpy(p, head.p, head.n);
    if (tail.n)
        memcpy(p + head.n, tail.p, tail.n);
    p[head.n + tail.n] = 0;
    return str_n(p, head.n + tail.n);
}

const char *str_z(struct arena *a, struct str s)
{
    return str_dup(a, s).p;
}

struct str str_fmt(struct arena *a, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0)
        return STR_NONE;
    if ((size_t)n < sizeof small)
        return str_dup(a, str_n(small, (size_t)n));
    char *p = arena_alloc(a, (size_t)n + 1);
    va_start(args, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return str_n(p, (size_t)n);
}

struct str str_lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)lower((unsigned char)s.p[i]);
    p[s.n] = 0;
    return str_n(p, s.n);
}

int word_value(const struct word *table, struct str text, int otherwise)
{
    for (; table->text; table++) {
        if (text.n && table->text[0] == text.p[0] && str_eq(str_of(table->text), text))
            return table->value;
    }
    return otherwise;
}

const char *word_text(const struct word *table, int value, const char *otherwise)
{
    for (; table->text; table++) {
        if (table->value == value)
            return table->text;
    }
    return otherwise;
}
