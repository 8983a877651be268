/* omni_registered.c - /api/v1/registered-keys: client keys that programs have made for them, with how many a provider and a connection give
 * out. A key that was issued is a client key like others; who it was issued for, and when, stands in the store beside it. */
#include "api/admin.h"
#include "api/omni.h"
#include "base/clock.h"
#include "base/codec.h"
#include "gate/limit.h"

#define HOUR_MS 3600000
#define DAY_MS 86400000
#define FRESH_MS 60000 /* so long a key may be issued and not in the configuration yet */
#define MOST_LISTED 500

struct issued {
    struct str id, keyPrefix, name, provider, accountId;
    bool isActive;
    struct str revokedAt, expiresAt, idempotencyKey;
    int64_t dailyBudget, hourlyBudget, dailyUsed, hourlyUsed;
    struct str createdAt, updatedAt;
};
struct issued_list {
    struct shape_list keys;
    int64_t total;
};
struct issued_one {
    struct issued key;
};
struct issue_in {
    struct str name, provider, accountId, idempotencyKey, expiresAt;
    int64_t dailyBudget, hourlyBudget;
};
struct issue_out {
    struct str key, keyId, keyPrefix, name, provider, accountId, expiresAt, createdAt, warning;
};
struct issue_refused {
    struct str error, errorCode;
    struct issued existing;
};
struct issue_query {
    struct str provider, accountId;
};
struct revoked {
    bool success;
    struct str id, revokedAt;
};
struct quota_out {
    bool allowed;
    struct str errorCode, errorMessage, provider, accountId;
    int64_t providerActiveKeys, accountActiveKeys;
};
struct issue_limit {
    struct str provider, accountId;
    int64_t maxActiveKeys, dailyIssueLimit, hourlyIssueLimit, dailyIssued, hourlyIssued;
    struct str updatedAt;
};
struct issue_limit_in {
    int64_t maxActiveKeys, dailyIssueLimit, hourlyIssueLimit;
};
/* clang-format off */
#define ISSUED(member, flags, doc) FIELD(struct issued, member, flags, doc)
static const struct shape issued_shape = SHAPE(struct issued,
    ISSUED(id,             0, "Name of the key in logs and lists"),
    ISSUED(keyPrefix,      0, "How its text begins"),
    ISSUED(name,           0, "Name for people"),
    ISSUED(provider,       0, "Whose connections alone it may use; empty: any"),
    ISSUED(accountId,      0, "The one connection that it may use; empty: any"),
    ISSUED(isActive,       0, "Whether it opens anything"),
    ISSUED(revokedAt,      NULL_EMPTY, "When it was revoked"),
    ISSUED(expiresAt,      NULL_EMPTY, "When it ends by itself"),
    ISSUED(idempotencyKey, NULL_EMPTY, "What it was issued with: nothing else is issued with it again"),
    ISSUED(dailyBudget,    NULL_EMPTY, "Most requests in 24 hours"),
    ISSUED(hourlyBudget,   NULL_EMPTY, "Most requests in an hour"),
    ISSUED(dailyUsed,      0, "Requests that count now; 0 where there is no limit"),
    ISSUED(hourlyUsed,     0, "Requests counted in the last hour"),
    ISSUED(createdAt,      0, "When it was issued"),
    ISSUED(updatedAt,      0, "When it was issued or revoked"));
static const struct shape issued_list_shape = SHAPE(struct issued_list,
    FIELD_LIST(struct issued_list, keys, &issued_shape, 0, "The newest 500, newest first"),
    FIELD(struct issued_list, total, 0, "How many are listed"));
static const struct shape issued_one_shape = SHAPE(struct issued_one,
    FIELD_OBJECT(struct issued_one, key, &issued_shape, 0, "The key, without its text"));
