/* The ledger's journal: what was put outlives the process that put it, is added to the ledger once, and nothing else of the file is believed. */
#include "meter/journal.h"
#include "base/clock.h"
#include "domain/ledger.h"
#include "meter/ledger_check.h"
#include "meter/usage_log.h"
#include "state_kit.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS_AT 8192 /* of a file with few rings: a page of its head, and one of marks */
#define SLOT 512

static char path[PATH_SIZE];

static void begin(void)
{
    db_close(state_db());
    state_path(path, "test.db");
}

static void name_of(char out[PATH_SIZE + 16], unsigned i)
{
    if (i)
        (void)snprintf(out, PATH_SIZE + 16, "%s-ledger%u", path, i);
    else
        (void)snprintf(out, PATH_SIZE + 16, "%s-ledger", path);
}

static bool is_there(unsigned i)
{
    char name[PATH_SIZE + 16];
    struct stat st;
    name_of(name, i);
    return stat(name, &st) == 0;
}

static struct price price_of(struct arena *a)
{
    struct err e = ERR_INIT;
    struct price p = {.source = PRICE_OVERRIDE, .provider = STR("up"), .model = STR("m")};
    yyjson_val *v;
    ck_assert(json_parse(a, STR("{\"input\":1,\"output\":2}"), 0, &v, &e) &&
              price_read(a, v, "p", &p, &e));
    price_seal(a, &p);
    return p;
}

static struct usage_record record(const struct price *p, int64_t n, int64_t account)
{
    struct usage_record r = {.status = 200,
                             .usage = IR_USAGE_NONE,
                             .quality = USAGE_REPORTED,
                             .key_id = "k",
                             .model = "m",
                             .upstream = "up",
                             .upstream_model = "m"};
    (void)snprintf(r.request_id, sizeof r.request_id, "req_%lld", (long long)n);
    r.usage.input_total = 1000;
    r.usage.output_total = n;
    r.money = (struct usage_money){.id = ledger_id_at(1700000000000 + n),
                                   .account = account,
                                   .admitted_ms = 1700000000000 + n - 250,
                                   .price = p->version,
                                   .end = MONEY_DONE};
    struct usage_vector parts = ledger_parts(&r);
    struct cost c = price_cost(p, SERVICE_STANDARD, &parts);
    r.money.cost_nanousd = c.nanousd;
    r.money.state = (uint8_t)c.state;
    return r;
}

static void put(struct journal *j, unsigned ring, const struct usage_record *r)
{
    struct settled *s = journal_begin(j, ring);
    ck_assert_ptr_nonnull(s);
    settled_fill(s, r);
    journal_end(j, ring);
}

static int64_t number(const char *sql)
{
    struct err e = ERR_INIT;
    struct db *db = db_open(path, DB_READ_ONLY, &e);
    struct stmt *s = db ? db_prepare(db, sql, &e) : NULL;
    ck_assert_msg(s && stmt_step(s, &e), "%s: %s", sql, e.message);
    int64_t n = stmt_int(s, 0);
    stmt_free(s);
    db_close(db);
    return n;
}

/* Another process puts `lines`, has `written` of each ring committed, and is killed. */
static void killed(unsigned rings, int lines, uint32_t written)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct arena *a = arena_new();
        struct price p = price_of(a);
        struct journal *j = journal_new(path, rings);
        struct str text, tag = STR("red");
        int64_t account = ledger_account_id(a, STR("acme"), STR("ann"), &tag, 1, &text);
        journal_learn(j, p.version, p.text);
        journal_learn(j, account, text);
        for (int i = 0; i < lines; i++) {
            struct usage_record r = record(&p, i, account);
            unsigned ring = (unsigned)i % rings;
            put(j, ring, &r);
            if (journal_tail(j, ring) < written)
                journal_let_go(j, ring, journal_head(j, ring));
        }
        (void)raise(SIGKILL);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct journal_found recover(void)
{
    struct journal_found found;
    struct err e = ERR_INIT;
    ck_assert_msg(journal_recover(path, &found, &e), "%s", e.message);
    return found;
}

static void overwrite(unsigned file, off_t at, const void *bytes, size_t n)
{
    char name[PATH_SIZE + 16];
    name_of(name, file);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
    (void)close(fd);
}

