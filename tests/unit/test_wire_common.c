/* What the formats share: preparing a request, arguments, media, reasoning tables, think tags, errors, the collector. */
#include "unit.h"
#include "base/codec.h"
#include "wire/common.h"

static struct arena *a;
static struct wire_ctx c;

static void begin(void)
{
    a = arena_new();
    wire_ctx_init(&c, a);
    c.seed = 3;
}

static void finish(void)
{
    arena_free(a);
}

/* ---- arguments ---- */
START_TEST(arguments_become_objects)
{
    static const struct {
        const char *raw;
        enum ir_call_kind kind;
        const char *expected;
    } rows[] = {
        {"", IR_CALL_FUNCTION, "{}"},
        {"  \n", IR_CALL_FUNCTION, "{}"},
        {"null", IR_CALL_FUNCTION, "{}"},
        {"{\"a\":1.0, \"b\":12345678901234567890}", IR_CALL_FUNCTION,
         "{\"a\":1.0, \"b\":12345678901234567890}"},
        {"[1]", IR_CALL_FUNCTION, "{\"input\":[1]}"},
        {"\xef\xbb\xbf{\"a\":1}", IR_CALL_FUNCTION, "{\"a\":1}"},
        {"\xef\xbb\xbf[1]", IR_CALL_FUNCTION, "{\"input\":[1]}"},
        {"\"x\"", IR_CALL_FUNCTION, "{\"input\":\"x\"}"},
        {"{\"a\":", IR_CALL_FUNCTION, "{\"raw_arguments\":\"{\\\"a\\\":\"}"},
        {"free \"text\"", IR_CALL_CUSTOM, "{\"input\":\"free \\\"text\\\"\"}"},
    };
    begin();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_str(wire_args_object(a, str_of(rows[i].raw), rows[i].kind), str_of(rows[i].expected));
    check_text(wire_args_string(a, STR_NONE, IR_CALL_FUNCTION), "{}");
    check_text(wire_args_string(a, STR("oops"), IR_CALL_FUNCTION), "oops");
    check_text(wire_args_custom(a, STR("{\"input\":\"a\\nb\"}")), "a\nb");
    check_text(wire_args_custom(a, STR("{\"input\":\"a\",\"more\":1}")),
               "{\"input\":\"a\",\"more\":1}");
    finish();
}
END_TEST

/* ---- ids ---- */
START_TEST(ids_stay_when_allowed_and_are_hashed_alike_when_not)
{
    begin();
    check_text(wire_call_id(&c, STR("call_1"), WIRE_IDS_OPENAI), "call_1");
    check_text(wire_call_id(&c, STR("any.thing:1"), WIRE_IDS_ANY), "any.thing:1");
    check_text(wire_call_id(&c, STR("toolu_1"), WIRE_IDS_ANTHROPIC), "toolu_1");
    struct str once = wire_call_id(&c, STR("get:1.2"), WIRE_IDS_ANTHROPIC);
    check_str(once, wire_call_id(&c, STR("get:1.2"), WIRE_IDS_ANTHROPIC));
    ck_assert(str_starts(once, STR("toolu_")));
    ck_assert_uint_eq(once.n, 30);
    check_text(wire_call_id(&c, STR("abcdefgh9"), WIRE_IDS_9), "abcdefgh9");
    ck_assert_uint_eq(wire_call_id(&c, STR("call_abc"), WIRE_IDS_9).n, 9);
    ck_assert_uint_eq(
        wire_call_id(&c, STR("0123456789012345678901234567890123456789x"), WIRE_IDS_OPENAI).n, 29);
    c.client = WIRE_ANTHROPIC;
    ck_assert(str_starts(wire_client_call_id(&c, STR_NONE), STR("toolu_")));
    finish();
}
END_TEST

/* ---- preparing ---- */
static struct ir_part *call(struct ir_message *m, const char *id, const char *name)
{
    struct ir_part *p = ir_part_add(a, &m->parts, IR_TOOL_CALL);
    p->call_id = str_of(id);
    p->name = str_of(name);
    return p;
}

