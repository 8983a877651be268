/* The request log as readers see it: every filter against a plain look through all records, pages that join up, how little is looked
 * at, and what retention takes away. */
#include "state_kit.h"
#include "base/clock.h"
#include "meter/usage_block.h"
#include "meter/usage_read.h"
#include "meter/usage_retain.h"
#include "meter/usage_sum.h"
#include <stdio.h>

#define ROWS 30000
#define START 1700000000000000ll
#define STEP 1000000ll /* a second between records */

static struct db *db;
static struct block_writer *blocks;
static struct arena *a;

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

/* Kinds 1 to 6: common, streamed, slow model, an error in the middle of the log only, one that is rare everywhere, a key's own. */
static int64_t kind_of(int i)
{
    if (i >= 12000 && i < 12050)
        return 4;
    if (i % 7001 == 3)
        return 5;
    return i % 100 == 7 ? 6 : i % 10 == 3 ? 3 : i % 3 == 0 ? 2 : 1;
}

/* Only what is in the sums may leave the log. */
static void sum_up(void)
{
    struct err e = ERR_INIT;
    struct sum_writer *w = sum_writer_new();
    ck_assert(sum_writer_open(w, db, &e));
    while (sum_writer_is_behind(w))
        ck_assert_msg(sum_writer_catch_up(w, &e), "%s", e.message);
    sum_writer_free(w);
}

static void fill(int rows)
{
    struct err e = ERR_INIT;
    db = state_db();
    a = arena_new();
    blocks = block_writer_new();
    ck_assert(block_writer_open(blocks, db, &e) && block_writer_catch_up(blocks, &e));
    run("INSERT INTO name(id, text) VALUES (1,'echo'),(2,'slow'),(3,'up_1'),(4,'upx1'),(5,'chat'),"
        "(6,'messages'),(7,'k1'),(8,'rate_limited'),(9,'bad_gateway')");
    /* id, key, model, upstream, upstream_model, op, client_format, upstream_format, error_code, status, is_stream, stop, quality */
    run("INSERT INTO usage_kind VALUES (1,0,1,3,1,5,5,5,0,200,0,1,3),(2,0,1,3,1,5,5,5,0,200,1,1,3),"
        "(3,0,2,4,2,6,6,5,0,200,0,1,3),(4,0,1,3,1,5,5,5,9,502,0,0,0),(5,0,2,4,2,5,5,5,8,429,0,0,0),"
        "(6,7,1,3,1,5,5,5,0,200,0,1,3)");
    struct stmt *s = db_prepare(db,
                                "INSERT INTO usage_fact(id,request_id,kind,attempts,input_total,"
                                "duration_us,bytes_in,bytes_out) VALUES(?1,?2,?3,1,10,500,1,2)",
                                &e);
    ck_assert_ptr_nonnull(s);
    run("BEGIN");
    for (int i = 0; i < rows; i++) {
        struct str id = str_fmt(a, "req_%06d", i);
        stmt_bind_int(s, 1, START + i * STEP);
        stmt_bind_str(s, 2, id);
        stmt_bind_int(s, 3, kind_of(i));
        ck_assert(stmt_run(s, &e) &&
                  block_writer_add(blocks, START + i * STEP, kind_of(i), id, &e));
    }
    run("COMMIT");
    stmt_free(s);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_block"), rows / (int)BLOCK_ROWS);
    sum_up();
}

static void empty(void)
{
    block_writer_free(blocks);
    db_close(db);
    arena_free(a);
}

static struct usage_reader *reader(const struct usage_filter *f)
{
    struct err e = ERR_INIT;
    struct usage_reader *r = usage_reader_new(a, db, f, &e);
    ck_assert_msg(r != NULL, "%s", e.message);
    return r;
}

static const bool yes = true, no = false;
static const struct str k1[] = {STR_INIT("k1")}, nobody[] = {STR_INIT("")},
                        both[] = {STR_INIT("up_1"), STR_INIT("upx1")};
