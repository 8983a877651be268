#include "gate/admit.h"

static uint32_t scope_of(enum access a)
{
    switch (a) {
    case ACCESS_PUBLIC:
        return 0;
    case ACCESS_INFERENCE:
        return SCOPE_INFERENCE;
    case ACCESS_MODELS:
        return SCOPE_MODELS;
    case ACCESS_VIEWER:
    case ACCESS_MEMBER:
    case ACCESS_ADMIN:
    case ACCESS_OWNER:
        return SCOPE_ADMIN;
    }
    return SCOPE_ADMIN;
}

bool gate_admit(const struct snapshot *s, const struct http_req *r, const char *native,
                enum access a, int64_t now_ms, struct principal *out, struct err *e)
{
    struct pass pass = {NULL};
    *out = (struct principal){.kind = PRINCIPAL_ANONYMOUS};
    if (a == ACCESS_PUBLIC)
        return true;
    if (!auth_admit(s, r, native, scope_of(a), now_ms, &pass, e)) {
        /* who may infer may see what there is to infer with */
        if (a != ACCESS_MODELS || !auth_admit(s, r, native, SCOPE_INFERENCE, now_ms, &pass, NULL))
            return false;
        err_clear(e);
    }
    *out = principal_of_key(pass.key);
    if (access_is_control(a) && !principal_may(out, a))
        return err_set(e, ERR_FORBIDDEN, "insufficient_role", "This takes the role %s",
                       access_name(a));
    return true;
}
