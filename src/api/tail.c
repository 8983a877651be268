/* tail.c - GET /sluice/v1/requests/tail: requests as they end, as server-sent events.
 * While somebody listens, the usage log's writer puts what it has committed into batches and posts them to the loops that have
 * listeners. Each loop keeps the newest records for its own; a listener that cannot keep up loses the oldest and is told how many.
 * Nothing here happens on the way of a request. */
#include "api/requests.h"
#include "base/clock.h"
#include "meter/usage_log.h"
#include "net/worker.h"
#include <pthread.h>
#include <stdlib.h>

#define MAX_KEPT 2048u        /* records that a loop keeps for its listeners */
#define MAX_POSTED 32         /* batches on their way to one loop: more are lost to it */
#define TURN_BYTES (1u << 20) /* written in one turn to all listeners of a loop */
#define MAX_EVENT 65536u
#define MAX_LOOPS 256
#define MAX_LISTENERS 1000u /* of one loop */
#define KEEPALIVE_MS 15000u
#define LOOK_MS 500u
#define BACKLOG 1000u   /* records read from the store for one who comes back */
#define MAX_BACKLOG 10u /* such readings; what is older is lost */

struct entry {
    struct usage_record record; /* for filters */
    size_t at, n;               /* the event, in the batch's text */
};
struct batch { /* immutable once posted */
    _Atomic int refs;
    struct entry *v;
    size_t n, cap;
    struct buf text;
};

struct mail { /* a batch on its way to a loop */
    struct batch *batch;
    struct tail_loop *to;
};

struct kept { /* a batch that a loop keeps */
    struct kept *next;
    struct batch *batch;
};

struct tail_loop {
    struct loop *loop;
    _Atomic int posted;
    _Atomic uint64_t lost; /* records that were never posted here */
    /* the loop's own */
    struct tail_client *first;
    unsigned n_clients;
    struct kept *oldest, **newest;
    size_t n_kept;
    uint64_t trimmed; /* seq of the newest that went */
    struct timer timer;
};

struct tail {
    struct usage_log *usage;
    /* guards who gets posts; taken once a group, and when listeners come and go */
    pthread_mutex_t lock;
    struct tail_loop loops[MAX_LOOPS];
    unsigned listeners[MAX_LOOPS];
    unsigned n_listeners;
    bool is_stopped;
    struct batch *filling; /* the writer's */
};

struct backlog {               /* read on a worker for one who comes back */
    struct tail_client *owner; /* NULL: it left */
    struct arena *arena;
    struct snapshot *snap;
    const char *db_path;
    struct list_query query;
    struct usage_filter filter;
    int64_t after;
    struct buf text;
    size_t n;
};

struct tail_client {
    struct api_call *call;
    struct tail *tail;
    struct tail_loop *on;
    struct tail_client *next, **prev;
    struct list_query query;
    struct usage_filter filter;
    int64_t after;              /* seq of the last one it got, or passed over */
    uint64_t lost, lost_before; /* to be told; what its loop had lost when it came */
    unsigned backlogs;
    struct backlog *reading;
    uint64_t last_write_ms;
};

/* ---- the writer's side ---- */

