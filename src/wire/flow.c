#include "wire/flow.h"
#include "wire/common.h"

void flow_args_scan(struct flow_args *s, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        if (s->in_string) {
            if (s->is_escaped)
                s->is_escaped = false;
            else if (ch == '\\')
                s->is_escaped = true;
            else if (ch == '"')
                s->in_string = false;
        } else if (ch == '"') {
            s->in_string = true;
        } else if (ch == '{' || ch == '[') {
            s->depth++;
        } else if (ch == '}' || ch == ']') {
            s->is_whole = --s->depth <= 0;
        }
    }
}

bool flow_read(struct flow *f, struct str data, yyjson_val **root, struct err *e)
{
    if (!f->row)
        f->row = json_row_new(f->ctx->arena);
    f->is_in_row = json_row_parse(f->row, f->ctx->scratch, data, root, e);
    return f->is_in_row;
}

bool flow_parse(struct flow *f, struct str data, yyjson_val **root, struct err *e)
{
    struct wire_ctx *c = f->ctx;
    if (flow_read(f, data, root, NULL))
        return true;
    struct err why = ERR_INIT;
    if (json_parse(c->scratch, str_fix_utf8(c->scratch, data), 0, root, &why))
        return true;
    return err_set(e, ERR_UPSTREAM, "bad_upstream_stream",
                   "the upstream sent an event that is no JSON: %s", why.message);
}

void flow_init(struct flow *f, struct wire_ctx *c)
{
    *f = (struct flow){.ctx = c};
}

static void send(struct flow *f, struct ir_event *ev)
{
    f->emit(f->arg, ev);
}

void flow_start_event(struct flow *f, const struct ir_event *ev)
{
    struct ir_event start = *ev;
    if (f->is_started || f->is_ended)
        return;
    f->is_started = true;
    start.kind = IR_EV_START;
    send(f, &start);
}

void flow_start(struct flow *f, struct str id, struct str model, int64_t created)
{
    flow_start_event(f, &(struct ir_event){.id = id, .model = model, .created = created});
}

static struct flow_choice *choice_of(struct flow *f, unsigned choice) /* NULL: to be ignored */
{
    if (choice >= FLOW_CHOICES || f->is_ended)
        return NULL;
    if (choice >= f->n_choices)
        f->n_choices = choice + 1;
    if (!f->is_started)
        flow_start(f, STR_NONE, STR_NONE, 0);
    return &f->choices[choice];
}

void flow_close(struct flow *f, unsigned choice)
{
    struct flow_choice *c = choice_of(f, choice);
    if (!c || !c->is_open)
        return;
    c->is_open = false;
    send(f,
         &(struct ir_event){
             .kind = IR_EV_BLOCK_END, .choice = choice, .block = c->block, .part_kind = c->kind});
}

void flow_open(struct flow *f, unsigned choice, enum ir_part_kind kind, const struct ir_event *ev)
{
    struct flow_choice *c = choice_of(f, choice);
    if (!c || (c->is_open && c->kind == kind && !ev && kind != IR_TOOL_CALL))
        return;
    flow_close(f, choice);
    struct ir_event start = ev ? *ev : (struct ir_event){0};
    c->is_open = true;
    c->kind = kind;
    c->block = c->next++;
    c->has_content = true;
    if (kind == IR_TOOL_CALL && !(ev && ev->call_kind == IR_CALL_HOSTED))
        c->has_calls = true;
    if (kind == IR_TOOL_CALL)
        start.call_id = wire_client_call_id(f->ctx, start.call_id);
    if (kind == IR_REFUSAL)
        c->has_refusal = true;
    start.kind = IR_EV_BLOCK_START;
    start.choice = choice;
    start.block = c->block;
    start.part_kind = kind;
    send(f, &start);
}

