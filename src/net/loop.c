/* loop.c - a libuv loop with a hashed timer wheel, a mailbox and an end-of-turn list.
 * Owns no sockets: who opens a handle on it closes it before loop_free. */
#include "net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/banned.h"
#include "net/inbox.h"
#include "net/outbox.h"

#define TICK_MS 10
#define SLOTS 4096 /* one turn of the wheel is 41 s; longer timers are met and left once a turn */
#define WORDS (SLOTS / 64)

struct message {
    struct message *next;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t alarm;
    unsigned index;
    atomic_bool is_stopping;

    pthread_mutex_t lock; /* guards first, last */
    struct message *first, **last;

    struct loop_defer *deferred, **deferred_last;
    struct inbox *inbox;
    struct outbox *outbox;

    struct timer *slots[SLOTS];
    uint64_t busy[WORDS]; /* a bit a slot that may hold timers */
    uint64_t tick;        /* every slot up to and including this tick has been seen to */
    uint64_t armed_tick;  /* what `alarm` waits for; 0: it is stopped */
};

static void on_alarm(uv_timer_t *alarm);

/* ---- timers */

static void unlink_timer(struct timer *t)
{
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->next = NULL;
    t->prev = NULL;
}

static void link_timer(struct loop *l, struct timer *t, uint64_t tick)
{
    size_t slot = tick % SLOTS;
    t->prev = &l->slots[slot];
    t->next = l->slots[slot];
    if (t->next)
        t->next->prev = &t->next;
    l->slots[slot] = t;
    l->busy[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void arm(struct loop *l, uint64_t tick)
{
    uint64_t now = uv_now(&l->uv), at = tick * TICK_MS;
    l->armed_tick = tick;
    (void)uv_timer_start(&l->alarm, on_alarm, at > now ? at - now : 0, 0);
}

/* The first tick after l->tick whose slot may hold a timer; 0: none. */
static uint64_t next_busy_tick(const struct loop *l)
{
    for (uint64_t i = 1; i <= SLOTS;) {
        size_t slot = (l->tick + i) % SLOTS;
        uint64_t word = l->busy[slot / 64] >> (slot % 64);
        if (word != 0) {
            i += (uint64_t)__builtin_ctzll(word);
            return l->tick + i;
        }
        i += 64 - slot % 64;
    }
    return 0;
}

void timer_start(struct loop *l, struct timer *t, uint64_t after_ms, void (*fn)(struct timer *t))
{
    timer_stop(t);
    t->loop = l;
    t->fn = fn;
    uint64_t now = uv_now(&l->uv);
    t->due_ms = after_ms > UINT64_MAX / 2 - now ? UINT64_MAX / 2 : now + after_ms;
    uint64_t tick = (t->due_ms + TICK_MS - 1) / TICK_MS;
    if (tick <= l->tick)
        tick = l->tick + 1;
    link_timer(l, t, tick);
    if (l->armed_tick == 0 || tick < l->armed_tick)
        arm(l, tick);
}

void timer_stop(struct timer *t)
{
    if (!t->prev)
        return;
    struct loop *l = t->loop;
    struct timer **head = t->prev;
    unlink_timer(t);
    if (*head == NULL && head >= l->slots && head < l->slots + SLOTS) {
        size_t slot = (size_t)(head - l->slots);
        l->busy[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    }
}

static void run_slot(struct loop *l, size_t slot, uint64_t now)
{
    struct timer *list = l->slots[slot];
    l->slots[slot] = NULL;
    l->busy[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    if (list)
        list->prev = &list;
    while (list) { /* a callback may stop or start any timer, also those still in this list */
        struct timer *t = list;
        unlink_timer(t);
        if (t->due_ms > now)
            link_timer(l, t, slot); /* a later turn of the wheel */
        else
            t->fn(t);
    }
}

static void on_alarm(uv_timer_t *alarm)
{
    struct loop *l = alarm->data;
    uint64_t now = uv_now(&l->uv), end = now / TICK_MS;
    l->armed_tick = 0;
    if (end > l->tick + SLOTS)
        l->tick = end - SLOTS; /* slept longer than a turn: every slot once is enough */
    while (l->tick < end) {
        uint64_t next = next_busy_tick(l);
        if (next == 0 || next > end) {
            l->tick = end;
            break;
        }
        l->tick = next;
        run_slot(l, next % SLOTS, now);
    }
    uint64_t next = next_busy_tick(l);
    if (next != 0)
        arm(l, next);
}

/* ---- end of the turn */

void loop_defer(struct loop *l, struct loop_defer *d)
{
    if (d->is_queued)
        return;
    d->is_queued = true;
    d->next = NULL;
    *l->deferred_last = d;
    l->deferred_last = &d->next;
}

void loop_undefer(struct loop *l, struct loop_defer *d)
{
    if (!d->is_queued)
        return;
    for (struct loop_defer **p = &l->deferred; *p; p = &(*p)->next) {
        if (*p != d)
            continue;
        *p = d->next;
        if (l->deferred_last == &d->next)
            l->deferred_last = p;
        break;
    }
    d->next = NULL;
    d->is_queued = false;
}

static void run_deferred(struct loop *l)
{
    while (l->deferred) {
        struct loop_defer *d = l->deferred;
        l->deferred = d->next;
        if (!l->deferred)
            l->deferred_last = &l->deferred;
        d->next = NULL;
        d->is_queued = false;
        d->fn(d);
    }
}

/* What is sent may bring more to do, and that more to send. */
static void end_turn(struct loop *l)
{
    do
        run_deferred(l);
    while (outbox_flush(l->outbox));
}

static void on_prepare(uv_prepare_t *prepare)
{
    end_turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    inbox_hand_over(((struct loop *)check->data)->inbox);
}

/* ---- mailbox */

void loop_post(struct loop *to, void (*fn)(void *arg), void *arg)
{
    struct message *m = malloc(sizeof *m);
    if (!m)
        abort();
    *m = (struct message){.fn = fn, .arg = arg};
    (void)pthread_mutex_lock(&to->lock);
    bool was_empty = to->first == NULL;
    *to->last = m;
    to->last = &m->next;
    if (was_empty) /* within the lock: the loop cannot be freed between the two */
        (void)uv_async_send(&to->wake);
    (void)pthread_mutex_unlock(&to->lock);
}

static void run_messages(struct loop *l)
{
    (void)pthread_mutex_lock(&l->lock);
    struct message *m = l->first;
    l->first = NULL;
    l->last = &l->first;
    (void)pthread_mutex_unlock(&l->lock);
    while (m) {
        struct message *next = m->next;
        m->fn(m->arg);
        free(m);
        m = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    struct loop *l = wake->data;
    run_messages(l);
    if (atomic_load(&l->is_stopping))
        uv_stop(&l->uv);
}

/* ---- life */

static void ignore_broken_pipes(void) /* libuv writes with write(2), and a peer may be gone */
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        (void)signal(SIGPIPE, SIG_IGN);
}

struct loop *loop_new(unsigned index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, ignore_broken_pipes);
    struct loop *l = calloc(1, sizeof *l);
    if (!l || uv_loop_init(&l->uv) != 0 || pthread_mutex_init(&l->lock, NULL) != 0 ||
        uv_async_init(&l->uv, &l->wake, on_wake) != 0)
        abort();
    l->index = index;
    l->uv.data = l;
    l->last = &l->first;
    l->deferred_last = &l->deferred;
    l->inbox = inbox_new();
    l->outbox = outbox_new();
    l->wake.data = l;
    l->prepare.data = l;
    l->check.data = l;
    l->alarm.data = l;
    (void)uv_prepare_init(&l->uv, &l->prepare);
    (void)uv_prepare_start(&l->prepare, on_prepare);
    (void)uv_check_init(&l->uv, &l->check);
    (void)uv_check_start(&l->check, on_check);
    (void)uv_timer_init(&l->uv, &l->alarm);
    l->tick = uv_now(&l->uv) / TICK_MS;
    return l;
}

void loop_run(struct loop *l)
{
    while (!atomic_load(&l->is_stopping))
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    atomic_store(&l->is_stopping, false);
    run_messages(l);
    end_turn(l);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->is_stopping, true);
    (void)uv_async_send(&l->wake);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    run_messages(l);
    end_turn(l);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    /* What was closed before now gets its close callback; an open handle would block here: our mistake. */
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    end_turn(l);
    if (uv_loop_close(&l->uv) != 0)
        abort();
    (void)pthread_mutex_destroy(&l->lock);
    inbox_free(l->inbox);
    outbox_free(l->outbox);
    free(l);
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

struct inbox *loop_inbox(struct loop *l)
{
    return l->inbox;
}

struct outbox *loop_outbox(struct loop *l)
{
    return l->outbox;
}

unsigned loop_index(const struct loop *l)
{
    return l->index;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return uv_now(&l->uv);
}
