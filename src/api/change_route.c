#include "api/change_route.h"
#include "domain/budget.h"
#include "domain/custom_kind.h"
#include "domain/noun.h"
#include "domain/price_list.h"
#include "domain/proxy.h"
#include "domain/route_policy.h"
#include "vault/entry.h"

#define PATH(...) (const struct str[]){__VA_ARGS__}, ARRAY_LEN(((const struct str[]){__VA_ARGS__}))

static struct str section_name(enum section s)
{
    return str_of(entry_sections[s]);
}

static struct str str_json(struct arena *a, struct str s)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_str(&w, s);
    return buf_str(&b);
}

static void add_name(struct arena *a, struct strs *list, struct str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->v[i], name))
            return;
    list->v = arena_realloc(a, list->v, list->n * sizeof *list->v, (list->n + 1) * sizeof *list->v);
    list->v[list->n++] = name;
}

/* ---- what stands where ---- */

struct entry_place {
    yyjson_val *in_file, *in_store; /* NULL: not there */
};

static bool find_entry(struct work *w, enum section s, struct str name, struct entry_place *p,
                       struct err *e)
{
    struct entry_row *row;
    *p = (struct entry_place){work_value(w, PATH(section_name(s), name)), NULL};
    if (!entry_list(w->db, w->a, entry_sections[s], &row, e))
        return false;
    while (row && !str_eq(row->name, name))
        row = row->next;
    struct str body;
    return !row ||
           (entry_opened(w->c->control->seal, w->a, entry_sections[s], row->body, &body, e) &&
            json_parse(w->a, body, 16, &p->in_store, e));
}

static bool stands(const struct entry_place *p)
{
    return p->in_file || p->in_store;
}

static bool put_row(struct work *w, enum section s, struct str name, struct str body, struct err *e)
{
    struct entry_row row = {NULL, name,
                            entry_sealed(w->c->control->seal, w->a, entry_sections[s], body)};
    w->changes_store = true;
    return entry_put(w->db, entry_sections[s], &row, e);
}

static bool drop_entry(struct work *w, enum section s, struct str name, const struct entry_place *p,
                       struct err *e)
{
    w->changes_store |= p->in_store != NULL;
    return (!p->in_file || work_drop(w, PATH(section_name(s), name), e)) &&
           (!p->in_store || entry_delete(w->db, entry_sections[s], name, e));
}

/* All entries of a section as they are now, the file's first. */
static bool entries(struct work *w, enum section s, yyjson_val **out, struct err *e)
{
    struct config_state is = {.text = w->text, .file = w->file};
    yyjson_val *root;
    if (!config_store_values(w->a, w->c->control->seal, w->db, &is.store, e) ||
        !config_merged(w->a, &is, NULL, &root, e))
        return false;
    *out = json_find(root, entry_sections[s], strlen(entry_sections[s]));
    return true;
}

/* ---- references ---- */

static struct str member_model(yyjson_val *m)
{
    return yyjson_is_str(m) ? json_str(m) : json_get_str(m, "model");
}

/* "provider/…" is also the name of models that are not the provider's. (A chain named so is about the provider's.) */
static bool is_of_provider(const struct work *w, struct str name, struct str provider)
{
    if (name.n <= provider.n + 1 || !str_starts(name, provider) || name.p[provider.n] != '/')
        return false;
    const struct model *m = snapshot_model(w->now, name);
    return !m || m->face == MODEL_OF_CHAIN;
}

/* What a name that may refer becomes; STR_NONE: it does not refer. */
static struct str renamed(const struct work *w, enum referent what, struct str name,
                          struct str from, struct str to)
{
    if (what == REFERENT_MODEL)
        return str_eq(name, from) ? (to.p ? to : from) : STR_NONE;
    if (!is_of_provider(w, name, from))
        return STR_NONE;
    return to.p ? str_cat(w->a, to, str_skip(name, from.n)) : name;
}

static bool member_refers(const struct work *w, enum referent what, yyjson_val *m, struct str name)
{
    struct str provider = json_get_str(m, "provider");
    if (what == REFERENT_PROVIDER && provider.n)
        return str_eq(provider, name);
    return renamed(w, what, member_model(m), name, STR_NONE).p != NULL;
}

static bool link_refers(enum referent what, yyjson_val *l, struct str name)
{
    return what == REFERENT_PROVIDER &&
           str_eq(yyjson_is_str(l) ? json_str(l) : json_get_str(l, "provider"), name);
}

/* Sections whose entries lead to one name, and the member that says it. */
static const char *lead_member(enum section s)
{
    return s == SECTION_ALIASES ? "to" : s == SECTION_POLICIES ? "target" : NULL;
}

/* An entry that is a text says its only name. */
static struct str said_by(const char *member, yyjson_val *v)
{
    return yyjson_is_str(v) ? json_str(v) : json_str(json_find(v, member, strlen(member)));
}

/* The sections that refer to providers, models and combos. */
static const enum section referring[] = {SECTION_COMBOS, SECTION_CHAINS, SECTION_ALIASES,
                                         SECTION_POLICIES};

/* The list inside an entry, and where it stands below it. */
static yyjson_val *list_of(enum section s, yyjson_val *v)
{
    return s == SECTION_COMBOS ? json_get(v, "members") : s == SECTION_CHAINS ? v : NULL;
}

