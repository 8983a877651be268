/* json.h - reading and writing JSON.
 * Reading is yyjson with numbers kept as raw lexemes, in an arena. Writing is a streaming writer on a buf. */
#ifndef JSON_JSON_H
#define JSON_JSON_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include <yyjson.h>

/* Strict RFC 8259, valid UTF-8, at most max_depth levels (0: 128), a BOM is skipped. Numbers come as raw
 * lexemes (yyjson_is_raw). The document lives in the arena and borrows nothing from text.
 * false: ERR_INPUT "invalid_json" with line, column and what was wrong. */
bool json_parse(struct arena *a, struct str text, unsigned max_depth, yyjson_val **root, struct err *e) MUST_USE;
/* The same for text with // and C comments and trailing commas. */
bool jsonc_parse(struct arena *a, struct str text, yyjson_val **root, struct err *e) MUST_USE;

/* A row of texts of which most are like the one before but for a few strings and numbers, as the events of a stream are. json_row_parse is
 * json_parse that reads only those anew where it can: the same tree comes out, but its values may borrow from text (and then have
 * no NUL behind them). The row lives in its arena, trees and what they need in the one given to json_row_parse. */
struct json_row;
/* json_parse without a copy: text has YYJSON_PADDING_SIZE bytes of 0 behind its n, is written to, and lives as long as the tree. */
bool json_parse_in_place(struct arena *a, char *text, size_t n, yyjson_val **root) MUST_USE;
struct json_row *json_row_new(struct arena *a);
bool json_row_parse(struct json_row *r, struct arena *a, struct str text, yyjson_val **root, struct err *e) MUST_USE;
/* How a string of the last tree stands in its text, without quotes: to be written again as it is. STR_NONE where that is not known. */
struct str json_row_raw(const struct json_row *r, struct str value);

/* Tolerant accessors: a missing key, a NULL value or another kind gives the empty answer. */
yyjson_val *json_find(yyjson_val *obj, const char *key, size_t n); /* the first member of that name; key ends with a NUL */
#define JSON_INLINE static inline __attribute__((always_inline)) /* so that the lengths of literals are constants */
/* Of a literal name: compared where it is asked for, with its length and its bytes as constants. */
JSON_INLINE yyjson_val *json_get(yyjson_val *obj, const char *key)
{
    size_t n = strlen(key);
    if (!__builtin_constant_p(n))
        return json_find(obj, key, n);
    if (!obj || unsafe_yyjson_get_type(obj) != YYJSON_TYPE_OBJ)
        return NULL;
    yyjson_val *at = unsafe_yyjson_get_first(obj);
    for (size_t left = unsafe_yyjson_get_len(obj); left; left--) {
        if (unsafe_yyjson_get_len(at) == n && memcmp(unsafe_yyjson_get_str(at), key, n) == 0)
            return at + 1;
        at = unsafe_yyjson_get_next(at + 1);
    }
    return NULL;
}
/* Several members in one walk: out[slot] is the value of the member whose name has that slot (the first of a name), NULL when absent. */
#define JSON_NAMES_MAX 32
struct json_names {
    uint8_t n, length[JSON_NAMES_MAX];
    const char *text[JSON_NAMES_MAX];
};
#define JSON_NAME(slot, literal) .length[slot] = sizeof(literal) - 1, .text[slot] = (literal)
void json_pick(yyjson_val *obj, const struct json_names *names, yyjson_val **out);
struct str json_str(yyjson_val *v);                           /* view of a string value, else STR_NONE */
JSON_INLINE struct str json_get_str(yyjson_val *obj, const char *key) { return json_str(json_get(obj, key)); }
/* Integer: accepts integral floats (1.0, 1e3); false on any other value. NULL and null give false. */
bool json_int(yyjson_val *v, int64_t *out) MUST_USE;
bool json_double(yyjson_val *v, double *out) MUST_USE;
bool json_is_number(yyjson_val *v);
int64_t json_int_or(yyjson_val *v, int64_t otherwise);
bool json_int_text(struct str value, int64_t *out) MUST_USE;  /* json_int of the text of one value, of whatever kind */
JSON_INLINE int64_t json_get_int(yyjson_val *obj, const char *key, int64_t otherwise)
{
    return json_int_or(json_get(obj, key), otherwise);
}
JSON_INLINE bool json_get_bool(yyjson_val *obj, const char *key, bool otherwise)
{
    yyjson_val *v = json_get(obj, key);
    return yyjson_is_bool(v) ? yyjson_get_bool(v) : otherwise;
}
static inline bool json_absent(yyjson_val *v) { return !v || yyjson_is_null(v); } /* absent or null */
struct str json_lexeme(yyjson_val *number);                   /* the number as it was written */
bool json_equal(yyjson_val *a, yyjson_val *b);                /* objects: in any member order */

