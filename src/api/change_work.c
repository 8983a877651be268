#include "api/change_work.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/placeholder.h"
#include "domain/audit.h"
#include "domain/config_version.h"
#include "domain/written.h"
#include "json/jsonc_edit.h"
#include "json/jsonc_place.h"

#define LOCK_WAIT_MS 10000
#define MAX_FILE (64u << 20)
#define MAX_NAMED 4 /* objects that a summary names */

static struct str hash_of(struct arena *a, struct str text)
{
    char *h = arena_alloc(a, SHA256_SIZE);
    if (!text.p)
        return STR_NONE;
    sha256(text, (uint8_t *)h);
    return str_n(h, SHA256_SIZE);
}

/* ---- recovery ---- */

bool change_recover(struct arena *a, const struct seal *seal, struct db *db, const char *path,
                    struct err *e)
{
    struct version_row v;
    struct config_state s;
    struct str text = STR_NONE;
    struct err why = ERR_INIT;
    bool is_any;
    if (!version_pending(db, a, &v, &is_any, e))
        return false;
    if (!is_any)
        return true;
    if (path && !file_read(a, path, MAX_FILE, &text, &why))
        text = STR_NONE;
    if (path && text.p && str_eq(hash_of(a, text), v.base_hash)) {
        struct file_draft d;
        if (!config_unpack(a, seal, v.state, &s, e) || !file_prepare(&d, path, s.text, e) ||
            !file_commit(&d, e))
            return false;
        log_info(NULL, "config.recovered", "version=%lld", (long long)v.id);
    } else if (!str_eq(hash_of(a, text), v.file_hash)) {
        log_warn(NULL, "config.overtaken", "version=%lld reason=%s", (long long)v.id,
                 "the file was changed by someone else");
    }
    return version_written(db, v.id, e);
}

bool change_settle(const struct seal *seal, const char *db_path, const char *path, struct err *e)
{
    struct version_row v;
    struct arena *a = arena_new();
    int lock = path ? file_lock(path, LOCK_WAIT_MS, e) : -1; /* another program may be at it */
    struct db *db = lock != -2 ? db_open(db_path, DB_READ_ONLY, e) : NULL;
    bool is_any = false, ok = db && version_pending(db, a, &v, &is_any, e);
    db_close(db);
    if (ok && is_any) { /* only then: a store that cannot be written has nothing to settle */
        db = db_open(db_path, DB_READ_WRITE, e);
        ok = db && db_begin(db, e) && change_recover(a, seal, db, path, e) && db_commit(db, e);
        if (db)
            db_rollback(db);
        db_close(db);
    }
    file_unlock(lock);
    arena_free(a);
    return ok;
}

/* ---- versions ---- */

static const struct word changed_words[] = {{"added", 1}, {"removed", 2}, {"changed", 3}, {0}};

/* "provider oa added; model a, b changed" */
static struct str summary(struct arena *a, const struct config_change *list)
{
    struct buf b;
    const char *kind = "";
    int how = 0;
    size_t n = 0;
    buf_init_arena(&b, a, 4096);
    for (const struct config_change *c = list; c; c = c->next) {
        int this_how = !c->before ? 1 : !c->after ? 2 : 3;
        if (strcmp(c->kind, "renaming") == 0)
            continue; /* what was renamed stands there too */
        if (this_how != how || strcmp(kind, c->kind) != 0) {
            if (how)
                buf_fmt(&b, " %s; ", word_text(changed_words, how, ""));
            buf_fmt(&b, "%s ", c->kind);
            kind = c->kind;
            how = this_how;
            n = 0;
        }
        if (n < MAX_NAMED)
            buf_fmt(&b, "%s" STR_FMT, n ? ", " : "", STR_ARG(str_first(c->name, 60)));
        else if (n == MAX_NAMED)
            buf_lit(&b, ", …");
        n++;
    }
    if (how)
        buf_fmt(&b, " %s", word_text(changed_words, how, ""));
    else
        buf_lit(&b, "comments and layout");
    return buf_str(&b);
}

static bool add_version(struct arena *a, const struct seal *seal, struct db *db,
                        const struct config_state *s, struct version_row *v,
                        const struct config_change *changes, int64_t keep, struct err *e)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    config_changes_write(&w, a, changes);
    v->at_ms = clock_wall_ms();
    v->changes = buf_str(&b);
    v->file_hash = hash_of(a, s->text);
    v->state = config_pack(a, seal, s);
    if (!v->what.n)
        v->what = summary(a, changes);
    return version_add(db, v, e) && version_retire(db, keep, e);
}

