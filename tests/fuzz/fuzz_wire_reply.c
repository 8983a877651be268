/* A whole reply that is understood is written for any client as JSON which that format understands itself;
 * an error body, whatever it is, becomes an error of the client's format. */
#include "fuzz/wire_fuzz.h"

static void check_error(struct arena *a, const struct wire *client, int status, struct str body)
{
    struct err e = ERR_INIT;
    wire_read_error(a, status, body, &e);
    REQUIRE(e.kind != ERR_NONE && e.message[0], "an error says what");
    struct buf out;
    buf_init_arena(&out, a, SIZE_MAX / 4);
    client->write_error(&e, STR("req_1"), &out);
    (void)must_parse(a, "error", buf_str(&out));
}

struct replay {
    const struct wire *client;
    void *enc;
    struct ir_collector *collector;
    struct buf *out;
};

static void on_event(void *arg, const struct ir_event *ev)
{
    struct replay *r = arg;
    ir_collect(r->collector, ev);
    r->client->encoder_push(r->enc, ev, r->out);
}

/* The same reply as a stream. */
static void check_replay(struct wire_ctx *c, const struct wire *client,
                         const struct ir_response *res)
{
    struct buf out;
    struct err e = ERR_INIT;
    struct ir_response collected = {0};
    buf_init_arena(&out, c->arena, SIZE_MAX / 4);
    struct replay r = {client, client->encoder_new(c), ir_collector_new(c), &out};
    ir_replay(c, res, on_event, &r);
    (void)check_streamed(c->arena, client, buf_str(&out), true);
    (void)!ir_collected(r.collector, &collected, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = str_n((const char *)data, size);
    struct wire_ctx c;
    take_pair(a, &text, &c);
    text = exact_copy(a, text);
    const struct wire *client = wire_of(c.client), *upstream = wire_of(c.upstream);
    check_error(a, client, (int)(size * 7 % 600), text);

    struct err e = ERR_INIT;
    yyjson_val *root;
    struct ir_response res = {0};
    struct ir_usage usage = IR_USAGE_NONE;
    enum ir_stop stop = IR_STOP_NONE;
    (void)upstream->meter(STR_NONE, text, &usage, &stop);
    if (!json_parse(a, text, 0, &root, &e) || !upstream->read_response(&c, root, &res, &e))
        goto out;
    struct buf out;
    buf_init_arena(&out, a, SIZE_MAX / 4);
    client->write_response(&c, &res, &out);
    REQUIRE(!buf_failed(&out), "reply does not fit");
    (void)must_parse(a, "reply", buf_str(&out));
    check_replay(&c, client, &res);
out:
    pair_done(&c);
    arena_free(a);
    return 0;
}
