#include "domain/price.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/decimal.h"
#include <stdlib.h>

#define MAX_RATE 1000000000000000 /* a million USD */

const char *const price_part_names[PRICE_PARTS] = {
    [PRICE_INPUT] = "input",
    [PRICE_CACHE_READ] = "cache_read",
    [PRICE_CACHE_WRITE_5M] = "cache_write_5m",
    [PRICE_CACHE_WRITE_1H] = "cache_write_1h",
    [PRICE_AUDIO_IN] = "audio_in",
    [PRICE_OUTPUT] = "output",
    [PRICE_REASONING] = "reasoning",
    [PRICE_AUDIO_OUT] = "audio_out",
    [PRICE_IMAGE] = "image",
    [PRICE_SEARCH] = "search",
    [PRICE_REQUEST] = "request",
};
const struct word price_service_words[] = {{"standard", SERVICE_STANDARD},
                                           {"batch", SERVICE_BATCH},
                                           {"flex", SERVICE_FLEX},
                                           {"priority", SERVICE_PRIORITY},
                                           {0}};
const struct word price_source_words[] = {{"override", PRICE_OVERRIDE},
                                          {"provider", PRICE_PROVIDER},
                                          {"list", PRICE_LIST},
                                          {"shipped", PRICE_SHIPPED},
                                          {0}};

/* A number, or the same in a string. */
static struct str lexeme_of(yyjson_val *v)
{
    return yyjson_is_str(v) ? json_str(v) : json_is_number(v) ? json_lexeme(v) : STR_NONE;
}

/* ---- one entry ---- */

static const struct price_rates no_rates = {{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}};

static bool has_any(const struct price_rates *r)
{
    for (size_t i = 0; i < PRICE_PARTS; i++)
        if (r->v[i] >= 0)
            return true;
    return false;
}

static bool bad(struct err *e, const char *where, struct str member, const char *what)
{
    char name[160];
    (void)snprintf(name, sizeof name, "%s%s%.*s", where, where[0] ? "." : "",
                   (int)(member.n < 64 ? member.n : 64), member.p);
    return err_field(e, name, "'%s' %s", name, what);
}

static int part_of(struct str name)
{
    if (str_is(name, "cache_write"))
        return PRICE_CACHE_WRITE_5M;
    for (int i = 0; i < PRICE_PARTS; i++)
        if (str_eq(name, str_of(price_part_names[i])))
            return i;
    return -1;
}

static bool read_rate(yyjson_val *v, const char *where, struct str name, int64_t *out,
                      struct err *e)
{
    if (!decimal_parse(lexeme_of(v), 9, out) || *out > MAX_RATE)
        return bad(e, where, name, "must be a price in USD, a decimal that is not negative");
    return true;
}

static struct price_variant *add_variant(struct price *p, enum price_service service, int64_t above)
{
    for (size_t i = 0; i < p->n_variants; i++)
        if (p->variants[i].service == service && p->variants[i].above == above)
            return &p->variants[i];
    if (p->n_variants == PRICE_MAX_VARIANTS)
        return NULL;
    struct price_variant *v = &p->variants[p->n_variants++];
    *v = (struct price_variant){service, above, no_rates};
    p->has_services |= service != SERVICE_STANDARD;
    return v;
}

static int by_variant(const void *a, const void *b)
{
    const struct price_variant *x = a, *y = b;
    return x->service != y->service ? (int)x->service - (int)y->service
           : x->above < y->above    ? -1
                                    : x->above > y->above;
}

static bool read_above(yyjson_val *list, const char *where, struct price *p,
                       enum price_service service, struct err *e);

/* The rates of an object. what else may stand there: the caller's. */
static bool read_rates(yyjson_val *object, const char *where, struct price *p,
                       enum price_service service, int64_t above, struct price_rates *rates,
                       struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (object, i, max, k, v) {
        struct str name = json_str(k);
        int part = part_of(name);
        bool is_top = service == SERVICE_STANDARD && above == 0;
        if (json_absent(v))
            continue;
        if (part >= 0) {
            if (!read_rate(v, where, name, &rates->v[part], e))
                return false;
        } else if (str_is(name, "above") && above == 0) {
            if (!read_above(v, where, p, service, e))
                return false;
        } else if (!(above > 0 && str_is(name, "tokens")) &&
                   !(is_top && (str_is(name, "valid_from") || str_is(name, "note") ||
                                word_value(price_service_words, name, SERVICE_STANDARD) !=
                                    SERVICE_STANDARD))) {
            return bad(e, where, name, "is not known here");
        }
    }
    return true;
}

