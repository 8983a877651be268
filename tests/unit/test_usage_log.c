/* The writer of usage records: groups, full rings, a store that refuses and recovers, work of others. */
#include "state_kit.h"
#include "base/clock.h"
#include "meter/usage_log.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

static char path[PATH_SIZE];

static struct usage_log *begin(unsigned loops, int64_t days)
{
    struct err e = ERR_INIT;
    db_close(state_db());
    state_path(path, "test.db");
    struct usage_limits limits = {.days = days};
    struct usage_log *u = usage_log_new(path, loops, &limits, &e);
    ck_assert_msg(u != NULL, "%s", e.message);
    return u;
}

static struct usage_record record(const char *id)
{
    struct usage_record r = {.start_ms = clock_wall_ms(),
                             .status = 200,
                             .attempts = 1,
                             .usage = IR_USAGE_NONE,
                             .ttft_us = -1,
                             .duration_us = 1500,
                             .model = "echo",
                             .upstream = "echo",
                             .op = "chat"};
    (void)snprintf(r.request_id, sizeof r.request_id, "%s", id);
    return r;
}

static int64_t number(const char *sql)
{
    struct err e = ERR_INIT;
    struct db *db = db_open(path, DB_READ_ONLY, &e);
    struct stmt *s = db ? db_prepare(db, sql, &e) : NULL;
    ck_assert_msg(s && stmt_step(s, &e), "%s: %s", sql, e.message);
    int64_t n = stmt_int(s, 0);
    stmt_free(s);
    db_close(db);
    return n;
}

static void wait_for(const char *sql, int64_t wanted)
{
    for (int i = 0; number(sql) != wanted; i++) {
        ck_assert_int_lt(i, 2500);
        (void)usleep(10000);
    }
}

START_TEST(writes_all_fields_with_interned_names)
{
    struct usage_log *u = begin(2, 0);
    struct usage_record r = record("req_1");
    (void)snprintf(r.key_id, sizeof r.key_id, "k1");
    (void)snprintf(r.error_code, sizeof r.error_code, "rate_limited");
    r.usage.input_total = 7;
    r.usage.output_total = 0;
    r.is_stream = true;
    usage_log_put(u, 0, &r);
    r = record("req_2");
    usage_log_put(u, 1, &r);
    wait_for("SELECT count(*) FROM usage", 2); /* without being asked to end */
    usage_log_free(u);
    ck_assert_int_eq(
        number("SELECT count(*) FROM usage u JOIN name m ON m.id = u.model WHERE m.text = 'echo'"),
        2);
    ck_assert_int_eq(number("SELECT count(*) FROM name WHERE text = 'echo'"), 1);
    ck_assert_int_eq(number("SELECT input_total FROM usage WHERE request_id = 'req_1'"), 7);
    ck_assert_int_eq(number("SELECT count(*) FROM usage WHERE request_id = 'req_1' AND "
                            "output_total = 0 AND cache_read IS NULL AND ttft_us IS NULL"),
                     1);
    ck_assert_int_eq(number("SELECT count(*) FROM usage WHERE key = 0 AND error_code = 0"), 1);
}
END_TEST

START_TEST(a_clock_that_jumps_changes_no_order)
{
    static const int64_t jumps[] = {0, 86400000, 0, -3600000, 1};
    struct usage_log *u = begin(1, 0);
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
        struct usage_record r = record(i == 2 ? "back" : "r");
        r.start_ms = now + jumps[i] - 1;
        if (i == 3) {
            r.extra = malloc(sizeof *r.extra + 8);
            r.extra->n = 8;
            r.extra->is_redacted = false;
            memcpy(r.extra->text, "{\"e\":7}", 7);
            r.extra->n = 7;
        }
        usage_log_put(u, 0, &r);
    }
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT count(DISTINCT id) FROM usage"), 5);
    /* those behind the jump say when they were */
    ck_assert_int_eq(number("SELECT count(*) FROM usage_detail"), 3);
    ck_assert_int_eq(
        number(
            "SELECT json_extract(d.text, '$.at') FROM usage_detail d JOIN usage u ON u.id = d.id "
            "WHERE request_id = 'back'"),
        now);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_detail WHERE json_extract(text, '$.e') = 7 "
                            "AND json_extract(text, '$.at') > 0"),
                     1);
    u = begin(1, 0); /* the next start goes on behind them */
    struct usage_record r = record("later");
    usage_log_put(u, 0, &r);
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT request_id = 'later' FROM usage ORDER BY id DESC LIMIT 1"), 1);
}
END_TEST

