/* The table of surfaces: sound rows, whose paths they are, and their words for the mechanism's refusals. */
#include "api/surface/surface.h"
#include <check.h>
#include <stdlib.h>

START_TEST(every_surface_is_sound)
{
    for (size_t i = 0; i < surface_count(); i++) {
        const struct surface_def *s = surface_of((enum surface)i);
        ck_assert_msg(s->name && s->title && s->text && s->error_schema, "surface %zu", i);
        ck_assert_msg((s->wire != WIRE_NONE) != (s->write_error != NULL), "%s", s->name);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(s->name, surface_of((enum surface)k)->name);
            ck_assert_str_ne(s->title, surface_of((enum surface)k)->title);
        }
    }
}
END_TEST

START_TEST(paths_without_a_row_belong_to_a_surface)
{
    static const struct {
        const char *path;
        enum surface surface;
    } cases[] = {
        {"/admin", SURFACE_ROSETTA},
        {"/admin/", SURFACE_ROSETTA},
        {"/admin/api/nothing", SURFACE_ROSETTA},
        {"/administer", SURFACE_OPENAI},
        {"/v1/messages/x", SURFACE_ANTHROPIC},
        {"/v1/messages", SURFACE_ANTHROPIC},
        {"/v1beta/models/m:x", SURFACE_GOOGLE},
        {"/v1/models/m:generate", SURFACE_GOOGLE},
        {"/api/nothing", SURFACE_OLLAMA},
        {"/v1/nothing", SURFACE_OPENAI},
        {"/", SURFACE_OPENAI},
        {"", SURFACE_OPENAI},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(surface_of_path(STR("/api/x"), str_of(cases[i].path)) == cases[i].surface,
                      "%s", cases[i].path);
    ck_assert_int_eq(surface_of_path(STR("/anthropic/v1/x"), STR("/v1/x")), SURFACE_ANTHROPIC);
    ck_assert_int_eq(surface_of_path(STR("/genai"), STR("/genai")), SURFACE_GOOGLE);
    ck_assert_int_eq(surface_of_path(STR("/genaix"), STR("/genaix")), SURFACE_OPENAI);
}
END_TEST

static const char *phrase(enum surface s, enum err_kind kind, const char *code,
                          const char *bad_json)
{
    static struct err e;
    e = (struct err)ERR_INIT;
    err_set(&e, kind, code, "own words");
    surface_phrase(surface_of(s), bad_json, 123, &e);
    return e.message;
}

START_TEST(words_of_surfaces)
{
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_UNAUTHENTICATED, "x", NULL),
                     "Admin authentication required");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_NOT_FOUND, "x", NULL), "Not Found");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_METHOD, "x", NULL), "Method Not Allowed");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_INPUT, "invalid_json", NULL), "Invalid JSON body");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_INPUT, "invalid_json", "Invalid JSON"),
                     "Invalid JSON");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_INPUT, "invalid_value", NULL), "own words");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_TOO_LARGE, "x", NULL),
                     "Request body too large (123 bytes)");
    ck_assert_str_eq(phrase(SURFACE_ROSETTA, ERR_CONFLICT, "x", NULL), "own words");
    for (unsigned k = ERR_NONE + 1; k <= ERR_TIMEOUT; k++)
        ck_assert_str_eq(phrase(SURFACE_SLUICE, (enum err_kind)k, "invalid_json", NULL),
                         "own words");
}
END_TEST

START_TEST(the_envelope_says_what_was_saved)
{
    struct buf b;
    struct err e = ERR_INIT;
    buf_init(&b, 4096);
    err_set(&e, ERR_INPUT, "x", "a \"quoted\" \xc3\xa9 word");
    surface_of(SURFACE_ROSETTA)->write_error(&e, STR("req_1"), &b);
    ck_assert(str_is(buf_str(&b), "{\"error\":\"a \\\"quoted\\\" \xc3\xa9 word\"}"));
    buf_clear(&b);
    err_set(&e, ERR_INTERNAL, "saved_not_loaded", "no");
    surface_of(SURFACE_ROSETTA)->write_error(&e, STR("req_1"), &b);
    ck_assert(str_is(buf_str(&b), "{\"error\":\"no\",\"saved\":true,\"reloaded\":false}"));
    buf_done(&b);
}
END_TEST

