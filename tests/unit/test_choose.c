/* Choosing among targets: every strategy, breakers and quota windows, and a million requests whose shares, explanations and recoveries hold.
 * Time, random numbers and outcomes are the test's. */
#include "domain/setting.h"
#include "route/explain.h"
#include "unit.h"
#include <math.h>

#define MEMBERS 4

/* Providers p0…, one model and one combo over them. */
struct rig {
    struct arena *a, *plans;
    struct live *l;
    struct snapshot *s;
    struct provider_kind kind;
    struct upstream u[MEMBERS], *all[MEMBERS];
    struct target t[MEMBERS];
    struct combo combo;
    struct member m[MEMBERS];
    struct model model;
    uint64_t now, seed;
    struct ticket ticket[MEMBERS]; /* of who was let through last */
};

static void rig_init(struct rig *r, enum strategy strategy, size_t n)
{
    static uint32_t ids; /* each rig has breakers of its own */
    *r = (struct rig){.a = arena_new(),
                      .plans = arena_new(),
                      .l = live_new(),
                      .s = snapshot_new(),
                      .now = 1000000,
                      .seed = 7};
    settings_default(&r->s->settings);
    r->kind = *provider_kind_find(STR("openai-compatible"));
    for (size_t i = 0; i < n; i++) {
        r->u[i] = (struct upstream){.name = str_fmt(r->a, "p%zu", i),
                                    .id = ids++ % 4000,
                                    .kind = &r->kind,
                                    .is_enabled = true,
                                    .is_measured = true};
        r->all[i] = &r->u[i];
        r->t[i] = (struct target){
            .upstream = &r->u[i], .model = STR("m"), .weight = 1, .price_nanousd = -1};
        r->t[i].lane = live_lane(&r->t[i]);
        r->m[i] = (struct member){.model = STR("m"),
                                  .provider = r->u[i].name,
                                  .weight = 1,
                                  .price_nanousd = -1,
                                  .is_enabled = true,
                                  .targets = &r->t[i],
                                  .n_targets = 1};
    }
    r->s->upstreams = r->all;
    r->s->n_upstreams = n;
    r->combo = (struct combo){.name = STR("k"),
                              .strategy = strategy,
                              .members = r->m,
                              .n_members = n,
                              .sticky_limit = 1,
                              .weights = auto_usual,
                              .is_enabled = true};
    r->combo.weights.explore = 0;
    r->model = (struct model){.name = STR("k"),
                              .group = &r->combo,
                              .n_targets = n,
                              .targets = r->t,
                              .face = MODEL_OF_COMBO};
}

static void rig_done(struct rig *r)
{
    live_free(r->l);
    snapshot_unref(r->s);
    arena_free(r->plans);
    arena_free(r->a);
}

static struct plan plan_with(struct rig *r, bool is_real, uint64_t sticky)
{
    struct plan p;
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    const struct choose_ask ask = {.model = &r->model,
                                   .set = &r->s->settings,
                                   .now_ms = r->now,
                                   .seed = r->seed,
                                   .sticky = sticky,
                                   .is_real = is_real};
    choose(r->plans, r->l, &ask, &p);
    return p;
}

/* The member that is asked first. */
static size_t first(struct rig *r)
{
    struct plan p = plan_with(r, true, 0);
    ck_assert_uint_gt(p.n, 0);
    return (size_t)(p.v[0].target - r->t);
}

static void tell(struct rig *r, size_t i, enum fault f, int status, int64_t retry_ms)
{
    live_report(r->l, &r->t[i], &r->ticket[i], &(struct outcome){f, status, retry_ms},
                &r->s->settings, r->now);
}

static bool admits(struct rig *r, size_t i)
{
    struct ticket t;
    bool ok = live_admit(r->l, &r->t[i], &r->s->settings, false, r->now, &t);
    if (ok)
        r->ticket[i] = t;
    return ok;
}

static uint64_t wait_of(struct rig *r, size_t i)
{
    return live_standing(r->l, &r->t[i], &r->s->settings, r->now).wait_ms;
}

START_TEST(priority_goes_down_the_list_and_round_robin_around_it)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 3);
    r.m[2].priority = -1;
    struct plan p = plan_with(&r, true, 0);
    ck_assert(p.v[0].target == &r.t[2] && p.v[1].target == &r.t[0] && p.v[2].target == &r.t[1]);
    rig_done(&r);
    rig_init(&r, STRATEGY_ROUND_ROBIN, 2);
    r.combo.sticky_limit = 3;
    static const size_t turns[] = {0, 0, 0, 1, 1, 1, 0};
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        (void)plan_with(&r, false, 0); /* looking on takes no turn */
        ck_assert_uint_eq(first(&r), turns[i]);
    }
    rig_done(&r);
}
END_TEST

START_TEST(strict_random_asks_each_once_a_round_and_nobody_twice_running)
{
    struct rig r;
    rig_init(&r, STRATEGY_STRICT_RANDOM, 3);
    size_t last = 9, orders = 0, was = 0;
    for (size_t round = 0; round < 500; round++) {
        size_t seen = 0, order = 0;
        for (size_t i = 0; i < 3; i++) {
            size_t f = first(&r);
            ck_assert_uint_ne(f, last);
            seen |= 1u << f;
            order = order * 3 + f;
            last = f;
        }
        ck_assert_uint_eq(seen, 7);
        orders += order != was;
        was = order;
    }
    ck_assert_uint_gt(orders, 200);
    rig_done(&r);
}
END_TEST

START_TEST(cost_use_and_latency_decide)
{
    struct rig r;
    rig_init(&r, STRATEGY_COST, 3);
    r.m[1].price_nanousd = 500;
    r.m[2].price_nanousd = 100;
    struct plan p = plan_with(&r, true, 0);
    ck_assert(p.v[0].target == &r.t[2] && p.v[1].target == &r.t[1] && p.v[2].target == &r.t[0]);
    r.combo.strategy = STRATEGY_LEAST_USED;
    for (size_t i = 0; i < 3; i++) /* the third is used twice, the second is busy */
        ck_assert(live_enter(r.l, &r.t[2], 0, r.now));
    live_leave(r.l, &r.t[2]);
    live_leave(r.l, &r.t[2]);
    live_leave(r.l, &r.t[2]);
    ck_assert(live_enter(r.l, &r.t[1], 0, r.now));
    p = plan_with(&r, true, 0);
    ck_assert(p.v[0].target == &r.t[0] && p.v[1].target == &r.t[2] && p.v[2].target == &r.t[1]);
    live_leave(r.l, &r.t[1]);
    r.combo.strategy = STRATEGY_LATENCY;
    for (size_t i = 0; i < 3; i++)
        live_first_byte(r.l, &r.t[i], i == 1 ? 1000 : 900000, r.now);
    size_t fast = 0;
    for (size_t i = 0; i < 300; i++)
        fast += first(&r) == 1;
    ck_assert_uint_gt(fast, 170); /* two of three draws hold it */
    ck_assert_uint_lt(fast, 240);
    r.combo.strategy = STRATEGY_AUTO;
    ck_assert_uint_eq(first(&r), 2); /* cheapest, and as healthy as the rest */
    rig_done(&r);
}
END_TEST