static const struct {
    struct usage_filter f;
    const char *where;
    int64_t most; /* rows looked at for a page of 50 */
} filters[] = {
    {{0}, "1", 50},
    {{.status_min = 400, .status_max = 599}, "kind IN (4,5)", BLOCK_ROWS},
    {{.status_max = 399}, "kind NOT IN (4,5)", 100},
    {{.error = STR_INIT("bad_gateway")}, "kind = 4", BLOCK_ROWS},
    {{.error = STR_INIT("rate_limited")}, "kind = 5", BLOCK_ROWS},
    {{.model = STR_INIT("slow")}, "kind IN (3,5)", 1000},
    {{.model = STR_INIT("no such")}, "0", BLOCK_ROWS},
    {{.upstream = STR_INIT("up_1")}, "kind NOT IN (3,5)", 100},
    {{.op = STR_INIT("messages")}, "kind = 3", 1000},
    {{.any_model = STR_INIT("slow")}, "kind IN (3,5)", 1000},
    {{.upstreams = both, .n_upstreams = 2, .has_upstreams = true}, "1", 50},
    {{.upstreams = both + 1, .n_upstreams = 1, .has_upstreams = true}, "kind IN (3,5)", 1000},
    {{.has_upstreams = true}, "0", BLOCK_ROWS},
    {{.client_format = STR_INIT("messages"), .upstream_format = STR_INIT("chat")},
     "kind = 3",
     1000},
    {{.is_stream = &yes}, "kind = 2", 1000},
    {{.is_stream = &no, .model = STR_INIT("echo"), .status_max = 200}, "kind IN (1,6)", 1000},
    {{.keys = k1, .n_keys = 1, .has_keys = true}, "kind = 6", BLOCK_ROWS + 64},
    {{.keys = nobody, .n_keys = 1, .has_keys = true}, "kind != 6", 100},
    {{.has_keys = true}, "0", BLOCK_ROWS},
    /* _ is no wildcard, case does not matter */
    {{.text = STR_INIT("P_1")}, "kind NOT IN (3,5)", 100},
    {{.text = STR_INIT("LIMIT")}, "kind = 5", BLOCK_ROWS},
    {{.from_ms = START / 1000 + 5000000, .to_ms = START / 1000 + 5010000},
     "id BETWEEN 1700005000000000 AND 1700005010000999",
     50},
    {{.from_ms = START / 1000 + 11990000, .to_ms = START / 1000 + 12020000, .status_min = 500},
     "kind = 4 AND id BETWEEN 1700011990000000 AND 1700012020000999",
     BLOCK_ROWS},
};

/* Page by page: the same ids in the same order. */
static void compare_pages(size_t i, bool oldest_first, int64_t expected)
{
    struct err e = ERR_INIT;
    struct usage_filter f = filters[i].f;
    int64_t page[1000], beyond = 0, all = 0;
    size_t size = oldest_first ? 1000 : 50;
    struct str sql = str_fmt(a, "SELECT id FROM usage_fact WHERE %s ORDER BY id%s",
                             filters[i].where, oldest_first ? "" : " DESC");
    struct stmt *s = db_prepare(db, str_z(a, sql), &e);
    f.oldest_first = oldest_first;
    for (size_t n = size; n == size; all += (int64_t)n) {
        struct usage_reader *r = reader(&f);
        ck_assert(usage_read_ids(r, beyond, 0, page, size, &n, &e));
        /* how far the newest are is known of each; the oldest may be a few blocks on */
        ck_assert_msg(all > 0 || oldest_first || usage_reader_seen(r)->rows <= filters[i].most,
                      "%zu looked at %lld rows", i, (long long)usage_reader_seen(r)->rows);
        usage_reader_free(r);
        for (size_t k = 0; k < n; k++) {
            ck_assert(stmt_step(s, &e));
            ck_assert_int_eq(page[k], stmt_int(s, 0));
            beyond = page[k];
        }
    }
    ck_assert_int_eq(all, expected);
    stmt_free(s);
}

START_TEST(filters_find_what_a_look_through_all_finds)
{
    fill(ROWS);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        struct err e = ERR_INIT;
        int64_t got;
        struct usage_reader *r = reader(&filters[i].f);
        ck_assert(usage_read_count(r, &got, &e));
        struct str sql = str_fmt(a, "SELECT count(*) FROM usage_fact WHERE %s", filters[i].where);
        ck_assert_msg(got == number(str_z(a, sql)), "%zu: %lld", i, (long long)got);
        usage_reader_free(r);
        compare_pages(i, false, got);
        compare_pages(i, true, got);
    }
    empty();
}
END_TEST

