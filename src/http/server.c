/* server.c - accepts, parses, answers. One request at a time a connection: what a client sends ahead waits, bounded,
 * until the reply is out.
 * Handlers are called with depth > 0; what they cause (a flush, the end of the request, a cut) is done by work() after
 * they return, or at the end of the turn, so a handler never sees its request vanish under a call it made.
 * A client that half-closes with nothing left to say is treated as gone: hardly any HTTP client does so and lives, and
 * noticing at once is what stops an upstream from generating for nobody. */
#include "http/server.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/head.h"
#include "http/parser.h"
#include "http/quick.h"
#include "net/inbox.h"
#include "net/outbox.h"

#define GATHER_BYTES 65536 /* bodies are gathered up to here before they are written */
#define CHUNK_ROOM 18      /* 16 digits and a line end */
#define COPY_BYTES 8192    /* bodies up to here are copied behind their head: one plain write */
#define PARK_BYTES 65536   /* of bytes that came before their turn: reading stops beyond it */
#define DRAIN_BYTES 262144 /* of a body nobody asked for: read over to keep the connection */
#define DIRECT_BYTES 4096  /* bodies with more to come than this are read in place */
#define FIRST_BODY_BYTES (1 << 20) /* reserved at once for what a peer merely announced */
#define LINGER_MS 2000
#define LINGER_BYTES (8 << 20)
#define REFUSED_CONNS 64 /* beyond max_conns, told 503 at one time */

const struct http_server_conf http_server_conf_default = {
    .max_head_bytes = 64 * 1024,
    .max_target_bytes = 16 * 1024,
    .max_headers = 128,
    .head_timeout_ms = 15000,
    .body_timeout_ms = 30000,
    .idle_timeout_ms = 75000,
    .write_timeout_ms = 60000,
    .high_water_bytes = 64 * 1024,
    .low_water_bytes = 16 * 1024,
    .max_queued_bytes = 4 * 1024 * 1024,
    .max_conns = 20000,
};

enum state {
    IDLE,   /* nothing of a request has come */
    HEAD,   /* its head is coming */
    CHOICE, /* the handler has yet to say what to do with the body */
    BODY,   /* the rest is coming */
    REPLY,  /* it is whole (or refused); the reply is being made or sent */
    LINGER, /* our side is shut; what comes is thrown away until the peer closes too */
    CLOSED,
};

enum body_mode {
    BODY_NONE,
    BODY_COLLECT,
    BODY_STREAM,
    BODY_DRAIN
};

struct outq { /* output that the socket did not take: exists only while there is some */
    uv_write_t write;
    struct http_conn *conn;
    struct buf flying, next;
    size_t counted; /* of them, in conf.held_bytes */
};

struct listener {
    uv_tcp_t tcp;
    struct http_server *server;
    struct listener *next;
    bool is_closed;
};

struct http_conn {
    uv_tcp_t tcp;
    llhttp_t parser;
    struct http_server *server;
    struct http_conn *next, **prev;
    struct timer timer;       /* of the state; may run ahead of due_ms */
    uint64_t due_ms;          /* 0: this state may last */
    struct timer write_timer; /* of queued output */
    struct loop_defer turn;
    struct http_req *req;
    struct arena *body_arena;
    struct buf body;    /* collect mode; in body_arena */
    struct head *split; /* a head that did not come in one read */
    struct outq *outq;
    struct inbox_to in;      /* input of this turn */
    struct outbox_from held; /* output of this turn */
    struct buf parked;
    size_t body_max;
    size_t n_taken;     /* bytes of this head or drained body so far */
    size_t n_extra;     /* bytes of chunk extensions and trailers */
    uint64_t body_left; /* is_quick: still to come */
    int64_t reply_left; /* of a reply with a length */
    size_t last_queued; /* for the write timer */
    size_t n_pushed;    /* bytes written to a full reply, by a handler that pays no heed to that */
    const struct err *bad;
    struct err *bad_own;
    uint8_t state, mode, depth;
    char first_byte;
    bool is_reading, is_paused, is_eof, is_broken, is_refused;
    bool is_head_seen; /* on_head was called */
    bool is_whole;     /* the request has been received to its end */
    bool is_bad;       /* its rest is not read */
    bool is_quick;     /* llhttp did not see it */
    bool keep_alive, wants_continue, is_http10;
    bool is_reply_begun, is_reply_ended, is_reply_chunked, is_reply_bodyless, is_reply_plain;
    bool was_full;
    char peer[INET6_ADDRSTRLEN];
};

struct http_server {
    struct loop *loop;
    struct http_server_conf conf;
    struct http_handler handler;
    void *arg;
    struct listener *listeners;
    struct http_conn *conns;
    unsigned n_conns, n_refused, n_handles;
    bool is_draining, is_closing, is_freed;
    struct head head;  /* of the head being parsed, unless a read split it */
    struct buf gather; /* head and body bytes of `gathering`, not yet written */
    size_t gather_head_n;
    size_t gather_room; /* behind the head, kept for the size of the chunk */
    struct http_conn *gathering;
    uint64_t date_ms;
    char date[32];
    size_t date_n;
};

static void work(struct http_conn *c);
static void close_conn(struct http_conn *c);
static void flush(struct http_conn *c, struct str more, bool is_end);

static void run_turn(struct loop_defer *d)
{
    work((struct http_conn *)((char *)d - offsetof(struct http_conn, turn)));
}

/* Whatever changed is seen to after the handler that is running, or at the end of this turn. */
static void want_work(struct http_conn *c)
{
    if (c->depth == 0 && c->state != CLOSED)
        loop_defer(c->server->loop, &c->turn);
}

static void set_broken(struct http_conn *c)
{
    c->is_broken = true;
    want_work(c);
}

/* ---- reading on and off */

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void update_reading(struct http_conn *c)
{
    bool wanted = c->state != CLOSED && !c->is_eof && c->parked.n < PARK_BYTES &&
                  !(c->is_paused && c->state == BODY);
    if (wanted == c->is_reading)
        return;
    c->is_reading = wanted;
    if (wanted) {
        if (uv_read_start((uv_stream_t *)&c->tcp, inbox_no_alloc, on_read) != 0)
            set_broken(c);
    } else if (c->state != CLOSED) {
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    }
}

/* ---- timers */

static void refuse(struct http_conn *c, enum err_kind kind, int status, const char *code,
                   const char *message);

static void on_timer(struct timer *t)
{
    struct http_conn *c = (struct http_conn *)((char *)t - offsetof(struct http_conn, timer));
    uint64_t now = loop_now_ms(c->server->loop);
    if (!c->due_ms)
        return;
    if (now < c->due_ms) {
        timer_start(c->server->loop, t, c->due_ms - now, on_timer);
        return;
    }
    c->due_ms = 0;
    switch ((enum state)c->state) {
    case HEAD:
        refuse(c, ERR_TIMEOUT, 408, "request_timeout",
               "the head of the request did not arrive in time");
        break;
    case BODY:
        if (!c->req) {
            close_conn(c);
            return;
        }
        if (c->is_paused)
            return; /* it is the handler that is slow */
        refuse(c, ERR_TIMEOUT, 408, "request_timeout",
               "the body of the request did not arrive in time");
        break;
    case IDLE:
    case LINGER:
        close_conn(c);
        return;
    case CHOICE:
    case REPLY:
    case CLOSED:
        return;
    }
    work(c);
}

