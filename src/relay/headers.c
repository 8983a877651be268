/* headers.c - which headers cross the relay, in each direction. */
#include "base/clock.h"
#include "relay/request.h"

/* Forwarded to an upstream of the same format (contract of translation, section 12). */
static const struct str forwarded[] = {
    STR_INIT("anthropic-beta"),        STR_INIT("openai-beta"),
    STR_INIT("openai-organization"),   STR_INIT("openai-project"),
    STR_INIT("x-goog-api-client"),     STR_INIT("x-goog-user-project"),
    STR_INIT("openresponses-version"), STR_INIT("idempotency-key"),
    STR_INIT("x-session-affinity"),
};

bool header_is_forwarded(struct str name)
{
    if (name.n < 11 || !memchr("aoxi", name.p[0], 4)) /* their first letters */
        return false;
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        if (name.n == forwarded[i].n && str_eq(name, forwarded[i]))
            return true;
    return false;
}

static void add(struct http_header *h, size_t *n, size_t max, struct str name, struct str value)
{
    if (*n < max && value.n)
        h[(*n)++] = (struct http_header){name, value};
}

/* Among the betas that the client asks for, or alone. */
static size_t ask_extended(struct arena *a, struct http_header *h, size_t n, size_t max)
{
    const struct str beta = STR("context-1m-2025-08-07");
    for (size_t i = 0; i < n; i++)
        if (str_is(h[i].name, "anthropic-beta")) {
            if (!str_contains(h[i].value, beta))
                h[i].value = str_fmt(a, STR_FMT "," STR_FMT, STR_ARG(h[i].value), STR_ARG(beta));
            return n;
        }
    add(h, &n, max, STR("anthropic-beta"), beta);
    return n;
}

void upstream_headers(struct relay *rl, const struct target *t, struct str content_type,
                      struct http_out *out)
{
    static const struct str json = STR_INIT("content-type: application/json\r\n"
                                            "accept: application/json, */*;q=0.5\r\n"),
                            json_stream = STR_INIT(
                                "content-type: application/json\r\n"
                                "accept: text/event-stream, application/json\r\n"),
                            other = STR_INIT("accept: application/json, */*;q=0.5\r\n");
    const struct upstream *u = t->upstream;
    const size_t max = rl->r->n_headers + 7;
    struct http_header *h = arena_alloc(relay_brief(rl), max * sizeof *h);
    size_t n = 0;
    bool is_json = str_is(content_type, "application/json");
    out->lines[0] = !is_json ? other : rl->is_stream ? json_stream : json;
    if (!is_json)
        add(h, &n, max, STR("content-type"), content_type);
    out->lines[1] = u->lines[rl->ticket.key < u->n_keys ? rl->ticket.key : 0];
    add(h, &n, max, STR("x-request-id"), rl->id);
    bool is_same = rl->up != WIRE_NONE && rl->up == rl->spec->client;
    if (rl->up == WIRE_ANTHROPIC) {
        struct str version = is_same ? http_req_header(rl->r, "anthropic-version") : STR_NONE;
        add(h, &n, max, STR("anthropic-version"), version.n ? version : STR("2023-06-01"));
    }
    if (is_same || rl->up == WIRE_NONE)
        for (size_t i = 0; i < rl->r->n_headers; i++)
            if (header_is_forwarded(rl->r->headers[i].name))
                add(h, &n, max, rl->r->headers[i].name, rl->r->headers[i].value);
    if (rl->is_extended && rl->up == WIRE_ANTHROPIC)
        n = ask_extended(relay_brief(rl), h, n, max);
    out->headers = h;
    out->n_headers = n + trace_headers(rl, h + n, max - n);
}

static bool is_request_id(struct str name)
{
    return str_is(name, "request-id") || str_is(name, "x-request-id");
}

static bool is_kept(struct str name)
{
    static const struct str exact[] = {
        STR_INIT("retry-after"),          STR_INIT("retry-after-ms"),
        STR_INIT("openai-processing-ms"), STR_INIT("openai-version"),
        STR_INIT("openai-organization"),  STR_INIT("content-disposition")};
    if (name.n < 10 || !memchr("aocrx", name.p[0], 5)) /* the first letters of all that follows */
        return false;
    for (size_t i = 0; i < ARRAY_LEN(exact); i++)
        if (str_eq(name, exact[i]))
            return true;
    return str_starts(name, STR("x-ratelimit-")) || str_starts(name, STR("anthropic-ratelimit-")) ||
           str_starts(name, STR("ratelimit-"));
}

void keep_reply_headers(struct arena *a, const struct http_header *h, size_t n,
                        struct out_headers *out)
{
    size_t kept = 0;
    *out = (struct out_headers){NULL, 0};
    for (size_t i = 0; i < n; i++)
        kept += is_kept(h[i].name) || is_request_id(h[i].name);
    if (kept == 0)
        return;
    if (kept > MAX_KEPT_HEADERS)
        kept = MAX_KEPT_HEADERS;
    out->v = ARENA_ARRAY(a, struct http_header, kept);
    for (size_t i = 0; i < n && out->n < kept; i++) {
        if (is_kept(h[i].name))
            out->v[out->n++] = (struct http_header){str_dup(a, h[i].name), str_dup(a, h[i].value)};
        else if (is_request_id(h[i].name))
            out->v[out->n++] = (struct http_header){STR("x-sluice-upstream-request-id"),
                                                    str_dup(a, h[i].value)};
    }
}
