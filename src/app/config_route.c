#include "app/config_route.h"
#include "base/codec.h"
#include "base/log.h"
#include "domain/custom_kind.h"
#include "domain/route_policy.h"
#include "json/json.h"
#include <stdlib.h>

struct router_builder {
    struct arena *a;
    struct snapshot *s;
    struct routing *r;
    const struct map *upstreams, *models;
    struct map combos; /* by name, disabled ones too */
};

/* The same in every process, so that route_seed is enough to repeat what was drawn. */
static uint32_t combo_index(struct str name)
{
    uint8_t hash[SHA256_SIZE];
    uint32_t index;
    sha256(name, hash);
    memcpy(&index, hash, sizeof index);
    return index;
}

/* ---- sections, of the file first ---- */

struct entry {
    struct str name, text;
    yyjson_val *value;
    enum origin from;
};

static bool section(struct router_builder *b, const char *name, yyjson_val *file, struct db *db,
                    struct entry **out, size_t *n, struct err *e)
{
    yyjson_val *all = json_get(file, name), *k, *v;
    struct entry_row *rows = NULL;
    size_t i, max, count = 0;
    struct map seen;
    *n = 0;
    if (!json_absent(all) && !yyjson_is_obj(all))
        return err_field(e, name, "'%s' must be an object", name);
    if (db && !entry_list(db, b->a, name, &rows, e))
        return false;
    for (const struct entry_row *r = rows; r; r = r->next)
        count++;
    *out = ARENA_ARRAY(b->a, struct entry, yyjson_obj_size(all) + count + 1);
    map_init(&seen);
    yyjson_obj_foreach (all, i, max, k, v) {
        if (map_get(&seen, json_str(k)))
            continue;
        (*out)[(*n)++] = (struct entry){json_str(k), json_text(b->a, v), v, ORIGIN_FILE};
        map_set(&seen, json_str(k), v);
    }
    for (const struct entry_row *r = rows; r; r = r->next) {
        struct err why = ERR_INIT;
        if (map_get(&seen, r->name)) /* the file hides the store */
            continue;
        if (json_parse(b->a, r->body, 16, &v, &why))
            (*out)[(*n)++] = (struct entry){r->name, r->body, v, ORIGIN_API};
        else
            log_error(NULL, "config.entry_skipped", "section=%s name=" STR_FMT " error=%s", name,
                      STR_ARG(r->name), why.message);
    }
    map_done(&seen);
    return true;
}

/* A fault of the file is told with its place; one of the store must not keep the rest from serving. */
static bool faulty(const struct entry *in, const char *name, const struct err *why, struct err *e)
{
    char was[96];
    (void)snprintf(was, sizeof was, "%s", why->field);
    if (in->from != ORIGIN_FILE) {
        log_error(NULL, "config.entry_skipped", "section=%s name=" STR_FMT " error=%s", name,
                  STR_ARG(in->name), why->message);
        return true;
    }
    return err_field(e, "", "'%s." STR_FMT "%s%s': %.300s", name, STR_ARG(str_first(in->name, 60)),
                     was[0] ? "." : "", was, why->message) ||
           (snprintf(e->field, sizeof e->field, "%s.%.*s%s%.30s", name,
                     (int)(in->name.n < 50 ? in->name.n : 50), in->name.p, was[0] ? "." : "", was),
            false);
}

/* ---- combos ---- */

