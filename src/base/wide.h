/* wide.h - the processor's instructions on 32 bytes, where it has them: what walks over large texts takes them when asked at run time,
 * since the program is built for every processor of its kind. */
#ifndef BASE_WIDE_H
#define BASE_WIDE_H
#if defined(__x86_64__) && defined(__SSE2__)
#include <immintrin.h>
#define WIDE __attribute__((target("avx2,bmi")))
#define HAS_WIDE() (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))

/* The highest bit of each of 64 bytes, the first one's lowest. */
static inline WIDE unsigned long long wide_bits(__m256i low, __m256i high)
{
    return (unsigned)_mm256_movemask_epi8(low) | (unsigned long long)(unsigned)_mm256_movemask_epi8(high) << 32;
}
#endif
#endif
