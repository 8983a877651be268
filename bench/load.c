/* load.c - sends requests to one loopback address and checks every answer.
 *
 * Closed loop (default): N connections, each sends when its answer is complete. Open loop
 * (--rate): requests leave on a schedule and latency counts from the scheduled time, so a stalled
 * server cannot hide. --hold: opens N streams, waits for the first event of each, says so, and
 * keeps them until standard input ends. Prints one JSON object. One thread, one epoll; it reads
 * the processor time of the server under test exactly where its measured window begins and ends. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

#define RECV_BYTES (256u * 1024)
#define HEAD_MAX_BYTES (16u * 1024)
#define BODY_MAX_BYTES (16u * 1024 * 1024)
#define REQUEST_MAX_BYTES (8u * 1024 * 1024)
#define CONNECTIONS_MAX 20000
#define PIDS_MAX 8
#define EXPECTS_MAX 4
#define HEADERS_MAX 16
#define SAMPLES_MAX 4000000u
#define EVENTS_PER_WAIT 256
#define ONE_SECOND_NS 1000000000u
#define SHOWN_FAULTS 3

enum state {
    STATE_CLOSED,
    STATE_CONNECTING,
    STATE_IDLE,
    STATE_SENDING,
    STATE_READING
};
enum part {
    PART_HEAD,
    PART_LENGTH,
    PART_UNTIL_CLOSE,
    PART_SIZE,
    PART_CHUNK,
    PART_CHUNK_END,
    PART_TRAILER
};

struct conn {
    int fd;
    enum state state;
    enum part part;
    size_t sent;
    size_t left; /* of the body, or of the chunk */
    uint64_t start_ns;
    uint64_t first_ns; /* first byte of the answer; 0 before */
    char *head;        /* HEAD_MAX_BYTES, only while the head is read */
    size_t head_len;
    char *body;
    size_t body_len;
    size_t body_cap;
    size_t scanned; /* start of the line not yet counted */
    uint32_t events;
    unsigned status;
    bool is_last; /* the server will close */
    bool is_held; /* --hold: its first event has come */
};

struct conf {
    struct sockaddr_in address;
    const char *path;
    const char *header[HEADERS_MAX];
    size_t headers;
    const char *body_file;
    const char *expect[EXPECTS_MAX]; /* each must occur in the answer */
    size_t expects;
    const char *end; /* must occur in the last event of a stream */
    uint32_t events_min;
    unsigned status;
    size_t connections;
    double rate;   /* requests a second; 0 is the closed loop */
    double spread; /* connections opened a second; 0 is all at once */
    double warmup_s;
    double duration_s;
    uint64_t requests; /* stop after so many; 0 is by time */
    double timeout_s;
    bool is_hold;
    pid_t pid[PIDS_MAX];
    size_t pids;
    const char *stats_file;
};

struct counts {
    uint64_t requests;
    uint64_t errors;
    uint64_t timeouts;
    uint64_t reconnects;
    uint64_t bytes;
    uint64_t events;
};

struct reading {
    uint64_t at_ns;
    uint64_t cpu_ns;
    struct bench_stats mock;
    struct counts counts;
};

struct load {
    struct conf conf;
    char *request;
    size_t request_len;
    int epoll_fd;
    struct conn *conn;
    size_t opened;
    size_t in_flight;
    size_t held;
    size_t *idle; /* ring of free connections, oldest first (open loop) */
    size_t idle_head;
    size_t idle_count;
    uint64_t started; /* requests given out, for --requests */
    uint64_t next_due_ns;
    uint64_t backlog; /* scheduled, waiting for a connection */
    uint64_t late;    /* sent more than 1 ms after their time */
    bool is_measuring;
    bool is_draining;
    struct counts counts;
    struct reading begin;
    struct reading end;
    long rss_kb;
    uint32_t *latency_ns; /* of the measured window */
    uint32_t *first_byte_ns;
    size_t samples;
    unsigned faults_shown;
    const struct bench_stats *stats;
    char *buffer;
};

static volatile sig_atomic_t stop_requested;

static void on_stop(int number)
{
    (void)number;
    stop_requested = 1;
}

/* --- what the server under test has used ----------------------------------------------------- */