static void batch_unref(struct batch *b)
{
    if (!b || atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    buf_done(&b->text);
    free(b->v);
    free(b);
}

static struct usage_row row_of(const struct usage_record *r)
{
    const struct ir_usage *u = &r->usage;
    return (struct usage_row){.seq = r->seq,
                              .end_ms = r->seq / 1000,
                              .request_id = str_of(r->request_id),
                              .key = str_of(r->key_id),
                              .model = str_of(r->model),
                              .upstream = str_of(r->upstream),
                              .upstream_model = str_of(r->upstream_model),
                              .op = str_of(r->op),
                              .client_format = str_of(r->client_format),
                              .upstream_format = str_of(r->upstream_format),
                              .error = str_of(r->error_code),
                              .status = r->status,
                              .attempts = r->attempts,
                              .is_stream = r->is_stream,
                              .quality = (int)r->quality,
                              .stop = (int)r->stop,
                              .input_total = u->input_total,
                              .cache_read = u->cache_read,
                              .cache_write = u->cache_write,
                              .output_total = u->output_total,
                              .reasoning = u->reasoning,
                              .audio_in = u->audio_in,
                              .audio_out = u->audio_out,
                              .ttft_us = r->ttft_us,
                              .duration_us = r->duration_us,
                              .bytes_in = r->bytes_in,
                              .bytes_out = r->bytes_out,
                              .cost_nanousd = r->money.cost_nanousd,
                              .detail = r->extra ? str_n(r->extra->text, r->extra->n) : STR_NONE};
}

static void write_event(struct buf *b, struct arena *a, const struct snapshot *snap,
                        const struct usage_row *row)
{
    struct usage_detail d;
    struct request_out out = request_show(a, snap, row, &d);
    struct jw w = jw_on(b);
    buf_fmt(b, "id: %lld\nevent: request\ndata: ", (long long)row->seq);
    shape_write(&request_shape, &out, &w);
    buf_lit(b, "\n\n");
}

static void on_record(void *arg, const struct usage_record *r)
{
    struct tail *t = arg;
    struct batch *b = t->filling;
    if (!b) {
        b = t->filling = calloc(1, sizeof *b);
        if (!b)
            abort();
        b->refs = 1;
        buf_init(&b->text, MAX_KEPT * MAX_EVENT);
    }
    if (b->n == b->cap) {
        size_t cap = b->cap * 2 + 16;
        struct entry *v = realloc(b->v, cap * sizeof *v);
        if (!v)
            abort();
        b->v = v;
        b->cap = cap;
    }
    struct arena *a = arena_new();
    struct snapshot *snap = snapshot_current();
    struct entry *e = &b->v[b->n++];
    struct usage_row row = row_of(r);
    e->record = *r;
    e->record.extra = NULL;
    e->at = b->text.n;
    write_event(&b->text, a, snap, &row);
    e->n = b->text.n - e->at;
    snapshot_unref(snap);
    arena_free(a);
}

static void on_batch(void *arg);

static void on_group(void *arg)
{
    struct tail *t = arg;
    struct batch *b = t->filling;
    t->filling = NULL;
    snapshot_thread_done(); /* the writer keeps no configuration alive */
    arena_thread_done();
    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; b && i < MAX_LOOPS && !t->is_stopped; i++) {
        struct tail_loop *l = &t->loops[i];
        if (t->listeners[i] == 0)
            continue;
        if (atomic_load(&l->posted) >= MAX_POSTED) {
            atomic_fetch_add(&l->lost, b->n);
            continue;
        }
        struct mail *m = malloc(sizeof *m);
        if (!m)
            abort();
        *m = (struct mail){b, l};
        atomic_fetch_add(&b->refs, 1);
        atomic_fetch_add(&l->posted, 1);
        loop_post(l->loop, on_batch, m);
    }
    pthread_mutex_unlock(&t->lock);
    batch_unref(b);
}

/* ---- the loops' side ---- */

static bool fits(struct str wanted, const char *has)
{
    return wanted.n == 0 || str_eq(wanted, str_of(has));
}

static bool holds(const char *hay, struct str needle)
{
    return str_holds_nocase(str_of(hay), needle);
}

static bool is_wanted(const struct tail_client *tc, const struct usage_record *r)
{
    const struct usage_filter *f = &tc->filter;
    int64_t end = r->seq / 1000;
    bool ok = r->seq > tc->after && fits(f->model, r->model) && fits(f->upstream, r->upstream) &&
              fits(f->op, r->op) && fits(f->client_format, r->client_format) &&
              fits(f->upstream_format, r->upstream_format) && fits(f->error, r->error_code) &&
              fits(f->request_id, r->request_id) &&
              (!f->status_min || r->status >= f->status_min) &&
              (!f->status_max || r->status <= f->status_max) &&
              (!f->is_stream || *f->is_stream == r->is_stream) &&
              (!f->from_ms || end >= f->from_ms) && (!f->to_ms || end <= f->to_ms);
    if (ok && f->has_keys) {
        ok = false;
        for (size_t i = 0; !ok && i < f->n_keys; i++)
            ok = str_eq(f->keys[i], str_of(r->key_id));
    }
    bool is_named = false;
    for (size_t i = 0; ok && i < f->n_text_keys; i++)
        is_named |= str_eq(f->text_keys[i], str_of(r->key_id));
    return ok && (f->text.n == 0 || is_named || holds(r->model, f->text) ||
                  holds(r->upstream, f->text) || holds(r->upstream_model, f->text) ||
                  holds(r->key_id, f->text) || holds(r->error_code, f->text));
}

