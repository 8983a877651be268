#include "domain/setting.h"
#include <regex.h>
#include "http/cidr.h"
#include "http/http.h"

#define INT(name_, default_, min_, max_, sentence_)                                        \
    {                                                                                      \
#name_, SETTING_INT, offsetof(struct settings, name_), default_, min_, max_, NULL, \
            sentence_                                                                      \
    }
#define FLAG(name_, default_, sentence_)                                                        \
    {                                                                                           \
#name_, SETTING_BOOL, offsetof(struct settings, name_), default_, 0, 1, NULL, sentence_ \
    }
#define TEXT(name_, default_, sentence_)                                                     \
    {                                                                                        \
#name_, SETTING_TEXT, offsetof(struct settings, name_), 0, 0, 0, default_, sentence_ \
    }
#define WORD(name_, default_, words_, sentence_)                                              \
    {                                                                                         \
#name_, SETTING_TEXT, offsetof(struct settings, name_), 0, 0, 0, default_, sentence_, \
            .words = words_                                                                   \
    }
#define PATTERN(name_, default_, sentence_)                                                   \
    {                                                                                         \
#name_, SETTING_TEXT, offsetof(struct settings, name_), 0, 0, 0, default_, sentence_, \
            .is_pattern = true                                                                \
    }
#define CHECKED(name_, default_, check_, sentence_)                                           \
    {                                                                                         \
#name_, SETTING_TEXT, offsetof(struct settings, name_), 0, 0, 0, default_, sentence_, \
            .check = check_                                                                   \
    }
#define DEPLOYED(name_, check_, sentence_)                                              \
    {                                                                                   \
#name_, SETTING_TEXT, offsetof(struct settings, name_), 0, 0, 0, "", sentence_, \
            .check = check_, .is_deployed = true                                        \
    }
#define DAY 86400000
#define GIB (1024ll << 20)

/* What of the endpoints reaches beyond the gateway: each a member of `capabilities`. */
static const char *const capability_names[] = {"backup_import", "cli_config", "interception",
                                               "oauth_import",  "processes",  "restart"};

static bool capability_list_check(struct str list, struct err *e)
{
    while (list.n) {
        struct str one;
        bool is_known = false;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        for (size_t i = 0; i < ARRAY_LEN(capability_names); i++)
            is_known |= str_eq(one, str_of(capability_names[i]));
        if (one.n && !is_known)
            return err_set(e, ERR_INPUT, "invalid_value",
                           "'" STR_FMT "' is none of backup_import, cli_config, interception, "
                           "oauth_import, processes, restart",
                           STR_ARG(str_first(one, 60)));
    }
    return true;
}

static bool check_prompt(struct str value, struct err *e)
{
    return (value.n <= 50000 && str_valid_utf8(value)) ||
           err_set(e, ERR_INPUT, "invalid_value", "at most 50000 bytes of UTF-8");
}

static bool check_phrases(struct str value, struct err *e)
{
    return (value.n <= 8000 && str_valid_utf8(value)) ||
           err_set(e, ERR_INPUT, "invalid_value", "at most 8000 bytes of UTF-8");
}

static bool check_address(struct str value, struct err *e)
{
    struct arena *a = arena_new();
    struct url url;
    bool ok = value.n == 0 || url_parse_address(a, value, &url, e);
    arena_free(a);
    return ok;
}

/* RFC 6454, 6.2, as a browser spells it: scheme://host[:port] in small letters, no path, not even a slash; or null. */
static bool is_origin(struct str s)
{
    struct str host, scheme;
    host = str_cut(s, ':', &scheme);
    if (str_is(s, "null"))
        return true;
    if (!scheme.n || !str_starts(host, STR("//")) || host.n == 2)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        bool is_slash = ch == '/' && i > scheme.n && i <= scheme.n + 2;
        if (!is_slash &&
            (ch <= ' ' || ch >= 0x7f || (ch >= 'A' && ch <= 'Z') || memchr("/?#@*\\\"'<>", ch, 10)))
            return false;
    }
    return true;
}

