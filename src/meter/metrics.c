#include "meter/metrics.h"
#include "base/codec.h"
#include <stdatomic.h>
#include <stdlib.h>

#define LABEL_OTHER 0u /* beyond the bound */
#define LABEL_NONE 1u  /* there is none: no upstream was tried, the model led nowhere */
#define LABEL_FIRST 2u
#define MAX_LABELS 16000u /* their indices have 14 bits in the keys of cells */
/* combinations in one shard; further ones are counted with `other` labels */
#define MAX_CELLS 4096u
#define CELL_SLOTS 8192u
/* seconds; more than METRICS_SECONDS, so that none is read while it is taken anew */
#define RING 512u
#define WINDOWS (METRICS_SECONDS / METRICS_WINDOW_S + 4u)
#define MAX_STATUS 600

/* clang-format off */
const struct bounds bounds_duration = { 17, { 1000, 2500, 5000, 10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000,
    2560000, 5120000, 10240000, 20480000, 40960000, 81920000 } };
const struct bounds bounds_ttft = { 16, { 1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000, 250000, 500000, 750000,
    1000000, 2500000, 5000000, 7500000, 10000000 } };
const struct bounds bounds_per_token = { 14, { 1000, 10000, 25000, 50000, 75000, 100000, 150000, 200000, 300000, 400000, 500000,
    750000, 1000000, 2500000 } };
const struct bounds bounds_tokens = { 14, { 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216,
    67108864 } };
/* clang-format on */

/* written by one thread: a load and a store, no locked instruction */
typedef _Atomic uint64_t count;

/* Release and acquire, for windows: who sees a count of a step also sees which step it is of. */
static inline void add(count *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_release);
}

static inline uint64_t get(const count *c)
{
    return atomic_load_explicit(c, memory_order_acquire);
}

/* ---- labels: a set that only grows, read and added to without a lock ---- */

struct label {
    uint64_t hash;
    unsigned index;
    const char *kind; /* of an upstream */
    struct str text;
};

struct label_set {
    _Atomic(struct label *) *slots;
    _Atomic(struct label *) *by_index;
    size_t mask;
    unsigned max, max_foreign; /* foreign: names that the configuration does not have */
    _Atomic unsigned n, n_foreign;
};

struct hist {
    count bucket[HISTOGRAM_MAX + 1];
    count sum;
};

struct traffic {
    struct traffic *next;
    uint64_t key;
    struct hist duration, ttft, per_token, tokens_in, tokens_out;
    count streams, attempts, failovers, cache_read, cache_write, reasoning, cost_nanousd, unpriced;
};

struct outcome {
    struct outcome *next;
    uint64_t key;
    count requests;
};

struct cell_slot {
    uint64_t key; /* 0: free */
    void *cell;
};

struct cells { /* of the loop alone; readers walk the list of what it holds */
    struct cell_slot *slots;
    unsigned n;
};

struct window { /* what happened in one step of time */
    count step; /* its number + 1; 0: it is being taken anew */
    count requests, errors, failures, streams, tokens_in, tokens_out, duration_us, ttft_us, ttft_n;
    count cost_nanousd, unpriced, refused, answered_us;
};

struct dim {
    count requests, errors, streams, tokens_in, tokens_out, duration_us;
    count ok, by_fault[METRICS_MAX_FAULTS]; /* of an upstream: its attempts */
    struct window windows[WINDOWS];
};

struct metrics_shard {
    struct metrics *all;
    _Atomic(struct traffic *) traffic;
    _Atomic(struct outcome *) outcomes;
    struct cells traffic_cells, outcome_cells;
    _Atomic(struct dim *) *dims[DIM_N];
    struct window ring[RING];
    count refused[MAX_STATUS];
    count labels_beyond;
};

struct metrics {
    struct label_set labels[DIM_N], errors;
    unsigned n_shards, n_indices;
    uint64_t seed;
    struct metrics_shard *shards[];
};

