#include "domain/price_list.h"
#include "base/decimal.h"
#include "domain/provider_kind.h"
#include "embedded.h"

/* ---- rows ---- */

static void add_row(struct arena *a, struct price_rows *rows, struct price *p)
{
    if (rows->n == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 64;
        rows->v = arena_realloc(a, rows->v, rows->cap * sizeof(struct price *),
                                cap * sizeof(struct price *));
        rows->cap = cap;
    }
    price_seal(a, p);
    rows->v[rows->n++] = p;
}

static void skip(struct arena *a, struct price_rows *rows, struct str model, struct str why)
{
    if (rows->n_skipped == rows->cap_skipped) {
        size_t cap = rows->cap_skipped ? rows->cap_skipped * 2 : 64;
        rows->skipped = arena_realloc(a, rows->skipped, rows->cap_skipped * sizeof *rows->skipped,
                                      cap * sizeof *rows->skipped);
        rows->cap_skipped = cap;
    }
    rows->skipped[rows->n_skipped++] = (struct price_skipped){model, why};
}

/* room: of its variants, until add_row */
static struct price *new_price(struct arena *a, const struct price_import *how,
                               struct price_variant *room)
{
    struct price *p = ARENA_NEW(a, struct price);
    p->source = how->source;
    p->provenance = how->provenance;
    p->valid_from_ms = how->valid_from_ms;
    p->variants = room;
    for (size_t i = 0; i < PRICE_PARTS; i++)
        p->base.v[i] = -1;
    return p;
}

static bool states_any(const struct price_rates *r)
{
    for (size_t i = 0; i < PRICE_PARTS; i++)
        if (r->v[i] >= 0)
            return true;
    return false;
}

static struct str lexeme_of(yyjson_val *v)
{
    return yyjson_is_str(v) ? json_str(v) : json_is_number(v) ? json_lexeme(v) : STR_NONE;
}

/* ---- the public list: model -> { "litellm_provider": …, "input_cost_per_token": 2.5e-06, … } ---- */

/* clang-format off */
static const struct {
    const char *theirs, *ours;
} their_providers[] = {
    {"gemini", "google"}, {"together_ai", "together"}, {"fireworks_ai", "fireworks"}, {"cohere_chat", "cohere"},
    {"nvidia_nim", "nvidia"}, {"text-completion-openai", "openai"}, {"dashscope", "alibaba"}, {"moonshot", "kimi"},
    {"hosted_vllm", "vllm"}, {"codestral", "mistral"}, {"text-completion-codestral", "mistral"}, {"zai", "zhipu"},
    {"vertex_ai", "vertex"}, {"vertex_ai_beta", "vertex"},
};
static const struct {
    const char *name;
    enum price_part part;
    int shift;         /* USD for one becomes nano-USD for a million, or for one */
    bool is_of_images; /* counts where nothing else prices what a model of images gives */
} their_rates[] = {
    {"input_cost_per_token", PRICE_INPUT, 15},
    {"output_cost_per_token", PRICE_OUTPUT, 15},
    {"cache_read_input_token_cost", PRICE_CACHE_READ, 15},
    {"cache_creation_input_token_cost", PRICE_CACHE_WRITE_5M, 15},
    {"output_cost_per_reasoning_token", PRICE_REASONING, 15},
    {"input_cost_per_audio_token", PRICE_AUDIO_IN, 15},
    {"output_cost_per_audio_token", PRICE_AUDIO_OUT, 15},
    {"output_cost_per_image", PRICE_IMAGE, 9},
    {"input_cost_per_request", PRICE_REQUEST, 9},
    {"input_cost_per_query", PRICE_REQUEST, 9},
    {"output_cost_per_image_token", PRICE_OUTPUT, 15, true},
};
static const char *const their_twins[] = { /* what another member says in another unit, and what is read apart */
    "input_dbu_cost_per_token", "output_dbu_cost_per_token", "output_db_cost_per_token", "tiered_pricing",
    "search_queries_cost_per_query", "search_context_cost_per_query",
};
#define WHOLE 1000000000 /* of a share */
/* clang-format on */

