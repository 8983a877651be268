/* Google GenAI to and from the other formats; the numbers in comments are rows of the list of pitfalls. */
#include "unit/wire_kit.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct kit k;

static void setup(void)
{
    kit_init(&k, &wire_gemini, &wire_gemini);
}

static void teardown(void)
{
    kit_done(&k);
}

#define HI "'contents':[{'role':'user','parts':[{'text':'hi'}]}]"
#define TOOLS "'tools':[{'functionDeclarations':[{'name':'f'},{'name':'g'}]}]"

static const struct kit_request_row own_rows[] = {
    /* clang-format off */
    {"{'contents':{'parts':{'text':'hi'}}}", "", "{" HI "}"}, /* 15 */
    {"{'contents':['hi']}", "", "{" HI "}"},
    {"{'contents':[{'parts':['hi']}]}", "", "{" HI "}"},
    {"{'model':'models/x'," HI "}", "model", "absent"},
    {"{'systemInstruction':'s'," HI "}", "systemInstruction", "{'parts':[{'text':'s'}]}"},
    {"{'system_instruction':{'parts':{'text':'s'}}," HI "}", "systemInstruction", "{'parts':[{'text':'s'}]}"},
    {"{'systemInstruction':{'role':'system','parts':[{'text':'s'},{'text':'t'}]}," HI "}", "systemInstruction", "{'parts':[{'text':'s'},{'text':'t'}]}"},
    {"{'contents':[{'role':'user','parts':[{'text':''},{}]},{'role':'user','parts':[{'text':'hi'}]}]}", "", "{" HI "}"}, /* 9 */
    /* parts */
    {"{'contents':[{'parts':[{'inline_data':{'mime_type':'image/png','data':'AA=='}},{'fileData':{'mimeType':'video/mp4','fileUri':'gs://b/o'}}]}]}",
     "contents.0.parts", "[{'inlineData':{'mimeType':'image/png','data':'AA=='}},{'fileData':{'mimeType':'video/mp4','fileUri':'gs://b/o'}}]"},
    {"{'contents':[{'parts':[{'fileData':{'fileUri':'https://generativelanguage.googleapis.com/v1beta/files/x'}}]}]}",
     "contents.0.parts.0", "{'fileData':{'fileUri':'https://generativelanguage.googleapis.com/v1beta/files/x'}}"},
    {"{'contents':[{'parts':[{'text':'x'}]},{'role':'model','parts':[{'text':'why','thought':true,'thoughtSignature':'S0'},{'text':'a','thoughtSignature':'S1'},"
     "{'functionCall':{'name':'f','args':{}},'thoughtSignature':'S2'},{'executableCode':{'code':'1'}}]},{'parts':[{'functionResponse':{'name':'f','response':{'r':1}}}]}]}",
     "contents.1.parts.1", "{'text':'a','thoughtSignature':'S1'}"},
    /* calls and results: pairs by id, by name, by prefix (8, 15) */
    {"{'contents':[{'parts':[{'text':'x'}]},{'role':'model','parts':[{'functionCall':{'id':'i1','name':'f','args':{}}},{'functionCall':{'id':'i2','name':'f','args':{}}}]},"
     "{'role':'function','parts':[{'functionResponse':{'id':'i2','name':'f','response':{'output':'two'}}},{'functionResponse':{'id':'i1','name':'f','response':{'error':'one'}}},{'text':'and'}]}]}",
     "contents.2.parts", "[{'functionResponse':{'id':'i1','name':'f','response':{'error':'one'}}},{'functionResponse':{'id':'i2','name':'f','response':{'output':'two'}}},{'text':'and'}]"},
    {"{'contents':[{'parts':[{'text':'x'}]},{'role':'model','parts':[{'functionCall':{'name':'f','args':{}}}]},"
     "{'parts':[{'functionResponse':{'name':'f_1700000000_2','response':{'a':[1.0]}}}]}]}", "contents.2.parts.0.functionResponse.response", "{'a':[1.0]}"},
    {"{'contents':[{'parts':[{'text':'x'}]},{'role':'model','parts':[{'functionCall':{'id':'i','name':'f','args':{}}}]},"
     "{'parts':[{'functionResponse':{'id':'i','name':'f','response':{'result':[1]},'parts':[{'inlineData':{'mimeType':'image/png','data':'AA=='}}]}}]}]}",
     "contents.2.parts", "[{'functionResponse':{'id':'i','name':'f','response':{'output':'[1]'}}},{'inlineData':{'mimeType':'image/png','data':'AA=='}}]"},
    {"{'contents':[{'parts':[{'functionResponse':{'id':'gone','name':'f','response':{}}},{'text':'hi'}]}]}", "", "{" HI "}"}, /* 6 */
    /* tools */
    {"{" HI ",'tools':[{'function_declarations':[{'name':'f','description':'d','parameters':{'type':'OBJECT','properties':{'a':{'type':'STRING'}}}}]},{'googleSearch':{}}]}",
     "tools", "[{'functionDeclarations':[{'name':'f','description':'d','parameters':{'type':'OBJECT','properties':{'a':{'type':'STRING'}}}}]},{'googleSearch':{}}]"},
    {"{" HI ",'tools':[{'functionDeclarations':[{'name':'f','parameters':{'type':'object','properties':{}}}]}]}", "tools.0.functionDeclarations.0.parameters", "absent"}, /* 16 */
    {"{" HI "," TOOLS ",'toolConfig':{'functionCallingConfig':{'mode':'any','allowedFunctionNames':['f']}}}", "toolConfig.functionCallingConfig",
     "{'mode':'ANY','allowedFunctionNames':['f']}"},
    {"{" HI "," TOOLS ",'tool_config':{'function_calling_config':{'mode':'ANY','allowed_function_names':['f','g']}}}", "toolConfig.functionCallingConfig",
     "{'mode':'ANY','allowedFunctionNames':['f','g']}"},
    {"{" HI "," TOOLS ",'toolConfig':{'functionCallingConfig':{'mode':'VALIDATED'}}}", "toolConfig.functionCallingConfig", "{'mode':'AUTO'}"},
    {"{" HI ",'toolConfig':{'functionCallingConfig':{'mode':'ANY'}}}", "toolConfig", "absent"}, /* 26 */
    /* configuration */
    {"{" HI ",'generation_config':{'top_p':0.5,'topK':3,'max_output_tokens':1e2,'stop_sequences':['1','2','','3','4','5','6'],'response_logprobs':true,'logprobs':2,'mediaResolution':'LOW'}}",
     "generationConfig", "{'topP':0.5,'topK':3,'maxOutputTokens':100,'stopSequences':['1','2','3','4','5'],'responseLogprobs':true,'logprobs':2,'mediaResolution':'LOW'}"}, /* 12 */
    {"{" HI ",'generationConfig':{'thinkingConfig':{'includeThoughts':true,'thinkingBudget':-1}}}", "generationConfig.thinkingConfig", "{'thinkingBudget':-1,'includeThoughts':true}"},
    {"{" HI ",'generationConfig':{'thinkingConfig':{'thinking_budget':0}}}", "generationConfig.thinkingConfig", "{'thinkingBudget':0}"},
    {"{" HI ",'generationConfig':{'responseMimeType':'application/json','responseSchema':{'type':'OBJECT','properties':{'a':{'type':'STRING'}}}}}", "generationConfig",
     "{'responseMimeType':'application/json','responseSchema':{'type':'OBJECT','properties':{'a':{'type':'STRING'}}}}"},
    {"{" HI ",'generationConfig':{'responseModalities':['TEXT','IMAGE'],'speechConfig':{'a':1}}}", "generationConfig", "{'responseModalities':['TEXT','IMAGE'],'speechConfig':{'a':1}}"},
    {"{" HI ",'safety_settings':[{'category':'C','threshold':'OFF'}],'cachedContent':'cachedContents/1','labels':{'a':'b'}}", "safetySettings", "[{'category':'C','threshold':'OFF'}]"},
    {"{" HI ",'labels':{'a':'b'}}", "labels", "{'a':'b'}"}, /* 28 */
    {"{" HI "}", "safetySettings", "absent"}, /* never made up */
    /* clang-format on */
};

