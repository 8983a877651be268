/* Edits of JSON with comments: the value changes, every other byte stays. ' stands for " in the texts. */
#include "json/jsonc_edit.h"
#include "unit/unit.h"

static struct str text_of(struct arena *a, const char *z)
{
    struct str s = str_dup(a, str_of(z));
    char *p = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = s.p[i] == '\'' ? '"' : s.p[i];
    return str_n(p, s.n);
}

/* "a/b" */
static size_t path_of(struct arena *a, const char *z, struct str *path)
{
    size_t n = 0;
    struct str rest = text_of(a, z);
    while (rest.n) {
        rest = str_cut(rest, '/', &path[n]);
        n++;
    }
    return n;
}

enum edit {
    SET,
    REMOVE,
    RENAME
};

static struct str edited(struct arena *a, enum edit what, const char *text, const char *path,
                         const char *value)
{
    struct str steps[16], out = STR_NONE;
    struct err e = ERR_INIT;
    size_t n = path_of(a, path, steps);
    struct str t = text_of(a, text);
    bool ok = what == SET      ? jsonc_set(a, t, steps, n, text_of(a, value), &out, &e)
              : what == REMOVE ? jsonc_remove(a, t, steps, n, &out, &e)
                               : jsonc_rename(a, t, steps, n, text_of(a, value), &out, &e);
    ck_assert_msg(ok, "%s %s: %s", path, text, e.message);
    return out;
}

struct example {
    enum edit what;
    const char *path, *value, *before, *after;
};

static void check_examples(const struct example *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena *a = arena_new();
        check_str(edited(a, v[i].what, v[i].before, v[i].path, v[i].value), text_of(a, v[i].after));
        arena_free(a);
    }
}

/* clang-format off */
START_TEST(a_value_is_replaced_where_it_stands)
{
    static const struct example v[] = {
        { SET, "a", "2", "{'a':1}", "{'a':2}" },
        { SET, "a/b", "'x'", "{ // c\n  'a' : { 'b' : [1, 2] /* d */, 'c':3 }, // e\n}\n", "{ // c\n  'a' : { 'b' : 'x' /* d */, 'c':3 }, // e\n}\n" },
        { SET, "a", "true", "{'a':${PORT}, 'b': '${X}'}", "{'a':true, 'b': '${X}'}" },
        { SET, "b", "9", "{'a':${PORT} , 'b':\n8}", "{'a':${PORT} , 'b':\n9}" },
        { SET, "l/1", "7", "{'l': [1, /* two */ 2, 3,]}", "{'l': [1, /* two */ 7, 3,]}" },
        { SET, "a//b", "1", "{'a': {'': {'b': 0}}}", "{'a': {'': {'b': 1}}}" },
        { SET, "a", "1.50", "\xef\xbb\xbf{'a': 0}", "\xef\xbb\xbf{'a': 1.50}" },
        { SET, "\xc3\xa9", "1", "{'\\u00e9': 0, 'e': 2}", "{'\\u00e9': 1, 'e': 2}" },
        { SET, "a", "{'x':1,'y':[1,2]}", "{\n\t'a': 0\n}", "{\n\t'a': {\n\t\t'x': 1,\n\t\t'y': [1, 2]\n\t}\n}" },
        { SET, "a", "1", "{'a':'// no comment','a':2}", "{'a':'// no comment','a':1}" }, /* the one that counts */
        { SET, "a", "['b','c']", "{'a': ['x']}", "{'a': ['b', 'c']}" },
    };
    check_examples(v, ARRAY_LEN(v));
}
END_TEST

