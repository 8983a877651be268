/* The ledger: lines of requests, rules of their ends, duplicates, sums, and that everything comes out the same when it is computed again. */
#include "base/clock.h"
#include "domain/ledger.h"
#include "gate/budget.h"
#include "meter/ledger_check.h"
#include "meter/usage_log.h"
#include "state_kit.h"
#include <stdio.h>
#include <unistd.h>

static char path[PATH_SIZE];

static struct usage_log *begin(void)
{
    struct err e = ERR_INIT;
    db_close(state_db());
    state_path(path, "test.db");
    struct usage_log *u = usage_log_new(path, 2, &(struct usage_limits){.days = 0}, &e);
    ck_assert_msg(u != NULL, "%s", e.message);
    return u;
}

static struct db *open_again(void)
{
    struct err e = ERR_INIT;
    struct db *db = db_open(path, DB_READ_WRITE, &e);
    ck_assert_msg(db != NULL, "%s", e.message);
    return db;
}

static int64_t number(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    struct stmt *s = db_prepare(db, sql, &e);
    ck_assert_msg(s && stmt_step(s, &e), "%s: %s", sql, e.message);
    int64_t n = stmt_int(s, 0);
    stmt_free(s);
    return n;
}

static struct price price_of(struct arena *a, const char *text)
{
    struct err e = ERR_INIT;
    struct price p = {.source = PRICE_OVERRIDE, .provider = STR("up"), .model = STR("m")};
    yyjson_val *v;
    ck_assert(json_parse(a, str_of(text), 0, &v, &e) && price_read(a, v, "p", &p, &e));
    price_seal(a, &p);
    return p;
}

/* As the relay makes one. */
static struct usage_record record(struct usage_log *u, const struct price *p, int64_t id,
                                  int64_t in, int64_t cached, int64_t out, const char *key,
                                  int64_t account)
{
    struct usage_record r = {.start_ms = clock_wall_ms(),
                             .status = 200,
                             .attempts = 1,
                             .usage = IR_USAGE_NONE,
                             .quality = USAGE_REPORTED,
                             .ttft_us = -1,
                             .duration_us = 1500,
                             .model = "m",
                             .upstream = "up",
                             .upstream_model = "m",
                             .op = "chat"};
    (void)snprintf(r.request_id, sizeof r.request_id, "req_%lld", (long long)id);
    (void)snprintf(r.key_id, sizeof r.key_id, "%s", key);
    r.usage.input_total = in;
    r.usage.cache_read = cached;
    r.usage.output_total = out;
    r.money = (struct usage_money){
        .id = id, .account = account, .price = p ? p->version : 0, .end = MONEY_DONE};
    struct usage_vector parts = ledger_parts(&r);
    struct cost c = price_cost(p, SERVICE_STANDARD, &parts);
    r.money.cost_nanousd = c.nanousd;
    r.money.state = (uint8_t)c.state;
    if (p)
        usage_log_learn(u, p->version, p->text);
    return r;
}

START_TEST(every_end_has_its_rule)
{
    /* reported and not, under a policy that estimates and one that does not */
    static const struct {
        enum money_end end;
        enum money_rule reported, unreported, unreported_lenient;
    } rows[] = {
        {MONEY_NONE, RULE_ZERO, RULE_ZERO, RULE_ZERO},
        {MONEY_DONE, RULE_REPORTED, RULE_ESTIMATE, RULE_ESTIMATE},
        {MONEY_FREE, RULE_ZERO, RULE_ZERO, RULE_ZERO},
        {MONEY_FAILED, RULE_ZERO, RULE_ZERO, RULE_ZERO},
        {MONEY_LEFT_EARLY, RULE_REPORTED, RULE_ESTIMATE, RULE_ZERO},
        {MONEY_LEFT, RULE_REPORTED, RULE_ESTIMATE, RULE_ZERO},
        {MONEY_BROKEN, RULE_REPORTED, RULE_ESTIMATE, RULE_ESTIMATE},
        {MONEY_CANCELLED, RULE_REPORTED, RULE_ESTIMATE, RULE_ESTIMATE},
        {MONEY_CUT, RULE_REPORTED, RULE_ESTIMATE, RULE_ESTIMATE},
        {MONEY_HEDGED, RULE_REPORTED, RULE_ESTIMATE, RULE_ZERO},
    };
    ck_assert_uint_eq(ARRAY_LEN(rows), MONEY_ENDS);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum money_end end = rows[i].end;
        ck_assert_int_eq(money_rule_of(end, true, true), rows[i].reported);
        ck_assert_int_eq(money_rule_of(end, true, false), rows[i].reported);
        ck_assert_int_eq(money_rule_of(end, false, true), rows[i].unreported);
        ck_assert_int_eq(money_rule_of(end, false, false), rows[i].unreported_lenient);
        ck_assert(money_ends[end].name && money_ends[end].sentence);
    }
}
END_TEST

