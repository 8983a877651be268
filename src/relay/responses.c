/* responses.c - state behind /v1/responses: what was stored, and conversations that go on from a previous response.
 * An upstream that keeps responses itself (OpenAI) is asked; for all others sluice keeps request items and reply,
 * in memory for those of the last minutes and in the store for all. A response belongs to the key that made it. */
#include "relay/request.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "domain/ledger.h"
#include "gate/budget.h"
#include "meter/price.h"
#include "store/db.h"
#include "wire/common.h"
#include <pthread.h>
#include <stdlib.h>

#define CACHE_MAX 4096
#define CACHE_BYTES (64u << 20)
#define PRUNE_MS 60000u
#define MAX_TOLD (4u << 20) /* the last event of a stream holds all that was said */
#define MAX_TRIES 1000      /* for a line that is on its way to the store */

struct stored { /* one response; ref-counted */
    _Atomic int refs;
    /* input: JSON array of items; response: the object. Behind the struct */
    struct str id, key_id, upstream, input, response;
    struct responses *owner; /* of one that is to be written */
    bool is_native;          /* kept by the upstream: input and response are empty */
    bool is_deleted;         /* stands in memory until the store has forgotten it, too */
    int64_t line;            /* of the ledger, where its usage was not told with it; 0: it was */
    /* the only members that change. tokens: of its prompt and its output; -1: not known yet */
    _Atomic int64_t tokens;
    _Atomic bool is_told;  /* and by now it is */
    _Atomic bool is_taken; /* its id: by a response of another key, which stays */
    int64_t created_ms, expires_ms;
};

struct responses {
    pthread_mutex_t lock; /* Responses traffic only */
    struct map by_id;
    /* what the store has yet to learn, with a reference: stays whatever else is made */
    struct map unwritten;
    struct stored *ring[CACHE_MAX];
    size_t next, bytes;
    uint64_t next_prune_ms; /* expired ones leave the store */
    struct str db_path;
    struct relay_shared *shared;
};

struct kept {       /* of one request */
    bool is_store;  /* keep the reply */
    bool is_native; /* this attempt's upstream keeps it */
    struct str previous_id;
    struct stored *previous;
    /* all items as one JSON array, previous ones first: filled when first needed */
    struct str input;
    struct str tail;  /* this request's own items */
    size_t n_earlier; /* items before those */
    struct str mark;  /* responses_mark() */
    struct str body;  /* the request without previous_response_id, input expanded */
    struct lookup *lookup;
};

/* ---- records ---- */

static struct stored *stored_new(struct str id, struct str key_id, struct str upstream,
                                 struct str input, struct str response)
{
    size_t n = id.n + key_id.n + upstream.n + input.n + response.n;
    struct stored *s = malloc(sizeof *s + n);
    if (!s)
        abort();
    char *p = (char *)(s + 1);
    *s = (struct stored){.refs = 1, .tokens = -1};
    struct str from[] = {id, key_id, upstream, input, response};
    struct str *to[] = {&s->id, &s->key_id, &s->upstream, &s->input, &s->response};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        if (from[i].n)
            memcpy(p, from[i].p, from[i].n);
        *to[i] = str_n(p, from[i].n);
        p += from[i].n;
    }
    return s;
}