#define LIST "{\n  'a': [ // first try\n    {'p': 'x', 'n': 1}, // cheap\n    // far away\n    {'p': 'y'} // dear\n  ] // end\n}\n"
START_TEST(of_what_both_have_nothing_is_touched)
{
    static const struct example v[] = {
        { SET, "a", "[{'p': 'x', 'n': 1}, {'p': 'y'}]", LIST, LIST },
        { SET, "a", "[{'p': 'x', 'n': 1}, {'p': 'y'}, {'p': 'z'}]", LIST,
          "{\n  'a': [ // first try\n    {'p': 'x', 'n': 1}, // cheap\n    // far away\n    {'p': 'y'}, // dear\n    { 'p': 'z' }\n  ] // end\n}\n" },
        { SET, "a", "[{'p': 'x', 'n': 1}, {'p': 'z'}, {'p': 'y'}]", LIST,
          "{\n  'a': [ // first try\n    {'p': 'x', 'n': 1}, // cheap\n    { 'p': 'z' },\n    // far away\n    {'p': 'y'} // dear\n  ] // end\n}\n" },
        { SET, "a", "[{'p': 'z'}, {'p': 'x', 'n': 1}, {'p': 'y'}]", LIST,
          "{\n  'a': [ // first try\n    { 'p': 'z' },\n    {'p': 'x', 'n': 1}, // cheap\n    // far away\n    {'p': 'y'} // dear\n  ] // end\n}\n" },
        { SET, "a", "[{'p': 'x', 'n': 2}, {'p': 'y'}]", LIST,
          "{\n  'a': [ // first try\n    {'p': 'x', 'n': 2}, // cheap\n    // far away\n    {'p': 'y'} // dear\n  ] // end\n}\n" },
        { SET, "a", "[{'p': 'y'}]", LIST, "{\n  'a': [ // first try\n    // far away\n    {'p': 'y'} // dear\n  ] // end\n}\n" },
        { SET, "a", "[{'p': 'x', 'n': 1}]", LIST, "{\n  'a': [ // first try\n    {'p': 'x', 'n': 1} // cheap\n  ] // end\n}\n" },
        /* moved: no comment stays beside another one */
        { SET, "a", "[{'p': 'y'}, {'p': 'x', 'n': 1}]", LIST,
          "{\n  'a': [ // first try\n    { 'p': 'y' },\n    {'p': 'x', 'n': 1} // cheap\n  ] // end\n}\n" },
        { SET, "a", "['p', 'q', 's']", "{'a': ['p' /* one */, 'r', 's']}", "{'a': ['p' /* one */, 'q', 's']}" },
        { SET, "a", "['q', 's', 'p']", "{'a': ['p', 's']}", "{'a': ['q', 's', 'p']}" },
        { SET, "a", "{'x': 1, 'z': {'u': 3}}", "{'a': {\n  'x': 1, // one\n  'y': 2, // two\n  'z': {'t': 1, 'u': 2} // three\n}}",
          "{'a': {\n  'x': 1, // one\n  'z': {'u': 3} // three\n}}" },
        { SET, "a", "[1, 2]", "{'a': {'b': 1}}", "{'a': [1, 2]}" },
        { SET, "a", "['${X}', 3]", "{'a': ['${X}', ${Y}] /* y */}", "{'a': ['${X}', 3] /* y */}" },
    };
    check_examples(v, ARRAY_LEN(v));
}
END_TEST

START_TEST(a_new_member_comes_last_in_the_manner_of_the_others)
{
    static const struct example v[] = {
        { SET, "b", "2", "{'a':1}", "{'a':1, 'b': 2}" },
        { SET, "b", "2", "{'a':1,}", "{'a':1, 'b': 2,}" },
        { SET, "b", "2", "{\n  'a': 1\n}\n", "{\n  'a': 1,\n  'b': 2\n}\n" },
        { SET, "b", "2", "{\n  'a': 1,\n}\n", "{\n  'a': 1,\n  'b': 2,\n}\n" },
        { SET, "b", "2", "{\n\t'a': 1 // one\n}", "{\n\t'a': 1, // one\n\t'b': 2\n}" },
        { SET, "b", "2", "{\n    'a': 1, // one\n    // the end\n}", "{\n    'a': 1, // one\n    'b': 2,\n    // the end\n}" },
        { SET, "b", "2", "{\r\n  'a': 1 /* one\r\n two */\r\n}\r\n", "{\r\n  'a': 1, /* one\r\n two */\r\n  'b': 2\r\n}\r\n" },
        { SET, "b", "2", "{\n  'a': 1}", "{\n  'a': 1,\n  'b': 2\n}" },
        { SET, "p/n", "{'type':'x','key':'y'}", "{\n  'p': {\n    'm': { 'type': 'z' }\n  }\n}", "{\n  'p': {\n    'm': { 'type': 'z' },\n    'n': { 'type': 'x', 'key': 'y' }\n  }\n}" },
        { SET, "p/n", "{'type':'x','caps':['a','b']}", "{\n  'p': {\n    'm': {\n      'type': 'z'\n    }\n  }\n}",
          "{\n  'p': {\n    'm': {\n      'type': 'z'\n    },\n    'n': {\n      'type': 'x',\n      'caps': ['a', 'b']\n    }\n  }\n}" },
        { SET, "p/n", "{'type':'x'}", "{\n  'p': {}\n}", "{\n  'p': {\n    'n': {\n      'type': 'x'\n    }\n  }\n}" },
        { SET, "p/n", "1", "{\n  'p': {\n    // nothing yet\n  }\n}", "{\n  'p': {\n    // nothing yet\n    'n': 1\n  }\n}" },
        { SET, "p/n/o", "1", "{}", "{\n  'p': {\n    'n': {\n      'o': 1\n    }\n  }\n}" },
        { SET, "l/-", "{'id':'b'}", "{\n  'l': [\n    { 'id': 'a' }\n  ]\n}", "{\n  'l': [\n    { 'id': 'a' },\n    { 'id': 'b' }\n  ]\n}" },
        { SET, "l/-", "2", "{'l':[]}", "{'l':[\n  2\n]}" },
        { SET, "l/-", "2", "{'l':[1]}", "{'l':[1, 2]}" },
        { SET, "b", "2", "{\n  'a': 1\n  ,\n}", "{\n  'a': 1\n  ,\n  'b': 2,\n}" },
        { SET, "b", "2", "{ 'a': 1 // one\n}", "{ 'a': 1, 'b': 2 // one\n}" },
        { SET, "b", "2", "{ 'a': 1 /* one */ }", "{ 'a': 1, /* one */ 'b': 2 }" },
        { SET, "b", "2", "{ 'a': 1, /* one */ }", "{ 'a': 1, /* one */ 'b': 2, }" },
    };
    check_examples(v, ARRAY_LEN(v));
}
END_TEST

