#include "json/jsonc_edit.h"
#include "base/banned.h"
#include "json/jsonc_lex.h"
#include "json/jsonc_place.h"

#define NOWHERE SIZE_MAX
#define DEFAULT_UNIT "  "
#define MAX_INLINE 100 /* characters of an array that is kept on one line */

struct item {          /* a member or an element */
    size_t at;         /* of its name or value */
    size_t name_n;     /* of the name with its quotes; 0: an element */
    size_t value, end; /* of the value */
    size_t comma;      /* behind it; NOWHERE: none */
};
struct container {
    size_t open, close;
    bool is_object;
    struct item *items;
    size_t n;
};

/* ---- reading ---- */

static void add_item(struct arena *a, struct container *c, size_t *cap, struct item one)
{
    if (c->n == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        c->items = arena_realloc(a, c->items, *cap * sizeof one, more * sizeof one);
        *cap = more;
    }
    c->items[c->n++] = one;
}

static bool malformed(struct err *e)
{
    return err_set(e, ERR_INPUT, "invalid_json",
                   "The text cannot be edited: it is not well-formed");
}

static bool read_container(struct arena *a, struct str t, size_t open, struct container *c,
                           struct err *e)
{
    size_t cap = 0, i = jsonc_skip_blank(t, open + 1);
    *c = (struct container){.open = open, .is_object = t.p[open] == '{'};
    char closing = c->is_object ? '}' : ']';
    while (i < t.n && t.p[i] != closing) {
        struct item one = {.at = i, .comma = NOWHERE};
        if (c->is_object) {
            if (t.p[i] != '"')
                return malformed(e);
            i = jsonc_skip_string(t, i);
            one.name_n = i - one.at;
            i = jsonc_skip_blank(t, i);
            if (i >= t.n || t.p[i] != ':')
                return malformed(e);
            i = jsonc_skip_blank(t, i + 1);
        }
        one.value = i;
        one.end = jsonc_skip_value(t, i);
        i = jsonc_skip_blank(t, one.end);
        if (i < t.n && t.p[i] == ',') {
            one.comma = i;
            i = jsonc_skip_blank(t, i + 1);
        }
        add_item(a, c, &cap, one);
    }
    c->close = i;
    return i < t.n || malformed(e);
}

static size_t find_item(struct arena *a, struct str t, const struct container *c, struct str step)
{
    int64_t at;
    if (!c->is_object)
        return str_to_int(step, &at) && at >= 0 && (uint64_t)at < c->n ? (size_t)at : NOWHERE;
    for (size_t i = c->n; i-- > 0;) {
        struct str name = str_n(t.p + c->items[i].at + 1, c->items[i].name_n - 2);
        if (!memchr(name.p, '\\', name.n)) { /* the usual case: as it stands */
            if (str_eq(name, step))
                return i;
            continue;
        }
        if (json_unquote(a, str_n(t.p + c->items[i].at, c->items[i].name_n), &name) &&
            str_eq(name, step))
            return i;
    }
    return NOWHERE;
}

static size_t root_of(struct str t)
{
    return jsonc_skip_blank(t, str_starts(t, STR("\xef\xbb\xbf")) ? 3 : 0);
}

static bool is_container(struct str t, size_t at)
{
    return at < t.n && (t.p[at] == '{' || t.p[at] == '[');
}

/* ---- lines ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static size_t line_start(struct str t, size_t at)
{
    while (at > 0 && t.p[at - 1] != '\n')
        at--;
    return at;
}

/* The white space that the line of `at` begins with. */
static struct str indent_of(struct str t, size_t at)
{
    size_t from = line_start(t, at), n = 0;
    while (from + n < at && is_space(t.p[from + n]))
        n++;
    return str_n(t.p + from, n);
}

static bool begins_line(struct str t, size_t at)
{
    size_t from = line_start(t, at);
    return from > 0 && from + indent_of(t, at).n == at;
}