static bool read_combo(struct router_builder *b, const struct entry *in, struct err *e)
{
    struct combo_conf conf;
    struct err why = ERR_INIT;
    if (in->name.n == 0 || in->name.n > 200)
        err_field(&why, "", "a combo's name must have 1 to 200 characters");
    if (why.kind != ERR_NONE || !combo_read(b->a, in->value, &conf, &why))
        return faulty(in, "combos", &why, e);
    struct combo *c = ARENA_NEW(b->a, struct combo);
    *c = (struct combo){.name = in->name,
                        .id = conf.id.n ? conf.id : combo_id(b->a, in->name),
                        .json = in->text,
                        .strategy = (enum strategy)conf.strategy,
                        .sticky = (enum sticky)conf.sticky,
                        .members = ARENA_ARRAY(b->a, struct member, conf.n_members),
                        .n_members = conf.n_members,
                        .max_retries = conf.max_retries,
                        .retry_delay_ms = conf.retry_delay_ms,
                        .timeout_ms = conf.timeout_ms,
                        .concurrency = conf.concurrency,
                        .queue_timeout_ms = conf.queue_timeout_ms,
                        .patience_ms = conf.patience_ms,
                        .sticky_limit = conf.sticky_limit,
                        .hedge_after_ms = conf.hedge_after_ms,
                        .hedge_percentile = conf.hedge_percentile,
                        .weights = conf.weights,
                        .system_message = conf.system_message,
                        .tool_filter = conf.tool_filter,
                        .tools = conf.tools,
                        .is_enabled = conf.enabled,
                        .index = combo_index(in->name),
                        .from = in->from};
    for (size_t i = 0; i < conf.n_members; i++) {
        const struct member_conf *m = &conf.members[i];
        c->members[i] = (struct member){.model = m->model,
                                        .provider = m->provider,
                                        .weight = m->weight,
                                        .priority = m->priority,
                                        .price_nanousd = m->price_nanousd,
                                        .is_enabled = m->enabled};
    }
    combo_defaults(c, &b->s->settings);
    map_set(&b->combos, c->name, c);
    b->r->combos[b->r->n_combos++] = c;
    return true;
}

/* The model at one provider: as the served model calls it there, else by this very name. */
static const struct target *at_provider(struct router_builder *b, const struct model *m,
                                        struct str model, struct str provider)
{
    const struct upstream *u = map_get(b->upstreams, provider);
    for (size_t i = 0; m && i < m->n_targets; i++)
        if (str_eq(m->targets[i].upstream->name, provider))
            return &m->targets[i];
    if (!u || !u->is_enabled)
        return NULL;
    struct target *t = ARENA_NEW(b->a, struct target);
    *t = (struct target){.upstream = u,
                         .model = model,
                         .served = m,
                         .weight = u->weight,
                         .priority = u->priority,
                         .price_nanousd = -1,
                         .prices = snapshot_prices(b->s, b->a, u, model),
                         .quirks = upstream_model_quirks(u, model)};
    return t;
}

static const struct model *usable(const struct router_builder *b, struct str name)
{
    const struct model *m = map_get(b->models, name);
    return m && m->is_enabled ? m : NULL;
}

/* provider/model, or a vendor's model by its bare name. */
static const struct model *of_provider(const struct router_builder *b, struct str name)
{
    const char *kinds[PROVIDER_MAKERS];
    size_t n;
    const struct model *m = snapshot_of_provider(b->s, b->a, name);
    return m ? m : snapshot_of_vendor(b->s, b->a, name, kinds, &n);
}

static void lead(struct member *m, const struct model *to)
{
    m->combo = to->group;
    m->targets = to->targets;
    m->n_targets = to->n_targets;
}

static void resolve_member(struct router_builder *b, struct member *m)
{
    const struct model *served = usable(b, m->model);
    struct combo *c = map_get(&b->combos, m->model);
    if (m->provider.n) {
        m->targets = at_provider(b, served, m->model, m->provider);
        m->n_targets = m->targets != NULL;
    } else if (c) {
        if (c->is_enabled)
            m->combo = c;
    } else if (served) {
        lead(m, served);
    } else {
        const struct model *made = of_provider(b, m->model);
        if (made)
            lead(m, made);
    }
    for (size_t i = 0; !m->combo && i < m->n_targets; i++)
        if (m->price_nanousd < 0)
            m->price_nanousd = m->targets[i].price_nanousd;
}

static bool check_depth(const struct combo *c, const struct combo *const *above, size_t depth,
                        struct err *e)
{
    const struct combo *path[COMBO_DEEPEST + 2];
    if (depth)
        memcpy(path, above, depth * sizeof *path);
    path[depth] = c;
    for (size_t i = 0; i < c->n_members; i++) {
        const struct combo *to = c->members[i].combo;
        if (!to || to->of)
            continue;
        for (size_t up = 0; up <= depth; up++)
            if (path[up] == to)
                return err_field(
                    e, "members",
                    "The combo '" STR_FMT "' leads back to itself by way of '" STR_FMT "'",
                    STR_ARG(str_first(to->name, 100)), STR_ARG(str_first(c->name, 100)));
        if (depth == COMBO_DEEPEST)
            return err_field(e, "members",
                             "The combo '" STR_FMT "' holds combos more than %d levels deep",
                             STR_ARG(str_first(path[0]->name, 100)), COMBO_DEEPEST);
        if (!check_depth(to, path, depth + 1, e))
            return false;
    }
    return true;
}

