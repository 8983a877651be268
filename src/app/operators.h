/* operators.h - what the process does about its operators besides serving them: at start, after a reload, now and then. Blocking. */
#ifndef APP_OPERATORS_H
#define APP_OPERATORS_H
#include "app/config.h"
#include "gate/identity.h"

/* Takes over the password that file or environment give, wipes it from snap, and reads operators and sessions from the store. */
bool operators_refresh(struct identity *id, const struct config_sources *s, struct snapshot *snap, struct err *e) MUST_USE;
bool operators_refresh_from(struct identity *id, struct db *db, const struct config_sources *s, struct snapshot *snap, struct err *e) MUST_USE;
/* At the first start, when nobody can sign in: makes a claim link, whose token is then in s->claim_token. */
bool operators_first_claim(struct identity *id, struct config_sources *s, const struct snapshot *snap, struct err *e) MUST_USE;
/* Writes when sessions were used, ends those that are over, retires old audit rows. Failures are logged. */
void operators_sweep(struct identity *id, const struct config_sources *s);
bool host_is_loopback(const char *host);
/* "http://host:port" as somebody on this machine can type it. */
void base_url(char *out, size_t size, const char *host, unsigned port);
#endif