START_TEST(lines_say_what_was_used_and_come_to_their_amount)
{
    struct usage_log *u = begin();
    struct arena *a = arena_new();
    struct price p = price_of(a, "{\"input\":3,\"cache_read\":1.5,\"output\":15}");
    struct err e = ERR_INIT;
    struct str text;
    const struct str tags[] = {STR("red"), STR("team \"x\"")};
    int64_t account = ledger_account_id(a, STR("acme"), STR("ann"), tags, 2, &text),
            id = ledger_id_at(clock_wall_ms());
    usage_log_learn(u, account, text);
    struct usage_record r = record(u, &p, id, 1000, 200, 500, "k1", account);
    r.usage.cost_nanousd = 10300000;
    r.money.admitted_ms = ledger_id_ms(id) + 3; /* the clock was set back meanwhile */
    usage_log_put(u, 0, &r);
    r = record(u, NULL, id + 512, 10, 0, 5, "k2", 0); /* unpriced */
    usage_log_put(u, 1, &r);
    usage_log_free(u);
    struct db *db = open_again();
    struct ledger_line *lines;
    size_t n;
    ck_assert(ledger_list(db, a, &(struct ledger_filter){.key = STR("k1")}, 0, 10, &lines, &n, &e));
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(lines[0].amount, 10200000);
    ck_assert_int_eq(lines[0].stated, 10300000);
    ck_assert_int_eq(lines[0].price, p.version);
    ck_assert_int_eq(lines[0].admitted_ms, ledger_id_ms(id) + 3);
    ck_assert_int_eq(lines[0].parts[PRICE_INPUT], 800);
    ck_assert_int_eq(lines[0].parts[PRICE_CACHE_READ], 200);
    ck_assert_int_eq(lines[0].parts[PRICE_OUTPUT], 500);
    check_text(lines[0].org, "acme");
    check_text(lines[0].user, "ann");
    check_text(lines[0].tags, "[\"red\",\"team \\\"x\\\"\"]");
    static const struct ledger_filter one[] = {{.org = STR_INIT("acme")},
                                               {.user = STR_INIT("ann")},
                                               {.tag = STR_INIT("red")},
                                               {.tag = STR_INIT("team \"x\"")},
                                               {.only_unpriced = true}};
    for (size_t i = 0; i < ARRAY_LEN(one); i++) {
        ck_assert(ledger_list(db, a, &one[i], 0, 10, &lines, &n, &e));
        ck_assert_uint_eq(n, 1);
    }
    ck_assert_int_eq(lines[0].admitted_ms, ledger_id_ms(id + 512)); /* unpriced: nothing was said */
    ck_assert(ledger_list(db, a, &(struct ledger_filter){.tag = STR("re")}, 0, 10, &lines, &n, &e));
    ck_assert_uint_eq(n, 0);
    struct ledger_check c;
    ck_assert_msg(ledger_check(db, 0, 0, &c, &e), "%s", e.message);
    ck_assert_int_eq(c.lines, 2);
    ck_assert_int_eq(c.unpriced, 1);
    ck_assert_int_eq(c.total, 10200000);
    ck_assert_int_eq(c.recomputed, 10200000);
    ck_assert_int_eq(c.wrong + c.wrong_hours + c.missing_prices, 0);
    ck_assert_int_eq(
        number(db, "SELECT count(*) FROM usage_fact f JOIN ledger l ON l.id = f.ledger"), 2);
    int64_t spent;
    ck_assert(
        ledger_spent(db, BUDGET_TAG, STR("red"), ledger_id_ms(id) - 5000, INT64_MAX, &spent, &e));
    ck_assert_int_eq(spent, 10200000);
    ck_assert(
        ledger_spent(db, BUDGET_ORG, STR("acme"), ledger_id_ms(id) + 1, INT64_MAX, &spent, &e));
    ck_assert_int_eq(spent, 0); /* begins behind it, in the same hour */
    ck_assert(ledger_spent(db, BUDGET_ALL, STR(""), 0, INT64_MAX, &spent, &e));
    ck_assert_int_eq(spent, 10200000);
    /* an altered line is found out */
    ck_assert(db_exec(db, "UPDATE ledger SET amount = amount + 1 WHERE amount > 0", &e));
    ck_assert(ledger_check(db, 0, 0, &c, &e));
    ck_assert_int_eq(c.wrong, 1);
    ck_assert_int_eq(c.first_wrong, id);
    ck_assert_int_eq(c.wrong_hours, 1);
    db_close(db);
    arena_free(a);
}
END_TEST

