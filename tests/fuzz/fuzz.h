/* fuzz.h - what the fuzz targets share. A property that does not hold aborts, and so is found. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "json/json.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition, ...)                                              \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);  \
            fprintf(stderr, __VA_ARGS__);                                    \
            fputc('\n', stderr);                                             \
            abort();                                                         \
        }                                                                    \
    } while (0)

/* Takes choices from the front of the input; 0 when it is used up. */
static inline unsigned take_byte(struct str *input)
{
    if (input->n == 0)
        return 0;
    unsigned char first = (unsigned char)input->p[0];
    *input = str_skip(*input, 1);
    return first;
}

/* An exact copy on the heap, so that reading one byte too far is seen. */
static inline struct str exact_copy(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n ? s.n : 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    return str_n(p, s.n);
}
#endif
