/* prices.c - /sluice/v1/prices: what models cost, by whom it was said, what the operator sets instead, and lists that are read in. */
#include "api/prices.h"
#include "api/change_route.h"
#include "base/clock.h"
#include "base/map.h"

struct price_out {
    struct str id, name, source, provider, model, valid_from, note, origin;
    int64_t version, input_nanousd, output_nanousd;
    bool in_force;
    yyjson_val *price;
};
static const struct shape price_shape = SHAPE(
    struct price_out, FIELD(struct price_out, id, 0, "Names the row"),
    FIELD(struct price_out, name, 0, "provider/model; * in it stands for anything"),
    FIELD(struct price_out, source, 0,
          "override, provider, list or shipped: the first of them that knows a model counts"),
    FIELD(struct price_out, provider, 0, "Name of a provider or of its kind, or * for any"),
    FIELD(struct price_out, model, 0, "The upstream's id of the model, or a pattern"),
    FIELD(struct price_out, version, 0, "Stands in every ledger line that was priced with it"),
    FIELD(struct price_out, valid_from, NULL_EMPTY, "When it begins to hold; null: always did"),
    FIELD(struct price_out, in_force, 0, "Whether it has begun"),
    FIELD(struct price_out, input_nanousd, NULL_NEGATIVE,
          "Nano-USD for a million tokens of input; null: unknown"),
    FIELD(struct price_out, output_nanousd, NULL_NEGATIVE,
          "Nano-USD for a million tokens of output; null: unknown"),
    FIELD(struct price_out, price, 0,
          "All of it in USD for a million tokens, or for an image, search or request"),
    FIELD(struct price_out, note, NULL_EMPTY, "Where it was read, and when"),
    FIELD(struct price_out, origin, 0, "default, file or api: who may change it"));

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    if (ms == 0)
        return STR_NONE;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

/* "prices" as the file of a snapshot has it; NULL: nothing of it. */
static yyjson_val *prices_of_file(struct arena *a, const struct snapshot *s)
{
    yyjson_val *file;
    struct err unread = ERR_INIT;
    return s->file_text.n && config_file_values(a, "the file", s->file_text, &file, &unread)
               ? json_get(file, "prices")
               : NULL;
}

static struct price_out show(struct arena *a, yyjson_val *of_file, const struct price *p)
{
    const char *source = word_text(price_source_words, (int)p->source, "");
    struct price_out out = {
        .name = str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(p->provider), STR_ARG(p->model)),
        .source = str_of(source),
        .provider = p->provider,
        .model = p->model,
        .version = p->version,
        .valid_from = time_text(a, p->valid_from_ms),
        .in_force = p->valid_from_ms <= clock_wall_ms(),
        .input_nanousd = p->base.v[PRICE_INPUT],
        .output_nanousd = p->base.v[PRICE_OUTPUT],
        .note = p->provenance,
        .origin = str_of(p->source == PRICE_SHIPPED ? "default" : "api"),
    };
    yyjson_val *root;
    out.id = str_fmt(a, STR_FMT "@%s@%lld", STR_ARG(out.name), source, (long long)p->valid_from_ms);
    if (json_parse(a, p->text, 0, &root, NULL))
        out.price = json_get(root, "price");
    if (p->source == PRICE_OVERRIDE && json_find(of_file, out.name.p, out.name.n))
        out.origin = STR("file");
    return out;
}

struct price_query {
    struct page_query page;
    struct str source, provider, model;
    bool in_force;
};
static const struct shape price_query_shape = SHAPE(
    struct price_query, PAGE_FIELDS(struct price_query),
    FIELD(struct price_query, source, 0, "Only from there: override, provider, list or shipped"),
    FIELD(struct price_query, provider, 0, "Only of this provider or kind"),
    FIELD(struct price_query, model, 0, "Only of this model or pattern"),
    FIELD(struct price_query, in_force, 0, "Only those that have begun, or not"));

