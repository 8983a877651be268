/* config_money.h - prices and budgets of a snapshot: what the file, the store and the program itself say, and which budgets hold for which
 * key. Blocking. */
#ifndef APP_CONFIG_MONEY_H
#define APP_CONFIG_MONEY_H
#include "domain/snapshot.h"

struct usage_log;
/* root: of the file, db: the store; both may be NULL. Prices come before models, budgets behind keys and those they belong to. */
bool config_prices(struct snapshot *s, yyjson_val *root, struct db *db, struct err *e) MUST_USE;
bool config_budgets(struct snapshot *s, yyjson_val *root, struct db *db, struct err *e) MUST_USE;
/* snapshot_publish(), and what is spent of budgets that were not in force so far, with the lines that are on their way to the ledger. usage:
 * whoever writes them; NULL: nobody yet. Blocking. */
void config_publish(struct snapshot *next, const char *db_path, struct usage_log *usage);
#endif
