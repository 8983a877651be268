/* config_money.h - prices and budgets of a snapshot: what the file, the store and the program itself say, and which budgets hold for which
 * key. Blocking. */
#ifndef APP_CONFIG_MONEY_H
#define APP_CONFIG_MONEY_H
#include "domain/snapshot.h"

/* root: of the file, db: the store; both may be NULL. Prices come before models, budgets behind keys and those they belong to. */
bool config_prices(struct snapshot *s, yyjson_val *root, struct db *db, struct err *e) MUST_USE;
bool config_budgets(struct snapshot *s, yyjson_val *root, struct db *db, struct err *e) MUST_USE;
#endif
