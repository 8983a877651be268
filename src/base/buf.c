/* buf.c - growth by doubling, on the heap or in an arena, never beyond the maximum. */
#include "base/buf.h"
#include "base/banned.h"
#include <stdarg.h>

#define SMALLEST 256

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_init_arena(struct buf *b, struct arena *a, size_t max)
{
    *b = (struct buf){.max = max, .arena = a};
}

void buf_done(struct buf *b)
{
    if (!b->arena)
        free(b->p);
    *b = (struct buf){.max = b->max, .arena = b->arena};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = b->lacks_memory = false;
}

static char *grow_to(struct buf *b, size_t cap)
{
    return b->arena ? arena_try_realloc(b->arena, b->p, b->cap, cap) : realloc(b->p, cap);
}

bool buf_grow(struct buf *b, size_t n)
{
    if (b->failed || n > b->max || b->n > b->max - n) {
        b->failed = true;
        return false;
    }
    size_t need = b->n + n, cap = b->cap < SMALLEST / 2 ? SMALLEST : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap > b->max)
        cap = b->max;
    char *grown = grow_to(b, cap);
    if (!grown && cap > need)
        grown = grow_to(b, cap = need);
    if (!grown && (b->max >= BUF_OURS || cap <= BUF_SMALL))
        abort();
    if (!grown) {
        b->failed = b->lacks_memory = true;
        return false;
    }
    b->p = grown;
    b->cap = cap;
    return true;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    char small[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if ((size_t)n < sizeof small) {
        buf_add(b, small, (size_t)n);
        return;
    }
    char *large = malloc((size_t)n + 1);
    if (!large)
        abort();
    va_start(args, fmt);
    (void)vsnprintf(large, (size_t)n + 1, fmt, args);
    va_end(args);
    buf_add(b, large, (size_t)n);
    free(large);
}

/* Two digits a division: replies and their heads are full of numbers. */
void buf_int(struct buf *b, int64_t v)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "6869707172737475767778798081828384858687888990919293949596979899";
    char digits[20];
    size_t i = sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    for (; u >= 100; u /= 100)
        memcpy(digits + (i -= 2), pairs + u % 100 * 2, 2);
    if (u >= 10)
        memcpy(digits + (i -= 2), pairs + u * 2, 2);
    else
        digits[--i] = (char)('0' + u);
    if (v < 0)
        digits[--i] = '-';
    buf_add(b, digits + i, sizeof digits - i);
}
