/* What became of the values of a document in one that was made from it. JSON is written with ' for ". */
#include "json/compare.h"
#include "unit/unit.h"

static yyjson_val *quoted(struct arena *a, const char *text)
{
    struct err e = ERR_INIT;
    yyjson_val *root;
    char *p = arena_alloc(a, strlen(text) + 1);
    for (size_t i = 0; i <= strlen(text); i++)
        p[i] = (char)(text[i] == '\'' ? '"' : text[i]);
    ck_assert_msg(json_parse(a, str_of(p), 0, &root, &e), "%s", e.message);
    return root;
}

static const struct {
    const char *from, *to, *expected;
} rows[] = {
    {"{'model':'a','n':1}", "{'model':'b','n':1}", "model~model n=n "},
    {"{'max_tokens':100}", "{'max_completion_tokens':100}",
     "max_tokens>dropped +max_completion_tokens "},
    {"{'max_tokens':4096}", "{'generationConfig':{'maxOutputTokens':4096}}",
     "max_tokens~generationConfig.maxOutputTokens "},
    {"{'messages':[{'role':'user','content':'hello'}]}",
     "{'contents':[{'role':'user','parts':[{'text':'hello'}]}]}",
     "messages[0].role~contents[0].role messages[0].content~contents[0].parts[0].text "},
    {"{'seed':7,'stop':['x','x']}", "{'stop':['x','x'],'stream':true}",
     "seed>dropped stop[0]=stop[0] stop[1]=stop[1] +stream "},
    {"{'tools':[],'a':{}}", "{'tools':[],'b':{}}", "tools=tools a>dropped +b "},
    {"{'a':true,'x':{'top_k':5}}", "{'b':true,'y':{'top_k':5}}", "a>dropped x.top_k~y.top_k +b "},
    {"'text'", "'text'", "= "},
};

START_TEST(each_value_has_its_fate)
{
    struct arena *a = arena_new();
    struct json_leaf *v;
    struct buf b;
    size_t n;
    ck_assert(json_compare(a, quoted(a, rows[_i].from), quoted(a, rows[_i].to), 100, &v, &n));
    buf_init_arena(&b, a, 65536);
    for (size_t i = 0; i < n; i++) {
        if (v[i].fate == JSON_ADDED)
            buf_fmt(&b, "+" STR_FMT " ", STR_ARG(v[i].to));
        else if (v[i].fate == JSON_DROPPED)
            buf_fmt(&b, STR_FMT ">dropped ", STR_ARG(v[i].from));
        else
            buf_fmt(&b, STR_FMT "%s" STR_FMT " ", STR_ARG(v[i].from),
                    v[i].fate == JSON_KEPT ? "=" : "~", STR_ARG(v[i].to));
    }
    ck_assert_str_eq(str_z(a, buf_str(&b)), rows[_i].expected);
    arena_free(a);
}
END_TEST

START_TEST(what_is_too_large_is_refused)
{
    struct arena *a = arena_new();
    struct json_leaf *v;
    size_t n;
    yyjson_val *three = quoted(a, "[1,2,3]");
    ck_assert(json_compare(a, three, three, 3, &v, &n));
    ck_assert(!json_compare(a, three, three, 2, &v, &n));
    arena_free(a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compare");
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, each_value_has_its_fate, 0, (int)ARRAY_LEN(rows));
    tcase_add_test(t, what_is_too_large_is_refused);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
