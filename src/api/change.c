#include "api/change.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/noun.h"
#include <pthread.h>

/* One change under way: nobody else changes anything meanwhile. */
struct work {
    struct control_call *c;
    struct arena *a;
    struct db *db; /* in a transaction */
    struct snapshot *now;
};

static bool begin(struct work *w, struct control_call *c, struct err *e)
{
    *w = (struct work){.c = c, .a = c->arena};
    pthread_mutex_lock(c->control->change_lock);
    w->db = control_db(c, e);
    if (w->db && db_begin(w->db, e)) {
        w->now = snapshot_current(); /* others may have changed it since this call began */
        return true;
    }
    pthread_mutex_unlock(c->control->change_lock);
    return false;
}

/* Keeps what was done, or nothing of it; ok is passed through. */
static bool end(struct work *w, bool ok, struct err *e)
{
    if (!ok)
        db_rollback(w->db);
    ok = ok && db_commit(w->db, e) && control_changed(w->c, e);
    pthread_mutex_unlock(w->c->control->change_lock);
    snapshot_unref(w->now);
    return ok;
}

static bool not_there(const char *code, const char *what, struct str name, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, code, "No %s '" STR_FMT "'", what,
                   STR_ARG(str_first(name, 200)));
}

static bool taken(const char *what, struct str name, struct err *e)
{
    return err_set(e, ERR_CONFLICT, "already_exists", "There is a %s '" STR_FMT "' already", what,
                   STR_ARG(str_first(name, 200)));
}

/* The entry that is meant by name and rename_from: whether it is there, and may be. */
static bool check_mode(enum change_mode mode, const char *what, struct str name, struct str from,
                       bool is_there, bool is_new_there, struct err *e)
{
    bool renames = from.n && !str_eq(from, name);
    if (renames && !is_there)
        return not_there("original_not_found", what, from, e);
    if (renames && is_new_there)
        return taken(what, name, e);
    if (renames)
        return true;
    if (mode == CHANGE_CREATE && is_there)
        return taken(what, name, e);
    return mode != CHANGE_UPDATE || is_there || not_there("not_found", what, name, e);
}

/* ---- providers ---- */

/* Where a provider stands; NULL: nowhere. */
static const struct upstream *provider_at(const struct work *w, struct str name)
{
    return snapshot_upstream(w->now, name);
}

static bool get_row(struct work *w, struct str name, struct provider_row *p, bool *is_there,
                    struct err *e)
{
    struct err inner = ERR_INIT;
    *is_there = provider_get(w->db, w->a, name, p, &inner);
    if (*is_there || inner.kind == ERR_NOT_FOUND)
        return true;
    *e = inner;
    return false;
}

static bool take_key(struct work *w, const struct provider_change *in, struct provider_row *p,
                     struct str was, struct err *e)
{
    const struct seal *seal = w->c->control->seal;
    struct secret key = in->api_key;
    if (!(in->given & PROVIDER_API_KEY)) {
        if (!p->sealed_key.n || str_eq(was, in->name))
            return true;
        if (!seal_unwrap(seal, w->a, p->sealed_key, was, &key, e)) /* bound to the name */
            return false;
    }
    p->sealed_key = secret_is_set(key) ? seal_wrap(seal, w->a, key, in->name) : STR_NONE;
    return true;
}

static bool take_provider(struct work *w, const struct provider_change *in, struct provider_row *p,
                          struct err *e)
{
    struct str was = p->name;
    p->name = in->name;
    if (in->given & PROVIDER_KIND)
        p->kind = in->kind;
    if (in->given & PROVIDER_BASE_URL)
        p->base_url = in->base_url;
    if (in->given & PROVIDER_PROXY)
        p->proxy = in->proxy;
    if (in->given & PROVIDER_CA_FILE)
        p->ca_file = in->ca_file;
    if (in->given & PROVIDER_WIRE)
        p->wire = in->wire;
    if (in->given & PROVIDER_API_VERSION)
        p->api_version = in->api_version;
    if (in->given & PROVIDER_ENABLED)
        p->is_enabled = in->is_enabled;
    return take_key(w, in, p, was, e) &&
           provider_check(w->a, p, in->given & PROVIDER_API_KEY ? in->api_key : secret_of(STR_NONE),
                          e);
}

typedef bool target_edit_fn(struct work *w, yyjson_val *target, struct jw *out, const void *arg);

