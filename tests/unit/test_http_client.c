/* The client against upstreams that a test plays by hand. */
#include "base/buf.h"
#include "http/client.h"
#include "http/fetch.h"
#include "unit/net_kit.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct loop *l;
static struct arena *a;
static struct http_client *client;
static int listener;
static uint16_t port;
static struct http_origin origin;

struct seen { /* of one call */
    struct http_call *call;
    int status, ends, errors, writables, read_ends;
    enum http_failure failure;
    bool is_head_seen;
    char code[48], message[512];
    struct buf headers, body;
    enum {
        CANCEL_NEVER,
        CANCEL_IN_HEAD,
        CANCEL_IN_BODY,
        PAUSE_IN_HEAD
    } how;
};

static void on_head(void *arg, int status, const struct http_header *h, size_t n)
{
    struct seen *s = arg;
    ck_assert_int_eq(s->status, 0);
    s->status = status;
    for (size_t i = 0; i < n; i++)
        buf_fmt(&s->headers, STR_FMT "=" STR_FMT "|", STR_ARG(h[i].name), STR_ARG(h[i].value));
    if (s->how == CANCEL_IN_HEAD)
        http_call_cancel(s->call);
    if (s->how == PAUSE_IN_HEAD)
        http_call_pause(s->call);
}

static void on_body(void *arg, struct str bytes)
{
    struct seen *s = arg;
    ck_assert_int_ne(s->status, 0);
    ck_assert_int_eq(s->ends + s->errors, 0);
    buf_str_add(&s->body, bytes);
    if (s->how == CANCEL_IN_BODY)
        http_call_cancel(s->call);
}

static void on_read_end(void *arg)
{
    ((struct seen *)arg)->read_ends++;
}

static void on_end(void *arg)
{
    struct seen *s = arg;
    s->ends++;
    s->call = NULL;
}

static void on_error(void *arg, enum http_failure f, const struct err *e, bool is_head_seen)
{
    struct seen *s = arg;
    s->errors++;
    s->call = NULL;
    s->failure = f;
    s->is_head_seen = is_head_seen;
    ck_assert_int_gt(strlen(e->message), 0);
    (void)snprintf(s->message, sizeof s->message, "%s", e->message);
    (void)snprintf(s->code, sizeof s->code, "%s", e->code);
}

static void on_writable(void *arg)
{
    ((struct seen *)arg)->writables++;
}

static const struct http_call_handler handler = {.on_head = on_head,
                                                 .on_body = on_body,
                                                 .on_read_end = on_read_end,
                                                 .on_end = on_end,
                                                 .on_error = on_error,
                                                 .on_writable = on_writable};

static void setup(void)
{
    l = loop_new(0);
    a = arena_new();
    client = http_client_new(l, NULL);
    listener = peer_listen(&port);
    origin = (struct http_origin){.key = STR("test"),
                                  .host = STR("127.0.0.1"),
                                  .port = port,
                                  .host_header = STR("up.example"),
                                  .allow_private = true};
}

static void teardown(void)
{
    http_client_free(client);
    loop_free(l);
    (void)close(listener);
    arena_free(a);
    arena_thread_done();
}

static struct seen *new_seen(void)
{
    struct seen *s = ARENA_NEW(a, struct seen);
    buf_init_arena(&s->headers, a, 1 << 20);
    buf_init_arena(&s->body, a, 64 << 20);
    return s;
}

static struct seen *start(const struct http_out *out)
{
    struct seen *s = new_seen();
    s->call = http_call_start(client, out, &handler, s);
    ck_assert_int_eq(s->ends + s->errors + s->status, 0); /* never before it returned */
    return s;
}

static struct seen *get(const char *target)
{
    struct http_out out = {.origin = &origin, .method = HTTP_GET, .target = str_of(target)};
    return start(&out);
}

static struct seen *post(const char *target, struct str body)
{
    struct http_out out = {
        .origin = &origin, .method = HTTP_POST, .target = str_of(target), .body = body};
    return start(&out);
}

#define OK "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

