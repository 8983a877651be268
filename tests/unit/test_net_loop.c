/* Timers, mailbox, end-of-turn list and workers. */
#include "net/loop.h"
#include "net/outbox.h"
#include "net/worker.h"
#include "unit/net_kit.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct loop *l;

static void setup(void)
{
    l = loop_new(3);
}

static void teardown(void)
{
    loop_free(l);
}

struct probe {
    struct timer timer;
    struct loop_defer defer;
    int fired;
    uint64_t fired_ms;
    struct probe *victim;
    bool again;
};

static void on_probe(struct timer *t)
{
    struct probe *p = (struct probe *)t;
    p->fired++;
    p->fired_ms = loop_now_ms(l);
    if (p->victim)
        timer_stop(&p->victim->timer);
    if (p->again && p->fired < 3)
        timer_start(l, t, 5, on_probe);
}

START_TEST(timers_fire_once_in_time_and_never_early)
{
    enum {
        N = 200
    };
    static struct probe p[N];
    uint64_t start = loop_now_ms(l);
    for (int i = 0; i < N; i++)
        timer_start(l, &p[i].timer, (uint64_t)i, on_probe);
    TURN_UNTIL(l, p[N - 1].fired);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(p[i].fired, 1);
        ck_assert_uint_ge(p[i].fired_ms, start + (uint64_t)i);
        ck_assert(!timer_is_running(&p[i].timer));
    }
}
END_TEST

START_TEST(stopped_timers_do_not_fire)
{
    static struct probe stopped, restarted, other, never;
    timer_stop(&never.timer);
    timer_start(l, &stopped.timer, 5, on_probe);
    timer_start(l, &restarted.timer, 5, on_probe);
    timer_start(l, &restarted.timer, 60, on_probe);
    timer_stop(&stopped.timer);
    timer_stop(&stopped.timer);
    timer_start(l, &other.timer, 30, on_probe);
    TURN_UNTIL(l, other.fired);
    ck_assert_int_eq(stopped.fired, 0);
    TURN_UNTIL(l, restarted.fired);
    ck_assert_int_eq(restarted.fired, 1);
}
END_TEST

START_TEST(a_timer_may_stop_its_neighbour_and_start_itself)
{
    static struct probe p, q, repeated;
    p.victim = &q;
    q.victim = &p;
    timer_start(l, &p.timer, 5, on_probe);
    timer_start(l, &q.timer, 5, on_probe);
    repeated.again = true;
    timer_start(l, &repeated.timer, 1, on_probe);
    TURN_UNTIL(l, repeated.fired == 3);
    ck_assert_int_eq(p.fired + q.fired, 1);
}
END_TEST

START_TEST(long_timers_wait_for_their_turn_of_the_wheel)
{
    static struct probe lone, near, far[3];
    timer_start(l, &far[0].timer, 40960, on_probe); /* exactly a turn of the wheel */
    timer_start(l, &far[1].timer, 40960 + 20, on_probe);
    timer_start(l, &far[2].timer, UINT64_MAX, on_probe);
    timer_start(l, &near.timer, 20, on_probe);
    timer_start(l, &lone.timer, 100, on_probe);
    TURN_UNTIL(l, lone.fired);
    ck_assert_int_eq(near.fired, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(far[i].fired, 0);
        ck_assert(timer_is_running(&far[i].timer));
        timer_stop(&far[i].timer);
    }
}
END_TEST

static int order[8], n_order;
static struct probe d[3];

static void on_defer(struct loop_defer *defer)
{
    struct probe *p = (struct probe *)((char *)defer - offsetof(struct probe, defer));
    order[n_order++] = (int)(p - d);
    if (p == &d[0])
        loop_defer(l, &d[2].defer); /* in the same turn */
}

START_TEST(deferred_calls_run_once_at_the_end_of_the_turn)
{
    for (int i = 0; i < 3; i++)
        d[i].defer.fn = on_defer;
    loop_defer(l, &d[0].defer);
    loop_defer(l, &d[1].defer);
    loop_defer(l, &d[0].defer);
    loop_undefer(l, &d[1].defer);
    loop_undefer(l, &d[1].defer);
    net_turn(l);
    ck_assert_int_eq(n_order, 2);
    ck_assert_int_eq(order[0], 0);
    ck_assert_int_eq(order[1], 2);
    net_turn(l);
    ck_assert_int_eq(n_order, 2);
}
END_TEST

static int posted;
static void on_post(void *arg)
{
    posted += *(int *)arg;
    if (posted == 4 * 1000)
        loop_stop(l);
}

static void *post_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        loop_post(l, on_post, arg);
    return NULL;
}

struct writer {
    struct outbox_from from;
    char name;
};

static char sent[1 << 20];
static size_t n_sent;

static void note_sent(struct outbox_from *from, struct str bytes)
{
    sent[n_sent++] = ((struct writer *)from)->name;
    memcpy(sent + n_sent, bytes.p, bytes.n);
    n_sent += bytes.n;
    sent[n_sent++] = ';';
}

static bool write_text(struct writer *w, const char *text)
{
    uv_buf_t parts[2] = {uv_buf_init((char *)(uintptr_t)text, 1),
                         uv_buf_init((char *)(uintptr_t)text + 1, (unsigned)strlen(text) - 1)};
    return outbox_put(loop_outbox(l), &w->from, parts, 2);
}

