/* redact.c - one walk for what has the shape of a credential, one for the configured pattern. */
#include "meter/redact.h"
#include "domain/setting.h"
#include <ctype.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>

#define GONE "[redacted]"
#define MIN_KNOWN 8

struct redactor {
    _Atomic int refs;
    char *names; /* the fields, lower case */
    struct str fields[REDACT_FIELDS];
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
    while (rest.n && r->n_fields < REDACT_FIELDS) {
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

static int hex_value(struct str s, size_t n) /* of the first n digits; -1: they are none */
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        int c = i < s.n ? (unsigned char)s.p[i] : 0;
        if (!isxdigit(c))
            return -1;
        v = v * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return v;
}

/* How much of s spells c: as it is, as JSON may escape it, in however many strings, or as a URL does. 0: something else stands there. */
static size_t spelled(struct str s, char c)
{
    const int byte = (unsigned char)c;
    size_t n = 0;
    if (s.p[0] == c)
        return c == '\\' && s.n > 1 && s.p[1] == c ? 2 : 1;
    if (s.p[0] == '%')
        return hex_value(str_skip(s, 1), 2) == byte ? 3 : 0;
    while (n < s.n && s.p[n] == '\\')
        n++;
    if (n == 0 || n == s.n)
        return 0;
    if (s.p[n] == 'u' && hex_value(str_skip(s, n + 1), 4) == byte)
        return n + 5;
    return s.p[n] == c ? n + 1 : 0;
}

/* The character that name has at `at`, of one to three bytes; 0: of more, which JSON would write as two. */
static int character(struct str name, size_t at, size_t *n)
{
    const unsigned char *p = (const unsigned char *)name.p + at;
    *n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (*n > name.n - at)
        *n = name.n - at;
    return *n == 2   ? (p[0] & 0x1f) << 6 | (p[1] & 0x3f)
           : *n == 3 ? (p[0] & 0xf) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f)
                     : 0;
}

/* How much of s is the name, in lower case, however it is escaped; 0: it is another one. */
static size_t name_length(struct str s, struct str name)
{
    size_t at = 0, n = 1;
    for (size_t i = 0; i < name.n; i += n) {
        struct str rest = str_skip(s, at);
        const char c = name.p[i];
        size_t used = rest.n ? spelled(rest, c) : 0;
        n = 1;
        if (used == 0 && rest.n)
            used = spelled(rest, (char)toupper((unsigned char)c));
        if (used == 0 && (unsigned char)c >= 0xc0 && rest.n) {
            size_t slashes = 0;
            int code = character(name, i, &n);
            while (slashes < rest.n && rest.p[slashes] == '\\')
                slashes++;
            if (slashes && code && str_starts(str_skip(rest, slashes), STR("u")) &&
                hex_value(str_skip(rest, slashes + 1), 4) == code)
                used = slashes + 5;
        }
        if (used == 0)
            return 0;
        at += used;
    }
    return at;
}

static size_t slashes_at(struct str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.n && s.p[at + n] == '\\')
        n++;
    return n;
}

/* JSON inside a JSON string has its quotes escaped, and its ends of lines. */
static size_t skip_space(struct str s, size_t at, size_t slashes)
{
    for (;;) {
        size_t n = slashes ? slashes_at(s, at) : 0;
        if (at < s.n && s.p[at] && strchr(" \t\r\n", s.p[at]))
            at++;
        else if (n > 0 && at + n < s.n && s.p[at + n] && strchr("trn", s.p[at + n]))
            at += n + 1;
        else
            return at;
    }
}

/* A quote of this level, at `at` or behind its backslashes: where it stands; s.n: none. */
static size_t quote_at(struct str s, size_t at, size_t slashes)
{
    size_t n = slashes_at(s, at);
    return n == slashes && at + n < s.n && s.p[at + n] == '"' ? at + n : s.n;
}

