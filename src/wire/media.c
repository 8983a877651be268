#include "wire/media.h"
#include "base/codec.h"

#define HEAD_CHARS 16 /* base64 of the first 12 bytes */

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

static size_t decode_head(struct str base64, uint8_t out[12])
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < base64.n && i < HEAD_CHARS; i++) {
        int d = digit(base64.p[i]);
        if (d < 0)
            break;
        bits = bits << 6 | (uint32_t)d;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return n;
}

struct str wire_media_of_base64(struct str base64)
{
    static const struct {
        size_t at, n;
        const char *bytes;
        const char *media;
    } table[] = {
        /* clang-format off */
        {0, 4, "\x89PNG", "image/png"},     {0, 3, "\xff\xd8\xff", "image/jpeg"}, {0, 4, "GIF8", "image/gif"},
        {8, 4, "WEBP", "image/webp"},       {0, 5, "%PDF-", "application/pdf"},  {8, 4, "WAVE", "audio/wav"},
        {0, 3, "ID3", "audio/mpeg"},        {0, 2, "\xff\xfb", "audio/mpeg"},    {0, 4, "OggS", "audio/ogg"},
        {0, 4, "fLaC", "audio/flac"},       {4, 4, "ftyp", "video/mp4"},         {0, 2, "BM", "image/bmp"},
        /* clang-format on */
    };
    uint8_t head[12];
    size_t n = decode_head(base64, head);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (n >= table[i].at + table[i].n &&
            memcmp(head + table[i].at, table[i].bytes, table[i].n) == 0)
            return str_of(table[i].media);
    return STR_NONE;
}

static void put(uint8_t *to, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t rate_of(struct str media_type)
{
    struct str one;
    int64_t rate = 24000;
    while (media_type.n > 0) {
        media_type = str_cut(media_type, ';', &one);
        one = str_trim(one);
        if (str_starts_nocase(one, STR("rate=")) && !str_to_int(str_skip(one, 5), &rate))
            rate = 24000;
    }
    return rate > 0 && rate < 1000000 ? (uint32_t)rate : 24000;
}

struct str wire_wav_of_pcm(struct arena *a, struct str media_type, struct str base64)
{
    struct str pcm, bare;
    (void)str_cut(media_type, ';', &bare);
    bare = str_trim(bare);
    if ((!str_eq_nocase(bare, STR("audio/l16")) && !str_eq_nocase(bare, STR("audio/pcm"))) ||
        !base64_decode(a, base64, &pcm) || pcm.n > UINT32_MAX - 64)
        return STR_NONE;
    uint32_t rate = rate_of(media_type);
    uint8_t *wav = arena_alloc(a, 44 + pcm.n);
    memcpy(wav, "RIFF", 4);
    put(wav + 4, (uint32_t)(36 + pcm.n), 4);
    memcpy(wav + 8, "WAVEfmt ", 8);
    put(wav + 16, 16, 4); /* of the fields up to "data" */
    put(wav + 20, 1, 2);  /* PCM */
    put(wav + 22, 1, 2);  /* mono */
    put(wav + 24, rate, 4);
    put(wav + 28, rate * 2, 4);
    put(wav + 32, 2, 2);
    put(wav + 34, 16, 2);
    memcpy(wav + 36, "data", 4);
    put(wav + 40, (uint32_t)pcm.n, 4);
    if (pcm.n)
        memcpy(wav + 44, pcm.p, pcm.n);
    return base64_encode(a, str_n((const char *)wav, 44 + pcm.n));
}
