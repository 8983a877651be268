/* The server as raw sockets see it. */
#include "base/buf.h"
#include "http/server.h"
#include "unit/net_kit.h"
#include <stdlib.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *l;
static struct arena *a;
static struct http_server *server;
static _Atomic int64_t held_out; /* what the server says is queued */
static uint16_t port;
/* a letter for each call of the handler: Head, body, Complete, !bad, X closed, A aborted, Drain */
static struct buf events;
static struct http_req *held; /* the last one that nobody answered */
static size_t big_left, body_seen;
static struct str big_block;

static void note(char what)
{
    buf_char(&events, what);
}

static bool events_are(const char *text)
{
    return str_eq(buf_str(&events), str_of(text));
}

static void pour(struct http_req *r) /* as much of a large reply as there is room for */
{
    while (big_left > 0 && !http_reply_is_full(r)) {
        http_reply_body(r, big_block);
        big_left -= big_block.n;
        http_reply_flush(r);
    }
    if (big_left == 0)
        http_reply_end(r);
}

static void on_head(void *arg, struct http_req *r)
{
    ck_assert_ptr_eq(arg, &server);
    ck_assert(str_is(r->peer, "127.0.0.1"));
    note('H');
    if (str_is(r->path, "/echo"))
        http_req_collect(r, 100000);
    else if (str_is(r->path, "/small"))
        http_req_collect(r, 10);
    else if (str_is(r->path, "/stream"))
        http_req_stream(r, 0);
    else if (str_is(r->path, "/stream10"))
        http_req_stream(r, 10);
    else if (str_is(r->path, "/paused")) {
        http_req_stream(r, 0);
        http_req_pause(r);
    } else if (str_is(r->path, "/stop"))
        http_req_stream(r, 0);
    else if (str_is(r->path, "/both")) {
        http_req_stream(r, 0);
        http_reply_head(r, 200, NULL, 0, -1);
        http_reply_body(r, STR("<"));
    } else if (str_is(r->path, "/refuse"))
        http_reply(r, 401, NULL, 0, STR("no"));
    else if (str_is(r->path, "/later"))
        held = r;
}

static void on_body(void *arg, struct http_req *r, struct str chunk)
{
    (void)arg;
    if (events.n == 0 || events.p[events.n - 1] != 'b')
        note('b');
    body_seen += chunk.n;
    if (str_is(r->path, "/stop"))
        http_reply(r, 200, NULL, 0, STR("enough"));
    if (str_is(r->path, "/both"))
        http_reply_body(r, chunk);
    struct buf *b = r->user;
    if (!b) {
        b = ARENA_NEW(r->arena, struct buf);
        buf_init_arena(b, r->arena, 16 << 20);
        r->user = b;
    }
    buf_str_add(b, chunk);
}

static void on_complete(void *arg, struct http_req *r)
{
    (void)arg;
    static const struct http_header two[] = {{STR_INIT("x-one"), STR_INIT("1")},
                                             {STR_INIT("x-bad"), STR_INIT("a\r\nset-cookie: b")}};
    note('C');
    if (str_is(r->path, "/echo") || str_is(r->path, "/small")) {
        http_reply(r, 200, NULL, 0, r->body);
    } else if (str_is(r->path, "/stream") || str_is(r->path, "/stream10") ||
               str_is(r->path, "/paused")) {
        struct buf *b = r->user;
        http_reply(r, 200, NULL, 0, b ? buf_str(b) : STR_NONE);
    } else if (str_is(r->path, "/chunks")) {
        http_reply_head(r, 200, two, 1, -1);
        http_reply_body(r, STR("ab"));
        http_reply_body(r, STR("c"));
        http_reply_flush(r);
        http_reply_body(r, STR("d"));
        http_reply_end_with(r, two, http_req_takes_trailers(r) ? 2 : 0);
    } else if (str_is(r->path, "/headers")) {
        http_reply(r, 200, two, 2, STR("hi"));
    } else if (str_is(r->path, "/204")) {
        http_reply(r, 204, NULL, 0, STR("not sent"));
    } else if (str_is(r->path, "/304")) {
        http_reply(r, 304, NULL, 0, STR("not sent"));
    } else if (str_is(r->path, "/big")) {
        http_reply_head(r, 200, NULL, 0, (int64_t)big_left);
        pour(r);
    } else if (str_is(r->path, "/piece")) {
        http_reply(r, 200, NULL, 0, big_block);
    } else if (str_is(r->path, "/flood")) { /* pays no heed to is_full */
        http_reply_head(r, 200, NULL, 0, -1);
        for (int i = 0; i < 200; i++)
            http_reply_body(r, big_block);
    } else if (str_is(r->path, "/short")) {
        http_reply_head(r, 200, NULL, 0, 10);
        http_reply_body(r, STR("four"));
        http_reply_end(r);
    } else if (str_is(r->path, "/long")) {
        http_reply_head(r, 200, NULL, 0, 4);
        http_reply_body(r, STR("four and more"));
        http_reply_end(r);
    } else if (str_is(r->path, "/cut")) {
        http_reply_head(r, 200, NULL, 0, -1);
        http_reply_body(r, STR("begun"));
        http_reply_flush(r);
        http_reply_cut(r);
    } else if (str_is(r->path, "/twice")) {
        http_reply(r, 200, NULL, 0, STR("first"));
        http_reply(r, 500, NULL, 0, STR("second"));
        http_reply_body(r, STR("third"));
        http_reply_end(r);
    } else if (str_is(r->path, "/both")) {
        http_reply_body(r, STR(">"));
        http_reply_end(r);
    } else if (str_is(r->path, "/hold")) {
        held = r;
    } else if (str_is(r->path, "/drop")) {
        http_req_drop_body(r);
        ck_assert_uint_eq(r->body.n, 0);
        http_reply(r, 200, NULL, 0, STR("dropped"));
    } else {
        struct buf b;
        buf_init_arena(&b, r->arena, 65536);
        buf_fmt(&b, STR_FMT " " STR_FMT " ? " STR_FMT, STR_ARG(r->method_name), STR_ARG(r->path),
                STR_ARG(r->query));
        for (size_t i = 0; i < r->n_headers; i++) {
            if (!str_is(r->headers[i].name, "host"))
                buf_fmt(&b, "|" STR_FMT "=" STR_FMT, STR_ARG(r->headers[i].name),
                        STR_ARG(r->headers[i].value));
        }
        http_reply(r, 200, NULL, 0, buf_str(&b));
    }
}

