#include "gate/identity.h"
#include "base/banned.h"
#include "base/log.h"
#include "gate/lockout.h"
#include "gate/password.h"
#include "gate/peer.h"
#include <pthread.h>
#include <sodium/crypto_generichash.h>
#include <stdlib.h>

#define MAX_LOCKOUTS 10000
#define TOKEN_BYTES (SESSION_TOKEN_DIGITS / 2)
#define MAX_AGENT 200
#define MAX_OWED 64

struct person { /* an operator, in memory */
    struct str id, name;
    enum role role;
    bool is_enabled, has_password;
};
struct session {
    uint8_t hash[SHA256_SIZE];
    struct str id;
    const struct person *person;
    int64_t expires_ms, seen_ms;
    bool is_dirty; /* seen_ms is newer than the store's */
};
struct state { /* one reading of the store; replaced whole */
    struct arena *arena;
    struct person *people;
    size_t n_people;
    struct session *sessions; /* by hash */
    size_t n_sessions;
};

struct owed { /* a session that the store could not take yet */
    struct owed *next;
    struct arena *arena; /* of itself and its texts */
    struct session_row row;
};

struct identity {
    pthread_mutex_t lock;
    pthread_mutex_t loading; /* held over reading the store and taking what was read */
    struct state now;
    struct lockout *lockout;
    struct owed *owed;
    size_t n_owed;
    uint8_t pepper[32];
};

struct identity *identity_new(const uint8_t pepper[32])
{
    struct identity *id = calloc(1, sizeof *id);
    if (!id || pthread_mutex_init(&id->lock, NULL) != 0 ||
        pthread_mutex_init(&id->loading, NULL) != 0)
        abort();
    memcpy(id->pepper, pepper, sizeof id->pepper);
    id->lockout = lockout_new(MAX_LOCKOUTS);
    id->now.arena = arena_new();
    return id;
}

static void drop_owed(struct identity *id, struct owed **at)
{
    struct owed *one = *at;
    *at = one->next;
    id->n_owed--;
    arena_free(one->arena);
}

void identity_free(struct identity *id)
{
    if (!id)
        return;
    arena_free(id->now.arena);
    lockout_free(id->lockout);
    while (id->owed)
        drop_owed(id, &id->owed);
    (void)pthread_mutex_destroy(&id->lock);
    (void)pthread_mutex_destroy(&id->loading);
    explicit_bzero(id->pepper, sizeof id->pepper);
    free(id);
}

/* ---- the state ---- */

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct session *)a)->hash, ((const struct session *)b)->hash,
                  SHA256_SIZE);
}

static struct session *find_session(const struct state *s, const uint8_t hash[SHA256_SIZE])
{
    struct session wanted = {.person = NULL};
    memcpy(wanted.hash, hash, SHA256_SIZE);
    return s->n_sessions ? bsearch(&wanted, s->sessions, s->n_sessions, sizeof wanted, by_hash)
                         : NULL;
}

static const struct person *find_person(const struct state *s, struct str id)
{
    for (size_t i = 0; i < s->n_people; i++)
        if (str_eq(s->people[i].id, id))
            return &s->people[i];
    return NULL;
}

static void fill_people(struct state *s, const struct operator_row *rows)
{
    size_t n = 0;
    for (const struct operator_row *o = rows; o; o = o->next)
        n++;
    s->people = ARENA_ARRAY(s->arena, struct person, n + 1);
    for (const struct operator_row *o = rows; o; o = o->next)
        s->people[s->n_people++] = (struct person){.id = o->id,
                                                   .name = o->name,
                                                   .role = (enum role)o->role,
                                                   .is_enabled = o->is_enabled,
                                                   .has_password = o->password.n > 0};
}

static void fill_sessions(struct state *s, const struct session_row *rows)
{
    size_t n = 0;
    for (const struct session_row *r = rows; r; r = r->next)
        n++;
    s->sessions = ARENA_ARRAY(s->arena, struct session, n + 1);
    for (const struct session_row *r = rows; r; r = r->next) {
        struct session *one = &s->sessions[s->n_sessions];
        *one = (struct session){.id = r->id,
                                .person = find_person(s, r->operator_id),
                                .expires_ms = r->expires_ms,
                                .seen_ms = r->seen_ms};
        memcpy(one->hash, r->hash, sizeof one->hash);
        s->n_sessions += one->person != NULL;
    }
    qsort(s->sessions, s->n_sessions, sizeof *s->sessions, by_hash);
}