START_TEST(skipping_passes_whole_blocks_by)
{
    static const int64_t skips[] = {0, 1, 49, 5000, 20000, 29990, 40000};
    fill(ROWS);
    for (size_t i = 0; i < ARRAY_LEN(skips); i++) {
        struct err e = ERR_INIT;
        struct usage_filter f = {.model = STR("echo")};
        int64_t ids[20];
        size_t n;
        struct usage_reader *r = reader(&f);
        ck_assert(usage_read_ids(r, 0, skips[i], ids, 20, &n, &e));
        ck_assert_int_le(usage_reader_seen(r)->rows, 2 * BLOCK_ROWS);
        usage_reader_free(r);
        struct str sql = str_fmt(a,
                                 "SELECT id FROM usage_fact WHERE kind NOT IN (3,5) ORDER BY id "
                                 "DESC LIMIT 20 OFFSET %lld",
                                 (long long)skips[i]);
        struct stmt *s = db_prepare(db, str_z(a, sql), &e);
        size_t k = 0;
        for (; stmt_step(s, &e); k++)
            ck_assert_int_eq(ids[k], stmt_int(s, 0));
        ck_assert_uint_eq(k, n);
        stmt_free(s);
    }
    empty();
}
END_TEST

START_TEST(one_request_is_found_by_its_id)
{
    static const int places[] = {0, 1, 4095, 4096, 12345, ROWS - 1};
    fill(ROWS);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct err e = ERR_INIT;
        struct usage_row row;
        struct str id = str_fmt(a, "req_%06d", places[i]);
        ck_assert_msg(usage_find(a, db, id, &row, &e), "%s", e.message);
        ck_assert_int_eq(row.seq, START + places[i] * STEP);
        ck_assert(str_eq(row.request_id, id));
        struct str seq = str_fmt(a, "%lld", (long long)row.seq);
        ck_assert(usage_find(a, db, seq, &row, &e) && str_eq(row.request_id, id));
        for (int up = 0; up < 2; up++) {
            struct usage_filter f = {.request_id = id, .oldest_first = up};
            int64_t found[2];
            size_t n;
            struct usage_reader *r = reader(&f);
            ck_assert(usage_read_ids(r, 0, 0, found, 2, &n, &e) && n == 1);
            ck_assert_int_eq(found[0], START + places[i] * STEP);
            /* its block, and maybe one in vain */
            ck_assert_int_le(usage_reader_seen(r)->rows, 2 * BLOCK_ROWS);
            usage_reader_free(r);
        }
    }
    struct err e = ERR_INIT;
    struct usage_row row;
    ck_assert(!usage_find(a, db, STR("req_none"), &row, &e) && e.kind == ERR_NOT_FOUND);
    empty();
}
END_TEST

START_TEST(records_from_before_the_summaries_get_theirs)
{
    struct err e = ERR_INIT;
    fill(ROWS);
    run("DELETE FROM usage_block");
    block_writer_close(blocks);
    ck_assert(block_writer_open(blocks, db, &e));
    int steps = 0;
    while (block_writer_is_behind(blocks)) {
        ck_assert(block_writer_catch_up(blocks, &e));
        steps++;
    }
    ck_assert_int_eq(steps, ROWS / (int)BLOCK_ROWS + 1);
    ck_assert_int_eq(number("SELECT sum(n) FROM usage_block"), ROWS / BLOCK_ROWS * BLOCK_ROWS);
    struct usage_filter f = {.error = STR("bad_gateway")};
    int64_t n;
    struct usage_reader *r = reader(&f);
    ck_assert(usage_read_count(r, &n, &e));
    ck_assert_int_eq(n, 50);
    usage_reader_free(r);
    empty();
}
END_TEST

static int retain(const struct usage_limits *limits)
{
    struct retention state = {0};
    struct err e = ERR_INIT;
    int slices = 1;
    while (retention_slice(&state, db, blocks, limits, &e))
        slices++;
    ck_assert_msg(e.kind == ERR_NONE, "%s", e.message);
    return slices;
}

START_TEST(a_clock_that_jumps_makes_nothing_old)
{
    const int64_t day = 86400000, now = 1000 * day;
    struct age_clock c = {0};
    ck_assert_int_eq(age_clock_ms(&c, now, 5000), now);
    ck_assert_int_eq(age_clock_ms(&c, now + 60000, 65000), now + 60000);
    /* a year on, for a minute */
    ck_assert_int_eq(age_clock_ms(&c, now + 400 * day, 125000), now + 180000);
    ck_assert_int_eq(age_clock_ms(&c, now + 180000, 185000), now + 180000);
    ck_assert_int_eq(age_clock_ms(&c, now - day, 245000), now - day); /* back at once */
    /* and a day later a day on: caught up */
    ck_assert_int_eq(age_clock_ms(&c, now, 245000 + (uint64_t)day), now);
    ck_assert_int_eq(age_clock_ms(&c, now + 5 * day, 245000 + 3 * (uint64_t)day), now + 4 * day);
}
END_TEST

