#include "domain/combo.h"
#include "base/clock.h"
#include "base/codec.h"

#define MAX_MEMBERS 256
#define MAX_NAME 200

const char *const entry_sections[] = {"combos",  "chains",   "aliases", "prices",
                                      "budgets", "policies", "proxies", NULL};

const struct word strategy_words[] = {
    {"priority", STRATEGY_PRIORITY},
    {"weighted", STRATEGY_WEIGHTED},
    {"round-robin", STRATEGY_ROUND_ROBIN},
    {"random", STRATEGY_RANDOM},
    {"strict-random", STRATEGY_STRICT_RANDOM},
    {"least-used", STRATEGY_LEAST_USED},
    {"fill-first", STRATEGY_FILL_FIRST},
    {"p2c", STRATEGY_P2C},
    {"cost-optimized", STRATEGY_COST},
    {"auto", STRATEGY_AUTO},
    {"latency", STRATEGY_LATENCY},
    {0},
};
const struct word sticky_words[] = {
    {"none", STICKY_NONE}, {"conversation", STICKY_CONVERSATION}, {"prefix", STICKY_PREFIX}, {0}};

/* ---- shapes ---- */

const struct shape member_shape = SHAPE_STRICT(
    struct member_conf,
    FIELD(struct member_conf, model, REQUIRED | NOT_EMPTY,
          "A served model, provider/model, or another combo"),
    FIELD(struct member_conf, provider, OMIT_EMPTY,
          "Only at this provider; empty: wherever the model leads"),
    FIELD_RANGE(struct member_conf, weight, 0, 1000000, 0, "Its share under weighted; usually 1"),
    FIELD_RANGE(
        struct member_conf, priority, -1000000, 1000000, 0,
        "Lower ones go first under priority and fill-first; of equal ones the first listed"),
    FIELD_RANGE(struct member_conf, price_nanousd, -1, 1000000000, 0,
                "Nano-dollars of one input token, where no price list knows it; -1: unknown"),
    FIELD(struct member_conf, enabled, 0, "Whether it takes part"));

const struct shape auto_shape = SHAPE_STRICT(
    struct auto_conf, FIELD(struct auto_conf, quota, 0, "What is left of the credential's quota"),
    FIELD(struct auto_conf, health, 0, "State of the breaker"),
    FIELD(struct auto_conf, cost, 0, "Cheaper is better"),
    FIELD(struct auto_conf, latency, 0, "Sooner to the first byte is better"),
    FIELD(struct auto_conf, fit, 0, "Whether the model can do what the request asks"),
    FIELD(struct auto_conf, stability, 0, "Few failures of late are better"),
    FIELD(struct auto_conf, priority, 0, "Lower priority numbers are better"),
    FIELD(struct auto_conf, explore, 0, "Share of requests that go to any member, from 0 to 1"));

const struct shape chain_link_shape = SHAPE_STRICT(
    struct chain_link,
    FIELD(struct chain_link, provider, REQUIRED | NOT_EMPTY, "Name of the provider"),
    FIELD_RANGE(struct chain_link, priority, -1000000, 1000000, 0, "Lower ones are tried first"),
    FIELD(struct chain_link, enabled, 0, "Whether it takes part"));

