/* codec.c - hashes, random bytes and text forms of bytes. */
#include "base/codec.h"
#include "base/banned.h"
#include <openssl/evp.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdatomic.h>
#include <sys/random.h>

/* Fetched once: looking an algorithm up costs more than hashing a key. */
static const EVP_MD *sha256_method(void)
{
    static _Atomic(EVP_MD *) method;
    EVP_MD *m = atomic_load_explicit(&method, memory_order_acquire);
    if (m)
        return m;
    EVP_MD *mine = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (mine && !atomic_compare_exchange_strong(&method, &m, mine)) {
        EVP_MD_free(mine); /* another thread was first */
        mine = m;
    }
    return mine;
}

void sha256(struct str data, uint8_t out[SHA256_SIZE])
{
    const EVP_MD *m = sha256_method();
    if (!m || EVP_Digest(data.p, data.n, out, NULL, m, NULL) != 1)
        (void)crypto_hash_sha256(out, (const unsigned char *)data.p, data.n);
}

static void system_random(void *p, size_t n)
{
    char *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got <= 0)
            continue; /* interrupted; with these arguments nothing else can fail */
        at += got;
        n -= (size_t)got;
    }
}

/* Small requests are served from a store of the thread: an id a request is not worth a system call.
 * What was handed out is wiped, so that a later look at memory does not find it. */
void random_bytes(void *p, size_t n)
{
    static _Thread_local unsigned char store[512];
    static _Thread_local size_t left;
    if (n > sizeof store / 4) {
        system_random(p, n);
        return;
    }
    if (n > left) {
        system_random(store, sizeof store);
        left = sizeof store;
    }
    left -= n;
    memcpy(p, store + left, n);
    explicit_bzero(store + left, n);
}

uint64_t random_u64(void) /* splitmix64 */
{
    static _Thread_local uint64_t state;
    static _Thread_local bool is_seeded;
    if (!is_seeded) {
        random_bytes(&state, sizeof state);
        is_seeded = true;
    }
    uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static const char hex_digits_lower[] = "0123456789abcdef";

void random_hex(char *out, size_t digits)
{
    while (digits) {
        unsigned char bytes[32] = {0};
        size_t now = digits < 2 * sizeof bytes ? digits : 2 * sizeof bytes;
        random_bytes(bytes, (now + 1) / 2);
        for (size_t i = 0; i < now; i++)
            *out++ = hex_digits_lower[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
        explicit_bzero(bytes, sizeof bytes);
        digits -= now;
    }
}

struct str random_id(struct arena *a, const char *prefix, size_t hex_digits)
{
    size_t n = prefix ? strlen(prefix) : 0;
    char *p = arena_alloc(a, n + hex_digits + 1);
    if (n)
        memcpy(p, prefix, n);
    random_hex(p + n, hex_digits);
    p[n + hex_digits] = 0;
    return str_n(p, n + hex_digits);
}

static struct str uuid_format(struct arena *a, const char *x, char version)
{
    char variant = "89ab"[(unsigned char)x[16] & 3];
    return str_fmt(a, "%.8s-%.4s-%c%.3s-%c%.3s-%.12s", x, x + 8, version, x + 13, variant, x + 17,
                   x + 20);
}

struct str random_uuid(struct arena *a)
{
    return uuid_format(a, random_id(a, NULL, 32).p, '4');
}

struct str uuid_of(struct arena *a, struct str text)
{
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1] = "";
    sha256(text, hash);
    hex_encode(hex, hash, sizeof hash);
    return uuid_format(a, hex, '8');
}
void hex_encode(char *out, const void *p, size_t n)
{
    const unsigned char *in = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits_lower[in[i] >> 4];
        out[2 * i + 1] = hex_digits_lower[in[i] & 15];
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(void *out, struct str hex)
{
    unsigned char *to = out;
    if (hex.n % 2)
        return false;
    for (size_t i = 0; i < hex.n; i += 2) {
        int high = hex_value(hex.p[i]), low = hex_value(hex.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i / 2] = (unsigned char)(high << 4 | low);
    }
    return true;
}

struct str base64_encode(struct arena *a, struct str bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(a, (bytes.n + 2) / 3 * 4 + 1), *to = out;
    const unsigned char *in = (const unsigned char *)bytes.p;
    size_t i = 0;
    for (; i + 3 <= bytes.n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = digits[v >> 6 & 63];
        *to++ = digits[v & 63];
    }
    if (i < bytes.n) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < bytes.n ? (uint32_t)in[i + 1] << 8 : 0);
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = i + 1 < bytes.n ? digits[v >> 6 & 63] : '=';
        *to++ = '=';
    }
    *to = 0;
    return str_n(out, (size_t)(to - out));
}

static int base64_value(char c)
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

bool base64_decode(struct arena *a, struct str text, struct str *out)
{
    char *p = arena_alloc(a, text.n / 4 * 3 + 4);
    size_t n = 0, digits = 0, padding = 0;
    uint32_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        if (c == '=') {
            padding++;
            continue;
        }
        int d = base64_value(c);
        if (d < 0 || padding)
            return false;
        v = v << 6 | (uint32_t)d;
        if (++digits % 4 == 0) {
            p[n++] = (char)(v >> 16);
            p[n++] = (char)(v >> 8);
            p[n++] = (char)v;
        }
    }
    size_t rest = digits % 4;
    if (rest == 1 || (padding && (rest < 2 || padding != 4 - rest)))
        return false;
    if (rest == 2 ? (v & 15) != 0 : rest == 3 && (v & 3) != 0)
        return false; /* RFC 4648, 3.5: bits that no byte takes */
    if (rest >= 2)
        p[n++] = (char)(v >> (rest == 2 ? 4 : 10));
    if (rest == 3)
        p[n++] = (char)(v >> 2);
    p[n] = 0;
    *out = str_n(p, n);
    return true;
}

bool ct_eq(const void *a, const void *b, size_t n)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char differs = 0;
    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(x[i] ^ y[i]);
    return differs == 0;
}