START_TEST(sends_what_it_should)
{
    static const struct http_header headers[] = {{STR_INIT("x-a"), STR_INIT("1")},
                                                 {STR_INIT("x-b"), STR_INIT("2\r\nx-c: 3")}};
    struct http_out out = {.origin = &origin,
                           .method = HTTP_POST,
                           .target = STR("/p?q=a b\r\nx"),
                           .headers = headers,
                           .n_headers = 2,
                           .body = STR("hello")};
    struct seen *s = start(&out);
    int fd = peer_accept(l, listener);
    struct str sent = peer_read_message(l, fd, a);
    ck_assert_msg(
        str_is(sent,
               "POST /p?q=a%20b%0D%0Ax HTTP/1.1\r\nhost: up.example\r\nx-a: 1\r\nx-b: 2  x-c: 3\r\n"
               "content-length: 5\r\n\r\nhello"),
        STR_FMT, STR_ARG(sent));
    peer_say(l, fd,
             "HTTP/1.1 201 Made\r\nX-Thing: \t a b \r\nEmpty:\r\nContent-Length: 3\r\n\r\nyes");
    TURN_UNTIL(l, s->ends);
    ck_assert_int_eq(s->status, 201);
    ck_assert(str_is(buf_str(&s->headers), "x-thing=a b|empty=|content-length=3|"));
    ck_assert(str_is(buf_str(&s->body), "yes"));
    s = get("");
    sent = peer_read_until(l, fd, a, "\r\n\r\n");
    ck_assert(str_is(sent, "GET / HTTP/1.1\r\nhost: up.example\r\n\r\n"));
    peer_say(l, fd, OK);
    TURN_UNTIL(l, s->ends);
    (void)close(fd);
}
END_TEST

START_TEST(reuses_the_connection_used_last)
{
    struct seen *one = get("/1"), *two = get("/2");
    int fds[2] = {peer_accept(l, listener), peer_accept(l, listener)};
    for (int i = 0; i < 2; i++) {
        (void)peer_read_until(l, fds[i], a, "\r\n\r\n");
        peer_say(l, fds[i], OK);
        TURN_UNTIL(l, one->ends + two->ends == i + 1);
    }
    struct http_client_stats stats = http_client_stats(client);
    ck_assert_uint_eq(stats.idle, 2);
    for (int i = 0; i < 3; i++) {
        struct seen *s = get("/next");
        ck_assert(http_call_is_reused(s->call));
        (void)peer_read_until(l, fds[1], a, "\r\n\r\n");
        peer_say(l, fds[1], OK);
        TURN_UNTIL(l, s->ends);
    }
    stats = http_client_stats(client);
    ck_assert_uint_eq(stats.connects, 2);
    ck_assert_uint_eq(stats.reuses, 3);
    ck_assert_uint_eq(stats.open, 2);
    (void)close(fds[0]); /* an idle one that the upstream closes is forgotten silently */
    (void)close(fds[1]);
    TURN_UNTIL(l, http_client_stats(client).open == 0);
}
END_TEST

START_TEST(separate_origins_share_nothing)
{
    struct seen *s = get("/1");
    int one = peer_accept(l, listener);
    (void)peer_read_until(l, one, a, "\r\n\r\n");
    peer_say(l, one, OK);
    TURN_UNTIL(l, s->ends);
    struct http_origin other = origin;
    other.key = STR("other");
    struct http_out out = {.origin = &other, .method = HTTP_GET, .target = STR("/")};
    s = start(&out);
    int two = peer_accept(l, listener);
    ck_assert(!http_call_is_reused(s->call));
    http_call_cancel(s->call);
    (void)close(one);
    (void)close(two);
}
END_TEST

static const char chunked[] =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    "3\r\nabc\r\n4;e=1\r\ndefg\r\n0\r\ntrailer: t\r\n\r\n";

