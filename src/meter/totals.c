#include "meter/totals.h"
#include "base/map.h"
#include "meter/saved.h"
#include "wire/wires.h"
#include <stdio.h>
#include <stdlib.h>

/* of one kind; further ones are added up as `other`, so that restarts do not pile names up */
#define MAX_NAMES 4096u

struct totals_base {
    struct arena *arena;
    struct totals totals;
};

/* ---- adding up ---- */

struct tally_map {
    struct arena *arena;
    struct map by_name; /* -> struct tally */
};

static void tally_add(struct tally_map *m, struct str name, uint64_t n)
{
    struct tally *t = map_get(&m->by_name, name);
    if (!t && m->by_name.n >= MAX_NAMES) {
        name = STR("other");
        t = map_get(&m->by_name, name);
    }
    if (!t) {
        t = ARENA_NEW(m->arena, struct tally);
        t->name = str_dup(m->arena, name);
        map_set(&m->by_name, t->name, t);
    }
    t->n += n;
}

static int by_name(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = n ? memcmp(x->name.p, y->name.p, n) : 0;
    return order ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static struct tallies tallies_of(struct tally_map *m)
{
    struct tallies out = {ARENA_ARRAY(m->arena, struct tally, m->by_name.n + 1), 0};
    struct str name;
    void *t;
    for (size_t i = 0; map_next(&m->by_name, &i, &name, &t);)
        out.v[out.n++] = *(struct tally *)t;
    map_done(&m->by_name);
    qsort(out.v, out.n, sizeof out.v[0], by_name);
    return out;
}

static struct tally_map tally_map(struct arena *a, const struct tallies *from)
{
    struct tally_map m = {.arena = a};
    map_init(&m.by_name);
    for (size_t i = 0; from && i < from->n; i++)
        tally_add(&m, from->v[i].name, from->v[i].n);
    return m;
}

struct totals totals_read(const struct totals_base *base, const struct metrics *m, struct arena *a)
{
    const struct totals *old = base ? &base->totals : NULL;
    const struct metrics_sum *s = metrics_read(m, a);
    struct totals t = {0};
    struct tally_map models = tally_map(a, old ? &old->models : NULL),
                     formats = tally_map(a, old ? &old->formats : NULL),
                     upstreams = tally_map(a, old ? &old->upstreams : NULL),
                     statuses = tally_map(a, old ? &old->statuses : NULL);
    if (old) {
        t.requests = old->requests;
        t.errors = old->errors;
        t.streams = old->streams;
    }
    for (size_t i = 0; i < s->n_outcomes; i++) {
        const struct outcome_sum *o = &s->outcomes[i];
        char status[16];
        if (o->model.n == 0)
            continue;
        (void)snprintf(status, sizeof status, "%d", o->status);
        t.requests += o->requests;
        t.errors += o->status >= 400 ? o->requests : 0;
        tally_add(&models, o->model, o->requests);
        tally_add(&formats, str_of(wire_of(o->client)->name), o->requests);
        tally_add(&statuses, str_of(status), o->requests);
        if (o->upstream.n)
            tally_add(&upstreams, o->upstream, o->requests);
    }
    for (size_t i = 0; i < s->n_traffic; i++)
        if (s->traffic[i].model.n)
            t.streams += s->traffic[i].streams;
    t.models = tallies_of(&models);
    t.formats = tallies_of(&formats);
    t.upstreams = tallies_of(&upstreams);
    t.statuses = tallies_of(&statuses);
    return t;
}

/* ---- the store ---- */

void tallies_write(const struct tallies *t, struct jw *w)
{
    jw_object(w);
    for (size_t i = 0; i < t->n; i++) {
        jw_key_str(w, t->v[i].name);
        jw_int(w, (int64_t)t->v[i].n);
    }
    jw_object_end(w);
}

static void write_totals(const struct totals *t, struct buf *b)
{
    const struct {
        const char *key;
        const struct tallies *t;
    } all[] = {{"models", &t->models},
               {"formats", &t->formats},
               {"upstreams", &t->upstreams},
               {"statuses", &t->statuses}};
    struct jw w = jw_on(b);
    jw_object(&w);
    jw_kv_int(&w, "requests", (int64_t)t->requests);
    jw_kv_int(&w, "errors", (int64_t)t->errors);
    jw_kv_int(&w, "streams", (int64_t)t->streams);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        jw_key_str(&w, str_of(all[i].key));
        tallies_write(all[i].t, &w);
    }
    jw_object_end(&w);
}

static uint64_t count_of(yyjson_val *v)
{
    int64_t n = json_int_or(v, 0);
    return n > 0 ? (uint64_t)n : 0;
}

static struct tallies read_tallies(struct arena *a, yyjson_val *object)
{
    struct tally_map m = tally_map(a, NULL);
    size_t i, n;
    yyjson_val *k, *v;
    if (yyjson_is_obj(object))
        yyjson_obj_foreach (object, i, n, k, v)
            tally_add(&m, json_str(k), count_of(v));
    return tallies_of(&m);
}

struct totals_base *totals_load(struct db *db)
{
    struct totals_base *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    b->arena = arena_new();
    yyjson_val *root = saved_get(db, b->arena, "counters");
    if (root)
        b->totals = (struct totals){
            .requests = count_of(json_get(root, "requests")),
            .errors = count_of(json_get(root, "errors")),
            .streams = count_of(json_get(root, "streams")),
            .models = read_tallies(b->arena, json_get(root, "models")),
            .formats = read_tallies(b->arena, json_get(root, "formats")),
            .upstreams = read_tallies(b->arena, json_get(root, "upstreams")),
            .statuses = read_tallies(b->arena, json_get(root, "statuses"))};
    return b;
}

void totals_free(struct totals_base *b)
{
    if (!b)
        return;
    arena_free(b->arena);
    free(b);
}

void totals_save(const struct totals_base *base, const struct metrics *m, struct usage_log *log)
{
    struct arena *a = arena_new();
    struct totals t = totals_read(base, m, a);
    struct buf text;
    buf_init(&text, 16u << 20);
    write_totals(&t, &text);
    arena_free(a);
    (void)!saved_put(log, "counters", &text); /* else the next one will do */
}