/* Run time of all threads, as the scheduler counts it. */
static uint64_t process_cpu_ns(pid_t pid)
{
    char path[300];
    uint64_t sum = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        die("process %d is gone", (int)pid);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char line[128] = "";
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue; /* the thread has ended meanwhile */
        if (fgets(line, sizeof line, f) != NULL)
            sum += strtoull(line, NULL, 10);
        (void)fclose(f);
    }
    (void)closedir(dir);
    return sum;
}

static long process_rss_kb(pid_t pid)
{
    char path[64];
    char line[256];
    long kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    (void)fclose(f);
    return kb;
}

static struct reading take_reading(const struct load *l)
{
    struct reading r = {.at_ns = now_ns(), .counts = l->counts};
    for (size_t i = 0; i < l->conf.pids; i++)
        r.cpu_ns += process_cpu_ns(l->conf.pid[i]);
    if (l->stats != NULL)
        r.mock = *l->stats;
    return r;
}

/* --- connections ----------------------------------------------------------------------------- */

static void conn_watch(struct load *l, struct conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(l->epoll_fd, op, c->fd, &ev) == -1)
        die("epoll_ctl: %s", strerror(errno));
}

static void conn_open(struct load *l, struct conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd == -1)
        die("socket: %s", strerror(errno));
    socket_prepare(c->fd);
    c->state = STATE_CONNECTING;
    c->start_ns = now_ns();
    int rc = connect(c->fd, (const struct sockaddr *)&l->conf.address, sizeof l->conf.address);
    if (rc == -1 && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    conn_watch(l, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void conn_shut(struct conn *c)
{
    if (c->state == STATE_CLOSED)
        return;
    (void)close(c->fd);
    free(c->head);
    c->head = NULL;
    c->state = STATE_CLOSED;
}

static void idle_push(struct load *l, struct conn *c)
{
    size_t at = (l->idle_head + l->idle_count++) % l->conf.connections;
    l->idle[at] = (size_t)(c - l->conn);
}

static struct conn *idle_pop(struct load *l)
{
    while (l->idle_count > 0) {
        struct conn *c = &l->conn[l->idle[l->idle_head]];
        l->idle_head = (l->idle_head + 1) % l->conf.connections;
        l->idle_count--;
        if (c->state == STATE_IDLE)
            return c;
    }
    return NULL;
}

static bool may_start(const struct load *l)
{
    return !l->is_draining && (l->conf.requests == 0 || l->started < l->conf.requests);
}

static void conn_send(struct load *l, struct conn *c)
{
    while (c->sent < l->request_len) {
        ssize_t n = send(c->fd, l->request + c->sent, l->request_len - c->sent, MSG_NOSIGNAL);
        if (n <= 0) {
            if (n == -1 && errno == EAGAIN)
                conn_watch(l, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return; /* a dead peer shows when it is read */
        }
        c->sent += (size_t)n;
    }
    c->state = STATE_READING;
}

static void conn_start(struct load *l, struct conn *c, uint64_t due_ns)
{
    c->state = STATE_SENDING;
    c->part = PART_HEAD;
    c->sent = 0;
    c->head_len = 0;
    c->body_len = 0;
    c->scanned = 0;
    c->events = 0;
    c->first_ns = 0;
    c->is_last = false;
    c->start_ns = due_ns;
    l->started++;
    l->in_flight++;
    conn_send(l, c);
}

/* A free connection takes the next request, or waits in the ring for the schedule. */
static void conn_free_now(struct load *l, struct conn *c)
{
    c->state = STATE_IDLE;
    if (l->conf.rate > 0)
        idle_push(l, c);
    else if (may_start(l) && !c->is_held)
        conn_start(l, c, now_ns());
}

static void show_fault(struct load *l, const struct conn *c, const char *what)
{
    if (l->faults_shown++ >= SHOWN_FAULTS)
        return;
    (void)fprintf(stderr, "load: %s (status %u, %zu bytes, %u events): %.400s\n", what, c->status,
                  c->body_len, c->events, c->body_len > 0 ? c->body : "");
}

static void conn_fail(struct load *l, struct conn *c, const char *what)
{
    bool had_request = c->state == STATE_SENDING || c->state == STATE_READING;
    if (had_request) {
        l->in_flight--;
        l->counts.errors++;
        show_fault(l, c, what);
    } else if (c->state == STATE_CONNECTING) {
        l->counts.errors++;
        show_fault(l, c, "cannot connect");
    } else {
        l->counts.reconnects++; /* closed while idle: anyone's right */
    }
    bool was_connecting = c->state == STATE_CONNECTING;
    conn_shut(c);
    if (was_connecting && l->counts.errors > l->conf.connections)
        die("nobody listens there");
    if (may_start(l))
        conn_open(l, c);
}

/* --- answers --------------------------------------------------------------------------------- */

/* The text after the last blank line but the closing one. */
static const char *last_event(const struct conn *c)
{
    size_t end = c->body_len;
    while (end > 0 && (c->body[end - 1] == '\n' || c->body[end - 1] == '\r'))
        end--;
    for (size_t i = end; i >= 2; i--)
        if (c->body[i - 1] == '\n' &&
            (c->body[i - 2] == '\n' ||
             (i >= 3 && c->body[i - 2] == '\r' && c->body[i - 3] == '\n')))
            return c->body + i;
    return c->body;
}

static const char *fault_in(const struct load *l, const struct conn *c)
{
    const struct conf *k = &l->conf;
    if (c->status != k->status)
        return "wrong status";
    if (c->body_len == 0 && (k->expects > 0 || k->end != NULL))
        return "the answer is empty";
    for (size_t i = 0; i < k->expects; i++)
        if (memmem(c->body, c->body_len, k->expect[i], strlen(k->expect[i])) == NULL)
            return "an expected text is missing";
    if (c->events < k->events_min)
        return "too few events";
    if (k->end != NULL) {
        const char *last = last_event(c);
        if (memmem(last, c->body_len - (size_t)(last - c->body), k->end, strlen(k->end)) == NULL)
            return "the end marker is missing";
    }
    return NULL;
}

static uint32_t clamp_ns(uint64_t ns)
{
    return ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static void answer_complete(struct load *l, struct conn *c)
{
    uint64_t now = now_ns();
    const char *fault = fault_in(l, c);
    l->in_flight--;
    if (fault != NULL) {
        l->counts.errors++;
        show_fault(l, c, fault);
    } else {
        l->counts.requests++;
        if (l->is_measuring && l->samples < SAMPLES_MAX) {
            l->latency_ns[l->samples] = clamp_ns(now - c->start_ns);
            l->first_byte_ns[l->samples++] = clamp_ns(c->first_ns - c->start_ns);
        }
    }
    free(c->head);
    c->head = NULL;
    if (c->is_last) {
        conn_shut(c);
        if (may_start(l))
            conn_open(l, c);
        return;
    }
    conn_free_now(l, c);
}

static void count_events(struct load *l, struct conn *c)
{
    const char *newline;
    while ((newline = memchr(c->body + c->scanned, '\n', c->body_len - c->scanned)) != NULL) {
        const char *line = c->body + c->scanned;
        if (newline - line >= 5 && memcmp(line, "data:", 5) == 0) {
            c->events++;
            l->counts.events++;
        }
        c->scanned = (size_t)(newline - c->body) + 1;
    }
}

static bool body_append(struct load *l, struct conn *c, const char *data, size_t len)
{
    if (c->body_len + len > BODY_MAX_BYTES)
        return false;
    if (c->body_len + len + 1 > c->body_cap) {
        c->body_cap = 2 * (c->body_len + len + 1);
        c->body = must_alloc(c->body, c->body_cap);
    }
    memcpy(c->body + c->body_len, data, len);
    c->body_len += len;
    c->body[c->body_len] = '\0'; /* for show_fault */
    l->counts.bytes += len;
    count_events(l, c);
    return true;
}

/* Reads the complete head in c->head and decides how the body ends. */
static bool read_head(struct conn *c)
{
    bool has_length = false;
    bool is_chunked = false;
    const char *end = c->head + c->head_len;
    if (c->head_len < 12 || memcmp(c->head, "HTTP/1.1 ", 9) != 0)
        return false;
    c->status = (unsigned)strtoul(c->head + 9, NULL, 10);
    c->left = 0;
    for (const char *line = c->head; line < end;) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            c->left = strtoul(line + 15, NULL, 10);
            has_length = true;
        } else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) {
            is_chunked = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            c->is_last = true;
        }
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        line = newline == NULL ? end : newline + 1;
    }
    c->part = is_chunked ? PART_SIZE : has_length ? PART_LENGTH : PART_UNTIL_CLOSE;
    return true;
}

/* Takes bytes of the head until its end. */
static size_t feed_head(struct conn *c, const char *data, size_t len, bool *ok)
{
    if (c->head == NULL)
        c->head = must_alloc(NULL, HEAD_MAX_BYTES);
    size_t room = HEAD_MAX_BYTES - 1 - c->head_len;
    size_t n = len < room ? len : room;
    size_t before = c->head_len;
    memcpy(c->head + before, data, n);
    size_t from = before < 3 ? 0 : before - 3;
    const char *end = memmem(c->head + from, before + n - from, "\r\n\r\n", 4);
    if (end == NULL) {
        c->head_len += n;
        *ok = n == len;
        return n;
    }
    c->head_len = (size_t)(end - c->head) + 4;
    c->head[c->head_len] = '\0';
    n = c->head_len - before;
    *ok = read_head(c);
    return n;
}

/* Takes bytes up to a line's end; true when the line is complete. The head buffer holds it. */
static bool feed_line(struct conn *c, const char *data, size_t len, size_t *used)
{
    const char *newline = memchr(data, '\n', len);
    size_t n = newline == NULL ? len : (size_t)(newline - data) + 1;
    size_t keep = n < HEAD_MAX_BYTES - 1 - c->head_len ? n : HEAD_MAX_BYTES - 1 - c->head_len;
    memcpy(c->head + c->head_len, data, keep);
    c->head_len += keep;
    c->head[c->head_len] = '\0';
    *used = n;
    return newline != NULL;
}

/* Feeds one part; returns bytes used. Sets *done at the end of the answer, *ok to false on nonsense. */
static size_t feed_part(struct load *l, struct conn *c, const char *data, size_t len, bool *done,
                        bool *ok)
{
    size_t n = len;
    switch (c->part) {
    case PART_HEAD:
        n = feed_head(c, data, len, ok);
        if (*ok && c->part == PART_LENGTH && c->left == 0)
            *done = true;
        if (c->part != PART_HEAD)
            c->head_len = 0;
        return n;
    case PART_UNTIL_CLOSE:
        *ok = body_append(l, c, data, len);
        return len;
    case PART_LENGTH:
    case PART_CHUNK:
        if (n > c->left)
            n = c->left;
        *ok = body_append(l, c, data, n);
        c->left -= n;
        if (c->left == 0 && c->part == PART_LENGTH)
            *done = true;
        else if (c->left == 0)
            c->part = PART_CHUNK_END;
        return n;
    case PART_CHUNK_END:
        if (feed_line(c, data, len, &n)) {
            *ok = strcmp(c->head, "\r\n") == 0;
            c->head_len = 0;
            c->part = PART_SIZE;
        }
        return n;
    case PART_SIZE:
        if (feed_line(c, data, len, &n)) {
            char *end = NULL;
            c->left = strtoul(c->head, &end, 16);
            *ok = end != c->head && (*end == '\r' || *end == ';');
            c->head_len = 0;
            c->part = c->left > 0 ? PART_CHUNK : PART_TRAILER;
        }
        return n;
    case PART_TRAILER:
        if (feed_line(c, data, len, &n)) {
            *done = strcmp(c->head, "\r\n") == 0;
            c->head_len = 0;
        }
        return n;
    }
    return n;
}

static void hold_reached(struct load *l, struct conn *c)
{
    if (!l->conf.is_hold || c->is_held || c->events == 0)
        return;
    c->is_held = true;
    l->held++;
}

static void conn_feed(struct load *l, struct conn *c, const char *data, size_t len)
{
    if (c->first_ns == 0)
        c->first_ns = now_ns();
    while (len > 0) {
        bool done = false;
        bool ok = true;
        if (c->state != STATE_READING && c->state != STATE_SENDING) {
            conn_fail(l, c, "bytes that nobody asked for");
            return;
        }
        size_t n = feed_part(l, c, data, len, &done, &ok);
        if (!ok) {
            conn_fail(l, c, "not HTTP");
            return;
        }
        data += n;
        len -= n;
        if (done && len > 0) {
            conn_fail(l, c, "bytes after the answer");
            return;
        }
        if (done) {
            answer_complete(l, c);
            return;
        }
    }
    hold_reached(l, c);
}

static void conn_receive(struct load *l, struct conn *c)
{
    for (;;) {
        ssize_t n = recv(c->fd, l->buffer, RECV_BYTES, 0);
        if (n == -1 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (n == 0 && c->state == STATE_READING && c->part == PART_UNTIL_CLOSE) {
                c->is_last = true;
                answer_complete(l, c);
            } else {
                conn_fail(l, c, "the connection was cut");
            }
            return;
        }
        int fd = c->fd;
        conn_feed(l, c, l->buffer, (size_t)n);
        if ((size_t)n < RECV_BYTES || c->state == STATE_CLOSED || c->fd != fd)
            return;
    }
}

static void conn_ready(struct load *l, struct conn *c, uint32_t events)
{
    if (c->state == STATE_CLOSED)
        return;
    if (c->state == STATE_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof error;
        (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0) {
            conn_fail(l, c, strerror(error));
            return;
        }
        conn_watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
        conn_free_now(l, c);
        return;
    }
    if (c->state == STATE_SENDING && (events & EPOLLOUT) != 0) {
        conn_watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
        conn_send(l, c);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        conn_receive(l, c);
}

/* --- time ------------------------------------------------------------------------------------ */

static void open_due(struct load *l, uint64_t begun_ns, uint64_t now)
{
    size_t due = l->conf.connections;
    if (l->conf.spread > 0) {
        double so_far = (double)(now - begun_ns) / ONE_SECOND_NS * l->conf.spread + 1;
        if (so_far < (double)due)
            due = (size_t)so_far;
    }
    while (l->opened < due)
        conn_open(l, &l->conn[l->opened++]);
}

static void send_due(struct load *l, uint64_t now)
{
    uint64_t period = (uint64_t)(ONE_SECOND_NS / l->conf.rate);
    while (l->next_due_ns <= now && may_start(l)) {
        struct conn *c = idle_pop(l);
        if (c == NULL)
            return; /* the schedule waits, and its latency grows */
        if (now - l->next_due_ns > ONE_SECOND_NS / 1000)
            l->late++;
        conn_start(l, c, l->next_due_ns);
        l->next_due_ns += period;
    }
}

static void fail_overdue(struct load *l, uint64_t now)
{
    uint64_t limit = (uint64_t)(l->conf.timeout_s * ONE_SECOND_NS);
    for (size_t i = 0; i < l->opened; i++) {
        struct conn *c = &l->conn[i];
        bool is_waiting = c->state == STATE_SENDING || c->state == STATE_READING ||
                          c->state == STATE_CONNECTING;
        if (is_waiting && !c->is_held && now > c->start_ns && now - c->start_ns > limit) {
            l->counts.timeouts++;
            conn_fail(l, c, "no answer in time");
        }
    }
}

static struct timespec until(uint64_t due_ns, uint64_t now)
{
    uint64_t wait = due_ns > now ? due_ns - now : 0;
    return (struct timespec){.tv_sec = (time_t)(wait / ONE_SECOND_NS),
                             .tv_nsec = (long)(wait % ONE_SECOND_NS)};
}

/* One turn: wait for events or for `due_ns`, whichever is first. */
static void turn(struct load *l, uint64_t due_ns)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct timespec timeout = until(due_ns, now_ns());
    int n = epoll_pwait2(l->epoll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
    for (int i = 0; i < n; i++)
        conn_ready(l, events[i].data.ptr, events[i].events);
}

static void begin_window(struct load *l)
{
    l->is_measuring = true;
    l->late = 0;
    l->begin = take_reading(l);
}

static void end_window(struct load *l)
{
    l->end = take_reading(l);
    l->is_measuring = false;
    l->is_draining = true;
    for (size_t i = 0; i < l->conf.pids; i++)
        l->rss_kb += process_rss_kb(l->conf.pid[i]);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Runs until the window has passed (or the requests are done) and what was in flight is answered. */
static void run(struct load *l)
{
    uint64_t begun = now_ns();
    uint64_t window = begun + (uint64_t)(l->conf.warmup_s * ONE_SECOND_NS);
    uint64_t end = window + (uint64_t)(l->conf.duration_s * ONE_SECOND_NS);
    uint64_t drained = end + (uint64_t)(l->conf.timeout_s * ONE_SECOND_NS);
    uint64_t next_check = begun + ONE_SECOND_NS / 4;
    l->next_due_ns = begun + ONE_SECOND_NS / 10; /* the first connections stand by then */
    for (uint64_t now = begun; stop_requested == 0; now = now_ns()) {
        if (l->begin.at_ns == 0 && now >= window)
            begin_window(l);
        if (!l->is_draining && now >= end)
            end_window(l);
        if (l->is_draining && (l->in_flight == 0 || now >= drained))
            break;
        uint64_t due = min_u64(l->is_draining ? drained : end, next_check);
        if (l->begin.at_ns == 0)
            due = min_u64(due, window);
        if (!l->is_draining)
            open_due(l, begun, now);
        if (!l->is_draining && l->opened < l->conf.connections)
            due = min_u64(due, now + ONE_SECOND_NS / 1000);
        if (l->conf.rate > 0 && may_start(l)) {
            send_due(l, now);
            due = min_u64(due, l->next_due_ns > now ? l->next_due_ns : next_check);
        }
        if (now >= next_check) {
            next_check = now + ONE_SECOND_NS / 4;
            fail_overdue(l, now);
        }
        turn(l, due);
        if (!l->is_draining && l->conf.requests > 0 &&
            l->counts.requests + l->counts.errors >= l->conf.requests)
            end_window(l);
    }
    if (!l->is_draining)
        end_window(l);
}

/* Opens the streams, tells the parent, and waits for it to close our input. */
static void hold(struct load *l)
{
    uint64_t begun = now_ns();
    uint64_t end = begun + (uint64_t)(l->conf.duration_s * ONE_SECOND_NS);
    bool is_told = false;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    bool input_open = true;
    l->conf.requests = l->conf.connections;
    begin_window(l);
    while (input_open && stop_requested == 0 && now_ns() < end && l->counts.errors == 0) {
        struct epoll_event events[EVENTS_PER_WAIT];
        uint64_t now = now_ns();
        open_due(l, begun, now);
        struct timespec timeout = until(now + ONE_SECOND_NS / 1000, now);
        int n = epoll_pwait2(l->epoll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr == NULL)
                input_open = false;
            else
                conn_ready(l, events[i].data.ptr, events[i].events);
        if (!is_told && l->held == l->conf.connections) {
            is_told = true;
            (void)printf("holding %zu\n", l->held);
            (void)fflush(stdout);
            if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &ev) == -1)
                die("standard input must be a pipe");
        }
        fail_overdue(l, now);
    }
    end_window(l);
}

/* --- report ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_percentiles(const char *name, uint32_t *sample, size_t count)
{
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    double sum = 0;
    qsort(sample, count, sizeof *sample, by_value);
    for (size_t i = 0; i < count; i++)
        sum += sample[i];
    (void)printf(",\"%s\":{\"mean\":%.1f", name, count > 0 ? sum / (double)count / 1000 : 0);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        size_t at = (size_t)(points[i].part * (double)count);
        if (at >= count)
            at = count - 1;
        (void)printf(",\"%s\":%.1f", points[i].name, count > 0 ? sample[at] / 1000.0 : 0);
    }
    (void)printf("}");
}

static void report(struct load *l)
{
    const struct reading *a = &l->begin;
    const struct reading *b = &l->end;
    (void)printf("{\"seconds\":%.6f,\"requests\":%ju,\"errors\":%ju,\"timeouts\":%ju,"
                 "\"reconnects\":%ju,\"bytes\":%ju,\"events\":%ju",
                 (double)(b->at_ns - a->at_ns) / ONE_SECOND_NS,
                 (uintmax_t)(b->counts.requests - a->counts.requests), (uintmax_t)l->counts.errors,
                 (uintmax_t)l->counts.timeouts, (uintmax_t)l->counts.reconnects,
                 (uintmax_t)(b->counts.bytes - a->counts.bytes),
                 (uintmax_t)(b->counts.events - a->counts.events));
    (void)printf(",\"total_requests\":%ju,\"late\":%ju,\"unanswered\":%zu",
                 (uintmax_t)l->counts.requests, (uintmax_t)l->late,
                 l->conf.is_hold ? (size_t)0 : l->in_flight);
    if (l->conf.is_hold)
        (void)printf(",\"held\":%zu", l->held);
    if (l->conf.pids > 0)
        (void)printf(",\"cpu_seconds\":%.6f,\"rss_kb\":%ld",
                     (double)(b->cpu_ns - a->cpu_ns) / ONE_SECOND_NS, l->rss_kb);
    if (l->stats != NULL)
        (void)printf(",\"mock_requests\":%ju,\"mock_streams\":%ju,\"mock_pieces\":%ju",
                     (uintmax_t)(b->mock.requests - a->mock.requests),
                     (uintmax_t)(b->mock.streams - a->mock.streams),
                     (uintmax_t)(b->mock.pieces - a->mock.pieces));
    print_percentiles("latency_us", l->latency_ns, l->samples);
    print_percentiles("first_byte_us", l->first_byte_ns, l->samples);
    (void)printf("}\n");
}

/* --- start ----------------------------------------------------------------------------------- */

static char *file_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        die("cannot open '%s': %s", path, strerror(errno));
    char *data = must_alloc(NULL, REQUEST_MAX_BYTES);
    *len = fread(data, 1, REQUEST_MAX_BYTES, f);
    if (ferror(f) || *len == REQUEST_MAX_BYTES)
        die("cannot read '%s', or it is too long", path);
    (void)fclose(f);
    return data;
}