static bool item_refers(const struct work *w, enum section s, enum referent what, yyjson_val *item,
                        struct str name)
{
    return s == SECTION_COMBOS ? member_refers(w, what, item, name) : link_refers(what, item, name);
}

/* One item of a list with its reference spelled anew. */
static void write_item(struct jw *out, const struct work *w, enum section s, enum referent what,
                       yyjson_val *item, struct str from, struct str to)
{
    size_t i, max;
    yyjson_val *k, *v;
    if (yyjson_is_str(item)) {
        jw_str(out, s == SECTION_CHAINS ? to : renamed(w, what, json_str(item), from, to));
        return;
    }
    bool is_provider = what == REFERENT_PROVIDER && json_get_str(item, "provider").n;
    jw_object(out);
    yyjson_obj_foreach (item, i, max, k, v) {
        jw_key_str(out, json_str(k));
        if (is_provider && str_is(json_str(k), "provider"))
            jw_str(out, to);
        else if (!is_provider && str_is(json_str(k), "model"))
            jw_str(out, renamed(w, what, json_str(v), from, to));
        else
            jw_val(out, v);
    }
    jw_object_end(out);
}

/* The JSON of an entry of the store without, or with renamed, references; *left counts what a list still holds. */
static struct str rewritten(struct work *w, enum section s, enum referent what, yyjson_val *v,
                            struct str from, struct str to, size_t *left)
{
    struct buf b;
    size_t i, max, j, n;
    yyjson_val *k, *member, *item, *list = list_of(s, v);
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw out = jw_on(&b);
    *left = 0;
    if (s == SECTION_COMBOS)
        jw_object(&out);
    yyjson_obj_foreach (s == SECTION_COMBOS ? v : NULL, i, max, k, member)
        if (member != list) {
            jw_key_str(&out, json_str(k));
            jw_val(&out, member);
        }
    if (s == SECTION_COMBOS)
        jw_key(&out, "members");
    jw_array(&out);
    yyjson_arr_foreach (list, j, n, item) {
        bool is_it = item_refers(w, s, what, item, from);
        if (is_it && !to.p)
            continue;
        ++*left;
        if (is_it)
            write_item(&out, w, s, what, item, from, to);
        else
            jw_val(&out, item);
    }
    jw_array_end(&out);
    if (s == SECTION_COMBOS)
        jw_object_end(&out);
    return buf_str(&b);
}

static bool rename_items_in_file(struct work *w, enum section s, enum referent what,
                                 struct str name, struct str from, struct str to, struct err *e)
{
    yyjson_val *list = list_of(s, work_value(w, PATH(section_name(s), name)));
    size_t n = yyjson_arr_size(list);
    for (size_t i = 0; i < n; i++) {
        struct str path[5] = {section_name(s), name};
        size_t deep = 2;
        if (s == SECTION_COMBOS)
            path[deep++] = STR("members");
        path[deep++] = str_fmt(w->a, "%zu", i);
        yyjson_val *item = work_value(w, path, deep);
        if (!item_refers(w, s, what, item, from))
            continue;
        struct buf b;
        buf_init_arena(&b, w->a, SIZE_MAX / 4);
        struct jw out = jw_on(&b);
        bool is_provider = s == SECTION_CHAINS || json_get_str(item, "provider").n;
        if (yyjson_is_str(item)) {
            write_item(&out, w, s, what, item, from, to);
        } else if (is_provider && what == REFERENT_PROVIDER) {
            path[deep++] = STR("provider");
            jw_str(&out, to);
        } else {
            path[deep++] = STR("model");
            jw_str(&out, renamed(w, what, member_model(item), from, to));
        }
        if (!work_set(w, path, deep, buf_str(&b), e))
            return false;
    }
    return true;
}

static bool drop_items_in_file(struct work *w, enum section s, enum referent what, struct str name,
                               struct str from, size_t *left, struct err *e)
{
    yyjson_val *list = list_of(s, work_value(w, PATH(section_name(s), name)));
    *left = yyjson_arr_size(list);
    for (size_t i = *left; i-- > 0;) {
        struct str path[4] = {section_name(s), name};
        size_t deep = 2;
        if (s == SECTION_COMBOS)
            path[deep++] = STR("members");
        path[deep++] = str_fmt(w->a, "%zu", i);
        if (!item_refers(w, s, what, work_value(w, path, deep), from))
            continue;
        --*left;
        if (*left > 0 && !work_drop(w, path, deep, e))
            return false;
    }
    return true;
}

static bool entry_refers(const struct work *w, enum section s, enum referent what, struct str key,
                         yyjson_val *v, struct str name)
{
    size_t i, max;
    yyjson_val *item;
    if (lead_member(s))
        return renamed(w, what, said_by(lead_member(s), v), name, STR_NONE).p != NULL;
    yyjson_arr_foreach (list_of(s, v), i, max, item)
        if (item_refers(w, s, what, item, name))
            return true;
    return s == SECTION_CHAINS && renamed(w, what, key, name, STR_NONE).p;
}