void flow_event(struct flow *f, unsigned choice, struct ir_event *ev)
{
    struct flow_choice *c = choice_of(f, choice);
    if (!c)
        return;
    ev->choice = choice;
    ev->block = c->block;
    ev->part_kind = c->kind;
    if (f->is_in_row && ev->text.n > 0)
        ev->text_json = json_row_raw(f->row, ev->text);
    c->has_content = true;
    send(f, ev);
}

void flow_late_citation(struct flow *f, unsigned choice, unsigned block, struct ir_event *ev)
{
    if (!choice_of(f, choice))
        return;
    ev->kind = IR_EV_CITATION;
    ev->choice = choice;
    ev->block = block;
    ev->part_kind = IR_TEXT;
    ev->is_late = true;
    send(f, ev);
}

void flow_text(struct flow *f, unsigned choice, enum ir_part_kind kind, struct str text)
{
    if (text.n == 0)
        return;
    flow_open(f, choice, kind, NULL);
    flow_event(f, choice,
               &(struct ir_event){.kind = kind == IR_REASONING ? IR_EV_REASONING : IR_EV_TEXT,
                                  .text = text});
}

void flow_args(struct flow *f, unsigned choice, struct str fragment)
{
    struct flow_choice *c = choice_of(f, choice);
    if (c && c->is_open && c->kind == IR_TOOL_CALL && fragment.n > 0)
        flow_event(f, choice, &(struct ir_event){.kind = IR_EV_TOOL_ARGS, .text = fragment});
}

void flow_usage(struct flow *f, const struct ir_usage *u)
{
    if (!f->is_ended && ir_usage_known(u))
        send(f, &(struct ir_event){.kind = IR_EV_USAGE, .usage = *u});
}

void flow_finish(struct flow *f, unsigned choice, enum ir_stop stop, struct str stop_sequence)
{
    struct flow_choice *c = choice_of(f, choice);
    if (!c || c->is_finished)
        return;
    flow_close(f, choice);
    c->is_finished = true;
    c->stop = stop;
    c->stop_sequence = stop_sequence.n > 0 ? str_dup(f->ctx->arena, stop_sequence) : STR_NONE;
}

void flow_error(struct flow *f, const struct err *e)
{
    if (f->is_ended)
        return;
    send(f, &(struct ir_event){.kind = IR_EV_ERROR, .error = e});
    f->is_ended = f->has_failed = true;
    send(f, &(struct ir_event){.kind = IR_EV_END});
}

static bool is_whole(const struct flow *f, bool is_complete)
{
    if (!f->is_started || (f->n_choices == 0 && !is_complete))
        return false;
    for (unsigned i = 0; i < f->n_choices; i++) {
        const struct flow_choice *c = &f->choices[i];
        if (!c->is_finished && !is_complete && (c->has_content || i == 0))
            return false;
    }
    return true;
}

void flow_end(struct flow *f, bool is_complete)
{
    if (f->is_ended)
        return;
    if (!is_whole(f, is_complete)) {
        struct err e = ERR_INIT;
        err_set(&e, ERR_UPSTREAM, "bad_gateway", "upstream stream ended prematurely");
        flow_error(f, &e);
        return;
    }
    if (f->n_choices == 0)
        f->n_choices = 1;
    for (unsigned i = 0; i < f->n_choices; i++) {
        struct flow_choice *c = &f->choices[i];
        flow_close(f, i);
        enum ir_stop stop = c->is_finished ? c->stop : IR_STOP_END;
        if (stop == IR_STOP_NONE || stop == IR_STOP_END)
            stop = c->has_calls ? IR_STOP_TOOL : c->has_refusal ? IR_STOP_REFUSAL : IR_STOP_END;
        send(f, &(struct ir_event){.kind = IR_EV_FINISH,
                                   .choice = i,
                                   .stop = stop,
                                   .stop_sequence = c->stop_sequence});
    }
    f->is_ended = true;
    send(f, &(struct ir_event){.kind = IR_EV_END});
}
