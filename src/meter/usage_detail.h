/* usage_detail.h - what a request has to say beyond its record, as the store keeps it: compact JSON, only of requests that failed, were
 * tried more than once, lost something on the way, or are logged with more than their figures. */
#ifndef METER_USAGE_DETAIL_H
#define METER_USAGE_DETAIL_H
#include "json/shape.h"

struct usage_attempt {
    struct str upstream, model;
    struct str reason;          /* "hedge": asked beside the one before; empty: in its turn */
    int32_t status;             /* the upstream's; 0: none came */
    struct str fault;           /* fault_name(); empty: it answered */
    struct str code, message;   /* of the error */
    int64_t at_us, duration_us; /* from the start of the request */
};
struct usage_detail {           /* empty: nothing to say of it */
    struct shape_list attempts; /* struct usage_attempt */
    struct strs dropped;        /* what the target could not be told */
    struct str error;           /* the upstream's words, or ours */
    struct str trace;           /* W3C trace id */
    struct str client, agent;   /* address and User-Agent, where they are logged */
    struct str path;            /* that was called, where bodies are kept: a replay needs it */
    struct str cache;           /* how it was answered without an upstream: hit, joined, semantic, idempotent */
    struct str via;             /* the proxy it took: "provider http://host:8080", "global …"; empty: none */
    struct str policy, task;    /* of the operator's, which led it elsewhere, and what it was for; empty: none */
    struct str route;           /* JSON: what there was to choose from, and why: route/explain.h */
    struct str body;            /* where the bodies are */
    int64_t hedge_nanousd;      /* cost of the attempt that was cancelled beside another: a ledger line of its own */
    int64_t ended_ms;           /* when seq does not say it, since the clock jumped */
};
extern const struct shape usage_attempt_shape;
void usage_detail_write(const struct usage_detail *d, struct buf *b);
/* Text that is empty or makes no sense gives an empty detail. */
void usage_detail_read(struct arena *a, struct str text, struct usage_detail *out);
#endif
