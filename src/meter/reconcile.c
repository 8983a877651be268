#include "meter/reconcile.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "domain/ledger.h"
#include <stdlib.h>

#define DAY_S 86400
#define CENT 10000000              /* nano-USD: what bills are rounded to */
#define MAX_COUNT 1000000000000000 /* of a day and a model; a million USD as well */
#define MAX_SUM (MAX_COUNT * 1000)
#define LAST_MS 253402300799999 /* of the year 9999 */

const char *const drift_cause_names[DRIFT_CAUSES] = {
    [DRIFT_MISSING] = "missing_requests", [DRIFT_DUPLICATE] = "duplicate",
    [DRIFT_UNBILLED] = "unbilled",        [DRIFT_UNPRICED] = "unpriced",
    [DRIFT_TOKENS] = "token_counts",      [DRIFT_PRICE] = "price",
    [DRIFT_ROUNDING] = "rounding"};

/* ---- days ---- */

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

struct str model_undated(struct str m)
{
    if (m.n > 9 && m.p[m.n - 9] == '-' && is_digits(str_skip(m, m.n - 8)))
        return str_first(m, m.n - 9);
    if (m.n > 11 && m.p[m.n - 11] == '-' && m.p[m.n - 6] == '-' && m.p[m.n - 3] == '-' &&
        is_digits(str_n(m.p + m.n - 10, 4)) && is_digits(str_n(m.p + m.n - 5, 2)) &&
        is_digits(str_skip(m, m.n - 2)))
        return str_first(m, m.n - 11);
    return m;
}

static struct day_use *use_of(struct arena *a, struct day_uses *all, int64_t day, struct str model)
{
    model = model_undated(model);
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].day == day && str_eq(all->v[i].model, model))
            return &all->v[i];
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 64;
        all->v = arena_realloc(a, all->v, all->cap * sizeof *all->v, cap * sizeof *all->v);
        all->cap = cap;
    }
    struct day_use *u = &all->v[all->n++];
    *u = (struct day_use){.day = day,
                          .model = str_dup(a, model),
                          .requests = -1,
                          .input = -1,
                          .cached = -1,
                          .cache_write = -1,
                          .output = -1,
                          .nanousd = -1};
    return u;
}

static void add(int64_t *to, int64_t v)
{
    int64_t is = *to > 0 ? *to : 0;
    if (v >= 0)
        *to = is > MAX_SUM - v ? MAX_SUM : is + v;
}

/* What is there and no count, or no amount, would be missing from the comparison without a word: the export is refused. */
static int64_t bad_by(struct day_uses *out, const char *what, const char *why)
{
    if (!out->bad) {
        out->bad = what;
        out->bad_why = why;
        out->bad_row = out->row;
    }
    return -1;
}

static int64_t bad(struct day_uses *out, const char *what)
{
    return bad_by(out, what, "is not readable, or below 0");
}

/* -1: it does not tell. */
static int64_t count_of(struct day_uses *out, yyjson_val *r, const char *name)
{
    yyjson_val *v = json_get(r, name);
    int64_t n;
    if (json_absent(v))
        return -1;
    return json_int(v, &n) && n >= 0 && n <= MAX_COUNT ? n : bad(out, name);
}

/* An amount that is named must be one. */
static int64_t amount_of(struct day_uses *out, struct str text, int shift, const char *name)
{
    int64_t n;
    return decimal_parse(text, shift, &n) && n <= MAX_COUNT ? n : bad(out, name);
}

/* Books are in USD; what says nothing of it is taken for that. */
static void check_currency(struct day_uses *out, yyjson_val *v, const char *name)
{
    if (!json_absent(v) && !str_eq_nocase(json_str(v), STR("usd")))
        (void)bad_by(out, name, "is another currency than USD");
}

