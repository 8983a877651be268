/* reconcile.c - /sluice/v1/reconciliation: vendors' own exports beside the ledger, and where they differ, why. */
#include "api/control.h"
#include "base/clock.h"
#include "meter/reconcile.h"
#include "meter/usage_log.h"

#define DAY_MS 86400000
#define SYNC_MS 5000

struct import_query {
    struct str provider;
};
static const struct shape import_query_shape = SHAPE(
    struct import_query, FIELD(struct import_query, provider, REQUIRED | NOT_EMPTY,
                               "Our provider whose vendor's export it is"));
struct import_in {
    yyjson_val *data;
};
static const struct shape import_in_shape = SHAPE(
    struct import_in,
    FIELD(struct import_in, data, 0,
          "As OpenAI's usage or costs, Anthropic's usage or cost report, or OpenRouter's activity "
          "has it; the latter's table (CSV) as well"));
struct import_out {
    struct str format, from, to;
    int64_t rows;
};
static const struct shape import_shape = SHAPE(
    struct import_out,
    FIELD(struct import_out, format, 0, "Which export it was; empty: one that tells of nothing"),
    FIELD(struct import_out, rows, 0, "Days and models that it tells of"),
    FIELD(struct import_out, from, NULL_EMPTY, "The first day"),
    FIELD(struct import_out, to, NULL_EMPTY, "The last day"));

static struct str day_text(struct arena *a, int64_t day)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, day * DAY_MS);
    return str_first(buf_str(&b), 10);
}

static bool known_provider(struct control_call *c, struct str name, struct err *e)
{
    return snapshot_upstream(c->snap, name) ||
           err_field(e, "provider", "There is no provider '" STR_FMT "'",
                     STR_ARG(str_first(name, 100)));
}

static bool import(struct control_call *c, struct err *e)
{
    const struct import_query *q = c->asked;
    struct day_uses uses;
    if (!known_provider(c, q->provider, e) || !vendor_read(c->arena, c->body, &uses, e))
        return false;
    struct db *db = control_db(c, e);
    if (!db || !db_begin(db, e))
        return false;
    if (!vendor_put(db, q->provider, &uses, e)) {
        db_rollback(db);
        return false;
    }
    control_audit(c, "vendor_usage", q->provider, STR_NONE,
                  str_fmt(c->arena, "{\"rows\":%zu}", uses.n));
    if (!db_commit(db, e))
        return false;
    struct import_out out = {.format = str_of(uses.format), .rows = (int64_t)uses.n};
    int64_t first = INT64_MAX, last = 0;
    for (size_t i = 0; i < uses.n; i++) {
        first = uses.v[i].day < first ? uses.v[i].day : first;
        last = uses.v[i].day > last ? uses.v[i].day : last;
    }
    if (uses.n) {
        out.from = day_text(c->arena, first);
        out.to = day_text(c->arena, last);
    }
    return control_reply(c, 200, &import_shape, &out);
}

struct part_out {
    struct str cause;
    int64_t nanousd;
};
static const struct shape part_shape = SHAPE(
    struct part_out, FIELD(struct part_out, cause, 0, "What it comes from"),
    FIELD(struct part_out, nanousd, 0, "How much of the drift"));
struct drift_out {
    struct str day, model, cause;
    int64_t ours_nanousd, vendor_nanousd, drift_nanousd, ours_requests, vendor_requests,
        ours_input_tokens, vendor_input_tokens, ours_output_tokens, vendor_output_tokens;
    struct shape_list parts;
};
static const struct shape drift_shape = SHAPE(
    struct drift_out, FIELD(struct drift_out, day, 0, "UTC"),
    FIELD(struct drift_out, model, 0, "As the upstream calls it, without a date at its end"),
    FIELD(struct drift_out, cause, NULL_EMPTY,
          "Of the largest part: missing_requests, duplicate, unbilled, unpriced, token_counts, "
          "price, rounding; null: they agree"),
    FIELD(struct drift_out, drift_nanousd, 0,
          "The vendor's cost without ours; where it is not told, what its counts come to at our "
          "price"),
    FIELD_LIST(struct drift_out, parts, &part_shape, 0, "What it comes from: they add up to it"),
    FIELD(struct drift_out, ours_nanousd, NULL_NEGATIVE, "Of our ledger; null: it has nothing"),
    FIELD(struct drift_out, vendor_nanousd, NULL_NEGATIVE, "Of the exports; null: not told"),
    FIELD(struct drift_out, ours_requests, NULL_NEGATIVE, "Requests"),
    FIELD(struct drift_out, vendor_requests, NULL_NEGATIVE, "Requests"),
    FIELD(struct drift_out, ours_input_tokens, NULL_NEGATIVE, "Tokens of prompts"),
    FIELD(struct drift_out, vendor_input_tokens, NULL_NEGATIVE, "Tokens of prompts"),
    FIELD(struct drift_out, ours_output_tokens, NULL_NEGATIVE, "Tokens of replies"),
    FIELD(struct drift_out, vendor_output_tokens, NULL_NEGATIVE, "Tokens of replies"));
