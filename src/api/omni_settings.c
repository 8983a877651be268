/* omni_settings.c - /api/settings and what stands below it: each key is one of sluice's settings under OmniRoute's name. Keys that
 * nothing here obeys are not kept. */
#include "api/change.h"
#include "api/omni_usage.h"
#include "api/session.h"
#include "base/clock.h"
#include "domain/ipban.h"
#include "gate/ipfilter.h"
#include "http/cidr.h"
#include "json/shape_json.h"

#define MAX_VALUES 8

struct values {
    struct setting_value v[MAX_VALUES];
    size_t n;
};

static void add(struct values *to, const char *name, struct str value)
{
    to->v[to->n++] = (struct setting_value){setting_find(str_of(name)), value.p ? value : STR("")};
}

static struct str flag(bool on)
{
    return on ? STR("true") : STR("false");
}

static bool is_given(const struct control_call *c, unsigned field)
{
    return c->present >> field & 1;
}

static bool needs_any(const struct control_call *c, struct err *e)
{
    return c->present || err_field(e, "body", "Give at least one key");
}

/* Saves them and answers with what is in force now. */
static bool save(struct control_call *c, const struct values *v,
                 bool (*show)(struct control_call *c, const struct snapshot *s, struct err *e),
                 struct err *e)
{
    if (!change_settings(c, v->v, v->n, e))
        return false;
    struct snapshot *now = snapshot_current();
    bool ok = show(c, now, e);
    snapshot_unref(now);
    return ok;
}

/* ---- /api/settings ---- */

struct ports {
    int64_t port, apiPort, dashboardPort;
    bool apiPortExplicit, dashboardPortExplicit;
};
struct settings_io {
    bool requireLogin, enableRequestLogs;
    int64_t maxCallLogs, logRetentionDays;
    struct str corsOrigins, fallbackStrategy;
    int64_t stickyRoundRobinLimit;
    /* read only when given */
    struct str newPassword, currentPassword, clientCache;
    bool stripModelPrefix, requireAuthForModels, intentDetectionEnabled, mcpEnabled, a2aEnabled;
    yyjson_val *blockedProviders, *wildcardAliases;
    /* shown only */
    bool cloudEnabled, hasPassword, setupComplete, cloudConfigured;
    struct ports runtimePorts;
    int64_t apiPort, dashboardPort;
    struct str cloudUrl;
    struct strs hiddenSidebarItems;
};
/* clang-format off */
static const struct shape ports_shape = SHAPE(struct ports,
    FIELD(struct ports, port, 0, "Where it listens"),
    FIELD(struct ports, apiPort, 0, "The same: there is one listener"),
    FIELD(struct ports, dashboardPort, 0, "The same"),
    FIELD(struct ports, apiPortExplicit, 0, "false"),
    FIELD(struct ports, dashboardPortExplicit, 0, "false"));
static const struct shape settings_in_shape = SHAPE(struct settings_io,
    FIELD(struct settings_io, requireLogin, 0, "Setting require_login"),
    FIELD(struct settings_io, enableRequestLogs, 0, "Whether bodies are kept: setting log_bodies"),
    FIELD(struct settings_io, maxCallLogs, 0, "Most requests that the log keeps, 1 to 1000000: settings request_log_success_max and request_log_error_max"),
    FIELD(struct settings_io, logRetentionDays, 0, "Setting usage_retention_days, 1 to 365"),
    FIELD_TEXT(struct settings_io, corsOrigins, 0, 500, 0, "Setting cors_origins"),
    FIELD(struct settings_io, fallbackStrategy, 0, "Setting target_strategy: fill-first, round-robin, p2c, random, strict-random, least-used or cost-optimized"),
    FIELD_RANGE(struct settings_io, stickyRoundRobinLimit, 1, 1000, 0, "Setting round_robin_limit"),
    FIELD_TEXT(struct settings_io, newPassword, 1, 200, 0, "The new password of the operator who calls"),
    FIELD_TEXT(struct settings_io, currentPassword, 0, 200, 0, "Theirs so far: required with newPassword"),
    FIELD_AS(struct settings_io, clientCache, "alwaysPreserveClientCache", NULL, 0, "always or auto: a client's cache marks are kept; never is not taken"),
    FIELD(struct settings_io, stripModelPrefix, 0, "false; a prefix says which provider is asked"),
    FIELD(struct settings_io, requireAuthForModels, 0, "true, unless the setting allow_anonymous is on"),
    FIELD(struct settings_io, intentDetectionEnabled, 0, "false: see task routing"),
    FIELD(struct settings_io, mcpEnabled, 0, "false: there is no such server"),
    FIELD(struct settings_io, a2aEnabled, 0, "false: there is no such server"),
    FIELD(struct settings_io, blockedProviders, 0, "[]: a connection is switched off by itself"),
    FIELD(struct settings_io, wildcardAliases, 0, "[]: see /api/models/alias"));
