#include "api/change.h"
#include "api/change_route.h"
#include "api/change_work.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/file.h"
#include "base/placeholder.h"
#include "domain/config_version.h"
#include "domain/custom_kind.h"
#include "domain/org.h"
#include "domain/proxy.h"
#include "domain/written.h"
#include "json/jsonc_edit.h"
#include "vault/entry.h"

#define MAX_FILE (64u << 20)
#define PATH(...) (const struct str[]){__VA_ARGS__}, ARRAY_LEN(((const struct str[]){__VA_ARGS__}))

static bool not_there(const char *code, const char *what, struct str name, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, code, "No %s '" STR_FMT "'", what,
                   STR_ARG(str_first(name, 200)));
}

bool work_taken(const char *what, struct str name, struct err *e)
{
    return err_set(e, ERR_CONFLICT, "already_exists", "There is already %s %s '" STR_FMT "'",
                   strchr("aeio", *what) ? "an" : "a", what, STR_ARG(str_first(name, 200)));
}

/* The entry that is meant by name and rename_from: whether it is there, and may be. */
static bool check_mode(enum change_mode mode, const char *what, struct str name, struct str from,
                       bool is_there, bool is_new_there, struct err *e)
{
    bool renames = from.n && !str_eq(from, name);
    if (renames && !is_there)
        return not_there("original_not_found", what, from, e);
    if (renames && is_new_there)
        return work_taken(what, name, e);
    if (renames)
        return true;
    if (mode == CHANGE_CREATE && is_there)
        return work_taken(what, name, e);
    return mode != CHANGE_UPDATE || is_there || not_there("not_found", what, name, e);
}

/* ---- JSON of single values ---- */

static struct str str_json(struct arena *a, struct str s)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_str(&w, s);
    return buf_str(&b);
}

static struct str int_json(struct arena *a, int64_t n)
{
    return str_fmt(a, "%lld", (long long)n);
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

static struct str scopes_json(struct arena *a, uint32_t scopes)
{
    struct buf b;
    buf_init_arena(&b, a, 256);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (const struct word *s = scope_words; s->text; s++)
        if (scopes & (uint32_t)s->value)
            jw_cstr(&w, s->text);
    jw_array_end(&w);
    return buf_str(&b);
}

static struct str time_json(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return str_json(a, buf_str(&b));
}

/* The member of an entry of the file becomes json; p == NULL: it goes. */
static bool put_member(struct work *w, const struct str *entry, size_t n, const char *name,
                       struct str json, struct err *e)
{
    struct str path[8];
    memcpy(path, entry, n * sizeof *path);
    path[n] = str_of(name);
    return json.p ? work_set(w, path, n + 1, json, e) : work_remove(w, path, n + 1, e);
}

static bool put_text(struct work *w, const struct str *entry, size_t n, const char *name,
                     struct str text, struct err *e)
{
    return put_member(w, entry, n, name, text.n ? str_json(w->a, text) : STR_NONE, e);
}

/* true is what it is without the member. */
static bool put_enabled(struct work *w, const struct str *entry, size_t n, bool is_enabled,
                        struct err *e)
{
    return put_member(w, entry, n, "enabled", is_enabled ? STR_NONE : STR("false"), e);
}

struct renaming {
    struct str from, to;
    bool is_provider; /* else a model */
};
struct renamings {
    struct renaming *v;
    size_t n;
};
static bool rename_in_keys(struct work *w, const struct renaming *r, struct err *e);

/* ---- providers ---- */

/* Where an object stands; what the file says hides what the store does. */
struct place {
    yyjson_val *entry; /* of the file; NULL: not there */
    bool is_in_store;
    bool is_given; /* built in, or found in the environment */
    enum origin from;
};

static bool stands(const struct place *p)
{
    return p->entry || p->is_in_store || p->is_given;
}

static bool find_provider(struct work *w, struct str name, struct place *p,
                          struct provider_row *row, struct err *e)
{
    struct err why = ERR_INIT;
    const struct upstream *u = snapshot_upstream(w->now, name);
    *p = (struct place){.entry = work_value(w, PATH(STR("providers"), name))};
    p->is_in_store = provider_get(w->db, w->a, name, row, &why);
    if (!p->is_in_store && why.kind != ERR_NOT_FOUND) {
        *e = why;
        return false;
    }
    /* one that does not open stays what it is: it may still be replaced */
    if (p->is_in_store && !address_opened(w->c->control->seal, w->a, row->proxy, &row->proxy, &why))
        err_clear(&why);
    if (u && !p->entry && !p->is_in_store && (u->from == ORIGIN_ENV || u->from == ORIGIN_DEFAULT)) {
        p->is_given = true;
        p->from = u->from;
    }
    return true;
}

static bool is_reference(struct str s)
{
    return placeholder_is_in(s) || str_starts(s, STR("file:"));
}

static struct str plain(struct work *w, struct str s)
{
    return placeholder_is_in(s) ? STR_NONE : placeholder_unescape(w->a, s);
}

/* Names that a path cannot carry, or that nobody can read. */
static bool check_name(struct str name, struct err *e)
{
    if (name.n == 0 || name.n > 200 || !str_valid_utf8(name))
        return err_field(e, "name", "'name' must have 1 to 200 characters of UTF-8");
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 127)
            return err_field(e, "name", "'name' must not hold control characters");
    return true;
}

static bool resolve_kind(struct work *w, struct provider_row *p, struct err *e);

/* What stands in the file now, with the fields of the change, as far as it says so itself. */
static bool check_shown_url(struct work *w, struct str text, struct err *e)
{
    struct url url;
    struct err why = ERR_INIT;
    return url_parse_address(w->a, text, &url, &why) || strcmp(why.code, "secret_in_url") != 0 ||
           err_field(e, "base_url", "'base_url' %s", why.message);
}

static bool check_file_provider(struct work *w, struct str name, struct err *e)
{
    yyjson_val *v = work_value(w, PATH(STR("providers"), name));
    struct str shim = json_get_str(v, "shim"), type = json_get_str(v, "type"),
               key = json_get_str(v, "api_key"), url = json_get_str(v, "base_url");
    struct provider_row p = {.name = name,
                             .kind = shim.n   ? shim
                                     : type.n ? type
                                              : name,
                             .base_url = plain(w, url),
                             .proxy = plain(w, json_get_str(v, "proxy")),
                             .wire = plain(w, json_get_str(v, "wire"))};
    /* what does not load is saved, and said so; but no secret where it would be shown */
    if (w->is_lenient)
        return check_name(name, e) && check_shown_url(w, url, e) && proxy_check(w->a, p.proxy, e);
    if (is_reference(p.kind))
        return true;
    if (url.n && !p.base_url.n)
        p.base_url = STR("http://placeholder");
    if (!resolve_kind(w, &p, e))
        return false;
    return provider_check(w->a, &p, secret_of(is_reference(key) ? STR_NONE : key), e) &&
           change_proxy_known(w, p.proxy, e);
}

static bool put_kind(struct work *w, const struct str *entry, const struct provider_change *in,
                     struct err *e)
{
    yyjson_val *was = work_value(w, entry, 2);
    if (str_eq(json_get_str(was, "type"), in->kind) && in->kind.n)
        return true; /* a shim beside it stays */
    if (str_eq(json_get_str(was, "shim"), in->kind) && in->kind.n)
        return true;
    return put_member(w, entry, 2, "shim", STR_NONE, e) &&
           put_text(w, entry, 2, "type", in->kind, e);
}

static bool put_more(struct work *w, const struct str *entry, const struct provider_change *in,
                     struct err *e)
{
    for (size_t i = 0; i < in->n_more; i++)
        if (!put_member(w, entry, 2, in->more[i].name, in->more[i].json, e))
            return false;
    return true;
}

/* The members of the store's row with those of the change. */
static struct str with_more(struct arena *a, struct str more, const struct provider_change *in)
{
    struct buf b;
    size_t i, max;
    yyjson_val *k, *v, *object;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    if (!more.n || !json_parse(a, more, 0, &object, NULL))
        object = NULL;
    jw_object(&w);
    yyjson_obj_foreach (object, i, max, k, v) {
        bool is_said = false;
        for (size_t n = 0; n < in->n_more; n++)
            is_said |= str_eq(json_str(k), str_of(in->more[n].name));
        if (is_said)
            continue;
        jw_key_str(&w, json_str(k));
        jw_val(&w, v);
    }
    for (size_t n = 0; n < in->n_more; n++) {
        if (!in->more[n].json.p)
            continue;
        jw_key_str(&w, str_of(in->more[n].name));
        jw_raw(&w, in->more[n].json);
    }
    jw_object_end(&w);
    return b.n > 2 ? buf_str(&b) : STR_NONE;
}

/* What a type is made from, and where it leads, when the operator made it. */
static bool resolve_kind(struct work *w, struct provider_row *p, struct err *e)
{
    struct str type = p->kind.n ? p->kind : p->name;
    yyjson_val *entry = work_value(w, PATH(STR("kinds"), type));
    struct custom_kind k;
    if (provider_kind_find(type))
        return true;
    if (!entry)
        entry = json_find(json_get(w->found.store, "kinds"), str_z(w->a, type), type.n);
    if (!entry)
        return true;
    if (!custom_kind_read(w->a, type, entry, &k, e))
        return false;
    p->kind = k.base;
    if (!p->base_url.n)
        p->base_url = k.base_url;
    return true;
}

