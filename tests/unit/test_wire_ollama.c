/* Ollama to and from the other formats; the numbers in comments are rows of the list of pitfalls. */
#include "unit/wire_kit.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct kit k;

static void setup(void)
{
    kit_init(&k, &wire_ollama, &wire_ollama);
}

static void teardown(void)
{
    kit_done(&k);
}

#define HI "'messages':[{'role':'user','content':'hi'}]"

static const struct kit_request_row own_rows[] = {
    /* clang-format off */
    {"{'model':'m'," HI "}", "", "{'model':'up-model'," HI ",'stream':true}"}, /* 21 */
    {"{" HI ",'stream':false}", "stream", "false"},
    {"{'messages':[{'role':'system','content':'a'},{'role':'user','content':'x'},{'role':'system','content':'b'},{'role':'user','content':'y'}]}", "messages",
     "[{'role':'system','content':'a'},{'role':'user','content':'x'},{'role':'system','content':'b'},{'role':'user','content':'y'}]"}, /* 5 */
    {"{" HI ",'options':{'temperature':0.10,'num_predict':-2,'num_ctx':99,'stop':'q','seed':1},'keep_alive':'5m'}", "options",
     "{'temperature':0.10,'seed':1,'stop':['q'],'num_ctx':99}"},
    {"{" HI ",'keep_alive':'5m'}", "keep_alive", "'5m'"}, /* 28 */
    {"{" HI ",'think':true}", "think", "true"},
    {"{" HI ",'think':'medium'}", "think", "'medium'"},
    {"{" HI ",'think':false}", "think", "false"},
    {"{" HI "}", "think", "absent"},
    {"{" HI ",'format':'json'}", "format", "'json'"},
    {"{" HI ",'format':''}", "format", "absent"},
    {"{" HI ",'format':{'type':'object','properties':{'a':{'const':1}}}}", "format", "{'type':'object','properties':{'a':{'const':1}}}"},
    {"{" HI ",'logprobs':true,'top_logprobs':2}", "top_logprobs", "2"},
    {"{'messages':[{'role':'user','content':'x','images':['iVBORw0KGgo=']}]}", "messages.0", "{'role':'user','content':'x','images':['iVBORw0KGgo=']}"},
    {"{'messages':[{'role':'user','content':'x','images':['data:image/png;base64,iVBORw0KGgo=']}]}", "messages.0.images", "['iVBORw0KGgo=']"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'','thinking':'hm','tool_calls':[{'id':'c1','function':{'name':'f','arguments':{'a':1.0}}}]},"
     "{'role':'tool','tool_name':'f','tool_call_id':'c1','content':'r'}]}", "messages.1",
     "{'role':'assistant','content':'','thinking':'hm','tool_calls':[{'id':'c1','function':{'index':0,'name':'f','arguments':{'a':1.0}}}]}"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'','tool_calls':[{'id':'c1','function':{'name':'f','arguments':{'a':1.0}}}]},"
     "{'role':'tool','tool_name':'f','tool_call_id':'c1','content':'r'}]}", "messages.2",
     "{'role':'tool','content':'r','tool_name':'f','tool_call_id':'c1'}"},
    {"{" HI ",'tools':[{'type':'function','function':{'name':'f','description':'d','parameters':{'type':'object','properties':{'a':{'type':'string'}}}}}]}", "tools",
     "[{'type':'function','function':{'name':'f','description':'d','parameters':{'type':'object','properties':{'a':{'type':'string'}}}}}]"},
    /* clang-format on */
};

START_TEST(keeps_its_own_requests)
{
    kit_check_request(&k, &own_rows[_i]);
}
END_TEST

