/* serve.c - `sluice serve`: builds the rooms, connects them, runs until told to stop. */
#include "api/api.h"
#include "api/change_work.h"
#include "api/control.h"
#include "api/document.h"
#include "api/refusals.h"
#include "api/requests.h"
#include "api/metrics.h"
#include "api/test_tasks.h"
#include "app/breakers.h"
#include "app/cmd.h"
#include "app/config.h"
#include "app/config_money.h"
#include "app/first_start.h"
#include "app/limits.h"
#include "app/operators.h"
#include "app/pidfile.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "domain/ledger.h"
#include "meter/body_store.h"
#include "meter/journal.h"
#include "meter/totals.h"
#include "relay/semantic.h"
#include "store/db.h"
#include "version.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_LOOPS 256
#define CONTROL_WORKERS 4
#define CONTROL_QUEUE 1024
#define ERRAND_WORKERS 8
#define ERRAND_QUEUE 256
#define FETCH_WORKERS 8
#define FETCH_QUEUE 256
#define DRAIN_POLL_MS 20
#define SAVE_COUNTERS_MS 30000
#define SAVE_BREAKERS_MS 250 /* at the least, between two times */
#define MAX_CONFIG_FILE (64u << 20)
#define SWEEP_MS 60000
#define HASH_QUEUE 64
#define WATCH_SETTLE_MS 200 /* editors write a file in several steps */

struct server;

struct worker_loop { /* one loop thread and what lives on it */
    struct server *server;
    struct loop *loop;
    struct http_client *client;
    struct http_server *http;
    struct relay_loop relay;
    struct api api;
    pthread_t thread;
    struct timer drain_timer;
    uint64_t drain_until_ms;
    bool is_started, is_drained;
};

struct server {
    int64_t last_line_us; /* of the ledger, before this start */
    struct serve_options options;
    struct config_sources sources;
    struct worker_loop loops[MAX_LOOPS];
    unsigned n_loops;
    struct usage_log *usage;
    /* what a start reads by, and nothing afterwards: while it is open the journal stays, and readers need no room on a full disk */
    struct db *anchor;
    struct body_store *bodies;
    struct tail *tail;
    char bodies_dir[4096];
    struct workers *workers, *fetchers, *hashers;
    /* of the control plane: for what is quick, and for what waits for others */
    struct workers *clerks, *errands;
    struct identity *identity;
    bool is_loopback;
    struct limiter *limiter;
    struct relay_shared *shared;
    struct router *router;
    struct control control;
    pthread_mutex_t change_lock;
    struct config_fault fault;
    _Atomic bool is_draining;
    struct metrics *metrics;
    struct totals_base *totals;
    uint64_t saved_limits;   /* of what the store holds of them */
    uint64_t saved_breakers; /* live_version() of those in the store */
    struct otlp *otlp;
    _Atomic bool are_loops_gone;
    struct timer save_timer;
    /* breakers are saved when they change: of the first loop, but for the flag */
    _Atomic bool are_breakers_due;
    bool are_breakers_written;
    uint64_t breakers_ms;
    struct timer breakers_timer;
    struct reload_counts reloads;
    struct loop *all_loops[MAX_LOOPS]; /* for the control plane */
    struct relay_loop *all_relays[MAX_LOOPS];
    /* of the first loop */
    uv_signal_t on_term, on_int, on_hup;
    uv_fs_event_t watch[2]; /* the folder of the file, and that of the file behind a link */
    struct timer watch_timer, sweep_timer;
    unsigned signals_seen;
};

/* ---- configuration ---- */

static struct usage_limits limits_of(const struct settings *set)
{
    return (struct usage_limits){.days = set->usage_retention_days,
                                 .success_max = set->request_log_success_max,
                                 .error_max = set->request_log_error_max,
                                 .figures_days = set->usage_figures_days};
}

static void set_log(const struct settings *set)
{
    enum log_level level = LOG_INFO;
    if (!log_level_parse(set->log_level, &level))
        level = LOG_INFO;
    log_setup(level, set->log_json);
}

static void configure_log(struct server *s, const struct settings *set)
{
    struct err e = ERR_INIT;
    struct usage_limits limits = limits_of(set);
    struct body_limits bodies = {.max_bytes = set->log_bodies_max_bytes,
                                 .days = set->log_bodies_days,
                                 .each_bytes = set->log_body_max_bytes};
    struct redactor *r = redactor_new(set->log_redact_fields, set->log_redact_pattern, &e);
    if (!r) /* its setting was checked */
        return;
    usage_log_set_limits(s->usage, &limits);
    usage_log_set_redactor(s->usage, r);
    body_store_configure(s->bodies, &bodies, r);
    redactor_unref(r);
}