static struct price_rates *rates_of(struct price *p, enum price_service service, int64_t above)
{
    if (service == SERVICE_STANDARD && above == 0)
        return &p->base;
    for (size_t i = 0; i < p->n_variants; i++)
        if (p->variants[i].service == service && p->variants[i].above == above)
            return &p->variants[i].rates;
    if (p->n_variants == PRICE_MAX_VARIANTS)
        return NULL;
    struct price_variant *v = &p->variants[p->n_variants++];
    *v = (struct price_variant){.service = service, .above = above};
    for (size_t i = 0; i < PRICE_PARTS; i++)
        v->rates.v[i] = -1;
    p->has_services |= service != SERVICE_STANDARD;
    return &v->rates;
}

/* "_above_200k_tokens", "_above_1hr", "_batches", "_flex", "_priority", several in a row. */
static bool read_suffix(struct str rest, enum price_part *part, enum price_service *service,
                        int64_t *above)
{
    static const struct {
        struct str text;
        enum price_service service;
    } words[] = {{STR_INIT("_batches"), SERVICE_BATCH},
                 {STR_INIT("_flex"), SERVICE_FLEX},
                 {STR_INIT("_priority"), SERVICE_PRIORITY}};
    static const struct str hour = STR_INIT("_above_1hr"), over = STR_INIT("_above_"),
                            tokens = STR_INIT("k_tokens");
    while (rest.n) {
        size_t w = 0;
        while (w < ARRAY_LEN(words) && !str_starts(rest, words[w].text))
            w++;
        if (w < ARRAY_LEN(words)) {
            *service = words[w].service;
            rest = str_skip(rest, words[w].text.n);
        } else if (str_starts(rest, hour) && *part == PRICE_CACHE_WRITE_5M) {
            *part = PRICE_CACHE_WRITE_1H;
            rest = str_skip(rest, hour.n);
        } else if (str_starts(rest, over)) {
            struct str number = str_skip(rest, over.n);
            size_t n = str_index(number, 'k');
            if (!str_to_int(str_first(number, n), above) || *above <= 0 || *above > 1000000 ||
                !str_starts(str_skip(number, n), tokens))
                return false;
            *above *= 1000;
            rest = str_skip(number, n + tokens.n);
        } else {
            return false;
        }
    }
    return true;
}

/* What a member of the list is about; false: of another meaning, or of the other class (is_of_images). */
static bool find_rate(struct str name, bool of_images, size_t *row, enum price_part *part,
                      enum price_service *service, int64_t *above)
{
    for (size_t i = 0; i < ARRAY_LEN(their_rates); i++) {
        struct str base = str_of(their_rates[i].name);
        *row = i;
        *part = their_rates[i].part;
        *service = SERVICE_STANDARD;
        if (their_rates[i].is_of_images == of_images && str_starts(name, base) &&
            read_suffix(str_skip(name, base.n), part, service, above))
            return true;
    }
    return false;
}

/* Of requests of more tokens than `from`. false: the number makes no sense. Members of other meaning are passed over. */
static bool take_rate(struct price *p, struct str name, yyjson_val *v, int64_t from, bool of_images)
{
    enum price_part part;
    enum price_service service;
    int64_t above = from, rate;
    size_t row;
    if (!find_rate(name, of_images, &row, &part, &service, &above) || json_absent(v))
        return true;
    if (!decimal_parse(lexeme_of(v), their_rates[row].shift, &rate))
        return false;
    struct price_rates *to = rates_of(p, service, above);
    if (to)
        to->v[part] = rate;
    return to != NULL;
}

