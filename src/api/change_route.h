/* change_route.h - changes of combos, fallback chains and aliases, of prices, budgets and policies, and what a change of providers and models means for them. */
#ifndef API_CHANGE_ROUTE_H
#define API_CHANGE_ROUTE_H
#include "api/change_work.h"
#include "domain/budget.h"
#include "domain/combo.h"

enum section { SECTION_COMBOS, SECTION_CHAINS, SECTION_ALIASES, SECTION_PRICES, SECTION_BUDGETS, SECTION_POLICIES, SECTION_PROXIES }; /* of entry_sections */

struct entry_change {
    enum section section;
    struct str name;          /* that it has, or gets: a combo's, the model of a chain, an alias */
    struct str rename_from;   /* as of providers; references to a combo follow */
    yyjson_val *value;        /* an object: the members that change, null for those that go. Chains: the whole array; NULL: as it is */
    bool replaces;            /* value is the whole entry */
    bool allows_unknown;      /* names that lead nowhere yet; else ERR_INPUT "unknown_model", "unknown_provider" */
    bool removes;             /* of change_entries: it goes, and what refers to it loses it; one that is not there is as good */
};
/* ERR_INPUT names the field: "members[1].model". */
bool change_entry(struct control_call *c, enum change_mode mode, const struct entry_change *in, struct err *e) MUST_USE;
/* Several as one change: each is put, or removed. at (may be NULL): which of them was refused. */
bool change_entries(struct control_call *c, const struct entry_change *v, size_t n, size_t *at, struct err *e) MUST_USE;
/* cascade: what refers to it loses it, and goes when nothing is left of it. Else ERR_CONFLICT "in_use"; users: who does, "combo 'a'". */
bool change_entry_delete(struct control_call *c, enum section section, struct str name, bool cascade, struct strs *users,
                         struct err *e) MUST_USE;

/* The body without one member: what is written of an entry that the body names itself. NULL with e set. */
yyjson_val *change_value_without(struct control_call *c, const char *member, struct err *e);
/* Answers a DELETE of an entry of sluice's own API. */
bool change_entry_gone(struct control_call *c, enum section section, struct str name, bool cascade, struct err *e) MUST_USE;

/* ---- for change.c: what refers to a provider, or to a model or combo ---- */
enum referent { REFERENT_PROVIDER, REFERENT_MODEL };
/* Whether there is an entry of that name, in the file or the store. */
bool entry_stands(struct work *w, enum section s, struct str name, bool *stands, struct err *e) MUST_USE;
bool refs_rename(struct work *w, enum referent what, struct str from, struct str to, struct err *e) MUST_USE;
/* Takes every reference out when drops is set, and what is then empty with it; names those who had one. */
bool refs_drop(struct work *w, enum referent what, struct str name, bool drops, struct strs *users, struct err *e) MUST_USE;
/* Of these models the few that anything may refer to: what need not be looked for, one by one, in all there is. */
bool refs_named(struct work *w, const struct strs *names, struct strs *named, struct err *e) MUST_USE;
/* Budgets and policies that are about nobody but this key, org or user go with it. */
bool refs_drop_of(struct work *w, enum budget_scope scope, struct str id, struct err *e) MUST_USE;
/* What a provider or the setting says of its proxy: an address, or the name of one that there is. ERR_INPUT of "proxy". */
bool change_proxy_known(struct work *w, struct str said, struct err *e) MUST_USE;
bool refs_in_use(struct work *w, const char *what, struct str name, const struct strs *users, struct err *e); /* false when there are users */
#endif