START_TEST(any_split_of_the_reply_gives_the_same)
{
    int fd = -1;
    for (size_t split = 0; split < sizeof chunked; split++) {
        struct seen *s = get("/");
        if (fd < 0)
            fd = peer_accept(l, listener); /* and it is reused all the time */
        (void)peer_read_until(l, fd, a, "\r\n\r\n");
        peer_send(l, fd, str_n(chunked, split));
        net_turn(l);
        peer_send(l, fd, str_n(chunked + split, sizeof chunked - 1 - split));
        TURN_UNTIL(l, s->ends + s->errors);
        ck_assert_msg(s->ends == 1 && s->status == 200, "split at %zu: %s", split, s->message);
        ck_assert(str_is(buf_str(&s->body), "abcdefg"));
        ck_assert(str_is(buf_str(&s->headers), "transfer-encoding=chunked|x=y|"));
    }
    ck_assert_uint_eq(http_client_stats(client).connects, 1);
    (void)close(fd);
}
END_TEST

START_TEST(one_byte_at_a_time_will_do)
{
    struct seen *s = get("/");
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    for (size_t i = 0; i < sizeof chunked - 1; i++)
        peer_send(l, fd, str_n(chunked + i, 1));
    TURN_UNTIL(l, s->ends);
    ck_assert(str_is(buf_str(&s->body), "abcdefg"));
    ck_assert_int_gt(s->read_ends, 3);
    (void)close(fd);
}
END_TEST

