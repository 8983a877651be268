/* Regular expressions: what is found, what is refused, and that nothing takes long. */
#include "base/regex.h"
#include "unit.h"

static bool finds(const char *pattern, struct str text)
{
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    const struct regex *r = regex_new(a, str_of(pattern), &e);
    ck_assert_msg(r != NULL, "%s: %s", pattern, e.message);
    bool is = regex_finds(r, text);
    arena_free(a);
    return is;
}

START_TEST(what_is_found)
{
    static const struct {
        const char *pattern, *text;
        bool is;
    } rows[] = {
        {"", "", true},
        {"", "x", true},
        {"a", "xax", true},
        {"^a", "xa", false},
        {"a$", "xa", true},
        {"a$", "ax", false},
        {"^$", "", true},
        {"^$", "x", false},
        {"^(get|list)_", "get_x", true},
        {"^(get|list)_", "list_x", true},
        {"^(get|list)_", "xlist_", false},
        {"^get|list$", "a_list", true},
        {"^get|list$", "get_a", true},
        {"^get|list$", "a_get", false},
        {"^a*$", "aaaa", true},
        {"^a*$", "aaba", false},
        {"^a+$", "", false},
        {"^a+$", "aaa", true},
        {"^(ab)+$", "ababab", true},
        {"^(ab)+$", "ababa", false},
        {"^ab?c$", "ac", true},
        {"^ab?c$", "abc", true},
        {"^ab?c$", "abbc", false},
        {"^a{3}$", "aaa", true},
        {"^a{3}$", "aa", false},
        {"^a{3}$", "aaaa", false},
        {"^a{2,}$", "aaaaa", true},
        {"^a{2,}$", "a", false},
        {"^a{1,3}$", "aaa", true},
        {"^a{1,3}$", "aaaa", false},
        {"^a{0,2}$", "", true},
        {"^a{0,2}$", "aaa", false},
        {"^a{0}b$", "b", true},
        {"^(a|b{2}){2}$", "abb", true},
        {"^(a|b{2}){2}$", "ab", false},
        {"^(a*)*$", "aaa", true},
        {"^(a*)+b$", "aab", true},
        {"^(|a)+$", "aa", true},
        {"^.$", "\n", false},
        {"^.$", "x", true},
        {"[^a-c]", "abc", false},
        {"[^a-c]", "abcd", true},
        {"[]x]", "]", true},
        {"[a-]", "-", true},
        {"^[\\w.-]+$", "a_9.-Z", true},
        {"^[\\w.-]+$", "a b", false},
        {"\\d\\d", "a12", true},
        {"^\\D+$", "a1", false},
        {"\\s", "a b", true},
        {"^\\S+$", "a b", false},
        {"\\bcat\\b", "a cat.", true},
        {"\\bcat\\b", "concat", false},
        {"\\Bcat", "concat", true},
        {"a\\.b", "a.b", true},
        {"a\\.b", "axb", false},
        {"a\\/b", "a/b", true},
        {"(?:ab)+c", "ababc", true},
        {"a+?b", "aab", true},
        {"^mcp__(?:files|git)__(?:read|list).*$", "mcp__git__list_branches", true},
        {"^mcp__(?:files|git)__(?:read|list).*$", "mcp__git__push", false},
        {"^caf\xc3\xa9$", "caf\xc3\xa9", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(finds(rows[i].pattern, str_of(rows[i].text)) == rows[i].is, "/%s/ and \"%s\"",
                      rows[i].pattern, rows[i].text);
}
END_TEST

START_TEST(what_is_refused)
{
    static const char *const rows[] = {"(",
                                       "a)",
                                       "[a",
                                       "*a",
                                       "a**b{",
                                       "a{2",
                                       "a{3,1}",
                                       "a{9999}",
                                       "(?=a)",
                                       "(?<n>a)",
                                       "\\1",
                                       "\\",
                                       "[b-a]",
                                       "[\\q]",
                                       "a{,2}",
                                       "((a{200}){200}){200}",
                                       "(((a{0}){200}){200}){200}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        struct arena *a = arena_new();
        ck_assert_msg(!regex_new(a, str_of(rows[i]), &e) && e.kind == ERR_INPUT, "%s", rows[i]);
        arena_free(a);
    }
}
END_TEST

START_TEST(nothing_takes_long)
{
    char text[20000];
    memset(text, 'a', sizeof text);
    struct str s = str_n(text, sizeof text);
    ck_assert(!finds("^(a+)+$", str_n(text, 0)));
    text[sizeof text - 1] = 'b';
    ck_assert(!finds("^(a+)+$", s));
    ck_assert(!finds("^(a|aa)+$", s));
    ck_assert(!finds("(a*)*c", s));
    ck_assert(finds("(a?){50}a{50}b$", s));
}
END_TEST

UNIT_MAIN("regex", what_is_found, what_is_refused, nothing_takes_long)
