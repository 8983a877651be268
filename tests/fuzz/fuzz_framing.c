/* However a stream is cut into reads, the same frames come out. */
#include "fuzz/fuzz.h"
#include "wire/framing.h"

#define MAX_EVENT 4096

static bool note_frame(void *arg, struct str event, struct str data, struct err *e)
{
    struct buf *seen = arg;
    (void)e;
    REQUIRE(data.n > 0, "empty frame");
    buf_str_add(seen, event);
    buf_char(seen, '\0');
    buf_str_add(seen, data);
    buf_char(seen, '\0');
    return true;
}

/* Pushes text in pieces whose lengths come from cuts (all at once when it is empty). */
static bool read_all(struct arena *a, enum framing framing, struct str text, struct str cuts,
                     struct buf *seen, struct err *e)
{
    struct framing_reader *r = framing_reader_new(framing, MAX_EVENT, note_frame, seen);
    bool ok = true;
    while (ok && text.n > 0) {
        size_t n = cuts.n ? take_byte(&cuts) : text.n;
        struct str piece = exact_copy(a, str_first(text, n ? n : 1));
        text = str_skip(text, piece.n);
        ok = framing_push(r, piece, e);
    }
    ok = ok && framing_finish(r, e);
    framing_reader_done(r);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str in = str_n((const char *)data, size);
    enum framing framing = (enum framing)(take_byte(&in) % 3);
    size_t n_cuts = take_byte(&in);
    struct str cuts = str_first(in, n_cuts), text = str_skip(in, n_cuts);

    struct buf whole, parts;
    buf_init(&whole, SIZE_MAX / 4);
    buf_init(&parts, SIZE_MAX / 4);
    struct err e1 = ERR_INIT, e2 = ERR_INIT;
    bool ok1 = read_all(a, framing, text, STR_NONE, &whole, &e1);
    bool ok2 = read_all(a, framing, text, cuts, &parts, &e2);
    REQUIRE(ok1 == ok2, "one way '%s', the other '%s'", e1.message, e2.message);
    REQUIRE(str_eq(buf_str(&whole), buf_str(&parts)), "other frames when cut");
    if (!ok1)
        REQUIRE(e1.kind == ERR_UPSTREAM, "the upstream's fault");
    buf_done(&whole);
    buf_done(&parts);
    arena_free(a);
    return 0;
}
