/* The client reading an upstream's answer: the input, in one piece and split. Both must end the same way. */
#include "base/buf.h"
#include "http/client.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *l;
/* [0] generous; [1] tight: whether the head is too large before it is malformed depends on the pieces */
static struct http_client *clients[2], *client;
static int listener;
static struct http_origin origin;

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

struct seen {
    int status, ends, errors;
    enum http_failure failure;
    struct buf text;
};

static void on_head(void *arg, int status, const struct http_header *h, size_t n)
{
    struct seen *s = arg;
    REQUIRE(s->status == 0 && status >= 200);
    s->status = status;
    for (size_t i = 0; i < n; i++)
        buf_fmt(&s->text, STR_FMT "=" STR_FMT "\n", STR_ARG(h[i].name), STR_ARG(h[i].value));
}

static void on_body(void *arg, struct str bytes)
{
    struct seen *s = arg;
    REQUIRE(s->status && !s->ends && !s->errors && bytes.n > 0);
    buf_str_add(&s->text, bytes);
}

static void on_end(void *arg)
{
    struct seen *s = arg;
    s->ends++;
}

static void on_error(void *arg, enum http_failure f, const struct err *e, bool is_head_seen)
{
    struct seen *s = arg;
    s->errors++;
    s->failure = f;
    REQUIRE(e->message[0] && is_head_seen == (s->status != 0));
}

static void turn(void)
{
    (void)uv_run(loop_uv(l), UV_RUN_NOWAIT);
}

static void exchange(const char *p, size_t n, size_t step, enum http_method method, struct seen *s)
{
    static const struct http_call_handler handler = {
        .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_error = on_error};
    struct http_out out = {.origin = &origin, .method = method, .target = STR("/")};
    buf_init(&s->text, 1 << 20);
    (void)http_call_start(client, &out, &handler, s);
    int fd = -1;
    while ((fd = accept(listener, NULL, NULL)) < 0)
        turn();
    struct linger hard = {.l_onoff = 1};
    for (size_t at = 0; at < n; at += step) {
        if (send(fd, p + at, n - at < step ? n - at : step, MSG_NOSIGNAL) < 0)
            break;
        turn();
    }
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < 10000 && !s->ends && !s->errors; i++)
        turn();
    REQUIRE(s->ends + s->errors == 1);
    for (int i = 0; i < 100 && http_client_stats(client).open > 0; i++)
        turn();
    REQUIRE(http_client_stats(client).open == 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!l) {
        struct http_client_conf conf = http_client_conf_default;
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t len = sizeof sa;
        l = loop_new(0);
        clients[0] = http_client_new(l, &conf);
        conf.max_head_bytes = 600;
        clients[1] = http_client_new(l, &conf);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        REQUIRE(bind(listener, (struct sockaddr *)&sa, sizeof sa) == 0 &&
                listen(listener, 16) == 0);
        REQUIRE(getsockname(listener, (struct sockaddr *)&sa, &len) == 0);
        origin = (struct http_origin){.key = STR("x"),
                                      .host = STR("127.0.0.1"),
                                      .port = ntohs(sa.sin_port),
                                      .host_header = STR("x"),
                                      .allow_private = true};
    }
    if (n < 2 || n > 4000)
        return 0;
    struct seen whole = {.status = 0}, pieces = {.status = 0};
    size_t step = 1 + data[0] % 64u;
    bool is_tight = data[0] & 0x80;
    client = clients[is_tight];
    enum http_method method = data[1] % 8 == 0 ? HTTP_HEAD : HTTP_GET;
    const char *p = (const char *)data + 2;
    exchange(p, n - 2, n, method, &whole);
    exchange(p, n - 2, n > 600 ? step + n / 64 : step, method, &pieces);
    if (!is_tight) {
        REQUIRE(whole.status == pieces.status && whole.ends == pieces.ends);
        REQUIRE(whole.errors == 0 || whole.failure == pieces.failure);
        REQUIRE(!whole.ends || str_eq(buf_str(&whole.text), buf_str(&pieces.text)));
    }
    buf_done(&whole.text);
    buf_done(&pieces.text);
    return 0;
}
