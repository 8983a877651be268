/* Anthropic Messages to and from the other formats; the numbers in comments are rows of the list of pitfalls. */
#include "unit/wire_kit.h"
#include <check.h>
#include <stdlib.h>

static struct kit k;

static void setup(void)
{
    kit_init(&k, &wire_anthropic, &wire_anthropic);
}

static void teardown(void)
{
    kit_done(&k);
}

/* ---------------------------------------------------------------- requests: through the IR and back */
static const struct kit_request_row own_rows[] = {
    /* clang-format off */
    {"{'model':'m','max_tokens':9,'messages':[{'role':'user','content':'hi'}]}", "",
     "{'model':'up-model','max_tokens':9,'messages':[{'role':'user','content':'hi'}]}"},
    {"{'messages':[{'role':'user','content':'hi'}]}", "max_tokens", "4096"}, /* 1 */
    {"{'max_tokens':1e3,'messages':[{'role':'user','content':'hi'}]}", "max_tokens", "1000"}, /* 29 */
    {"{'system':'a','messages':[{'role':'user','content':'hi'}]}", "system", "'a'"},
    {"{'system':[{'type':'text','text':'a'},{'type':'text','text':''},{'type':'text','text':'b','cache_control':{'type':'ephemeral','ttl':'1h'}}],"
     "'messages':[{'role':'user','content':'hi'}]}",
     "system", "[{'type':'text','text':'a'},{'type':'text','text':'b','cache_control':{'type':'ephemeral','ttl':'1h'}}]"}, /* 5 */
    {"{'system':[],'messages':[{'role':'user','content':'hi'}]}", "system", "absent"},
    {"{'messages':[{'role':'user','content':'a'},{'role':'system','content':'be brief'},{'role':'user','content':'b'}]}", "messages",
     "[{'role':'user','content':'a'},{'role':'system','content':'be brief'},{'role':'user','content':'b'}]"},
    {"{'messages':[{'role':'user','content':[{'type':'text','text':''},{'type':'text','text':'x'}]}]}", "messages.0.content", "'x'"}, /* 9 */
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'Sure: \\n '}]}", "messages.1.content", "'Sure:'"}, /* 25 */
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'  '}]}", "messages.1", "absent"},
    /* images and documents */
    {"{'messages':[{'role':'user','content':[{'type':'image','source':{'type':'base64','media_type':'image/png','data':'iVBORw0KGgoAAAAN'}},"
     "{'type':'image','source':{'type':'url','url':'https://x.test/a.jpg'}},{'type':'image','source':{'type':'file','file_id':'file_1'}}]}]}",
     "messages.0.content",
     "[{'type':'image','source':{'type':'base64','media_type':'image/png','data':'iVBORw0KGgoAAAAN'}},"
     "{'type':'image','source':{'type':'url','url':'https://x.test/a.jpg'}},{'type':'image','source':{'type':'file','file_id':'file_1'}}]"},
    {"{'messages':[{'role':'user','content':[{'type':'document','title':'t','context':'c','citations':{'enabled':true},"
     "'source':{'type':'text','media_type':'text/plain','data':'abc'}}]}]}",
     "messages.0.content", "[{'type':'document','title':'t','context':'c','citations':{'enabled':true},"
     "'source':{'type':'text','media_type':'text/plain','data':'abc'}}]"},
    {"{'messages':[{'role':'user','content':[{'type':'document','source':{'type':'content','content':[{'type':'text','text':'x'}]}}]}]}",
     "messages.0.content.0.source.type", "'content'"},
    {"{'messages':[{'role':'user','content':[{'type':'search_result','source':'https://s.test','title':'t','content':[{'type':'text','text':'x'}]}]}]}",
     "messages.0.content.0.type", "'search_result'"},
    /* reasoning in the history: signed stays as it came, unsigned cannot be replayed (10) */
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'thinking','thinking':'','signature':'sig'},"
     "{'type':'redacted_thinking','data':'zz'},{'type':'thinking','thinking':'no','signature':''},{'type':'text','text':'y'}]},{'role':'user','content':'z'}]}",
     "messages.1.content", "[{'type':'thinking','thinking':'','signature':'sig'},{'type':'redacted_thinking','data':'zz'},{'type':'text','text':'y'}]"},
    /* tools */
    {"{'tools':[{'name':'f','description':'d','input_schema':{'type':'object','properties':{'const':{'type':'string'}},'required':['const']},"
     "'defer_loading':true,'cache_control':{'type':'ephemeral'}}],'messages':[{'role':'user','content':'x'}]}",
     "tools", "[{'name':'f','description':'d','input_schema':{'type':'object','properties':{'const':{'type':'string'}},'required':['const']},"
     "'defer_loading':true}]"}, /* 11 */
    {"{'tools':[{'name':'f'}],'messages':[{'role':'user','content':'x'}]}", "tools.0.input_schema", "{'type':'object','properties':{}}"},
    {"{'tools':[{'type':'bash_20250124','name':'bash'}],'messages':[{'role':'user','content':'x'}]}", "tools",
     "[{'type':'bash_20250124','name':'bash'}]"},
    {"{'tools':[],'tool_choice':{'type':'any'},'messages':[{'role':'user','content':'x'}]}", "tool_choice", "absent"}, /* 26 */
    {"{'tools':[{'name':'f'}],'tool_choice':{'type':'none'},'messages':[{'role':'user','content':'x'}]}", "tool_choice", "{'type':'none'}"},
    {"{'tools':[{'name':'f'}],'tool_choice':{'type':'tool','name':'f','disable_parallel_tool_use':true},'messages':[{'role':'user','content':'x'}]}",
     "tool_choice", "{'type':'tool','name':'f','disable_parallel_tool_use':true}"},
    /* thinking */
    {"{'max_tokens':2000,'thinking':{'type':'enabled','budget_tokens':5000},'messages':[{'role':'user','content':'x'}]}", "max_tokens", "13192"}, /* 1 */
    {"{'max_tokens':2000,'thinking':{'type':'enabled','budget_tokens':10},'messages':[{'role':'user','content':'x'}]}", "thinking",
     "{'type':'enabled','budget_tokens':1024}"},
    {"{'thinking':{'type':'disabled'},'messages':[{'role':'user','content':'x'}]}", "thinking", "{'type':'disabled'}"},
    {"{'thinking':{'type':'adaptive','display':'omitted'},'output_config':{'effort':'low','task_budget':{'total':1}},'messages':[{'role':'user','content':'x'}]}",
     "thinking", "{'type':'adaptive','display':'omitted'}"},
    {"{'thinking':{'type':'adaptive'},'output_config':{'effort':'low','task_budget':{'total':1}},'messages':[{'role':'user','content':'x'}]}",
     "output_config", "{'effort':'low','task_budget':{'total':1}}"},
    {"{'output_config':{'effort':'high'},'messages':[{'role':'user','content':'x'}]}", "thinking", "absent"},
    {"{'output_config':{'format':{'type':'json_schema','schema':{'type':'object'}}},'messages':[{'role':'user','content':'x'}]}",
     "output_config", "{'format':{'type':'json_schema','schema':{'type':'object'}}}"},
    /* what the IR does not know passes to the same format (28) */
    {"{'container':'c','context_management':{'edits':[{'type':'clear_thinking_20251015'}]},'messages':[{'role':'user','content':'x'}]}",
     "context_management", "{'edits':[{'type':'clear_thinking_20251015'}]}"},
    {"{'metadata':{'user_id':'{}'},'service_tier':'standard_only','messages':[{'role':'user','content':'x'}]}", "service_tier", "'standard_only'"},
    {"{'temperature':0.50,'top_p':1,'top_k':3,'stop_sequences':['a',' ',''],'messages':[{'role':'user','content':'x'}]}", "temperature", "0.50"},
    {"{'temperature':0.50,'top_p':1,'top_k':3,'stop_sequences':['a',' ',''],'messages':[{'role':'user','content':'x'}]}", "top_p", "1"},
    {"{'stop_sequences':['a',' ',''],'messages':[{'role':'user','content':'x'}]}", "stop_sequences", "['a']"}, /* 12 */
    {"{'stop_sequences':[' '],'messages':[{'role':'user','content':'x'}]}", "stop_sequences", "absent"},
    {"{'stream':true,'messages':[{'role':'user','content':'x'}]}", "stream", "true"},
    {"{'messages':[{'role':'user','content':[{'type':'text','text':'x'},{'type':'container_upload','file_id':'f'}]}]}", "messages.0.content.1",
     "{'type':'container_upload','file_id':'f'}"},
    /* clang-format on */
};