static bool read_above(yyjson_val *list, const char *where, struct price *p,
                       enum price_service service, struct err *e)
{
    size_t i, max;
    yyjson_val *one;
    int64_t tokens;
    if (!yyjson_is_arr(list))
        return bad(e, where, STR("above"), "must be an array");
    yyjson_arr_foreach (list, i, max, one) {
        if (!json_int(json_get(one, "tokens"), &tokens) || tokens <= 0)
            return bad(e, where, STR("above"),
                       "needs 'tokens', a whole number above 0, in each of its entries");
        struct price_variant *v = add_variant(p, service, tokens);
        if (!v)
            return bad(e, where, STR("above"), "has too many entries");
        struct price_rates rates = no_rates;
        if (!read_rates(one, where, p, service, tokens, &rates, e))
            return false;
        v = add_variant(p, service, tokens);
        v->rates = rates;
    }
    return true;
}

static bool read_services(yyjson_val *entry, const char *where, struct price *p, struct err *e)
{
    for (const struct word *w = price_service_words + 1; w->text; w++) {
        yyjson_val *o = json_find(entry, w->text, strlen(w->text));
        struct price_rates rates = no_rates;
        char inner[160];
        if (json_absent(o))
            continue;
        if (!yyjson_is_obj(o))
            return bad(e, where, str_of(w->text), "must be an object of prices");
        struct price_variant *v = add_variant(p, (enum price_service)w->value, 0);
        (void)snprintf(inner, sizeof inner, "%s%s%s", where, where[0] ? "." : "", w->text);
        if (!v || !read_rates(o, inner, p, (enum price_service)w->value, 0, &rates, e))
            return e->kind != ERR_NONE ? false : bad(e, where, str_of(w->text), "is too much");
        add_variant(p, (enum price_service)w->value, 0)->rates = rates;
    }
    return true;
}

bool price_read(struct arena *a, yyjson_val *entry, const char *where, struct price *out,
                struct err *e)
{
    struct str from = json_get_str(entry, "valid_from");
    if (!yyjson_is_obj(entry))
        return err_field(e, where, "'%s' must be an object of prices", where);
    out->base = no_rates;
    struct price_variant room[PRICE_MAX_VARIANTS];
    out->variants = room;
    out->n_variants = 0;
    out->has_services = false;
    if (!read_rates(entry, where, out, SERVICE_STANDARD, 0, &out->base, e) ||
        !read_services(entry, where, out, e))
        return false;
    if (!has_any(&out->base))
        return err_field(e, where, "'%s' states no price", where);
    if (from.n && !clock_parse_rfc3339(from, &out->valid_from_ms))
        return bad(e, where, STR("valid_from"), "must be an RFC 3339 time");
    if (json_get_str(entry, "note").n)
        out->provenance = str_dup(a, json_get_str(entry, "note"));
    price_keep_variants(a, out);
    return true;
}

void price_keep_variants(struct arena *a, struct price *p)
{
    struct price_variant *kept = NULL;
    if (p->n_variants) {
        kept = ARENA_ARRAY(a, struct price_variant, p->n_variants);
        memcpy(kept, p->variants, p->n_variants * sizeof *kept);
        qsort(kept, p->n_variants, sizeof *kept, by_variant);
    }
    p->variants = kept;
}

/* ---- writing ---- */

static void write_decimal(struct jw *w, const char *name, int64_t v)
{
    char text[48];
    struct buf b = {.p = text, .cap = sizeof text, .max = sizeof text};
    decimal_write_nano(&b, v);
    jw_key(w, name);
    jw_raw(w, buf_str(&b));
}

static void write_rates(struct jw *w, const struct price_rates *r)
{
    for (size_t i = 0; i < PRICE_PARTS; i++)
        if (r->v[i] >= 0)
            write_decimal(w, price_part_names[i], r->v[i]);
}

static void write_above(struct jw *w, const struct price *p, enum price_service service)
{
    bool is_any = false;
    for (size_t i = 0; i < p->n_variants; i++) {
        const struct price_variant *v = &p->variants[i];
        if (v->service != service || v->above == 0)
            continue;
        if (!is_any) {
            jw_key(w, "above");
            jw_array(w);
        }
        is_any = true;
        jw_object(w);
        jw_kv_int(w, "tokens", v->above);
        write_rates(w, &v->rates);
        jw_object_end(w);
    }
    if (is_any)
        jw_array_end(w);
}

