/* omni_connections.c - /api/providers: providers as OmniRoute's connections. One entry of the configuration is one connection; several of
 * one kind form a pool, which kind/model names go to in the order of priority. Credentials go in and never come out. */
#include "api/omni.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/audit.h"
#include "domain/connection.h"
#include "domain/discover.h"
#include "json/shape_json.h"
#include "relay/relay.h"
#include "route/live.h"
#include <pthread.h>

#define MAX_LISTED 20000
#define MODELS_TIMEOUT_MS 15000
#define LONGEST_REST_MS (8 * 86400000ll) /* as what an upstream asks for itself: route/live.c */

struct connection_out {
    struct str id, provider, auth_type, name;
    int64_t priority, backoff_level, health_check_interval;
    bool is_active, rate_limit_protection;
    struct str default_model, group, url, created_at, updated_at;
    struct connection_state state;
    yyjson_val *data;
};
/* clang-format off */
#define OMIT(member, name, doc) FIELD_AS(struct connection_out, member, name, NULL, OMIT_EMPTY, doc)
#define SHOW(member, name, doc) FIELD_AS(struct connection_out, member, name, NULL, 0, doc)
static const struct shape connection_shape = SHAPE(struct connection_out,
    SHOW(id, "id", "Stable id: stays when the connection is renamed"),
    SHOW(provider, "provider", "Its kind, or the id of its node"),
    SHOW(auth_type, "authType", "apikey"),
    SHOW(name, "name", "Name for people, unique for its provider"),
    SHOW(priority, "priority", "Place among the connections of its provider, 1 first"),
    SHOW(is_active, "isActive", "Whether requests are sent to it"),
    OMIT(default_model, "defaultModel", "The model that it is tested with"),
    OMIT(group, "group", "Word to group connections by"),
    SHOW(state.test_status, "testStatus", "untested, active, error, unavailable, …: of the last test"),
    OMIT(state.last_tested, "lastTested", "When that was"),
    OMIT(state.last_error, "lastError", "What went wrong last"),
    OMIT(state.last_error_at, "lastErrorAt", "When that was"),
    OMIT(state.last_error_type, "lastErrorType", "What kind of fault it was"),
    OMIT(state.last_error_source, "lastErrorSource", "local or upstream"),
    OMIT(state.error_code, "errorCode", "The upstream's status then"),
    SHOW(backoff_level, "backoffLevel", "How often in a row it was left alone for longer, at worst of its credentials and models"),
    OMIT(state.rate_limited_until, "rateLimitedUntil", "Until when all of it stands back behind the others, by its breakers, its windows or what was said here"),
    SHOW(health_check_interval, "healthCheckInterval", "0, as it may be given back: requests themselves tell how it is"),
    SHOW(rate_limit_protection, "rateLimitProtection", "Whether its requests per minute, or at once, are limited: others wait"),
    OMIT(url, "url", "Base URL; absent: the kind's own"),
    FIELD_AS_JSON(struct connection_out, data, "providerSpecificData", 0, &json_of_object, OMIT_EMPTY, "baseUrl, and what its node says"),
    OMIT(created_at, "createdAt", "When it was added"),
    OMIT(updated_at, "updatedAt", "When it was changed"));
struct connections_out { struct shape_list connections; };
static const struct shape connections_shape = SHAPE(struct connections_out,
    FIELD_LIST(struct connections_out, connections, &connection_shape, 0, "All of them, by priority; without credentials"));
struct one_out { struct connection_out connection; };
static const struct shape one_shape = SHAPE(struct one_out,
    FIELD_OBJECT(struct one_out, connection, &connection_shape, 0, "The connection, without its credential"));
struct message_out { struct str message; };
static const struct shape message_shape = SHAPE(struct message_out, FIELD(struct message_out, message, 0, "What was done"));
/* clang-format on */

/* ---- showing ---- */

static yyjson_val *extra_of(struct arena *a, const struct upstream *u)
{
    yyjson_val *v;
    return u->extra.n && json_parse(a, u->extra, 0, &v, NULL) ? v : NULL;
}

/* Names that credentials have: what is called so is neither stored here nor shown. */
static bool is_secret_name(struct str name)
{
    static const char *const parts[] = {"token",    "secret",     "key",
                                        "password", "credential", "cookie"};
    struct arena *a = arena_new();
    struct str low = str_lower(a, name);
    bool is_it = false;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        is_it |= str_contains(low, str_of(parts[i]));
    arena_free(a);
    return is_it;
}

