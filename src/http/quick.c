#include "http/quick.h"
#include <limits.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/banned.h"

#define MAX_DIGITS 15 /* of a content-length */
#define MAX_HEAD 4096 /* longer ones are left to llhttp: their text would be kept by every loop */
#define BLOCK 16

/* clang-format off */
/* What a byte of a header's name stands for in lower case; 0: not here. */
static const char name_bytes[256] = {
    ['-'] = '-', ['_'] = '_',
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9',
    ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i',
    ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
    ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i',
    ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r',
    ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z',
};
/* clang-format on */

static inline bool is_target_byte(char c)
{
    return name_bytes[(unsigned char)c] || (c >= '$' && c <= '/') || c == ':' || c == '=' ||
           c == '@' || c == '~';
}

/* First byte at or behind p that is no printable ASCII character. */
static inline const char *skip_printable(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f);
    for (; end - p >= BLOCK; p += BLOCK) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* signed: also every byte >= 0x80 */
        __m128i odd = _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(odd);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && *p >= ' ' && *p < 0x7f)
        p++;
    return p;
}

static bool is_line_end(const char *p, const char *end)
{
    return end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

static bool read_length(struct str value, int64_t *out)
{
    int64_t length = 0;
    if (*out >= 0 || value.n > MAX_DIGITS || (value.n > 1 && value.p[0] == '0'))
        return false;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return false;
        length = length * 10 + (value.p[i] - '0');
    }
    *out = length;
    return true;
}

/* Headers that say where a message or its connection ends. false: not for here. */
static bool judge(struct str name, struct str value, int64_t *content_length)
{
    switch (name.n) {
    case 6:
        return !str_is(name, "expect");
    case 7:
        return !str_is(name, "upgrade");
    case 10:
        return !str_is(name, "connection") || str_eq_nocase(value, STR("keep-alive"));
    case 14:
        return !str_is(name, "content-length") || read_length(value, content_length);
    case 16:
        return !str_is(name, "proxy-connection");
    case 17:
        return !str_is(name, "transfer-encoding");
    default:
        return true;
    }
}

/* The header lines from p on, and the empty one behind them. h has room for their text. NULL: not for here. */
static const char *read_fields(const char *p, const char *end, unsigned max, struct head *h,
                               int64_t *content_length)
{
    while (!is_line_end(p, end)) {
        char *name = h->text.p + h->text.n, *to = name;
        for (; p < end && name_bytes[(unsigned char)*p]; p++)
            *to++ = name_bytes[(unsigned char)*p];
        if (to == name || p == end || *p != ':' || h->n == max)
            return NULL;
        do
            p++;
        while (p < end && *p == ' ');
        const char *value = p;
        p = skip_printable(p, end);
        if (!is_line_end(p, end) || p == value)
            return NULL;
        const char *value_end = p;
        while (value_end[-1] == ' ') /* the first is none */
            value_end--;
        p += 2;
        size_t value_n = (size_t)(value_end - value);
        memcpy(to, value, value_n);
        if (!judge(str_n(name, (size_t)(to - name)), str_n(to, value_n), content_length))
            return NULL;
        head_add(h, (size_t)(to - name), value_n);
    }
    return p + 2;
}

/* As far as a head is looked for. There is room for its text then, which is never longer. */
static struct str begin(struct str text, size_t max_head_bytes, struct head *h)
{
    text = str_first(text, max_head_bytes < MAX_HEAD ? max_head_bytes : MAX_HEAD);
    head_clear(h);
    return buf_reserve(&h->text, text.n) ? text : STR_NONE;
}

static bool end_at(struct str text, const char *at, struct head *h, struct quick *out)
{
    if (at)
        out->head_n = (size_t)(at - text.p);
    else
        head_clear(h);
    return at != NULL;
}

bool quick_request(struct str text, const struct quick_limits *limits, struct head *h,
                   struct quick *out)
{
    static const char version[] = " HTTP/1.1\r\n";
    text = begin(text, limits->max_head_bytes, h);
    *out = (struct quick){.content_length = -1};
    out->is_get = str_starts(text, STR("GET /"));
    if (!out->is_get && !str_starts(text, STR("POST /")))
        return false;
    const char *end = text.p + text.n, *p = text.p + (out->is_get ? 4 : 5), *target = p;
    bool has_query = false;
    for (; p < end && (is_target_byte(*p) || (*p == '?' && !has_query)); p++)
        has_query |= *p == '?';
    size_t n = (size_t)(p - target);
    if (n > limits->max_target_bytes || (size_t)(end - p) < sizeof version - 1 ||
        memcmp(p, version, sizeof version - 1) != 0 || !head_target(h, target, n, n))
        return end_at(text, NULL, h, out);
    p += sizeof version - 1;
    return end_at(text, read_fields(p, end, limits->max_headers, h, &out->content_length), h, out);
}

bool quick_reply(struct str text, size_t max_head_bytes, struct head *h, struct quick *out)
{
    static const char version[] = "HTTP/1.1 ";
    text = begin(text, max_head_bytes, h);
    *out = (struct quick){.content_length = -1};
    if (text.n < sizeof version + 3 || !str_starts(text, str_n(version, sizeof version - 1)))
        return false;
    const char *end = text.p + text.n, *p = text.p + sizeof version - 1;
    if (p[3] != ' ')
        return false;
    for (unsigned i = 0; i < 3; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        out->status = out->status * 10 + (p[i] - '0');
    }
    if (out->status < 200 || out->status > 599 || out->status == 204 || out->status == 304)
        return false;
    p = skip_printable(p, end);
    if (!is_line_end(p, end))
        return false;
    p = read_fields(p + 2, end, UINT_MAX, h, &out->content_length);
    return end_at(text, out->content_length >= 0 ? p : NULL, h, out);
}
