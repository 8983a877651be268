/* omni_combos.c - /api/combos: combos under OmniRoute's names, those of strategy auto, and trying every member of one. A knob of
 * OmniRoute's that nothing here obeys is refused by its name. */
#include "api/change_route.h"
#include "api/combos.h"
#include "api/omni.h"
#include "api/test_tasks.h"
#include "base/clock.h"
#include "http/fetch.h"
#include "json/shape_json.h"

#define TEST_TIMEOUT_MS 20000
#define MAX_ANSWER (1u << 20)

/* ---- what is shown ---- */

struct combo_out {
    struct str id, name, strategy, model;
    yyjson_val *models, *nodes, *config;
    bool is_hidden, is_active, keeps_cache;
    struct str system, tools, created_at, updated_at;
};
struct combos_out {
    struct shape_list combos;
};
/* clang-format off */
static const struct shape combo_node_shape = MEMBERS("combo_node",
    MEMBER("connectionId", SHAPE_STR,   0, "The connection"),
    MEMBER("weight",       SHAPE_INT64, 0, "Its share under weighted"),
    MEMBER("priority",     SHAPE_INT64, 0, "Lower ones go first"));
static const struct shape combo_auto_shape = MEMBERS("combo_auto",
    {.name = "weights", .kind = SHAPE_JSON, .flags = JSON_MAP, .doc = "By factor, together 1", .shape = &json_of_number},
    MEMBER("explorationRate", SHAPE_DOUBLE, 0, "Share of requests that go to any member"));
static const struct shape combo_config_shape = MEMBERS("combo_config",
    MEMBER("maxRetries",          SHAPE_INT64, OMIT_EMPTY, "Further attempts at one member before the next one's turn"),
    MEMBER("retryDelayMs",        SHAPE_INT64, OMIT_EMPTY, "Pause before each of them"),
    MEMBER("timeoutMs",           SHAPE_INT64, OMIT_EMPTY, "Time that one attempt has until its reply begins"),
    MEMBER("concurrencyPerModel", SHAPE_INT64, OMIT_EMPTY, "Requests that one member serves at once"),
    MEMBER("queueTimeoutMs",      SHAPE_INT64, OMIT_EMPTY, "Longest wait for a free place at a member"),
    {.name = "auto", .kind = SHAPE_JSON, .flags = OMIT_EMPTY, .doc = "Of strategy auto", .shape = &combo_auto_shape});
static const struct shape combo_shape = SHAPE(struct combo_out,
    FIELD(struct combo_out, id, 0, "Stable id: stays when the combo is renamed"),
    FIELD(struct combo_out, name, 0, "Name that clients ask for as a model"),
    FIELD(struct combo_out, models, 0, "Its members: names, or objects with model, weight, connectionId, priority"),
    FIELD(struct combo_out, model, OMIT_EMPTY, "Of a combo of one model at several connections: the model"),
    FIELD_JSON(struct combo_out, nodes, JSON_LIST, &combo_node_shape, OMIT_EMPTY, "Of such a one: where it is asked for"),
    FIELD(struct combo_out, strategy, 0, "Who goes first: " STRATEGY_WORDS),
    FIELD_JSON(struct combo_out, config, 0, &combo_config_shape, 0, "What it says itself; the rest is as GET /api/settings/combo-defaults says"),
    FIELD_AS(struct combo_out, is_hidden, "isHidden", NULL, 0, "false: what is served is listed"),
    FIELD_AS(struct combo_out, is_active, "isActive", NULL, 0, "Whether it is served"),
    FIELD_AS(struct combo_out, keeps_cache, "context_cache_protection", NULL, 0, "Whether a conversation keeps to one member"),
    FIELD_AS(struct combo_out, system, "system_message", NULL, OMIT_EMPTY, "What the model is told as the system, in place of what the client says"),
    FIELD_AS(struct combo_out, tools, "tool_filter_regex", NULL, OMIT_EMPTY, "Only tools whose names it is found in are sent"),
    FIELD_AS(struct combo_out, created_at, "createdAt", NULL, OMIT_EMPTY, "When it was made, as far as that was here"),
    FIELD_AS(struct combo_out, updated_at, "updatedAt", NULL, OMIT_EMPTY, "When it was changed last, as far as that was here"));
static const struct shape combos_shape = SHAPE(struct combos_out,
    FIELD_LIST(struct combos_out, combos, &combo_shape, 0, "All of them, by name"));
/* OmniRoute's names of the factors. */
static const struct shape weights_shape = SHAPE_STRICT(struct auto_conf,
    FIELD(struct auto_conf, quota, 0, "What is left of the credential's quota"),
    FIELD(struct auto_conf, health, 0, "State of the breaker"),
    FIELD_AS(struct auto_conf, cost, "costInv", NULL, 0, "Cheaper is better"),
    FIELD_AS(struct auto_conf, latency, "latencyInv", NULL, 0, "Sooner to the first byte is better"),
    FIELD_AS(struct auto_conf, fit, "taskFit", NULL, 0, "Whether the model can do what the request asks"),
    FIELD(struct auto_conf, stability, 0, "Few failures of late are better"),
    FIELD_AS(struct auto_conf, priority, "tierPriority", NULL, 0, "Lower priority numbers are better"));
/* clang-format on */

static yyjson_val *parsed(struct arena *a, const struct buf *b)
{
    yyjson_val *v;
    return json_parse(a, buf_str(b), 0, &v, NULL) ? v : NULL;
}

