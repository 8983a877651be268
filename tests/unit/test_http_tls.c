/* The client over TLS and through proxies, against small blocking servers in threads of their own. */
#include "base/buf.h"
#include "http/client.h"
#include "http/fetch.h"
#include "unit/net_kit.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *l;
static struct arena *a;
static struct http_client *client;

/* ---- certificates */

struct pair {
    EVP_PKEY *key;
    X509 *cert;
};
static char ca_path[64], other_ca_path[64];

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(ext);
    ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

/* names NULL: an authority that signs itself */
static struct pair make_cert(const struct pair *issuer, const char *names, long valid_s)
{
    static long serial = 1;
    struct pair p = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    ck_assert_ptr_nonnull(p.key);
    X509_set_version(p.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(p.cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(p.cert), valid_s);
    X509_set_pubkey(p.cert, p.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)(names ? "server" : "authority"), -1, -1, 0);
    X509 *by = issuer ? issuer->cert : p.cert;
    X509_set_issuer_name(p.cert, X509_get_subject_name(by));
    if (names)
        add_extension(p.cert, by, NID_subject_alt_name, names);
    else
        add_extension(p.cert, by, NID_basic_constraints, "critical,CA:TRUE");
    ck_assert_int_gt(X509_sign(p.cert, issuer ? issuer->key : p.key, EVP_sha256()), 0);
    return p;
}

static void free_pair(struct pair p)
{
    EVP_PKEY_free(p.key);
    X509_free(p.cert);
}

static void save_cert(X509 *cert, char path[64])
{
    (void)snprintf(path, 64, "/tmp/test-ca-XXXXXX");
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_X509(f, cert), 1);
    (void)fclose(f);
}

/* ---- servers */

struct server {
    int listener;
    uint16_t port;
    pthread_t thread;
    void (*serve)(struct server *s, int fd);
    SSL_CTX *ctx;
    pthread_mutex_t lock; /* guards reply */
    struct str reply;
    atomic_int times; /* requests answered on one connection */
    atomic_int accepted, resumed, requests;
    atomic_int target_port; /* of a proxy: where it really connects to */
    atomic_bool is_ending;
    /* the last request, or what the proxy was asked; after the thread ended or in turn */
    char seen[4096];
};

static void set_reply(struct server *s, struct str reply)
{
    (void)pthread_mutex_lock(&s->lock);
    s->reply = reply;
    (void)pthread_mutex_unlock(&s->lock);
}

static struct str get_reply(struct server *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct str reply = s->reply;
    (void)pthread_mutex_unlock(&s->lock);
    return reply;
}

static void *run_server(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0 || atomic_load(&s->is_ending)) {
            if (fd >= 0)
                (void)close(fd);
            return NULL;
        }
        struct timeval limit = {.tv_sec = 10};
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        atomic_fetch_add(&s->accepted, 1);
        s->serve(s, fd);
        (void)close(fd);
    }
}

