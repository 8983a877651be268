/* policy.h - what holds for a client key beyond its scopes and models: whom it belongs to, how much it may use, and when. One shape, read
 * from the configuration file, the store (as JSON) and the API alike: a new member is one FIELD here. */
#ifndef DOMAIN_POLICY_H
#define DOMAIN_POLICY_H
#include "base/zone.h"
#include "json/shape.h"

struct limits { /* 0: none */
    int64_t requests_per_minute, requests_per_hour, requests_per_day, tokens_per_minute, tokens_per_day, concurrency, sessions;
};
extern const struct shape limits_shape;
static inline bool limits_any(const struct limits *l)
{
    return l->requests_per_minute || l->requests_per_hour || l->requests_per_day || l->tokens_per_minute || l->tokens_per_day || l->concurrency || l->sessions;
}

struct schedule { /* when a key opens anything; all empty: always */
    struct strs days;         /* "mon" … "sun"; none: every day */
    struct str from, until;   /* "22:00"; until <= from: over midnight, and belongs to the day it began; both empty: the whole day */
    struct str time_zone;     /* IANA name; empty: UTC */
    bool paused;              /* kept, but not in force */
};
struct opening { /* a schedule, ready to be asked */
    const struct zone *zone;
    unsigned days;            /* bit 0: Sunday */
    int from_min, until_min;  /* of the day */
};
bool schedule_read(struct arena *a, const struct schedule *s, struct opening *out, struct err *e) MUST_USE; /* ERR_INPUT naming the field */
bool opening_is_open(const struct opening *o, int64_t now_ms) MUST_USE; /* wall clock */

struct key_policy {
    struct str org, user;     /* ids; empty: none */
    struct strs tags;
    struct limits limits;
    struct schedule schedule;
    struct strs allowed_ips;  /* addresses and ranges; none: all */
    bool no_system_prompt, no_log;
    struct str log_bodies;    /* off, errors, all; empty: as the setting says */
    struct strs providers;    /* names of those it may be served by; none: all */
};
#define KEY_POLICY_LIMITS 3   /* places in the shape */
#define KEY_POLICY_SCHEDULE 4
#define KEY_POLICY_NO_LOG 7
#define KEY_POLICY_PROVIDERS 9
extern const struct shape schedule_shape;
extern const struct shape key_policy_shape; /* in the order of KEY_POLICY_FIELDS */
extern const struct key_policy key_policy_none;

// clang-format off
/* The members of a struct key_policy that stands in `type` at `at` ("policy.", or nothing). */
#define KEY_POLICY_FIELDS(type, at, flags) \
    FIELD_AS(type, at org, "org", NULL, flags, "Organisation that it belongs to; absent: its user's"), \
    FIELD_AS(type, at user, "user", NULL, flags, "User that it belongs to"), \
    FIELD_AS(type, at tags, "tags", NULL, flags, "Words to group what it uses by"), \
    {FIELD_BASE(type, at limits, "limits", SHAPE_OBJECT, flags, "How much it may use"), .shape = &limits_shape}, \
    {FIELD_BASE(type, at schedule, "schedule", SHAPE_OBJECT, flags, "When it opens anything; {}: always"), .shape = &schedule_shape}, \
    FIELD_AS(type, at allowed_ips, "allowed_ips", NULL, flags, "Addresses and ranges that it may come from; empty: all"), \
    FIELD_AS(type, at no_system_prompt, "no_system_prompt", NULL, flags, "The operator's system prompt is not added to its conversations"), \
    FIELD_AS(type, at no_log, "no_log", NULL, flags, "Bodies of its requests are never kept"), \
    FIELD_AS(type, at log_bodies, "log_bodies", NULL, flags, "Whether bodies of its requests are kept: off, errors or all; empty: as the setting log_bodies says"), \
    FIELD_AS(type, at providers, "providers", NULL, flags, "Providers that it may be served by, by name; empty: all")
// clang-format on

/* From an object that has its members beside others; absent ones are empty. Checks them: ERR_INPUT naming the field. */
bool key_policy_read(struct arena *a, yyjson_val *object, struct key_policy *out, struct err *e) MUST_USE;
bool key_policy_check(struct arena *a, const struct key_policy *p, struct err *e) MUST_USE;
struct str key_policy_json(struct arena *a, const struct key_policy *p); /* only what is there; empty: nothing is */
/* Makes the members of `into` whose bit is set (in the order of the shape) those of `from`. */
void key_policy_merge(struct key_policy *into, const struct key_policy *from, uint64_t given);
struct str limits_json(struct arena *a, const struct limits *l);         /* empty: no limit */
bool limits_parse(struct arena *a, struct str json, struct limits *out); /* of the store; false: not readable */
#endif