static void say(struct tail_client *tc, struct str text)
{
    http_reply_body(tc->call->r, text);
    tc->last_write_ms = loop_now_ms(tc->on->loop);
}

static void tell_lost(struct tail_client *tc)
{
    uint64_t lost = atomic_load(&tc->on->lost);
    tc->lost += lost - tc->lost_before;
    tc->lost_before = lost;
    if (tc->lost == 0)
        return;
    say(tc, str_fmt(tc->call->r->arena, "event: lost\ndata: {\"count\":%llu}\n\n",
                    (unsigned long long)tc->lost));
    tc->lost = 0;
}

/* Writes what it has not seen, until it or the turn is full. */
static void deliver(struct tail_client *tc, size_t *left)
{
    if (tc->reading)
        return;
    for (struct kept *k = tc->on->oldest; k; k = k->next) {
        const struct batch *b = k->batch;
        if (b->n == 0 || b->v[b->n - 1].record.seq <= tc->after)
            continue;
        for (size_t i = 0; i < b->n; i++) {
            const struct entry *e = &b->v[i];
            if (e->record.seq <= tc->after)
                continue;
            if (is_wanted(tc, &e->record)) {
                if (e->n > *left || http_reply_is_full(tc->call->r))
                    return;
                tell_lost(tc);
                say(tc, str_n(b->text.p + e->at, e->n));
                *left -= e->n;
            }
            tc->after = e->record.seq;
        }
    }
    if (!http_reply_is_full(tc->call->r))
        tell_lost(tc);
}

static void deliver_all(struct tail_loop *l)
{
    size_t share = l->n_clients ? TURN_BYTES / l->n_clients : 0;
    for (struct tail_client *tc = l->first, *next; tc; tc = next) {
        size_t left = share > MAX_EVENT ? share : MAX_EVENT;
        next = tc->next;
        deliver(tc, &left);
    }
}

/* The oldest batch goes: those who did not get to it are told of what they would have wanted. */
static void drop_oldest(struct tail_loop *l)
{
    struct kept *k = l->oldest;
    const struct batch *b = k->batch;
    for (struct tail_client *tc = l->first; tc; tc = tc->next) {
        if (tc->reading)
            continue; /* it reads them from the store */
        for (size_t i = 0; i < b->n; i++)
            tc->lost += is_wanted(tc, &b->v[i].record);
        if (b->n && tc->after < b->v[b->n - 1].record.seq)
            tc->after = b->v[b->n - 1].record.seq;
    }
    l->oldest = k->next;
    if (!l->oldest)
        l->newest = &l->oldest;
    l->n_kept -= b->n;
    batch_unref(k->batch);
    free(k);
}

static void on_batch(void *arg)
{
    struct mail *m = arg;
    struct tail_loop *l = m->to;
    struct batch *b = m->batch;
    free(m);
    atomic_fetch_sub(&l->posted, 1);
    if (!l->first) {
        batch_unref(b);
        return;
    }
    struct kept *k = malloc(sizeof *k);
    if (!k)
        abort();
    *k = (struct kept){NULL, b};
    *l->newest = k;
    l->newest = &k->next;
    l->n_kept += b->n;
    deliver_all(l);
    while (l->oldest && l->oldest->next && l->n_kept > MAX_KEPT)
        drop_oldest(l);
}

static void on_timer(struct timer *timer)
{
    struct tail_loop *l = (struct tail_loop *)(void *)((char *)timer -
                                                       offsetof(struct tail_loop, timer));
    uint64_t now = loop_now_ms(l->loop);
    for (struct tail_client *tc = l->first, *next; tc; tc = next) {
        next = tc->next;
        if (atomic_load_explicit(tc->call->api->is_draining, memory_order_relaxed) ||
            !api_may_still(tc->call)) { /* whose session or key ended must ask again */
            struct http_req *r = tc->call->r;
            tail_leave(tc);
            http_reply_end(r);
        } else if (now - tc->last_write_ms >= KEEPALIVE_MS && !http_reply_is_full(tc->call->r)) {
            say(tc, STR(":\n\n"));
        }
    }
    if (l->first) {
        deliver_all(l);
        timer_start(l->loop, timer, LOOK_MS, on_timer);
    }
}