static void *zalloc(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p)
        abort();
    return p;
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Two multiplications for a usual name. Sets are bounded, so that made-up names cannot make it slow. */
static inline uint64_t hash_text(uint64_t seed, struct str s)
{
    uint64_t h = seed ^ s.n, word;
    size_t at = 0;
    for (; at + 8 <= s.n; at += 8) {
        memcpy(&word, s.p + at, 8);
        h = fold(h ^ word, 0x9fb21c651e98df25U);
    }
    word = 0;
    if (at < s.n)
        memcpy(&word, s.p + at, s.n - at);
    return fold(h ^ word, 0xa0761d6478bd642fU);
}

static void labels_init(struct label_set *l, unsigned max)
{
    size_t slots = 64;
    while (slots < 4 * (size_t)max)
        slots *= 2;
    l->slots = zalloc(slots, sizeof *l->slots);
    l->by_index = zalloc(max + LABEL_FIRST, sizeof *l->by_index);
    l->mask = slots - 1;
    l->max = max;
    l->max_foreign = (max + 1) / 2;
}

static void labels_done(struct label_set *l)
{
    for (size_t i = 0; l->slots && i <= l->mask; i++)
        free(atomic_load(&l->slots[i]));
    free(l->slots);
    free(l->by_index);
}

static bool take_one(_Atomic unsigned *n, unsigned max)
{
    unsigned now = atomic_load_explicit(n, memory_order_relaxed);
    do
        if (now >= max)
            return false;
    while (!atomic_compare_exchange_weak(n, &now, now + 1));
    return true;
}

static bool label_is(const struct label *l, uint64_t hash, struct str text)
{
    return l->hash == hash && str_eq(l->text, text);
}

/* snap: names that it does not know as models get half of the room, so that made-up ones cannot take it all. NULL: all are known. */
static unsigned label_add(struct label_set *set, uint64_t hash, struct str text, const char *kind,
                          const struct snapshot *snap)
{
    if (str_is(text, "other"))
        return LABEL_OTHER; /* a name of theirs that is ours already */
    if (snap && !snapshot_model(snap, text) && !take_one(&set->n_foreign, set->max_foreign))
        return LABEL_OTHER;
    unsigned n = atomic_load_explicit(&set->n, memory_order_relaxed);
    do
        if (n >= set->max)
            return LABEL_OTHER;
    while (!atomic_compare_exchange_weak(&set->n, &n, n + 1));
    struct label *l = zalloc(1, sizeof *l + text.n);
    memcpy(l + 1, text.p, text.n);
    *l = (struct label){hash, LABEL_FIRST + n, kind, str_n((const char *)(l + 1), text.n)};
    for (size_t i = hash & set->mask;; i = (i + 1) & set->mask) {
        struct label *there = NULL;
        if (atomic_compare_exchange_strong(&set->slots[i], &there, l))
            break;
        if (label_is(there, hash, text)) { /* another loop was faster: our index stays empty */
            free(l);
            return there->index;
        }
    }
    atomic_store_explicit(&set->by_index[l->index], l, memory_order_release);
    return l->index;
}

static inline unsigned label_of(const struct metrics *m, struct label_set *set, struct str text,
                                const char *kind, const struct snapshot *snap)
{
    uint64_t hash = hash_text(m->seed, text);
    for (size_t i = hash & set->mask;; i = (i + 1) & set->mask) {
        struct label *l = atomic_load_explicit(&set->slots[i], memory_order_acquire);
        if (!l)
            return label_add(set, hash, text, kind, snap);
        if (label_is(l, hash, text))
            return l->index;
    }
}

static struct str label_text(const struct label_set *set, unsigned index)
{
    if (index == LABEL_OTHER)
        return STR("other");
    struct label *l = index < LABEL_FIRST
                          ? NULL
                          : atomic_load_explicit(&set->by_index[index], memory_order_acquire);
    return l ? l->text : STR_NONE;
}

static const char *label_kind(const struct label_set *set, unsigned index)
{
    struct label *l = index < LABEL_FIRST
                          ? NULL
                          : atomic_load_explicit(&set->by_index[index], memory_order_acquire);
    return l && l->kind ? l->kind : "";
}

/* ---- keys of cells ---- */

