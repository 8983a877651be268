/* The live configuration: lookups, and its change under readers. */
#include "state_kit.h"
#include "base/codec.h"
#include "domain/snapshot.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define PROVIDERS                                                                        \
    "'providers':{'oa':{'type':'openai-compatible','base_url':'http://127.0.0.1:1/v1'}," \
    "'off':{'type':'openai-compatible','base_url':'http://127.0.0.1:1/v1','enabled':false}}"

START_TEST(finds_models_by_name_and_by_provider)
{
    struct arena *a = arena_new();
    struct snapshot *s = state_load("{" PROVIDERS
                                    ",'models':{'a':'oa','with/slash':'oa','b':'off'}}");
    ck_assert_ptr_nonnull(snapshot_model(s, STR("a")));
    ck_assert_ptr_null(snapshot_model(s, STR("b"))); /* its provider is off */
    ck_assert_ptr_null(snapshot_model(s, STR("oa/x")));
    check_text(snapshot_resolve(s, a, STR("with/slash"))->targets[0].model, "with/slash");
    const struct model *m = snapshot_resolve(s, a, STR("oa/deep/name"));
    ck_assert_ptr_nonnull(m);
    check_text(m->targets[0].model, "deep/name");
    check_text(m->targets[0].upstream->name, "oa");
    static const char *const none[] = {"off/x", "oa/", "/x", "nobody/x", "", "/"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        ck_assert_ptr_null(snapshot_resolve(s, a, str_of(none[i])));
    snapshot_unref(s);
    arena_free(a);
}
END_TEST

START_TEST(names_near_ones)
{
    struct str near[3];
    struct snapshot *s = state_load(
        "{" PROVIDERS ",'models':{'gpt-5.1':'oa','gpt-5.1-mini':'oa','claude-sonnet':'oa'}}");
    size_t n = snapshot_near(s, NULL, STR("gpt-5"), near, 3);
    ck_assert_uint_ge(n, 2);
    ck_assert(str_starts(near[0], STR("gpt-5.1")));
    n = snapshot_near(s, NULL, STR("claude-sonet"), near, 3);
    ck_assert_uint_eq(n, 1);
    check_text(near[0], "claude-sonnet");
    ck_assert_uint_ge(snapshot_near(s, NULL, STR("CLAUDE-SONNET"), near, 3), 1);
    check_text(near[0], "claude-sonnet");
    ck_assert_uint_eq(snapshot_near(s, NULL, STR("zzzzzzzzzzzz"), near, 3), 0);
    ck_assert_uint_eq(snapshot_near(s, NULL, STR(""), near, 3), 0);
    snapshot_unref(s);
}
END_TEST

START_TEST(a_key_is_found_by_what_is_presented)
{
    struct snapshot *s = state_load(
        "{'server':{'api_keys':[{'id':'1','key':'sk-one-0123456789'},{'id':'2','key':'sk-two-"
        "0123456789',"
        "'allowed_models':['gpt-*','echo'],'scopes':['inference'],'enabled':false}]}}");
    const struct key *one = snapshot_key(s, STR("sk-one-0123456789")),
                     *two = snapshot_key(s, STR("sk-two-0123456789"));
    check_text(one->id, "1");
    check_text(two->id, "2");
    ck_assert(!two->is_enabled);
    ck_assert_uint_eq(two->scopes, SCOPE_INFERENCE);
    /* administration is never given unasked */
    ck_assert_uint_eq(one->scopes, SCOPE_INFERENCE | SCOPE_MODELS);
    ck_assert_ptr_null(snapshot_key(s, STR("sk-one-012345678")));
    ck_assert_ptr_null(snapshot_key(s, STR("")));
    ck_assert(key_may_use(one, STR("anything")));
    ck_assert(key_may_use(two, STR("gpt-5")) && key_may_use(two, STR("echo")) &&
              !key_may_use(two, STR("echo2")));
    snapshot_unref(s);
}
END_TEST

START_TEST(a_key_is_found_by_its_id)
{
    struct snapshot *none = state_load("{'server':{}}");
    ck_assert_ptr_null(snapshot_key_by_id(none, STR("a")));
    ck_assert_uint_eq(snapshot_keys_from(none, STR("a")), 0);
    snapshot_unref(none);
    struct snapshot *s = state_load(
        "{'server':{'api_keys':[{'id':'bb','key':'sk-one-0123456789','label':'one'},"
        "{'id':'a','key':'sk-two-0123456789'},{'id':'b','key':'sk-three-0123456789'}]}}");
    static const char *const sorted[] = {"a", "b", "bb"};
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
        check_str(snapshot_keys_by_id(s)[i]->id, str_of(sorted[i]));
        ck_assert_ptr_eq(snapshot_key_by_id(s, str_of(sorted[i])), snapshot_keys_by_id(s)[i]);
    }
    check_text(snapshot_key_by_id(s, STR("bb"))->label, "one");
    static const char *const others[] = {"", "0", "ab", "bbb", "z"};
    static const size_t places[] = {0, 0, 1, 3, 3};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ck_assert_ptr_null(snapshot_key_by_id(s, str_of(others[i])));
        ck_assert_uint_eq(snapshot_keys_from(s, str_of(others[i])), places[i]);
    }
    snapshot_unref(s);
}
END_TEST

