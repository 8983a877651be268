/* test_tasks.h - test requests through the gateway itself: started, looked at, cancelled, forgotten after a while.
 * Each runs on a thread of its own, so that a slow model holds up nobody. Safe from every thread. */
#ifndef API_TEST_TASKS_H
#define API_TEST_TASKS_H
#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"
#include <stdatomic.h>

#define TEST_TASK_ID 12
#define TEST_TASK_TTL_MS 300000  /* how long a task can be asked after, and how long it may take */

enum test_state { TEST_PENDING, TEST_DONE, TEST_ERROR, TEST_CANCELLED };
struct test_view {
    enum test_state state;
    int status;               /* of the answer, when done */
    struct str body, error;
};

struct test_tasks;
/* origin: "http://127.0.0.1:8765"; token: sent with each in all three headers. */
struct test_tasks *test_tasks_new(struct str origin, struct secret token);
struct str test_tasks_origin(const struct test_tasks *t);
/* One request that is waited for, in the caller's arena. false: no answer came. */
struct fetched;
bool test_ask(const struct test_tasks *t, struct arena *a, struct str path, struct str payload, uint64_t timeout_ms, size_t max_bytes,
              const _Atomic bool *is_cancelled, struct fetched *reply, struct err *e) MUST_USE;
void test_tasks_free(struct test_tasks *t);                   /* cancels what runs, waits for it; NULL is allowed */
struct test_bounds {
    int64_t running;          /* tasks at once */
    int64_t bytes;            /* held by those that are over; beyond it the oldest are forgotten before their time */
};
/* Forgets those that are too old, then starts one. ERR_OVERLOADED: as many as may are running. */
bool test_tasks_start(struct test_tasks *t, const struct test_bounds *max, struct str path, struct str payload, uint64_t now_ms,
                      char id[TEST_TASK_ID + 1], struct err *e) MUST_USE;
bool test_tasks_view(struct test_tasks *t, struct arena *a, struct str id, struct test_view *out) MUST_USE; /* false: no such */
bool test_tasks_cancel(struct test_tasks *t, struct str id) MUST_USE; /* a finished one stays as it is; false: no such */
#endif
