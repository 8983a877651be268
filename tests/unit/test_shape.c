/* Tables that read, check, write and describe structs. JSON is written with ' for ". */
#include "json/shape.h"
#include "unit/unit.h"

enum colour {
    RED = 3,
    GREEN = 7
};
static const struct word colours[] = {{"red", RED}, {"green", GREEN}, {0}};

struct point {
    int32_t x;
    uint32_t y;
};
struct thing {
    struct str name;
    bool is_on;
    int64_t budget;
    double ratio;
    enum colour colour;
    struct strs tags;
    struct point at;
    struct shape_list path;
    yyjson_val *extra;
    struct str id, password;
    int64_t percent;
};
static const struct shape point_shape = SHAPE_STRICT(
    struct point, FIELD(struct point, x, REQUIRED, "Across"), FIELD(struct point, y, 0, "Up"));
static const struct shape thing_shape = SHAPE(
    struct thing, FIELD(struct thing, name, REQUIRED | NOT_EMPTY, "What it is called"),
    FIELD_AS(struct thing, is_on, "on", "enabled", 0, "Whether it works"),
    FIELD(struct thing, budget, NOT_NEGATIVE, "Nano-USD"),
    FIELD(struct thing, ratio, OMIT_EMPTY, "A share"),
    FIELD_ENUM(struct thing, colour, colours, 0, "Its colour"),
    FIELD(struct thing, tags, OMIT_EMPTY, "Words"),
    FIELD_OBJECT(struct thing, at, &point_shape, 0, "Where"),
    FIELD_LIST(struct thing, path, &point_shape, NULL_EMPTY, "Where it was"),
    FIELD(struct thing, extra, OMIT_EMPTY, "Anything"), FIELD(struct thing, id, READ_ONLY, "Ours"),
    FIELD(struct thing, password, WRITE_ONLY, "Theirs"),
    FIELD_RANGE(struct thing, percent, 1, 100, OMIT_EMPTY, "From 1 to 100"));

static const struct shape twice = SHAPE(struct point, FIELD(struct point, x, 0, "A"),
                                        FIELD_AS(struct point, y, "x", NULL, 0, "B"));
static const struct shape silent = SHAPE(struct point, FIELD(struct point, x, 0, ""));
static const struct shape misfit = SHAPE(struct thing,
                                         FIELD_OBJECT(struct thing, name, &point_shape, 0, "A"));

static struct arena *arena;

static void setup(void)
{
    arena = arena_new();
}

static struct str quotes(const char *z)
{
    char *p = arena_alloc(arena, strlen(z) + 1);
    size_t n = 0;
    for (; z[n]; n++)
        p[n] = (char)(z[n] == '\'' ? '"' : z[n]);
    return str_n(p, n);
}

static bool read(const char *z, struct thing *out, uint64_t *present, struct err *e)
{
    yyjson_val *v;
    ck_assert_msg(json_parse(arena, quotes(z), 0, &v, e), "%s: %s", z, e->message);
    return shape_read(&thing_shape, arena, v, out, present, e);
}

static struct str written(const struct thing *t)
{
    struct buf b;
    buf_init_arena(&b, arena, 10000);
    struct jw w = jw_on(&b);
    shape_write(&thing_shape, t, &w);
    return buf_str(&b);
}

