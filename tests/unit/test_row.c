/* Rows of texts that resemble each other: every text reads as it does alone. */
#include "json/json.h"
#include "unit/unit.h"

static void check_row(const struct str *texts, size_t n)
{
    struct arena *a = arena_new(), *scratch = arena_new(), *alone = arena_new();
    struct json_row *row = json_row_new(a);
    for (size_t i = 0; i < n; i++) {
        struct err e = ERR_INIT, wanted_e = ERR_INIT;
        yyjson_val *got = NULL, *wanted = NULL;
        bool is_wanted = json_parse(alone, texts[i], 0, &wanted, &wanted_e);
        bool is_read = json_row_parse(row, scratch, texts[i], &got, &e);
        ck_assert_msg(is_read == is_wanted, "text %zu", i);
        if (is_read)
            check_str(json_text(scratch, got), json_text(alone, wanted));
        else
            ck_assert_str_eq(e.message, wanted_e.message);
        arena_reset(scratch);
        arena_reset(alone);
    }
    arena_free(alone);
    arena_free(scratch);
    arena_free(a);
}
#define CHECK_ROW(...)                            \
    do {                                          \
        const struct str texts[] = {__VA_ARGS__}; \
        check_row(texts, ARRAY_LEN(texts));       \
    } while (0)

START_TEST(texts_that_differ_in_values_are_read)
{
    CHECK_ROW(
        STR("{\"n\":1,\"d\":{\"t\":\"one\"},\"e\":null}"),
        STR("{\"n\":2,\"d\":{\"t\":\"two\"},\"e\":null}"),
        STR("{\"n\":13,\"d\":{\"t\":\"\"},\"e\":null}"),
        STR("{\"n\":140,\"d\":{\"t\":\"a\\n\\u00e9\\ud83d\\ude00 \xc3\xa9\\\"\"},\"e\":null}"),
        STR("{\"n\":9223372036854775808,\"d\":{\"t\":\"},:\"},\"e\":null}"),
        STR("{\"n\":0,\"d\":{\"t\":\"zero\"},\"e\":null}"),
        STR("{\"n\":1,\"d\":{\"t\":\"one\"},\"e\":null}"));
}
END_TEST

START_TEST(texts_that_fall_out_of_the_row_are_read)
{
    CHECK_ROW(
        STR("{\"t\":\"a\",\"n\":1}"), STR("{\"t\":\"b\",\"n\":2}"), STR("{\"t\":\"c\",\"n\":2.5}"),
        STR("{\"t\":\"c\",\"n\":-2}"), STR("{\"t\":\"c\",\"n\":1e3}"), STR("{\"t\":\"c\",\"n\":2}"),
        STR("{\"t\":\"d\",\"n\":3}"), STR("{\"t\":\"e\",\"n\":\"4\"}"), STR("{\"t\":null,\"n\":4}"),
        STR("{\"t\":\"f\",\"n\":5,\"x\":[]}"), STR("{\"t\":\"g\",\"n\":6,\"x\":{}}"),
        STR("{\"t\":\"h\",\"n\":7,\"x\":[1]}"), STR("[\"t\",\"h\",\"n\",7]"),
        STR("[\"u\",\"h\",\"n\",8]"), STR("\"h\""), STR("\"i\""), STR(" \"j\""),
        STR("\xef\xbb\xbf\"k\""), STR("12"), STR("13"), STR("true"), STR("false"));
}
END_TEST

START_TEST(names_of_members_are_no_values)
{
    CHECK_ROW(STR("{\"a\":\"x\"}"), STR("{\"b\" :\"x\"}"), STR("{\"c\" :\"x\"}"),
              STR("{\"d\" :\"y\"}"), STR("[\"a\",{\"b\":1}]"), STR("[\"b\",{\"c\":1}]"),
              STR("[\"c\",{\"d\":1}]"));
}
END_TEST

