/* The sessions that clients name: counted, forgotten, and never more than fit. */
#include "relay/sessions.h"
#include "unit.h"
#include <stdio.h>

static size_t count(const struct sessions *s, int64_t now_ms)
{
    struct arena *a = arena_new();
    struct session_info *v;
    size_t n = sessions_list(s, a, now_ms, &v);
    arena_free(a);
    return n;
}

START_TEST(sessions_are_counted_and_forgotten)
{
    struct sessions *s = sessions_new();
    struct arena *a = arena_new();
    struct session_info *v;
    sessions_note(s, STR("one"), STR("k1"), 7, 1000);
    /* refused before anybody was asked */
    sessions_note(s, STR("one"), STR("k1"), UINT32_MAX, 2000);
    sessions_note(s, STR("one"), STR("k2"), 8, 2500); /* another key's is another one */
    ck_assert_uint_eq(sessions_list(s, a, 3000, &v), 2);
    size_t at = str_is(v[0].key, "k1") ? 0 : 1;
    ck_assert(str_is(v[at].id, "one") && v[at].requests == 2 && v[at].upstream == 7);
    ck_assert(v[at].began_ms == 1000 && v[at].last_ms == 2000);
    ck_assert_uint_eq(count(s, 2000 + SESSION_IDLE_MS), 2);
    ck_assert_uint_eq(count(s, 2001 + SESSION_IDLE_MS), 1);
    sessions_note(s, STR("one"), STR("k1"), 9, 5000 + SESSION_IDLE_MS); /* begun anew */
    ck_assert_uint_eq(sessions_list(s, a, 5000 + SESSION_IDLE_MS, &v), 1);
    ck_assert(v[0].requests == 1 && v[0].upstream == 9 && str_is(v[0].key, "k1"));
    arena_free(a);
    sessions_free(s);
}
END_TEST

START_TEST(the_table_never_grows)
{
    struct sessions *s = sessions_new();
    char text[32];
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(text, sizeof text, "session %d", i);
        sessions_note(s, str_of(text), STR_NONE, 1, 1000 + i);
    }
    size_t n = count(s, 30000);
    ck_assert_msg(n > 3500 && n <= 4096, "%zu", n);
    sessions_note(s, STR("newest"), STR_NONE, 1, 40000); /* there is always room for one more */
    struct arena *a = arena_new();
    struct session_info *v;
    size_t found = 0;
    n = sessions_list(s, a, 40000, &v);
    for (size_t i = 0; i < n; i++)
        found += str_is(v[i].id, "newest");
    ck_assert_uint_eq(found, 1);
    arena_free(a);
    sessions_free(s);
}
END_TEST

UNIT_MAIN("sessions", sessions_are_counted_and_forgotten, the_table_never_grows)
