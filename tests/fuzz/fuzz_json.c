/* Reader, scanner and writer of JSON agree with each other on every text. */
#include "fuzz/fuzz.h"

static void check_scan(struct arena *a, struct str text, yyjson_val *root)
{
    struct err e = ERR_INIT;
    struct json_want want[] = {{.key = "model"}, {.key = "stream"}, {.key = "messages"}};
    struct json_scan scan;
    bool ok = json_scan_object(text, want, ARRAY_LEN(want), 0, &scan, &e);
    REQUIRE(ok == yyjson_is_obj(root), "scanner and reader differ: %s", e.message);
    if (!ok)
        return;
    REQUIRE(scan.open < scan.close && scan.close < text.n, "no object");
    REQUIRE(text.p[scan.open] == '{' && text.p[scan.close] == '}', "no braces");
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct json_span *s = &want[i].span;
        if (!want[i].count)
            continue;
        REQUIRE(s->at + s->n <= text.n && s->n > 0, "span outside of the text");
        struct str value = str_n(text.p + s->at, s->n);
        yyjson_val *inside;
        REQUIRE(json_parse(a, value, 0, &inside, &e), "span is no value: %s", e.message);
        struct str plain;
        if (yyjson_is_str(inside))
            REQUIRE(json_unquote(a, value, &plain) && str_eq(plain, json_str(inside)),
                    "unquoted differently");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = exact_copy(a, str_n((const char *)data, size));
    struct err e = ERR_INIT;
    yyjson_val *root = NULL, *again;

    bool ok = json_parse(a, text, 0, &root, &e);
    struct err e2 = ERR_INIT;
    REQUIRE(json_valid(text, 0, &e2) == ok, "'%s' but '%s'", e.message, e2.message);
    if (ok) {
        check_scan(a, text, root);
        struct str out = json_text(a, root);
        REQUIRE(json_parse(a, out, 0, &again, &e), "wrote what cannot be read: %s", e.message);
        REQUIRE(json_equal(root, again), "reads back differently");
        struct str twice = json_text(a, again);
        REQUIRE(str_eq(out, twice), "second writing differs");
        int64_t i;
        double d;
        (void)!json_int(root, &i);
        (void)!json_double(root, &d);
    }
    struct err e3 = ERR_INIT;
    if (!jsonc_parse(a, text, &root, &e3))
        REQUIRE(!ok || e3.message[0], "refused without a reason");

    struct buf b;
    buf_init(&b, 16 * size + 64);
    struct jw w = jw_on(&b);
    jw_str(&w, text);
    REQUIRE(!buf_failed(&b), "string does not fit");
    REQUIRE(json_parse(a, buf_str(&b), 0, &again, &e), "no string: %s", e.message);
    REQUIRE(str_eq(json_str(again), str_fix_utf8(a, text)), "string reads back differently");
    buf_done(&b);
    arena_free(a);
    return 0;
}