START_TEST(small_writes_are_sent_in_order_at_the_end_of_the_turn)
{
    struct writer a = {{.send = note_sent}, 'a'}, b = {{.send = note_sent}, 'b'},
                  gone = {{.send = note_sent}, 'g'};
    n_sent = 0;
    ck_assert(write_text(&a, "one") && write_text(&a, "two") && write_text(&gone, "lost") &&
              write_text(&b, "three") && write_text(&gone, "too") && write_text(&a, "four"));
    ck_assert_uint_eq(a.from.n_held, 2);
    ck_assert_uint_eq(gone.from.n_held, 2);
    ck_assert_uint_eq(n_sent, 0);
    outbox_drop(loop_outbox(l), &gone.from);
    ck_assert_uint_eq(gone.from.n_held, 0);
    net_turn(l);
    ck_assert_str_eq((sent[n_sent] = 0, sent), "aonetwo;bthree;afour;");
    ck_assert(a.from.n_held == 0 && b.from.n_held == 0);
    ck_assert(!outbox_flush(loop_outbox(l)));
}
END_TEST

START_TEST(what_an_outbox_holds_is_bounded)
{
    enum {
        N = 300,
        LARGE = 8193
    };
    static struct writer w[N];
    static char large[LARGE + 1];
    n_sent = 0;
    for (int i = 0; i < N; i++) { /* by the number of writes */
        w[i] = (struct writer){{.send = note_sent}, 'w'};
        ck_assert(write_text(&w[i], "xy"));
    }
    ck_assert_uint_gt(n_sent, 0);
    memset(large, 'z', LARGE);
    ck_assert(!write_text(&w[N - 1], large)); /* its own goes first, then what is too large */
    ck_assert_uint_eq(w[N - 1].from.n_held, 0);
    ck_assert_uint_eq(n_sent, N * 4);
    n_sent = 0;
    large[8192] = 0;
    for (int i = 0; i < 30; i++) /* by their bytes */
        ck_assert(write_text(&w[i], large));
    ck_assert_uint_ge(n_sent, 30 * 8192 - 65536);
    net_turn(l);
    ck_assert_uint_eq(n_sent, 30 * 8194);
}
END_TEST

START_TEST(messages_of_all_threads_arrive)
{
    pthread_t t[4];
    int one = 1;
    ck_assert_uint_eq(loop_index(l), 3);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, post_many, &one), 0);
    loop_run(l);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    ck_assert_int_eq(posted, 4000);
}
END_TEST

static atomic_int n_begun, n_run;
static int n_done;
static atomic_bool may_run;

static void run_job(void *arg)
{
    (void)arg;
    atomic_fetch_add(&n_begun, 1);
    while (!atomic_load(&may_run))
        (void)sched_yield();
    atomic_fetch_add(&n_run, 1);
}

static void on_done(void *arg)
{
    (void)arg;
    n_done++;
}

START_TEST(workers_run_all_that_they_took_and_refuse_the_rest)
{
    struct workers *w = workers_new(2, 4);
    int taken = 0;
    for (int i = 0; i < 20; i++)
        taken += workers_run(w, l, run_job, on_done, NULL);
    ck_assert_int_ge(taken, 4);
    ck_assert_int_le(taken, 6);
    atomic_store(&may_run, true);
    workers_free(w);
    ck_assert_int_eq(atomic_load(&n_run), taken);
    TURN_UNTIL(l, n_done == taken);
}
END_TEST

static void note_job(void *arg)
{
    *(atomic_int *)arg += 1;
}

START_TEST(what_waits_can_be_taken_back)
{
    atomic_int ran[5] = {0};
    struct workers *w = workers_new(1, 5);
    atomic_store(&may_run, false);
    atomic_store(&n_begun, 0);
    ck_assert(workers_run(w, l, run_job, NULL, &may_run)); /* keeps the only worker busy */
    while (atomic_load(&n_begun) == 0)
        (void)sched_yield();
    while (workers_run(w, l, run_job, NULL, &may_run))
        ;
    ck_assert(workers_take_back(w, &may_run)); /* a full ring, that begins anywhere */
    ck_assert(workers_run(w, l, note_job, NULL, &ran[0]));
    while (workers_take_back(w, &may_run))
        ;
    for (int i = 1; i < 5; i++)
        ck_assert(workers_run(w, l, note_job, NULL, &ran[i]) || i == 4);
    ck_assert(workers_take_back(w, &ran[2]));
    ck_assert(!workers_take_back(w, &ran[2])); /* once */
    ck_assert(workers_take_back(w, &ran[0]));
    atomic_store(&may_run, true);
    workers_free(w);
    ck_assert_int_eq(ran[0] + ran[2], 0);
    ck_assert_int_eq(ran[1] + ran[3], 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, timers_fire_once_in_time_and_never_early);
    tcase_add_test(t, stopped_timers_do_not_fire);
    tcase_add_test(t, a_timer_may_stop_its_neighbour_and_start_itself);
    tcase_add_test(t, long_timers_wait_for_their_turn_of_the_wheel);
    tcase_add_test(t, deferred_calls_run_once_at_the_end_of_the_turn);
    tcase_add_test(t, small_writes_are_sent_in_order_at_the_end_of_the_turn);
    tcase_add_test(t, what_an_outbox_holds_is_bounded);
    tcase_add_test(t, messages_of_all_threads_arrive);
    tcase_add_test(t, workers_run_all_that_they_took_and_refuse_the_rest);
    tcase_add_test(t, what_waits_can_be_taken_back);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
