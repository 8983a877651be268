/* client.c - calls, pools and connections of our own HTTP/1.1 client.
 * A call asks its pool for a connection (the one used last, a fresh one, or a place in the queue) and is bound to it
 * until the reply ends. No connection owns a read buffer: bytes are read into the client's, and consumed at once.
 * Callbacks run only from events of the loop, never inside a call of the user; any of them may cancel.
 * A failed write is not reported: the peer may have answered before it stopped listening, and reading tells. */
#include "http/client.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/banned.h"
#include "base/buf.h"
#include "base/map.h"
#include "http/curl.h"
#include "http/dns.h"
#include "http/fetch.h"
#include "http/head.h"
#include "http/parser.h"
#include "http/quick.h"
#include "http/tls.h"
#include "net/inbox.h"
#include "net/outbox.h"

#define PLAIN_BYTES 65536 /* decrypted at once */
#define COPY_BYTES 8192   /* bodies up to here are copied behind their head */
#define SEND_HIGH_BYTES 65536
#define SEND_LOW_BYTES 16384
#define NEXT_ADDRESS_MS 250 /* RFC 8305, 5 */
#define KEEP_CALLS 256
#define KEEP_POOL_MS 600000
#define SWEEP_MS 60000

const struct http_client_conf http_client_conf_default = {
    .max_idle_per_origin = 64,
    .max_conns_per_origin = 0,
    .idle_timeout_ms = 60000,
    .max_head_bytes = 64 * 1024,
    .dns_ttl_ms = 30000,
};

struct outq { /* output that the socket did not take: exists only while there is some */
    uv_write_t write;
    struct conn *conn;
    struct buf flying, next;
    size_t counted; /* of them, in conf.held_bytes */
};

struct pool {
    struct str key;
    struct pool *next;
    struct conn *idle; /* used last comes first */
    struct conn *idle_last;
    struct http_call *waiting, **waiting_last;
    unsigned n_idle, n_taken; /* n_taken: calls that have a connection or make one */
    uint64_t used_ms;
    struct tls_session *session;
    char text[];
};

struct trust { /* one set of certificates */
    struct trust *next;
    struct tls_context *context;
    bool insecure;
    size_t n;
    char ca_file[];
};

enum conn_state {
    CONNECTING,
    HANDSHAKE,
    BUSY,
    IDLE,
    CLOSED
};

struct conn {
    uv_tcp_t tcp;
    llhttp_t parser;
    struct http_client *client;
    struct pool *pool;
    struct http_call *call;
    struct conn *next, **prev;          /* of all */
    struct conn *idle_next, *idle_prev; /* of the pool's idle ones */
    struct conn *try_next;              /* of one dial */
    struct dial *dial;
    uv_connect_t *connect;
    struct tls *tls;
    struct head *split;
    struct outq *outq;
    struct inbox_to in;      /* input of this turn */
    struct outbox_from held; /* output of this turn */
    struct timer idle_timer;
    uint64_t idle_since_ms;
    size_t head_bytes;
    uint64_t body_left; /* is_quick: still to come */
    uint8_t state;
    bool is_reading, is_in_head, is_whole, is_tls_ended, has_more_in;
    bool is_quick; /* llhttp does not see the reply */
};

struct dial { /* a call on its way to a connection: names, then addresses in turn */
    struct http_call *call;
    struct dns_wait wait;
    struct timer next_timer;
    union address addresses[DNS_MAX_ADDRESSES];
    unsigned n, next;
    struct conn *tries;
    unsigned n_tries;
    struct err error;
};

struct http_call {
    struct call_base base;
    struct http_call *next; /* of the spare ones, or of those that wait for a connection */
    struct http_call *all_next, **all_prev;
    struct http_client *client;
    struct http_out out;
    const struct http_call_handler *handler;
    void *arg;
    struct pool *pool;
    struct conn *conn;
    struct dial *dial;
    struct timer timer;                  /* for the nearer of the two deadlines, or earlier */
    uint64_t phase_due_ms, total_due_ms; /* 0: none */
    uint64_t timer_due_ms;
    enum http_failure phase_failure;
    struct loop_defer later;
    struct err *failed;
    enum http_failure failed_how;
    struct buf pending; /* a streamed body before there is a connection */
    int64_t send_left;
    bool is_head_seen, is_byte_seen, is_retried, is_reused, is_paused;
    bool is_send_ended, is_send_full, is_sent, is_waiting;
    bool is_overdue; /* a phase is over its time, and sockets are looked at once more */
};

struct http_client {
    struct loop *loop;
    struct http_client_conf conf;
    struct http_client_stats stats;
    struct map pools;
    struct pool *pool_list, *last_pool; /* last_pool: found last */
    struct dns *dns;
    struct trust *trusts;
    struct conn *conns;
    struct http_call *calls, *spare;
    unsigned n_spare, n_handles;
    bool is_freed;
    struct head head;
    struct http_header *headers;
    unsigned headers_cap;
    struct buf scratch; /* the head of a request being written */
    struct buf tls_out; /* what OpenSSL wants sent */
    char *plain_buf;
    struct timer sweep_timer;
    struct curl_client *curl;
};

static void start_dial(struct http_call *call);
static void serve_waiting(struct http_client *c, struct pool *pool);
static void close_conn(struct conn *conn);
static void send_request(struct http_call *call);
static void fail(struct http_call *call, enum http_failure how, const struct err *e);

/* ---- deadlines: the timer is only moved when a deadline comes nearer */

static void on_call_timer(struct timer *t);

static void arm_call(struct http_call *call)
{
    uint64_t due = call->phase_due_ms;
    if (call->total_due_ms && (!due || call->total_due_ms < due))
        due = call->total_due_ms;
    if (!due || (timer_is_running(&call->timer) && call->timer_due_ms <= due))
        return;
    uint64_t now = loop_now_ms(call->client->loop);
    call->timer_due_ms = due;
    timer_start(call->client->loop, &call->timer, due > now ? due - now : 0, on_call_timer);
}

static void set_phase(struct http_call *call, enum http_failure failure, uint64_t ms)
{
    call->phase_failure = failure;
    call->is_overdue = false;
    call->phase_due_ms = ms ? loop_now_ms(call->client->loop) + ms : 0;
    if (ms)
        arm_call(call);
}