static bool has_service(const struct price *p, enum price_service service)
{
    for (size_t i = 0; i < p->n_variants; i++)
        if (p->variants[i].service == service)
            return true;
    return false;
}

static void write_members(struct jw *w, const struct price *p)
{
    write_rates(w, &p->base);
    write_above(w, p, SERVICE_STANDARD);
    for (const struct word *s = price_service_words + 1; s->text; s++) {
        enum price_service service = (enum price_service)s->value;
        if (!has_service(p, service))
            continue;
        jw_key(w, s->text);
        jw_object(w);
        for (size_t i = 0; i < p->n_variants; i++)
            if (p->variants[i].service == service && p->variants[i].above == 0)
                write_rates(w, &p->variants[i].rates);
        write_above(w, p, service);
        jw_object_end(w);
    }
    if (p->valid_from_ms) {
        char text[64];
        struct buf b = {.p = text, .cap = sizeof text, .max = sizeof text};
        clock_rfc3339(&b, p->valid_from_ms);
        jw_kv_str(w, "valid_from", buf_str(&b));
    }
    if (p->provenance.n)
        jw_kv_str(w, "note", p->provenance);
}

void price_write(struct jw *w, const struct price *p)
{
    jw_object(w);
    write_members(w, p);
    jw_object_end(w);
}

void price_seal(struct arena *a, struct price *p)
{
    struct buf b;
    uint8_t hash[SHA256_SIZE];
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_cstr(&w, "source", word_text(price_source_words, (int)p->source, ""));
    jw_kv_str(&w, "provider", p->provider);
    jw_kv_str(&w, "model", p->model);
    jw_key(&w, "price");
    price_write(&w, p);
    jw_object_end(&w);
    p->text = buf_str(&b);
    sha256(p->text, hash);
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | hash[i];
    p->version = (int64_t)(bits >> 11 | 1); /* 53 bits: JavaScript reads it without loss */
}

bool price_of_text(struct arena *a, struct str text, struct price *out, struct err *e)
{
    yyjson_val *root;
    *out = (struct price){0};
    if (!json_parse(a, text, 16, &root, e) ||
        !price_read(a, json_get(root, "price"), "price", out, e))
        return false;
    out->source = (enum price_source)word_value(price_source_words, json_get_str(root, "source"),
                                                PRICE_LIST);
    out->provider = str_dup(a, json_get_str(root, "provider"));
    out->model = str_dup(a, json_get_str(root, "model"));
    price_seal(a, out);
    return true;
}

bool price_name_split(struct str name, struct str *provider, struct str *model)
{
    struct str rest = str_cut(name, '/', provider);
    *model = rest;
    return provider->n > 0 && rest.n > 0;
}

bool price_name_fits(struct str pattern, struct str model)
{
    size_t star = str_index(pattern, '*');
    if (star == pattern.n)
        return str_eq(pattern, model);
    if (!str_starts(model, str_first(pattern, star)))
        return false;
    pattern = str_skip(pattern, star + 1);
    for (model = str_skip(model, star);; model = str_skip(model, 1)) {
        if (pattern.n == 0 || price_name_fits(pattern, model))
            return true;
        if (model.n == 0)
            return false;
    }
}

/* ---- the book ---- */

struct price_book {
    struct arena *a;
    struct map exact[PRICE_SOURCES];        /* "provider/model" -> the newest */
    struct price **patterns[PRICE_SOURCES]; /* the longest first */
    size_t n_patterns[PRICE_SOURCES], cap_patterns[PRICE_SOURCES];
    size_t n;
};

static void maps_done(void *arg)
{
    struct price_book *b = arg;
    for (size_t i = 0; i < PRICE_SOURCES; i++)
        map_done(&b->exact[i]);
}

struct price_book *price_book_new(struct arena *a)
{
    struct price_book *b = ARENA_NEW(a, struct price_book);
    b->a = a;
    for (size_t i = 0; i < PRICE_SOURCES; i++)
        map_init(&b->exact[i]);
    arena_on_free(a, maps_done, b);
    return b;
}

