/* org.h - organisations and users: whom client keys belong to. The two are alike, so they share one row and one struct; a user may belong to
 * an organisation. Users here own keys; who signs in to administer is an operator (domain/operator.h). */
#ifndef DOMAIN_ORG_H
#define DOMAIN_ORG_H
#include "domain/snapshot.h"
#include "json/json.h"
#include "store/db.h"

struct holder_row {
    struct holder_row *next;
    struct str id, name;
    struct str org;           /* of a user; empty: none */
    struct str limits;        /* JSON; empty: none */
    bool is_enabled;
    int64_t created_ms;
};
const char *holder_word(enum holder_kind k);                  /* "org", "user" */
const char *holder_section(enum holder_kind k);               /* of the configuration file: "orgs", "users" */
bool holder_list(struct db *db, struct arena *a, enum holder_kind k, struct holder_row **out, struct err *e) MUST_USE; /* by id */
bool holder_get(struct db *db, struct arena *a, enum holder_kind k, struct str id, struct holder_row *out, struct err *e) MUST_USE; /* ERR_NOT_FOUND */
bool holder_put(struct db *db, enum holder_kind k, const struct holder_row *r, struct err *e) MUST_USE; /* insert or replace; made now without created_ms */
bool holder_delete(struct db *db, enum holder_kind k, struct str id, struct err *e) MUST_USE; /* ERR_NOT_FOUND */
/* 1 to 64 of a-z A-Z 0-9 _ - . @, so that it can stand in paths, logs and lists: ERR_INPUT of "id". */
bool holder_check(const struct holder_row *r, struct err *e) MUST_USE;

/* As the configuration file has it, under its id. */
void holder_write(struct jw *w, struct arena *a, const struct holder_row *r);
bool holder_read(struct arena *a, enum holder_kind k, struct str id, yyjson_val *v, struct holder_row *out, struct err *e) MUST_USE;
#endif