/* Writes the targets of a model anew, edit deciding of each: true keeps what it wrote. */
static struct str edit_targets(struct work *w, yyjson_val *list, target_edit_fn *edit,
                               const void *arg, size_t *left)
{
    struct buf b;
    size_t i, max;
    yyjson_val *v;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw out = jw_on(&b);
    *left = 0;
    jw_array(&out);
    yyjson_arr_foreach (list, i, max, v)
        *left += edit(w, v, &out, arg);
    jw_array_end(&out);
    return buf_str(&b);
}

struct rename_of {
    struct str from, to;
};

static struct str target_provider(yyjson_val *target)
{
    return yyjson_is_str(target) ? json_str(target) : json_get_str(target, "provider");
}

static bool rename_target(struct work *w, yyjson_val *target, struct jw *out, const void *arg)
{
    const struct rename_of *r = arg;
    size_t i, max;
    yyjson_val *k, *v;
    (void)w;
    if (!str_eq(target_provider(target), r->from)) {
        jw_val(out, target);
        return true;
    }
    if (yyjson_is_str(target)) {
        jw_str(out, r->to);
        return true;
    }
    jw_object(out);
    yyjson_obj_foreach (target, i, max, k, v) {
        jw_key_str(out, json_str(k));
        if (str_is(json_str(k), "provider"))
            jw_str(out, r->to);
        else
            jw_val(out, v);
    }
    jw_object_end(out);
    return true;
}

static bool drop_target(struct work *w, yyjson_val *target, struct jw *out, const void *arg)
{
    const struct str *name = arg;
    (void)w;
    if (str_eq(target_provider(target), *name))
        return false;
    jw_val(out, target);
    return true;
}

static bool refers(yyjson_val *list, struct str provider)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach (list, i, max, v)
        if (str_eq(target_provider(v), provider))
            return true;
    return false;
}

/* Calls each model of the store that has the provider as a target. */
static bool each_user(struct work *w, struct str provider,
                      bool (*each)(struct work *w, struct model_row *m, yyjson_val *targets,
                                   void *arg, struct err *e),
                      void *arg, struct err *e)
{
    struct model_row *rows;
    if (!model_list(w->db, w->a, &rows, e))
        return false;
    for (struct model_row *m = rows; m; m = m->next) {
        yyjson_val *targets;
        if (json_parse(w->a, m->targets, 8, &targets, NULL) && refers(targets, provider) &&
            !each(w, m, targets, arg, e))
            return false;
    }
    return true;
}

static bool rename_in(struct work *w, struct model_row *m, yyjson_val *targets, void *arg,
                      struct err *e)
{
    size_t left;
    m->targets = edit_targets(w, targets, rename_target, arg, &left);
    return model_put(w->db, m, e);
}

bool change_provider(struct control_call *c, enum change_mode mode,
                     const struct provider_change *in, struct err *e)
{
    struct work w;
    struct provider_row p;
    bool is_there, renames = in->rename_from.n && !str_eq(in->rename_from, in->name);
    struct rename_of r = {renames ? in->rename_from : in->name, in->name};
    if (!begin(&w, c, e))
        return false;
    const struct upstream *u = provider_at(&w, r.from);
    bool ok = get_row(&w, r.from, &p, &is_there, e) &&
              check_mode(mode, "provider", in->name, in->rename_from, u || is_there,
                         provider_at(&w, in->name) != NULL, e) &&
              (!u || control_may_change(c, u->from, "provider", r.from, e));
    if (ok && !is_there)
        p = (struct provider_row){.name = in->name, .is_enabled = true};
    ok = ok && take_provider(&w, in, &p, e);
    if (ok && renames)
        ok = provider_rename(w.db, r.from, r.to, e) && each_user(&w, r.from, rename_in, &r, e);
    return end(&w, ok && provider_put(w.db, &p, e), e);
}

struct removal {
    struct str provider;
    struct strs *models;
    bool cascades;
};

static bool note_user(struct work *w, struct model_row *m, yyjson_val *targets, void *arg,
                      struct err *e)
{
    struct removal *r = arg;
    size_t left;
    struct str *more = ARENA_ARRAY(w->a, struct str, r->models->n + 1);
    struct str rest = edit_targets(w, targets, drop_target, &r->provider, &left);
    if (!r->cascades || left == 0) {
        if (r->models->n)
            memcpy(more, r->models->v, r->models->n * sizeof *more);
        more[r->models->n++] = m->name;
        r->models->v = more;
    }
    if (!r->cascades)
        return true;
    m->targets = rest;
    return left ? model_put(w->db, m, e) : model_delete(w->db, m->name, e);
}

