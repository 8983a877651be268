/* scan.c - one pass over a JSON text: is it well-formed, and where do the top-level members stand.
 * No tree and no allocation; time goes to strings, so those are skipped in blocks. Agrees with json_parse about
 * what is well-formed. */
#include "base/banned.h"
#include "base/utf8.h"
#include "base/wide.h"
#include "json/json.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define DEFAULT_DEPTH 128
#define DEEPEST 1024

typedef unsigned char byte;

struct scan {
    const byte *p, *at, *end;
    const char *why; /* what is wrong at `at`; NULL: nothing yet */
};

static bool fail(struct scan *s, const byte *at, const char *why)
{
    s->at = at;
    s->why = why;
    return false;
}

static inline const byte *past_space(const byte *p, const byte *end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static inline void skip_space(struct scan *s)
{
    s->at = past_space(s->at, s->end);
}

/* ---- strings ---- */

static bool hex4(const byte *p, const byte *end, uint32_t *out)
{
    uint32_t v = 0;
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        byte c = p[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (uint32_t)(low - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

static const byte short_forms[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                      ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

/* p at the backslash. Length of the escape, 0: malformed; *c is the character it stands for. Half a surrogate pair
 * stands for nothing. */
static size_t escape_length(const byte *p, const byte *end, uint32_t *c)
{
    uint32_t low;
    if (end - p < 2)
        return 0;
    if (p[1] != 'u') {
        *c = p[1] < 128 ? short_forms[p[1]] : 0;
        return *c ? 2 : 0;
    }
    if (!hex4(p + 2, end, c))
        return 0;
    if (*c < 0xd800 || *c > 0xdfff)
        return 6;
    if (*c > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u' || !hex4(p + 8, end, &low) ||
        low < 0xdc00 || low > 0xdfff)
        return 0;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

/* First byte at or behind p that is no printable ASCII character, or is a quote or backslash. */
static inline const byte *skip_clean(const byte *p, const byte *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmplt_epi8(v, space)); /* signed: also every byte >= 0x80 */
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

#ifdef __SSE2__
/* Bits of the bytes of 16, or 32, that are no printable ASCII, or a quote or backslash. */
static inline uint32_t stops_of_16(const byte *p)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  space = _mm_set1_epi8(0x20);
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(stop, _mm_cmplt_epi8(v, space)));
}

static inline uint32_t stops_of(const byte *p)
{
    return stops_of_16(p) | stops_of_16(p + 16) << 16;
}

/* As far as a string is made of ASCII, short escapes and characters of two bytes: to its end, or to what needs a closer
 * look. Goes over the stops of a block without looking at the block again. */
static const byte *skip_plain(const byte *p, const byte *end)
{
    while (end - p >= 34) { /* and two bytes to look ahead */
        uint32_t stops = stops_of(p);
        unsigned at = 0; /* behind the last stop */
        while (stops) {
            at = (unsigned)__builtin_ctz(stops);
            byte c = p[at], next = p[at + 1];
            bool is_escape = c == '\\' && next < 128 && short_forms[next];
            if (!is_escape && !(c >= 0xc2 && c <= 0xdf && (next & 0xc0) == 0x80))
                return p + at;
            at += 2;
            stops = at < 32 ? stops & ~(uint32_t)0 << at : 0;
        }
        p += at > 32 ? at : 32;
    }
    return p;
}
#endif

#ifdef WIDE
static inline WIDE uint64_t equal_to(__m256i low, __m256i high, char c)
{
    const __m256i all = _mm256_set1_epi8(c);
    return wide_bits(_mm256_cmpeq_epi8(low, all), _mm256_cmpeq_epi8(high, all));
}

/* signed: bytes of 0x80 and above are less than all others */
static inline WIDE uint64_t less_than(__m256i low, __m256i high, char c)
{
    const __m256i all = _mm256_set1_epi8(c);
    return wide_bits(_mm256_cmpgt_epi8(all, low), _mm256_cmpgt_epi8(all, high));
}

/* Set: what may not stand behind a backslash. One bit for each upper half that some of those have that may, in which both halves of a
 * byte must agree. */
static inline WIDE __m256i not_escapable(__m256i v)
{
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    const __m256i of_low = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 13, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1));
    const __m256i of_high = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
    __m256i both = _mm256_and_si256(_mm256_shuffle_epi8(of_low, _mm256_and_si256(v, nibble)),
                                    _mm256_shuffle_epi8(of_high, high));
    return _mm256_cmpeq_epi8(both, _mm256_setzero_si256());
}

/* Of 64 bytes that lie in a string, or where it ends, all at once: whether escapes and characters of two bytes are as skip_plain goes
 * over them. Then *n is behind the last of them, 64 or 65, and *end has the bits of what is not escaped and may end the string. */
static inline WIDE bool judge_block(const byte *p, __m256i low, __m256i high, unsigned *n,
                                    uint64_t *end)
{
    uint64_t slash = equal_to(low, high, '\\'), escaped = slash << 1;
    uint64_t above = wide_bits(low, high), two = 0;
    if ((slash & escaped) ||
        (escaped && (escaped & wide_bits(not_escapable(low), not_escapable(high)))))
        return false;
    if (above) {
        uint64_t follows = less_than(low, high, (char)0xc0);
        two = less_than(low, high, (char)0xe0) & ~less_than(low, high, (char)0xc2);
        if (above != (follows | two) || follows != two << 1)
            return false;
    }
    *n = 64 + (unsigned)((slash | two) >> 63);
    if ((slash >> 63 && !(p[64] < 128 && short_forms[p[64]])) ||
        (two >> 63 && (p[64] & 0xc0) != 0x80))
        return false;
    *end = (equal_to(low, high, '"') & ~escaped) | (less_than(low, high, 0x20) & ~above);
    return true;
}

/* As skip_plain, 64 bytes at once. */
static WIDE const byte *skip_plain_wide(const byte *p, const byte *end)
{
    while (end - p >= 66) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
        uint64_t stops = equal_to(low, high, '"') | equal_to(low, high, '\\') |
                         less_than(low, high, 0x20);
        unsigned at = 64;
        if (stops && judge_block(p, low, high, &at, &stops)) {
            if (stops)
                return p + __builtin_ctzll(stops);
        } else if (stops) { /* one by one: the string ends here, or holds something rare */
            do {
                at = (unsigned)__builtin_ctzll(stops);
                byte c = p[at], next = p[at + 1];
                bool is_escape = c == '\\' && next < 128 && short_forms[next];
                if (!is_escape && !(c >= 0xc2 && c <= 0xdf && (next & 0xc0) == 0x80))
                    return p + at;
                at += 2;
                stops = at < 64 ? stops & ~(uint64_t)0 << at : 0;
            } while (stops);
            at = at > 64 ? at : 64;
        }
        p += at;
    }
    return p;
}
#endif

/* As skip_string, from inside of the string on. */
static __attribute__((noinline)) bool skip_string_from(struct scan *s, const byte *p)
{
    const byte *end = s->end;
    for (;;) {
#ifdef WIDE
        if (end - p >= 256 && HAS_WIDE())
            p = skip_plain_wide(p, end);
        if (p < end && *p != '"')
            p = skip_plain(p, end);
#elif defined(__SSE2__)
        p = skip_plain(p, end);
#endif
        if (p < end && *p == '"') {
            s->at = p + 1;
            return true;
        }
        p = skip_clean(p, end);
        if (p == end)
            return fail(s, p, "unclosed string");
        if (*p == '"') {
            s->at = p + 1;
            return true;
        }
        size_t n, bad;
        uint32_t c;
        if (*p == '\\') {
            if (end - p >= 2 && p[1] < 128 && short_forms[p[1]]) {
                p += 2;
                continue;
            }
            if ((n = escape_length(p, end, &c)) == 0)
                return fail(s, p, "invalid escape in string");
            p += n;
            continue;
        }
        if (*p < 0x20)
            return fail(s, p, "unescaped control character in string");
        do { /* text outside ASCII comes in runs */
            p = utf8_run(p, end);
            if (p == end || *p < 0x80)
                break;
            if ((n = utf8_step(p, (size_t)(end - p), &bad)) == 0)
                return fail(s, p, "invalid UTF-8 in string");
            p += n;
        } while (p < end && *p >= 0x80);
    }
}

/* Behind the string whose opening quote p is at, if one look at sixteen bytes tells; else NULL. Keys and most values are like this. */
static inline const byte *behind_short(const byte *p, const byte *end)
{
#ifdef __SSE2__
    if (end - p > 16) {
        unsigned stops = stops_of_16(p + 1);
        const byte *stop = p + 1 + (stops ? __builtin_ctz(stops) : 0);
        if (stops && *stop == '"')
            return stop + 1;
    }
#else
    (void)p;
    (void)end;
#endif
    return NULL;
}

/* s->at at the opening quote; afterwards behind the closing one. */
static inline bool skip_string(struct scan *s)
{
    const byte *p = s->at + 1;
#ifdef __SSE2__
    if (s->end - p >= 16) {
        unsigned stops = stops_of_16(p);
        if (stops && p[__builtin_ctz(stops)] == '"') {
            s->at = p + __builtin_ctz(stops) + 1;
            return true;
        }
        p += stops ? __builtin_ctz(stops) : 16;
    }
#endif
    return skip_string_from(s, p);
}

/* ---- scalars ---- */

static inline const byte *skip_digits(const byte *p, const byte *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static bool skip_number(struct scan *s)
{
    const byte *p = s->at, *end = s->end, *from;
    if (*p == '-')
        p++;
    from = p;
    p = skip_digits(p, end);
    if (p == from)
        return fail(s, p, "no digit after minus sign");
    if (*from == '0' && p - from > 1)
        return fail(s, from, "number with leading zero");
    if (p < end && *p == '.') {
        from = ++p;
        p = skip_digits(p, end);
        if (p == from)
            return fail(s, p, "no digit after decimal point");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        from = p;
        p = skip_digits(p, end);
        if (p == from)
            return fail(s, p, "no digit after exponent sign");
    }
    s->at = p;
    return true;
}

static bool skip_literal(struct scan *s, struct str word)
{
    if ((size_t)(s->end - s->at) < word.n || memcmp(s->at, word.p, word.n) != 0)
        return fail(s, s->at, "invalid literal");
    s->at += word.n;
    return true;
}

static bool skip_scalar(struct scan *s)
{
    switch (*s->at) {
    case '"':
        return skip_string(s);
    case 't':
        return skip_literal(s, STR("true"));
    case 'f':
        return skip_literal(s, STR("false"));
    case 'n':
        return skip_literal(s, STR("null"));
    default:
        if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9'))
            return skip_number(s);
        return fail(s, s->at, "unexpected character");
    }
}

/* ---- containers ---- */

static __attribute__((noinline)) bool skip_key(struct scan *s)
{
    if (s->at == s->end)
        return fail(s, s->at, "unclosed object");
    if (*s->at != '"')
        return fail(s, s->at, "expected a key in quotes");
    if (!skip_string(s))
        return false;
    skip_space(s);
    if (s->at == s->end || *s->at != ':')
        return fail(s, s->at, "expected ':' after the key");
    s->at++;
    return true;
}

/* From where a key should begin to behind its colon; NULL: it does not, s says why. */
static inline const byte *behind_key(struct scan *s, const byte *p)
{
    const byte *q = p < s->end && *p == '"' ? behind_short(p, s->end) : NULL;
    if (q && q < s->end && *q == ':')
        return q + 1;
    s->at = p;
    return skip_key(s) ? s->at : NULL;
}

/* One value of any kind, from its first byte to behind its last. One bit a level says whether it is an object. What is at hand is kept
 * in registers, and s->at is right only where s is handed on. */
static bool skip_value(struct scan *s, unsigned max_depth)
{
    uint64_t objects[DEEPEST / 64];
    unsigned depth = 0;
    bool in_object = false;
    const byte *p = s->at, *const end = s->end;
    for (;;) {
        p = past_space(p, end);
        if (p == end)
            return fail(s, p, "unexpected end");
        byte c = *p;
        const byte *q = c == '"' ? behind_short(p, end) : NULL;
        if (q) {
            p = q;
        } else if (c == '{' || c == '[') {
            if (depth == max_depth)
                return fail(s, p, "nested too deep");
            uint64_t bit = (uint64_t)1 << depth % 64, had = depth % 64 ? objects[depth / 64] : 0;
            objects[depth / 64] = c == '{' ? had | bit : had & ~bit;
            p = past_space(p + 1, end);
            if (p < end && *p == (c == '{' ? '}' : ']')) {
                p++;
            } else {
                depth++;
                in_object = c == '{';
                if (in_object && !(p = behind_key(s, p)))
                    return false;
                continue;
            }
        } else {
            s->at = p;
            if (!skip_scalar(s))
                return false;
            p = s->at;
        }
        for (;;) { /* behind a value */
            if (depth == 0) {
                s->at = p;
                return true;
            }
            p = past_space(p, end);
            if (p == end)
                return fail(s, p, in_object ? "unclosed object" : "unclosed array");
            c = *p++;
            if (c == ',') {
                if (in_object && !(p = behind_key(s, past_space(p, end))))
                    return false;
                break;
            }
            if (c != (in_object ? '}' : ']'))
                return fail(s, p - 1, in_object ? "expected ',' or '}'" : "expected ',' or ']'");
            if (--depth)
                in_object = objects[(depth - 1) / 64] >> (depth - 1) % 64 & 1;
        }
    }
}

/* ---- the object ---- */

enum key_fit {
    KEY_OTHER,
    KEY_ALIKE, /* but for the case of letters */
    KEY_SAME
};

/* As readers that do not mind case fold a character; of those beyond ASCII two are letters of it. */
static inline uint32_t folded(uint32_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c | 0x20;
    return c == 0x212a ? 'k' : c == 0x17f ? 's' : c;
}

/* p: well-formed, as it was skipped before. */
static enum key_fit rest_fits(const byte *p, const byte *end, const char *key)
{
    enum key_fit fit = KEY_SAME;
    for (; p < end; key++) {
        uint32_t c = *p, wanted = (byte)*key;
        size_t taken = 1;
        if (c == '\\') {
            taken = escape_length(p, end, &c);
        } else if (c >= 0x80) {
            c = c < 0xe0 && end - p > 1 ? (c & 0x1f) << 6 | (p[1] & 0x3f)
                : end - p > 2 ? (c & 0xf) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f)
                              : 0;
            taken = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        }
        if (folded(c) != folded(wanted) || c == 0)
            return KEY_OTHER;
        if (c != wanted)
            fit = KEY_ALIKE;
        p += taken;
    }
    return *key ? KEY_OTHER : fit;
}

/* How the inside of a JSON string, escapes undone, fits the wanted key, which is ASCII without backslashes. Most differ soon. */
static inline enum key_fit key_fits(const byte *p, size_t n, const char *key)
{
    size_t same = 0;
    while (same < n && p[same] == (byte)key[same]) /* no string holds the zero that ends a key */
        same++;
    if (same == n)
        return key[n] == 0 ? KEY_SAME : KEY_OTHER;
    byte c = p[same];
    if (c != '\\' && c < 0x80 && folded(c) != folded((byte)key[same]))
        return KEY_OTHER;
    return rest_fits(p + same, p + n, key + same);
}

struct member_args {
    struct json_want *want;
    size_t n_want;
    json_member_fn *on_member;
    void *arg;
    /* bits of the first letters of what is wanted, by the five bits that do not tell case: most keys have another one */
    uint32_t firsts;
};

static void note_member(const struct member_args *m, const byte *text, const struct json_span *span)
{
    byte first = text[span->key_at];
    bool is_plain = span->key_n && first != '\\' && first < 0x80;
    if (is_plain && !(m->firsts >> first % 32 & 1))
        return;
    for (size_t i = 0; i < m->n_want; i++) {
        if (is_plain && ((first ^ (byte)m->want[i].key[0]) & 0x1f))
            continue;
        enum key_fit fit = key_fits(text + span->key_at, span->key_n, m->want[i].key);
        if (fit != KEY_SAME) {
            m->want[i].alike += fit == KEY_ALIKE;
            continue;
        }
        m->want[i].span = *span;
        m->want[i].count++;
        if (m->on_member)
            m->on_member(m->arg, i, span);
    }
}

/* s->at at the opening brace. */
static bool scan_members(struct scan *s, const struct member_args *m, unsigned max_depth,
                         struct json_scan *out)
{
    out->open = (size_t)(s->at++ - s->p);
    out->is_empty = true;
    skip_space(s);
    if (s->at < s->end && *s->at == '}') {
        out->close = (size_t)(s->at++ - s->p);
        return true;
    }
    out->is_empty = false;
    for (;;) {
        struct json_span span = {.key_at = (size_t)(s->at - s->p) + 1};
        if (s->at == s->end)
            return fail(s, s->at, "unclosed object");
        if (*s->at != '"')
            return fail(s, s->at, "expected a key in quotes");
        if (!skip_string(s))
            return false;
        span.key_n = (size_t)(s->at - s->p) - 1 - span.key_at;
        skip_space(s);
        if (s->at == s->end || *s->at != ':')
            return fail(s, s->at, "expected ':' after the key");
        s->at++;
        skip_space(s);
        span.at = (size_t)(s->at - s->p);
        if (!skip_value(s, max_depth - 1))
            return false;
        span.n = (size_t)(s->at - s->p) - span.at;
        note_member(m, s->p, &span);
        skip_space(s);
        if (s->at == s->end)
            return fail(s, s->at, "unclosed object");
        if (*s->at == '}')
            break;
        if (*s->at != ',')
            return fail(s, s->at, "expected ',' or '}'");
        s->at++;
        skip_space(s);
    }
    out->close = (size_t)(s->at++ - s->p);
    return true;
}

static struct scan scan_of(struct str text)
{
    const byte *p = (const byte *)text.p;
    struct scan s = {.p = p, .at = p, .end = text.n ? p + text.n : p};
    if (str_starts(text, STR("\xef\xbb\xbf")))
        s.at += 3;
    skip_space(&s);
    return s;
}

static bool at_end(struct scan *s)
{
    skip_space(s);
    return s->at == s->end || fail(s, s->at, "unexpected text behind the value");
}

/* Columns count characters, not bytes. */
static bool not_json(const struct scan *s, struct err *e)
{
    size_t line = 1, column = 1;
    for (const byte *p = s->p; p < s->at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else {
            column += (*p & 0xc0) != 0x80;
        }
    }
    return err_set(e, ERR_INPUT, "invalid_json", "invalid JSON at line %zu, column %zu: %s", line,
                   column, s->why);
}

static unsigned depth_limit(unsigned max_depth)
{
    return max_depth == 0 ? DEFAULT_DEPTH : max_depth > DEEPEST ? DEEPEST : max_depth;
}

bool json_scan_members(struct str text, struct json_want *want, size_t n_want, unsigned max_depth,
                       json_member_fn *on_member, void *arg, struct json_scan *out, struct err *e)
{
    struct member_args m = {want, n_want, on_member, arg, 0};
    struct scan s = scan_of(text);
    for (size_t i = 0; i < n_want; i++) {
        m.firsts |= (uint32_t)1 << (byte)want[i].key[0] % 32;
        want[i].span = (struct json_span){0};
        want[i].count = want[i].alike = 0;
    }
    if (s.at == s.end) {
        (void)fail(&s, s.at, "empty text");
        return not_json(&s, e);
    }
    if (*s.at != '{') {
        (void)fail(&s, s.at, "expected an object");
        return not_json(&s, e);
    }
    if (!scan_members(&s, &m, depth_limit(max_depth), out) || !at_end(&s))
        return not_json(&s, e);
    return true;
}

bool json_scan_object(struct str text, struct json_want *want, size_t n_want, unsigned max_depth,
                      struct json_scan *out, struct err *e)
{
    return json_scan_members(text, want, n_want, max_depth, NULL, NULL, out, e);
}

bool json_valid(struct str text, unsigned max_depth, struct err *e)
{
    struct scan s = scan_of(text);
    if (s.at == s.end) {
        (void)fail(&s, s.at, "empty text");
        return not_json(&s, e);
    }
    return (skip_value(&s, depth_limit(max_depth)) && at_end(&s)) || not_json(&s, e);
}

static struct str unescape(struct arena *a, struct str inside)
{
    if (str_index(inside, '\\') == inside.n)
        return inside; /* a view of the text */
    char *to = arena_alloc(a, inside.n + 1);
    size_t n = 0;
    for (const byte *p = (const byte *)inside.p, *end = p + inside.n; p < end;) {
        uint32_t c = 0;
        const byte *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(to + n, p, plain);
        n += plain;
        p += plain;
        if (p == end)
            break;
        p += escape_length(p, end, &c);
        n += utf8_put(to + n, c);
    }
    to[n] = 0;
    return str_n(to, n);
}

size_t json_read_string(struct arena *a, struct str text, struct str *out)
{
    struct scan s = {.p = (const byte *)text.p, .at = (const byte *)text.p};
    s.end = text.n ? s.p + text.n : s.p;
    if (text.n < 2 || *s.p != '"' || !skip_string(&s))
        return 0;
    size_t n = (size_t)(s.at - s.p);
    if (out)
        *out = unescape(a, str_n(text.p + 1, n - 2));
    return n;
}

bool json_unquote(struct arena *a, struct str quoted, struct str *out)
{
    size_t n = json_read_string(a, quoted, NULL);
    if (n == 0 || n != quoted.n)
        return false;
    *out = unescape(a, str_n(quoted.p + 1, n - 2));
    return true;
}