static const struct shape settings_shape = SHAPE(struct settings_io,
    FIELD(struct settings_io, requireLogin, 0, "Setting require_login"),
    FIELD(struct settings_io, enableRequestLogs, 0, "Whether bodies are kept: setting log_bodies"),
    FIELD(struct settings_io, maxCallLogs, 0, "Most good requests that the log keeps; 0: no limit"),
    FIELD(struct settings_io, logRetentionDays, 0, "Setting usage_retention_days; 0: for ever"),
    FIELD(struct settings_io, corsOrigins, 0, "Setting cors_origins"),
    FIELD(struct settings_io, fallbackStrategy, 0, "Setting target_strategy"),
    FIELD(struct settings_io, stickyRoundRobinLimit, 0, "Setting round_robin_limit"),
    FIELD_AS(struct settings_io, clientCache, "alwaysPreserveClientCache", NULL, 0, "always"),
    FIELD(struct settings_io, hiddenSidebarItems, 0, "None"),
    FIELD(struct settings_io, cloudEnabled, 0, "false: it sends nothing anywhere"),
    FIELD(struct settings_io, hasPassword, 0, "Whether somebody can sign in"),
    FIELD(struct settings_io, setupComplete, 0, "The same"),
    FIELD_OBJECT(struct settings_io, runtimePorts, &ports_shape, 0, "Where it listens"),
    FIELD(struct settings_io, apiPort, 0, "The same"),
    FIELD(struct settings_io, dashboardPort, 0, "The same"),
    FIELD(struct settings_io, cloudConfigured, 0, "false"),
    FIELD(struct settings_io, cloudUrl, NULL_EMPTY, "null"));
/* clang-format on */
enum {
    REQUIRE_LOGIN,
    REQUEST_LOGS,
    MAX_CALL_LOGS,
    RETENTION_DAYS,
    CORS_ORIGINS,
    FALLBACK_STRATEGY,
    STICKY_LIMIT,
    NEW_PASSWORD,
    CURRENT_PASSWORD,
    CLIENT_CACHE,
    STRIP_PREFIX,
    AUTH_FOR_MODELS,
};

static bool show_settings(struct control_call *c, const struct snapshot *s, struct err *e)
{
    const struct settings *set = &s->settings;
    bool has_password = identity_is_configured(c->control->identity);
    struct settings_io out = {
        .requireLogin = set->require_login,
        .enableRequestLogs = !str_is(set->log_bodies, "off"),
        .maxCallLogs = set->request_log_success_max,
        .logRetentionDays = set->usage_retention_days,
        .corsOrigins = set->cors_origins,
        .fallbackStrategy = set->target_strategy,
        .stickyRoundRobinLimit = set->round_robin_limit,
        .clientCache = STR("always"),
        .hasPassword = has_password,
        .setupComplete = has_password,
        .runtimePorts = {.port = set->port, .apiPort = set->port, .dashboardPort = set->port},
        .apiPort = set->port,
        .dashboardPort = set->port};
    (void)e;
    return control_reply(c, 200, &settings_shape, &out);
}

static bool get_settings(struct control_call *c, struct err *e)
{
    return show_settings(c, c->snap, e);
}

static bool not_taken(const char *field, const char *why, struct err *e)
{
    return err_field(e, field, "'%s' is not supported: %s", field, why);
}

/* OmniRoute's range, or what is in force: what was read may be sent back. */
static bool in_range(int64_t v, int64_t most, int64_t now, const char *field, struct err *e)
{
    return (v >= 1 && v <= most) || v == now ||
           err_field(e, field, "'%s' must be 1 to %lld", field, (long long)most);
}

