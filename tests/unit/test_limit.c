/* Limits: never one too many, whoever asks at once; what was taken comes back when it should; who waits is served in turn. */
#include "gate/limit.h"
#include "base/clock.h"
#include "unit.h"
#include <pthread.h>
#include <sched.h>

#define THREADS 8

static struct limiter *limiter;
static struct snapshot *snap;

/* A snapshot with one key of these limits, bound. */
static struct limit_place place_of(const char *id, struct limits limits)
{
    limiter = limiter ? limiter : limiter_new();
    snap = snapshot_new();
    struct key *k = ARENA_NEW(snap->arena, struct key);
    struct key_policy *p = ARENA_NEW(snap->arena, struct key_policy);
    p->limits = limits;
    *k = (struct key){.id = str_of(id), .policy = p};
    snap->keys = ARENA_ARRAY(snap->arena, struct key *, 1);
    snap->keys[snap->n_keys++] = k;
    snap->ruled = snap->keys;
    snap->n_ruled = 1;
    limiter_bind(limiter, snap);
    return (struct limit_place){k->gauge, &p->limits, LIMIT_KEY};
}

static void done(void)
{
    snapshot_unref(snap);
    limiter_free(limiter);
    limiter = NULL;
}

static bool take(struct limit_place *p, int64_t tokens, uint64_t now_ms)
{
    struct limit_refusal why;
    return limit_take(limiter, p, 1, tokens, now_ms, &why);
}

static void end(struct limit_place *p, int64_t tokens, int64_t used, uint64_t at, uint64_t now)
{
    limit_end(limiter, p, 1, tokens, used, at, now);
}

static bool seat(struct limit_place *p, uint64_t session, uint64_t now_ms,
                 struct limit_refusal *why)
{
    p->session = session;
    if (!limit_take(limiter, p, 1, 0, now_ms, why))
        return false;
    end(p, 0, 0, now_ms, now_ms);
    return true;
}

START_TEST(a_conversation_keeps_its_seat_for_half_an_hour)
{
    struct limit_place p = place_of("k", (struct limits){.sessions = 2});
    struct limit_refusal why;
    uint64_t t = 5000000;
    ck_assert(seat(&p, 1, t, &why) && seat(&p, 2, t + 60000, &why));
    ck_assert(seat(&p, 1, t + 90000, &why));
    ck_assert(!seat(&p, 3, t + 100000, &why));
    ck_assert_int_eq(why.kind, LIMIT_SESSIONS);
    ck_assert_int_eq(why.limit, 2);
    ck_assert_int_eq(why.wait_ms, 1800000 - 40000); /* the second was heard of 40 s ago */
    ck_assert(seat(&p, 0, t + 100000, &why));       /* what is no conversation */
    ck_assert_int_eq(limit_view(&p, LIMIT_SESSIONS, t + 100000).used, 2);
    ck_assert(!seat(&p, 3, t + 60000 + 1799000, &why));
    ck_assert(seat(&p, 3, t + 60000 + 1800000, &why));
    ck_assert(!seat(&p, 2, t + 60000 + 1800000, &why)); /* begun anew: the others are there */
    struct snapshot *was = snap;
    /* a smaller limit takes no seat away, a larger one forgets none */
    p = place_of("k", (struct limits){.sessions = 1});
    snapshot_unref(was);
    ck_assert(seat(&p, 3, t + 1900000, &why) && !seat(&p, 4, t + 1900000, &why));
    was = snap;
    p = place_of("k", (struct limits){.sessions = 3});
    snapshot_unref(was);
    ck_assert_int_eq(limit_view(&p, LIMIT_SESSIONS, t + 1900000).used, 1);
    ck_assert(seat(&p, 4, t + 1900000, &why) && seat(&p, 5, t + 1900000, &why));
    ck_assert(!seat(&p, 6, t + 1900000, &why));
    done();
}
END_TEST

struct callers {
    struct limit_place p;
    uint64_t first;
    size_t in;
};

static void *come(void *arg)
{
    struct callers *c = arg;
    struct limit_refusal why;
    for (uint64_t i = 0; i < 200; i++)
        c->in += seat(&c->p, (c->first + i) % 100 + 1, 9000000, &why);
    return NULL;
}

/* A hundred conversations at once for ten seats: ten get one, and each of these always the same. */
START_TEST(seats_hold_whoever_comes_at_once)
{
    pthread_t threads[THREADS];
    struct callers crowd[THREADS];
    struct limit_place p = place_of("k", (struct limits){.sessions = 10});
    for (uint64_t i = 0; i < THREADS; i++) {
        crowd[i] = (struct callers){p, i * 7, 0};
        ck_assert(pthread_create(&threads[i], NULL, come, &crowd[i]) == 0);
    }
    size_t in = 0, seated = 0;
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert(pthread_join(threads[i], NULL) == 0);
        in += crowd[i].in;
    }
    ck_assert_int_eq(limit_view(&p, LIMIT_SESSIONS, 9000000).used, 10);
    for (uint64_t s = 1; s <= 100; s++) {
        struct limit_refusal why;
        seated += seat(&p, s, 9000000, &why);
    }
    ck_assert_uint_eq(seated, 10); /* none has two */
    ck_assert_uint_le(in, THREADS * 20);
    done();
}
END_TEST

