/* document.h - the OpenAPI document as it is handed out. It depends on the endpoint table alone, so that one of it serves everybody:
 * made when somebody asks for the first time, by a worker, and kept with its compressed form. Safe from every thread. */
#ifndef API_DOCUMENT_H
#define API_DOCUMENT_H
#include "api/control.h"

struct document;
struct document *document_new(void);
void document_free(struct document *d);
/* Answers with it: compressed where the client takes that, 304 to whoever has it already. true */
bool document_reply(struct control_call *c);
#endif
