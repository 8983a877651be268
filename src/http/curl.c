/* curl.c - a libcurl multi handle driven by the loop.
 * libcurl calls back once a chunk and forbids to remove a handle inside its callbacks: what it brings is collected and
 * handed on after it returned, once a turn. */
#include "http/curl.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"
#include "base/buf.h"
#include "base/log.h"
#include "http/fetch.h"
#include "http/head.h"

#define HOLD_BYTES 65536 /* collected for a paused call before libcurl is paused too */
#define SEND_HIGH_BYTES 65536
#define SEND_LOW_BYTES 16384

struct sock {
    uv_poll_t poll;
    struct curl_client *client;
    curl_socket_t fd;
};

struct curl_client {
    struct loop *loop;
    struct http_client_conf conf;
    struct http_client_stats *stats;
    CURLM *multi;
    uv_timer_t timer;
    struct curl_call *calls, *touched, **touched_last;
    struct loop_defer deliver;
    unsigned n_handles;
    bool is_freed;
};

struct curl_call {
    struct call_base base;
    struct curl_client *client;
    struct curl_call *next, **prev;
    struct curl_call *touched_next;
    CURL *easy;
    struct curl_slist *headers;
    struct arena *arena;
    struct http_out out;
    const struct http_call_handler *handler;
    void *arg;
    struct head head;
    struct buf in, send;
    struct timer phase_timer, total_timer;
    enum http_failure phase_failure;
    bool *is_gone; /* of a delivery that is running */
    CURLcode result;
    int status;
    char error[CURL_ERROR_SIZE];
    int local_port; /* of its connection; 0: none yet */
    bool is_http2, is_touched, is_head_whole, is_head_given, is_done, is_paused, is_curl_paused;
    bool is_send_ended, is_send_full, is_send_starved, is_reused, is_refused, is_too_large,
        is_connected;
};

static void deliver_all(struct curl_client *c);

static void touch(struct curl_call *call)
{
    struct curl_client *c = call->client;
    if (call->is_touched)
        return;
    call->is_touched = true;
    call->touched_next = NULL;
    *c->touched_last = call;
    c->touched_last = &call->touched_next;
    loop_defer(c->loop, &c->deliver);
}

static void untouch(struct curl_call *call)
{
    struct curl_client *c = call->client;
    if (!call->is_touched)
        return;
    call->is_touched = false;
    for (struct curl_call **p = &c->touched; *p; p = &(*p)->touched_next) {
        if (*p != call)
            continue;
        *p = call->touched_next;
        if (c->touched_last == &call->touched_next)
            c->touched_last = p;
        break;
    }
}

/* ---- life of a call */

/* libcurl 7.88 notes the reset of an abandoned HTTP/2 stream and sends it with what its connection next has to say, which may
 * be never: the upstream would work on. A connection without other streams is closed instead (reuse is forbidden before the
 * handle goes), and of those that share one, the first that can be paused for a moment sends what waits. */
static void send_reset(struct curl_client *c, int port)
{
    for (struct curl_call *other = c->calls; other && port != 0; other = other->next) {
        if (!other->is_http2 || other->is_curl_paused || other->is_done ||
            other->local_port != port)
            continue;
        (void)curl_easy_pause(other->easy, CURLPAUSE_RECV);
        (void)curl_easy_pause(other->easy, CURLPAUSE_CONT);
        return;
    }
}