START_TEST(keeps_its_own_requests)
{
    kit_check_request(&k, &own_rows[_i]);
}
END_TEST

START_TEST(keeps_tool_pairs_together) /* 6, 7 */
{
    kit_expect_at(
        &k,
        kit_request(&k, "{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':["
                        "{'type':'text','text':'t'},"
                        "{'type':'tool_use','id':'a','name':'f','input':{'n':12345678901234567890}}"
                        ",{'type':'tool_use','id':'b','name':'g','input':{}}]},"
                        "{'role':'user','content':[{'type':'text','text':'and'},{'type':'tool_"
                        "result','tool_use_id':'b','content':[{'type':'text','text':'B'},"
                        "{'type':'image','source':{'type':'base64','media_type':'image/"
                        "gif','data':'R0lGODlh'}}],'is_error':true},"
                        "{'type':'tool_result','tool_use_id':'a','content':'A'},{'type':'tool_"
                        "result','tool_use_id':'gone','content':'G'}]}]}"),
        "messages",
        "[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'text','text':'t'},"
        "{'type':'tool_use','id':'a','name':'f','input':{'n':12345678901234567890}},{'type':'tool_"
        "use','id':'b','name':'g','input':{}}]},"
        "{'role':'user','content':[{'type':'tool_result','tool_use_id':'a','content':'A'},"
        "{'type':'tool_result','tool_use_id':'b','content':[{'type':'text','text':'B'},"
        "{'type':'image','source':{'type':'base64','media_type':'image/"
        "gif','data':'R0lGODlh'}}],'is_error':true},{'type':'text','text':'and'}]}]");
}
END_TEST

START_TEST(answers_a_call_that_nobody_answered) /* 6 */
{
    kit_expect_at(&k,
                  kit_request(&k, "{'messages':[{'role':'user','content':'x'},{'role':'assistant','"
                                  "content':[{'type':'tool_use','id':'a','name':'f','input':{}}]},"
                                  "{'role':'user','content':'go on'}]}"),
                  "messages.2.content",
                  "[{'type':'tool_result','tool_use_id':'a','content':'[No output available "
                  "yet]'},{'type':'text','text':'go on'}]");
}
END_TEST

START_TEST(keeps_the_last_four_cache_marks) /* 11 */
{
    struct str out = kit_request(
        &k, "{'tools':[{'name':'f','cache_control':{'type':'ephemeral','ttl':'1h'}}],'system':[{'"
            "type':'text','text':'s','cache_control':{'type':'ephemeral'}}],"
            "'messages':[{'role':'user','content':[{'type':'text','text':'1','cache_control':{'"
            "type':'ephemeral'}},"
            "{'type':'text','text':'2','cache_control':{'type':'ephemeral','ttl':'1h'}},{'type':'"
            "text','text':'3','cache_control':{'type':'ephemeral'}}]}]}");
    kit_expect_at(&k, out, "messages.0.content.0.cache_control", "absent");
    kit_expect_at(&k, out, "messages.0.content.1.cache_control",
                  "{'type':'ephemeral'}"); /* 1h may not follow 5m */
    kit_expect_at(&k, out, "messages.0.content.2.cache_control", "{'type':'ephemeral'}");
    kit_expect_at(&k, out, "tools.0.cache_control", "{'type':'ephemeral','ttl':'1h'}");
    ck_assert(kit_dropped(&k, "cache_control"));
}
END_TEST