/* Passwords were read with the rows: only whether there is one stays. */
static void forget_passwords(struct operator_row *rows)
{
    for (; rows; rows = rows->next)
        if (rows->password.n)
            explicit_bzero((char *)(uintptr_t)rows->password.p, rows->password.n);
}

static struct session_row copy_row(struct arena *a, const struct session_row *r)
{
    struct session_row out = *r;
    out.next = NULL;
    out.id = str_dup(a, r->id);
    out.operator_id = str_dup(a, r->operator_id);
    out.address = str_dup(a, r->address);
    out.agent = str_dup(a, r->agent);
    return out;
}

static bool is_among(const struct session_row *rows, const struct session_row *r)
{
    for (; rows; rows = rows->next)
        if (memcmp(rows->hash, r->hash, sizeof r->hash) == 0)
            return true;
    return false;
}

/* Whose operator is as it was when it began: another password since then ended it. */
static bool still_holds(const struct operator_row *all, const struct session_row *r)
{
    for (; all; all = all->next)
        if (str_eq(all->id, r->operator_id))
            return all->is_enabled && all->changed_ms <= r->created_ms;
    return false;
}

/* Those that the store lacks before those that it has. */
static struct session_row *with_owed(struct identity *id, struct arena *a,
                                     struct session_row *stored, const struct operator_row *people)
{
    struct session_row *all = stored;
    (void)pthread_mutex_lock(&id->lock);
    for (struct owed **at = &id->owed; *at;) {
        if (is_among(stored, &(*at)->row) || !still_holds(people, &(*at)->row)) {
            drop_owed(id, at);
            continue;
        }
        struct session_row *copy = ARENA_NEW(a, struct session_row);
        *copy = copy_row(a, &(*at)->row);
        copy->next = all;
        all = copy;
        at = &(*at)->next;
    }
    (void)pthread_mutex_unlock(&id->lock);
    return all;
}

static bool load(struct identity *id, struct db *db, struct err *e)
{
    struct state next = {.arena = arena_new()};
    struct operator_row *operators;
    struct session_row *sessions;
    struct lockout_row *locks;
    if (!operator_list(db, next.arena, &operators, e) ||
        !session_list(db, next.arena, &sessions, e) || !lockout_list(db, next.arena, &locks, e)) {
        arena_free(next.arena);
        return false;
    }
    fill_people(&next, operators);
    fill_sessions(&next, with_owed(id, next.arena, sessions, operators));
    forget_passwords(operators);
    (void)pthread_mutex_lock(&id->lock);
    for (size_t i = 0; i < id->now.n_sessions; i++) { /* uses that were not written yet */
        const struct session *old = &id->now.sessions[i];
        struct session *same = old->is_dirty ? find_session(&next, old->hash) : NULL;
        if (same && same->seen_ms < old->seen_ms) {
            same->seen_ms = old->seen_ms;
            same->is_dirty = true;
        }
    }
    struct state old = id->now;
    id->now = next;
    lockout_sync(id->lockout, locks);
    (void)pthread_mutex_unlock(&id->lock);
    arena_free(old.arena);
    return true;
}

/* One after the other: who read before a session began must not have the last word on who has one. */
bool identity_load(struct identity *id, struct db *db, struct err *e)
{
    (void)pthread_mutex_lock(&id->loading);
    bool ok = load(id, db, e);
    (void)pthread_mutex_unlock(&id->loading);
    return ok;
}

bool identity_is_configured(struct identity *id)
{
    bool found = false;
    (void)pthread_mutex_lock(&id->lock);
    for (size_t i = 0; i < id->now.n_people; i++)
        found |= id->now.people[i].is_enabled && id->now.people[i].has_password;
    (void)pthread_mutex_unlock(&id->lock);
    return found;
}

/* ---- on the loop ---- */

