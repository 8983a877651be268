/* secret.c - how a credential is shown. */
#include "base/secret.h"
#include "base/buf.h"
#include "base/banned.h"

/* Where its character number i begins; its end when it has fewer. */
static size_t at_character(struct str t, size_t i)
{
    size_t at = 0;
    for (; at < t.n; at++)
        if (((unsigned char)t.p[at] & 0xc0) != 0x80 && i-- == 0)
            return at;
    return at;
}

struct str secret_mask(struct arena *a, struct secret s)
{
    struct str t = s.hidden;
    size_t characters = 0;
    if (t.n == 0)
        return STR_NONE;
    if (t.n > 3 && str_starts(t, STR("${")) && str_ends(t, STR("}")))
        return t; /* a reference to the environment, not the value itself */
    for (size_t i = 0; i < t.n; i++)
        characters += ((unsigned char)t.p[i] & 0xc0) != 0x80;
    if (characters <= 8)
        return STR("***");
    return str_fmt(a, STR_FMT "***" STR_FMT, STR_ARG(str_first(t, at_character(t, 4))),
                   STR_ARG(str_skip(t, at_character(t, characters - 4))));
}

/* user:password@ */
static struct str without_user(struct arena *a, struct str s, size_t from)
{
    size_t end = from;
    while (end < s.n && s.p[end] != '/' && s.p[end] != '?' && s.p[end] != '#')
        end++;
    for (size_t i = end; i > from; i--)
        if (s.p[i - 1] == '@')
            return str_fmt(a, STR_FMT "***" STR_FMT, STR_ARG(str_first(s, from)),
                           STR_ARG(str_skip(s, i - 1)));
    return s;
}

bool secret_is_parameter(struct str name)
{
    static const char *const names[] = {"key",          "api_key", "api-key",  "apikey", "token",
                                        "access_token", "auth",    "password", "secret"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

struct str secret_mask_url(struct arena *a, struct str s)
{
    const char *at = s.n ? memmem(s.p, s.n, "://", 3) : NULL, *mark;
    if (!at)
        return s;
    s = without_user(a, s, (size_t)(at - s.p) + 3);
    mark = memchr(s.p, '?', s.n);
    if (!mark)
        return s;
    struct buf b;
    struct str rest = str_skip(s, (size_t)(mark - s.p) + 1), one, name;
    bool is_any = false;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    buf_add(&b, s.p, (size_t)(mark - s.p) + 1);
    while (rest.n) {
        bool is_last = !memchr(rest.p, '&', rest.n);
        rest = str_cut(rest, '&', &one);
        bool has_value = str_cut(one, '=', &name).n > 0;
        bool is_secret = has_value && secret_is_parameter(name);
        is_any |= is_secret;
        if (is_secret)
            buf_fmt(&b, STR_FMT "=***", STR_ARG(name));
        else
            buf_str_add(&b, one);
        if (!is_last)
            buf_char(&b, '&');
    }
    return is_any ? buf_str(&b) : s;
}

struct str secret_mask_proxy(struct arena *a, struct str said)
{
    size_t at = said.n;
    if (str_contains(said, STR("://")))
        return secret_mask_url(a, said);
    while (at > 0 && said.p[at - 1] != '@')
        at--;
    return at > 0 ? str_cat(a, STR("***@"), str_skip(said, at)) : said;
}

bool secret_is_kept(const char *field, struct str given, struct str shown, bool *is_kept,
                    struct err *e)
{
    bool is_masked = str_contains(given, STR("***"));
    *is_kept = is_masked && str_eq(given, shown);
    return !is_masked || *is_kept ||
           err_field(e, field, "'%s' holds *** in the place of what is secret", field);
}

/* ---- headers ---- */

#define LONG_HEADER 20 /* bytes of a value that are no longer taken for a word */

static bool is_credential(struct str header)
{
    static const struct str parts[] = {STR_INIT("auth"), STR_INIT("key"), STR_INIT("token"),
                                       STR_INIT("secret"), STR_INIT("cookie")};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (size_t at = 0; at + parts[i].n <= header.n; at++)
            if (str_eq_nocase(str_n(header.p + at, parts[i].n), parts[i]))
                return true;
    return false;
}

bool secret_may_be_header(struct str name, struct str value)
{
    bool has_digit = false, has_letter = false;
    for (size_t i = 0; i < value.n; i++) {
        char low = (char)(value.p[i] | 0x20);
        has_digit |= value.p[i] >= '0' && value.p[i] <= '9';
        has_letter |= low >= 'a' && low <= 'z';
    }
    return is_credential(name) || (has_digit && has_letter) || value.n >= LONG_HEADER;
}