/* Of a string that begins at `at`, behind its quote: where its inside ends; s.n: cut off. */
static size_t inside_end(struct str s, size_t at, size_t slashes)
{
    /* the quote that as many backslashes stand before as before the first */
    for (size_t i = at; i < s.n; i++) {
        size_t n = 0;
        if (s.p[i] != '"')
            continue;
        while (n < i - at && s.p[i - n - 1] == '\\')
            n++;
        if (n <= slashes)
            return i - n;
    }
    return s.n;
}

/* Behind the list or object that begins at `at`; s.n: cut off. */
static size_t nested_end(struct str s, size_t at, size_t slashes)
{
    size_t depth = 0;
    while (at < s.n) {
        size_t quote = quote_at(s, at, slashes);
        if (quote < s.n) {
            at = inside_end(s, quote + 1, slashes);
            at = at < s.n ? at + slashes + 1 : at;
            continue;
        }
        depth += s.p[at] == '{' || s.p[at] == '[';
        if ((s.p[at] == '}' || s.p[at] == ']') && --depth == 0)
            return at + 1;
        at++;
    }
    return s.n;
}

/* What goes of a text, and what stands for it: a value that was no string becomes one. */
struct gone {
    size_t begin, end;
    bool is_bare;
    size_t slashes; /* before its quotes */
};

/* The value that begins at `at`. false: null, or none. */
static bool value_at(struct str s, size_t at, struct gone *g)
{
    size_t quote = quote_at(s, at, g->slashes);
    if (at >= s.n)
        return false;
    *g = (struct gone){.begin = at, .is_bare = quote == s.n, .slashes = g->slashes};
    if (quote < s.n) {
        g->begin = quote + 1;
        g->end = inside_end(s, g->begin, g->slashes);
    } else if (s.p[at] == '{' || s.p[at] == '[') {
        g->end = nested_end(s, at, g->slashes);
    } else if (str_starts(str_skip(s, at), STR("true"))) {
        g->end = at + 4;
    } else if (str_starts(str_skip(s, at), STR("false"))) {
        g->end = at + 5;
    } else if (s.p[at] == '-' || isdigit((unsigned char)s.p[at])) {
        for (g->end = at; g->end < s.n && s.p[g->end] && strchr("+-.0123456789eE", s.p[g->end]);)
            g->end++;
    }
    return g->end > g->begin;
}

/* At a quote that may begin a member's name: its value, when it is one of the fields. */
static bool field_value(const struct redactor *r, struct str s, size_t at, struct gone *g)
{
    g->slashes = 0;
    while (g->slashes < at && s.p[at - g->slashes - 1] == '\\')
        g->slashes++;
    for (size_t i = 0; i < r->n_fields; i++) {
        size_t n = name_length(str_skip(s, at + 1), r->fields[i]);
        size_t quote = n ? quote_at(s, at + 1 + n, g->slashes) : s.n;
        if (quote == s.n)
            continue;
        size_t colon = skip_space(s, quote + 1, g->slashes);
        return colon < s.n && s.p[colon] == ':' &&
               value_at(s, skip_space(s, colon + 1, g->slashes), g);
    }
    return false;
}

/* Nothing, or an escape that has yet to end. */
static bool is_open(struct str s)
{
    size_t n = 0;
    if (s.n && s.p[0] == '%')
        return s.n < 3;
    while (n < s.n && s.p[n] == '\\')
        n++;
    return n == s.n || (n > 0 && s.p[n] == 'u' && s.n - n < 5);
}

/* How much of s is the secret. 0: it is something else, or *begun of the secret's bytes were there when s ended. */
static size_t known_length(struct str s, struct str secret, size_t *begun)
{
    size_t at = 0;
    *begun = 0;
    if (str_starts(s, secret))
        return secret.n;
    for (size_t i = 0; i < secret.n; i++) {
        struct str rest = str_skip(s, at);
        size_t n = rest.n ? spelled(rest, secret.p[i]) : 0;
        if (n == 0) {
            *begun = is_open(rest) ? i + (rest.n > 0) : 0;
            return 0;
        }
        at += n;
    }
    return at;
}

