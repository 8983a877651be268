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
#endif