/* Known keys whose value asks for what is not done here: said, not dropped, for who sets them relies on them. */
static bool may_take(const struct control_call *c, const struct settings_io *in, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    bool shares = set->allow_anonymous;
    if (is_given(c, MAX_CALL_LOGS) &&
        !in_range(in->maxCallLogs, 1000000, set->request_log_success_max, "maxCallLogs", e))
        return false;
    if (is_given(c, RETENTION_DAYS) &&
        !in_range(in->logRetentionDays, 365, set->usage_retention_days, "logRetentionDays", e))
        return false;
    if (is_given(c, FALLBACK_STRATEGY) && word_value(strategy_words, in->fallbackStrategy, -1) < 0)
        return err_field(e, "fallbackStrategy",
                         "'fallbackStrategy' must be one of " STRATEGY_WORDS);
    if (is_given(c, CLIENT_CACHE) && !str_is(in->clientCache, "always") &&
        !str_is(in->clientCache, "auto"))
        return not_taken("alwaysPreserveClientCache", "a client's cache marks are always kept", e);
    if (in->stripModelPrefix)
        return not_taken("stripModelPrefix", "a prefix says which provider is asked", e);
    if (is_given(c, AUTH_FOR_MODELS) && in->requireAuthForModels == shares)
        return not_taken("requireAuthForModels", "the setting allow_anonymous rules it", e);
    if (in->intentDetectionEnabled)
        return not_taken("intentDetectionEnabled", "see the task routing of policies", e);
    if (in->mcpEnabled || in->a2aEnabled)
        return not_taken(in->mcpEnabled ? "mcpEnabled" : "a2aEnabled", "there is no such server",
                         e);
    if (yyjson_get_len(in->blockedProviders))
        return not_taken("blockedProviders", "switch their connections off", e);
    if (yyjson_get_len(in->wildcardAliases))
        return not_taken("wildcardAliases", "set each with /api/models/alias", e);
    if (is_given(c, NEW_PASSWORD) && !is_given(c, CURRENT_PASSWORD))
        return err_field(e, "currentPassword", "'currentPassword' is required with 'newPassword'");
    return true;
}

static bool set_password(struct control_call *c, const struct settings_io *in, struct err *e)
{
    if (session_change_password(c, in->currentPassword, in->newPassword, 200, e))
        return true;
    if (e->kind == ERR_FORBIDDEN)
        e->status = 401; /* as the contract has it */
    return false;
}

static bool patch_settings(struct control_call *c, struct err *e)
{
    const struct settings_io *in = c->in;
    struct values v = {.n = 0};
    if (!may_take(c, in, e) || (is_given(c, NEW_PASSWORD) && !set_password(c, in, e)))
        return false;
    struct str most = str_fmt(c->arena, "%lld", (long long)in->maxCallLogs);
    if (is_given(c, REQUIRE_LOGIN))
        add(&v, "require_login", flag(in->requireLogin));
    if (is_given(c, REQUEST_LOGS))
        add(&v, "log_bodies", in->enableRequestLogs ? STR("all") : STR("off"));
    if (is_given(c, MAX_CALL_LOGS)) {
        add(&v, "request_log_success_max", most);
        add(&v, "request_log_error_max", most);
    }
    if (is_given(c, RETENTION_DAYS))
        add(&v, "usage_retention_days", str_fmt(c->arena, "%lld", (long long)in->logRetentionDays));
    if (is_given(c, CORS_ORIGINS))
        add(&v, "cors_origins", in->corsOrigins);
    if (is_given(c, FALLBACK_STRATEGY))
        add(&v, "target_strategy", in->fallbackStrategy);
    if (is_given(c, STICKY_LIMIT))
        add(&v, "round_robin_limit",
            str_fmt(c->arena, "%lld", (long long)in->stickyRoundRobinLimit));
    return save(c, &v, show_settings, e);
}

/* ---- whether it asks for a sign-in: for everybody ---- */

struct login_out {
    bool requireLogin, hasPassword, setupComplete;
};
static const struct shape login_shape = SHAPE(
    struct login_out, FIELD(struct login_out, requireLogin, 0, "Whether administration asks"),
    FIELD(struct login_out, hasPassword, 0, "Whether somebody can sign in"),
    FIELD(struct login_out, setupComplete, 0, "The same"));

static bool get_login(struct control_call *c, struct err *e)
{
    bool has_password = identity_is_configured(c->control->identity);
    struct login_out out = {c->snap->settings.require_login, has_password, has_password};
    (void)e;
    return control_reply(c, 200, &login_shape, &out);
}

struct require_in {
    bool requireLogin;
    struct str password, currentPassword;
};
struct require_out {
    bool success;
};
/* clang-format off */
static const struct shape require_in_shape = SHAPE(struct require_in,
    FIELD(struct require_in, requireLogin, 0, "Whether administration asks; false holds for this machine, on a loopback listener only"),
    FIELD_TEXT(struct require_in, password, 4, 200, 0, "The new password of the operator who calls"),
    FIELD_TEXT(struct require_in, currentPassword, 0, 200, 0, "Theirs so far: required with password"));
static const struct shape require_shape = SHAPE(struct require_out, FIELD(struct require_out, success, 0, "true"));
/* clang-format on */

/* The first password is set by the claim link: nobody may take an installation over by being first. */
static bool post_login(struct control_call *c, struct err *e)
{
    const struct require_in *in = c->in;
    struct require_out out = {true};
    struct values v = {.n = 0};
    if (!is_given(c, 0) && !is_given(c, 1))
        return err_field(e, "body", "Give 'requireLogin' or 'password'");
    if (is_given(c, 1) && !is_given(c, 2))
        return err_field(e, "currentPassword", "'currentPassword' is required with 'password'");
    if (is_given(c, 0))
        add(&v, "require_login", flag(in->requireLogin));
    return (!is_given(c, 1) ||
            session_change_password(c, in->currentPassword, in->password, 200, e)) &&
           (!v.n || change_settings(c, v.v, v.n, e)) && control_reply(c, 200, &require_shape, &out);
}

