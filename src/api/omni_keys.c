/* omni_keys.c - /api/keys: client keys as OmniRoute's dashboard has them. What it knows of a key and sluice does not is refused, not
 * stored for show. */
#include "api/omni.h"
#include "api/admin.h"
#include "base/clock.h"
#include "base/codec.h"
#include "json/shape_json.h"

struct when {
    bool enabled;
    struct str from, until, tz;
    yyjson_val *days;
};
struct key_shown {
    struct str id, name, label, key, preview, machine;
    struct strs models, connections;
    bool no_log, auto_resolve, is_active;
    yyjson_val *schedule;
    int64_t max_sessions, per_day, per_minute;
    struct str created_at;
};
struct keys_out {
    struct shape_list keys;
    bool allow_reveal;
};
struct key_in {
    struct str name;
    struct strs models, connections;
    bool no_log, auto_resolve, is_active;
    int64_t max_sessions, per_day, per_minute;
    struct when schedule;
};
enum key_bit {
    IN_NAME,
    IN_MODELS,
    IN_CONNECTIONS,
    IN_NO_LOG,
    IN_AUTO,
    IN_ACTIVE,
    IN_SESSIONS,
    IN_PER_DAY,
    IN_PER_MINUTE,
    IN_SCHEDULE
};
struct made_out {
    struct str key, name, label, id, machine, warning;
};
struct changed_out {
    struct str message;
    struct key_shown key;
    struct str warning;
};
struct message_out {
    struct str message;
};
struct revealed_out {
    struct str key;
};
/* clang-format off */
#define SHOWN(member, name, flags, doc) FIELD_AS(struct key_shown, member, name, NULL, flags, doc)
static const struct shape access_schedule_shape = MEMBERS("access_schedule",
    MEMBER("enabled", SHAPE_BOOL, 0, "Whether it is in force"),
    MEMBER("from",    SHAPE_STR,  0, "HH:MM"),
    MEMBER("until",   SHAPE_STR,  0, "HH:MM; before from: over midnight"),
    {.name = "days", .kind = SHAPE_JSON, .flags = JSON_LIST, .doc = "Numbers of days, 0 for Sunday", .shape = &json_of_integer},
    MEMBER("tz",      SHAPE_STR,  0, "IANA time zone"));
static const struct shape key_shape = SHAPE(struct key_shown,
    SHOWN(id, "id", 0, "Name of the key in logs and lists"),
    SHOWN(name, "name", 0, "Name for people"),
    SHOWN(label, "label", 0, "The same"),
    SHOWN(key, "key", 0, "Its text, masked"),
    SHOWN(preview, "keyPreview", 0, "The last of it"),
    SHOWN(machine, "machineId", 0, "Of the node that made it: sluice"),
    SHOWN(models, "allowedModels", 0, "Models it may use, with * for any run of characters; empty: all"),
    SHOWN(connections, "allowedConnections", 0, "Connections it may use; empty: all"),
    SHOWN(no_log, "noLog", 0, "Whether its requests' bodies are never kept; false: the log's own settings say"),
    SHOWN(auto_resolve, "autoResolve", 0, "true: names of models are always resolved"),
    SHOWN(is_active, "isActive", 0, "Whether it opens anything"),
    {FIELD_BASE(struct key_shown, schedule, "accessSchedule", SHAPE_JSON, NULL_EMPTY, "When it opens anything; null: always"), .shape = &access_schedule_shape},
    SHOWN(max_sessions, "maxSessions", 0, "0: as many as come"),
    SHOWN(per_day, "maxRequestsPerDay", NULL_EMPTY, "Most requests a day"),
    SHOWN(per_minute, "maxRequestsPerMinute", NULL_EMPTY, "Most requests a minute"),
    SHOWN(created_at, "createdAt", OMIT_EMPTY, "When it was made; none of keys of the file"));
static const struct shape keys_shape = SHAPE(struct keys_out,
    FIELD_LIST(struct keys_out, keys, &key_shape, 0, "All of them"),
    FIELD_AS(struct keys_out, allow_reveal, "allowKeyReveal", NULL, 0, "Whether their texts can be asked for"));
static const struct shape when_shape = SHAPE(struct when,
    FIELD(struct when, enabled, 0, "Whether it is in force"),
    FIELD_TEXT(struct when, from, 0, 5, 0, "HH:MM"),
    FIELD_TEXT(struct when, until, 0, 5, 0, "HH:MM; before from: over midnight"),
    FIELD_TEXT(struct when, tz, 0, 100, 0, "IANA time zone; UTC when absent"),
    FIELD(struct when, days, 0, "Numbers of days, 0 for Sunday; absent: every day"));
