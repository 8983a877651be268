/* metrics.h - what the surfaces' views of the metrics share. */
#ifndef API_METRICS_H
#define API_METRICS_H
#include "api/control.h"
#include "meter/exposition.h"
#include "net/ask.h"

bool metrics_gather(struct control_call *c, struct metrics_gauges *g, struct err *e) MUST_USE; /* asks the loops */
/* The whole view, for an export; in the arena. with_loops: they still run, and are asked. */
bool metrics_view(const struct control *k, const struct snapshot *s, struct arena *a, bool with_loops, struct metrics_view *v) MUST_USE;
/* The requests being served on all loops, longest first; copied. */
bool metrics_live(struct control_call *c, struct relay_info **out, size_t *n, struct err *e) MUST_USE;
unsigned metrics_seconds(int64_t asked); /* the nearest of 1 … METRICS_SECONDS */
#endif