START_TEST(thinking_forbids_forced_tools_and_sampling) /* 26 */
{
    struct str out = kit_request(&k, "{'max_tokens':9000,'temperature':0.5,'top_k':5,'top_p':0.5,'"
                                     "thinking':{'type':'enabled','budget_tokens':2000},"
                                     "'tools':[{'name':'f'}],'tool_choice':{'type':'any'},'"
                                     "messages':[{'role':'user','content':'x'}]}");
    kit_expect_at(&k, out, "tool_choice", "{'type':'auto'}");
    kit_expect_at(&k, out, "temperature", "absent");
    kit_expect_at(&k, out, "top_k", "absent");
    kit_expect_at(&k, out, "top_p", "absent");
    kit_expect_at(&k, out, "max_tokens", "9000");
    ck_assert(kit_dropped(&k, "tool_choice") && kit_dropped(&k, "temperature") &&
              kit_dropped(&k, "top_k"));
}
END_TEST

START_TEST(budget_gives_way_to_the_models_limit)
{
    k.ctx.max_output_tokens = 4000;
    struct str out = kit_request(&k, "{'max_tokens':2000,'thinking':{'type':'enabled','budget_"
                                     "tokens':9000},'messages':[{'role':'user','content':'x'}]}");
    kit_expect_at(&k, out, "max_tokens", "4000");
    kit_expect_at(&k, out, "thinking.budget_tokens", "3999");
}
END_TEST

START_TEST(tool_loop_begun_without_thinking_goes_on_without)
{
    struct str out = kit_request(
        &k, "{'max_tokens':9000,'thinking':{'type':'enabled','budget_tokens':2000},'tools':[{'name'"
            ":'f'}],'messages':["
            "{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'tool_use','id':'"
            "a','name':'f','input':{}}]},"
            "{'role':'user','content':[{'type':'tool_result','tool_use_id':'a','content':'A'}]}]}");
    kit_expect_at(&k, out, "thinking", "{'type':'disabled'}");
    ck_assert(kit_dropped(&k, "thinking"));
}
END_TEST

static const struct kit_refused_row refused_rows[] = {
    /* clang-format off */
    {"{}", "messages"},
    {"{'messages':[]}", "messages"},
    {"{'messages':[{'role':'tool','content':'x'}]}", "messages.0.role"},
    {"{'messages':[{'role':'user'}]}", "messages.0.content"},
    {"{'messages':[{'role':'user','content':[{'text':'x'}]}]}", "messages.0.content.0"},
    {"{'messages':[{'role':'user','content':[{'type':'tool_result'}]}]}", "messages.0.content.0"},
    {"{'messages':[{'role':'user','content':[{'type':'image'}]}]}", "messages.0.content.0"},
    {"{'max_tokens':-1,'messages':[{'role':'user','content':'x'}]}", "max_tokens"},
    {"{'max_tokens':1.5,'messages':[{'role':'user','content':'x'}]}", "max_tokens"},
    {"{'temperature':'x','messages':[{'role':'user','content':'x'}]}", "temperature"},
    {"{'system':5,'messages':[{'role':'user','content':'x'}]}", "system"},
    {"{'thinking':{'type':'x'},'messages':[{'role':'user','content':'x'}]}", "thinking.type"},
    {"{'tools':[{'name':'f'}],'tool_choice':{'type':'tool','name':'g'},'messages':[{'role':'user','content':'x'}]}", "tool_choice"},
    {"{'system':'only','messages':[{'role':'assistant','content':'x'}]}", "messages"},
    /* clang-format on */
};

START_TEST(refuses_naming_the_field)
{
    kit_check_refused(&k, &refused_rows[_i]);
}
END_TEST

/* ---------------------------------------------------------------- requests from other formats */
static const struct kit_request_row ollama_rows[] = {
    /* clang-format off */
    {"{'messages':[{'role':'system','content':'a'},{'role':'system','content':'b'},{'role':'user','content':'x'}]}", "system",
     "[{'type':'text','text':'a'},{'type':'text','text':'b'}]"},
    {"{'messages':[{'role':'user','content':'x'}],'options':{'temperature':1.5,'top_p':0.9,'num_predict':-1,'seed':4,'stop':['q']}}", "temperature", "1"},
    {"{'messages':[{'role':'user','content':'x'}],'options':{'temperature':0.5,'top_p':0.9}}", "top_p", "absent"},
    {"{'messages':[{'role':'user','content':'x'}],'options':{'top_p':0.9}}", "top_p", "0.9"},
    {"{'messages':[{'role':'user','content':'x','images':['/9j/4AAQSkZJRgAB']}]}", "messages.0.content.1",
     "{'type':'image','source':{'type':'base64','media_type':'image/jpeg','data':'/9j/4AAQSkZJRgAB'}}"},
    {"{'messages':[{'role':'user','content':'x'}],'think':true}", "thinking", "{'type':'enabled','budget_tokens':10240}"},
    {"{'messages':[{'role':'user','content':'x'}],'think':'low'}", "thinking", "{'type':'enabled','budget_tokens':1024}"},
    {"{'messages':[{'role':'user','content':'x'}],'think':false}", "thinking", "{'type':'disabled'}"},
    /* structured output by a forced tool; by words when there are tools */
    {"{'messages':[{'role':'user','content':'x'}],'format':{'type':'object','properties':{'a':{'type':'integer'}}}}", "tool_choice",
     "{'type':'tool','name':'json_output'}"},
    {"{'messages':[{'role':'user','content':'x'}],'format':{'type':'object','properties':{'a':{'type':'integer'}}}}", "tools.0.input_schema",
     "{'type':'object','properties':{'a':{'type':'integer'}}}"},
    {"{'messages':[{'role':'user','content':'x'}],'format':'json'}", "tool_choice", "{'type':'tool','name':'json_output'}"},
    {"{'messages':[{'role':'user','content':'x'}],'format':'json','tools':[{'type':'function','function':{'name':'f'}}]}", "tool_choice", "absent"},
    /* tools, history */
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'','thinking':'hm','tool_calls':[{'function':{'name':'f','arguments':{'a':1}}}]},"
     "{'role':'tool','tool_name':'f','content':'r'}],'tools':[{'type':'function','function':{'name':'f','parameters':{'type':'object','properties':{}}}}]}",
     "messages.1.content.0.input", "{'a':1}"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'','tool_calls':[{'function':{'name':'f','arguments':'{bad'}}]},"
     "{'role':'tool','tool_name':'f','content':'r'}]}", "messages.1.content.0.input", "{'raw_arguments':'{bad'}"}, /* 14 */
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':'','tool_calls':[{'function':{'name':'f','arguments':[1]}}]},"
     "{'role':'tool','tool_name':'f','content':'r'}]}", "messages.1.content.0.input", "{'input':[1]}"},
    /* clang-format on */
};

