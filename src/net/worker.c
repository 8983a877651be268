/* worker.c - threads that take jobs from one bounded ring. */
#include "net/worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/banned.h"

struct job {
    struct loop *back;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *ring;
    unsigned cap, first, n;
    bool is_ending;
    unsigned n_threads;
    pthread_t threads[];
};

static void *work(void *arg)
{
    struct workers *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->n == 0 && !w->is_ending)
            (void)pthread_cond_wait(&w->more, &w->lock);
        if (w->n == 0)
            break;
        struct job job = w->ring[w->first];
        w->first = (w->first + 1) % w->cap;
        w->n--;
        (void)pthread_mutex_unlock(&w->lock);
        job.run(job.arg);
        if (job.done)
            loop_post(job.back, job.done, job.arg);
        (void)pthread_mutex_lock(&w->lock);
    }
    (void)pthread_mutex_unlock(&w->lock);
    arena_thread_done();
    return NULL;
}

struct workers *workers_new(unsigned threads, unsigned max_queued)
{
    if (threads == 0)
        threads = 1;
    if (max_queued == 0)
        max_queued = 1;
    struct workers *w = calloc(1, sizeof *w + threads * sizeof w->threads[0]);
    if (!w)
        abort();
    w->ring = calloc(max_queued, sizeof *w->ring);
    if (!w->ring || pthread_mutex_init(&w->lock, NULL) != 0 ||
        pthread_cond_init(&w->more, NULL) != 0)
        abort();
    w->cap = max_queued;
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&w->threads[i], NULL, work, w) != 0)
            abort();
        w->n_threads++;
    }
    return w;
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->is_ending = true;
    (void)pthread_cond_broadcast(&w->more);
    (void)pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n_threads; i++)
        (void)pthread_join(w->threads[i], NULL);
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_mutex_destroy(&w->lock);
    free(w->ring);
    free(w);
}

bool workers_run(struct workers *w, struct loop *back, void (*run)(void *arg),
                 void (*done)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&w->lock);
    bool ok = w->n < w->cap && !w->is_ending;
    if (ok) {
        w->ring[(w->first + w->n) % w->cap] = (struct job){
            .back = back, .run = run, .done = done, .arg = arg};
        w->n++;
        (void)pthread_cond_signal(&w->more);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return ok;
}

bool workers_take_back(struct workers *w, const void *arg)
{
    (void)pthread_mutex_lock(&w->lock);
    unsigned i = 0;
    while (i < w->n && w->ring[(w->first + i) % w->cap].arg != arg)
        i++;
    bool is_there = i < w->n;
    for (; is_there && i + 1 < w->n; i++)
        w->ring[(w->first + i) % w->cap] = w->ring[(w->first + i + 1) % w->cap];
    w->n -= is_there;
    (void)pthread_mutex_unlock(&w->lock);
    return is_there;
}