static bool origins_check(struct str list, bool may_be_all, struct err *e)
{
    if (may_be_all && str_is(list, "*"))
        return true;
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        if (one.n && !is_origin(one))
            return err_set(e, ERR_INPUT, "invalid_value",
                           "'" STR_FMT "' is no origin: scheme://host[:port] in small letters, "
                           "without a path%s",
                           STR_ARG(str_first(one, 100)), may_be_all ? ", or * alone for all" : "");
    }
    return true;
}

static bool check_origins(struct str list, struct err *e)
{
    return origins_check(list, true, e);
}

static bool check_named_origins(struct str list, struct err *e)
{
    return origins_check(list, false, e);
}

/* Any name of a member that can be written down here: a name that would never be met would give a false sense of safety. */
static bool check_redact_fields(struct str list, struct err *e)
{
    size_t n = 0;
    if (!str_valid_utf8(list))
        return err_set(e, ERR_INPUT, "invalid_value", "the names are not UTF-8");
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        n += one.n > 0;
        for (size_t i = 0; i < one.n; i++)
            if ((unsigned char)one.p[i] < ' ' || memchr("\"\\", one.p[i], 2))
                return err_set(e, ERR_INPUT, "invalid_value",
                               "'" STR_FMT "' would match nothing: a name is written without "
                               "quotes, backslashes and control characters",
                               STR_ARG(str_first(one, 100)));
    }
    return n <= REDACT_FIELDS ||
           err_set(e, ERR_INPUT, "invalid_value", "%zu names are too many: %d are looked for", n,
                   REDACT_FIELDS);
}