START_TEST(a_breaker_backs_off_forgets_and_lets_one_through)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    static const uint64_t waits[] = {3000, 6000, 12000, 24000, 48000, 60000, 60000};
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        tell(&r, 0, FAULT_OVERLOAD, 503, -1);
        tell(&r, 0, FAULT_OVERLOAD, 503, -1); /* of the same moment: not twice */
        ck_assert_uint_eq(wait_of(&r, 0), waits[i]);
        ck_assert(!admits(&r, 0));
        r.now += waits[i];
        ck_assert(admits(&r, 0));
        ck_assert(!admits(&r, 0)); /* one probe */
        ck_assert_uint_eq(first(&r), 1);
    }
    tell(&r, 0, FAULT_NONE, 200, -1);
    ck_assert(admits(&r, 0) && admits(&r, 0) && first(&r) == 0);
    tell(&r, 0, FAULT_OVERLOAD, 503, -1);
    ck_assert_uint_eq(wait_of(&r, 0), 3000); /* success forgets */
    r.now += 3000 + (uint64_t)r.s->settings.breaker_quiet_ms + 1;
    tell(&r, 0, FAULT_OVERLOAD, 503, -1);
    ck_assert_uint_eq(wait_of(&r, 0), 3000); /* and so does quiet */
    ck_assert_uint_eq(live_reset(r.l, r.u[0].id, STR("m"), r.now), 1);
    ck_assert_uint_eq(wait_of(&r, 0), 0);
    tell(&r, 0, FAULT_QUOTA_WINDOW, 429, 300000);
    ck_assert_uint_eq(wait_of(&r, 0), 300000); /* exactly */
    tell(&r, 1, FAULT_QUOTA_WINDOW, 429, -1);
    ck_assert_uint_eq(wait_of(&r, 1), 1000);
    r.now += 1000;
    tell(&r, 1, FAULT_QUOTA_WINDOW, 429, -1);
    ck_assert_uint_eq(wait_of(&r, 1), 2000);
    rig_done(&r);
}
END_TEST

START_TEST(an_answer_from_before_it_opened_closes_nothing)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    ck_assert(admits(&r, 0));
    struct ticket old = r.ticket[0];
    r.now += 100;
    ck_assert(admits(&r, 0));
    tell(&r, 0, FAULT_QUOTA_WINDOW, 429, 60000);
    r.now += 1000;
    r.ticket[0] = old;
    tell(&r, 0, FAULT_NONE, 200, -1);
    ck_assert_uint_eq(wait_of(&r, 0), 59000);
    tell(&r, 0, FAULT_CLIENT, 400, -1); /* which is an answer, too */
    ck_assert(!admits(&r, 0));
    r.now += 59000;
    tell(&r, 0, FAULT_NONE, 200, -1);
    ck_assert(admits(&r, 0) && !admits(&r, 0)); /* half-open all the same: one sees */
    tell(&r, 0, FAULT_NONE, 200, -1);
    ck_assert(admits(&r, 0) && admits(&r, 0));
    /* failures that have not opened it are in a row: any answer comes between them */
    r.s->settings.breaker_failures = 2;
    for (int i = 0; i < 5; i++) {
        tell(&r, 0, FAULT_OVERLOAD, 503, -1);
        ck_assert_uint_eq(wait_of(&r, 0), 0);
        r.ticket[0] = old;
        tell(&r, 0, FAULT_NONE, 200, -1);
    }
    rig_done(&r);
}
END_TEST

START_TEST(a_probe_is_ended_by_nobody_else)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    ck_assert(admits(&r, 0));
    struct ticket old = r.ticket[0], probe;
    tell(&r, 0, FAULT_QUOTA_WINDOW, 429, 1000);
    r.now += 1000;
    ck_assert(admits(&r, 0));
    probe = r.ticket[0];
    ck_assert(probe.is_probe && !old.is_probe);
    live_give_up(r.l, &r.t[0], &old); /* its client left */
    ck_assert(!admits(&r, 0));
    live_report(r.l, &r.t[0], &old, &(struct outcome){FAULT_NONE, 200, -1}, &r.s->settings, r.now);
    ck_assert(!admits(&r, 0));
    /* nobody heard of it again: another one sees, and the lost one does not end that */
    r.now += 121000;
    ck_assert(admits(&r, 0));
    live_give_up(r.l, &r.t[0], &probe);
    ck_assert(!admits(&r, 0));
    live_give_up(r.l, &r.t[0], &r.ticket[0]);
    ck_assert(admits(&r, 0));
    rig_done(&r);
}
END_TEST

START_TEST(everybody_has_counters_of_their_own)
{
    struct live *l = live_new();
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t index = i * 4096; /* as hashes fall: alike in some of their bits */
        ck_assert_uint_eq(live_turn(l, index, true), 0);
        ck_assert(live_hedge_take(l, index, 1) && !live_hedge_take(l, index, 1));
    }
    for (uint32_t i = 0; i < 5000; i++)
        ck_assert_uint_eq(live_turn(l, i * 4096, false), 1);
    live_free(l);
}
END_TEST

START_TEST(a_models_place_in_its_round_is_the_same_in_every_process)
{
    struct settings set;
    struct arena *a = arena_new();
    settings_default(&set);
    /* of SHA-256, not of a hash with a seed of this process */
    ck_assert_uint_eq(combo_of_targets(a, &(struct model){.name = STR("m3")}, &set)->index,
                      0x730bea5fu);
    arena_free(a);
}
END_TEST