static bool is_same(struct arena *a, const struct config_state *x, const struct config_state *y)
{
    return (x->text.p != NULL) == (y->text.p != NULL) && str_eq(x->text, y->text) &&
           str_eq(json_text(a, x->store), json_text(a, y->store));
}

/* The newest version is s, or becomes it. */
static bool observe(struct arena *a, const struct seal *seal, struct db *db,
                    const struct config_state *s, struct str actor, int64_t keep, struct err *e)
{
    struct version_row last, v = {.actor = actor, .is_written = true};
    struct config_state was = {.text = STR_NONE};
    struct err why = ERR_INIT;
    yyjson_val *before = NULL, *after;
    bool is_first = !version_get(db, a, 0, &last, &why);
    if (is_first && why.kind != ERR_NOT_FOUND) {
        *e = why;
        return false;
    }
    /* one that does not open (another master key) counts as none */
    if (!is_first && config_unpack(a, seal, last.state, &was, &why) &&
        (is_same(a, &was, s) || !config_merged(a, &was, NULL, &before, e)))
        return e->kind == ERR_NONE;
    if (!config_merged(a, s, NULL, &after, e))
        return false;
    if (!before)
        v.what = STR("as found");
    return add_version(a, seal, db, s, &v, before ? config_compare(a, before, after) : NULL, keep,
                       e);
}

bool change_observe(struct arena *a, const struct control *control, struct db *db, struct str actor,
                    struct err *e)
{
    struct snapshot *now = snapshot_current();
    struct config_state s = {.text = STR_NONE};
    bool ok = true;
    if (control->config_path.n) {
        s.text = str_dup(a, now->file_text);
        ok = config_file_values(a, "the file", s.text, &s.file, e);
    }
    ok = ok && db_begin(db, e);
    if (ok && config_store_values(a, control->seal, db, &s.store, e) &&
        observe(a, control->seal, db, &s, actor, now->settings.config_versions_kept, e))
        ok = db_commit(db, e);
    else if (ok) {
        db_rollback(db);
        ok = false;
    }
    snapshot_unref(now);
    return ok;
}

static struct str actor_of(struct arena *a, const struct control_call *c)
{
    const struct principal *p = &c->who;
    if (!c->row)
        return STR("shell");
    switch (p->kind) {
    case PRINCIPAL_CLIENT_KEY:
    case PRINCIPAL_ADMIN_KEY:
        return str_fmt(a, "key " STR_FMT, STR_ARG(p->id));
    case PRINCIPAL_OPERATOR:
        return str_fmt(a, "operator " STR_FMT, STR_ARG(p->name.n ? p->name : p->id));
    case PRINCIPAL_INTERNAL:
        return STR("internal");
    case PRINCIPAL_ANONYMOUS:
        break;
    }
    return STR("anonymous");
}

/* ---- begin ---- */

static bool broken(const struct work *w, struct err *e)
{
    return err_set(e, ERR_CONFLICT, "config_broken", CONFIG_BROKEN "%s", w->file_fault.message);
}

static void let_go(struct work *w)
{
    file_unlock(w->lock);
    snapshot_unref(w->now);
    pthread_mutex_unlock(w->c->control->change_lock);
}

static bool find_file(struct work *w, struct err *e)
{
    if (!w->path)
        return true;
    if (!file_read(w->a, w->path, MAX_FILE, &w->found.text, &w->file_fault) ||
        !config_file_values(w->a, w->path, w->found.text, &w->found.file, &w->file_fault)) {
        /* the store can still be changed, beside what is in force of the file */
        w->found.text = str_dup(w->a, w->now->file_text);
        if (!config_file_values(w->a, w->path, w->found.text, &w->found.file, e))
            return false;
    }
    w->text = w->base = w->found.text;
    w->file = w->found.file;
    return true;
}

/* What others did to the file a moment ago is in force before it is built upon. */
static void catch_up(struct work *w)
{
    const struct control *control = w->c->control;
    struct config_draft d = {.text = w->text, .db = w->db};
    struct snapshot *next;
    struct err why = ERR_INIT;
    if (!w->path || w->file_fault.kind != ERR_NONE || str_eq(w->text, w->now->file_text) ||
        !control->build(control->arg, &d, &next, &why)) /* an edit may mend it */
        return;
    snapshot_unref(w->now);
    w->now = snapshot_ref(next);
    control->publish(control->arg, next, true);
}