/* Members are read by hand: a string is one too. */
static const struct shape combo_rest_shape = SHAPE(
    struct combo_conf,
    FIELD(struct combo_conf, id, 0, "Name for machines that outlives a renaming"),
    FIELD_ENUM(struct combo_conf, strategy, strategy_words, 0, "Who goes first"),
    FIELD_ENUM(struct combo_conf, sticky, sticky_words, 0, "What keeps to one member"),
    FIELD_RANGE(struct combo_conf, max_retries, -1, 10, 0, "Further attempts at one member"),
    FIELD_RANGE(struct combo_conf, retry_delay_ms, -1, 60000, 0, "Pause before each"),
    FIELD_RANGE(struct combo_conf, timeout_ms, -1, 86400000, 0,
                "Time for one attempt's reply to begin"),
    FIELD_RANGE(struct combo_conf, concurrency, -1, 100000, 0, "Requests at one member at once"),
    FIELD_RANGE(struct combo_conf, queue_timeout_ms, -1, 3600000, 0,
                "Longest wait for a free place"),
    FIELD_RANGE(struct combo_conf, patience_ms, -1, 60000, 0,
                "Longest recovery that is waited for"),
    FIELD_RANGE(struct combo_conf, sticky_limit, -1, 1000, 0,
                "Requests in a row under round-robin"),
    FIELD_RANGE(struct combo_conf, hedge_after_ms, -1, 600000, 0,
                "Silence after which the next one is asked beside it"),
    FIELD_RANGE(struct combo_conf, hedge_percentile, -1, 99, 0,
                "Of its own times to the first byte"),
    FIELD_TEXT(struct combo_conf, system_message, 0, 50000, 0, "In place of the client's own"),
    FIELD_TEXT(struct combo_conf, tool_filter, 0, 1000, 0, "Names of the tools that go along"),
    FIELD_AS(struct combo_conf, enabled, "enabled", NULL, 0, "Whether it is served"));

static const struct shape alias_shape = SHAPE(
    struct alias_conf, FIELD(struct alias_conf, to, REQUIRED | NOT_EMPTY, "What it stands for"),
    FIELD_RANGE(struct alias_conf, priority, -1000000, 1000000, 0, "Of patterns"),
    FIELD(struct alias_conf, enabled, 0, "Whether it counts"));

const struct auto_conf auto_usual = {.quota = 0.20,
                                     .health = 0.25,
                                     .cost = 0.20,
                                     .latency = 0.15,
                                     .fit = 0.10,
                                     .stability = 0.05,
                                     .priority = 0.05,
                                     .explore = 0.05};

/* ---- reading ---- */

static bool place(struct err *e, const char *list, size_t i)
{
    char was[96];
    (void)snprintf(was, sizeof was, "%s", e->field);
    (void)snprintf(e->field, sizeof e->field, "%s[%zu]%s%.60s", list, i, was[0] ? "." : "", was);
    return false;
}

static bool read_members(struct arena *a, yyjson_val *list, struct combo_conf *out, struct err *e)
{
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0)
        return err_field(e, "members", "'members' must be a non-empty array");
    if (yyjson_arr_size(list) > MAX_MEMBERS)
        return err_field(e, "members", "'members' has more than %d entries", MAX_MEMBERS);
    out->members = ARENA_ARRAY(a, struct member_conf, yyjson_arr_size(list));
    yyjson_arr_foreach (list, i, max, v) {
        struct member_conf *m = &out->members[out->n_members++];
        *m = (struct member_conf){.weight = 1, .price_nanousd = -1, .enabled = true};
        if (yyjson_is_str(v) && json_str(v).n)
            m->model = json_str(v);
        else if (!yyjson_is_obj(v))
            return err_field(e, "", "'members[%zu]' must be a name or an object with 'model'", i) ||
                   place(e, "members", i);
        else if (!shape_read(&member_shape, a, v, m, NULL, e))
            return place(e, "members", i);
    }
    return true;
}

