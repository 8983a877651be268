/* buf.h - a bounded byte builder. Where it has a maximum, a peer chooses how much it holds, and having no memory for it is a failure too.
 * Remembers its first failure: append freely, check buf_failed() once, at the end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include "base/arena.h"

struct buf {
    char *p;
    size_t n;      /* bytes held */
    size_t cap;
    size_t max;    /* appending beyond it fails */
    struct arena *arena; /* NULL: heap, freed by buf_done */
    bool failed;
    bool lacks_memory;   /* why */
};
#define BUF_OURS (SIZE_MAX / 4) /* a maximum that stands for none: what is built is ours, and without memory for it the program ends */
#define BUF_THEIRS (SIZE_MAX / 8) /* none either, but a peer chooses how much comes */
#define BUF_SMALL 65536         /* where there is no memory for so little, nothing would go on anyway */

void buf_init(struct buf *b, size_t max);                     /* on the heap */
void buf_init_arena(struct buf *b, struct arena *a, size_t max); /* in the arena: buf_done is not needed */
void buf_done(struct buf *b);
void buf_clear(struct buf *b);                                /* keeps the memory, forgets a failure */
bool buf_grow(struct buf *b, size_t n);                       /* the slow half of buf_reserve */
static inline bool buf_reserve(struct buf *b, size_t n)       /* room for n more bytes behind p + n */
{
    return (!b->failed && n <= b->cap - b->n) || buf_grow(b, n);
}
void buf_consume(struct buf *b, size_t n);                    /* drops the first n bytes */
static inline bool buf_failed(const struct buf *b) { return b->failed; }
static inline struct str buf_str(const struct buf *b) { return (struct str){b->p, b->n}; }

static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}
static inline void buf_str_add(struct buf *b, struct str s) { buf_add(b, s.p, s.n); }
#define buf_lit(b, lit) buf_add((b), "" lit, sizeof(lit) - 1)
static inline void buf_char(struct buf *b, char c)
{
    if (buf_reserve(b, 1))
        b->p[b->n++] = c;
}
void buf_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_int(struct buf *b, int64_t v);
#endif