START_TEST(knows_where_every_reply_ends)
{
    static const struct {
        enum http_method method;
        const char *reply, *body;
        bool is_closed, is_reused; /* by us, for the next call */
    } rows[] = {
        {HTTP_GET, "HTTP/1.1 204 No Content\r\n\r\n", "", false, true},
        {HTTP_GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", "", false, true},
        {HTTP_HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "", false, true},
        {HTTP_HEAD, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "", false, true},
        {HTTP_GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", false, true},
        {HTTP_GET, "HTTP/1.1 200 OK\r\n\r\nto the end", "to the end", true, false},
        {HTTP_GET, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok", false, false},
        {HTTP_GET, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", "ok",
         false, false},
        {HTTP_GET, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokand more", "ok", false, false},
        {HTTP_GET, "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 2\r\n\r\nok", "ok", false,
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_out out = {.origin = &origin, .method = rows[i].method, .target = STR("/")};
        struct http_origin fresh = origin;
        fresh.key = str_fmt(a, "row%zu", i);
        out.origin = &fresh;
        struct seen *s = start(&out);
        int fd = peer_accept(l, listener);
        (void)peer_read_until(l, fd, a, "\r\n\r\n");
        peer_send(l, fd, str_of(rows[i].reply));
        if (rows[i].is_closed)
            (void)shutdown(fd, SHUT_WR);
        TURN_UNTIL(l, s->ends + s->errors);
        ck_assert_msg(s->ends == 1, "row %zu: %s", i, s->message);
        ck_assert_msg(str_eq(buf_str(&s->body), str_of(rows[i].body)), "row %zu", i);
        for (int t = 0; t < 3; t++)
            net_turn(l);
        ck_assert_msg(http_client_stats(client).idle == (rows[i].is_reused ? 1 : 0), "row %zu", i);
        (void)close(fd);
        TURN_UNTIL(l, http_client_stats(client).open == 0);
    }
}
END_TEST

START_TEST(tells_what_went_wrong)
{
    static const struct {
        const char *reply; /* then it closes */
        enum http_failure failure;
        bool is_head_seen;
    } rows[] = {
        {"", HTTP_FAIL_CLOSED, false},
        {"HTTP/1.1 200 O", HTTP_FAIL_CLOSED, false},
        {"HTTP/1.1 100 Continue\r\n\r\n", HTTP_FAIL_CLOSED, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", HTTP_FAIL_CLOSED, true},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", HTTP_FAIL_CLOSED, true},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", HTTP_FAIL_CLOSED,
         true},
        {"SSH-2.0-server\r\n", HTTP_FAIL_PROTOCOL, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
         HTTP_FAIL_PROTOCOL, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc", HTTP_FAIL_PROTOCOL,
         false},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", HTTP_FAIL_PROTOCOL, true},
        {"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
         HTTP_FAIL_PROTOCOL, false},
        {"HTTP/1.1 103 Hints\r\ncontent-length: 3\r\n\r\nabc", HTTP_FAIL_PROTOCOL, false},
        {"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", HTTP_FAIL_PROTOCOL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *s = get("/");
        int fd = peer_accept(l, listener);
        (void)peer_read_until(l, fd, a, "\r\n\r\n");
        peer_send(l, fd, str_of(rows[i].reply));
        (void)close(fd);
        TURN_UNTIL(l, s->ends + s->errors);
        ck_assert_msg(s->errors == 1 && s->failure == rows[i].failure &&
                          s->is_head_seen == rows[i].is_head_seen,
                      "row %zu: failure %d: %s", i, (int)s->failure, s->message);
        ck_assert(!peer_has_caller(l, listener)); /* it was a fresh connection: no second try */
    }
    ck_assert_uint_eq(http_client_stats(client).failures, ARRAY_LEN(rows));
    ck_assert_uint_eq(http_client_stats(client).open, 0);
}
END_TEST

START_TEST(a_head_without_end_is_refused)
{
    struct seen *s = get("/");
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    peer_say(l, fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 3000 && !s->errors; i++)
        peer_say(l, fd, "x-header: 0123456789012345678901234567890123456789\r\n");
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_PROTOCOL);
    (void)close(fd);
}
END_TEST

/* ---- the keep-alive race */

static int prepare_idle(void) /* one pooled connection */
{
    struct seen *s = get("/first");
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    peer_say(l, fd, OK);
    TURN_UNTIL(l, s->ends);
    return fd;
}

START_TEST(a_lost_keep_alive_race_is_run_again_once)
{
    int fd = prepare_idle();
    struct seen *s = post("/again", STR("body"));
    (void)peer_read_message(l, fd, a);
    (void)close(fd);
    fd = peer_accept(l, listener); /* a fresh one, with the whole request */
    ck_assert(str_ends(peer_read_message(l, fd, a), STR("\r\n\r\nbody")));
    (void)close(fd); /* no third try */
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_CLOSED);
    ck_assert(!peer_has_caller(l, listener));
}
END_TEST

START_TEST(a_race_lost_before_writing_is_run_again_too)
{
    int fd = prepare_idle();
    struct linger hard = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)close(fd); /* by reset, not yet noticed: the write itself fails */
    struct seen *s = post("/again", STR("body"));
    ck_assert(http_call_is_reused(s->call));
    fd = peer_accept(l, listener);
    (void)peer_read_message(l, fd, a);
    peer_say(l, fd, OK);
    TURN_UNTIL(l, s->ends);
    (void)close(fd);
}
END_TEST

START_TEST(no_second_try_once_the_reply_began_or_the_body_is_streamed)
{
    int fd = prepare_idle();
    struct seen *s = get("/again");
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    peer_say(l, fd, "H");
    (void)close(fd);
    TURN_UNTIL(l, s->errors);
    ck_assert(!peer_has_caller(l, listener));
    fd = prepare_idle();
    struct http_out out = {.origin = &origin,
                           .method = HTTP_POST,
                           .target = STR("/"),
                           .is_streamed = true,
                           .stream_length = -1};
    s = start(&out);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    (void)close(fd);
    TURN_UNTIL(l, s->errors);
    ck_assert(!peer_has_caller(l, listener));
}
END_TEST

START_TEST(words_on_an_idle_connection_end_it)
{
    int fd = prepare_idle();
    peer_say(l, fd, "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
    TURN_UNTIL(l, http_client_stats(client).open == 0);
    struct seen *s = get("/");
    ck_assert(!http_call_is_reused(s->call));
    http_call_cancel(s->call);
    (void)close(fd);
}
END_TEST

/* ---- giving up */

START_TEST(every_wait_has_an_end)
{
    struct http_out out = {.origin = &origin, .method = HTTP_GET, .target = STR("/")};
    out.first_byte_timeout_ms = 30;
    struct seen *s = start(&out);
    int fd = peer_accept(l, listener);
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_FIRST);
    (void)peer_read_all(l, fd, a); /* and the connection is closed */
    (void)close(fd);

    out.first_byte_timeout_ms = 0;
    out.between_timeout_ms = 30;
    s = start(&out);
    fd = peer_accept(l, listener);
    peer_say(l, fd, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_BETWEEN);
    ck_assert(s->is_head_seen);
    (void)close(fd);

    out.between_timeout_ms = 0;
    out.total_timeout_ms = 60;
    s = start(&out);
    fd = peer_accept(l, listener);
    peer_say(l, fd, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20000 && !s->errors; i++)
        peer_say(l, fd, "1\r\na\r\n"); /* it never stops talking */
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_TOTAL);
    (void)close(fd);

    struct http_client_conf conf = http_client_conf_default;
    conf.max_conns_per_origin = 1;
    http_client_free(client);
    client = http_client_new(l, &conf);
    out = (struct http_out){
        .origin = &origin, .method = HTTP_GET, .target = STR("/"), .connect_timeout_ms = 30};
    struct seen *first = get("/holds the only place");
    s = start(&out);
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_CONNECT);
    http_call_cancel(first->call);
}
END_TEST