static bool put_provider_fields(struct work *w, const struct provider_change *in, struct err *e)
{
    const struct str entry[] = {STR("providers"), in->name};
    struct str key = secret_reveal(in->api_key);
    return (!(in->given & PROVIDER_KIND) || put_kind(w, entry, in, e)) &&
           (!(in->given & PROVIDER_API_KEY) || put_text(w, entry, 2, "api_key", key, e)) &&
           (!(in->given & PROVIDER_BASE_URL) ||
            put_text(w, entry, 2, "base_url", in->base_url, e)) &&
           (!(in->given & PROVIDER_PROXY) || put_text(w, entry, 2, "proxy", in->proxy, e)) &&
           (!(in->given & PROVIDER_CA_FILE) || put_text(w, entry, 2, "ca_file", in->ca_file, e)) &&
           (!(in->given & PROVIDER_WIRE) || put_text(w, entry, 2, "wire", in->wire, e)) &&
           (!(in->given & PROVIDER_API_VERSION) ||
            put_text(w, entry, 2, "api_version", in->api_version, e)) &&
           (!(in->given & PROVIDER_ENABLED) || put_enabled(w, entry, 2, in->is_enabled, e)) &&
           (!(in->given & PROVIDER_PRIORITY) ||
            put_member(w, entry, 2, "priority",
                       in->priority ? int_json(w->a, in->priority) : STR_NONE, e)) &&
           (!(in->given & PROVIDER_WEIGHT) ||
            put_member(w, entry, 2, "weight",
                       in->weight > 1 ? int_json(w->a, in->weight) : STR_NONE, e)) &&
           (!(in->given & PROVIDER_LIMITS) ||
            put_member(w, entry, 2, "limits", limits_json(w->a, &in->limits), e)) &&
           put_more(w, entry, in, e) && check_file_provider(w, in->name, e);
}

static bool add_file_provider(struct work *w, const struct provider_change *in, struct err *e)
{
    struct buf b;
    struct provider_row p = {.kind = in->given & PROVIDER_KIND ? in->kind : STR_NONE,
                             .base_url = in->base_url,
                             .proxy = in->proxy,
                             .ca_file = in->ca_file,
                             .wire = in->wire,
                             .api_version = in->api_version,
                             .limits = limits_json(w->a, &in->limits),
                             .is_enabled = !(in->given & PROVIDER_ENABLED) || in->is_enabled,
                             .priority = in->given & PROVIDER_PRIORITY ? in->priority : 0,
                             .weight = in->given & PROVIDER_WEIGHT ? in->weight : 1,
                             .more = with_more(w->a, STR_NONE, in)};
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    provider_write(&j, &p, secret_reveal(in->api_key));
    return work_set(w, PATH(STR("providers"), in->name), buf_str(&b), e) &&
           check_file_provider(w, in->name, e);
}

static bool seal_key(struct work *w, const struct provider_change *in, struct provider_row *p,
                     struct str was, struct err *e)
{
    const struct seal *seal = w->c->control->seal;
    struct secret key = in->api_key;
    if (!(in->given & PROVIDER_API_KEY)) {
        if (!p->sealed_key.n || str_eq(was, in->name))
            return true;
        if (!seal_unwrap(seal, w->a, p->sealed_key, was, &key, e)) /* bound to the name */
            return false;
    } else if (is_reference(secret_reveal(key))) {
        return err_field(e, "api_key", "'api_key' can be ${VAR} or file:PATH in the file only");
    }
    p->sealed_key = secret_is_set(key) ? seal_wrap(seal, w->a, key, in->name) : STR_NONE;
    return true;
}

static bool put_row(struct work *w, const struct provider_row *p, struct err *e)
{
    struct provider_row kept = *p;
    kept.proxy = address_sealed(w->c->control->seal, w->a, p->proxy);
    w->changes_store = true;
    return provider_put(w->db, &kept, e);
}

static bool put_store_provider(struct work *w, const struct provider_change *in,
                               struct provider_row *p, struct err *e)
{
    struct str was = p->name;
    w->changes_store = true; /* by a rename too */
    p->name = in->name;
    if (in->given & PROVIDER_KIND)
        p->kind = in->kind.n ? in->kind : in->name;
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
    if (in->given & PROVIDER_PRIORITY)
        p->priority = in->priority;
    if (in->given & PROVIDER_WEIGHT)
        p->weight = in->weight;
    if (in->given & PROVIDER_LIMITS)
        p->limits = limits_json(w->a, &in->limits);
    if (in->n_more)
        p->more = with_more(w->a, p->more, in);
    struct provider_row meant = *p;
    return seal_key(w, in, p, was, e) && resolve_kind(w, &meant, e) &&
           provider_check(w->a, &meant,
                          in->given & PROVIDER_API_KEY ? in->api_key : secret_of(STR_NONE), e) &&
           (!(in->given & PROVIDER_PROXY) || change_proxy_known(w, in->proxy, e)) &&
           (str_eq(was, p->name) || provider_rename(w->db, was, p->name, e)) && put_row(w, p, e);
}

/* ---- targets of models ---- */

