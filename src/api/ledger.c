/* ledger.c - /sluice/v1/ledger: what was spent, line by line, and whether it comes out the same again; /sluice/v1/costs: the same in sums. */
#include "api/control.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "domain/ledger.h"
#include "gate/budget.h"
#include "meter/ledger_check.h"
#include "meter/usage_log.h"

#define SYNC_MS 5000 /* that a reader waits for the writer */
#define MAX_CSV_ROWS 100000

static struct str time_text(struct arena *a, int64_t ms)
{
    struct buf b;
    buf_init_arena(&b, a, 64);
    clock_rfc3339(&b, ms);
    return buf_str(&b);
}

static const struct word quality_words[] = {{"none", USAGE_NONE},
                                            {"estimated", USAGE_ESTIMATED},
                                            {"derived", USAGE_DERIVED},
                                            {"reported", USAGE_REPORTED},
                                            {0}};

/* ---- CSV: RFC 4180; what a spreadsheet would run is made text ---- */

static void csv_text(struct buf *b, struct str s)
{
    bool is_formula = s.n && strchr("=+-@\t\r", s.p[0]);
    buf_char(b, '"');
    if (is_formula)
        buf_char(b, '\'');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_char(b, '"');
        buf_char(b, s.p[i]);
    }
    buf_char(b, '"');
}

static void csv_value(struct buf *b, const struct shape *s, size_t i, const void *row)
{
    const struct field *f = &s->fields[i];
    const char *at = (const char *)row + f->offset;
    if (i)
        buf_char(b, ',');
    if (f->kind == SHAPE_INT64) {
        int64_t v = *(const int64_t *)(const void *)at;
        bool has_none = (f->flags & NULL_NEGATIVE && v < 0) ||
                        (f->flags & NULL_LEAST && v == INT64_MIN);
        if (!has_none)
            buf_int(b, v);
    } else if (f->kind == SHAPE_JSON) {
        buf_str_add(b, json_lexeme(*(yyjson_val *const *)(const void *)at));
    } else {
        csv_text(b, *(const struct str *)(const void *)at);
    }
}

static bool reply_csv(struct control_call *c, const struct shape *s, const void *first, size_t n,
                      const char *file)
{
    size_t fields = 0;
    while (fields < s->n_fields && s->fields[fields].kind != SHAPE_STRS)
        fields++;
    for (size_t i = 0; i < fields; i++)
        buf_fmt(&c->out, "%s%s", i ? "," : "", s->fields[i].name);
    buf_lit(&c->out, "\r\n");
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < fields; i++)
            csv_value(&c->out, s, i, (const char *)first + r * s->size);
        buf_lit(&c->out, "\r\n");
    }
    c->content_type = "text/csv; charset=utf-8";
    control_header(c, STR("content-disposition"),
                   str_fmt(c->arena, "attachment; filename=\"%s\"", file));
    return true;
}

/* ---- lines ---- */

struct line_out { /* all but the list makes the CSV */
    struct str id, at, entry, request_id, key, org, user, model, provider, upstream_model, ended,
        usage_quality, service, cost_state;
    yyjson_val *cost_nanousd; /* a number, or absent */
    int64_t stated_nanousd, price_version, input_tokens, cache_read_tokens, cache_write_5m_tokens,
        cache_write_1h_tokens, audio_in_tokens, output_tokens, reasoning_tokens, audio_out_tokens,
        images, searches;
    struct str corrects, note, admitted_at;
    struct strs tags;
};
#define LINE_FIELDS                                                                              \
    FIELD(struct line_out, id, 0, "Names the line for ever"),                                    \
        FIELD(struct line_out, at, 0, "When it was settled"),                                    \
        FIELD(struct line_out, entry, 0, "settle, adjust or credit"),                            \
        FIELD(struct line_out, request_id, NULL_EMPTY, "The request"),                           \
        FIELD(struct line_out, key, NULL_EMPTY, "Id of the client key; null: anonymous"),        \
        FIELD(struct line_out, org, NULL_EMPTY, "Organisation that it belonged to"),             \
        FIELD(struct line_out, user, NULL_EMPTY, "User that it belonged to"),                    \
        FIELD(struct line_out, model, NULL_EMPTY, "As the client called it"),                    \
        FIELD(struct line_out, provider, NULL_EMPTY, "Who answered"),                            \
        FIELD(struct line_out, upstream_model, NULL_EMPTY, "As it is called there"),             \
        FIELD(struct line_out, ended, NULL_EMPTY,                                                \
              "done, left_early, left, broken, cancelled, cut or hedged: by which rule it is "   \
              "charged"),                                                                        \
        FIELD(struct line_out, usage_quality, 0, "none, estimated, derived or reported"),        \
        FIELD(struct line_out, service, 0, "standard, batch, flex or priority"),                 \
        FIELD(struct line_out, cost_state, 0, "unknown, partial or known"),                      \
        FIELD(struct line_out, cost_nanousd, 0, "Nano-USD; null: unknown. A credit is below 0"), \
        FIELD(struct line_out, stated_nanousd, NULL_NEGATIVE, "What the upstream says it cost"), \
        FIELD(struct line_out, price_version, NULL_EMPTY, "See /sluice/v1/prices/versions"),     \
        FIELD(struct line_out, input_tokens, 0, "Of the prompt, text that no cache knew"),       \
        FIELD(struct line_out, cache_read_tokens, 0, "Read from a cache"),                       \
        FIELD(struct line_out, cache_write_5m_tokens, 0, "Written to a cache for five minutes"), \
        FIELD(struct line_out, cache_write_1h_tokens, 0, "Written to a cache for an hour"),      \
        FIELD(struct line_out, audio_in_tokens, 0, "Of sound in the prompt"),                    \
        FIELD(struct line_out, output_tokens, 0, "Of text in the reply"),                        \
        FIELD(struct line_out, reasoning_tokens, 0, "Of reasoning"),                             \
        FIELD(struct line_out, audio_out_tokens, 0, "Of sound in the reply"),                    \
        FIELD(struct line_out, images, 0, "Made"),                                               \
        FIELD(struct line_out, searches, 0, "Of the web"),                                       \
        FIELD(struct line_out, corrects, NULL_EMPTY, "Id of the line that this one corrects"),   \
        FIELD(struct line_out, note, NULL_EMPTY, "Why"),                                         \
        FIELD(struct line_out, admitted_at, NULL_EMPTY,                                          \
              "When the request was admitted: the moment that its price is of"),                 \
        FIELD(struct line_out, tags, 0, "Of the key")
