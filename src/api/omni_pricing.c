/* omni_pricing.c - /api/pricing: what models cost in five numbers, USD for a million tokens, by provider and model; what is set there is
 * an override of sluice's prices, whose other parts it leaves alone. And the price feed, where a setting names one. */
#include "api/change_route.h"
#include "api/omni.h"
#include "api/prices.h"
#include "base/clock.h"
#include "http/fetch.h"
#include "wire/wires.h"

#define FEED_TIMEOUT_MS 60000
#define MAX_FEED (64u << 20)
#define FEED_STATE "price_feed"

/* OmniRoute's five parts and sluice's. */
static const struct {
    const char *theirs;
    enum price_part ours;
} parts[] = {{"input", PRICE_INPUT},
             {"output", PRICE_OUTPUT},
             {"cached", PRICE_CACHE_READ},
             {"reasoning", PRICE_REASONING},
             {"cache_creation", PRICE_CACHE_WRITE_5M}};

/* ---- what is shown: {"provider":{"model":{…}}} ---- */

static const struct shape pricing_shape = {.name = "struct pricing"};

struct listed {
    struct str provider, model;
    const struct price *price;
};
struct listing {
    struct arena *arena;
    struct map seen; /* "provider/model" */
    struct listed *v;
    size_t n, cap;
};

static void add(struct listing *l, struct str provider, struct str model, const struct price *p)
{
    struct str key = str_fmt(l->arena, STR_FMT "/" STR_FMT, STR_ARG(provider), STR_ARG(model));
    if (!p || map_get(&l->seen, key))
        return;
    if (l->n == l->cap) {
        size_t cap = l->cap * 2 + 64;
        l->v = arena_realloc(l->arena, l->v, l->cap * sizeof *l->v, cap * sizeof *l->v);
        l->cap = cap;
    }
    l->v[l->n++] = (struct listed){provider, model, p};
    map_set(&l->seen, key, (void *)(uintptr_t)p);
}

/* Those that hold, of one source or of all: the first of them that knows a model. */
static void add_book(struct listing *l, const struct snapshot *s, const enum price_source *only,
                     int64_t now_ms)
{
    const struct price *const *rows;
    size_t n = s->prices ? price_book_rows(s->prices, l->arena, &rows) : 0;
    for (size_t i = 0; i < n; i++)
        if ((!only || rows[i]->source == *only) && rows[i]->valid_from_ms <= now_ms)
            add(l, rows[i]->provider, rows[i]->model, rows[i]);
}

/* What is served, under the names that clients ask for. */
static void add_served(struct listing *l, const struct snapshot *s, int64_t now_ms)
{
    for (size_t i = 0; i < s->n_models; i++)
        for (size_t t = 0; t < s->models[i]->n_targets; t++) {
            const struct target *at = &s->models[i]->targets[t];
            add(l, omni_prefix_of(s, at->upstream), at->model, price_at(at->prices, now_ms));
        }
}

static void write_price(struct jw *w, struct arena *a, const struct price *p)
{
    yyjson_val *root = NULL;
    if (!json_parse(a, p->text, 0, &root, NULL))
        root = NULL;
    yyjson_val *price = json_get(root, "price");
    jw_object(w);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *name = price_part_names[parts[i].ours];
        yyjson_val *v = json_find(price, name, strlen(name));
        if (v) {
            jw_key(w, parts[i].theirs);
            jw_val(w, v);
        }
    }
    jw_object_end(w);
}

static bool reply_pricing(struct control_call *c, const struct snapshot *s,
                          const enum price_source *only)
{
    struct listing l = {.arena = c->arena};
    struct jw w = jw_on(&c->out);
    int64_t now_ms = clock_wall_ms();
    map_init(&l.seen);
    if (!only)
        add_served(&l, s, now_ms);
    add_book(&l, s, only, now_ms);
    map_done(&l.seen);
    map_init(&l.seen); /* of providers, now */
    jw_object(&w);
    for (size_t i = 0; i < l.n; i++) {
        if (map_get(&l.seen, l.v[i].provider))
            continue;
        map_set(&l.seen, l.v[i].provider, &l);
        jw_key_str(&w, l.v[i].provider);
        jw_object(&w);
        for (size_t k = i; k < l.n; k++)
            if (str_eq(l.v[k].provider, l.v[i].provider)) {
                jw_key_str(&w, l.v[k].model);
                write_price(&w, c->arena, l.v[k].price);
            }
        jw_object_end(&w);
    }
    jw_object_end(&w);
    map_done(&l.seen);
    return true;
}

