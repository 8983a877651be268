/* omni_proxy.h - a proxy in its parts, as OmniRoute's surface has it, for its levels and its list. */
#ifndef API_OMNI_PROXY_H
#define API_OMNI_PROXY_H
#include "api/omni.h"
#include "domain/proxy.h"

struct omni_proxy {
    struct str type, host;
    int64_t port;
    struct str username, password;
    bool has_password;
};
bool omni_proxy_part(struct arena *a, struct str url, struct omni_proxy *out); /* without its password. false: it is none */
/* The address of one; ERR_INPUT names type or host. */
bool omni_proxy_address(struct arena *a, const struct omni_proxy *p, struct str *out, struct err *e) MUST_USE;
/* The same proxy, given back as it was shown, which is without its password. */
bool omni_proxy_is_shown(struct arena *a, struct str was, struct str is);
/* The proxy that an entry has of its own: an address or a name, as it is written; STR_NONE: none. view: change_view */
struct str omni_proxy_said(yyjson_val *view, const struct upstream *u);
const struct proxy *omni_proxy_find(const struct snapshot *s, struct str id); /* NULL: there is none of this id */
bool omni_proxy_inside(struct err *e, const char *of);        /* e.field is a member of `of`; false */

enum omni_level { OMNI_GLOBAL, OMNI_PROVIDER, OMNI_ACCOUNT }; /* who goes through a proxy */
struct omni_level_names {     /* of the members that say it, for messages */
    const char *level, *id;
    const char *last;         /* how they call OMNI_ACCOUNT */
    const char *here;         /* where the id is required */
};
/* Which level a word means; all but the global one need an id. ERR_INPUT names the member. */
bool omni_level_of(const struct omni_level_names *n, struct str text, struct str id, int *out, struct err *e) MUST_USE;
#endif