static void on_bad(void *arg, struct http_req *r, const struct err *e)
{
    (void)arg;
    note('!');
    ck_assert_int_gt(strlen(e->message), 0);
    http_reply(r, err_status(e), NULL, 0, str_of(e->code));
}

static void on_drain(void *arg, struct http_req *r)
{
    (void)arg;
    note('D');
    pour(r);
}

static void on_close(void *arg, struct http_req *r)
{
    (void)arg;
    note(r->is_aborted ? 'A' : 'X');
    if (held == r)
        held = NULL;
}

static const struct http_handler handler = {.on_head = on_head,
                                            .on_body = on_body,
                                            .on_complete = on_complete,
                                            .on_bad = on_bad,
                                            .on_drain = on_drain,
                                            .on_close = on_close};

static void serve(const struct http_server_conf *conf)
{
    struct err e = ERR_INIT;
    struct http_server_conf own = *conf;
    own.held_bytes = &held_out;
    server = http_server_new(l, &own, &handler, &server);
    ck_assert_msg(http_server_listen(server, "127.0.0.1", 0, &port, &e), "%s", e.message);
}

static void setup(void)
{
    l = loop_new(0);
    a = arena_new();
    buf_init(&events, 1 << 20);
    serve(&http_server_conf_default);
}

static void teardown(void)
{
    http_server_free(server);
    loop_free(l);
    arena_free(a);
    buf_done(&events);
    ck_assert_int_eq(held_out, 0);
    arena_thread_done();
}

static void serve_with(struct http_server_conf conf)
{
    http_server_free(server);
    serve(&conf);
}

static bool has_status(struct str reply, int status)
{
    char line[16];
    (void)snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    return str_starts(reply, str_of(line));
}

static struct str body_of(struct str message)
{
    const char *end = strstr(message.p, "\r\n\r\n");
    return end ? str_skip(message, (size_t)(end + 4 - message.p)) : STR_NONE;
}

#define HOST "host: t\r\n"

/* ---- what is answered */

START_TEST(answers_and_keeps_the_connection)
{
    int fd = peer_connect(port);
    for (int i = 0; i < 3; i++) {
        peer_say(l, fd,
                 "GET /a%20b?x=1&y HTTP/1.1\r\nHost: t\r\nX-Some-Thing: \t spaced out "
                 "\t\r\nEmpty:\r\n\r\n");
        struct str reply = peer_read_message(l, fd, a);
        ck_assert(has_status(reply, 200));
        ck_assert_msg(str_is(body_of(reply), "GET /a%20b ? x=1&y|x-some-thing=spaced out|empty="),
                      STR_FMT, STR_ARG(reply));
        ck_assert(str_contains(reply, STR("\r\ndate: ")));
        ck_assert(!str_contains(reply, STR("connection:")));
    }
    TURN_UNTIL(l, events_are("HCXHCXHCX"));
    ck_assert_uint_eq(http_server_conns(server), 1);
    (void)close(fd);
    TURN_UNTIL(l, http_server_conns(server) == 0);
}
END_TEST

START_TEST(closes_when_asked)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET / HTTP/1.1\r\n" HOST "connection: close\r\n\r\n");
    struct str all = peer_read_all(l, fd, a);
    ck_assert(has_status(all, 200) && str_contains(all, STR("connection: close\r\n")));
    (void)close(fd);
}
END_TEST

START_TEST(speaks_http_1_0)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /a HTTP/1.0\r\n\r\n");
    ck_assert(str_contains(peer_read_all(l, fd, a), STR("connection: close\r\n")));
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    ck_assert(str_contains(peer_read_message(l, fd, a), STR("connection: keep-alive\r\n")));
    peer_say(l, fd, "GET /chunks HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    /* no chunks in 1.0: the end of the connection ends it */
    struct str all = peer_read_all(l, fd, a);
    ck_assert(!str_contains(all, STR("chunked")) && str_is(body_of(all), "abcd"));
    (void)close(fd);
}
END_TEST

START_TEST(gathers_a_streamed_reply_into_chunks)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /chunks HTTP/1.1\r\n" HOST "\r\n");
    struct str reply = peer_read_message(l, fd, a);
    ck_assert(str_contains(reply, STR("transfer-encoding: chunked\r\n")));
    ck_assert_msg(str_is(body_of(reply), "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"), STR_FMT,
                  STR_ARG(reply));
    (void)close(fd);
}
END_TEST