bool identity_session(struct identity *id, struct arena *a, struct str token,
                      const struct settings *set, int64_t now_ms, struct principal *out)
{
    uint8_t hash[SHA256_SIZE];
    if (token.n != SESSION_TOKEN_DIGITS)
        return false;
    sha256(token, hash);
    (void)pthread_mutex_lock(&id->lock);
    struct session *s = find_session(&id->now, hash);
    bool ok = s && s->person->is_enabled && now_ms < s->expires_ms &&
              now_ms - s->seen_ms < set->session_idle_ms;
    if (ok) {
        *out = (struct principal){.kind = PRINCIPAL_OPERATOR,
                                  .role = s->person->role,
                                  .id = str_dup(a, s->person->id),
                                  .name = str_dup(a, s->person->name),
                                  .session = str_dup(a, s->id)};
        /* A clock that was set back by more than a minute: by the old one it would not be idle for long. */
        if (now_ms > s->seen_ms || s->seen_ms - now_ms > 60000) {
            s->seen_ms = now_ms;
            s->is_dirty = true;
        }
    }
    (void)pthread_mutex_unlock(&id->lock);
    return ok;
}

bool identity_session_lives(struct identity *id, struct str session, int64_t now_ms)
{
    bool lives = false;
    (void)pthread_mutex_lock(&id->lock);
    for (size_t i = 0; i < id->now.n_sessions && !lives; i++) {
        const struct session *s = &id->now.sessions[i];
        lives = str_eq(s->id, session) && s->person->is_enabled && now_ms < s->expires_ms;
    }
    (void)pthread_mutex_unlock(&id->lock);
    return lives;
}

/* ---- passwords that file or environment give ---- */

static struct password_cost cost_of(const struct settings *set)
{
    return (struct password_cost){set->password_memory_bytes, set->password_passes};
}

static void fingerprint_of(const struct identity *id, struct secret password, uint8_t out[32])
{
    static const char use[] = "sluice admin password";
    crypto_generichash_state st;
    struct str p = secret_reveal(password);
    (void)crypto_generichash_init(&st, id->pepper, sizeof id->pepper, 32);
    (void)crypto_generichash_update(&st, (const unsigned char *)use, sizeof use);
    (void)crypto_generichash_update(&st, (const unsigned char *)p.p, p.n);
    (void)crypto_generichash_final(&st, out, 32);
}

static bool store_given(struct db *db, const struct operator_row *o, bool ends_sessions,
                        struct err *e)
{
    if (!db_begin(db, e))
        return false;
    if (operator_put(db, o, e) &&
        (!ends_sessions || session_delete_all(db, o->id, STR_NONE, NULL, e)))
        return db_commit(db, e);
    db_rollback(db);
    return false;
}

/* Nothing gives one any more: who had it stays, and cannot sign in until somebody sets another. */
static bool drop_given(struct db *db, struct arena *a, int64_t now_ms, bool *changed, struct err *e)
{
    struct operator_row *rows;
    if (!operator_list(db, a, &rows, e))
        return false;
    for (struct operator_row *o = rows; o; o = o->next) {
        if (!o->fingerprint.n)
            continue;
        o->password = o->fingerprint = STR_NONE;
        o->origin = ORIGIN_API;
        o->changed_ms = now_ms;
        if (!store_given(db, o, true, e))
            return false;
        *changed = true;
    }
    return true;
}

static bool take_given(struct identity *id, struct db *db, struct arena *a,
                       const struct settings *set, struct secret password, enum origin from,
                       int64_t now_ms, bool *changed, struct err *e)
{
    uint8_t fingerprint[32];
    struct operator_row o = {.id = STR_NONE};
    struct err inner = ERR_INIT;
    if (!operator_get(db, a, STR(OPERATOR_NAME), &o, &inner)) {
        if (inner.kind != ERR_NOT_FOUND)
            return err_set(e, inner.kind, inner.code, "%s", inner.message);
        o = (struct operator_row){
            .id = random_id(a, "op_", 16), .name = STR(OPERATOR_NAME), .created_ms = now_ms};
    }
    fingerprint_of(id, password, fingerprint);
    bool is_same = o.fingerprint.n == sizeof fingerprint && o.password.n &&
                   ct_eq(o.fingerprint.p, fingerprint, sizeof fingerprint);
    if (is_same && o.origin == (int64_t)from && o.is_enabled && o.role == ROLE_OWNER)
        return true;
    o.origin = from;
    o.is_enabled = true;
    o.role = ROLE_OWNER;
    o.fingerprint = str_n((const char *)fingerprint, sizeof fingerprint);
    if (!is_same) {
        o.changed_ms = now_ms;
        if (!password_hash(a, password, cost_of(set), &o.password, e))
            return false;
    }
    *changed = true;
    return store_given(db, &o, !is_same, e);
}