static void write_member(struct jw *w, const struct snapshot *s, const struct member *m,
                         bool is_weighted)
{
    const struct upstream *u = m->provider.n ? snapshot_upstream(s, m->provider) : NULL;
    if (!m->provider.n && !is_weighted && m->weight == 1 && !m->priority && m->is_enabled) {
        jw_str(w, m->model);
        return;
    }
    jw_object(w);
    jw_kv_str(w, "model", m->model);
    jw_kv_int(w, "weight", m->weight);
    if (m->provider.n)
        jw_kv_str(w, "connectionId", u ? u->uid : m->provider);
    if (m->priority)
        jw_kv_int(w, "priority", m->priority);
    if (!m->is_enabled)
        jw_kv_bool(w, "enabled", false);
    jw_object_end(w);
}

static yyjson_val *models_of(struct arena *a, const struct snapshot *s, const struct combo *x)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < x->n_members; i++)
        write_member(&w, s, &x->members[i], x->strategy == STRATEGY_WEIGHTED);
    jw_array_end(&w);
    return parsed(a, &b);
}

/* One model at several connections, as OmniRoute's document has combos. */
static yyjson_val *nodes_of(struct arena *a, const struct snapshot *s, const struct combo *x)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < x->n_members; i++) {
        const struct member *m = &x->members[i];
        const struct upstream *u = snapshot_upstream(s, m->provider);
        if (!m->provider.n || !str_eq(m->model, x->members[0].model))
            return NULL;
        jw_object(&w);
        jw_kv_str(&w, "connectionId", u ? u->uid : m->provider);
        jw_kv_int(&w, "weight", m->weight);
        jw_kv_int(&w, "priority", m->priority);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    return parsed(a, &b);
}

static void write_auto(struct jw *w, const struct auto_conf *conf)
{
    jw_object(w);
    jw_key(w, "weights");
    shape_write(&weights_shape, conf, w);
    jw_key(w, "explorationRate");
    jw_double(w, conf->explore);
    jw_object_end(w);
}

/* The members of an entry that are OmniRoute's `config`. */
static const char *const config_names[][2] = {{"maxRetries", "max_retries"},
                                              {"retryDelayMs", "retry_delay_ms"},
                                              {"timeoutMs", "timeout_ms"},
                                              {"concurrencyPerModel", "concurrency"},
                                              {"queueTimeoutMs", "queue_timeout_ms"}};

static yyjson_val *config_of(struct arena *a, const struct combo *x, yyjson_val *written)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(config_names); i++) {
        int64_t n = json_get_int(written, config_names[i][1], -1);
        if (n >= 0)
            jw_kv_int(&w, config_names[i][0], n);
    }
    if (json_get(written, "auto")) {
        jw_key(&w, "auto");
        write_auto(&w, &x->weights);
    }
    jw_object_end(&w);
    return parsed(a, &b);
}

static struct combo_out show(struct arena *a, const struct snapshot *s, const struct combo *x)
{
    yyjson_val *written = NULL;
    if (!json_parse(a, x->json, 0, &written, NULL))
        written = NULL;
    struct combo_out out = {
        .id = x->id,
        .name = x->name,
        .models = models_of(a, s, x),
        .nodes = nodes_of(a, s, x),
        .strategy = str_of(word_text(strategy_words, (int)x->strategy, "priority")),
        .config = config_of(a, x, written),
        .is_active = x->is_enabled,
        .keeps_cache = x->sticky == STICKY_CONVERSATION,
        .system = x->system_message,
        .tools = x->tool_filter,
        .created_at = json_get_str(json_get(written, "extra"), "createdAt"),
        .updated_at = json_get_str(json_get(written, "extra"), "updatedAt")};
    if (out.nodes)
        out.model = x->members[0].model;
    return out;
}

