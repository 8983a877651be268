/* Log lines: fields, escaping, one line an event. Standard error is a pipe here. */
#include "base/log.h"
#include "json/json.h"
#include "unit/unit.h"
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

static char text[8192];
static int reader;
static const char *volatile nobody; /* NULL, unseen by the compiler */

static void capture(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    ck_assert(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)close(ends[1]);
    reader = ends[0];
}

/* What was written since, as one text. */
static struct str captured(void)
{
    ssize_t n = read(reader, text, sizeof text);
    return str_n(text, n > 0 ? (size_t)n : 0);
}

/* Behind the time, which changes. */
static struct str without_time(struct str line)
{
    return str_skip(line, str_index(line, ' ') + 1);
}

START_TEST(fields_are_key_and_value)
{
    capture();
    log_info(NULL, "server.start", "port=%d host=%s ratio=%.2f big=%" PRIu64 " size=%zu", 8765,
             "127.0.0.1", 0.5, UINT64_MAX, (size_t)7);
    struct str line = captured();
    ck_assert(str_starts(line, STR("time=")) && str_ends(line, STR("\n")));
    check_text(without_time(line), "level=info event=server.start port=8765 host=127.0.0.1 "
                                   "ratio=0.50 big=18446744073709551615 size=7\n");
    log_warn("req_1", "upstream.retry", "provider=%.*s attempt=%u note=%s", 3, "openai", 2u,
             nobody);
    check_text(without_time(captured()),
               "level=warn event=upstream.retry id=req_1 provider=ope attempt=2 note=(none)\n");
    log_error(NULL, "x", "%s", "just text");
    check_text(without_time(captured()), "level=error event=x msg=\"just text\"\n");
    log_info(NULL, "x", "done in %d ms code=%x", 5, 255);
    check_text(without_time(captured()), "level=info event=x msg=\"done in 5 ms\" code=ff\n");
    log_debug(NULL, "x", "a=%d", 1);
    ck_assert_uint_eq(captured().n, 0);
    log_setup(LOG_DEBUG, false);
    log_debug(NULL, "x", "a=100%% b=%c%c", 'y', 'z');
    check_text(without_time(captured()), "level=debug event=x a=100% b=yz\n");
}
END_TEST

START_TEST(values_cannot_pass_for_fields_or_lines)
{
    capture();
    log_info("req\n1", "x", "path=%s next=%d", "/a b=1 \"q\" \\ \n\x1b[31m\x7f\xff\xc2\x85\xc3\xa9",
             1);
    struct str line = captured();
    check_text(without_time(line), "level=info event=x id=\"req\\n1\" path=\"/a b=1 \\\"q\\\" \\\\ "
                                   "\\n\\u001b[31m\\u007f\xef\xbf\xbd\\u0085\xc3\xa9\" next=1\n");
    ck_assert_uint_eq(str_index(line, '\n'), line.n - 1);
    log_info(NULL, "x", "empty=%s", "");
    check_text(without_time(captured()), "level=info event=x empty=\"\"\n");
}
END_TEST

START_TEST(json_lines_are_json)
{
    static char large[6000];
    struct arena *a = arena_new();
    yyjson_val *v;
    struct err e = ERR_INIT;
    capture();
    log_setup(LOG_INFO, true);
    log_info("req_1", "x.y", "text=%s n=%d f=%f mixed=%d/%d", "a \"b\"\n\xc3\xa9\xff", -5, 1.5, 1,
             2);
    struct str line = captured();
    ck_assert_msg(json_parse(a, line, 0, &v, &e), STR_FMT, STR_ARG(line));
    check_text(json_get_str(v, "event"), "x.y");
    check_text(json_get_str(v, "id"), "req_1");
    check_text(json_get_str(v, "text"), "a \"b\"\n\xc3\xa9\xef\xbf\xbd");
    ck_assert_int_eq(json_get_int(v, "n", 0), -5);
    ck_assert(json_is_number(json_get(v, "f")));
    check_text(json_get_str(v, "mixed"), "1/2");
    for (int c = 'a'; c < 'd'; c++) { /* too long: cut, but a whole line of JSON */
        memset(large, c == 'c' ? '"' : c, sizeof large - 1);
        log_info(NULL, "x", "one=%s two=%s three=%s four=%d", large, large, large, 1);
        line = captured();
        ck_assert_uint_le(line.n, 4096);
        ck_assert(str_ends(line, STR("\n")));
        ck_assert_msg(json_parse(a, line, 0, &v, &e), "%s: " STR_FMT, e.message, STR_ARG(line));
    }
    arena_free(a);
    arena_thread_done();
}
END_TEST

START_TEST(lines_wait_until_it_is_known_how_they_are_wanted)
{
    struct arena *a = arena_new();
    yyjson_val *v;
    capture();
    log_setup(LOG_INFO, false);
    log_hold();
    log_info(NULL, "x", "n=%d", 1);
    log_warn("req_1", "y", "text=%s", "a \"b\"");
    check_text(captured(), "");
    log_setup(LOG_WARN, true);
    struct str line = captured();
    /* one: the other is too low */
    ck_assert_msg(json_parse(a, line, 0, &v, NULL), STR_FMT, STR_ARG(line));
    check_text(json_get_str(v, "event"), "y");
    check_text(json_get_str(v, "text"), "a \"b\"");
    log_hold();
    log_warn(NULL, "z", "n=%d", 2);
    log_setup(LOG_INFO, false);
    check_text(without_time(captured()), "level=warn event=z n=2\n");
    log_info(NULL, "w", "n=%d", 3);
    check_text(without_time(captured()), "level=info event=w n=3\n");
    arena_free(a);
    arena_thread_done();
}
END_TEST

START_TEST(levels_have_names)
{
    enum log_level level;
    ck_assert(log_level_parse(STR("warn"), &level) && level == LOG_WARN);
    ck_assert(log_level_parse(STR("warning"), &level) && level == LOG_WARN);
    ck_assert(log_level_parse(STR("debug"), &level) && level == LOG_DEBUG);
    ck_assert(!log_level_parse(STR("loud"), &level));
    log_setup(LOG_ERROR, false);
    ck_assert(!log_enabled(LOG_WARN) && log_enabled(LOG_ERROR));
}
END_TEST

UNIT_MAIN("log", fields_are_key_and_value, values_cannot_pass_for_fields_or_lines,
          json_lines_are_json, lines_wait_until_it_is_known_how_they_are_wanted, levels_have_names)
