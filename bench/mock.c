/* mock.c - an upstream for benchmarks: fixed answers in four formats, faster than what is measured.
 *
 * One thread, one epoll. Each listener has a temper: `once` answers a stream in one write, `paced`
 * and `slow` send one event a segment at a fixed rate, `idle` sends the first event and falls
 * silent, `tls` is `once` behind TLS. Whether to stream is read from the request ("stream":true,
 * or streamGenerateContent in the path). Any path prefix and any key will do. It does not check
 * what it is sent beyond HTTP framing: it is no test double. */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "replies.h"
#include "util.h"

#define READ_BYTES (64u * 1024)
#define REQUEST_MAX_BYTES (8u * 1024 * 1024)
#define STREAM_SCAN_BYTES 4096u /* of a large body only its ends are searched for "stream" */
#define EVENTS_PER_WAIT 256
#define ONE_SECOND_NS 1000000000u

enum temper {
    TEMPER_ONCE,
    TEMPER_PACED,
    TEMPER_SLOW,
    TEMPER_IDLE,
    TEMPER_TLS,
    TEMPER_COUNT
};
static const char *const temper_names[TEMPER_COUNT] = {"once", "paced", "slow", "idle", "tls"};

struct conn {
    int fd;
    enum temper temper;
    SSL *ssl; /* NULL on plain listeners */
    char *in; /* one request, and what follows it */
    size_t in_len;
    size_t in_cap;
    const char *out; /* borrowed from the replies; never freed */
    size_t out_len;
    uint32_t epoll_events;
    const struct replies *pieces_of; /* paced stream in progress */
    size_t next_piece;
    uint64_t due_ns;
    struct conn *next; /* in its pacer's queue */
    bool is_queued;
    bool is_streaming; /* the write in progress ends a stream */
    bool is_silent;    /* idle: nothing more will come */
    bool is_dead;      /* closed while queued; freed when the queue reaches it */
    bool close_after;
};

/* All of a pacer's streams have one period, so a queue in order of arrival is in order of time. */
struct pacer {
    uint64_t period_ns;
    struct conn *head;
    struct conn *tail;
};

struct mock {
    int epoll_fd;
    int listener[TEMPER_COUNT]; /* -1 when not opened */
    SSL_CTX *tls;
    struct replies replies[FORMAT_COUNT];
    struct pacer pacer[TEMPER_COUNT];
    struct bench_stats *stats;
};

struct request {
    enum format format;
    bool is_known;
    bool is_stream;
    bool is_last; /* Connection: close */
    size_t total; /* bytes in the buffer that belong to it */
};

static volatile sig_atomic_t stop_requested;

static void on_stop(int number)
{
    (void)number;
    stop_requested = 1;
}

/* --- requests ------------------------------------------------------------------------------ */

static bool contains(const char *text, size_t len, const char *needle)
{
    return memmem(text, len, needle, strlen(needle)) != NULL;
}

static bool asks_for_stream(const char *body, size_t len)
{
    size_t part = len > 4 * STREAM_SCAN_BYTES ? STREAM_SCAN_BYTES : len;
    return contains(body, part, "\"stream\":true") || contains(body, part, "\"stream\": true") ||
           (part < len && (contains(body + len - part, part, "\"stream\":true") ||
                           contains(body + len - part, part, "\"stream\": true")));
}