/* The timer is only touched when the new time is nearer than the one it waits for. */
static void set_due(struct http_conn *c, uint64_t ms)
{
    struct loop *l = c->server->loop;
    c->due_ms = ms ? loop_now_ms(l) + ms : 0;
    if (ms && (!timer_is_running(&c->timer) || c->timer.due_ms > c->due_ms))
        timer_start(l, &c->timer, ms, on_timer);
}

static void set_state(struct http_conn *c, enum state state)
{
    const struct http_server_conf *conf = &c->server->conf;
    uint64_t ms = 0;
    c->state = (uint8_t)state;
    switch (state) {
    case IDLE:
        ms = conf->idle_timeout_ms;
        break;
    case HEAD:
        ms = conf->head_timeout_ms;
        break;
    case BODY:
        ms = conf->body_timeout_ms;
        break;
    case LINGER:
        ms = LINGER_MS;
        break;
    case CHOICE:
    case REPLY:
    case CLOSED:
        break;
    }
    set_due(c, ms);
}

/* ---- output */

static size_t queued(const struct http_conn *c)
{
    return c->outq ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + c->outq->next.n
                   : 0;
}

static void on_write_timer(struct timer *t)
{
    struct http_conn *c = (struct http_conn *)((char *)t - offsetof(struct http_conn, write_timer));
    size_t now = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    if (now == c->last_queued) {
        close_conn(c);
        return;
    }
    c->last_queued = now;
    timer_start(c->server->loop, t, c->server->conf.write_timeout_ms, on_write_timer);
}

static void count_outq(struct http_conn *c, size_t n)
{
    _Atomic int64_t *held = c->server->conf.held_bytes;
    if (held && n != c->outq->counted)
        atomic_fetch_add_explicit(held, (int64_t)n - (int64_t)c->outq->counted,
                                  memory_order_relaxed);
    c->outq->counted = n;
}

static void free_outq(struct http_conn *c)
{
    if (!c->outq)
        return;
    count_outq(c, 0);
    buf_done(&c->outq->flying);
    buf_done(&c->outq->next);
    free(c->outq);
    c->outq = NULL;
    timer_stop(&c->write_timer);
}

static void on_written(uv_write_t *write, int status);

