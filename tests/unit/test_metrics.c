/* The counters: sums over loops, bounds of label sets, series, and reading while loops write. */
#include "unit.h"
#include "meter/exposition.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define SECOND 1000000000u

static const struct ir_usage usage = {
    .input_total = 10, .output_total = 5, .cache_read = 3, .cache_write = -1, .reasoning = 2};
static const struct provider_kind kind = {.id = "google"};
static struct snapshot *snap;
static struct metrics *metrics;

static struct upstream upstream(const char *name)
{
    return (struct upstream){.name = str_of(name), .kind = &kind};
}

static struct metrics_request request(const char *model, const struct upstream *u)
{
    return (struct metrics_request){.now_ns = 1000u * (uint64_t)SECOND,
                                    .op = OP_CHAT,
                                    .client = WIRE_CHAT,
                                    .model = str_of(model),
                                    .snap = snap,
                                    .upstream = u,
                                    .status = 200,
                                    .error_code = "",
                                    .usage = &usage,
                                    .attempts = 1,
                                    .ttft_us = 2000,
                                    .duration_us = 30000};
}

static void begin(unsigned loops, unsigned labels)
{
    snap = snapshot_new();
    snapshot_index(snap);
    metrics = metrics_new(loops, labels);
}

static void end(void)
{
    metrics_free(metrics);
    snapshot_unref(snap);
}

START_TEST(loops_are_summed)
{
    struct upstream u = upstream("up");
    struct arena *a = arena_new();
    begin(2, 100);
    struct metrics_request r = request("m", &u), bad = r, gone = r;
    struct key key = {.id = STR("k1")};
    r.key = &key;
    r.is_stream = true;
    bad.status = 502;
    bad.error_code = "bad_gateway";
    bad.attempts = 3;
    bad.failed_attempts = 3;
    bad.ttft_us = -1;
    gone.model = STR_NONE;
    gone.upstream = NULL;
    gone.status = 404;
    gone.error_code = "model_not_found";
    metrics_done(metrics_shard(metrics, 0), &r);
    metrics_done(metrics_shard(metrics, 1), &r);
    metrics_done(metrics_shard(metrics, 1), &bad);
    metrics_done(metrics_shard(metrics, 0), &gone);
    metrics_attempt_failed(metrics_shard(metrics, 1), &u, 6);
    metrics_attempt_failed(metrics_shard(metrics, 0), &u, 6);
    metrics_refused(metrics_shard(metrics, 0), 401);
    struct metrics_sum *s = metrics_read(metrics, a);
    ck_assert_uint_eq(s->n_traffic, 3);
    uint64_t requests = 0;
    for (size_t i = 0; i < s->n_traffic; i++) {
        const struct traffic_sum *t = &s->traffic[i];
        requests += t->duration.count;
        if (!str_is(t->model, "m") || t->is_error)
            continue;
        check_text(t->upstream, "up");
        ck_assert_uint_eq(t->duration.count, 2);
        ck_assert_int_eq(t->duration.sum, 60000);
        ck_assert_int_eq(t->tokens_in.sum, 20);
        ck_assert_int_eq(t->tokens_out.sum, 10);
        ck_assert_uint_eq(t->cache_read, 6);
        ck_assert_uint_eq(t->cache_write, 0);
        ck_assert_uint_eq(t->reasoning, 4);
        ck_assert_uint_eq(t->ttft.bucket[1], 2);     /* 2 ms: above 1, up to 5 */
        ck_assert_uint_eq(t->duration.bucket[5], 2); /* 30 ms: above 20, up to 40 */
        ck_assert_int_eq(t->per_token.sum, 14000);   /* (30 - 2) ms over 4 tokens, twice */
    }
    ck_assert_uint_eq(requests, 4);
    ck_assert_uint_eq(s->n_outcomes, 3);
    ck_assert_uint_eq(s->n_dims[DIM_MODEL], 1); /* the unknown model is none */
    ck_assert_uint_eq(s->dims[DIM_MODEL][0].requests, 3);
    ck_assert_uint_eq(s->dims[DIM_MODEL][0].errors, 1);
    ck_assert_uint_eq(s->n_dims[DIM_KEY], 2); /* k1, and nobody */
    ck_assert_uint_eq(s->n_attempts, 1);
    ck_assert_uint_eq(s->attempts[0].ok, 2);
    ck_assert_uint_eq(s->attempts[0].by_fault[6], 2);
    ck_assert_uint_eq(s->n_refused, 1);
    ck_assert_int_eq(s->refused[0].status, 401);
    end();
    arena_free(a);
}
END_TEST