static void free_call(struct curl_call *call)
{
    struct curl_client *c = call->client;
    bool is_cut = call->is_http2 && !call->is_done;
    untouch(call);
    timer_stop(&call->phase_timer);
    timer_stop(&call->total_timer);
    if (call->is_gone)
        *call->is_gone = true;
    if (is_cut)
        curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
    (void)curl_multi_remove_handle(c->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    *call->prev = call->next;
    if (call->next)
        call->next->prev = call->prev;
    if (is_cut)
        send_reset(c, call->local_port);
    head_done(&call->head);
    buf_done(&call->in);
    buf_done(&call->send);
    arena_free(call->arena);
    free(call);
}

static void fail(struct curl_call *call, enum http_failure how, const struct err *e)
{
    const struct http_call_handler *h = call->handler;
    void *arg = call->arg;
    bool is_head_seen = call->is_head_given;
    call->client->stats->failures++;
    free_call(call);
    h->on_error(arg, how, e, is_head_seen);
}

static void on_phase_timer(struct timer *t)
{
    struct curl_call *call = (struct curl_call *)((char *)t -
                                                  offsetof(struct curl_call, phase_timer));
    struct err e = ERR_INIT;
    (void)err_set(&e, ERR_TIMEOUT, "upstream_timeout", "the upstream did not %s in time",
                  call->phase_failure == HTTP_FAIL_TIMEOUT_CONNECT ? "accept a connection"
                  : call->phase_failure == HTTP_FAIL_TIMEOUT_FIRST ? "begin its answer"
                                                                   : "go on with its answer");
    fail(call, call->phase_failure, &e);
}

static void on_total_timer(struct timer *t)
{
    struct curl_call *call = (struct curl_call *)((char *)t -
                                                  offsetof(struct curl_call, total_timer));
    struct err e = ERR_INIT;
    (void)err_set(&e, ERR_TIMEOUT, "upstream_timeout",
                  "the upstream took longer than %llu ms in all",
                  (unsigned long long)call->out.total_timeout_ms);
    fail(call, HTTP_FAIL_TIMEOUT_TOTAL, &e);
}

static void set_phase(struct curl_call *call, enum http_failure failure, uint64_t ms)
{
    call->phase_failure = failure;
    if (ms)
        timer_start(call->client->loop, &call->phase_timer, ms, on_phase_timer);
    else
        timer_stop(&call->phase_timer);
}

/* ---- what libcurl calls */

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct curl_call *call = arg;
    (void)purpose;
    /* A proxy's own address was given by an admin. */
    if (!call->out.origin->allow_private && call->out.origin->proxy.n == 0 &&
        address_is_private(&address->addr)) {
        call->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  address->protocol);
}

static int on_ready(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct curl_call *call = arg;
    (void)local;
    (void)remote;
    (void)remote_port;
    call->local_port = local_port;
    call->is_connected = true;
    set_phase(call, HTTP_FAIL_TIMEOUT_FIRST, call->out.first_byte_timeout_ms);
    return CURL_PREREQFUNC_OK;
}

