/* Prices: decimals without floating point, the formats of lists, which row counts, and what a usage costs. */
#include "base/decimal.h"
#include "domain/price_list.h"
#include "meter/price.h"
#include "state_kit.h"
#include <stdio.h>

static yyjson_val *json_of(struct arena *a, const char *text)
{
    struct err e = ERR_INIT;
    yyjson_val *v;
    struct str s = str_dup(a, str_of(text));
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\'')
            memset((void *)(uintptr_t)(s.p + i), '"', 1);
    ck_assert_msg(json_parse(a, s, 0, &v, &e), "%s", e.message);
    return v;
}

static struct price *price_of(struct arena *a, const char *text)
{
    struct err e = ERR_INIT;
    struct price *p = ARENA_NEW(a, struct price);
    ck_assert_msg(price_read(a, json_of(a, text), "p", p, &e), "%s", e.message);
    p->provider = STR("x");
    p->model = STR("y");
    price_seal(a, p);
    return p;
}

START_TEST(reads_decimals_exactly)
{
    static const struct {
        const char *text;
        int shift;
        int64_t value; /* -1: refused */
    } rows[] = {
        {"0", 9, 0},
        {"0.0", 15, 0},
        {"2.5", 9, 2500000000},
        {"2.5e-06", 15, 2500000000},
        {"0.0000025", 15, 2500000000},
        {"1.5e-7", 15, 150000000},
        {"6.0000000000000006e-08", 15, 60000000}, /* as a program writes 0.00000006 */
        {"0.0000000005", 9, 1},                   /* half up */
        {"0.00000000049", 9, 0},
        {"1e-15", 15, 1},
        {"5e-16", 15, 1},
        {"4e-16", 15, 0},
        {"1E+2", 0, 100},
        {"10", -1, 1},
        {"15", -1, 2},
        {"00012.50", 2, 1250},
        {".5", 1, 5},
        {"", 9, -1},
        {".", 9, -1},
        {"-1", 9, -1},
        {"+1", 9, -1},
        {"1x", 9, -1},
        {"1e", 9, -1},
        {"1e9999", 9, -1},
        {"1e-900", 9, 0},
        {"9999999999", 9, -1}, /* 19 digits */
        {"0.1e1", 9, 1000000000},
        {"NaN", 9, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -2;
        bool ok = decimal_parse(str_of(rows[i].text), rows[i].shift, &v);
        ck_assert_msg(ok == (rows[i].value >= 0), "%s", rows[i].text);
        if (ok)
            ck_assert_msg(v == rows[i].value, "%s: %lld", rows[i].text, (long long)v);
    }
}
END_TEST

START_TEST(writes_decimals_that_read_back)
{
    static const int64_t values[] = {
        0, 1, 10, 999999999, 1000000000, 2500000000, 123456789012345678};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf b;
        int64_t v;
        buf_init(&b, 64);
        decimal_write_nano(&b, values[i]);
        ck_assert(decimal_parse(buf_str(&b), 9, &v));
        ck_assert_int_eq(v, values[i]);
        buf_done(&b);
    }
}
END_TEST

START_TEST(entries_read_back_as_they_were_written)
{
    struct arena *a = arena_new();
    static const char *const entries[] = {
        "{'input':2.5,'output':10}",
        "{'input':'3','cache_read':0.3,'cache_write':3.75,'cache_write_1h':6,'output':15,'search':"
        "0.01,"
        "'above':[{'tokens':200000,'input':6,'output':22.5}],'batch':{'input':1.5,'output':7.5},"
        "'priority':{'input':5,'above':[{'tokens':128000,'input':7}]},'valid_from':'2026-01-02T03:"
        "04:05Z',"
        "'note':'contract 7'}",
        "{'image':0.04}",
        "{'request':0}",
    };
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        struct err e = ERR_INIT;
        struct price *p = price_of(a, entries[i]), again;
        ck_assert_msg(price_of_text(a, p->text, &again, &e), "%s", e.message);
        check_str(again.text, p->text);
        ck_assert_int_eq(again.version, p->version);
        ck_assert_int_gt(p->version, 0);
        ck_assert_int_lt(p->version, (int64_t)1 << 53);
    }
    ck_assert_int_ne(price_of(a, entries[0])->version, price_of(a, entries[1])->version);
    arena_free(a);
}
END_TEST