bool work_begin(struct work *w, struct control_call *c, struct err *e)
{
    const struct control *control = c->control;
    *w = (struct work){.c = c,
                       .a = c->arena,
                       .file_fault = ERR_INIT,
                       .lock = -1,
                       .is_lenient = c->row && c->row->surface == SURFACE_ROSETTA};
    if (control->config_path.n)
        w->path = str_z(w->a, control->config_path);
    pthread_mutex_lock(control->change_lock);
    w->now = snapshot_current();
    if (w->path)
        w->lock = file_lock(w->path, LOCK_WAIT_MS, e);
    w->db = w->lock != -2 ? control_db(c, e) : NULL;
    /* what is acknowledged survives the loss of power */
    if (w->db && db_exec(w->db, "PRAGMA synchronous=FULL", e) && db_begin(w->db, e)) {
        if (change_recover(w->a, control->seal, w->db, w->path, e) && find_file(w, e) &&
            config_store_values(w->a, control->seal, w->db, &w->found.store, e)) {
            catch_up(w);
            /* who knows of nothing but the file is told first */
            if (w->is_lenient && w->file_fault.kind != ERR_NONE)
                (void)broken(w, e);
            else if (control_matches(c, w->now, e))
                return true;
        }
        db_rollback(w->db);
    }
    let_go(w);
    return false;
}

/* ---- edits ---- */

yyjson_val *work_value(const struct work *w, const struct str *path, size_t n)
{
    yyjson_val *v = w->file;
    for (size_t i = 0; v && i < n; i++) {
        int64_t at;
        if (yyjson_is_arr(v))
            v = str_to_int(path[i], &at) && at >= 0 ? yyjson_arr_get(v, (size_t)at) : NULL;
        else
            v = yyjson_is_obj(v) ? json_find(v, str_z(w->a, path[i]), path[i].n) : NULL;
    }
    return v;
}

static bool may_edit(struct work *w, struct err *e)
{
    if (w->file_fault.kind != ERR_NONE)
        return broken(w, e);
    return w->changes_file || file_is_writable(w->path) ||
           err_set(e, ERR_CONFLICT, "read_only",
                   "This stands in %s, which is read-only: change it there", w->path);
}

/* "providers.oa.api_key" as jsonc_where() takes it */
static struct str dotted(struct work *w, const struct str *path, size_t n)
{
    struct buf b;
    buf_init_arena(&b, w->a, 4096);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *outer = work_value(w, path, i);
        buf_fmt(&b, yyjson_is_arr(outer) ? "[%.*s]" : i ? ".%.*s" : "%.*s", STR_ARG(path[i]));
    }
    return buf_str(&b);
}

static bool is_from_environment(struct work *w, const struct str *path, size_t n, struct err *e)
{
    struct str was = json_str(work_value(w, path, n)), name;
    size_t at = placeholder_find(was, 0, &name);
    if (at == was.n)
        return false;
    struct str place = jsonc_where(w->a, w->path, w->text, dotted(w, path, n));
    err_set(e, ERR_CONFLICT, "read_only",
            STR_FMT "'" STR_FMT "' is given by the environment as " STR_FMT ": change it there",
            STR_ARG(place), STR_ARG(str_first(path[n - 1], 100)),
            STR_ARG(str_n(was.p + at, name.n + 3)));
    return true;
}

static bool took(struct work *w, struct str text, struct err *e)
{
    w->changes_file = w->changes_file || !str_eq(text, w->text);
    w->text = text;
    return w->is_deferred || config_file_values(w->a, w->path, text, &w->file, e);
}

static void free_scratch(struct work *w)
{
    for (size_t i = 0; i < ARRAY_LEN(w->scratch); i++) {
        arena_free(w->scratch[i]);
        w->scratch[i] = NULL;
    }
}

/* Where the next text goes: of thousands only two are kept. */
static struct arena *next_scratch(struct work *w)
{
    arena_free(w->scratch[0]);
    w->scratch[0] = w->scratch[1];
    return w->scratch[1] = arena_new();
}

void work_defer(struct work *w)
{
    w->is_deferred = true;
}

bool work_settle(struct work *w, struct err *e)
{
    w->text = str_dup(w->a, w->text);
    w->is_deferred = false;
    free_scratch(w);
    return !w->path || took(w, w->text, e);
}

