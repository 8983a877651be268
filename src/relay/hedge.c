/* hedge.c - asking the next target beside one that is silent: whichever gives the first byte answers, the other is cancelled.
 * The attempt that is looked at stands in struct relay, as always; the other one's part of it is put aside here, and changes places
 * whenever something comes for it. Only attempts without a byte of a reply, or with an error's, are ever put aside. */
#include "relay/request.h"
#include "base/clock.h"
#include "route/choose.h"

/* What of struct relay belongs to one attempt, before its reply. */
struct held {
    const struct target *target, *entered;
    struct ticket ticket;
    bool is_admitted, is_same, strip_usage, is_ctx_ready;
    struct http_call *call;
    enum wire_id up;
    struct str key_sent, up_type;
    enum reply_mode mode;
    int up_status;
    struct out_headers out_headers;
    int64_t reply_retry_ms;
    struct coding *coding;
    struct buf reply;
    struct wire_ctx ctx;
    struct wire_dropped *dropped; /* what this attempt added to those of reading */
    enum op embed_op;
    const char *embed_suffix;
    uint64_t sent_ns;
    size_t span;
};

struct leg {
    struct relay *rl;
    bool is_hedge;   /* it was asked beside the other */
    bool is_counted; /* among the outcomes */
    struct held held;
    struct str body; /* as sent */
    /* of a reply that has no byte yet */
    bool has_head;
    int status;
    struct http_header *head;
    size_t n_head;
};

struct hedge {
    struct relay *rl;
    struct leg legs[2];
    struct leg *now;   /* whose attempt is in rl */
    struct leg *other; /* the one that is put aside; NULL: none */
    struct timer timer;
    bool is_earned;
    unsigned sent; /* attempts that were made beside another */
    struct hedge_loss loss;
};

const char *const hedge_outcome_names[HEDGE_OUTCOMES] = {"won",    "lost",  "failed", "left",
                                                         "budget", "limit", "money",  "target"};

static void count(struct relay *rl, enum hedge_outcome o)
{
    atomic_fetch_add_explicit(&rl->env->shared->hedges[o], 1, memory_order_relaxed);
}

static void came_of(struct leg *leg, enum hedge_outcome o)
{
    if (!leg || !leg->is_hedge || leg->is_counted)
        return;
    leg->is_counted = true;
    count(leg->rl, o);
}

/* ---- changing places ---- */

static void put_aside(struct relay *rl, struct held *h)
{
    *h = (struct held){.target = rl->target,
                       .entered = rl->entered,
                       .ticket = rl->ticket,
                       .is_admitted = rl->is_admitted,
                       .is_same = rl->is_same,
                       .strip_usage = rl->strip_usage,
                       .is_ctx_ready = rl->is_ctx_ready,
                       .call = rl->call,
                       .up = rl->up,
                       .key_sent = rl->key_sent,
                       .up_type = rl->up_type,
                       .mode = rl->mode,
                       .up_status = rl->up_status,
                       .out_headers = rl->out_headers,
                       .reply_retry_ms = rl->reply_retry_ms,
                       .coding = rl->coding,
                       .reply = rl->reply,
                       .ctx = rl->ctx,
                       .dropped = rl->read_dropped ? *rl->read_dropped_tail : NULL,
                       .embed_op = rl->embed_op,
                       .embed_suffix = rl->embed_suffix,
                       .sent_ns = rl->sent_ns,
                       .span = trace_span(rl)};
}

/* As if none had begun. */
static void clear(struct relay *rl)
{
    rl->call = NULL;
    rl->is_admitted = false;
    rl->entered = NULL;
    rl->mode = REPLY_NONE;
    rl->out_headers.n = 0;
    rl->coding = NULL;
    rl->reply = (struct buf){0};
}

static void put_back(struct relay *rl, const struct held *h)
{
    rl->target = h->target;
    rl->entered = h->entered;
    rl->ticket = h->ticket;
    rl->is_admitted = h->is_admitted;
    rl->is_same = h->is_same;
    rl->strip_usage = h->strip_usage;
    rl->is_ctx_ready = h->is_ctx_ready;
    rl->call = h->call;
    rl->up = h->up;
    rl->key_sent = h->key_sent;
    rl->up_type = h->up_type;
    rl->mode = h->mode;
    rl->up_status = h->up_status;
    rl->out_headers = h->out_headers;
    rl->reply_retry_ms = h->reply_retry_ms;
    rl->coding = h->coding;
    rl->reply = h->reply;
    rl->ctx = h->ctx;
    if (rl->read_dropped)
        *rl->read_dropped_tail = h->dropped;
    rl->embed_op = h->embed_op;
    rl->embed_suffix = h->embed_suffix;
    rl->sent_ns = h->sent_ns;
    trace_set_span(rl, h->span);
}

