/* omni_resilience.c - /api/resilience, /rate-limits, /policies and what is left of quotas: how connections are spared, and let try again. */
#include "api/change_route.h"
#include "api/metrics.h"
#include "api/omni.h"
#include "api/omni_usage.h"
#include "base/clock.h"
#include "domain/route_policy.h"
#include "gate/limit.h"
#include "relay/sessions.h"
#include "route/live.h"
#include "json/shape_json.h"
#include <stdlib.h>

struct limits omni_protected(const struct snapshot *s, const struct upstream *u, bool on)
{
    struct limits l = u ? u->limits : (struct limits){0};
    if (!on)
        l.requests_per_minute = l.concurrency = 0;
    else if (!l.requests_per_minute)
        l.requests_per_minute = s->settings.protect_requests_per_minute;
    if (on && !l.concurrency)
        l.concurrency = s->settings.protect_concurrency;
    return l;
}

static bool is_protected(const struct upstream *u)
{
    return u->limits.requests_per_minute || u->limits.concurrency;
}

static struct live *live_of(const struct control_call *c)
{
    return relay_live_state(c->control->shared);
}

/* ---- what runs and waits ---- */

struct running {
    struct omni_live *v;
    size_t n;
};

static int64_t running_at(const struct running *r, const struct upstream *u)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += str_eq(r->v[i].upstream, u->name) ? r->v[i].count : 0;
    return n;
}

static int64_t waiting_at(const struct upstream *u)
{
    return u->gauge ? (int64_t)limit_waiting(u->gauge) : 0;
}

/* ---- breakers ---- */

static const char *state_text(enum breaker_state s)
{
    return s == BREAKER_OPEN ? "OPEN" : s == BREAKER_HALF_OPEN ? "HALF_OPEN" : "CLOSED";
}

static void write_breakers(struct jw *w, struct control_call *c)
{
    struct breaker_info *b;
    size_t n = live_breakers(live_of(c), c->snap, c->arena, clock_mono_ms(), &b);
    jw_key(w, "circuitBreakers");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = b[i].upstream;
        jw_object(w);
        jw_kv_str(
            w, "name",
            str_fmt(c->arena, STR_FMT "/%s", STR_ARG(u->name), b[i].model[0] ? b[i].model : "*"));
        jw_key(w, "state");
        jw_cstr(w, state_text(b[i].state));
        jw_kv_int(w, "failureCount", b[i].failures);
        jw_kv_str(w, "lastFailureTime",
                  omni_time(c->arena, clock_wall_ms() - (int64_t)b[i].age_ms));
        jw_kv_int(w, "remainingMs", (int64_t)b[i].wait_ms);
        jw_object_end(w);
    }
    jw_array_end(w);
}

struct reset_out {
    bool ok, success;
    int64_t n;
    struct str message;
};
static const struct shape reset_shape = SHAPE(
    struct reset_out, FIELD(struct reset_out, ok, 0, "true"),
    FIELD(struct reset_out, success, 0, "true"),
    FIELD_AS(struct reset_out, n, "resetCount", NULL, 0,
             "How many were not closed, and accounts had used up a quota window"),
    FIELD(struct reset_out, message, 0, "What was done"));

static bool reset(struct control_call *c, struct err *e)
{
    struct reset_out out = {.ok = true, .success = true};
    (void)e;
    out.n = (int64_t)live_reset(live_of(c), UINT32_MAX, STR_NONE, clock_mono_ms());
    out.message = str_fmt(c->arena, "%lld breakers are closed and quota windows asked for again",
                          (long long)out.n);
    control_audit(c, "breakers", STR("*"), STR_NONE, STR_NONE);
    return control_reply(c, 200, &reset_shape, &out);
}

/* ---- /api/resilience: how connections are left alone, those of vendors and those that run here, and what protecting one means ---- */

struct profile {
    int64_t transientCooldown, rateLimitCooldown, maxBackoffLevel, circuitBreakerThreshold,
        circuitBreakerReset;
};
struct profiles {
    struct profile oauth, apikey, local;
};
struct protect {
    int64_t requestsPerMinute, minTimeBetweenRequests, concurrentRequests;
};
struct resilience_out {
    struct profiles profiles;
    struct protect defaults;
    yyjson_val *circuitBreakers, *rateLimitStatus;
};
struct resilience_in {
    yyjson_val *profiles, *defaults;
};
struct resilience_done {
    bool ok;
    struct profiles profiles;
    struct protect defaults;
};
/* clang-format off */
#define LEVELS_MAX 20
static const struct shape profile_shape = SHAPE_STRICT(struct profile,
    FIELD_RANGE(struct profile, transientCooldown, 1, 3600000, REQUIRED, "Setting breaker_cooldown_ms; of local: local_breaker_cooldown_ms"),
    FIELD_RANGE(struct profile, rateLimitCooldown, 1, 3600000, REQUIRED, "Setting rate_limit_cooldown_ms or local_rate_limit_cooldown_ms, after 429 of an upstream that does not say how long"),
    FIELD_RANGE(struct profile, maxBackoffLevel, 0, LEVELS_MAX, REQUIRED, "How often these are doubled at most: breaker_cooldown_max_ms or local_breaker_cooldown_max_ms"),
    FIELD_RANGE(struct profile, circuitBreakerThreshold, 1, 100, REQUIRED, "Setting breaker_failures or local_breaker_failures"),
    FIELD_RANGE(struct profile, circuitBreakerReset, 1, 3600000, REQUIRED, "The same as transientCooldown: breakers and cooldowns are one"));
static const struct shape profiles_shape = SHAPE(struct profiles,
    FIELD_OBJECT(struct profiles, oauth, &profile_shape, 0, "As apikey: one profile for all vendors"),
    FIELD_OBJECT(struct profiles, apikey, &profile_shape, 0, "Of vendors"),
    FIELD_OBJECT(struct profiles, local, &profile_shape, 0, "Of model servers of one's own"));
