/* The small parts of base: map, clock, codec, secret, err. */
#include "base/clock.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/map.h"
#include "base/secret.h"
#include "unit/unit.h"
#include <errno.h>
#include <stdio.h>

START_TEST(a_map_holds_gives_and_forgets)
{
    enum {
        N = 3000
    };
    static char keys[N][16];
    static int values[N];
    struct map m;
    map_init(&m);
    ck_assert(map_get(&m, STR("x")) == NULL && !map_del(&m, STR("x")));
    for (int i = 0; i < N; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "k%d", i);
        map_set(&m, str_of(keys[i]), &values[i]);
    }
    ck_assert_uint_eq(m.n, N);
    map_set(&m, STR("k5"), &values[6]);
    ck_assert_uint_eq(m.n, N);
    ck_assert(map_get(&m, STR("k5")) == &values[6]);
    map_set(&m, str_of(keys[5]), &values[5]);
    for (int i = 0; i < N; i += 3)
        ck_assert(map_del(&m, str_of(keys[i])));
    for (int i = 0; i < N; i++)
        ck_assert(map_get(&m, str_of(keys[i])) == (i % 3 ? &values[i] : NULL));
    size_t seen = 0;
    struct str k;
    void *v;
    for (size_t i = 0; map_next(&m, &i, &k, &v);)
        seen += map_get(&m, k) == v;
    ck_assert_uint_eq(seen, N - N / 3);
    ck_assert_uint_eq(m.n, seen);
    map_set(&m, STR_NONE, &values[0]);
    ck_assert(map_get(&m, STR("")) == &values[0]);
    map_done(&m);
    ck_assert(map_get(&m, STR("k1")) == NULL);
}
END_TEST

START_TEST(hashes_depend_on_every_byte)
{
    char text[64] = {0};
    for (size_t n = 0; n < 40; n++) {
        uint64_t h = hash_bytes(text, n);
        ck_assert(h == hash_bytes(text, n));
        ck_assert(h != hash_bytes(text, n + 1));
        for (size_t i = 0; i < n; i++) {
            text[i] = 1;
            ck_assert(h != hash_bytes(text, n));
            text[i] = 0;
        }
    }
}
END_TEST