#define IN(member, name, alias, min, max, flags, doc) FIELD_AS_TEXT(struct key_in, member, name, alias, min, max, flags, doc)
/* In the order of enum key_bit. */
#define KEY_FIELDS(required) \
    IN(name, "name", "label", 1, 200, (required) | TRIM, "Name for people"), \
    IN(models, "allowedModels", NULL, 0, 0, 0, "Models it may use, with * for any run of characters; empty: all"), \
    IN(connections, "allowedConnections", NULL, 0, 0, 0, "Ids of connections it may be served by; empty: all"), \
    IN(no_log, "noLog", NULL, 0, 0, 0, "true: bodies of its requests are never kept; false: the log's own settings say"), \
    IN(auto_resolve, "autoResolve", NULL, 0, 0, 0, "true only: names of models are always resolved"), \
    IN(is_active, "isActive", NULL, 0, 0, 0, "Whether it opens anything"), \
    IN(max_sessions, "maxSessions", NULL, 0, 10000, COERCE, "Most conversations in half an hour; 0: as many as come"), \
    IN(per_day, "maxRequestsPerDay", NULL, 0, 1000000000, COERCE, "Most requests a day; 0 or null: no limit"), \
    IN(per_minute, "maxRequestsPerMinute", NULL, 0, 1000000000, COERCE, "Most requests a minute; 0 or null: no limit"), \
    {FIELD_BASE(struct key_in, schedule, "accessSchedule", SHAPE_OBJECT, 0, "When it opens anything; null: always"), .shape = &when_shape}
static const struct shape create_shape = SHAPE(struct key_in, KEY_FIELDS(REQUIRED));
static const struct shape change_shape = SHAPE(struct key_in, KEY_FIELDS(0));
#define ZONE_DOC "What of accessSchedule is not in force, as its time zone is unknown"
static const struct shape made_shape = SHAPE(struct made_out,
    FIELD(struct made_out, key, 0, "The key: shown this once"),
    FIELD(struct made_out, name, 0, "Name for people"),
    FIELD(struct made_out, label, 0, "The same"),
    FIELD(struct made_out, id, 0, "Name of the key in logs and lists"),
    FIELD_AS(struct made_out, machine, "machineId", NULL, 0, "Of the node that made it: sluice"),
    FIELD(struct made_out, warning, OMIT_EMPTY, ZONE_DOC));
static const struct shape changed_shape = SHAPE(struct changed_out,
    FIELD(struct changed_out, message, 0, "What was done"),
    FIELD_OBJECT(struct changed_out, key, &key_shape, 0, "The key as it is now"),
    FIELD(struct changed_out, warning, OMIT_EMPTY, ZONE_DOC));
static const struct shape message_shape = SHAPE(struct message_out, FIELD(struct message_out, message, 0, "What was done"));
static const struct shape revealed_shape = SHAPE(struct revealed_out, FIELD(struct revealed_out, key, 0, "The key's text"));
/* clang-format on */

static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static yyjson_val *schedule_of(struct arena *a, const struct schedule *s)
{
    struct buf b;
    yyjson_val *out;
    if (!s->days.n && !s->from.n && !s->until.n && !s->time_zone.n)
        return NULL;
    buf_init_arena(&b, a, 4096);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_bool(&w, "enabled", !s->paused);
    jw_kv_str(&w, "from", s->from);
    jw_kv_str(&w, "until", s->until);
    jw_key(&w, "days");
    jw_array(&w);
    for (size_t d = 0; d < ARRAY_LEN(day_names); d++)
        for (size_t i = 0; i < s->days.n || (s->days.n == 0 && i == 0); i++)
            if (s->days.n == 0 || str_eq(s->days.v[i], str_of(day_names[d])))
                jw_int(&w, (int64_t)d);
    jw_array_end(&w);
    jw_kv_str(&w, "tz", s->time_zone.n ? s->time_zone : STR("UTC"));
    jw_object_end(&w);
    return json_parse(a, buf_str(&b), 0, &out, NULL) ? out : NULL;
}

/* What is written of each key: the only place that knows how a text looked. */
static yyjson_val *written(yyjson_val *list, struct str id)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach (list, i, max, v)
        if (str_eq(json_get_str(v, "id"), id))
            return v;
    return NULL;
}

