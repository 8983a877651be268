/* Time zones, and the schedules that are kept in them. */
#include "base/clock.h"
#include "domain/policy.h"
#include "unit.h"

static int64_t at(const char *text)
{
    int64_t ms = 0;
    ck_assert_msg(clock_parse_rfc3339(str_of(text), &ms), "%s", text);
    return ms;
}

START_TEST(places_and_moments)
{
    static const struct {
        const char *zone, *moment;
        int32_t offset_s;
    } rows[] = {
        {"UTC", "2024-07-01T00:00:00Z", 0},
        {"", "2024-07-01T00:00:00Z", 0},
        {"+05:30", "2024-07-01T00:00:00Z", 19800},
        {"-03", "2024-07-01T00:00:00Z", -10800},
        {"Europe/Berlin", "2024-01-15T12:00:00Z", 3600},
        {"Europe/Berlin", "2024-07-15T12:00:00Z", 7200},
        {"Europe/Berlin", "2024-03-31T00:59:59Z", 3600},
        {"Europe/Berlin", "2024-03-31T01:00:00Z", 7200},
        {"Europe/Berlin", "2024-10-27T00:59:59Z", 7200},
        {"Europe/Berlin", "2024-10-27T01:00:00Z", 3600},
        {"Europe/Berlin", "2099-07-15T12:00:00Z", 7200}, /* by the rules behind the table */
        {"Europe/Berlin", "2099-12-15T12:00:00Z", 3600},
        {"America/New_York", "2024-11-03T05:59:59Z", -14400},
        {"America/New_York", "2024-11-03T06:00:00Z", -18000},
        {"America/New_York", "2080-06-01T00:00:00Z", -14400},
        {"Australia/Sydney", "2090-01-01T00:00:00Z", 39600}, /* summer around the new year */
        {"Australia/Sydney", "2090-07-01T00:00:00Z", 36000},
        {"Asia/Kolkata", "2050-01-01T00:00:00Z", 19800},
        {"Asia/Tokyo", "2024-07-01T00:00:00Z", 32400},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        const struct zone *z = zone_load(a, str_of(rows[i].zone), &e);
        ck_assert_msg(z != NULL, "%s: %s", rows[i].zone, e.message);
        int32_t is = zone_offset_s(z, at(rows[i].moment) / 1000);
        ck_assert_msg(is == rows[i].offset_s, "%s at %s: %d", rows[i].zone, rows[i].moment, is);
    }
    arena_free(a);
}
END_TEST

START_TEST(what_is_no_zone)
{
    static const char *const rows[] = {
        "Europe/Nowhere", "../etc/passwd", "/etc/passwd", "Europe", "x y", "+99:00", "+",
        "tzdata.zi"};
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        ck_assert_msg(zone_load(a, str_of(rows[i]), &e) == NULL, "%s", rows[i]);
        ck_assert_str_eq(e.code, "unknown_time_zone");
    }
    char bytes[200] = "TZif2";
    for (size_t n = 0; n < sizeof bytes; n++) /* cut anywhere */
        ck_assert_ptr_null(zone_parse(a, str_n(bytes, n)));
    arena_free(a);
}
END_TEST

