/* The server fed over a socket pair of its own: the input is what a client sends, split as its first bytes say.
 * Whatever comes, the pieces must give the same answers as the whole, every on_head must meet its on_close, and
 * everything must end. */
#include "base/buf.h"
#include "http/server.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *l;
/* [0] generous, and so the same for pieces and whole; [1] tight: which limit is met first depends on the pieces */
static struct http_server *servers[2], *server;
static uint16_t ports[2], port;
static int open_requests;

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

static void on_head(void *arg, struct http_req *r)
{
    (void)arg;
    open_requests++;
    REQUIRE(r->path.n > 0 && r->method_name.n > 0);
    switch (r->path.n % 4) {
    case 1:
        http_req_collect(r, 1000);
        break;
    case 2:
        http_req_stream(r, 500);
        break;
    case 3:
        http_reply(r, 200, NULL, 0, STR("early"));
        break;
    default:
        http_req_collect(r, 0);
        http_req_pause(r);
        http_req_resume(r);
        break;
    }
}

static void on_body(void *arg, struct http_req *r, struct str chunk)
{
    (void)arg;
    REQUIRE(chunk.n > 0 && r->bytes_in <= 500);
    if (r->query.n % 4 == 3)
        http_reply(r, 200, NULL, 0, STR("enough"));
}

static void on_complete(void *arg, struct http_req *r)
{
    (void)arg;
    REQUIRE(r->body.n <= r->bytes_in);
    if (r->query.n % 3 == 1) {
        http_reply_head(r, 200, r->headers, r->n_headers < 3 ? r->n_headers : 3, -1);
        http_reply_body(r, r->body);
        http_reply_end(r);
    } else if (r->query.n % 3 == 2) {
        http_reply_cut(r);
    } else {
        http_reply(r, 200, NULL, 0, r->body);
    }
}

static void on_bad(void *arg, struct http_req *r, const struct err *e)
{
    (void)arg;
    REQUIRE(err_status(e) >= 400 && e->message[0]);
    http_reply(r, err_status(e), NULL, 0, str_of(e->code));
}

static void on_close(void *arg, struct http_req *r)
{
    (void)arg;
    (void)r;
    open_requests--;
}

/* From an address of our own: its ports are not those that the rest of this machine uses up. */
static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK + 76)}};
    REQUIRE(fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
            bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
    int rc = connect(fd, (struct sockaddr *)&to, sizeof to);
    for (int i = 0; rc != 0 && i < 10000; i++) {
        (void)usleep(1000);
        rc = connect(fd, (struct sockaddr *)&to, sizeof to);
    }
    REQUIRE(rc == 0);
    REQUIRE(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    struct linger hard = {.l_onoff = 1}; /* else the ports run out */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return fd;
}

static void turn(void)
{
    (void)uv_run(loop_uv(l), UV_RUN_NOWAIT);
}

static void exchange(const char *p, size_t n, size_t step, struct buf *got)
{
    int fd = dial();
    char bytes[4096];
    for (size_t at = 0; at < n; at += step) {
        size_t m = n - at < step ? n - at : step;
        if (send(fd, p + at, m, MSG_NOSIGNAL) < 0)
            break;
        turn();
    }
    for (int idle = 0; idle < 3; idle++) {
        ssize_t m = recv(fd, bytes, sizeof bytes, 0);
        if (m == 0)
            break;
        if (m > 0) {
            buf_add(got, bytes, (size_t)m);
            idle = -1;
        }
        turn();
    }
    (void)close(fd);
    for (int i = 0; i < 100 && http_server_conns(server) > 0; i++)
        turn();
    REQUIRE(http_server_conns(server) == 0 && open_requests == 0);
}

/* The time of day is not to be compared. A body that says "date:" itself must not hide the date of the next reply. */
static struct str without_date(struct buf *b)
{
    for (size_t i = 0; i + 37 <= b->n; i++) {
        char *date = b->p + i + 8;
        if (memcmp(b->p + i, "\r\ndate: ", 8) == 0 && memcmp(date + 26, "GMT", 3) == 0 &&
            !memchr(date, '\r', 29))
            memset(date, 'd', 29);
    }
    return buf_str(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!l) {
        static const struct http_handler handler = {.on_head = on_head,
                                                    .on_body = on_body,
                                                    .on_complete = on_complete,
                                                    .on_bad = on_bad,
                                                    .on_close = on_close};
        struct http_server_conf conf = http_server_conf_default;
        l = loop_new(0);
        for (int i = 0; i < 2; i++) {
            servers[i] = http_server_new(l, &conf, &handler, NULL);
            REQUIRE(http_server_listen(servers[i], "127.0.0.1", 0, &ports[i], NULL));
            conf.max_head_bytes = 600;
            conf.max_target_bytes = 100;
            conf.max_headers = 12;
        }
    }
    if (n < 1 || n > 4000)
        return 0;
    struct buf whole, pieces;
    buf_init(&whole, 1 << 20);
    buf_init(&pieces, 1 << 20);
    size_t step = 1 + data[0] % 64u;
    bool is_tight = data[0] & 0x80;
    server = servers[is_tight];
    port = ports[is_tight];
    const char *p = (const char *)data + 1;
    exchange(p, n - 1, n, &whole);
    exchange(p, n - 1, n > 600 ? step + n / 64 : step, &pieces);
    /* A reply may be lost to a reset where the server closes before it read all; never may it differ. */
    struct str a = without_date(&whole), b = without_date(&pieces);
    size_t same = a.n < b.n ? a.n : b.n;
    REQUIRE(is_tight || same == 0 || memcmp(a.p, b.p, same) == 0);
    buf_done(&whole);
    buf_done(&pieces);
    return 0;
}