/* The configuration is refused, and an older one goes on. */
static void refused(void *arg, const struct err *e)
{
    struct server *s = arg;
    log_error(NULL, "config.refused", "error=%s", e->message);
    atomic_fetch_add(&s->reloads.failed, 1);
    atomic_store(&s->reloads.is_last_ok, false);
    pthread_mutex_lock(&s->fault.lock);
    (void)snprintf(s->fault.message, sizeof s->fault.message, "%s", e->message);
    if (!atomic_load(&s->fault.is_set))
        s->fault.since_ms = clock_wall_ms();
    atomic_store(&s->fault.is_set, true);
    pthread_mutex_unlock(&s->fault.lock);
}

static bool build(void *arg, const struct config_draft *d, struct snapshot **out, struct err *e)
{
    struct server *s = arg;
    return config_build(&s->sources, d, out, e);
}

static void publish(void *arg, struct snapshot *next, bool is_of_file)
{
    struct server *s = arg;
    struct err e = ERR_INIT;
    if (!operators_refresh(s->identity, &s->sources, next, &e))
        log_error(NULL, "operators.not_read", "error=%s", e.message);
    set_log(&next->settings);
    log_info(NULL, "config.loaded", "upstreams=%zu models=%zu keys=%zu", next->n_upstreams,
             next->n_models, next->n_keys);
    configure_log(s, &next->settings);
    otlp_configure(s->otlp, &next->settings, str_of(s->sources.data_dir));
    limiter_bind(s->limiter, next);
    bool is_rebound = live_bind(relay_live_state(s->shared), next);
    config_publish(next, s->sources.db_path, s->usage);
    if (is_rebound) /* is saved with the snapshot that it belongs to */
        live_touch(relay_live_state(s->shared));
    atomic_fetch_add(&s->reloads.ok, 1);
    atomic_store(&s->reloads.last_ms, clock_wall_ms());
    atomic_store(&s->reloads.is_last_ok, true);
    if (is_of_file && atomic_exchange(&s->fault.is_set, false))
        log_info(NULL, "config.mended", "file=%s", s->sources.file ? s->sources.file : "none");
}

/* Records what others than api/change.h did. */
static void observe_with(struct server *s, struct db *db, const char *actor, struct err *e)
{
    struct arena *a = arena_new();
    if (!db || !change_observe(a, &s->control, db, str_of(actor), e))
        log_warn(NULL, "config.not_recorded", "error=%s", e->message);
    arena_free(a);
}

static void observe(struct server *s, const char *actor)
{
    struct err e = ERR_INIT;
    struct db *db = db_open(s->sources.db_path, DB_READ_WRITE, &e);
    observe_with(s, db, actor, &e);
    db_close(db);
}

static bool reload_locked(struct server *s, struct err *e)
{
    struct snapshot *next;
    if (!change_settle(&s->sources.seal, s->sources.db_path, s->sources.file, e) ||
        !build(s, NULL, &next, e)) {
        refused(s, e);
        return false;
    }
    publish(s, next, true);
    observe(s, "file");
    return true;
}

static bool reload(void *arg, struct err *e)
{
    struct server *s = arg;
    pthread_mutex_lock(&s->change_lock);
    bool ok = reload_locked(s, e);
    pthread_mutex_unlock(&s->change_lock);
    return ok;
}

/* Only if the file says something else than what was loaded last: our own changes are seen here too. */
static void reload_if_changed(void *arg)
{
    struct server *s = arg;
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct str text;
    pthread_mutex_lock(&s->change_lock);
    struct snapshot *now = snapshot_current();
    bool is_same = file_read(a, s->sources.file, MAX_CONFIG_FILE, &text, &e) &&
                   str_eq(text, now->file_text) && !atomic_load(&s->fault.is_set);
    snapshot_unref(now);
    err_clear(&e);
    if (!is_same)
        (void)reload_locked(s, &e);
    pthread_mutex_unlock(&s->change_lock);
    snapshot_thread_done();
    arena_free(a);
}

