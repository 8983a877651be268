/* How many tokens a body is taken for: the long way round says the same. */
#include "relay/request.h"
#include "unit/unit.h"
#include <stdlib.h>

static int64_t by_the_letter(struct str body)
{
    size_t text = 0, run = 0;
    int64_t blobs = 0;
    for (size_t i = 0; i <= body.n; i++) {
        unsigned char c = i < body.n ? (unsigned char)body.p[i] : ' ';
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '+' || c == '/' || c == '=' || c == '-' || c == '_') {
            run++;
            continue;
        }
        if (run >= 512)
            blobs++;
        else
            text += run;
        run = 0;
        text++;
    }
    return (int64_t)(text / 4) + blobs * 1000;
}

START_TEST(input_is_counted_as_letter_by_letter)
{
    static char body[20000];
    unsigned seed = 7;
    for (int round = 0; round < 2000; round++) {
        size_t n = 0, most = (size_t)rand_r(&seed) % sizeof body;
        while (n < most) { /* runs about as long as what counts as a picture, and short ones */
            size_t run = rand_r(&seed) % 3 ? (size_t)rand_r(&seed) % 12
                                           : 500 + (size_t)rand_r(&seed) % 600;
            for (size_t i = 0; i < run && n < most; i++)
                body[n++] = 'Q';
            if (n < most)
                body[n++] = ' ';
        }
        ck_assert_int_eq(asked_input(str_n(body, n)), by_the_letter(str_n(body, n)));
    }
}
END_TEST

START_TEST(runs_at_the_edges)
{
    static char body[4096];
    memset(body, 'a', sizeof body);
    for (size_t n = 0; n < 1600; n++)
        ck_assert_int_eq(asked_input(str_n(body, n)), by_the_letter(str_n(body, n)));
    for (size_t gap = 0; gap < 1600; gap++) {
        body[gap] = '"';
        ck_assert_int_eq(asked_input(str_n(body, 1600)), by_the_letter(str_n(body, 1600)));
        body[gap] = 'a';
    }
}
END_TEST

