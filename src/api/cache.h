/* cache.h - what the surfaces of the response cache share. */
#ifndef API_CACHE_H
#define API_CACHE_H
#include "api/control.h"

/* Sets the figures to zero, and notes for the audit log what they were. */
void cache_reset_figures(struct control_call *c);
#endif