struct drift_query {
    struct str provider, from, to;
};
static const struct shape drift_query_shape = SHAPE(
    struct drift_query, FIELD(struct drift_query, provider, REQUIRED | NOT_EMPTY, "Our provider"),
    FIELD(struct drift_query, from, 0, "First day, as 2026-01-31; absent: the first of an export"),
    FIELD(struct drift_query, to, 0, "Day behind the last; absent: that of the exports"));

static bool day_of(struct arena *a, struct str text, const char *field, int64_t otherwise,
                   int64_t *day, struct err *e)
{
    int64_t ms = otherwise * DAY_MS;
    struct str whole = text.n == 10 ? str_cat(a, text, STR("T00:00:00Z")) : text;
    if (text.n && !clock_parse_rfc3339(whole, &ms))
        return err_field(e, field, "'%s' must be a day, as 2026-01-31", field);
    *day = ms / DAY_MS;
    return true;
}

static const struct day_use *same(const struct day_uses *all, const struct day_use *u)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].day == u->day && str_eq(all->v[i].model, u->model))
            return &all->v[i];
    return NULL;
}

/* one: ours or the vendor's, whichever there is. */
static struct drift_out show(struct control_call *c, struct db *db, const struct upstream *u,
                             const struct day_use *one, const struct day_use *ours,
                             const struct day_use *vendors)
{
    struct price had;
    struct err gone = ERR_INIT;
    /* what our lines of the day were priced with: the price may be another by its end */
    const struct price *p = ours && ours->price &&
                                    price_version_get(db, c->arena, ours->price, &had, &gone)
                                ? &had
                                : snapshot_price_at(c->snap, u, one->model,
                                                    one->day * DAY_MS + DAY_MS - 1);
    struct drift d = drift_of(ours, vendors, p);
    struct part_out *parts = ARENA_ARRAY(c->arena, struct part_out, DRIFT_CAUSES);
    struct drift_out out = {.day = day_text(c->arena, one->day),
                            .model = one->model,
                            .cause = d.is_agreed ? STR_NONE : str_of(drift_cause_names[d.cause]),
                            .drift_nanousd = d.nanousd,
                            .ours_nanousd = ours ? d.ours : -1,
                            .vendor_nanousd = vendors ? vendors->nanousd : -1,
                            .ours_requests = ours ? ours->requests : -1,
                            .vendor_requests = vendors ? vendors->requests : -1,
                            .ours_input_tokens = ours ? ours->input : -1,
                            .vendor_input_tokens = vendors ? vendors->input : -1,
                            .ours_output_tokens = ours ? ours->output : -1,
                            .vendor_output_tokens = vendors ? vendors->output : -1,
                            .parts = {parts, 0}};
    for (size_t i = 0; i < DRIFT_CAUSES; i++)
        if (d.parts[i])
            parts[out.parts.n++] = (struct part_out){str_of(drift_cause_names[i]), d.parts[i]};
    return out;
}

static bool compare(struct control_call *c, struct err *e)
{
    const struct drift_query *q = c->asked;
    const struct upstream *u = snapshot_upstream(c->snap, q->provider);
    int64_t from, to, first = INT64_MAX, last = -1;
    struct day_uses vendors, ours;
    struct db *db = control_db(c, e);
    if (!db || !known_provider(c, q->provider, e) ||
        !vendor_list(db, c->arena, q->provider, 0, 1000000, &vendors, e))
        return false;
    for (size_t i = 0; i < vendors.n; i++) {
        first = vendors.v[i].day < first ? vendors.v[i].day : first;
        last = vendors.v[i].day > last ? vendors.v[i].day : last;
    }
    if (!day_of(c->arena, q->from, "from", vendors.n ? first : 0, &from, e) ||
        !day_of(c->arena, q->to, "to", last + 1, &to, e))
        return false;
    if (c->control->usage)
        (void)!usage_log_sync(c->control->usage, SYNC_MS);
    if (!ledger_days(db, c->arena, q->provider, from, to, &ours, e))
        return false;
    struct drift_out *v = ARENA_ARRAY(c->arena, struct drift_out, vendors.n + ours.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < vendors.n; i++)
        if (vendors.v[i].day >= from && vendors.v[i].day < to)
            v[n++] = show(c, db, u, &vendors.v[i], same(&ours, &vendors.v[i]), &vendors.v[i]);
    for (size_t i = 0; i < ours.n; i++)
        if (!same(&vendors, &ours.v[i]))
            v[n++] = show(c, db, u, &ours.v[i], &ours.v[i], NULL);
    return control_reply_list(c, &drift_shape, v, n);
}

/* clang-format off */
const struct endpoint reconcile_endpoints[] = {
    { HTTP_GET,  "/sluice/v1/reconciliation", SURFACE_SLUICE, ACCESS_VIEWER, "Compare the ledger with what a vendor says, by day and model", .on_worker = compare, .query = &drift_query_shape, .out = &drift_shape, .is_list = true },
    { HTTP_POST, "/sluice/v1/reconciliation/import", SURFACE_SLUICE, ACCESS_ADMIN, "Read a vendor's usage export in", .on_worker = import, .query = &import_query_shape, .in = &import_in_shape, .reads_body = true, .out = &import_shape, .is_create = true },
    {0},
};
/* clang-format on */
