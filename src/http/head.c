/* head.c - one growing text and offsets into it, so that growth moves nothing that is kept. */
#include "http/head.h"

#include <stdlib.h>

#include "base/banned.h"

#define NEVER_FULL (SIZE_MAX / 4) /* the caller's maximum is checked before */

void head_init(struct head *h)
{
    *h = (struct head){.n = 0};
    buf_init(&h->text, NEVER_FULL);
}

void head_done(struct head *h)
{
    buf_done(&h->text);
    free(h->fields);
    h->fields = NULL;
    h->n = h->cap = 0;
}

void head_clear(struct head *h)
{
    buf_clear(&h->text);
    h->n = 0;
    h->target_n = 0;
    h->is_field_open = false;
}

struct head *head_move(struct head *from)
{
    struct head *to = malloc(sizeof *to);
    if (!to)
        abort();
    *to = *from;
    head_init(from);
    return to;
}

static bool add(struct head *h, const char *p, size_t n, size_t max)
{
    if (n > max || h->text.n > max - n)
        return false;
    buf_add(&h->text, p, n);
    return true;
}

bool head_target(struct head *h, const char *p, size_t n, size_t max)
{
    if (!add(h, p, n, max))
        return false;
    h->target_n += n;
    return true;
}

static void begin_field(struct head *h)
{
    if (h->n == h->cap) {
        unsigned cap = h->cap ? h->cap * 2 : 32;
        struct head_field *grown = realloc(h->fields, cap * sizeof *grown);
        if (!grown)
            abort();
        h->fields = grown;
        h->cap = cap;
    }
    h->fields[h->n] = (struct head_field){.name = (uint32_t)h->text.n};
    h->is_field_open = true;
}

#define EACH_BYTE(x) (UINT64_C(0x0101010101010101) * (x))
#define HIGH_BITS EACH_BYTE(0x80)

static inline uint64_t load_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline char lower(char c)
{
    return (char)(c | (c >= 'A' && c <= 'Z' ? 0x20 : 0));
}

/* Eight at once: the high bit of each byte below 0x80 says on which side of A and Z it is. */
static inline uint64_t lower_word(uint64_t word)
{
    uint64_t low = word & ~HIGH_BITS, from_a = low + EACH_BYTE(0x80 - 'A'),
             behind_z = low + EACH_BYTE(0x80 - 'Z' - 1);
    return word | ((from_a & ~behind_z & ~word & HIGH_BITS) >> 2);
}

static inline bool has_control(uint64_t word)
{
    return ((word - EACH_BYTE(0x20)) & ~word & HIGH_BITS) != 0;
}

void head_put_text(char *to, struct str s)
{
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t word = load_word(s.p + i);
        if (has_control(word))
            break;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < s.n; i++)
        to[i] = s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0' ? ' ' : s.p[i];
}

void http_line_add(struct buf *b, struct str name, struct str value)
{
    if (!buf_reserve(b, name.n + value.n + 4))
        return;
    char *p = b->p + b->n;
    head_put_text(p, name);
    memcpy(p + name.n, ": ", 2);
    head_put_text(p + name.n + 2, value);
    memcpy(p + name.n + 2 + value.n, "\r\n", 2);
    b->n += name.n + value.n + 4;
}

bool head_name(struct head *h, const char *p, size_t n, size_t max)
{
    if (n > max || h->text.n > max - n || !buf_reserve(&h->text, n))
        return false;
    if (!h->is_field_open)
        begin_field(h);
    char *to = h->text.p + h->text.n;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word = lower_word(load_word(p + i));
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < n; i++)
        to[i] = lower(p[i]);
    h->text.n += n;
    struct head_field *f = &h->fields[h->n];
    f->name_n += (uint32_t)n;
    f->value = f->name + f->name_n;
    return true;
}

bool head_value(struct head *h, const char *p, size_t n, size_t max)
{
    if (!add(h, p, n, max))
        return false;
    h->fields[h->n].value_n += (uint32_t)n;
    return true;
}

void head_value_end(struct head *h)
{
    if (!h->is_field_open)
        return;
    h->is_field_open = false;
    struct head_field *f = &h->fields[h->n++];
    const char *p = h->text.p + f->value;
    while (f->value_n > 0 && (p[f->value_n - 1] == ' ' || p[f->value_n - 1] == '\t'))
        f->value_n--;
    while (f->value_n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        f->value++;
        f->value_n--;
    }
}

void head_add(struct head *h, size_t name_n, size_t value_n)
{
    begin_field(h);
    h->is_field_open = false;
    struct head_field *f = &h->fields[h->n++];
    f->name_n = (uint32_t)name_n;
    f->value = f->name + f->name_n;
    f->value_n = (uint32_t)value_n;
    h->text.n += name_n + value_n;
}

struct str head_copy(const struct head *h, struct arena *a, struct http_header *out)
{
    struct str text = a ? str_dup(a, buf_str(&h->text)) : buf_str(&h->text);
    for (unsigned i = 0; i < h->n; i++) {
        const struct head_field *f = &h->fields[i];
        out[i] = (struct http_header){.name = {text.p + f->name, f->name_n},
                                      .value = {text.p + f->value, f->value_n}};
    }
    return str_first(text, h->target_n);
}
