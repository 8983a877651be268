/* omni_budgets.c - /api/usage/budget: what a client key may spend in a day and in a month, as two of sluice's budgets. */
#include "api/change_route.h"
#include "api/omni_usage.h"
#include "base/clock.h"
#include "domain/budget.h"
#include "gate/budget.h"
#include "json/shape_json.h"

struct limits_out {
    double dailyLimitUsd, monthlyLimitUsd, warningThreshold;
};
struct check_out {
    bool allowed;
    struct str reason;
    double dailyUsed, dailyLimit;
    bool warningReached;
};
struct budget_out {
    struct str apiKeyId;
    double dailyTotal, monthlyTotal;
    int64_t totalEntries;
    yyjson_val *budget;
    struct check_out budgetCheck;
    yyjson_val *budgets;
};
struct budget_query {
    struct str apiKeyId;
};
struct budget_in {
    struct str apiKeyId;
    yyjson_val *dailyLimitUsd, *monthlyLimitUsd,
        *warningThreshold; /* numbers, or the text of one */
};
struct set_out {
    bool success;
    struct str apiKeyId;
    double dailyLimitUsd;
};
/* clang-format off */
static const struct shape check_shape = SHAPE(struct check_out,
    FIELD(struct check_out, allowed, 0, "Whether its requests are served"),
    FIELD(struct check_out, reason, OMIT_EMPTY, "Why not"),
    FIELD(struct check_out, dailyUsed, 0, "Spent and held today (UTC), in USD"),
    FIELD(struct check_out, dailyLimit, 0, "0: none"),
    FIELD(struct check_out, warningReached, 0, "Whether the warning level is reached"));
static const struct shape set_budget_shape = MEMBERS("set_budget",
    MEMBER("dailyLimitUsd",    SHAPE_DOUBLE, 0, "Limit by the day"),
    MEMBER("monthlyLimitUsd",  SHAPE_DOUBLE, OMIT_EMPTY, "Limit by the month; absent: none"),
    MEMBER("warningThreshold", SHAPE_DOUBLE, 0, "Share of it at which it warns"));
#define CHECK_DOC "Whether it may go on"
static const struct shape key_budget_shape = MEMBERS("key_budget",
    MEMBER("apiKeyId",     SHAPE_STR,    0, "The key"),
    MEMBER("dailyTotal",   SHAPE_DOUBLE, 0, "Spent today (UTC), in USD"),
    MEMBER("monthlyTotal", SHAPE_DOUBLE, 0, "Spent this month"),
    MEMBER("totalEntries", SHAPE_INT64,  0, "Requests of this month"),
    {.name = "budget", .kind = SHAPE_JSON, .flags = NULL_EMPTY, .doc = "Its limits; null: none", .shape = &set_budget_shape},
    {.name = "budgetCheck", .kind = SHAPE_OBJECT, .size = sizeof(struct check_out), .doc = CHECK_DOC, .shape = &check_shape});
static const struct shape budget_shape = SHAPE(struct budget_out,
    FIELD(struct budget_out, apiKeyId, OMIT_EMPTY, "The key; absent where all are listed"),
    FIELD(struct budget_out, dailyTotal, OMIT_EMPTY, "Spent today (UTC), in USD; absent: nothing"),
    FIELD(struct budget_out, monthlyTotal, OMIT_EMPTY, "Spent this month"),
    FIELD(struct budget_out, totalEntries, OMIT_EMPTY, "Requests of this month"),
    FIELD_JSON(struct budget_out, budget, 0, &set_budget_shape, OMIT_EMPTY | NULL_EMPTY, "Its limits; null: none"),
    {FIELD_BASE(struct budget_out, budgetCheck, "budgetCheck", SHAPE_OBJECT, OMIT_EMPTY, CHECK_DOC), .shape = &check_shape},
    FIELD_JSON(struct budget_out, budgets, JSON_LIST, &key_budget_shape, OMIT_EMPTY, "Without apiKeyId: the same of every key"));
static const struct shape budget_query_shape = SHAPE(struct budget_query,
    FIELD(struct budget_query, apiKeyId, 0, "Client key; absent: all of them"));