static bool take_header(struct curl_call *call, struct str line)
{
    size_t max = call->client->conf.max_head_bytes;
    struct str name, value = str_cut(line, ':', &name);
    if (name.n == line.n || name.n == 0)
        return true; /* libcurl checked the syntax: a folded or odd line that says nothing to us */
    value = str_trim(value);
    bool ok = head_name(&call->head, name.p, name.n, max) &&
              head_value(&call->head, value.p ? value.p : "", value.n, max);
    head_value_end(&call->head);
    return ok;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct curl_call *call = arg;
    struct str line = str_n(p, size * n);
    if (call->is_head_whole)
        return line.n; /* a trailer */
    if (str_starts(line, STR("HTTP/"))) {
        long status = 0;
        head_clear(&call->head);
        (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        call->status = (int)status;
        return line.n;
    }
    if (str_trim(line).n > 0) {
        if (take_header(call, line))
            return line.n;
        call->is_too_large = true;
        return 0;
    }
    if (call->status >= 200) {
        long connects = 1;
        (void)curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
        call->is_reused = connects == 0;
        call->is_head_whole = true;
        touch(call);
    }
    return line.n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct curl_call *call = arg;
    if (call->is_paused && call->in.n >= HOLD_BYTES) {
        call->is_curl_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    buf_add(&call->in, p, size * n);
    touch(call);
    return size * n;
}

static size_t on_want_body(char *to, size_t size, size_t n, void *arg)
{
    struct curl_call *call = arg;
    size_t take = call->send.n < size * n ? call->send.n : size * n;
    if (take == 0) {
        if (call->is_send_ended)
            return 0;
        call->is_send_starved = true;
        return CURL_READFUNC_PAUSE;
    }
    memcpy(to, call->send.p, take);
    buf_consume(&call->send, take);
    if (call->is_send_full && call->send.n < SEND_LOW_BYTES)
        touch(call);
    return take;
}

/* ---- sockets and time */

static void free_client_if_done(struct curl_client *c)
{
    if (c->is_freed && c->n_handles == 0)
        free(c);
}

static void on_sock_closed(uv_handle_t *handle)
{
    struct sock *s = handle->data;
    struct curl_client *c = s->client;
    free(s);
    c->n_handles--;
    free_client_if_done(c);
}

static void take_results(struct curl_client *c)
{
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
        struct curl_call *call = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call->is_done = true;
        call->result = m->data.result;
        long connects = 0;
        (void)curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
        c->stats->connects += (uint64_t)connects;
        c->stats->reuses += connects == 0 && call->is_connected;
        touch(call);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *s = poll->data;
    struct curl_client *c = s->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0, running = 0;
    if (events & (UV_READABLE | UV_DISCONNECT))
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    (void)curl_multi_socket_action(c->multi, s->fd, flags, &running);
    take_results(c);
    deliver_all(c);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock_arg)
{
    struct curl_client *c = arg;
    struct sock *s = sock_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) { /* at once: the number may soon be another socket's */
            (void)curl_multi_assign(c->multi, fd, NULL);
            (void)uv_poll_stop(&s->poll);
            uv_close((uv_handle_t *)&s->poll, on_sock_closed);
        }
        return 0;
    }
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            abort();
        s->client = c;
        s->fd = fd;
        s->poll.data = s;
        if (uv_poll_init_socket(loop_uv(c->loop), &s->poll, fd) != 0) {
            free(s);
            return -1;
        }
        c->n_handles++;
        (void)curl_multi_assign(c->multi, fd, s);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&s->poll, events, on_poll) == 0 ? 0 : -1;
}