static void send_queue(struct http_conn *c)
{
    struct outq *q = c->outq;
    struct buf spare = q->flying;
    buf_clear(&spare);
    q->flying = q->next;
    q->next = spare;
    uv_buf_t b = {.base = q->flying.p, .len = q->flying.n};
    if (uv_write(&q->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0) {
        buf_clear(&q->flying);
        set_broken(c);
        return;
    }
    c->last_queued = q->flying.n;
    if (c->server->conf.write_timeout_ms > 0)
        timer_start(c->server->loop, &c->write_timer, c->server->conf.write_timeout_ms,
                    on_write_timer);
}

static void on_written(uv_write_t *write, int status)
{
    struct http_conn *c = ((struct outq *)((char *)write - offsetof(struct outq, write)))->conn;
    if (c->state == CLOSED)
        return; /* freed with the connection */
    if (status != 0) {
        close_conn(c);
        return;
    }
    if (c->outq->next.n > 0)
        send_queue(c);
    else
        free_outq(c);
    if (c->was_full && queued(c) < c->server->conf.low_water_bytes) {
        c->was_full = false;
        c->n_pushed = 0;
        if (c->req && c->is_head_seen && !c->is_reply_ended && c->server->handler.on_drain) {
            c->depth++;
            c->server->handler.on_drain(c->server->arg, c->req);
            c->depth--;
        }
    }
    work(c);
}

/* Writes what the socket takes and queues a copy of the rest. */
static void put_now(struct http_conn *c, uv_buf_t *bufs, unsigned n)
{
    if (c->is_broken || c->state == CLOSED)
        return;
    bool was_full = queued(c) >= c->server->conf.high_water_bytes;
    size_t done = 0;
    if (!c->outq) {
        int rc = outbox_write_now(&c->tcp, bufs, n);
        if (rc >= 0) {
            done = (size_t)rc;
        } else if (rc != UV_EAGAIN) {
            set_broken(c);
            return;
        }
    }
    while (n > 0 && done >= bufs->len) {
        done -= bufs->len;
        bufs++;
        n--;
    }
    if (n == 0)
        return;
    bool is_new = c->outq == NULL;
    if (is_new) {
        c->outq = calloc(1, sizeof *c->outq);
        if (!c->outq)
            abort();
        c->outq->conn = c;
        buf_init(&c->outq->flying, BUF_THEIRS);
        buf_init(&c->outq->next, BUF_THEIRS);
    }
    for (; n > 0; bufs++, n--, done = 0) {
        buf_add(&c->outq->next, bufs->base + done, bufs->len - done);
        c->n_pushed += was_full ? bufs->len - done : 0;
    }
    if (buf_failed(&c->outq->next)) { /* no memory: better no answer than half of one */
        if (is_new) {
            buf_done(&c->outq->next);
            free(c->outq);
            c->outq = NULL;
        }
        set_broken(c);
        return;
    }
    count_outq(c, c->outq->flying.cap + c->outq->next.cap);
    if (is_new)
        send_queue(c);
    if (queued(c) >= c->server->conf.high_water_bytes)
        c->was_full = true;
    if (c->n_pushed > c->server->conf.max_queued_bytes)
        set_broken(c);
}

/* The same for what is small, but at the end of this turn. */
static void put(struct http_conn *c, uv_buf_t *bufs, unsigned n)
{
    if (c->is_broken || c->state == CLOSED)
        return;
    if (c->outq || !outbox_put(loop_outbox(c->server->loop), &c->held, bufs, n))
        put_now(c, bufs, n);
}

static uv_buf_t view(struct str s)
{
    /* libuv takes no const; it only reads */
    return uv_buf_init((char *)(uintptr_t)s.p, (unsigned)s.n);
}

static void send_held(struct outbox_from *from, struct str bytes)
{
    struct http_conn *c = (struct http_conn *)((char *)from - offsetof(struct http_conn, held));
    uv_buf_t b = view(bytes);
    if (c->is_broken) { /* was written before it was cut */
        (void)uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
        return;
    }
    put_now(c, &b, 1);
    want_work(c); /* what waited for it to be out */
}

/* The gather buffer is the loop's: whoever had it is written out first. */
static void gather_for(struct http_conn *c)
{
    struct http_server *s = c->server;
    if (s->gathering == c)
        return;
    if (s->gathering)
        flush(s->gathering, STR_NONE, false);
    s->gathering = c;
    buf_clear(&s->gather);
    s->gather_head_n = s->gather_room = 0;
}

static unsigned add_iov(uv_buf_t *iov, unsigned n, const char *p, size_t len)
{
    if (len == 0)
        return n;
    iov[n] = view(str_n(p, len));
    return n + 1;
}

static struct str hex_line(char out[20], size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char *p = out + 20;
    *--p = '\n';
    *--p = '\r';
    do {
        *--p = digits[n & 15];
        n >>= 4;
    } while (n > 0);
    return str_n(p, (size_t)(out + 20 - p));
}

/* Sends the gathered head and body, then `more`; everything of one flush is one chunk. What was gathered goes out as
 * one piece: the size of the chunk is written into the room before it, and the head moved up to that. */
static void flush(struct http_conn *c, struct str more, bool is_end)
{
    static const char tail[] = "\r\n0\r\n\r\n";
    struct http_server *s = c->server;
    struct str gathered = STR_NONE, last = STR_NONE;
    char line[20];
    uv_buf_t iov[4];
    unsigned n = 0;
    size_t room = 0, head_n = 0;
    if (s->gathering == c) {
        s->gathering = NULL;
        room = s->gather_room;
        head_n = s->gather_head_n;
        gathered = buf_str(&s->gather);
    }
    if (c->is_reply_chunked) {
        size_t body_n = gathered.n - head_n - room + more.n;
        last = body_n > 0 ? str_n(tail, is_end ? 7 : 2) : str_n(tail + 2, is_end ? 5 : 0);
        struct str size = body_n > 0 ? hex_line(line, body_n) : STR_NONE;
        if (room > 0 && size.n > 0) {
            size_t gap = room - size.n;
            memmove(s->gather.p + gap, s->gather.p, head_n);
            memcpy(s->gather.p + gap + head_n, size.p, size.n);
            if (more.n == 0) {
                buf_str_add(&s->gather, last);
                last = STR_NONE;
            }
            gathered = str_skip(buf_str(&s->gather), gap);
        }
        n = add_iov(iov, n, gathered.p, gathered.n);
        if (room == 0)
            n = add_iov(iov, n, size.p, size.n);
    } else {
        n = add_iov(iov, n, gathered.p, gathered.n);
    }
    n = add_iov(iov, n, more.p, more.n);
    n = add_iov(iov, n, last.p, last.n);
    if (n > 0)
        put(c, iov, n);
}

static struct str date_line(struct http_server *s)
{
    uint64_t now = loop_now_ms(s->loop);
    if (s->date_n == 0 || now - s->date_ms >= 500) {
        struct buf b;
        buf_init(&b, 64);
        clock_http_date(&b, clock_wall_ms());
        s->date_n = b.n < sizeof s->date ? b.n : 0;
        memcpy(s->date, b.p, s->date_n);
        buf_done(&b);
        s->date_ms = now;
    }
    return str_n(s->date, s->date_n);
}

static bool status_has_no_body(int status)
{
    return status == 204 || status == 304 || (status >= 100 && status < 200);
}

/* A header of a handler may never end the head early. */
static void add_header(struct buf *b, const struct http_header *h)
{
    if (!buf_reserve(b, h->name.n + h->value.n + 4))
        return;
    char *p = b->p + b->n;
    memcpy(p, h->name.p ? h->name.p : "", h->name.n);
    p += h->name.n;
    *p++ = ':';
    *p++ = ' ';
    head_put_text(p, h->value);
    p += h->value.n;
    *p++ = '\r';
    *p++ = '\n';
    b->n += h->name.n + h->value.n + 4;
}

static bool sends_close(const struct http_conn *c)
{
    return !c->keep_alive || c->server->is_draining || c->is_bad;
}

/* Can the rest of this request be read over, so that the connection lives on? */
static bool can_drain(const struct http_conn *c)
{
    return !c->wants_continue && c->req->content_length <= DRAIN_BYTES;
}

static void begin_reply(struct http_conn *c, int status, const struct http_header *h, size_t n,
                        int64_t length)
{
    struct http_server *s = c->server;
    struct http_req *r = c->req;
    r->status = status;
    c->is_reply_begun = true;
    c->is_reply_bodyless = r->method == HTTP_HEAD || status_has_no_body(status);
    c->is_reply_chunked = length < 0 && !c->is_reply_bodyless && !c->is_http10;
    c->is_reply_plain = length < 0 && !c->is_reply_bodyless && c->is_http10; /* ends by closing */
    c->reply_left = length;
    if (!c->is_whole && !can_drain(c))
        c->keep_alive = false;
    if (c->is_reply_plain || s->is_draining)
        c->keep_alive = false;
    gather_for(c);
    struct buf *b = &s->gather;
    if (status == 200) {
        buf_lit(b, "HTTP/1.1 200 OK\r\ndate: ");
    } else {
        char digits[3] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                          (char)('0' + status % 10)};
        buf_lit(b, "HTTP/1.1 ");
        buf_add(b, digits, 3);
        buf_lit(b, " ");
        buf_str_add(b, str_of(http_reason(status)));
        buf_lit(b, "\r\ndate: ");
    }
    buf_str_add(b, date_line(s));
    buf_lit(b, "\r\n");
    for (size_t i = 0; i < n; i++)
        add_header(b, &h[i]);
    if (length >= 0 && !(status == 204 || status < 200)) {
        buf_lit(b, "content-length: ");
        buf_int(b, length);
        buf_lit(b, "\r\n");
    } else if (length < 0 && !status_has_no_body(status) && !c->is_http10) {
        buf_lit(b, "transfer-encoding: chunked\r\n");
    }
    if (sends_close(c))
        buf_lit(b, "connection: close\r\n\r\n");
    else if (c->is_http10)
        buf_lit(b, "connection: keep-alive\r\n\r\n");
    else
        buf_lit(b, "\r\n");
    s->gather_head_n = b->n;
}

static struct http_conn *conn_of(const struct http_req *r)
{
    return r->conn;
}

/* false: there is no reply to add to, or nobody to read it. */
static bool is_replying(const struct http_conn *c)
{
    return c->is_reply_begun && !c->is_reply_ended && !c->is_broken && c->state != CLOSED;
}

static bool may_begin(const struct http_conn *c)
{
    return !c->is_reply_begun && !c->is_broken && c->state != CLOSED;
}

void http_reply_head(struct http_req *r, int status, const struct http_header *h, size_t n,
                     int64_t content_length)
{
    struct http_conn *c = conn_of(r);
    if (!may_begin(c))
        return;
    begin_reply(c, status, h, n, content_length);
    want_work(c);
}

void http_reply_body(struct http_req *r, struct str bytes)
{
    struct http_conn *c = conn_of(r);
    if (!is_replying(c) || c->is_reply_bodyless || bytes.n == 0)
        return;
    if (c->reply_left >= 0) { /* never more than was announced */
        if ((uint64_t)bytes.n > (uint64_t)c->reply_left) {
            bytes.n = (size_t)c->reply_left;
            c->keep_alive = false;
        }
        c->reply_left -= (int64_t)bytes.n;
    }
    r->bytes_out += bytes.n;
    if (r->tap)
        r->tap(r->tap_arg, bytes);
    gather_for(c);
    struct buf *g = &c->server->gather;
    if (g->n + bytes.n > GATHER_BYTES) {
        flush(c, bytes, false);
    } else {
        if (c->is_reply_chunked && c->server->gather_room == 0 && buf_reserve(g, CHUNK_ROOM)) {
            g->n += CHUNK_ROOM;
            c->server->gather_room = CHUNK_ROOM;
        }
        buf_str_add(g, bytes);
        want_work(c);
    }
}

void http_reply_end(struct http_req *r)
{
    struct http_conn *c = conn_of(r);
    if (!is_replying(c))
        return;
    c->is_reply_ended = true;
    if (c->reply_left > 0 && !c->is_reply_bodyless)
        c->is_broken = true; /* less than was announced: the peer must not take it for whole */
    if (c->is_reply_chunked)
        flush(c, STR_NONE, true);
    want_work(c);
}