/* The targets of a combo, each once, and what it can do: all that every one of them can. */
static void flatten(struct router_builder *b, const struct combo *c, struct model *out, size_t cap)
{
    (void)b;
    for (size_t i = 0; i < c->n_members; i++) {
        const struct member *m = &c->members[i];
        if (!m->is_enabled)
            continue;
        if (m->combo) {
            flatten(b, m->combo, out, cap);
            continue;
        }
        for (size_t t = 0; t < m->n_targets; t++) {
            const struct target *one = &m->targets[t];
            bool is_there = false;
            for (size_t k = 0; k < out->n_targets; k++)
                is_there |= out->targets[k].upstream == one->upstream &&
                            str_eq(out->targets[k].model, one->model);
            if (is_there || out->n_targets == cap)
                continue;
            out->targets[out->n_targets++] = *one;
            out->capabilities &= one->served ? one->served->capabilities : CAP_TEXT;
            int64_t context = one->served ? one->served->context_tokens : -1;
            if (context > 0 && (out->context_tokens < 0 || context < out->context_tokens))
                out->context_tokens = context;
        }
    }
}

static size_t count_targets(const struct combo *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_members; i++)
        n += c->members[i].combo ? count_targets(c->members[i].combo) : c->members[i].n_targets;
    return n;
}

static void add_made(struct router_builder *b, struct model *m)
{
    b->r->made[b->r->n_made++] = m;
}

static void serve_combo(struct router_builder *b, const struct combo *c)
{
    struct model *m = ARENA_NEW(b->a, struct model);
    size_t cap = count_targets(c);
    *m = (struct model){.name = c->name,
                        .targets = ARENA_ARRAY(b->a, struct target, cap + 1),
                        .capabilities = UINT32_MAX,
                        .max_output_tokens = -1,
                        .context_tokens = -1,
                        .is_enabled = c->is_enabled,
                        .group = c,
                        .face = MODEL_OF_COMBO,
                        .from = c->from};
    flatten(b, c, m, cap);
    if (m->n_targets == 0)
        log_warn(NULL, "config.combo_leads_nowhere", "combo=" STR_FMT, STR_ARG(c->name));
    if (c->is_enabled)
        add_made(b, m);
}

static bool combos(struct router_builder *b, const struct entry *v, size_t n, struct err *e)
{
    struct err why = ERR_INIT;
    b->r->combos = ARENA_ARRAY(b->a, struct combo *, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!read_combo(b, &v[i], e))
            return false;
    for (size_t i = 0; i < b->r->n_combos; i++) {
        struct combo *c = b->r->combos[i];
        for (size_t m = 0; m < c->n_members; m++) {
            resolve_member(b, &c->members[m]);
            if (!c->members[m].combo && c->members[m].n_targets == 0)
                log_warn(NULL, "config.member_leads_nowhere", "combo=" STR_FMT " model=" STR_FMT,
                         STR_ARG(c->name), STR_ARG(c->members[m].model));
        }
    }
    for (size_t i = 0; i < b->r->n_combos; i++)
        if (!check_depth(b->r->combos[i], NULL, 0, &why))
            return faulty(&(struct entry){b->r->combos[i]->name, STR_NONE, NULL, ORIGIN_FILE},
                          "combos", &why, e);
    for (size_t i = 0; i < b->r->n_combos; i++)
        serve_combo(b, b->r->combos[i]);
    return true;
}

/* ---- chains ---- */

