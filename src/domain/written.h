/* written.h - the rows of the store as the configuration file has them, so that both read alike. */
#ifndef DOMAIN_WRITTEN_H
#define DOMAIN_WRITTEN_H
#include "domain/noun.h"
#include "json/json.h"

extern const struct word scope_words[];       /* "inference", "models", "admin" */
/* Members of a provider's entry that the store keeps as they are: id, pool, label, default_model, extra, quirks. */
bool provider_member_is_more(struct str name);
/* The value of one entry; api_key: what is to stand there, empty: none. */
void provider_write(struct jw *w, const struct provider_row *p, struct str api_key);
void model_write(struct jw *w, const struct model_row *m);
/* Of a text's place in the file ("providers", "oa", "api_key"): whether ${NAME} in it is read from the environment. */
bool written_may_refer(const struct str *path, size_t n);
void key_write(struct jw *w, struct arena *a, const struct key_row *k); /* an element of server.api_keys, its text as hash */
/* What names an element of server.api_keys: its "id", or what its text (as it is written) or hash makes, wherever it stands: 8 hex digits. */
struct str key_written_id(struct arena *a, yyjson_val *element);
#endif
