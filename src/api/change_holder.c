/* change_holder.c - changes of organisations and users, for api/change.h. */
#include "api/change_route.h"
#include "api/change_work.h"
#include "base/clock.h"
#include "base/codec.h"
#include "domain/org.h"

struct place {
    bool is_in_file, is_in_store;
    struct holder_row row; /* of the file, which hides the store, or of the store */
};

static bool find(struct work *w, enum holder_kind k, struct str id, struct place *p, struct err *e)
{
    const struct str path[] = {str_of(holder_section(k)), id};
    struct err why = ERR_INIT;
    yyjson_val *entry = work_value(w, path, 2);
    struct holder_row stored;
    *p = (struct place){.is_in_file = entry != NULL};
    p->is_in_store = holder_get(w->db, w->a, k, id, &stored, &why);
    if (!p->is_in_store && why.kind != ERR_NOT_FOUND) {
        *e = why;
        return false;
    }
    if (entry)
        return holder_read(w->a, k, id, entry, &p->row, e);
    if (p->is_in_store)
        p->row = stored;
    return true;
}

static bool stands(const struct place *p)
{
    return p->is_in_file || p->is_in_store;
}

static void take(struct arena *a, const struct holder_change *in, struct holder_row *r)
{
    r->id = in->id;
    if (in->given & HOLDER_NAME)
        r->name = in->name;
    if (in->given & HOLDER_ENABLED)
        r->is_enabled = in->is_enabled;
    if (in->given & HOLDER_LIMITS)
        r->limits = limits_json(a, &in->limits);
    if (in->given & HOLDER_OF)
        r->org = in->org;
}

static bool put_in_file(struct work *w, enum holder_kind k, const struct holder_row *r, bool is_new,
                        struct err *e)
{
    static const char *const names[] = {"name", "enabled", "limits", "org"};
    const struct str path[] = {str_of(holder_section(k)), r->id};
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    holder_write(&j, w->a, r);
    return is_new ? work_set(w, path, 2, buf_str(&b), e)
                  : work_put_members(w, path, 2, buf_str(&b), names, ARRAY_LEN(names), e);
}

static bool put(struct work *w, enum holder_kind k, struct place *p, struct err *e)
{
    bool to_file = p->is_in_file;
    bool is_new = !stands(p);
    if (!holder_check(&p->row, e))
        return false;
    if (p->row.org.n && !snapshot_holder(w->now, HOLDER_ORG, p->row.org))
        return err_field(e, "org", "There is no org '" STR_FMT "'",
                         STR_ARG(str_first(p->row.org, 100)));
    if (is_new) {
        p->row.created_ms = clock_wall_ms();
        if (!work_prefers_file(w, &to_file, e))
            return false;
    }
    if (to_file)
        return put_in_file(w, k, &p->row, is_new, e);
    w->changes_store = true;
    return holder_put(w->db, k, &p->row, e);
}

bool change_holder(struct control_call *c, enum change_mode mode, struct holder_change *in,
                   struct err *e)
{
    struct work w;
    struct place p;
    if (mode == CHANGE_CREATE && control_was_made(c, in->id)) {
        in->id = c->made.objects.v[0];
        return true;
    }
    if (mode == CHANGE_CREATE && in->id.n == 0)
        in->id = random_id(c->arena, "", 8);
    if (!work_begin(&w, c, e))
        return false;
    const char *what = holder_word(in->kind);
    struct str shown = str_first(in->id, 200);
    bool ok = find(&w, in->kind, in->id, &p, e);
    if (ok && mode == CHANGE_CREATE && stands(&p))
        ok = work_taken(what, in->id, e);
    if (ok && mode == CHANGE_UPDATE && !stands(&p))
        ok = err_set(e, ERR_NOT_FOUND, "not_found", "No %s '" STR_FMT "'", what, STR_ARG(shown));
    if (ok) {
        if (!stands(&p))
            p.row.is_enabled = true;
        take(w.a, in, &p.row);
        ok = put(&w, in->kind, &p, e);
    }
    return work_end(&w, ok, e);
}

/* ---- deleting ---- */

/* Keys that name it themselves. */
static bool let_go_keys(struct work *w, enum holder_kind kind, struct str id, bool detach,
                        size_t *n, struct err *e)
{
    for (size_t i = 0; i < w->now->n_keys; i++) {
        const struct key *k = w->now->keys[i];
        struct str of = kind == HOLDER_ORG ? k->policy->org : k->policy->user;
        if (!str_eq(of, id))
            continue;
        ++*n;
        struct key_change change = {.id = k->id, .given = KEY_POLICY << kind};
        change.policy = *k->policy;
        change.policy.org = kind == HOLDER_ORG ? STR_NONE : change.policy.org;
        change.policy.user = kind == HOLDER_USER ? STR_NONE : change.policy.user;
        if (detach && !work_put_key(w, &change, e))
            return false;
    }
    return true;
}

static bool let_go_users(struct work *w, struct str org, bool detach, size_t *n, struct err *e)
{
    for (size_t i = 0; i < w->now->n_holders[HOLDER_USER]; i++) {
        const struct holder *h = w->now->holders[HOLDER_USER][i];
        struct place p;
        if (!h->org || !str_eq(h->org->id, org))
            continue;
        ++*n;
        if (!detach)
            continue;
        if (!find(w, HOLDER_USER, h->id, &p, e))
            return false;
        p.row.org = STR_NONE;
        if (!put(w, HOLDER_USER, &p, e))
            return false;
    }
    return true;
}

bool change_holder_delete(struct control_call *c, enum holder_kind kind, struct str id, bool detach,
                          struct err *e)
{
    struct work w;
    struct place p;
    size_t n_keys = 0, n_users = 0;
    const char *what = holder_word(kind);
    const struct str path[] = {str_of(holder_section(kind)), id};
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find(&w, kind, id, &p, e);
    if (ok && !stands(&p))
        ok = err_set(e, ERR_NOT_FOUND, "not_found", "No %s '" STR_FMT "'", what,
                     STR_ARG(str_first(id, 200)));
    ok = ok && let_go_keys(&w, kind, id, detach, &n_keys, e) &&
         (kind != HOLDER_ORG || let_go_users(&w, id, detach, &n_users, e));
    if (ok && !detach && n_keys + n_users > 0)
        ok = err_set(e, ERR_CONFLICT, "in_use",
                     "The %s '" STR_FMT "' has %zu keys and %zu users: detach them, or give them "
                     "to another",
                     what, STR_ARG(str_first(id, 100)), n_keys, n_users);
    w.changes_store |= ok && p.is_in_store;
    ok = ok && (!p.is_in_file || work_drop(&w, path, 2, e)) &&
         (!p.is_in_store || holder_delete(w.db, kind, id, e)) &&
         refs_drop_of(&w, kind == HOLDER_ORG ? BUDGET_ORG : BUDGET_USER, id, e);
    return work_end(&w, ok, e);
}