/* Where one link leads: a provider, or all of a kind in the order of their priority. */
static size_t link_targets(struct router_builder *b, struct str id, struct str provider,
                           struct target *out)
{
    const struct model *served = usable(b, id);
    const struct target *t = at_provider(b, served, id, provider);
    if (t || map_get(b->upstreams, provider)) {
        if (t)
            *out = *t;
        return t != NULL;
    }
    const struct model *pool = snapshot_of_provider(
        b->s, b->a, str_fmt(b->a, STR_FMT "/" STR_FMT, STR_ARG(provider), STR_ARG(id)));
    for (size_t i = 0; pool && i < pool->n_targets; i++) {
        t = at_provider(b, served, pool->targets[i].model, pool->targets[i].upstream->name);
        out[i] = t ? *t : pool->targets[i];
    }
    return pool ? pool->n_targets : 0;
}

static bool read_chain(struct router_builder *b, const struct entry *in, struct err *e)
{
    struct err why = ERR_INIT;
    struct chain *c = ARENA_NEW(b->a, struct chain);
    *c = (struct chain){.model = in->name, .from = in->from};
    if (!chain_read(b->a, in->value, &c->links, &c->n_links, &why))
        return faulty(in, "chains", &why, e);
    /* of provider/model the model is asked for elsewhere */
    size_t slash = str_index(in->name, '/');
    const struct model *served = usable(b, in->name);
    struct str id = in->name;
    if (!served && slash < in->name.n && map_get(b->upstreams, str_first(in->name, slash)))
        id = str_skip(in->name, slash + 1);
    struct target *targets = ARENA_ARRAY(b->a, struct target, c->n_links * (b->s->n_upstreams + 1));
    for (size_t i = 0; i < c->n_links; i++) {
        if (!c->links[i].enabled)
            continue;
        size_t n = link_targets(b, id, c->links[i].provider, targets + c->n_targets);
        c->n_targets += n;
        if (!n && !map_get(b->upstreams, c->links[i].provider))
            log_warn(NULL, "config.chain_without_provider", "chain=" STR_FMT " provider=" STR_FMT,
                     STR_ARG(c->model), STR_ARG(c->links[i].provider));
    }
    c->targets = targets;
    b->r->chains[b->r->n_chains++] = c;
    return true;
}

/* First what the name leads to by itself, then the chain's providers one by one. */
static const struct combo *chained(struct router_builder *b, const struct model *m,
                                   const struct chain *c)
{
    struct combo *whole = combo_of_targets(b->a, m, &b->s->settings);
    whole->strategy = STRATEGY_PRIORITY;
    whole->members = ARENA_ARRAY(b->a, struct member, c->n_targets + 1);
    whole->n_members = 0;
    if (m->n_targets)
        whole->members[whole->n_members++] = (struct member){.model = m->name,
                                                             .weight = 1,
                                                             .price_nanousd = -1,
                                                             .is_enabled = true,
                                                             .combo = m->group,
                                                             .targets = m->targets,
                                                             .n_targets = m->n_targets};
    for (size_t i = 0; i < c->n_targets; i++) {
        const struct target *t = &c->targets[i];
        bool is_there = false;
        for (size_t k = 0; k < m->n_targets; k++)
            is_there |= m->targets[k].upstream == t->upstream;
        if (!is_there)
            whole->members[whole->n_members++] = (struct member){.model = t->model,
                                                                 .provider = t->upstream->name,
                                                                 .weight = 1,
                                                                 .priority = (int64_t)i + 1,
                                                                 .price_nanousd = t->price_nanousd,
                                                                 .is_enabled = true,
                                                                 .targets = t,
                                                                 .n_targets = 1};
    }
    return whole;
}

static void serve_chain(struct router_builder *b, const struct chain *c)
{
    struct model *served = map_get(b->models, c->model);
    if (c->n_targets == 0 || map_get(&b->combos, c->model) || (served && !served->is_enabled))
        return;
    if (served) {
        served->group = chained(b, served, c);
        return;
    }
    const struct model *made = snapshot_of_provider(b->s, b->a, c->model);
    struct model *m = ARENA_NEW(b->a, struct model), was;
    *m = (struct model){.name = c->model,
                        .capabilities = CAP_TEXT,
                        .max_output_tokens = -1,
                        .context_tokens = -1,
                        .is_enabled = true,
                        .from = c->from};
    if (made)
        *m = *made;
    m->face = MODEL_OF_CHAIN;
    was = *m;
    m->group = chained(b, &was, c);
    m->targets = ARENA_ARRAY(b->a, struct target, was.n_targets + c->n_targets);
    if (was.n_targets)
        memcpy(m->targets, was.targets, was.n_targets * sizeof *m->targets);
    memcpy(m->targets + was.n_targets, c->targets, c->n_targets * sizeof *m->targets);
    m->n_targets = was.n_targets + c->n_targets;
    add_made(b, m);
}