/* They call some by what of a provider's models is meant: "vertex_ai-language-models", "fireworks_ai-embedding-models". */
static struct str our_provider(struct str theirs)
{
    if (str_ends(theirs, STR("models")))
        (void)str_cut(theirs, '-', &theirs);
    for (size_t i = 0; i < ARRAY_LEN(their_providers); i++)
        if (str_eq(theirs, str_of(their_providers[i].theirs)))
            return str_of(their_providers[i].ours);
    const struct provider_kind *k = provider_kind_find(theirs);
    return k ? str_of(k->id) : theirs;
}

/* A model's own members, or those of one of its tiers. */
static bool take_rates(struct arena *a, struct price *p, struct str model, yyjson_val *entry,
                       int64_t from, bool of_images, struct price_rows *out)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (entry, i, max, k, v)
        if (!take_rate(p, json_str(k), v, from, of_images)) {
            skip(a, out, model,
                 str_fmt(a, "'" STR_FMT "' is no usable price", STR_ARG(json_str(k))));
            return false;
        }
    return true;
}

/* "tiered_pricing": [ { "range": [32000, 128000], "input_cost_per_token": … } ]: by the input tokens of a request, which is priced as a whole;
 * beyond the last range as in it. */
static bool take_tiers(struct arena *a, struct price *p, struct str model, yyjson_val *tiers,
                       struct price_rows *out)
{
    size_t i, max;
    yyjson_val *tier;
    int64_t from;
    yyjson_arr_foreach (tiers, i, max, tier) {
        yyjson_val *low = yyjson_arr_get_first(json_get(tier, "range"));
        if (!decimal_parse(lexeme_of(low), 0, &from)) {
            skip(a, out, model, STR("has a tier without a usable range"));
            return false;
        }
        if (!take_rates(a, p, model, tier, from, false, out))
            return false;
    }
    return true;
}

/* ---- what of an entry no part is made of ---- */

struct listed { /* a model of the public list, while it is read */
    struct arena *a;
    struct str model;
    struct price_rows *out;
    bool has_hit, has_image, has_image_tokens; /* which of the members that count at times did */
};

static bool is_zero(yyjson_val *v)
{
    int64_t n;
    return decimal_parse(lexeme_of(v), 18, &n) && n == 0;
}

static bool asks_money(struct str name)
{
    return str_contains(name, STR("cost")) || str_contains(name, STR("pricing")) ||
           str_contains(name, STR("uplift")) || str_is(name, "provider_specific_entry");
}

static bool is_read(const struct listed *m, struct str name)
{
    enum price_part part;
    enum price_service service;
    int64_t above;
    size_t row;
    for (size_t i = 0; i < ARRAY_LEN(their_twins); i++)
        if (str_eq(name, str_of(their_twins[i])))
            return true;
    return find_rate(name, false, &row, &part, &service, &above) ||
           (m->has_image_tokens && find_rate(name, true, &row, &part, &service, &above)) ||
           (m->has_image && str_is(name, "input_cost_per_image")) ||
           (m->has_hit && str_is(name, "input_cost_per_token_cache_hit"));
}

static void leave_out(const struct listed *m, struct str name)
{
    skip(m->a, m->out, m->model,
         str_fmt(m->a, "'" STR_FMT "' is left out", STR_ARG(str_first(name, 100))));
}

/* Nothing is lost with zeros, with factors of one, and with what a provider's entry says in words. */
static bool says_nothing(struct str name, yyjson_val *v)
{
    size_t i, max;
    yyjson_val *k, *one;
    int64_t n;
    if (str_contains(name, STR("uplift")))
        return decimal_parse(lexeme_of(v), 9, &n) && n == WHOLE;
    if (!str_is(name, "provider_specific_entry"))
        return json_absent(v) || is_zero(v);
    yyjson_obj_foreach (v, i, max, k, one)
        if (json_is_number(one) && !says_nothing(STR("uplift"), one))
            return false;
    return true;
}

/* Says so of every member that asks money and is no part of the price. */
static void tell_unread(const struct listed *m, yyjson_val *entry)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (entry, i, max, k, v)
        if (asks_money(json_str(k)) && !is_read(m, json_str(k)) && !says_nothing(json_str(k), v))
            leave_out(m, json_str(k));
}

