#include "meter/ledger.h"
#include "base/codec.h"
#include "meter/usage_log.h"
#include <pthread.h>
#include <stdlib.h>

#define SLICE 64u /* lines inserted at once */
#define MAX_KINDS 50000u
#define HOUR_US 3600000000
#define LASTED (11u + PRICE_PARTS) /* the last column of a slice */

/* clang-format off */
const struct money_end_rule money_ends[MONEY_ENDS] = {
    [MONEY_NONE]       = {"none",       RULE_ZERO,     RULE_ZERO,     "Nothing was asked of an upstream"},
    [MONEY_DONE]       = {"done",       RULE_REPORTED, RULE_ESTIMATE, "The reply came whole"},
    [MONEY_FREE]       = {"free",       RULE_ZERO,     RULE_ZERO,     "Tokens were counted or a model loaded, which nobody bills"},
    [MONEY_FAILED]     = {"failed",     RULE_ZERO,     RULE_ZERO,     "No upstream gave a reply before its first byte"},
    [MONEY_LEFT_EARLY] = {"left_early", RULE_REPORTED, RULE_POLICY,   "The client left before the first byte"},
    [MONEY_LEFT]       = {"left",       RULE_REPORTED, RULE_POLICY,   "The client left while the reply came"},
    [MONEY_BROKEN]     = {"broken",     RULE_REPORTED, RULE_ESTIMATE, "The upstream broke off inside its reply"},
    [MONEY_CANCELLED]  = {"cancelled",  RULE_REPORTED, RULE_ESTIMATE, "An operator ended the request"},
    [MONEY_HEDGED]     = {"hedged",     RULE_REPORTED, RULE_POLICY,   "Another target answered the request first"},
    [MONEY_CUT]        = {"cut",        RULE_REPORTED, RULE_ESTIMATE, "The budget's hold was spent while the reply came"},
};
/* clang-format on */

enum money_rule money_rule_of(enum money_end end, bool is_reported, bool policy_estimates)
{
    enum money_rule r = is_reported ? money_ends[end].reported : money_ends[end].unreported;
    if (r == RULE_POLICY)
        return policy_estimates ? RULE_ESTIMATE : RULE_ZERO;
    return r;
}

struct usage_vector ledger_parts(const struct usage_record *r)
{
    static const struct usage_vector nothing;
    return r->money.is_free ? nothing : usage_parts(&r->usage, NULL);
}

/* ---- a line on its way ---- */

static size_t put_text(char *to, const char *text)
{
    size_t n = strlen(text);
    memcpy(to, text, n + 1);
    return n;
}

void settled_fill(struct settled *s, const struct usage_record *r)
{
    const char *of[] = {r->key_id, r->model, r->upstream, r->upstream_model};
    s->id = r->money.id;
    s->price = r->money.price;
    s->amount = r->money.cost_nanousd;
    s->stated = r->usage.cost_nanousd;
    s->admitted_ms = r->money.admitted_ms;
    s->parts = ledger_parts(r);
    s->end = r->money.end;
    s->quality = (uint8_t)r->quality;
    s->service = r->money.service;
    s->state = r->money.state;
    size_t n = sizeof r->money.account;
    memcpy(s->text, &r->money.account, n);
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        n += put_text(s->text + n, of[i]) + 1;
    s->n_of = (uint16_t)n;
    s->n_request = (uint16_t)put_text(s->text + n, r->request_id);
    n += s->n_request;
    memset(s->text + n, 0, -n % 8); /* up to the end of a word */
}
_Static_assert(sizeof(((struct usage_record *)0)->key_id) +
                       sizeof(((struct usage_record *)0)->model) +
                       sizeof(((struct usage_record *)0)->upstream) +
                       sizeof(((struct usage_record *)0)->upstream_model) +
                       sizeof(((struct usage_record *)0)->request_id) + 8 <=
                   SETTLED_TEXT,
               "room for what a line is of, and for its request");