bool identity_adopt(struct identity *id, struct db *db, const struct settings *set,
                    struct secret password, enum origin from, int64_t now_ms, bool *changed,
                    struct err *e)
{
    struct arena *a = arena_new();
    *changed = false;
    bool ok = secret_is_set(password)
                  ? take_given(id, db, a, set, password, from, now_ms, changed, e)
                  : drop_given(db, a, now_ms, changed, e);
    arena_free(a);
    return ok;
}

/* ---- signing in ---- */

int64_t identity_locked_ms(struct identity *id, struct arena *a, struct str address, int64_t now_ms)
{
    struct str group = peer_group(a, address);
    (void)pthread_mutex_lock(&id->lock);
    int64_t left = lockout_left_ms(id->lockout, group, now_ms);
    (void)pthread_mutex_unlock(&id->lock);
    return left;
}

bool identity_lockouts(struct db *db, struct arena *a, int64_t now_ms, struct lockout_row **out,
                       struct err *e)
{
    struct lockout_row *all;
    *out = NULL;
    if (!lockout_list(db, a, &all, e))
        return false;
    while (all) {
        struct lockout_row *next = all->next;
        if (all->until_ms > now_ms) {
            all->next = *out;
            *out = all;
        }
        all = next;
    }
    return true;
}

bool identity_unlock(struct identity *id, struct db *db, struct arena *a, struct str address,
                     int64_t now_ms, bool *was, struct err *e)
{
    struct str group = peer_group(a, address);
    if (!group.n || !lockout_delete(db, group, e))
        return group.n == 0;
    (void)pthread_mutex_lock(&id->lock);
    *was = lockout_left_ms(id->lockout, group, now_ms) > 0;
    lockout_succeeded(id->lockout, group);
    (void)pthread_mutex_unlock(&id->lock);
    return true;
}

static long long seconds_left(int64_t ms)
{
    return ms / 1000 + 1;
}

static bool locked_out(int64_t left_ms, struct err *e)
{
    err_set(e, ERR_RATE_LIMITED, "locked_out", "Too many failed attempts. Try again in %llds.",
            seconds_left(left_ms));
    if (e)
        e->retry_after_ms = seconds_left(left_ms) * 1000;
    return false;
}

static bool try_begin(struct identity *id, struct str group, const struct settings *set,
                      int64_t now_ms, struct err *e)
{
    int64_t left = 0;
    (void)pthread_mutex_lock(&id->lock);
    bool may = lockout_begin(id->lockout, group, set, now_ms, &left);
    (void)pthread_mutex_unlock(&id->lock);
    return may || locked_out(left, e);
}

/* What came of it. A store that cannot be written must not stop the counting: it goes on in memory. */
static bool try_end(struct identity *id, struct db *db, struct str group,
                    const struct settings *set, int64_t now_ms, bool was_right, struct err *e)
{
    struct lockout_row row;
    struct err inner = ERR_INIT;
    int64_t locked_ms = 0;
    (void)pthread_mutex_lock(&id->lock);
    bool had_any = lockout_failures(id->lockout, group) > 0;
    if (was_right)
        lockout_succeeded(id->lockout, group);
    else
        locked_ms = lockout_failed(id->lockout, group, set, now_ms, &row);
    (void)pthread_mutex_unlock(&id->lock);
    bool stored = was_right ? !had_any || lockout_delete(db, group, &inner)
                            : lockout_put(db, &row, &inner);
    if (!stored) {
        log_error(NULL, "lockout.not_stored", "error=%s", inner.message);
    } else if (!was_right) {
        (void)pthread_mutex_lock(&id->lock);
        lockout_stored(id->lockout, &row);
        (void)pthread_mutex_unlock(&id->lock);
    }
    if (was_right)
        return true;
    if (locked_ms == 0)
        return err_set(e, ERR_UNAUTHENTICATED, "invalid_password", "Wrong name or password");
    err_set(e, ERR_UNAUTHENTICATED, "invalid_password",
            "Too many failed attempts. Locked for %llds.", seconds_left(locked_ms - 1000));
    if (e)
        e->retry_after_ms = locked_ms;
    return false;
}

