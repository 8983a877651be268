#include "route/cooling.h"
#include <stdlib.h>

#define MAX_UPSTREAMS 4096          /* ids beyond it never cool */
#define MAX_ORDERED 64              /* targets of one model beyond it count as ready */
#define MAX_COOL_MS (3600u * 1000u) /* a longer wish is asked again after an hour */

struct cooling {
    _Atomic uint64_t until_ms[MAX_UPSTREAMS];
};

struct cooling *cooling_new(void)
{
    struct cooling *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    return c;
}

void cooling_free(struct cooling *c)
{
    free(c);
}

static uint64_t default_ms(enum fault f)
{
    switch (f) {
    case FAULT_QUOTA_WINDOW:
    case FAULT_OVERLOAD:
    case FAULT_TRANSPORT:
        return 2000;
    case FAULT_AUTH:
    case FAULT_QUOTA_MONEY:
        return 60000;
    case FAULT_NONE:
    case FAULT_CLIENT:
    case FAULT_MODEL:
    case FAULT_POLICY:
    case FAULT_SERVER:
        return 0;
    }
    return 0;
}

void cooling_report(struct cooling *c, uint32_t id, enum fault f, int64_t retry_after_ms,
                    uint64_t now_ms)
{
    uint64_t ms = retry_after_ms >= 0 && fault_is_retryable(f) ? (uint64_t)retry_after_ms
                                                               : default_ms(f);
    if (ms == 0 || id >= MAX_UPSTREAMS)
        return;
    atomic_store_explicit(&c->until_ms[id], now_ms + (ms < MAX_COOL_MS ? ms : MAX_COOL_MS),
                          memory_order_relaxed);
}

void cooling_clear(struct cooling *c, uint32_t id)
{
    if (id < MAX_UPSTREAMS && atomic_load_explicit(&c->until_ms[id], memory_order_relaxed) != 0)
        atomic_store_explicit(&c->until_ms[id], 0, memory_order_relaxed);
}

uint64_t cooling_left_ms(const struct cooling *c, uint32_t id, uint64_t now_ms)
{
    if (id >= MAX_UPSTREAMS)
        return 0;
    uint64_t until = atomic_load_explicit(&c->until_ms[id], memory_order_relaxed);
    return until > now_ms ? until - now_ms : 0;
}

void cooling_order(const struct cooling *c, const struct target *targets, size_t n, uint64_t now_ms,
                   const struct target **out)
{
    uint64_t left[MAX_ORDERED]; /* read once: another loop may change them meanwhile */
    size_t ready = 0;
    for (size_t i = 0; i < n; i++) {
        if (i < MAX_ORDERED)
            left[i] = cooling_left_ms(c, targets[i].upstream->id, now_ms);
        if (i >= MAX_ORDERED || left[i] == 0)
            out[ready++] = &targets[i];
    }
    size_t end = ready;
    for (size_t i = 0; i < n && i < MAX_ORDERED; i++) {
        if (left[i] == 0)
            continue;
        size_t at = end++;
        for (; at > ready && left[out[at - 1] - targets] > left[i]; at--)
            out[at] = out[at - 1];
        out[at] = &targets[i];
    }
}
