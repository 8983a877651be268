/* The configuration file: what it may hold, and where its faults are said to be. */
#include "state_kit.h"
#include "json/jsonc_place.h"
#include "domain/noun.h"
#include "domain/setting.h"
#include <stdio.h>
#include <unistd.h>

START_TEST(reads_a_file_of_llm_rosetta_as_it_is)
{
    (void)setenv("TEST_KEY", "k1,k2", 1);
    (void)setenv("TEST_PORT", "4567", 1);
    struct snapshot *s = state_load(
        "// the gateway\n"
        "{ 'providers': { /* two */ 'oa': "
        "{'type':'openai_chat','api_key':'${TEST_KEY}','base_url':'https://api.openai.com/v1/'},\n"
        "  'an': "
        "{'api_key':'k','base_url':'https://api.anthropic.com','shim':'anthropic','proxy':'socks5:/"
        "/u:p@h:1'},\n"
        "  'google': {'api_key':'k'}, 'gone': {'type':'anthropic','api_key':'k','enabled':false} "
        "},\n"
        "  'models': { 'a':'oa', 'b': "
        "{'provider':'an','capabilities':['text','vision'],'upstream_model':'x'}, 'c':'gone', "
        "'d':'missing' },\n"
        "  'server': { 'host':'0.0.0.0', 'port':${TEST_PORT}, 'proxy':'http://p:8080', "
        "'api_key':'legacy-0123456', 'admin_password':'x',\n"
        "              'credential_visible': false },\n"
        "  'debug': { 'verbose': true, 'log_bodies': false } }");
    const struct upstream *oa = snapshot_upstream(s, STR("oa")),
                          *an = snapshot_upstream(s, STR("an"));
    ck_assert_uint_eq(oa->n_keys, 2);
    check_text(secret_reveal(oa->keys[1]), "k2");
    check_text(oa->base_path, "/v1");
    /* at the vendor's own address: with its quirks, but only this format */
    ck_assert_str_eq(oa->kind->id, "openai");
    ck_assert(oa->wires[0] == WIRE_CHAT && oa->wires[1] == WIRE_NONE);
    check_text(oa->origin.host, "api.openai.com");
    ck_assert(oa->origin.is_tls && !oa->origin.allow_private);
    check_text(oa->origin.proxy, "http://p:8080");
    check_text(an->origin.proxy, "socks5://u:p@h:1");
    ck_assert_int_eq(an->wires[0], WIRE_ANTHROPIC);
    /* its name is its type */
    check_text(snapshot_upstream(s, STR("google"))->origin.host,
               "generativelanguage.googleapis.com");
    check_text(snapshot_model(s, STR("b"))->targets[0].model, "x");
    ck_assert_uint_eq(snapshot_model(s, STR("b"))->capabilities, CAP_TEXT | CAP_VISION);
    ck_assert_ptr_null(snapshot_model(s, STR("c")));
    ck_assert_ptr_null(snapshot_model(s, STR("d")));
    check_text(snapshot_key(s, STR("legacy-0123456"))->id, "default");
    ck_assert_int_eq(s->settings.port, 4567);
    check_text(s->settings.log_level, "debug");
    snapshot_unref(s);
}
END_TEST

START_TEST(models_have_targets_in_order)
{
    struct snapshot *s = state_load(
        "{'providers':{'a':{'type':'ollama'},'b':{'type':'vllm','base_url':'http://gpu:8000/v1'}},"
        "'models':{'m':{'targets':[{'provider':'b','upstream_model':'x'},'a'],'context_tokens':9}}"
        "}");
    const struct model *m = snapshot_model(s, STR("m"));
    ck_assert_uint_eq(m->n_targets, 2);
    check_text(m->targets[0].model, "x");
    check_text(m->targets[1].model, "m");
    ck_assert_int_eq(m->context_tokens, 9);
    ck_assert_int_eq(m->max_output_tokens, -1);
    snapshot_unref(s);
}
END_TEST

START_TEST(private_addresses_only_where_they_were_meant)
{
    static const struct {
        const char *url;
        bool is_private;
    } cases[] = {
        {"http://127.0.0.1:1", true},
        {"http://10.1.2.3", true},
        {"http://[::1]:8", true},
        {"http://localhost", true},
        {"http://gpu:8000", true},
        {"http://nas.local", true},
        {"http://8.8.8.8", false},
        {"https://api.example.com", false},
        {"https://[2606:4700::1111]", false},
        {"http://169.254.169.254", true},
        {"https://10.example.com", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "{'providers':{'p':{'type':'openai-compatible','base_url':'%s'}}}",
                       cases[i].url);
        struct snapshot *s = state_load(text);
        ck_assert_msg(snapshot_upstream(s, STR("p"))->origin.allow_private == cases[i].is_private,
                      "%s", cases[i].url);
        snapshot_unref(s);
    }
}
END_TEST

