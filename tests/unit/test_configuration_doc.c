/* docs/configuration.md holds the tables of settings and of provider kinds as they are. UPDATE_DOCS=1 rewrites them. */
#include "unit.h"
#include "base/buf.h"
#include "domain/provider_kind.h"
#include "domain/setting.h"
#include <stdio.h>

#define DOC "docs/configuration.md"

static void add_setting(struct buf *b, const struct setting *row)
{
    buf_fmt(b, "| `%s` | ", row->name);
    switch (row->kind) {
    case SETTING_INT:
        buf_fmt(b, "%lld | %lld … %lld", (long long)row->otherwise, (long long)row->min,
                (long long)row->max);
        break;
    case SETTING_BOOL:
        buf_fmt(b, "%s | true, false", row->otherwise ? "true" : "false");
        break;
    case SETTING_TEXT:
        buf_fmt(b, "%s%s%s | text", row->text[0] ? "`" : "", row->text, row->text[0] ? "`" : "");
        break;
    }
    buf_lit(b, " | `SLUICE_");
    for (const char *p = row->name; *p; p++)
        buf_char(b, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
    buf_fmt(b, "` | %s |\n", row->sentence);
}

static void add_settings(struct buf *b)
{
    const struct setting *row;
    buf_lit(b, "| setting | default | values | environment | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; (row = setting_at(i)) != NULL; i++)
        add_setting(b, row);
}

static void add_kinds(struct buf *b)
{
    const struct provider_kind *k;
    buf_lit(b, "| type | what | formats | base URL | key from |\n|---|---|---|---|---|\n");
    for (size_t i = 0; (k = provider_kind_at(i)) != NULL; i++) {
        buf_fmt(b, "| `%s` | %s | ", k->id, k->title);
        for (size_t w = 0; w < ARRAY_LEN(k->wires) && k->wires[w] != WIRE_NONE; w++)
            buf_fmt(b, "%s%s", w ? ", " : "", wire_of(k->wires[w])->name);
        buf_fmt(b, " | %s | ", k->base_url ? k->base_url : "to be given");
        buf_fmt(b, k->key_env ? "`%s`" : "%s", k->key_env ? k->key_env : "");
        buf_lit(b, " |\n");
    }
}

static struct str read_doc(struct buf *b)
{
    FILE *f = fopen(DOC, "r");
    char piece[4096];
    ck_assert_msg(f != NULL, "run it in the root of the checkout");
    buf_init(b, 1 << 20);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(b, piece, n);
    (void)fclose(f);
    return buf_str(b);
}

/* What stands between the line that begins with the marker and the next end marker: *at, *n. */
static void block(struct str doc, const char *marker, size_t *at, size_t *n)
{
    const char *start = memmem(doc.p, doc.n, marker, strlen(marker));
    ck_assert_msg(start != NULL, "no %s", marker);
    struct str rest = str_skip(doc, (size_t)(start - doc.p));
    rest = str_skip(rest, str_index(rest, '\n') + 1);
    const char *end = memmem(rest.p, rest.n, "<!-- end -->", 12);
    ck_assert_msg(end != NULL, "no end of %s", marker);
    *at = (size_t)(rest.p - doc.p);
    *n = (size_t)(end - rest.p);
}

static void hold(const char *marker, void (*add)(struct buf *))
{
    struct buf b, table, out;
    struct str doc = read_doc(&b);
    size_t at, n;
    block(doc, marker, &at, &n);
    buf_init(&table, 1 << 20);
    add(&table);
    if (getenv("UPDATE_DOCS")) {
        buf_init(&out, 1 << 20);
        buf_str_add(&out, str_first(doc, at));
        buf_str_add(&out, buf_str(&table));
        buf_str_add(&out, str_skip(doc, at + n));
        FILE *f = fopen(DOC, "w");
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(fwrite(out.p, 1, out.n, f), out.n);
        ck_assert_int_eq(fclose(f), 0);
        buf_done(&out);
    } else {
        ck_assert_msg(str_eq(str_n(doc.p + at, n), buf_str(&table)),
                      DOC " says something else than the table: UPDATE_DOCS=1 "
                          "build/debug/tests/test_configuration_doc writes it");
    }
    buf_done(&table);
    buf_done(&b);
}

START_TEST(settings_are_documented)
{
    hold("<!-- settings:", add_settings);
}
END_TEST

START_TEST(kinds_are_documented)
{
    hold("<!-- kinds:", add_kinds);
}
END_TEST

START_TEST(quirks_are_documented)
{
    struct buf b;
    struct str doc = read_doc(&b);
    for (const struct word *q = wire_quirk_words; q->text; q++) {
        char row[64];
        (void)snprintf(row, sizeof row, "| `%s` |", q->text);
        ck_assert_msg(str_contains(doc, str_of(row)), DOC " does not say what %s is", q->text);
    }
    buf_done(&b);
}
END_TEST

UNIT_MAIN("configuration_doc", quirks_are_documented, settings_are_documented, kinds_are_documented)