static void observe_start(void *arg)
{
    struct server *s = arg;
    struct err e = ERR_INIT;
    pthread_mutex_lock(&s->change_lock);
    observe_with(s, s->anchor, "start", &e);
    /* from now on it only stands there */
    if (!db_exec(s->anchor, "PRAGMA mmap_size=0; PRAGMA shrink_memory;", &e))
        log_warn(NULL, "store.memory_held", "error=%s", e.message);
    pthread_mutex_unlock(&s->change_lock);
    snapshot_thread_done();
}

static void origins_of_settings(void *arg, enum origin *from)
{
    struct server *s = arg;
    setting_origins(&s->sources, from);
}

static void reload_on_worker(void *arg)
{
    struct err e = ERR_INIT;
    (void)reload(arg, &e);
    snapshot_thread_done();
}

static void request(struct server *s, void (*run)(void *arg))
{
    if (!workers_run(s->workers, s->loops[0].loop, run, NULL, s))
        log_warn(NULL, "config.reload_skipped", "reason=%s", "workers busy");
}

/* ---- counters that outlive the process ---- */

static void save_on_worker(void *arg)
{
    struct server *s = arg;
    struct snapshot *snap = snapshot_current();
    totals_save(s->totals, s->metrics, s->usage);
    limits_save(s->limiter, s->usage, &s->saved_limits);
    snapshot_unref(snap);
    snapshot_thread_done();
}

static void on_save(struct timer *t)
{
    struct server *s = (struct server *)(void *)((char *)t - offsetof(struct server, save_timer));
    /* workers busy: the next time will do */
    (void)!workers_run(s->workers, s->loops[0].loop, save_on_worker, NULL, s);
    timer_start(s->loops[0].loop, t, SAVE_COUNTERS_MS, on_save);
}

static void breakers_on_worker(void *arg)
{
    struct server *s = arg;
    struct snapshot *snap = snapshot_current();
    breakers_save(relay_live_state(s->shared), snap, s->usage, &s->saved_breakers);
    snapshot_unref(snap);
    snapshot_thread_done();
}

static void save_breakers(struct server *s);

static void on_breakers_time(struct timer *t)
{
    save_breakers((struct server *)(void *)((char *)t - offsetof(struct server, breakers_timer)));
}

static void on_breakers_saved(void *arg)
{
    struct server *s = arg;
    s->are_breakers_written = false;
    /* the store had no room, or they changed meanwhile */
    if (s->saved_breakers != live_version(relay_live_state(s->shared)))
        save_breakers(s);
}

/* One at a time, so that no older state is written behind a newer one. */
static void save_breakers(struct server *s)
{
    struct loop *l = s->loops[0].loop;
    uint64_t now = loop_now_ms(l), next = s->breakers_ms + SAVE_BREAKERS_MS;
    atomic_store(&s->are_breakers_due, false);
    if (atomic_load(&s->are_loops_gone)) /* its last messages: stop() saves them */
        return;
    if (s->are_breakers_written || timer_is_running(&s->breakers_timer))
        return;
    if (s->breakers_ms && now < next) {
        timer_start(l, &s->breakers_timer, next - now, on_breakers_time);
        return;
    }
    s->breakers_ms = now;
    s->are_breakers_written = workers_run(s->workers, l, breakers_on_worker, on_breakers_saved, s);
    if (!s->are_breakers_written)
        timer_start(l, &s->breakers_timer, SAVE_BREAKERS_MS, on_breakers_time);
}

static void on_breakers_due(void *arg)
{
    save_breakers(arg);
}

/* On any thread. A process that is killed right afterwards knows of it when it comes back. */
static void on_breakers_changed(void *arg)
{
    struct server *s = arg;
    if (!atomic_exchange(&s->are_breakers_due, true))
        loop_post(s->loops[0].loop, on_breakers_due, s);
}

static bool collect_metrics(void *arg, struct arena *a, struct metrics_view *v)
{
    struct server *s = arg;
    struct snapshot *snap = snapshot_current();
    bool ok = metrics_view(&s->control, snap, a, !atomic_load(&s->are_loops_gone), v);
    snapshot_unref(snap);
    return ok;
}

/* Where the ledger ends: new lines come behind it, also when the clock went back. */
static int64_t load_last_line(struct db *db)
{
    struct err e = ERR_INIT;
    int64_t id = 0;
    if (!ledger_last_id(db, &id, &e))
        log_warn(NULL, "ledger.unread", "error=%s", e.message);
    return id >> LEDGER_LOOP_BITS;
}

static void load_state(struct server *s, const struct snapshot *snap)
{
    breakers_load(relay_live_state(s->shared), snap, s->anchor);
    limits_load(s->limiter, s->anchor);
}