static void on_uv_timer(uv_timer_t *timer)
{
    struct curl_client *c = timer->data;
    int running = 0;
    (void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_results(c);
    deliver_all(c);
}

static int on_want_timer(CURLM *multi, long ms, void *arg)
{
    struct curl_client *c = arg;
    (void)multi;
    if (ms < 0)
        (void)uv_timer_stop(&c->timer);
    else
        (void)uv_timer_start(&c->timer, on_uv_timer, (uint64_t)ms, 0);
    return 0;
}

/* ---- handing on */

static enum http_failure failure_of(const struct curl_call *call)
{
    if (call->is_refused)
        return HTTP_FAIL_POLICY;
    switch (call->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTP_FAIL_DNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
        return HTTP_FAIL_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
        return HTTP_FAIL_TLS;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_FAIL_TIMEOUT_CONNECT; /* the only time that is left to libcurl */
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        /* a proxy that refused, too */
        return call->is_connected ? HTTP_FAIL_CLOSED : HTTP_FAIL_CONNECT;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2_STREAM:
        return HTTP_FAIL_CLOSED;
    default:
        return HTTP_FAIL_PROTOCOL;
    }
}

static void end_call(struct curl_call *call)
{
    if (call->result == CURLE_OK && call->is_head_whole) {
        const struct http_call_handler *h = call->handler;
        void *arg = call->arg;
        free_call(call);
        h->on_end(arg);
        return;
    }
    enum http_failure how = failure_of(call);
    struct err e = ERR_INIT;
    /* an address, with a password */
    const char *why = *call->error && !strchr(call->error, '@') ? call->error
                                                                : curl_easy_strerror(call->result);
    if (how == HTTP_FAIL_POLICY)
        (void)err_set(&e, ERR_FORBIDDEN, "private_address",
                      "'" STR_FMT "' is a private address, which this upstream may not have",
                      STR_ARG(call->out.origin->host));
    else if (call->is_too_large)
        (void)err_set(&e, ERR_UPSTREAM, "upstream_protocol",
                      "the head of the upstream's answer is too large");
    else if (call->out.origin->proxy.n && (how == HTTP_FAIL_CONNECT || how == HTTP_FAIL_DNS)) {
        /* where it stands is told to the operator alone */
        log_info(NULL, "proxy.failed", "host=" STR_FMT " error=%s", STR_ARG(call->out.origin->host),
                 why);
        (void)err_set(&e, ERR_UPSTREAM, "upstream_failed",
                      "the proxy of '" STR_FMT "' could not be reached, or did not connect",
                      STR_ARG(call->out.origin->host));
    } else {
        (void)err_set(&e, how == HTTP_FAIL_TIMEOUT_CONNECT ? ERR_TIMEOUT : ERR_UPSTREAM,
                      "upstream_failed", "%s", why);
    }
    fail(call, how, &e);
}

static void give_head(struct curl_call *call)
{
    struct http_header *h = ARENA_ARRAY(call->arena, struct http_header, call->head.n + 1);
    (void)head_copy(&call->head, NULL, h);
    call->is_head_given = true;
    if (call->handler->on_head)
        call->handler->on_head(call->arg, call->status, h, call->head.n);
}

static void deliver(struct curl_call *call)
{
    bool is_gone = false;
    call->is_gone = &is_gone;
    if (call->is_head_whole && !call->is_head_given) {
        give_head(call);
        if (is_gone)
            return;
    }
    if (call->in.n > 0 && (!call->is_paused || call->is_done)) {
        struct buf in = call->in;
        buf_init(&call->in, SIZE_MAX / 4);
        if (call->handler->on_body)
            call->handler->on_body(call->arg, buf_str(&in));
        if (!is_gone && !call->is_done && call->handler->on_read_end)
            call->handler->on_read_end(call->arg);
        buf_done(&in);
        if (is_gone)
            return;
    }
    if (call->is_head_given && !call->is_done)
        set_phase(call, HTTP_FAIL_TIMEOUT_BETWEEN,
                  call->is_paused ? 0 : call->out.between_timeout_ms);
    if (call->is_send_full && call->send.n < SEND_LOW_BYTES && !call->is_done) {
        call->is_send_full = false;
        if (call->handler->on_writable)
            call->handler->on_writable(call->arg);
        if (is_gone)
            return;
    }
    call->is_gone = NULL;
    if (call->is_curl_paused && !call->is_paused) {
        call->is_curl_paused = false;
        (void)curl_easy_pause(call->easy, CURLPAUSE_CONT); /* may collect more at once */
    }
    if (call->is_send_starved && (call->send.n > 0 || call->is_send_ended)) {
        call->is_send_starved = false;
        (void)curl_easy_pause(call->easy, CURLPAUSE_CONT);
    }
    if (call->is_done && call->in.n == 0)
        end_call(call);
}

static void deliver_all(struct curl_client *c)
{
    while (c->touched) {
        struct curl_call *call = c->touched;
        untouch(call);
        deliver(call);
    }
}

static void run_deliver(struct loop_defer *d)
{
    struct curl_client *c = (struct curl_client *)((char *)d -
                                                   offsetof(struct curl_client, deliver));
    take_results(c);
    deliver_all(c);
}

/* ---- starting */

static struct str url_of(struct curl_call *call)
{
    const struct http_origin *o = call->out.origin;
    bool is_six = str_index(o->host, ':') < o->host.n;
    struct str target = call->out.target;
    return str_fmt(call->arena, "%s://%s" STR_FMT "%s:%u" STR_FMT, o->is_tls ? "https" : "http",
                   is_six ? "[" : "", STR_ARG(o->host), is_six ? "]" : "", (unsigned)o->port,
                   STR_ARG(target.n ? target : STR("/")));
}

static void add_header(struct curl_call *call, struct str name, struct str value)
{
    struct str line = str_fmt(call->arena, value.n ? STR_FMT ": " STR_FMT : STR_FMT ";" STR_FMT,
                              STR_ARG(name), STR_ARG(value));
    char *p = arena_alloc(call->arena, line.n + 1);
    for (size_t i = 0; i < line.n; i++) /* a line end would start a header of its own */
        p[i] = line.p[i] == '\r' || line.p[i] == '\n' || line.p[i] == '\0' ? ' ' : line.p[i];
    p[line.n] = '\0';
    struct curl_slist *grown = curl_slist_append(call->headers, p);
    if (!grown)
        abort();
    call->headers = grown;
}

static void remove_header(struct curl_call *call, const char *text) /* one that libcurl would add */
{
    struct curl_slist *grown = curl_slist_append(call->headers, text);
    if (!grown)
        abort();
    call->headers = grown;
}

static void set_body(struct curl_call *call)
{
    const struct http_out *out = &call->out;
    CURL *easy = call->easy;
    bool has_body = out->body.n > 0 || out->is_streamed || out->method == HTTP_POST ||
                    out->method == HTTP_PUT || out->method == HTTP_PATCH;
    if (out->is_streamed) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_want_body);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
        if (out->stream_length >= 0)
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)out->stream_length);
        else if (!out->origin->is_http2)
            add_header(call, STR("Transfer-Encoding"), STR("chunked"));
    } else if (has_body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, out->body.p ? out->body.p : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)out->body.n);
    }
    if (out->method == HTTP_HEAD)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (out->method != (has_body ? HTTP_POST : HTTP_GET))
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, http_method_name(out->method));
}

