/* Reading, writing and scanning JSON. */
#include "json/json.h"
#include "unit/unit.h"
#include <math.h>

static bool parses(struct str text, struct err *e)
{
    struct arena *a = arena_new();
    yyjson_val *v;
    bool ok = json_parse(a, text, 0, &v, e);
    arena_free(a);
    return ok;
}

static const struct {
    struct str text;
    bool is_json;
} texts[] = {
    {STR_INIT("{}"), true},
    {STR_INIT(" [ 1 , -0.5e+10 , true , false , null , \"\\u00e9\\n\" ] \n"), true},
    {STR_INIT("\xef\xbb\xbf{}"), true},
    {STR_INIT("\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\""), true},
    {STR_INIT("\"\\ud83d\\ude00\""), true},
    {STR_INIT("\"\x7f\""), true},
    {STR_INIT("0"), true},
    {STR_INIT("-0"), true},
    {STR_INIT("1e1000"), true},
    {STR_INIT("[[],{},[{}],{\"\":[]}]"), true},
    {STR_INIT(""), false},
    {STR_INIT("  "), false},
    {STR_INIT("{"), false},
    {STR_INIT("}"), false},
    {STR_INIT("[1,]"), false},
    {STR_INIT("[,1]"), false},
    {STR_INIT("{\"a\":1,}"), false},
    {STR_INIT("{\"a\"}"), false},
    {STR_INIT("{\"a\":}"), false},
    {STR_INIT("{a:1}"), false},
    {STR_INIT("{\"a\":1 \"b\":2}"), false},
    {STR_INIT("[1 2]"), false},
    {STR_INIT("[1}"), false},
    {STR_INIT("{]"), false},
    {STR_INIT("{} {}"), false},
    {STR_INIT("{}x"), false},
    {STR_INIT("01"), false},
    {STR_INIT("-"), false},
    {STR_INIT("+1"), false},
    {STR_INIT(".5"), false},
    {STR_INIT("1."), false},
    {STR_INIT("1e"), false},
    {STR_INIT("1e+"), false},
    {STR_INIT("0x10"), false},
    {STR_INIT("NaN"), false},
    {STR_INIT("nul"), false},
    {STR_INIT("truex"), false},
    {STR_INIT("'a'"), false},
    {STR_INIT("\"a"), false},
    {STR_INIT("\"a\nb\""), false},
    {STR_INIT("\"a\tb\""), false},
    {STR_INIT("\"\\x\""), false},
    {STR_INIT("\"\\u12g4\""), false},
    {STR_INIT("\"\\u12"), false},
    {STR_INIT("\"\\ud83d\""), false},
    {STR_INIT("\"\\ude00\""), false},
    {STR_INIT("\"\\ud83d\\u0041\""), false},
    {STR_INIT("\"\xff\""), false},
    {STR_INIT("\"\xc3\""), false},
    {STR_INIT("\"\xc0\x80\""), false},
    {STR_INIT("\"\xed\xa0\x80\""), false},
    {STR_INIT("\"\xf4\x90\x80\x80\""), false},
    {STR_INIT("\"\xe2\x82\""), false},
    {STR_INIT("/**/{}"), false},
    {STR_INIT("{}\0"), false},
};

START_TEST(reader_and_scanner_agree_on_what_is_json)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        /* also behind a long string, so that both the blocks and the tails of the scanner see it */
        for (size_t pad = 0; pad < 40; pad += 13) {
            char text[200];
            struct err e = ERR_INIT, e2 = ERR_INIT;
            int n = snprintf(text, sizeof text, "[\"%.*s\",", (int)pad,
                             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
            if (pad && str_starts(texts[i].text, STR("\xef")))
                continue;
            memcpy(text + n, texts[i].text.p, texts[i].text.n);
            text[(size_t)n + texts[i].text.n] = ']';
            struct str s = pad ? str_n(text, (size_t)n + texts[i].text.n + 1) : texts[i].text;
            ck_assert_msg(parses(s, &e) == texts[i].is_json, "parse " STR_FMT ": %s", STR_ARG(s),
                          e.message);
            ck_assert_msg(json_valid(s, 0, &e2) == texts[i].is_json, "scan " STR_FMT ": %s",
                          STR_ARG(s), e2.message);
            if (!texts[i].is_json) {
                ck_assert_str_eq(e.code, "invalid_json");
                ck_assert_str_eq(e2.code, "invalid_json");
            }
        }
    }
}
END_TEST

