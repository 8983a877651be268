/* JSON Schemas as targets take them. JSON is written with ' for ". */
#include "wire/schema.h"
#include "unit/unit.h"

static struct arena *arena;

static struct str quotes(const char *z)
{
    char *p = arena_alloc(arena, strlen(z) + 1);
    size_t n = 0;
    for (; z[n]; n++)
        p[n] = (char)(z[n] == '\'' ? '"' : z[n]);
    return str_n(p, n);
}

static yyjson_val *json(const char *z)
{
    yyjson_val *v;
    struct err e = ERR_INIT;
    ck_assert_msg(json_parse(arena, quotes(z), 0, &v, &e), "%s: %s", z, e.message);
    return v;
}

struct schema_case {
    unsigned flags;
    const char *in, *out; /* out NULL: to be left out */
};

static void run(enum schema_profile profile, const struct schema_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        arena = arena_new();
        struct str got = schema_clean_text(arena, json(cases[i].in), profile, cases[i].flags);
        struct str want = cases[i].out ? quotes(cases[i].out) : STR_NONE;
        ck_assert_msg(str_eq(got, want), "%s\nexpected " STR_FMT "\ngot      " STR_FMT, cases[i].in,
                      STR_ARG(want), STR_ARG(got));
        arena_free(arena);
    }
}

START_TEST(keep_changes_nothing)
{
    static const struct schema_case cases[] = {
        {0,
         "{'$schema':'x','type':'object','properties':{'a':{'minLength':'1','$ref':'#/$defs/"
         "b'}},'n':1.50e2}",
         "{'$schema':'x','type':'object','properties':{'a':{'minLength':'1','$ref':'#/$defs/"
         "b'}},'n':1.50e2}"},
        {0, "{}", "{}"},
        {0, "true", NULL},
        {0, "[]", NULL},
        {0, "null", NULL},
    };
    run(SCHEMA_KEEP, cases, ARRAY_LEN(cases));
}
END_TEST

START_TEST(meta_keywords_go_but_properties_of_that_name_stay)
{
    static const struct schema_case cases[] = {
        {0,
         "{'$schema':'s','$id':'i','$comment':'c','$anchor':'a','$dynamicAnchor':'d','$dynamicRef':"
         "'#d','type':'object',"
         "'properties':{'$id':{'type':'string'},'const':{'const':1},'$comment':{'$comment':'gone'}}"
         ",'required':['const','$id']}",
         "{'type':'object','properties':{'$id':{'type':'string'},'const':{'const':1},'$comment':{}}"
         ",'required':['const','$id']}"},
        /* data is not a schema */
        {0,
         "{'type':'object','properties':{},'default':{'$schema':'kept'},'enum':[{'$id':1}],'const':"
         "{'$id':2},'examples':[{'$comment':'x'}]}",
         "{'type':'object','properties':{},'default':{'$schema':'kept'},'enum':[{'$id':1}],'const':"
         "{'$id':2},'examples':[{'$comment':'x'}]}"},
        /* in every place where a schema may stand */
        {0,
         "{'items':{'$id':1},'prefixItems':[{'$id':1},true],'anyOf':[{'$id':1}],'"
         "additionalProperties':{'$id':1},'not':{'$id':1},"
         "'if':{'$id':1},'patternProperties':{'$id':{'$id':1}},'$defs':{'$id':{'$id':1}},'"
         "dependencies':{'a':['b'],'c':{'$id':1}}}",
         "{'items':{},'prefixItems':[{},true],'anyOf':[{}],'additionalProperties':{},'not':{},'if':"
         "{},'patternProperties':{'$id':{}},"
         "'$defs':{'$id':{}},'dependencies':{'a':['b'],'c':{}}}"},
        {0, "{'type':'string','minLength':'1','maximum':'1.5','maxItems':'many','pattern':'2'}",
         "{'type':'string','minLength':1,'maximum':1.5,'maxItems':'many','pattern':'2'}"},
        {0, "{'ref':1}", "{'ref':1}"},
        {SCHEMA_DROP_REF_NAME, "{'ref':1,'properties':{'ref':{}}}", "{'properties':{'ref':{}}}"},
        {0,
         "{'type':['string','null'],'oneOf':[{'const':null}],'allOf':[{'required':['x']}],'"
         "additionalProperties':false}",
         "{'type':['string','null'],'oneOf':[{'const':null}],'allOf':[{'required':['x']}],'"
         "additionalProperties':false}"},
        {0, "{'type':'object'}", "{'type':'object','properties':{}}"},
        {0, "{'type':'array'}", "{'type':'array'}"},
        {SCHEMA_ADD_ITEMS, "{'type':'array'}", "{'type':'array','items':{'type':'string'}}"},
        {0, "{'$ref':'#/$defs/a','$defs':{'a':{'type':'string'}}}",
         "{'$ref':'#/$defs/a','$defs':{'a':{'type':'string'}}}"},
    };
    run(SCHEMA_OPENAI, cases, ARRAY_LEN(cases));
}
END_TEST

