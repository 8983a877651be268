/* config_state.h - the whole configuration as values: what the file says, what the store holds, both in one; how two differ; and how one
 * is put back. The client keys of the store are not part of it: a revoked key must not come back with an old version. */
#ifndef API_CONFIG_STATE_H
#define API_CONFIG_STATE_H
#include "json/json.h"
#include "store/db.h"
#include "vault/seal.h"

/* Of a provider's entry, what provider_member_is_more() says: a JSON object; empty: nothing. */
struct str provider_more(struct arena *a, yyjson_val *entry);

struct config_state {
    struct str text;          /* of the file; p NULL: there is none */
    yyjson_val *file;         /* what it says, ${VAR} as it stands; NULL: there is none */
    yyjson_val *store;        /* {"providers":{…},"models":{…},"orgs":{…},"users":{…},"server":{…}} as the file would have it, provider keys in the clear */
};
/* The values of a file's text; name is for messages. */
bool config_file_values(struct arena *a, const char *name, struct str text, yyjson_val **out, struct err *e) MUST_USE;
bool config_store_values(struct arena *a, const struct seal *seal, struct db *db, yyjson_val **out, struct err *e) MUST_USE;
/* One object of both, the file's entries first; with the store's client keys where db is given. */
bool config_merged(struct arena *a, const struct config_state *s, struct db *db, yyjson_val **out, struct err *e) MUST_USE;
/* Makes the store's providers, models, orgs, users and settings those of values. In the caller's transaction. */
bool config_store_put(struct arena *a, const struct seal *seal, struct db *db, yyjson_val *values, struct err *e) MUST_USE;
/* setting_put, with a proxy's password sealed. */
bool config_setting_put(struct arena *a, const struct seal *seal, struct db *db, struct str name, struct str value, struct err *e) MUST_USE;

/* Sealed and compressed, for the table of versions. */
struct str config_pack(struct arena *a, const struct seal *seal, const struct config_state *s);
bool config_unpack(struct arena *a, const struct seal *seal, struct str packed, struct config_state *out, struct err *e) MUST_USE;

extern const char *const entry_kinds[]; /* what one entry of each of entry_sections is called, in their order */

struct config_change {        /* of one object */
    struct config_change *next;
    const char *kind;         /* "provider", "model", "org", "user", "combo", "chain", "alias", "key", "setting", "section", "renaming" */
    struct str name;
    yyjson_val *before, *after; /* NULL: it was not there, it is not there any more */
};
/* In order: providers, models, orgs, users, settings, keys, the rest. */
struct config_change *config_compare(struct arena *a, yyjson_val *before, yyjson_val *after);
/* [{"kind","name","before","after"}], secrets masked. */
void config_changes_write(struct jw *w, struct arena *a, const struct config_change *list);
/* The JSON of one side, secrets masked; STR_NONE for NULL. */
struct str config_change_side(struct arena *a, const struct config_change *c, yyjson_val *side);
#endif
