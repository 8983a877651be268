/* Urls, percent coding, query parameters. */
#include "http/http.h"
#include <check.h>
#include <stdlib.h>

static struct arena *a;

static void setup(void)
{
    a = arena_new();
}

static void teardown(void)
{
    arena_free(a);
}

START_TEST(takes_urls_apart)
{
    static const struct {
        const char *text, *scheme, *user, *password, *host;
        unsigned port;
        const char *path, *query;
    } rows[] = {
        {"http://example.com", "http", "", "", "example.com", 80, "/", ""},
        {"HTTPS://Example.COM/v1?x=1#f", "https", "", "", "example.com", 443, "/v1", "x=1"},
        {"http://127.0.0.1:8080/a/b?c", "http", "", "", "127.0.0.1", 8080, "/a/b", "c"},
        {"http://[::1]:99/", "http", "", "", "::1", 99, "/", ""},
        {"http://[2001:db8::1]", "http", "", "", "2001:db8::1", 80, "/", ""},
        {"socks5://u%40x:p%3Aq@proxy", "socks5", "u@x", "p:q", "proxy", 1080, "/", ""},
        {"socks5h://proxy:9050", "socks5h", "", "", "proxy", 9050, "/", ""},
        {"http://a@b@host/", "http", "a@b", "", "host", 80, "/", ""},
        {"http://host?q=/x", "http", "", "", "host", 80, "/", "q=/x"},
        {"http://host:/x", "http", "", "", "host", 80, "/x", ""},
        {"http://my_host-1.local/x", "http", "", "", "my_host-1.local", 80, "/x", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url u;
        struct err e = ERR_INIT;
        ck_assert_msg(url_parse(a, str_of(rows[i].text), &u, &e), "%s: %s", rows[i].text,
                      e.message);
        ck_assert_msg(
            str_eq(u.scheme, str_of(rows[i].scheme)) && str_eq(u.user, str_of(rows[i].user)) &&
                str_eq(u.password, str_of(rows[i].password)) &&
                str_eq(u.host, str_of(rows[i].host)) && u.port == rows[i].port &&
                str_eq(u.path, str_of(rows[i].path)) && str_eq(u.query, str_of(rows[i].query)),
            "%s", rows[i].text);
    }
}
END_TEST

START_TEST(refuses_what_is_no_url)
{
    static const char *const rows[] = {
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user@/",
        "http://host:0/",
        "http://host:65536/",
        "http://host:-1/",
        "http://host:80x/",
        "http://host:99999999999999999999/",
        "http://[::1",
        "http://[::1]x/",
        "http://[evil.example]/",
        "http://ho st/",
        "http://host/a b",
        "http://host\r\nx: y/",
        "http://host\\@evil/",
        "http://ho%73t/",
        "http://a:b:c/",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url u;
        struct err e = ERR_INIT;
        ck_assert_msg(!url_parse(a, str_of(rows[i]), &u, &e), "%s", rows[i]);
        ck_assert_int_eq(e.kind, ERR_INPUT);
        ck_assert_int_gt(strlen(e.message), 0);
    }
}
END_TEST

START_TEST(decodes_and_encodes)
{
    static const struct {
        const char *raw, *decoded;
    } rows[] = {
        {"a%20b", "a b"},
        {"a+b", "a+b"},
        {"%", "%"},
        {"%4", "%4"},
        {"%zz", "%zz"},
        {"%41%4a", "AJ"},
        {"%e2%82%ac", "\xe2\x82\xac"},
        {"%%41", "%A"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(str_eq(url_decode(a, str_of(rows[i].raw)), str_of(rows[i].decoded)), "%s",
                      rows[i].raw);
    ck_assert(str_is(url_encode(a, STR("a b/\xc3\xa9-._~Z9")), "a%20b%2F%C3%A9-._~Z9"));
    char every[256];
    for (int i = 0; i < 256; i++)
        every[i] = (char)i;
    struct str all = str_n(every, sizeof every);
    ck_assert(str_eq(url_decode(a, url_encode(a, all)), all));
}
END_TEST

START_TEST(finds_parameters)
{
    struct str q = STR("key=a%20b&empty=&flag&plus=x+y&%6bey2=2&key=second&=odd");
    ck_assert(str_is(query_get(a, q, "key"), "a b"));
    ck_assert(str_is(query_get(a, q, "plus"), "x y"));
    ck_assert(str_is(query_get(a, q, "key2"), "2"));
    struct str empty = query_get(a, q, "empty"), flag = query_get(a, q, "flag");
    ck_assert(empty.p != NULL && empty.n == 0);
    ck_assert(flag.p != NULL && flag.n == 0);
    ck_assert_ptr_null(query_get(a, q, "absent").p);
    ck_assert_ptr_null(query_get(a, STR_NONE, "key").p);
}
END_TEST

START_TEST(takes_parameters_out)
{
    ck_assert(
        str_is(query_without(a, STR("alt=sse&key=s3cret&x=1&k%65y=again"), "key"), "alt=sse&x=1"));
    ck_assert(str_is(query_without(a, STR("key=s3cret"), "key"), ""));
    ck_assert(str_is(query_without(a, STR("keys=1&mykey=2"), "key"), "keys=1&mykey=2"));
    ck_assert_uint_eq(query_without(a, STR_NONE, "key").n, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, takes_urls_apart);
    tcase_add_test(t, refuses_what_is_no_url);
    tcase_add_test(t, decodes_and_encodes);
    tcase_add_test(t, finds_parameters);
    tcase_add_test(t, takes_parameters_out);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