/* clang-format off */
static const struct setting rows[] = {
    TEXT(host, "127.0.0.1", "Address to listen on; 0.0.0.0 for all. Read at start"),
    INT(port, 8765, 0, 65535, "Port to listen on; 0 picks a free one. Read at start"),
    INT(threads, 0, 0, 256, "Event loops; 0: one a core. Read at start"),
    FLAG(allow_anonymous, 0, "Serve models to callers without a key"),
    TEXT(proxy, "", "HTTP or SOCKS5 proxy for upstreams without one of their own: its address, or the name of one of \"proxies\""),
    INT(max_body_bytes, 50000000, 1024, 4 * GIB, "Largest JSON request body"),
    INT(max_upload_bytes, 1 * GIB, 1024, 64 * GIB, "Largest multipart request body"),
    INT(max_head_bytes, 65536, 1024, 16 << 20, "Largest request line and headers together"),
    INT(max_target_bytes, 16384, 256, 1 << 20, "Largest request target (path and query)"),
    INT(max_headers, 128, 8, 10000, "Most headers in a request"),
    INT(max_conns, 50000, 1, 10000000, "Most client connections of one loop. Read at start"),
    INT(head_timeout_ms, 30000, 100, DAY, "Time for a request's head to arrive"),
    INT(body_timeout_ms, 60000, 100, DAY, "Longest pause while a request's body arrives"),
    INT(idle_timeout_ms, 75000, 100, DAY, "Time a connection may wait for its next request"),
    INT(write_timeout_ms, 120000, 100, DAY, "Longest time a client may take nothing of its reply"),
    INT(drain_timeout_ms, 30000, 0, DAY, "Time running requests get after SIGTERM"),
    INT(connect_timeout_ms, 10000, 1, DAY, "Time to connect to an upstream"),
    INT(first_byte_timeout_ms, 300000, 1, DAY, "Time an upstream has until its reply begins"),
    INT(between_timeout_ms, 300000, 1, DAY, "Longest silence inside an upstream's reply"),
    INT(total_timeout_ms, 0, 0, DAY, "Longest time for one upstream reply; 0: no limit"),
    INT(max_json_depth, 128, 8, 2000, "Deepest nesting in JSON"),
    INT(max_event_bytes, 32 << 20, 4096, 1 * GIB, "Largest event of a stream; in another format it may become eight times as large, or 64 MiB"),
    INT(max_reply_bytes, 256 << 20, 65536, 4 * GIB, "Largest reply that is held whole"),
    INT(max_attempts, 4, 1, 100, "Most targets tried for one request"),
    INT(max_memory_bytes, 2 * GIB, 1 << 20, 1024 * GIB, "Held by requests at once: bodies, what is made of them, replies; beyond it new requests get 503"),
    INT(keepalive_ms, 15000, 0, DAY, "Silence after which a streaming client gets a sign of life; 0: none"),
    INT(upstream_idle_ms, 60000, 100, DAY, "Time an idle upstream connection is kept. Read at start"),
    INT(upstream_max_idle, 256, 0, 100000, "Idle connections kept for one upstream by one loop. Read at start"),
    INT(upstream_max_conns, 0, 0, 1000000, "Most connections to one upstream by one loop; 0: no limit. Read at start"),
    INT(image_max_bytes, 20 << 20, 1024, 1 * GIB, "Largest remote image fetched for an upstream that takes bytes only"),
    INT(image_timeout_ms, 10000, 100, DAY, "Time for fetching a remote image"),
    INT(response_ttl_ms, 30ll * DAY, 1000, 3650ll * DAY, "How long stored responses are kept"),
    FLAG(response_cache, 0, "Answer a request that was answered before from memory, for the same caller"),
    FLAG(response_cache_any_temperature, 0, "Do so for conversations whose temperature is not 0 as well"),
    INT(response_cache_ttl_ms, 3600000, 1, 365ll * DAY, "How long such an answer is kept"),
    INT(response_cache_max_bytes, 64 << 20, 0, 1024 * GIB, "Memory for answers that are kept, also those of an Idempotency-Key; the one unused for longest goes first"),
    INT(response_cache_max_entries, 10000, 0, 10000000, "Most answers that are kept"),
    INT(response_cache_max_reply_bytes, 1 << 20, 1024, 64 << 20, "Largest answer that is kept"),
    WORD(response_cache_scope, "key", "key|user|org", "Whose an answer is: the client key's, or its user's or organisation's where it has one"),
    WORD(response_cache_cost, "free", "free|full", "What an answer costs that is given again: nothing, or what the first one did"),
    TEXT(semantic_cache_model, "", "Model that embeds questions, so that one that means the same gets the answer of the first; empty: none. Part of the response cache; asks for sqlite-vec"),
    INT(semantic_cache_similarity_ppm, 950000, 0, 1000000, "How alike two questions must be, in millionths of cosine similarity"),
    INT(semantic_cache_timeout_ms, 2000, 1, 600000, "Time that embedding a question may take; then the request is sent"),
    FLAG(coalesce, 0, "Let equal requests of one caller that are not streams wait for one answer, by the rules of the response cache"),
    INT(coalesce_wait_ms, 60000, 1, DAY, "How long a request waits for the answer to an equal one before it is sent itself"),
    INT(idempotency_window_ms, 300000, 0, 7ll * DAY, "How long an answer is given again to the same Idempotency-Key of a caller; 0: never"),
    INT(usage_retention_days, 90, 0, 36500, "Days that the request log is kept; 0: for ever"),
    INT(request_log_success_max, 10000000, 0, 1000000000000, "Most requests with a status below 400 that the request log keeps; 0: no limit"),
    INT(request_log_error_max, 1000000, 0, 1000000000000, "Most failed requests that the request log keeps; 0: no limit"),
    INT(usage_figures_days, 1100, 0, 36500, "Days that the figures of the request log, summed up by day, are kept; 0: for ever"),
    FLAG(emulate_stop, 0, "Cut answers at the caller's stop sequences where an upstream knows none (OpenAI Responses)"),
    INT(metrics_max_labels, 500, 16, 16000, "Most models, upstreams and keys that metrics tell apart; further ones count as `other`. Read at start"),
    FLAG(metrics_loopback, 0, "Show /metrics without a credential to callers on this machine"),
    FLAG(trace_context, 1, "Take part in traces of callers (W3C traceparent)"),
    FLAG(trace_propagate, 1, "Tell upstreams of the trace"),
    CHECKED(otlp_endpoint, "", check_address, "OpenTelemetry collector, http(s)://HOST:4318; empty: OTEL_EXPORTER_OTLP_ENDPOINT, or none"),
    TEXT(otlp_headers_file, "", "File with lines `name: value` that the collector gets as headers, in the data folder unless absolute"),
    FLAG(otlp_traces, 1, "Send it traces"),
    FLAG(otlp_metrics, 1, "Send it metrics"),
    TEXT(otlp_service_name, "", "service.name there; empty: OTEL_SERVICE_NAME, or sluice"),
    INT(otlp_sample_ppm, 1000000, 0, 1000000, "Of a million requests without a trace of their caller, how many are traced"),
    INT(otlp_interval_ms, 5000, 50, 3600000, "Time between two sendings of traces"),
    INT(otlp_metrics_interval_ms, 60000, 50, 3600000, "Time between two sendings of metrics"),
    INT(otlp_timeout_ms, 10000, 100, 600000, "Time the collector has to answer"),
    FLAG(metrics_public, 0, "Show /metrics without a credential to everybody"),
    CHECKED(price_feed_url, "", check_address, "Price list that POST /api/pricing/sync fetches, http(s)://…; empty: none is asked"),
    FLAG(budget_allow_unpriced, 0, "Whether requests under a budget that stops may go to models whose price is unknown: they count as nothing"),
    INT(budget_hold_searches, 8, 0, 10000, "Searches of the web held of a budget for a request that may make some and does not say how many"),
    INT(budget_bytes_per_token, 1, 1, 8, "Bytes of a prompt's text for each token that is held of a budget; 1 holds for the densest text that there is"),
    INT(budget_hold_images, 4, 0, 10000, "Pictures held of a budget, where each has a price, for a conversation that may make some"),
    INT(budget_hold_tokens, 4096, 1, 1000000, "Output tokens held of a budget at least, of a stream that may be cut at first, for a request that names no maximum"),
    INT(budget_max_tokens, 32768, 0, 1000000, "Most output tokens of a reply that neither its request nor its model bounds, under a budget that stops: the upstream is told so many, or as many as a quarter of what is left pays for; 0: it is told nothing"),
    FLAG(cost_client_left_estimate, 1, "Whether a reply whose client left before the upstream told its usage is charged by estimate; else it costs nothing"),
    INT(config_versions_kept, 200, 2, 100000, "Versions of the configuration that are kept for comparison and rollback"),
    FLAG(log_clients, 0, "Address and User-Agent of clients in the request log"),
    WORD(log_bodies, "off", "off|errors|all", "Which requests' bodies are kept: off, errors or all"),
    INT(log_body_max_bytes, 65536, 256, 64 << 20, "Most that is kept of one body"),
    INT(log_bodies_max_bytes, 1 * GIB, 0, 1024 * 1024 * GIB, "Most that all kept bodies take, compressed; beyond it the oldest go; 0: no limit"),
    INT(log_bodies_days, 7, 0, 36500, "Days that bodies are kept; 0: as long as their records"),
    CHECKED(log_redact_fields, "password,passwd,secret,api_key,apikey,access_token,refresh_token,id_token,client_secret,private_key,authorization", check_redact_fields, "Members of JSON whose value is taken out of kept bodies and errors, comma-separated, at most 64"),
    PATTERN(log_redact_pattern, "", "What else is taken out of them, an extended regular expression"),
    FLAG(log_json, 0, "Log lines as JSON"),
    FLAG(cors, 1, "Answer browsers of other origins"),
    CHECKED(cors_origins, "*", check_origins, "Origins that may, comma-separated; * for all"),
    FLAG(credential_visible, 0, "Let administrators see keys again that were given or made; those made while it is off stay hashes"),
    CHECKED(diagnostics_ip_url, "", check_address, "Asked by network diagnostics for the address we are seen under; empty: not asked"),
    CHECKED(diagnostics_connect_url, "", check_address, "Asked by network diagnostics for a 204; empty: not asked"),
    CHECKED(admin_cors_origins, "", check_named_origins, "Origins whose pages may call the control plane under /admin, comma-separated, each named"),
    FLAG(require_login, 1, "Ask operators to sign in; false opens administration, to this machine only and only while the listener is a loopback address"),
    DEPLOYED(capabilities, capability_list_check, "Dangerous endpoints that are switched on, for callers on this machine: a comma list of backup_import, cli_config, interception, oauth_import, processes, restart. File and environment only"),
    CHECKED(trusted_proxies, "", cidr_list_check, "Addresses and ranges of proxies whose X-Forwarded-For, -Proto and -Host are believed, comma-separated"),
    INT(session_ttl_ms, DAY, 1000, 365ll * DAY, "Longest life of an operator's session"),
    INT(session_idle_ms, DAY / 12, 1000, 365ll * DAY, "Time after which a session that is not used ends"),
    INT(max_sessions, 1000, 1, 100000, "Sessions at once; beyond it the one unused for longest ends"),
    INT(login_max_failures, 5, 1, 1000, "Failed sign-ins after which an address is locked out"),
    INT(login_window_ms, 300000, 1000, DAY, "Time after which earlier failed sign-ins are forgotten"),
    INT(login_lockout_ms, 300000, 1000, DAY, "Time of the first lock-out of an address; doubled each time"),
    INT(login_lockout_max_ms, DAY / 24, 1000, 365ll * DAY, "Longest lock-out"),
    INT(password_memory_bytes, 64 << 20, 8192, 4 * GIB, "Memory for hashing one password (Argon2id)"),
    INT(password_passes, 2, 1, 100, "Passes for hashing one password (Argon2id)"),
    INT(password_parallel, 2, 1, 64, "Passwords hashed at once; further sign-ins wait. Read at start"),
    INT(password_min_length, 8, 1, 128, "Shortest password that can be set; one given by file or environment is taken as it is"),
    INT(model_tests_max, 64, 1, 1000, "Tests of models, started in a panel, that run at once; further ones are refused"),
    INT(model_tests_max_bytes, 64 << 20, 65536, 16 * GIB, "Memory for the answers of those that are over, which can be asked for until five minutes after their start; beyond it the oldest go first"),
    INT(claim_ttl_ms, DAY, 60000, 365ll * DAY, "Life of a claim link"),
    INT(audit_retention_days, 400, 0, 36500, "Days that the audit log is kept; 0: for ever"),
    INT(audit_refusals_per_minute, 100, 0, 100000, "Refused administrative calls of callers without a role that are kept in the audit log a minute, and as many of others; the rest are counted"),
    WORD(target_strategy, "priority", STRATEGY_WORDS, "Which target of a model, or account of a kind of provider, goes first where nothing else says so"),
    WORD(combo_strategy, "priority", STRATEGY_WORDS, "Strategy of combos that name none"),
    INT(combo_max_retries, 1, 0, 10, "Further attempts at one member of a combo before the next one's turn, after an overload or a lost connection"),
    INT(combo_retry_delay_ms, 500, 0, 60000, "Pause before each of them"),
    INT(combo_timeout_ms, 0, 0, DAY, "Time that one attempt of a combo has until its reply begins; 0: as the provider says"),
    INT(combo_concurrency, 0, 0, 100000, "Requests that one member of a combo serves at once; 0: no limit"),
    INT(combo_queue_timeout_ms, 30000, 0, 3600000, "Longest wait for a free place at a member; then the next one's turn"),
    INT(combo_patience_ms, 0, 0, 60000, "After 502, 503 or 504: longest recovery of a combo's member that is waited for before the next one's turn"),
    INT(combo_hedge_after_ms, 0, 0, 600000, "Time without a first byte after which a combo's next member is asked beside the one that is silent; 0: never"),
    INT(combo_hedge_percentile, 0, 0, 99, "Percentile of the member's own recent times to the first byte, waited for where it is longer than combo_hedge_after_ms; 0: that time alone"),
    INT(hedge_budget_percent, 5, 0, 100, "Of the requests of a combo that may be asked twice at once, how many are; 0: none"),
    INT(hedge_burst, 10, 1, 10000, "Of those, how many in a row before the share counts"),
    INT(round_robin_limit, 1, 1, 1000, "Requests in a row that one member gets under round-robin"),
    INT(route_wait_ms, 10000, 0, 3600000, "Longest time a request waits for the nearest recovery while all of its targets cool; beyond it 429 says when to come back"),
    INT(route_seed, 0, 0, 1000000000000, "Seed of random choices, to repeat them; 0: from the system"),
    TEXT(global_fallback_model, "", "Model or combo that is tried once when all else failed with an overload or a lost connection, for callers who may use it; empty: none"),
    INT(quota_threshold_percent, 90, 1, 100, "Use of a vendor's quota window from which others go first when it would run out before it is reset"),
    INT(breaker_failures, 1, 1, 100, "Overloads or lost connections in a row after which an upstream's model is left alone; of plain errors (500) it takes two more"),
    INT(breaker_cooldown_ms, 3000, 1, 3600000, "How long at first; doubled each time"),
    INT(breaker_cooldown_max_ms, 60000, 1, DAY, "How long at most"),
    INT(breaker_quiet_ms, 300000, 1000, 30ll * DAY, "Time without failure after which the doubling begins anew"),
    INT(rate_limit_cooldown_ms, 1000, 1, 3600000, "The same after 429 of an upstream that does not say how long: at first"),
    INT(rate_limit_cooldown_max_ms, 120000, 1, DAY, "And at most"),
    INT(local_breaker_failures, 2, 1, 100, "The same as breaker_failures, of model servers of one's own"),
    INT(local_breaker_cooldown_ms, 2000, 1, 3600000, "How long these are left alone at first; doubled each time"),
    INT(local_breaker_cooldown_max_ms, 16000, 1, DAY, "How long at most"),
    INT(local_rate_limit_cooldown_ms, 5000, 1, 3600000, "The same after 429 of one that does not say how long: at first"),
    INT(protect_requests_per_minute, 100, 1, 1000000, "Requests per minute that a provider is limited to when it is protected at OmniRoute's rate-limits"),
    INT(protect_concurrency, 10, 1, 100000, "Requests at once, the same"),
    INT(limit_queue_ms, 10000, 0, DAY, "Longest time a request waits for room within a limit before it is refused; 0: none waits"),
    INT(limit_queue_max, 1000, 0, 1000000, "Most requests that wait so at once; further ones are refused"),
    WORD(ip_filter, "off", "off|deny|allow|both", "Addresses that may come in: deny turns away those of ip_deny, allow all but those of ip_allow, both those of ip_deny that ip_allow lacks"),
    CHECKED(ip_allow, "", cidr_list_check, "Addresses and ranges that the filter lets in, comma-separated"),
    CHECKED(ip_deny, "", cidr_list_check, "Addresses and ranges that the filter turns away, comma-separated"),
    FLAG(inject_system_prompt, 0, "Put system_prompt before the system prompt of every conversation"),
    CHECKED(system_prompt, "", check_prompt, "What goes there"),
    FLAG(background_degradation, 0, "Count policies of task `background` that name a model: requests for titles and summaries go to a cheaper one"),
    FLAG(task_routing, 0, "Count the other policies that name a task"),
    CHECKED(background_phrases, "title for|a title|conversation title|chat title|name this conversation|name this chat|summarize this|summarize the|write a summary|one-line summary|one-sentence summary|short summary|brief summary|short description|brief description|topic of this conversation", check_phrases,
        "What the system prompt of a background task holds, in any case of letters, separated by |"),
    TEXT(system_prompt_except, "", "Models whose conversations do not get it, comma-separated; * stands for any run of characters"),
    WORD(thinking_mode, "passthrough", "passthrough|auto|custom|adaptive", "How much thinking upstreams are asked for: passthrough as clients ask, auto what they ask is taken out, custom thinking_budget, adaptive by thinking_effort and the size of the conversation"),
    INT(thinking_budget, 10240, 0, 131072, "Tokens of thinking under custom; 0: none"),
    WORD(thinking_effort, "medium", "none|low|medium|high", "Where adaptive begins: no tokens, 1024, 10240 or 131072"),
    FLAG(limit_headers, 1, "Tell clients what is left of their limits, in the headers that their format's vendor uses"),
    WORD(log_level, "info", "debug|info|warn|warning|error", "From which on lines are logged: debug, info, warn or error"),
};
/* clang-format on */