static void check_summaries(void)
{
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        struct err e = ERR_INIT;
        int64_t n;
        struct usage_reader *r = reader(&filters[i].f);
        struct str sql = str_fmt(a, "SELECT count(*) FROM usage_fact WHERE %s", filters[i].where);
        ck_assert(usage_read_count(r, &n, &e));
        usage_reader_free(r);
        ck_assert_msg(n == number(str_z(a, sql)), "%zu", i);
    }
}

START_TEST(successes_and_errors_are_kept_apart_and_sums_stay)
{
    fill(ROWS);
    run("INSERT INTO usage_detail(id, text) SELECT id, '{}' FROM usage_fact WHERE kind = 4");
    int64_t errors = number("SELECT count(*) FROM usage_fact WHERE kind IN (4,5)"),
            input = number("SELECT sum(input_total) FROM usage_fact");
    struct usage_limits limits = {.success_max = 9000, .error_max = 30};
    ck_assert_int_gt(retain(&limits), 3); /* no slice is larger than a block */
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact WHERE kind NOT IN (4,5)"), 9000);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact WHERE kind IN (4,5)"), 30);
    ck_assert_int_gt(errors, 30);
    ck_assert_int_eq(number("SELECT min(id) FROM usage_fact WHERE kind IN (1,2,3,6)"),
                     number("SELECT min(id) FROM (SELECT id FROM usage_fact WHERE kind IN "
                            "(1,2,3,6) ORDER BY id DESC LIMIT 9000)"));
    ck_assert_int_eq(number("SELECT count(*) FROM usage_detail"),
                     number("SELECT count(*) FROM usage_fact WHERE kind = 4"));
    ck_assert_int_eq(number("SELECT sum(n) FROM usage_sum WHERE span = 2"), ROWS);
    ck_assert_int_eq(number("SELECT sum(input_total) FROM usage_sum WHERE span = 2"), input);
    check_summaries();
    /* less than stands in no block */
    limits = (struct usage_limits){.success_max = 10, .error_max = 2};
    (void)retain(&limits);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact"), 12);
    check_summaries();
    empty();
}
END_TEST

START_TEST(a_cleared_log_is_empty_at_once_and_deleted_in_slices)
{
    struct err e = ERR_INIT;
    struct usage_filter none = {0};
    int64_t n;
    fill(ROWS);
    run("UPDATE usage_state SET cleared = 1700020000000000");
    struct usage_reader *r = reader(&none);
    ck_assert(usage_read_count(r, &n, &e));
    usage_reader_free(r);
    ck_assert_int_eq(n, ROWS - 20001);
    struct usage_row row;
    ck_assert(!usage_find(a, db, STR("req_000100"), &row, &e) && e.kind == ERR_NOT_FOUND);
    ck_assert(!usage_find(a, db, STR("1700000100000000"), &row, &e) && e.kind == ERR_NOT_FOUND);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact"), ROWS);
    struct usage_limits limits = {0};
    ck_assert_int_ge(retain(&limits), 20001 / (int)BLOCK_ROWS);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact"), ROWS - 20001);
    ck_assert_int_eq(number("SELECT sum(n) FROM usage_sum WHERE span = 2"), ROWS);
    check_summaries();
    empty();
}
END_TEST

START_TEST(records_and_their_sums_age_by_their_own_limits)
{
    fill(ROWS);
    /* all of it is years old; the newest is in no sum yet, and must not be lost to them */
    run("UPDATE usage_sum_state SET up_to = (SELECT max(id) - 1 FROM usage_fact)");
    struct usage_limits limits = {.days = 1};
    (void)retain(&limits);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact"), 1);
    run("UPDATE usage_sum_state SET up_to = (SELECT max(id) FROM usage_fact)");
    (void)retain(&limits);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_fact"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_block"), 0);
    ck_assert_int_eq(number("SELECT sum(n) FROM usage_sum WHERE span = 2"), ROWS);
    limits.figures_days = 30;
    (void)retain(&limits);
    ck_assert_int_eq(number("SELECT count(*) FROM usage_sum WHERE span = 2"), 0);
    empty();
}
END_TEST

UNIT_MAIN("usage_read", filters_find_what_a_look_through_all_finds, skipping_passes_whole_blocks_by,
          one_request_is_found_by_its_id, records_from_before_the_summaries_get_theirs,
          successes_and_errors_are_kept_apart_and_sums_stay,
          a_cleared_log_is_empty_at_once_and_deleted_in_slices,
          records_and_their_sums_age_by_their_own_limits, a_clock_that_jumps_makes_nothing_old)
