/* taxonomy.h - one classification of what went wrong upstream: the only input of failover and cooling. */
#ifndef ROUTE_TAXONOMY_H
#define ROUTE_TAXONOMY_H
#include "base/err.h"
#include "http/http.h"

enum fault {
    FAULT_NONE,
    FAULT_CLIENT,       /* the request itself is wrong: no other target would take it */
    FAULT_AUTH,         /* our credential was refused */
    FAULT_QUOTA_WINDOW, /* rate limit: passes by itself */
    FAULT_QUOTA_MONEY,  /* credit is used up */
    FAULT_OVERLOAD,     /* busy for now */
    FAULT_TRANSPORT,    /* could not be reached, or broke off */
    FAULT_MODEL,        /* it does not have this model */
    FAULT_POLICY,       /* content policy */
    FAULT_SERVER,       /* its own error */
    FAULT_UNFIT,        /* it takes no such request, another one may: says nothing of how it is */
};
const char *fault_name(enum fault f);
/* e: filled by wire_read_error() from the upstream's body. */
enum fault fault_of_reply(int status, const struct err *e);
bool fault_is_retryable(enum fault f);                        /* may the next target be tried */
bool fault_is_its_own(enum fault f);                          /* whether breakers hear of it: else it is as an answer to them */
/* How long the upstream asked to be left alone: Retry-After (seconds or date), retry-after-ms, x-ratelimit-reset*, anthropic-ratelimit-*-reset,
 * Google RetryInfo in the body. -1 unknown. */
int64_t fault_retry_after_ms(const struct http_header *h, size_t n, struct str body, int64_t now_wall_ms);
#endif
