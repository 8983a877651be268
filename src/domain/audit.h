/* audit.h - the record of what was changed and by whom, as a chain of hashes in the store. Rows are only added at its end and retired
 * from its beginning. */
#ifndef DOMAIN_AUDIT_H
#define DOMAIN_AUDIT_H
#include "base/arena.h"
#include "base/err.h"
#include "store/db.h"

struct audit_row {
    int64_t id;               /* given by audit_append */
    int64_t at_ms;
    struct str actor_kind;    /* principal_kind_name(), or "shell" */
    struct str actor_id, actor, address, request_id;
    struct str method, path;  /* the endpoint's row; empty: no request */
    struct str kind, object;  /* "provider" and its name */
    int64_t status;           /* HTTP status; 0: no request */
    struct str outcome;       /* "ok" or the code of the error */
    struct str before, after; /* JSON with secrets masked; empty: nothing */
};
/* Inside the caller's transaction, which is what orders the writers. */
bool audit_append(struct db *db, struct audit_row *row, struct err *e) MUST_USE;
/* The same in a transaction of its own. */
bool audit_append_alone(struct db *db, struct audit_row *row, struct err *e) MUST_USE;

/* Of what was done at the shell, by whoever is there: the name of the system's user, else their number. In the arena. */
struct audit_row audit_of_shell(struct arena *a, int64_t now_ms, const char *kind, struct str object);

struct audit_filter {
    struct str actor, kind, object, outcome, address; /* exact; empty: any */
    int64_t since_ms, until_ms; /* 0: open */
    bool oldest_first;        /* the order; else newest first */
    int64_t beyond_id;        /* rows beyond this one in that order; 0: from its beginning */
    int64_t limit;
};
/* In order, at most limit. Texts are in the arena. */
bool audit_list(struct db *db, struct arena *a, const struct audit_filter *f, struct audit_row **out, size_t *n, struct err *e) MUST_USE;

struct audit_finding {
    int64_t rows, first_id, last_id;
    int64_t broken_id;        /* the first row that does not fit; 0: all do */
    char why[160];
};
/* false: it could not be read. A broken chain is a finding, no error. */
bool audit_verify(struct db *db, struct audit_finding *out, struct err *e) MUST_USE;
/* Retires rows older than before_ms: the chain then begins at the first that stays, whose predecessor's hash is kept. */
bool audit_retire(struct db *db, int64_t before_ms, int64_t *retired, struct err *e) MUST_USE;

/* JSON with what is secret masked: strings of members whose names say so, and passwords inside of URLs. */
struct str audit_masked(struct arena *a, struct str json);
#endif