static const struct shape issue_in_shape = SHAPE(struct issue_in,
    FIELD_TEXT(struct issue_in, name, 1, 120, REQUIRED, "Name for people"),
    FIELD_TEXT(struct issue_in, provider, 0, 80, 0, "Whose connections alone it may use: those that the provider has now"),
    FIELD_TEXT(struct issue_in, accountId, 0, 120, 0, "The one connection that it may use"),
    FIELD_TEXT(struct issue_in, idempotencyKey, 1, 256, 0, "Nothing is issued with it a second time: 409"),
    FIELD_TEXT(struct issue_in, expiresAt, 1, 64, 0, "When it ends by itself, RFC 3339"),
    FIELD_RANGE(struct issue_in, dailyBudget, 1, 1000000000, 0, "Most requests in 24 hours"),
    FIELD_RANGE(struct issue_in, hourlyBudget, 1, 1000000000, 0, "Most requests in an hour"));
static const struct shape issue_out_shape = SHAPE(struct issue_out,
    FIELD(struct issue_out, key, 0, "The key: shown this once"),
    FIELD(struct issue_out, keyId, 0, "Its id"),
    FIELD(struct issue_out, keyPrefix, 0, "How it begins"),
    FIELD(struct issue_out, name, 0, "Name for people"),
    FIELD(struct issue_out, provider, 0, "Whose connections alone it may use"),
    FIELD(struct issue_out, accountId, 0, "The one connection that it may use"),
    FIELD(struct issue_out, expiresAt, NULL_EMPTY, "When it ends by itself"),
    FIELD(struct issue_out, createdAt, 0, "Now"),
    FIELD(struct issue_out, warning, 0, "That it is shown once"));
static const struct shape issue_refused_shape = SHAPE(struct issue_refused,
    FIELD(struct issue_refused, error, 0, "Why none is issued"),
    FIELD(struct issue_refused, errorCode, 0, "IDEMPOTENCY_CONFLICT, or what a quota says"),
    FIELD_OBJECT(struct issue_refused, existing, &issued_shape, 0, "The key that was issued with it"));
static const struct shape quota_refused_shape = SHAPE(struct issue_refused,
    FIELD(struct issue_refused, error, 0, "Why none is issued"),
    FIELD(struct issue_refused, errorCode, 0, "PROVIDER_QUOTA_EXCEEDED, ACCOUNT_QUOTA_EXCEEDED or MAX_ACTIVE_KEYS_EXCEEDED"));
static const struct shape issue_query_shape = SHAPE(struct issue_query,
    FIELD(struct issue_query, provider, 0, "Only of this provider"),
    FIELD(struct issue_query, accountId, 0, "Only of this connection"));
static const struct shape revoked_shape = SHAPE(struct revoked,
    FIELD(struct revoked, success, 0, "true"),
    FIELD(struct revoked, id, 0, "The key"),
    FIELD(struct revoked, revokedAt, 0, "When it was revoked"));
static const struct shape quota_shape = SHAPE(struct quota_out,
    FIELD(struct quota_out, allowed, 0, "Whether a key would be issued now"),
    FIELD(struct quota_out, errorCode, OMIT_EMPTY, "PROVIDER_QUOTA_EXCEEDED, ACCOUNT_QUOTA_EXCEEDED or MAX_ACTIVE_KEYS_EXCEEDED"),
    FIELD(struct quota_out, errorMessage, OMIT_EMPTY, "Why not"),
    FIELD(struct quota_out, provider, OMIT_EMPTY, "Asked for"),
    FIELD(struct quota_out, accountId, OMIT_EMPTY, "Asked for"),
    FIELD(struct quota_out, providerActiveKeys, OMIT_EMPTY, "Keys of the provider that open something"),
    FIELD(struct quota_out, accountActiveKeys, OMIT_EMPTY, "Keys of the connection that open something"));
#define LIMIT_FIELDS(type, flags) \
    FIELD_RANGE(type, maxActiveKeys, 0, 1000000000, flags, "Most keys that open something at a time; null: no limit"), \
    FIELD_RANGE(type, dailyIssueLimit, 0, 1000000000, flags, "Most keys that are issued in 24 hours; null: no limit"), \
    FIELD_RANGE(type, hourlyIssueLimit, 0, 1000000000, flags, "Most keys that are issued in an hour; null: no limit")