/* What one level of the text is indented by. */
static struct str unit_of(struct str t, const struct container *c)
{
    struct str outer = indent_of(t, c->open);
    if (c->n && begins_line(t, c->items[0].at)) {
        struct str inner = indent_of(t, c->items[0].at);
        if (inner.n > outer.n && str_starts(inner, outer))
            return str_skip(inner, outer.n);
    }
    for (size_t i = 0; i < t.n; i++) { /* the first line that is indented at all */
        if ((i == 0 || t.p[i - 1] == '\n') && is_space(t.p[i])) {
            size_t n = 0;
            while (i + n < t.n && is_space(t.p[i + n]))
                n++;
            if (i + n < t.n && (t.p[i + n] == '"' || t.p[i + n] == '/'))
                return str_n(t.p + i, n);
        }
    }
    return STR(DEFAULT_UNIT);
}

/* How lines end around here. */
static struct str line_end(struct str t, size_t near)
{
    const char *at = memchr(t.p + near, '\n', t.n - near);
    if (!at)
        at = memchr(t.p, '\n', t.n);
    return at && at > t.p && at[-1] == '\r' ? STR("\r\n") : STR("\n");
}

/* Behind the comments that follow on the same line, and the spaces between them; of those alone that end on it, as it is asked. */
static size_t skip_comments(struct str t, size_t i, bool closed_only)
{
    size_t end = i;
    for (;;) {
        while (i < t.n && is_space(t.p[i]))
            i++;
        if (i + 1 >= t.n || t.p[i] != '/' || (closed_only && t.p[i + 1] == '/'))
            return end;
        if (t.p[i + 1] == '/') {
            while (i < t.n && t.p[i] != '\n' && t.p[i] != '\r')
                i++;
            return i;
        }
        if (t.p[i + 1] != '*')
            return end;
        for (i += 2; i + 1 < t.n && !(t.p[i] == '*' && t.p[i + 1] == '/');)
            i++;
        i = end = i + 2 < t.n ? i + 2 : t.n;
    }
}

static size_t skip_line_comments(struct str t, size_t i)
{
    return skip_comments(t, i, false);
}

static bool ends_line(struct str t, size_t i)
{
    while (i < t.n && (is_space(t.p[i]) || t.p[i] == '\r'))
        i++;
    return i >= t.n || t.p[i] == '\n';
}

/* ---- writing values ---- */

struct style {
    bool is_inline;
    struct str indent, unit, eol; /* indent: of the line that the value begins in */
};

static void new_line(struct buf *b, const struct style *s, size_t depth)
{
    buf_str_add(b, s->eol);
    buf_str_add(b, s->indent);
    for (size_t i = 0; i < depth; i++)
        buf_str_add(b, s->unit);
}

static bool is_plain_array(struct arena *a, yyjson_val *v)
{
    size_t i, max;
    yyjson_val *one;
    yyjson_arr_foreach (v, i, max, one)
        if (yyjson_is_ctn(one))
            return false;
    return json_text(a, v).n <= MAX_INLINE;
}

static void quoted(struct buf *b, struct str s)
{
    buf_char(b, '"');
    json_escape(b, s);
    buf_char(b, '"');
}

static void format(struct arena *a, struct buf *b, yyjson_val *v, const struct style *s,
                   size_t depth)
{
    size_t i, max;
    yyjson_val *k, *one;
    bool is_object = yyjson_is_obj(v);
    if (!yyjson_is_ctn(v) || unsafe_yyjson_get_len(v) == 0) {
        buf_str_add(b, json_text(a, v));
        return;
    }
    bool is_inline = s->is_inline || (!is_object && is_plain_array(a, v));
    buf_char(b, is_object ? '{' : '[');
    if (is_object) {
        yyjson_obj_foreach (v, i, max, k, one) {
            if (i)
                buf_char(b, ',');
            if (is_inline)
                buf_char(b, ' ');
            else
                new_line(b, s, depth + 1);
            quoted(b, json_str(k));
            buf_lit(b, ": ");
            format(a, b, one, s, depth + 1);
        }
    } else {
        yyjson_arr_foreach (v, i, max, one) {
            if (i)
                buf_lit(b, ",");
            if (!is_inline)
                new_line(b, s, depth + 1);
            else if (i)
                buf_char(b, ' ');
            format(a, b, one, s, depth + 1);
        }
    }
    if (!is_inline)
        new_line(b, s, depth);
    else if (is_object)
        buf_char(b, ' ');
    buf_char(b, is_object ? '}' : ']');
}