START_TEST(a_minute_holds_so_many_and_no_more)
{
    struct limit_place p = place_of("k", (struct limits){.requests_per_minute = 3});
    struct limit_refusal why;
    uint64_t t = 1000000;
    ck_assert(take(&p, 0, t) && take(&p, 0, t + 1500) && take(&p, 0, t + 30000));
    ck_assert(!limit_take(limiter, &p, 1, 0, t + 30000, &why));
    ck_assert_int_eq(why.kind, LIMIT_REQUESTS_MINUTE);
    ck_assert_int_eq(why.limit, 3);
    /* the first two share a slot of 2 s: 62 s from its begin */
    ck_assert_int_eq(why.wait_ms, 32000);
    ck_assert(!take(&p, 0, t + 60000));
    ck_assert(!take(&p, 0, t + 61999));
    ck_assert(take(&p, 0, t + 62000));
    ck_assert(take(&p, 0, t + 62000));
    ck_assert(!take(&p, 0, t + 62000));
    ck_assert(take(&p, 0, t + 92000));
    done();
}
END_TEST

/* Whatever the pattern, no 60 seconds hold more than the limit. */
START_TEST(no_window_of_a_minute_exceeds_it)
{
    enum {
        LIMIT = 20,
        N = 4000
    };
    struct limit_place p = place_of("k", (struct limits){.requests_per_minute = LIMIT});
    uint64_t taken[N], t = 777;
    size_t n = 0;
    unsigned seed = 1;
    for (int i = 0; i < N; i++) {
        seed = seed * 1103515245 + 12345;
        t += seed >> 16 & 1 ? seed >> 20 & 255 : (seed >> 17 & 15) == 0 ? 200000 : 2;
        if (take(&p, 0, t))
            taken[n++] = t;
    }
    ck_assert_uint_gt(n, 10 * LIMIT);
    for (size_t i = LIMIT; i < n; i++)
        ck_assert_uint_ge(taken[i] - taken[i - LIMIT], 60000);
    done();
}
END_TEST

/* What one process wrote, as the next one reads it. */
static struct str written(struct arena *a, uint64_t now, int64_t wall)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    limiter_write(limiter, now, wall, &w);
    return buf_str(&b);
}

static void read_back(struct arena *a, struct str text, uint64_t now, int64_t wall)
{
    yyjson_val *v;
    ck_assert(json_parse(a, text, 8, &v, NULL));
    limiter_read(limiter, v, now, wall);
}

START_TEST(a_day_outlives_the_process)
{
    const uint64_t hour = 3600000, boots[] = {5000, 40 * hour, 3000 * hour};
    const int64_t wall = 1700000000000;
    const struct limits limits = {
        .requests_per_minute = 2, .requests_per_day = 4, .tokens_per_day = 100};
    for (size_t i = 0; i < ARRAY_LEN(boots); i++) {
        struct arena *a = arena_new();
        struct limit_place p = place_of("k", limits);
        uint64_t t = 500 * hour + 1234567, now = boots[i];
        check_text(written(a, t, wall), "[]");
        ck_assert(take(&p, 10, t) && take(&p, 20, t + hour));
        end(&p, 10, 10, t, t + 1000);
        end(&p, 20, 5, t + hour, t + hour + 1000);
        struct str text = written(a, t + 2 * hour, wall + (int64_t)(2 * hour));
        /* nothing new: the same */
        check_str(written(a, t + 2 * hour + 77, wall + (int64_t)(2 * hour) + 77), text);
        done();

        p = place_of("k", limits); /* three hours after the first, on a clock of its own */
        read_back(a, text, now, wall + (int64_t)(3 * hour));
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_DAY, now).used, 2);
        ck_assert_int_eq(limit_view(&p, LIMIT_TOKENS_DAY, now).used, 15);
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_MINUTE, now).used, 0);
        ck_assert(take(&p, 0, now) && take(&p, 0, now));
        now += hour;
        ck_assert(!take(&p, 0, now)); /* the fifth of the day */
        /* neither is forgotten within its 24 hours, and both are soon after */
        now += 20 * hour - 1;
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_DAY, now).used, 4);
        now += 5 * hour;
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_DAY, now).used, 0);
        ck_assert_int_eq(limit_view(&p, LIMIT_TOKENS_DAY, now).used, 0);
        done();

        /* a day later there is nothing left of it, and a clock that went back keeps it for a day at most */
        p = place_of("k", limits);
        read_back(a, text, boots[i], wall + (int64_t)(27 * hour));
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_DAY, boots[i]).used, 0);
        done();
        p = place_of("k", limits);
        read_back(a, text, boots[i], wall - (int64_t)(90 * hour));
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_DAY, boots[i]).used, 2);
        ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_DAY, boots[i] + 25 * hour).used, 0);
        done();

        place_of("other", limits); /* of others, and what makes no sense, is not there */
        read_back(a, text, boots[i], wall);
        read_back(a,
                  STR("[1,{},{\"place\":\"key/"
                      "other\",\"kind\":\"concurrency\",\"used\":[[1,2]]},{\"place\":\"key/other\","
                      "\"kind\":\"requests_per_day\",\"used\":[7,[],[-9,2],[1700000000,-2],["
                      "1700000000,99999999999999]]}]"),
                  boots[i], wall);
        check_text(written(a, boots[i], wall), "[]");
        done();
        arena_free(a);
    }
}
END_TEST

