/* Packing, comparing and restoring configurations, and what a killed change leaves. */
#include "api/change_work.h"
#include "api/config_state.h"
#include "base/codec.h"
#include "base/file.h"
#include "domain/config_version.h"
#include "domain/noun.h"
#include "unit/state_kit.h"

static struct seal seal; /* any key */

static yyjson_val *values(struct arena *a, const char *json)
{
    yyjson_val *v;
    struct err e = ERR_INIT;
    ck_assert_msg(jsonc_parse(a, str_of(json), &v, &e), "%s", e.message);
    return v;
}

START_TEST(a_state_is_packed_with_every_byte)
{
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct config_state out, in = {.text = STR("{} // \xff\xfe no UTF-8 \r\n"),
                                   .store = values(a, "{\"providers\":{},\"n\":1.50}")};
    struct str packed = config_pack(a, &seal, &in);
    ck_assert(!str_contains(packed, STR("UTF-8")));
    ck_assert_msg(config_unpack(a, &seal, packed, &out, &e), "%s", e.message);
    check_str(out.text, in.text);
    check_text(json_text(a, out.store), "{\"providers\":{},\"n\":1.50}");
    in.text = STR_NONE; /* without a file */
    ck_assert(config_unpack(a, &seal, config_pack(a, &seal, &in), &out, &e) && !out.text.p);
    struct seal other = {.key = {1}};
    ck_assert(!config_unpack(a, &other, packed, &out, &e));
    arena_free(a);
}
END_TEST

START_TEST(differences_are_told_object_by_object_without_secrets)
{
    struct arena *a = arena_new();
    struct buf b;
    yyjson_val *was = values(a, "{\"providers\":{\"a\":{\"api_key\":\"sk-0123456789abcd\"},\"b\":{}"
                                "},\"models\":{\"m\":\"a\"},"
                                "\"server\":{\"port\":1,\"admin_password\":\"hunter-two\",\"api_"
                                "keys\":[{\"id\":\"1\",\"label\":\"x\"},"
                                "{\"id\":\"2\",\"key\":\"sk-aaaabbbbccccdddd\",\"hash\":\"h\"}]}}");
    yyjson_val *is = values(a, "{\"models\":{\"m\":\"a\"},\"providers\":{\"a\":{\"api_key\":\"sk-"
                               "9876543210abcd\"},\"c\":{}},"
                               "\"server\":{\"admin_password\":\"hunter-three\",\"api_keys\":[{"
                               "\"id\":\"1\",\"label\":\"x\"}]},\"debug\":{}}");
    buf_init_arena(&b, a, 1 << 20);
    struct jw w = jw_on(&b);
    config_changes_write(&w, a, config_compare(a, was, is));
    check_text(
        buf_str(&b),
        "[{\"kind\":\"provider\",\"name\":\"a\",\"before\":{\"api_key\":\"sk-0***abcd\"},"
        "\"after\":{\"api_key\":\"sk-9***abcd\"}},"
        "{\"kind\":\"provider\",\"name\":\"b\",\"before\":{},\"after\":null},"
        "{\"kind\":\"provider\",\"name\":\"c\",\"before\":null,\"after\":{}},"
        "{\"kind\":\"setting\",\"name\":\"port\",\"before\":1,\"after\":null},"
        "{\"kind\":\"setting\",\"name\":\"admin_password\",\"before\":\"***\",\"after\":\"***\"},"
        "{\"kind\":\"key\",\"name\":\"2\",\"before\":{\"id\":\"2\",\"key\":\"sk-a***dddd\"},"
        "\"after\":null},"
        "{\"kind\":\"section\",\"name\":\"debug\",\"before\":null,\"after\":{}}]");
    ck_assert_ptr_null(config_compare(a, is, is));
    arena_free(a);
}
END_TEST

START_TEST(the_store_becomes_what_it_was)
{
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct db *db = state_db();
    yyjson_val *was, *is;
    struct provider_row p = {.name = STR("p"),
                             .kind = STR("anthropic"),
                             .wire = STR("anthropic"),
                             .sealed_key = seal_wrap(&seal, a, secret_of(STR("sk-1")), STR("p")),
                             .is_enabled = true};
    struct model_row m = {.name = STR("m"),
                          .targets = STR("[{\"provider\":\"p\"}]"),
                          .max_output_tokens = -1,
                          .context_tokens = 7,
                          .created_ms = 42};
    ck_assert(provider_put(db, &p, &e) && model_put(db, &m, &e) &&
              setting_put(db, STR("max_attempts"), STR("3"), &e));
    ck_assert(config_store_values(a, &seal, db, &was, &e));
    ck_assert(db_exec(db,
                      "DELETE FROM setting; UPDATE model SET context_tokens = 8, name = 'n';"
                      "UPDATE provider SET sealed_key = NULL, kind = 'openai'",
                      &e));
    ck_assert_msg(config_store_put(a, &seal, db, was, &e), "%s", e.message);
    ck_assert(config_store_values(a, &seal, db, &is, &e));
    check_str(json_text(a, is), json_text(a, was));
    ck_assert(str_contains(json_text(a, is), STR("sk-1")));
    db_close(db);
    arena_free(a);
}
END_TEST

static struct str hash_of(struct arena *a, const char *text)
{
    char *h = arena_alloc(a, SHA256_SIZE);
    sha256(str_of(text), (uint8_t *)h);
    return str_n(h, SHA256_SIZE);
}

/* A version whose file was not known to be written; the file holds on_disk. */
static void check_recovery(const char *on_disk, const char *wanted)
{
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    struct db *db = state_db();
    char path[PATH_SIZE];
    struct str now;
    bool is_any;
    struct config_state s = {.text = STR("{\"new\":1}"), .store = values(a, "{}")};
    struct version_row v = {.actor = STR("x"),
                            .what = STR("y"),
                            .changes = STR("[]"),
                            .file_hash = hash_of(a, "{\"new\":1}"),
                            .base_hash = hash_of(a, "{\"old\":1}"),
                            .state = config_pack(a, &seal, &s)};
    state_write("c.jsonc", on_disk);
    state_path(path, "c.jsonc");
    ck_assert(version_add(db, &v, &e));
    ck_assert_msg(change_recover(a, &seal, db, path, &e), "%s", e.message);
    ck_assert(file_read(a, path, 1000, &now, &e));
    check_str(now, str_of(wanted));
    ck_assert(version_pending(db, a, &v, &is_any, &e) && !is_any);
    db_close(db);
    arena_free(a);
}

START_TEST(a_file_that_was_not_replaced_yet_is)
{
    check_recovery("{'old':1}", "{\"new\":1}");
}
END_TEST

START_TEST(a_file_that_was_replaced_stays)
{
    check_recovery("{'new':1}", "{\"new\":1}");
}
END_TEST

START_TEST(a_file_that_somebody_else_changed_stays)
{
    check_recovery("{'other':1}", "{\"other\":1}");
}
END_TEST

UNIT_MAIN("config_state", a_state_is_packed_with_every_byte,
          differences_are_told_object_by_object_without_secrets, the_store_becomes_what_it_was,
          a_file_that_was_not_replaced_yet_is, a_file_that_was_replaced_stays,
          a_file_that_somebody_else_changed_stays)