static const struct shape line_shape = SHAPE(struct line_out, LINE_FIELDS);

static struct strs tags_of(struct arena *a, struct str json)
{
    struct strs out = {NULL, 0};
    yyjson_val *list, *v;
    size_t i, max;
    if (!json.n || !json_parse(a, json, 4, &list, NULL))
        return out;
    out.v = ARENA_ARRAY(a, struct str, yyjson_arr_size(list) + 1);
    yyjson_arr_foreach (list, i, max, v)
        out.v[out.n++] = json_str(v);
    return out;
}

static yyjson_val *number(struct arena *a, int64_t n)
{
    yyjson_val *v;
    return json_parse(a, str_fmt(a, "%lld", (long long)n), 0, &v, NULL) ? v : NULL;
}

static struct line_out show(struct arena *a, const struct ledger_line *l)
{
    bool is_settled = l->entry == LEDGER_SETTLE;
    int ended = l->ended >= 0 && l->ended < MONEY_ENDS ? l->ended : MONEY_NONE;
    return (struct line_out){
        .id = str_fmt(a, "%lld", (long long)l->id),
        .at = time_text(a, ledger_id_ms(l->id)),
        .entry = str_of(word_text(ledger_entry_words, (int)l->entry, "")),
        .request_id = l->request_id,
        .key = l->key,
        .org = l->org,
        .user = l->user,
        .tags = tags_of(a, l->tags),
        .model = l->model,
        .provider = l->upstream,
        .upstream_model = l->upstream_model,
        .ended = is_settled ? str_of(money_ends[ended].name) : STR_NONE,
        .usage_quality = str_of(word_text(quality_words, l->quality, "none")),
        .service = str_of(word_text(price_service_words, l->service, "standard")),
        .cost_state = str_of(word_text(cost_state_words, l->state, "unknown")),
        .cost_nanousd = is_settled && l->amount < 0 ? NULL : number(a, l->amount),
        .stated_nanousd = l->stated,
        .price_version = l->price,
        .input_tokens = l->parts[PRICE_INPUT],
        .cache_read_tokens = l->parts[PRICE_CACHE_READ],
        .cache_write_5m_tokens = l->parts[PRICE_CACHE_WRITE_5M],
        .cache_write_1h_tokens = l->parts[PRICE_CACHE_WRITE_1H],
        .audio_in_tokens = l->parts[PRICE_AUDIO_IN],
        .output_tokens = l->parts[PRICE_OUTPUT],
        .reasoning_tokens = l->parts[PRICE_REASONING],
        .audio_out_tokens = l->parts[PRICE_AUDIO_OUT],
        .images = l->parts[PRICE_IMAGE],
        .searches = l->parts[PRICE_SEARCH],
        .corrects = l->corrects > 0 ? str_fmt(a, "%lld", (long long)l->corrects) : STR_NONE,
        .note = l->note,
        .admitted_at = is_settled ? time_text(a, l->admitted_ms) : STR_NONE,
    };
}

struct ledger_query {
    int64_t limit;
    struct str after, sort, from, to, key, org, user, tag, model, provider, request_id, entry,
        format;
    bool unpriced;
};
#define FILTER_FIELDS(type)                                                                       \
    FIELD(type, from, 0, "From this time on (RFC 3339)"), FIELD(type, to, 0, "Before this time"), \
        FIELD(type, key, 0, "Of this client key"), FIELD(type, org, 0, "Of this organisation"),   \
        FIELD(type, user, 0, "Of this user"), FIELD(type, tag, 0, "Of keys with this tag"),       \
        FIELD(type, model, 0, "Of this model"),                                                   \
        FIELD(type, provider, 0, "That this provider answered")
static const struct shape ledger_query_shape = SHAPE(
    struct ledger_query,
    FIELD_RANGE(struct ledger_query, limit, 1, MAX_CSV_ROWS, 0, "Page size; 100 when absent"),
    FIELD(struct ledger_query, after, 0, "Begin behind this line: the page before's next"),
    FIELD(struct ledger_query, sort, 0, JOURNAL_SORT_DOC), FILTER_FIELDS(struct ledger_query),
    FIELD(struct ledger_query, request_id, 0, "Of this request"),
    FIELD(struct ledger_query, entry, 0, "settle, adjust or credit"),
    FIELD(struct ledger_query, unpriced, 0, "Only lines whose cost is unknown"),
    FIELD(struct ledger_query, format, 0, "csv: the page as a table"));