START_TEST(refuses_entries_and_names_the_member)
{
    struct arena *a = arena_new();
    static const struct {
        const char *entry, *field;
    } rows[] = {
        {"{}", "p"},
        {"[]", "p"},
        {"{'input':-1}", "p.input"},
        {"{'input':'cheap'}", "p.input"},
        {"{'input':1e9}", "p.input"},
        {"{'inptu':1}", "p.inptu"},
        {"{'input':1,'valid_from':'soon'}", "p.valid_from"},
        {"{'input':1,'above':{}}", "p.above"},
        {"{'input':1,'above':[{'input':2}]}", "p.above"},
        {"{'input':1,'above':[{'tokens':0,'input':2}]}", "p.above"},
        {"{'input':1,'batch':{'output':-2}}", "p.batch.output"},
        {"{'input':1,'batch':{'note':'x'}}", "p.batch.note"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        struct price p = {0};
        ck_assert_msg(!price_read(a, json_of(a, rows[i].entry), "p", &p, &e), "%s", rows[i].entry);
        ck_assert_str_eq(e.field, rows[i].field);
    }
    arena_free(a);
}
END_TEST

/* ---- lists ---- */

static const struct price *row_named(const struct price_rows *rows, const char *provider,
                                     const char *model)
{
    for (size_t i = 0; i < rows->n; i++)
        if (str_eq(rows->v[i]->provider, str_of(provider)) &&
            str_eq(rows->v[i]->model, str_of(model)))
            return rows->v[i];
    ck_abort_msg("no row %s/%s", provider, model);
    return NULL;
}

START_TEST(reads_the_public_list)
{
    struct arena *a = arena_new();
    struct price_rows rows;
    struct err e = ERR_INIT;
    const struct price_import how = {.source = PRICE_LIST, .provenance = STR("list of May")};
    yyjson_val *root = json_of(
        a,
        "{'sample_spec':{'input_cost_per_token':0.0,'litellm_provider':'one of many'},"
        "'gpt-x':{'litellm_provider':'openai','mode':'chat','input_cost_per_token':1.25e-06,"
        " 'output_cost_per_token':1e-05,'cache_read_input_token_cost':1.25e-07,"
        " 'input_cost_per_token_priority':2.5e-06,'output_cost_per_token_flex':5e-06,"
        " 'input_cost_per_token_batches':6.25e-07,'max_tokens':128000,"
        " 'search_context_cost_per_query':{'search_context_size_low':0.03,'search_context_size_"
        "medium':0.035}},"
        "'gemini/g-pro':{'litellm_provider':'gemini','input_cost_per_token':1.25e-06,"
        " 'input_cost_per_token_above_200k_tokens':2.5e-06,'output_cost_per_token':1e-05,"
        " 'output_cost_per_token_above_200k_tokens':1.5e-05,'input_cost_per_audio_token':7e-07},"
        "'claude-x':{'litellm_provider':'anthropic','input_cost_per_token':3e-06,'output_cost_per_"
        "token':1.5e-05,"
        " 'cache_creation_input_token_cost':3.75e-06,'cache_creation_input_token_cost_above_1hr':"
        "6e-06,"
        " 'cache_creation_input_token_cost_above_200k_tokens':7.5e-06,'cache_read_input_token_cost'"
        ":3e-07},"
        "'openrouter/a/"
        "b':{'litellm_provider':'openrouter','input_cost_per_token':0,'output_cost_per_token':0},"
        "'fireworks_ai/accounts/f/"
        "m':{'litellm_provider':'fireworks_ai','input_cost_per_token':9e-07,'output_cost_per_token'"
        ":9e-07},"
        "'dall-e':{'litellm_provider':'openai','mode':'image_generation','input_cost_per_image':0."
        "04},"
        "'gpt-image':{'litellm_provider':'openai','mode':'image_generation','input_cost_per_token':"
        "5e-06,'output_cost_per_token':1e-05,'output_cost_per_image_token':4e-05},"
        "'g-image':{'litellm_provider':'gemini','mode':'image_generation','output_cost_per_token':"
        "2.5e-06,'output_cost_per_image':0.039,'output_cost_per_image_token':3e-05},"
        "'sees-and-draws':{'litellm_provider':'openai','mode':'chat','input_cost_per_token':1e-06,"
        "'output_cost_per_token':2e-06,'output_cost_per_image_token':4e-05},"
        "'draws':{'litellm_provider':'openai','mode':'chat','input_cost_per_token':1e-06,"
        "'output_cost_per_image_token':4e-05},"
        "'dashscope/qwen-x':{'litellm_provider':'dashscope','mode':'chat','tiered_pricing':["
        "{'range':[0,32000.0],'input_cost_per_token':1e-06,'output_cost_per_token':5e-06},"
        "{'range':[32000.0,128000.0],'input_cost_per_token':2e-06,'output_cost_per_token':1e-05,"
        "'cache_read_input_token_cost':2e-07},"
        "{'range':[128000.0,1000000.0],'input_cost_per_token':3e-06,'output_cost_per_token':"
        "1.5e-05}]},"
        "'odd-tier':{'litellm_provider':'dashscope','tiered_pricing':[{'input_cost_per_token':1}]},"
        "'rank':{'litellm_provider':'cohere','mode':'rerank','input_cost_per_query':0.002},"
        "'whisper':{'litellm_provider':'openai','input_cost_per_second':0.0001},"
        "'odd':{'litellm_provider':'openai','input_cost_per_token':'-3'},"
        "'nobody':{'input_cost_per_token':1e-06}}");
    ck_assert_msg(price_list_read(a, root, &how, &rows, &e), "%s", e.message);
    ck_assert_str_eq(rows.format, "litellm");
    ck_assert_uint_eq(rows.n, 12);
    /* four entries, the small search, two prices of tokens of images */
    ck_assert_uint_eq(rows.n_skipped, 7);
    const struct price *p = row_named(&rows, "openai", "gpt-x");
    ck_assert_int_eq(p->base.v[PRICE_INPUT], 1250000000);
    ck_assert_int_eq(p->base.v[PRICE_CACHE_READ], 125000000);
    ck_assert_int_eq(p->base.v[PRICE_SEARCH], 35000000);
    ck_assert_int_eq(p->base.v[PRICE_AUDIO_IN], -1);
    ck_assert(p->has_services);
    check_text(p->provenance, "list of May");
    struct usage_vector u = {{[PRICE_INPUT] = 1000000}};
    ck_assert_int_eq(price_cost(p, SERVICE_PRIORITY, &u).nanousd, 2500000000);
    ck_assert_int_eq(price_cost(p, SERVICE_BATCH, &u).nanousd, 625000000);
    ck_assert_int_eq(price_cost(p, SERVICE_FLEX, &u).nanousd, 1250000000); /* states output only */
    p = row_named(&rows, "google", "g-pro");
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &u).nanousd, 2500000000);
    u.v[PRICE_INPUT] = 200000;
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &u).nanousd, 250000000); /* not above */
    p = row_named(&rows, "anthropic", "claude-x");
    ck_assert_int_eq(p->base.v[PRICE_CACHE_WRITE_1H], 6000000000);
    ck_assert_int_eq(p->variants[0].rates.v[PRICE_CACHE_WRITE_5M], 7500000000);
    ck_assert_int_eq(row_named(&rows, "openrouter", "a/b")->base.v[PRICE_INPUT], 0);
    ck_assert_int_eq(row_named(&rows, "fireworks", "accounts/f/m")->base.v[PRICE_OUTPUT],
                     900000000);
    ck_assert_int_eq(row_named(&rows, "openai", "dall-e")->base.v[PRICE_IMAGE], 40000000);
    ck_assert_int_eq(row_named(&rows, "cohere", "rank")->base.v[PRICE_REQUEST], 2000000);
    /* what a model of images gives is counted in their tokens, unless each image has its price */
    ck_assert_int_eq(row_named(&rows, "openai", "gpt-image")->base.v[PRICE_OUTPUT], 40000000000);
    ck_assert_int_eq(row_named(&rows, "openai", "draws")->base.v[PRICE_OUTPUT], 40000000000);
    p = row_named(&rows, "google", "g-image");
    ck_assert(p->base.v[PRICE_OUTPUT] == 2500000000 && p->base.v[PRICE_IMAGE] == 39000000);
    ck_assert_int_eq(row_named(&rows, "openai", "sees-and-draws")->base.v[PRICE_OUTPUT],
                     2000000000);
    /* tiers: the whole request at the price of the range that its input is in */
    p = row_named(&rows, "alibaba", "qwen-x");
    static const struct {
        int64_t tokens, nanousd;
    } tiers[] = {{32000, 32000000}, {32001, 64002000}, {128001, 384003000}, {2000000, 6000000000}};
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++) {
        struct usage_vector in = {{[PRICE_INPUT] = tiers[i].tokens}};
        ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &in).nanousd, tiers[i].nanousd);
    }
    struct usage_vector both = {{[PRICE_INPUT] = 40000, [PRICE_OUTPUT] = 1000}};
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &both).nanousd, 90000000);
    arena_free(a);
}
END_TEST