START_TEST(takes_requests_of_ollama)
{
    kit_use(&k, &wire_ollama, &wire_anthropic);
    kit_check_request(&k, &ollama_rows[_i]);
}
END_TEST

START_TEST(schema_goes_native_where_supported)
{
    kit_use(&k, &wire_ollama, &wire_anthropic);
    k.ctx.quirks = QUIRK_STRUCTURED_OUTPUT | QUIRK_ADAPTIVE_THINKING;
    struct str out = kit_request(
        &k,
        "{'messages':[{'role':'user','content':'x'}],'think':'high','format':{'type':'object'}}");
    kit_expect_at(&k, out, "output_config",
                  "{'effort':'high','format':{'type':'json_schema','schema':{'type':'object'}}}");
    kit_expect_at(&k, out, "thinking", "{'type':'adaptive'}");
    kit_expect_at(&k, out, "tools", "absent");
}
END_TEST

START_TEST(takes_requests_of_gemini)
{
    kit_use(&k, &wire_gemini, &wire_anthropic);
    struct str out = kit_request(
        &k, "{'system_instruction':{'parts':{'text':'s'}},'contents':[{'parts':[{'text':'a'},{'"
            "inlineData':{'mimeType':'application/pdf','data':'JVBERi0='}}]},"
            "{'role':'model','parts':[{'text':'why','thought':true},{'functionCall':{'name':'f.x','"
            "args':{'q':'z'}}},{'functionCall':{'name':'g','args':{}}}]},"
            "{'role':'user','parts':[{'functionResponse':{'name':'g','response':{'output':'G'}}},{'"
            "functionResponse':{'name':'f.x','response':{'a':1}}}]}],"
            "'tools':[{'functionDeclarations':[{'name':'f.x','parameters':{'type':'OBJECT','"
            "properties':{'q':{'type':'STRING','nullable':true}}}},{'name':'g'}]}],"
            "'toolConfig':{'functionCallingConfig':{'mode':'ANY'}},'generationConfig':{'"
            "maxOutputTokens':5,'candidateCount':1}}");
    kit_expect_at(&k, out, "system", "'s'");
    kit_expect_at(&k, out, "max_tokens", "5");
    kit_expect_at(&k, out, "messages.0.content.1",
                  "{'type':'document','source':{'type':'base64','media_type':'application/"
                  "pdf','data':'JVBERi0='}}");
    kit_expect_at(&k, out, "messages.1.content.0.name", "'f_x'");
    kit_expect_at(&k, out, "messages.1.content.1.name", "'g'");
    kit_expect_at(&k, out, "messages.2.content.0.content", "'{\\\"a\\\":1}'");
    kit_expect_at(&k, out, "messages.2.content.1.content", "'G'");
    kit_expect_at(&k, out, "tools.0.name", "'f_x'");
    kit_expect_at(&k, out, "tools.0.input_schema.properties.q.type", "['string','null']");
    kit_expect_at(&k, out, "tool_choice", "{'type':'any'}");
    ck_assert(kit_dropped(&k, "reasoning"));
    /* the renamed tool comes back under the client's name */
    kit_expect_at(&k,
                  kit_reply(&k, "{'type':'message','content':[{'type':'tool_use','id':'t','name':'"
                                "f_x','input':{'q':1}}],'stop_reason':'tool_use'}"),
                  "candidates.0.content.parts.0.functionCall.name", "'f.x'");
}
END_TEST