static struct str name_of(struct arena *a, struct str provider, struct str model)
{
    return str_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(provider), STR_ARG(model));
}

/* Into the chain by valid_from, newest first; one of the same moment takes the other's place. */
static struct price *chain(struct price *head, struct price *p)
{
    struct price **at = &head;
    while (*at && (*at)->valid_from_ms > p->valid_from_ms)
        at = &(*at)->next;
    bool is_again = *at && (*at)->valid_from_ms == p->valid_from_ms;
    p->next = is_again ? (*at)->next : *at;
    *at = p;
    return head;
}

static void add_pattern(struct price_book *b, struct price *p)
{
    enum price_source s = p->source;
    for (size_t i = 0; i < b->n_patterns[s]; i++) {
        struct price *other = b->patterns[s][i];
        if (str_eq(other->provider, p->provider) && str_eq(other->model, p->model)) {
            b->patterns[s][i] = chain(other, p);
            return;
        }
    }
    if (b->n_patterns[s] == b->cap_patterns[s]) {
        size_t cap = b->cap_patterns[s] ? b->cap_patterns[s] * 2 : 64;
        b->patterns[s] = arena_realloc(b->a, b->patterns[s],
                                       b->cap_patterns[s] * sizeof(struct price *),
                                       cap * sizeof(struct price *));
        b->cap_patterns[s] = cap;
    }
    b->patterns[s][b->n_patterns[s]++] = p;
}

void price_book_add(struct price_book *b, struct price *p)
{
    p->next = NULL;
    b->n++;
    if (str_index(p->model, '*') < p->model.n) {
        add_pattern(b, p);
        return;
    }
    struct str name = name_of(b->a, p->provider, p->model);
    map_set(&b->exact[p->source], name, chain(map_get(&b->exact[p->source], name), p));
}

/* Named providers before any, then the longer pattern: it says more. */
static int by_length(const void *a, const void *b)
{
    const struct price *const *x = a, *const *y = b;
    bool any_x = str_is((*x)->provider, "*"), any_y = str_is((*y)->provider, "*");
    if (any_x != any_y)
        return any_x - any_y;
    return (*x)->model.n > (*y)->model.n ? -1 : (*x)->model.n < (*y)->model.n;
}

void price_book_ready(struct price_book *b)
{
    for (size_t i = 0; i < PRICE_SOURCES; i++)
        if (b->n_patterns[i])
            qsort(b->patterns[i], b->n_patterns[i], sizeof *b->patterns[i], by_length);
}

static const struct price *find_in(const struct price_book *b, enum price_source s,
                                   struct str provider, struct str kind, struct str model)
{
    /* lists know vendors, not what somebody here calls a provider of theirs */
    const struct str who[] = {s <= PRICE_PROVIDER ? provider : STR_NONE,
                              s == PRICE_PROVIDER ? STR_NONE : kind, STR("*")};
    char name[512];
    for (size_t i = 0; i < ARRAY_LEN(who) && b->exact[s].n; i++) {
        size_t n = who[i].n + 1 + model.n;
        if (who[i].n == 0 || n > sizeof name)
            continue;
        memcpy(name, who[i].p, who[i].n);
        name[who[i].n] = '/';
        if (model.n)
            memcpy(name + who[i].n + 1, model.p, model.n);
        const struct price *p = map_get(&b->exact[s], str_n(name, n));
        if (p)
            return p;
    }
    for (size_t i = 0; i < ARRAY_LEN(who); i++)
        for (size_t k = 0; k < b->n_patterns[s]; k++)
            if (who[i].n && str_eq(b->patterns[s][k]->provider, who[i]) &&
                price_name_fits(b->patterns[s][k]->model, model))
                return b->patterns[s][k];
    return NULL;
}

const struct price *const *price_find(const struct price_book *b, struct arena *a,
                                      struct str provider, struct str kind, struct str model,
                                      int64_t now_ms)
{
    const struct price *found[32];
    size_t n = 0;
    bool is_sure = false; /* one is in force already: nothing behind it can come to count */
    for (int s = 0; b && s < PRICE_SOURCES && !is_sure; s++)
        for (const struct price *p = find_in(b, (enum price_source)s, provider, kind, model);
             p && !is_sure && n < ARRAY_LEN(found); p = p->next) {
            found[n++] = p;
            is_sure = p->valid_from_ms <= now_ms;
        }
    if (n == 0)
        return NULL;
    const struct price **out = ARENA_ARRAY(a, const struct price *, n + 1);
    memcpy(out, found, n * sizeof *out);
    return out;
}

