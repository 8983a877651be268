/* combos.h - a combo as callers name it: by its name, and where none is called so by its id. The one rule for every surface, for all else
 * (aliases, policies, members) goes by names. */
#ifndef API_COMBOS_H
#define API_COMBOS_H
#include "domain/snapshot.h"

const struct combo *combo_called(const struct snapshot *s, struct str name_or_id); /* NULL: there is none */
#endif