static void sweep_on_worker(void *arg)
{
    struct server *s = arg;
    operators_sweep(s->identity, &s->sources);
    refusals_write(s->control.refusals, s->sources.db_path, false, clock_mono_ms());
    snapshot_thread_done();
}

static void on_sweep(struct timer *t)
{
    struct server *s = (struct server *)(void *)((char *)t - offsetof(struct server, sweep_timer));
    timer_start(s->loops[0].loop, t, SWEEP_MS, on_sweep);
    if (!workers_run(s->workers, s->loops[0].loop, sweep_on_worker, NULL, s))
        log_warn(NULL, "operators.not_swept", "error=%s", "workers busy");
}

static void on_watch_settled(struct timer *t)
{
    request((struct server *)(void *)((char *)t - offsetof(struct server, watch_timer)),
            reload_if_changed);
}

static void on_watch(uv_fs_event_t *w, const char *name, int events, int status)
{
    struct server *s = w->data;
    const char *base = strrchr(s->sources.file, '/');
    base = base ? base + 1 : s->sources.file;
    (void)events;
    if (status != 0)
        return;
    /* Folders are watched: editors replace files, and a link on the way may be turned to another file. What is not the file's own
     * event does not put the look at it off. */
    if ((name && strcmp(name, base) == 0) || !timer_is_running(&s->watch_timer))
        timer_start(s->loops[0].loop, &s->watch_timer, WATCH_SETTLE_MS, on_watch_settled);
}

/* ---- the loops ---- */

static struct http_server_conf server_conf(const struct settings *set)
{
    struct http_server_conf c = http_server_conf_default;
    c.max_head_bytes = (size_t)set->max_head_bytes;
    c.max_target_bytes = (size_t)set->max_target_bytes;
    c.max_headers = (unsigned)set->max_headers;
    c.head_timeout_ms = (uint64_t)set->head_timeout_ms;
    c.body_timeout_ms = (uint64_t)set->body_timeout_ms;
    c.idle_timeout_ms = (uint64_t)set->idle_timeout_ms;
    c.write_timeout_ms = (uint64_t)set->write_timeout_ms;
    c.max_conns = (unsigned)set->max_conns;
    return c;
}

static struct http_client_conf client_conf(const struct settings *set)
{
    struct http_client_conf c = http_client_conf_default;
    c.max_idle_per_origin = (unsigned)set->upstream_max_idle;
    c.max_conns_per_origin = (unsigned)set->upstream_max_conns;
    c.idle_timeout_ms = (uint64_t)set->upstream_idle_ms;
    return c;
}

static bool build_loop(struct server *s, unsigned i, const struct snapshot *snap, uint16_t *port,
                       struct err *e)
{
    struct worker_loop *w = &s->loops[i];
    struct http_server_conf sc = server_conf(&snap->settings);
    struct http_client_conf cc = client_conf(&snap->settings);
    sc.held_bytes = cc.held_bytes = relay_held_bytes(s->shared);
    const char *host = s->options.host ? s->options.host : snap->settings.host.p;
    uint16_t bound;
    w->server = s;
    w->loop = loop_new(i);
    w->client = http_client_new(w->loop, &cc);
    w->relay = (struct relay_loop){.loop = w->loop,
                                   .client = w->client,
                                   .usage = s->usage,
                                   .bodies = s->bodies,
                                   .shared = s->shared,
                                   .index = i,
                                   .last_line_us = s->last_line_us,
                                   .metrics = metrics_shard(s->metrics, i),
                                   .otlp = s->otlp};
    relay_loop_init(&w->relay);
    w->api = (struct api){.relay = &w->relay,
                          .router = s->router,
                          .control = &s->control,
                          .workers = s->clerks,
                          .errands = s->errands,
                          .hashers = s->hashers,
                          .identity = s->identity,
                          .is_loopback = s->is_loopback,
                          .is_draining = &s->is_draining};
    w->http = http_server_new(w->loop, &sc, &api_handler, &w->api);
    if (!http_server_listen(w->http, host, *port, &bound, e))
        return false;
    *port = bound;
    w->relay.server = w->http;
    s->all_loops[i] = w->loop;
    s->all_relays[i] = &w->relay;
    return true;
}

static void *loop_main(void *arg)
{
    struct worker_loop *w = arg;
    loop_run(w->loop);
    snapshot_thread_done();
    arena_thread_done();
    return NULL;
}

