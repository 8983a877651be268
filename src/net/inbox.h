/* inbox.h - what has come on the sockets of one turn, read one after the other and handed over together.
 * A turn serves many sockets. Read and handled one by one, kernel and program would drive each other out of the caches
 * for every one of them; reading all, then handling all, each runs warm. The counterpart of outbox.h.
 * One a loop (loop_inbox); what is held is bounded, and so is the time that it waits: the rest of the reads of a turn. */
#ifndef NET_INBOX_H
#define NET_INBOX_H
#include "net/loop.h"
#include <sys/types.h>

#define INBOX_READ_BYTES 65536 /* one read */

struct inbox;
struct inbox_to { /* who reads: part of a connection, zeroed but for take */
    /* n: bytes at p, valid during the call; UV_EOF or another libuv error. May close any connection, also its own. */
    void (*take)(struct inbox_to *to, const char *p, ssize_t n);
    unsigned n_waiting; /* reads of it that wait here */
};

struct inbox *loop_inbox(struct loop *l);                     /* the loop's own */
struct inbox *inbox_new(void);
void inbox_free(struct inbox *in);
/* For the alloc callback of uv_read_start: libuv is to read nothing itself, and says UV_ENOBUFS to the read callback,
 * which reads. That spares the detour over files that read(2) is. */
void inbox_no_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
/* Reads once, for later; from a read callback. May hand over what waits when no more fits, so `to` may be gone after it. */
void inbox_read(struct inbox *in, struct inbox_to *to, const uv_tcp_t *tcp);
/* Reads once, to p: bytes, UV_EOF, UV_EAGAIN or another libuv error. */
ssize_t inbox_read_now(const uv_tcp_t *tcp, char *p, size_t n) MUST_USE;
void inbox_hand_over(struct inbox *in);
void inbox_drop(struct inbox *in, struct inbox_to *to); /* forgets what came for it: its connection is gone */
#endif
