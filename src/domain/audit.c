/* audit.c - the chain of audit rows: appending, reading, checking, retiring. */
#include "domain/audit.h"
#include "base/banned.h"
#include "base/codec.h"
#include "base/secret.h"
#include "json/json.h"
#include <pwd.h>
#include <unistd.h>

#define COLUMNS                                                                         \
    "id, at_ms, actor_kind, actor_id, actor, address, request_id, method, path, kind, " \
    "object, status, outcome, before, after, hash"
#define MAX_TEXT 200 /* of a name or an address */
#define MAX_JSON 65536
#define RETIRED_AT_ONCE 10000

enum column {
    ID,
    AT,
    ACTOR_KIND,
    ACTOR_ID,
    ACTOR,
    ADDRESS,
    REQUEST_ID,
    METHOD,
    PATH,
    KIND,
    OBJECT,
    STATUS,
    OUTCOME,
    BEFORE,
    AFTER,
    HASH
};

/* ---- the hash: the predecessor's, then every field with its length, so that none can run into the next ---- */

static void add_text(struct buf *b, struct str s)
{
    buf_fmt(b, "%zu:", s.n);
    buf_str_add(b, s);
}

static void hash_of(const struct audit_row *r, const uint8_t prev[SHA256_SIZE],
                    uint8_t out[SHA256_SIZE])
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    buf_add(&b, prev, SHA256_SIZE);
    buf_fmt(&b, "%lld:%lld:%lld:", (long long)r->id, (long long)r->at_ms, (long long)r->status);
    const struct str texts[] = {r->actor_kind, r->actor_id, r->actor,  r->address,
                                r->request_id, r->method,   r->path,   r->kind,
                                r->object,     r->outcome,  r->before, r->after};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        add_text(&b, texts[i]);
    sha256(buf_str(&b), out);
    buf_done(&b);
}

/* ---- appending ---- */

struct chain {
    int64_t first_id, last_id;
    uint8_t first_prev[SHA256_SIZE], last_hash[SHA256_SIZE];
};

static bool take_hash(struct stmt *s, int column, uint8_t out[SHA256_SIZE])
{
    struct str v = stmt_blob(s, column);
    if (v.n != SHA256_SIZE)
        return false;
    memcpy(out, v.p, SHA256_SIZE);
    return true;
}

static bool read_chain(struct db *db, struct chain *out, struct err *e)
{
    struct stmt *s = db_prepare(
        db, "SELECT first_id, first_prev, last_id, last_hash FROM audit_chain", e);
    if (!s)
        return false;
    bool ok = stmt_step(s, e);
    if (ok) {
        out->first_id = stmt_int(s, 0);
        out->last_id = stmt_int(s, 2);
        ok = take_hash(s, 1, out->first_prev) && take_hash(s, 3, out->last_hash);
    }
    stmt_free(s);
    return ok || (e && e->kind != ERR_NONE) ||
           err_set(e, ERR_INTERNAL, "audit_lost", "The audit chain has lost its ends");
}

static struct str bounded(struct str s, size_t max)
{
    s = str_first(s, max);
    while (s.n && !str_valid_utf8(s) && s.n > max - 4) /* not in the middle of a character */
        s.n--;
    return s;
}

