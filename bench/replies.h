/* replies.h - what the mock upstream answers: fixed bytes, built once at start.
 * Four formats; a 1 002-byte completion and a stream of ~290-byte events in each. */
#ifndef BENCH_REPLIES_H
#define BENCH_REPLIES_H
#include <stddef.h>

enum format {
    FORMAT_CHAT,
    FORMAT_RESPONSES,
    FORMAT_MESSAGES,
    FORMAT_GEMINI,
    FORMAT_COUNT
};

struct bytes {
    const char *data;
    size_t len;
};

struct replies {
    struct bytes json;    /* head and body */
    struct bytes stream;  /* head, every event in an HTTP chunk of its own, last chunk */
    struct bytes opening; /* its start up to the first delta */
    struct bytes *piece;  /* all of it: [0] head and preamble, then one delta each, then the end */
    size_t pieces;
};

extern const struct bytes reply_not_found;

/* Lives until the program ends. `deltas` is the number of text events in a stream. */
void replies_build(struct replies *r, enum format format, size_t deltas);
#endif
