#include "domain/connection.h"
#include "base/banned.h"

#define MEMBERS(s)                                                                         \
    {                                                                                      \
        {"testStatus", &(s)->test_status}, {"lastTested", &(s)->last_tested},              \
            {"lastError", &(s)->last_error}, {"lastErrorAt", &(s)->last_error_at},         \
            {"lastErrorType", &(s)->last_error_type},                                      \
            {"lastErrorSource", &(s)->last_error_source}, {"errorCode", &(s)->error_code}, \
            {"rateLimitedUntil", &(s)->rate_limited_until},                                \
    }

bool connection_state_get(struct db *db, struct arena *a, struct str id,
                          struct connection_state *out, struct err *e)
{
    const struct {
        const char *name;
        struct str *text;
    } members[] = MEMBERS(out);
    yyjson_val *v = NULL;
    *out = (struct connection_state){.test_status = STR("untested")};
    struct stmt *s = db_prepare(db, "SELECT value FROM connection_state WHERE id = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    if (stmt_step(s, e) && json_parse(a, stmt_str(s, 0), 4, &v, NULL))
        for (size_t i = 0; i < ARRAY_LEN(members); i++) {
            struct str text = json_str(json_find(v, members[i].name, strlen(members[i].name)));
            if (text.n)
                *members[i].text = text;
        }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool connection_state_put(struct db *db, struct arena *a, struct str id,
                          const struct connection_state *state, struct err *e)
{
    const struct {
        const char *name;
        const struct str *text;
    } members[] = MEMBERS(state);
    struct buf b;
    buf_init_arena(&b, a, 1u << 20);
    struct jw w = jw_on(&b);
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (!members[i].text->n)
            continue;
        jw_key(&w, members[i].name);
        jw_str(&w, *members[i].text);
    }
    jw_object_end(&w);
    struct stmt *s = db_prepare(
        db, "INSERT OR REPLACE INTO connection_state(id, value) VALUES(?1, ?2)", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    stmt_bind_str(s, 2, buf_str(&b));
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool connection_state_delete(struct db *db, struct str id, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM connection_state WHERE id = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}