/* The loop is kept busy beyond every deadline while what it waits for lies in its sockets. */
START_TEST(what_came_in_time_counts_though_the_loop_is_late)
{
    const struct timespec busy = {.tv_nsec = 120000000};
    struct http_out out = {.origin = &origin,
                           .method = HTTP_GET,
                           .target = STR("/"),
                           .connect_timeout_ms = 40,
                           .first_byte_timeout_ms = 40};
    struct seen *s = start(&out);
    ck_assert_int_eq(nanosleep(&busy, NULL), 0); /* the kernel has taken the connection */
    int fd = peer_accept(l, listener);
    ck_assert_msg(s->errors == 0, "%s", s->message);
    ssize_t n;
    char head[4096];
    while ((n = recv(fd, head, sizeof head, MSG_DONTWAIT)) <= 0 && !s->errors)
        net_turn(l); /* until the request is out: the first byte is waited for */
    ck_assert_int_eq(send(fd, OK, strlen(OK), 0), (ssize_t)strlen(OK));
    ck_assert_int_eq(nanosleep(&busy, NULL), 0);
    TURN_UNTIL(l, s->ends + s->errors);
    ck_assert_msg(s->errors == 0, "%s", s->message);
    ck_assert_int_eq(s->status, 200);
    (void)close(fd);
}
END_TEST

START_TEST(a_paused_call_is_not_late)
{
    struct http_out out = {
        .origin = &origin, .method = HTTP_GET, .target = STR("/"), .between_timeout_ms = 30};
    struct seen *s = start(&out);
    s->how = PAUSE_IN_HEAD;
    int fd = peer_accept(l, listener);
    peer_say(l, fd, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    TURN_UNTIL(l, s->status);
    for (int i = 0; i < 100; i++)
        net_turn(l);
    ck_assert_int_eq(s->errors, 0);
    http_call_resume(s->call);
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_BETWEEN);
    (void)close(fd);
}
END_TEST

START_TEST(cancelling_closes_at_once_at_every_stage)
{
    struct seen *s = get("/"); /* connecting */
    http_call_cancel(s->call);
    s = get("/"); /* waiting for the reply */
    int fd = -1;
    /* the cancelled one may be in the queue before it */
    for (struct str sent = STR_NONE; sent.n == 0;) {
        fd = peer_accept(l, listener);
        sent = peer_read_until(l, fd, a, "\r\n\r\n");
    }
    http_call_cancel(s->call);
    ck_assert_uint_eq(peer_read_all(l, fd, a).n, 0);
    (void)close(fd);
    for (int how = CANCEL_IN_HEAD; how <= CANCEL_IN_BODY; how++) {
        s = get("/");
        s->how = how == CANCEL_IN_HEAD ? CANCEL_IN_HEAD : CANCEL_IN_BODY;
        fd = peer_accept(l, listener);
        (void)peer_read_until(l, fd, a, "\r\n\r\n");
        peer_say(l, fd,
                 "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n");
        ck_assert_uint_eq(peer_read_all(l, fd, a).n, 0);
        ck_assert_uint_eq(s->body.n, how == CANCEL_IN_HEAD ? 0 : 1);
        (void)close(fd);
    }
    ck_assert_int_eq(s->ends + s->errors, 0);
    ck_assert_uint_eq(http_client_stats(client).open, 0);
}
END_TEST