/* ---- what combos are unless they say otherwise ---- */

struct combo_defaults_io {
    struct str strategy;
    int64_t maxRetries, retryDelayMs, timeoutMs, concurrencyPerModel, queueTimeoutMs, maxComboDepth;
    bool healthCheckEnabled, trackMetrics;
    yyjson_val *healthCheckTimeoutMs;
};
struct defaults_out {
    struct combo_defaults_io comboDefaults;
    yyjson_val *providerOverrides;
};
struct defaults_in {
    yyjson_val *comboDefaults, *providerOverrides;
};
/* clang-format off */
#define DEFAULT(member, min, max, doc) FIELD_RANGE(struct combo_defaults_io, member, min, max, COERCE, doc)
static const struct shape combo_defaults_in_shape = SHAPE_STRICT(struct combo_defaults_io,
    FIELD(struct combo_defaults_io, strategy, 0, "Setting combo_strategy"),
    DEFAULT(maxRetries, 0, 10, "Setting combo_max_retries"),
    DEFAULT(retryDelayMs, 0, 60000, "Setting combo_retry_delay_ms"),
    DEFAULT(timeoutMs, 1000, 600000, "Setting combo_timeout_ms"),
    DEFAULT(concurrencyPerModel, 0, 100000, "Setting combo_concurrency; 0: no limit"),
    DEFAULT(queueTimeoutMs, 1000, 3600000, "Setting combo_queue_timeout_ms"),
    DEFAULT(maxComboDepth, 0, 0, "3, for all"),
    FIELD(struct combo_defaults_io, healthCheckEnabled, 0, "true: breakers are for all"),
    FIELD(struct combo_defaults_io, trackMetrics, 0, "true: they come from the request log"),
    FIELD(struct combo_defaults_io, healthCheckTimeoutMs, 0, "Not taken: nothing is asked beforehand"));
static const struct shape combo_defaults_shape = SHAPE(struct combo_defaults_io,
    FIELD(struct combo_defaults_io, strategy, 0, "Setting combo_strategy"),
    FIELD(struct combo_defaults_io, maxRetries, 0, "Setting combo_max_retries"),
    FIELD(struct combo_defaults_io, retryDelayMs, 0, "Setting combo_retry_delay_ms"),
    FIELD(struct combo_defaults_io, timeoutMs, 0, "Setting combo_timeout_ms, or else first_byte_timeout_ms"),
    FIELD(struct combo_defaults_io, concurrencyPerModel, 0, "Setting combo_concurrency; 0: no limit"),
    FIELD(struct combo_defaults_io, queueTimeoutMs, 0, "Setting combo_queue_timeout_ms"),
    FIELD(struct combo_defaults_io, healthCheckEnabled, 0, "true: breakers are for all"),
    FIELD(struct combo_defaults_io, maxComboDepth, 0, "3, for all"),
    FIELD(struct combo_defaults_io, trackMetrics, 0, "true: they come from the request log"));
static const struct shape defaults_shape = SHAPE(struct defaults_out,
    FIELD_OBJECT(struct defaults_out, comboDefaults, &combo_defaults_shape, 0, "What combos are unless they say otherwise"),
    FIELD_JSON(struct defaults_out, providerOverrides, JSON_MAP, &json_of_object, 0, "None: a combo says what is its own"));
static const struct shape defaults_in_shape = SHAPE_STRICT(struct defaults_in,
    FIELD(struct defaults_in, comboDefaults, 0, "What combos are unless they say otherwise: all of it, the rest goes back to sluice's defaults"),
    FIELD(struct defaults_in, providerOverrides, 0, "Must be empty"));
/* clang-format on */
/* Of combo_defaults_in_shape; those before DEFAULT_DEPTH are settings. */
static const char *const default_settings[] = {"combo_strategy",       "combo_max_retries",
                                               "combo_retry_delay_ms", "combo_timeout_ms",
                                               "combo_concurrency",    "combo_queue_timeout_ms"};

static bool show_defaults(struct control_call *c, const struct snapshot *s, struct err *e)
{
    const struct settings *set = &s->settings;
    struct defaults_out out = {.comboDefaults = {.strategy = set->combo_strategy,
                                                 .maxRetries = set->combo_max_retries,
                                                 .retryDelayMs = set->combo_retry_delay_ms,
                                                 .timeoutMs = set->combo_timeout_ms
                                                                  ? set->combo_timeout_ms
                                                                  : set->first_byte_timeout_ms,
                                                 .concurrencyPerModel = set->combo_concurrency,
                                                 .queueTimeoutMs = set->combo_queue_timeout_ms,
                                                 .maxComboDepth = COMBO_DEEPEST,
                                                 .healthCheckEnabled = true,
                                                 .trackMetrics = true}};
    return json_parse(c->arena, STR("{}"), 0, &out.providerOverrides, e) &&
           control_reply(c, 200, &defaults_shape, &out);
}