static bool list(struct control_call *c, struct err *e)
{
    const struct price *const *rows;
    size_t n = c->snap->prices ? price_book_rows(c->snap->prices, c->arena, &rows) : 0;
    struct price_out *v = ARENA_ARRAY(c->arena, struct price_out, n + 1);
    yyjson_val *of_file = prices_of_file(c->arena, c->snap);
    for (size_t i = 0; i < n; i++)
        v[i] = show(c->arena, of_file, rows[i]);
    return control_reply_sorted(c, &price_shape, v, n, "id", e);
}

/* ---- the price of what is served ---- */

struct lookup_query {
    struct str model;
};
static const struct shape lookup_query_shape = SHAPE(
    struct lookup_query, FIELD(struct lookup_query, model, REQUIRED | NOT_EMPTY,
                               "A model as clients call it, or provider/model"));
struct target_price {
    struct str provider, upstream_model, valid_from, note, source;
    int64_t version;
    yyjson_val *price;
};
static const struct shape target_price_shape = SHAPE(
    struct target_price, FIELD(struct target_price, provider, 0, "Where it is served"),
    FIELD(struct target_price, upstream_model, 0, "As it is called there"),
    FIELD(struct target_price, source, NULL_EMPTY, "Who says the price; null: it is unknown"),
    FIELD(struct target_price, version, 0, "Of the price; 0: it is unknown"),
    FIELD(struct target_price, price, 0, "In USD; null: unknown"),
    FIELD(struct target_price, valid_from, NULL_EMPTY, "When it began to hold"),
    FIELD(struct target_price, note, NULL_EMPTY, "Where it was read"));

static bool lookup(struct control_call *c, struct err *e)
{
    const struct lookup_query *q = c->asked;
    const struct model *m = snapshot_resolve(c->snap, c->arena, q->model);
    if (!m)
        return err_set(e, ERR_NOT_FOUND, "model_not_found", "Unknown model: '" STR_FMT "'",
                       STR_ARG(str_first(q->model, 200)));
    struct target_price *v = ARENA_ARRAY(c->arena, struct target_price, m->n_targets + 1);
    for (size_t i = 0; i < m->n_targets; i++) {
        const struct price *p = price_at(m->targets[i].prices, clock_wall_ms());
        yyjson_val *root;
        v[i] = (struct target_price){.provider = m->targets[i].upstream->name,
                                     .upstream_model = m->targets[i].model};
        if (!p)
            continue;
        v[i].source = str_of(word_text(price_source_words, (int)p->source, ""));
        v[i].version = p->version;
        v[i].valid_from = time_text(c->arena, p->valid_from_ms);
        v[i].note = p->provenance;
        if (json_parse(c->arena, p->text, 0, &root, NULL))
            v[i].price = json_get(root, "price");
    }
    return control_reply_list(c, &target_price_shape, v, m->n_targets);
}

/* ---- overrides ---- */

struct price_in {
    struct str provider, model;
    yyjson_val *price;
};
static const struct shape price_in_shape = SHAPE_STRICT(
    struct price_in,
    FIELD(struct price_in, provider, REQUIRED | NOT_EMPTY,
          "Name of a provider or of its kind, or * for any"),
    FIELD(struct price_in, model, REQUIRED | NOT_EMPTY,
          "The upstream's id of the model; * stands for any text"),
    FIELD(
        struct price_in, price, REQUIRED,
        "In USD for a million tokens, or each: input, cache_read, cache_write_5m, cache_write_1h, "
        "output, reasoning, audio_in, audio_out, image, search, request, above, batch, flex, "
        "priority, valid_from, note; an array of such for prices that change at their time"));

static struct str name_of(struct control_call *c, struct str provider, struct str model)
{
    return str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(provider), STR_ARG(model));
}