START_TEST(what_a_fault_concerns)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    struct target other = r.t[0];
    other.model = STR("other");
    other.lane = 0;
    struct secret keys[2] = {secret_of(STR("one")), secret_of(STR("two"))};
    _Atomic uint32_t turn = 0;
    for (int i = 0; i < 2; i++) { /* plain errors: three in a row */
        tell(&r, 1, FAULT_SERVER, 500, -1);
        ck_assert_uint_eq(wait_of(&r, 1), 0);
    }
    tell(&r, 1, FAULT_SERVER, 500, -1);
    ck_assert_uint_gt(wait_of(&r, 1), 0);
    tell(&r, 0, FAULT_CLIENT, 400, -1); /* the caller's mistake is nobody's */
    ck_assert_uint_eq(wait_of(&r, 0), 0);
    tell(&r, 0, FAULT_MODEL, 404, -1); /* of one model */
    ck_assert_uint_gt(wait_of(&r, 0), 0);
    ck_assert_uint_eq(live_standing(r.l, &other, &r.s->settings, r.now).wait_ms, 0);
    tell(&r, 0, FAULT_TRANSPORT, 0, -1); /* of the whole upstream */
    ck_assert_uint_eq(live_standing(r.l, &other, &r.s->settings, r.now).wait_ms, 3000);
    ck_assert_uint_gt(live_cooling_ms(r.l, &r.u[0], r.now), 3000);
    (void)live_reset(r.l, UINT32_MAX, STR_NONE, r.now);
    r.u[0].keys = keys;
    r.u[0].n_keys = 2;
    r.u[0].next_key = &turn;
    tell(&r, 0, FAULT_AUTH, 401, -1); /* of one credential: the other one serves */
    ck_assert_uint_eq(wait_of(&r, 0), 0);
    for (int i = 0; i < 4; i++)
        ck_assert(admits(&r, 0) && r.ticket[0].key == 1);
    rig_done(&r);
}
END_TEST

START_TEST(a_403_is_of_its_model_and_of_a_second_one_the_credentials)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    struct target second = r.t[0], third = r.t[0];
    second.model = STR("second");
    third.model = STR("third");
    second.lane = third.lane = 0;
    const struct outcome refused = {FAULT_AUTH, 403, -1}, well = {FAULT_NONE, 200, -1};
    const struct settings *set = &r.s->settings;
    for (int i = 0; i < 5; i++) { /* however often */
        r.now += 130000;
        live_report(r.l, &r.t[0], &r.ticket[0], &refused, set, r.now);
        ck_assert_uint_eq(wait_of(&r, 0), 120000);
        ck_assert_int_eq(live_standing(r.l, &second, set, r.now).kind, STANDING_READY);
    }
    /* an answer in between: the credential is good */
    r.ticket[0].at_ms = r.now + 1;
    live_report(r.l, &third, &r.ticket[0], &well, set, r.now + 2);
    live_report(r.l, &second, &r.ticket[0], &refused, set, r.now + 3);
    ck_assert_int_eq(live_standing(r.l, &third, set, r.now + 3).kind, STANDING_READY);
    live_report(r.l, &second, &r.ticket[0], &refused, set, r.now + 4);
    ck_assert_int_eq(live_standing(r.l, &third, set, r.now + 4).kind, STANDING_READY);
    /* of two in a row: every model of it */
    (void)live_reset(r.l, UINT32_MAX, STR_NONE, r.now);
    live_report(r.l, &r.t[0], &r.ticket[0], &(struct outcome){FAULT_AUTH, 403, 60000}, set, r.now);
    ck_assert_uint_eq(wait_of(&r, 0), 60000);
    ck_assert_int_eq(live_standing(r.l, &third, set, r.now).kind, STANDING_READY);
    live_report(r.l, &second, &r.ticket[0], &refused, set, r.now);
    ck_assert_uint_eq(live_standing(r.l, &third, set, r.now).wait_ms, 120000);
    /* a key that is refused as such needs no second one */
    live_report(r.l, &r.t[1], &r.ticket[1], &(struct outcome){FAULT_AUTH, 401, -1}, set, r.now);
    third.upstream = r.t[1].upstream;
    ck_assert_uint_eq(live_standing(r.l, &third, set, r.now).wait_ms, 120000);
    rig_done(&r);
}
END_TEST

START_TEST(breakers_outlive_the_process)
{
    struct rig r;
    struct breaker_info *b;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    uint64_t version = live_version(r.l);
    tell(&r, 0, FAULT_OVERLOAD, 503, 20000);
    ck_assert_uint_ne(live_version(r.l), version);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 1);
    ck_assert(b->state == BREAKER_OPEN && b->wait_ms == 20000 && b->key == 0 &&
              str_is(str_of(b->model), "m"));
    struct live *fresh = live_new();
    live_restore(fresh, b, r.now);
    ck_assert_uint_eq(live_standing(fresh, &r.t[0], &r.s->settings, r.now).wait_ms, 20000);
    ck_assert(!live_admit(fresh, &r.t[0], &r.s->settings, false, r.now, &r.ticket[0]));
    live_free(fresh);
    rig_done(&r);
}
END_TEST

/* An upstream as another snapshot has it: with these credentials at that address. */
static struct target at(struct rig *r, struct str name, uint32_t id, uint64_t address, size_t n,
                        const uint64_t *marks)
{
    struct upstream *u = ARENA_NEW(r->a, struct upstream);
    *u = r->u[0];
    u->name = name;
    u->uid = STR("one");
    u->id = id;
    u->address_mark = address;
    u->keys = ARENA_ARRAY(r->a, struct secret, n);
    u->n_keys = n;
    u->next_key = ARENA_NEW(r->a, _Atomic uint32_t);
    u->marks = ARENA_ARRAY(r->a, uint64_t, n);
    memcpy(u->marks, marks, n * sizeof *marks);
    return (struct target){.upstream = u, .model = STR("m"), .weight = 1, .price_nanousd = -1};
}

static void put_in_force(struct rig *r, const struct target *t)
{
    r->all[0] = (struct upstream *)(uintptr_t)t->upstream;
    r->s->n_upstreams = 1;
    (void)!live_bind(r->l, r->s);
}

/* Which of its credentials is asked, several times over; -1: none. */
static int used(struct rig *r, const struct target *t)
{
    struct ticket k;
    int one = -1;
    for (int i = 0; i < 4; i++) {
        if (!live_admit(r->l, t, &r->s->settings, false, r->now, &k))
            return -1;
        ck_assert(i == 0 || one == (int)k.key);
        one = (int)k.key;
    }
    return one;
}

static void fails_with(struct rig *r, const struct target *t, uint32_t key, enum fault f,
                       int status)
{
    struct ticket k = {.key = key, .at_ms = r->now};
    live_report(r->l, t, &k, &(struct outcome){f, status, f == FAULT_QUOTA_WINDOW ? 3600000 : -1},
                &r->s->settings, r->now);
}