static bool get_defaults(struct control_call *c, struct err *e)
{
    return show_defaults(c, c->snap, e);
}

static bool patch_defaults(struct control_call *c, struct err *e)
{
    const struct defaults_in *in = c->in;
    struct combo_defaults_io to = {
        .maxComboDepth = COMBO_DEEPEST, .healthCheckEnabled = true, .trackMetrics = true};
    struct values v = {.n = 0};
    uint64_t present;
    if (!needs_any(c, e))
        return false;
    if (yyjson_obj_size(in->providerOverrides))
        return not_taken("providerOverrides", "a combo says what is its own", e);
    if (!is_given(c, 0))
        return show_defaults(c, c->snap, e);
    if (!yyjson_is_obj(in->comboDefaults))
        return err_field(e, "comboDefaults", "'comboDefaults' must be an object");
    if (!shape_read(&combo_defaults_in_shape, c->arena, in->comboDefaults, &to, &present, e)) {
        char was[96];
        (void)snprintf(was, sizeof was, "%s", e->field);
        (void)snprintf(e->field, sizeof e->field, "comboDefaults.%.70s", was);
        return false;
    }
    if (to.maxComboDepth != COMBO_DEEPEST)
        return not_taken("comboDefaults.maxComboDepth", "it is 3 for all", e);
    if (!to.healthCheckEnabled)
        return not_taken("comboDefaults.healthCheckEnabled", "breakers are for all", e);
    if (!to.trackMetrics)
        return not_taken("comboDefaults.trackMetrics", "they come from the request log", e);
    if (!json_absent(to.healthCheckTimeoutMs))
        return not_taken("comboDefaults.healthCheckTimeoutMs", "nothing is asked beforehand", e);
    const int64_t numbers[] = {
        0, to.maxRetries, to.retryDelayMs, to.timeoutMs, to.concurrencyPerModel, to.queueTimeoutMs};
    if ((present & 1) && word_value(strategy_words, to.strategy, -1) < 0)
        return err_field(e, "comboDefaults.strategy", "'strategy' must be one of " STRATEGY_WORDS);
    for (size_t i = 0; i < ARRAY_LEN(default_settings); i++) {
        bool said = present >> i & 1;
        v.v[v.n++] = (struct setting_value){setting_find(str_of(default_settings[i])),
                                            !said ? STR_NONE
                                            : i   ? str_fmt(c->arena, "%lld", (long long)numbers[i])
                                                  : to.strategy};
    }
    return save(c, &v, show_defaults, e);
}

/* ---- the system prompt ---- */

struct prompt_io {
    struct str prompt;
    bool enabled;
};
static const struct shape prompt_shape = SHAPE_STRICT(
    struct prompt_io,
    FIELD_TEXT(struct prompt_io, prompt, 0, 50000, 0,
               "Text that goes before the system prompt of every conversation"),
    FIELD(struct prompt_io, enabled, 0, "Whether it does"));

static bool show_prompt(struct control_call *c, const struct snapshot *s, struct err *e)
{
    struct prompt_io out = {s->settings.system_prompt, s->settings.inject_system_prompt};
    (void)e;
    return control_reply(c, 200, &prompt_shape, &out);
}

static bool get_prompt(struct control_call *c, struct err *e)
{
    return show_prompt(c, c->snap, e);
}

static bool put_prompt(struct control_call *c, struct err *e)
{
    const struct prompt_io *in = c->in;
    struct values v = {.n = 0};
    if (!needs_any(c, e))
        return false;
    if (is_given(c, 0))
        add(&v, "system_prompt", in->prompt);
    if (is_given(c, 1))
        add(&v, "inject_system_prompt", flag(in->enabled));
    return save(c, &v, show_prompt, e);
}

/* ---- how much thinking ---- */

struct thinking_in {
    struct str mode;
    int64_t customBudget;
    struct str effortLevel;
};
static const struct shape thinking_shape = SHAPE_STRICT(
    struct thinking_in,
    FIELD(struct thinking_in, mode, 0,
          "passthrough, auto, custom or adaptive; manual means custom, disabled custom with 0"),
    FIELD_RANGE(struct thinking_in, customBudget, 0, 131072, COERCE, "Tokens under custom"),
    FIELD(struct thinking_in, effortLevel, 0, "none, low, medium or high: of adaptive"));