static struct str target_provider(yyjson_val *target)
{
    return yyjson_is_str(target) ? json_str(target) : json_get_str(target, "provider");
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

/* The list of targets with `from` renamed, or left out where to.p == NULL; *left counts those that stay. */
static struct str edited_targets(struct work *w, yyjson_val *list, struct str from, struct str to,
                                 size_t *left)
{
    struct buf b;
    size_t i, max, j, n;
    yyjson_val *v, *k, *member;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw out = jw_on(&b);
    *left = 0;
    jw_array(&out);
    yyjson_arr_foreach (list, i, max, v) {
        bool is_it = str_eq(target_provider(v), from);
        if (is_it && !to.p)
            continue;
        ++*left;
        if (is_it && yyjson_is_str(v)) {
            jw_str(&out, to);
        } else if (is_it) {
            jw_object(&out);
            yyjson_obj_foreach (v, j, n, k, member) {
                jw_key_str(&out, json_str(k));
                if (str_is(json_str(k), "provider"))
                    jw_str(&out, to);
                else
                    jw_val(&out, member);
            }
            jw_object_end(&out);
        } else {
            jw_val(&out, v);
        }
    }
    jw_array_end(&out);
    return buf_str(&b);
}

/* Models of the file that have the provider as a target, by name. */
static struct strs file_users(struct work *w, struct str provider)
{
    yyjson_val *all = work_value(w, PATH(STR("models"))), *k, *v;
    size_t i, max;
    struct strs out = {ARENA_ARRAY(w->a, struct str, yyjson_obj_size(all) + 1), 0};
    yyjson_obj_foreach (all, i, max, k, v) {
        yyjson_val *targets = json_get(v, "targets");
        bool is_user = targets ? refers(targets, provider) : str_eq(target_provider(v), provider);
        if (is_user)
            out.v[out.n++] = str_dup(w->a, json_str(k));
    }
    return out;
}

static bool rename_in_file(struct work *w, struct str from, struct str to, struct err *e)
{
    struct strs users = file_users(w, from);
    struct str json = str_json(w->a, to);
    work_defer(w);
    for (size_t i = 0; i < users.n; i++) {
        yyjson_val *v = work_value(w, PATH(STR("models"), users.v[i])), *one;
        yyjson_val *targets = json_get(v, "targets");
        size_t t, n;
        if (yyjson_is_str(v)) {
            if (!work_set(w, PATH(STR("models"), users.v[i]), json, e))
                return false;
        } else if (!targets) {
            if (!work_set(w, PATH(STR("models"), users.v[i], STR("provider")), json, e))
                return false;
        }
        yyjson_arr_foreach (targets, t, n, one) {
            struct str at = str_fmt(w->a, "%zu", t);
            const struct str path[] = {STR("models"), users.v[i], STR("targets"), at,
                                       STR("provider")};
            if (str_eq(target_provider(one), from) &&
                !work_set(w, path, yyjson_is_str(one) ? 4 : 5, json, e))
                return false;
        }
    }
    return work_settle(w, e);
}

static bool rename_in_store(struct work *w, struct str from, struct str to, struct err *e)
{
    struct model_row *m;
    if (!model_list(w->db, w->a, &m, e))
        return false;
    for (; m; m = m->next) {
        yyjson_val *targets;
        size_t left;
        if (!json_parse(w->a, m->targets, 8, &targets, NULL) || !refers(targets, from))
            continue;
        m->targets = edited_targets(w, targets, from, to, &left);
        w->changes_store = true;
        if (!model_put(w->db, m, e))
            return false;
    }
    return true;
}

/* Those that were read in for it. */
static bool prices_follow(struct work *w, struct str from, struct str to, struct err *e)
{
    int64_t moved;
    if (!price_store_rename(w->db, from, to, &moved, e))
        return false;
    w->changes_store |= moved > 0;
    return true;
}

static bool rename_provider(struct work *w, const struct place *p, struct str from, struct str to,
                            struct err *e)
{
    if (p->entry) {
        bool has_kind = json_get_str(p->entry, "type").n || json_get_str(p->entry, "shim").n;
        if (!work_rename(w, PATH(STR("providers"), from), to, e) ||
            /* the old name said the kind */
            (!has_kind && !work_set(w, PATH(STR("providers"), to, STR("type")),
                                    str_json(w->a, placeholder_escape(w->a, from)), e)))
            return false;
    }
    const struct renaming r = {from, to, true};
    return rename_in_file(w, from, to, e) && rename_in_store(w, from, to, e) &&
           rename_in_keys(w, &r, e) && refs_rename(w, REFERENT_PROVIDER, from, to, e) &&
           prices_follow(w, from, to, e);
}

static bool keep_shown(const char *field, struct str given, struct str shown, uint32_t bit,
                       struct provider_change *in, struct err *e)
{
    bool is_kept = false;
    if ((in->given & bit) && !secret_is_kept(field, given, shown, &is_kept, e))
        return false;
    in->given &= is_kept ? ~bit : UINT32_MAX;
    return true;
}

static bool current_key(struct work *w, const struct provider_change *in, const struct place *p,
                        const struct provider_row *row, struct secret *key, struct err *e)
{
    *key = secret_of(p->entry ? json_get_str(p->entry, "api_key") : STR_NONE);
    /* opened for a mask alone: one that cannot be opened may still be replaced */
    return p->entry || !str_contains(secret_reveal(in->api_key), STR("***")) || !p->is_in_store ||
           !row->sealed_key.n ||
           seal_unwrap(w->c->control->seal, w->a, row->sealed_key, row->name, key, e);
}

static bool keep_what_was_shown(struct work *w, struct provider_change *in, const struct place *p,
                                const struct provider_row *row, struct err *e)
{
    struct secret key;
    struct str proxy = STR_NONE, url = STR_NONE;
    if (p->entry) {
        proxy = json_get_str(p->entry, "proxy");
        url = json_get_str(p->entry, "base_url");
    } else if (p->is_in_store) {
        proxy = row->proxy;
        url = row->base_url;
    }
    return current_key(w, in, p, row, &key, e) &&
           keep_shown("api_key", secret_reveal(in->api_key), secret_mask(w->a, key),
                      PROVIDER_API_KEY, in, e) &&
           keep_shown("proxy", in->proxy, secret_mask_proxy(w->a, proxy), PROVIDER_PROXY, in, e) &&
           keep_shown("base_url", in->base_url, secret_mask_url(w->a, url), PROVIDER_BASE_URL, in,
                      e);
}

/* A new one under a name that another had before it was renamed: that one kept the id that is made of the name. */
static void give_id(struct work *w, struct provider_change *in)
{
    bool is_said = !snapshot_upstream_by_uid(w->now, uuid_of(w->a, in->name));
    for (size_t i = 0; i < in->n_more; i++)
        is_said |= strcmp(in->more[i].name, "id") == 0;
    if (is_said)
        return;
    struct provider_member *more = ARENA_ARRAY(w->a, struct provider_member, in->n_more + 1);
    if (in->n_more)
        memcpy(more, in->more, in->n_more * sizeof *more);
    more[in->n_more++] = (struct provider_member){"id", str_json(w->a, random_uuid(w->a))};
    in->more = more;
}

static bool put_provider(struct work *w, const struct provider_change *meant, struct place *p,
                         struct provider_row *row, struct err *e)
{
    bool to_file = false;
    struct provider_change given = *meant, *in = &given;
    if (!keep_what_was_shown(w, in, p, row, e))
        return false;
    if (p->entry)
        return put_provider_fields(w, in, e);
    if (p->is_in_store)
        return put_store_provider(w, in, row, e);
    give_id(w, in);
    if (!work_prefers_file(w, &to_file, e))
        return false;
    if (to_file)
        return add_file_provider(w, in, e);
    *row = (struct provider_row){.name = in->name, .kind = in->name, .is_enabled = true};
    return put_store_provider(w, in, row, e);
}

/* A renamed provider keeps its id, also one that was made of its name; where the new name makes the same one it need not be said. */
static bool keep_id(struct work *w, struct str from, const struct place *p,
                    struct provider_row *row, struct str to, struct err *e)
{
    yyjson_val *more = NULL;
    if (!p->entry && row->more.n && !json_parse(w->a, row->more, 0, &more, NULL))
        more = NULL;
    struct str said = json_get_str(p->entry ? p->entry : more, "id"),
               id = said.n ? str_dup(w->a, said) : uuid_of(w->a, from),
               json = str_eq(id, uuid_of(w->a, to)) ? STR_NONE : str_json(w->a, id);
    const struct provider_member member = {"id", json};
    const struct provider_change one = {.more = &member, .n_more = 1};
    if (p->entry)
        return put_member(w, (const struct str[]){STR("providers"), to}, 2, "id", json, e);
    if (p->is_in_store)
        row->more = with_more(w->a, row->more, &one);
    return true;
}

bool change_provider(struct control_call *c, enum change_mode mode,
                     const struct provider_change *in, struct err *e)
{
    struct work w;
    struct provider_row row, other_row;
    struct place p, other = {.entry = NULL};
    bool renames = in->rename_from.n && !str_eq(in->rename_from, in->name);
    struct str from = renames ? in->rename_from : in->name;
    if (mode == CHANGE_CREATE && control_was_made(c, in->name))
        return true;
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_provider(&w, from, &p, &row, e) &&
              (!renames || find_provider(&w, in->name, &other, &other_row, e)) &&
              check_mode(mode, "provider", in->name, in->rename_from, stands(&p), stands(&other),
                         e) &&
              (w.is_lenient || (stands(&p) && !renames) || provider_check_name(in->name, e)) &&
              (!p.is_given || control_may_change(c, p.from, "provider", from, e)) &&
              (!renames || (rename_provider(&w, &p, from, in->name, e) &&
                            keep_id(&w, from, &p, &row, in->name, e))) &&
              put_provider(&w, in, &p, &row, e);
    return work_end(&w, ok, e);
}

static void add_name(struct arena *a, struct strs *list, struct str name)
{
    list->v = arena_realloc(a, list->v, list->n * sizeof *list->v, (list->n + 1) * sizeof *list->v);
    list->v[list->n++] = name;
}

static bool drop_in_file(struct work *w, struct str provider, bool cascade, struct strs *models,
                         struct err *e)
{
    struct strs users = file_users(w, provider);
    work_defer(w);
    for (size_t i = 0; i < users.n; i++) {
        const struct str path[] = {STR("models"), users.v[i], STR("targets")};
        size_t left = 0;
        yyjson_val *targets = work_value(w, path, 3);
        if (targets)
            (void)edited_targets(w, targets, provider, STR_NONE, &left);
        if (!cascade || left == 0)
            add_name(w->a, models, users.v[i]);
        if (cascade && left == 0 && !work_drop(w, path, 2, e))
            return false;
        for (size_t t = yyjson_arr_size(targets); cascade && left && t-- > 0;) {
            const struct str one[] = {path[0], path[1], path[2], str_fmt(w->a, "%zu", t)};
            if (str_eq(target_provider(work_value(w, one, 4)), provider) &&
                !work_drop(w, one, 4, e))
                return false;
        }
    }
    return work_settle(w, e);
}

static bool drop_in_store(struct work *w, struct str provider, bool cascade, struct strs *models,
                          struct err *e)
{
    struct model_row *m;
    if (!model_list(w->db, w->a, &m, e))
        return false;
    for (; m; m = m->next) {
        yyjson_val *targets;
        size_t left;
        if (!json_parse(w->a, m->targets, 8, &targets, NULL) || !refers(targets, provider))
            continue;
        m->targets = edited_targets(w, targets, provider, STR_NONE, &left);
        if (!cascade || left == 0)
            add_name(w->a, models, m->name);
        if (!cascade)
            continue;
        w->changes_store = true;
        if (!(left ? model_put(w->db, m, e) : model_delete(w->db, m->name, e)))
            return false;
    }
    return true;
}

/* Of models that went. */
static bool drop_refs_of(struct work *w, const struct strs *models, struct err *e)
{
    struct strs named, users = {NULL, 0};
    if (!refs_named(w, models, &named, e))
        return false;
    for (size_t i = 0; i < named.n; i++)
        if (!refs_drop(w, REFERENT_MODEL, named.v[i], true, &users, e))
            return false;
    return true;
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

/* In both places: one that the file hid would come to light. The prices that were read in for it go too: who has the name next has
 * another contract. */
static bool drop_provider(struct work *w, const struct place *p, struct str name, struct err *e)
{
    int64_t prices;
    if (!price_store_drop(w->db, PRICE_PROVIDER, name, &prices, e))
        return false;
    w->changes_store |= p->is_in_store || prices > 0;
    return (!p->entry || work_drop(w, PATH(STR("providers"), name), e)) &&
           (!p->is_in_store || provider_delete(w->db, name, e));
}

bool change_provider_delete(struct control_call *c, struct str name, bool cascade,
                            struct strs *models, struct err *e)
{
    struct work w;
    struct place p;
    struct provider_row row;
    *models = (struct strs){NULL, 0};
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_provider(&w, name, &p, &row, e) &&
              (stands(&p) || not_there("not_found", "provider", name, e)) &&
              (!p.is_given || control_may_change(c, p.from, "provider", name, e)) &&
              drop_in_file(&w, name, cascade, models, e) &&
              drop_in_store(&w, name, cascade, models, e);
    if (ok && !cascade && models->n)
        ok = err_set(e, ERR_CONFLICT, "in_use",
                     "The provider '" STR_FMT "' is a target of the models " STR_FMT
                     ": delete them first",
                     STR_ARG(str_first(name, 100)), STR_ARG(name_list(w.a, models)));
    struct strs users = {NULL, 0};
    ok = ok && refs_drop(&w, REFERENT_PROVIDER, name, cascade, &users, e) &&
         (cascade || refs_in_use(&w, "provider", name, &users, e)) &&
         drop_provider(&w, &p, name, e);
    ok = ok && (!cascade || drop_refs_of(&w, models, e));
    return work_end(&w, ok, e);
}

bool change_provider_order(struct control_call *c, const struct str *names, size_t n, struct err *e)
{
    struct work w;
    bool ok = true;
    if (!work_begin(&w, c, e))
        return false;
    for (size_t i = 0; ok && i < n; i++) {
        const struct provider_change in = {
            .name = names[i], .given = PROVIDER_PRIORITY, .priority = (int64_t)i + 1};
        struct place p;
        struct provider_row row;
        ok = find_provider(&w, names[i], &p, &row, e) &&
             (p.is_given || put_provider(&w, &in, &p, &row, e));
    }
    return work_end(&w, ok, e);
}

/* ---- kinds ---- */

static bool kind_is_in_store(const struct work *w, struct str id)
{
    return json_find(json_get(w->found.store, "kinds"), str_z(w->a, id), id.n) != NULL;
}

bool change_kind(struct control_call *c, enum change_mode mode, const struct custom_kind *k,
                 struct err *e)
{
    struct work w;
    struct buf b;
    if (!work_begin(&w, c, e))
        return false;
    buf_init_arena(&b, w.a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    custom_kind_write(&j, k);
    bool to_file = work_value(&w, PATH(STR("kinds"), k->id)) != NULL,
         is_in_store = kind_is_in_store(&w, k->id);
    const struct custom_kind *other = custom_kind_find(w.now, k->prefix);
    bool ok = check_mode(mode, "kind", k->id, STR_NONE, to_file || is_in_store, false, e);
    if (ok && other && !str_eq(other->id, k->id))
        ok = err_set(e, ERR_CONFLICT, "already_exists",
                     "The prefix '" STR_FMT "' is another kind's",
                     STR_ARG(str_first(k->prefix, 100)));
    if (ok && !to_file && !is_in_store)
        ok = work_prefers_file(&w, &to_file, e);
    if (ok && to_file) {
        ok = work_set(&w, PATH(STR("kinds"), k->id), buf_str(&b), e);
    } else if (ok) {
        w.changes_store = true;
        ok = custom_kind_put(w.db, k->id, buf_str(&b), e);
    }
    return work_end(&w, ok, e);
}

bool change_kind_delete(struct control_call *c, struct str id, struct err *e)
{
    struct work w;
    struct strs models = {NULL, 0}, users = {NULL, 0};
    if (!work_begin(&w, c, e))
        return false;
    bool is_in_file = work_value(&w, PATH(STR("kinds"), id)) != NULL,
         is_in_store = kind_is_in_store(&w, id);
    bool ok = is_in_file || is_in_store || not_there("not_found", "kind", id, e);
    for (size_t i = 0; ok && i < w.now->n_upstreams; i++) {
        struct place p;
        struct provider_row row;
        struct str name = w.now->upstreams[i]->name;
        if (!str_eq(str_of(w.now->upstreams[i]->kind->id), id))
            continue;
        ok = find_provider(&w, name, &p, &row, e) &&
             (!p.is_given || control_may_change(c, p.from, "provider", name, e)) &&
             drop_in_file(&w, name, true, &models, e) &&
             drop_in_store(&w, name, true, &models, e) &&
             refs_drop(&w, REFERENT_PROVIDER, name, true, &users, e) &&
             drop_provider(&w, &p, name, e);
    }
    ok = ok && drop_in_file(&w, id, true, &models, e) && drop_in_store(&w, id, true, &models, e) &&
         (!is_in_file || work_drop(&w, PATH(STR("kinds"), id), e));
    for (size_t i = 0; ok && i < models.n; i++) /* those that went */
        ok = refs_drop(&w, REFERENT_MODEL, models.v[i], true, &users, e);
    if (ok && is_in_store) {
        w.changes_store = true;
        ok = custom_kind_delete(w.db, id, e);
    }
    return work_end(&w, ok, e);
}

bool change_provider_toggle(struct control_call *c, struct str name, bool *is_enabled,
                            struct err *e)
{
    struct work w;
    struct place p;
    struct provider_row row;
    const struct upstream *u = snapshot_upstream(c->snap, name);
    if (u && control_was_made(c, name)) { /* once is enough */
        *is_enabled = u->is_enabled;
        return true;
    }
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_provider(&w, name, &p, &row, e) &&
              (stands(&p) || not_there("not_found", "provider", name, e)) &&
              (!p.is_given || control_may_change(c, p.from, "provider", name, e));
    if (ok && p.entry) {
        *is_enabled = !json_get_bool(p.entry, "enabled", true);
        ok = put_enabled(&w, PATH(STR("providers"), name), *is_enabled, e);
    } else if (ok) {
        *is_enabled = row.is_enabled = !row.is_enabled;
        ok = put_row(&w, &row, e);
    }
    return work_end(&w, ok, e);
}

/* ---- models ---- */

static bool get_model_row(struct work *w, struct str name, struct model_row **m, struct err *e)
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

/* Disabled ones too. */
static const struct model *model_in_force(const struct work *w, struct str name)
{
    for (size_t i = 0; i < w->now->n_models; i++)
        if (str_eq(w->now->models[i]->name, name))
            return w->now->models[i];
    return NULL;
}

static bool find_model(struct work *w, struct str name, struct place *p, struct model_row **row,
                       struct err *e)
{
    *p = (struct place){.entry = work_value(w, PATH(STR("models"), name))};
    if (!get_model_row(w, name, row, e))
        return false;
    p->is_in_store = *row != NULL;
    const struct model *m = stands(p) ? NULL : model_in_force(w, name);
    if (m && (m->from == ORIGIN_ENV || m->from == ORIGIN_DEFAULT)) {
        p->is_given = true;
        p->from = m->from;
    }
    return true;
}

static bool check_targets(struct work *w, const struct model_change *in, struct err *e)
{
    if (in->n_targets == 0)
        return err_field(e, "targets", "'targets' must name at least one provider");
    for (size_t i = 0; i < in->n_targets; i++) {
        struct place p;
        struct provider_row row;
        if (!find_provider(w, in->targets[i].provider, &p, &row, e))
            return false;
        struct str name = in->targets[i].provider;
        if (stands(&p) ||
            (in->takes_pools && (custom_kind_find(w->now, name) || provider_kind_find(name))))
            continue;
        char field[48];
        (void)snprintf(field, sizeof field, "targets[%zu].provider", i);
        err_field(e, field, "There is no provider '" STR_FMT "'",
                  STR_ARG(str_first(in->targets[i].provider, 100)));
        (void)snprintf(e->code, sizeof e->code, "unknown_provider");
        return false;
    }
    return true;
}

/* What is not as usual. */
static bool is_ranked(const struct model_target *t)
{
    return t->weight > 0 || t->priority || t->price_nanousd > 0;
}

static void write_rank(struct jw *j, const struct model_target *t)
{
    if (t->weight > 0)
        jw_kv_int(j, "weight", t->weight);
    if (t->priority)
        jw_kv_int(j, "priority", t->priority);
    if (t->price_nanousd > 0)
        jw_kv_int(j, "price_nanousd", t->price_nanousd);
}

static struct str targets_json(struct work *w, const struct model_change *in)
{
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    jw_array(&j);
    for (size_t i = 0; i < in->n_targets; i++) {
        jw_object(&j);
        jw_kv_str(&j, "provider", in->targets[i].provider);
        if (in->targets[i].upstream_model.n)
            jw_kv_str(&j, "upstream_model", in->targets[i].upstream_model);
        write_rank(&j, &in->targets[i]);
        jw_object_end(&j);
    }
    jw_array_end(&j);
    return buf_str(&b);
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

static struct str count_json(struct arena *a, int64_t n)
{
    return n > 0 ? int_json(a, n) : STR_NONE;
}

/* One target reads as llm-rosetta has it, several as a list. */
static bool put_targets(struct work *w, const struct str *entry, const struct model_change *in,
                        struct err *e)
{
    yyjson_val *was = work_value(w, entry, 2);
    if (in->n_targets > 1 || is_ranked(&in->targets[0]) || json_get(was, "targets"))
        return put_member(w, entry, 2, "provider", STR_NONE, e) &&
               put_member(w, entry, 2, "upstream_model", STR_NONE, e) &&
               put_member(w, entry, 2, "targets", targets_json(w, in), e);
    return put_text(w, entry, 2, "provider", in->targets[0].provider, e) &&
           put_text(w, entry, 2, "upstream_model", in->targets[0].upstream_model, e);
}

static bool put_model_fields(struct work *w, const struct model_change *in, struct err *e)
{
    const struct str entry[] = {STR("models"), in->name};
    struct arena *a = w->a;
    yyjson_val *was = work_value(w, entry, 2);
    if (yyjson_is_str(was)) { /* "name": "provider" has no room for more */
        struct str only = json_str(was);
        bool is_same = in->n_targets == 1 && !in->targets[0].upstream_model.n &&
                       str_eq(in->targets[0].provider, only);
        if (in->given == 0 || (in->given == MODEL_TARGETS && is_same))
            return true;
        if (!work_set(w, entry, 2,
                      str_fmt(a, "{\"provider\":" STR_FMT "}", STR_ARG(str_json(a, only))), e))
            return false;
    }
    return (!(in->given & MODEL_TARGETS) || put_targets(w, entry, in, e)) &&
           (!(in->given & MODEL_CAPABILITIES) ||
            put_member(w, entry, 2, "capabilities", strs_json(a, &in->capabilities), e)) &&
           (!(in->given & MODEL_MAX_OUTPUT) ||
            put_member(w, entry, 2, "max_output_tokens", count_json(a, in->max_output_tokens),
                       e)) &&
           (!(in->given & MODEL_CONTEXT) ||
            put_member(w, entry, 2, "context_tokens", count_json(a, in->context_tokens), e)) &&
           (!(in->given & MODEL_ENABLED) || put_enabled(w, entry, 2, in->is_enabled, e)) &&
           (!(in->given & MODEL_ALIAS) ||
            put_member(w, entry, 2, "show_alias", in->show_alias ? STR("true") : STR_NONE, e)) &&
           (!(in->given & MODEL_STRATEGY) || put_text(w, entry, 2, "strategy", in->strategy, e)) &&
           (!(in->given & MODEL_LABEL) || put_text(w, entry, 2, "label", in->label, e)) &&
           (!(in->given & MODEL_SOURCE) || put_text(w, entry, 2, "source", in->source, e)) &&
           (!(in->given & MODEL_LIMITS) ||
            put_member(w, entry, 2, "limits", limits_json(a, &in->limits), e));
}

static bool add_file_model(struct work *w, const struct model_change *in, struct err *e)
{
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    jw_object(&j);
    bool is_plain = in->n_targets == 1 && !is_ranked(&in->targets[0]);
    if (is_plain) {
        jw_kv_str(&j, "provider", in->targets[0].provider);
    } else {
        jw_key(&j, "targets");
        jw_raw(&j, targets_json(w, in));
    }
    if (in->given & MODEL_CAPABILITIES) {
        jw_key(&j, "capabilities");
        jw_raw(&j, strs_json(w->a, &in->capabilities));
    }
    if (is_plain && in->targets[0].upstream_model.n)
        jw_kv_str(&j, "upstream_model", in->targets[0].upstream_model);
    if (in->given & MODEL_MAX_OUTPUT && in->max_output_tokens > 0)
        jw_kv_int(&j, "max_output_tokens", in->max_output_tokens);
    if (in->given & MODEL_CONTEXT && in->context_tokens > 0)
        jw_kv_int(&j, "context_tokens", in->context_tokens);
    if (in->given & MODEL_ENABLED && !in->is_enabled)
        jw_kv_bool(&j, "enabled", false);
    if (in->given & MODEL_ALIAS && in->show_alias)
        jw_kv_bool(&j, "show_alias", true);
    if (in->given & MODEL_STRATEGY && in->strategy.n)
        jw_kv_str(&j, "strategy", in->strategy);
    if (in->given & MODEL_LABEL && in->label.n)
        jw_kv_str(&j, "label", in->label);
    if (in->given & MODEL_SOURCE && in->source.n)
        jw_kv_str(&j, "source", in->source);
    if (in->given & MODEL_LIMITS && limits_any(&in->limits)) {
        jw_key(&j, "limits");
        jw_raw(&j, limits_json(w->a, &in->limits));
    }
    jw_object_end(&j);
    return work_set(w, PATH(STR("models"), in->name), buf_str(&b), e);
}

static bool put_store_model(struct work *w, const struct model_change *in, struct model_row *m,
                            struct err *e)
{
    struct str was = m->name;
    w->changes_store = true;
    m->name = in->name;
    if (in->given & MODEL_TARGETS)
        m->targets = targets_json(w, in);
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
    if (in->given & MODEL_STRATEGY)
        m->strategy = in->strategy;
    if (in->given & MODEL_LABEL)
        m->label = in->label;
    if (in->given & MODEL_SOURCE)
        m->source = in->source;
    if (in->given & MODEL_LIMITS)
        m->limits = limits_json(w->a, &in->limits);
    return (!was.n || str_eq(was, m->name) || model_delete(w->db, was, e)) &&
           model_put(w->db, m, e);
}

static bool put_model(struct work *w, const struct model_change *in, const struct place *p,
                      struct model_row *row, struct err *e)
{
    bool to_file = false;
    bool is_new = !stands(p);
    if ((in->given & MODEL_TARGETS || is_new) && !check_targets(w, in, e))
        return false;
    if (p->entry)
        return put_model_fields(w, in, e);
    if (p->is_in_store)
        return put_store_model(w, in, row, e);
    if (!work_prefers_file(w, &to_file, e))
        return false;
    if (to_file)
        return add_file_model(w, in, e);
    struct model_row fresh = {.is_enabled = true, .max_output_tokens = -1, .context_tokens = -1};
    return put_store_model(w, in, &fresh, e);
}

/* A target that says no model of its own asks for the name that the client calls: once that changes, it has to say the old one. */
static struct str target_named(struct work *w, yyjson_val *v, struct str name)
{
    if (json_get_str(v, "upstream_model").n)
        return json_text(w->a, v);
    if (yyjson_is_str(v))
        return str_fmt(w->a, "{\"provider\":" STR_FMT ",\"upstream_model\":" STR_FMT "}",
                       STR_ARG(str_json(w->a, json_str(v))), STR_ARG(str_json(w->a, name)));
    return json_text_with(w->a, v, STR("upstream_model"), name);
}

static bool keep_upstream_model(struct work *w, struct str name, const struct place *p,
                                struct model_row *row, struct str from, struct err *e)
{
    const struct str entry[] = {STR("models"), name};
    yyjson_val *v = p->entry ? work_value(w, entry, 2) : NULL, *list = NULL, *one;
    size_t i, n;
    if (p->is_in_store && !p->entry && !json_parse(w->a, row->targets, 8, &list, e))
        return false;
    list = p->entry ? json_get(v, "targets") : list;
    if (v && !yyjson_is_arr(list))
        return json_get_str(v, "upstream_model").n ? true
               : yyjson_is_str(v) ? work_set(w, entry, 2, target_named(w, v, from), e)
                                  : work_set(w, PATH(entry[0], name, STR("upstream_model")),
                                             str_json(w->a, from), e);
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw out = jw_on(&b);
    jw_array(&out);
    yyjson_arr_foreach (list, i, n, one) {
        struct str is = target_named(w, one, from);
        const struct str path[] = {entry[0], name, STR("targets"), str_fmt(w->a, "%zu", i)};
        if (v && !json_get_str(one, "upstream_model").n && !work_set(w, path, 4, is, e))
            return false;
        jw_raw(&out, is);
    }
    jw_array_end(&out);
    if (!v)
        row->targets = buf_str(&b);
    return true;
}

bool change_has_model(struct work *w, struct str name, bool *has, struct err *e)
{
    struct place p;
    struct model_row *row;
    *has = false;
    if (!find_model(w, name, &p, &row, e))
        return false;
    *has = stands(&p);
    return true;
}

/* Who names the model names it by its new name. Where a combo has the same name, that one was meant. */
static bool names_follow(struct work *w, struct str from, struct str to, struct err *e)
{
    const struct renaming r = {from, to, false};
    bool has_combo;
    return entry_stands(w, SECTION_COMBOS, from, &has_combo, e) &&
           (has_combo || (rename_in_keys(w, &r, e) && refs_rename(w, REFERENT_MODEL, from, to, e)));
}

bool change_model(struct control_call *c, enum change_mode mode, const struct model_change *in,
                  struct err *e)
{
    struct work w;
    struct model_row *row, *other_row;
    struct place p, other = {.entry = NULL};
    bool renames = in->rename_from.n && !str_eq(in->rename_from, in->name);
    struct str from = renames ? in->rename_from : in->name;
    if (mode == CHANGE_CREATE && control_was_made(c, in->name))
        return true;
    if (!check_model_name(in->name, e) || !work_begin(&w, c, e))
        return false;
    bool ok = find_model(&w, from, &p, &row, e) &&
              (!renames || find_model(&w, in->name, &other, &other_row, e)) &&
              check_mode(mode, "model", in->name, in->rename_from, stands(&p), stands(&other), e) &&
              (!p.is_given || control_may_change(c, p.from, "model", from, e)) &&
              (!renames || !p.entry || work_rename(&w, PATH(STR("models"), from), in->name, e)) &&
              (!renames || names_follow(&w, from, in->name, e)) &&
              (!renames || in->given & MODEL_TARGETS ||
               keep_upstream_model(&w, in->name, &p, row, from, e)) &&
              put_model(&w, in, &p, row, e);
    return work_end(&w, ok, e);
}

bool change_model_delete(struct control_call *c, struct str name, bool cascade, struct err *e)
{
    struct work w;
    struct place p;
    struct model_row *row;
    struct strs users = {NULL, 0};
    bool has_heir;
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_model(&w, name, &p, &row, e) &&
              entry_stands(&w, SECTION_COMBOS, name, &has_heir, e) &&
              (stands(&p) || not_there("not_found", "model", name, e)) &&
              (!p.is_given || control_may_change(c, p.from, "model", name, e)) &&
              (!p.entry || work_drop(&w, PATH(STR("models"), name), e)) &&
              (!p.is_in_store || model_delete(w.db, name, e)) &&
              (has_heir || (refs_drop(&w, REFERENT_MODEL, name, cascade, &users, e) &&
                            (cascade || refs_in_use(&w, "model", name, &users, e))));
    w.changes_store |= ok && p.is_in_store;
    return work_end(&w, ok, e);
}

static bool add_each(struct work *w, const struct models_add *in, struct map *seen,
                     struct strs *added, struct strs *skipped, struct err *e)
{
    for (size_t i = 0; i < in->ids.n; i++) {
        struct str name = str_fmt(w->a, STR_FMT STR_FMT, STR_ARG(in->prefix),
                                  STR_ARG(in->ids.v[i]));
        struct model_target target = {in->provider, in->prefix.n ? in->ids.v[i] : STR_NONE};
        struct model_change one = {.name = name,
                                   .given = MODEL_TARGETS |
                                            (in->source.n ? MODEL_SOURCE : MODEL_CAPABILITIES),
                                   .targets = &target,
                                   .n_targets = 1,
                                   .source = in->source,
                                   .takes_pools = in->source.n > 0,
                                   .capabilities = in->capabilities};
        struct place p;
        struct model_row *row;
        if (!check_model_name(name, e) || !find_model(w, name, &p, &row, e))
            return false;
        if (stands(&p) || map_get(seen, name)) {
            skipped->v[skipped->n++] = name;
            continue;
        }
        map_set(seen, name, seen);
        added->v[added->n++] = name;
        if (!put_model(w, &one, &p, row, e))
            return false;
    }
    return true;
}

static bool add_models(struct work *w, const struct models_add *in, struct strs *added,
                       struct strs *skipped, struct err *e)
{
    struct map seen;
    map_init(&seen);
    work_defer(w);
    bool ok = add_each(w, in, &seen, added, skipped, e);
    map_done(&seen);
    return ok && work_settle(w, e);
}

static bool drop_models(struct work *w, const struct strs *names, struct err *e)
{
    work_defer(w);
    for (size_t i = 0; i < names->n; i++) {
        struct place p;
        struct model_row *row;
        if (!find_model(w, names->v[i], &p, &row, e) ||
            (p.entry && !work_drop(w, PATH(STR("models"), names->v[i]), e)) ||
            (p.is_in_store && !model_delete(w->db, names->v[i], e)))
            return false;
        w->changes_store |= p.is_in_store;
    }
    return work_settle(w, e) && drop_refs_of(w, names, e);
}

bool change_models_add(struct control_call *c, const struct models_add *in, struct strs *added,
                       struct strs *skipped, struct err *e)
{
    struct work w;
    struct place p;
    struct provider_row row;
    *added = (struct strs){ARENA_ARRAY(c->arena, struct str, in->ids.n + 1), 0};
    *skipped = (struct strs){ARENA_ARRAY(c->arena, struct str, in->ids.n + 1), 0};
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_provider(&w, in->provider, &p, &row, e) &&
              (stands(&p) || in->source.n ||
               not_there("unknown_provider", "provider", in->provider, e)) &&
              drop_models(&w, &in->gone, e) && add_models(&w, in, added, skipped, e);
    return work_end(&w, ok, e);
}

/* ---- client keys ---- */

static struct str key_json(struct work *w, const struct key_row *k)
{
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    key_write(&j, w->a, k);
    return buf_str(&b);
}

/* The place of a key in server.api_keys, as the loader names it; SIZE_MAX: not there. */
static size_t file_key_at(struct work *w, struct str id)
{
    yyjson_val *list = work_value(w, PATH(STR("server"), STR("api_keys"))), *v;
    size_t i, max;
    yyjson_arr_foreach (list, i, max, v)
        if (str_eq(key_written_id(w->a, v), id))
            return i;
    return SIZE_MAX;
}

struct key_place {
    size_t at; /* in the file; SIZE_MAX: not there */
    bool is_in_store;
    struct key_row row;
};

static bool find_key(struct work *w, struct str id, struct key_place *p, struct err *e)
{
    struct err why = ERR_INIT;
    *p = (struct key_place){.at = file_key_at(w, id)};
    p->is_in_store = key_get(w->db, w->a, id, &p->row, &why);
    if (p->is_in_store || why.kind == ERR_NOT_FOUND)
        return true;
    *e = why;
    return false;
}

static bool key_stands(const struct key_place *p)
{
    return p->at != SIZE_MAX || p->is_in_store;
}

/* Whom it is to belong to must be there. */
static bool check_policy(struct work *w, const struct key_change *in, struct err *e)
{
    const struct str ids[HOLDER_KINDS] = {in->policy.org, in->policy.user};
    if (in->given < KEY_POLICY)
        return true;
    for (int k = 0; k < HOLDER_KINDS; k++)
        if (ids[k].n && !snapshot_holder(w->now, (enum holder_kind)k, ids[k]))
            return err_field(e, holder_word((enum holder_kind)k), "There is no %s '" STR_FMT "'",
                             holder_word((enum holder_kind)k), STR_ARG(str_first(ids[k], 100)));
    for (size_t i = 0; i < in->policy.providers.n; i++)
        if (!snapshot_upstream(w->now, in->policy.providers.v[i]))
            return err_field(e, "providers", "There is no provider '" STR_FMT "'",
                             STR_ARG(str_first(in->policy.providers.v[i], 100)));
    return key_policy_check(w->a, &in->policy, e);
}

/* The policy as JSON, with what the change says in its place. */
static struct str changed_policy(struct work *w, yyjson_val *was, const struct key_change *in)
{
    struct key_policy p;
    if (!key_policy_read(w->a, was, &p, NULL))
        p = key_policy_none;
    key_policy_merge(&p, &in->policy, in->given / KEY_POLICY);
    return key_policy_json(w->a, &p);
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
    yyjson_val *policy = NULL;
    if (in->given < KEY_POLICY)
        return;
    if (k->policy.n && !json_parse(w->a, k->policy, 0, &policy, NULL))
        policy = NULL;
    k->policy = changed_policy(w, policy, in);
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

/* server.api_key, llm-rosetta's only key once, becomes the first of server.api_keys. */
static bool migrate_legacy(struct work *w, struct err *e)
{
    yyjson_val *server = work_value(w, PATH(STR("server")));
    struct str legacy = json_get_str(server, "api_key");
    if (!legacy.n || yyjson_arr_size(json_get(server, "api_keys")) > 0)
        return true;
    struct str key = str_json(w->a, legacy);
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    buf_fmt(&b, "{\"id\":\"default\",\"key\":" STR_FMT ",\"label\":\"default\",\"created\":\"\"}",
            STR_ARG(key));
    if (!json_get(server, "api_keys") &&
        !work_set(w, PATH(STR("server"), STR("api_keys")), STR("[]"), e))
        return false;
    return work_set(w, PATH(STR("server"), STR("api_keys"), STR("-")), buf_str(&b), e) &&
           work_drop(w, PATH(STR("server"), STR("api_key")), e);
}

static bool add_file_key(struct work *w, const struct key_row *k, struct err *e)
{
    if (!work_value(w, PATH(STR("server"), STR("api_keys"))) &&
        !work_set(w, PATH(STR("server"), STR("api_keys")), STR("[]"), e))
        return false;
    return work_set(w, PATH(STR("server"), STR("api_keys"), STR("-")), key_json(w, k), e);
}

static bool add_key(struct work *w, const struct key_row *k, struct err *e)
{
    bool to_file;
    if (!work_prefers_file(w, &to_file, e))
        return false;
    if (to_file)
        return migrate_legacy(w, e) && add_file_key(w, k, e);
    work_note_key(w, k->id, STR_NONE, key_json(w, k), NULL);
    return key_insert(w->db, k, e);
}

static bool is_known_text(struct work *w, struct str text, struct err *e)
{
    return snapshot_key(w->now, text) &&
           !err_set(e, ERR_CONFLICT, "already_exists", "This key is there already");
}

static bool was_made(struct control_call *c, struct key_made *out)
{
    if (!control_was_made(c, STR_NONE))
        return false;
    *out = (struct key_made){c->made.objects.v[0], c->made.text, c->made.at_ms};
    return true;
}

/* Remembered with the change, for the same call when it comes again: nothing else knows the text. */
static void note_made(struct control_call *c, const struct key_made *k)
{
    struct str *id = ARENA_NEW(c->arena, struct str);
    *id = k->id;
    c->made = (struct call_made){{id, 1}, k->text, k->created_ms};
}

bool change_key_create(struct control_call *c, const struct key_change *in, struct key_made *out,
                       struct err *e)
{
    struct work w;
    struct key_place p;
    struct key_row k = {.id = in->id, .scopes = SCOPE_INFERENCE | SCOPE_MODELS, .is_enabled = true};
    struct str text = secret_reveal(in->text);
    if (text.n && text.n < 8)
        return err_field(e, "key", "'key' must have at least 8 characters");
    if (was_made(c, out))
        return true;
    if (!work_begin(&w, c, e))
        return false;
    if (!check_policy(&w, in, e))
        return work_end(&w, false, e);
    take_key_fields(&w, in, &k);
    struct str made = key_make(w.a, &k);
    if (text.n == 0)
        text = made;
    keep_text(&w, &k, text);
    *out = (struct key_made){k.id, text, k.created_ms};
    note_made(c, out);
    bool ok = find_key(&w, k.id, &p, e) && (!key_stands(&p) || work_taken("key", k.id, e)) &&
              !is_known_text(&w, text, e) && add_key(&w, &k, e);
    return work_end(&w, ok, e);
}

static bool put_key_text(struct work *w, const struct str *entry, const struct key_row *k,
                         struct err *e)
{
    char hex[2 * SHA256_SIZE];
    hex_encode(hex, k->hash, sizeof k->hash);
    struct str sealed = k->sealed.n ? base64_encode(w->a, k->sealed) : STR_NONE;
    return put_member(w, entry, 3, "key", STR_NONE, e) &&
           put_text(w, entry, 3, "hash", str_fmt(w->a, "sha256:%.64s", hex), e) &&
           put_text(w, entry, 3, "hint", k->hint, e) &&
           put_text(w, entry, 3, "sealed", sealed, e) &&
           put_member(w, entry, 3, "rotated", time_json(w->a, k->rotated_ms), e);
}

bool change_key_rotate(struct control_call *c, struct str id, struct secret given,
                       struct key_made *out, struct err *e)
{
    struct work w;
    struct key_place p;
    struct key_row fresh = {.id = id};
    struct str text = secret_reveal(given);
    if (was_made(c, out))
        return true;
    if (!work_begin(&w, c, e))
        return false;
    struct str made = key_make(w.a, &fresh);
    if (text.n == 0)
        text = made;
    note_made(c, &(struct key_made){id, text, fresh.created_ms});
    bool ok = find_key(&w, id, &p, e) && (key_stands(&p) || not_there("not_found", "key", id, e)) &&
              !is_known_text(&w, text, e);
    if (ok && p.at != SIZE_MAX) {
        keep_text(&w, &fresh, text);
        fresh.rotated_ms = clock_wall_ms();
        struct str at = str_fmt(w.a, "%zu", p.at);
        const struct str entry[] = {STR("server"), STR("api_keys"), at};
        struct str created = json_get_str(work_value(&w, entry, 3), "created");
        int64_t created_ms = 0;
        *out = (struct key_made){id, text,
                                 clock_parse_rfc3339(created, &created_ms) ? created_ms : 0};
        ok = put_key_text(&w, entry, &fresh, e);
    } else if (ok) {
        struct str before = key_json(&w, &p.row);
        const struct key_row was = p.row;
        keep_text(&w, &p.row, text);
        p.row.rotated_ms = clock_wall_ms();
        *out = (struct key_made){id, text, p.row.created_ms};
        work_note_key(&w, id, before, key_json(&w, &p.row), &was);
        ok = key_retext(w.db, &p.row, e);
    }
    return work_end(&w, ok, e);
}

static bool put_key_policy(struct work *w, const struct str *entry, const struct key_change *in,
                           struct err *e)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < key_policy_shape.n_fields; i++)
        if (in->given / KEY_POLICY >> i & 1)
            names[n++] = key_policy_shape.fields[i].name;
    return n == 0 || work_put_members(w, entry, 3, changed_policy(w, work_value(w, entry, 3), in),
                                      names, n, e);
}

static bool put_key_fields(struct work *w, size_t at, const struct key_change *in, struct err *e)
{
    const struct str entry[] = {STR("server"), STR("api_keys"), str_fmt(w->a, "%zu", at)};
    struct str allowed = in->allowed_models.n ? strs_json(w->a, &in->allowed_models) : STR_NONE;
    return (!(in->given & KEY_LABEL) ||
            put_member(w, entry, 3, "label", str_json(w->a, in->label), e)) &&
           (!(in->given & KEY_SCOPES) ||
            put_member(w, entry, 3, "scopes", scopes_json(w->a, in->scopes), e)) &&
           (!(in->given & KEY_ALLOWED) || put_member(w, entry, 3, "allowed_models", allowed, e)) &&
           (!(in->given & KEY_ENABLED) || put_enabled(w, entry, 3, in->is_enabled, e)) &&
           (!(in->given & KEY_EXPIRES) ||
            put_member(w, entry, 3, "expires",
                       in->expires_ms ? time_json(w->a, in->expires_ms) : STR_NONE, e)) &&
           put_key_policy(w, entry, in, e);
}

static bool put_key(struct work *w, struct key_place *p, const struct key_change *in, struct err *e)
{
    if (p->at != SIZE_MAX)
        return put_key_fields(w, p->at, in, e);
    struct str before = key_json(w, &p->row);
    const struct key_row was = p->row;
    take_key_fields(w, in, &p->row);
    work_note_key(w, in->id, before, key_json(w, &p->row), &was);
    return key_update(w->db, &p->row, e);
}

/* "name/…" is also the name of models that are not the provider's. */
static bool has_models_below(struct work *w, struct str provider)
{
    for (size_t i = 0; i < w->now->n_models; i++) {
        struct str name = w->now->models[i]->name;
        if (str_starts(name, provider) && str_index(name, '/') == provider.n)
            return true;
    }
    return false;
}

static bool is_meant(const struct renaming *r, struct str one)
{
    return r->is_provider ? str_starts(one, r->from) && str_index(one, '/') == r->from.n
                          : str_eq(one, r->from);
}

static const struct renaming *renaming_of(const struct renamings *all, struct str one)
{
    for (size_t i = 0; i < all->n; i++)
        if (is_meant(&all->v[i], one))
            return &all->v[i];
    return NULL;
}

/* The names that a key may use, with those that are meant spelled anew; false: none is. Where other models begin with a provider's old
 * name too, that stays beside. */
static bool spelled_anew(struct work *w, const struct key *k, const struct renamings *all,
                         struct strs *out)
{
    bool is_any = false;
    *out = (struct strs){ARENA_ARRAY(w->a, struct str, 2 * k->n_allowed + 1), 0};
    for (size_t i = 0; i < k->n_allowed; i++) {
        struct str one = k->allowed_models[i];
        const struct renaming *r = renaming_of(all, one);
        if (r && r->is_provider && has_models_below(w, r->from))
            out->v[out->n++] = one;
        out->v[out->n++] = !r ? one
                              : str_fmt(w->a, STR_FMT STR_FMT, STR_ARG(r->to),
                                        STR_ARG(str_skip(one, r->from.n)));
        is_any |= r != NULL;
    }
    return is_any;
}

/* The providers that a key may be served by, with renamed ones under their new names. */
static bool providers_anew(struct work *w, const struct key *k, const struct renamings *all,
                           struct strs *out)
{
    const struct strs *is = &k->policy->providers;
    bool is_any = false;
    *out = (struct strs){ARENA_ARRAY(w->a, struct str, is->n + 1), is->n};
    for (size_t i = 0; i < is->n; i++) {
        out->v[i] = is->v[i];
        for (size_t n = 0; n < all->n; n++) {
            const struct renaming *r = &all->v[n];
            if (!r->is_provider || !str_eq(is->v[i], r->from))
                continue;
            out->v[i] = r->to;
            is_any = true;
        }
    }
    return is_any;
}

static void note_renaming(struct work *w, const struct renaming *r)
{
    struct config_change *one = ARENA_NEW(w->a, struct config_change);
    struct buf b;
    buf_init_arena(&b, w->a, SIZE_MAX / 4);
    struct jw j = jw_on(&b);
    jw_object(&j);
    jw_kv_cstr(&j, "of", r->is_provider ? "provider" : "model");
    jw_kv_str(&j, "to", r->to);
    jw_object_end(&j);
    *one = (struct config_change){.next = w->renamings, .kind = "renaming", .name = r->from};
    if (!json_parse(w->a, buf_str(&b), 4, &one->after, NULL))
        one->after = NULL;
    w->renamings = one;
}

/* Keys that may use a renamed model, or what a renamed provider has, may still. */
static bool rename_all_in_keys(struct work *w, const struct renamings *all, struct err *e)
{
    for (size_t i = 0; i < all->n; i++)
        note_renaming(w, &all->v[i]);
    for (size_t i = 0; all->n && i < w->now->n_keys; i++) {
        const struct key *k = w->now->keys[i];
        struct key_change change = {.id = k->id};
        struct key_place p;
        if (k->n_allowed && spelled_anew(w, k, all, &change.allowed_models))
            change.given |= KEY_ALLOWED;
        if (k->policy->providers.n && providers_anew(w, k, all, &change.policy.providers))
            change.given |= KEY_POLICY << KEY_POLICY_PROVIDERS;
        if (!change.given)
            continue;
        if (!find_key(w, k->id, &p, e) || (key_stands(&p) && !put_key(w, &p, &change, e)))
            return false;
    }
    return true;
}

static bool rename_in_keys(struct work *w, const struct renaming *r, struct err *e)
{
    struct renaming one = *r;
    return rename_all_in_keys(w, &(struct renamings){&one, 1}, e);
}

bool work_put_key(struct work *w, const struct key_change *in, struct err *e)
{
    struct key_place p;
    return find_key(w, in->id, &p, e) && (!key_stands(&p) || put_key(w, &p, in, e));
}

bool change_rename_in_keys(struct work *w, struct str from, struct str to, struct err *e)
{
    return rename_in_keys(w, &(struct renaming){from, to, false}, e);
}

bool change_key(struct control_call *c, const struct key_change *in, struct err *e)
{
    struct work w;
    struct key_place p;
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_key(&w, in->id, &p, e) &&
              (key_stands(&p) || not_there("not_found", "key", in->id, e)) &&
              check_policy(&w, in, e) && put_key(&w, &p, in, e);
    return work_end(&w, ok, e);
}

bool change_key_delete(struct control_call *c, struct str id, struct err *e)
{
    struct work w;
    struct key_place p;
    if (!work_begin(&w, c, e))
        return false;
    bool ok = find_key(&w, id, &p, e) && (key_stands(&p) || not_there("not_found", "key", id, e));
    if (ok && p.at != SIZE_MAX)
        ok = work_drop(&w, PATH(STR("server"), STR("api_keys"), str_fmt(w.a, "%zu", p.at)), e);
    if (ok && p.is_in_store) { /* also one that the file hid */
        work_note_key(&w, id, key_json(&w, &p.row), STR_NONE, &p.row);
        ok = key_delete(w.db, id, e);
    }
    ok = ok && refs_drop_of(&w, BUDGET_KEY, id, e);
    return work_end(&w, ok, e);
}

/* ---- settings ---- */

static struct str setting_json(struct arena *a, const struct setting *row, struct str value)
{
    struct settings set;
    struct buf b;
    settings_default(&set);
    if (!setting_set(&set, row, value, NULL))
        return STR_NONE;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    setting_write(&set, row, &w);
    return buf_str(&b);
}

static bool put_setting(struct work *w, const enum origin *origins, const struct setting *row,
                        struct str value, struct err *e)
{
    struct str name = str_of(row->name);
    const struct str path[] = {STR("server"), name};
    bool to_file = false;
    enum origin from = origins[setting_index(row)];
    bool is_in_file = work_value(w, path, 2) != NULL;
    bool is_in_store = json_get(json_get(w->found.store, "server"), row->name) != NULL;
    bool ok = from != ORIGIN_ENV || control_may_change(w->c, from, "setting", name, e);
    if (ok && str_is(name, "proxy"))
        ok = proxy_check(w->a, value, e) && change_proxy_known(w, value, e);
    if (ok && value.p && !is_in_file && !is_in_store)
        ok = work_prefers_file(w, &to_file, e);
    if (ok && (is_in_file || to_file))
        ok = value.p ? work_set(w, path, 2, setting_json(w->a, row, value), e)
                     : work_remove(w, path, 2, e);
    /* not to come to light behind the file's */
    bool drops = is_in_store && !value.p;
    bool puts = value.p && !is_in_file && (is_in_store || !to_file);
    if (ok && (drops || puts)) {
        w->changes_store = true;
        ok = config_setting_put(w->a, w->c->control->seal, w->db, name, value, e);
    }
    return ok;
}

bool change_settings(struct control_call *c, const struct setting_value *v, size_t n, struct err *e)
{
    struct work w;
    struct settings probe;
    settings_default(&probe);
    for (size_t i = 0; i < n; i++)
        if (v[i].row->is_deployed)
            return err_set(e, ERR_CONFLICT, "read_only",
                           "'%s' is set in the configuration file or the environment only",
                           v[i].row->name);
        else if (v[i].value.p && !setting_set(&probe, v[i].row, v[i].value, e))
            return false;
    if (!work_begin(&w, c, e))
        return false;
    enum origin *origins = ARENA_ARRAY(c->arena, enum origin, setting_count());
    c->control->setting_origins(c->control->arg, origins);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = put_setting(&w, origins, v[i].row, v[i].value, e);
    return work_end(&w, ok, e);
}

bool change_setting(struct control_call *c, const struct setting *row, struct str value,
                    struct err *e)
{
    const struct setting_value one = {row, value};
    return change_settings(c, &one, 1, e);
}

/* ---- versions ---- */

static bool same_json(yyjson_val *x, yyjson_val *y)
{
    return x && y ? json_equal(x, y) : x == y;
}

/* A member of "server" in the text becomes what it is now. */
static bool keep_member(struct work *w, const char *name, struct str *text, yyjson_val *then,
                        struct err *e)
{
    const struct str path[] = {STR("server"), str_of(name)};
    yyjson_val *now = work_value(w, path, 2), *was = json_get(json_get(then, "server"), name);
    if (same_json(now, was))
        return true;
    return now ? jsonc_set(w->a, *text, path, 2, json_text(w->a, now), text, e)
               : jsonc_remove(w->a, *text, path, 2, text, e);
}

/* The keys of the text become those of now, one by one: the comments of those that stay stay too. */
static bool keep_keys(struct work *w, struct str *text, yyjson_val *then, struct err *e)
{
    yyjson_val *now = work_value(w, PATH(STR("server"), STR("api_keys"))), *v;
    yyjson_val *was = json_get(json_get(then, "server"), "api_keys");
    size_t n = yyjson_arr_size(was), i, max;
    if (same_json(now, was))
        return true;
    if (!yyjson_is_arr(was) || !yyjson_is_arr(now))
        return keep_member(w, "api_keys", text, then, e);
    yyjson_arr_foreach (now, i, max, v) {
        const struct str path[] = {STR("server"), STR("api_keys"),
                                   i < n ? str_fmt(w->a, "%zu", i) : STR("-")};
        if (i < n && json_equal(yyjson_arr_get(was, i), v))
            continue;
        if (!jsonc_set(w->a, *text, path, 3, json_text(w->a, v), text, e))
            return false;
    }
    for (i = n; i > max; i--)
        if (!jsonc_remove(w->a, *text,
                          PATH(STR("server"), STR("api_keys"), str_fmt(w->a, "%zu", i - 1)), text,
                          e))
            return false;
    return true;
}

static bool restore_file(struct work *w, const struct config_state *to, struct err *e)
{
    struct str text = to->text;
    if (!w->path != !to->text.p)
        return err_set(e, ERR_CONFLICT, "other_place",
                       "That version was made %s a configuration file, sluice runs now %s one",
                       to->text.p ? "with" : "without", w->path ? "with" : "without");
    if (!w->path)
        return true;
    if (!keep_keys(w, &text, to->file, e) || !keep_member(w, "api_key", &text, to->file, e) ||
        !keep_member(w, "admin_password", &text, to->file, e))
        return false;
    return work_replace(w, text, e);
}

/* What was renamed since, the other way round: newest first, so that of a -> b -> c comes c -> a. */
static void add_reversed(struct work *w, struct str changes, struct renamings *all)
{
    yyjson_val *list, *one;
    size_t i, max;
    if (!json_parse(w->a, changes, 0, &list, NULL))
        return;
    yyjson_arr_foreach (list, i, max, one) {
        yyjson_val *how = json_get(one, "after");
        if (!str_is(json_get_str(one, "kind"), "renaming") || !how)
            continue;
        struct renaming r = {.from = json_get_str(how, "to"),
                             .to = json_get_str(one, "name"),
                             .is_provider = str_is(json_get_str(how, "of"), "provider")};
        size_t at = 0;
        while (at < all->n &&
               !(all->v[at].is_provider == r.is_provider && str_eq(all->v[at].to, r.from)))
            at++;
        if (at < all->n) {
            all->v[at].to = r.to;
            continue;
        }
        all->v = arena_realloc(w->a, all->v, all->n * sizeof r, (all->n + 1) * sizeof r);
        all->v[all->n++] = r;
    }
}

static bool names_return(struct work *w, const struct renamings *all, struct err *e)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].is_provider && !prices_follow(w, all->v[i].from, all->v[i].to, e))
            return false;
    return rename_all_in_keys(w, all, e);
}