#define LIMIT_REST \
    FIELD(struct issue_limit, dailyIssued, 0, "Keys issued in the last 24 hours"), \
    FIELD(struct issue_limit, hourlyIssued, 0, "Keys issued in the last hour"), \
    FIELD(struct issue_limit, updatedAt, NULL_EMPTY, "When this was changed last")
static const struct shape provider_limit_shape = SHAPE(struct issue_limit,
    FIELD(struct issue_limit, provider, 0, "The provider"), LIMIT_FIELDS(struct issue_limit, NULL_NEGATIVE), LIMIT_REST);
static const struct shape account_limit_shape = SHAPE(struct issue_limit,
    FIELD(struct issue_limit, accountId, 0, "The connection"), LIMIT_FIELDS(struct issue_limit, NULL_NEGATIVE), LIMIT_REST);
static const struct shape limit_in_shape = SHAPE(struct issue_limit_in, LIMIT_FIELDS(struct issue_limit_in, 0));
/* clang-format on */

enum issue_scope {
    OF_PROVIDER,
    OF_ACCOUNT,
    SCOPES
};
static const char *const scope_names[SCOPES] = {"provider", "account"};

static bool is_live(const struct key *k, int64_t now_ms)
{
    return k && k->is_enabled && (k->expires_ms == 0 || k->expires_ms > now_ms);
}

/* ---- reading ---- */

#define COLUMNS "id, prefix, name, provider, account, idempotency, issued_ms, revoked_ms"

static struct issued read_row(struct control_call *c, struct stmt *s)
{
    struct arena *a = c->arena;
    struct str id = str_dup(a, stmt_str(s, 0));
    const struct key *k = snapshot_key_by_id(c->snap, id);
    int64_t issued_ms = stmt_int(s, 6), revoked_ms = stmt_int(s, 7);
    struct issued out = {.id = id,
                         .keyPrefix = str_dup(a, stmt_str(s, 1)),
                         .name = k ? k->label : str_dup(a, stmt_str(s, 2)),
                         .provider = str_dup(a, stmt_str(s, 3)),
                         .accountId = str_dup(a, stmt_str(s, 4)),
                         .idempotencyKey = str_dup(a, stmt_str(s, 5)),
                         .isActive = is_live(k, clock_wall_ms()),
                         .revokedAt = omni_time(a, revoked_ms),
                         .createdAt = omni_time(a, issued_ms),
                         .updatedAt = omni_time(a, revoked_ms ? revoked_ms : issued_ms)};
    if (!k)
        return out;
    const struct limits *l = &k->policy->limits;
    struct limit_place p = {k->gauge, l, LIMIT_KEY, 0};
    out.expiresAt = omni_time(a, k->expires_ms);
    out.dailyBudget = l->requests_per_day;
    out.hourlyBudget = l->requests_per_hour;
    if (k->gauge) {
        uint64_t now = clock_mono_ms();
        out.dailyUsed = limit_view(&p, LIMIT_REQUESTS_DAY, now).used;
        out.hourlyUsed = limit_view(&p, LIMIT_REQUESTS_HOUR, now).used;
    }
    return out;
}

/* The one of this id, or that was issued with this idempotency key. false with e: there is none. */
static bool find_by(struct control_call *c, struct db *db, const char *sql, struct str by,
                    struct issued *out, struct err *e)
{
    struct stmt *s = db ? db_prepare(db, sql, e) : NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, by);
    bool is_there = stmt_step(s, e);
    if (is_there)
        *out = read_row(c, s);
    stmt_free(s);
    return is_there || (e->kind == ERR_NONE && omni_not_found("Key", by, e));
}

#define BY_ID "SELECT " COLUMNS " FROM registered_key WHERE id = ?1 AND NOT is_deleted"

