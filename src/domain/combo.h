/* combo.h - where a name leads besides to one model: combos (named routing over models), fallback chains and aliases. How file and store
 * write them, what they hold once read, and which of them fit together. Choosing is route's matter. */
#ifndef DOMAIN_COMBO_H
#define DOMAIN_COMBO_H
#include "base/map.h"
#include "base/regex.h"
#include "json/shape.h"
#include "store/db.h"

enum origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENV, ORIGIN_API };
enum strategy { STRATEGY_DEFAULT, STRATEGY_PRIORITY, STRATEGY_WEIGHTED, STRATEGY_ROUND_ROBIN, STRATEGY_RANDOM, STRATEGY_STRICT_RANDOM,
                STRATEGY_LEAST_USED, STRATEGY_FILL_FIRST, STRATEGY_P2C, STRATEGY_COST, STRATEGY_AUTO, STRATEGY_LATENCY };
extern const struct word strategy_words[];    /* "priority", …, "cost-optimized", …; without STRATEGY_DEFAULT */
#define STRATEGY_WORDS "priority|weighted|round-robin|random|strict-random|least-used|fill-first|p2c|cost-optimized|auto|latency"
enum sticky { STICKY_NONE, STICKY_CONVERSATION, STICKY_PREFIX };
extern const struct word sticky_words[];      /* "none", "conversation", "prefix" */

/* ---- as they are written ---- */

struct member_conf {
    struct str model, provider; /* provider empty: wherever the model, or the combo of that name, leads */
    int64_t weight, priority;
    int64_t price_nanousd;      /* of an input token, where no price list knows; -1: unknown */
    bool enabled;
};
extern const struct shape member_shape;
struct auto_conf {              /* weights of strategy auto; each factor is from 0 to 1 */
    double quota, health, cost, latency, fit, stability, priority;
    double explore;             /* share of requests that go anywhere, to learn */
};
extern const struct shape auto_shape;
extern const struct auto_conf auto_usual;
struct combo_conf {             /* -1: as the settings combo_… say */
    struct str id;
    int strategy;               /* enum strategy */
    struct member_conf *members;
    size_t n_members;
    int64_t max_retries, retry_delay_ms, timeout_ms, concurrency, queue_timeout_ms, patience_ms, sticky_limit;
    int64_t hedge_after_ms, hedge_percentile;
    int sticky;                 /* enum sticky */
    struct auto_conf weights;
    struct str system_message;  /* instead of whatever the client says to the model as the system; empty: as it says */
    struct str tool_filter;     /* a regular expression: tools whose names it does not find are left out; empty: all go */
    const struct regex *tools;
    bool enabled;
};
/* The value of an entry of "combos". Members may be strings; what is not known stays in the file alone. ERR_INPUT names the field. */
bool combo_read(struct arena *a, yyjson_val *v, struct combo_conf *out, struct err *e) MUST_USE;
/* Of one that says none: the same for the same name. */
struct str combo_id(struct arena *a, struct str name);
/* Whether no combo of an object of them leads back to itself, or more than COMBO_DEEPEST levels down. */
#define COMBO_DEEPEST 3
bool combos_check(struct arena *a, yyjson_val *combos, struct err *e) MUST_USE;

struct chain_link {
    struct str provider;
    int64_t priority;
    bool enabled;
};
extern const struct shape chain_link_shape;
/* The value of an entry of "chains": providers (strings or objects) for the model that it is named after; sorted by priority. */
bool chain_read(struct arena *a, yyjson_val *v, struct chain_link **out, size_t *n, struct err *e) MUST_USE;

struct alias_conf {
    struct str to;              /* a model, provider/model or combo */
    int64_t priority;           /* of patterns: the highest that fits counts, of equal ones the one that says most */
    bool enabled;
};
/* The value of an entry of "aliases": the name that it stands for, or an object. The entry's own name may hold * and ?. */
bool alias_read(struct arena *a, yyjson_val *v, struct alias_conf *out, struct err *e) MUST_USE;
bool alias_is_pattern(struct str name);
bool alias_fits(struct str pattern, struct str name) MUST_USE; /* in any case of letters */
int alias_weight(struct str pattern);         /* how much it says: more literal characters, fewer wildcards */