START_TEST(a_key_is_forgotten_with_its_snapshot)
{
    static const char with[] = "{'server':{'api_keys':[{'id':'1','key':'sk-one-0123456789'},"
                               "{'id':'2','key':'sk-two-0123456789'}]}}",
                      without[] = "{'server':{'api_keys':[{'id':'3','key':'sk-two-0123456789'}]}}";
    struct snapshot *old, *now;
    snapshot_publish(state_load(with));
    old = snapshot_current();
    for (int i = 0; i < 3; i++) { /* found, then remembered */
        check_text(snapshot_key(old, STR("sk-one-0123456789"))->id, "1");
        check_text(snapshot_key(old, STR("sk-two-0123456789"))->id, "2");
        ck_assert_ptr_null(snapshot_key(old, STR("sk-three-0123456789")));
    }
    snapshot_publish(state_load(without));
    now = snapshot_current();
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_null(snapshot_key(now, STR("sk-one-0123456789")));
        check_text(snapshot_key(now, STR("sk-two-0123456789"))->id, "3");
        /* a request that is pinned */
        check_text(snapshot_key(old, STR("sk-two-0123456789"))->id, "2");
        check_text(snapshot_key(old, STR("sk-one-0123456789"))->id, "1");
    }
    snapshot_unref(old);
    snapshot_unref(now);
    snapshot_publish(NULL);
    snapshot_thread_done();
}
END_TEST

START_TEST(wildcards_are_anchored)
{
    static const struct {
        const char *pattern, *name;
        bool fits;
    } cases[] = {
        {"*", "", true},      {"*", "x", true},
        {"a*", "a", true},    {"a*", "ba", false},
        {"*a", "ba", true},   {"*a", "ab", false},
        {"a*c", "abc", true}, {"a*c", "abcd", false},
        {"*b*", "abc", true}, {"a*b*c", "axxbyyc", true},
        {"a", "A", false},    {"", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str pattern = str_of(cases[i].pattern);
        struct key k = {.allowed_models = &pattern, .n_allowed = 1};
        ck_assert_msg(key_may_use(&k, str_of(cases[i].name)) == cases[i].fits, "%s over %s",
                      cases[i].pattern, cases[i].name);
    }
}
END_TEST

static atomic_bool stop;
static atomic_uint reads;

static void *read_on(void *arg)
{
    uint64_t last = 0;
    (void)arg;
    while (!atomic_load(&stop)) {
        struct snapshot *s = snapshot_current();
        ck_assert_uint_ge(s->version, last); /* never back in time */
        last = s->version;
        ck_assert_ptr_nonnull(snapshot_model(s, STR("echo")));
        struct snapshot *kept = snapshot_ref(s);
        snapshot_unref(s);
        ck_assert(str_is(kept->upstreams[kept->n_upstreams - 1]->name, "echo"));
        snapshot_unref(kept);
        atomic_fetch_add(&reads, 1);
    }
    return NULL; /* and with the thread goes its reference */
}

START_TEST(changes_under_readers)
{
    pthread_t t[3];
    snapshot_publish(state_load("{}"));
    for (unsigned i = 0; i < ARRAY_LEN(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, read_on, NULL), 0);
    for (unsigned i = 0; i < 200 || atomic_load(&reads) < 1000; i++)
        snapshot_publish(state_load("{}"));
    atomic_store(&stop, true);
    for (unsigned i = 0; i < ARRAY_LEN(t); i++)
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    struct snapshot *s = snapshot_current();
    ck_assert_uint_ge(s->version, 200);
    snapshot_unref(s);
    snapshot_publish(NULL);
    ck_assert_ptr_null(snapshot_current());
    snapshot_thread_done();
}
END_TEST

UNIT_MAIN("snapshot", finds_models_by_name_and_by_provider, names_near_ones,
          a_key_is_found_by_what_is_presented, a_key_is_found_by_its_id,
          a_key_is_forgotten_with_its_snapshot, wildcards_are_anchored, changes_under_readers)