static bool get(struct control_call *c, struct err *e)
{
    (void)e;
    return reply_pricing(c, c->snap, NULL);
}

static bool defaults(struct control_call *c, struct err *e)
{
    static const enum price_source shipped = PRICE_SHIPPED;
    (void)e;
    return reply_pricing(c, c->snap, &shipped);
}

static bool reply_now(struct control_call *c, const enum price_source *only)
{
    struct snapshot *now = snapshot_current();
    bool ok = reply_pricing(c, now, only);
    snapshot_unref(now);
    return ok;
}

/* ---- what is set ---- */

/* What a price is kept under: a connection's name, or the id of a kind. kind: of which it is, for looking up what it was. */
static bool provider_of(struct control_call *c, struct str said, struct str *name, struct str *kind,
                        struct err *e)
{
    const struct custom_kind *node;
    const struct provider_kind *k = omni_kind(c->snap, said, &node);
    const struct upstream *u = omni_connection(c->snap, said);
    if (str_is(said, "*")) {
        *name = *kind = said;
        return true;
    }
    if (!k && !u)
        return err_field(e, "provider", "There is no provider '" STR_FMT "'",
                         STR_ARG(str_first(said, 100)));
    *name = u ? u->name : str_of(k->id);
    *kind = u ? str_of(u->kind->id) : *name;
    return true;
}

static size_t overrides_of(struct control_call *c, struct str provider, struct str model)
{
    const struct price *const *rows;
    size_t found = 0, n = c->snap->prices ? price_book_rows(c->snap->prices, c->arena, &rows) : 0;
    for (size_t i = 0; i < n; i++)
        found += rows[i]->source == PRICE_OVERRIDE && str_eq(rows[i]->provider, provider) &&
                 str_eq(rows[i]->model, model);
    return found;
}

/* The parts that were given, and of the others what holds now. */
static bool write_override(struct control_call *c, struct jw *w, struct str provider,
                           struct str kind, struct str model, yyjson_val *given, struct err *e)
{
    int64_t now_ms = clock_wall_ms();
    const struct price *const *list = c->snap->prices ? price_find(c->snap->prices, c->arena,
                                                                   provider, kind, model, now_ms)
                                                      : NULL;
    const struct price *was = price_at(list, now_ms);
    yyjson_val *root = NULL, *k, *v;
    bool is_ours[PRICE_PARTS] = {false};
    size_t i, max;
    if (overrides_of(c, provider, model) > 1)
        return err_field(e, "model",
                         "'" STR_FMT "' has prices that change at their time: /sluice/v1/prices "
                         "sets those",
                         STR_ARG(str_first(model, 100)));
    jw_object(w);
    yyjson_obj_foreach (given, i, max, k, v) {
        size_t p = 0;
        while (p < ARRAY_LEN(parts) && !str_eq(json_str(k), str_of(parts[p].theirs)))
            p++;
        if (p == ARRAY_LEN(parts))
            return err_field(e, json_str(k).n < 40 ? yyjson_get_str(k) : "price",
                             "Unknown price '" STR_FMT "': there are input, output, cached, "
                             "reasoning and cache_creation",
                             STR_ARG(str_first(json_str(k), 40)));
        if (!json_is_number(v) || yyjson_is_null(v))
            return err_field(e, parts[p].theirs, "'%s' must be a number", parts[p].theirs);
        is_ours[parts[p].ours] = true;
        jw_key(w, price_part_names[parts[p].ours]);
        jw_val(w, v);
    }
    if (was && !json_parse(c->arena, was->text, 0, &root, NULL))
        root = NULL;
    yyjson_obj_foreach (json_get(root, "price"), i, max, k, v) {
        bool stays = !str_is(json_str(k), "valid_from") && !str_is(json_str(k), "note");
        for (size_t p = 0; p < PRICE_PARTS; p++)
            stays &= !(is_ours[p] && str_eq(json_str(k), str_of(price_part_names[p])));
        if (!stays)
            continue;
        jw_key_str(w, json_str(k));
        jw_val(w, v);
    }
    jw_object_end(w);
    return true;
}

static bool at(struct err *e, struct str provider, struct str model)
{
    char was[64];
    (void)snprintf(was, sizeof was, "%.60s", e->field);
    (void)snprintf(e->field, sizeof e->field, "%.*s.%.*s%s%.20s",
                   (int)(provider.n < 30 ? provider.n : 30), provider.p,
                   (int)(model.n < 40 ? model.n : 40), model.p, was[0] ? "." : "", was);
    return false;
}