const struct setting *setting_at(size_t i)
{
    return i < ARRAY_LEN(rows) ? &rows[i] : NULL;
}

size_t setting_count(void)
{
    return ARRAY_LEN(rows);
}

size_t setting_index(const struct setting *row)
{
    return (size_t)(row - rows);
}

const struct setting *setting_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(name, str_of(rows[i].name)))
            return &rows[i];
    return NULL;
}

void setting_variable(const char *name, char out[64])
{
    (void)snprintf(out, 64, "SLUICE_%s", name);
    for (char *p = out + sizeof "SLUICE_" - 1; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
}

static void *member(struct settings *s, const struct setting *row)
{
    return (char *)s + row->offset;
}

void settings_default(struct settings *s)
{
    *s = (struct settings){.host = STR_NONE};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *at = member(s, &rows[i]);
        switch (rows[i].kind) {
        case SETTING_INT:
            *(int64_t *)at = rows[i].otherwise;
            break;
        case SETTING_BOOL:
            *(bool *)at = rows[i].otherwise != 0;
            break;
        case SETTING_TEXT:
            *(struct str *)at = str_of(rows[i].text);
            break;
        }
    }
}

/* Texts are lines: they go into headers, logs and files. What is written for a model may have several. */
static bool is_plain(const struct setting *row, struct str value)
{
    bool has_lines = row->check == check_prompt;
    for (size_t i = 0; i < value.n; i++) {
        unsigned char ch = (unsigned char)value.p[i];
        bool breaks = ch == '\n' || ch == '\r' || ch == '\t';
        if (ch == 0x7f || (ch < ' ' && !(has_lines && breaks)))
            return false;
    }
    return str_valid_utf8(value);
}