START_TEST(a_member_goes_with_what_is_said_of_it)
{
    static const struct example v[] = {
        { REMOVE, "a", NULL, "{'a':1}", "{}" },
        { REMOVE, "a", NULL, "{ 'a': 1, 'b': 2 }", "{ 'b': 2 }" },
        { REMOVE, "b", NULL, "{ 'a': 1, 'b': 2 }", "{ 'a': 1 }" },
        { REMOVE, "b", NULL, "{ 'a': 1, 'b': 2, }", "{ 'a': 1, }" },
        { REMOVE, "a", NULL, "{\n  'a': 1, // one\n  'b': 2\n}", "{\n  'b': 2\n}" },
        { REMOVE, "b", NULL, "{\n  'a': 1, // one\n  // of b\n  'b': 2 // two\n}", "{\n  'a': 1 // one\n}" },
        { REMOVE, "b", NULL, "{\n  'a': 1,\n\n  // of all\n\n  // of b\n  /* too */\n  'b': {\n    'x': 1 // y\n  },\n  'c': 3,\n}", "{\n  'a': 1,\n\n  // of all\n\n  'c': 3,\n}" },
        { REMOVE, "a", NULL, "{\n  // of the section\n  'a': 1,\n  'b': 2\n}", "{\n  // of the section\n  'b': 2\n}" },
        { REMOVE, "b", NULL, "{\n    'a': 1\n  , 'b': 2\n  , 'c': 3\n}", "{\n    'a': 1\n  , 'c': 3\n}" },
        { REMOVE, "b", NULL, "{\n'a':1\n/* c */ ,\n'b':2,\n'c':3\n}", "{\n'a':1\n/* c */ ,\n'c':3\n}" },
        { REMOVE, "c", NULL, "{\n'a':1\n/* c */ ,\n'c':3\n}", "{\n'a':1\n/* c */ \n}" },
        { REMOVE, "l/1", NULL, "{'l':[1, 2, 3]}", "{'l':[1, 3]}" },
        { REMOVE, "a", NULL, "{'a':1,'b':2,'a':3}", "{'b':2}" },
        { REMOVE, "x/y", NULL, "{'a':1}", "{'a':1}" },
        { REMOVE, "a/y", NULL, "{'a':1}", "{'a':1}" },
    };
    check_examples(v, ARRAY_LEN(v));
}
END_TEST

START_TEST(a_name_changes_in_its_place)
{
    static const struct example v[] = {
        { RENAME, "a", "c", "{'a':1,'b':2,'a':3}", "{'b':2,'c':3}" },
        { RENAME, "p/a", "z", "{'p':{ /* x */ 'a' : 1, 'b':2}}", "{'p':{ /* x */ 'z' : 1, 'b':2}}" },
        { RENAME, "p", "a\\b'\xc3\xa9", "{'p':1}", "{'a\\\\b\\'\xc3\xa9':1}" },
    };
    check_examples(v, ARRAY_LEN(v));
}
END_TEST
/* clang-format on */

static const char messy[] =
    "// written by hand\r\n"
    "{\n"
    "\t'$schema': './x.json',   /* kept */\n"
    "  'providers': { // those we pay for\n"
    "\n"
    "      'oa': { 'type':'openai', 'api_key' : '${OPENAI_KEY}' ,'x-note':{'by':'us',},\n"
    "              /* a , in a comment: } */ 'enabled': true }\n"
    "      , 'an' : {\n"
    "          'api_key': 'file:an.key', // rotated monthly\n"
    "          'type': 'anthropic',\n"
    "      } // the second\n"
    "  },\n"
    "  'models': {'a':'oa', 'b': {'provider':'an'}},\n"
    "  'server': { 'port': ${PORT}, 'api_keys': [\n"
    "     {'id':'0a', 'key':'sk-12345678'} // one\n"
    "  ] }\n"
    "}   \n"
    "// the end\n";

