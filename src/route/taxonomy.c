#include "route/taxonomy.h"
#include "route/quota.h"
#include "base/clock.h"
#include <stdio.h>

#define MAX_RETRY_MS (366LL * 86400 * 1000)

static const char *const fault_names[] = {"none",        "client",   "auth",      "quota_window",
                                          "quota_money", "overload", "transport", "model",
                                          "policy",      "server",   "unfit"};

const char *fault_name(enum fault f)
{
    return fault_names[f];
}

/* What bodies say more precisely than their status; matched against the error code, then the message. */
static const struct {
    const char *text;
    enum fault fault;
} fault_words[] = {
    {"insufficient_quota", FAULT_QUOTA_MONEY},
    {"billing_hard_limit", FAULT_QUOTA_MONEY},
    {"billing_error", FAULT_QUOTA_MONEY},
    {"credit balance", FAULT_QUOTA_MONEY},
    {"insufficient balance", FAULT_QUOTA_MONEY},
    {"model_not_found", FAULT_MODEL},
    {"model not found", FAULT_MODEL},
    {"model_not_available", FAULT_MODEL},
    {"DeploymentNotFound", FAULT_MODEL},
    {"content_policy_violation", FAULT_POLICY},
    {"content_filter", FAULT_POLICY},
    {"overloaded_error", FAULT_OVERLOAD},
    {"rate_limit_exceeded", FAULT_QUOTA_WINDOW},
};

/* Of statuses that do not stand here, those from 400 to 499 are unfit: whether the caller's doing or an upstream's whim, another upstream
 * may see it differently, and what a caller can bring about must not keep others from it. 422 is what servers with a schema say where
 * others say 400. */
static const struct {
    int status;
    enum fault fault;
} fault_statuses[] = {
    {400, FAULT_CLIENT},       {401, FAULT_AUTH},     {402, FAULT_QUOTA_MONEY},
    {403, FAULT_AUTH},         {404, FAULT_MODEL},    {406, FAULT_OVERLOAD},
    {407, FAULT_SERVER},       {408, FAULT_OVERLOAD}, {410, FAULT_MODEL},
    {421, FAULT_SERVER},       {422, FAULT_CLIENT},   {423, FAULT_OVERLOAD},
    {424, FAULT_SERVER},       {425, FAULT_OVERLOAD}, {426, FAULT_SERVER},
    {429, FAULT_QUOTA_WINDOW}, {503, FAULT_OVERLOAD}, {529, FAULT_OVERLOAD},
};

enum fault fault_of_reply(int status, const struct err *e)
{
    if (status >= 200 && status < 300 && e->kind == ERR_NONE)
        return FAULT_NONE;
    struct str code = str_of(e->code), message = str_of(e->message);
    for (size_t i = 0; i < ARRAY_LEN(fault_words); i++) {
        struct str w = str_of(fault_words[i].text);
        if (str_eq(code, w) || str_contains(message, w))
            return fault_words[i].fault;
    }
    for (size_t i = 0; i < ARRAY_LEN(fault_statuses); i++)
        if (fault_statuses[i].status == status)
            return fault_statuses[i].fault;
    if (status >= 300 && status < 400)
        return FAULT_SERVER; /* redirects are not followed: the address is wrong */
    return status >= 400 && status < 500 ? FAULT_UNFIT : FAULT_SERVER;
}

bool fault_is_retryable(enum fault f)
{
    switch (f) {
    case FAULT_NONE:
    case FAULT_CLIENT:
    case FAULT_POLICY:
        return false;
    case FAULT_AUTH:
    case FAULT_QUOTA_WINDOW:
    case FAULT_QUOTA_MONEY:
    case FAULT_OVERLOAD:
    case FAULT_TRANSPORT:
    case FAULT_MODEL:
    case FAULT_SERVER:
    case FAULT_UNFIT:
        return true;
    }
    return false;
}

bool fault_is_its_own(enum fault f)
{
    return fault_is_retryable(f) && f != FAULT_UNFIT;
}

