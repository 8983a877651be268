/* tls.h - TLS client over memory: bytes in, bytes out, no socket. A connection owns no buffer of its own:
 * it reads from what it is handed and writes into a buf of the caller's. */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H
#include "base/buf.h"
#include "base/err.h"

struct tls_context;             /* whom to trust; shared by connections of one loop */
struct tls_session;             /* for resumption; opaque, one owner */
struct tls;

/* ca_file empty: the system's. insecure: no verification. NULL with e set: the file cannot be read. */
struct tls_context *tls_context_new(struct str ca_file, bool insecure, struct err *e) MUST_USE;
void tls_context_free(struct tls_context *x);                 /* connections keep what they need of it */
/* host: a name (sent as SNI, checked) or a numeric address (checked). *session is offered, and replaced by newer ones while the
 * connection lives; it must outlive the connection. */
struct tls *tls_new(struct tls_context *x, struct str host, struct tls_session **session);
void tls_free(struct tls *t);
void tls_session_free(struct tls_session *s);                 /* NULL is allowed */

enum tls_step { TLS_DONE, TLS_MORE, TLS_CLOSED, TLS_FAILED }; /* TLS_MORE: needs more of the peer's bytes */
/* Each takes from *in what it can and appends what must be sent to out. e is set with TLS_FAILED. */
enum tls_step tls_handshake(struct tls *t, struct str *in, struct buf *out, struct err *e) MUST_USE;
enum tls_step tls_read(struct tls *t, struct str *in, struct buf *out, char *to, size_t cap, size_t *n, struct err *e) MUST_USE;
bool tls_write(struct tls *t, struct str bytes, struct buf *out); /* false: the connection is of no use; reading says why */
#endif
