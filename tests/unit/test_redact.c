/* What is taken out of texts before they are kept. */
#include "meter/redact.h"
#include "unit.h"

#define FIELDS                                               \
    "password, API_KEY,token,date of birth,a.b,Stra\xc3\x9f" \
    "e"

static void check(struct redactor *r, const char *in, const char *expected)
{
    const struct str known[] = {STR_INIT("hush-hush"), STR_INIT("short")};
    struct buf b;
    buf_init(&b, 1u << 20);
    redact(r, str_of(in), known, ARRAY_LEN(known), &b);
    check_str(buf_str(&b), str_of(expected));
    buf_done(&b);
}

static const struct {
    const char *in, *out;
} texts[] = {
    {"", ""},
    {"nothing here", "nothing here"},
    {"a hush-hush b hush-hush", "a [redacted] b [redacted]"},
    {"too short to know", "too short to know"}, /* known ones need 8 bytes, or words would go */
    {"key sk-0123456789abcdefXYZ.", "key sk-[redacted]"},
    {"sk-short", "sk-short"},
    {"task-0123456789abcdefXYZ", "task-0123456789abcdefXYZ"}, /* not at the start of a word */
    {"\"sk-ant-api03-0123456789abcdef\"", "\"sk-[redacted]\""},
    {"AIzaSyA0123456789012345678901234567890", "AIza[redacted]"},
    {"Authorization: Bearer abcdefgh12345", "Authorization: Bearer [redacted]"},
    {"authorization: basic dXNlcjpwYXNz", "authorization: basic [redacted]"},
    {"bearer of news", "bearer of news"},
    {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl", "eyJ[redacted]"},
    {"http://me:secret@proxy:80/x", "http://me:[redacted]@proxy:80/x"},
    {"http://host:80/a@b", "http://host:80/a@b"},
    {"{\"password\":\"x y\",\"n\":1}", "{\"password\":\"[redacted]\",\"n\":1}"},
    {"{\"PassWord\" : \"a\\\"b\"}", "{\"PassWord\" : \"[redacted]\"}"},
    {"{\"api_key\":-5.1e3,\"my_token\":\"t\"}", "{\"api_key\":\"[redacted]\",\"my_token\":\"t\"}"},
    {"{\"token\":true, \"token\" : null,\"token\":\n[1,\"]\",{\"a\":[]}],\"x\":1}",
     "{\"token\":\"[redacted]\", \"token\" : null,\"token\":\n\"[redacted]\",\"x\":1}"},
    {"{\"token\":{\"a\":\"}\\\"\",\"b\":{}},\"x\":1}", "{\"token\":\"[redacted]\",\"x\":1}"},
    {"{\"token\":{\"a\":\"cut off", "{\"token\":\"[redacted]\""},
    {"{\"t\\u006fken\":\"x\",\"\\u0054OKEN\":2}",
     "{\"t\\u006fken\":\"[redacted]\",\"\\u0054OKEN\":\"[redacted]\"}"},
    {"{\"date of birth\":\"x\",\"a.b\":\"y\",\"stra\xc3\x9f"
     "e\":\"z\",\"STRA\\u00dfE\":1}",
     "{\"date of birth\":\"[redacted]\",\"a.b\":\"[redacted]\",\"stra\xc3\x9f"
     "e\":\"[redacted]\",\"STRA\\u00dfE\":\"[redacted]\"}"},
    {"{\"s\":\"{\\\"token\\\": {\\n \\\"a\\\": \\\"}\\\"},\\\"u\\\":1,\\\"token\\\":7}\"}",
     "{\"s\":\"{\\\"token\\\": "
     "\\\"[redacted]\\\",\\\"u\\\":1,\\\"token\\\":\\\"[redacted]\\\"}\"}"},
    {"say \"token\": it is a word, or \"token\" alone",
     "say \"token\": it is a word, or \"token\" alone"},
    {"hush-hus", "[redacted]"}, /* so much of one at the end */
    {"\"hush\\u002dhush\" hush%2dhush hus\\\\u0068-hush", "\"[redacted]\" [redacted] [redacted]"},
    {"{\"s\":\"{\\\"token\\\":\\\"abc\\\",\\\"u\\\":1}\"}",
     "{\"s\":\"{\\\"token\\\":\\\"[redacted]\\\",\\\"u\\\":1}\"}"},
    {"{\"token\":\"cut off in the mid", "{\"token\":\"[redacted]"},
    {"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
     "-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----"},
    {"\"-----BEGIN RSA PRIVATE KEY-----MIIE\",\"x\"",
     "\"-----BEGIN RSA PRIVATE KEY-----[redacted]\",\"x\""},
};

START_TEST(what_looks_like_a_secret_goes)
{
    struct err e = ERR_INIT;
    struct redactor *r = redactor_new(STR(FIELDS), STR_NONE, &e);
    ck_assert_ptr_nonnull(r);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check(r, texts[i].in, texts[i].out);
    redactor_unref(r);
}
END_TEST

START_TEST(a_pattern_of_the_operator_goes_too)
{
    struct err e = ERR_INIT;
    struct redactor *r = redactor_new(STR_NONE, STR("[0-9]{3}-[0-9]{2}|^top.*$|x*"), &e);
    ck_assert_ptr_nonnull(r);
    check(r, "id 123-45, 999-00.", "id [redacted], [redacted].");
    check(r, "top secret", "[redacted]");
    check(r, "{\"password\":\"kept\"}", "{\"password\":\"kept\"}");
    redactor_unref(r);
    ck_assert_ptr_null(redactor_new(STR_NONE, STR("(open"), &e));
    ck_assert_int_eq(e.kind, ERR_INPUT);
    check(NULL, "sk-0123456789abcdefXYZ {\"password\":\"kept\"}",
          "sk-[redacted] {\"password\":\"kept\"}");
}
END_TEST

START_TEST(known_secrets_alone)
{
    const struct str known[] = {STR_INIT("hush-hush"), STR_INIT("short"), STR_INIT("")};
    struct arena *a = arena_new();
    struct str plain = STR("sk-0123456789abcdefXYZ stays, too short too");
    check_str(redact_known(a, plain, known, 3), plain);
    ck_assert_ptr_eq(redact_known(a, plain, known, 3).p, plain.p);
    check_text(redact_known(a, STR("hush-hush-hush, hush-hu"), known, 3),
               "[redacted]-hush, hush-hu");
    /* so much of one gives it away */
    check_text(redact_known(a, STR("cut off: hush-hus"), known, 3), "cut off: [redacted]");
    check_text(redact_known(a, STR("hush-hus, and on"), known, 3), "hush-hus, and on");
    check_text(redact_known(a, STR("hush\\u002dhu\\\\u0073h hush%2Dhush"), known, 3),
               "[redacted] [redacted]");
    const struct str longer[] = {STR_INIT("key-0001"), STR_INIT("key-00012"),
                                 STR_INIT("a/b+c/d+e")};
    check_text(redact_known(a, STR("key-00012"), longer, 3), "[redacted]");
    check_text(redact_known(a, STR("a\\/b+c\\/d\\u002Be"), longer, 3), "[redacted]");
    check_text(redact_known(a, STR_NONE, known, 3), "");
    arena_free(a);
}
END_TEST

/* Wherever a text is cut, what waits begins a secret, and nothing that went before shows any of it. */
START_TEST(pieces_wait_for_what_follows)
{
    static const struct str texts_of[] = {STR_INIT("a hush-hush b"),
                                          STR_INIT("a hush\\u002dhush b"),
                                          STR_INIT("hush-hu hush-hush"), STR_INIT("nothing\\")};
    const struct str known[] = {STR_INIT("hush-hush"), STR_INIT("short")};
    for (size_t i = 0; i < ARRAY_LEN(texts_of); i++)
        for (size_t cut = 0; cut <= texts_of[i].n; cut++) {
            struct arena *a = arena_new();
            struct str head = str_first(texts_of[i], cut);
            size_t waits = redact_open(head, known, ARRAY_LEN(known));
            ck_assert_uint_le(waits, head.n);
            struct str sent = redact_known(a, str_first(head, head.n - waits), known, 2),
                       rest = redact_known(a, str_skip(texts_of[i], head.n - waits), known, 2),
                       whole = redact_known(a, texts_of[i], known, 2);
            check_str(str_cat(a, sent, rest), whole);
            arena_free(a);
        }
    ck_assert_uint_eq(redact_open(STR("nothing of it "), known, ARRAY_LEN(known)), 0);
}
END_TEST

START_TEST(bytes_that_are_no_text_pass)
{
    static const char in[] = "a\0b\xff\xfe\"\"\"\\\\::// -----BEGIN \x80:";
    struct err e = ERR_INIT;
    struct redactor *r = redactor_new(STR(FIELDS), STR("zz"), &e);
    struct buf b;
    buf_init(&b, 1000);
    redact(r, str_n(in, sizeof in - 1), NULL, 0, &b);
    check_str(buf_str(&b), str_n(in, sizeof in - 1));
    buf_done(&b);
    redactor_unref(r);
}
END_TEST

UNIT_MAIN("redact", what_looks_like_a_secret_goes, a_pattern_of_the_operator_goes_too,
          known_secrets_alone, pieces_wait_for_what_follows, bytes_that_are_no_text_pass)
