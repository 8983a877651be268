/* W3C trace context: what counts as one, and how ours is written. */
#include "unit.h"
#include "meter/trace.h"

START_TEST(a_traceparent_is_read_and_written)
{
    struct trace_ids ids;
    char out[TRACEPARENT_LENGTH];
    const uint8_t span[8] = {0, 1, 2, 3, 4, 5, 6, 0xff};
    ck_assert(trace_parse(STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), &ids));
    ck_assert_uint_eq(ids.trace[0], 0x4b);
    ck_assert_uint_eq(ids.parent[7], 0xb7);
    ck_assert_uint_eq(ids.flags, 1);
    trace_write(&ids, span, out);
    check_text(str_n(out, sizeof out), "00-4bf92f3577b34da6a3ce929d0e0e4736-00010203040506ff-01");
    ids.flags = 0xfe; /* flags that nobody has given a meaning are not passed on */
    trace_write(&ids, span, out);
    check_text(str_n(out + 53, 2), "00");
}
END_TEST

START_TEST(what_is_none)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
    };
    struct trace_ids ids;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!trace_parse(str_of(bad[i]), &ids), "%s", bad[i]);
    ck_assert(trace_parse(STR("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes"),
                          &ids));
}
END_TEST

START_TEST(states)
{
    static const struct {
        const char *text;
        bool is_fine;
    } rows[] = {
        {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true},
        {"a=1 , b=2\t,c= 3", true},
        {"1a@b*c/d_e-f=x y", true},
        {",a=1,,b=2,", true}, /* nothing between two commas is allowed */
        {"", false},
        {" , ", false},
        {"nothing", false},
        {"=bad,,a=1", false},
        {"a=", false},
        {"a=b=c", false},
        {"a=1,a=2", false},
        {"A=1", false},
        {"_a=1", false},
        {"a b=1", false},
        {"a =1", false},
        {"a=\x01", false},
        {"a=\xc3\xa9", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(trace_state_is_fine(str_of(rows[i].text)) == rows[i].is_fine, "%s",
                      rows[i].text);
    char much[600];
    memset(much, 'a', sizeof much);
    much[3] = '=';
    ck_assert(trace_state_is_fine(str_n(much, 4 + 256)));
    ck_assert(!trace_state_is_fine(str_n(much, 4 + 257)));
    much[3] = 'a';
    much[256] = '=';
    ck_assert(trace_state_is_fine(str_n(much, 258)));
    much[256] = 'a';
    much[257] = '=';
    ck_assert(!trace_state_is_fine(str_n(much, 259)));
    /* 32 members, and no more */
    size_t n = 0;
    for (int i = 0; i < 33; i++) {
        ck_assert(i == 0 || trace_state_is_fine(str_n(much, n)));
        n += (size_t)snprintf(much + n, sizeof much - n, "%sk%d=1", n ? "," : "", i);
    }
    ck_assert(!trace_state_is_fine(str_n(much, n)));
}
END_TEST

UNIT_MAIN("trace", a_traceparent_is_read_and_written, what_is_none, states)