static void set_options(struct curl_call *call)
{
    struct curl_client *c = call->client;
    const struct http_origin *o = call->out.origin;
    CURL *easy = call->easy;
    call->is_http2 = o->is_http2;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_URL, url_of(call).p);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     !o->is_http2 ? (long)CURL_HTTP_VERSION_1_1
                     : o->is_tls  ? (long)CURL_HTTP_VERSION_2TLS
                                  : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, o->is_http2 ? 1L : 0L);
    /* empty: none, not the environment's */
    curl_easy_setopt(easy, CURLOPT_PROXY, str_z(call->arena, o->proxy));
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, o->proxy.n ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     call->out.connect_timeout_ms ? (long)call->out.connect_timeout_ms : 300000L);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)(c->conf.dns_ttl_ms / 1000));
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)(c->conf.idle_timeout_ms / 1000));
    curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_ready);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    if (o->ca_file.n > 0)
        curl_easy_setopt(easy, CURLOPT_CAINFO, str_z(call->arena, o->ca_file));
    if (o->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_headers(struct curl_call *call)
{
    const struct http_out *out = &call->out;
    bool has_type = false, has_accept = false;
    add_header(call, STR("Host"), out->origin->host_header);
    for (size_t i = 0; i < ARRAY_LEN(out->lines); i++)
        for (struct str rest = out->lines[i], line, name; rest.n > 0;) {
            rest = str_cut(rest, '\n', &line);
            struct str value = str_cut(line, ':', &name);
            add_header(call, name, str_trim(value));
            has_type |= str_eq_nocase(name, STR("content-type"));
        }
    for (size_t i = 0; i < out->n_headers; i++) {
        add_header(call, out->headers[i].name, out->headers[i].value);
        has_type |= str_eq_nocase(out->headers[i].name, STR("content-type"));
        has_accept |= str_eq_nocase(out->headers[i].name, STR("accept"));
    }
    remove_header(call, "Expect:");
    if (!has_type)
        remove_header(call, "Content-Type:");
    if (!has_accept)
        remove_header(call, "Accept:");
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

/* Behind a proxy only an address in the url itself can be checked. */
static bool is_private_literal(const struct http_origin *o)
{
    char host[64];
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    if (o->host.n >= sizeof host)
        return false;
    memcpy(host, o->host.p, o->host.n);
    host[o->host.n] = '\0';
    if (uv_ip4_addr(host, 0, &four) == 0)
        return address_is_private((struct sockaddr *)&four);
    if (uv_ip6_addr(host, 0, &six) == 0)
        return address_is_private((struct sockaddr *)&six);
    return str_is(o->host, "localhost");
}

struct curl_call *curl_call_start(struct curl_client *c, const struct http_out *out,
                                  const struct http_call_handler *h, void *arg)
{
    struct curl_call *call = calloc(1, sizeof *call);
    if (!call || !(call->easy = curl_easy_init()))
        abort();
    call->base.is_curl = true;
    call->client = c;
    call->out = *out;
    call->handler = h;
    call->arg = arg;
    call->arena = arena_new();
    head_init(&call->head);
    buf_init(&call->in, SIZE_MAX / 4);
    buf_init(&call->send, SIZE_MAX / 4);
    call->prev = &c->calls;
    call->next = c->calls;
    if (call->next)
        call->next->prev = &call->next;
    c->calls = call;
    set_options(call);
    set_body(call);
    set_headers(call);
    if (out->total_timeout_ms)
        timer_start(c->loop, &call->total_timer, out->total_timeout_ms, on_total_timer);
    call->is_refused = !out->origin->allow_private && is_private_literal(out->origin);
    if (call->is_refused || curl_multi_add_handle(c->multi, call->easy) != CURLM_OK) {
        call->is_done = true;
        call->result = CURLE_FAILED_INIT;
        touch(call);
    }
    return call;
}

void curl_call_cancel(struct curl_call *call)
{
    free_call(call);
}

void curl_call_pause(struct curl_call *call)
{
    call->is_paused = true;
    if (call->is_head_given)
        set_phase(call, HTTP_FAIL_TIMEOUT_BETWEEN, 0);
}

void curl_call_resume(struct curl_call *call)
{
    call->is_paused = false;
    touch(call);
}

bool curl_call_send(struct curl_call *call, struct str bytes)
{
    if (!call->out.is_streamed || call->is_send_ended)
        return true;
    buf_str_add(&call->send, bytes);
    call->is_send_full = call->send.n >= SEND_HIGH_BYTES;
    touch(call);
    return !call->is_send_full;
}

void curl_call_send_end(struct curl_call *call)
{
    call->is_send_ended = true;
    touch(call);
}

bool curl_call_is_sent(const struct curl_call *call)
{
    curl_off_t n = 0;
    return !call->out.is_streamed && call->easy &&
           curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &n) == CURLE_OK &&
           n >= (curl_off_t)call->out.body.n;
}

bool curl_call_is_reused(const struct curl_call *call)
{
    return call->is_reused;
}

/* ---- life of the client */

static void on_timer_closed(uv_handle_t *handle)
{
    struct curl_client *c = handle->data;
    c->n_handles--;
    free_client_if_done(c);
}

struct curl_client *curl_client_new(struct loop *l, const struct http_client_conf *conf,
                                    struct http_client_stats *stats)
{
    struct err e = ERR_INIT; /* was started when the configuration named the origin */
    struct curl_client *c = calloc(1, sizeof *c);
    if (!c || !curl_start_once(&e) || !(c->multi = curl_multi_init()))
        abort();
    c->loop = l;
    c->conf = *conf;
    c->stats = stats;
    c->touched_last = &c->touched;
    c->deliver.fn = run_deliver;
    c->timer.data = c;
    (void)uv_timer_init(loop_uv(l), &c->timer);
    c->n_handles = 1;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_want_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 256L);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)conf->max_conns_per_origin);
    return c;
}

void curl_client_free(struct curl_client *c)
{
    if (!c)
        return;
    while (c->calls)
        free_call(c->calls);
    loop_undefer(c->loop, &c->deliver);
    (void)curl_multi_cleanup(c->multi);
    c->is_freed = true;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