static bool entries(struct control_call *c, yyjson_val **list, struct err *e)
{
    yyjson_val *root;
    *list = NULL;
    if (!change_view(c, &root, e))
        return false;
    *list = json_get(json_get(root, "server"), "api_keys");
    return true;
}

/* The first eight and the last four; of a key that is kept as a hash only, what its hint has of them. */
static struct str mask(struct arena *a, struct str text, struct str hint)
{
    size_t stars = str_index(hint, '*');
    if (text.n >= 16 && !str_contains(text, STR("${")) && !str_starts(text, STR("file:")))
        return str_fmt(a, "%.8s****%.4s", text.p, text.p + text.n - 4);
    if (text.n || stars == hint.n)
        return STR("****");
    struct str end = str_skip(hint, stars);
    while (end.n && end.p[0] == '*')
        end = str_skip(end, 1);
    return str_fmt(a, STR_FMT "****" STR_FMT, STR_ARG(str_first(hint, stars)), STR_ARG(end));
}

/* Connections by their ids, as they are called here; one that is gone by the name it had. */
static struct strs ids_of(const struct control_call *c, const struct strs *names)
{
    if (names->n == 0)
        return (struct strs){NULL, 0};
    struct snapshot *now = snapshot_current();
    struct strs out = {ARENA_ARRAY(c->arena, struct str, names->n + 1), names->n};
    for (size_t i = 0; i < names->n; i++) {
        const struct upstream *u = snapshot_upstream(now, names->v[i]);
        out.v[i] = str_dup(c->arena, u ? u->uid : names->v[i]);
    }
    snapshot_unref(now);
    return out;
}

static struct key_shown show(const struct control_call *c, const struct key *k, yyjson_val *entry)
{
    struct arena *a = c->arena;
    struct str masked = mask(a, json_get_str(entry, "key"), json_get_str(entry, "hint"));
    return (struct key_shown){.id = k->id,
                              .name = k->label,
                              .label = k->label,
                              .key = masked,
                              .preview = masked.n > 4 ? str_skip(masked, masked.n - 4) : masked,
                              .machine = STR("sluice"),
                              .models = {k->allowed_models, k->n_allowed},
                              .connections = ids_of(c, &k->policy->providers),
                              .no_log = k->policy->no_log,
                              .auto_resolve = true,
                              .is_active = k->is_enabled,
                              .schedule = schedule_of(a, &k->policy->schedule),
                              .max_sessions = k->policy->limits.sessions,
                              .per_day = k->policy->limits.requests_per_day,
                              .per_minute = k->policy->limits.requests_per_minute,
                              .created_at = omni_time(a, k->created_ms)};
}

static const struct key *find(struct control_call *c, struct err *e)
{
    struct str id = route_param(&c->params, "id");
    const struct key *k = snapshot_key_by_id(c->snap, id);
    if (!k)
        omni_not_found("Key", id, e);
    return k;
}

static bool list(struct control_call *c, struct err *e)
{
    yyjson_val *all, *one;
    size_t n = c->snap->n_keys, i, max;
    struct map by;
    if (!entries(c, &all, e))
        return false;
    map_init(&by);
    yyjson_arr_foreach (all, i, max, one)
        map_set(&by, json_get_str(one, "id"), one);
    struct key_shown *v = ARENA_ARRAY(c->arena, struct key_shown, n + 1);
    for (i = 0; i < n; i++)
        v[i] = show(c, c->snap->keys[i], map_get(&by, c->snap->keys[i]->id));
    map_done(&by);
    struct keys_out out = {{v, n}, c->snap->settings.credential_visible};
    return control_reply(c, 200, &keys_shape, &out);
}

static bool get(struct control_call *c, struct err *e)
{
    const struct key *k = find(c, e);
    yyjson_val *all;
    if (!k || !entries(c, &all, e))
        return false;
    struct key_shown out = show(c, k, written(all, k->id));
    return control_reply(c, 200, &key_shape, &out);
}

/* ---- writing ---- */

#define HAS(bit) (c->present >> (bit)&1)

static bool is_null(const struct control_call *c, const char *name)
{
    return yyjson_is_null(json_find(c->root, name, strlen(name)));
}

static bool unsupported(const char *field, const char *why, struct err *e)
{
    return err_field(e, field, "'%s' %s", field, why);
}

