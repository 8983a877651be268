#include "route/explain.h"
#include "base/clock.h"
#include "domain/price.h"

const char *standing_text(const struct candidate *k)
{
    if (k->is_down)
        return "down";
    if (k->is_excluded)
        return "excluded";
    if (k->is_limited && k->standing.kind != STANDING_COOLING)
        return "limited";
    switch (k->standing.kind) {
    case STANDING_READY:
        return "ready";
    case STANDING_PROBE:
        return "probe";
    case STANDING_STRAINED:
        return "strained";
    case STANDING_COOLING:
        return "cooling";
    }
    return "ready";
}

int64_t route_price(const struct target *t)
{
    const struct price *p = t->prices ? price_at(t->prices, clock_wall_ms()) : NULL;
    return p ? p->base.v[PRICE_INPUT] : -1;
}

static const char *face_text(const struct model *m)
{
    switch (m->face) {
    case MODEL_SERVED:
        return m->group && m->group->of != m ? "chain" : "model";
    case MODEL_OF_COMBO:
        return "combo";
    case MODEL_OF_ALIAS:
        return "alias";
    case MODEL_OF_CHAIN:
        return "chain";
    }
    return "model";
}

static void write_candidate(struct jw *w, const struct candidate *k, const char *left,
                            const struct target *chosen)
{
    const struct standing *s = &k->standing;
    uint64_t room_ms = k->is_limited && k->room_ms > 0 ? (uint64_t)k->room_ms : 0,
             wait_ms = room_ms > s->wait_ms ? room_ms : s->wait_ms;
    jw_object(w);
    jw_kv_str(w, "provider", k->target->upstream->name);
    jw_kv_str(w, "provider_model", k->target->model);
    if (k->by && !k->by->of)
        jw_kv_str(w, "combo", k->by->name);
    jw_kv_str(w, "state", str_of(standing_text(k)));
    if (wait_ms)
        jw_kv_int(w, "wait_ms", (int64_t)wait_ms);
    if (s->kind == STANDING_COOLING || s->kind == STANDING_PROBE)
        jw_kv_str(w, "fault", s->is_quota ? STR("quota_window") : str_of(fault_name(s->fault)));
    jw_key(w, "score");
    jw_double(w, k->score < 1e200 ? k->score : -1);
    if (k->price_nanousd >= 0)
        jw_kv_int(w, "price_nanousd", (k->price_nanousd + 500000) / 1000000);
    if (k->hedge_after_ms)
        jw_kv_int(w, "hedge_after_ms", (int64_t)k->hedge_after_ms);
    jw_kv_str(w, "why", str_of(k->why));
    if (left)
        jw_kv_str(w, "left", str_of(left));
    if (k->target == chosen)
        jw_kv_bool(w, "chosen", true);
    jw_object_end(w);
}

void explain_write(struct jw *w, const struct model *m, const struct plan *p,
                   const char *const *left, const struct target *chosen)
{
    jw_object(w);
    jw_kv_str(w, "model", m->name);
    jw_kv_str(w, "kind", str_of(face_text(m)));
    jw_kv_str(w, "strategy", str_of(word_text(strategy_words, (int)p->strategy, "none")));
    if (p->is_pinned)
        jw_kv_bool(w, "is_pinned", true);
    if (p->wait_ms)
        jw_kv_int(w, "wait_ms", (int64_t)p->wait_ms);
    jw_key(w, "candidates");
    jw_array(w);
    for (size_t i = 0; i < p->n; i++)
        write_candidate(w, &p->v[i], left ? left[i] : NULL, chosen);
    jw_array_end(w);
    jw_object_end(w);
}
