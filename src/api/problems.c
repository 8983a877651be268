/* problems.c - /sluice/v1/problems: what is broken now, or soon will be, each with what it concerns and what to do about it. Found anew for
 * each call, from the configuration and from what is known of the moment; nothing of it is kept. Who shows it in another language builds the
 * sentence from kind and figures. */
#include "api/control.h"
#include "base/clock.h"
#include "gate/budget.h"
#include "meter/metrics.h"
#include "meter/otlp.h"
#include "route/live.h"

#define FAIL_LEAST 2    /* failures of the last five minutes that are worth a word */
#define FAIL_PERCENT 20 /* … and their share of the requests */
#define FAIL_GRAVE_PERCENT 50
#define EXPIRES_SOON_MS (3 * 86400000ll)
#define REFUSED_LATELY_MS (METRICS_SECONDS * 1000ll)

enum problem_kind {
    PROBLEM_DRAINING,
    PROBLEM_STORE,
    PROBLEM_CONFIG,
    PROBLEM_TELEMETRY,
    PROBLEM_FAILING,
    PROBLEM_LEFT_ALONE,
    PROBLEM_PROBATION,
    PROBLEM_CREDENTIAL,
    PROBLEM_QUOTA,
    PROBLEM_UNSERVED,
    PROBLEM_EXPIRES,
    PROBLEM_BUDGET_PASSED,
    PROBLEM_BUDGET_WARNS,
    PROBLEM_BUDGET_OF_NOBODY
};
/* clang-format off */
static const struct word kind_words[] = {
    {"draining",            PROBLEM_DRAINING},   {"store_degraded",      PROBLEM_STORE},    {"config_fault",   PROBLEM_CONFIG},
    {"provider_failing",    PROBLEM_FAILING},    {"provider_left_alone", PROBLEM_LEFT_ALONE}, {"provider_on_probation", PROBLEM_PROBATION},
    {"credential_missing",  PROBLEM_CREDENTIAL}, {"quota_spent",         PROBLEM_QUOTA},    {"model_unserved", PROBLEM_UNSERVED},
    {"telemetry_unsent",    PROBLEM_TELEMETRY},
    {"key_expires",         PROBLEM_EXPIRES},    {"budget_passed",       PROBLEM_BUDGET_PASSED}, {"budget_warning", PROBLEM_BUDGET_WARNS},
    {"budget_of_nobody",    PROBLEM_BUDGET_OF_NOBODY}, {0},
};
static const struct { const char *object, *fix; } of_kind[] = {
    [PROBLEM_DRAINING]      = { "server",   "Wait for it to come back, or send clients elsewhere" },
    [PROBLEM_STORE]         = { "server",   "Look at the disk of the data folder: space, rights, health" },
    [PROBLEM_CONFIG]        = { "server",   "Put the file right and load it again" },
    [PROBLEM_TELEMETRY]     = { "server",   "Look at the otlp settings and at the collector" },
    [PROBLEM_FAILING]       = { "provider", "Look at its errors in the request log" },
    [PROBLEM_LEFT_ALONE]    = { "provider", "It is asked again by itself; at once with POST /sluice/v1/breakers/reset" },
    [PROBLEM_PROBATION]     = { "provider", "The next request that it answers ends this" },
    [PROBLEM_CREDENTIAL]    = { "provider", "Give it its key, or switch it off" },
    [PROBLEM_QUOTA]         = { "provider", "Wait for the window to begin anew, or let requests go elsewhere" },
    [PROBLEM_UNSERVED]      = { "model",    "Switch on one of its providers, or give it another target" },
    [PROBLEM_EXPIRES]       = { "key",      "Give it a later end, or its holder a new key" },
    [PROBLEM_BUDGET_PASSED] = { "budget",   "Raise it, or wait for the next period" },
    [PROBLEM_BUDGET_WARNS]  = { "budget",   "Look at who spends it" },
    [PROBLEM_BUDGET_OF_NOBODY] = { "budget", "Give it the id of a key, organisation or user that there is, or delete it" },
};
struct problem_out {
    struct str id, severity, object, name, label, message, fix, fault, at;
    int kind;
    struct strs models;
    int64_t requests, errors, wait_ms, limit_nanousd, spent_nanousd, refused;
};
static const struct shape problem_shape = SHAPE(struct problem_out,
    FIELD(struct problem_out, id, 0, "Names it among the others, and stays the same as long as it lasts"),
    FIELD_ENUM(struct problem_out, kind, kind_words, 0, "What is wrong"),
    FIELD(struct problem_out, severity, 0, "error: requests fail, or would; warning: they soon may"),
    FIELD(struct problem_out, object, 0, "What it concerns: server, provider, model, combo, alias, key or budget"),
    FIELD(struct problem_out, name, OMIT_EMPTY, "Which one: its name; of a key its id"),
    FIELD(struct problem_out, label, OMIT_EMPTY, "What people call it, where that is another name"),
    FIELD(struct problem_out, message, 0, "What is wrong, as a sentence"),
    FIELD(struct problem_out, fix, 0, "What to do about it"),
    FIELD(struct problem_out, fault, OMIT_EMPTY, "Kind of the failure, or the quota window"),
    FIELD(struct problem_out, models, OMIT_EMPTY, "Of a provider, its models that are left alone; absent: all of them"),
    FIELD(struct problem_out, requests, OMIT_EMPTY, "Requests of the last five minutes"),
    FIELD(struct problem_out, errors, OMIT_EMPTY, "Of these, those that failed"),
    FIELD(struct problem_out, wait_ms, OMIT_EMPTY, "Until it is asked again, or its window begins anew"),
    FIELD(struct problem_out, limit_nanousd, OMIT_EMPTY, "Of a budget: what may be spent"),
    FIELD(struct problem_out, spent_nanousd, OMIT_EMPTY, "Of it: what is spent, or held for requests that run"),
    FIELD(struct problem_out, refused, OMIT_EMPTY, "Requests that it refused since the process began"),
    FIELD(struct problem_out, at, OMIT_EMPTY, "Since when the file is wrong; when the key expires or the budget begins anew"));