static void build_request(struct load *l)
{
    const struct conf *k = &l->conf;
    size_t body_len = 0;
    char *body = k->body_file == NULL ? NULL : file_read(k->body_file, &body_len);
    FILE *f = open_memstream(&l->request, &l->request_len);
    if (f == NULL)
        die("no memory for the request");
    (void)fprintf(f, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n", body != NULL ? "POST" : "GET",
                  k->path, (unsigned)ntohs(k->address.sin_port));
    for (size_t i = 0; i < k->headers; i++)
        (void)fprintf(f, "%s\r\n", k->header[i]);
    if (body != NULL)
        (void)fprintf(f, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_len);
    (void)fputs("\r\n", f);
    if (body_len > 0)
        (void)fwrite(body, 1, body_len, f);
    if (fclose(f) == EOF)
        die("no memory for the request");
    free(body);
}

/* http://127.x.y.z:port/path and nothing else: this program loads no machine but its own. */
static void read_url(struct conf *k, char *url)
{
    char host[64];
    unsigned port = 0;
    int used = 0;
    if (sscanf(url, "http://%63[0-9.]:%5u%n", host, &port, &used) != 2 || used == 0 ||
        port > 65535 || (url[used] != '/' && url[used] != '\0'))
        die("'%s' is not http://127.0.0.1:port/path", url);
    k->address.sin_family = AF_INET;
    k->address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &k->address.sin_addr) != 1 ||
        ntohl(k->address.sin_addr.s_addr) >> 24 != 127)
        die("'%s' is not a loopback address: refused", host);
    k->path = url[used] == '/' ? url + used : "/";
}

