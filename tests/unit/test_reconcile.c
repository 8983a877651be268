/* Our books beside the vendors': their exports, and a month of seeded errors that is attributed to the last nano-USD. */
#include "meter/reconcile.h"
#include "state_kit.h"

static struct str text_of(struct arena *a, const char *text)
{
    struct str s = str_dup(a, str_of(text));
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\'')
            memset((void *)(uintptr_t)(s.p + i), '"', 1);
    return s;
}

static const struct day_use *find(const struct day_uses *all, int64_t day, const char *model)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].day == day && str_eq(all->v[i].model, str_of(model)))
            return &all->v[i];
    ck_abort_msg("nothing of day %lld, %s", (long long)day, model);
    return NULL;
}

START_TEST(exports_of_each_vendor_are_read)
{
    static const struct {
        const char *text, *format, *model;
        int64_t requests, input, cached, cache_write, output, nanousd;
    } rows[] = {
        {"{'object':'page','data':[{'object':'bucket','start_time':86400,'results':["
         "{'model':'gpt-4o-2024-08-06','num_model_requests':5,'input_tokens':1000,'output_tokens':"
         "500,'input_cached_tokens':200},"
         "{'model':'gpt-4o','num_model_requests':1,'input_tokens':10,'output_tokens':5,'input_"
         "cached_tokens':0}]}]}",
         "openai_usage", "gpt-4o", 6, 1010, 200, -1, 505, -1},
        {"{'data':[{'start_time':86400,'results':[{'object':'organization.costs.result','amount':{'"
         "value':0.06,'currency':'usd'},"
         "'line_item':'gpt-4o, "
         "input'},{'amount':{'value':'0.04','currency':'usd'},'line_item':'gpt-4o, output'}]}]}",
         "openai_costs", "gpt-4o", -1, -1, -1, -1, -1, 100000000},
        {"{'data':[{'starting_at':'1970-01-02T00:00:00Z','results':[{'model':'claude-x-20250101','"
         "uncached_input_tokens':1500,"
         "'cache_creation':{'ephemeral_1h_input_tokens':1000,'ephemeral_5m_input_tokens':500},'"
         "cache_read_input_tokens':200,"
         "'output_tokens':500}]}]}",
         "anthropic_usage", "claude-x", -1, 3200, 200, 1500, 500, -1},
        {"{'data':[{'starting_at':'1970-01-02T00:00:00Z','results':[{'model':'claude-x','amount':'"
         "123.5','currency':'USD'}]}]}",
         "anthropic_costs", "claude-x", -1, -1, -1, -1, -1, 1235000000},
        {"{'data':[{'date':'1970-01-02','model':'a/"
         "b','usage':0.015,'requests':5,'prompt_tokens':50,'completion_tokens':125}]}",
         "openrouter_activity", "a/b", 5, 50, -1, -1, 125, 15000000},
        {"generation_id,created_at,cost_total,tokens_prompt,tokens_completion,model_permaslug\n"
         "x,1970-01-02 10:00:00,0.01,40,100,a/b\r\n'y, \"\"z',1970-01-02 "
         "11:00:00,0.005,10,25,a/b\n",
         "openrouter_csv", "a/b", 2, 50, -1, -1, 125, 15000000},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        struct day_uses all;
        ck_assert_msg(vendor_read(a, text_of(a, rows[i].text), &all, &e), "%zu: %s", i, e.message);
        ck_assert_str_eq(all.format, rows[i].format);
        const struct day_use *u = find(&all, 1, rows[i].model);
        ck_assert_msg(u->requests == rows[i].requests && u->input == rows[i].input &&
                          u->cached == rows[i].cached && u->cache_write == rows[i].cache_write &&
                          u->output == rows[i].output && u->nanousd == rows[i].nanousd,
                      "row %zu", i);
    }
    struct err e = ERR_INIT;
    struct day_uses all;
    ck_assert(vendor_read(a, STR("{\"data\":[]}"), &all, &e));
    ck_assert(all.n == 0 && strcmp(all.format, "empty") == 0);
    ck_assert(!vendor_read(
        a, STR("{\"data\":[{\"date\":\"1970-01-02\",\"model\":\"m\",\"usage\":-1}]}"), &all, &e));
    ck_assert_str_eq(e.field, "usage");
    err_clear(&e);
    ck_assert(!vendor_read(a, STR("a,b\n1,2\n"), &all, &e));
    arena_free(a);
}
END_TEST