START_TEST(keeps_its_own_requests)
{
    kit_check_request(&k, &own_rows[_i]);
}
END_TEST

static const struct kit_request_row
    anthropic_rows
        [] =
            {
                /* clang-format off */
    {"{'max_tokens':5,'system':[{'type':'text','text':'a'},{'type':'text','text':'b'}],'messages':[{'role':'user','content':'x'}]}", "",
     "{'contents':[{'role':'user','parts':[{'text':'x'}]}],'systemInstruction':{'parts':[{'text':'a'},{'text':'b'}]},'generationConfig':{'maxOutputTokens':5}}"},
    {"{'system':'only','messages':[{'role':'assistant','content':''}]}", "", "{'contents':[{'role':'user','parts':[{'text':'only'}]}]}"},
    {"{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'b'},{'role':'system','content':'s'},{'role':'user','content':'c'}]}", "contents.2.parts",
     "[{'text':'s'},{'text':'c'}]"}, /* 5 */
    {"{'messages':[{'role':'user','content':[{'type':'text','text':'x','cache_control':{'type':'ephemeral'}}]}]}", "contents.0.parts", "[{'text':'x'}]"},
    /* results: text stays text, images follow, errors say so (7, 14) */
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'thinking','thinking':'t','signature':'s'},{'type':'tool_use','id':'i1','name':'f','input':{'n':12345678901234567890}},"
     "{'type':'tool_use','id':'i2','name':'g','input':{}}]},{'role':'user','content':[{'type':'tool_result','tool_use_id':'i2','content':[{'type':'text','text':'see'},"
     "{'type':'image','source':{'type':'base64','media_type':'image/png','data':'AA=='}}]},{'type':'tool_result','tool_use_id':'i1','is_error':true,'content':'bad'},{'type':'text','text':'go'}]}]}",
     "contents.2.parts", "[{'functionResponse':{'id':'i1','name':'f','response':{'error':'bad'}}},{'functionResponse':{'id':'i2','name':'g','response':{'output':'see'}}},"
     "{'inlineData':{'mimeType':'image/png','data':'AA=='}},{'text':'go'}]"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'thinking','thinking':'t','signature':'s'},{'type':'tool_use','id':'i1','name':'f','input':{'n':12345678901234567890}}]},"
     "{'role':'user','content':[{'type':'tool_result','tool_use_id':'i1','content':'1'}]}]}",
     "contents.1.parts", "[{'functionCall':{'id':'i1','name':'f','args':{'n':12345678901234567890}}}]"},
    {"{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'tool_use','id':'i1','name':'f','input':{}}]},"
     "{'role':'user','content':[{'type':'tool_result','tool_use_id':'i1','content':'1'}]}]}", "contents.2.parts.0.functionResponse.response", "{'output':'1'}"},
    /* tools */
    {"{'messages':[{'role':'user','content':'x'}],'tools':[{'name':'f','input_schema':{'type':'object','properties':{'a':{'type':'string'}}}},{'name':'g','input_schema':{'type':'object','properties':{}}}]}",
     "tools", "[{'functionDeclarations':[{'name':'f','description':'','parametersJsonSchema':{'type':'object','properties':{'a':{'type':'string'}}}},{'name':'g','description':''}]}]"},
    {"{'messages':[{'role':'user','content':'x'}],'tools':[{'name':'1 f/x'}],'tool_choice':{'type':'tool','name':'1 f/x'}}", "toolConfig.functionCallingConfig",
     "{'mode':'ANY','allowedFunctionNames':['_1_f_x']}"},
    /* reasoning */
    {"{'max_tokens':9000,'thinking':{'type':'enabled','budget_tokens':2000},'messages':[{'role':'user','content':'x'}]}", "generationConfig.thinkingConfig", "{'thinkingBudget':2000,'includeThoughts':true}"},
    {"{'thinking':{'type':'adaptive','display':'omitted'},'messages':[{'role':'user','content':'x'}]}", "generationConfig.thinkingConfig", "{'thinkingBudget':-1,'includeThoughts':false}"},
    {"{'thinking':{'type':'disabled'},'messages':[{'role':'user','content':'x'}]}", "generationConfig.thinkingConfig", "{'thinkingBudget':0}"},
    {"{'messages':[{'role':'user','content':'x'}]}", "generationConfig", "absent"},
    {"{'output_config':{'format':{'type':'json_schema','schema':{'type':'object','properties':{'a':{'type':'string'}}}}},'messages':[{'role':'user','content':'x'}]}", "generationConfig",
     "{'responseMimeType':'application/json','responseJsonSchema':{'type':'object','properties':{'a':{'type':'string'}}}}"}, /* inside generationConfig, unwrapped */
    {"{'messages':[{'role':'user','content':[{'type':'document','source':{'type':'text','media_type':'text/plain','data':'abc'}}]}]}", "contents.0.parts.0",
     "{'inlineData':{'mimeType':'text/plain','data':'YWJj'}}"},
                /* clang-format on */
};