static struct str name_list(struct arena *a, const struct strs *names)
{
    struct buf b;
    buf_init_arena(&b, a, 65536);
    for (size_t i = 0; i < names->n && i < 10; i++)
        buf_fmt(&b, "%s'" STR_FMT "'", i ? ", " : "", STR_ARG(str_first(names->v[i], 100)));
    if (names->n > 10)
        buf_fmt(&b, " and %zu more", names->n - 10);
    return buf_str(&b);
}

bool change_provider_delete(struct control_call *c, struct str name, bool cascade,
                            struct strs *models, struct err *e)
{
    struct work w;
    struct removal r = {name, models, cascade};
    *models = (struct strs){NULL, 0};
    if (!begin(&w, c, e))
        return false;
    const struct upstream *u = provider_at(&w, name);
    bool ok = (u || not_there("not_found", "provider", name, e)) &&
              control_may_change(c, u->from, "provider", name, e) &&
              each_user(&w, name, note_user, &r, e);
    if (ok && !cascade && models->n)
        ok = err_set(e, ERR_CONFLICT, "in_use",
                     "The provider '" STR_FMT "' is a target of the models " STR_FMT
                     ": delete them first",
                     STR_ARG(str_first(name, 100)), STR_ARG(name_list(w.a, models)));
    return end(&w, ok && provider_delete(w.db, name, e), e);
}

bool change_provider_toggle(struct control_call *c, struct str name, bool *is_enabled,
                            struct err *e)
{
    struct work w;
    struct provider_row p;
    if (!begin(&w, c, e))
        return false;
    const struct upstream *u = provider_at(&w, name);
    bool ok = (u || not_there("not_found", "provider", name, e)) &&
              control_may_change(c, u->from, "provider", name, e) &&
              provider_get(w.db, w.a, name, &p, e);
    if (ok)
        *is_enabled = p.is_enabled = !p.is_enabled;
    return end(&w, ok && provider_put(w.db, &p, e), e);
}

/* ---- models ---- */

/* Disabled ones too. */
static const struct model *model_at(const struct work *w, struct str name)
{
    for (size_t i = 0; i < w->now->n_models; i++)
        if (str_eq(w->now->models[i]->name, name))
            return w->now->models[i];
    return NULL;
}

static bool get_model(struct work *w, struct str name, struct model_row **m, struct err *e)
{
    struct model_row *rows;
    *m = NULL;
    if (!model_list(w->db, w->a, &rows, e))
        return false;
    while (rows && !str_eq(rows->name, name))
        rows = rows->next;
    *m = rows;
    return true;
}

static struct str strs_json(struct arena *a, const struct strs *list)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < list->n; i++)
        jw_str(&w, list->v[i]);
    jw_array_end(&w);
    return buf_str(&b);
}

static bool targets_json(struct work *w, const struct model_change *in, struct str *out,
                         struct err *e)
{
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    jw_array(&j);
    for (size_t i = 0; i < in->n_targets; i++) {
        const struct model_target *t = &in->targets[i];
        if (!provider_at(w, t->provider)) {
            err_field(e, "", "There is no provider '" STR_FMT "'",
                      STR_ARG(str_first(t->provider, 100)));
            (void)snprintf(e->field, sizeof e->field, "targets[%zu].provider", i);
            (void)snprintf(e->code, sizeof e->code, "unknown_provider");
            return false;
        }
        jw_object(&j);
        jw_kv_str(&j, "provider", t->provider);
        if (t->upstream_model.n)
            jw_kv_str(&j, "upstream_model", t->upstream_model);
        jw_object_end(&j);
    }
    jw_array_end(&j);
    *out = buf_str(&b);
    return true;
}

static bool check_model_name(struct str name, struct err *e)
{
    if (name.n == 0 || name.n > 500)
        return err_field(e, "name", "'name' must have 1 to 500 characters");
    if (!str_valid_utf8(name))
        return err_field(e, "name", "'name' must be UTF-8");
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 127)
            return err_field(e, "name", "'name' must not hold control characters");
    return true;
}