/* A date; or an RFC 3339 time, also with a space for the T and as databases write zones. A time without a zone is of UTC. */
static bool day_of_text(struct arena *a, struct str text, int64_t *day)
{
    static const char *const ends[] = {"", "Z", ":00"};
    int64_t ms;
    if (text.n < 10 || (text.n > 10 && text.p[10] != 'T' && text.p[10] != ' '))
        return false;
    if (text.n > 4 && str_ends(text, STR(" UTC")))
        text = str_first(text, text.n - 4);
    struct str date = str_first(text, 10), rest = str_skip(text, 11);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct str whole = text.n == 10 ? str_cat(a, date, STR("T00:00:00Z"))
                                        : str_fmt(a, STR_FMT "T" STR_FMT "%s", STR_ARG(date),
                                                  STR_ARG(rest), ends[i]);
        if (!clock_parse_rfc3339(whole, &ms))
            continue;
        *day = ms / 1000 / DAY_S;
        return ms >= 0 && ms <= LAST_MS;
    }
    return false;
}

/* A number of seconds, or one of these. */
static bool day_of(struct arena *a, yyjson_val *v, int64_t *day)
{
    int64_t s;
    if (!json_int(v, &s))
        return day_of_text(a, json_str(v), day);
    *day = s / DAY_S;
    return s >= 0 && s <= LAST_MS / 1000;
}

static struct str lexeme_of(yyjson_val *v)
{
    return yyjson_is_str(v) ? json_str(v) : json_is_number(v) ? json_lexeme(v) : STR_NONE;
}

/* ---- OpenAI and Anthropic: buckets of results ---- */

static void openai_result(struct arena *a, struct day_uses *out, int64_t day, yyjson_val *r)
{
    yyjson_val *amount = json_get(r, "amount");
    if (yyjson_is_obj(amount)) { /* "gpt-4o-mini, input" */
        struct str model, item = json_get_str(r, "line_item");
        (void)str_cut(item, ',', &model);
        add(&use_of(a, out, day, str_trim(model))->nanousd,
            amount_of(out, lexeme_of(json_get(amount, "value")), 9, "amount.value"));
        check_currency(out, json_get(amount, "currency"), "amount.currency");
        out->format = "openai_costs";
        return;
    }
    if (!json_absent(amount))
        (void)bad(out, "amount");
    struct day_use *u = use_of(a, out, day, json_get_str(r, "model"));
    add(&u->requests, count_of(out, r, "num_model_requests"));
    add(&u->input, count_of(out, r, "input_tokens"));
    add(&u->cached, count_of(out, r, "input_cached_tokens"));
    add(&u->output, count_of(out, r, "output_tokens"));
    out->format = "openai_usage";
}

static void anthropic_result(struct arena *a, struct day_uses *out, int64_t day, yyjson_val *r)
{
    struct day_use *u = use_of(a, out, day, json_get_str(r, "model"));
    yyjson_val *created = json_get(r, "cache_creation");
    int64_t cached = count_of(out, r, "cache_read_input_tokens"), written = 0,
            plain = count_of(out, r, "uncached_input_tokens");
    static const char *const writes[] = {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"};
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        int64_t n = count_of(out, created, writes[i]);
        written += n > 0 ? n : 0;
    }
    if (json_get(r, "amount")) { /* in cents */
        add(&u->nanousd, amount_of(out, lexeme_of(json_get(r, "amount")), 7, "amount"));
        check_currency(out, json_get(r, "currency"), "currency");
        out->format = "anthropic_costs";
        return;
    }
    add(&u->input, plain < 0 ? -1 : plain + (cached > 0 ? cached : 0) + written);
    add(&u->cached, cached);
    add(&u->cache_write, created ? written : -1);
    add(&u->output, count_of(out, r, "output_tokens"));
    out->format = "anthropic_usage";
}

/* ---- OpenRouter ---- */

static void openrouter_row(struct arena *a, struct day_uses *out, int64_t day, yyjson_val *r)
{
    struct day_use *u = use_of(a, out, day, json_get_str(r, "model"));
    add(&u->requests, count_of(out, r, "requests"));
    add(&u->input, count_of(out, r, "prompt_tokens"));
    add(&u->output, count_of(out, r, "completion_tokens"));
    if (json_get(r, "usage"))
        add(&u->nanousd, amount_of(out, lexeme_of(json_get(r, "usage")), 9, "usage"));
    out->format = "openrouter_activity";
}

