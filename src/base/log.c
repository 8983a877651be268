/* log.c - one write(2) a line, so that lines of several threads never mix.
 * It walks the format itself instead of handing it to vsnprintf: only so is it known where a value begins and
 * ends, and a value with spaces, quotes or line breaks cannot pass for another field or line. */
#include "base/log_recent.h"
#include "base/banned.h"
#include "base/clock.h"
#include "base/utf8.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static const struct word levels[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}, {0}};
static _Atomic int lowest = LOG_INFO;
static _Atomic bool writes_json, is_held;

bool log_enabled(enum log_level level)
{
    return (int)level >= lowest;
}

bool log_level_parse(struct str name, enum log_level *out)
{
    int v = word_value(levels, name, str_is(name, "warning") ? LOG_WARN : -1);
    if (v < 0)
        return false;
    *out = (enum log_level)v;
    return true;
}

/* ---- a line ---- */

struct line {
    char text[4096];
    size_t n;
    bool is_json;
};
struct value {
    char text[2048];
    size_t n;
    unsigned pieces; /* literal or converted */
    bool is_number;  /* the last piece */
};

static void put(char *text, size_t cap, size_t *n, const char *p, size_t len)
{
    if (len > cap - *n)
        len = cap - *n;
    memcpy(text + *n, p, len);
    *n += len;
}

#define LINE_ROOM \
    (sizeof(((struct line *)0)->text) - 2) /* the brace and the line break always fit */

static void line_add(struct line *l, const char *p, size_t n)
{
    put(l->text, LINE_ROOM, &l->n, p, n);
}