START_TEST(trailers_are_for_those_who_read_them)
{
    int fd = peer_connect(port);
    peer_say(l, fd,
             "GET /chunks HTTP/1.1\r\n" HOST "te: deflate;q=0.5, Trailers\r\n\r\n"
             "GET /chunks HTTP/1.1\r\n" HOST "te: deflate\r\nconnection: close\r\n\r\n");
    struct str all = peer_read_all(l, fd, a);
    (void)close(fd);
    ck_assert_msg(str_contains(all, STR("1\r\nd\r\n0\r\nx-one: 1\r\nx-bad: a")), STR_FMT,
                  STR_ARG(all));
    ck_assert(!str_contains(all, STR("\nset-cookie"))); /* it ends no line early */
    ck_assert_msg(str_ends(all, STR("1\r\nd\r\n0\r\n\r\n")), STR_FMT, STR_ARG(all));
    fd = peer_connect(port);
    peer_say(l, fd, "GET /chunks HTTP/1.0\r\nte: trailers\r\n\r\n");
    ck_assert(str_is(body_of(peer_read_all(l, fd, a)), "abcd"));
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "HEAD /chunks HTTP/1.1\r\n" HOST "te: trailers\r\nconnection: close\r\n\r\n");
    ck_assert(str_is(body_of(peer_read_all(l, fd, a)), ""));
    (void)close(fd);
}
END_TEST

START_TEST(sends_no_body_where_there_is_none)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "HEAD /x HTTP/1.1\r\n" HOST "\r\n");
    struct str reply = peer_read_until(l, fd, a, "\r\n\r\n");
    ck_assert(str_contains(reply, STR("content-length: ")));
    peer_say(l, fd, "HEAD /chunks HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_until(l, fd, a, "\r\n\r\n"), 200));
    peer_say(l, fd, "GET /204 HTTP/1.1\r\n" HOST "\r\n");
    reply = peer_read_until(l, fd, a, "\r\n\r\n");
    ck_assert(has_status(reply, 204) && !str_contains(reply, STR("content-length")));
    peer_say(l, fd, "GET /304 HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_until(l, fd, a, "\r\n\r\n"), 304));
    peer_say(l, fd, "GET /y HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_message(l, fd, a), 200)); /* so nothing but heads came before */
    (void)close(fd);
}
END_TEST

START_TEST(no_header_of_a_handler_starts_another)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    struct str reply = peer_read_message(l, fd, a);
    ck_assert(str_contains(reply, STR("x-one: 1\r\n")));
    ck_assert(str_contains(reply, STR("x-bad: a  set-cookie: b\r\n")));
    (void)close(fd);
}
END_TEST

START_TEST(only_the_first_reply_counts)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /twice HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "first"));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /b ? "));
    (void)close(fd);
}
END_TEST

START_TEST(a_reply_that_breaks_its_promise_is_not_whole)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /short HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_lt(body_of(peer_read_all(l, fd, a)).n, 10);
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "GET /long HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(str_is(body_of(peer_read_all(l, fd, a)), "four"));
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "GET /cut HTTP/1.1\r\n" HOST "\r\n");
    struct str all = peer_read_all(l, fd, a);
    ck_assert(str_contains(all, STR("begun")) && !str_contains(all, STR("0\r\n\r\n")));
    ck_assert_msg(events_are("HCAHCXHCA"), STR_FMT, STR_ARG(buf_str(&events)));
    (void)close(fd);
}
END_TEST

START_TEST(understands_every_form_of_target)
{
    static const struct {
        const char *line, *reply;
    } rows[] = {
        {"GET http://other.example/p?q", "GET /p ? q"},
        {"GET http://other.example?q", "GET / ? q"},
        {"GET HTTPS://other.example", "GET / ? "},
        {"OPTIONS *", "OPTIONS * ? "},
        {"GET //x", "GET //x ? "},
        {"PROPFIND /p", "PROPFIND /p ? "},
        {"PATCH /p", "PATCH /p ? "},
    };
    int fd = peer_connect(port);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        peer_send(l, fd, str_fmt(a, "%s HTTP/1.1\r\n" HOST "\r\n", rows[i].line));
        struct str reply = body_of(peer_read_message(l, fd, a));
        ck_assert_msg(str_starts(reply, str_of(rows[i].reply)), STR_FMT, STR_ARG(reply));
    }
    (void)close(fd);
}
END_TEST

/* ---- what is refused: always with the connection, and before the handler hears of the request */