/* What would be kept and not obeyed is not taken. */
static bool check(struct control_call *c, struct err *e)
{
    const struct key_in *in = c->in;
    if (HAS(IN_AUTO) && !in->auto_resolve)
        return unsupported("autoResolve", "cannot be false: names of models are always resolved",
                           e);
    for (size_t i = 0; i < in->models.n; i++)
        if (!in->models.v[i].n || in->models.v[i].n > 1000)
            return unsupported("allowedModels", "must hold names of 1 to 1000 characters", e);
    return in->models.n <= 1000 || unsupported("allowedModels", "has more than 1000 names", e);
}

static bool take_schedule(struct control_call *c, const struct when *w, struct schedule *out,
                          struct err *e)
{
    size_t i, max;
    yyjson_val *v;
    *out = (struct schedule){.from = w->from, .until = w->until, .paused = !w->enabled};
    if (w->days && !yyjson_is_arr(w->days))
        return err_field(e, "accessSchedule.days", "'days' must be an array of 0 to 6");
    out->days.v = ARENA_ARRAY(c->arena, struct str, yyjson_arr_size(w->days) + 1);
    yyjson_arr_foreach (w->days, i, max, v) {
        int64_t day = json_int_or(v, -1);
        if (day < 0 || day > 6)
            return err_field(e, "accessSchedule.days", "'days' must be an array of 0 to 6");
        out->days.v[out->days.n++] = str_of(day_names[day]);
    }
    /* a zone that nobody knows: OmniRoute lets the key pass then, and so does a paused schedule */
    bool is_known = !w->tz.n || zone_load(c->arena, w->tz, NULL);
    out->time_zone = w->tz.n && is_known ? w->tz : STR("UTC");
    out->paused |= !is_known;
    return true;
}

/* Whoever wrote such a zone believes the key closed at times. */
static struct str zone_warning(struct control_call *c)
{
    const struct key_in *in = c->in;
    struct str tz = HAS(IN_SCHEDULE) ? in->schedule.tz : STR_NONE;
    return !tz.n || zone_load(c->arena, tz, NULL)
               ? STR_NONE
               : str_fmt(c->arena,
                         "There is no time zone '" STR_FMT "': accessSchedule is kept switched "
                         "off, in UTC, and the key opens at any time",
                         STR_ARG(tz));
}

static bool take_connections(struct control_call *c, struct key_change *k, struct err *e)
{
    const struct key_in *in = c->in;
    struct strs *out = &k->policy.providers;
    if (in->connections.n > 100)
        return err_field(e, "allowedConnections", "'allowedConnections' has more than 100 ids");
    out->v = ARENA_ARRAY(c->arena, struct str, in->connections.n + 1);
    for (size_t i = 0; i < in->connections.n; i++) {
        const struct upstream *u = NULL;
        for (size_t n = 0; n < c->snap->n_upstreams && !u; n++)
            if (str_eq(c->snap->upstreams[n]->uid, in->connections.v[i]))
                u = c->snap->upstreams[n];
        if (!u)
            return err_field(e, "allowedConnections", "There is no connection '" STR_FMT "'",
                             STR_ARG(str_first(in->connections.v[i], 100)));
        out->v[out->n++] = u->name;
    }
    k->given |= KEY_POLICY << KEY_POLICY_PROVIDERS;
    return true;
}

static bool take(struct control_call *c, const struct key *was, struct key_change *k, struct err *e)
{
    const struct key_in *in = c->in;
    if (!check(c, e))
        return false;
    k->label = in->name;
    k->allowed_models = in->models;
    k->is_enabled = in->is_active;
    k->policy.no_log = in->no_log;
    k->given |= (HAS(IN_NO_LOG) ? KEY_POLICY << KEY_POLICY_NO_LOG : 0u) |
                (HAS(IN_NAME) ? KEY_LABEL : 0u) |
                (HAS(IN_MODELS) || is_null(c, "allowedModels") ? KEY_ALLOWED : 0u) |
                (HAS(IN_ACTIVE) ? KEY_ENABLED : 0u);
    bool has_day = HAS(IN_PER_DAY) || is_null(c, "maxRequestsPerDay"),
         has_minute = HAS(IN_PER_MINUTE) || is_null(c, "maxRequestsPerMinute");
    if (was)
        k->policy.limits = was->policy->limits;
    if (has_day)
        k->policy.limits.requests_per_day = in->per_day;
    if (has_minute)
        k->policy.limits.requests_per_minute = in->per_minute;
    if (HAS(IN_SESSIONS))
        k->policy.limits.sessions = in->max_sessions;
    if (has_day || has_minute || HAS(IN_SESSIONS))
        k->given |= KEY_POLICY << KEY_POLICY_LIMITS;
    if (HAS(IN_CONNECTIONS) && !take_connections(c, k, e))
        return false;
    if (HAS(IN_SCHEDULE) && !take_schedule(c, &in->schedule, &k->policy.schedule, e))
        return false;
    if (HAS(IN_SCHEDULE) || is_null(c, "accessSchedule"))
        k->given |= KEY_POLICY << KEY_POLICY_SCHEDULE;
    return true;
}

