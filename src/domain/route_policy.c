#include "domain/route_policy.h"
#include "domain/snapshot.h"
#include <stdlib.h>

const struct word policy_action_words[] = {{"deny", POLICY_DENY}, {"route", POLICY_ROUTE}, {0}};

const struct word task_words[] = {{"any", TASK_ANY},
                                  {"background", TASK_BACKGROUND},
                                  {"coding", TASK_CODING},
                                  {"creative", TASK_CREATIVE},
                                  {"analysis", TASK_ANALYSIS},
                                  {"vision", TASK_VISION},
                                  {"summarization", TASK_SUMMARIZATION},
                                  {"chat", TASK_CHAT},
                                  {0}};

static const struct shape policy_shape = SHAPE(
    struct route_policy, FIELD(struct route_policy, id, 0, "Name for machines"),
    FIELD(struct route_policy, model, 0, "Name that is asked for; * is any text; empty: any"),
    FIELD(struct route_policy, key, 0, "Id of the client key; empty: any"),
    FIELD_ENUM(struct route_policy, task, task_words, 0,
               "What the request is for; any when absent"),
    FIELD_ENUM(struct route_policy, action, policy_action_words, REQUIRED, "What is done"),
    FIELD(struct route_policy, target, 0, "Of route: where it goes instead"),
    FIELD_RANGE(struct route_policy, priority, -1000000, 1000000, 0, "The highest counts"),
    FIELD(struct route_policy, enabled, 0, "Whether it counts"));

bool route_policy_read(struct arena *a, struct str name, yyjson_val *v, struct route_policy *out,
                       struct err *e)
{
    *out = (struct route_policy){.name = name, .enabled = true};
    if (!yyjson_is_obj(v))
        return err_field(e, "", "a policy must be an object with 'action'");
    if (!shape_read(&policy_shape, a, v, out, NULL, e))
        return false;
    if (out->action == POLICY_ROUTE && !out->target.n)
        return err_field(e, "target", "'target' is required: where requests go instead");
    if (out->action == POLICY_DENY && out->target.n)
        return err_field(e, "target", "'target' is of action route alone");
    if (!out->id.n) /* as a combo's: the same for the same name */
        out->id = str_fmt(a, "policy_" STR_FMT, STR_ARG(str_skip(combo_id(a, name), 6)));
    return true;
}

static int in_order(const void *x, const void *y)
{
    const struct route_policy *a = *(struct route_policy *const *)x,
                              *b = *(struct route_policy *const *)y;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
    int order = n ? memcmp(a->name.p, b->name.p, n) : 0;
    return order ? order : (a->name.n > b->name.n) - (a->name.n < b->name.n);
}

void route_policies_sort(struct route_policy **v, size_t n)
{
    if (n)
        qsort(v, n, sizeof(struct route_policy *), in_order);
}

bool route_policy_is_on(const struct route_policy *p, const struct settings *set)
{
    bool degrades = p->task == TASK_BACKGROUND && p->model.n;
    return p->task == TASK_ANY || (degrades ? set->background_degradation : set->task_routing);
}

const struct route_policy *route_policy_for(const struct route_policy *const *list,
                                            struct str model, struct str key, uint32_t tasks)
{
    for (; list && *list; list++)
        if ((!(*list)->model.n || name_fits((*list)->model, model)) &&
            (!(*list)->key.n || str_eq((*list)->key, key)) &&
            ((*list)->task == TASK_ANY || tasks >> (*list)->task & 1))
            return *list;
    return NULL;
}