START_TEST(refuses_smuggling_and_malformed_heads)
{
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"POST / HTTP/1.1\r\n" HOST
         "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST / HTTP/1.1\r\n" HOST
         "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
         400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: 4\r\ncontent-length: 5\r\n\r\nabcde", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: 4\r\ncontent-length: 4\r\n\r\nabcd", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: 4, 4\r\n\r\nabcd", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: +4\r\n\r\nabcd", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: -1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: 0x4\r\n\r\nabcd", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: 4 4\r\n\r\nabcd", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length:\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "content-length: 99999999999999999999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\n" HOST "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\n" HOST
         "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST / HTTP/1.0\r\n" HOST "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "transfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "x : y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "x: y\r\n folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "x: y\r\n\tfolded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n x: y\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\nhost: t\n\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\nx: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\r\n\n", 400},
        {"GET / HTTP/1.1\rhost: t\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\rx: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\r\n: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\r\nno colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\r\nx\x01: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: t\r\nx: y\x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400},
        {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTX/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET / HTTP/3.7\r\n" HOST "\r\n", 505},
        {"GET /\r\n\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"CONNECT t:443 HTTP/1.1\r\n" HOST "\r\n", 501},
        {"BREW /pot HTTP/1.1\r\n" HOST "\r\n", 501},
        {"get / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"\x16\x03\x01\x02", 400},
        {"GET / HTTP/1.1\r\n" HOST "expect: a miracle\r\n\r\n", 417},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = peer_connect(port);
        buf_clear(&events);
        peer_send(l, fd, str_of(rows[i].request));
        struct str all = peer_read_all(l, fd, a);
        ck_assert_msg(has_status(all, rows[i].status), "'%s' got '" STR_FMT "'", rows[i].request,
                      STR_ARG(all));
        ck_assert_msg(str_contains(all, STR("connection: close\r\n")), "%s", rows[i].request);
        ck_assert_msg(events_are("!"), "'%s': " STR_FMT, rows[i].request,
                      STR_ARG(buf_str(&events)));
        (void)close(fd);
    }
}
END_TEST

START_TEST(refuses_malformed_chunks)
{
    static const char *const bodies[] = {
        "x\r\n",
        "-1\r\n",
        "0x5\r\nabcde\r\n",
        "5\nabcde\n0\n\n",
        "5\r\nabcdefg\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        int fd = peer_connect(port);
        buf_clear(&events);
        peer_send(l, fd,
                  str_fmt(a, "POST /echo HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n%s",
                          bodies[i]));
        struct str all = peer_read_all(l, fd, a);
        ck_assert_msg(has_status(all, 400), "'%s' got '" STR_FMT "'", bodies[i], STR_ARG(all));
        ck_assert_msg(events_are("H!X"), "'%s': " STR_FMT, bodies[i], STR_ARG(buf_str(&events)));
        (void)close(fd);
    }
}
END_TEST

static struct str repeat(const char *text, size_t n)
{
    struct buf b;
    buf_init_arena(&b, a, 64 << 20);
    for (size_t i = 0; i < n; i++)
        buf_str_add(&b, str_of(text));
    buf_char(&b, '\0');
    return str_n(b.p, b.n - 1);
}

START_TEST(bounds_the_head)
{
    struct http_server_conf conf = http_server_conf_default;
    conf.max_target_bytes = 100;
    conf.max_head_bytes = 1000;
    conf.max_headers = 10;
    serve_with(conf);
    struct {
        struct str request;
        int status;
    } rows[] = {
        {str_fmt(a, "GET /%s HTTP/1.1\r\n" HOST "\r\n", repeat("u", 99).p), 200},
        {str_fmt(a, "GET /%s HTTP/1.1\r\n" HOST "\r\n", repeat("u", 100).p), 414},
        {str_fmt(a, "GET /%s", repeat("u", 5000).p), 414},
        {str_fmt(a, "GET / HTTP/1.1\r\n" HOST "x: %s\r\n\r\n", repeat("v", 900).p), 200},
        {str_fmt(a, "GET / HTTP/1.1\r\n" HOST "x: %s\r\n\r\n", repeat("v", 1000).p), 431},
        {str_fmt(a, "GET / HTTP/1.1\r\n" HOST "%s: v", repeat("n", 3000).p), 431},
        {str_fmt(a, "GET / HTTP/1.1\r\n" HOST "%s\r\n", repeat("a: b\r\n", 9).p), 200},
        {str_fmt(a, "GET / HTTP/1.1\r\n" HOST "%s\r\n", repeat("a: b\r\n", 10).p), 431},
        {str_fmt(a, "GET / HTTP/1.1\r\n" HOST "x:%s", repeat(" ", 2000).p), 431},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = peer_connect(port);
        peer_send(l, fd, rows[i].request);
        struct str reply = peer_read_until(l, fd, a, "\r\n\r\n");
        ck_assert_msg(has_status(reply, rows[i].status), "row %zu got '" STR_FMT "'", i,
                      STR_ARG(reply));
        (void)close(fd);
    }
}
END_TEST

START_TEST(bounds_the_body)
{
    static const char *const requests[] = {
        "POST /small HTTP/1.1\r\n" HOST "content-length: 11\r\n\r\nhello world",
        "POST /small HTTP/1.1\r\n" HOST "content-length: 99999999999\r\n\r\nhello",
        "POST /small HTTP/1.1\r\n" HOST
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "POST /stream10 HTTP/1.1\r\n" HOST "content-length: 11\r\n\r\nhello world",
        "POST /stream10 HTTP/1.1\r\n" HOST
        "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = peer_connect(port);
        peer_send(l, fd, str_of(requests[i]));
        struct str all = peer_read_all(l, fd, a);
        ck_assert_msg(has_status(all, 413), "'%s' got '" STR_FMT "'", requests[i], STR_ARG(all));
        (void)close(fd);
    }
    int fd = peer_connect(port);
    peer_say(l, fd, "POST /small HTTP/1.1\r\n" HOST "content-length: 10\r\n\r\nhello worl");
    ck_assert(has_status(peer_read_message(l, fd, a), 200));
    (void)close(fd);
}
END_TEST

/* ---- how bytes may arrive */

static const char mixed[] =
    "\r\nPOST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
    "GET /q HTTP/1.1\r\n" HOST "A: b\r\n\r\n"
    "POST /stream HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\nstream";

static struct str exchange_mixed(size_t split)
{
    int fd = peer_connect(port);
    struct buf b;
    buf_init_arena(&b, a, 1 << 20);
    peer_send(l, fd, str_n(mixed, split));
    net_turn(l);
    peer_send(l, fd, str_n(mixed + split, sizeof mixed - 1 - split));
    for (int i = 0; i < 3; i++)
        buf_str_add(&b, body_of(peer_read_message(l, fd, a)));
    (void)close(fd);
    return buf_str(&b);
}

START_TEST(any_split_of_the_bytes_gives_the_same)
{
    for (size_t split = 0; split < sizeof mixed; split++) {
        struct str got = exchange_mixed(split);
        ck_assert_msg(str_is(got, "abcdeGET /q ? |a=bstream"), "split at %zu: " STR_FMT, split,
                      STR_ARG(got));
    }
}
END_TEST

START_TEST(one_byte_at_a_time_will_do)
{
    int fd = peer_connect(port);
    for (size_t i = 0; i < sizeof mixed - 1; i++)
        peer_send(l, fd, str_n(mixed + i, 1));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "abcde"));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /q ? |a=b"));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "stream"));
    (void)close(fd);
}
END_TEST