static const char *const public_members[] = {
    "'input_cost_per_token_cache_hit':1.4e-07",
    "'cache_read_input_token_cost':7e-08,'input_cost_per_token_cache_hit':7e-08",
    "'cache_read_input_token_cost':7e-08,'input_cost_per_token_cache_hit':9e-08",
    "'cache_read_input_audio_token_cost':2e-06,'cache_creation_input_audio_token_cost':3e-06",
    "'search_queries_cost_per_query':0.005,'search_context_cost_per_query':{"
    "'search_context_size_medium':0.008,'search_context_size_low':0.005}",
    "'search_context_cost_per_query':0.006",
    "'search_context_cost_per_query':{'search_context_size_low':0.01}",
    "'citation_cost_per_token':2e-06,'input_cost_per_character':1e-09",
    "'input_cost_per_image':0.001,'input_cost_per_video_per_second':0.002",
    "'input_cost_per_pixel':0.0,'output_cost_per_second':null,'output_cost_per_image_token':0",
    "'input_dbu_cost_per_token':1e-05,'provider_specific_entry':{'schema':'x','us':1.0}",
    "'provider_specific_entry':{'us':1.1}",
    "'regional_processing_uplift_multiplier_us':1.1,'regional_endpoint_uplift_multiplier':1.0",
    "'off_peak_pricing':{'windows':[]},'max_tokens':5,'supports_vision':true",
    "'tiered_pricing':[{'range':[0,1],'input_cost_per_token':1e-06,'input_cost_per_character':1}]",
};