_Static_assert(offsetof(struct settled, text) % 8 == 0 && SETTLED_TEXT % 8 == 0, "whole words");

size_t settled_size(const struct settled *s)
{
    size_t n = (size_t)s->n_of + s->n_request;
    return offsetof(struct settled, text) + (n + 7) / 8 * 8;
}

/* ---- accounts ---- */

static int64_t id_of_text(struct str text)
{
    uint8_t hash[SHA256_SIZE];
    uint64_t bits = 0;
    sha256(text, hash);
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | hash[i];
    return (int64_t)(bits >> 11 | 1);
}

int64_t ledger_account_id(struct arena *a, struct str org, struct str user, const struct str *tags,
                          size_t n_tags, struct str *text)
{
    struct buf b;
    if (org.n == 0 && user.n == 0 && n_tags == 0)
        return 0;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "org", org);
    jw_kv_str(&w, "user", user);
    jw_key(&w, "tags");
    jw_array(&w);
    for (size_t i = 0; i < n_tags; i++)
        jw_str(&w, tags[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    *text = buf_str(&b);
    return id_of_text(*text);
}

/* ---- the writer ---- */

struct line {
    const struct settled *s;
    int64_t kind, price;
};
struct hour {
    int64_t hour, kind, n, unpriced, amount, stated, stated_n, tokens_in, cached, tokens_out;
};
struct known { /* a heap cell behind its key */
    int64_t id;
    struct str text;
};

struct ledger_writer {
    struct db *db;
    struct stmt *insert, *find_kind, *add_kind, *find_price, *add_price, *add_hour, *redo_hour;
    struct db_source source;
    struct line lines[SLICE];
    size_t n;
    struct hour *hours; /* of this transaction */
    size_t n_hours, cap_hours;
    struct map kinds, prices; /* -> struct known */
    char last[SETTLED_TEXT];
    size_t last_n;
    int64_t last_kind;
    pthread_mutex_t lock;
    struct map learned; /* id as 8 bytes -> struct known; under lock */
};

static struct known *keep(struct map *m, struct str key, int64_t id, struct str text)
{
    struct known *k = malloc(sizeof *k + key.n + text.n + 1);
    if (!k)
        abort();
    char *p = (char *)(k + 1);
    memcpy(p, key.p, key.n);
    if (text.n)
        memcpy(p + key.n, text.p, text.n);
    *k = (struct known){id, str_n(p + key.n, text.n)};
    map_set(m, str_n(p, key.n), k);
    return k;
}

static void forget(struct map *m)
{
    struct str k;
    void *v;
    for (size_t i = 0; map_next(m, &i, &k, &v);)
        free(v);
    map_done(m);
    map_init(m);
}

struct ledger_writer *ledger_writer_new(void)
{
    struct ledger_writer *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    map_init(&w->kinds);
    map_init(&w->prices);
    map_init(&w->learned);
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void ledger_writer_forget(struct ledger_writer *w)
{
    w->n = w->n_hours = w->last_n = 0;
    forget(&w->kinds);
    forget(&w->prices);
}

void ledger_writer_free(struct ledger_writer *w)
{
    if (!w)
        return;
    ledger_writer_forget(w);
    forget(&w->learned);
    map_done(&w->kinds);
    map_done(&w->prices);
    map_done(&w->learned);
    pthread_mutex_destroy(&w->lock);
    free(w->hours);
    free(w);
}

bool ledger_writer_learn(struct ledger_writer *w, int64_t id, struct str text)
{
    struct str key = str_n((const char *)&id, sizeof id);
    pthread_mutex_lock(&w->lock);
    bool is_new = !map_get(&w->learned, key);
    if (is_new)
        (void)keep(&w->learned, key, id, text);
    pthread_mutex_unlock(&w->lock);
    return is_new;
}

/* What it stands for, valid for ever; STR_NONE: never heard of. */
static struct str learned(struct ledger_writer *w, int64_t id)
{
    pthread_mutex_lock(&w->lock);
    const struct known *k = map_get(&w->learned, str_n((const char *)&id, sizeof id));
    pthread_mutex_unlock(&w->lock);
    return k ? k->text : STR_NONE;
}

/* The columns of ledger, in the order of the statement. */
static struct db_value line_value(void *arg, size_t row, unsigned column)
{
    const struct ledger_writer *w = arg;
    const struct line *l = &w->lines[row];
    const struct settled *s = l->s;
    int64_t v;
    switch (column) {
    case 0:
        v = s->id;
        break;
    case 1:
        return (struct db_value){DB_TEXT, 0, str_n(s->text + s->n_of, s->n_request)};
    case 2:
        v = LEDGER_SETTLE;
        break;
    case 3:
        v = l->kind;
        break;
    case 4:
        v = s->end;
        break;
    case 5:
        v = s->quality;
        break;
    case 6:
        v = s->service;
        break;
    case 7:
        v = l->price;
        break;
    case 8:
        v = s->state;
        break;
    case 9:
        v = s->amount;
        break;
    case 10:
        v = s->stated;
        break;
    case LASTED: /* below 0 where the clock was set back */
        return (struct db_value){s->admitted_ms ? DB_INT : DB_NULL,
                                 ledger_id_ms(s->id) - s->admitted_ms, STR_NONE};
    default:
        v = s->parts.v[column - 11];
        break;
    }
    return (struct db_value){v < 0 ? DB_NULL : DB_INT, v, STR_NONE};
}

void ledger_writer_close(struct ledger_writer *w)
{
    struct stmt **all[] = {&w->insert,    &w->find_kind, &w->add_kind, &w->find_price,
                           &w->add_price, &w->add_hour,  &w->redo_hour};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        stmt_free(*all[i]);
        *all[i] = NULL;
    }
    w->db = NULL;
    ledger_writer_forget(w);
}

bool ledger_writer_open(struct ledger_writer *w, struct db *db, struct err *e)
{
    const struct {
        struct stmt **at;
        const char *sql;
    } statements[] = {
        {&w->insert,
         "INSERT OR IGNORE INTO ledger(id,request_id,entry,kind,ended,quality,service,price,state,"
         "amount,stated,input,cache_read,cache_write_5m,cache_write_1h,audio_in,output,reasoning,"
         "audio_out,image,search,request,lasted_ms) SELECT * FROM ledger_slice"},
        {&w->find_kind,
         "SELECT id FROM ledger_kind WHERE key=?1 AND org=?2 AND user=?3 AND tags=?4 AND model=?5 "
         "AND upstream=?6 AND upstream_model=?7 AND unit='nanousd'"},
        {&w->add_kind, "INSERT INTO ledger_kind(key,org,user,tags,model,upstream,upstream_model) "
                       "VALUES(?1,?2,?3,?4,?5,?6,?7)"},
        {&w->find_price, "SELECT id FROM price_version WHERE version=?1"},
        {&w->add_price, "INSERT INTO price_version(version,text) VALUES(?1,?2)"},
        {&w->add_hour,
         "INSERT INTO ledger_hour(hour,kind,n,unpriced,amount,stated,stated_n,tokens_in,cached,"
         "tokens_out) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) ON CONFLICT (hour,kind) DO UPDATE SET "
         "n=n+?3, unpriced=unpriced+?4, amount=amount+?5, stated=stated+?6, stated_n=stated_n+?7, "
         "tokens_in=tokens_in+?8, cached=cached+?9, tokens_out=tokens_out+?10"},
        {&w->redo_hour,
         "INSERT OR REPLACE INTO ledger_hour(hour,kind,n,unpriced,amount,stated,stated_n,tokens_in,"
         "cached,tokens_out) SELECT ?1, kind, coalesce(sum(entry = 1), 0), "
         "coalesce(sum(" LEDGER_IS_UNPRICED "), 0), coalesce(sum(amount), 0), "
         "coalesce(sum(stated), 0), count(stated), "
         "coalesce(sum(input + cache_read + cache_write_5m + cache_write_1h + audio_in), 0), "
         "coalesce(sum(cache_read), 0), coalesce(sum(output + reasoning + audio_out), 0) "
         "FROM ledger l WHERE id >= ?2 AND id < ?3 GROUP BY kind"},
    };
    ledger_writer_forget(w);
    w->db = db;
    w->source = (struct db_source){.columns = LASTED + 1, .value = line_value, .arg = w};
    bool ok = db_add_source(db, "ledger_slice", &w->source, e);
    for (size_t i = 0; i < ARRAY_LEN(statements) && ok; i++)
        ok = (*statements[i].at = db_prepare(db, statements[i].sql, e)) != NULL;
    return ok;
}

static bool find_or_add(struct ledger_writer *w, struct stmt *find, struct stmt *add, int64_t *id,
                        struct err *e)
{
    bool is_there = stmt_step(find, e);
    if (is_there)
        *id = stmt_int(find, 0);
    stmt_reset(find);
    if (is_there)
        return true;
    if (e->kind != ERR_NONE || !stmt_run(add, e))
        return false;
    *id = db_last_id(w->db);
    return true;
}

/* ["a","b"] without white space; empty: no tags. */
static struct str tags_of(struct arena *a, yyjson_val *account)
{
    yyjson_val *tags = json_get(account, "tags");
    return yyjson_arr_size(tags) ? json_text(a, tags) : STR("");
}

static bool add_kind(struct ledger_writer *w, const struct settled *s, int64_t *id, struct err *e)
{
    struct arena *a = arena_new();
    struct str rest = str_n(s->text, s->n_of), of[4];
    int64_t account_id;
    memcpy(&account_id, s->text, sizeof account_id);
    rest = str_skip(rest, sizeof account_id);
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        rest = str_cut(rest, 0, &of[i]);
    struct str account = account_id ? learned(w, account_id) : STR_NONE;
    yyjson_val *who = NULL;
    if (account.n && !json_parse(a, account, 8, &who, NULL))
        who = NULL;
    struct str org = json_get_str(who, "org"), user = json_get_str(who, "user");
    const struct str texts[] = {
        of[0], org.p ? org : STR(""), user.p ? user : STR(""), tags_of(a, who), of[1], of[2],
        of[3]};
    struct stmt *both[] = {w->find_kind, w->add_kind};
    for (size_t k = 0; k < ARRAY_LEN(both); k++)
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
            stmt_bind_str(both[k], (int)i + 1, texts[i]);
    bool ok = find_or_add(w, w->find_kind, w->add_kind, id, e);
    arena_free(a);
    if (ok && w->kinds.n >= MAX_KINDS)
        forget(&w->kinds);
    if (ok)
        (void)keep(&w->kinds, str_n(s->text, s->n_of), *id, STR_NONE);
    return ok;
}

static bool kind_of(struct ledger_writer *w, const struct settled *s, int64_t *id, struct err *e)
{
    if (s->n_of == w->last_n && memcmp(s->text, w->last, s->n_of) == 0) {
        *id = w->last_kind;
        return true;
    }
    const struct known *k = map_get(&w->kinds, str_n(s->text, s->n_of));
    if (k)
        *id = k->id;
    else if (!add_kind(w, s, id, e))
        return false;
    memcpy(w->last, s->text, s->n_of);
    w->last_n = s->n_of;
    w->last_kind = *id;
    return true;
}

/* The short id of a price version; 0: its text is not known, so nothing could be computed from it. */
static bool price_of(struct ledger_writer *w, int64_t version, int64_t *id, struct err *e)
{
    struct str key = str_n((const char *)&version, sizeof version);
    *id = 0;
    if (version == 0)
        return true;
    const struct known *k = map_get(&w->prices, key);
    if (k) {
        *id = k->id;
        return true;
    }
    struct str text = learned(w, version);
    if (!text.n)
        return true;
    stmt_bind_int(w->find_price, 1, version);
    stmt_bind_int(w->add_price, 1, version);
    stmt_bind_str(w->add_price, 2, text);
    if (!find_or_add(w, w->find_price, w->add_price, id, e))
        return false;
    (void)keep(&w->prices, key, *id, STR_NONE);
    return true;
}

static struct hour *hour_of(struct ledger_writer *w, int64_t hour, int64_t kind)
{
    for (size_t i = w->n_hours; i-- > 0;)
        if (w->hours[i].hour == hour && w->hours[i].kind == kind)
            return &w->hours[i];
    if (w->n_hours == w->cap_hours) {
        w->cap_hours = w->cap_hours ? w->cap_hours * 2 : 64;
        w->hours = realloc(w->hours, w->cap_hours * sizeof *w->hours);
        if (!w->hours)
            abort();
    }
    struct hour *h = &w->hours[w->n_hours++];
    *h = (struct hour){.hour = hour, .kind = kind};
    return h;
}

static void add_to_hour(struct ledger_writer *w, const struct line *l)
{
    const struct settled *s = l->s;
    struct hour *h = hour_of(w, (s->id >> LEDGER_LOOP_BITS) / HOUR_US, l->kind);
    h->n++;
    h->unpriced += s->amount < 0;
    h->amount += s->amount > 0 ? s->amount : 0;
    h->stated += s->stated > 0 ? s->stated : 0;
    h->stated_n += s->stated >= 0;
    h->tokens_in += usage_parts_in(&s->parts);
    h->cached += s->parts.v[PRICE_CACHE_READ];
    h->tokens_out += usage_parts_out(&s->parts);
}

/* Of one hour from its lines: when some of those given were there already. */
static bool redo_hour(struct ledger_writer *w, int64_t hour, struct err *e)
{
    stmt_bind_int(w->redo_hour, 1, hour);
    stmt_bind_int(w->redo_hour, 2, ledger_id(hour * HOUR_US, 0));
    stmt_bind_int(w->redo_hour, 3, ledger_id((hour + 1) * HOUR_US, 0));
    return stmt_run(w->redo_hour, e);
}

static bool write_hours(struct ledger_writer *w, struct err *e)
{
    for (size_t i = 0; i < w->n_hours; i++) {
        const struct hour *h = &w->hours[i];
        const int64_t v[] = {h->hour,   h->kind,     h->n,         h->unpriced, h->amount,
                             h->stated, h->stated_n, h->tokens_in, h->cached,   h->tokens_out};
        for (size_t k = 0; k < ARRAY_LEN(v); k++)
            stmt_bind_int(w->add_hour, (int)k + 1, v[k]);
        if (!stmt_run(w->add_hour, e))
            return false;
    }
    w->n_hours = 0;
    return true;
}

static bool write_lines(struct ledger_writer *w, struct err *e)
{
    if (w->n == 0)
        return true;
    w->source.rows = w->n;
    if (!stmt_run(w->insert, e))
        return false;
    if (db_changes(w->db) == (int64_t)w->n) {
        for (size_t i = 0; i < w->n; i++)
            add_to_hour(w, &w->lines[i]);
    } else { /* delivered twice: sums are made of the lines */
        if (!write_hours(w, e))
            return false;
        for (size_t i = 0; i < w->n; i++)
            if (!redo_hour(w, (w->lines[i].s->id >> LEDGER_LOOP_BITS) / HOUR_US, e))
                return false;
    }
    w->n = 0;
    return true;
}

bool ledger_writer_add(struct ledger_writer *w, const struct settled *s, struct err *e)
{
    struct line *l = &w->lines[w->n];
    l->s = s;
    if (!kind_of(w, s, &l->kind, e) || !price_of(w, s->price, &l->price, e))
        return false;
    return ++w->n < SLICE || write_lines(w, e);
}

bool ledger_writer_flush(struct ledger_writer *w, struct err *e)
{
    return write_lines(w, e) && write_hours(w, e);
}