START_TEST(an_unknown_method_is_one_behind_an_empty_line_too)
{
    static const char text[] = "POST /refuse HTTP/1.1\r\n" HOST
                               "content-length: 3\r\n\r\nabc\r\nBREW\r\n";
    for (size_t split = sizeof text - 12; split < sizeof text - 1; split++) {
        int fd = peer_connect(port);
        peer_send(l, fd, str_n(text, split));
        net_turn(l);
        peer_send(l, fd, str_n(text + split, sizeof text - 1 - split));
        ck_assert(has_status(peer_read_message(l, fd, a), 401));
        ck_assert_msg(has_status(peer_read_message(l, fd, a), 501), "split at %zu", split);
        (void)close(fd);
    }
}
END_TEST

START_TEST(pipelined_requests_wait_for_their_turn)
{
    int fd = peer_connect(port);
    peer_say(l, fd,
             "GET /hold HTTP/1.1\r\n" HOST "\r\nPOST /echo HTTP/1.1\r\n" HOST
             "content-length: 3\r\n\r\nabcGET /c HTTP/1.1\r\n" HOST "\r\n");
    TURN_UNTIL(l, held);
    ck_assert(peer_is_silent(l, fd));
    ck_assert(events_are("HC")); /* the others have not begun */
    http_reply(held, 200, NULL, 0, STR("one"));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "one"));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "abc"));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /c ? "));
    (void)close(fd);
}
END_TEST

START_TEST(bodies_of_every_size_arrive_whole)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 65535, 65536, 65537, 99999};
    char *bytes = arena_alloc(a, 100000);
    for (size_t i = 0; i < 100000; i++)
        bytes[i] = (char)('a' + i % 23);
    int fd = peer_connect(port);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct str body = str_n(bytes, sizes[i]);
        peer_send(l, fd,
                  str_fmt(a, "POST /echo HTTP/1.1\r\n" HOST "content-length: %zu\r\n\r\n", body.n));
        peer_send(l, fd, body);
        ck_assert(str_eq(body_of(peer_read_message(l, fd, a)), body));
        peer_send(
            l, fd,
            str_fmt(a, "POST /echo HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n%s",
                    body.n ? str_fmt(a, "%zx\r\n" STR_FMT "\r\n", body.n, STR_ARG(body)).p : ""));
        peer_say(l, fd, "0\r\n\r\n");
        ck_assert(str_eq(body_of(peer_read_message(l, fd, a)), body));
    }
    (void)close(fd);
}
END_TEST

START_TEST(continues_only_when_the_body_is_wanted)
{
    int fd = peer_connect(port);
    peer_say(l, fd,
             "POST /echo HTTP/1.1\r\n" HOST "expect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    ck_assert(str_is(peer_read_until(l, fd, a, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_say(l, fd, "abc");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "abc"));
    peer_say(l, fd,
             "POST /later HTTP/1.1\r\n" HOST "expect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    TURN_UNTIL(l, held);
    ck_assert(peer_is_silent(l, fd));
    http_req_collect(held, 10);
    ck_assert(str_is(peer_read_until(l, fd, a, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_say(l, fd, "abc");
    ck_assert(has_status(peer_read_message(l, fd, a), 200));
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd,
             "POST /refuse HTTP/1.1\r\n" HOST "expect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    /* it may or may not send the body: only closing is safe */
    struct str all = peer_read_all(l, fd, a);
    ck_assert(has_status(all, 401) && !str_contains(all, STR("100 Continue")));
    ck_assert(str_contains(all, STR("connection: close\r\n")));
    (void)close(fd);
}
END_TEST

START_TEST(an_early_reply_reads_a_small_rest_over_and_closes_on_a_large_one)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "POST /refuse HTTP/1.1\r\n" HOST "content-length: 10\r\n\r\n");
    ck_assert(has_status(peer_read_message(l, fd, a), 401));
    TURN_UNTIL(l, events_are("HX"));
    peer_say(l, fd, "0123456789GET /next HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /next ? "));
    peer_say(l, fd,
             "POST /refuse HTTP/1.1\r\n" HOST
             "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
             "GET /last HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_message(l, fd, a), 401));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /last ? "));
    peer_say(l, fd, "POST /refuse HTTP/1.1\r\n" HOST "content-length: 99999999\r\n\r\nsome of it");
    struct str all = peer_read_all(l, fd, a);
    ck_assert(has_status(all, 401) && str_contains(all, STR("connection: close\r\n")));
    (void)close(fd);
}
END_TEST

START_TEST(a_reply_within_the_body_ends_the_interest_in_it)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "POST /stop HTTP/1.1\r\n" HOST "content-length: 10\r\n\r\n01234");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "enough"));
    TURN_UNTIL(l, events_are("HbX"));
    peer_say(l, fd,
             "56789POST /stop HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n1\r\na\r\n");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "enough"));
    peer_say(l, fd, "1\r\nb\r\n0\r\n\r\nGET /n HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /n ? "));
    ck_assert_msg(events_are("HbXHbXHCX"), STR_FMT, STR_ARG(buf_str(&events)));
    (void)close(fd);
}
END_TEST

