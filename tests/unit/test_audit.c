/* The audit chain: what is altered, taken out or cut off is found; what is retired is not missed; secrets are masked. */
#include "base/arena.h"
#include "domain/audit.h"
#include "state_kit.h"
#include <stdio.h>

static struct db *db;
static struct arena *arena;

static void begin(void)
{
    db = state_db();
    arena = arena_new();
}

static void end(void)
{
    db_close(db);
    arena_free(arena);
}

static void add(int64_t at_ms, const char *actor, const char *kind, const char *object)
{
    struct err e = ERR_INIT;
    struct audit_row row = {.at_ms = at_ms,
                            .actor_kind = STR("operator"),
                            .actor_id = STR("op_1"),
                            .actor = str_of(actor),
                            .method = STR("PATCH"),
                            .path = STR("/sluice/v1/x/{id}"),
                            .kind = str_of(kind),
                            .object = str_of(object),
                            .status = 200,
                            .outcome = STR("ok"),
                            .after = STR("{\"a\":1}")};
    ck_assert_msg(audit_append_alone(db, &row, &e), "%s", e.message);
}

static void add_five(void)
{
    for (int64_t i = 1; i <= 5; i++)
        add(i * 1000, i % 2 ? "ada" : "bob", "key", "k");
}

static void run(const char *sql)
{
    struct err e = ERR_INIT;
    ck_assert_msg(db_exec(db, sql, &e), "%s", e.message);
}

static struct audit_finding verify(void)
{
    struct audit_finding f;
    struct err e = ERR_INIT;
    ck_assert_msg(audit_verify(db, &f, &e), "%s", e.message);
    return f;
}

START_TEST(a_whole_chain_is_whole)
{
    begin();
    ck_assert_int_eq(verify().rows, 0);
    add_five();
    struct audit_finding f = verify();
    ck_assert_int_eq(f.rows, 5);
    ck_assert_int_eq(f.broken_id, 0);
    ck_assert_int_eq(f.last_id, 5);
    end();
}
END_TEST