START_TEST(what_is_known_is_of_a_credential_not_of_a_place)
{
    static const uint64_t bad_good[] = {11, 22}, good_bad[] = {22, 11}, good[] = {22},
                          fresh[] = {33}, there[] = {111, 133};
    struct rig r;
    struct breaker_info *b;
    rig_init(&r, STRATEGY_PRIORITY, 1);
    const struct target was = at(&r, STR("a"), r.u[0].id, 7, 2, bad_good);
    put_in_force(&r, &was);
    fails_with(&r, &was, 0, FAULT_QUOTA_WINDOW, 429);
    ck_assert_int_eq(used(&r, &was), 1);
    /* merely moved: it keeps what it has */
    const struct target moved = at(&r, STR("a"), r.u[0].id, 7, 2, good_bad);
    uint64_t version = live_version(r.l);
    put_in_force(&r, &moved);
    ck_assert_uint_eq(live_version(r.l), version);
    ck_assert_int_eq(used(&r, &moved), 0);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 1);
    ck_assert(b->key == 1 && b->mark == 11 && b->upstream == moved.upstream);
    /* renamed, with another id: the same */
    const struct target renamed = at(&r, STR("b"), r.u[0].id + 1, 7, 2, bad_good);
    put_in_force(&r, &renamed);
    ck_assert_int_eq(used(&r, &renamed), 1);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 1);
    ck_assert(b->key == 0 && b->wait_ms == 3600000);
    ck_assert_uint_eq(live_cooling_ms(r.l, renamed.upstream, r.now), 3600000);
    /* taken out: the good one stands in its place */
    const struct target alone = at(&r, STR("b"), r.u[0].id + 1, 7, 1, good);
    put_in_force(&r, &alone);
    ck_assert_int_eq(live_standing(r.l, &alone, &r.s->settings, r.now).kind, STANDING_READY);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 0);
    ck_assert_uint_eq(live_cooling_ms(r.l, alone.upstream, r.now), 0);
    /* forgotten with it: put back, it is asked */
    put_in_force(&r, &renamed);
    ck_assert(live_standing(r.l, &renamed, &r.s->settings, r.now).kind == STANDING_READY);
    /* a good one in the place of the bad one, while a request of before is under way */
    fails_with(&r, &renamed, 0, FAULT_AUTH, 401);
    ck_assert_int_eq(used(&r, &renamed), 1);
    const struct target replaced = at(&r, STR("b"), r.u[0].id + 1, 7, 1, fresh);
    put_in_force(&r, &replaced);
    fails_with(&r, &renamed, 0, FAULT_AUTH, 401);
    ck_assert_int_eq(used(&r, &replaced), 0);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 0);
    ck_assert_uint_eq(live_cooling_ms(r.l, replaced.upstream, r.now), 0);
    /* another address: that the old one could not be reached says nothing of it */
    for (int i = 0; i < 3; i++)
        fails_with(&r, &replaced, 0, FAULT_TRANSPORT, 0);
    ck_assert_int_eq(used(&r, &replaced), -1);
    const struct target elsewhere = at(&r, STR("b"), r.u[0].id + 1, 8, 2, there);
    put_in_force(&r, &elsewhere);
    ck_assert_int_eq(live_standing(r.l, &elsewhere, &r.s->settings, r.now).kind, STANDING_READY);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 0);
    rig_done(&r);
}
END_TEST

START_TEST(quota_windows_are_of_a_credential_and_reset_with_their_provider)
{
    static const uint64_t bad_good[] = {11, 22}, good_bad[] = {22, 11}, good[] = {22};
    static const struct quota_window full = {QUOTA_WEEK, 1, 400000000};
    struct quota_window v[QUOTA_WINDOWS];
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 1);
    const uint32_t id = r.u[0].id;
    const struct target was = at(&r, STR("a"), id, 7, 2, bad_good),
                        moved = at(&r, STR("a"), id, 7, 2, good_bad),
                        renamed = at(&r, STR("b"), id + 1, 7, 2, good_bad),
                        alone = at(&r, STR("b"), id + 1, 7, 1, good);
    put_in_force(&r, &was);
    live_note_quota(r.l, &was, 0, &full, 1, r.now);
    ck_assert_int_eq(used(&r, &was), 1);
    put_in_force(&r, &moved);
    ck_assert_int_eq(used(&r, &moved), 0);
    put_in_force(&r, &renamed);
    ck_assert_int_eq(used(&r, &renamed), 0);
    ck_assert_uint_eq(live_quota(r.l, renamed.upstream, 1, r.now, v), 1);
    ck_assert(v[0].name == QUOTA_WEEK && v[0].reset_ms == full.reset_ms);
    put_in_force(&r, &alone);
    ck_assert_int_eq(used(&r, &alone), 0);
    put_in_force(&r, &renamed);
    ck_assert_uint_eq(live_quota(r.l, renamed.upstream, 1, r.now, v), 0);
    /* of a model they are not, nor of another provider */
    live_note_quota(r.l, &renamed, 1, &full, 1, r.now);
    uint64_t version = live_version(r.l);
    ck_assert_uint_eq(live_reset(r.l, id + 1, STR("m"), r.now), 0);
    ck_assert_uint_eq(live_reset(r.l, id, STR_NONE, r.now), 0);
    ck_assert_uint_eq(live_version(r.l), version);
    ck_assert_int_eq(used(&r, &renamed), 0);
    ck_assert_uint_eq(live_reset(r.l, id + 1, STR_NONE, r.now), 1);
    ck_assert_uint_ne(live_version(r.l), version); /* so that none comes back at a restart */
    ck_assert_uint_eq(live_quota(r.l, renamed.upstream, 1, r.now, v), 0);
    /* as long as anything is left alone, whatever a vendor says */
    live_note_quota(r.l, &renamed, 1, &(struct quota_window){QUOTA_WEEK, 1, INT64_MAX}, 1, r.now);
    ck_assert_uint_eq(live_quota(r.l, renamed.upstream, 1, r.now, v), 1);
    ck_assert_int_eq(v[0].reset_ms, 8ll * 86400000);
    rig_done(&r);
}
END_TEST

/* However often keys are replaced, there is room for what is said of them. */
START_TEST(credentials_that_are_gone_leave_their_room)
{
    struct quota_window v[QUOTA_WINDOWS];
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 1);
    for (uint64_t i = 0; i < 6000; i++) {
        const uint64_t mark = 1000 + i;
        const struct target t = at(&r, STR("a"), r.u[0].id, 7, 1, &mark);
        put_in_force(&r, &t);
        live_note_quota(r.l, &t, 0, &(struct quota_window){QUOTA_WEEK, 1, 400000000}, 1, r.now);
        ck_assert_uint_eq(live_quota(r.l, t.upstream, 0, r.now, v), 1);
        ck_assert_int_eq(live_standing(r.l, &t, &r.s->settings, r.now).kind, STANDING_COOLING);
    }
    rig_done(&r);
}
END_TEST