/* Searches: at a price each, or by how much of what is found is read. Unasked, vendors read a medium amount. */
static bool take_searches(const struct listed *m, struct price *p, yyjson_val *entry)
{
    static const char *const sizes[] = {"search_context_size_medium", "search_context_size_low",
                                        "search_context_size_high"};
    static const char *const names[] = {"search_queries_cost_per_query",
                                        "search_context_cost_per_query"};
    int64_t rate;
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        yyjson_val *all = json_find(entry, names[n], strlen(names[n]));
        for (size_t i = 0; i <= ARRAY_LEN(sizes); i++) {
            yyjson_val *v = i ? json_find(all, sizes[i - 1], strlen(sizes[i - 1])) : all;
            if (json_absent(v) || yyjson_is_obj(v))
                continue;
            if (!decimal_parse(lexeme_of(v), 9, &rate)) {
                skip(m->a, m->out, m->model,
                     str_fmt(m->a, "'%s' is no usable price", i ? sizes[i - 1] : names[n]));
                return false;
            }
            if (p->base.v[PRICE_SEARCH] < 0)
                p->base.v[PRICE_SEARCH] = rate;
            else if (rate != p->base.v[PRICE_SEARCH])
                leave_out(m, str_of(i ? sizes[i - 1] : names[n]));
        }
    }
    return true;
}

/* Members that count where no other one says the same. */
static bool take_spare(struct listed *m, struct price *p, yyjson_val *entry, bool makes_images)
{
    static const struct {
        const char *name;
        enum price_part part;
        int shift;
    } spare[] = {{"input_cost_per_token_cache_hit", PRICE_CACHE_READ, 15},
                 {"input_cost_per_image", PRICE_IMAGE, 9}};
    bool *const is_taken[] = {&m->has_hit, &m->has_image};
    for (size_t i = 0; i < ARRAY_LEN(spare); i++) {
        yyjson_val *v = json_find(entry, spare[i].name, strlen(spare[i].name));
        int64_t *to = &p->base.v[spare[i].part], rate;
        if (json_absent(v) || (spare[i].part == PRICE_IMAGE && !makes_images))
            continue;
        if (!decimal_parse(lexeme_of(v), spare[i].shift, &rate)) {
            skip(m->a, m->out, m->model, str_fmt(m->a, "'%s' is no usable price", spare[i].name));
            return false;
        }
        if (*to < 0)
            *to = rate;
        *is_taken[i] = *to == rate;
    }
    /* what such a model gives is tokens of images, unless each image has its price */
    if (p->base.v[PRICE_IMAGE] >= 0 || (!makes_images && p->base.v[PRICE_OUTPUT] >= 0))
        return true;
    m->has_image_tokens = true;
    return take_rates(m->a, p, m->model, entry, 0, true, m->out);
}

static void read_public(struct arena *a, struct str key, yyjson_val *entry,
                        const struct price_import *how, struct price_rows *out)
{
    struct str theirs = json_get_str(entry, "litellm_provider"), head;
    struct price_variant room[PRICE_MAX_VARIANTS];
    struct price *p = new_price(a, how, room);
    struct listed m = {.a = a, .model = key, .out = out};
    bool makes_images = str_starts(json_get_str(entry, "mode"), STR("image_"));
    yyjson_val *tiers = json_get(entry, "tiered_pricing"), *tier;
    size_t i, max;
    if (str_is(key, "sample_spec"))
        return;
    if (theirs.n == 0) {
        skip(a, out, key, STR("names no provider"));
        return;
    }
    if (!take_rates(a, p, key, entry, 0, false, out) || !take_tiers(a, p, key, tiers, out) ||
        !take_spare(&m, p, entry, makes_images) || !take_searches(&m, p, entry))
        return;
    if (!states_any(&p->base) || (p->base.v[PRICE_INPUT] < 0 && p->base.v[PRICE_OUTPUT] < 0 &&
                                  p->base.v[PRICE_IMAGE] < 0 && p->base.v[PRICE_REQUEST] < 0)) {
        skip(a, out, key, STR("is not priced by tokens, images or requests"));
        return;
    }
    tell_unread(&m, entry);
    yyjson_arr_foreach (tiers, i, max, tier)
        tell_unread(&m, tier);
    price_keep_variants(a, p);
    p->provider = how->provider.n ? how->provider : our_provider(theirs);
    struct str rest = str_cut(key, '/', &head);
    p->model = rest.n && (str_eq(head, theirs) || str_eq(our_provider(head), p->provider)) ? rest
                                                                                           : key;
    add_row(a, out, p);
}

