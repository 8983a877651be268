/* Who may do what: every kind of caller against every level of access. */
#include "gate/principal.h"
#include "unit.h"

static const struct key inference = {.id = STR_INIT("k1"), .scopes = SCOPE_INFERENCE};
static const struct key models = {.id = STR_INIT("k2"), .scopes = SCOPE_MODELS};
static const struct key admin = {
    .id = STR_INIT("k3"), .label = STR_INIT("ops"), .scopes = SCOPE_ADMIN};

START_TEST(levels_and_callers)
{
    /* columns: public inference models viewer member admin owner */
    const struct {
        struct principal who;
        const char *may;
    } rows[] = {
        {principal_of_key(NULL), "1000000"},
        {principal_of_key(&inference), "1110000"},
        {principal_of_key(&models), "1010000"},
        {principal_of_key(&admin), "1001110"},
        {{.kind = PRINCIPAL_OPERATOR, .role = ROLE_VIEWER}, "1001000"},
        {{.kind = PRINCIPAL_OPERATOR, .role = ROLE_MEMBER}, "1001100"},
        {{.kind = PRINCIPAL_OPERATOR, .role = ROLE_ADMIN}, "1001110"},
        {{.kind = PRINCIPAL_OPERATOR, .role = ROLE_OWNER}, "1001111"},
        {{.kind = PRINCIPAL_INTERNAL, .key = &inference}, "1110000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (enum access a = ACCESS_PUBLIC; a <= ACCESS_OWNER; a++)
            ck_assert_msg(principal_may(&rows[i].who, a) == (rows[i].may[a] == '1'), "row %zu, %s",
                          i, access_name(a));
}
END_TEST

START_TEST(a_key_makes_its_principal)
{
    struct principal p = principal_of_key(&admin);
    ck_assert_int_eq(p.kind, PRINCIPAL_ADMIN_KEY);
    check_text(p.id, "k3");
    check_text(p.name, "ops");
    ck_assert_str_eq(principal_kind_name(p.kind), "admin_key");
    ck_assert_int_eq(principal_of_key(&models).kind, PRINCIPAL_CLIENT_KEY);
    ck_assert_int_eq(principal_of_key(NULL).kind, PRINCIPAL_ANONYMOUS);
    ck_assert_int_eq(word_value(role_words, STR("member"), 0), ROLE_MEMBER);
}
END_TEST

UNIT_MAIN("principal", levels_and_callers, a_key_makes_its_principal)
