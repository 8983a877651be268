#include "relay/scan.h"
#include "base/wide.h"
#include "wire/common.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef WIDE
/* As far as 64 places can be looked at at once: the needle's place, or from where on it was not looked for. Compares the second
 * byte and the last but one: where a needle is a name in quotes, these are rarer. */
static WIDE size_t find_wide(struct str hay, struct str needle, bool *is_found)
{
    const __m256i first = _mm256_set1_epi8(needle.p[1]);
    const __m256i final = _mm256_set1_epi8(needle.p[needle.n - 2]);
    size_t i = 0;
    for (; i + 64 + needle.n - 1 <= hay.n; i += 64) {
        const char *p = hay.p + i + 1, *q = hay.p + i + needle.n - 2;
        __m256i low = _mm256_and_si256(
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)p), first),
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)q), final));
        __m256i high = _mm256_and_si256(
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)(p + 32)), first),
            _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)(q + 32)), final));
        if (_mm256_testz_si256(_mm256_or_si256(low, high), _mm256_or_si256(low, high)))
            continue;
        for (uint64_t mask = wide_bits(low, high); mask; mask &= mask - 1) {
            size_t at = i + (size_t)__builtin_ctzll(mask);
            if (memcmp(hay.p + at, needle.p, needle.n) == 0) {
                *is_found = true;
                return at;
            }
        }
    }
    return i;
}
#endif

/* Compares first and last byte of the needle at 16 places at once. */
size_t find_bytes(struct str hay, struct str needle)
{
    if (hay.n < needle.n)
        return hay.n;
    size_t last = hay.n - needle.n, i = 0;
#ifdef WIDE
    bool is_found = false;
    if (hay.n >= 128 && needle.n >= 4 && HAS_WIDE() &&
        (i = find_wide(hay, needle, &is_found), is_found))
        return i;
#endif
#ifdef __SSE2__
    const __m128i first = _mm_set1_epi8(needle.p[0]);
    const __m128i final = _mm_set1_epi8(needle.p[needle.n - 1]);
    for (; i + 16 + needle.n - 1 <= hay.n; i += 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(hay.p + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(hay.p + i + needle.n - 1));
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, final)));
        for (; mask; mask &= mask - 1) {
            size_t at = i + (size_t)__builtin_ctz(mask);
            if (memcmp(hay.p + at, needle.p, needle.n) == 0)
                return at;
        }
    }
#endif
    for (; i <= last; i++)
        if (hay.p[i] == needle.p[0] && memcmp(hay.p + i, needle.p, needle.n) == 0)
            return i;
    return hay.n;
}

size_t find_quoted(struct str hay, const char firsts[4])
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), x = _mm_set1_epi8(firsts[0]),
                  y = _mm_set1_epi8(firsts[1]), z = _mm_set1_epi8(firsts[2]);
    for (; i + 17 <= hay.n; i += 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(hay.p + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(hay.p + i + 1));
        __m128i begins = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(b, x), _mm_cmpeq_epi8(b, y)),
                                      _mm_cmpeq_epi8(b, z));
        int mask = _mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(a, quote), begins));
        if (mask)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    for (; i + 2 <= hay.n; i++)
        if (hay.p[i] == '"' &&
            (hay.p[i + 1] == firsts[0] || hay.p[i + 1] == firsts[1] || hay.p[i + 1] == firsts[2]))
            return i;
    return hay.n;
}

/* ---- pictures ---- */

static struct str after_space(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r' || s.p[0] == '\n'))
        s = str_skip(s, 1);
    return s;
}