START_TEST(takes_requests_of_anthropic)
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    kit_check_request(&k, &anthropic_rows[_i]);
}
END_TEST

START_TEST(level_instead_of_budget)
{
    kit_use(&k, &wire_ollama, &wire_gemini);
    k.ctx.quirks = QUIRK_THINKING_LEVEL;
    kit_expect_at(&k, kit_request(&k, "{'think':'low','messages':[{'role':'user','content':'x'}]}"),
                  "generationConfig.thinkingConfig",
                  "{'thinkingLevel':'low','includeThoughts':true}");
    kit_expect_at(&k, kit_request(&k, "{'think':false,'messages':[{'role':'user','content':'x'}]}"),
                  "generationConfig.thinkingConfig", "{'thinkingLevel':'minimal'}");
    k.ctx.quirks = 0;
    kit_expect_at(&k, kit_request(&k, "{'think':'low','messages':[{'role':'user','content':'x'}]}"),
                  "generationConfig.thinkingConfig.thinkingBudget", "1024");
}
END_TEST

START_TEST(old_models_take_only_the_dialect) /* 16 */
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    k.ctx.quirks = QUIRK_SCHEMA_GEMINI;
    struct str out = kit_request(&k,
                                 "{'messages':[{'role':'user','content':'x'}],'tools':[{'name':'f',"
                                 "'input_schema':{'type':'object','additionalProperties':false,"
                                 "'properties':{'const':{'const':'v'},'n':{'type':['integer','null'"
                                 "],'exclusiveMinimum':1}},'required':['const','gone']}}]}");
    kit_expect_at(&k, out, "tools.0.functionDeclarations.0.parametersJsonSchema", "absent");
    kit_expect_at(&k, out, "tools.0.functionDeclarations.0.parameters.additionalProperties",
                  "absent");
    kit_expect_at(&k, out, "tools.0.functionDeclarations.0.parameters.required", "['const']");
    kit_expect_at(&k, out, "tools.0.functionDeclarations.0.parameters.properties.const.enum",
                  "['v']");
    kit_expect_at(&k, out, "tools.0.functionDeclarations.0.parameters.properties.n.nullable",
                  "true");
}
END_TEST

