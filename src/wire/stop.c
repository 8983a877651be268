#include "wire/stop.h"
#include "base/buf.h"

struct stop_cut {
    struct ir_strs stop;
    /* of the open text: what may be the beginning of a sequence, and what just came */
    struct buf held;
    size_t longest;
    int64_t input_tokens;
    size_t output_bytes;
    bool is_done;
};

struct found {
    size_t at; /* text.n: nowhere */
    struct str sequence;
};

/* The sequence that begins first; of those that begin together the first of the list. */
static struct found find(const struct ir_strs *stop, struct str text)
{
    struct found f = {.at = text.n};
    for (unsigned i = 0; i < stop->n; i++) {
        struct str s = stop->v[i];
        const char *at = s.n && text.n ? memmem(text.p, text.n, s.p, s.n) : NULL;
        if (at && (size_t)(at - text.p) < f.at)
            f = (struct found){(size_t)(at - text.p), s};
    }
    return f;
}

/* How much of the end of text is the beginning of a sequence. */
static size_t beginning(const struct stop_cut *k, struct str text)
{
    size_t from = text.n >= k->longest ? text.n - k->longest + 1 : 0;
    for (; from < text.n; from++)
        for (unsigned i = 0; i < k->stop.n; i++)
            if (str_starts(k->stop.v[i], str_skip(text, from)))
                return text.n - from;
    return 0;
}

struct stop_cut *stop_cut_new(struct wire_ctx *c, const struct ir_strs *stop, int64_t input_tokens)
{
    struct stop_cut *k = ARENA_NEW(c->arena, struct stop_cut);
    k->stop.v = ARENA_ARRAY(c->arena, struct str, stop->n + 1);
    for (unsigned i = 0; i < stop->n; i++) {
        if (stop->v[i].n == 0)
            continue;
        k->stop.v[k->stop.n++] = str_dup(c->arena, stop->v[i]);
        if (stop->v[i].n > k->longest)
            k->longest = stop->v[i].n;
    }
    buf_init_arena(&k->held, c->arena, SIZE_MAX / 2);
    k->input_tokens = input_tokens;
    return k->stop.n ? k : NULL;
}

static void say(const struct ir_event *like, struct str text, wire_sink_fn *emit, void *arg)
{
    if (text.n == 0)
        return;
    struct ir_event ev = {.kind = IR_EV_TEXT,
                          .part_kind = IR_TEXT,
                          .choice = like->choice,
                          .block = like->block,
                          .text = text};
    emit(arg, &ev);
}

static void end(struct stop_cut *k, const struct ir_event *ev, struct str sequence,
                wire_sink_fn *emit, void *arg)
{
    k->is_done = true;
    emit(arg, &(struct ir_event){.kind = IR_EV_BLOCK_END,
                                 .part_kind = IR_TEXT,
                                 .choice = ev->choice,
                                 .block = ev->block});
    emit(arg, &(struct ir_event){.kind = IR_EV_FINISH,
                                 .choice = ev->choice,
                                 .stop = IR_STOP_END,
                                 .stop_sequence = sequence});
    struct ir_usage usage = IR_USAGE_NONE;
    usage.input_total = k->input_tokens;
    usage.output_total = (int64_t)(k->output_bytes + 3) / 4; /* as tokens are counted elsewhere */
    emit(arg, &(struct ir_event){.kind = IR_EV_USAGE, .usage = usage});
    emit(arg, &(struct ir_event){.kind = IR_EV_END});
}

static void text(struct stop_cut *k, const struct ir_event *ev, wire_sink_fn *emit, void *arg)
{
    buf_str_add(&k->held, ev->text);
    struct str all = buf_str(&k->held);
    struct found f = find(&k->stop, all);
    if (f.at < all.n) {
        say(ev, str_first(all, f.at), emit, arg);
        end(k, ev, f.sequence, emit, arg);
        return;
    }
    size_t sure = all.n - beginning(k, all);
    say(ev, str_first(all, sure), emit, arg);
    buf_consume(&k->held, sure);
}

void stop_cut_push(struct stop_cut *k, const struct ir_event *ev, wire_sink_fn *emit, void *arg)
{
    if (k->is_done)
        return;
    if (ev->kind == IR_EV_TEXT || ev->kind == IR_EV_REASONING || ev->kind == IR_EV_TOOL_ARGS)
        k->output_bytes += ev->text.n;
    switch (ev->kind) {
    case IR_EV_TEXT:
        if (ev->part_kind == IR_TEXT) {
            text(k, ev, emit, arg);
            return;
        }
        break;
    case IR_EV_BLOCK_END: /* what was held was no sequence */
        if (ev->part_kind == IR_TEXT) {
            say(ev, buf_str(&k->held), emit, arg);
            buf_clear(&k->held);
        }
        break;
    case IR_EV_START:
    case IR_EV_BLOCK_START:
    case IR_EV_REASONING:
    case IR_EV_TOOL_ARGS:
    case IR_EV_CITATION:
    case IR_EV_LOGPROBS:
    case IR_EV_MEDIA:
    case IR_EV_USAGE:
    case IR_EV_FINISH:
    case IR_EV_ERROR:
    case IR_EV_END:
    case IR_EV_PING:
        break;
    }
    emit(arg, ev);
}

bool stop_cut_is_done(const struct stop_cut *k)
{
    return k && k->is_done;
}

void stop_cut_response(const struct ir_strs *stop, struct ir_response *res)
{
    for (struct ir_choice *choice = res->choices; choice; choice = choice->next)
        for (struct ir_part *p = choice->message.parts.first; p; p = p->next) {
            struct found f = find(stop, p->kind == IR_TEXT ? p->text : STR_NONE);
            if (f.sequence.n == 0)
                continue;
            p->text = str_first(p->text, f.at);
            p->next = NULL; /* calls behind it, too, had not been made */
            choice->message.parts.last = p;
            choice->logprobs = NULL; /* of tokens that are gone */
            choice->stop = IR_STOP_END;
            choice->stop_sequence = f.sequence;
        }
}