static struct ir_part *result(struct ir_request *r, const char *id, const char *name,
                              const char *text)
{
    struct ir_message *m = ir_message_add(a, &r->messages, IR_TOOL);
    struct ir_part *p = ir_part_add(a, &m->parts, IR_TOOL_RESULT);
    p->call_id = str_of(id);
    p->name = str_of(name);
    ir_part_add(a, &p->content, IR_TEXT)->text = str_of(text);
    return p;
}

static struct str shape(const struct ir_request *r) /* "u'hi' a[c1:f] t[c1'out']" */
{
    struct buf b;
    buf_init_arena(&b, a, 1 << 20);
    for (const struct ir_message *m = r->messages.first; m; m = m->next) {
        buf_fmt(&b, "%c", "suat"[m->role]);
        for (const struct ir_part *p = m->parts.first; p; p = p->next) {
            if (p->kind == IR_TEXT)
                buf_fmt(&b, "'" STR_FMT "'", STR_ARG(p->text));
            else if (p->kind == IR_TOOL_CALL)
                buf_fmt(&b, "[" STR_FMT ":" STR_FMT "]", STR_ARG(p->call_id), STR_ARG(p->name));
            else if (p->kind == IR_TOOL_RESULT)
                buf_fmt(&b, "(" STR_FMT "'" STR_FMT "')", STR_ARG(p->call_id),
                        STR_ARG(wire_result_text(a, p)));
            else
                buf_fmt(&b, "?");
        }
        buf_char(&b, ' ');
    }
    return str_trim(buf_str(&b));
}

static struct ir_message *say(struct ir_request *r, enum ir_role role, const char *text)
{
    struct ir_message *m = ir_message_add(a, &r->messages, role);
    if (text)
        ir_part_add(a, &m->parts, IR_TEXT)->text = str_of(text);
    return m;
}

static const struct wire_needs strict = {.target = WIRE_ANTHROPIC,
                                         .mid_system = WIRE_SYSTEM_FOLD,
                                         .ids = WIRE_IDS_ANTHROPIC,
                                         .names = WIRE_NAMES_ANTHROPIC,
                                         .pairs_tools = true,
                                         .merges_roles = true,
                                         .results_in_user = true,
                                         .drops_empty_text = true};

static struct str prepared(struct ir_request *r, const struct wire_needs *needs)
{
    struct err e = ERR_INIT;
    struct ir_request *out = wire_prepare(&c, r, needs, &e);
    ck_assert_msg(out != NULL, "%s", e.message);
    return shape(out);
}

START_TEST(results_stand_behind_their_calls_in_call_order) /* pitfalls 6 and 7 */
{
    struct ir_request r;
    begin();
    ir_request_init(&r);
    say(&r, IR_USER, "q");
    struct ir_message *m = say(&r, IR_ASSISTANT, NULL);
    call(m, "a", "f");
    call(m, "b", "g");
    result(&r, "b", "", "2");
    result(&r, "b", "", "2 again");
    result(&r, "zzz", "", "orphan");
    say(&r, IR_USER, "and");
    check_str(prepared(&r, &strict),
              STR("u'q' a[a:f][b:g] u(a'[No output available yet]')(b'2 again')'and'"));
    ck_assert_ptr_nonnull(c.dropped);
    finish();
}
END_TEST

START_TEST(equal_ids_belong_to_the_nearest_call) /* pitfall 8 */
{
    struct ir_request r;
    struct wire_needs plain = {.target = WIRE_CHAT, .pairs_tools = true};
    begin();
    ir_request_init(&r);
    call(say(&r, IR_ASSISTANT, NULL), "x", "f");
    result(&r, "x", "", "1");
    call(say(&r, IR_ASSISTANT, NULL), "x", "f");
    result(&r, "x", "", "2");
    struct str out = prepared(&r, &plain);
    ck_assert(str_starts(out, STR("a[x:f] t(x'1') a[call_")));
    ck_assert(str_ends(out, STR("'2')")));
    finish();
}
END_TEST

START_TEST(parallel_calls_of_one_id_each_get_a_result)
{
    struct ir_request r;
    struct wire_needs plain = {.target = WIRE_CHAT, .pairs_tools = true};
    begin();
    ir_request_init(&r);
    struct ir_message *m = say(&r, IR_ASSISTANT, NULL);
    call(m, "x", "f");
    call(m, "x", "f");
    result(&r, "x", "", "1");
    result(&r, "x", "", "2");
    struct str out = prepared(&r, &plain);
    ck_assert(str_contains(out, STR("(x'1')")));
    ck_assert(str_ends(out, STR("'2')")));
    finish();
}
END_TEST