static void start_server(struct server *s)
{
    s->listener = peer_listen(&s->port);
    ck_assert_int_eq(pthread_mutex_init(&s->lock, NULL), 0);
    ck_assert_int_eq(fcntl(s->listener, F_SETFL, 0), 0); /* the thread may block */
    ck_assert_int_eq(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static void stop_server(struct server *s)
{
    atomic_store(&s->is_ending, true);
    (void)close(peer_connect(s->port));
    (void)pthread_join(s->thread, NULL);
    (void)close(s->listener);
    SSL_CTX_free(s->ctx);
}

static void serve_tls(struct server *s, int fd)
{
    SSL *ssl = SSL_new(s->ctx);
    char bytes[4096];
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        if (SSL_session_reused(ssl))
            atomic_fetch_add(&s->resumed, 1);
        for (int i = 0; i < s->times; i++) {
            int n = SSL_read(ssl, bytes, sizeof bytes - 1);
            if (n <= 0)
                break;
            atomic_fetch_add(&s->requests, 1);
            struct str reply = get_reply(s);
            for (size_t at = 0; at < reply.n;) { /* in records of odd sizes */
                size_t step = reply.n - at < 5001 ? reply.n - at : 5001;
                if (SSL_write(ssl, reply.p + at, (int)step) <= 0)
                    break;
                at += step;
            }
        }
        (void)SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

static SSL_CTX *server_context(struct pair cert)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    ck_assert_int_eq(SSL_CTX_use_certificate(ctx, cert.cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, cert.key), 1);
    return ctx;
}

static void serve_plain(struct server *s, int fd)
{
    for (int i = 0; i < s->times; i++) {
        size_t n = 0;
        while (n < sizeof s->seen - 1) {
            ssize_t got = recv(fd, s->seen + n, sizeof s->seen - 1 - n, 0);
            if (got <= 0)
                return;
            n += (size_t)got;
            s->seen[n] = '\0';
            const char *end = strstr(s->seen, "\r\n\r\n");
            const char *length = strcasestr(s->seen, "content-length: ");
            size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
            if (strcasestr(s->seen, "transfer-encoding: chunked")
                    ? strstr(s->seen, "\r\n0\r\n\r\n") != NULL
                    : end && n >= (size_t)(end + 4 - s->seen) + body)
                break;
        }
        atomic_fetch_add(&s->requests, 1);
        struct str reply = get_reply(s);
        (void)!send(fd, reply.p, reply.n, MSG_NOSIGNAL);
    }
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 ? fd : -1;
}

static void pump(int one, int two) /* both ways, until either closes */
{
    for (;;) {
        char bytes[16384];
        fd_set set;
        FD_ZERO(&set);
        FD_SET(one, &set);
        FD_SET(two, &set);
        if (select((one > two ? one : two) + 1, &set, NULL, NULL,
                   &(struct timeval){.tv_sec = 10}) <= 0)
            return;
        int from = FD_ISSET(one, &set) ? one : two;
        ssize_t n = recv(from, bytes, sizeof bytes, 0);
        if (n <= 0 || send(from == one ? two : one, bytes, (size_t)n, MSG_NOSIGNAL) != n)
            return;
    }
}

static void serve_connect(struct server *s, int fd)
{
    size_t n = 0;
    while (n < sizeof s->seen - 1) {
        ssize_t got = recv(fd, s->seen + n, 1, 0);
        if (got <= 0)
            return;
        s->seen[++n] = '\0';
        if (strstr(s->seen, "\r\n\r\n"))
            break;
    }
    static const char refused[] = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    static const char ok[] = "HTTP/1.1 200 Connected\r\nx-proxy: yes\r\n\r\n";
    int up = s->target_port ? connect_to((uint16_t)s->target_port) : -1;
    if (up < 0) {
        (void)!send(fd, refused, sizeof refused - 1, MSG_NOSIGNAL);
        return;
    }
    (void)!send(fd, ok, sizeof ok - 1, MSG_NOSIGNAL);
    pump(fd, up);
    (void)close(up);
}

static bool take(int fd, void *to, size_t n)
{
    return recv(fd, to, n, MSG_WAITALL) == (ssize_t)n;
}

static void serve_socks5(struct server *s, int fd) /* RFC 1928, with a host name */
{
    unsigned char head[4], n = 0, name[256], methods[256];
    if (!take(fd, head, 2) || !take(fd, methods, head[1]) ||
        send(fd, "\x05\x00", 2, MSG_NOSIGNAL) != 2)
        return;
    if (!take(fd, head, 4) || head[3] != 3 || !take(fd, &n, 1) || !take(fd, name, n) ||
        !take(fd, head, 2))
        return;
    memcpy(s->seen, name, n);
    s->seen[n] = '\0';
    int up = connect_to((uint16_t)s->target_port);
    if (up < 0 || send(fd, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00", 10, MSG_NOSIGNAL) != 10)
        return;
    pump(fd, up);
    (void)close(up);
}

/* ---- calls */

struct seen {
    struct http_call *call;
    int status, ends, errors;
    enum http_failure failure;
    bool cancels, pauses;
    char message[512];
    struct buf body;
};

static void on_head(void *arg, int status, const struct http_header *h, size_t n)
{
    struct seen *s = arg;
    ck_assert_int_eq(s->status, 0);
    s->status = status;
    ck_assert_ptr_null(http_header_get(h, n, "x-proxy").p);
    if (s->cancels)
        http_call_cancel(s->call);
    if (s->pauses)
        http_call_pause(s->call);
}

static void on_body(void *arg, struct str bytes)
{
    struct seen *s = arg;
    ck_assert_int_ne(s->status, 0);
    buf_str_add(&s->body, bytes);
}

static void on_end(void *arg)
{
    ((struct seen *)arg)->ends++;
}

static void on_error(void *arg, enum http_failure f, const struct err *e, bool is_head_seen)
{
    struct seen *s = arg;
    (void)is_head_seen;
    s->errors++;
    s->failure = f;
    (void)snprintf(s->message, sizeof s->message, "%s", e->message);
}

static const struct http_call_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_error = on_error};

static struct seen *start(struct http_out out)
{
    struct seen *s = ARENA_NEW(a, struct seen);
    buf_init_arena(&s->body, a, 64 << 20);
    s->call = http_call_start(client, &out, &handler, s);
    ck_assert_int_eq(s->status + s->ends + s->errors, 0);
    return s;
}

static struct seen *finish(struct seen *s)
{
    TURN_UNTIL(l, s->ends + s->errors);
    return s;
}

static struct pair ca, cert;
static struct server server;

static struct http_origin origin_of(const char *key, const char *host)
{
    return (struct http_origin){.key = str_of(key),
                                .is_tls = true,
                                .host = str_of(host),
                                .port = server.port,
                                .host_header = str_of(host),
                                .ca_file = str_of(ca_path),
                                .allow_private = true};
}

static struct http_out get_from(const struct http_origin *o)
{
    return (struct http_out){.origin = o, .method = HTTP_GET, .target = STR("/p?q")};
}

static void start_tls(const char *names, long valid_s, int times)
{
    cert = make_cert(&ca, names, valid_s);
    server = (struct server){.serve = serve_tls,
                             .ctx = server_context(cert),
                             .times = times,
                             .reply = STR("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")};
    start_server(&server);
}

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    l = loop_new(0);
    a = arena_new();
    client = http_client_new(l, NULL);
    ca = make_cert(NULL, NULL, 3600);
    struct pair other = make_cert(NULL, NULL, 3600);
    save_cert(ca.cert, ca_path);
    save_cert(other.cert, other_ca_path);
    free_pair(other);
}

static void teardown(void)
{
    http_client_free(client);
    loop_free(l);
    if (server.serve)
        stop_server(&server);
    free_pair(ca);
    if (cert.key)
        free_pair(cert);
    (void)unlink(ca_path);
    (void)unlink(other_ca_path);
    arena_free(a);
    arena_thread_done();
}

START_TEST(speaks_tls_and_resumes_sessions)
{
    start_tls("DNS:localhost,IP:127.0.0.1", 3600, 2);
    struct http_origin o = origin_of("o", "localhost");
    for (int i = 0; i < 6; i++) {
        struct seen *s = finish(start(get_from(&o)));
        ck_assert_msg(s->ends == 1, "call %d: %s", i, s->message);
        ck_assert(str_is(buf_str(&s->body), "ok"));
        /* the server closes after two */
        TURN_UNTIL(l, i % 2 == 0 || http_client_stats(client).open == 0);
    }
    ck_assert_int_eq(atomic_load(&server.accepted), 3);
    ck_assert_int_eq(atomic_load(&server.resumed), 2);
    ck_assert_uint_eq(http_client_stats(client).reuses, 3);
}
END_TEST

START_TEST(carries_large_bodies_both_ways)
{
    enum {
        N = 3000000
    };
    char *p = arena_alloc(a, N);
    for (size_t i = 0; i < N; i++)
        p[i] = (char)('a' + i % 23);
    start_tls("DNS:localhost", 3600, 1);
    set_reply(&server,
              str_fmt(a, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" STR_FMT, N, N, p));
    struct http_origin o = origin_of("o", "localhost");
    struct seen *s = finish(start(get_from(&o)));
    ck_assert_msg(s->ends == 1, "%s", s->message);
    ck_assert(str_eq(buf_str(&s->body), str_n(p, N)));
    struct http_out out = get_from(&o);
    out.method = HTTP_POST;
    out.body = str_n(p, N);
    s = finish(start(out)); /* answered after its first record: the rest is never sent */
    ck_assert_int_eq(s->status, 200);
}
END_TEST

START_TEST(refuses_whom_it_cannot_trust)
{
    start_tls("DNS:localhost,IP:127.0.0.1", 3600, 1);
    struct http_origin rows[] = {
        origin_of("wrong authority", "localhost"),
        origin_of("the system's authorities", "localhost"),
    };
    rows[0].ca_file = str_of(other_ca_path);
    rows[1].ca_file = STR_NONE;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *s = finish(start(get_from(&rows[i])));
        ck_assert_msg(s->failure == HTTP_FAIL_TLS && s->status == 0, STR_FMT ": %d %s",
                      STR_ARG(rows[i].key), (int)s->failure, s->message);
        ck_assert_msg(strstr(s->message, "certificate") != NULL, "%s", s->message);
    }
    ck_assert_int_eq(atomic_load(&server.requests), 0);
    struct http_origin trusting = rows[1];
    trusting.key = STR("trusting");
    trusting.insecure = true;
    ck_assert_int_eq(finish(start(get_from(&trusting)))->ends, 1);
    struct http_origin by_address = origin_of("by address", "127.0.0.1");
    ck_assert_int_eq(finish(start(get_from(&by_address)))->ends, 1);
}
END_TEST

START_TEST(refuses_a_certificate_of_another_host)
{
    start_tls("DNS:example.com,IP:192.0.2.1", 3600, 1);
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct http_origin o = origin_of(hosts[i], hosts[i]);
        struct seen *s = finish(start(get_from(&o)));
        ck_assert_int_eq(s->failure, HTTP_FAIL_TLS);
        ck_assert_msg(strstr(s->message, "mismatch") != NULL, "%s", s->message);
    }
    ck_assert_int_eq(atomic_load(&server.requests), 0);
}
END_TEST

START_TEST(refuses_an_expired_certificate_and_an_unreadable_ca_file)
{
    start_tls("DNS:localhost", -3600, 1);
    struct http_origin o = origin_of("expired", "localhost");
    struct seen *s = finish(start(get_from(&o)));
    ck_assert_int_eq(s->failure, HTTP_FAIL_TLS);
    ck_assert(strstr(s->message, "expired") != NULL);
    o = origin_of("no file", "localhost");
    o.ca_file = STR("/nonexistent/ca.pem");
    s = finish(start(get_from(&o)));
    ck_assert_int_eq(s->failure, HTTP_FAIL_TLS);
    ck_assert(strstr(s->message, "ca_file") != NULL);
}
END_TEST

START_TEST(a_truncated_reply_is_not_whole)
{
    start_tls("DNS:localhost", 3600, 1);
    struct http_origin o = origin_of("o", "localhost");
    set_reply(&server, STR("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok"));
    struct seen *s = finish(start(get_from(&o)));
    ck_assert_int_eq(s->failure, HTTP_FAIL_CLOSED);
    set_reply(&server, STR("HTTP/1.1 200 OK\r\n\r\nto the end")); /* with a close_notify: whole */
    s = finish(start(get_from(&o)));
    ck_assert_int_eq(s->ends, 1);
    ck_assert(str_is(buf_str(&s->body), "to the end"));
}
END_TEST

START_TEST(a_peer_without_tls_is_told_apart)
{
    server = (struct server){
        .serve = serve_plain, .times = 1, .reply = STR("HTTP/1.1 400 Bad Request\r\n\r\n")};
    server.listener = peer_listen(&server.port);
    struct http_origin o = origin_of("o", "localhost");
    struct seen *s = start(get_from(&o));
    int fd = peer_accept(l, server.listener);
    peer_say(l, fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    ck_assert_int_eq(finish(s)->failure, HTTP_FAIL_TLS);
    (void)close(fd);
    s = start(get_from(&o));
    fd = peer_accept(l, server.listener);
    (void)close(fd);
    ck_assert_int_eq(finish(s)->failure, HTTP_FAIL_TLS);
    (void)close(server.listener);
    server.serve = NULL;
}
END_TEST

START_TEST(fetches_over_tls)
{
    start_tls("DNS:localhost", 3600, 1);
    struct fetched got;
    struct err e = ERR_INIT;
    struct fetch f = {.method = HTTP_GET,
                      .url = str_fmt(a, "https://localhost:%u/", (unsigned)server.port),
                      .ca_file = str_of(ca_path),
                      .timeout_ms = 5000,
                      .max_bytes = 2,
                      .allow_private = true};
    set_reply(&server,
              STR("HTTP/1.1 200 OK\r\ncontent-type: text/x\r\ncontent-length: 2\r\n\r\nok"));
    ck_assert_msg(fetch_run(a, &f, &got, &e), "%s", e.message);
    ck_assert_int_eq(got.status, 200);
    ck_assert(str_is(got.body, "ok") && str_is(got.content_type, "text/x"));
    set_reply(&server, STR("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbig"));
    ck_assert(!fetch_run(a, &f, &got, &e));
    ck_assert_int_eq(e.kind, ERR_TOO_LARGE);
    f.ca_file = str_of(other_ca_path);
    e = (struct err)ERR_INIT;
    ck_assert(!fetch_run(a, &f, &got, &e));
    ck_assert_int_eq(e.kind, ERR_UPSTREAM);
}
END_TEST

/* ---- proxies: the same calls through libcurl */

static struct server proxy;

static struct http_origin behind(const char *scheme, const char *key)
{
    struct http_origin o = {.key = str_of(key),
                            .host = STR("up.example"),
                            .port = 80,
                            .host_header = STR("up.example"),
                            .allow_private = true};
    o.proxy = str_fmt(a, "%s://user:pass@127.0.0.1:%u", scheme, (unsigned)proxy.port);
    return o;
}

static void start_proxied(void (*serve)(struct server *s, int fd), const char *reply, int times)
{
    server = (struct server){.serve = serve_plain, .times = times, .reply = str_of(reply)};
    start_server(&server);
    proxy = (struct server){.serve = serve, .target_port = server.port};
    start_server(&proxy);
}

START_TEST(goes_through_an_http_proxy)
{
    start_proxied(
        serve_connect,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nand\r\n0\r\n\r\n", 3);
    struct http_origin o = behind("http", "p");
    static const struct http_header headers[] = {{STR_INIT("x-a"), STR_INIT("1\r\nx-b: 2")},
                                                 {STR_INIT("empty"), STR_INIT("")}};
    struct http_out out = {.origin = &o,
                           .method = HTTP_POST,
                           .target = STR("/p?q"),
                           .headers = headers,
                           .n_headers = 2,
                           .body = STR("hello")};
    struct seen *s = finish(start(out));
    ck_assert_msg(s->ends == 1 && s->status == 200, "%s", s->message);
    ck_assert(str_is(buf_str(&s->body), "okand"));
    out.is_streamed = true;
    out.stream_length = -1;
    out.body = STR_NONE;
    s = start(out);
    ck_assert(http_call_send(s->call, STR("first")));
    for (int i = 0; i < 20; i++)
        net_turn(l);
    ck_assert(http_call_send(s->call, STR("second")));
    http_call_send_end(s->call);
    ck_assert_msg(finish(s)->ends == 1, "%s", s->message);
    out = (struct http_out){.origin = &o, .method = HTTP_HEAD, .target = STR("/")};
    http_client_free(client); /* closes the tunnel, so that the threads end */
    client = NULL;
    for (int i = 0; i < 5; i++)
        net_turn(l);
    stop_server(&proxy);
    ck_assert(strncmp(proxy.seen, "CONNECT up.example:80 HTTP/1.1\r\n", 32) == 0);
    ck_assert(strcasestr(proxy.seen, "proxy-authorization: Basic dXNlcjpwYXNz") != NULL);
    stop_server(&server);
    ck_assert_int_eq(atomic_load(&proxy.accepted), 1); /* the second call used the same tunnel */
    ck_assert_msg(strstr(server.seen, "POST /p?q HTTP/1.1\r\n") == server.seen, "%s", server.seen);
    ck_assert(strcasestr(server.seen, "host: up.example\r\n") &&
              strcasestr(server.seen, "x-a: 1  x-b: 2\r\n"));
    ck_assert(strcasestr(server.seen, "empty:") && !strcasestr(server.seen, "content-type") &&
              !strcasestr(server.seen, "expect:"));
    ck_assert(strstr(server.seen, "first") && strstr(server.seen, "second\r\n0\r\n\r\n"));
    server.serve = NULL;
}
END_TEST

START_TEST(goes_through_a_socks_proxy)
{
    start_proxied(serve_socks5, "HTTP/1.1 418 Teapot\r\ncontent-length: 2\r\n\r\nok", 1);
    struct http_origin o = behind("socks5h", "p");
    o.proxy = str_fmt(a, "socks5h://127.0.0.1:%u", (unsigned)proxy.port);
    struct seen *s = finish(start(get_from(&o)));
    ck_assert_msg(s->ends == 1 && s->status == 418, "%s", s->message);
    stop_server(&proxy);
    ck_assert_str_eq(proxy.seen, "up.example"); /* the proxy resolves, not we */
}
END_TEST

START_TEST(tells_when_the_proxy_or_what_is_behind_it_fails)
{
    start_proxied(serve_connect, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", 1);
    struct http_origin o = behind("http", "p");
    struct seen *s = finish(start(get_from(&o)));
    ck_assert_msg(s->failure == HTTP_FAIL_CLOSED && s->status == 200, "%d: %s", (int)s->failure,
                  s->message);
    set_reply(&server, STR("no HTTP at all"));
    s = finish(start(get_from(&o)));
    ck_assert_msg(s->failure == HTTP_FAIL_PROTOCOL || s->failure == HTTP_FAIL_CLOSED, "%d: %s",
                  (int)s->failure, s->message);
    proxy.target_port = 0; /* refuses from now on */
    s = finish(start(get_from(&o)));
    ck_assert_msg(s->failure == HTTP_FAIL_CONNECT, "%d: %s", (int)s->failure, s->message);
    stop_server(&proxy);
    s = finish(start(get_from(&o)));
    ck_assert_int_eq(s->failure, HTTP_FAIL_CONNECT);
}
END_TEST

START_TEST(proxied_calls_can_be_cancelled_paused_and_timed_out)
{
    char *p = arena_alloc(a, 2000000);
    memset(p, 'x', 2000000);
    start_proxied(
        serve_connect,
        str_fmt(a, "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" STR_FMT, 2000000, p).p, 1);
    struct http_origin o = behind("http", "p");
    struct http_out out = get_from(&o);
    struct seen *s = ARENA_NEW(a, struct seen);
    buf_init_arena(&s->body, a, 64 << 20);
    s->cancels = true;
    s->call = http_call_start(client, &out, &handler, s);
    TURN_UNTIL(l, s->status);
    for (int i = 0; i < 20; i++)
        net_turn(l);
    ck_assert_int_eq(s->ends + s->errors, 0);
    s = ARENA_NEW(a, struct seen);
    buf_init_arena(&s->body, a, 64 << 20);
    s->pauses = true;
    s->call = http_call_start(client, &out, &handler, s);
    TURN_UNTIL(l, s->status);
    for (int i = 0; i < 50; i++)
        net_turn(l);
    ck_assert_uint_le(s->body.n, 200000);
    ck_assert_int_eq(s->ends, 0);
    http_call_resume(s->call);
    ck_assert_msg(finish(s)->ends == 1, "%s", s->message);
    ck_assert_uint_eq(s->body.n, 2000000);
    set_reply(&server, STR("HTTP/1.1 200 OK\r\n"));
    server.times = 2; /* stays open after it */
    out.first_byte_timeout_ms = 50;
    s = finish(start(out));
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_FIRST);
    out.first_byte_timeout_ms = 0;
    out.total_timeout_ms = 50;
    s = finish(start(out));
    ck_assert_int_eq(s->failure, HTTP_FAIL_TIMEOUT_TOTAL);
    (void)start(out); /* cut by the end of the client */
    http_client_free(client);
    client = NULL;
    for (int i = 0; i < 5; i++)
        net_turn(l);
    stop_server(&proxy);
}
END_TEST

START_TEST(no_proxy_is_asked_for_a_private_address)
{
    start_proxied(serve_connect, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1);
    static const char *const hosts[] = {"127.0.0.1", "::1", "169.254.169.254", "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct http_origin o = behind("http", hosts[i]);
        o.host = str_of(hosts[i]);
        o.allow_private = false;
        ck_assert_int_eq(finish(start(get_from(&o)))->failure, HTTP_FAIL_POLICY);
    }
    stop_server(&proxy);
    ck_assert_int_eq(atomic_load(&proxy.accepted), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_tls");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, speaks_tls_and_resumes_sessions);
    tcase_add_test(t, carries_large_bodies_both_ways);
    tcase_add_test(t, refuses_whom_it_cannot_trust);
    tcase_add_test(t, refuses_a_certificate_of_another_host);
    tcase_add_test(t, refuses_an_expired_certificate_and_an_unreadable_ca_file);
    tcase_add_test(t, a_truncated_reply_is_not_whole);
    tcase_add_test(t, a_peer_without_tls_is_told_apart);
    tcase_add_test(t, fetches_over_tls);
    tcase_add_test(t, goes_through_an_http_proxy);
    tcase_add_test(t, goes_through_a_socks_proxy);
    tcase_add_test(t, tells_when_the_proxy_or_what_is_behind_it_fails);
    tcase_add_test(t, proxied_calls_can_be_cancelled_paused_and_timed_out);
    tcase_add_test(t, no_proxy_is_asked_for_a_private_address);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
