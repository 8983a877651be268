#include "http/cidr.h"
#include "base/banned.h"
#include <arpa/inet.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool address_parse(struct str text, uint8_t out[CIDR_BYTES])
{
    char z[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof z || memchr(text.p, 0, text.n))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (strchr(z, ':'))
        return inet_pton(AF_INET6, z, out) == 1;
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, z, out + sizeof mapped) == 1;
}

bool address_is_v4(const uint8_t address[CIDR_BYTES])
{
    return memcmp(address, mapped, sizeof mapped) == 0;
}

bool address_is_loopback(const uint8_t address[CIDR_BYTES])
{
    static const uint8_t one[CIDR_BYTES] = {[15] = 1};
    return address_is_v4(address) ? address[12] == 127 : memcmp(address, one, sizeof one) == 0;
}

struct range {
    uint8_t base[CIDR_BYTES];
    unsigned bits;
};

/* "192.168.*.*" is 192.168.0.0/16: stars for the last parts of an IPv4 address. */
static bool wildcards_parse(struct str text, struct range *out)
{
    char plain[16];
    size_t at = str_index(text, '*'), stars = 0;
    if (text.n >= sizeof plain || (at > 0 && text.p[at - 1] != '.'))
        return false;
    if (text.n)
        memcpy(plain, text.p, text.n);
    for (size_t i = at; i < text.n; i++) {
        if (text.p[i] != ((i - at) % 2 ? '.' : '*'))
            return false;
        plain[i] = text.p[i] == '*' ? '0' : '.';
        stars += text.p[i] == '*';
    }
    out->bits = 128 - 8 * (unsigned)stars;
    return stars <= 4 && address_parse(str_n(plain, text.n), out->base) && address_is_v4(out->base);
}

static bool range_parse(struct str text, struct range *out)
{
    if (str_index(text, '*') < text.n)
        return wildcards_parse(text, out);
    struct str base, bits = str_cut(text, '/', &base);
    int64_t n;
    bool has_bits = text.n != base.n;
    if (!address_parse(base, out->base))
        return false;
    unsigned width = str_index(base, ':') == base.n ? 32 : 128;
    if (!has_bits)
        n = width;
    else if (!str_to_int(bits, &n) || n < 0 || n > width)
        return false;
    out->bits = (unsigned)n + (128 - width);
    return true;
}

static bool range_has(const struct range *r, const uint8_t address[CIDR_BYTES])
{
    unsigned whole = r->bits / 8, rest = r->bits % 8;
    return memcmp(r->base, address, whole) == 0 &&
           (rest == 0 || ((r->base[whole] ^ address[whole]) >> (8 - rest)) == 0);
}

bool cidr_parse(struct str range, uint8_t base[CIDR_BYTES], unsigned *bits)
{
    struct range r;
    if (!range_parse(range, &r))
        return false;
    memcpy(base, r.base, CIDR_BYTES);
    *bits = r.bits;
    return true;
}

bool cidr_list_check(struct str list, struct err *e)
{
    struct range r;
    struct str one;
    while (list.n) {
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        if (one.n && !range_parse(one, &r))
            return err_set(e, ERR_INPUT, "invalid_value",
                           "'" STR_FMT
                           "' is no address and no range: 10.0.0.0/8, 192.168.*.*, 2001:db8::/32",
                           STR_ARG(str_first(one, 60)));
    }
    return true;
}

bool cidr_list_has(struct str list, struct str address)
{
    uint8_t bytes[CIDR_BYTES];
    struct range r;
    struct str one;
    if (list.n == 0 || !address_parse(address, bytes))
        return false;
    while (list.n) {
        list = str_cut(list, ',', &one);
        if (range_parse(str_trim(one), &r) && range_has(&r, bytes))
            return true;
    }
    return false;
}