static bool chains(struct router_builder *b, const struct entry *v, size_t n, struct err *e)
{
    b->r->chains = ARENA_ARRAY(b->a, struct chain *, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!read_chain(b, &v[i], e))
            return false;
    for (size_t i = 0; i < b->r->n_chains; i++)
        serve_chain(b, b->r->chains[i]);
    return true;
}

/* ---- aliases ---- */

static const struct model *made_for(const struct router_builder *b, struct str name)
{
    for (size_t i = 0; i < b->r->n_made; i++)
        if (str_eq(b->r->made[i]->name, name))
            return b->r->made[i];
    return NULL;
}

static void serve_alias(struct router_builder *b, const struct alias *alias)
{
    const struct model *to = made_for(b, alias->to);
    if (!to)
        to = usable(b, alias->to);
    if (!to)
        to = of_provider(b, alias->to);
    if (!to || to->n_targets == 0) {
        log_warn(NULL, "config.alias_leads_nowhere", "alias=" STR_FMT " to=" STR_FMT,
                 STR_ARG(alias->name), STR_ARG(alias->to));
        return;
    }
    struct model *m = ARENA_NEW(b->a, struct model);
    *m = *to;
    m->name = alias->name;
    m->from = alias->from;
    m->face = to->face == MODEL_OF_COMBO ? MODEL_OF_COMBO : MODEL_OF_ALIAS;
    add_made(b, m);
}

static void add_pattern(struct routing *r, const struct alias *alias)
{
    int weight = alias_weight(alias->name);
    size_t at = r->n_patterns++;
    for (; at > 0; at--) {
        const struct alias *before = r->patterns[at - 1];
        if (before->priority > alias->priority ||
            (before->priority == alias->priority && alias_weight(before->name) >= weight))
            break;
        r->patterns[at] = before;
    }
    r->patterns[at] = alias;
}

static bool aliases(struct router_builder *b, const struct entry *v, size_t n, struct err *e)
{
    b->r->aliases = ARENA_ARRAY(b->a, struct alias *, n + 1);
    b->r->patterns = ARENA_ARRAY(b->a, const struct alias *, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct alias_conf conf;
        struct err why = ERR_INIT;
        if (v[i].name.n == 0 || v[i].name.n > 200)
            err_field(&why, "", "an alias must have 1 to 200 characters");
        if (why.kind != ERR_NONE || !alias_read(b->a, v[i].value, &conf, &why)) {
            if (!faulty(&v[i], "aliases", &why, e))
                return false;
            continue;
        }
        struct alias *one = ARENA_NEW(b->a, struct alias);
        *one = (struct alias){.name = v[i].name,
                              .to = conf.to,
                              .priority = conf.priority,
                              .is_enabled = conf.enabled,
                              .is_pattern = alias_is_pattern(v[i].name),
                              .from = v[i].from};
        b->r->aliases[b->r->n_aliases++] = one;
        if (one->is_enabled && one->is_pattern)
            add_pattern(b->r, one);
        else if (one->is_enabled)
            serve_alias(b, one);
    }
    return true;
}

/* ---- policies ---- */

static bool policies(struct router_builder *b, const struct entry *v, size_t n, struct err *e)
{
    struct route_policy **all = ARENA_ARRAY(b->a, struct route_policy *, n + 1);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        struct route_policy *one = ARENA_NEW(b->a, struct route_policy);
        struct err why = ERR_INIT;
        if (!route_policy_read(b->a, v[i].name, v[i].value, one, &why)) {
            if (!faulty(&v[i], "policies", &why, e))
                return false;
            continue;
        }
        one->from = v[i].from;
        if (!one->enabled || !route_policy_is_on(one, &b->s->settings))
            continue;
        b->s->asks_for_tasks |= one->task != TASK_ANY;
        all[used++] = one;
    }
    route_policies_sort(all, used);
    if (used)
        b->s->policies = (const struct route_policy *const *)all;
    return true;
}

