/* money.c - what a request costs: the hold before anything is sent, its growth while the reply comes, and its line in the end. Requests under
 * no budget hold nothing, and are priced when they are recorded. */
#include "relay/request.h"
#include "relay/cache.h"
#include "relay/replies.h"
#include "base/clock.h"
#include "gate/budget.h"
#include "meter/ledger.h"
#include "wire/flow.h"
#include <time.h>

#define IMAGE_TOKENS 8192         /* of one that is made, where it is billed by tokens */
#define MAX_HOLD 1000000000000000 /* nano-USD: no budget is larger */
#define STEP_TOKENS 512           /* that a hold grows by */
#define UPLOAD_STEP 4096          /* … that of an upload of unknown length */
#define LEAST_MAXIMUM 16          /* that an upstream can be told: Responses takes no less */
/* of what is left, one in so many is held for a request that could do with less */
#define SHARE 4
/* Of sound, for each byte of the text that it speaks: usually (twenty a second, of fifteen letters), and of a slow voice that reads numbers. */
#define SPOKEN_TOKENS 2
#define SPOKEN_MOST 12

struct money {
    struct hold hold;
    struct str warnings;
    struct price_most most; /* that the hold is large enough for */
    int64_t upload_tokens;  /* of a form's bytes that are held for */
    size_t out_bytes;       /* of text so far */
    bool lacks_context;     /* nobody knows how much of it the upstream adds */
    bool is_bounded;        /* the request says how much may come: nothing has to grow */
    bool cuts;              /* some budget ends streams */
    bool is_spent;          /* it could not grow any more */
};

static const struct budget *const *budgets_of(const struct relay *rl)
{
    return rl->key && rl->key->budgets ? rl->key->budgets : rl->snap->common_budgets;
}

/* ---- what may come ---- */

/* The most output tokens that the request allows for all its answers together; -1: it does not say. */
static int64_t asked_tokens(const struct relay *rl)
{
    return rl->asked_output < 0 ? -1 : rl->asked_output * rl->asked_choices;
}

static bool has_output(const struct relay *rl)
{
    return rl->spec->shape == RELAY_TALK || rl->spec->op == OP_SPEECH ||
           rl->spec->op == OP_TRANSCRIBE || rl->spec->op == OP_TRANSLATE ||
           rl->spec->op == OP_COMPACT;
}

/* What the model can say at most for all answers together; -1: not known. */
static int64_t known_most(const struct relay *rl)
{
    const struct model *m = snapshot_model(rl->snap, rl->model);
    int64_t one = !m ? -1 : m->max_output_tokens > 0 ? m->max_output_tokens : m->context_tokens;
    return one > 0 ? one * rl->asked_choices : -1;
}

/* What follows from what it is given, where no request can name a maximum; -1: nothing does. */
static int64_t natural_most(const struct relay *rl, int64_t tokens_in)
{
    int64_t least = rl->set->budget_hold_tokens;
    switch (rl->spec->op) {
    case OP_SPEECH:
        return (int64_t)rl->body.n * SPOKEN_MOST;
    case OP_TRANSCRIBE: /* fewer words than sounds */
    case OP_TRANSLATE:
        return tokens_in > least ? tokens_in : least;
    case OP_COMPACT: /* shorter than what it is made of; and some thinking */
        return tokens_in + least;
    default:
        return -1;
    }
}

static bool makes_images(const struct relay *rl)
{
    return rl->spec->op == OP_IMAGE_GENERATE || rl->spec->op == OP_IMAGE_EDIT;
}

/* Tokens may be given by their numbers. */
static bool has_ids(const struct relay *rl)
{
    return rl->spec->shape == RELAY_EMBED || rl->spec->client == WIRE_COMPLETIONS;
}

/* The longest prompt that any of its targets takes; -1: not known. */
static int64_t context_of(const struct relay *rl)
{
    const struct model *m = snapshot_model(rl->snap, rl->model);
    int64_t most = -1;
    if (m && m->context_tokens > 0)
        return m->context_tokens;
    for (size_t i = 0; i < rl->n_order; i++) {
        m = served_model(rl->snap, rl->order[i]);
        if (!m || m->context_tokens <= 0)
            return -1;
        most = m->context_tokens > most ? m->context_tokens : most;
    }
    return most;
}