START_TEST(lines_outlive_the_process_and_are_added_once)
{
    begin();
    killed(2, 100, 0);
    ck_assert(is_there(0));
    struct journal_found found = recover();
    ck_assert_uint_eq(found.lines, 100);
    ck_assert_uint_eq(found.added, 100);
    ck_assert_uint_eq(found.torn, 0);
    ck_assert(!is_there(0));
    ck_assert_uint_eq(recover().files, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM ledger WHERE lasted_ms = 250"), 100);
    ck_assert_int_eq(number("SELECT count(*) FROM ledger_kind WHERE org = 'acme' AND user = 'ann'"
                            " AND tags = '[\"red\"]' AND key = 'k'"),
                     1);
    struct err e = ERR_INIT;
    struct db *db = db_open(path, DB_READ_ONLY, &e);
    struct ledger_check c;
    ck_assert_msg(ledger_check(db, 0, 0, &c, &e), "%s", e.message);
    ck_assert_int_eq(c.lines, 100);
    ck_assert_int_eq(c.wrong + c.wrong_hours + c.missing_prices + c.unpriced, 0);
    db_close(db);
    killed(1, 100, 0); /* the same lines, from another process: the ledger has them */
    found = recover();
    ck_assert_uint_eq(found.lines, 100);
    ck_assert_uint_eq(found.added, 0);
    ck_assert_int_eq(number("SELECT sum(n) FROM ledger_hour"), 100);
}
END_TEST

START_TEST(what_was_committed_is_left_alone_however_often_the_ring_went_round)
{
    begin();
    killed(1, 10000, 9990);
    struct journal_found found = recover();
    ck_assert_uint_eq(found.lines, 10);
    ck_assert_uint_eq(found.torn, 0);
    ck_assert_int_eq(number("SELECT min(output) FROM ledger"), 9990);
}
END_TEST

START_TEST(half_a_line_is_none)
{
    begin();
    killed(1, 5, 0);
    overwrite(0, SLOTS_AT + 1 * SLOT + 40, "x", 1);       /* a line is not what it was */
    overwrite(0, SLOTS_AT + 3 * SLOT, "\377\377\377", 3); /* nor is when it was stored */
    struct journal_found found = recover();
    ck_assert_uint_eq(found.lines, 3);
    ck_assert_uint_eq(found.added, 3);
    ck_assert_uint_eq(found.torn, 2);
    ck_assert_int_eq(number("SELECT sum(output) FROM ledger"), 0 + 2 + 4);
    killed(1, 3, 0);
    overwrite(0, SLOTS_AT + 1 * SLOT, "\0\0\0\0\0\0\0\0", 8); /* never finished: killed meanwhile */
    found = recover();
    ck_assert_uint_eq(found.lines, 2);
    ck_assert_uint_eq(found.torn, 0);
}
END_TEST

START_TEST(a_price_that_was_half_written_is_unknown_and_its_lines_count)
{
    begin();
    killed(1, 3, 0);
    char name[PATH_SIZE + 16];
    struct stat st;
    name_of(name, 0);
    ck_assert_int_eq(stat(name, &st), 0);
    ck_assert_int_eq(truncate(name, SLOTS_AT + 4096 * SLOT + 40), 0);
    ck_assert_uint_eq(recover().added, 3);
    ck_assert_int_eq(number("SELECT sum(amount) FROM ledger"), 3 * 1000000 + (0 + 1 + 2) * 2000);
    ck_assert_int_eq(number("SELECT sum(price) FROM ledger"), 0);
}
END_TEST

START_TEST(files_of_others_are_left_alone)
{
    begin();
    killed(1, 2, 0);
    const uint32_t version = 99;
    overwrite(0, 8, &version, sizeof version);
    ck_assert_uint_eq(recover().files, 0);
    ck_assert(is_there(0));
    killed(1, 3, 0); /* has one of its own, beside it */
    ck_assert(is_there(1));
    struct journal *mine = journal_new(path, 1); /* a process that lives */
    struct arena *a = arena_new();
    struct price p = price_of(a);
    struct usage_record r = record(&p, 7, 0);
    put(mine, 0, &r);
    struct journal_found found = recover();
    ck_assert_uint_eq(found.files, 1);
    ck_assert_uint_eq(found.added, 3);
    ck_assert(is_there(0) && !is_there(1) && is_there(2));
    journal_free(mine, true);
    ck_assert(!is_there(2));
    arena_free(a);
    overwrite(0, 0, "\0\0\0\0\0\0\0\0", 8); /* killed before it was begun */
    ck_assert_uint_eq(recover().files, 0);
    ck_assert(!is_there(0));
}
END_TEST

START_TEST(without_a_file_lines_are_in_memory_until_the_ring_is_full)
{
    begin();
    struct journal *j = journal_new("/nonexistent/folder/test.db", 1);
    ck_assert(!journal_is_kept(j));
    unsigned n = 0;
    struct arena *a = arena_new();
    struct price p = price_of(a);
    struct usage_record r = record(&p, 1, 0);
    while (n < 100000 && journal_begin(j, 0)) {
        put(j, 0, &r);
        n++;
    }
    ck_assert_uint_eq(n, 4096);
    journal_let_go(j, 0, 10);
    put(j, 0, &r);
    ck_assert_str_eq(journal_at(j, 0, 10)->text + journal_at(j, 0, 10)->n_of, "req_1");
    journal_free(j, false);
    /* no room for the file: none of it stays */
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit had, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &had), 0);
    small = (struct rlimit){100000, had.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    j = journal_new(path, 1);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &had), 0);
    ck_assert(!journal_is_kept(j));
    ck_assert(!is_there(0));
    put(j, 0, &r);
    journal_free(j, true);
    arena_free(a);
}
END_TEST

START_TEST(a_store_that_refuses_leaves_the_file)
{
    begin();
    killed(1, 5, 0);
    struct err e = ERR_INIT;
    struct journal_found found;
    struct db *db = db_open(path, DB_READ_WRITE, &e);
    ck_assert(db && db_exec(db, "ALTER TABLE ledger RENAME TO elsewhere", &e));
    ck_assert(!journal_recover(path, &found, &e));
    ck_assert(is_there(0));
    e = (struct err)ERR_INIT;
    ck_assert(db_exec(db, "ALTER TABLE elsewhere RENAME TO ledger", &e));
    db_close(db);
    ck_assert_uint_eq(recover().added, 5);
    ck_assert(!is_there(0));
}
END_TEST

UNIT_MAIN("journal", lines_outlive_the_process_and_are_added_once,
          what_was_committed_is_left_alone_however_often_the_ring_went_round, half_a_line_is_none,
          a_price_that_was_half_written_is_unknown_and_its_lines_count,
          files_of_others_are_left_alone, without_a_file_lines_are_in_memory_until_the_ring_is_full,
          a_store_that_refuses_leaves_the_file)
