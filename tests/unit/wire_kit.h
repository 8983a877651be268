/* wire_kit.h - carries requests, replies and streams across a pair of formats, for the tests of the formats.
 * JSON is written with ' for " in the tests; replies are compared as values, streams by a short summary. */
#ifndef TESTS_UNIT_WIRE_KIT_H
#define TESTS_UNIT_WIRE_KIT_H
#include "wire/wires.h"

struct kit {
    struct arena *arena, *scratch;
    const struct wire *client, *upstream;
    struct wire_ctx ctx;
    struct ir_request req;
    struct err err;
};
void kit_init(struct kit *k, const struct wire *client, const struct wire *upstream);
void kit_done(struct kit *k);                                 /* once more is allowed */
void kit_use(struct kit *k, const struct wire *client, const struct wire *upstream); /* begins anew with this pair */
struct str kit_text(struct kit *k, const char *quoted);       /* ' becomes " */
yyjson_val *kit_json(struct kit *k, struct str text);         /* fails the test when it is not JSON */

/* The client's request as the upstream gets it; empty: refused, k->err says why. Also fills k->req and ctx.req. */
struct str kit_request(struct kit *k, const char *body);
/* The upstream's reply as the client gets it; empty: refused. */
struct str kit_reply(struct kit *k, const char *body);
/* The upstream's stream as the client gets it. Delivered in one piece, a byte at a time and cut in the middle; fails
 * unless all three give the same. */
struct str kit_stream(struct kit *k, const char *frames);
/* "S [0:text 'a' 'b'] D(end_turn,1,2) E" of an Anthropic stream, "t'a' c:name{…} F(STOP,1,2)" of the others. */
struct str kit_summary(struct kit *k, struct str stream);

bool kit_dropped(const struct kit *k, const char *what);
/* Fail the test when actual is not the expected JSON (' for "); path: only that member, "a.0.b"; expected "absent". */
void kit_expect(struct kit *k, struct str actual, const char *expected);
void kit_expect_at(struct kit *k, struct str actual, const char *path, const char *expected);
void kit_expect_text(struct str actual, const char *expected);

/* ---- rows of tables, one a case ---- */
struct kit_request_row {
    const char *body, *path, *expected; /* what stands at the path in what the upstream gets */
};
void kit_check_request(struct kit *k, const struct kit_request_row *row);
struct kit_refused_row {
    const char *body, *field;   /* that the refusal names */
};
void kit_check_refused(struct kit *k, const struct kit_refused_row *row);
struct kit_stream_row {
    const char *frames, *expected; /* as kit_summary() tells it */
};
void kit_check_stream(struct kit *k, const struct kit_stream_row *row);
#endif
