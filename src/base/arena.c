/* arena.c - bump allocation in power-of-two blocks, recycled per thread.
 * The arena itself lives at the start of its first block. */
#include "base/arena.h"
#include "base/banned.h"
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define EACH_ITS_OWN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EACH_ITS_OWN 1
#endif
#endif
#ifndef EACH_ITS_OWN
#define EACH_ITS_OWN 0
#endif

#define ALIGN 16
#define ROUND(n) (((n) + (ALIGN - 1)) & ~(size_t)(ALIGN - 1))

struct cleanup {
    struct cleanup *next;
    void (*fn)(void *);
    void *arg;
};

static _Noreturn void out_of_memory(void)
{
    static const char text[] = "sluice: out of memory\n";
    fputs(text, stderr);
    abort();
}

static void run_cleanups(struct cleanup **list)
{
    while (*list) { /* one may register another */
        struct cleanup *c = *list;
        *list = c->next;
        c->fn(c->arg);
    }
}

#if EACH_ITS_OWN

struct piece {
    struct piece *prev, *next;
    size_t n;
    size_t unused; /* keeps what follows aligned */
};
struct arena {
    struct piece *pieces;
    struct cleanup *cleanups;
    size_t held;
};

struct arena *arena_new(void)
{
    struct arena *a = calloc(1, sizeof *a);
    if (!a)
        out_of_memory();
    return a;
}

