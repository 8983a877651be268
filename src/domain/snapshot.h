/* snapshot.h - the configuration as the relay sees it: immutable, ref-counted, swapped whole.
 * Built by the control plane from file, environment and store. A request pins the one that it started with. */
#ifndef DOMAIN_SNAPSHOT_H
#define DOMAIN_SNAPSHOT_H
#include "base/map.h"
#include "base/secret.h"
#include "domain/combo.h"
#include "domain/policy.h"
#include "domain/price.h"
#include "domain/provider_kind.h"
#include "http/client.h"
#include <stdatomic.h>

const char *origin_name(enum origin o);       /* "default", "file", "environment", "api" */

struct gauge;                   /* what was used of some limits: gate/limit.h, which puts it here; NULL: nothing is limited */

struct proxy;                   /* domain/proxy.h */
enum proxy_level { PROXY_NONE, PROXY_OWN, PROXY_OF_KIND, PROXY_GLOBAL };
struct upstream {               /* one provider entry: a base URL with its credentials */
    struct str name;            /* unique */
    uint32_t id;                /* small, stable for the process: index of counters */
    const struct provider_kind *kind;
    enum wire_id wires[4];      /* spoken here: the kind's, or the one that was configured */
    struct http_origin origin;
    struct str base_path;       /* "/v1": path of the base URL without trailing slash */
    struct secret *keys;        /* rotated, one step a request */
    size_t n_keys;
    _Atomic uint32_t *next_key;
    uint64_t *marks;            /* one for each key, at least one: names the credential at its address, keyed: says nothing of it. NULL: by its place */
    uint64_t address_mark;      /* of the address alone, and the way to it */
    uint32_t quirks;            /* of the kind, edited */
    struct quirk_edit quirk_said; /* in its own entry */
    struct quirk_edit quirk_edit; /* the same with its kind's where that is the operator's: it holds against what is known of a model as well */
    const char *const *strip;
    enum proxy_level proxy_level; /* where origin.proxy stands */
    struct http_header *headers; /* extra ones, sent always */
    size_t n_headers;
    struct str *lines;          /* of snapshot_index: the headers that every request carries, ready to be sent; one for each key */
    struct str api_version;     /* azure */
    bool is_enabled;
    /* what surfaces say of it; the relay reads none of these */
    struct str uid;             /* names it for good, whatever it is called */
    struct str pool;            /* what its maker called its kind, where priorities are kept packed; empty: written by hand */
    struct str label, default_model; /* name for people; what it is tested with */
    struct str extra;           /* JSON object of what only surfaces know; empty: nothing */
    const struct proxy *proxy;  /* the one of "proxies" that origin.proxy is; NULL: none of them */
    enum origin from;
    uint64_t connect_timeout_ms, first_byte_timeout_ms, between_timeout_ms, total_timeout_ms;
    bool allow_hosted_tools, fetch_images;
    int64_t priority, weight;   /* among the upstreams of one kind */
    bool is_measured;           /* stands where there is a choice: its times and loads are kept */
    struct limits limits;
    struct gauge *gauge;
};

enum capability { CAP_TEXT = 1, CAP_VISION = 2, CAP_TOOLS = 4, CAP_EMBEDDING = 8, CAP_REASONING = 16, CAP_AUDIO = 32, CAP_IMAGE = 64,
                  CAP_RERANK = 128, CAP_MODERATION = 256 };
struct resting {
    struct target target;
    size_t behind;              /* how many of the model's targets stand before it */
};
struct model {
    struct str name;            /* as clients call it */
    struct target *targets;     /* tried in order, unless strategy says otherwise */
    size_t n_targets;
    struct resting *resting;    /* those at providers that are switched off: for surfaces that show what is written */
    size_t n_resting;
    enum strategy strategy;     /* STRATEGY_DEFAULT: as the setting target_strategy says */
    const struct combo *group;  /* what there is to choose from; NULL: one target at most */
    enum { MODEL_SERVED, MODEL_OF_COMBO, MODEL_OF_ALIAS, MODEL_OF_CHAIN } face; /* others than the first are only in listed */
    uint32_t capabilities;
    int64_t max_output_tokens, context_tokens; /* -1 unknown */
    int64_t created;            /* Unix seconds, 0 unknown */
    struct limits limits;
    struct gauge *gauge;
    bool is_enabled, show_alias; /* show_alias: replies carry `name`, not the upstream's id */
    struct str label, source;   /* for people; manual, imported or auto-sync where it was added for a provider, else empty */
    struct str wants;           /* of those: the provider or pool that its first target names, whether there is one or not */
    enum origin from;
};