static bool list(struct control_call *c, struct err *e)
{
    const struct issue_query *q = c->asked;
    struct db *db = control_db(c, e);
    struct issued *v = ARENA_ARRAY(c->arena, struct issued, MOST_LISTED);
    size_t n = 0;
    struct stmt *s = db ? db_prepare(db,
                                     "SELECT " COLUMNS
                                     " FROM registered_key WHERE NOT is_deleted AND "
                                     "(?1 = '' OR provider = ?1) AND (?2 = '' OR account = ?2) "
                                     "ORDER BY issued_ms DESC, id LIMIT ?3",
                                     e)
                        : NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, q->provider.n ? q->provider : STR(""));
    stmt_bind_str(s, 2, q->accountId.n ? q->accountId : STR(""));
    stmt_bind_int(s, 3, MOST_LISTED);
    while (n < MOST_LISTED && stmt_step(s, e))
        v[n++] = read_row(c, s);
    stmt_free(s);
    struct issued_list out = {{v, n}, (int64_t)n};
    return e->kind == ERR_NONE && control_reply(c, 200, &issued_list_shape, &out);
}

static bool get(struct control_call *c, struct err *e)
{
    struct issued_one out = {.key = {.id = STR_NONE}};
    return find_by(c, control_db(c, e), BY_ID, route_param(&c->params, "id"), &out.key, e) &&
           control_reply(c, 200, &issued_one_shape, &out);
}

/* ---- how many are given out ---- */

/* What is set and what was issued, of a provider or a connection. */
static bool read_limit(struct control_call *c, struct db *db, enum issue_scope scope,
                       struct str subject, struct issue_limit *out, struct err *e)
{
    static const char *const counts[SCOPES] = {
        "SELECT count(*) FILTER (WHERE issued_ms > ?2), count(*) FILTER (WHERE issued_ms > ?3) "
        "FROM registered_key WHERE provider = ?1",
        "SELECT count(*) FILTER (WHERE issued_ms > ?2), count(*) FILTER (WHERE issued_ms > ?3) "
        "FROM registered_key WHERE account = ?1"};
    int64_t now = clock_wall_ms();
    *out = (struct issue_limit){.maxActiveKeys = -1, .dailyIssueLimit = -1, .hourlyIssueLimit = -1};
    struct stmt *s = db_prepare(db,
                                "SELECT max_active, per_day, per_hour, updated_ms FROM "
                                "key_issue_limit WHERE scope = ?1 AND subject = ?2",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, str_of(scope_names[scope]));
    stmt_bind_str(s, 2, subject);
    if (stmt_step(s, e)) {
        out->maxActiveKeys = stmt_is_null(s, 0) ? -1 : stmt_int(s, 0);
        out->dailyIssueLimit = stmt_is_null(s, 1) ? -1 : stmt_int(s, 1);
        out->hourlyIssueLimit = stmt_is_null(s, 2) ? -1 : stmt_int(s, 2);
        out->updatedAt = omni_time(c->arena, stmt_int(s, 3));
    }
    stmt_free(s);
    s = e->kind == ERR_NONE ? db_prepare(db, counts[scope], e) : NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, subject);
    stmt_bind_int(s, 2, now - DAY_MS);
    stmt_bind_int(s, 3, now - HOUR_MS);
    if (stmt_step(s, e)) {
        out->dailyIssued = stmt_int(s, 0);
        out->hourlyIssued = stmt_int(s, 1);
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

/* Keys of it that open something, with those that were issued a moment ago. */
static bool count_active(struct db *db, enum issue_scope scope, struct str subject, int64_t *out,
                         struct err *e)
{
    static const char *const rows[SCOPES] = {
        "SELECT id, issued_ms FROM registered_key WHERE revoked_ms = 0 AND provider = ?1",
        "SELECT id, issued_ms FROM registered_key WHERE revoked_ms = 0 AND account = ?1"};
    int64_t now = clock_wall_ms();
    struct snapshot *newest = snapshot_current();
    struct stmt *s = db_prepare(db, rows[scope], e);
    *out = 0;
    if (s) {
        stmt_bind_str(s, 1, subject);
        while (stmt_step(s, e)) {
            const struct key *k = snapshot_key_by_id(newest, stmt_str(s, 0));
            *out += k ? is_live(k, now) : stmt_int(s, 1) > now - FRESH_MS;
        }
    }
    stmt_free(s);
    snapshot_unref(newest);
    return e->kind == ERR_NONE;
}

static bool check_scope(struct control_call *c, struct db *db, enum issue_scope scope,
                        struct str subject, struct quota_out *out, struct err *e)
{
    static const char *const codes[SCOPES] = {"PROVIDER_QUOTA_EXCEEDED", "ACCOUNT_QUOTA_EXCEEDED"};
    int64_t *active = scope == OF_PROVIDER ? &out->providerActiveKeys : &out->accountActiveKeys;
    struct issue_limit l;
    if (!subject.n || !out->allowed)
        return true;
    if (!read_limit(c, db, scope, subject, &l, e) || !count_active(db, scope, subject, active, e))
        return false;
    const struct {
        int64_t limit, used;
        const char *what, *code;
    } rows[] = {{l.hourlyIssueLimit, l.hourlyIssued, "Hourly issue limit", codes[scope]},
                {l.dailyIssueLimit, l.dailyIssued, "Daily issue limit", codes[scope]},
                {l.maxActiveKeys, *active, "Max active keys", "MAX_ACTIVE_KEYS_EXCEEDED"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].limit < 0 || rows[i].used < rows[i].limit)
            continue;
        out->allowed = false;
        out->errorCode = str_of(rows[i].code);
        out->errorMessage = str_fmt(c->arena, "%s (%lld) reached for %s '" STR_FMT "'",
                                    rows[i].what, (long long)rows[i].limit, scope_names[scope],
                                    STR_ARG(str_first(subject, 120)));
        break;
    }
    return true;
}