/* "1s", "6m0s", "250ms", "1h2m3.5s" (OpenAI, Groq); a bare number is seconds. */
static bool parse_go_duration(struct str s, int64_t *ms)
{
    double total = 0;
    size_t i = 0;
    if (s.n == 0)
        return false;
    while (i < s.n) {
        double v = 0, place = 1;
        size_t from = i;
        bool is_fraction = false;
        for (; i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] == '.' && !is_fraction));
             i++) {
            if (s.p[i] == '.')
                is_fraction = true;
            else if (is_fraction)
                v += (s.p[i] - '0') * (place /= 10);
            else
                v = v * 10 + (s.p[i] - '0');
        }
        if (i == from)
            return false;
        if (i == s.n) {
            total += v * 1000;
        } else if (s.p[i] == 'm' && i + 1 < s.n && s.p[i + 1] == 's') {
            total += v;
            i += 2;
        } else {
            switch (s.p[i++]) {
            case 'h':
                total += v * 3600e3;
                break;
            case 'm':
                total += v * 60e3;
                break;
            case 's':
                total += v * 1000;
                break;
            default:
                return false;
            }
        }
    }
    /* as much as can be said in digits: also more than any number holds */
    *ms = total < (double)MAX_RETRY_MS ? (int64_t)total : MAX_RETRY_MS;
    return true;
}

/* Seconds, a Go duration, an HTTP date, RFC 3339, or Unix seconds / milliseconds. */
bool quota_parse_reset(struct str v, int64_t now, int64_t *ms)
{
    int64_t n, wall;
    if (str_to_int(v, &n)) {
        if (n < 0)
            return false;
        if (n > 100000000000) /* Unix milliseconds (OpenRouter) */
            *ms = n - now;
        else if (n > 1000000000) /* Unix seconds (GitHub, Cerebras) */
            *ms = n * 1000 - now;
        else
            *ms = n * 1000;
    } else if (clock_parse_rfc3339(v, &wall) || clock_parse_http_date(v, &wall)) {
        *ms = wall - now;
    } else if (!parse_go_duration(v, ms)) {
        return false;
    }
    if (*ms < 0)
        *ms = 0;
    return true;
}

/* Digits alone, more than a number holds. */
static bool parse_huge(struct str v, int64_t *ms)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
    *ms = MAX_RETRY_MS;
    return v.n > 18;
}

static int64_t asked_ms(const struct http_header *h, size_t n, struct str body, int64_t now)
{
    int64_t ms;
    struct str v = http_header_get(h, n, "retry-after-ms");
    if (v.n && ((str_to_int(v, &ms) && ms >= 0) || parse_huge(v, &ms)))
        return ms;
    v = http_header_get(h, n, "retry-after");
    if (v.n && quota_parse_reset(v, now, &ms))
        return ms;
    /* The window that is used up: `remaining` 0 beside its reset; else the earliest reset named. */
    int64_t best = -1;
    for (size_t i = 0; i < n; i++) {
        struct str name = h[i].name;
        bool is_openai = str_starts(name, STR("x-ratelimit-reset"));
        bool is_anthropic = str_starts(name, STR("anthropic-ratelimit-")) &&
                            str_ends(name, STR("-reset"));
        if (!is_openai && !is_anthropic)
            continue;
        if (!quota_parse_reset(h[i].value, now, &ms))
            continue;
        char other[96];
        struct str remaining = STR_NONE;
        if (is_openai)
            (void)snprintf(other, sizeof other, "x-ratelimit-remaining" STR_FMT,
                           STR_ARG(str_skip(name, 17)));
        else
            (void)snprintf(other, sizeof other, STR_FMT "-remaining",
                           STR_ARG(str_first(name, name.n - 6)));
        remaining = http_header_get(h, n, other);
        if (remaining.n && !str_is(remaining, "0"))
            continue;
        if (remaining.n ? ms > best : best < 0)
            best = ms;
    }
    if (best >= 0)
        return best;
    /* google.rpc.RetryInfo: {"retryDelay":"13s"} */
    const char *at = body.n ? memmem(body.p, body.n, "\"retryDelay\"", 12) : NULL;
    if (at) {
        struct str rest = str_skip(body, (size_t)(at - body.p) + 12);
        size_t q = str_index(rest, '"');
        rest = str_skip(rest, q + 1);
        struct str head;
        if (q < 8) {
            (void)str_cut(rest, '"', &head);
            if (parse_go_duration(head, &ms))
                return ms;
        }
    }
    return -1;
}

int64_t fault_retry_after_ms(const struct http_header *h, size_t n, struct str body, int64_t now)
{
    int64_t ms = asked_ms(h, n, body, now);
    return ms < MAX_RETRY_MS ? ms : MAX_RETRY_MS; /* a peer's number: any */
}
