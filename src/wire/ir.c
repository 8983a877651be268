/* Helpers of the records in ir.h and of the conversion context. */
#include "wire/wire.h"
#include "base/codec.h"
#include <stdarg.h>
#include <stdio.h>

#define DROPPED_MAX 64 /* a hostile request must not fill a header or the log */

void wire_ctx_init(struct wire_ctx *c, struct arena *a)
{
    *c = (struct wire_ctx){.arena = a, .scratch = a, .max_output_tokens = -1};
    c->dropped_tail = &c->dropped;
}

void wire_drop(struct wire_ctx *c, const char *why, const char *what_fmt, ...)
{
    char what[128];
    va_list ap;
    va_start(ap, what_fmt);
    int n = vsnprintf(what, sizeof what, what_fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    struct str text = str_n(what, (size_t)n < sizeof what ? (size_t)n : sizeof what - 1);
    unsigned seen = 0;
    for (const struct wire_dropped *d = c->dropped; d; d = d->next)
        if (str_eq(d->what, text) || ++seen == DROPPED_MAX)
            return;
    struct wire_dropped *d = ARENA_NEW(c->arena, struct wire_dropped);
    d->what = str_dup(c->arena, text);
    d->why = str_dup(c->arena, str_of(why));
    if (!c->dropped_tail)
        c->dropped_tail = &c->dropped;
    *c->dropped_tail = d;
    c->dropped_tail = &d->next;
}

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct str wire_make_id(struct wire_ctx *c, const char *prefix, unsigned hex_digits)
{
    size_t n = strlen(prefix);
    char *p = arena_alloc(c->arena, n + hex_digits + 1);
    if (n > 0)
        memcpy(p, prefix, n);
    uint64_t bits = 0;
    uint64_t state = mix(c->seed) ^ mix(++c->ids_made);
    for (unsigned i = 0; i < hex_digits; i++, bits >>= 4) {
        if (i % 16 == 0)
            bits = mix(state + i);
        p[n + i] = "0123456789abcdef"[bits & 15];
    }
    p[n + hex_digits] = '\0';
    return str_n(p, n + hex_digits);
}

void wire_ctx_move(struct wire_ctx *c, struct arena *to)
{
    struct wire_dropped *dropped = c->dropped;
    struct wire_rename *renames = c->renames, **tail = &c->renames;
    c->arena = c->scratch = to;
    c->dropped = NULL;
    c->dropped_tail = &c->dropped;
    for (; dropped; dropped = dropped->next) {
        struct wire_dropped *d = ARENA_NEW(to, struct wire_dropped);
        *d = (struct wire_dropped){.what = str_dup(to, dropped->what),
                                   .why = str_dup(to, dropped->why)};
        *c->dropped_tail = d;
        c->dropped_tail = &d->next;
    }
    *tail = NULL;
    for (; renames; renames = renames->next) {
        *tail = ARENA_NEW(to, struct wire_rename);
        **tail = (struct wire_rename){.from = str_dup(to, renames->from),
                                      .to = str_dup(to, renames->to),
                                      .space = str_dup(to, renames->space)};
        tail = &(*tail)->next;
    }
}

void ir_request_init(struct ir_request *r)
{
    *r = (struct ir_request){
        .max_tool_calls = -1, .max_tokens = -1, .n = -1, .top_logprobs = -1, .budget_tokens = -1};
}

struct ir_part *ir_part_add(struct arena *a, struct ir_parts *parts, enum ir_part_kind kind)
{
    struct ir_part *p = ARENA_NEW(a, struct ir_part);
    p->kind = kind;
    if (parts->last)
        parts->last->next = p;
    else
        parts->first = p;
    parts->last = p;
    parts->n++;
    return p;
}

struct ir_message *ir_message_add(struct arena *a, struct ir_messages *m, enum ir_role role)
{
    struct ir_message *p = ARENA_NEW(a, struct ir_message);
    p->role = role;
    if (m->last)
        m->last->next = p;
    else
        m->first = p;
    m->last = p;
    m->n++;
    return p;
}

bool ir_usage_is_zero(const struct ir_usage *u)
{
    return u->input_total == 0 && u->output_total == 0 && u->total <= 0;
}

struct ir_usage ir_usage_merge(struct ir_usage old, struct ir_usage newer)
{
    /* some servers end a stream with zeros: they take nothing back */
    if (ir_usage_is_zero(&newer) && (old.input_total > 0 || old.output_total > 0))
        newer.input_total = newer.output_total = newer.total = newer.cache_read =
            newer.cache_write = newer.reasoning = -1;
#define MERGE(field)      \
    if (newer.field >= 0) \
    old.field = newer.field
    MERGE(input_total);
    MERGE(cache_read);
    MERGE(cache_write);
    MERGE(cache_write_5m);
    MERGE(cache_write_1h);
    MERGE(output_total);
    MERGE(reasoning);
    MERGE(audio_in);
    MERGE(audio_out);
    MERGE(tool_prompt);
    MERGE(total);
    MERGE(images);
    MERGE(searches);
    MERGE(cost_nanousd);
    MERGE(service);
#undef MERGE
    return old;
}

int64_t ir_service_of(struct str tier)
{
    static const struct word words[] = {
        {"default", IR_SERVICE_STANDARD},  {"standard", IR_SERVICE_STANDARD},
        {"batch", IR_SERVICE_BATCH},       {"flex", IR_SERVICE_FLEX},
        {"priority", IR_SERVICE_PRIORITY}, {0}};
    return tier.n ? word_value(words, tier, -1) : -1;
}

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

/* Tokens that were read from caches or written to them. */
static int64_t cached(const struct ir_usage *u)
{
    int64_t parts = at_least_0(u->cache_write_5m) + at_least_0(u->cache_write_1h);
    int64_t written = u->cache_write > parts ? u->cache_write : parts;
    return at_least_0(u->cache_read) + written;
}

void ir_usage_settle(struct ir_usage *u)
{
    int64_t in = u->input_total, out = u->output_total;
    if (u->total < 0 || (in < 0 && out < 0))
        return;
    int64_t rest = u->total - at_least_0(in) - at_least_0(out);
    if (rest < 0) {
        u->total -= rest;
    } else if (in < 0) {
        u->input_total = rest;
    } else if (rest > 0) {
        int64_t outside = cached(u) > in ? (cached(u) < rest ? cached(u) : rest) : 0;
        u->input_total = in + outside;
        u->output_total = at_least_0(out) + rest - outside;
    }
}

bool ir_usage_known(const struct ir_usage *u)
{
    return u->input_total >= 0 || u->output_total >= 0 || u->total >= 0;
}

/* ---- estimate ---- */
static int64_t text_tokens(struct str s)
{
    return (int64_t)(s.n + 3) / 4;
}

static int64_t value_tokens(yyjson_val *v) /* about its length as text, without writing it */
{
    if (!v)
        return 0;
    yyjson_val *key, *item;
    size_t i, n;
    int64_t sum = 0;
    if (yyjson_is_obj(v)) {
        yyjson_obj_foreach (v, i, n, key, item)
            sum += text_tokens(json_str(key)) + 1 + value_tokens(item);
        return sum + 1;
    }
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach (v, i, n, item)
            sum += value_tokens(item);
        return sum + 1;
    }
    return yyjson_is_str(v) ? text_tokens(json_str(v)) : 1;
}

