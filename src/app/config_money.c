#include "app/config_money.h"
#include "base/clock.h"
#include "base/log.h"
#include "domain/combo.h"
#include "domain/price_list.h"
#include "gate/budget.h"
#include "meter/ledger.h"
#include <pthread.h>
#include <stdlib.h>

/* What is spent of budgets outlives a snapshot. */
static struct budgets *registry;

static void make_registry(void)
{
    registry = budgets_new();
}

/* ---- prices ---- */

static void store_price(void *arg, struct price *p)
{
    price_book_add(arg, p);
}

/* What this program cannot use must not keep the rest from serving. */
static void skipped(const char *section, struct str name, const struct err *why)
{
    log_error(NULL, "entry.skipped", "section=%s name=" STR_FMT " error=%s", section, STR_ARG(name),
              why->message);
}

/* Entries of the store, those that the file hides left out. */
static bool store_entries(struct snapshot *s, struct db *db, const char *section,
                          yyjson_val *of_file, struct entry_row **out, struct err *e)
{
    struct entry_row *row, **tail = out;
    *out = NULL;
    if (!db)
        return true;
    if (!entry_list(db, s->arena, section, &row, e))
        return false;
    for (; row; row = row->next)
        if (!json_find(of_file, str_z(s->arena, row->name), row->name.n)) {
            *tail = row;
            tail = &row->next;
        }
    *tail = NULL;
    return true;
}

bool config_prices(struct snapshot *s, yyjson_val *root, struct db *db, struct err *e)
{
    struct price_rows rows = {.n = 0};
    yyjson_val *all = json_get(root, "prices"), *k, *v;
    size_t i, max;
    s->prices = price_book_new(s->arena);
    if (!price_shipped(s->arena, &rows, e) ||
        (db && !price_store_each(db, s->arena, store_price, s->prices, e)))
        return false;
    if (!json_absent(all) && !yyjson_is_obj(all))
        return err_field(e, "prices", "'prices' must be an object");
    yyjson_obj_foreach (all, i, max, k, v)
        if (!price_entry_read(s->arena, json_str(k), v, PRICE_OVERRIDE, &rows, e))
            return false;
    struct entry_row *row;
    if (!store_entries(s, db, "prices", all, &row, e))
        return false;
    for (; row; row = row->next) {
        struct err why = ERR_INIT;
        if (!json_parse(s->arena, row->body, 16, &v, &why) ||
            !price_entry_read(s->arena, row->name, v, PRICE_OVERRIDE, &rows, &why))
            skipped("prices", row->name, &why);
    }
    for (size_t n = 0; n < rows.n; n++)
        price_book_add(s->prices, rows.v[n]);
    price_book_ready(s->prices);
    return true;
}

/* ---- budgets ---- */

static int by_name(const void *a, const void *b)
{
    const struct budget *const *x = a, *const *y = b;
    size_t n = (*x)->name.n < (*y)->name.n ? (*x)->name.n : (*y)->name.n;
    int order = n ? memcmp((*x)->name.p, (*y)->name.p, n) : 0;
    return order ? order : (*x)->name.n < (*y)->name.n ? -1 : (*x)->name.n > (*y)->name.n;
}

static bool add_budget(struct snapshot *s, size_t *cap, struct str name, yyjson_val *entry,
                       const char *where, enum origin from, struct db *db, struct err *e)
{
    struct budget *b = ARENA_NEW(s->arena, struct budget);
    if (!budget_read(s->arena, name, entry, where, b, e))
        return false;
    b->from = (int)from;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_registry);
    b->state = budgets_state(registry, b);
    if (db && !budget_load(b->state, b, db, clock_wall_ms(), e))
        return false;
    if (s->n_budgets == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        s->budgets = arena_realloc(s->arena, s->budgets, *cap * sizeof *s->budgets,
                                   more * sizeof *s->budgets);
        *cap = more;
    }
    s->budgets[s->n_budgets++] = b;
    return true;
}

/* The budgets of one subject, by "scope subject". */
struct group {
    const struct budget *v[64];
    size_t n;
};

