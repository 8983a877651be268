/* limits.c - /sluice/v1/limits: what is used of every limit that is set, what is left, who waits. */
#include "api/control.h"
#include "base/clock.h"
#include "gate/limit.h"

struct limit_out {
    struct str name, of, id, kind;
    int64_t limit, used, remaining, reset_ms, waiting, refused;
};

/* clang-format off */
static const struct shape limit_shape = SHAPE(struct limit_out,
    FIELD(struct limit_out, name,      0, "of/id/kind, unique"),
    FIELD(struct limit_out, of,        0, "What is limited: key, user, org, model or upstream"),
    FIELD(struct limit_out, id,        0, "Which one"),
    FIELD(struct limit_out, kind,      0, "requests_per_minute, requests_per_hour, requests_per_day, tokens_per_minute, tokens_per_day or concurrency"),
    FIELD(struct limit_out, limit,     0, "How much it may use"),
    FIELD(struct limit_out, used,      0, "How much of it counts now; concurrency: what runs"),
    FIELD(struct limit_out, remaining, 0, "What is left"),
    FIELD(struct limit_out, reset_ms,  0, "Until nothing is used any more, if nothing more comes"),
    FIELD(struct limit_out, waiting,   0, "Requests that wait for room in what is limited, for whichever of its limits"),
    FIELD(struct limit_out, refused,   0, "Requests refused for its sake since the start, for whichever of its limits"));
struct limit_query {
    struct page_query page;
    struct str of, id, kind;
};
static const struct shape limit_query_shape = SHAPE(struct limit_query,
    PAGE_FIELDS(struct limit_query),
    FIELD(struct limit_query, of,   0, "Only of keys, users, orgs, models or upstreams"),
    FIELD(struct limit_query, id,   0, "Only of this one"),
    FIELD(struct limit_query, kind, 0, "Only of this kind"));
/* clang-format on */

struct list {
    struct arena *a;
    struct limit_out *v;
    size_t n, cap;
    uint64_t now_ms;
};

static void add(struct list *l, enum limit_of of, struct str id, struct gauge *g,
                const struct limits *limits)
{
    struct limit_place p = {g, limits, of};
    for (enum limit_kind k = 0; g && k < LIMIT_KINDS; k++) {
        struct limit_view v = limit_view(&p, k, l->now_ms);
        if (v.limit == 0)
            continue;
        if (l->n == l->cap) {
            size_t cap = l->cap ? l->cap * 2 : 64;
            l->v = arena_realloc(l->a, l->v, l->cap * sizeof *l->v, cap * sizeof *l->v);
            l->cap = cap;
        }
        l->v[l->n++] = (struct limit_out){.name = str_fmt(l->a, "%s/" STR_FMT "/%s",
                                                          limit_of_names[of], STR_ARG(id),
                                                          limit_kind_names[k]),
                                          .of = str_of(limit_of_names[of]),
                                          .id = id,
                                          .kind = str_of(limit_kind_names[k]),
                                          .limit = v.limit,
                                          .used = v.used,
                                          .remaining = v.limit > v.used ? v.limit - v.used : 0,
                                          .reset_ms = v.reset_ms,
                                          .waiting = (int64_t)limit_waiting(g),
                                          .refused = (int64_t)limit_turned_away(g)};
    }
}

static bool list(struct control_call *c, struct err *e)
{
    static const enum limit_of of[HOLDER_KINDS] = {LIMIT_ORG, LIMIT_USER};
    const struct snapshot *s = c->snap;
    struct list l = {.a = c->arena, .now_ms = clock_mono_ms()};
    for (size_t i = 0; i < s->n_keys; i++)
        add(&l, LIMIT_KEY, s->keys[i]->id, s->keys[i]->gauge, &s->keys[i]->policy->limits);
    for (size_t k = 0; k < HOLDER_KINDS; k++)
        for (size_t i = 0; i < s->n_holders[k]; i++)
            add(&l, of[k], s->holders[k][i]->id, s->holders[k][i]->gauge,
                &s->holders[k][i]->limits);
    for (size_t i = 0; i < s->n_models; i++)
        add(&l, LIMIT_MODEL, s->models[i]->name, s->models[i]->gauge, &s->models[i]->limits);
    for (size_t i = 0; i < s->n_upstreams; i++)
        add(&l, LIMIT_UPSTREAM, s->upstreams[i]->name, s->upstreams[i]->gauge,
            &s->upstreams[i]->limits);
    return control_reply_sorted(c, &limit_shape, l.v, l.n, "name", e);
}

/* clang-format off */
const struct endpoint limit_endpoints[] = {
    { HTTP_GET, "/sluice/v1/limits", SURFACE_SLUICE, ACCESS_VIEWER, "List every limit that is set, with what is used and left of it, and who waits", .on_worker = list, .query = &limit_query_shape, .out = &limit_shape, .is_page = true },
    {0},
};
/* clang-format on */