static int64_t parts_tokens(const struct ir_parts *parts)
{
    int64_t sum = 0;
    for (const struct ir_part *p = parts->first; p; p = p->next) {
        switch (p->kind) {
        case IR_TEXT:
        case IR_REFUSAL:
        case IR_REASONING:
            sum += text_tokens(p->text);
            break;
        case IR_IMAGE:
            /* providers scale images down: 85 for a thumbnail, about 1600 for a full one */
            sum += str_is(p->detail, "low")                                         ? 85
                   : p->source.kind == IR_SOURCE_DATA && p->source.base64.n < 16384 ? 300
                                                                                    : 1600;
            break;
        case IR_FILE:
        case IR_AUDIO:
        case IR_VIDEO:
            sum += text_tokens(p->source.text) + (int64_t)(p->source.base64.n / 16);
            break;
        case IR_TOOL_CALL:
            sum += 8 + text_tokens(p->name) + text_tokens(p->args_raw);
            break;
        case IR_TOOL_RESULT:
            sum += 8 + parts_tokens(&p->content) + value_tokens(p->result_json);
            break;
        case IR_OPAQUE:
            sum += value_tokens(p->raw);
            break;
        }
    }
    return sum;
}

int64_t ir_estimate_tokens(const struct ir_request *r)
{
    int64_t sum = 3;
    for (const struct ir_system *s = r->system; s; s = s->next)
        sum += text_tokens(s->text) + 3;
    for (const struct ir_message *m = r->messages.first; m; m = m->next)
        sum += parts_tokens(&m->parts) + 3;
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        sum += t->kind == IR_TOOL_HOSTED ? 8 + value_tokens(t->raw)
                                         : 8 + text_tokens(t->name) + text_tokens(t->description) +
                                               value_tokens(t->parameters);
    return sum + value_tokens(r->format_schema);
}

struct ir_request *ir_request_rest(struct arena *a, const struct ir_request *r)
{
    struct ir_request *out = arena_alloc(a, sizeof *out);
    struct ir_tool **tail = &out->tools;
    ir_request_init(out);
    out->origin = r->origin;
    out->model = str_dup(a, r->model);
    out->max_tokens = r->max_tokens;
    out->is_stream = r->is_stream;
    out->include_usage = r->include_usage;
    out->is_preload = r->is_preload;
    out->has_include_thoughts = r->has_include_thoughts;
    out->include_thoughts = r->include_thoughts;
    bool has_custom = false;
    for (const struct ir_tool *t = r->tools; t; t = t->next)
        has_custom = has_custom || t->kind == IR_TOOL_CUSTOM;
    /* all of them: the first of a name counts */
    for (const struct ir_tool *t = has_custom ? r->tools : NULL; t; t = t->next) {
        *tail = ARENA_NEW(a, struct ir_tool);
        (*tail)->kind = t->kind;
        (*tail)->name = str_dup(a, t->name);
        tail = &(*tail)->next;
    }
    return out;
}
