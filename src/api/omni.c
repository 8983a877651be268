#include "api/omni.h"
#include "base/clock.h"
#include "domain/discover.h"

#define PROBE_TIMEOUT_MS 15000

const struct upstream *omni_connection(const struct snapshot *s, struct str id)
{
    for (size_t i = 0; i < s->n_upstreams; i++)
        if (str_eq(s->upstreams[i]->uid, id))
            return s->upstreams[i];
    return snapshot_upstream(s, id);
}

struct str omni_provider_of(const struct upstream *u)
{
    return u->pool.n ? u->pool : str_of(u->kind->id);
}

/* What OmniRoute calls by the name of another kind of ours. */
static const struct provider_kind *built_in(struct str provider)
{
    static const struct {
        const char *theirs, *ours;
    } rows[] = {{"glm", "zai"}, {"minimax", "minimax-intl"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(provider, str_of(rows[i].theirs)))
            return provider_kind_find(str_of(rows[i].ours));
    return provider_kind_find(provider);
}

const struct provider_kind *omni_kind(const struct snapshot *s, struct str provider,
                                      const struct custom_kind **custom)
{
    *custom = custom_kind_find(s, provider);
    return *custom ? &(*custom)->kind : built_in(provider);
}

bool omni_is_of(const struct snapshot *s, const struct upstream *u, struct str provider)
{
    const struct custom_kind *custom;
    const struct provider_kind *kind = omni_kind(s, provider, &custom);
    if (str_eq(omni_provider_of(u), provider) || custom || !kind)
        return u->kind == kind || str_eq(omni_provider_of(u), provider);
    return built_in(omni_provider_of(u)) == kind;
}

struct str omni_prefix_of(const struct snapshot *s, const struct upstream *u)
{
    const struct custom_kind *custom = custom_kind_find(s, str_of(u->kind->id));
    return custom ? custom->prefix : u->pool.n ? u->pool : u->name;
}

struct str omni_time(struct arena *a, int64_t ms)
{
    struct buf b;
    if (ms <= 0)
        return STR("");
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    struct str s = buf_str(&b);
    return str_contains(s, STR(".")) ? s : str_fmt(a, "%.*s.000Z", (int)s.n - 1, s.p);
}

struct str omni_text(struct arena *a, struct str s)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_str(&w, s);
    return buf_str(&b);
}

void omni_name_field(struct err *e)
{
    static const char *const names[][2] = {{"base_url", "baseUrl"},
                                           {"api_key", "apiKey"},
                                           {"chat_path", "chatPath"},
                                           {"models_path", "modelsPath"},
                                           {"title", "name"},
                                           {"base", "type"},
                                           {"api", "apiType"},
                                           {"type", "provider"},
                                           {"label", "name"},
                                           {"allowed_models", "allowedModels"},
                                           {"default_model", "defaultModel"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(e->field, names[i][0]) != 0)
            continue;
        char rest[sizeof e->message];
        size_t n = strlen(names[i][0]) + 2;
        bool is_named = e->message[0] == '\'' && strlen(e->message) >= n;
        (void)snprintf(rest, sizeof rest, "%s", is_named ? e->message + n : e->message);
        (void)snprintf(e->message, sizeof e->message, is_named ? "'%s'%.400s" : "%s: %.400s",
                       names[i][1], rest);
        (void)snprintf(e->field, sizeof e->field, "%s", names[i][1]);
        return;
    }
}

bool omni_kept(struct control_call *c, const char *name, yyjson_val **out, struct err *e)
{
    struct db *db = control_db(c, e);
    struct stmt *s = db ? db_prepare(db, "SELECT value FROM metrics WHERE key = ?1", e) : NULL;
    *out = NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, str_of(name));
    if (stmt_step(s, e) && !json_parse(c->arena, stmt_str(s, 0), 4, out, NULL))
        *out = NULL;
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool omni_keep(struct control_call *c, const char *name, struct str json, struct err *e)
{
    struct db *db = control_db(c, e);
    struct stmt *s = db ? db_prepare(db,
                                     "INSERT OR REPLACE INTO metrics(key, value) VALUES(?1, ?2)", e)
                        : NULL;
    if (!s)
        return false;
    stmt_bind_str(s, 1, str_of(name));
    stmt_bind_str(s, 2, json);
    bool ok = stmt_run(s, e);
    stmt_free(s);
    return ok;
}

bool omni_not_found(const char *what, struct str id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "not_found", "%s '" STR_FMT "' not found", what,
                   STR_ARG(str_first(id, 200)));
}

static const char *type_of_status(int status)
{
    return status == 401 || status == 403 ? "upstream_auth_error"
           : status == 429                ? "upstream_rate_limited"
           : status >= 500                ? "upstream_unavailable"
                                          : "upstream_error";
}

/* 429 is an answer to somebody who is known. */
static void judge(struct omni_probe *out, int status, struct str said)
{
    out->status = status;
    out->source = "upstream";
    out->valid = status < 300 || status == 429;
    out->type = status < 300 ? "ok" : type_of_status(status);
    if (status == 429)
        out->warning = said;
    else if (status >= 300)
        out->error = said;
}

static void unreachable(struct arena *a, struct omni_probe *out, const struct err *why)
{
    bool is_ours = why->kind == ERR_UNSUPPORTED;
    out->valid = false;
    out->status = 0;
    out->error = str_fmt(a, "%s", why->message);
    out->type = is_ours ? "unsupported" : "network_error";
    out->source = is_ours ? "local" : "upstream";
}

void omni_probe(struct control_call *c, const struct upstream *u, struct str model,
                struct omni_probe *out)
{
    struct discovered found;
    struct err why = ERR_INIT, late = ERR_INIT;
    struct str said = STR_NONE;
    int status;
    uint64_t began = clock_mono_ms();
    const _Atomic bool *is_stopping = c->control->is_stopping;
    *out = (struct omni_probe){.type = "ok", .source = "local"};
    if (u->kind->is_builtin) {
        out->valid = true;
        out->method = "inference_available";
        return;
    }
    if (upstream_models_until(c->arena, u, PROBE_TIMEOUT_MS, is_stopping, &found, &why)) {
        judge(out, 200, STR_NONE);
        out->method = "models_endpoint";
    } else if (found.status == 401 || found.status == 403 || found.status == 429) {
        judge(out, found.status, str_fmt(c->arena, "%s", why.message));
        out->method = out->valid ? "models_endpoint" : NULL;
    } else if (found.status == 0 && why.kind != ERR_UNSUPPORTED) {
        unreachable(c->arena, out, &why);
    } else if (upstream_ping(c->arena, u, model, PROBE_TIMEOUT_MS, is_stopping, &status, &said,
                             &late)) {
        judge(out, status, said);
        out->method = out->valid ? "chat_completions" : NULL;
        if (status == 400 || status == 422) { /* it was let in, and disliked the request */
            out->valid = true;
            out->type = "ok";
            out->method = "inference_available";
            out->warning = said;
            out->error = STR_NONE;
        }
    } else if (late.kind == ERR_UNSUPPORTED && found.status) {
        judge(out, found.status, str_fmt(c->arena, "%s", why.message));
    } else {
        unreachable(c->arena, out, &late);
    }
    out->latency_ms = (int64_t)(clock_mono_ms() - began);
}
