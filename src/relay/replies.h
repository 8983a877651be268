/* replies.h - answers that are kept to be given again: to a request that asks the same, or to a client that sends its own again.
 * What is being answered right now is in the table too, so that equal requests can wait for one answer. Shared by all loops under one
 * lock, which only requests take that may be served so; it is held for a look-up, never for a copy or a hash. Time is an argument.
 * Bounded in entries and bytes: the answer that was unused for longest goes first. */
#ifndef RELAY_REPLIES_H
#define RELAY_REPLIES_H
#include "base/codec.h"
#include "net/loop.h"
#include "wire/ir.h"
#include <stdatomic.h>

enum replies_layer { REPLIES_EXACT, REPLIES_IDEMPOTENT, REPLIES_LAYERS }; /* why an answer is kept */

struct saved {                   /* one answer as its client got it: immutable, ref-counted */
    _Atomic uint32_t refs;
    int status;
    bool is_stream;
    struct str body, dropped;    /* bytes, x-sluice-dropped: all texts are behind the struct */
    struct str model, upstream, upstream_model; /* who gave it */
    struct ir_usage usage;
    enum ir_stop stop;
    int64_t created_ms;          /* wall clock */
};
/* Copies all of what; one reference. */
struct saved *saved_new(const struct saved *what);
struct saved *saved_ref(struct saved *s);
void saved_unref(struct saved *s); /* NULL is allowed */
uint64_t saved_size(const struct saved *s);   /* memory that it takes */
uint64_t saved_tokens(const struct saved *s); /* that it cost when it was made */

struct replies_key {
    enum replies_layer layer;
    uint8_t id[SHA256_SIZE];     /* who asks for what */
    uint8_t check[SHA256_SIZE];  /* what was asked, of keys that clients choose; else zero */
};

/* A request that waits for the answer to an equal one. The owner's until fn has run on its loop, or replies_leave() said true. */
struct replies_waiter {
    struct replies_waiter *next, **prev;
    struct loop *loop;
    void (*fn)(void *arg);       /* the first one ended */
    void *arg;
    struct saved *got;           /* its answer, with a reference; NULL: it has none to give */
};

enum replies_found {
    REPLIES_HIT,                 /* *hit is the answer, with a reference */
    REPLIES_LEAD,                /* nobody has it: the caller answers, and calls replies_settle in any case */
    REPLIES_JOINED,              /* the waiter waits */
    REPLIES_BUSY,                /* being answered, and the caller cannot wait */
    REPLIES_OTHER,               /* the key is of a request that asked something else */
};

struct replies_limits {
    uint64_t max_bytes, max_entries;
};

struct replies;
struct replies *replies_new(void);
void replies_free(struct replies *r);
enum replies_found replies_enter(struct replies *r, const struct replies_key *k, uint64_t now_ms, struct replies_waiter *w, struct saved **hit);
/* The leader's end. answer NULL: none that could be given again. Otherwise kept for ttl_ms (0: only handed to those who wait). */
void replies_settle(struct replies *r, const struct replies_key *k, struct saved *answer, uint64_t ttl_ms, uint64_t now_ms,
                    const struct replies_limits *limits);
bool replies_leave(struct replies *r, struct replies_waiter *w); /* true: it is off the list; false: fn is on its way */

struct replies_drop {            /* which entries go; all that are given must hold */
    struct str model;            /* empty: of any */
    const uint8_t *id;           /* NULL: any */
    int64_t before_ms;           /* wall clock: older ones; 0: of any age */
    bool is_expired;             /* those whose time is over, at now_ms */
};
bool saved_is_meant(const struct saved *s, const struct replies_drop *what) MUST_USE; /* but for id and is_expired */
size_t replies_forget(struct replies *r, const struct replies_drop *what, uint64_t now_ms);

struct replies_stats {
    uint64_t hits, misses, stored, evicted, joined, conflicts, tokens_saved; /* since start or reset */
    uint64_t entries, bytes, running;                                        /* now */
};
const char *replies_layer_name(enum replies_layer layer);      /* "response", "idempotency" */
void replies_read_stats(struct replies *r, struct replies_stats out[REPLIES_LAYERS]);
void replies_reset_stats(struct replies *r);

/* All that answers without an upstream, for who shows it. */
enum { CACHE_SEMANTIC = REPLIES_LAYERS, CACHE_LAYERS };
struct cache_layer {
    const char *name;            /* "response", "idempotency", "semantic" */
    struct replies_stats stats;
};
#endif