/* 10 000 names of models, of which the configuration knows none: half of the room is theirs, the rest counts as other. */
START_TEST(labels_are_bounded)
{
    struct upstream u = upstream("up");
    struct arena *a = arena_new();
    begin(2, 100);
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "up/model-%u", i);
        struct metrics_request r = request(name, &u);
        metrics_done(metrics_shard(metrics, i % 2), &r);
    }
    for (unsigned i = 0; i < 1000; i++) { /* keys and errors are always ours: they may fill it up */
        char id[32];
        (void)snprintf(id, sizeof id, "key-%u", i);
        struct key key = {.id = str_of(id)};
        struct metrics_request r = request("up/model-1", &u);
        r.key = &key;
        r.error_code = id;
        r.status = 400;
        metrics_done(metrics_shard(metrics, 0), &r);
    }
    struct metrics_sum *s = metrics_read(metrics, a);
    uint64_t all = 0, other = 0;
    for (size_t i = 0; i < s->n_dims[DIM_MODEL]; i++) {
        all += s->dims[DIM_MODEL][i].requests;
        if (str_is(s->dims[DIM_MODEL][i].text, "other"))
            other = s->dims[DIM_MODEL][i].requests;
    }
    ck_assert_uint_eq(s->n_dims[DIM_MODEL], 51);
    ck_assert_uint_eq(all, 11000);
    ck_assert_uint_eq(other, 10000 - 50);
    ck_assert_uint_eq(s->n_dims[DIM_KEY], 102); /* 100, other, and nobody */
    ck_assert_uint_le(s->n_outcomes, 50 + 1 + 101);
    ck_assert_uint_eq(s->labels_beyond, 10000 - 50 + 900);
    end();
    arena_free(a);
}
END_TEST

START_TEST(configured_models_keep_their_room)
{
    struct upstream u = upstream("up");
    struct arena *a = arena_new();
    struct target target = {.upstream = &u, .model = STR("x")};
    begin(1, 20);
    struct model models[10], *all[10];
    char names[10][16];
    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(names[i], sizeof names[i], "known-%u", i);
        models[i] = (struct model){
            .name = str_of(names[i]), .targets = &target, .n_targets = 1, .is_enabled = true};
        all[i] = &models[i];
    }
    snap->models = all;
    snap->n_models = 10;
    snapshot_index(snap);
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "up/made-up-%u", i);
        struct metrics_request r = request(name, &u);
        metrics_done(metrics_shard(metrics, 0), &r);
    }
    for (unsigned i = 0; i < 10; i++) {
        struct metrics_request r = request(names[i], &u);
        metrics_done(metrics_shard(metrics, 0), &r);
    }
    struct metrics_sum *s = metrics_read(metrics, a);
    unsigned known = 0;
    for (size_t i = 0; i < s->n_dims[DIM_MODEL]; i++)
        known += str_starts(s->dims[DIM_MODEL][i].text, STR("known-"));
    ck_assert_uint_eq(known, 10);
    snap->models = NULL;
    snap->n_models = 0;
    end();
    arena_free(a);
}
END_TEST

