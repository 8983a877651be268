/* The HTTP server, over a real socket: whatever a peer sends, it is answered with well-formed replies and the
 * connection ends. The input is cut into writes at the byte 0xff. */
#include "fuzz/fuzz.h"
#include "http/parser.h"
#include "http/server.h"
#include "net/loop.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static uint16_t port;

static void on_head(void *arg, struct http_req *r)
{
    (void)arg;
    if (str_is(r->path, "/stream"))
        http_req_stream(r, 2048);
    else if (str_is(r->path, "/now"))
        http_reply(r, 204, NULL, 0, STR_NONE);
    else
        http_req_collect(r, 2048);
}

static void on_body(void *arg, struct http_req *r, struct str chunk)
{
    (void)arg;
    if (r->status == 0)
        http_reply_head(r, 200, NULL, 0, -1);
    http_reply_body(r, chunk);
}

static void on_complete(void *arg, struct http_req *r)
{
    (void)arg;
    struct http_header h[] = {{STR("x-path"), str_fmt(r->arena, "%zu", r->path.n)}};
    if (r->status == 0)
        http_reply(r, 200, h, ARRAY_LEN(h), r->body);
    else if (str_is(r->path, "/stream"))
        http_reply_end(r);
}

static void on_bad(void *arg, struct http_req *r, const struct err *e)
{
    (void)arg;
    REQUIRE(e->kind != ERR_NONE, "bad for no reason");
    if (r->status == 0)
        http_reply(r, err_status(e), NULL, 0, str_of(e->message));
    else
        http_reply_cut(r);
}

static void on_drain(void *arg, struct http_req *r)
{
    (void)arg;
    (void)r;
}

static void on_close(void *arg, struct http_req *r)
{
    (void)arg;
    (void)r;
}

static const struct http_handler handler = {on_head, on_body,  on_complete,
                                            on_bad,  on_drain, on_close};

static void *serve(void *ready)
{
    struct loop *l = loop_new(0);
    struct http_server_conf conf = http_server_conf_default;
    conf.max_head_bytes = 4096;
    conf.max_target_bytes = 1024;
    conf.head_timeout_ms = conf.body_timeout_ms = conf.idle_timeout_ms = 5000;
    struct http_server *s = http_server_new(l, &conf, &handler, NULL);
    struct err e = ERR_INIT;
    REQUIRE(http_server_listen(s, "127.0.0.1", 0, &port, &e), "%s", e.message);
    REQUIRE(pthread_barrier_wait(ready) != EINVAL, "barrier");
    loop_run(l);
    return NULL;
}

static void start_once(void)
{
    static bool is_running;
    if (is_running)
        return;
    is_running = true;
    static pthread_barrier_t ready;
    pthread_t thread;
    pthread_barrier_init(&ready, NULL, 2);
    REQUIRE(pthread_create(&thread, NULL, serve, &ready) == 0, "no thread");
    pthread_barrier_wait(&ready);
}

/* What came back is a row of whole replies. */
static void check_replies(struct str got, bool is_head)
{
    llhttp_t parser;
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    llhttp_init(&parser, HTTP_RESPONSE, &settings);
    if (is_head)
        return; /* lengths without bodies: llhttp cannot know */
    llhttp_errno_t rc = llhttp_execute(&parser, got.p, got.n);
    if (rc == HPE_CLOSED_CONNECTION)
        return;
    REQUIRE(rc == HPE_OK || rc == HPE_PAUSED_UPGRADE, "reply is malformed: %s: '" STR_FMT "'",
            llhttp_get_error_reason(&parser), STR_ARG(got));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start_once();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        if (fd >= 0)
            close(fd);
        return -1; /* out of ports: the input says nothing */
    }
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* no TIME_WAIT: ports last */
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);

    struct str rest = str_n((const char *)data, size), piece;
    bool is_head = str_contains(rest, STR("HEAD "));
    while (rest.n > 0) {
        rest = str_cut(rest, (char)0xff, &piece);
        if (piece.n && send(fd, piece.p, piece.n, MSG_NOSIGNAL) < 0)
            break;
    }
    shutdown(fd, SHUT_WR);
    struct buf got;
    buf_init(&got, 1u << 20);
    char room[16384];
    ssize_t n;
    while ((n = recv(fd, room, sizeof room, 0)) > 0)
        buf_add(&got, room, (size_t)n);
    REQUIRE(n == 0 || errno != EAGAIN, "the connection does not end");
    if (n == 0) /* a reset may have eaten the end of the reply */
        check_replies(buf_str(&got), is_head);
    buf_done(&got);
    close(fd);
    return 0;
}