/* Whatever asks for money has a part, or is named. */
START_TEST(names_what_of_the_public_list_has_no_part)
{
    static const struct {
        enum price_part part;
        int64_t rate;
        const char *left_out;
    } rows[ARRAY_LEN(public_members)] = {
        {PRICE_CACHE_READ, 140000000, ""},
        {PRICE_CACHE_READ, 70000000, ""},
        {PRICE_CACHE_READ, 70000000, "input_cost_per_token_cache_hit"},
        {PRICE_CACHE_READ, -1,
         "cache_read_input_audio_token_cost cache_creation_input_audio_token_cost"},
        {PRICE_SEARCH, 5000000, "search_context_size_medium"},
        {PRICE_SEARCH, 6000000, ""},
        {PRICE_SEARCH, 10000000, ""},
        {PRICE_SEARCH, -1, "citation_cost_per_token input_cost_per_character"},
        {PRICE_IMAGE, -1, "input_cost_per_image input_cost_per_video_per_second"},
        {PRICE_IMAGE, -1, ""},
        {PRICE_IMAGE, -1, ""},
        {PRICE_IMAGE, -1, "provider_specific_entry"},
        {PRICE_IMAGE, -1, "regional_processing_uplift_multiplier_us"},
        {PRICE_IMAGE, -1, "off_peak_pricing"},
        {PRICE_IMAGE, -1, "input_cost_per_character"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        struct price_rows got;
        struct err e = ERR_INIT;
        const struct price_import how = {.source = PRICE_LIST};
        struct str text = str_fmt(a,
                                  "{'m':{'litellm_provider':'x','input_cost_per_token':1e-06,"
                                  "'output_cost_per_token':2e-06,%s}}",
                                  public_members[i]),
                   left = str_of(rows[i].left_out), one;
        ck_assert(price_list_read(a, json_of(a, text.p), &how, &got, &e));
        ck_assert_msg(got.n == 1 && got.v[0]->base.v[rows[i].part] == rows[i].rate, "%s",
                      public_members[i]);
        for (size_t s = 0; s < got.n_skipped; s++) {
            left = str_cut(left, ' ', &one);
            check_str(got.skipped[s].why, str_fmt(a, "'" STR_FMT "' is left out", STR_ARG(one)));
        }
        ck_assert_msg(left.n == 0, "%s: " STR_FMT " is not named", public_members[i],
                      STR_ARG(left));
        arena_free(a);
    }
}
END_TEST

/* "vertex_ai-language-models": of all that a provider has, some. */
START_TEST(knows_the_public_lists_providers)
{
    static const struct {
        const char *key, *theirs, *provider, *model;
    } rows[] = {
        {"gemini-2.5-pro", "vertex_ai-language-models", "vertex", "gemini-2.5-pro"},
        {"vertex_ai/claude-x@2025", "vertex_ai-anthropic_models", "vertex", "claude-x@2025"},
        {"vertex_ai/meta/llama-x", "vertex_ai-llama_models", "vertex", "meta/llama-x"},
        {"vertex_ai/imagen", "vertex_ai-image-models", "vertex", "imagen"},
        {"gemini/g", "gemini", "google", "g"},
        {"fireworks_ai/n/e", "fireworks_ai-embedding-models", "fireworks", "n/e"},
        {"some_host/x", "some_host", "some_host", "x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        struct price_rows got;
        struct err e = ERR_INIT;
        const struct price_import how = {.source = PRICE_LIST};
        struct str text = str_fmt(a,
                                  "{'%s':{'litellm_provider':'%s','input_cost_per_token':1e-06}}",
                                  rows[i].key, rows[i].theirs);
        ck_assert(price_list_read(a, json_of(a, text.p), &how, &got, &e));
        ck_assert_uint_eq(got.n, 1);
        check_str(got.v[0]->provider, str_of(rows[i].provider));
        check_str(got.v[0]->model, str_of(rows[i].model));
        arena_free(a);
    }
}
END_TEST

START_TEST(reads_openrouters_list)
{
    struct arena *a = arena_new();
    struct price_rows rows;
    struct err e = ERR_INIT;
    const struct price_import how = {.source = PRICE_PROVIDER, .provider = STR("or")};
    yyjson_val *root = json_of(
        a, "{'data':[{'id':'a/"
           "one','pricing':{'prompt':'0.00000125','completion':'0.00001','request':'0',"
           "'image':'0','web_search':'0.01','internal_reasoning':'0','input_cache_read':'0."
           "000000125'}},"
           "{'id':'b/free:free','pricing':{'prompt':'0','completion':'0'}},"
           "{'id':'router','pricing':{'prompt':'-1','completion':'-1'}},{'id':'c'}]}");
    ck_assert_msg(price_list_read(a, root, &how, &rows, &e), "%s", e.message);
    ck_assert_str_eq(rows.format, "openrouter");
    ck_assert_uint_eq(rows.n, 2);
    ck_assert_uint_eq(rows.n_skipped, 2);
    const struct price *p = row_named(&rows, "or", "a/one");
    ck_assert_int_eq(p->base.v[PRICE_INPUT], 1250000000);
    ck_assert_int_eq(p->base.v[PRICE_SEARCH], 10000000);
    ck_assert_int_eq(p->base.v[PRICE_REASONING], -1); /* billed with the output */
    ck_assert_int_eq(p->base.v[PRICE_REQUEST], -1);
    ck_assert_int_eq(row_named(&rows, "or", "b/free:free")->base.v[PRICE_INPUT], 0);
    arena_free(a);
}
END_TEST

/* Every name of their documentation is a price that counts, or is said not to. */
START_TEST(counts_or_names_every_price_of_openrouters_list)
{
    static const struct {
        const char *pricing; /* beside prompt 2 and completion 8 for a million */
        int64_t in, out;     /* tokens of the part, or number of it */
        enum price_part part;
        int64_t nanousd; /* -1: the model is not taken */
        const char *why; /* of what is left out; NULL: nothing is */
    } rows[] = {
        {"", 1000, 0, PRICE_INPUT, 2000000, NULL},
        {"", 0, 1000, PRICE_OUTPUT, 8000000, NULL},
        {"'request':'0.001',", 0, 0, PRICE_REQUEST, 1000000, NULL},
        {"'web_search':'0.01',", 0, 2, PRICE_SEARCH, 20000000, NULL},
        {"'internal_reasoning':'0.00002',", 0, 1000, PRICE_REASONING, 20000000, NULL},
        {"'input_cache_read':'0.0000002',", 1000, 0, PRICE_CACHE_READ, 200000, NULL},
        {"'input_cache_write':'0.0000025',", 1000, 0, PRICE_CACHE_WRITE_5M, 2500000, NULL},
        {"'input_cache_write':'0.0000025',", 1000, 0, PRICE_CACHE_WRITE_1H, 2500000, NULL},
        {"'input_cache_write':'0.0000025','input_cache_write_1h':'0.000004',", 1000, 0,
         PRICE_CACHE_WRITE_1H, 4000000, NULL},
        {"'audio':'0.00004',", 1000, 0, PRICE_AUDIO_IN, 40000000, NULL},
        {"'audio_output':'0.00008',", 0, 1000, PRICE_AUDIO_OUT, 80000000, NULL},
        {"'audio_output':'0',", 0, 1000, PRICE_AUDIO_OUT, 8000000, NULL}, /* with the others */
        {"'image_output':'0.00003',", 0, 1000, PRICE_OUTPUT, 30000000, NULL},
        {"'image_output':'0.000003',", 0, 1000, PRICE_OUTPUT, 8000000, NULL},
        {"'image_output':'-1',", 0, 1000, PRICE_OUTPUT, -1, "'image_output' is no usable price"},
        {"'image':'0.001',", 1000, 0, PRICE_INPUT, 2000000, NULL},
        {"'discount':0.25,", 1000, 0, PRICE_INPUT, 1500000, NULL},
        {"'discount':0,", 1000, 0, PRICE_INPUT, 2000000, NULL},
        {"'discount':1,", 1000, 0, PRICE_INPUT, 0, NULL},
        {"'discount':1.5,", 1000, 0, PRICE_INPUT, -1, "'discount' is no usable share"},
        {"'discount':0.5,'image_output':'0.00003',", 0, 1000, PRICE_OUTPUT, 15000000, NULL},
        {"'input_audio_cache':'0.000001',", 1000, 0, PRICE_CACHE_READ, 2000000,
         "'input_audio_cache' is left out"},
        {"'input_audio_cache':'0',", 1000, 0, PRICE_CACHE_READ, 2000000, NULL},
        {"'image_token':'0.000001',", 1000, 0, PRICE_INPUT, 2000000, "'image_token' is left out"},
        {"'by_the_moon':'0.1',", 1000, 0, PRICE_INPUT, 2000000, "'by_the_moon' is left out"},
        /* tiers: more than so many tokens of the prompt */
        {"'overrides':[{'min_prompt_tokens':1000,'prompt':'0.000004'}],", 1000, 0, PRICE_INPUT,
         2000000, NULL},
        {"'overrides':[{'min_prompt_tokens':1000,'prompt':'0.000004'}],", 1001, 0, PRICE_INPUT,
         4004000, NULL},
        {"'discount':0.5,'overrides':[{'min_prompt_tokens':1000,'prompt':'0.000004'}],", 1001, 0,
         PRICE_INPUT, 2002000, NULL},
        {"'overrides':[{'min_prompt_tokens':1000,'input_cache_write_1h':'0.000009'}],", 1001, 0,
         PRICE_CACHE_WRITE_1H, 9009000, NULL},
        {"'overrides':[{'min_prompt_tokens':1000,'completion':'0.00001'}],'image_output':'0.00003'"
         ",",
         1001, 0, PRICE_INPUT, 2002000, NULL},
        /* the last that holds rules, be its threshold the lower one */
        {"'overrides':[{'min_prompt_tokens':2000,'prompt':'0.000006'},"
         "{'min_prompt_tokens':1000,'prompt':'0.000004'}],",
         2001, 0, PRICE_INPUT, 8004000, NULL},
        {"'overrides':[{'min_prompt_tokens':1000,'prompt':'0.000004'},"
         "{'min_prompt_tokens':2000,'prompt':'0.000006'}],",
         2001, 0, PRICE_INPUT, 12006000, NULL},
        {"'overrides':[{'prompt':'0.000004'}],", 1000, 0, PRICE_INPUT, 4000000, NULL},
        {"'overrides':[{'min_prompt_tokens':'many','prompt':'0.000004'}],", 1000, 0, PRICE_INPUT,
         -1, "'min_prompt_tokens' is no number of tokens"},
        {"'overrides':[{'min_prompt_tokens':1000,'prompt':'dear'}],", 1000, 0, PRICE_INPUT, -1,
         "'prompt' is no usable price"},
        {"'overrides':[{'utc_start':100,'utc_end':400,'prompt':'0.000001'}],", 1000, 0, PRICE_INPUT,
         2000000, "an override by 'utc_start' is left out"},
        {"'overrides':[{'min_prompt_tokens':1,'utc_days':['monday'],'prompt':'0.000004'}],", 1000,
         0, PRICE_INPUT, 2000000, "an override by 'utc_days' is left out"},
        {"'overrides':[{'min_prompt_tokens':1,'prompt':'0.000004','input_audio_cache':'0.1'}],",
         1000, 0, PRICE_INPUT, 4000000, "'input_audio_cache' is left out"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        struct price_rows read;
        struct err e = ERR_INIT;
        const struct price_import how = {.source = PRICE_PROVIDER, .provider = STR("or")};
        struct str text = str_fmt(
            a, "{'data':[{'id':'m','pricing':{%s'prompt':'0.000002','completion':'0.000008'}}]}%c",
            rows[i].pricing, '\0');
        ck_assert_msg(price_list_read(a, json_of(a, text.p), &how, &read, &e), "%s", e.message);
        ck_assert_msg(read.n == (rows[i].nanousd >= 0), "%s", rows[i].pricing);
        ck_assert_msg(read.n_skipped == (rows[i].why != NULL), "%s", rows[i].pricing);
        if (rows[i].why)
            check_str(read.skipped[0].why, str_of(rows[i].why));
        if (read.n) {
            struct usage_vector u = {{[PRICE_REQUEST] = rows[i].part == PRICE_REQUEST}};
            struct price again;
            u.v[rows[i].part] += rows[i].in + rows[i].out;
            int64_t cost = price_cost(read.v[0], SERVICE_STANDARD, &u).nanousd;
            ck_assert_msg(cost == rows[i].nanousd, "%s: %lld", rows[i].pricing, (long long)cost);
            /* and as it is kept */
            ck_assert(price_of_text(a, read.v[0]->text, &again, &e));
            ck_assert_int_eq(price_cost(&again, SERVICE_STANDARD, &u).nanousd, cost);
        }
        arena_free(a);
    }
}
END_TEST

START_TEST(ships_prices_with_their_provenance)
{
    struct arena *a = arena_new();
    struct price_rows rows = {.n = 0};
    struct err e = ERR_INIT;
    ck_assert_msg(price_shipped(a, &rows, &e), "%s", e.message);
    ck_assert_uint_gt(rows.n, 100);
    for (size_t i = 0; i < rows.n; i++) {
        const struct price *p = rows.v[i];
        ck_assert_msg(p->provenance.n > 10, STR_FMT, STR_ARG(p->model));
        ck_assert_msg(provider_kind_find(p->provider) != NULL, STR_FMT, STR_ARG(p->provider));
        ck_assert_int_eq(p->source, PRICE_SHIPPED);
    }
    arena_free(a);
}
END_TEST

/* ---- the book ---- */

static void add(struct arena *a, struct price_book *b, enum price_source s, const char *name,
                const char *entry)
{
    struct price *p = price_of(a, entry);
    p->source = s;
    ck_assert(price_name_split(str_of(name), &p->provider, &p->model));
    price_book_add(b, p);
}

static int64_t input_of(const struct price_book *b, struct arena *a, const char *provider,
                        const char *kind, const char *model, int64_t now)
{
    return price_input_rate(
        price_at(price_find(b, a, str_of(provider), str_of(kind), str_of(model), now), now));
}

START_TEST(the_nearest_source_and_the_longest_pattern_count)
{
    struct arena *a = arena_new();
    struct price_book *b = price_book_new(a);
    add(a, b, PRICE_SHIPPED, "openai/gpt-4o*", "{'input':1}");
    add(a, b, PRICE_SHIPPED, "openai/gpt-4o-mini*", "{'input':2}");
    add(a, b, PRICE_SHIPPED, "openai/gpt-4o-mini-x", "{'input':3}");
    add(a, b, PRICE_LIST, "openai/listed", "{'input':4}");
    add(a, b, PRICE_PROVIDER, "desk/listed", "{'input':5}");
    add(a, b, PRICE_OVERRIDE, "*/gift", "{'input':0}");
    add(a, b, PRICE_OVERRIDE, "openai/gift", "{'input':6}");
    add(a, b, PRICE_OVERRIDE, "desk/gift", "{'input':7}");
    add(a, b, PRICE_OVERRIDE, "local/*", "{'input':0}");
    price_book_ready(b);
    static const struct {
        const char *provider, *kind, *model;
        int64_t input;
    } rows[] = {
        {"mine", "openai", "gpt-4o", 1},
        {"mine", "openai", "gpt-4o-2024", 1},
        {"mine", "openai", "gpt-4o-mini-2024", 2},
        {"mine", "openai", "gpt-4o-mini-x", 3},
        {"openai", "openai-compatible", "gpt-4o", -1}, /* a name says nothing of the vendor */
        {"mine", "openai", "listed", 4},
        {"desk", "openai", "listed", 5},
        {"any", "mistral", "gift", 0},
        {"mine", "openai", "gift", 6},
        {"desk", "openai", "gift", 7},
        {"local", "vllm", "whatever", 0},
        {"other", "vllm", "whatever", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(input_of(b, a, rows[i].provider, rows[i].kind, rows[i].model, 0) ==
                          (rows[i].input < 0 ? -1 : rows[i].input * 1000000000),
                      "%s %s %s", rows[i].provider, rows[i].kind, rows[i].model);
    arena_free(a);
}
END_TEST

START_TEST(prices_change_at_their_time)
{
    struct arena *a = arena_new();
    struct price_book *b = price_book_new(a);
    add(a, b, PRICE_SHIPPED, "k/m", "{'input':1}");
    add(a, b, PRICE_OVERRIDE, "k/m", "{'input':3,'valid_from':'1970-01-01T00:00:20Z'}");
    add(a, b, PRICE_OVERRIDE, "k/m", "{'input':2,'valid_from':'1970-01-01T00:00:10Z'}");
    price_book_ready(b);
    /* looked up early, the list knows what comes */
    const struct price *const *list = price_find(b, a, STR("p"), STR("k"), STR("m"), 0);
    ck_assert_int_eq(price_input_rate(price_at(list, 9999)), 1000000000);
    ck_assert_int_eq(price_input_rate(price_at(list, 10000)), 2000000000);
    ck_assert_int_eq(price_input_rate(price_at(list, 20000)), 3000000000);
    ck_assert_ptr_null(price_at(NULL, 0));
    /* looked up late, only the present; but the past is known when it is asked for, however many came since */
    list = price_find(b, a, STR("p"), STR("k"), STR("m"), 30000);
    ck_assert_ptr_null(price_at(list, 9999));
    for (int i = 0; i < 40; i++) {
        char text[96];
        (void)snprintf(text, sizeof text, "{'input':9,'valid_from':'1970-01-01T00:01:%02dZ'}", i);
        add(a, b, PRICE_OVERRIDE, "k/m", text);
    }
    static const int64_t at[][2] = {{9999, 1}, {10000, 2}, {19999, 2}, {20000, 3}, {60000, 9}};
    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        ck_assert_int_eq(price_input_rate(price_find_at(b, STR("p"), STR("k"), STR("m"), at[i][0])),
                         at[i][1] * 1000000000);
    ck_assert_ptr_null(price_find_at(b, STR("p"), STR("k"), STR("other"), 0));
    ck_assert_ptr_null(price_find_at(NULL, STR("p"), STR("k"), STR("m"), 0));
    arena_free(a);
}
END_TEST

START_TEST(lists_are_kept_once_and_versions_found_again)
{
    struct arena *a = arena_new();
    struct db *db = state_db();
    struct price_rows rows, again;
    struct err e = ERR_INIT;
    struct price_import how = {.source = PRICE_LIST, .valid_from_ms = 1000};
    const char *text = "{'m':{'litellm_provider':'openai','input_cost_per_token':1e-06}}";
    int64_t added;
    ck_assert(price_list_read(a, json_of(a, text), &how, &rows, &e));
    ck_assert(price_store_put(db, &rows, 1, &added, &e));
    ck_assert_int_eq(added, 1);
    how.valid_from_ms = 2000; /* the same list a month later says nothing new */
    ck_assert(price_list_read(a, json_of(a, text), &how, &again, &e));
    ck_assert(price_store_put(db, &again, 2, &added, &e));
    ck_assert_int_eq(added, 0);
    text = "{'m':{'litellm_provider':'openai','input_cost_per_token':2e-06}}";
    ck_assert(price_list_read(a, json_of(a, text), &how, &again, &e));
    ck_assert(price_store_put(db, &again, 2, &added, &e));
    ck_assert_int_eq(added, 1);
    struct price found;
    ck_assert_msg(price_version_get(db, a, rows.v[0]->version, &found, &e), "%s", e.message);
    check_str(found.text, rows.v[0]->text);
    ck_assert(!price_version_get(db, a, 1, &found, &e));
    ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
    int64_t dropped;
    ck_assert(price_store_drop(db, PRICE_LIST, STR("openai"), &dropped, &e));
    ck_assert_int_eq(dropped, 2);
    db_close(db);
    arena_free(a);
}
END_TEST

/* ---- what it costs ---- */

START_TEST(the_contracts_example_comes_out)
{
    /* 1000 in (200 cached) and 500 out at 3/15/1.5: 0.0024 + 0.0003 + 0.0075 */
    struct arena *a = arena_new();
    struct price *p = price_of(a, "{'input':3,'output':15,'cache_read':1.5}");
    struct ir_usage u = IR_USAGE_NONE;
    bool is_derived;
    u.input_total = 1000;
    u.cache_read = 200;
    u.output_total = 500;
    u.reasoning = 100; /* part of the output: not on top of it */
    struct usage_vector v = usage_parts(&u, &is_derived);
    struct cost c = price_cost(p, SERVICE_STANDARD, &v);
    ck_assert(!is_derived);
    ck_assert_int_eq(c.state, COST_KNOWN);
    ck_assert_int_eq(c.nanousd, 10200000);
    struct cost_line lines[PRICE_PARTS];
    size_t n = price_lines(p, SERVICE_STANDARD, &v, lines);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += lines[i].nanousd;
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(sum, c.nanousd);
    arena_free(a);
}
END_TEST

START_TEST(unknown_is_never_zero)
{
    struct arena *a = arena_new();
    struct usage_vector u = {{[PRICE_INPUT] = 10, [PRICE_SEARCH] = 2, [PRICE_REQUEST] = 1}};
    struct usage_vector images = {{[PRICE_IMAGE] = 1, [PRICE_REQUEST] = 1}};
    struct price *p = price_of(a, "{'input':1,'output':1}");
    ck_assert_int_eq(price_cost(NULL, SERVICE_STANDARD, &u).state, COST_UNKNOWN);
    ck_assert_int_eq(price_cost(NULL, SERVICE_STANDARD, &u).nanousd, -1);
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &u).state, COST_PARTIAL);
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &u).nanousd, 10000);
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &images).state, COST_UNKNOWN);
    ck_assert_int_eq(price_bound(NULL, SERVICE_STANDARD, &(struct price_most){1, 1, 1, 1}), -1);
    /* an hour's write without a rate is one of five minutes, that one input */
    u = (struct usage_vector){{[PRICE_CACHE_WRITE_1H] = 1000000}};
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &u).nanousd, 1000000000);
    p = price_of(a, "{'input':1,'cache_write_5m':2}");
    ck_assert_int_eq(price_cost(p, SERVICE_STANDARD, &u).nanousd, 2000000000);
    arena_free(a);
}
END_TEST

