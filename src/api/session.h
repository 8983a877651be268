/* session.h - what surfaces share of an operator's own password. */
#ifndef API_SESSION_H
#define API_SESSION_H
#include "api/control.h"

/* Of the operator who calls, and ends all other sessions of theirs. Notes it for the audit log as done with status. ERR_INPUT "no_session":
 * somebody who did not sign in; ERR_FORBIDDEN: the password so far is another. */
bool session_change_password(struct control_call *c, struct str so_far, struct str password, int status, struct err *e) MUST_USE;
#endif
