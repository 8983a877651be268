/* str.h - a borrowed view of bytes: pointer and length, no NUL, valid while its owner lives. */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

struct arena;

struct str {
    const char *p; /* may be NULL when n == 0 */
    size_t n;
};

#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1}) /* of a string literal */
#define STR_INIT(lit) {"" lit, sizeof(lit) - 1}          /* the same in a static initialiser */
#define STR_NONE ((struct str){NULL, 0})
#define STR_FMT "%.*s" /* with STR_ARG, for printf-like functions */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *z) /* view of a C string; NULL gives the empty view */
{
    return (struct str){z, z ? strlen(z) : 0};
}
static inline struct str str_n(const char *p, size_t n)
{
    return (struct str){p, n};
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
#define str_is(s, lit) str_eq((s), STR(lit))
static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}
static inline struct str str_skip(struct str s, size_t n) /* without its first n bytes */
{
    return n >= s.n ? (struct str){s.p ? s.p + s.n : NULL, 0} : (struct str){s.p + n, s.n - n};
}
static inline struct str str_first(struct str s, size_t n)
{
    return n < s.n ? (struct str){s.p, n} : s;
}

bool str_eq_nocase(struct str a, struct str b);               /* ASCII case folded */
bool str_starts_nocase(struct str s, struct str prefix);
bool str_holds_nocase(struct str s, struct str part);
bool str_contains(struct str s, struct str part);
size_t str_index(struct str s, char c);                       /* s.n when absent */
struct str str_trim(struct str s);                            /* without spaces, tabs, CR, LF at both ends */
/* Cuts s at the first sep: *head is what stands before, the rest is returned. Without sep: all is head. */
struct str str_cut(struct str s, char sep, struct str *head);
bool str_to_int(struct str s, int64_t *out) MUST_USE;         /* decimal, whole string, no overflow */
bool str_valid_utf8(struct str s);
size_t str_edit_distance(struct str a, struct str b);         /* Levenshtein, capped at 64 bytes a side */

struct str str_dup(struct arena *a, struct str s);            /* copy with a NUL behind it */
struct str str_cat(struct arena *a, struct str head, struct str tail); /* the same of both in one */
const char *str_z(struct arena *a, struct str s);             /* C string copy; stops at nothing: check for NULs */
struct str str_fmt(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct str str_lower(struct arena *a, struct str s);          /* ASCII */
size_t str_ascii(struct str s);                               /* bytes before the first that is not ASCII */
/* Replaces every ill-formed UTF-8 sequence by U+FFFD; returns s itself when it is well-formed. */
struct str str_fix_utf8(struct arena *a, struct str s);

/* A table of spelling <-> value, read in both directions; ends with {0}. */
struct word {
    const char *text;
    int value;
};
int word_value(const struct word *table, struct str text, int otherwise);
const char *word_text(const struct word *table, int value, const char *otherwise);
#endif