START_TEST(one_of_many_edits_is_as_one_alone)
{
    struct arena *a = arena_new();
    static const struct {
        const char *path[3];
        size_t n;
    } places[] = {{{"models", "a"}, 2},
                  {{"models", "b", "provider"}, 3},
                  {{"providers", "oa"}, 2},
                  {{"providers", "an", "type"}, 3},
                  {{"server", "api_keys", "0"}, 3},
                  {{"new", "deep"}, 2}};
    struct str text = text_of(a, messy), alone, among;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct str path[3];
        for (size_t k = 0; k < places[i].n; k++)
            path[k] = str_of(places[i].path[k]);
        ck_assert(jsonc_set(a, text, path, places[i].n, STR("{\"x\":[1]}"), &alone, &e));
        ck_assert(jsonc_put(a, text, path, places[i].n, STR("{\"x\":[1]}"), &among, &e));
        check_str(among, alone);
        ck_assert(jsonc_remove(a, text, path, places[i].n, &alone, &e));
        ck_assert(jsonc_cut(a, text, path, places[i].n, &among, &e));
        check_str(among, alone);
    }
    arena_free(a);
}
END_TEST

START_TEST(what_cannot_be_edited_is_refused)
{
    struct arena *a = arena_new();
    struct str out, path[] = {STR("a"), STR("b")};
    struct err e = ERR_INIT;
    ck_assert(!jsonc_set(a, text_of(a, "{'a':1"), path, 1, STR("2"), &out, &e));
    ck_assert_str_eq(e.code, "invalid_json");
    err_clear(&e);
    ck_assert(!jsonc_set(a, text_of(a, "{'a':1}"), path, 2, STR("2"), &out, &e));
    ck_assert_str_eq(e.code, "not_an_object");
    err_clear(&e);
    ck_assert(!jsonc_set(a, text_of(a, "{'a':[]}"), path, 2, STR("2"), &out, &e));
    ck_assert(!jsonc_set(a, text_of(a, "{}"), path, 1, STR("{"), &out, &e));
    err_clear(&e);
    ck_assert(!jsonc_rename(a, text_of(a, "{'b':1}"), path, 1, STR("c"), &out, &e));
    ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
    arena_free(a);
}
END_TEST

START_TEST(ten_cycles_leave_the_rest_of_a_messy_file_as_it_was)
{
    struct arena *a = arena_new();
    struct str first = text_of(a, messy), t = first, out;
    struct err e = ERR_INIT;
    const struct str url[] = {STR("providers"), STR("oa"), STR("base_url")};
    const struct str third[] = {STR("providers"), STR("third")};
    const struct str enabled[] = {STR("providers"), STR("oa"), STR("enabled")};
    const struct str model[] = {STR("models"), STR("c/d")};
    const struct str an[] = {STR("providers"), STR("an")};
    const struct str an2[] = {STR("providers"), STR("an2")};
    const struct str keys[] = {STR("server"), STR("api_keys"), STR("-")};
    const struct str key1[] = {STR("server"), STR("api_keys"), STR("1")};
    for (int i = 0; i < 10; i++) {
        ck_assert(jsonc_set(a, t, url, 3, STR("\"https://x\""), &t, &e));
        ck_assert(jsonc_set(a, t, enabled, 3, STR("false"), &t, &e));
        ck_assert(jsonc_set(a, t, third, 2, STR("{\"type\":\"echo\"}"), &t, &e));
        ck_assert(jsonc_set(a, t, model, 2, STR("\"oa\""), &t, &e));
        ck_assert(jsonc_rename(a, t, an, 2, STR("an2"), &t, &e));
        ck_assert(jsonc_set(a, t, keys, 3, STR("{\"id\":\"0b\"}"), &t, &e));
        ck_assert(str_contains(t, STR("${PORT}")) && str_contains(t, STR("rotated monthly")));
        ck_assert(jsonc_remove(a, t, key1, 3, &t, &e));
        ck_assert(jsonc_rename(a, t, an2, 2, STR("an"), &t, &e));
        ck_assert(jsonc_remove(a, t, model, 2, &t, &e));
        ck_assert(jsonc_remove(a, t, third, 2, &t, &e));
        ck_assert(jsonc_set(a, t, enabled, 3, STR("true"), &t, &e));
        ck_assert(jsonc_remove(a, t, url, 3, &out, &e));
        t = out;
        check_str(t, first);
    }
    arena_free(a);
}
END_TEST

UNIT_MAIN("jsonc_edit", a_value_is_replaced_where_it_stands, of_what_both_have_nothing_is_touched,
          a_new_member_comes_last_in_the_manner_of_the_others,
          a_member_goes_with_what_is_said_of_it, a_name_changes_in_its_place,
          what_cannot_be_edited_is_refused, one_of_many_edits_is_as_one_alone,
          ten_cycles_leave_the_rest_of_a_messy_file_as_it_was)
