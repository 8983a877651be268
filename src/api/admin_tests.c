/* admin_tests.c - /admin/api/internal-token: test requests through the gateway itself. */
#include "api/control.h"

struct token_out {
    struct str token;
};
static const struct shape token_shape = SHAPE(
    struct token_out,
    FIELD(struct token_out, token, 0, "Opens the data plane until the process ends"));

static bool internal_token(struct control_call *c, struct err *e)
{
    struct token_out out = {secret_reveal(c->control->internal_key)};
    if (out.token.n == 0)
        return err_set(e, ERR_INTERNAL, "no_internal_token", "No internal token available");
    return control_reply(c, 200, &token_shape, &out);
}

/* clang-format off */
const struct endpoint admin_test_endpoints[] = {
    { HTTP_GET, "/admin/api/internal-token", SURFACE_ROSETTA, ACCESS_MEMBER, "Give the panel its token for test requests", .on_worker = internal_token, .out = &token_shape },
    {0},
};
/* clang-format on */
