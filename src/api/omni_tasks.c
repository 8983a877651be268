/* omni_tasks.c - /api/settings/background-degradation and /api/settings/task-routing: policies that name a task (domain/route_policy.h). Of the
 * first are those of task background that name a model, of the second those of a task alone; none names a key. */
#include "api/change_route.h"
#include "api/omni.h"
#include "domain/route_policy.h"
#include "domain/setting.h"
#include "json/shape_json.h"
#include "route/task.h"

#define MOST_PHRASES 100
#define NO_OVERRIDE "(no override)"

static const enum task routed[] = {TASK_CODING,        TASK_CREATIVE,   TASK_ANALYSIS, TASK_VISION,
                                   TASK_SUMMARIZATION, TASK_BACKGROUND, TASK_CHAT};

struct policies {
    struct route_policy *v;
    size_t n;
};

static bool written(struct control_call *c, struct policies *out, struct err *e)
{
    yyjson_val *root, *all, *k, *v;
    size_t i, max;
    if (!change_view(c, &root, e))
        return false;
    all = json_get(root, "policies");
    *out = (struct policies){ARENA_ARRAY(c->arena, struct route_policy, yyjson_obj_size(all) + 1),
                             0};
    yyjson_obj_foreach (all, i, max, k, v) {
        struct err why = ERR_INIT;
        out->n += route_policy_read(c->arena, json_str(k), v, &out->v[out->n], &why);
    }
    return true;
}

static bool is_degradation(const struct route_policy *p)
{
    return p->task == TASK_BACKGROUND && p->action == POLICY_ROUTE && p->model.n && !p->key.n;
}

static bool is_routing(const struct route_policy *p)
{
    return p->task != TASK_ANY && p->action == POLICY_ROUTE && !p->model.n && !p->key.n;
}

/* The one that counts for a task; NULL: none. */
static const struct route_policy *routing_of(const struct policies *all, enum task task)
{
    const struct route_policy *best = NULL;
    for (size_t i = 0; i < all->n; i++)
        if (is_routing(&all->v[i]) && all->v[i].enabled && all->v[i].task == (int)task &&
            (!best || all->v[i].priority > best->priority))
            best = &all->v[i];
    return best;
}

/* A name for a policy of ours that is free, or is ours already. */
static struct str free_name(struct arena *a, const struct policies *all, struct str wanted,
                            bool (*is_ours)(const struct route_policy *p))
{
    struct str name = str_first(wanted, 190);
    for (int n = 2;; n++) {
        bool is_taken = false;
        for (size_t i = 0; i < all->n; i++)
            is_taken |= str_eq(all->v[i].name, name) && !is_ours(&all->v[i]);
        if (!is_taken)
            return name;
        name = str_fmt(a, STR_FMT " %d", STR_ARG(str_first(wanted, 190)), n);
    }
}

static bool value_of(struct arena *a, enum task task, struct str model, struct str target,
                     int64_t priority, yyjson_val **out, struct err *e)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "task", word_text(task_words, (int)task, ""));
    if (model.n)
        jw_kv_str(&w, "model", model);
    jw_kv_cstr(&w, "action", "route");
    jw_kv_str(&w, "target", target);
    jw_kv_int(&w, "priority", priority);
    jw_object_end(&w);
    return json_parse(a, buf_str(&b), 0, out, e);
}

/* What these say goes before what they do not, and an operator's own policies before both. */
#define DEGRADES (-1000)
#define ROUTES (-1001)

struct changes {
    struct entry_change *v;
    size_t n;
    const char *const *fields; /* of each: the member of the body that it comes from */
};

static bool save(struct control_call *c, const struct changes *in, const char *map, struct err *e)
{
    size_t at = 0;
    if (!in->n || change_entries(c, in->v, in->n, &at, e))
        return true;
    if (e->kind == ERR_INPUT && at < in->n && in->fields[at])
        (void)snprintf(e->field, sizeof e->field, "%s.%.60s", map, in->fields[at]);
    return false;
}