/* Texts long enough for the widest blocks, made of what a block may hold, so that each piece comes to stand at its every place. */
START_TEST(long_strings_are_judged_as_by_the_reader)
{
    static const struct str pieces[] = {
        STR_INIT("gate "), STR_INIT("\\n"), STR_INIT("\\\""), STR_INIT("\\\\"),
        STR_INIT("\xc3\xa9"), STR_INIT("\\u00e9"), STR_INIT("\xe2\x82\xac"), STR_INIT("\\/\\t"),
        STR_INIT("wind, ordinary words without an end of any kind in them, seventy bytes"),
        STR_INIT("\"}, {\"k\":\""), STR_INIT("\xf0\x9f\x98\x80"), STR_INIT("0"),
        /* from here on: broken */
        STR_INIT("\\x"), STR_INIT("\x01"), STR_INIT("\xc3"), STR_INIT("\xa9"), STR_INIT("\xc0\x80"),
        STR_INIT("\\\xc3\xa9"), STR_INIT("\"x")};
    static const size_t sound = 12;
    uint32_t seed = 20261130;
    for (size_t round = 0; round < 4000; round++) {
        char text[900];
        size_t n = 8, at_broken = round % 4 ? SIZE_MAX : 40 + round / 4 % 300;
        memcpy(text, "[{\"k\":\"", n);
        while (n < 500) {
            seed = seed * 1664525 + 1013904223;
            size_t i = (seed >> 16) % (round % 8 < 4 ? sound : 6);
            if (n >= at_broken) {
                i = sound + (seed >> 16) % (ARRAY_LEN(pieces) - sound);
                at_broken = SIZE_MAX;
            }
            memcpy(text + n, pieces[i].p, pieces[i].n);
            n += pieces[i].n;
        }
        memcpy(text + n, "\"}]", 3);
        struct err e = ERR_INIT, e2 = ERR_INIT;
        struct str s = str_n(text, n + 3);
        ck_assert_msg(parses(s, &e) == json_valid(s, 0, &e2), "round %zu: " STR_FMT ": %s / %s",
                      round, STR_ARG(s), e.message, e2.message);
    }
}
END_TEST

START_TEST(errors_say_where)
{
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"{\"a\":1,\n  x}", "line 2, column 3"},
        {"[\"\xc3\xa9\xc3\xa9\", x]", "line 1, column 8"},
        {"[1, 2", "line 1, column 6"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = ERR_INIT, e2 = ERR_INIT;
        ck_assert(!parses(str_of(cases[i].text), &e));
        ck_assert_msg(strstr(e.message, cases[i].where) != NULL, "%s", e.message);
        ck_assert(!json_valid(str_of(cases[i].text), 0, &e2));
        ck_assert_msg(strstr(e2.message, cases[i].where) != NULL, "%s", e2.message);
        ck_assert_int_eq(e.kind, ERR_INPUT);
    }
}
END_TEST

START_TEST(depth_is_bounded)
{
    char text[2 * 1100];
    struct arena *a = arena_new();
    for (size_t depth = 1; depth <= 1026; depth += depth < 126 || depth > 1020 ? 1
                                                   : depth < 130               ? 1
                                                                               : 100) {
        for (size_t i = 0; i < depth; i++) {
            text[i] = '[';
            text[depth + i] = ']';
        }
        struct str s = str_n(text, 2 * depth);
        yyjson_val *v;
        struct err e = ERR_INIT;
        ck_assert_int_eq(json_parse(a, s, 0, &v, &e), depth <= 128);
        ck_assert_int_eq(json_valid(s, 0, &e), depth <= 128);
        ck_assert_int_eq(json_parse(a, s, 5, &v, &e), depth <= 5);
        ck_assert_int_eq(json_valid(s, 5, &e), depth <= 5);
        ck_assert_int_eq(json_valid(s, 5000, &e), depth <= 1024);
        ck_assert_int_eq(json_parse(a, s, 5000, &v, &e), depth <= 1024);
    }
    struct json_scan scan;
    struct err e = ERR_INIT;
    ck_assert(json_scan_object(STR("{\"a\":[[1]]}"), NULL, 0, 3, &scan, &e));
    ck_assert(!json_scan_object(STR("{\"a\":[[1]]}"), NULL, 0, 2, &scan, &e));
    arena_free(a);
}
END_TEST

