/* fetch.c - a blocking libcurl request with a limit on the reply and on where it may go. */
#include "http/fetch.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/banned.h"
#include "base/buf.h"
#include "http/curl.h"
#include <arpa/inet.h>

static bool four_is_private(uint32_t a) /* host order; RFC 6890 and its successors */
{
    static const struct {
        uint32_t net, mask;
    } nets[] = {
        {0x00000000, 0xff000000}, /* this network */
        {0x0a000000, 0xff000000}, /* RFC 1918 */
        {0x64400000, 0xffc00000}, /* carrier NAT */
        {0x7f000000, 0xff000000}, /* loopback */
        {0xa9fe0000, 0xffff0000}, /* link-local, metadata services */
        {0xac100000, 0xfff00000}, /* RFC 1918 */
        {0xc0000000, 0xffffff00}, /* protocol assignments */
        {0xc0000200, 0xffffff00}, /* documentation */
        {0xc0a80000, 0xffff0000}, /* RFC 1918 */
        {0xc6120000, 0xfffe0000}, /* benchmarking */
        {0xc6336400, 0xffffff00}, /* documentation */
        {0xcb007100, 0xffffff00}, /* documentation */
        {0xe0000000, 0xf0000000}, /* multicast */
        {0xf0000000, 0xf0000000}, /* reserved, broadcast */
    };
    for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
        if ((a & nets[i].mask) == nets[i].net)
            return true;
    }
    return false;
}

static uint32_t four_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool six_is_private(const uint8_t p[16])
{
    static const uint8_t zero[16];
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(p, zero, 10) == 0) {
        if (p[10] == 0xff && p[11] == 0xff) /* mapped */
            return four_is_private(four_at(p + 12));
        if (p[10] == 0 && p[11] == 0) /* unspecified, loopback, the abandoned "compatible" form */
            return true;
    }
    if (memcmp(p, nat64, 12) == 0)
        return four_is_private(four_at(p + 12));
    if (p[0] == 0x20 && p[1] == 0x02) /* 6to4 carries an IPv4 address */
        return four_is_private(four_at(p + 2));
    if (p[0] == 0x20 && p[1] == 0x01 && p[2] == 0 && p[3] == 0) /* Teredo leads anywhere */
        return true;
    return (p[0] & 0xfe) == 0xfc ||                   /* unique local */
           (p[0] == 0xfe && (p[1] & 0x80) == 0x80) || /* link-local, site-local */
           p[0] == 0xff;                              /* multicast */
}

bool address_is_private(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, sa, sizeof four);
        return four_is_private(ntohl(four.sin_addr.s_addr));
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, sa, sizeof six);
        return six_is_private(six.sin6_addr.s6_addr);
    }
    return true; /* no other family leads to a public host */
}

#define CANCEL_MS 20 /* between two looks at whether it is cancelled */

struct run {
    struct arena *arena;
    const struct fetch *fetch;
    struct buf body, head;
    bool is_refused;
};

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct run *run = arg;
    (void)purpose;
    if (!run->fetch->allow_private && run->fetch->proxy.n == 0 &&
        address_is_private(&address->addr)) {
        run->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct run *run = arg;
    buf_add(&run->body, p, size * n);
    return buf_failed(&run->body) ? 0 : size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct run *run = arg;
    if (str_starts(str_n(p, size * n), STR("HTTP/")))
        buf_clear(&run->head); /* of a redirect, a 1xx or a proxy's CONNECT: the last head counts */
    buf_add(&run->head, p, size * n);
    return buf_failed(&run->head) ? 0 : size * n;
}

