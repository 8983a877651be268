#include "api/endpoint.h"
#include "base/map.h"
#include <stdlib.h>

/* clang-format off */
extern const struct endpoint omni_setting_endpoints[], omni_budget_endpoints[];
extern const struct endpoint omni_combo_endpoints[], omni_figure_endpoints[], omni_way_endpoints[], omni_pricing_endpoints[], omni_resilience_endpoints[], policy_endpoints[], omni_proxy_endpoints[], omni_proxies_endpoints[], proxy_endpoints[], omni_task_endpoints[], omni_export_endpoints[], omni_catalog_endpoints[], omni_registered_endpoints[];
static const struct endpoint *const tables[] = {
    inference_endpoints,
    model_endpoints,
    system_endpoints,
    dashboard_endpoints,
    control_endpoints,
    provider_endpoints,
    served_model_endpoints, combo_endpoints, route_endpoints, problem_endpoints,
    key_endpoints,
    org_endpoints,
    limit_endpoints,
    filter_endpoints,
    setting_endpoints, config_version_endpoints,
    audit_endpoints,
    session_endpoints,
    operator_endpoints,
    price_endpoints, budget_endpoints, ledger_endpoints, reconcile_endpoints,
    request_endpoints, tail_endpoints, cache_endpoints,
    metric_endpoints,
    omni_connection_endpoints,
    omni_node_endpoints,
    omni_key_endpoints,
    omni_registered_endpoints,
    omni_model_endpoints,
    omni_availability_endpoints, omni_combo_endpoints, omni_figure_endpoints, omni_way_endpoints, omni_pricing_endpoints, omni_resilience_endpoints, policy_endpoints, omni_proxy_endpoints, omni_proxies_endpoints, proxy_endpoints, omni_task_endpoints, omni_export_endpoints, omni_catalog_endpoints,
    admin_config_endpoints,
    admin_key_endpoints,
    admin_metric_endpoints,
    admin_network_endpoints,
    admin_test_endpoints,
    omni_usage_endpoints, omni_log_endpoints, omni_system_endpoints, omni_backup_endpoints,
    omni_setting_endpoints, omni_budget_endpoints,
};
/* clang-format on */

const struct endpoint *endpoint_at(size_t i)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (const struct endpoint *e = tables[t]; e->path; e++)
            if (i-- == 0)
                return e;
    return NULL;
}

size_t endpoint_index(const struct endpoint *wanted)
{
    size_t i = 0;
    for (const struct endpoint *e; (e = endpoint_at(i)) != NULL && e != wanted;)
        i++;
    return i;
}

/* Not where a password is in the body and the answer is a session. */
bool endpoint_is_repeatable(const struct endpoint *e)
{
    return e->on_worker && e->method == HTTP_POST && (e->status == 201 || e->is_create) &&
           (!e->takes_password || e->is_create);
}

bool endpoint_is_audited(const struct endpoint *e)
{
    bool changes = e->method == HTTP_GET ? e->leaves_trail : !e->changes_nothing;
    return changes && e->on_worker && (e->access == ACCESS_PUBLIC || access_is_control(e->access));
}

/* Order matters: the first that fits is taken, then the result is looked at again. */
const struct path_alias path_aliases[] = {
    {"/api/v1/v1/", "/v1/"},
    {"/api/v1beta/", "/v1beta/"},
    {"/api/v1/", "/v1/"},
    {"/v1/v1/", "/v1/"},
    {"/v1/v1beta/", "/v1beta/"},
    {"/v1/api/", "/api/"},
    {"/openai/v1/", "/v1/"},
    {"/openai/", "/v1/"},
    {"/anthropic/v1/", "/v1/"},
    {"/anthropic/v1beta/", "/v1beta/"},
    {"/genai/v1beta/", "/v1beta/"},
    {"/genai/v1/", "/v1/"},
    {"/codex/", "/v1/responses", .drops_rest = true},
    {"/responses/", "/v1/responses/"},
    {"/chat/completions", "/v1/chat/completions", .is_exact = true},
    {"/responses", "/v1/responses", .is_exact = true},
    {"/models", "/v1/models", .is_exact = true},
    {"/api/v1", "/v1/models", .is_exact = true},
    {"/v1/v1", "/v1/models", .is_exact = true},
    {"/v1", "/v1/models", .is_exact = true},
    {NULL, NULL},
};

struct str path_canonical(struct arena *a, struct str path)
{
    /* aliases of aliases: /api/v1/v1/chat/completions */
    for (unsigned round = 0; round < 4; round++) {
        const struct path_alias *al = path_aliases;
        for (; al->prefix; al++) {
            if (path.n < 2 || al->prefix[1] != path.p[1])
                continue;
            struct str prefix = str_of(al->prefix);
            if (al->is_exact ? str_eq(path, prefix) : str_starts(path, prefix) && path.n > prefix.n)
                break;
        }
        if (!al->prefix)
            return path;
        struct str rest = al->drops_rest || al->is_exact ? STR_NONE
                                                         : str_skip(path, strlen(al->prefix));
        path = str_fmt(a, "%s" STR_FMT, al->to, STR_ARG(rest));
    }
    return path;
}

