/* price.h - what a model's use costs: rows from four sources, the book that they make up, and the formats they come in.
 * Integers only: nano-USD (10^-9 USD) for a million tokens, or for one image, search or request. What is not stated is unknown,
 * never zero. A decimal finer than that unit is rounded half up, once, when it is read; nothing here rounds again. */
#ifndef DOMAIN_PRICE_H
#define DOMAIN_PRICE_H
#include "base/map.h"
#include "json/json.h"
#include "store/db.h"

enum price_part {               /* the order of a usage vector: meter/price.h */
    PRICE_INPUT,                /* text that no cache knew */
    PRICE_CACHE_READ,
    PRICE_CACHE_WRITE_5M,       /* and writes of unknown lifetime */
    PRICE_CACHE_WRITE_1H,
    PRICE_AUDIO_IN,
    PRICE_OUTPUT,               /* text */
    PRICE_REASONING,
    PRICE_AUDIO_OUT,
    PRICE_IMAGE,                /* each one made */
    PRICE_SEARCH,               /* each of the web */
    PRICE_REQUEST,              /* each */
    PRICE_PARTS
};
#define PRICE_TOKEN_PARTS PRICE_IMAGE /* those before are counted in tokens */
extern const char *const price_part_names[PRICE_PARTS]; /* "input", "cache_read", … */

struct price_rates {
    int64_t v[PRICE_PARTS];     /* -1: not stated */
};
enum price_service { SERVICE_STANDARD, SERVICE_BATCH, SERVICE_FLEX, SERVICE_PRIORITY };
extern const struct word price_service_words[];

struct price_variant {          /* other rates; what it does not state is as without it */
    enum price_service service;
    int64_t above;              /* for requests of more input tokens than this, as a whole; 0: any */
    struct price_rates rates;
};

enum price_source { PRICE_OVERRIDE, PRICE_PROVIDER, PRICE_LIST, PRICE_SHIPPED, PRICE_SOURCES }; /* the first that knows, rules */
extern const struct word price_source_words[];

#define PRICE_MAX_VARIANTS 16
struct price {
    struct price *next;         /* of the same model, in force before this one */
    int64_t version;            /* names this row and its content for ever, on every node; > 0 */
    enum price_source source;
    struct str provider;        /* a provider's name or its kind; "*": any */
    struct str model;           /* the upstream's id; may hold * for any run of characters */
    struct str provenance;      /* where it was read, and when; may be empty */
    int64_t valid_from_ms;      /* 0: always */
    struct price_rates base;
    struct price_variant *variants;
    size_t n_variants;
    bool has_services;          /* some variant is of another service than the standard one */
    struct str text;            /* itself as JSON: price_text() */
};

/* One entry as files and the API have it: USD for a million tokens, or each. {"input":2.5,"output":10,"cache_read":1.25,"cache_write_5m":…,
 * "above":[{"tokens":200000,"input":…}],"batch":{…},"flex":{…},"priority":{…},"valid_from":"…","note":"…"}. e->field: the member, behind
 * `where`. The row lives in the arena, its source, provider and model are the caller's. */
bool price_read(struct arena *a, yyjson_val *entry, const char *where, struct price *out, struct err *e) MUST_USE;
void price_write(struct jw *w, const struct price *p);        /* the same object */
void price_keep_variants(struct arena *a, struct price *p);   /* sorts those that a reader has collected elsewhere, and moves them to the arena */
void price_seal(struct arena *a, struct price *p);            /* fills in text and version, once the rest stands */
/* Back from its text. */
bool price_of_text(struct arena *a, struct str text, struct price *out, struct err *e) MUST_USE;
/* "openai/gpt-5" -> provider, model. */
bool price_name_split(struct str name, struct str *provider, struct str *model) MUST_USE;
bool price_name_fits(struct str pattern, struct str model) MUST_USE; /* "*" stands for any run of characters */

struct price_skipped {
    struct str model, why;
};
struct price_rows {             /* in an arena */
    struct price **v;
    size_t n, cap;
    struct price_skipped *skipped;
    size_t n_skipped, cap_skipped;
    const char *format;         /* "litellm", "openrouter", "sluice" */
};

/* ---- the book: immutable once it is ready ---- */
struct price_book;
struct price_book *price_book_new(struct arena *a);
void price_book_add(struct price_book *b, struct price *p);   /* keeps it; the later of two alike counts */
void price_book_ready(struct price_book *b);
/* Every price that holds for a model of that provider now or later, the one to ask first first; NULL: unknown. */
const struct price *const *price_find(const struct price_book *b, struct arena *a, struct str provider, struct str kind, struct str model,
                                      int64_t now_ms);
/* The one in force; NULL: unknown. list may be NULL. */
static inline const struct price *price_at(const struct price *const *list, int64_t now_ms)
{
    for (; list && *list; list++)
        if ((*list)->valid_from_ms <= now_ms)
            return *list;
    return NULL;
}
/* The one that was in force at a moment, also long ago; NULL: unknown. */
const struct price *price_find_at(const struct price_book *b, struct str provider, struct str kind, struct str model, int64_t at_ms);
/* All rows, by source, provider, model, newest first. */
size_t price_book_rows(const struct price_book *b, struct arena *a, const struct price *const **out);

/* ---- the store: rows of PRICE_PROVIDER and PRICE_LIST ---- */
bool price_store_each(struct db *db, struct arena *a, void (*each)(void *arg, struct price *p), void *arg, struct err *e) MUST_USE;
/* Puts rows beside the older ones of the same model. *added: how many differ from what was there. In the caller's transaction. */
bool price_store_put(struct db *db, const struct price_rows *rows, int64_t now_ms, int64_t *added, struct err *e) MUST_USE;
/* What the audit log says of them. */
struct str price_rows_told(struct arena *a, const struct price_rows *rows, int64_t added);
/* Takes out the rows of a source; of one provider where it is not empty. */
bool price_store_drop(struct db *db, enum price_source source, struct str provider, int64_t *dropped, struct err *e) MUST_USE;
/* What was read in for a provider follows its name; what is there under the new one already stays. */
bool price_store_rename(struct db *db, struct str from, struct str to, int64_t *moved, struct err *e) MUST_USE;
/* Every row that anything was ever priced with, by version. ERR_NOT_FOUND. */
bool price_version_get(struct db *db, struct arena *a, int64_t version, struct price *out, struct err *e) MUST_USE;
#endif