static void change_places(struct hedge *h)
{
    struct leg *was = h->now;
    put_aside(h->rl, &was->held);
    put_back(h->rl, &h->other->held);
    h->now = h->other;
    h->other = was;
    admission_change_places(h->rl);
}

/* Something came for leg. */
static void look_at(struct leg *leg)
{
    struct hedge *h = leg->rl->hedge;
    if (h->now != leg)
        change_places(h);
}

/* ---- the one that is too late ---- */

static void cancel_other(struct hedge *h, enum money_end end)
{
    struct relay *rl = h->rl;
    struct err e = ERR_INIT;
    bool is_told = note_is_told(rl);
    change_places(h);
    h->loss = (struct hedge_loss){rl->target, end};
    if (rl->choice) {
        live_note_start(rl->env->shared->live_state, rl->target,
                        (clock_mono_ns() - rl->sent_ns) / 1000);
        choice_outrun(rl);
    }
    err_set(&e, ERR_CANCELLED, "hedged",
            end == MONEY_HEDGED ? "Another attempt ended the request"
                                : "The client left before the first byte");
    note_open(rl);
    note_failed(rl, &e, "hedge");
    trace_attempt_end(rl, "hedge");
    relay_drop_attempt(rl);
    change_places(h);
    admission_other_over(rl, true);
    h->other = NULL;
    if (!is_told)
        note_open(rl);
}

/* The first byte of a reply is there, or its end. */
static void decide(struct leg *leg)
{
    struct relay *rl = leg->rl;
    struct hedge *h = rl->hedge;
    timer_stop(&h->timer);
    leg->has_head = false;
    live_note_start(rl->env->shared->live_state, rl->target,
                    (clock_mono_ns() - rl->sent_ns) / 1000);
    came_of(leg, HEDGE_WON);
    came_of(h->other, HEDGE_LOST);
    if (h->other)
        cancel_other(h, MONEY_HEDGED);
    if (h->sent && rl->capture)
        /* of the one that answers, not of the one that was asked last */
        capture_sent(rl, leg->body);
    relay_call_handler.on_head(rl, leg->status, leg->head, leg->n_head);
}

/* ---- what comes of a call ---- */

static void on_head(void *arg, int status, const struct http_header *h, size_t n)
{
    struct leg *leg = arg;
    struct arena *a = leg->rl->r->arena;
    look_at(leg);
    if (status >= 300) { /* an error's body: judged when it is whole */
        if (!leg->rl->hedge->other)
            timer_stop(&leg->rl->hedge->timer);
        relay_call_handler.on_head(leg->rl, status, h, n);
        return;
    }
    leg->has_head = true;
    leg->status = status;
    leg->head = ARENA_ARRAY(a, struct http_header, n + 1);
    leg->n_head = n;
    for (size_t i = 0; i < n; i++)
        leg->head[i] = (struct http_header){str_dup(a, h[i].name), str_dup(a, h[i].value)};
}

static void on_body(void *arg, struct str bytes)
{
    struct leg *leg = arg;
    look_at(leg);
    if (leg->has_head)
        decide(leg);
    relay_call_handler.on_body(leg->rl, bytes);
}

static void on_read_end(void *arg)
{
    struct leg *leg = arg;
    look_at(leg);
    if (!leg->has_head)
        relay_call_handler.on_read_end(leg->rl);
}

static void on_end(void *arg)
{
    struct leg *leg = arg;
    look_at(leg);
    if (leg->has_head)
        decide(leg);
    relay_call_handler.on_end(leg->rl);
}

static void on_error(void *arg, enum http_failure f, const struct err *e, bool is_head_seen)
{
    struct leg *leg = arg;
    look_at(leg);
    relay_call_handler.on_error(leg->rl, f, e, is_head_seen);
}

static void on_writable(void *arg)
{
    (void)arg; /* bodies are whole */
}

static const struct http_call_handler leg_handler = {on_head, on_body,  on_read_end,
                                                     on_end,  on_error, on_writable};

/* ---- the second attempt ---- */

/* What it does is done once only: nothing is stored at the vendor, and no vendor calls out for it. */
static bool is_repeatable(const struct relay *rl)
{
    struct json_want want = {.key = "store"};
    struct json_scan scan;
    if (rl->kept || str_contains(rl->body, STR("\"mcp")))
        return false;
    return !str_contains(rl->body, STR("\"store\"")) ||
           (json_scan_object(rl->body, &want, 1, (unsigned)rl->set->max_json_depth, &scan, NULL) &&
            (want.count == 0 || !str_is(str_n(rl->body.p + want.span.at, want.span.n), "true")));
}