START_TEST(faults_are_said_with_their_place)
{
    struct arena *a = arena_new();
    (void)unsetenv("NOT_SET");
    static const struct {
        const char *text, *start, *part;
    } cases[] = {
        {"{\n  'providers': {\n    'oa': { 'type': 'opnai' } } }",
         "sluice.jsonc:3:", "did you mean 'openai'"},
        {"{\n 'providers': { 'oa': {\n  'type': 'openai', 'base_url': '${NOT_SET}' } } }",
         "sluice.jsonc:3:33: ", "NOT_SET"},
        {"{\n 'server': {\n  'port': ${NOT_SET} } }", "sluice.jsonc:3:11: ", "NOT_SET"},
        {"{ 'server': {\n 'port': 99999 } }", "sluice.jsonc:2:10: ", "0 to 65535"},
        {"{ 'server': {\n\n 'cors': 'x' } }", "sluice.jsonc:3:10: ", "true or false"},
        {"{ 'server': { 'api_keys': [ {'key':'sk-0123456789'},\n {'key':'x'} ] } }",
         "sluice.jsonc:2:2: ", "8 characters"},
        {"{ 'server': { 'api_keys': [\n {'hash':'sha256:12'} ] } }",
         "sluice.jsonc:2:2: ", "64 hex"},
        {"{ 'providers': { 'p.q': {\n 'type':'openai-compatible', 'base_url': 'ftp://x' } } }",
         "sluice.jsonc:2:42: ", "http://"},
        {"{ 'providers': { 'p': {\n 'type':'openai-compatible' } } }",
         "sluice.jsonc:1:23: ", "required"},
        {"{ 'providers': { 'p': {'type':'openai','api_key':'a b'} } }",
         "sluice.jsonc:1:", "no header"},
        {"{ 'models': {\n 'gpt-4.1': 7 } }", "sluice.jsonc:2:13: ", "gpt-4.1"},
        {"{ 'models': {\n 'é': {'targets':[]} } }", "sluice.jsonc:2:7: ", "non-empty array"},
        {"{ 'providers': 7 }", "sluice.jsonc:1:", "object"},
        {"{ 'a': ", "", "line 1"},
        {"[1]", "", "object"},
        {"", "", "empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str said = state_refusal(a, cases[i].text, NULL);
        ck_assert_msg(str_starts(said, str_of(cases[i].start)) &&
                          str_contains(said, str_of(cases[i].part)),
                      "case %zu: " STR_FMT, i, STR_ARG(said));
    }
    arena_free(a);
}
END_TEST

START_TEST(places_are_found_whatever_the_text)
{
    struct arena *a = arena_new();
    static const struct {
        const char *text, *path, *place;
    } cases[] = {
        {"{\"a\":{\"b\":1}}", "a.b", "f:1:11: "},
        {"{\"a\":{\"b\":1}}", "a.x", "f:1:6: "},
        {"{\"a.b\":1,\"a\":{\"b\":2}}", "a.b", "f:1:8: "}, /* the longest name */
        {"{ // {\"a\":1}\n \"a\":\"}\\\"\",\"b\":[1,[2,3],{\"c\":4}]}", "b[2].c", "f:2:30: "},
        {"", "a", "f:1:1: "},
        {"{\"a\":", "a.b", "f:1:6: "},
        {"{{{{[[[", "a", "f:1:1: "},
        {"[1,2", "[1]", "f:1:4: "},
        {"\xef\xbb\xbf{\"a\":1}", "a", "f:1:7: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = jsonc_where(a, "/etc/f", str_of(cases[i].text), str_of(cases[i].path));
        ck_assert_msg(str_eq(got, str_of(cases[i].place)), "case %zu: " STR_FMT, i, STR_ARG(got));
    }
    arena_free(a);
}
END_TEST

START_TEST(settings_have_bounds_and_one_origin)
{
    const struct setting *row;
    struct settings s;
    settings_default(&s);
    for (size_t i = 0; (row = setting_at(i)) != NULL; i++) {
        struct err e = ERR_INIT;
        char text[32];
        ck_assert(setting_find(str_of(row->name)) == row && row->sentence[0]);
        if (row->kind != SETTING_INT)
            continue;
        ck_assert_msg(row->otherwise >= row->min && row->otherwise <= row->max, "%s", row->name);
        (void)snprintf(text, sizeof text, "%lld", (long long)row->min - 1);
        ck_assert(!setting_set(&s, row, str_of(text), &e));
        ck_assert_str_eq(e.field, row->name);
        (void)snprintf(text, sizeof text, "%lld", (long long)row->max);
        ck_assert(setting_set(&s, row, str_of(text), &e));
        ck_assert(!setting_set(&s, row, STR("x"), &e) && !setting_set(&s, row, STR(""), &e));
    }
}
END_TEST

static struct config_sources sources;

START_TEST(environment_over_file_over_store_over_default)
{
    struct err e = ERR_INIT;
    struct snapshot *s;
    static char file[PATH_SIZE], data[PATH_SIZE];
    state_path(file, "f.jsonc");
    state_path(data, "deep/er/data");
    state_write("f.jsonc", "{'server':{'max_attempts':2}}");
    sources = (struct config_sources){.data_dir = data};
    ck_assert_msg(state_open(&sources, &e), "%s", e.message);
    ck_assert(sources.is_first_start);
    struct db *db = db_open(sources.db_path, DB_READ_WRITE, &e);
    ck_assert(setting_put(db, STR("max_attempts"), STR("3"), &e) &&
              setting_put(db, STR("keepalive_ms"), STR("77"), &e));
    ck_assert(config_load(&sources, &s, &e));
    ck_assert_int_eq(s->settings.max_attempts, 3);
    ck_assert_int_eq(setting_origin(&sources, setting_find(str_of("max_attempts"))), ORIGIN_API);
    snapshot_unref(s);
    sources.file = file;
    ck_assert(config_load(&sources, &s, &e));
    ck_assert_int_eq(s->settings.max_attempts, 2);
    ck_assert_int_eq(s->settings.keepalive_ms, 77);
    ck_assert_int_eq(setting_origin(&sources, setting_find(str_of("max_attempts"))), ORIGIN_FILE);
    ck_assert_int_eq(setting_origin(&sources, setting_find(str_of("threads"))), ORIGIN_DEFAULT);
    snapshot_unref(s);
    ck_assert_int_eq(setenv("SLUICE_MAX_ATTEMPTS", "1", 1), 0);
    ck_assert(config_load(&sources, &s, &e));
    ck_assert_int_eq(s->settings.max_attempts, 1);
    ck_assert_int_eq(setting_origin(&sources, setting_find(str_of("max_attempts"))), ORIGIN_ENV);
    snapshot_unref(s);
    ck_assert_int_eq(setenv("SLUICE_MAX_ATTEMPTS", "many", 1), 0);
    ck_assert(!config_load(&sources, &s, &e));
    ck_assert(strstr(e.message, "SLUICE_MAX_ATTEMPTS"));
    db_close(db);
    state_close(&sources);
}
END_TEST

START_TEST(the_store_adds_to_the_file)
{
    struct err e = ERR_INIT;
    struct snapshot *s;
    struct arena *a = arena_new();
    static char file[PATH_SIZE];
    state_path(file, "f.jsonc");
    state_write("f.jsonc", "{'providers':{'both':{'type':'ollama'}},'models':{'m':'stored','e':{'"
                           "provider':'echo','upstream_model':'x'}}}");
    sources = (struct config_sources){.data_dir = state_folder(), .file = file};
    ck_assert(state_open(&sources, &e));
    struct db *db = db_open(sources.db_path, DB_READ_WRITE, &e);
    struct provider_row p = {.name = STR("stored"), .kind = STR("openai"), .is_enabled = true};
    p.sealed_key = seal_wrap(&sources.seal, a, secret_of(STR("sk-stored")), p.name);
    ck_assert(provider_put(db, &p, &e));
    p.name = STR("both");
    ck_assert(provider_put(db, &p, &e));
    p.name = STR("moved"); /* sealed for another name: its key does not open, the rest goes on */
    ck_assert(provider_put(db, &p, &e));
    struct key_row k = {.id = STR("k"),
                        .scopes = SCOPE_INFERENCE,
                        .is_enabled = true,
                        .allowed_models = STR("[\"m\"]")};
    struct str text = key_make(a, &k);
    ck_assert(key_insert(db, &k, &e));
    db_close(db);
    ck_assert_msg(config_load(&sources, &s, &e), "%s", e.message);
    check_text(secret_reveal(snapshot_upstream(s, STR("stored"))->keys[0]), "sk-stored");
    ck_assert_int_eq(snapshot_upstream(s, STR("both"))->from, ORIGIN_FILE); /* the file's wins */
    ck_assert(!snapshot_upstream(s, STR("moved"))->is_enabled);
    ck_assert_ptr_nonnull(snapshot_model(s, STR("m")));
    /* the built-in one serves other names too */
    ck_assert_ptr_nonnull(snapshot_model(s, STR("e")));
    ck_assert(key_may_use(snapshot_key(s, text), STR("m")) &&
              !key_may_use(snapshot_key(s, text), STR("n")));
    snapshot_unref(s);
    state_close(&sources);
    arena_free(a);
}
END_TEST

START_TEST(keys_of_the_environment_are_offered_without_a_file_only)
{
    struct err e = ERR_INIT;
    struct snapshot *s;
    static char file[PATH_SIZE];
    ck_assert_int_eq(setenv("GROQ_API_KEY", "gsk-1", 1), 0);
    ck_assert_int_eq(setenv("GITHUB_TOKEN", "ghp-1", 1), 0);
    sources = (struct config_sources){.is_without_store = true, .detects = true};
    sources.local[0] = (struct local_server){
        .kind = "ollama", .models = {"llama3:8b"}, .n_models = 1};
    ck_assert(config_load(&sources, &s, &e));
    const struct upstream *groq = snapshot_upstream(s, STR("groq"));
    check_text(secret_reveal(groq->keys[0]), "gsk-1");
    ck_assert_int_eq(groq->from, ORIGIN_ENV);
    ck_assert_ptr_null(snapshot_upstream(s, STR("github"))); /* a token for other things */
    check_text(snapshot_model(s, STR("ollama/llama3:8b"))->targets[0].model, "llama3:8b");
    snapshot_unref(s);
    state_path(file, "f.jsonc");
    state_write("f.jsonc", "{}");
    sources.file = file;
    ck_assert(config_load(&sources, &s, &e));
    ck_assert_ptr_null(snapshot_upstream(s, STR("groq")));
    ck_assert_ptr_nonnull(snapshot_model(s, STR("echo"))); /* always there */
    snapshot_unref(s);
}
END_TEST

START_TEST(secrets_may_stand_in_files_beside_it)
{
    state_write("key.txt", "sk-from-file\n");
    struct snapshot *s = state_load(
        "{'providers':{'p':{'type':'openai','api_key':'file:key.txt'}}}");
    check_text(secret_reveal(snapshot_upstream(s, STR("p"))->keys[0]), "sk-from-file");
    snapshot_unref(s);
    struct arena *a = arena_new();
    ck_assert(str_contains(
        state_refusal(a, "{'providers':{'p':{'type':'openai','api_key':'file:none.txt'}}}", NULL),
        STR("none.txt")));
    arena_free(a);
}
END_TEST

START_TEST(ids_and_rotation_outlive_a_reload)
{
    struct snapshot *one = state_load(
        "{'providers':{'a':{'type':'ollama'},'b':{'type':'ollama'}}}");
    struct snapshot *two = state_load(
        "{'providers':{'b':{'type':'ollama'},'c':{'type':'ollama'}}}");
    ck_assert_uint_eq(snapshot_upstream(one, STR("b"))->id, snapshot_upstream(two, STR("b"))->id);
    ck_assert_ptr_eq(snapshot_upstream(one, STR("b"))->next_key,
                     snapshot_upstream(two, STR("b"))->next_key);
    ck_assert_uint_ne(snapshot_upstream(one, STR("a"))->id, snapshot_upstream(two, STR("c"))->id);
    snapshot_unref(one);
    snapshot_unref(two);
}
END_TEST

UNIT_MAIN("config", reads_a_file_of_llm_rosetta_as_it_is, models_have_targets_in_order,
          private_addresses_only_where_they_were_meant, faults_are_said_with_their_place,
          places_are_found_whatever_the_text, settings_have_bounds_and_one_origin,
          environment_over_file_over_store_over_default, the_store_adds_to_the_file,
          keys_of_the_environment_are_offered_without_a_file_only,
          secrets_may_stand_in_files_beside_it, ids_and_rotation_outlive_a_reload)