static struct str signature_get(void *arg, struct str call_id)
{
    (void)arg;
    return str_is(call_id, "i1") ? STR("kept") : STR_NONE;
}

static struct str put_id, put_signature;
static void signature_put(void *arg, struct str call_id, struct str signature)
{
    put_id = str_dup(arg, call_id);
    put_signature = str_dup(arg, signature);
}

START_TEST(signatures_are_kept_for_clients_that_cannot_carry_them)
{
    static const char body[] =
        "{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':[{'type':'tool_"
        "use','id':'i0','name':'f','input':{}},"
        "{'type':'tool_use','id':'i1','name':'f','input':{}}]},{'role':'user','content':[{'type':'"
        "tool_result','tool_use_id':'i0'},{'type':'tool_result','tool_use_id':'i1'}]}]}";
    kit_use(&k, &wire_anthropic, &wire_gemini);
    k.ctx.signature_get = signature_get;
    k.ctx.signature_put = signature_put;
    k.ctx.signature_arg = k.arena;
    struct str out = kit_request(&k, body);
    kit_expect_at(&k, out, "contents.1.parts.0.thoughtSignature", "absent");
    kit_expect_at(&k, out, "contents.1.parts.1.thoughtSignature", "'kept'");
    k.ctx.quirks = QUIRK_DUMMY_SIGNATURE;
    out = kit_request(&k, body);
    kit_expect_at(&k, out, "contents.1.parts.0.thoughtSignature",
                  "'skip_thought_signature_validator'");
    kit_expect_at(&k, out, "contents.1.parts.1.thoughtSignature", "'kept'");
    (void)kit_stream(&k, "data: "
                         "{'candidates':[{'content':{'parts':[{'functionCall':{'id':'c9','name':'f'"
                         ",'args':{}},'thoughtSignature':'S9'}]},'finishReason':'STOP'}]}\n\n");
    kit_expect_text(put_id, "c9");
    kit_expect_text(put_signature, "S9");
}
END_TEST

static const struct kit_refused_row refused_rows[] = {
    {"{}", "contents"},
    {"{'contents':[]}", "contents"},
    {"{'contents':'hi'}", "contents"},
    {"{'contents':[{'role':'robot','parts':[{'text':'x'}]}]}", "contents[0].role"},
    {"{'contents':[{'parts':[5]}]}", "contents[0].parts[0]"},
    {"{" HI ",'tools':5}", "tools"},
    {"{" HI ",'generationConfig':[]}", "generationConfig"},
    {"{" HI ",'generationConfig':{'temperature':'x'}}", "generationConfig.temperature"},
    {"{" HI ",'generationConfig':{'maxOutputTokens':-1}}", "generationConfig.maxOutputTokens"},
    {"{'contents':[{'parts':[{'text':''}]}]}", "messages"},
};

START_TEST(refuses_naming_the_field)
{
    kit_check_refused(&k, &refused_rows[_i]);
}
END_TEST