/* What names a picture; STR_NONE: the format has none. Quoted names stand in no JSON string. */
static struct str image_name(enum wire_id id, bool is_whole)
{
    switch (id) {
    case WIRE_CHAT:
        return STR("\"image_url\""); /* and a colon: it is a value as well */
    case WIRE_GEMINI:
        return STR("\"mimeType\"");
    case WIRE_RESPONSES:
        return is_whole ? STR("\"image_generation_call\"")
                        : STR("\"response.image_generation_call.completed\"");
    case WIRE_ANTHROPIC:
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
    case WIRE_COMPLETIONS:
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
    return STR_NONE;
}

static bool is_image(enum wire_id id, struct str behind)
{
    if (id == WIRE_RESPONSES)
        return true;
    behind = after_space(behind);
    if (!str_starts(behind, STR(":")))
        return false;
    return id == WIRE_CHAT || str_starts(after_space(str_skip(behind, 1)), STR("\"image/"));
}

/* Those whose name begins before `limit`. */
static int64_t count_names(enum wire_id id, struct str name, struct str text, size_t limit)
{
    int64_t n = 0;
    size_t last = limit + name.n - 1, at = 0; /* where such a name ends at most */
    struct str part = str_first(text, last < text.n ? last : text.n);
    while ((at += find_bytes(str_skip(part, at), name)) < part.n) {
        at += name.n;
        n += is_image(id, str_skip(text, at));
    }
    return n;
}

/* Ollama's pictures stand in one list, "images":["…","…"], which may be longer than any read. n is where it stands, tail[0] how much of
 * the name was seen. Base64 holds no quote, and the name with its quotes stands in no string. */
enum {
    OUTSIDE,
    BEHIND_NAME,
    BEHIND_COLON,
    IN_LIST,
    IN_PICTURE
};

static void scan_list(struct image_scan *s, struct str bytes)
{
    static const char name[] = "\"images\"";
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        bool is_space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (s->n == OUTSIDE) {
            s->tail[0] = c == name[(size_t)s->tail[0]] ? (char)(s->tail[0] + 1) : c == '"';
            if (s->tail[0] == sizeof name - 1) {
                s->tail[0] = 0;
                s->n = BEHIND_NAME;
            }
        } else if (s->n == IN_PICTURE) {
            const char *end = memchr(bytes.p + i, '"', bytes.n - i);
            if (!end)
                return;
            i = (size_t)(end - bytes.p);
            s->n = IN_LIST;
        } else if (s->n == IN_LIST) {
            s->found += c == '"';
            s->n = c == '"' ? IN_PICTURE : c == ']' ? OUTSIDE : IN_LIST;
        } else if (!is_space) {
            bool goes_on = c == (s->n == BEHIND_NAME ? ':' : '[');
            s->n = goes_on ? (unsigned char)(s->n + 1) : OUTSIDE;
            s->tail[0] = !goes_on && c == '"';
        }
    }
}

static bool is_listed(enum wire_id id)
{
    return id == WIRE_OLLAMA || id == WIRE_OLLAMA_GENERATE;
}

void image_scan_push(struct image_scan *s, enum wire_id id, struct str bytes)
{
    const size_t most = sizeof s->tail;
    struct str name = image_name(id, s->is_whole);
    char seam[2 * sizeof s->tail];
    if (is_listed(id))
        scan_list(s, bytes);
    if (!name.n || !bytes.n)
        return;
    size_t n = bytes.n < most ? bytes.n : most, all = s->n + n;
    memcpy(seam, s->tail, s->n);
    memcpy(seam + s->n, bytes.p, n);
    if (bytes.n < most) {
        size_t over = all > most ? all - most : 0;
        s->found += count_names(id, name, str_n(seam, all), over);
        memcpy(s->tail, seam + over, all - over);
        s->n = (unsigned char)(all - over);
        return;
    }
    s->found += count_names(id, name, str_n(seam, all), s->n) +
                count_names(id, name, bytes, bytes.n - most);
    memcpy(s->tail, bytes.p + bytes.n - most, most);
    s->n = (unsigned char)most;
}

int64_t image_scan_end(struct image_scan *s, enum wire_id id)
{
    struct str name = image_name(id, s->is_whole);
    if (name.n && s->n)
        s->found += count_names(id, name, str_n(s->tail, s->n), s->n);
    s->n = 0;
    return s->found;
}

/* Behind the string whose quote stands at `at`. */
static size_t string_end(struct str s, size_t at)
{
    size_t quote = wire_string_end(s, at + 1);
    return quote < s.n ? quote + 1 : s.n;
}