static bool set(struct control_call *c, struct err *e)
{
    const struct price_in *in = c->in;
    if (str_index(in->provider, '/') < in->provider.n)
        return err_field(e, "provider", "'provider' must not hold a slash");
    struct entry_change change = {.section = SECTION_PRICES,
                                  .name = name_of(c, in->provider, in->model),
                                  .value = in->price,
                                  .replaces = true};
    if (!change_entry(c, CHANGE_PUT, &change, e))
        return false;
    struct price_rows rows = {.n = 0};
    if (!price_entry_read(c->arena, change.name, in->price, PRICE_OVERRIDE, &rows, e))
        return false;
    struct snapshot *now = snapshot_current();
    struct price_out out = show(c->arena, prices_of_file(c->arena, now), rows.v[rows.n - 1]);
    snapshot_unref(now);
    return control_reply(c, 200, &price_shape, &out);
}

struct name_query {
    struct str provider, model;
};
static const struct shape name_query_shape = SHAPE(
    struct name_query,
    FIELD(struct name_query, provider, REQUIRED | NOT_EMPTY, "As it was set for"),
    FIELD(struct name_query, model, REQUIRED | NOT_EMPTY, "As it was set for"));

static bool drop(struct control_call *c, struct err *e)
{
    const struct name_query *q = c->asked;
    return change_entry_gone(c, SECTION_PRICES, name_of(c, q->provider, q->model), false, e);
}

/* ---- lists ---- */

struct import_query {
    struct str provider, valid_from, note;
    bool dry_run;
};
static const struct shape import_query_shape = SHAPE(
    struct import_query,
    FIELD(struct import_query, provider, 0,
          "The list is of this provider of ours, and counts before the general ones"),
    FIELD(struct import_query, valid_from, 0, "When its prices begin to hold; now when absent"),
    FIELD(struct import_query, note, 0, "Where it was read, and when"),
    FIELD(struct import_query, dry_run, 0, "Only say what would change"));
struct import_in {
    yyjson_val *data, *prices;
};
static const struct shape import_in_shape = SHAPE(
    struct import_in, FIELD(struct import_in, data, 0, "OpenRouter's list of models"),
    FIELD(struct import_in, prices, 0,
          "Ours, by provider/model. The public price list is an object of models by their names"));
struct skipped_out {
    struct str model, why;
};
static const struct shape skipped_shape = SHAPE(
    struct skipped_out, FIELD(struct skipped_out, model, 0, "As the list calls it"),
    FIELD(struct skipped_out, why, 0, "What is wrong with it"));
struct change_out {
    struct str provider, model;
    int64_t input_was_nanousd, output_was_nanousd, input_nanousd, output_nanousd;
};
static const struct shape change_shape = SHAPE(
    struct change_out,
    FIELD(struct change_out, provider, 0, "Name of a provider or of its kind, or * for any"),
    FIELD(struct change_out, model, 0, "The upstream's id of the model, or a pattern"),
    FIELD(struct change_out, input_was_nanousd, NULL_NEGATIVE,
          "For a million input tokens so far; null: unknown"),
    FIELD(struct change_out, output_was_nanousd, NULL_NEGATIVE, "For a million output tokens"),
    FIELD(struct change_out, input_nanousd, NULL_NEGATIVE, "From then on"),
    FIELD(struct change_out, output_nanousd, NULL_NEGATIVE, "From then on"));
struct import_out {
    struct str format;
    int64_t rows, added;
    struct shape_list changes, skipped;
};
static const struct shape import_shape = SHAPE(
    struct import_out, FIELD(struct import_out, format, 0, "litellm, openrouter or sluice"),
    FIELD(struct import_out, rows, 0, "Prices that it states"),
    FIELD(struct import_out, added, 0, "Of these, how many differ from what was known"),
    FIELD_LIST(struct import_out, changes, &change_shape, 0,
               "The first 500 whose input or output has another price than the same source said"),
    FIELD_LIST(
        struct import_out, skipped, &skipped_shape, 0,
        "What is left out: entries that state no usable price, and prices of others that do not "
        "count"));

