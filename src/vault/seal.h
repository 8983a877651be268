/* seal.h - provider secrets at rest: XChaCha20-Poly1305 under the installation's master key. */
#ifndef VAULT_SEAL_H
#define VAULT_SEAL_H
#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"

#define SEAL_KEY_BYTES 32
struct seal {
    uint8_t key[SEAL_KEY_BYTES];
};
bool seal_is_given(const char *data_dir);                     /* whether seal_open() finds a key, or would have to make one */
/* From SLUICE_MASTER_KEY (64 hex digits), else data_dir/master.key (0600), which is made when missing. */
bool seal_open(struct seal *s, const char *data_dir, struct err *e) MUST_USE;
void seal_close(struct seal *s);                              /* wipes the key */
/* Bound to what it belongs to (a provider's name): a blob moved to another row does not open. In the arena. */
struct str seal_wrap(const struct seal *s, struct arena *a, struct secret plain, struct str bound_to);
bool seal_unwrap(const struct seal *s, struct arena *a, struct str blob, struct str bound_to, struct secret *out, struct err *e) MUST_USE;
/* "<16 hex digits>" with its quotes: tells contents apart, also secret ones, and says nothing of them without the key. In the arena. */
struct str seal_tag(const struct seal *s, struct arena *a, struct str content);
/* The same as a number, of several parts in their order; never 0. */
uint64_t seal_mark(const struct seal *s, const struct str *parts, size_t n);
#endif
