/* decode.c - content encodings: of request bodies, and of replies from upstreams that encode them although they were asked not to.
 * gzip, deflate, br. Bounded by what may come out. */
#include "relay/request.h"
#include <brotli/decode.h>
#include <stdlib.h>
#include <zlib.h>

static bool too_large(struct err *e, const struct buf *b, size_t max)
{
    if (b->lacks_memory)
        return err_no_memory(e);
    return err_set(e, ERR_TOO_LARGE, "request_too_large",
                   "The request body is larger than %zu bytes once decoded", max);
}

static bool bad(struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, "invalid_body", "The request body is not valid %s", what);
}

/* RFC 1952, 2.2: gzip data is one member behind another. */
static int next_member(z_stream *z, int rc, bool is_gzip)
{
    return rc == Z_STREAM_END && is_gzip && z->avail_in > 0 ? inflateReset(z) : rc;
}

static bool inflate_body(struct str body, int window_bits, struct buf *b, size_t max, struct err *e)
{
    z_stream z = {0};
    char chunk[16384];
    int rc;
    if (inflateInit2(&z, window_bits) != Z_OK)
        return err_set(e, ERR_INTERNAL, "inflate", "cannot start decompression");
    z.next_in = (Bytef *)(uintptr_t)body.p;
    z.avail_in = (uInt)body.n;
    do {
        z.next_out = (Bytef *)chunk;
        z.avail_out = sizeof chunk;
        rc = inflate(&z, Z_NO_FLUSH);
        buf_add(b, chunk, sizeof chunk - z.avail_out);
        rc = next_member(&z, rc, window_bits > 15);
    } while (rc == Z_OK && !buf_failed(b) && (z.avail_in > 0 || z.avail_out == 0));
    bool is_whole = rc == Z_STREAM_END && z.avail_in == 0;
    inflateEnd(&z);
    if (buf_failed(b))
        return too_large(e, b, max);
    return is_whole || bad(e, "gzip or deflate data");
}

static bool brotli_body(struct str body, struct buf *b, size_t max, struct err *e)
{
    BrotliDecoderState *s = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    const uint8_t *in = (const uint8_t *)body.p;
    size_t n_in = body.n;
    uint8_t chunk[16384];
    BrotliDecoderResult rc;
    if (!s)
        return err_set(e, ERR_INTERNAL, "brotli", "cannot start decompression");
    do {
        uint8_t *out = chunk;
        size_t n_out = sizeof chunk;
        rc = BrotliDecoderDecompressStream(s, &n_in, &in, &n_out, &out, NULL);
        buf_add(b, chunk, sizeof chunk - n_out);
    } while (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && !buf_failed(b));
    BrotliDecoderDestroyInstance(s);
    if (buf_failed(b))
        return too_large(e, b, max);
    return (rc == BROTLI_DECODER_RESULT_SUCCESS && n_in == 0) || bad(e, "brotli data");
}

bool decode_body(struct arena *a, struct str encoding, struct str body, size_t max, struct str *out,
                 struct err *e)
{
    struct buf b;
    bool ok;
    encoding = str_trim(encoding);
    *out = body;
    if (encoding.n == 0 || str_eq_nocase(encoding, STR("identity")))
        return true;
    buf_init_arena(&b, a, max);
    if (str_eq_nocase(encoding, STR("gzip")) || str_eq_nocase(encoding, STR("x-gzip")))
        ok = inflate_body(body, 15 + 16, &b, max, e);
    else if (str_eq_nocase(encoding, STR("deflate"))) /* RFC 9110, 8.4.1.2: zlib format */
        ok = inflate_body(body, 15, &b, max, e);
    else if (str_eq_nocase(encoding, STR("br")))
        ok = brotli_body(body, &b, max, e);
    else
        return err_set(e, ERR_MEDIA_TYPE, "unsupported_content_encoding",
                       "Content-Encoding '" STR_FMT
                       "' is not supported: send gzip, deflate, br or none",
                       STR_ARG(str_first(encoding, 40)));
    *out = buf_str(&b);
    return ok;
}

/* ---- replies ---- */