static struct stored *stored_ref(struct stored *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void stored_unref(struct stored *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        free(s);
}

static size_t stored_size(const struct stored *s)
{
    return sizeof *s + s->id.n + s->key_id.n + s->upstream.n + s->input.n + s->response.n;
}

struct responses *responses_new(const char *db_path, struct relay_shared *shared)
{
    struct responses *rs = calloc(1, sizeof *rs);
    if (!rs)
        abort();
    pthread_mutex_init(&rs->lock, NULL);
    map_init(&rs->by_id);
    map_init(&rs->unwritten);
    rs->db_path = str_of(db_path);
    rs->shared = shared;
    return rs;
}

void responses_free(struct responses *rs)
{
    if (!rs)
        return;
    map_done(&rs->by_id);
    map_done(&rs->unwritten);
    for (size_t i = 0; i < CACHE_MAX; i++)
        stored_unref(rs->ring[i]);
    pthread_mutex_destroy(&rs->lock);
    free(rs);
}

/* lock held */
static void cache_evict(struct responses *rs, size_t slot)
{
    struct stored *old = rs->ring[slot];
    if (!old)
        return;
    if (map_get(&rs->by_id, old->id) == old)
        (void)map_del(&rs->by_id, old->id);
    rs->bytes -= stored_size(old);
    rs->ring[slot] = NULL;
    stored_unref(old);
}

/* lock held */
static struct stored *known_of(struct responses *rs, struct str id)
{
    struct stored *s = map_get(&rs->unwritten, id);
    return s ? s : map_get(&rs->by_id, id);
}

static bool is_there(const struct stored *s)
{
    return !s->is_deleted && s->expires_ms >= clock_wall_ms();
}

static void cache_put(struct responses *rs, struct stored *s)
{
    pthread_mutex_lock(&rs->lock);
    const struct stored *known = known_of(rs, s->id);
    bool is_others = known && is_there(known) && !str_eq(known->key_id, s->key_id);
    /* s was read from the store before it was gone there, or comes too late */
    if (known && (known->is_deleted || is_others)) {
        pthread_mutex_unlock(&rs->lock);
        return;
    }
    (void)map_del(&rs->by_id, s->id);
    cache_evict(rs, rs->next);
    rs->ring[rs->next] = stored_ref(s);
    rs->bytes += stored_size(s);
    map_set(&rs->by_id, rs->ring[rs->next]->id, rs->ring[rs->next]);
    rs->next = (rs->next + 1) % CACHE_MAX;
    for (size_t i = rs->next; rs->bytes > CACHE_BYTES && (i + 1) % CACHE_MAX != rs->next;
         i = (i + 1) % CACHE_MAX)
        cache_evict(rs, i);
    pthread_mutex_unlock(&rs->lock);
}

/* What is known of id, with a reference. NULL: not in memory. */
static struct stored *cache_get(struct responses *rs, struct str id)
{
    pthread_mutex_lock(&rs->lock);
    struct stored *s = known_of(rs, id);
    if (s)
        (void)stored_ref(s);
    pthread_mutex_unlock(&rs->lock);
    return s;
}

/* A mark takes its place: the store is asked no more, which may hold it a moment longer. The caller's to let go. */
static struct stored *cache_del(struct responses *rs, const struct stored *s)
{
    pthread_mutex_lock(&rs->lock);
    for (size_t i = 0; i < CACHE_MAX; i++)
        if (rs->ring[i] && str_eq(rs->ring[i]->id, s->id))
            cache_evict(rs, i);
    pthread_mutex_unlock(&rs->lock);
    struct stored *mark = stored_new(s->id, s->key_id, STR_NONE, STR_NONE, STR_NONE);
    mark->is_deleted = true;
    mark->owner = rs;
    cache_put(rs, mark);
    return mark;
}

/* ---- the store: writes on the writer thread, reads on a worker ---- */

static bool db_insert(void *arg, struct db *db, struct err *e)
{
    struct stored *s = arg;
    struct stmt *st = db_prepare(
        db,
        "INSERT INTO response(id, key_id, upstream, is_native, created_ms, expires_ms, input, "
        "reply, tokens, line) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"
        " ON CONFLICT(id) DO UPDATE SET key_id = excluded.key_id, upstream = excluded.upstream, "
        "is_native = excluded.is_native, created_ms = excluded.created_ms, "
        "expires_ms = excluded.expires_ms, input = excluded.input, reply = excluded.reply, "
        "tokens = excluded.tokens, line = excluded.line"
        " WHERE key_id = excluded.key_id OR expires_ms < excluded.created_ms",
        e);
    if (!st)
        return false;
    stmt_bind_str(st, 1, s->id);
    stmt_bind_str(st, 2, s->key_id);
    stmt_bind_str(st, 3, s->upstream);
    stmt_bind_int(st, 4, s->is_native);
    stmt_bind_int(st, 5, s->created_ms);
    stmt_bind_int(st, 6, s->expires_ms);
    stmt_bind_str(st, 7, s->input);
    stmt_bind_str(st, 8, s->response);
    int64_t tokens = atomic_load(&s->tokens);
    if (tokens >= 0)
        stmt_bind_int(st, 9, tokens);
    if (s->line) /* told or not: who is told takes it away behind this */
        stmt_bind_int(st, 10, s->line);
    bool ok = stmt_run(st, e);
    stmt_free(st);
    atomic_store(&s->is_taken, ok && db_changes(db) == 0);
    return ok;
}

static bool db_prune(void *arg, struct db *db, struct err *e)
{
    struct stmt *st = db_prepare(db,
                                 "DELETE FROM response WHERE id IN (SELECT id FROM response "
                                 "WHERE expires_ms < ?1 LIMIT 5000)",
                                 e);
    (void)arg;
    if (!st)
        return false;
    stmt_bind_int(st, 1, clock_wall_ms());
    bool ok = stmt_run(st, e);
    stmt_free(st);
    return ok;
}

static bool db_remove(void *arg, struct db *db, struct err *e)
{
    const struct stored *s = arg;
    struct stmt *st = db_prepare(db, "DELETE FROM response WHERE id = ?1", e);
    if (!st)
        return false;
    stmt_bind_str(st, 1, s->id);
    bool ok = stmt_run(st, e);
    stmt_free(st);
    return ok;
}

/* lock held. The store did not take it. */
static void let_go(struct responses *rs, const struct stored *s)
{
    for (size_t i = 0; i < CACHE_MAX; i++)
        if (rs->ring[i] == s)
            cache_evict(rs, i);
    log_warn(NULL, "response.not_stored", "reason=%s",
             "the upstream gave it the id of another key's");
}

static void written(void *arg)
{
    struct stored *s = arg;
    struct responses *rs = s->owner;
    pthread_mutex_lock(&rs->lock);
    if (map_get(&rs->unwritten, s->id) == s)
        (void)map_del(&rs->unwritten, s->id);
    if (atomic_load(&s->is_taken))
        let_go(rs, s);
    pthread_mutex_unlock(&rs->lock);
    stored_unref(s);
}

static void pruned(void *arg)
{
    (void)arg;
}

static const struct usage_work insert_work = {db_insert, written},
                               remove_work = {db_remove, written}, prune_work = {db_prune, pruned};

/* Hands s (a reference) to the store, and keeps it at hand until it is there. false: too much waits already. */
static bool write_soon(struct responses *rs, const struct usage_work *work, struct stored *s)
{
    pthread_mutex_lock(&rs->lock);
    (void)map_del(&rs->unwritten, s->id);
    map_set(&rs->unwritten, s->id, s);
    pthread_mutex_unlock(&rs->lock);
    if (usage_log_post(rs->shared->usage, work, s, stored_size(s)))
        return true;
    written(s);
    return false;
}

struct lookup {
    struct arena *arena;
    struct responses *rs;
    struct str id;
    struct stored *found;
    void *owner; /* NULL: gone */
    void (*then)(void *owner, struct stored *found /* may be NULL; given away */);
};

static void lookup_run(void *arg)
{
    struct lookup *l = arg;
    struct err e = ERR_INIT;
    struct db *db = db_open(str_z(l->arena, l->rs->db_path), DB_READ_ONLY, &e);
    struct stmt *st = db ? db_prepare(db,
                                      "SELECT key_id, upstream, is_native, created_ms, expires_ms, "
                                      "input, reply, coalesce(tokens, -1), coalesce(line, 0) "
                                      "FROM response"
                                      " WHERE id = ?1 AND expires_ms >= ?2",
                                      &e)
                         : NULL;
    if (st) {
        stmt_bind_str(st, 1, l->id);
        stmt_bind_int(st, 2, clock_wall_ms());
        if (stmt_step(st, &e)) {
            l->found = stored_new(l->id, stmt_str(st, 0), stmt_str(st, 1), stmt_str(st, 5),
                                  stmt_str(st, 6));
            l->found->is_native = stmt_int(st, 2) != 0;
            l->found->created_ms = stmt_int(st, 3);
            l->found->expires_ms = stmt_int(st, 4);
            atomic_store(&l->found->tokens, stmt_int(st, 7));
            l->found->line = stmt_int(st, 8);
        }
        stmt_free(st);
    }
    if (db)
        db_close(db);
    if (e.kind != ERR_NONE)
        log_error(NULL, "response.not_read", "error=%s", e.message);
}

static void lookup_done(void *arg)
{
    struct lookup *l = arg;
    struct stored *known = cache_get(l->rs, l->id); /* made or deleted meanwhile */
    if (known) {
        stored_unref(l->found);
        l->found = known;
    } else if (l->found) {
        cache_put(l->rs, l->found);
    }
    if (l->found && !is_there(l->found)) {
        stored_unref(l->found);
        l->found = NULL;
    }
    if (l->owner)
        l->then(l->owner, l->found);
    else
        stored_unref(l->found);
    arena_free(l->arena);
    free(l);
}

/* Finds a response in memory at once, else in the store. NULL: then was called already (or will be never, with false in *ok). */
static struct lookup *find_stored(struct relay_loop *env, struct str id, void *owner,
                                  void (*then)(void *, struct stored *), bool *ok)
{
    struct responses *rs = env->shared->responses;
    struct stored *s = cache_get(rs, id);
    *ok = true;
    if (s) {
        if (!is_there(s)) {
            stored_unref(s);
            s = NULL;
        }
        then(owner, s);
        return NULL;
    }
    struct lookup *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->arena = arena_new();
    l->rs = rs;
    l->id = str_dup(l->arena, id);
    l->owner = owner;
    l->then = then;
    if (workers_run(env->shared->workers, env->loop, lookup_run, lookup_done, l))
        return l;
    arena_free(l->arena);
    free(l);
    *ok = false;
    return NULL;
}

/* ---- a request ---- */

static struct str key_id_of(const struct key *k)
{
    return k ? k->id : STR_NONE;
}

static void not_found(struct err *e, struct str id, const char *field)
{
    err_set(e, ERR_INPUT, "previous_response_not_found",
            "Previous response with id '" STR_FMT "' not found.", STR_ARG(str_first(id, 80)));
    (void)snprintf(e->field, sizeof e->field, "%s", field);
}

static bool keeps_responses(const struct upstream *u)
{
    return (u->quirks & QUIRK_STATEFUL_RESPONSES) != 0;
}

/* Members of an input: a string becomes one user message. Appended to b as items, without brackets; how many. */
static size_t add_items(struct arena *a, struct buf *b, struct str input)
{
    yyjson_val *v;
    struct jw w = jw_on(b);
    if (!json_parse(a, input, 0, &v, NULL))
        return 0;
    if (b->n > 1)
        buf_char(b, ',');
    if (yyjson_is_str(v)) {
        jw_object(&w);
        jw_kv_cstr(&w, "type", "message");
        jw_kv_cstr(&w, "role", "user");
        jw_key(&w, "content");
        jw_array(&w);
        jw_object(&w);
        jw_kv_cstr(&w, "type", "input_text");
        jw_kv_str(&w, "text", json_str(v));
        jw_object_end(&w);
        jw_array_end(&w);
        jw_object_end(&w);
        return 1;
    }
    if (yyjson_is_arr(v)) {
        size_t i, max;
        yyjson_val *item;
        bool is_first = true;
        yyjson_arr_foreach (v, i, max, item) {
            if (!is_first)
                buf_char(b, ',');
            is_first = false;
            struct jw one = jw_on(b);
            jw_val(&one, item);
        }
        if (is_first && b->n > 1)
            b->n--; /* nothing came: the comma goes again */
        return max;
    }
    jw_val(&w, v);
    return 1;
}

static void continue_with(void *owner, struct stored *s);

bool responses_prepare(struct relay *rl)
{
    const struct json_want *want = rl->responses_want;
    struct err e = ERR_INIT;
#define TEXT(i) str_n(rl->body.p + want[i].span.at, want[i].span.n)
    struct kept *k = ARENA_NEW(rl->r->arena, struct kept);
    k->is_store = !(want[WANT_STORE].count && str_is(TEXT(WANT_STORE), "false"));
    k->tail = want[WANT_INPUT].count ? TEXT(WANT_INPUT) : STR("[]");
    bool has_previous = want[WANT_PREVIOUS].count && !str_is(TEXT(WANT_PREVIOUS), "null");
    if (!k->is_store && !has_previous)
        return true; /* nothing to keep, nothing to look up: the request passes as any other */
    rl->kept = k;
    if (!has_previous)
        return true;
    if (!json_unquote(rl->r->arena, TEXT(WANT_PREVIOUS), &k->previous_id) ||
        k->previous_id.n == 0) {
        err_field(&e, "previous_response_id", "'previous_response_id' must be a non-empty string");
        relay_fail(rl, &e);
        return false;
    }
#undef TEXT
    bool ok;
    k->lookup = find_stored(rl->env, k->previous_id, rl, continue_with, &ok);
    if (!ok) {
        err_set(&e, ERR_OVERLOADED, "busy", "The store is busy: try again");
        relay_fail(rl, &e);
    }
    return false; /* continue_with goes on, or has gone on */
}

/* The upstream that answered it. Earlier versions of the program kept its name. */
static const struct upstream *upstream_of(const struct snapshot *snap, const struct stored *s)
{
    const struct upstream *u = snapshot_upstream_by_uid(snap, s->upstream);
    return u ? u : snapshot_upstream(snap, s->upstream);
}

/* Only the upstream that issued a native response can go on from it. */
static void keep_only(struct relay *rl, const struct upstream *upstream)
{
    size_t n = 0;
    for (size_t i = 0; i < rl->n_order; i++)
        if (rl->order[i]->upstream == upstream)
            rl->order[n++] = rl->order[i];
    rl->n_order = n;
}

static void continue_with(void *owner, struct stored *s)
{
    struct relay *rl = owner;
    struct kept *k = rl->kept;
    struct err e = ERR_INIT;
    k->lookup = NULL;
    /* another caller's: as if it were not there, here and upstream */
    if (s && !str_eq(s->key_id, key_id_of(rl->key))) {
        stored_unref(s);
        not_found(&e, k->previous_id, "previous_response_id");
        relay_fail(rl, &e);
        return;
    }
    if (!s) {
        /* Made before sluice stood in front, perhaps: an upstream that keeps responses may know it. */
        size_t n = 0;
        for (size_t i = 0; i < rl->n_order; i++)
            if (keeps_responses(rl->order[i]->upstream) &&
                rl->order[i]->upstream->wires[0] != WIRE_NONE)
                rl->order[n++] = rl->order[i];
        if (n == 0) {
            not_found(&e, k->previous_id, "previous_response_id");
            relay_fail(rl, &e);
            return;
        }
        rl->n_order = n;
        relay_start(rl);
        return;
    }
    k->previous = s;
    if (s->is_native) {
        keep_only(rl, upstream_of(rl->snap, s));
        if (rl->n_order == 0) {
            not_found(&e, k->previous_id, "previous_response_id");
            relay_fail(rl, &e);
            return;
        }
        relay_start(rl);
        return;
    }
    /* The earlier items, the earlier output, then what is new. */
    struct arena *a = rl->r->arena;
    struct buf b, items;
    enum {
        PREVIOUS,
        INPUT,
        N
    };
    struct json_want want[N] = {{.key = "previous_response_id"}, {.key = "input"}};
    struct json_scan scan;
    yyjson_val *response;
    buf_init_arena(&items, a, (size_t)rl->set->max_body_bytes);
    buf_char(&items, '[');
    k->n_earlier = add_items(a, &items, s->input);
    if (json_parse(a, s->response, 0, &response, NULL))
        k->n_earlier += add_items(a, &items, json_text(a, json_get(response, "output")));
    (void)add_items(a, &items, k->tail);
    buf_char(&items, ']');
    if (!json_scan_object(rl->body, want, N, 0, &scan, &e)) {
        relay_fail(rl, &e);
        return;
    }
    buf_init_arena(&b, a, (size_t)rl->set->max_body_bytes);
    struct json_span p = want[PREVIOUS].span, in = want[INPUT].span;
    bool previous_first = want[INPUT].count == 0 || p.at < in.at;
    struct json_span first = previous_first ? p : in, second = previous_first ? in : p;
    buf_add(&b, rl->body.p, first.at);
    struct str id = str_n(rl->body.p + p.at, p.n); /* stays: the reply echoes it */
    buf_str_add(&b, previous_first ? id : buf_str(&items));
    if (want[INPUT].count) {
        buf_add(&b, rl->body.p + first.at + first.n, second.at - first.at - first.n);
        buf_str_add(&b, previous_first ? buf_str(&items) : id);
        buf_add(&b, rl->body.p + second.at + second.n, rl->body.n - second.at - second.n);
    } else {
        buf_add(&b, rl->body.p + first.at + first.n, scan.close - first.at - first.n);
        buf_lit(&b, ",\"input\":");
        buf_str_add(&b, buf_str(&items));
        buf_add(&b, rl->body.p + scan.close, rl->body.n - scan.close);
    }
    if (buf_failed(&b) || buf_failed(&items)) {
        err_set(&e, ERR_TOO_LARGE, "context_too_large",
                "The conversation that 'previous_response_id' continues is too large");
        relay_fail(rl, &e);
        return;
    }
    k->input = buf_str(&items);
    rl->body = buf_str(&b);
    struct json_want model[1] = {{.key = "model"}};
    if (!json_scan_object(rl->body, model, 1, 0, &rl->scan, &e)) {
        relay_fail(rl, &e);
        return;
    }
    rl->model_want = model[0];
    relay_start(rl);
}

bool responses_is_continuation(const struct relay *rl)
{
    return rl->kept && rl->kept->previous && !rl->kept->previous->is_native;
}

struct str responses_mark(struct relay *rl)
{
    struct kept *k = rl->kept;
    if (!k || !k->is_store || k->is_native)
        return STR_NONE;
    if (!k->mark.n)
        k->mark = random_id(rl->r->arena, "_", 16);
    return k->mark;
}

/* The input without what another upstream thought before: it is known there alone, or was told in words that only a translation reads. */
bool responses_leave_out_thoughts(struct relay *rl, const struct target *t, struct str *body,
                                  struct err *e)
{
    const struct kept *k = rl->kept;
    struct arena *a = rl->body_arena;
    struct json_want want = {.key = "input"};
    struct json_scan scan;
    struct buf b;
    yyjson_val *list, *item;
    size_t i, max, n_left = 0;
    if (rl->up != WIRE_RESPONSES || upstream_of(rl->snap, k->previous) == t->upstream)
        return true;
    if (!json_scan_object(*body, &want, 1, (unsigned)rl->set->max_json_depth, &scan, e))
        return false;
    struct json_span span = want.span;
    if (want.count != 1)
        return true;
    if (!json_parse(a, str_n(body->p + span.at, span.n), 0, &list, e))
        return false;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    buf_add(&b, body->p, span.at);
    jw_array(&w);
    yyjson_arr_foreach (list, i, max, item) {
        if (i < k->n_earlier && str_is(json_get_str(item, "type"), "reasoning")) {
            n_left++;
            continue;
        }
        jw_val(&w, item);
    }
    jw_array_end(&w);
    if (n_left == 0)
        return true;
    buf_add(&b, body->p + span.at + span.n, body->n - span.at - span.n);
    relay_note_dropped(rl, "of another upstream", "reasoning");
    *body = buf_str(&b);
    return !buf_failed(&b) || err_no_memory(e);
}

int64_t responses_context(const struct relay *rl)
{
    const struct kept *k = rl->kept;
    if (!k || !k->previous_id.n || responses_is_continuation(rl))
        return 0;
    return k->previous ? atomic_load(&k->previous->tokens) : -1;
}

/* Its end has not come. */
static bool is_open(struct str response)
{
    struct json_want want = {.key = "status"};
    struct json_scan scan;
    if (!json_scan_object(response, &want, 1, 0, &scan, NULL))
        return false;
    struct str status = str_n(response.p + want.span.at, want.span.n);
    return str_is(status, "\"queued\"") || str_is(status, "\"in_progress\"");
}

bool responses_runs_on(const struct relay *rl, struct str reply)
{
    return rl->is_background && is_open(reply);
}

void responses_plan(struct relay *rl, const struct target *t, bool is_same)
{
    if (rl->kept)
        rl->kept->is_native = is_same && keeps_responses(t->upstream);
}

static struct str all_items(struct relay *rl)
{
    struct kept *k = rl->kept;
    if (k->input.n)
        return k->input;
    struct buf b;
    buf_init_arena(&b, rl->r->arena, (size_t)rl->set->max_body_bytes);
    buf_char(&b, '[');
    (void)add_items(rl->r->arena, &b, k->tail);
    buf_char(&b, ']');
    return buf_str(&b);
}

static void prune_when_due(struct responses *rs)
{
    uint64_t now = clock_mono_ms();
    pthread_mutex_lock(&rs->lock);
    bool is_due = now >= rs->next_prune_ms;
    if (is_due)
        rs->next_prune_ms = now + PRUNE_MS;
    pthread_mutex_unlock(&rs->lock);
    if (is_due && !usage_log_post(rs->shared->usage, &prune_work, NULL, 0))
        log_warn(NULL, "response.not_pruned", "reason=%s", "queue full: the next round does it");
}

void responses_keep(struct relay *rl, struct str response)
{
    struct kept *k = rl->kept;
    struct responses *rs = rl->env->shared->responses;
    struct json_want want = {.key = "id"};
    struct json_scan scan;
    struct str id;
    if (!k || !k->is_store || !json_scan_object(response, &want, 1, 0, &scan, NULL) ||
        want.count != 1 ||
        !json_unquote(rl->r->arena, str_n(response.p + want.span.at, want.span.n), &id))
        return;
    struct str by = rl->target->upstream->uid; /* outlives its name */
    struct stored *s = k->is_native
                           ? stored_new(id, key_id_of(rl->key), by, STR_NONE, STR_NONE)
                           : stored_new(id, key_id_of(rl->key), by, all_items(rl), response);
    s->is_native = k->is_native;
    s->created_ms = clock_wall_ms();
    s->expires_ms = s->created_ms + rl->set->response_ttl_ms;
    const struct ir_usage *u = &rl->usage;
    if (u->input_total >= 0 && u->output_total >= 0)
        atomic_store(&s->tokens, u->input_total + u->output_total);
    if (k->is_native && rl->is_open)
        s->line = money_line_id(rl);
    s->owner = rs;
    cache_put(rs, s);
    if (!write_soon(rs, &insert_work, s))
        log_warn(str_z(rl->r->arena, rl->id), "response.not_stored", "reason=%s",
                 "queue full: kept in memory only");
    prune_when_due(rs);
}

void responses_keep_event(struct relay *rl, struct str data)
{
    struct json_want want = {.key = "response"};
    struct json_scan scan;
    if (json_scan_object(data, &want, 1, 0, &scan, NULL) && want.count == 1)
        responses_keep(rl, str_n(data.p + want.span.at, want.span.n));
}

void responses_keep_frames(struct relay *rl, struct str frames)
{
    static const struct str ends[] = {STR_INIT("event: response.completed\n"),
                                      STR_INIT("event: response.incomplete\n")};
    const struct str start = STR("event: response.");
    for (size_t at = find_bytes(frames, start); at < frames.n;
         at += 1 + find_bytes(str_skip(frames, at + 1), start)) {
        struct str rest = str_skip(frames, at), line;
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
            if (!str_starts(rest, ends[i]))
                continue;
            (void)str_cut(str_skip(rest, ends[i].n), '\n', &line);
            responses_keep_event(rl, str_trim(str_skip(line, 5))); /* behind "data:" */
            return;
        }
    }
}

