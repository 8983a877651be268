/* Kinds that operators make: what is refused, where their requests go, and which providers a name leads to. JSON is written with ' for ". */
#include "base/codec.h"
#include "domain/custom_kind.h"
#include "unit/unit.h"

static struct arena *arena;

static bool read_kind(const char *z, struct custom_kind *k, struct err *e)
{
    char *p = arena_alloc(arena, strlen(z) + 1);
    size_t n = 0;
    yyjson_val *v;
    for (; z[n]; n++)
        p[n] = z[n] == '\'' ? '"' : z[n];
    ck_assert(json_parse(arena, str_n(p, n), 0, &v, e));
    return custom_kind_read(arena, STR("own"), v, k, e);
}

#define URL "'base_url':'https://h/v1'"
START_TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *json, *field;
    } cases[] = {
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'chat'," URL "}", ""},
        {"{'title':'T','prefix':'p','base':'anthropic-compatible'," URL "}", ""},
        {"{'title':'','prefix':'p','base':'openai-compatible','api':'chat'," URL "}", "title"},
        {"{'title':'T','prefix':'a b','base':'openai-compatible','api':'chat'," URL "}", "prefix"},
        {"{'title':'T','prefix':'a/b','base':'openai-compatible','api':'chat'," URL "}", "prefix"},
        {"{'title':'T','base':'openai-compatible','api':'chat'," URL "}", "prefix"},
        {"{'title':'T','prefix':'p','base':'soap','api':'chat'," URL "}", "base"},
        {"{'title':'T','prefix':'p','base':'openai-compatible'," URL "}", "api"},
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'chat','base_url':'h'}",
         "base_url"},
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'chat','chat_path':'x'," URL
         "}",
         "chat_path"},
        {"{'title':1,'prefix':'p','base':'openai-compatible','api':'chat'," URL "}", "title"},
    };
    arena = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct custom_kind k;
        struct err e = ERR_INIT;
        ck_assert_msg(read_kind(cases[i].json, &k, &e) == !cases[i].field[0], "%s", cases[i].json);
        ck_assert_str_eq(e.field, cases[i].field);
    }
    arena_free(arena);
}
END_TEST

START_TEST(its_requests_go_where_it_says)
{
    static const struct {
        const char *json;
        enum op op;
        const char *path, *base_url;
    } cases[] = {
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'chat','base_url':'https://h/"
         "v1/'}",
         OP_CHAT, "chat/completions", "https://h/v1"},
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'chat','chat_path':'/c'," URL
         "}",
         OP_CHAT, "/c", "https://h/v1"},
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'responses'," URL "}",
         OP_RESPONSES, "responses", "https://h/v1"},
        {"{'title':'T','prefix':'p','base':'openai-compatible','api':'chat','models_path':'/m'," URL
         "}",
         OP_MODELS, "/m", "https://h/v1"},
        {"{'title':'T','prefix':'p','base':'anthropic-compatible','base_url':'https://h/v1/"
         "messages/'}",
         OP_MESSAGES, "messages", "https://h/v1"},
        {"{'title':'T','prefix':'p','base':'anthropic-compatible'," URL "}", OP_MODELS, "models",
         "https://h/v1"},
    };
    arena = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct custom_kind k;
        struct err e = ERR_INIT;
        ck_assert_msg(read_kind(cases[i].json, &k, &e), "%s", e.message);
        ck_assert_str_eq(provider_kind_path(&k.kind, cases[i].op), cases[i].path);
        ck_assert_str_eq(k.kind.base_url, cases[i].base_url);
        ck_assert_str_eq(k.kind.id, "own");
    }
    arena_free(arena);
}
END_TEST

START_TEST(names_lead_to_all_of_a_kind_by_priority)
{
    struct custom_kind k;
    struct err e = ERR_INIT;
    arena = arena_new();
    ck_assert(read_kind(
        "{'title':'T','prefix':'p','base':'openai-compatible','api':'chat'," URL "}", &k, &e));
    const struct provider_kind *google = provider_kind_find(STR("google"));
    struct upstream v[] = {{.name = STR("a"), .kind = &k.kind, .is_enabled = true, .priority = 2},
                           {.name = STR("b"), .kind = &k.kind, .is_enabled = true, .priority = 1},
                           {.name = STR("c"), .kind = &k.kind, .is_enabled = false},
                           {.name = STR("g"), .kind = google, .is_enabled = true}};
    struct upstream *list[] = {&v[0], &v[1], &v[2], &v[3]};
    struct custom_kind *kinds[] = {&k};
    struct snapshot s = {.upstreams = list, .n_upstreams = 4, .kinds = kinds, .n_kinds = 1};
    static const struct {
        const char *head, *names;
    } cases[] = {{"p", "ba"},     {"own", "ba"}, {"google", "g"},
                 {"gemini", "g"}, {"a", ""},     {"x", ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct upstream **found;
        char names[8] = "";
        size_t n = pool_find(&s, arena, str_of(cases[i].head), &found);
        for (size_t j = 0; j < n; j++)
            names[j] = found[j]->name.p[0];
        ck_assert_msg(strcmp(names, cases[i].names) == 0, "%s: %s", cases[i].head, names);
    }
    arena_free(arena);
}
END_TEST

START_TEST(uuids)
{
    arena = arena_new();
    struct str one = uuid_of(arena, STR("a")), other = uuid_of(arena, STR("b")),
               made = random_uuid(arena);
    ck_assert(str_eq(one, uuid_of(arena, STR("a"))) && !str_eq(one, other));
    ck_assert_uint_eq(one.n, 36);
    ck_assert(one.p[14] == '8' && made.p[14] == '4' && made.n == 36);
    ck_assert_ptr_nonnull(strchr("89ab", one.p[19]));
    ck_assert_ptr_nonnull(strchr("89ab", made.p[19]));
    ck_assert(!str_eq(made, random_uuid(arena)));
    arena_free(arena);
}
END_TEST

UNIT_MAIN("custom_kind", what_is_wrong_is_named, its_requests_go_where_it_says,
          names_lead_to_all_of_a_kind_by_priority, uuids)