/* What upstreams that are asked in the client's own format put before the prompt. -1: not known. */
static int64_t far_context(const struct relay *rl)
{
    for (size_t i = 0; i < rl->n_order; i++) {
        const enum wire_id *wires = rl->order[i]->upstream->wires;
        for (size_t k = 0; k < ARRAY_LEN(rl->order[i]->upstream->wires); k++)
            if (wires[k] == rl->spec->client)
                return rl->has_far_context ? -1 : responses_context(rl);
    }
    return 0;
}

/* ahead: tokens of an upload that are held for before they come. */
static void estimate(struct relay *rl, int64_t ahead, struct money *m)
{
    int64_t asked = asked_tokens(rl), known = known_most(rl), context = context_of(rl),
            far = far_context(rl);
    struct price_most *most = &m->most;
    m->upload_tokens = rl->form ? form_tokens_most(rl) + ahead : 0;
    most->tokens_in = rl->form ? m->upload_tokens
                               : asked_input_most(rl->body,
                                                  has_ids(rl) && rl->set->budget_bytes_per_token > 2
                                                      ? 2 /* a digit and a comma */
                                                      : rl->set->budget_bytes_per_token);
    most->tokens_in += far > 0 ? far : 0;
    m->lacks_context = far < 0 && context < 0;
    if (context > 0 && (far < 0 || most->tokens_in > context))
        most->tokens_in = context;
    /* looked for when a price asks: the whole body is read for it */
    most->searches = rl->form ? 0 : -1;
    most->images = rl->spec->shape == RELAY_TALK ? -1 : 0;
    if (makes_images(rl)) {
        most->images = rl->form ? form_choices(rl) : rl->asked_choices;
        most->tokens_out = most->images * IMAGE_TOKENS;
    }
    int64_t natural = natural_most(rl, most->tokens_in);
    m->is_bounded = asked >= 0 || natural >= 0 || !has_output(rl);
    if (!has_output(rl))
        return;
    most->tokens_out = natural >= 0 ? natural : asked >= 0 ? asked : rl->set->budget_hold_tokens;
    if (!m->is_bounded && known > 0 && most->tokens_out >= known) {
        most->tokens_out = known;
        m->is_bounded = true;
    }
}

/* In the dearest service that it may be served in: what was asked for is not what one always gets. -1: unknown. */
static int64_t bound(const struct relay *rl, const struct price *p, struct price_most *most)
{
    if (most->searches < 0 && p && price_has(p, PRICE_SEARCH))
        most->searches = asked_searches(rl->body, rl->spec->client, rl->set->budget_hold_searches);
    if (most->images < 0 && p && price_has(p, PRICE_IMAGE))
        most->images = asked_images(rl->body, rl->spec->client, rl->set->budget_hold_images) *
                       rl->asked_choices;
    int64_t v = price_bound(p, rl->service, most);
    if (p && p->has_services) {
        int64_t standard = price_bound(p, SERVICE_STANDARD, most),
                priority = rl->is_service_open ? price_bound(p, SERVICE_PRIORITY, most) : -1;
        v = standard > v ? standard : v;
        v = priority > v ? priority : v;
    }
    return v < MAX_HOLD ? v : MAX_HOLD;
}

/* In force when it was admitted: so that what is held, what is settled and what comes out later are of one price. */
static const struct price *price_of(const struct relay *rl, const struct target *t)
{
    return price_at(t->prices, rl->admitted_ms);
}

/* Of the dearest target; -1: none of them is priced. */
static int64_t amount_of(const struct relay *rl, struct money *m)
{
    int64_t most = -1;
    for (size_t i = 0; i < rl->n_order; i++) {
        int64_t v = bound(rl, price_of(rl, rl->order[i]), &m->most);
        most = v > most ? v : most;
    }
    return most;
}

static bool any(const struct budget *const *budgets, bool (*is)(const struct budget *b))
{
    for (size_t i = 0; budgets && budgets[i]; i++)
        if (is(budgets[i]))
            return true;
    return false;
}