static void try_undecided(struct identity *id, struct str group)
{
    (void)pthread_mutex_lock(&id->lock);
    lockout_undecided(id->lockout, group);
    (void)pthread_mutex_unlock(&id->lock);
}

/* Without a name: "admin", else the only owner. found is false when nobody fits, which is no error. */
static bool look_up(struct db *db, struct arena *a, struct str name, struct operator_row *out,
                    bool *found, struct err *e)
{
    struct operator_row *rows, *owner = NULL;
    *found = false;
    if (!operator_list(db, a, &rows, e))
        return false;
    for (struct operator_row *o = rows; o; o = o->next) {
        if (str_eq_nocase(o->name, name.n ? name : STR(OPERATOR_NAME))) {
            *out = *o;
            *found = true;
            return true;
        }
        if (o->role == ROLE_OWNER && o->is_enabled && o->password.n) {
            *found = !name.n && !owner;
            owner = o;
        }
    }
    if (*found)
        *out = *owner;
    return true;
}

static struct session_row make_session(struct arena *a, const struct settings *set,
                                       const struct operator_row *o, const struct sign_in *in,
                                       int64_t now_ms, struct signed_in *out)
{
    char *token = arena_zalloc(a, SESSION_TOKEN_DIGITS + 1);
    random_hex(token, SESSION_TOKEN_DIGITS);
    struct session_row row = {.id = random_id(a, "ses_", 16),
                              .operator_id = o->id,
                              .created_ms = now_ms,
                              .seen_ms = now_ms,
                              .expires_ms = now_ms + set->session_ttl_ms,
                              .address = in->address,
                              .agent = str_fix_utf8(a, str_first(in->agent, MAX_AGENT))};
    sha256(str_n(token, SESSION_TOKEN_DIGITS), row.hash);
    *out = (struct signed_in){.token = str_n(token, SESSION_TOKEN_DIGITS),
                              .session = row.id,
                              .expires_ms = row.expires_ms,
                              .who = {.kind = PRINCIPAL_OPERATOR,
                                      .role = (enum role)o->role,
                                      .id = o->id,
                                      .name = o->name,
                                      .session = row.id}};
    return row;
}

static bool put_session(struct db *db, const struct settings *set, const struct session_row *row,
                        int64_t now_ms, struct err *e)
{
    return session_delete_over(db, now_ms, now_ms - set->session_idle_ms, e) &&
           session_insert(db, row, e) && session_delete_excess(db, set->max_sessions, row->hash, e);
}

/* Everything or nothing, then memory follows. */
static bool in_transaction(struct identity *id, struct db *db, bool ok, struct err *e)
{
    if (!ok) {
        db_rollback(db);
        return false;
    }
    return db_commit(db, e) && identity_load(id, db, e);
}

/* A hash made with other parameters is made anew while the password is at hand. A failure only means: another time. */
static void renew_hash(struct db *db, struct arena *a, const struct settings *set,
                       struct secret password, struct operator_row *o)
{
    struct err e = ERR_INIT;
    if (password_is_stale(a, o->password, cost_of(set)) &&
        (!password_hash(a, password, cost_of(set), &o->password, &e) || !operator_put(db, o, &e)))
        log_warn(NULL, "password.not_renewed", "error=%s", e.message);
}

