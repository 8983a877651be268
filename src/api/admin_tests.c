/* admin_tests.c - /admin/api/test: test requests through the gateway itself, and the token that they are made with. */
#include "api/control.h"
#include "api/test_tasks.h"
#include "base/clock.h"
#include "json/shape_json.h"

struct token_out {
    struct str token;
};
struct test_in {
    struct str endpoint;
    yyjson_val *payload;
};
struct started_out {
    struct str task_id;
};
struct state_out {
    struct str status;
    int64_t status_code;
    yyjson_val *body;
    struct str error;
};
struct done_out {
    bool ok;
};

/* clang-format off */
static const struct shape token_shape = SHAPE(struct token_out,
    FIELD(struct token_out, token, 0, "Opens the data plane until the process ends"));
static const struct shape test_in_shape = SHAPE(struct test_in,
    FIELD(struct test_in, endpoint, 0, "Path of the data plane, under /v1 or /v1beta"),
    FIELD_JSON(struct test_in, payload, 0, &json_of_object, 0, "Body to send there: an object"));
static const struct shape started_shape = SHAPE(struct started_out,
    FIELD(struct started_out, task_id, 0, "To ask after it with"));
static const struct shape state_shape = SHAPE(struct state_out,
    FIELD(struct state_out, status,      0, "pending, done, error or cancelled"),
    FIELD(struct state_out, status_code, OMIT_EMPTY, "HTTP status of the answer, when done"),
    FIELD(struct state_out, body,        OMIT_EMPTY, "The answer: JSON, or its text"),
    FIELD(struct state_out, error,       OMIT_EMPTY, "Why there is no answer"));
static const struct shape done_shape = SHAPE(struct done_out,
    FIELD(struct done_out, ok, 0, "true"));
/* clang-format on */

static bool internal_token(struct control_call *c, struct err *e)
{
    struct token_out out = {secret_reveal(c->control->internal_key)};
    if (out.token.n == 0)
        return err_set(e, ERR_INTERNAL, "no_internal_token", "No internal token available");
    return control_reply(c, 200, &token_shape, &out);
}

/* A path of the data plane, spelled plainly: nothing that a client or a server could read in two ways. */
static bool is_data_plane(struct str path)
{
    struct str rest = path, segment;
    if (!str_starts(path, STR("/v1/")) && !str_starts(path, STR("/v1beta/")))
        return false;
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || (unsigned char)path.p[i] >= 127 ||
            path.p[i] == '\\' || path.p[i] == '#')
            return false;
    (void)str_cut(path, '?', &rest);
    while (rest.n) {
        rest = str_cut(rest, '/', &segment);
        if (str_is(segment, "..") || str_is(segment, ".") || str_contains(segment, STR("%2e")) ||
            str_contains(segment, STR("%2E")))
            return false;
    }
    return true;
}

/* It costs what a request costs: of which model is in the audit log. */
static void note_start(struct control_call *c, const struct test_in *in, const char *id)
{
    struct buf b;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "endpoint", in->endpoint);
    jw_kv_cstr(&w, "task_id", id);
    jw_object_end(&w);
    control_audit(c, "test", json_get_str(in->payload, "model"), STR_NONE, buf_str(&b));
}

static bool start(struct control_call *c, struct err *e)
{
    const struct test_in *in = c->in;
    char id[TEST_TASK_ID + 1];
    if (in->endpoint.n == 0 || !yyjson_is_obj(in->payload))
        return err_set(e, ERR_INPUT, "missing_field", "Missing endpoint or payload");
    if (!is_data_plane(in->endpoint))
        return err_field(e, "endpoint", "'endpoint' must be a path under /v1/ or /v1beta/");
    if (!c->control->tests)
        return err_set(e, ERR_INTERNAL, "no_internal_token", "No internal token available");
    const struct test_bounds max = {c->snap->settings.model_tests_max,
                                    c->snap->settings.model_tests_max_bytes};
    if (!test_tasks_start(c->control->tests, &max, in->endpoint, json_text(c->arena, in->payload),
                          clock_mono_ms(), id, e))
        return false;
    note_start(c, in, id);
    struct started_out out = {str_of(id)};
    return control_reply(c, 200, &started_shape, &out);
}

static bool no_task(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "not_found", "Task not found");
}

/* JSON as it is, anything else as a string. */
static yyjson_val *body_of(struct arena *a, struct str body, bool *ok)
{
    yyjson_val *v = NULL;
    struct buf b;
    *ok = true;
    if (json_parse(a, body, 0, &v, NULL))
        return v;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_str(&w, body);
    *ok = json_parse(a, buf_str(&b), 0, &v, NULL);
    return v;
}

static bool show(struct control_call *c, struct err *e)
{
    static const char *const names[] = {"pending", "done", "error", "cancelled"};
    struct test_view v;
    bool ok = true;
    if (!c->control->tests ||
        !test_tasks_view(c->control->tests, c->arena, route_param(&c->params, "task_id"), &v))
        return no_task(e);
    struct state_out out = {.status = str_of(names[v.state]),
                            .status_code = v.status,
                            .body = v.state == TEST_DONE ? body_of(c->arena, v.body, &ok) : NULL,
                            .error = v.error};
    return ok ? control_reply(c, 200, &state_shape, &out)
              : err_set(e, ERR_INTERNAL, "answer_unreadable", "The answer cannot be shown");
}

static bool cancel(struct control_call *c, struct err *e)
{
    struct done_out out = {true};
    if (!c->control->tests ||
        !test_tasks_cancel(c->control->tests, route_param(&c->params, "task_id")))
        return no_task(e);
    return control_reply(c, 200, &done_shape, &out);
}

/* clang-format off */
const struct endpoint admin_test_endpoints[] = {
    { HTTP_GET,    "/admin/api/internal-token",      SURFACE_ROSETTA, ACCESS_MEMBER, "Give the panel its token for test requests", .on_worker = internal_token, .out = &token_shape, .leaves_trail = true },
    { HTTP_POST,   "/admin/api/test",                SURFACE_ROSETTA, ACCESS_MEMBER, "Start a test request through the gateway", .on_worker = start, .in = &test_in_shape, .out = &started_shape, .bad_json = "Invalid JSON", .is_create = true },
    { HTTP_GET,    "/admin/api/test/{task_id}",      SURFACE_ROSETTA, ACCESS_MEMBER, "Show the state of a test request", .on_worker = show, .out = &state_shape, .cache_control = "no-store" },
    { HTTP_POST,   "/admin/api/test/{task_id}/poll", SURFACE_ROSETTA, ACCESS_MEMBER, "Show the state of a test request past caching proxies", .on_worker = show, .out = &state_shape, .changes_nothing = true, .cache_control = "no-store" },
    { HTTP_DELETE, "/admin/api/test/{task_id}",      SURFACE_ROSETTA, ACCESS_MEMBER, "Cancel a test request", .on_worker = cancel, .out = &done_shape },
    {0},
};
/* clang-format on */
