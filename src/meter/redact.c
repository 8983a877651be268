/* redact.c - one walk for what has the shape of a credential, one for the configured pattern. */
#include "meter/redact.h"
#include <ctype.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>

#define GONE "[redacted]"
#define MIN_KNOWN 8
#define MAX_FIELDS 64
#define MAX_NAME 64

struct redactor {
    _Atomic int refs;
    char *names; /* the fields, lower case */
    struct str fields[MAX_FIELDS];
    size_t n_fields;
    regex_t pattern;
    bool has_pattern;
};

/* What credentials begin with; so many token characters must follow. */
static const struct {
    struct str prefix;
    size_t least;
} shapes[] = {
    {STR_INIT("sk-"), 16},         {STR_INIT("rsk-"), 16},   {STR_INIT("pk-"), 20},
    {STR_INIT("AIza"), 30},        {STR_INIT("ya29."), 20},  {STR_INIT("ghp_"), 20},
    {STR_INIT("gho_"), 20},        {STR_INIT("ghs_"), 20},   {STR_INIT("ghu_"), 20},
    {STR_INIT("github_pat_"), 20}, {STR_INIT("glpat-"), 16}, {STR_INIT("hf_"), 20},
    {STR_INIT("gsk_"), 20},        {STR_INIT("xai-"), 20},   {STR_INIT("r8_"), 20},
    {STR_INIT("pplx-"), 20},       {STR_INIT("AKIA"), 16},   {STR_INIT("ASIA"), 16},
    {STR_INIT("xoxb-"), 16},       {STR_INIT("xoxp-"), 16},  {STR_INIT("xoxa-"), 16},
    {STR_INIT("npm_"), 20},        {STR_INIT("SG."), 20},    {STR_INIT("eyJ"), 40},
    {STR_INIT("sess-"), 20},       {STR_INIT("nvapi-"), 20},
};

struct redactor *redactor_new(struct str fields, struct str pattern, struct err *e)
{
    struct redactor *r = calloc(1, sizeof *r);
    if (!r || !(r->names = calloc(1, fields.n + 1)))
        abort();
    r->refs = 1;
    for (size_t i = 0; i < fields.n; i++)
        r->names[i] = (char)tolower((unsigned char)fields.p[i]);
    struct str rest = str_n(r->names, fields.n), one;
    while (rest.n && r->n_fields < MAX_FIELDS) {
        rest = str_cut(rest, ',', &one);
        one = str_trim(one);
        if (one.n)
            r->fields[r->n_fields++] = one;
    }
    if (pattern.n == 0)
        return r;
    char why[128], *z = malloc(pattern.n + 1);
    if (!z)
        abort();
    memcpy(z, pattern.p, pattern.n);
    z[pattern.n] = 0;
    int rc = regcomp(&r->pattern, z, REG_EXTENDED);
    free(z);
    if (rc == 0) {
        r->has_pattern = true;
        return r;
    }
    (void)regerror(rc, &r->pattern, why, sizeof why);
    err_set(e, ERR_INPUT, "invalid_value", "no regular expression: %s", why);
    redactor_unref(r);
    return NULL;
}

struct redactor *redactor_ref(struct redactor *r)
{
    if (r)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void redactor_unref(struct redactor *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (r->has_pattern)
        regfree(&r->pattern);
    free(r->names);
    free(r);
}

static size_t find(struct str s, struct str what) /* s.n when absent */
{
    const char *p = s.n >= what.n ? memmem(s.p, s.n, what.p, what.n) : NULL;
    return p ? (size_t)(p - s.p) : s.n;
}

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.' || c == '/' || c == '+' ||
           c == '=' || c == '~';
}

static size_t token_end(struct str s, size_t at)
{
    while (at < s.n && is_token(s.p[at]))
        at++;
    return at;
}

/* A credential that begins at `at`: how much of it stays (its prefix), and where it ends. 0: none. */
static size_t credential(struct str s, size_t at, size_t *keep)
{
    struct str rest = str_skip(s, at);
    if (at > 0 && isalnum((unsigned char)s.p[at - 1]))
        return 0;
    if ((rest.p[0] | 32) == 'b' &&
        (str_starts_nocase(rest, STR("bearer ")) || str_starts_nocase(rest, STR("basic ")))) {
        *keep = str_starts_nocase(rest, STR("basic ")) ? 6 : 7;
        size_t end = token_end(s, at + *keep);
        return end - at >= *keep + 8 ? end : 0;
    }
    if (rest.p[0] == '-' && str_starts(rest, STR("-----BEGIN "))) {
        size_t head = find(rest, STR("PRIVATE KEY-----")), tail;
        if (head > 64)
            return 0;
        struct str inside = str_skip(rest, head + 16);
        tail = find(inside, STR("-----END"));
        if (tail == inside.n) /* cut off: to the end of the string it stands in */
            tail = str_index(inside, '"');
        *keep = head + 16;
        return at + head + 16 + tail;
    }
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (rest.p[0] == shapes[i].prefix.p[0] && str_starts(rest, shapes[i].prefix)) {
            size_t end = token_end(s, at + shapes[i].prefix.n);
            *keep = shapes[i].prefix.n;
            if (end - at >= shapes[i].prefix.n + shapes[i].least)
                return end;
        }
    return 0;
}

/* scheme://user:PASSWORD@host, at the "://": where the password begins, and its end. 0: none. */
static size_t password(struct str s, size_t at, size_t *begin)
{
    size_t i = at + 3;
    *begin = 0;
    for (; i < s.n && i < at + 300 && !strchr("/ \"'\\<>\t\r\n?#", s.p[i]) && s.p[i]; i++) {
        if (s.p[i] == ':' && *begin == 0)
            *begin = i + 1;
        if (s.p[i] == '@')
            return *begin && i > *begin ? i : 0;
    }
    return 0;
}