/* op 5, format 4, model 14, upstream 14; then either 1 bit of failure or status 10 and error 14; and one that is never 0. */
static uint64_t cell_key(enum op op, enum wire_id client, unsigned model, unsigned upstream)
{
    return 1 | (uint64_t)op << 1 | (uint64_t)client << 6 | (uint64_t)model << 10 |
           (uint64_t)upstream << 24;
}
static enum op key_op(uint64_t k)
{
    return (enum op)(k >> 1 & 31);
}
static enum wire_id key_client(uint64_t k)
{
    return (enum wire_id)(k >> 6 & 15);
}
static unsigned key_model(uint64_t k)
{
    return k >> 10 & 0x3fff;
}
static unsigned key_upstream(uint64_t k)
{
    return k >> 24 & 0x3fff;
}
_Static_assert(OP_N <= 32 && WIRE_N <= 16, "operations and formats fit into the keys of cells");
#define KEY_ERROR_AT 38
#define KEY_STATUS_AT 38
#define KEY_CODE_AT 48

static struct cell_slot *cell_slot(struct cells *c, uint64_t key)
{
    size_t at = fold(key, 0x9fb21c651e98df25U) & (CELL_SLOTS - 1);
    while (c->slots[at].key != 0 && c->slots[at].key != key)
        at = (at + 1) & (CELL_SLOTS - 1);
    return &c->slots[at];
}

static struct traffic *traffic_cell(struct metrics_shard *s, uint64_t key, uint64_t otherwise)
{
    struct cell_slot *slot = cell_slot(&s->traffic_cells, key);
    if (slot->key)
        return slot->cell;
    if (s->traffic_cells.n >= MAX_CELLS && key != otherwise)
        return traffic_cell(s, otherwise, otherwise);
    struct traffic *t = zalloc(1, sizeof *t);
    t->key = key;
    t->next = atomic_load_explicit(&s->traffic, memory_order_relaxed);
    atomic_store_explicit(&s->traffic, t, memory_order_release);
    *slot = (struct cell_slot){key, t};
    s->traffic_cells.n++;
    return t;
}

static struct outcome *outcome_cell(struct metrics_shard *s, uint64_t key, uint64_t otherwise)
{
    struct cell_slot *slot = cell_slot(&s->outcome_cells, key);
    if (slot->key)
        return slot->cell;
    if (s->outcome_cells.n >= MAX_CELLS && key != otherwise)
        return outcome_cell(s, otherwise, otherwise);
    struct outcome *o = zalloc(1, sizeof *o);
    o->key = key;
    o->next = atomic_load_explicit(&s->outcomes, memory_order_relaxed);
    atomic_store_explicit(&s->outcomes, o, memory_order_release);
    *slot = (struct cell_slot){key, o};
    s->outcome_cells.n++;
    return o;
}

static struct dim *dim_cell(struct metrics_shard *s, enum metrics_dim which, unsigned index)
{
    struct dim *d = atomic_load_explicit(&s->dims[which][index], memory_order_relaxed);
    if (!d) {
        d = zalloc(1, sizeof *d);
        atomic_store_explicit(&s->dims[which][index], d, memory_order_release);
    }
    return d;
}

/* ---- counting ---- */

static inline void observe(struct hist *h, const struct bounds *b, int64_t v)
{
    unsigned i = 0;
    while (i < b->n && v > b->v[i])
        i++;
    add(&h->bucket[i], 1);
    add(&h->sum, v > 0 ? (uint64_t)v : 0);
}

static inline struct window *window_at(struct window *ring, size_t n, uint64_t step)
{
    struct window *w = &ring[step % n];
    if (atomic_load_explicit(&w->step, memory_order_relaxed) != step + 1) {
        count *all[] = {&w->failures,   &w->requests,     &w->errors,      &w->streams,
                        &w->tokens_in,  &w->tokens_out,   &w->duration_us, &w->ttft_us,
                        &w->ttft_n,     &w->cost_nanousd, &w->unpriced,    &w->refused,
                        &w->answered_us};
        atomic_store_explicit(&w->step, 0, memory_order_relaxed);
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            atomic_store_explicit(all[i], 0, memory_order_release);
        atomic_store_explicit(&w->step, step + 1, memory_order_release);
    }
    return w;
}