static int by_name(const void *a, const void *b)
{
    struct str x = (*(struct combo *const *)a)->name, y = (*(struct combo *const *)b)->name;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Those of a strategy; STRATEGY_DEFAULT: all. */
static struct combo **sorted(struct arena *a, const struct snapshot *s, enum strategy which,
                             size_t *n)
{
    const struct routing *r = s->routing;
    struct combo **v = ARENA_ARRAY(a, struct combo *, r->n_combos + 1);
    *n = 0;
    for (size_t i = 0; i < r->n_combos; i++)
        if (which == STRATEGY_DEFAULT || r->combos[i]->strategy == which)
            v[(*n)++] = r->combos[i];
    if (*n)
        qsort(v, *n, sizeof(struct combo *), by_name);
    return v;
}

static bool list(struct control_call *c, struct err *e)
{
    size_t n;
    struct combo **all = sorted(c->arena, c->snap, STRATEGY_DEFAULT, &n);
    struct combo_out *v = ARENA_ARRAY(c->arena, struct combo_out, n + 1);
    (void)e;
    for (size_t i = 0; i < n; i++)
        v[i] = show(c->arena, c->snap, all[i]);
    struct combos_out out = {{v, n}};
    return control_reply(c, 200, &combos_shape, &out);
}

static const struct combo *meant(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    const struct combo *x = combo_called(c->snap, id);
    if (!x)
        omni_not_found("Combo", id, e);
    return x;
}

static bool get(struct control_call *c, struct err *e)
{
    const struct combo *x = meant(c, e);
    if (!x)
        return false;
    struct combo_out out = show(c->arena, c->snap, x);
    return control_reply(c, 200, &combo_shape, &out);
}

/* ---- what is written ---- */

struct combo_in {
    struct str name, strategy, model;
    yyjson_val *models, *nodes, *config;
    bool is_hidden, is_active, keeps_cache;
    yyjson_val *providers, *length;
    struct str system, tools;
};
enum combo_bit {
    IN_NAME,
    IN_STRATEGY,
    IN_MODEL,
    IN_MODELS,
    IN_NODES,
    IN_CONFIG,
    IN_HIDDEN,
    IN_ACTIVE,
    IN_CACHE,
    IN_PROVIDERS,
    IN_SYSTEM,
    IN_TOOLS
};
struct config_in {
    struct str strategy;
    int64_t numbers[ARRAY_LEN(config_names)], max_depth;
    bool has_health, has_metrics;
    yyjson_val *health_ms, *weights;
};
enum config_bit {
    CONF_STRATEGY,
    CONF_NUMBERS,
    CONF_DEPTH = CONF_NUMBERS + ARRAY_LEN(config_names),
    CONF_HEALTH,
    CONF_METRICS
};
struct auto_in {
    struct strs pool;
    yyjson_val *weights, *cap;
    struct str pack, strategy;
    double explore;
};
enum auto_bit {
    AUTO_POOL,
    AUTO_WEIGHTS,
    AUTO_CAP,
    AUTO_PACK,
    AUTO_STRATEGY,
    AUTO_EXPLORE
};
struct member_in {
    struct str model, connection;
    int64_t weight, priority;
    bool is_enabled;
};
/* clang-format off */
/* In the order of enum combo_bit. */
#define COMBO_FIELDS \
    FIELD(struct combo_in, strategy, 0, "Who goes first: " STRATEGY_WORDS), \
    FIELD_TEXT(struct combo_in, model, 1, 200, TRIM, "One model, at the connections of nodes"), \
    FIELD(struct combo_in, models, 0, "Its members: names, or objects with model, weight, connectionId, priority"), \
    FIELD(struct combo_in, nodes, 0, "{connectionId,weight,priority} each: where the model is asked for"), \
    FIELD(struct combo_in, config, 0, "maxRetries, retryDelayMs, timeoutMs, concurrencyPerModel, queueTimeoutMs, auto; replaced as a whole"), \
    FIELD_AS(struct combo_in, is_hidden, "isHidden", NULL, 0, "Must be false: what is served is listed"), \
    FIELD_AS(struct combo_in, is_active, "isActive", NULL, 0, "Whether it is served; true when absent"), \
    FIELD_AS(struct combo_in, keeps_cache, "context_cache_protection", NULL, 0, "Whether a conversation keeps to one member"), \
    FIELD_AS(struct combo_in, providers, "allowedProviders", NULL, 0, "Not taken: its members say"), \
    FIELD_AS_TEXT(struct combo_in, system, "system_message", NULL, 0, 50000, 0, "What the model is told as the system, in place of what the client says; empty: as it says"), \
    FIELD_AS_TEXT(struct combo_in, tools, "tool_filter_regex", NULL, 0, 1000, 0, "Only tools whose names it is found in are sent; empty: all"), \
    FIELD_AS(struct combo_in, length, "context_length", NULL, 0, "Not taken: its members say")
static const struct shape create_shape = SHAPE(struct combo_in,
    FIELD_TEXT(struct combo_in, name, 1, 100, REQUIRED | TRIM, "Name that clients ask for as a model: letters, digits, _ / . and -"), COMBO_FIELDS);
static const struct shape change_shape = SHAPE(struct combo_in,
    FIELD_TEXT(struct combo_in, name, 1, 100, TRIM, "New name: what refers to it follows"), COMBO_FIELDS);
#define NUMBER(i, name, min, max, doc) FIELD_AS_TEXT(struct config_in, numbers[i], name, NULL, min, max, COERCE, doc)
/* In the order of enum config_bit and of config_names. */
static const struct shape config_shape = SHAPE_STRICT(struct config_in,
    FIELD(struct config_in, strategy, 0, "The same as the combo's"),
    NUMBER(0, "maxRetries", 0, 10, "Further attempts at one member before the next one's turn"),
    NUMBER(1, "retryDelayMs", 0, 60000, "Pause before each of them"),
    NUMBER(2, "timeoutMs", 1000, 600000, "Time that one attempt has until its reply begins"),
    NUMBER(3, "concurrencyPerModel", 1, 100000, "Requests that one member serves at once"),
    NUMBER(4, "queueTimeoutMs", 1000, 3600000, "Longest wait for a free place at a member"),
    FIELD_AS(struct config_in, max_depth, "maxComboDepth", NULL, COERCE, "3, for all"),
    FIELD_AS(struct config_in, has_health, "healthCheckEnabled", NULL, 0, "true: breakers are for all"),
    FIELD_AS(struct config_in, has_metrics, "trackMetrics", NULL, 0, "true: they come from the request log"),
    FIELD_AS(struct config_in, health_ms, "healthCheckTimeoutMs", NULL, 0, "Not taken: nothing is asked beforehand"),
    FIELD_AS(struct config_in, weights, "auto", NULL, 0, "Of strategy auto: weights, modePack, explorationRate"));
/* In the order of enum auto_bit. */
#define AUTO_FIELDS \
    FIELD_AS(struct auto_in, pool, "candidatePool", NULL, 0, "Models, combos, or providers whose default model is meant"), \
    FIELD(struct auto_in, weights, 0, "quota, health, costInv, latencyInv, taskFit, stability, tierPriority; together 1"), \
    FIELD_AS(struct auto_in, cap, "budgetCap", NULL, 0, "Not taken: budgets are keys' and organisations'"), \
    FIELD_AS(struct auto_in, pack, "modePack", NULL, 0, "ship-fast, cost-saver, quality-first or offline-friendly: weights by name"), \
    FIELD_AS(struct auto_in, strategy, "routingStrategy", NULL, 0, "rules: by weights"), \
    FIELD_AS(struct auto_in, explore, "explorationRate", NULL, 0, "Share of requests that go to any member, from 0 to 1; 0.05 when absent")
static const struct shape auto_in_shape = SHAPE_STRICT(struct auto_in, AUTO_FIELDS);
static const struct shape member_shape_in = SHAPE(struct member_in,
    FIELD_TEXT(struct member_in, model, 1, 200, REQUIRED | TRIM, "A model, provider/model, or another combo"),
    FIELD_AS(struct member_in, connection, "connectionId", NULL, 0, "Only at this connection"),
    FIELD_RANGE(struct member_in, weight, 0, 1000000, COERCE, "Its share under weighted"),
    FIELD_RANGE(struct member_in, priority, -1000000, 1000000, COERCE, "Lower ones go first"),
    FIELD_AS(struct member_in, is_enabled, "enabled", NULL, 0, "Whether it takes part"));
static const struct shape node_shape_in = SHAPE(struct member_in,
    FIELD_AS(struct member_in, connection, "connectionId", NULL, REQUIRED | NOT_EMPTY, "The connection"),
    FIELD_RANGE(struct member_in, weight, 0, 1000000, COERCE, "Its share under weighted"),
    FIELD_RANGE(struct member_in, priority, -1000000, 1000000, COERCE, "Lower ones go first"));
/* clang-format on */

/* Weights that OmniRoute's packs stand for. */
static const struct {
    const char *name;
    struct auto_conf weights;
} packs[] = {
    {"ship-fast", {.15, .30, .05, .35, .10, .05, 0, .05}},
    {"cost-saver", {.15, .20, .40, .05, .10, .05, .05, .05}},
    {"quality-first", {.10, .20, .05, .05, .40, .20, 0, .05}},
    {"offline-friendly", {.40, .30, .10, .05, .05, .05, .05, .05}},
};

static bool is_given(const struct control_call *c, unsigned bit)
{
    return c->present >> bit & 1;
}

static bool not_taken(const char *field, const char *why, struct err *e)
{
    return err_field(e, field, "'%s' is not supported: %s", field, why);
}

static bool inside(struct err *e, const char *of)
{
    char was[96];
    (void)snprintf(was, sizeof was, "%s", e->field);
    (void)snprintf(e->field, sizeof e->field, "%s%s%.70s", of, was[0] ? "." : "", was);
    return false;
}

static bool is_strategy(struct str s, const char *field, struct err *e)
{
    return word_value(strategy_words, s, -1) >= 0 ||
           err_field(e, field, "'%s' must be one of " STRATEGY_WORDS, field);
}

/* The name of a combo is part of paths and of lists in headers. */
static bool is_name(struct str name, struct err *e)
{
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        bool is_plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                        (ch >= '0' && ch <= '9') || strchr("_/.-", ch);
        if (!is_plain)
            return err_field(e, "name", "'name' may hold letters, digits, _ / . and - only");
    }
    return true;
}