START_TEST(anthropic_wants_an_object_at_the_top)
{
    static const struct schema_case cases[] = {
        {0, "{}", "{'type':'object','properties':{}}"},
        {0, "{'properties':{'a':{'type':'object'}}}",
         "{'properties':{'a':{'type':'object'}},'type':'object'}"},
        {0, "{'type':'object'}", "{'type':'object','properties':{}}"},
        {0, "{'type':'object','properties':{}}", "{'type':'object','properties':{}}"},
        {SCHEMA_INLINE_REFS,
         "{'$ref':'#/definitions/a','definitions':{'a':{'type':'object','properties':{'x':{}}}}}",
         "{'type':'object','properties':{'x':{}}}"},
        {SCHEMA_INLINE_REFS, "{'$ref':'#/definitions/none'}", "{'type':'object','properties':{}}"},
        {SCHEMA_INLINE_REFS, "{'$ref':'#/definitions/a','definitions':{'a':{'type':'object'}}}",
         "{'type':'object','properties':{}}"},
        {SCHEMA_INLINE_REFS, "{'$ref':'#/$defs/a','$defs':{'a':{'$ref':'#/$defs/a'}}}",
         "{'type':'object','properties':{}}"},
    };
    run(SCHEMA_ANTHROPIC, cases, ARRAY_LEN(cases));
}
END_TEST

START_TEST(references_are_inlined_and_circles_end)
{
    static const struct schema_case cases[] = {
        {SCHEMA_INLINE_REFS,
         "{'type':'object','properties':{'a':{'$ref':'#/$defs/a~1b%20c','description':'mine'}},"
         "'$defs':{'a/b c':{'type':'integer','description':'its','minimum':0}}}",
         "{'type':'object','properties':{'a':{'type':'integer','minimum':0,'description':'mine'}}"
         "}"},
        {SCHEMA_INLINE_REFS,
         "{'properties':{'n':{'$ref':'#/$defs/"
         "node'}},'$defs':{'node':{'type':'object','properties':{'next':{'$ref':'#/$defs/"
         "node'},'$ref':{'type':'string'}}}}}",
         "{'properties':{'n':{'type':'object','properties':{'next':{'type':'object'},'$ref':{'type'"
         ":'string'}}}}}"},
        {SCHEMA_INLINE_REFS, "{'properties':{'me':{'$ref':'#'}}}",
         "{'properties':{'me':{'properties':{'me':{'type':'object'}}}}}"},
        {SCHEMA_INLINE_REFS,
         "{'$ref':'#/$defs/a','description':'0','$defs':{'a':{'$ref':'#/$defs/"
         "b','title':'1','description':'1'},'b':{'type':'string','title':'2','description':'2','"
         "format':'2'}}}",
         "{'type':'string','format':'2','title':'1','description':'0'}"},
        {SCHEMA_INLINE_REFS, "{'items':{'$ref':'http://elsewhere'}}",
         "{'items':{'type':'object'}}"},
    };
    run(SCHEMA_OPENAI, cases, ARRAY_LEN(cases));
}
END_TEST