static bool check(struct identity *id, struct db *db, struct arena *a, const struct settings *set,
                  struct str name, const struct sign_in *in, int64_t now_ms, struct operator_row *o,
                  struct err *e)
{
    struct str group = peer_group(a, in->address);
    bool found;
    if (!try_begin(id, group, set, now_ms, e))
        return false;
    if (!look_up(db, a, name, o, &found, e)) {
        try_undecided(id, group);
        return false;
    }
    /* Also when there is nobody of that name: how long it takes must not tell. */
    bool right = password_is_right(found && o->is_enabled ? o->password : STR_NONE, in->password,
                                   cost_of(set));
    return try_end(id, db, group, set, now_ms, right, e);
}

/* A fault of the store is none of the operator's, who may be coming to mend it: the session lives in memory until it can be stored. */
static bool owe(struct identity *id, const struct session_row *row)
{
    (void)pthread_mutex_lock(&id->lock);
    bool may = id->n_owed < MAX_OWED;
    if (may) {
        struct arena *own = arena_new();
        struct owed *one = ARENA_NEW(own, struct owed);
        *one = (struct owed){.next = id->owed, .arena = own, .row = copy_row(own, row)};
        id->owed = one;
        id->n_owed++;
    }
    (void)pthread_mutex_unlock(&id->lock);
    return may;
}

bool identity_sign_in(struct identity *id, struct db *db, struct arena *a,
                      const struct settings *set, const struct sign_in *in, int64_t now_ms,
                      struct signed_in *out, struct err *e)
{
    struct operator_row o = {.id = STR_NONE};
    if (!identity_is_configured(id))
        return err_set(e, ERR_INPUT, "not_configured", "Admin password not configured");
    if (!check(id, db, a, set, in->name, in, now_ms, &o, e))
        return false;
    struct session_row row = make_session(a, set, &o, in, now_ms, out);
    struct err why = ERR_INIT;
    bool is_stored = db_begin(db, &why) &&
                     in_transaction(id, db, put_session(db, set, &row, now_ms, &why), &why);
    if (is_stored) {
        renew_hash(db, a, set, in->password, &o);
        return true;
    }
    if (owe(id, &row)) {
        log_warn(NULL, "session.not_stored", "session=" STR_FMT " error=%s", STR_ARG(row.id),
                 why.message);
        return identity_load(id, db, e);
    }
    *e = why;
    return false;
}

bool identity_settle(struct identity *id, struct db *db, struct err *e)
{
    struct arena *a = arena_new();
    struct session_row *rows = NULL;
    (void)pthread_mutex_lock(&id->lock);
    for (const struct owed *one = id->owed; one; one = one->next) {
        struct session_row *copy = ARENA_NEW(a, struct session_row);
        *copy = copy_row(a, &one->row);
        copy->next = rows;
        rows = copy;
    }
    (void)pthread_mutex_unlock(&id->lock);
    bool ok = true, is_any = rows != NULL;
    for (; ok && rows; rows = rows->next)
        ok = session_insert(db, rows, e);
    arena_free(a);
    return ok && (!is_any || identity_load(id, db, e)); /* which drops what is stored now */
}

bool identity_forget_owed(struct identity *id, struct str session)
{
    bool was_there = false;
    (void)pthread_mutex_lock(&id->lock);
    for (struct owed **at = &id->owed; *at && !was_there;) {
        was_there = str_eq((*at)->row.id, session);
        if (was_there)
            drop_owed(id, at);
        else
            at = &(*at)->next;
    }
    (void)pthread_mutex_unlock(&id->lock);
    return was_there;
}

bool identity_check_password(struct identity *id, struct db *db, struct arena *a,
                             const struct settings *set, struct str operator_id,
                             const struct sign_in *in, int64_t now_ms, struct err *e)
{
    struct operator_row o;
    return operator_get(db, a, operator_id, &o, e) &&
           check(id, db, a, set, o.name, in, now_ms, &o, e);
}

/* ---- claims ---- */

bool identity_claim_new(struct db *db, struct arena *a, const struct settings *set, int64_t now_ms,
                        struct str *token, struct err *e)
{
    uint8_t hash[SHA256_SIZE];
    *token = random_id(a, "", SESSION_TOKEN_DIGITS);
    sha256(*token, hash);
    return claim_put(db, hash, now_ms + set->claim_ttl_ms, e);
}

