/* server.h - HTTP/1.1 server on one loop.
 * Strict framing (smuggling shapes are 400 and close), pipelining served in order one at a time, keep-alive, 100-continue,
 * bounded heads and bodies, slow-peer timeouts, back-pressure, graceful drain. Knows nothing of endpoints. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H
#include "http/http.h"
#include "net/loop.h"

struct http_server_conf {
    size_t max_head_bytes;      /* request line and headers together: 431; line alone beyond max_target_bytes: 414 */
    size_t max_target_bytes;
    unsigned max_headers;
    uint64_t head_timeout_ms;   /* from first byte (or connect) to the end of the head: 408 and close */
    uint64_t body_timeout_ms;   /* between reads of a body */
    uint64_t idle_timeout_ms;   /* keep-alive without a request */
    uint64_t write_timeout_ms;  /* queued output that the peer does not take */
    size_t high_water_bytes;    /* queued output at which http_reply_is_full() says so */
    size_t low_water_bytes;     /* on_drain is called when it falls below again */
    size_t max_queued_bytes;    /* beyond it the connection is cut */
    _Atomic int64_t *held_bytes; /* what is queued for clients is added to it, of all loops; NULL: nobody asks */
    unsigned max_conns;         /* of this loop: further ones get 503 and close */
};
extern const struct http_server_conf http_server_conf_default;

struct http_conn;
struct http_req {               /* one request; lives from on_head until on_close returns */
    struct arena *arena;        /* given back after on_close */
    enum http_method method;
    struct str method_name, target, path, query; /* path: raw (not decoded), query without ? */
    struct http_header *headers;
    size_t n_headers;
    int64_t content_length;     /* -1 when chunked or absent */
    bool is_chunked, has_body;
    struct str peer;            /* numeric address without port */
    struct str body;            /* whole, after on_complete in collect mode; in the arena */
    bool is_aborted;            /* in on_close: the client went away before the reply was out */
    int status;                 /* of the reply once begun, else 0 */
    uint64_t start_ns;          /* monotonic, first byte of the head */
    uint64_t bytes_in, bytes_out; /* bodies */
    void *user;                 /* the handler's */
    void (*tap)(void *arg, struct str bytes); /* sees the body of the reply as it goes out; NULL: nobody does */
    void *tap_arg;
    struct http_conn *conn;
};

struct http_handler {           /* all run on the loop; may reply from any of them or later */
    void (*on_head)(void *arg, struct http_req *r);   /* choose: http_req_collect, http_req_stream, or reply at once */
    void (*on_body)(void *arg, struct http_req *r, struct str chunk); /* stream mode: chunk is valid during the call */
    void (*on_complete)(void *arg, struct http_req *r); /* the request is whole */
    void (*on_bad)(void *arg, struct http_req *r, const struct err *e); /* body too large, timed out, malformed: reply with e (the connection
                                                                           closes after it); path may be empty when the head itself was bad */
    void (*on_drain)(void *arg, struct http_req *r);
    void (*on_close)(void *arg, struct http_req *r);  /* once for each on_head: reply sent whole, or is_aborted */
};

struct http_server;
struct http_server *http_server_new(struct loop *l, const struct http_server_conf *conf, const struct http_handler *h, void *arg);
/* Listens with SO_REUSEPORT; port 0 picks one. *bound_port gets the port. May be called several times. */
bool http_server_listen(struct http_server *s, const char *host, uint16_t port, uint16_t *bound_port, struct err *e) MUST_USE;
void http_server_drain(struct http_server *s);                /* stops accepting, closes idle connections, lets requests end with connection: close */
unsigned http_server_conns(const struct http_server *s);      /* open ones */
void http_server_close(struct http_server *s);                /* cuts everything */
void http_server_free(struct http_server *s);                 /* after the loop ended */

void http_req_collect(struct http_req *r, size_t max_bytes);  /* whole body into r->body; beyond max: on_bad with 413 */
void http_req_stream(struct http_req *r, size_t max_bytes);   /* on_body; 0: no limit */
void http_req_pause(struct http_req *r);                      /* stop reading the body (stream mode) */
void http_req_resume(struct http_req *r);
struct str http_req_header(const struct http_req *r, const char *lower_name);
/* Collect mode, once the body is not needed any more: lets go of its memory early (long streams). The body is then empty. */
void http_req_drop_body(struct http_req *r);

/* Adds date, content-length or transfer-encoding, connection. HEAD and 204/304 send no body. One write. */
void http_reply(struct http_req *r, int status, const struct http_header *h, size_t n, struct str body);
void http_reply_head(struct http_req *r, int status, const struct http_header *h, size_t n, int64_t content_length /* -1: chunked */);
/* Gathered and written once at the end of this loop turn (or by http_reply_flush). Copies what cannot be sent at once. */
void http_reply_body(struct http_req *r, struct str bytes);
void http_reply_end(struct http_req *r);
/* The same with trailers behind a chunked body. They reach only who said that it reads them: http_req_takes_trailers(). */
void http_reply_end_with(struct http_req *r, const struct http_header *trailers, size_t n);
bool http_req_takes_trailers(const struct http_req *r);       /* RFC 9110, 6.5.1: TE: trailers */
void http_reply_flush(struct http_req *r);
bool http_reply_is_full(const struct http_req *r);
void http_reply_cut(struct http_req *r);                      /* closes without a proper end: the client sees a broken reply */
#endif