static const struct kit_request_row anthropic_rows[] = {
    /* clang-format off */
    {"{'max_tokens':5,'system':'s','messages':[{'role':'user','content':[{'type':'text','text':'x'},{'type':'text','text':'y'}]}],'temperature':0.5,'stop_sequences':['q'],'top_k':4}", "",
     "{'model':'up-model','messages':[{'role':'system','content':'s'},{'role':'user','content':'xy'}],'options':{'temperature':0.5,'top_k':4,'num_predict':5,'stop':['q']},'stream':false}"},
    {"{'messages':[{'role':'user','content':'x'}],'tools':[{'name':'f'},{'name':'g'}],'tool_choice':{'type':'tool','name':'g'}}", "tools",
     "[{'type':'function','function':{'name':'g','parameters':{'type':'object','properties':{}}}}]"},
    {"{'messages':[{'role':'user','content':'x'}],'tools':[{'name':'f'}],'tool_choice':{'type':'none'}}", "tools", "absent"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'tool_use','id':'a','name':'f','input':{}}]},{'role':'user','content':["
     "{'type':'tool_result','tool_use_id':'a','content':[{'type':'text','text':'1'},{'type':'text','text':'2'},{'type':'image','source':{'type':'base64','media_type':'image/png','data':'AA=='}}]},"
     "{'type':'text','text':'go'}]}]}", "messages.2", "{'role':'tool','content':'12','images':['AA=='],'tool_name':'f','tool_call_id':'a'}"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'thinking','thinking':'t','signature':'s'},{'type':'text','text':'a'}]},{'role':'user','content':'y'}]}",
     "messages.1", "{'role':'assistant','content':'a'}"},
    {"{'thinking':{'type':'enabled','budget_tokens':2000},'messages':[{'role':'user','content':'x'}]}", "think", "true"},
    {"{'thinking':{'type':'adaptive'},'messages':[{'role':'user','content':'x'}]}", "think", "absent"},
    {"{'thinking':{'type':'adaptive'},'output_config':{'effort':'max'},'messages':[{'role':'user','content':'x'}]}", "think", "'high'"},
    {"{'output_config':{'format':{'type':'json_schema','schema':{'type':'object'}}},'messages':[{'role':'user','content':'x'}]}", "format", "{'type':'object'}"},
    /* clang-format on */
};

START_TEST(takes_requests_of_anthropic)
{
    kit_use(&k, &wire_anthropic, &wire_ollama);
    kit_check_request(&k, &anthropic_rows[_i]);
}
END_TEST