bool combo_read(struct arena *a, yyjson_val *v, struct combo_conf *out, struct err *e)
{
    *out = (struct combo_conf){.max_retries = -1,
                               .retry_delay_ms = -1,
                               .timeout_ms = -1,
                               .concurrency = -1,
                               .queue_timeout_ms = -1,
                               .patience_ms = -1,
                               .sticky_limit = -1,
                               .hedge_after_ms = -1,
                               .hedge_percentile = -1,
                               .weights = auto_usual,
                               .enabled = true};
    if (!yyjson_is_obj(v))
        return err_field(e, "", "a combo must be an object with 'members'");
    if (!shape_read(&combo_rest_shape, a, v, out, NULL, e))
        return false;
    yyjson_val *weights = json_get(v, "auto");
    if (!json_absent(weights)) {
        if (!yyjson_is_obj(weights))
            return err_field(e, "auto", "'auto' must be an object");
        if (!shape_read(&auto_shape, a, weights, &out->weights, NULL, e)) {
            char was[96];
            (void)snprintf(was, sizeof was, "%s", e->field);
            (void)snprintf(e->field, sizeof e->field, "auto.%.80s", was);
            return false;
        }
        double w[sizeof out->weights / sizeof(double)];
        memcpy(w, &out->weights, sizeof w);
        for (size_t i = 0; i < ARRAY_LEN(w); i++)
            if (!(w[i] >= 0 && w[i] <= 1))
                return err_field(e, "auto", "'auto' holds a weight that is not from 0 to 1");
    }
    if (out->tool_filter.n) {
        struct err why = ERR_INIT;
        out->tools = regex_new(a, out->tool_filter, &why);
        if (!out->tools)
            return err_field(e, "tool_filter", "'tool_filter' is %s", why.message);
    }
    return read_members(a, json_get(v, "members"), out, e);
}

struct str combo_id(struct arena *a, struct str name)
{
    uint8_t hash[SHA256_SIZE];
    char hex[16];
    sha256(name, hash);
    hex_encode(hex, hash, 8);
    return str_fmt(a, "combo_%.16s", hex);
}

/* Levels below one; -1: too many, or round in a circle, and then *at names it. */
static bool descend(yyjson_val *combos, struct str name, const struct str *above, size_t depth,
                    struct err *e)
{
    struct str path[COMBO_DEEPEST + 2];
    yyjson_val *v;
    size_t i, max;
    if (depth)
        memcpy(path, above, depth * sizeof *path);
    path[depth] = name;
    yyjson_arr_foreach (json_get(json_find(combos, name.p, name.n), "members"), i, max, v) {
        struct str to = yyjson_is_str(v) ? json_str(v) : json_get_str(v, "model");
        if (!to.n || json_get_str(v, "provider").n || !json_find(combos, to.p, to.n))
            continue;
        for (size_t up = 0; up <= depth; up++)
            if (str_eq(path[up], to))
                return err_field(e, "members",
                                 "The combo '" STR_FMT "' leads back to itself by way of '" STR_FMT
                                 "'",
                                 STR_ARG(str_first(to, 100)), STR_ARG(str_first(name, 100)));
        if (depth == COMBO_DEEPEST)
            return err_field(e, "members",
                             "The combo '" STR_FMT "' holds combos more than %d levels deep",
                             STR_ARG(str_first(path[0], 100)), COMBO_DEEPEST);
        if (!descend(combos, to, path, depth + 1, e))
            return false;
    }
    return true;
}

bool combos_check(struct arena *a, yyjson_val *combos, struct err *e)
{
    yyjson_val *k, *v;
    size_t i, max;
    (void)a;
    yyjson_obj_foreach (combos, i, max, k, v)
        if (!descend(combos, json_str(k), NULL, 0, e))
            return false;
    return true;
}

bool chain_read(struct arena *a, yyjson_val *v, struct chain_link **out, size_t *n, struct err *e)
{
    size_t i, max;
    yyjson_val *one;
    *n = 0;
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0)
        return err_field(e, "chain", "a chain must be a non-empty array of providers");
    if (yyjson_arr_size(v) > MAX_MEMBERS)
        return err_field(e, "chain", "a chain has more than %d entries", MAX_MEMBERS);
    *out = ARENA_ARRAY(a, struct chain_link, yyjson_arr_size(v));
    yyjson_arr_foreach (v, i, max, one) {
        struct chain_link link = {.enabled = true};
        if (yyjson_is_str(one) && json_str(one).n)
            link.provider = json_str(one);
        else if (!yyjson_is_obj(one))
            return err_field(e, "", "'chain[%zu]' must be a provider's name or an object", i) ||
                   place(e, "chain", i);
        else if (!shape_read(&chain_link_shape, a, one, &link, NULL, e))
            return place(e, "chain", i);
        size_t at = (*n)++; /* those of one priority in the order of writing */
        for (; at > 0 && (*out)[at - 1].priority > link.priority; at--)
            (*out)[at] = (*out)[at - 1];
        (*out)[at] = link;
    }
    return true;
}