enum {
    CSV_DATE,
    CSV_MODEL,
    CSV_COST,
    CSV_IN,
    CSV_OUT,
    CSV_CACHED,
    CSV_REQUESTS,
    CSV_N
};
#define MAX_COLUMNS 64
static const struct word csv_columns[] = {{"date", CSV_DATE},
                                          {"created_at", CSV_DATE},
                                          {"model", CSV_MODEL},
                                          {"model_permaslug", CSV_MODEL},
                                          {"cost_total", CSV_COST},
                                          {"usage", CSV_COST},
                                          {"cost", CSV_COST},
                                          {"tokens_prompt", CSV_IN},
                                          {"prompt_tokens", CSV_IN},
                                          {"tokens_completion", CSV_OUT},
                                          {"completion_tokens", CSV_OUT},
                                          {"tokens_cached", CSV_CACHED},
                                          {"requests", CSV_REQUESTS},
                                          {0}};

/* One cell of RFC 4180; *text moves behind it. has_more: it was not the line's last. false: a quote of it is never closed. */
static bool csv_cell(struct arena *a, struct str *text, struct str *cell, bool *has_more)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    bool is_quoted = text->n && text->p[0] == '"';
    size_t i = is_quoted;
    for (; i < text->n; i++) {
        char c = text->p[i];
        if (is_quoted && c == '"' && i + 1 < text->n && text->p[i + 1] == '"')
            i++;
        else if (is_quoted && c == '"') {
            is_quoted = false;
            continue;
        } else if (!is_quoted && (c == ',' || c == '\n'))
            break;
        buf_char(&b, c);
    }
    *cell = str_trim(buf_str(&b));
    *has_more = i < text->n && text->p[i] == ',';
    *text = str_skip(*text, i + 1);
    return !is_quoted;
}

static int64_t cell_count(struct day_uses *out, struct str cell, const char *name)
{
    int64_t n;
    if (cell.n == 0)
        return -1;
    return str_to_int(cell, &n) && n >= 0 && n <= MAX_COUNT ? n : bad(out, name);
}

static bool no_bad(const struct day_uses *out, struct err *e)
{
    return !out->bad || err_field(e, out->bad, "Row %zu of the export: '%s' %s", out->bad_row,
                                  out->bad, out->bad_why);
}

/* The columns of the first line; gives how many there are, 0: too many. */
static size_t csv_head(struct arena *a, struct str *text, int columns[MAX_COLUMNS],
                       bool known[CSV_N])
{
    struct str cell;
    bool has_more = true;
    size_t n = 0;
    for (; has_more && n < MAX_COLUMNS; n++) {
        if (!csv_cell(a, text, &cell, &has_more))
            return 0;
        columns[n] = word_value(csv_columns, cell, -1);
        if (columns[n] >= 0)
            known[columns[n]] = true;
    }
    return has_more ? 0 : n;
}

/* A line of as many cells as the first one has; one without any is passed over. */
static void csv_row(struct arena *a, struct str *text, const int *columns, size_t n,
                    struct day_uses *out)
{
    struct str cells[CSV_N] = {STR_NONE}, cell;
    int64_t day, requests;
    bool has_more = true, is_whole = true, is_empty = true;
    size_t at = 0;
    for (; has_more; at++) {
        is_whole &= csv_cell(a, text, &cell, &has_more);
        is_empty &= cell.n == 0;
        if (at < n && columns[at] >= 0)
            cells[columns[at]] = cell;
    }
    if (is_empty && is_whole)
        return;
    if (!is_whole || at != n) {
        (void)bad_by(out, "row",
                     is_whole ? "has another number of cells than the first" : "has an open quote");
        return;
    }
    if (!day_of_text(a, cells[CSV_DATE], &day)) {
        (void)bad(out, "date");
        return;
    }
    struct day_use *u = use_of(a, out, day, cells[CSV_MODEL]);
    requests = cell_count(out, cells[CSV_REQUESTS], "requests");
    add(&u->requests, requests >= 0 ? requests : 1);
    add(&u->input, cell_count(out, cells[CSV_IN], "prompt_tokens"));
    add(&u->output, cell_count(out, cells[CSV_OUT], "completion_tokens"));
    add(&u->cached, cell_count(out, cells[CSV_CACHED], "tokens_cached"));
    add(&u->nanousd, amount_of(out, cells[CSV_COST], 9, "usage"));
}

