/* config_versions.c - /sluice/v1/config/versions: what the configuration was, how that differs, and back to it. */
#include "api/change.h"
#include "api/config_state.h"
#include "base/clock.h"
#include "domain/config_version.h"

struct version_query {
    int64_t limit, after;
    struct str sort, actor, since, until;
};
struct diff_query {
    int64_t against;
};
struct version_out {
    int64_t id;
    struct str at, actor, what;
    bool is_current;
    yyjson_val *changes;
};
struct diff_out {
    int64_t from, to;
    yyjson_val *changes;
};

static const struct shape version_query_shape = SHAPE(
    struct version_query,
    FIELD_RANGE(struct version_query, limit, 1, 1000, 0, "Page size; 100 when absent"),
    FIELD(struct version_query, after, NOT_NEGATIVE,
          "Begin behind this one: the page before's next"),
    FIELD(struct version_query, sort, 0, JOURNAL_SORT_DOC),
    FIELD(struct version_query, actor, 0, "Who did it"),
    FIELD(struct version_query, since, 0, "RFC 3339 time: not before it"),
    FIELD(struct version_query, until, 0, "RFC 3339 time: before it"));
static const struct shape diff_query_shape = SHAPE(
    struct diff_query, FIELD(struct diff_query, against, NOT_NEGATIVE,
                             "Version to compare with; absent: the one before it"));

#define VERSION_FIELDS                                                                           \
    FIELD(struct version_out, id, 0, "Number, counting up"),                                     \
        FIELD(struct version_out, at, 0, "When"),                                                \
        FIELD(struct version_out, actor, 0,                                                      \
              "Who: a key, an operator, shell for the command line, file for an editor, start"), \
        FIELD(struct version_out, what, 0, "What was done"),                                     \
        FIELD(struct version_out, is_current, 0, "Whether it is the newest")
static const struct shape version_shape = SHAPE(struct version_out, VERSION_FIELDS);
static const struct shape whole_version_shape = SHAPE(
    struct version_out, VERSION_FIELDS,
    FIELD(struct version_out, changes, 0,
          "Objects that changed: kind, name, before and after, secrets masked"));
static const struct shape diff_shape = SHAPE(
    struct diff_out, FIELD(struct diff_out, from, 0, "The version before"),
    FIELD(struct diff_out, to, 0, "The version behind"),
    FIELD(struct diff_out, changes, 0,
          "Objects that differ: kind, name, before and after, secrets masked"));

static struct version_out show(struct arena *a, const struct version_row *v, int64_t newest)
{
    struct buf at;
    buf_init_arena(&at, a, 64);
    clock_rfc3339(&at, v->at_ms);
    struct version_out out = {.id = v->id,
                              .at = buf_str(&at),
                              .actor = v->actor,
                              .what = v->what,
                              .is_current = v->id == newest};
    if (!json_parse(a, v->changes, 0, &out.changes, NULL))
        out.changes = NULL;
    return out;
}

static bool newest_id(struct db *db, struct arena *a, int64_t *id, struct err *e)
{
    struct version_row *v;
    size_t n;
    if (!version_list(db, a, &(struct version_filter){.limit = 1}, &v, &n, e))
        return false;
    *id = n ? v->id : 0;
    return true;
}