static bool list(struct control_call *c, struct err *e)
{
    const struct ledger_query *q = c->asked;
    struct ledger_filter f = {.key = q->key,
                              .org = q->org,
                              .user = q->user,
                              .tag = q->tag,
                              .model = q->model,
                              .upstream = q->provider,
                              .request_id = q->request_id,
                              .entry = word_value(ledger_entry_words, q->entry, 0),
                              .only_unpriced = q->unpriced};
    int64_t beyond = 0;
    size_t limit = q->limit ? (size_t)q->limit : 100, n;
    struct ledger_line *lines;
    struct db *db = control_db(c, e);
    if (!db || !journal_time(q->from, "from", &f.from_ms, e) ||
        !journal_time(q->to, "to", &f.to_ms, e) || !journal_order(q->sort, &f.oldest_first, e))
        return false;
    if (q->entry.n && !f.entry)
        return err_field(e, "entry", "'entry' must be settle, adjust or credit");
    if (q->after.n && !str_to_int(q->after, &beyond))
        return err_field(e, "after", "'after' is not the next of a page");
    if (!ledger_list(db, c->arena, &f, beyond, limit + 1, &lines, &n, e))
        return false;
    bool has_more = n > limit;
    n = has_more ? limit : n;
    struct line_out *v = ARENA_ARRAY(c->arena, struct line_out, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = show(c->arena, &lines[i]);
    if (str_is(q->format, "csv"))
        return reply_csv(c, &line_shape, v, n, "ledger.csv");
    return control_reply_page(c, &line_shape, v, n, has_more ? v[n - 1].id : STR_NONE);
}

/* ---- one line, as a bill ---- */

struct bill_line {
    struct str part;
    int64_t quantity, rate_nanousd, cost_nanousd;
};
static const struct shape bill_line_shape = SHAPE(
    struct bill_line, FIELD(struct bill_line, part, 0, "What was used: input, output, …"),
    FIELD(struct bill_line, quantity, 0, "How much of it"),
    FIELD(struct bill_line, rate_nanousd, NULL_NEGATIVE,
          "Nano-USD for a million tokens, or for one image, search or request; null: unknown"),
    FIELD(struct bill_line, cost_nanousd, 0, "Nano-USD; the lines add up to the cost"));
struct bill_out {
    struct line_out line;
    struct shape_list bill, corrections;
    yyjson_val *price;
};
static const struct shape bill_shape = SHAPE(
    struct bill_out, FIELD_OBJECT(struct bill_out, line, &line_shape, 0, "The line"),
    FIELD_LIST(struct bill_out, bill, &bill_line_shape, 0, "What its cost is made of"),
    FIELD_LIST(struct bill_out, corrections, &line_shape, 0, "Lines that correct it"),
    FIELD(struct bill_out, price, 0, "That it was priced with; null: none"));

static bool get(struct control_call *c, struct err *e)
{
    struct str text = route_param(&c->params, "id");
    struct ledger_line l, *found;
    int64_t id;
    size_t n;
    struct db *db = control_db(c, e);
    if (!db)
        return false;
    if (!str_to_int(text, &id)) { /* of a request */
        if (!ledger_list(db, c->arena,
                         &(struct ledger_filter){.request_id = text, .entry = LEDGER_SETTLE}, 0, 1,
                         &found, &n, e))
            return false;
        id = n ? found[0].id : 0;
    }
    if (!ledger_get(db, c->arena, id, &l, e))
        return false;
    struct bill_out out = {.line = show(c->arena, &l)};
    struct price p;
    struct err gone = ERR_INIT;
    yyjson_val *root;
    if (l.entry == LEDGER_SETTLE && l.price &&
        price_version_get(db, c->arena, l.price, &p, &gone)) {
        struct usage_vector u;
        struct cost_line lines[PRICE_PARTS];
        memcpy(u.v, l.parts, sizeof u.v);
        size_t k = price_lines(&p, (enum price_service)l.service, &u, lines);
        struct bill_line *v = ARENA_ARRAY(c->arena, struct bill_line, k + 1);
        for (size_t i = 0; i < k; i++)
            v[i] = (struct bill_line){str_of(price_part_names[lines[i].part]), lines[i].quantity,
                                      lines[i].rate, lines[i].nanousd};
        out.bill = (struct shape_list){v, k};
        if (json_parse(c->arena, p.text, 0, &root, NULL))
            out.price = json_get(root, "price");
    }
    struct stmt *s = db_prepare(db, "SELECT id FROM ledger WHERE corrects = ?1 ORDER BY id", e);
    struct line_out *v = ARENA_ARRAY(c->arena, struct line_out, 100);
    size_t corrections = 0;
    if (!s)
        return false;
    stmt_bind_int(s, 1, id);
    while (corrections < 100 && stmt_step(s, e)) {
        struct ledger_line one;
        if (ledger_get(db, c->arena, stmt_int(s, 0), &one, &gone))
            v[corrections++] = show(c->arena, &one);
    }
    stmt_free(s);
    out.corrections = (struct shape_list){v, corrections};
    return e->kind == ERR_NONE && control_reply(c, 200, &bill_shape, &out);
}

/* ---- corrections and credits ---- */

struct entry_in {
    struct str entry, key, org, user, corrects, note;
    struct strs tags;
    int64_t amount_nanousd;
};
static const struct shape entry_in_shape = SHAPE_STRICT(
    struct entry_in, FIELD(struct entry_in, entry, REQUIRED | NOT_EMPTY, "adjust or credit"),
    FIELD(struct entry_in, amount_nanousd, REQUIRED,
          "Nano-USD; a credit is given as what it takes away, above 0"),
    FIELD(struct entry_in, key, 0, "Client key that it is for"),
    FIELD(struct entry_in, org, 0, "Organisation that it is for; a key's own when absent"),
    FIELD(struct entry_in, user, 0, "User that it is for; a key's own when absent"),
    FIELD(struct entry_in, tags, 0, "Tags that it counts for; a key's own when absent"),
    FIELD(struct entry_in, corrects, 0, "Id of a line that it corrects: then it is whose that is"),
    FIELD(struct entry_in, note, REQUIRED | NOT_EMPTY, "Why"));

static struct str tags_json(struct arena *a, const struct strs *tags)
{
    struct buf b;
    if (tags->n == 0)
        return STR("");
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_array(&w);
    for (size_t i = 0; i < tags->n; i++)
        jw_str(&w, tags->v[i]);
    jw_array_end(&w);
    return buf_str(&b);
}

static bool has_tag(struct str tags, struct str tag)
{
    struct arena *a = arena_new();
    struct strs list = tags_of(a, tags);
    bool has = false;
    for (size_t i = 0; i < list.n && !has; i++)
        has = str_eq(list.v[i], tag);
    arena_free(a);
    return has;
}

/* Budgets hear of corrections once they are committed, not with the next start. */
struct told {
    const struct snapshot *snap;
    int64_t *nanousd; /* of each of its budgets */
};

static struct told told_new(struct control_call *c)
{
    return (struct told){c->snap, ARENA_ARRAY(c->arena, int64_t, c->snap->n_budgets + 1)};
}

static void tell(void *arg, const struct ledger_line *l)
{
    struct told *t = arg;
    for (size_t i = 0; i < t->snap->n_budgets; i++) {
        const struct budget *b = t->snap->budgets[i];
        bool is_its = b->scope == BUDGET_ALL ||
                      (b->scope == BUDGET_KEY && str_eq(b->subject, l->key)) ||
                      (b->scope == BUDGET_ORG && str_eq(b->subject, l->org)) ||
                      (b->scope == BUDGET_USER && str_eq(b->subject, l->user)) ||
                      (b->scope == BUDGET_TAG && l->tags.n && has_tag(l->tags, b->subject));
        if (is_its)
            t->nanousd[i] += l->amount;
    }
}

static void told_all(const struct told *t, int64_t at_ms)
{
    for (size_t i = 0; i < t->snap->n_budgets; i++)
        if (t->nanousd[i])
            budget_adjust(t->snap->budgets[i], t->nanousd[i], at_ms);
}

static bool add(struct control_call *c, struct err *e)
{
    const struct entry_in *in = c->in;
    int entry = word_value(ledger_entry_words, in->entry, 0);
    struct db *db = control_db(c, e);
    if (entry != LEDGER_ADJUST && entry != LEDGER_CREDIT)
        return err_field(e, "entry", "'entry' must be adjust or credit");
    if (in->amount_nanousd == 0 || in->amount_nanousd > 1000000000000000 ||
        in->amount_nanousd < (entry == LEDGER_CREDIT ? 0 : -1000000000000000))
        return err_field(e, "amount_nanousd", "'amount_nanousd' must be an amount, not 0%s",
                         entry == LEDGER_CREDIT ? " and not below" : "");
    if (str_is(in->note, LEDGER_REPRICED))
        return err_field(e, "note", "'note' must say why: this is what computing again writes");
    if (!db)
        return false;
    struct ledger_line l = {.entry = (enum ledger_entry)entry,
                            .key = in->key,
                            .org = in->org,
                            .user = in->user,
                            .tags = tags_json(c->arena, &in->tags),
                            .note = in->note,
                            .state = COST_KNOWN,
                            .amount = entry == LEDGER_CREDIT ? -in->amount_nanousd
                                                             : in->amount_nanousd};
    if (in->corrects.n) {
        struct ledger_line of;
        int64_t id;
        if (!str_to_int(in->corrects, &id) || !ledger_get(db, c->arena, id, &of, e))
            return err_field(e, "corrects", "'corrects' is no line of the ledger");
        l.corrects = id;
        l.request_id = of.request_id;
        l.key = of.key, l.org = of.org, l.user = of.user, l.tags = of.tags;
        l.model = of.model, l.upstream = of.upstream, l.upstream_model = of.upstream_model;
    }
    const struct key *key = in->corrects.n ? NULL : snapshot_key_by_id(c->snap, l.key);
    if (l.key.n && !key && !in->corrects.n)
        return err_field(e, "key", "There is no key '" STR_FMT "'", STR_ARG(str_first(l.key, 100)));
    if (l.org.n && !in->corrects.n && !snapshot_holder(c->snap, HOLDER_ORG, l.org))
        return err_field(e, "org", "There is no org '" STR_FMT "'", STR_ARG(str_first(l.org, 100)));
    if (l.user.n && !in->corrects.n && !snapshot_holder(c->snap, HOLDER_USER, l.user))
        return err_field(e, "user", "There is no user '" STR_FMT "'",
                         STR_ARG(str_first(l.user, 100)));
    if (key && !l.org.n && key->org)
        l.org = key->org->id;
    if (key && !l.user.n && key->user)
        l.user = key->user->id;
    if (key && !l.tags.n)
        l.tags = tags_json(c->arena, &key->policy->tags);
    l.id = ledger_id_at(clock_wall_ms());
    if (!db_begin(db, e))
        return false;
    if (!ledger_append(db, &l, e)) {
        db_rollback(db);
        return false;
    }
    struct line_out out = show(c->arena, &l);
    control_audit(c, "ledger", out.id, STR_NONE,
                  str_fmt(c->arena, "{\"amount_nanousd\":%lld}", (long long)l.amount));
    if (!control_audit_write(c, db, 201, e)) {
        db_rollback(db);
        return false;
    }
    if (!db_commit(db, e))
        return false;
    struct told told = told_new(c);
    tell(&told, &l);
    told_all(&told, ledger_id_ms(l.id));
    return control_reply(c, 201, &line_shape, &out);
}

/* ---- computing it again ---- */

struct span_query {
    struct str from, to;
};
static const struct shape span_query_shape = SHAPE(
    struct span_query, FIELD(struct span_query, from, 0, "From this time on; absent: all"),
    FIELD(struct span_query, to, 0, "Before this time"));
struct check_out {
    int64_t lines, unpriced, corrections, total_nanousd, recomputed_nanousd, wrong, wrong_hours,
        missing_prices;
    bool ok;
    struct str first_wrong;
};
static const struct shape check_shape = SHAPE(
    struct check_out, FIELD(struct check_out, ok, 0, "Whether everything comes out as it stands"),
    FIELD(struct check_out, lines, 0, "Settled requests that were computed again"),
    FIELD(struct check_out, unpriced, 0, "Of these, how many have no known cost"),
    FIELD(struct check_out, corrections, 0, "Adjustments and credits beside them"),
    FIELD(struct check_out, total_nanousd, 0, "What the lines say"),
    FIELD(struct check_out, recomputed_nanousd, 0, "What comes out of quantities and prices"),
    FIELD(struct check_out, wrong, 0, "Lines that come to another amount"),
    FIELD(struct check_out, first_wrong, NULL_EMPTY, "The first of them"),
    FIELD(struct check_out, wrong_hours, 0, "Sums by hour that are not those of their lines"),
    FIELD(struct check_out, missing_prices, 0,
          "Lines whose price is not kept: taken as they stand"));

static bool verify(struct control_call *c, struct err *e)
{
    const struct span_query *q = c->asked;
    struct ledger_check r;
    int64_t from, to;
    struct db *db = control_db(c, e);
    if (!db || !journal_time(q->from, "from", &from, e) || !journal_time(q->to, "to", &to, e))
        return false;
    if (c->control->usage)
        (void)!usage_log_sync(c->control->usage, SYNC_MS);
    if (!ledger_check(db, from, to, &r, e))
        return false;
    struct check_out out = {r.lines,
                            r.unpriced,
                            r.corrections,
                            r.total,
                            r.recomputed,
                            r.wrong,
                            r.wrong_hours,
                            r.missing_prices,
                            r.wrong == 0 && r.wrong_hours == 0,
                            r.first_wrong ? str_fmt(c->arena, "%lld", (long long)r.first_wrong)
                                          : STR_NONE};
    return control_reply(c, 200, &check_shape, &out);
}

struct reprice_in {
    struct str from, to, model;
    bool dry_run;
};
static const struct shape reprice_in_shape = SHAPE_STRICT(
    struct reprice_in, FIELD(struct reprice_in, from, REQUIRED | NOT_EMPTY, "From this time on"),
    FIELD(struct reprice_in, to, REQUIRED | NOT_EMPTY, "Before this time"),
    FIELD(struct reprice_in, model, 0, "Only requests for this model"),
    FIELD(struct reprice_in, dry_run, 0, "Whether it is only computed; true when absent"));
struct reprice_out {
    int64_t lines, changed, unknown, before_nanousd, after_nanousd;
    bool dry_run;
};
static const struct shape reprice_shape = SHAPE(
    struct reprice_out, FIELD(struct reprice_out, lines, 0, "Settled requests that were looked at"),
    FIELD(struct reprice_out, changed, 0, "How many come to another amount"),
    FIELD(struct reprice_out, unknown, 0,
          "Of these, how many are left as they stand, since no price is known for them"),
    FIELD(struct reprice_out, before_nanousd, 0,
          "Their cost so far, as last priced; what was corrected or credited by hand stands beside "
          "it"),
    FIELD(struct reprice_out, after_nanousd, 0,
          "At the prices that are known now for the moments in which they were admitted"),
    FIELD(struct reprice_out, dry_run, 0, "Whether nothing was written"));

static bool reprice(struct control_call *c, struct err *e)
{
    const struct reprice_in *in = c->in;
    bool is_dry = !(c->present >> 3 & 1) || in->dry_run;
    struct ledger_reprice r;
    int64_t from, to, now = clock_wall_ms();
    struct told told = told_new(c);
    struct db *db = control_db(c, e);
    if (!db || !journal_time(in->from, "from", &from, e) || !journal_time(in->to, "to", &to, e) ||
        !db_begin(db, e))
        return false;
    if (!ledger_reprice(db, c->snap, from, to, in->model, is_dry, now, tell, &told, &r, e)) {
        db_rollback(db);
        return false;
    }
    struct reprice_out out = {r.lines, r.changed, r.unknown, r.before, r.after, is_dry};
    if (!is_dry)
        control_audit(c, "ledger", STR("reprice"), STR_NONE,
                      str_fmt(c->arena, "{\"changed\":%lld,\"difference_nanousd\":%lld}",
                              (long long)r.changed, (long long)(r.after - r.before)));
    if (!db_commit(db, e))
        return false;
    told_all(&told, now);
    return control_reply(c, 200, &reprice_shape, &out);
}

/* ---- sums ---- */

enum dim {
    BY_KEY,
    BY_ORG,
    BY_USER,
    BY_MODEL,
    BY_PROVIDER,
    BY_TAG,
    DIMS
};
static const struct word dim_words[] = {
    {"key", BY_KEY},           {"org", BY_ORG},           {"user", BY_USER}, {"model", BY_MODEL},
    {"provider", BY_PROVIDER}, {"upstream", BY_PROVIDER}, {"tag", BY_TAG},   {0}};
enum bucket {
    BUCKET_TOTAL,
    BUCKET_HOUR,
    BUCKET_DAY,
    BUCKET_MONTH
};
static const struct word bucket_words[] = {{"total", BUCKET_TOTAL},
                                           {"hour", BUCKET_HOUR},
                                           {"day", BUCKET_DAY},
                                           {"month", BUCKET_MONTH},
                                           {0}};

struct cost_out {
    struct str at, key, org, user, model, provider, tag;
    int64_t requests, unpriced, cost_nanousd, stated_nanousd, stated_requests, input_tokens,
        cached_tokens, output_tokens;
};
static const struct shape cost_shape = SHAPE(
    struct cost_out, FIELD(struct cost_out, at, NULL_EMPTY, "Beginning of the span; null: of all"),
    FIELD(struct cost_out, key, OMIT_EMPTY, "Grouped by: client key"),
    FIELD(struct cost_out, org, OMIT_EMPTY, "Grouped by: organisation"),
    FIELD(struct cost_out, user, OMIT_EMPTY, "Grouped by: user"),
    FIELD(struct cost_out, model, OMIT_EMPTY, "Grouped by: model"),
    FIELD(struct cost_out, provider, OMIT_EMPTY, "Grouped by: provider"),
    FIELD(struct cost_out, tag, OMIT_EMPTY, "Grouped by: tag; a key with two counts under both"),
    FIELD(struct cost_out, requests, 0, "Settled requests"),
    FIELD(struct cost_out, unpriced, 0, "Of these, how many have no known cost"),
    FIELD(struct cost_out, cost_nanousd, NULL_LEAST,
          "Nano-USD, with adjustments and credits; null: the cost of none of them is known"),
    FIELD(struct cost_out, stated_nanousd, 0,
          "What upstreams say, of those requests where they do"),
    FIELD(struct cost_out, stated_requests, 0, "How many these are"),
    FIELD(struct cost_out, input_tokens, 0, "All tokens of prompts"),
    FIELD(struct cost_out, cached_tokens, 0, "Of these, read from caches"),
    FIELD(struct cost_out, output_tokens, 0, "All tokens of replies"));
struct costs_out {
    struct shape_list data;
    int64_t total_nanousd, requests, input_tokens, output_tokens, unpriced, forecast_nanousd;
    struct str from, to;
};
static const struct shape costs_shape = SHAPE(
    struct costs_out, FIELD_LIST(struct costs_out, data, &cost_shape, 0, "By span and group"),
    FIELD(struct costs_out, total_nanousd, NULL_LEAST,
          "Of the whole, each request once; null: the cost of none is known"),
    FIELD(struct costs_out, requests, 0, "Settled requests of the whole, each once"),
    FIELD(struct costs_out, input_tokens, 0, "All tokens of their prompts"),
    FIELD(struct costs_out, output_tokens, 0, "All tokens of their replies"),
    FIELD(struct costs_out, unpriced, 0, "Requests without a known cost: on top of it"),
    FIELD(struct costs_out, forecast_nanousd, NULL_NEGATIVE,
          "What this month comes to at the pace of its days so far; null: too early to say, or "
          "nothing of it has a known cost"),
    FIELD(struct costs_out, from, NULL_EMPTY, "Of what it is"),
    FIELD(struct costs_out, to, NULL_EMPTY, "Of what it is"));

struct costs_query {
    struct str group_by, bucket, time_zone, from, to, key, org, user, tag, model, provider, format;
};
static const struct shape costs_query_shape = SHAPE(
    struct costs_query,
    FIELD(struct costs_query, group_by, 0,
          "Up to two of key, org, user, model, provider, tag; a comma between them"),
    FIELD(struct costs_query, bucket, 0, "hour, day (when absent), month or total"),
    FIELD(struct costs_query, time_zone, 0, "IANA name in which days and months begin; UTC"),
    FILTER_FIELDS(struct costs_query), FIELD(struct costs_query, format, 0, "csv: as a table"));

struct summing {
    struct arena *a;
    const struct zone *zone;
    enum bucket bucket;
    int dims[2];
    size_t n_dims;
    struct map rows; /* -> struct cost_out */
    struct cost_out **v;
    size_t n, cap;
    int64_t begin, end; /* of the span that was last asked for: they come in runs */
    int64_t total, requests, unpriced, tokens_in, tokens_out;
};

static struct str dim_text(const struct ledger_line *of, enum dim d)
{
    switch (d) {
    case BY_KEY:
        return of->key;
    case BY_ORG:
        return of->org;
    case BY_USER:
        return of->user;
    case BY_MODEL:
        return of->model;
    case BY_PROVIDER:
        return of->upstream;
    case BY_TAG:
    case DIMS:
        break;
    }
    return STR_NONE;
}

/* Spans are hours, days and months by the clocks of the zone, which may begin inside an hour of UTC. */
static void find_span(struct summing *s, int64_t ms)
{
    if (ms >= s->begin && ms < s->end)
        return;
    switch (s->bucket) {
    case BUCKET_TOTAL:
        s->begin = 0;
        s->end = INT64_MAX;
        break;
    case BUCKET_HOUR:
        hour_bounds(s->zone, ms, &s->begin, &s->end);
        break;
    case BUCKET_DAY:
    case BUCKET_MONTH:
        period_bounds(s->zone, s->bucket == BUCKET_DAY ? BUDGET_DAY : BUDGET_MONTH, ms, &s->begin,
                      &s->end);
        break;
    }
}

static int64_t span_ends(void *arg, int64_t ms)
{
    struct summing *s = arg;
    find_span(s, ms);
    return s->end;
}

static struct cost_out *row_of(struct summing *s, int64_t begin, const struct str *texts)
{
    struct buf key;
    buf_init_arena(&key, s->a, SIZE_MAX / 4);
    buf_int(&key, begin);
    for (size_t i = 0; i < s->n_dims; i++) {
        buf_char(&key, '\0');
        buf_str_add(&key, texts[i]);
    }
    struct cost_out *r = map_get(&s->rows, buf_str(&key));
    if (r)
        return r;
    r = ARENA_NEW(s->a, struct cost_out);
    r->at = s->bucket == BUCKET_TOTAL ? STR_NONE : time_text(s->a, begin);
    struct str *members[DIMS] = {&r->key, &r->org, &r->user, &r->model, &r->provider, &r->tag};
    for (size_t i = 0; i < s->n_dims; i++)
        *members[s->dims[i]] = texts[i].n ? str_dup(s->a, texts[i]) : STR("(none)");
    map_set(&s->rows, buf_str(&key), r);
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        s->v = arena_realloc(s->a, s->v, s->cap * sizeof *s->v, cap * sizeof *s->v);
        s->cap = cap;
    }
    return s->v[s->n++] = r;
}

