/* secret.h - a credential. Not a str: no printf, log or shape accepts it.
 * secret_reveal() is the one word to search for in a review. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H
#include "base/err.h"
#include "base/str.h"

struct secret {
    struct str hidden; /* use secret_reveal() */
};
static inline struct secret secret_of(struct str s) { return (struct secret){s}; }
static inline struct str secret_reveal(struct secret s) { return s.hidden; }
static inline bool secret_is_set(struct secret s) { return s.hidden.n > 0; }
/* "sk-a***wxyz", "***" up to 8 characters, ${VAR} as it is (contracts of the admin surfaces); of nothing, nothing */
struct str secret_mask(struct arena *a, struct secret s);
struct str secret_mask_url(struct arena *a, struct str s); /* an address with *** for its user name, password and keys in its query; else s */
struct str secret_mask_proxy(struct arena *a, struct str s); /* the same of what a member `proxy` says, which may lack its scheme */
/* Whether a text that was given is kept as it is, since it comes back as it was shown, *** in the place of what is secret. Any other with
 * *** is a mistake: false, ERR_INPUT naming the field. */
bool secret_is_kept(const char *field, struct str given, struct str shown, bool *is_kept, struct err *e) MUST_USE;
/* Of a provider's header: where credentials belong that are no key, under whatever name. All but what a word or a number could be. */
bool secret_may_be_header(struct str name, struct str value);
bool secret_is_parameter(struct str name);                 /* of a query: "key", "token", … */
#endif