bool http_req_takes_trailers(const struct http_req *r)
{
    struct str token, rest = http_req_header(r, "te");
    while (rest.n > 0) {
        rest = str_cut(rest, ',', &token);
        if (str_eq_nocase(str_trim(token), STR("trailers")))
            return true;
    }
    return false;
}

void http_reply_end_with(struct http_req *r, const struct http_header *trailers, size_t n)
{
    struct http_conn *c = conn_of(r);
    if (n == 0 || !is_replying(c) || !c->is_reply_chunked) {
        http_reply_end(r);
        return;
    }
    flush(c, STR_NONE, false);
    c->is_reply_ended = true;
    struct buf b;
    buf_init_arena(&b, r->arena, c->server->conf.max_head_bytes);
    buf_lit(&b, "0\r\n");
    for (size_t i = 0; i < n; i++)
        add_header(&b, &trailers[i]);
    buf_lit(&b, "\r\n");
    uv_buf_t out = view(buf_failed(&b) ? STR("0\r\n\r\n") : buf_str(&b));
    put(c, &out, 1);
    want_work(c);
}

void http_reply(struct http_req *r, int status, const struct http_header *h, size_t n,
                struct str body)
{
    struct http_conn *c = conn_of(r);
    if (!may_begin(c))
        return;
    begin_reply(c, status, h, n, (int64_t)body.n);
    struct str more = STR_NONE;
    if (!c->is_reply_bodyless) {
        r->bytes_out = body.n;
        if (r->tap)
            r->tap(r->tap_arg, body);
        if (body.n <= COPY_BYTES)
            buf_str_add(&c->server->gather, body);
        else
            more = body;
    }
    c->is_reply_ended = true;
    flush(c, more, true);
    want_work(c);
}

void http_reply_flush(struct http_req *r)
{
    struct http_conn *c = conn_of(r);
    if (c->server->gathering == c && !c->is_broken && c->state != CLOSED)
        flush(c, STR_NONE, false);
}

bool http_reply_is_full(const struct http_req *r)
{
    return queued(conn_of(r)) >= conn_of(r)->server->conf.high_water_bytes;
}

void http_reply_cut(struct http_req *r)
{
    struct http_conn *c = conn_of(r);
    if (c->state != CLOSED)
        set_broken(c);
}

/* ---- the request's body */

static void set_bad(struct http_conn *c, enum err_kind kind, int status, const char *code,
                    const char *message)
{
    if (c->bad_own)
        return;
    c->bad_own = malloc(sizeof *c->bad_own);
    if (!c->bad_own)
        abort();
    *c->bad_own = (struct err)ERR_INIT;
    (void)err_set(c->bad_own, kind, code, "%s", message);
    c->bad_own->status = status;
}

static void set_too_large(struct http_conn *c)
{
    set_bad(c, ERR_TOO_LARGE, 413, "request_too_large", "the body of the request is too large");
}

static void choose(struct http_conn *c, enum body_mode mode, size_t max)
{
    if (c->mode != BODY_NONE || c->is_reply_begun || c->state == CLOSED || c->is_bad)
        return;
    c->mode = (uint8_t)mode;
    c->body_max = max > 0 ? max : SIZE_MAX / 4;
    if (c->req->content_length > 0 && (uint64_t)c->req->content_length > c->body_max)
        set_too_large(c);
    want_work(c);
}

void http_req_collect(struct http_req *r, size_t max_bytes)
{
    choose(conn_of(r), BODY_COLLECT, max_bytes);
}

void http_req_stream(struct http_req *r, size_t max_bytes)
{
    choose(conn_of(r), BODY_STREAM, max_bytes);
}

void http_req_pause(struct http_req *r)
{
    struct http_conn *c = conn_of(r);
    c->is_paused = true;
    update_reading(c);
}

void http_req_resume(struct http_req *r)
{
    struct http_conn *c = conn_of(r);
    c->is_paused = false;
    if (c->state == BODY)
        set_state(c, BODY); /* the time it was paused does not count */
    update_reading(c);
}

struct str http_req_header(const struct http_req *r, const char *lower_name)
{
    return http_header_get(r->headers, r->n_headers, lower_name);
}

void http_req_drop_body(struct http_req *r)
{
    struct http_conn *c = conn_of(r);
    if (c->mode == BODY_COLLECT && !c->is_whole)
        return;
    r->body = STR_NONE;
    arena_free(c->body_arena);
    c->body_arena = NULL;
    c->body = (struct buf){.n = 0};
}

/* ---- life of a request */

static void end_request(struct http_conn *c, bool is_aborted)
{
    struct http_req *r = c->req;
    if (!r)
        return;
    r->is_aborted = is_aborted;
    if (c->is_head_seen && c->server->handler.on_close) {
        c->depth++;
        c->server->handler.on_close(c->server->arg, r);
        c->depth--;
    }
    c->req = NULL;
    if (c->server->gathering == c)
        c->server->gathering = NULL;
    struct arena *body = c->body_arena, *own = r->arena;
    c->body_arena = NULL;
    c->body = (struct buf){.n = 0};
    arena_free(own); /* its cleanups may still look at the body */
    arena_free(body);
    free(c->bad_own);
    c->bad_own = NULL;
}

static void free_server_if_done(struct http_server *s)
{
    if (!s->is_freed || s->n_handles > 0)
        return;
    head_done(&s->head);
    buf_done(&s->gather);
    free(s);
}

static void on_conn_closed(uv_handle_t *handle)
{
    struct http_conn *c = handle->data;
    struct http_server *s = c->server;
    free_outq(c);
    free(c);
    s->n_handles--;
    free_server_if_done(s);
}

/* May be called with a handler running only by way of set_broken. */
static void close_conn(struct http_conn *c)
{
    if (c->state == CLOSED)
        return;
    struct http_server *s = c->server;
    if (c->held.n_held > 0)
        (void)outbox_flush(loop_outbox(s->loop));
    set_state(c, CLOSED);
    timer_stop(&c->timer);
    timer_stop(&c->write_timer);
    inbox_drop(loop_inbox(s->loop), &c->in);
    loop_undefer(s->loop, &c->turn);
    end_request(c, true);
    loop_undefer(s->loop, &c->turn);
    if (s->gathering == c)
        s->gathering = NULL;
    buf_done(&c->parked);
    if (c->split) {
        head_done(c->split);
        free(c->split);
        c->split = NULL;
    }
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->is_refused)
        s->n_refused--;
    else
        s->n_conns--;
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

static void linger(struct http_conn *c)
{
    uv_os_fd_t fd = -1;
    c->n_taken = 0;
    buf_done(&c->parked);
    if (c->is_eof || uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        close_conn(c);
        return;
    }
    set_state(c, LINGER);
    update_reading(c);
}

static void reset_request(struct http_conn *c)
{
    c->mode = BODY_NONE;
    c->is_paused = c->is_head_seen = c->is_whole = c->is_bad = c->wants_continue = false;
    c->is_reply_begun = c->is_reply_ended = c->is_reply_chunked = false;
    c->is_reply_bodyless = c->is_reply_plain = c->was_full = false;
    c->n_pushed = 0;
    c->n_taken = c->n_extra = 0;
}