START_TEST(a_reply_may_begin_before_the_request_ends)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "POST /both HTTP/1.1\r\n" HOST "content-length: 4\r\n\r\n");
    ck_assert(str_ends(peer_read_until(l, fd, a, "<\r\n"), STR("1\r\n<\r\n")));
    peer_say(l, fd, "ab");
    ck_assert(str_is(peer_read_until(l, fd, a, "ab\r\n"), "2\r\nab\r\n"));
    peer_say(l, fd, "cd");
    ck_assert(str_is(peer_read_until(l, fd, a, "0\r\n\r\n"), "3\r\ncd>\r\n0\r\n\r\n"));
    TURN_UNTIL(l, str_ends(buf_str(&events), STR("CX")));
    (void)close(fd);
}
END_TEST

START_TEST(bounds_what_hangs_on_chunks)
{
    struct http_server_conf conf = http_server_conf_default;
    conf.max_head_bytes = 1000;
    serve_with(conf);
    struct str extension = str_fmt(a, "1;%s\r\nx\r\n", repeat("e", 300).p);
    struct str trailer = str_fmt(a, "t: %s\r\n", repeat("v", 300).p);
    for (int i = 0; i < 2; i++) {
        int fd = peer_connect(port);
        peer_say(l, fd, "POST /echo HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n");
        if (i)
            peer_say(l, fd, "0\r\n");
        for (int n = 0; n < 10; n++)
            peer_send(l, fd, i ? trailer : extension);
        struct str all = peer_read_all(l, fd, a);
        ck_assert_msg(has_status(all, 431), STR_FMT, STR_ARG(all));
        (void)close(fd);
    }
}
END_TEST

START_TEST(the_time_a_handler_pauses_is_not_the_client_s)
{
    struct http_server_conf conf = http_server_conf_default;
    conf.body_timeout_ms = 20;
    serve_with(conf);
    int fd = peer_connect(port);
    peer_say(l, fd, "POST /paused HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\n");
    for (int i = 0; i < 60; i++)
        net_turn(l);
    ck_assert(events_are("H"));
    (void)close(fd);
}
END_TEST

START_TEST(lives_through_a_lack_of_descriptors)
{
    enum {
        N = 100
    };
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) { /* holds more connections than the server may have */
        int fds[N];
        for (int i = 0; i < N; i++)
            fds[i] = peer_connect(port);
        (void)poll(NULL, 0, 100);
        for (int i = 0; i < N; i++)
            (void)close(fds[i]);
        _exit(0);
    }
    struct rlimit few, before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 40;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    int status = 0;
    TURN_UNTIL(l, waitpid(child, &status, WNOHANG) == child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    TURN_UNTIL(l, http_server_conns(server) == 0);
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /n HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_message(l, fd, a), 200));
    (void)close(fd);
}
END_TEST

START_TEST(a_choice_may_come_late)
{
    int fd = peer_connect(port);
    peer_say(l, fd,
             "POST /later HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\nabcGET /n HTTP/1.1\r\n" HOST
             "\r\n");
    TURN_UNTIL(l, held);
    ck_assert(peer_is_silent(l, fd));
    ck_assert(events_are("H"));
    struct http_req *r = held;
    http_req_collect(r, 3);
    ck_assert(str_starts(body_of(peer_read_message(l, fd, a)), STR("POST /later ? ")));
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /n ? "));
    (void)close(fd);
}
END_TEST

START_TEST(a_paused_body_waits_in_the_socket)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "POST /paused HTTP/1.1\r\n" HOST "content-length: 16000000\r\n\r\n");
    TURN_UNTIL(l, events_are("H"));
    struct str block = repeat("0123456789abcdef", 1000000);
    ssize_t sent = 0;
    for (int i = 0; i < 200; i++) {
        ssize_t n = send(fd, block.p + sent, block.n - (size_t)sent, MSG_NOSIGNAL);
        sent += n > 0 ? n : 0;
        net_turn(l);
    }
    ck_assert_int_lt(sent, 16000000);
    ck_assert_uint_eq(body_seen, 0);
    (void)close(fd);
}
END_TEST

/* ---- slow, full and gone peers */