static bool stops(const struct budget *b)
{
    return budget_binds(b);
}

static bool cuts(const struct budget *b)
{
    return budget_binds(b) && b->cuts;
}

bool money_binds(const struct relay *rl)
{
    return any(rl->money->hold.budgets, stops);
}

bool money_takes(const struct relay *rl, const struct target *t, struct err *e)
{
    if (!rl->money || rl->set->budget_allow_unpriced || !any(rl->money->hold.budgets, stops) ||
        price_of(rl, t))
        return true;
    return err_set(e, ERR_NO_FUNDS, "price_unknown",
                   "What '" STR_FMT "' costs at '" STR_FMT
                   "' is not known, and a budget must hold: set its price first",
                   STR_ARG(str_first(t->model, 150)), STR_ARG(str_first(t->upstream->name, 80)));
}

/* For a reply that nothing bounds and that cannot be ended in its midst: all that the model can say, or what a share of the budgets' room
 * pays for. That much the upstream is told as its maximum. */
static bool take_share(struct relay *rl, struct money *m, const struct budget *const *budgets,
                       int64_t now, const struct budget **by)
{
    int64_t known = known_most(rl), most = rl->set->budget_max_tokens;
    int64_t least = rl->set->budget_hold_tokens, floor = LEAST_MAXIMUM * rl->asked_choices;
    least = least > floor ? least : floor;
    if (known > 0 && known < least)
        least = known;
    int64_t want = known > 0 ? known : most > least ? most : least;
    m->most.tokens_out = 0;
    int64_t before = amount_of(rl, m);
    m->most.tokens_out = want;
    int64_t all = amount_of(rl, m), share = budget_room(budgets, now) / SHARE, tokens = want;
    m->is_bounded = known > 0 || most > 0;
    if (most > 0 && all > before && all > share) {
        tokens = share > before ? (int64_t)((__int128)want * (share - before) / (all - before)) : 0;
        tokens = tokens > least ? tokens : least;
    }
    m->most.tokens_out = tokens;
    int64_t amount = amount_of(rl, m);
    if (!hold_try(&m->hold, budgets, amount > 0 ? amount : 0, now)) { /* others were faster */
        m->most.tokens_out = tokens = most > 0 ? least : tokens;
        amount = amount_of(rl, m);
        if (!hold_take(&m->hold, budgets, amount > 0 ? amount : 0, now, by))
            return false;
    }
    if (most > 0 && all > before && (known < 0 || tokens < known))
        rl->given_output = tokens / rl->asked_choices;
    if (rl->ir && rl->given_output > 0 && rl->ir->max_tokens <= 0)
        rl->ir->max_tokens = rl->given_output;
    return true;
}

static bool take(struct relay *rl, struct money *m, const struct budget *const *budgets,
                 int64_t now, const struct budget **by)
{
    if (!m->is_bounded && !m->cuts && any(budgets, stops))
        return take_share(rl, m, budgets, now, by);
    int64_t amount = amount_of(rl, m);
    return hold_take(&m->hold, budgets, amount > 0 ? amount : 0, now, by);
}

/* What would lose something on its way through events is told a maximum instead: the probabilities of older completions, and more answers
 * than are followed. */
static bool may_cut(const struct relay *rl)
{
    return rl->spec->client != WIRE_COMPLETIONS ||
           (rl->asked_choices <= FLOW_CHOICES &&
            find_bytes(rl->body, STR("\"logprobs\"")) == rl->body.n);
}

bool money_admit(struct relay *rl, struct err *e)
{
    const struct budget *const *budgets = budgets_of(rl), *by = NULL;
    rl->is_money_asked = true;
    if (!budgets || rl->spec->shape == RELAY_COUNT)
        return true;
    int64_t now = clock_wall_ms();
    struct money *m = ARENA_NEW(rl->r->arena, struct money);
    estimate(rl, 0, m);
    if (m->lacks_context && any(budgets, stops))
        return err_set(e, ERR_NO_FUNDS, "context_unknown",
                       "How much the upstream adds to this request is not known, and a budget must "
                       "hold: the model's context_tokens must be set");
    /* what goes on by itself cannot be ended here */
    m->cuts = !m->is_bounded && rl->is_stream && !rl->is_background && may_cut(rl) &&
              any(budgets, cuts);
    if (!take(rl, m, budgets, now, &by))
        return budget_refusal(by, now, e);
    rl->money = m;
    m->warnings = budget_warnings(rl->r->arena, budgets, now);
    return true;
}

