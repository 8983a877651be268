#include "meter/price.h"
#include "wire/wire.h"

const struct word cost_state_words[] = {
    {"unknown", COST_UNKNOWN}, {"partial", COST_PARTIAL}, {"known", COST_KNOWN}, {0}};

/* ---- parts ---- */

static int64_t or_zero(int64_t v)
{
    return v > 0 ? v : 0;
}

/* As much of it as there is room for. */
static int64_t take(int64_t *room, int64_t wanted, bool *is_cut)
{
    int64_t v = or_zero(wanted);
    if (v > *room) {
        v = *room;
        *is_cut = true;
    }
    *room -= v;
    return v;
}

/* What was written to caches, by lifetime; a total without its parts is of five minutes. */
static void cache_writes(const struct ir_usage *u, int64_t *five_minutes, int64_t *hour)
{
    *five_minutes = or_zero(u->cache_write_5m);
    *hour = or_zero(u->cache_write_1h);
    if (u->cache_write > *five_minutes + *hour)
        *five_minutes = u->cache_write - *hour;
}

struct usage_vector usage_parts(const struct ir_usage *told, bool *is_derived)
{
    struct usage_vector p = {{0}};
    struct ir_usage settled = *told;
    const struct ir_usage *u = &settled;
    int64_t five_minutes, hour;
    ir_usage_settle(&settled);
    int64_t in = u->input_total, out = u->output_total;
    bool is_cut = in != told->input_total || (told->output_total >= 0 && out != told->output_total);
    /* only a sum is known: no part of it was made, as far as anybody says */
    if (in < 0 && out < 0 && u->total > 0) {
        in = u->total;
        is_cut = true;
    }
    in = or_zero(in);
    out = or_zero(out);
    cache_writes(u, &five_minutes, &hour);
    p.v[PRICE_CACHE_READ] = take(&in, u->cache_read, &is_cut);
    p.v[PRICE_CACHE_WRITE_5M] = take(&in, five_minutes, &is_cut);
    p.v[PRICE_CACHE_WRITE_1H] = take(&in, hour, &is_cut);
    p.v[PRICE_AUDIO_IN] = take(&in, u->audio_in, &is_cut);
    p.v[PRICE_INPUT] = in;
    p.v[PRICE_REASONING] = take(&out, u->reasoning, &is_cut);
    p.v[PRICE_AUDIO_OUT] = take(&out, u->audio_out, &is_cut);
    p.v[PRICE_OUTPUT] = out;
    p.v[PRICE_IMAGE] = or_zero(u->images);
    p.v[PRICE_SEARCH] = or_zero(u->searches);
    p.v[PRICE_REQUEST] = 1;
    if (is_derived)
        *is_derived = is_cut;
    return p;
}

static int64_t sum(const struct usage_vector *u, enum price_part from, enum price_part to)
{
    int64_t n = 0;
    for (int i = (int)from; i <= (int)to; i++)
        n += u->v[i];
    return n;
}

int64_t usage_parts_in(const struct usage_vector *u)
{
    return sum(u, PRICE_INPUT, PRICE_AUDIO_IN);
}

int64_t usage_parts_out(const struct usage_vector *u)
{
    return sum(u, PRICE_OUTPUT, PRICE_AUDIO_OUT);
}

/* ---- rates ---- */

/* What a part is a kind of, when it has no rate of its own; itself: nothing. */
static const enum price_part kind_of[PRICE_PARTS] = {
    [PRICE_INPUT] = PRICE_INPUT,          [PRICE_CACHE_READ] = PRICE_INPUT,
    [PRICE_CACHE_WRITE_5M] = PRICE_INPUT, [PRICE_CACHE_WRITE_1H] = PRICE_CACHE_WRITE_5M,
    [PRICE_AUDIO_IN] = PRICE_INPUT,       [PRICE_OUTPUT] = PRICE_OUTPUT,
    [PRICE_REASONING] = PRICE_OUTPUT,     [PRICE_AUDIO_OUT] = PRICE_OUTPUT,
    [PRICE_IMAGE] = PRICE_IMAGE,          [PRICE_SEARCH] = PRICE_SEARCH,
    [PRICE_REQUEST] = PRICE_REQUEST,
};

/* The rate as stated for a service and a number of input tokens: by the highest threshold that they pass, else below it, else as of the
 * standard service. Variants are sorted by service, then by threshold. */
static int64_t stated(const struct price *p, enum price_service service, int64_t tokens_in,
                      enum price_part part)
{
    int64_t of_service = -1, of_standard = p->base.v[part];
    for (size_t i = 0; i < p->n_variants; i++) {
        const struct price_variant *v = &p->variants[i];
        if (v->rates.v[part] < 0 || (v->above > 0 && tokens_in <= v->above))
            continue;
        if (v->service == SERVICE_STANDARD)
            of_standard = v->rates.v[part];
        if (v->service == service)
            of_service = v->rates.v[part];
    }
    return of_service >= 0 ? of_service : of_standard;
}

