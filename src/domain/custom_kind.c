#include "domain/custom_kind.h"
#include "base/banned.h"
#include <stdlib.h>

#define MAX_PATH_TEXT 500

static bool check_path(const char *field, struct str path, struct err *e)
{
    if (path.n == 0)
        return true;
    if (path.p[0] != '/' || path.n > MAX_PATH_TEXT)
        return err_field(e, field, "'%s' must begin with / and have at most 500 characters", field);
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 127 || path.p[i] == '?' ||
            path.p[i] == '#')
            return err_field(e, field, "'%s' holds a character that no path has", field);
    return true;
}

static bool check(const struct custom_kind *k, struct err *e)
{
    bool is_openai = str_is(k->base, "openai-compatible");
    if (k->id.n == 0 || k->id.n > 200 || provider_kind_find(k->id))
        return err_field(e, "id", "'id' must have 1 to 200 characters, and be no built-in kind");
    if (k->title.n == 0 || k->title.n > 200)
        return err_field(e, "title", "'title' must have 1 to 200 characters");
    if (k->prefix.n == 0 || k->prefix.n > 100)
        return err_field(e, "prefix", "'prefix' must have 1 to 100 characters");
    for (size_t i = 0; i < k->prefix.n; i++)
        if ((unsigned char)k->prefix.p[i] <= ' ' || k->prefix.p[i] == '/' || k->prefix.p[i] == 127)
            return err_field(e, "prefix", "'prefix' must not hold spaces or slashes");
    if (!is_openai && !str_is(k->base, "anthropic-compatible"))
        return err_field(e, "base", "'base' must be openai-compatible or anthropic-compatible");
    if (is_openai && !str_is(k->api, "chat") && !str_is(k->api, "responses"))
        return err_field(e, "api", "'api' must be chat or responses");
    struct arena *a = arena_new();
    struct url url;
    struct err why = ERR_INIT;
    bool ok = url_parse_address(a, k->base_url, &url, &why) ||
              err_field(e, "base_url", "'base_url': %s", why.message);
    arena_free(a);
    return ok && check_path("chat_path", k->chat_path, e) &&
           check_path("models_path", k->models_path, e);
}

/* The kind that it is made from, with its own paths before the usual ones. */
static void make_kind(struct arena *a, struct custom_kind *k)
{
    bool is_openai = str_is(k->base, "openai-compatible"), is_chat = str_is(k->api, "chat");
    const struct provider_kind *base = provider_kind_find(
        is_openai && !is_chat ? STR("openai-responses") : k->base);
    enum op talk = !is_openai ? OP_MESSAGES : is_chat ? OP_CHAT : OP_RESPONSES;
    size_t n = 0, used = 0;
    while (base->paths && base->paths[n].path)
        n++;
    struct op_path *paths = ARENA_ARRAY(a, struct op_path, n + 3);
    if (k->chat_path.n)
        paths[used++] = (struct op_path){talk, str_z(a, k->chat_path)};
    else if (!is_openai) /* OmniRoute's bases have the version in them */
        paths[used++] = (struct op_path){OP_MESSAGES, "messages"};
    if (k->models_path.n)
        paths[used++] = (struct op_path){OP_MODELS, str_z(a, k->models_path)};
    else if (!is_openai)
        paths[used++] = (struct op_path){OP_MODELS, "models"};
    if (n)
        memcpy(paths + used, base->paths, n * sizeof *paths);
    paths[used + n] = (struct op_path){OP_N, NULL};
    k->kind = *base;
    k->kind.id = str_z(a, k->id);
    k->kind.title = str_z(a, k->title);
    k->kind.base_url = str_z(a, k->base_url);
    k->kind.key_env = NULL;
    k->kind.paths = paths;
}

static struct str without_end(struct str s, const char *end)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    if (str_ends(s, str_of(end)))
        s.n -= strlen(end);
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

