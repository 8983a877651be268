/* find.h - where a request of somebody's would go: the same for an explanation as for a request. */
#ifndef RELAY_FIND_H
#define RELAY_FIND_H
#include "relay/relay.h"
#include "route/choose.h"

struct asker {                /* what of a request decides where it goes, beside the model's name */
    const struct key *key;    /* NULL: none */
    struct str session;       /* that its client names; empty: none */
    struct str body;          /* JSON; empty: not known */
    bool is_embedding;
    uint32_t tasks;           /* what it is for: route/task.h */
};
struct found {
    const struct model *model;
    const struct route_policy *policy; /* that spoke of it; NULL: none */
    struct str name;          /* without the mark of a long context */
    bool is_extended;         /* it had one */
};
/* What the name leads to for this caller, by policies and by what its key may use. */
bool relay_find_model(const struct snapshot *s, struct arena *a, struct str name, const struct asker *by, struct found *out,
                      struct err *e) MUST_USE;
/* What the next request of theirs would choose by, but for the time. */
void relay_choose_ask(const struct relay_shared *s, const struct snapshot *snap, const struct model *m, const struct asker *by,
                      struct choose_ask *out);
/* Which of the plan have no room for such a request, by their limits, and until when. max_output: tokens that it lets come back; 0: not said. */
void relay_mark_limited(const struct snapshot *s, const struct asker *by, int64_t max_output, uint64_t now_ms, struct plan *plan);
#endif
