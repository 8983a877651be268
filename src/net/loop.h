/* loop.h - one event loop, its timers and its mailbox. One a thread; everything but loop_post() belongs to that thread. */
#ifndef NET_LOOP_H
#define NET_LOOP_H
#include "base/str.h"
#include <uv.h>

struct loop;
struct loop *loop_new(unsigned index);                        /* index: 0 … threads-1, for counters */
void loop_free(struct loop *l);                               /* after loop_run returned; everything on it is closed */
void loop_run(struct loop *l);                                /* until loop_stop */
void loop_stop(struct loop *l);                               /* from its own thread or any other */
uv_loop_t *loop_uv(struct loop *l);
unsigned loop_index(const struct loop *l);
uint64_t loop_now_ms(const struct loop *l);                   /* monotonic, of this turn */
void loop_post(struct loop *to, void (*fn)(void *arg), void *arg); /* runs fn on that loop; from any thread */
/* Runs fn once at the end of this turn, before waiting (for gathering writes); d is the caller's, intrusive. */
struct loop_defer {
    struct loop_defer *next;
    void (*fn)(struct loop_defer *d);
    bool is_queued;
};
void loop_defer(struct loop *l, struct loop_defer *d);
void loop_undefer(struct loop *l, struct loop_defer *d);
struct outbox *loop_outbox(struct loop *l);                   /* small writes of this turn: net/outbox.h */

/* Coarse intrusive timers (10 ms): O(1) to start and stop, no allocation. */
struct timer {
    struct timer *next, **prev;
    uint64_t due_ms;
    void (*fn)(struct timer *t);
    struct loop *loop;
};
void timer_start(struct loop *l, struct timer *t, uint64_t after_ms, void (*fn)(struct timer *t)); /* restarts a running one */
void timer_stop(struct timer *t);                             /* of a zeroed or stopped one: nothing */
static inline bool timer_is_running(const struct timer *t) { return t->prev != NULL; }
#endif