START_TEST(calls_without_ids_are_linked_by_name_then_order)
{
    struct ir_request r;
    begin();
    ir_request_init(&r);
    struct ir_message *m = say(&r, IR_ASSISTANT, NULL);
    call(m, "", "f");
    call(m, "", "g");
    call(m, "", "f");
    struct ir_part *g = result(&r, "", "g", "g1"), *f1 = result(&r, "", "f", "f1"),
                   *f2 = result(&r, "", "f_170000_2", "f2");
    ir_link_calls(&c, &r.messages);
    const struct ir_part *first = r.messages.first->parts.first;
    check_str(f1->call_id, first->call_id);
    check_str(g->call_id, first->next->call_id);
    check_str(f2->call_id, first->next->next->call_id);
    ck_assert(first->call_id.n > 0 && !str_eq(first->call_id, first->next->call_id));
    finish();
}
END_TEST

START_TEST(system_text_in_the_middle_is_kept_folded_or_hoisted) /* pitfall 5 */
{
    static const struct {
        enum wire_system_mode mode;
        const char *expected;
        bool has_system;
    } rows[] = {
        {WIRE_SYSTEM_KEEP, "u'a' s'now' u'b'", false},
        {WIRE_SYSTEM_FOLD, "u'a''now''b'", false},
        {WIRE_SYSTEM_HOIST, "u'a''b'", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ir_request r;
        struct wire_needs needs = strict;
        struct err e = ERR_INIT;
        begin();
        ir_request_init(&r);
        say(&r, IR_USER, "a");
        say(&r, IR_SYSTEM, "now");
        say(&r, IR_USER, "b");
        needs.mid_system = rows[i].mode;
        struct ir_request *out = wire_prepare(&c, &r, &needs, &e);
        check_str(shape(out), str_of(rows[i].expected));
        ck_assert_int_eq(out->system != NULL, rows[i].has_system);
        finish();
    }
}
END_TEST

START_TEST(empty_texts_and_messages_vanish_where_refused) /* pitfall 9 */
{
    struct ir_request r;
    begin();
    ir_request_init(&r);
    say(&r, IR_USER, "");
    say(&r, IR_ASSISTANT, NULL);
    say(&r, IR_USER, "x");
    check_text(prepared(&r, &strict), "u'x'");
    finish();
}
END_TEST

START_TEST(foreign_reasoning_and_opaque_parts_stay_behind) /* pitfalls 10 and 35 */
{
    struct ir_request r;
    begin();
    ir_request_init(&r);
    struct ir_message *m = say(&r, IR_ASSISTANT, NULL);
    struct ir_part *p = ir_part_add(a, &m->parts, IR_REASONING);
    p->origin = WIRE_CHAT;
    p->text = STR("hm");
    ir_part_add(a, &m->parts, IR_OPAQUE)->origin = WIRE_RESPONSES;
    ir_part_add(a, &m->parts, IR_TEXT)->text = STR("t");
    check_text(prepared(&r, &strict), "a't'");
    struct wire_needs home = {.target = WIRE_CHAT};
    check_text(prepared(&r, &home), "a?'t'");
    finish();
}
END_TEST

static void add_tool(struct ir_request *r, const char *name)
{
    struct ir_tool *t = ARENA_NEW(a, struct ir_tool), **tail = &r->tools;
    t->name = str_of(name);
    while (*tail)
        tail = &(*tail)->next;
    *tail = t;
}

START_TEST(names_are_cleaned_told_apart_and_found_again)
{
    struct ir_request r;
    struct err e = ERR_INIT;
    begin();
    ir_request_init(&r);
    add_tool(&r, "get weather");
    add_tool(&r, "get_weather");
    add_tool(&r, "get.weather");
    add_tool(&r, "");
    say(&r, IR_USER, "x");
    call(say(&r, IR_ASSISTANT, NULL), "1", "get.weather");
    r.choice = IR_CHOICE_TOOL;
    r.choice_tool = STR("get.weather");
    struct ir_request *out = wire_prepare(&c, &r, &strict, &e);
    ck_assert_ptr_nonnull(out);
    const struct ir_tool *t = out->tools;
    /* it was fine, and stays, though it is not the first */
    check_text(t->next->name, "get_weather");
    check_text(wire_tool_name_back(&c, t->next->name), "get_weather");
    ck_assert(!str_eq(t->name, t->next->name) && !str_eq(t->next->next->name, t->next->name));
    ck_assert(!str_eq(t->next->next->name, t->name));
    check_text(wire_tool_name_back(&c, t->name), "get weather");
    ck_assert_ptr_null(t->next->next->next);
    check_str(out->choice_tool, t->next->next->name);
    check_text(wire_tool_name_back(&c, t->next->next->name), "get.weather");
    check_str(out->messages.first->next->parts.first->name, t->next->next->name);
    finish();
}
END_TEST

/* ---- media ---- */
START_TEST(data_urls_are_told_from_addresses) /* pitfall 17 */
{
    static const struct {
        const char *url, *media, *base64;
    } rows[] = {
        {"data:image/png;base64,AAAA", "image/png", "AAAA"},
        {"DATA:image/PNG;charset=x;BASE64,AAAA", "image/png", "AAAA"},
        {"data:;base64,AAAA", "", "AAAA"},
        {" data:text/plain,a%20b", "text/plain", "YSBi"},
    };
    begin();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ir_source s = ir_source_of_url(a, str_of(rows[i].url));
        ck_assert_int_eq(s.kind, IR_SOURCE_DATA);
        check_str(s.media_type, str_of(rows[i].media));
        check_str(s.base64, str_of(rows[i].base64));
    }
    ck_assert_int_eq(ir_source_of_url(a, STR("https://a.example/data:")).kind, IR_SOURCE_URL);
    check_text(wire_media_of_name(STR("A.PDF")), "application/pdf");
    check_text(wire_audio_of_media(STR("audio/mpeg")), "mp3");
    check_text(wire_media_of_audio(STR("mp3")), "audio/mpeg");
    finish();
}
END_TEST

