/* ipfilter.h - which addresses may come in: lists of ranges, and bans that expire. Ready to be asked: built with the snapshot, immutable. */
#ifndef GATE_IPFILTER_H
#define GATE_IPFILTER_H
#include "domain/snapshot.h"

/* Settings ip_filter, ip_allow and ip_deny, and the bans of the snapshot, into s->ip_filter; NULL there: nothing is filtered. The lists
 * were checked when they were set. */
void ip_filter_build(struct snapshot *s);
enum ip_verdict { IP_PASSES, IP_DENIED, IP_NOT_ALLOWED, IP_BANNED };
/* of a numeric address; one that cannot be read passes no allow list. now_ms: wall clock. until_ms: of a ban. */
enum ip_verdict ip_filter_ask(const struct ip_filter *f, struct str address, int64_t now_ms, int64_t *until_ms);
#endif