void responses_forget(struct relay *rl)
{
    if (!rl->kept)
        return;
    if (rl->kept->lookup)
        rl->kept->lookup->owner = NULL;
    stored_unref(rl->kept->previous);
    rl->kept->previous = NULL;
}

/* ---- what ran on in the background, when its end is heard of ---- */

struct late { /* on its way to the writer */
    struct responses *rs;
    struct snapshot *snap;
    const struct key *key; /* of snap; NULL: anonymous */
    struct stored *s;
    struct ir_usage usage;
    unsigned tries;
    bool is_settled, waits; /* of the last run: done; the line was not there yet */
    int64_t difference;
};

static struct usage_vector parts_told(const struct late *t)
{
    static const struct usage_vector nothing; /* it failed, and nobody says that it is billed */
    return ir_usage_known(&t->usage) ? usage_parts(&t->usage, NULL) : nothing;
}

/* The difference to what was estimated, as a correction of that line. */
static bool correct(struct late *t, struct db *db, struct ledger_line l, struct err *e)
{
    struct arena *a = arena_new();
    struct err gone = ERR_INIT;
    struct price p;
    struct usage_vector parts = parts_told(t);
    bool is_priced = l.price && price_version_get(db, a, l.price, &p, &gone), differs = false;
    enum price_service service = t->usage.service >= 0 ? (enum price_service)t->usage.service
                                                       : (enum price_service)l.service;
    struct cost c = price_cost(is_priced ? &p : NULL, service, &parts);
    int64_t estimated = l.amount > 0 ? l.amount : 0;
    l.amount = c.nanousd >= 0 ? c.nanousd - estimated : 0;
    for (int i = 0; i < PRICE_PARTS; i++) {
        l.parts[i] = parts.v[i] - l.parts[i];
        differs |= l.parts[i] != 0;
    }
    l.corrects = l.id;
    l.id = ledger_id_at(clock_wall_ms());
    l.entry = LEDGER_ADJUST;
    l.quality = USAGE_REPORTED;
    l.service = (int)service;
    l.state = (int)c.state;
    l.note = STR(LEDGER_TOLD_LATE);
    t->difference = l.amount;
    bool ok = (!differs && l.amount == 0) || ledger_append(db, &l, e);
    arena_free(a);
    return ok;
}