int64_t count_elements(struct str array)
{
    struct str s = after_space(array);
    int64_t n = 0;
    size_t depth = 0;
    if (!str_starts(s, STR("[")) || str_starts(after_space(str_skip(s, 1)), STR("]")))
        return 0;
    for (size_t at = 1; at < s.n;) {
        char c = s.p[at];
        if (c == '"') {
            at = string_end(s, at);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth-- == 0)
            return n + 1;
        else if (c == ',' && depth == 0)
            n++;
        at++;
    }
    return n;
}

void stream_scan_init(struct stream_scan *s, const struct wire *w, bool strip_usage,
                      size_t max_frame)
{
    *s = (struct stream_scan){
        .wire = w, .strip_usage = strip_usage, .max_frame = max_frame, .usage = IR_USAGE_NONE};
    buf_init(&s->carry, max_frame + 65536 + 4);
}

void stream_scan_done(struct stream_scan *s)
{
    buf_done(&s->carry);
}

/* Length of the frame at the start of text, its end included; 0: unfinished. SSE frames end with an empty line (LF, CRLF or CR). */
static size_t frame_length(const struct stream_scan *s, struct str text)
{
    if (s->wire->framing == FRAMING_NDJSON) {
        size_t nl = str_index(text, '\n');
        return nl < text.n ? nl + 1 : 0;
    }
    for (size_t i = 0; i < text.n; i++) {
        const char *nl = memchr(text.p + i, '\n', text.n - i);
        if (!nl)
            return 0;
        i = (size_t)(nl - text.p);
        if (i + 1 < text.n && text.p[i + 1] == '\n')
            return i + 2;
        if (i + 2 < text.n && text.p[i + 1] == '\r' && text.p[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

/* Where the last whole frame ends. */
static size_t last_boundary(const struct stream_scan *s, struct str text)
{
    size_t end = text.n;
    bool is_lines = s->wire->framing == FRAMING_NDJSON;
    while (end > 0) {
        const char *nl = memrchr(text.p, '\n', end);
        if (!nl)
            return 0;
        size_t i = (size_t)(nl - text.p);
        if (is_lines || (i >= 1 && text.p[i - 1] == '\n') ||
            (i >= 2 && text.p[i - 1] == '\r' && text.p[i - 2] == '\n'))
            return i + 1;
        end = i;
    }
    return 0;
}

/* The value of a field's line: event or data (the first one; metered formats write one). */
static struct str frame_field(struct str frame, struct str name)
{
    while (frame.n) {
        struct str line, rest = str_cut(frame, '\n', &line);
        if (str_starts(line, name)) {
            line = str_skip(line, name.n);
            if (line.n && line.p[0] == ' ')
                line = str_skip(line, 1);
            return str_trim(line);
        }
        frame = rest;
    }
    return STR_NONE;
}

static struct str frame_data(const struct stream_scan *s, struct str frame)
{
    return s->wire->framing == FRAMING_NDJSON ? str_trim(frame) : frame_field(frame, STR("data:"));
}

/* A chat chunk that carries usage and no choice. */
static bool is_usage_alone(struct str data)
{
    size_t at = find_bytes(data, STR("\"choices\""));
    if (at == data.n)
        return false;
    struct str rest = str_trim(str_skip(data, at + 9));
    if (rest.n == 0 || rest.p[0] != ':')
        return false;
    rest = str_trim(str_skip(rest, 1));
    if (rest.n == 0 || rest.p[0] != '[')
        return false;
    rest = str_trim(str_skip(rest, 1));
    return rest.n && rest.p[0] == ']';
}

bool tells_error(struct str json)
{
    const struct str name = STR("\"error\"");
    for (size_t at; (at = find_bytes(json, name)) < json.n;) {
        json = after_space(str_skip(json, at + name.n));
        if (!str_starts(json, STR(":")) || !str_starts(after_space(str_skip(json, 1)), STR("null")))
            return true;
    }
    return false;
}

/* What a frame that begins with its type calls itself, with its quote; empty: it begins otherwise. */
static struct str behind_type(struct str data)
{
    struct str inside = str_trim(str_skip(data, 1));
    if (data.n == 0 || data.p[0] != '{' || !str_starts(inside, STR("\"type\"")))
        return STR_NONE;
    inside = str_trim(str_skip(inside, 6));
    return str_starts(inside, STR(":")) ? str_trim(str_skip(inside, 1)) : STR_NONE;
}

/* {"error":…} or {"type":"error",…}: nothing but the end follows. */
static bool is_error(struct str data)
{
    struct str inside = str_trim(str_skip(data, 1));
    if (data.n == 0 || data.p[0] != '{')
        return false;
    if (str_starts(inside, STR("\"type\"")))
        return str_starts(behind_type(data), STR("\"error\""));
    inside = str_starts(inside, STR("\"error\"")) ? str_trim(str_skip(inside, 7)) : STR_NONE;
    return str_starts(inside, STR(":")) && !str_starts(str_trim(str_skip(inside, 1)), STR("null"));
}

/* The response that failed, and why: Responses. */
static bool is_failed(const struct stream_scan *s, struct str data)
{
    return s->wire->id == WIRE_RESPONSES &&
           str_starts(behind_type(data), STR("\"response.failed\""));
}

/* Reads one frame, which is worth it for what stands at `mark`; false: the client does not get it. */
static bool read_frame(struct stream_scan *s, struct str frame, size_t mark)
{
    struct str data = frame_data(s, frame);
    if (data.n == 0)
        return true;
    struct ir_usage before = s->usage;
    struct str event = s->wire->framing == FRAMING_SSE ? frame_field(frame, STR("event:"))
                                                       : STR_NONE;
    s->is_error = true;
    if (is_error(data)) {
        s->is_terminal = s->has_error = true;
        return true;
    }
    if (is_failed(s, data))
        s->has_error = true;
    else
        s->is_error = tells_error(str_skip(frame, mark));
    if (s->wire->meter(event, data, &s->usage, &s->stop)) {
        s->is_terminal = true;
        if (s->last_frame) {
            buf_clear(s->last_frame);
            buf_str_add(s->last_frame, data);
        }
    }
    if (!s->strip_usage)
        return true;
    bool is_usage = memcmp(&before, &s->usage, sizeof before) != 0 ||
                    find_bytes(data, STR("\"usage\"")) < data.n;
    return !(is_usage && is_usage_alone(data));
}

/* What frames that are worth reading hold, by format. Two bytes of each are looked for first: its first one and the one at
 * `probe`, chosen so that usual frames ("finish_reason":null) do not have them. */
struct mark {
    struct str text; /* n == 0 ends the list */
    size_t probe;
};
#define MARKS 4
#define MAX_PROBE 15
/* clang-format off */
static const struct mark chat_marks[MARKS + 1] = {
    {STR_INIT("\"usage"), 1}, {STR_INIT("\"error\""), 1}, {STR_INIT("[DONE]"), 1}, {STR_INIT("_reason\":\""), 9}};
static const struct mark anthropic_marks[MARKS + 1] = {
    {STR_INIT("\"usage"), 1}, {STR_INIT("\"error\""), 1}, {STR_INIT("e_stop"), 1}, {STR_INIT("_reason\":\""), 9}};
static const struct mark gemini_marks[MARKS + 1] = {
    {STR_INIT("\"usage"), 1}, {STR_INIT("\"error\""), 1}, {STR_INIT("\"finishReason"), 7}};
static const struct mark responses_marks[MARKS + 1] = {
    {STR_INIT(".completed"), 4}, {STR_INIT(".incomplete"), 1}, {STR_INIT(".failed"), 1}, {STR_INIT("\"error\""), 1}};
static const struct mark ollama_marks[MARKS + 1] = {
    {STR_INIT("\"done\":true"), 7}, {STR_INIT("\"done\": true"), 8}, {STR_INIT("\"error\""), 1}};
/* clang-format on */

static bool is_mark(struct str text, size_t at, const struct mark *m)
{
    return text.n - at >= m->text.n && memcmp(text.p + at, m->text.p, m->text.n) == 0;
}

/* Of the places whose bits are set, from text.p + i on, the first that is a mark's; text.n: none. */
static inline size_t first_mark(struct str text, size_t i, uint32_t bits, const struct mark *marks)
{
    for (; bits; bits &= bits - 1) {
        size_t at = i + (size_t)__builtin_ctz(bits);
        if (at >= text.n)
            break;
        for (const struct mark *m = marks; m->text.n; m++)
            if (is_mark(text, at, m))
                return at;
    }
    return text.n;
}

#ifdef WIDE
static inline WIDE __attribute__((always_inline)) __m256i wide_hits(const char *p, __m256i a,
                                                                    const struct mark *m)
{
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + m->probe));
    return _mm256_and_si256(_mm256_cmpeq_epi8(a, _mm256_set1_epi8(m->text.p[0])),
                            _mm256_cmpeq_epi8(b, _mm256_set1_epi8(m->text.p[m->probe])));
}

static inline WIDE __attribute__((always_inline)) __m256i wide_block(const char *p,
                                                                     const struct mark *m)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i hits = _mm256_or_si256(_mm256_or_si256(wide_hits(p, a, &m[0]), wide_hits(p, a, &m[1])),
                                   wide_hits(p, a, &m[2]));
    return m[3].text.n ? _mm256_or_si256(hits, wide_hits(p, a, &m[3])) : hits;
}

/* As find_mark_of over as many whole blocks of 64 places as there are; *i: from where on nothing was looked at. */
static inline WIDE __attribute__((always_inline)) size_t
find_mark_wide(struct str text, const struct mark *marks, size_t *i)
{
    size_t at;
    for (; *i + 64 + MAX_PROBE <= text.n; *i += 64) {
        __m256i low = wide_block(text.p + *i, marks), high = wide_block(text.p + *i + 32, marks);
        __m256i both = _mm256_or_si256(low, high);
        if (_mm256_testz_si256(both, both))
            continue;
        uint32_t bits = (uint32_t)_mm256_movemask_epi8(low);
        if (bits && (at = first_mark(text, *i, bits, marks)) < text.n)
            return at;
        bits = (uint32_t)_mm256_movemask_epi8(high);
        if (bits && (at = first_mark(text, *i + 32, bits, marks)) < text.n)
            return at;
    }
    return text.n;
}
/* One for each list, whose marks are then constants. */
#define WIDE_FINDER(list)                                      \
    static WIDE size_t find_##list(struct str text, size_t *i) \
    {                                                          \
        return find_mark_wide(text, list, i);                  \
    }
WIDE_FINDER(chat_marks)
WIDE_FINDER(anthropic_marks)
WIDE_FINDER(gemini_marks)
WIDE_FINDER(responses_marks)
WIDE_FINDER(ollama_marks)
#define FIND_MARK(text, list) find_mark_of(text, list, find_##list)
#else
#define FIND_MARK(text, list) find_mark_of(text, list, NULL)
#endif

#ifdef __SSE2__
static inline __m128i probe_hits(const char *p, __m128i a, const struct mark *m)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + m->probe));
    return _mm_and_si128(_mm_cmpeq_epi8(a, _mm_set1_epi8(m->text.p[0])),
                         _mm_cmpeq_epi8(b, _mm_set1_epi8(m->text.p[m->probe])));
}