bool money_follows(struct relay *rl)
{
    const struct budget *by = NULL;
    struct money *m = rl->money;
    if (!m)
        return true;
    int64_t now = clock_wall_ms(), amount = amount_of(rl, m);
    return amount <= m->hold.amount || hold_grow(&m->hold, amount - m->hold.amount, now, &by);
}

bool money_upload(struct relay *rl, struct err *e)
{
    const struct budget *by = NULL;
    struct money *m = rl->money;
    if (!m || !m->hold.is_taken ||
        (form_tokens_most(rl) <= m->upload_tokens &&
         (!makes_images(rl) || form_choices(rl) <= m->most.images)))
        return true;
    struct money to = *m;
    int64_t now = clock_wall_ms();
    estimate(rl, UPLOAD_STEP, &to);
    int64_t more = amount_of(rl, &to) - m->hold.amount;
    if (more > 0 && !hold_grow(&m->hold, more, now, &by)) {
        atomic_fetch_add_explicit(&by->state->refused, 1, memory_order_relaxed);
        return budget_refusal(by, now, e);
    }
    m->most = to.most;
    m->upload_tokens = to.upload_tokens;
    return true;
}

bool money_covers(struct relay *rl, int64_t max_tokens, struct err *e)
{
    const struct budget *by = NULL;
    struct money *m = rl->money;
    struct price_most to = m->most;
    int64_t now = clock_wall_ms();
    if (!m->is_bounded || max_tokens <= to.tokens_out)
        return true;
    to.tokens_out = max_tokens;
    const struct price *p = price_of(rl, rl->target);
    int64_t more = bound(rl, p, &to) - bound(rl, p, &m->most);
    if (more > 0 && !hold_grow(&m->hold, more, now, &by))
        return budget_refusal(by, now, e);
    m->most = to;
    return true;
}

/* Both may be billed whole, whatever is settled in the end. */
bool money_beside(struct relay *rl)
{
    struct err ignored = ERR_INIT;
    const struct budget *by = NULL;
    struct money *m = rl->money;
    if (!m)
        return true;
    int64_t now = clock_wall_ms();
    int64_t more = bound(rl, price_of(rl, rl->target), &m->most);
    return money_takes(rl, rl->target, &ignored) &&
           (more <= 0 || hold_grow(&m->hold, more, now, &by));
}

struct str money_warning(const struct relay *rl)
{
    return rl->money ? rl->money->warnings : STR_NONE;
}

/* ---- while it comes ---- */

bool money_cuts(const struct relay *rl)
{
    return rl->money && rl->money->cuts;
}

/* Room for more output, a step beyond what came. false: some budget has none. */
static bool grow(struct relay *rl, int64_t tokens)
{
    struct money *m = rl->money;
    const struct budget *by = NULL;
    const struct price *p = price_of(rl, rl->target);
    int64_t now = bound(rl, p, &m->most);
    struct price_most to = m->most;
    to.tokens_out = tokens + STEP_TOKENS;
    int64_t then = bound(rl, p, &to);
    if (then < 0 || hold_grow(&m->hold, then - now, clock_wall_ms(), &by)) {
        m->most = to;
        return true;
    }
    m->is_spent = true;
    if (by->cuts && m->cuts)
        atomic_fetch_add_explicit(&by->state->cut, 1, memory_order_relaxed);
    return false;
}

void money_passed(struct relay *rl, int64_t tokens)
{
    struct money *m = rl->money;
    if (!m->is_bounded && !m->is_spent && tokens > m->most.tokens_out)
        (void)grow(rl, tokens);
}