void tail_drain(struct tail_client *tc)
{
    size_t left = TURN_BYTES;
    deliver(tc, &left);
}

void tail_leave(struct tail_client *tc)
{
    struct tail_loop *l = tc->on;
    struct tail *t = tc->tail;
    *tc->prev = tc->next;
    if (tc->next)
        tc->next->prev = tc->prev;
    if (tc->reading)
        tc->reading->owner = NULL;
    tc->call->tail = NULL;
    l->n_clients--;
    if (!l->first) {
        timer_stop(&l->timer);
        while (l->oldest)
            drop_oldest(l);
    }
    pthread_mutex_lock(&t->lock);
    t->listeners[l - t->loops]--;
    if (--t->n_listeners == 0)
        usage_log_watch(t->usage, false);
    pthread_mutex_unlock(&t->lock);
}

/* ---- coming back: what is in the store behind the last one seen ---- */

static void read_more(struct tail_client *tc);

static void backlog_run(void *arg)
{
    struct backlog *k = arg;
    struct err e = ERR_INIT;
    struct db *db = db_open(k->db_path, DB_READ_ONLY, &e);
    struct usage_reader *r = db ? usage_reader_new(k->arena, db, &k->filter, &e) : NULL;
    int64_t ids[BACKLOG];
    if (r && usage_read_ids(r, k->after, 0, ids, BACKLOG, &k->n, &e))
        for (size_t i = 0; i < k->n; i++) {
            struct usage_row row;
            if (usage_read_row(r, ids[i], &row, &e))
                write_event(&k->text, k->arena, k->snap, &row);
            k->after = ids[i];
        }
    usage_reader_free(r);
    db_close(db);
    snapshot_thread_done();
}

static void backlog_done(void *arg)
{
    struct backlog *k = arg;
    struct tail_client *tc = k->owner;
    if (tc) {
        bool has_more = k->n == BACKLOG && tc->backlogs < MAX_BACKLOG;
        tc->reading = NULL;
        tc->after = k->after;
        if (k->text.n)
            say(tc, buf_str(&k->text));
        if (has_more)
            read_more(tc);
        else
            tail_drain(tc);
    }
    snapshot_unref(k->snap);
    buf_done(&k->text);
    arena_free(k->arena);
    free(k);
}

static const struct str *keys_dup(struct arena *a, const struct str *v, size_t n)
{
    struct str *copy = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = str_dup(a, v[i]);
    return copy;
}

static struct usage_filter filter_dup(struct arena *a, const struct usage_filter *f,
                                      bool *is_stream)
{
    struct usage_filter copy = *f;
    struct str *texts[] = {&copy.model,           &copy.upstream, &copy.op,   &copy.client_format,
                           &copy.upstream_format, &copy.error,    &copy.text, &copy.request_id};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(a, *texts[i]);
    copy.keys = keys_dup(a, f->keys, f->n_keys);
    copy.text_keys = keys_dup(a, f->text_keys, f->n_text_keys);
    if (f->is_stream) {
        *is_stream = *f->is_stream;
        copy.is_stream = is_stream;
    }
    return copy;
}

static void read_more(struct tail_client *tc)
{
    struct backlog *k = calloc(1, sizeof *k);
    struct api_call *c = tc->call;
    if (!k)
        abort();
    k->arena = arena_new();
    k->snap = snapshot_ref(c->snap);
    k->db_path = str_z(k->arena, c->api->control->db_path);
    k->filter = filter_dup(k->arena, &tc->filter, &k->query.stream);
    k->filter.oldest_first = true;
    k->after = tc->after;
    buf_init(&k->text, BACKLOG * MAX_EVENT);
    k->owner = tc;
    tc->backlogs++;
    tc->reading = k;
    if (!workers_run(c->api->workers, tc->on->loop, backlog_run, backlog_done, k)) {
        k->n = 0; /* too busy: it goes on from here, with what the loop keeps */
        backlog_done(k);
    }
}

/* ---- the endpoint ---- */

