/* dns.c - uv_getaddrinfo with a cache; questions for one name are asked once. */
#include "http/dns.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>

#include "base/banned.h"
#include "base/map.h"

#define MAX_NAMES 1024 /* remembered; beyond it those that nobody waits for are forgotten */

struct name {
    struct dns *dns;
    struct dns_wait *waiting;
    uv_getaddrinfo_t ask;
    union address addresses[DNS_MAX_ADDRESSES];
    unsigned n;
    uint64_t until_ms;
    bool is_asking;
    size_t host_n;
    char host[256];
};

struct dns {
    struct loop *loop;
    uint64_t ttl_ms;
    struct map names;
    unsigned n_asking;
    bool is_freed;
};

struct dns *dns_new(struct loop *l, uint64_t ttl_ms)
{
    struct dns *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    d->loop = l;
    d->ttl_ms = ttl_ms;
    map_init(&d->names);
    return d;
}

static void free_if_done(struct dns *d)
{
    if (!d->is_freed || d->n_asking > 0)
        return;
    struct str key;
    void *name;
    for (size_t i = 0; map_next(&d->names, &i, &key, &name);)
        free(name);
    map_done(&d->names);
    free(d);
}

void dns_free(struct dns *d)
{
    if (!d)
        return;
    struct str key;
    void *value;
    for (size_t i = 0; map_next(&d->names, &i, &key, &value);) {
        struct name *name = value;
        if (name->is_asking)
            (void)uv_cancel((uv_req_t *)&name->ask);
    }
    d->is_freed = true;
    free_if_done(d);
}

void address_set_port(union address *a, uint16_t port)
{
    if (a->any.sa_family == AF_INET6)
        a->six.sin6_port = htons(port);
    else
        a->four.sin_port = htons(port);
}

static unsigned parse_numeric(const char *host, union address *out)
{
    if (uv_ip4_addr(host, 0, &out->four) == 0)
        return 1;
    return uv_ip6_addr(host, 0, &out->six) == 0 ? 1 : 0;
}

/* RFC 8305, 4: the resolver's order, but the families take turns. */
static unsigned alternate(const struct addrinfo *list, union address *out)
{
    unsigned n = 0;
    int wanted = list ? list->ai_family : AF_INET;
    const struct addrinfo *at[2] = {list, list}; /* [0] the first family, [1] the other */
    for (int turn = 0; n < DNS_MAX_ADDRESSES; turn ^= 1) {
        for (int tries = 0; tries < 2; tries++, turn ^= 1) {
            while (at[turn] && ((at[turn]->ai_family == wanted) != (turn == 0) ||
                                at[turn]->ai_addrlen > sizeof *out))
                at[turn] = at[turn]->ai_next;
            if (at[turn])
                break;
        }
        if (!at[turn])
            break;
        memcpy(&out[n++], at[turn]->ai_addr, at[turn]->ai_addrlen);
        at[turn] = at[turn]->ai_next;
    }
    return n;
}

static void on_answer(uv_getaddrinfo_t *ask, int status, struct addrinfo *list)
{
    struct name *name = (struct name *)((char *)ask - offsetof(struct name, ask));
    struct dns *d = name->dns;
    struct err e = ERR_INIT;
    name->n = status == 0 ? alternate(list, name->addresses) : 0;
    uv_freeaddrinfo(list);
    if (name->n == 0)
        (void)err_set(&e, ERR_UPSTREAM, "dns", "cannot resolve '%s': %s", name->host,
                      status ? uv_strerror(status) : "no address");
    name->until_ms = name->n ? loop_now_ms(d->loop) + d->ttl_ms : 0;
    /* a waiter may free itself and ask for other names, and so forget this one */
    while (name->waiting) {
        struct dns_wait *w = name->waiting;
        dns_cancel(w);
        w->fn(w, name->addresses, name->n, &e);
    }
    name->is_asking = false;
    d->n_asking--;
    free_if_done(d);
}

void dns_cancel(struct dns_wait *w)
{
    if (!w->prev)
        return;
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->next = NULL;
    w->prev = NULL;
}

static void forget_old(struct dns *d)
{
    uint64_t now = loop_now_ms(d->loop);
    for (int pass = 0; pass < 2 && d->names.n >= MAX_NAMES; pass++) {
        bool is_found;
        do { /* deleting while iterating is not promised to work */
            struct str key;
            void *value;
            is_found = false;
            for (size_t i = 0; !is_found && map_next(&d->names, &i, &key, &value);) {
                struct name *name = value;
                if (name->is_asking || (pass == 0 && name->until_ms > now))
                    continue;
                (void)map_del(&d->names, key);
                free(name);
                is_found = true;
            }
        } while (is_found && d->names.n >= MAX_NAMES);
    }
}

unsigned dns_find(struct dns *d, struct str host, union address *out, struct dns_wait *w)
{
    char z[256];
    if (host.n < sizeof z) {
        memcpy(z, host.p, host.n);
        z[host.n] = '\0';
        unsigned n = parse_numeric(z, out);
        if (n > 0)
            return n;
    } else {
        host.n = sizeof z - 1; /* no such name; the resolver will say so */
    }
    struct name *name = map_get(&d->names, host);
    if (name && !name->is_asking && name->n > 0 && name->until_ms > loop_now_ms(d->loop)) {
        memcpy(out, name->addresses, name->n * sizeof *out);
        return name->n;
    }
    if (!name) {
        forget_old(d);
        name = calloc(1, sizeof *name);
        if (!name)
            abort();
        name->dns = d;
        name->host_n = host.n;
        memcpy(name->host, host.p, host.n);
        map_set(&d->names, str_n(name->host, name->host_n), name);
    }
    w->prev = &name->waiting;
    w->next = name->waiting;
    if (w->next)
        w->next->prev = &w->next;
    name->waiting = w;
    if (name->is_asking)
        return 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    name->is_asking = true;
    d->n_asking++;
    if (uv_getaddrinfo(loop_uv(d->loop), &name->ask, on_answer, name->host, NULL, &hints) != 0)
        abort(); /* only for lack of memory or a name too long, which it is not */
    return 0;
}