static bool show_thinking(struct control_call *c, const struct snapshot *s, struct err *e)
{
    struct thinking_in out = {s->settings.thinking_mode, s->settings.thinking_budget,
                              s->settings.thinking_effort};
    (void)e;
    return control_reply(c, 200, &thinking_shape, &out);
}

static bool get_thinking(struct control_call *c, struct err *e)
{
    return show_thinking(c, c->snap, e);
}

static bool one_of(struct str value, const char *words, const char *field, struct err *e)
{
    struct str rest = str_of(words), one;
    while (rest.n) {
        rest = str_cut(rest, '|', &one);
        if (str_eq(one, value))
            return true;
    }
    return err_field(e, field, "'%s' must be one of %s", field, words);
}

static bool put_thinking(struct control_call *c, struct err *e)
{
    const struct thinking_in *in = c->in;
    struct values v = {.n = 0};
    bool is_off = str_is(in->mode, "disabled");
    if (!needs_any(c, e) ||
        (is_given(c, 0) &&
         !one_of(in->mode, "passthrough|auto|custom|adaptive|manual|disabled", "mode", e)) ||
        (is_given(c, 2) && !one_of(in->effortLevel, "none|low|medium|high", "effortLevel", e)))
        return false;
    if (is_given(c, 0))
        add(&v, "thinking_mode", is_off || str_is(in->mode, "manual") ? STR("custom") : in->mode);
    if (is_off)
        add(&v, "thinking_budget", STR("0"));
    else if (is_given(c, 1))
        add(&v, "thinking_budget", str_fmt(c->arena, "%lld", (long long)in->customBudget));
    if (is_given(c, 2))
        add(&v, "thinking_effort", in->effortLevel);
    return save(c, &v, show_thinking, e);
}

/* ---- addresses ---- */

struct ban_in {
    struct str ip;
    int64_t durationMs;
    struct str reason;
};
struct ban_out {
    struct str ip, until, reason;
    int64_t remainingMs;
};
struct filter_in {
    bool enabled;
    struct str mode;
    struct strs blacklist, whitelist;
    struct str addBlacklist, removeBlacklist, addWhitelist, removeWhitelist;
    struct ban_in tempBan;
    struct str removeBan;
};
struct filter_out {
    bool enabled;
    struct str mode;
    struct strs blacklist, whitelist;
    struct shape_list tempBans;
};
/* clang-format off */
static const struct shape ban_in_shape = SHAPE_STRICT(struct ban_in,
    FIELD(struct ban_in, ip, REQUIRED | NOT_EMPTY, "Address or range"),
    FIELD_RANGE(struct ban_in, durationMs, 1, 315360000000, 0, "How long; an hour when absent"),
    FIELD_TEXT(struct ban_in, reason, 0, 200, 0, "Why, for people"));
static const struct shape ban_shape = SHAPE(struct ban_out,
    FIELD(struct ban_out, ip, 0, "Address or range"),
    FIELD(struct ban_out, until, 0, "When it ends"),
    FIELD(struct ban_out, reason, 0, "Why"),
    FIELD(struct ban_out, remainingMs, 0, "Until then"));
static const struct shape filter_in_shape = SHAPE_STRICT(struct filter_in,
    FIELD(struct filter_in, enabled, 0, "Whether addresses are looked at"),
    FIELD(struct filter_in, mode, 0, "blacklist: those in it are turned away; whitelist: all but those in it"),
    FIELD(struct filter_in, blacklist, 0, "Addresses and ranges: all of them"),
    FIELD(struct filter_in, whitelist, 0, "Addresses and ranges: all of them"),
    FIELD(struct filter_in, addBlacklist, 0, "One more"),
    FIELD(struct filter_in, removeBlacklist, 0, "One less"),
    FIELD(struct filter_in, addWhitelist, 0, "One more"),
    FIELD(struct filter_in, removeWhitelist, 0, "One less"),
    {FIELD_BASE(struct filter_in, tempBan, "tempBan", SHAPE_OBJECT, 0, "Turn one away for a while"), .shape = &ban_in_shape},
    FIELD(struct filter_in, removeBan, 0, "End that"));
static const struct shape filter_shape = SHAPE(struct filter_out,
    FIELD(struct filter_out, enabled, 0, "Whether addresses are looked at; bans count in any case"),
    FIELD(struct filter_out, mode, 0, "blacklist or whitelist; whitelist-priority: those of blacklist that whitelist lacks"),
    FIELD(struct filter_out, blacklist, 0, "Addresses and ranges"),
    FIELD(struct filter_out, whitelist, 0, "Addresses and ranges"),
    FIELD_LIST(struct filter_out, tempBans, &ban_shape, 0, "Those turned away for a while"));
/* clang-format on */
enum {
    F_ENABLED,
    F_MODE,
    F_BLACKLIST,
    F_WHITELIST,
    F_BAN = 8
};