static inline __attribute__((always_inline)) __m128i block_hits(const char *p, const struct mark *m)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* each list has three or four */
    __m128i hits = _mm_or_si128(_mm_or_si128(probe_hits(p, a, &m[0]), probe_hits(p, a, &m[1])),
                                probe_hits(p, a, &m[2]));
    return m[3].text.n ? _mm_or_si128(hits, probe_hits(p, a, &m[3])) : hits;
}
#endif

/* The first place of any mark; text.n when there is none. One pass, 32 places at once. Inlined for each list, so that
 * what its marks have in common is loaded and compared once. */
static inline __attribute__((always_inline)) size_t
find_mark_of(struct str text, const struct mark *marks, size_t (*wide)(struct str, size_t *))
{
    size_t i = 0, at;
#ifdef WIDE
    if (text.n >= 128 && HAS_WIDE() && (at = wide(text, &i)) < text.n)
        return at;
#else
    (void)wide;
#endif
#ifdef __SSE2__
    for (; i + 32 + MAX_PROBE <= text.n; i += 32) {
        __m128i low = block_hits(text.p + i, marks), high = block_hits(text.p + i + 16, marks);
        if (_mm_movemask_epi8(_mm_or_si128(low, high)) == 0)
            continue;
        uint32_t bits = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
        if ((at = first_mark(text, i, bits, marks)) < text.n)
            return at;
    }
    char tail[48 + MAX_PROBE + 1] = {0}; /* what is left, with zeros behind it: no mark holds one */
    const size_t from = i;
    if (i < text.n)
        memcpy(tail, text.p + i, text.n - i);
    for (; i < text.n; i += 16) {
        uint32_t bits = (uint32_t)_mm_movemask_epi8(block_hits(tail + (i - from), marks));
        if (bits && (at = first_mark(text, i, bits, marks)) < text.n)
            return at;
    }
#else
    for (; i < text.n; i++)
        if ((at = first_mark(text, i, 1, marks)) < text.n)
            return at;
#endif
    return text.n;
}