static bool check_quota(struct control_call *c, struct db *db, struct str provider,
                        struct str account, struct quota_out *out, struct err *e)
{
    *out = (struct quota_out){.allowed = true, .provider = provider, .accountId = account};
    return check_scope(c, db, OF_PROVIDER, provider, out, e) &&
           check_scope(c, db, OF_ACCOUNT, account, out, e);
}

static bool quota(struct control_call *c, struct err *e)
{
    const struct issue_query *q = c->asked;
    struct db *db = control_db(c, e);
    struct quota_out out;
    return db && check_quota(c, db, q->provider, q->accountId, &out, e) &&
           control_reply(c, 200, &quota_shape, &out);
}

/* ---- issuing ---- */

/* The connections that it is held to. */
static bool take_connections(struct control_call *c, const struct issue_in *in,
                             struct key_change *k, struct err *e)
{
    struct strs *out = &k->policy.providers;
    const struct upstream *account = in->accountId.n ? omni_connection(c->snap, in->accountId)
                                                     : NULL;
    if (in->accountId.n && !account)
        return err_field(e, "accountId", "There is no connection '" STR_FMT "'",
                         STR_ARG(str_first(in->accountId, 100)));
    if (account && in->provider.n && !omni_is_of(c->snap, account, in->provider))
        return err_field(e, "accountId", "The connection '" STR_FMT "' is not of this provider",
                         STR_ARG(str_first(in->accountId, 100)));
    out->v = ARENA_ARRAY(c->arena, struct str, c->snap->n_upstreams + 1);
    for (size_t i = 0; i < c->snap->n_upstreams; i++) {
        const struct upstream *u = c->snap->upstreams[i];
        if (account ? u == account : in->provider.n > 0 && omni_is_of(c->snap, u, in->provider))
            out->v[out->n++] = u->name;
    }
    if (in->provider.n && out->n == 0)
        return err_field(e, "provider", "There is no connection of provider '" STR_FMT "'",
                         STR_ARG(str_first(in->provider, 80)));
    if (out->n > 0)
        k->given |= KEY_POLICY << KEY_POLICY_PROVIDERS;
    return true;
}

