/* config_route.h - combos, fallback chains and aliases on their way into the snapshot, and the choice that models of several targets are. */
#ifndef APP_CONFIG_ROUTE_H
#define APP_CONFIG_ROUTE_H
#include "domain/snapshot.h"
#include "store/db.h"

/* After providers, models and settings, before snapshot_index(). upstreams and models: all by name, disabled ones too. file, db: NULL
 * without one. A fault of the file is an error; what the store holds and cannot be used is logged and left out. */
bool config_routing(struct snapshot *s, const struct map *upstreams, const struct map *models, yyjson_val *file, struct db *db,
                    struct err *e) MUST_USE;
#endif