/* The reply is out. What is left of the request decides what comes next. */
static void finish_request(struct http_conn *c)
{
    bool keep = c->keep_alive && !c->is_bad && !c->server->is_draining;
    bool is_whole = c->is_whole, was_bad = c->is_bad;
    end_request(c, false);
    if (c->state == CLOSED)
        return;
    if (!keep) {
        if (!is_whole || was_bad || c->parked.n > 0)
            linger(c);
        else
            close_conn(c);
        return;
    }
    if (!is_whole) { /* its rest is read over; then on_whole makes the connection idle */
        c->mode = BODY_DRAIN;
        c->is_paused = false;
        c->n_taken = 0;
        set_state(c, BODY);
        return;
    }
    reset_request(c);
    if (c->parked.n == 0)
        buf_done(&c->parked);
    if (c->is_eof && c->parked.n == 0) {
        close_conn(c);
        return;
    }
    set_state(c, IDLE);
}

static struct http_req *new_request(struct http_conn *c)
{
    struct arena *a = arena_new();
    struct http_req *r = ARENA_NEW(a, struct http_req);
    r->arena = a;
    r->conn = c;
    r->content_length = -1;
    r->method = HTTP_OTHER;
    r->peer = str_of(c->peer);
    r->path = r->query = r->target = r->method_name = STR("");
    c->req = r;
    return r;
}

/* Answers with an error and closes after it. */
static void refuse(struct http_conn *c, enum err_kind kind, int status, const char *code,
                   const char *message)
{
    if (c->is_bad || c->state == CLOSED)
        return;
    if (c->is_reply_begun || (!c->req && c->state == BODY)) { /* too late to say anything */
        set_broken(c);
        return;
    }
    c->is_bad = true;
    c->keep_alive = false;
    buf_done(&c->parked);
    if (!c->req) {
        struct http_req *r = new_request(c);
        r->start_ns = clock_mono_ns();
        if (c->state == HEAD && c->first_byte == 'H' && c->parser.method == LLHTTP_HEAD)
            r->method = HTTP_HEAD;
    }
    set_state(c, REPLY);
    update_reading(c);
    struct err e = ERR_INIT;
    (void)err_set(&e, kind, code, "%s", message);
    e.status = status;
    if (c->server->handler.on_bad) {
        c->depth++;
        c->server->handler.on_bad(c->server->arg, c->req, &e);
        c->depth--;
    }
    if (!c->is_reply_begun && (!c->is_head_seen || !c->server->handler.on_bad)) {
        static const struct http_header plain = {STR_INIT("content-type"), STR_INIT("text/plain")};
        c->depth++;
        http_reply(c->req, status, &plain, 1, str_of(message));
        c->depth--;
    }
}

static struct http_conn *parsing(llhttp_t *p)
{
    return p->data;
}

static struct head *head_of(struct http_conn *c)
{
    return c->split ? c->split : &c->server->head;
}

static bool split_target(struct http_req *r);

/* What is known of where a request was to go, for who answers it although its head is ill. */
static void keep_target(struct http_conn *c)
{
    const struct head *h = head_of(c);
    if (c->state != HEAD || !c->req)
        return;
    c->req->target = str_dup(c->req->arena, str_first(buf_str(&h->text), h->target_n));
    (void)split_target(c->req);
}

static int head_too_large(struct http_conn *c)
{
    keep_target(c);
    set_bad(c, ERR_TOO_LARGE, 431, "headers_too_large", "the head of the request is too large");
    return HPE_USER;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct http_conn *c = parsing(p);
    struct head *h = head_of(c);
    if (head_target(h, at, n, c->server->conf.max_target_bytes))
        return 0;
    /* its beginning says where it was to go: h holds nothing but the target so far */
    size_t max = c->server->conf.max_target_bytes;
    if (head_target(h, at, max - h->target_n, max))
        keep_target(c);
    set_bad(c, ERR_TOO_LARGE, 414, "uri_too_long", "the target of the request is too long");
    return HPE_USER;
}

/* Trailers and chunk extensions are of no use to anyone, but not free either. */
static int count_extra(struct http_conn *c, size_t n)
{
    c->n_extra += n + 1;
    return c->n_extra > c->server->conf.max_head_bytes ? head_too_large(c) : 0;
}

static int on_extension(llhttp_t *p, const char *at, size_t n)
{
    (void)at;
    return count_extra(parsing(p), n);
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct http_conn *c = parsing(p);
    if (c->state != HEAD)
        return count_extra(c, n);
    return head_name(head_of(c), at, n, c->server->conf.max_head_bytes) ? 0 : head_too_large(c);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct http_conn *c = parsing(p);
    if (c->state != HEAD)
        return count_extra(c, n);
    return head_value(head_of(c), at, n, c->server->conf.max_head_bytes) ? 0 : head_too_large(c);
}

static int on_value_complete(llhttp_t *p)
{
    struct http_conn *c = parsing(p);
    if (c->state != HEAD)
        return 0;
    head_value_end(head_of(c));
    return head_of(c)->n <= c->server->conf.max_headers ? 0 : head_too_large(c);
}

static int on_headers_complete(llhttp_t *p)
{
    p->upgrade = 0; /* upgrades are not offered: such a request is served as it stands */
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *p)
{
    parsing(p)->is_whole = true;
    return HPE_PAUSED;
}

static int take_collected(struct http_conn *c, const char *at, size_t n)
{
    if (n > c->body_max - c->body.n) {
        set_too_large(c);
        return HPE_USER;
    }
    if (c->body.p && at == c->body.p + c->body.n) {
        c->body.n += n; /* was read in place */
        return 0;
    }
    if (!c->body_arena) {
        c->body_arena = arena_new();
        buf_init_arena(&c->body, c->body_arena, c->body_max < BUF_OURS ? c->body_max : BUF_OURS);
        int64_t length = c->req->content_length;
        if (length > 0)
            (void)buf_reserve(&c->body,
                              length < FIRST_BODY_BYTES ? (size_t)length : FIRST_BODY_BYTES);
    }
    if (!buf_reserve(&c->body, n) || !c->body.p) {
        set_bad(c, ERR_OVERLOADED, 503, "no_memory",
                "there is no memory for the body of this request at the moment: try again");
        return HPE_USER;
    }
    buf_add(&c->body, at, n);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct http_conn *c = parsing(p);
    if (c->state == CLOSED || c->is_broken)
        return HPE_USER;
    switch ((enum body_mode)c->mode) {
    case BODY_COLLECT:
        c->req->bytes_in += n;
        return take_collected(c, at, n);
    case BODY_STREAM:
        c->req->bytes_in += n;
        if (c->req->bytes_in > c->body_max) {
            set_too_large(c);
            return HPE_USER;
        }
        c->depth++;
        c->server->handler.on_body(c->server->arg, c->req, str_n(at, n));
        c->depth--;
        return c->state == CLOSED || c->is_broken ? HPE_USER : 0;
    case BODY_NONE:
    case BODY_DRAIN:
        break;
    }
    c->n_taken += n;
    return c->n_taken > DRAIN_BYTES ? HPE_USER : 0;
}