static const struct shape protect_shape = SHAPE_STRICT(struct protect,
    FIELD_RANGE(struct protect, requestsPerMinute, 1, 1000000, 0, "Setting protect_requests_per_minute"),
    FIELD_RANGE(struct protect, minTimeBetweenRequests, 0, 60000, 0, "0: windows slide, nothing is spaced"),
    FIELD_RANGE(struct protect, concurrentRequests, 1, 100000, 0, "Setting protect_concurrency"));
static const struct shape traffic_shape = MEMBERS("traffic",
    MEMBER("queued",    SHAPE_INT64, 0, "Requests that wait"),
    MEMBER("running",   SHAPE_INT64, 0, "Requests that run"),
    MEMBER("executing", SHAPE_INT64, 0, "The same"));
static const struct shape breaker_shape = MEMBERS("breaker",
    MEMBER("name",            SHAPE_STR,   0, "Connection and model"),
    MEMBER("state",           SHAPE_STR,   0, "CLOSED, OPEN or HALF_OPEN"),
    MEMBER("failureCount",    SHAPE_INT64, 0, "In a row"),
    MEMBER("lastFailureTime", SHAPE_STR,   0, "When it failed last"),
    MEMBER("remainingMs",     SHAPE_INT64, 0, "Until it is asked again"));
static const struct shape resilience_shape = SHAPE(struct resilience_out,
    FIELD_OBJECT(struct resilience_out, profiles, &profiles_shape, 0, "How connections are left alone"),
    FIELD_OBJECT(struct resilience_out, defaults, &protect_shape, 0, "What protecting a connection limits it to"),
    FIELD_JSON(struct resilience_out, circuitBreakers, JSON_LIST, &breaker_shape, 0, "Those with a failure to remember: name, state, failureCount, lastFailureTime, remainingMs"),
    FIELD_JSON(struct resilience_out, rateLimitStatus, JSON_MAP, &traffic_shape, 0, "Requests waiting and running by provider:connection"));
static const struct shape resilience_in_shape = SHAPE_STRICT(struct resilience_in,
    FIELD(struct resilience_in, profiles, 0, "apikey, oauth, local: each whole; of the first two, those that differ from what holds must agree"),
    FIELD(struct resilience_in, defaults, 0, "requestsPerMinute, concurrentRequests"));
static const struct shape resilience_done_shape = SHAPE(struct resilience_done,
    FIELD(struct resilience_done, ok, 0, "true"),
    FIELD_OBJECT(struct resilience_done, profiles, &profiles_shape, 0, "As they hold now"),
    FIELD_OBJECT(struct resilience_done, defaults, &protect_shape, 0, "As they hold now"));
/* clang-format on */

static struct profile profile_of(const struct settings *set, bool is_local)
{
    int64_t cool = is_local ? set->local_breaker_cooldown_ms : set->breaker_cooldown_ms,
            most = is_local ? set->local_breaker_cooldown_max_ms : set->breaker_cooldown_max_ms;
    struct profile p = {.transientCooldown = cool,
                        .rateLimitCooldown = is_local ? set->local_rate_limit_cooldown_ms
                                                      : set->rate_limit_cooldown_ms,
                        .circuitBreakerThreshold = is_local ? set->local_breaker_failures
                                                            : set->breaker_failures,
                        .circuitBreakerReset = cool};
    while (p.maxBackoffLevel < LEVELS_MAX && cool << p.maxBackoffLevel < most)
        p.maxBackoffLevel++;
    return p;
}

static struct profiles profiles_of(const struct settings *set)
{
    struct profile vendors = profile_of(set, false);
    return (struct profiles){vendors, vendors, profile_of(set, true)};
}

static struct protect protect_of(const struct settings *set)
{
    return (struct protect){set->protect_requests_per_minute, 0, set->protect_concurrency};
}