/* Ours: said anew by what the entry and its node are. */
static bool is_derived(struct str name)
{
    static const char *const names[] = {"baseUrl",  "prefix",   "apiType",
                                        "nodeName", "chatPath", "modelsPath"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

/* A value without what is called like a credential, however deep. */
static void write_clean(struct jw *w, yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *one;
    if (yyjson_is_arr(v)) {
        jw_array(w);
        yyjson_arr_foreach (v, i, max, one)
            write_clean(w, one);
        jw_array_end(w);
    } else if (yyjson_is_obj(v)) {
        jw_object(w);
        yyjson_obj_foreach (v, i, max, k, one) {
            if (is_secret_name(json_str(k)))
                continue;
            jw_key_str(w, json_str(k));
            write_clean(w, one);
        }
        jw_object_end(w);
    } else {
        jw_val(w, v);
    }
}

static void kv(struct jw *w, const char *name, struct str text)
{
    if (!text.n)
        return;
    jw_key(w, name);
    jw_str(w, text);
}

static yyjson_val *data_of(struct arena *a, const struct snapshot *s, const struct upstream *u,
                           yyjson_val *kept)
{
    const struct custom_kind *node = custom_kind_find(s, str_of(u->kind->id));
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v, *out;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    kv(&w, "baseUrl", upstream_base_url(a, u));
    if (node) {
        kv(&w, "prefix", node->prefix);
        kv(&w, "apiType", node->api);
        kv(&w, "nodeName", node->title);
        kv(&w, "chatPath", node->chat_path);
        kv(&w, "modelsPath", node->models_path);
    }
    yyjson_obj_foreach (kept, i, max, k, v) {
        if (is_derived(json_str(k)) || is_secret_name(json_str(k)))
            continue;
        jw_key_str(&w, json_str(k));
        write_clean(&w, v);
    }
    jw_object_end(&w);
    return json_parse(a, buf_str(&b), 0, &out, NULL) ? out : NULL;
}

/* Of the connection as a whole, of the credential that stands best. */
static struct str rests_until(struct control_call *c, const struct upstream *u)
{
    const struct target t = {.upstream = u};
    struct standing is = live_standing(relay_live_state(c->control->shared), &t, &c->snap->settings,
                                       clock_mono_ms());
    return is.kind == STANDING_COOLING ? omni_time(c->arena, clock_wall_ms() + (int64_t)is.wait_ms)
                                       : STR_NONE;
}

/* Of its credentials and models, the one that was left alone for longer and longer most often. */
static int64_t backoff_of(struct control_call *c, const struct snapshot *s,
                          const struct upstream *u)
{
    struct live *live = relay_live_state(c->control->shared);
    struct breaker_info *b;
    uint64_t now = clock_mono_ms();
    int64_t most = 0;
    if (!live_cooling_ms(live, u, now))
        return 0;
    size_t n = live_breakers(live, s, c->arena, now, &b);
    for (size_t i = 0; i < n; i++)
        if (b[i].upstream == u && b[i].state == BREAKER_OPEN && b[i].level > most)
            most = b[i].level;
    return most;
}

static bool show(struct control_call *c, const struct snapshot *s, const struct upstream *u,
                 struct connection_out *out, struct err *e)
{
    struct db *db = control_db(c, e);
    yyjson_val *extra = extra_of(c->arena, u);
    struct str url = upstream_base_url(c->arena, u);
    if (!db)
        return false;
    *out = (struct connection_out){
        .id = u->uid,
        .provider = omni_provider_of(u),
        .auth_type = STR("apikey"),
        .name = u->label.n ? u->label : u->name,
        .priority = u->priority ? u->priority : 1,
        .backoff_level = backoff_of(c, s, u),
        .is_active = u->is_enabled,
        .rate_limit_protection = u->limits.requests_per_minute || u->limits.concurrency,
        .default_model = u->default_model,
        .group = json_get_str(extra, "group"),
        .url = url,
        .data = data_of(c->arena, s, u, json_get(extra, "providerSpecificData")),
        .created_at = json_get_str(extra, "createdAt"),
        .updated_at = json_get_str(extra, "updatedAt")};
    bool ok = connection_state_get(db, c->arena, u->uid, &out->state, e);
    out->state.rate_limited_until = rests_until(c, u);
    return ok;
}

static int by_place(const void *x, const void *y)
{
    const struct connection_out *a = x, *b = y;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    size_t n = a->updated_at.n < b->updated_at.n ? a->updated_at.n : b->updated_at.n;
    int order = n ? memcmp(b->updated_at.p, a->updated_at.p, n) : 0; /* newest first */
    return order ? order
                 : (a->updated_at.n < b->updated_at.n) - (a->updated_at.n > b->updated_at.n);
}

static bool list(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    size_t n = s->n_upstreams < MAX_LISTED ? s->n_upstreams : MAX_LISTED;
    struct connection_out *v = ARENA_ARRAY(c->arena, struct connection_out, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!show(c, s, s->upstreams[i], &v[i], e))
            return false;
    if (n)
        qsort(v, n, sizeof *v, by_place);
    struct connections_out out = {{v, n}};
    return control_reply(c, 200, &connections_shape, &out);
}

static const struct upstream *find(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    const struct upstream *u = omni_connection(c->snap, id);
    if (!u)
        omni_not_found("Connection", id, e);
    return u;
}

static bool get(struct control_call *c, struct err *e)
{
    const struct upstream *u = find(c, e);
    struct one_out out = {0};
    return u && show(c, c->snap, u, &out.connection, e) && control_reply(c, 200, &one_shape, &out);
}

/* As it is in force now. */
static bool reply_now(struct control_call *c, int status, struct str name, struct err *e)
{
    struct snapshot *now = snapshot_current();
    const struct upstream *u = snapshot_upstream(now, name);
    struct one_out out;
    bool ok = u ? show(c, now, u, &out.connection, e) && control_reply(c, status, &one_shape, &out)
                : err_set(e, ERR_INPUT, "not_usable",
                          "The connection was saved, but cannot be used: see the log");
    snapshot_unref(now);
    return ok;
}

/* ---- writing ---- */

struct connection_in {
    struct str provider, api_key, name, url, default_model, test_status, group;
    int64_t priority, global_priority, health_check_interval;
    bool is_active, rate_limit_protection;
    yyjson_val *data;
    struct str last_error, last_error_at, last_error_type, last_error_source, error_code,
        rate_limited_until, last_tested;
};
enum connection_bit {
    IN_PROVIDER,
    IN_API_KEY,
    IN_NAME,
    IN_URL,
    IN_DEFAULT_MODEL,
    IN_TEST_STATUS,
    IN_GROUP,
    IN_PRIORITY,
    IN_GLOBAL_PRIORITY,
    IN_HEALTH_CHECK,
    IN_ACTIVE,
    IN_RATE_LIMIT,
    IN_DATA,
    IN_LAST_ERROR,
    IN_LAST_ERROR_AT,
    IN_LAST_ERROR_TYPE,
    IN_LAST_ERROR_SOURCE,
    IN_ERROR_CODE,
    IN_RATE_LIMITED_UNTIL,
    IN_LAST_TESTED
};
/* clang-format off */
#define IN(member, name, min, max, flags, doc) FIELD_AS_TEXT(struct connection_in, member, name, NULL, min, max, flags, doc)
/* In the order of enum connection_bit. */
#define CONNECTION_FIELDS(name_min) \
    IN(api_key, "apiKey", 0, 10000, 0, "Credential; sealed at rest and never shown"), \
    IN(name, "name", name_min, 200, 0, "Name for people, unique for its provider; the provider's when absent"), \
    IN(url, "url", 0, 2000, 0, "Base URL, as providerSpecificData.baseUrl"), \
    IN(default_model, "defaultModel", 0, 200, 0, "The model that it is tested with; null: none"), \
    IN(test_status, "testStatus", 0, 50, 0, "untested or unknown, active, error, unavailable: shown until the next test says otherwise; what would take it out of use is isActive"), \
    IN(group, "group", 0, 100, 0, "Word to group connections by; null: none"), \
    IN(priority, "priority", 1, 100, COERCE, "Place among the connections of its provider, 1 first"), \
    IN(global_priority, "globalPriority", 1, 100, COERCE, "null only: priority is its place among those of its provider"), \
    IN(health_check_interval, "healthCheckInterval", 0, 525600, COERCE, "0 only: requests themselves say how it is"), \
    IN(is_active, "isActive", 0, 0, 0, "Whether requests are sent to it; true when absent"), \
    IN(rate_limit_protection, "rateLimitProtection", 0, 0, 0, "Whether its requests per minute, or at once, are limited: others wait"), \
    IN(data, "providerSpecificData", 0, 0, 0, "baseUrl, extraApiKeys, validationModelId, accountId, and notes of clients; credentials of other names are not taken, nor what its node says or nothing here obeys"), \
    IN(last_error, "lastError", 0, 2000, 0, "What went wrong last; null: nothing"), \
    IN(last_error_at, "lastErrorAt", 0, 50, 0, "When that was; null: never"), \
    IN(last_error_type, "lastErrorType", 0, 100, 0, "What kind of fault it was; null: none"), \
    IN(last_error_source, "lastErrorSource", 0, 100, 0, "local or upstream; null: none"), \
    IN(error_code, "errorCode", 0, 50, 0, "The upstream's status then; null: none"), \
    IN(rate_limited_until, "rateLimitedUntil", 0, 50, 0, "Until then it stands back behind the others, eight days at most; null, or a time that is past: its breakers are closed"), \
    IN(last_tested, "lastTested", 0, 50, 0, "When it was tested last; null: never")
static const struct shape create_shape = SHAPE(struct connection_in,
    IN(provider, "provider", 1, 100, REQUIRED | TRIM, "Kind of provider, or the id or prefix of a node"),
    CONNECTION_FIELDS(1));
static const struct shape change_shape = SHAPE(struct connection_in,
    FIELD_AS(struct connection_in, provider, "provider", NULL, READ_ONLY, "Stays as it is"),
    CONNECTION_FIELDS(1));
/* clang-format on */

#define HAS(c, bit) ((c)->present >> (bit)&1)

/* A member that stands there as null. */
static bool is_null(const struct control_call *c, const char *name)
{
    return yyjson_is_null(json_find(c->root, name, strlen(name)));
}

/* Says that the name of a new entry is free; what it is made of otherwise gets a number. */
static struct str entry_name(struct control_call *c, struct str provider, struct str label)
{
    struct buf b;
    const struct snapshot *s = c->snap;
    buf_init_arena(&b, c->arena, 512);
    for (size_t i = 0; i < label.n && i < 60; i++) {
        unsigned char ch = (unsigned char)label.p[i];
        bool is_plain = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '.' ||
                        ch == '_';
        if (ch >= 'A' && ch <= 'Z')
            buf_char(&b, (char)(ch - 'A' + 'a'));
        else if (is_plain)
            buf_char(&b, (char)ch);
        else if (b.n && b.p[b.n - 1] != '-')
            buf_char(&b, '-');
    }
    while (b.n && b.p[b.n - 1] == '-')
        b.n--;
    struct str slug = buf_str(&b);
    if (!slug.n || str_eq(slug, provider))
        slug = STR(
            "1"); /* an entry of the kind's very name would take kind/model names for itself */
    struct str base = str_fmt(c->arena, STR_FMT "-" STR_FMT, STR_ARG(provider), STR_ARG(slug)),
               name = base;
    for (int n = 2; snapshot_upstream(s, name); n++)
        name = str_fmt(c->arena, STR_FMT "-%d", STR_ARG(base), n);
    return name;
}

/* The JSON of what only surfaces know: as it was, with what the call says. */
static bool make_extra(struct control_call *c, const struct upstream *was, struct str *out,
                       struct err *e)
{
    const struct connection_in *in = c->in;
    yyjson_val *before = was ? extra_of(c->arena, was) : NULL,
               *data = json_get(before, "providerSpecificData"), *k, *v;
    struct str now = omni_time(c->arena, clock_wall_ms()),
               created = json_get_str(before, "createdAt"),
               group = HAS(c, IN_GROUP)      ? in->group
                       : is_null(c, "group") ? STR_NONE
                                             : json_get_str(before, "group");
    struct buf b;
    size_t i, max, n = 0;
    if (HAS(c, IN_DATA) && !yyjson_is_obj(in->data))
        return err_field(e, "providerSpecificData", "'providerSpecificData' must be an object");
    buf_init_arena(&b, c->arena, 65536);
    struct jw w = jw_on(&b);
    jw_object(&w);
    kv(&w, "group", group);
    jw_key(&w, "providerSpecificData");
    jw_object(&w);
    yyjson_obj_foreach (data, i, max, k, v) { /* a shallow merge */
        if (HAS(c, IN_DATA) && json_find(in->data, yyjson_get_str(k), yyjson_get_len(k)))
            continue;
        jw_key_str(&w, json_str(k));
        jw_val(&w, v);
    }
    yyjson_obj_foreach (HAS(c, IN_DATA) ? in->data : NULL, i, max, k, v) {
        if (++n > 64)
            return err_field(e, "providerSpecificData",
                             "'providerSpecificData' has too many members");
        if (is_derived(json_str(k)) || is_secret_name(json_str(k)) || yyjson_is_null(v))
            continue;
        jw_key_str(&w, json_str(k));
        write_clean(&w, v);
    }
    jw_object_end(&w);
    kv(&w, "createdAt", created.n || was ? created : now);
    kv(&w, "updatedAt", now);
    jw_object_end(&w);
    *out = buf_str(&b);
    return !buf_failed(&b) ||
           err_field(e, "providerSpecificData", "'providerSpecificData' is too large");
}

/* The credential and those of extraApiKeys, which are used in turn with it. */
static bool make_key(struct control_call *c, const struct upstream *was, struct secret *out,
                     bool *is_given, struct err *e)
{
    const struct connection_in *in = c->in;
    yyjson_val *more = HAS(c, IN_DATA) ? json_get(in->data, "extraApiKeys") : NULL, *one;
    struct str key = HAS(c, IN_API_KEY) ? str_trim(in->api_key) : STR_NONE;
    size_t i, max;
    *is_given = key.n > 0 || more;
    *out = secret_of(STR_NONE);
    if (!*is_given)
        return true;
    if (str_contains(key, STR(",")) || str_contains(key, STR("${")) ||
        str_starts(key, STR("file:")))
        return err_field(e, "apiKey", "'apiKey' must be one credential as it is");
    if (!key.n && was && was->n_keys)
        key = secret_reveal(was->keys[0]);
    if (more && !yyjson_is_arr(more))
        return err_field(e, "providerSpecificData.extraApiKeys",
                         "'extraApiKeys' must be an array of strings");
    if (!more) /* those that are there stay */
        for (i = 1; was && i < was->n_keys; i++)
            key = str_fmt(c->arena, STR_FMT "," STR_FMT, STR_ARG(key),
                          STR_ARG(secret_reveal(was->keys[i])));
    yyjson_arr_foreach (more, i, max, one) {
        struct str text = str_trim(json_str(one));
        if (!text.n || str_contains(text, STR(",")))
            return err_field(e, "providerSpecificData.extraApiKeys",
                             "'extraApiKeys' must be an array of credentials");
        key = str_fmt(c->arena, STR_FMT "," STR_FMT, STR_ARG(key), STR_ARG(text));
    }
    *out = secret_of(key);
    return true;
}

static bool make_url(struct control_call *c, struct str *out, bool *is_given, struct err *e)
{
    const struct connection_in *in = c->in;
    yyjson_val *v = HAS(c, IN_DATA) ? json_get(in->data, "baseUrl") : NULL;
    *is_given = HAS(c, IN_URL) || v;
    *out = HAS(c, IN_URL) ? str_trim(in->url) : str_trim(json_str(v));
    if (v && !yyjson_is_null(v) && !yyjson_is_str(v))
        return err_field(e, "providerSpecificData.baseUrl", "'baseUrl' must be a string");
    return !out->n || str_starts(*out, STR("http://")) || str_starts(*out, STR("https://")) ||
           err_field(e, HAS(c, IN_URL) ? "url" : "providerSpecificData.baseUrl",
                     "'baseUrl' must start with http:// or https://");
}

/* ---- what would be kept and not obeyed is not taken ---- */

static bool unsupported(const char *field, const char *why, struct err *e)
{
    return err_field(e, field, "'%s' %s", field, why);
}

static bool check_status(struct str status, struct err *e)
{
    static const char *const shown[] = {"untested", "unknown", "active", "error", "unavailable"};
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        if (str_eq(status, str_of(shown[i])))
            return true;
    return !status.n ||
           unsupported("testStatus",
                       "must be untested, unknown, active, error or unavailable, which are shown "
                       "until the next test: isActive takes a connection out of use",
                       e);
}

/* What its node, or nobody, says of a connection; as it is shown it may be given back. */
static bool check_data(struct control_call *c, const struct upstream *u, struct err *e)
{
    static const struct {
        const char *name, *why;
    } members[] = {
        {"chatPath", "is its node's: change that"},
        {"modelsPath", "is its node's: change that"},
        {"prefix", "is its node's: change that"},
        {"apiType", "is its node's: change that"},
        {"nodeName", "is its node's: change that"},
        {"limitPolicy", "is no connection's: the setting quota_threshold_percent holds for all"},
        {"codexLimitPolicy",
         "is no connection's: the setting quota_threshold_percent holds for all"},
        {"codexQuotaState", "is not taken: windows are what the vendor's replies say"},
        {"codexScopeRateLimitedUntil", "is not taken: rateLimitedUntil is"},
        {"autoSync", "is not taken: models are added by POST /api/provider-models"},
        {"resourceUrl", "is not taken: url is the address"},
    };
    const struct connection_in *in = c->in;
    yyjson_val *shown = u ? data_of(c->arena, c->snap, u, NULL) : NULL;
    for (size_t i = 0; HAS(c, IN_DATA) && i < ARRAY_LEN(members); i++) {
        size_t n = strlen(members[i].name);
        yyjson_val *v = json_find(in->data, members[i].name, n);
        bool is_off = json_absent(v) || yyjson_is_false(v) ||
                      json_equal(v, json_find(shown, members[i].name, n));
        if (!is_off)
            return unsupported(
                str_z(c->arena, str_fmt(c->arena, "providerSpecificData.%s", members[i].name)),
                members[i].why, e);
    }
    return true;
}

/* 0: no longer, or not said. */
static bool read_rest(struct control_call *c, int64_t *wait_ms, struct err *e)
{
    struct str text = ((const struct connection_in *)c->in)->rate_limited_until;
    int64_t at;
    *wait_ms = 0;
    if (text.n == 0)
        return true;
    if (!clock_parse_rfc3339(text, &at))
        return unsupported("rateLimitedUntil", "must be a time like 2026-01-31T12:00:00Z, or null",
                           e);
    *wait_ms = at > clock_wall_ms() ? at - clock_wall_ms() : 0;
    return *wait_ms <= LONGEST_REST_MS ||
           unsupported("rateLimitedUntil",
                       "is more than eight days ahead: isActive takes a connection out of use", e);
}

/* As though each of its credentials had been told to wait that long: kept over restarts like all that upstreams say. */
static bool rest(struct control_call *c, struct str name, struct err *e)
{
    struct snapshot *now = snapshot_current();
    struct target t = {.upstream = snapshot_upstream(now, name)};
    struct live *live = relay_live_state(c->control->shared);
    uint64_t at = clock_mono_ms();
    int64_t wait;
    bool is_said = HAS(c, IN_RATE_LIMITED_UNTIL) || is_null(c, "rateLimitedUntil"),
         ok = read_rest(c, &wait, e);
    if (ok && is_said && t.upstream) {
        const struct outcome o = {FAULT_QUOTA_MONEY, 0, wait};
        (void)live_reset(live, t.upstream->id, STR_NONE, at);
        for (uint32_t k = 0; wait && k < (t.upstream->n_keys ? t.upstream->n_keys : 1); k++) {
            struct ticket p = {.key = k, .at_ms = at};
            live_report(live, &t, &p, &o, &now->settings, at);
        }
    }
    snapshot_unref(now);
    return ok;
}

static bool check(struct control_call *c, const struct upstream *u, struct err *e)
{
    const struct connection_in *in = c->in;
    int64_t wait;
    if (HAS(c, IN_GLOBAL_PRIORITY))
        return unsupported("globalPriority",
                           "is not taken: priority is its place among those of its provider", e);
    if (HAS(c, IN_HEALTH_CHECK) && in->health_check_interval)
        return unsupported("healthCheckInterval",
                           "must be 0: how it is, is seen by the requests that it serves", e);
    return check_status(in->test_status, e) && check_data(c, u, e) && read_rest(c, &wait, e);
}

static bool keep_state(struct control_call *c, struct str id, struct err *e)
{
    const struct connection_in *in = c->in;
    struct connection_state s;
    const struct {
        unsigned bit;
        const char *name;
        struct str said, *to;
    } members[] = {
        {IN_TEST_STATUS, "testStatus", in->test_status, &s.test_status},
        {IN_LAST_ERROR, "lastError", in->last_error, &s.last_error},
        {IN_LAST_ERROR_AT, "lastErrorAt", in->last_error_at, &s.last_error_at},
        {IN_LAST_ERROR_TYPE, "lastErrorType", in->last_error_type, &s.last_error_type},
        {IN_LAST_ERROR_SOURCE, "lastErrorSource", in->last_error_source, &s.last_error_source},
        {IN_ERROR_CODE, "errorCode", in->error_code, &s.error_code},
        {IN_LAST_TESTED, "lastTested", in->last_tested, &s.last_tested}};
    bool is_any = false;
    struct db *db = control_db(c, e);
    if (!db || !connection_state_get(db, c->arena, id, &s, e))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (!HAS(c, members[i].bit) && !is_null(c, members[i].name))
            continue;
        *members[i].to = HAS(c, members[i].bit) ? members[i].said : STR_NONE;
        is_any = true;
    }
    if (!s.test_status.n)
        s.test_status = STR("untested");
    return !is_any || connection_state_put(db, c->arena, id, &s, e);
}

/* Numbers the connections of a provider's pool 1 to n: `first` stands before others of its number. Entries that are in no pool, because a
 * hand wrote them, stay as they are. */
static bool renumber(struct control_call *c, struct str provider, struct str first, struct err *e)
{
    struct snapshot *s = snapshot_current();
    const struct upstream **v = ARENA_ARRAY(c->arena, const struct upstream *, s->n_upstreams + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        bool is_in_pool = u->pool.n || custom_kind_find(s, str_of(u->kind->id));
        if (!is_in_pool || !omni_is_of(s, u, provider))
            continue;
        size_t at = n++;
        for (; at > 0; at--) {
            const struct upstream *o = v[at - 1];
            int64_t mine = u->priority ? u->priority : 1, theirs = o->priority ? o->priority : 1;
            if (theirs < mine || (theirs == mine && !str_eq(u->name, first)))
                break;
            v[at] = o;
        }
        v[at] = u;
    }
    struct str *names = ARENA_ARRAY(c->arena, struct str, n + 1);
    bool is_so = true;
    for (size_t i = 0; i < n; i++) {
        names[i] = str_dup(c->arena, v[i]->name);
        is_so &= v[i]->priority == (int64_t)i + 1;
    }
    snapshot_unref(s);
    return is_so || change_provider_order(c, names, n, e);
}

static bool refused(struct err *e)
{
    omni_name_field(e);
    return false;
}

/* ---- one by one ---- */

static const struct upstream *of_name(const struct snapshot *s, struct str provider,
                                      struct str label)
{
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        if (omni_is_of(s, u, provider) && str_eq(u->label.n ? u->label : u->name, label))
            return u;
    }
    return NULL;
}

