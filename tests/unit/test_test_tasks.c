/* Test tasks against a small server of our own: what becomes of them, when they are forgotten, how many there may be. */
#include "api/test_tasks.h"
#include "json/json.h"
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic bool holds; /* answers are held back */
    _Atomic bool stops;
    _Atomic int asked;
    pthread_mutex_t lock;
    char last[8192]; /* request */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void answer(int fd)
{
    char text[sizeof server.last];
    size_t n = 0;
    ssize_t got;
    while ((got = read(fd, text + n, sizeof text - 1 - n)) > 0) {
        n += (size_t)got;
        text[n] = 0;
        const char *end = strstr(text, "\r\n\r\n");
        if (end && strchr(end + 4, '}'))
            break;
    }
    pthread_mutex_lock(&server.lock);
    memcpy(server.last, text, n);
    server.last[n] = 0;
    pthread_mutex_unlock(&server.lock);
    atomic_fetch_add(&server.asked, 1);
    while (atomic_load(&server.holds) && !atomic_load(&server.stops))
        (void)usleep(1000);
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"ok\": true}";
    (void)!write(fd, reply, sizeof reply - 1);
    (void)close(fd);
}

static void *serve_one(void *arg)
{
    answer((int)(intptr_t)arg);
    return NULL;
}

static void *serve(void *arg)
{
    (void)arg;
    while (!atomic_load(&server.stops)) {
        struct pollfd p = {.fd = server.listener, .events = POLLIN};
        pthread_t t;
        if (poll(&p, 1, 10) < 1)
            continue;
        int fd = accept(server.listener, NULL, NULL);
        if (fd >= 0 && pthread_create(&t, NULL, serve_one, (void *)(intptr_t)fd) == 0)
            (void)pthread_detach(t);
    }
    return NULL;
}

static struct test_tasks *tasks;
static struct test_bounds bounds;
static struct arena *arena;

static void set_up(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    char origin[64];
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(server.listener, (struct sockaddr *)(void *)&at, n), 0);
    ck_assert_int_eq(listen(server.listener, 64), 0);
    ck_assert_int_eq(getsockname(server.listener, (struct sockaddr *)(void *)&at, &n), 0);
    server.port = ntohs(at.sin_port);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
    (void)snprintf(origin, sizeof origin, "http://127.0.0.1:%u", server.port);
    tasks = test_tasks_new(str_of(origin), secret_of(STR("tok-1")));
    arena = arena_new();
    bounds = (struct test_bounds){.running = 3, .bytes = 64 << 20};
}

static void tear_down(void)
{
    test_tasks_free(tasks);
    atomic_store(&server.stops, true);
    (void)pthread_join(server.thread, NULL);
    (void)close(server.listener);
    arena_free(arena);
}

static struct test_view settled(const char *id)
{
    struct test_view v;
    do {
        (void)usleep(1000);
        ck_assert(test_tasks_view(tasks, arena, str_of(id), &v));
    } while (v.state == TEST_PENDING);
    return v;
}

static bool start(uint64_t now_ms, char *id)
{
    struct err e = ERR_INIT;
    bool ok = test_tasks_start(tasks, &bounds, STR("/v1/x"), STR("{\"a\":1}"), now_ms, id, &e);
    ck_assert(ok || e.kind == ERR_OVERLOADED);
    return ok;
}