/* Whether the objects beside the new one are written on one line each. */
static bool siblings_are_inline(struct str t, const struct container *c)
{
    for (size_t i = c->n; i-- > 0;) {
        const struct item *one = &c->items[i];
        if (t.p[one->value] == '{' && one->end - one->value > 2)
            return !memchr(t.p + one->value, '\n', one->end - one->value);
    }
    return false;
}

/* ---- edits ---- */

static void copy(struct buf *b, struct str t, size_t from, size_t to)
{
    if (to > from)
        buf_add(b, t.p + from, to - from);
}

static void write_new(struct arena *a, struct buf *b, const struct container *c, struct str name,
                      yyjson_val *v, const struct style *s)
{
    if (c->is_object) {
        quoted(b, name);
        buf_lit(b, ": ");
    }
    format(a, b, v, s, 0);
}

static void add_first(struct arena *a, struct buf *b, struct str t, const struct container *c,
                      struct str name, yyjson_val *v, struct style s)
{
    struct str outer = indent_of(t, c->open);
    bool has_lines = memchr(t.p + c->open, '\n', c->close - c->open) != NULL;
    size_t at = has_lines ? line_start(t, c->close) : c->close;
    if (has_lines && !begins_line(t, c->close)) { /* a comment stands before the bracket */
        has_lines = false;
        at = c->close;
    }
    if (has_lines && at <= c->open)
        at = c->close;
    s.indent = str_fmt(a, STR_FMT STR_FMT, STR_ARG(outer), STR_ARG(s.unit));
    copy(b, t, 0, at);
    if (!has_lines)
        buf_str_add(b, s.eol);
    buf_str_add(b, s.indent);
    write_new(a, b, c, name, v, &s);
    buf_str_add(b, s.eol);
    if (!has_lines)
        buf_str_add(b, outer);
    copy(b, t, at, t.n);
}

static void add_last(struct arena *a, struct buf *b, struct str t, const struct container *c,
                     struct str name, yyjson_val *v, struct style s)
{
    const struct item *last = &c->items[c->n - 1];
    bool has_comma = last->comma != NOWHERE, has_lines = begins_line(t, last->at);
    size_t at = has_comma ? last->comma + 1 : last->end;
    copy(b, t, 0, at);
    if (!has_comma)
        buf_char(b, ',');
    if (has_lines) {
        size_t tail = skip_line_comments(t, at);
        copy(b, t, at, tail);
        at = tail;
        s.indent = indent_of(t, last->at);
        new_line(b, &s, 0);
    } else {
        s.is_inline = true;
        size_t tail = skip_comments(t, at, true);
        copy(b, t, at, tail);
        at = tail;
        buf_char(b, ' ');
    }
    write_new(a, b, c, name, v, &s);
    if (has_comma)
        buf_char(b, ',');
    if (has_lines && !ends_line(t, at)) /* the closing bracket shared the last line */
        new_line(b, &(struct style){.indent = indent_of(t, c->open), .eol = s.eol}, 0);
    copy(b, t, at, t.n);
}

static void add(struct arena *a, struct buf *b, struct str t, const struct container *c,
                struct str name, yyjson_val *v)
{
    struct style s = {
        .is_inline = siblings_are_inline(t, c), .unit = unit_of(t, c), .eol = line_end(t, c->open)};
    if (c->n)
        add_last(a, b, t, c, name, v, s);
    else
        add_first(a, b, t, c, name, v, s);
}