/* What both, creating and changing, say of the entry. */
struct entry {
    struct provider_change p;
    struct provider_member more[6];
};

static bool make_entry(struct control_call *c, const struct upstream *was, struct entry *out,
                       struct err *e)
{
    const struct connection_in *in = c->in;
    bool has_key, has_url;
    struct provider_change *p = &out->p;
    struct str extra;
    if (!check(c, was, e) || !make_extra(c, was, &extra, e) ||
        !make_key(c, was, &p->api_key, &has_key, e) || !make_url(c, &p->base_url, &has_url, e))
        return false;
    p->given |= (has_key ? PROVIDER_API_KEY : 0u) | (has_url ? PROVIDER_BASE_URL : 0u) |
                (HAS(c, IN_ACTIVE) ? PROVIDER_ENABLED : 0u) |
                (HAS(c, IN_PRIORITY) ? PROVIDER_PRIORITY : 0u);
    p->is_enabled = in->is_active;
    p->more = out->more;
    out->more[p->n_more++] = (struct provider_member){"extra", extra};
    if (HAS(c, IN_NAME))
        out->more[p->n_more++] = (struct provider_member){"label",
                                                          omni_text(c->arena, str_trim(in->name))};
    p->priority = in->priority;
    if (HAS(c, IN_RATE_LIMIT)) {
        p->given |= PROVIDER_LIMITS;
        p->limits = omni_protected(c->snap, was, in->rate_limit_protection);
    }
    if (HAS(c, IN_DEFAULT_MODEL) || is_null(c, "defaultModel"))
        out->more[p->n_more++] = (struct provider_member){
            "default_model",
            in->default_model.n ? omni_text(c->arena, in->default_model) : STR_NONE};
    return true;
}

