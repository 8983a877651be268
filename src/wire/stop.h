/* stop.h - cuts an answer at the caller's stop sequences, for upstreams that know none. */
#ifndef WIRE_STOP_H
#define WIRE_STOP_H
#include "wire/wire.h"

struct stop_cut;
/* A sieve for the events of one stream, in ctx->arena. NULL: there is nothing to look for. input_tokens: an estimate, told
 * with one of the output when the stream is cut before the upstream told its own. */
struct stop_cut *stop_cut_new(struct wire_ctx *c, const struct ir_strs *stop, int64_t input_tokens);
/* Passes an event on. Text that may be the beginning of a sequence is held back until that is certain; with the first
 * whole one the block, the choice (IR_STOP_END, stop_sequence), an estimated usage and the stream end, and nothing passes any more. */
void stop_cut_push(struct stop_cut *k, const struct ir_event *ev, wire_sink_fn *emit, void *arg);
bool stop_cut_is_done(const struct stop_cut *k); /* a sequence came; k may be NULL */
/* The same for a whole answer. */
void stop_cut_response(const struct ir_strs *stop, struct ir_response *res);
#endif
