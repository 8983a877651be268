/* body_store.h - the bodies of logged requests: redacted, compressed, in files of their own beside the store.
 * Loops hand them over without waiting; one thread writes them and then passes the record on to the usage log. When it cannot keep up,
 * bodies are left out and counted; records go on. */
#ifndef METER_BODY_STORE_H
#define METER_BODY_STORE_H
#include "base/arena.h"
#include "meter/redact.h"
#include "meter/usage_log.h"

enum body_kind { BODY_CLIENT_REQUEST, BODY_UPSTREAM_REQUEST, BODY_UPSTREAM_RESPONSE, BODY_CLIENT_RESPONSE, BODY_N };
extern const char *const body_names[BODY_N]; /* "client-request", … */

struct body_limits {
    int64_t max_bytes;          /* of all files; 0: no limit */
    int64_t days;               /* 0: for ever */
    int64_t each_bytes;         /* kept of one body */
};

struct body_set {               /* heap; body_store_put takes it over */
    struct buf v[BODY_N];       /* heap; somewhat more than is kept, so that a secret at the cut is seen whole */
    uint64_t size[BODY_N];      /* as it was */
    struct str *secrets;        /* heap, texts too: never to be written */
    size_t n_secrets;
};
void body_set_free(struct body_set *b);                       /* NULL is allowed */

struct body_store;
/* dir: created below when needed. ring: the number of the usage log's producer that the thread is. */
struct body_store *body_store_new(const char *dir, struct usage_log *usage, unsigned ring);
void body_store_free(struct body_store *s);                   /* writes what is queued; before usage_log_free */
void body_store_configure(struct body_store *s, const struct body_limits *limits, struct redactor *r); /* from any thread; refs r */
/* From any loop. Takes the record's extra and b over. */
void body_store_put(struct body_store *s, unsigned loop, const struct usage_record *r, struct body_set *b);
void body_store_clear(struct body_store *s);                  /* deletes all, soon */
uint64_t body_store_shed(const struct body_store *s);         /* sets left out since the thread could not keep up, or the disk refused */

struct body {
    uint64_t size;              /* as it was */
    struct str text;            /* what is kept of it */
    bool is_cut;
};
/* where: usage_detail.body. All four. ERR_NOT_FOUND: gone, or never written whole. */
bool body_read(struct arena *a, struct str dir, struct str where, struct str request_id, struct body out[BODY_N], struct err *e) MUST_USE;
#endif
