/* The reader beside a passed stream: whatever the cuts, the client gets the same bytes and the same things are found. */
#include "relay/scan.h"
#include <check.h>
#include <stdlib.h>

#define USAGE_CHUNK                                                                                \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_" \
    "tokens\":12}}\n\n"
#define TEXT_CHUNK \
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"caf\xc3\xa9\"}}]}\n\n"
#define STOP_CHUNK                                                                                 \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":" \
    "null}\n\n"
#define DONE "data: [DONE]\n\n"

static void collect(void *arg, struct str bytes)
{
    buf_str_add(arg, bytes);
}

static struct stream_scan scan_in_steps(const char *text, size_t step, bool strip, size_t max_frame,
                                        struct buf *out)
{
    struct stream_scan s;
    stream_scan_init(&s, wire_of(WIRE_CHAT), strip, max_frame);
    buf_init(out, 1u << 20);
    for (size_t at = 0, n = strlen(text); at < n; at += step)
        stream_scan_push(&s, str_n(text + at, n - at < step ? n - at : step), collect, out);
    stream_scan_end(&s, collect, out);
    return s;
}

START_TEST(passes_every_byte_and_finds_usage_at_any_cut)
{
    const char *text = ": hello\n\n" TEXT_CHUNK TEXT_CHUNK STOP_CHUNK USAGE_CHUNK DONE;
    for (size_t step = 1; step <= strlen(text); step++) {
        struct buf out;
        struct stream_scan s = scan_in_steps(text, step, false, 1u << 20, &out);
        ck_assert_msg(str_eq(buf_str(&out), str_of(text)), "step %zu gave %.*s", step, (int)out.n,
                      out.p);
        ck_assert_int_eq(s.usage.input_total, 7);
        ck_assert_int_eq(s.usage.output_total, 5);
        ck_assert_int_eq(s.stop, IR_STOP_END);
        ck_assert(s.is_terminal);
        stream_scan_done(&s);
        buf_done(&out);
    }
}
END_TEST