START_TEST(hours_slide_and_outlive_the_process)
{
    const uint64_t minute = 60000;
    struct arena *a = arena_new();
    struct limit_place p = place_of("k", (struct limits){.requests_per_hour = 2});
    struct limit_refusal why;
    uint64_t t = 1000 * minute;
    ck_assert(take(&p, 0, t) && take(&p, 0, t + 10 * minute));
    ck_assert(!limit_take(limiter, &p, 1, 0, t + 59 * minute, &why));
    ck_assert_int_eq(why.kind, LIMIT_REQUESTS_HOUR);
    ck_assert_int_eq(why.limit, 2);
    /* a slot of two minutes, and 60 behind it */
    ck_assert_int_eq(why.wait_ms, 3 * (int64_t)minute);
    ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_HOUR, t + 59 * minute).used, 2);
    struct str text = written(a, t + 20 * minute, 1700000000000);
    ck_assert(take(&p, 0, t + 62 * minute) && !take(&p, 0, t + 62 * minute));
    done();
    p = place_of("k", (struct limits){.requests_per_hour = 2});
    /* ten minutes later, on another clock */
    read_back(a, text, 700 * minute, 1700000000000 + 10 * (int64_t)minute);
    ck_assert_int_eq(limit_view(&p, LIMIT_REQUESTS_HOUR, 700 * minute).used, 2);
    ck_assert(!take(&p, 0, 729 * minute) && take(&p, 0, 736 * minute));
    done();
    arena_free(a);
}
END_TEST

/* Whatever the pattern, no 60 minutes hold more than the limit. */
START_TEST(no_window_of_an_hour_exceeds_it)
{
    enum {
        LIMIT = 20,
        N = 4000
    };
    struct limit_place p = place_of("k", (struct limits){.requests_per_hour = LIMIT});
    uint64_t taken[N], t = 777;
    size_t n = 0;
    unsigned seed = 1;
    for (int i = 0; i < N; i++) {
        seed = seed * 1103515245 + 12345;
        t += seed >> 16 & 1 ? (seed >> 20 & 255) * 60 : (seed >> 17 & 15) == 0 ? 12000000 : 120;
        if (take(&p, 0, t))
            taken[n++] = t;
    }
    ck_assert_uint_gt(n, 10 * LIMIT);
    for (size_t i = LIMIT; i < n; i++)
        ck_assert_uint_ge(taken[i] - taken[i - LIMIT], 3600000);
    done();
}
END_TEST

START_TEST(days_and_long_pauses)
{
    struct limit_place p = place_of("k", (struct limits){.requests_per_day = 2});
    uint64_t hour = 3600000, t = 50 * hour;
    ck_assert(take(&p, 0, t) && take(&p, 0, t + hour));
    ck_assert(!take(&p, 0, t + 24 * hour));
    ck_assert(take(&p, 0, t + 25 * hour));
    ck_assert(take(&p, 0, t + 4000 * hour) && take(&p, 0, t + 4000 * hour));
    ck_assert(!take(&p, 0, t + 4000 * hour));
    struct limit_view v = limit_view(&p, LIMIT_REQUESTS_DAY, t + 4000 * hour);
    ck_assert_int_eq(v.used, 2);
    ck_assert(v.reset_ms >= (int64_t)(24 * hour) && v.reset_ms <= (int64_t)(25 * hour));
    done();
}
END_TEST

START_TEST(tokens_are_reserved_and_settled)
{
    struct limit_place p = place_of("k", (struct limits){.tokens_per_minute = 100});
    uint64_t t = 2000000;
    ck_assert(take(&p, 80, t));
    ck_assert(!take(&p, 30, t));
    end(&p, 80, 10, t, t + 3000); /* 70 come back */
    ck_assert(take(&p, 80, t + 3000));
    end(&p, 80, 130, t + 3000, t + 4000); /* more than was reserved: 140 of 100 */
    ck_assert_int_eq(limit_view(&p, LIMIT_TOKENS_MINUTE, t + 4000).used, 140);
    ck_assert(!take(&p, 1, t + 4000));
    ck_assert(take(&p, 0, t + 4000)); /* nothing of what is limited */
    /* the 10 of the first went: 130 left, of which none fits */
    ck_assert(!take(&p, 51, t + 62000));
    ck_assert(take(&p, 1000000, t + 70000)); /* larger than all: when all is free */
    ck_assert(!take(&p, 1, t + 70000));
    done();
}
END_TEST

START_TEST(all_places_or_none)
{
    struct limit_place p[2] = {place_of("a", (struct limits){.requests_per_minute = 10})};
    struct snapshot *first = snap;
    p[1] = place_of("b", (struct limits){.requests_per_minute = 10, .concurrency = 1});
    struct limit_refusal why;
    ck_assert(limit_take(limiter, p, 2, 0, 5000, &why));
    ck_assert(!limit_take(limiter, p, 2, 0, 5000, &why));
    ck_assert_int_eq(why.kind, LIMIT_CONCURRENCY);
    ck_assert_uint_eq(why.place, 1);
    ck_assert_int_eq(limit_view(&p[0], LIMIT_REQUESTS_MINUTE, 5000).used, 1);
    ck_assert_int_eq(limit_view(&p[1], LIMIT_REQUESTS_MINUTE, 5000).used, 1);
    limit_end(limiter, p, 2, 0, 0, 5000, 5000);
    ck_assert(limit_take(limiter, p, 2, 0, 5000, &why));
    snapshot_unref(first);
    done();
}
END_TEST

