/* flow.h - the bookkeeping of a stream decoder.
 * Keeps blocks sequential and dense, START and END single, and the EOF rules. Strings passed in are only borrowed. */
#ifndef WIRE_FLOW_H
#define WIRE_FLOW_H
#include "wire/wire.h"

#define FLOW_CHOICES 16
struct flow_choice {
    bool is_open, has_content, has_calls, has_refusal, is_finished;
    enum ir_part_kind kind;   /* of the open block */
    unsigned block;           /* its number */
    unsigned next;            /* number of the next block */
    enum ir_stop stop;        /* noted by flow_finish */
    struct str stop_sequence;
};
struct flow {
    struct wire_ctx *ctx;
    struct json_row *row;     /* the frames, most of which are alike */
    bool is_in_row;           /* the frame in work is the row's last */
    bool is_started, is_ended, has_failed;
    unsigned n_choices;       /* highest index seen + 1 */
    struct flow_choice choices[FLOW_CHOICES];
    wire_sink_fn *emit;       /* set for the length of one push: flow_on */
    void *arg;
};
/* Whether JSON seen in pieces is one whole object or array, told by counting brackets outside strings. */
struct flow_args {
    int depth;
    bool in_string, is_escaped, is_whole;
};
void flow_args_scan(struct flow_args *s, struct str text);

/* One frame's payload, parsed in ctx->scratch; strings may be views of data. */
bool flow_read(struct flow *f, struct str data, yyjson_val **root, struct err *e) MUST_USE;
/* The same, and bytes that are no UTF-8 (small local models) become U+FFFD; a bad frame is ERR_UPSTREAM "bad_upstream_stream". */
bool flow_parse(struct flow *f, struct str data, yyjson_val **root, struct err *e) MUST_USE;

void flow_init(struct flow *f, struct wire_ctx *c);
static inline void flow_on(struct flow *f, wire_sink_fn *emit, void *arg)
{
    f->emit = emit;
    f->arg = arg;
    f->is_in_row = false;
}
/* Emits START once; an upstream that never says so is started by its first block. */
void flow_start(struct flow *f, struct str id, struct str model, int64_t created);
/* The same with all that START can tell: ev's id, model, created, usage (0: unknown here) … */
void flow_start_event(struct flow *f, const struct ir_event *ev);
/* Opens a block unless one of the same kind is open; closes another. Calls always open a new block. ev carries the rest
 * of BLOCK_START (call_id, name, call_kind, item_id, redacted …) or is NULL. */
void flow_open(struct flow *f, unsigned choice, enum ir_part_kind kind, const struct ir_event *ev);
void flow_close(struct flow *f, unsigned choice);             /* the open block, if any */
/* TEXT, REASONING (text only) or refusal: opens the block as needed; empty text is ignored. */
void flow_text(struct flow *f, unsigned choice, enum ir_part_kind kind, struct str text);
void flow_args(struct flow *f, unsigned choice, struct str fragment); /* of the open call */
/* Any event of the open block: sets choice and block. */
void flow_event(struct flow *f, unsigned choice, struct ir_event *ev);
/* CITATION of a block that has ended. */
void flow_late_citation(struct flow *f, unsigned choice, unsigned block, struct ir_event *ev);
void flow_usage(struct flow *f, const struct ir_usage *u);    /* nothing when unknown */
/* Closes the block and notes the reason; FINISH itself comes once a choice, from flow_end, since some upstreams send more
 * content or calls behind it. The overlay is applied: END with calls is TOOL, with a refusal REFUSAL. The first reason counts. */
void flow_finish(struct flow *f, unsigned choice, enum ir_stop stop, struct str stop_sequence);
void flow_error(struct flow *f, const struct err *e);         /* emits ERROR and END; the rest is ignored */
/* EOF or the terminal marker. A choice with content but without finish: ERROR "upstream stream ended prematurely",
 * unless is_complete (a terminal marker was seen: then it finishes with END). Nothing seen at all: the same error. */
void flow_end(struct flow *f, bool is_complete);
#endif