static bool take_model(struct work *w, const struct model_change *in, struct model_row *m,
                       struct err *e)
{
    m->name = in->name;
    if (in->given & MODEL_TARGETS && !targets_json(w, in, &m->targets, e))
        return false;
    if (m->targets.n <= 2)
        return err_field(e, "targets", "'targets' must name at least one provider");
    if (in->given & MODEL_CAPABILITIES)
        m->capabilities = strs_json(w->a, &in->capabilities);
    if (in->given & MODEL_MAX_OUTPUT)
        m->max_output_tokens = in->max_output_tokens > 0 ? in->max_output_tokens : -1;
    if (in->given & MODEL_CONTEXT)
        m->context_tokens = in->context_tokens > 0 ? in->context_tokens : -1;
    if (in->given & MODEL_ENABLED)
        m->is_enabled = in->is_enabled;
    if (in->given & MODEL_ALIAS)
        m->show_alias = in->show_alias;
    return true;
}

bool change_model(struct control_call *c, enum change_mode mode, const struct model_change *in,
                  struct err *e)
{
    struct work w;
    struct model_row *m;
    bool renames = in->rename_from.n && !str_eq(in->rename_from, in->name);
    struct str from = renames ? in->rename_from : in->name;
    if (!check_model_name(in->name, e) || !begin(&w, c, e))
        return false;
    const struct model *now = model_at(&w, from);
    bool ok = get_model(&w, from, &m, e) &&
              check_mode(mode, "model", in->name, in->rename_from, now || m,
                         model_at(&w, in->name) != NULL, e) &&
              (!now || control_may_change(c, now->from, "model", from, e));
    if (ok && !m) {
        m = ARENA_NEW(w.a, struct model_row);
        m->is_enabled = true;
        m->max_output_tokens = m->context_tokens = -1;
    }
    ok = ok && take_model(&w, in, m, e) && (!renames || model_delete(w.db, from, e)) &&
         model_put(w.db, m, e);
    return end(&w, ok, e);
}

bool change_model_delete(struct control_call *c, struct str name, struct err *e)
{
    struct work w;
    if (!begin(&w, c, e))
        return false;
    const struct model *m = model_at(&w, name);
    bool ok = (m || not_there("not_found", "model", name, e)) &&
              control_may_change(c, m->from, "model", name, e) && model_delete(w.db, name, e);
    return end(&w, ok, e);
}

static bool add_models(struct work *w, const struct models_add *in, struct strs *added,
                       struct strs *skipped, struct err *e)
{
    struct map names; /* of this call */
    bool ok = true;
    map_init(&names);
    for (size_t i = 0; ok && i < in->ids.n; i++) {
        struct str name = str_fmt(w->a, STR_FMT STR_FMT, STR_ARG(in->prefix),
                                  STR_ARG(in->ids.v[i]));
        struct model_target target = {in->provider, in->prefix.n ? in->ids.v[i] : STR_NONE};
        struct model_change one = {.name = name,
                                   .given = MODEL_TARGETS | MODEL_CAPABILITIES,
                                   .targets = &target,
                                   .n_targets = 1,
                                   .capabilities = in->capabilities};
        struct model_row m = {.is_enabled = true, .max_output_tokens = -1, .context_tokens = -1};
        if (model_at(w, name) || map_get(&names, name)) {
            skipped->v[skipped->n++] = name;
            continue;
        }
        map_set(&names, name, w);
        added->v[added->n++] = name;
        ok = check_model_name(name, e) && take_model(w, &one, &m, e) && model_put(w->db, &m, e);
    }
    map_done(&names);
    return ok;
}

bool change_models_add(struct control_call *c, const struct models_add *in, struct strs *added,
                       struct strs *skipped, struct err *e)
{
    struct work w;
    *added = (struct strs){ARENA_ARRAY(c->arena, struct str, in->ids.n + 1), 0};
    *skipped = (struct strs){ARENA_ARRAY(c->arena, struct str, in->ids.n + 1), 0};
    if (!begin(&w, c, e))
        return false;
    bool ok = provider_at(&w, in->provider) ||
              not_there("unknown_provider", "provider", in->provider, e);
    return end(&w, ok && add_models(&w, in, added, skipped, e), e);
}

/* ---- client keys ---- */

static const struct key *key_at(const struct work *w, struct str id)
{
    for (size_t i = 0; i < w->now->n_keys; i++)
        if (str_eq(w->now->keys[i]->id, id))
            return w->now->keys[i];
    return NULL;
}