/* The member of an entry that says a name, spelled anew where it refers. */
static bool rename_member(struct work *w, enum section s, enum referent what, const char *member,
                          struct str key, struct str from, struct str to, struct err *e)
{
    struct entry_place p;
    if (!find_entry(w, s, key, &p, e))
        return false;
    if (p.in_file) {
        bool is_text = yyjson_is_str(p.in_file);
        struct str is = renamed(w, what, said_by(member, p.in_file), from, to);
        const struct str path[] = {section_name(s), key, str_of(member)};
        if (is.p && !work_set(w, path, is_text ? 2 : 3, str_json(w->a, is), e))
            return false;
    }
    if (!p.in_store)
        return true;
    struct str is = renamed(w, what, said_by(member, p.in_store), from, to);
    return !is.p || put_row(w, s, key, json_text_with(w->a, p.in_store, str_of(member), is), e);
}

static bool rename_entry(struct work *w, enum section s, struct str from, struct str to,
                         const struct entry_place *p, struct err *e)
{
    w->changes_store |= p->in_store != NULL;
    return (!p->in_file || work_rename(w, PATH(section_name(s), from), to, e)) &&
           (!p->in_store || entry_rename(w->db, entry_sections[s], from, to, e));
}

/* Whether the alias, as whichever of file and store says it, would be one of itself. */
static bool leads_to_itself(const struct work *w, enum referent what, struct str key,
                            const struct entry_place *p, struct str from, struct str to)
{
    yyjson_val *said = p->in_file ? p->in_file : p->in_store;
    return str_eq(renamed(w, what, said_by(lead_member(SECTION_ALIASES), said), from, to), key);
}

static bool rename_in_entry(struct work *w, enum section s, enum referent what, struct str key,
                            struct str from, struct str to, struct err *e)
{
    struct entry_place p;
    size_t left;
    if (!find_entry(w, s, key, &p, e))
        return false;
    if (s == SECTION_ALIASES && leads_to_itself(w, what, key, &p, from, to))
        return drop_entry(w, s, key, &p, e); /* what it led to has its name now */
    if (lead_member(s))
        return rename_member(w, s, what, lead_member(s), key, from, to, e);
    struct str is = s == SECTION_CHAINS ? renamed(w, what, key, from, to) : STR_NONE;
    if (is.p && !str_eq(is, key)) {
        struct entry_place other;
        if (!find_entry(w, s, is, &other, e) ||
            (!stands(&other) && !rename_entry(w, s, key, is, &p, e)))
            return false;
        key = stands(&other) ? key : is;
    }
    return (!p.in_file || rename_items_in_file(w, s, what, key, from, to, e)) &&
           (!p.in_store ||
            put_row(w, s, key, rewritten(w, s, what, p.in_store, from, to, &left), e));
}

/* Settings that name models. */
static const struct setting_ref {
    const char *name;
    size_t at; /* of the text in struct settings */
    /* of patterns, with commas: it follows a new name, but keeps nothing from going */
    bool is_list;
} setting_refs[] = {
    {"global_fallback_model", offsetof(struct settings, global_fallback_model), false},
    {"semantic_cache_model", offsetof(struct settings, semantic_cache_model), false},
    {"system_prompt_except", offsetof(struct settings, system_prompt_except), true},
};

/* The list with its names spelled anew; STR_NONE: none of them refers. */
static struct str list_renamed(const struct work *w, enum referent what, struct str list,
                               struct str from, struct str to)
{
    struct buf b;
    bool is_any = false;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    while (list.n) {
        struct str one;
        list = str_cut(list, ',', &one);
        one = str_trim(one);
        struct str is = renamed(w, what, one, from, to);
        is_any |= is.p != NULL;
        buf_fmt(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(is.p ? is : one));
    }
    return is_any ? buf_str(&b) : STR_NONE;
}

static bool put_ref(struct work *w, const struct setting_ref *ref, struct str was, struct str is,
                    struct err *e)
{
    const struct str path[] = {STR("server"), str_of(ref->name)};
    struct config_state s = {.text = STR_NONE};
    if (str_eq(json_str(work_value(w, path, 2)), was))
        return is.p ? work_set(w, path, 2, str_json(w->a, is), e) : work_drop(w, path, 2, e);
    if (!config_store_values(w->a, w->c->control->seal, w->db, &s.store, e))
        return false;
    if (!json_get(json_get(s.store, "server"), ref->name))
        return true; /* the environment's: it says so at the next load */
    w->changes_store = true;
    return setting_put(w->db, path[1], is, e);
}

/* to.p == NULL: users are told who refers, and the settings lose it where drops is set. */
static bool settings_follow(struct work *w, enum referent what, struct str from, struct str to,
                            struct strs *users, bool drops, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(setting_refs); i++) {
        const struct setting_ref *ref = &setting_refs[i];
        struct str was = *(const struct str *)((const char *)&w->now->settings + ref->at);
        struct str is = !was.n          ? STR_NONE
                        : !ref->is_list ? renamed(w, what, was, from, to)
                        : to.p          ? list_renamed(w, what, was, from, to)
                                        : STR_NONE;
        if (!is.p)
            continue;
        if (users)
            add_name(w->a, users, str_fmt(w->a, "the setting '%s'", ref->name));
        if ((drops || to.p) && !put_ref(w, ref, was, to.p ? is : STR_NONE, e))
            return false;
    }
    return true;
}

