/* Arenas and the builders on them. */
#include "base/buf.h"
#include "unit/unit.h"
#include <pthread.h>
#include <stdio.h>

START_TEST(memory_is_aligned_and_keeps_its_bytes)
{
    struct arena *a = arena_new();
    unsigned char *all[300];
    for (size_t i = 0; i < 300; i++) {
        all[i] = arena_alloc(a, i * 7);
        ck_assert_uint_eq((uintptr_t)all[i] % 16, 0);
        memset(all[i], (int)(i & 255), i * 7);
    }
    for (size_t i = 0; i < 300; i++) {
        for (size_t k = 0; k < i * 7; k++)
            ck_assert_uint_eq(all[i][k], i & 255);
    }
    unsigned char *zero = arena_zalloc(a, 100000);
    for (size_t i = 0; i < 100000; i++)
        ck_assert_uint_eq(zero[i], 0);
    ck_assert_uint_ge(arena_size(a), 300 * 299 / 2 * 7);
    arena_free(a);
    arena_free(NULL);
    arena_thread_done();
}
END_TEST

START_TEST(growing_keeps_what_is_there)
{
    struct arena *a = arena_new();
    char *p = arena_realloc(a, NULL, 0, 10);
    size_t n = 10;
    for (size_t i = 0; i < n; i++)
        p[i] = (char)i;
    for (int round = 0; round < 14; round++) {
        if (round % 3 == 0)
            (void)arena_alloc(a, 1); /* no longer the last one: it has to move */
        p = arena_realloc(a, p, n, n * 2);
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(p[i], (char)i);
        for (size_t i = n; i < 2 * n; i++)
            p[i] = (char)i;
        n *= 2;
    }
    p = arena_realloc(a, p, n, 5);
    ck_assert_int_eq(p[4], 4);
    arena_free(a);
    arena_thread_done();
}
END_TEST

static char order[8];
static void note(void *arg)
{
    order[strlen(order)] = *(const char *)arg;
}

START_TEST(cleanups_run_newest_first_and_once)
{
    struct arena *a = arena_new();
    static char letters[] = "abc";
    arena_on_free(a, note, &letters[0]);
    arena_on_free(a, note, &letters[1]);
    arena_reset(a);
    ck_assert_str_eq(order, "ba");
    arena_on_free(a, note, &letters[2]);
    (void)arena_alloc(a, 1 << 20);
    arena_free(a);
    ck_assert_str_eq(order, "bac");
    arena_thread_done();
}
END_TEST

static void *use_arenas(void *arg)
{
    (void)arg;
    struct arena *kept[20];
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < 20; i++) {
            kept[i] = arena_new();
            memset(arena_alloc(kept[i], i * 10000), 1, i * 10000);
        }
        for (size_t i = 0; i < 20; i++)
            arena_free(kept[i]);
    }
    arena_thread_done();
    return NULL;
}

START_TEST(threads_recycle_apart)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_arenas, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

START_TEST(a_builder_stops_at_its_maximum)
{
    struct arena *a = arena_new();
    for (int on_heap = 0; on_heap < 2; on_heap++) {
        struct buf b;
        if (on_heap)
            buf_init(&b, 1000);
        else
            buf_init_arena(&b, a, 1000);
        for (int i = 0; i < 100; i++)
            buf_add(&b, "0123456789", 10);
        ck_assert(!buf_failed(&b) && b.n == 1000);
        buf_add(&b, "", 0);
        ck_assert(!buf_failed(&b));
        buf_char(&b, 'x');
        ck_assert(buf_failed(&b) && b.n == 1000);
        buf_lit(&b, "");
        ck_assert(buf_failed(&b)); /* and remembers */
        ck_assert(!buf_reserve(&b, 0) || b.n <= 1000);
        buf_clear(&b);
        ck_assert(!buf_failed(&b) && b.n == 0);
        buf_fmt(&b, "%s-%d", "x", 12);
        buf_int(&b, INT64_MIN);
        buf_int(&b, 0);
        check_text(buf_str(&b), "x-12-92233720368547758080");
        buf_consume(&b, 5);
        check_text(buf_str(&b), "92233720368547758080");
        buf_consume(&b, 100);
        ck_assert_uint_eq(b.n, 0);
        ck_assert(!buf_reserve(&b, SIZE_MAX));
        buf_clear(&b);
        buf_fmt(&b, "%0800d", 7);
        ck_assert(b.n == 800 && b.p[799] == '7');
        buf_fmt(&b, "%0800d", 7);
        ck_assert(buf_failed(&b) && b.n == 800);
        buf_done(&b);
    }
    arena_free(a);
    arena_thread_done();
}
END_TEST

START_TEST(whole_numbers_are_written_as_printf_does)
{
    struct buf b;
    char want[32];
    buf_init(&b, 100);
    for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10)
        for (int64_t v = power - 2; v <= power + 2; v++)
            for (int sign = -1; sign <= 1; sign += 2) {
                buf_clear(&b);
                buf_int(&b, sign * v);
                (void)snprintf(want, sizeof want, "%lld", (long long)(sign * v));
                check_str(buf_str(&b), str_of(want));
            }
    buf_clear(&b);
    buf_int(&b, INT64_MAX);
    check_text(buf_str(&b), "9223372036854775807");
    buf_done(&b);
}
END_TEST

UNIT_MAIN("arena", memory_is_aligned_and_keeps_its_bytes, growing_keeps_what_is_there,
          cleanups_run_newest_first_and_once, threads_recycle_apart, a_builder_stops_at_its_maximum,
          whole_numbers_are_written_as_printf_does)
