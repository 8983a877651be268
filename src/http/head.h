/* head.h - collects the spans that llhttp hands out for a message head, wherever reads split it.
 * Names come out lower-cased, values trimmed. Shared by server and client. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H
#include "base/arena.h"
#include "base/buf.h"
#include "http/http.h"

struct head_field {             /* offsets into text */
    uint32_t name, name_n, value, value_n;
};
struct head {
    struct buf text;            /* the target, then names and values */
    struct head_field *fields;
    unsigned n, cap;
    size_t target_n;
    bool is_field_open;
};

void head_init(struct head *h);
void head_done(struct head *h);
void head_clear(struct head *h);
struct head *head_move(struct head *from);                    /* onto the heap; from is empty afterwards */
/* A piece of the target, a name or a value; false: beyond the maximum. */
bool head_target(struct head *h, const char *p, size_t n, size_t max) MUST_USE;
bool head_name(struct head *h, const char *p, size_t n, size_t max) MUST_USE;
bool head_value(struct head *h, const char *p, size_t n, size_t max) MUST_USE;
void head_value_end(struct head *h);
void head_add(struct head *h, size_t name_n, size_t value_n); /* a whole one, whose name and value stand behind text already */
/* Header text being written: never a line end or NUL, they would start a header of their own. to has room for s. */
void head_put_text(char *to, struct str s);
/* Fills out with h->n views: of a copy of the text in the arena, or (a NULL) of h itself. Returns the target. */
struct str head_copy(const struct head *h, struct arena *a, struct http_header *out);
#endif
