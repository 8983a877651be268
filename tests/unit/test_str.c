/* Views of bytes. */
#include "base/arena.h"
#include "unit/unit.h"
#include <limits.h>

START_TEST(views_compare_and_cut)
{
    struct str head;
    ck_assert(str_eq(STR_NONE, STR("")));
    ck_assert(!str_eq(STR("a"), STR("b")));
    ck_assert(str_is(STR("ab"), "ab") && !str_is(STR("ab"), "abc"));
    ck_assert(str_starts(STR("abc"), STR("ab")) && str_starts(STR_NONE, STR_NONE) &&
              !str_starts(STR("a"), STR("ab")));
    ck_assert(str_ends(STR("abc"), STR("bc")) && !str_ends(STR("c"), STR("bc")));
    ck_assert(str_eq_nocase(STR("Content-TYPE@["), STR("content-type@[")) &&
              !str_eq_nocase(STR("@"), STR("`")));
    ck_assert(str_starts_nocase(STR("Bearer x"), STR("bearer ")));
    ck_assert(str_contains(STR("abc"), STR("bc")) && str_contains(STR("a"), STR_NONE) &&
              !str_contains(STR_NONE, STR("a")));
    ck_assert_uint_eq(str_index(STR("abc"), 'c'), 2);
    ck_assert_uint_eq(str_index(STR("abc"), 'x'), 3);
    ck_assert_uint_eq(str_index(STR_NONE, 'x'), 0);
    check_text(str_trim(STR(" \t\r\na b\n ")), "a b");
    check_text(str_trim(STR("  ")), "");
    check_text(str_cut(STR("a,b,c"), ',', &head), "b,c");
    check_text(head, "a");
    check_text(str_cut(STR("abc"), ',', &head), "");
    check_text(head, "abc");
    check_text(str_skip(STR("abc"), 5), "");
    check_text(str_first(STR("abc"), 5), "abc");
    ck_assert_uint_eq(str_of(NULL).n, 0);
}
END_TEST

START_TEST(integers_are_whole_and_bounded)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1x", false, 0},
        {"1.0", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 77;
        ck_assert_msg(str_to_int(str_of(cases[i].text), &v) == cases[i].ok, "%s", cases[i].text);
        ck_assert_int_eq(v, cases[i].ok ? cases[i].value : 77);
    }
}
END_TEST

START_TEST(ill_formed_utf8_is_replaced_by_maximal_subparts)
{
    static const struct {
        struct str in, out; /* U for U+FFFD */
    } cases[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("abc"), STR_INIT("abc")},
        {STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf"),
         STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf")},
        {STR_INIT("\x80"), STR_INIT("U")},
        {STR_INIT("a\xff\xfe"
                  "b"),
         STR_INIT("aUUb")},
        {STR_INIT("\xc0\x80"), STR_INIT("UU")},
        {STR_INIT("\xe0\x80\x80"), STR_INIT("UUU")},
        {STR_INIT("\xe2\x82"), STR_INIT("U")},
        {STR_INIT("\xe2\x82z"), STR_INIT("Uz")},
        {STR_INIT("\xf0\x9f\x98"), STR_INIT("U")},
        {STR_INIT("\xf0\x9f\x98\xf0\x9f\x98\x80"), STR_INIT("U\xf0\x9f\x98\x80")},
        {STR_INIT("\xed\xa0\x80"), STR_INIT("UUU")},
        {STR_INIT("\xf4\x90\x80\x80"), STR_INIT("UUUU")},
        /* Unicode 15, table 3-11 */
        {STR_INIT("a\xf1\x80\x80\xe1\x80\xc2"
                  "b\x80"
                  "c\x80\xbf"
                  "d"),
         STR_INIT("aUUUbUcUUd")},
    };
    struct arena *a = arena_new();
    for (size_t pad = 0; pad < 34; pad += 11) { /* the block loop sees it at other places */
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            char in[200], out[200];
            size_t n = pad;
            memset(in, 'x', pad);
            memset(out, 'x', pad);
            memcpy(in + pad, cases[i].in.p, cases[i].in.n);
            for (size_t k = 0; k < cases[i].out.n; k++) {
                if (cases[i].out.p[k] == 'U') {
                    memcpy(out + n, "\xef\xbf\xbd", 3);
                    n += 3;
                } else {
                    out[n++] = cases[i].out.p[k];
                }
            }
            struct str s = str_n(in, pad + cases[i].in.n), fixed = str_fix_utf8(a, s);
            check_str(fixed, str_n(out, n));
            ck_assert_int_eq(str_valid_utf8(s), str_eq(s, fixed));
            ck_assert(str_valid_utf8(fixed));
            if (str_valid_utf8(s))
                ck_assert(fixed.p == s.p);
        }
    }
    arena_free(a);
}
END_TEST