START_TEST(reads_every_kind)
{
    setup();
    struct thing t = {.budget = 5, .ratio = 0.25};
    struct err e = ERR_INIT;
    uint64_t present;
    ck_assert_msg(read("{'name':'n','enabled':true,'budget':null,'colour':'green','tags':['a','b'],"
                       "'at':{'x':-1,'y':4294967295},"
                       "'path':[{'x':1},{'x':2e0}],'extra':{'k':[1]},'unknown':1,'id':'mine','"
                       "password':'p','percent':100}",
                       &t, &present, &e),
                  "%s", e.message);
    check_text(t.name, "n");
    ck_assert(t.is_on);
    ck_assert_int_eq(t.budget, 5); /* null leaves the default */
    ck_assert(t.ratio == 0.25);
    ck_assert_int_eq(t.colour, GREEN);
    ck_assert_uint_eq(t.tags.n, 2);
    check_text(t.tags.v[1], "b");
    ck_assert_int_eq(t.at.x, -1);
    ck_assert_uint_eq(t.at.y, 4294967295U);
    ck_assert_uint_eq(t.path.n, 2);
    ck_assert_int_eq(((struct point *)t.path.v)[1].x, 2);
    check_str(json_text(arena, t.extra), quotes("{'k':[1]}"));
    ck_assert_uint_eq(t.id.n, 0); /* read-only */
    check_text(t.password, "p");
    ck_assert_int_eq(t.percent, 100);
    ck_assert_uint_eq(present, 1 | 2 | 16 | 32 | 64 | 128 | 256 | 1024 | 2048);
    arena_free(arena);
}
END_TEST