bool money_is_spent(struct relay *rl, const struct ir_event *ev)
{
    struct money *m = rl->money;
    if (ev->kind != IR_EV_TEXT && ev->kind != IR_EV_REASONING && ev->kind != IR_EV_TOOL_ARGS)
        return false;
    m->out_bytes += ev->text.n;
    int64_t tokens = (int64_t)(m->out_bytes + 3) / 4;
    if (m->is_bounded || tokens <= m->most.tokens_out || (!m->is_spent && grow(rl, tokens)))
        return false;
    return m->cuts;
}

/* As if the model had come to the end of its tokens. */
void money_cut(struct relay *rl, const struct ir_event *ev, wire_sink_fn *emit, void *arg)
{
    static const enum ir_part_kind kinds[] = {
        [IR_EV_REASONING] = IR_REASONING, [IR_EV_TOOL_ARGS] = IR_TOOL_CALL};
    struct ir_usage usage = IR_USAGE_NONE;
    rl->is_cut = true;
    emit(arg,
         &(struct ir_event){.kind = IR_EV_BLOCK_END,
                            .part_kind = ev->kind == IR_EV_TEXT ? ev->part_kind : kinds[ev->kind],
                            .choice = ev->choice,
                            .block = ev->block});
    emit(arg,
         &(struct ir_event){.kind = IR_EV_FINISH, .choice = ev->choice, .stop = IR_STOP_LENGTH});
    if (rl->usage.input_total < 0)
        usage.input_total = rl->money->most.tokens_in;
    usage.output_total = (int64_t)(rl->money->out_bytes + 3) / 4;
    emit(arg, &(struct ir_event){.kind = IR_EV_USAGE, .usage = usage});
    emit(arg, &(struct ir_event){.kind = IR_EV_END});
}

/* ---- the end ---- */

static enum money_end end_of(const struct relay *rl, const struct usage_record *u)
{
    bool has_left = rl->r->is_aborted && !rl->is_done;
    if (rl->attempts == 0 || !rl->target)
        return MONEY_NONE;
    if (rl->spec->shape == RELAY_COUNT || (rl->ir && rl->ir->is_preload))
        return MONEY_FREE;
    if (rl->is_cut)
        return MONEY_CUT;
    if (strcmp(rl->error_code, "cancelled") == 0)
        return rl->sent_ns && !rl->first_ns && !rl->has_content ? MONEY_LEFT_EARLY
                                                                : MONEY_CANCELLED;
    if (has_left && u->status == 499)
        return rl->first_ns ? MONEY_LEFT : MONEY_LEFT_EARLY;
    if (rl->error_code[0])
        return rl->status < 400 && rl->status > 0 ? MONEY_BROKEN : MONEY_FAILED;
    return u->status >= 400 || u->status == 0 ? MONEY_FAILED : MONEY_DONE;
}

/* As it was sent: decoded, with what was put before it. How few bytes it came in says nothing of its tokens. */
static int64_t prompt_bytes(const struct relay *rl)
{
    return (int64_t)(rl->body.n ? rl->body.n : rl->prompt_bytes);
}

static int64_t prompt_tokens(const struct relay *rl)
{
    return rl->form ? form_tokens(rl, false) : (prompt_bytes(rl) + 3) / 4;
}

static void estimate_prompt(const struct relay *rl, int64_t tokens, struct usage_record *u)
{
    u->usage.input_total = tokens;
    if (rl->spec->op == OP_TRANSCRIBE || rl->spec->op == OP_TRANSLATE)
        u->usage.audio_in = tokens;
}

/* The upstream goes on with it, whoever listens: what it comes to is told later, to who asks for it. */
static bool runs_on(const struct relay *rl)
{
    return rl->is_background && rl->is_same && rl->up == WIRE_RESPONSES &&
           (rl->is_open || !rl->is_done);
}

/* Of what runs on: as much as it may come to. */
static int64_t most_out(const struct relay *rl)
{
    int64_t asked = asked_tokens(rl), known = known_most(rl);
    return rl->money    ? rl->money->most.tokens_out
           : asked >= 0 ? asked
           : known > 0  ? known
                        : rl->set->budget_hold_tokens;
}