static const char *omni(enum surface s, enum err_kind kind, const char *code, const char *field)
{
    static char text[1024];
    struct buf b;
    struct err e = ERR_INIT;
    err_set(&e, kind, code, "words");
    (void)snprintf(e.field, sizeof e.field, "%s", field);
    surface_of(s)->adapt(&e);
    buf_init(&b, sizeof text);
    surface_of(s)->write_error(&e, STR("r-1"), &b);
    (void)snprintf(text, sizeof text, "%d " STR_FMT, err_status(&e), STR_ARG(buf_str(&b)));
    buf_done(&b);
    return text;
}

START_TEST(envelopes_of_omniroute)
{
    static const struct {
        enum err_kind kind;
        const char *code, *field, *plain, *typed;
    } cases[] = {
        {ERR_NOT_FOUND, "not_found", "", "404 {\"error\":\"words\"}",
         "404 {\"error\":{\"message\":\"words\",\"type\":\"not_found\"},\"requestId\":\"r-1\"}"},
        {ERR_CONFLICT, "already_exists", "", "400 {\"error\":\"words\"}",
         "400 {\"error\":{\"message\":\"words\",\"type\":\"invalid_request\"},"
         "\"requestId\":\"r-1\"}"},
        {ERR_CONFLICT, "read_only", "", "409 {\"error\":\"words\"}",
         "409 {\"error\":{\"message\":\"words\",\"type\":\"conflict\"},\"requestId\":\"r-1\"}"},
        {ERR_INPUT, "invalid_value", "a.b",
         "400 {\"error\":{\"message\":\"Invalid request\",\"details\":[{\"field\":\"a.b\","
         "\"message\":\"words\"}]}}",
         "400 {\"error\":{\"message\":\"Invalid request\",\"type\":\"invalid_request\","
         "\"details\":[{\"field\":\"a.b\",\"message\":\"words\"}]},\"requestId\":\"r-1\"}"},
        {ERR_INPUT, "invalid_json", "",
         "400 {\"error\":{\"message\":\"Invalid request\",\"details\":[{\"field\":\"body\","
         "\"message\":\"words\"}]}}",
         NULL},
        {ERR_FORBIDDEN, "insufficient_scope", "",
         "401 {\"error\":{\"code\":\"AUTH_001\",\"message\":\"words\",\"correlation_id\":\"r-1\"}}",
         "401 "
         "{\"error\":{\"code\":\"AUTH_001\",\"message\":\"words\",\"correlation_id\":\"r-1\"}}"},
        {ERR_FORBIDDEN, "csrf", "", "403 {\"error\":\"words\"}", NULL},
        {ERR_TOO_LARGE, "x", "",
         "413 {\"error\":{\"message\":\"words\",\"type\":\"payload_too_large\","
         "\"code\":\"PAYLOAD_TOO_LARGE\"}}",
         NULL},
        {ERR_OVERLOADED, "busy", "",
         "503 {\"error\":{\"code\":\"SERVICE_UNAVAILABLE\",\"message\":\"words\","
         "\"correlation_id\":\"r-1\"}}",
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_str_eq(omni(SURFACE_OMNIROUTE, cases[i].kind, cases[i].code, cases[i].field),
                         cases[i].plain);
        if (cases[i].typed)
            ck_assert_str_eq(
                omni(SURFACE_OMNIROUTE_TYPED, cases[i].kind, cases[i].code, cases[i].field),
                cases[i].typed);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("surface");
    TCase *t = tcase_create("all");
    tcase_add_test(t, every_surface_is_sound);
    tcase_add_test(t, paths_without_a_row_belong_to_a_surface);
    tcase_add_test(t, words_of_surfaces);
    tcase_add_test(t, the_envelope_says_what_was_saved);
    tcase_add_test(t, envelopes_of_omniroute);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