static const char usage[] =
    "usage: load [options] http://127.0.0.1:PORT/PATH\n"
    "  -c, --connections N    keep-alive connections (64)\n"
    "  -d, --duration S       measured seconds (3); --warmup S before them (0)\n"
    "  -n, --requests N       stop after N answers (--duration is then the limit)\n"
    "  -r, --rate R           open loop: R requests a second\n"
    "      --spread R         open connections at R a second\n"
    "      --hold             open streams, report 'holding N', keep them until input ends\n"
    "  -b, --body FILE        POST this; without it GET\n"
    "  -H, --header 'k: v'    repeat for more\n"
    "      --status N         expected status (200)\n"
    "      --expect TEXT      must be in every answer; repeat for more\n"
    "      --end TEXT         must be in the last event of every stream\n"
    "      --events N         least number of data lines in every stream\n"
    "      --timeout S        for one answer (10)\n"
    "      --pid PID          measure this process; repeat for more\n"
    "      --stats-file F     read the mock's counters\n";

static void add_pid(struct conf *k, const char *text)
{
    if (k->pids == PIDS_MAX)
        die("too many --pid");
    k->pid[k->pids++] = (pid_t)parse_number("--pid", text, 1, 4194304);
}

static void add_text(const char *flag, const char **list, size_t *count, size_t max, char *text)
{
    if (*count == max)
        die("too many %s", flag);
    list[(*count)++] = text;
}

