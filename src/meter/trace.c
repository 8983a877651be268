#include "meter/trace.h"
#include "base/codec.h"

#define MAX_STATES 32 /* members of a tracestate */

static bool is_hex(struct str s) /* lower case only: the standard says so */
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* https://www.w3.org/TR/trace-context/#traceparent-header: version-trace-parent-flags; later versions may have more behind. */
bool trace_parse(struct str h, struct trace_ids *out)
{
    if (h.n < TRACEPARENT_LENGTH || h.p[2] != '-' || h.p[35] != '-' || h.p[52] != '-')
        return false;
    struct str version = str_first(h, 2), trace = str_n(h.p + 3, 32), parent = str_n(h.p + 36, 16),
               flags = str_n(h.p + 53, 2);
    if (!is_hex(version) || !is_hex(trace) || !is_hex(parent) || !is_hex(flags) ||
        str_is(version, "ff"))
        return false;
    if (h.n > TRACEPARENT_LENGTH && (str_is(version, "00") || h.p[TRACEPARENT_LENGTH] != '-'))
        return false;
    return hex_decode(out->trace, trace) && hex_decode(out->parent, parent) &&
           hex_decode(&out->flags, flags) && !is_zero(out->trace, sizeof out->trace) &&
           !is_zero(out->parent, sizeof out->parent);
}

void trace_write(const struct trace_ids *ids, const uint8_t span[8], char *out)
{
    const uint8_t flags = ids->flags & TRACE_SAMPLED;
    memcpy(out, "00-", 3);
    hex_encode(out + 3, ids->trace, 16);
    out[35] = '-';
    hex_encode(out + 36, span, 8);
    out[52] = '-';
    hex_encode(out + 53, &flags, 1);
}

/* Level 2: a vendor's name, small letters, digits and some signs. */
static bool is_state_key(struct str key)
{
    if (key.n == 0 || key.n > 256)
        return false;
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_plain && (i == 0 || !c || !strchr("_-*/@", c)))
            return false;
    }
    return true;
}

static bool is_state_value(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < ' ' || value.p[i] > '~' || value.p[i] == '=')
            return false;
    return value.n > 0 && value.n <= 256;
}

static struct str without_blanks(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* https://www.w3.org/TR/trace-context-2/#tracestate-header: members key=value, of each key one; nothing between two commas is none. */
bool trace_state_is_fine(struct str h)
{
    struct str keys[MAX_STATES], one, key;
    size_t n = 0;
    if (h.n > 512)
        return false;
    while (h.n) {
        h = str_cut(h, ',', &one);
        one = without_blanks(one);
        if (one.n == 0)
            continue;
        struct str value = str_cut(one, '=', &key);
        if (n == MAX_STATES || key.n == one.n || !is_state_key(key) || !is_state_value(value))
            return false;
        for (size_t i = 0; i < n; i++)
            if (str_eq(keys[i], key))
                return false;
        keys[n++] = key;
    }
    return n > 0;
}
