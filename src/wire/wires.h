/* wires.h - the list of formats. A new format is its file and one line in wires.c. */
#ifndef WIRE_WIRES_H
#define WIRE_WIRES_H
#include "wire/wire.h"

extern const struct wire wire_chat;            /* openai_chat.c */
extern const struct wire wire_responses;       /* openai_responses.c */
extern const struct wire wire_anthropic;       /* anthropic.c */
extern const struct wire wire_gemini;          /* gemini.c */
extern const struct wire wire_ollama;          /* ollama.c */
extern const struct wire wire_completions;     /* completions.c: client side only */
extern const struct wire wire_ollama_generate; /* ollama.c: client side only */
#endif
