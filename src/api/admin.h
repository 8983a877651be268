/* admin.h - what the resources of llm-rosetta's control plane share: how secrets are shown. */
#ifndef API_ADMIN_H
#define API_ADMIN_H
#include "api/control.h"

struct str admin_mask(struct arena *a, struct str text);      /* as secret_mask(), and "***" of nothing */
bool admin_may_reveal(struct control_call *c, struct err *e) MUST_USE; /* 403 unless server.credential_visible */
/* The client keys of server.api_keys as they are listed, masked, with whatever else their entries say. */
void admin_write_keys(struct jw *w, struct control_call *c, yyjson_val *list);
/* What is written, file and store in one; a failure is the surface's "Failed to read config: …". */
bool admin_view(struct control_call *c, yyjson_val **root, struct err *e) MUST_USE;
yyjson_val *admin_member(yyjson_val *object, struct str name); /* any name; NULL: none */
#endif