/* The longest: one may begin with another. A text that ends with so much of one gives it away as well. */
static size_t known_secret(struct str rest, const struct str *known, size_t n_known)
{
    size_t longest = 0;
    for (size_t i = 0; i < n_known; i++) {
        size_t begun;
        if (known[i].n < MIN_KNOWN ||
            (rest.p[0] != known[i].p[0] && rest.p[0] != '\\' && rest.p[0] != '%'))
            continue;
        size_t n = known_length(rest, known[i], &begun);
        if (n == 0 && begun >= MIN_KNOWN)
            n = rest.n;
        if (n > longest)
            longest = n;
    }
    return longest;
}

static void put_gone(struct buf *out, const struct gone *g)
{
    for (size_t i = 0; g->is_bare && i < g->slashes; i++)
        buf_char(out, '\\');
    buf_str_add(out, g->is_bare ? STR("\"" GONE) : STR(GONE));
    for (size_t i = 0; g->is_bare && i < g->slashes; i++)
        buf_char(out, '\\');
    if (g->is_bare)
        buf_char(out, '"');
}

static void walk(const struct redactor *r, struct str s, const struct str *known, size_t n_known,
                 struct buf *out)
{
    size_t from = 0;
    for (size_t at = 0; at < s.n;) {
        struct gone g = {.begin = at};
        size_t keep = 0, n = known_secret(str_skip(s, at), known, n_known);
        char c = s.p[at];
        if (n > 0) {
            g.end = at + n;
        } else if (c == '"' && r) {
            if (!field_value(r, s, at, &g))
                g.end = 0;
        } else if (c == ':' && at + 2 < s.n && s.p[at + 1] == '/' && s.p[at + 2] == '/') {
            g.end = password(s, at, &g.begin);
        } else if (isalpha((unsigned char)c) || c == '-') {
            g.end = credential(s, at, &keep);
            g.begin = at + keep;
        }
        if (g.end <= g.begin) {
            at++;
            continue;
        }
        buf_add(out, s.p + from, g.begin - from);
        put_gone(out, &g);
        at = from = g.end;
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

/* What a known secret may begin with. */
static void mark_first(bool first[256], const struct str *known, size_t n_known)
{
    memset(first, 0, 256 * sizeof *first);
    for (size_t i = 0; i < n_known; i++)
        if (known[i].n >= MIN_KNOWN)
            first[(unsigned char)known[i].p[0]] = first['\\'] = first['%'] = true;
}

struct str redact_known(struct arena *a, struct str text, const struct str *known, size_t n_known)
{
    struct buf b;
    bool first[256];
    size_t from = 0, n;
    mark_first(first, known, n_known);
    buf_init_arena(&b, a, text.n * 2 + 64);
    for (size_t at = 0; at < text.n; at += n ? n : 1) {
        n = first[(unsigned char)text.p[at]] ? known_secret(str_skip(text, at), known, n_known) : 0;
        if (n == 0)
            continue;
        buf_add(&b, text.p + from, at - from);
        buf_lit(&b, GONE);
        from = at + n;
    }
    if (from == 0)
        return text;
    buf_str_add(&b, str_skip(text, from));
    return buf_failed(&b) ? STR_NONE : buf_str(&b);
}

size_t redact_open(struct str text, const struct str *known, size_t n_known)
{
    bool first[256];
    size_t step;
    mark_first(first, known, n_known);
    for (size_t at = 0; at < text.n; at += step) {
        struct str rest = str_skip(text, at);
        step = 1;
        for (size_t i = 0; first[(unsigned char)rest.p[0]] && i < n_known; i++) {
            size_t begun, n = known[i].n >= MIN_KNOWN ? known_length(rest, known[i], &begun) : 1;
            if (n == 0 && begun > 0)
                return rest.n;
            if (n > step) /* a whole one: what is inside it begins none */
                step = n;
        }
    }
    return 0;
}