static bool take(struct control_call *c, struct key_change *k, struct err *e)
{
    const struct issue_in *in = c->in;
    *k = (struct key_change){.label = in->name, .is_enabled = true, .given = KEY_LABEL};
    if (in->expiresAt.n &&
        (!clock_parse_rfc3339(in->expiresAt, &k->expires_ms) || k->expires_ms <= clock_wall_ms()))
        return err_field(e, "expiresAt", "'expiresAt' must be an RFC 3339 time to come");
    k->given |= in->expiresAt.n ? KEY_EXPIRES : 0u;
    k->policy.limits = (struct limits){.requests_per_hour = in->hourlyBudget,
                                       .requests_per_day = in->dailyBudget};
    if (limits_any(&k->policy.limits))
        k->given |= KEY_POLICY << KEY_POLICY_LIMITS;
    return take_connections(c, in, k, e);
}

/* Whether it may be issued, and the place for it, in one step: of many who ask at once as many are let in as there is room. The key's text
 * comes later. */
static bool reserve(struct control_call *c, struct db *db, const struct key_change *k,
                    struct quota_out *why, bool *is_repeated, struct err *e)
{
    const struct issue_in *in = c->in;
    *is_repeated = false;
    if (!check_quota(c, db, in->provider, in->accountId, why, e) || !why->allowed)
        return e->kind == ERR_NONE;
    struct stmt *s = db_prepare(db,
                                "INSERT INTO registered_key(" COLUMNS ", is_deleted) "
                                "VALUES(?1, '', ?2, ?3, ?4, ?5, ?6, 0, 0)",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, k->id);
    stmt_bind_str(s, 2, in->name);
    stmt_bind_str(s, 3, in->provider.n ? in->provider : STR(""));
    stmt_bind_str(s, 4, in->accountId.n ? in->accountId : STR(""));
    stmt_bind_str(s, 5, in->idempotencyKey); /* absent: NULL */
    stmt_bind_int(s, 6, clock_wall_ms());
    bool ok = stmt_run(s, e);
    stmt_free(s);
    if (!ok && e->kind == ERR_CONFLICT && in->idempotencyKey.n) {
        err_clear(e);
        *is_repeated = true;
    }
    return e->kind == ERR_NONE;
}