static void write_status(struct jw *w, struct control_call *c, const struct running *r)
{
    jw_object(w);
    for (size_t i = 0; i < c->snap->n_upstreams; i++) {
        const struct upstream *u = c->snap->upstreams[i];
        int64_t runs = running_at(r, u), waits = waiting_at(u);
        if (!runs && !waits)
            continue;
        jw_key_str(w, str_fmt(c->arena, STR_FMT ":" STR_FMT, STR_ARG(omni_provider_of(u)),
                              STR_ARG(u->uid)));
        jw_object(w);
        jw_kv_int(w, "queued", waits);
        jw_kv_int(w, "running", runs);
        jw_kv_int(w, "executing", runs);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static bool get_resilience(struct control_call *c, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    struct profiles all = profiles_of(set);
    struct protect protect = protect_of(set);
    struct running r;
    if (!omni_live_requests(c, &r.v, &r.n, e))
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "profiles");
    shape_write(&profiles_shape, &all, &w);
    jw_key(&w, "defaults");
    shape_write(&protect_shape, &protect, &w);
    write_breakers(&w, c);
    jw_key(&w, "rateLimitStatus");
    write_status(&w, c, &r);
    jw_object_end(&w);
    return true;
}

static bool inside(struct err *e, const char *of)
{
    char was[96];
    (void)snprintf(was, sizeof was, "%s", e->field);
    (void)snprintf(e->field, sizeof e->field, "%s%s%.70s", of, was[0] ? "." : "", was);
    return false;
}

/* Breakers and cooldowns are one here: whichever of the two times was changed counts. */
static bool agree_on_reset(struct profile *p, const struct profile *now, const char *field,
                           struct err *e)
{
    if (p->circuitBreakerReset != p->transientCooldown &&
        p->transientCooldown == now->transientCooldown)
        p->transientCooldown = p->circuitBreakerReset;
    else if (p->circuitBreakerReset == now->circuitBreakerReset)
        p->circuitBreakerReset = p->transientCooldown;
    return p->circuitBreakerReset == p->transientCooldown ||
           err_field(e, field, "'circuitBreakerReset' must be the same as 'transientCooldown'");
}

/* Into those that hold; apikey and oauth, both vendors', must agree where both are changed. */
static bool read_profiles(struct control_call *c, yyjson_val *v, struct profiles *out,
                          struct err *e)
{
    static const char *const names[] = {"apikey", "oauth", "local"};
    const struct profiles now = *out;
    bool has_one = false;
    size_t i, max, known = 0;
    yyjson_val *k, *one;
    if (!yyjson_is_obj(v))
        return err_field(e, "profiles", "'profiles' must be an object");
    yyjson_obj_foreach (v, i, max, k, one) {
        char field[64];
        struct profile p = {0};
        for (known = 0; known < ARRAY_LEN(names); known++)
            if (str_eq(json_str(k), str_of(names[known])))
                break;
        (void)snprintf(field, sizeof field, "profiles.%.40s", yyjson_get_str(k));
        if (known == ARRAY_LEN(names) || !yyjson_is_obj(one))
            return err_field(e, field, "'profiles' holds apikey, oauth and local, each an object");
        if (!shape_read(&profile_shape, c->arena, one, &p, NULL, e))
            return inside(e, field);
        bool is_local = known == 2;
        const struct profile *was = is_local ? &now.local : &now.apikey;
        if (memcmp(&p, was, sizeof p) == 0)
            continue;
        if (!agree_on_reset(&p, was, field, e))
            return false;
        if (is_local) {
            out->local = p;
            continue;
        }
        if (has_one && memcmp(&p, &out->apikey, sizeof p) != 0)
            return err_field(e, field, "there is one profile for all vendors: these must agree");
        out->apikey = out->oauth = p;
        has_one = true;
    }
    return true;
}

struct number {
    const char *setting;
    int64_t value;
};

static size_t put_numbers(struct control_call *c, const struct number *rows, size_t n,
                          struct setting_value *v)
{
    for (size_t i = 0; i < n; i++)
        v[i] = (struct setting_value){setting_find(str_of(rows[i].setting)),
                                      str_fmt(c->arena, "%lld", (long long)rows[i].value)};
    return n;
}

static int64_t most_of(const struct profile *p)
{
    int64_t most = p->transientCooldown << p->maxBackoffLevel;
    return most < 86400000 ? most : 86400000;
}

static bool put_resilience(struct control_call *c, struct err *e)
{
    const struct resilience_in *in = c->in;
    const struct profiles was = profiles_of(&c->snap->settings);
    struct profiles p = was;
    struct protect protect = protect_of(&c->snap->settings);
    if (!c->present)
        return err_field(e, "body", "Give at least one key");
    if ((c->present & 1) && !read_profiles(c, in->profiles, &p, e))
        return false;
    if (c->present & 2) {
        if (!yyjson_is_obj(in->defaults))
            return err_field(e, "defaults", "'defaults' must be an object");
        if (!shape_read(&protect_shape, c->arena, in->defaults, &protect, NULL, e))
            return inside(e, "defaults");
        if (protect.minTimeBetweenRequests)
            return err_field(e, "defaults.minTimeBetweenRequests",
                             "'minTimeBetweenRequests' is not supported: windows slide");
    }
    const struct number vendors[] = {{"breaker_cooldown_ms", p.apikey.transientCooldown},
                                     {"breaker_cooldown_max_ms", most_of(&p.apikey)},
                                     {"rate_limit_cooldown_ms", p.apikey.rateLimitCooldown},
                                     {"breaker_failures", p.apikey.circuitBreakerThreshold}},
                        local[] = {{"local_breaker_cooldown_ms", p.local.transientCooldown},
                                   {"local_breaker_cooldown_max_ms", most_of(&p.local)},
                                   {"local_rate_limit_cooldown_ms", p.local.rateLimitCooldown},
                                   {"local_breaker_failures", p.local.circuitBreakerThreshold}},
                        guard[] = {{"protect_requests_per_minute", protect.requestsPerMinute},
                                   {"protect_concurrency", protect.concurrentRequests}};
    struct setting_value v[ARRAY_LEN(vendors) + ARRAY_LEN(local) + ARRAY_LEN(guard)];
    size_t n = 0;
    if (memcmp(&p.apikey, &was.apikey, sizeof p.apikey) != 0)
        n += put_numbers(c, vendors, ARRAY_LEN(vendors), v + n);
    if (memcmp(&p.local, &was.local, sizeof p.local) != 0)
        n += put_numbers(c, local, ARRAY_LEN(local), v + n);
    if (c->present & 2)
        n += put_numbers(c, guard, ARRAY_LEN(guard), v + n);
    if (n && !change_settings(c, v, n, e))
        return false;
    struct snapshot *now = snapshot_current();
    struct resilience_done out = {true, profiles_of(&now->settings), protect_of(&now->settings)};
    snapshot_unref(now);
    return control_reply(c, 200, &resilience_done_shape, &out);
}

/* ---- /api/rate-limits ---- */

struct rates_out {
    yyjson_val *connections, *overview, *lockouts, *cacheStats;
};
struct protect_in {
    struct str connectionId;
    bool enabled;
};
struct protect_out {
    bool success;
    struct str connectionId;
    bool enabled;
};
/* clang-format off */
static const struct shape overview_shape = MEMBERS("overview",
    MEMBER("connections", SHAPE_INT64, 0, "How many there are"),
    MEMBER("protected",   SHAPE_INT64, 0, "How many of them are protected"),
    MEMBER("queued",      SHAPE_INT64, 0, "Requests that wait"),
    MEMBER("running",     SHAPE_INT64, 0, "Requests that run"));
static const struct shape locked_out_shape = MEMBERS("locked_out",
    MEMBER("provider",     SHAPE_STR,   0, "Its provider"),
    MEMBER("connectionId", SHAPE_STR,   0, "The connection"),
    MEMBER("model",        SHAPE_STR,   0, "The model; *: all of them"),
    MEMBER("reason",       SHAPE_STR,   0, "What failed"),
    MEMBER("remainingMs",  SHAPE_INT64, 0, "For how long"));
static const struct shape guarded_shape = MEMBERS("guarded",
    MEMBER("connectionId",        SHAPE_STR,    0, "The connection"),
    MEMBER("provider",            SHAPE_STR,    0, "Its provider"),
    MEMBER("name",                SHAPE_STR,    0, "Its name for people"),
    MEMBER("rateLimitProtection", SHAPE_BOOL,   0, "Whether it is protected"),
    MEMBER("enabled",             SHAPE_BOOL,   0, "The same"),
    MEMBER("active",              SHAPE_BOOL,   0, "Whether anything runs or waits"),
    MEMBER("queued",              SHAPE_INT64,  0, "Requests that wait"),
    MEMBER("running",             SHAPE_INT64,  0, "Requests that run"),
    {.name = "limits", .kind = SHAPE_OBJECT, .size = sizeof(struct limits), .doc = "What limits it", .shape = &limits_shape});
static const struct shape rates_shape = SHAPE(struct rates_out,
    FIELD_JSON(struct rates_out, connections, JSON_LIST, &guarded_shape, 0, "connectionId, provider, name, rateLimitProtection, limits, active, queued, running of each"),
    FIELD_JSON(struct rates_out, overview, 0, &overview_shape, 0, "The same summed up"),
    FIELD_JSON(struct rates_out, lockouts, JSON_LIST, &locked_out_shape, 0, "Models and connections that are left alone: provider, connectionId, model, reason, remainingMs"));
static const struct shape protect_in_shape = SHAPE(struct protect_in,
    FIELD_TEXT(struct protect_in, connectionId, 1, 200, REQUIRED | TRIM, "Which connection"),
    FIELD(struct protect_in, enabled, REQUIRED, "true: it gets the limits that GET /api/resilience shows as defaults, where it has none; false: it loses them"));
static const struct shape protect_out_shape = SHAPE(struct protect_out,
    FIELD(struct protect_out, success, 0, "true"),
    FIELD(struct protect_out, connectionId, 0, "The connection, as it was named"),
    FIELD(struct protect_out, enabled, 0, "Whether it is protected now"));
/* clang-format on */

static void write_lockouts(struct jw *w, struct control_call *c)
{
    struct breaker_info *b;
    size_t n = live_breakers(live_of(c), c->snap, c->arena, clock_mono_ms(), &b);
    jw_key(w, "lockouts");
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = b[i].upstream;
        if (b[i].state == BREAKER_CLOSED)
            continue;
        jw_object(w);
        jw_kv_str(w, "provider", omni_provider_of(u));
        jw_kv_str(w, "connectionId", u->uid);
        jw_key(w, "model");
        jw_cstr(w, b[i].model[0] ? b[i].model : "*");
        jw_key(w, "reason");
        jw_cstr(w, fault_name(b[i].fault));
        jw_kv_int(w, "remainingMs", (int64_t)b[i].wait_ms);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static bool get_rates(struct control_call *c, struct err *e)
{
    struct running r;
    int64_t queued = 0, runs = 0, guarded = 0;
    if (!omni_live_requests(c, &r.v, &r.n, e))
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_key(&w, "connections");
    jw_array(&w);
    for (size_t i = 0; i < c->snap->n_upstreams; i++) {
        const struct upstream *u = c->snap->upstreams[i];
        int64_t now = running_at(&r, u), waits = waiting_at(u);
        jw_object(&w);
        jw_kv_str(&w, "connectionId", u->uid);
        jw_kv_str(&w, "provider", omni_provider_of(u));
        jw_kv_str(&w, "name", u->label.n ? u->label : u->name);
        jw_kv_bool(&w, "rateLimitProtection", is_protected(u));
        jw_kv_bool(&w, "enabled", is_protected(u));
        jw_kv_bool(&w, "active", now > 0 || waits > 0);
        jw_kv_int(&w, "queued", waits);
        jw_kv_int(&w, "running", now);
        jw_key(&w, "limits");
        shape_write(&limits_shape, &u->limits, &w);
        jw_object_end(&w);
        queued += waits;
        runs += now;
        guarded += is_protected(u);
    }
    jw_array_end(&w);
    jw_key(&w, "overview");
    jw_object(&w);
    jw_kv_int(&w, "connections", (int64_t)c->snap->n_upstreams);
    jw_kv_int(&w, "protected", guarded);
    jw_kv_int(&w, "queued", queued);
    jw_kv_int(&w, "running", runs);
    jw_object_end(&w);
    write_lockouts(&w, c);
    jw_object_end(&w);
    return true;
}

static bool protect_one(struct control_call *c, struct err *e)
{
    const struct protect_in *in = c->in;
    const struct upstream *u = omni_connection(c->snap, in->connectionId);
    if (!u)
        return omni_not_found("Connection", in->connectionId, e);
    struct provider_change p = {.name = u->name,
                                .given = PROVIDER_LIMITS,
                                .limits = omni_protected(c->snap, u, in->enabled)};
    struct protect_out out = {true, in->connectionId, in->enabled};
    return change_provider(c, CHANGE_UPDATE, &p, e) &&
           control_reply(c, 200, &protect_out_shape, &out);
}

/* ---- /api/policies ---- */

struct policies_out {
    yyjson_val *circuitBreakers, *lockedIdentifiers, *policies;
};
struct policy_in {
    struct str name, identifier, id;
    yyjson_val *action, *match;
    int64_t priority;
    bool enabled;
};
enum policy_bit {
    IN_NAME,
    IN_IDENTIFIER,
    IN_ID,
    IN_ACTION,
    IN_MATCH,
    IN_PRIORITY,
    IN_ENABLED
};
struct match_in {
    struct str model, key;
    yyjson_val *provider;
};
struct action_in {
    struct str type, target;
};
struct policy_done { /* as one or the other */
    bool success;
    struct str identifier, id, name;
    bool enabled;
    int64_t priority;
    yyjson_val *action, *match;
};
/* clang-format off */
static const struct shape lock_shape = MEMBERS("lock",
    MEMBER("identifier",  SHAPE_STR,   0, "The address"),
    MEMBER("lockedUntil", SHAPE_INT64, 0, "Milliseconds since 1970"),
    MEMBER("remainingMs", SHAPE_INT64, 0, "The same from now"));
static const struct shape match_out_shape = MEMBERS("policy_match",
    MEMBER("model",    SHAPE_STR, OMIT_EMPTY, "Requests for these models"),
    MEMBER("apiKeyId", SHAPE_STR, OMIT_EMPTY, "Requests of this key"));
static const struct shape action_out_shape = MEMBERS("policy_action",
    MEMBER("type",   SHAPE_STR, 0, "deny or route"),
    MEMBER("target", SHAPE_STR, OMIT_EMPTY, "Where to"));
static const struct shape policy_out_shape = MEMBERS("policy",
    MEMBER("id",       SHAPE_STR,   0, "Stable id"),
    MEMBER("name",     SHAPE_STR,   0, "Name"),
    MEMBER("enabled",  SHAPE_BOOL,  0, "Whether it is in force"),
    MEMBER("priority", SHAPE_INT64, 0, "Lower ones are looked at first"),
    {.name = "match", .kind = SHAPE_JSON, .doc = "Which requests", .shape = &match_out_shape},
    {.name = "action", .kind = SHAPE_JSON, .doc = "What is done with them", .shape = &action_out_shape});
static const struct shape policies_shape = SHAPE(struct policies_out,
    FIELD_JSON(struct policies_out, circuitBreakers, JSON_LIST, &breaker_shape, 0, "Those with a failure to remember: name, state, failureCount, lastFailureTime, remainingMs"),
    FIELD_JSON(struct policies_out, lockedIdentifiers, JSON_LIST, &lock_shape, 0, "Addresses that failed to sign in too often: identifier, lockedUntil, remainingMs"),
    FIELD_JSON(struct policies_out, policies, JSON_LIST, &policy_out_shape, 0, "What is done with requests before they are led anywhere: id, name, enabled, priority, match, action"));
/* In the order of enum policy_bit. */
static const struct shape policy_in_shape = SHAPE(struct policy_in,
    FIELD_TEXT(struct policy_in, name, 1, 200, TRIM, "A policy is made"),
    FIELD(struct policy_in, identifier, 0, "With action unlock: the address"),
    FIELD(struct policy_in, id, 0, "Name for machines; made of the name when absent"),
    FIELD(struct policy_in, action, REQUIRED, "unlock; or of a policy {type,target}: deny, or route to a model or combo"),
    FIELD(struct policy_in, match, 0, "{model,apiKeyId}: which requests; * is any text"),
    FIELD_RANGE(struct policy_in, priority, -1000000, 1000000, COERCE, "Of those that fit, the highest counts"),
    FIELD(struct policy_in, enabled, 0, "Whether it counts; true when absent"));
static const struct shape match_shape = SHAPE_STRICT(struct match_in,
    FIELD_TEXT(struct match_in, model, 0, 200, TRIM, "Name that is asked for"),
    FIELD_AS(struct match_in, key, "apiKeyId", NULL, 0, "Id of a client key"),
    FIELD(struct match_in, provider, 0, "Not taken: a model of provider/* says so"));
static const struct shape action_shape = SHAPE_STRICT(struct action_in,
    FIELD(struct action_in, type, REQUIRED | NOT_EMPTY, "deny or route; limits are keys', users', models' and providers' own"),
    FIELD(struct action_in, target, 0, "Of route: a model, provider/model or combo"));
static const struct shape policy_done_shape = SHAPE(struct policy_done,
    FIELD(struct policy_done, success, OMIT_EMPTY, "true, of unlocking"),
    FIELD(struct policy_done, identifier, OMIT_EMPTY, "The address that may try again"),
    FIELD(struct policy_done, id, OMIT_EMPTY, "Id of the policy"),
    FIELD(struct policy_done, name, OMIT_EMPTY, "Its name"),
    FIELD(struct policy_done, enabled, OMIT_EMPTY, "Whether it counts"),
    FIELD(struct policy_done, priority, OMIT_EMPTY, "Of those that fit, the highest counts"),
    FIELD(struct policy_done, action, 0, "unlocked; or what the policy does: {type,target}"),
    FIELD_JSON(struct policy_done, match, 0, &json_of_object, OMIT_EMPTY, "Which requests it holds for"));
/* clang-format on */

static void write_locked(struct jw *w, const struct lockout_row *row, int64_t now_ms)
{
    jw_key(w, "lockedIdentifiers");
    jw_array(w);
    for (; row; row = row->next) {
        jw_object(w);
        jw_kv_str(w, "identifier", row->address);
        jw_kv_int(w, "lockedUntil", row->until_ms);
        jw_kv_int(w, "remainingMs", row->until_ms - now_ms);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_policy(struct jw *w, const struct route_policy *p)
{
    jw_object(w);
    jw_kv_str(w, "id", p->id);
    jw_kv_str(w, "name", p->name);
    jw_kv_bool(w, "enabled", p->enabled);
    jw_kv_int(w, "priority", p->priority);
    jw_key(w, "match");
    jw_object(w);
    if (p->model.n)
        jw_kv_str(w, "model", p->model);
    if (p->key.n)
        jw_kv_str(w, "apiKeyId", p->key);
    jw_object_end(w);
    jw_key(w, "action");
    jw_object(w);
    jw_key(w, "type");
    jw_cstr(w, word_text(policy_action_words, p->action, "deny"));
    if (p->target.n)
        jw_kv_str(w, "target", p->target);
    jw_object_end(w);
    jw_object_end(w);
}

/* As they are written: those that are switched off too. */
static bool written_policies(struct control_call *c, struct route_policy **out, size_t *n,
                             struct err *e)
{
    yyjson_val *root, *k, *v;
    size_t i, max;
    *n = 0;
    if (!change_view(c, &root, e))
        return false;
    yyjson_val *all = json_get(root, "policies");
    *out = ARENA_ARRAY(c->arena, struct route_policy, yyjson_obj_size(all) + 1);
    yyjson_obj_foreach (all, i, max, k, v) {
        struct err why = ERR_INIT;
        *n += route_policy_read(c->arena, json_str(k), v, &(*out)[*n], &why);
    }
    return true;
}

static bool get_policies(struct control_call *c, struct err *e)
{
    struct lockout_row *locked;
    struct route_policy *v;
    size_t n;
    int64_t now_ms = clock_wall_ms();
    struct db *db = control_db(c, e);
    if (!db || !identity_lockouts(db, c->arena, now_ms, &locked, e) ||
        !written_policies(c, &v, &n, e))
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    write_breakers(&w, c);
    write_locked(&w, locked, now_ms);
    jw_key(&w, "policies");
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        write_policy(&w, &v[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    return true;
}

static bool unlock(struct control_call *c, struct str address, struct err *e)
{
    struct db *db = control_db(c, e);
    bool was = false;
    if (!address.n)
        return err_field(e, "identifier", "'identifier' is required: an address");
    if (!db ||
        !identity_unlock(c->control->identity, db, c->arena, address, clock_wall_ms(), &was, e))
        return false;
    control_audit(c, "lockout", address, STR_NONE, STR_NONE);
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_bool(&w, "success", true);
    jw_kv_cstr(&w, "action", "unlocked");
    jw_kv_str(&w, "identifier", address);
    jw_object_end(&w);
    c->status = 201; /* the document has no other for this path */
    return true;
}

static bool make_policy(struct control_call *c, struct err *e)
{
    const struct policy_in *in = c->in;
    struct match_in match = {STR_NONE};
    struct action_in action = {STR_NONE};
    struct entry_change change = {
        .section = SECTION_POLICIES, .name = in->name, .allows_unknown = true};
    struct buf b;
    if (!yyjson_is_obj(in->action) || (c->present >> IN_MATCH & 1 && !yyjson_is_obj(in->match)))
        return err_field(e, "action", "'action' and 'match' of a policy must be objects");
    if (!shape_read(&action_shape, c->arena, in->action, &action, NULL, e))
        return inside(e, "action");
    if (in->match && !shape_read(&match_shape, c->arena, in->match, &match, NULL, e))
        return inside(e, "match");
    if (!json_absent(match.provider))
        return err_field(e, "match.provider",
                         "'match.provider' is not supported: say a model of provider/*");
    if (word_value(policy_action_words, action.type, -1) < 0)
        return err_field(e, "action.type",
                         "'action.type' must be deny or route: limits are those of keys, users, "
                         "organisations, models and providers");
    buf_init_arena(&b, c->arena, 65536);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (in->id.n)
        jw_kv_str(&w, "id", in->id);
    if (match.model.n)
        jw_kv_str(&w, "model", match.model);
    if (match.key.n)
        jw_kv_str(&w, "key", match.key);
    jw_key(&w, "action");
    jw_str(&w, action.type);
    if (action.target.n)
        jw_kv_str(&w, "target", action.target);
    if (in->priority)
        jw_kv_int(&w, "priority", in->priority);
    if (c->present >> IN_ENABLED & 1)
        jw_kv_bool(&w, "enabled", in->enabled);
    jw_object_end(&w);
    if (!json_parse(c->arena, buf_str(&b), 0, &change.value, e))
        return false;
    if (!change_entry(c, CHANGE_CREATE, &change, e)) {
        if (strcmp(e->field, "target") == 0)
            (void)snprintf(e->field, sizeof e->field, "action.target");
        return false;
    }
    struct route_policy p;
    if (!route_policy_read(c->arena, in->name, change.value, &p, e))
        return false;
    w = jw_on(&c->out);
    write_policy(&w, &p);
    c->status = 201;
    return true;
}

static bool post_policy(struct control_call *c, struct err *e)
{
    const struct policy_in *in = c->in;
    if (yyjson_is_str(in->action) && !(c->present & 1))
        return str_is(json_str(in->action), "unlock")
                   ? unlock(c, str_trim(in->identifier), e)
                   : err_field(e, "action", "'action' must be unlock, or there must be a 'name'");
    return c->present & 1 ? make_policy(c, e) : err_field(e, "name", "'name' is required");
}

struct id_query {
    struct str id;
};
struct success_out {
    bool success;
};
static const struct shape id_query_shape = SHAPE(
    struct id_query, FIELD(struct id_query, id, 0, "Id or name of the policy; may be in the body"));
static const struct shape success_shape = SHAPE(struct success_out,
                                                FIELD(struct success_out, success, 0, "true"));
static const struct shape id_in_shape = SHAPE(
    struct id_query, FIELD(struct id_query, id, 0, "Id or name of the policy"));

static bool drop_policy(struct control_call *c, struct err *e)
{
    const struct id_query *q = c->asked, *in = c->in;
    struct str id = q->id.n ? q->id : in->id;
    struct route_policy *v;
    struct success_out out = {true};
    struct strs users;
    size_t n;
    if (!id.n)
        return err_field(e, "id", "'id' is required");
    if (!written_policies(c, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i].id, id) || str_eq(v[i].name, id))
            return change_entry_delete(c, SECTION_POLICIES, v[i].name, false, &users, e) &&
                   control_reply(c, 200, &success_shape, &out);
    return omni_not_found("Policy", id, e);
}

/* ---- what is left of quotas ---- */

struct quota_out {
    struct str plan, message;
    yyjson_val *quotas;
    bool limitReached;
};
struct quotas_out {
    struct shape_list connections;
};
struct quotas_one {
    struct str connectionId, provider, name;
    yyjson_val *quotas;
    bool limitReached;
};
/* clang-format off */
static const struct shape window_shape = MEMBERS("window",
    MEMBER("used",                SHAPE_DOUBLE, 0, "Percent"),
    MEMBER("total",               SHAPE_INT64,  0, "100"),
    MEMBER("remaining",           SHAPE_DOUBLE, 0, "Percent"),
    MEMBER("remainingPercentage", SHAPE_DOUBLE, 0, "The same"),
    MEMBER("forecastPercentage",  SHAPE_DOUBLE, 0, "Used at its end, at the pace so far"),
    MEMBER("resetAt",             SHAPE_STR,    NULL_EMPTY, "When it begins anew; null: not told"),
    MEMBER("unlimited",           SHAPE_BOOL,   0, "false"));
static const struct shape quota_shape = SHAPE(struct quota_out,
    FIELD(struct quota_out, message, OMIT_EMPTY, "Why nothing is known"),
    FIELD_JSON(struct quota_out, quotas, JSON_MAP, &window_shape, OMIT_EMPTY, "By window: used, total (100), remaining, remainingPercentage, resetAt, unlimited, forecastPercentage"),
    FIELD(struct quota_out, limitReached, 0, "Whether a window is used up"));
static const struct shape quotas_one_shape = SHAPE(struct quotas_one,
    FIELD(struct quotas_one, connectionId, 0, "The connection"),
    FIELD(struct quotas_one, provider, 0, "Its kind or node"),
    FIELD(struct quotas_one, name, 0, "Its name"),
    FIELD_JSON(struct quotas_one, quotas, JSON_MAP, &window_shape, 0, "By window, as GET /api/usage/{connectionId} shows them"),
    FIELD(struct quotas_one, limitReached, 0, "Whether a window is used up"));
static const struct shape quotas_shape = SHAPE(struct quotas_out,
    FIELD_LIST(struct quotas_out, connections, &quotas_one_shape, 0, "Those of which vendors said something"));
/* clang-format on */

static const char *window_text(enum quota_name n)
{
    switch (n) {
    case QUOTA_REQUESTS:
        return "requests";
    case QUOTA_TOKENS:
        return "tokens";
    case QUOTA_SESSION:
        return "session (5h)";
    case QUOTA_WEEK:
        return "weekly (7d)";
    }
    return "";
}

static double percent(double share)
{
    double p = share * 100;
    return p < 0 ? 0 : p > 100 ? 100 : (double)(int64_t)(p * 10 + 0.5) / 10;
}

/* Of the credential that stands worst. false: nothing is known. */
static bool quotas_of(struct control_call *c, const struct upstream *u, yyjson_val **out,
                      bool *is_reached)
{
    struct quota_window worst[QUOTA_WINDOWS];
    bool has[QUOTA_WINDOWS] = {false};
    size_t n = 0;
    struct buf b;
    for (uint32_t k = 0; k < (u->n_keys ? u->n_keys : 1); k++) {
        struct quota_window w[QUOTA_WINDOWS];
        size_t found = live_quota(live_of(c), u, k, clock_mono_ms(), w);
        for (size_t i = 0; i < found; i++)
            if (!has[w[i].name] || w[i].used > worst[w[i].name].used) {
                n += !has[w[i].name];
                has[w[i].name] = true;
                worst[w[i].name] = w[i];
            }
    }
    *is_reached = false;
    buf_init_arena(&b, c->arena, 65536);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < QUOTA_WINDOWS; i++) {
        if (!has[i])
            continue;
        *is_reached |= worst[i].used >= 1;
        jw_key(&w, window_text((enum quota_name)i));
        jw_object(&w);
        JW(&w, "used", double, percent(worst[i].used));
        jw_kv_int(&w, "total", 100);
        JW(&w, "remaining", double, percent(1 - worst[i].used));
        JW(&w, "remainingPercentage", double, percent(1 - worst[i].used));
        JW(&w, "forecastPercentage", double, percent(quota_forecast(&worst[i])));
        jw_key(&w, "resetAt");
        if (worst[i].reset_ms < 0)
            jw_null(&w);
        else
            jw_str(&w, omni_time(c->arena, clock_wall_ms() + worst[i].reset_ms));
        jw_kv_bool(&w, "unlimited", false);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    return n && json_parse(c->arena, buf_str(&b), 0, out, NULL);
}

static bool get_quota(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    const struct upstream *u = omni_connection(c->snap, id);
    struct quota_out out = {.plan = STR_NONE};
    if (!u)
        return omni_not_found("Connection", id, e);
    if (!quotas_of(c, u, &out.quotas, &out.limitReached))
        out.message = STR("The provider has said nothing of its quota windows yet");
    return control_reply(c, 200, &quota_shape, &out);
}

static bool get_quotas(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct quotas_one *v = ARENA_ARRAY(c->arena, struct quotas_one, s->n_upstreams + 1);
    struct quotas_out out = {{v, 0}};
    (void)e;
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        struct quotas_one *one = &v[out.connections.n];
        *one = (struct quotas_one){u->uid, omni_provider_of(u), u->label.n ? u->label : u->name,
                                   NULL, false};
        out.connections.n += quotas_of(c, u, &one->quotas, &one->limitReached);
    }
    return control_reply(c, 200, &quotas_shape, &out);
}

/* ---- sessions ---- */

struct session_out {
    struct str sessionId;
    int64_t createdAt, lastActive, requestCount;
    struct str connectionId, apiKeyId;
    int64_t ageMs;
};
struct sessions_out {
    int64_t count;
    struct shape_list sessions;
    yyjson_val *byApiKey;
};
/* clang-format off */
static const struct shape session_shape = SHAPE(struct session_out,
    FIELD(struct session_out, sessionId, 0, "ext: and what the client called it (X-Session-Id and its like)"),
    FIELD(struct session_out, createdAt, 0, "When its first request ended, in milliseconds since 1970"),
    FIELD(struct session_out, lastActive, 0, "When its last one did"),
    FIELD(struct session_out, requestCount, 0, "How many there were"),
    FIELD(struct session_out, connectionId, NULL_EMPTY, "The connection that was asked last; null: none"),
    FIELD(struct session_out, apiKeyId, NULL_EMPTY, "Whose it is; null: nobody's"),
    FIELD(struct session_out, ageMs, 0, "Since its first request"));
static const struct shape sessions_shape = SHAPE(struct sessions_out,
    FIELD(struct sessions_out, count, 0, "How many there are"),
    FIELD_LIST(struct sessions_out, sessions, &session_shape, 0, "Those of the last half hour, the last active first"),
    FIELD_JSON(struct sessions_out, byApiKey, JSON_MAP, &json_of_integer, 0, "How many by client key"));
/* clang-format on */

static int last_first(const void *a, const void *b)
{
    const struct session_out *x = a, *y = b;
    return (x->lastActive < y->lastActive) - (x->lastActive > y->lastActive);
}

static bool by_key(struct control_call *c, const struct session_out *v, size_t n, yyjson_val **out,
                   struct err *e)
{
    struct buf b;
    struct map counts;
    map_init(&counts);
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    for (size_t i = 0; i < n; i++)
        if (v[i].apiKeyId.n)
            map_set(&counts, v[i].apiKeyId,
                    (void *)((uintptr_t)map_get(&counts, v[i].apiKeyId) + 1));
    jw_object(&w);
    for (size_t i = 0; i < c->snap->n_keys; i++) {
        int64_t of = (int64_t)(uintptr_t)map_get(&counts, c->snap->keys[i]->id);
        if (of) {
            jw_key_str(&w, c->snap->keys[i]->id);
            jw_int(&w, of);
        }
    }
    jw_object_end(&w);
    map_done(&counts);
    return json_parse(c->arena, buf_str(&b), 0, out, e);
}

static bool get_sessions(struct control_call *c, struct err *e)
{
    int64_t now_ms = clock_wall_ms();
    struct session_info *all;
    size_t n = sessions_list(relay_sessions(c->control->shared), c->arena, now_ms, &all);
    struct session_out *v = ARENA_ARRAY(c->arena, struct session_out, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = snapshot_upstream_by_id(c->snap, all[i].upstream);
        v[i] = (struct session_out){.sessionId = str_cat(c->arena, STR("ext:"), all[i].id),
                                    .createdAt = all[i].began_ms,
                                    .lastActive = all[i].last_ms,
                                    .requestCount = (int64_t)all[i].requests,
                                    .connectionId = u ? u->uid : STR_NONE,
                                    .apiKeyId = all[i].key,
                                    .ageMs = now_ms - all[i].began_ms};
    }
    if (n)
        qsort(v, n, sizeof *v, last_first);
    struct sessions_out out = {.count = (int64_t)n, .sessions = {v, n}};
    return by_key(c, v, n, &out.byApiKey, e) && control_reply(c, 200, &sessions_shape, &out);
}

/* clang-format off */
const struct endpoint omni_resilience_endpoints[] = {
    { HTTP_GET,    "/api/resilience",        SURFACE_OMNIROUTE, ACCESS_VIEWER, "How connections are left alone, and which are", .on_worker = get_resilience, .out = &resilience_shape },
    { HTTP_PUT,    "/api/resilience",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change how connections are left alone", .on_worker = put_resilience, .in = &resilience_in_shape, .out = &resilience_done_shape },
    { HTTP_PATCH,  "/api/resilience",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "The same", .on_worker = put_resilience, .in = &resilience_in_shape, .out = &resilience_done_shape },
    { HTTP_POST,   "/api/resilience/reset",  SURFACE_OMNIROUTE, ACCESS_ADMIN, "Close every circuit breaker", .on_worker = reset, .out = &reset_shape },
    { HTTP_DELETE, "/api/monitoring/health", SURFACE_OMNIROUTE, ACCESS_ADMIN, "The same", .on_worker = reset, .out = &reset_shape },
    { HTTP_GET,    "/api/rate-limits",       SURFACE_OMNIROUTE, ACCESS_VIEWER, "Limits, queues and lock-outs of connections", .on_worker = get_rates, .out = &rates_shape },
    { HTTP_POST,   "/api/rate-limits",       SURFACE_OMNIROUTE, ACCESS_ADMIN, "Protect a connection by limits, or no longer", .on_worker = protect_one, .in = &protect_in_shape, .out = &protect_out_shape },
    { HTTP_GET,    "/api/rate-limit",        SURFACE_OMNIROUTE, ACCESS_VIEWER, "The same as /api/rate-limits", .on_worker = get_rates, .out = &rates_shape },
    { HTTP_POST,   "/api/rate-limit",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "The same as /api/rate-limits", .on_worker = protect_one, .in = &protect_in_shape, .out = &protect_out_shape },
    { HTTP_GET,    "/api/policies",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "Breakers, lock-outs and policies", .on_worker = get_policies, .out = &policies_shape },
    { HTTP_POST,   "/api/policies",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Make a policy, or unlock an address", .on_worker = post_policy, .in = &policy_in_shape, .out = &policy_done_shape, .status = 201 },
    { HTTP_DELETE, "/api/policies",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Delete a policy", .on_worker = drop_policy, .query = &id_query_shape, .in = &id_in_shape, .out = &success_shape, .body_is_optional = true },
    { HTTP_GET,    "/api/sessions",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "Sessions that clients named of late", .on_worker = get_sessions, .out = &sessions_shape },
    { HTTP_GET,    "/api/usage/quota",       SURFACE_OMNIROUTE, ACCESS_VIEWER, "What vendors say is left of all quota windows", .on_worker = get_quotas, .out = &quotas_shape },
    { HTTP_GET,    "/api/usage/{id}",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "What its vendor says is left of a connection's quota windows", .on_worker = get_quota, .out = &quota_shape },
    {0},
};
/* clang-format on */