START_TEST(a_client_that_goes_aborts_its_request)
{
    static const char *const requests[] = {
        "GET /hold HTTP/1.1\r\n" HOST "\r\n",
        "POST /later HTTP/1.1\r\n" HOST "content-length: 5\r\n\r\nab",
        "POST /echo HTTP/1.1\r\n" HOST "content-length: 5\r\n\r\nab",
        "POST /echo HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n5\r\nab",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        for (int how = 0; how < 2; how++) {
            int fd = peer_connect(port);
            buf_clear(&events);
            peer_send(l, fd, str_of(requests[i]));
            TURN_UNTIL(l, events.n > 0);
            for (int t = 0; t < 5; t++)
                net_turn(l);
            struct linger hard = {.l_onoff = how};
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* 1: by reset */
            (void)close(fd);
            TURN_UNTIL(l, str_ends(buf_str(&events), STR("A")));
            TURN_UNTIL(l, http_server_conns(server) == 0);
        }
    }
}
END_TEST

START_TEST(a_half_closed_client_gets_what_it_asked_ahead)
{
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /hold HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n");
    TURN_UNTIL(l, held);
    (void)shutdown(fd, SHUT_WR);
    ck_assert(peer_is_silent(l, fd));
    http_reply(held, 200, NULL, 0, STR("one"));
    struct str all = peer_read_all(l, fd, a);
    ck_assert(str_contains(all, STR("one")) && str_contains(all, STR("GET /b ? ")));
    (void)close(fd);
}
END_TEST

START_TEST(times_out_at_every_stage)
{
    struct http_server_conf conf = http_server_conf_default;
    /* longer than a busy machine leaves us alone between two turns */
    conf.head_timeout_ms = conf.body_timeout_ms = conf.idle_timeout_ms = 500;
    serve_with(conf);
    int fd = peer_connect(port);
    ck_assert_uint_eq(peer_read_all(l, fd, a).n, 0); /* said nothing: hears nothing */
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "GET / HTTP/1.1\r\nhos");
    ck_assert(has_status(peer_read_all(l, fd, a), 408));
    ck_assert(events_are("!"));
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "POST /echo HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\na");
    ck_assert(has_status(peer_read_all(l, fd, a), 408));
    ck_assert(events_are("!H!X"));
    (void)close(fd);
    fd = peer_connect(port);
    peer_say(l, fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
    struct str all = peer_read_all(l, fd, a);
    ck_assert(has_status(all, 200) && !str_contains(all, STR("408")));
    (void)close(fd);
}
END_TEST