/* Whether a text of the file says this: what was shown, and comes back. */
static bool says(struct work *w, const struct str *path, size_t n, yyjson_val *was, struct str text)
{
    struct str written = json_str(was);
    return str_contains(written, STR("$${")) && written_may_refer(path, n) &&
           !placeholder_is_in(written) && str_eq(placeholder_unescape(w->a, written), text);
}

bool work_set(struct work *w, const struct str *path, size_t n, struct str json, struct err *e)
{
    yyjson_val *was = work_value(w, path, n), *v;
    struct str text;
    if (!json_parse(w->a, json, 0, &v, e))
        return false;
    if (was && (json_equal(was, v) || says(w, path, n, was, json_str(v))))
        return true;
    return may_edit(w, e) && !(was && is_from_environment(w, path, n, e)) &&
           (w->is_deferred ? jsonc_put(next_scratch(w), w->text, path, n, json, &text, e)
                           : jsonc_set(w->a, w->text, path, n, json, &text, e)) &&
           took(w, text, e);
}

bool work_put_members(struct work *w, const struct str *entry, size_t n, struct str object,
                      const char *const *names, size_t n_names, struct err *e)
{
    struct str path[8];
    yyjson_val *from = NULL;
    if (object.n && !json_parse(w->a, object, 0, &from, e))
        return false;
    memcpy(path, entry, n * sizeof *path);
    for (size_t i = 0; i < n_names; i++) {
        yyjson_val *v = json_get(from, names[i]);
        path[n] = str_of(names[i]);
        if (!(v ? work_set(w, path, n + 1, json_text(w->a, v), e) : work_remove(w, path, n + 1, e)))
            return false;
    }
    return true;
}

bool work_drop(struct work *w, const struct str *path, size_t n, struct err *e)
{
    struct str text;
    if (!work_value(w, path, n))
        return true;
    return may_edit(w, e) &&
           (w->is_deferred ? jsonc_cut(next_scratch(w), w->text, path, n, &text, e)
                           : jsonc_remove(w->a, w->text, path, n, &text, e)) &&
           took(w, text, e);
}

bool work_remove(struct work *w, const struct str *path, size_t n, struct err *e)
{
    return !work_value(w, path, n) ||
           (!is_from_environment(w, path, n, e) && work_drop(w, path, n, e));
}

bool work_rename(struct work *w, const struct str *path, size_t n, struct str name, struct err *e)
{
    struct str text;
    return may_edit(w, e) && jsonc_rename(w->a, w->text, path, n, name, &text, e) &&
           took(w, text, e);
}

bool work_replace(struct work *w, struct str text, struct err *e)
{
    struct err was = w->file_fault;
    struct str on_disk;
    err_clear(&w->file_fault);
    /* garbage is not what is in force, but it is what goes */
    if (was.kind != ERR_NONE && file_read(w->a, w->path, MAX_FILE, &on_disk, &was))
        w->base = on_disk;
    if (str_eq(text, w->text) && was.kind == ERR_NONE)
        return true;
    w->text = text;
    return may_edit(w, e) && config_file_values(w->a, w->path, text, &w->file, e) &&
           (w->changes_file = true);
}

bool work_prefers_file(struct work *w, bool *prefers, struct err *e)
{
    *prefers = w->path && w->file_fault.kind == ERR_NONE &&
               (w->changes_file || file_is_writable(w->path));
    return !w->path || w->file_fault.kind == ERR_NONE || may_edit(w, e);
}

void work_note_key(struct work *w, struct str id, struct str before, struct str after,
                   const struct key_row *was)
{
    struct key_was *k = ARENA_NEW(w->a, struct key_was);
    *k = (struct key_was){.next = w->keys, .id = id, .was_there = was != NULL};
    if (was)
        k->row = *was;
    w->keys = k;
    struct config_change *one = ARENA_NEW(w->a, struct config_change);
    *one = (struct config_change){.next = w->extra, .kind = "key", .name = id};
    if (before.n && !json_parse(w->a, before, 0, &one->before, NULL))
        one->before = NULL;
    if (after.n && !json_parse(w->a, after, 0, &one->after, NULL))
        one->after = NULL;
    w->extra = one;
    w->changes_store = true;
}

/* ---- end ---- */

/* The configuration as it would be. A file that is at fault, and is not changed here, keeps the part that is in force of it. */
static bool build(struct work *w, struct snapshot **next, bool *is_of_file, struct err *e)
{
    const struct control *control = w->c->control;
    struct config_draft d = {.text = w->text, .db = w->db};
    *is_of_file = w->file_fault.kind == ERR_NONE;
    if (*is_of_file && control->build(control->arg, &d, next, e))
        return true;
    if (w->changes_file || !w->path)
        return false;
    *is_of_file = false;
    err_clear(e);
    d.text = w->now->file_text;
    return control->build(control->arg, &d, next, e);
}