static bool is_id_char(char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           ch == '-' || ch == '_';
}

/* Of a kind whose address only lacks the account. */
static bool make_account_url(struct control_call *c, const struct provider_kind *kind,
                             struct entry *entry, struct err *e)
{
    const struct connection_in *in = c->in;
    struct str id = HAS(c, IN_DATA) ? str_trim(json_get_str(in->data, "accountId")) : STR_NONE;
    if (!kind->account_url[0] || entry->p.base_url.n)
        return true;
    for (size_t i = 0; i < id.n; i++)
        if (!is_id_char(id.p[i]))
            id.n = 0;
    if (!id.n)
        return err_field(e, "providerSpecificData.accountId",
                         "'%s' needs the account's id in 'accountId', or a 'url'", kind->id);
    entry->p.given |= PROVIDER_BASE_URL;
    entry->p.base_url = str_fmt(c->arena, "%s" STR_FMT "%s", kind->account_url[0], STR_ARG(id),
                                kind->account_url[1]);
    return true;
}

static bool update(struct control_call *c, const struct upstream *u, int status, struct err *e)
{
    struct entry entry = {.p = {.name = u->name}};
    struct str name = str_dup(c->arena, u->name), provider = str_dup(c->arena, omni_provider_of(u));
    const struct connection_in *in = c->in;
    bool has_account = HAS(c, IN_DATA) && json_find(in->data, "accountId", 9);
    return make_entry(c, u, &entry, e) &&
           (!has_account || make_account_url(c, u->kind, &entry, e)) &&
           (change_provider(c, CHANGE_UPDATE, &entry.p, e) || refused(e)) &&
           (!HAS(c, IN_PRIORITY) || renumber(c, provider, name, e)) && keep_state(c, u->uid, e) &&
           rest(c, name, e) && reply_now(c, status, name, e);
}