static void line_escaped(struct line *l, struct str s)
{
    for (size_t i = 0; i < s.n && l->n + 8 <= LINE_ROOM;) { /* a cut value still gets its quote */
        unsigned char c = (unsigned char)s.p[i];
        size_t bad, len = c < 0x80 ? 1 : utf8_step((const unsigned char *)s.p + i, s.n - i, &bad);
        char hex[8];
        if (c == '"' || c == '\\')
            line_add(l, (const char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            line_add(l, "\\n", 2);
        else if (c < 0x20 || c == 0x7f)
            line_add(l, hex, (size_t)snprintf(hex, sizeof hex, "\\u%04x", c));
        else if (len == 0)
            line_add(l, "\xef\xbf\xbd", 3);
        else if (c == 0xc2 &&
                 (unsigned char)s.p[i + 1] < 0xa0) /* C1 controls steer terminals too */
            line_add(l, hex,
                     (size_t)snprintf(hex, sizeof hex, "\\u%04x", (unsigned char)s.p[i + 1]));
        else
            line_add(l, s.p + i, len);
        i += len ? len : bad;
    }
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.n > 0;
}

static void line_field(struct line *l, struct str key, struct str value, bool is_bare)
{
    if (l->n + key.n + (is_bare ? value.n : 0) + 8 > LINE_ROOM)
        return; /* no room for the whole of it */
    if (l->is_json) {
        line_add(l, l->n > 1 ? ",\"" : "\"", l->n > 1 ? 2 : 1);
        line_add(l, key.p, key.n);
        line_add(l, "\":", 2);
    } else {
        if (l->n)
            line_add(l, " ", 1);
        line_add(l, key.p, key.n);
        line_add(l, "=", 1);
        is_bare = is_bare || (is_plain(value) && l->n + value.n <= LINE_ROOM);
    }
    if (is_bare) {
        line_add(l, value.p, value.n);
        return;
    }
    line_add(l, "\"", 1);
    line_escaped(l, value);
    line_add(l, "\"", 1);
}

/* ---- the format ---- */

static void value_add(struct value *v, const char *p, size_t n, bool is_number)
{
    put(v->text, sizeof v->text, &v->n, p, n);
    v->pieces++;
    v->is_number = is_number;
}

struct conversion {
    int precision; /* < 0: none */
    unsigned longs;
    bool is_size;
    bool is_intmax;
};

struct args { /* a va_list that may be passed on by address */
    va_list list;
};

static int64_t signed_arg(struct args *a, const struct conversion *c)
{
    if (c->is_size)
        return va_arg(a->list, ssize_t);
    if (c->is_intmax)
        return va_arg(a->list, intmax_t);
    if (c->longs > 1)
        return va_arg(a->list, long long);
    return c->longs ? va_arg(a->list, long) : va_arg(a->list, int);
}

static uint64_t unsigned_arg(struct args *a, const struct conversion *c)
{
    if (c->is_size)
        return va_arg(a->list, size_t);
    if (c->is_intmax)
        return va_arg(a->list, uintmax_t);
    if (c->longs > 1)
        return va_arg(a->list, unsigned long long);
    return c->longs ? va_arg(a->list, unsigned long) : va_arg(a->list, unsigned);
}

static void convert_text(struct value *v, struct args *a, const struct conversion *c)
{
    const char *z = va_arg(a->list, const char *);
    if (!z)
        z = "(none)";
    size_t n = c->precision >= 0 ? strnlen(z, (size_t)c->precision) : strlen(z);
    value_add(v, z, n, false);
}

static void convert(struct value *v, struct args *a, const struct conversion *c, char kind)
{
    char text[352]; /* the longest %f */
    int n = 0;
    switch (kind) {
    case 's':
        convert_text(v, a, c);
        return;
    case 'd':
    case 'i':
        n = snprintf(text, sizeof text, "%lld", (long long)signed_arg(a, c));
        break;
    case 'u':
        n = snprintf(text, sizeof text, "%llu", (unsigned long long)unsigned_arg(a, c));
        break;
    case 'x':
    case 'X':
        n = snprintf(text, sizeof text, "%llx", (unsigned long long)unsigned_arg(a, c));
        break;
    case 'p':
        n = snprintf(text, sizeof text, "%p", va_arg(a->list, void *));
        break;
    case 'c':
        text[0] = (char)va_arg(a->list, int);
        n = 1;
        break;
    case 'e':
    case 'g':
    case 'f':
        n = snprintf(text, sizeof text, "%.*f",
                     c->precision < 0 || c->precision > 12 ? 6 : c->precision,
                     va_arg(a->list, double));
        break;
    default: /* a conversion nobody here uses; what follows cannot be read any more */
        break;
    }
    bool is_number = strchr("diufeg", kind) && n > 0 && text[n - 1] >= '0' && text[n - 1] <= '9';
    value_add(v, text, n > 0 ? (size_t)n : 0, is_number);
}

/* fmt stands behind a '%'; returns the address behind the conversion. */
static const char *one_conversion(struct value *v, struct args *a, const char *fmt)
{
    struct conversion c = {.precision = -1};
    fmt += strspn(fmt, "-+ #0123456789");
    if (*fmt == '.') {
        fmt++;
        if (*fmt == '*') {
            c.precision = va_arg(a->list, int);
            fmt++;
        } else {
            for (c.precision = 0; *fmt >= '0' && *fmt <= '9' && c.precision < 10000; fmt++)
                c.precision = c.precision * 10 + (*fmt - '0');
        }
    }
    for (; *fmt && strchr("hlzjt", *fmt); fmt++) {
        c.longs += *fmt == 'l';
        c.is_size = c.is_size || *fmt == 'z' || *fmt == 't';
        c.is_intmax = c.is_intmax || *fmt == 'j';
    }
    if (!*fmt)
        return fmt;
    convert(v, a, &c, *fmt);
    return fmt + 1;
}

/* Length of the "key" of a "key=" that begins at fmt, else 0. */
static size_t key_length(const char *fmt)
{
    size_t n = strspn(fmt, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    return fmt[n] == '=' ? n : 0;
}

static void end_field(struct line *l, struct str key, struct value *v)
{
    if (key.n == 0 && v->n == 0)
        return;
    line_field(l, key.n ? key : STR("msg"), str_n(v->text, v->n), v->pieces == 1 && v->is_number);
    *v = (struct value){0};
}

/* "key=%s key=literal words": a new field begins where a key= follows a space or the start. */
static void line_format(struct line *l, const char *fmt, struct args *a)
{
    struct value v;
    v.n = v.pieces = 0;
    v.is_number = false;
    struct str key = STR_NONE;
    for (bool is_start = true; *fmt; is_start = false) {
        const char *next = *fmt == ' ' ? fmt + 1 : fmt;
        size_t n = is_start || next != fmt ? key_length(next) : 0;
        if (n) {
            end_field(l, key, &v);
            key = str_n(next, n);
            fmt = next + n + 1;
        } else if (fmt[0] == '%' && fmt[1] == '%') {
            value_add(&v, "%", 1, false);
            fmt += 2;
        } else if (fmt[0] == '%') {
            fmt = one_conversion(&v, a, fmt + 1);
        } else {
            value_add(&v, fmt++, 1, false);
        }
    }
    end_field(l, key, &v);
}

static void write_line(const struct line *l)
{
    size_t done = 0;
    while (done < l->n) {
        ssize_t n = write(STDERR_FILENO, l->text + done, l->n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody listens: there is no better place to complain */
        done += (size_t)n;
    }
}

/* ---- lines that wait for log_setup() ---- */

struct held {
    struct held *next;
    enum log_level level;
    size_t n, json_n;
    char text[]; /* as it is in words, then as JSON */
};
static struct held *first_held, **last_held = &first_held;

static void hold(enum log_level level, const struct line *text, const struct line *json)
{
    struct held *h = malloc(sizeof *h + text->n + json->n);
    if (!h)
        abort();
    *h = (struct held){.level = level, .n = text->n, .json_n = json->n};
    memcpy(h->text, text->text, text->n);
    memcpy(h->text + text->n, json->text, json->n);
    *last_held = h;
    last_held = &h->next;
}

void log_hold(void)
{
    is_held = true;
}

void log_setup(enum log_level level, bool is_json)
{
    lowest = (int)level;
    writes_json = is_json;
    if (!is_held)
        return;
    is_held = false;
    while (first_held) {
        struct held *h = first_held;
        struct line l = {.n = 0};
        first_held = h->next;
        l.n = is_json ? h->json_n : h->n;
        memcpy(l.text, h->text + (is_json ? h->n : 0), l.n);
        if (log_enabled(h->level))
            write_line(&l);
        free(h);
    }
    last_held = &first_held;
}

static struct str time_text(char *space, size_t cap)
{
    struct buf b = {.p = space, .cap = cap, .max = cap};
    clock_rfc3339(&b, clock_wall_ms());
    return buf_str(&b);
}

struct event {
    enum log_level level;
    struct str time;
    const char *id, *name, *fmt;
};

static void make_line(struct line *l, bool is_json, const struct event *e, struct args *a)
{
    l->n = 0;
    l->is_json = is_json;
    if (is_json)
        line_add(l, "{", 1);
    line_field(l, STR("time"), e->time, false);
    line_field(l, STR("level"), str_of(word_text(levels, (int)e->level, "error")), false);
    line_field(l, STR("event"), str_of(e->name), false);
    if (e->id && *e->id)
        line_field(l, STR("id"), str_of(e->id), false);
    line_format(l, e->fmt, a);
    if (is_json)
        l->text[l->n++] = '}';
    l->text[l->n++] = '\n';
}

/* ---- the newest lines ---- */

#define RECENT 512
#define RECENT_TEXT 500 /* what is longer is cut */

static struct {
    pthread_mutex_t lock; /* beside a write(2) it weighs nothing */
    struct {
        int64_t at_ms;
        enum log_level level;
        uint16_t n;
        char text[RECENT_TEXT];
    } v[RECENT];
    size_t next, n;
} recent = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep(enum log_level level, const struct line *l)
{
    size_t n = l->n - 1 < RECENT_TEXT ? l->n - 1 : RECENT_TEXT; /* without its line break */
    (void)pthread_mutex_lock(&recent.lock);
    /* read here, so that the lines are in its order */
    recent.v[recent.next].at_ms = clock_wall_ms();
    recent.v[recent.next].level = level;
    recent.v[recent.next].n = (uint16_t)n;
    memcpy(recent.v[recent.next].text, l->text, n);
    recent.next = (recent.next + 1) % RECENT;
    recent.n += recent.n < RECENT;
    (void)pthread_mutex_unlock(&recent.lock);
}

size_t log_recent(struct arena *a, enum log_level least, size_t max, struct log_recent **out)
{
    size_t n = 0;
    *out = ARENA_ARRAY(a, struct log_recent, (max < RECENT ? max : RECENT) + 1);
    (void)pthread_mutex_lock(&recent.lock);
    for (size_t i = 1; i <= recent.n && n < max; i++) {
        size_t at = (recent.next + RECENT - i) % RECENT;
        if (recent.v[at].level >= least)
            (*out)[n++] = (struct log_recent){recent.v[at].level, recent.v[at].at_ms,
                                              str_dup(a, str_n(recent.v[at].text, recent.v[at].n))};
    }
    (void)pthread_mutex_unlock(&recent.lock);
    return n;
}

void log_event(enum log_level level, const char *id, const char *event, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    int kept_errno = errno;
    char space[64];
    struct line l;
    l.n = 0;
    struct event e = {level, time_text(space, sizeof space), id, event, fmt};
    struct args a;
    bool waits = is_held;
    va_start(a.list, fmt);
    make_line(&l, !waits && writes_json, &e, &a);
    va_end(a.list);
    if (waits) {
        struct line json;
        va_start(a.list, fmt);
        make_line(&json, true, &e, &a);
        va_end(a.list);
        hold(level, &l, &json);
    } else {
        write_line(&l);
        keep(level, &l);
    }
    errno = kept_errno;
}