static size_t find_mark(struct str text, enum wire_id id)
{
    switch (id) {
    case WIRE_ANTHROPIC:
        return FIND_MARK(text, anthropic_marks);
    case WIRE_GEMINI:
        return FIND_MARK(text, gemini_marks);
    case WIRE_RESPONSES:
        return FIND_MARK(text, responses_marks);
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
        return FIND_MARK(text, ollama_marks);
    case WIRE_CHAT:
    case WIRE_COMPLETIONS:
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
    return FIND_MARK(text, chat_marks);
}

/* ---- what was said ---- */

#define SAMPLE_FRAMES 8 /* with text, of one read: as a rule it brings no more */
#define SAMPLE_MOST 32  /* of any kind */

/* Members of frames that hold what a model said. */
struct said {
    struct str name;   /* n == 0 ends the list */
    bool is_otherwise; /* tells the same as the one before, where both are there */
};
/* clang-format off */
static const struct said chat_said[] = {
    {STR_INIT("\"content\""), false}, {STR_INIT("\"reasoning_content\""), false}, {STR_INIT("\"reasoning\""), true},
    {STR_INIT("\"text\""), true}, {STR_INIT("\"arguments\""), false}, {{NULL, 0}, false}};
static const struct said completions_said[] = {{STR_INIT("\"text\""), false}, {{NULL, 0}, false}};
static const struct said anthropic_said[] = {
    {STR_INIT("\"text\""), false}, {STR_INIT("\"thinking\""), false}, {STR_INIT("\"partial_json\""), false}, {{NULL, 0}, false}};
static const struct said responses_said[] = {{STR_INIT("\"delta\""), false}, {{NULL, 0}, false}}; /* the rest repeats it */
static const struct said gemini_said[] = {{STR_INIT("\"text\""), false}, {STR_INIT("\"args\""), false}, {{NULL, 0}, false}};
static const struct said ollama_said[] = {
    {STR_INIT("\"content\""), false}, {STR_INIT("\"response\""), false}, {STR_INIT("\"thinking\""), false}, {STR_INIT("\"arguments\""), false}, {{NULL, 0}, false}};
/* clang-format on */

static const struct said *said_in(enum wire_id id)
{
    switch (id) {
    case WIRE_ANTHROPIC:
        return anthropic_said;
    case WIRE_GEMINI:
        return gemini_said;
    case WIRE_RESPONSES:
        return responses_said;
    case WIRE_OLLAMA:
    case WIRE_OLLAMA_GENERATE:
        return ollama_said;
    case WIRE_COMPLETIONS:
        return completions_said;
    case WIRE_CHAT:
    case WIRE_NONE:
    case WIRE_N:
        break;
    }
    return chat_said;
}

/* Of a string with its quotes, without what escapes add. */
static size_t string_bytes(struct str quoted)
{
    size_t n = quoted.n - 2;
    for (size_t i = 1; i + 1 < quoted.n; i++) {
        const char *slash = memchr(quoted.p + i, '\\', quoted.n - 1 - i);
        if (!slash)
            break;
        i = (size_t)(slash - quoted.p) + 1;
        n -= quoted.p[i] == 'u' ? 3 : 1; /* a character of three bytes, as a rule */
    }
    return n;
}

/* Of the value that text begins with: a string, or an object of arguments. A list may be of anything: its texts are found by themselves. */
static size_t said_bytes(struct str text)
{
    size_t n = 0, depth = 0;
    if (str_starts(text, STR("\""))) {
        n = string_end(text, 0);
        return n > 2 ? string_bytes(str_first(text, n)) : 0;
    }
    if (!str_starts(text, STR("{")))
        return 0;
    do {
        char c = text.p[n];
        depth += c == '{';
        depth -= c == '}';
        n = c == '"' ? string_end(text, n) : n + 1;
    } while (depth > 0 && n < text.n);
    return n;
}

static int64_t said_tokens(const struct stream_scan *s, struct str frame)
{
    int64_t all = 0, of_last = 0;
    for (const struct said *m = said_in(s->wire->id); m->name.n; m++) {
        if (m->is_otherwise && of_last > 0)
            continue;
        of_last = 0;
        struct str rest = frame;
        for (size_t at; (at = find_bytes(rest, m->name)) < rest.n;) {
            rest = after_space(str_skip(rest, at + m->name.n));
            if (!str_starts(rest, STR(":")))
                continue;
            rest = after_space(str_skip(rest, 1));
            of_last += tokens_of_piece(said_bytes(rest));
        }
        all += of_last;
    }
    return all;
}

/* text: whole frames. */
static void measure(struct stream_scan *s, struct str text)
{
    for (int i = 0, n_said = 0; text.n && i < SAMPLE_MOST && n_said < SAMPLE_FRAMES; i++) {
        size_t n = frame_length(s, text);
        struct str frame = str_first(text, n ? n : text.n);
        int64_t tokens = said_tokens(s, frame);
        if (tokens > 0) {
            s->said += tokens;
            s->sample_tokens += tokens;
            s->sample_bytes += frame.n;
            n_said++;
        }
        text = str_skip(text, frame.n);
    }
    if (text.n && s->sample_bytes)
        s->said += (int64_t)(text.n * (uint64_t)s->sample_tokens / s->sample_bytes);
}

/* Up to where the first delta of whole frames was forwarded, with the role that it lacked; 0: it lacks none. */
static size_t give_role(struct stream_scan *s, struct str text, void (*forward)(void *, struct str),
                        void *arg)
{
    size_t at = find_bytes(text, STR("\"delta\""));
    if (at == text.n)
        return 0; /* it has yet to come */
    s->needs_role = false;
    struct str rest = str_skip(text, at + 7), frame;
    size_t end = frame_length(s, rest);
    frame = str_first(rest, end ? end : rest.n);
    size_t open = str_index(frame, '{') + 1;
    if (open >= frame.n || str_trim(str_first(frame, open - 1)).n != 1 ||
        find_bytes(frame, STR("\"role\"")) < frame.n)
        return 0;
    struct str inside = str_trim(str_skip(frame, open));
    size_t n = at + 7 + open;
    forward(arg, str_first(text, n));
    forward(arg, str_starts(inside, STR("}")) ? STR("\"role\":\"assistant\"")
                                              : STR("\"role\":\"assistant\","));
    return n;
}

/* text: whole frames. Most hold nothing to meter and go in one piece. */
static void read_frames(struct stream_scan *s, struct str text, void (*forward)(void *, struct str),
                        void *arg)
{
    if (!s->has_frames && text.n) {
        size_t n = frame_length(s, text);
        struct str data = frame_data(s, str_first(text, n ? n : text.n));
        if (data.n) {
            s->has_frames = true;
            if (is_error(data) || is_failed(s, data)) {
                s->is_error_first = true;
                s->first_error = data;
                return; /* the caller decides what becomes of it */
            }
        }
    }
    /* from: not yet forwarded; at: where the search goes on, the start of a frame; untold: what no usage tells of */
    size_t from = 0, at = 0, untold = 0;
    if (s->needs_role)
        from = give_role(s, text, forward, arg);
    for (;;) {
        size_t mark = at + find_mark(str_skip(text, at), s->wire->id);
        if (mark >= text.n)
            break;
        size_t start = at + last_boundary(s, str_n(text.p + at, mark - at));
        size_t n = frame_length(s, str_skip(text, start));
        size_t end = n ? start + n : text.n;
        int64_t told = s->usage.output_total;
        bool is_kept = read_frame(s, str_n(text.p + start, end - start), mark - start);
        if (!is_kept || s->is_error) {
            const bool tells = s->is_error;
            s->is_error = false;
            if (start > from) {
                forward(arg, str_n(text.p + from, start - from));
                from = start;
            }
            s->is_error = tells;
            if (is_kept)
                forward(arg, str_n(text.p + from, end - from));
            s->is_error = false;
            from = end;
        }
        if (s->usage.output_total != told && s->usage.output_total > 0) {
            s->said = 0;
            untold = end;
        }
        at = end;
    }
    measure(s, str_skip(text, untold));
    if (from < text.n)
        forward(arg, str_skip(text, from));
}

static void remember_last(struct stream_scan *s, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        if (bytes.n - i > sizeof s->last)
            i = bytes.n - sizeof s->last;
        if (s->n_last == sizeof s->last)
            memmove(s->last, s->last + 1, --s->n_last);
        s->last[s->n_last++] = bytes.p[i];
    }
}

