/* Budgets: their periods in time zones, holds that many threads take at once, and that no limit is ever passed. */
#include "base/clock.h"
#include "gate/budget.h"
#include "state_kit.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct budget budget_of(struct arena *a, const char *text)
{
    struct err e = ERR_INIT;
    struct budget b;
    yyjson_val *v;
    struct str s = str_dup(a, str_of(text));
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\'')
            memset((void *)(uintptr_t)(s.p + i), '"', 1);
    ck_assert_msg(json_parse(a, s, 0, &v, &e), "%s", e.message);
    ck_assert_msg(budget_read(a, STR("b"), v, "budgets.b", &b, &e), "%s", e.message);
    return b;
}

static int64_t at(const char *text)
{
    int64_t ms;
    ck_assert(clock_parse_rfc3339(str_of(text), &ms));
    return ms;
}

START_TEST(periods_begin_where_the_calendar_says)
{
    static const struct {
        const char *zone, *now, *begin, *end;
        enum budget_period period;
    } rows[] = {
        {"", "2026-03-05T12:00:00Z", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z", BUDGET_DAY},
        {"", "2026-03-05T00:00:00Z", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z", BUDGET_DAY},
        {"", "2026-03-04T23:59:59Z", "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z", BUDGET_DAY},
        {"", "2026-03-05T12:00:00Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z", BUDGET_WEEK},
        {"", "2026-03-01T12:00:00Z", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z", BUDGET_WEEK},
        {"", "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z", BUDGET_WEEK},
        {"", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", BUDGET_MONTH},
        {"", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", BUDGET_MONTH},
        {"", "1969-12-31T23:59:59Z", "1969-12-01T00:00:00Z", "1970-01-01T00:00:00Z", BUDGET_MONTH},
        {"Europe/Berlin", "2026-01-31T23:30:00Z", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z",
         BUDGET_MONTH},
        /* a day of 23 hours and one of 25 */
        {"Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z",
         BUDGET_DAY},
        {"Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z",
         BUDGET_DAY},
        {"America/New_York", "2026-03-01T04:59:59Z", "2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z",
         BUDGET_MONTH},
        /* the clocks go from midnight to one: the day begins with one o'clock, west of Greenwich and east of it */
        {"America/Santiago", "2026-09-06T03:15:00Z", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z",
         BUDGET_DAY},
        {"America/Santiago", "2026-09-06T04:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z",
         BUDGET_DAY},
        {"America/Havana", "2026-03-08T04:59:59Z", "2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z",
         BUDGET_DAY},
        {"America/Havana", "2026-03-08T05:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z",
         BUDGET_DAY},
        {"Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z",
         BUDGET_DAY},
        /* and back: from one to midnight, and from midnight to eleven */
        {"America/Havana", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z",
         BUDGET_DAY},
        {"America/Santiago", "2026-04-05T02:30:00Z", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z",
         BUDGET_DAY},
        {"America/Santiago", "2026-04-05T03:30:00Z", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z",
         BUDGET_DAY},
        {"Asia/Kathmandu", "2026-03-05T18:15:00Z", "2026-03-05T18:15:00Z", "2026-03-06T18:15:00Z",
         BUDGET_DAY},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        const struct zone *z = zone_load(a, str_of(rows[i].zone), &e);
        int64_t begin, end;
        ck_assert_msg(z != NULL, "%s", e.message);
        period_bounds(z, rows[i].period, at(rows[i].now), &begin, &end);
        ck_assert_msg(begin == at(rows[i].begin) && end == at(rows[i].end), "row %zu: %lld %lld", i,
                      (long long)begin, (long long)end);
    }
    arena_free(a);
}
END_TEST

START_TEST(hours_begin_by_the_clocks_of_the_place)
{
    static const struct {
        const char *zone, *now, *begin, *end;
    } rows[] = {
        {"UTC", "2026-03-05T18:15:00Z", "2026-03-05T18:00:00Z", "2026-03-05T19:00:00Z"},
        {"Europe/Berlin", "2026-03-05T18:15:00Z", "2026-03-05T18:00:00Z", "2026-03-05T19:00:00Z"},
        {"Asia/Kolkata", "2026-03-05T18:29:59Z", "2026-03-05T17:30:00Z", "2026-03-05T18:30:00Z"},
        {"Asia/Kolkata", "2026-03-05T18:30:00Z", "2026-03-05T18:30:00Z", "2026-03-05T19:30:00Z"},
        {"Asia/Kathmandu", "2026-03-05T18:00:00Z", "2026-03-05T17:15:00Z", "2026-03-05T18:15:00Z"},
        /* clocks that change with the hour: it is only another one */
        {"Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
        {"Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
        /* by half an hour: back from two to half past one, and forward from two to half past two */
        {"Australia/Lord_Howe", "2026-04-04T14:59:59Z", "2026-04-04T14:00:00Z",
         "2026-04-04T15:00:00Z"},
        {"Australia/Lord_Howe", "2026-04-04T15:00:00Z", "2026-04-04T15:00:00Z",
         "2026-04-04T15:30:00Z"},
        {"Australia/Lord_Howe", "2026-10-03T15:29:59Z", "2026-10-03T14:30:00Z",
         "2026-10-03T15:30:00Z"},
        {"Australia/Lord_Howe", "2026-10-03T15:45:00Z", "2026-10-03T15:30:00Z",
         "2026-10-03T16:00:00Z"},
    };
    struct arena *a = arena_new();
    int64_t begin, end;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        const struct zone *z = zone_load(a, str_of(rows[i].zone), &e);
        ck_assert_msg(z != NULL, "%s", e.message);
        hour_bounds(z, at(rows[i].now), &begin, &end);
        ck_assert_msg(begin == at(rows[i].begin) && end == at(rows[i].end), "row %zu: %lld %lld", i,
                      (long long)begin, (long long)end);
    }
    hour_bounds(NULL, 3600000 * 5 - 1, &begin, &end);
    ck_assert(begin == 3600000 * 4 && end == 3600000 * 5);
    arena_free(a);
}
END_TEST

START_TEST(entries_are_checked_and_read_back)
{
    static const struct {
        const char *entry, *field;
    } bad[] = {
        {"{'subject':'k','limit_usd':-1}", "budgets.b.limit_usd"},
        {"{'subject':'k'}", "budgets.b.limit_usd"},
        {"{'limit_usd':1}", "budgets.b.subject"},
        {"{'scope':'all','subject':'k','limit_usd':1}", "budgets.b.subject"},
        {"{'scope':'team','subject':'k','limit_usd':1}", "budgets.b.scope"},
        {"{'subject':'k','limit_usd':1,'period':'hour'}", "budgets.b.period"},
        {"{'subject':'k','limit_usd':1,'time_zone':'Mars/Base'}", "budgets.b.time_zone"},
        {"{'subject':'k','limit_usd':1,'warn_percent':101}", "budgets.b.warn_percent"},
        {"{'subject':'k','limit_usd':1,'action':'beg'}", "budgets.b.action"},
        {"{'subject':'k','limit_usd':1,'limits':2}", "budgets.b.limits"},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = ERR_INIT;
        struct budget b;
        yyjson_val *v;
        struct str s = str_dup(a, str_of(bad[i].entry));
        for (size_t k = 0; k < s.n; k++)
            if (s.p[k] == '\'')
                memset((void *)(uintptr_t)(s.p + k), '"', 1);
        ck_assert(json_parse(a, s, 0, &v, &e));
        ck_assert_msg(!budget_read(a, STR("b"), v, "budgets.b", &b, &e), "%s", bad[i].entry);
        ck_assert_str_eq(e.field, bad[i].field);
    }
    struct budget b = budget_of(a,
                                "{'scope':'tag','subject':'x','limit_usd':0.1,'period':'day',"
                                "'time_zone':'Europe/Berlin','action':'warn','cut_streams':true}");
    struct buf out;
    buf_init_arena(&out, a, 4096);
    struct jw w = jw_on(&out);
    budget_write(&w, &b);
    check_text(
        buf_str(&out),
        "{\"scope\":\"tag\",\"subject\":\"x\",\"period\":\"day\",\"time_zone\":\"Europe/Berlin\","
        "\"limit_usd\":0.1,\"warn_percent\":80,\"action\":\"warn\",\"cut_streams\":true}");
    ck_assert_int_eq(b.limit_nanousd, 100000000);
    arena_free(a);
}
END_TEST

START_TEST(a_hold_is_taken_on_all_or_none)
{
    struct arena *a = arena_new();
    struct budgets *r = budgets_new();
    struct budget wide = budget_of(a, "{'scope':'org','subject':'o','limit_usd':10}"),
                  tight = budget_of(a, "{'subject':'k','limit_usd':1}");
    tight.name = STR("tight");
    wide.state = budgets_state(r, &wide);
    tight.state = budgets_state(r, &tight);
    ck_assert_ptr_ne(wide.state, tight.state);
    const struct budget *both[] = {&wide, &tight, NULL}, *by = NULL;
    struct hold one, two;
    int64_t now = at("2026-03-05T12:00:00Z");
    ck_assert(hold_take(&one, both, 600000000, now, &by));
    ck_assert(!hold_take(&two, both, 600000000, now, &by));
    ck_assert_ptr_eq(by, &tight);
    ck_assert_int_eq(budget_look(&wide, now).held, 600000000); /* nothing of the second */
    ck_assert_int_eq(budget_look(&tight, now).refused, 1);
    ck_assert(hold_grow(&one, 400000000, now, &by));
    ck_assert(!hold_grow(&one, 1, now, &by));
    hold_settle(&one, 250000000, now);
    hold_settle(&one, 250000000, now); /* once */
    ck_assert_int_eq(budget_look(&tight, now).spent, 250000000);
    ck_assert_int_eq(budget_look(&tight, now).held, 0);
    ck_assert_int_eq(budget_look(&wide, now).spent, 250000000);
    ck_assert(hold_take(&two, both, 750000000, now, &by));
    check_text(budget_warnings(a, both, now), "tight");
    /* the next month begins with nothing spent, what runs stays held */
    now = at("2026-04-01T00:00:00Z");
    ck_assert_int_eq(budget_look(&tight, now).spent, 0);
    ck_assert_int_eq(budget_look(&tight, now).held, 750000000);
    hold_settle(&two, 900000000, now); /* more than was held */
    ck_assert_int_eq(budget_look(&tight, now).spent, 900000000);
    budgets_free(r);
    arena_free(a);
}
END_TEST

/* A clock that jumps into the next period and back forgets nothing that was spent. */
START_TEST(a_clock_set_back_forgets_nothing)
{
    struct arena *a = arena_new();
    struct budgets *r = budgets_new();
    struct budget day = budget_of(a, "{'subject':'k','limit_usd':1,'period':'day'}");
    day.state = budgets_state(r, &day);
    const struct budget *list[] = {&day, NULL}, *by = NULL;
    struct hold h, running;
    int64_t now = at("2026-03-05T12:00:00Z"), later = at("2026-03-07T12:00:00Z");
    ck_assert(hold_take(&h, list, 700000000, now, &by));
    hold_settle(&h, 700000000, now);
    ck_assert(hold_take(&running, list, 100000000, now, &by));
    ck_assert(hold_take(&h, list, 150000000, later, &by)); /* the jump */
    hold_settle(&h, 150000000, later);
    ck_assert_int_eq(budget_look(&day, later).spent, 150000000);
    struct budget_view v = budget_look(&day, now); /* and back */
    ck_assert_int_eq(v.spent, 850000000);
    ck_assert_int_eq(v.held, 100000000);
    ck_assert_int_eq(v.ends_ms, at("2026-03-06T00:00:00Z"));
    ck_assert(!hold_take(&h, list, 50000001, now, &by));
    hold_settle(&running, 100000000, now);
    /* a day it never was in */
    ck_assert_int_eq(budget_look(&day, at("2026-03-01T12:00:00Z")).spent, 950000000);
    ck_assert_int_eq(budget_look(&day, at("2026-03-02T00:00:00Z")).spent, 0);
    /* a time that was read a moment before another loop began the day stays in the day */
    ck_assert_int_eq(budget_look(&day, at("2026-03-01T23:59:59Z")).begins_ms,
                     at("2026-03-02T00:00:00Z"));
    budgets_free(r);
    arena_free(a);
}
END_TEST

/* One that is not enabled counts, so that it is right when it is enabled; one that the configuration lost is read anew. */
START_TEST(what_is_not_enabled_counts_and_refuses_nothing)
{
    struct arena *a = arena_new();
    struct budgets *r = budgets_new();
    struct budget b = budget_of(a, "{'subject':'k','limit_usd':1,'enabled':false}"), *all[] = {&b};
    const struct budget *list[] = {&b, NULL}, *by = NULL;
    struct hold h;
    int64_t now = at("2026-03-05T12:00:00Z");
    b.state = budgets_state(r, &b);
    ck_assert(!budget_is_counting(r, &b));
    budgets_turn(r, all, 1);
    ck_assert(budget_is_counting(r, &b));
    ck_assert(hold_take(&h, list, 700000000, now, &by));
    hold_settle(&h, 700000000, now);
    ck_assert(hold_take(&h, list, 900000000, now, &by));
    hold_settle(&h, 200000000, now);
    check_text(budget_warnings(a, list, now), "");
    b.is_enabled = true;
    budgets_turn(r, all, 1);
    ck_assert(budget_is_counting(r, &b));
    ck_assert_int_eq(budget_look(&b, now).spent, 900000000);
    ck_assert(!hold_take(&h, list, 100000001, now, &by));
    check_text(budget_warnings(a, list, now), "b");
    budgets_turn(r, all, 0);
    ck_assert(!budget_is_counting(r, &b));
    budgets_free(r);
    arena_free(a);
}
END_TEST

START_TEST(every_budget_that_is_nearly_spent_is_named_and_counted)
{
    static const struct {
        const char *entry, *name;
    } rows[] = {
        {"{'scope':'all','limit_usd':1,'action':'warn'}", "open"},
        {"{'scope':'all','limit_usd':100,'warn_percent':1}", "far"},
        {"{'scope':'all','limit_usd':10}", "near"},
        {"{'scope':'all','limit_usd':10,'warn_percent':0}", "mute"},
        {"{'scope':'all','limit_usd':10,'enabled':false}", "off"},
        {"{'scope':'all','limit_usd':12}", "roomy"},
    };
    struct arena *a = arena_new();
    struct budgets *r = budgets_new();
    struct budget v[ARRAY_LEN(rows)];
    const struct budget *list[ARRAY_LEN(rows) + 1] = {NULL}, *by = NULL;
    int64_t now = at("2026-03-05T12:00:00Z");
    struct hold h;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        v[i] = budget_of(a, rows[i].entry);
        v[i].name = str_of(rows[i].name);
        v[i].state = budgets_state(r, &v[i]);
        list[i] = &v[i];
    }
    check_text(budget_warnings(a, list, now), "");
    ck_assert(hold_take(&h, list, 9000000000, now, &by));
    check_text(budget_warnings(a, list, now), "far, near, open"); /* those that refuse go first */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_uint_eq(budget_look(&v[i], now).warned, i < 3);
    hold_settle(&h, 0, now);
    budgets_free(r);
    arena_free(a);
}
END_TEST

START_TEST(refusals_say_when_to_come_back)
{
    struct arena *a = arena_new();
    struct budgets *r = budgets_new();
    struct budget day = budget_of(a, "{'subject':'k','limit_usd':1,'period':'day'}"),
                  ever = budget_of(a, "{'subject':'k','limit_usd':0,'period':'ever'}"),
                  warns = budget_of(a, "{'subject':'k','limit_usd':0,'action':'warn'}");
    struct budget *all[] = {&day, &ever, &warns};
    int64_t now = at("2026-03-05T23:00:00Z");
    struct hold h;
    const struct budget *by = NULL;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i]->state = budgets_state(r, all[i]);
    const struct budget *list[] = {&day, NULL};
    ck_assert(!hold_take(&h, list, 1000000001, now, &by));
    ck_assert(!budget_refusal(by, now, &e));
    ck_assert_int_eq(err_status(&e), 429);
    ck_assert_int_eq(e.retry_after_ms, 3600000);
    list[0] = &ever;
    ck_assert(!hold_take(&h, list, 0, now, &by)); /* nothing is left, not even for what is free */
    ck_assert(!budget_refusal(by, now, &e));
    ck_assert_int_eq(err_status(&e), 402);
    list[0] = &warns;
    ck_assert(hold_take(&h, list, 5000000000, now, &by));
    check_text(budget_warnings(a, list, now), "b");
    hold_settle(&h, 0, now);
    budgets_free(r);
    arena_free(a);
}
END_TEST

/* ---- many at once ---- */

struct crowd {
    const struct budget *budgets[4];
    _Atomic int64_t settled;
    _Atomic bool is_over; /* the limit was passed at some moment */
    _Atomic int stop;
};
struct worker {
    struct crowd *c;
    uint64_t seed;
    pthread_t thread;
};

static uint64_t next(uint64_t *s) /* splitmix64 */
{
    uint64_t x = *s += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void *spend(void *arg)
{
    struct worker *w = arg;
    struct crowd *c = w->c;
    for (int i = 0; i < 4000; i++) {
        struct hold h;
        const struct budget *by = NULL;
        int64_t amount = (int64_t)(next(&w->seed) % 3000), cost;
        if (!hold_take(&h, c->budgets, amount, 1000, &by))
            continue;
        if (next(&w->seed) % 3 == 0)
            (void)!hold_grow(&h, (int64_t)(next(&w->seed) % 500), 1000, &by);
        /* never more than is held: done, failed, or left */
        cost = next(&w->seed) % 4 == 0 ? 0 : (int64_t)(next(&w->seed) % (uint64_t)(h.amount + 1));
        for (size_t b = 0; c->budgets[b]; b++)
            if (atomic_load(&c->budgets[b]->state->committed) > c->budgets[b]->limit_nanousd)
                atomic_store(&c->is_over, true);
        hold_settle(&h, cost, 1000);
        atomic_fetch_add(&c->settled, cost);
    }
    return NULL;
}

START_TEST(no_crowd_passes_a_limit)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct arena *a = arena_new();
        struct budgets *r = budgets_new();
        struct budget all = budget_of(a, "{'scope':'all','limit_usd':0.004}"),
                      org = budget_of(a, "{'scope':'org','subject':'o','limit_usd':0.003}"),
                      key = budget_of(a, "{'subject':'k','limit_usd':0.002}");
        struct crowd c = {.budgets = {&all, &org, &key, NULL}};
        struct worker w[4];
        all.state = budgets_state(r, &all);
        org.state = budgets_state(r, &org);
        key.state = budgets_state(r, &key);
        for (size_t i = 0; i < ARRAY_LEN(w); i++) {
            w[i] = (struct worker){&c, seed * 100 + i, 0};
            ck_assert_int_eq(pthread_create(&w[i].thread, NULL, spend, &w[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_LEN(w); i++)
            pthread_join(w[i].thread, NULL);
        ck_assert(!atomic_load(&c.is_over));
        for (size_t b = 0; c.budgets[b]; b++) {
            struct budget_view v = budget_look(c.budgets[b], 1000);
            ck_assert_int_eq(v.spent, atomic_load(&c.settled)); /* on every ancestor the same */
            ck_assert_int_eq(v.held, 0);                        /* no hold leaks */
            ck_assert_int_le(v.spent, c.budgets[b]->limit_nanousd);
        }
        budgets_free(r);
        arena_free(a);
    }
}
END_TEST

/* The same with tries for less, as for requests that name no maximum: whatever the room looked like, what is held fits what is left. */
static void *try_shares(void *arg)
{
    struct worker *w = arg;
    struct crowd *c = w->c;
    for (int i = 0; i < 4000; i++) {
        struct hold h;
        int64_t room = budget_room(c->budgets, 1000),
                share = room / (int64_t)(1 + next(&w->seed) % 4);
        if (room < 0)
            atomic_store(&c->is_over, true);
        if (!hold_try(&h, c->budgets, share, 1000)) { /* others were faster */
            if (h.is_taken || !hold_try(&h, c->budgets, share / 8, 1000))
                continue;
        }
        for (size_t b = 0; c->budgets[b]; b++)
            if (atomic_load(&c->budgets[b]->state->committed) > c->budgets[b]->limit_nanousd)
                atomic_store(&c->is_over, true);
        int64_t cost = next(&w->seed) % 3
                           ? 0
                           : (int64_t)(next(&w->seed) % (uint64_t)(h.amount / 64 + 1));
        hold_settle(&h, cost, 1000);
        atomic_fetch_add(&c->settled, cost);
    }
    return NULL;
}

START_TEST(shares_of_what_is_left_never_come_to_more)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct arena *a = arena_new();
        struct budgets *r = budgets_new();
        struct budget all = budget_of(a, "{'scope':'all','limit_usd':0.004}"),
                      warns = budget_of(
                          a, "{'scope':'org','subject':'o','limit_usd':0.000001,'action':'warn'}"),
                      key = budget_of(a, "{'subject':'k','limit_usd':0.002}");
        struct crowd c = {.budgets = {&all, &key, NULL}};
        struct worker w[4];
        all.state = budgets_state(r, &all);
        warns.state = budgets_state(r, &warns);
        key.state = budgets_state(r, &key);
        for (size_t i = 0; i < ARRAY_LEN(w); i++) {
            w[i] = (struct worker){&c, seed * 1000 + i, 0};
            ck_assert_int_eq(pthread_create(&w[i].thread, NULL, try_shares, &w[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_LEN(w); i++)
            pthread_join(w[i].thread, NULL);
        ck_assert(!atomic_load(&c.is_over));
        int64_t settled = atomic_load(&c.settled);
        for (size_t b = 0; c.budgets[b]; b++) {
            struct budget_view v = budget_look(c.budgets[b], 1000);
            ck_assert_int_eq(v.spent, settled);
            ck_assert_int_eq(v.held, 0);
            ck_assert_uint_eq(v.refused, 0); /* a try is no refusal */
        }
        /* room is what the tightest that stops has left, to the unit; one that only warns has as much as one likes */
        const struct budget *three[] = {&all, &warns, &key, NULL}, *one[] = {&warns, NULL},
                            *none[] = {NULL};
        int64_t left = budget_room(three, 1000);
        struct hold h, more;
        ck_assert_int_eq(left, 2000000 - settled);
        ck_assert(!hold_try(&h, three, left + 1, 1000) && !h.is_taken);
        ck_assert_int_eq(budget_look(&warns, 1000).held, 0); /* given back */
        ck_assert(left == 0 || hold_try(&h, three, left, 1000));
        ck_assert_int_eq(budget_room(three, 1000), 0);
        ck_assert(!hold_try(&more, three, 1, 1000));
        ck_assert_int_eq(budget_room(one, 1000), INT64_MAX);
        ck_assert_int_eq(budget_room(none, 1000), INT64_MAX);
        ck_assert_int_eq(budget_room(NULL, 1000), INT64_MAX);
        hold_settle(&h, 0, 1000);
        ck_assert_int_eq(budget_room(three, 1000), left);
        budgets_free(r);
        arena_free(a);
    }
}
END_TEST

UNIT_MAIN("budget", shares_of_what_is_left_never_come_to_more,
          what_is_not_enabled_counts_and_refuses_nothing, a_clock_set_back_forgets_nothing,
          periods_begin_where_the_calendar_says, hours_begin_by_the_clocks_of_the_place,
          entries_are_checked_and_read_back, a_hold_is_taken_on_all_or_none,
          every_budget_that_is_nearly_spent_is_named_and_counted, refusals_say_when_to_come_back,
          no_crowd_passes_a_limit)