/* ---- many at once ---- */

struct crowd {
    struct limit_place p;
    _Atomic uint64_t now_ms, in;
    _Atomic int64_t at_once, most;
    int each;
    bool ends;
};

static void *ask(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < c->each; i++) {
        uint64_t now = atomic_fetch_add(&c->now_ms, c->ends ? 1 : 0);
        if (!take(&c->p, 7, now))
            continue;
        atomic_fetch_add(&c->in, 1);
        int64_t n = atomic_fetch_add(&c->at_once, 1) + 1, most = atomic_load(&c->most);
        while (n > most && !atomic_compare_exchange_weak(&c->most, &most, n))
            ;
        if (c->ends) {
            atomic_fetch_sub(&c->at_once, 1);
            end(&c->p, 7, i % 14, now, now);
        }
    }
    return NULL;
}

static void run(struct crowd *c)
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, ask, c), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

START_TEST(ten_thousand_at_once_never_exceed_it_by_one)
{
    static const struct limits rows[] = {{.requests_per_minute = 1000},
                                         {.requests_per_day = 1000},
                                         {.tokens_per_minute = 7006},
                                         {.concurrency = 1000}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct crowd c = {.p = place_of("k", rows[i]), .now_ms = 9000000, .each = 10000 / THREADS};
        run(&c);
        ck_assert_msg(atomic_load(&c.in) == 1000, "row %zu: %llu were in", i,
                      (unsigned long long)atomic_load(&c.in));
        done();
    }
}
END_TEST

START_TEST(coming_and_going_at_once_leaves_nothing_behind)
{
    struct limit_place p = place_of(
        "k",
        (struct limits){.concurrency = 5, .tokens_per_minute = 2000, .requests_per_minute = 900});
    struct crowd c = {.p = p, .now_ms = 9000000, .each = 20000, .ends = true};
    run(&c);
    ck_assert_int_le(atomic_load(&c.most), 5);
    ck_assert_uint_gt(atomic_load(&c.in), 900);
    uint64_t later = atomic_load(&c.now_ms) + 100000;
    for (enum limit_kind k = 0; k < LIMIT_KINDS; k++)
        ck_assert_int_eq(limit_view(&p, k, later).used, 0);
    done();
}
END_TEST

/* ---- waiting ---- */

#define GAUGES 3

static int rung;
static void on_ring(void *arg)
{
    (void)arg;
    rung++;
}

/* A request that waits: for all places that it may be served by. */
struct queuer {
    struct limit_waiter w;
    struct limit_stand at[GAUGES];
    size_t n;
    bool waits;
};

static void queuer_init(struct queuer *q, struct limit_bell *bell, uint64_t flow)
{
    *q = (struct queuer){.w = {.bell = bell, .flow = flow, .arg = q}};
}

static void wants(struct queuer *q, struct gauge *g)
{
    struct limit_stand *s = &q->at[q->n++];
    limit_stand_init(&q->w, s, g);
    s->is_wanted = s->is_tried = true;
    s->mark = limit_mark(g);
}

static bool wait_at(struct queuer *q, struct limit_bell *bell, uint64_t flow, struct gauge *g,
                    size_t max)
{
    queuer_init(q, bell, flow);
    wants(q, g);
    return limit_wait(limiter, &q->w, max);
}

START_TEST(flows_share_evenly_however_many_wait_in_each)
{
    struct limit_place p = place_of("k", (struct limits){.concurrency = 1});
    struct limit_bell bell = {.ring = on_ring};
    struct queuer q[12], more;
    char order[16] = "";
    rung = 0;
    ck_assert(take(&p, 0, 1));
    for (size_t i = 0; i < ARRAY_LEN(q); i++) /* ten of a, then one of b, one of c */
        ck_assert(wait_at(&q[i], &bell, i < 10 ? 1 : i - 8, p.gauge, 12));
    ck_assert(!wait_at(&more, &bell, 9, p.gauge, 12)); /* full */
    ck_assert_int_eq(rung, 0);
    ck_assert_uint_eq(limit_waiting(p.gauge), 12);
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        struct limit_waiter *next;
        end(&p, 0, 0, 1, 1);
        next = limit_next_woken(limiter, &bell);
        ck_assert_ptr_nonnull(next);
        ck_assert_ptr_null(limit_next_woken(limiter, &bell)); /* one at a time */
        ck_assert(take(&p, 0, 1));
        limit_got_in(limiter, next);
        struct limit_waiter *hasty = limit_next_woken(limiter, &bell); /* finds no room */
        if (hasty) {
            hasty->stands->is_tried = true;
            hasty->stands->mark = limit_mark(p.gauge);
            limit_wait_again(limiter, hasty);
        }
        order[i] = (char)('a' + (int)next->flow - 1);
    }
    order[12] = 0;
    ck_assert_msg(strchr(order, 'b') - order < 4 && strchr(order, 'c') - order < 4, "%s", order);
    ck_assert_uint_eq(limit_waiting(p.gauge), 0);
    done();
}
END_TEST

