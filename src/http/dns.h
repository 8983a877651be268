/* dns.h - host names to addresses, off the loop, remembered for a while. One a client. */
#ifndef HTTP_DNS_H
#define HTTP_DNS_H
#include "base/err.h"
#include "net/loop.h"
#include <netinet/in.h>

#define DNS_MAX_ADDRESSES 8
union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};
struct dns;
struct dns_wait {               /* intrusive: who waits for a name */
    struct dns_wait *next, **prev;
    /* n == 0: e says why. Families alternate (RFC 8305, 4). Valid during the call. */
    void (*fn)(struct dns_wait *w, const union address *a, unsigned n, const struct err *e);
};
struct dns *dns_new(struct loop *l, uint64_t ttl_ms);
void dns_free(struct dns *d);                                 /* nobody waits any more; may outlive the call until the loop ends */
/* Fills at most DNS_MAX_ADDRESSES when host is numeric or known (returns how many); else 0, and w is told later. */
unsigned dns_find(struct dns *d, struct str host, union address *out, struct dns_wait *w);
void dns_cancel(struct dns_wait *w);                          /* of one that does not wait: nothing */
void address_set_port(union address *a, uint16_t port);
#endif
