/* Streams cut into frames: every tolerance, every cut, every limit. */
#include "wire/framing.h"
#include "unit/unit.h"

struct heard {
    struct buf text; /* "event|data;" per frame */
    unsigned n, refuse_at;
};

static bool on_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct heard *h = arg;
    if (++h->n == h->refuse_at)
        return err_set(e, ERR_UPSTREAM, "refused", "refused");
    buf_str_add(&h->text, event);
    buf_lit(&h->text, "|");
    buf_str_add(&h->text, data);
    buf_lit(&h->text, ";");
    return true;
}

/* Pushes s in pieces of `step` bytes, each from a heap copy of its own so that a kept view is caught. */
static bool push_by(enum framing framing, struct str s, size_t step, size_t max, struct heard *h,
                    struct err *e)
{
    struct framing_reader *r = framing_reader_new(framing, max, on_frame, h);
    bool ok = true;
    while (ok && s.n) {
        size_t n = step < s.n ? step : s.n;
        char *copy = malloc(n);
        memcpy(copy, s.p, n);
        ok = framing_push(r, str_n(copy, n), e);
        memset(copy, '#', n);
        free(copy);
        s = str_skip(s, n);
    }
    ok = ok && framing_finish(r, e);
    framing_reader_done(r);
    return ok;
}

static void heard_init(struct heard *h)
{
    *h = (struct heard){0};
    buf_init(&h->text, 64 << 20);
}

static void expect(enum framing framing, struct str input, struct str frames)
{
    for (size_t step = 1; step <= input.n + 1; step += step < 9 ? 1 : 7) {
        struct heard h;
        struct err e = ERR_INIT;
        heard_init(&h);
        ck_assert_msg(push_by(framing, input, step, 1000, &h, &e), "step %zu: %s", step, e.message);
        ck_assert_msg(str_eq(buf_str(&h.text), frames),
                      "step %zu: expected <" STR_FMT ">, got <" STR_FMT ">", step, STR_ARG(frames),
                      STR_ARG(buf_str(&h.text)));
        buf_done(&h.text);
    }
}

