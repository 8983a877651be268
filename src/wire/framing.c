/* framing.c - the three cutters and the writers.
 * SSE works line by line. What a push leaves unfinished is kept in two builders: `line`, the start of a line, and
 * `data`, the payload of the event so far. While everything of an event lies in one push, both stay empty. */
#include "wire/framing.h"
#include "base/banned.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum array_place {
    ARRAY_BEFORE,
    ARRAY_INSIDE,
    ARRAY_BEHIND
};

struct framing_reader {
    enum framing framing;
    size_t max_event;
    framing_frame_fn *on_frame;
    void *arg;
    struct err failure;
    bool has_failed;

    struct buf line; /* an unfinished line or element */
    struct buf data; /* SSE: the event's payload, once it needs a place of its own */
    struct buf name; /* SSE: the event's name */
    struct str view; /* SSE: the event's payload: into the current push, or all of `data` */
    bool has_data;
    bool skips_lf; /* the last push ended with CR: a LF that follows belongs to it */
    unsigned
        bom_seen; /* SSE, NDJSON, array: bytes of a leading byte order mark; 3: past the start */

    enum array_place place;
    unsigned depth; /* array: open braces and brackets of the element */
    bool in_string, in_escape;
};

struct framing_reader *framing_reader_new(enum framing framing, size_t max_event,
                                          framing_frame_fn *on_frame, void *arg)
{
    struct framing_reader *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->framing = framing;
    r->max_event = max_event < SIZE_MAX / 4 ? max_event : SIZE_MAX / 4;
    r->on_frame = on_frame;
    r->arg = arg;
    buf_init(&r->line, r->max_event + 64); /* and the name of the field */
    buf_init(&r->data, r->max_event);
    buf_init(&r->name, 256);
    return r;
}

void framing_reader_done(struct framing_reader *r)
{
    if (!r)
        return;
    buf_done(&r->line);
    buf_done(&r->data);
    buf_done(&r->name);
    free(r);
}

static bool fail(struct framing_reader *r, const char *code, const char *message)
{
    err_set(&r->failure, ERR_UPSTREAM, code, "%s", message);
    return false;
}

static bool too_large(struct framing_reader *r)
{
    err_set(&r->failure, ERR_UPSTREAM, "event_too_large",
            "The upstream sent an event of more than %zu bytes", r->max_event);
    return false;
}

static bool give(struct framing_reader *r, struct str event, struct str data)
{
    if (data.n > r->max_event)
        return too_large(r);
    if (r->on_frame(r->arg, event, data, &r->failure))
        return true;
    if (r->failure.kind == ERR_NONE)
        fail(r, "bad_event", "The upstream sent an event that cannot be read");
    return false;
}

/* ---- server-sent events ---- */

/* Offset of the first CR or LF, n if there is none: one pass, since a text may have only one kind of them. */
static size_t find_break(const char *p, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        int mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)));
        if (mask)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (i < n && p[i] != '\r' && p[i] != '\n')
        i++;
    return i;
}

static bool dispatch(struct framing_reader *r)
{
    bool ok = true;
    if (r->has_data && r->view.n)
        ok = give(r, buf_str(&r->name), r->view);
    buf_clear(&r->name);
    buf_clear(&r->data);
    r->view = STR_NONE;
    r->has_data = false;
    return ok;
}

/* The pending payload moves into `data`, so that it survives the push or can grow. */
static bool own_data(struct framing_reader *r)
{
    if (!r->has_data || r->data.n)
        return true;
    buf_str_add(&r->data, r->view);
    r->view = buf_str(&r->data);
    return !buf_failed(&r->data) || too_large(r);
}

static bool add_data(struct framing_reader *r, struct str value)
{
    if (!r->has_data) {
        r->has_data = true;
        r->view = value;
        return true;
    }
    if (!own_data(r))
        return false;
    buf_char(&r->data, '\n');
    buf_str_add(&r->data, value);
    r->view = buf_str(&r->data);
    return !buf_failed(&r->data) || too_large(r);
}