/* A chunk that is announced as more than there is room for is refused before it comes. */
static int on_chunk_header(llhttp_t *p)
{
    struct http_conn *c = parsing(p);
    bool is_taken = c->mode == BODY_COLLECT || c->mode == BODY_STREAM;
    if (is_taken && p->content_length > c->body_max - c->req->bytes_in) {
        set_too_large(c);
        return HPE_USER;
    }
    return 0;
}

static const llhttp_settings_t parser_settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_message_complete = on_message_complete,
};

static enum http_method method_of(uint8_t method)
{
    switch ((llhttp_method_t)method) {
    case LLHTTP_GET:
        return HTTP_GET;
    case LLHTTP_HEAD:
        return HTTP_HEAD;
    case LLHTTP_POST:
        return HTTP_POST;
    case LLHTTP_PUT:
        return HTTP_PUT;
    case LLHTTP_PATCH:
        return HTTP_PATCH;
    case LLHTTP_DELETE:
        return HTTP_DELETE;
    case LLHTTP_OPTIONS:
        return HTTP_OPTIONS;
    default:
        return HTTP_OTHER;
    }
}

/* Path and query of an origin-form or absolute-form target (RFC 9112, 3.2). */
static bool split_target(struct http_req *r)
{
    struct str t = r->target;
    if (str_is(t, "*")) {
        r->path = t;
        return r->method == HTTP_OPTIONS;
    }
    if (t.n > 0 && t.p[0] != '/') {
        size_t n = str_starts_nocase(t, STR("http://"))    ? 7
                   : str_starts_nocase(t, STR("https://")) ? 8
                                                           : 0;
        if (n == 0)
            return false;
        t = str_skip(t, n);
        size_t end = 0;
        while (end < t.n && t.p[end] != '/' && t.p[end] != '?')
            end++;
        if (end == 0)
            return false;
        t = str_skip(t, end);
    } else if (t.n == 0) {
        return false;
    }
    r->query = str_cut(t, '?', &r->path);
    if (r->path.n == 0)
        r->path = STR("/");
    if (r->query.n == 0)
        r->query = STR("");
    return str_index(t, '#') == t.n;
}

struct seen { /* headers that decide about framing */
    unsigned hosts, lengths, encodings;
    struct str encoding, expect, connection;
};

static struct seen look_at_headers(const struct http_req *r)
{
    struct seen s = {.hosts = 0};
    for (size_t i = 0; i < r->n_headers; i++) {
        struct str name = r->headers[i].name;
        switch (name.n) {
        case 4:
            s.hosts += str_is(name, "host");
            break;
        case 6:
            if (str_is(name, "expect"))
                s.expect = r->headers[i].value;
            break;
        case 14:
            s.lengths += str_is(name, "content-length");
            break;
        case 17:
            if (str_is(name, "transfer-encoding")) {
                s.encodings++;
                s.encoding = r->headers[i].value;
            }
            break;
        default:
            break;
        }
    }
    return s;
}

/* What llhttp let through and we do not. false: refused. */
static bool check_head(struct http_conn *c)
{
    struct http_req *r = c->req;
    struct seen s = look_at_headers(r);
    const llhttp_t *p = &c->parser;
    bool has_target = split_target(r); /* first: also the refusals that follow are of its path */
    if (p->http_major != 1 || p->http_minor > 1) {
        refuse(c, ERR_UNIMPLEMENTED, 505, "http_version_not_supported",
               "only HTTP/1.1 and HTTP/1.0 are spoken here");
        return false;
    }
    if (p->method == LLHTTP_CONNECT) {
        refuse(c, ERR_UNIMPLEMENTED, 501, "not_implemented", "CONNECT is not offered");
        return false;
    }
    if (s.encodings > 0 && (s.lengths > 0 || c->is_http10 || s.encodings > 1)) {
        refuse(c, ERR_INPUT, 400, "bad_framing",
               "the request may have one of content-length and transfer-encoding");
        return false;
    }
    if (s.lengths > 1) {
        refuse(c, ERR_INPUT, 400, "bad_framing", "the request has more than one content-length");
        return false;
    }
    if (s.encodings == 1 && !str_eq_nocase(s.encoding, STR("chunked"))) {
        refuse(c, ERR_UNIMPLEMENTED, 501, "not_implemented",
               "the only transfer-encoding understood is chunked");
        return false;
    }
    if (s.hosts > 1 || (s.hosts == 0 && !c->is_http10)) {
        refuse(c, ERR_INPUT, 400, "bad_host", "the request must have one host header");
        return false;
    }
    if (!has_target) {
        refuse(c, ERR_INPUT, 400, "bad_target", "the target of the request is malformed");
        return false;
    }
    if (s.expect.n > 0 && !c->is_http10) {
        if (!str_eq_nocase(s.expect, STR("100-continue"))) {
            refuse(c, ERR_INPUT, 417, "expectation_failed",
                   "the only expectation met is 100-continue");
            return false;
        }
        c->wants_continue = r->has_body;
    }
    return true;
}

static void on_head_parsed(struct http_conn *c)
{
    struct head *h = head_of(c);
    struct http_req *r = c->req;
    const llhttp_t *p = &c->parser;
    r->headers = arena_alloc(r->arena, sizeof *r->headers * (h->n + 1));
    r->n_headers = h->n;
    r->target = head_copy(h, r->arena, r->headers);
    if (c->split) {
        head_done(c->split);
        free(c->split);
        c->split = NULL;
    }
    r->method = method_of(p->method);
    r->method_name = str_of(llhttp_method_name((llhttp_method_t)p->method));
    r->is_chunked = (p->flags & F_CHUNKED) != 0;
    r->content_length = (p->flags & F_CONTENT_LENGTH) ? (int64_t)p->content_length : -1;
    r->has_body = r->is_chunked || r->content_length > 0;
    c->is_http10 = p->http_major == 1 && p->http_minor == 0;
    c->keep_alive = llhttp_should_keep_alive(p) != 0;
    if (r->content_length < -1) { /* above INT64_MAX */
        r->content_length = -1;
        refuse(c, ERR_TOO_LARGE, 413, "request_too_large", "the body of the request is too large");
        return;
    }
    if (!check_head(c))
        return;
    c->is_head_seen = true;
    c->n_taken = 0;
    set_state(c, r->has_body ? CHOICE : BODY);
    c->depth++;
    c->server->handler.on_head(c->server->arg, r);
    c->depth--;
}

/* The handler may have chosen; then the body is read. */
static void leave_choice(struct http_conn *c)
{
    if (c->state != CHOICE || c->is_bad || c->bad_own || c->is_broken)
        return;
    if (c->mode == BODY_NONE) {
        if (!c->is_reply_begun)
            return;
        c->mode = BODY_DRAIN;
    } else if (c->wants_continue) {
        c->wants_continue = false;
        if (!c->is_reply_begun && c->parked.n == 0) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            uv_buf_t iov[1];
            put(c, iov, add_iov(iov, 0, go_on, sizeof go_on - 1));
        }
    }
    set_state(c, BODY);
}

static void on_whole(struct http_conn *c)
{
    if (!c->req) { /* was answered before: only its rest was read over */
        reset_request(c);
        set_state(c, IDLE);
        c->is_broken = c->server->is_draining;
        return;
    }
    set_state(c, REPLY);
    if (c->mode == BODY_COLLECT)
        c->req->body = buf_str(&c->body);
    if (c->is_reply_ended || c->mode == BODY_DRAIN || !c->server->handler.on_complete)
        return;
    c->depth++;
    c->server->handler.on_complete(c->server->arg, c->req);
    c->depth--;
}