static struct str group_name(struct arena *a, enum budget_scope scope, struct str subject)
{
    return str_fmt(a, "%d " STR_FMT, (int)scope, STR_ARG(subject));
}

static void add_group(const struct map *groups, struct arena *a, enum budget_scope scope,
                      struct str subject, const struct budget **list, size_t *n, size_t max)
{
    const struct group *g = map_get(groups, group_name(a, scope, subject));
    for (size_t i = 0; g && i < g->n && *n < max; i++)
        list[(*n)++] = g->v[i];
}

static const struct budget *const *kept(struct arena *a, const struct budget **list, size_t n)
{
    if (n == 0)
        return NULL;
    const struct budget **out = ARENA_ARRAY(a, const struct budget *, n + 1);
    memcpy(out, list, n * sizeof *out);
    return out;
}

static void give_budgets(struct snapshot *s)
{
    struct arena *scratch = arena_new();
    struct map groups;
    map_init(&groups);
    for (size_t i = 0; i < s->n_budgets; i++) {
        const struct budget *b = s->budgets[i];
        struct str name = group_name(scratch, b->scope, b->subject);
        struct group *g = map_get(&groups, name);
        if (!b->is_enabled)
            continue;
        if (!g) {
            g = ARENA_NEW(scratch, struct group);
            map_set(&groups, name, g);
        }
        if (g->n < ARRAY_LEN(g->v))
            g->v[g->n++] = b;
    }
    const struct budget *list[256];
    size_t n = 0;
    add_group(&groups, scratch, BUDGET_ALL, STR(""), list, &n, ARRAY_LEN(list));
    s->common_budgets = kept(s->arena, list, n);
    for (size_t i = 0; i < s->n_keys; i++) {
        struct key *k = s->keys[i];
        size_t common = n, of = common;
        add_group(&groups, scratch, BUDGET_KEY, k->id, list, &of, ARRAY_LEN(list));
        if (k->user)
            add_group(&groups, scratch, BUDGET_USER, k->user->id, list, &of, ARRAY_LEN(list));
        if (k->org)
            add_group(&groups, scratch, BUDGET_ORG, k->org->id, list, &of, ARRAY_LEN(list));
        for (size_t t = 0; t < k->policy->tags.n; t++)
            add_group(&groups, scratch, BUDGET_TAG, k->policy->tags.v[t], list, &of,
                      ARRAY_LEN(list));
        k->budgets = of > common ? kept(s->arena, list, of) : s->common_budgets;
    }
    map_done(&groups);
    arena_free(scratch);
}

static void give_accounts(struct snapshot *s)
{
    for (size_t i = 0; i < s->n_ruled; i++) {
        struct key *k = s->ruled[i];
        k->account = ledger_account_id(s->arena, k->org ? k->org->id : STR_NONE,
                                       k->user ? k->user->id : STR_NONE, k->policy->tags.v,
                                       k->policy->tags.n, &k->account_text);
    }
}

bool config_budgets(struct snapshot *s, yyjson_val *root, struct db *db, struct err *e)
{
    yyjson_val *all = json_get(root, "budgets"), *k, *v;
    size_t i, max, cap = 0;
    give_accounts(s);
    if (!json_absent(all) && !yyjson_is_obj(all))
        return err_field(e, "budgets", "'budgets' must be an object");
    yyjson_obj_foreach (all, i, max, k, v) {
        char where[96];
        struct str name = json_str(k);
        (void)snprintf(where, sizeof where, "budgets.%.*s", (int)(name.n < 80 ? name.n : 80),
                       name.p);
        if (!add_budget(s, &cap, name, v, where, ORIGIN_FILE, db, e))
            return false;
    }
    struct entry_row *row;
    if (!store_entries(s, db, "budgets", all, &row, e))
        return false;
    for (; row; row = row->next) {
        struct err why = ERR_INIT;
        if (!json_parse(s->arena, row->body, 16, &v, &why) ||
            !add_budget(s, &cap, row->name, v, "budget", ORIGIN_API, db, &why))
            skipped("budgets", row->name, &why);
    }
    if (s->n_budgets) {
        qsort(s->budgets, s->n_budgets, sizeof(struct budget *), by_name);
        give_budgets(s);
    }
    return true;
}
