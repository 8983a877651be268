/* quota.h - what vendors say of how much of a window is used: headers to windows, and windows to a forecast. Pure. */
#ifndef ROUTE_QUOTA_H
#define ROUTE_QUOTA_H
#include "http/http.h"

#define QUOTA_WINDOWS 4
enum quota_name { QUOTA_REQUESTS, QUOTA_TOKENS, QUOTA_SESSION, QUOTA_WEEK }; /* a minute's requests and tokens; five hours; seven days */
extern const struct word quota_words[];       /* "requests", "tokens", "5h", "7d" */
struct quota_window {
    enum quota_name name;
    double used;              /* 0 to 1, and above */
    int64_t reset_ms;         /* from now until it begins anew; < 0: not said */
};
/* x-ratelimit-*, anthropic-ratelimit-* (unified 5h and 7d too), x-codex-primary/secondary-*. How many of out were filled. */
size_t quota_read(const struct http_header *h, size_t n, int64_t now_wall_ms, struct quota_window out[QUOTA_WINDOWS]);
/* Used so far, at the same pace, at the window's end: 1 and more runs out before. */
double quota_forecast(const struct quota_window *q);
bool quota_parse_reset(struct str text, int64_t now_wall_ms, int64_t *ms) MUST_USE; /* taxonomy.c: any spelling of a moment */
#endif
