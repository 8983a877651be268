/* connection.h - how the last test of a connection to a provider went: kept over restarts, by the provider's stable id. No configuration. */
#ifndef DOMAIN_CONNECTION_H
#define DOMAIN_CONNECTION_H
#include "base/map.h"
#include "json/json.h"
#include "store/db.h"

struct connection_state {     /* texts are empty where nothing is known; times are ISO 8601 */
    struct str test_status, last_tested, last_error, last_error_at, last_error_type, last_error_source, error_code, rate_limited_until;
};
bool connection_state_get(struct db *db, struct arena *a, struct str id, struct connection_state *out, struct err *e) MUST_USE;
bool connection_state_put(struct db *db, struct arena *a, struct str id, const struct connection_state *s, struct err *e) MUST_USE;
bool connection_state_delete(struct db *db, struct str id, struct err *e) MUST_USE;
#endif