static bool put_setting(struct control_call *c, const char *name, struct str value, struct err *e)
{
    return change_setting(c, setting_find(str_of(name)), value, e);
}

static bool is_given(const struct control_call *c, unsigned bit)
{
    return c->present >> bit & 1;
}

/* ---- figures: since the start, or since they were reset in this run ---- */

struct stats {
    int64_t detected, routed, tokens;
};

static struct stats counted(struct control_call *c, bool is_background)
{
    struct stats s = {0, 0, 0};
    for (int t = TASK_BACKGROUND; t < TASKS; t++) {
        struct task_count n = relay_tasks(c->control->shared, (unsigned)t);
        if ((t == TASK_BACKGROUND) != is_background)
            continue;
        s.detected += (int64_t)n.seen;
        s.routed += (int64_t)n.led;
        s.tokens += (int64_t)n.tokens;
    }
    return s;
}

static const char *kept_as(bool is_background)
{
    return is_background ? "omni_background_base" : "omni_tasks_base";
}

static bool figures(struct control_call *c, bool is_background, struct stats *out, struct err *e)
{
    yyjson_val *base;
    *out = counted(c, is_background);
    if (!omni_kept(c, kept_as(is_background), &base, e))
        return false;
    if (json_get_int(base, "started", 0) != c->control->started_ms)
        return true;
    out->detected -= json_get_int(base, "detected", 0);
    out->routed -= json_get_int(base, "routed", 0);
    out->tokens -= json_get_int(base, "tokens", 0);
    return true;
}

static bool reset(struct control_call *c, bool is_background, struct err *e)
{
    struct stats s = counted(c, is_background);
    return omni_keep(c, kept_as(is_background),
                     str_fmt(c->arena,
                             "{\"started\":%lld,\"detected\":%lld,\"routed\":%lld,\"tokens\":%lld}",
                             (long long)c->control->started_ms, (long long)s.detected,
                             (long long)s.routed, (long long)s.tokens),
                     e);
}

static void write_stats(struct jw *w, const struct stats *s, bool is_background)
{
    jw_key(w, "stats");
    jw_object(w);
    jw_kv_int(w, "detected", s->detected);
    jw_kv_int(w, is_background ? "redirected" : "routed", s->routed);
    if (is_background)
        jw_kv_int(w, "tokensSaved", s->tokens);
    jw_object_end(w);
}

/* ---- background degradation ---- */

struct degradation_in {
    bool enabled;
    yyjson_val *map;
    struct strs patterns;
    yyjson_val *stats;
};
struct degradation_out {
    bool success, enabled;
    yyjson_val *map;
    struct strs patterns;
    yyjson_val *stats;
};
struct action_in {
    struct str action;
    yyjson_val *body;
};
struct reset_out {
    bool success;
    yyjson_val *stats;
};
struct detected_out {
    bool success;
    yyjson_val *stats;
    struct str type, model;
};
/* clang-format off */
static const struct shape degradation_in_shape = SHAPE(struct degradation_in,
    FIELD(struct degradation_in, enabled, 0, "Whether requests in the background go to other models: setting background_degradation"),
    FIELD_AS(struct degradation_in, map, "degradationMap", NULL, 0, "Which model takes which one's place: all of it. * is any text"),
    FIELD_AS(struct degradation_in, patterns, "detectionPatterns", NULL, 0, "What system prompts of such requests hold: setting background_phrases"),
    FIELD(struct degradation_in, stats, READ_ONLY, "As it was shown"));
static const struct shape degradation_shape = SHAPE(struct degradation_out,
    FIELD(struct degradation_out, success, OMIT_EMPTY, "true, of a change"),
    FIELD(struct degradation_out, enabled, 0, "Whether requests in the background go to other models"),
    FIELD_AS_JSON(struct degradation_out, map, "degradationMap", JSON_MAP, &json_of_text, 0, "Which model takes which one's place"),
    FIELD_AS(struct degradation_out, patterns, "detectionPatterns", NULL, 0, "What system prompts of such requests hold"),
    FIELD_JSON(struct degradation_out, stats, 0, &json_of_object, 0, "detected: such requests, where a policy asks; redirected: led to another model; tokensSaved: what those took of its tokens"));