static int64_t rate_of(const struct price *p, enum price_service service, int64_t tokens_in,
                       enum price_part part)
{
    for (;;) {
        int64_t rate = p->n_variants ? stated(p, service, tokens_in, part) : p->base.v[part];
        if (rate >= 0 || kind_of[part] == part)
            return rate;
        part = kind_of[part];
    }
}

/* Nano-USD, times a million. */
static __int128 exact(enum price_part part, int64_t quantity, int64_t rate)
{
    return (__int128)quantity * rate * (part < PRICE_TOKEN_PARTS ? 1 : 1000000);
}

static int64_t rounded(__int128 millionths)
{
    __int128 v = (millionths + 500000) / 1000000;
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

struct cost price_cost(const struct price *p, enum price_service service,
                       const struct usage_vector *u)
{
    __int128 total = 0;
    bool is_partial = false, is_any = false;
    if (!p)
        return (struct cost){COST_UNKNOWN, -1};
    int64_t in = p->n_variants ? usage_parts_in(u) : 0;
    for (int i = 0; i < PRICE_PARTS; i++) {
        enum price_part part = (enum price_part)i;
        if (u->v[i] == 0)
            continue;
        int64_t rate = rate_of(p, service, in, part);
        if (rate < 0) {
            is_partial |= part != PRICE_REQUEST;
            continue;
        }
        is_any = true;
        total += exact(part, u->v[i], rate);
    }
    if (is_partial && !is_any)
        return (struct cost){COST_UNKNOWN, -1};
    return (struct cost){is_partial ? COST_PARTIAL : COST_KNOWN, rounded(total)};
}

size_t price_lines(const struct price *p, enum price_service service, const struct usage_vector *u,
                   struct cost_line out[PRICE_PARTS])
{
    size_t n = 0, largest = 0;
    int64_t in = usage_parts_in(u), left = price_cost(p, service, u).nanousd;
    for (int i = 0; i < PRICE_PARTS; i++) {
        enum price_part part = (enum price_part)i;
        int64_t rate = p && u->v[i] ? rate_of(p, service, in, part) : -1;
        if (u->v[i] == 0 || (part == PRICE_REQUEST && rate < 0))
            continue;
        int64_t cost = rate < 0 ? 0 : (int64_t)(exact(part, u->v[i], rate) / 1000000);
        out[n] = (struct cost_line){part, u->v[i], rate, cost};
        left -= cost;
        if (cost > out[largest].nanousd || out[largest].rate < 0)
            largest = n;
        n++;
    }
    if (n && left > 0 && out[largest].rate >= 0)
        out[largest].nanousd += left;
    return n;
}

static int64_t dearest_at(const struct price *p, enum price_service service, int64_t in,
                          enum price_part from, enum price_part to)
{
    int64_t most = -1;
    for (int part = (int)from; part <= (int)to; part++) {
        int64_t rate = rate_of(p, service, in, (enum price_part)part);
        most = rate > most ? rate : most;
    }
    return most;
}

/* On every step up to so many tokens: more may be cheaper, and fewer may come than are held for. */
static int64_t dearest(const struct price *p, enum price_service service, int64_t in,
                       enum price_part from, enum price_part to)
{
    int64_t most = dearest_at(p, service, 0, from, to);
    for (size_t i = 0; i < p->n_variants; i++) {
        int64_t above = p->variants[i].above;
        if (above == 0 || above >= in)
            continue;
        int64_t rate = dearest_at(p, service, above + 1, from, to);
        most = rate > most ? rate : most;
    }
    return most;
}

int64_t price_bound(const struct price *p, enum price_service service,
                    const struct price_most *most)
{
    const struct {
        enum price_part from, to;
        int64_t quantity;
    } parts[] = {{PRICE_INPUT, PRICE_AUDIO_IN, most->tokens_in},
                 {PRICE_OUTPUT, PRICE_AUDIO_OUT, most->tokens_out},
                 {PRICE_IMAGE, PRICE_IMAGE, most->images > 0 ? most->images : 0},
                 {PRICE_SEARCH, PRICE_SEARCH, most->searches > 0 ? most->searches : 0},
                 {PRICE_REQUEST, PRICE_REQUEST, 1}};
    __int128 total = 0;
    bool is_any = false;
    if (!p)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int64_t rate = dearest(p, service, most->tokens_in, parts[i].from, parts[i].to);
        is_any |= rate >= 0;
        total += exact(parts[i].from, parts[i].quantity, rate > 0 ? rate : 0);
    }
    return is_any ? rounded(total) + (total % 1000000 != 0) : -1; /* never below what it comes to */
}

bool price_has(const struct price *p, enum price_part part)
{
    bool has = p->base.v[part] > 0;
    for (size_t i = 0; i < p->n_variants; i++)
        has |= p->variants[i].rates.v[part] > 0;
    return has;
}

enum price_service price_service_of(struct str tier)
{
    return (enum price_service)word_value(price_service_words, tier, SERVICE_STANDARD);
}
