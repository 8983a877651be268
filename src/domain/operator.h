/* operator.h - who administers: operators, their sessions, locked-out addresses and the claim link, as the store holds them.
 * Texts read live in the given arena. */
#ifndef DOMAIN_OPERATOR_H
#define DOMAIN_OPERATOR_H
#include "base/arena.h"
#include "base/codec.h"
#include "base/err.h"
#include "store/db.h"

#define OPERATOR_NAME "admin" /* of the first one, when nothing else is said, and of the one whose password stands in the file */
#define OPERATOR_NAME_MAX 64

struct operator_row {
    struct operator_row *next;
    struct str id, name;
    int64_t role;             /* enum role */
    struct str password;      /* Argon2id text; empty: nobody signs in as this one */
    struct str fingerprint;   /* of a password that file or environment give; empty: set otherwise */
    int64_t origin;           /* enum origin, of the password */
    bool is_enabled;
    int64_t created_ms, changed_ms;
};
bool operator_list(struct db *db, struct arena *a, struct operator_row **out, struct err *e) MUST_USE; /* by name */
/* By id, or by name when there is none of that id; names are compared without case. ERR_NOT_FOUND. */
bool operator_get(struct db *db, struct arena *a, struct str id_or_name, struct operator_row *out, struct err *e) MUST_USE;
bool operator_put(struct db *db, const struct operator_row *o, struct err *e) MUST_USE; /* insert, or change the one of this id; ERR_CONFLICT: the name is taken */
bool operator_delete(struct db *db, struct str id, struct err *e) MUST_USE; /* with its sessions. ERR_NOT_FOUND */
bool operator_name_check(struct str name, struct err *e) MUST_USE;
/* ERR_CONFLICT when nobody else is left who is enabled, an owner and can sign in. Inside the transaction that takes this one away. */
bool operator_is_spare(struct db *db, struct str id, int64_t owner_role, struct err *e) MUST_USE;

struct session_row {
    struct session_row *next;
    uint8_t hash[SHA256_SIZE];
    struct str id, operator_id;
    int64_t created_ms, expires_ms, seen_ms;
    struct str address, agent;
};
bool session_list(struct db *db, struct arena *a, struct session_row **out, struct err *e) MUST_USE; /* last used first */
bool session_insert(struct db *db, const struct session_row *s, struct err *e) MUST_USE;
bool session_touch(struct db *db, const uint8_t hash[SHA256_SIZE], int64_t seen_ms, struct err *e) MUST_USE;
bool session_delete(struct db *db, struct str id, struct err *e) MUST_USE; /* ERR_NOT_FOUND */
/* Of one operator, or of all (operator_id empty), but not the one called except. */
bool session_delete_all(struct db *db, struct str operator_id, struct str except, int64_t *n, struct err *e) MUST_USE;
bool session_delete_over(struct db *db, int64_t now_ms, int64_t unseen_since_ms, struct err *e) MUST_USE; /* expired or idle */
/* All but the `keep` last used; the newest is one of them, whatever the clock said. */
bool session_delete_excess(struct db *db, int64_t keep, const uint8_t newest[SHA256_SIZE], struct err *e) MUST_USE;

struct lockout_row {
    struct lockout_row *next;
    struct str address;
    int64_t failures, last_ms, until_ms, times;
};
bool lockout_list(struct db *db, struct arena *a, struct lockout_row **out, struct err *e) MUST_USE;
bool lockout_put(struct db *db, const struct lockout_row *l, struct err *e) MUST_USE;
bool lockout_delete(struct db *db, struct str address, struct err *e) MUST_USE; /* empty: all */
/* Those without news since then, and all but the `keep` that tell most. */
bool lockout_delete_old(struct db *db, int64_t last_before_ms, int64_t keep, struct err *e) MUST_USE;

bool claim_put(struct db *db, const uint8_t hash[SHA256_SIZE], int64_t expires_ms, struct err *e) MUST_USE; /* replaces an older one */
/* Takes the claim away when it is this one and has not expired: true once. ERR_UNAUTHENTICATED "invalid_claim". */
bool claim_take(struct db *db, const uint8_t hash[SHA256_SIZE], int64_t now_ms, struct err *e) MUST_USE;
#endif
