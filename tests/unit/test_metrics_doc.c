/* docs/metrics.md holds the table of metrics as it is. UPDATE_DOCS=1 rewrites it. */
#include "unit.h"
#include "base/buf.h"
#include "meter/exposition.h"
#include <stdio.h>

#define DOC "docs/metrics.md"
#define MARKER "<!-- metrics:"

static void add_row(struct buf *b, const struct metric *m)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_fmt(b, "| `%s%s` | %s | ", m->name, m->kind == METRIC_COUNTER ? "_total" : "",
            kinds[m->kind]);
    if (m->otel)
        buf_fmt(b, "`%s` | ", m->otel);
    else
        buf_lit(b, "| ");
    if (m->labels[0])
        buf_fmt(b, "%s | ", m->labels);
    else
        buf_lit(b, "| ");
    buf_fmt(b, "%s |\n", m->help);
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

START_TEST(metrics_are_documented)
{
    struct buf b, table;
    const struct metric *m;
    struct str doc = read_doc(&b);
    buf_init(&table, 1 << 20);
    buf_lit(&table,
            "| metric | kind | OpenTelemetry | labels | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; (m = metric_at(i)) != NULL; i++)
        add_row(&table, m);
    const char *start = memmem(doc.p, doc.n, MARKER, strlen(MARKER));
    ck_assert_ptr_nonnull(start);
    struct str rest = str_skip(doc, (size_t)(start - doc.p));
    rest = str_skip(rest, str_index(rest, '\n') + 1);
    const char *end = memmem(rest.p, rest.n, "<!-- end -->", 12);
    ck_assert_ptr_nonnull(end);
    struct str there = str_n(rest.p, (size_t)(end - rest.p));
    if (getenv("UPDATE_DOCS")) {
        FILE *f = fopen(DOC, "w");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_gt(
            fprintf(f, STR_FMT STR_FMT STR_FMT, STR_ARG(str_first(doc, (size_t)(rest.p - doc.p))),
                    STR_ARG(buf_str(&table)), STR_ARG(str_skip(doc, (size_t)(end - doc.p)))),
            0);
        ck_assert_int_eq(fclose(f), 0);
    } else {
        ck_assert_msg(str_eq(there, buf_str(&table)),
                      DOC " says something else than the table: UPDATE_DOCS=1 "
                          "build/debug/tests/test_metrics_doc writes it");
    }
    buf_done(&table);
    buf_done(&b);
}
END_TEST

/* What promtool would say of names, and what a table may get wrong besides. */
START_TEST(every_row_is_whole)
{
    const struct metric *m, *o;
    for (size_t i = 0; (m = metric_at(i)) != NULL; i++) {
        ck_assert_msg(m->help[0] && m->write, "%s", m->name);
        ck_assert_msg((m->kind == METRIC_HISTOGRAM) == (m->bounds != NULL), "%s", m->name);
        ck_assert_msg(!m->bounds || (m->bounds->n <= HISTOGRAM_MAX && m->scale > 0), "%s", m->name);
        for (unsigned k = 1; m->bounds && k < m->bounds->n; k++)
            ck_assert_msg(m->bounds->v[k - 1] < m->bounds->v[k], "%s", m->name);
        ck_assert_msg(!m->unit[0] || str_ends(str_of(m->name), str_of(m->unit)), "%s", m->name);
        for (size_t k = i + 1; (o = metric_at(k)) != NULL; k++)
            ck_assert_str_ne(m->name, o->name);
    }
}
END_TEST

UNIT_MAIN("metrics_doc", metrics_are_documented, every_row_is_whole)
