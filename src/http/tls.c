/* tls.c - OpenSSL behind a BIO that reads from a view and writes into a buf.
 * A BIO of our own rather than BIO_s_mem: those keep the largest buffer they ever needed, for each connection. */
#include "http/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/banned.h"

struct tls_context {
    SSL_CTX *ctx;
};

struct tls {
    SSL *ssl;
    struct str *in; /* only during a call */
    struct buf *out;
    struct tls_session **session;
};

static BIO_METHOD *bio_method;
static int ssl_index;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int bio_read(BIO *bio, char *to, int n)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    if (!t->in || t->in->n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t take = t->in->n < (size_t)n ? t->in->n : (size_t)n;
    memcpy(to, t->in->p, take);
    *t->in = str_skip(*t->in, take);
    return (int)take;
}

static int bio_write(BIO *bio, const char *from, int n)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    /* without a place to write only while it is freed: then nobody listens */
    if (n <= 0 || !t->out)
        return n;
    buf_add(t->out, from, (size_t)n);
    return n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP ? 1 : 0;
}

static void set_up(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "view");
    ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (!bio_method || ssl_index < 0)
        abort();
    (void)BIO_meth_set_read(bio_method, bio_read);
    (void)BIO_meth_set_write(bio_method, bio_write);
    (void)BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_get_ex_data(ssl, ssl_index);
    if (!t || !t->session)
        return 0;
    tls_session_free(*t->session);
    *t->session = (struct tls_session *)session;
    return 1; /* the reference is ours now */
}

static bool set_error(struct err *e, const char *doing)
{
    char text[200] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return err_set(e, ERR_UPSTREAM, "tls", "%s%s%s", doing, code ? ": " : "", text);
}

struct tls_context *tls_context_new(struct str ca_file, bool insecure, struct err *e)
{
    (void)pthread_once(&once, set_up);
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        abort();
    static const unsigned char http11[] = "\x08http/1.1";
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_alpn_protos(ctx, http11, sizeof http11 - 1);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    SSL_CTX_set_verify(ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (ca_file.n > 0) {
        char path[4096];
        if (ca_file.n >= sizeof path) {
            SSL_CTX_free(ctx);
            (void)err_set(e, ERR_INPUT, "path_too_long", "the path of the ca_file is too long");
            return NULL;
        }
        memcpy(path, ca_file.p, ca_file.n);
        path[ca_file.n] = '\0';
        if (SSL_CTX_load_verify_locations(ctx, path, NULL) != 1) {
            SSL_CTX_free(ctx);
            (void)set_error(e, "cannot read certificates from the ca_file");
            return NULL;
        }
    } else {
        (void)SSL_CTX_set_default_verify_paths(ctx);
    }
    struct tls_context *x = malloc(sizeof *x);
    if (!x)
        abort();
    x->ctx = ctx;
    return x;
}

void tls_context_free(struct tls_context *x)
{
    if (!x)
        return;
    SSL_CTX_free(x->ctx);
    free(x);
}

struct tls *tls_new(struct tls_context *x, struct str host, struct tls_session **session)
{
    struct tls *t = calloc(1, sizeof *t);
    char name[256];
    if (!t || host.n >= sizeof name || !(t->ssl = SSL_new(x->ctx)))
        abort();
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    BIO *bio = BIO_new(bio_method);
    if (!bio)
        abort();
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    (void)SSL_set_ex_data(t->ssl, ssl_index, t);
    SSL_set_connect_state(t->ssl);
    unsigned char address[16];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        (void)X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), name);
    } else {
        (void)SSL_set_tlsext_host_name(t->ssl, name);
        SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        (void)SSL_set1_host(t->ssl, name);
    }
    t->session = session;
    if (session && *session)
        (void)SSL_set_session(t->ssl, (SSL_SESSION *)*session);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    t->in = NULL;
    t->out = NULL;
    t->session = NULL;
    /* its session stays usable */
    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    free(t);
}

void tls_session_free(struct tls_session *s)
{
    SSL_SESSION_free((SSL_SESSION *)s);
}

static enum tls_step step_of(struct tls *t, int rc, const char *doing, struct err *e)
{
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        break;
    }
    long verdict = SSL_get_verify_result(t->ssl);
    if (verdict != X509_V_OK && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE) {
        (void)err_set(e, ERR_UPSTREAM, "tls", "the certificate is refused: %s",
                      X509_verify_cert_error_string(verdict));
        ERR_clear_error();
    } else {
        (void)set_error(e, doing);
    }
    return TLS_FAILED;
}

enum tls_step tls_handshake(struct tls *t, struct str *in, struct buf *out, struct err *e)
{
    t->in = in;
    t->out = out;
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    enum tls_step step = rc == 1 ? TLS_DONE : step_of(t, rc, "the TLS handshake failed", e);
    t->in = NULL;
    t->out = NULL;
    return step;
}

enum tls_step tls_read(struct tls *t, struct str *in, struct buf *out, char *to, size_t cap,
                       size_t *n, struct err *e)
{
    t->in = in;
    t->out = out;
    *n = 0;
    ERR_clear_error();
    enum tls_step step = TLS_DONE;
    while (*n < cap && step == TLS_DONE) {
        int rc = SSL_read(t->ssl, to + *n, (int)(cap - *n));
        if (rc > 0)
            *n += (size_t)rc;
        else
            step = step_of(t, rc, "the TLS connection failed", e);
    }
    t->in = NULL;
    t->out = NULL;
    return step;
}

bool tls_write(struct tls *t, struct str bytes, struct buf *out)
{
    bool ok = true;
    t->out = out;
    ERR_clear_error();
    while (ok && bytes.n > 0) {
        size_t n = bytes.n < (1u << 30) ? bytes.n : 1u << 30;
        int rc = SSL_write(t->ssl, bytes.p, (int)n);
        ok = rc > 0;
        if (ok)
            bytes = str_skip(bytes, (size_t)rc);
    }
    t->out = NULL;
    return ok;
}
