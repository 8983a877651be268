#include "app/limits.h"
#include "base/clock.h"
#include "meter/saved.h"

#define MAX_TEXT (64u << 20)

void limits_save(struct limiter *l, struct usage_log *log, uint64_t *mark)
{
    struct buf text;
    buf_init(&text, MAX_TEXT);
    struct jw w = jw_on(&text);
    limiter_write(l, clock_mono_ms(), clock_wall_ms(), &w);
    uint64_t is = hash_bytes(text.p, text.n);
    bool is_new = is != *mark && (*mark || text.n > 2); /* nothing is not worth saying at first */
    if (!is_new)
        buf_done(&text);
    else if (saved_put(log, "limits", &text))
        *mark = is;
}

void limits_load(struct limiter *l, struct db *db)
{
    struct arena *a = arena_new();
    limiter_read(l, saved_get(db, a, "limits"), clock_mono_ms(), clock_wall_ms());
    arena_free(a);
}