bool prices_put(struct control_call *c, const struct price_rows *rows, int64_t *added,
                struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db || !db_begin(db, e))
        return false;
    if (!price_store_put(db, rows, clock_wall_ms(), added, e)) {
        db_rollback(db);
        return false;
    }
    control_audit(c, "prices", str_of(rows->format), STR_NONE,
                  price_rows_told(c->arena, rows, *added));
    return db_commit(db, e) && control_changed(c, e);
}

bool prices_forget(struct control_call *c, struct str provider, int64_t *dropped, struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db ||
        !price_store_drop(db, provider.n ? PRICE_PROVIDER : PRICE_LIST, provider, dropped, e) ||
        !control_changed(c, e))
        return false;
    control_audit(c, "prices", provider.n ? provider : STR("list"),
                  str_fmt(c->arena, "{\"rows\":%lld}", (long long)*dropped), STR_NONE);
    return true;
}

/* Like putting them, but nothing stays. */
static bool prices_try(struct control_call *c, const struct price_rows *rows, int64_t *added,
                       struct err *e)
{
    struct db *db = control_db(c, e);
    if (!db || !db_begin(db, e))
        return false;
    bool ok = price_store_put(db, rows, clock_wall_ms(), added, e);
    db_rollback(db);
    return ok;
}

enum {
    MOST_CHANGES = 500
};

/* Beside the newest that their source said of the same model so far. All rows of a list are of one source. */
static struct shape_list changes_of(struct control_call *c, const struct price_rows *rows)
{
    const struct price *const *known = NULL;
    size_t n = c->snap->prices ? price_book_rows(c->snap->prices, c->arena, &known) : 0, n_out = 0;
    struct change_out *v = ARENA_ARRAY(c->arena, struct change_out, MOST_CHANGES);
    struct map newest; /* name -> 1 + its place in known */
    map_init(&newest);
    for (size_t i = n; i-- > 0;)
        if (rows->n && known[i]->source == rows->v[0]->source)
            map_set(&newest, name_of(c, known[i]->provider, known[i]->model),
                    (void *)(uintptr_t)(i + 1));
    for (size_t i = 0; i < rows->n && n_out < MOST_CHANGES; i++) {
        const struct price *p = rows->v[i];
        size_t at = (size_t)(uintptr_t)map_get(&newest, name_of(c, p->provider, p->model));
        int64_t input = at ? known[at - 1]->base.v[PRICE_INPUT] : -1;
        int64_t output = at ? known[at - 1]->base.v[PRICE_OUTPUT] : -1;
        if (at && input == p->base.v[PRICE_INPUT] && output == p->base.v[PRICE_OUTPUT])
            continue;
        v[n_out++] = (struct change_out){.provider = p->provider,
                                         .model = p->model,
                                         .input_was_nanousd = input,
                                         .output_was_nanousd = output,
                                         .input_nanousd = p->base.v[PRICE_INPUT],
                                         .output_nanousd = p->base.v[PRICE_OUTPUT]};
    }
    map_done(&newest);
    return (struct shape_list){v, n_out};
}

static bool import(struct control_call *c, struct err *e)
{
    const struct import_query *q = c->asked;
    struct price_import how = {.source = q->provider.n ? PRICE_PROVIDER : PRICE_LIST,
                               .provider = q->provider,
                               .provenance = q->note,
                               .valid_from_ms = clock_wall_ms()};
    struct price_rows rows;
    struct import_out out = {.rows = 0};
    yyjson_val *root;
    if (q->valid_from.n && !clock_parse_rfc3339(q->valid_from, &how.valid_from_ms))
        return err_field(e, "valid_from", "'valid_from' must be an RFC 3339 time");
    if (!json_parse(c->arena, c->body, 0, &root, e) ||
        !price_list_read(c->arena, root, &how, &rows, e))
        return false;
    out.changes = changes_of(c, &rows);
    if (!(q->dry_run ? prices_try : prices_put)(c, &rows, &out.added, e))
        return false;
    out.format = str_of(rows.format);
    out.rows = (int64_t)rows.n;
    out.skipped = (struct shape_list){rows.skipped, rows.n_skipped};
    _Static_assert(sizeof(struct skipped_out) == sizeof(struct price_skipped), "the same members");
    return control_reply(c, 200, &import_shape, &out);
}

