#include "json/jsonc_place.h"
#include "base/banned.h"
#include "base/map.h"
#include "json/jsonc_lex.h"

static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static struct str place(struct arena *a, const char *file, struct str text, size_t at)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) { /* characters, not bytes */
            column++;
        }
    }
    return str_fmt(a, "%s:%zu:%zu: ", short_name(file), line, column);
}

/* How much of the path the name takes, with the dot behind it; 0: it is another one. */
static size_t taken(struct str path, struct str name)
{
    if (!name.n || !str_starts(path, name))
        return 0;
    if (path.n == name.n)
        return name.n;
    return path.p[name.n] == '.' ? name.n + 1 : path.p[name.n] == '[' ? name.n : 0;
}

/* The member of the object at i that the path begins with, the longest name of several; SIZE_MAX: none. */
static size_t find_member(struct arena *a, struct str t, size_t i, struct str *path)
{
    size_t found = SIZE_MAX, most = 0;
    for (i = jsonc_skip_blank(t, i + 1); i < t.n && t.p[i] == '"'; i = jsonc_skip_blank(t, i)) {
        size_t at = i;
        struct str name = STR_NONE;
        i = jsonc_skip_string(t, i);
        bool is_name = json_unquote(a, str_n(t.p + at, i - at), &name);
        i = jsonc_skip_blank(t, i);
        i = jsonc_skip_blank(t, i < t.n ? i + 1 : i); /* the colon */
        size_t n = is_name ? taken(*path, name) : 0;
        if (n && n >= most) { /* of two of the same name the last one counts */
            most = n;
            found = i;
        }
        i = jsonc_skip_blank(t, jsonc_skip_value(t, i));
        if (i < t.n && t.p[i] == ',')
            i++;
    }
    *path = str_skip(*path, most);
    return found;
}

/* "[2]" or "[2]." at the start of the path, in the array at i. */
static size_t find_element(struct str t, size_t i, struct str *path)
{
    int64_t wanted;
    size_t end = str_index(*path, ']');
    if (path->p[0] != '[' || !str_to_int(str_n(path->p + 1, end - 1), &wanted) || wanted < 0)
        return SIZE_MAX;
    for (i = jsonc_skip_blank(t, i + 1); i < t.n && t.p[i] != ']'; i = jsonc_skip_blank(t, i)) {
        if (wanted-- == 0) {
            *path = str_skip(*path, end + 1);
            if (path->n && path->p[0] == '.')
                *path = str_skip(*path, 1);
            return i;
        }
        i = jsonc_skip_blank(t, jsonc_skip_value(t, i));
        if (i < t.n && t.p[i] == ',')
            i++;
    }
    return SIZE_MAX;
}

struct str jsonc_where(struct arena *a, const char *file, struct str text, struct str path)
{
    size_t at = jsonc_skip_blank(text, str_starts(text, STR("\xef\xbb\xbf")) ? 3 : 0);
    while (path.n && at < text.n) {
        size_t next = text.p[at] == '{'   ? find_member(a, text, at, &path)
                      : text.p[at] == '[' ? find_element(text, at, &path)
                                          : SIZE_MAX;
        if (next == SIZE_MAX)
            break;
        at = next;
    }
    return place(a, file, text, at);
}

/* In the container at i: the place of the first member whose name was there before; SIZE_MAX: none. */
static size_t find_twice(struct arena *a, struct str t, size_t i, struct str *name)
{
    char closing = t.p[i] == '{' ? '}' : ']';
    size_t found = SIZE_MAX;
    struct map seen;
    map_init(&seen);
    for (i = jsonc_skip_blank(t, i + 1); i < t.n && t.p[i] != closing; i = jsonc_skip_blank(t, i)) {
        size_t at = i;
        if (closing == '}') {
            i = jsonc_skip_string(t, i);
            bool is_name = json_unquote(a, str_n(t.p + at, i - at), name);
            if (is_name && map_get(&seen, *name)) {
                found = at;
                break;
            }
            if (is_name)
                map_set(&seen, *name, a);
            i = jsonc_skip_blank(t, i);
            i = jsonc_skip_blank(t, i < t.n ? i + 1 : i); /* the colon */
        }
        if (i < t.n && (t.p[i] == '{' || t.p[i] == '[') &&
            (found = find_twice(a, t, i, name)) != SIZE_MAX)
            break;
        i = jsonc_skip_blank(t, jsonc_skip_value(t, i));
        if (i < t.n && t.p[i] == ',')
            i++;
    }
    map_done(&seen);
    return found;
}

struct str jsonc_twice(struct arena *a, const char *file, struct str text)
{
    struct str name;
    size_t i = jsonc_skip_blank(text, str_starts(text, STR("\xef\xbb\xbf")) ? 3 : 0);
    size_t at = i < text.n && text.p[i] == '{' ? find_twice(a, text, i, &name) : SIZE_MAX;
    if (at == SIZE_MAX)
        return STR_NONE;
    return str_fmt(a, STR_FMT "'" STR_FMT "' stands there twice: the last one counts",
                   STR_ARG(place(a, file, text, at)), STR_ARG(str_first(name, 200)));
}

/* The next ${VAR} outside strings and comments from i on: its $, the place behind its } in *end. text.n: none. */
static size_t next_variable(struct str text, size_t i, size_t *end)
{
    while (i < text.n) {
        i = jsonc_skip_blank(text, i);
        if (i >= text.n)
            break;
        if (text.p[i] == '"') {
            i = jsonc_skip_string(text, i);
            continue;
        }
        if (text.p[i] != '$' || text.n - i < 4 || text.p[i + 1] != '{') {
            i++;
            continue;
        }
        *end = i + str_index(str_skip(text, i), '}') + 1;
        return *end > text.n ? text.n : i;
    }
    return text.n;
}

bool jsonc_fill(struct arena *a, const char *file, struct str text, struct str *out, struct err *e)
{
    struct buf b;
    size_t from = 0, end;
    *out = text;
    if (!str_contains(text, STR("${")))
        return true;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    for (size_t i; (i = next_variable(text, from, &end)) < text.n; from = end) {
        const char *name = str_z(a, str_n(text.p + i + 2, end - i - 3)), *value = getenv(name);
        if (!value)
            return err_set(e, ERR_INPUT, "variable_unset",
                           STR_FMT "the environment variable '%s' is not set",
                           STR_ARG(place(a, file, text, i)), name);
        buf_add(&b, text.p + from, i - from);
        buf_str_add(&b, str_of(value));
    }
    buf_add(&b, text.p + from, text.n - from);
    *out = buf_str(&b);
    return true;
}

struct str jsonc_quote(struct arena *a, struct str text)
{
    struct buf b;
    size_t from = 0, end;
    if (!str_contains(text, STR("${")))
        return text;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    for (size_t i; (i = next_variable(text, from, &end)) < text.n; from = end) {
        buf_add(&b, text.p + from, i - from);
        buf_fmt(&b, "\"" STR_FMT "\"", (int)(end - i), text.p + i);
    }
    buf_add(&b, text.p + from, text.n - from);
    return buf_str(&b);
}