bool identity_set_password(struct arena *a, const struct settings *set, struct secret password,
                           int64_t now_ms, struct operator_row *o, struct err *e)
{
    if ((int64_t)secret_reveal(password).n < set->password_min_length)
        return err_field(e, "password", "'password' must have at least %lld characters",
                         (long long)set->password_min_length);
    o->fingerprint = STR_NONE;
    o->origin = ORIGIN_API;
    o->changed_ms = now_ms;
    return password_hash(a, password, cost_of(set), &o->password, e);
}

bool identity_claim(struct identity *id, struct db *db, struct arena *a, const struct settings *set,
                    struct str token, const struct sign_in *in, int64_t now_ms,
                    struct signed_in *out, struct err *e)
{
    uint8_t hash[SHA256_SIZE];
    struct str group = peer_group(a, in->address);
    struct operator_row o = {.id = random_id(a, "op_", 16),
                             .name = in->name.n ? in->name : STR(OPERATOR_NAME),
                             .role = ROLE_OWNER,
                             .is_enabled = true,
                             .created_ms = now_ms};
    struct err inner = ERR_INIT;
    if (!try_begin(id, group, set, now_ms, e))
        return false;
    sha256(token, hash);
    if (!operator_name_check(o.name, e) ||
        !identity_set_password(a, set, in->password, now_ms, &o, e) || !db_begin(db, e)) {
        try_undecided(id, group);
        return false;
    }
    struct session_row row = make_session(a, set, &o, in, now_ms, out);
    bool ok = claim_take(db, hash, now_ms, &inner) && operator_put(db, &o, &inner) &&
              put_session(db, set, &row, now_ms, &inner);
    if (in_transaction(id, db, ok, &inner))
        return try_end(id, db, group, set, now_ms, true, e);
    if (inner.kind == ERR_UNAUTHENTICATED)
        (void)try_end(id, db, group, set, now_ms, false, e);
    else
        try_undecided(id, group);
    /* the link's own words, but for the try that locked the address */
    if (e && (inner.kind != ERR_UNAUTHENTICATED || e->retry_after_ms < 0))
        *e = inner;
    return false;
}

/* ---- now and then ---- */

static bool write_uses(struct identity *id, struct db *db, struct arena *a, struct err *e)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&id->lock);
    struct session *dirty = ARENA_ARRAY(a, struct session, id->now.n_sessions + 1);
    for (size_t i = 0; i < id->now.n_sessions; i++) {
        if (id->now.sessions[i].is_dirty)
            dirty[n++] = id->now.sessions[i];
        id->now.sessions[i].is_dirty = false;
    }
    (void)pthread_mutex_unlock(&id->lock);
    for (size_t i = 0; i < n; i++)
        if (!session_touch(db, dirty[i].hash, dirty[i].seen_ms, e))
            return false;
    return true;
}

static bool has_work(struct identity *id, const struct settings *set, int64_t now_ms)
{
    (void)pthread_mutex_lock(&id->lock);
    bool found = lockout_size(id->lockout) > 0 || id->owed;
    for (size_t i = 0; !found && i < id->now.n_sessions; i++) {
        const struct session *s = &id->now.sessions[i];
        found = s->is_dirty || s->expires_ms <= now_ms ||
                now_ms - s->seen_ms >= set->session_idle_ms;
    }
    (void)pthread_mutex_unlock(&id->lock);
    return found;
}

bool identity_sweep(struct identity *id, struct db *db, const struct settings *set, int64_t now_ms,
                    struct err *e)
{
    if (!has_work(id, set, now_ms))
        return true;
    if (!identity_settle(id, db, e) || !db_begin(db, e))
        return false;
    struct arena *a = arena_new();
    bool ok = write_uses(id, db, a, e) &&
              session_delete_over(db, now_ms, now_ms - set->session_idle_ms, e) &&
              lockout_delete_old(db, now_ms - LOCKOUT_MEMORY_MS, MAX_LOCKOUTS, e);
    arena_free(a);
    return in_transaction(id, db, ok, e);
}
