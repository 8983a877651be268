/* metrics.h - what the surfaces' views of the metrics share. */
#ifndef API_METRICS_H
#define API_METRICS_H
#include "api/control.h"
#include "meter/exposition.h"
#include "net/ask.h"

bool metrics_gather(struct control_call *c, struct metrics_gauges *g, struct err *e) MUST_USE; /* asks the loops */
unsigned metrics_seconds(int64_t asked); /* the nearest of 1 … METRICS_SECONDS */
#endif