/* ---- writer ---- */
/* Commas and colons are its work; buf carries failure. Nesting up to 256 levels. */
#define JW_DEEPEST 256
struct jw {
    struct buf *b;
    unsigned depth;
    bool needs_comma;
};
static inline struct jw jw_on(struct buf *b) { return (struct jw){.b = b}; }
static inline void jw_open(struct jw *w, char c)
{
    struct buf *b = w->b;
    if (++w->depth > JW_DEEPEST)
        b->failed = true;
    if (!buf_reserve(b, 2))
        return;
    if (w->needs_comma)
        b->p[b->n++] = ',';
    b->p[b->n++] = c;
    w->needs_comma = false;
}
static inline void jw_close(struct jw *w, char c)
{
    buf_char(w->b, c);
    w->needs_comma = true;
    w->depth--;
}
static inline void jw_object(struct jw *w) { jw_open(w, '{'); }
static inline void jw_object_end(struct jw *w) { jw_close(w, '}'); }
static inline void jw_array(struct jw *w) { jw_open(w, '['); }
static inline void jw_array_end(struct jw *w) { jw_close(w, ']'); }
/* key: a literal of ours, written unescaped */
JSON_INLINE void jw_key(struct jw *w, const char *key)
{
    size_t n = strlen(key);
    struct buf *b = w->b;
    if (!buf_reserve(b, n + 4))
        return;
    char *to = b->p + b->n;
    if (w->needs_comma)
        *to++ = ',';
    w->needs_comma = false;
    *to++ = '"';
    memcpy(to, key, n);
    memcpy(to + n, "\":", 2);
    b->n = (size_t)(to + n + 2 - b->p);
}
void jw_key_str(struct jw *w, struct str key);                /* any key, escaped */
void jw_str(struct jw *w, struct str s);                      /* escaped; ill-formed UTF-8 becomes U+FFFD */
void jw_int(struct jw *w, int64_t v);
void jw_double(struct jw *w, double v);                       /* shortest form that reads back the same */
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str json);                   /* text that is JSON already */
void jw_val(struct jw *w, yyjson_val *v);                     /* a parsed value, lexemes and order kept; NULL writes null */
JSON_INLINE void jw_cstr(struct jw *w, const char *z)         /* NULL writes null */
{
    if (z)
        jw_str(w, str_n(z, strlen(z)));
    else
        jw_null(w);
}
/* Members as JSON text, a literal of ours: "\"a\":null,\"b\":[]". */
#define jw_lit(w, text) jw_text((w), "" text, sizeof(text) - 1)
JSON_INLINE void jw_text(struct jw *w, const char *text, size_t n)
{
    struct buf *b = w->b;
    if (!buf_reserve(b, n + 1))
        return;
    char *to = b->p + b->n;
    if (w->needs_comma)
        *to++ = ',';
    memcpy(to, text, n);
    b->n = (size_t)(to + n - b->p);
    w->needs_comma = true;
}
/* key and value in one call */
#define JW(w, key, kind, value) (jw_key((w), (key)), jw_##kind((w), (value)))
JSON_INLINE void jw_kv_str(struct jw *w, const char *key, struct str v) { JW(w, key, str, v); }
JSON_INLINE void jw_kv_cstr(struct jw *w, const char *key, const char *v) /* a literal v is written unescaped, as keys are */
{
    jw_key(w, key);
    if (__builtin_constant_p(v) && v && __builtin_constant_p(strlen(v))) {
        size_t n = strlen(v);
        struct buf *b = w->b;
        w->needs_comma = true;
        if (!buf_reserve(b, n + 2))
            return;
        char *to = b->p + b->n;
        *to = '"';
        memcpy(to + 1, v, n);
        to[n + 1] = '"';
        b->n += n + 2;
        return;
    }
    jw_cstr(w, v);
}
JSON_INLINE void jw_kv_int(struct jw *w, const char *key, int64_t v) { JW(w, key, int, v); }
JSON_INLINE void jw_kv_bool(struct jw *w, const char *key, bool v) { JW(w, key, bool, v); }
JSON_INLINE void jw_kv_null(struct jw *w, const char *key)
{
    jw_key(w, key);
    buf_lit(w->b, "null");
    w->needs_comma = true;
}
JSON_INLINE void jw_kv_val(struct jw *w, const char *key, yyjson_val *v) { JW(w, key, val, v); }
void json_escape(struct buf *b, struct str s);                /* the inside of a string, without quotes */

