/* arena.h - memory that is given back in one sweep.
 * One arena a request or a connection, used by one thread at a time. Blocks come from bounded
 * power-of-two free lists of the thread, since mapping and faulting big blocks costs as much as
 * parsing what they hold. Under AddressSanitizer every allocation is its own malloc. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include "base/str.h"

struct arena;
struct arena *arena_new(void);
void arena_free(struct arena *a);                             /* runs the on_free calls, newest first; NULL is allowed */
void arena_reset(struct arena *a);                            /* as free and new, keeping the first block */
void *arena_alloc(struct arena *a, size_t n);                 /* 16-byte aligned, uninitialised; never NULL */
void *arena_zalloc(struct arena *a, size_t n);
/* Grows in place when p is the last allocation; p may be NULL. */
void *arena_realloc(struct arena *a, void *p, size_t old_n, size_t new_n);
void *arena_try_realloc(struct arena *a, void *p, size_t old_n, size_t new_n); /* for sizes that a peer chooses: NULL where there is no memory */
void arena_on_free(struct arena *a, void (*fn)(void *), void *arg);
size_t arena_size(const struct arena *a);                     /* bytes held from the system */
#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))

void arena_thread_done(void);                                 /* frees the calling thread's free lists */
#endif
