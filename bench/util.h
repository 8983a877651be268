/* util.h - what the mock upstream and the load generator share.
 * Programs of one thread that end on the first fault of their own: no error values here. */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Counters that the mock keeps in a mapped file, so that the generator can read them at the very
 * moment its window opens and closes. One writer; readers tolerate being one event behind. */
struct bench_stats {
    uint64_t connections; /* accepted */
    uint64_t requests;    /* read completely */
    uint64_t streams;     /* answered as a stream and finished */
    uint64_t pieces;      /* paced pieces written, each one write and so one segment */
};

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *must_alloc(void *old, size_t size); /* realloc that ends the program when memory is gone */
uint64_t now_ns(void);                    /* monotonic */

/* The number in `text`, or the program ends naming `flag`. */
double parse_number(const char *flag, const char *text, double min, double max);

struct bench_stats *stats_map(const char *path, bool create);
void file_publish(const char *path, const char *text); /* readers see all of it or nothing */
void raise_descriptor_limit(void);
void die_with_parent(void);  /* no benchmark leaves processes behind */
void socket_prepare(int fd); /* non-blocking, no delay */
#endif
