/* config_version.h - the record of what the configuration was: one row a change. */
#ifndef DOMAIN_CONFIG_VERSION_H
#define DOMAIN_CONFIG_VERSION_H
#include "base/arena.h"
#include "base/err.h"
#include "store/db.h"

struct version_row {
    int64_t id, at_ms;
    struct str actor, what;
    struct str changes;       /* JSON, secrets masked */
    struct str file_hash, base_hash; /* 32 bytes; empty: no file */
    bool is_written;          /* the file is known to hold it */
    struct str state;         /* config_pack(); lists leave it out */
};
bool version_add(struct db *db, struct version_row *v, struct err *e) MUST_USE; /* sets id */
bool version_get(struct db *db, struct arena *a, int64_t id, struct version_row *out, struct err *e) MUST_USE; /* 0: the newest; ERR_NOT_FOUND */
struct version_filter {       /* empty, 0: any */
    struct str actor;
    int64_t since_ms, until_ms; /* not before; before */
    bool oldest_first;        /* the order; else newest first */
    int64_t beyond_id;        /* versions beyond this one in that order; 0: from its beginning */
    int64_t limit;
};
/* In order, at most limit. */
bool version_list(struct db *db, struct arena *a, const struct version_filter *f, struct version_row **out, size_t *n,
                  struct err *e) MUST_USE;
bool version_pending(struct db *db, struct arena *a, struct version_row *out, bool *is_any, struct err *e) MUST_USE; /* the newest not written */
bool version_written(struct db *db, int64_t id, struct err *e) MUST_USE; /* it and all before it */
bool version_drop(struct db *db, int64_t id, struct err *e) MUST_USE;
bool version_retire(struct db *db, int64_t keep, struct err *e) MUST_USE; /* all but the newest `keep` */
#endif