/* The value as compact JSON text in the arena. */
struct str json_text(struct arena *a, yyjson_val *v);
/* The same of an object with this text as a member: in the place of the one of that name, else behind all others. */
struct str json_text_with(struct arena *a, yyjson_val *object, struct str member, struct str text);

/* ---- top-level scanner ---- */
/* Validates the whole text (structure, literals, numbers, strings, UTF-8; depth <= max_depth) without building a tree
 * and reports where top-level members of the object stand. Made for bodies of which all but one value passes untouched. */
struct json_span {
    size_t key_at, key_n;     /* of the key's text between its quotes */
    size_t at, n;             /* of the value's text, quotes included */
};
struct json_want {
    const char *key;          /* top-level key to look for, ASCII (compared unescaped) */
    struct json_span span;    /* of its last occurrence; n == 0: absent */
    unsigned count;           /* how often it stands there */
    unsigned alike;           /* and how often with other cases of its letters, as some readers (those in Go) take it, too */
};
struct json_scan {
    size_t open, close;       /* offsets of { and }: members are inserted before close */
    bool is_empty;            /* no member at all */
};
/* Fills want[] and *out. max_depth 0: 128. false: ERR_INPUT "invalid_json", as json_parse says it. */
bool json_scan_object(struct str text, struct json_want *want, size_t n_want, unsigned max_depth,
                      struct json_scan *out, struct err *e) MUST_USE;
/* The same, and on_member (may be NULL) is called for each occurrence of a wanted key, in the order of the text,
 * already while scanning: what it noted counts only when the scan succeeds. */
typedef void json_member_fn(void *arg, size_t which, const struct json_span *span);
bool json_scan_members(struct str text, struct json_want *want, size_t n_want, unsigned max_depth,
                       json_member_fn *on_member, void *arg, struct json_scan *out, struct err *e) MUST_USE;
/* Whether text is one well-formed JSON value (any kind), by the same rules. */
bool json_valid(struct str text, unsigned max_depth, struct err *e) MUST_USE;
/* Decodes the span of a JSON string value (with its quotes): a view of it where nothing is escaped. false: not a string. */
bool json_unquote(struct arena *a, struct str quoted, struct str *out) MUST_USE;
/* The same of the string that text begins with. Its length, quotes included; 0: none or ill-formed. out may be NULL. */
size_t json_read_string(struct arena *a, struct str text, struct str *out);
#endif