START_TEST(remote_media_are_found_also_in_results)
{
    struct ir_request r;
    begin();
    ir_request_init(&r);
    struct ir_part *one = ir_part_add(a, &say(&r, IR_USER, "x")->parts, IR_IMAGE);
    one->source = ir_source_of_url(a, STR("https://a.example/1.png"));
    struct ir_part *data = ir_part_add(a, &r.messages.last->parts, IR_IMAGE);
    data->source = ir_source_of_url(a, STR("data:image/png;base64,AAAA"));
    struct ir_part *two = ir_part_add(a, &result(&r, "c", "", "t")->content, IR_IMAGE);
    two->source = ir_source_of_url(a, STR("HTTP://a.example/2.png"));
    struct ir_part *found = ir_find_remote_media(&r, NULL);
    ck_assert_ptr_eq(found, one);
    found->source = data->source; /* as the relay does once it is fetched */
    found = ir_find_remote_media(&r, found);
    ck_assert_ptr_eq(found, two);
    ck_assert_ptr_null(ir_find_remote_media(&r, found));
    finish();
}
END_TEST

/* ---- reasoning ---- */
START_TEST(efforts_and_budgets_meet)
{
    ck_assert_int_eq(wire_effort_budget(IR_EFFORT_LOW, -1), 1024);
    ck_assert_int_eq(wire_effort_budget(IR_EFFORT_MEDIUM, -1), 10240);
    ck_assert_int_eq(wire_effort_budget(IR_EFFORT_HIGH, 8000), 8000);
    ck_assert_int_eq(wire_effort_budget(IR_EFFORT_MAX, 64000), 64000);
    ck_assert_int_eq(wire_budget_effort(0), IR_EFFORT_NONE);
    ck_assert_int_eq(wire_budget_effort(1024), IR_EFFORT_LOW);
    ck_assert_int_eq(wire_budget_effort(1025), IR_EFFORT_MEDIUM);
    ck_assert_int_eq(wire_budget_effort(99999), IR_EFFORT_HIGH);
}
END_TEST