/* ---- OpenRouter: { "data": [ { "id": …, "pricing": { "prompt": "0.0000025", … } } ] } ---- */

/* clang-format off */
static const struct {
    const char *name;
    enum price_part part;
    int shift;
    bool zero_is_none; /* they write "0" for what is not billed apart */
} router_rates[] = {
    {"prompt", PRICE_INPUT, 15, false},
    {"completion", PRICE_OUTPUT, 15, false},
    {"request", PRICE_REQUEST, 9, true},
    {"web_search", PRICE_SEARCH, 9, true},
    {"internal_reasoning", PRICE_REASONING, 15, true},
    {"input_cache_read", PRICE_CACHE_READ, 15, true},
    {"input_cache_write", PRICE_CACHE_WRITE_5M, 15, true},
    {"input_cache_write_1h", PRICE_CACHE_WRITE_1H, 15, true},
    {"audio", PRICE_AUDIO_IN, 15, true},
    {"audio_output", PRICE_AUDIO_OUT, 15, true},
};
enum router_use {
    ROUTER_READ,   /* elsewhere; or counted with the prompt */
    ROUTER_UNUSED, /* a price that we have no part for */
    ROUTER_UNKNOWN
};
static const struct word router_others[] = {
    {"image", ROUTER_READ}, {"image_output", ROUTER_READ}, {"discount", ROUTER_READ}, {"overrides", ROUTER_READ},
    {"min_prompt_tokens", ROUTER_READ}, {"image_token", ROUTER_UNUSED}, {"input_audio_cache", ROUTER_UNUSED}, {0},
};
/* clang-format on */

struct routed { /* a model of their list, while it is read */
    struct arena *a;
    struct str id;
    struct price *p;
    struct price_rows *out;
    int64_t paid; /* what a discount leaves, in parts of WHOLE */
};

static bool router_bad(struct routed *m, const char *name, const char *what)
{
    skip(m->a, m->out, m->id, str_fmt(m->a, "'%s' %s", name, what));
    return false;
}

/* false: it is no price. "-1" is none either: of models whose price depends on where they go. */
static bool router_rate(struct routed *m, yyjson_val *v, int shift, int64_t *rate)
{
    if (!decimal_parse(lexeme_of(v), shift, rate))
        return false;
    *rate = (int64_t)(((__int128)*rate * m->paid + WHOLE / 2) / WHOLE);
    return true;
}

/* What they write last rules, also for longer prompts that an earlier override is of. */
static void set_beyond(struct price *p, int64_t above, enum price_part part, int64_t rate)
{
    for (size_t i = 0; i < p->n_variants; i++)
        if (p->variants[i].above > above && p->variants[i].rates.v[part] >= 0)
            p->variants[i].rates.v[part] = rate;
}

/* The rates of an object, for prompts of more tokens than `above`. false: the model cannot be priced by it. */
static bool router_rates_of(struct routed *m, yyjson_val *object, int64_t above)
{
    struct price_rates *to = rates_of(m->p, SERVICE_STANDARD, above);
    if (!to)
        return router_bad(m, "overrides", "are too many");
    for (size_t i = 0; i < ARRAY_LEN(router_rates); i++) {
        yyjson_val *v = json_find(object, router_rates[i].name, strlen(router_rates[i].name));
        enum price_part part = router_rates[i].part;
        int64_t rate;
        if (json_absent(v) || (router_rates[i].zero_is_none && is_zero(v)))
            continue;
        if (!router_rate(m, v, router_rates[i].shift, &rate))
            return router_bad(m, router_rates[i].name, "is no usable price");
        to->v[part] = rate;
        set_beyond(m->p, above, part, rate);
    }
    return true;
}