static void free_loop(struct worker_loop *w)
{
    if (!w->loop)
        return;
    http_server_free(w->http);
    http_client_free(w->client);
    relay_loop_done(&w->relay);
    loop_free(w->loop);
}

/* ---- stopping ---- */

static void stop_loop(struct worker_loop *w)
{
    if (w->is_drained)
        return;
    w->is_drained = true;
    timer_stop(&w->drain_timer);
    http_server_close(w->http);
    loop_stop(w->loop);
}

static void on_drain_poll(struct timer *t)
{
    struct worker_loop *w = (struct worker_loop *)(void *)((char *)t - offsetof(struct worker_loop,
                                                                                drain_timer));
    if (http_server_conns(w->http) == 0 || loop_now_ms(w->loop) >= w->drain_until_ms)
        stop_loop(w);
    else
        timer_start(w->loop, t, DRAIN_POLL_MS, on_drain_poll);
}

static void drain_loop(void *arg)
{
    struct worker_loop *w = arg;
    struct snapshot *snap = snapshot_current();
    w->drain_until_ms = loop_now_ms(w->loop) + (uint64_t)snap->settings.drain_timeout_ms;
    snapshot_unref(snap);
    if (timer_is_running(&w->drain_timer) || w->is_drained)
        return;
    http_server_drain(w->http);
    on_drain_poll(&w->drain_timer);
}

static void cut_loop(void *arg)
{
    stop_loop(arg);
}

static void close_handle(uv_handle_t *h)
{
    if (h->loop && !uv_is_closing(h))
        uv_close(h, NULL);
}

static void on_stop_signal(uv_signal_t *sig, int number)
{
    struct server *s = sig->data;
    s->signals_seen++;
    atomic_store(&s->is_draining, true);
    log_info(NULL, s->signals_seen == 1 ? "server.draining" : "server.stopping",
             "signal=%d active=%llu", number, (unsigned long long)relay_active(s->shared));
    for (unsigned i = 0; i < s->n_loops; i++)
        loop_post(s->loops[i].loop, s->signals_seen == 1 ? drain_loop : cut_loop, &s->loops[i]);
}

static void on_reload_signal(uv_signal_t *sig, int number)
{
    (void)number;
    request(sig->data, reload_on_worker);
}

static void watch_signal(uv_loop_t *uv, uv_signal_t *h, int number, uv_signal_cb fn,
                         struct server *s)
{
    uv_signal_init(uv, h);
    h->data = s;
    uv_signal_start(h, fn, number);
    uv_unref((uv_handle_t *)h);
}

/* ---- start ---- */

static void keep_freed_memory(void)
{
    /* Streams take and give back tens of kilobytes all the time: a heap that shrinks each time its top is free grows again at
     * once, page by page. So does a large body in a mapping of its own; once one of these is set, the C library no longer finds
     * out by itself which sizes come back. */
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 16 << 20);
    (void)mallopt(M_TOP_PAD, 256 << 10);
}

/* Two descriptors a stream: as many as the system lets us have. */
static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

static bool write_port(const char *path, uint16_t port, struct err *e)
{
    char tmp[4096];
    if (snprintf(tmp, sizeof tmp, "%s.new", path) >= (int)sizeof tmp)
        return err_set(e, ERR_INPUT, "path_too_long", "path too long: '%s'", path);
    FILE *f = fopen(tmp, "we");
    if (!f)
        return err_errno(e, "cannot create", tmp);
    bool ok = fprintf(f, "%u\n", port) > 0;
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(tmp, path) != 0) {
        err_errno(e, "cannot write", path);
        (void)unlink(tmp);
        return false;
    }
    return true;
}

static void watch_folder(struct server *s, uv_fs_event_t *w, const char *file)
{
    char dir[4096];
    const char *slash = strrchr(file, '/');
    (void)snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
    uv_fs_event_init(loop_uv(s->loops[0].loop), w);
    w->data = s;
    if (uv_fs_event_start(w, on_watch, dir[0] ? dir : "/", 0) != 0)
        log_warn(NULL, "config.not_watched", "file=%s", file);
    uv_unref((uv_handle_t *)w);
}