static void read_arguments(struct conf *k, int argc, char **argv)
{
    /* clang-format off */
    static const struct option options[] = {
        {"connections", required_argument, NULL, 'c'}, {"duration", required_argument, NULL, 'd'},
        {"requests", required_argument, NULL, 'n'},    {"rate", required_argument, NULL, 'r'},
        {"body", required_argument, NULL, 'b'},        {"header", required_argument, NULL, 'H'},
        {"warmup", required_argument, NULL, 'w'},      {"spread", required_argument, NULL, 's'},
        {"hold", no_argument, NULL, 'o'},              {"status", required_argument, NULL, 'S'},
        {"expect", required_argument, NULL, 'e'},      {"end", required_argument, NULL, 'E'},
        {"events", required_argument, NULL, 'v'},      {"timeout", required_argument, NULL, 't'},
        {"pid", required_argument, NULL, 'p'},         {"stats-file", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},              {0},
    };
    /* clang-format on */
    /* clang-format off */
    for (int option; (option = getopt_long(argc, argv, "c:d:n:r:b:H:", options, NULL)) != -1;)
        switch (option) {
        case 'c':
            k->connections = (size_t)parse_number("--connections", optarg, 1, CONNECTIONS_MAX);
            break;
        case 'd': k->duration_s = parse_number("--duration", optarg, 0.01, 600); break;
        case 'n': k->requests = (uint64_t)parse_number("--requests", optarg, 1, 1e8); break;
        case 'r': k->rate = parse_number("--rate", optarg, 1, 1e6); break;
        case 'b': k->body_file = optarg; break;
        case 'H': add_text("--header", k->header, &k->headers, HEADERS_MAX, optarg); break;
        case 'w': k->warmup_s = parse_number("--warmup", optarg, 0, 60); break;
        case 's': k->spread = parse_number("--spread", optarg, 1, 1e6); break;
        case 'o': k->is_hold = true; break;
        case 'S': k->status = (unsigned)parse_number("--status", optarg, 100, 599); break;
        case 'e': add_text("--expect", k->expect, &k->expects, EXPECTS_MAX, optarg); break;
        case 'E': k->end = optarg; break;
        case 'v': k->events_min = (uint32_t)parse_number("--events", optarg, 0, 1e6); break;
        case 't': k->timeout_s = parse_number("--timeout", optarg, 0.1, 600); break;
        case 'p': add_pid(k, optarg); break;
        case 'f': k->stats_file = optarg; break;
        case 'h': (void)fputs(usage, stdout); exit(0);
        default: (void)fputs(usage, stderr); exit(2);
        }
    /* clang-format on */
    if (optind != argc - 1) {
        (void)fputs(usage, stderr);
        exit(2);
    }
    read_url(k, argv[optind]);
}