static enum router_use router_use_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(router_rates); i++)
        if (str_eq(name, str_of(router_rates[i].name)))
            return ROUTER_READ;
    return (enum router_use)word_value(router_others, name, ROUTER_UNKNOWN);
}

/* Says what of it does not count, so that nothing is left out without a word. false: an override that may hold only at times, or for some
 * requests, by a member that is not known here. */
static bool router_knows(struct routed *m, yyjson_val *object, bool is_override)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (object, i, max, k, v) {
        struct str name = str_first(json_str(k), 100);
        enum router_use use = router_use_of(json_str(k));
        if (use == ROUTER_UNKNOWN && is_override && !json_absent(v)) {
            skip(m->a, m->out, m->id,
                 str_fmt(m->a, "an override by '" STR_FMT "' is left out", STR_ARG(name)));
            return false;
        }
        if (use != ROUTER_READ && !json_absent(v) && !is_zero(v))
            skip(m->a, m->out, m->id, str_fmt(m->a, "'" STR_FMT "' is left out", STR_ARG(name)));
    }
    return true;
}

/* "overrides": [ { "min_prompt_tokens": 200000, "prompt": … } ]: of longer prompts than that, each as a whole. */
static bool router_overrides(struct routed *m, yyjson_val *overrides)
{
    size_t i, max;
    yyjson_val *one;
    yyjson_arr_foreach (overrides, i, max, one) {
        yyjson_val *least = json_get(one, "min_prompt_tokens");
        int64_t above = 0;
        if (!router_knows(m, one, true))
            continue;
        if (!json_absent(least) && !decimal_parse(lexeme_of(least), 0, &above))
            return router_bad(m, "min_prompt_tokens", "is no number of tokens");
        if (!router_rates_of(m, one, above))
            return false;
    }
    return true;
}

/* A model that makes images counts them in tokens of its output, of which nobody tells what else is in it: at the dearer rate. */
static bool router_images(struct routed *m, yyjson_val *v)
{
    int64_t rate;
    if (json_absent(v) || is_zero(v))
        return true;
    if (!router_rate(m, v, 15, &rate))
        return router_bad(m, "image_output", "is no usable price");
    if (rate > m->p->base.v[PRICE_OUTPUT])
        m->p->base.v[PRICE_OUTPUT] = rate;
    for (size_t i = 0; i < m->p->n_variants; i++) {
        int64_t *out = &m->p->variants[i].rates.v[PRICE_OUTPUT];
        if (*out >= 0 && rate > *out)
            *out = rate;
    }
    return true;
}

static void read_openrouter(struct arena *a, yyjson_val *entry, const struct price_import *how,
                            struct price_rows *out)
{
    struct price_variant room[PRICE_MAX_VARIANTS];
    struct price *p = new_price(a, how, room);
    struct routed m = {.a = a, .id = json_get_str(entry, "id"), .p = p, .out = out};
    yyjson_val *pricing = json_get(entry, "pricing"), *discount = json_get(pricing, "discount");
    int64_t share = 0;
    if (m.id.n == 0 || !yyjson_is_obj(pricing)) {
        skip(a, out, m.id, STR("has no id or no pricing"));
        return;
    }
    if (!json_absent(discount) &&
        (!decimal_parse(lexeme_of(discount), 9, &share) || share > WHOLE)) {
        (void)router_bad(&m, "discount", "is no usable share");
        return;
    }
    m.paid = WHOLE - share;
    if (!router_rates_of(&m, pricing, 0) || !router_overrides(&m, json_get(pricing, "overrides")) ||
        !router_images(&m, json_get(pricing, "image_output")))
        return;
    if (p->base.v[PRICE_INPUT] < 0 && p->base.v[PRICE_OUTPUT] < 0) {
        skip(a, out, m.id, STR("states no price of tokens"));
        return;
    }
    (void)router_knows(&m, pricing, false);
    price_keep_variants(a, p);
    p->provider = how->provider.n ? how->provider : STR("openrouter");
    p->model = str_dup(a, m.id);
    add_row(a, out, p);
}