static bool create(struct control_call *c, struct err *e)
{
    const struct connection_in *in = c->in;
    const struct custom_kind *node;
    const struct provider_kind *kind = omni_kind(c->snap, in->provider, &node);
    struct str label = HAS(c, IN_NAME) ? str_trim(in->name) : in->provider,
               id = random_uuid(c->arena);
    if (!kind && (str_starts(in->provider, STR("openai-compatible-")) ||
                  str_starts(in->provider, STR("anthropic-compatible-"))))
        return omni_not_found("Node", in->provider, e);
    if (!kind)
        return err_set(e, ERR_INPUT, "unknown_provider",
                       "'" STR_FMT "' is no provider that takes API keys",
                       STR_ARG(str_first(in->provider, 100)));
    const struct upstream *same = of_name(c->snap, in->provider, label);
    if (same)
        return update(c, same, 201, e);
    struct entry entry = {.p = {.name = entry_name(c, node ? node->prefix : in->provider, label),
                                .given = PROVIDER_KIND,
                                .kind = str_of(kind->id)}};
    if (!make_entry(c, NULL, &entry, e))
        return false;
    bool has_address = entry.p.base_url.n || kind->is_local || kind->is_builtin || kind->is_keyless;
    if (!secret_is_set(entry.p.api_key) && !has_address)
        return err_field(e, "apiKey", "'apiKey' or 'url' is required");
    if (!make_account_url(c, kind, &entry, e))
        return false;
    struct provider_member *more = ARENA_ARRAY(c->arena, struct provider_member,
                                               entry.p.n_more + 3);
    memcpy(more, entry.more, entry.p.n_more * sizeof *more);
    more[entry.p.n_more++] = (struct provider_member){"id", omni_text(c->arena, id)};
    if (!node)
        more[entry.p.n_more++] = (struct provider_member){"pool",
                                                          omni_text(c->arena, in->provider)};
    if (!HAS(c, IN_NAME))
        more[entry.p.n_more++] = (struct provider_member){"label", omni_text(c->arena, label)};
    entry.p.more = more;
    return (change_provider(c, CHANGE_CREATE, &entry.p, e) || refused(e)) &&
           renumber(c, node ? node->id : in->provider, entry.p.name, e) && keep_state(c, id, e) &&
           rest(c, entry.p.name, e) && reply_now(c, 201, entry.p.name, e);
}

