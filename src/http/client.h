/* client.h - HTTP client on one loop: pooled keep-alive HTTP/1.1 and TLS of our own; the same calls through libcurl for
 * origins that need an HTTP or SOCKS proxy or HTTP/2. One client a loop. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H
#include "http/http.h"
#include "net/loop.h"

struct http_origin {            /* where to; open, immutable, owned by the configuration snapshot. Equal `key`: same pool */
    struct str key;             /* unique text of everything below */
    bool is_tls, is_http2;      /* is_http2: through libcurl */
    struct str host;            /* name or numeric address without brackets */
    uint16_t port;
    struct str host_header;     /* "api.example.com" or with a port */
    struct str ca_file;         /* PEM; empty: the system's */
    struct str proxy;           /* "http://…", "socks5://…", with credentials; empty: direct */
    bool allow_private;         /* loopback, private, link-local addresses may be connected to (checked on the resolved address) */
    bool insecure;              /* do not verify the certificate (only where an admin said so) */
};

struct http_client_conf {
    unsigned max_idle_per_origin; /* kept for reuse */
    unsigned max_conns_per_origin; /* 0: no limit; calls wait in order beyond it */
    uint64_t idle_timeout_ms;
    size_t max_head_bytes;
    uint64_t dns_ttl_ms;
    _Atomic int64_t *held_bytes; /* what is queued for servers is added to it, of all loops; NULL: nobody asks */
};
extern const struct http_client_conf http_client_conf_default;

struct http_out {               /* a request; everything borrowed until on_end or on_error (body too), or cancel */
    const struct http_origin *origin;
    enum http_method method;
    struct str target;          /* path and query */
    struct str lines[2];        /* headers that are ready to be sent, made by http_line_add */
    const struct http_header *headers;
    size_t n_headers;           /* host, content-length, connection are added */
    struct str body;            /* whole body … */
    bool is_streamed;           /* … or sent piecewise by http_call_send; then stream_length, -1: chunked */
    int64_t stream_length;
    uint64_t connect_timeout_ms, first_byte_timeout_ms, between_timeout_ms, total_timeout_ms; /* 0: none */
};

struct http_call;
enum http_failure { HTTP_FAIL_CONNECT, HTTP_FAIL_DNS, HTTP_FAIL_TLS, HTTP_FAIL_POLICY, HTTP_FAIL_CLOSED, HTTP_FAIL_PROTOCOL,
                    HTTP_FAIL_TIMEOUT_CONNECT, HTTP_FAIL_TIMEOUT_FIRST, HTTP_FAIL_TIMEOUT_BETWEEN, HTTP_FAIL_TIMEOUT_TOTAL };
struct http_call_handler {
    void (*on_head)(void *arg, int status, const struct http_header *h, size_t n); /* h valid during the call; 1xx are swallowed */
    void (*on_body)(void *arg, struct str bytes);             /* decoded of chunking; may come many times a read */
    void (*on_read_end)(void *arg);                           /* after all on_body of one read: flush what was gathered (may be NULL) */
    void (*on_end)(void *arg);                                /* whole reply arrived; the call is gone */
    void (*on_error)(void *arg, enum http_failure f, const struct err *e, bool is_head_seen); /* the call is gone */
    void (*on_writable)(void *arg);                           /* streamed request: queue fell below its low water (may be NULL) */
};

struct http_client;
struct http_client *http_client_new(struct loop *l, const struct http_client_conf *conf);
void http_client_free(struct http_client *c);                 /* cuts what is open, silently */
/* Never calls back before it returns. A reused connection that fails before any reply byte is retried once on a fresh one when the
 * body is whole. Redirects are not followed. */
struct http_call *http_call_start(struct http_client *c, const struct http_out *out, const struct http_call_handler *h, void *arg);
void http_call_cancel(struct http_call *call);                /* closes the connection at once; no callback after */
void http_call_pause(struct http_call *call);                 /* stop reading: back-pressure */
void http_call_resume(struct http_call *call);
bool http_call_send(struct http_call *call, struct str bytes); /* streamed body, copied; false: queue is full, wait for on_writable (bytes were taken) */
void http_call_send_end(struct http_call *call);
bool http_call_is_sent(const struct http_call *call);         /* the request went out whole: once reply bytes came, its body is not looked at again */
bool http_call_is_reused(const struct http_call *call);       /* on a pooled connection */
struct http_client_stats {
    uint64_t connects, reuses, failures;
    unsigned open, idle;
};
struct http_client_stats http_client_stats(const struct http_client *c);
#endif
