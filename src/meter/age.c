#include "meter/age.h"

int64_t age_clock_ms(struct age_clock *c, int64_t wall_ms, uint64_t mono_ms)
{
    int64_t most = c->at_ms + 2 * (int64_t)(mono_ms - c->mono_ms);
    c->at_ms = c->at_ms != 0 && wall_ms > most ? most : wall_ms;
    c->mono_ms = mono_ms;
    return c->at_ms;
}
