/* Answers that are kept to be given again: bounds, times, who waits for whom. */
#include "relay/replies.h"
#include "unit/net_kit.h"
#include <pthread.h>
#include <stdlib.h>

static struct replies *table;
static const struct replies_limits wide = {1 << 20, 100};

static void setup(void)
{
    table = replies_new();
}

static void teardown(void)
{
    replies_free(table);
}

static struct replies_key key(unsigned id, unsigned check)
{
    struct replies_key k = {.layer = REPLIES_EXACT};
    memcpy(k.id, &id, sizeof id);
    memcpy(k.check, &check, sizeof check);
    return k;
}

static enum replies_found enter(unsigned id, uint64_t now)
{
    struct replies_key k = key(id, 0);
    struct saved *hit = NULL;
    enum replies_found found = replies_enter(table, &k, now, NULL, &hit);
    saved_unref(hit);
    return found;
}

static void keep(unsigned id, struct str body, uint64_t ttl, uint64_t now,
                 const struct replies_limits *limits)
{
    struct replies_key k = key(id, 0);
    struct saved *hit = NULL;
    struct saved *s = saved_new(
        &(struct saved){.status = 200, .body = body, .usage = IR_USAGE_NONE, .created_ms = 7});
    ck_assert_int_eq(replies_enter(table, &k, now, NULL, &hit), REPLIES_LEAD);
    replies_settle(table, &k, s, ttl, now, limits);
    saved_unref(s);
}

static struct replies_stats figures(void)
{
    struct replies_stats s[REPLIES_LAYERS];
    replies_read_stats(table, s);
    return s[REPLIES_EXACT];
}

START_TEST(gives_what_was_kept_until_its_time_is_over)
{
    struct replies_key k = key(1, 0);
    struct saved *hit = NULL;
    keep(1, STR("answer"), 100, 50, &wide);
    ck_assert_int_eq(replies_enter(table, &k, 149, NULL, &hit), REPLIES_HIT);
    ck_assert(str_is(hit->body, "answer"));
    saved_unref(hit);
    ck_assert_int_eq(enter(1, 150), REPLIES_LEAD);
    ck_assert_int_eq(enter(1, 150), REPLIES_BUSY); /* and one only */
    replies_settle(table, &k, NULL, 100, 151, &wide);
    ck_assert_int_eq(enter(1, 152), REPLIES_LEAD); /* nothing came of it */
    ck_assert_uint_eq(figures().running, 1);
}
END_TEST

START_TEST(another_request_under_the_same_key_is_told_apart)
{
    struct replies_key k = key(1, 1);
    struct saved *hit = NULL;
    keep(1, STR("answer"), 100, 0, &wide);
    ck_assert_int_eq(replies_enter(table, &k, 10, NULL, &hit), REPLIES_OTHER);
    ck_assert_ptr_null(hit);
    /* its time is over */
    ck_assert_int_eq(replies_enter(table, &k, 100, NULL, &hit), REPLIES_LEAD);
    ck_assert_int_eq(enter(1, 101), REPLIES_OTHER); /* running as well */
    ck_assert_uint_eq(figures().conflicts, 2);
    k.layer = REPLIES_IDEMPOTENT; /* layers know nothing of each other */
    ck_assert_int_eq(replies_enter(table, &k, 100, NULL, &hit), REPLIES_LEAD);
}
END_TEST

START_TEST(stays_within_its_bounds)
{
    static char body[1000];
    struct replies_limits few = {1 << 20, 3}, small = {4000, 100};
    for (unsigned i = 0; i < 3; i++)
        keep(i, STR("x"), 1000, 0, &few);
    ck_assert_int_eq(enter(0, 1), REPLIES_HIT); /* now 1 is the one unused for longest */
    keep(3, STR("x"), 1000, 1, &few);
    ck_assert_int_eq(enter(1, 2), REPLIES_LEAD);
    ck_assert_int_eq(enter(0, 2), REPLIES_HIT);
    ck_assert_uint_eq(figures().evicted, 1);
    for (unsigned i = 10; i < 30; i++) {
        keep(i, str_n(body, sizeof body), 1000, 2, &small);
        ck_assert_uint_le(figures().bytes, small.max_bytes);
    }
    /* never fits */
    keep(40, str_n(body, sizeof body), 1000, 2, &(struct replies_limits){500, 100});
    ck_assert_int_eq(enter(40, 3), REPLIES_LEAD);
    ck_assert_uint_gt(figures().entries, 0);
    keep(41, STR("x"), 1000, 2, &(struct replies_limits){0, 0});
    ck_assert_int_eq(enter(41, 3), REPLIES_LEAD);
}
END_TEST

