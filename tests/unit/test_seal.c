/* Secrets at rest: what was sealed opens, and what was touched does not. */
#include "state_kit.h"
#include "vault/seal.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(opens_what_it_sealed_and_nothing_else)
{
    struct seal s;
    struct err e = ERR_INIT;
    struct secret out;
    struct arena *a = arena_new();
    (void)unsetenv("SLUICE_MASTER_KEY");
    ck_assert_msg(seal_open(&s, state_folder(), &e), "%s", e.message);
    struct str blob = seal_wrap(&s, a, secret_of(STR("sk-very-secret")), STR("oa"));
    ck_assert(!str_contains(blob, STR("secret")));
    ck_assert(seal_unwrap(&s, a, blob, STR("oa"), &out, &e));
    check_text(secret_reveal(out), "sk-very-secret");
    ck_assert(!seal_unwrap(&s, a, blob, STR("ob"), &out, &e)); /* moved to another row */
    for (size_t i = 0; i < blob.n; i++) {                      /* every byte counts */
        struct str bad = str_dup(a, blob);
        char *p = memcpy(arena_alloc(a, blob.n), bad.p, blob.n);
        p[i] ^= 1;
        ck_assert(!seal_unwrap(&s, a, str_n(p, blob.n), STR("oa"), &out, &e));
    }
    for (size_t n = 0; n < blob.n; n++)
        ck_assert(!seal_unwrap(&s, a, str_first(blob, n), STR("oa"), &out, &e));
    /* a fresh nonce each */
    ck_assert(!str_eq(blob, seal_wrap(&s, a, secret_of(STR("sk-very-secret")), STR("oa"))));
    seal_close(&s);
    arena_free(a);
}
END_TEST

START_TEST(a_mark_tells_contents_apart_and_is_the_keys)
{
    struct seal s = {{1}}, other = {{2}};
    const struct str one[] = {STR("ab"), STR("c")}, same[] = {STR("ab"), STR("c")},
                     shifted[] = {STR("a"), STR("bc")}, longer[] = {STR("ab"), STR("c"), STR_NONE};
    const uint64_t mark = seal_mark(&s, one, 2);
    ck_assert_uint_ne(mark, 0);
    ck_assert_uint_eq(mark, seal_mark(&s, same, 2));
    ck_assert_uint_ne(mark, seal_mark(&other, one, 2));
    ck_assert_uint_ne(mark, seal_mark(&s, shifted, 2));
    ck_assert_uint_ne(mark, seal_mark(&s, longer, 3));
}
END_TEST

START_TEST(the_master_key_is_made_once_and_is_private)
{
    struct seal s, again;
    struct err e = ERR_INIT;
    struct stat st;
    char path[PATH_SIZE];
    (void)unsetenv("SLUICE_MASTER_KEY");
    ck_assert(seal_open(&s, state_folder(), &e) && seal_open(&again, state_folder(), &e));
    ck_assert_mem_eq(s.key, again.key, sizeof s.key);
    state_path(path, "master.key");
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert(!seal_open(&again, state_folder(), &e));
    ck_assert_str_eq(e.code, "master_key_exposed");
    ck_assert_int_eq(chmod(path, 0600), 0);
    state_write("master.key", "too short");
    ck_assert(!seal_open(&again, state_folder(), &e));
    ck_assert_str_eq(e.code, "invalid_master_key");
}
END_TEST

START_TEST(the_master_key_may_come_from_the_environment)
{
    struct seal s;
    struct err e = ERR_INIT;
    char path[PATH_SIZE];
    ck_assert_int_eq(setenv("SLUICE_MASTER_KEY",
                            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 1),
                     0);
    ck_assert(seal_open(&s, state_folder(), &e));
    for (unsigned i = 0; i < sizeof s.key; i++)
        ck_assert_uint_eq(s.key[i], i);
    state_path(path, "master.key");
    ck_assert_int_ne(access(path, F_OK), 0);
    seal_close(&s);
    ck_assert_int_eq(setenv("SLUICE_MASTER_KEY", "0001", 1), 0);
    ck_assert(!seal_open(&s, state_folder(), &e));
    ck_assert_int_eq(setenv("SLUICE_MASTER_KEY",
                            "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 1),
                     0);
    ck_assert(!seal_open(&s, state_folder(), &e));
}
END_TEST

UNIT_MAIN("seal", opens_what_it_sealed_and_nothing_else,
          a_mark_tells_contents_apart_and_is_the_keys, the_master_key_is_made_once_and_is_private,
          the_master_key_may_come_from_the_environment)
