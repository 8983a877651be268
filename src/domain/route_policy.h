/* route_policy.h - what an operator says of requests before they are led anywhere: those of this model and this key are refused, or go to
 * another model. How file and store write them, and which one holds. */
#ifndef DOMAIN_ROUTE_POLICY_H
#define DOMAIN_ROUTE_POLICY_H
#include "domain/combo.h"

/* What a request is for: told by its words (route/task.h). TASK_BACKGROUND goes beside one of the others. */
enum task { TASK_ANY, TASK_BACKGROUND, TASK_CODING, TASK_CREATIVE, TASK_ANALYSIS, TASK_VISION, TASK_SUMMARIZATION, TASK_CHAT, TASKS };
extern const struct word task_words[];          /* "any", "background", … */
#define TASK_WORDS "background, coding, creative, analysis, vision, summarization or chat"
enum policy_action { POLICY_DENY, POLICY_ROUTE };
extern const struct word policy_action_words[]; /* "deny", "route" */
struct route_policy {
    struct str name, id;
    struct str model, key;      /* patterns of the name that is asked for, and an id; empty: any */
    int task;                   /* enum task */
    int action;                 /* enum policy_action */
    struct str target;          /* of POLICY_ROUTE: a model, provider/model or combo */
    int64_t priority;           /* the highest that fits counts; of equal ones the first by name */
    bool enabled;
    enum origin from;
};
/* The value of an entry of "policies". ERR_INPUT names the field. */
bool route_policy_read(struct arena *a, struct str name, yyjson_val *v, struct route_policy *out, struct err *e) MUST_USE;
/* Sorts them by the order of asking. */
void route_policies_sort(struct route_policy **v, size_t n);
/* Whether its task is looked for at all: settings background_degradation and task_routing. */
struct settings;
bool route_policy_is_on(const struct route_policy *p, const struct settings *set);
/* The one that holds for a request; NULL: none. list: of the snapshot, may be NULL. key: its id; empty: none. tasks: bits 1u << enum task. */
const struct route_policy *route_policy_for(const struct route_policy *const *list, struct str model, struct str key, uint32_t tasks);
#endif
