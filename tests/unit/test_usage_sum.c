/* The sums of the request log: against a plain look through all records, while records come, after a crash, and by minute and hour. */
#include "state_kit.h"
#include "base/clock.h"
#include "meter/usage_sum.h"
#include <stdio.h>

#define START 1700000000000000ll

static struct db *db;
static struct arena *a;
static struct sum_writer *w;
static int64_t next_id;

static void run(const char *sql)
{
    struct err e = ERR_INIT;
    ck_assert_msg(db_exec(db, sql, &e), "%s: %s", sql, e.message);
}

static int64_t number(const char *sql)
{
    struct err e = ERR_INIT;
    struct stmt *s = db_prepare(db, sql, &e);
    ck_assert_msg(s && stmt_step(s, &e), "%s: %s", sql, e.message);
    int64_t n = stmt_int(s, 0);
    stmt_free(s);
    return n;
}

static void begin(void)
{
    struct err e = ERR_INIT;
    db = state_db();
    a = arena_new();
    w = sum_writer_new();
    next_id = START;
    run("INSERT INTO name(id, text) VALUES (1,'gpt'),(2,'claude'),(3,'up'),(4,'k1'),(5,'chat')");
    run("INSERT INTO usage_kind VALUES "
        "(1,4,1,3,1,5,5,5,0,200,0,1,3),(2,0,2,3,2,5,5,5,0,502,1,1,3)");
    ck_assert_msg(sum_writer_open(w, db, &e), "%s", e.message);
}

static void end(void)
{
    sum_writer_free(w);
    db_close(db);
    arena_free(a);
}

/* One record, step microseconds after the one before; is_added: the writer hears of it. */
static void put(int64_t kind, int64_t step, bool is_known, bool is_added)
{
    struct err e = ERR_INIT;
    char sql[400];
    next_id += step;
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO usage_fact(id,request_id,kind,attempts,input_total,output_total,"
        "ttft_us,duration_us,bytes_in,bytes_out) VALUES(%lld,'r',%lld,%d,%s,3,%s,500,1,2)",
        (long long)next_id, (long long)kind, kind == 2 ? 2 : 1, is_known ? "10" : "NULL",
        is_known ? "70" : "NULL");
    run(sql);
    struct usage_figures f = {.n = 1,
                              .last = next_id,
                              .input_total = is_known ? 10 : -1,
                              .cache_read = -1,
                              .cache_write = -1,
                              .output_total = 3,
                              .reasoning = -1,
                              .audio_in = -1,
                              .audio_out = -1,
                              .ttft_n = is_known,
                              .ttft_us = is_known ? 70 : -1,
                              .duration_us = 500,
                              .retried = kind == 2,
                              .bytes_in = 1,
                              .bytes_out = 2};
    if (is_added)
        ck_assert_msg(sum_writer_add(w, kind, &f, &e), "%s", e.message);
}

struct seen {
    struct usage_figures all, of_claude;
    int64_t first_at;
};

static void on_sum(void *arg, int64_t at, struct usage_kind *k, const struct usage_figures *f)
{
    struct seen *s = arg;
    usage_figures_add(&s->all, f);
    if (str_is(k->model, "claude")) {
        ck_assert(k->status == 502 && k->is_stream && k->key.n == 0 && str_is(k->upstream, "up"));
        usage_figures_add(&s->of_claude, f);
    }
    if (s->first_at == 0 || at < s->first_at)
        s->first_at = at;
}

static struct seen read_from(enum usage_span span, int64_t from)
{
    struct err e = ERR_INIT;
    struct seen s = {.first_at = 0};
    ck_assert_msg(usage_sum_read(a, db, span, from, on_sum, &s, &e), "%s", e.message);
    return s;
}

static void check_all(enum usage_span span)
{
    struct seen s = read_from(span, 0);
    ck_assert_int_eq(s.all.n, number("SELECT count(*) FROM usage_fact"));
    ck_assert_int_eq(s.all.input_total, number("SELECT sum(input_total) FROM usage_fact"));
    ck_assert_int_eq(s.all.ttft_n, number("SELECT count(ttft_us) FROM usage_fact"));
    ck_assert_int_eq(s.all.ttft_us, number("SELECT sum(ttft_us) FROM usage_fact"));
    ck_assert_int_eq(s.all.retried, number("SELECT count(*) FROM usage_fact WHERE attempts > 1"));
    ck_assert_int_eq(s.all.last, next_id);
    ck_assert_int_eq(s.of_claude.n, number("SELECT count(*) FROM usage_fact WHERE kind = 2"));
    ck_assert_int_eq(s.of_claude.bytes_out, 2 * s.of_claude.n);
}

