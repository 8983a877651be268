/* sessions.h - the sessions that clients name in a header: who was served when, how often and where last. A fixed table that all loops share:
 * atomics, no lock, no allocation; one that is not heard of for half an hour is forgotten, and so is the oldest where there is no room. */
#ifndef RELAY_SESSIONS_H
#define RELAY_SESSIONS_H
#include "relay/relay.h"

#define SESSION_IDLE_MS 1800000

struct sessions;
struct sessions *sessions_new(void);
void sessions_free(struct sessions *s);
/* X-Session-Id and its like; STR_NONE: it names none. */
struct str session_named(const struct http_req *r);
/* A request of it is over. key: id of the client key; upstream: id of the one that was asked last, UINT32_MAX: none. Wall clock. */
void sessions_note(struct sessions *s, struct str id, struct str key, uint32_t upstream, int64_t now_ms);
struct session_info {
    struct str id, key;       /* cut at 64 and 24 bytes */
    int64_t began_ms, last_ms;
    uint64_t requests;
    uint32_t upstream;
};
/* Those that were heard of of late, in no order; in the arena. Any thread. */
size_t sessions_list(const struct sessions *s, struct arena *a, int64_t now_ms, struct session_info **out);
struct sessions *relay_sessions(const struct relay_shared *s);
#endif
