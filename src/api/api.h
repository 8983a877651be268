/* api.h - from an HTTP request to its row: aliases, CORS, access, media types, then the row's handler. */
#ifndef API_API_H
#define API_API_H
#include "api/endpoint.h"

struct control; /* what control-plane handlers need: built by app */

struct api {                 /* of one loop; open, filled in by app */
    struct relay_loop *relay;
    struct router *router;
    struct control *control;
    struct workers *workers; /* of the control plane alone: a slow call there holds up no request */
    struct workers *errands; /* for rows that wait for other people's servers */
    struct workers *hashers; /* the few that may hash passwords */
    struct identity *identity;
    bool is_loopback;        /* we listen on a loopback address */
    _Atomic bool *is_draining;
};

struct api_call {            /* one request, in its arena */
    struct api *api;
    struct http_req *r;
    struct snapshot *snap;   /* pinned until on_close */
    const struct endpoint *row;
    struct principal who;
    const struct key *key;   /* who.key: of the data plane's callers */
    struct str id;           /* request id */
    struct str path;         /* canonical */
    struct route_params params;
    struct relay *relay;     /* once begun */
    struct stored_call *stored; /* it reads a stored response */
    struct control_job *job; /* a control handler at work */
    struct tail_client *tail; /* it listens to the request log */
    struct str cors;         /* Access-Control-Allow-Origin; empty: none */
    bool varies_by_origin;   /* … and that depends on who asks */
    const struct http_header *extra; /* headers of the answer that a control handler added */
    size_t n_extra;
    enum http_method method; /* of the row: HEAD is served by GET */
};

extern const struct http_handler api_handler; /* arg: struct api */

void api_reply(struct api_call *c, int status, const char *content_type, struct str body);
void api_reply_json(struct api_call *c, int status, struct str body);
void api_fail(struct api_call *c, const struct err *e);
void api_refuse(struct api_call *c, struct err *e); /* a fault that no handler found: put into the surface's words */
struct gate_door;
struct gate_door api_door(const struct api_call *c); /* what its row asks for */
bool api_may_still(const struct api_call *c); /* the caller of an answer that goes on, by the configuration of now */
/* control.c */
void control_run(struct api_call *c);      /* on_complete of a worker row */
void control_forget(struct api_call *c);
/* The OpenAPI document of all rows; in the arena. */
struct str openapi_document(struct arena *a);
#endif