static void free_pieces(struct arena *a)
{
    for (struct piece *p = a->pieces, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    a->pieces = NULL;
    a->held = 0;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    run_cleanups(&a->cleanups);
    free_pieces(a);
    free(a);
}

void arena_reset(struct arena *a)
{
    run_cleanups(&a->cleanups);
    free_pieces(a);
}

static void *try_alloc(struct arena *a, size_t n)
{
    struct piece *p = n <= SIZE_MAX / 2 ? malloc(sizeof *p + n) : NULL;
    if (!p)
        return NULL;
    *p = (struct piece){.next = a->pieces, .n = n};
    if (p->next)
        p->next->prev = p;
    a->pieces = p;
    a->held += n;
    return p + 1;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = try_alloc(a, n);
    if (!p)
        out_of_memory();
    return p;
}

void *arena_try_realloc(struct arena *a, void *p, size_t old_n, size_t new_n)
{
    void *grown = try_alloc(a, new_n);
    if (!p || !grown)
        return grown;
    memcpy(grown, p, old_n < new_n ? old_n : new_n);
    struct piece *old = (struct piece *)p - 1;
    if (old->prev)
        old->prev->next = old->next;
    else
        a->pieces = old->next;
    if (old->next)
        old->next->prev = old->prev;
    a->held -= old->n;
    free(old);
    return grown;
}

size_t arena_size(const struct arena *a)
{
    return a->held;
}

void arena_thread_done(void)
{
}

#else

enum {
    FIRST_LOG2 = 12,  /* the first block: 4 KB, enough for a small request and its answer's head */
    SECOND_LOG2 = 11, /* a waiting stream needs little more than one */
    GROW_LOG2 = 16,   /* those behind the second double up to here */
    SMALL_LOG2 = 16,  /* up to here many are kept */
    HUGE_LOG2 = 21,   /* a huge page */
    LARGEST_LOG2 = 24 /* beyond it nothing is kept */
};
#define KEEP_SMALL 256
#define KEEP_LARGE 8
#define KEEP_BYTES ((size_t)24 << 20) /* of one thread, all sizes together */

struct block {
    struct block *next;
    size_t log2;
};
struct arena {
    char *at, *end;       /* free room of the newest block */
    struct block *blocks; /* newest first; the last one holds this struct */
    struct block *first;
    struct cleanup *cleanups;
    size_t held;
};

static _Thread_local struct {
    struct block *list[LARGEST_LOG2 + 1];
    unsigned count[LARGEST_LOG2 + 1];
    size_t bytes;
} kept;

static struct block *block_get(size_t log2)
{
    struct block *b;
    if (log2 <= LARGEST_LOG2 && kept.list[log2]) {
        b = kept.list[log2];
        kept.list[log2] = b->next;
        kept.count[log2]--;
        kept.bytes -= (size_t)1 << log2;
        return b;
    }
    size_t size = (size_t)1 << log2;
    if (log2 < HUGE_LOG2) {
        b = malloc(size);
    } else { /* faulted in by megabytes, where the system has them: page by page takes longer than filling them */
        b = aligned_alloc((size_t)1 << HUGE_LOG2, size);
        if (b)
            (void)madvise(b, size, MADV_HUGEPAGE);
    }
    if (b)
        b->log2 = log2;
    return b;
}

static void block_put(struct block *b)
{
    size_t log2 = b->log2, size = (size_t)1 << log2;
    if (log2 > LARGEST_LOG2 || kept.count[log2] >= (log2 <= SMALL_LOG2 ? KEEP_SMALL : KEEP_LARGE) ||
        kept.bytes + size > KEEP_BYTES) {
        free(b);
        return;
    }
    b->next = kept.list[log2];
    kept.list[log2] = b;
    kept.count[log2]++;
    kept.bytes += size;
}

void arena_thread_done(void)
{
    for (size_t i = 0; i <= LARGEST_LOG2; i++) {
        for (struct block *b = kept.list[i], *next; b; b = next) {
            next = b->next;
            free(b);
        }
        kept.list[i] = NULL;
        kept.count[i] = 0;
    }
    kept.bytes = 0;
}

static void start(struct arena *a, struct block *first)
{
    *a = (struct arena){.blocks = first, .first = first, .held = (size_t)1 << first->log2};
    a->at = (char *)first + ROUND(sizeof *first) + ROUND(sizeof *a);
    a->end = (char *)first + a->held;
}

struct arena *arena_new(void)
{
    struct block *first = block_get(FIRST_LOG2);
    if (!first)
        out_of_memory();
    first->next = NULL;
    struct arena *a = (struct arena *)(void *)((char *)first + ROUND(sizeof *first));
    start(a, first);
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    run_cleanups(&a->cleanups);
    for (struct block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        block_put(b);
    }
}

void arena_reset(struct arena *a)
{
    run_cleanups(&a->cleanups);
    struct block *first = a->first;
    for (struct block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (b != first)
            block_put(b);
    }
    first->next = NULL;
    start(a, first);
}

static __attribute__((noinline)) void *alloc_in_new_block(struct arena *a, size_t n)
{
    size_t need = n + ROUND(sizeof(struct block));
    if (n > SIZE_MAX / 4)
        return NULL;
    size_t log2 = a->blocks->log2 < FIRST_LOG2  ? FIRST_LOG2 + 1
                  : a->blocks->log2 < GROW_LOG2 ? a->blocks->log2 + 1
                                                : GROW_LOG2;
    if (a->blocks == a->first)
        log2 = SECOND_LOG2;
    while (((size_t)1 << log2) < need)
        log2++;
    struct block *b = block_get(log2);
    if (!b)
        return NULL;
    b->next = a->blocks;
    a->blocks = b;
    a->held += (size_t)1 << log2;
    char *p = (char *)b + ROUND(sizeof *b);
    a->at = p + n;
    a->end = (char *)b + ((size_t)1 << log2);
    return p;
}

static inline void *try_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN)
        return NULL;
    n = ROUND(n);
    if (n > (size_t)(a->end - a->at))
        return alloc_in_new_block(a, n);
    void *p = a->at;
    a->at += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = try_alloc(a, n);
    if (!p)
        out_of_memory();
    return p;
}

void *arena_try_realloc(struct arena *a, void *p, size_t old_n, size_t new_n)
{
    if (!p)
        return try_alloc(a, new_n);
    char *start_at = p;
    if (start_at + ROUND(old_n) == a->at && new_n <= (size_t)(a->end - start_at)) {
        a->at = start_at + ROUND(new_n); /* end is aligned: rounding stays inside */
        return p;
    }
    if (new_n <= old_n)
        return p;
    void *grown = try_alloc(a, new_n);
    if (grown)
        memcpy(grown, p, old_n);
    return grown;
}

size_t arena_size(const struct arena *a)
{
    return a->held;
}

#endif

void *arena_realloc(struct arena *a, void *p, size_t old_n, size_t new_n)
{
    void *grown = arena_try_realloc(a, p, old_n, new_n);
    if (!grown)
        out_of_memory();
    return grown;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    memset(p, 0, n);
    return p;
}

void arena_on_free(struct arena *a, void (*fn)(void *), void *arg)
{
    struct cleanup *c = arena_alloc(a, sizeof *c);
    *c = (struct cleanup){.next = a->cleanups, .fn = fn, .arg = arg};
    a->cleanups = c;
}
