/* net_kit.c - non-blocking sockets on the loop's own thread. */
#include "unit/net_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"

#define SOME_TURNS 40

void net_turn(struct loop *l)
{
    (void)uv_run(loop_uv(l), UV_RUN_NOWAIT);
    (void)poll(NULL, 0, 1);
}

static struct sockaddr_in local(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

int peer_listen(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = local(0);
    socklen_t n = sizeof sa;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
    *port = ntohs(sa.sin_port);
    return fd;
}

int peer_accept(struct loop *l, int listener)
{
    int fd = -1;
    TURN_UNTIL(l, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

bool peer_has_caller(struct loop *l, int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    for (int i = 0; i < SOME_TURNS; i++) {
        if (poll(&p, 1, 0) > 0)
            return true;
        net_turn(l);
    }
    return false;
}

int peer_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = local(port);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void peer_send(struct loop *l, int fd, struct str bytes)
{
    for (int turns = 0; bytes.n > 0 && turns < 20000; turns++) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n > 0)
            bytes = str_skip(bytes, (size_t)n);
        else if (errno != EAGAIN)
            return; /* it hung up: the test will see what it wanted to say */
        net_turn(l);
    }
}

/* 1: more came; 0: it closed; -1: nothing yet. */
static int read_some(int fd, struct buf *b, size_t max)
{
    char bytes[65536];
    ssize_t n = recv(fd, bytes, max < sizeof bytes ? max : sizeof bytes, 0);
    if (n > 0)
        buf_add(b, bytes, (size_t)n);
    if (n > 0)
        return 1;
    return n == 0 || errno != EAGAIN ? 0 : -1;
}

static struct str text_of(struct buf *b)
{
    buf_char(b, '\0');
    return str_n(b->p, b->n - 1);
}

struct str peer_read_until(struct loop *l, int fd, struct arena *a, const char *marker)
{
    struct buf b;
    struct str m = str_of(marker);
    buf_init_arena(&b, a, 64 << 20);
    for (int turns = 0; turns < 20000; turns++) {
        /* a byte at a time, so that nothing behind the marker is lost */
        int rc = read_some(fd, &b, 1);
        if (rc == 0 || (b.n >= m.n && m.n > 0 && memcmp(b.p + b.n - m.n, m.p, m.n) == 0))
            return text_of(&b);
        if (rc < 0)
            net_turn(l);
        else
            turns--;
    }
    ck_abort_msg("'%s' never came; came: '" STR_FMT "'", marker, STR_ARG(buf_str(&b)));
    return STR_NONE;
}

struct str peer_read_n(struct loop *l, int fd, struct arena *a, size_t n)
{
    struct buf b;
    buf_init_arena(&b, a, 64 << 20);
    for (int turns = 0; b.n < n && turns < 20000; turns++) {
        int rc = read_some(fd, &b, n - b.n);
        if (rc == 0)
            break;
        if (rc < 0)
            net_turn(l);
    }
    ck_assert_uint_eq(b.n, n);
    return text_of(&b);
}

struct str peer_read_all(struct loop *l, int fd, struct arena *a)
{
    struct buf b;
    buf_init_arena(&b, a, 64 << 20);
    for (int turns = 0; turns < 20000; turns++) {
        int rc = read_some(fd, &b, SIZE_MAX);
        if (rc == 0)
            return text_of(&b);
        if (rc < 0)
            net_turn(l);
    }
    ck_abort_msg("it never closed; said: '" STR_FMT "'", STR_ARG(buf_str(&b)));
    return STR_NONE;
}

struct str peer_read_message(struct loop *l, int fd, struct arena *a)
{
    struct buf all;
    buf_init_arena(&all, a, 64 << 20);
    struct str head = peer_read_until(l, fd, a, "\r\n\r\n");
    buf_str_add(&all, head);
    const char *length = strstr(head.p, "content-length: ");
    if (strstr(head.p, "transfer-encoding: chunked")) {
        for (size_t size = 1; size > 0;) {
            struct str line = peer_read_until(l, fd, a, "\r\n");
            size = strtoul(line.p, NULL, 16);
            buf_str_add(&all, line);
            buf_str_add(&all, peer_read_n(l, fd, a, size + 2));
        }
    } else if (length) {
        buf_str_add(&all, peer_read_n(l, fd, a, strtoul(length + 16, NULL, 10)));
    }
    return text_of(&all);
}

bool peer_is_silent(struct loop *l, int fd)
{
    char byte;
    for (int i = 0; i < SOME_TURNS; i++) {
        if (recv(fd, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN)
            return false;
        net_turn(l);
    }
    return true;
}