static uint64_t next(uint64_t *s) /* splitmix64 */
{
    uint64_t x = *s += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int64_t count(uint64_t *s)
{
    switch (next(s) % 4) {
    case 0:
        return -1;
    case 1:
        return 0;
    default:
        return (int64_t)(next(s) % 300000);
    }
}

START_TEST(parts_always_add_up_to_what_was_reported)
{
    struct arena *a = arena_new();
    struct price *p = price_of(
        a,
        "{'input':1.234567891,'cache_read':0.1,'cache_write_5m':1.7,'output':3.3,'audio_in':9."
        "000000001,"
        "'search':0.01,'above':[{'tokens':100000,'input':2.5,'output':7}],'flex':{'input':0.6}}");
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t s = seed;
        struct ir_usage u = IR_USAGE_NONE;
        int64_t *members[] = {&u.input_total,    &u.cache_read,   &u.cache_write, &u.cache_write_5m,
                              &u.cache_write_1h, &u.output_total, &u.reasoning,   &u.audio_in,
                              &u.audio_out,      &u.images,       &u.searches,    &u.total};
        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            *members[i] = count(&s);
        bool is_derived;
        struct usage_vector v = usage_parts(&u, &is_derived);
        int64_t least = 0;
        for (size_t i = 0; i < PRICE_PARTS; i++)
            least = v.v[i] < least ? v.v[i] : least;
        ck_assert_int_eq(least, 0);
        int64_t in = usage_parts_in(&v), out = usage_parts_out(&v);
        ck_assert_int_ge(in, u.input_total);
        ck_assert_int_ge(out, u.output_total);
        /* the sum, or more where the sides say so; without a sum exactly the sides */
        int64_t sides = (u.input_total > 0 ? u.input_total : 0) +
                        (u.output_total > 0 ? u.output_total : 0);
        ck_assert_int_eq(in + out, u.total > sides ? u.total : sides);
        if (u.input_total >= 0 &&
            u.cache_read + u.cache_write + u.cache_write_5m + u.cache_write_1h <= u.input_total)
            ck_assert_int_eq(in, u.input_total); /* the rest is output */
        if (!is_derived && u.cache_read > 0)
            ck_assert_int_eq(v.v[PRICE_CACHE_READ], u.cache_read);
        enum price_service service = next(&s) % 2 ? SERVICE_FLEX : SERVICE_STANDARD;
        struct cost c = price_cost(p, service, &v);
        struct cost_line lines[PRICE_PARTS];
        size_t n = price_lines(p, service, &v, lines);
        int64_t sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += lines[i].nanousd;
        ck_assert_int_eq(sum, c.nanousd > 0 ? c.nanousd : 0);
    }
    arena_free(a);
}
END_TEST

