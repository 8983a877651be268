/* choose.h - from a model or combo to the targets in the order of trying, and why. Pure: the configuration, what is known of upstreams, time
 * and random numbers are arguments. Nothing is counted but a combo's place in its round, and that only when is_real says so. */
#ifndef ROUTE_CHOOSE_H
#define ROUTE_CHOOSE_H
#include "route/live.h"

struct choose_ask {
    const struct model *model;  /* what the name led to */
    const struct settings *set;
    uint64_t now_ms, seed;
    uint64_t sticky;            /* what keeps together; 0: nothing */
    uint32_t wants;             /* enum capability bits that the request asks for */
    bool is_real;               /* a request, not an explanation */
    const struct str *down;     /* what if these upstreams were down */
    size_t n_down;
    const struct str *excluded; /* or were not there */
    size_t n_excluded;
    const struct strs *only;    /* all others are excluded; NULL: none is for that */
    /* Nano-dollars of a million input tokens; < 0: unknown. NULL: nobody knows prices but the configuration */
    int64_t (*price)(const struct target *t);
};
struct candidate {
    const struct target *target;
    const struct combo *by;     /* whose member it is */
    struct standing standing;
    bool is_down, is_excluded;  /* as asked: never tried */
    double score;               /* of its strategy: what it was ordered by */
    int64_t price_nanousd;      /* of a million input tokens; -1: unknown */
    const struct combo *hedge;  /* that says how long it may be silent: its own, or that of the combo it is opened in */
    uint64_t hedge_after_ms;    /* then the next one is asked beside it; 0: never */
    const char *why;            /* a literal: its place among the others */
    bool is_limited;            /* relay_mark_limited(): its limits have no room, and it is passed by */
    int64_t room_ms;            /* until they have; -1: not known */
};
struct plan {
    struct candidate *v;        /* first those that can be tried, in order; then those that cool, nearest recovery first; then the others */
    size_t n;
    size_t n_ready;             /* of the first */
    uint64_t wait_ms;           /* until the nearest recovery when none is ready */
    enum strategy strategy;
    bool is_pinned;             /* the first one is where this conversation was before */
};
/* The model has a group. */
void choose(struct arena *a, struct live *l, const struct choose_ask *ask, struct plan *out);
#endif
