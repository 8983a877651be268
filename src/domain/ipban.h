/* ipban.h - addresses that are turned away until a time. State, not configuration: kept in the store, in no version and no export. */
#ifndef DOMAIN_IPBAN_H
#define DOMAIN_IPBAN_H
#include "domain/snapshot.h"
#include "store/db.h"

bool ip_ban_list(struct db *db, struct arena *a, int64_t now_ms, struct ip_ban **out, size_t *n, struct err *e) MUST_USE; /* those still in force */
/* The one of this address that is in force, as JSON for the audit log; empty: none. */
bool ip_ban_json(struct db *db, struct arena *a, struct str address, int64_t now_ms, struct str *out, struct err *e) MUST_USE;
bool ip_ban_put(struct db *db, const struct ip_ban *b, int64_t now_ms, struct err *e) MUST_USE; /* or makes it longer or shorter; drops expired ones */
bool ip_ban_delete(struct db *db, struct str address, struct err *e) MUST_USE;                  /* ERR_NOT_FOUND */
#endif