static void set_options(CURL *curl, struct run *run, char *error)
{
    struct arena *a = run->arena;
    const struct fetch *f = run->fetch;
    bool has_body = f->body.n > 0 || f->method == HTTP_POST || f->method == HTTP_PUT ||
                    f->method == HTTP_PATCH;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_URL, str_z(a, f->url));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, f->max_redirects ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)f->max_redirects);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
    /* empty: none, not the environment's */
    curl_easy_setopt(curl, CURLOPT_PROXY, str_z(a, f->proxy));
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, run);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, run);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, run);
    if (f->ca_file.n > 0)
        curl_easy_setopt(curl, CURLOPT_CAINFO, str_z(a, f->ca_file));
    if (has_body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, f->body.p ? f->body.p : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.n);
    }
    if (f->method == HTTP_HEAD)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (f->method !=
             (has_body ? HTTP_POST : HTTP_GET)) /* else a redirect could not change it */
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, http_method_name(f->method));
}

static bool add_headers(struct run *run, struct curl_slist **list)
{
    const struct fetch *f = run->fetch;
    struct curl_slist *grown = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; grown && i < f->n_headers; i++) {
        struct str name = f->headers[i].name, value = f->headers[i].value;
        *list = grown;
        if (str_index(value, '\r') < value.n || str_index(value, '\n') < value.n)
            return false;
        grown = curl_slist_append(
            *list, str_fmt(run->arena, value.n ? STR_FMT ": " STR_FMT : STR_FMT ";" STR_FMT,
                           STR_ARG(name), STR_ARG(value))
                       .p);
    }
    if (grown)
        *list = grown;
    return grown != NULL;
}

static void split_head(struct run *run, struct fetched *out)
{
    struct str rest = str_dup(run->arena, buf_str(&run->head)), line;
    size_t max = 0;
    for (size_t i = 0; i < rest.n; i++)
        max += rest.p[i] == '\n';
    out->headers = ARENA_ARRAY(run->arena, struct http_header, max + 1);
    rest = str_cut(rest, '\n', &line); /* the status line */
    while (rest.n > 0) {
        struct str name, value;
        rest = str_cut(rest, '\n', &line);
        if (str_index(line, ':') == line.n)
            continue;
        value = str_trim(str_cut(line, ':', &name));
        out->headers[out->n_headers++] = (struct http_header){
            .name = str_lower(run->arena, str_trim(name)), .value = value};
    }
    out->content_type = http_header_get(out->headers, out->n_headers, "content-type");
}

static bool explain(const struct run *run, CURLcode rc, const char *error, struct err *e)
{
    if (run->is_refused)
        return err_set(e, ERR_FORBIDDEN, "private_address", "the url leads to a private address");
    if (buf_failed(&run->body) || buf_failed(&run->head))
        return err_set(e, ERR_TOO_LARGE, "reply_too_large", "the reply is larger than %zu bytes",
                       run->fetch->max_bytes);
    const char *text = *error ? error : curl_easy_strerror(rc);
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return err_set(e, ERR_CANCELLED, "cancelled", "Cancelled");
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return err_set(e, ERR_TIMEOUT, "fetch_timeout", "%s", text);
    if (rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_RESOLVE_PROXY)
        return err_set(e, ERR_UPSTREAM, "fetch_unresolved", "%s", text);
    if (rc == CURLE_COULDNT_CONNECT)
        return err_set(e, ERR_UPSTREAM, "fetch_refused", "%s", text);
    if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL)
        return err_set(e, ERR_INPUT, "invalid_url", "%s", text);
    return err_set(e, ERR_UPSTREAM, "fetch_failed", "%s", text);
}

/* 127.1, 0x7f.1, 2130706433: what resolvers read as an address though it is not written as one. */
static bool is_odd_number(struct str host)
{
    struct in_addr v4;
    char z[64];
    size_t dot = host.n;
    while (dot > 0 && host.p[dot - 1] != '.')
        dot--;
    struct str last = str_skip(host, dot);
    if (last.n == 0 || last.p[0] < '0' || last.p[0] > '9')
        return false;
    if (host.n >= sizeof z)
        return true;
    memcpy(z, host.p, host.n);
    z[host.n] = 0;
    return inet_pton(AF_INET, z, &v4) != 1;
}

/* A proxy connects for us, so no address can be looked at: at least no host that says itself that it is a private one. */
static bool names_private(struct arena *a, struct str text)
{
    struct url url;
    return !url_parse(a, text, &url, NULL) || host_is_private(url.host) || is_odd_number(url.host);
}

