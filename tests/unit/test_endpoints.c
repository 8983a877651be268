/* The endpoint table: sound rows, and the router that reads it. */
#include "api/endpoint.h"
#include "json/shape.h"
#include <check.h>
#include <stdlib.h>

static struct router *router;
static struct arena *arena;

static void set_up(void)
{
    router = router_new();
    arena = arena_new();
}

static void tear_down(void)
{
    router_free(router);
    arena_free(arena);
}

static const struct endpoint *find(enum http_method m, const char *path, struct route_params *p)
{
    uint32_t allowed;
    return router_find(router, arena, m, path_canonical(arena, str_of(path)), p, &allowed);
}

static bool is_post_of(const char *named, const struct endpoint *e)
{
    return strncmp(named, "POST ", 5) == 0 && e->method == HTTP_POST &&
           strcmp(named + 5, e->path) == 0;
}

START_TEST(every_row_is_sound)
{
    static const char *const open_paths[] = {
        "/healthz", "/health", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/docs.css",
        "/docs/docs.js", "/api/version", "/sluice/claim", "/sluice/claim.js",
        "/api/monitoring/health", "/api/settings/require-login",
        /* these ask for a password or a claim themselves, and are locked by address */
        "POST /sluice/v1/session", "POST /sluice/v1/claim", "POST /admin/api/login",
        "POST /api/auth/login", "POST /api/auth/logout", "/api/auth/status", "/api/init",
        "/admin/api/auth-check", "/", "/admin", "/admin/", "/dashboard", "/dashboard/",
        "/dashboard/{page*}"};
    const struct endpoint *e;
    for (size_t i = 0; (e = endpoint_at(i)) != NULL; i++) {
        ck_assert_msg(e->sentence && e->sentence[0], "%s has no sentence", e->path);
        ck_assert_msg((e->relay != NULL) + (e->on_loop != NULL) + (e->on_worker != NULL) == 1,
                      "%s has not one handler", e->path);
        ck_assert_msg(e->path[0] == '/', "%s", e->path);
        ck_assert_msg(!e->in || e->on_worker, "%s: only workers get a body decoded", e->path);
        ck_assert_msg(!e->on_worker || e->out || e->is_array || e->status == 204 || e->media ||
                          strcmp(e->path, "/metrics") == 0, /* which is no JSON */
                      "%s: its answer has no shape, so nothing can check it", e->path);
        const struct shape *shapes[] = {e->query, e->in, e->out};
        for (size_t k = 0; k < ARRAY_LEN(shapes); k++)
            if (shapes[k])
                ck_assert_msg(shape_check(shapes[k], arena).n == 0, "%s: " STR_FMT, e->path,
                              STR_ARG(shape_check(shapes[k], arena)));
        for (size_t k = 0; k < i; k++)
            ck_assert_msg(endpoint_at(k)->method != e->method ||
                              strcmp(endpoint_at(k)->path, e->path) != 0,
                          "%s stands twice", e->path);
        if (e->access == ACCESS_PUBLIC) {
            bool is_named = false;
            for (size_t k = 0; k < ARRAY_LEN(open_paths); k++)
                is_named |= strcmp(open_paths[k], e->path) == 0 ? e->method == HTTP_GET
                                                                : is_post_of(open_paths[k], e);
            ck_assert_msg(is_named, "%s is open to everybody", e->path);
        }
    }
    ck_assert_uint_gt(endpoint_index(endpoint_at(3)), 2);
}
END_TEST

START_TEST(paths_lead_to_their_rows)
{
    static const struct {
        enum http_method method;
        const char *path, *row, *param, *value;
    } cases[] = {
        {HTTP_POST, "/v1/chat/completions", "/v1/chat/completions", NULL, NULL},
        {HTTP_POST, "/chat/completions", "/v1/chat/completions", NULL, NULL},
        {HTTP_POST, "/api/v1/chat/completions", "/v1/chat/completions", NULL, NULL},
        {HTTP_POST, "/v1/v1/chat/completions", "/v1/chat/completions", NULL, NULL},
        {HTTP_POST, "/api/v1/v1/chat/completions", "/v1/chat/completions", NULL, NULL},
        {HTTP_POST, "/openai/v1/responses", "/v1/responses", NULL, NULL},
        {HTTP_POST, "/codex/anything/at/all", "/v1/responses", NULL, NULL},
        {HTTP_POST, "/responses", "/v1/responses", NULL, NULL},
        {HTTP_GET, "/responses/resp_1/input_items", "/v1/responses/{id}/input_items", "id",
         "resp_1"},
        {HTTP_GET, "/v1/responses/resp_1", "/v1/responses/{id}", "id", "resp_1"},
        {HTTP_POST, "/v1/responses/input_tokens", "/v1/responses/input_tokens", NULL, NULL},
        {HTTP_POST, "/anthropic/v1/messages", "/v1/messages", NULL, NULL},
        {HTTP_POST, "/v1beta/models/a/b/c:generateContent",
         "/v1beta/models/{model*}:generateContent", "model", "a/b/c"},
        {HTTP_POST, "/v1beta/models/a%2Fb:streamGenerateContent",
         "/v1beta/models/{model*}:streamGenerateContent", "model", "a/b"},
        {HTTP_POST, "/genai/v1beta/models/m:countTokens", "/v1beta/models/{model*}:countTokens",
         "model", "m"},
        {HTTP_POST, "/v1/models/m:generateContent", "/v1/models/{model*}:generateContent", "model",
         "m"},
        {HTTP_GET, "/v1/models/org/name:free", "/v1/models/{id*}", "id", "org/name:free"},
        {HTTP_GET, "/models", "/v1/models", NULL, NULL},
        {HTTP_GET, "/api/tags", "/api/tags", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_params p;
        const struct endpoint *e = find(cases[i].method, cases[i].path, &p);
        ck_assert_msg(e && strcmp(e->path, cases[i].row) == 0, "%s leads to %s", cases[i].path,
                      e ? e->path : "nothing");
        if (cases[i].param)
            ck_assert(str_eq(route_param(&p, cases[i].param), str_of(cases[i].value)));
    }
}
END_TEST

START_TEST(other_paths_and_methods_lead_nowhere)
{
    struct route_params p;
    uint32_t allowed;
    ck_assert_ptr_null(find(HTTP_POST, "/v1/chat/completions/", &p));
    ck_assert_ptr_null(find(HTTP_GET, "/v1/responses/", &p));
    ck_assert_ptr_null(find(HTTP_POST, "/v1beta/models/m:unknownVerb", &p));
    ck_assert_ptr_null(find(HTTP_GET, "/v1/responses/a/b", &p));
    ck_assert_ptr_null(
        router_find(router, arena, HTTP_GET, STR("/v1/chat/completions"), &p, &allowed));
    ck_assert_uint_eq(allowed, 1u << HTTP_POST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("endpoints");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, every_row_is_sound);
    tcase_add_test(t, paths_lead_to_their_rows);
    tcase_add_test(t, other_paths_and_methods_lead_nowhere);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