bool custom_kind_read(struct arena *a, struct str id, yyjson_val *entry, struct custom_kind *out,
                      struct err *e)
{
    const struct {
        const char *name;
        struct str *to;
    } members[] = {{"title", &out->title},
                   {"prefix", &out->prefix},
                   {"base", &out->base},
                   {"api", &out->api},
                   {"base_url", &out->base_url},
                   {"chat_path", &out->chat_path},
                   {"models_path", &out->models_path},
                   {"created", &out->created},
                   {"updated", &out->updated}};
    *out = (struct custom_kind){.id = str_dup(a, id)};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        yyjson_val *v = json_find(entry, members[i].name, strlen(members[i].name));
        if (!json_absent(v) && !yyjson_is_str(v))
            return err_field(e, members[i].name, "'%s' must be a string", members[i].name);
        *members[i].to = str_dup(a, json_str(v));
    }
    if (!provider_quirks_read(json_get(entry, "quirks"), &out->quirks, e))
        return false;
    bool is_openai = str_is(out->base, "openai-compatible");
    out->base_url = without_end(out->base_url, is_openai ? "/" : "/messages");
    if (!is_openai)
        out->api = STR_NONE;
    if (!check(out, e))
        return false;
    make_kind(a, out);
    return true;
}

void custom_kind_write(struct jw *w, const struct custom_kind *k)
{
    const struct {
        const char *name;
        struct str text;
    } members[] = {{"title", k->title},
                   {"prefix", k->prefix},
                   {"base", k->base},
                   {"api", k->api},
                   {"base_url", k->base_url},
                   {"chat_path", k->chat_path},
                   {"models_path", k->models_path},
                   {"created", k->created},
                   {"updated", k->updated}};
    jw_object(w);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (members[i].text.n)
            jw_key(w, members[i].name), jw_str(w, members[i].text);
    if (k->quirks.with | k->quirks.without)
        jw_key(w, "quirks"), provider_quirks_write(w, k->quirks);
    jw_object_end(w);
}

const struct custom_kind *custom_kind_find(const struct snapshot *s, struct str name)
{
    for (size_t i = 0; i < s->n_kinds; i++)
        if (str_eq(s->kinds[i]->id, name) || str_eq(s->kinds[i]->prefix, name))
            return s->kinds[i];
    return NULL;
}

/* ---- the store ---- */

bool custom_kind_put(struct db *db, struct str id, struct str value, struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "INSERT INTO kind(id, value, position) VALUES(?1, ?2, (SELECT "
                                "coalesce(max(position), 0) + 1 FROM kind))"
                                " ON CONFLICT(id) DO UPDATE SET value = ?2",
                                e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    stmt_bind_str(s, 2, value);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool custom_kind_delete(struct db *db, struct str id, struct err *e)
{
    struct stmt *s = db_prepare(db, "DELETE FROM kind WHERE id = ?1", e);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool custom_kind_each(struct db *db, struct arena *a,
                      bool (*each)(void *arg, struct str id, yyjson_val *entry, struct err *e),
                      void *arg, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT id, value FROM kind ORDER BY position, id", e);
    bool ok = s != NULL;
    if (!s)
        return false;
    while (ok && stmt_step(s, e)) {
        yyjson_val *entry;
        ok = json_parse(a, stmt_str(s, 1), 8, &entry, e) &&
             each(arg, str_dup(a, stmt_str(s, 0)), entry, e);
    }
    stmt_free(s);
    return ok && e->kind == ERR_NONE;
}

/* ---- pools ---- */

struct str pool_kind(const struct snapshot *s, struct str head)
{
    const struct custom_kind *custom = custom_kind_find(s, head);
    const struct provider_kind *kind = custom ? NULL : provider_kind_find(head);
    return custom ? custom->id : kind ? str_of(kind->id) : head;
}

static int by_priority(const void *x, const void *y)
{
    const struct upstream *const *a = x, *const *b = y;
    return (*a)->priority < (*b)->priority ? -1 : (*a)->priority > (*b)->priority;
}

size_t pool_find(const struct snapshot *s, struct arena *a, struct str head,
                 const struct upstream ***out)
{
    struct str kind = pool_kind(s, head);
    const struct upstream **v = NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        bool is_of = str_eq(str_of(u->kind->id), kind) ||
                     (u->pool.n && str_eq(pool_kind(s, u->pool), kind));
        if (!u->is_enabled || !is_of)
            continue;
        if (!v)
            v = ARENA_ARRAY(a, const struct upstream *, s->n_upstreams);
        v[n++] = u;
    }
    if (n > 1)
        qsort(v, n, sizeof *v, by_priority); /* glibc's is stable */
    *out = v;
    return n;
}