START_TEST(comments_are_read_where_allowed)
{
    struct arena *a = arena_new();
    yyjson_val *v;
    struct err e = ERR_INIT;
    ck_assert(jsonc_parse(a, STR("// one\n{\"a\": 1, /* two */ \"b\": [1,2,],}"), &v, &e));
    ck_assert_int_eq(json_get_int(v, "a", 0), 1);
    ck_assert(!json_parse(a, STR("{\"a\":1,}"), 0, &v, &e));
    ck_assert(v == NULL);
    arena_free(a);
}
END_TEST

START_TEST(integers_are_exact)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-0.0", true, 0},
        {"0e99999999999", true, 0},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"1E+3", true, 1000},
        {"1200e-2", true, 12},
        {"12.50e1", true, 125},
        {"0.001e3", true, 1},
        {"1000000000000000000000e-18", true, 1000},
        {"100.000000000000000000000000000000", true, 100},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9007199254740993", true, 9007199254740993},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"1.5", false, 0},
        {"1e-1", false, 0},
        {"1e19", false, 0},
        {"1e99999999999999999999", false, 0},
        {"1e-99999999999999999999", false, 0},
        {"true", false, 0},
        {"\"1\"", false, 0},
        {"null", false, 0},
        {"[1]", false, 0},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        yyjson_val *v;
        int64_t n = 77;
        struct err e = ERR_INIT;
        ck_assert(json_parse(a, str_of(cases[i].text), 0, &v, &e));
        ck_assert_msg(json_int(v, &n) == cases[i].ok, "%s", cases[i].text);
        ck_assert_msg(n == (cases[i].ok ? cases[i].value : 77), "%s", cases[i].text);
    }
    int64_t n;
    double d;
    ck_assert(!json_int(NULL, &n));
    ck_assert(!json_double(NULL, &d));
    arena_free(a);
}
END_TEST

START_TEST(values_are_read_tolerantly)
{
    struct arena *a = arena_new();
    yyjson_val *v;
    double d;
    struct err e = ERR_INIT;
    ck_assert(json_parse(
        a,
        STR("{\"s\":\"a\\u0000b\",\"n\":1.50,\"t\":true,\"z\":null,\"big\":1e400,"
            "\"long\":0."
            "1000000000000000000000000000000000000000000000000000000000000000000000000001}"),
        0, &v, &e));
    check_text(json_get_str(v, "s"), "a\0b");
    check_str(json_get_str(v, "n"), STR_NONE);
    check_str(json_get_str(NULL, "n"), STR_NONE);
    ck_assert(json_double(json_get(v, "n"), &d) && d == 1.5);
    ck_assert(json_double(json_get(v, "long"), &d) && d == 0.1);
    ck_assert(!json_double(json_get(v, "big"), &d));
    check_text(json_lexeme(json_get(v, "n")), "1.50");
    ck_assert(json_get_bool(v, "t", false) && json_get_bool(v, "none", true) &&
              !json_get_bool(v, "s", false));
    ck_assert(json_absent(json_get(v, "z")) && json_absent(json_get(v, "none")) &&
              !json_absent(json_get(v, "t")));
    arena_free(a);
}
END_TEST

