/* noun.h - providers, models, keys and settings as the store holds them: what was made over the API or the command line.
 * Texts read live in the given arena. */
#ifndef DOMAIN_NOUN_H
#define DOMAIN_NOUN_H
#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"
#include "store/db.h"

struct provider_row {
    struct provider_row *next;
    struct str name, kind, base_url, proxy, ca_file, wire, api_version;
    struct str limits;        /* JSON, see domain/policy.h; empty: none */
    struct str sealed_key;    /* empty: none */
    bool is_enabled;
    int64_t priority, weight; /* among those of its kind: lower ones first; shares. A weight of 0 is read as 1 */
    struct str more;          /* JSON object of the members that provider_member_is_more() knows; empty: none */
};
bool provider_list(struct db *db, struct arena *a, struct provider_row **out, struct err *e) MUST_USE;
bool provider_get(struct db *db, struct arena *a, struct str name, struct provider_row *out, struct err *e) MUST_USE; /* ERR_NOT_FOUND */
bool provider_put(struct db *db, const struct provider_row *p, struct err *e) MUST_USE; /* insert or replace */
/* Its place in lists stays. The sealed key is bound to the old name: put the row with a new one. */
bool provider_rename(struct db *db, struct str from, struct str to, struct err *e) MUST_USE;
/* Whether it can be used at all: ERR_INPUT naming the field. key: in the clear, may be unset. */
bool provider_check_name(struct str name, struct err *e) MUST_USE; /* of a new one, or a new name: llm-rosetta lets them hold spaces */
bool provider_check(struct arena *a, const struct provider_row *p, struct secret key, struct err *e) MUST_USE;
bool provider_delete(struct db *db, struct str name, struct err *e) MUST_USE;           /* ERR_NOT_FOUND */

struct model_row {
    struct model_row *next;
    struct str name;
    struct str targets;       /* JSON: [{"provider":…,"upstream_model":…}] */
    struct str capabilities;  /* JSON: ["text",…] */
    int64_t max_output_tokens, context_tokens; /* -1 unknown */
    struct str limits;        /* JSON; empty: none */
    bool is_enabled, show_alias;
    int64_t created_ms;
    struct str strategy;      /* empty: as the setting target_strategy says */
    struct str label, source; /* for people; manual, imported, auto-sync, or empty */
};
bool model_list(struct db *db, struct arena *a, struct model_row **out, struct err *e) MUST_USE;
bool model_put(struct db *db, const struct model_row *m, struct err *e) MUST_USE;
bool model_delete(struct db *db, struct str name, struct err *e) MUST_USE;

struct key_row {
    struct str id, label;
    uint8_t hash[32];
    int64_t scopes;
    struct str allowed_models; /* JSON array; empty: all */
    bool is_enabled;
    int64_t expires_ms, created_ms;
    struct str hint;          /* the text, masked; empty: not known */
    struct str sealed;        /* the text, bound to the id; empty: not kept */
    int64_t rotated_ms;       /* 0: never */
    struct str policy;        /* JSON, see domain/policy.h; empty: nothing */
};
/* each is called once a key, in order of making (that of the rows); its texts are valid during the call */
bool key_each(struct db *db, void (*each)(void *arg, const struct key_row *k), void *arg, struct err *e) MUST_USE;
/* The same without hint, sealed and rotated_ms, for a start: a hundred thousand in a few milliseconds. In order of created_ms. */
bool key_each_packed(struct db *db, void (*each)(void *arg, const struct key_row *k), void *arg, struct err *e) MUST_USE;
bool key_count(struct db *db, int64_t *n, struct err *e) MUST_USE;
bool key_insert(struct db *db, const struct key_row *k, struct err *e) MUST_USE;
bool key_update(struct db *db, const struct key_row *k, struct err *e) MUST_USE; /* all but its text and created_ms; ERR_NOT_FOUND */
bool key_retext(struct db *db, const struct key_row *k, struct err *e) MUST_USE; /* hash, hint, sealed, rotated_ms; ERR_NOT_FOUND */
bool key_get(struct db *db, struct arena *a, struct str id, struct key_row *out, struct err *e) MUST_USE;
bool key_delete(struct db *db, struct str id, struct err *e) MUST_USE;
/* A new key: sk-sluice- and 64 hex digits (256 random bits). */
struct str key_make(struct arena *a, struct key_row *k);

bool setting_each(struct db *db, struct arena *a, bool (*each)(void *arg, struct str name, struct str value, struct err *e), void *arg,
                  struct err *e) MUST_USE;
bool setting_put(struct db *db, struct str name, struct str value, struct err *e) MUST_USE; /* value p == NULL: back to the default */
#endif