START_TEST(a_task_ends_with_its_answer)
{
    char id[TEST_TASK_ID + 1];
    ck_assert(start(0, id));
    ck_assert_uint_eq(strlen(id), 12);
    struct test_view v = settled(id);
    ck_assert_int_eq(v.state, TEST_DONE);
    ck_assert_int_eq(v.status, 200);
    ck_assert(str_is(v.body, "{\"ok\": true}"));
    pthread_mutex_lock(&server.lock);
    ck_assert_ptr_nonnull(strstr(server.last, "POST /v1/x HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(server.last, "authorization: Bearer tok-1\r\n"));
    ck_assert_ptr_nonnull(strstr(server.last, "x-api-key: tok-1\r\n"));
    ck_assert_ptr_nonnull(strstr(server.last, "x-goog-api-key: tok-1\r\n"));
    ck_assert_ptr_nonnull(strstr(server.last, "\r\n\r\n{\"a\":1}"));
    pthread_mutex_unlock(&server.lock);
    ck_assert(test_tasks_cancel(tasks, str_of(id))); /* too late: it stays as it is */
    ck_assert_int_eq(settled(id).state, TEST_DONE);
}
END_TEST

START_TEST(a_task_cancelled_while_it_runs)
{
    char id[TEST_TASK_ID + 1];
    atomic_store(&server.holds, true);
    ck_assert(start(0, id));
    while (atomic_load(&server.asked) == 0)
        (void)usleep(1000);
    ck_assert(test_tasks_cancel(tasks, str_of(id)));
    ck_assert_int_eq(settled(id).state, TEST_CANCELLED);
    ck_assert(!test_tasks_cancel(tasks, STR("nobody")));
    struct test_view v;
    ck_assert(!test_tasks_view(tasks, arena, STR(""), &v));
}
END_TEST

START_TEST(nobody_there_is_an_error)
{
    struct test_tasks *lost = test_tasks_new(STR("http://127.0.0.1:1"), secret_of(STR("t")));
    struct test_tasks *was = tasks;
    char id[TEST_TASK_ID + 1];
    tasks = lost;
    ck_assert(start(0, id));
    struct test_view v = settled(id);
    ck_assert_int_eq(v.state, TEST_ERROR);
    ck_assert_uint_gt(v.error.n, 0);
    tasks = was;
    test_tasks_free(lost);
}
END_TEST

START_TEST(old_tasks_are_forgotten_when_another_starts)
{
    char first[TEST_TASK_ID + 1], second[TEST_TASK_ID + 1], third[TEST_TASK_ID + 1];
    struct test_view v;
    ck_assert(start(1000, first));
    (void)settled(first);
    ck_assert(start(1000 + TEST_TASK_TTL_MS - 1, second));
    ck_assert(test_tasks_view(tasks, arena, str_of(first), &v));
    ck_assert(start(1000 + TEST_TASK_TTL_MS, third));
    ck_assert(!test_tasks_view(tasks, arena, str_of(first), &v));
    ck_assert(test_tasks_view(tasks, arena, str_of(second), &v));
}
END_TEST

START_TEST(as_many_run_as_may)
{
    char id[200][TEST_TASK_ID + 1], one[TEST_TASK_ID + 1];
    struct test_view v;
    /* those that are over take nobody's place, nor lose their own */
    for (int i = 0; i < 200; i++) {
        ck_assert(start(0, id[i]));
        (void)settled(id[i]);
    }
    for (int i = 0; i < 200; i++)
        ck_assert(test_tasks_view(tasks, arena, str_of(id[i]), &v));
    atomic_store(&server.holds, true);
    for (int i = 0; i < 3; i++)
        ck_assert(start(1, one));
    ck_assert(!start(2, one));
    ck_assert(test_tasks_view(tasks, arena, str_of(id[0]), &v));
}
END_TEST

START_TEST(answers_are_bounded)
{
    char id[4][TEST_TASK_ID + 1];
    struct test_view v;
    bounds.bytes = 1;
    for (int i = 0; i < 4; i++) {
        ck_assert(start(0, id[i]));
        (void)settled(id[i]);
    }
    /* when the last one started, the one before it had just come to its end */
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(test_tasks_view(tasks, arena, str_of(id[i]), &v), i >= 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("test_tasks");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_task_ends_with_its_answer);
    tcase_add_test(t, a_task_cancelled_while_it_runs);
    tcase_add_test(t, nobody_there_is_an_error);
    tcase_add_test(t, old_tasks_are_forgotten_when_another_starts);
    tcase_add_test(t, as_many_run_as_may);
    tcase_add_test(t, answers_are_bounded);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