START_TEST(equality_ignores_member_order_only)
{
    static const struct {
        const char *a, *b;
        bool is_equal;
    } cases[] = {
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1.0}", true},
        {"[1,2]", "[2,1]", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"a\":1}", "{\"b\":1}", false},
        {"1e2", "100", true},
        {"0.1", "0.10", true},
        {"9007199254740993", "9007199254740992", false},
        {"\"a\"", "\"\\u0061\"", true},
        {"true", "false", false},
        {"null", "false", false},
        {"null", "null", true},
        {"[]", "{}", false},
        {"\"1\"", "1", false},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        yyjson_val *x, *y;
        struct err e = ERR_INIT;
        ck_assert(json_parse(a, str_of(cases[i].a), 0, &x, &e) &&
                  json_parse(a, str_of(cases[i].b), 0, &y, &e));
        ck_assert_msg(json_equal(x, y) == cases[i].is_equal, "%s %s", cases[i].a, cases[i].b);
        ck_assert_int_eq(json_equal(y, x), cases[i].is_equal);
    }
    ck_assert(json_equal(NULL, NULL));
    arena_free(a);
}
END_TEST

START_TEST(writer_sets_commas_and_escapes)
{
    struct arena *a = arena_new();
    struct buf b;
    yyjson_val *v;
    struct err e = ERR_INIT;
    ck_assert(json_parse(a,
                         STR("{ \"k\" : [ 1.50e3 , { } , [ ] , {\"x\":[[]],\"y\":null} , "
                             "\"\\u00e9\\/\\u0001\" , true ] }"),
                         0, &v, &e));
    buf_init(&b, 10000);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "s", STR("a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9"));
    jw_kv_int(&w, "i", INT64_MIN);
    jw_kv_val(&w, "v", v);
    JW(&w, "none", val, NULL);
    jw_key_str(&w, STR("k\"\n"));
    jw_array(&w);
    jw_array_end(&w);
    jw_key(&w, "r");
    jw_array(&w);
    jw_raw(&w, STR("{}"));
    jw_double(&w, 0.1);
    jw_double(&w, NAN);
    jw_cstr(&w, NULL);
    jw_bool(&w, false);
    jw_array_end(&w);
    jw_object_end(&w);
    ck_assert(!buf_failed(&b));
    check_text(
        buf_str(&b),
        "{\"s\":\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\",\"i\":-9223372036854775808,"
        "\"v\":{\"k\":[1.50e3,{},[],{\"x\":[[]],\"y\":null},\"\xc3\xa9/"
        "\\u0001\",true]},\"none\":null,"
        "\"k\\\"\\n\":[],\"r\":[{},0.1,null,null,false]}");
    buf_done(&b);
    arena_free(a);
}
END_TEST

START_TEST(ill_formed_text_becomes_replacement_characters)
{
    static const struct {
        struct str in, out;
    } cases[] = {
        {STR_INIT("\xff"), STR_INIT("\xef\xbf\xbd")},
        {STR_INIT("0123456789abcdef\xc3"), STR_INIT("0123456789abcdef\xef\xbf\xbd")},
        {STR_INIT("\xf0\x9f\x98z\xe2\x82"), STR_INIT("\xef\xbf\xbdz\xef\xbf\xbd")},
        {STR_INIT("\xed\xa0\x80"), STR_INIT("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")},
        {STR_INIT("\xc3\xa9\xc0\xaf"), STR_INIT("\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 1000);
        json_escape(&b, cases[i].in);
        check_str(buf_str(&b), cases[i].out);
        buf_done(&b);
    }
}
END_TEST

START_TEST(doubles_come_back_the_same)
{
    static const double values[] = {
        0.1, 1.0 / 3, 1e300, 5e-324, -2.5, 123456789012345680.0, 1.7976931348623157e308, 0};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf b;
        buf_init(&b, 100);
        struct jw w = jw_on(&b);
        jw_double(&w, values[i]);
        ck_assert(json_valid(buf_str(&b), 0, NULL));
        buf_char(&b, 0);
        ck_assert(strtod(b.p, NULL) == values[i]);
        buf_done(&b);
    }
}
END_TEST

START_TEST(writing_beyond_the_limits_fails_once_and_for_all)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    struct jw w = jw_on(&b);
    for (int i = 0; i < 256; i++)
        jw_array(&w);
    ck_assert(!buf_failed(&b));
    jw_array(&w);
    ck_assert(buf_failed(&b));
    buf_done(&b);
    buf_init(&b, 10);
    w = jw_on(&b);
    jw_str(&w, STR("more than fits"));
    jw_int(&w, 1);
    ck_assert(buf_failed(&b) && b.n <= 10);
    buf_done(&b);
}
END_TEST