static struct strs parted(struct arena *a, struct str list)
{
    size_t max = 1;
    for (size_t i = 0; i < list.n; i++)
        max += list.p[i] == ',';
    struct strs out = {ARENA_ARRAY(a, struct str, max + 1), 0}; /* room for one more */
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        if (str_trim(one).n)
            out.v[out.n++] = str_trim(one);
    }
    return out;
}

static struct str joined(struct arena *a, const struct strs *list)
{
    struct buf b;
    buf_init_arena(&b, a, 1u << 20);
    for (size_t i = 0; i < list->n; i++)
        buf_fmt(&b, "%s" STR_FMT, i ? "," : "", STR_ARG(list->v[i]));
    return b.n ? buf_str(&b) : STR("");
}

static bool show_filter(struct control_call *c, const struct snapshot *s, struct err *e)
{
    const struct settings *set = &s->settings;
    int64_t now = clock_wall_ms();
    struct db *db = control_db(c, e);
    struct ip_ban *bans;
    size_t n;
    if (!db || !ip_ban_list(db, c->arena, now, &bans, &n, e))
        return false;
    struct ban_out *v = ARENA_ARRAY(c->arena, struct ban_out, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = (struct ban_out){bans[i].address, omni_iso(c->arena, bans[i].until_ms),
                                bans[i].reason, bans[i].until_ms - now};
    struct filter_out out = {.enabled = !str_is(set->ip_filter, "off"),
                             .mode = str_is(set->ip_filter, "allow")  ? STR("whitelist")
                                     : str_is(set->ip_filter, "both") ? STR("whitelist-priority")
                                                                      : STR("blacklist"),
                             .blacklist = parted(c->arena, set->ip_deny),
                             .whitelist = parted(c->arena, set->ip_allow),
                             .tempBans = {v, n}};
    return control_reply(c, 200, &filter_shape, &out);
}

static bool get_filter(struct control_call *c, struct err *e)
{
    return show_filter(c, c->snap, e);
}

/* The list as it will be: replaced, then with one more and one less. */
static struct str edited(struct control_call *c, struct str now, bool replaces,
                         const struct strs *all, struct str more, struct str less)
{
    struct str text = replaces ? joined(c->arena, all) : now;
    struct strs list = parted(c->arena, text), out = parted(c->arena, text);
    out.n = 0;
    bool is_there = more.n == 0;
    for (size_t i = 0; i < list.n; i++) {
        is_there |= str_eq(list.v[i], more);
        if (!less.n || !str_eq(list.v[i], less))
            out.v[out.n++] = list.v[i];
    }
    if (!is_there)
        out.v[out.n++] = more;
    return joined(c->arena, &out);
}

/* Whoever asks for it must not turn themselves away; this machine never is. */
static bool spares_caller(struct control_call *c, struct snapshot *probe, struct err *e)
{
    uint8_t address[CIDR_BYTES];
    int64_t until;
    if (address_parse(c->address, address) && address_is_loopback(address))
        return true;
    ip_filter_build(probe);
    return !probe->ip_filter ||
           ip_filter_ask(probe->ip_filter, c->address, clock_wall_ms(), &until) == IP_PASSES ||
           err_set(e, ERR_INPUT, "locks_you_out", "This would turn away your own address, " STR_FMT,
                   STR_ARG(c->address));
}

static bool change_bans(struct control_call *c, const struct filter_in *in, struct err *e)
{
    int64_t now = clock_wall_ms();
    uint8_t base[CIDR_BYTES];
    unsigned bits;
    struct str before, after;
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    if (is_given(c, F_BAN)) {
        struct ip_ban b = {.address = in->tempBan.ip,
                           .reason = in->tempBan.reason.n ? in->tempBan.reason : STR("Manual ban"),
                           .until_ms = now +
                                       (in->tempBan.durationMs ? in->tempBan.durationMs : 3600000),
                           .created_ms = now};
        struct snapshot probe = {.arena = c->arena, .ip_bans = &b, .n_ip_bans = 1};
        probe.settings.ip_filter = STR("off");
        if (!cidr_parse(b.address, base, &bits))
            return err_field(e, "tempBan.ip", "'tempBan.ip' must be an address or a range");
        if (!spares_caller(c, &probe, e) ||
            !ip_ban_json(db, c->arena, b.address, now, &before, e) || !ip_ban_put(db, &b, now, e) ||
            !ip_ban_json(db, c->arena, b.address, now, &after, e))
            return false;
        control_audit(c, "ip_ban", b.address, before, after);
    }
    if (in->removeBan.n) {
        struct err none = ERR_INIT;
        if (!ip_ban_json(db, c->arena, in->removeBan, now, &before, e))
            return false;
        if (!ip_ban_delete(db, in->removeBan, &none) && none.kind != ERR_NOT_FOUND) {
            *e = none;
            return false;
        }
        control_audit(c, "ip_ban", in->removeBan, before, STR_NONE);
    }
    return true;
}

static bool put_filter(struct control_call *c, struct err *e)
{
    const struct filter_in *in = c->in;
    const struct settings *set = &c->snap->settings;
    struct settings probe_set = *set;
    struct snapshot probe = {.arena = c->arena};
    struct values v = {.n = 0};
    bool was_on = !str_is(set->ip_filter, "off"),
         on = is_given(c, F_ENABLED) ? in->enabled : was_on;
    struct str mode = str_is(in->mode, "whitelist")   ? STR("allow")
                      : str_is(in->mode, "blacklist") ? STR("deny")
                      : was_on                        ? set->ip_filter
                                                      : STR("deny");
    if (!needs_any(c, e) ||
        (is_given(c, F_MODE) && !one_of(in->mode, "blacklist|whitelist", "mode", e)))
        return false;
    add(&v, "ip_filter", on ? mode : STR("off"));
    add(&v, "ip_deny",
        edited(c, set->ip_deny, is_given(c, F_BLACKLIST), &in->blacklist, in->addBlacklist,
               in->removeBlacklist));
    add(&v, "ip_allow",
        edited(c, set->ip_allow, is_given(c, F_WHITELIST), &in->whitelist, in->addWhitelist,
               in->removeWhitelist));
    for (size_t i = 0; i < v.n; i++)
        if (!setting_set(&probe_set, v.v[i].row, v.v[i].value, e))
            return false;
    probe.settings = probe_set;
    struct values changed = {.n = 0};
    const struct str before[] = {set->ip_filter, set->ip_deny, set->ip_allow};
    for (size_t i = 0; i < v.n; i++)
        if (!str_eq(before[i], v.v[i].value))
            changed.v[changed.n++] = v.v[i];
    if (!spares_caller(c, &probe, e) || !change_bans(c, in, e) ||
        ((is_given(c, F_BAN) || in->removeBan.n) && !control_changed(c, e)))
        return false;
    return save(c, &changed, show_filter, e);
}

/* clang-format off */
const struct endpoint omni_setting_endpoints[] = {
    { HTTP_GET,   "/api/settings",                 SURFACE_OMNIROUTE, ACCESS_VIEWER, "The settings", .on_worker = get_settings, .out = &settings_shape },
    { HTTP_PATCH, "/api/settings",                 SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change settings; keys that nothing obeys are not kept", .on_worker = patch_settings, .in = &settings_in_shape, .out = &settings_shape },
    { HTTP_GET,   "/api/settings/require-login",   SURFACE_OMNIROUTE, ACCESS_PUBLIC, "Whether administration asks for a sign-in", .on_worker = get_login, .out = &login_shape },
    { HTTP_POST,  "/api/settings/require-login",   SURFACE_OMNIROUTE, ACCESS_ADMIN, "Turn the sign-in on or off, or set the own password", .on_worker = post_login, .in = &require_in_shape, .out = &require_shape, .takes_password = true },
    { HTTP_GET,   "/api/settings/combo-defaults",  SURFACE_OMNIROUTE, ACCESS_VIEWER, "What combos are unless they say otherwise", .on_worker = get_defaults, .out = &defaults_shape },
    { HTTP_PATCH, "/api/settings/combo-defaults",  SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it", .on_worker = patch_defaults, .in = &defaults_in_shape, .out = &defaults_shape },
    { HTTP_PUT,   "/api/settings/combo-defaults",  SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it, as PATCH", .on_worker = patch_defaults, .in = &defaults_in_shape, .out = &defaults_shape },
    { HTTP_GET,   "/api/settings/system-prompt",   SURFACE_OMNIROUTE, ACCESS_VIEWER, "The text before every system prompt", .on_worker = get_prompt, .out = &prompt_shape },
    { HTTP_PUT,   "/api/settings/system-prompt",   SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it", .on_worker = put_prompt, .in = &prompt_shape, .out = &prompt_shape },
    { HTTP_GET,   "/api/settings/thinking-budget", SURFACE_OMNIROUTE, ACCESS_VIEWER, "How much thinking models are asked for", .on_worker = get_thinking, .out = &thinking_shape },
    { HTTP_PUT,   "/api/settings/thinking-budget", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it", .on_worker = put_thinking, .in = &thinking_shape, .out = &thinking_shape },
    { HTTP_GET,   "/api/settings/ip-filter",       SURFACE_OMNIROUTE, ACCESS_VIEWER, "Which addresses are turned away", .on_worker = get_filter, .out = &filter_shape },
    { HTTP_PUT,   "/api/settings/ip-filter",       SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it", .on_worker = put_filter, .in = &filter_in_shape, .out = &filter_shape },
    {0},
};
/* clang-format on */