const struct price *price_find_at(const struct price_book *b, struct str provider, struct str kind,
                                  struct str model, int64_t at_ms)
{
    for (int s = 0; b && s < PRICE_SOURCES; s++)
        for (const struct price *p = find_in(b, (enum price_source)s, provider, kind, model); p;
             p = p->next)
            if (p->valid_from_ms <= at_ms)
                return p;
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct price *const *x = a, *const *y = b;
    if ((*x)->source != (*y)->source)
        return (int)(*x)->source - (int)(*y)->source;
    struct str of[2][2] = {{(*x)->provider, (*x)->model}, {(*y)->provider, (*y)->model}};
    for (size_t i = 0; i < 2; i++) {
        size_t n = of[0][i].n < of[1][i].n ? of[0][i].n : of[1][i].n;
        int order = n ? memcmp(of[0][i].p, of[1][i].p, n) : 0;
        if (order || of[0][i].n != of[1][i].n)
            return order ? order : of[0][i].n < of[1][i].n ? -1 : 1;
    }
    return (*x)->valid_from_ms > (*y)->valid_from_ms ? -1
                                                     : (*x)->valid_from_ms < (*y)->valid_from_ms;
}

size_t price_book_rows(const struct price_book *b, struct arena *a, const struct price *const **out)
{
    const struct price **v = ARENA_ARRAY(a, const struct price *, b->n + 1);
    size_t n = 0;
    for (size_t s = 0; s < PRICE_SOURCES; s++) {
        struct str name;
        void *head;
        for (size_t i = 0; map_next(&b->exact[s], &i, &name, &head);)
            for (const struct price *p = head; p; p = p->next)
                v[n++] = p;
        for (size_t i = 0; i < b->n_patterns[s]; i++)
            for (const struct price *p = b->patterns[s][i]; p; p = p->next)
                v[n++] = p;
    }
    if (n)
        qsort(v, n, sizeof *v, by_name);
    *out = v;
    return n;
}

/* ---- the store ---- */

