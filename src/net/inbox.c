#include "net/inbox.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/banned.h"

#define HELD_BYTES (4 * INBOX_READ_BYTES)
#define HELD_PIECES 64

struct piece {
    struct inbox_to *to; /* NULL: dropped */
    size_t at;
    ssize_t n;
};

struct inbox {
    size_t n;
    unsigned n_pieces;
    struct piece pieces[HELD_PIECES];
    char bytes[HELD_BYTES];
};

struct inbox *inbox_new(void)
{
    struct inbox *in = malloc(sizeof *in);
    if (!in)
        abort();
    in->n = 0;
    in->n_pieces = 0;
    return in;
}

void inbox_free(struct inbox *in)
{
    free(in);
}

void inbox_no_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(NULL, 0);
}

/* recv(2) without the bookkeeping of files, and without making it a point where the thread could be cancelled. */
ssize_t inbox_read_now(const uv_tcp_t *tcp, char *p, size_t n)
{
    uv_os_fd_t fd;
    int rc = uv_fileno((const uv_handle_t *)tcp, &fd);
    if (rc != 0)
        return rc;
    long done;
    do
        done = syscall(SYS_recvfrom, fd, p, n, MSG_DONTWAIT, NULL, NULL);
    while (done < 0 && errno == EINTR);
    if (done > 0)
        return done;
    if (done == 0)
        return UV_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? UV_EAGAIN : uv_translate_sys_error(errno);
}

void inbox_read(struct inbox *in, struct inbox_to *to, const uv_tcp_t *tcp)
{
    ssize_t n = inbox_read_now(tcp, in->bytes + in->n, INBOX_READ_BYTES);
    if (n == UV_EAGAIN)
        return;
    in->pieces[in->n_pieces++] = (struct piece){to, in->n, n};
    to->n_waiting++;
    if (n > 0)
        in->n += (size_t)n;
    /* there is always room for one more read */
    if (in->n_pieces == HELD_PIECES || HELD_BYTES - in->n < INBOX_READ_BYTES)
        inbox_hand_over(in);
}

void inbox_hand_over(struct inbox *in)
{
    for (unsigned i = 0; i < in->n_pieces; i++) { /* nothing is read meanwhile */
        const struct piece *p = &in->pieces[i];
        if (!p->to)
            continue;
        p->to->n_waiting--;
        p->to->take(p->to, in->bytes + p->at, p->n);
    }
    in->n = 0;
    in->n_pieces = 0;
}

void inbox_drop(struct inbox *in, struct inbox_to *to)
{
    for (unsigned i = 0; i < in->n_pieces && to->n_waiting > 0; i++) {
        if (in->pieces[i].to != to)
            continue;
        in->pieces[i].to = NULL;
        to->n_waiting--;
    }
}