START_TEST(schedules)
{
    static struct str week[] = {STR_INIT("mon"), STR_INIT("fri")};
    static const struct {
        struct schedule s;
        const char *moment;
        bool is_open;
    } rows[] = {
        {{.from = STR_INIT("22:00"), .until = STR_INIT("06:00")}, "2024-07-01T23:30:00Z", true},
        {{.from = STR_INIT("22:00"), .until = STR_INIT("06:00")}, "2024-07-01T05:59:59Z", true},
        {{.from = STR_INIT("22:00"), .until = STR_INIT("06:00")}, "2024-07-01T06:00:00Z", false},
        {{.from = STR_INIT("22:00"), .until = STR_INIT("06:00")}, "2024-07-01T12:00:00Z", false},
        {{.from = STR_INIT("08:00"),
          .until = STR_INIT("17:00"),
          .time_zone = STR_INIT("Europe/Berlin")},
         "2024-07-01T06:00:00Z",
         true},
        {{.from = STR_INIT("08:00"),
          .until = STR_INIT("17:00"),
          .time_zone = STR_INIT("Europe/Berlin")},
         "2024-01-01T06:00:00Z",
         false},
        {{.days = {week, 2}}, "2024-07-01T00:00:00Z", true}, /* a Monday */
        {{.days = {week, 2}}, "2024-07-02T00:00:00Z", false},
        {{.days = {week, 2}}, "2024-07-05T23:59:59Z", true},
        /* what begins on Friday evening belongs to Friday */
        {{.days = {week, 2}, .from = STR_INIT("20:00"), .until = STR_INIT("04:00")},
         "2024-07-06T03:00:00Z",
         true},
        {{.days = {week, 2}, .from = STR_INIT("20:00"), .until = STR_INIT("04:00")},
         "2024-07-05T03:00:00Z",
         false},
        {{.until = STR_INIT("24:00")}, "2024-07-05T23:59:59Z", true},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct opening o;
        struct err e = ERR_INIT;
        ck_assert_msg(schedule_read(a, &rows[i].s, &o, &e), "%zu: %s", i, e.message);
        ck_assert_msg(opening_is_open(&o, at(rows[i].moment)) == rows[i].is_open, "row %zu", i);
    }
    arena_free(a);
}
END_TEST

START_TEST(what_a_policy_must_not_say)
{
    static const struct {
        const char *json, *field;
    } rows[] = {
        {"{\"schedule\":{\"from\":\"8:00\"}}", "schedule.from"},
        {"{\"schedule\":{\"until\":\"24:01\"}}", "schedule.until"},
        {"{\"schedule\":{\"days\":[\"noday\"]}}", "schedule.days"},
        {"{\"schedule\":{\"time_zone\":\"Mars\"}}", "schedule.time_zone"},
        {"{\"tags\":[\"a\",\"a\"]}", "tags"},
        {"{\"tags\":[\"a,b\"]}", "tags"},
        {"{\"limits\":{\"concurrency\":-1}}", "limits.concurrency"},
        {"{\"limits\":{\"request_per_minute\":1}}", "limits.request_per_minute"},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        yyjson_val *v;
        struct key_policy p;
        struct err e = ERR_INIT;
        ck_assert(json_parse(a, str_of(rows[i].json), 0, &v, &e));
        ck_assert_msg(!key_policy_read(a, v, &p, &e), "%s", rows[i].json);
        ck_assert_str_eq(e.field, rows[i].field);
    }
    arena_free(a);
}
END_TEST

START_TEST(a_policy_is_written_as_it_was_read)
{
    static const char text[] =
        "{\"org\":\"acme\",\"tags\":[\"a\",\"b\"],\"limits\":{\"requests_per_minute\":5},"
        "\"schedule\":{\"days\":[\"mon\"],\"time_zone\":\"Europe/Berlin\"}}";
    struct arena *a = arena_new();
    yyjson_val *v;
    struct key_policy p, change = {.user = STR_INIT("ada"), .org = STR_INIT("other")};
    struct err e = ERR_INIT;
    ck_assert(json_parse(a, str_of(text), 0, &v, &e) && key_policy_read(a, v, &p, &e));
    check_str(key_policy_json(a, &p), str_of(text));
    key_policy_merge(&p, &change, 2 | 8); /* user, limits */
    check_text(p.org, "acme");
    check_text(p.user, "ada");
    ck_assert(!limits_any(&p.limits));
    ck_assert_uint_eq(key_policy_json(a, &key_policy_none).n, 0);
    arena_free(a);
}
END_TEST

UNIT_MAIN("zone", places_and_moments, what_is_no_zone, schedules, what_a_policy_must_not_say,
          a_policy_is_written_as_it_was_read)