bool price_store_each(struct db *db, struct arena *a, void (*each)(void *arg, struct price *p),
                      void *arg, struct err *e)
{
    struct stmt *s = db_prepare(db, "SELECT text FROM price ORDER BY id", e);
    if (!s)
        return false;
    while (stmt_step(s, e)) {
        struct price *p = ARENA_NEW(a, struct price);
        /* of another version of the program: as if it were not there */
        struct err unread = ERR_INIT;
        if (price_of_text(a, stmt_str(s, 0), p, &unread))
            each(arg, p);
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

/* Whether the newest row of the model says the same, but for when it began and where it was read. */
static bool is_as_before(struct stmt *find, struct arena *a, const struct price *p, bool *is_same,
                         struct err *e)
{
    *is_same = false;
    stmt_bind_int(find, 1, p->source);
    stmt_bind_str(find, 2, p->provider);
    stmt_bind_str(find, 3, p->model);
    if (stmt_step(find, e)) {
        struct price was, now = *p;
        struct err unread = ERR_INIT;
        if (price_of_text(a, stmt_str(find, 0), &was, &unread)) {
            was.valid_from_ms = now.valid_from_ms = 0;
            was.provenance = now.provenance = STR_NONE;
            price_seal(a, &was);
            price_seal(a, &now);
            *is_same = was.version == now.version;
        }
    }
    stmt_reset(find);
    return e->kind == ERR_NONE;
}

bool price_store_put(struct db *db, const struct price_rows *rows, int64_t now_ms, int64_t *added,
                     struct err *e)
{
    struct stmt *find = db_prepare(db,
                                   "SELECT text FROM price WHERE source = ?1 AND provider = ?2 AND "
                                   "model = ?3 ORDER BY valid_from_ms DESC, id DESC LIMIT 1",
                                   e);
    struct stmt *put = find
                           ? db_prepare(db,
                                        "INSERT INTO price(version, source, provider, model, "
                                        "valid_from_ms, added_ms, text) "
                                        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
                                        e)
                           : NULL;
    bool ok = put != NULL;
    *added = 0;
    for (size_t i = 0; ok && i < rows->n; i++) {
        const struct price *p = rows->v[i];
        struct arena *scratch = arena_new();
        bool is_same;
        ok = is_as_before(find, scratch, p, &is_same, e);
        if (ok && !is_same) {
            stmt_bind_int(put, 1, p->version);
            stmt_bind_int(put, 2, p->source);
            stmt_bind_str(put, 3, p->provider);
            stmt_bind_str(put, 4, p->model);
            stmt_bind_int(put, 5, p->valid_from_ms);
            stmt_bind_int(put, 6, now_ms);
            stmt_bind_str(put, 7, p->text);
            ok = stmt_run(put, e);
            *added += ok && db_changes(db) > 0;
        }
        arena_free(scratch);
    }
    stmt_free(put);
    stmt_free(find);
    return ok;
}

struct str price_rows_told(struct arena *a, const struct price_rows *rows, int64_t added)
{
    return str_fmt(a, "{\"rows\":%zu,\"added\":%lld}", rows->n, (long long)added);
}

bool price_store_drop(struct db *db, enum price_source source, struct str provider,
                      int64_t *dropped, struct err *e)
{
    struct stmt *s = db_prepare(
        db, "DELETE FROM price WHERE source = ?1 AND (?2 IS NULL OR provider = ?2)", e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, source);
    stmt_bind_str(s, 2, provider.n ? provider : STR_NONE);
    bool ok = stmt_run(s, e);
    *dropped = ok ? db_changes(db) : 0;
    stmt_free(s);
    return ok;
}

/* Rows change while they are walked: they are read first. */
static bool rows_of_provider(struct db *db, struct arena *a, struct str provider, int64_t **ids,
                             struct price **rows, size_t *n, struct err *e)
{
    struct stmt *s = db_prepare(
        db, "SELECT id, text FROM price WHERE source = ?1 AND provider = ?2 ORDER BY id", e);
    *n = 0;
    *ids = NULL;
    *rows = NULL;
    if (!s)
        return false;
    stmt_bind_int(s, 1, PRICE_PROVIDER);
    stmt_bind_str(s, 2, provider);
    for (size_t cap = 0; stmt_step(s, e);) {
        struct err unread = ERR_INIT;
        if (*n == cap) {
            size_t more = cap ? 2 * cap : 64;
            *ids = arena_realloc(a, *ids, cap * sizeof **ids, more * sizeof **ids);
            *rows = arena_realloc(a, *rows, cap * sizeof **rows, more * sizeof **rows);
            cap = more;
        }
        (*ids)[*n] = stmt_int(s, 0);
        *n += price_of_text(a, stmt_str(s, 1), &(*rows)[*n], &unread);
    }
    stmt_free(s);
    return e->kind == ERR_NONE;
}

bool price_store_rename(struct db *db, struct str from, struct str to, int64_t *moved,
                        struct err *e)
{
    struct arena *a = arena_new();
    int64_t *ids;
    struct price *rows;
    size_t n;
    bool ok = rows_of_provider(db, a, from, &ids, &rows, &n, e);
    struct stmt *put = ok ? db_prepare(db,
                                       "UPDATE OR REPLACE price SET version = ?2, provider = ?3, "
                                       "text = ?4 WHERE id = ?1",
                                       e)
                          : NULL;
    ok = put != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        rows[i].provider = to;
        price_seal(a, &rows[i]);
        stmt_bind_int(put, 1, ids[i]);
        stmt_bind_int(put, 2, rows[i].version);
        stmt_bind_str(put, 3, to);
        stmt_bind_str(put, 4, rows[i].text);
        ok = stmt_run(put, e);
    }
    *moved = ok ? (int64_t)n : 0;
    stmt_free(put);
    arena_free(a);
    return ok;
}

bool price_version_get(struct db *db, struct arena *a, int64_t version, struct price *out,
                       struct err *e)
{
    struct stmt *s = db_prepare(db,
                                "SELECT text FROM price_version WHERE version = ?1 UNION ALL "
                                "SELECT text FROM price WHERE version = ?1 LIMIT 1",
                                e);
    if (!s)
        return false;
    stmt_bind_int(s, 1, version);
    bool ok = stmt_step(s, e)
                  ? price_of_text(a, stmt_str(s, 0), out, e)
                  : e->kind == ERR_NONE && err_set(e, ERR_NOT_FOUND, "not_found",
                                                   "No price version %lld", (long long)version);
    stmt_free(s);
    return ok;
}