/* Every kind of token, picture, search and variant: whatever is used of what was held for, it never costs more. */
START_TEST(the_bound_is_never_below_the_cost)
{
    static const char *const prices[] = {
        "{'input':3,'cache_read':0.3,'cache_write_5m':3.75,'output':15,'reasoning':20,'request':0."
        "001,"
        "'above':[{'tokens':1000,'input':6,'cache_write_5m':7.5}]}",
        "{'input':3,'output':10,'audio_in':100,'audio_out':80,'cache_write_1h':6,'search':0.01,"
        "'image':0.04}",
        "{'input':3,'output':15,'cache_write_1h':6,'flex':{'input':1,'output':7,'audio_out':9},"
        "'above':[{'tokens':2000,'input':1,'output':2}]}",
        /* the middle step is the dearest, of one service further up than of the other */
        "{'input':1,'output':1,'above':[{'tokens':500,'input':1000,'output':1000},"
        "{'tokens':3000,'input':1,'output':1}],'flex':{'input':1,'output':1,"
        "'above':[{'tokens':2500,'input':2000},{'tokens':4000,'input':1}]}}",
        "{'image':0.04}", "{'input':5,'output':40}"};
    struct arena *a = arena_new();
    for (size_t k = 0; k < ARRAY_LEN(prices); k++) {
        struct price *p = price_of(a, prices[k]);
        for (uint64_t seed = 1; seed <= 1000; seed++) {
            uint64_t s = seed;
            struct usage_vector v = {{[PRICE_REQUEST] = 1}};
            for (int i = 0; i < PRICE_REQUEST; i++)
                v.v[i] = next(&s) % 3 ? 0 : (int64_t)(next(&s) % 1500);
            enum price_service service = next(&s) % 2 ? SERVICE_FLEX : SERVICE_STANDARD;
            /* as much as that, or more was held for */
            struct price_most most = {usage_parts_in(&v) + (int64_t)(next(&s) % 3000),
                                      usage_parts_out(&v), v.v[PRICE_IMAGE], v.v[PRICE_SEARCH]};
            ck_assert_int_ge(price_bound(p, service, &most), price_cost(p, service, &v).nanousd);
        }
    }
    arena_free(a);
}
END_TEST