/* Wherever a read ends, and however large the pictures. */
START_TEST(counts_pictures_at_any_cut)
{
    static const struct {
        enum wire_id wire;
        const char *text;
        int64_t found;
    } rows[] = {
        {WIRE_CHAT,
         "{\"images\":[{\"type\":\"image_url\",\"image_url\" : "
         "{\"url\":\"data:AAAA\"}},{\"image_url\":1}]}",
         2},
        {WIRE_CHAT, "{\"content\":\"\\\"image_url\\\": 1\",\"image_url\"", 0},
        {WIRE_GEMINI,
         "[{\"inlineData\":{\"mimeType\" :\n "
         "\"image/png\"}},{\"mimeType\":\"audio/wav\"},{\"mimeType\":\"image/jpeg\"}]",
         2},
        {WIRE_RESPONSES,
         "event: response.image_generation_call.completed\ndata: "
         "{\"type\":\"response.image_generation_call.completed\"}\n\n",
         1},
        {WIRE_OLLAMA,
         "{\"message\":{\"content\":\"\\\"images\\\":[\\\"a\\\"]\",\"images\" : "
         "[\"QUFB\", \"QkJC\"]}}\n{\"images\":[]}\n{\"images\":null,\"images\":[\"QQ==\"]}",
         3},
        {WIRE_OLLAMA_GENERATE, "{\"response\":\"images\",\"images\":[\"QUFB\"],\"x\":[\"y\"]}", 1},
        {WIRE_ANTHROPIC, "{\"mimeType\":\"image/png\"}", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step <= strlen(rows[i].text); step++) {
            struct image_scan s = {0};
            for (size_t at = 0, n = strlen(rows[i].text); at < n; at += step)
                image_scan_push(&s, rows[i].wire,
                                str_n(rows[i].text + at, n - at < step ? n - at : step));
            ck_assert_msg(image_scan_end(&s, rows[i].wire) == rows[i].found,
                          "row %zu, step %zu: %lld", i, step, (long long)s.found);
        }
}
END_TEST

START_TEST(counts_the_elements_of_arrays)
{
    static const struct {
        const char *text;
        int64_t n;
    } rows[] = {{"[]", 0},
                {" [ ] ", 0},
                {"{}", 0},
                {"[1]", 1},
                {"[{\"a\":[1,2,{}]},\"]\\\\\",\"\\\"],\",[[],[]]]", 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_int_eq(count_elements(str_of(rows[i].text)), rows[i].n);
}
END_TEST

/* By its text, whatever stands around it, and only behind what usage tells. */
START_TEST(tells_what_was_said_at_any_cut)
{
#define SAY(inside) "data: {\"choices\":[{\"index\":0,\"delta\":{" inside "}}]}\n\n"
    static const struct {
        enum wire_id wire;
        const char *text;
        int64_t said;
    } rows[] = {
        {WIRE_CHAT,
         SAY("\"role\":\"assistant\",\"content\":\"\"") SAY("\"content\":\"12345678\"")
             SAY("\"content\" : \"a\"") SAY("\"content\":null"),
         2 + 1},
        {WIRE_CHAT,
         SAY("\"content\":null,\"reasoning_content\":\"12345678\",\"reasoning\":\"12345678\"")
             SAY("\"reasoning\":\"1234\"")
                 SAY("\"tool_calls\":[{\"function\":{\"arguments\":\"{\\\"a\\\":12}\"}}]"),
         2 + 1 + 2},
        {WIRE_CHAT,
         SAY("\"content\":\"\\u4e16\\u4e16\\n\\\"\\\\\"")
             SAY("\"content\":[{\"type\":\"text\",\"text\":\"x\"}]"),
         2 + 1},
        {WIRE_CHAT,
         "data: {\"choices\":[{\"delta\":{\"content\":\"1234\"},\"logprobs\":{\"content\":[{"
         "\"token\":\"1234\",\"logprob\":-0.1,\"top_logprobs\":[]}]}}]}\n\n",
         1},
        {WIRE_CHAT, SAY("\"content\":\"\\\"content\\\":\\\"x\\\"\""), 3},
        {WIRE_CHAT, SAY("\"content\":\"12345678\"") USAGE_CHUNK DONE, 0},
        {WIRE_CHAT, SAY("\"content\":\"12345678\"") USAGE_CHUNK SAY("\"content\":\"x\""), 1},
        {WIRE_COMPLETIONS, "data: {\"choices\":[{\"text\":\"12345678\"}]}\n\n", 2},
        {WIRE_ANTHROPIC,
         "event: message_start\ndata: "
         "{\"message\":{\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}\n\n"
         "event: content_block_delta\ndata: "
         "{\"delta\":{\"type\":\"text_delta\",\"text\":\"12345678\"}}\n\n"
         "event: content_block_delta\r\ndata: {\"delta\":{\"thinking\":\"1\"}}\r\n\r\n"
         "event: content_block_delta\ndata: {\"delta\":{\"partial_json\":\"{\"}}\n\n: ping\n\n",
         2 + 1 + 1},
        {WIRE_RESPONSES,
         "data: {\"type\":\"response.output_text.delta\",\"delta\":\"12345678\"}\n\n"
         "data: {\"type\":\"response.output_text.done\",\"text\":\"12345678\"}\n\n",
         2},
        {WIRE_GEMINI,
         "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"12345678\"},"
         "{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":\"}\",\"b\":[1]}}}]}}]}\r\n\r\n",
         2 + 4},
        {WIRE_OLLAMA,
         "{\"message\":{\"content\":\"12345678\",\"thinking\":\"1\"},\"done\":false}\n"
         "{\"response\":\"x\",\"done\":false}\n",
         2 + 1 + 1},
        {WIRE_OLLAMA,
         "{\"message\":{\"content\":\"12345678\"}}\n{\"done\":true,\"eval_count\":3}\n", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t step = 1; step <= strlen(rows[i].text); step++) {
            struct stream_scan s;
            struct buf out;
            buf_init(&out, 1u << 20);
            stream_scan_init(&s, wire_of(rows[i].wire), false, 1u << 20);
            for (size_t at = 0, n = strlen(rows[i].text); at < n; at += step)
                stream_scan_push(&s, str_n(rows[i].text + at, n - at < step ? n - at : step),
                                 collect, &out);
            stream_scan_end(&s, collect, &out);
            ck_assert_msg(s.said == rows[i].said, "row %zu, step %zu: %lld", i, step,
                          (long long)s.said);
            stream_scan_done(&s);
            buf_done(&out);
        }
}
END_TEST

/* A read that brings many is measured by some. */
START_TEST(many_at_once_are_taken_to_be_alike)
{
    static char text[100000];
    size_t n = 0;
    for (int i = 0; i < 12; i++) /* what says nothing is not among them */
        n += (size_t)snprintf(text + n, sizeof text - n, ": ping %d\n\n", i);
    for (int i = 0; i < 600; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, SAY("\"content\":\"123456789012\""));
    for (size_t step = 500; step <= 100000; step = step * 3) {
        struct buf out;
        struct stream_scan s = scan_in_steps(text, step, false, 1u << 20, &out);
        ck_assert_int_eq(s.said, 600 * 3);
        stream_scan_done(&s);
        buf_done(&out);
    }
}
END_TEST

START_TEST(leaves_out_the_usage_chunk_that_we_asked_for)
{
    const char *text = TEXT_CHUNK STOP_CHUNK USAGE_CHUNK DONE;
    for (size_t step = 1; step <= strlen(text); step++) {
        struct buf out;
        struct stream_scan s = scan_in_steps(text, step, true, 1u << 20, &out);
        ck_assert_msg(str_eq(buf_str(&out), STR(TEXT_CHUNK STOP_CHUNK DONE)), "step %zu gave %.*s",
                      step, (int)out.n, out.p);
        ck_assert_int_eq(s.usage.total, 12);
        stream_scan_done(&s);
        buf_done(&out);
    }
}
END_TEST

START_TEST(keeps_usage_that_stands_beside_content)
{
    const char *text = "data: "
                       "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],\"usage\":{"
                       "\"prompt_tokens\":1,\"completion_tokens\":2}}\r\n\r\n" DONE;
    struct buf out;
    struct stream_scan s = scan_in_steps(text, 1000, true, 1u << 20, &out);
    ck_assert(str_eq(buf_str(&out), str_of(text)));
    ck_assert_int_eq(s.usage.output_total, 2);
    stream_scan_done(&s);
    buf_done(&out);
}
END_TEST

START_TEST(lets_giant_frames_through_unread)
{
    char *text = malloc(9000);
    size_t n = (size_t)snprintf(text, 9000,
                                TEXT_CHUNK "data: {\"choices\":[{\"delta\":{\"content\":\"");
    memset(text + n, 'x', 5000);
    (void)snprintf(text + n + 5000, 4000 - n, "\"}}]}\n\n" USAGE_CHUNK DONE);
    for (size_t step = 1; step < 6000; step = step * 3 + 1)
        for (int strip = 0; strip < 2; strip++) {
            struct buf out;
            struct stream_scan s = scan_in_steps(text, step, strip, 512, &out);
            size_t expected = strlen(text) - (strip && step < 400 ? strlen(USAGE_CHUNK) : 0);
            if (step < 400) /* in one push the giant is seen whole, and nothing needs to wait */
                ck_assert_uint_eq(out.n, expected);
            ck_assert_int_eq(s.usage.total, 12);
            stream_scan_done(&s);
            buf_done(&out);
        }
    free(text);
}
END_TEST

START_TEST(gives_the_first_delta_a_role)
{
#define DELTA(inside) "data: {\"choices\":[{\"index\":0,\"delta\": {" inside "}}]}\n\n"
    static const char *const rows[][2] = {
        {DELTA("\"content\":\"x\"") DELTA("\"content\":\"y\""),
         DELTA("\"role\":\"assistant\",\"content\":\"x\"") DELTA("\"content\":\"y\"")},
        {": hi\n\n" DELTA("") STOP_CHUNK DONE,
         ": hi\n\n" DELTA("\"role\":\"assistant\"") STOP_CHUNK DONE},
        {DELTA("\"content\":null,\"role\":\"assistant\"") DELTA("\"content\":\"y\"") DONE,
         DELTA("\"content\":null,\"role\":\"assistant\"") DELTA("\"content\":\"y\"") DONE},
        {DELTA("\"content\":\"\\\"role\\\"\""),
         DELTA("\"role\":\"assistant\",\"content\":\"\\\"role\\\"\"")},
        {"data: {\"choices\":[]}\n\n" DELTA("\"content\":\"y\"") USAGE_CHUNK DONE,
         "data: {\"choices\":[]}\n\n" DELTA("\"role\":\"assistant\",\"content\":\"y\"")
             USAGE_CHUNK DONE},
        {"data: {\"choices\":[{\"delta\":null}]}\n\n" DONE,
         "data: {\"choices\":[{\"delta\":null}]}\n\n" DONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str text = str_of(rows[i][0]);
        for (size_t step = 1; step <= text.n; step++) {
            struct stream_scan s;
            struct buf out;
            buf_init(&out, 1u << 20);
            stream_scan_init(&s, wire_of(WIRE_CHAT), false, 1u << 20);
            s.needs_role = true;
            for (size_t at = 0; at < text.n; at += step)
                stream_scan_push(&s, str_first(str_skip(text, at), step), collect, &out);
            stream_scan_end(&s, collect, &out);
            ck_assert_msg(str_eq(buf_str(&out), str_of(rows[i][1])), "step %zu gave %.*s", step,
                          (int)out.n, out.p);
            stream_scan_done(&s);
            buf_done(&out);
        }
    }
}
END_TEST

START_TEST(reports_an_error_that_comes_first)
{
    const char *text = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    for (size_t step = 1; step <= strlen(text); step++) {
        struct stream_scan s;
        struct buf out;
        buf_init(&out, 4096);
        stream_scan_init(&s, wire_of(WIRE_CHAT), false, 4096);
        for (size_t at = 0; at < strlen(text) && !s.is_error_first; at += step)
            stream_scan_push(&s, str_first(str_of(text + at), step), collect, &out);
        ck_assert(s.is_error_first);
        ck_assert_uint_eq(out.n, 0); /* nothing went out: another target may be tried */
        stream_scan_done(&s);
        buf_done(&out);
    }
}
END_TEST

struct suspects {
    struct stream_scan *scan;
    struct buf good, bad;
};

static void sort_out(void *arg, struct str bytes)
{
    struct suspects *x = arg;
    buf_str_add(x->scan->is_error ? &x->bad : &x->good, bytes);
}

/* Whatever the cuts, a frame that tells of an error is forwarded whole, and as such. */
START_TEST(tells_which_frames_are_of_errors)
{
    static const struct {
        enum wire_id wire;
        const char *good, *bad, *rest;
        bool has_error;
    } rows[] = {
        {WIRE_CHAT, TEXT_CHUNK, "data: {\"error\":{\"message\":\"no\"}}\n\n", "", true},
        {WIRE_CHAT, TEXT_CHUNK,
         "data: {\"id\":\"c\",\"error\" : {\"message\":\"no\"},\"choices\":[]}\n\n", DONE, false},
        {WIRE_CHAT, TEXT_CHUNK USAGE_CHUNK, "event: x\ndata: {\"object\":\"error\"}\n\n", DONE,
         false},
        {WIRE_CHAT, TEXT_CHUNK "data: {\"error\" : null,\"choices\":[]}\n\n" STOP_CHUNK DONE, "",
         "", false},
        {WIRE_CHAT, "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\"\"}}]}\n\n", "", "",
         false},
        {WIRE_RESPONSES, "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
         "data: {\"type\":\"response.failed\",\"response\":{\"status_details\":\"no\"}}\n\n", "",
         true},
        {WIRE_ANTHROPIC, "event: ping\ndata: {\"type\":\"ping\"}\n\n",
         "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n", "", true},
        {WIRE_GEMINI, "data: {\"usageMetadata\":{}}\r\n\r\n",
         "data: {\"usageMetadata\":{},\"error\":{}}\r\n\r\n", "data: {}\r\n\r\n", false},
        {WIRE_OLLAMA, "{\"done\":false}\n", "{\"error\":\"no\"}\n", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1000];
        size_t n = (size_t)snprintf(text, sizeof text, "%s%s%s", rows[i].good, rows[i].bad,
                                    rows[i].rest);
        char good[1000];
        (void)snprintf(good, sizeof good, "%s%s", rows[i].good, rows[i].rest);
        for (size_t step = 1; step <= n; step++) {
            struct stream_scan s;
            struct suspects x = {.scan = &s};
            buf_init(&x.good, 4096);
            buf_init(&x.bad, 4096);
            stream_scan_init(&s, wire_of(rows[i].wire), false, 4096);
            for (size_t at = 0; at < n; at += step)
                stream_scan_push(&s, str_first(str_n(text + at, n - at), step), sort_out, &x);
            stream_scan_end(&s, sort_out, &x);
            ck_assert_msg(str_eq(buf_str(&x.good), str_of(good)) &&
                              str_eq(buf_str(&x.bad), str_of(rows[i].bad)) &&
                              s.has_error == rows[i].has_error,
                          "row %zu, step %zu: good %.*s bad %.*s", i, step, (int)x.good.n, x.good.p,
                          (int)x.bad.n, x.bad.p);
            stream_scan_done(&s);
            buf_done(&x.good);
            buf_done(&x.bad);
        }
    }
}
END_TEST

/* One too large to wait for goes in pieces, each of them known for what it is. */
START_TEST(a_giant_error_is_known_in_each_piece)
{
    static char text[9000];
    struct stream_scan s;
    struct suspects x = {.scan = &s};
    size_t head = (size_t)snprintf(text, sizeof text, TEXT_CHUNK "data: {\"error\":\"");
    memset(text + head, 'x', 6000);
    (void)snprintf(text + head + 6000, 1000, "\"}\n\n" TEXT_CHUNK);
    buf_init(&x.good, 9000);
    buf_init(&x.bad, 9000);
    stream_scan_init(&s, wire_of(WIRE_CHAT), false, 512);
    for (size_t at = 0, n = strlen(text); at < n; at += 100)
        stream_scan_push(&s, str_first(str_n(text + at, n - at), 100), sort_out, &x);
    stream_scan_end(&s, sort_out, &x);
    ck_assert(str_eq(buf_str(&x.good), STR(TEXT_CHUNK TEXT_CHUNK)));
    ck_assert_uint_eq(x.bad.n + x.good.n, strlen(text));
    stream_scan_done(&s);
    buf_done(&x.good);
    buf_done(&x.bad);
}
END_TEST

START_TEST(finds_bytes_wherever_they_stand)
{
    char hay[300]; /* several of the widest blocks, and what is left behind them */
    for (size_t n = 5; n <= sizeof hay; n++)
        for (size_t at = 0; at + 5 <= n; at++) {
            memset(hay, '"', sizeof hay);
            memcpy(hay + at, "\"usag", 5);
            ck_assert_uint_eq(find_bytes(str_n(hay, n), STR("\"usag")), at);
            hay[at + 4] = 'x';
            ck_assert_uint_eq(find_bytes(str_n(hay, n), STR("\"usag")), n);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream_scan");
    TCase *t = tcase_create("all");
    tcase_add_test(t, passes_every_byte_and_finds_usage_at_any_cut);
    tcase_add_test(t, leaves_out_the_usage_chunk_that_we_asked_for);
    tcase_add_test(t, keeps_usage_that_stands_beside_content);
    tcase_add_test(t, lets_giant_frames_through_unread);
    tcase_add_test(t, gives_the_first_delta_a_role);
    tcase_add_test(t, reports_an_error_that_comes_first);
    tcase_add_test(t, tells_which_frames_are_of_errors);
    tcase_add_test(t, a_giant_error_is_known_in_each_piece);
    tcase_add_test(t, finds_bytes_wherever_they_stand);
    tcase_add_test(t, counts_pictures_at_any_cut);
    tcase_add_test(t, tells_what_was_said_at_any_cut);
    tcase_add_test(t, many_at_once_are_taken_to_be_alike);
    tcase_add_test(t, counts_the_elements_of_arrays);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