START_TEST(spans_are_exact_at_both_ends)
{
    struct usage_log *u = begin();
    struct arena *a = arena_new();
    struct price p = price_of(a, "{\"input\":1}");
    struct err e = ERR_INIT;
    int64_t day = 86400000ll * 20000, spent; /* lines half past every hour of a day */
    for (int h = 0; h < 24; h++) {
        int64_t id = ledger_id_at(day + h * 3600000ll + 1800000);
        struct usage_record r = record(u, &p, id, 1 << h, 0, 0, "k", 0);
        usage_log_put(u, 0, &r);
    }
    usage_log_free(u);
    struct db *db = open_again();
    static const struct {
        int64_t from, to; /* minutes */
        unsigned hours[2];
    } rows[] = {{0, 1440, {0, 24}}, {30, 31, {0, 1}},     {31, 90, {0, 0}}, {31, 91, {1, 2}},
                {90, 690, {1, 11}}, {0, 60, {0, 1}},      {60, 60, {0, 0}}, {61, 119, {1, 2}},
                {61, 241, {1, 4}},  {600, 1440, {10, 24}}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t expected = 0;
        for (unsigned h = rows[i].hours[0]; h < rows[i].hours[1]; h++)
            expected += (int64_t)1000 << h;
        ck_assert(ledger_spent(db, BUDGET_ALL, STR(""), day + rows[i].from * 60000,
                               day + rows[i].to * 60000, &spent, &e));
        ck_assert_msg(spent == expected, "row %zu: %lld, not %lld", i, (long long)spent,
                      (long long)expected);
    }
    ck_assert(ledger_spent(db, BUDGET_KEY, STR("k"), day + 1, INT64_MAX, &spent, &e));
    ck_assert_int_eq(spent, 1000ll * ((1 << 24) - 1));
    db_close(db);
    arena_free(a);
}
END_TEST

START_TEST(sums_that_are_gone_are_missed)
{
    struct usage_log *u = begin();
    struct arena *a = arena_new();
    struct price p = price_of(a, "{\"input\":1}");
    struct err e = ERR_INIT;
    int64_t id = ledger_id_at(clock_wall_ms());
    static const char *const sql[] = {
        "UPDATE ledger_hour SET tokens_in = tokens_in + 1 WHERE kind = 1",
        "DELETE FROM ledger_hour WHERE kind = 1", "DELETE FROM ledger_hour",
        "INSERT INTO ledger_hour VALUES(1,1,0,0,5,0,0,0,0,0)"};
    static const int64_t wrong[] = {1, 1, 2, 3};
    for (int i = 0; i < 2; i++) {
        struct usage_record r = record(u, &p, id + i * 512, 1000, 0, 0, i ? "k" : "l", 0);
        usage_log_put(u, 0, &r);
    }
    usage_log_free(u);
    struct db *db = open_again();
    struct ledger_check c;
    for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
        ck_assert_msg(db_exec(db, sql[i], &e), "%s", e.message);
        ck_assert(ledger_check(db, 0, 0, &c, &e));
        ck_assert_msg(c.wrong_hours == wrong[i], "%s: %lld", sql[i], (long long)c.wrong_hours);
        ck_assert_int_eq(c.wrong, 0);
    }
    db_close(db);
    arena_free(a);
}
END_TEST

START_TEST(a_line_delivered_twice_counts_once)
{
    struct arena *a = arena_new();
    struct price p = price_of(a, "{\"input\":1,\"output\":1}");
    int64_t id = ledger_id_at(clock_wall_ms());
    for (int round = 0; round < 2; round++) { /* again after a restart */
        struct usage_log *u = begin();
        for (int i = 0; i < 300; i++) {
            struct usage_record r = record(u, &p, id + i % 100 * 512, 1000, 0, 0, "k", 0);
            usage_log_put(u, 0, &r);
        }
        usage_log_free(u);
    }
    struct db *db = open_again();
    struct ledger_check c;
    struct err e = ERR_INIT;
    ck_assert_int_eq(number(db, "SELECT count(*) FROM ledger"), 100);
    ck_assert_int_eq(number(db, "SELECT sum(amount) FROM ledger_hour"), 100 * 1000000);
    ck_assert_int_eq(number(db, "SELECT sum(n) FROM ledger_hour"), 100);
    ck_assert(ledger_check(db, 0, 0, &c, &e));
    ck_assert_int_eq(c.wrong + c.wrong_hours, 0);
    db_close(db);
    arena_free(a);
}
END_TEST

