#include "api/admin.h"
#include "api/change.h"

struct str admin_mask(struct arena *a, struct str text)
{
    return text.n ? secret_mask(a, secret_of(text)) : STR("***");
}

bool admin_may_reveal(struct control_call *c, struct err *e)
{
    return c->snap->settings.credential_visible ||
           err_set(e, ERR_FORBIDDEN, "credentials_hidden", "Credential visibility is disabled");
}

bool admin_view(struct control_call *c, yyjson_val **root, struct err *e)
{
    struct err why = ERR_INIT;
    return change_view(c, root, &why) ||
           err_set(e, ERR_INTERNAL, "config_unreadable", "Failed to read config: %s", why.message);
}

yyjson_val *admin_member(yyjson_val *object, struct str name)
{
    return name.n ? yyjson_obj_getn(object, name.p, name.n) : NULL;
}