struct forget_query {
    struct str provider;
};
static const struct shape forget_query_shape = SHAPE(
    struct forget_query,
    FIELD(struct forget_query, provider, 0,
          "The list of this provider; absent: the general ones that were read in"));
struct forget_out {
    int64_t dropped;
};
static const struct shape forget_shape = SHAPE(
    struct forget_out, FIELD(struct forget_out, dropped, 0, "Rows that are gone"));

static bool forget(struct control_call *c, struct err *e)
{
    const struct forget_query *q = c->asked;
    struct forget_out out;
    if (!prices_forget(c, q->provider, &out.dropped, e))
        return false;
    return control_reply(c, 200, &forget_shape, &out);
}

/* ---- versions ---- */

static bool version(struct control_call *c, struct err *e)
{
    int64_t number;
    struct price *p = ARENA_NEW(c->arena, struct price);
    struct str text = route_param(&c->params, "version");
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    if (!str_to_int(text, &number))
        return err_set(e, ERR_NOT_FOUND, "not_found", "There is no price version '" STR_FMT "'",
                       STR_ARG(str_first(text, 40)));
    const struct price *const *rows;
    size_t n = c->snap->prices ? price_book_rows(c->snap->prices, c->arena, &rows) : 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i]->version == number) {
            struct price_out now = show(c->arena, prices_of_file(c->arena, c->snap), rows[i]);
            return control_reply(c, 200, &price_shape, &now);
        }
    if (!price_version_get(db, c->arena, number, p, e))
        return false;
    struct price_out out = show(c->arena, prices_of_file(c->arena, c->snap), p);
    return control_reply(c, 200, &price_shape, &out);
}

/* clang-format off */
const struct endpoint price_endpoints[] = {
    { HTTP_GET,    "/sluice/v1/prices", SURFACE_SLUICE, ACCESS_VIEWER, "List prices, of every source", .on_worker = list, .query = &price_query_shape, .out = &price_shape, .is_page = true },
    { HTTP_POST,   "/sluice/v1/prices", SURFACE_SLUICE, ACCESS_ADMIN, "Set the price of a model, whatever lists say", .on_worker = set, .in = &price_in_shape, .out = &price_shape, .is_create = true },
    { HTTP_DELETE, "/sluice/v1/prices", SURFACE_SLUICE, ACCESS_ADMIN, "Go back to what lists say of a model", .on_worker = drop, .query = &name_query_shape, .status = 204 },
    { HTTP_GET,    "/sluice/v1/prices/lookup", SURFACE_SLUICE, ACCESS_VIEWER, "What a served model costs at each of its targets", .on_worker = lookup, .query = &lookup_query_shape, .out = &target_price_shape, .is_list = true },
    { HTTP_POST,   "/sluice/v1/prices/import", SURFACE_SLUICE, ACCESS_ADMIN, "Read a price list in", .on_worker = import, .query = &import_query_shape, .in = &import_in_shape, .reads_body = true, .out = &import_shape, .is_create = true },
    { HTTP_DELETE, "/sluice/v1/prices/import", SURFACE_SLUICE, ACCESS_ADMIN, "Forget the lists that were read in", .on_worker = forget, .query = &forget_query_shape, .out = &forget_shape },
    { HTTP_GET,    "/sluice/v1/prices/versions/{version}", SURFACE_SLUICE, ACCESS_VIEWER, "Retrieve a price by its version, also one that holds no longer", .on_worker = version, .out = &price_shape },
    {0},
};
/* clang-format on */