START_TEST(what_is_queued_is_written_before_the_end)
{
    enum {
        N = 20000 /* many chunks, slices and summaries; within what may wait */
    };
    struct usage_log *u = begin(1, 0);
    for (int i = 0; i < N; i++) {
        struct usage_record r = record("r");
        (void)snprintf(r.request_id, sizeof r.request_id, "req_%d", i);
        (void)snprintf(r.model, sizeof r.model, "model-%d", i % 7);
        r.usage.input_total = i;
        usage_log_put(u, 0, &r);
    }
    ck_assert_uint_eq(usage_log_shed(u), 0);
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT count(*) FROM usage"), N);
    ck_assert_int_eq(number("SELECT count(DISTINCT id) FROM usage"), N);
    ck_assert_int_eq(number("SELECT count(*) FROM usage u JOIN name m ON m.id = u.model WHERE "
                            "u.request_id = 'req_' || u.input_total AND "
                            "m.text = 'model-' || (u.input_total % 7)"),
                     N);
}
END_TEST

struct producer {
    struct usage_log *u;
    unsigned loop;
};
static void *produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < 3000; i++) {
        struct usage_record r = record("r");
        usage_log_put(p->u, p->loop, &r);
        if (i % 200 == 199)
            (void)usleep(30000);
    }
    return NULL;
}

