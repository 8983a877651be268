/* cooling.h - upstreams that asked to be left alone, or fail: until when they stand back behind the others.
 * Shared by all loops: one atomic an upstream, no lock. */
#ifndef ROUTE_COOLING_H
#define ROUTE_COOLING_H
#include "domain/snapshot.h"
#include "route/taxonomy.h"

struct cooling;
struct cooling *cooling_new(void);
void cooling_free(struct cooling *c);
/* retry_after_ms < 0: unknown, a default by kind of fault is taken. now: monotonic. */
void cooling_report(struct cooling *c, uint32_t upstream_id, enum fault f, int64_t retry_after_ms, uint64_t now_ms);
void cooling_clear(struct cooling *c, uint32_t upstream_id); /* it answered */
uint64_t cooling_left_ms(const struct cooling *c, uint32_t upstream_id, uint64_t now_ms); /* 0: ready */
/* Candidates in the order to try: ready ones as configured, then cooling ones, nearest recovery first. out: n entries. */
void cooling_order(const struct cooling *c, const struct target *targets, size_t n, uint64_t now_ms, const struct target **out);
#endif
