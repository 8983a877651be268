#include "base/placeholder.h"
#include "base/banned.h"
#include "base/buf.h"

/* The next run of dollars that a { follows: where it begins, how many. text.n: none. */
static size_t next_run(struct str text, size_t from, size_t *n)
{
    while (from < text.n) {
        size_t at = from + str_index(str_skip(text, from), '$'), end = at;
        while (end < text.n && text.p[end] == '$')
            end++;
        if (end < text.n && text.p[end] == '{') {
            *n = end - at;
            return at;
        }
        from = end;
    }
    return text.n;
}

size_t placeholder_find(struct str text, size_t from, struct str *name)
{
    size_t n, at;
    for (; (at = next_run(text, from, &n)) < text.n; from = at + n) {
        struct str rest = str_skip(text, at + n + 1);
        size_t close = str_index(rest, '}');
        if (close == rest.n)
            break;
        if (n > 1)
            continue;
        *name = str_first(rest, close);
        return at;
    }
    return text.n;
}

bool placeholder_is_in(struct str text)
{
    struct str name;
    return placeholder_find(text, 0, &name) < text.n;
}

/* One dollar more in each run of at least `least`, or one less. */
static struct str with_dollars(struct arena *a, struct str text, size_t least, bool adds)
{
    struct buf b;
    size_t n, at, from = 0;
    if (!str_contains(text, STR("${")))
        return text;
    buf_init_arena(&b, a, BUF_OURS);
    while ((at = next_run(text, from, &n)) < text.n) {
        buf_add(&b, text.p + from, at - from);
        if (adds)
            buf_char(&b, '$');
        from = n >= least && !adds ? at + 1 : at;
        buf_add(&b, text.p + from, at + n - from);
        from = at + n;
    }
    buf_add(&b, text.p + from, text.n - from);
    return str_dup(a, buf_str(&b));
}

struct str placeholder_escape(struct arena *a, struct str text)
{
    return with_dollars(a, text, 1, true);
}

struct str placeholder_unescape(struct arena *a, struct str text)
{
    return with_dollars(a, text, 2, false);
}
