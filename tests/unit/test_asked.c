/* How many tokens a body is taken for: the long way round says the same. */
#include "relay/request.h"
#include "unit/unit.h"
#include <stdlib.h>

static int64_t by_the_letter(struct str body)
{
    size_t text = 0, run = 0;
    int64_t blobs = 0;
    for (size_t i = 0; i <= body.n; i++) {
        unsigned char c = i < body.n ? (unsigned char)body.p[i] : ' ';
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '+' || c == '/' || c == '=' || c == '-' || c == '_') {
            run++;
            continue;
        }
        if (run >= 512)
            blobs++;
        else
            text += run;
        run = 0;
        text++;
    }
    return (int64_t)(text / 4) + blobs * 1000;
}

START_TEST(input_is_counted_as_letter_by_letter)
{
    static char body[20000];
    unsigned seed = 7;
    for (int round = 0; round < 2000; round++) {
        size_t n = 0, most = (size_t)rand_r(&seed) % sizeof body;
        while (n < most) { /* runs about as long as what counts as a picture, and short ones */
            size_t run = rand_r(&seed) % 3 ? (size_t)rand_r(&seed) % 12
                                           : 500 + (size_t)rand_r(&seed) % 600;
            for (size_t i = 0; i < run && n < most; i++)
                body[n++] = 'Q';
            if (n < most)
                body[n++] = ' ';
        }
        ck_assert_int_eq(asked_input(str_n(body, n)), by_the_letter(str_n(body, n)));
    }
}
END_TEST

START_TEST(runs_at_the_edges)
{
    static char body[4096];
    memset(body, 'a', sizeof body);
    for (size_t n = 0; n < 1600; n++)
        ck_assert_int_eq(asked_input(str_n(body, n)), by_the_letter(str_n(body, n)));
    for (size_t gap = 0; gap < 1600; gap++) {
        body[gap] = '"';
        ck_assert_int_eq(asked_input(str_n(body, 1600)), by_the_letter(str_n(body, 1600)));
        body[gap] = 'a';
    }
}
END_TEST

/* What a prompt comes to at most: each byte of text may be a token, also of a word as long as a picture; what is sent as one is not text. */
START_TEST(no_text_is_denser_than_what_is_held_for)
{
    static char blob[3001], body[8000];
    memset(blob, 'Q', 3000);
    static const struct {
        const char *before;
        bool is_media;
    } rows[] = {{"{\"content\":\"", false},
                {"{\"content\":\"data: ", false},
                {"{\"image_url\":{\"url\":\"data:image/png;base64,", true},
                {"{\"source\":{\"type\":\"base64\",\"data\":\"", true},
                {"{\"inlineData\":{\"data\": \"", true},
                {"{\"images\":[\"", true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int n = snprintf(body, sizeof body, "%s%s\"}", rows[i].before, blob);
        int64_t text = n - 3000, most = asked_input_most(str_n(body, (size_t)n), 1);
        if (rows[i].is_media) {
            ck_assert_int_ge(most, text + 1000);
            ck_assert_int_lt(most, text + 1000 + 3 * 4096);
        } else {
            ck_assert_int_ge(most, n);
            ck_assert_int_lt(most, n + 100);
        }
    }
    ck_assert_int_ge(
        asked_input_most(STR("{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a/b\"}}"),
                         1),
        4096);
    ck_assert_int_lt(asked_input_most(STR("{\"content\":\"abcdefghijkl\"}"), 3), 30);
    ck_assert_int_eq(asked_images(STR("{\"max_tool_calls\":3}"), 7), 7);
    ck_assert_int_eq(
        asked_images(STR("{\"tools\":[{\"type\":\"image_generation\"}],\"max_tool_calls\":3}"), 7),
        3);
}
END_TEST

UNIT_MAIN("asked", no_text_is_denser_than_what_is_held_for, input_is_counted_as_letter_by_letter,
          runs_at_the_edges)