struct problem_query {
    struct page_query page;
    struct str severity, object, name;
    int kind;
};
static const struct shape problem_query_shape = SHAPE(struct problem_query,
    PAGE_FIELDS(struct problem_query),
    FIELD(struct problem_query, severity, 0, "Only errors or only warnings"),
    FIELD(struct problem_query, object, 0, "Only of the server, providers, models, combos, aliases, keys or budgets"),
    FIELD(struct problem_query, name, 0, "Only of the one of this name or id"),
    FIELD_ENUM(struct problem_query, kind, kind_words, 0, "Only of this kind"));
/* clang-format on */

struct found {
    struct control_call *c;
    struct problem_out *v;
    size_t n, cap;
};

/* One more, to be told more of; name empty: the server's own. */
static struct problem_out *add(struct found *f, enum problem_kind kind, bool is_grave,
                               struct str name)
{
    const char *word = word_text(kind_words, (int)kind, "");
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 32;
        f->v = arena_realloc(f->c->arena, f->v, f->cap * sizeof *f->v, cap * sizeof *f->v);
        f->cap = cap;
    }
    struct problem_out *p = &f->v[f->n++];
    *p = (struct problem_out){
        .id = name.n ? str_fmt(f->c->arena, "%s/" STR_FMT, word, STR_ARG(name)) : str_of(word),
        .kind = (int)kind,
        .severity = is_grave ? STR("error") : STR("warning"),
        .object = str_of(of_kind[kind].object),
        .name = name,
        .fix = str_of(of_kind[kind].fix)};
    return p;
}

static struct str moment(struct arena *a, int64_t wall_ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, wall_ms);
    return buf_str(&b);
}

static void of_server(struct found *f)
{
    const struct control *k = f->c->control;
    struct str message;
    int64_t since_ms;
    if (atomic_load(k->is_draining))
        add(f, PROBLEM_DRAINING, true, STR_NONE)->message = STR(
            "The server is going down and takes no new requests");
    if (usage_log_is_degraded(k->usage, clock_mono_ms()))
        add(f, PROBLEM_STORE, true, STR_NONE)->message = STR(
            "The store refuses writes or stalls: requests are served, their records wait or are "
            "shed");
    if (control_config_fault(f->c, &message, &since_ms)) {
        struct problem_out *p = add(f, PROBLEM_CONFIG, true, STR_NONE);
        p->message = str_fmt(f->c->arena,
                             "The configuration file is wrong, and what was loaded before stays in "
                             "force: " STR_FMT,
                             STR_ARG(message));
        p->fault = message;
        p->at = moment(f->c->arena, since_ms);
    }
    if (otlp_fault(k->otlp, f->c->arena, &message)) {
        struct problem_out *p = add(f, PROBLEM_TELEMETRY, false, STR_NONE);
        p->message = str_fmt(f->c->arena, "Traces and metrics do not get out: " STR_FMT,
                             STR_ARG(message));
        p->fault = message;
    }
}