static bool text_fits(const struct setting *row, struct str value, struct err *e)
{
    if (!is_plain(row, value))
        return err_field(e, row->name, "'%s' must be text without control characters", row->name);
    if (row->words) {
        struct str rest = str_of(row->words), one;
        while (rest.n) {
            rest = str_cut(rest, '|', &one);
            if (str_eq(value, one))
                return true;
        }
        return err_field(e, row->name, "'%s' must be one of %s", row->name, row->words);
    }
    if (row->is_pattern && value.n) {
        char z[4096], why[128];
        regex_t re;
        if (value.n >= sizeof z || memchr(value.p, 0, value.n))
            return err_field(e, row->name, "'%s' is too long", row->name);
        memcpy(z, value.p, value.n);
        z[value.n] = 0;
        int rc = regcomp(&re, z, REG_EXTENDED | REG_NOSUB);
        if (rc != 0) {
            (void)regerror(rc, &re, why, sizeof why);
            return err_field(e, row->name, "'%s' is no regular expression: %s", row->name, why);
        }
        regfree(&re);
    }
    return true;
}

bool setting_set(struct settings *s, const struct setting *row, struct str value, struct err *e)
{
    void *at = member(s, row);
    struct err inner = ERR_INIT;
    int64_t n;
    switch (row->kind) {
    case SETTING_INT:
        if (!str_to_int(value, &n) || n < row->min || n > row->max)
            return err_field(e, row->name, "'%s' must be a whole number from %lld to %lld",
                             row->name, (long long)row->min, (long long)row->max);
        *(int64_t *)at = n;
        return true;
    case SETTING_BOOL:
        if (str_is(value, "true") || str_is(value, "1") || str_is(value, "yes") ||
            str_is(value, "on"))
            *(bool *)at = true;
        else if (str_is(value, "false") || str_is(value, "0") || str_is(value, "no") ||
                 str_is(value, "off"))
            *(bool *)at = false;
        else
            return err_field(e, row->name, "'%s' must be true or false", row->name);
        return true;
    case SETTING_TEXT:
        if (!text_fits(row, value, e))
            return false;
        if (row->check && !row->check(value, &inner))
            return err_field(e, row->name, "'%s': %s", row->name, inner.message);
        *(struct str *)at = value;
        return true;
    }
    return false;
}

void setting_write(const struct settings *s, const struct setting *row, struct jw *w)
{
    const void *at = (const char *)s + row->offset;
    switch (row->kind) {
    case SETTING_INT:
        jw_int(w, *(const int64_t *)at);
        break;
    case SETTING_BOOL:
        jw_bool(w, *(const bool *)at);
        break;
    case SETTING_TEXT:
        jw_str(w, *(const struct str *)at);
        break;
    }
}
