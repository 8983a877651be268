/* residue.h - names what of a request its target has no place for, so that the client is told. */
#ifndef WIRE_RESIDUE_H
#define WIRE_RESIDUE_H
#include "wire/wire.h"

/* fields: names of what the target cannot say, ended by NULL; those that the request sets are noted with wire_drop.
 * Request fields by their OpenAI names ("logit_bias", "prompt_cache_key"), Google's own by theirs ("safetySettings");
 * "cache_control", "messages.name" and "tools.strict" stand for the marks on parts, messages and tools. */
void wire_drop_lost(struct wire_ctx *c, const struct ir_request *r, const char *const *fields);
#endif
