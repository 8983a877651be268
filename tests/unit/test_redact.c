/* What is taken out of texts before they are kept. */
#include "meter/redact.h"
#include "unit.h"

#define FIELDS "password, API_KEY,token"

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
    {"{\"api_key\":5,\"my_token\":\"t\"}", "{\"api_key\":5,\"my_token\":\"t\"}"},
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
    check_text(redact_known(a, STR("hush-hush-hush, hush-hus"), known, 3),
               "[redacted]-hush, hush-hus");
    check_text(redact_known(a, STR_NONE, known, 3), "");
    arena_free(a);
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
          known_secrets_alone, bytes_that_are_no_text_pass)
