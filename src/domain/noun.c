#include "domain/noun.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/provider_kind.h"
#include "domain/proxy.h"
#include "http/http.h"
#include <endian.h>

static bool not_found(struct err *e, const char *what, struct str name)
{
    return err_set(e, ERR_NOT_FOUND, "not_found", "No %s '" STR_FMT "'", what,
                   STR_ARG(str_first(name, 200)));
}

/* Runs a prepared statement to its end and lets go of it. */
static bool finish(struct stmt *s, struct err *e)
{
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

static bool delete_row(struct db *db, const char *sql, const char *what, struct str name,
                       struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, name);
    return finish(s, e) && (db_changes(db) > 0 || not_found(e, what, name));
}

/* ---- providers ---- */

#define PROVIDER_COLUMNS                                                                          \
    "name, kind, base_url, proxy, ca_file, wire, api_version, sealed_key, is_enabled, priority, " \
    "weight, more, limits"

static void read_provider(struct stmt *s, struct arena *a, struct provider_row *p)
{
    *p = (struct provider_row){
        .name = str_dup(a, stmt_str(s, 0)),
        .kind = str_dup(a, stmt_str(s, 1)),
        .base_url = str_dup(a, stmt_str(s, 2)),
        .proxy = str_dup(a, stmt_str(s, 3)),
        .ca_file = str_dup(a, stmt_str(s, 4)),
        .wire = str_dup(a, stmt_str(s, 5)),
        .api_version = str_dup(a, stmt_str(s, 6)),
        .sealed_key = stmt_is_null(s, 7) ? STR_NONE : str_dup(a, stmt_blob(s, 7)),
        .is_enabled = stmt_int(s, 8) != 0,
        .priority = stmt_int(s, 9),
        .weight = stmt_int(s, 10),
        .more = str_dup(a, stmt_str(s, 11)),
        .limits = str_dup(a, stmt_str(s, 12)),
    };
}

bool provider_list(struct db *db, struct arena *a, struct provider_row **out, struct err *e)
{
    struct stmt *s = db_prepare(
        db, "SELECT " PROVIDER_COLUMNS " FROM provider ORDER BY position, name", e);
    *out = NULL;
    if (!s)
        return false;
    while (stmt_step(s, e)) {
        *out = ARENA_NEW(a, struct provider_row);
        read_provider(s, a, *out);
        out = &(*out)->next;
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool provider_get(struct db *db, struct arena *a, struct str name, struct provider_row *out,
                  struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT " PROVIDER_COLUMNS " FROM provider WHERE name = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, name);
    bool found = stmt_step(s, e);
    if (found)
        read_provider(s, a, out);
    stmt_free(s);
    return found || (e->kind == ERR_NONE && not_found(e, "provider", name));
}

bool provider_put(struct db *db, const struct provider_row *p, struct err *e)
{
    struct stmt *s = db_prepare(
        db,
        "INSERT INTO provider(" PROVIDER_COLUMNS
        ", position) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,"
        "(SELECT coalesce(max(position), 0) + 1 FROM provider)) ON CONFLICT(name) DO UPDATE SET "
        "kind=?2, base_url=?3,"
        " proxy=?4, ca_file=?5, wire=?6, api_version=?7, sealed_key=?8, is_enabled=?9, "
        "priority=?10, weight=?11, more=?12, limits=?13",
        e);
    if (!s)
        return false;
    const struct str texts[] = {p->name,    p->kind, p->base_url,   p->proxy,
                                p->ca_file, p->wire, p->api_version};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        stmt_bind_str(s, (int)i + 1, texts[i].p ? texts[i] : STR(""));
    if (p->sealed_key.n)
        stmt_bind_blob(s, 8, p->sealed_key.p, p->sealed_key.n);
    stmt_bind_int(s, 9, p->is_enabled);
    stmt_bind_int(s, 10, p->priority);
    stmt_bind_int(s, 11, p->weight ? p->weight : 1);
    stmt_bind_str(s, 12, p->more.p ? p->more : STR(""));
    stmt_bind_str(s, 13, p->limits.p ? p->limits : STR(""));
    return finish(s, e);
}

bool provider_rename(struct db *db, struct str from, struct str to, struct err *e)
{
    struct stmt *s = db_prepare(db, "UPDATE provider SET name = ?2 WHERE name = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, from);
    stmt_bind_str(s, 2, to);
    return finish(s, e) && (db_changes(db) > 0 || not_found(e, "provider", from));
}

bool provider_check_name(struct str name, struct err *e)
{
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == '/' || name.p[i] == 127)
            return err_field(e, "name", "'name' must not hold spaces or slashes");
    return true;
}

bool provider_check(struct arena *a, const struct provider_row *p, struct secret key, struct err *e)
{
    const struct provider_kind *kind = provider_kind_find(p->kind.n ? p->kind : p->name);
    struct str text = secret_reveal(key);
    struct err why = ERR_INIT;
    struct url url;
    if (p->name.n == 0 || p->name.n > 200)
        return err_field(e, "name", "'name' must have 1 to 200 characters");
    if (!kind && p->kind.n == 0)
        kind = provider_kind_find(STR("openai-compatible"));
    if (!kind)
        return err_field(e, "type", "Unknown type '" STR_FMT "'", STR_ARG(str_first(p->kind, 64)));
    if (p->base_url.n == 0 && !kind->base_url)
        return err_field(e, "base_url", "'base_url' is required for type %s", kind->id);
    if (p->base_url.n && !url_parse_address(a, p->base_url, &url, &why))
        return err_field(e, "base_url", "'base_url': %s", why.message);
    if (!proxy_check(a, p->proxy, e))
        return false;
    if (p->wire.n && !wire_by_name(p->wire))
        return err_field(
            e, "wire", "'wire' must be openai_chat, openai_responses, anthropic, google or ollama");
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 127)
            return err_field(e, "api_key", "'api_key' holds a character that no header can carry");
    return true;
}