START_TEST(written_and_shed_add_up_to_what_was_put)
{
    struct usage_log *u = begin(4, 0);
    pthread_t t[4];
    struct producer p[4];
    for (unsigned i = 0; i < 4; i++) {
        p[i] = (struct producer){u, i};
        ck_assert_int_eq(pthread_create(&t[i], NULL, produce, &p[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    uint64_t shed = usage_log_shed(u);
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT count(*) FROM usage") + (int64_t)shed, 4 * 3000);
}
END_TEST

/* On a full disk nothing can be written: the rings fill, what does not fit is counted; with room again all recovers.
 * Check writes a file of its own at each assertion: none while the limit holds. */
START_TEST(a_full_disk_is_degraded_and_recovers)
{
    struct rlimit full, was;
    struct usage_log *u = begin(1, 0);
    struct usage_record r = record("before");
    usage_log_put(u, 0, &r);
    wait_for("SELECT count(*) FROM usage", 1);
    (void)signal(SIGXFSZ, SIG_IGN); /* writes beyond the limit fail */
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
    full = (struct rlimit){4096, was.rlim_max};
    (void)setrlimit(RLIMIT_FSIZE, &full);
    uint64_t put = 0;
    for (int i = 0;
         i < 2000 && !(usage_log_is_degraded(u, clock_mono_ms()) && usage_log_shed(u) > 0); i++) {
        for (int n = 0; n < 100; n++, put++) {
            r = record("during");
            usage_log_put(u, 0, &r);
        }
        (void)usleep(5000);
    }
    bool was_degraded = usage_log_is_degraded(u, clock_mono_ms());
    uint64_t shed = usage_log_shed(u);
    (void)setrlimit(RLIMIT_FSIZE, &was);
    ck_assert(was_degraded && shed > 0);
    for (int i = 0; usage_log_is_degraded(u, clock_mono_ms()); i++) {
        ck_assert_int_lt(i, 2500);
        (void)usleep(10000);
    }
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT count(*) FROM usage WHERE request_id = 'before'"), 1);
    /* none lost, none twice */
    ck_assert_int_eq(number("SELECT count(*) FROM usage WHERE request_id = 'during'"),
                     (int64_t)(put - shed));
}
END_TEST

START_TEST(a_store_that_is_gone_stops_nothing)
{
    struct err e = ERR_INIT;
    struct usage_limits limits = {0};
    struct usage_log *u = usage_log_new("/nonexistent/folder/test.db", 1, &limits, &e);
    ck_assert_ptr_nonnull(u);
    struct usage_record r = record("r");
    for (int i = 0; !usage_log_is_degraded(u, clock_mono_ms()); i++) {
        ck_assert_int_lt(i, 2500);
        usage_log_put(u, 0, &r);
        (void)usleep(10000);
    }
    usage_log_free(u);
}
END_TEST

START_TEST(old_records_go)
{
    struct usage_log *u = begin(1, 0);
    struct usage_record r = record("old");
    r.start_ms -= 3 * 86400000ll;
    usage_log_put(u, 0, &r);
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT count(*) FROM usage"), 1);
    u = begin(1, 2);
    r = record("new");
    usage_log_put(u, 0, &r);
    wait_for("SELECT count(*) FROM usage WHERE request_id = 'old'", 0);
    wait_for("SELECT count(*) FROM usage WHERE request_id = 'new'", 1);
    usage_log_free(u);
}
END_TEST

static atomic_int ran, ended;
static bool run(void *arg, struct db *db, struct err *e)
{
    atomic_fetch_add(&ran, 1);
    return db_exec(db, arg, e);
}

static void done(void *arg)
{
    (void)arg;
    atomic_fetch_add(&ended, 1);
}
static const struct usage_work work = {run, done};

START_TEST(work_of_others_runs_once_each_in_order)
{
    static char first[] = "INSERT INTO setting(name, value) VALUES('x', '1')",
                second[] = "UPDATE setting SET value = '2' WHERE name = 'x'";
    struct usage_log *u = begin(1, 0);
    ck_assert(usage_log_post(u, &work, first, 0));
    ck_assert(usage_log_post(u, &work, second, 0));
    wait_for("SELECT count(*) FROM setting WHERE value = '2'", 1);
    ck_assert(usage_log_post(u, &work, second, 0));
    usage_log_free(u);
    ck_assert_int_eq(atomic_load(&ran), 3);
    ck_assert_int_eq(atomic_load(&ended), 3);
}
END_TEST

START_TEST(work_that_the_store_refuses_waits_for_it)
{
    static char first[] = "INSERT INTO setting(name, value) VALUES('x', '1')",
                second[] = "UPDATE setting SET value = '2' WHERE name = 'x'";
    struct err e = ERR_INIT;
    struct usage_log *u = begin(1, 0);
    struct db *db = db_open(path, DB_READ_WRITE, &e);
    ck_assert(db && db_exec(db, "ALTER TABLE setting RENAME TO elsewhere", &e));
    ck_assert(usage_log_post(u, &work, first, 100));
    ck_assert(usage_log_post(u, &work, second, 100));
    ck_assert(!usage_log_post(u, &work, second, 256u << 20)); /* too much would wait */
    for (int i = 0; !usage_log_is_degraded(u, clock_mono_ms()); i++) {
        ck_assert_int_lt(i, 2500);
        (void)usleep(10000);
    }
    ck_assert_int_eq(atomic_load(&ended), 0);
    ck_assert(db_exec(db, "ALTER TABLE elsewhere RENAME TO setting", &e));
    db_close(db);
    wait_for("SELECT count(*) FROM setting WHERE value = '2'", 1);
    usage_log_free(u);
    ck_assert_int_eq(atomic_load(&ended), 2);
}
END_TEST

START_TEST(work_that_breaks_a_rule_holds_nothing_up)
{
    static char first[] = "INSERT INTO setting(name, value) VALUES('x', '1')";
    struct usage_log *u = begin(1, 0);
    for (int i = 0; i < 3; i++)
        ck_assert(usage_log_post(u, &work, first, 0));
    usage_log_free(u);
    ck_assert_int_eq(number("SELECT count(*) FROM setting WHERE value = '1'"), 1);
    ck_assert_int_eq(atomic_load(&ended), 3);
}
END_TEST

UNIT_MAIN("usage_log", writes_all_fields_with_interned_names, a_clock_that_jumps_changes_no_order,
          what_is_queued_is_written_before_the_end, written_and_shed_add_up_to_what_was_put,
          a_full_disk_is_degraded_and_recovers, a_store_that_is_gone_stops_nothing, old_records_go,
          work_of_others_runs_once_each_in_order, work_that_the_store_refuses_waits_for_it,
          work_that_breaks_a_rule_holds_nothing_up)
