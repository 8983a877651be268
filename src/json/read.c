/* read.c - parsing into yyjson trees and reading values out of them. */
#include "base/banned.h"
#include "base/map.h"
#include "json/json.h"
#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define DEFAULT_DEPTH 128
#define DEEPEST 1024

/* ---- memory: yyjson asks, the arena gives ---- */

static void *alc_malloc(void *ctx, size_t n)
{
    return arena_try_realloc(ctx, NULL, 0, n);
}

static void *alc_realloc(void *ctx, void *p, size_t old_n, size_t n)
{
    return arena_try_realloc(ctx, p, old_n, n);
}

static void alc_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

/* ---- parsing ---- */

/* Values lie in document order; a container ends where its next sibling begins. */
static bool is_within_depth(yyjson_val *v, size_t max_depth)
{
    const yyjson_val *ends[DEEPEST];
    size_t depth = 0, n_containers = 0;
    const yyjson_val *end = unsafe_yyjson_get_next(v);
    if ((size_t)(end - v) <= max_depth)
        return true;
    for (yyjson_val *at = v; at < end; at++)
        n_containers += unsafe_yyjson_is_ctn(at);
    if (n_containers <= max_depth)
        return true;
    while (v < end) {
        while (depth && ends[depth - 1] == v)
            depth--;
        if (unsafe_yyjson_is_ctn(v)) {
            if (depth == max_depth)
                return false;
            ends[depth++] = unsafe_yyjson_get_next(v);
        }
        v++;
    }
    return true;
}

static bool not_json(struct str text, size_t at, const char *why, struct err *e)
{
    size_t line, column, chars;
    if (text.n &&
        yyjson_locate_pos(text.p, text.n, at < text.n ? at : text.n, &line, &column, &chars))
        return err_set(e, ERR_INPUT, "invalid_json", "invalid JSON at line %zu, column %zu: %s",
                       line, column, why);
    return err_set(e, ERR_INPUT, "invalid_json", "invalid JSON: %s", why);
}

static bool parse(struct arena *a, struct str text, yyjson_read_flag flags, unsigned max_depth,
                  yyjson_val **root, struct err *e)
{
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_skip(text, 3);
    const yyjson_alc alc = {alc_malloc, alc_realloc, alc_free, a};
    yyjson_read_err why = {0};
    *root = NULL;
    union { /* without YYJSON_READ_INSITU the text is only read */
        const char *in;
        char *p;
    } bytes = {.in = text.p};
    flags |= YYJSON_READ_NUMBER_AS_RAW;
    yyjson_doc *doc = text.n ? yyjson_read_opts(bytes.p, text.n, flags, &alc, &why) : NULL;
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (!v && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return err_no_memory(e);
    if (!v)
        return not_json(text, why.pos, text.n ? why.msg : "empty text", e);
    max_depth = max_depth == 0 ? DEFAULT_DEPTH : max_depth > DEEPEST ? DEEPEST : max_depth;
    if (!is_within_depth(v, max_depth))
        return err_set(e, ERR_INPUT, "invalid_json", "invalid JSON: nested deeper than %u levels",
                       max_depth);
    *root = v;
    return true;
}

bool json_parse(struct arena *a, struct str text, unsigned max_depth, yyjson_val **root,
                struct err *e)
{
    return parse(a, text, YYJSON_READ_NOFLAG, max_depth, root, e);
}

bool json_parse_in_place(struct arena *a, char *text, size_t n, yyjson_val **root)
{
    const yyjson_alc alc = {alc_malloc, alc_realloc, alc_free, a};
    yyjson_doc *doc = n ? yyjson_read_opts(text, n, YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW,
                                           &alc, NULL)
                        : NULL;
    *root = yyjson_doc_get_root(doc);
    return *root && is_within_depth(*root, DEFAULT_DEPTH);
}

/* The last member of each name. */
static void last_ones(struct map *m, yyjson_val *object)
{
    size_t i, max;
    yyjson_val *k, *v;
    map_init(m);
    yyjson_obj_foreach (object, i, max, k, v)
        map_set(m, json_str(k), v);
}

static bool has_twice(yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *one;
    bool found = false;
    if (yyjson_is_obj(v) && yyjson_obj_size(v) > 1) {
        struct map m;
        last_ones(&m, v);
        found = m.n < yyjson_obj_size(v);
        map_done(&m);
    }
    yyjson_obj_foreach (v, i, max, k, one)
        found = found || (yyjson_is_ctn(one) && has_twice(one));
    yyjson_arr_foreach (v, i, max, one)
        found = found || (yyjson_is_ctn(one) && has_twice(one));
    return found;
}

static void write_last_ones(struct jw *w, yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *one;
    struct map m;
    if (yyjson_is_arr(v)) {
        jw_array(w);
        yyjson_arr_foreach (v, i, max, one)
            write_last_ones(w, one);
        jw_array_end(w);
    } else if (yyjson_is_obj(v)) {
        last_ones(&m, v);
        jw_object(w);
        yyjson_obj_foreach (v, i, max, k, one) {
            if (map_get(&m, json_str(k)) != one)
                continue;
            jw_key_str(w, json_str(k));
            write_last_ones(w, one);
        }
        jw_object_end(w);
        map_done(&m);
    } else {
        jw_val(w, v);
    }
}

/* People repeat themselves in files: every reader finds one member of a name, and the same one. */
bool jsonc_parse(struct arena *a, struct str text, yyjson_val **root, struct err *e)
{
    struct buf b;
    if (!parse(a, text, YYJSON_READ_ALLOW_COMMENTS | YYJSON_READ_ALLOW_TRAILING_COMMAS, 0, root, e))
        return false;
    if (!has_twice(*root))
        return true;
    buf_init_arena(&b, a, BUF_THEIRS);
    struct jw w = jw_on(&b);
    write_last_ones(&w, *root);
    return json_parse(a, buf_str(&b), 0, root, e);
}

/* ---- values ---- */

yyjson_val *json_find(yyjson_val *obj, const char *key, size_t n)
{
    if (!yyjson_is_obj(obj))
        return NULL;
    yyjson_val *at = unsafe_yyjson_get_first(obj);
    for (size_t left = unsafe_yyjson_get_len(obj); left; left--) {
        const char *have = unsafe_yyjson_get_str(at);
        if (unsafe_yyjson_get_len(at) == n && have[0] == key[0] && memcmp(have, key, n) == 0)
            return at + 1;
        at = unsafe_yyjson_get_next(at + 1);
    }
    return NULL;
}

static unsigned of_length(const struct json_names *names, size_t n) /* one bit a slot */
{
#ifdef __SSE2__
    const __m128i *have = (const __m128i *)(const void *)names->length;
    __m128i wanted = _mm_set1_epi8((char)n);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(have), wanted)) |
           (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(have + 1), wanted)) << 16;
