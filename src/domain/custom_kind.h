/* custom_kind.h - kinds of providers that operators made: a format at an address, with a prefix for the names of its models. In the file
 * under "kinds", in the store in the table kind; OmniRoute calls them provider nodes. And the pools that providers form. */
#ifndef DOMAIN_CUSTOM_KIND_H
#define DOMAIN_CUSTOM_KIND_H
#include "domain/snapshot.h"
#include "store/db.h"

struct custom_kind {
    struct str id;            /* providers have it as their type */
    struct str title, prefix; /* prefix/model names go to its providers */
    struct str base;          /* openai-compatible or anthropic-compatible */
    struct str api;           /* of the former: chat or responses; else empty */
    struct str base_url, chat_path, models_path; /* paths: behind the base URL; empty: the usual ones */
    struct quirk_edit quirks; /* of its providers */
    struct str created, updated; /* RFC 3339; may be empty */
    struct provider_kind kind; /* made of the above; id, title and base_url end with a NUL */
    enum origin from;
};
/* From an entry; checks it (ERR_INPUT naming the member) and makes its kind. All texts are copied to the arena. */
bool custom_kind_read(struct arena *a, struct str id, yyjson_val *entry, struct custom_kind *out, struct err *e) MUST_USE;
void custom_kind_write(struct jw *w, const struct custom_kind *k);  /* the entry */
const struct custom_kind *custom_kind_find(const struct snapshot *s, struct str id_or_prefix); /* NULL: none */

/* ---- the store ---- */
bool custom_kind_put(struct db *db, struct str id, struct str value, struct err *e) MUST_USE;
bool custom_kind_delete(struct db *db, struct str id, struct err *e) MUST_USE; /* nothing happens where there is none */
bool custom_kind_each(struct db *db, struct arena *a, bool (*each)(void *arg, struct str id, yyjson_val *entry, struct err *e), void *arg,
                      struct err *e) MUST_USE;

/* ---- pools ---- */
/* The kind whose providers head/model names go to: head is its id, another name of it, or the prefix of a custom one; else head itself. */
struct str pool_kind(const struct snapshot *s, struct str head);
/* The enabled providers of that kind, or that were made under a name of it, by priority; 0: there is none. For the loader: the relay asks snapshot_of_provider(). */
size_t pool_find(const struct snapshot *s, struct arena *a, struct str head, const struct upstream ***out);
#endif