static bool read_csv(struct arena *a, struct str text, struct day_uses *out, struct err *e)
{
    int columns[MAX_COLUMNS];
    bool known[CSV_N] = {false};
    size_t n = csv_head(a, &text, columns, known);
    if (n == 0 || !known[CSV_DATE] || !known[CSV_MODEL] || !known[CSV_COST])
        return err_set(e, ERR_INPUT, "unknown_export",
                       "A table must have the columns date, model and usage, or created_at, "
                       "model_permaslug and cost_total, as OpenRouter's activity has");
    while (text.n) {
        out->row++;
        csv_row(a, &text, columns, n, out);
    }
    out->format = "openrouter_csv";
    return no_bad(out, e);
}

bool vendor_read(struct arena *a, struct str text, struct day_uses *out, struct err *e)
{
    yyjson_val *root, *bucket, *r, *data;
    size_t i, n, k, m, n_known = 0;
    int64_t day;
    *out = (struct day_uses){.n = 0};
    text = str_trim(str_starts(text, STR("\xef\xbb\xbf")) ? str_skip(text, 3) : text); /* a BOM */
    if (text.n && text.p[0] != '{' && text.p[0] != '[')
        return read_csv(a, text, out, e);
    if (!json_parse(a, text, 0, &root, e))
        return false;
    data = yyjson_is_arr(root) ? root : json_get(root, "data");
    yyjson_arr_foreach (data, i, n, bucket) {
        yyjson_val *results = json_get(bucket, "results"),
                   *seconds = json_get(bucket, "start_time"),
                   *starting = json_get(bucket, "starting_at"), *date = json_get(bucket, "date");
        yyjson_val *when = seconds ? seconds : starting ? starting : date;
        out->row++;
        if (!when)
            continue;
        n_known++;
        if (!day_of(a, when, &day)) {
            (void)bad(out, seconds ? "start_time" : starting ? "starting_at" : "date");
            continue;
        }
        if (date)
            openrouter_row(a, out, day, bucket);
        yyjson_arr_foreach (results, k, m, r) {
            if (seconds)
                openai_result(a, out, day, r);
            else
                anthropic_result(a, out, day, r);
        }
    }
    if (!no_bad(out, e))
        return false;
    if (!out->format && yyjson_is_arr(data) && n_known == yyjson_arr_size(data))
        out->format = "empty"; /* a page, or days, of which nothing is told */
    return out->format ||
           err_set(e, ERR_INPUT, "unknown_export",
                   "This is none of the known usage exports: OpenAI's usage and costs, "
                   "Anthropic's usage and cost reports, OpenRouter's activity");
}

/* ---- the store ---- */

static void bind_known(struct stmt *s, int at, int64_t v)
{
    if (v < 0)
        stmt_bind_null(s, at);
    else
        stmt_bind_int(s, at, v);
}

bool vendor_put(struct db *db, struct str provider, const struct day_uses *uses, struct err *e)
{
    struct stmt *s = db_prepare(
        db,
        "INSERT INTO vendor_usage(provider, day, model, requests, input, cached, cache_write, "
        "output, "
        "amount) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT (provider, day, model) DO UPDATE "
        "SET "
        "requests = coalesce(?4, requests), input = coalesce(?5, input), cached = coalesce(?6, "
        "cached), cache_write = coalesce(?7, cache_write), output = coalesce(?8, output), amount = "
        "coalesce(?9, amount)",
        e);
    bool ok = s != NULL;
    for (size_t i = 0; ok && i < uses->n; i++) {
        const struct day_use *u = &uses->v[i];
        const int64_t v[] = {u->requests,    u->input,  u->cached,
                             u->cache_write, u->output, u->nanousd};
        stmt_bind_str(s, 1, provider);
        stmt_bind_int(s, 2, u->day);
        stmt_bind_str(s, 3, u->model.p ? u->model : STR(""));
        for (size_t k = 0; k < ARRAY_LEN(v); k++)
            bind_known(s, (int)k + 4, v[k]);
        ok = stmt_run(s, e);
    }
    stmt_free(s);
    return ok;
}

