/* cmd_price.c - sluice price …: what models cost, lists that are read in, prices set by hand; sluice ledger verify. */
#include "api/change_route.h"
#include "app/office.h"
#include "base/banned.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/file.h"
#include "domain/audit.h"
#include "domain/price_list.h"
#include "meter/ledger_check.h"

#define MAX_LIST (64u << 20)

static struct str usd(struct arena *a, int64_t nanousd)
{
    struct buf b;
    if (nanousd < 0)
        return STR("-");
    buf_init_arena(&b, a, 64);
    decimal_write_nano(&b, nanousd);
    return buf_str(&b);
}

int cmd_price_list(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct snapshot *snap;
    struct sheet t;
    const struct price *const *rows;
    if (!cli_snapshot(c, &s, &snap, &e))
        return cli_fail(&e);
    struct str part = c->n_args ? str_of(c->args[0]) : STR_NONE;
    size_t n = price_book_rows(snap->prices, c->arena, &rows);
    sheet_init(&t, c->arena, 7);
    const char *const head[] = {"PRICE", "FROM", "INPUT", "CACHED", "OUTPUT", "VERSION", "NOTE"};
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        sheet_add(&t, str_of(head[i]));
    for (size_t i = 0; i < n; i++) {
        const struct price *p = rows[i];
        struct str name = str_fmt(c->arena, STR_FMT "/" STR_FMT, STR_ARG(p->provider),
                                  STR_ARG(p->model));
        if (part.n && !str_contains(name, part))
            continue;
        sheet_add(&t, name);
        sheet_add(&t, str_of(word_text(price_source_words, (int)p->source, "")));
        sheet_add(&t, usd(c->arena, p->base.v[PRICE_INPUT]));
        sheet_add(&t, usd(c->arena, p->base.v[PRICE_CACHE_READ]));
        sheet_add(&t, usd(c->arena, p->base.v[PRICE_OUTPUT]));
        sheet_add(&t, str_fmt(c->arena, "%lld", (long long)p->version));
        sheet_add(&t, p->provenance);
    }
    sheet_print(&t);
    snapshot_unref(snap);
    state_close(&s);
    return 0;
}

/* As the API notes it. */
static bool note_import(struct cli *c, struct db *db, const struct price_rows *rows, int64_t added,
                        struct err *e)
{
    struct audit_row row = audit_of_shell(c->arena, clock_wall_ms(), "prices",
                                          str_of(rows->format));
    row.after = price_rows_told(c->arena, rows, added);
    return audit_append(db, &row, e);
}

int cmd_price_import(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct price_rows rows = {.n = 0};
    struct price_import how = {.source = c->n_args > 1 ? PRICE_PROVIDER : PRICE_LIST,
                               .provider = c->n_args > 1 ? str_of(c->args[1]) : STR_NONE,
                               .provenance = str_of(c->args[0]),
                               .valid_from_ms = clock_wall_ms()};
    struct str text;
    yyjson_val *root;
    int64_t added = 0;
    if (!file_read(c->arena, c->args[0], MAX_LIST, &text, &e) ||
        !json_parse(c->arena, text, 0, &root, &e) ||
        !price_list_read(c->arena, root, &how, &rows, &e))
        return cli_fail(&e);
    struct db *db = cli_store(c, &s, &e);
    bool ok = db && db_begin(db, &e) && price_store_put(db, &rows, clock_wall_ms(), &added, &e) &&
              note_import(c, db, &rows, added, &e) && db_commit(db, &e);
    db_close(db);
    state_close(&s);
    if (!ok)
        return cli_fail(&e);
    (void)printf("%zu prices (%s), %lld of them new or changed; %zu entries, or prices of theirs, "
                 "were left out.\n",
                 rows.n, rows.format, (long long)added, rows.n_skipped);
    cli_tell_server(&s);
    return 0;
}

int cmd_price_set(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct entry_change change = {
        .section = SECTION_PRICES, .name = str_of(c->args[0]), .replaces = true};
    if (!json_parse(c->arena, str_of(c->args[1]), 0, &change.value, &e))
        return cli_fail(&e);
    bool ok = office_open(c, &o, &e) && change_entry(&o.call, CHANGE_PUT, &change, &e);
    if (ok)
        (void)printf("The price of '%s' is set.\n", c->args[0]);
    return office_done(&o, ok, &e);
}

int cmd_price_remove(struct cli *c)
{
    static struct office o;
    struct err e = ERR_INIT;
    struct strs users;
    bool ok = office_open(c, &o, &e) &&
              change_entry_delete(&o.call, SECTION_PRICES, str_of(c->args[0]), false, &users, &e);
    if (ok)
        (void)printf("The price of '%s' is what lists say.\n", c->args[0]);
    return office_done(&o, ok, &e);
}

int cmd_ledger_verify(struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct ledger_check r;
    struct db *db = cli_store(c, &s, &e);
    bool ok = db && ledger_check(db, 0, 0, &r, &e);
    db_close(db);
    state_close(&s);
    if (!ok)
        return cli_fail(&e);
    (void)printf("%lld requests, %lld of them unpriced, %lld corrections: " STR_FMT
                 " USD in the lines, " STR_FMT " USD computed again.\n",
                 (long long)r.lines, (long long)r.unpriced, (long long)r.corrections,
                 STR_ARG(usd(c->arena, r.total)), STR_ARG(usd(c->arena, r.recomputed)));
    if (r.wrong == 0 && r.wrong_hours == 0)
        return 0;
    (void)fprintf(stderr, "sluice: %lld lines (the first: %lld) and %lld sums are wrong\n",
                  (long long)r.wrong, (long long)r.first_wrong, (long long)r.wrong_hours);
    return 1;
}
