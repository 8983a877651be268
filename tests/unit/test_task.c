/* What a request is for, told by its words: the same in every format. */
#include "base/arena.h"
#include "route/task.h"
#include "unit.h"

static struct arena *a;

static uint32_t tasks(const char *body, bool is_marked)
{
    struct task_ask ask = {.is_marked = is_marked, .phrases = STR("a title | short summary")};
    ck_assert(json_parse(a, str_of(body), 0, &ask.body, NULL));
    ask.max_output = task_max_output(ask.body);
    return tasks_of(&ask);
}

#define HAS(set, task) (((set) >> (task)) & 1)

START_TEST(a_title_is_background_in_every_format)
{
    static const char *const bodies[] = {
        "{\"messages\":[{\"role\":\"system\",\"content\":\"Write A "
        "Title.\"},{\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a "
        "title\"}]},{\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"system\":\"a title\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"system\":[{\"type\":\"text\",\"text\":\"a "
        "title\"}],\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"instructions\":\"a title\",\"input\":\"x\"}",
        "{\"input\":[{\"role\":\"developer\",\"content\":\"a "
        "title\"},{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"x\"}]}]}",
        "{\"systemInstruction\":{\"parts\":[{\"text\":\"a "
        "title\"}]},\"contents\":[{\"parts\":[{\"text\":\"x\"}]}]}",
        "{\"system_instruction\":{\"parts\":[{\"text\":\"a "
        "title\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}]}",
        "{\"system\":\"a title\",\"prompt\":\"x\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        uint32_t t = tasks(bodies[i], false);
        ck_assert_msg(HAS(t, TASK_BACKGROUND) && HAS(t, TASK_CHAT), "%zu: %x", i, t);
        ck_assert_int_eq(task_foremost(t), TASK_BACKGROUND);
    }
}
END_TEST

START_TEST(what_is_background_besides)
{
    static const char *const small[] = {
        "{\"messages\":[],\"max_tokens\":49}", "{\"max_completion_tokens\":1,\"messages\":[]}",
        "{\"max_output_tokens\":20,\"input\":\"x\"}",
        "{\"generationConfig\":{\"maxOutputTokens\":10}}", "{\"options\":{\"num_predict\":10}}"};
    for (size_t i = 0; i < ARRAY_LEN(small); i++)
        ck_assert_msg(HAS(tasks(small[i], false), TASK_BACKGROUND), "%zu", i);
    ck_assert(!HAS(tasks("{\"messages\":[],\"max_tokens\":50}", false), TASK_BACKGROUND));
    ck_assert(!HAS(tasks("{\"messages\":[],\"max_tokens\":0}", false), TASK_BACKGROUND));
    ck_assert(HAS(tasks("{\"messages\":[]}", true), TASK_BACKGROUND));
    /* not what a user says, and not in a long conversation */
    ck_assert(!HAS(tasks("{\"messages\":[{\"role\":\"user\",\"content\":\"a title\"}]}", false),
                   TASK_BACKGROUND));
    ck_assert(
        !HAS(tasks("{\"system\":\"a "
                   "title\",\"messages\":[{\"role\":\"user\",\"content\":\"1\"},{\"role\":\"user\","
                   "\"content\":\"2\"},"
                   "{\"role\":\"user\",\"content\":\"3\"},{\"role\":\"user\",\"content\":\"4\"}]}",
                   false),
             TASK_BACKGROUND));
}
END_TEST

START_TEST(one_kind_each)
{
    static const struct {
        const char *text;
        enum task task;
    } said[] = {{"Refactor this", TASK_CODING},  {"please SUMMARIZE it", TASK_SUMMARIZATION},
                {"compare both", TASK_ANALYSIS}, {"write a poem", TASK_CREATIVE},
                {"how are you?", TASK_CHAT},     {"debug it and write a poem", TASK_CODING}};
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        struct str body = str_fmt(a,
                                  "{\"messages\":[{\"role\":\"user\",\"content\":\"write a "
                                  "poem\"},{\"role\":\"user\",\"content\":\"%s\"}]}",
                                  said[i].text);
        ck_assert_uint_eq(tasks(str_z(a, body), false), 1u << said[i].task);
    }
    static const char *const images[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"u\"}},{\"type\":\"text\",\"text\":\"debug\"}]}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{}}]}]}",
        "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}",
        "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\"}}]}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"images\":[\"b\"]}]}"};
    for (size_t i = 0; i < ARRAY_LEN(images); i++)
        ck_assert_uint_eq(tasks(images[i], false), 1u << TASK_VISION);
}
END_TEST

START_TEST(nonsense_is_chat)
{
    static const char *const bodies[] = {
        "{}",
        "[]",
        "1",
        "{\"messages\":{}}",
        "{\"messages\":[1,null,{\"content\":5},{\"role\":\"user\",\"content\":[1,{}]}]}",
        "{\"system\":7,\"input\":null,\"contents\":[[]]}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        ck_assert_uint_eq(tasks(bodies[i], false), 1u << TASK_CHAT);
    ck_assert_int_eq(task_foremost(0), TASK_ANY);
}
END_TEST

static void begin(void)
{
    a = arena_new();
}

static void end(void)
{
    arena_free(a);
}

int main(void)
{
    const TTest *const tests[] = {a_title_is_background_in_every_format, what_is_background_besides,
                                  one_kind_each, nonsense_is_chat};
    Suite *suite = suite_create("task");
    TCase *cases = tcase_create("all");
    tcase_add_checked_fixture(cases, begin, end);
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(cases, tests[i]);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