START_TEST(a_request_that_fits_nowhere_is_no_failure)
{
    struct rig r;
    struct breaker_info *b;
    rig_init(&r, STRATEGY_PRIORITY, 1);
    for (int i = 0; i < 20; i++)
        tell(&r, 0, FAULT_UNFIT, 413, 60000);
    ck_assert_int_eq(live_standing(r.l, &r.t[0], &r.s->settings, r.now).kind, STANDING_READY);
    ck_assert_uint_eq(live_breakers(r.l, r.s, r.a, r.now, &b), 0);
    rig_done(&r);
}
END_TEST

START_TEST(quota_windows_are_read_foreseen_and_obeyed)
{
    static const struct {
        struct http_header h[3];
        size_t n;
        enum quota_name name;
        double used;
        int64_t reset_ms;
    } cases[] = {
        {{{STR_INIT("x-ratelimit-limit-requests"), STR_INIT("100")},
          {STR_INIT("x-ratelimit-remaining-requests"), STR_INIT("25")},
          {STR_INIT("x-ratelimit-reset-requests"), STR_INIT("30s")}},
         3,
         QUOTA_REQUESTS,
         0.75,
         30000},
        {{{STR_INIT("anthropic-ratelimit-input-tokens-limit"), STR_INIT("1000")},
          {STR_INIT("anthropic-ratelimit-input-tokens-remaining"), STR_INIT("0")}},
         2,
         QUOTA_TOKENS,
         1,
         -1},
        {{{STR_INIT("anthropic-ratelimit-unified-5h-utilization"), STR_INIT("0.5")},
          {STR_INIT("anthropic-ratelimit-unified-5h-reset"), STR_INIT("1767229200")}},
         2,
         QUOTA_SESSION,
         0.5,
         3600000},
        {{{STR_INIT("x-codex-secondary-used-percent"), STR_INIT("80")},
          {STR_INIT("x-codex-secondary-reset-after-seconds"), STR_INIT("60")}},
         2,
         QUOTA_WEEK,
         0.8,
         60000},
        {{{STR_INIT("x-ratelimit-remaining"), STR_INIT("nonsense")},
          {STR_INIT("x-ratelimit-limit"), STR_INIT("10")}},
         2,
         QUOTA_REQUESTS,
         -1,
         0},
    };
    struct quota_window v[QUOTA_WINDOWS];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n = quota_read(cases[i].h, cases[i].n, 1767225600000, v);
        ck_assert_uint_eq(n, cases[i].used >= 0);
        ck_assert(!n || (v[0].name == cases[i].name && fabs(v[0].used - cases[i].used) < 1e-9 &&
                         v[0].reset_ms == cases[i].reset_ms));
    }
    /* a quarter of five hours gone, half of it used: twice as much as there is */
    const struct quota_window hasty = {QUOTA_SESSION, 0.5, 18000000 * 3 / 4},
                              calm = {QUOTA_SESSION, 0.95, 60000};
    ck_assert_double_eq_tol(quota_forecast(&hasty), 2, 1e-9);
    ck_assert(quota_forecast(&calm) < 1);
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    live_note_quota(r.l, &r.t[0], 0, &calm, 1, r.now);
    ck_assert_uint_eq(first(&r), 0); /* it lasts */
    live_note_quota(r.l, &r.t[0], 0, &(struct quota_window){QUOTA_SESSION, 0.92, 9000000}, 1,
                    r.now);
    ck_assert_uint_eq(first(&r), 1); /* it would run out */
    r.combo.strategy = STRATEGY_FILL_FIRST;
    ck_assert_uint_eq(first(&r), 0); /* which is what is wanted here */
    live_note_quota(r.l, &r.t[0], 0, &(struct quota_window){QUOTA_SESSION, 1, 9000000}, 1, r.now);
    ck_assert_uint_eq(first(&r), 1);
    ck_assert_uint_eq(wait_of(&r, 0), 9000000);
    r.now += 9000000;
    ck_assert_uint_eq(first(&r), 0);
    rig_done(&r);
}
END_TEST

START_TEST(conversations_keep_to_where_they_were)
{
    struct rig r;
    rig_init(&r, STRATEGY_RANDOM, 4);
    live_set_pin(r.l, 77, live_lane(&r.t[2]), r.now);
    for (int i = 0; i < 20; i++) {
        struct plan p = plan_with(&r, true, 77);
        ck_assert(p.is_pinned && p.v[0].target == &r.t[2]);
    }
    tell(&r, 2, FAULT_OVERLOAD, 503, -1); /* as long as it can be asked */
    ck_assert(!plan_with(&r, true, 77).is_pinned);
    r.now += 3600000;
    ck_assert(!plan_with(&r, true, 77).is_pinned); /* and not for ever */
    rig_done(&r);
}
END_TEST

START_TEST(nested_combos_are_opened_in_place_and_what_if_is_answered)
{
    struct rig r, in;
    struct plan p;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    rig_init(&in, STRATEGY_COST, 3);
    in.m[1].price_nanousd = 1;
    r.m[0].combo = &in.combo;
    r.m[0].targets = NULL;
    r.m[0].n_targets = 0;
    p = plan_with(&r, true, 0);
    ck_assert(p.n == 4 && p.v[0].target == &in.t[1] && p.v[3].target == &r.t[1]);
    in.u[0].name = STR("i0");
    in.u[1].name = STR("i1");
    in.u[2].name = STR("i2");
    const struct str down = STR("i1");
    const struct choose_ask ask = {
        .model = &r.model, .set = &r.s->settings, .now_ms = r.now, .down = &down, .n_down = 1};
    choose(r.a, r.l, &ask, &p);
    ck_assert(p.n == 4 && p.n_ready == 3 && p.v[0].target == &in.t[0] &&
              p.v[3].target == &in.t[1] && p.v[3].is_down);
    /* its price is known all the same, and what it was ordered by */
    ck_assert(p.v[3].price_nanousd == 1000000 && p.v[3].score == 1000000.0);
    ck_assert_str_eq(p.v[3].why, "by price");
    ck_assert_str_eq(p.v[0].why, "ahead of those that are out of reach");
    rig_done(&in);
    rig_done(&r);
}
END_TEST

/* ---- a million requests ---- */

/* The breaker of the first member, worked out by the test alone: when it fails, and when it is asked again. */
struct foretold {
    uint64_t opened_ms, wait_ms; /* 0: it is closed */
};

static enum standing_kind foretell(const struct foretold *f, uint64_t now, uint64_t *wait)
{
    *wait = 0;
    if (!f->wait_ms)
        return STANDING_READY;
    if (now >= f->opened_ms + f->wait_ms)
        return STANDING_PROBE;
    *wait = f->opened_ms + f->wait_ms - now;
    return STANDING_COOLING;
}