static void on_call_timer(struct timer *t)
{
    struct http_call *call = (struct http_call *)((char *)t - offsetof(struct http_call, timer));
    uint64_t now = loop_now_ms(call->client->loop);
    struct err e = ERR_INIT;
    if (call->total_due_ms && now >= call->total_due_ms) {
        (void)err_set(&e, ERR_TIMEOUT, "upstream_timeout",
                      "the upstream took longer than %llu ms in all",
                      (unsigned long long)call->out.total_timeout_ms);
        fail(call, HTTP_FAIL_TIMEOUT_TOTAL, &e);
        return;
    }
    if (!call->phase_due_ms || now < call->phase_due_ms) {
        arm_call(call);
        return;
    }
    /* A loop that was kept busy runs its timers before it looks at its sockets: what was in time may lie there. */
    if (!call->is_overdue) {
        call->is_overdue = true;
        call->timer_due_ms = now;
        timer_start(call->client->loop, t, 1, on_call_timer);
        return;
    }
    static const char *const what[] = {"accept a connection", "begin its answer",
                                       "go on with its answer"};
    int which = call->phase_failure == HTTP_FAIL_TIMEOUT_CONNECT ? 0
                : call->phase_failure == HTTP_FAIL_TIMEOUT_FIRST ? 1
                                                                 : 2;
    (void)err_set(&e, ERR_TIMEOUT, "upstream_timeout", "the upstream did not %s in time",
                  what[which]);
    fail(call, call->phase_failure, &e);
}

/* ---- pools */

static struct pool *get_pool(struct http_client *c, struct str key)
{
    struct pool *pool = c->last_pool;
    if (pool && str_eq(pool->key, key))
        return pool;
    if ((pool = map_get(&c->pools, key)) != NULL)
        return c->last_pool = pool;
    pool = calloc(1, sizeof *pool + key.n + 1);
    if (!pool)
        abort();
    memcpy(pool->text, key.p ? key.p : "", key.n);
    pool->key = str_n(pool->text, key.n);
    pool->waiting_last = &pool->waiting;
    pool->next = c->pool_list;
    c->pool_list = pool;
    map_set(&c->pools, pool->key, pool);
    return pool;
}

static void free_pool(struct http_client *c, struct pool *pool)
{
    if (c->last_pool == pool)
        c->last_pool = NULL;
    (void)map_del(&c->pools, pool->key);
    tls_session_free(pool->session);
    free(pool);
}

/* Origins come and go with the configuration: pools that nobody used for long are let go. */
static void on_sweep(struct timer *t)
{
    struct http_client *c = (struct http_client *)((char *)t -
                                                   offsetof(struct http_client, sweep_timer));
    uint64_t now = loop_now_ms(c->loop);
    bool is_any = false;
    for (struct pool **p = &c->pool_list; *p;) {
        struct pool *pool = *p;
        if (!pool->n_idle && !pool->n_taken && !pool->waiting &&
            now - pool->used_ms > KEEP_POOL_MS) {
            *p = pool->next;
            free_pool(c, pool);
        } else {
            p = &pool->next;
            is_any = true;
        }
    }
    if (is_any)
        timer_start(c->loop, t, SWEEP_MS, on_sweep);
}

static void unlink_idle(struct conn *conn)
{
    struct pool *pool = conn->pool;
    if (conn->idle_prev)
        conn->idle_prev->idle_next = conn->idle_next;
    else
        pool->idle = conn->idle_next;
    if (conn->idle_next)
        conn->idle_next->idle_prev = conn->idle_prev;
    else
        pool->idle_last = conn->idle_prev;
    conn->idle_next = conn->idle_prev = NULL;
    pool->n_idle--;
    conn->client->stats.idle--;
}

static void on_idle_timer(struct timer *t)
{
    struct conn *conn = (struct conn *)((char *)t - offsetof(struct conn, idle_timer));
    struct http_client *c = conn->client;
    uint64_t idle_ms = loop_now_ms(c->loop) - conn->idle_since_ms;
    if (conn->state != IDLE)
        return; /* started again when it is */
    if (idle_ms >= c->conf.idle_timeout_ms)
        close_conn(conn);
    else
        timer_start(c->loop, t, c->conf.idle_timeout_ms - idle_ms, on_idle_timer);
}

static void link_idle(struct conn *conn)
{
    struct pool *pool = conn->pool;
    struct http_client *c = conn->client;
    conn->state = IDLE;
    conn->idle_prev = NULL;
    conn->idle_next = pool->idle;
    if (pool->idle)
        pool->idle->idle_prev = conn;
    else
        pool->idle_last = conn;
    pool->idle = conn;
    pool->n_idle++;
    c->stats.idle++;
    conn->idle_since_ms = loop_now_ms(c->loop);
    /* else it looks again when it fires */
    if (c->conf.idle_timeout_ms && !timer_is_running(&conn->idle_timer))
        timer_start(c->loop, &conn->idle_timer, c->conf.idle_timeout_ms, on_idle_timer);
    if (pool->n_idle > c->conf.max_idle_per_origin)
        close_conn(pool->idle_last);
}

/* ---- connections */

static void free_client_if_done(struct http_client *c)
{
    if (!c->is_freed || c->n_handles > 0)
        return;
    head_done(&c->head);
    free(c->headers);
    buf_done(&c->scratch);
    buf_done(&c->tls_out);
    free(c->plain_buf);
    free(c);
}

static void count_outq(struct conn *conn, size_t n)
{
    _Atomic int64_t *held = conn->client->conf.held_bytes;
    if (held && n != conn->outq->counted)
        atomic_fetch_add_explicit(held, (int64_t)n - (int64_t)conn->outq->counted,
                                  memory_order_relaxed);
    conn->outq->counted = n;
}

static void free_outq(struct conn *conn)
{
    if (!conn->outq)
        return;
    count_outq(conn, 0);
    buf_done(&conn->outq->flying);
    buf_done(&conn->outq->next);
    free(conn->outq);
    conn->outq = NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct http_client *c = conn->client;
    free_outq(conn);
    free(conn->connect);
    free(conn);
    c->n_handles--;
    free_client_if_done(c);
}