struct budget;                  /* domain/budget.h */
struct route_policy;            /* domain/route_policy.h */
enum holder_kind { HOLDER_ORG, HOLDER_USER, HOLDER_KINDS };
struct holder {                 /* an organisation, or a user: whom client keys belong to */
    struct str id, name;
    const struct holder *org;   /* of a user; NULL: none */
    struct limits limits;
    struct gauge *gauge;
    bool is_enabled;            /* false: no key of its opens anything */
    int64_t created_ms;
    enum origin from;
};

enum scope { SCOPE_INFERENCE = 1, SCOPE_MODELS = 2, SCOPE_ADMIN = 4 };
struct key {
    struct str id;              /* 8 hex or longer */
    struct str label;
    uint8_t hash[32];           /* SHA-256 of the key text */
    uint32_t scopes;
    enum origin from;
    struct str *allowed_models; /* exact names, or with * wildcards; none: all */
    uint32_t n_allowed;         /* narrow, and beside the flags: there may be a hundred thousand keys */
    bool is_enabled;
    bool is_internal;           /* this process' own */
    int64_t expires_ms;         /* wall clock; 0: never */
    int64_t created_ms;
    const struct holder *org, *user; /* NULL: none. org: its own, else its user's */
    const struct key_policy *policy; /* never NULL: tags, limits, schedule as they are written */
    struct gauge *gauge;             /* of policy->limits */
    const struct opening *opening;   /* its schedule; NULL: always */
    const struct budget *const *budgets; /* all that hold for it, NULL behind the last; NULL: none */
    int64_t account;            /* of org, user and tags, for the ledger; 0: it has none */
    struct str account_text;
};