/* What a prompt comes to at most: each byte of text may be a token, also of a word as long as a picture; what is sent as one is not text. */
START_TEST(no_text_is_denser_than_what_is_held_for)
{
    static char blob[3001], body[8000];
    memset(blob, 'Q', 3000);
    static const struct {
        const char *before;
        bool is_media;
    } rows[] = {{"{\"content\":\"", false},
                {"{\"content\":\"data: ", false},
                {"{\"image_url\":{\"url\":\"data:image/png;base64,", true},
                {"{\"source\":{\"type\":\"base64\",\"data\":\"", true},
                {"{\"inlineData\":{\"data\": \"", true},
                {"{\"images\":[\"", true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int n = snprintf(body, sizeof body, "%s%s\"}", rows[i].before, blob);
        int64_t text = n - 3000, most = asked_input_most(str_n(body, (size_t)n), 1);
        if (rows[i].is_media) {
            ck_assert_int_ge(most, text + 1000);
            ck_assert_int_lt(most, text + 1000 + 3 * 4096);
        } else {
            ck_assert_int_ge(most, n);
            ck_assert_int_lt(most, n + 100);
        }
    }
    ck_assert_int_ge(
        asked_input_most(STR("{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a/b\"}}"),
                         1),
        4096);
    ck_assert_int_lt(asked_input_most(STR("{\"content\":\"abcdefghijkl\"}"), 3), 30);
    ck_assert_int_eq(asked_images(STR("{\"max_tool_calls\":3}"), WIRE_RESPONSES, 7), 7);
    struct str makes = STR("{\"tools\":[{\"type\":\"image_generation\"}],\"max_tool_calls\":3}");
    ck_assert_int_eq(asked_images(makes, WIRE_RESPONSES, 7), 3);
    ck_assert_int_eq(asked_images(makes, WIRE_CHAT, 7), 7);
    ck_assert_int_eq(asked_images(STR("{\"tools\":[{\"type\":\"image_generation\"}],\"metadata\":{"
                                      "\"max_tool_calls\":0}}"),
                                  WIRE_RESPONSES, 7),
                     7);
}
END_TEST

/* Wherever they stand in a body, and however it ends. */
START_TEST(every_part_that_is_no_text_is_counted)
{
    static const char *const names[] = {"image_url",  "input_image", "input_file", "file",
                                        "image",      "document",    "fileData",   "file_data",
                                        "inlineData", "images",      "inline_data"};
    char body[256];
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (int before = 0; before < 40; before++)
            for (int behind = 0; behind < 20; behind++) {
                int n = snprintf(body, sizeof body, "%.*s\"%s\"%.*s\"%s\"", before,
                                 "\"input\",\"fil\",\"ima\",\"d\",i,\\\"imag\\\",\"i", names[i],
                                 behind, ",\"integer\",\"Image\",\"f", names[i]);
                int64_t all = asked_input_most(str_n(body, (size_t)n), 1);
                ck_assert_msg(all >= 2 * 4096 && all < 3 * 4096, "%s: %lld", body, (long long)all);
                all = asked_input_most(str_n(body, (size_t)n - 1), 1);
                ck_assert_msg(all >= 4096 && all < 2 * 4096, "%s: %lld", body, (long long)all);
            }
}
END_TEST

/* Single quotes stand for double ones. */
static struct str text_of(const char *text, char *to)
{
    size_t n = strlen(text);
    for (size_t i = 0; i <= n; i++)
        to[i] = text[i];
    for (size_t i = 0; i < n; i++)
        to[i] = to[i] == '\'' ? '"' : to[i];
    return str_n(to, n);
}

static bool take(enum wire_id client, const char *text, struct relay *rl, struct err *e)
{
    static char body[1024];
    static struct relay_spec spec;
    struct json_want want[ASKED_WANTS];
    struct json_scan scan;
    spec = (struct relay_spec){.client = client};
    *rl = (struct relay){.spec = &spec, .body = text_of(text, body)};
    asked_wants(want);
    ck_assert(json_scan_object(rl->body, want, ASKED_WANTS, 0, &scan, e));
    return asked_take(rl, want, e);
}

START_TEST(what_is_allowed_is_read_as_upstreams_read_it)
{
    static const struct {
        enum wire_id client;
        const char *body;
        int64_t output, choices;
    } rows[] = {
        {WIRE_CHAT, "{}", -1, 1},
        {WIRE_CHAT, "{'max_tokens':600,'n':2}", 600, 2},
        {WIRE_CHAT, "{'max_tokens':6e2,'n':2.0}", 600, 2},
        {WIRE_CHAT, "{'max_tokens':'600','n':' 2 '}", 600, 2},
        {WIRE_CHAT, "{'max_tokens':5,'max_completion_tokens':600.0,'n':0.2e1}", 600, 2},
        {WIRE_CHAT, "{'max_tokens':99999999999999999999,'n':1e999}", 1000000, 10000},
        {WIRE_CHAT, "{'max_tokens':-1,'n':-3}", -1, 1},
        {WIRE_CHAT, "{'max_tokens':0,'n':0}", -1, 1},
        {WIRE_CHAT, "{'max_tokens':null,'n':null}", -1, 1},
        {WIRE_CHAT, "{'max_tokens':[9]}", -1, 1},
        {WIRE_COMPLETIONS, "{'max_tokens':0,'echo':true}", 0, 1}, /* it is asked for the prompt */
        {WIRE_COMPLETIONS, "{'best_of':3.0,'n':2,'prompt':['a','b']}", -1, 6},
        {WIRE_GEMINI, "{'generationConfig':{'maxOutputTokens':7.0,'candidateCount':8.0}}", 7, 8},
        {WIRE_GEMINI,
         "{'generation_config':{'max_output_tokens':7},'generationConfig':{"
         "'candidateCount':2,'candidate_count':3,'maxOutputTokens':5}}",
         7, 3},
        {WIRE_OLLAMA, "{'options':{'num_predict':7e1}}", 70, 1},
        {WIRE_OLLAMA, "{'options':{'num_predict':-2}}", -1, 1},
        /* what another format calls it is nothing that its upstream heeds */
        {WIRE_CHAT,
         "{'max_output_tokens':1,'options':{'num_predict':1},'generationConfig':{"
         "'maxOutputTokens':1}}",
         -1, 1},
        {WIRE_ANTHROPIC, "{'max_tokens':9,'max_completion_tokens':1000}", 9, 1},
        {WIRE_RESPONSES, "{'max_tokens':1,'max_completion_tokens':1}", -1, 1},
        {WIRE_GEMINI, "{'max_tokens':1,'generationConfig':{'num_predict':1}}", -1, 1},
        {WIRE_OLLAMA, "{'max_tokens':1,'options':{'maxOutputTokens':1}}", -1, 1},
    };
    static const struct {
        const char *body, *field;
    } bad[] = {{"{'n':'many'}", "n"},
               {"{'n':true}", "n"},
               {"{'best_of':[1]}", "best_of"},
               {"{'generationConfig':{'candidateCount':{}}}", "candidateCount"},
               {"{'n':1,'\\u006e':9}", "n"},
               {"{'max_tokens':1,'max_tokens':100000}", "max_tokens"},
               {"{'options':{'num_predict':1,'num_predict':9}}", "num_predict"},
               {"{'options':{'num_predict':1},'options':{}}", "options"}};
    struct relay rl;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        ck_assert_msg(take(rows[i].client, rows[i].body, &rl, &e), "%s: %s", rows[i].body,
                      e.message);
        ck_assert_msg(rl.asked_output == rows[i].output && rl.asked_choices == rows[i].choices,
                      "%s: %lld, %lld", rows[i].body, (long long)rl.asked_output,
                      (long long)rl.asked_choices);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = ERR_INIT;
        ck_assert_msg(!take(WIRE_CHAT, bad[i].body, &rl, &e), "%s", bad[i].body);
        ck_assert_int_eq(e.kind, ERR_INPUT);
        ck_assert_str_eq(e.field, bad[i].field);
    }
}
END_TEST

