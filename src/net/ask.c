#include "net/ask.h"
#include "base/banned.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct ask {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    unsigned pending;
    bool is_abandoned;
    void (*fn)(void *arg, unsigned i);
    void *arg;
    void (*free_arg)(void *arg);
};

struct question { /* one a loop */
    struct ask *ask;
    unsigned i;
};

static void ask_free(struct ask *a)
{
    (void)pthread_cond_destroy(&a->answered);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

static void on_asked(void *arg)
{
    struct question *q = arg;
    struct ask *a = q->ask;
    (void)pthread_mutex_lock(&a->lock);
    bool is_wanted = !a->is_abandoned;
    (void)pthread_mutex_unlock(&a->lock);
    if (is_wanted)
        a->fn(a->arg, q->i);
    (void)pthread_mutex_lock(&a->lock);
    bool is_last = --a->pending == 0, is_ours = a->is_abandoned;
    if (is_last)
        (void)pthread_cond_signal(&a->answered);
    (void)pthread_mutex_unlock(&a->lock);
    free(q);
    if (is_last && is_ours) {
        a->free_arg(a->arg);
        ask_free(a);
    }
}

static struct timespec deadline(unsigned timeout_ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static struct ask *ask_new(void)
{
    struct ask *a = calloc(1, sizeof *a);
    pthread_condattr_t monotonic;
    if (!a || pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_mutex_init(&a->lock, NULL) != 0 || pthread_cond_init(&a->answered, &monotonic) != 0)
        abort();
    (void)pthread_condattr_destroy(&monotonic);
    return a;
}

bool loops_ask(struct loop *const *loops, unsigned n, void (*fn)(void *arg, unsigned i), void *arg,
               void (*free_arg)(void *arg), unsigned timeout_ms)
{
    struct timespec until = deadline(timeout_ms);
    struct ask *a = ask_new();
    a->pending = n;
    a->fn = fn;
    a->arg = arg;
    a->free_arg = free_arg;
    for (unsigned i = 0; i < n; i++) {
        struct question *q = malloc(sizeof *q);
        if (!q)
            abort();
        *q = (struct question){a, i};
        loop_post(loops[i], on_asked, q);
    }
    (void)pthread_mutex_lock(&a->lock);
    int rc = 0;
    while (a->pending > 0 && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&a->answered, &a->lock, &until);
    bool is_whole = a->pending == 0;
    a->is_abandoned = !is_whole;
    (void)pthread_mutex_unlock(&a->lock);
    if (is_whole)
        ask_free(a);
    return is_whole;
}
