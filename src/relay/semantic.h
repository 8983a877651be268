/* semantic.h - answers found by what a question means: vectors of questions in sqlite-vec, and the answers they belong to.
 * Blocking: for worker threads. One lock around the engine. In memory, bounded; the oldest answer goes first. Nothing here decides
 * what is alike in everything but its question: that is `part`, and only vectors of one part are compared. */
#ifndef RELAY_SEMANTIC_H
#define RELAY_SEMANTIC_H
#include "relay/replies.h"

#define SEMANTIC_MAX_DIMENSIONS 8192

struct semantic;
/* library: of sqlite-vec. NULL with e set where it cannot be loaded. */
struct semantic *semantic_new(const char *library, struct err *e) MUST_USE;
void semantic_free(struct semantic *s);                       /* NULL is allowed */

struct semantic_query {
    struct str model;            /* that made the vector: another one's vectors say nothing */
    const uint8_t *part;         /* SHA256_SIZE bytes */
    const float *vector;
    size_t n;
    int64_t min_similarity_ppm;  /* cosine */
};
/* *hit: the answer to the nearest question, with a reference, when it is near enough and its time is not over; else NULL. */
bool semantic_find(struct semantic *s, const struct semantic_query *q, uint64_t now_ms, struct saved **hit, int64_t *similarity_ppm,
                   struct err *e) MUST_USE;
bool semantic_put(struct semantic *s, const struct semantic_query *q, struct saved *answer, uint64_t until_ms,
                  const struct replies_limits *limits, struct err *e) MUST_USE;
size_t semantic_forget(struct semantic *s, const struct replies_drop *what, uint64_t now_ms); /* those with an id have none here */
struct replies_stats semantic_read_stats(struct semantic *s); /* of a NULL: zeros */
void semantic_reset_stats(struct semantic *s);
#endif