static void replace(struct arena *a, struct buf *b, struct str t, const struct container *c,
                    const struct item *one, yyjson_val *v)
{
    bool was_inline = !memchr(t.p + one->value, '\n', one->end - one->value);
    struct style s = {.is_inline = was_inline && is_container(t, one->value) &&
                                   one->end - one->value > 2,
                      .indent = indent_of(t, one->at),
                      .unit = unit_of(t, c),
                      .eol = line_end(t, c->open)};
    copy(b, t, 0, one->value);
    format(a, b, v, &s, 0);
    copy(b, t, one->end, t.n);
}

/* The start of the comments that stand on the lines directly above an item, `from` at the earliest; of its line when there are
 * none. */
static size_t attached_from(struct str t, size_t from, size_t at)
{
    size_t start = line_start(t, at), begin[64], n = 0;
    for (size_t i = from; i < at;) { /* between items are only white space and comments */
        if (t.p[i] != '/') {
            i++;
            continue;
        }
        if (n == ARRAY_LEN(begin))
            return start;
        begin[n++] = i;
        size_t end = i + 2;
        if (t.p[i + 1] == '/') {
            while (end < at && t.p[end] != '\n' && t.p[end] != '\r')
                end++;
        } else {
            while (end + 1 < at && !(t.p[end] == '*' && t.p[end + 1] == '/'))
                end++;
            end += 2;
        }
        i = end;
        /* anything but one line break behind it: neither this nor what is above belongs to the item */
        size_t breaks = 0;
        while (i < at && t.p[i] != '/')
            breaks += t.p[i++] == '\n';
        if (breaks != 1 || !begins_line(t, begin[n - 1]))
            n = 0;
    }
    return n ? line_start(t, begin[0]) : start;
}

struct cut {
    size_t from, to;
};

static struct cut cut_of(struct str t, const struct container *c, size_t i)
{
    const struct item *one = &c->items[i];
    size_t end = one->comma != NOWHERE ? one->comma + 1 : one->end;
    size_t tail = skip_line_comments(t, end);
    bool comma_is_near = one->comma == NOWHERE ||
                         !memchr(t.p + one->end, '\n', one->comma - one->end);
    if (begins_line(t, one->at) && comma_is_near && ends_line(t, tail)) {
        size_t before = i == 0 ? one->at : c->items[i - 1].comma + 1;
        size_t from = i == 0 ? line_start(t, one->at) : attached_from(t, before, one->at);
        while (tail < t.n && t.p[tail] != '\n')
            tail++;
        return (struct cut){from, tail < t.n ? tail + 1 : tail};
    }
    size_t from = one->at;
    if (i + 1 < c->n) {
        while (end < t.n && is_space(t.p[end]))
            end++;
    } else {
        while (from > 0 && is_space(t.p[from - 1]))
            from--;
    }
    return (struct cut){from, end};
}

static void cut(struct buf *b, struct str t, const struct container *c, size_t i)
{
    struct cut out = cut_of(t, c, i);
    /* what was the last but one must not end with a comma where the last did not */
    if (i > 0 && i + 1 == c->n && c->items[i].comma == NOWHERE) {
        size_t comma = c->items[i - 1].comma;
        copy(b, t, 0, comma);
        copy(b, t, comma + 1, out.from);
    } else {
        copy(b, t, 0, out.from);
    }
    copy(b, t, out.to, t.n);
}

/* ---- the doors ---- */

static bool parses(struct arena *a, struct str text, struct err *e)
{
    yyjson_val *root;
    return jsonc_parse(a, jsonc_quote(a, text), &root, e);
}

