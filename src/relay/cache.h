/* cache.h - between cache.c, meaning.c and money.c. */
#ifndef RELAY_CACHE_H
#define RELAY_CACHE_H
#include "relay/request.h"
#include "relay/semantic.h"

/* The key that the request has without this text, which is a string of root (of its very bytes); false: it is not there. */
bool cache_key_without(struct relay *rl, yyjson_val *root, struct str text, uint8_t out[SHA256_SIZE]) MUST_USE;
void cache_found(struct relay *rl, struct saved *answer);     /* the end of meaning_look: NULL: none. Takes the reference. May free rl */
bool cache_costs(const struct relay *rl);                     /* of one that was answered without an upstream: whether it is paid for all the same */
bool meaning_look(struct relay *rl) MUST_USE;                 /* true: cache_found follows */
void meaning_keep(struct relay *rl, struct saved *answer, const struct replies_limits *limits); /* NULL: nothing to keep */
void meaning_forget(struct relay *rl);
#endif