/* ---- the scanner's spans ---- */

struct seen {
    size_t which[8], at[8], n;
};

static void on_member(void *arg, size_t which, const struct json_span *span)
{
    struct seen *s = arg;
    s->which[s->n] = which;
    s->at[s->n++] = span->at;
}

START_TEST(spans_of_members_are_found)
{
    struct str text = STR("  {\"model\" : \"a\" , "
                          "\"x\":{\"model\":\"inner\",\"y\":[1,{\"model\":2}]},\"stream\":true,"
                          "\"mod\\u0065l\":  [ 1 ]  , \"n\":-1.5e3 }  ");
    struct json_want want[] = {{.key = "model"}, {.key = "stream"}, {.key = "n"}, {.key = "none"}};
    struct json_scan scan;
    struct seen seen = {0};
    struct err e = ERR_INIT;
    ck_assert_msg(json_scan_members(text, want, 4, 0, on_member, &seen, &scan, &e), "%s",
                  e.message);
    ck_assert_uint_eq(want[0].count, 2); /* the key inside x is another object's */
    check_text(str_n(text.p + want[0].span.at, want[0].span.n), "[ 1 ]");
    check_text(str_n(text.p + want[0].span.key_at, want[0].span.key_n), "mod\\u0065l");
    check_text(str_n(text.p + want[1].span.at, want[1].span.n), "true");
    check_text(str_n(text.p + want[2].span.at, want[2].span.n), "-1.5e3");
    ck_assert_uint_eq(want[3].count, 0);
    ck_assert_uint_eq(want[3].span.n, 0);
    ck_assert_uint_eq(seen.n, 4);
    ck_assert(seen.which[0] == 0 && seen.which[1] == 1 && seen.which[2] == 0 && seen.which[3] == 2);
    check_text(str_n(text.p + seen.at[0], 3), "\"a\"");
    ck_assert_int_eq(text.p[scan.open], '{');
    ck_assert_int_eq(text.p[scan.close], '}');
    ck_assert_uint_eq(scan.open, 2);
    ck_assert_uint_eq(scan.close, text.n - 3);
    ck_assert(!scan.is_empty);
    ck_assert(json_scan_object(STR("{ }"), want, 4, 0, &scan, &e));
    ck_assert(scan.is_empty && scan.open == 0 && scan.close == 2 && want[0].count == 0);
    ck_assert(json_scan_object(STR("\xef\xbb\xbf{\"model\":1}"), want, 4, 0, &scan, &e));
    ck_assert_uint_eq(want[0].span.at, 12);
    ck_assert(!json_scan_object(STR("[]"), want, 4, 0, &scan, &e));
    ck_assert(!json_scan_object(STR("{\"model\":1"), want, 4, 0, &scan, &e));
    ck_assert(!json_scan_object(STR(""), want, 4, 0, &scan, &e));
}
END_TEST

START_TEST(keys_match_only_whole)
{
    static const char *const others[] = {
        "{\"mode\":1}",         "{\"models\":1}",       "{\"Model\":1}", "{\"mod\\u0065\":1}",
        "{\"\\u006dodels\":1}", "{\"model\\u0000\":1}", "{\"\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct json_want want = {.key = "model"};
        struct json_scan scan;
        ck_assert(json_scan_object(str_of(others[i]), &want, 1, 0, &scan, NULL));
        ck_assert_msg(want.count == 0, "%s", others[i]);
    }
    struct json_want want = {.key = "a/b"};
    struct json_scan scan;
    ck_assert(json_scan_object(STR("{\"a\\/\\u0062\":1,\"a\\uD83D\\uDE00\":2}"), &want, 1, 0, &scan,
                               NULL));
    ck_assert_uint_eq(want.count, 1);
    ck_assert_uint_eq(want.alike, 0);
}
END_TEST