struct numbers { /* of a request, as windows and dimensions add them */
    uint64_t error, failure, stream, in, out, duration_us, ttft_us, ttft_n, cost_nanousd, unpriced;
};

static inline void window_add(struct window *w, const struct numbers *n)
{
    add(&w->requests, 1);
    add(&w->duration_us, n->duration_us);
    if (n->error)
        add(&w->errors, 1);
    if (n->failure)
        add(&w->failures, 1);
    if (n->stream)
        add(&w->streams, 1);
    if (n->in | n->out) {
        add(&w->tokens_in, n->in);
        add(&w->tokens_out, n->out);
    }
    if (n->ttft_n) {
        add(&w->ttft_us, n->ttft_us);
        add(&w->ttft_n, 1);
        add(&w->answered_us, n->duration_us);
    }
    if (n->cost_nanousd)
        add(&w->cost_nanousd, n->cost_nanousd);
    if (n->unpriced)
        add(&w->unpriced, 1);
}

static inline void dim_add(struct dim *d, uint64_t step, const struct numbers *n)
{
    add(&d->requests, 1);
    add(&d->duration_us, n->duration_us);
    if (n->error)
        add(&d->errors, 1);
    if (n->stream)
        add(&d->streams, 1);
    if (n->in | n->out) {
        add(&d->tokens_in, n->in);
        add(&d->tokens_out, n->out);
    }
    window_add(window_at(d->windows, WINDOWS, step), n);
}