bool alias_read(struct arena *a, yyjson_val *v, struct alias_conf *out, struct err *e)
{
    *out = (struct alias_conf){.enabled = true};
    if (yyjson_is_str(v) && json_str(v).n) {
        out->to = json_str(v);
        return true;
    }
    return yyjson_is_obj(v) ? shape_read(&alias_shape, a, v, out, NULL, e)
                            : err_field(e, "to", "an alias must be a name or an object with 'to'");
}

bool alias_is_pattern(struct str name)
{
    return str_index(name, '*') < name.n || str_index(name, '?') < name.n;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool alias_fits(struct str p, struct str s)
{
    size_t i = 0, j = 0, star = SIZE_MAX, from = 0; /* back to the last * when it does not go on */
    while (j < s.n) {
        if (i < p.n && p.p[i] == '*') {
            star = i++;
            from = j;
        } else if (i < p.n && (p.p[i] == '?' || lower(p.p[i]) == lower(s.p[j]))) {
            i++;
            j++;
        } else if (star != SIZE_MAX) {
            i = star + 1;
            j = ++from;
        } else {
            return false;
        }
    }
    while (i < p.n && p.p[i] == '*')
        i++;
    return i == p.n;
}

int alias_weight(struct str p)
{
    int w = (int)p.n;
    for (size_t i = 0; i < p.n; i++)
        w += p.p[i] == '*' ? -50 : p.p[i] == '?' ? -5 : 10;
    return w;
}

/* ---- the store ---- */

bool entry_list(struct db *db, struct arena *a, const char *section, struct entry_row **out,
                struct err *e)
{
    struct stmt *s = db_prepare(
        db, "SELECT name, body FROM section_entry WHERE section = ?1 ORDER BY position, name", e);
    *out = NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, str_of(section));
    while (stmt_step(s, e)) {
        struct entry_row *row = ARENA_NEW(a, struct entry_row);
        *row = (struct entry_row){NULL, str_dup(a, stmt_str(s, 0)), str_dup(a, stmt_str(s, 1))};
        *out = row;
        out = &row->next;
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

static bool run(struct db *db, const char *sql, const char *section, const struct str *texts,
                size_t n, struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, str_of(section));
    for (size_t i = 0; i < n; i++)
        stmt_bind_str(s, (int)i + 2, texts[i]);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool entry_put(struct db *db, const char *section, const struct entry_row *row, struct err *e)
{
    const struct str texts[] = {row->name, row->body};
    return run(db,
               "INSERT INTO section_entry(section, name, body, position) VALUES(?1, ?2, ?3,"
               " (SELECT coalesce(max(position), 0) + 1 FROM section_entry WHERE section = ?1))"
               " ON CONFLICT(section, name) DO UPDATE SET body = ?3",
               section, texts, 2, e);
}

bool entry_rename(struct db *db, const char *section, struct str from, struct str to, struct err *e)
{
    const struct str texts[] = {from, to};
    return run(db, "UPDATE section_entry SET name = ?3 WHERE section = ?1 AND name = ?2", section,
               texts, 2, e);
}

bool entry_delete(struct db *db, const char *section, struct str name, struct err *e)
{
    return run(db, "DELETE FROM section_entry WHERE section = ?1 AND name = ?2", section, &name, 1,
               e);
}

bool entry_clear(struct db *db, const char *section, struct err *e)
{
    return run(db, "DELETE FROM section_entry WHERE section = ?1", section, NULL, 0, e);
}
