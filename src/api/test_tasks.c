#include "api/test_tasks.h"
#include "base/codec.h"
#include "http/fetch.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_ANSWER (8u << 20)

struct task {
    struct task *next;
    struct test_tasks *owner;
    struct arena *arena;
    char id[TEST_TASK_ID + 1];
    struct str path, payload;
    uint64_t started_ms;
    pthread_t thread;
    _Atomic bool is_cancelled; /* read by the transfer */
    /* under the owner's lock */
    struct test_view view;
    bool is_over;   /* the thread has nothing more to do than to end */
    bool is_joined; /* and has done that */
    bool is_hidden; /* forgotten, but still running */
};

struct test_tasks {
    pthread_mutex_t lock;
    struct task *first;
    struct str origin;
    struct secret token;
    struct arena *arena;
};

struct test_tasks *test_tasks_new(struct str origin, struct secret token)
{
    struct arena *a = arena_new();
    struct test_tasks *t = ARENA_NEW(a, struct test_tasks);
    *t = (struct test_tasks){.arena = a,
                             .origin = str_dup(a, origin),
                             .token = secret_of(str_dup(a, secret_reveal(token)))};
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

struct str test_tasks_origin(const struct test_tasks *t)
{
    return t->origin;
}

bool test_ask(const struct test_tasks *t, struct arena *a, struct str path, struct str payload,
              uint64_t timeout_ms, size_t max_bytes, const _Atomic bool *is_cancelled,
              struct fetched *reply, struct err *e)
{
    struct str token = secret_reveal(t->token);
    struct http_header h[] = {
        {STR("content-type"), STR("application/json")},
        {STR("authorization"), str_fmt(a, "Bearer " STR_FMT, STR_ARG(token))},
        {STR("x-api-key"), token},
        {STR("x-goog-api-key"), token},
    };
    struct fetch f = {.method = HTTP_POST,
                      .url = str_fmt(a, STR_FMT STR_FMT, STR_ARG(t->origin), STR_ARG(path)),
                      .headers = h,
                      .n_headers = ARRAY_LEN(h),
                      .body = payload,
                      .timeout_ms = timeout_ms,
                      .max_bytes = max_bytes,
                      .allow_private = true, /* it is ourselves */
                      .is_cancelled = is_cancelled};
    return fetch_run(a, &f, reply, e);
}

static void *run(void *arg)
{
    struct task *task = arg;
    struct fetched reply;
    struct err e = ERR_INIT;
    bool ok = test_ask(task->owner, task->arena, task->path, task->payload, TEST_TASK_TTL_MS,
                       MAX_ANSWER, &task->is_cancelled, &reply, &e);
    pthread_mutex_lock(&task->owner->lock);
    if (task->view.state == TEST_PENDING)
        task->view = ok ? (struct test_view){.state = TEST_DONE,
                                             .status = reply.status,
                                             .body = reply.body}
                        : (struct test_view){.state = TEST_ERROR,
                                             .error = str_fmt(task->arena, "%s", e.message)};
    task->is_over = true;
    pthread_mutex_unlock(&task->owner->lock);
    arena_thread_done();
    return NULL;
}

static void cancel(struct task *task)
{
    if (task->view.state == TEST_PENDING)
        task->view.state = TEST_CANCELLED;
    atomic_store(&task->is_cancelled, true);
}

/* Takes out what can go: forgotten ones that are over. Without the lock their threads may be waited for. */
static struct task *take_over(struct test_tasks *t)
{
    struct task *out = NULL;
    for (struct task **at = &t->first; *at;) {
        struct task *task = *at;
        if (!task->is_hidden || !task->is_over) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        task->next = out;
        out = task;
    }
    return out;
}

static void join(struct task *task)
{
    if (!task->is_joined)
        (void)pthread_join(task->thread, NULL);
    task->is_joined = true;
}

static void free_list(struct task *task)
{
    while (task) {
        struct task *next = task->next;
        join(task);
        arena_free(task->arena);
        task = next;
    }
}

void test_tasks_free(struct test_tasks *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    struct task *all = t->first;
    for (struct task *task = all; task; task = task->next)
        cancel(task);
    pthread_mutex_unlock(&t->lock);
    free_list(all);
    pthread_mutex_destroy(&t->lock);
    arena_free(t->arena);
}

/* Whether one more may run. Of those that are over, the newest stay that fit into the bytes, the last one always. */
static bool make_room(struct test_tasks *t, const struct test_bounds *max)
{
    int64_t n_running = 0, bytes = 0;
    for (struct task *task = t->first; task; task = task->next) { /* newest first */
        if (!task->is_over) {
            n_running++;
            continue;
        }
        join(task); /* at its very end: its stack need not wait until its answer is forgotten */
        if (!task->is_hidden) {
            int64_t size = (int64_t)arena_size(task->arena);
            task->is_hidden = bytes > 0 && bytes + size > max->bytes;
            bytes += size;
        }
    }
    return n_running < max->running;
}

static void forget_old(struct test_tasks *t, uint64_t now_ms)
{
    for (struct task *task = t->first; task; task = task->next)
        if (!task->is_hidden && now_ms >= task->started_ms + TEST_TASK_TTL_MS) {
            cancel(task);
            task->is_hidden = true;
        }
}

static struct task *new_task(struct test_tasks *t, struct str path, struct str payload,
                             uint64_t now_ms)
{
    struct arena *a = arena_new();
    struct task *task = ARENA_NEW(a, struct task);
    task->arena = a;
    task->owner = t;
    task->path = str_dup(a, path);
    task->payload = str_dup(a, payload);
    task->started_ms = now_ms;
    random_hex(task->id, TEST_TASK_ID);
    return task;
}

bool test_tasks_start(struct test_tasks *t, const struct test_bounds *max, struct str path,
                      struct str payload, uint64_t now_ms, char id[TEST_TASK_ID + 1], struct err *e)
{
    bool ok = false;
    pthread_mutex_lock(&t->lock);
    forget_old(t, now_ms);
    bool has_room = make_room(t, max);
    struct task *over = take_over(t);
    if (has_room) {
        struct task *task = new_task(t, path, payload, now_ms);
        ok = pthread_create(&task->thread, NULL, run, task) == 0;
        if (ok) {
            task->next = t->first;
            t->first = task;
            memcpy(id, task->id, sizeof task->id);
        } else {
            arena_free(task->arena);
        }
    }
    pthread_mutex_unlock(&t->lock);
    free_list(over);
    return ok || err_set(e, ERR_OVERLOADED, "too_many_tests", "Too many tests are running");
}

static struct task *find(struct test_tasks *t, struct str id)
{
    for (struct task *task = t->first; task; task = task->next)
        if (!task->is_hidden && str_eq(id, str_of(task->id)))
            return task;
    return NULL;
}

bool test_tasks_view(struct test_tasks *t, struct arena *a, struct str id, struct test_view *out)
{
    pthread_mutex_lock(&t->lock);
    const struct task *task = find(t, id);
    if (task) {
        *out = task->view;
        out->body = str_dup(a, task->view.body);
        out->error = str_dup(a, task->view.error);
    }
    pthread_mutex_unlock(&t->lock);
    return task != NULL;
}

bool test_tasks_cancel(struct test_tasks *t, struct str id)
{
    pthread_mutex_lock(&t->lock);
    struct task *task = find(t, id);
    if (task)
        cancel(task);
    pthread_mutex_unlock(&t->lock);
    return task != NULL;
}