START_TEST(keys_of_another_case_are_counted_apart)
{
    static const struct {
        const char *text;
        unsigned count, alike;
    } cases[] = {{"{\"max_tokens\":1}", 1, 0},
                 {"{\"Max_tokens\":1}", 0, 1},
                 {"{\"MAX_TOKENS\":1,\"max_tokens\":2}", 1, 1},
                 {"{\"max_to\xe2\x84\xaa"
                  "ens\":1}",
                  0, 1},                             /* KELVIN SIGN */
                 {"{\"max_token\\u017f\":1}", 0, 1}, /* LONG S */
                 {"{\"max_token\xc5\xbf\":1}", 0, 1},
                 {"{\"\\u004dax_tokens\":1}", 0, 1},
                 {"{\"max_tokens\xc5\xbf\":1}", 0, 0},
                 {"{\"max_token\xc5\xbe\":1}", 0, 0},
                 {"{\"max_tok\xf0\x9f\x98\x80ns\":1}", 0, 0},
                 {"{\"max\\u007ftokens\":1,\"MAX\x7fTOKENS\":1}", 0, 0},
                 {"{\"Max_token\":1,\"max_tokenss\":1}", 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_want want = {.key = "max_tokens"};
        struct json_scan scan;
        struct err e = ERR_INIT;
        ck_assert_msg(json_scan_object(str_of(cases[i].text), &want, 1, 0, &scan, &e), "%s",
                      e.message);
        ck_assert_msg(want.count == cases[i].count && want.alike == cases[i].alike, "%zu: %u %u", i,
                      want.count, want.alike);
    }
}
END_TEST

START_TEST(quoted_text_is_decoded)
{
    static const struct {
        const char *in;
        struct str out;
        bool ok;
    } cases[] = {
        {"\"\"", STR_INIT(""), true},
        {"\"abc\"", STR_INIT("abc"), true},
        {"\"a\\n\\u00e9\\ud83d\\ude00\\u0000\\/\"", STR_INIT("a\n\xc3\xa9\xf0\x9f\x98\x80\0/"),
         true},
        {"abc", STR_INIT(""), false},
        {"\"", STR_INIT(""), false},
        {"\"a\"b\"", STR_INIT(""), false},
        {"\"a\\\"", STR_INIT(""), false},
        {"1", STR_INIT(""), false},
        {"", STR_INIT(""), false},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = STR_NONE;
        ck_assert_msg(json_unquote(a, str_of(cases[i].in), &got) == cases[i].ok, "%s", cases[i].in);
        check_str(got, cases[i].out);
    }
    arena_free(a);
}
END_TEST

START_TEST(several_members_are_found_in_one_walk)
{
    static const struct json_names names = {.n = 4,
                                            JSON_NAME(0, "ab"),
                                            JSON_NAME(1, "cd"),
                                            JSON_NAME(2, "longer"),
                                            JSON_NAME(3, "none")};
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    yyjson_val *root, *at[4];
    ck_assert(json_parse(a,
                         STR("{\"\":0,\"cd\":1,\"x\":{\"ab\":9},\"ab\":2,\"longer\":[3],\"ab\":4}"),
                         0, &root, &e));
    json_pick(root, &names, at);
    ck_assert_int_eq(json_int_or(at[0], -1), 2); /* the first of a name */
    ck_assert_int_eq(json_int_or(at[1], -1), 1);
    ck_assert(yyjson_is_arr(at[2]) && !at[3]);
    json_pick(at[2], &names, at); /* no object: nothing */
    ck_assert(!at[0] && !at[1] && !at[2] && !at[3]);
    arena_free(a);
}
END_TEST

UNIT_MAIN("json", several_members_are_found_in_one_walk, reader_and_scanner_agree_on_what_is_json,
          long_strings_are_judged_as_by_the_reader, errors_say_where, depth_is_bounded,
          comments_are_read_where_allowed, integers_are_exact, values_are_read_tolerantly,
          equality_ignores_member_order_only, writer_sets_commas_and_escapes,
          ill_formed_text_becomes_replacement_characters, doubles_come_back_the_same,
          writing_beyond_the_limits_fails_once_and_for_all, spans_of_members_are_found,
          keys_match_only_whole, keys_of_another_case_are_counted_apart, quoted_text_is_decoded)