static bool audit(struct work *w, const struct config_change *list, struct err *e)
{
    struct control_call *c = w->c;
    bool ok = true;
    for (const struct config_change *one = list; one; one = one->next) {
        struct str before = config_change_side(w->a, one, one->before),
                   after = config_change_side(w->a, one, one->after);
        if (c->row) {
            control_audit(c, one->kind, one->name, before, after);
            continue;
        }
        struct audit_row row = audit_of_shell(w->a, clock_wall_ms(), one->kind, one->name);
        row.before = before;
        row.after = after;
        ok = ok && audit_append(w->db, &row, e);
    }
    return ok &&
           (!c->row || control_audit_write(c, w->db, c->row->status ? c->row->status : 200, e));
}

/* The differences, the keys of the store behind them. */
static struct config_change *and_then(struct config_change *list, struct config_change *more)
{
    struct config_change **last = &list;
    while (*last)
        last = &(*last)->next;
    *last = more;
    return list;
}

static bool differences(struct work *w, struct config_state *is, struct config_change **list,
                        struct err *e)
{
    yyjson_val *before, *after;
    *is = (struct config_state){.text = w->text, .file = w->file};
    if (!config_store_values(w->a, w->c->control->seal, w->db, &is->store, e) ||
        !config_merged(w->a, &w->found, NULL, &before, e) ||
        !config_merged(w->a, is, NULL, &after, e))
        return false;
    *list = config_compare(w->a, before, after);
    *list = and_then(*list, w->extra);
    return true;
}

/* In the transaction: what is recorded of the change. */
static bool record(struct work *w, struct version_row *v, struct err *e)
{
    struct config_state is;
    struct config_change *list;
    const struct seal *seal = w->c->control->seal;
    int64_t keep = w->now->settings.config_versions_kept;
    *v = (struct version_row){.actor = actor_of(w->a, w->c),
                              .what = w->what,
                              .base_hash = hash_of(w->a, w->base),
                              .is_written = !w->changes_file};
    return observe(w->a, seal, w->db, &w->found, STR("file"), keep, e) &&
           differences(w, &is, &list, e) && audit(w, list, e) &&
           add_version(w->a, seal, w->db, &is, v, and_then(list, w->renamings), keep, e);
}

static bool put_keys_back(struct work *w, struct err *e)
{
    for (const struct key_was *k = w->keys; k; k = k->next) {
        struct key_row now;
        struct err why = ERR_INIT;
        bool is_there = key_get(w->db, w->a, k->id, &now, &why);
        if (!is_there && why.kind != ERR_NOT_FOUND) {
            *e = why;
            return false;
        }
        bool ok = !k->was_there ? !is_there || key_delete(w->db, k->id, e)
                  : is_there    ? key_update(w->db, &k->row, e) && key_retext(w->db, &k->row, e)
                                : key_insert(w->db, &k->row, e);
        if (!ok)
            return false;
    }
    return true;
}

/* The store is saved, but the file could not take its place. Where the store fails now too, the change waits there whole:
 * change_recover() finishes it before anything is loaded again. */
static void undo(struct work *w, const struct version_row *v, struct err *e)
{
    struct err why = ERR_INIT;
    bool ok = db_begin(w->db, &why) &&
              config_store_put(w->a, w->c->control->seal, w->db, w->found.store, &why) &&
              put_keys_back(w, &why) && version_drop(w->db, v->id, &why) && db_commit(w->db, &why);
    if (ok)
        return;
    struct err was = *e;
    db_rollback(w->db);
    log_error(NULL, "config.not_undone", "version=%lld error=%s", (long long)v->id, why.message);
    err_set(e, ERR_INTERNAL, "saved_not_loaded",
            "%.300s: the change waits in the store, and takes effect once the file can be written",
            was.message);
}

static bool unwritten(const struct err *why, struct err *e)
{
    return err_set(e, ERR_INTERNAL, "config_unwritten", CONFIG_UNWRITTEN "%s", why->message);
}