static void add_sum(struct cost_out *r, const struct ledger_sum *x)
{
    r->requests += x->n;
    r->unpriced += x->unpriced;
    r->cost_nanousd += x->amount;
    r->stated_nanousd += x->stated;
    r->stated_requests += x->stated_n;
    r->input_tokens += x->tokens_in;
    r->cached_tokens += x->cached;
    r->output_tokens += x->tokens_out;
}

static void on_sum(void *arg, int64_t at_ms, const struct ledger_line *of,
                   const struct ledger_sum *x)
{
    struct summing *s = arg;
    int tag_at = s->n_dims > 0 && s->dims[0] == BY_TAG   ? 0
                 : s->n_dims > 1 && s->dims[1] == BY_TAG ? 1
                                                         : -1;
    struct strs tags = tag_at >= 0 ? tags_of(s->a, of->tags) : (struct strs){NULL, 0};
    struct str texts[2] = {STR_NONE, STR_NONE};
    find_span(s, at_ms);
    s->total += x->amount;
    s->requests += x->n;
    s->tokens_in += x->tokens_in;
    s->tokens_out += x->tokens_out;
    s->unpriced += x->unpriced;
    for (size_t i = 0; i < s->n_dims; i++)
        texts[i] = dim_text(of, (enum dim)s->dims[i]);
    for (size_t t = 0; t < (tags.n ? tags.n : 1); t++) {
        if (tag_at >= 0)
            texts[tag_at] = tags.n ? tags.v[t] : STR_NONE;
        add_sum(row_of(s, s->begin, texts), x);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct cost_out *const *x = a, *const *y = b;
    size_t n = (*x)->at.n < (*y)->at.n ? (*x)->at.n : (*y)->at.n;
    int order = n ? memcmp((*x)->at.p, (*y)->at.p, n) : 0;
    return order                                     ? order
           : (*x)->cost_nanousd > (*y)->cost_nanousd ? -1
                                                     : (*x)->cost_nanousd < (*y)->cost_nanousd;
}

/* INT64_MIN: nothing but requests whose cost nobody knows, and that is not zero. */
static int64_t known_sum(int64_t requests, int64_t unpriced, int64_t sum)
{
    return requests > 0 && unpriced == requests && sum == 0 ? INT64_MIN : sum;
}

/* Of the month under way, for what the filter leaves. */
static bool forecast(struct db *db, const struct ledger_filter *f, const struct zone *z,
                     int64_t *out, struct err *e)
{
    int64_t begin, end, now = clock_wall_ms();
    struct ledger_filter month = *f;
    struct summing s = {.a = arena_new()};
    period_bounds(z, BUDGET_MONTH, now, &begin, &end);
    month.from_ms = begin;
    month.to_ms = 0;
    map_init(&s.rows);
    bool ok = ledger_sums(db, &month, span_ends, on_sum, &s, e);
    bool says_nothing = now - begin < 3600000 ||
                        known_sum(s.requests, s.unpriced, s.total) == INT64_MIN;
    *out = says_nothing ? -1 : (int64_t)((__int128)s.total * (end - begin) / (now - begin));
    map_done(&s.rows);
    arena_free(s.a);
    return ok;
}

static bool costs(struct control_call *c, struct err *e)
{
    const struct costs_query *q = c->asked;
    struct ledger_filter f = {.key = q->key,
                              .org = q->org,
                              .user = q->user,
                              .tag = q->tag,
                              .model = q->model,
                              .upstream = q->provider};
    struct summing s = {.a = c->arena};
    int bucket = q->bucket.n ? word_value(bucket_words, q->bucket, -1) : BUCKET_DAY;
    struct err unknown = ERR_INIT;
    struct db *db = control_db(c, e);
    if (!db || !journal_time(q->from, "from", &f.from_ms, e) ||
        !journal_time(q->to, "to", &f.to_ms, e))
        return false;
    if (bucket < 0)
        return err_field(e, "bucket", "'bucket' must be hour, day, month or total");
    for (struct str rest = q->group_by, one; rest.n; s.n_dims++) {
        rest = str_cut(rest, ',', &one);
        int dim = word_value(dim_words, str_trim(one), -1);
        if (dim < 0 || s.n_dims == ARRAY_LEN(s.dims))
            return err_field(e, "group_by",
                             "'group_by' takes two of key, org, user, model, provider and tag");
        s.dims[s.n_dims] = dim;
    }
    s.bucket = (enum bucket)bucket;
    s.zone = zone_load(c->arena, q->time_zone, &unknown);
    if (!s.zone)
        return err_field(e, "time_zone", "'time_zone' is not known here");
    map_init(&s.rows);
    bool ok = ledger_sums(db, &f, span_ends, on_sum, &s, e);
    map_done(&s.rows);
    struct costs_out out = {.total_nanousd = known_sum(s.requests, s.unpriced, s.total),
                            .requests = s.requests,
                            .input_tokens = s.tokens_in,
                            .output_tokens = s.tokens_out,
                            .unpriced = s.unpriced};
    if (!ok || !forecast(db, &f, s.zone, &out.forecast_nanousd, e))
        return false;
    if (s.n)
        qsort(s.v, s.n, sizeof *s.v, by_time);
    struct cost_out *v = ARENA_ARRAY(c->arena, struct cost_out, s.n + 1);
    for (size_t i = 0; i < s.n; i++) {
        v[i] = *s.v[i];
        v[i].cost_nanousd = known_sum(v[i].requests, v[i].unpriced, v[i].cost_nanousd);
    }
    if (str_is(q->format, "csv"))
        return reply_csv(c, &cost_shape, v, s.n, "costs.csv");
    out.data = (struct shape_list){v, s.n};
    out.from = f.from_ms ? time_text(c->arena, f.from_ms) : STR_NONE;
    out.to = f.to_ms ? time_text(c->arena, f.to_ms) : STR_NONE;
    return control_reply(c, 200, &costs_shape, &out);
}

/* clang-format off */
const struct endpoint ledger_endpoints[] = {
    { HTTP_GET,  "/sluice/v1/ledger", SURFACE_SLUICE, ACCESS_VIEWER, "List what was spent, newest first", .on_worker = list, .has_csv = true, .query = &ledger_query_shape, .out = &line_shape, .is_page = true },
    { HTTP_POST, "/sluice/v1/ledger", SURFACE_SLUICE, ACCESS_ADMIN, "Add a correction or a credit", .on_worker = add, .in = &entry_in_shape, .out = &line_shape, .status = 201 },
    { HTTP_GET,  "/sluice/v1/ledger/verify", SURFACE_SLUICE, ACCESS_VIEWER, "Compute the ledger again and compare", .on_worker = verify, .query = &span_query_shape, .out = &check_shape },
    { HTTP_POST, "/sluice/v1/ledger/reprice", SURFACE_SLUICE, ACCESS_ADMIN, "What a span costs at the prices known now; writes the differences as corrections", .on_worker = reprice, .in = &reprice_in_shape, .out = &reprice_shape, .is_create = true },
    { HTTP_GET,  "/sluice/v1/ledger/{id}", SURFACE_SLUICE, ACCESS_VIEWER, "One line, by its id or its request's, and what its cost is made of", .on_worker = get, .out = &bill_shape },
    { HTTP_GET,  "/sluice/v1/costs", SURFACE_SLUICE, ACCESS_VIEWER, "Costs over time, grouped by any two dimensions", .on_worker = costs, .has_csv = true, .query = &costs_query_shape, .out = &costs_shape },
    {0},
};
/* clang-format on */
