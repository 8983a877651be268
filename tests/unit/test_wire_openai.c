/* The OpenAI formats; the numbers in comments are rows of the list of pitfalls of translation. */
#include "unit.h"
#include "unit/wire_kit.h"
#include "wire/common.h"

static struct kit k;

static void finish(void)
{
    kit_done(&k);
}

#define HI "'messages':[{'role':'user','content':'hi'}]"
#define M "'model':'m',"

static void check_rows(const struct wire *client, const struct wire *upstream, uint32_t quirks,
                       const struct kit_request_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kit_use(&k, client, upstream);
        k.ctx.quirks = quirks;
        kit_check_request(&k, &rows[i]);
        finish();
    }
}
#define ROWS(client, upstream, quirks, rows) \
    check_rows((client), (upstream), (quirks), (rows), ARRAY_LEN(rows))

START_TEST(numbers_are_read_as_they_are_meant)
{
    static const struct kit_request_row rows[] = {
        /* 29 */
        {"{" M HI ",'max_tokens':1e2}", "max_completion_tokens", "100"},
        {"{" M HI ",'max_tokens':5.0}", "max_completion_tokens", "5"},
        {"{" M HI ",'max_tokens':null}", "max_completion_tokens", "absent"},
        {"{" M HI ",'max_tokens':-1}", "max_completion_tokens", "absent"},
        {"{" M HI ",'max_tokens':1,'max_completion_tokens':2}", "max_completion_tokens",
         "2"}, /* 2 */
        {"{" M HI ",'temperature':0.70}", "temperature", "0.70"},
        {"{" M HI ",'temperature':null}", "temperature", "absent"},
        {"{" M HI ",'seed':12345678901234567890}", "seed", "12345678901234567890"},
        {"{" M HI ",'n':1}", "n", "1"},
        {"{" M HI ",'stop':null}", "stop", "absent"},
        {"{" M HI ",'stop':['a']}", "stop", "['a']"},
        {"{" M HI ",'top_logprobs':2,'logprobs':false}", "top_logprobs", "absent"},
        {"{" M HI ",'tools':[]}", "tools", "absent"},
        {"{" M HI ",'vendor':{'a':1.50}}", "vendor", "{'a':1.50}"},
    };
    ROWS(&wire_chat, &wire_chat, 0, rows);
}
END_TEST