static bool sse_line(struct framing_reader *r, struct str line)
{
    if (line.n == 0)
        return dispatch(r);
    if (line.p[0] == '{' && !r->has_data) /* an error body under the wrong type: some gateways do */
        return add_data(r, line);
    struct str field, value = str_cut(line, ':', &field);
    if (str_starts(value, STR(" ")))
        value = str_skip(value, 1);
    if (str_is(field, "data"))
        return add_data(r, value);
    if (str_is(field, "event")) {
        buf_clear(&r->name);
        buf_str_add(&r->name, value);
        return !buf_failed(&r->name) ||
               fail(r, "bad_event", "The upstream sent an event with an endless name");
    }
    return true; /* a comment, id, retry, or a field of the future */
}

/* ---- lines ---- */

static bool end_of_line(struct framing_reader *r, struct str line)
{
    if (r->framing == FRAMING_SSE)
        return sse_line(r, line);
    line = str_trim(line);
    return line.n == 0 || give(r, STR_NONE, line);
}

/* A line that began in an earlier push. It is in `line`, and a payload viewed there must move before the next one. */
static bool end_of_kept_line(struct framing_reader *r)
{
    bool ok = end_of_line(r, buf_str(&r->line));
    if (ok && r->has_data && r->data.n == 0 && r->view.n) {
        struct buf taken = r->line; /* a payload of megabytes moves by exchanging the builders */
        size_t max_line = r->line.max, max_data = r->data.max,
               before = (size_t)(r->view.p - taken.p);
        if (r->view.n > max_data)
            return too_large(r);
        r->line = r->data;
        r->line.max = max_line;
        r->data = taken;
        r->data.max = max_data < taken.cap ? taken.cap : max_data;
        r->data.n = before + r->view.n;
        buf_consume(&r->data, before);
        r->view = buf_str(&r->data);
    }
    buf_clear(&r->line);
    return ok;
}

static bool push_lines(struct framing_reader *r, struct str s)
{
    while (s.n) {
        if (r->skips_lf) {
            r->skips_lf = false;
            if (s.p[0] == '\n') {
                s = str_skip(s, 1);
                continue;
            }
        }
        size_t n = find_break(s.p, s.n);
        if (n == s.n || r->line.n) {
            buf_add(&r->line, s.p, n);
            if (buf_failed(&r->line))
                return too_large(r);
        }
        if (n == s.n)
            break;
        r->skips_lf = s.p[n] == '\r';
        struct str line = str_first(s, n);
        s = str_skip(s, n + 1);
        if (line.n > r->line.max) /* as if it had come in pieces: also a line that says nothing */
            return too_large(r);
        if (!(r->line.n ? end_of_kept_line(r) : end_of_line(r, line)))
            return false;
    }
    return own_data(r);
}

/* ---- the array ---- */

static bool is_between(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',';
}

/* Outside an element: separators, the array's brackets, or the first byte of an element. A lone object without an array
 * around it, as errors come, is an element too. */
static bool array_outside(struct framing_reader *r, char c)
{
    if (is_between(c))
        return true;
    if (c == '{') {
        r->depth = 1;
        return true;
    }
    if (c == '[' && r->place == ARRAY_BEFORE)
        r->place = ARRAY_INSIDE;
    else if (c == ']' && r->place == ARRAY_INSIDE)
        r->place = ARRAY_BEHIND;
    else
        return fail(r, "bad_event", "The upstream sent a stream that is no JSON array of objects");
    return true;
}

/* Bytes of s up to where the open element ends, s.n if it does not. */
static size_t array_element(struct framing_reader *r, struct str s)
{
    size_t i = 0;
    while (i < s.n && r->depth) {
        if (r->in_escape) {
            r->in_escape = false;
            i++;
            continue;
        }
        if (r->in_string) {
            while (i < s.n && s.p[i] != '"' && s.p[i] != '\\')
                i++;
            if (i == s.n)
                break;
            r->in_escape = s.p[i] == '\\';
            r->in_string = r->in_escape;
        } else if (s.p[i] == '"') {
            r->in_string = true;
        } else if (s.p[i] == '{' || s.p[i] == '[') {
            r->depth++;
        } else if (s.p[i] == '}' || s.p[i] == ']') {
            r->depth--;
        }
        i++;
    }
    return i;
}