static void note_think(void *arg, bool is_reasoning, struct str text)
{
    struct buf *b = arg;
    static bool was;
    if (b->n == 0 || was != is_reasoning)
        buf_char(b, is_reasoning ? 'R' : 'T');
    was = is_reasoning;
    buf_str_add(b, text);
}

START_TEST(think_tags_are_found_however_they_are_cut)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"<think>a</think>b", "RaTb"},
        {"\n<think>\na\n</think>\n\nb", "Ra\nTb"},
        {"plain <think>x", "Tplain <think>x"},
        {"<think>a<b</thin>c</think>d<think>e", "Ra<b</thin>cTd<think>e"},
        {"<thin", "T<thin"},
        {"<think>never closed", "Rnever closed"},
        {"  text", "T  text"},
        {"<think></think>b", "Tb"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece < 30; piece += 3) {
            struct think_split t = {0};
            struct buf b;
            begin();
            buf_init_arena(&b, a, 4096);
            for (struct str rest = str_of(rows[i].in); rest.n > 0; rest = str_skip(rest, piece))
                think_push(&t, str_first(rest, piece), note_think, &b);
            think_end(&t, note_think, &b);
            check_str(buf_str(&b), str_of(rows[i].out));
            finish();
        }
}
END_TEST

/* ---- errors ---- */
START_TEST(errors_of_every_envelope_are_understood) /* pitfall 31 */
{
    static const struct {
        int status;
        const char *body;
        enum err_kind kind;
        const char *message, *code;
    } rows[] = {
        /* clang-format off */
        {400, "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"param\":\"p\",\"code\":null}}", ERR_INPUT, "m", ""},
        {401, "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"code\":\"invalid_api_key\"}}", ERR_UNAUTHENTICATED, "m", "invalid_api_key"},
        {404, "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"code\":\"model_not_found\"}}", ERR_NOT_FOUND, "m", "model_not_found"},
        {429, "{\"error\":{\"message\":\"m\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}", ERR_NO_FUNDS, "m", "insufficient_quota"},
        {429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\"}}", ERR_RATE_LIMITED, "m", ""},
        {529, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}", ERR_OVERLOADED, "m", ""},
        {400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 9\"}}", ERR_CONTEXT_LENGTH, "prompt is too long: 9", "context_length_exceeded"},
        {429, "[{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\"}}]", ERR_RATE_LIMITED, "m", ""},
        {200, "{\"error\":{\"code\":403,\"message\":\"m\",\"status\":\"PERMISSION_DENIED\"}}", ERR_FORBIDDEN, "m", ""},
        {404, "{\"error\":\"model 'x' not found\"}", ERR_NOT_FOUND, "model 'x' not found", ""},
        {422, "{\"detail\":\"m\"}", ERR_INPUT, "m", ""},
        {422, "{\"detail\":[{\"msg\":\"field required\"}]}", ERR_INPUT, "field required", ""},
        {500, "{\"message\":\"m\"}", ERR_UPSTREAM, "m", ""},
        {502, "<html>Bad</html>", ERR_UPSTREAM, "<html>Bad</html>", ""},
        {503, "", ERR_OVERLOADED, "the upstream answered with status 503", ""},
        {0, "{\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}", ERR_UPSTREAM, "m", ""},
        {0, "{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}}", ERR_RATE_LIMITED, "m", "rate_limit_exceeded"},
        /* clang-format on */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        begin();
        wire_read_error(a, rows[i].status, str_of(rows[i].body), &e);
        ck_assert_msg(e.kind == rows[i].kind, "%s: %s", rows[i].body, err_kind_name(e.kind));
        ck_assert_str_eq(e.message, rows[i].message);
        ck_assert_str_eq(e.code, rows[i].code);
        ck_assert_int_eq(err_status(&e), e.status ? e.status : err_status(&e));
        finish();
    }
}
END_TEST