static void close_conn(struct conn *conn)
{
    if (conn->state == CLOSED)
        return;
    if (conn->state == IDLE)
        unlink_idle(conn);
    if (conn->state != CONNECTING)
        conn->client->stats.open--;
    conn->state = CLOSED;
    timer_stop(&conn->idle_timer);
    inbox_drop(loop_inbox(conn->client->loop), &conn->in);
    outbox_drop(loop_outbox(conn->client->loop), &conn->held);
    if (conn->call)
        conn->call->conn = NULL;
    conn->call = NULL;
    conn->dial = NULL;
    tls_free(conn->tls);
    conn->tls = NULL;
    if (conn->split) {
        head_done(conn->split);
        free(conn->split);
        conn->split = NULL;
    }
    *conn->prev = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static size_t queued(const struct conn *conn)
{
    return conn->outq ? uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp) +
                            conn->outq->next.n
                      : 0;
}

static void on_written(uv_write_t *write, int status);

static void write_queue(struct conn *conn, const uv_buf_t *bufs, unsigned n)
{
    if (uv_write(&conn->outq->write, (uv_stream_t *)&conn->tcp, bufs, n, on_written) != 0)
        free_outq(conn); /* reading tells */
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = ((struct outq *)((char *)write - offsetof(struct outq, write)))->conn;
    if (conn->state == CLOSED)
        return; /* freed with the connection */
    struct outq *q = conn->outq;
    if (status != 0 || q->next.n == 0) {
        free_outq(conn);
    } else {
        struct buf spare = q->flying;
        buf_clear(&spare);
        q->flying = q->next;
        q->next = spare;
        uv_buf_t b = uv_buf_init(q->flying.p, (unsigned)q->flying.n);
        write_queue(conn, &b, 1);
    }
    struct http_call *call = conn->call;
    if (call && call->is_send_full && !call->is_send_ended && queued(conn) < SEND_LOW_BYTES) {
        call->is_send_full = false;
        if (call->handler->on_writable)
            call->handler->on_writable(call->arg); /* may cancel */
    }
}

/* Writes what the socket takes. What is left is copied, but for the last buf if it stays where it is. */
static void put_now(struct conn *conn, uv_buf_t *bufs, unsigned n, bool last_stays)
{
    size_t done = 0;
    if (!conn->outq) {
        int rc = outbox_write_now(&conn->tcp, bufs, n);
        if (rc < 0 && rc != UV_EAGAIN)
            return; /* reading tells */
        done = rc > 0 ? (size_t)rc : 0;
    }
    while (n > 0 && done >= bufs->len) {
        done -= bufs->len;
        bufs++;
        n--;
    }
    if (n == 0)
        return;
    bufs->base += done;
    bufs->len -= done;
    bool is_new = conn->outq == NULL;
    if (is_new) {
        conn->outq = calloc(1, sizeof *conn->outq);
        if (!conn->outq)
            abort();
        conn->outq->conn = conn;
        buf_init(&conn->outq->flying, SIZE_MAX / 4);
        buf_init(&conn->outq->next, SIZE_MAX / 4);
    }
    struct outq *q = conn->outq;
    struct buf *to = is_new ? &q->flying : &q->next;
    unsigned n_copied = last_stays && is_new ? n - 1 : n;
    for (unsigned i = 0; i < n_copied; i++)
        buf_add(to, bufs[i].base, bufs[i].len);
    count_outq(conn, q->flying.cap + q->next.cap);
    if (!is_new)
        return;
    uv_buf_t rest[2];
    unsigned n_rest = 0;
    if (q->flying.n > 0)
        rest[n_rest++] = uv_buf_init(q->flying.p, (unsigned)q->flying.n);
    if (n_copied < n)
        rest[n_rest++] = bufs[n - 1];
    write_queue(conn, rest, n_rest);
}

/* The same for what is small, but at the end of this turn. */
static void put(struct conn *conn, uv_buf_t *bufs, unsigned n, bool last_stays)
{
    if (conn->outq || !outbox_put(loop_outbox(conn->client->loop), &conn->held, bufs, n))
        put_now(conn, bufs, n, last_stays);
}

static uv_buf_t view(struct str s)
{
    /* libuv takes no const; it only reads */
    return uv_buf_init((char *)(uintptr_t)s.p, (unsigned)s.n);
}

static void send_held(struct outbox_from *from, struct str bytes)
{
    struct conn *conn = (struct conn *)((char *)from - offsetof(struct conn, held));
    uv_buf_t b = view(bytes);
    put_now(conn, &b, 1, false);
}

static void put_tls_out(struct conn *conn)
{
    struct buf *out = &conn->client->tls_out;
    if (out->n > 0) {
        uv_buf_t b = uv_buf_init(out->p, (unsigned)out->n);
        put(conn, &b, 1, false);
    }
    buf_clear(out);
    if (out->cap > 4 * PLAIN_BYTES)
        buf_done(out);
}

/* bytes are sent; `stays`: the last of them stay where they are until the call ends. */
static void send_bytes(struct conn *conn, struct str *parts, unsigned n, bool stays)
{
    uv_buf_t bufs[4];
    unsigned used = 0;
    for (unsigned i = 0; i < n; i++) {
        if (parts[i].n == 0)
            continue;
        if (conn->tls)
            (void)tls_write(conn->tls, parts[i], &conn->client->tls_out); /* reading tells */
        else
            bufs[used++] = view(parts[i]);
    }
    if (conn->tls)
        put_tls_out(conn);
    else if (used > 0)
        put(conn, bufs, used, stays);
}

/* ---- calls */

static struct http_call *new_call(struct http_client *c)
{
    struct http_call *call = c->spare;
    if (call) {
        c->spare = call->next;
        c->n_spare--;
    } else if (!(call = malloc(sizeof *call))) {
        abort();
    }
    *call = (struct http_call){.client = c, .all_prev = &c->calls, .all_next = c->calls};
    if (call->all_next)
        call->all_next->all_prev = &call->all_next;
    c->calls = call;
    return call;
}

static void end_dial(struct http_call *call)
{
    struct dial *d = call->dial;
    if (!d)
        return;
    call->dial = NULL;
    dns_cancel(&d->wait);
    timer_stop(&d->next_timer);
    while (d->tries) {
        struct conn *conn = d->tries;
        d->tries = conn->try_next;
        close_conn(conn);
    }
    free(d);
}