/* ---- accounts of one kind ---- */

static void add_to_pool(struct router_builder *b, const struct upstream *u, struct str kind)
{
    struct routing *r = b->r;
    struct pool *p = NULL;
    if (!u->is_enabled || u->kind->is_builtin || map_get(b->upstreams, kind))
        return;
    for (size_t i = 0; i < r->n_pools; i++)
        if (str_eq(r->pools[i].kind, kind))
            p = &r->pools[i];
    if (!p) {
        p = &r->pools[r->n_pools++];
        p->kind = kind;
        p->upstreams = ARENA_ARRAY(b->a, const struct upstream *, b->s->n_upstreams);
    }
    size_t at = p->n++;
    for (; at > 0 && p->upstreams[at - 1]->priority > u->priority; at--)
        p->upstreams[at] = p->upstreams[at - 1];
    p->upstreams[at] = u;
}

static void pools(struct router_builder *b)
{
    b->r->pools = ARENA_ARRAY(b->a, struct pool, 2 * b->s->n_upstreams + 1);
    for (size_t i = 0; i < b->s->n_upstreams; i++) {
        const struct upstream *u = b->s->upstreams[i];
        struct str kind = str_of(u->kind->id),
                   made_as = u->pool.n ? pool_kind(b->s, u->pool) : kind;
        add_to_pool(b, u, kind);
        if (!str_eq(made_as, kind)) /* a surface calls it by the name of another kind */
            add_to_pool(b, u, made_as);
    }
}

/* ---- all of it ---- */

static void measure(const struct router_builder *b, const struct combo *c)
{
    for (size_t i = 0; i < c->n_members; i++) {
        const struct member *m = &c->members[i];
        if (m->combo)
            measure(b, m->combo);
        for (size_t t = 0; t < m->n_targets; t++) {
            struct upstream *u = map_get(b->upstreams, m->targets[t].upstream->name);
            if (u)
                u->is_measured = true;
        }
    }
}

static void measure_all(const struct router_builder *b)
{
    for (size_t i = 0; i < b->s->n_models; i++)
        if (b->s->models[i]->group)
            measure(b, b->s->models[i]->group);
    for (size_t i = 0; i < b->r->n_made; i++)
        if (b->r->made[i]->group)
            measure(b, b->r->made[i]->group);
    for (size_t i = 0; i < b->r->n_pools; i++)
        for (size_t k = 0; b->r->pools[i].n > 1 && k < b->r->pools[i].n; k++) {
            struct upstream *u = map_get(b->upstreams, b->r->pools[i].upstreams[k]->name);
            u->is_measured = true;
        }
}

bool config_routing(struct snapshot *s, const struct map *upstreams, const struct map *models,
                    yyjson_val *file, struct db *db, struct err *e)
{
    struct router_builder b = {.a = s->arena,
                               .s = s,
                               .r = ARENA_NEW(s->arena, struct routing),
                               .upstreams = upstreams,
                               .models = models};
    struct entry *of[3] = {NULL}, *said;
    size_t n[3] = {0}, n_said;
    s->routing = b.r;
    map_init(&b.combos);
    for (size_t i = 0; i < s->n_models; i++)
        if (s->models[i]->n_targets > 1)
            s->models[i]->group = combo_of_targets(b.a, s->models[i], &s->settings);
    pools(&b);
    bool ok = true;
    for (size_t i = 0; ok && i < ARRAY_LEN(of); i++)
        ok = section(&b, entry_sections[i], file, db, &of[i], &n[i], e);
    if (ok)
        b.r->made = ARENA_ARRAY(b.a, struct model *, n[0] + n[1] + n[2] + 1);
    /* combos before chains before aliases: each may lead to those before it */
    ok = ok && combos(&b, of[0], n[0], e) && chains(&b, of[1], n[1], e) &&
         aliases(&b, of[2], n[2], e) && section(&b, "policies", file, db, &said, &n_said, e) &&
         policies(&b, said, n_said, e);
    if (ok)
        measure_all(&b);
    map_done(&b.combos);
    return ok;
}
