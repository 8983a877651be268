/* proxy.h - outbound proxies that have a name: how file and store write them, and who goes through which. A provider's member `proxy` and the
 * setting `proxy` hold an address, or the name of one of these. */
#ifndef DOMAIN_PROXY_H
#define DOMAIN_PROXY_H
#include "domain/snapshot.h"

struct proxy {
    struct str name, id;
    struct str url;           /* http, https, socks5 or socks5h, with credentials if need be: a secret then */
    struct str region, notes; /* for people */
    struct strs kinds;        /* providers of these go through it unless they say otherwise */
    enum origin from;
};
bool proxy_is_name(struct str said);          /* no address: it names one of "proxies" */
bool proxy_unknown(struct str said, struct err *e);    /* false: the refusal of a name that leads nowhere */
bool proxy_check_url(struct arena *a, struct str url, struct err *e) MUST_USE;
/* What a member or setting `proxy` says: nothing, an address, what may be a name, or text with ${…}. ERR_INPUT of "proxy", which repeats nothing
 * of it: it may be a secret. */
bool proxy_check(struct arena *a, struct str said, struct err *e) MUST_USE;
/* The same, and that a name is one of s's: what a form asks. A change looks into the file and the store it is about to write. */
bool proxy_known(struct arena *a, const struct snapshot *s, struct str said, struct err *e) MUST_USE;
/* The value of an entry of "proxies". ERR_INPUT names the field. An address with ${…} in it is for proxy_check_url() once that is filled in. */
bool proxy_read(struct arena *a, struct str name, yyjson_val *v, struct proxy *out, struct err *e) MUST_USE;
const struct proxy *proxy_find(const struct snapshot *s, struct str name);     /* NULL: there is none */
const struct proxy *proxy_of_kind(const struct snapshot *s, const struct upstream *u); /* that of u's kind or pool; NULL: none */
#endif
