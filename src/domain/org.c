#include "domain/org.h"
#include "base/clock.h"

#define MAX_ID 64
#define MAX_NAME 200

static const struct {
    const char *word, *section, *list, *get, *put, *remove;
} of[HOLDER_KINDS] = {
#define COLUMNS "id, name, org, limits, is_enabled, created_ms"
#define STATEMENTS(table)                                                                        \
    "SELECT " COLUMNS " FROM " table " ORDER BY id",                                             \
        "SELECT " COLUMNS " FROM " table " WHERE id = ?1",                                       \
        "INSERT INTO " table "(" COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6) ON CONFLICT(id) DO UPDATE" \
        " SET name=?2, org=?3, limits=?4, is_enabled=?5",                                        \
        "DELETE FROM " table " WHERE id = ?1"
    [HOLDER_ORG] = {"org", "orgs", STATEMENTS("org")},
    [HOLDER_USER] = {"user", "users", STATEMENTS("user")},
};

const char *holder_word(enum holder_kind k)
{
    return of[k].word;
}

const char *holder_section(enum holder_kind k)
{
    return of[k].section;
}

static bool not_found(struct err *e, enum holder_kind k, struct str id)
{
    return err_set(e, ERR_NOT_FOUND, "not_found", "No %s '" STR_FMT "'", of[k].word,
                   STR_ARG(str_first(id, 200)));
}

static void read_row(struct stmt *s, struct arena *a, struct holder_row *r)
{
    *r = (struct holder_row){
        .id = str_dup(a, stmt_str(s, 0)),
        .name = str_dup(a, stmt_str(s, 1)),
        .org = str_dup(a, stmt_str(s, 2)),
        .limits = str_dup(a, stmt_str(s, 3)),
        .is_enabled = stmt_int(s, 4) != 0,
        .created_ms = stmt_int(s, 5),
    };
}

bool holder_list(struct db *db, struct arena *a, enum holder_kind k, struct holder_row **out,
                 struct err *e)
{
    struct stmt *s = db_prepare(db, of[k].list, e);
    *out = NULL;
    if (!s)
        return false;
    while (stmt_step(s, e)) {
        *out = ARENA_NEW(a, struct holder_row);
        read_row(s, a, *out);
        out = &(*out)->next;
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool holder_get(struct db *db, struct arena *a, enum holder_kind k, struct str id,
                struct holder_row *out, struct err *e)
{
    struct stmt *s = db_prepare(db, of[k].get, e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool found = stmt_step(s, e);
    if (found)
        read_row(s, a, out);
    stmt_free(s);
    return found || (e->kind == ERR_NONE && not_found(e, k, id));
}

bool holder_put(struct db *db, enum holder_kind k, const struct holder_row *r, struct err *e)
{
    struct stmt *s = db_prepare(db, of[k].put, e);
    const struct str texts[] = {r->id, r->name, r->org, r->limits};
    if (!s)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        stmt_bind_str(s, (int)i + 1, texts[i].p ? texts[i] : STR(""));
    stmt_bind_int(s, 5, r->is_enabled);
    stmt_bind_int(s, 6, r->created_ms ? r->created_ms : clock_wall_ms());
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool holder_delete(struct db *db, enum holder_kind k, struct str id, struct err *e)
{
    struct stmt *s = db_prepare(db, of[k].remove, e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok && (db_changes(db) > 0 || not_found(e, k, id));
}

bool holder_check(const struct holder_row *r, struct err *e)
{
    bool ok = r->id.n > 0 && r->id.n <= MAX_ID;
    for (size_t i = 0; ok && i < r->id.n; i++) {
        char c = r->id.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-' || c == '.' || c == '@';
    }
    if (!ok)
        return err_field(e, "id", "'id' must have 1 to %d of the characters a-z A-Z 0-9 _ - . @",
                         MAX_ID);
    if (r->name.n > MAX_NAME || !str_valid_utf8(r->name))
        return err_field(e, "name", "'name' may have %d characters of UTF-8", MAX_NAME);
    for (size_t i = 0; i < r->name.n; i++)
        if ((unsigned char)r->name.p[i] < ' ' || r->name.p[i] == 127)
            return err_field(e, "name", "'name' must not hold control characters");
    return true;
}

/* ---- as the file has it ---- */

void holder_write(struct jw *w, struct arena *a, const struct holder_row *r)
{
    struct buf b;
    jw_object(w);
    if (r->name.n)
        jw_kv_str(w, "name", r->name);
    if (r->org.n)
        jw_kv_str(w, "org", r->org);
    if (r->limits.n) {
        jw_key(w, "limits");
        jw_raw(w, r->limits);
    }
    if (r->created_ms) {
        buf_init_arena(&b, a, 64);
        clock_rfc3339(&b, r->created_ms);
        jw_kv_str(w, "created", buf_str(&b));
    }
    if (!r->is_enabled)
        jw_kv_bool(w, "enabled", false);
    jw_object_end(w);
}

bool holder_read(struct arena *a, enum holder_kind k, struct str id, yyjson_val *v,
                 struct holder_row *out, struct err *e)
{
    struct limits limits = {0};
    yyjson_val *given = json_get(v, "limits");
    if (!yyjson_is_obj(v))
        return err_field(e, of[k].word, "must be an object");
    *out = (struct holder_row){.id = id,
                               .name = json_get_str(v, "name"),
                               .org = k == HOLDER_USER ? json_get_str(v, "org") : STR_NONE,
                               .is_enabled = json_get_bool(v, "enabled", true)};
    if (!clock_parse_rfc3339(json_get_str(v, "created"), &out->created_ms))
        out->created_ms = 0;
    if (!json_absent(given)) {
        if (!shape_read(&limits_shape, a, given, &limits, NULL, e))
            return false;
        out->limits = limits_json(a, &limits);
    }
    return holder_check(out, e);
}