static bool insert(struct db *db, const struct audit_row *r, const uint8_t hash[SHA256_SIZE],
                   struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "INSERT INTO audit (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
                                "?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                                e);
    if (!s)
        return false;
    const struct str texts[] = {r->actor_kind, r->actor_id, r->actor, r->address, r->request_id,
                                r->method,     r->path,     r->kind,  r->object};
    stmt_bind_int(s, 1 + ID, r->id);
    stmt_bind_int(s, 1 + AT, r->at_ms);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        stmt_bind_str(s, 1 + ACTOR_KIND + (int)i, texts[i].p ? texts[i] : STR(""));
    stmt_bind_int(s, 1 + STATUS, r->status);
    stmt_bind_str(s, 1 + OUTCOME, r->outcome.p ? r->outcome : STR(""));
    stmt_bind_str(s, 1 + BEFORE, r->before.n ? r->before : STR_NONE);
    stmt_bind_str(s, 1 + AFTER, r->after.n ? r->after : STR_NONE);
    stmt_bind_blob(s, 1 + HASH, hash, SHA256_SIZE);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

static bool move_end(struct db *db, int64_t id, const uint8_t hash[SHA256_SIZE], struct err *e)
{
    struct stmt *s = db_prepare(db, "UPDATE audit_chain SET last_id = ?1, last_hash = ?2", e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, id);
    stmt_bind_blob(s, 2, hash, SHA256_SIZE);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool audit_append(struct db *db, struct audit_row *row, struct err *e)
{
    struct chain c = {0};
    uint8_t hash[SHA256_SIZE];
    struct str *const texts[] = {&row->actor_kind, &row->actor_id, &row->actor, &row->address,
                                 &row->request_id, &row->method,   &row->path,  &row->kind,
                                 &row->object,     &row->outcome};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = bounded(*texts[i], MAX_TEXT);
    if (row->before.n > MAX_JSON)
        row->before = STR("\"(too large to keep)\"");
    if (row->after.n > MAX_JSON)
        row->after = STR("\"(too large to keep)\"");
    if (!read_chain(db, &c, e))
        return false;
    row->id = c.last_id + 1;
    hash_of(row, c.last_hash, hash);
    return insert(db, row, hash, e) && move_end(db, row->id, hash, e);
}

bool audit_append_alone(struct db *db, struct audit_row *row, struct err *e)
{
    if (!db_begin(db, e))
        return false;
    if (audit_append(db, row, e))
        return db_commit(db, e);
    db_rollback(db);
    return false;
}

struct audit_row audit_of_shell(struct arena *a, int64_t now_ms, const char *kind,
                                struct str object)
{
    char room[4096];
    struct passwd entry, *user = NULL;
    (void)getpwuid_r(getuid(), &entry, room, sizeof room, &user);
    return (struct audit_row){.at_ms = now_ms,
                              .actor_kind = STR("shell"),
                              .actor = user ? str_dup(a, str_of(user->pw_name))
                                            : str_fmt(a, "%u", (unsigned)getuid()),
                              .kind = str_of(kind),
                              .object = object,
                              .outcome = STR("ok")};
}

/* ---- reading ---- */

static void read_row(struct stmt *s, struct arena *a, struct audit_row *out)
{
    struct str *const texts[] = {&out->actor_kind, &out->actor_id,   &out->actor,
                                 &out->address,    &out->request_id, &out->method,
                                 &out->path,       &out->kind,       &out->object};
    *out = (struct audit_row){
        .id = stmt_int(s, ID), .at_ms = stmt_int(s, AT), .status = stmt_int(s, STATUS)};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(a, stmt_str(s, ACTOR_KIND + (int)i));
    out->outcome = str_dup(a, stmt_str(s, OUTCOME));
    out->before = stmt_is_null(s, BEFORE) ? STR_NONE : str_dup(a, stmt_str(s, BEFORE));
    out->after = stmt_is_null(s, AFTER) ? STR_NONE : str_dup(a, stmt_str(s, AFTER));
}

bool audit_list(struct db *db, struct arena *a, const struct audit_filter *f,
                struct audit_row **out, size_t *n, struct err *e)
{
    struct buf sql;
    const struct {
        const char *column;
        struct str value;
    } exact[] = {{"actor", f->actor},
                 {"kind", f->kind},
                 {"object", f->object},
                 {"outcome", f->outcome},
                 {"address", f->address}};
    const struct {
        const char *condition;
        int64_t value;
    } bounds[] = {{"at_ms >= ", f->since_ms},
                  {"at_ms < ", f->until_ms},
                  {f->oldest_first ? "id > " : "id < ", f->beyond_id}};
    buf_init_arena(&sql, a, 4096);
    buf_lit(&sql, "SELECT " COLUMNS " FROM audit WHERE 1");
    for (size_t i = 0; i < ARRAY_LEN(exact); i++)
        if (exact[i].value.n)
            buf_fmt(&sql, " AND %s = ?%zu", exact[i].column, i + 1);
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        if (bounds[i].value)
            buf_fmt(&sql, " AND %s%lld", bounds[i].condition, (long long)bounds[i].value);
    buf_fmt(&sql, " ORDER BY id%s LIMIT %lld", f->oldest_first ? "" : " DESC", (long long)f->limit);
    struct stmt *s = db_prepare(db, str_z(a, buf_str(&sql)), e);
    if (!s)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(exact); i++)
        if (exact[i].value.n)
            stmt_bind_str(s, (int)i + 1, exact[i].value);
    struct err inner = ERR_INIT;
    *out = ARENA_ARRAY(a, struct audit_row, (size_t)f->limit);
    for (*n = 0; *n < (size_t)f->limit && stmt_step(s, &inner);)
        read_row(s, a, &(*out)[(*n)++]);
    stmt_free(s);
    if (inner.kind != ERR_NONE && e)
        *e = inner;
    return inner.kind == ERR_NONE;
}

/* ---- checking ---- */

static bool broken(struct audit_finding *f, int64_t id, const char *why)
{
    f->broken_id = id;
    (void)snprintf(f->why, sizeof f->why, "%s", why);
    return false;
}

static bool check_row(struct stmt *s, struct audit_finding *f, int64_t expected,
                      uint8_t prev[SHA256_SIZE])
{
    uint8_t found[SHA256_SIZE], hash[SHA256_SIZE];
    struct audit_row row;
    struct arena *a = arena_new();
    read_row(s, a, &row);
    /* a row without a value has none, not an empty one: the hash does not tell them apart */
    bool is_plain = (row.before.n || stmt_is_null(s, BEFORE)) &&
                    (row.after.n || stmt_is_null(s, AFTER));
    bool has_hash = take_hash(s, HASH, found) && is_plain;
    hash_of(&row, prev, hash);
    arena_free(a);
    if (row.id != expected)
        return broken(f, expected, "the row is missing");
    if (!has_hash || memcmp(found, hash, sizeof hash) != 0)
        return broken(f, row.id,
                      "the row does not fit its hash: it, or a row before it, was altered");
    memcpy(prev, hash, sizeof hash);
    f->rows++;
    f->last_id = row.id;
    return true;
}

bool audit_verify(struct db *db, struct audit_finding *f, struct err *e)
{
    struct chain c = {0};
    struct err inner = ERR_INIT;
    *f = (struct audit_finding){0};
    if (!db_exec(db, "BEGIN", e)) /* one state of the store, whatever is appended meanwhile */
        return false;
    bool ok = read_chain(db, &c, e);
    struct stmt *s = ok ? db_prepare(db, "SELECT " COLUMNS " FROM audit ORDER BY id", e) : NULL;
    bool whole = s != NULL;
    int64_t expected = c.first_id;
    uint8_t prev[SHA256_SIZE];
    memcpy(prev, c.first_prev, sizeof prev);
    f->first_id = c.first_id;
    while (whole && stmt_step(s, &inner))
        whole = check_row(s, f, expected++, prev);
    if (whole && inner.kind == ERR_NONE && expected != c.last_id + 1)
        (void)broken(f, expected, "the row is missing: the chain was cut at its end");
    else if (whole && inner.kind == ERR_NONE && memcmp(prev, c.last_hash, sizeof prev) != 0)
        (void)broken(f, c.last_id, "the row does not fit the recorded end of the chain");
    ok = s != NULL && inner.kind == ERR_NONE;
    stmt_free(s);
    db_rollback(db);
    if (inner.kind != ERR_NONE && e)
        *e = inner;
    return ok;
}

/* ---- retiring ---- */

static bool retire_some(struct db *db, int64_t before_ms, int64_t *n, struct err *e)
{
    struct chain c = {0};
    struct stmt *s = NULL;
    uint8_t hash[SHA256_SIZE];
    struct err inner = ERR_INIT;
    *n = 0;
    if (!read_chain(db, &c, e))
        return false;
    /* From the beginning only: a clock that jumped must not tear a hole. */
    s = db_prepare(db,
                   "SELECT id, hash FROM audit WHERE id < coalesce((SELECT min(id) FROM audit "
                   "WHERE at_ms >= ?1), ?2) ORDER BY id LIMIT ?3",
                   e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, before_ms);
    stmt_bind_int(s, 2, c.last_id + 1);
    stmt_bind_int(s, 3, RETIRED_AT_ONCE);
    int64_t last = 0;
    while (stmt_step(s, &inner) && take_hash(s, 1, hash)) {
        last = stmt_int(s, 0);
        (*n)++;
    }
    stmt_free(s);
    if (inner.kind != ERR_NONE && e)
        *e = inner;
    if (inner.kind != ERR_NONE || *n == 0)
        return inner.kind == ERR_NONE;
    s = db_prepare(db, "UPDATE audit_chain SET first_id = ?1, first_prev = ?2", e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, last + 1);
    stmt_bind_blob(s, 2, hash, sizeof hash);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    s = ok ? db_prepare(db, "DELETE FROM audit WHERE id <= ?1", e) : NULL;
    if (!s)
        return false;
    stmt_bind_int(s, 1, last);
    ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool audit_retire(struct db *db, int64_t before_ms, int64_t *retired, struct err *e)
{
    int64_t n;
    *retired = 0;
    do {
        if (!db_begin(db, e))
            return false;
        if (!retire_some(db, before_ms, &n, e)) {
            db_rollback(db);
            return false;
        }
        if (!db_commit(db, e))
            return false;
        *retired += n;
    } while (n == RETIRED_AT_ONCE);
    return true;
}

/* ---- masking ---- */

static bool ends_in(struct str name, struct str end)
{
    return name.n >= end.n && str_eq_nocase(str_skip(name, name.n - end.n), end);
}

static bool is_password(struct str name)
{
    return ends_in(name, STR("password"));
}

static bool is_secret_name(struct str name)
{
    static const char *const ends[] = {"key",           "keys",   "token",    "tokens", "secret",
                                       "authorization", "cookie", "mnemonic", "nsec"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (ends_in(name, str_of(ends[i])))
            return true;
    return false;
}

static void write_masked(struct jw *w, struct arena *a, yyjson_val *v, bool is_secret)
{
    size_t i, max;
    yyjson_val *k, *member;
    if (yyjson_is_obj(v)) {
        jw_object(w);
        yyjson_obj_foreach (v, i, max, k, member) {
            struct str name = json_str(k);
            /* everything in headers; an object of its own decides for itself */
            bool deep = str_eq_nocase(name, STR("headers")) || (is_secret && yyjson_is_str(member));
            jw_key_str(w, name);
            if (is_password(name) && yyjson_is_str(member))
                jw_str(w, STR("***")); /* too short to show a part of it */
            else if (str_is(name, "proxy") && yyjson_is_str(member))
                jw_str(w, secret_mask_proxy(a, json_str(member)));
            else
                write_masked(w, a, member, deep || is_secret_name(name));
        }
        jw_object_end(w);
    } else if (yyjson_is_arr(v)) {
        jw_array(w);
        yyjson_arr_foreach (v, i, max, member)
            write_masked(w, a, member, is_secret && !yyjson_is_obj(member));
        jw_array_end(w);
    } else if (yyjson_is_str(v)) {
        struct str s = json_str(v);
        jw_str(w, is_secret ? secret_mask(a, secret_of(s)) : secret_mask_url(a, s));
    } else {
        jw_val(w, v);
    }
}

struct str audit_masked(struct arena *a, struct str json)
{
    yyjson_val *root;
    struct buf b;
    if (json.n == 0)
        return STR_NONE;
    if (!json_parse(a, json, 64, &root, NULL))
        return STR("\"(not JSON)\"");
    buf_init_arena(&b, a, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    write_masked(&w, a, root, false);
    return buf_str(&b);
}
