/* task.h - what a request is for, told by its words: enum task of domain/route_policy.h. Pure, and the same for every format of clients. */
#ifndef ROUTE_TASK_H
#define ROUTE_TASK_H
#include "domain/route_policy.h"
#include "json/json.h"

struct task_ask {
    yyjson_val *body;         /* as the client sent it; NULL: nothing can be told by its words */
    bool is_marked;           /* a header says that it is work in the background */
    int64_t max_output;       /* tokens that it lets come back; -1: it does not say */
    struct str phrases;       /* of system prompts of background tasks: "a|b|c", in any case of letters */
};
/* Bits 1u << enum task: one of coding … chat, and background beside it or alone. */
uint32_t tasks_of(const struct task_ask *ask);
int64_t task_max_output(yyjson_val *body);    /* what a body of any format says of it; -1: nothing */
enum task task_foremost(uint32_t tasks);      /* the one to name: background before the others */
#endif