START_TEST(who_leaves_is_not_woken_and_holds_nobody_up)
{
    struct limit_place p = place_of("k", (struct limits){.concurrency = 1});
    struct limit_bell bell = {.ring = on_ring};
    struct queuer q[3];
    ck_assert(take(&p, 0, 1));
    for (size_t i = 0; i < 3; i++)
        ck_assert(wait_at(&q[i], &bell, 5, p.gauge, 12));
    limit_leave(limiter, &q[1].w);
    end(&p, 0, 0, 1, 1);
    limit_leave(limiter, &q[0].w); /* woken, and gone before it knows */
    ck_assert_ptr_eq(limit_next_woken(limiter, &bell), &q[2].w);
    ck_assert(take(&p, 0, 1));
    limit_got_in(limiter, &q[2].w);
    ck_assert_uint_eq(limit_waiting(p.gauge), 0);
    ck_assert_uint_eq(limiter_counts(limiter).waiting, 0);
    done();
}
END_TEST

START_TEST(what_happens_between_the_try_and_the_wait_is_not_missed)
{
    struct limit_place p = place_of("k", (struct limits){.concurrency = 1});
    struct limit_bell bell = {.ring = on_ring};
    struct queuer q;
    rung = 0;
    queuer_init(&q, &bell, 0);
    ck_assert(take(&p, 0, 1));
    wants(&q, p.gauge);
    ck_assert(!take(&p, 0, 1));
    end(&p, 0, 0, 1, 1);
    ck_assert(limit_wait(limiter, &q.w, 12));
    ck_assert_int_eq(rung, 1);
    ck_assert_ptr_eq(limit_next_woken(limiter, &bell), &q.w);
    limit_leave(limiter, &q.w);
    /* nor that all went whom it saw in line */
    ck_assert_ptr_null(limit_next_woken(limiter, &bell));
    queuer_init(&q, &bell, 0);
    wants(&q, p.gauge);
    q.at[0].is_tried = false;
    ck_assert(limit_wait(limiter, &q.w, 12));
    ck_assert_ptr_eq(limit_next_woken(limiter, &bell), &q.w);
    limit_leave(limiter, &q.w);
    done();
}
END_TEST

/* Several places that a request may be served by: one key each here, of one snapshot after the other. */
struct hall {
    struct limit_place p[GAUGES];
    struct snapshot *snaps[GAUGES];
    struct limit_bell bell;
    char order[256];
    size_t n_order;
};

static void hall_init(struct hall *h, const int64_t at_once[GAUGES])
{
    static const char *const ids[GAUGES] = {"a", "b", "c"};
    *h = (struct hall){.bell = {.ring = on_ring}};
    for (size_t i = 0; i < GAUGES; i++) {
        h->p[i] = place_of(ids[i], (struct limits){.concurrency = at_once[i]});
        h->snaps[i] = snap;
    }
}

static void hall_done(struct hall *h)
{
    for (size_t i = 0; i + 1 < GAUGES; i++)
        snapshot_unref(h->snaps[i]);
    done();
}

static size_t gauge_at(const struct hall *h, const struct gauge *g)
{
    size_t i = 0;
    while (h->p[i].gauge != g)
        i++;
    return i;
}

/* What a loop does with those woken: who finds room is in, who does not waits as before. Gives the last who is in; *place: where. */
static struct queuer *serve(struct hall *h, size_t *place)
{
    struct queuer *in = NULL;
    struct limit_waiter *w;
    while ((w = limit_next_woken(limiter, &h->bell))) {
        struct queuer *q = w->arg;
        struct limit_stand *s = w->turn;
        s->mark = limit_mark(s->gauge);
        s->is_tried = true;
        size_t at = gauge_at(h, s->gauge);
        if (!take(&h->p[at], 0, 1)) {
            limit_wait_again(limiter, w);
            continue;
        }
        ck_assert_msg(!in, "one place was free and two are in");
        limit_got_in(limiter, w);
        q->waits = false;
        in = q;
        *place = at;
    }
    return in;
}