static const struct shape budget_in_shape = SHAPE(struct budget_in,
    FIELD(struct budget_in, apiKeyId, REQUIRED | NOT_EMPTY, "Client key"),
    FIELD(struct budget_in, dailyLimitUsd, REQUIRED, "Above 0"),
    FIELD(struct budget_in, monthlyLimitUsd, 0, "Above 0; absent: no limit by the month"),
    FIELD(struct budget_in, warningThreshold, 0, "Share of a limit at which it warns, 0 to 1; 0.8 when absent"));
static const struct shape set_shape = SHAPE(struct set_out,
    FIELD(struct set_out, success, 0, "true"),
    FIELD(struct set_out, apiKeyId, 0, "Client key"),
    FIELD(struct set_out, dailyLimitUsd, 0, "Its limit by the day"));
/* clang-format on */

static struct str name_of(struct arena *a, struct str key, enum budget_period p)
{
    return str_fmt(a, "key-" STR_FMT "-%s", STR_ARG(key), p == BUDGET_DAY ? "day" : "month");
}

static const struct budget *find(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_budgets; i++)
        if (str_eq(s->budgets[i]->name, name))
            return s->budgets[i];
    return NULL;
}

/* What the ledger says of a key since the begin of the period (UTC). */
static bool spent(struct db *db, struct str key, enum budget_period p, int64_t *nanousd, int64_t *n,
                  struct err *e)
{
    int64_t begin, end;
    period_bounds(NULL, p, clock_wall_ms(), &begin, &end);
    struct stmt *s = db_prepare(
        db,
        "SELECT coalesce(sum(amount),0), coalesce(sum(n),0) FROM ledger_hour "
        "WHERE hour>=?1 AND kind IN (SELECT id FROM ledger_kind WHERE "
        "key=?2 AND unit='nanousd')",
        e);
    if (s) {
        stmt_bind_int(s, 1, begin / 3600000);
        stmt_bind_str(s, 2, key);
    }
    bool ok = s && stmt_step(s, e);
    *nanousd = ok ? stmt_int(s, 0) : 0;
    *n = ok ? stmt_int(s, 1) : 0;
    stmt_free(s);
    return ok;
}

static void write_check(struct jw *w, const struct budget *day, const struct budget *month,
                        int64_t spent_today)
{
    const struct budget *both[] = {day, month};
    bool is_over = false, warns = false;
    int64_t used = spent_today;
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        if (!both[i] || !both[i]->is_enabled)
            continue;
        struct budget_view v = budget_look(both[i], clock_wall_ms());
        is_over |= v.spent + v.held >= both[i]->limit_nanousd;
        warns |= (double)(v.spent + v.held) * 100 >=
                 (double)both[i]->limit_nanousd * (double)both[i]->warn_percent;
        if (i == 0)
            used = v.spent + v.held;
    }
    jw_key(w, "budgetCheck");
    jw_object(w);
    jw_kv_bool(w, "allowed", !is_over);
    if (is_over)
        jw_kv_cstr(w, "reason", "The budget is spent");
    JW(w, "dailyUsed", double, (double)used / 1e9);
    JW(w, "dailyLimit", double, day ? (double)day->limit_nanousd / 1e9 : 0);
    jw_kv_bool(w, "warningReached", warns);
    jw_object_end(w);
}

static bool write_key(struct control_call *c, struct jw *w, struct str key, struct err *e)
{
    const struct budget *day = find(c->snap, name_of(c->arena, key, BUDGET_DAY)),
                        *month = find(c->snap, name_of(c->arena, key, BUDGET_MONTH));
    struct db *db = control_db(c, e);
    int64_t today, of_month, n, n_month;
    if (!db || !spent(db, key, BUDGET_DAY, &today, &n, e) ||
        !spent(db, key, BUDGET_MONTH, &of_month, &n_month, e))
        return false;
    jw_object(w);
    jw_kv_str(w, "apiKeyId", key);
    JW(w, "dailyTotal", double, (double)today / 1e9);
    JW(w, "monthlyTotal", double, (double)of_month / 1e9);
    jw_kv_int(w, "totalEntries", n_month);
    jw_key(w, "budget");
    if (day) {
        jw_object(w);
        JW(w, "dailyLimitUsd", double, (double)day->limit_nanousd / 1e9);
        if (month)
            JW(w, "monthlyLimitUsd", double, (double)month->limit_nanousd / 1e9);
        JW(w, "warningThreshold", double, (double)day->warn_percent / 100);
        jw_object_end(w);
    } else {
        jw_null(w);
    }
    write_check(w, day, month, today);
    jw_object_end(w);
    return true;
}