static bool change(struct control_call *c, struct err *e)
{
    const struct upstream *u = find(c, e);
    bool is_any = c->present != 0;
    size_t i, max;
    yyjson_val *k, *v;
    if (!u)
        return false;
    yyjson_obj_foreach (c->root, i, max, k, v)
        for (size_t n = 0; n < change_shape.n_fields; n++)
            is_any |= yyjson_is_null(v) && str_eq(json_str(k), str_of(change_shape.fields[n].name));
    if (!is_any)
        return err_field(e, "", "Nothing to change was given");
    const struct connection_in *in = c->in;
    const struct upstream *same = HAS(c, IN_NAME)
                                      ? of_name(c->snap, omni_provider_of(u), str_trim(in->name))
                                      : NULL;
    if (same && same != u)
        return err_set(e, ERR_CONFLICT, "already_exists",
                       "Another connection of this provider has that name");
    return update(c, u, 200, e);
}

static bool delete (struct control_call *c, struct err *e)
{
    const struct upstream *u = find(c, e);
    struct strs models;
    struct str text = STR("Connection deleted");
    if (!u)
        return false;
    struct str provider = str_dup(c->arena, omni_provider_of(u));
    if (!change_provider_delete(c, u->name, true, &models, e))
        return false;
    struct db *db = control_db(c, e);
    if (!db || !connection_state_delete(db, u->uid, e) || !renumber(c, provider, STR_NONE, e))
        return false;
    if (models.n)
        text = str_fmt(c->arena, "Connection deleted, with %zu models that had no other provider",
                       models.n);
    struct message_out out = {text};
    return control_reply(c, 200, &message_shape, &out);
}

/* ---- testing ---- */

struct diagnosis_out {
    struct str type, source, message, code;
};
struct test_out {
    bool valid;
    struct str error, warning;
    bool refreshed;
    struct diagnosis_out diagnosis;
    int64_t latency_ms, status_code;
    struct str runtime, tested_at;
};
struct test_in {
    struct str model;
};
/* clang-format off */
static const struct shape diagnosis_shape = SHAPE(struct diagnosis_out,
    FIELD(struct diagnosis_out, type, 0, "ok, upstream_auth_error, upstream_rate_limited, upstream_unavailable, upstream_error, network_error or unsupported"),
    FIELD(struct diagnosis_out, source, 0, "local or upstream"),
    FIELD(struct diagnosis_out, message, NULL_EMPTY, "What was wrong"),
    FIELD(struct diagnosis_out, code, NULL_EMPTY, "The upstream's status, when it was no success"));
static const struct shape test_shape = SHAPE(struct test_out,
    FIELD(struct test_out, valid, 0, "Whether requests will get through"),
    FIELD(struct test_out, error, NULL_EMPTY, "Why not"),
    FIELD(struct test_out, warning, NULL_EMPTY, "What is to be known though it is valid"),
    FIELD(struct test_out, refreshed, 0, "Whether a token was renewed for it: false"),
    FIELD_OBJECT(struct test_out, diagnosis, &diagnosis_shape, 0, "What was found"),
    FIELD_AS(struct test_out, latency_ms, "latencyMs", NULL, 0, "How long it took"),
    FIELD_AS(struct test_out, status_code, "statusCode", NULL, NULL_EMPTY, "The upstream's status, when it was no success"),
    FIELD(struct test_out, runtime, NULL_EMPTY, "null"),
    FIELD_AS(struct test_out, tested_at, "testedAt", NULL, 0, "When"));
static const struct shape test_in_shape = SHAPE(struct test_in,
    FIELD_AS_TEXT(struct test_in, model, "validationModelId", NULL, 0, 500, TRIM, "The model to try it with, where its list of models does not say enough"));
/* clang-format on */

/* What it is tested with: the model that it was told, else its usual one. */
static struct str tested_with(struct arena *a, const struct upstream *u)
{
    yyjson_val *data = json_get(extra_of(a, u), "providerSpecificData");
    struct str model = json_get_str(data, "validationModelId");
    return model.n ? model : u->default_model;
}

static struct test_out shown_test(struct arena *a, const struct omni_probe *p, struct str at)
{
    bool is_bad = p->status >= 300;
    return (struct test_out){.valid = p->valid,
                             .error = p->error,
                             .warning = p->warning,
                             .diagnosis = {str_of(p->type), str_of(p->source),
                                           p->error.n ? p->error : p->warning,
                                           is_bad ? str_fmt(a, "%d", p->status) : STR_NONE},
                             .latency_ms = p->latency_ms,
                             .status_code = is_bad ? p->status : 0,
                             .tested_at = at};
}

static bool note_test(struct control_call *c, struct str id, const struct omni_probe *p,
                      struct str at, struct err *e)
{
    struct connection_state s = {.test_status = p->valid ? STR("active") : STR("error"),
                                 .last_tested = at};
    struct db *db = control_db(c, e);
    if (!p->valid) {
        s.last_error = str_first(p->error, 1000);
        s.last_error_at = at;
        s.last_error_type = str_of(p->type);
        s.last_error_source = str_of(p->source);
        s.error_code = p->status ? str_fmt(c->arena, "%d", p->status) : STR_NONE;
    }
    return db && connection_state_put(db, c->arena, id, &s, e);
}

static bool test(struct control_call *c, struct err *e)
{
    const struct test_in *in = c->in;
    const struct upstream *u = find(c, e);
    struct omni_probe p;
    if (!u)
        return false;
    omni_probe(c, u, in->model.n ? in->model : tested_with(c->arena, u), &p);
    struct str at = omni_time(c->arena, clock_wall_ms());
    struct test_out out = shown_test(c->arena, &p, at);
    control_audit(c, "provider_test", u->name, STR_NONE, STR_NONE);
    return note_test(c, u->uid, &p, at, e) && control_reply(c, 200, &test_shape, &out);
}

struct batch_in {
    struct str mode, provider;
};
struct result_out {
    struct str provider, id, name, auth_type;
    struct test_out test;
};
struct summary_out {
    int64_t total, passed, failed;
};
struct batch_out {
    struct str mode, provider;
    struct shape_list results;
    struct str tested_at;
    struct summary_out summary;
};
/* clang-format off */
static const struct shape batch_in_shape = SHAPE(struct batch_in,
    FIELD_TEXT(struct batch_in, mode, 1, 20, REQUIRED, "provider, oauth, free, apikey, compatible or all"),
    FIELD_AS_TEXT(struct batch_in, provider, "providerId", NULL, 0, 200, 0, "Which, of mode provider"));
