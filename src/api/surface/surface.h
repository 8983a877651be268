/* surface.h - one family of paths and its habits: how errors look, where tokens stand, what is cached and who may ask from a browser.
 * A surface is a row here and at most one file beside it; endpoint rows name it, and nothing else knows it. */
#ifndef API_SURFACE_SURFACE_H
#define API_SURFACE_SURFACE_H
#include "api/endpoint.h"

struct surface_def {
    const char *name;           /* in `sluice endpoints` */
    const char *title, *text;   /* its tag in the OpenAPI document */
    const char *error_schema;   /* of its errors there, one of the document's components */
    enum wire_id wire;          /* errors look as in this format; WIRE_NONE: write_error */
    void (*write_error)(const struct err *e, struct str request_id, struct buf *out);
    const char *paths;          /* paths below it that no row serves are refused in its way; NULL: none */
    const char *mount;          /* the same, of paths as they came; NULL: none */
    const char *token_header;   /* takes a credential beside the usual carriers; NULL: none */
    const char *cookie;         /* a session's token also stands in it; NULL: in sluice's own only */
    void (*adapt)(struct err *e); /* a fault as this family has it, before it is recorded and written; NULL: as it is */
    bool has_uuids;             /* requests without an id of their caller's are named by UUIDs */
    const char *cache_control;  /* of every answer; NULL: none. A row may have its own */
    size_t max_body_bytes;      /* 0: the control plane's */
    bool is_administrative;     /* other origins only as admin_cors_origins says */
    bool takes_any_media;       /* a body is JSON whatever Content-Type says */
    /* texts in place of sluice's own; NULL: those */
    const char *unauthenticated, *not_found, *bad_method, *bad_json;
    const char *too_large;      /* its size is put behind it */
};

const struct surface_def *surface_of(enum surface s);
size_t surface_count(void);
/* Whose habits a path without a row follows: that of the mount by which it came, else what it stands for (api/endpoint.h). */
enum surface surface_of_path(struct str came, struct str canonical);
/* OpenAI's, Anthropic's or Google's, by the headers that their clients send. */
enum surface surface_of_caller(const struct http_req *r);
/* e in the surface's words: what it says of the faults that the mechanism finds before a handler runs. bad_json: the row's own words;
 * body_bytes: of a body that is too large. */
void surface_phrase(const struct surface_def *s, const char *bad_json, uint64_t body_bytes, struct err *e);

void omniroute_adapt(struct err *e);
void omniroute_write_error(const struct err *e, struct str request_id, struct buf *out);
void omniroute_write_typed_error(const struct err *e, struct str request_id, struct buf *out);
void rosetta_adapt(struct err *e);
void rosetta_write_error(const struct err *e, struct str request_id, struct buf *out);
#endif
