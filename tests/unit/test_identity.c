/* Ranges of addresses, who is behind a proxy, locking out, and sessions as time goes by. Nothing here sleeps: time is an argument. */
#include "base/arena.h"
#include "gate/identity.h"
#include "gate/lockout.h"
#include "gate/password.h"
#include "gate/peer.h"
#include "http/cidr.h"
#include "domain/setting.h"
#include "state_kit.h"

static struct settings set;
static struct arena *arena;
static struct db *db;
static struct identity *id;
static const uint8_t pepper[32] = {7};

static void begin(void)
{
    struct err e = ERR_INIT;
    settings_default(&set);
    set.password_memory_bytes = 8192;
    set.password_passes = 1;
    arena = arena_new();
    db = state_db();
    id = identity_new(pepper);
    ck_assert_msg(identity_load(id, db, &e), "%s", e.message);
}

static void end(void)
{
    identity_free(id);
    db_close(db);
    arena_free(arena);
}

/* ---- ranges ---- */

START_TEST(ranges_of_addresses)
{
    static const struct {
        const char *list, *address;
        bool is_in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.8", false},
        {"192.0.2.6/31", "192.0.2.7", true},
        {"192.0.2.4/31", "192.0.2.7", false},
        {"0.0.0.0/0", "203.0.113.5", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {" 1.1.1.1 , 10.0.0.0/8,", "10.0.0.1", true},
        {"", "10.0.0.1", false},
        {"10.0.0.0/8", "", false},
        {"10.0.0.0/8", "10.0.0.1.evil", false},
        {"nonsense, 10.0.0.0/8", "10.0.0.1", true},
        {"192.168.*.*", "192.168.255.1", true},
        {"192.168.*.*", "192.169.0.1", false},
        {"192.168.*.*", "::ffff:192.168.3.4", true},
        {"203.0.113.*", "203.0.113.0", true},
        {"203.0.113.*", "203.0.114.0", false},
        {"*.*.*.*", "8.8.8.8", true},
        {"*.*.*.*", "2001:db8::1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(cidr_list_has(str_of(cases[i].list), str_of(cases[i].address)) ==
                          cases[i].is_in,
                      "%s in %s", cases[i].address, cases[i].list);
    static const char *const bad[] = {"10.0.0.0/33",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/",
                                      "10.0.0",
                                      "::/129",
                                      "host.example",
                                      "10.0.0.0/8 11.0.0.0/8",
                                      "1.2.3.4/8/9",
                                      "*",
                                      "10.*",
                                      "10.*.1.*",
                                      "10.1*.*.*",
                                      "10.1.2.*.*",
                                      "10.1.*.",
                                      "*.*.*.*.*",
                                      "10.1.*.*/16",
                                      "2001:db8::*",
                                      "10.1.*.*.0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = ERR_INIT;
        ck_assert_msg(!cidr_list_check(str_of(bad[i]), &e), "%s", bad[i]);
        ck_assert_int_eq(e.kind, ERR_INPUT);
    }
    ck_assert(cidr_list_check(STR("10.0.0.0/8, ::1,2001:db8::/32,"), NULL));
}
END_TEST

/* ---- peers ---- */

static struct http_req request(struct http_header *h, size_t n)
{
    return (struct http_req){.headers = h, .n_headers = n, .peer = STR("10.0.0.1")};
}

START_TEST(the_client_behind_proxies)
{
    static const struct {
        const char *trusted, *one, *two, *address;
    } cases[] = {
        {"", "1.1.1.1", NULL, "10.0.0.1"},
        {"10.0.0.1", "1.1.1.1", NULL, "1.1.1.1"},
        {"10.0.0.0/8", "1.1.1.1, 10.0.0.2", NULL, "1.1.1.1"},
        {"10.0.0.1", "1.1.1.1, 10.0.0.2", NULL, "10.0.0.2"},
        {"10.0.0.0/8", "9.9.9.9", "1.1.1.1, 10.0.0.2", "1.1.1.1"}, /* two headers are one list */
        {"10.0.0.0/8", "9.9.9.9, 1.1.1.1", "10.0.0.2", "1.1.1.1"},
        {"10.0.0.0/8", "10.0.0.3, 10.0.0.2", NULL, "10.0.0.3"},
        {"10.0.0.0/8", "evil, 10.0.0.2", NULL, "10.0.0.2"},
        {"10.0.0.0/8", ",,", NULL, "10.0.0.1"},
        {"10.0.0.0/8", "", NULL, "10.0.0.1"},
        {"10.0.0.0/8", "[2001:db8::1]:8080", NULL, "2001:db8::1"},
        {"10.0.0.0/8", "1.1.1.1:8080", NULL, "1.1.1.1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_header h[2] = {{STR("x-forwarded-for"), str_of(cases[i].one)},
                                   {STR("x-forwarded-for"), str_of(cases[i].two)}};
        struct http_req r = request(h, cases[i].two ? 2 : 1);
        check_str(peer_address(&r, str_of(cases[i].trusted)), str_of(cases[i].address));
    }
}
END_TEST

START_TEST(pages_of_this_origin)
{
    static const struct {
        const char *host, *origin, *site, *proto;
        bool is_same, is_cross;
    } cases[] = {
        {"a.example", NULL, NULL, NULL, false, false}, /* a program */
        {"a.example", "http://a.example", NULL, NULL, true, false},
        {"a.example:80", "http://a.example", NULL, NULL, true, false},
        {"a.example:8765", "http://a.example:8765", NULL, NULL, true, false},
        {"a.example:8765", "http://a.example", NULL, NULL, false, true},
        {"a.example", "http://A.EXAMPLE", NULL, NULL, true, false},
        {"a.example", "https://a.example", NULL, NULL, false, true},
        {"a.example", "https://a.example", NULL, "https", true, false},
        {"a.example", "https://a.example", NULL, "http, https", true, false},
        {"a.example", "http://a.example.evil", NULL, NULL, false, true},
        {"a.example", "null", NULL, NULL, false, true},
        {"a.example", NULL, "same-origin", NULL, true, false},
        {"a.example", NULL, "same-site", NULL, false, true},
        {"a.example", NULL, "cross-site", NULL, false, true},
        {"a.example", NULL, "none", NULL, false, false},
        {"a.example", "http://a.example", "cross-site", NULL, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_header h[4];
        size_t n = 0;
        h[n++] = (struct http_header){STR("host"), str_of(cases[i].host)};
        if (cases[i].origin)
            h[n++] = (struct http_header){STR("origin"), str_of(cases[i].origin)};
        if (cases[i].site)
            h[n++] = (struct http_header){STR("sec-fetch-site"), str_of(cases[i].site)};
        if (cases[i].proto)
            h[n++] = (struct http_header){STR("x-forwarded-proto"), str_of(cases[i].proto)};
        struct http_req r = request(h, n);
        ck_assert_msg(peer_is_same_origin(&r, STR("10.0.0.1")) == cases[i].is_same, "same %zu", i);
        ck_assert_msg(peer_is_cross_origin(&r, STR("10.0.0.1")) == cases[i].is_cross, "cross %zu",
                      i);
        if (cases[i].proto)
            ck_assert(!peer_is_https(&r, STR_NONE));
    }
}
END_TEST

START_TEST(cookies_and_groups)
{
    struct http_header h[2] = {{STR("cookie"), STR("a=1; sluice_session=abc ; b=2")},
                               {STR("cookie"), STR("sluice_sessionx=no; c=\"q\"")}};
    struct http_req r = request(h, 2);
    arena = arena_new();
    check_text(peer_cookie(&r, STR("a")), "1");
    check_text(peer_cookie(&r, STR("sluice_session")), "abc");
    check_text(peer_cookie(&r, STR("c")), "\"q\"");
    check_text(peer_cookie(&r, STR("d")), "");
    check_text(peer_group(arena, STR("10.1.2.3")), "10.1.2.3");
    check_text(peer_group(arena, STR("::ffff:10.1.2.3")), "10.1.2.3");
    check_text(peer_group(arena, STR("2001:db8:1:2:3::4")), "2001:db8:1:2::/64");
    arena_free(arena);
}
END_TEST

/* ---- locking out ---- */

static int64_t fail_once(struct lockout *l, const char *address, int64_t now)
{
    struct lockout_row row;
    int64_t left;
    ck_assert(lockout_begin(l, str_of(address), &set, now, &left));
    return lockout_failed(l, str_of(address), &set, now, &row);
}

START_TEST(locks_and_doubles_and_forgets)
{
    int64_t left;
    settings_default(&set);
    struct lockout *l = lockout_new(10);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(fail_once(l, "a", 1000), 0);
    ck_assert_int_eq(fail_once(l, "a", 1000), 300000);
    ck_assert_int_eq(lockout_left_ms(l, STR("a"), 1000), 300000);
    ck_assert_int_eq(lockout_left_ms(l, STR("b"), 1000), 0);
    ck_assert(!lockout_begin(l, STR("a"), &set, 300999, &left));
    ck_assert_int_eq(left, 1);
    /* over: counted from the start, and locked for longer */
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(fail_once(l, "a", 301000), 0);
    ck_assert_int_eq(fail_once(l, "a", 301000), 600000);
    ck_assert_int_eq(lockout_left_ms(l, STR("a"), 301000), 600000);
    /* never for longer than the longest */
    int64_t now = 1000000;
    for (int k = 0; k < 6; k++) {
        now += 4000000;
        for (int i = 0; i < 4; i++)
            (void)fail_once(l, "a", now);
        left = fail_once(l, "a", now);
    }
    ck_assert_int_eq(left, 3600000);
    /* a day of peace */
    now += LOCKOUT_MEMORY_MS + 4000000;
    for (int i = 0; i < 4; i++)
        (void)fail_once(l, "a", now);
    ck_assert_int_eq(fail_once(l, "a", now), 300000);
    lockout_free(l);
}
END_TEST

START_TEST(old_failures_and_successes_do_not_count)
{
    int64_t left;
    settings_default(&set);
    struct lockout *l = lockout_new(10);
    for (int i = 0; i < 20; i++) /* each too late for the one before */
        ck_assert_int_eq(fail_once(l, "a", 1000 + i * 300001ll), 0);
    for (int i = 0; i < 4; i++)
        (void)fail_once(l, "b", 1000);
    ck_assert(lockout_begin(l, STR("b"), &set, 1000, &left));
    lockout_succeeded(l, STR("b"));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(fail_once(l, "b", 1000), 0);
    lockout_free(l);
}
END_TEST

START_TEST(tries_under_way_count)
{
    int64_t left;
    settings_default(&set);
    struct lockout *l = lockout_new(10);
    for (int i = 0; i < 5; i++)
        ck_assert(lockout_begin(l, STR("a"), &set, 1000, &left));
    ck_assert(!lockout_begin(l, STR("a"), &set, 1000, &left));
    lockout_undecided(l, STR("a"));
    ck_assert(lockout_begin(l, STR("a"), &set, 1000, &left));
    lockout_succeeded(l, STR("a")); /* others are still under way */
    ck_assert(lockout_begin(l, STR("a"), &set, 1000, &left));
    for (int i = 0; i < 5; i++)
        lockout_undecided(l, STR("a"));
    ck_assert_uint_eq(lockout_size(l), 0);
    lockout_free(l);
}
END_TEST

START_TEST(the_table_is_bounded_and_keeps_what_tells_most)
{
    char address[32];
    settings_default(&set);
    struct lockout *l = lockout_new(10);
    for (int i = 0; i < 5; i++)
        (void)fail_once(l, "locked", 1000);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(address, sizeof address, "a%d", i);
        (void)fail_once(l, address, 2000 + i);
    }
    ck_assert_uint_eq(lockout_size(l), 10);
    ck_assert_int_gt(lockout_left_ms(l, STR("locked"), 5000), 0);
    ck_assert_int_eq(lockout_failures(l, STR("a999")), 1);
    ck_assert_int_eq(lockout_failures(l, STR("a1")), 0);
    lockout_free(l);
}
END_TEST

START_TEST(a_clock_set_back_locks_nobody_out_for_ever)
{
    int64_t left;
    settings_default(&set);
    struct lockout *l = lockout_new(10);
    for (int i = 0; i < 5; i++)
        (void)fail_once(l, "a", 900000000000);
    ck_assert(!lockout_begin(l, STR("a"), &set, 1000, &left));
    ck_assert_int_le(left, set.login_lockout_max_ms);
    lockout_free(l);
}
END_TEST

START_TEST(the_store_is_the_truth_but_for_what_it_lacks)
{
    struct lockout_row row;
    int64_t left;
    settings_default(&set);
    struct lockout *l = lockout_new(10);
    ck_assert(lockout_begin(l, STR("a"), &set, 1000, &left));
    (void)lockout_failed(l, STR("a"), &set, 1000, &row);
    lockout_sync(l, NULL); /* not stored yet */
    ck_assert_int_eq(lockout_failures(l, STR("a")), 1);
    lockout_stored(l, &row);
    lockout_sync(l, NULL); /* stored, and then taken away by somebody */
    ck_assert_int_eq(lockout_failures(l, STR("a")), 0);
    row.failures = 3;
    lockout_sync(l, &row);
    ck_assert_int_eq(lockout_failures(l, STR("a")), 3);
    lockout_free(l);
}
END_TEST

START_TEST(the_store_is_bounded_as_well)
{
    struct err e = ERR_INIT;
    struct lockout_row *rows;
    char address[32];
    begin();
    for (int i = 0; i < 20; i++) {
        (void)snprintf(address, sizeof address, "a%d", i);
        struct lockout_row row = {.address = str_of(address),
                                  .failures = 1,
                                  .last_ms = 1000 + i,
                                  .until_ms = i == 3 ? 5000 : 0};
        ck_assert(lockout_put(db, &row, &e));
    }
    ck_assert(lockout_delete_old(db, 1010, 5, &e)); /* ten are old, but one is locked; five stay */
    ck_assert(lockout_list(db, arena, &rows, &e));
    int n = 0, locked = 0;
    for (struct lockout_row *r = rows; r; r = r->next, n++)
        locked += str_is(r->address, "a3");
    ck_assert_int_eq(n, 5);
    ck_assert_int_eq(locked, 1);
    end();
}
END_TEST

/* ---- passwords ---- */

START_TEST(passwords_are_argon2id)
{
    struct password_cost cost = {8192, 1}, more = {16384, 2};
    struct err e = ERR_INIT;
    struct str hash;
    char big[PASSWORD_MAX + 1];
    arena = arena_new();
    ck_assert(password_hash(arena, secret_of(STR("hunter")), cost, &hash, &e));
    ck_assert(str_starts(hash, STR("$argon2id$")));
    ck_assert(password_is_right(hash, secret_of(STR("hunter")), cost));
    ck_assert(!password_is_right(hash, secret_of(STR("hunter ")), cost));
    ck_assert(!password_is_right(hash, secret_of(STR("")), cost));
    ck_assert(!password_is_right(STR(""), secret_of(STR("")), cost));
    ck_assert(!password_is_right(STR("garbage"), secret_of(STR("garbage")), cost));
    ck_assert(!password_is_stale(arena, hash, cost));
    ck_assert(password_is_stale(arena, hash, more));
    memset(big, 'x', sizeof big);
    ck_assert(!password_hash(arena, secret_of(str_n(big, sizeof big)), cost, &hash, &e));
    ck_assert_int_eq(e.kind, ERR_INPUT);
    arena_free(arena);
}
END_TEST

/* ---- sessions ---- */

static void adopt(const char *password, int64_t now, bool expected_change)
{
    struct err e = ERR_INIT;
    bool changed;
    ck_assert_msg(
        identity_adopt(id, db, &set, secret_of(str_of(password)), ORIGIN_FILE, now, &changed, &e) &&
            identity_load(id, db, &e),
        "%s", e.message);
    ck_assert_int_eq(changed, expected_change);
}

static struct signed_in sign_in(const char *password, int64_t now)
{
    struct signed_in out;
    struct err e = ERR_INIT;
    struct sign_in in = {.password = secret_of(str_of(password)), .address = STR("10.0.0.1")};
    ck_assert_msg(identity_sign_in(id, db, arena, &set, &in, now, &out, &e), "%s", e.message);
    return out;
}

static bool holds(struct str token, int64_t now)
{
    struct principal who;
    return identity_session(id, arena, token, &set, now, &who) && who.role == ROLE_OWNER;
}

START_TEST(sessions_end_by_age_and_idleness)
{
    begin();
    set.session_ttl_ms = 1000000;
    set.session_idle_ms = 100000;
    adopt("hunter", 1000, true);
    struct str t = sign_in("hunter", 1000).token;
    ck_assert(holds(t, 1000) && holds(t, 100999));
    for (int64_t now = 100999; now < 1001000; now += 90000)
        ck_assert(holds(t, now));
    ck_assert(!holds(t, 1001000)); /* used all the time, and over */
    t = sign_in("hunter", 2000000).token;
    ck_assert(!holds(t, 2100000));
    ck_assert(!holds(STR(""), 2000000) && !holds(str_first(t, 63), 2000000));
    end();
}
END_TEST

START_TEST(uses_are_written_now_and_then)
{
    struct err e = ERR_INIT;
    struct session_row *rows;
    begin();
    set.session_idle_ms = 100000;
    adopt("hunter", 1000, true);
    struct str t = sign_in("hunter", 1000).token;
    ck_assert(holds(t, 90000));
    ck_assert(identity_load(id, db, &e)); /* what is not written yet is not forgotten */
    ck_assert(holds(t, 150000));
    ck_assert(identity_sweep(id, db, &set, 150000, &e));
    ck_assert(session_list(db, arena, &rows, &e));
    ck_assert_int_eq(rows->seen_ms, 150000);
    struct identity *other = identity_new(pepper); /* as after a restart */
    struct principal who;
    ck_assert(identity_load(other, db, &e));
    ck_assert(identity_session(other, arena, t, &set, 240000, &who));
    identity_free(other);
    ck_assert(identity_sweep(id, db, &set, 900000, &e));
    ck_assert(session_list(db, arena, &rows, &e));
    ck_assert_ptr_null(rows);
    end();
}
END_TEST

START_TEST(a_password_of_the_file_is_known_again)
{
    begin();
    ck_assert(!identity_is_configured(id));
    adopt("hunter", 1000, true);
    ck_assert(identity_is_configured(id));
    struct str t = sign_in("hunter", 1000).token;
    adopt("hunter", 2000, false); /* a reload without news */
    ck_assert(holds(t, 2000));
    adopt("other", 3000, true);
    ck_assert(!holds(t, 3000));
    t = sign_in("other", 3000).token;
    adopt("", 4000, true); /* taken out */
    ck_assert(!holds(t, 4000) && !identity_is_configured(id));
    adopt("", 5000, false);
    adopt("other", 6000, true);
    (void)sign_in("other", 6000);
    end();
}
END_TEST

START_TEST(a_claim_works_once_and_not_for_ever)
{
    struct err e = ERR_INIT;
    struct str token, late;
    struct signed_in out;
    struct sign_in in = {.password = secret_of(STR("long enough")), .address = STR("10.0.0.1")};
    begin();
    set.claim_ttl_ms = 1000;
    ck_assert(identity_claim_new(db, arena, &set, 1000, &late, &e));
    ck_assert(!identity_claim(id, db, arena, &set, late, &in, 2000, &out, &e));
    ck_assert_str_eq(e.code, "invalid_claim");
    ck_assert(identity_claim_new(db, arena, &set, 2000, &token, &e));
    e = (struct err)ERR_INIT;
    ck_assert(!identity_claim(id, db, arena, &set, late, &in, 2500, &out, &e));
    ck_assert(identity_claim(id, db, arena, &set, token, &in, 2500, &out, &e));
    ck_assert(holds(out.token, 2500) && identity_is_configured(id));
    ck_assert(!identity_claim(id, db, arena, &set, token, &in, 2600, &out, &e));
    end();
}
END_TEST

UNIT_MAIN("identity", ranges_of_addresses, the_client_behind_proxies, pages_of_this_origin,
          cookies_and_groups, locks_and_doubles_and_forgets,
          old_failures_and_successes_do_not_count, tries_under_way_count,
          the_table_is_bounded_and_keeps_what_tells_most,
          a_clock_set_back_locks_nobody_out_for_ever, the_store_is_the_truth_but_for_what_it_lacks,
          the_store_is_bounded_as_well, passwords_are_argon2id, sessions_end_by_age_and_idleness,
          uses_are_written_now_and_then, a_password_of_the_file_is_known_again,
          a_claim_works_once_and_not_for_ever)