/* For how long the target may be silent; 0: for ever. */
static uint64_t patience(struct relay *rl)
{
    bool is_meant = rl->spec->shape == RELAY_TALK || rl->spec->shape == RELAY_EMBED;
    const struct candidate *k = rl->choice && is_meant ? choice_candidate(rl) : NULL;
    bool has_lost = rl->hedge && rl->hedge->loss.target;
    if (!k || !k->hedge_after_ms || has_lost || rl->set->hedge_budget_percent == 0 ||
        rl->next >= rl->n_order || (int64_t)rl->attempts >= rl->set->max_attempts ||
        !is_repeatable(rl))
        return 0;
    return k->hedge_after_ms;
}

static enum hedge_outcome ask_next(struct hedge *h, uint32_t combo, struct leg *first)
{
    struct relay *rl = h->rl;
    if (rl->next >= rl->n_order || (int64_t)rl->attempts >= rl->set->max_attempts)
        return HEDGE_NO_TARGET;
    if (!live_hedge_take(rl->env->shared->live_state, combo, rl->set->hedge_burst))
        return HEDGE_NO_BUDGET;
    put_aside(rl, &first->held);
    clear(rl);
    h->other = first;
    enum hedge_outcome o = relay_attempt_beside(rl);
    if (o == HEDGE_SENT) {
        h->sent++;
        return o;
    }
    live_hedge_return(rl->env->shared->live_state, combo);
    put_back(rl, &first->held);
    h->now = first;
    h->other = NULL;
    return o;
}

static void on_silence(struct timer *t)
{
    struct hedge *h = (struct hedge *)(void *)((char *)t - offsetof(struct hedge, timer));
    struct relay *rl = h->rl;
    const struct candidate *k = choice_candidate(rl);
    if (rl->is_ended || h->other || !rl->call || !k)
        return;
    enum hedge_outcome o = ask_next(h, k->hedge->index, h->now);
    if (o != HEDGE_SENT)
        count(rl, o);
}

static void watch(struct hedge *h)
{
    uint64_t ms = patience(h->rl);
    if (ms)
        timer_start(h->rl->env->loop, &h->timer, ms, on_silence);
}

struct http_call *hedge_call(struct relay *rl, const struct http_out *out)
{
    struct hedge *h = rl->hedge;
    uint64_t ms = h && h->other ? 0 : patience(rl);
    if (!(h && h->other) && !ms)
        return http_call_start(rl->env->client, out, &relay_call_handler, rl);
    if (!h) {
        h = rl->hedge = ARENA_NEW(rl->r->arena, struct hedge);
        h->rl = rl;
    }
    struct leg *leg = h->other == &h->legs[0] ? &h->legs[1] : &h->legs[0];
    *leg = (struct leg){.rl = rl, .is_hedge = h->other != NULL, .body = out->body};
    h->now = leg;
    if (ms) {
        if (!h->is_earned)
            live_hedge_earn(rl->env->shared->live_state, choice_candidate(rl)->hedge->index,
                            rl->set->hedge_budget_percent);
        h->is_earned = true;
        timer_start(rl->env->loop, &h->timer, ms, on_silence);
    }
    return http_call_start(rl->env->client, out, &leg_handler, leg);
}

/* ---- for the others ---- */

bool hedge_goes_on(struct relay *rl)
{
    struct hedge *h = rl->hedge;
    if (!h)
        return false;
    timer_stop(&h->timer);
    came_of(h->now, HEDGE_FAILED);
    if (!h->other) {
        h->now = NULL;
        return false;
    }
    put_back(rl, &h->other->held);
    h->now = h->other;
    h->other = NULL;
    admission_change_places(rl);
    admission_other_over(rl, false);
    note_open(rl);
    watch(h);
    return true;
}

void hedge_end(struct relay *rl)
{
    struct hedge *h = rl->hedge;
    if (!h)
        return;
    timer_stop(&h->timer);
    came_of(h->now, HEDGE_LEFT);
    came_of(h->other, HEDGE_LEFT);
    if (!h->other)
        return;
    bool has_left = rl->r->is_aborted && !rl->is_done;
    cancel_other(h, has_left ? MONEY_LEFT_EARLY : MONEY_HEDGED);
}

bool hedge_is_now(const struct relay *rl)
{
    return rl->hedge && rl->hedge->now && rl->hedge->now->is_hedge;
}

unsigned hedge_sent(const struct relay *rl)
{
    return rl->hedge ? rl->hedge->sent : 0;
}

const struct hedge_loss *hedge_loss(const struct relay *rl)
{
    return rl->hedge && rl->hedge->loss.target ? &rl->hedge->loss : NULL;
}
