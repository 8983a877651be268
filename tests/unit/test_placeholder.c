/* ${NAME} in texts, and how a ${ is written that is none. */
#include "base/arena.h"
#include "base/placeholder.h"
#include "unit/unit.h"

START_TEST(names_are_found)
{
    static const struct {
        const char *text, *name; /* NULL: names nothing */
        size_t at;
    } rows[] = {
        {"${A}", "A", 0},    {"x${A}y${B}", "A", 1}, {"", NULL, 0},       {"plain $ {}", NULL, 0},
        {"${open", NULL, 0}, {"$${A}", NULL, 0},     {"$$${A}", NULL, 0}, {"$${A}${B}", "B", 5},
        {"$$ ${B}", "B", 3}, {"${}", "", 0},         {"$", NULL, 0},      {"${a${b}", "a${b", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str name = STR_NONE, text = str_of(rows[i].text);
        size_t at = placeholder_find(text, 0, &name);
        ck_assert_msg(placeholder_is_in(text) == (rows[i].name != NULL), "%s", rows[i].text);
        ck_assert_uint_eq(at, rows[i].name ? rows[i].at : text.n);
        if (rows[i].name)
            check_str(name, str_of(rows[i].name));
    }
}
END_TEST

START_TEST(what_is_escaped_comes_out_as_it_was)
{
    static const struct {
        const char *text, *written;
    } rows[] = {
        {"", ""},
        {"${A}", "$${A}"},
        {"$${A}", "$$${A}"},
        {"a$b$$c", "a$b$$c"},
        {"${", "$${"},
        {"x$${a}$${b}y", "x$$${a}$$${b}y"},
        {"{$}", "{$}"},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str written = placeholder_escape(a, str_of(rows[i].text));
        check_str(written, str_of(rows[i].written));
        ck_assert(!placeholder_is_in(written));
        check_str(placeholder_unescape(a, written), str_of(rows[i].text));
    }
    check_text(placeholder_unescape(a, STR("${A}$${B}")), "${A}${B}"); /* one alone is left */
    arena_free(a);
}
END_TEST

UNIT_MAIN("placeholder", names_are_found, what_is_escaped_comes_out_as_it_was)
