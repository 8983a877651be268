#include "meter/trace.h"
#include "base/codec.h"

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

bool trace_state_is_fine(struct str h)
{
    for (size_t i = 0; i < h.n; i++)
        if (h.p[i] < ' ' || h.p[i] > '~')
            return false;
    return h.n > 0 && h.n <= 512 && memchr(h.p, '=', h.n) != NULL;
}