static void leave_queue(struct http_call *call)
{
    struct pool *pool = call->pool;
    for (struct http_call **p = &pool->waiting; *p; p = &(*p)->next) {
        if (*p != call)
            continue;
        *p = call->next;
        if (pool->waiting_last == &call->next)
            pool->waiting_last = p;
        break;
    }
    call->is_waiting = false;
}

/* The call is over: its connection was taken away from it or is closed here. */
static void free_call(struct http_call *call)
{
    struct http_client *c = call->client;
    struct pool *pool = call->pool;
    timer_stop(&call->timer);
    loop_undefer(c->loop, &call->later);
    free(call->failed);
    buf_done(&call->pending);
    if (call->is_waiting) {
        leave_queue(call);
    } else {
        pool->n_taken--;
        end_dial(call);
        if (call->conn)
            close_conn(call->conn);
    }
    pool->used_ms = loop_now_ms(c->loop);
    *call->all_prev = call->all_next;
    if (call->all_next)
        call->all_next->all_prev = call->all_prev;
    if (c->n_spare < KEEP_CALLS) {
        call->next = c->spare;
        c->spare = call;
        c->n_spare++;
    } else {
        free(call);
    }
    if (pool->waiting)
        serve_waiting(c, pool);
}

static void fail(struct http_call *call, enum http_failure how, const struct err *e)
{
    if (how == HTTP_FAIL_CLOSED && call->is_reused && !call->is_byte_seen && !call->is_retried &&
        !call->out.is_streamed) {
        call->is_retried = true; /* the peer closed an idle connection as we took it */
        call->is_reused = call->is_sent = false;
        if (call->conn)
            close_conn(call->conn);
        start_dial(call);
        return;
    }
    const struct http_call_handler *h = call->handler;
    void *arg = call->arg;
    bool is_head_seen = call->is_head_seen;
    call->client->stats.failures++;
    struct err copy = *e;
    free_call(call);
    h->on_error(arg, how, &copy, is_head_seen);
}

static void run_later(struct loop_defer *d)
{
    struct http_call *call = (struct http_call *)((char *)d - offsetof(struct http_call, later));
    if (call->failed) {
        struct err e = *call->failed;
        fail(call, call->failed_how, &e);
    } else if (call->handler->on_writable && !call->is_send_ended) {
        call->handler->on_writable(call->arg); /* may cancel */
    }
}

/* For what goes wrong inside a call of the user. */
static void fail_later(struct http_call *call, enum http_failure how, const struct err *e)
{
    if (call->failed)
        return;
    call->failed = malloc(sizeof *call->failed);
    if (!call->failed)
        abort();
    *call->failed = *e;
    call->failed_how = how;
    call->later.fn = run_later;
    loop_defer(call->client->loop, &call->later);
}

static void fail_closed(struct http_call *call, const char *message)
{
    struct err e = ERR_INIT;
    (void)err_set(&e, ERR_UPSTREAM, "upstream_closed", "%s", message);
    fail(call, HTTP_FAIL_CLOSED, &e);
}

/* ---- parsing the reply */

static struct conn *parsing(llhttp_t *p)
{
    return p->data;
}

static struct head *head_of(struct conn *conn)
{
    return conn->split ? conn->split : &conn->client->head;
}

static int on_message_begin(llhttp_t *p)
{
    struct conn *conn = parsing(p);
    head_clear(head_of(conn));
    conn->is_in_head = true;
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct conn *conn = parsing(p);
    return !conn->is_in_head || head_name(head_of(conn), at, n, conn->client->conf.max_head_bytes)
               ? 0
               : HPE_USER;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct conn *conn = parsing(p);
    return !conn->is_in_head || head_value(head_of(conn), at, n, conn->client->conf.max_head_bytes)
               ? 0
               : HPE_USER;
}

static int on_value_complete(llhttp_t *p)
{
    struct conn *conn = parsing(p);
    if (conn->is_in_head)
        head_value_end(head_of(conn));
    return 0;
}

static void drop_split(struct conn *conn)
{
    if (!conn->split)
        return;
    head_done(conn->split);
    free(conn->split);
    conn->split = NULL;
}

static int on_headers_complete(llhttp_t *p)
{
    struct conn *conn = parsing(p);
    struct http_call *call = conn->call;
    struct http_client *c = conn->client;
    if (!call)
        return HPE_USER;
    conn->head_bytes = 0;
    if (p->status_code == 101 || p->status_code < 100)
        return HPE_USER; /* we never ask for another protocol */
    /* llhttp would read a body here, but none may come (RFC 9110, 15.2) */
    if (p->status_code < 200)
        return (p->flags & (F_CONTENT_LENGTH | F_TRANSFER_ENCODING)) ? HPE_USER : 0;
    p->upgrade = 0;
    struct head *h = head_of(conn);
    if (h->n > c->headers_cap) {
        struct http_header *grown = realloc(c->headers, h->n * sizeof *grown);
        if (!grown)
            abort();
        c->headers = grown;
        c->headers_cap = h->n;
    }
    (void)head_copy(h, NULL, c->headers);
    for (size_t i = 0; i < h->n; i++) /* a body inside another coding is not what it looks like */
        if (str_is(c->headers[i].name, "transfer-encoding") &&
            !str_eq_nocase(c->headers[i].value, STR("chunked")))
            return HPE_USER;
    conn->is_in_head = false;
    call->is_head_seen = true;
    bool is_head = call->out.method == HTTP_HEAD;
    set_phase(call, HTTP_FAIL_TIMEOUT_BETWEEN, call->is_paused ? 0 : call->out.between_timeout_ms);
    if (call->handler->on_head)
        call->handler->on_head(call->arg, p->status_code, c->headers, h->n); /* may cancel */
    if (!conn->call)
        return HPE_USER;
    drop_split(conn);
    return is_head ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct conn *conn = parsing(p);
    struct http_call *call = conn->call;
    if (call && call->handler->on_body)
        call->handler->on_body(call->arg, str_n(at, n)); /* may cancel */
    return conn->call ? 0 : HPE_USER;
}