/* Twelve of a, then four of b, for two accounts of one request at once each: as for one of two. */
START_TEST(two_lines_serve_in_turn_and_in_order)
{
    for (unsigned pattern = 0; pattern < 256; pattern++) {
        struct hall h;
        struct queuer q[16];
        uint64_t last[2] = {0, 0};
        size_t of_b = 0, place = 0;
        hall_init(&h, (const int64_t[]){1, 1, 1});
        ck_assert(take(&h.p[0], 0, 1) && take(&h.p[1], 0, 1));
        for (size_t i = 0; i < ARRAY_LEN(q); i++) {
            queuer_init(&q[i], &h.bell, i < 12 ? 1 : 2);
            wants(&q[i], h.p[0].gauge);
            wants(&q[i], h.p[1].gauge);
            ck_assert(limit_wait(limiter, &q[i].w, 100));
        }
        ck_assert_uint_eq(limiter_counts(limiter).waiting, 16);
        for (size_t i = 0; i < ARRAY_LEN(q); i++) {
            end(&h.p[pattern >> i % 8 & 1], 0, 0, 1, 1); /* whichever is free first */
            struct queuer *in = serve(&h, &place);
            ck_assert_msg(in && place == (pattern >> i % 8 & 1), "pattern %u: nobody is in",
                          pattern);
            ck_assert_msg(in->w.arrival > last[in->w.flow - 1], "pattern %u: out of order",
                          pattern);
            last[in->w.flow - 1] = in->w.arrival;
            of_b += in->w.flow == 2;
            if (i < 8) /* as long as both wait, each has its half */
                ck_assert_msg(of_b * 2 + 2 >= i + 1 && of_b * 2 <= i + 2, "pattern %u: %zu of %zu",
                              pattern, of_b, i + 1);
        }
        ck_assert_uint_eq(of_b, 4);
        ck_assert_uint_eq(limit_waiting(h.p[0].gauge) + limit_waiting(h.p[1].gauge), 0);
        ck_assert_uint_eq(limiter_counts(limiter).waiting, 0);
        hall_done(&h);
    }
}
END_TEST

/* Who was woken for one place, and finds none, has not missed what became free at another meanwhile. */
START_TEST(a_turn_elsewhere_is_not_missed)
{
    struct hall h;
    struct queuer q, behind;
    hall_init(&h, (const int64_t[]){1, 1, 1});
    ck_assert(take(&h.p[0], 0, 1) && take(&h.p[1], 0, 1));
    queuer_init(&q, &h.bell, 1);
    wants(&q, h.p[0].gauge);
    wants(&q, h.p[1].gauge);
    ck_assert(limit_wait(limiter, &q.w, 9));
    end(&h.p[0], 0, 0, 1, 1);
    ck_assert(take(&h.p[0], 0, 1)); /* somebody who did not see the line */
    ck_assert_ptr_eq(limit_next_woken(limiter, &h.bell), &q.w);
    end(&h.p[1], 0, 0, 1, 1); /* nobody else is there to be woken */
    ck_assert_ptr_null(limit_next_woken(limiter, &h.bell));
    q.w.turn->is_tried = true;
    q.w.turn->mark = limit_mark(h.p[0].gauge);
    limit_wait_again(limiter, &q.w);
    ck_assert_ptr_eq(limit_next_woken(limiter, &h.bell), &q.w);
    ck_assert_ptr_eq(q.w.turn->gauge, h.p[1].gauge);
    /* and one that does not want its turn any more leaves it to the next */
    ck_assert(wait_at(&behind, &h.bell, 1, h.p[1].gauge, 9));
    q.at[1].is_wanted = false;
    limit_wait_again(limiter, &q.w);
    ck_assert_ptr_eq(limit_next_woken(limiter, &h.bell), &behind.w);
    limit_leave(limiter, &behind.w);
    limit_leave(limiter, &q.w);
    ck_assert_uint_eq(limit_waiting(h.p[0].gauge) + limit_waiting(h.p[1].gauge), 0);
    hall_done(&h);
}
END_TEST

/* Who steps aside, or is sent to another line, goes before those of its flow that came later. */
START_TEST(arrival_is_for_good)
{
    struct hall h;
    struct queuer q[3];
    size_t place;
    hall_init(&h, (const int64_t[]){1, 1, 1});
    ck_assert(take(&h.p[0], 0, 1) && take(&h.p[1], 0, 1));
    ck_assert(wait_at(&q[0], &h.bell, 1, h.p[1].gauge, 9));
    ck_assert(wait_at(&q[1], &h.bell, 1, h.p[0].gauge, 9));
    ck_assert(wait_at(&q[2], &h.bell, 1, h.p[0].gauge, 9));
    limit_leave(limiter, &q[1].w);
    ck_assert_ptr_null(serve(&h, &place)); /* who was behind it may have looked */
    ck_assert(limit_wait(limiter, &q[1].w, 9));
    q[0].at[0].is_wanted = false;
    wants(&q[0], h.p[0].gauge);
    limit_wait_again(limiter, &q[0].w);
    for (size_t i = 0; i < 3; i++) {
        end(&h.p[0], 0, 0, 1, 1);
        ck_assert_ptr_eq(serve(&h, &place), &q[i]);
    }
    ck_assert_uint_eq(limiter_counts(limiter).waited, 3); /* once each */
    hall_done(&h);
}
END_TEST

/* A snapshot that names other places, or others' limits: those who wait hear of it at once. */
START_TEST(a_limit_that_is_raised_or_removed_wakes_who_waits)
{
    struct limit_place p = place_of("k", (struct limits){.concurrency = 1});
    struct snapshot *first = snap, *second;
    struct limit_bell bell = {.ring = on_ring};
    struct queuer q;
    struct limits now = *p.limits;
    ck_assert(take(&p, 0, 1));
    ck_assert(wait_at(&q, &bell, 1, p.gauge, 9));
    ck_assert_ptr_null(limit_next_woken(limiter, &bell));
    ck_assert(!limit_in_force(limiter, p.gauge, &now));
    (void)place_of("k", (struct limits){.concurrency = 2});
    second = snap;
    ck_assert_ptr_eq(limit_next_woken(limiter, &bell), &q.w);
    ck_assert(limit_in_force(limiter, p.gauge, &now) && now.concurrency == 2);
    p.limits = &now;
    ck_assert(take(&p, 0, 1) && !take(&p, 0, 1));
    q.at[0].is_tried = true;
    q.at[0].mark = limit_mark(p.gauge);
    limit_wait_again(limiter, &q.w);
    ck_assert_ptr_null(limit_next_woken(limiter, &bell));
    (void)place_of("another", (struct limits){.concurrency = 2});
    ck_assert_ptr_eq(limit_next_woken(limiter, &bell), &q.w);
    ck_assert(limit_in_force(limiter, p.gauge, &now) && !limits_any(&now));
    ck_assert(take(&p, 0, 1));
    limit_got_in(limiter, &q.w);
    snapshot_unref(first);
    snapshot_unref(second);
    done();
}
END_TEST

