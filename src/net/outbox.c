#include "net/outbox.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/banned.h"

#define HELD_BYTES 65536
#define HELD_PIECES 64
#define PIECE_BYTES 8192 /* beyond it the copy costs more than it saves */

struct piece {
    struct outbox_from *from; /* NULL: dropped */
    size_t at, n;
};

struct outbox {
    size_t n;
    unsigned n_pieces;
    struct piece pieces[HELD_PIECES];
    char bytes[HELD_BYTES];
};

struct outbox *outbox_new(void)
{
    struct outbox *o = malloc(sizeof *o);
    if (!o)
        abort();
    o->n = 0;
    o->n_pieces = 0;
    return o;
}

void outbox_free(struct outbox *o)
{
    free(o);
}

bool outbox_put(struct outbox *o, struct outbox_from *from, const uv_buf_t *bufs, unsigned n)
{
    size_t total = 0;
    for (unsigned i = 0; i < n; i++)
        total += bufs[i].len;
    if (total > PIECE_BYTES) {
        if (from->n_held > 0)
            (void)outbox_flush(o); /* in the order in which it was written */
        return false;
    }
    if (o->n_pieces == HELD_PIECES || total > HELD_BYTES - o->n)
        (void)outbox_flush(o);
    struct piece *last = o->n_pieces > 0 ? &o->pieces[o->n_pieces - 1] : NULL;
    if (last && last->from == from) {
        last->n += total;
    } else {
        o->pieces[o->n_pieces++] = (struct piece){from, o->n, total};
        from->n_held++;
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(o->bytes + o->n, bufs[i].base, bufs[i].len);
        o->n += bufs[i].len;
    }
    return true;
}

void outbox_drop(struct outbox *o, struct outbox_from *from)
{
    for (unsigned i = 0; i < o->n_pieces && from->n_held > 0; i++) {
        if (o->pieces[i].from != from)
            continue;
        o->pieces[i].from = NULL;
        from->n_held--;
    }
}

bool outbox_flush(struct outbox *o)
{
    unsigned n = o->n_pieces;
    for (unsigned i = 0; i < n; i++) {
        const struct piece *p = &o->pieces[i];
        if (!p->from)
            continue;
        p->from->n_held--;
        p->from->send(p->from, str_n(o->bytes + p->at, p->n));
    }
    o->n = 0;
    o->n_pieces = 0;
    return n > 0;
}

/* send(2) without the bookkeeping of files, and without making it a point where the thread could be cancelled. */
int outbox_write_now(const uv_tcp_t *tcp, const uv_buf_t *bufs, unsigned n)
{
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    uv_os_fd_t fd;
    int rc = uv_fileno((const uv_handle_t *)tcp, &fd);
    if (rc != 0)
        return rc;
    struct iovec parts[OUTBOX_MAX_PARTS];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n};
    if (n > OUTBOX_MAX_PARTS)
        return UV_EINVAL;
    for (unsigned i = 0; i < n; i++)
        parts[i] = (struct iovec){bufs[i].base, bufs[i].len};
    long done;
    do
        done = n == 1 ? syscall(SYS_sendto, fd, bufs->base, bufs->len, flags, NULL, 0)
                      : syscall(SYS_sendmsg, fd, &message, flags);
    while (done < 0 && errno == EINTR);
    if (done >= 0)
        return (int)done;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS
               ? UV_EAGAIN
               : uv_translate_sys_error(errno);
}
