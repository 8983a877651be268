#include "gate/peer.h"
#include "base/banned.h"
#include "http/cidr.h"

/* Some proxies write ports: "1.2.3.4:5", "[::1]:5", "[::1]". */
static struct str without_port(struct str s)
{
    if (s.n && s.p[0] == '[') {
        s = str_skip(s, 1);
        return str_first(s, str_index(s, ']'));
    }
    size_t colon = str_index(s, ':');
    bool is_v4_with_port = colon < s.n &&
                           str_index(str_skip(s, colon + 1), ':') == str_skip(s, colon + 1).n;
    return is_v4_with_port ? str_first(s, colon) : s;
}

struct str peer_address(const struct http_req *r, struct str trusted)
{
    struct str found = r->peer;
    uint8_t bytes[CIDR_BYTES];
    /* Several headers are one list: the last one was added by the nearest proxy. */
    for (size_t i = r->n_headers; i > 0; i--) {
        if (!str_is(r->headers[i - 1].name, "x-forwarded-for"))
            continue;
        struct str rest = r->headers[i - 1].value;
        while (rest.n) {
            if (!cidr_list_has(trusted, found))
                return found;
            size_t comma = rest.n;
            while (comma > 0 && rest.p[comma - 1] != ',')
                comma--;
            struct str one = without_port(str_trim(str_skip(rest, comma)));
            if (!address_parse(one, bytes))
                return found; /* unknown, _hidden, garbage: nobody further left can be believed */
            found = one;
            rest = str_first(rest, comma ? comma - 1 : 0);
        }
    }
    return found;
}

bool peer_is_https(const struct http_req *r, struct str trusted)
{
    struct str last = http_req_header(r, "x-forwarded-proto"), one = STR_NONE;
    if (!cidr_list_has(trusted, r->peer))
        return false;
    while (last.n)
        last = str_cut(last, ',', &one);
    return str_eq_nocase(str_trim(one), STR("https"));
}

static struct str host_of(const struct http_req *r, struct str trusted)
{
    struct str forwarded = http_req_header(r, "x-forwarded-host");
    return forwarded.n && cidr_list_has(trusted, r->peer) ? str_trim(forwarded)
                                                          : http_req_header(r, "host");
}

/* "http://host:1" against Host, with the port that a scheme implies left out on both sides. */
static struct str without_usual_port(struct str host, bool is_https)
{
    struct str port = is_https ? STR(":443") : STR(":80");
    return str_ends(host, port) ? str_first(host, host.n - port.n) : host;
}

static bool fits_host(const struct http_req *r, struct str trusted, struct str origin)
{
    bool is_https = peer_is_https(r, trusted);
    struct str scheme = is_https ? STR("https://") : STR("http://");
    return str_starts(origin, scheme) &&
           str_eq_nocase(without_usual_port(str_skip(origin, scheme.n), is_https),
                         without_usual_port(host_of(r, trusted), is_https));
}

bool peer_is_same_origin(const struct http_req *r, struct str trusted)
{
    struct str site = http_req_header(r, "sec-fetch-site"), origin = http_req_header(r, "origin");
    if (site.n)
        return str_is(site, "same-origin");
    return origin.n && fits_host(r, trusted, origin);
}

bool peer_is_cross_origin(const struct http_req *r, struct str trusted)
{
    struct str site = http_req_header(r, "sec-fetch-site"), origin = http_req_header(r, "origin");
    if (site.n && !str_is(site, "same-origin") && !str_is(site, "none"))
        return true;
    return origin.n && !(site.n && str_is(site, "same-origin")) && !fits_host(r, trusted, origin);
}

static bool is_loopback_host(struct str host)
{
    uint8_t bytes[CIDR_BYTES];
    host = without_port(host);
    return str_eq_nocase(host, STR("localhost")) ||
           (address_parse(host, bytes) && address_is_loopback(bytes));
}

bool peer_is_local(const struct http_req *r)
{
    static const char *const marks[] = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
                                        "forwarded",       "x-real-ip",        "via"};
    uint8_t bytes[CIDR_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (http_req_header(r, marks[i]).n)
            return false;
    /* A name in Host that leads here from a page of somebody else's is how DNS is rebound. */
    return address_parse(r->peer, bytes) && address_is_loopback(bytes) &&
           is_loopback_host(http_req_header(r, "host")) && !peer_is_cross_origin(r, STR_NONE);
}

struct str peer_group(struct arena *a, struct str address)
{
    uint8_t b[CIDR_BYTES];
    if (!address_parse(address, b))
        return str_dup(a, str_first(address, 64));
    if (address_is_v4(b))
        return str_fmt(a, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
    return str_fmt(a, "%x:%x:%x:%x::/64", b[0] << 8 | b[1], b[2] << 8 | b[3], b[4] << 8 | b[5],
                   b[6] << 8 | b[7]);
}

struct str peer_cookie(const struct http_req *r, struct str name)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        struct str rest = r->headers[i].value, one, key;
        if (!str_is(r->headers[i].name, "cookie"))
            continue;
        while (rest.n) {
            rest = str_cut(rest, ';', &one);
            struct str value = str_cut(str_trim(one), '=', &key);
            if (str_eq(key, name))
                return value;
        }
    }
    return STR_NONE;
}