static void of_traffic(struct found *f)
{
    struct dim_recent *v;
    size_t n = metrics_recent(f->c->control->metrics, DIM_UPSTREAM, clock_mono_ns(),
                              METRICS_SECONDS / METRICS_WINDOW_S, f->c->arena, &v);
    for (size_t i = 0; i < n; i++) {
        uint64_t all = v[i].sum.requests, bad = v[i].sum.errors;
        if (bad < FAIL_LEAST || bad * 100 < all * FAIL_PERCENT ||
            !snapshot_upstream(f->c->snap, v[i].text)) /* it is gone, or one of those beyond */
            continue;
        struct problem_out *p = add(f, PROBLEM_FAILING, bad * 100 >= all * FAIL_GRAVE_PERCENT,
                                    v[i].text);
        p->requests = (int64_t)all;
        p->errors = (int64_t)bad;
        p->message = str_fmt(f->c->arena,
                             "Provider '" STR_FMT "' fails: %llu of %llu requests of the last five "
                             "minutes",
                             STR_ARG(v[i].text), (unsigned long long)bad, (unsigned long long)all);
    }
}

static bool strs_has(struct strs all, struct str one)
{
    for (size_t i = 0; i < all.n; i++)
        if (str_eq(all.v[i], one))
            return true;
    return false;
}

/* All breakers of a provider that are not closed are one problem. */
static void of_breakers(struct found *f, const struct upstream *u, const struct breaker_info *b,
                        size_t n)
{
    struct strs models = {ARENA_ARRAY(f->c->arena, struct str, n + 1), 0};
    bool is_open = false, is_whole = false;
    const char *fault = NULL;
    uint64_t wait_ms = 0;
    for (size_t i = 0; i < n; i++) {
        if (b[i].upstream != u || b[i].state == BREAKER_CLOSED)
            continue;
        is_open |= b[i].state == BREAKER_OPEN;
        is_whole |= !b[i].model[0];
        wait_ms = b[i].wait_ms > wait_ms ? b[i].wait_ms : wait_ms;
        fault = fault ? fault : fault_name(b[i].fault);
        if (b[i].model[0] && !strs_has(models, str_of(b[i].model))) /* one for each credential */
            models.v[models.n++] = str_of(b[i].model);
    }
    if (!fault)
        return;
    struct problem_out *p = add(f, is_open ? PROBLEM_LEFT_ALONE : PROBLEM_PROBATION,
                                is_open && is_whole, u->name);
    if (!is_whole)
        p->models = models;
    p->fault = str_of(fault);
    p->wait_ms = (int64_t)wait_ms;
    p->message = str_fmt(f->c->arena, "Provider '" STR_FMT "' %s (%s)", STR_ARG(u->name),
                         is_open ? "is left alone for a while"
                                 : "is let through with one request to see how it is",
                         fault);
}

static void of_quotas(struct found *f, const struct upstream *u)
{
    const struct live *l = relay_live_state(f->c->control->shared);
    struct quota_window w[QUOTA_WINDOWS], most = {0};
    uint32_t spent = 0, keys = u->n_keys ? (uint32_t)u->n_keys : 1;
    for (uint32_t k = 0; k < keys; k++) {
        size_t n = live_quota(l, u, k, clock_mono_ms(), w);
        bool is_spent = false;
        for (size_t i = 0; i < n; i++)
            if (w[i].used >= 1) {
                is_spent = true;
                most = w[i];
            }
        spent += is_spent;
    }
    if (!spent)
        return;
    struct problem_out *p = add(f, PROBLEM_QUOTA, spent == keys, u->name);
    p->fault = str_of(word_text(quota_words, (int)most.name, ""));
    p->wait_ms = most.reset_ms > 0 ? most.reset_ms : 0;
    p->message = str_fmt(f->c->arena,
                         "Provider '" STR_FMT "' has used up its quota window '" STR_FMT
                         "' with %u of %u credentials",
                         STR_ARG(u->name), STR_ARG(p->fault), spent, keys);
}

static bool is_in_use(const struct snapshot *s, const struct upstream *u)
{
    for (size_t i = 0; i < s->n_listed; i++)
        for (size_t t = 0; t < s->listed[i]->n_targets; t++)
            if (s->listed[i]->targets[t].upstream == u)
                return true;
    return false;
}

static void of_providers(struct found *f)
{
    const struct snapshot *s = f->c->snap;
    struct breaker_info *b;
    size_t n = live_breakers(relay_live_state(f->c->control->shared), s, f->c->arena,
                             clock_mono_ms(), &b);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        of_breakers(f, u, b, n);
        of_quotas(f, u);
        if (u->is_enabled && !u->n_keys && u->kind->key_env && !u->kind->is_keyless &&
            is_in_use(s, u))
            add(f, PROBLEM_CREDENTIAL, true, u->name)->message = str_fmt(
                f->c->arena, "Models use the provider '" STR_FMT "', but it has no credential",
                STR_ARG(u->name));
    }
}

