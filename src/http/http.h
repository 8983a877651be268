/* http.h - what server and client share: methods, headers, urls. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H
#include "base/arena.h"
#include "base/err.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };
const char *http_method_name(enum http_method m);
const char *http_reason(int status);

struct http_header {
    struct str name, value; /* received: name lower-cased, value trimmed */
};
struct buf;
void http_line_add(struct buf *b, struct str name, struct str value); /* "name: value" and its line end, for http_out.lines */
struct str http_header_get(const struct http_header *h, size_t n, const char *lower_name); /* first; STR_NONE absent */

struct url {
    struct str scheme, user, password, host, path, query; /* host without brackets; path starts with / */
    uint16_t port;                                        /* filled in by scheme when absent */
};
bool url_parse(struct arena *a, struct str text, struct url *out, struct err *e) MUST_USE; /* http, https, socks5, socks5h */
/* What configuration may show: http or https, without a user name or password. */
bool url_parse_address(struct arena *a, struct str text, struct url *out, struct err *e) MUST_USE;
struct str url_decode(struct arena *a, struct str s);         /* %XX; a bad escape stays as it is */
struct str url_encode(struct arena *a, struct str s);         /* a path segment or query value */
/* The value of a query parameter, decoded; STR_NONE absent, empty p != NULL when present and empty. */
struct str query_get(struct arena *a, struct str query, const char *name);
bool query_next(struct arena *a, struct str *rest, struct str *name);       /* takes a parameter off, empty ones passed over; false: none is left */
struct str query_without(struct arena *a, struct str query, const char *name); /* the query less that parameter */
#endif
