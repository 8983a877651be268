/* provider.c - requests whose path names the provider: /v1/providers/{provider}/chat/completions and its like. */
#include "domain/custom_kind.h"
#include "relay/request.h"

void relay_name_provider(struct relay *rl, struct str provider)
{
    rl->provider = provider;
}

/* A provider's entry, a pool, a kind that has one, or a kind of the operator's. */
static bool is_provider(const struct relay *rl, struct str name)
{
    const struct upstream **pool;
    return snapshot_upstream(rl->snap, name) || custom_kind_find(rl->snap, name) ||
           pool_find(rl->snap, rl->r->arena, name, &pool) > 0;
}

static bool is_same(const struct relay *rl, struct str one, struct str other)
{
    const struct custom_kind *a = custom_kind_find(rl->snap, one),
                             *b = custom_kind_find(rl->snap, other);
    const struct provider_kind *k = provider_kind_find(one);
    return str_eq(one, other) || (a && a == b) || (!a && !b && k && k == provider_kind_find(other));
}

/* A conversation says something: the shape of what it says is its format's matter. */
static bool has_content(const struct relay *rl, struct err *e)
{
    struct json_want want[] = {{.key = "messages"}, {.key = "input"}, {.key = "prompt"}};
    struct json_scan scan;
    if (rl->spec->op != OP_CHAT)
        return true;
    if (!json_scan_object(rl->body, want, ARRAY_LEN(want), (unsigned)rl->set->max_json_depth, &scan,
                          e))
        return false;
    return want[0].count || want[1].count || want[2].count ||
           err_field(e, "messages", "'messages', 'input' or 'prompt' is required");
}

bool relay_hold_to_provider(struct relay *rl, struct err *e)
{
    if (!rl->provider.n)
        return true;
    size_t slash = str_index(rl->model, '/');
    struct str head = str_first(rl->model, slash);
    if (!is_provider(rl, rl->provider))
        return err_field(e, "provider", "There is no provider '" STR_FMT "'",
                         STR_ARG(str_first(rl->provider, 100)));
    if (!has_content(rl, e))
        return false;
    if (slash < rl->model.n && is_same(rl, head, rl->provider))
        return true;
    /* a vendor's own ids may hold slashes: only another provider's name is a mistake */
    if (slash < rl->model.n && (is_provider(rl, head) || provider_kind_find(head)))
        return err_field(e, "model",
                         "'model' names the provider '" STR_FMT "', the path '" STR_FMT "'",
                         STR_ARG(str_first(head, 100)), STR_ARG(str_first(rl->provider, 100)));
    rl->model = str_fmt(rl->r->arena, STR_FMT "/" STR_FMT, STR_ARG(rl->provider),
                        STR_ARG(rl->model));
    return true;
}