static void read_path(const char *path, size_t len, struct request *rq)
{
    static const struct {
        const char *part;
        enum format format;
    } paths[] = {
        {"/chat/completions", FORMAT_CHAT},
        {"enerateContent", FORMAT_GEMINI}, /* generateContent, streamGenerateContent */
        {"/messages", FORMAT_MESSAGES},
        {"/responses", FORMAT_RESPONSES},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (contains(path, len, paths[i].part)) {
            rq->format = paths[i].format;
            rq->is_known = true;
            break;
        }
    if (rq->is_known && rq->format == FORMAT_GEMINI)
        rq->is_stream = contains(path, len, "streamGenerateContent");
}

/* Where a chunked body ends: > 0 its length in the buffer, 0 more to come, -1 not chunks. */
static ssize_t chunked_length(const char *body, size_t len)
{
    size_t at = 0;
    for (;;) {
        const char *line_end = memmem(body + at, len - at, "\r\n", 2);
        if (line_end == NULL)
            return len - at > 20 ? -1 : 0;
        char *digits_end = NULL;
        unsigned long long size = strtoull(body + at, &digits_end, 16);
        if (digits_end == body + at || size > REQUEST_MAX_BYTES)
            return -1;
        at = (size_t)(line_end - body) + 2;
        if (len - at < size + 2)
            return 0;
        at += (size_t)size + 2;
        if (size == 0)
            return (ssize_t)at; /* no trailers: our peers send none */
    }
}

/* 1 when a whole request is at the start of the buffer, 0 when more must come, -1 when it is none. */
static int read_request(struct conn *c, struct request *rq)
{
    *rq = (struct request){0};
    const char *head_end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (head_end == NULL)
        return c->in_len > READ_BYTES ? -1 : 0;
    const char *body = head_end + 4;
    size_t body_here = c->in_len - (size_t)(body - c->in);
    size_t body_len = 0;
    bool is_chunked = false;

    const char *line = memchr(c->in, '\n', (size_t)(body - c->in)) + 1;
    for (; line < head_end; line = (const char *)memchr(line, '\n', (size_t)(body - line)) + 1) {
        if (strncasecmp(line, "content-length:", 15) == 0)
            body_len = strtoul(line + 15, NULL, 10);
        else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0)
            is_chunked = true;
        else if (strncasecmp(line, "connection: close", 17) == 0)
            rq->is_last = true;
    }
    if (body_len > REQUEST_MAX_BYTES)
        return -1;
    if (is_chunked) {
        ssize_t n = chunked_length(body, body_here);
        if (n <= 0)
            return (int)n;
        body_len = (size_t)n;
    }
    rq->total = (size_t)(body - c->in) + body_len;
    if (rq->total > c->in_len)
        return 0;

    const char *path = memchr(c->in, ' ', (size_t)(body - c->in));
    if (path == NULL)
        return -1;
    path++;
    const char *path_end = memchr(path, ' ', (size_t)(body - path));
    if (path_end == NULL)
        return -1;
    read_path(path, (size_t)(path_end - path), rq);
    if (rq->is_known && rq->format != FORMAT_GEMINI)
        rq->is_stream = asks_for_stream(body, body_len);
    return 1;
}

/* --- connections --------------------------------------------------------------------------- */

static void conn_release(struct conn *c)
{
    free(c->in);
    free(c);
}

static void conn_close(struct conn *c)
{
    if (c->ssl != NULL) {
        ERR_clear_error();
        (void)SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    (void)close(c->fd);
    c->is_dead = true;
    if (!c->is_queued)
        conn_release(c);
}

static void conn_watch(struct mock *m, struct conn *c, uint32_t events)
{
    if (c->epoll_events == events)
        return;
    struct epoll_event ev = {.events = events, .data.ptr = c};
    int op = c->epoll_events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(m->epoll_fd, op, c->fd, &ev) == -1)
        die("epoll_ctl: %s", strerror(errno));
    c->epoll_events = events;
}