/* The container that holds the last step. false without error: a step is not there, *depth of them were. */
static bool descend(struct arena *a, struct str t, const struct str *path, size_t n,
                    struct container *c, size_t *depth, struct err *e)
{
    size_t at = root_of(t);
    for (*depth = 0;; ++*depth) {
        if (!is_container(t, at))
            return err_set(e, ERR_CONFLICT, "not_an_object",
                           "'" STR_FMT "' is no object, so nothing can stand in it",
                           STR_ARG(*depth ? str_first(path[*depth - 1], 100) : STR("The text")));
        if (!read_container(a, t, at, c, e))
            return false;
        if (*depth + 1 == n)
            return true;
        size_t i = find_item(a, t, c, path[*depth]);
        if (i == NOWHERE)
            return false;
        at = c->items[i].value;
    }
}

/* {"b":{"c":json}} for the steps behind the first. */
static struct str wrapped(struct arena *a, const struct str *path, size_t n, struct str json)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    for (size_t i = 0; i < n; i++) {
        jw_object(&w);
        jw_key_str(&w, path[i]);
    }
    jw_raw(&w, json);
    for (size_t i = 0; i < n; i++)
        jw_object_end(&w);
    return buf_str(&b);
}

/* ---- one value in the place of another: what both have stays as it is written ---- */

/* An element before one that is there, above the comments that belong to it. */
static void insert(struct arena *a, struct buf *b, struct str t, const struct container *c,
                   size_t i, yyjson_val *v)
{
    const struct item *one = &c->items[i];
    struct style s = {.is_inline = siblings_are_inline(t, c) || !begins_line(t, one->at),
                      .indent = indent_of(t, one->at),
                      .unit = unit_of(t, c),
                      .eol = line_end(t, c->open)};
    if (!begins_line(t, one->at)) {
        copy(b, t, 0, one->at);
        format(a, b, v, &s, 0);
        buf_lit(b, ", ");
        copy(b, t, one->at, t.n);
        return;
    }
    size_t before = i ? c->items[i - 1].comma + 1 : c->open + 1;
    size_t from = attached_from(t, before, one->at);
    copy(b, t, 0, from);
    buf_str_add(b, s.indent);
    format(a, b, v, &s, 0);
    buf_char(b, ',');
    buf_str_add(b, s.eol);
    copy(b, t, from, t.n);
}

/* A text, and the path of the value in it that is made another; the last step is filled in. */
struct merge {
    struct arena *a;
    struct str text, *path;
    size_t n; /* steps, with the last one */
};

static bool merge_put(struct merge *m, struct str step, yyjson_val *v, struct err *e)
{
    m->path[m->n - 1] = step;
    return jsonc_put(m->a, m->text, m->path, m->n, json_text(m->a, v), &m->text, e);
}

static bool merge_cut(struct merge *m, struct str step, struct err *e)
{
    m->path[m->n - 1] = step;
    return jsonc_cut(m->a, m->text, m->path, m->n, &m->text, e);
}

static bool merge_insert(struct merge *m, size_t at, yyjson_val *v, struct err *e)
{
    struct container c;
    struct buf b;
    size_t depth;
    m->path[m->n - 1] = STR("0");
    if (!descend(m->a, m->text, m->path, m->n, &c, &depth, e))
        return (e && e->kind != ERR_NONE) || malformed(e);
    if (at >= c.n)
        return merge_put(m, STR("-"), v, e);
    buf_init_arena(&b, m->a, SIZE_MAX / 4);
    insert(m->a, &b, m->text, &c, at, v);
    m->text = buf_str(&b);
    return true;
}

static bool merge_object(struct merge *m, yyjson_val *was, yyjson_val *v, struct err *e)
{
    size_t i, max;
    yyjson_val *k, *one;
    yyjson_obj_foreach (was, i, max, k, one)
        if (!json_find(v, json_str(k).p, json_str(k).n) && !merge_cut(m, json_str(k), e))
            return false;
    yyjson_obj_foreach (v, i, max, k, one) {
        yyjson_val *old = json_find(was, json_str(k).p, json_str(k).n);
        if (!(old && json_equal(old, one)) && !merge_put(m, json_str(k), one, e))
            return false;
    }
    return true;
}

/* Most elements of two arrays that are looked at one by one; larger ones are written anew. */
#define MAX_MERGED 128
#define MAX_COPIED ((size_t)64 << 20) /* bytes, by the edits of one value */