#else
    unsigned bits = 0;
    for (unsigned i = 0; i < names->n; i++)
        bits |= (unsigned)(names->length[i] == n) << i;
    return bits;
#endif
}

void json_pick(yyjson_val *obj, const struct json_names *names, yyjson_val **out)
{
    memset(out, 0, names->n * sizeof *out);
    if (!yyjson_is_obj(obj))
        return;
    yyjson_val *at = unsafe_yyjson_get_first(obj);
    for (size_t left = unsafe_yyjson_get_len(obj); left; left--) {
        const char *have = unsafe_yyjson_get_str(at);
        size_t n = unsafe_yyjson_get_len(at);
        unsigned bits = n > 0 && n < 256 ? of_length(names, n) : 0;
        for (; bits; bits &= bits - 1) {
            unsigned slot = (unsigned)__builtin_ctz(bits);
            if (memcmp(have, names->text[slot], n) != 0)
                continue;
            if (!out[slot])
                out[slot] = at + 1;
            break;
        }
        at = unsafe_yyjson_get_next(at + 1);
    }
}

struct str json_str(yyjson_val *v)
{
    return yyjson_is_str(v) ? str_n(yyjson_get_str(v), yyjson_get_len(v)) : STR_NONE;
}

bool json_is_number(yyjson_val *v)
{
    return yyjson_is_raw(v) || yyjson_is_num(v);
}

struct str json_lexeme(yyjson_val *number)
{
    return yyjson_is_raw(number) ? str_n(yyjson_get_raw(number), yyjson_get_len(number)) : STR_NONE;
}