static bool late_run(void *arg, struct db *db, struct err *e)
{
    struct late *t = arg;
    struct ledger_line l;
    struct err missing = ERR_INIT;
    t->is_settled = t->waits = false;
    t->difference = 0;
    struct stmt *s = db_prepare(db, "SELECT line FROM response WHERE id = ?1 AND line IS NOT NULL",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, t->s->id);
    bool has_line = stmt_step(s, e);
    int64_t line = has_line ? stmt_int(s, 0) : 0;
    stmt_free(s);
    if (!has_line) { /* told before */
        t->is_settled = e->kind == ERR_NONE;
        return t->is_settled;
    }
    struct arena *a = arena_new();
    bool ok = ledger_get(db, a, line, &l, &missing);
    t->waits = !ok && missing.kind == ERR_NOT_FOUND;
    if (!ok)
        *e = t->waits ? *e : missing;
    ok = ok && correct(t, db, l, e);
    arena_free(a);
    if (!ok)
        return t->waits;
    s = db_prepare(db, "UPDATE response SET line = NULL, tokens = ?2 WHERE id = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, t->s->id);
    if (ir_usage_known(&t->usage))
        stmt_bind_int(s, 2, t->usage.input_total + t->usage.output_total);
    t->is_settled = stmt_run(s, e);
    stmt_free(s);
    return t->is_settled;
}

static void late_done(void *arg);
static const struct usage_work late_work = {late_run, late_done};

/* Committed, or the program ends. */
static void late_done(void *arg)
{
    struct late *t = arg;
    int64_t now = clock_wall_ms();
    if (t->waits && t->tries++ < MAX_TRIES) {
        t->waits = false;
        if (usage_log_post(t->rs->shared->usage, &late_work, t, sizeof *t))
            return;
    }
    const struct budget *const *budgets = t->key && t->key->budgets ? t->key->budgets
                                                                    : t->snap->common_budgets;
    for (size_t i = 0; t->is_settled && t->difference && budgets && budgets[i]; i++)
        budget_adjust(budgets[i], t->difference, now);
    snapshot_unref(t->snap);
    stored_unref(t->s);
    free(t);
}

/* ---- GET and DELETE ---- */

struct stored_call {
    struct relay_loop *env;
    struct http_req *r;
    struct snapshot *snap;
    const struct key *key;
    struct str request_id, id;
    enum stored_view view;
    struct lookup *lookup;
    struct http_call *call;
    struct buf reply;
    int status;
    bool is_stream;          /* asked for */
    int64_t after;           /* starting_after; -1: from the start */
    bool is_piped;           /* the upstream's stream is under way to the client */
    struct stored *open;     /* a reference, of one whose usage is not told yet; NULL: it is */
    struct stream_scan scan; /* of its stream */
};

/* The upstream told how it ended: once, whoever asks for it how often. */
static void told_end(struct stored_call *c, const struct ir_usage *usage)
{
    struct responses *rs = c->env->shared->responses;
    if (atomic_exchange(&c->open->is_told, true))
        return;
    if (ir_usage_known(usage))
        atomic_store(&c->open->tokens, usage->input_total + usage->output_total);
    struct late *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    *t = (struct late){.rs = rs,
                       .snap = snapshot_ref(c->snap),
                       .key = c->key,
                       .s = stored_ref(c->open),
                       .usage = *usage};
    if (usage_log_post(rs->shared->usage, &late_work, t, sizeof *t))
        return;
    atomic_store(&c->open->is_told, false); /* too much waits already: the next time */
    late_done(t);
}

/* What was cancelled without a word of its usage stays as it was estimated: it may have come to anything. */
static void told_whole(struct stored_call *c, struct str response)
{
    struct ir_usage usage = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    struct json_want want = {.key = "status"};
    struct json_scan scan;
    if (!json_scan_object(response, &want, 1, 0, &scan, NULL) || is_open(response))
        return;
    (void)wire_of(WIRE_RESPONSES)->meter(STR_NONE, response, &usage, &stop);
    bool has_failed = str_is(str_n(response.p + want.span.at, want.span.n), "\"failed\"");
    if ((usage.input_total >= 0 && usage.output_total >= 0) ||
        (has_failed && !ir_usage_known(&usage)))
        told_end(c, &usage);
}

static void unheard(void *arg, struct str bytes)
{
    (void)arg;
    (void)bytes;
}

static const struct str json_type = STR_INIT("application/json; charset=utf-8"),
                        event_type = STR_INIT("text/event-stream; charset=utf-8");

static void answer_as(struct stored_call *c, int status, struct str type, struct str body)
{
    struct http_header h[] = {{STR("content-type"), type},
                              {STR("cache-control"), STR("no-cache")},
                              {STR("x-request-id"), c->request_id}};
    http_reply(c->r, status, h, ARRAY_LEN(h), body);
}

static void answer(struct stored_call *c, int status, struct str body)
{
    answer_as(c, status, json_type, body);
}

static void refuse(struct stored_call *c, enum err_kind kind, const char *code, const char *text)
{
    struct err e = ERR_INIT;
    err_set(&e, kind, code, "%s", text);
    relay_reply_error(c->r, WIRE_RESPONSES, &e, c->request_id, NULL, 0);
}

static void native_head(void *arg, int status, const struct http_header *h, size_t n)
{
    struct stored_call *c = arg;
    struct str type = http_header_get(h, n, "content-type");
    c->status = status;
    if (status < 300 && str_starts_nocase(type, STR("text/event-stream"))) {
        struct http_header out[] = {{STR("content-type"), event_type},
                                    {STR("cache-control"), STR("no-cache")},
                                    {STR("x-request-id"), c->request_id}};
        c->is_piped = true;
        if (c->open)
            stream_scan_init(&c->scan, wire_of(WIRE_RESPONSES), false, MAX_TOLD);
        http_reply_head(c->r, status, out, ARRAY_LEN(out), -1);
        return;
    }
    buf_init_arena(&c->reply, c->r->arena, (size_t)c->snap->settings.max_reply_bytes);
}

static void native_body(void *arg, struct str bytes)
{
    struct stored_call *c = arg;
    if (!c->is_piped) {
        buf_str_add(&c->reply, bytes);
        return;
    }
    if (c->open)
        stream_scan_push(&c->scan, bytes, unheard, NULL);
    http_reply_body(c->r, bytes);
    if (http_reply_is_full(c->r))
        http_call_pause(c->call);
}

void relay_stored_drain(struct stored_call *c)
{
    if (c->call)
        http_call_resume(c->call);
}

static void native_end(void *arg)
{
    struct stored_call *c = arg;
    c->call = NULL;
    if (c->open && c->is_piped) {
        stream_scan_end(&c->scan, unheard, NULL);
        if (c->scan.is_terminal && c->scan.usage.input_total >= 0 &&
            c->scan.usage.output_total >= 0)
            told_end(c, &c->scan.usage);
    } else if (c->open && c->status == 200 && !buf_failed(&c->reply)) {
        told_whole(c, buf_str(&c->reply));
    }
    if (c->is_piped)
        http_reply_end(c->r);
    else if (buf_failed(&c->reply))
        refuse(c, ERR_UPSTREAM, "reply_too_large",
               "The upstream's reply is larger than max_reply_bytes");
    else if (c->status == 401 || c->status == 403 ||
             (c->status >= 300 && c->status < 400)) /* speaks of our credential */
        refuse(c, ERR_UPSTREAM, "upstream_refused",
               "The upstream that keeps this response refused the gateway's request");
    else
        answer(c, c->status, buf_str(&c->reply));
}

static void native_error(void *arg, enum http_failure f, const struct err *e, bool is_head_seen)
{
    struct stored_call *c = arg;
    (void)f;
    (void)is_head_seen;
    c->call = NULL;
    if (c->is_piped) {
        http_reply_cut(c->r);
        return;
    }
    relay_reply_error(c->r, WIRE_RESPONSES, e, c->request_id, NULL, 0);
}

static const struct http_call_handler native_handler = {
    .on_head = native_head, .on_body = native_body, .on_end = native_end, .on_error = native_error};

static void ask_upstream(struct stored_call *c, const struct upstream *u)
{
    struct arena *a = c->r->arena;
    struct http_header *h = ARENA_ARRAY(a, struct http_header, 2 + u->n_headers);
    struct buf path;
    size_t n = 0;
    buf_init_arena(&path, a, 65536);
    struct str key = u->n_keys ? secret_reveal(u->keys[0]) : STR_NONE;
    if (u->kind->auth == AUTH_API_KEY)
        h[n++] = (struct http_header){STR("api-key"), key};
    else if (key.n)
        h[n++] = (struct http_header){STR("authorization"),
                                      str_fmt(a, "Bearer " STR_FMT, STR_ARG(key))};
    h[n++] = (struct http_header){STR("accept"), c->is_stream ? STR("text/event-stream")
                                                              : STR("application/json")};
    for (size_t i = 0; i < u->n_headers; i++)
        h[n++] = u->headers[i];
    struct str query = query_without(a, c->r->query, "key");
    (void)upstream_path(a, u, STR_NONE, OP_RESPONSES, &path); /* it has answered there */
    buf_fmt(&path, "/" STR_FMT "%s", STR_ARG(url_encode(a, c->id)),
            c->view == STORED_INPUT_ITEMS ? "/input_items" : "");
    char mark = upstream_query(u, &path);
    if (query.n)
        buf_fmt(&path, "%c" STR_FMT, mark, STR_ARG(query));
    struct http_out out = {
        .origin = &u->origin,
        .method = c->view == STORED_DELETE ? HTTP_DELETE : HTTP_GET,
        .target = buf_str(&path),
        .headers = h,
        .n_headers = n,
        .connect_timeout_ms = u->connect_timeout_ms,
        .first_byte_timeout_ms = u->first_byte_timeout_ms,
        .total_timeout_ms = u->total_timeout_ms,
    };
    c->call = http_call_start(c->env->client, &out, &native_handler, c);
}

struct items_page { /* after, limit, order as the vendor has them */
    int64_t limit;
    bool is_asc;
    struct str after;
};

static bool read_page(const struct stored_call *c, struct items_page *out, struct err *e)
{
    struct arena *a = c->r->arena;
    struct str limit = query_get(a, c->r->query, "limit"),
               order = query_get(a, c->r->query, "order");
    *out = (struct items_page){
        .limit = 20, .is_asc = str_is(order, "asc"), .after = query_get(a, c->r->query, "after")};
    if (limit.n && (!str_to_int(limit, &out->limit) || out->limit < 1 || out->limit > 100))
        return err_field(e, "limit", "'limit' must be a whole number from 1 to 100");
    if (order.n && !out->is_asc && !str_is(order, "desc"))
        return err_field(e, "order", "'order' must be asc or desc");
    return true;
}

/* Every item gets an id. */
static bool input_items(struct stored_call *c, const struct stored *s,
                        const struct items_page *page, struct str *out, struct err *e)
{
    struct arena *a = c->r->arena;
    struct buf b;
    struct jw w;
    yyjson_val *items, *item;
    size_t i, max;
    buf_init_arena(&b, a, s->input.n * 2 + 65536);
    w = jw_on(&b);
    if (!json_parse(a, s->input, 0, &items, NULL))
        items = NULL;
    size_t n = yyjson_arr_size(items);
    yyjson_val **v = ARENA_ARRAY(a, yyjson_val *, n + 1);
    struct str *ids = ARENA_ARRAY(a, struct str, n + 1);
    yyjson_arr_foreach (items, i, max, item) {
        size_t at = page->is_asc ? i : n - 1 - i;
        v[at] = item;
        ids[at] = json_get_str(item, "id");
        if (ids[at].n == 0)
            ids[at] = str_fmt(a, "item_" STR_FMT "_%zu", STR_ARG(s->id), i);
    }
    size_t from = 0;
    for (i = 0; page->after.n && i < n; i++)
        if (str_eq(ids[i], page->after))
            from = i + 1;
    if (page->after.n && from == 0)
        return err_field(e, "after",
                         "Item with id '" STR_FMT "' not found in the input of '" STR_FMT "'",
                         STR_ARG(str_first(page->after, 80)), STR_ARG(str_first(s->id, 80)));
    size_t to = from + (size_t)page->limit < n ? from + (size_t)page->limit : n;
    jw_object(&w);
    jw_kv_cstr(&w, "object", "list");
    jw_key(&w, "data");
    jw_array(&w);
    for (i = from; i < to; i++) {
        size_t k, kmax;
        yyjson_val *name, *value;
        jw_object(&w);
        jw_kv_str(&w, "id", ids[i]);
        yyjson_obj_foreach (v[i], k, kmax, name, value) {
            if (str_is(json_str(name), "id"))
                continue;
            jw_key_str(&w, json_str(name));
            jw_val(&w, value);
        }
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_kv_bool(&w, "has_more", to < n);
    if (to > from) {
        jw_kv_str(&w, "first_id", ids[from]);
        jw_kv_str(&w, "last_id", ids[to - 1]);
    } else {
        jw_kv_null(&w, "first_id");
        jw_kv_null(&w, "last_id");
    }
    jw_object_end(&w);
    *out = buf_str(&b);
    return true;
}

static bool read_stream_wish(struct stored_call *c, struct err *e)
{
    struct str stream = query_get(c->r->arena, c->r->query, "stream"),
               after = query_get(c->r->arena, c->r->query, "starting_after");
    c->is_stream = str_is(stream, "true");
    c->after = -1;
    if (stream.n && !c->is_stream && !str_is(stream, "false"))
        return err_field(e, "stream", "'stream' must be true or false");
    if (after.n && (!str_to_int(after, &c->after) || c->after < 0))
        return err_field(e, "starting_after", "'starting_after' must be the number of an event");
    return true;
}

static void show_response(struct stored_call *c, const struct stored *s)
{
    struct err e = ERR_INIT;
    struct buf b;
    if (!c->is_stream) {
        answer(c, 200, s->response);
        return;
    }
    buf_init_arena(&b, c->r->arena, 8 * s->response.n + 65536);
    if (stored_stream(c->r->arena, s->response, c->after, &b, &e))
        answer_as(c, 200, event_type, buf_str(&b));
    else
        relay_reply_error(c->r, WIRE_RESPONSES, &e, c->request_id, NULL, 0);
}

static void show_stored(void *owner, struct stored *s)
{
    struct stored_call *c = owner;
    struct responses *rs = c->env->shared->responses;
    c->lookup = NULL;
    if (s && !str_eq(s->key_id, key_id_of(c->key))) {
        stored_unref(s);
        s = NULL;
    }
    if (!s) {
        struct err e = ERR_INIT;
        err_set(&e, ERR_NOT_FOUND, "response_not_found",
                "Response with id '" STR_FMT "' not found.", STR_ARG(str_first(c->id, 80)));
        relay_reply_error(c->r, WIRE_RESPONSES, &e, c->request_id, NULL, 0);
        return;
    }
    if (s->is_native) {
        const struct upstream *u = upstream_of(c->snap, s);
        if (c->view == STORED_RESPONSE && s->line && !atomic_load(&s->is_told))
            c->open = stored_ref(s);
        if (u && u->is_enabled)
            ask_upstream(c, u);
        else
            refuse(c, ERR_NOT_FOUND, "response_not_found",
                   "The upstream that keeps this response is not configured any more");
        stored_unref(s);
        return;
    }
    switch (c->view) {
    case STORED_RESPONSE:
        show_response(c, s);
        break;
    case STORED_INPUT_ITEMS: {
        struct items_page page;
        struct str items;
        struct err e = ERR_INIT;
        if (read_page(c, &page, &e) && input_items(c, s, &page, &items, &e))
            answer(c, 200, items);
        else
            relay_reply_error(c->r, WIRE_RESPONSES, &e, c->request_id, NULL, 0);
        break;
    }
    case STORED_DELETE: {
        struct buf b;
        buf_init_arena(&b, c->r->arena, 1024);
        struct jw w = jw_on(&b);
        jw_object(&w);
        jw_kv_str(&w, "id", s->id);
        jw_kv_cstr(&w, "object", "response");
        jw_kv_bool(&w, "deleted", true);
        jw_object_end(&w);
        if (write_soon(rs, &remove_work, cache_del(rs, s)))
            answer(c, 200, buf_str(&b));
        else
            refuse(c, ERR_OVERLOADED, "busy", "The store is busy: try again");
        break;
    }
    }
    stored_unref(s);
}

static void stored_call_gone(void *arg)
{
    struct stored_call *c = arg;
    if (c->lookup)
        c->lookup->owner = NULL;
    if (c->call)
        http_call_cancel(c->call);
    stored_unref(c->open);
    stream_scan_done(&c->scan);
    snapshot_unref(c->snap);
}

void relay_stored(struct relay_loop *l, struct http_req *r, struct snapshot *snap,
                  const struct key *key, struct str request_id, struct str id,
                  enum stored_view view, struct stored_call **call)
{
    struct stored_call *c = ARENA_NEW(r->arena, struct stored_call);
    struct err e = ERR_INIT;
    bool ok;
    *c = (struct stored_call){.env = l,
                              .r = r,
                              .snap = snapshot_ref(snap),
                              .key = key,
                              .request_id = request_id,
                              .id = str_dup(r->arena, id),
                              .view = view};
    *call = c;
    arena_on_free(r->arena, stored_call_gone, c);
    if (view == STORED_RESPONSE && !read_stream_wish(c, &e)) {
        relay_reply_error(r, WIRE_RESPONSES, &e, request_id, NULL, 0);
        return;
    }
    c->lookup = find_stored(l, c->id, c, show_stored, &ok);
    if (!ok)
        refuse(c, ERR_OVERLOADED, "busy", "The store is busy: try again");
}