static inline uint64_t known(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

static void add_traffic(struct traffic *t, const struct metrics_request *r, const struct numbers *n)
{
    const struct ir_usage *u = r->usage;
    observe(&t->duration, &bounds_duration, r->duration_us);
    if (n->ttft_n)
        observe(&t->ttft, &bounds_ttft, r->ttft_us);
    if (u->input_total >= 0)
        observe(&t->tokens_in, &bounds_tokens, u->input_total);
    if (u->output_total >= 0)
        observe(&t->tokens_out, &bounds_tokens, u->output_total);
    if (r->is_stream) {
        add(&t->streams, 1);
        if (n->ttft_n && u->output_total > 1 && r->duration_us > r->ttft_us)
            observe(&t->per_token, &bounds_per_token,
                    (r->duration_us - r->ttft_us) / (u->output_total - 1));
    }
    add(&t->attempts, r->attempts);
    if (r->attempts > 1 + r->hedges)
        add(&t->failovers, r->attempts - 1 - r->hedges);
    if (u->cache_read > 0)
        add(&t->cache_read, (uint64_t)u->cache_read);
    if (u->cache_write > 0)
        add(&t->cache_write, (uint64_t)u->cache_write);
    if (u->reasoning > 0)
        add(&t->reasoning, (uint64_t)u->reasoning);
    if (n->cost_nanousd)
        add(&t->cost_nanousd, n->cost_nanousd);
    if (n->unpriced)
        add(&t->unpriced, 1);
}

static inline unsigned upstream_label(struct metrics *m, const struct upstream *u)
{
    return u ? label_of(m, &m->labels[DIM_UPSTREAM], u->name, u->kind ? u->kind->id : "", NULL)
             : LABEL_NONE;
}

void metrics_done(struct metrics_shard *s, const struct metrics_request *r)
{
    struct metrics *m = s->all;
    bool is_error = r->status >= 400 || r->error_code[0];
    /* refused before anybody was asked, it says nothing about who would have been */
    bool is_theirs = r->attempts || !is_error;
    unsigned upstream = is_theirs ? upstream_label(m, r->upstream) : LABEL_NONE;
    unsigned model = r->model.n ? label_of(m, &m->labels[DIM_MODEL], r->model, NULL, r->snap)
                                : LABEL_NONE;
    unsigned key = r->key ? label_of(m, &m->labels[DIM_KEY], r->key->id, NULL, NULL) : LABEL_NONE;
    unsigned error = r->error_code[0] ? label_of(m, &m->errors, str_of(r->error_code), NULL, NULL)
                                      : LABEL_NONE;
    unsigned status = r->status > 0 && r->status < MAX_STATUS ? (unsigned)r->status : 0;
    uint64_t where = cell_key(r->op, r->client, model, upstream);
    uint64_t other = cell_key(r->op, r->client, LABEL_OTHER, LABEL_OTHER);
    struct numbers n = {.error = is_error,
                        .failure = r->status >= 400,
                        .stream = r->is_stream,
                        .in = known(r->usage->input_total),
                        .out = known(r->usage->output_total),
                        .duration_us = known(r->duration_us),
                        .ttft_us = known(r->ttft_us),
                        .ttft_n = r->ttft_us >= 0,
                        .cost_nanousd = known(r->cost_nanousd),
                        .unpriced = r->is_unpriced};
    if (model == LABEL_OTHER || upstream == LABEL_OTHER || key == LABEL_OTHER)
        add(&s->labels_beyond, 1);
    uint64_t failed = (uint64_t)is_error << KEY_ERROR_AT;
    add_traffic(traffic_cell(s, where | failed, other | failed), r, &n);
    uint64_t ending = (uint64_t)status << KEY_STATUS_AT | (uint64_t)error << KEY_CODE_AT;
    add(&outcome_cell(s, where | ending, other | (uint64_t)status << KEY_STATUS_AT)->requests, 1);
    uint64_t second = r->now_ns / 1000000000u, step = second / METRICS_WINDOW_S;
    /* it led nowhere: no part of what the series show but for how many there were */
    if (model == LABEL_NONE) {
        add(&window_at(s->ring, RING, second)->refused, 1);
        add(&window_at(dim_cell(s, DIM_KEY, key)->windows, WINDOWS, step)->refused, 1);
        return;
    }
    window_add(window_at(s->ring, RING, second), &n);
    dim_add(dim_cell(s, DIM_MODEL, model), step, &n);
    dim_add(dim_cell(s, DIM_KEY, key), step, &n);
    if (upstream == LABEL_NONE)
        return;
    struct dim *d = dim_cell(s, DIM_UPSTREAM, upstream);
    dim_add(d, step, &n);
    if (r->attempts > r->failed_attempts)
        add(&d->ok, 1);
}

void metrics_attempt_failed(struct metrics_shard *s, const struct upstream *u, unsigned fault)
{
    struct dim *d = dim_cell(s, DIM_UPSTREAM, upstream_label(s->all, u));
    add(&d->by_fault[fault < METRICS_MAX_FAULTS ? fault : 0], 1);
}

void metrics_refused(struct metrics_shard *s, int status)
{
    add(&s->refused[status > 0 && status < MAX_STATUS ? status : 0], 1);
}

/* ---- life ---- */

struct metrics *metrics_new(unsigned loops, unsigned max_labels)
{
    struct metrics *m = zalloc(1, sizeof *m + loops * sizeof m->shards[0]);
    unsigned max = max_labels < MAX_LABELS ? max_labels : MAX_LABELS;
    m->n_shards = loops;
    m->n_indices = max + LABEL_FIRST;
    m->seed = random_u64();
    for (unsigned d = 0; d < DIM_N; d++)
        labels_init(&m->labels[d], max);
    labels_init(&m->errors, max);
    for (unsigned i = 0; i < loops; i++) {
        struct metrics_shard *s = m->shards[i] = zalloc(1, sizeof *s);
        s->all = m;
        s->traffic_cells.slots = zalloc(CELL_SLOTS, sizeof(struct cell_slot));
        s->outcome_cells.slots = zalloc(CELL_SLOTS, sizeof(struct cell_slot));
        for (unsigned d = 0; d < DIM_N; d++)
            s->dims[d] = zalloc(m->n_indices, sizeof *s->dims[d]);
    }
    return m;
}

static void free_shard(struct metrics_shard *s, unsigned n_indices)
{
    for (struct traffic *t = atomic_load(&s->traffic), *next; t; t = next) {
        next = t->next;
        free(t);
    }
    for (struct outcome *o = atomic_load(&s->outcomes), *next; o; o = next) {
        next = o->next;
        free(o);
    }
    for (unsigned d = 0; d < DIM_N; d++) {
        for (unsigned i = 0; i < n_indices; i++)
            free(atomic_load(&s->dims[d][i]));
        free(s->dims[d]);
    }
    free(s->traffic_cells.slots);
    free(s->outcome_cells.slots);
    free(s);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (unsigned i = 0; i < m->n_shards; i++)
        free_shard(m->shards[i], m->n_indices);
    for (unsigned d = 0; d < DIM_N; d++)
        labels_done(&m->labels[d]);
    labels_done(&m->errors);
    free(m);
}

struct metrics_shard *metrics_shard(struct metrics *m, unsigned loop)
{
    return m->shards[loop];
}

/* ---- reading ---- */

static void add_hist(struct histogram *to, const struct hist *h)
{
    for (unsigned i = 0; i <= HISTOGRAM_MAX; i++) {
        uint64_t n = get(&h->bucket[i]);
        to->bucket[i] += n;
        to->count += n;
    }
    to->sum += (int64_t)get(&h->sum);
}

static int by_number(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_traffic(const void *a, const void *b)
{
    return by_number((*(struct traffic *const *)a)->key, (*(struct traffic *const *)b)->key);
}

static int compare_outcomes(const void *a, const void *b)
{
    return by_number((*(struct outcome *const *)a)->key, (*(struct outcome *const *)b)->key);
}

static void read_traffic(const struct metrics *m, struct arena *a, struct metrics_sum *out)
{
    size_t n = 0, at = 0;
    struct traffic *first[256];
    for (unsigned i = 0; i < m->n_shards; i++) {
        first[i] = atomic_load_explicit(&m->shards[i]->traffic, memory_order_acquire);
        for (struct traffic *t = first[i]; t; t = t->next)
            n++;
    }
    if (n == 0)
        return;
    struct traffic **all = ARENA_ARRAY(a, struct traffic *, n);
    for (unsigned i = 0; i < m->n_shards; i++)
        for (struct traffic *t = first[i]; t; t = t->next)
            all[at++] = t;
    qsort(all, n, sizeof all[0], compare_traffic);
    out->traffic = ARENA_ARRAY(a, struct traffic_sum, n);
    struct traffic_sum *s = out->traffic;
    for (size_t i = 0; i < n; i++) {
        const struct traffic *t = all[i];
        if (i == 0 || t->key != all[i - 1]->key) {
            s = &out->traffic[out->n_traffic++];
            *s = (struct traffic_sum){
                .op = key_op(t->key),
                .client = key_client(t->key),
                .model = label_text(&m->labels[DIM_MODEL], key_model(t->key)),
                .upstream = label_text(&m->labels[DIM_UPSTREAM], key_upstream(t->key)),
                .kind = label_kind(&m->labels[DIM_UPSTREAM], key_upstream(t->key)),
                .is_error = t->key >> KEY_ERROR_AT & 1};
        }
        add_hist(&s->duration, &t->duration);
        add_hist(&s->ttft, &t->ttft);
        add_hist(&s->per_token, &t->per_token);
        add_hist(&s->tokens_in, &t->tokens_in);
        add_hist(&s->tokens_out, &t->tokens_out);
        s->streams += get(&t->streams);
        s->attempts += get(&t->attempts);
        s->failovers += get(&t->failovers);
        s->cache_read += get(&t->cache_read);
        s->cache_write += get(&t->cache_write);
        s->reasoning += get(&t->reasoning);
        s->cost_nanousd += get(&t->cost_nanousd);
        s->unpriced += get(&t->unpriced);
    }
}

static void read_outcomes(const struct metrics *m, struct arena *a, struct metrics_sum *out)
{
    size_t n = 0, at = 0;
    struct outcome *first[256];
    for (unsigned i = 0; i < m->n_shards; i++) {
        first[i] = atomic_load_explicit(&m->shards[i]->outcomes, memory_order_acquire);
        for (struct outcome *o = first[i]; o; o = o->next)
            n++;
    }
    if (n == 0)
        return;
    struct outcome **all = ARENA_ARRAY(a, struct outcome *, n);
    for (unsigned i = 0; i < m->n_shards; i++)
        for (struct outcome *o = first[i]; o; o = o->next)
            all[at++] = o;
    qsort(all, n, sizeof all[0], compare_outcomes);
    out->outcomes = ARENA_ARRAY(a, struct outcome_sum, n);
    struct outcome_sum *s = out->outcomes;
    for (size_t i = 0; i < n; i++) {
        uint64_t k = all[i]->key;
        if (i == 0 || k != all[i - 1]->key) {
            s = &out->outcomes[out->n_outcomes++];
            *s = (struct outcome_sum){
                .op = key_op(k),
                .client = key_client(k),
                .model = label_text(&m->labels[DIM_MODEL], key_model(k)),
                .upstream = label_text(&m->labels[DIM_UPSTREAM], key_upstream(k)),
                .error = label_text(&m->errors, k >> KEY_CODE_AT & 0x3fff),
                .status = (int)(k >> KEY_STATUS_AT & 1023)};
        }
        s->requests += get(&all[i]->requests);
    }
}

static const struct dim *dim_at(const struct metrics_shard *s, enum metrics_dim which,
                                unsigned index)
{
    return atomic_load_explicit(&s->dims[which][index], memory_order_acquire);
}

static bool add_dim(const struct metrics *m, enum metrics_dim which, unsigned index,
                    struct dim_sum *to, struct attempt_sum *attempts)
{
    bool is_any = false;
    for (unsigned i = 0; i < m->n_shards; i++) {
        const struct dim *d = dim_at(m->shards[i], which, index);
        if (!d)
            continue;
        is_any = true;
        to->requests += get(&d->requests);
        to->errors += get(&d->errors);
        to->streams += get(&d->streams);
        to->tokens_in += get(&d->tokens_in);
        to->tokens_out += get(&d->tokens_out);
        to->duration_us += (int64_t)get(&d->duration_us);
        attempts->ok += get(&d->ok);
        for (unsigned f = 0; f < METRICS_MAX_FAULTS; f++)
            attempts->by_fault[f] += get(&d->by_fault[f]);
    }
    to->text = attempts->upstream = label_text(&m->labels[which], index);
    return is_any;
}

static void read_dims(const struct metrics *m, struct arena *a, struct metrics_sum *out)
{
    for (enum metrics_dim d = 0; d < DIM_N; d++) {
        unsigned n = LABEL_FIRST + atomic_load(&m->labels[d].n);
        out->dims[d] = ARENA_ARRAY(a, struct dim_sum, n);
        if (d == DIM_UPSTREAM)
            out->attempts = ARENA_ARRAY(a, struct attempt_sum, n);
        for (unsigned i = 0; i < n; i++) {
            struct dim_sum sum = {0};
            struct attempt_sum attempts = {0};
            if (!add_dim(m, d, i, &sum, &attempts))
                continue;
            out->dims[d][out->n_dims[d]++] = sum;
            if (d == DIM_UPSTREAM)
                out->attempts[out->n_attempts++] = attempts;
        }
    }
}

struct metrics_sum *metrics_read(const struct metrics *m, struct arena *a)
{
    struct metrics_sum *out = ARENA_NEW(a, struct metrics_sum);
    read_traffic(m, a, out);
    read_outcomes(m, a, out);
    read_dims(m, a, out);
    out->refused = ARENA_ARRAY(a, struct status_sum, MAX_STATUS);
    for (int status = 0; status < MAX_STATUS; status++) {
        uint64_t n = 0;
        for (unsigned i = 0; i < m->n_shards; i++)
            n += get(&m->shards[i]->refused[status]);
        if (n)
            out->refused[out->n_refused++] = (struct status_sum){status, n};
    }
    for (unsigned i = 0; i < m->n_shards; i++)
        out->labels_beyond += get(&m->shards[i]->labels_beyond);
    return out;
}

static void add_window(struct metrics_point *to, const struct window *ring, size_t n, uint64_t step)
{
    const struct window *w = &ring[step % n];
    if (get(&w->step) != step + 1)
        return;
    struct metrics_point p = {.requests = get(&w->requests),
                              .errors = get(&w->errors),
                              .failures = get(&w->failures),
                              .streams = get(&w->streams),
                              .tokens_in = get(&w->tokens_in),
                              .tokens_out = get(&w->tokens_out),
                              .ttft_n = get(&w->ttft_n),
                              .duration_us = (int64_t)get(&w->duration_us),
                              .ttft_us = (int64_t)get(&w->ttft_us),
                              .cost_nanousd = get(&w->cost_nanousd),
                              .unpriced = get(&w->unpriced),
                              .refused = get(&w->refused),
                              .answered_us = (int64_t)get(&w->answered_us)};
    if (get(&w->step) != step + 1)
        return; /* taken anew meanwhile */
    to->requests += p.requests;
    to->errors += p.errors;
    to->failures += p.failures;
    to->streams += p.streams;
    to->tokens_in += p.tokens_in;
    to->tokens_out += p.tokens_out;
    to->ttft_n += p.ttft_n;
    to->duration_us += p.duration_us;
    to->ttft_us += p.ttft_us;
    to->cost_nanousd += p.cost_nanousd;
    to->unpriced += p.unpriced;
    to->refused += p.refused;
    to->answered_us += p.answered_us;
}

void metrics_series(const struct metrics *m, uint64_t now_ns, unsigned seconds,
                    struct metrics_point *out)
{
    uint64_t now = now_ns / 1000000000u;
    for (unsigned i = 0; i < seconds; i++) {
        uint64_t back = seconds - 1 - i;
        out[i] = (struct metrics_point){0};
        for (unsigned k = 0; k < m->n_shards && back <= now; k++)
            add_window(&out[i], m->shards[k]->ring, RING, now - back);
    }
}

static bool dim_series(const struct metrics *m, enum metrics_dim dim, unsigned index,
                       uint64_t now_ns, unsigned n, struct metrics_point *out)
{
    uint64_t now = now_ns / 1000000000u / METRICS_WINDOW_S;
    bool is_any = false;
    memset(out, 0, n * sizeof *out);
    for (unsigned k = 0; k < m->n_shards; k++) {
        const struct dim *d = dim_at(m->shards[k], dim, index);
        is_any |= d != NULL;
        for (unsigned i = 0; d && i < n; i++)
            if (n - 1 - i <= now)
                add_window(&out[i], d->windows, WINDOWS, now - (n - 1 - i));
    }
    return is_any;
}

bool metrics_dim_series(const struct metrics *m, enum metrics_dim dim, struct str label,
                        uint64_t now_ns, unsigned n, struct metrics_point *out)
{
    unsigned last = LABEL_FIRST + atomic_load(&m->labels[dim].n);
    for (unsigned i = 0; i < last; i++)
        if (str_eq(label_text(&m->labels[dim], i), label) && dim_series(m, dim, i, now_ns, n, out))
            return true;
    memset(out, 0, n * sizeof *out);
    return false;
}

size_t metrics_recent(const struct metrics *m, enum metrics_dim dim, uint64_t now_ns, unsigned n,
                      struct arena *a, struct dim_recent **out)
{
    unsigned last = LABEL_FIRST + atomic_load(&m->labels[dim].n);
    struct metrics_point points[METRICS_SECONDS / METRICS_WINDOW_S];
    size_t found = 0;
    *out = ARENA_ARRAY(a, struct dim_recent, last);
    for (unsigned i = 0; i < last; i++) {
        if (!dim_series(m, dim, i, now_ns, n, points))
            continue;
        struct dim_recent r = {.text = label_text(&m->labels[dim], i)};
        for (unsigned k = 0; k < n; k++) {
            r.sum.requests += points[k].requests;
            r.sum.errors += points[k].errors;
            r.sum.streams += points[k].streams;
            r.sum.tokens_in += points[k].tokens_in;
            r.sum.tokens_out += points[k].tokens_out;
            r.sum.ttft_n += points[k].ttft_n;
            r.sum.duration_us += points[k].duration_us;
            r.sum.ttft_us += points[k].ttft_us;
            r.sum.cost_nanousd += points[k].cost_nanousd;
            r.sum.unpriced += points[k].unpriced;
            r.sum.refused += points[k].refused;
            r.sum.answered_us += points[k].answered_us;
        }
        if (r.sum.requests || r.sum.refused)
            (*out)[found++] = r;
    }
    return found;
}