/* ---- the collector ---- */
START_TEST(a_broken_stream_collects_to_its_error)
{
    struct err e = ERR_INIT, upstream = ERR_INIT;
    struct ir_response res;
    begin();
    err_set(&upstream, ERR_RATE_LIMITED, "rate_limit_exceeded", "slow");
    struct ir_collector *k = ir_collector_new(&c);
    ir_collect(k, &(struct ir_event){.kind = IR_EV_START});
    ir_collect(k, &(struct ir_event){.kind = IR_EV_ERROR, .error = &upstream});
    ir_collect(k, &(struct ir_event){.kind = IR_EV_END});
    ck_assert(!ir_collected(k, &res, &e));
    ck_assert_int_eq(e.kind, ERR_RATE_LIMITED);
    k = ir_collector_new(&c);
    ir_collect(k, &(struct ir_event){.kind = IR_EV_START});
    ck_assert(!ir_collected(k, &res, &e)); /* no END */
    ck_assert_int_eq(e.kind, ERR_UPSTREAM);
    finish();
}
END_TEST

START_TEST(losses_are_noted_once_and_not_without_end)
{
    begin();
    for (int i = 0; i < 200; i++) {
        wire_drop(&c, "w", "field%d", i);
        wire_drop(&c, "w", "field%d", i);
    }
    unsigned n = 0;
    for (const struct wire_dropped *d = c.dropped; d; d = d->next)
        n++;
    ck_assert_uint_eq(n, 64);
    finish();
}
END_TEST

/* ---- usage ---- */

