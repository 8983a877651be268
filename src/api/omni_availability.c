/* omni_availability.c - /api/models/availability: what stands back behind the others at the moment, and letting it try again. */
#include "api/omni.h"
#include "base/clock.h"
#include "route/live.h"

struct cooling_out {
    struct str provider, model, reason;
    int64_t remaining_ms;
    struct str since, connection;
};
struct availability_out {
    int64_t n;
    struct shape_list models;
};
struct again_in {
    struct str provider, model;
};
struct again_out {
    bool success, removed;
};
/* clang-format off */
static const struct shape cooling_shape = SHAPE(struct cooling_out,
    FIELD(struct cooling_out, provider, 0, "Its kind or node"),
    FIELD(struct cooling_out, model, 0, "The provider's id of it; *: every model"),
    FIELD(struct cooling_out, reason, 0, "What it failed with"),
    FIELD_AS(struct cooling_out, remaining_ms, "remainingMs", NULL, 0, "Until it is tried again"),
    FIELD_AS(struct cooling_out, since, "unavailableSince", NULL, 0, "When it failed last"),
    FIELD_AS(struct cooling_out, connection, "connectionId", NULL, 0, "The connection"));
static const struct shape availability_shape = SHAPE(struct availability_out,
    FIELD_AS(struct availability_out, n, "unavailableCount", NULL, 0, "How many there are"),
    FIELD_LIST(struct availability_out, models, &cooling_shape, 0, "One for each connection and model that stands back"));
static const struct shape again_in_shape = SHAPE(struct again_in,
    FIELD_TEXT(struct again_in, provider, 0, 120, TRIM, "Whose; absent: everybody's"),
    FIELD_TEXT(struct again_in, model, 0, 200, TRIM, "The provider's id of it; absent: all"));
static const struct shape again_shape = SHAPE(struct again_out,
    FIELD(struct again_out, success, 0, "true"),
    FIELD(struct again_out, removed, 0, "Whether anything stood back"));
/* clang-format on */

static bool list(struct control_call *c, struct err *e)
{
    struct breaker_info *all;
    struct live *live = relay_live_state(c->control->shared);
    size_t n = live_breakers(live, c->snap, c->arena, clock_mono_ms(), &all);
    struct cooling_out *v = ARENA_ARRAY(c->arena, struct cooling_out, n + 1);
    struct availability_out out = {.models = {v, 0}};
    (void)e;
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = all[i].upstream;
        if (all[i].state == BREAKER_CLOSED)
            continue;
        v[out.n++] = (struct cooling_out){
            .provider = omni_provider_of(u),
            .model = all[i].model[0] ? str_dup(c->arena, str_of(all[i].model)) : STR("*"),
            .reason = str_of(fault_name(all[i].fault)),
            .remaining_ms = (int64_t)all[i].wait_ms,
            .since = omni_time(c->arena, clock_wall_ms() - (int64_t)all[i].age_ms),
            .connection = u->uid};
    }
    out.models.n = (size_t)out.n;
    return control_reply(c, 200, &availability_shape, &out);
}

static bool again(struct control_call *c, struct err *e)
{
    const struct again_in *in = c->in;
    struct live *live = relay_live_state(c->control->shared);
    struct str model = in->model.n ? in->model : STR_NONE;
    size_t n = 0;
    (void)e;
    if (!in->provider.n)
        n = live_reset(live, UINT32_MAX, model, clock_mono_ms());
    for (size_t i = 0; in->provider.n && i < c->snap->n_upstreams; i++)
        if (omni_is_of(c->snap, c->snap->upstreams[i], in->provider))
            n += live_reset(live, c->snap->upstreams[i]->id, model, clock_mono_ms());
    struct again_out out = {true, n > 0};
    control_audit(c, "availability", in->provider.n ? in->provider : STR("*"), STR_NONE, STR_NONE);
    return control_reply(c, 200, &again_shape, &out);
}

/* clang-format off */
const struct endpoint omni_availability_endpoints[] = {
    { HTTP_GET,  "/api/models/availability", SURFACE_OMNIROUTE, ACCESS_VIEWER, "List the models that are cooling down", .on_worker = list, .out = &availability_shape },
    { HTTP_POST, "/api/models/availability", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Let models that are cooling down try again", .on_worker = again, .in = &again_in_shape, .out = &again_shape, .body_is_optional = true },
    {0},
};
/* clang-format on */