START_TEST(remote_media_are_refused_unless_fetched) /* 17 */
{
    static const char body[] = "{'messages':[{'role':'user','content':[{'type':'image','source':{'"
                               "type':'url','url':'https://x.test/a.png'}}]}]}";
    kit_use(&k, &wire_anthropic, &wire_gemini);
    ck_assert(kit_request(&k, body).n == 0);
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    ck_assert(str_contains(str_of(k.err.message), STR("https://x.test/a.png")));
    k.ctx.quirks = QUIRK_HTTPS_FILE_URI;
    kit_expect_at(&k, kit_request(&k, body), "contents.0.parts.0.fileData.fileUri",
                  "'https://x.test/a.png'");
}
END_TEST

/* ---------------------------------------------------------------- replies */
START_TEST(thoughts_only_for_those_who_asked)
{
    static const char body[] = "{'candidates':[{'content':{'parts':[{'text':'hm','thought':true},{'"
                               "text':'a'}]},'finishReason':'STOP'}]}";
    kit_expect_at(&k, kit_reply(&k, body), "candidates.0.content.parts", "[{'text':'a'}]");
    ck_assert(
        kit_request(&k, "{" HI ",'generationConfig':{'thinkingConfig':{'includeThoughts':true}}}")
            .n);
    kit_expect_at(&k, kit_reply(&k, body), "candidates.0.content.parts",
                  "[{'text':'hm','thought':true},{'text':'a'}]");
}
END_TEST

struct usage_row {
    const char *usage, *expected;
};
static const struct usage_row usage_rows[] = {
    /* to Anthropic */
    {"{'promptTokenCount':10,'toolUsePromptTokenCount':3,'cachedContentTokenCount':4,'"
     "candidatesTokenCount':5,'thoughtsTokenCount':2,'totalTokenCount':20}",
     "{'input_tokens':9,'cache_read_input_tokens':4,'output_tokens':7}"},
    {"{'promptTokenCount':10,'totalTokenCount':15}", "{'input_tokens':10,'output_tokens':5}"},
    {"{'promptTokenCount':10,'thoughtsTokenCount':2,'totalTokenCount':15}",
     "{'input_tokens':10,'output_tokens':5}"},
    {"{'prompt_token_count':10,'candidates_token_count':1}",
     "{'input_tokens':10,'output_tokens':1}"},
    {"{}", "{'input_tokens':0,'output_tokens':0}"},
};

START_TEST(counts)
{
    char body[512];
    kit_use(&k, &wire_anthropic, &wire_gemini);
    (void)snprintf(body, sizeof body,
                   "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'STOP'}],'"
                   "usageMetadata':%s}",
                   usage_rows[_i].usage);
    kit_expect_at(&k, kit_reply(&k, body), "usage", usage_rows[_i].expected);
}
END_TEST

struct stop_row {
    const char *reason, *anthropic;
};
static const struct stop_row stop_rows[] = {
    {"STOP", "'end_turn'"},
    {"MAX_TOKENS", "'max_tokens'"},
    {"SAFETY", "'refusal'"},
    {"RECITATION", "'refusal'"},
    {"IMAGE_SAFETY", "'refusal'"},
    {"OTHER", "'end_turn'"},
    {"MALFORMED_FUNCTION_CALL", "'end_turn'"},
};

START_TEST(maps_finish_reasons)
{
    char body[256];
    kit_use(&k, &wire_anthropic, &wire_gemini);
    (void)snprintf(body, sizeof body,
                   "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'%s'}]}",
                   stop_rows[_i].reason);
    kit_expect_at(&k, kit_reply(&k, body), "stop_reason", stop_rows[_i].anthropic);
}
END_TEST

START_TEST(failures_without_content_are_errors)
{
    ck_assert(kit_reply(&k, "{'candidates':[{'finishReason':'MALFORMED_FUNCTION_CALL'}]}").n == 0);
    ck_assert_int_eq(err_status(&k.err), 502);
    ck_assert(
        kit_reply(&k, "{'error':{'code':429,'message':'slow down','status':'RESOURCE_EXHAUSTED'}}")
            .n == 0);
    ck_assert_int_eq(k.err.kind, ERR_RATE_LIMITED);
}
END_TEST

START_TEST(blocked_prompt) /* 22 */
{
    static const char body[] = "{'promptFeedback':{'blockReason':'PROHIBITED_CONTENT'},'"
                               "usageMetadata':{'promptTokenCount':3}}";
    kit_use(&k, &wire_anthropic, &wire_gemini);
    kit_expect_at(&k, kit_reply(&k, body), "stop_reason", "'refusal'");
    kit_use(&k, &wire_gemini, &wire_gemini);
    kit_expect_at(&k, kit_reply(&k, body), "candidates.0.finishReason", "'SAFETY'");
}
END_TEST