START_TEST(ill_formed_texts_are_refused_also_in_a_row)
{
    CHECK_ROW(STR("{\"t\":\"a\",\"n\":1}"), STR("{\"t\":\"b\",\"n\":2}"),
              STR("{\"t\":\"\xff\",\"n\":2}"), STR("{\"t\":\"\\ud800\",\"n\":2}"),
              STR("{\"t\":\"a\nb\",\"n\":2}"), STR("{\"t\":\"\\x\",\"n\":2}"),
              STR("{\"t\":\"c\",\"n\":02}"), STR("{\"t\":\"c\",\"n\":}"),
              STR("{\"t\":\"c\",\"n\":2"), STR("{\"t\":\"c"), STR("{\"t\":\"c\",\"n\":2}}"),
              STR(""), STR("{\"t\":\"d\",\"n\":3}"), STR("{\"t\":\"e\",\"n\":4}"));
}
END_TEST

START_TEST(every_cut_of_a_fitting_text_is_refused)
{
    struct str texts[100] = {STR("{\"a\":[\"x\",1],\"b\":{\"c\":\"y\"}}"),
                             STR("{\"a\":[\"z\",2],\"b\":{\"c\":\"w\"}}")};
    struct str whole = STR("{\"a\":[\"u\",3],\"b\":{\"c\":\"v\"}}");
    size_t n = 2;
    for (size_t cut = 0; cut <= whole.n; cut++) {
        texts[n++] = str_first(whole, cut);
        texts[n++] = whole;
    }
    check_row(texts, n);
}
END_TEST

START_TEST(sizes_beyond_the_form_are_read)
{
    static char long_text[3][4000];
    struct str texts[12];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        memset(long_text[i], 'a' + (int)i, sizeof long_text[i]);
        memcpy(long_text[i], "[\"", 2);
        memcpy(long_text[i] + sizeof long_text[i] - 2, "\"]", 2);
        texts[n++] = STR("[\"short\"]");
        texts[n++] = str_n(long_text[i], sizeof long_text[i]);
    }
    texts[n++] = STR("[1,2,3,4,5,6]");
    texts[n++] = STR("[2,3,4,5,6,7]");
    texts[n++] = STR("[2,3,4,5,6,8]");
    texts[n++] = STR("[2,3,4,5,6,9]");
    check_row(texts, n);
}
END_TEST

START_TEST(a_string_that_fits_is_known_as_it_was_written)
{
    struct arena *a = arena_new(), *scratch = arena_new();
    struct json_row *r = json_row_new(a);
    struct err e = ERR_INIT;
    yyjson_val *root;
    struct str value = STR_NONE;
    const char *const texts[] = {"{\"n\":1,\"t\":\"a\"}", "{\"n\":2,\"t\":\"b\"}",
                                 "{\"n\":3,\"t\":\"\\u00e9\\n\"}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ck_assert(json_row_parse(r, scratch, str_of(texts[i]), &root, &e));
        value = json_get_str(root, "t");
        bool is_known = i == 2; /* the first two make the form */
        struct str raw = json_row_raw(r, value);
        ck_assert(is_known ? str_is(raw, "\\u00e9\\n") : raw.p == NULL);
        /* a part of it is not */
        ck_assert_ptr_null(json_row_raw(r, str_first(value, value.n - 1)).p);
    }
    ck_assert(str_is(value, "\xc3\xa9\n"));
    ck_assert(json_row_parse(r, scratch, STR("[]"), &root, &e));
    ck_assert_ptr_null(json_row_raw(r, value).p); /* another text is the last one */
    arena_free(a);
    arena_free(scratch);
}
END_TEST

UNIT_MAIN("row", a_string_that_fits_is_known_as_it_was_written,
          texts_that_differ_in_values_are_read, texts_that_fall_out_of_the_row_are_read,
          names_of_members_are_no_values, ill_formed_texts_are_refused_also_in_a_row,
          every_cut_of_a_fitting_text_is_refused, sizes_beyond_the_form_are_read)