START_TEST(gemini_gets_its_own_dialect)
{
    static const struct schema_case cases[] = {
        {0, "{}", NULL},
        {0, "{'type':'object'}", NULL},
        {0, "{'type':'object','properties':{},'additionalProperties':false}", NULL},
        {SCHEMA_NEEDS_PROPERTY, "{'type':'object'}",
         "{'type':'object','properties':{'reason':{'type':'string','description':'Why this is "
         "called'}},'required':['reason']}"},
        /* a property called like a keyword stays, and stays required */
        {0,
         "{'type':'object','properties':{'const':{'type':'string'},'not':{'type':'string'},'title':"
         "{'type':'string'}},'required':['const','not','gone']}",
         "{'type':'object','properties':{'const':{'type':'string'},'not':{'type':'string'},'title':"
         "{'type':'string'}},'required':['const','not']}"},
        {0, "{'type':'object','properties':{'a':{'type':'string'}},'required':['gone']}",
         "{'type':'object','properties':{'a':{'type':'string'}}}"},
        {0,
         "{'type':'object','properties':{'a':{'const':'x'},'b':{'const':7},'c':{'const':true},'d':{"
         "'const':null}}}",
         "{'type':'object','properties':{'a':{'type':'string','enum':['x']},'b':{'type':'integer','"
         "minimum':7,'maximum':7},"
         "'c':{'type':'boolean'},'d':{'type':'string','nullable':true}}}"},
        {0, "{'type':['string','null'],'description':'d'}",
         "{'type':'string','description':'d','nullable':true}"},
        {0, "{'type':['string','integer','null']}",
         "{'nullable':true,'anyOf':[{'type':'string'},{'type':'integer'}]}"},
        {SCHEMA_NO_ANY_OF, "{'type':['string','array']}",
         "{'type':'array','items':{'type':'string'}}"},
        {0, "{'anyOf':[{'type':'integer','minimum':1},{'type':'null'}],'description':'d'}",
         "{'type':'integer','description':'d','minimum':1,'nullable':true}"},
        {0, "{'oneOf':[{'type':'string'},{'type':'array'},{'type':'null'}]}",
         "{'nullable':true,'anyOf':[{'type':'string'},{'type':'array','items':{'type':'string'}}]"
         "}"},
        {SCHEMA_NO_ANY_OF,
         "{'oneOf':[{'type':'string'},{'properties':{'a':{'type':'string'}}},{'type':'array'}]}",
         "{'type':'object','properties':{'a':{'type':'string'}}}"},
        {0,
         "{'allOf':[{'properties':{'a':{'type':'string'}},'required':['a']},{'properties':{'b':{'"
         "type':'number'}},'required':['b','a']}]}",
         "{'type':'object','properties':{'a':{'type':'string'},'b':{'type':'number'}},'required':['"
         "a','b']}"},
        /* variants beside properties become optional properties */
        {0,
         "{'properties':{'k':{'type':'string'}},'required':['k'],'oneOf':[{'properties':{'b':{'"
         "type':'number'}},'required':['b']},{'required':['c']}]}",
         "{'type':'object','properties':{'k':{'type':'string'},'b':{'type':'number'}},'required':['"
         "k']}"},
        {0, "{'type':'string','enum':['a','',null,2,2.50,true]}",
         "{'type':'string','nullable':true,'enum':['a','2','2.50','true']}"},
        {0, "{'type':'integer','enum':[1,2]}", "{'type':'integer'}"},
        {0, "{'enum':[1,2.5]}", "{'type':'number'}"},
        {0, "{'enum':['']}", "{'type':'string'}"},
        {0,
         "{'type':'string','minLength':'1','maxLength':5,'pattern':'^a','minimum':'no','format':'"
         "email','exclusiveMinimum':1,'uniqueItems':true,'default':'d','title':'t','examples':[1],'"
         "deprecated':true,'strict':true,'optional':false}",
         "{'type':'string','title':'t','pattern':'^a','minLength':1,'maxLength':5,'default':'d'}"},
        {SCHEMA_OLD_GEMINI | SCHEMA_NO_LIMITS,
         "{'type':'string','minLength':1,'pattern':'^a','default':'d','title':'t','format':'date-"
         "time'}",
         "{'type':'string','format':'date-time'}"},
        {0, "{'type':'array','items':[{'type':'integer'},{'type':'string'}]}",
         "{'type':'array','items':{'type':'integer'}}"},
        {0, "{'type':'array','prefixItems':[{'type':'integer'}]}",
         "{'type':'array','items':{'type':'integer'}}"},
        {0, "{'type':'array','items':true}", "{'type':'array','items':{'type':'string'}}"},
        {0, "{'properties':{'a':true,'b':{},'c':{'description':'any'}}}",
         "{'type':'object','properties':{'a':{'type':'string'},'b':{'type':'string'},'c':{'type':'"
         "string','description':'any'}}}"},
        {0,
         "{'type':'OBJECT','properties':{'a':{'type':'STRING','nullable':true},'b':{'type':'NULL'}}"
         ",'propertyOrdering':['b','x','a']}",
         "{'type':'OBJECT','properties':{'a':{'type':'STRING','nullable':true},'b':{'type':'string'"
         ",'nullable':true}},'propertyOrdering':['b','a']}"},
        {0,
         "{'type':'object','properties':{'tree':{'$ref':'#/$defs/"
         "t'}},'$defs':{'t':{'type':'object','properties':{'kids':{'type':'array','items':{'$ref':'"
         "#/$defs/t'}},'v':{'$ref':'#/$defs/v'}}},'v':{'type':'number'}}}",
         "{'type':'object','properties':{'tree':{'type':'object','properties':{'kids':{'type':'"
         "array','items':{'type':'object'}},'v':{'type':'number'}}}}}"},
        {0,
         "{'properties':{'a':{'$ref':'#/$defs/v','description':'mine'},'b':{'$ref':'#/$defs/"
         "v'}},'$defs':{'v':{'type':'number','description':'its'}}}",
         "{'type':'object','properties':{'a':{'type':'number','description':'mine'},'b':{'type':'"
         "number','description':'its'}}}"},
        {0,
         "{'anyOf':[{'$ref':'#/$defs/"
         "v'},{'type':'null'}],'$defs':{'v':{'properties':{'x':{'type':'string'}}}}}",
         "{'type':'object','nullable':true,'properties':{'x':{'type':'string'}}}"},
        {0, "{'properties':{'a':{'$ref':'#/nowhere'}}}",
         "{'type':'object','properties':{'a':{'type':'object'}}}"},
        {0,
         "{'properties':{'a':{'allOf':[{'$ref':'#/$defs/v'},{'$ref':'#/$defs/"
         "w'}]}},'$defs':{'v':{'type':'string'},'w':{'description':'w'}}}",
         "{'type':'object','properties':{'a':{'type':'string','description':'w'}}}"},
    };
    run(SCHEMA_GEMINI, cases, ARRAY_LEN(cases));
}
END_TEST