static bool read_days(struct db *db, struct arena *a, const char *sql, struct str provider,
                      int64_t from, int64_t to, struct day_uses *out, struct err *e)
{
    struct stmt *s = db_prepare(db, sql, e);
    *out = (struct day_uses){.n = 0};
    if (!s)
        return false;
    stmt_bind_str(s, 1, provider);
    stmt_bind_int(s, 2, from);
    stmt_bind_int(s, 3, to);
    while (stmt_step(s, e)) {
        /* dated names of one model add up, and so do its prices */
        struct day_use *u = use_of(a, out, stmt_int(s, 0), stmt_str(s, 1));
        int64_t *at[] = {&u->requests, &u->input,   &u->cached,   &u->cache_write,
                         &u->output,   &u->nanousd, &u->repeated, &u->unpriced};
        for (size_t k = 0; k < ARRAY_LEN(at); k++)
            add(at[k], stmt_is_null(s, (int)k + 2) ? -1 : stmt_int(s, (int)k + 2));
        if (stmt_int(s, 10) && stmt_int(s, 2) > u->at_price) {
            u->price = stmt_int(s, 10);
            u->at_price = stmt_int(s, 2);
        }
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool vendor_list(struct db *db, struct arena *a, struct str provider, int64_t from_day,
                 int64_t to_day, struct day_uses *out, struct err *e)
{
    return read_days(
        db, a,
        "SELECT day, model, requests, input, cached, cache_write, output, amount, 0, 0, 0 "
        "FROM vendor_usage WHERE provider = ?1 AND day >= ?2 AND day < ?3 "
        "ORDER BY day, model",
        provider, from_day, to_day, out, e);
}

bool ledger_days(struct db *db, struct arena *a, struct str provider, int64_t from_day,
                 int64_t to_day, struct day_uses *out, struct err *e)
{
    return read_days(
        db, a,
        "SELECT (l.id >> 9) / 86400000000, k.upstream_model, sum(l.entry = 1), "
        "sum(l.input + l.cache_read + l.cache_write_5m + l.cache_write_1h + l.audio_in), "
        "sum(l.cache_read), sum(l.cache_write_5m + l.cache_write_1h), "
        "sum(l.output + l.reasoning + l.audio_out), coalesce(sum(l.amount), 0), "
        "sum(l.entry = 1) - count(DISTINCT CASE l.entry WHEN 1 THEN l.request_id END), "
        "sum(l.amount IS NULL), coalesce(v.version, 0) "
        "FROM ledger l CROSS JOIN ledger_kind k ON k.id = l.kind "
        "LEFT JOIN price_version v ON v.id = l.price WHERE (l.entry = 1 OR l.note = "
        "'" LEDGER_TOLD_LATE "') AND "
        "l.id >= (?2 * 86400000000) << 9 AND l.id < (?3 * 86400000000) << 9 AND k.upstream = ?1 "
        "GROUP BY 1, 2, 11 ORDER BY 1, 2",
        provider, from_day, to_day, out, e);
}

/* ---- where a drift comes from ---- */

static int64_t known(int64_t v)
{
    return v > 0 ? v : 0;
}

static int64_t cost_of(const struct price *p, int64_t in, int64_t cached, int64_t written,
                       int64_t out)
{
    struct usage_vector u = {{0}};
    struct price flat;
    if (!p)
        return 0;
    flat = *p; /* sums of a day say nothing of how long single prompts were */
    flat.n_variants = 0;
    cached = cached < in ? cached : in;
    written = written < in - cached ? written : in - cached;
    u.v[PRICE_CACHE_READ] = cached;
    u.v[PRICE_CACHE_WRITE_5M] = written;
    u.v[PRICE_INPUT] = in - cached - written;
    u.v[PRICE_OUTPUT] = out;
    return known(price_cost(&flat, SERVICE_STANDARD, &u).nanousd);
}

/* v scaled from one number of requests to another. */
static int64_t scaled(int64_t v, int64_t from, int64_t to)
{
    return from > 0 ? (int64_t)((__int128)v * to / from) : 0;
}

static enum drift_cause largest(const struct drift *d)
{
    enum drift_cause c = DRIFT_ROUNDING;
    int64_t most = -1;
    for (int i = 0; i < DRIFT_CAUSES; i++) {
        int64_t v = d->parts[i] < 0 ? -d->parts[i] : d->parts[i];
        if (v > most && v > 0) {
            most = v;
            c = (enum drift_cause)i;
        }
    }
    return c;
}

/* Whether any part is anything: errors that make up for one another are errors. */
static bool is_agreed(const struct drift *d)
{
    for (int i = 0; i < DRIFT_CAUSES; i++)
        if (d->parts[i])
            return false;
    return true;
}

/* What the vendor's own counts leave to be explained, at our price: the same requests with other tokens. */
static int64_t of_tokens(const struct day_use *ours, const struct day_use *vendors, int64_t n,
                         const struct price *p)
{
    if (vendors->input < 0 && vendors->output < 0)
        return 0;
    int64_t in = scaled(known(ours->input), ours->requests, n),
            cached = scaled(known(ours->cached), ours->requests, n),
            written = scaled(known(ours->cache_write), ours->requests, n),
            out = scaled(known(ours->output), ours->requests, n);
    return cost_of(p, vendors->input >= 0 ? vendors->input : in,
                   vendors->cached >= 0 ? vendors->cached : cached,
                   vendors->cache_write >= 0 ? vendors->cache_write : written,
                   vendors->output >= 0 ? vendors->output : out) -
           cost_of(p, in, cached, written, out);
}

/* How many requests each has, as far as both say: the rest of the comparison is for as many of them. */
static int64_t split_requests(const struct day_use *ours, const struct day_use *vendors,
                              struct drift *d)
{
    int64_t n = ours->requests, other = vendors->requests;
    if (other < 0 || n <= 0 || other == n)
        return n;
    int64_t cost = scaled(d->ours, n, other) - d->ours;
    if (other > n) {
        d->parts[DRIFT_MISSING] = cost;
        return other;
    }
    int64_t extra = n - other, twice = ours->repeated < extra ? ours->repeated : extra;
    d->parts[DRIFT_DUPLICATE] = scaled(cost, extra, twice);
    d->parts[DRIFT_UNBILLED] = cost - d->parts[DRIFT_DUPLICATE];
    return other;
}

struct drift drift_of(const struct day_use *ours, const struct day_use *vendors,
                      const struct price *p)
{
    bool is_told = !vendors || vendors->nanousd >= 0; /* what the vendor takes for it */
    struct drift d = {.ours = ours ? known(ours->nanousd) : 0,
                      .vendors = vendors ? known(vendors->nanousd) : 0};
    if (!ours && !is_told)
        d.vendors = cost_of(p, known(vendors->input), known(vendors->cached),
                            known(vendors->cache_write), known(vendors->output));
    int64_t left = d.nanousd = d.vendors - d.ours;
    if (!ours || !vendors) {
        d.parts[ours ? DRIFT_UNBILLED : DRIFT_MISSING] = d.nanousd;
        d.cause = ours ? DRIFT_UNBILLED : DRIFT_MISSING;
        d.is_agreed = is_agreed(&d);
        return d;
    }
    int64_t n = split_requests(ours, vendors, &d);
    if (!is_told) { /* a price is nowhere said: only what differs in number can be */
        d.parts[DRIFT_TOKENS] = of_tokens(ours, vendors, n, p);
        d.nanousd = 0;
        for (int i = 0; i < DRIFT_CAUSES; i++)
            d.nanousd += d.parts[i];
        d.vendors = d.ours + d.nanousd;
        d.cause = largest(&d);
        d.is_agreed = is_agreed(&d);
        return d;
    }
    for (int i = 0; i < DRIFT_CAUSES; i++)
        left -= d.parts[i];
    if (ours->unpriced > 0) { /* ours knows the counts but no price */
        int64_t share = ours->requests > 0 ? scaled(d.vendors, ours->requests, ours->unpriced)
                                           : left;
        d.parts[DRIFT_UNPRICED] = share < left || left < 0 ? (left > 0 ? share : 0) : left;
        left -= d.parts[DRIFT_UNPRICED];
    }
    d.parts[DRIFT_TOKENS] = of_tokens(ours, vendors, n, p);
    left -= d.parts[DRIFT_TOKENS];
    bool is_small = left < CENT / 2 && left > -CENT / 2 &&
                    (d.vendors % CENT == 0 || (left <= 1000 && left >= -1000));
    d.parts[is_small ? DRIFT_ROUNDING : DRIFT_PRICE] = left;
    d.cause = largest(&d);
    d.is_agreed = is_agreed(&d);
    return d;
}