START_TEST(sse_is_read_with_every_tolerance)
{
    static const struct {
        struct str in, out;
    } cases[] = {
        {STR_INIT("data: {\"a\":1}\n\ndata: [DONE]\n\n"), STR_INIT("|{\"a\":1};|[DONE];")},
        {STR_INIT("data:{}\r\n\r\ndata: x\r\n\r\n"), STR_INIT("|{};|x;")},
        {STR_INIT("data: a\r\rdata: b\r\r"), STR_INIT("|a;|b;")},
        {STR_INIT("event: ping\ndata: {\"type\":\"ping\"}\n\n"),
         STR_INIT("ping|{\"type\":\"ping\"};")},
        {STR_INIT("event:x\ndata: 1\n\ndata: 2\n\n"), STR_INIT("x|1;|2;")},
        {STR_INIT("data: 1\ndata: 2\ndata:  3\n\n"), STR_INIT("|1\n2\n 3;")},
        {STR_INIT(": keep-alive\n\n: x\ndata: 1\n\n"), STR_INIT("|1;")},
        {STR_INIT("id: 7\nretry: 100\nfuture: x\ndata: 1\n\n"), STR_INIT("|1;")},
        {STR_INIT("\xef\xbb\xbf"
                  "data: 1\n\n"),
         STR_INIT("|1;")},
        {STR_INIT("data: \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n\n"),
         STR_INIT("|\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80;")},
        {STR_INIT("data: last"), STR_INIT("|last;")},
        {STR_INIT("data: last\n"), STR_INIT("|last;")},
        {STR_INIT("event: e\ndata: last\r"), STR_INIT("e|last;")},
        {STR_INIT("event: nothing\n\ndata\n\ndata:\n\ndata: 1\n\n"), STR_INIT("|1;")},
        {STR_INIT("\n\n\r\n\ndata: 1\n\n\n\n"), STR_INIT("|1;")},
        {STR_INIT("data:\ndata: 1\n\n"), STR_INIT("|\n1;")},
        {STR_INIT("{\"error\":{\"message\":\"no\"}}\n"),
         STR_INIT("|{\"error\":{\"message\":\"no\"}};")},
        {STR_INIT("{\"error\":1}"), STR_INIT("|{\"error\":1};")},
        {STR_INIT("data: a:b: c\n\n"), STR_INIT("|a:b: c;")},
        {STR_INIT(""), STR_INIT("")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(FRAMING_SSE, cases[i].in, cases[i].out);
}
END_TEST

START_TEST(lines_and_arrays_are_cut)
{
    expect(FRAMING_NDJSON, STR("{\"a\":1}\n{\"b\":2}\r\n\n  {\"c\":3}"),
           STR("|{\"a\":1};|{\"b\":2};|{\"c\":3};"));
    expect(FRAMING_NDJSON, STR("\xef\xbb\xbf{}\n"), STR("|{};"));
    expect(FRAMING_JSON_ARRAY, STR("[{\"a\":\"}]\\\"\\\\\"}\n,\r\n{\"b\":[{},[1]]}\n]\n"),
           STR("|{\"a\":\"}]\\\"\\\\\"};|{\"b\":[{},[1]]};"));
    expect(FRAMING_JSON_ARRAY, STR("[]"), STR(""));
    expect(FRAMING_JSON_ARRAY, STR("{\"error\":{\"code\":429}}"),
           STR("|{\"error\":{\"code\":429}};"));
}
END_TEST

START_TEST(a_broken_array_is_refused)
{
    static const char *const broken[] = {"[1]",   "x",         "[{}] []",    "]",
                                         "[{}]]", "[{\"a\":1", "[{\"a\":\"", "[{\"a\":\"\\"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        for (size_t step = 1; step < 12; step += 5) {
            struct heard h;
            struct err e = ERR_INIT;
            heard_init(&h);
            ck_assert_msg(!push_by(FRAMING_JSON_ARRAY, str_of(broken[i]), step, 1000, &h, &e), "%s",
                          broken[i]);
            ck_assert_int_eq(e.kind, ERR_UPSTREAM);
            ck_assert_str_eq(e.code, i < 5 ? "bad_event" : "stream_cut");
            buf_done(&h.text);
        }
    }
}
END_TEST

START_TEST(an_event_is_bounded_in_every_framing)
{
    char line[600];
    for (unsigned f = FRAMING_SSE; f <= FRAMING_JSON_ARRAY; f++) {
        for (size_t size = 99; size <= 101; size++) {
            for (size_t step = 1; step <= 400; step += 57) {
                struct heard h;
                struct err e = ERR_INIT;
                heard_init(&h);
                int n = snprintf(
                    line, sizeof line, "%s{\"a\":\"%.*s\"}\n\n", f == FRAMING_SSE ? "data: " : "",
                    (int)size - 8,
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
                bool ok = push_by((enum framing)f, str_n(line, (size_t)n), step, 100, &h, &e);
                ck_assert_msg(ok == (size <= 100), "framing %u size %zu step %zu", f, size, step);
                if (!ok)
                    ck_assert_str_eq(e.code, "event_too_large");
                buf_done(&h.text);
            }
        }
    }
}
END_TEST

START_TEST(endless_lines_and_many_data_lines_are_bounded_too)
{
    for (int kind = 0; kind < 3; kind++) {
        struct heard h;
        struct err e = ERR_INIT;
        heard_init(&h);
        struct framing_reader *r = framing_reader_new(FRAMING_SSE, 1000, on_frame, &h);
        bool ok = true;
        for (int i = 0; ok && i < 10000; i++)
            ok = framing_push(r,
                              kind == 0   ? STR("xxxxxxxx")
                              : kind == 1 ? STR("data: yyy\n")
                                          : STR("event: aaaaaaaa"),
                              &e);
        ck_assert(!ok);
        ck_assert_int_eq(e.kind, ERR_UPSTREAM);
        struct err again = ERR_INIT;
        ck_assert(!framing_push(r, STR("data: 1\n\n"), &again)); /* and stays broken */
        ck_assert_str_eq(again.code, e.code);
        ck_assert(!framing_finish(r, &again));
        ck_assert_uint_eq(h.n, 0);
        framing_reader_done(r);
        buf_done(&h.text);
    }
    framing_reader_done(NULL);
}
END_TEST

START_TEST(an_endless_comment_is_refused_however_it_is_cut)
{
    char text[3000];
    memset(text, 'c', sizeof text);
    text[0] = ':';
    text[sizeof text - 1] = '\n';
    for (size_t step = 1; step <= sizeof text; step *= 2) {
        struct heard h;
        struct err e = ERR_INIT;
        heard_init(&h);
        struct framing_reader *r = framing_reader_new(FRAMING_SSE, 1000, on_frame, &h);
        bool ok = true;
        for (size_t at = 0; ok && at < sizeof text; at += step)
            ok = framing_push(r, str_first(str_n(text + at, sizeof text - at), step), &e);
        ck_assert_msg(!ok, "in steps of %zu", step);
        framing_reader_done(r);
        buf_done(&h.text);
    }
    struct heard h;
    struct err e = ERR_INIT;
    heard_init(&h);
    struct framing_reader *r = framing_reader_new(FRAMING_SSE, 1000, on_frame, &h);
    ck_assert(!framing_push(r, str_n(text, sizeof text), &e)); /* all at once */
    framing_reader_done(r);
    buf_done(&h.text);
}
END_TEST

START_TEST(a_large_event_in_small_reads_comes_whole)
{
    size_t n = 3 << 20;
    char *big = malloc(n + 16);
    memcpy(big, "data: ", 6);
    for (size_t i = 0; i < n; i++)
        big[6 + i] = (char)('a' + i % 26);
    memcpy(big + 6 + n, "\n\n", 2);
    struct heard h;
    struct err e = ERR_INIT;
    heard_init(&h);
    ck_assert(push_by(FRAMING_SSE, str_n(big, n + 8), 16000, 4 << 20, &h, &e));
    ck_assert_uint_eq(h.text.n, n + 2);
    ck_assert(memcmp(h.text.p + 1, big + 6, n) == 0);
    buf_done(&h.text);
    free(big);
}
END_TEST

START_TEST(a_whole_event_is_not_copied)
{
    struct str s = STR("data: {\"x\":1}\n\n");
    struct framing_reader *r;
    struct err e = ERR_INIT;
    struct heard h;
    heard_init(&h);
    r = framing_reader_new(FRAMING_SSE, 0, on_frame, &h); /* a maximum of 0 refuses everything … */
    ck_assert(!framing_push(r, s, &e));
    framing_reader_done(r);
    h.refuse_at = 2;
    r = framing_reader_new(FRAMING_SSE, 100, on_frame, &h); /* … and a refusal is passed on */
    ck_assert(framing_push(r, s, &e));
    ck_assert(!framing_push(r, s, &e));
    ck_assert_str_eq(e.code, "refused");
    framing_reader_done(r);
    buf_done(&h.text);
}
END_TEST

START_TEST(writers_write_what_the_reader_reads)
{
    struct buf b;
    buf_init(&b, 1000);
    framing_write_sse(&b, STR("delta"), STR("{\"a\":1}"));
    framing_write_sse(&b, STR_NONE, STR("one\ntwo\r\nthree"));
    framing_sse_begin(&b, "x");
    buf_lit(&b, "{}");
    framing_sse_end(&b);
    framing_sse_begin(&b, NULL);
    buf_lit(&b, "1");
    framing_sse_end(&b);
    check_text(buf_str(&b), "event: delta\ndata: {\"a\":1}\n\ndata: one\ndata: two\ndata: "
                            "three\n\nevent: x\ndata: {}\n\ndata: 1\n\n");
    expect(FRAMING_SSE, buf_str(&b), STR("delta|{\"a\":1};|one\ntwo\nthree;x|{};|1;"));
    buf_clear(&b);
    framing_write_line(&b, STR("{\"a\":1}"));
    check_text(buf_str(&b), "{\"a\":1}\n");
    buf_done(&b);
}
END_TEST

UNIT_MAIN("framing", sse_is_read_with_every_tolerance, lines_and_arrays_are_cut,
          a_broken_array_is_refused, an_event_is_bounded_in_every_framing,
          endless_lines_and_many_data_lines_are_bounded_too,
          an_endless_comment_is_refused_however_it_is_cut, a_large_event_in_small_reads_comes_whole,
          a_whole_event_is_not_copied, writers_write_what_the_reader_reads)
