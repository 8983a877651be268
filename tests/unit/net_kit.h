/* net_kit.h - raw peers for tests of a loop: they share its thread, and turn it while they wait. */
#ifndef TESTS_UNIT_NET_KIT_H
#define TESTS_UNIT_NET_KIT_H
#include "base/arena.h"
#include "net/loop.h"
#include <check.h>

void net_turn(struct loop *l);                                /* what is ready, then a short sleep */
#define TURN_UNTIL(l, cond) \
    do { \
        bool is_so_ = false; \
        for (int turns_ = 0; !(is_so_ = (cond)) && turns_ < 20000; turns_++) \
            net_turn(l); \
        ck_assert_msg(is_so_, "never came: %s", #cond); \
    } while (0)

int peer_listen(uint16_t *port);                              /* on 127.0.0.1, not blocking */
int peer_accept(struct loop *l, int listener);
bool peer_has_caller(struct loop *l, int listener);           /* after some turns */
int peer_connect(uint16_t port);
void peer_send(struct loop *l, int fd, struct str bytes);
#define peer_say(l, fd, lit) peer_send((l), (fd), STR(lit))
struct str peer_read_until(struct loop *l, int fd, struct arena *a, const char *marker); /* or the end; the marker included */
struct str peer_read_n(struct loop *l, int fd, struct arena *a, size_t n);
struct str peer_read_all(struct loop *l, int fd, struct arena *a); /* until the peer closes, by FIN or reset */
/* One HTTP message: head, and a body by content-length, by chunks, or none. */
struct str peer_read_message(struct loop *l, int fd, struct arena *a);
bool peer_is_silent(struct loop *l, int fd);                  /* open, and says nothing for some turns */
#endif