START_TEST(says_what_it_drops)
{
    kit_use(&k, &wire_anthropic, &wire_ollama);
    ck_assert(kit_request(&k, "{'metadata':{'user_id':'u'},'messages':[{'role':'user','content':'x'"
                              "}],'tools':[{'name':'f'}],"
                              "'tool_choice':{'type':'any','disable_parallel_tool_use':true}}")
                  .n);
    ck_assert(kit_dropped(&k, "tool_choice") && kit_dropped(&k, "user") &&
              kit_dropped(&k, "parallel_tool_calls"));
    ck_assert(kit_request(&k, "{'messages':[{'role':'user','content':[{'type':'image','source':{'"
                              "type':'url','url':'https://x.test/a.png'}}]}]}")
                  .n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
}
END_TEST

static const struct kit_request_row generate_rows[] = {
    /* clang-format off */
    {"{'model':'m','prompt':'hi','system':'s','images':['iVBORw0KGgo='],'options':{'num_predict':3},'keep_alive':0}", "",
     "{'model':'up-model','messages':[{'role':'system','content':'s'},{'role':'user','content':'hi','images':['iVBORw0KGgo=']}],'options':{'num_predict':3},'keep_alive':0,'stream':true}"},
    {"{'prompt':'hi','stream':false,'raw':true,'template':'t','context':[1]}", "messages", "[{'role':'user','content':'hi'}]"},
    /* clang-format on */
};

START_TEST(takes_generate_requests)
{
    kit_use(&k, &wire_ollama_generate, &wire_ollama);
    kit_check_request(&k, &generate_rows[_i]);
    ck_assert(_i == 0 || (kit_dropped(&k, "raw") && kit_dropped(&k, "template") &&
                          kit_dropped(&k, "context")));
}
END_TEST

START_TEST(empty_prompt_only_loads)
{
    kit_use(&k, &wire_ollama_generate, &wire_ollama);
    ck_assert(kit_request(&k, "{'model':'m','prompt':''}").n);
    ck_assert(k.req.is_preload);
    struct ir_response none = {.usage = IR_USAGE_NONE};
    struct buf b;
    buf_init_arena(&b, k.arena, 4096);
    wire_ollama_generate.write_response(&k.ctx, &none, &b);
    kit_expect_at(&k, buf_str(&b), "done_reason", "'load'");
    kit_use(&k, &wire_ollama, &wire_ollama);
    ck_assert(kit_request(&k, "{'model':'m','messages':[]}").n);
    ck_assert(k.req.is_preload);
}
END_TEST

static const struct kit_refused_row refused_rows[] = {
    {"{'messages':5}", "messages"},
    {"{'messages':[{'role':'robot','content':'x'}]}", "messages[0].role"},
    {"{'messages':[{'role':'user','content':['x']}]}", "messages[0].content"},
    {"{'messages':[{'role':'user','content':'x','images':[5]}]}", "images"},
    {"{" HI ",'options':5}", "options"},
    {"{" HI ",'options':{'temperature':'x'}}", "options.temperature"},
    {"{" HI ",'options':{'num_predict':1.5}}", "options.num_predict"},
    {"{" HI ",'options':{'stop':[5]}}", "options.stop"},
    {"{" HI ",'think':'very'}", "think"},
    {"{" HI ",'format':'xml'}", "format"},
    {"{" HI ",'tools':[{}]}", "tools"},
};

START_TEST(refuses_naming_the_field)
{
    kit_check_refused(&k, &refused_rows[_i]);
}
END_TEST

START_TEST(refuses_filling_in)
{
    kit_use(&k, &wire_ollama_generate, &wire_ollama);
    ck_assert(kit_request(&k, "{'prompt':'a','suffix':'b'}").n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    ck_assert_str_eq(k.err.field, "suffix");
}
END_TEST

/* ---------------------------------------------------------------- replies */
START_TEST(writes_a_reply_with_its_times)
{
    k.ctx.elapsed_ns = 1500000002;
    struct str out = kit_reply(
        &k, "{'model':'llama','created_at':'2025-01-01T00:00:00Z','message':{'role':'assistant','"
            "content':'a','thinking':'hm',"
            "'tool_calls':[{'function':{'name':'f','arguments':{'x':1}}}]},'done':true,'done_"
            "reason':'stop','prompt_eval_count':3,'eval_count':4}");
    kit_expect_at(&k, out, "message.content", "'a'");
    kit_expect_at(&k, out, "message.thinking", "'hm'");
    kit_expect_at(&k, out, "message.tool_calls.0.function",
                  "{'index':0,'name':'f','arguments':{'x':1}}");
    kit_expect_at(&k, out, "created_at", "'2025-01-02T02:50:46.500000002Z'");
    kit_expect_at(&k, out, "total_duration", "1500000002");
    kit_expect_at(&k, out, "prompt_eval_count", "3");
    kit_expect_at(&k, out, "eval_count", "4");
    kit_expect_at(&k, out, "done_reason", "'stop'");
}
END_TEST

START_TEST(writes_generated_text)
{
    kit_use(&k, &wire_ollama_generate, &wire_ollama);
    struct str out = kit_reply(
        &k, "{'message':{'content':'a','thinking':'hm'},'done':true,'done_reason':'length'}");
    kit_expect_at(&k, out, "response", "'a'");
    kit_expect_at(&k, out, "thinking", "'hm'");
    kit_expect_at(&k, out, "message", "absent");
    kit_expect_at(&k, out, "done_reason", "'length'");
}
END_TEST

START_TEST(reads_replies)
{
    kit_use(&k, &wire_anthropic, &wire_ollama);
    struct str out = kit_reply(
        &k, "{'model':'llama','message':{'content':'a','thinking':'hm','tool_calls':[{'id':'c1','"
            "function':{'name':'f','arguments':{'x':1}}}]},"
            "'done':true,'done_reason':'stop','prompt_eval_count':3,'eval_count':4}");
    kit_expect_at(&k, out, "content",
                  "[{'type':'thinking','thinking':'hm','signature':''},{'type':'text','text':'a'},{"
                  "'type':'tool_use','id':'c1','name':'f','input':{'x':1}}]");
    kit_expect_at(&k, out, "stop_reason", "'tool_use'");
    kit_expect_at(&k, out, "usage", "{'input_tokens':3,'output_tokens':4}");
    ck_assert(kit_reply(&k, "{'error':'model not found'}").n == 0);
    ck_assert_int_ne(k.err.kind, ERR_NONE);
}
END_TEST

/* ---------------------------------------------------------------- streams */
#define LINE(message)                                                                      \
    "{'model':'llama','created_at':'2025-01-01T00:00:00.1Z','message':{'role':'assistant'" \
    "," message "},'done':false}\n"
#define DONE(reason)                                                                         \
    "{'model':'llama','created_at':'2025-01-01T00:00:00.1Z','message':{'role':'assistant','" \
    "content':''},'done':true,'done_reason':'" reason "','prompt_eval_count':3,'eval_count':4}\n"

static const struct kit_stream_row own_streams[] = {
    /* clang-format off */
    {LINE("'content':'Caf\xc3\xa9'") LINE("'content':' a'") DONE("stop"), "t'Caf\xc3\xa9' t' a' F(stop,3,4)"},
    {LINE("'content':'','thinking':'hm'") LINE("'content':'a'") DONE("length"), "r'hm' t'a' F(length,3,4)"},
    {LINE("'content':'','tool_calls':[{'function':{'name':'f','arguments':{'x':1}}},{'function':{'name':'g','arguments':{}}}]") DONE("stop"), "c:f{\"x\":1} c:g{} F(stop,3,4)"},
    {DONE("load"), "F(stop,3,4)"},
    {DONE("stop") DONE("stop") DONE("stop"), "F(stop,3,4)"}, /* 20 */
    {LINE("'content':'a'"), "t'a' !"},
    {"", "!"},
    {LINE("'content':'a'") "{'error':'out of memory'}\n" DONE("stop"), "t'a' !"},
    {LINE("'content':'a'") "{'model':'llama','message':{'content':'b'},'done':true}", "t'a' t'b' F(stop,0,0)"}, /* no line end, no counts */
    /* clang-format on */
};

START_TEST(streams_to_itself)
{
    kit_check_stream(&k, &own_streams[_i]);
}
END_TEST

START_TEST(streams_to_anthropic)
{
    kit_use(&k, &wire_anthropic, &wire_ollama);
    kit_expect_text(
        kit_summary(
            &k,
            kit_stream(
                &k, LINE("'content':'','thinking':'hm'") LINE("'content':'a'") LINE(
                        "'content':'','tool_calls':[{'function':{'name':'f','arguments':{'x':1}}}]")
                        DONE("stop"))),
        "S [thinking t'hm' ] [text t'a' ] [tool_use f p'{\"x\":1}' ] D(tool_use,3,4) E");
}
END_TEST

START_TEST(streams_to_gemini)
{
    kit_use(&k, &wire_gemini, &wire_ollama);
    kit_expect_text(kit_summary(&k, kit_stream(&k, LINE("'content':'','thinking':'hm'")
                                                       LINE("'content':'a'") DONE("length"))),
                    "t'a' t'' F(MAX_TOKENS,3,4)");
}
END_TEST

START_TEST(generates_as_a_stream)
{
    kit_use(&k, &wire_ollama_generate, &wire_ollama);
    struct str out = kit_stream(&k, LINE("'content':'','thinking':'hm'") LINE("'content':'a'")
                                        DONE("stop"));
    kit_expect_text(kit_summary(&k, out), "r'hm' t'a' F(stop,3,4)");
    ck_assert(!str_contains(out, STR("\"message\"")));
}
END_TEST

START_TEST(lines_are_complete)
{
    struct str out = kit_stream(&k, LINE("'content':'a'") DONE("stop"));
    kit_expect(&k, str_first(out, str_index(out, '\n')),
               "{'model':'llama','created_at':'2025-01-02T02:50:45.000000000Z','message':{'role':'"
               "assistant','content':'a'},'done':false}");
}
END_TEST

/* ---------------------------------------------------------------- errors, metering */
START_TEST(writes_errors)
{
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_arena(&b, k.arena, 4096);
    (void)err_set(&e, ERR_NOT_FOUND, "model_not_found", "model 'x' not found");
    wire_ollama.write_error(&e, STR_NONE, &b);
    ck_assert(str_eq(buf_str(&b), STR("{\"error\":\"model 'x' not found\"}")));
}
END_TEST

START_TEST(meters)
{
    struct ir_usage u = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    ck_assert(!wire_ollama.meter(STR_NONE, kit_text(&k, LINE("'content':'a'")), &u, &stop));
    ck_assert_int_eq(u.input_total, -1);
    ck_assert(wire_ollama.meter(STR_NONE, kit_text(&k, DONE("length")), &u, &stop));
    ck_assert_int_eq(u.input_total, 3);
    ck_assert_int_eq(u.output_total, 4);
    ck_assert_int_eq(stop, IR_STOP_LENGTH);
    ck_assert(wire_ollama.meter(STR_NONE, kit_text(&k, "{'done':true}"), &u, &stop));
    ck_assert_int_eq(u.input_total, 3);
    u = IR_USAGE_NONE;
    ck_assert(!wire_ollama.meter(
        STR_NONE, kit_text(&k, "{'embeddings':[[0.1]],'prompt_eval_count':8}"), &u, &stop));
    ck_assert_int_eq(u.input_total, 8);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire_ollama");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, keeps_its_own_requests, 0, (int)ARRAY_LEN(own_rows));
    tcase_add_loop_test(t, takes_requests_of_anthropic, 0, (int)ARRAY_LEN(anthropic_rows));
    tcase_add_test(t, says_what_it_drops);
    tcase_add_loop_test(t, takes_generate_requests, 0, (int)ARRAY_LEN(generate_rows));
    tcase_add_test(t, empty_prompt_only_loads);
    tcase_add_loop_test(t, refuses_naming_the_field, 0, (int)ARRAY_LEN(refused_rows));
    tcase_add_test(t, refuses_filling_in);
    tcase_add_test(t, writes_a_reply_with_its_times);
    tcase_add_test(t, writes_generated_text);
    tcase_add_test(t, reads_replies);
    tcase_add_loop_test(t, streams_to_itself, 0, (int)ARRAY_LEN(own_streams));
    tcase_add_test(t, streams_to_anthropic);
    tcase_add_test(t, streams_to_gemini);
    tcase_add_test(t, generates_as_a_stream);
    tcase_add_test(t, lines_are_complete);
    tcase_add_test(t, writes_errors);
    tcase_add_test(t, meters);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