START_TEST(a_name_that_is_ours)
{
    struct upstream u = upstream("other");
    struct arena *a = arena_new();
    begin(1, 20);
    struct metrics_request r = request("other", &u);
    metrics_done(metrics_shard(metrics, 0), &r);
    struct metrics_sum *s = metrics_read(metrics, a);
    ck_assert_uint_eq(s->n_dims[DIM_MODEL], 1);
    check_text(s->dims[DIM_MODEL][0].text, "other");
    end();
    arena_free(a);
}
END_TEST

START_TEST(series_by_second_and_by_label)
{
    struct upstream u = upstream("up");
    struct metrics_point p[METRICS_SECONDS];
    struct dim_recent *recent;
    struct arena *a = arena_new();
    begin(2, 20);
    struct metrics_request r = request("m", &u);
    const uint64_t start = r.now_ns;
    r.cost_nanousd = 7;
    for (unsigned s = 0; s < 700; s++) { /* longer than any ring */
        r.now_ns = start + s * (uint64_t)SECOND;
        r.status = s % 10 ? 200 : 500;
        r.is_unpriced = s % 10 == 0;
        for (unsigned i = 0; i <= s % 3; i++)
            metrics_done(metrics_shard(metrics, i % 2), &r);
    }
    metrics_series(metrics, r.now_ns, 300, p);
    for (unsigned i = 0; i < 300; i++) {
        unsigned s = 400 + i;
        ck_assert_uint_eq(p[i].requests, s % 3 + 1);
        ck_assert_uint_eq(p[i].errors, s % 10 ? 0 : s % 3 + 1);
        ck_assert_uint_eq(p[i].tokens_out, 5 * (s % 3 + 1));
        ck_assert_int_eq(p[i].duration_us, 30000 * (s % 3 + 1));
        ck_assert_uint_eq(p[i].cost_nanousd, 7 * (s % 3 + 1));
        ck_assert_uint_eq(p[i].unpriced, p[i].errors);
    }
    metrics_series(metrics, r.now_ns + 10 * (uint64_t)SECOND, 11, p);
    ck_assert_uint_eq(p[0].requests, 699 % 3 + 1);
    for (unsigned i = 1; i < 11; i++)
        ck_assert_uint_eq(p[i].requests, 0);
    ck_assert(metrics_dim_series(metrics, DIM_MODEL, STR("m"), r.now_ns, 60, p));
    for (unsigned i = 0; i < 60; i++)
        ck_assert_uint_ge(p[i].requests, 9); /* five seconds of 1, 2 or 3 */
    ck_assert(!metrics_dim_series(metrics, DIM_MODEL, STR("n"), r.now_ns, 60, p));
    ck_assert_uint_eq(metrics_recent(metrics, DIM_UPSTREAM, r.now_ns, 60, a, &recent), 1);
    ck_assert_uint_eq(recent[0].sum.requests, 600);
    ck_assert_uint_eq(recent[0].sum.cost_nanousd, 4200);
    ck_assert_uint_ge(recent[0].sum.unpriced, 50);
    ck_assert_uint_eq(
        metrics_recent(metrics, DIM_UPSTREAM, r.now_ns + 400 * (uint64_t)SECOND, 60, a, &recent),
        0);
    end();
    arena_free(a);
}
END_TEST

#define WRITES 20000u
static _Atomic unsigned writers;

static void *write_many(void *arg)
{
    struct upstream u = upstream("up");
    for (unsigned i = 0; i < WRITES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "m-%u", i % 40);
        struct metrics_request r = request(name, &u);
        r.now_ns += i * (uint64_t)SECOND / 16;
        metrics_done(arg, &r);
        if (i % 7 == 0)
            metrics_attempt_failed(arg, &u, 3);
    }
    atomic_fetch_sub(&writers, 1);
    arena_thread_done();
    return NULL;
}