static void unserved(struct found *f, const char *object, struct str name)
{
    struct problem_out *p = add(f, PROBLEM_UNSERVED, true, name);
    p->object = str_of(object);
    p->message = str_fmt(
        f->c->arena, "Nobody serves '" STR_FMT "': all that it leads to is switched off or gone",
        STR_ARG(name));
}

/* Of a combo or an alias, which may hide something else of its name that nobody serves either. */
static void leads_nowhere(struct found *f, const char *object, struct str name)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].kind == PROBLEM_UNSERVED && str_eq(f->v[i].name, name))
            return;
    unserved(f, object, name);
}

static void of_models(struct found *f)
{
    const struct snapshot *s = f->c->snap;
    const struct routing *r = s->routing;
    for (size_t i = 0; i < s->n_models; i++) /* a chain of its name may serve it */
        if (s->models[i]->is_enabled && !snapshot_model(s, s->models[i]->name))
            unserved(f, "model", s->models[i]->name);
    for (size_t i = 0; r && i < r->n_combos; i++)
        if (r->combos[i]->is_enabled && !snapshot_model(s, r->combos[i]->name))
            leads_nowhere(f, "combo", r->combos[i]->name);
    for (size_t i = 0; r && i < r->n_aliases; i++)
        if (r->aliases[i]->is_enabled && !alias_is_pattern(r->aliases[i]->name) &&
            !snapshot_model(s, r->aliases[i]->name))
            leads_nowhere(f, "alias", r->aliases[i]->name);
}

static void of_keys(struct found *f)
{
    const struct snapshot *s = f->c->snap;
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct key *k = s->keys[i];
        if (!k->is_enabled || k->expires_ms <= now || k->expires_ms > now + EXPIRES_SOON_MS)
            continue;
        struct problem_out *p = add(f, PROBLEM_EXPIRES, false, k->id);
        p->label = k->label;
        p->at = moment(f->c->arena, k->expires_ms);
        p->message = str_fmt(f->c->arena, "The client key '" STR_FMT "' expires at " STR_FMT,
                             STR_ARG(k->label.n ? k->label : k->id), STR_ARG(p->at));
    }
}

static void of_budgets(struct found *f)
{
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < f->c->snap->n_budgets; i++) {
        const struct budget *b = f->c->snap->budgets[i];
        struct budget_view v = budget_look(b, now);
        if (!budget_has_subject(f->c->snap, (int)b->scope, b->subject))
            add(f, PROBLEM_BUDGET_OF_NOBODY, false, b->name)->message = str_fmt(
                f->c->arena, "The budget '" STR_FMT "' binds nobody: there is no %s '" STR_FMT "'",
                STR_ARG(b->name), word_text(budget_scope_words, (int)b->scope, ""),
                STR_ARG(b->subject));
        int64_t taken = v.spent + v.held;
        bool is_passed = taken >= b->limit_nanousd,
             warns = b->warn_percent > 0 && taken * 100 >= b->limit_nanousd * b->warn_percent,
             refuses = budget_binds(b) && v.refused_ms > now - REFUSED_LATELY_MS;
        if (!b->is_enabled || (!is_passed && !warns && !refuses))
            continue;
        struct problem_out *p = add(
            f, is_passed || refuses ? PROBLEM_BUDGET_PASSED : PROBLEM_BUDGET_WARNS,
            refuses || (is_passed && budget_binds(b)), b->name);
        p->at = v.ends_ms == INT64_MAX ? STR_NONE : moment(f->c->arena, v.ends_ms);
        p->limit_nanousd = b->limit_nanousd;
        p->spent_nanousd = taken;
        p->refused = (int64_t)v.refused;
        p->message = str_fmt(f->c->arena, "The budget '" STR_FMT "' is %s", STR_ARG(b->name),
                             is_passed && budget_binds(b)
                                 ? "spent: requests that fall under it are refused"
                             : is_passed ? "spent"
                             : refuses   ? "too small for what is asked: requests are refused"
                                         : "nearly spent");
    }
}

static bool list(struct control_call *c, struct err *e)
{
    struct found f = {.c = c};
    of_server(&f);
    of_traffic(&f);
    of_providers(&f);
    of_models(&f);
    of_keys(&f);
    of_budgets(&f);
    return control_reply_sorted(c, &problem_shape, f.v, f.n, "id", e);
}

/* clang-format off */
const struct endpoint problem_endpoints[] = {
    { HTTP_GET, "/sluice/v1/problems", SURFACE_SLUICE, ACCESS_VIEWER, "List what is broken now, or soon will be, with what to do about it", .on_worker = list, .query = &problem_query_shape, .out = &problem_shape, .is_page = true },
    {0},
};
/* clang-format on */