static bool known_key(const struct snapshot *s, struct str id, struct err *e)
{
    return snapshot_key_by_id(s, id) ||
           err_set(e, ERR_NOT_FOUND, "not_found", "No API key '" STR_FMT "'",
                   STR_ARG(str_first(id, 100)));
}

static bool get(struct control_call *c, struct err *e)
{
    const struct budget_query *q = c->asked;
    struct jw w = jw_on(&c->out);
    if (q->apiKeyId.n)
        return known_key(c->snap, q->apiKeyId, e) && write_key(c, &w, q->apiKeyId, e);
    jw_object(&w);
    jw_key(&w, "budgets");
    jw_array(&w);
    for (size_t i = 0; i < c->snap->n_keys; i++)
        if (!write_key(c, &w, c->snap->keys[i]->id, e))
            return false;
    jw_array_end(&w);
    jw_object_end(&w);
    return true;
}

static bool put(struct control_call *c, struct str key, enum budget_period p, double limit,
                double warn, struct err *e)
{
    struct buf b;
    struct entry_change change = {.section = SECTION_BUDGETS, .name = name_of(c->arena, key, p)};
    buf_init_arena(&b, c->arena, 4096);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "scope", "key");
    jw_kv_str(&w, "subject", key);
    jw_kv_cstr(&w, "period", p == BUDGET_DAY ? "day" : "month");
    JW(&w, "limit_usd", double, limit);
    jw_kv_int(&w, "warn_percent", (int64_t)(warn * 100 + 0.5));
    jw_kv_cstr(&w, "action", "stop");
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 4, &change.value, e) &&
           change_entry(c, CHANGE_PUT, &change, e);
}

static bool read_number(struct control_call *c, yyjson_val *v, const char *field, double min,
                        double max, double *out, struct err *e)
{
    if (yyjson_is_str(v) && !json_parse(c->arena, json_str(v), 1, &v, NULL))
        v = NULL;
    return (json_double(v, out) && *out > min && *out <= max) ||
           err_field(e, field, "'%s' must be a number above %g, at most %g", field,
                     min < 0 ? 0.0 : min, max);
}

static bool set(struct control_call *c, struct err *e)
{
    const struct budget_in *in = c->in;
    double day, month = 0, warn = 0.8;
    if (!read_number(c, in->dailyLimitUsd, "dailyLimitUsd", 0, 1e6, &day, e) ||
        (in->monthlyLimitUsd &&
         !read_number(c, in->monthlyLimitUsd, "monthlyLimitUsd", 0, 1e6, &month, e)) ||
        (in->warningThreshold &&
         !read_number(c, in->warningThreshold, "warningThreshold", -1e-9, 1, &warn, e)))
        return false;
    struct set_out out = {true, in->apiKeyId, day};
    return known_key(c->snap, in->apiKeyId, e) && put(c, in->apiKeyId, BUDGET_DAY, day, warn, e) &&
           (month <= 0 || put(c, in->apiKeyId, BUDGET_MONTH, month, warn, e)) &&
           control_reply(c, 200, &set_shape, &out);
}

/* clang-format off */
const struct endpoint omni_budget_endpoints[] = {
    { HTTP_GET,  "/api/usage/budget", SURFACE_OMNIROUTE, ACCESS_VIEWER, "What a key may spend in a day and a month, and did", .on_worker = get, .query = &budget_query_shape, .out = &budget_shape },
    { HTTP_POST, "/api/usage/budget", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Limit it: a request that could pass the limit is refused", .on_worker = set, .in = &budget_in_shape, .out = &set_shape, .is_create = true },
    {0},
};
/* clang-format on */