START_TEST(tool_calls_finish_as_calls)
{
    kit_use(&k, &wire_anthropic, &wire_gemini);
    kit_expect_at(&k,
                  kit_reply(&k, "{'candidates':[{'content':{'parts':[{'functionCall':{'name':'f'}}]"
                                "},'finishReason':'STOP'}]}"),
                  "stop_reason", "'tool_use'");
}
END_TEST

START_TEST(several_candidates) /* 12 */
{
    struct str out = kit_reply(
        &k,
        "{'candidates':[{'index':1,'content':{'parts':[{'text':'b'}]},'finishReason':'MAX_TOKENS'},"
        "{'index':0,'content':{'parts':[{'text':'a'}]},'finishReason':'STOP'}]}");
    kit_expect_at(&k, out, "candidates.0.content.parts.0.text", "'a'");
    kit_expect_at(&k, out, "candidates.1.content.parts.0.text", "'b'");
    kit_expect_at(&k, out, "candidates.1.finishReason", "'MAX_TOKENS'");
    kit_expect_at(&k, out, "candidates.1.index", "1");
}
END_TEST

START_TEST(
    offsets_of_citations_are_recomputed) /* 36: bytes there, characters in the IR, bytes again */
{
    static const char body[] =
        "{'candidates':[{'content':{'parts':[{'text':'Caf\xc3\xa9 \xf0\x9f\x99\x82 is "
        "open.'}]},'finishReason':'STOP','groundingMetadata':{"
        "'groundingChunks':[{'web':{'uri':'https://a.test','title':'A'}},{'web':{'uri':'https://"
        "b.test','title':'B'}}],"
        "'groundingSupports':[{'segment':{'startIndex':11,'endIndex':18,'text':'is "
        "open'},'groundingChunkIndices':[1,0,7]}]}}]}";
    kit_expect_at(
        &k, kit_reply(&k, body), "candidates.0.citationMetadata.citationSources",
        "[{'startIndex':11,'endIndex':18,'uri':'https://"
        "b.test','title':'B'},{'startIndex':11,'endIndex':18,'uri':'https://a.test','title':'A'}]");
    struct str stream = kit_stream(
        &k, "data: {'candidates':[{'content':{'parts':[{'text':'Caf\xc3\xa9 '}]}}]}\n\n"
            "data: {'candidates':[{'content':{'parts':[{'text':'\xf0\x9f\x99\x82 is'}]}}]}\n\n"
            "data: "
            "{'candidates':[{'finishReason':'STOP','citationMetadata':{'citationSources':[{'"
            "startIndex':6,'endIndex':10,'uri':'https://c.test'}]}}]}\n\n");
    ck_assert(str_contains(stream, STR("\"citationSources\":[{\"startIndex\":6,\"endIndex\":10,"
                                       "\"uri\":\"https://c.test\"}]")));
}
END_TEST

START_TEST(probabilities_go_through)
{
    struct str out = kit_reply(
        &k, "{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'STOP','"
            "logprobsResult':{"
            "'topCandidates':[{'candidates':[{'token':'a','logProbability':-0.1},{'token':'b','"
            "logProbability':-2.50}]}],"
            "'chosenCandidates':[{'token':'a','tokenId':5,'logProbability':-0.1}]}}]}");
    kit_expect_at(&k, out, "candidates.0.logprobsResult",
                  "{'topCandidates':[{'candidates':[{'token':'a','logProbability':-0.1},{'token':'"
                  "b','logProbability':-2.50}]}],"
                  "'chosenCandidates':[{'token':'a','logProbability':-0.1}]}");
}
END_TEST

START_TEST(images_of_the_model)
{
    static const char body[] =
        "{'candidates':[{'content':{'parts':[{'text':'see'},{'inlineData':{'mimeType':'image/"
        "png','data':'iVBORw0KGgo='}}]},'finishReason':'STOP'}]}";
    kit_expect_at(&k, kit_reply(&k, body), "candidates.0.content.parts.1.inlineData",
                  "{'mimeType':'image/png','data':'iVBORw0KGgo='}");
    kit_use(&k, &wire_ollama, &wire_gemini);
    kit_expect_at(&k, kit_reply(&k, body), "message.images", "['iVBORw0KGgo=']");
}
END_TEST

/* ---------------------------------------------------------------- streams */
#define CHUNK(parts)                                                                         \
    "data: "                                                                                 \
    "{'responseId':'r','modelVersion':'g','candidates':[{'content':{'role':'model','parts':" \
    "[" parts "]}}],'usageMetadata':{'promptTokenCount':3,'totalTokenCount':3}}\r\n\r\n"