/* What passes untouched is read by another way than what is translated: both come to the same, whatever they are told. */
START_TEST(usage_is_read_alike_wherever_it_goes)
{
#define CHAT \
    "{'id':'c','choices':[{'index':0,'message':{'content':'x'},'finish_reason':'stop'}],'usage':"
#define ANSWER                                                                                    \
    "{'id':'r','object':'response','status':'completed','output':[{'type':'message','content':[{" \
    "'type':'output_text','text':'x'}]}],'usage':"
#define MESSAGE                                                                                    \
    "{'id':'m','type':'message','content':[{'type':'text','text':'x'}],'stop_reason':'end_turn','" \
    "usage':"
#define CHUNK \
    "{'candidates':[{'content':{'parts':[{'text':'x'}]},'finishReason':'STOP'}],'usageMetadata':"
    static const struct {
        enum wire_id wire;
        const char *before, *usage;
        int64_t in, out, reasoning;
    } rows[] = {
        {WIRE_CHAT, CHAT, "{'prompt_tokens':3,'completion_tokens':4,'total_tokens':7}", 3, 4, -1},
        /* counted apart, as xAI and Google's Chat do: the sum rules */
        {WIRE_CHAT, CHAT,
         "{'prompt_tokens':100,'completion_tokens':50,'total_tokens':850,'completion_tokens_"
         "details'"
         ":{'reasoning_tokens':700}}",
         100, 750, 700},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':8,'completion_tokens':12,'total_tokens':450}", 8, 442,
         -1},
        {WIRE_RESPONSES, ANSWER,
         "{'input_tokens':100,'output_tokens':50,'total_tokens':850,'output_tokens_details':{"
         "'reasoning_tokens':700}}",
         100, 750, 700},
        /* what of caches stands outside of the prompt belongs to it */
        {WIRE_CHAT, CHAT,
         "{'prompt_tokens':10,'completion_tokens':5,'total_tokens':109,'prompt_tokens_details':{"
         "'cached_tokens':90}}",
         100, 9, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':10,'completion_tokens':5,'total_tokens':9}", 10, 5, -1},
        {WIRE_CHAT, CHAT, "{'completion_tokens':50,'total_tokens':150}", 100, 50, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':50,'total_tokens':150}", 50, 100, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':50,'total_tokens':50}", 50, -1, -1},
        {WIRE_CHAT, CHAT, "{'total_tokens':50}", -1, -1, -1},
        /* numbers, however they are written; what is no count is not told */
        {WIRE_CHAT, CHAT, "{'prompt_tokens':1e3,'completion_tokens':5E2,'total_tokens':1.5e+3}",
         1000, 500, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':1000.0,'completion_tokens':500.5}", 1000, -1, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':99999999999999999999,'completion_tokens':1}", -1, 1,
         -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':9223372036854775807,'completion_tokens':1e99}", -1, -1,
         -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':1000000000001,'completion_tokens':1000000000000}", -1,
         1000000000000, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':-5,'completion_tokens':-7,'total_tokens':-12}", -1, -1,
         -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':'1000','completion_tokens':[3],'total_tokens':true}",
         -1, -1, -1},
        {WIRE_CHAT, CHAT, "{'prompt_tokens':null,'completion_tokens':{'a':1},'cost':0.5e-3}", -1,
         -1, -1},
        {WIRE_CHAT, CHAT, "{}", -1, -1, -1},
        {WIRE_ANTHROPIC, MESSAGE, "{'input_tokens':1e1,'output_tokens':2.0}", 10, 2, -1},
        {WIRE_ANTHROPIC, MESSAGE,
         "{'input_tokens':4,'cache_read_input_tokens':'9','output_tokens':1e99}", 4, -1, -1},
        {WIRE_ANTHROPIC, MESSAGE, "{'input_tokens':-4,'output_tokens':null}", -1, -1, -1},
        {WIRE_GEMINI, CHUNK,
         "{'promptTokenCount':1e1,'candidatesTokenCount':5,'totalTokenCount':15}", 10, 5, -1},
        {WIRE_GEMINI, CHUNK,
         "{'promptTokenCount':10,'candidatesTokenCount':5,'thoughtsTokenCount':2,'totalTokenCount':"
         "40}",
         10, 30, 2},
        {WIRE_GEMINI, CHUNK, "{'promptTokenCount':10,'thoughtsTokenCount':2,'totalTokenCount':15}",
         10, 5, 2},
        {WIRE_GEMINI, CHUNK, "{'promptTokenCount':10,'thoughtsTokenCount':2}", 10, 2, 2},
        {WIRE_GEMINI, CHUNK, "{'candidatesTokenCount':5,'totalTokenCount':15}", 10, 5, -1},
        {WIRE_GEMINI, CHUNK, "{'promptTokenCount':'10','candidatesTokenCount':5.5}", -1, -1, -1},
        {WIRE_OLLAMA,
         "{'message':{'content':'x'},'done':true,'prompt_eval_count':1e1,'eval_count':", "2.0", 10,
         2, -1},
        {WIRE_OLLAMA, "{'message':{'content':'x'},'done':true,'eval_count':", "-3", -1, -1, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin();
        const struct wire *w = wire_of(rows[i].wire);
        struct str body = str_fmt(a, "%s%s}", rows[i].before, rows[i].usage);
        for (size_t k = 0; k < body.n; k++)
            if (body.p[k] == '\'')
                memset((void *)(uintptr_t)(body.p + k), '"', 1);
        struct ir_usage passed = IR_USAGE_NONE;
        enum ir_stop stop = IR_STOP_NONE;
        struct ir_response res = {0};
        struct err e = ERR_INIT;
        yyjson_val *root;
        (void)w->meter(STR_NONE, body, &passed, &stop);
        ck_assert(json_parse(a, body, 0, &root, &e));
        ck_assert_msg(w->read_response(&c, root, &res, &e), "%s", e.message);
        ck_assert_msg(passed.input_total == rows[i].in && passed.output_total == rows[i].out &&
                          passed.reasoning == rows[i].reasoning,
                      STR_FMT " passed: %lld, %lld", STR_ARG(body), (long long)passed.input_total,
                      (long long)passed.output_total);
        ck_assert_msg(memcmp(&passed, &res.usage, sizeof passed) == 0,
                      STR_FMT " translated: %lld, %lld", STR_ARG(body),
                      (long long)res.usage.input_total, (long long)res.usage.output_total);
        finish();
    }
}
END_TEST

UNIT_MAIN("wire_common", usage_is_read_alike_wherever_it_goes, arguments_become_objects,
          ids_stay_when_allowed_and_are_hashed_alike_when_not,
          results_stand_behind_their_calls_in_call_order, equal_ids_belong_to_the_nearest_call,
          parallel_calls_of_one_id_each_get_a_result,
          calls_without_ids_are_linked_by_name_then_order,
          system_text_in_the_middle_is_kept_folded_or_hoisted,
          empty_texts_and_messages_vanish_where_refused,
          foreign_reasoning_and_opaque_parts_stay_behind,
          names_are_cleaned_told_apart_and_found_again, data_urls_are_told_from_addresses,
          remote_media_are_found_also_in_results, efforts_and_budgets_meet,
          think_tags_are_found_however_they_are_cut, errors_of_every_envelope_are_understood,
          a_broken_stream_collects_to_its_error, losses_are_noted_once_and_not_without_end)
