/* age.h - the time that ages are counted by: the wall clock, but a correction of it makes nothing old at once. */
#ifndef METER_AGE_H
#define METER_AGE_H
#include <stdint.h>

struct age_clock {              /* zeroed at first: the first look trusts the wall clock */
    int64_t at_ms;              /* what it said last */
    uint64_t mono_ms;
};
/* Wall time, which goes back as the wall clock does and forward at most twice as fast as time passes. */
int64_t age_clock_ms(struct age_clock *c, int64_t wall_ms, uint64_t mono_ms);
#endif
