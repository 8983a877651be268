/* first_start.h - what a newcomer gets without configuring anything. */
#ifndef APP_FIRST_START_H
#define APP_FIRST_START_H
#include "app/config.h"

/* Looks for Ollama and llama-server on this machine (where OLLAMA_HOST, LLAMA_ARG_HOST and LLAMA_ARG_PORT say), for at most two seconds
 * each. Fills s->local. */
void detect_local(struct config_sources *s);
/* At the very first start, when nothing else lets a client in: makes a client key and loads *snap anew. */
bool first_key(struct config_sources *s, struct snapshot **snap, struct err *e) MUST_USE;
/* To standard output: what is offered, the new key (this once) and commands to copy. Nothing when there is nothing new. */
void first_greeting(const struct config_sources *s, const struct snapshot *snap, const char *host, unsigned port);
#endif