static bool weights_of(struct arena *a, const struct auto_in *in, uint64_t present,
                       struct auto_conf *out, struct err *e)
{
    *out = auto_usual;
    if (present >> AUTO_CAP & 1)
        return not_taken("budgetCap", "budgets are set for keys, users and organisations", e);
    if ((present >> AUTO_STRATEGY & 1) && !str_is(in->strategy, "rules"))
        return err_field(e, "routingStrategy",
                         "'routingStrategy' must be rules: other aims are weights or a modePack");
    if (present >> AUTO_PACK & 1) {
        size_t i = 0;
        while (i < ARRAY_LEN(packs) && !str_eq(in->pack, str_of(packs[i].name)))
            i++;
        if (i == ARRAY_LEN(packs))
            return err_field(e, "modePack",
                             "'modePack' must be ship-fast, cost-saver, quality-first or "
                             "offline-friendly");
        *out = packs[i].weights;
    }
    if (present >> AUTO_WEIGHTS & 1) {
        struct auto_conf w = {0};
        if (!yyjson_is_obj(in->weights))
            return err_field(e, "weights", "'weights' must be an object");
        if (!shape_read(&weights_shape, a, in->weights, &w, NULL, e))
            return inside(e, "weights");
        double v[] = {w.quota, w.health, w.cost, w.latency, w.fit, w.stability, w.priority};
        double sum = 0;
        for (size_t i = 0; i < ARRAY_LEN(v); i++) {
            if (!(v[i] >= 0 && v[i] <= 1))
                return err_field(e, "weights", "each of 'weights' must be from 0 to 1");
            sum += v[i];
        }
        if (sum < 0.99 || sum > 1.01)
            return err_field(e, "weights", "'weights' must add up to 1");
        w.explore = out->explore;
        *out = w;
    }
    if (present >> AUTO_EXPLORE & 1) {
        if (!(in->explore >= 0 && in->explore <= 1))
            return err_field(e, "explorationRate", "'explorationRate' must be from 0 to 1");
        out->explore = in->explore;
    }
    return true;
}

/* As the members of an entry; one that is not said goes back to the default. */
static bool write_config(struct control_call *c, yyjson_val *config, struct jw *w,
                         struct str *strategy, struct err *e)
{
    struct config_in in = {.max_depth = COMBO_DEEPEST, .has_health = true, .has_metrics = true};
    uint64_t present;
    if (!yyjson_is_obj(config))
        return err_field(e, "config", "'config' must be an object");
    if (!shape_read(&config_shape, c->arena, config, &in, &present, e))
        return inside(e, "config");
    if (in.max_depth != COMBO_DEEPEST)
        return not_taken("config.maxComboDepth", "it is 3 for all", e);
    if (!in.has_health)
        return not_taken("config.healthCheckEnabled", "breakers are for all", e);
    if (!in.has_metrics)
        return not_taken("config.trackMetrics", "they come from the request log", e);
    if (!json_absent(in.health_ms))
        return not_taken("config.healthCheckTimeoutMs", "nothing is asked beforehand", e);
    if (present >> CONF_STRATEGY & 1) {
        if (!is_strategy(in.strategy, "config.strategy", e))
            return false;
        *strategy = in.strategy;
    }
    for (size_t i = 0; i < ARRAY_LEN(config_names); i++) {
        jw_key(w, config_names[i][1]);
        if (present >> (CONF_NUMBERS + i) & 1)
            jw_int(w, in.numbers[i]);
        else
            jw_null(w);
    }
    jw_key(w, "auto");
    if (json_absent(in.weights)) {
        jw_null(w);
        return true;
    }
    struct auto_in tuned = {0};
    struct auto_conf weights;
    if (!yyjson_is_obj(in.weights))
        return err_field(e, "config.auto", "'config.auto' must be an object");
    if (!shape_read(&auto_in_shape, c->arena, in.weights, &tuned, &present, e) ||
        ((present & 1) && !not_taken("candidatePool", "the combo's models are the pool", e)) ||
        !weights_of(c->arena, &tuned, present, &weights, e))
        return inside(e, "config.auto");
    shape_write(&auto_shape, &weights, w);
    return true;
}