static void start_watching(struct server *s)
{
    uv_loop_t *uv = loop_uv(s->loops[0].loop);
    watch_signal(uv, &s->on_term, SIGTERM, on_stop_signal, s);
    watch_signal(uv, &s->on_int, SIGINT, on_stop_signal, s);
    watch_signal(uv, &s->on_hup, SIGHUP, on_reload_signal, s);
    if (!s->sources.file)
        return;
    watch_folder(s, &s->watch[0], s->sources.file);
    char *real = realpath(s->sources.file, NULL);
    if (real && strcmp(real, s->sources.file) != 0)
        watch_folder(s, &s->watch[1], real);
    free(real);
}

/* What we ask ourselves goes the way of every client: in by the port. */
static void set_self(struct server *s, const struct snapshot *snap, uint16_t port)
{
    const char *host = s->options.host ? s->options.host : snap->settings.host.p;
    char origin[300];
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0 || !host[0])
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    (void)snprintf(origin, sizeof origin, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u",
                   host, port);
    s->control.tests = test_tasks_new(str_of(origin), s->control.internal_key);
    relay_set_self(s->shared, str_of(origin), s->control.internal_key);
}

/* sqlite-vec, where it was installed or is named: never by the API, since what is loaded runs in this process. */
static void load_semantic(struct server *s)
{
    const char *path = getenv("SLUICE_SQLITE_VEC");
    struct err e = ERR_INIT;
    if (!path || !path[0])
        return;
    struct semantic *engine = semantic_new(path, &e);
    if (engine)
        relay_set_semantic(s->shared, engine);
    else
        log_warn(NULL, "cache.no_engine", "error=%s", e.message);
}

static bool start_with(struct server *s, const struct snapshot *snap, struct err *e)
{
    struct err no_pid = ERR_INIT;
    if (!pidfile_take(s->sources.data_dir, &no_pid)) /* only the command line misses it */
        log_warn(NULL, "server.no_pid_file", "error=%s", no_pid.message);
    set_log(&snap->settings);
    s->n_loops = s->options.threads ? s->options.threads : (unsigned)snap->settings.threads;
    if (s->n_loops == 0)
        s->n_loops = (unsigned)uv_available_parallelism();
    if (s->n_loops > MAX_LOOPS)
        s->n_loops = MAX_LOOPS;
    uint16_t port = s->options.has_port ? s->options.port : (uint16_t)snap->settings.port;
    struct usage_limits limits = limits_of(&snap->settings);
    s->usage = usage_log_new(s->sources.db_path, s->n_loops + 1, &limits, e);
    if (!s->usage)
        return false;
    (void)snprintf(s->bodies_dir, sizeof s->bodies_dir, "%s/bodies", s->sources.data_dir);
    s->bodies = body_store_new(s->bodies_dir, s->usage, s->n_loops);
    s->tail = tail_new(s->usage);
    configure_log(s, &snap->settings);
    s->workers = workers_new(CONTROL_WORKERS, CONTROL_QUEUE);
    s->clerks = workers_new(CONTROL_WORKERS, CONTROL_QUEUE);
    s->errands = workers_new(ERRAND_WORKERS, ERRAND_QUEUE);
    s->fetchers = workers_new(FETCH_WORKERS, FETCH_QUEUE);
    s->hashers = workers_new((unsigned)snap->settings.password_parallel, HASH_QUEUE);
    s->is_loopback = host_is_loopback(s->options.host ? s->options.host : snap->settings.host.p);
    s->shared = relay_shared_new(s->sources.db_path, s->usage, s->workers, s->fetchers,
                                 s->sources.data_dir, s->limiter);
    load_semantic(s);
    load_state(s, snap);
    s->router = router_new();
    s->metrics = metrics_new(s->n_loops, (unsigned)snap->settings.metrics_max_labels);
    s->totals = totals_load(s->anchor);
    s->last_line_us = load_last_line(s->anchor);
    s->otlp = otlp_new(s->n_loops, collect_metrics, s);
    atomic_store(&s->reloads.is_last_ok, true);
    atomic_store(&s->reloads.last_ms, clock_wall_ms());
    s->control = (struct control){.arg = s,
                                  .reload = reload,
                                  .build = build,
                                  .publish = publish,
                                  .refused = refused,
                                  .fault = &s->fault,
                                  .setting_origins = origins_of_settings,
                                  .usage = s->usage,
                                  .bodies = s->bodies,
                                  .tail = s->tail,
                                  .bodies_dir = str_of(s->bodies_dir),
                                  .change_lock = &s->change_lock,
                                  .seal = &s->sources.seal,
                                  .identity = s->identity,
                                  .refusals = refusals_new(),
                                  .document = document_new(),
                                  .data_dir = str_of(s->sources.data_dir),
                                  .db_path = str_of(s->sources.db_path),
                                  .config_path = str_of(s->sources.file),
                                  .internal_key = secret_of(str_of(s->sources.internal_key)),
                                  .is_stopping = &s->is_draining,
                                  .started_ms = clock_wall_ms(),
                                  .started_mono_ms = clock_mono_ms(),
                                  .metrics = s->metrics,
                                  .totals = s->totals,
                                  .otlp = s->otlp,
                                  .loops = s->all_loops,
                                  .relays = s->all_relays,
                                  .n_loops = s->n_loops,
                                  .shared = s->shared,
                                  .limiter = s->limiter,
                                  .reloads = &s->reloads,
                                  .is_draining = &s->is_draining};
    for (unsigned i = 0; i < s->n_loops; i++)
        if (!build_loop(s, i, snap, &port, e))
            return false;
    set_self(s, snap, port);
    start_watching(s);
    timer_start(s->loops[0].loop, &s->save_timer, SAVE_COUNTERS_MS, on_save);
    live_on_change(relay_live_state(s->shared), on_breakers_changed, s);
    otlp_configure(s->otlp, &snap->settings, str_of(s->sources.data_dir));
    request(s, observe_start);
    timer_start(s->loops[0].loop, &s->sweep_timer, SWEEP_MS, on_sweep);
    for (unsigned i = 1; i < s->n_loops; i++) {
        int rc = pthread_create(&s->loops[i].thread, NULL, loop_main, &s->loops[i]);
        if (rc != 0) {
            errno = rc;
            return err_errno(e, "cannot start", "a thread");
        }
        s->loops[i].is_started = true;
    }
    log_info(NULL, "server.listening", "host=%s port=%u threads=%u version=%s",
             s->options.host ? s->options.host : snap->settings.host.p, port, s->n_loops,
             sluice_version);
    if (!snap->settings.require_login && !s->is_loopback)
        log_warn(NULL, "login.required", "reason=%s",
                 "require_login is off, and the listener is no loopback address: it stays on");
    if (!s->options.is_quiet)
        first_greeting(&s->sources, snap, s->options.host ? s->options.host : snap->settings.host.p,
                       port);
    explicit_bzero(s->sources.first_key, sizeof s->sources.first_key);
    explicit_bzero(s->sources.claim_token, sizeof s->sources.claim_token);
    return !s->options.port_file || write_port(s->options.port_file, port, e);
}

