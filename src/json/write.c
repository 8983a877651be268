/* write.c - the streaming writer. */
#include "base/banned.h"
#include "base/utf8.h"
#include "json/json.h"
#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- strings ---- */

#ifdef __SSE2__
/* One bit for each of 16 bytes that cannot be copied unseen. */
static inline unsigned stops(__m128i v, bool stop_high)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  space = _mm_set1_epi8(0x20);
    __m128i special = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
    /* unsigned v < 0x20, as max(v, 0x20) != v */
    unsigned clean_low = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(v, space), v));
    unsigned stop = (unsigned)_mm_movemask_epi8(special) | (~clean_low & 0xffff);
    return stop_high ? stop | (unsigned)_mm_movemask_epi8(v) : stop;
}
#endif

/* Offset of the first byte at or behind i that cannot be copied unseen: control, quote, backslash, and with
 * stop_high also any byte outside ASCII. */
static inline size_t skip_clean(struct str s, size_t i, bool stop_high)
{
#ifdef __SSE2__
    unsigned stop;
    for (; i + 16 <= s.n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i));
        if ((stop = stops(v, stop_high)))
            return i + (size_t)__builtin_ctz(stop);
    }
    if (s.n >= 16 && i < s.n) { /* the last 16, of which those before i are known */
        size_t from = s.n - 16;
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.p + from));
        stop = stops(v, stop_high) >> (i - from);
        return stop ? i + (size_t)__builtin_ctz(stop) : s.n;
    }
    if (s.n - i >= 8) { /* two halves that overlap */
        int64_t head, tail;
        memcpy(&head, s.p + i, 8);
        memcpy(&tail, s.p + s.n - 8, 8);
        if (!(stop = stops(_mm_set_epi64x(tail, head), stop_high)))
            return s.n;
        return stop & 0xff ? i + (size_t)__builtin_ctz(stop)
                           : s.n - 16 + (size_t)__builtin_ctz(stop);
    }
#endif
    for (; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == '"' || c == '\\' || (stop_high && c >= 0x80))
            break;
    }
    return i;
}