/* A policy says of which model it is; a pattern that only covers the name stays. */
static bool rename_in_policies(struct work *w, enum referent what, struct str from, struct str to,
                               struct err *e)
{
    size_t i, max;
    yyjson_val *all, *k, *v;
    if (!entries(w, SECTION_POLICIES, &all, e))
        return false;
    yyjson_obj_foreach (all, i, max, k, v)
        if (renamed(w, what, said_by("model", v), from, to).p &&
            !rename_member(w, SECTION_POLICIES, what, "model", json_str(k), from, to, e))
            return false;
    return true;
}

/* Those named after the provider; one that is there already under the new name stays. */
static bool rename_prices(struct work *w, struct str from, struct str to, struct err *e)
{
    size_t i, max;
    yyjson_val *all, *k, *v;
    if (!entries(w, SECTION_PRICES, &all, e))
        return false;
    yyjson_obj_foreach (all, i, max, k, v) {
        struct entry_place p, other;
        struct str name = json_str(k);
        if (name.n <= from.n || !str_starts(name, from) || name.p[from.n] != '/')
            continue;
        struct str is = str_cat(w->a, to, str_skip(name, from.n));
        if (!find_entry(w, SECTION_PRICES, name, &p, e) ||
            !find_entry(w, SECTION_PRICES, is, &other, e) ||
            (!stands(&other) && !rename_entry(w, SECTION_PRICES, name, is, &p, e)))
            return false;
    }
    return true;
}

bool refs_rename(struct work *w, enum referent what, struct str from, struct str to, struct err *e)
{
    for (size_t n = 0; n < ARRAY_LEN(referring); n++) {
        enum section s = referring[n];
        size_t i, max;
        yyjson_val *all, *k, *v;
        if (!entries(w, s, &all, e))
            return false;
        yyjson_obj_foreach (all, i, max, k, v)
            if (entry_refers(w, s, what, json_str(k), v, from) &&
                !rename_in_entry(w, s, what, json_str(k), from, to, e))
                return false;
    }
    return rename_in_policies(w, what, from, to, e) &&
           (what != REFERENT_PROVIDER || rename_prices(w, from, to, e)) &&
           settings_follow(w, what, from, to, NULL, false, e);
}

static bool drop_in_entry(struct work *w, enum section s, enum referent what, struct str key,
                          struct str name, struct strs *users, struct err *e)
{
    struct entry_place p;
    size_t in_file = 0, in_store = 0;
    if (!find_entry(w, s, key, &p, e))
        return false;
    bool goes = lead_member(s) || (s == SECTION_CHAINS && renamed(w, what, key, name, STR_NONE).p);
    if (!goes) {
        struct str body = STR_NONE;
        if (p.in_file && !drop_items_in_file(w, s, what, key, name, &in_file, e))
            return false;
        if (p.in_store)
            body = rewritten(w, s, what, p.in_store, name, STR_NONE, &in_store);
        if (in_store && !put_row(w, s, key, body, e))
            return false;
        goes = in_file + in_store == 0;
    }
    if (!goes)
        return true;
    return drop_entry(w, s, key, &p, e) &&
           (s != SECTION_COMBOS || refs_drop(w, REFERENT_MODEL, key, true, users, e));
}

bool refs_drop(struct work *w, enum referent what, struct str name, bool drops, struct strs *users,
               struct err *e)
{
    for (size_t n = 0; n < ARRAY_LEN(referring); n++) {
        enum section s = referring[n];
        size_t i, max;
        yyjson_val *all, *k, *v;
        if (!entries(w, s, &all, e))
            return false;
        yyjson_obj_foreach (all, i, max, k, v) {
            if (!entry_refers(w, s, what, json_str(k), v, name))
                continue;
            add_name(w->a, users,
                     str_fmt(w->a, "%s '" STR_FMT "'", entry_kinds[s],
                             STR_ARG(str_first(json_str(k), 100))));
            if (drops && !drop_in_entry(w, s, what, json_str(k), name, users, e))
                return false;
        }
    }
    return settings_follow(w, what, name, STR_NONE, users, drops, e);
}

/* Every text in a value, also names of members: more than what refers, never less. */
static void note_texts(struct map *m, yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *one;
    if (yyjson_is_str(v))
        map_set(m, json_str(v), v);
    yyjson_arr_foreach (v, i, max, one)
        note_texts(m, one);
    yyjson_obj_foreach (v, i, max, k, one) {
        note_texts(m, k);
        note_texts(m, one);
    }
}

bool refs_named(struct work *w, const struct strs *names, struct strs *named, struct err *e)
{
    struct map texts;
    bool ok = true;
    *named = (struct strs){ARENA_ARRAY(w->a, struct str, names->n + 1), 0};
    map_init(&texts);
    for (size_t n = 0; ok && n < ARRAY_LEN(referring); n++) {
        yyjson_val *all;
        ok = entries(w, referring[n], &all, e);
        if (ok)
            note_texts(&texts, all);
    }
    for (size_t i = 0; i < ARRAY_LEN(setting_refs); i++) {
        struct str list = *(const struct str *)((const char *)&w->now->settings +
                                                setting_refs[i].at);
        while (list.n) {
            struct str one;
            list = str_cut(list, ',', &one);
            one = str_trim(one);
            if (one.n)
                map_set(&texts, one, &texts);
        }
    }
    for (size_t i = 0; ok && i < names->n; i++)
        if (map_get(&texts, names->v[i]))
            named->v[named->n++] = names->v[i];
    map_done(&texts);
    return ok;
}