static int on_message_complete(llhttp_t *p)
{
    struct conn *conn = parsing(p);
    if (conn->is_in_head) /* a 1xx: the reply is still to come */
        return 0;
    conn->is_whole = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t parser_settings = {
    .on_message_begin = on_message_begin,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void update_reading(struct conn *conn);

/* The reply is whole: the connection goes back to its pool when both sides agree where it ended. */
static void finish(struct conn *conn, size_t left_over)
{
    struct http_call *call = conn->call;
    const struct http_call_handler *h = call->handler;
    void *arg = call->arg;
    bool keep = left_over == 0 && !conn->has_more_in && !conn->outq && conn->held.n_held == 0 &&
                !conn->is_tls_ended && llhttp_should_keep_alive(&conn->parser) != 0 &&
                (!call->out.is_streamed || (call->is_send_ended && call->is_sent)) &&
                conn->client->conf.max_idle_per_origin > 0;
    if (keep) {
        call->conn = NULL;
        conn->call = NULL;
        link_idle(conn);
        update_reading(conn);
    }
    free_call(call);
    h->on_end(arg);
}

/* The head of a reply, when it is a usual one and whole; gives its bytes, 0: llhttp is to read it. The parser is told what it
 * would have found. May cancel. */
static size_t take_quick_head(struct conn *conn, const char *p, size_t n)
{
    struct http_client *c = conn->client;
    struct quick q;
    if (conn->split || conn->is_in_head || conn->call->is_head_seen ||
        conn->call->out.method == HTTP_HEAD ||
        !quick_reply(str_n(p, n), c->conf.max_head_bytes, &c->head, &q))
        return 0;
    llhttp_t *parser = &conn->parser;
    parser->status_code = (uint16_t)q.status;
    parser->http_major = parser->http_minor = 1;
    parser->flags |= F_CONTENT_LENGTH;
    parser->content_length = conn->body_left = (uint64_t)q.content_length;
    conn->is_quick = true;
    (void)on_headers_complete(parser);
    return q.head_n;
}

/* Bytes of a reply whose length is known. */
static void take_quick_body(struct conn *conn, const char *p, size_t n)
{
    size_t own = n < conn->body_left ? n : (size_t)conn->body_left;
    if (own > 0 && on_body(&conn->parser, p, own) != 0)
        return; /* cancelled */
    conn->body_left -= own;
    if (conn->body_left == 0) {
        conn->is_whole = true;
        finish(conn, n - own);
    } else if (conn->call->handler->on_read_end) {
        conn->call->handler->on_read_end(conn->call->arg); /* may cancel */
    }
}

static void on_bytes(struct conn *conn, const char *p, size_t n)
{
    struct http_call *call = conn->call;
    if (!call) { /* unasked for, on an idle connection */
        close_conn(conn);
        return;
    }
    call->is_byte_seen = true;
    if (call->is_head_seen && !call->is_paused)
        set_phase(call, HTTP_FAIL_TIMEOUT_BETWEEN, call->out.between_timeout_ms);
    size_t head_n = take_quick_head(conn, p, n);
    if (conn->state == CLOSED || !conn->call)
        return; /* cancelled in a callback */
    if (conn->is_quick) {
        take_quick_body(conn, p + head_n, n - head_n);
        return;
    }
    llhttp_errno_t error = llhttp_execute(&conn->parser, p, n);
    if (conn->state == CLOSED || !conn->call)
        return; /* cancelled in a callback */
    if (error == HPE_OK) {
        if (!call->is_head_seen) {
            conn->head_bytes += n;
            if (conn->head_bytes > conn->client->conf.max_head_bytes) {
                error = HPE_USER;
            } else if (!conn->split) {
                conn->split = head_move(&conn->client->head);
            }
        }
        if (error == HPE_OK) {
            if (call->is_head_seen && call->handler->on_read_end)
                call->handler->on_read_end(call->arg); /* may cancel */
            return;
        }
    }
    if (error == HPE_PAUSED && conn->is_whole) {
        finish(conn, (size_t)(p + n - llhttp_get_error_pos(&conn->parser)));
        return;
    }
    struct err e = ERR_INIT;
    const char *reason = llhttp_get_error_reason(&conn->parser);
    if (error == HPE_USER)
        reason = call->is_head_seen ? "bad framing"
                                    : "its head is too large, or asks for what was not offered";
    (void)err_set(&e, ERR_UPSTREAM, "upstream_protocol", "the upstream does not speak HTTP/1.1: %s",
                  reason && *reason ? reason : "unexpected bytes");
    fail(call, HTTP_FAIL_PROTOCOL, &e);
}

static void on_eof(struct conn *conn, const char *why)
{
    struct http_call *call = conn->call;
    if (!call) {
        close_conn(conn);
        return;
    }
    if (call->is_head_seen && !why && (!conn->tls || conn->is_tls_ended) &&
        llhttp_message_needs_eof(&conn->parser) && llhttp_finish(&conn->parser) == HPE_PAUSED &&
        conn->is_whole) {
        conn->is_tls_ended = true; /* not for reuse */
        finish(conn, 1);
        return;
    }
    if (conn->state == CLOSED || !conn->call)
        return;
    fail_closed(call, why ? why
                      : call->is_head_seen
                          ? "the upstream closed the connection within its answer"
                          : "the upstream closed the connection without an answer");
}

/* ---- TLS */

static void on_tls_failed(struct conn *conn, const struct err *e)
{
    if (conn->call)
        fail(conn->call, HTTP_FAIL_TLS, e);
    else
        close_conn(conn);
}

static void on_tls_bytes(struct conn *conn, struct str in)
{
    struct http_client *c = conn->client;
    struct err e = ERR_INIT;
    if (conn->state == HANDSHAKE) {
        enum tls_step step = tls_handshake(conn->tls, &in, &c->tls_out, &e);
        put_tls_out(conn);
        if (step == TLS_FAILED || step == TLS_CLOSED) {
            if (step == TLS_CLOSED)
                (void)err_set(&e, ERR_UPSTREAM, "tls", "the upstream ended the TLS handshake");
            on_tls_failed(conn, &e);
            return;
        }
        if (step == TLS_MORE)
            return;
        conn->state = BUSY;
        send_request(conn->call);
    }
    for (;;) {
        size_t n = 0;
        enum tls_step step = tls_read(conn->tls, &in, &c->tls_out, c->plain_buf, PLAIN_BYTES, &n,
                                      &e);
        put_tls_out(conn);
        conn->has_more_in = in.n > 0; /* so that nobody takes it for the answer to the next call */
        if (n > 0)
            on_bytes(conn, c->plain_buf, n);
        if (conn->state == CLOSED || step == TLS_MORE)
            return;
        if (step == TLS_CLOSED) {
            conn->is_tls_ended = true;
            on_eof(conn, NULL);
            return;
        }
        if (step == TLS_FAILED) {
            on_tls_failed(conn, &e);
            return;
        }
    }
}

/* ---- events of the socket */

static void on_broken(struct conn *conn, ssize_t n)
{
    char why[160];
    (void)snprintf(why, sizeof why, "the connection to the upstream broke: %s",
                   uv_strerror((int)n));
    if (conn->state == HANDSHAKE) {
        struct err e = ERR_INIT;
        (void)err_set(&e, ERR_UPSTREAM, "tls",
                      "the upstream closed the connection during the TLS handshake");
        on_tls_failed(conn, &e);
    } else {
        on_eof(conn, n == UV_EOF ? NULL : why);
    }
}

static void on_taken(struct inbox_to *to, const char *p, ssize_t n)
{
    struct conn *conn = (struct conn *)((char *)to - offsetof(struct conn, in));
    if (n < 0)
        on_broken(conn, n);
    else if (conn->tls)
        on_tls_bytes(conn, str_n(p, (size_t)n));
    else
        on_bytes(conn, p, (size_t)n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    (void)buf;
    if (conn->state == CLOSED)
        return;
    if (n == UV_ENOBUFS) /* inbox_no_alloc */
        inbox_read(loop_inbox(conn->client->loop), &conn->in, &conn->tcp);
    else if (n < 0)
        on_broken(conn, n);
}

static void update_reading(struct conn *conn)
{
    bool wanted = conn->state != CLOSED && !(conn->call && conn->call->is_paused);
    if (wanted == conn->is_reading)
        return;
    conn->is_reading = wanted;
    if (wanted)
        (void)uv_read_start((uv_stream_t *)&conn->tcp, inbox_no_alloc, on_read);
    else if (conn->state != CLOSED)
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
}

/* ---- sending the request */

static void add_text(struct buf *b, struct str s)
{
    if (!buf_reserve(b, s.n))
        return;
    head_put_text(b->p + b->n, s);
    b->n += s.n;
}

static void write_head(struct buf *b, const struct http_out *out)
{
    int64_t length = out->is_streamed ? out->stream_length : (int64_t)out->body.n;
    buf_str_add(b, str_of(http_method_name(out->method)));
    buf_lit(b, " ");
    if (out->target.n == 0)
        buf_lit(b, "/");
    size_t plain = 0;
    while (plain < out->target.n && out->target.p[plain] != 0x7f &&
           (unsigned char)out->target.p[plain] > ' ')
        plain++;
    buf_add(b, out->target.p, plain);
    for (size_t i = plain; i < out->target.n; i++) { /* a space would end it early */
        unsigned char t = (unsigned char)out->target.p[i];
        if (t > ' ' && t != 0x7f)
            buf_char(b, (char)t);
        else
            buf_fmt(b, "%%%02X", t);
    }
    buf_lit(b, " HTTP/1.1\r\nhost: ");
    add_text(b, out->origin->host_header);
    buf_lit(b, "\r\n");
    for (size_t i = 0; i < ARRAY_LEN(out->lines); i++)
        buf_str_add(b, out->lines[i]);
    for (size_t i = 0; i < out->n_headers; i++)
        http_line_add(b, out->headers[i].name, out->headers[i].value);
    if (length < 0) {
        buf_lit(b, "transfer-encoding: chunked\r\n\r\n");
    } else if (length > 0 || out->is_streamed || out->method == HTTP_POST ||
               out->method == HTTP_PUT || out->method == HTTP_PATCH) {
        buf_lit(b, "content-length: ");
        buf_int(b, length);
        buf_lit(b, "\r\n\r\n");
    } else {
        buf_lit(b, "\r\n");
    }
}

static void send_piece(struct http_call *call, struct str bytes, bool is_end)
{
    char line[24];
    struct str parts[4];
    unsigned n = 0;
    bool is_chunked = call->out.stream_length < 0;
    if (is_chunked && bytes.n > 0) {
        int len = snprintf(line, sizeof line, "%zx\r\n", bytes.n);
        parts[n++] = str_n(line, (size_t)len);
        parts[n++] = bytes;
        parts[n++] = STR("\r\n");
    } else if (bytes.n > 0) {
        parts[n++] = bytes;
    }
    if (is_chunked && is_end)
        parts[n++] = STR("0\r\n\r\n");
    send_bytes(call->conn, parts, n, false);
}

static void send_request(struct http_call *call)
{
    struct conn *conn = call->conn;
    struct buf *b = &conn->client->scratch;
    llhttp_reset(&conn->parser);
    conn->state = BUSY;
    conn->is_whole = conn->is_in_head = conn->is_quick = false;
    conn->head_bytes = 0;
    buf_clear(b);
    write_head(b, &call->out);
    set_phase(call, HTTP_FAIL_TIMEOUT_FIRST, call->out.first_byte_timeout_ms);
    update_reading(conn);
    struct str body = call->out.is_streamed ? STR_NONE : call->out.body;
    if (body.n <= COPY_BYTES) { /* cheaper than to hand the kernel two pieces */
        buf_str_add(b, body);
        body = STR_NONE;
    }
    struct str parts[2] = {buf_str(b), body};
    send_bytes(conn, parts, 2, body.n > 0);
    call->is_sent = true;
    if (!call->out.is_streamed)
        return;
    if (call->pending.n > 0 || call->is_send_ended)
        send_piece(call, buf_str(&call->pending), call->is_send_ended);
    buf_done(&call->pending);
    if (call->is_send_full && !conn->outq && !call->is_send_ended) {
        call->is_send_full = false;
        call->later.fn = run_later; /* this may be a call of the user */
        loop_defer(call->client->loop, &call->later);
    }
}

/* ---- getting a connection */

static struct conn *new_conn(struct http_client *c, struct pool *pool)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        abort();
    conn->client = c;
    conn->pool = pool;
    conn->tcp.data = conn;
    conn->in.take = on_taken;
    conn->held.send = send_held;
    (void)uv_tcp_init(loop_uv(c->loop), &conn->tcp);
    c->n_handles++;
    conn->prev = &c->conns;
    conn->next = c->conns;
    if (conn->next)
        conn->next->prev = &conn->next;
    c->conns = conn;
    llhttp_init(&conn->parser, HTTP_RESPONSE, &parser_settings);
    conn->parser.data = conn;
    return conn;
}

static void bind_conn(struct http_call *call, struct conn *conn)
{
    call->conn = conn;
    conn->call = call;
}

static void next_try(struct dial *d);

static void fail_dial(struct http_call *call, enum http_failure how)
{
    struct err e = call->dial->error;
    end_dial(call);
    fail(call, how, &e);
}

static void forget_try(struct dial *d, struct conn *conn)
{
    for (struct conn **p = &d->tries; *p; p = &(*p)->try_next) {
        if (*p == conn) {
            *p = conn->try_next;
            d->n_tries--;
            return;
        }
    }
}

static struct tls_context *get_trust(struct http_client *c, const struct http_origin *o,
                                     struct err *e)
{
    for (struct trust *t = c->trusts; t; t = t->next) {
        if (t->insecure == o->insecure && str_eq(str_n(t->ca_file, t->n), o->ca_file))
            return t->context;
    }
    struct tls_context *context = tls_context_new(o->ca_file, o->insecure, e);
    if (!context)
        return NULL;
    struct trust *t = calloc(1, sizeof *t + o->ca_file.n + 1);
    if (!t)
        abort();
    t->context = context;
    t->insecure = o->insecure;
    t->n = o->ca_file.n;
    memcpy(t->ca_file, o->ca_file.p ? o->ca_file.p : "", t->n);
    t->next = c->trusts;
    c->trusts = t;
    return context;
}

static void on_connected(uv_connect_t *req, int status)
{
    struct conn *conn = req->data;
    struct dial *d = conn->dial;
    if (conn->state == CLOSED || !d)
        return;
    struct http_call *call = d->call;
    if (status != 0) {
        (void)err_set(&d->error, ERR_UPSTREAM, "upstream_unreachable",
                      "cannot connect to '" STR_FMT "' port %u: %s",
                      STR_ARG(call->out.origin->host), (unsigned)call->out.origin->port,
                      uv_strerror(status));
        forget_try(d, conn);
        close_conn(conn);
        next_try(d);
        return;
    }
    forget_try(d, conn);
    conn->dial = NULL;
    end_dial(call);
    struct http_client *c = conn->client;
    bind_conn(call, conn);
    c->stats.connects++;
    c->stats.open++;
    conn->state = BUSY;
    if (!call->out.origin->is_tls) {
        send_request(call);
        return;
    }
    struct err e = ERR_INIT;
    struct tls_context *trust = get_trust(c, call->out.origin, &e);
    if (!trust) {
        fail(call, HTTP_FAIL_TLS, &e);
        return;
    }
    conn->tls = tls_new(trust, call->out.origin->host, &conn->pool->session);
    conn->state = HANDSHAKE;
    update_reading(conn);
    on_tls_bytes(conn, STR_NONE);
}

static void on_next_timer(struct timer *t)
{
    next_try((struct dial *)((char *)t - offsetof(struct dial, next_timer)));
}

/* Starts the next address; the one after it follows when this one fails or takes long. */
static void next_try(struct dial *d)
{
    struct http_call *call = d->call;
    struct http_client *c = call->client;
    timer_stop(&d->next_timer);
    while (d->next < d->n) {
        union address *a = &d->addresses[d->next++];
        struct conn *conn = new_conn(c, call->pool);
        conn->connect = calloc(1, sizeof *conn->connect);
        if (!conn->connect)
            abort();
        conn->connect->data = conn;
        conn->dial = d;
        address_set_port(a, call->out.origin->port);
        int rc = uv_tcp_connect(conn->connect, &conn->tcp, &a->any, on_connected);
        if (rc != 0) {
            (void)err_set(&d->error, ERR_UPSTREAM, "upstream_unreachable",
                          "cannot connect to '" STR_FMT "' port %u: %s",
                          STR_ARG(call->out.origin->host), (unsigned)call->out.origin->port,
                          uv_strerror(rc));
            close_conn(conn);
            continue;
        }
        (void)uv_tcp_nodelay(&conn->tcp, 1);
        conn->try_next = d->tries;
        d->tries = conn;
        d->n_tries++;
        if (d->next < d->n)
            timer_start(c->loop, &d->next_timer, NEXT_ADDRESS_MS, on_next_timer);
        return;
    }
    if (d->n_tries == 0) {
        struct err e = d->error;
        fail_later(call, HTTP_FAIL_CONNECT, &e); /* also reached from within http_call_start */
    }
}

static void on_addresses(struct dns_wait *w, const union address *a, unsigned n,
                         const struct err *e)
{
    struct dial *d = (struct dial *)((char *)w - offsetof(struct dial, wait));
    struct http_call *call = d->call;
    if (n == 0) {
        d->error = *e;
        fail_dial(call, HTTP_FAIL_DNS);
        return;
    }
    bool is_private_allowed = call->out.origin->allow_private;
    for (unsigned i = 0; i < n; i++) {
        if (is_private_allowed || !address_is_private(&a[i].any))
            d->addresses[d->n++] = a[i];
    }
    if (d->n == 0) {
        struct err refused = ERR_INIT;
        (void)err_set(&refused, ERR_FORBIDDEN, "private_address",
                      "'" STR_FMT "' is a private address, which this upstream may not have",
                      STR_ARG(call->out.origin->host));
        fail_later(call, HTTP_FAIL_POLICY, &refused);
        return;
    }
    next_try(d);
}

static void start_dial(struct http_call *call)
{
    struct dial *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    d->call = call;
    d->error = (struct err)ERR_INIT;
    d->wait.fn = on_addresses;
    call->dial = d;
    set_phase(call, HTTP_FAIL_TIMEOUT_CONNECT, call->out.connect_timeout_ms);
    union address found[DNS_MAX_ADDRESSES];
    unsigned n = dns_find(call->client->dns, call->out.origin->host, found, &d->wait);
    if (n > 0)
        on_addresses(&d->wait, found, n, NULL);
}

static bool is_at_limit(const struct http_client *c, const struct pool *pool)
{
    return c->conf.max_conns_per_origin && pool->n_taken >= c->conf.max_conns_per_origin;
}

static void get_conn(struct http_call *call)
{
    struct pool *pool = call->pool;
    struct conn *conn;
    pool->n_taken++;
    /* one whose peer has just closed it, or said something unasked */
    while ((conn = pool->idle) != NULL && conn->in.n_waiting > 0)
        close_conn(conn);
    if (!conn) {
        start_dial(call);
        return;
    }
    unlink_idle(conn);
    conn->state = BUSY;
    call->is_reused = true;
    call->client->stats.reuses++;
    bind_conn(call, conn);
    send_request(call);
}

static void serve_waiting(struct http_client *c, struct pool *pool)
{
    while (pool->waiting && !c->is_freed && !is_at_limit(c, pool)) {
        struct http_call *call = pool->waiting;
        leave_queue(call);
        get_conn(call);
    }
}

/* ---- what users call */

static struct curl_call *curl_of(struct http_call *call)
{
    return (struct curl_call *)call; /* both begin with a call_base */
}

struct http_call *http_call_start(struct http_client *c, const struct http_out *out,
                                  const struct http_call_handler *h, void *arg)
{
    if (out->origin->proxy.n > 0 || out->origin->is_http2) {
        if (!c->curl)
            c->curl = curl_client_new(c->loop, &c->conf, &c->stats);
        return (struct http_call *)curl_call_start(c->curl, out, h, arg);
    }
    struct http_call *call = new_call(c);
    call->out = *out;
    call->handler = h;
    call->arg = arg;
    buf_init(&call->pending, SIZE_MAX / 4);
    call->send_left = out->stream_length;
    call->pool = get_pool(c, out->origin->key);
    if (out->total_timeout_ms) {
        call->total_due_ms = loop_now_ms(c->loop) + out->total_timeout_ms;
        arm_call(call);
    }
    if (is_at_limit(c, call->pool)) {
        call->is_waiting = true;
        call->next = NULL;
        *call->pool->waiting_last = call;
        call->pool->waiting_last = &call->next;
        set_phase(call, HTTP_FAIL_TIMEOUT_CONNECT, out->connect_timeout_ms);
        return call;
    }
    get_conn(call);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    if (call->base.is_curl) {
        curl_call_cancel(curl_of(call));
        return;
    }
    free_call(call);
}

void http_call_pause(struct http_call *call)
{
    if (call->base.is_curl) {
        curl_call_pause(curl_of(call));
        return;
    }
    call->is_paused = true;
    if (call->is_head_seen)
        set_phase(call, HTTP_FAIL_TIMEOUT_BETWEEN, 0); /* it is we who are slow */
    if (call->conn && call->conn->state == BUSY)
        update_reading(call->conn);
}

void http_call_resume(struct http_call *call)
{
    if (call->base.is_curl) {
        curl_call_resume(curl_of(call));
        return;
    }
    call->is_paused = false;
    if (call->is_head_seen)
        set_phase(call, HTTP_FAIL_TIMEOUT_BETWEEN, call->out.between_timeout_ms);
    if (call->conn && call->conn->state == BUSY)
        update_reading(call->conn);
}

bool http_call_send(struct http_call *call, struct str bytes)
{
    if (call->base.is_curl)
        return curl_call_send(curl_of(call), bytes);
    if (!call->out.is_streamed || call->is_send_ended)
        return true;
    if (!call->conn || !call->is_sent || call->conn->state != BUSY) {
        buf_str_add(&call->pending, bytes);
        call->is_send_full = call->pending.n >= SEND_HIGH_BYTES;
        return !call->is_send_full;
    }
    if (!call->is_head_seen)
        set_phase(call, HTTP_FAIL_TIMEOUT_FIRST, call->out.first_byte_timeout_ms);
    if (bytes.n > 0)
        send_piece(call, bytes, false);
    call->is_send_full = call->conn && queued(call->conn) >= SEND_HIGH_BYTES;
    return !call->is_send_full;
}

void http_call_send_end(struct http_call *call)
{
    if (call->base.is_curl) {
        curl_call_send_end(curl_of(call));
        return;
    }
    if (!call->out.is_streamed || call->is_send_ended)
        return;
    call->is_send_ended = true;
    if (call->conn && call->is_sent && call->conn->state == BUSY)
        send_piece(call, STR_NONE, true);
}

bool http_call_is_sent(const struct http_call *call)
{
    return call->base.is_curl
               ? curl_call_is_sent((const struct curl_call *)call)
               : call->is_sent && call->conn && !call->conn->outq && call->conn->held.n_held == 0;
}

bool http_call_is_reused(const struct http_call *call)
{
    return call->base.is_curl ? curl_call_is_reused((const struct curl_call *)call)
                              : call->is_reused;
}

struct http_client_stats http_client_stats(const struct http_client *c)
{
    return c->stats;
}

struct http_client *http_client_new(struct loop *l, const struct http_client_conf *conf)
{
    struct http_client *c = calloc(1, sizeof *c);
    if (!c || !(c->plain_buf = malloc(PLAIN_BYTES)))
        abort();
    c->loop = l;
    c->conf = conf ? *conf : http_client_conf_default;
    c->dns = dns_new(l, c->conf.dns_ttl_ms);
    map_init(&c->pools);
    head_init(&c->head);
    buf_init(&c->scratch, SIZE_MAX / 4);
    buf_init(&c->tls_out, SIZE_MAX / 4);
    timer_start(l, &c->sweep_timer, SWEEP_MS, on_sweep);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    c->is_freed = true;
    c->n_handles++; /* keeps it until the end of this function */
    curl_client_free(c->curl);
    while (c->calls)
        free_call(c->calls);
    while (c->conns)
        close_conn(c->conns);
    timer_stop(&c->sweep_timer);
    while (c->pool_list) {
        struct pool *pool = c->pool_list;
        c->pool_list = pool->next;
        free_pool(c, pool);
    }
    map_done(&c->pools);
    while (c->trusts) {
        struct trust *t = c->trusts;
        c->trusts = t->next;
        tls_context_free(t->context);
        free(t);
    }
    while (c->spare) {
        struct http_call *call = c->spare;
        c->spare = call->next;
        free(call);
    }
    dns_free(c->dns);
    c->n_handles--;
    free_client_if_done(c);
}
