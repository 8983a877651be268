#include "gate/lockout.h"
#include "base/banned.h"
#include "base/map.h"
#include <stdlib.h>

struct entry {
    char address[64]; /* the key of the map points here */
    int64_t failures, last_ms, until_ms, times;
    unsigned pending;
    bool is_stored;
};
struct lockout {
    struct map by_address;
    size_t max;
};

struct lockout *lockout_new(size_t max)
{
    struct lockout *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    map_init(&l->by_address);
    l->max = max;
    return l;
}

void lockout_free(struct lockout *l)
{
    struct str key;
    void *value;
    if (!l)
        return;
    for (size_t i = 0; map_next(&l->by_address, &i, &key, &value);)
        free(value);
    map_done(&l->by_address);
    free(l);
}

size_t lockout_size(const struct lockout *l)
{
    return l->by_address.n;
}

static void drop(struct lockout *l, struct entry *en)
{
    if (map_del(&l->by_address, str_of(en->address)))
        free(en);
}

static struct entry *find(const struct lockout *l, struct str address)
{
    return map_get(&l->by_address, str_first(address, sizeof((struct entry *)0)->address - 1));
}

/* What keeps an entry longest: that it is locked, then how fresh it is. */
static bool tells_less(const struct entry *a, const struct entry *b)
{
    return a->until_ms != b->until_ms ? a->until_ms < b->until_ms : a->last_ms < b->last_ms;
}

static void make_room(struct lockout *l)
{
    struct str key;
    void *value;
    struct entry *least = NULL;
    if (l->by_address.n < l->max)
        return;
    for (size_t i = 0; map_next(&l->by_address, &i, &key, &value);) {
        struct entry *en = value;
        if (en->pending == 0 && (!least || tells_less(en, least)))
            least = en;
    }
    if (least)
        drop(l, least);
}

static struct entry *find_or_make(struct lockout *l, struct str address)
{
    struct entry *en = find(l, address);
    if (en)
        return en;
    make_room(l);
    en = calloc(1, sizeof *en);
    if (!en)
        abort();
    address = str_first(address, sizeof en->address - 1);
    if (address.n)
        memcpy(en->address, address.p, address.n);
    map_set(&l->by_address, str_of(en->address), en);
    return en;
}

int64_t lockout_failures(const struct lockout *l, struct str address)
{
    const struct entry *en = find(l, address);
    return en ? en->failures + en->times : 0;
}

void lockout_sync(struct lockout *l, const struct lockout_row *rows)
{
    struct str key;
    void *value;
    struct map old = l->by_address;
    map_init(&l->by_address);
    for (const struct lockout_row *row = rows; row; row = row->next) {
        struct entry *en = find_or_make(l, row->address);
        en->failures = row->failures;
        en->last_ms = row->last_ms;
        en->until_ms = row->until_ms;
        en->times = row->times;
        en->is_stored = true;
    }
    for (size_t i = 0; map_next(&old, &i, &key, &value);) {
        struct entry *was = value, *now = NULL;
        if (was->pending || (!was->is_stored && was->last_ms > 0))
            now = find_or_make(l, key);
        if (now && !was->is_stored && was->last_ms > now->last_ms)
            *now = *was;
        if (now)
            now->pending = was->pending;
        free(was);
    }
    map_done(&old);
}

void lockout_stored(struct lockout *l, const struct lockout_row *row)
{
    struct entry *en = find(l, row->address);
    if (en && en->last_ms == row->last_ms && en->failures == row->failures)
        en->is_stored = true;
}

int64_t lockout_left_ms(const struct lockout *l, struct str address, int64_t now_ms)
{
    const struct entry *en = find(l, address);
    return en && en->until_ms > now_ms ? en->until_ms - now_ms : 0;
}

/* A clock that was set back must not lock anybody out for longer than the longest time. */
static void refresh(struct entry *en, const struct settings *set, int64_t now_ms)
{
    if (en->until_ms > now_ms + set->login_lockout_max_ms)
        en->until_ms = now_ms + set->login_lockout_max_ms;
    if (en->until_ms != 0 && en->until_ms <= now_ms) { /* the lock is over: count from the start */
        en->until_ms = 0;
        en->failures = 0;
    }
    if (now_ms - en->last_ms > set->login_window_ms)
        en->failures = 0;
    if (now_ms - en->last_ms > LOCKOUT_MEMORY_MS)
        en->times = 0;
}

bool lockout_begin(struct lockout *l, struct str address, const struct settings *set,
                   int64_t now_ms, int64_t *left_ms)
{
    struct entry *en = find_or_make(l, address);
    refresh(en, set, now_ms);
    *left_ms = en->until_ms > now_ms ? en->until_ms - now_ms : 0;
    if (*left_ms == 0 && en->failures + en->pending >= set->login_max_failures)
        *left_ms = 1000; /* those under way decide it */
    if (*left_ms > 0)
        return false;
    en->pending++;
    return true;
}

int64_t lockout_failed(struct lockout *l, struct str address, const struct settings *set,
                       int64_t now_ms, struct lockout_row *row)
{
    struct entry *en = find_or_make(l, address);
    int64_t locked_ms = 0;
    en->pending -= en->pending > 0;
    en->failures++;
    en->last_ms = now_ms;
    en->is_stored = false;
    if (en->failures >= set->login_max_failures) {
        int64_t doublings = en->times < 30 ? en->times : 30;
        locked_ms = set->login_lockout_ms;
        while (doublings-- > 0 && locked_ms < set->login_lockout_max_ms)
            locked_ms *= 2;
        if (locked_ms > set->login_lockout_max_ms)
            locked_ms = set->login_lockout_max_ms;
        en->times++;
        en->until_ms = now_ms + locked_ms;
    }
    *row = (struct lockout_row){.address = address,
                                .failures = en->failures,
                                .last_ms = en->last_ms,
                                .until_ms = en->until_ms,
                                .times = en->times};
    return locked_ms;
}

void lockout_succeeded(struct lockout *l, struct str address)
{
    struct entry *en = find(l, address);
    if (en && en->pending <= 1)
        drop(l, en);
    else if (en) { /* others are under way */
        en->pending--;
        en->failures = en->until_ms = en->times = 0;
    }
}

void lockout_undecided(struct lockout *l, struct str address)
{
    struct entry *en = find(l, address);
    if (!en)
        return;
    en->pending -= en->pending > 0;
    if (en->pending == 0 && en->failures == 0 && en->times == 0)
        drop(l, en);
}