/* ---- our own ---- */

static bool read_one(struct arena *a, struct str name, yyjson_val *value, const char *where,
                     enum price_source source, struct price_rows *out, struct err *e)
{
    struct price *p = ARENA_NEW(a, struct price);
    p->source = source;
    if (!price_name_split(name, &p->provider, &p->model))
        return err_field(e, where, "'%s' must be named provider/model, or */model", where);
    if (!price_read(a, value, where, p, e))
        return false;
    p->provider = str_dup(a, p->provider);
    p->model = str_dup(a, p->model);
    add_row(a, out, p);
    return true;
}

bool price_entry_read(struct arena *a, struct str name, yyjson_val *value, enum price_source source,
                      struct price_rows *out, struct err *e)
{
    char where[96];
    size_t i, max;
    yyjson_val *one;
    (void)snprintf(where, sizeof where, "prices.%.*s", (int)(name.n < 80 ? name.n : 80), name.p);
    if (!yyjson_is_arr(value))
        return read_one(a, name, value, where, source, out, e);
    if (yyjson_arr_size(value) == 0)
        return err_field(e, where, "'%s' must not be an empty array", where);
    yyjson_arr_foreach (value, i, max, one)
        if (!read_one(a, name, one, where, source, out, e))
            return false;
    return true;
}

static bool read_ours(struct arena *a, yyjson_val *prices, const struct price_import *how,
                      struct price_rows *out, struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (prices, i, max, k, v) {
        size_t from = out->n;
        if (!price_entry_read(a, json_str(k), v, how->source, out, e))
            return false;
        for (; from < out->n; from++) {
            struct price *p = out->v[from];
            if (!p->provenance.n)
                p->provenance = how->provenance;
            if (!p->valid_from_ms)
                p->valid_from_ms = how->valid_from_ms;
            price_seal(a, p);
        }
    }
    return true;
}

static bool is_public(yyjson_val *root)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach (root, i, max, k, v)
        if (json_get(v, "litellm_provider"))
            return true;
    return false;
}

bool price_list_read(struct arena *a, yyjson_val *root, const struct price_import *how,
                     struct price_rows *out, struct err *e)
{
    size_t i, max;
    yyjson_val *k, *v, *data = json_get(root, "data"), *prices = json_get(root, "prices");
    *out = (struct price_rows){.format = "sluice"};
    if (yyjson_is_arr(data)) {
        out->format = "openrouter";
        yyjson_arr_foreach (data, i, max, v)
            read_openrouter(a, v, how, out);
        return true;
    }
    if (yyjson_is_obj(prices))
        return read_ours(a, prices, how, out, e);
    if (!is_public(root))
        return err_set(e, ERR_INPUT, "unknown_price_list",
                       "This is none of the known price lists: the public one has models with a "
                       "'litellm_provider', OpenRouter's a 'data' array, ours 'prices'");
    out->format = "litellm";
    yyjson_obj_foreach (root, i, max, k, v)
        read_public(a, json_str(k), v, how, out);
    return true;
}

bool price_shipped(struct arena *a, struct price_rows *out, struct err *e)
{
    const struct price_import how = {.source = PRICE_SHIPPED};
    yyjson_val *root;
    const struct embedded *f = domain_prices;
    return json_parse(a, str_n((const char *)f->data, f->size), 16, &root, e) &&
           price_list_read(a, root, &how, out, e);
}