static uint64_t state;
static uint64_t below(uint64_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
}

enum {
    WAITERS = 60,
    PLACES_AT_ONCE = 2
};

static bool wants_at(const struct queuer *q, const struct gauge *g)
{
    for (size_t i = 0; i < q->n; i++)
        if (q->at[i].gauge == g && q->at[i].is_wanted)
            return true;
    return false;
}

static bool are_equal(const struct queuer *x, const struct queuer *y)
{
    for (size_t i = 0; i < y->n; i++)
        if (!wants_at(x, y->at[i].gauge))
            return false;
    return x->n == y->n;
}

/* Requests that may be served by some of three places, of any size of flow, that come, are served, and leave in any order, the moment before
 * they hear that it is their turn included: nothing is free that somebody waits for, and of equals the one that came first is served first. */
START_TEST(whatever_happens_nobody_waits_for_what_is_free)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct hall h;
        struct queuer q[WAITERS];
        size_t runs[GAUGES] = {0}, served = 0, come = 0;
        state = seed;
        hall_init(&h, (const int64_t[]){PLACES_AT_ONCE, PLACES_AT_ONCE, PLACES_AT_ONCE});
        for (size_t g = 0; g < GAUGES; g++)
            while (take(&h.p[g], 0, 1))
                runs[g]++;
        for (size_t step = 0; step < 1000 && (come < WAITERS || limiter_counts(limiter).waiting);
             step++) {
            size_t what = (size_t)below(4), place = 0, g = (size_t)below(GAUGES);
            size_t who = come ? (size_t)below(come) : 0;
            if (what < 2 && come < WAITERS) {
                size_t some = 1 + (size_t)below(7);
                queuer_init(&q[come], &h.bell, below(3));
                for (size_t k = 0; k < GAUGES; k++)
                    if (some >> k & 1)
                        wants(&q[come], h.p[k].gauge);
                for (size_t k = 0; k < GAUGES && !q[come].waits; k++) {
                    bool tries = some >> k & 1 && !limit_is_awaited(h.p[k].gauge);
                    q[come].waits = tries && take(&h.p[k], 0, 1);
                    runs[k] += q[come].waits;
                }
                q[come].waits = !q[come].waits; /* it was let in at once, or has to wait */
                if (q[come].waits)
                    ck_assert(limit_wait(limiter, &q[come].w, WAITERS));
                come++;
            } else if (what == 2 && runs[g] > 0) {
                runs[g]--;
                end(&h.p[g], 0, 0, 1, 1);
            } else if (what == 3 && come && q[who].waits) {
                limit_leave(limiter, &q[who].w);
                q[who].waits = false;
            }
            if (below(4) == 0)
                continue; /* the loop has not come to it yet */
            struct limit_waiter *w;
            while ((w = limit_next_woken(limiter, &h.bell))) {
                struct queuer *in = w->arg;
                w->turn->is_tried = true;
                w->turn->mark = limit_mark(w->turn->gauge);
                place = gauge_at(&h, w->turn->gauge);
                if (!take(&h.p[place], 0, 1)) {
                    limit_wait_again(limiter, w);
                    continue;
                }
                limit_got_in(limiter, w);
                in->waits = false;
                served++;
                ck_assert_uint_le(++runs[place], PLACES_AT_ONCE);
                for (size_t i = 0; i < come; i++)
                    ck_assert_msg(!q[i].waits || q[i].w.flow != in->w.flow ||
                                      q[i].w.arrival > in->w.arrival || !are_equal(&q[i], in),
                                  "seed %llu: out of order", (unsigned long long)seed);
            }
            for (size_t k = 0; k < GAUGES; k++)
                for (size_t i = 0; i < come && runs[k] < PLACES_AT_ONCE; i++)
                    ck_assert_msg(!q[i].waits || !wants_at(&q[i], h.p[k].gauge),
                                  "seed %llu: it waits for what is free", (unsigned long long)seed);
        }
        ck_assert_uint_gt(served, 0);
        ck_assert_uint_eq(limiter_counts(limiter).waiting, 0);
        for (size_t k = 0; k < GAUGES; k++)
            ck_assert_uint_eq(limit_waiting(h.p[k].gauge), 0);
        hall_done(&h);
    }
}
END_TEST

/* The same from several threads, each with a bell of its own. */
struct looper {
    struct limit_place p[2];
    uint64_t flow;
    _Atomic bool is_rung;
    _Atomic int64_t *at_once, *most;
    size_t served, left;
};

