/* prices.h - putting a price list in force: for every surface that takes one. */
#ifndef API_PRICES_H
#define API_PRICES_H
#include "api/control.h"
#include "domain/price_list.h"

/* Keeps the rows, records it, and loads the configuration. *added: how many differ from what was known. */
bool prices_put(struct control_call *c, const struct price_rows *rows, int64_t *added, struct err *e) MUST_USE;
/* Forgets the list of a provider; provider empty: the general ones that were read in. */
bool prices_forget(struct control_call *c, struct str provider, int64_t *dropped, struct err *e) MUST_USE;
#endif
