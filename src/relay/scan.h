/* scan.h - reading along in a stream that passes untouched: finds the frames worth metering and the end, without a copy of more
 * than one unfinished frame. */
#ifndef RELAY_SCAN_H
#define RELAY_SCAN_H
#include "wire/wire.h"

/* Pictures that a model made, counted in bytes that pass: by the name of the member that holds each, wherever reads end. Formats in which no
 * model makes any cost nothing. */
struct image_scan {
    int64_t found;
    bool is_whole;         /* one reply, no stream */
    unsigned char n;
    char tail[48];         /* of what came: names are judged once what follows them is there */
};
void image_scan_push(struct image_scan *s, enum wire_id id, struct str bytes);
int64_t image_scan_end(struct image_scan *s, enum wire_id id); /* all of them; nothing follows */
/* Elements of a JSON array that is known to be well-formed. Strings in it are skipped at the speed of memory. */
int64_t count_elements(struct str array);

/* Of a piece of text that a model said, four bytes each; none is said in less than one. */
static inline int64_t tokens_of_piece(size_t bytes)
{
    return bytes == 0 ? 0 : bytes < 6 ? 1 : (int64_t)(bytes + 2) / 4;
}

struct stream_scan {
    const struct wire *wire;
    bool strip_usage;      /* chat: frames of usage alone are left out of what is forwarded */
    bool needs_role;       /* chat: the first delta is told its role when it says none; set behind init */
    bool is_giant;         /* inside a frame larger than max_frame: forwarded unread until its end */
    bool is_error;         /* what is forwarded now may tell of an error, and whatever it repeats: a frame, or a piece of a giant one */
    char last[3];          /* … whose end may lie across two pushes: the bytes before this one */
    size_t n_last;
    bool is_terminal;      /* the stream's last frame was seen */
    bool is_error_first;   /* the first frame was an error object */
    bool has_error;        /* a later one was: the upstream's own last word */
    bool has_frames;
    size_t max_frame;
    struct buf carry;      /* an unfinished frame */
    struct buf *last_frame; /* gets the data of the terminal frame; NULL: not wanted */
    struct ir_usage usage;
    struct image_scan images;
    enum ir_stop stop;
    int64_t said;          /* tokens behind what usage tells of the reply, by the text of the frames: some are measured, the others are alike */
    int64_t sample_tokens;
    uint64_t sample_bytes;
    struct str first_error; /* in carry or the chunk: valid during the call that set it */
};
void stream_scan_init(struct stream_scan *s, const struct wire *w, bool strip_usage, size_t max_frame);
void stream_scan_done(struct stream_scan *s);
/* Reads along; forward(arg, bytes) is called with what the client shall get: all of it, less stripped frames, as whole frames. */
void stream_scan_push(struct stream_scan *s, struct str bytes, void (*forward)(void *arg, struct str bytes), void *arg);
void stream_scan_end(struct stream_scan *s, void (*forward)(void *arg, struct str bytes), void *arg);
bool tells_error(struct str json); /* "error" stands in it, not as the name of null */
/* First position of needle (2..16 bytes) in hay; hay.n when absent. Some 8 GB/s. */
size_t find_bytes(struct str hay, struct str needle);
/* First position of a quote that one of the three letters follows; hay.n: there is none. */
size_t find_quoted(struct str hay, const char firsts[4]);
#endif
