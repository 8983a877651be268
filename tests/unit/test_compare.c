/* What became of the values of a document in one that was made from it. JSON is written with ' for ". */
#include "json/compare.h"
#include "unit/unit.h"
#include "wire/places.h"

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

#define CLAUDE                                                                                     \
    "{'max_tokens':300,'stop_sequences':['END'],'system':'Be "                                     \
    "brief.','tool_choice':{'type':'tool',"                                                        \
    "'name':'lookup'},'metadata':{'user_id':'u-1'},'top_k':5,'messages':[{'role':'user','content'" \
    ":[{'type':'image','source':{'type':'base64','media_type':'image/png','data':'iVBORw0KGgo='}}" \
    "]},{'role':'assistant','content':[{'type':'tool_use','id':'toolu_1','name':'lookup','input':" \
    "{'id':'7','n':[1]}}]}]}"
#define CHAT                                                                                     \
    "{'max_completion_tokens':300,'stop':['END'],'messages':[{'role':'system','content':'Be "    \
    "brief.'},{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:image/png;" \
    "base64,iVBORw0KGgo='}}]},{'role':'assistant','tool_calls':[{'id':'toolu_1','type':"         \
    "'function','function':{'name':'lookup','arguments':'{\\'id\\':\\'7\\',\\'n\\':[1]}'}}]}],"  \
    "'tool_choice':{'type':'function','function':{'name':'lookup'}},'user':'u-1'}"

static const struct {
    const char *from, *to, *dropped, *expected;
} rows[] = {
    {"{'model':'a','n':1}", "{'model':'b','n':1}", "", "model~model n=n "},
    {"{'max_tokens':100}", "{'max_completion_tokens':90}", "", "max_tokens~max_completion_tokens "},
    {"{'max_tokens':4096}", "{'generationConfig':{'maxOutputTokens':4096}}", "",
     "max_tokens~generationConfig.maxOutputTokens "},
    {"{'messages':[{'role':'user','content':'hello'}]}",
     "{'contents':[{'role':'user','parts':[{'text':'hello'}]}]}", "",
     "messages[0].role~contents[0].role messages[0].content~contents[0].parts[0].text "},
    {"{'seed':7,'stop':['x','x']}", "{'stop':['x','x'],'stream':true}", "seed",
     "seed>dropped stop[0]=stop[0] stop[1]=stop[1] +stream "},
    {"{'tools':[],'a':{}}", "{'tools':[],'b':{}}", "", "tools=tools a? +b "},
    {"{'a':true,'x':{'top_k':5}}", "{'b':true,'y':{'top_k':5}}", "a",
     "a>dropped x.top_k~y.top_k +b "},
    {"{'tools':[{'strict':true},{'strict':true}],'stop':['a','b']}", "{'stop':['a']}",
     "tools.strict", "tools[0].strict>dropped tools[1].strict>dropped stop[0]=stop[0] stop[1]? "},
    {"{'stop':['a','b']}", "{'stop':['a']}", "stop[1]", "stop[0]=stop[0] stop[1]>dropped "},
    {"'text'", "'text'", "", "= "},
    {CLAUDE, CHAT, "top_k",
     "max_tokens~max_completion_tokens stop_sequences[0]~stop[0] system~messages[0].content "
     "tool_choice.type~tool_choice.type tool_choice.name~tool_choice.function.name "
     "metadata.user_id~user top_k>dropped messages[0].role~messages[1].role "
     "messages[0].content[0].type~messages[1].content[0].type "
     "messages[0].content[0].source.type~messages[1].content[0].image_url.url "
     "messages[0].content[0].source.media_type~messages[1].content[0].image_url.url "
     "messages[0].content[0].source.data~messages[1].content[0].image_url.url "
     "messages[1].role~messages[2].role "
     "messages[1].content[0].type~messages[2].tool_calls[0].type "
     "messages[1].content[0].id~messages[2].tool_calls[0].id "
     "messages[1].content[0].name~messages[2].tool_calls[0].function.name "
     "messages[1].content[0].input.id~messages[2].tool_calls[0].function.arguments "
     "messages[1].content[0].input.n[0]~messages[2].tool_calls[0].function.arguments "
     "+messages[0].role "},
    {"{'id':'c1','choices':[{'message':{'tool_calls':[{'function':{'arguments':'{\\'id\\':\\'7\\'}'"
     "}"
     "}]},'finish_reason':'tool_calls'}],'usage':{'prompt_tokens':9,'completion_tokens':2}}",
     "{'id':'m1','content':[{'input':{'id':'7'}}],'stop_reason':'tool_use','usage':"
     "{'input_tokens':7,'output_tokens':2}}",
     "",
     "id~id choices[0].finish_reason~stop_reason usage.prompt_tokens~usage.input_tokens "
     "usage.completion_tokens~usage.output_tokens "
     "choices[0].message.tool_calls[0].function.arguments~content[0].input.id "},
    {"{'system':[{'text':'The first of two texts'},{'text':'and its second part'}]}",
     "{'messages':[{'content':'The first of two texts\\n\\nand its second part'}]}", "",
     "system[0].text~messages[0].content system[1].text~messages[0].content "},
};

START_TEST(each_value_has_its_fate)
{
    struct arena *a = arena_new();
    struct json_leaf *v;
    struct buf b;
    size_t n;
    struct str dropped = str_of(rows[_i].dropped);
    struct json_compare how = {wire_places, &dropped, 1, 100};
    ck_assert(json_compare(a, quoted(a, rows[_i].from), quoted(a, rows[_i].to), &how, &v, &n));
    buf_init_arena(&b, a, 65536);
    for (size_t i = 0; i < n; i++) {
        if (v[i].fate == JSON_ADDED)
            buf_fmt(&b, "+" STR_FMT " ", STR_ARG(v[i].to));
        else if (v[i].fate == JSON_DROPPED)
            buf_fmt(&b, STR_FMT ">dropped ", STR_ARG(v[i].from));
        else if (v[i].fate == JSON_UNCOMPARED)
            buf_fmt(&b, STR_FMT "? ", STR_ARG(v[i].from));
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
    ck_assert(json_compare(a, three, three, &(struct json_compare){.max = 3}, &v, &n));
    ck_assert(!json_compare(a, three, three, &(struct json_compare){.max = 2}, &v, &n));
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