START_TEST(gemini_json_schema_keeps_what_it_can)
{
    static const struct schema_case cases[] = {
        {0,
         "{'$schema':'s','$id':'i','type':'object','properties':{'a':{'const':1,'minLength':'2'}},'"
         "required':['a','b'],'additionalProperties':false}",
         "{'$id':'i','type':'object','properties':{'a':{'const':1,'minLength':2}},'required':['a'],"
         "'additionalProperties':false}"},
        {0, "{'type':'object','properties':{'a':{}},'required':['b']}",
         "{'type':'object','properties':{'a':{}}}"},
        {0,
         "{'$ref':'#/$defs/a','$defs':{'a':{'properties':{'b':{'$ref':'#/$defs/"
         "b'}}},'b':{'type':'string'}}}",
         "{'$ref':'#/$defs/a','$defs':{'a':{'properties':{'b':{'$ref':'#/$defs/"
         "b'}}},'b':{'type':'string'}}}"},
        {0,
         "{'$ref':'#/$defs/a','$defs':{'a':{'properties':{'b':{'$ref':'#/$defs/"
         "b'}}},'b':{'items':{'$ref':'#/$defs/a'}}}}",
         "{'$ref':'#/$defs/"
         "a','$defs':{'a':{'properties':{'b':{'type':'object'}}},'b':{'items':{'type':'object'}}}"
         "}"},
        {0, "{'properties':{'me':{'$ref':'#'}}}", "{'properties':{'me':{'type':'object'}}}"},
    };
    run(SCHEMA_GEMINI_JSON, cases, ARRAY_LEN(cases));
}
END_TEST

