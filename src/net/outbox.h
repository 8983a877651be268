/* outbox.h - small writes, held back until the end of the loop's turn and sent one after the other.
 * A turn serves many sockets. Were each answered at once, its peer would wake, handle one message and sleep again, and
 * waking another core costs as much as the rest of the write; written in a row they find it awake.
 * One a loop (loop_outbox); what is held is bounded, and so is the time that it waits: the rest of a turn. */
#ifndef NET_OUTBOX_H
#define NET_OUTBOX_H
#include "net/loop.h"

#define OUTBOX_MAX_PARTS 4

struct outbox;
struct outbox_from { /* who writes: part of a connection, zeroed but for send */
    /* Writes now; queues what the socket does not take. May not call outbox_put. */
    void (*send)(struct outbox_from *from, struct str bytes);
    unsigned n_held; /* writes of it that wait here */
};

struct outbox *outbox_new(void);
void outbox_free(struct outbox *o);
/* Takes a copy. false: larger than what is held; the caller sends it itself, now (what it had here is on its way). */
bool outbox_put(struct outbox *o, struct outbox_from *from, const uv_buf_t *bufs, unsigned n) MUST_USE;
void outbox_drop(struct outbox *o, struct outbox_from *from); /* forgets what it wrote: its connection is gone */
/* Writes what the socket takes at once: bytes, or a libuv error (UV_EAGAIN: nothing now). As uv_try_write, but straight to
 * the socket: only while nothing of it is queued in libuv. */
int outbox_write_now(const uv_tcp_t *tcp, const uv_buf_t *bufs, unsigned n) MUST_USE;
bool outbox_flush(struct outbox *o);                          /* false: nothing was held */
#endif