static const struct shape action_shape = SHAPE(struct action_in,
    FIELD(struct action_in, action, REQUIRED | NOT_EMPTY, "reset-stats"));
static const struct shape task_action_shape = SHAPE(struct action_in,
    FIELD(struct action_in, action, REQUIRED | NOT_EMPTY, "reset-stats or detect"),
    FIELD(struct action_in, body, 0, "With detect: a request as a client would send it"));
static const struct shape reset_shape = SHAPE(struct reset_out,
    FIELD(struct reset_out, success, 0, "true"),
    FIELD_JSON(struct reset_out, stats, 0, &json_of_object, 0, "The figures, which begin anew"));
static const struct shape detected_shape = SHAPE(struct detected_out,
    FIELD(struct detected_out, success, OMIT_EMPTY, "true, of reset-stats"),
    FIELD_JSON(struct detected_out, stats, 0, &json_of_object, OMIT_EMPTY, "The figures, which begin anew"),
    FIELD_AS(struct detected_out, type, "taskType", NULL, OMIT_EMPTY, "With detect: what the request is for"),
    FIELD_AS(struct detected_out, model, "preferredModel", NULL, OMIT_EMPTY, "With detect: where such requests go; " NO_OVERRIDE ": where they ask for"));
/* clang-format on */
enum {
    IN_ENABLED,
    IN_MAP,
    IN_PATTERNS
};

static bool show_degradation(struct control_call *c, bool is_change, struct err *e)
{
    struct snapshot *now = snapshot_current();
    struct policies all;
    struct stats s;
    bool ok = written(c, &all, e) && figures(c, true, &s, e);
    if (ok) {
        struct jw w = jw_on(&c->out);
        struct str rest = now->settings.background_phrases, one;
        jw_object(&w);
        if (is_change)
            jw_kv_bool(&w, "success", true);
        jw_kv_bool(&w, "enabled", now->settings.background_degradation);
        jw_key(&w, "degradationMap");
        jw_object(&w);
        for (size_t i = 0; i < all.n; i++)
            if (is_degradation(&all.v[i]) && all.v[i].enabled) {
                jw_key_str(&w, all.v[i].model);
                jw_str(&w, all.v[i].target);
            }
        jw_object_end(&w);
        jw_key(&w, "detectionPatterns");
        jw_array(&w);
        while (rest.n) {
            rest = str_cut(rest, '|', &one);
            if (str_trim(one).n)
                jw_str(&w, str_trim(one));
        }
        jw_array_end(&w);
        write_stats(&w, &s, true);
        jw_object_end(&w);
    }
    snapshot_unref(now);
    return ok;
}

static bool get_degradation(struct control_call *c, struct err *e)
{
    return show_degradation(c, false, e);
}

