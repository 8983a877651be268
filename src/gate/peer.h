/* peer.h - where a request comes from: the client's address and scheme behind trusted proxies, and whether a page of ours sent it.
 * What a header says is believed only when a trusted proxy (setting trusted_proxies) put it there. */
#ifndef GATE_PEER_H
#define GATE_PEER_H
#include "http/server.h"

/* The first address from the right of X-Forwarded-For that is no trusted proxy; the connection's own when that is not one. */
struct str peer_address(const struct http_req *r, struct str trusted_proxies);
bool peer_is_https(const struct http_req *r, struct str trusted_proxies);
/* Whether the browser says that a page of this origin sent it: Sec-Fetch-Site, else Origin against Host. false without either. */
bool peer_is_same_origin(const struct http_req *r, struct str trusted_proxies);
/* Whether the browser says that a page of another origin sent it. Both are false for programs. */
bool peer_is_cross_origin(const struct http_req *r, struct str trusted_proxies);
/* A program or page of this very machine, not one that something forwarded for: loopback on both ends, a loopback name in Host. */
bool peer_is_local(const struct http_req *r);
/* What failures are counted by: the address, of IPv6 its /64. In the arena. */
struct str peer_group(struct arena *a, struct str address);
struct str peer_cookie(const struct http_req *r, struct str name); /* STR_NONE: none */
#endif
