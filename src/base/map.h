/* map.h - string-keyed hash map of pointers. Keys are borrowed: they must outlive their entry.
 * Not for sharing between threads while it is changed; reading a settled map from many is fine. */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/str.h"

struct map {
    struct map_slot *slots;
    size_t cap, n;
};
void map_init(struct map *m);
void map_done(struct map *m);                                 /* frees the table, not keys or values */
void *map_get(const struct map *m, struct str key);           /* NULL when absent */
void map_set(struct map *m, struct str key, void *value);     /* value != NULL; replaces */
bool map_del(struct map *m, struct str key);
void map_reserve(struct map *m, size_t n);
/* Iteration in table order: for (size_t i = 0; map_next(m, &i, &k, &v);) */
bool map_next(const struct map *m, size_t *i, struct str *key, void **value);
uint64_t hash_bytes(const void *p, size_t n);                 /* SipHash-like keyed by a per-process random seed */
#endif