/* Whether an entry is about nobody but the one of this scope. */
static bool is_only_about(struct work *w, enum section s, yyjson_val *v, enum budget_scope scope,
                          struct str id)
{
    struct budget b;
    struct err why = ERR_INIT;
    if (s == SECTION_POLICIES)
        return scope == BUDGET_KEY && str_eq(json_get_str(v, "key"), id);
    return budget_read(w->a, STR("x"), v, "", &b, &why) && b.scope == scope &&
           str_eq(b.subject, id);
}

bool refs_drop_of(struct work *w, enum budget_scope scope, struct str id, struct err *e)
{
    static const enum section sections[] = {SECTION_BUDGETS, SECTION_POLICIES};
    for (size_t n = 0; n < ARRAY_LEN(sections); n++) {
        size_t i, max;
        yyjson_val *all, *k, *v;
        if (!entries(w, sections[n], &all, e))
            return false;
        yyjson_obj_foreach (all, i, max, k, v) {
            struct entry_place p;
            if (is_only_about(w, sections[n], v, scope, id) &&
                (!find_entry(w, sections[n], json_str(k), &p, e) ||
                 !drop_entry(w, sections[n], json_str(k), &p, e)))
                return false;
        }
    }
    return true;
}

bool refs_in_use(struct work *w, const char *what, struct str name, const struct strs *users,
                 struct err *e)
{
    struct buf b;
    if (users->n == 0)
        return true;
    buf_init_arena(&b, w->a, 65536);
    for (size_t i = 0; i < users->n && i < 10; i++)
        buf_fmt(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(users->v[i]));
    if (users->n > 10)
        buf_fmt(&b, " and %zu more", users->n - 10);
    return err_set(e, ERR_CONFLICT, "in_use", "The %s '" STR_FMT "' is used by " STR_FMT, what,
                   STR_ARG(str_first(name, 100)), STR_ARG(buf_str(&b)));
}

/* ---- who goes through a proxy ---- */

static bool put_or_drop(struct work *w, const struct str *path, size_t n, struct str to,
                        struct err *e)
{
    return to.p ? work_set(w, path, n, str_json(w->a, to), e) : work_drop(w, path, n, e);
}

static bool proxy_setting(struct work *w, struct str from, struct str to, bool changes,
                          struct strs *users, struct err *e)
{
    const struct str path[] = {STR("server"), STR("proxy")};
    struct config_state s = {.text = STR_NONE};
    bool is_in_file = str_eq(json_str(work_value(w, path, 2)), from);
    if (!config_store_values(w->a, w->c->control->seal, w->db, &s.store, e))
        return false;
    bool is_in_store = str_eq(json_get_str(json_get(s.store, "server"), "proxy"), from);
    if (!is_in_file && !is_in_store)
        return true;
    add_name(w->a, users, STR("the setting 'proxy'"));
    w->changes_store |= changes && is_in_store;
    return !changes || ((!is_in_file || put_or_drop(w, path, 2, to, e)) &&
                        (!is_in_store || setting_put(w->db, path[1], to, e)));
}

/* Those that name one get its new name, or none (to.p == NULL), where it changes anything; users: who does. */
static bool proxy_refs(struct work *w, struct str from, struct str to, bool changes,
                       struct strs *users, struct err *e)
{
    struct provider_row *row;
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (work_value(w, PATH(STR("providers"))), i, max, k, v) {
        if (!str_eq(json_get_str(v, "proxy"), from))
            continue;
        add_name(w->a, users,
                 str_fmt(w->a, "provider '" STR_FMT "'", STR_ARG(str_first(json_str(k), 100))));
        if (changes && !put_or_drop(w, PATH(STR("providers"), json_str(k), STR("proxy")), to, e))
            return false;
    }
    if (!provider_list(w->db, w->a, &row, e))
        return false;
    for (; row; row = row->next) {
        if (!str_eq(row->proxy, from))
            continue;
        add_name(w->a, users,
                 str_fmt(w->a, "provider '" STR_FMT "'", STR_ARG(str_first(row->name, 100))));
        row->proxy = to;
        w->changes_store |= changes;
        if (changes && !provider_put(w->db, row, e))
            return false;
    }
    return proxy_setting(w, from, to, changes, users, e);
}

bool change_proxy_known(struct work *w, struct str said, struct err *e)
{
    struct entry_place p;
    if (w->is_lenient || !proxy_is_name(said) || str_contains(said, STR("${")))
        return true;
    return find_entry(w, SECTION_PROXIES, said, &p, e) && (stands(&p) || proxy_unknown(said, e));
}

/* ---- what an entry may say ---- */

static bool has_provider(struct work *w, struct str name, struct err *e)
{
    struct provider_row row;
    struct err why = ERR_INIT;
    if (work_value(w, PATH(STR("providers"), name)) || snapshot_upstream(w->now, name) ||
        provider_get(w->db, w->a, name, &row, &why))
        return true;
    if (why.kind != ERR_NOT_FOUND)
        *e = why;
    return false;
}