START_TEST(what_is_read_is_the_sum_of_all_records_at_any_moment)
{
    struct err e = ERR_INIT;
    begin();
    for (int i = 0; i < 500; i++) {
        put(1 + i % 3 / 2, 700000, i % 5 != 0, true);
        if (i % 50 == 7)
            check_all(SPAN_DAY); /* some written, some gathered only */
        if (i % 90 == 0)
            ck_assert(sum_writer_flush(w, &e));
    }
    ck_assert(sum_writer_is_pending(w) && sum_writer_flush(w, &e) && !sum_writer_is_pending(w));
    check_all(SPAN_DAY);
    check_all(SPAN_HOUR);
    check_all(SPAN_MINUTE);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_sum WHERE span = 2"), 2);
    ck_assert_int_eq(number("SELECT up_to FROM usage_sum_state"), next_id);
    end();
}
END_TEST

START_TEST(a_crash_before_the_sums_were_written_loses_nothing)
{
    struct err e = ERR_INIT;
    begin();
    for (int i = 0; i < 20; i++)
        put(1, 1000, true, true);
    ck_assert(sum_writer_flush(w, &e));
    for (int i = 0; i < 5; i++)
        put(2, 1000, true, true);
    ck_assert(sum_writer_open(w, db, &e)); /* what was gathered is gone */
    ck_assert(sum_writer_is_behind(w) && !sum_writer_is_pending(w));
    put(1, 1000, true, true); /* comes in the order of the others */
    check_all(SPAN_DAY);
    ck_assert(sum_writer_catch_up(w, &e) && !sum_writer_is_behind(w));
    put(1, 1000, true, true);
    ck_assert(sum_writer_flush(w, &e));
    ck_assert_int_eq(number("SELECT sum(n) FROM usage_sum WHERE span = 2"), 27);
    check_all(SPAN_HOUR);
    end();
}
END_TEST

START_TEST(a_log_from_before_the_sums_is_summed_up_in_slices)
{
    struct err e = ERR_INIT;
    int slices = 0;
    begin();
    /* 9000 over more than two days */
    run("WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 9000) "
        "INSERT INTO usage_fact(id,request_id,kind,attempts,input_total,output_total,ttft_us,"
        "duration_us,bytes_in,bytes_out) SELECT 1700000000000000 + i * 20000000, 'r', 1 + i % 2, "
        "1 + i % 2, 10, 3, 70, 500, 1, 2 FROM t");
    next_id = number("SELECT max(id) FROM usage_fact");
    ck_assert(sum_writer_open(w, db, &e));
    for (; sum_writer_is_behind(w); slices++)
        ck_assert_msg(sum_writer_catch_up(w, &e), "%s", e.message);
    ck_assert_int_eq(slices, 3);
    check_all(SPAN_DAY);
    ck_assert_int_eq(number("SELECT count(DISTINCT at) FROM usage_sum WHERE span = 2"), 4);
    /* old minutes are gone */
    ck_assert_int_le(number("SELECT count(DISTINCT at) FROM usage_sum WHERE span = 0"), 122);
    end();
}
END_TEST

START_TEST(only_spans_from_the_one_asked_for_are_read)
{
    struct err e = ERR_INIT;
    begin();
    put(1, 0, true, true);
    put(1, usage_span_us[SPAN_DAY], true, true);
    put(1, usage_span_us[SPAN_DAY], true, true);
    int64_t day = START / usage_span_us[SPAN_DAY];
    struct seen s = read_from(SPAN_DAY, day + 1); /* the last one is in no row yet */
    ck_assert_int_eq(s.all.n, 2);
    ck_assert_int_eq(s.first_at, day + 1);
    ck_assert(sum_writer_flush(w, &e));
    s = read_from(SPAN_DAY, day + 2);
    ck_assert_int_eq(s.all.n, 1);
    ck_assert_int_eq(read_from(SPAN_DAY, day + 3).all.n, 0);
    end();
}
END_TEST

UNIT_MAIN("usage_sum", what_is_read_is_the_sum_of_all_records_at_any_moment,
          a_crash_before_the_sums_were_written_loses_nothing,
          a_log_from_before_the_sums_is_summed_up_in_slices,
          only_spans_from_the_one_asked_for_are_read)