#define LAST(reason, parts)                                                                    \
    "data: {'candidates':[{'content':{'parts':[" parts "]},'finishReason':'" reason            \
    "'}],'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4,'totalTokenCount':7}}" \
    "\r\n\r\n"

static const struct kit_stream_row own_streams[] = {
    /* clang-format off */
    {CHUNK("{'text':'a'},{'text':'b'}") LAST("STOP", "{'text':''}"), "t'a' t'b' t'' F(STOP,3,4)"},
    {LAST("STOP", "{'text':'a'}") , "t'a' t'' F(STOP,3,4)"},
    /* a reason with every chunk, usage after it */
    {LAST("STOP", "{'text':'a'}") LAST("MAX_TOKENS", "{'text':'b'}"), "t'a' t'b' t'' F(MAX_TOKENS,3,4)"},
    {CHUNK("{'functionCall':{'name':'f','args':{'a':'b'}},'thoughtSignature':'S'}") LAST("STOP", ""), "c:f{\"a\":\"b\"} sig:S t'' F(STOP,3,4)"},
    {CHUNK("{'text':'a'}") LAST("STOP", "{'text':'','thoughtSignature':'S'}"), "t'a' t'' sig:S t'' F(STOP,3,4)"},
    {CHUNK("{'text':'a'}"), "t'a' !UNAVAILABLE"},
    {"", "!UNAVAILABLE"},
    {CHUNK("{'text':'a'}") "data: {'error':{'code':503,'message':'m','status':'UNAVAILABLE'}}\r\n\r\n", "t'a' !UNAVAILABLE"},
    {"data: {'promptFeedback':{'blockReason':'SAFETY'}}\r\n\r\n", "t'SAFETY' t'' F(SAFETY,0,0)"},
    {"data: [{'error':{'code':400,'message':'m','status':'INVALID_ARGUMENT'}}]\n\n", "!INVALID_ARGUMENT"}, /* 31 */
    /* clang-format on */
};

START_TEST(streams_to_itself)
{
    kit_check_stream(&k, &own_streams[_i]);
}
END_TEST

START_TEST(stream_as_one_array)
{
    k.ctx.is_json_array = true;
    struct str out = kit_stream(&k, CHUNK("{'text':'a'}") CHUNK("{'text':'b'}") LAST("STOP", ""));
    ck_assert(out.p[0] == '[' && out.p[out.n - 1] == ']');
    (void)kit_json(&k, out);
    kit_expect_text(kit_summary(&k, out), "t'a' t'b' t'' F(STOP,3,4)");
    kit_expect_text(kit_summary(&k, kit_stream(&k, CHUNK("{'text':'a'}"))), "t'a' !UNAVAILABLE");
}
END_TEST

#define ANTHROPIC_START                                                                            \
    "event: message_start\ndata: "                                                                 \
    "{'type':'message_start','message':{'id':'msg_1','model':'claude','usage':{'input_tokens':4,'" \
    "output_tokens':1}}}\n\n"
static const struct kit_stream_row anthropic_streams[] = {
    /* an Anthropic stream to Google's client: arguments whole, one last chunk with usage */
    {ANTHROPIC_START
     "data: "
     "{'type':'content_block_start','index':0,'content_block':{'type':'thinking','thinking':''}}"
     "\n\n"
     "data: "
     "{'type':'content_block_delta','index':0,'delta':{'type':'thinking_delta','thinking':'hm'}}"
     "\n\n"
     "data: {'type':'content_block_stop','index':0}\n\n"
     "data: {'type':'content_block_start','index':1,'content_block':{'type':'text','text':''}}\n\n"
     "data: {'type':'content_block_delta','index':1,'delta':{'type':'text_delta','text':'a'}}\n\n"
     "data: {'type':'content_block_stop','index':1}\n\n"
     "data: "
     "{'type':'content_block_start','index':2,'content_block':{'type':'tool_use','id':'t','name':'"
     "f','input':{}}}\n\n"
     "data: "
     "{'type':'content_block_delta','index':2,'delta':{'type':'input_json_delta','partial_json':'{"
     "\\\"a\\\"'}}\n\n"
     "data: "
     "{'type':'content_block_delta','index':2,'delta':{'type':'input_json_delta','partial_json':':"
     "1}'}}\n\n"
     "data: {'type':'content_block_stop','index':2}\n\n"
     "data: "
     "{'type':'message_delta','delta':{'stop_reason':'tool_use'},'usage':{'output_tokens':7}}\n\n"
     "data: {'type':'message_stop'}\n\n",
     "t'a' c:f{\"a\":1} t'' F(STOP,4,7)"},
};