static const struct shape result_shape = SHAPE(struct result_out,
    FIELD(struct result_out, provider, 0, "Its kind or node"),
    FIELD_AS(struct result_out, id, "connectionId", NULL, 0, "The connection's id"),
    FIELD_AS(struct result_out, name, "connectionName", NULL, 0, "Its name"),
    FIELD_AS(struct result_out, auth_type, "authType", NULL, 0, "apikey"),
    FIELD_AS(struct result_out, test.valid, "valid", NULL, 0, "Whether requests will get through"),
    FIELD_AS(struct result_out, test.latency_ms, "latencyMs", NULL, 0, "How long it took"),
    FIELD_AS(struct result_out, test.error, "error", NULL, NULL_EMPTY, "Why not"),
    {FIELD_BASE(struct result_out, test.diagnosis, "diagnosis", SHAPE_OBJECT, 0, "What was found"), .shape = &diagnosis_shape},
    FIELD_AS(struct result_out, test.status_code, "statusCode", NULL, NULL_EMPTY, "The upstream's status, when it was no success"),
    FIELD_AS(struct result_out, test.tested_at, "testedAt", NULL, 0, "When"));
static const struct shape summary_shape = SHAPE(struct summary_out,
    FIELD(struct summary_out, total, 0, "How many were tested"),
    FIELD(struct summary_out, passed, 0, "How many are valid"),
    FIELD(struct summary_out, failed, 0, "How many are not"));
#define BATCH_FIELDS \
    FIELD(struct batch_out, mode, 0, "As asked"), \
    FIELD_AS(struct batch_out, provider, "providerId", NULL, NULL_EMPTY, "As asked"), \
    FIELD_LIST(struct batch_out, results, &result_shape, 0, "One for each active connection that was meant"), \
    FIELD_AS(struct batch_out, tested_at, "testedAt", NULL, 0, "When")
static const struct shape batch_none_shape = SHAPE(struct batch_out, BATCH_FIELDS);
static const struct shape batch_shape = SHAPE(struct batch_out, BATCH_FIELDS,
    FIELD_OBJECT(struct batch_out, summary, &summary_shape, 0, "Absent when nothing was meant"));
/* The document's: with the summary left out at times. */
static const struct shape batch_doc_shape = SHAPE(struct batch_out, BATCH_FIELDS);
/* clang-format on */

static bool is_meant(const struct control_call *c, const struct upstream *u,
                     const struct batch_in *in)
{
    bool is_node = custom_kind_find(c->snap, str_of(u->kind->id)) != NULL;
    if (!u->is_enabled || str_is(in->mode, "oauth"))
        return false;
    if (str_is(in->mode, "provider"))
        return omni_is_of(c->snap, u, in->provider);
    if (str_is(in->mode, "compatible"))
        return is_node;
    if (str_is(in->mode, "free"))
        return u->kind->is_local || u->kind->is_builtin;
    return str_is(in->mode, "all") || !is_node;
}

#define BATCH_THREADS 5
struct batch {
    struct control_call *c;
    const struct upstream **v;
    struct omni_probe *probes;
    size_t n;
    _Atomic size_t next;
};
struct batch_worker {
    struct batch *batch;
    struct control_call call; /* with an arena of its own: arenas are no matter of two threads */
    pthread_t thread;
};

static void *run_batch(void *arg)
{
    struct batch_worker *w = arg;
    struct batch *b = w->batch;
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->n;)
        omni_probe(&w->call, b->v[i], tested_with(w->call.arena, b->v[i]), &b->probes[i]);
    return NULL;
}

/* Five at a time. */
static void probe_all(struct batch *b)
{
    struct batch_worker workers[BATCH_THREADS];
    size_t n = 0;
    for (; n < BATCH_THREADS && n < b->n; n++) {
        workers[n] = (struct batch_worker){.batch = b, .call = *b->c};
        workers[n].call.arena = arena_new();
        if (pthread_create(&workers[n].thread, NULL, run_batch, &workers[n]) != 0)
            abort();
    }
    for (size_t i = 0; i < n; i++)
        (void)pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < b->n; i++) {
        b->probes[i].error = str_dup(b->c->arena, b->probes[i].error);
        b->probes[i].warning = str_dup(b->c->arena, b->probes[i].warning);
    }
    for (size_t i = 0; i < n; i++)
        arena_free(workers[i].call.arena);
}

static bool test_batch(struct control_call *c, struct err *e)
{
    static const char *const modes[] = {"provider", "oauth", "free", "apikey", "compatible", "all"};
    const struct batch_in *in = c->in;
    struct batch b = {.c = c};
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        is_known |= str_eq(in->mode, str_of(modes[i]));
    if (!is_known)
        return err_field(e, "mode",
                         "'mode' must be one of provider, oauth, free, apikey, compatible, all");
    if (str_is(in->mode, "provider") && !in->provider.n)
        return err_field(e, "providerId", "'providerId' is required for mode provider");
    b.v = ARENA_ARRAY(c->arena, const struct upstream *, c->snap->n_upstreams + 1);
    for (size_t i = 0; i < c->snap->n_upstreams; i++)
        if (is_meant(c, c->snap->upstreams[i], in))
            b.v[b.n++] = c->snap->upstreams[i];
    b.probes = ARENA_ARRAY(c->arena, struct omni_probe, b.n + 1);
    probe_all(&b);
    struct result_out *v = ARENA_ARRAY(c->arena, struct result_out, b.n + 1);
    struct str at = omni_time(c->arena, clock_wall_ms());
    struct batch_out out = {
        .mode = in->mode, .provider = in->provider, .results = {v, b.n}, .tested_at = at};
    for (size_t i = 0; i < b.n; i++) {
        const struct upstream *u = b.v[i];
        v[i] = (struct result_out){omni_provider_of(u), u->uid, u->label.n ? u->label : u->name,
                                   STR("apikey"), shown_test(c->arena, &b.probes[i], at)};
        out.summary.total++;
        out.summary.passed += b.probes[i].valid;
        out.summary.failed += !b.probes[i].valid;
        if (!note_test(c, u->uid, &b.probes[i], at, e))
            return false;
    }
    control_audit(c, "provider_test", STR("batch"), STR_NONE, STR_NONE);
    return control_reply(c, 200, b.n ? &batch_shape : &batch_none_shape, &out);
}

struct validate_in {
    struct str provider, api_key, model;
};
struct validate_out {
    bool valid;
    struct str error, warning, method;
};
/* clang-format off */
static const struct shape validate_in_shape = SHAPE(struct validate_in,
    FIELD_TEXT(struct validate_in, provider, 1, 100, REQUIRED | TRIM, "Kind of provider, or the id of a node"),
    FIELD_AS_TEXT(struct validate_in, api_key, "apiKey", NULL, 1, 10000, REQUIRED | TRIM, "The credential to try; it is not kept"),
    FIELD_AS_TEXT(struct validate_in, model, "validationModelId", NULL, 0, 500, TRIM, "The model to try it with, where its list of models does not say enough"));
