/* entry.h - what the store holds sealed though it is no key: the address of a proxy may hold a password. In the clear for everybody who
 * reads the configuration. */
#ifndef VAULT_ENTRY_H
#define VAULT_ENTRY_H
#include "vault/seal.h"

/* Both are body itself for sections without such a member. */
struct str entry_sealed(const struct seal *s, struct arena *a, const char *section, struct str body);
/* false: it was sealed under another key, or for another section. */
bool entry_opened(const struct seal *s, struct arena *a, const char *section, struct str body, struct str *out, struct err *e) MUST_USE;

/* An address by itself, such as a provider's proxy. One without a name and a password in it, or the name of a proxy, stays as it is. */
struct str address_sealed(const struct seal *s, struct arena *a, struct str address);
/* false: it was sealed under another key. */
bool address_opened(const struct seal *s, struct arena *a, struct str kept, struct str *out, struct err *e) MUST_USE;
#endif