static bool leads_somewhere(struct work *w, yyjson_val *combos, struct str name)
{
    if (json_find(combos, str_z(w->a, name), name.n) || snapshot_resolve(w->now, w->a, name))
        return true;
    size_t slash = str_index(name, '/');
    for (size_t i = 0; i < w->now->n_models; i++) /* a disabled one */
        if (str_eq(w->now->models[i]->name, name))
            return true;
    return slash < name.n && snapshot_upstream(w->now, str_first(name, slash));
}

static bool unknown(struct err *e, const char *code, const char *field, const char *what,
                    struct str name)
{
    if (e->kind != ERR_NONE)
        return false;
    err_field(e, field, "There is no %s '" STR_FMT "'", what, STR_ARG(str_first(name, 100)));
    (void)snprintf(e->code, sizeof e->code, "%s", code);
    return false;
}

static bool check_members(struct work *w, const struct combo_conf *c, yyjson_val *combos,
                          struct err *e)
{
    char field[48];
    for (size_t i = 0; i < c->n_members; i++) {
        const struct member_conf *m = &c->members[i];
        (void)snprintf(field, sizeof field, "members[%zu].%s", i,
                       m->provider.n ? "provider" : "model");
        if (m->provider.n ? !has_provider(w, m->provider, e)
                          : !leads_somewhere(w, combos, m->model))
            return unknown(e, m->provider.n ? "unknown_provider" : "unknown_model", field,
                           m->provider.n ? "provider" : "model or combo",
                           m->provider.n ? m->provider : m->model);
    }
    return true;
}

static bool check_combo(struct work *w, const struct entry_change *in, yyjson_val *v, struct err *e)
{
    struct combo_conf c;
    yyjson_val *all;
    return combo_read(w->a, v, &c, e) && entries(w, SECTION_COMBOS, &all, e) &&
           combos_check(w->a, all, e) && (in->allows_unknown || check_members(w, &c, all, e));
}

static bool check_chain(struct work *w, const struct entry_change *in, yyjson_val *v, struct err *e)
{
    struct chain_link *links;
    size_t n;
    if (!chain_read(w->a, v, &links, &n, e))
        return false;
    for (size_t i = 0; !in->allows_unknown && i < n; i++)
        if (!provider_kind_find(links[i].provider) &&
            !custom_kind_find(w->now, links[i].provider) && !has_provider(w, links[i].provider, e))
            return unknown(e, "unknown_provider", "chain", "provider", links[i].provider);
    return true;
}

static bool check_alias(struct work *w, const struct entry_change *in, yyjson_val *v, struct err *e)
{
    struct alias_conf alias;
    yyjson_val *combos;
    if (!alias_read(w->a, v, &alias, e))
        return false;
    if (str_eq(alias.to, in->name) || alias_is_pattern(alias.to))
        return err_field(e, "to", "'to' must name a model or combo, and not the alias itself");
    return in->allows_unknown || (entries(w, SECTION_COMBOS, &combos, e) &&
                                  (leads_somewhere(w, combos, alias.to) ||
                                   unknown(e, "unknown_model", "to", "model or combo", alias.to)));
}

static bool check_policy(struct work *w, const struct entry_change *in, yyjson_val *v,
                         struct err *e)
{
    struct route_policy p;
    yyjson_val *combos;
    if (!route_policy_read(w->a, in->name, v, &p, e))
        return false;
    return in->allows_unknown || !p.target.n ||
           (entries(w, SECTION_COMBOS, &combos, e) &&
            (leads_somewhere(w, combos, p.target) ||
             unknown(e, "unknown_model", "target", "model or combo", p.target)));
}

static bool check_name(struct str name, struct err *e)
{
    if (name.n == 0 || name.n > 200 || !str_valid_utf8(name))
        return err_field(e, "name", "'name' must have 1 to 200 characters of UTF-8");
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 127)
            return err_field(e, "name", "'name' must not hold control characters");
    return true;
}

/* Callers know a field by its own name, not by where its entry stands. */
static bool without_place(bool ok, struct str section, struct str name, struct err *e)
{
    char place[96];
    size_t n = (size_t)snprintf(place, sizeof place, STR_FMT "." STR_FMT, STR_ARG(section),
                                STR_ARG(str_first(name, 80)));
    if (!ok && strncmp(e->field, place, n) == 0)
        memmove(e->field, e->field + n + (e->field[n] == '.'),
                strlen(e->field + n + (e->field[n] == '.')) + 1);
    return ok;
}

static bool check_entry(struct work *w, const struct entry_change *in, struct err *e)
{
    struct entry_place p;
    if (!find_entry(w, in->section, in->name, &p, e))
        return false;
    yyjson_val *v = p.in_file ? p.in_file : p.in_store;
    switch (in->section) {
    case SECTION_COMBOS:
        return check_combo(w, in, v, e);
    case SECTION_CHAINS:
        return check_chain(w, in, v, e);
    case SECTION_ALIASES:
        return check_alias(w, in, v, e);
    case SECTION_PRICES: {
        struct price_rows rows = {.n = 0};
        return without_place(price_entry_read(w->a, in->name, v, PRICE_OVERRIDE, &rows, e),
                             section_name(in->section), in->name, e);
    }
    case SECTION_BUDGETS: {
        struct budget b;
        return budget_read(w->a, in->name, v, "", &b, e);
    }
    case SECTION_POLICIES:
        return check_policy(w, in, v, e);
    case SECTION_PROXIES: {
        struct proxy one;
        return proxy_read(w->a, in->name, v, &one, e) &&
               (p.in_file || proxy_check_url(w->a, one.url, e));
    }
    }
    return true;
}