struct settings {               /* each a row in domain/setting.c: name, default, bounds, origin */
    struct str host;
    int64_t port, threads;
    bool allow_anonymous;       /* data plane without a key */
    struct str proxy;           /* global, for upstreams without their own: as it is written */
    struct str proxy_url;       /* no row of its own: where proxy leads */
    int64_t max_body_bytes, max_upload_bytes, max_head_bytes, max_target_bytes, max_headers, max_conns;
    int64_t head_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms, drain_timeout_ms;
    int64_t connect_timeout_ms, first_byte_timeout_ms, between_timeout_ms, total_timeout_ms;
    int64_t max_json_depth, max_event_bytes, max_reply_bytes, max_attempts, max_memory_bytes;
    int64_t keepalive_ms;       /* comment or ping to a waiting client */
    int64_t upstream_idle_ms, upstream_max_idle, upstream_max_conns;
    int64_t image_max_bytes, image_timeout_ms;
    int64_t response_ttl_ms;    /* stored /v1/responses */
    int64_t usage_retention_days, request_log_success_max, request_log_error_max, usage_figures_days;
    bool response_cache, response_cache_any_temperature, coalesce;
    int64_t response_cache_ttl_ms, response_cache_max_bytes, response_cache_max_entries, response_cache_max_reply_bytes;
    int64_t coalesce_wait_ms, idempotency_window_ms;
    struct str response_cache_scope, response_cache_cost, semantic_cache_model;
    int64_t semantic_cache_similarity_ppm, semantic_cache_timeout_ms;
    int64_t metrics_max_labels;
    bool metrics_loopback, metrics_public;
    bool trace_context, trace_propagate, otlp_traces, otlp_metrics;
    struct str otlp_endpoint, otlp_headers_file, otlp_service_name;
    int64_t otlp_sample_ppm, otlp_interval_ms, otlp_metrics_interval_ms, otlp_timeout_ms;
    int64_t config_versions_kept;
    bool budget_allow_unpriced, cost_client_left_estimate;
    int64_t budget_hold_tokens, budget_max_tokens, budget_hold_searches, budget_hold_images, budget_bytes_per_token;
    bool log_json, cors, credential_visible;
    struct str price_feed_url;  /* empty: none */
    struct str diagnostics_ip_url, diagnostics_connect_url; /* empty: not asked */
    bool emulate_stop;          /* cut answers of upstreams that know no stop sequences */
    bool log_clients;           /* address and User-Agent in the request log */
    struct str log_bodies;      /* off, errors, all */
    int64_t log_body_max_bytes, log_bodies_max_bytes, log_bodies_days;
    struct str log_redact_fields, log_redact_pattern;
    struct str cors_origins;    /* "*" or a comma list */
    struct str admin_cors_origins; /* a comma list, no "*" */
    struct str log_level;
    bool require_login;         /* false: administration is open, on a loopback listener only */
    struct str capabilities;    /* comma list: what of the dangerous is switched on */
    struct str trusted_proxies; /* comma list of addresses and ranges */
    int64_t session_ttl_ms, session_idle_ms, max_sessions;
    int64_t model_tests_max, model_tests_max_bytes;
    int64_t login_max_failures, login_window_ms, login_lockout_ms, login_lockout_max_ms;
    int64_t password_memory_bytes, password_passes, password_parallel, password_min_length;
    int64_t claim_ttl_ms, audit_retention_days, audit_refusals_per_minute;
    struct str target_strategy, combo_strategy; /* words of strategy_words */
    int64_t combo_max_retries, combo_retry_delay_ms, combo_timeout_ms, combo_concurrency, combo_queue_timeout_ms, combo_patience_ms;
    int64_t combo_hedge_after_ms, combo_hedge_percentile, hedge_budget_percent, hedge_burst;
    int64_t round_robin_limit, route_wait_ms, route_seed, quota_threshold_percent;
    int64_t breaker_failures, breaker_cooldown_ms, breaker_cooldown_max_ms, breaker_quiet_ms, rate_limit_cooldown_ms, rate_limit_cooldown_max_ms;
    int64_t local_breaker_failures, local_breaker_cooldown_ms, local_breaker_cooldown_max_ms, local_rate_limit_cooldown_ms; /* of kinds that run here */
    struct str global_fallback_model;
    int64_t protect_requests_per_minute, protect_concurrency; /* limits of providers that are to be protected */
    int64_t limit_queue_ms, limit_queue_max; /* how long requests wait for their turn, and how many */
    bool limit_headers;
    struct str ip_filter, ip_allow, ip_deny; /* off, deny, allow, both; comma lists */
    bool inject_system_prompt;
    struct str system_prompt, system_prompt_except;
    bool background_degradation, task_routing; /* which policies that name a task count */
    struct str background_phrases; /* a|b|c */
    struct str thinking_mode, thinking_effort;
    int64_t thinking_budget;
};

struct ip_ban {
    struct str address;         /* or a range */
    struct str reason;
    int64_t until_ms, created_ms; /* wall clock */
};

struct price;
struct snapshot {
    _Atomic int refs;
    struct arena *arena;
    uint64_t version;
    struct str file_text;       /* of the configuration file that it was built from; p NULL: none */
    struct settings settings;
    struct upstream **upstreams;
    size_t n_upstreams;
    struct custom_kind **kinds; /* domain/custom_kind.h */
    size_t n_kinds;
    struct proxy **proxies;     /* domain/proxy.h */
    size_t n_proxies;
    struct model **models;      /* sorted by name */
    size_t n_models;
    struct model **listed;      /* by snapshot_index: what can be asked for by name, sorted: enabled models, combos and aliases */
    size_t n_listed;
    struct map models_by_name;  /* the same -> struct model. A combo hides an alias of its name, which hides a model */
    struct routing *routing;    /* combos, chains and aliases; NULL: there are none */
    const struct route_policy *const *policies; /* domain/route_policy.h: enabled ones in the order of asking; NULL behind the last; NULL: none */
    bool asks_for_tasks;        /* one of these names what a request is for */
    bool has_limited_models;
    struct ip_ban *ip_bans;     /* in force when it was built */
    size_t n_ip_bans;
    const struct ip_filter *ip_filter; /* gate/ipfilter.h; NULL: everybody may come in */
    struct key **keys;
    size_t n_keys;
    struct key_ids *key_ids;    /* of snapshot_keys_by_id() */
    struct key **ruled;         /* those with a policy of their own: few of many */
    size_t n_ruled;
    struct holder **holders[HOLDER_KINDS]; /* in no order */
    size_t n_holders[HOLDER_KINDS];
    const struct key *internal; /* sluice's own, for test requests: in no list; NULL: none */
    struct secret admin_password; /* given by file or environment, until app has hashed it */
    enum origin admin_password_from;
    struct price_book *prices;  /* NULL: none were read */
    struct budget **budgets;    /* in the order of their names */
    size_t n_budgets;
    const struct budget *const *common_budgets; /* of everybody, as key.budgets */
    uint32_t *key_slots;        /* open addressing over the first bytes of the hashes, which are as good as random: place in keys + 1 */
    size_t key_mask;
};

struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);
/* The live one. snapshot_current() pins it: give back with snapshot_unref(). Safe from every thread, no lock on the reading side. */
struct snapshot *snapshot_current(void) MUST_USE;
void snapshot_publish(struct snapshot *s);                    /* takes the reference */

const struct key *snapshot_key(const struct snapshot *s, struct str presented); /* by hash; NULL unknown. Says nothing of enabled or expired */
/* s->keys sorted by their ids. From any thread; the first question after a change sorts them, so not for a loop. */
const struct key *const *snapshot_keys_by_id(const struct snapshot *s);
size_t snapshot_keys_from(const struct snapshot *s, struct str id); /* of these, the place of the first that is not before id */
const struct key *snapshot_key_by_id(const struct snapshot *s, struct str id); /* NULL unknown */
const struct model *snapshot_model(const struct snapshot *s, struct str name);  /* an enabled one by its name; NULL */
/* The same, what patterns of aliases make of it, "provider/model-id" of any enabled provider or kind of provider, and the bare name of a
 * vendor's model, made in the arena; NULL unknown. */
const struct model *snapshot_resolve(const struct snapshot *s, struct arena *a, struct str name);
/* "x[1m]", which is x with its extended context, where nothing is served by that name: true, and *name is x. */
bool snapshot_cut_extended(const struct snapshot *s, struct str *name);
const struct model *snapshot_of_provider(const struct snapshot *s, struct arena *a, struct str name); /* provider/model-id alone */
/* A vendor's model by its bare name, where nothing is called so and one of the kinds that have it is configured: kind/name. NULL: none is, or
 * several are: of these the names are in kinds, and count says how many. */
const struct model *snapshot_of_vendor(const struct snapshot *s, struct arena *a, struct str name, const char *kinds[PROVIDER_MAKERS], size_t *count);
void combo_defaults(struct combo *c, const struct settings *set); /* what is below 0 as the settings say */
struct combo *combo_of_targets(struct arena *a, const struct model *m, const struct settings *set); /* what there is to choose from */
/* enum wire_quirk of one of its models: what its kind says of it, and the operator knows better. */
uint32_t upstream_model_quirks(const struct upstream *u, struct str model);
/* What a model of an upstream costs, as target.prices has it; made in the arena. */
const struct price *const *snapshot_prices(const struct snapshot *s, struct arena *a, const struct upstream *u, struct str model);
/* What it cost at that moment, also long ago; NULL: unknown. */
const struct price *snapshot_price_at(const struct snapshot *s, const struct upstream *u, struct str model, int64_t at_ms);
void snapshot_thread_done(void);                              /* lets go of what this thread has cached */
struct snapshot *snapshot_new(void);                          /* empty, with its arena and one reference */
/* Sorts and indexes what the builder filled in; call once, before publishing. */
void snapshot_index(struct snapshot *s);
/* Up to max names near to an unknown one that this caller may know of, best first; count returned. key NULL: all. */
size_t snapshot_near(const struct snapshot *s, const struct key *key, struct str name, struct str *out, size_t max);
const struct holder *snapshot_holder(const struct snapshot *s, enum holder_kind k, struct str id); /* NULL unknown */
bool name_fits(struct str pattern, struct str name);          /* * stands for any run of characters */
bool key_may_use(const struct key *k, struct str model) MUST_USE;
const struct upstream *snapshot_upstream(const struct snapshot *s, struct str name);
const struct upstream *snapshot_upstream_by_uid(const struct snapshot *s, struct str uid); /* NULL: it is gone */
const struct upstream *snapshot_upstream_by_id(const struct snapshot *s, uint32_t id); /* NULL: it is gone */
#endif