START_TEST(context_that_the_upstream_keeps_is_seen)
{
    static const struct {
        enum wire_id client;
        const char *body;
        bool is_far;
    } rows[] = {{WIRE_RESPONSES, "{'input':'x'}", false},
                {WIRE_RESPONSES, "{'conversation':'conv_1'}", true},
                {WIRE_RESPONSES, "{'conversation':{'id':'conv_1'}}", true},
                {WIRE_RESPONSES, "{'conversation':null,'prompt':null}", false},
                {WIRE_RESPONSES, "{'prompt':{'id':'p'}}", true},
                {WIRE_COMPLETIONS, "{'prompt':'p'}", false},
                {WIRE_CHAT, "{'conversation':'x'}", false},
                {WIRE_GEMINI, "{'cachedContent':'cachedContents/a'}", true},
                {WIRE_GEMINI, "{'cached_content':'cachedContents/a'}", true},
                {WIRE_CHAT, "{'cachedContent':'cachedContents/a'}", false}};
    struct relay rl;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        ck_assert(take(rows[i].client, rows[i].body, &rl, &e));
        ck_assert_msg(rl.has_far_context == rows[i].is_far, "%s", rows[i].body);
    }
}
END_TEST

START_TEST(only_what_bounds_a_search_bounds_it)
{
    static const struct {
        enum wire_id client;
        const char *body;
        int64_t searches;
    } rows[] = {
        {WIRE_ANTHROPIC, "{'messages':[]}", 0},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305'}]}", 5},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305','max_uses':2}]}", 2},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305','max_uses':0}]}", 0},
        {WIRE_ANTHROPIC,
         "{'tools':[{'type':'web_search_20250305','max_uses':1},"
         "{'type':'web_search_20250305','max_uses':2.0}]}",
         3},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305','max_uses':1,'max_uses':4}]}", 4},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305','max_uses':-1}]}", 5},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305'}],'metadata':{'max_uses':0}}", 5},
        {WIRE_ANTHROPIC, "{'tools':[{'type':'web_search_20250305'},{'name':'f','max_uses':0}]}", 5},
        {WIRE_ANTHROPIC, "{'max_tool_calls':0,'tools':[{'type':'web_search_20250305'}]}", 5},
        {WIRE_RESPONSES, "{'tools':[{'type':'web_search'}],'max_tool_calls':3}", 3},
        {WIRE_RESPONSES, "{'tools':[{'type':'web_search'}],'metadata':{'max_tool_calls':0}}", 5},
        {WIRE_RESPONSES, "{'tools':[{'type':'web_search','max_uses':0}]}", 5},
        {WIRE_CHAT, "{'web_search_options':{},'max_tool_calls':0,'max_uses':0}", 5},
        {WIRE_GEMINI, "{'tools':[{'googleSearch':{}}]}", 5},
    };
    static char body[1024];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t n = asked_searches(text_of(rows[i].body, body), rows[i].client, 5);
        ck_assert_msg(n == rows[i].searches, "%s: %lld", rows[i].body, (long long)n);
    }
}
END_TEST

UNIT_MAIN("asked", every_part_that_is_no_text_is_counted, no_text_is_denser_than_what_is_held_for,
          input_is_counted_as_letter_by_letter, runs_at_the_edges,
          what_is_allowed_is_read_as_upstreams_read_it, context_that_the_upstream_keeps_is_seen,
          only_what_bounds_a_search_bounds_it)
