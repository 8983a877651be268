#include "domain/snapshot.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/custom_kind.h"
#include <pthread.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <stdlib.h>

/* The live snapshot. Threads keep a reference of their own and look at `version` only: the lock is taken once a change a thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct snapshot *live;
static _Atomic uint64_t version; /* counts publications */
static _Thread_local struct snapshot *cached;
static _Thread_local uint64_t cached_version;

const char *origin_name(enum origin o)
{
    switch (o) {
    case ORIGIN_DEFAULT:
        return "default";
    case ORIGIN_FILE:
        return "file";
    case ORIGIN_ENV:
        return "environment";
    case ORIGIN_API:
        return "api";
    }
    return "default";
}

/* made when it is first asked for: a start with a hundred thousand keys does not wait for it */
struct key_ids {
    _Atomic(const struct key **) sorted;
};

struct snapshot *snapshot_new(void)
{
    struct arena *a = arena_new();
    struct snapshot *s = ARENA_NEW(a, struct snapshot);
    s->arena = a;
    s->key_ids = ARENA_NEW(a, struct key_ids);
    atomic_init(&s->refs, 1);
    map_init(&s->models_by_name);
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct arena *a = s->arena;
    map_done(&s->models_by_name);
    free(atomic_load_explicit(&s->key_ids->sorted, memory_order_relaxed));
    arena_free(a);
}

/* A thread that ends lets go of its reference by itself. */
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_thread_end(void *unused)
{
    (void)unused;
    snapshot_thread_done();
}

static void make_key(void)
{
    if (pthread_key_create(&at_thread_end, on_thread_end) != 0)
        abort();
}