/* Memory holds secrets in the clear: the core of a crash is written without it. (core(5); also where a program takes cores, which
 * minds no RLIMIT_CORE.) */
static void keep_memory_out_of_cores(void)
{
    int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "0", 1);
    (void)close(fd);
}

/* Before budgets are read from the ledger: what a process that was killed had settled, and not committed. */
static void recover_ledger(const char *db_path)
{
    struct err e = ERR_INIT;
    struct journal_found found;
    if (!journal_recover(db_path, &found, &e))
        log_error(NULL, "ledger.not_recovered", "error=%s", e.message);
    else if (found.files)
        log_warn(NULL, "ledger.recovered", "lines=%u added=%u torn=%u", found.lines, found.added,
                 found.torn);
}

static bool start(struct server *s, struct err *e)
{
    struct snapshot *snap;
    char hex[32];
    random_hex(hex, sizeof hex);
    (void)snprintf(s->sources.internal_key, sizeof s->sources.internal_key, "rsk-internal-%.32s",
                   hex);
    explicit_bzero(hex, sizeof hex);
    keep_memory_out_of_cores();
    s->anchor = state_open_held(&s->sources, e);
    if (!s->anchor || !db_exec(s->anchor, "PRAGMA mmap_size=268435456;", e))
        return false;
    recover_ledger(s->sources.db_path);
    if (!config_build(&s->sources, &(struct config_draft){.db = s->anchor}, &snap, e) ||
        !first_key(&s->sources, &snap, e))
        return false;
    s->identity = identity_new(s->sources.seal.key);
    if (!operators_refresh_from(s->identity, s->anchor, &s->sources, snap, e) ||
        (!s->options.is_quiet && !operators_first_claim(s->identity, &s->sources, snap, e))) {
        snapshot_unref(snap);
        return false;
    }
    s->limiter = limiter_new();
    limiter_bind(s->limiter, snap);
    /* another may take its place before we are done with it */
    config_publish(snapshot_ref(snap), s->sources.db_path, NULL);
    bool ok = start_with(s, snap, e);
    snapshot_unref(snap);
    return ok;
}