/* What is written of a choice, read as whoever gets it reads it: in the order of asking, of each how it stood and why it was left, and who
 * answered. */
static void check_told(struct rig *r, const struct plan *p, const char *const *left, size_t served,
                       const struct foretold *f)
{
    struct buf b;
    yyjson_val *root, *one;
    size_t i, max, n_chosen = 0;
    int64_t last_weight = INT64_MAX;
    bool is_before = true;
    buf_init_arena(&b, r->plans, 65536);
    struct jw w = jw_on(&b);
    explain_write(&w, &r->model, p, left, &r->t[served]);
    ck_assert(json_parse(r->plans, buf_str(&b), 0, &root, NULL));
    ck_assert_uint_eq(yyjson_arr_size(json_get(root, "candidates")), MEMBERS);
    yyjson_arr_foreach (json_get(root, "candidates"), i, max, one) {
        static const char *const states[] = {"ready", "probe", "strained", "cooling"};
        size_t m = (size_t)(json_get_str(one, "provider").p[1] - '0');
        uint64_t wait = 0;
        enum standing_kind kind = m == 0 ? foretell(f, r->now, &wait) : STANDING_READY;
        struct str why = json_get_str(one, "left");
        ck_assert(str_eq(json_get_str(one, "state"), str_of(states[kind])));
        ck_assert_int_eq(json_get_int(one, "wait_ms", 0), (int64_t)wait);
        bool is_chosen = json_get_bool(one, "chosen", false);
        n_chosen += is_chosen;
        if (is_chosen) {
            ck_assert_uint_eq(m, served);
            is_before = false;
        } else if (is_before) { /* asked, and left for what came of it */
            ck_assert(m == 0 && str_is(why, "overload"));
        } else {
            ck_assert(why.n == 0);
        }
        /* behind the drawn one by weight, and whoever cools at the end */
        if (kind == STANDING_COOLING)
            ck_assert_uint_eq(i, MEMBERS - 1);
        else if (i > 0)
            ck_assert_int_le(r->m[m].weight, last_weight);
        if (i > 0)
            last_weight = r->m[m].weight;
    }
    ck_assert_uint_eq(n_chosen, 1);
}

START_TEST(a_million_requests)
{
    enum {
        REQUESTS = 1000000,
        CHECKED = 997
    };
    static const int64_t weights[MEMBERS] = {60, 25, 10, 5};
    struct rig r;
    size_t asked[MEMBERS] = {0}, answered[MEMBERS] = {0}, while_down = 0, probes = 0, refused = 0,
           steady[MEMBERS] = {0}, n_steady = 0;
    struct foretold of_first = {0, 0};
    rig_init(&r, STRATEGY_WEIGHTED, MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++)
        r.m[i].weight = weights[i];
    for (size_t i = 0; i < REQUESTS; i++) {
        r.now += i % 2;                           /* two thousand a second, for 500 s */
        bool is_down = i >= 300000 && i < 500000; /* the first member, for 100 s */
        if (i % 64 == 0)
            arena_reset(r.plans);
        uint64_t seed = r.seed;
        struct plan p = plan_with(&r, true, 0);
        if (i % CHECKED == 0) { /* what is told of it beforehand is what happens */
            uint64_t after = r.seed;
            r.seed = seed;
            struct plan told = plan_with(&r, false, 0);
            r.seed = after;
            ck_assert_uint_eq(told.n, p.n);
            for (size_t k = 0; k < p.n; k++)
                ck_assert(told.v[k].target == p.v[k].target && told.v[k].why == p.v[k].why);
        }
        bool is_served = false, is_turn = false;
        const char *left[MEMBERS] = {NULL};
        const struct foretold before = of_first;
        size_t served = MEMBERS;
        for (size_t k = 0; k < p.n_ready && !is_served; k++) {
            size_t m = (size_t)(p.v[k].target - r.t);
            bool may = admits(&r, m);
            uint64_t wait;
            /* nobody else is under way: it is let in unless it cools */
            ck_assert(may == (m > 0 || foretell(&of_first, r.now, &wait) != STANDING_COOLING));
            if (!may)
                continue;
            asked[m]++;
            bool fails = m == 0 && is_down;
            while_down += fails;
            probes += fails && p.v[k].standing.kind == STANDING_PROBE;
            tell(&r, m, fails ? FAULT_OVERLOAD : FAULT_NONE, fails ? 503 : 200, -1);
            if (m == 0) { /* three seconds, doubled up to a minute */
                uint64_t next = of_first.wait_ms ? 2 * of_first.wait_ms : 3000;
                of_first = fails ? (struct foretold){r.now, next < 60000 ? next : 60000}
                                 : (struct foretold){0, 0};
                is_turn = of_first.wait_ms != before.wait_ms;
            }
            left[k] = fails ? fault_name(FAULT_OVERLOAD) : NULL;
            served = m;
            is_served = !fails;
            answered[m] += is_served;
            if (is_served && i < 300000) {
                steady[m]++;
                n_steady++;
            }
        }
        refused += !is_served;
        if (is_served && (i % CHECKED == 0 || is_turn))
            check_told(&r, &p, left, served, &before);
    }
    ck_assert_uint_eq(refused, 0);         /* somebody always could */
    for (size_t i = 0; i < MEMBERS; i++) { /* five standard deviations */
        double share = (double)weights[i] / 100,
               bound = 5 * sqrt(share * (1 - share) / (double)n_steady);
        ck_assert_double_eq_tol((double)steady[i] / (double)n_steady, share, bound);
        ck_assert_uint_eq(asked[i], answered[i] + (i == 0 ? while_down : 0));
    }
    /* 100 s at 3, 6, 12, 24, 48, 60 s: one that opened it, then a probe each */
    ck_assert_uint_ge(while_down, 5);
    ck_assert_uint_le(while_down, 7);
    ck_assert_uint_eq(probes, while_down - 1);
    rig_done(&r);
}
END_TEST

/* ---- combos in combos ---- */

/* k over two combos: the first two providers and the last two. */
struct nest {
    struct rig r;
    struct combo inner[2];
    struct member outer[3];
};

static void nest_init(struct nest *x, enum strategy outer, enum strategy inner)
{
    rig_init(&x->r, outer, MEMBERS);
    for (size_t i = 0; i < 2; i++) {
        x->inner[i] = x->r.combo;
        x->inner[i].name = i ? STR("k2") : STR("k1");
        x->inner[i].strategy = inner;
        x->inner[i].index = (uint32_t)(70 + i);
        x->inner[i].members = x->r.m + 2 * i;
        x->inner[i].n_members = 2;
        x->outer[i] = (struct member){.model = x->inner[i].name,
                                      .weight = 1,
                                      .price_nanousd = -1,
                                      .is_enabled = true,
                                      .combo = &x->inner[i]};
    }
    x->r.combo.index = 69;
    x->r.combo.members = x->outer;
    x->r.combo.n_members = 2;
}