static void refresh(void)
{
    (void)pthread_once(&once, make_key);
    (void)pthread_setspecific(at_thread_end, &cached);
    pthread_mutex_lock(&lock);
    struct snapshot *old = cached;
    cached = live ? snapshot_ref(live) : NULL;
    cached_version = atomic_load_explicit(&version, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    snapshot_unref(old);
}

struct snapshot *snapshot_current(void)
{
    if (cached_version != atomic_load_explicit(&version, memory_order_acquire))
        refresh();
    return cached ? snapshot_ref(cached) : NULL;
}

void snapshot_publish(struct snapshot *s)
{
    pthread_mutex_lock(&lock);
    struct snapshot *old = live;
    live = s;
    uint64_t next = atomic_load_explicit(&version, memory_order_relaxed) + 1;
    if (s)
        s->version = next;
    atomic_store_explicit(&version, next, memory_order_release);
    pthread_mutex_unlock(&lock);
    snapshot_unref(old);
}

void snapshot_thread_done(void)
{
    snapshot_unref(cached);
    cached = NULL;
    cached_version = 0;
}

/* ---- building ---- */

static int text_order(struct str x, struct str y)
{
    size_t n = x.n < y.n ? x.n : y.n;
    int order = n ? memcmp(x.p, y.p, n) : 0;
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

static int by_name(const void *a, const void *b)
{
    return text_order((*(const struct model *const *)a)->name,
                      (*(const struct model *const *)b)->name);
}

static size_t slot_of(const struct snapshot *s, const uint8_t hash[SHA256_SIZE])
{
    uint64_t first;
    memcpy(&first, hash, sizeof first);
    return (size_t)first & s->key_mask;
}

static void index_keys(struct snapshot *s)
{
    size_t cap = 16;
    while (cap < s->n_keys * 2)
        cap *= 2;
    s->key_slots = ARENA_ARRAY(s->arena, uint32_t, cap);
    s->key_mask = cap - 1;
    for (size_t i = 0; i < s->n_keys; i++) {
        size_t at = slot_of(s, s->keys[i]->hash);
        while (s->key_slots[at] &&
               memcmp(s->keys[s->key_slots[at] - 1]->hash, s->keys[i]->hash, SHA256_SIZE) != 0)
            at = (at + 1) & s->key_mask;
        s->key_slots[at] = (uint32_t)i + 1; /* of the same key twice the last one counts */
    }
}

static void add_line(struct buf *b, struct str name, struct str value)
{
    if (value.n)
        http_line_add(b, name, value);
}

static void add_key_line(struct buf *b, enum auth_style auth, struct str key)
{
    switch (auth) {
    case AUTH_BEARER: {
        struct buf value;
        buf_init(&value, key.n + 8);
        buf_lit(&value, "Bearer ");
        buf_str_add(&value, key);
        add_line(b, STR("authorization"), buf_str(&value));
        buf_done(&value);
        break;
    }
    case AUTH_X_API_KEY:
        add_line(b, STR("x-api-key"), key);
        break;
    case AUTH_X_GOOG:
        add_line(b, STR("x-goog-api-key"), key);
        break;
    case AUTH_API_KEY:
        add_line(b, STR("api-key"), key);
        break;
    case AUTH_NONE:
        break;
    }
}

/* What every request to an upstream carries, but for what depends on the request. */
static void write_lines(struct snapshot *s, struct upstream *u)
{
    size_t n = u->n_keys ? u->n_keys : 1;
    u->lines = ARENA_ARRAY(s->arena, struct str, n);
    for (size_t k = 0; k < n; k++) {
        struct buf b;
        buf_init_arena(&b, s->arena, SIZE_MAX / 4);
        http_line_add(&b, STR("accept-encoding"), STR("identity"));
        http_line_add(&b, STR("user-agent"), STR("sluice"));
        if (u->n_keys)
            add_key_line(&b, u->kind->auth, secret_reveal(u->keys[k]));
        for (size_t i = 0; u->kind->headers && u->kind->headers[i]; i++) {
            struct str name, value = str_cut(str_of(u->kind->headers[i]), ':', &name);
            add_line(&b, name, str_trim(value));
        }
        for (size_t i = 0; i < u->n_headers; i++)
            add_line(&b, u->headers[i].name, u->headers[i].value);
        u->lines[k] = buf_str(&b);
    }
}

uint32_t upstream_model_quirks(const struct upstream *u, struct str model)
{
    return provider_quirks_edited(provider_model_quirks(u->kind, u->kind->quirks, model),
                                  u->quirk_edit);
}

/* Also those that held until lately: a request is priced by the moment of its admission, and may be read and wait before its targets are found. */
#define LATELY_MS 3600000

const struct price *const *snapshot_prices(const struct snapshot *s, struct arena *a,
                                           const struct upstream *u, struct str model)
{
    return s->prices ? price_find(s->prices, a, u->name, str_of(u->kind->id), model,
                                  clock_wall_ms() - LATELY_MS)
                     : NULL;
}

const struct price *snapshot_price_at(const struct snapshot *s, const struct upstream *u,
                                      struct str model, int64_t at_ms)
{
    return price_find_at(s->prices, u->name, str_of(u->kind->id), model, at_ms);
}

static void list_name(struct snapshot *s, struct model *m)
{
    if (!m->is_enabled || m->n_targets == 0 || map_get(&s->models_by_name, m->name))
        return;
    map_set(&s->models_by_name, m->name, m);
    s->listed[s->n_listed++] = m;
}

static void index_names(struct snapshot *s)
{
    size_t n_made = s->routing ? s->routing->n_made : 0;
    map_reserve(&s->models_by_name, s->n_models + n_made);
    s->listed = ARENA_ARRAY(s->arena, struct model *, s->n_models + n_made + 1);
    for (size_t i = 0; i < n_made; i++) /* in the order of hiding */
        list_name(s, s->routing->made[i]);
    for (size_t i = 0; i < s->n_models; i++)
        list_name(s, s->models[i]);
    if (n_made)
        qsort(s->listed, s->n_listed, sizeof *s->listed, by_name);
}

void snapshot_index(struct snapshot *s)
{
    for (size_t i = 0; i < s->n_upstreams; i++)
        write_lines(s, s->upstreams[i]);
    if (s->n_models)
        qsort(s->models, s->n_models, sizeof *s->models, by_name);
    index_names(s);
    index_keys(s);
}

/* ---- looking up ---- */

/* Clients present the same key with every request. A thread remembers which keys it found by a keyed hash of 128 bits
 * (SipHash-2-4, keyed anew in each thread and never shown), a tenth of the price of SHA-256 and as hard to meet by
 * chance; it keeps no key's text. */
#define REMEMBERED 256
struct found_key {
    uint8_t mac[crypto_shorthash_siphashx24_BYTES];
    uint64_t version; /* of the snapshot that `key` belongs to; 0: empty */
    const struct key *key;
};

static struct found_key *found_key_slot(struct str presented,
                                        uint8_t mac[crypto_shorthash_siphashx24_BYTES])
{
    static _Thread_local struct found_key found[REMEMBERED];
    static _Thread_local uint8_t mac_key[crypto_shorthash_siphashx24_KEYBYTES];
    static _Thread_local bool has_mac_key;
    if (!has_mac_key) {
        random_bytes(mac_key, sizeof mac_key);
        has_mac_key = true;
    }
    (void)crypto_shorthash_siphashx24(mac, (const unsigned char *)presented.p, presented.n,
                                      mac_key);
    return &found[mac[0] % REMEMBERED];
}

static const struct key *find_key(const struct snapshot *s, struct str presented)
{
    uint8_t hash[SHA256_SIZE];
    sha256(presented, hash); /* comparing hashes leaks nothing of the key */
    for (size_t at = slot_of(s, hash); s->key_slots[at]; at = (at + 1) & s->key_mask) {
        const struct key *k = s->keys[s->key_slots[at] - 1];
        if (ct_eq(k->hash, hash, sizeof hash))
            return k;
    }
    return s->internal && ct_eq(s->internal->hash, hash, sizeof hash) ? s->internal : NULL;
}

const struct key *snapshot_key(const struct snapshot *s, struct str presented)
{
    uint8_t mac[crypto_shorthash_siphashx24_BYTES];
    if (!s->key_slots)
        return NULL;
    if (s->version == 0) /* not published: others may have this version too */
        return find_key(s, presented);
    struct found_key *f = found_key_slot(presented, mac);
    if (f->version == s->version && ct_eq(f->mac, mac, sizeof mac))
        return f->key;
    const struct key *k = find_key(s, presented);
    if (k) { /* guesses are not worth a place */
        memcpy(f->mac, mac, sizeof mac);
        f->version = s->version;
        f->key = k;
    }
    return k;
}

const struct model *snapshot_model(const struct snapshot *s, struct str name)
{
    return map_get(&s->models_by_name, name);
}

static int by_key_id(const void *a, const void *b)
{
    return text_order((*(const struct key *const *)a)->id, (*(const struct key *const *)b)->id);
}

const struct key *const *snapshot_keys_by_id(const struct snapshot *s)
{
    const struct key **v = atomic_load_explicit(&s->key_ids->sorted, memory_order_acquire);
    if (v)
        return v;
    const struct key **made = malloc((s->n_keys + 1) * sizeof *made);
    if (!made)
        abort();
    for (size_t i = 0; i < s->n_keys; i++)
        made[i] = s->keys[i];
    qsort(made, s->n_keys, sizeof *made, by_key_id);
    if (atomic_compare_exchange_strong(&s->key_ids->sorted, &v, made))
        return made;
    free(made); /* another thread was first */
    return v;
}

size_t snapshot_keys_from(const struct snapshot *s, struct str id)
{
    const struct key *const *v = snapshot_keys_by_id(s);
    size_t from = 0, to = s->n_keys;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (text_order(v[middle]->id, id) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

const struct key *snapshot_key_by_id(const struct snapshot *s, struct str id)
{
    size_t at = snapshot_keys_from(s, id);
    const struct key *k = at < s->n_keys ? snapshot_keys_by_id(s)[at] : NULL;
    return k && str_eq(k->id, id) ? k : NULL;
}

const struct upstream *snapshot_upstream_by_id(const struct snapshot *s, uint32_t id)
{
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (s->upstreams[i]->id == id)
            return s->upstreams[i];
    return NULL;
}

const struct upstream *snapshot_upstream(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (str_eq(s->upstreams[i]->name, name))
            return s->upstreams[i];
    return NULL;
}

const struct upstream *snapshot_upstream_by_uid(const struct snapshot *s, struct str uid)
{
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (str_eq(s->upstreams[i]->uid, uid))
            return s->upstreams[i];
    return NULL;
}

const struct holder *snapshot_holder(const struct snapshot *s, enum holder_kind k, struct str id)
{
    for (size_t i = 0; i < s->n_holders[k]; i++)
        if (str_eq(s->holders[k][i]->id, id))
            return s->holders[k][i];
    return NULL;
}

/* What is known of provider/model: nothing. */
static struct model *unknown_model(struct arena *a, struct str name, enum origin from, size_t n)
{
    struct model *made = ARENA_NEW(a, struct model);
    *made = (struct model){.name = name,
                           .targets = ARENA_ARRAY(a, struct target, n),
                           .n_targets = n,
                           .capabilities = CAP_TEXT,
                           .max_output_tokens = -1,
                           .context_tokens = -1,
                           .is_enabled = true,
                           .from = from};
    return made;
}

/* kind/model: any account of that kind, where none has its very name. */
static const struct model *of_pool(const struct snapshot *s, struct arena *a, struct str name,
                                   size_t slash)
{
    const struct routing *r = s->routing;
    const struct custom_kind *custom = custom_kind_find(s, str_first(name, slash));
    struct str kind = pool_kind(s, str_first(name, slash));
    const struct pool *p = NULL;
    for (size_t i = 0; r && i < r->n_pools; i++)
        if (str_eq(r->pools[i].kind, kind))
            p = &r->pools[i];
    if (!p)
        return NULL;
    /* by whichever name of the kind it was asked for, rules see one */
    struct str head = custom ? custom->prefix : str_of(p->upstreams[0]->kind->id),
               full = str_fmt(a, STR_FMT STR_FMT, STR_ARG(head), STR_ARG(str_skip(name, slash)));
    struct model *made = unknown_model(a, full, p->upstreams[0]->from, p->n);
    for (size_t i = 0; i < p->n; i++)
        made->targets[i] = (struct target){
            .upstream = p->upstreams[i],
            .model = str_skip(name, slash + 1),
            .weight = p->upstreams[i]->weight,
            .priority = p->upstreams[i]->priority,
            .price_nanousd = -1,
            .prices = snapshot_prices(s, a, p->upstreams[i], str_skip(name, slash + 1)),
            .quirks = upstream_model_quirks(p->upstreams[i], str_skip(name, slash + 1))};
    if (p->n > 1)
        made->group = combo_of_targets(a, made, &s->settings);
    return made;
}

/* Something of the configuration, be it switched off. */
static bool is_called(const struct snapshot *s, struct str name)
{
    const struct routing *r = s->routing;
    for (size_t i = 0; i < s->n_models; i++)
        if (str_eq(s->models[i]->name, name))
            return true;
    for (size_t i = 0; r && i < r->n_combos; i++)
        if (str_eq(r->combos[i]->name, name))
            return true;
    for (size_t i = 0; r && i < r->n_aliases; i++)
        if (str_eq(r->aliases[i]->name, name))
            return true;
    for (size_t i = 0; r && i < r->n_chains; i++)
        if (str_eq(r->chains[i]->model, name))
            return true;
    return false;
}

const struct model *snapshot_of_vendor(const struct snapshot *s, struct arena *a, struct str name,
                                       const char *kinds[PROVIDER_MAKERS], size_t *count)
{
    const struct model *found = NULL;
    size_t n = provider_makers(name, kinds), used = 0;
    for (size_t i = 0; i < n; i++) {
        const struct model *m = snapshot_of_provider(
            s, a, str_fmt(a, "%s/" STR_FMT, kinds[i], STR_ARG(name)));
        /* an entry may be called like a kind and be of another one */
        if (!m || strcmp(m->targets[0].upstream->kind->id, kinds[i]) != 0)
            continue;
        found = m;
        kinds[used++] = kinds[i];
    }
    *count = used && is_called(s, name) ? 0 : used;
    return *count == 1 ? found : NULL;
}

static const struct model *of_vendor(const struct snapshot *s, struct arena *a, struct str name)
{
    const char *kinds[PROVIDER_MAKERS];
    size_t n;
    return snapshot_of_vendor(s, a, name, kinds, &n);
}

static const struct model *by_pattern(const struct snapshot *s, struct arena *a, struct str name,
                                      bool is_served)
{
    const struct routing *r = s->routing;
    for (size_t i = 0; i < r->n_patterns; i++) {
        const struct alias *p = r->patterns[i];
        if (!alias_fits(p->name, name) || str_eq(p->to, name))
            continue;
        const struct model *m = snapshot_model(s, p->to);
        /* what is served by its own name gives way to combos only */
        if (is_served && (!m || m->face != MODEL_OF_COMBO))
            continue;
        if (!m)
            m = snapshot_of_provider(s, a, p->to);
        if (!m)
            m = of_vendor(s, a, p->to);
        if (m)
            return m;
    }
    return NULL;
}

const struct model *snapshot_of_provider(const struct snapshot *s, struct arena *a, struct str name)
{
    size_t slash = str_index(name, '/');
    if (slash == name.n || slash + 1 == name.n)
        return NULL;
    const struct upstream *u = snapshot_upstream(s, str_first(name, slash));
    if (!u) { /* another name of a kind, one of which has the kind's own */
        struct str kind = pool_kind(s, str_first(name, slash));
        u = str_eq(kind, str_first(name, slash)) ? NULL : snapshot_upstream(s, kind);
        if (u)
            name = str_fmt(a, STR_FMT STR_FMT, STR_ARG(kind), STR_ARG(str_skip(name, slash)));
    }
    if (!u)
        return of_pool(s, a, name, slash);
    slash = u->name.n;
    if (!u->is_enabled)
        return NULL;
    struct model *made = unknown_model(a, name, u->from, 1);
    made->targets[0] = (struct target){
        .upstream = u, .model = str_skip(name, slash + 1), .weight = 1, .price_nanousd = -1};
    made->targets[0].prices = snapshot_prices(s, a, u, made->targets[0].model);
    made->targets[0].quirks = upstream_model_quirks(u, made->targets[0].model);
    return made;
}

const struct model *snapshot_resolve(const struct snapshot *s, struct arena *a, struct str name)
{
    const struct model *m = snapshot_model(s, name);
    if (s->routing && s->routing->n_patterns && (!m || m->face == MODEL_SERVED)) {
        const struct model *other = by_pattern(s, a, name, m != NULL);
        if (other)
            return other;
    }
    if (!m)
        m = snapshot_of_provider(s, a, name);
    return m ? m : of_vendor(s, a, name);
}

bool snapshot_cut_extended(const struct snapshot *s, struct str *name)
{
    const struct str suffix = STR("[1m]");
    bool is_extended = name->n > suffix.n && str_ends(*name, suffix) && !snapshot_model(s, *name);
    if (is_extended)
        *name = str_first(*name, name->n - suffix.n);
    return is_extended;
}

/* Other bytes of the hash than a combo of this name has: config_route.c. */
static uint32_t model_index(struct str name)
{
    uint8_t hash[SHA256_SIZE];
    uint32_t index;
    sha256(name, hash);
    memcpy(&index, hash + sizeof index, sizeof index);
    return index;
}

struct combo *combo_of_targets(struct arena *a, const struct model *m, const struct settings *set)
{
    struct combo *c = ARENA_NEW(a, struct combo);
    /* the next target's turn comes at once */
    *c = (struct combo){.name = m->name, .of = m, .sticky_limit = -1};
    combo_defaults(c, set);
    c->weights = auto_usual;
    c->strategy = m->strategy != STRATEGY_DEFAULT
                      ? m->strategy
                      : (enum strategy)word_value(strategy_words, set->target_strategy,
                                                  STRATEGY_PRIORITY);
    c->is_enabled = true;
    c->from = m->from;
    c->index = model_index(m->name);
    c->members = ARENA_ARRAY(a, struct member, m->n_targets);
    c->n_members = m->n_targets;
    for (size_t i = 0; i < m->n_targets; i++)
        c->members[i] = (struct member){.model = m->targets[i].model,
                                        .provider = m->targets[i].upstream->name,
                                        .weight = m->targets[i].weight,
                                        .priority = m->targets[i].priority,
                                        .price_nanousd = m->targets[i].price_nanousd,
                                        .is_enabled = true,
                                        .targets = &m->targets[i],
                                        .n_targets = 1};
    return c;
}

void combo_defaults(struct combo *c, const struct settings *set)
{
    struct {
        int64_t *at, value;
    } rows[] = {
        {&c->max_retries, set->combo_max_retries},
        {&c->retry_delay_ms, set->combo_retry_delay_ms},
        {&c->timeout_ms, set->combo_timeout_ms},
        {&c->concurrency, set->combo_concurrency},
        {&c->queue_timeout_ms, set->combo_queue_timeout_ms},
        {&c->patience_ms, set->combo_patience_ms},
        {&c->sticky_limit, set->round_robin_limit},
        {&c->hedge_after_ms, set->combo_hedge_after_ms},
        {&c->hedge_percentile, set->combo_hedge_percentile},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (*rows[i].at < 0)
            *rows[i].at = rows[i].value;
    if (c->strategy == STRATEGY_DEFAULT)
        c->strategy = (enum strategy)word_value(strategy_words, set->combo_strategy,
                                                STRATEGY_PRIORITY);
}

size_t snapshot_near(const struct snapshot *s, const struct key *key, struct str name,
                     struct str *out, size_t max)
{
    size_t score[8], n = 0;
    struct arena *a = arena_new();
    name = str_lower(a, name);
    if (max > ARRAY_LEN(score))
        max = ARRAY_LEN(score);
    for (size_t i = 0; i < s->n_listed; i++) {
        const struct model *m = s->listed[i];
        if (name.n == 0 || (key && !key_may_use(key, m->name)))
            continue;
        struct str other = str_lower(a, m->name);
        size_t d = str_edit_distance(name, other), longest = name.n > other.n ? name.n : other.n;
        bool is_part = name.n >= 3 && (str_contains(other, name) || str_contains(name, other));
        if (d * 5 > longest * 2 && !is_part) /* more than two fifths differ */
            continue;
        if (is_part && d > 2)
            d = 2;
        size_t at = n < max ? n++ : max;
        while (at > 0 && score[at - 1] > d) {
            if (at < max) {
                score[at] = score[at - 1];
                out[at] = out[at - 1];
            }
            at--;
        }
        if (at < max) {
            score[at] = d;
            out[at] = m->name;
        }
    }
    arena_free(a);
    return n;
}

/* "*" stands for any run of characters, anchored at both ends. */
bool name_fits(struct str pattern, struct str name)
{
    size_t star = str_index(pattern, '*');
    if (star == pattern.n)
        return str_eq(pattern, name);
    if (!str_starts(name, str_first(pattern, star)))
        return false;
    struct str rest = str_skip(pattern, star + 1);
    for (size_t i = star; i <= name.n; i++)
        if (name_fits(rest, str_skip(name, i)))
            return true;
    return false;
}

bool key_may_use(const struct key *k, struct str model)
{
    if (k->n_allowed == 0)
        return true;
    for (size_t i = 0; i < k->n_allowed; i++)
        if (name_fits(k->allowed_models[i], model))
            return true;
    return false;
}