static bool save(struct work *w, struct err *e)
{
    struct version_row v;
    struct file_draft d = {.tmp = ""};
    struct err late = ERR_INIT;
    if (!record(w, &v, e))
        return false;
    if (w->changes_file && !file_prepare(&d, w->path, w->text, &late))
        return unwritten(&late, e);
    if (!db_commit(w->db, e)) {
        file_discard(&d);
        return false;
    }
    if (!w->changes_file)
        return true;
    if (!file_commit(&d, &late)) {
        (void)unwritten(&late, e);
        undo(w, &v, e);
        return false;
    }
    if (!version_written(w->db, v.id, &late)) /* found out when the next change begins */
        log_warn(NULL, "config.version_open", "version=%lld error=%s", (long long)v.id,
                 late.message);
    return true;
}

static bool finish(struct work *w, struct err *e)
{
    const struct control *control = w->c->control;
    struct snapshot *next = NULL;
    struct err why = ERR_INIT;
    bool is_of_file;
    bool loads = build(w, &next, &is_of_file, &why);
    if (!loads && !w->is_lenient) {
        *e = why;
        (void)snprintf(e->message, sizeof e->message,
                       "Nothing was changed, since this would not load: %.400s", why.message);
        return false;
    }
    if (!save(w, e)) {
        snapshot_unref(next);
        return false;
    }
    if (loads) {
        control->publish(control->arg, next, is_of_file);
        return true;
    }
    control->refused(control->arg, &why);
    return err_set(e, ERR_INTERNAL, "saved_not_loaded", "Config saved but reload failed: %s",
                   why.message);
}

static size_t times(struct str text, struct str wanted)
{
    struct str name;
    size_t n = 0, at = 0;
    for (; (at = placeholder_find(text, at, &name)) < text.n; at += name.n + 3)
        n += str_eq(name, wanted);
    return n;
}

/* No more references to a variable than there were: moving one is free, making one is not. */
static bool makes_reference(const struct work *w, struct str *made)
{
    struct str name;
    size_t at = 0;
    for (; (at = placeholder_find(w->text, at, &name)) < w->text.n; at += name.n + 3) {
        *made = str_n(w->text.p + at, name.n + 3);
        if (times(w->text, name) > times(w->base, name))
            return true;
    }
    return false;
}

static bool is_secret_in_file(yyjson_val *name, yyjson_val *v)
{
    struct str member = json_str(name);
    return str_starts(json_str(v), STR("file:")) &&
           (str_is(member, "api_key") || str_is(member, "key") || str_is(member, "admin_password"));
}

static size_t times_read(yyjson_val *v, struct str wanted)
{
    size_t i, max, n = 0;
    yyjson_val *name, *one;
    yyjson_arr_foreach (v, i, max, one)
        n += times_read(one, wanted);
    yyjson_obj_foreach (v, i, max, name, one)
        n += is_secret_in_file(name, one) ? str_eq(json_str(one), wanted) : times_read(one, wanted);
    return n;
}

/* The same of secrets that are read from a file: elsewhere file: is text like any other. */
static bool makes_file_reference(const struct work *w, yyjson_val *v, struct str *made)
{
    size_t i, max;
    yyjson_val *name, *one;
    yyjson_arr_foreach (v, i, max, one)
        if (makes_file_reference(w, one, made))
            return true;
    yyjson_obj_foreach (v, i, max, name, one) {
        *made = json_str(one);
        if (is_secret_in_file(name, one)
                ? times_read(w->file, *made) > times_read(w->found.file, *made)
                : makes_file_reference(w, one, made))
            return true;
    }
    return false;
}

/* ${VAR} and file:PATH are replaced by what they name, which then goes where the configuration says: to a provider, into a
 * list. Who may change the configuration may not for that read this machine's environment and files; owners may. */
static bool may_refer(const struct work *w, struct err *e)
{
    struct str made;
    if (!w->changes_file || w->c->who.role >= ROLE_OWNER ||
        (!makes_reference(w, &made) && !makes_file_reference(w, w->file, &made)))
        return true;
    return err_set(e, ERR_FORBIDDEN, "owner_required",
                   "Only an owner may put a reference to the environment or to a file into the "
                   "configuration: " STR_FMT "%s",
                   STR_ARG(str_first(made, 100)),
                   str_starts(made, STR("${")) ? " ($${ is the text ${ itself)" : "");
}

bool work_end(struct work *w, bool ok, struct err *e)
{
    if (ok && (w->changes_file || w->changes_store))
        ok = may_refer(w, e) && finish(w, e);
    db_rollback(w->db); /* what was not committed */
    free_scratch(w);
    let_go(w);
    return ok;
}