/* Bytes moved, 0 when it must wait, -1 when the peer is gone. */
static ssize_t conn_read(struct conn *c, char *to, size_t room)
{
    if (c->ssl != NULL) {
        ERR_clear_error();
        int n = SSL_read(c->ssl, to, (int)room);
        if (n > 0)
            return n;
        int why = SSL_get_error(c->ssl, n);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t n = recv(c->fd, to, room, 0);
    if (n > 0)
        return n;
    return n == -1 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static ssize_t conn_write(struct conn *c, const char *from, size_t len)
{
    if (c->ssl != NULL) {
        ERR_clear_error();
        int n = SSL_write(c->ssl, from, (int)len);
        if (n > 0)
            return n;
        int why = SSL_get_error(c->ssl, n);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t n = send(c->fd, from, len, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* False when the peer is gone. Leaves `out_len` above 0 when the socket is full. */
static bool conn_flush(struct mock *m, struct conn *c)
{
    while (c->out_len > 0) {
        ssize_t n = conn_write(c, c->out, c->out_len);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        c->out += n;
        c->out_len -= (size_t)n;
    }
    conn_watch(m, c, c->out_len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (c->out_len == 0 && c->is_streaming) {
        c->is_streaming = false;
        m->stats->streams++;
    }
    return true;
}

static bool conn_send(struct mock *m, struct conn *c, struct bytes b)
{
    c->out = b.data;
    c->out_len = b.len;
    return conn_flush(m, c);
}

static bool conn_is_busy(const struct conn *c)
{
    return c->out_len > 0 || c->pieces_of != NULL || c->is_silent;
}

static void pacer_push(struct pacer *p, struct conn *c)
{
    c->next = NULL;
    c->is_queued = true;
    if (p->head == NULL)
        p->head = c;
    else
        p->tail->next = c;
    p->tail = c;
}

/* One piece, one write: with TCP_NODELAY that is one segment. */
static bool send_next_piece(struct mock *m, struct conn *c)
{
    const struct replies *r = c->pieces_of;
    struct bytes piece = r->piece[c->next_piece++];
    if (c->next_piece == r->pieces) {
        c->pieces_of = NULL;
        c->is_streaming = true;
    }
    m->stats->pieces++;
    return conn_send(m, c, piece);
}

static bool answer_stream(struct mock *m, struct conn *c, const struct replies *r)
{
    switch (c->temper) {
    case TEMPER_ONCE:
    case TEMPER_TLS:
        c->is_streaming = true;
        return conn_send(m, c, r->stream);
    case TEMPER_IDLE:
        c->is_silent = true;
        return conn_send(m, c, r->opening);
    case TEMPER_PACED:
    case TEMPER_SLOW:
        c->pieces_of = r;
        c->next_piece = 0;
        if (!c->is_queued) {
            c->due_ns = now_ns() + m->pacer[c->temper].period_ns;
            pacer_push(&m->pacer[c->temper], c);
        }
        return send_next_piece(m, c);
    case TEMPER_COUNT:
        break;
    }
    return false;
}

static bool answer(struct mock *m, struct conn *c, const struct request *rq)
{
    m->stats->requests++;
    c->close_after = rq->is_last;
    if (!rq->is_known)
        return conn_send(m, c, reply_not_found);
    const struct replies *r = &m->replies[rq->format];
    return rq->is_stream ? answer_stream(m, c, r) : conn_send(m, c, r->json);
}

/* Answers what is complete in the buffer, one at a time. False when the connection must close. */
static bool conn_serve(struct mock *m, struct conn *c)
{
    while (!conn_is_busy(c)) {
        struct request rq;
        if (c->close_after)
            return false;
        int whole = c->in_len == 0 ? 0 : read_request(c, &rq);
        if (whole <= 0)
            return whole == 0;
        if (!answer(m, c, &rq))
            return false;
        c->in_len -= rq.total;
        memmove(c->in, c->in + rq.total, c->in_len);
    }
    return true;
}

static bool conn_fill(struct conn *c)
{
    for (;;) {
        if (c->in_cap - c->in_len < READ_BYTES / 4) {
            c->in_cap = c->in_cap == 0 ? READ_BYTES / 2 : c->in_cap * 2;
            if (c->in_cap > 2 * REQUEST_MAX_BYTES)
                return false;
            c->in = must_alloc(c->in, c->in_cap);
        }
        size_t room = c->in_cap - c->in_len;
        ssize_t n = conn_read(c, c->in + c->in_len, room);
        if (n < 0)
            return false;
        c->in_len += (size_t)n;
        if (n == 0 || (c->ssl == NULL && (size_t)n < room))
            return true;
    }
}

static void conn_ready(struct mock *m, struct conn *c, uint32_t events)
{
    bool ok = (events & EPOLLIN) != 0 ? conn_fill(c) : (events & (EPOLLERR | EPOLLHUP)) == 0;
    if (ok && c->out_len > 0)
        ok = conn_flush(m, c);
    if (!ok || !conn_serve(m, c))
        conn_close(c);
}

static void accept_all(struct mock *m, enum temper temper)
{
    for (;;) {
        int fd = accept4(m->listener[temper], NULL, NULL, SOCK_CLOEXEC);
        if (fd == -1)
            return;
        socket_prepare(fd);
        struct conn *c = must_alloc(NULL, sizeof *c);
        *c = (struct conn){.fd = fd, .temper = temper};
        if (temper == TEMPER_TLS) {
            c->ssl = SSL_new(m->tls);
            if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1)
                die("cannot set up TLS");
            SSL_set_accept_state(c->ssl);
        }
        conn_watch(m, c, EPOLLIN);
        m->stats->connections++;
    }
}

/* --- pacing -------------------------------------------------------------------------------- */

static void pacer_run(struct mock *m, struct pacer *p, uint64_t now)
{
    while (p->head != NULL && p->head->due_ns <= now) {
        struct conn *c = p->head;
        p->head = c->next;
        c->is_queued = false;
        if (c->is_dead) {
            conn_release(c);
            continue;
        }
        if (c->pieces_of == NULL)
            continue; /* its stream has ended */
        if (c->out_len == 0 && !send_next_piece(m, c)) {
            conn_close(c);
            continue;
        }
        if (c->pieces_of == NULL) {
            if (!conn_serve(m, c)) /* a pipelined request, or the end */
                conn_close(c);
            else if (c->pieces_of != NULL && !c->is_queued)
                die("a new stream was not queued");
            continue;
        }
        c->due_ns += p->period_ns;
        if (c->due_ns < now)
            c->due_ns = now; /* late: no bursts to catch up */
        pacer_push(p, c);
    }
}

/* Time until the next piece is due, or one second. */
static uint64_t pacers_wait_ns(const struct mock *m, uint64_t now)
{
    uint64_t wait = ONE_SECOND_NS;
    for (size_t i = 0; i < TEMPER_COUNT; i++) {
        const struct conn *c = m->pacer[i].head;
        if (c != NULL && c->due_ns < now + wait)
            wait = c->due_ns > now ? c->due_ns - now : 0;
    }
    return wait;
}

static void serve_until(struct mock *m, uint64_t end_ns)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    uint64_t now = now_ns();
    while (stop_requested == 0 && now < end_ns) {
        uint64_t wait = pacers_wait_ns(m, now);
        struct timespec timeout = {.tv_sec = (time_t)(wait / ONE_SECOND_NS),
                                   .tv_nsec = (long)(wait % ONE_SECOND_NS)};
        int n = epoll_pwait2(m->epoll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
        for (int i = 0; i < n; i++) {
            int *listener = events[i].data.ptr;
            if (listener >= m->listener && listener < m->listener + TEMPER_COUNT)
                accept_all(m, (enum temper)(listener - m->listener));
            else
                conn_ready(m, events[i].data.ptr, events[i].events);
        }
        now = now_ns();
        for (size_t i = 0; i < TEMPER_COUNT; i++)
            pacer_run(m, &m->pacer[i], now);
    }
}

/* --- start --------------------------------------------------------------------------------- */

static unsigned listen_on_loopback(struct mock *m, enum temper temper)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &m->listener[temper]};
    if (fd == -1 || bind(fd, (struct sockaddr *)&address, len) == -1 || listen(fd, 4096) == -1 ||
        getsockname(fd, (struct sockaddr *)&address, &len) == -1 ||
        epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == -1)
        die("cannot listen: %s", strerror(errno));
    m->listener[temper] = fd;
    return ntohs(address.sin_port);
}

static void load_tls(struct mock *m, const char *cert, const char *key)
{
    m->tls = SSL_CTX_new(TLS_server_method());
    if (m->tls == NULL || SSL_CTX_use_certificate_chain_file(m->tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(m->tls, key, SSL_FILETYPE_PEM) != 1)
        die("cannot load certificate '%s' and key '%s'", cert, key);
    (void)SSL_CTX_set_mode(m->tls,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static void open_listeners(struct mock *m, const char *port_file)
{
    char text[256];
    size_t at = 0;
    for (enum temper t = 0; t < TEMPER_COUNT; t++) {
        m->listener[t] = -1;
        if (t == TEMPER_TLS && m->tls == NULL)
            continue;
        unsigned port = listen_on_loopback(m, t);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s %u\n", temper_names[t], port);
    }
    if (port_file != NULL)
        file_publish(port_file, text);
    else
        (void)fputs(text, stdout);
    (void)fflush(stdout);
}

static const char usage[] =
    "usage: mock [options]\n"
    "Listens on free loopback ports, one per temper (once, paced, slow, idle, tls).\n"
    "  --port-file PATH      write 'temper port' lines there (default: standard output)\n"
    "  --stats-file PATH     keep counters there\n"
    "  --cert F --key F      open the tls listener\n"
    "  --deltas N            text events in a stream (100)\n"
    "  --paced N --slow N    events a second and stream on these listeners (50, 10)\n"
    "  --lifetime SECONDS    end by itself after that time (3600)\n";

int main(int argc, char **argv)
{
    /* clang-format off */
    static const struct option options[] = {
        {"port-file", required_argument, NULL, 'p'}, {"stats-file", required_argument, NULL, 's'},
        {"cert", required_argument, NULL, 'c'},      {"key", required_argument, NULL, 'k'},
        {"deltas", required_argument, NULL, 'd'},    {"paced", required_argument, NULL, 'r'},
        {"slow", required_argument, NULL, 'w'},      {"lifetime", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},            {0},
    };
    /* clang-format on */
    struct mock m = {.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    struct bench_stats unwatched = {0};
    const char *port_file = NULL;
    const char *cert = NULL;
    const char *key = NULL;
    double deltas = 100;
    double paced = 50;
    double slow = 10;
    double lifetime = 3600;
    m.stats = &unwatched;
    /* clang-format off */
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (option) {
        case 'p': port_file = optarg; break;
        case 's': m.stats = stats_map(optarg, true); break;
        case 'c': cert = optarg; break;
        case 'k': key = optarg; break;
        case 'd': deltas = parse_number("--deltas", optarg, 1, 10000); break;
        case 'r': paced = parse_number("--paced", optarg, 0.1, 10000); break;
        case 'w': slow = parse_number("--slow", optarg, 0.1, 10000); break;
        case 'l': lifetime = parse_number("--lifetime", optarg, 1, 86400); break;
        case 'h': (void)fputs(usage, stdout); return 0;
        default: (void)fputs(usage, stderr); return 2;
        }
    /* clang-format on */
    if (m.epoll_fd == -1)
        die("epoll_create1: %s", strerror(errno));
    die_with_parent();
    raise_descriptor_limit();
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_stop}, NULL);
    (void)sigaction(SIGINT, &(struct sigaction){.sa_handler = on_stop}, NULL);
    if (cert != NULL && key != NULL)
        load_tls(&m, cert, key);
    for (enum format f = 0; f < FORMAT_COUNT; f++)
        replies_build(&m.replies[f], f, (size_t)deltas);
    m.pacer[TEMPER_PACED].period_ns = (uint64_t)(ONE_SECOND_NS / paced);
    m.pacer[TEMPER_SLOW].period_ns = (uint64_t)(ONE_SECOND_NS / slow);
    open_listeners(&m, port_file);
    serve_until(&m, now_ns() + (uint64_t)(lifetime * ONE_SECOND_NS));
    return 0; /* the kernel closes and frees the rest */
}