static size_t vector_of(yyjson_val *array, yyjson_val **out)
{
    size_t i, max;
    yyjson_val *one;
    yyjson_arr_foreach (array, i, max, one)
        out[i] = one;
    return yyjson_arr_size(array);
}

static bool is_among(yyjson_val *const *v, size_t n, yyjson_val *one)
{
    for (size_t i = 0; i < n; i++)
        if (json_equal(v[i], one))
            return true;
    return false;
}

/* The longest rows of elements that both arrays have in the same order stay. Between them an element in the place of one is an edit of
 * that, unless either was only moved: comments must not come to stand beside what they do not speak of. */
static bool merge_array(struct merge *m, yyjson_val *was, yyjson_val *v, struct err *e)
{
    yyjson_val *old[MAX_MERGED], *new[MAX_MERGED];
    const size_t n_old = vector_of(was, old), n_new = vector_of(v, new);
    uint8_t(*same)[MAX_MERGED + 1] = arena_zalloc(m->a, (n_old + 1) * sizeof *same);
    for (size_t i = 1; i <= n_old; i++)
        for (size_t j = 1; j <= n_new; j++) {
            uint8_t skip_old = same[i - 1][j], skip_new = same[i][j - 1];
            same[i][j] = json_equal(old[i - 1], new[j - 1]) ? same[i - 1][j - 1] + 1
                         : skip_old > skip_new              ? skip_old
                                                            : skip_new;
        }
    /* from behind, so that places before stay what they are */
    for (size_t i = n_old, j = n_new; i || j;) {
        bool may_skip_old = i && (!j || same[i - 1][j] == same[i][j]);
        bool may_skip_new = j && (!i || same[i][j - 1] == same[i][j]);
        if (i && j && json_equal(old[i - 1], new[j - 1])) {
            i--, j--;
        } else if (may_skip_old && may_skip_new && same[i - 1][j - 1] == same[i][j] &&
                   !is_among(old, n_old, new[j - 1]) && !is_among(new, n_new, old[i - 1])) {
            if (!merge_put(m, str_fmt(m->a, "%zu", i - 1), new[j - 1], e))
                return false;
            i--, j--;
        } else if (may_skip_old) {
            if (!merge_cut(m, str_fmt(m->a, "%zu", --i), e))
                return false;
        } else if (!merge_insert(m, i, new[--j], e)) {
            return false;
        }
    }
    return true;
}

static size_t count_of(yyjson_val *v)
{
    size_t n = 1, i, max;
    yyjson_val *k, *one;
    if (yyjson_is_obj(v))
        yyjson_obj_foreach (v, i, max, k, one)
            n += count_of(one);
    else
        yyjson_arr_foreach (v, i, max, one)
            n += count_of(one);
    return n;
}

/* The value of an item as it is written; NULL: it is no container, or so much that it is rather written anew: each edit copies the
 * text. */
static yyjson_val *mergeable(struct arena *a, struct str t, const struct item *one, yyjson_val *v)
{
    yyjson_val *was;
    struct str text = jsonc_quote(a, str_n(t.p + one->value, one->end - one->value));
    if (!is_container(t, one->value) || !yyjson_is_ctn(v) || !jsonc_parse(a, text, &was, NULL) ||
        yyjson_is_arr(was) != yyjson_is_arr(v))
        return NULL;
    size_t n_was = yyjson_get_len(was), n = yyjson_get_len(v);
    bool fits = n_was && n && n_was <= MAX_MERGED && n <= MAX_MERGED;
    return fits && (count_of(was) + count_of(v)) * t.n <= MAX_COPIED ? was : NULL;
}