START_TEST(every_meddling_is_named)
{
    static const struct {
        const char *sql;
        int64_t broken_id;
    } cases[] = {
        {"UPDATE audit SET actor = 'eve' WHERE id = 3", 3},
        {"UPDATE audit SET at_ms = 1 WHERE id = 2", 2},
        {"UPDATE audit SET after = NULL WHERE id = 5", 5},
        {"UPDATE audit SET before = '' WHERE id = 5", 5},
        {"UPDATE audit SET status = 403 WHERE id = 1", 1},
        {"UPDATE audit SET kind = 'ke', object = 'yk' WHERE id = 4", 4},
        {"UPDATE audit SET hash = zeroblob(32) WHERE id = 2", 2},
        {"UPDATE audit SET hash = zeroblob(3) WHERE id = 2", 2},
        {"DELETE FROM audit WHERE id = 3", 3},
        {"DELETE FROM audit WHERE id = 1", 1},
        {"DELETE FROM audit WHERE id >= 4", 4},
        {"DELETE FROM audit", 1},
        {"DELETE FROM audit WHERE id = 5; UPDATE audit_chain SET last_id = 4", 4},
        {"UPDATE audit SET id = 9 WHERE id = 5", 5},
        {"UPDATE audit_chain SET first_prev = randomblob(32)", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin();
        run("DELETE FROM audit; UPDATE audit_chain SET first_id = 1, first_prev = zeroblob(32), "
            "last_id = 0, last_hash = zeroblob(32)");
        add_five();
        run(cases[i].sql);
        struct audit_finding f = verify();
        ck_assert_msg(f.broken_id == cases[i].broken_id, "%s: named %lld", cases[i].sql,
                      (long long)f.broken_id);
        ck_assert_msg(f.why[0], "%s", cases[i].sql);
        end();
    }
}
END_TEST

START_TEST(retired_rows_leave_a_whole_chain)
{
    struct err e = ERR_INIT;
    int64_t n;
    begin();
    add_five();
    ck_assert(audit_retire(db, 3000, &n, &e));
    ck_assert_int_eq(n, 2);
    struct audit_finding f = verify();
    ck_assert_int_eq(f.broken_id, 0);
    ck_assert_int_eq(f.first_id, 3);
    ck_assert_int_eq(f.rows, 3);
    ck_assert(audit_retire(db, 3000, &n, &e));
    ck_assert_int_eq(n, 0);
    ck_assert(audit_retire(db, 99000, &n, &e));
    ck_assert_int_eq(n, 3);
    ck_assert_int_eq(verify().broken_id, 0);
    add(6000, "ada", "key", "k");
    f = verify();
    ck_assert_int_eq(f.rows, 1);
    ck_assert_int_eq(f.last_id, 6);
    run("DELETE FROM audit WHERE id = 6");
    ck_assert_int_eq(verify().broken_id, 6);
    end();
}
END_TEST

START_TEST(a_clock_that_jumped_back_tears_no_hole)
{
    struct err e = ERR_INIT;
    int64_t n;
    begin();
    add(9000, "ada", "key", "k");
    add(1000, "ada", "key", "k");
    ck_assert(audit_retire(db, 5000, &n, &e));
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(verify().broken_id, 0);
    end();
}
END_TEST

static size_t listed(const struct audit_filter *f, struct audit_row **rows)
{
    struct err e = ERR_INIT;
    size_t n;
    ck_assert_msg(audit_list(db, arena, f, rows, &n, &e), "%s", e.message);
    return n;
}

START_TEST(lists_are_filtered_and_paged)
{
    struct audit_row *rows;
    begin();
    add_five();
    add(6000, "ada", "provider", "p'; DROP TABLE audit; --");
    ck_assert_uint_eq(listed(&(struct audit_filter){.limit = 10}, &rows), 6);
    ck_assert_int_eq(rows[0].id, 6);
    check_text(rows[0].object, "p'; DROP TABLE audit; --");
    ck_assert_uint_eq(listed(&(struct audit_filter){.limit = 2, .beyond_id = 5}, &rows), 2);
    ck_assert_int_eq(rows[0].id, 4);
    ck_assert_uint_eq(
        listed(&(struct audit_filter){.limit = 2, .beyond_id = 3, .oldest_first = true}, &rows), 2);
    ck_assert(rows[0].id == 4 && rows[1].id == 5);
    ck_assert_uint_eq(listed(&(struct audit_filter){.limit = 9, .actor = STR("bob")}, &rows), 2);
    ck_assert_uint_eq(
        listed(&(struct audit_filter){.limit = 9, .kind = STR("provider"), .actor = STR("ada")},
               &rows),
        1);
    ck_assert_uint_eq(
        listed(&(struct audit_filter){.limit = 9, .object = STR("p'; DROP TABLE audit; --")},
               &rows),
        1);
    ck_assert_uint_eq(
        listed(&(struct audit_filter){.limit = 9, .since_ms = 2000, .until_ms = 4000}, &rows), 2);
    ck_assert_uint_eq(listed(&(struct audit_filter){.limit = 9, .outcome = STR("failed")}, &rows),
                      0);
    end();
}
END_TEST

START_TEST(secrets_are_masked)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"api_key\":\"sk-1234567890abcd\",\"name\":\"x\"}",
         "{\"api_key\":\"sk-1***abcd\",\"name\":\"x\"}"},
        {"{\"api_key\":\"${OPENAI}\"}", "{\"api_key\":\"${OPENAI}\"}"},
        {"{\"Password\":\"abc\"}", "{\"Password\":\"***\"}"},
        {"{\"keys\":[\"aaaaaaaaaaaa\",\"b\"],\"n\":3}",
         "{\"keys\":[\"aaaa***aaaa\",\"***\"],\"n\":3}"},
        {"{\"api_keys\":[{\"key\":\"abcdefghijkl\",\"label\":\"abcdefghijkl\"}]}",
         "{\"api_keys\":[{\"key\":\"abcd***ijkl\",\"label\":\"abcdefghijkl\"}]}"},
        {"{\"headers\":{\"X-Anything\":\"abcdefghijkl\"}}",
         "{\"headers\":{\"X-Anything\":\"abcd***ijkl\"}}"},
        {"{\"proxy\":\"http://me:pass@host:1/x\"}", "{\"proxy\":\"http://***@host:1/x\"}"},
        {"{\"base_url\":\"https://host/a@b\"}", "{\"base_url\":\"https://host/a@b\"}"},
        {"{\"max_output_tokens\":5,\"d\":1.50}", "{\"max_output_tokens\":5,\"d\":1.50}"},
        {"{\"deep\":[{\"server\":{\"admin_password\":\"hunter-two\"}}]}",
         "{\"deep\":[{\"server\":{\"admin_password\":\"***\"}}]}"},
        {"no json: sk-1234567890abcd", "\"(not JSON)\""},
        {"", ""},
    };
    begin();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_str(audit_masked(arena, str_of(cases[i].in)), str_of(cases[i].out));
    end();
}
END_TEST

UNIT_MAIN("audit", a_whole_chain_is_whole, every_meddling_is_named,
          retired_rows_leave_a_whole_chain, a_clock_that_jumped_back_tears_no_hole,
          lists_are_filtered_and_paged, secrets_are_masked)