static void share(struct nest *x, size_t requests, size_t asked[MEMBERS])
{
    for (size_t i = 0; i < MEMBERS; i++)
        asked[i] = 0;
    for (size_t i = 0; i < requests; i++) {
        (void)plan_with(&x->r, false, 0); /* looking on changes nobody's share */
        asked[first(&x->r)]++;
        x->r.now += i % 2;
        if (i % 64 == 0)
            arena_reset(x->r.plans);
    }
}

START_TEST(nested_shares_are_those_of_each_level)
{
    enum {
        REQUESTS = 4000
    };
    static const enum strategy turns[] = {STRATEGY_ROUND_ROBIN, STRATEGY_STRICT_RANDOM};
    static const enum strategy outers[] = {STRATEGY_ROUND_ROBIN, STRATEGY_STRICT_RANDOM,
                                           STRATEGY_WEIGHTED, STRATEGY_RANDOM, STRATEGY_PRIORITY};
    size_t asked[MEMBERS];
    for (size_t k = 0; k < ARRAY_LEN(outers); k++)
        for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
            struct nest x;
            bool is_drawn = outers[k] == STRATEGY_WEIGHTED || outers[k] == STRATEGY_RANDOM;
            nest_init(&x, outers[k], turns[i]);
            share(&x, REQUESTS, asked);
            /* within a combo to the request, whatever share of all it has */
            for (size_t m = 0; m < MEMBERS; m += 2)
                ck_assert_int_le(labs((long)asked[m] - (long)asked[m + 1]), 1);
            if (outers[k] == STRATEGY_PRIORITY)
                ck_assert_uint_eq(asked[0] + asked[1], REQUESTS);
            else if (is_drawn) /* five standard deviations */
                ck_assert_int_le(labs((long)(asked[0] + asked[1]) - REQUESTS / 2), 158);
            else
                ck_assert_uint_eq(asked[0] + asked[1], REQUESTS / 2);
            /* one of the first combo is left alone: the other one has its share, and the second combo's stay even */
            tell(&x.r, 0, FAULT_QUOTA_WINDOW, 429, 3600000);
            share(&x, REQUESTS, asked);
            ck_assert_uint_eq(asked[0], 0);
            ck_assert_int_le(labs((long)asked[2] - (long)asked[3]), 1);
            if (outers[k] != STRATEGY_PRIORITY && !is_drawn)
                ck_assert_uint_eq(asked[1], REQUESTS / 2);
            /* both: what is listed before the second combo, but cannot be asked, takes nobody's turn */
            tell(&x.r, 1, FAULT_QUOTA_WINDOW, 429, 3600000);
            share(&x, REQUESTS, asked);
            ck_assert(asked[0] == 0 && asked[1] == 0);
            ck_assert_uint_eq(asked[2], REQUESTS / 2);
            /* all: the nearest recovery is waited for, and told of as it is */
            tell(&x.r, 2, FAULT_QUOTA_WINDOW, 429, 3600000);
            tell(&x.r, 3, FAULT_QUOTA_WINDOW, 429, 60000);
            ck_assert_uint_eq(plan_with(&x.r, true, 0).wait_ms, 60000);
            rig_done(&x.r);
        }
}
END_TEST

START_TEST(a_combo_beside_a_provider_shares_its_half)
{
    struct nest x;
    size_t asked[MEMBERS];
    nest_init(&x, STRATEGY_ROUND_ROBIN, STRATEGY_ROUND_ROBIN);
    x.outer[1] = x.r.m[2];
    share(&x, 400, asked);
    ck_assert(asked[0] == 100 && asked[1] == 100 && asked[2] == 200);
    x.inner[0].sticky_limit = 2; /* counts its own requests */
    share(&x, 400, asked);
    ck_assert(asked[0] == 100 && asked[1] == 100 && asked[2] == 200);
    /* one level more */
    struct member deep[] = {x.r.m[0], {.weight = 1, .is_enabled = true, .combo = &x.inner[1]}};
    x.inner[0].sticky_limit = 1;
    x.inner[0].members = deep;
    x.outer[1] = x.r.m[1];
    share(&x, 800, asked);
    ck_assert(asked[1] == 400 && asked[0] == 200 && asked[2] == 100 && asked[3] == 100);
    rig_done(&x.r);
}
END_TEST

START_TEST(a_conversation_that_stays_takes_nobodys_turn)
{
    struct rig r;
    size_t asked[2] = {0};
    rig_init(&r, STRATEGY_ROUND_ROBIN, 2);
    live_set_pin(r.l, 77, live_lane(&r.t[0]), r.now);
    for (int i = 0; i < 100; i++) {
        ck_assert(plan_with(&r, true, 77).is_pinned);
        asked[first(&r)]++;
    }
    ck_assert(asked[0] == 50 && asked[1] == 50);
    tell(&r, 0, FAULT_OVERLOAD, 503, 3600000); /* where it was cannot be asked */
    ck_assert(!plan_with(&r, true, 77).is_pinned);
    rig_done(&r);
}
END_TEST

START_TEST(a_strained_member_of_a_combo_that_is_filled_is_ready_there)
{
    struct nest x;
    size_t asked[MEMBERS];
    nest_init(&x, STRATEGY_ROUND_ROBIN, STRATEGY_FILL_FIRST);
    x.inner[1].strategy = STRATEGY_ROUND_ROBIN;
    for (size_t i = 0; i < 2; i++)
        live_note_quota(x.r.l, &x.r.t[i], 0, &(struct quota_window){QUOTA_SESSION, 0.92, 9000000},
                        1, x.r.now);
    share(&x, 400, asked);
    ck_assert(asked[0] == 200 && asked[1] == 0 && asked[2] == 100 && asked[3] == 100);
    rig_done(&x.r);
}
END_TEST

START_TEST(no_herd_at_a_recovery)
{
    struct rig r;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    tell(&r, 0, FAULT_OVERLOAD, 503, -1);
    r.now += 3000;
    size_t through = 0;
    for (size_t i = 0; i < 10000; i++) { /* all of one moment, before the first is answered */
        struct plan p = plan_with(&r, true, 0);
        for (size_t k = 0; k < p.n_ready; k++) {
            size_t m = (size_t)(p.v[k].target - r.t);
            if (!admits(&r, m))
                continue;
            through += m == 0;
            break;
        }
    }
    ck_assert_uint_eq(through, 1);
    live_give_up(r.l, &r.t[0], &r.ticket[0]); /* its client left: the next one sees */
    ck_assert(admits(&r, 0) && !admits(&r, 0));
    rig_done(&r);
}
END_TEST