/* ---- matching ---- */

static bool match(struct arena *a, const char *pattern, struct str path, struct route_params *p)
{
    p->n = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (path.n == 0 || path.p[0] != *pattern)
                return false;
            path = str_skip(path, 1);
            pattern++;
            continue;
        }
        const char *end = strchr(pattern, '}');
        struct str name = str_n(pattern + 1, (size_t)(end - pattern - 1));
        bool is_tail = str_ends(name, STR("*"));
        if (is_tail)
            name.n--;
        pattern = end + 1;
        size_t n;
        if (is_tail) { /* as much as leaves the literal behind it */
            struct str rest = str_of(pattern);
            if (path.n <= rest.n || !str_ends(path, rest))
                return false;
            n = path.n - rest.n;
        } else {
            for (n = 0; n < path.n && path.p[n] != '/' && path.p[n] != *pattern; n++)
                ;
            if (n == 0)
                return false;
        }
        if (p->n < ARRAY_LEN(p->v)) {
            p->v[p->n].name = name;
            p->v[p->n++].value = url_decode(a, str_first(path, n));
        }
        path = str_skip(path, n);
    }
    return path.n == 0;
}

struct str route_param(const struct route_params *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(p->v[i].name, str_of(name)))
            return p->v[i].value;
    return STR_NONE;
}

struct literal { /* the rows of one path without parameters */
    const struct endpoint *by_method[HTTP_OTHER + 1];
};

struct router {
    struct map literals;
    struct literal *pool;
    const struct endpoint **patterns; /* longest literal start first */
    size_t *literal_n;                /* of each */
    size_t n_patterns;
};

static size_t literal_length(const char *pattern)
{
    return strcspn(pattern, "{");
}

static int by_literal_length(const void *x, const void *y)
{
    const struct endpoint *const *a = x, *const *b = y;
    size_t n = literal_length((*a)->path), m = literal_length((*b)->path);
    if (n != m)
        return n > m ? -1 : 1;
    n = strlen((*a)->path); /* {id}/input_items before {id} */
    m = strlen((*b)->path);
    return n > m ? -1 : n < m;
}

struct router *router_new(void)
{
    struct router *r = calloc(1, sizeof *r);
    size_t n = 0, used = 0;
    while (endpoint_at(n))
        n++;
    if (!r || !(r->pool = calloc(n, sizeof *r->pool)) ||
        !(r->patterns = calloc(n, sizeof *r->patterns)) ||
        !(r->literal_n = calloc(n, sizeof *r->literal_n)))
        abort();
    map_init(&r->literals);
    for (size_t i = 0; i < n; i++) {
        const struct endpoint *e = endpoint_at(i);
        if (strchr(e->path, '{')) {
            r->patterns[r->n_patterns++] = e;
            continue;
        }
        struct literal *l = map_get(&r->literals, str_of(e->path));
        if (!l) {
            l = &r->pool[used++];
            map_set(&r->literals, str_of(e->path), l);
        }
        l->by_method[e->method] = e;
    }
    qsort(r->patterns, r->n_patterns, sizeof r->patterns[0], by_literal_length);
    for (size_t i = 0; i < r->n_patterns; i++)
        r->literal_n[i] = literal_length(r->patterns[i]->path);
    return r;
}

void router_free(struct router *r)
{
    if (!r)
        return;
    map_done(&r->literals);
    free(r->pool);
    free(r->patterns);
    free(r->literal_n);
    free(r);
}

const struct endpoint *router_find(const struct router *r, struct arena *a, enum http_method m,
                                   struct str path, struct route_params *params, uint32_t *allowed)
{
    const struct literal *l = map_get(&r->literals, path);
    *allowed = 0;
    params->n = 0;
    if (l) {
        if (l->by_method[m])
            return l->by_method[m];
        for (unsigned i = 0; i <= HTTP_OTHER; i++)
            if (l->by_method[i])
                *allowed |= 1u << i;
    }
    for (size_t i = 0; i < r->n_patterns; i++) {
        const struct endpoint *e = r->patterns[i];
        size_t n = r->literal_n[i];
        if (path.n < n || path.p[n - 1] != e->path[n - 1] || memcmp(path.p, e->path, n) != 0 ||
            !match(a, e->path, path, params))
            continue;
        if (e->method == m)
            return e;
        *allowed |= 1u << e->method;
    }
    params->n = 0;
    return NULL;
}
