#include "route/quota.h"
#include <stdio.h>
#include <stdlib.h>

#define HOUR 3600000ll

const struct word quota_words[] = {{"requests", QUOTA_REQUESTS},
                                   {"tokens", QUOTA_TOKENS},
                                   {"5h", QUOTA_SESSION},
                                   {"7d", QUOTA_WEEK},
                                   {0}};

static bool number(struct str s, double *out)
{
    char z[32], *end;
    if (s.n == 0 || s.n >= sizeof z)
        return false;
    memcpy(z, s.p, s.n);
    z[s.n] = 0;
    *out = strtod(z, &end);
    return *end == 0 && *out >= 0 && *out < 1e15;
}

/* The window in out, made when it is not there. Of two of one name (input and output tokens) the fuller counts. */
static void note(struct quota_window *out, size_t *n, enum quota_name name, double used,
                 int64_t reset_ms)
{
    size_t i = 0;
    while (i < *n && out[i].name != name)
        i++;
    if (i == *n) {
        if (*n == QUOTA_WINDOWS)
            return;
        out[(*n)++] = (struct quota_window){name, -1, -1};
    }
    if (used > out[i].used)
        out[i] = (struct quota_window){name, used, reset_ms};
}

static struct str beside(const struct http_header *h, size_t n, struct str name, size_t from,
                         const char *was, const char *is)
{
    char other[96];
    size_t at = from + strlen(was);
    if (name.n + 16 >= sizeof other)
        return STR_NONE;
    (void)snprintf(other, sizeof other, "%.*s%s%.*s", (int)from, name.p, is, (int)(name.n - at),
                   name.p + at);
    return http_header_get(h, n, other);
}

static void of_limit(const struct http_header *h, size_t n, struct str name, struct str value,
                     int64_t now, struct quota_window *out, size_t *n_out)
{
    const char *at = memmem(name.p, name.n, "remaining", 9);
    double left, limit;
    int64_t reset = -1;
    size_t from = (size_t)(at - name.p);
    if (!number(value, &left) || !number(beside(h, n, name, from, "remaining", "limit"), &limit) ||
        limit <= 0)
        return;
    struct str when = beside(h, n, name, from, "remaining", "reset");
    if (when.n && !quota_parse_reset(when, now, &reset))
        reset = -1;
    bool is_tokens = memmem(name.p, name.n, "token", 5) != NULL;
    note(out, n_out, is_tokens ? QUOTA_TOKENS : QUOTA_REQUESTS, 1 - left / limit, reset);
}

/* anthropic-ratelimit-unified-5h-utilization: a share, with its -reset beside */
static void of_unified(const struct http_header *h, size_t n, struct str name, struct str value,
                       int64_t now, struct quota_window *out, size_t *n_out)
{
    double used;
    int64_t reset = -1;
    bool is_week = memmem(name.p, name.n, "-7d", 3) != NULL;
    if (!number(value, &used) || (!is_week && !memmem(name.p, name.n, "-5h", 3)))
        return;
    struct str when = beside(h, n, name, name.n - 11, "utilization", "reset");
    if (when.n && !quota_parse_reset(when, now, &reset))
        reset = -1;
    note(out, n_out, is_week ? QUOTA_WEEK : QUOTA_SESSION, used, reset);
}

/* x-codex-primary-used-percent, -reset-after-seconds, -window-minutes */
static void of_codex(const struct http_header *h, size_t n, struct str name, struct str value,
                     struct quota_window *out, size_t *n_out)
{
    double used, seconds, minutes;
    if (!number(value, &used))
        return;
    size_t from = name.n - 12;
    bool knows = number(beside(h, n, name, from, "used-percent", "reset-after-seconds"), &seconds);
    bool is_week = memmem(name.p, name.n, "secondary", 9) != NULL;
    if (number(beside(h, n, name, from, "used-percent", "window-minutes"), &minutes))
        is_week = minutes > 1440;
    note(out, n_out, is_week ? QUOTA_WEEK : QUOTA_SESSION, used / 100,
         knows ? (int64_t)(seconds * 1000) : -1);
}

size_t quota_read(const struct http_header *h, size_t n, int64_t now,
                  struct quota_window out[QUOTA_WINDOWS])
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        struct str name = h[i].name;
        if (name.n < 20 || (name.p[0] != 'x' && name.p[0] != 'a'))
            continue;
        if (str_starts(name, STR("x-ratelimit-remaining")) ||
            (str_starts(name, STR("anthropic-ratelimit-")) && str_ends(name, STR("-remaining"))))
            of_limit(h, n, name, h[i].value, now, out, &found);
        else if (str_starts(name, STR("anthropic-ratelimit-unified-")) &&
                 str_ends(name, STR("-utilization")))
            of_unified(h, n, name, h[i].value, now, out, &found);
        else if (str_starts(name, STR("x-codex-")) && str_ends(name, STR("-used-percent")))
            of_codex(h, n, name, h[i].value, out, &found);
    }
    return found;
}

double quota_forecast(const struct quota_window *q)
{
    int64_t length = q->name == QUOTA_SESSION ? 5 * HOUR
                     : q->name == QUOTA_WEEK  ? 7 * 24 * HOUR
                                              : 0;
    int64_t elapsed = length - q->reset_ms;
    /* of a window of a minute, or one that has just begun, the pace says nothing */
    if (length == 0 || q->reset_ms < 0 || elapsed < length / 20)
        return q->used;
    return q->used * (double)length / (double)(elapsed < length ? elapsed : length);
}