static const struct shape validate_shape = SHAPE(struct validate_out,
    FIELD(struct validate_out, valid, 0, "Whether the credential is good"),
    FIELD(struct validate_out, error, NULL_EMPTY, "Why not"),
    FIELD(struct validate_out, warning, NULL_EMPTY, "What is to be known though it is valid"),
    FIELD(struct validate_out, method, NULL_EMPTY, "How that was found out: models_endpoint, chat_completions or inference_available"));
/* clang-format on */

static bool validate(struct control_call *c, struct err *e)
{
    const struct validate_in *in = c->in;
    const struct custom_kind *node;
    const struct provider_kind *kind = omni_kind(c->snap, in->provider, &node);
    struct upstream u;
    struct omni_probe p;
    if (!kind && (str_starts(in->provider, STR("openai-compatible-")) ||
                  str_starts(in->provider, STR("anthropic-compatible-"))))
        return omni_not_found("Node", in->provider, e);
    if (!kind || (!kind->is_builtin && !kind->base_url))
        return err_set(e, ERR_INPUT, "unsupported_provider",
                       "Validation of '" STR_FMT "' is not supported",
                       STR_ARG(str_first(in->provider, 100)));
    if (!upstream_of(c->arena, kind, STR_NONE, secret_of(in->api_key), c->snap->settings.proxy_url,
                     &u, e))
        return refused(e);
    omni_probe(c, &u, in->model, &p);
    control_audit(c, "provider_test", str_of(kind->id), STR_NONE, STR_NONE);
    struct validate_out out = {p.valid, p.error, p.warning, str_of(p.method)};
    return control_reply(c, 200, &validate_shape, &out);
}

/* ---- models behind a connection ---- */

struct behind_out {
    struct str provider, id;
    yyjson_val *models;
    struct str source, warning;
};
/* clang-format off */
static const struct shape behind_shape = SHAPE(struct behind_out,
    FIELD(struct behind_out, provider, 0, "Its kind or node"),
    FIELD_AS(struct behind_out, id, "connectionId", NULL, 0, "The connection's id"),
    FIELD_JSON(struct behind_out, models, JSON_LIST, &json_of_object, 0, "id and name of each"),
    FIELD(struct behind_out, source, 0, "api: the upstream's list; local_catalog: what is configured for it"),
    FIELD(struct behind_out, warning, OMIT_EMPTY, "Why the upstream's list is not it"));
/* clang-format on */

static yyjson_val *models_json(struct arena *a, const struct str *ids, size_t n)
{
    struct buf b;
    yyjson_val *out;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < n; i++) {
        jw_object(&w);
        jw_kv_str(&w, "id", ids[i]);
        jw_kv_str(&w, "name", ids[i]);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    return json_parse(a, buf_str(&b), 0, &out, NULL) ? out : NULL;
}

/* What is configured to be asked of it. */
static size_t local_models(struct control_call *c, const struct upstream *u, struct str **out)
{
    size_t n = 0, room = 0;
    for (size_t i = 0; i < c->snap->n_models; i++)
        room += c->snap->models[i]->n_targets;
    *out = ARENA_ARRAY(c->arena, struct str, room + 1);
    for (size_t i = 0; i < c->snap->n_models; i++)
        for (size_t t = 0; t < c->snap->models[i]->n_targets; t++)
            if (c->snap->models[i]->targets[t].upstream == u)
                (*out)[n++] = c->snap->models[i]->targets[t].model;
    return n;
}

static bool behind(struct control_call *c, struct err *e)
{
    const struct upstream *u = find(c, e);
    struct discovered found;
    struct err why = ERR_INIT;
    struct str *ids;
    if (!u)
        return false;
    struct behind_out out = {.provider = omni_provider_of(u), .id = u->uid};
    if (upstream_models_until(c->arena, u, MODELS_TIMEOUT_MS, c->control->is_stopping, &found,
                              &why)) {
        out.models = models_json(c->arena, found.models, found.n);
        out.source = STR("api");
        return control_reply(c, 200, &behind_shape, &out);
    }
    if (found.status == 401 || found.status == 403) { /* its own status: nothing else helps */
        err_set(e, ERR_UPSTREAM, "upstream_refused", "%s", why.message);
        e->status = found.status == 401 ? 502 : found.status;
        return false;
    }
    out.source = STR("local_catalog");
    out.warning = str_fmt(c->arena, "%s", why.message);
    size_t n = local_models(c, u, &ids);
    out.models = models_json(c->arena, ids, n);
    return control_reply(c, 200, &behind_shape, &out);
}

/* clang-format off */
const struct endpoint omni_connection_endpoints[] = {
    { HTTP_GET,    "/api/providers",             SURFACE_OMNIROUTE, ACCESS_VIEWER, "List connections to providers", .on_worker = list, .out = &connections_shape },
    { HTTP_GET,    "/api/providers/client",      SURFACE_OMNIROUTE, ACCESS_VIEWER, "List connections for the dashboard, without secrets too", .on_worker = list, .out = &connections_shape },
    { HTTP_POST,   "/api/providers",             SURFACE_OMNIROUTE, ACCESS_ADMIN, "Add a connection, or change the one of this name", .on_worker = create, .in = &create_shape, .out = &one_shape, .status = 201 },
    { HTTP_GET,    "/api/providers/{id}",        SURFACE_OMNIROUTE, ACCESS_VIEWER, "Show one connection", .on_worker = get, .out = &one_shape },
    { HTTP_PATCH,  "/api/providers/{id}",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a connection", .on_worker = change, .in = &change_shape, .out = &one_shape },
    { HTTP_PUT,    "/api/providers/{id}",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a connection, as PATCH", .on_worker = change, .in = &change_shape, .out = &one_shape },
    { HTTP_DELETE, "/api/providers/{id}",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Remove a connection", .on_worker = delete, .out = &message_shape },
    { HTTP_POST,   "/api/providers/{id}/test",   SURFACE_OMNIROUTE, ACCESS_MEMBER, "Try one connection with a small request", .on_worker = test, .in = &test_in_shape, .out = &test_shape, .waits = true, .body_is_optional = true },
    { HTTP_GET,    "/api/providers/{id}/models", SURFACE_OMNIROUTE, ACCESS_MEMBER, "List the models behind one connection", .on_worker = behind, .out = &behind_shape, .waits = true },
    { HTTP_POST,   "/api/providers/test-batch",  SURFACE_OMNIROUTE, ACCESS_MEMBER, "Try many connections at once", .on_worker = test_batch, .in = &batch_in_shape, .out = &batch_doc_shape, .waits = true },
    { HTTP_POST,   "/api/providers/validate",    SURFACE_OMNIROUTE, ACCESS_MEMBER, "Try a credential before it is stored", .on_worker = validate, .in = &validate_in_shape, .out = &validate_shape, .waits = true },
    {0},
};
/* clang-format on */