/* One that can be cancelled is looked after between waits. (libcurl calls for its progress once a second.) */
static CURLcode transfer(CURL *curl, const struct run *run)
{
    const struct fetch *f = run->fetch;
    if (!f->is_cancelled)
        return curl_easy_perform(curl);
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    CURLM *multi = curl_multi_init();
    int running = 1, left;
    if (!multi || curl_multi_add_handle(multi, curl) != CURLM_OK)
        goto out;
    while (running) {
        if (atomic_load(f->is_cancelled)) {
            rc = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            break;
        if (running)
            (void)curl_multi_poll(multi, NULL, 0, CANCEL_MS, NULL);
    }
    for (const CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE)
            rc = m->data.result;
    (void)curl_multi_remove_handle(multi, curl);
out:
    (void)curl_multi_cleanup(multi);
    return rc;
}

/* The request, and where it is sent on to: through a proxy each hop is looked at before it is asked for. */
static CURLcode perform(CURL *curl, struct run *run)
{
    const struct fetch *f = run->fetch;
    if (f->allow_private || f->proxy.n == 0)
        return transfer(curl, run);
    const char *url = str_z(run->arena, f->url), *next = NULL;
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    for (unsigned hops = 0;; hops++) {
        if (names_private(run->arena, str_of(url))) {
            run->is_refused = true;
            return CURLE_COULDNT_CONNECT;
        }
        CURLcode rc = transfer(curl, run);
        if (rc != CURLE_OK || f->max_redirects == 0 ||
            curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next) != CURLE_OK || !next)
            return rc;
        if (hops == f->max_redirects)
            return CURLE_TOO_MANY_REDIRECTS;
        url = str_z(run->arena, str_of(next)); /* next is the handle's */
        buf_clear(&run->body);
        curl_easy_setopt(curl, CURLOPT_URL, url);
    }
}

bool fetch_run(struct arena *a, const struct fetch *f, struct fetched *out, struct err *e)
{
    *out = (struct fetched){.status = 0};
    if (!curl_start_once(e))
        return false;
    CURL *curl = curl_easy_init();
    if (!curl)
        return err_set(e, ERR_INTERNAL, "fetch_failed", "libcurl has no memory");
    struct run run = {.arena = a, .fetch = f};
    buf_init_arena(&run.body, a, f->max_bytes);
    buf_init_arena(&run.head, a, 256 * 1024);
    char error[CURL_ERROR_SIZE] = "";
    struct curl_slist *list = NULL;
    bool ok = false;
    set_options(curl, &run, error);
    if (!add_headers(&run, &list)) {
        err_set(e, ERR_INPUT, "invalid_header", "a header holds a line end");
        goto out;
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    CURLcode rc = perform(curl, &run);
    if (rc != CURLE_OK) {
        explain(&run, rc, error, e);
        goto out;
    }
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    out->status = (int)status;
    out->body = buf_str(&run.body);
    split_head(&run, out);
    ok = true;
out:
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    return ok;
}

bool host_is_private(struct str host)
{
    char z[256];
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (host.n >= sizeof z)
        return false;
    memcpy(z, host.p, host.n);
    z[host.n] = 0;
    if (str_eq_nocase(host, STR("localhost")) || str_ends(host, STR(".localhost")) ||
        str_ends(host, STR(".local")) || str_ends(host, STR(".internal")) ||
        str_ends(host, STR(".home.arpa")))
        return true;
    if (!str_contains(host, STR(".")) && !str_contains(host, STR(":")))
        return true; /* one word, as in a compose file: no public name is so short */
    if (inet_pton(AF_INET, z, &v4.sin_addr) == 1)
        return address_is_private((const struct sockaddr *)(const void *)&v4);
    if (inet_pton(AF_INET6, z, &v6.sin6_addr) == 1)
        return address_is_private((const struct sockaddr *)(const void *)&v6);
    return false;
}
