#include "api/refusals.h"
#include "base/clock.h"
#include "base/log.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE_MS 60000
#define MAX_OBJECT 256 /* a path may hold a megabyte */

struct refusal {
    struct refusal *next;
    struct arena *arena; /* of itself and its texts */
    struct audit_row row;
};

struct minute {
    uint64_t began_ms;
    int64_t kept, left_out; /* left_out: not yet said in the log */
};
enum {
    STRANGERS,
    KNOWN,
    GROUPS
};
static const char *const group_names[GROUPS] = {"unknown callers", "known callers"};

struct refusals {
    pthread_mutex_t lock; /* of all but the counts; held for moments only */
    struct minute minutes[GROUPS];
    struct refusal *first, **end;
    size_t n_waiting;
    uint64_t try_again_ms; /* the store took nothing: not before */
    _Atomic bool has_some, is_stuck;
    _Atomic uint64_t left_out;
};

struct refusals *refusals_new(void)
{
    struct refusals *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    (void)pthread_mutex_init(&r->lock, NULL);
    r->end = &r->first;
    return r;
}

static void free_list(struct refusal *one)
{
    while (one) {
        struct refusal *next = one->next;
        arena_free(one->arena);
        one = next;
    }
}

void refusals_free(struct refusals *r)
{
    if (!r)
        return;
    free_list(r->first);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct refusal *copy_of(const struct audit_row *row)
{
    struct arena *a = arena_new();
    struct refusal *one = ARENA_NEW(a, struct refusal);
    *one = (struct refusal){.arena = a, .row = *row};
    one->row.object = str_first(row->object, MAX_OBJECT);
    struct str *const texts[] = {&one->row.actor_kind, &one->row.actor_id,   &one->row.actor,
                                 &one->row.address,    &one->row.request_id, &one->row.method,
                                 &one->row.path,       &one->row.kind,       &one->row.object,
                                 &one->row.outcome,    &one->row.before,     &one->row.after};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(a, *texts[i]);
    return one;
}

static void push(struct refusals *r, struct refusal *one)
{
    if (r->n_waiting >= REFUSALS_WAITING) {
        atomic_fetch_add(&r->left_out, 1);
        arena_free(one->arena);
        return;
    }
    r->n_waiting++;
    *r->end = one;
    r->end = &one->next;
    atomic_store(&r->has_some, true);
}

/* What a minute that is over left out becomes a row; lock is held. */
static void settle(struct refusals *r, int group, uint64_t now_mono_ms)
{
    struct minute *m = &r->minutes[group];
    char count[64];
    if (now_mono_ms - m->began_ms < MINUTE_MS)
        return;
    (void)snprintf(count, sizeof count, "{\"left_out\":%lld}", (long long)m->left_out);
    struct audit_row row = {.at_ms = clock_wall_ms(),
                            .actor_kind = STR("anonymous"),
                            .kind = STR("refusals"),
                            .object = str_of(group_names[group]),
                            .outcome = STR("ok"),
                            .after = str_of(count)};
    if (m->left_out > 0)
        push(r, copy_of(&row));
    *m = (struct minute){.began_ms = now_mono_ms};
}

bool refusals_note(struct refusals *r, const struct audit_row *row, bool is_known, int64_t most,
                   uint64_t now_mono_ms)
{
    int group = is_known ? KNOWN : STRANGERS;
    struct minute *m = &r->minutes[group];
    (void)pthread_mutex_lock(&r->lock);
    settle(r, group, now_mono_ms);
    bool is_kept = m->kept < most;
    if (is_kept) {
        m->kept++;
        push(r, copy_of(row));
    } else {
        m->left_out++;
        atomic_fetch_add(&r->left_out, 1);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return is_kept;
}

void refusals_owe(struct refusals *r, const struct audit_row *row)
{
    struct refusal *one = copy_of(row);
    (void)pthread_mutex_lock(&r->lock);
    push(r, one);
    (void)pthread_mutex_unlock(&r->lock);
}

/* Before what was noted since. */
static void put_back(struct refusals *r, struct refusal *first, size_t n, uint64_t again_ms)
{
    struct refusal *last = first;
    while (last->next)
        last = last->next;
    (void)pthread_mutex_lock(&r->lock);
    last->next = r->first;
    if (!r->first)
        r->end = &last->next;
    r->first = first;
    r->n_waiting += n;
    r->try_again_ms = again_ms;
    atomic_store(&r->has_some, true);
    (void)pthread_mutex_unlock(&r->lock);
}

static struct refusal *take_all(struct refusals *r, bool is_last, uint64_t now_mono_ms)
{
    (void)pthread_mutex_lock(&r->lock);
    if (!is_last && now_mono_ms < r->try_again_ms) {
        (void)pthread_mutex_unlock(&r->lock);
        return NULL;
    }
    for (int group = 0; group < GROUPS; group++)
        settle(r, group, now_mono_ms);
    struct refusal *first = r->first;
    r->first = NULL;
    r->end = &r->first;
    r->n_waiting = 0;
    atomic_store(&r->has_some, false);
    (void)pthread_mutex_unlock(&r->lock);
    return first;
}

void refusals_write(struct refusals *r, const char *db_path, bool is_last, uint64_t now_mono_ms)
{
    struct err e = ERR_INIT;
    struct refusal *first = take_all(r, is_last, now_mono_ms);
    size_t n = 0;
    if (!first)
        return;
    struct db *db = db_open(db_path, DB_READ_WRITE, &e);
    bool may_wait = is_last || !refusals_are_stuck(r);
    bool has_begun = db && (may_wait || db_exec(db, "PRAGMA busy_timeout=0", &e)) &&
                     db_begin(db, &e);
    bool ok = has_begun;
    for (struct refusal *one = first; one; one = one->next, n++)
        ok = ok && audit_append(db, &one->row, &e);
    if (ok)
        ok = db_commit(db, &e);
    else if (has_begun)
        db_rollback(db);
    db_close(db);
    atomic_store(&r->is_stuck, !ok);
    if (ok) {
        free_list(first);
        return;
    }
    log_error(NULL, "audit.delayed", "rows=%zu error=%s", n, e.message);
    put_back(r, first, n, now_mono_ms + REFUSALS_PAUSE_MS);
}

bool refusals_are_stuck(const struct refusals *r)
{
    return atomic_load(&r->is_stuck);
}

bool refusals_wait(const struct refusals *r)
{
    return atomic_load(&r->has_some);
}

uint64_t refusals_left_out(const struct refusals *r)
{
    return atomic_load(&r->left_out);
}
