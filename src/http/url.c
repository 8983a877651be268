/* url.c - absolute urls of upstreams and proxies, percent coding, query parameters (RFC 3986). */
#include "http/http.h"

#include "base/secret.h"
#include "base/banned.h"
#include "base/buf.h"

static const struct {
    struct str scheme;
    uint16_t port;
} schemes[] = {
    {STR_INIT("http"), 80},
    {STR_INIT("https"), 443},
    {STR_INIT("socks5"), 1080},
    {STR_INIT("socks5h"), 1080},
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static struct str decode(struct arena *a, struct str s, bool is_query)
{
    if (!memchr(s.n ? s.p : "", '%', s.n) && !(is_query && memchr(s.n ? s.p : "", '+', s.n)))
        return s;
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int high = -1, low = -1;
        if (s.p[i] == '%' && s.n - i > 2) {
            high = hex_value(s.p[i + 1]);
            low = hex_value(s.p[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            out[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = is_query && s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    out[n] = '\0';
    return str_n(out, n);
}

struct str url_decode(struct arena *a, struct str s)
{
    return decode(a, s, false);
}

struct str url_encode(struct arena *a, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    if (s.n > SIZE_MAX / 4)
        return STR_NONE;
    char *out = arena_alloc(a, s.n * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_unreserved((char)c)) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    out[n] = '\0';
    return str_n(out, n);
}

/* Splits host and port; brackets of an IPv6 address are taken off. */
static bool parse_host_port(struct str s, struct url *out, struct err *e)
{
    struct str port;
    if (s.n > 0 && s.p[0] == '[') {
        size_t end = str_index(s, ']');
        if (end == s.n)
            return err_set(e, ERR_INPUT, "invalid_url", "the url has no ] behind its IPv6 address");
        out->host = str_n(s.p + 1, end - 1);
        for (size_t i = 0; i < out->host.n; i++) {
            char c = out->host.p[i];
            if (hex_value(c) < 0 && c != ':' && c != '.')
                return err_set(e, ERR_INPUT, "invalid_url", "the url has a bad IPv6 address");
        }
        struct str rest = str_skip(s, end + 1);
        if (rest.n > 0 && rest.p[0] != ':')
            return err_set(e, ERR_INPUT, "invalid_url", "the url has text behind its host");
        port = str_skip(rest, 1);
    } else {
        port = str_cut(s, ':', &out->host);
        for (size_t i = 0; i < out->host.n; i++) {
            char c = out->host.p[i];
            if (!is_unreserved(c) && !((unsigned char)c & 0x80))
                return err_set(e, ERR_INPUT, "invalid_url",
                               "the url has a bad character in its host");
        }
    }
    if (out->host.n == 0)
        return err_set(e, ERR_INPUT, "invalid_url", "the url has no host");
    if (out->host.n > 253)
        return err_set(e, ERR_INPUT, "invalid_url", "the host of the url is too long");
    if (port.n > 0) {
        int64_t number = 0;
        if (port.p[0] == '-' || port.p[0] == '+' || !str_to_int(port, &number) || number < 1 ||
            number > 65535)
            return err_set(e, ERR_INPUT, "invalid_url", "the url has a bad port");
        out->port = (uint16_t)number;
    }
    return true;
}

bool url_parse(struct arena *a, struct str text, struct url *out, struct err *e)
{
    *out = (struct url){.port = 0};
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= ' ' || c == 0x7f || c == '\\' || c == '"' || c == '<' || c == '>')
            return err_set(e, ERR_INPUT, "invalid_url",
                           "the url holds a space or a character that no url may hold");
    }
    size_t colon = str_index(text, ':');
    struct str rest = str_skip(text, colon);
    if (!str_starts(rest, STR("://")))
        return err_set(e, ERR_INPUT, "invalid_url",
                       "the url does not start with a scheme such as https://");
    struct str scheme = str_lower(a, str_first(text, colon));
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (str_eq(scheme, schemes[i].scheme)) {
            out->scheme = schemes[i].scheme;
            out->port = schemes[i].port;
        }
    }
    if (out->scheme.n == 0)
        return err_set(e, ERR_INPUT, "invalid_url",
                       "the scheme of the url is not http, https or socks5");
    rest = str_skip(rest, 3);
    (void)str_cut(rest, '#', &rest); /* a fragment is never sent */
    size_t end = 0;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
        end++;
    struct str authority = str_first(rest, end), tail = str_skip(rest, end);
    size_t at = authority.n;
    while (at > 0 && authority.p[at - 1] != '@')
        at--;
    if (at > 0) {
        struct str password = str_cut(str_first(authority, at - 1), ':', &out->user);
        out->user = url_decode(a, out->user);
        out->password = url_decode(a, password);
        authority = str_skip(authority, at);
    }
    if (!parse_host_port(authority, out, e))
        return false;
    out->host = str_lower(a, out->host);
    out->query = str_cut(tail, '?', &out->path);
    if (out->path.n == 0)
        out->path = STR("/");
    return true;
}

/* Takes the next parameter off *rest: raw, without its &. */
static bool next_parameter(struct str *rest, struct str *whole)
{
    if (rest->n == 0)
        return false;
    *rest = str_cut(*rest, '&', whole);
    return true;
}

static bool is_named(struct arena *a, struct str whole, struct str name)
{
    struct str key;
    (void)str_cut(whole, '=', &key);
    return str_eq(decode(a, key, true), name);
}

/* The first parameter that carries a credential; STR_NONE: none. */
static struct str secret_parameter(struct arena *a, struct str query)
{
    struct str rest = query, whole, name;
    while (next_parameter(&rest, &whole)) {
        (void)str_cut(whole, '=', &name);
        name = decode(a, name, true);
        if (secret_is_parameter(name))
            return name;
    }
    return STR_NONE;
}

bool url_parse_address(struct arena *a, struct str text, struct url *out, struct err *e)
{
    if (!str_starts(text, STR("http://")) && !str_starts(text, STR("https://")))
        return err_set(e, ERR_INPUT, "invalid_url", "must start with http:// or https://");
    if (!url_parse(a, text, out, e))
        return false;
    struct str name = secret_parameter(a, out->query);
    if (name.n)
        return err_set(e, ERR_INPUT, "secret_in_url",
                       "must not hold a credential ('" STR_FMT "'), for it is shown: send it in a "
                       "header",
                       STR_ARG(str_first(name, 40)));
    return (!out->user.n && !out->password.n) ||
           err_set(e, ERR_INPUT, "secret_in_url",
                   "must not hold a user name or password, for it is shown: send them in a header");
}

struct str query_get(struct arena *a, struct str query, const char *name)
{
    struct str rest = query, whole;
    while (next_parameter(&rest, &whole)) {
        if (!is_named(a, whole, str_of(name)))
            continue;
        struct str key, value = str_cut(whole, '=', &key);
        value = decode(a, value, true);
        return value.p ? value : STR("");
    }
    return STR_NONE;
}

bool query_next(struct arena *a, struct str *rest, struct str *name)
{
    struct str whole, key;
    do {
        if (!next_parameter(rest, &whole))
            return false;
    } while (whole.n == 0);
    (void)str_cut(whole, '=', &key);
    *name = decode(a, key, true);
    return true;
}

struct str query_without(struct arena *a, struct str query, const char *name)
{
    char *out = arena_alloc(a, query.n + 1);
    size_t n = 0;
    struct str rest = query, whole;
    while (next_parameter(&rest, &whole)) {
        if (whole.n == 0 || is_named(a, whole, str_of(name)))
            continue;
        if (n > 0)
            out[n++] = '&';
        memcpy(out + n, whole.p, whole.n);
        n += whole.n;
    }
    out[n] = '\0';
    return str_n(out, n);
}