static bool make_override(struct control_call *c, struct str said, struct str model,
                          yyjson_val *given, struct entry_change *out, struct err *e)
{
    struct str provider, kind;
    struct buf b;
    if (!yyjson_is_obj(given) || !yyjson_obj_size(given))
        return err_field(e, "", "the prices of a model must be an object that is not empty");
    if (!provider_of(c, said, &provider, &kind, e))
        return false;
    buf_init_arena(&b, c->arena, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    *out = (struct entry_change){
        .section = SECTION_PRICES,
        .name = str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(provider), STR_ARG(model)),
        .replaces = true};
    return write_override(c, &w, provider, kind, model, given, e) &&
           json_parse(c->arena, buf_str(&b), 0, &out->value, e);
}

static bool set(struct control_call *c, struct err *e)
{
    static const enum price_source override = PRICE_OVERRIDE;
    yyjson_val *provider, *models, *model, *given;
    struct entry_change *all;
    size_t i, max, k, m, n = 0, failed = 0, room = 1;
    yyjson_obj_foreach (c->root, i, max, provider, models) {
        if (!yyjson_is_obj(models))
            return err_field(e, yyjson_get_len(provider) < 90 ? yyjson_get_str(provider) : "body",
                             "the prices of a provider must be an object of its models");
        room += yyjson_obj_size(models);
    }
    all = ARENA_ARRAY(c->arena, struct entry_change, room);
    yyjson_obj_foreach (c->root, i, max, provider, models)
        yyjson_obj_foreach (models, k, m, model, given)
            if (!make_override(c, json_str(provider), json_str(model), given, &all[n++], e))
                return at(e, json_str(provider), json_str(model));
    if (!n)
        return err_field(e, "body", "Give at least one price");
    if (!change_entries(c, all, n, &failed, e)) {
        if (e->field[0] && failed < n)
            (void)snprintf(e->field, sizeof e->field, "%.90s", str_z(c->arena, all[failed].name));
        return false;
    }
    return reply_now(c, &override);
}

struct drop_query {
    struct str provider, model;
};
static const struct shape drop_query_shape = SHAPE(
    struct drop_query, FIELD(struct drop_query, provider, 0, "Only what is set for this one"),
    FIELD(struct drop_query, model, 0, "Only this model of it"));