START_TEST(bad_requests_name_the_field)
{
    static const struct kit_refused_row rows[] = {
        {"{'model':'m'}", "messages"},
        {"{" M "'messages':[]}", "messages"},
        {"{" HI "}", "model"},
        {"{'model':7," HI "}", "model"},
        {"{" M "'messages':[7]}", "messages[0]"},
        {"{" M "'messages':[{'role':'king','content':'x'}]}", "messages[0].role"},
        {"{" M "'messages':[{'role':'user','content':7}]}", "messages[0]"},
        {"{" M "'messages':[{'role':'user','content':[{'type':'text'}]}]}", "messages[0]"},
        {"{" M "'messages':[{'role':'user','content':[{'type':'image_url'}]}]}", "messages[0]"},
        {"{" M HI ",'max_tokens':1.5}", "max_tokens"},
        {"{" M HI ",'max_tokens':0}", "max_tokens"},
        {"{" M HI ",'max_tokens':'9'}", "max_tokens"},
        {"{" M HI ",'temperature':'hot'}", "temperature"},
        {"{" M HI ",'stream':'yes'}", "stream"},
        {"{" M HI ",'n':0}", "n"},
        {"{" M HI ",'stop':7}", "stop"},
        {"{" M HI ",'tools':{}}", "tools"},
        {"{" M HI ",'tools':[7]}", "tools[0]"},
        {"{" M HI ",'tool_choice':'sometimes'}", "tool_choice"},
        {"{" M HI ",'response_format':{'type':'xml'}}", "response_format"},
        {"{" M HI ",'reasoning_effort':'gigantic'}", "reasoning_effort"},
        {"{" M HI ",'metadata':7}", "metadata"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        kit_use(&k, &wire_chat, &wire_chat);
        kit_check_refused(&k, &rows[i]);
        finish();
    }
}
END_TEST

START_TEST(responses_requests_name_the_field)
{
    static const struct kit_refused_row rows[] = {
        {"{'model':'m'}", "input"},
        {"{'model':'m','input':7}", "input"},
        {"{'model':'m','input':[7]}", "input[0]"},
        {"{'model':'m','input':[{'role':'king','content':''}]}", "input[0]"},
        {"{'model':'m','input':[{'type':'function_call_output','output':'x'}]}", "input[0]"},
        {"{'model':'m','input':'x','instructions':7}", "instructions"},
        {"{'model':'m','input':'x','reasoning':'high'}", "reasoning"},
        {"{'model':'m','input':'x','reasoning':{'effort':'odd'}}", "reasoning.effort"},
        {"{'model':'m','input':'x','text':{'format':{'type':'yaml'}}}", "text.format"},
        {"{'model':'m','input':'x','max_output_tokens':-7}", "max_output_tokens"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        kit_use(&k, &wire_responses, &wire_chat);
        kit_check_refused(&k, &rows[i]);
        finish();
    }
}
END_TEST

START_TEST(quirks_change_the_spelling)
{
    static const struct {
        uint32_t quirks;
        struct kit_request_row row;
    } rows[] = {
        {QUIRK_MAX_TOKENS_OLD, {"{" M HI ",'max_completion_tokens':9}", "max_tokens", "9"}}, /* 2 */
        {QUIRK_NO_STREAM_OPTIONS, {"{" M HI ",'stream':true}", "stream_options", "absent"}},
        {0, {"{" M HI ",'stream':true}", "stream_options", "{'include_usage':true}"}},
        {0, {"{" M HI ",'stream':false}", "stream_options", "absent"}},
        {0,
         {"{" M "'messages':[{'role':'developer','content':'d'}]}", "messages.0.role",
          "'system'"}}, /* 4 */
        {QUIRK_DEVELOPER_ROLE,
         {"{" M "'messages':[{'role':'developer','content':'d'}]}", "messages.0.role",
          "'developer'"}},
        {QUIRK_NO_REASONING_EFFORT,
         {"{" M HI ",'reasoning_effort':'low'}", "reasoning_effort", "absent"}},
        {QUIRK_THINKING_FIELD,
         {"{" M HI ",'reasoning_effort':'low'}", "thinking", "{'type':'enabled'}"}},
        {QUIRK_THINKING_FIELD,
         {"{" M HI ",'thinking':{'type':'disabled'}}", "thinking", "{'type':'disabled'}"}},
        {QUIRK_REASONING_SPLIT, {"{" M HI ",'reasoning_effort':'low'}", "reasoning_split", "true"}},
        {QUIRK_NO_PARALLEL_FIELD,
         {"{" M HI
          ",'tools':[{'type':'function','function':{'name':'f'}}],'parallel_tool_calls':false}",
          "parallel_tool_calls", "absent"}},
        {QUIRK_NO_FILES,
         {"{" M "'messages':[{'role':'user','content':[{'type':'file','file':{'filename':'a.txt','"
          "file_data':'data:text/plain;base64,aGk='}}]}]}",
          "messages.0.content.0", "{'type':'text','text':'hi'}"}}, /* 18 */
        {QUIRK_NO_REASONING_HISTORY,
         {"{" M "'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'b','"
          "reasoning_content':'r'}]}",
          "messages.1.reasoning_content", "absent"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_rows(&wire_chat, &wire_chat, rows[i].quirks, &rows[i].row, 1);
}
END_TEST

START_TEST(refused_fields_go_with_what_hangs_on_them) /* 40 */
{
    static const char *const strip[] = {"logprobs", "temperature", "tools", NULL};
    kit_use(&k, &wire_chat, &wire_chat);
    k.ctx.strip = strip;
    struct str out = kit_request(
        &k, "{" M HI ",'logprobs':true,'top_logprobs':2,'temperature':1,"
            "'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':'auto'}");
    kit_expect(&k, out, "{'model':'up-model'," HI "}");
    ck_assert(kit_dropped(&k, "temperature"));
    finish();
}
END_TEST

START_TEST(losses_are_named)
{
    kit_use(&k, &wire_chat, &wire_responses);
    ck_assert(
        kit_request(
            &k,
            "{" M HI
            ",'stop':['a'],'seed':1,'logit_bias':{'1':1},'vendor_field':1,'frequency_penalty':1}")
            .n > 0);
    ck_assert(kit_dropped(&k, "stop"));
    ck_assert(kit_dropped(&k, "seed"));
    ck_assert(kit_dropped(&k, "logit_bias"));
    ck_assert(kit_dropped(&k, "frequency_penalty"));
    ck_assert(kit_dropped(&k, "vendor_field")); /* 28 */
    finish();
}
END_TEST

START_TEST(one_choice_targets_refuse_n)
{
    kit_use(&k, &wire_chat, &wire_responses);
    ck_assert(kit_request(&k, "{" M HI ",'n':2}").n == 0); /* 12 */
    ck_assert_int_eq(k.err.kind, ERR_UNSUPPORTED);
    ck_assert_str_eq(k.err.code, "unsupported_parameter");
    ck_assert_str_eq(k.err.field, "n");
    finish();
}
END_TEST

START_TEST(long_ids_and_item_ids_are_ruled) /* 8 */
{
    static const char id[] = "call_0123456789012345678901234567890123456789";
    char body[1024];
    snprintf(body, sizeof body,
             "{" M "'messages':[{'role':'user','content':'a'},{'role':'assistant','tool_calls':[{'"
             "id':'%s','type':'function',"
             "'function':{'name':'f','arguments':'{}'}}]},{'role':'tool','tool_call_id':'%s','"
             "content':'r'}]}",
             id, id);
    kit_use(&k, &wire_chat, &wire_responses);
    struct str out = kit_request(&k, body);
    yyjson_val *input = json_get(kit_json(&k, out), "input");
    struct str call = json_get_str(yyjson_arr_get(input, 1), "call_id");
    ck_assert_uint_eq(call.n, 29);
    check_str(json_get_str(yyjson_arr_get(input, 2), "call_id"), call);
    ck_assert_ptr_null(json_get(yyjson_arr_get(input, 1), "id"));
    finish();
}
END_TEST

START_TEST(arguments_survive_whatever_they_are) /* 14 */
{
    static const struct kit_request_row rows[] = {
        {"{\\\"a\\\":12345678901234567890,\\\"a\\\":1.0}", "",
         "'{\\\"a\\\":12345678901234567890,\\\"a\\\":1.0}'"},
        {"{\\\"s\\\":\\\"\\\\u0000\\\\ud800\\\"}", "", "'{\\\"s\\\":\\\"\\\\u0000\\\\ud800\\\"}'"},
        {"", "", "'{}'"},
        {"nonsense", "", "'nonsense'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[512];
        snprintf(body, sizeof body,
                 "{" M "'messages':[{'role':'user','content':'a'},{'role':'assistant','tool_calls':"
                 "[{'id':'c','type':'function',"
                 "'function':{'name':'f','arguments':'%s'}}]}]}",
                 rows[i].body);
        kit_use(&k, &wire_chat, &wire_responses);
        kit_expect_at(&k, kit_request(&k, body), "input.1.arguments", rows[i].expected);
        finish();
    }
}
END_TEST

/* ---- streams ---- */
#define CHUNK(delta, reason)                                                                    \
    "data: "                                                                                    \
    "{'id':'chatcmpl-1','object':'chat.completion.chunk','created':5,'model':'u','choices':[{'" \
    "index':0,'delta':" delta ",'finish_reason':" reason "}]}\n\n"
#define DONE "data: [DONE]\n\n"

static unsigned count(struct str text, const char *what)
{
    unsigned n = 0;
    struct str part = str_of(what);
    for (const char *at = text.p; (at = memmem(at, (size_t)(text.p + text.n - at), part.p, part.n));
         at += part.n)
        n++;
    return n;
}

START_TEST(a_stream_ends_once) /* 20 */
{
    static const char *const streams[] = {
        CHUNK("{'content':'a'}", "null") CHUNK("{}", "'stop'") CHUNK("{}", "'length'") DONE DONE,
        CHUNK("{'content':'a'}", "'stop'") DONE CHUNK("{'content':'late'}", "null"),
        CHUNK("{'content':'a'}", "null") CHUNK("{}", "'stop'"),
        CHUNK("{'content':'a'}", "null") DONE,
    };
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        kit_use(&k, &wire_responses, &wire_chat);
        struct str out = kit_stream(&k, streams[i]);
        ck_assert_uint_eq(count(out, "event: response.completed"), 1);
        ck_assert_uint_eq(count(out, "late"), 0);
        finish();
        kit_use(&k, &wire_chat, &wire_chat);
        out = kit_stream(&k, streams[i]);
        ck_assert_uint_eq(count(out, "[DONE]"), 1);
        ck_assert_uint_eq(count(out, "\"finish_reason\":\"stop\""), 1);
        finish();
    }
}
END_TEST

START_TEST(content_behind_the_finish_is_still_content)
{
    kit_use(&k, &wire_chat, &wire_chat);
    struct str out = kit_stream(&k, CHUNK("{'content':'a'}", "'stop'")
                                        CHUNK("{'content':'b'}", "null") DONE);
    const char *b = memmem(out.p, out.n, "\"b\"", 3), *stop = memmem(out.p, out.n, "\"stop\"", 6);
    ck_assert(b && stop && b < stop);
    finish();
}
END_TEST

START_TEST(the_id_of_a_call_is_said_once)
{
    kit_use(&k, &wire_chat, &wire_chat);
    struct str out = kit_stream(
        &k,
        CHUNK("{'tool_calls':[{'index':0,'id':'call_1','type':'function','function':{'name':'f','"
              "arguments':'{'}}]}",
              "null") CHUNK("{'tool_calls':[{'index':0,'id':'call_1','type':'function','function':{"
                            "'name':'f','arguments':'}'}}]}",
                            "null") CHUNK("{'tool_calls':[{'index':0,'id':'call_2','type':'"
                                          "function','function':{'name':'g','arguments':'{}'}}]}",
                                          "'tool_calls'") DONE);
    ck_assert_uint_eq(count(out, "call_1"), 1);
    ck_assert_uint_eq(count(out, "\"name\":\"f\""), 1);
    ck_assert_uint_eq(count(out, "\"index\":1,\"id\":\"call_2\""), 1);
    finish();
}
END_TEST

START_TEST(broken_utf8_is_repaired)
{
    kit_use(&k, &wire_responses, &wire_chat);
    struct str out = kit_stream(&k, CHUNK("{'content':'a\xff'}", "'stop'") DONE);
    ck_assert(str_valid_utf8(out));
    ck_assert_uint_ge(count(out, "a\xef\xbf\xbd"), 1);
    finish();
}
END_TEST

START_TEST(the_shown_name_replaces_the_upstreams) /* 27 */
{
    kit_use(&k, &wire_chat, &wire_chat);
    k.ctx.shown_model = STR("alias");
    struct str out = kit_stream(&k, CHUNK("{'content':'a'}", "'stop'") DONE);
    ck_assert_uint_eq(count(out, "\"model\":\"u\""), 0);
    ck_assert_uint_ge(count(out, "\"model\":\"alias\""), 3);
    finish();
}
END_TEST

START_TEST(completions_speak_text)
{
    kit_use(&k, &wire_completions, &wire_chat);
    kit_expect_at(&k, kit_request(&k, "{'model':'m','prompt':['say'],'max_tokens':3}"), "messages",
                  "[{'role':'user','content':'say'}]");
    struct str out = kit_stream(&k, CHUNK("{'content':'a'}", "'length'") DONE);
    ck_assert_uint_eq(count(out, "\"text\":\"a\""), 1);
    ck_assert_uint_eq(count(out, "\"finish_reason\":\"length\""), 1);
    ck_assert_uint_eq(count(out, "[DONE]"), 1);
    finish();
    kit_use(&k, &wire_completions, &wire_chat);
    ck_assert(kit_request(&k, "{'model':'m','prompt':[1,2]}").n == 0);
    ck_assert_str_eq(k.err.field, "prompt");
    finish();
}
END_TEST

/* ---- metering ---- */
struct meter_row {
    const struct wire *wire;
    const char *event, *data;
    int64_t in, out, cached;
    enum ir_stop stop;
    bool is_last;
};

static struct str double_quoted(struct arena *a, const char *text)
{
    struct str data = str_dup(a, str_of(text));
    char *p = (char *)(uintptr_t)data.p;
    for (size_t n = 0; n < data.n; n++)
        if (p[n] == '\'')
            p[n] = '"';
    return data;
}

START_TEST(usage_is_found_without_reading_the_rest)
{
    static const struct meter_row rows[] = {
        {&wire_chat, "", "{'choices':[{'delta':{'content':'x'},'finish_reason':null}]}", -1, -1, -1,
         IR_STOP_NONE, false},
        {&wire_chat, "",
         "{'choices':[],'usage':{'prompt_tokens':3,'completion_tokens':4,'prompt_tokens_details':{'"
         "cached_tokens':2}}}",
         3, 4, 2, IR_STOP_NONE, false},
        {&wire_chat, "",
         "{ 'choices' : [ { 'finish_reason' : 'length' } ] , 'usage' : { 'prompt_tokens' : 3 , "
         "'completion_tokens' : 4 } }",
         3, 4, -1, IR_STOP_LENGTH, false},
        {&wire_chat, "",
         "{'choices':[{'delta':{'content':'\\\"usage\\\":{\\\"prompt_tokens\\\":9}'}}],'usage':"
         "null}",
         -1, -1, -1, IR_STOP_NONE, false},
        {&wire_chat, "", "[DONE]", -1, -1, -1, IR_STOP_NONE, true},
        {&wire_responses, "response.output_text.delta",
         "{'type':'response.output_text.delta','delta':'x'}", -1, -1, -1, IR_STOP_NONE, false},
        {&wire_responses, "response.completed",
         "{'type':'response.completed','response':{'status':'completed','usage':{'input_tokens':3,'"
         "input_tokens_details':{'cached_tokens':2},'output_tokens':4}}}",
         3, 4, 2, IR_STOP_END, true},
        {&wire_responses, "",
         "{'type':'response.incomplete','response':{'incomplete_details':{'reason':'max_output_"
         "tokens'},'usage':{'input_tokens':3,'output_tokens':4}}}",
         3, 4, -1, IR_STOP_LENGTH, true},
        {&wire_responses, "",
         "{'id':'resp_1','status':'completed','output':[{'type':'function_call'}],'usage':{'input_"
         "tokens':3,'output_tokens':4}}",
         3, 4, -1, IR_STOP_TOOL, false},
        /* Groq's streams */
        {&wire_chat, "",
         "{'choices':[{'finish_reason':'stop'}],'x_groq':{'usage':{'prompt_tokens':3,'completion_"
         "tokens':4}}}",
         3, 4, -1, IR_STOP_END, false},
        /* anybody may call something so: in metadata that a reply repeats, in schemas and arguments; before it or behind it */
        {&wire_responses, "response.completed",
         "{'type':'response.completed','response':{'status':'completed','tools':[{'parameters':{"
         "'usage':{'input_tokens':9}}}],'usage':{'input_tokens':3,'output_tokens':4},'user':null,"
         "'metadata':{'usage':'x','incomplete_details':'y'}},'sequence_number':4}",
         3, 4, -1, IR_STOP_END, true},
        {&wire_responses, "response.incomplete",
         "{'type':'response.incomplete','response':{'incomplete_details':{'reason':'max_output_"
         "tokens'},'usage':{'input_tokens':3,'output_tokens':4},'metadata':{'usage':{'input_tokens'"
         ":1},'incomplete_details':'y'}}}",
         3, 4, -1, IR_STOP_LENGTH, true},
        {&wire_responses, "",
         "{'id':'resp_1','status':'completed','output':[],'usage':{'input_tokens':3,'output_tokens'"
         ":4},'metadata':{'usage':'x','more':'\\\\'}}",
         3, 4, -1, IR_STOP_END, false},
        {&wire_responses, "",
         "{'metadata':{'usage':{'input_tokens':1,'output_tokens':1}},'usage' : {'input_tokens':3,"
         "'output_tokens':4},'tools':[{'usage':[{'usage':{}}]}],'text':']}\\'{','z':{'usage':0}}",
         3, 4, -1, IR_STOP_END, false},
        {&wire_responses, "", "{'id':'r','metadata':{'usage':{'input_tokens':1}},'usage':null}", -1,
         -1, -1, IR_STOP_NONE, false},
        {&wire_chat, "",
         "{'usage':{'prompt_tokens':3,'completion_tokens':4},'data':[[0.1,-2e-3],[1]],'metadata':{"
         "'usage':'x'}}",
         3, 4, -1, IR_STOP_NONE, false},
        {&wire_chat, "", "{'choices':[],'metadata':{'usage':{'prompt_tokens':3}}}", -1, -1, -1,
         IR_STOP_NONE, false},
        {&wire_completions, "",
         "{'choices':[{'text':'x','finish_reason':'stop'}],'usage':{'prompt_tokens':3,'completion_"
         "tokens':4},'metadata':{'usage':'x'}}",
         3, 4, -1, IR_STOP_END, false},
        /* what is cut off tells nothing */
        {&wire_chat, "", "{'choices':[],'usage':{'prompt_tokens':3,'completion_tok", -1, -1, -1,
         IR_STOP_NONE, false},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ir_usage usage = IR_USAGE_NONE;
        enum ir_stop stop = IR_STOP_NONE;
        struct str data = double_quoted(a, rows[i].data);
        ck_assert_int_eq(rows[i].wire->meter(str_of(rows[i].event), data, &usage, &stop),
                         rows[i].is_last);
        ck_assert_msg(usage.input_total == rows[i].in && usage.output_total == rows[i].out, "%s",
                      rows[i].data);
        ck_assert_int_eq(usage.cache_read, rows[i].cached);
        ck_assert_int_eq(stop, rows[i].stop);
    }
    arena_free(a);
}
END_TEST

/* Transcripts name their details in the singular. */
START_TEST(sound_is_told_apart)
{
    static const char *const rows[] = {
        "{'text':'x','usage':{'type':'tokens','input_tokens':14,'input_token_details':{'text_"
        "tokens'"
        ":4,'audio_tokens':10},'output_tokens':4,'total_tokens':18}}",
        "{'choices':[],'usage':{'prompt_tokens':14,'completion_tokens':4,'prompt_tokens_details':{"
        "'audio_tokens':10}}}"};
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ir_usage usage = IR_USAGE_NONE;
        enum ir_stop stop = IR_STOP_NONE;
        (void)wire_chat.meter(STR_NONE, double_quoted(a, rows[i]), &usage, &stop);
        ck_assert_int_eq(usage.input_total, 14);
        ck_assert_int_eq(usage.audio_in, 10);
        ck_assert_int_eq(usage.output_total, 4);
    }
    arena_free(a);
}
END_TEST

START_TEST(the_service_is_told_beside_the_usage)
{
    static const struct {
        const struct wire *wire;
        const char *event, *data;
    } rows[] = {
        {&wire_chat, "",
         "{'service_tier':'priority','usage':{'prompt_tokens':1},'metadata':{'service_tier':'flex'}"
         "}"},
        {&wire_responses, "response.completed",
         "{'response':{'service_tier':'priority','usage':{'input_tokens':1},'metadata':{'service_"
         "tier':'flex'}},'service_tier':'flex'}"}};
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ir_usage usage = IR_USAGE_NONE;
        enum ir_stop stop = IR_STOP_NONE;
        (void)rows[i].wire->meter(str_of(rows[i].event), double_quoted(a, rows[i].data), &usage,
                                  &stop);
        ck_assert_int_eq(usage.service, IR_SERVICE_PRIORITY);
    }
    arena_free(a);
}
END_TEST

UNIT_MAIN("wire_openai", sound_is_told_apart, the_service_is_told_beside_the_usage,
          numbers_are_read_as_they_are_meant, bad_requests_name_the_field,
          responses_requests_name_the_field, quirks_change_the_spelling,
          refused_fields_go_with_what_hangs_on_them, losses_are_named, one_choice_targets_refuse_n,
          long_ids_and_item_ids_are_ruled, arguments_survive_whatever_they_are, a_stream_ends_once,
          content_behind_the_finish_is_still_content, the_id_of_a_call_is_said_once,
          broken_utf8_is_repaired, the_shown_name_replaces_the_upstreams, completions_speak_text,
          usage_is_found_without_reading_the_rest)
