/* ask.h - a question to every loop, asked by a thread that may wait: what lives on a loop is read by that loop alone. */
#ifndef NET_ASK_H
#define NET_ASK_H
#include "net/loop.h"

/* Runs fn(arg, i) on loops[i] for each of them and waits until all have, at most timeout_ms. true: all did, and arg is the caller's again.
 * false: some loop is late; arg goes to whichever runs last, which calls free_arg(arg). Never from a loop's own thread. */
bool loops_ask(struct loop *const *loops, unsigned n, void (*fn)(void *arg, unsigned i), void *arg, void (*free_arg)(void *arg),
               unsigned timeout_ms) MUST_USE;
#endif