static bool set_prefix(struct db *db, struct str id, struct str prefix, struct err *e)
{
    struct stmt *s = db_prepare(db, "UPDATE registered_key SET prefix = ?2 WHERE id = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    stmt_bind_str(s, 2, prefix);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

static void let_go(struct db *db, struct str id)
{
    struct err ignored = ERR_INIT;
    struct stmt *s = db_prepare(db, "DELETE FROM registered_key WHERE id = ?1", &ignored);
    if (!s)
        return;
    stmt_bind_str(s, 1, id);
    if (!stmt_run(s, &ignored)) { /* it counts for a minute as one that comes, and then as none */
    }
    stmt_free(s);
}

static bool refuse_repeat(struct control_call *c, struct db *db, struct err *e)
{
    const struct issue_in *in = c->in;
    struct issue_refused out = {.error = STR("Idempotency key already used"),
                                .errorCode = STR("IDEMPOTENCY_CONFLICT")};
    c->failed_as = "idempotency_conflict";
    return find_by(c, db, "SELECT " COLUMNS " FROM registered_key WHERE idempotency = ?1",
                   in->idempotencyKey, &out.existing, e) &&
           control_reply(c, 409, &issue_refused_shape, &out);
}

static bool issue(struct control_call *c, struct err *e)
{
    const struct issue_in *in = c->in;
    struct db *db = control_db(c, e);
    struct key_change k;
    struct key_made made;
    struct quota_out why;
    bool is_repeated;
    if (!db || !take(c, &k, e))
        return false;
    k.id = str_fmt(c->arena, "%016llx", (unsigned long long)random_u64());
    if (!db_begin(db, e))
        return false;
    if (!reserve(c, db, &k, &why, &is_repeated, e)) {
        db_rollback(db);
        return false;
    }
    if (!db_commit(db, e))
        return false;
    if (is_repeated)
        return refuse_repeat(c, db, e);
    if (!why.allowed) {
        struct issue_refused out = {.error = why.errorMessage, .errorCode = why.errorCode};
        c->failed_as = "quota_exceeded";
        return control_reply(c, 429, &quota_refused_shape, &out);
    }
    if (!change_key_create(c, &k, &made, e)) {
        let_go(db, k.id);
        return false;
    }
    struct str prefix = str_first(made.text, 8);
    struct issue_out out = {.key = made.text,
                            .keyId = made.id,
                            .keyPrefix = prefix,
                            .name = in->name,
                            .provider = in->provider,
                            .accountId = in->accountId,
                            .expiresAt = omni_time(c->arena, k.expires_ms),
                            .createdAt = omni_time(c->arena, made.created_ms),
                            .warning = STR("Store this key securely: it is not shown again")};
    return set_prefix(db, k.id, prefix, e) && control_reply(c, 201, &issue_out_shape, &out);
}

/* ---- ending ---- */

/* The key opens nothing any more; deletes: nor is it shown. */
static bool end(struct control_call *c, bool deletes, struct err *e)
{
    struct db *db = control_db(c, e);
    struct str id = route_param(&c->params, "id");
    struct issued was;
    int64_t now = clock_wall_ms();
    if (!find_by(c, db, BY_ID, id, &was, e))
        return false;
    if (!deletes && was.revokedAt.n)
        return err_set(e, ERR_NOT_FOUND, "not_found", "Key not found or already revoked");
    struct key_change off = {.id = was.id, .given = KEY_ENABLED};
    if (snapshot_key_by_id(c->snap, was.id) &&
        !(deletes ? change_key_delete(c, was.id, e) : change_key(c, &off, e)))
        return false;
    struct stmt *s = db_prepare(db,
                                "UPDATE registered_key SET revoked_ms = CASE WHEN revoked_ms = 0 "
                                "THEN ?2 ELSE revoked_ms END, is_deleted = ?3 WHERE id = ?1",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, was.id);
    stmt_bind_int(s, 2, now);
    stmt_bind_int(s, 3, deletes);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    struct revoked out = {true, was.id, was.revokedAt.n ? was.revokedAt : omni_time(c->arena, now)};
    return ok && control_reply(c, 200, &revoked_shape, &out);
}

static bool revoke_one(struct control_call *c, struct err *e)
{
    return end(c, false, e);
}

static bool delete_one(struct control_call *c, struct err *e)
{
    return end(c, true, e);
}

/* ---- setting how many ---- */

static bool known(struct control_call *c, enum issue_scope scope, struct str *subject,
                  struct err *e)
{
    const struct custom_kind *custom;
    *subject = route_param(&c->params, scope == OF_PROVIDER ? "provider" : "id");
    if (scope == OF_ACCOUNT)
        return omni_connection(c->snap, *subject) != NULL ||
               omni_not_found("Connection", *subject, e);
    for (size_t i = 0; i < c->snap->n_upstreams; i++)
        if (omni_is_of(c->snap, c->snap->upstreams[i], *subject))
            return true;
    return omni_kind(c->snap, *subject, &custom) != NULL || omni_not_found("Provider", *subject, e);
}

static bool show_limit(struct control_call *c, enum issue_scope scope, struct err *e)
{
    struct db *db = control_db(c, e);
    struct str subject;
    struct issue_limit out;
    if (!db || !known(c, scope, &subject, e) || !read_limit(c, db, scope, subject, &out, e))
        return false;
    out.provider = out.accountId = subject;
    return control_reply(c, 200,
                         scope == OF_PROVIDER ? &provider_limit_shape : &account_limit_shape, &out);
}

/* What is not given, or null, is no limit: the whole of it is replaced. */
static bool set_limit(struct control_call *c, enum issue_scope scope, struct err *e)
{
    const struct issue_limit_in *in = c->in;
    const int64_t values[] = {in->maxActiveKeys, in->dailyIssueLimit, in->hourlyIssueLimit};
    struct db *db = control_db(c, e);
    struct str subject;
    if (!db || !known(c, scope, &subject, e))
        return false;
    struct stmt *s = db_prepare(
        db,
        "INSERT OR REPLACE INTO key_issue_limit(scope, subject, max_active, "
        "per_day, per_hour, updated_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, str_of(scope_names[scope]));
    stmt_bind_str(s, 2, subject);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (c->present >> i & 1)
            stmt_bind_int(s, 3 + (int)i, values[i]);
        else
            stmt_bind_null(s, 3 + (int)i);
    }
    stmt_bind_int(s, 6, clock_wall_ms());
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok && show_limit(c, scope, e);
}

static bool show_provider(struct control_call *c, struct err *e)
{
    return show_limit(c, OF_PROVIDER, e);
}

static bool set_provider(struct control_call *c, struct err *e)
{
    return set_limit(c, OF_PROVIDER, e);
}

static bool show_account(struct control_call *c, struct err *e)
{
    return show_limit(c, OF_ACCOUNT, e);
}

static bool set_account(struct control_call *c, struct err *e)
{
    return set_limit(c, OF_ACCOUNT, e);
}

/* clang-format off */
/* OmniRoute has them below /api/v1, which is another name of /v1 here. */
const struct endpoint omni_registered_endpoints[] = {
    { HTTP_GET,    "/v1/registered-keys",             SURFACE_OMNIROUTE, ACCESS_VIEWER, "List the keys that were issued, without their texts", .on_worker = list, .query = &issue_query_shape, .out = &issued_list_shape },
    { HTTP_POST,   "/v1/registered-keys",             SURFACE_OMNIROUTE, ACCESS_ADMIN, "Issue a client key, as far as the quotas of its provider and connection go", .on_worker = issue, .in = &issue_in_shape, .out = &issue_out_shape, .status = 201 },
    { HTTP_GET,    "/v1/registered-keys/{id}",        SURFACE_OMNIROUTE, ACCESS_VIEWER, "Show one of them", .on_worker = get, .out = &issued_one_shape },
    { HTTP_DELETE, "/v1/registered-keys/{id}",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Delete one: it opens nothing any more, and goes from the list", .on_worker = delete_one, .out = &revoked_shape },
    { HTTP_POST,   "/v1/registered-keys/{id}/revoke", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Revoke one: it opens nothing any more, and stays in the list", .on_worker = revoke_one, .out = &revoked_shape, .body_is_optional = true },
    { HTTP_GET,    "/v1/quotas/check",                SURFACE_OMNIROUTE, ACCESS_VIEWER, "Whether a key would be issued now", .on_worker = quota, .query = &issue_query_shape, .out = &quota_shape },
    { HTTP_GET,    "/v1/accounts/{id}/limits",        SURFACE_OMNIROUTE, ACCESS_VIEWER, "How many keys may be issued for a connection, and were", .on_worker = show_account, .out = &account_limit_shape },
    { HTTP_PUT,    "/v1/accounts/{id}/limits",        SURFACE_OMNIROUTE, ACCESS_ADMIN, "Say how many keys may be issued for a connection", .on_worker = set_account, .in = &limit_in_shape, .out = &account_limit_shape },
    { HTTP_GET,    "/v1/providers/{provider}/limits", SURFACE_OMNIROUTE, ACCESS_VIEWER, "How many keys may be issued for a provider, and were", .on_worker = show_provider, .out = &provider_limit_shape },
    { HTTP_PUT,    "/v1/providers/{provider}/limits", SURFACE_OMNIROUTE, ACCESS_ADMIN, "Say how many keys may be issued for a provider", .on_worker = set_provider, .in = &limit_in_shape, .out = &provider_limit_shape },
    {0},
};
/* clang-format on */
