/* coding.h - which compressed form of an answer a client takes. */
#ifndef API_CODING_H
#define API_CODING_H
#include "base/str.h"

/* Whether Accept-Encoding names the coding, and not with the weight 0 (RFC 9110, 12.5.3). "*" is nobody's wish: it counts for none. */
bool coding_is_taken(struct str accept_encoding, const char *coding);
#endif