static bool drop(struct control_call *c, struct err *e)
{
    const struct drop_query *q = c->asked;
    const struct price *const *rows;
    struct str provider = STR_NONE, kind;
    size_t found = 0, n = c->snap->prices ? price_book_rows(c->snap->prices, c->arena, &rows) : 0;
    struct entry_change *all = ARENA_ARRAY(c->arena, struct entry_change, n + 1);
    if (q->model.n && !q->provider.n)
        return err_field(e, "provider", "'provider' is required with 'model'");
    if (q->provider.n && !provider_of(c, q->provider, &provider, &kind, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (rows[i]->source == PRICE_OVERRIDE &&
            (!provider.n || str_eq(rows[i]->provider, provider)) &&
            (!q->model.n || str_eq(rows[i]->model, q->model)))
            all[found++] = (struct entry_change){.section = SECTION_PRICES,
                                                 .name = str_fmt(c->arena, STR_FMT "/" STR_FMT,
                                                                 STR_ARG(rows[i]->provider),
                                                                 STR_ARG(rows[i]->model)),
                                                 .removes = true};
    return (!found || change_entries(c, all, found, NULL, e)) && reply_now(c, NULL);
}

/* ---- what prices can be given for ---- */

static void write_model(struct jw *w, struct str id, struct str name, bool is_custom)
{
    jw_object(w);
    jw_kv_str(w, "id", id);
    jw_kv_str(w, "name", name);
    jw_kv_bool(w, "custom", is_custom);
    jw_object_end(w);
}

/* What is served there, and what the book knows of its kind by name. */
static void write_models(struct control_call *c, struct jw *w, struct str prefix,
                         const struct upstream *u)
{
    const struct snapshot *s = c->snap;
    const struct price *const *rows;
    size_t n_rows = s->prices ? price_book_rows(s->prices, c->arena, &rows) : 0;
    int64_t count = 0;
    struct map seen;
    map_init(&seen);
    jw_key(w, "models");
    jw_array(w);
    for (size_t i = 0; i < s->n_models; i++)
        for (size_t t = 0; t < s->models[i]->n_targets; t++) {
            const struct model *m = s->models[i];
            struct str id = m->targets[t].model;
            if (!str_eq(omni_prefix_of(s, m->targets[t].upstream), prefix) || map_get(&seen, id))
                continue;
            map_set(&seen, id, w);
            write_model(w, id, m->label.n ? m->label : id, str_is(m->source, "manual"));
            count++;
        }
    for (size_t i = 0; i < n_rows; i++) {
        struct str id = rows[i]->model;
        if (!str_eq(rows[i]->provider, str_of(u->kind->id)) || str_index(id, '*') < id.n ||
            map_get(&seen, id))
            continue;
        map_set(&seen, id, w);
        write_model(w, id, id, false);
        count++;
    }
    jw_array_end(w);
    jw_kv_int(w, "modelCount", count);
    map_done(&seen);
}

static bool models(struct control_call *c, struct err *e)
{
    const struct snapshot *s = c->snap;
    struct jw w = jw_on(&c->out);
    struct map seen;
    (void)e;
    map_init(&seen);
    jw_object(&w);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        struct str prefix = omni_prefix_of(s, u);
        if (map_get(&seen, prefix))
            continue;
        map_set(&seen, prefix, &w);
        jw_key_str(&w, prefix);
        jw_object(&w);
        jw_kv_str(&w, "id", omni_provider_of(u));
        jw_kv_str(&w, "alias", prefix);
        jw_key(&w, "name");
        jw_str(&w, str_of(u->kind->title));
        jw_kv_cstr(&w, "authType", "apikey");
        jw_key(&w, "format");
        jw_str(&w, str_of(wire_of(u->wires[0] == WIRE_NONE ? WIRE_CHAT : u->wires[0])->name));
        write_models(c, &w, prefix, u);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    map_done(&seen);
    return true;
}

/* ---- the price feed ---- */

struct feed_in {
    yyjson_val *sources;
    bool dry;
};
struct feed_out {
    bool enabled;
    struct str url, last;
    int64_t models;
};
struct fetched_out {
    bool success, dry;
    struct str format;
    int64_t models, changed, skipped;
};
struct dropped_out {
    bool success;
    int64_t removed;
};
/* clang-format off */
static const struct shape feed_in_shape = SHAPE(struct feed_in,
    FIELD(struct feed_in, sources, 0, "Not taken: the setting price_feed_url says which"),
    FIELD_AS(struct feed_in, dry, "dryRun", NULL, 0, "true: it is read and not kept"));
static const struct shape feed_shape = SHAPE(struct feed_out,
    FIELD(struct feed_out, enabled, 0, "Whether the setting price_feed_url names one"),
    FIELD(struct feed_out, url, NULL_EMPTY, "Which"),
    FIELD_AS(struct feed_out, last, "lastSync", NULL, NULL_EMPTY, "When it was fetched last; null: never"),
    FIELD_AS(struct feed_out, models, "modelCount", NULL, 0, "Prices that it stated then"));
static const struct shape fetched_shape = SHAPE(struct fetched_out,
    FIELD(struct fetched_out, success, 0, "true"),
    FIELD_AS(struct fetched_out, dry, "dryRun", NULL, 0, "Whether it was not kept"),
    FIELD(struct fetched_out, format, 0, "litellm, openrouter or sluice"),
    FIELD_AS(struct fetched_out, models, "modelCount", NULL, 0, "Prices that it states"),
    FIELD_AS(struct fetched_out, changed, "changedCount", NULL, 0, "Of these, how many differ from what was known"),
    FIELD_AS(struct fetched_out, skipped, "skippedCount", NULL, 0, "Entries that state no usable price, and members of others that were left out"));
static const struct shape dropped_shape = SHAPE(struct dropped_out,
    FIELD(struct dropped_out, success, 0, "true"),
    FIELD(struct dropped_out, removed, 0, "Prices that are gone: of all lists that were read in for no provider"));
/* clang-format on */

static bool feed(struct control_call *c, struct err *e)
{
    struct str url = c->snap->settings.price_feed_url;
    yyjson_val *was;
    if (!omni_kept(c, FEED_STATE, &was, e))
        return false;
    struct feed_out out = {url.n > 0, url, omni_time(c->arena, json_get_int(was, "at", 0)),
                           json_get_int(was, "models", 0)};
    return control_reply(c, 200, &feed_shape, &out);
}

static bool keep_state(struct control_call *c, int64_t rows, struct err *e)
{
    return omni_keep(c, FEED_STATE,
                     str_fmt(c->arena, "{\"at\":%lld,\"models\":%lld}", (long long)clock_wall_ms(),
                             (long long)rows),
                     e);
}

static bool fetch_feed(struct control_call *c, struct price_rows *rows, struct err *e)
{
    const struct settings *set = &c->snap->settings;
    struct price_import how = {.source = PRICE_LIST, .valid_from_ms = clock_wall_ms()};
    struct fetched reply;
    yyjson_val *root;
    struct fetch f = {.method = HTTP_GET,
                      .url = set->price_feed_url,
                      .proxy = set->proxy_url,
                      .timeout_ms = FEED_TIMEOUT_MS,
                      .max_bytes = MAX_FEED,
                      .is_cancelled = c->control->is_stopping,
                      .allow_private = true}; /* the operator's own setting says where */
    if (!fetch_run(c->arena, &f, &reply, e))
        return false;
    if (reply.status != 200)
        return err_set(e, ERR_UPSTREAM, "price_feed_failed", "The price feed answered %d",
                       reply.status);
    how.provenance = str_fmt(c->arena, STR_FMT ", %.*s",
                             STR_ARG(str_first(set->price_feed_url, 200)), 10,
                             omni_time(c->arena, how.valid_from_ms).p);
    struct err why = ERR_INIT;
    if (json_parse(c->arena, reply.body, 0, &root, &why) &&
        price_list_read(c->arena, root, &how, rows, &why))
        return true;
    return err_set(e, ERR_UPSTREAM, "price_feed_failed", "The price feed cannot be read: %.300s",
                   why.message);
}

static bool sync_feed(struct control_call *c, struct err *e)
{
    const struct feed_in *in = c->in;
    struct price_rows rows = {.n = 0};
    struct fetched_out out = {.success = true, .dry = in->dry};
    if (!json_absent(in->sources) && yyjson_arr_size(in->sources))
        return err_field(e, "sources",
                         "'sources' is not supported: the setting price_feed_url "
                         "says which");
    if (!c->snap->settings.price_feed_url.n)
        return err_set(e, ERR_INPUT, "no_price_feed", "No price feed: set price_feed_url");
    if (!fetch_feed(c, &rows, e) || (!in->dry && (!prices_put(c, &rows, &out.changed, e) ||
                                                  !keep_state(c, (int64_t)rows.n, e))))
        return false;
    out.format = str_of(rows.format);
    out.models = (int64_t)rows.n;
    out.skipped = (int64_t)rows.n_skipped;
    return control_reply(c, 200, &fetched_shape, &out);
}

static bool forget_feed(struct control_call *c, struct err *e)
{
    struct dropped_out out = {.success = true};
    return prices_forget(c, STR_NONE, &out.removed, e) && omni_keep(c, FEED_STATE, STR("{}"), e) &&
           control_reply(c, 200, &dropped_shape, &out);
}

/* clang-format off */
const struct endpoint omni_pricing_endpoints[] = {
    { HTTP_GET,    "/api/pricing",          SURFACE_OMNIROUTE, ACCESS_VIEWER, "What models cost, by provider", .on_worker = get, .out = &pricing_shape },
    { HTTP_POST,   "/api/pricing",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Set prices; parts that are not given stay as they are", .on_worker = set, .in = &pricing_shape, .out = &pricing_shape },
    { HTTP_PATCH,  "/api/pricing",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Set prices, as POST", .on_worker = set, .in = &pricing_shape, .out = &pricing_shape },
    { HTTP_DELETE, "/api/pricing",          SURFACE_OMNIROUTE, ACCESS_ADMIN, "Go back to what lists say: of a model, a provider, or all", .on_worker = drop, .query = &drop_query_shape, .out = &pricing_shape },
    { HTTP_GET,    "/api/pricing/defaults", SURFACE_OMNIROUTE, ACCESS_VIEWER, "The prices that sluice ships with", .on_worker = defaults, .out = &pricing_shape },
    { HTTP_GET,    "/api/pricing/models",   SURFACE_OMNIROUTE, ACCESS_VIEWER, "The models that prices can be given for", .on_worker = models, .out = &pricing_shape },
    { HTTP_GET,    "/api/pricing/sync",     SURFACE_OMNIROUTE, ACCESS_VIEWER, "How the price feed stands", .on_worker = feed, .out = &feed_shape },
    { HTTP_POST,   "/api/pricing/sync",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Fetch prices from the setting price_feed_url", .on_worker = sync_feed, .in = &feed_in_shape, .out = &fetched_shape, .body_is_optional = true, .waits = true },
    { HTTP_DELETE, "/api/pricing/sync",     SURFACE_OMNIROUTE, ACCESS_ADMIN, "Forget fetched prices", .on_worker = forget_feed, .out = &dropped_shape },
    {0},
};
/* clang-format on */