START_TEST(refuses_what_it_cannot_carry) /* 12, 17, 18 */
{
    kit_use(&k, &wire_gemini, &wire_anthropic);
    ck_assert(
        kit_request(
            &k, "{'contents':[{'parts':[{'text':'a'}]}],'generationConfig':{'candidateCount':2}}")
            .n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    ck_assert(
        kit_request(
            &k, "{'contents':[{'parts':[{'inlineData':{'mimeType':'image/tiff','data':'AAAA'}}]}]}")
            .n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    ck_assert(kit_request(&k, "{'contents':[{'parts':[{'inlineData':{'mimeType':'application/"
                              "zip','data':'AAAA'}}]}]}")
                  .n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    ck_assert(
        kit_request(&k, "{'contents':[{'parts':[{'text':'a'}]}],'tools':[{'codeExecution':{}}]}")
            .n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    /* a wrong label is put right by the bytes */
    kit_expect_at(&k,
                  kit_request(&k, "{'contents':[{'parts':[{'inlineData':{'mimeType':'image/"
                                  "bmp','data':'iVBORw0KGgoAAAAN'}}]}]}"),
                  "messages.0.content.0.source.media_type", "'image/png'");
}
END_TEST

START_TEST(quirks_of_compatible_servers)
{
    kit_use(&k, &wire_ollama, &wire_anthropic);
    k.ctx.quirks = QUIRK_MID_SYSTEM | QUIRK_ALTERNATION_FILLER;
    kit_expect_at(&k,
                  kit_request(&k, "{'messages':[{'role':'assistant','content':'hi'},{'role':'"
                                  "user','content':'x'},{'role':'system','content':'s'}]}"),
                  "messages",
                  "[{'role':'user','content':'.'},{'role':'assistant','content':'hi'},{'role':'"
                  "user','content':'x'},{'role':'system','content':'s'}]");
    k.ctx.quirks = QUIRK_HOIST_SYSTEM;
    kit_expect_at(&k,
                  kit_request(&k, "{'messages':[{'role':'user','content':'a'},{'role':'system','"
                                  "content':'s'},{'role':'user','content':'x'}]}"),
                  "system", "'s'");
    k.ctx.quirks = 0;
    static const char *const strip[] = {"temperature", NULL};
    k.ctx.strip = strip;
    kit_expect_at(
        &k,
        kit_request(&k, "{'messages':[{'role':'user','content':'a'}],'options':{'temperature':1}}"),
        "temperature", "absent");
}
END_TEST

/* ---------------------------------------------------------------- replies */
START_TEST(reads_replies)
{
    kit_use(&k, &wire_gemini, &wire_anthropic);
    struct str out = kit_reply(&k,
                               "{'id':'msg_1','type':'message','role':'assistant','model':'claude',"
                               "'content':[{'type':'thinking','thinking':'hm','signature':'s'},"
                               "{'type':'text','text':'a'},{'type':'tool_use','id':'t1','name':'f',"
                               "'input':{'x':1}}],'stop_reason':'tool_use','stop_sequence':null,"
                               "'usage':{'input_tokens':10,'cache_read_input_tokens':5,'cache_"
                               "creation_input_tokens':2,'output_tokens':7}}");
    kit_expect_at(&k, out, "candidates.0.content.parts",
                  "[{'text':'a'},{'functionCall':{'id':'t1','name':'f','args':{'x':1}}}]");
    kit_expect_at(&k, out, "candidates.0.finishReason", "'STOP'");
    kit_expect_at(&k, out, "usageMetadata",
                  "{'promptTokenCount':17,'cachedContentTokenCount':5,'candidatesTokenCount':7,'"
                  "totalTokenCount':24}");
}
END_TEST

START_TEST(own_reply_survives_the_ir)
{
    static const char body[] =
        "{'id':'msg_1','type':'message','role':'assistant','model':'claude','content':[{'type':'"
        "thinking','thinking':'hm','signature':'s'},"
        "{'type':'redacted_thinking','data':'d'},{'type':'server_tool_use','id':'srv','name':'web_"
        "search','input':{'query':'q'}},"
        "{'type':'web_search_tool_result','tool_use_id':'srv','content':[]},"
        "{'type':'text','text':'a','citations':[{'type':'web_search_result_location','url':'https:/"
        "/u.test','title':'t','cited_text':'c','encrypted_index':'e'}]},"
        "{'type':'tool_use','id':'t1','name':'f','input':{'x':1.0}}],'stop_reason':'pause_turn','"
        "stop_sequence':null,"
        "'usage':{'input_tokens':10,'cache_creation_input_tokens':2,'cache_read_input_tokens':5,'"
        "output_tokens':7}}";
    kit_expect(&k, kit_reply(&k, body), body);
}
END_TEST

struct stop_row {
    const char *reason, *gemini;
};
static const struct stop_row stop_rows[] = {
    {"end_turn", "'STOP'"},      {"max_tokens", "'MAX_TOKENS'"},
    {"stop_sequence", "'STOP'"}, {"tool_use", "'STOP'"},
    {"refusal", "'SAFETY'"},     {"pause_turn", "'STOP'"}, /* 34 */
    {"some_day", "'STOP'"},      {"model_context_window_exceeded", "'MAX_TOKENS'"},
};

START_TEST(maps_stop_reasons)
{
    char body[256];
    kit_use(&k, &wire_gemini, &wire_anthropic);
    (void)snprintf(body, sizeof body, "{'content':[{'type':'text','text':'x'}],'stop_reason':'%s'}",
                   stop_rows[_i].reason);
    kit_expect_at(&k, kit_reply(&k, body), "candidates.0.finishReason", stop_rows[_i].gemini);
}
END_TEST

START_TEST(forced_json_tool_is_text_again)
{
    kit_use(&k, &wire_ollama, &wire_anthropic);
    ck_assert(kit_request(
                  &k, "{'stream':false,'messages':[{'role':'user','content':'x'}],'format':'json'}")
                  .n);
    struct str out = kit_reply(&k, "{'content':[{'type':'tool_use','id':'t','name':'json_output','"
                                   "input':{'a':[1,2]}}],'stop_reason':'tool_use'}");
    kit_expect_at(&k, out, "message", "{'role':'assistant','content':'{\\\"a\\\":[1,2]}'}");
    kit_expect_at(&k, out, "done_reason", "'stop'");
    struct str stream = kit_stream(
        &k, "data: {'type':'message_start','message':{'id':'m','usage':{'input_tokens':1}}}\n\n"
            "data: "
            "{'type':'content_block_start','index':0,'content_block':{'type':'tool_use','id':'t','"
            "name':'json_output','input':{}}}\n\n"
            "data: "
            "{'type':'content_block_delta','index':0,'delta':{'type':'input_json_delta','partial_"
            "json':'[1,'}}\n\n"
            "data: "
            "{'type':'content_block_delta','index':0,'delta':{'type':'input_json_delta','partial_"
            "json':'2]'}}\n\n"
            "data: {'type':'content_block_stop','index':0}\n\n"
            "data: "
            "{'type':'message_delta','delta':{'stop_reason':'tool_use'},'usage':{'output_tokens':3}"
            "}\n\n"
            "data: {'type':'message_stop'}\n\n");
    kit_expect_text(kit_summary(&k, stream), "t'[1,' t'2]' F(stop,1,3)");
}
END_TEST

START_TEST(writes_replies_of_others)
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    struct str out = kit_reply(
        &k, "{'responseId':'r1','modelVersion':'gem','candidates':[{'content':{'parts':[{'text':'"
            "think','thought':true},{'text':'a'},"
            "{'functionCall':{'id':'c1','name':'f','args':{'x':1}}}]},'finishReason':'STOP'}],"
            "'usageMetadata':{'promptTokenCount':10,'cachedContentTokenCount':4,'"
            "candidatesTokenCount':3,'thoughtsTokenCount':2,'totalTokenCount':15}}");
    kit_expect(&k, out,
               "{'id':'msg_r1','type':'message','role':'assistant','model':'gem','content':[{'type'"
               ":'thinking','thinking':'think','signature':''},"
               "{'type':'text','text':'a'},{'type':'tool_use','id':'c1','name':'f','input':{'x':1}}"
               "],'stop_reason':'tool_use','stop_sequence':null,"
               "'usage':{'input_tokens':6,'cache_read_input_tokens':4,'output_tokens':5}}");
    k.ctx.shown_model = STR("alias"); /* 27 */
    kit_expect_at(
        &k,
        kit_reply(&k,
                  "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'SAFETY'}]}"),
        "model", "'alias'");
    kit_expect_at(
        &k,
        kit_reply(&k,
                  "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'SAFETY'}]}"),
        "stop_reason", "'refusal'");
    kit_expect_at(
        &k,
        kit_reply(&k,
                  "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'STOP'}]}"),
        "usage", "{'input_tokens':0,'output_tokens':0}"); /* mandatory here */
}
END_TEST

START_TEST(hides_thoughts_from_those_who_asked_so)
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    ck_assert(kit_request(&k, "{'thinking':{'type':'adaptive','display':'omitted'},'messages':[{'"
                              "role':'user','content':'x'}]}")
                  .n);
    kit_expect_at(&k,
                  kit_reply(&k, "{'candidates':[{'content':{'parts':[{'text':'think','thought':"
                                "true},{'text':'a'}]},'finishReason':'STOP'}]}"),
                  "content", "[{'type':'text','text':'a'}]");
    kit_expect_text(
        kit_summary(&k,
                    kit_stream(&k, "data: "
                                   "{'candidates':[{'content':{'parts':[{'text':'think','thought':"
                                   "true},{'text':'a'}]},'finishReason':'STOP'}]}\n\n")),
        "S [text t'a' ] D(end_turn,0,0) E");
}
END_TEST

/* ---------------------------------------------------------------- streams */
#define START                                                                                      \
    "event: message_start\ndata: "                                                                 \
    "{'type':'message_start','message':{'id':'msg_1','model':'claude','usage':{'input_tokens':4,'" \
    "cache_read_input_tokens':6,'output_tokens':1}}}\n\n"
#define OPEN(i, block)                                                            \
    "event: content_block_start\ndata: {'type':'content_block_start','index':" #i \
    ",'content_block':" block "}\n\n"
#define DELTA(i, delta)                                                           \
    "event: content_block_delta\ndata: {'type':'content_block_delta','index':" #i \
    ",'delta':" delta "}\n\n"
#define TEXT(i, s) DELTA(i, "{'type':'text_delta','text':'" s "'}")
#define ARGS(i, s) DELTA(i, "{'type':'input_json_delta','partial_json':'" s "'}")
#define STOP(i) "event: content_block_stop\ndata: {'type':'content_block_stop','index':" #i "}\n\n"
#define DONE(reason, n)                                                                   \
    "event: message_delta\ndata: {'type':'message_delta','delta':{'stop_reason':'" reason \
    "','stop_sequence':null},'usage':{'output_tokens':" #n "}}\n\n"
#define END "event: message_stop\ndata: {'type':'message_stop'}\n\n"
#define CALL(i, id, name) OPEN(i, "{'type':'tool_use','id':'" id "','name':'" name "','input':{}}")

static const struct kit_stream_row own_streams[] = {
    /* clang-format off */
    {START OPEN(0, "{'type':'text','text':''}") "event: ping\ndata: {'type':'ping'}\n\n" TEXT(0, "Hé") TEXT(0, "llo") STOP(0) DONE("end_turn", 5) END,
     "S ping [text t'Hé' t'llo' ] D(end_turn,4,5) E"},
    {START OPEN(0, "{'type':'thinking','thinking':'','signature':''}") DELTA(0, "{'type':'thinking_delta','thinking':'hm'}")
     DELTA(0, "{'type':'signature_delta','signature':'sig'}") STOP(0) OPEN(1, "{'type':'redacted_thinking','data':'x'}") STOP(1)
     OPEN(2, "{'type':'text','text':''}") TEXT(2, "a") STOP(2) DONE("max_tokens", 5) END,
     "S [thinking t'hm' s'sig' ] [redacted_thinking ] [text t'a' ] D(max_tokens,4,5) E"},
    /* llama-server: a block starts before the one before stopped, no input, an empty signature */
    {START OPEN(0, "{'type':'thinking','thinking':'','signature':''}") DELTA(0, "{'type':'thinking_delta','thinking':'hm'}")
     OPEN(1, "{'type':'text','text':''}") TEXT(1, "a") DELTA(0, "{'type':'signature_delta','signature':''}") STOP(0) STOP(1) DONE("end_turn", 5) END,
     "S [thinking t'hm' ] [text t'a' ] D(end_turn,4,5) E"},
    {START OPEN(0, "{'type':'tool_use','id':'a','name':'f'}") ARGS(0, "{}") OPEN(1, "{'type':'tool_use','id':'b','name':'g'}") ARGS(1, "{}")
     STOP(0) STOP(1) DONE("tool_use", 5) END,
     "S [tool_use f p'{}' ] [tool_use g p'{}' ] D(tool_use,4,5) E"},
    /* a tool without arguments; stop that should be tool_use */
    {START CALL(0, "a", "f") STOP(0) DONE("end_turn", 5) END, "S [tool_use f ] D(tool_use,4,5) E"},
    {START CALL(0, "a", "f") ARGS(0, "") STOP(0) DONE("tool_use", 5) END, "S [tool_use f ] D(tool_use,4,5) E"},
    {START OPEN(0, "{'type':'tool_use','id':'a','name':'f','input':{'x':1}}") STOP(0) DONE("tool_use", 5) END,
     "S [tool_use f p'{\"x\":1}' ] D(tool_use,4,5) E"},
    /* interleaved arguments wait for the open call */
    {START CALL(0, "a", "f") ARGS(0, "{") CALL(1, "b", "g") ARGS(1, "{") ARGS(0, "}") ARGS(1, "}") STOP(1) STOP(0) DONE("tool_use", 5) END,
     "S [tool_use f p'{' p'}' ] [tool_use g p'{' p'}' ] D(tool_use,4,5) E"},
    {START CALL(0, "a", "f") ARGS(0, "{") CALL(1, "b", "g") CALL(2, "c", "h") ARGS(2, "{}") ARGS(1, "{}") DONE("tool_use", 5) END,
     "S [tool_use f p'{' ] [tool_use g p'{}' ] [tool_use h p'{}' ] D(tool_use,4,5) E"},
    /* deltas without a start, a start without content, gaps in the index */
    {START TEXT(0, "a") STOP(0) DONE("end_turn", 5) END, "S [text t'a' ] D(end_turn,4,5) E"},
    {START OPEN(3, "{'type':'text','text':''}") STOP(3) OPEN(7, "{'type':'text','text':'b'}") STOP(7) DONE("end_turn", 5) END,
     "S [text t'b' ] D(end_turn,4,5) E"},
    {START OPEN(0, "{'type':'server_tool_use','id':'s','name':'n','input':{}}") STOP(0) DELTA(0, "{'type':'signature_delta','signature':''}")
     ARGS(0, "x") DONE("end_turn", 5) END, "S [server_tool_use n ] D(end_turn,4,5) E"},
    {START TEXT(0, "a") STOP(0) ARGS(-1, "x") DONE("end_turn", 5) END, "S [text t'a' ] !api_error"},
    {START DONE("end_turn", 0) END, "S D(end_turn,4,1) E"},
    /* server tools pass as they came */
    {START OPEN(0, "{'type':'server_tool_use','id':'s','name':'web_search','input':{}}") ARGS(0, "{}") STOP(0)
     OPEN(1, "{'type':'web_search_tool_result','tool_use_id':'s','content':[]}") STOP(1) DONE("pause_turn", 5) END,
     "S [server_tool_use web_search p'{}' ] [web_search_tool_result ] D(pause_turn,4,5) E"},
    {START OPEN(0, "{'type':'text','text':'','citations':[]}") DELTA(0, "{'type':'citations_delta','citation':{'type':'web_search_result_location','url':'u'}}")
     TEXT(0, "a") STOP(0) DONE("refusal", 5) END, "S [text cite:u t'a' ] D(refusal,4,5) E"},
    /* errors, cuts */
    {START TEXT(0, "a") "event: error\ndata: {'type':'error','error':{'type':'overloaded_error','message':'m'}}\n\n" END,
     "S [text t'a' !overloaded_error"},
    {START TEXT(0, "a"), "S [text t'a' !api_error"},
    {"", "!api_error"},
    {START TEXT(0, "a") STOP(0) DONE("end_turn", 5), "S [text t'a' ] D(end_turn,4,5) E"}, /* message_stop never came */
    {START TEXT(0, "a") STOP(0) DONE("end_turn", 5) END END DONE("end_turn", 9), "S [text t'a' ] D(end_turn,4,5) E"}, /* 20 */
    /* clang-format on */
};

START_TEST(repairs_streams)
{
    kit_check_stream(&k, &own_streams[_i]);
}
END_TEST

static const struct kit_stream_row gemini_streams[] = {
    /* Google's stream to an Anthropic client */
    /* clang-format off */
    {"data: {'candidates':[{'content':{'parts':[{'text':'hm','thought':true}]}}],'usageMetadata':{'promptTokenCount':3,'totalTokenCount':3}}\r\n\r\n"
     "data: {'candidates':[{'content':{'parts':[{'text':'a'},{'functionCall':{'name':'f','args':{'x':1}}},{'functionCall':{'name':'g'}}]},'finishReason':'STOP'}],"
     "'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4,'thoughtsTokenCount':2,'totalTokenCount':9}}\r\n\r\n",
     "S [thinking t'hm' ] [text t'a' ] [tool_use f p'{\"x\":1}' ] [tool_use g p'{}' ] D(tool_use,3,6) E"},
    {"data: {'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'MAX_TOKENS'}]}\n\n", "S [text t'a' ] D(max_tokens,0,0) E"},
    /* clang-format on */
};

START_TEST(writes_streams_of_gemini)
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    kit_check_stream(&k, &gemini_streams[_i]);
}
END_TEST

static const struct kit_stream_row ollama_streams[] = {
    /* an Anthropic stream to an Ollama client */
    /* clang-format off */
    {START OPEN(0, "{'type':'thinking','thinking':'','signature':''}") DELTA(0, "{'type':'thinking_delta','thinking':'hm'}") DELTA(0, "{'type':'signature_delta','signature':'s'}")
     STOP(0) OPEN(1, "{'type':'text','text':''}") TEXT(1, "a") STOP(1) CALL(2, "t", "f") ARGS(2, "{") ARGS(2, "}") STOP(2) CALL(3, "u", "g") STOP(3)
     CALL(4, "v", "h") ARGS(4, "{oops") STOP(4) DONE("tool_use", 5) END,
     "r'hm' t'a' c:f{} c:g{} c:h{\"raw_arguments\":\"{oops\"} F(stop,10,5)"},
    /* clang-format on */
};

START_TEST(reads_streams_for_ollama)
{
    kit_use(&k, &wire_ollama, &wire_anthropic);
    kit_check_stream(&k, &ollama_streams[_i]);
}
END_TEST

START_TEST(message_start_tells_the_input_when_known)
{
    struct str out = kit_stream(&k, START DONE("end_turn", 5) END);
    kit_expect_at(&k,
                  str_first(str_skip(out, str_index(out, '{')),
                            str_index(str_skip(out, str_index(out, '{')), '\n')),
                  "message.usage",
                  "{'input_tokens':4,'cache_read_input_tokens':6,'output_tokens':0}");
}
END_TEST

START_TEST(message_start_estimates_input)
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    ck_assert(
        kit_request(
            &k, "{'messages':[{'role':'user','content':'some words to be counted, more or less'}]}")
            .n);
    struct str out = kit_stream(
        &k, "data: "
            "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'STOP'}],'"
            "usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':1}}\n\n");
    ck_assert(!str_contains(str_first(out, 400), STR("\"input_tokens\":0")));
    ck_assert(str_contains(
        out, STR("\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}\n\nevent: message_stop")));
}
END_TEST