START_TEST(names_the_field_at_fault)
{
    static const struct {
        const char *in, *field, *message; /* what err says */
    } cases[] = {
        {"[]", "", "The body must be an object"},
        {"{}", "name", "'name' is required"},
        {"{'name':null}", "name", "'name' is required"},
        {"{'name':1}", "name", "'name' must be a string"},
        {"{'name':' '}", "name", "'name' must not be empty"},
        {"{'name':'a\\u0000b'}", "name", "'name' must not contain a NUL character"},
        {"{'name':'n','on':1}", "on", "'on' must be true or false"},
        {"{'name':'n','budget':-1}", "budget", "'budget' must not be negative"},
        {"{'name':'n','budget':1.5}", "budget", "'budget' must be an integer in range"},
        {"{'name':'n','budget':'1'}", "budget", "'budget' must be an integer"},
        {"{'name':'n','budget':9223372036854775808}", "budget",
         "'budget' must be an integer in range"},
        {"{'name':'n','ratio':'x'}", "ratio", "'ratio' must be a number"},
        {"{'name':'n','colour':'blue'}", "colour", "'colour' must be one of: red, green"},
        {"{'name':'n','colour':3}", "colour", "'colour' must be one of: red, green"},
        {"{'name':'n','tags':['a',2]}", "tags[1]", "'tags[1]' must be a string"},
        {"{'name':'n','tags':{}}", "tags", "'tags' must be an array of strings"},
        {"{'name':'n','at':{}}", "at.x", "'at.x' is required"},
        {"{'name':'n','at':{'x':2147483648}}", "at.x",
         "'at.x' must be from -2147483648 to 2147483647"},
        {"{'name':'n','at':{'x':1,'y':-1}}", "at.y", "'at.y' must not be negative"},
        {"{'name':'n','path':[{'x':1},{'x':1,'yy':1}]}", "path[1].yy",
         "'path[1].yy' is not known here; did you mean 'y'?"},
        {"{'name':'n','path':[{'x':1,'nothing':1}]}", "path[0].nothing",
         "'path[0].nothing' is not known here"},
        {"{'name':'n','path':[1]}", "path[0]", "'path[0]' must be an object"},
        {"{'name':'n','on':true,'enabled':true}", "on", "'on' is given twice"},
        {"{'name':'n','name':'m'}", "name", "'name' is given twice"},
        {"{'name':'n','percent':0}", "percent", "'percent' must be from 1 to 100"},
        {"{'name':'n','percent':101}", "percent", "'percent' must be from 1 to 100"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        setup();
        struct thing t = {0};
        struct err e = ERR_INIT;
        ck_assert_msg(!read(cases[i].in, &t, NULL, &e), "%s", cases[i].in);
        ck_assert_int_eq(e.kind, ERR_INPUT);
        ck_assert_str_eq(e.message, cases[i].message);
        ck_assert_str_eq(e.field, cases[i].field);
        arena_free(arena);
    }
}
END_TEST

START_TEST(writes_what_it_reads)
{
    setup();
    struct thing t = {
        .name = STR("n\"1"), .colour = RED, .id = STR("7"), .password = STR("secret")};
    struct thing back = {0};
    struct err e = ERR_INIT;
    check_str(written(&t), quotes("{'name':'n\\\"1','on':false,'budget':0,'colour':'red','at':{'x':"
                                  "0,'y':0},'path':null,'id':'7'}"));
    struct point points[2] = {{1, 2}, {-3, 4}};
    struct str tags[1] = {STR("a")};
    t.path = (struct shape_list){points, 2};
    t.tags = (struct strs){tags, 1};
    t.ratio = 0.1;
    t.budget = 1;
    t.percent = 50;
    struct str text = written(&t);
    check_str(text, quotes("{'name':'n\\\"1','on':false,'budget':1,'ratio':0.1,'colour':'red','"
                           "tags':['a'],'at':{'x':0,'y':0},"
                           "'path':[{'x':1,'y':2},{'x':-3,'y':4}],'id':'7','percent':50}"));
    yyjson_val *v;
    ck_assert(json_parse(arena, text, 0, &v, &e));
    ck_assert(shape_read(&thing_shape, arena, v, &back, NULL, &e));
    back.id = t.id;
    check_str(written(&back), text);
    arena_free(arena);
}
END_TEST

START_TEST(describes_itself)
{
    setup();
    struct buf b;
    buf_init_arena(&b, arena, 10000);
    struct jw w = jw_on(&b);
    shape_schema(&thing_shape, &w);
    check_str(
        buf_str(&b),
        quotes("{'type':'object','properties':{"
               "'name':{'type':'string','description':'What it is called','minLength':1},"
               "'on':{'type':'boolean','description':'Whether it works'},"
               "'budget':{'type':'integer','description':'Nano-USD','minimum':0,'format':'int64'},"
               "'ratio':{'type':'number','description':'A share'},"
               "'colour':{'type':'string','description':'Its colour','enum':['red','green']},"
               "'tags':{'type':'array','description':'Words','items':{'type':'string'}},"
               "'at':{'type':'object','properties':{'x':{'type':'integer','description':'Across','"
               "format':'int32'},"
               "'y':{'type':'integer','description':'Up','minimum':0}},'required':['x'],'"
               "additionalProperties':false,'description':'Where'},"
               "'path':{'type':['array','null'],'description':'Where it "
               "was','items':{'type':'object','properties':{"
               "'x':{'type':'integer','description':'Across','format':'int32'},'y':{'type':'"
               "integer','description':'Up','minimum':0}},"
               "'required':['x'],'additionalProperties':false}},"
               "'extra':{'description':'Anything'},"
               "'id':{'type':'string','description':'Ours','readOnly':true},"
               "'password':{'type':'string','description':'Theirs','writeOnly':true},"
               "'percent':{'type':'integer','description':'From 1 to "
               "100','minimum':1,'maximum':100,'format':'int64'}},"
               "'required':['name']}"));

    buf_init_arena(&b, arena, 10000);
    w = jw_on(&b);
    shape_schema_out(&point_shape, &w);
    ck_assert(str_contains(buf_str(&b), quotes("'required':['x','y']")));
    buf_init_arena(&b, arena, 10000);
    w = jw_on(&b);
    shape_schema_out(&thing_shape, &w); /* what may be left out or is never shown is not promised */
    ck_assert(str_contains(buf_str(&b),
                           quotes("'required':['name','on','budget','colour','at','path','id']")));
    arena_free(arena);
}
END_TEST

static struct str given_text(void *arg, struct arena *a, const char *name)
{
    (void)a;
    for (const char *const *p = arg; *p; p += 2)
        if (strcmp(p[0], name) == 0)
            return str_of(p[1]);
    return STR_NONE;
}

START_TEST(texts_are_read_as_their_fields_take_them)
{
    const char *all[] = {"name", "a=b",    "enabled", "1",       "budget", "900", "tags",
                         "x, y", "colour", "green",   "percent", "7",      NULL};
    struct thing t = {.ratio = 2};
    uint64_t present;
    struct err e = ERR_INIT;
    setup();
    ck_assert_msg(shape_read_texts(&thing_shape, arena, given_text, all, &t, &present, &e), "%s",
                  e.message);
    check_text(t.name, "a=b");
    ck_assert(t.is_on && t.budget == 900 && t.percent == 7 && t.colour == GREEN);
    ck_assert_uint_eq(t.tags.n, 2);
    check_text(t.tags.v[1], "y");
    ck_assert(t.ratio > 1.9); /* absent: as it was */
    ck_assert_uint_eq(present & 15u, 7u);

    static const struct {
        const char *pair[5], *wrong;
    } bad[] = {
        {{"name", "n", "percent", "101", NULL}, "percent"},
        {{"name", "n", "percent", "ten", NULL}, "percent"},
        {{"name", "n", "on", "yes", NULL}, "on"},
        {{"name", "", NULL}, "name"},
        {{"budget", "1", NULL}, "name"},
        {{"name", "n", "colour", "plaid", NULL}, "colour"},
        {{"name", "n", "budget", "-1", NULL}, "budget"},
        {{"name", "n", "budget", "1}", NULL}, "budget"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *pairs[5];
        memcpy(pairs, bad[i].pair, sizeof pairs);
        e = (struct err)ERR_INIT;
        ck_assert_msg(!shape_read_texts(&thing_shape, arena, given_text, pairs, &t, NULL, &e), "%s",
                      bad[i].wrong);
        ck_assert_str_eq(e.field, bad[i].wrong);
    }
    arena_free(arena);
}
END_TEST

struct measured {
    struct str name;
    int64_t n;
};
static const struct shape measured_shape = SHAPE(
    struct measured, FIELD_TEXT(struct measured, name, 1, 4, TRIM, "A short one"),
    FIELD_RANGE(struct measured, n, 1, 9, COERCE, "A digit"));

START_TEST(texts_are_trimmed_and_measured_in_characters)
{
    static const struct {
        const char *json, *fault;
        const char *name;
        int n;
    } cases[] = {
        {"{'name':'  ab ','n':'7'}", NULL, "ab", 7},
        {"{'name':'\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9'}", NULL, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
         0},
        {"{'name':'abcde'}", "'name' must have 1 to 4 characters", "", 0},
        {"{'name':'   '}", "'name' must not be empty", "", 0},
        {"{'name':'a','n':'10'}", "'n' must be from 1 to 9", "", 0},
        {"{'name':'a','n':'x'}", "'n' must be an integer", "", 0},
    };
    setup();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct measured out = {.n = 0};
        struct err e = ERR_INIT;
        yyjson_val *v;
        ck_assert(json_parse(arena, quotes(cases[i].json), 0, &v, &e));
        bool ok = shape_read(&measured_shape, arena, v, &out, NULL, &e);
        ck_assert_msg(ok == !cases[i].fault, "%s", cases[i].json);
        ck_assert_str_eq(e.message, cases[i].fault ? cases[i].fault : "");
        if (ok) {
            ck_assert_msg(str_eq(out.name, str_of(cases[i].name)), "%s", cases[i].json);
            ck_assert_int_eq(out.n, cases[i].n);
        }
    }
    arena_free(arena);
}
END_TEST

START_TEST(mistakes_in_a_table_are_found)
{
    setup();
    check_str(shape_check(&thing_shape, arena), STR_NONE);
    check_text(shape_check(&twice, arena), "struct point.x is there twice");
    check_text(shape_check(&silent, arena), "struct point.x has no sentence");
    check_text(shape_check(&misfit, arena), "struct thing.name is of another shape");
    arena_free(arena);
}
END_TEST

UNIT_MAIN("shape", reads_every_kind, names_the_field_at_fault, writes_what_it_reads,
          describes_itself, texts_are_read_as_their_fields_take_them,
          texts_are_trimmed_and_measured_in_characters, mistakes_in_a_table_are_found)