static bool list(struct control_call *c, struct err *e)
{
    const struct version_query *q = c->asked;
    int64_t limit = q->limit ? q->limit : 100, newest;
    struct version_filter f = {
        .actor = q->actor, .beyond_id = q->after, .limit = limit + 1}; /* whether there are more */
    if (!journal_order(q->sort, &f.oldest_first, e) ||
        !journal_time(q->since, "since", &f.since_ms, e) ||
        !journal_time(q->until, "until", &f.until_ms, e))
        return false;
    struct db *db = control_db(c, e);
    struct version_row *v;
    size_t n;
    if (!db || !newest_id(db, c->arena, &newest, e) || !version_list(db, c->arena, &f, &v, &n, e))
        return false;
    bool has_more = n > (size_t)limit;
    if (has_more)
        n = (size_t)limit;
    struct version_out *out = ARENA_ARRAY(c->arena, struct version_out, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = show(c->arena, &v[i], newest);
    return control_reply_page(c, &version_shape, out, n,
                              has_more ? str_fmt(c->arena, "%lld", (long long)v[n - 1].id)
                                       : STR_NONE);
}

static bool id_of(struct control_call *c, int64_t *id, struct err *e)
{
    struct str text = route_param(&c->params, "id");
    return (str_to_int(text, id) && *id > 0) ||
           err_set(e, ERR_NOT_FOUND, "not_found", "There is no version '" STR_FMT "'",
                   STR_ARG(str_first(text, 40)));
}

static bool get(struct control_call *c, struct err *e)
{
    struct db *db = control_db(c, e);
    struct version_row v;
    int64_t id, newest;
    if (!db || !id_of(c, &id, e) || !version_get(db, c->arena, id, &v, e) ||
        !newest_id(db, c->arena, &newest, e))
        return false;
    struct version_out out = show(c->arena, &v, newest);
    return control_reply(c, 200, &whole_version_shape, &out);
}

bool config_version_diff(struct arena *a, const struct seal *seal, struct db *db, int64_t from,
                         int64_t to, struct jw *out, struct err *e)
{
    struct version_row v[2];
    struct config_state s[2];
    yyjson_val *root[2];
    const int64_t id[] = {from, to};
    for (int i = 0; i < 2; i++)
        if (!version_get(db, a, id[i], &v[i], e) || !config_unpack(a, seal, v[i].state, &s[i], e) ||
            !config_merged(a, &s[i], NULL, &root[i], e))
            return false;
    config_changes_write(out, a, config_compare(a, root[0], root[1]));
    return true;
}

/* The one before, in what is still kept; itself when it is the oldest. */
static bool before_of(struct control_call *c, struct db *db, int64_t id, int64_t *before,
                      struct err *e)
{
    struct version_row *v;
    size_t n;
    if (!version_list(db, c->arena, &(struct version_filter){.beyond_id = id, .limit = 1}, &v, &n,
                      e))
        return false;
    *before = n ? v->id : id;
    return true;
}

static bool diff(struct control_call *c, struct err *e)
{
    const struct diff_query *q = c->asked;
    struct diff_out out;
    struct buf b;
    struct db *db = control_db(c, e);
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    if (!db || !id_of(c, &out.to, e))
        return false;
    out.from = q->against;
    if (!out.from && !before_of(c, db, out.to, &out.from, e))
        return false;
    return config_version_diff(c->arena, c->control->seal, db, out.from, out.to, &w, e) &&
           json_parse(c->arena, buf_str(&b), 0, &out.changes, e) &&
           control_reply(c, 200, &diff_shape, &out);
}

static bool rollback(struct control_call *c, struct err *e)
{
    struct version_row v;
    int64_t id, newest;
    if (!id_of(c, &id, e) || !change_rollback(c, id, e))
        return false;
    struct db *db = control_db(c, e);
    if (!db || !newest_id(db, c->arena, &newest, e) || !version_get(db, c->arena, newest, &v, e))
        return false;
    struct version_out out = show(c->arena, &v, newest);
    return control_reply(c, 200, &whole_version_shape, &out);
}

/* clang-format off */
const struct endpoint config_version_endpoints[] = {
    { HTTP_GET,  "/sluice/v1/config/versions",               SURFACE_SLUICE, ACCESS_VIEWER, "List the versions of the configuration, newest first unless sort says otherwise", .on_worker = list, .query = &version_query_shape, .out = &version_shape, .is_page = true },
    { HTTP_GET,  "/sluice/v1/config/versions/{id}",          SURFACE_SLUICE, ACCESS_VIEWER, "Show what a version changed", .on_worker = get, .out = &whole_version_shape },
    { HTTP_GET,  "/sluice/v1/config/versions/{id}/diff",     SURFACE_SLUICE, ACCESS_VIEWER, "Compare two versions of the configuration", .on_worker = diff, .query = &diff_query_shape, .out = &diff_shape },
    { HTTP_POST, "/sluice/v1/config/versions/{id}/rollback", SURFACE_SLUICE, ACCESS_ADMIN,  "Go back to a version of the configuration", .on_worker = rollback, .out = &whole_version_shape, .is_create = true },
    {0},
};
/* clang-format on */
