/* placeholder.h - ${NAME} in a text of the configuration file, and how one says ${ itself: of several dollars right before a {, one goes,
 * and nothing is named. So $${NAME} is the text ${NAME}, and every text can be written. A ${ that nothing closes is text as well. */
#ifndef BASE_PLACEHOLDER_H
#define BASE_PLACEHOLDER_H
#include "base/str.h"

/* Where the next ${NAME} begins, from `from` on, its name in *name; text.n: there is none. */
size_t placeholder_find(struct str text, size_t from, struct str *name);
bool placeholder_is_in(struct str text);
struct str placeholder_escape(struct arena *a, struct str text);   /* as the file must have it for text to come out */
struct str placeholder_unescape(struct arena *a, struct str text); /* what it says, where it names nothing; itself when nothing is escaped */
#endif
