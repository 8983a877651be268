/* framing.h - cuts an upstream's stream into frames: server-sent events, JSON lines, or the elements of a JSON array.
 * Any cut of the bytes into pushes gives the same frames. Frames that lie whole in one push are not copied. */
#ifndef WIRE_FRAMING_H
#define WIRE_FRAMING_H
#include "wire/wire.h"

struct framing_reader;
/* One frame. event: the SSE event name, else empty; data: the payload, never empty. Both are valid for the length of the
 * call only. false ends the push with the error set in e. Must not free the reader. */
typedef bool framing_frame_fn(void *arg, struct str event, struct str data, struct err *e);

/* A frame of more than max_event bytes is ERR_UPSTREAM "event_too_large". */
struct framing_reader *framing_reader_new(enum framing framing, size_t max_event, framing_frame_fn *on_frame, void *arg);
void framing_reader_done(struct framing_reader *r);           /* frees it; NULL is allowed */
/* After a failure every further call fails with the same error. */
bool framing_push(struct framing_reader *r, struct str bytes, struct err *e) MUST_USE;
/* End of the stream: gives a last frame that nothing terminated. An array element cut in two is ERR_UPSTREAM "stream_cut". */
bool framing_finish(struct framing_reader *r, struct err *e) MUST_USE;

/* "event: <event>\ndata: <data>\n\n"; without event only data. data with line breaks becomes several data lines. */
void framing_write_sse(struct buf *b, struct str event, struct str data);
/* Writing the data of an event in place: begin, append JSON without line breaks, end. event may be NULL. */
void framing_sse_begin(struct buf *b, const char *event);
void framing_sse_end(struct buf *b);
void framing_write_line(struct buf *b, struct str json);      /* "<json>\n" */
#endif