static void take_key_fields(struct work *w, const struct key_change *in, struct key_row *k)
{
    if (in->given & KEY_LABEL)
        k->label = in->label;
    if (in->given & KEY_SCOPES)
        k->scopes = in->scopes;
    if (in->given & KEY_ALLOWED)
        k->allowed_models = in->allowed_models.n ? strs_json(w->a, &in->allowed_models) : STR_NONE;
    if (in->given & KEY_ENABLED)
        k->is_enabled = in->is_enabled;
    if (in->given & KEY_EXPIRES)
        k->expires_ms = in->expires_ms;
}

/* What is kept of a key's text: its hash, how it is shown, and all of it where the operator wants to see it again. */
static void keep_text(struct work *w, struct key_row *k, struct str text)
{
    struct secret secret = secret_of(text);
    sha256(text, k->hash);
    k->hint = secret_mask(w->a, secret);
    k->sealed = w->now->settings.credential_visible
                    ? seal_wrap(w->c->control->seal, w->a, secret, k->id)
                    : STR_NONE;
}

bool change_key_create(struct control_call *c, const struct key_change *in, struct key_made *out,
                       struct err *e)
{
    struct work w;
    struct key_row k = {.id = in->id, .scopes = SCOPE_INFERENCE | SCOPE_MODELS, .is_enabled = true};
    struct str text = secret_reveal(in->text);
    if (text.n && text.n < 8)
        return err_field(e, "key", "'key' must have at least 8 characters");
    if (!begin(&w, c, e))
        return false;
    take_key_fields(&w, in, &k);
    struct str made = key_make(w.a, &k);
    if (text.n == 0)
        text = made;
    keep_text(&w, &k, text);
    bool ok = !key_at(&w, k.id) || taken("key", k.id, e);
    ok = ok && (!snapshot_key(w.now, text) ||
                err_set(e, ERR_CONFLICT, "already_exists", "This key is there already"));
    *out = (struct key_made){k.id, text, k.created_ms};
    return end(&w, ok && key_insert(w.db, &k, e), e);
}

bool change_key_rotate(struct control_call *c, struct str id, struct secret given,
                       struct key_made *out, struct err *e)
{
    struct work w;
    struct key_row k, fresh = {.id = id};
    struct str text = secret_reveal(given);
    if (!begin(&w, c, e))
        return false;
    const struct key *now = key_at(&w, id);
    bool ok = (now || not_there("not_found", "key", id, e)) &&
              control_may_change(c, now->from, "key", id, e) && key_get(w.db, w.a, id, &k, e);
    struct str made = key_make(w.a, &fresh);
    if (text.n == 0)
        text = made;
    if (ok) {
        keep_text(&w, &k, text);
        k.rotated_ms = fresh.created_ms;
        *out = (struct key_made){k.id, text, k.created_ms};
    }
    ok = ok && (!snapshot_key(w.now, text) ||
                err_set(e, ERR_CONFLICT, "already_exists", "This key is there already"));
    return end(&w, ok && key_retext(w.db, &k, e), e);
}

bool change_key(struct control_call *c, const struct key_change *in, struct err *e)
{
    struct work w;
    struct key_row k;
    if (!begin(&w, c, e))
        return false;
    const struct key *now = key_at(&w, in->id);
    bool ok = (now || not_there("not_found", "key", in->id, e)) &&
              control_may_change(c, now->from, "key", in->id, e) &&
              key_get(w.db, w.a, in->id, &k, e);
    if (ok)
        take_key_fields(&w, in, &k);
    return end(&w, ok && key_update(w.db, &k, e), e);
}

bool change_key_delete(struct control_call *c, struct str id, struct err *e)
{
    struct work w;
    if (!begin(&w, c, e))
        return false;
    const struct key *now = key_at(&w, id);
    bool ok = (now || not_there("not_found", "key", id, e)) &&
              control_may_change(c, now->from, "key", id, e) && key_delete(w.db, id, e);
    return end(&w, ok, e);
}

/* ---- settings ---- */

bool change_setting(struct control_call *c, const struct setting *row, struct str value,
                    struct err *e)
{
    struct work w;
    struct settings probe;
    settings_default(&probe);
    if (value.p && !setting_set(&probe, row, value, e))
        return false;
    if (!begin(&w, c, e))
        return false;
    enum origin from = c->control->setting_origin(c->control->arg, row->name);
    bool ok = from == ORIGIN_DEFAULT ||
              control_may_change(c, from, "setting", str_of(row->name), e);
    return end(&w, ok && setting_put(w.db, str_of(row->name), value, e), e);
}