/* ---- members ---- */

struct members {
    struct member_in *v;
    size_t n;
    bool has_weights;
};

static bool connection_name(struct control_call *c, struct str id, struct str *out, struct err *e)
{
    const struct upstream *u = omni_connection(c->snap, id);
    if (!u)
        return err_field(e, "connectionId", "There is no connection '" STR_FMT "'",
                         STR_ARG(str_first(id, 100)));
    *out = u->name;
    return true;
}

static bool read_member(struct control_call *c, const char *list, size_t i, yyjson_val *v,
                        const struct shape *shape, struct members *out, struct err *e)
{
    struct member_in *m = &out->v[out->n++];
    uint64_t present;
    char at[32];
    *m = (struct member_in){.weight = -1, .is_enabled = true};
    (void)snprintf(at, sizeof at, "%s[%zu]", list, i);
    if (yyjson_is_str(v) && shape == &member_shape_in) {
        m->model = str_trim(json_str(v));
        return m->model.n || err_field(e, at, "'%s' must not be empty", at);
    }
    if (!yyjson_is_obj(v))
        return err_field(e, at, "'%s' must be an object", at);
    if (!shape_read(shape, c->arena, v, m, &present, e) ||
        (m->connection.n && !connection_name(c, m->connection, &m->connection, e)))
        return inside(e, at);
    out->has_weights |= m->weight >= 0;
    return true;
}

static bool read_members(struct control_call *c, const char *list, yyjson_val *v,
                         const struct shape *shape, struct members *out, struct err *e)
{
    size_t i, max;
    yyjson_val *one;
    *out = (struct members){.v = ARENA_ARRAY(c->arena, struct member_in, yyjson_arr_size(v) + 1)};
    if (!yyjson_is_arr(v) || yyjson_arr_size(v) == 0)
        return err_field(e, list, "'%s' must be an array that is not empty", list);
    yyjson_arr_foreach (v, i, max, one)
        if (!read_member(c, list, i, one, shape, out, e))
            return false;
    return true;
}

/* What only sluice's own API says of a member stays with it. */
static yyjson_val *price_of(yyjson_val *was, const struct member_in *m)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach (json_get(was, "members"), i, max, v)
        if (str_eq(json_get_str(v, "model"), m->model) &&
            str_eq(json_get_str(v, "provider"), m->connection))
            return json_get(v, "price_nanousd");
    return NULL;
}

