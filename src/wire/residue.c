#include "wire/residue.h"

static bool parts_marked(const struct ir_parts *parts)
{
    for (const struct ir_part *p = parts->first; p; p = p->next)
        if (p->cache.is_set || (p->kind == IR_TOOL_RESULT && parts_marked(&p->content)))
            return true;
    return false;
}

static bool has_cache_marks(const struct ir_request *r)
{
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        if (t->cache.is_set)
            return true;
    for (const struct ir_system *s = r->system; s; s = s->next)
        if (s->cache.is_set)
            return true;
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        if (parts_marked(&m->parts))
            return true;
    return false;
}

static bool has_names(const struct ir_request *r)
{
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        if (m->name.n)
            return true;
    return false;
}

static bool has_strict_tools(const struct ir_request *r)
{
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        if (t->has_strict && t->strict)
            return true;
    return false;
}

void wire_drop_lost(struct wire_ctx *c, const struct ir_request *r, const char *const *fields)
{
    const struct {
        const char *name;
        bool is_set;
    } rows[] = {
        {"frequency_penalty", r->frequency_penalty},
        {"presence_penalty", r->presence_penalty},
        {"logit_bias", r->logit_bias},
        {"seed", r->seed},
        {"min_p", r->min_p},
        {"logprobs", r->has_logprobs ? r->logprobs : r->top_logprobs >= 0},
        {"truncation", r->truncation.n},
        {"verbosity", r->verbosity.n},
        {"prompt_cache_key", r->cache_key.n},
        {"prompt_cache_retention", r->cache_retention.n},
        {"cachedContent", r->cached_content.n},
        {"safetySettings", r->safety},
        {"modalities", r->modalities},
        {"audio", r->audio},
        {"user", r->user.n},
        {"metadata", r->metadata},
        {"service_tier", r->service_tier.n},
        {"parallel_tool_calls", r->has_disable_parallel && r->disable_parallel},
        {"max_tool_calls", r->max_tool_calls >= 0},
        {"store", r->has_store && r->store},
        {"cache_control", has_cache_marks(r)},
        {"messages.name", has_names(r)},
        {"tools.strict", has_strict_tools(r)},
    };
    bool has_any = false;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        has_any |= rows[i].is_set;
    if (!has_any)
        return;
    for (; *fields; fields++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            if (rows[i].is_set && strcmp(*fields, rows[i].name) == 0)
                wire_drop(c, "the format has no place for it", "%s", rows[i].name);
}
