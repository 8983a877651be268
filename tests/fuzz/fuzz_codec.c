/* Text forms of bytes and times: what is written reads back, and what is read is within its bounds. */
#include "base/clock.h"
#include "base/codec.h"
#include "fuzz/fuzz.h"

static void check_bytes(struct arena *a, struct str in)
{
    struct str text = base64_encode(a, in), back;
    REQUIRE(base64_decode(a, text, &back) && str_eq(in, back), "base64 reads back differently");
    char *hex = arena_alloc(a, 2 * in.n), *raw = arena_alloc(a, in.n);
    hex_encode(hex, in.p, in.n);
    REQUIRE(hex_decode(raw, str_n(hex, 2 * in.n)) && str_eq(in, str_n(raw, in.n)),
            "hex reads back differently");
}

static void check_text(struct arena *a, struct str in)
{
    struct str out;
    if (base64_decode(a, in, &out))
        REQUIRE(out.n <= in.n / 4 * 3 + 2, "more bytes than the digits hold");
    char *raw = arena_alloc(a, in.n / 2);
    if (hex_decode(raw, in)) {
        char *hex = arena_alloc(a, in.n);
        hex_encode(hex, raw, in.n / 2);
        REQUIRE(str_eq_nocase(in, str_n(hex, in.n)), "hex reads back differently");
    }
    struct str fixed = str_fix_utf8(a, in);
    REQUIRE(str_valid_utf8(fixed), "still ill-formed");
    REQUIRE(str_valid_utf8(in) == (fixed.p == in.p), "changed without need, or not in need");
    REQUIRE(fixed.n <= 3 * in.n, "grown too much");
}

static void check_times(struct str in)
{
    int64_t ms, back;
    struct buf b;
    buf_init(&b, 100);
    /* years 1 to 9999 */
    if (clock_parse_rfc3339(in, &ms) && ms >= -62135596800000 && ms < 253402300800000) {
        clock_rfc3339(&b, ms);
        REQUIRE(clock_parse_rfc3339(buf_str(&b), &back) && back == ms, "another time");
    }
    buf_clear(&b);
    if (clock_parse_http_date(in, &ms) && ms >= -62135596800000 && ms < 253402300800000) {
        clock_http_date(&b, ms);
        REQUIRE(clock_parse_http_date(buf_str(&b), &back) && back == ms, "another date");
    }
    buf_done(&b);
}

static void check_number(struct str in)
{
    int64_t v;
    struct buf b;
    buf_init(&b, 100);
    if (str_to_int(in, &v)) {
        int64_t back;
        buf_int(&b, v);
        REQUIRE(str_to_int(buf_str(&b), &back) && back == v, "another number");
    }
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str in = exact_copy(a, str_n((const char *)data, size));
    check_bytes(a, in);
    check_text(a, in);
    check_times(in);
    check_number(in);
    arena_free(a);
    return 0;
}
