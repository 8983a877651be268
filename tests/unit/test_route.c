/* Classification of upstream failures, what they say of waiting. */
#include "route/taxonomy.h"
#include <stdio.h>
#include <check.h>
#include <stdlib.h>

#define NOW 1767225600000 /* 2026-01-01T00:00:00Z */

START_TEST(classifies_by_body_before_status)
{
    static const struct {
        int status;
        const char *code, *message;
        enum fault fault;
        bool is_retryable;
    } cases[] = {
        {200, "", "", FAULT_NONE, false},
        {400, "", "bad", FAULT_CLIENT, false},
        {401, "", "no", FAULT_AUTH, true},
        {402, "", "pay", FAULT_QUOTA_MONEY, true},
        {403, "", "no", FAULT_AUTH, true},
        {404, "", "no", FAULT_MODEL, true},
        {404, "model_not_found", "", FAULT_MODEL, true},
        {429, "", "slow down", FAULT_QUOTA_WINDOW, true},
        {429, "insufficient_quota", "", FAULT_QUOTA_MONEY, true},
        {400, "", "Your credit balance is too low", FAULT_QUOTA_MONEY, true},
        {400, "content_policy_violation", "", FAULT_POLICY, false},
        {529, "", "", FAULT_OVERLOAD, true},
        {503, "", "", FAULT_OVERLOAD, true},
        {500, "", "", FAULT_SERVER, true},
        {302, "", "", FAULT_SERVER, true},
        /* another one may take what this one refuses: no breaker hears of it where a caller can bring it about */
        {405, "", "no", FAULT_UNFIT, true},
        {406, "", "no", FAULT_OVERLOAD, true},
        {407, "", "no", FAULT_SERVER, true},
        {408, "", "no", FAULT_OVERLOAD, true},
        {409, "", "no", FAULT_UNFIT, true},
        {410, "", "no", FAULT_MODEL, true},
        {413, "", "too large", FAULT_UNFIT, true},
        {415, "", "no", FAULT_UNFIT, true},
        {421, "", "no", FAULT_SERVER, true},
        {422, "", "bad", FAULT_CLIENT, false},
        {422, "insufficient_quota", "", FAULT_QUOTA_MONEY, true},
        {423, "", "no", FAULT_OVERLOAD, true},
        {424, "", "no", FAULT_SERVER, true},
        {425, "", "no", FAULT_OVERLOAD, true},
        {426, "", "no", FAULT_SERVER, true},
        {431, "", "no", FAULT_UNFIT, true},
        {451, "", "no", FAULT_UNFIT, true},
        {501, "", "no", FAULT_SERVER, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {.kind = cases[i].status == 200 ? ERR_NONE : ERR_UPSTREAM,
                        .retry_after_ms = -1};
        (void)snprintf(e.code, sizeof e.code, "%s", cases[i].code);
        (void)snprintf(e.message, sizeof e.message, "%s", cases[i].message);
        enum fault f = fault_of_reply(cases[i].status, &e);
        ck_assert_msg(f == cases[i].fault, "case %zu is %s", i, fault_name(f));
        ck_assert_int_eq(fault_is_retryable(f), cases[i].is_retryable);
        ck_assert_int_eq(fault_is_its_own(f), cases[i].is_retryable && f != FAULT_UNFIT);
    }
}
END_TEST

START_TEST(reads_every_dialect_of_waiting)
{
    static const struct {
        struct http_header h[4];
        size_t n;
        const char *body;
        int64_t ms;
    } cases[] = {
        {{{STR_INIT("retry-after"), STR_INIT("7")}}, 1, "", 7000},
        {{{STR_INIT("retry-after-ms"), STR_INIT("250")}, {STR_INIT("retry-after"), STR_INIT("1")}},
         2,
         "",
         250},
        {{{STR_INIT("retry-after"), STR_INIT("Thu, 01 Jan 2026 00:00:30 GMT")}}, 1, "", 30000},
        {{{STR_INIT("retry-after"), STR_INIT("Wed, 31 Dec 2025 00:00:00 GMT")}}, 1, "", 0},
        {{{STR_INIT("x-ratelimit-reset-requests"), STR_INIT("1m2.5s")}}, 1, "", 62500},
        {{{STR_INIT("x-ratelimit-reset-tokens"), STR_INIT("120ms")}}, 1, "", 120},
        {{{STR_INIT("x-ratelimit-reset-tokens"), STR_INIT("9s")},
          {STR_INIT("x-ratelimit-remaining-tokens"), STR_INIT("100")},
          {STR_INIT("x-ratelimit-reset-requests"), STR_INIT("2s")},
          {STR_INIT("x-ratelimit-remaining-requests"), STR_INIT("0")}},
         4,
         "",
         2000},
        {{{STR_INIT("anthropic-ratelimit-requests-reset"), STR_INIT("2026-01-01T00:01:00Z")},
          {STR_INIT("anthropic-ratelimit-requests-remaining"), STR_INIT("0")}},
         2,
         "",
         60000},
        {{{STR_INIT("x-ratelimit-reset"), STR_INIT("1767225610000")}}, 1, "", 10000},
        {{{STR_INIT("x-ratelimit-reset"), STR_INIT("1767225605")}}, 1, "", 5000},
        {{{STR_INIT(""), STR_INIT("")}},
         0,
         "{\"error\":{\"details\":[{\"retryDelay\": \"13s\"}]}}",
         13000},
        {{{STR_INIT("retry-after"), STR_INIT("soon")}}, 1, "", -1},
        {{{STR_INIT("retry-after"), STR_INIT("-5")}}, 1, "", -1},
        {{{STR_INIT("retry-after-ms"), STR_INIT("9223372036854775807")}},
         1,
         "",
         366LL * 86400 * 1000},
        {{{STR_INIT("retry-after"), STR_INIT("9223372036854775807")}}, 1, "", 366LL * 86400 * 1000},
        /* more than a number holds is a long time, not none */
        {{{STR_INIT("retry-after"), STR_INIT("99999999999999999999")}},
         1,
         "",
         366LL * 86400 * 1000},
        {{{STR_INIT("retry-after-ms"), STR_INIT("99999999999999999999")},
          {STR_INIT("retry-after"), STR_INIT("1")}},
         2,
         "",
         366LL * 86400 * 1000},
        {{{STR_INIT("retry-after-ms"), STR_INIT("9999999999999999999x")},
          {STR_INIT("retry-after"), STR_INIT("1")}},
         2,
         "",
         1000},
        {{{STR_INIT("x-ratelimit-reset-tokens"), STR_INIT("99999999999999999999h")}},
         1,
         "",
         366LL * 86400 * 1000},
        {{{STR_INIT("retry-after"), STR_INIT("-99999999999999999999")}}, 1, "", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = fault_retry_after_ms(cases[i].h, cases[i].n, str_of(cases[i].body), NOW);
        ck_assert_msg(ms == cases[i].ms, "case %zu gave %lld", i, (long long)ms);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *t = tcase_create("all");
    tcase_add_test(t, classifies_by_body_before_status);
    tcase_add_test(t, reads_every_dialect_of_waiting);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