START_TEST(freeing_the_client_cuts_silently)
{
    int idle = prepare_idle();
    struct seen *one = get("/"), *two = get("/");
    TURN_UNTIL(l, http_client_stats(client).open == 2);
    http_client_free(client);
    client = NULL;
    for (int i = 0; i < 5; i++)
        net_turn(l);
    ck_assert_int_eq(one->errors + two->errors + one->ends + two->ends, 0);
    (void)close(idle);
}
END_TEST

/* ---- back-pressure and large bodies */

static struct str block(size_t n)
{
    char *p = arena_alloc(a, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 23);
    return str_n(p, n);
}

START_TEST(a_paused_call_leaves_the_rest_in_the_socket)
{
    enum {
        N = 20000000
    };
    struct seen *s = get("/");
    s->how = PAUSE_IN_HEAD;
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    peer_send(l, fd, str_fmt(a, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", N));
    TURN_UNTIL(l, s->status);
    struct str all = block(N);
    size_t sent = 0;
    for (int i = 0; i < 100; i++) {
        ssize_t n = send(fd, all.p + sent, N - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        net_turn(l);
    }
    ck_assert_uint_lt(sent, N);
    ck_assert_uint_le(s->body.n, 65536);
    http_call_resume(s->call);
    peer_send(l, fd, str_skip(all, sent));
    TURN_UNTIL(l, s->ends);
    ck_assert(str_eq(buf_str(&s->body), all));
    (void)close(fd);
}
END_TEST

START_TEST(a_large_body_goes_out_whole)
{
    enum {
        N = 20000000
    };
    struct str all = block(N);
    struct seen *s = post("/", all);
    int fd = peer_accept(l, listener);
    struct str got = peer_read_message(l, fd, a);
    ck_assert(str_ends(got, all));
    peer_say(l, fd, OK);
    TURN_UNTIL(l, s->ends);
    (void)close(fd);
}
END_TEST

START_TEST(an_early_answer_ends_the_call_with_the_body_unsent)
{
    struct str all = block(20000000);
    struct seen *s = post("/", all);
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    peer_say(l, fd, "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
    TURN_UNTIL(l, s->ends);
    ck_assert_int_eq(s->status, 413);
    ck_assert_uint_eq(http_client_stats(client).open, 0); /* not for reuse */
    (void)close(fd);
}
END_TEST

START_TEST(streams_a_body_in_pieces)
{
    struct http_out out = {.origin = &origin,
                           .method = HTTP_POST,
                           .target = STR("/"),
                           .is_streamed = true,
                           .stream_length = -1};
    struct seen *s = start(&out);
    ck_assert(http_call_send(s->call, STR("before"))); /* there is no connection yet */
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "before\r\n");
    ck_assert(http_call_send(s->call, STR("after")));
    http_call_send_end(s->call);
    ck_assert(str_is(peer_read_until(l, fd, a, "0\r\n\r\n"), "5\r\nafter\r\n0\r\n\r\n"));
    peer_say(l, fd, OK);
    TURN_UNTIL(l, s->ends);
    ck_assert_uint_eq(http_client_stats(client).idle, 1);
    out.stream_length = 6;
    s = start(&out);
    ck_assert(http_call_send(s->call, STR("abc")));
    ck_assert(http_call_send(s->call, STR("def")));
    http_call_send_end(s->call);
    ck_assert(str_ends(peer_read_message(l, fd, a), STR("content-length: 6\r\n\r\nabcdef")));
    peer_say(l, fd, OK);
    TURN_UNTIL(l, s->ends);
    (void)close(fd);
}
END_TEST

START_TEST(a_streamed_body_waits_for_its_reader)
{
    struct http_out out = {.origin = &origin,
                           .method = HTTP_POST,
                           .target = STR("/"),
                           .is_streamed = true,
                           .stream_length = -1};
    struct seen *s = start(&out);
    struct str piece = block(50000);
    size_t sent = 0, writables = 0;
    int fd = peer_accept(l, listener);
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    while (http_call_send(s->call, piece) && sent < 2000)
        sent++;
    ck_assert_uint_lt(sent, 2000); /* it said so before taking 100 MB */
    char sink[65536];
    TURN_UNTIL(l, (recv(fd, sink, sizeof sink, 0), s->writables > (int)writables));
    ck_assert(http_call_send(s->call, STR("x")));
    http_call_cancel(s->call);
    (void)close(fd);
}
END_TEST

/* ---- getting there */

START_TEST(calls_beyond_the_limit_wait_in_order)
{
    struct http_client_conf conf = http_client_conf_default;
    conf.max_conns_per_origin = 1;
    http_client_free(client);
    client = http_client_new(l, &conf);
    struct seen *s[4] = {get("/0"), get("/1"), get("/2"), get("/3")};
    int fd = peer_accept(l, listener);
    http_call_cancel(s[2]->call); /* leaves the queue */
    static const int order[] = {0, 1, 3};
    for (int i = 0; i < 3; i++) {
        struct str sent = peer_read_until(l, fd, a, "\r\n\r\n");
        ck_assert(sent.p[5] == '0' + order[i]);
        peer_say(l, fd, OK);
        TURN_UNTIL(l, s[order[i]]->ends);
    }
    ck_assert_uint_eq(http_client_stats(client).connects, 1);
    struct seen *next = get("/4");
    ck_assert(http_call_is_reused(next->call));
    http_call_cancel(next->call); /* cutting the connection makes room for a fresh one */
    (void)close(fd);
    next = get("/5");
    fd = peer_accept(l, listener);
    http_call_cancel(next->call);
    (void)close(fd);
}
END_TEST

START_TEST(private_addresses_need_permission)
{
    static const char *const hosts[] = {
        "127.0.0.1", "::1", "localhost", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1"};
    origin.allow_private = false;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        origin.host = str_of(hosts[i]);
        struct seen *s = get("/");
        TURN_UNTIL(l, s->errors);
        ck_assert_msg(s->failure == HTTP_FAIL_POLICY, "%s: %d", hosts[i], (int)s->failure);
        ck_assert_str_eq(s->code, "private_address");
    }
    ck_assert(!peer_has_caller(l, listener));
}
END_TEST

START_TEST(tells_private_addresses_from_public_ones)
{
    static const struct {
        const char *address;
        bool is_private;
    } rows[] = {
        {"127.0.0.1", true},
        {"127.255.255.255", true},
        {"10.0.0.1", true},
        {"172.16.0.1", true},
        {"172.31.255.255", true},
        {"172.32.0.1", false},
        {"172.15.0.1", false},
        {"192.168.1.1", true},
        {"192.169.1.1", false},
        {"169.254.169.254", true},
        {"100.64.0.1", true},
        {"100.128.0.1", false},
        {"0.0.0.0", true},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"8.8.8.8", false},
        {"1.1.1.1", false},
        {"198.18.0.1", true},
        {"::1", true},
        {"::", true},
        {"fe80::1", true},
        {"fc00::1", true},
        {"fdff::1", true},
        {"ff02::1", true},
        {"::ffff:10.0.0.1", true},
        {"::ffff:8.8.8.8", false},
        {"64:ff9b::7f00:1", true},
        {"64:ff9b::808:808", false},
        {"2002:7f00:1::", true},
        {"2002:808:808::", false},
        {"2606:4700::1111", false},
        {"2001:0:1::", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sockaddr_in four = {.sin_family = AF_INET};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        bool is_four = inet_pton(AF_INET, rows[i].address, &four.sin_addr) == 1;
        ck_assert(is_four || inet_pton(AF_INET6, rows[i].address, &six.sin6_addr) == 1);
        ck_assert_msg(address_is_private(is_four ? (struct sockaddr *)&four
                                                 : (struct sockaddr *)&six) == rows[i].is_private,
                      "%s", rows[i].address);
    }
}
END_TEST

START_TEST(tells_when_nobody_is_there)
{
    (void)close(listener);
    struct seen *s = get("/");
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_CONNECT);
    ck_assert(strstr(s->message, "127.0.0.1") != NULL);
    listener = peer_listen(&port);
    origin.host = STR("no..such..name");
    s = get("/");
    TURN_UNTIL(l, s->errors);
    ck_assert_int_eq(s->failure, HTTP_FAIL_DNS);
}
END_TEST

START_TEST(names_are_resolved_once_for_all_who_ask)
{
    origin.host = STR("localhost");
    struct seen *s[3] = {get("/"), get("/"), get("/")};
    http_call_cancel(s[1]->call); /* while it waits for the name */
    for (int i = 0; i < 3; i += 2) {
        /* also when localhost is ::1 first: nobody listens there */
        int fd = peer_accept(l, listener);
        (void)peer_read_until(l, fd, a, "\r\n\r\n");
        peer_say(l, fd, OK);
        TURN_UNTIL(l, s[0]->ends + s[2]->ends == i / 2 + 1);
        (void)close(fd);
    }
    ck_assert_uint_eq(http_client_stats(client).failures, 0);
}
END_TEST

/* ---- the blocking one */

START_TEST(fetch_keeps_to_its_limits)
{
    struct fetched got;
    struct err e = ERR_INIT;
    struct fetch f = {.method = HTTP_GET,
                      .url = str_fmt(a, "http://127.0.0.1:%u/x", (unsigned)port),
                      .timeout_ms = 2000,
                      .max_bytes = 100};
    ck_assert(!fetch_run(a, &f, &got, &e));
    ck_assert_int_eq(e.kind, ERR_FORBIDDEN);
    ck_assert(!peer_has_caller(l, listener));
    static const char *const bad[] = {"file:///etc/passwd", "gopher://127.0.0.1/", "http://[::1",
                                      ""};
    f.allow_private = true;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f.url = str_of(bad[i]);
        e = (struct err)ERR_INIT;
        ck_assert_msg(!fetch_run(a, &f, &got, &e), "%s", bad[i]);
        ck_assert_int_eq(e.kind, ERR_INPUT);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_client");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, sends_what_it_should);
    tcase_add_test(t, reuses_the_connection_used_last);
    tcase_add_test(t, separate_origins_share_nothing);
    tcase_add_test(t, any_split_of_the_reply_gives_the_same);
    tcase_add_test(t, one_byte_at_a_time_will_do);
    tcase_add_test(t, knows_where_every_reply_ends);
    tcase_add_test(t, tells_what_went_wrong);
    tcase_add_test(t, a_head_without_end_is_refused);
    tcase_add_test(t, a_lost_keep_alive_race_is_run_again_once);
    tcase_add_test(t, a_race_lost_before_writing_is_run_again_too);
    tcase_add_test(t, no_second_try_once_the_reply_began_or_the_body_is_streamed);
    tcase_add_test(t, words_on_an_idle_connection_end_it);
    tcase_add_test(t, every_wait_has_an_end);
    tcase_add_test(t, what_came_in_time_counts_though_the_loop_is_late);
    tcase_add_test(t, a_paused_call_is_not_late);
    tcase_add_test(t, cancelling_closes_at_once_at_every_stage);
    tcase_add_test(t, freeing_the_client_cuts_silently);
    tcase_add_test(t, a_paused_call_leaves_the_rest_in_the_socket);
    tcase_add_test(t, a_large_body_goes_out_whole);
    tcase_add_test(t, an_early_answer_ends_the_call_with_the_body_unsent);
    tcase_add_test(t, streams_a_body_in_pieces);
    tcase_add_test(t, a_streamed_body_waits_for_its_reader);
    tcase_add_test(t, calls_beyond_the_limit_wait_in_order);
    tcase_add_test(t, private_addresses_need_permission);
    tcase_add_test(t, tells_private_addresses_from_public_ones);
    tcase_add_test(t, tells_when_nobody_is_there);
    tcase_add_test(t, names_are_resolved_once_for_all_who_ask);
    tcase_add_test(t, fetch_keeps_to_its_limits);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