static bool is_field(const struct redactor *r, struct str name)
{
    for (size_t i = 0; i < r->n_fields; i++)
        if (str_eq_nocase(name, r->fields[i]))
            return true;
    return false;
}

static size_t skip(struct str s, size_t at, const char *what)
{
    while (at < s.n && s.p[at] && strchr(what, s.p[at]))
        at++;
    return at;
}

/* At a quote that may begin a member's name: the inside of its string value, when the member is one of the fields. JSON inside a JSON
 * string has its quotes escaped. 0: none, else the end of the inside. */
static size_t field_value(const struct redactor *r, struct str s, size_t at, size_t *begin)
{
    size_t slashes = 0, i = at + 1;
    if (r->n_fields == 0)
        return 0;
    while (slashes < at && s.p[at - slashes - 1] == '\\')
        slashes++;
    while (i < s.n && i - at <= MAX_NAME &&
           (isalnum((unsigned char)s.p[i]) || s.p[i] == '_' || s.p[i] == '-'))
        i++;
    struct str name = str_n(s.p + at + 1, i - at - 1);
    if (name.n == 0 || !is_field(r, name))
        return 0;
    i = skip(s, i, "\\");
    if (i >= s.n || s.p[i] != '"')
        return 0;
    i = skip(s, i + 1, " \t\r\n");
    if (i >= s.n || s.p[i] != ':')
        return 0;
    i = skip(s, i + 1, " \t\r\n\\");
    if (i >= s.n || s.p[i] != '"')
        return 0;
    *begin = ++i;
    for (; i < s.n; i++) { /* the quote that as many backslashes stand before as before the first */
        size_t n = 0;
        if (s.p[i] != '"')
            continue;
        while (n < i - *begin && s.p[i - n - 1] == '\\')
            n++;
        if (n <= slashes)
            return i - n;
    }
    return s.n; /* cut off inside it */
}

static size_t known_secret(struct str rest, const struct str *known, size_t n_known)
{
    for (size_t i = 0; i < n_known; i++)
        if (known[i].n >= MIN_KNOWN && rest.n >= known[i].n && rest.p[0] == known[i].p[0] &&
            str_starts(rest, known[i]))
            return known[i].n;
    return 0;
}

static void walk(const struct redactor *r, struct str s, const struct str *known, size_t n_known,
                 struct buf *out)
{
    size_t from = 0;
    for (size_t at = 0; at < s.n;) {
        size_t begin = at, end = 0, keep = 0, n = known_secret(str_skip(s, at), known, n_known);
        char c = s.p[at];
        if (n > 0) {
            end = at + n;
        } else if (c == '"' && r) {
            end = field_value(r, s, at, &begin);
        } else if (c == ':' && at + 2 < s.n && s.p[at + 1] == '/' && s.p[at + 2] == '/') {
            end = password(s, at, &begin);
        } else if (isalpha((unsigned char)c) || c == '-') {
            end = credential(s, at, &keep);
            begin = at + keep;
        }
        if (end <= begin) {
            at++;
            continue;
        }
        buf_add(out, s.p + from, begin - from);
        buf_lit(out, GONE);
        at = from = end;
    }
    buf_add(out, s.p + from, s.n - from);
}

static void apply_pattern(const struct redactor *r, struct str s, struct buf *out)
{
    size_t at = 0;
    while (at < s.n) {
        regmatch_t m = {.rm_so = (regoff_t)at, .rm_eo = (regoff_t)s.n};
        int flags = REG_STARTEND | (at > 0 ? REG_NOTBOL : 0);
        if (regexec(&r->pattern, s.p, 1, &m, flags) != 0)
            break;
        size_t so = (size_t)m.rm_so, eo = (size_t)m.rm_eo;
        buf_add(out, s.p + at, so - at);
        if (eo > so) {
            buf_lit(out, GONE);
        } else if (so < s.n) { /* an empty match goes on behind one byte */
            buf_char(out, s.p[so]);
            eo = so + 1;
        } else {
            eo = s.n;
        }
        at = eo;
    }
    buf_add(out, s.p + at, s.n - at);
}

void redact(const struct redactor *r, struct str text, const struct str *known, size_t n_known,
            struct buf *out)
{
    if (!r || !r->has_pattern) {
        walk(r, text, known, n_known, out);
        return;
    }
    struct buf b;
    buf_init(&b, out->max);
    walk(r, text, known, n_known, &b);
    struct str walked = buf_str(&b);
    buf_char(&b, 0); /* the interceptors of sanitizers know no REG_STARTEND */
    walked.p = b.p;
    apply_pattern(r, walked, out);
    buf_done(&b);
}

struct str redact_known(struct arena *a, struct str text, const struct str *known, size_t n_known)
{
    bool is_there = false;
    for (size_t i = 0; !is_there && i < n_known; i++)
        is_there = known[i].n >= MIN_KNOWN && find(text, known[i]) < text.n;
    if (!is_there)
        return text;
    struct buf b;
    buf_init_arena(&b, a, text.n * 2 + 64);
    for (size_t at = 0; at < text.n;) {
        size_t n = known_secret(str_skip(text, at), known, n_known);
        if (n == 0)
            buf_char(&b, text.p[at]);
        else
            buf_lit(&b, GONE);
        at += n ? n : 1;
    }
    return buf_failed(&b) ? STR_NONE : buf_str(&b);
}