static void escape_one(struct buf *b, unsigned char c)
{
    static const char short_forms[32] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\')
        buf_add(b, (const char[]){'\\', (char)c}, 2);
    else if (c < sizeof short_forms && short_forms[c])
        buf_add(b, (const char[]){'\\', short_forms[c]}, 2);
    else
        buf_add(b, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

static void escape(struct buf *b, struct str s, bool is_trusted)
{
    size_t from = 0, at = 0;
    if (s.n == 0 || !buf_reserve(b, s.n))
        return;
    while ((at = skip_clean(s, at, !is_trusted)) < s.n) {
        unsigned char c = (unsigned char)s.p[at];
        if (c < 0x80) {
            buf_add(b, s.p + from, at - from);
            escape_one(b, c);
            from = ++at;
            continue;
        }
        const unsigned char *p = (const unsigned char *)s.p, *end = utf8_run(p + at, p + s.n);
        if (end > p + at) {
            at = (size_t)(end - p);
            continue;
        }
        size_t bad, len = utf8_step(end, s.n - at, &bad);
        if (len) {
            at += len;
            continue;
        }
        buf_add(b, s.p + from, at - from);
        buf_lit(b, "\xef\xbf\xbd");
        at += bad;
        from = at;
    }
    buf_add(b, s.p + from, s.n - from);
}

void json_escape(struct buf *b, struct str s)
{
    escape(b, s, false);
}

/* ---- values ---- */

static inline void before_value(struct jw *w)
{
    if (w->needs_comma)
        buf_char(w->b, ',');
    w->needs_comma = true;
}

static void quoted(struct buf *b, struct str s, bool is_trusted)
{
    if (s.n <= 256 && skip_clean(s, 0, !is_trusted) == s.n) { /* most keys, words and sentences */
        if (!buf_reserve(b, s.n + 2))
            return;
        char *to = b->p + b->n;
        to[0] = '"';
        if (s.n)
            memcpy(to + 1, s.p, s.n);
        to[s.n + 1] = '"';
        b->n += s.n + 2;
        return;
    }
    buf_char(b, '"');
    escape(b, s, is_trusted);
    buf_char(b, '"');
}

void jw_key_str(struct jw *w, struct str key)
{
    before_value(w);
    quoted(w->b, key, false);
    buf_char(w->b, ':');
    w->needs_comma = false;
}

void jw_str(struct jw *w, struct str s)
{
    before_value(w);
    quoted(w->b, s, false);
}

void jw_int(struct jw *w, int64_t v)
{
    before_value(w);
    buf_int(w->b, v);
}

void jw_double(struct jw *w, double v)
{
    char text[32];
    int n = 0;
    if (!isfinite(v)) { /* JSON has no word for it */
        jw_null(w);
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        n = snprintf(text, sizeof text, "%.*g", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    before_value(w);
    buf_add(w->b, text, (size_t)n);
}

void jw_bool(struct jw *w, bool v)
{
    before_value(w);
    if (v)
        buf_lit(w->b, "true");
    else
        buf_lit(w->b, "false");
}

void jw_null(struct jw *w)
{
    before_value(w);
    buf_lit(w->b, "null");
}

void jw_raw(struct jw *w, struct str json)
{
    before_value(w);
    buf_str_add(w->b, json);
}

static void write_scalar(struct buf *b, yyjson_val *v)
{
    struct jw number = jw_on(b);
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_STR: /* the reader has checked it */
        quoted(b, str_n(yyjson_get_str(v), yyjson_get_len(v)), true);
        break;
    case YYJSON_TYPE_RAW:
        buf_add(b, yyjson_get_raw(v), yyjson_get_len(v));
        break;
    case YYJSON_TYPE_BOOL:
        jw_bool(&number, yyjson_get_bool(v));
        break;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(v))
            jw_double(&number, yyjson_get_real(v));
        else if (yyjson_is_uint(v))
            buf_fmt(b, "%llu", (unsigned long long)yyjson_get_uint(v));
        else
            buf_int(b, yyjson_get_sint(v));
        break;
    default:
        buf_lit(b, "null");
        break;
    }
}

/* Without recursion: values lie in document order, and each open container remembers where it ends. In an
 * object keys and values take turns. */
static void write_tree(struct buf *b, yyjson_val *v, unsigned depth)
{
    struct level {
        const yyjson_val *end;
        bool is_object, is_key_next;
    } levels[JW_DEEPEST + 1];
    size_t n = 0;
    bool needs_comma = false;
    for (const yyjson_val *end = unsafe_yyjson_get_next(v); v < end; v++) {
        bool is_key = n && levels[n - 1].is_key_next;
        if (needs_comma)
            buf_char(b, ',');
        if (n)
            levels[n - 1].is_key_next = levels[n - 1].is_object && !is_key;
        needs_comma = !is_key;
        if (unsafe_yyjson_is_ctn(v)) {
            if (depth + n >= JW_DEEPEST) {
                b->failed = true;
                return;
            }
            bool is_object = yyjson_is_obj(v);
            buf_char(b, is_object ? '{' : '[');
            levels[n++] = (struct level){unsafe_yyjson_get_next(v), is_object, is_object};
            needs_comma = false;
        } else {
            write_scalar(b, v);
            if (is_key)
                buf_char(b, ':');
        }
        for (; n && levels[n - 1].end == v + 1; needs_comma = true)
            buf_char(b, levels[--n].is_object ? '}' : ']');
    }
}

void jw_val(struct jw *w, yyjson_val *v)
{
    before_value(w);
    if (!v)
        buf_lit(w->b, "null");
    else if (!unsafe_yyjson_is_ctn(v))
        write_scalar(w->b, v);
    else
        write_tree(w->b, v, w->depth);
}

struct str json_text(struct arena *a, yyjson_val *v)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    jw_val(&w, v);
    return buf_str(&b);
}

struct str json_text_with(struct arena *a, yyjson_val *object, struct str member, struct str text)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v;
    bool is_there = false;
    buf_init_arena(&b, a, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (object, i, max, k, v) {
        bool is_it = str_eq(json_str(k), member);
        is_there |= is_it;
        jw_key_str(&w, json_str(k));
        if (is_it)
            jw_str(&w, text);
        else
            jw_val(&w, v);
    }
    if (!is_there) {
        jw_key_str(&w, member);
        jw_str(&w, text);
    }
    jw_object_end(&w);
    return buf_str(&b);
}