static void on_looper(void *arg)
{
    struct looper *l = arg;
    atomic_store(&l->is_rung, true);
}

static void go_in(struct looper *l, struct limit_place *p)
{
    int64_t n = atomic_fetch_add(l->at_once, 1) + 1, most = atomic_load(l->most);
    while (n > most && !atomic_compare_exchange_weak(l->most, &most, n))
        ;
    l->served++;
    atomic_fetch_sub(l->at_once, 1);
    end(p, 0, 0, 1, 1);
}

static void *loop(void *arg)
{
    struct looper *l = arg;
    struct limit_bell bell = {.ring = on_looper, .arg = l};
    for (int i = 0; i < 2000; i++) {
        struct queuer q;
        queuer_init(&q, &bell, l->flow);
        wants(&q, l->p[0].gauge);
        wants(&q, l->p[1].gauge);
        if (take(&l->p[i & 1], 0, 1)) {
            go_in(l, &l->p[i & 1]);
            continue;
        }
        ck_assert(limit_wait(limiter, &q.w, 1000));
        for (q.waits = true; q.waits;) {
            struct limit_waiter *w;
            if (i % 7 == 0 && !atomic_load(&l->is_rung)) { /* its client has gone */
                limit_leave(limiter, &q.w);
                l->left++;
                break;
            }
            if (!atomic_exchange(&l->is_rung, false)) {
                sched_yield();
                continue;
            }
            while ((w = limit_next_woken(limiter, &bell))) {
                struct limit_place *p = &l->p[w->turn->gauge == l->p[1].gauge];
                w->turn->is_tried = true;
                w->turn->mark = limit_mark(p->gauge);
                if (!take(p, 0, 1)) {
                    limit_wait_again(limiter, w);
                    continue;
                }
                limit_got_in(limiter, w);
                q.waits = false;
                go_in(l, p);
            }
        }
    }
    return NULL;
}

START_TEST(loops_wait_in_the_same_lines)
{
    pthread_t threads[4];
    struct looper l[4];
    struct limit_place p[2] = {place_of("a", (struct limits){.concurrency = 1})};
    struct snapshot *first = snap;
    _Atomic int64_t at_once = 0, most = 0;
    size_t all = 0;
    p[1] = place_of("b", (struct limits){.concurrency = 1});
    for (size_t i = 0; i < ARRAY_LEN(l); i++) {
        l[i] = (struct looper){
            .p = {p[0], p[1]}, .flow = i % 3, .at_once = &at_once, .most = &most};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, loop, &l[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(l); i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        all += l[i].served + l[i].left;
    }
    ck_assert_uint_eq(all, 4 * 2000);
    ck_assert_int_le(atomic_load(&most), 2);
    ck_assert_uint_eq(limiter_counts(limiter).waiting, 0);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(limit_waiting(p[i].gauge), 0);
        ck_assert_int_eq(limit_view(&p[i], LIMIT_CONCURRENCY, 1).used, 0);
    }
    snapshot_unref(first);
    done();
}
END_TEST

/* ---- places that go, and come back ---- */

START_TEST(an_edit_forgets_nothing_and_the_number_kept_is_bounded)
{
    struct limit_place p = place_of("k", (struct limits){.requests_per_minute = 2});
    ck_assert(take(&p, 0, 1000000) && take(&p, 0, 1000000));
    snapshot_unref(snap);
    p = place_of("k", (struct limits){.requests_per_minute = 3}); /* raised */
    ck_assert(take(&p, 0, 1000000));
    ck_assert(!take(&p, 0, 1000000));
    for (int i = 0; i < 6000; i++) {
        char id[16];
        snapshot_unref(snap);
        (void)snprintf(id, sizeof id, "k%d", i);
        p = place_of(id, (struct limits){.requests_per_minute = 2});
    }
    struct limit_counts c = limiter_counts(limiter);
    ck_assert_uint_le(c.gauges, 4200);
    ck_assert_uint_ge(c.evicted, 1800);
    ck_assert(take(&p, 0, 1000000) && take(&p, 0, 1000000) && !take(&p, 0, 1000000));
    done();
}
END_TEST

UNIT_MAIN("limit", hours_slide_and_outlive_the_process, no_window_of_an_hour_exceeds_it,
          a_conversation_keeps_its_seat_for_half_an_hour, seats_hold_whoever_comes_at_once,
          a_minute_holds_so_many_and_no_more, no_window_of_a_minute_exceeds_it,
          a_day_outlives_the_process, days_and_long_pauses, tokens_are_reserved_and_settled,
          all_places_or_none, ten_thousand_at_once_never_exceed_it_by_one,
          coming_and_going_at_once_leaves_nothing_behind,
          flows_share_evenly_however_many_wait_in_each, who_leaves_is_not_woken_and_holds_nobody_up,
          what_happens_between_the_try_and_the_wait_is_not_missed,
          two_lines_serve_in_turn_and_in_order, a_turn_elsewhere_is_not_missed, arrival_is_for_good,
          a_limit_that_is_raised_or_removed_wakes_who_waits,
          whatever_happens_nobody_waits_for_what_is_free, loops_wait_in_the_same_lines,
          an_edit_forgets_nothing_and_the_number_kept_is_bounded)
