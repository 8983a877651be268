/* omni_usage.h - what OmniRoute's views of the request log share. */
#ifndef API_OMNI_USAGE_H
#define API_OMNI_USAGE_H
#include "api/requests.h"
#include "meter/usage_sum.h"

struct str omni_provider(const struct snapshot *s, struct str upstream); /* its kind, as long as it is configured; else its own name */
struct str omni_connection_id(const struct snapshot *s, struct str upstream); /* as long as it is configured; else its own name */
struct str omni_iso(struct arena *a, int64_t wall_ms);                   /* 2026-01-31T12:00:00.000Z */
struct str omni_date(struct arena *a, int64_t day);                      /* 2026-01-31, of a day since 1970 */
struct str omni_last_segment(struct str model);                          /* of "vendor/model": model */
/* "name (id)" of a key; empty: requests without one. */
struct str omni_key_text(struct arena *a, const struct snapshot *s, struct str key_id);
/* What is being served right now: how many by model and provider's name; the loops are asked. */
struct omni_live {
    struct str model, upstream, provider;
    int64_t count;
};
bool omni_live_requests(struct control_call *c, struct omni_live **out, size_t *n, struct err *e) MUST_USE;
/* Filter by a provider's kind or name. */
void omni_filter_provider(struct control_call *c, struct str provider, struct usage_filter *f);
#endif