/* ---- writing one ---- */

/* The members of `was`, those of `patch` in their place or behind them, without those that are null there. */
static struct str overlaid(struct arena *a, yyjson_val *was, yyjson_val *patch)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v, *other;
    if (!yyjson_is_obj(patch))
        return json_text(a, patch);
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw out = jw_on(&b);
    jw_object(&out);
    yyjson_obj_foreach (was, i, max, k, v) {
        other = json_find(patch, yyjson_get_str(k), json_str(k).n);
        if (other && yyjson_is_null(other))
            continue;
        jw_key_str(&out, json_str(k));
        jw_val(&out, other ? other : v);
    }
    yyjson_obj_foreach (patch, i, max, k, v)
        if (!yyjson_is_null(v) && !json_find(was, yyjson_get_str(k), json_str(k).n)) {
            jw_key_str(&out, json_str(k));
            jw_val(&out, v);
        }
    jw_object_end(&out);
    return buf_str(&b);
}

static bool put_in_file(struct work *w, const struct entry_change *in, yyjson_val *was,
                        struct err *e)
{
    struct str path[3] = {section_name(in->section), in->name};
    size_t i, max;
    yyjson_val *k, *v;
    if (!yyjson_is_obj(in->value) || in->replaces)
        return work_set(w, path, 2, json_text(w->a, in->value), e);
    if (yyjson_is_str(was) && /* an alias in its short form */
        !work_set(w, path, 2,
                  str_fmt(w->a, "{\"to\":" STR_FMT "}", STR_ARG(str_json(w->a, json_str(was)))), e))
        return false;
    yyjson_obj_foreach (in->value, i, max, k, v) {
        path[2] = json_str(k);
        if (!(yyjson_is_null(v) ? work_remove(w, path, 3, e)
                                : work_set(w, path, 3, json_text(w->a, v), e)))
            return false;
    }
    return true;
}

/* The short form of an alias as an object. */
static yyjson_val *as_object(struct work *w, yyjson_val *was)
{
    yyjson_val *v;
    struct str text = yyjson_is_str(was) ? str_fmt(w->a, "{\"to\":" STR_FMT "}",
                                                   STR_ARG(str_json(w->a, json_str(was))))
                                         : STR_NONE;
    return text.p && json_parse(w->a, text, 0, &v, NULL) ? v : was;
}

static bool put_entry(struct work *w, const struct entry_change *in, const struct entry_place *p,
                      struct err *e)
{
    struct str path[] = {section_name(in->section), in->name};
    bool to_file = false;
    if (!in->value)
        return stands(p) || err_field(e, "", "an entry needs a value");
    if (p->in_file)
        return put_in_file(w, in, p->in_file, e);
    struct str json = in->replaces ? json_text(w->a, in->value)
                                   : overlaid(w->a, as_object(w, p->in_store), in->value);
    if (!p->in_store && !work_prefers_file(w, &to_file, e))
        return false;
    return to_file ? work_set(w, path, 2, json, e) : put_row(w, in->section, in->name, json, e);
}

static bool there(const char *code, enum section s, struct str name, struct err *e)
{
    return err_set(e, strcmp(code, "already_exists") == 0 ? ERR_CONFLICT : ERR_NOT_FOUND, code,
                   "There is %s %s '" STR_FMT "'",
                   strcmp(code, "already_exists") == 0 ? "already a" : "no", entry_kinds[s],
                   STR_ARG(str_first(name, 200)));
}

bool entry_stands(struct work *w, enum section s, struct str name, bool *is, struct err *e)
{
    struct entry_place p;
    *is = false;
    if (!find_entry(w, s, name, &p, e))
        return false;
    *is = stands(&p);
    return true;
}

static bool check_mode(enum change_mode mode, const struct entry_change *in, bool renames,
                       const struct entry_place *p, const struct entry_place *other, struct err *e)
{
    if (renames && !stands(p))
        return there("original_not_found", in->section, in->rename_from, e);
    if (renames)
        return !stands(other) || there("already_exists", in->section, in->name, e);
    if (mode == CHANGE_CREATE && stands(p))
        return there("already_exists", in->section, in->name, e);
    return mode != CHANGE_UPDATE || stands(p) || there("not_found", in->section, in->name, e);
}

/* A combo, or a proxy, keeps its id when its name changes. */
static bool keep_id(struct work *w, enum section section, struct str from,
                    const struct entry_place *p, struct err *e)
{
    struct str path[] = {section_name(section), from, STR("id")};
    yyjson_val *v = p->in_file ? p->in_file : p->in_store, *patch;
    if (json_get_str(v, "id").n)
        return true;
    struct proxy was = {.id = STR_NONE};
    struct err unread = ERR_INIT;
    if (section == SECTION_PROXIES && !proxy_read(w->a, from, v, &was, &unread))
        was.id = STR_NONE; /* its address is not known here */
    struct str id = str_json(w->a, was.id.n ? was.id : combo_id(w->a, from));
    if (p->in_file)
        return work_set(w, path, 3, id, e);
    return json_parse(w->a, str_fmt(w->a, "{\"id\":" STR_FMT "}", STR_ARG(id)), 0, &patch, e) &&
           put_row(w, section, from, overlaid(w->a, p->in_store, patch), e);
}