struct coding {
    z_stream z;
    BrotliDecoderState *brotli; /* NULL: zlib's */
    bool is_gzip, has_begun, is_whole, is_ill;
    char name[32];
};

static bool is_zlib(struct coding *c, struct str name)
{
    int bits = str_eq_nocase(name, STR("gzip")) || str_eq_nocase(name, STR("x-gzip")) ? 15 + 16
               : str_eq_nocase(name, STR("deflate"))                                  ? 15
                                                                                      : 0;
    c->is_gzip = bits > 15;
    return bits && inflateInit2(&c->z, bits) == Z_OK;
}

struct coding *coding_new(struct str name)
{
    name = str_trim(name);
    if (name.n == 0 || str_eq_nocase(name, STR("identity")))
        return NULL;
    struct coding *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    (void)snprintf(c->name, sizeof c->name, STR_FMT, STR_ARG(str_first(name, 30)));
    if (str_eq_nocase(name, STR("br")))
        c->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    c->is_ill = !c->brotli && !is_zlib(c, name);
    return c;
}

void coding_free(struct coding *c)
{
    if (!c)
        return;
    if (c->brotli)
        BrotliDecoderDestroyInstance(c->brotli);
    else
        inflateEnd(&c->z);
    free(c);
}

static void inflate_some(struct coding *c, struct str bytes, struct buf *out)
{
    unsigned char chunk[16384] = {0};
    int rc;
    c->z.next_in = (Bytef *)(uintptr_t)bytes.p;
    c->z.avail_in = (uInt)bytes.n;
    do {
        c->z.next_out = chunk;
        c->z.avail_out = sizeof chunk;
        rc = inflate(&c->z, Z_SYNC_FLUSH);
        buf_add(out, chunk, sizeof chunk - c->z.avail_out);
        rc = next_member(&c->z, rc, c->is_gzip);
    } while (rc == Z_OK && !buf_failed(out) && (c->z.avail_in > 0 || c->z.avail_out == 0));
    c->is_whole = rc == Z_STREAM_END;
    /* no progress: all was taken */
    c->is_ill = (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) || c->z.avail_in > 0;
}

static void unbrotli_some(struct coding *c, struct str bytes, struct buf *out)
{
    const uint8_t *in = (const uint8_t *)bytes.p;
    size_t n_in = bytes.n;
    uint8_t chunk[16384];
    BrotliDecoderResult rc;
    do {
        uint8_t *to = chunk;
        size_t n_out = sizeof chunk;
        rc = BrotliDecoderDecompressStream(c->brotli, &n_in, &in, &n_out, &to, NULL);
        buf_add(out, chunk, sizeof chunk - n_out);
    } while (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && !buf_failed(out));
    c->is_whole = rc == BROTLI_DECODER_RESULT_SUCCESS;
    c->is_ill = rc == BROTLI_DECODER_RESULT_ERROR || n_in > 0;
}

static bool undecodable(struct coding *c, struct err *e)
{
    c->is_ill = true;
    return err_set(e, ERR_UPSTREAM, "upstream_encoding",
                   "The upstream's reply is encoded as '%s' unasked, and cannot be decoded",
                   c->name);
}

bool coding_push(struct coding *c, struct str bytes, struct buf *out, struct err *e)
{
    if (bytes.n == 0)
        return true;
    c->has_begun = true;
    if (c->is_whole && c->is_gzip && inflateReset(&c->z) == Z_OK)
        c->is_whole = false; /* a further member */
    if (!c->is_ill && !c->is_whole) {
        if (c->brotli)
            unbrotli_some(c, bytes, out);
        else
            inflate_some(c, bytes, out);
    } else {
        c->is_ill = true; /* bytes behind the end */
    }
    if (buf_failed(out))
        return out->lacks_memory ? err_no_memory(e)
                                 : err_set(e, ERR_UPSTREAM, "reply_too_large",
                                           "The upstream's reply is too large once decoded");
    return !c->is_ill || undecodable(c, e);
}

bool coding_end(struct coding *c, struct err *e)
{
    return !c || !c->has_begun || (c->is_whole && !c->is_ill) || undecodable(c, e);
}