/* The map becomes what the body says: what it lacks goes. */
static bool read_map(struct control_call *c, yyjson_val *map, struct changes *out, struct err *e)
{
    struct policies all;
    size_t i, max;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(map))
        return err_field(e, "degradationMap", "'degradationMap' must be an object");
    if (!written(c, &all, e))
        return false;
    size_t cap = all.n + yyjson_obj_size(map) + 1;
    const char **fields = ARENA_ARRAY(c->arena, const char *, cap);
    *out = (struct changes){ARENA_ARRAY(c->arena, struct entry_change, cap), 0, fields};
    for (size_t p = 0; p < all.n; p++)
        if (is_degradation(&all.v[p])) {
            fields[out->n] = NULL;
            out->v[out->n++] = (struct entry_change){
                .section = SECTION_POLICIES, .name = all.v[p].name, .removes = true};
        }
    yyjson_obj_foreach (map, i, max, k, v) {
        struct entry_change *one = &out->v[out->n];
        if (!yyjson_is_str(v) || !yyjson_get_len(v) || !yyjson_get_len(k)) {
            char at[64];
            (void)snprintf(at, sizeof at, "degradationMap.%.40s", yyjson_get_str(k));
            return err_field(e, at, "'%s' must name a model", at);
        }
        *one = (struct entry_change){
            .section = SECTION_POLICIES,
            .replaces = true,
            .name = free_name(c->arena, &all,
                              str_fmt(c->arena, "background " STR_FMT, STR_ARG(json_str(k))),
                              is_degradation)};
        fields[out->n++] = yyjson_get_str(k);
        if (!value_of(c->arena, TASK_BACKGROUND, json_str(k), json_str(v), DEGRADES, &one->value,
                      e))
            return false;
    }
    return true;
}

static bool read_patterns(struct control_call *c, const struct strs *in, struct str *out,
                          struct err *e)
{
    struct buf b;
    if (in->n > MOST_PHRASES)
        return err_field(e, "detectionPatterns", "'detectionPatterns' must be %d at most",
                         MOST_PHRASES);
    buf_init_arena(&b, c->arena, 1u << 20);
    for (size_t i = 0; i < in->n; i++) {
        if (!str_trim(in->v[i]).n || str_index(in->v[i], '|') < in->v[i].n)
            return err_field(e, "detectionPatterns",
                             "'detectionPatterns[%zu]' must be a text without '|'", i);
        buf_fmt(&b, "%s" STR_FMT, i ? "|" : "", STR_ARG(str_trim(in->v[i])));
    }
    *out = b.n ? buf_str(&b) : STR("");
    return true;
}

static bool put_degradation(struct control_call *c, struct err *e)
{
    const struct degradation_in *in = c->in;
    struct changes map = {.n = 0};
    struct str phrases;
    if (!c->present)
        return err_field(e, "body", "Give at least one key");
    return (!is_given(c, IN_MAP) || read_map(c, in->map, &map, e)) &&
           (!is_given(c, IN_PATTERNS) || read_patterns(c, &in->patterns, &phrases, e)) &&
           save(c, &map, "degradationMap", e) &&
           (!is_given(c, IN_PATTERNS) || put_setting(c, "background_phrases", phrases, e)) &&
           (!is_given(c, IN_ENABLED) || put_setting(c, "background_degradation",
                                                    in->enabled ? STR("true") : STR("false"), e)) &&
           show_degradation(c, true, e);
}

static bool answer_reset(struct control_call *c, bool is_background, struct err *e)
{
    struct stats s;
    if (!reset(c, is_background, e) || !figures(c, is_background, &s, e))
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    jw_kv_bool(&w, "success", true);
    write_stats(&w, &s, is_background);
    jw_object_end(&w);
    return true;
}

static bool post_degradation(struct control_call *c, struct err *e)
{
    const struct action_in *in = c->in;
    return str_is(in->action, "reset-stats")
               ? answer_reset(c, true, e)
               : err_field(e, "action", "'action' must be reset-stats");
}

/* ---- task routing ---- */

struct routing_in {
    bool enabled, detects;
    yyjson_val *map, *stats, *defaults;
};
struct routing_out {
    bool success, enabled, detects;
    yyjson_val *map, *stats, *defaults;
};
/* clang-format off */
static const struct shape routing_in_shape = SHAPE(struct routing_in,
    FIELD(struct routing_in, enabled, 0, "Whether tasks choose models: setting task_routing"),
    FIELD_AS(struct routing_in, detects, "detectionEnabled", NULL, 0, "true: without it nothing could be routed"),
    FIELD_AS(struct routing_in, map, "taskModelMap", NULL, 0, "Which model requests for a task get, of those that are named here; empty: what they ask for. coding, creative, analysis, vision, summarization, background, chat"),
    FIELD(struct routing_in, stats, READ_ONLY, "As it was shown"),
    FIELD_AS(struct routing_in, defaults, "defaultTaskModelMap", NULL, READ_ONLY, "As it was shown"));