/* Where nobody has a weight all are alike; else those without have none. */
static void write_members(struct jw *w, const struct members *in, yyjson_val *was)
{
    jw_key(w, "members");
    jw_array(w);
    for (size_t i = 0; i < in->n; i++) {
        const struct member_in *m = &in->v[i];
        yyjson_val *price = price_of(was, m);
        jw_object(w);
        jw_kv_str(w, "model", m->model);
        if (m->connection.n)
            jw_kv_str(w, "provider", m->connection);
        if (in->has_weights)
            jw_kv_int(w, "weight", m->weight < 0 ? 0 : m->weight);
        if (m->priority)
            jw_kv_int(w, "priority", m->priority);
        if (!m->is_enabled)
            jw_kv_bool(w, "enabled", false);
        if (price) {
            jw_key(w, "price_nanousd");
            jw_val(w, price);
        }
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* models, or model with nodes. *has: whether any of them was said. */
static bool take_members(struct control_call *c, const struct combo *was, struct members *out,
                         bool *has, struct err *e)
{
    const struct combo_in *in = c->in;
    *has = is_given(c, IN_MODEL) || is_given(c, IN_MODELS) || is_given(c, IN_NODES);
    if (is_given(c, IN_MODELS) && (is_given(c, IN_MODEL) || is_given(c, IN_NODES)))
        return err_field(e, "models", "Give 'models', or 'model' with 'nodes'");
    if (is_given(c, IN_MODELS))
        return read_members(c, "models", in->models, &member_shape_in, out, e);
    if (!*has)
        return was || err_field(e, "models", "'models' is required, or 'model' with 'nodes'");
    struct str model = is_given(c, IN_MODEL)   ? in->model
                       : was && was->n_members ? was->members[0].model
                                               : STR_NONE;
    if (!model.n)
        return err_field(e, "model", "'model' is required with 'nodes'");
    if (!is_given(c, IN_NODES)) {
        *out = (struct members){.v = ARENA_NEW(c->arena, struct member_in), .n = 1};
        out->v[0] = (struct member_in){.model = model, .weight = -1, .is_enabled = true};
        return true;
    }
    if (!read_members(c, "nodes", in->nodes, &node_shape_in, out, e))
        return false;
    for (size_t i = 0; i < out->n; i++)
        out->v[i].model = model;
    return true;
}

static bool check(struct control_call *c, struct err *e)
{
    const struct combo_in *in = c->in;
    if (in->is_hidden)
        return not_taken("isHidden", "what is served is listed", e);
    if (!json_absent(in->providers) && yyjson_arr_size(in->providers))
        return not_taken("allowedProviders", "the members say which", e);
    if (!json_absent(in->length))
        return not_taken("context_length", "it is the smallest of the members'", e);
    return (!is_given(c, IN_NAME) || is_name(in->name, e)) &&
           (!is_given(c, IN_STRATEGY) || is_strategy(in->strategy, "strategy", e));
}

static void write_times(struct jw *w, struct arena *a, yyjson_val *was, bool is_new)
{
    struct str now = omni_time(a, clock_wall_ms()),
               made = is_new ? now : json_get_str(json_get(was, "extra"), "createdAt");
    jw_key(w, "extra");
    jw_object(w);
    if (made.n)
        jw_kv_str(w, "createdAt", made);
    jw_kv_str(w, "updatedAt", now);
    jw_object_end(w);
}

/* The entry's members that change. */
static bool make_value(struct control_call *c, const struct combo *was, yyjson_val **out,
                       struct err *e)
{
    const struct combo_in *in = c->in;
    struct members members;
    struct str strategy = STR_NONE;
    yyjson_val *written = NULL;
    bool has_members;
    struct buf b;
    if (was && !json_parse(c->arena, was->json, 0, &written, NULL))
        written = NULL;
    if (!check(c, e) || !take_members(c, was, &members, &has_members, e))
        return false;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (has_members)
        write_members(&w, &members, written);
    if (is_given(c, IN_CONFIG) && !write_config(c, in->config, &w, &strategy, e))
        return false;
    if (is_given(c, IN_STRATEGY))
        strategy = in->strategy;
    if (strategy.n)
        jw_kv_str(&w, "strategy", strategy);
    if (is_given(c, IN_ACTIVE))
        jw_kv_bool(&w, "enabled", in->is_active);
    if (is_given(c, IN_CACHE) && (in->keeps_cache || (was && was->sticky == STICKY_CONVERSATION)))
        jw_kv_cstr(&w, "sticky", in->keeps_cache ? "conversation" : "none");
    if (is_given(c, IN_SYSTEM))
        jw_kv_str(&w, "system_message", in->system);
    if (is_given(c, IN_TOOLS))
        jw_kv_str(&w, "tool_filter", in->tools);
    write_times(&w, c->arena, written, !was);
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, out, e);
}

/* e in the words of this surface. */
static bool refused(struct err *e)
{
    char rest[96];
    if (strncmp(e->field, "members", 7) == 0) {
        (void)snprintf(rest, sizeof rest, "%s", e->field + 7);
        (void)snprintf(e->field, sizeof e->field, "models%.80s", rest);
    } else if (strcmp(e->field, "tool_filter") == 0) {
        (void)snprintf(e->field, sizeof e->field, "tool_filter_regex");
    }
    return false;
}

static bool reply_now(struct control_call *c, int status, struct str name, struct err *e)
{
    struct snapshot *now = snapshot_current();
    const struct combo *x = combo_called(now, name);
    bool ok = x != NULL;
    if (ok) {
        struct combo_out out = show(c->arena, now, x);
        ok = control_reply(c, status, &combo_shape, &out);
    } else {
        omni_not_found("Combo", name, e);
    }
    snapshot_unref(now);
    return ok;
}

static bool put(struct control_call *c, enum change_mode mode, const struct combo *was,
                struct err *e)
{
    const struct combo_in *in = c->in;
    struct entry_change change = {.section = SECTION_COMBOS,
                                  .name = is_given(c, IN_NAME) || !was ? in->name : was->name,
                                  .rename_from = was ? was->name : STR_NONE,
                                  .allows_unknown = true};
    if (!make_value(c, was, &change.value, e))
        return false;
    return change_entry(c, mode, &change, e)
               ? reply_now(c, mode == CHANGE_CREATE ? 201 : 200, change.name, e)
               : refused(e);
}

/* Its members may not be there yet, as OmniRoute's clients set things up in any order. */
static bool create(struct control_call *c, struct err *e)
{
    return put(c, CHANGE_CREATE, NULL, e);
}

static bool change(struct control_call *c, struct err *e)
{
    const struct combo *was = meant(c, e);
    if (was && !c->present)
        return err_field(e, "body", "Give at least one key");
    return was && put(c, CHANGE_UPDATE, was, e);
}

struct success_out {
    bool success;
};
static const struct shape success_shape = SHAPE(struct success_out,
                                                FIELD(struct success_out, success, 0, "true"));

static bool drop(struct control_call *c, struct err *e)
{
    const struct combo *x = meant(c, e);
    struct success_out out = {true};
    struct strs users;
    return x && change_entry_delete(c, SECTION_COMBOS, x->name, true, &users, e) &&
           control_reply(c, 200, &success_shape, &out);
}

/* ---- those that tune themselves ---- */

struct tuned_in {
    struct str id, name;
    struct auto_in of;
};
struct tuned_out {
    struct str id, name;
    struct strs pool;
    struct auto_conf weights;
    double explore;
};
struct tuned_list {
    struct shape_list combos;
};
/* clang-format off */
#define TUNED(member, name, flags, doc) FIELD_AS(struct tuned_in, of.member, name, NULL, flags, doc)
static const struct shape tuned_in_shape = SHAPE(struct tuned_in,
    TUNED(pool, "candidatePool", REQUIRED | NOT_EMPTY, "Models, combos, or providers whose default model is meant"),
    TUNED(weights, "weights", 0, "quota, health, costInv, latencyInv, taskFit, stability, tierPriority; together 1"),
    TUNED(cap, "budgetCap", 0, "Not taken: budgets are keys' and organisations'"),
    TUNED(pack, "modePack", 0, "ship-fast, cost-saver, quality-first or offline-friendly: weights by name"),
    TUNED(strategy, "routingStrategy", 0, "rules: by weights"),
    TUNED(explore, "explorationRate", 0, "Share of requests that go to any member, from 0 to 1; 0.05 when absent"),
    FIELD(struct tuned_in, id, 0, "Name for machines; made of the name when absent"),
    FIELD_TEXT(struct tuned_in, name, 1, 100, REQUIRED | TRIM, "Name that clients ask for as a model"));
static const struct shape tuned_shape = SHAPE(struct tuned_out,
    FIELD(struct tuned_out, id, 0, "Stable id"),
    FIELD(struct tuned_out, name, 0, "Name that clients ask for as a model"),
    FIELD_AS(struct tuned_out, pool, "candidatePool", NULL, 0, "Its members"),
    FIELD_OBJECT(struct tuned_out, weights, &weights_shape, 0, "What counts how much"),
    FIELD_AS(struct tuned_out, explore, "explorationRate", NULL, 0, "Share of requests that go to any member"));
static const struct shape tuned_list_shape = SHAPE(struct tuned_list,
    FIELD_LIST(struct tuned_list, combos, &tuned_shape, 0, "Combos of strategy auto, by name"));
/* clang-format on */

static struct tuned_out show_tuned(struct arena *a, const struct combo *x)
{
    struct tuned_out out = {
        .id = x->id, .name = x->name, .weights = x->weights, .explore = x->weights.explore};
    out.pool.v = ARENA_ARRAY(a, struct str, x->n_members + 1);
    for (size_t i = 0; i < x->n_members; i++) {
        const struct member *m = &x->members[i];
        out.pool.v[out.pool.n++] = m->provider.n ? str_fmt(a, STR_FMT "/" STR_FMT,
                                                           STR_ARG(m->provider), STR_ARG(m->model))
                                                 : m->model;
    }
    return out;
}

static bool list_tuned(struct control_call *c, struct err *e)
{
    size_t n;
    struct combo **all = sorted(c->arena, c->snap, STRATEGY_AUTO, &n);
    struct tuned_out *v = ARENA_ARRAY(c->arena, struct tuned_out, n + 1);
    (void)e;
    for (size_t i = 0; i < n; i++)
        v[i] = show_tuned(c->arena, all[i]);
    struct tuned_list out = {{v, n}};
    return control_reply(c, 200, &tuned_list_shape, &out);
}

/* A provider stands for its connections' default models. */
static bool write_candidate(struct control_call *c, struct jw *w, struct str name, struct err *e)
{
    const struct custom_kind *node;
    bool is_any = false;
    if (str_index(name, '/') < name.n || snapshot_resolve(c->snap, c->arena, name) ||
        combo_called(c->snap, name) || !omni_kind(c->snap, name, &node)) {
        jw_str(w, name);
        return true;
    }
    for (size_t i = 0; i < c->snap->n_upstreams; i++) {
        const struct upstream *u = c->snap->upstreams[i];
        if (!u->default_model.n || !omni_is_of(c->snap, u, name))
            continue;
        jw_object(w);
        jw_kv_str(w, "model", u->default_model);
        jw_kv_str(w, "provider", u->name);
        jw_object_end(w);
        is_any = true;
    }
    return is_any ||
           err_field(e, "candidatePool",
                     "'candidatePool': no connection of '" STR_FMT "' has a default model",
                     STR_ARG(str_first(name, 100)));
}

static bool create_tuned(struct control_call *c, struct err *e)
{
    const struct tuned_in *in = c->in;
    struct auto_conf weights;
    struct entry_change change = {
        .section = SECTION_COMBOS, .name = in->name, .allows_unknown = true};
    struct buf b;
    if (!is_name(in->name, e) || !weights_of(c->arena, &in->of, c->present, &weights, e))
        return false;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    if (in->id.n)
        jw_kv_str(&w, "id", in->id);
    jw_kv_cstr(&w, "strategy", "auto");
    jw_key(&w, "members");
    jw_array(&w);
    for (size_t i = 0; i < in->of.pool.n; i++)
        if (!write_candidate(c, &w, in->of.pool.v[i], e))
            return false;
    jw_array_end(&w);
    jw_key(&w, "auto");
    shape_write(&auto_shape, &weights, &w);
    write_times(&w, c->arena, NULL, true);
    jw_object_end(&w);
    if (!json_parse(c->arena, buf_str(&b), 0, &change.value, e))
        return false;
    if (in->id.n && combo_called(c->snap, in->id))
        return err_field(e, "id", "There is a combo of this id already");
    if (!change_entry(c, CHANGE_CREATE, &change, e))
        return refused(e);
    struct snapshot *now = snapshot_current();
    const struct combo *x = combo_called(now, in->name);
    struct tuned_out out = x ? show_tuned(c->arena, x) : (struct tuned_out){.name = in->name};
    bool ok = control_reply(c, 201, &tuned_shape, &out);
    snapshot_unref(now);
    return ok;
}

/* ---- trying one ---- */

struct test_in {
    struct str name;
};
struct test_one {
    struct str model, status;
    int64_t latency_ms, code;
    struct str text, error;
};
struct test_out {
    struct str name, strategy, resolved;
    struct shape_list results;
    struct str at;
};
/* clang-format off */
static const struct shape test_in_shape = SHAPE(struct test_in,
    FIELD_AS_TEXT(struct test_in, name, "comboName", NULL, 1, 200, REQUIRED | TRIM, "Its name or id"));
static const struct shape test_one_shape = SHAPE(struct test_one,
    FIELD(struct test_one, model, 0, "The member, as it can be asked for"),
    FIELD(struct test_one, status, 0, "ok or error; an answer without text is an error"),
    FIELD_AS(struct test_one, latency_ms, "latencyMs", NULL, 0, "Until its whole answer"),
    FIELD_AS(struct test_one, code, "statusCode", NULL, OMIT_EMPTY, "HTTP status; absent: no answer came"),
    FIELD_AS(struct test_one, text, "responseText", NULL, OMIT_EMPTY, "What it said"),
    FIELD(struct test_one, error, OMIT_EMPTY, "What went wrong"));
static const struct shape test_shape = SHAPE(struct test_out,
    FIELD_AS(struct test_out, name, "comboName", NULL, 0, "The combo"),
    FIELD(struct test_out, strategy, 0, "Its strategy"),
    FIELD_AS(struct test_out, resolved, "resolvedBy", NULL, NULL_EMPTY, "The first member that answered; null: none"),
    FIELD_LIST(struct test_out, results, &test_one_shape, 0, "One for each member, in their order"),
    FIELD_AS(struct test_out, at, "testedAt", NULL, 0, "When"));
/* clang-format on */

/* By a name that goes to this member and nowhere else. */
static struct str member_name(struct arena *a, const struct member *m)
{
    struct str id = m->n_targets ? m->targets[0].model : m->model;
    return m->provider.n ? str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(m->provider), STR_ARG(id))
                         : m->model;
}