/* As many sequences of two and of three bytes are well-formed as there are characters that need them. */
START_TEST(exactly_the_characters_are_well_formed)
{
    unsigned two = 0, three = 0;
    char text[] = "abcdefgh"; /* ASCII behind, so that the quick path is taken */
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        text[0] = (char)lead;
        for (unsigned second = 0x80; second < 0x100; second++) {
            text[1] = (char)second;
            text[2] = 'c';
            two += str_valid_utf8(str_n(text, 8));
            for (unsigned third = 0x80; third < 0x100; third++) {
                text[2] = (char)third;
                three += str_valid_utf8(str_n(text, 8));
            }
        }
    }
    ck_assert_uint_eq(two, 0x800 - 0x80);
    ck_assert_uint_eq(three, 0x10000 - 0x800 - 0x800); /* without the surrogates */
}
END_TEST

START_TEST(edit_distance_counts_slips)
{
    ck_assert_uint_eq(str_edit_distance(STR("model"), STR("model")), 0);
    ck_assert_uint_eq(str_edit_distance(STR("model"), STR("modle")), 2);
    ck_assert_uint_eq(str_edit_distance(STR("kitten"), STR("sitting")), 3);
    ck_assert_uint_eq(str_edit_distance(STR("abc"), STR_NONE), 3);
    ck_assert_uint_eq(str_edit_distance(STR_NONE, STR("abc")), 3);
    char a[100], b[100];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    ck_assert_uint_eq(str_edit_distance(str_n(a, 100), str_n(b, 100)), 64);
}
END_TEST

START_TEST(copies_live_in_the_arena)
{
    struct arena *a = arena_new();
    char long_text[1000];
    memset(long_text, 'x', sizeof long_text);
    struct str s = str_dup(a, STR("a\0b"));
    ck_assert(s.n == 3 && s.p[3] == 0 && memcmp(s.p, "a\0b", 3) == 0);
    ck_assert(str_dup(a, STR_NONE).p[0] == 0);
    ck_assert_str_eq(str_z(a, STR("z")), "z");
    check_text(str_fmt(a, "%d-%s", 5, "x"), "5-x");
    s = str_fmt(a, STR_FMT "!", STR_ARG(str_n(long_text, sizeof long_text)));
    ck_assert(s.n == 1001 && s.p[1000] == '!' && s.p[1001] == 0);
    check_text(str_lower(a, STR("AbC-\xc3\x89")), "abc-\xc3\x89");
    arena_free(a);
}
END_TEST

START_TEST(words_are_read_in_both_directions)
{
    static const struct word words[] = {{"stop", 1}, {"end", 1}, {"length", 2}, {0}};
    ck_assert_int_eq(word_value(words, STR("end"), -1), 1);
    ck_assert_int_eq(word_value(words, STR("STOP"), -1), -1);
    ck_assert_str_eq(word_text(words, 1, "?"), "stop");
    ck_assert_str_eq(word_text(words, 9, "?"), "?");
}
END_TEST

UNIT_MAIN("str", views_compare_and_cut, integers_are_whole_and_bounded,
          ill_formed_utf8_is_replaced_by_maximal_subparts, exactly_the_characters_are_well_formed,
          edit_distance_counts_slips, copies_live_in_the_arena, words_are_read_in_both_directions)