/* Who names a combo, or an alias, names it by its new name; who names an alias that a combo or model of the same name goes before means
 * that one. A pattern is nobody's name. */
static bool names_follow(struct work *w, enum section section, struct str from, struct str to,
                         struct err *e)
{
    bool is_hidden = false;
    if (section != SECTION_COMBOS && section != SECTION_ALIASES)
        return true;
    if (section == SECTION_ALIASES && str_index(from, '*') < from.n)
        return true;
    if (section == SECTION_ALIASES && (!entry_stands(w, SECTION_COMBOS, from, &is_hidden, e) ||
                                       (!is_hidden && !change_has_model(w, from, &is_hidden, e))))
        return false;
    return is_hidden ||
           (refs_rename(w, REFERENT_MODEL, from, to, e) && change_rename_in_keys(w, from, to, e));
}

static bool rename_whole(struct work *w, const struct entry_change *in, const struct entry_place *p,
                         struct err *e)
{
    struct str from = in->rename_from;
    struct strs users = {NULL, 0};
    bool is_proxy = in->section == SECTION_PROXIES;
    return ((in->section != SECTION_COMBOS && !is_proxy) || keep_id(w, in->section, from, p, e)) &&
           rename_entry(w, in->section, from, in->name, p, e) &&
           (!is_proxy || proxy_refs(w, from, in->name, true, &users, e)) &&
           names_follow(w, in->section, from, in->name, e);
}

static bool change_one(struct work *w, enum change_mode mode, const struct entry_change *in,
                       struct err *e)
{
    struct entry_place p, other = {NULL, NULL};
    bool renames = in->rename_from.n && !str_eq(in->rename_from, in->name);
    return find_entry(w, in->section, renames ? in->rename_from : in->name, &p, e) &&
           (!renames || find_entry(w, in->section, in->name, &other, e)) &&
           check_mode(mode, in, renames, &p, &other, e) &&
           (!renames ||
            (rename_whole(w, in, &p, e) && find_entry(w, in->section, in->name, &p, e))) &&
           put_entry(w, in, &p, e) && check_entry(w, in, e);
}

static bool delete_one(struct work *w, enum section section, struct str name, bool cascade,
                       struct strs *users, struct err *e)
{
    struct entry_place p;
    *users = (struct strs){NULL, 0};
    bool ok = find_entry(w, section, name, &p, e) &&
              (stands(&p) || there("not_found", section, name, e)) &&
              drop_entry(w, section, name, &p, e);
    /* a served model of the same name takes a combo's place */
    bool has_heir = false;
    ok = ok && (section != SECTION_COMBOS || change_has_model(w, name, &has_heir, e));
    if (ok && section == SECTION_COMBOS && !has_heir)
        ok = refs_drop(w, REFERENT_MODEL, name, cascade, users, e) &&
             (cascade || refs_in_use(w, "combo", name, users, e));
    if (ok && section == SECTION_PROXIES)
        ok = proxy_refs(w, name, STR_NONE, cascade, users, e) &&
             (cascade || refs_in_use(w, "proxy", name, users, e));
    return ok;
}

static bool remove_if_there(struct work *w, const struct entry_change *in, struct err *e)
{
    struct entry_place p;
    struct strs users;
    return find_entry(w, in->section, in->name, &p, e) &&
           (!stands(&p) || delete_one(w, in->section, in->name, true, &users, e));
}

bool change_entry(struct control_call *c, enum change_mode mode, const struct entry_change *in,
                  struct err *e)
{
    struct work w;
    if (mode == CHANGE_CREATE && control_was_made(c, in->name))
        return true;
    return check_name(in->name, e) && work_begin(&w, c, e) &&
           work_end(&w, change_one(&w, mode, in, e), e);
}

bool change_entries(struct control_call *c, const struct entry_change *v, size_t n, size_t *at,
                    struct err *e)
{
    struct work w;
    size_t i = 0;
    bool ok = true;
    if (!work_begin(&w, c, e))
        return false;
    for (; ok && i < n; i++)
        ok = v[i].removes ? remove_if_there(&w, &v[i], e)
                          : check_name(v[i].name, e) && change_one(&w, CHANGE_PUT, &v[i], e);
    if (at)
        *at = i - !ok;
    return work_end(&w, ok, e);
}

bool change_entry_delete(struct control_call *c, enum section section, struct str name,
                         bool cascade, struct strs *users, struct err *e)
{
    struct work w;
    *users = (struct strs){NULL, 0};
    return work_begin(&w, c, e) &&
           work_end(&w, delete_one(&w, section, name, cascade, users, e), e);
}

yyjson_val *change_value_without(struct control_call *c, const char *member, struct err *e)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v, *out;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    yyjson_obj_foreach (c->root, i, max, k, v)
        if (!str_eq(json_str(k), str_of(member))) {
            jw_key_str(&w, json_str(k));
            jw_val(&w, v);
        }
    jw_object_end(&w);
    return json_parse(c->arena, buf_str(&b), 0, &out, e) ? out : NULL;
}

bool change_entry_gone(struct control_call *c, enum section section, struct str name, bool cascade,
                       struct err *e)
{
    struct strs users;
    c->status = 204;
    return change_entry_delete(c, section, name, cascade, &users, e);
}