START_TEST(google_dialect_becomes_json_schema)
{
    static const struct schema_case cases[] = {
        {0,
         "{'type':'OBJECT','properties':{'type':{'type':'STRING','nullable':true},'nullable':{'"
         "type':'BOOLEAN','nullable':false}},'propertyOrdering':['type'],'required':['type']}",
         "{'type':'object','properties':{'type':{'type':['string','null']},'nullable':{'type':'"
         "boolean'}},'required':['type']}"},
        {0, "{'type':'STRING','nullable':true,'enum':['a','b'],'format':'enum'}",
         "{'type':['string','null'],'enum':['a','b',null]}"},
        {0, "{'type':'STRING','example':'x'}", "{'type':'string','examples':['x']}"},
        {0, "{'type':'STRING','example':'x','examples':['y']}",
         "{'type':'string','examples':['y']}"},
        {0, "{'anyOf':[{'type':'INTEGER'},{'type':'STRING'}],'nullable':true}",
         "{'anyOf':[{'type':'integer'},{'type':'string'},{'type':'null'}]}"},
        {0, "{'type':'ARRAY','items':{'type':'NUMBER','minimum':1},'minItems':'2','maxItems':'10'}",
         "{'type':'array','items':{'type':'number','minimum':1},'minItems':2,'maxItems':10}"},
        {0, "{'type':'TYPE_UNSPECIFIED','description':'d'}", "{'description':'d'}"},
        {0, "{'type':'object','properties':{'a':{'type':'string'}},'additionalProperties':false}",
         "{'type':'object','properties':{'a':{'type':'string'}},'additionalProperties':false}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        arena = arena_new();
        check_str(schema_from_gemini_text(arena, json(cases[i].in)), quotes(cases[i].out));
        arena_free(arena);
    }
    arena = arena_new();
    check_str(schema_from_gemini_text(arena, json("[]")), STR_NONE);
    check_str(schema_from_gemini_text(arena, NULL), STR_NONE);
    arena_free(arena);
}
END_TEST

/* Each definition refers twice to the next: eight lines that mean a schema of any size. */
START_TEST(a_reference_bomb_stays_small)
{
    arena = arena_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_lit(&b, "{'$ref':'#/$defs/d0','$defs':{");
    for (int i = 0; i < 40; i++)
        buf_fmt(&b,
                "%s'd%d':{'type':'object','properties':{'a':{'$ref':'#/$defs/d%d'},'b':{'$ref':'#/"
                "$defs/d%d'},'c':{'$ref':'#/$defs/d%d'},'d':{'$ref':'#/$defs/d%d'},'e':{'$ref':'#/"
                "$defs/d%d'},'f':{'$ref':'#/$defs/d%d'},'g':{'$ref':'#/$defs/d%d'},'h':{'$ref':'#/"
                "$defs/d%d'}}}",
                i ? "," : "", i, i + 1, i + 1, i + 1, i + 1, i + 1, i + 1, i + 1, i + 1);
    buf_lit(&b, "}}");
    buf_char(&b, 0);
    yyjson_val *v = json(b.p), *back;
    struct err e = ERR_INIT;
    for (int profile = SCHEMA_OPENAI; profile <= SCHEMA_GEMINI_JSON; profile++) {
        struct str got = schema_clean_text(arena, v, (enum schema_profile)profile,
                                           SCHEMA_INLINE_REFS);
        ck_assert(got.n > 0 && got.n < (16 << 20));
        ck_assert(json_parse(arena, got, 256, &back, &e));
    }
    buf_done(&b);
    arena_free(arena);
}
END_TEST

START_TEST(a_schema_of_the_greatest_depth_is_written)
{
    arena = arena_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 63; i++)
        buf_lit(&b, "{\"properties\":{\"a\":");
    buf_lit(&b, "{\"type\":\"string\"}");
    for (int i = 0; i < 63; i++)
        buf_lit(&b, "}}");
    yyjson_val *v, *back;
    struct err e = ERR_INIT;
    ck_assert_msg(json_parse(arena, buf_str(&b), 128, &v, &e), "%s", e.message);
    for (int profile = SCHEMA_KEEP; profile <= SCHEMA_GEMINI_JSON; profile++) {
        struct str got = schema_clean_text(arena, v, (enum schema_profile)profile, 0);
        ck_assert_msg(json_parse(arena, got, 256, &back, &e), "%d: %s", profile, e.message);
    }
    buf_done(&b);
    arena_free(arena);
}
END_TEST

UNIT_MAIN("schema", keep_changes_nothing, meta_keywords_go_but_properties_of_that_name_stay,
          anthropic_wants_an_object_at_the_top, references_are_inlined_and_circles_end,
          gemini_gets_its_own_dialect, gemini_json_schema_keeps_what_it_can,
          google_dialect_becomes_json_schema, a_reference_bomb_stays_small,
          a_schema_of_the_greatest_depth_is_written)