int main(int argc, char **argv)
{
    struct load l = {
        .conf = {.status = 200, .connections = 64, .duration_s = 3, .timeout_s = 10},
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
    };
    read_arguments(&l.conf, argc, argv);
    if (l.epoll_fd == -1)
        die("epoll_create1: %s", strerror(errno));
    die_with_parent();
    raise_descriptor_limit();
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* the schedule is in microseconds */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_stop}, NULL);
    (void)sigaction(SIGINT, &(struct sigaction){.sa_handler = on_stop}, NULL);
    build_request(&l);
    l.conn = must_alloc(NULL, l.conf.connections * sizeof *l.conn);
    memset(l.conn, 0, l.conf.connections * sizeof *l.conn);
    l.idle = must_alloc(NULL, l.conf.connections * sizeof *l.idle);
    l.buffer = must_alloc(NULL, RECV_BYTES);
    l.latency_ns = must_alloc(NULL, SAMPLES_MAX * sizeof *l.latency_ns);
    l.first_byte_ns = must_alloc(NULL, SAMPLES_MAX * sizeof *l.first_byte_ns);
    if (l.conf.stats_file != NULL)
        l.stats = stats_map(l.conf.stats_file, false);
    if (l.conf.is_hold)
        hold(&l);
    else
        run(&l);
    report(&l);
    return l.counts.errors > 0 || (!l.conf.is_hold && l.in_flight > 0) ? 1 : 0;
}