START_TEST(the_same_seed_makes_the_same_choices)
{
    struct rig r[2];
    for (enum strategy s = STRATEGY_PRIORITY; s <= STRATEGY_LATENCY; s++) {
        for (size_t k = 0; k < 2; k++)
            rig_init(&r[k], s, 4);
        for (size_t i = 0; i < 50; i++)
            ck_assert_uint_eq(first(&r[0]), first(&r[1]));
        for (size_t k = 0; k < 2; k++)
            rig_done(&r[k]);
    }
}
END_TEST

/* Times to the first byte of which one in `slow` is slow: how often the next one was asked, and how long requests took. */
static void race(struct rig *r, size_t requests, uint64_t slow, size_t *hedges, double *longest)
{
    uint64_t state = 11;
    *hedges = 0;
    *longest = 0;
    for (size_t i = 0; i < requests; i++) {
        struct plan p = plan_with(r, true, 0);
        double ms[2];
        for (size_t k = 0; k < 2; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            ms[k] = (state >> 33) % slow == 0 ? 2000 : 80 + (double)((state >> 40) % 40);
        }
        double after = (double)p.v[0].hedge_after_ms, took = ms[0];
        live_hedge_earn(r->l, p.v[0].hedge->index, r->s->settings.hedge_budget_percent);
        if (after > 0 && ms[0] > after &&
            live_hedge_take(r->l, p.v[0].hedge->index, r->s->settings.hedge_burst)) {
            ++*hedges;
            took = after + ms[1] < ms[0] ? after + ms[1] : ms[0];
        }
        /* a lost one: at least so long */
        live_note_start(r->l, p.v[0].target, (uint64_t)(took * 1000));
        *longest += took > 1000;
        r->now += 50;
        arena_reset(r->plans);
    }
}

START_TEST(hedging_follows_the_targets_own_times_within_its_share)
{
    struct rig r;
    size_t hedges;
    double longest;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    r.combo.index = 5;
    ck_assert_uint_eq(plan_with(&r, true, 0).v[0].hedge_after_ms, 0);
    r.combo.hedge_percentile = 90;
    /* of times that nobody knows */
    ck_assert_uint_eq(plan_with(&r, true, 0).v[0].hedge_after_ms, 0);
    r.combo.hedge_after_ms = 50;
    ck_assert_uint_eq(plan_with(&r, true, 0).v[0].hedge_after_ms, 50);
    /* one in a hundred is slow, and a twentieth may be asked twice: none of them stays slow, but where both are */
    race(&r, 20000, 100, &hedges, &longest);
    ck_assert_uint_gt(hedges, 100);
    ck_assert_uint_le(hedges, 20000 / 20 + 10);
    ck_assert(longest < 20000.0 / 100 / 10);
    uint64_t after = plan_with(&r, true, 0).v[0].hedge_after_ms;
    ck_assert(after >= 100 && after <= 200);
    /* all are slow: the share holds, and the percentile follows */
    race(&r, 10000, 1, &hedges, &longest);
    ck_assert_uint_le(hedges, 10000 / 20 + 10);
    ck_assert_uint_ge(plan_with(&r, true, 0).v[0].hedge_after_ms, 1900);
    /* another combo's allowance is its own; none at all gives none */
    ck_assert(live_hedge_take(r.l, 6, 1) && !live_hedge_take(r.l, 6, 1));
    live_hedge_return(r.l, 6);
    ck_assert(live_hedge_take(r.l, 6, 1));
    rig_done(&r);
}
END_TEST

START_TEST(a_members_own_model_hedges_as_its_combo_says)
{
    struct rig r;
    struct combo inner;
    rig_init(&r, STRATEGY_PRIORITY, 2);
    inner = r.combo;
    inner.of = &r.model;
    inner.members = r.m + 1;
    inner.n_members = 1;
    struct member members[] = {r.m[0], {.weight = 1, .is_enabled = true, .combo = &inner}};
    r.combo.members = members;
    r.combo.hedge_after_ms = 40;
    struct plan p = plan_with(&r, true, 0);
    ck_assert(p.n == 2 && p.v[1].target == &r.t[1] && p.v[1].hedge == &r.combo);
    ck_assert_uint_eq(p.v[1].hedge_after_ms, 40);
    inner.of = NULL; /* a combo of its own */
    ck_assert_uint_eq(plan_with(&r, true, 0).v[1].hedge_after_ms, 0);
    rig_done(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("choose");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, priority_goes_down_the_list_and_round_robin_around_it);
    tcase_add_test(t, strict_random_asks_each_once_a_round_and_nobody_twice_running);
    tcase_add_test(t, cost_use_and_latency_decide);
    tcase_add_test(t, a_breaker_backs_off_forgets_and_lets_one_through);
    tcase_add_test(t, an_answer_from_before_it_opened_closes_nothing);
    tcase_add_test(t, a_probe_is_ended_by_nobody_else);
    tcase_add_test(t, everybody_has_counters_of_their_own);
    tcase_add_test(t, a_models_place_in_its_round_is_the_same_in_every_process);
    tcase_add_test(t, what_a_fault_concerns);
    tcase_add_test(t, a_403_is_of_its_model_and_of_a_second_one_the_credentials);
    tcase_add_test(t, breakers_outlive_the_process);
    tcase_add_test(t, what_is_known_is_of_a_credential_not_of_a_place);
    tcase_add_test(t, quota_windows_are_of_a_credential_and_reset_with_their_provider);
    tcase_add_test(t, credentials_that_are_gone_leave_their_room);
    tcase_add_test(t, a_request_that_fits_nowhere_is_no_failure);
    tcase_add_test(t, quota_windows_are_read_foreseen_and_obeyed);
    tcase_add_test(t, conversations_keep_to_where_they_were);
    tcase_add_test(t, nested_combos_are_opened_in_place_and_what_if_is_answered);
    tcase_add_test(t, a_million_requests);
    tcase_add_test(t, nested_shares_are_those_of_each_level);
    tcase_add_test(t, a_combo_beside_a_provider_shares_its_half);
    tcase_add_test(t, a_conversation_that_stays_takes_nobodys_turn);
    tcase_add_test(t, a_strained_member_of_a_combo_that_is_filled_is_ready_there);
    tcase_add_test(t, no_herd_at_a_recovery);
    tcase_add_test(t, the_same_seed_makes_the_same_choices);
    tcase_add_test(t, hedging_follows_the_targets_own_times_within_its_share);
    tcase_add_test(t, a_members_own_model_hedges_as_its_combo_says);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