static const struct shape routing_shape = SHAPE(struct routing_out,
    FIELD(struct routing_out, success, OMIT_EMPTY, "true, of a change"),
    FIELD(struct routing_out, enabled, 0, "Whether tasks choose models"),
    FIELD_AS(struct routing_out, detects, "detectionEnabled", NULL, 0, "true"),
    FIELD_AS_JSON(struct routing_out, map, "taskModelMap", JSON_MAP, &json_of_text, 0, "Which model requests for a task get; empty: what they ask for"),
    FIELD_JSON(struct routing_out, stats, 0, &json_of_object, 0, "detected: requests whose task was told, where a policy asks; routed: led to another model. Without those in the background"),
    FIELD_AS_JSON(struct routing_out, defaults, "defaultTaskModelMap", JSON_MAP, &json_of_text, 0, "None: sluice chooses no model by itself"));
/* clang-format on */
enum {
    IN_ON,
    IN_DETECTS,
    IN_TASKS
};

static bool show_routing(struct control_call *c, bool is_change, struct err *e)
{
    struct snapshot *now = snapshot_current();
    bool is_on = now->settings.task_routing;
    struct policies all;
    struct stats s;
    snapshot_unref(now);
    if (!written(c, &all, e) || !figures(c, false, &s, e))
        return false;
    struct jw w = jw_on(&c->out);
    jw_object(&w);
    if (is_change)
        jw_kv_bool(&w, "success", true);
    jw_kv_bool(&w, "enabled", is_on);
    jw_kv_bool(&w, "detectionEnabled", true);
    for (int is_default = 0; is_default < 2; is_default++) {
        jw_key(&w, is_default ? "defaultTaskModelMap" : "taskModelMap");
        jw_object(&w);
        for (size_t i = 0; i < ARRAY_LEN(routed); i++) {
            const struct route_policy *p = is_default ? NULL : routing_of(&all, routed[i]);
            jw_key_str(&w, str_of(word_text(task_words, (int)routed[i], "")));
            jw_str(&w, p ? p->target : STR(""));
        }
        jw_object_end(&w);
    }
    write_stats(&w, &s, false);
    jw_object_end(&w);
    return true;
}

static bool get_routing(struct control_call *c, struct err *e)
{
    return show_routing(c, false, e);
}

/* The policies of one task become one, or none. */
static bool read_task(struct control_call *c, const struct policies *all, enum task task,
                      struct str target, const char *word, struct changes *out, const char **fields,
                      struct err *e)
{
    for (size_t p = 0; p < all->n; p++)
        if (is_routing(&all->v[p]) && all->v[p].task == (int)task) {
            fields[out->n] = NULL;
            out->v[out->n++] = (struct entry_change){
                .section = SECTION_POLICIES, .name = all->v[p].name, .removes = true};
        }
    if (!target.n)
        return true;
    struct entry_change *one = &out->v[out->n];
    fields[out->n++] = word;
    *one = (struct entry_change){
        .section = SECTION_POLICIES,
        .replaces = true,
        .name = free_name(c->arena, all, str_fmt(c->arena, "task %s", word), is_routing)};
    /* what only runs in the background goes before what it is about */
    return value_of(c->arena, task, STR_NONE, target, task == TASK_BACKGROUND ? ROUTES : ROUTES - 1,
                    &one->value, e);
}