static void on_parse_error(struct http_conn *c, llhttp_errno_t error)
{
    if (c->state == CLOSED || c->is_broken)
        return;
    if (c->bad_own) /* a limit of ours: work() says so */
        return;
    if (c->mode == BODY_DRAIN) {
        c->keep_alive =
            false; /* too much or malformed: the reply stands, then the connection ends */
        c->is_bad = true;
        if (c->req)
            set_state(c, REPLY);
        else
            linger(c);
        return;
    }
    keep_target(c);
    switch (error) {
    case HPE_INVALID_METHOD:
        if (c->first_byte >= 'A' && c->first_byte <= 'Z') {
            refuse(c, ERR_UNIMPLEMENTED, 501, "not_implemented", "the method is not known");
            return;
        }
        break;
    case HPE_INVALID_VERSION:
        /* what stands behind it is wrong */
        if (strstr(llhttp_get_error_reason(&c->parser), "Expected"))
            break;
        __attribute__((fallthrough));
    case HPE_PAUSED_H2_UPGRADE:
        refuse(c, ERR_UNIMPLEMENTED, 505, "http_version_not_supported",
               "only HTTP/1.1 and HTTP/1.0 are spoken here");
        return;
    default:
        break;
    }
    char message[160];
    const char *reason = llhttp_get_error_reason(&c->parser);
    (void)snprintf(message, sizeof message, "malformed HTTP request: %s",
                   reason && *reason ? reason : "unexpected bytes");
    refuse(c, ERR_INPUT, 400, "malformed_request", message);
}

static void park(struct http_conn *c, const char *p, size_t n)
{
    if (n == 0)
        return;
    buf_add(&c->parked, p, n);
    update_reading(c);
}

static void begin_request(struct http_conn *c, char first_byte)
{
    llhttp_reset(&c->parser);
    head_clear(&c->server->head);
    reset_request(c);
    c->is_quick = false;
    struct http_req *r = new_request(c);
    r->start_ns = clock_mono_ns();
    c->first_byte = first_byte;
    c->state = HEAD; /* its time starts only if this read does not end it */
    c->due_ms = 0;
}

/* The head of a request, when it is a usual one and whole; gives its bytes, 0: llhttp is to read it. The parser is told what it
 * would have found. */
static size_t take_quick_head(struct http_conn *c, const char *p, size_t n)
{
    const struct http_server_conf *conf = &c->server->conf;
    const struct quick_limits limits = {conf->max_head_bytes, conf->max_target_bytes,
                                        conf->max_headers};
    struct quick q;
    if (!quick_request(str_n(p, n), &limits, &c->server->head, &q))
        return 0;
    llhttp_t *parser = &c->parser;
    parser->method = q.is_get ? LLHTTP_GET : LLHTTP_POST;
    parser->http_major = parser->http_minor = 1;
    if (q.content_length >= 0) {
        parser->flags |= F_CONTENT_LENGTH;
        parser->content_length = (uint64_t)q.content_length;
        c->body_left = parser->content_length;
    } else {
        c->body_left = 0;
    }
    c->is_quick = true;
    on_head_parsed(c);
    leave_choice(c);
    return q.head_n;
}

/* Bytes of a body whose length is known; gives how many were its own. */
static size_t take_quick_body(struct http_conn *c, const char *p, size_t n)
{
    if (n > c->body_left)
        n = (size_t)c->body_left;
    if (n > 0 && on_body(&c->parser, p, n) != 0) {
        on_parse_error(c, HPE_USER);
        return n;
    }
    c->body_left -= n;
    if (c->body_left == 0) {
        c->is_whole = true;
        on_whole(c);
    }
    return n;
}

/* Parses as far as the state allows; keeps the rest. */
static void take(struct http_conn *c, const char *p, size_t n)
{
    for (;;) {
        if (c->state == CLOSED || c->is_bad || c->is_broken || c->bad_own)
            return;
        if (c->state == IDLE) {
            /* RFC 9112, 2.2: an empty line is ignored */
            while (n > 0 && (*p == '\r' || *p == '\n')) {
                p++;
                n--;
            }
            if (n == 0)
                return;
            begin_request(c, *p);
            size_t head_n = take_quick_head(c, p, n);
            p += head_n;
            n -= head_n;
            if (head_n > 0)
                continue;
        }
        if (c->state != HEAD && c->state != BODY) {
            park(c, p, n);
            return;
        }
        if (c->is_quick) {
            size_t body_n = take_quick_body(c, p, n);
            p += body_n;
            n -= body_n;
            if (n == 0)
                return;
            continue;
        }
        llhttp_errno_t error = llhttp_execute(&c->parser, p, n);
        if (error == HPE_OK) {
            if (c->state == HEAD) {
                c->n_taken += n;
                if (c->n_taken > c->server->conf.max_head_bytes) {
                    (void)head_too_large(c);
                    return;
                }
                if (!c->split)
                    c->split = head_move(&c->server->head);
                if (!c->due_ms)
                    set_state(c, HEAD);
            }
            return;
        }
        if (error != HPE_PAUSED) {
            on_parse_error(c, error);
            return;
        }
        const char *at = llhttp_get_error_pos(&c->parser);
        n -= (size_t)(at - p);
        p = at;
        llhttp_resume(&c->parser);
        if (c->is_whole) {
            on_whole(c);
            if (n == 0)
                return;
        } else {
            on_head_parsed(c);
            leave_choice(c);
        }
    }
}

/* The one place that acts on what handlers asked for. */
static void work(struct http_conn *c)
{
    for (;;) {
        if (c->state == CLOSED)
            return;
        if (c->server->gathering == c && !c->is_broken)
            flush(c, STR_NONE, false);
        if (c->is_broken) {
            close_conn(c);
            return;
        }
        if (c->bad_own && !c->is_bad) {
            struct err e = *c->bad_own;
            refuse(c, e.kind, e.status, e.code, e.message);
            continue;
        }
        if (c->req && c->is_reply_ended && !c->outq && c->held.n_held == 0 &&
            (c->is_whole || c->is_bad || !c->keep_alive || c->state == BODY)) {
            finish_request(c);
            continue;
        }
        enum state before = c->state;
        leave_choice(c);
        if (c->parked.n > 0 && (c->state == IDLE || (c->state == BODY && before == CHOICE))) {
            struct buf held = c->parked;
            buf_init(&c->parked, SIZE_MAX / 4);
            take(c, held.p, held.n);
            buf_done(&held);
            continue;
        }
        if (c->state == BODY && before == CHOICE) {
            continue;
        }
        update_reading(c);
        return;
    }
}

/* ---- events of the socket */

/* A large body is read to where it is to lie. */
static bool is_read_in_place(struct http_conn *c, size_t *room)
{
    if (c->state != BODY || c->mode != BODY_COLLECT || !c->body_arena || c->req->is_chunked ||
        c->parked.n > 0 || c->bad_own || c->in.n_waiting > 0)
        return false;
    size_t left = (size_t)c->req->content_length - c->body.n;
    if (left < DIRECT_BYTES ||
        !buf_reserve(&c->body, left < INBOX_READ_BYTES ? left : INBOX_READ_BYTES))
        return false;
    *room = c->body.cap - c->body.n;
    if (*room > left)
        *room = left;
    return true;
}

