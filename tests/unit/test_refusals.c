/* Refused administrative calls: so many a minute are kept, strangers' apart from others', the rest counted and said. */
#include "api/refusals.h"
#include "state_kit.h"
#include <stdio.h>

static char path[PATH_SIZE];
static struct db *db;
static struct arena *arena;
static struct refusals *r;

static void begin(void)
{
    db = state_db();
    state_path(path, "test.db");
    arena = arena_new();
    r = refusals_new();
}

static void end(void)
{
    refusals_free(r);
    db_close(db);
    arena_free(arena);
}

static bool note(const char *who, bool is_known, uint64_t now_ms)
{
    char text[32]; /* what is noted is copied */
    (void)snprintf(text, sizeof text, "%s", who);
    struct audit_row row = {.at_ms = 1,
                            .actor_kind = STR("anonymous"),
                            .actor = str_of(text),
                            .kind = STR("keys"),
                            .status = 401,
                            .outcome = STR("not_signed_in")};
    return refusals_note(r, &row, is_known, 2, now_ms);
}

static size_t rows(struct audit_row **out)
{
    struct err e = ERR_INIT;
    struct audit_filter f = {.limit = 100};
    size_t n;
    ck_assert_msg(audit_list(db, arena, &f, out, &n, &e), "%s", e.message);
    return n;
}

START_TEST(so_many_a_minute_are_kept)
{
    struct audit_row *v;
    begin();
    ck_assert(note("a", false, 100000));
    ck_assert(note("b", false, 100001));
    ck_assert(!note("c", false, 100002));
    ck_assert(!note("d", false, 159999));
    ck_assert(note("ada", true, 100003)); /* room of their own */
    ck_assert_uint_eq(refusals_left_out(r), 2);
    ck_assert(refusals_wait(r));
    refusals_write(r, path, false, 159999);
    ck_assert(!refusals_wait(r));
    ck_assert_uint_eq(rows(&v), 3);
    check_str(v[2].actor, STR("a"));
    check_str(v[1].actor, STR("b"));
    check_str(v[0].actor, STR("ada"));
    ck_assert_int_eq(v[0].status, 401);
    end();
}
END_TEST

START_TEST(what_was_left_out_is_said_when_the_minute_is_over)
{
    struct audit_row *v;
    begin();
    for (int i = 0; i < 7; i++)
        (void)note("x", false, 100000);
    refusals_write(r, path, false, 100001);
    ck_assert_uint_eq(rows(&v), 2);
    refusals_write(r, path, false, 160000); /* nobody else came */
    ck_assert_uint_eq(rows(&v), 3);
    check_str(v[0].kind, STR("refusals"));
    check_str(v[0].object, STR("unknown callers"));
    check_str(v[0].after, STR("{\"left_out\":5}"));
    refusals_write(r, path, false, 300000); /* said once */
    ck_assert_uint_eq(rows(&v), 3);
    ck_assert(note("y", false, 300001));
    refusals_write(r, path, false, 300002);
    ck_assert_uint_eq(rows(&v), 4);
    end();
}
END_TEST

START_TEST(what_the_store_cannot_take_waits_for_it)
{
    struct audit_row *v;
    struct audit_row owed = {.at_ms = 2,
                             .actor_kind = STR("operator"),
                             .kind = STR("provider"),
                             .before = STR("{\"enabled\":true}"),
                             .outcome = STR("ok")};
    begin();
    ck_assert(note("a", false, 100000));
    refusals_owe(r, &owed);
    refusals_write(r, "/nowhere/at/all.db", false, 100001); /* logged */
    ck_assert(refusals_wait(r));
    ck_assert(note("b", false, 100002));
    refusals_write(r, path, false, 100003); /* not so soon again */
    ck_assert_uint_eq(rows(&v), 0);
    refusals_write(r, path, false, 100001 + REFUSALS_PAUSE_MS);
    ck_assert(!refusals_wait(r));
    ck_assert_uint_eq(rows(&v), 3);
    check_str(v[2].actor, STR("a"));
    check_str(v[1].before, STR("{\"enabled\":true}"));
    check_str(v[0].actor, STR("b"));
    ck_assert(note("c", true, 200000));
    refusals_write(r, "/nowhere/at/all.db", false, 200001);
    refusals_write(r, path, true, 200002); /* the end does not wait */
    ck_assert_uint_eq(rows(&v), 4);
    for (int i = 0; i < REFUSALS_WAITING + 3; i++) /* nor does memory grow */
        refusals_owe(r, &owed);
    ck_assert_uint_eq(refusals_left_out(r), 3);
    ck_assert(note("d", false, 300000)); /* freed, unwritten */
    end();
}
END_TEST

UNIT_MAIN("refusals", so_many_a_minute_are_kept, what_was_left_out_is_said_when_the_minute_is_over,
          what_the_store_cannot_take_waits_for_it)