START_TEST(a_reader_that_stops_holds_the_handler_back_and_may_go_on)
{
    int fd = peer_connect(port);
    big_block = repeat("0123456789abcdef", 1000);
    size_t whole = big_left = big_block.n * 2000;
    peer_say(l, fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 50; i++)
        net_turn(l);
    ck_assert_uint_gt(big_left, 0); /* it was held back */
    (void)peer_read_until(l, fd, a, "\r\n\r\n");
    struct str got = peer_read_n(l, fd, a, whole);
    ck_assert(str_starts(got, STR("0123456789abcdef")));
    TURN_UNTIL(l, str_ends(buf_str(&events), STR("X")));
    ck_assert(str_contains(buf_str(&events), STR("D")));
    peer_say(l, fd, "GET /after HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(str_is(body_of(peer_read_message(l, fd, a)), "GET /after ? "));
    (void)close(fd);
}
END_TEST

START_TEST(output_nobody_takes_is_bounded_in_size_and_time)
{
    struct http_server_conf conf = http_server_conf_default;
    conf.max_queued_bytes = 1 << 20;
    serve_with(conf);
    big_block = repeat("0123456789abcdef", 65536);
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
    TURN_UNTIL(l, events_are("HCA"));
    (void)close(fd);
    conf.max_queued_bytes = SIZE_MAX;
    conf.write_timeout_ms = 30;
    serve_with(conf);
    big_left = big_block.n * 200;
    fd = peer_connect(port);
    peer_say(l, fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    TURN_UNTIL(l, str_ends(buf_str(&events), STR("A")));
    (void)close(fd);
}
END_TEST

START_TEST(what_is_given_at_once_waits_for_its_reader_however_large)
{
    struct http_server_conf conf = http_server_conf_default;
    conf.max_queued_bytes = 1 << 20;
    serve_with(conf);
    big_block = repeat("0123456789abcdef", 1 << 20);
    int fd = peer_connect(port);
    peer_say(l, fd, "GET /piece HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 20; i++)
        net_turn(l);
    ck_assert_int_gt(held_out, 1 << 20); /* counted where memory is bounded */
    struct str got = body_of(peer_read_message(l, fd, a));
    ck_assert(str_eq(got, big_block));
    TURN_UNTIL(l, held_out == 0);
    (void)close(fd);
}
END_TEST

START_TEST(connections_beyond_the_limit_are_told)
{
    struct http_server_conf conf = http_server_conf_default;
    conf.max_conns = 2;
    serve_with(conf);
    int one = peer_connect(port), two = peer_connect(port), three = peer_connect(port);
    ck_assert(has_status(peer_read_all(l, three, a), 503));
    peer_say(l, one, "GET /1 HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_message(l, one, a), 200));
    (void)close(one);
    TURN_UNTIL(l, http_server_conns(server) == 1);
    int four = peer_connect(port);
    peer_say(l, four, "GET /4 HTTP/1.1\r\n" HOST "\r\n");
    ck_assert(has_status(peer_read_message(l, four, a), 200));
    (void)close(two);
    (void)close(three);
    (void)close(four);
}
END_TEST

START_TEST(draining_ends_what_is_idle_and_lets_requests_finish)
{
    int idle = peer_connect(port), busy = peer_connect(port);
    peer_say(l, idle, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    (void)peer_read_message(l, idle, a);
    peer_say(l, busy, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    TURN_UNTIL(l, held);
    http_server_drain(server);
    ck_assert_uint_eq(peer_read_all(l, idle, a).n, 0);
    ck_assert_uint_eq(http_server_conns(server), 1);
    http_reply(held, 200, NULL, 0, STR("done"));
    struct str all = peer_read_all(l, busy, a);
    ck_assert(str_contains(all, STR("connection: close\r\n")) && str_ends(all, STR("done")));
    ck_assert_uint_eq(http_server_conns(server), 0);
    (void)close(idle);
    (void)close(busy);
}
END_TEST

START_TEST(closing_cuts_everything)
{
    int busy = peer_connect(port), idle = peer_connect(port);
    peer_say(l, busy, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    TURN_UNTIL(l, held && http_server_conns(server) == 2);
    http_server_close(server);
    ck_assert(events_are("HCA"));
    ck_assert_uint_eq(peer_read_all(l, busy, a).n, 0);
    ck_assert_uint_eq(peer_read_all(l, idle, a).n, 0);
    (void)close(busy);
    (void)close(idle);
}
END_TEST

START_TEST(many_connections_take_turns)
{
    enum {
        N = 100
    };
    int fds[N];
    for (int i = 0; i < N; i++)
        fds[i] = peer_connect(port);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            struct str text = str_fmt(
                a, "POST /echo HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\n%03d%03d", round, i);
            (void)!write(fds[i], text.p, text.n);
        }
        for (int i = 0; i < N; i++) {
            struct str want = str_fmt(a, "%03d%03d", round, i);
            ck_assert(str_eq(body_of(peer_read_message(l, fds[i], a)), want));
        }
    }
    ck_assert_uint_eq(http_server_conns(server), N);
    for (int i = 0; i < N; i++)
        (void)close(fds[i]);
}
END_TEST

START_TEST(says_why_it_cannot_listen)
{
    struct err e = ERR_INIT;
    ck_assert(!http_server_listen(server, "not an address", 0, NULL, &e));
    ck_assert_int_gt(strlen(e.message), 0);
    e = (struct err)ERR_INIT;
    ck_assert(!http_server_listen(server, "192.0.2.1", 0, NULL, &e)); /* not ours */
    ck_assert_int_gt(strlen(e.message), 0);
    uint16_t six = 0;
    if (http_server_listen(server, "::1", 0, &six, NULL)) /* not every machine has IPv6 */
        ck_assert_uint_gt(six, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_server");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, answers_and_keeps_the_connection);
    tcase_add_test(t, closes_when_asked);
    tcase_add_test(t, speaks_http_1_0);
    tcase_add_test(t, gathers_a_streamed_reply_into_chunks);
    tcase_add_test(t, trailers_are_for_those_who_read_them);
    tcase_add_test(t, sends_no_body_where_there_is_none);
    tcase_add_test(t, no_header_of_a_handler_starts_another);
    tcase_add_test(t, only_the_first_reply_counts);
    tcase_add_test(t, a_reply_that_breaks_its_promise_is_not_whole);
    tcase_add_test(t, understands_every_form_of_target);
    tcase_add_test(t, refuses_smuggling_and_malformed_heads);
    tcase_add_test(t, refuses_malformed_chunks);
    tcase_add_test(t, bounds_the_head);
    tcase_add_test(t, bounds_the_body);
    tcase_add_test(t, any_split_of_the_bytes_gives_the_same);
    tcase_add_test(t, one_byte_at_a_time_will_do);
    tcase_add_test(t, an_unknown_method_is_one_behind_an_empty_line_too);
    tcase_add_test(t, pipelined_requests_wait_for_their_turn);
    tcase_add_test(t, bodies_of_every_size_arrive_whole);
    tcase_add_test(t, continues_only_when_the_body_is_wanted);
    tcase_add_test(t, an_early_reply_reads_a_small_rest_over_and_closes_on_a_large_one);
    tcase_add_test(t, a_reply_within_the_body_ends_the_interest_in_it);
    tcase_add_test(t, a_reply_may_begin_before_the_request_ends);
    tcase_add_test(t, bounds_what_hangs_on_chunks);
    tcase_add_test(t, the_time_a_handler_pauses_is_not_the_client_s);
    tcase_add_test(t, lives_through_a_lack_of_descriptors);
    tcase_add_test(t, a_choice_may_come_late);
    tcase_add_test(t, a_paused_body_waits_in_the_socket);
    tcase_add_test(t, a_client_that_goes_aborts_its_request);
    tcase_add_test(t, a_half_closed_client_gets_what_it_asked_ahead);
    tcase_add_test(t, times_out_at_every_stage);
    tcase_add_test(t, a_reader_that_stops_holds_the_handler_back_and_may_go_on);
    tcase_add_test(t, output_nobody_takes_is_bounded_in_size_and_time);
    tcase_add_test(t, what_is_given_at_once_waits_for_its_reader_however_large);
    tcase_add_test(t, connections_beyond_the_limit_are_told);
    tcase_add_test(t, draining_ends_what_is_idle_and_lets_requests_finish);
    tcase_add_test(t, closing_cuts_everything);
    tcase_add_test(t, many_connections_take_turns);
    tcase_add_test(t, says_why_it_cannot_listen);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
