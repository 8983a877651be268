/* entry.h - configuration entries in the store of which a member is a secret: the address of a proxy may hold a password. Sealed there,
 * in the clear for everybody who reads the configuration. */
#ifndef VAULT_ENTRY_H
#define VAULT_ENTRY_H
#include "vault/seal.h"

/* Both are body itself for sections without such a member. */
struct str entry_sealed(const struct seal *s, struct arena *a, const char *section, struct str body);
/* false: it was sealed under another key, or for another section. */
bool entry_opened(const struct seal *s, struct arena *a, const char *section, struct str body, struct str *out, struct err *e) MUST_USE;
#endif
