/* unit.h - what the unit tests share: a runner over a list of tests and checks that show both sides. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H
#include "base/str.h"
#include <check.h>
#include <stdlib.h>

/* The text as it is; both sides are shown when they differ. */
#define check_str(actual, expected) \
    do { \
        struct str actual_ = (actual), expected_ = (expected); \
        ck_assert_msg(str_eq(actual_, expected_), "expected <" STR_FMT ">, got <" STR_FMT ">", \
                      STR_ARG(expected_), STR_ARG(actual_)); \
    } while (0)
#define check_text(actual, literal) check_str((actual), STR(literal))

#define UNIT_MAIN(name, ...) \
    int main(void) \
    { \
        const TTest *const tests[] = {__VA_ARGS__}; \
        Suite *suite = suite_create(name); \
        TCase *cases = tcase_create("all"); \
        for (size_t i = 0; i < ARRAY_LEN(tests); i++) \
            tcase_add_test(cases, tests[i]); \
        suite_add_tcase(suite, cases); \
        SRunner *runner = srunner_create(suite); \
        srunner_run_all(runner, CK_ENV); \
        int failed = srunner_ntests_failed(runner); \
        srunner_free(runner); \
        return failed ? EXIT_FAILURE : EXIT_SUCCESS; \
    }
#endif