static void judge(struct arena *a, const struct fetched *reply, struct test_one *out)
{
    yyjson_val *root = NULL;
    if (!json_parse(a, reply->body, 0, &root, NULL))
        root = NULL;
    yyjson_val *said = json_get(yyjson_arr_get_first(json_get(root, "choices")), "message");
    struct str text = json_get_str(said, "content");
    struct str why = json_get_str(json_get(root, "error"), "message");
    out->code = reply->status;
    out->text = str_first(text, 1000);
    if (reply->status >= 300)
        out->error = why.n ? str_first(why, 1000) : STR("The answer is no JSON");
    else if (!str_trim(text).n)
        out->error = STR("The answer holds no text");
    out->status = out->error.n ? STR("error") : STR("ok");
}

static void try_member(struct control_call *c, const struct member *m, struct test_one *out)
{
    struct arena *a = c->arena;
    struct fetched reply;
    struct err why = ERR_INIT;
    uint64_t began = clock_mono_ms();
    *out = (struct test_one){.model = member_name(a, m), .status = STR("error")};
    struct str body = str_fmt(
        a,
        "{\"model\":" STR_FMT ",\"stream\":false,\"max_tokens\":16,"
        "\"messages\":[{\"role\":\"user\",\"content\":\"Reply with the word OK\"}]}",
        STR_ARG(omni_text(a, out->model)));
    if (test_ask(c->control->tests, a, STR("/v1/chat/completions"), body, TEST_TIMEOUT_MS,
                 MAX_ANSWER, c->control->is_stopping, &reply, &why))
        judge(a, &reply, out);
    else
        out->error = str_fmt(a, "%s", why.message);
    out->latency_ms = (int64_t)(clock_mono_ms() - began);
}

