/* price.h - what a request used, in parts that add up to what the upstream reported, and what that costs. Pure: no clock, no store.
 *
 * The rule of rounding, the only one: a cost is the exact sum of parts times rates, rounded half up to a whole nano-USD once.
 * The rule of missing rates: a part without a rate of its own takes that of the part it is a kind of (cache reads, writes and audio that of
 * input, reasoning and audio out that of output, writes of an hour that of five minutes); without that either, it is unpriced and the cost is
 * a part of the whole (COST_PARTIAL). Requests without a rate cost nothing for being requests. */
#ifndef METER_PRICE_H
#define METER_PRICE_H
#include "domain/price.h"
#include "wire/ir.h"

struct usage_vector {
    int64_t v[PRICE_PARTS];     /* never negative; v[PRICE_REQUEST] is 0 or 1 */
};
/* The parts of what was reported. Where they contradict their total, the total rules: parts are cut, the least certain first, and
 * *is_derived says so. Unknown counts are 0. */
struct usage_vector usage_parts(const struct ir_usage *u, bool *is_derived);
int64_t usage_parts_in(const struct usage_vector *u);         /* tokens of the prompt, all kinds */
int64_t usage_parts_out(const struct usage_vector *u);

enum cost_state { COST_UNKNOWN, COST_PARTIAL, COST_KNOWN };
extern const struct word cost_state_words[];
struct cost {
    enum cost_state state;
    int64_t nanousd;            /* of what could be priced; -1: unknown */
};
struct cost price_cost(const struct price *p, enum price_service service, const struct usage_vector *u); /* p may be NULL */

struct cost_line {
    enum price_part part;
    int64_t quantity, rate, nanousd; /* rate -1: unpriced */
};
/* Line by line, those with a quantity; they add up to the cost exactly: what rounding leaves over is the largest one's. */
size_t price_lines(const struct price *p, enum price_service service, const struct usage_vector *u, struct cost_line out[PRICE_PARTS]);
struct price_most {             /* no more than this will be used: tokens of whatever kind */
    int64_t tokens_in, tokens_out, images, searches;
};
/* The most that it can cost: all input at its dearest rate, all output at its dearest. -1: unknown. */
int64_t price_bound(const struct price *p, enum price_service service, const struct price_most *most);
bool price_has(const struct price *p, enum price_part part); /* some of its rates asks money for it */
/* For choosing between targets: nano-USD for a million tokens of input; -1: unknown. */
static inline int64_t price_input_rate(const struct price *p)
{
    return p ? p->base.v[PRICE_INPUT] : -1;
}
/* The services of the formats are these. */
_Static_assert((int)IR_SERVICE_BATCH == (int)SERVICE_BATCH && (int)IR_SERVICE_FLEX == (int)SERVICE_FLEX &&
               (int)IR_SERVICE_PRIORITY == (int)SERVICE_PRIORITY, "one numbering");
enum price_service price_service_of(struct str tier);         /* "flex", "priority", "batch"; others are the standard one */
#endif
