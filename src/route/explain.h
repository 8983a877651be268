/* explain.h - a choice in words: the same for a request that was and for one that might be. */
#ifndef ROUTE_EXPLAIN_H
#define ROUTE_EXPLAIN_H
#include "json/json.h"
#include "route/choose.h"

/* {"model","kind","strategy","is_pinned","wait_ms","candidates":[…]}. left: of each, why it was left, may be NULL or hold NULLs. chosen: who
 * answered, or would be asked first; NULL: nobody. */
void explain_write(struct jw *w, const struct model *m, const struct plan *p, const char *const *left, const struct target *chosen);
const char *standing_text(const struct candidate *k); /* "ready", "probe", "strained", "limited", "cooling", "down", "excluded" */
int64_t route_price(const struct target *t);          /* nano-dollars of a million input tokens, as the price list knows; -1 unknown */
#endif