static bool push_array(struct framing_reader *r, struct str s)
{
    while (s.n) {
        size_t first = 0;
        if (r->depth == 0) {
            if (!array_outside(r, s.p[0]))
                return false;
            first = 1;
            if (r->depth == 0) {
                s = str_skip(s, 1);
                continue;
            }
        }
        size_t n = first + array_element(r, str_skip(s, first));
        struct str element = str_first(s, n);
        if (r->depth || r->line.n) {
            buf_str_add(&r->line, element);
            if (buf_failed(&r->line))
                return too_large(r);
            element = buf_str(&r->line);
        }
        s = str_skip(s, n);
        if (r->depth)
            return true;
        bool ok = give(r, STR_NONE, element);
        buf_clear(&r->line);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- all of them ---- */

/* Takes a byte order mark off the start, also one that is cut into pieces. What only began like one goes through. */
static bool push_start(struct framing_reader *r, struct str *s)
{
    static const char mark[] = "\xef\xbb\xbf";
    while (r->bom_seen < 3 && s->n && s->p[0] == mark[r->bom_seen]) {
        r->bom_seen++;
        *s = str_skip(*s, 1);
    }
    if (r->bom_seen == 3 || s->n == 0)
        return true;
    struct str begun = str_n(mark, r->bom_seen);
    r->bom_seen = 3;
    return r->framing == FRAMING_JSON_ARRAY ? push_array(r, begun) : push_lines(r, begun);
}

static bool result(struct framing_reader *r, bool ok, struct err *e)
{
    if (!ok)
        r->has_failed = true;
    if (!ok && e)
        *e = r->failure;
    return ok;
}

bool framing_push(struct framing_reader *r, struct str bytes, struct err *e)
{
    bool ok = !r->has_failed;
    if (ok && r->bom_seen < 3)
        ok = push_start(r, &bytes);
    if (ok && bytes.n)
        ok = r->framing == FRAMING_JSON_ARRAY ? push_array(r, bytes) : push_lines(r, bytes);
    return result(r, ok, e);
}

bool framing_finish(struct framing_reader *r, struct err *e)
{
    bool ok = !r->has_failed;
    if (ok && r->framing == FRAMING_JSON_ARRAY && r->depth)
        ok = fail(r, "stream_cut", "The upstream's stream ended inside an event");
    if (ok && r->framing != FRAMING_JSON_ARRAY && r->line.n)
        ok = end_of_kept_line(r);
    if (ok && r->framing == FRAMING_SSE)
        ok = dispatch(r);
    return result(r, ok, e);
}

/* ---- writers ---- */

void framing_sse_begin(struct buf *b, const char *event)
{
    if (event) {
        buf_lit(b, "event: ");
        buf_str_add(b, str_of(event));
        buf_char(b, '\n');
    }
    buf_lit(b, "data: ");
}

void framing_sse_end(struct buf *b)
{
    buf_lit(b, "\n\n");
}

void framing_write_sse(struct buf *b, struct str event, struct str data)
{
    if (event.n) {
        buf_lit(b, "event: ");
        buf_str_add(b, event);
        buf_char(b, '\n');
    }
    do {
        size_t n = find_break(data.p, data.n);
        buf_lit(b, "data: ");
        buf_add(b, data.p, n);
        buf_char(b, '\n');
        if (n < data.n && data.p[n] == '\r' && n + 1 < data.n && data.p[n + 1] == '\n')
            n++;
        data = str_skip(data, n + 1);
    } while (data.n);
    buf_char(b, '\n');
}

void framing_write_line(struct buf *b, struct str json)
{
    buf_str_add(b, json);
    buf_char(b, '\n');
}