bool jsonc_put(struct arena *a, struct str text, const struct str *path, size_t n, struct str json,
               struct str *out, struct err *e)
{
    struct container c;
    struct buf b;
    struct err why = ERR_INIT;
    size_t depth;
    yyjson_val *v;
    bool is_whole = descend(a, text, path, n, &c, &depth, &why);
    if (!is_whole && why.kind != ERR_NONE) {
        *e = why;
        return false;
    }
    if (!is_whole && !c.is_object)
        return err_set(e, ERR_NOT_FOUND, "not_found", "There is no element " STR_FMT,
                       STR_ARG(str_first(path[depth], 20)));
    size_t rest = n - 1 - depth;
    if (!json_parse(a, wrapped(a, path + depth + 1, rest, json), 0, &v, e))
        return false;
    size_t i = is_whole ? find_item(a, text, &c, path[depth]) : NOWHERE;
    yyjson_val *was = i == NOWHERE ? NULL : mergeable(a, text, &c.items[i], v);
    if (was) {
        struct merge m = {
            .a = a, .text = text, .path = ARENA_ARRAY(a, struct str, n + 1), .n = n + 1};
        memcpy(m.path, path, n * sizeof *path);
        if (!(yyjson_is_obj(v) ? merge_object(&m, was, v, e) : merge_array(&m, was, v, e)))
            return false;
        *out = m.text;
        return true;
    }
    buf_init_arena(&b, a, SIZE_MAX / 4);
    if (i != NOWHERE)
        replace(a, &b, text, &c, &c.items[i], v);
    else if (c.is_object || str_is(path[depth], "-"))
        add(a, &b, text, &c, path[depth], v);
    else
        return err_set(e, ERR_NOT_FOUND, "not_found", "There is no element " STR_FMT,
                       STR_ARG(str_first(path[depth], 20)));
    *out = buf_str(&b);
    return true;
}

bool jsonc_set(struct arena *a, struct str text, const struct str *path, size_t n, struct str json,
               struct str *out, struct err *e)
{
    return parses(a, text, e) && jsonc_put(a, text, path, n, json, out, e) && parses(a, *out, e);
}

bool jsonc_cut(struct arena *a, struct str text, const struct str *path, size_t n, struct str *out,
               struct err *e)
{
    *out = text;
    for (;;) { /* all of that name: the one before would come to the fore */
        struct container c;
        struct buf b;
        struct err why = ERR_INIT;
        size_t depth;
        if (!descend(a, *out, path, n, &c, &depth, &why))
            return why.kind == ERR_NONE || why.kind == ERR_CONFLICT || (*e = why, false);
        size_t i = find_item(a, *out, &c, path[depth]);
        if (i == NOWHERE)
            return true;
        buf_init_arena(&b, a, SIZE_MAX / 4);
        cut(&b, *out, &c, i);
        *out = buf_str(&b);
        if (!c.is_object)
            return true;
    }
}

bool jsonc_remove(struct arena *a, struct str text, const struct str *path, size_t n,
                  struct str *out, struct err *e)
{
    return parses(a, text, e) && jsonc_cut(a, text, path, n, out, e) && parses(a, *out, e);
}

bool jsonc_rename(struct arena *a, struct str text, const struct str *path, size_t n,
                  struct str name, struct str *out, struct err *e)
{
    struct container c;
    struct buf b;
    size_t depth, i = NOWHERE;
    if (!parses(a, text, e))
        return false;
    if (descend(a, text, path, n, &c, &depth, NULL) && c.is_object)
        i = find_item(a, text, &c, path[depth]);
    if (i == NOWHERE)
        return err_set(e, ERR_NOT_FOUND, "not_found", "There is no '" STR_FMT "'",
                       STR_ARG(str_first(path[n - 1], 100)));
    buf_init_arena(&b, a, SIZE_MAX / 4);
    copy(&b, text, 0, c.items[i].at);
    quoted(&b, name);
    copy(&b, text, c.items[i].at + c.items[i].name_n, text.n);
    *out = buf_str(&b);
    if (!parses(a, *out, e))
        return false;
    /* one of the same name before it would come to the fore */
    return str_eq(path[n - 1], name) || jsonc_remove(a, *out, path, n, out, e);
}
