/* The address filter: ranges of both families, modes, bans that end. */
#include "gate/ipfilter.h"
#include "unit.h"

static enum ip_verdict ask(const struct snapshot *s, const char *address, int64_t now)
{
    int64_t until;
    return s->ip_filter ? ip_filter_ask(s->ip_filter, str_of(address), now, &until) : IP_PASSES;
}

static void check_all(const char *mode, const char *allow, const char *deny,
                      const char *const *passes, const char *const *fails)
{
    struct snapshot *s = snapshot_new();
    s->settings.ip_filter = str_of(mode);
    s->settings.ip_allow = str_of(allow);
    s->settings.ip_deny = str_of(deny);
    ip_filter_build(s);
    for (; *passes; passes++)
        ck_assert_msg(ask(s, *passes, 0) == IP_PASSES, "%s: %s", mode, *passes);
    for (; *fails; fails++)
        ck_assert_msg(ask(s, *fails, 0) != IP_PASSES, "%s: %s", mode, *fails);
    snapshot_unref(s);
}

#define LIST(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

START_TEST(ranges_and_modes)
{
    check_all("off", "10.0.0.0/8", "0.0.0.0/0", LIST("1.2.3.4", "::1", "garbage"), LIST(NULL));
    check_all(
        "deny", "", "10.0.0.0/8, 192.0.2.7,10.1.0.0/16,2001:db8::/33",
        LIST("9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.8", "2001:db8:8000::", "garbage"),
        LIST("10.0.0.0", "10.255.255.255", "10.1.2.3", "192.0.2.7", "::ffff:10.0.0.1",
             "2001:db8::", "2001:db8:7fff:ffff::1"));
    check_all("allow", "203.0.113.64/26,fe80::/10,203.0.113.0/27", "",
              LIST("203.0.113.64", "203.0.113.127", "203.0.113.31", "fe80::1", "febf::1"),
              LIST("203.0.113.63", "203.0.113.128", "203.0.113.32", "fec0::1", "garbage", ""));
    check_all("allow", "", "", LIST(NULL), LIST("127.0.0.1"));
    check_all("both", "10.0.0.7", "10.0.0.0/8", LIST("10.0.0.7", "8.8.8.8", "::1"),
              LIST("10.0.0.8"));
    check_all("deny", "", "0.0.0.0/0", LIST("2001:db8::1"), LIST("0.0.0.0", "255.255.255.255"));
    check_all("deny", "", "::/0", LIST(NULL), LIST("2001:db8::1", "1.2.3.4"));
}
END_TEST

START_TEST(bans_end)
{
    struct snapshot *s = snapshot_new();
    struct ip_ban bans[] = {{.address = STR_INIT("10.0.0.0/24"), .until_ms = 1000},
                            {.address = STR_INIT("2001:db8::1"), .until_ms = 2000}};
    s->settings.ip_filter = STR("off");
    ip_filter_build(s);
    ck_assert_ptr_null(s->ip_filter); /* costs nothing */
    s->ip_bans = bans;
    s->n_ip_bans = 2;
    ip_filter_build(s);
    ck_assert_int_eq(ask(s, "10.0.0.255", 999), IP_BANNED);
    ck_assert_int_eq(ask(s, "10.0.0.255", 1000), IP_PASSES);
    ck_assert_int_eq(ask(s, "10.0.1.0", 0), IP_PASSES);
    ck_assert_int_eq(ask(s, "2001:db8::1", 1999), IP_BANNED);
    ck_assert_int_eq(ask(s, "2001:db8::1", 2000), IP_PASSES);
    snapshot_unref(s);
}
END_TEST

UNIT_MAIN("ipfilter", ranges_and_modes, bans_end)