/* Keys stay as they are but for the names: what they name must be found under the one that it has again. */
static bool rename_back(struct work *w, int64_t id, struct err *e)
{
    struct renamings all = {NULL, 0};
    struct version_filter f = {.limit = 100};
    for (bool is_more = true; is_more;) {
        struct version_row *v;
        size_t n;
        if (!version_list(w->db, w->a, &f, &v, &n, e))
            return false;
        is_more = n == (size_t)f.limit;
        for (size_t i = 0; i < n; i++) {
            if (v[i].id <= id)
                return names_return(w, &all, e);
            add_reversed(w, v[i].changes, &all);
            f.beyond_id = v[i].id;
        }
    }
    return names_return(w, &all, e);
}

bool change_rollback(struct control_call *c, int64_t id, struct err *e)
{
    struct work w;
    struct version_row v;
    struct config_state to;
    const struct seal *seal = c->control->seal;
    if (!work_begin(&w, c, e))
        return false;
    bool ok = version_get(w.db, w.a, id, &v, e) && config_unpack(w.a, seal, v.state, &to, e) &&
              restore_file(&w, &to, e) && config_store_put(w.a, seal, w.db, to.store, e) &&
              rename_back(&w, v.id, e);
    w.changes_store = ok;
    w.what = str_fmt(w.a, "rolled back to version %lld", (long long)id);
    return work_end(&w, ok, e);
}

/* ---- reading ---- */

bool change_view(struct control_call *c, yyjson_val **root, struct err *e)
{
    yyjson_val *file;
    return change_view_both(c, root, &file, e);
}

bool change_view_both(struct control_call *c, yyjson_val **root, yyjson_val **file, struct err *e)
{
    struct config_state s = {.text = STR_NONE};
    struct db *db = control_db(c, e);
    const char *path = c->control->config_path.n ? str_z(c->arena, c->control->config_path) : NULL;
    bool ok = db &&
              (!path || (file_read(c->arena, path, MAX_FILE, &s.text, e) &&
                         config_file_values(c->arena, path, s.text, &s.file, e))) &&
              config_store_values(c->arena, c->control->seal, db, &s.store, e) &&
              config_merged(c->arena, &s, db, root, e);
    *file = s.file;
    return ok;
}
