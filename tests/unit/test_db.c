/* The store: migrations, statements, transactions, what a crash leaves, and the nouns that are kept in it. */
#include "state_kit.h"
#include "base/codec.h"
#include "domain/noun.h"
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t number(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    struct stmt *s = db_prepare(db, sql, &e);
    ck_assert_msg(s && stmt_step(s, &e), "%s: %s", sql, e.message);
    int64_t n = stmt_int(s, 0);
    stmt_free(s);
    return n;
}

START_TEST(migrates_once_and_refuses_a_newer_schema)
{
    struct err e = ERR_INIT;
    struct db *db = state_db();
    int64_t version = number(db, "PRAGMA user_version");
    ck_assert_int_ge(version, 2);
    ck_assert(db_migrate(db, &e));
    ck_assert_int_eq(number(db, "PRAGMA user_version"), version);
    ck_assert_int_eq(
        number(db, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
    ck_assert(db_exec(db, "PRAGMA user_version=9999", &e));
    ck_assert(!db_migrate(db, &e));
    ck_assert_str_eq(e.code, "schema_too_new");
    db_close(db);
}
END_TEST

START_TEST(the_file_is_private_and_a_folder_is_no_store)
{
    struct err e = ERR_INIT;
    struct stat st;
    char path[PATH_SIZE];
    db_close(state_db());
    state_path(path, "test.db");
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_ptr_null(db_open(state_folder(), DB_READ_WRITE, &e));
    ck_assert_int_eq(e.kind, ERR_INTERNAL);
    state_write("rubbish.db",
                "this is no database, and long enough to have had a header of one hundred bytes, "
                "if it only were one: it is prose");
    state_path(path, "rubbish.db");
    err_clear(&e);
    ck_assert_ptr_null(db_open(path, DB_READ_WRITE, &e));
    ck_assert(strstr(e.message, "not a database"));
}
END_TEST

static struct db_value square(void *arg, size_t row, unsigned column)
{
    static const char *const names[] = {"zero", "one", "two"};
    (void)arg;
    switch (column) {
    case 0:
        return (struct db_value){DB_INT, (int64_t)(row * row), STR_NONE};
    case 1:
        return (struct db_value){DB_TEXT, 0, str_of(names[row % 3])};
    default:
        return (struct db_value){DB_NULL, 0, STR_NONE};
    }
}

START_TEST(rows_come_from_code)
{
    struct err e = ERR_INIT;
    struct db_source source = {.columns = 3, .rows = 3, .value = square};
    struct db *db = state_db();
    ck_assert(db_add_source(db, "squares", &source, &e));
    ck_assert_msg(
        db_exec(db, "CREATE TABLE strict_rows(n INTEGER, name TEXT, empty INTEGER NOT NULL)", &e) &&
            db_exec(db, "CREATE TABLE rows(n INTEGER UNIQUE, name TEXT, empty INTEGER)", &e),
        "%s", e.message);
    struct stmt *s = db_prepare(db, "INSERT INTO rows SELECT * FROM squares", &e);
    ck_assert(s && stmt_run(s, &e));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM rows WHERE empty IS NULL"), 3);
    ck_assert_int_eq(number(db, "SELECT n FROM rows WHERE name = 'two'"), 4);
    ck_assert(db_exec(db, "DELETE FROM rows", &e));
    source.rows = 0;
    ck_assert(stmt_run(s, &e));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM rows"), 0);
    source.rows = 100;
    ck_assert(stmt_run(s, &e));
    ck_assert_int_eq(number(db, "SELECT n FROM rows ORDER BY n DESC"), 99 * 99);
    ck_assert(!stmt_run(s, &e)); /* once more breaks the rule, and leaves nothing half done */
    ck_assert_int_eq(e.kind, ERR_CONFLICT);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM rows"), 100);
    err_clear(&e);
    ck_assert(!db_exec(db, "INSERT INTO strict_rows SELECT * FROM squares", &e));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM strict_rows"), 0);
    stmt_free(s);
    db_close(db);
}
END_TEST

START_TEST(a_transaction_is_whole_or_nothing)
{
    struct err e = ERR_INIT;
    struct db *db = state_db();
    ck_assert(db_begin(db, &e) && setting_put(db, STR("a"), STR("1"), &e));
    db_rollback(db);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM setting"), 0);
    ck_assert(db_begin(db, &e) && setting_put(db, STR("a"), STR("1"), &e) && db_commit(db, &e));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM setting"), 1);
    ck_assert(setting_put(db, STR("a"), STR_NONE, &e));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM setting"), 0);
    struct stmt *bad = db_prepare(db, "SELECT nonsense FROM nowhere", &e);
    ck_assert_ptr_null(bad);
    ck_assert_int_eq(e.kind, ERR_INTERNAL);
    db_close(db);
}
END_TEST

/* A child commits one key after the other and says so; it is killed in the middle. What it said must be there. */
START_TEST(what_was_acknowledged_survives_kill_9)
{
    int said[2];
    ck_assert_int_eq(pipe(said), 0);
    db_close(state_db());
    pid_t child = fork();
    if (child == 0) {
        struct err e = ERR_INIT;
        struct arena *a = arena_new();
        struct db *db = state_db();
        for (unsigned char n = 1;; n++) {
            struct key_row k = {.id = str_fmt(a, "key%u", n), .is_enabled = true, .scopes = 1};
            (void)key_make(a, &k);
            if (!key_insert(db, &k, &e) || write(said[1], &n, 1) != 1)
                _exit(1);
        }
    }
    unsigned char n = 0;
    while (n < 20)
        ck_assert_int_eq(read(said[0], &n, 1), 1);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    (void)close(said[1]);
    while (read(said[0], &n, 1) == 1)
        continue;
    struct db *db = state_db();
    ck_assert_int_ge(number(db, "SELECT count(*) FROM key"), n);
    ck_assert_int_eq(
        number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    db_close(db);
}
END_TEST

START_TEST(providers_are_kept_changed_and_removed)
{
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    struct db *db = state_db();
    struct provider_row in = {.name = STR("oa"),
                              .kind = STR("openai"),
                              .base_url = STR("https://x.example/v1"),
                              .sealed_key = str_n("\0\1blob", 6),
                              .is_enabled = true},
                        out, *list;
    ck_assert(provider_put(db, &in, &e));
    in.name = STR("b");
    in.sealed_key = STR_NONE;
    ck_assert(provider_put(db, &in, &e));
    ck_assert(provider_get(db, a, STR("oa"), &out, &e));
    check_str(out.sealed_key, str_n("\0\1blob", 6));
    check_text(out.base_url, "https://x.example/v1");
    out.is_enabled = false;
    ck_assert(provider_put(db, &out, &e));
    ck_assert(provider_list(db, a, &list, &e));
    check_text(list->name, "oa"); /* in the order in which they came, a change does not move them */
    ck_assert(!list->is_enabled);
    check_text(list->next->name, "b");
    ck_assert_ptr_null(list->next->next);
    ck_assert(provider_delete(db, STR("oa"), &e));
    ck_assert(!provider_delete(db, STR("oa"), &e));
    ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
    err_clear(&e);
    ck_assert(!provider_get(db, a, STR("oa"), &out, &e));
    ck_assert_int_eq(e.kind, ERR_NOT_FOUND);
    db_close(db);
    arena_free(a);
}
END_TEST

START_TEST(a_provider_that_cannot_work_is_refused)
{
    struct arena *a = arena_new();
    static const struct {
        const char *name, *kind, *url, *wire, *key, *field;
    } cases[] = {
        {"", "openai", "", "", "", "name"},
        {"a", "opnai", "", "", "", "type"},
        {"a", "openai-compatible", "", "", "", "base_url"},
        {"a", "openai", "ftp://x", "", "", "base_url"},
        {"a", "openai", "http://", "", "", "base_url"},
        {"a", "openai", "", "morse", "", "wire"},
        {"a", "openai", "", "", "two words", "api_key"},
        {"a", "openai", "", "anthropic", "sk-1", NULL},
        {"a", "echo", "", "", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = ERR_INIT;
        struct provider_row p = {.name = str_of(cases[i].name),
                                 .kind = str_of(cases[i].kind),
                                 .base_url = str_of(cases[i].url),
                                 .wire = str_of(cases[i].wire)};
        bool ok = provider_check(a, &p, secret_of(str_of(cases[i].key)), &e);
        ck_assert_msg(ok == !cases[i].field && (ok || strcmp(e.field, cases[i].field) == 0),
                      "case %zu: %s: %s", i, e.field, e.message);
    }
    static const char *const ill[] = {"a/b", "a b", " a", "a\x7f", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(ill); i++) {
        struct err e = ERR_INIT;
        ck_assert(!provider_check_name(str_of(ill[i]), &e) && strcmp(e.field, "name") == 0);
    }
    struct err e = ERR_INIT;
    ck_assert(provider_check_name(STR("a-b_c.d"), &e));
    arena_free(a);
}
END_TEST

static void check_kept(void *arg, const struct key_row *k)
{
    const struct str *hint = arg;
    ck_assert(str_eq(k->hint, *hint) && str_is(k->sealed, "sealed"));
    ck_assert_int_eq(k->rotated_ms, 7);
}

static void count_key(void *arg, const struct key_row *k)
{
    (void)k;
    ++*(int *)arg;
}

static void write_row(void *arg, const struct row *r)
{
    buf_fmt(arg, STR_FMT "|" STR_FMT "|%lld|%d\n", STR_ARG(row_str(r, 0)), STR_ARG(row_blob(r, 1)),
            (long long)row_int(r, 2), row_is_null(r, 3));
}

START_TEST(many_rows_are_read_in_their_order_and_faults_are_told)
{
    struct err e = ERR_INIT;
    struct buf b;
    struct db *db = state_db();
    buf_init(&b, 4096);
    ck_assert(
        db_exec(db,
                "CREATE TABLE t(a TEXT, b BLOB, c INT, d TEXT);"
                "INSERT INTO t VALUES('one', x'414243', 7, NULL), (NULL, '', -9000000000, '')",
                &e));
    for (int round = 0; round < 2; round++) /* the name is free again */
        ck_assert(db_each_row(db, "SELECT each_row(a, b, c, d) FROM t ORDER BY rowid", write_row,
                              &b, &e));
    check_text(buf_str(&b), "one|ABC|7|1\n||-9000000000|0\none|ABC|7|1\n||-9000000000|0\n");
    ck_assert(!db_each_row(db, "SELECT each_row(nothing) FROM t", write_row, &b, &e));
    ck_assert_int_eq(e.kind, ERR_INTERNAL);
    buf_done(&b);
    db_close(db);
}
END_TEST

START_TEST(keys_are_kept_as_hashes_only)
{
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    struct db *db = state_db();
    struct key_row k = {.label = STR("me"),
                        .scopes = 3,
                        .is_enabled = true,
                        .allowed_models = STR("[\"gpt*\"]")},
                   out;
    struct str text = key_make(a, &k);
    ck_assert_uint_eq(text.n, 10 + 64);
    ck_assert(str_starts(text, STR("sk-sluice-")));
    uint8_t hash[SHA256_SIZE];
    sha256(text, hash);
    ck_assert_mem_eq(hash, k.hash, sizeof hash);
    ck_assert(key_insert(db, &k, &e));
    ck_assert(!key_insert(db, &k, &e));
    ck_assert_int_eq(e.kind, ERR_CONFLICT);
    err_clear(&e);
    ck_assert(key_get(db, a, k.id, &out, &e));
    ck_assert_mem_eq(out.hash, hash, sizeof hash);
    check_text(out.allowed_models, "[\"gpt*\"]");
    out.is_enabled = false;
    out.expires_ms = 5;
    ck_assert(key_update(db, &out, &e) && key_get(db, a, k.id, &out, &e));
    ck_assert(!out.is_enabled && out.expires_ms == 5);
    int n = 0;
    int64_t counted = 0;
    ck_assert(key_each(db, count_key, &n, &e) && key_count(db, &counted, &e));
    ck_assert(n == 1 && counted == 1);
    struct str said = str_fmt(a, "sk-s***%.4s", text.p + text.n - 4);
    k.sealed = STR("sealed");
    k.rotated_ms = 7;
    ck_assert(key_retext(db, &k, &e));
    ck_assert(key_each(db, check_kept, &said, &e) && key_get(db, a, k.id, &out, &e));
    check_kept(&said, &out); /* read one by one or all at once */
    db_close(db);
    /* nowhere in the files stands the key, nor the half of it */
    char path[PATH_SIZE], *content = malloc(1 << 20);
    const char *const files[] = {"test.db", "test.db-wal"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        state_path(path, files[i]);
        FILE *f = fopen(path, "r");
        size_t got = f ? fread(content, 1, 1 << 20, f) : 0;
        ck_assert_ptr_null(memmem(content, got, text.p + 10, 32));
        if (f)
            (void)fclose(f);
    }
    free(content);
    arena_free(a);
}
END_TEST

struct seen_keys {
    struct arena *a;
    struct key_row v[8];
    size_t n;
};

static void see_key(void *arg, const struct key_row *k)
{
    struct seen_keys *s = arg;
    ck_assert_uint_lt(s->n, ARRAY_LEN(s->v));
    struct key_row *to = &s->v[s->n++];
    *to = *k;
    to->id = str_dup(s->a, k->id);
    to->label = str_dup(s->a, k->label);
    to->allowed_models = str_dup(s->a, k->allowed_models);
    to->policy = str_dup(s->a, k->policy);
}

/* The index that a start reads says of every key what its row says, in order of making. */
static void check_packed(struct db *db, struct arena *a)
{
    struct err e = ERR_INIT;
    struct seen_keys rows = {.a = a}, packed = {.a = a};
    ck_assert(key_each(db, see_key, &rows, &e) && key_each_packed(db, see_key, &packed, &e));
    ck_assert_uint_eq(rows.n, packed.n);
    for (size_t i = 0; i < rows.n; i++) {
        const struct key_row *k = &packed.v[i], *row = &rows.v[0];
        for (size_t n = 0; n < rows.n; n++)
            if (str_eq(rows.v[n].id, k->id))
                row = &rows.v[n];
        ck_assert(i == 0 || k->created_ms >= packed.v[i - 1].created_ms);
        check_str(k->id, row->id);
        check_str(k->label, row->label);
        check_str(k->allowed_models, row->allowed_models);
        check_str(k->policy, row->policy);
        ck_assert_mem_eq(k->hash, row->hash, sizeof k->hash);
        ck_assert_int_eq(k->scopes, row->scopes);
        ck_assert_int_eq(k->is_enabled, row->is_enabled);
        ck_assert_int_eq(k->expires_ms, row->expires_ms);
        ck_assert_int_eq(k->created_ms, row->created_ms);
    }
}

START_TEST(the_index_of_a_start_follows_every_change)
{
    struct err e = ERR_INIT;
    struct arena *a = arena_new();
    struct db *db = state_db();
    struct key_row rows[] = {
        {.scopes = 3, .is_enabled = true, .created_ms = 1000},
        {.label = STR("one, two, 7,"), .scopes = 7, .created_ms = 999},
        {.label = STR("größer 鍵"),
         .allowed_models = STR("[\"ä*\",\"b,1\"]"),
         .policy = STR("{\"tags\":[\"é,\"]}"),
         .expires_ms = INT64_MAX,
         .created_ms = 253402300799999},
        {.label = STR("-"), .scopes = 0xffffffff, .expires_ms = -5, .created_ms = -1},
    };
    check_packed(db, a);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t created_ms = rows[i].created_ms;
        (void)key_make(a, &rows[i]);
        rows[i].created_ms = created_ms;
        if (i == 1 || i == 2) /* a hash that looks like what stands around it, or like an end */
            memset(rows[i].hash, i == 1 ? ',' : 0, sizeof rows[i].hash);
        ck_assert_msg(key_insert(db, &rows[i], &e), "%s", e.message);
        check_packed(db, a);
    }
    rows[0].label = STR("other");
    rows[0].allowed_models = STR("[\"x\"]");
    ck_assert(key_update(db, &rows[0], &e));
    check_packed(db, a);
    (void)key_make(a, &rows[3]);
    ck_assert(key_retext(db, &rows[3], &e));
    check_packed(db, a);
    ck_assert(key_delete(db, rows[1].id, &e));
    check_packed(db, a);
    /* what is no key keeps nothing from starting */
    ck_assert(db_exec(
        db, "INSERT INTO key (id, hash, scopes, created_ms) VALUES ('x', x'00', 1, 1)", &e));
    check_packed(db, a);
    ck_assert_int_eq(
        number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    db_close(db);
    arena_free(a);
}
END_TEST

UNIT_MAIN("db", migrates_once_and_refuses_a_newer_schema,
          the_file_is_private_and_a_folder_is_no_store, rows_come_from_code,
          many_rows_are_read_in_their_order_and_faults_are_told, a_transaction_is_whole_or_nothing,
          what_was_acknowledged_survives_kill_9, providers_are_kept_changed_and_removed,
          a_provider_that_cannot_work_is_refused, keys_are_kept_as_hashes_only,
          the_index_of_a_start_follows_every_change)