static bool short_int(struct str s, int64_t *out) /* up to 18 digits: cannot overflow */
{
    int64_t v = 0;
    if (s.n == 0 || s.n > 18)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* A JSON number is digits * 10^exponent; integral when what the exponent cuts off is zeros. Exact: no float. */
static bool lexeme_to_int(struct str s, int64_t *out)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, v = 0;
    int64_t zeros = 0, exponent = 0, of_fraction = 0;
    bool in_fraction = false;
    size_t i = negative;
    for (; i < s.n && s.p[i] != 'e' && s.p[i] != 'E'; i++) {
        if (s.p[i] == '.') {
            in_fraction = true;
            continue;
        }
        of_fraction += in_fraction;
        if (s.p[i] == '0') { /* held back: trailing zeros must not overflow v */
            zeros += v != 0;
            continue;
        }
        for (zeros++; zeros; zeros--) {
            uint64_t digit = zeros == 1 ? (uint64_t)(s.p[i] - '0') : 0;
            if (v > (limit - digit) / 10)
                return false;
            v = v * 10 + digit;
        }
    }
    if (i + 1 < s.n) {
        struct str text = str_skip(s, i + 1);
        if (str_starts(text, STR("+")))
            text = str_skip(text, 1);
        if (!str_to_int(text, &exponent) || exponent > 100000 || exponent < -100000)
            exponent = text.p[0] == '-' ? -100000000 : 100000000;
    }
    exponent += zeros - of_fraction;
    if (v == 0)
        exponent = 0;
    if (exponent < 0)
        return false;
    for (; exponent; exponent--) {
        if (v > limit / 10)
            return false;
        v *= 10;
    }
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

bool json_int(yyjson_val *v, int64_t *out)
{
    if (yyjson_is_raw(v))
        return short_int(json_lexeme(v), out) || lexeme_to_int(json_lexeme(v), out);
    if (yyjson_is_sint(v) || (yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX)) {
        *out = yyjson_get_sint(v);
        return true;
    }
    double d = yyjson_is_real(v) ? yyjson_get_real(v) : 0.5;
    if (d != floor(d) || d < -9223372036854775808.0 || d >= 9223372036854775808.0)
        return false;
    *out = (int64_t)d;
    return true;
}

bool json_int_text(struct str value, int64_t *out)
{
    if (short_int(value, out))
        return true;
    bool is_number = value.n && (value.p[0] == '-' || (value.p[0] >= '0' && value.p[0] <= '9'));
    return is_number && json_valid(value, 0, NULL) && lexeme_to_int(value, out);
}

bool json_double(yyjson_val *v, double *out)
{
    if (!yyjson_is_raw(v)) {
        if (!yyjson_is_num(v))
            return false;
        *out = yyjson_get_num(v);
        return true;
    }
    struct str s = json_lexeme(v);
    char small[64], *z = small, *end = NULL;
    if (s.n >= sizeof small && !(z = malloc(s.n + 1)))
        abort();
    memcpy(z, s.p, s.n);
    z[s.n] = 0;
    double d = strtod(z, &end);
    bool ok = end == z + s.n && isfinite(d);
    if (z != small)
        free(z);
    if (ok)
        *out = d;
    return ok;
}

int64_t json_int_or(yyjson_val *v, int64_t otherwise)
{
    int64_t i;
    return json_int(v, &i) ? i : otherwise;
}

static bool numbers_equal(yyjson_val *a, yyjson_val *b)
{
    int64_t i, j;
    double x, y;
    if (yyjson_is_raw(a) && yyjson_is_raw(b) && str_eq(json_lexeme(a), json_lexeme(b)))
        return true;
    bool a_is_int = json_int(a, &i), b_is_int = json_int(b, &j);
    if (a_is_int || b_is_int)
        return a_is_int && b_is_int && i == j;
    return json_double(a, &x) && json_double(b, &y) && x == y;
}

static bool objects_equal(yyjson_val *a, yyjson_val *b)
{
    yyjson_obj_iter in_a = yyjson_obj_iter_with(a), in_b = yyjson_obj_iter_with(b);
    yyjson_val *key;
    if (yyjson_obj_size(a) != yyjson_obj_size(b))
        return false;
    while ((key = yyjson_obj_iter_next(&in_a))) {
        yyjson_val *other = yyjson_obj_iter_getn(&in_b, yyjson_get_str(key), yyjson_get_len(key));
        if (!other || !json_equal(yyjson_obj_iter_get_val(key), other))
            return false;
    }
    return true;
}

bool json_equal(yyjson_val *a, yyjson_val *b)
{
    if (!a || !b)
        return a == b;
    if (json_is_number(a) || json_is_number(b))
        return json_is_number(a) && json_is_number(b) && numbers_equal(a, b);
    if (yyjson_get_type(a) != yyjson_get_type(b))
        return false;
    if (yyjson_is_str(a))
        return str_eq(json_str(a), json_str(b));
    if (yyjson_is_bool(a))
        return yyjson_get_bool(a) == yyjson_get_bool(b);
    if (yyjson_is_obj(a))
        return objects_equal(a, b);
    if (!yyjson_is_arr(a))
        return true; /* null */
    if (yyjson_arr_size(a) != yyjson_arr_size(b))
        return false;
    yyjson_arr_iter in_a = yyjson_arr_iter_with(a), in_b = yyjson_arr_iter_with(b);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&in_a));) {
        if (!json_equal(v, yyjson_arr_iter_next(&in_b)))
            return false;
    }
    return true;
}