/* ---- in the store: entries of the sections as the file would have them ---- */

struct entry_row {
    struct entry_row *next;
    struct str name, body;      /* body: JSON */
};
bool entry_list(struct db *db, struct arena *a, const char *section, struct entry_row **out, struct err *e) MUST_USE;
bool entry_put(struct db *db, const char *section, const struct entry_row *row, struct err *e) MUST_USE; /* its place in lists stays */
bool entry_rename(struct db *db, const char *section, struct str from, struct str to, struct err *e) MUST_USE;
bool entry_delete(struct db *db, const char *section, struct str name, struct err *e) MUST_USE;
bool entry_clear(struct db *db, const char *section, struct err *e) MUST_USE; /* all of them */
extern const char *const entry_sections[];    /* "combos", "chains", "aliases", "prices", "budgets", "policies", "proxies"; ends with NULL */

/* ---- in the snapshot ---- */

struct upstream;
struct model;
struct price;
struct target {
    const struct upstream *upstream;
    struct str model;           /* the upstream's id of it */
    const struct model *served; /* whose target it is; NULL: of provider/model, of which nothing is known */
    int64_t weight, priority;
    int64_t price_nanousd;      /* as of members */
    const struct price *const *prices; /* price_at() of domain/price.h says which holds; NULL: unknown */
    uint32_t quirks;            /* enum wire_quirk of its upstream and model: upstream_model_quirks() */
    uint64_t lane;              /* names upstream and model in live state: route/lane.h. 0: not worked out yet */
};
struct member {
    struct str model, provider; /* as written */
    int64_t weight, priority, price_nanousd;
    bool is_enabled;
    const struct combo *combo;  /* a combo, or a model of several targets; NULL: targets */
    const struct target *targets;
    size_t n_targets;           /* 0 without a combo: it leads nowhere at the moment */
};
struct combo {
    struct str name, id;
    struct str json;            /* as written, for members that only a surface knows */
    enum strategy strategy;
    enum sticky sticky;
    struct member *members;
    size_t n_members;
    int64_t max_retries, retry_delay_ms, timeout_ms, concurrency, queue_timeout_ms, patience_ms, sticky_limit;
    int64_t hedge_after_ms;     /* silence of a member after which the next one is asked beside it; 0: never */
    int64_t hedge_percentile;   /* of the member's own times to the first byte, which counts where it is longer; 0: the time alone */
    struct auto_conf weights;
    struct str system_message, tool_filter;
    const struct regex *tools;  /* of tool_filter; NULL: none */
    const struct model *of;     /* the targets of a served model, not a combo of its own; NULL: one */
    bool is_enabled;
    uint32_t index;             /* of its name, the same in every process: of its counters */
    enum origin from;
};
struct chain {
    struct str model;
    struct chain_link *links;   /* as written, sorted */
    size_t n_links;
    const struct target *targets; /* of those that are enabled */
    size_t n_targets;
    enum origin from;
};
struct alias {
    struct str name, to;
    int64_t priority;
    bool is_enabled, is_pattern;
    enum origin from;
};
struct pool {                   /* upstreams of one kind, none of which has its name */
    struct str kind;
    const struct upstream **upstreams; /* enabled ones: by priority */
    size_t n;
};
struct routing {                /* NULL in the snapshot: there is nothing of it */
    struct combo **combos;      /* as written */
    struct chain **chains;
    struct alias **aliases;
    size_t n_combos, n_chains, n_aliases;
    const struct alias **patterns; /* enabled ones, in the order of asking */
    size_t n_patterns;
    struct model **made;        /* what combos, aliases and chains are when they are asked for */
    size_t n_made;
    struct pool *pools;
    size_t n_pools;
};
#endif