START_TEST(forgets_what_is_named)
{
    struct replies_key k = key(2, 0);
    keep(1, STR("a"), 100, 0, &wide);
    keep(2, STR("b"), 1000, 0, &wide);
    keep(3, STR("c"), 1000, 0, &wide);
    ck_assert_uint_eq(replies_forget(table, &(struct replies_drop){.model = STR("m")}, 0), 0);
    ck_assert_uint_eq(replies_forget(table, &(struct replies_drop){.before_ms = 7}, 0), 0);
    ck_assert_uint_eq(replies_forget(table, &(struct replies_drop){.is_expired = true}, 100), 1);
    ck_assert_uint_eq(replies_forget(table, &(struct replies_drop){.id = k.id}, 0), 1);
    ck_assert_uint_eq(replies_forget(table, &(struct replies_drop){.before_ms = 8}, 0), 1);
    ck_assert_uint_eq(figures().bytes, 0);
    replies_reset_stats(table);
    ck_assert_uint_eq(figures().stored, 0);
}
END_TEST

/* ---- waiting, across loops ---- */

struct asker {
    struct loop *loop;
    struct replies_waiter w;
    _Atomic int told;
    bool got;
};

static void on_told(void *arg)
{
    struct asker *a = arg;
    a->got = a->w.got != NULL;
    saved_unref(a->w.got);
    atomic_fetch_add(&a->told, 1);
}

START_TEST(those_who_wait_are_told_once_or_left_alone)
{
    struct loop *l = loop_new(0);
    struct replies_key k = key(1, 0);
    struct saved *hit = NULL,
                 *s = saved_new(&(struct saved){.body = STR("x"), .usage = IR_USAGE_NONE});
    struct asker v[4] = {0};
    ck_assert_int_eq(replies_enter(table, &k, 0, NULL, &hit), REPLIES_LEAD);
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i].w = (struct replies_waiter){.loop = l, .fn = on_told, .arg = &v[i]};
        ck_assert_int_eq(replies_enter(table, &k, 0, &v[i].w, &hit), REPLIES_JOINED);
    }
    ck_assert(replies_leave(table, &v[1].w));
    ck_assert(replies_leave(table, &v[3].w));
    replies_settle(table, &k, s, 0, 0, &wide); /* handed over, not kept */
    ck_assert(!replies_leave(table, &v[0].w));
    TURN_UNTIL(l, v[0].told && v[2].told);
    ck_assert(v[0].got && v[2].got);
    ck_assert_int_eq(v[1].told + v[3].told, 0);
    ck_assert_int_eq(enter(1, 0), REPLIES_LEAD);
    saved_unref(s);
    loop_free(l);
}
END_TEST

enum {
    ROUNDS = 3000
};

static void *work(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct replies_key k = key(i % 7, 0);
        struct saved *hit = NULL;
        enum replies_found found = replies_enter(table, &k, i, NULL, &hit);
        if (found == REPLIES_HIT) {
            ck_assert_uint_eq(hit->body.n, i % 7);
            saved_unref(hit);
        } else if (found == REPLIES_LEAD) {
            struct saved *s = saved_new(
                &(struct saved){.body = str_n("1234567", i % 7), .usage = IR_USAGE_NONE});
            replies_settle(table, &k, (seed + i) % 5 ? s : NULL, 3, i, &wide);
            saved_unref(s);
        }
        if (i % 100 == 0)
            (void)replies_forget(table, &(struct replies_drop){.is_expired = true}, i);
    }
    return NULL;
}

START_TEST(loops_may_use_it_at_once)
{
    pthread_t t[4];
    unsigned seeds[4] = {0, 1, 2, 3};
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, work, &seeds[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        pthread_join(t[i], NULL);
    struct replies_stats f = figures();
    ck_assert_uint_eq(f.running, 0);
    ck_assert_uint_le(f.entries, 7);
    ck_assert_uint_gt(f.hits + f.misses, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replies");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, gives_what_was_kept_until_its_time_is_over);
    tcase_add_test(t, another_request_under_the_same_key_is_told_apart);
    tcase_add_test(t, stays_within_its_bounds);
    tcase_add_test(t, forgets_what_is_named);
    tcase_add_test(t, those_who_wait_are_told_once_or_left_alone);
    tcase_add_test(t, loops_may_use_it_at_once);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
