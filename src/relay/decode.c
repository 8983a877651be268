/* decode.c - content encodings of request bodies: gzip, deflate, br. Bounded by what may come out. */
#include "relay/request.h"
#include <brotli/decode.h>
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