static void on_end(struct http_conn *c, ssize_t why)
{
    if (why == UV_EOF && c->state == REPLY && (c->parked.n > 0 || c->is_reply_ended)) {
        c->is_eof = true; /* it still waits for what it asked before */
        c->is_reading = false;
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
        return;
    }
    close_conn(c);
}

static void on_bytes(struct http_conn *c, const char *p, ssize_t n)
{
    if (n < 0) {
        on_end(c, n);
        return;
    }
    if (c->state == LINGER || c->is_bad) {
        c->n_taken += (size_t)n;
        if (c->state == LINGER && c->n_taken > LINGER_BYTES)
            close_conn(c);
        return;
    }
    if (c->state == BODY)
        set_state(c, BODY); /* its timeout is between reads */
    if (c->state == CHOICE || c->state == REPLY)
        park(c, p, (size_t)n);
    else
        take(c, p, (size_t)n);
    work(c);
}

static void on_taken(struct inbox_to *to, const char *p, ssize_t n)
{
    on_bytes((struct http_conn *)((char *)to - offsetof(struct http_conn, in)), p, n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct http_conn *c = stream->data;
    size_t room;
    (void)buf;
    if (c->state == CLOSED)
        return;
    if (n != UV_ENOBUFS) { /* not asked for: inbox_no_alloc */
        if (n < 0)
            on_end(c, n);
    } else if (is_read_in_place(c, &room)) {
        const char *at = c->body.p + c->body.n;
        n = inbox_read_now(&c->tcp, c->body.p + c->body.n, room);
        if (n != UV_EAGAIN)
            on_bytes(c, at, n);
    } else {
        inbox_read(loop_inbox(c->server->loop), &c->in, &c->tcp);
    }
}

/* ---- accepting */

static void set_peer(struct http_conn *c)
{
    struct sockaddr_storage sa;
    int n = sizeof sa;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &n) != 0)
        return;
    if (sa.ss_family == AF_INET) {
        (void)uv_ip4_name((struct sockaddr_in *)&sa, c->peer, sizeof c->peer);
        return;
    }
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&sa;
    if (IN6_IS_ADDR_V4MAPPED(
            &six->sin6_addr)) /* a dual-stack listener: the same client, the same name */
        (void)inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], c->peer, sizeof c->peer);
    else
        (void)uv_ip6_name(six, c->peer, sizeof c->peer);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    struct http_server *s = l->server;
    if (status != 0)
        return; /* out of descriptors: libuv spends its reserve one on turning the peer away */
    struct http_conn *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->server = s;
    c->tcp.data = c;
    c->turn.fn = run_turn;
    c->in.take = on_taken;
    c->held.send = send_held;
    buf_init(&c->parked, SIZE_MAX / 4);
    (void)uv_tcp_init(loop_uv(s->loop), &c->tcp);
    s->n_handles++;
    bool is_full = s->n_conns >= s->conf.max_conns;
    c->is_refused = is_full;
    if (is_full)
        s->n_refused++;
    else
        s->n_conns++;
    c->prev = &s->conns;
    c->next = s->conns;
    if (c->next)
        c->next->prev = &c->next;
    s->conns = c;
    if (uv_accept(stream, (uv_stream_t *)&c->tcp) != 0 ||
        (is_full && s->n_refused > REFUSED_CONNS)) {
        close_conn(c);
        return;
    }
    (void)uv_tcp_nodelay(&c->tcp, 1);
    llhttp_init(&c->parser, HTTP_REQUEST, &parser_settings);
    c->parser.data = c;
    if (is_full) {
        static const char full[] =
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n"
            "retry-after: 1\r\nconnection: close\r\ncontent-length: 21\r\n\r\n"
            "too many connections\n";
        uv_buf_t iov[1];
        (void)uv_try_write((uv_stream_t *)&c->tcp, iov, add_iov(iov, 0, full, sizeof full - 1));
        linger(c);
        return;
    }
    set_peer(c);
    set_state(c, IDLE);
    if (s->conf.head_timeout_ms >
        0) /* a fresh connection has less time to say something than a proven one */
        set_due(c, s->conf.head_timeout_ms);
    update_reading(c);
}

static int open_socket(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0)
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    struct http_server *s = l->server;
    free(l);
    s->n_handles--;
    free_server_if_done(s);
}

static void close_listeners(struct http_server *s)
{
    while (s->listeners) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
    }
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sa = {0};
    socklen_t n = sizeof sa;
    if (getsockname(fd, &sa.any, &n) != 0)
        return 0;
    return ntohs(sa.any.sa_family == AF_INET6 ? sa.v6.sin6_port : sa.v4.sin_port);
}

bool http_server_listen(struct http_server *s, const char *host, uint16_t port,
                        uint16_t *bound_port, struct err *e)
{
    char number[8], where[320];
    (void)snprintf(number, sizeof number, "%u", (unsigned)port);
    (void)snprintf(where, sizeof where, "%s port %s", host, number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *ai = NULL;
    int rc = getaddrinfo(host, number, &hints, &ai);
    if (rc != 0)
        return err_set(e, ERR_INPUT, "bad_listen_address", "cannot listen on %s: %s", where,
                       gai_strerror(rc));
    int fd = open_socket(ai);
    freeaddrinfo(ai);
    if (fd < 0)
        return err_errno(e, "cannot listen on", where);
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->server = s;
    (void)uv_tcp_init(loop_uv(s->loop), &l->tcp);
    l->tcp.data = l;
    s->n_handles++;
    if ((rc = uv_tcp_open(&l->tcp, fd)) != 0)
        (void)close(fd);
    else
        rc = uv_listen((uv_stream_t *)&l->tcp, 4096, on_connection);
    if (rc != 0) {
        uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
        errno = -rc;
        return err_errno(e, "cannot listen on", where);
    }
    l->next = s->listeners;
    s->listeners = l;
    if (bound_port)
        *bound_port = port_of(fd);
    return true;
}

/* ---- life of the server */

struct http_server *http_server_new(struct loop *l, const struct http_server_conf *conf,
                                    const struct http_handler *h, void *arg)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->loop = l;
    s->conf = conf ? *conf : http_server_conf_default;
    s->handler = *h;
    s->arg = arg;
    head_init(&s->head);
    buf_init(&s->gather, SIZE_MAX / 4);
    (void)buf_reserve(&s->gather, GATHER_BYTES + 8192);
    return s;
}

void http_server_drain(struct http_server *s)
{
    s->is_draining = true;
    close_listeners(s);
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->state == IDLE && c->depth == 0)
            close_conn(c);
    }
}

unsigned http_server_conns(const struct http_server *s)
{
    return s->n_conns;
}

void http_server_close(struct http_server *s)
{
    s->is_draining = s->is_closing = true;
    close_listeners(s);
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next; /* an on_close may cut others, but only by set_broken */
        if (c->depth > 0) {
            c->is_broken = true;
            loop_defer(s->loop, &c->turn);
        } else {
            close_conn(c);
        }
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_close(s);
    s->is_freed = true;
    free_server_if_done(s);
}