START_TEST(writes_streams_of_anthropic)
{
    kit_use(&k, &wire_gemini, &wire_anthropic);
    kit_check_stream(&k, &anthropic_streams[_i]);
}
END_TEST

/* ---------------------------------------------------------------- errors, metering */
START_TEST(writes_errors)
{
    struct err e = ERR_INIT;
    struct buf b;
    buf_init_arena(&b, k.arena, 4096);
    (void)err_set(&e, ERR_RATE_LIMITED, "rate_limited", "slow down");
    wire_gemini.write_error(&e, STR_NONE, &b);
    kit_expect(&k, buf_str(&b),
               "{'error':{'code':429,'message':'slow down','status':'RESOURCE_EXHAUSTED'}}");
}
END_TEST

START_TEST(meters) /* 33 */
{
    struct ir_usage u = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    (void)wire_gemini.meter(
        STR_NONE,
        kit_text(&k, "{'candidates':[{'content':{'parts':[{'text':'x'}]}}],'usageMetadata':{'"
                     "promptTokenCount':9,'totalTokenCount':9}}"),
        &u, &stop);
    ck_assert_int_eq(stop, IR_STOP_NONE);
    (void)wire_gemini.meter(
        STR_NONE,
        kit_text(&k,
                 "{'candidates':[{'finishReason' : "
                 "'MAX_TOKENS'}],'usageMetadata':{'promptTokenCount':9,'cachedContentTokenCount':2,"
                 "'candidatesTokenCount':5,'thoughtsTokenCount':1,'totalTokenCount':15}}"),
        &u, &stop);
    ck_assert_int_eq(u.input_total, 9);
    ck_assert_int_eq(u.cache_read, 2);
    ck_assert_int_eq(u.output_total, 6);
    ck_assert_int_eq(u.reasoning, 1);
    ck_assert_int_eq(stop, IR_STOP_LENGTH);
    static const char *const texts[] = {
        /* arguments of a call may have such a member as well, and a list may be cut off */
        "{'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4},'candidates':[{'content':"
        "{"
        "'parts':[{'functionCall':{'args':{'usageMetadata':{'promptTokenCount':1}}}}]}}]}",
        "{'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4},'candidates':[{'content':"
        "{"
        "'parts':[{'functionCall':{'args':{'usageMetadata':'x'}}}]}}]}",
        "'text':'x'}]}}],'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4}}]",
        "'text':'x'}]}}],'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4}}\n,\n{"
        "'candidates':[{'content':{'parts':[{'te",
        "'text':'x'}]}}],'usageMetadata':{'promptTokenCount':3,'candidatesTokenCount':4}}\n,\n{"
        "'candidates':[],'usageMetadata':{'promptTok"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        u = IR_USAGE_NONE;
        (void)wire_gemini.meter(STR_NONE, kit_text(&k, texts[i]), &u, &stop);
        ck_assert_msg(u.input_total == 3 && u.output_total == 4, "%s", texts[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire_gemini");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, keeps_its_own_requests, 0, (int)ARRAY_LEN(own_rows));
    tcase_add_loop_test(t, takes_requests_of_anthropic, 0, (int)ARRAY_LEN(anthropic_rows));
    tcase_add_test(t, level_instead_of_budget);
    tcase_add_test(t, old_models_take_only_the_dialect);
    tcase_add_test(t, signatures_are_kept_for_clients_that_cannot_carry_them);
    tcase_add_loop_test(t, refuses_naming_the_field, 0, (int)ARRAY_LEN(refused_rows));
    tcase_add_test(t, remote_media_are_refused_unless_fetched);
    tcase_add_test(t, thoughts_only_for_those_who_asked);
    tcase_add_loop_test(t, counts, 0, (int)ARRAY_LEN(usage_rows));
    tcase_add_loop_test(t, maps_finish_reasons, 0, (int)ARRAY_LEN(stop_rows));
    tcase_add_test(t, failures_without_content_are_errors);
    tcase_add_test(t, blocked_prompt);
    tcase_add_test(t, tool_calls_finish_as_calls);
    tcase_add_test(t, several_candidates);
    tcase_add_test(t, offsets_of_citations_are_recomputed);
    tcase_add_test(t, probabilities_go_through);
    tcase_add_test(t, images_of_the_model);
    tcase_add_loop_test(t, streams_to_itself, 0, (int)ARRAY_LEN(own_streams));
    tcase_add_test(t, stream_as_one_array);
    tcase_add_loop_test(t, writes_streams_of_anthropic, 0, (int)ARRAY_LEN(anthropic_streams));
    tcase_add_test(t, writes_errors);
    tcase_add_test(t, meters);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