/* ---------------------------------------------------------------- errors, metering */
START_TEST(writes_errors)
{
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_arena(&b, k.arena, 4096);
    (void)err_set(&e, ERR_NOT_FOUND, "model_not_found", "no model 'x'");
    wire_anthropic.write_error(&e, STR("req_1"), &b);
    ck_assert(str_eq(buf_str(&b), STR("{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\","
                                      "\"message\":\"no model 'x'\"},\"request_id\":\"req_1\"}")));
}
END_TEST

START_TEST(meters)
{
    struct ir_usage u = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    ck_assert(!wire_anthropic.meter(
        STR("message_start"),
        kit_text(&k, "{'type':'message_start','message':{'usage':{'input_tokens':4,'cache_read_"
                     "input_tokens':6,'output_tokens':1}}}"),
        &u, &stop));
    ck_assert_int_eq(u.input_total, 10);
    ck_assert_int_eq(u.output_total, -1); /* of the reply nothing is known yet */
    ck_assert(!wire_anthropic.meter(STR("content_block_delta"),
                                    kit_text(&k, "{'usage':{'input_tokens':9999}}"), &u, &stop));
    ck_assert(!wire_anthropic.meter(
        STR("message_delta"),
        kit_text(&k, "{'type':'message_delta','delta':{'stop_reason':'max_tokens'},'usage':{'input_"
                     "tokens':4,'output_tokens':7}}"),
        &u, &stop));
    ck_assert(wire_anthropic.meter(STR("message_stop"), kit_text(&k, "{'type':'message_stop'}"), &u,
                                   &stop));
    ck_assert(wire_anthropic.meter(STR_NONE, kit_text(&k, "{'type':'message_stop'}"), &u, &stop));
    ck_assert_int_eq(u.input_total, 10); /* 33: repeated, not added */
    ck_assert_int_eq(u.cache_read, 6);
    ck_assert_int_eq(u.output_total, 7);
    ck_assert_int_eq(stop, IR_STOP_LENGTH);
    u = IR_USAGE_NONE;
    (void)wire_anthropic.meter(
        STR_NONE,
        kit_text(&k, "{'type':'message','content':[{'type':'tool_use','input':{'usage':{'input_"
                     "tokens':1}}}],'stop_reason':'end_turn','usage':{'input_tokens':2,'cache_"
                     "creation_input_tokens':null,'output_tokens':3}}"),
        &u, &stop);
    ck_assert_int_eq(u.input_total, 2);
    ck_assert_int_eq(u.output_total, 3);
    ck_assert_int_eq(stop, IR_STOP_END);
    /* wherever they stand, and whatever else is called so */
    static const char *const replies[] = {
        " {'stop_reason':'max_tokens','stop_sequence':null,'usage':{'input_tokens':2,"
        "'server_tool_use':{'web_search_requests':0},'output_tokens':3}}\n",
        "{'usage':{'input_tokens':2,'output_tokens':3},'stop_reason':'max_tokens'}",
        "{'usage':{'input_tokens':2,'output_tokens':3},'stop_reason':'max_tokens',"
        "'content':[{'input':{'stop_reason':'x','usage':{'input_tokens':1}}}]}",
        "{'usage':{'input_tokens':2,'output_tokens':3},'stop_reason':'max_tokens',"
        "'extra':{'stop_reason':'x','usage':{'input_tokens':1}}}",
        "{'stop_reason':'max_tokens','content':[],'usage':{'input_tokens':2,'output_tokens':3}}",
        "{'stop_reason':'max_tokens','usage':{'input_tokens':2,'output_tokens':3},'last':{}}",
        "{'stop_reason':'max_tokens','text':'\\'usage\\':{','usage' : {'input_tokens':2,"
        "'output_tokens':3} }",
    };
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        u = IR_USAGE_NONE;
        stop = IR_STOP_NONE;
        (void)wire_anthropic.meter(STR_NONE, kit_text(&k, replies[i]), &u, &stop);
        ck_assert_msg(u.input_total == 2 && u.output_total == 3 && stop == IR_STOP_LENGTH, "%s",
                      replies[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire_anthropic");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, keeps_its_own_requests, 0, (int)ARRAY_LEN(own_rows));
    tcase_add_test(t, keeps_tool_pairs_together);
    tcase_add_test(t, answers_a_call_that_nobody_answered);
    tcase_add_test(t, keeps_the_last_four_cache_marks);
    tcase_add_test(t, thinking_forbids_forced_tools_and_sampling);
    tcase_add_test(t, budget_gives_way_to_the_models_limit);
    tcase_add_test(t, tool_loop_begun_without_thinking_goes_on_without);
    tcase_add_loop_test(t, refuses_naming_the_field, 0, (int)ARRAY_LEN(refused_rows));
    tcase_add_loop_test(t, takes_requests_of_ollama, 0, (int)ARRAY_LEN(ollama_rows));
    tcase_add_test(t, schema_goes_native_where_supported);
    tcase_add_test(t, takes_requests_of_gemini);
    tcase_add_test(t, refuses_what_it_cannot_carry);
    tcase_add_test(t, quirks_of_compatible_servers);
    tcase_add_test(t, reads_replies);
    tcase_add_test(t, own_reply_survives_the_ir);
    tcase_add_loop_test(t, maps_stop_reasons, 0, (int)ARRAY_LEN(stop_rows));
    tcase_add_test(t, forced_json_tool_is_text_again);
    tcase_add_test(t, writes_replies_of_others);
    tcase_add_test(t, hides_thoughts_from_those_who_asked_so);
    tcase_add_loop_test(t, repairs_streams, 0, (int)ARRAY_LEN(own_streams));
    tcase_add_loop_test(t, writes_streams_of_gemini, 0, (int)ARRAY_LEN(gemini_streams));
    tcase_add_loop_test(t, reads_streams_for_ollama, 0, (int)ARRAY_LEN(ollama_streams));
    tcase_add_test(t, message_start_tells_the_input_when_known);
    tcase_add_test(t, message_start_estimates_input);
    tcase_add_test(t, writes_errors);
    tcase_add_test(t, meters);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