/* For the thread sanitizer; and a number that was read never shrinks. */
START_TEST(reading_while_loops_write)
{
    pthread_t threads[2];
    uint64_t before = 0;
    struct metrics_point p[METRICS_SECONDS];
    begin(2, 100);
    atomic_store(&writers, 2);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, metrics_shard(metrics, i)),
                         0);
    for (bool is_last = false; !is_last;) {
        is_last = atomic_load(&writers) == 0;
        struct arena *a = arena_new();
        struct metrics_sum *s = metrics_read(metrics, a);
        uint64_t n = 0;
        for (size_t i = 0; i < s->n_dims[DIM_MODEL]; i++)
            n += s->dims[DIM_MODEL][i].requests;
        ck_assert_uint_ge(n, before);
        before = n;
        metrics_series(metrics, 1000u * (uint64_t)SECOND + WRITES * (uint64_t)SECOND / 16, 300, p);
        for (unsigned i = 0; i < 300; i++)
            ck_assert_uint_le(p[i].requests, 32);
        arena_free(a);
    }
    for (unsigned i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    ck_assert_uint_eq(before, 2 * WRITES);
    end();
}
END_TEST

static struct str no_label(void *arg, struct str id)
{
    (void)arg;
    (void)id;
    return STR("a \"label\"\n");
}

static const char *a_fault(unsigned fault)
{
    (void)fault;
    return "transport";
}

START_TEST(the_text)
{
    struct upstream u = upstream("up");
    struct arena *a = arena_new();
    struct buf b;
    struct metrics_gauges now = {.version = "1", .last_reload_ms = 1795256570123};
    begin(1, 20);
    struct metrics_request r = request("m", &u);
    struct key key = {.id = STR("k")};
    r.key = &key;
    metrics_done(metrics_shard(metrics, 0), &r);
    metrics_attempt_failed(metrics_shard(metrics, 0), &u, 6);
    struct metrics_view v = {metrics_read(metrics, a), &now, a_fault, no_label, NULL};
    buf_init_arena(&b, a, 1 << 20);
    exposition_text(&v, false, &b);
    const char *const lines[] = {
        "# TYPE sluice_requests_total counter\n"
        "sluice_requests_total{gen_ai_operation_name=\"chat\",gen_ai_request_model=\"m\",upstream="
        "\"up\",format=\"openai_chat\",code=\"200\"} 1\n",
        "gen_ai_server_request_duration_seconds_bucket{gen_ai_operation_name=\"chat\",gen_ai_"
        "provider_name=\"gcp.gemini\","
        "gen_ai_request_model=\"m\",upstream=\"up\",format=\"openai_chat\",outcome=\"ok\",le=\"0."
        "04\"} 1\n",
        "le=\"0.02\"} 0\n",
        "le=\"+Inf\"} 1\n",
        "sluice_key_requests_total{key_id=\"k\",key_label=\"a \\\"label\\\"\\n\",outcome=\"ok\"} "
        "1\n",
        "sluice_upstream_attempts_total{upstream=\"up\",fault=\"transport\"} 1\n",
        "sluice_config_last_reload_timestamp_seconds 1795256570.123\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        ck_assert_msg(str_contains(buf_str(&b), str_of(lines[i])), "no %s in " STR_FMT, lines[i],
                      STR_ARG(buf_str(&b)));
    ck_assert(!str_contains(buf_str(&b), STR("EOF")));
    buf_clear(&b);
    exposition_text(&v, true, &b);
    ck_assert(str_contains(buf_str(&b), STR("# TYPE sluice_requests counter\n")));
    ck_assert(str_contains(buf_str(&b), STR("# UNIT process_cpu_seconds seconds\n")));
    ck_assert(str_ends(buf_str(&b), STR("# EOF\n")));
    end();
    arena_free(a);
}
END_TEST

UNIT_MAIN("metrics", loops_are_summed, labels_are_bounded, configured_models_keep_their_room,
          a_name_that_is_ours, series_by_second_and_by_label, reading_while_loops_write, the_text)
