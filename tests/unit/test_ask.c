/* Asking loops from a thread that waits: all answer, or the question outlives its asker. */
#include "unit.h"
#include "net/ask.h"
#include <pthread.h>
#include <stdatomic.h>

#define LOOPS 3

static struct loop *loops[LOOPS];
static pthread_t threads[LOOPS];
static _Atomic unsigned freed;

struct question {
    _Atomic unsigned answered;
    pthread_t by[LOOPS];
};

static void *run(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void on_loop(void *arg, unsigned i)
{
    struct question *q = arg;
    q->by[i] = pthread_self();
    atomic_fetch_add(&q->answered, 1);
}

static void free_question(void *arg)
{
    atomic_fetch_add(&freed, 1);
    free(arg);
}

static void begin(unsigned running)
{
    for (unsigned i = 0; i < LOOPS; i++)
        loops[i] = loop_new(i);
    for (unsigned i = 0; i < running; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, loops[i]), 0);
}

static void end(unsigned running)
{
    for (unsigned i = 0; i < running; i++) {
        loop_stop(loops[i]);
        (void)pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < LOOPS; i++)
        loop_free(loops[i]);
}

START_TEST(each_loop_answers_on_its_own_thread)
{
    begin(LOOPS);
    for (unsigned round = 0; round < 100; round++) {
        struct question *q = calloc(1, sizeof *q);
        ck_assert_ptr_nonnull(q);
        ck_assert(loops_ask(loops, LOOPS, on_loop, q, free_question, 60000));
        ck_assert_uint_eq(atomic_load(&q->answered), LOOPS);
        for (unsigned i = 0; i < LOOPS; i++)
            ck_assert(pthread_equal(q->by[i], threads[i]));
        free(q); /* the asker's again */
    }
    ck_assert_uint_eq(atomic_load(&freed), 0);
    end(LOOPS);
}
END_TEST

/* One loop does not run: the asker goes on, and the question is let go of when that loop ends, without being asked. */
START_TEST(a_late_loop_does_not_hold_the_asker)
{
    begin(LOOPS - 1);
    struct question *q = calloc(1, sizeof *q);
    ck_assert_ptr_nonnull(q);
    ck_assert(!loops_ask(loops, LOOPS, on_loop, q, free_question, 20));
    ck_assert_uint_eq(atomic_load(&freed), 0);
    end(LOOPS - 1);
    ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

UNIT_MAIN("ask", each_loop_answers_on_its_own_thread, a_late_loop_does_not_hold_the_asker)
