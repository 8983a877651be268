/* quick.h - reads a message head that is written as nearly all are and has come whole: one pass, no state machine.
 * Takes a strict part of what llhttp takes, and reads the same from it; whatever is unusual (another method or version, an odd
 * byte, a header that decides about framing other than one content-length) is left to llhttp, which starts afresh. */
#ifndef HTTP_QUICK_H
#define HTTP_QUICK_H
#include "http/head.h"

struct quick_limits {
    size_t max_head_bytes, max_target_bytes;
    unsigned max_headers;
};
struct quick {
    size_t head_n;          /* bytes of the head, its empty line included */
    bool is_get;            /* a request: GET, else POST */
    int status;             /* a reply: 200 to 599, of a kind that has a body */
    int64_t content_length; /* -1: none; a reply always has one */
};
/* false: not for here; h is then as head_clear leaves it. */
bool quick_request(struct str text, const struct quick_limits *limits, struct head *h, struct quick *out) MUST_USE;
bool quick_reply(struct str text, size_t max_head_bytes, struct head *h, struct quick *out) MUST_USE;
#endif