START_TEST(targets_know_their_price)
{
    struct arena *a = arena_new();
    struct snapshot *s = state_load(
        "{'providers':{'oa':{'type':'openai','api_key':'k'},"
        "'own':{'type':'openai-compatible','base_url':'http://127.0.0.1:1/v1'}},"
        "'models':{'fast':{'targets':[{'provider':'oa','upstream_model':'gpt-4o-mini'},{'provider':"
        "'own','upstream_model':'gpt-4o-mini'}]}}}");
    const struct model *m = snapshot_model(s, STR("fast"));
    ck_assert_int_eq(price_input_rate(price_at(m->targets[0].prices, 0)), 150000000);
    ck_assert_int_eq(price_input_rate(price_at(m->targets[1].prices, 0)), -1);
    const struct model *made = snapshot_resolve(s, a, STR("oa/gpt-4o"));
    ck_assert_int_eq(price_input_rate(price_at(made->targets[0].prices, 0)), 2500000000);
    ck_assert_ptr_null(snapshot_resolve(s, a, STR("own/gpt-4o"))->targets[0].prices);
    ck_assert_int_eq(
        price_input_rate(price_at(snapshot_model(s, STR("echo"))->targets[0].prices, 0)), 0);
    snapshot_unref(s);
    arena_free(a);
}
END_TEST

UNIT_MAIN("price", reads_decimals_exactly, writes_decimals_that_read_back,
          entries_read_back_as_they_were_written, refuses_entries_and_names_the_member,
          reads_the_public_list, names_what_of_the_public_list_has_no_part,
          knows_the_public_lists_providers, reads_openrouters_list,
          counts_or_names_every_price_of_openrouters_list, ships_prices_with_their_provenance,
          the_nearest_source_and_the_longest_pattern_count, prices_change_at_their_time,
          lists_are_kept_once_and_versions_found_again, the_contracts_example_comes_out,
          unknown_is_never_zero, parts_always_add_up_to_what_was_reported,
          the_bound_is_never_below_the_cost, targets_know_their_price)