/* How many of these bytes still belong to the giant frame; 0: all, and more to come. */
static size_t giant_end(const struct stream_scan *s, struct str bytes)
{
    char seam[2 * sizeof s->last];
    size_t n = bytes.n < sizeof s->last ? bytes.n : sizeof s->last;
    memcpy(seam, s->last, s->n_last);
    memcpy(seam + s->n_last, bytes.p, n);
    size_t end = frame_length(s, str_n(seam, s->n_last + n));
    if (end > s->n_last)
        return end - s->n_last;
    return frame_length(s, bytes);
}

void stream_scan_push(struct stream_scan *s, struct str bytes,
                      void (*forward)(void *arg, struct str bytes), void *arg)
{
    if (s->is_giant) {
        size_t n = giant_end(s, bytes);
        forward(arg, n ? str_first(bytes, n) : bytes);
        if (n == 0) {
            remember_last(s, bytes);
            return;
        }
        bytes = str_skip(bytes, n);
        s->is_giant = s->is_error = false;
    }
    struct str text = bytes;
    if (s->carry.n) {
        buf_str_add(&s->carry, bytes);
        text = buf_str(&s->carry);
    }
    size_t whole = last_boundary(s, text);
    if (whole) {
        read_frames(s, str_first(text, whole), forward, arg);
        if (s->is_error_first && s->first_error.n)
            return;
    }
    struct str rest = str_skip(text, whole);
    if (rest.n > s->max_frame) { /* no usage chunk is that large: let it through unread */
        s->is_error = tells_error(rest);
        forward(arg, rest);
        s->has_frames = true;
        s->needs_role = false;
        s->is_giant = true;
        s->n_last = 0;
        remember_last(s, rest);
        buf_clear(&s->carry);
    } else if (text.p == s->carry.p && s->carry.n) {
        buf_consume(&s->carry, whole);
    } else {
        buf_clear(&s->carry);
        buf_str_add(&s->carry, rest);
    }
    if (s->carry.n == 0 && s->carry.cap > 0) { /* an idle stream holds nothing */
        size_t max = s->carry.max;
        buf_done(&s->carry);
        buf_init(&s->carry, max);
    }
}

void stream_scan_end(struct stream_scan *s, void (*forward)(void *arg, struct str bytes), void *arg)
{
    if (s->carry.n == 0)
        return;
    /* A last frame without its empty line. */
    read_frames(s, buf_str(&s->carry), forward, arg);
    if (!(s->is_error_first && s->first_error.n))
        buf_clear(&s->carry);
}