static bool try_all(struct control_call *c, struct err *e)
{
    const struct test_in *in = c->in;
    const struct combo *x = combo_called(c->snap, in->name);
    if (!x)
        return omni_not_found("Combo", in->name, e);
    if (!c->control->tests)
        return err_set(e, ERR_INTERNAL, "no_internal_token", "No internal token available");
    struct test_one *v = ARENA_ARRAY(c->arena, struct test_one, x->n_members + 1);
    struct test_out out = {
        .name = x->name,
        .strategy = str_of(word_text(strategy_words, (int)x->strategy, "priority")),
        .results = {v, 0},
        .at = omni_time(c->arena, clock_wall_ms())};
    for (size_t i = 0; i < x->n_members; i++) {
        if (!x->members[i].is_enabled)
            continue;
        struct test_one *one = &v[out.results.n++];
        try_member(c, &x->members[i], one);
        if (!out.resolved.n && str_is(one->status, "ok"))
            out.resolved = one->model;
    }
    control_audit(c, "combo_test", x->name, STR_NONE, STR_NONE);
    return control_reply(c, 200, &test_shape, &out);
}

/* clang-format off */
const struct endpoint omni_combo_endpoints[] = {
    { HTTP_GET,    "/api/combos",      SURFACE_OMNIROUTE, ACCESS_VIEWER, "List combos", .on_worker = list, .out = &combos_shape },
    { HTTP_POST,   "/api/combos",      SURFACE_OMNIROUTE, ACCESS_ADMIN, "Make a combo", .on_worker = create, .in = &create_shape, .out = &combo_shape, .status = 201 },
    { HTTP_GET,    "/api/combos/auto", SURFACE_OMNIROUTE, ACCESS_VIEWER, "List combos that tune themselves", .on_worker = list_tuned, .out = &tuned_list_shape },
    { HTTP_POST,   "/api/combos/auto", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Make a combo that tunes itself", .on_worker = create_tuned, .in = &tuned_in_shape, .out = &tuned_shape, .status = 201 },
    { HTTP_POST,   "/api/combos/test", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Send a tiny request to every member of a combo", .on_worker = try_all, .in = &test_in_shape, .out = &test_shape, .waits = true },
    { HTTP_GET,    "/api/combos/{id}", SURFACE_OMNIROUTE, ACCESS_VIEWER, "Retrieve a combo by id or name", .on_worker = get, .out = &combo_shape },
    { HTTP_PATCH,  "/api/combos/{id}", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a combo", .on_worker = change, .in = &change_shape, .out = &combo_shape },
    { HTTP_PUT,    "/api/combos/{id}", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a combo, as PATCH", .on_worker = change, .in = &change_shape, .out = &combo_shape },
    { HTTP_DELETE, "/api/combos/{id}", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Delete a combo, and take it out of what leads to it", .on_worker = drop, .out = &success_shape },
    {0},
};
/* clang-format on */