/* What is there and cannot be counted is told, with its row; nothing is taken for "not told". */
START_TEST(what_cannot_be_counted_is_refused)
{
#define COSTS(amount) "{'data':[{'start_time':86400,'results':[{'amount':" amount "}]}]}"
#define CENTS(members) "{'data':[{'starting_at':'1970-01-02T00:00:00Z','results':[{" members "}]}]}"
#define HEAD "date,model,usage,requests\n"
    static const struct {
        const char *text, *field; /* NULL: it is read */
        size_t row;
    } rows[] = {
        {COSTS("{'value':0.01,'currency':'usd'}"), NULL, 0},
        {COSTS("{'value':'0.01','currency':'USD'}"), NULL, 0},
        {COSTS("{'value':0.01}"), NULL, 0},
        {COSTS("{'value':0.01,'currency':'eur'}"), "amount.currency", 1},
        {COSTS("{'value':0.01,'currency':1}"), "amount.currency", 1},
        {COSTS("{'value':null}"), "amount.value", 1},
        {COSTS("{'value':true}"), "amount.value", 1},
        {COSTS("{'value':-1}"), "amount.value", 1},
        {COSTS("{'value':1e300}"), "amount.value", 1},
        {COSTS("{}"), "amount.value", 1},
        {COSTS("0.01"), "amount", 1},
        {CENTS("'amount':'1','currency':'USD'"), NULL, 0},
        {CENTS("'amount':'1','currency':'EUR'"), "currency", 1},
        {CENTS("'amount':null,'currency':'USD'"), "amount", 1},
        {"{'data':[{'start_time':0,'results':[]},{'start_time':9223372036854775807,'results':[]}]}",
         "start_time", 2},
        {"{'data':[{'start_time':-5,'results':[]}]}", "start_time", 1},
        {"{'data':[{'start_time':1764547200000,'results':[]}]}", "start_time", 1},
        {"{'data':[{'start_time':253402300799,'results':[]}]}", NULL, 0},
        {"{'data':[{'starting_at':'1969-12-31T00:00:00Z','results':[]}]}", "starting_at", 1},
        {"{'data':[{'date':'1970-01-02','model':'m','usage':null}]}", "usage", 1},
        {"{'data':[{'date':'1970-01-02','model':'m','usage':false}]}", "usage", 1},
        {"{'data':[{'date':'1970-01-02','model':'m','requests':1}]}", NULL, 0},
        {"\xef\xbb\xbf{'data':[{'date':'1970-01-02','model':'m','usage':1}]}", NULL, 0},
        {"\xef\xbb\xbf" HEAD "1970-01-02,m,0.01,1\n", NULL, 0},
        {HEAD "1970-01-02,m,0.01,1\n\n1970-01-02,m,0.01,\n", NULL, 0},
        {HEAD "1970-01-02,m\n", "row", 1},
        {HEAD "1970-01-02,m,0,01,1\n", "row", 1},
        {HEAD "1970-01-02,m,0.01,1\n1970-01-02,'m,0.01,1\n", "row", 2},
        {HEAD "1970-01-02,m,,1\n", "usage", 1},
        {HEAD "1970-01-02,m,$1,1\n", "usage", 1},
        {HEAD ",m,0.01,1\n", "date", 1},
        {HEAD "2.1.1970,m,0.01,1\n", "date", 1},
        {HEAD "1970-01-02T25:00:00Z,m,0.01,1\n", "date", 1},
        {HEAD "1970-01-02-12:00:00,m,0.01,1\n", "date", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        struct err e = ERR_INIT;
        struct day_uses all;
        char row[32];
        bool ok = vendor_read(a, text_of(a, rows[i].text), &all, &e);
        ck_assert_msg(ok == (rows[i].field == NULL), "%s: %s", rows[i].text, e.message);
        if (!ok) {
            (void)snprintf(row, sizeof row, "Row %zu of", rows[i].row);
            ck_assert_msg(strcmp(e.field, rows[i].field) == 0 && strstr(e.message, row), "%s: %s",
                          rows[i].text, e.message);
        }
        arena_free(a);
    }
#undef COSTS
#undef CENTS
}
END_TEST

START_TEST(times_fall_on_their_day_of_utc)
{
    static const struct {
        const char *time;
        int64_t day;
    } rows[] = {
        {"1970-01-02", 1},
        {"1970-01-02 23:59:59", 1},
        {"1970-01-02 23:59:59.999", 1},
        {"1970-01-02T23:30:00Z", 1},
        {"1970-01-02 23:30:00 UTC", 1},
        {"1970-01-02T23:30:00-05:00", 2},
        {"1970-01-02 23:30:00-05", 2},
        {"1970-01-02 00:30:00+01:00", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        struct err e = ERR_INIT;
        struct day_uses all;
        struct str table = str_fmt(a, HEAD "%s,m,0.01,1\n", rows[i].time),
                   json = str_fmt(a, "{'data':[{'date':'%s','model':'m','usage':0.01}]}%c",
                                  rows[i].time, 0);
        ck_assert_msg(vendor_read(a, table, &all, &e), "%s: %s", rows[i].time, e.message);
        ck_assert_int_eq(find(&all, rows[i].day, "m")->nanousd, 10000000);
        ck_assert_msg(vendor_read(a, text_of(a, json.p), &all, &e), "%s: %s", rows[i].time,
                      e.message);
        ck_assert_int_eq(find(&all, rows[i].day, "m")->nanousd, 10000000);
        arena_free(a);
    }
#undef HEAD
}
END_TEST

START_TEST(exports_of_one_day_complete_each_other)
{
    struct arena *a = arena_new();
    struct db *db = state_db();
    struct err e = ERR_INIT;
    struct day_uses all;
    const char *texts[] = {"{'data':[{'start_time':86400,'results':[{'model':'m','num_model_"
                           "requests':2,'input_tokens':7,'output_tokens':3}]}]}",
                           "{'data':[{'start_time':86400,'results':[{'amount':{'value':0.5},'line_"
                           "item':'m, input'}]}]}"};
    for (int round = 0; round < 2; round++) /* again: nothing is added up twice */
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
            ck_assert(vendor_read(a, text_of(a, texts[i]), &all, &e) &&
                      vendor_put(db, STR("oa"), &all, &e));
    ck_assert(vendor_list(db, a, STR("oa"), 0, 10, &all, &e));
    ck_assert_uint_eq(all.n, 1);
    ck_assert_int_eq(all.v[0].requests, 2);
    ck_assert_int_eq(all.v[0].input, 7);
    ck_assert_int_eq(all.v[0].nanousd, 500000000);
    db_close(db);
    arena_free(a);
}
END_TEST

/* ---- seeded errors ---- */

static struct price price_of(struct arena *a, const char *text)
{
    struct err e = ERR_INIT;
    struct price p = {.provider = STR("up"), .model = STR("m")};
    yyjson_val *v;
    ck_assert(json_parse(a, text_of(a, text), 0, &v, &e) && price_read(a, v, "p", &p, &e));
    price_seal(a, &p);
    return p;
}

static int64_t sum_of(const struct drift *d)
{
    int64_t sum = 0;
    for (size_t i = 0; i < DRIFT_CAUSES; i++)
        sum += d->parts[i];
    return sum;
}

START_TEST(seeded_errors_are_attributed_to_the_last_unit)
{
    struct arena *a = arena_new();
    struct price p = price_of(a, "{'input':1,'output':10,'cache_read':0.5}");
    /* 100 requests of 1000 tokens in, 200 of them cached, and 100 out: 1 900 000 each */
    const struct day_use right = {.requests = 100,
                                  .input = 100000,
                                  .cached = 20000,
                                  .cache_write = 0,
                                  .output = 10000,
                                  .nanousd = 190000000};
    struct day_use ours, vendors;
    struct drift d = drift_of(&right, &right, &p);
    ck_assert(d.is_agreed);
    ck_assert_int_eq(sum_of(&d), 0);

    ours = right; /* ten lines were lost */
    ours.requests = 90, ours.input = 90000, ours.cached = 18000, ours.output = 9000,
    ours.nanousd = 171000000;
    d = drift_of(&ours, &right, &p);
    ck_assert_int_eq(d.cause, DRIFT_MISSING);
    ck_assert_int_eq(d.parts[DRIFT_MISSING], 19000000);
    ck_assert_int_eq(d.nanousd, 19000000);

    ours = right; /* five were written twice */
    ours.requests = 105, ours.input = 105000, ours.cached = 21000, ours.output = 10500,
    ours.nanousd = 199500000, ours.repeated = 5;
    d = drift_of(&ours, &right, &p);
    ck_assert_int_eq(d.cause, DRIFT_DUPLICATE);
    ck_assert_int_eq(d.parts[DRIFT_DUPLICATE], -9500000);
    ours.repeated = 0; /* the vendor did not bill them */
    ck_assert_int_eq(drift_of(&ours, &right, &p).cause, DRIFT_UNBILLED);

    vendors = right; /* the vendor's price is a tenth higher */
    vendors.nanousd = 209000000;
    d = drift_of(&right, &vendors, &p);
    ck_assert_int_eq(d.cause, DRIFT_PRICE);
    ck_assert_int_eq(d.parts[DRIFT_PRICE], 19000000);

    vendors = right; /* it counted more tokens for the same requests */
    vendors.output = 11000, vendors.nanousd = 200000000;
    d = drift_of(&right, &vendors, &p);
    ck_assert_int_eq(d.cause, DRIFT_TOKENS);
    ck_assert_int_eq(d.parts[DRIFT_TOKENS], 10000000);

    ours = right; /* its bill is in whole cents */
    ours.nanousd = 190004321, vendors = right;
    d = drift_of(&ours, &vendors, &p);
    ck_assert_int_eq(d.cause, DRIFT_ROUNDING);
    ck_assert_int_eq(d.parts[DRIFT_ROUNDING], -4321);

    ours = right; /* nobody knew the price of half of them */
    ours.nanousd = 95000000, ours.unpriced = 50;
    d = drift_of(&ours, &right, &p);
    ck_assert_int_eq(d.cause, DRIFT_UNPRICED);
    ck_assert_int_eq(d.parts[DRIFT_UNPRICED], 95000000);

    ck_assert_int_eq(drift_of(NULL, &right, &p).cause, DRIFT_MISSING);
    ck_assert_int_eq(drift_of(&right, NULL, &p).cause, DRIFT_UNBILLED);

    /* several at once: the parts say each */
    ours = right;
    ours.requests = 90, ours.input = 90000, ours.cached = 18000, ours.output = 9000,
    ours.nanousd = 171000000;
    vendors = right;
    vendors.output = 11000, vendors.nanousd = 225000000;
    d = drift_of(&ours, &vendors, &p);
    ck_assert_int_eq(d.parts[DRIFT_MISSING], 19000000);
    ck_assert_int_eq(d.parts[DRIFT_TOKENS], 10000000);
    ck_assert_int_eq(d.parts[DRIFT_PRICE], 25000000);
    ck_assert_int_eq(sum_of(&d), d.nanousd);
    arena_free(a);
}
END_TEST

/* An export of counts alone says nothing of a price: what it differs in is told at ours. */
START_TEST(counts_without_a_cost_are_no_drift_of_price)
{
    struct arena *a = arena_new();
    struct price p = price_of(a, "{'input':1,'output':5,'cache_read':0.5}");
    struct day_use ours = {.requests = 100,
                           .input = 100000,
                           .cached = 0,
                           .cache_write = 0,
                           .output = 10000,
                           .nanousd = 150000000},
                   vendors = ours;
    vendors.nanousd = -1;
    struct drift d = drift_of(&ours, &vendors, &p);
    ck_assert(d.is_agreed);
    ck_assert_int_eq(d.nanousd, 0);
    vendors.output = 11000;
    d = drift_of(&ours, &vendors, &p);
    ck_assert_int_eq(d.cause, DRIFT_TOKENS);
    ck_assert_int_eq(d.nanousd, 5000000);
    ck_assert_int_eq(d.parts[DRIFT_TOKENS], 5000000);
    vendors = ours;
    vendors.nanousd = -1, vendors.requests = 110, vendors.input = 110000, vendors.output = 11000;
    d = drift_of(&ours, &vendors, &p);
    ck_assert_int_eq(d.cause, DRIFT_MISSING);
    ck_assert_int_eq(d.nanousd, 15000000);
    ck_assert_int_eq(d.parts[DRIFT_TOKENS], 0);
    d = drift_of(NULL, &vendors, &p);
    ck_assert_int_eq(d.nanousd, 165000000);
    ck_assert_int_eq(d.cause, DRIFT_MISSING);
    /* errors that make up for one another are errors */
    vendors = ours;
    vendors.input = 101000;
    d = drift_of(&ours, &vendors, &p);
    ck_assert_int_eq(d.nanousd, 0);
    ck_assert(!d.is_agreed);
    ck_assert_int_eq(d.parts[DRIFT_TOKENS], 1000000);
    ck_assert_int_eq(sum_of(&d), 0);
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

START_TEST(parts_always_add_up_to_the_drift)
{
    struct arena *a = arena_new();
    struct price p = price_of(a, "{'input':1.7,'output':9.3,'cache_read':0.33}");
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t s = seed;
        struct day_use u[2];
        for (size_t i = 0; i < 2; i++)
            u[i] = (struct day_use){.requests = (int64_t)(next(&s) % 50) - 1,
                                    .input = (int64_t)(next(&s) % 90000) - 1,
                                    .cached = (int64_t)(next(&s) % 9000) - 1,
                                    .cache_write = (int64_t)(next(&s) % 900) - 1,
                                    .output = (int64_t)(next(&s) % 9000) - 1,
                                    .nanousd = (int64_t)(next(&s) % 900000000) - 1,
                                    .repeated = (int64_t)(next(&s) % 5),
                                    .unpriced = (int64_t)(next(&s) % 5)};
        struct drift d = drift_of(&u[0], &u[1], seed % 7 ? &p : NULL);
        ck_assert_int_eq(sum_of(&d), d.nanousd);
        ck_assert_int_eq(d.nanousd, d.vendors - d.ours);
    }
    arena_free(a);
}
END_TEST

UNIT_MAIN("reconcile", counts_without_a_cost_are_no_drift_of_price, exports_of_each_vendor_are_read,
          what_cannot_be_counted_is_refused, times_fall_on_their_day_of_utc,
          exports_of_one_day_complete_each_other, seeded_errors_are_attributed_to_the_last_unit,
          parts_always_add_up_to_the_drift)