bool provider_delete(struct db *db, struct str name, struct err *e)
{
    return delete_row(db, "DELETE FROM provider WHERE name = ?1", "provider", name, e);
}

/* ---- models ---- */

bool model_list(struct db *db, struct arena *a, struct model_row **out, struct err *e)
{
    struct stmt *s = db_prepare(
        db,
        "SELECT name, targets, capabilities, max_output_tokens, "
        "context_tokens, is_enabled, show_alias, created_ms, strategy, label, source, limits"
        " FROM model ORDER BY name",
        e);
    *out = NULL;
    if (!s)
        return false;
    while (stmt_step(s, e)) {
        struct model_row *m = ARENA_NEW(a, struct model_row);
        *m = (struct model_row){
            .name = str_dup(a, stmt_str(s, 0)),
            .targets = str_dup(a, stmt_str(s, 1)),
            .capabilities = str_dup(a, stmt_str(s, 2)),
            .max_output_tokens = stmt_is_null(s, 3) ? -1 : stmt_int(s, 3),
            .context_tokens = stmt_is_null(s, 4) ? -1 : stmt_int(s, 4),
            .is_enabled = stmt_int(s, 5) != 0,
            .show_alias = stmt_int(s, 6) != 0,
            .created_ms = stmt_int(s, 7),
            .strategy = str_dup(a, stmt_str(s, 8)),
            .label = str_dup(a, stmt_str(s, 9)),
            .source = str_dup(a, stmt_str(s, 10)),
            .limits = str_dup(a, stmt_str(s, 11)),
        };
        *out = m;
        out = &m->next;
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool model_put(struct db *db, const struct model_row *m, struct err *e)
{
    struct stmt *s = db_prepare(
        db,
        "INSERT INTO model(name, targets, capabilities, max_output_tokens, context_tokens, "
        "is_enabled, show_alias,"
        " created_ms, strategy, label, source, limits) "
        "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) ON "
        "CONFLICT(name) DO UPDATE SET "
        "targets=?2, "
        "capabilities=?3,"
        " max_output_tokens=?4, context_tokens=?5, is_enabled=?6, show_alias=?7, strategy=?9, "
        "label=?10, source=?11, limits=?12",
        e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, m->name);
    stmt_bind_str(s, 2, m->targets);
    stmt_bind_str(s, 3, m->capabilities.n ? m->capabilities : STR("[\"text\"]"));
    if (m->max_output_tokens >= 0)
        stmt_bind_int(s, 4, m->max_output_tokens);
    if (m->context_tokens >= 0)
        stmt_bind_int(s, 5, m->context_tokens);
    stmt_bind_int(s, 6, m->is_enabled);
    stmt_bind_int(s, 7, m->show_alias);
    stmt_bind_int(s, 8, m->created_ms ? m->created_ms : clock_wall_ms());
    stmt_bind_str(s, 9, m->strategy.p ? m->strategy : STR(""));
    stmt_bind_str(s, 10, m->label.p ? m->label : STR(""));
    stmt_bind_str(s, 11, m->source.p ? m->source : STR(""));
    stmt_bind_str(s, 12, m->limits.p ? m->limits : STR(""));
    return finish(s, e);
}

bool model_delete(struct db *db, struct str name, struct err *e)
{
    return delete_row(db, "DELETE FROM model WHERE name = ?1", "model", name, e);
}

/* ---- keys ---- */

#define KEY_COLUMNS                                                                               \
    "id, hash, label, scopes, allowed_models, is_enabled, expires_ms, created_ms, hint, sealed, " \
    "rotated_ms, policy"

static bool read_key(struct stmt *s, struct key_row *k)
{
    struct str hash = stmt_blob(s, 1);
    *k = (struct key_row){
        .id = stmt_str(s, 0),
        .label = stmt_str(s, 2),
        .scopes = stmt_int(s, 3),
        .allowed_models = stmt_is_null(s, 4) ? STR_NONE : stmt_str(s, 4),
        .is_enabled = stmt_int(s, 5) != 0,
        .expires_ms = stmt_int(s, 6),
        .created_ms = stmt_int(s, 7),
        .hint = stmt_str(s, 8),
        .sealed = stmt_is_null(s, 9) ? STR_NONE : stmt_blob(s, 9),
        .rotated_ms = stmt_int(s, 10),
        .policy = stmt_str(s, 11),
    };
    if (hash.n != sizeof k->hash)
        return false;
    memcpy(k->hash, hash.p, sizeof k->hash);
    return true;
}

struct each_key {
    void (*each)(void *arg, const struct key_row *k);
    void *arg;
};

static void on_key_row(void *arg, const struct row *r)
{
    const struct each_key *to = arg;
    struct str hash = row_blob(r, 1);
    struct key_row k = {
        .id = row_str(r, 0),
        .label = row_str(r, 2),
        .scopes = row_int(r, 3),
        .allowed_models = row_is_null(r, 4) ? STR_NONE : row_str(r, 4),
        .is_enabled = row_int(r, 5) != 0,
        .expires_ms = row_int(r, 6),
        .created_ms = row_int(r, 7),
        .hint = row_str(r, 8),
        .sealed = row_is_null(r, 9) ? STR_NONE : row_blob(r, 9),
        .rotated_ms = row_int(r, 10),
        .policy = row_str(r, 11),
    };
    if (hash.n != sizeof k.hash)
        return;
    memcpy(k.hash, hash.p, sizeof k.hash);
    to->each(to->arg, &k);
}

bool key_each(struct db *db, void (*each)(void *arg, const struct key_row *k), void *arg,
              struct err *e)
{
    struct each_key to = {each, arg};
    return db_each_row(db, "SELECT each_row(" KEY_COLUMNS ") FROM key", on_key_row, &to, e);
}

/* ---- packed, as a start reads them: store/migrations/0017_key_start.sql ---- */

struct each_packed {
    void (*each)(void *arg, const struct key_row *k);
    void *arg;
    bool is_broken; /* one could not be taken apart */
};

/* As all of them begin: fifteen digits, with zeros in front, and a comma. */
static bool take_padded(struct str *s, int64_t *out)
{
    uint64_t v = 0;
    if (s->n < 16 || s->p[15] != ',')
        return false;
    /* eight digits and the last seven, with one of the former before them */
    for (int half = 0; half < 2; half++) {
        uint64_t w;
        memcpy(&w, s->p + half * 7, sizeof w);
        w = le64toh(w);
        if ((w & 0xf0f0f0f0f0f0f0f0) != 0x3030303030303030 ||
            ((w + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) != 0x3030303030303030)
            return false;
        /* pairs of digits, of pairs, of fours: the least of them stands highest */
        w = (w & 0x0f0f0f0f0f0f0f0f) * 2561 >> 8;
        w = (w & 0x00ff00ff00ff00ff) * 6553601 >> 16;
        w = (w & 0x0000ffff0000ffff) * 42949672960001 >> 32;
        v = half ? v * 10000000 + w % 10000000 : w;
    }
    *out = (int64_t)v;
    *s = str_skip(*s, 16);
    return true;
}

/* Up to a comma. It was written by SQLite, and is read by the hundred thousand: looked at once, judged at its end. */
static bool take_number(struct str *s, int64_t *out)
{
    const char *p = s->p, *end = p + s->n;
    if (s->n >= 2 && p[1] == ',' && p[0] >= '0' && p[0] <= '9') { /* most of them */
        *out = p[0] - '0';
        *s = str_n(p + 2, s->n - 2);
        return true;
    }
    bool is_negative = p < end && *p == '-';
    uint64_t v = 0;
    p += is_negative;
    const char *first = p;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == end || *p != ',' || p == first || p - first > 19 || v > INT64_MAX) /* 19 nines fit */
        return false;
    *out = is_negative ? -(int64_t)v : (int64_t)v;
    *s = str_skip(*s, (size_t)(p + 1 - s->p));
    return true;
}

static bool take(struct str *s, int64_t n, struct str *out)
{
    if (n < 0 || (uint64_t)n > s->n)
        return false;
    *out = str_first(*s, (size_t)n);
    *s = str_skip(*s, (size_t)n);
    return true;
}

static bool unpack(struct str s, struct key_row *k)
{
    int64_t is_enabled, id_n, label_n, allowed_n;
    struct str hash;
    k->hint = k->sealed = STR_NONE;
    k->rotated_ms = 0;
    if ((!take_padded(&s, &k->created_ms) && !take_number(&s, &k->created_ms)) ||
        !take(&s, sizeof k->hash, &hash) || !take_number(&s, &k->scopes) ||
        !take_number(&s, &is_enabled) || !take_number(&s, &k->expires_ms) ||
        !take_number(&s, &id_n) || !take_number(&s, &label_n) || !take_number(&s, &allowed_n) ||
        !take(&s, id_n, &k->id) || !take(&s, label_n, &k->label) ||
        !take(&s, allowed_n, &k->allowed_models))
        return false;
    memcpy(k->hash, hash.p, sizeof k->hash);
    k->is_enabled = is_enabled != 0;
    k->policy = s;
    return true;
}

static void on_packed_row(void *arg, const struct row *r)
{
    struct each_packed *to = arg;
    struct str packed = row_blob(r, 0);
    struct key_row k;
    if (packed.n == 0) /* no key */
        return;
    if (unpack(packed, &k))
        to->each(to->arg, &k);
    else
        to->is_broken = true;
}

bool key_each_packed(struct db *db, void (*each)(void *arg, const struct key_row *k), void *arg,
                     struct err *e)
{
    struct each_packed to = {each, arg, false};
    return db_each_row(db, "SELECT each_row(packed) FROM key INDEXED BY key_packed", on_packed_row,
                       &to, e) &&
           (!to.is_broken || err_set(e, ERR_INTERNAL, "store_corrupt",
                                     "A key in the index 'key_packed' cannot be read"));
}

bool key_count(struct db *db, int64_t *n, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT count(*) FROM key", e);
    bool ok = s && stmt_step(s, e);
    if (ok)
        *n = stmt_int(s, 0);
    stmt_free(s);
    return ok;
}

bool key_get(struct db *db, struct arena *a, struct str id, struct key_row *out, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT " KEY_COLUMNS " FROM key WHERE id = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool found = stmt_step(s, e) && read_key(s, out);
    if (found) {
        out->id = str_dup(a, out->id);
        out->label = str_dup(a, out->label);
        out->allowed_models = out->allowed_models.n ? str_dup(a, out->allowed_models) : STR_NONE;
        out->hint = str_dup(a, out->hint);
        out->sealed = str_dup(a, out->sealed);
        out->policy = str_dup(a, out->policy);
    }
    stmt_free(s);
    return found || (e->kind == ERR_NONE && not_found(e, "key", id));
}

static void bind_key(struct stmt *s, const struct key_row *k)
{
    stmt_bind_str(s, 1, k->id);
    stmt_bind_str(s, 2, k->label.p ? k->label : STR(""));
    stmt_bind_int(s, 3, k->scopes);
    if (k->allowed_models.n)
        stmt_bind_str(s, 4, k->allowed_models);
    stmt_bind_int(s, 5, k->is_enabled);
    stmt_bind_int(s, 6, k->expires_ms);
    stmt_bind_str(s, 7, k->policy.p ? k->policy : STR(""));
}

bool key_insert(struct db *db, const struct key_row *k, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "INSERT INTO key(id, label, scopes, allowed_models, is_enabled, "
                                "expires_ms, policy, hash, created_ms, hint, sealed)"
                                " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
                                e);
    if (!s)
        return false;
    bind_key(s, k);
    stmt_bind_blob(s, 8, k->hash, sizeof k->hash);
    stmt_bind_int(s, 9, k->created_ms);
    stmt_bind_str(s, 10, k->hint.p ? k->hint : STR(""));
    if (k->sealed.n)
        stmt_bind_blob(s, 11, k->sealed.p, k->sealed.n);
    return finish(s, e);
}

bool key_retext(struct db *db, const struct key_row *k, struct err *e)
{
    struct stmt *s = db_prepare(
        db, "UPDATE key SET hash=?2, hint=?3, sealed=?4, rotated_ms=?5 WHERE id=?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, k->id);
    stmt_bind_blob(s, 2, k->hash, sizeof k->hash);
    stmt_bind_str(s, 3, k->hint.p ? k->hint : STR(""));
    if (k->sealed.n)
        stmt_bind_blob(s, 4, k->sealed.p, k->sealed.n);
    stmt_bind_int(s, 5, k->rotated_ms);
    return finish(s, e) && (db_changes(db) > 0 || not_found(e, "key", k->id));
}

bool key_update(struct db *db, const struct key_row *k, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "UPDATE key SET label=?2, scopes=?3, allowed_models=?4, "
                                "is_enabled=?5, expires_ms=?6, policy=?7 WHERE id=?1",
                                e);
    if (!s)
        return false;
    bind_key(s, k);
    return finish(s, e) && (db_changes(db) > 0 || not_found(e, "key", k->id));
}

bool key_delete(struct db *db, struct str id, struct err *e)
{
    return delete_row(db, "DELETE FROM key WHERE id = ?1", "key", id, e);
}

struct str key_make(struct arena *a, struct key_row *k)
{
    uint8_t bits[32];
    char hex[64];
    random_bytes(bits, sizeof bits);
    hex_encode(hex, bits, sizeof bits);
    struct str text = str_fmt(a, "sk-sluice-%.64s", hex);
    sha256(text, k->hash);
    k->hint = secret_mask(a, secret_of(text));
    if (k->id.n == 0)
        k->id = random_id(a, "", 8);
    k->created_ms = clock_wall_ms();
    return text;
}

/* ---- settings ---- */

bool setting_each(struct db *db, struct arena *a,
                  bool (*each)(void *arg, struct str name, struct str value, struct err *e),
                  void *arg, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT name, value FROM setting ORDER BY name", e);
    bool ok = s != NULL;
    while (ok && stmt_step(s, e))
        ok = each(arg, str_dup(a, stmt_str(s, 0)), str_dup(a, stmt_str(s, 1)), e);
    stmt_free(s);
    return ok && e->kind == ERR_NONE;
}

bool setting_put(struct db *db, struct str name, struct str value, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                value.p ? "INSERT INTO setting(name, value) VALUES(?1, ?2) ON "
                                          "CONFLICT(name) DO UPDATE SET value=?2"
                                        : "DELETE FROM setting WHERE name = ?1",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, name);
    if (value.p)
        stmt_bind_str(s, 2, value);
    return finish(s, e);
}