static void keys_labelled(struct tail_client *tc, struct str label)
{
    const struct snapshot *s = tc->call->snap;
    size_t n = 0;
    for (size_t i = 0; i < s->n_keys; i++)
        n += str_eq(s->keys[i]->label, label);
    struct str *keys = ARENA_ARRAY(tc->call->r->arena, struct str, n + 1);
    n = 0;
    for (size_t i = 0; i < s->n_keys; i++)
        if (str_eq(s->keys[i]->label, label))
            keys[n++] = s->keys[i]->id;
    tc->filter.keys = keys;
    tc->filter.n_keys = n;
    tc->filter.has_keys = true;
}

static void join(struct tail *t, struct tail_client *tc)
{
    unsigned i = tc->call->api->relay->index;
    struct tail_loop *l = &t->loops[i];
    l->loop = tc->call->api->relay->loop;
    tc->tail = t;
    tc->on = l;
    tc->lost_before = atomic_load(&l->lost);
    tc->next = l->first;
    tc->prev = &l->first;
    if (l->first)
        l->first->prev = &tc->next;
    else
        l->newest = &l->oldest;
    l->first = tc;
    l->n_clients++;
    tc->call->tail = tc;
    pthread_mutex_lock(&t->lock);
    t->listeners[i]++;
    t->n_listeners++;
    usage_log_watch(t->usage, true);
    pthread_mutex_unlock(&t->lock);
    if (!timer_is_running(&l->timer))
        timer_start(l->loop, &l->timer, LOOK_MS, on_timer);
}

static void tail(struct api_call *c)
{
    struct err e = ERR_INIT;
    struct http_req *r = c->r;
    struct tail_client *tc = ARENA_NEW(r->arena, struct tail_client);
    struct tail *t = c->api->control->tail;
    uint64_t present = 0;
    tc->call = c;
    if (!control_read_query(r->arena, c->row, r->query, &tc->query, &present, &e) ||
        !request_filter(&tc->query, present, &tc->filter, &e)) {
        api_refuse(c, &e);
        return;
    }
    request_keys_named(r->arena, c->snap, &tc->filter);
    if (tc->query.key_label.n)
        keys_labelled(tc, tc->query.key_label);
    if (t->loops[c->api->relay->index].n_clients >= MAX_LISTENERS) {
        err_set(&e, ERR_OVERLOADED, "busy", "Too many listeners at once: try again");
        api_fail(c, &e);
        return;
    }
    struct http_header h[] = {{STR("content-type"), STR("text/event-stream; charset=utf-8")},
                              {STR("cache-control"), STR("no-store")},
                              {STR("x-accel-buffering"), STR("no")},
                              {STR("x-request-id"), c->id},
                              {STR("vary"), STR("origin")},
                              {STR("access-control-allow-origin"), c->cors}};
    http_reply_head(r, 200, h, c->cors.n ? ARRAY_LEN(h) : ARRAY_LEN(h) - 1, -1);
    if (c->r->method == HTTP_HEAD) {
        http_reply_end(r);
        return;
    }
    join(t, tc);
    say(tc, STR(": requests as they end\n\n"));
    struct str last = http_req_header(r, "last-event-id");
    if (str_to_int(last, &tc->after) && tc->after > 0)
        read_more(tc);
    else
        tc->after = 0;
}

struct tail *tail_new(struct usage_log *usage)
{
    struct tail *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->usage = usage;
    pthread_mutex_init(&t->lock, NULL);
    for (unsigned i = 0; i < MAX_LOOPS; i++)
        t->loops[i].newest = &t->loops[i].oldest;
    usage_log_on_record(usage, on_record, on_group, t);
    return t;
}

void tail_stop(struct tail *t)
{
    pthread_mutex_lock(&t->lock);
    t->is_stopped = true;
    pthread_mutex_unlock(&t->lock);
}

void tail_free(struct tail *t)
{
    if (!t)
        return;
    batch_unref(t->filling);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* clang-format off */
const struct endpoint tail_endpoints[] = {
    { HTTP_GET, "/sluice/v1/requests/tail", SURFACE_SLUICE, ACCESS_VIEWER, "Requests as they end, as server-sent events; Last-Event-ID goes on behind that one", .on_loop = tail, .media = "text/event-stream", .query = &tail_query_shape },
    {0},
};
/* clang-format on */