static void estimate_usage(const struct relay *rl, struct usage_record *u)
{
    bool is_most = runs_on(rl);
    if (u->usage.input_total < 0)
        estimate_prompt(rl, is_most && rl->money ? rl->money->most.tokens_in : prompt_tokens(rl),
                        u);
    int64_t out = is_most ? most_out(rl) : has_output(rl) ? live_tokens_out(rl) : 0;
    if (rl->spec->op == OP_SPEECH) { /* how tightly its sound is coded says nothing */
        out = prompt_bytes(rl) * SPOKEN_TOKENS;
        u->usage.audio_out = out;
    }
    /* of a stream that ended early only the beginning was told */
    bool is_begun = u->money.end != MONEY_DONE;
    if (u->usage.output_total < 0 || (is_begun && u->usage.output_total < out))
        u->usage.output_total = out;
    u->quality = USAGE_ESTIMATED;
}

/* A price by tokens, so that a reply without counts is not free. */
static bool is_by_tokens(const struct price *p)
{
    return p && (p->base.v[PRICE_INPUT] > 0 || p->base.v[PRICE_OUTPUT] > 0);
}

/* One side is missing, or was told as no count, and does not follow from the sum. */
static bool is_half_told(const struct relay *rl, const struct ir_usage *u)
{
    return (u->input_total < 0 && u->total < u->output_total) ||
           (u->output_total < 0 && u->total < u->input_total && has_output(rl));
}

static int64_t next_id(struct relay_loop *l)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    l->last_line_us = us > l->last_line_us ? us : l->last_line_us + 1;
    return ledger_id(l->last_line_us, l->index);
}

int64_t money_line_id(struct relay *rl)
{
    if (!rl->line_id)
        rl->line_id = next_id(rl->env);
    return rl->line_id;
}

/* What the writer will want to know of an id, said once a loop for each place of a small table. */
static void learn(struct relay_loop *l, int64_t id, struct str text)
{
    int64_t *at = &l->learned[(uint64_t)id % ARRAY_LEN(l->learned)];
    if (id == 0 || *at == id)
        return;
    usage_log_learn(l->usage, id, text);
    *at = id;
}

/* Whose price a kept answer has: that of who gave it, as long as it may still be asked. */
static const struct target *giver_of(const struct relay *rl, const struct saved *s)
{
    for (size_t i = 0; i < rl->n_order; i++)
        if (str_eq(rl->order[i]->upstream->name, s->upstream) &&
            str_eq(rl->order[i]->model, s->upstream_model))
            return rl->order[i];
    return NULL;
}

/* A kept answer cost nothing to give. Where it is to be paid for all the same, it is paid for like the first one. */
static enum money_end end_of_kept(const struct relay *rl, const struct saved *s,
                                  struct usage_record *u)
{
    if (rl->error_code[0] || u->status != 200)
        return MONEY_FAILED;
    if (!cache_costs(rl))
        return MONEY_FREE;
    u->usage = s->usage;
    u->usage.cost_nanousd = -1; /* of the first one alone */
    u->quality = ir_usage_known(&u->usage) ? USAGE_REPORTED : USAGE_NONE;
    return MONEY_DONE;
}

/* What id stands for, and whose it is. */
static void name_line(struct relay *rl, const struct price *p, struct usage_money *m)
{
    m->account = rl->key ? rl->key->account : 0;
    m->admitted_ms = rl->admitted_ms;
    m->id = next_id(rl->env);
    if (p)
        learn(rl->env, p->version, p->text);
    if (m->account)
        learn(rl->env, m->account, rl->key->account_text);
}

