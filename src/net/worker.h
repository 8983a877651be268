/* worker.h - a bounded pool of threads for what may block; results come back to a loop as a message. */
#ifndef NET_WORKER_H
#define NET_WORKER_H
#include "net/loop.h"

struct workers;
struct workers *workers_new(unsigned threads, unsigned max_queued);
void workers_free(struct workers *w);                         /* finishes what is queued */
/* run(arg) on a worker, then done(arg) on the loop (NULL: none). false: the queue is full, nothing was queued. */
bool workers_run(struct workers *w, struct loop *back, void (*run)(void *arg), void (*done)(void *arg), void *arg) MUST_USE;
/* The first job of this arg that no worker has begun is not run, nor done, any more: its room is free again. false: none waits. */
bool workers_take_back(struct workers *w, const void *arg) MUST_USE;
#endif
