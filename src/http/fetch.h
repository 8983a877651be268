/* fetch.h - one blocking request through libcurl, for worker threads: model lists, health, images to inline. */
#ifndef HTTP_FETCH_H
#define HTTP_FETCH_H
#include "http/http.h"
#include <stdatomic.h>
#include <sys/socket.h>

struct fetch {
    enum http_method method;
    struct str url;
    const struct http_header *headers;
    size_t n_headers;
    struct str body, proxy, ca_file;
    uint64_t timeout_ms;
    size_t max_bytes;           /* of the reply: beyond it ERR_TOO_LARGE */
    bool allow_private;         /* else loopback, private and link-local addresses are refused after DNS, on the connected socket */
    unsigned max_redirects;     /* each hop checked again; 0: a redirect is the reply */
    const _Atomic bool *is_cancelled; /* looked at some fifty times a second: ERR_CANCELLED; NULL: never */
};
struct fetched {
    int status;
    struct str content_type, body;
    struct http_header *headers;
    size_t n_headers;
};
bool fetch_run(struct arena *a, const struct fetch *f, struct fetched *out, struct err *e) MUST_USE;
/* A name or address that says of itself that it is no public one: localhost, one word, 10.0.0.1, … */
bool host_is_private(struct str host) MUST_USE;
bool address_is_private(const struct sockaddr *sa) MUST_USE;  /* loopback, RFC 1918, ULA, link-local, CGNAT, multicast, unspecified, mapped */
#endif