/* The line of an attempt that was cancelled because another one was preferred; gives what it cost. */
static int64_t record_loss(struct relay *rl, const struct usage_record *of,
                           const struct hedge_loss *loss)
{
    struct usage_record u = *of;
    struct usage_money *m = &u.money;
    const struct price *p = price_of(rl, loss->target);
    enum money_rule rule = money_rule_of(loss->end, false, rl->set->cost_client_left_estimate);
    relay_copy_text(u.upstream, sizeof u.upstream, loss->target->upstream->name);
    relay_copy_text(u.upstream_model, sizeof u.upstream_model, loss->target->model);
    u.extra = NULL;
    u.usage = IR_USAGE_NONE;
    u.quality = USAGE_NONE;
    *m = (struct usage_money){.end = (uint8_t)loss->end,
                              .service = (uint8_t)rl->service,
                              .price = p ? p->version : 0,
                              .is_free = rule == RULE_ZERO};
    if (!m->is_free && (is_by_tokens(p) || rl->money)) {
        estimate_prompt(rl, prompt_tokens(rl), &u);
        u.quality = USAGE_ESTIMATED;
    }
    struct usage_vector parts = ledger_parts(&u);
    struct cost c = m->is_free ? (struct cost){COST_KNOWN, 0} : price_cost(p, rl->service, &parts);
    m->state = (uint8_t)c.state;
    m->cost_nanousd = c.nanousd;
    name_line(rl, p, m);
    usage_log_put_line(rl->env->usage, rl->env->index, &u);
    return c.nanousd > 0 ? c.nanousd : 0;
}

void money_record(struct relay *rl, struct usage_record *u)
{
    const struct saved *kept = cache_served(rl);
    const struct target *t = kept ? giver_of(rl, kept) : rl->target;
    enum money_end end = kept ? end_of_kept(rl, kept, u) : end_of(rl, u);
    struct usage_money *m = &u->money;
    int64_t now = clock_wall_ms();
    const struct hedge_loss *loss = hedge_loss(rl);
    int64_t lost = rl->lost_nanousd = loss ? record_loss(rl, u, loss) : 0;
    m->cost_nanousd = -1;
    m->end = (uint8_t)end;
    if (end == MONEY_NONE || end == MONEY_FREE || end == MONEY_FAILED) {
        if (end != MONEY_NONE)
            m->cost_nanousd = 0;
        m->state = COST_KNOWN;
        m->is_free = true;
        if (rl->money)
            hold_settle(&rl->money->hold, lost, now);
        return;
    }
    const struct price *p = t ? price_of(rl, t) : NULL;
    if (ir_usage_is_zero(&u->usage) && (is_by_tokens(p) || rl->money)) { /* that is no word of it */
        u->usage.input_total = u->usage.output_total = u->usage.total = -1;
        u->quality = USAGE_NONE;
    }
    bool is_reported = ir_usage_known(&u->usage);
    enum money_rule rule = money_rule_of(end, is_reported, rl->set->cost_client_left_estimate);
    m->is_free = rule == RULE_ZERO;
    /* Where a stream ended early, the upstream told of the prompt, if of anything: what it would have said of the reply is as if unreported. */
    enum money_rule rest = money_rule_of(end, false, rl->set->cost_client_left_estimate);
    if (end != MONEY_DONE && rl->is_stream && is_reported && !rl->is_done)
        rule = rest == RULE_ESTIMATE ? RULE_ESTIMATE : rule;
    if (end == MONEY_DONE && is_reported && is_half_told(rl, &u->usage))
        rule = RULE_ESTIMATE;
    if (rule == RULE_ESTIMATE && (is_by_tokens(p) || rl->money))
        estimate_usage(rl, u);
    enum price_service service = u->usage.service >= 0 ? (enum price_service)u->usage.service
                                                       : rl->service; /* it may not say */
    m->service = (uint8_t)service;
    m->price = p ? p->version : 0;
    struct usage_vector parts = ledger_parts(u);
    struct cost c = m->is_free ? (struct cost){COST_KNOWN, 0} : price_cost(p, service, &parts);
    if (!m->is_free && u->quality == USAGE_NONE && is_by_tokens(p))
        c = (struct cost){COST_UNKNOWN, -1};
    m->state = (uint8_t)c.state;
    m->cost_nanousd = c.nanousd;
    name_line(rl, p, m);
    m->id = rl->line_id ? rl->line_id : m->id;
    if (rl->money)
        hold_settle(&rl->money->hold, lost + (c.nanousd > 0 ? c.nanousd : 0), now);
}