START_TEST(times_are_written)
{
    static const struct {
        int64_t ms;
        const char *rfc3339, *http;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777999, "1994-11-06T08:49:37.999Z", "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4107542400000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"},
        {-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT"},
        {1767225599001, "2025-12-31T23:59:59.001Z", "Wed, 31 Dec 2025 23:59:59 GMT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        int64_t back;
        buf_init(&b, 100);
        clock_rfc3339(&b, cases[i].ms);
        check_str(buf_str(&b), str_of(cases[i].rfc3339));
        ck_assert(clock_parse_rfc3339(buf_str(&b), &back) && back == cases[i].ms);
        buf_clear(&b);
        clock_http_date(&b, cases[i].ms);
        check_str(buf_str(&b), str_of(cases[i].http));
        ck_assert(clock_parse_http_date(buf_str(&b), &back));
        ck_assert(back == (cases[i].ms < 0 ? -1000 : cases[i].ms / 1000 * 1000));
        buf_done(&b);
    }
    struct buf b;
    buf_init(&b, 100);
    clock_rfc3339_ns(&b, 1234567890123456789);
    check_text(buf_str(&b), "2009-02-13T23:31:30.123456789Z");
    buf_done(&b);
}
END_TEST

START_TEST(every_day_of_four_centuries_comes_back)
{
    struct buf b;
    buf_init(&b, 100);
    for (int64_t day = -80000; day < 80000; day++) {
        int64_t back = 0;
        buf_clear(&b);
        clock_rfc3339(&b, day * 86400000 + 45296789);
        ck_assert(clock_parse_rfc3339(buf_str(&b), &back));
        ck_assert_int_eq(back, day * 86400000 + 45296789);
    }
    buf_done(&b);
}
END_TEST

START_TEST(times_are_read_in_every_dialect)
{
    static const struct {
        const char *text;
        bool is_http, ok;
        int64_t ms;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, true, 784111777000},
        {"Sunday, 06-Nov-94 08:49:37 GMT", true, true, 784111777000},
        {"Sun Nov  6 08:49:37 1994", true, true, 784111777000},
        {"Sun, 06 Nov 1994 08:49:37", true, false, 0},
        {"Sun, 6 Nov 1994 08:49:37 GMT", true, false, 0},
        {"Sun, 31 Feb 1994 08:49:37 GMT", true, false, 0},
        {"Sun, 06 Nov 1994 24:49:37 GMT", true, false, 0},
        {"Xxx, 06 Nov 1994 08:49:37 GMT", true, false, 0},
        {"", true, false, 0},
        {"120", true, false, 0},
        {"1994-11-06T08:49:37Z", false, true, 784111777000},
        {"1994-11-06t08:49:37.5z", false, true, 784111777500},
        {"1994-11-06T08:49:37.123999+01:30", false, true, 784106377123},
        {"1994-11-06 08:49:37-00:30", false, true, 784113577000},
        {"1994-11-06T08:49:37", false, false, 0},
        {"1994-11-06T08:49:37.Z", false, false, 0},
        {"1994-13-06T08:49:37Z", false, false, 0},
        {"2023-02-29T00:00:00Z", false, false, 0},
        {"1994-11-06T08:49:37+24:00", false, false, 0},
        {"1994-11-06T08:49:37Zx", false, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t ms = 0;
        struct str s = str_of(cases[i].text);
        bool ok = cases[i].is_http ? clock_parse_http_date(s, &ms) : clock_parse_rfc3339(s, &ms);
        ck_assert_msg(ok == cases[i].ok, "%s", cases[i].text);
        ck_assert_msg(!ok || ms == cases[i].ms, "%s: %lld", cases[i].text, (long long)ms);
    }
    uint64_t t = clock_mono_ns();
    ck_assert_uint_le(t, clock_mono_ns());
    ck_assert_int_gt(clock_wall_ms(), 1600000000000);
}
END_TEST

START_TEST(hashes_are_sha256)
{
    uint8_t out[SHA256_SIZE];
    char hex[64];
    sha256(STR("abc"), out);
    hex_encode(hex, out, sizeof out);
    check_text(str_n(hex, 64), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256(STR_NONE, out);
    hex_encode(hex, out, sizeof out);
    check_text(str_n(hex, 64), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    static char million[1000000]; /* FIPS 180-2: the long one, by the other implementation */
    memset(million, 'a', sizeof million);
    sha256(str_n(million, sizeof million), out);
    hex_encode(hex, out, sizeof out);
    check_text(str_n(hex, 64), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

START_TEST(bytes_have_text_forms)
{
    static const struct {
        const char *bytes, *base64;
    } rfc4648[] = {{"", ""},
                   {"f", "Zg=="},
                   {"fo", "Zm8="},
                   {"foo", "Zm9v"},
                   {"foob", "Zm9vYg=="},
                   {"fooba", "Zm9vYmE="},
                   {"foobar", "Zm9vYmFy"}};
    static const char *const broken[] = {"Z",     "Zg=",   "Zg===", "Zm8==", "Z=g=", "Zg==Zg==",
                                         "Zm9v=", "Zm9v!", "Zh==",  "Zm9=",  "====", "="};
    struct arena *a = arena_new();
    struct str out;
    char raw[8];
    for (size_t i = 0; i < ARRAY_LEN(rfc4648); i++) {
        check_str(base64_encode(a, str_of(rfc4648[i].bytes)), str_of(rfc4648[i].base64));
        ck_assert(base64_decode(a, str_of(rfc4648[i].base64), &out));
        check_str(out, str_of(rfc4648[i].bytes));
    }
    for (size_t i = 0; i < ARRAY_LEN(broken); i++)
        ck_assert_msg(!base64_decode(a, str_of(broken[i]), &out), "%s", broken[i]);
    ck_assert(base64_decode(a, STR("-_ +/\r\n"), &out) == true && out.n == 3 &&
              memcmp(out.p, "\xfb\xff\xbf", 3) == 0);
    ck_assert(base64_decode(a, STR("Zg"), &out) && str_is(out, "f"));
    ck_assert(hex_decode(raw, STR("00fFa5")) && memcmp(raw, "\x00\xff\xa5", 3) == 0);
    ck_assert(!hex_decode(raw, STR("0")) && !hex_decode(raw, STR("0g")) &&
              !hex_decode(raw, STR("@0")));
    ck_assert(ct_eq("abc", "abc", 3) && !ct_eq("abc", "abd", 3) && ct_eq("", "", 0));
    arena_free(a);
    arena_thread_done();
}
END_TEST

START_TEST(random_values_differ)
{
    struct arena *a = arena_new();
    unsigned char x[300], y[300] = {0};
    for (size_t n = 8; n <= 300; n += 73) {
        random_bytes(x, n);
        ck_assert(memcmp(x, y, n) != 0);
        memcpy(y, x, n);
    }
    ck_assert(random_u64() != random_u64());
    struct str id = random_id(a, "req_", 25);
    ck_assert(str_starts(id, STR("req_")) && id.n == 29 && id.p[29] == 0);
    for (size_t i = 4; i < id.n; i++)
        ck_assert(strchr("0123456789abcdef", id.p[i]) != NULL);
    ck_assert(!str_eq(id, random_id(a, "req_", 25)));
    ck_assert_uint_eq(random_id(a, NULL, 200).n, 200);
    arena_free(a);
    arena_thread_done();
}
END_TEST

START_TEST(secrets_show_only_their_ends)
{
    struct arena *a = arena_new();
    check_text(secret_mask(a, secret_of(STR("sk-abcdefgwxyz"))), "sk-a***wxyz");
    check_text(secret_mask(a, secret_of(STR("12345678"))), "***");
    check_text(secret_mask(a, secret_of(STR("${OPENAI_API_KEY}"))), "${OPENAI_API_KEY}");
    check_text(secret_mask(a, secret_of(STR_NONE)), "");
    check_text(secret_mask(a, secret_of(STR("123456789"))), "1234***6789");
    check_text(secret_mask(a, secret_of(STR("0123456789012345678901234567890123456789"))),
               "0123***6789");
    check_text(secret_mask(a, secret_of(STR("${X}"))), "${X}");
    check_text(secret_mask_url(a, STR("http://u:p@h/?key=a&x=1&Token=b")),
               "http://***@h/?key=***&x=1&Token=***");
    check_text(secret_mask_url(a, STR("http://h/?api-version=1&key=")),
               "http://h/?api-version=1&key=");
    check_text(secret_mask(a, secret_of(STR("${}"))), "***");
    check_text(secret_mask(a, secret_of(STR("${X}y"))), "***");
    check_text(secret_mask(a, secret_of(STR("${LONGER}y"))), "${LO***ER}y");
    check_text(secret_mask(a, secret_of(STR("k1-abcdef,k2-abcdef"))), "k1-a***cdef");
    check_text(secret_mask(a, secret_of(STR("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9xyz"))), "***");
    check_text(secret_mask(a, secret_of(STR("\xc3\xa9"
                                            "bcd efgh\xc3\xa9"))),
               "\xc3\xa9"
               "bcd***fgh\xc3\xa9");
    ck_assert(secret_is_set(secret_of(STR("x"))) && !secret_is_set(secret_of(STR_NONE)));
    arena_free(a);
    arena_thread_done();
}
END_TEST

START_TEST(errors_are_filled_in_once)
{
    struct err e = ERR_INIT;
    ck_assert(!err_set(NULL, ERR_INPUT, "x", "y"));
    ck_assert(!err_set(&e, ERR_RATE_LIMITED, "slow_down", "wait %d s", 5));
    ck_assert_int_eq(err_status(&e), 429);
    ck_assert_str_eq(e.message, "wait 5 s");
    ck_assert_int_eq(e.retry_after_ms, -1);
    e.status = 529;
    ck_assert_int_eq(err_status(&e), 529);
    /* its own text as argument */
    ck_assert(!err_set(&e, ERR_UPSTREAM, e.code, "again: %s", e.message));
    ck_assert_str_eq(e.code, "slow_down");
    ck_assert_str_eq(e.message, "again: wait 5 s");
    ck_assert_int_eq(err_status(&e), 502);
    ck_assert(!err_field(&e, "messages[0].role", "unknown role"));
    ck_assert_str_eq(e.field, "messages[0].role");
    ck_assert_str_eq(e.code, "invalid_value");
    char text[1500];
    for (size_t i = 0; i < sizeof text - 1; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof text - 2] = 0;
    err_set(&e, ERR_INPUT, text, "x%s", text);
    ck_assert_uint_lt(strlen(e.message), sizeof e.message);
    /* cut between characters */
    ck_assert(str_valid_utf8(str_of(e.message)) && str_valid_utf8(str_of(e.code)));
    errno = ENOENT;
    ck_assert(!err_errno(&e, "cannot open", "/x"));
    ck_assert(strstr(e.message, "cannot open '/x': No such file") != NULL);
    err_clear(&e);
    ck_assert(e.kind == ERR_NONE && e.retry_after_ms == -1 && e.message[0] == 0);
    for (int kind = ERR_NONE; kind <= ERR_TIMEOUT; kind++) {
        e.kind = (enum err_kind)kind;
        ck_assert(err_kind_name(e.kind) != NULL && err_status(&e) >= 200 && err_status(&e) < 600);
    }
}
END_TEST

UNIT_MAIN("base", a_map_holds_gives_and_forgets, hashes_depend_on_every_byte, times_are_written,
          every_day_of_four_centuries_comes_back, times_are_read_in_every_dialect,
          hashes_are_sha256, bytes_have_text_forms, random_values_differ,
          secrets_show_only_their_ends, errors_are_filled_in_once)
