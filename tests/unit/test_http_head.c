/* Header text at every length and alignment, against the plain way to say it. */
#include "http/head.h"
#include "unit/unit.h"

START_TEST(names_are_lower_cased_at_every_place)
{
    char in[256 + 40], want[sizeof in];
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (char)i;
        want[i] = (char)(in[i] >= 'A' && in[i] <= 'Z' ? in[i] + 32 : in[i]);
    }
    struct head h;
    head_init(&h);
    for (size_t from = 0; from < 256; from++) {
        for (size_t n = 0; n <= 40; n += n < 10 ? 1 : 7) {
            head_clear(&h);
            ck_assert(head_name(&h, in + from, n, 1000));
            check_str(buf_str(&h.text), str_n(want + from, n));
        }
    }
    head_done(&h);
}
END_TEST

START_TEST(no_line_ends_in_a_value)
{
    char in[40], out[sizeof in];
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < sizeof in; at++) {
            bool is_bad = c == '\r' || c == '\n' || c == 0;
            memset(in, 'x', sizeof in);
            in[at] = (char)c;
            memset(out, '#', sizeof out);
            head_put_text(out, str_n(in, at + 1));
            ck_assert_mem_eq(out, in, at);
            ck_assert_int_eq((unsigned char)out[at], is_bad ? ' ' : c);
            for (size_t i = at + 1; i < sizeof out; i++)
                ck_assert_int_eq(out[i], '#');
        }
    }
}
END_TEST

UNIT_MAIN("http_head", names_are_lower_cased_at_every_place, no_line_ends_in_a_value)