static bool refused(struct err *e)
{
    if (strncmp(e->field, "schedule", 8) == 0)
        (void)snprintf(e->field, sizeof e->field, "accessSchedule");
    omni_name_field(e);
    return false;
}

static bool create(struct control_call *c, struct err *e)
{
    const struct key_in *in = c->in;
    struct key_change k = {.is_enabled = true};
    struct key_made made;
    if (!take(c, NULL, &k, e))
        return false;
    if (!change_key_create(c, &k, &made, e))
        return refused(e);
    struct made_out out = {made.text, in->name, in->name, made.id, STR("sluice"), zone_warning(c)};
    return control_reply(c, 201, &made_shape, &out);
}

static bool change(struct control_call *c, struct err *e)
{
    const struct key *was = find(c, e);
    yyjson_val *all;
    if (!was)
        return false;
    struct key_change k = {.id = was->id};
    if (!take(c, was, &k, e))
        return false;
    bool is_any = c->present != 0 || k.given;
    if (!is_any)
        return err_field(e, "", "Nothing to change was given");
    if (k.given && !change_key(c, &k, e))
        return refused(e);
    if (!entries(c, &all, e))
        return false;
    struct snapshot *now = snapshot_current();
    const struct key *key = snapshot_key_by_id(now, k.id);
    struct changed_out out = {STR("Key updated"), {.id = k.id}, zone_warning(c)};
    if (key)
        out.key = show(c, key, written(all, k.id));
    bool ok = key ? control_reply(c, 200, &changed_shape, &out) : omni_not_found("Key", k.id, e);
    snapshot_unref(now);
    return ok;
}

static bool delete (struct control_call *c, struct err *e)
{
    const struct key *k = find(c, e);
    struct message_out out = {STR("Key deleted")};
    return k && change_key_delete(c, k->id, e) && control_reply(c, 200, &message_shape, &out);
}

static bool reveal(struct control_call *c, struct err *e)
{
    const struct key *k = find(c, e);
    yyjson_val *all;
    struct str blob;
    struct secret opened;
    if (!k || !admin_may_reveal(c, e) || !entries(c, &all, e))
        return false;
    yyjson_val *entry = written(all, k->id);
    struct str text = json_get_str(entry, "key"), sealed = json_get_str(entry, "sealed");
    if (!text.n && sealed.n && base64_decode(c->arena, sealed, &blob)) {
        if (!seal_unwrap(c->control->seal, c->arena, blob, k->id, &opened, e))
            return false;
        text = secret_reveal(opened);
    }
    if (!text.n)
        return err_set(
            e, ERR_NOT_FOUND, "only_hash",
            "The key is kept as a hash only: it was made while credential_visible was off");
    struct revealed_out out = {text};
    control_audit(c, "reveal", str_fmt(c->arena, "key " STR_FMT, STR_ARG(k->id)), STR_NONE,
                  STR_NONE);
    return control_reply(c, 200, &revealed_shape, &out);
}

/* clang-format off */
const struct endpoint omni_key_endpoints[] = {
    { HTTP_GET,    "/api/keys",             SURFACE_OMNIROUTE, ACCESS_VIEWER, "List client keys, masked", .on_worker = list, .out = &keys_shape },
    { HTTP_POST,   "/api/keys",             SURFACE_OMNIROUTE, ACCESS_ADMIN, "Create a client key", .on_worker = create, .in = &create_shape, .out = &made_shape, .status = 201 },
    { HTTP_GET,    "/api/keys/{id}",        SURFACE_OMNIROUTE, ACCESS_VIEWER, "Show one client key, masked", .on_worker = get, .out = &key_shape },
    { HTTP_PATCH,  "/api/keys/{id}",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Change a client key", .on_worker = change, .in = &change_shape, .out = &changed_shape },
    { HTTP_DELETE, "/api/keys/{id}",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Revoke a client key", .on_worker = delete, .out = &message_shape },
    { HTTP_GET,    "/api/keys/{id}/reveal", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Reveal a client key where that is allowed", .on_worker = reveal, .out = &revealed_shape, .leaves_trail = true, .cache_control = "no-store" },
    {0},
};
/* clang-format on */
