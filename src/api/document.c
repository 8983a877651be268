#include "api/document.h"
#include "api/coding.h"
#include "base/codec.h"
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

#define TAG_DIGITS 24

/* A strong tag means these very bytes (RFC 9110, 8.8.1): each form has its own. */
struct form {
    char *bytes; /* NULL: there is none */
    size_t n;
    char tag[TAG_DIGITS + 8];
};
struct document {
    pthread_mutex_t lock; /* of making it: those who ask meanwhile wait for it */
    bool is_made;
    struct form plain, gzip;
};

struct document *document_new(void)
{
    struct document *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void document_free(struct document *d)
{
    if (!d)
        return;
    free(d->plain.bytes);
    free(d->gzip.bytes);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* Whoever cannot compress it hands it out as it is. */
static void compress_into(struct form *f, struct str text)
{
    z_stream z = {.next_in = (const unsigned char *)text.p, .avail_in = (uInt)text.n};
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    size_t most = deflateBound(&z, (uLong)text.n);
    char *bytes = malloc(most);
    z.next_out = (unsigned char *)bytes;
    z.avail_out = (uInt)most;
    bool ok = bytes && deflate(&z, Z_FINISH) == Z_STREAM_END;
    f->n = z.total_out;
    (void)deflateEnd(&z);
    char *exact = ok ? realloc(bytes, f->n) : NULL;
    if (!exact)
        free(bytes);
    f->bytes = exact;
}

static void make(struct document *d)
{
    struct arena *a = arena_new();
    struct str text = openapi_document(a);
    uint8_t hash[SHA256_SIZE];
    char hex[TAG_DIGITS];
    d->plain.bytes = malloc(text.n);
    if (!d->plain.bytes)
        abort();
    memcpy(d->plain.bytes, text.p, text.n);
    d->plain.n = text.n;
    compress_into(&d->gzip, text);
    sha256(text, hash);
    hex_encode(hex, hash, sizeof hex / 2);
    (void)snprintf(d->plain.tag, sizeof d->plain.tag, "\"%.*s\"", TAG_DIGITS, hex);
    (void)snprintf(d->gzip.tag, sizeof d->gzip.tag, "\"%.*s-gzip\"", TAG_DIGITS, hex);
    arena_free(a);
    d->is_made = true;
}

bool document_reply(struct control_call *c)
{
    struct document *d = c->control->document;
    pthread_mutex_lock(&d->lock);
    if (!d->is_made)
        make(d);
    pthread_mutex_unlock(&d->lock);
    bool is_gzip = d->gzip.bytes && coding_is_taken(control_head(c, "accept-encoding"), "gzip");
    const struct form *f = is_gzip ? &d->gzip : &d->plain;
    control_header(c, STR("etag"), str_of(f->tag));
    control_header(c, STR("vary"), STR("accept-encoding"));
    if (control_has_tag(c, str_of(f->tag))) {
        c->status = 304;
        return true;
    }
    if (is_gzip)
        control_header(c, STR("content-encoding"), STR("gzip"));
    /* lent, not copied: it stays as long as there are workers and loops */
    c->out = (struct buf){.p = f->bytes, .n = f->n, .cap = f->n, .max = f->n};
    return true;
}