START_TEST(a_full_ring_sheds_records_but_no_line)
{
    struct usage_log *u = begin();
    struct arena *a = arena_new();
    struct price p = price_of(a, "{\"input\":1,\"output\":1}");
    struct err e = ERR_INIT;
    /* somebody holds the store, so that nothing can be written meanwhile */
    struct db *holder = open_again();
    ck_assert(db_begin(holder, &e));
    int64_t id = ledger_id_at(clock_wall_ms());
    int n = 0;
    while (usage_log_shed(u) < 500 && n < 60000) {
        struct usage_record r = record(u, &p, id + (int64_t)n++ * 512, 1000, 0, 0, "k", 0);
        usage_log_put(u, 0, &r);
    }
    ck_assert_uint_eq(usage_log_shed(u), 500);
    ck_assert_int_gt(usage_log_waiting_bytes(u), 500 * 300);
    db_rollback(holder);
    db_close(holder);
    ck_assert(usage_log_sync(u, 60000));
    ck_assert_int_eq(usage_log_waiting_bytes(u), 0);
    usage_log_free(u);
    struct db *db = open_again();
    ck_assert_int_eq(number(db, "SELECT count(*) FROM ledger"), n);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM usage_fact"), n - 500);
    ck_assert_int_eq(number(db, "SELECT sum(amount) FROM ledger_hour"), n * 1000000ll);
    db_close(db);
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

/* Requests that end in every way, on several keys, over restarts, with some lines delivered again: what the budgets saw, what the ledger
 * holds and what comes out of computing it again is one number. */
START_TEST(money_is_conserved)
{
    struct arena *a = arena_new();
    struct budgets *registry = budgets_new();
    struct price prices[] = {price_of(a, "{\"input\":1.234567891,\"output\":7,\"cache_read\":0.1}"),
                             price_of(a, "{\"input\":2,\"output\":3,\"request\":0.0001}")};
    struct budget all = {.name = STR("all"),
                         .scope = BUDGET_ALL,
                         .period = BUDGET_EVER,
                         .limit_nanousd = 1000000000000,
                         .stops = true};
    const struct budget *list[] = {&all, NULL}, *by = NULL;
    uint64_t seed = 42;
    int64_t expected = 0, id = ledger_id_at(clock_wall_ms());
    all.state = budgets_state(registry, &all);
    for (int restart = 0; restart < 4; restart++) {
        struct usage_log *u = begin();
        struct usage_record last = {.money = {.id = 0}};
        for (int i = 0; i < 500; i++) {
            struct hold h;
            const struct price *p = &prices[next(&seed) % 2];
            int64_t in = (int64_t)(next(&seed) % 5000), out = (int64_t)(next(&seed) % 2000);
            const struct price_most most = {in, out, 0, 0};
            ck_assert(hold_take(&h, list, price_bound(p, SERVICE_STANDARD, &most), 1000, &by));
            unsigned how = (unsigned)(next(&seed) % 8);
            /* failed or never sent: another target, or nothing; the hold goes back */
            if (how < 2) {
                hold_settle(&h, 0, 1000);
                continue;
            }
            struct usage_record r = record(u, p, id += 512, in, in / 3, out, how % 2 ? "a" : "b",
                                           0);
            if (how == 7) { /* left early under a policy that charges nothing */
                r.money.is_free = true;
                r.money.cost_nanousd = 0;
                r.money.end = MONEY_LEFT_EARLY;
            }
            expected += r.money.cost_nanousd;
            hold_settle(&h, r.money.cost_nanousd, 1000);
            usage_log_put(u, i % 2, &r);
            if (how == 3 && last.money.id)
                usage_log_put(u, 0, &last); /* again */
            last = r;
        }
        usage_log_free(u);
    }
    struct db *db = open_again();
    struct ledger_check c;
    struct err e = ERR_INIT;
    int64_t spent;
    ck_assert(ledger_check(db, 0, 0, &c, &e));
    ck_assert_int_eq(c.total, expected);
    ck_assert_int_eq(c.recomputed, expected);
    ck_assert_int_eq(c.wrong + c.wrong_hours + c.missing_prices, 0);
    ck_assert_int_eq(budget_look(&all, 1000).spent, expected);
    ck_assert_int_eq(budget_look(&all, 1000).held, 0);
    ck_assert(ledger_spent(db, BUDGET_ALL, STR(""), 0, INT64_MAX, &spent, &e));
    ck_assert_int_eq(spent, expected);
    /* a new process finds the same */
    struct budgets *fresh = budgets_new();
    all.state = budgets_state(fresh, &all);
    ck_assert(budget_load(&all, db, clock_wall_ms(), &e));
    ck_assert(budget_load(&all, db, clock_wall_ms(), &e)); /* in place of the first */
    ck_assert_int_eq(budget_look(&all, clock_wall_ms()).spent, expected);
    db_close(db);
    budgets_free(fresh);
    budgets_free(registry);
    arena_free(a);
}
END_TEST

UNIT_MAIN("ledger", every_end_has_its_rule, lines_say_what_was_used_and_come_to_their_amount,
          a_line_delivered_twice_counts_once, spans_are_exact_at_both_ends,
          sums_that_are_gone_are_missed, a_full_ring_sheds_records_but_no_line, money_is_conserved)
