#include "gate/ipfilter.h"
#include "base/banned.h"
#include "http/cidr.h"
#include <stdlib.h>

struct range {
    uint8_t from[CIDR_BYTES], to[CIDR_BYTES];
    int64_t until_ms; /* of a ban */
};
struct ranges {
    struct range *v; /* sorted, none touching another; of bans: as they came */
    size_t n;
};
struct ip_filter {
    enum {
        MODE_OFF,
        MODE_DENY,
        MODE_ALLOW,
        MODE_BOTH
    } mode;
    struct ranges allow, deny, bans;
};

static void end_of(const uint8_t base[CIDR_BYTES], unsigned bits, uint8_t from[CIDR_BYTES],
                   uint8_t to[CIDR_BYTES])
{
    for (unsigned i = 0; i < CIDR_BYTES; i++) {
        unsigned own = bits <= i * 8 ? 0 : bits >= i * 8 + 8 ? 8 : bits - i * 8;
        uint8_t mask = (uint8_t)(0xff00 >> own);
        from[i] = base[i] & mask;
        to[i] = (uint8_t)(base[i] | (uint8_t)~mask);
    }
}

static int by_from(const void *a, const void *b)
{
    return memcmp(((const struct range *)a)->from, ((const struct range *)b)->from, CIDR_BYTES);
}

static struct ranges read_list(struct arena *a, struct str list)
{
    size_t max = 1, n = 0;
    for (size_t i = 0; i < list.n; i++)
        max += list.p[i] == ',';
    struct ranges out = {ARENA_ARRAY(a, struct range, max), 0};
    while (list.n) {
        struct str one;
        uint8_t base[CIDR_BYTES];
        unsigned bits;
        list = str_cut(list, ',', &one);
        if (cidr_parse(str_trim(one), base, &bits)) {
            end_of(base, bits, out.v[n].from, out.v[n].to);
            n++;
        }
    }
    qsort(out.v, n, sizeof out.v[0], by_from);
    for (size_t i = 0; i < n; i++) {
        struct range *last = out.n ? &out.v[out.n - 1] : NULL;
        if (last && memcmp(out.v[i].from, last->to, CIDR_BYTES) <= 0) {
            if (memcmp(out.v[i].to, last->to, CIDR_BYTES) > 0)
                memcpy(last->to, out.v[i].to, CIDR_BYTES);
        } else {
            out.v[out.n++] = out.v[i];
        }
    }
    return out;
}

static bool has(const struct ranges *r, const uint8_t address[CIDR_BYTES])
{
    size_t from = 0, to = r->n;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (memcmp(r->v[middle].to, address, CIDR_BYTES) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from < r->n && memcmp(r->v[from].from, address, CIDR_BYTES) <= 0;
}

static struct ranges read_bans(struct arena *a, const struct ip_ban *bans, size_t n)
{
    struct ranges out = {ARENA_ARRAY(a, struct range, n + 1), 0};
    for (size_t i = 0; i < n; i++) {
        uint8_t base[CIDR_BYTES];
        unsigned bits;
        struct range *r = &out.v[out.n];
        if (!cidr_parse(bans[i].address, base, &bits))
            continue;
        end_of(base, bits, r->from, r->to);
        r->until_ms = bans[i].until_ms;
        out.n++;
    }
    return out;
}

void ip_filter_build(struct snapshot *s)
{
    static const struct word modes[] = {
        {"off", MODE_OFF}, {"deny", MODE_DENY}, {"allow", MODE_ALLOW}, {"both", MODE_BOTH}, {0}};
    const struct settings *set = &s->settings;
    int mode = word_value(modes, set->ip_filter, MODE_OFF);
    s->ip_filter = NULL;
    if (mode == MODE_OFF && s->n_ip_bans == 0)
        return;
    struct ip_filter *f = ARENA_NEW(s->arena, struct ip_filter);
    f->mode = mode;
    f->allow = read_list(s->arena, set->ip_allow);
    f->deny = read_list(s->arena, set->ip_deny);
    f->bans = read_bans(s->arena, s->ip_bans, s->n_ip_bans);
    s->ip_filter = f;
}

enum ip_verdict ip_filter_ask(const struct ip_filter *f, struct str address, int64_t now_ms,
                              int64_t *until_ms)
{
    uint8_t bytes[CIDR_BYTES];
    bool is_known = address_parse(address, bytes);
    for (size_t i = 0; is_known && i < f->bans.n; i++) {
        const struct range *r = &f->bans.v[i];
        if (now_ms < r->until_ms && memcmp(r->from, bytes, CIDR_BYTES) <= 0 &&
            memcmp(bytes, r->to, CIDR_BYTES) <= 0) {
            *until_ms = r->until_ms;
            return IP_BANNED;
        }
    }
    switch (f->mode) {
    case MODE_OFF:
        return IP_PASSES;
    case MODE_DENY:
        return is_known && has(&f->deny, bytes) ? IP_DENIED : IP_PASSES;
    case MODE_ALLOW:
        return is_known && has(&f->allow, bytes) ? IP_PASSES : IP_NOT_ALLOWED;
    case MODE_BOTH:
        return is_known && !has(&f->allow, bytes) && has(&f->deny, bytes) ? IP_DENIED : IP_PASSES;
    }
    return IP_PASSES;
}