static void stop(struct server *s)
{
    for (unsigned i = 1; i < s->n_loops; i++)
        if (s->loops[i].is_started)
            (void)pthread_join(s->loops[i].thread, NULL);
    test_tasks_free(s->control.tests);
    workers_free(s->fetchers);
    if (s->workers)
        /* what is queued is finished: its answers go to loops that still exist */
        workers_free(s->workers);
    workers_free(s->errands);
    workers_free(s->clerks);
    workers_free(s->hashers);
    if (s->identity && s->loops[0].loop)
        operators_sweep(s->identity, &s->sources); /* when sessions were used last */
    if (s->control.refusals)
        refusals_write(s->control.refusals, s->sources.db_path, true, clock_mono_ms());
    atomic_store(&s->are_loops_gone, true);
    if (s->shared)
        live_on_change(relay_live_state(s->shared), NULL, NULL);
    otlp_settle(s->otlp);
    if (s->tail)
        tail_stop(s->tail);
    for (unsigned i = 0; i < s->n_loops; i++)
        free_loop(&s->loops[i]);
    otlp_free(s->otlp); /* with the last of what they had to say */
    body_store_free(s->bodies);
    db_close(s->anchor); /* before the writer's: the last one tidies up */
    if (s->usage && s->metrics)
        totals_save(s->totals, s->metrics, s->usage);
    struct snapshot *last = snapshot_current();
    if (s->usage && s->shared)
        breakers_save(relay_live_state(s->shared), last, s->usage, &s->saved_breakers);
    if (s->usage && s->limiter)
        limits_save(s->limiter, s->usage, &s->saved_limits);
    snapshot_unref(last);
    if (s->usage)
        usage_log_free(s->usage); /* lets go of responses that wait for the store */
    tail_free(s->tail);
    relay_shared_free(s->shared);
    router_free(s->router);
    metrics_free(s->metrics);
    totals_free(s->totals);
    snapshot_publish(NULL);
    snapshot_thread_done();
    limiter_free(s->limiter);
    identity_free(s->identity);
    refusals_free(s->control.refusals);
    document_free(s->control.document);
    pidfile_drop(s->sources.data_dir);
    state_close(&s->sources);
    arena_thread_done();
}

/* Signals end the process only through the first loop: threads made meanwhile never see them, and one that comes while we are
 * leaving changes nothing any more. */
static void hold_signals(bool is_held)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(is_held ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

int serve_run(const struct serve_options *options, const struct config_sources *sources)
{
    static struct server server; /* large, and one a process */
    struct server *s = &server;
    struct err e = ERR_INIT;
    int rc = 0;
    s->options = *options;
    s->sources = *sources;
    pthread_mutex_init(&s->fault.lock, NULL);
    pthread_mutex_init(&s->change_lock, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    /* a file at its limit is a write that fails, as on a full disk */
    (void)signal(SIGXFSZ, SIG_IGN);
    raise_file_limit();
    keep_freed_memory();
    hold_signals(true);
    log_hold(); /* the settings say how it is to look */
    bool is_started = start(s, &e);
    if (!is_started)
        log_setup(LOG_INFO, false);
    if (is_started) {
        hold_signals(false);
        loop_run(s->loops[0].loop);
        hold_signals(true);
    } else {
        (void)fprintf(stderr, "sluice: %s\n", e.message);
        rc = 1;
        for (unsigned i = 1; i < s->n_loops; i++)
            if (s->loops[i].is_started)
                loop_post(s->loops[i].loop, cut_loop, &s->loops[i]);
    }
    if (s->n_loops && s->loops[0].loop) {
        close_handle((uv_handle_t *)&s->on_term);
        close_handle((uv_handle_t *)&s->on_int);
        close_handle((uv_handle_t *)&s->on_hup);
        close_handle((uv_handle_t *)&s->watch[0]);
        close_handle((uv_handle_t *)&s->watch[1]);
        timer_stop(&s->watch_timer);
        timer_stop(&s->save_timer);
        timer_stop(&s->breakers_timer);
        timer_stop(&s->sweep_timer);
        if (rc != 0 && s->loops[0].http && !s->loops[0].is_drained)
            http_server_close(s->loops[0].http);
        (void)uv_run(loop_uv(s->loops[0].loop), UV_RUN_NOWAIT);
    }
    stop(s);
    return rc;
}
