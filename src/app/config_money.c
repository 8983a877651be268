#include "app/config_money.h"
#include "base/clock.h"
#include "base/log.h"
#include "domain/combo.h"
#include "domain/price_list.h"
#include "gate/budget.h"
#include "meter/ledger.h"
#include "meter/usage_log.h"
#include <pthread.h>
#include <stdlib.h>

/* What is spent of budgets outlives a snapshot. */
static struct budgets *registry;

static void make_registry(void)
{
    registry = budgets_new();
}

static struct budgets *budgets(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_registry);
    return registry;
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
    b->state = budgets_state(budgets(), b);
    if (db && !budget_is_counting(budgets(), b) && !budget_load(b, db, clock_wall_ms(), e))
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

/* The budgets of one subject, by "scope subject"; or those of a key. */
struct group {
    const struct budget **v;
    size_t n, cap;
};

static void add(struct arena *a, struct group *g, const struct budget *b)
{
    if (g->n == g->cap) {
        size_t more = g->cap ? g->cap * 2 : 8;
        g->v = arena_realloc(a, g->v, g->cap * sizeof *g->v, more * sizeof *g->v);
        g->cap = more;
    }
    g->v[g->n++] = b;
}

static struct str group_name(struct arena *a, enum budget_scope scope, struct str subject)
{
    return str_fmt(a, "%d " STR_FMT, (int)scope, STR_ARG(subject));
}

static void add_group(const struct map *groups, struct arena *a, enum budget_scope scope,
                      struct str subject, struct group *list)
{
    const struct group *g = map_get(groups, group_name(a, scope, subject));
    for (size_t i = 0; g && i < g->n; i++)
        add(a, list, g->v[i]);
}

static const struct budget *const *kept(struct arena *a, const struct group *list)
{
    if (list->n == 0)
        return NULL;
    const struct budget **out = ARENA_ARRAY(a, const struct budget *, list->n + 1);
    memcpy(out, list->v, list->n * sizeof *out);
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
        if (!g) {
            g = ARENA_NEW(scratch, struct group);
            map_set(&groups, name, g);
        }
        add(scratch, g, b);
    }
    struct group list = {NULL, 0, 0};
    add_group(&groups, scratch, BUDGET_ALL, STR(""), &list);
    s->common_budgets = kept(s->arena, &list);
    const size_t common = list.n;
    for (size_t i = 0; i < s->n_keys; i++) {
        struct key *k = s->keys[i];
        list.n = common;
        add_group(&groups, scratch, BUDGET_KEY, k->id, &list);
        if (k->user)
            add_group(&groups, scratch, BUDGET_USER, k->user->id, &list);
        if (k->org)
            add_group(&groups, scratch, BUDGET_ORG, k->org->id, &list);
        for (size_t t = 0; t < k->policy->tags.n; t++)
            add_group(&groups, scratch, BUDGET_TAG, k->policy->tags.v[t], &list);
        k->budgets = list.n > common ? kept(s->arena, &list) : s->common_budgets;
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
        for (size_t n = 0; n < s->n_budgets; n++)
            if (!budget_has_subject(s, (int)s->budgets[n]->scope, s->budgets[n]->subject))
                log_warn(NULL, "config.budget_of_nobody", "budget=" STR_FMT " subject=" STR_FMT,
                         STR_ARG(s->budgets[n]->name), STR_ARG(s->budgets[n]->subject));
    }
    return true;
}

#define SYNC_MS 1000 /* that lines on their way are waited for */

static bool catch_up(const struct budget *const *fresh, size_t n, const char *db_path,
                     struct usage_log *usage, int64_t until_ms, struct err *e)
{
    struct db *db = usage_log_sync(usage, SYNC_MS) ? db_open(db_path, DB_READ_ONLY, e) : NULL;
    bool ok = db != NULL;
    for (size_t i = 0; i < n && ok; i++)
        ok = budget_catch_up(fresh[i], db, until_ms, e);
    db_close(db);
    return ok;
}

void config_publish(struct snapshot *next, const char *db_path, struct usage_log *usage)
{
    struct arena *a = arena_new();
    const struct budget **fresh = ARENA_ARRAY(a, const struct budget *, next->n_budgets + 1);
    size_t n = 0;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < next->n_budgets; i++)
        if (!budget_is_counting(budgets(), next->budgets[i]))
            fresh[n++] = next->budgets[i];
    budgets_turn(budgets(), next->budgets, next->n_budgets);
    int64_t until_ms = clock_wall_ms() + 1;       /* a request that ends behind it has the budget */
    struct snapshot *pinned = snapshot_ref(next); /* another may take its place */
    snapshot_publish(next);
    if (n && usage && !catch_up(fresh, n, db_path, usage, until_ms, &e))
        log_warn(NULL, "budgets.behind", "budgets=%zu error=%s", n,
                 e.kind == ERR_NONE ? "the store is not done in time" : e.message);
    snapshot_unref(pinned);
    arena_free(a);
}