static bool read_tasks(struct control_call *c, yyjson_val *map, struct changes *out, struct err *e)
{
    struct policies all;
    size_t i, max;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(map))
        return err_field(e, "taskModelMap", "'taskModelMap' must be an object");
    if (!written(c, &all, e))
        return false;
    size_t cap = all.n + yyjson_obj_size(map) + 1;
    const char **fields = ARENA_ARRAY(c->arena, const char *, cap);
    *out = (struct changes){ARENA_ARRAY(c->arena, struct entry_change, cap), 0, fields};
    yyjson_obj_foreach (map, i, max, k, v) {
        char at[64];
        int task = word_value(task_words, json_str(k), TASK_ANY);
        (void)snprintf(at, sizeof at, "taskModelMap.%.40s", yyjson_get_str(k));
        if (task == TASK_ANY)
            return err_field(e, at, "'%s' is none of " TASK_WORDS, at);
        if (!yyjson_is_str(v) && !yyjson_is_null(v))
            return err_field(e, at, "'%s' must name a model, or be empty", at);
        if (!read_task(c, &all, (enum task)task, json_str(v), yyjson_get_str(k), out, fields, e))
            return false;
    }
    return true;
}

static bool put_routing(struct control_call *c, struct err *e)
{
    const struct routing_in *in = c->in;
    struct changes map = {.n = 0};
    if (!c->present)
        return err_field(e, "body", "Give at least one key");
    if (is_given(c, IN_DETECTS) && !in->detects)
        return err_field(e, "detectionEnabled",
                         "'detectionEnabled' is not supported: say 'enabled' alone");
    return (!is_given(c, IN_TASKS) || read_tasks(c, in->map, &map, e)) &&
           save(c, &map, "taskModelMap", e) &&
           (!is_given(c, IN_ON) ||
            put_setting(c, "task_routing", in->enabled ? STR("true") : STR("false"), e)) &&
           show_routing(c, true, e);
}

static bool detect(struct control_call *c, yyjson_val *body, struct err *e)
{
    struct task_ask ask = {.body = body, .max_output = task_max_output(body)};
    struct policies all;
    if (!yyjson_is_obj(body))
        return err_field(e, "body", "'body' must be a request");
    ask.phrases = c->snap->settings.background_phrases;
    enum task task = task_foremost(tasks_of(&ask));
    if (!written(c, &all, e))
        return false;
    const struct route_policy *p = routing_of(&all, task);
    struct detected_out out = {.type = str_of(word_text(task_words, (int)task, "")),
                               .model = p ? p->target : STR(NO_OVERRIDE)};
    return control_reply(c, 200, &detected_shape, &out);
}

static bool post_routing(struct control_call *c, struct err *e)
{
    const struct action_in *in = c->in;
    return str_is(in->action, "reset-stats") ? answer_reset(c, false, e)
           : str_is(in->action, "detect")
               ? detect(c, in->body, e)
               : err_field(e, "action", "'action' must be reset-stats or detect");
}

/* clang-format off */
const struct endpoint omni_task_endpoints[] = {
    { HTTP_GET,  "/api/settings/background-degradation", SURFACE_OMNIROUTE, ACCESS_VIEWER, "Which models take whose place for work in the background", .on_worker = get_degradation, .out = &degradation_shape },
    { HTTP_PUT,  "/api/settings/background-degradation", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it", .on_worker = put_degradation, .in = &degradation_in_shape, .out = &degradation_shape },
    { HTTP_POST, "/api/settings/background-degradation", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Begin its figures anew", .on_worker = post_degradation, .in = &action_shape, .out = &reset_shape },
    { HTTP_GET,  "/api/settings/task-routing",           SURFACE_OMNIROUTE, ACCESS_VIEWER, "Which models requests get for what they are for", .on_worker = get_routing, .out = &routing_shape },
    { HTTP_PUT,  "/api/settings/task-routing",           SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change it", .on_worker = put_routing, .in = &routing_in_shape, .out = &routing_shape },
    { HTTP_POST, "/api/settings/task-routing",           SURFACE_OMNIROUTE, ACCESS_ADMIN, "Begin its figures anew, or say what a request is for", .on_worker = post_routing, .in = &task_action_shape, .out = &detected_shape },
    {0},
};
/* clang-format on */
