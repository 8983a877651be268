/* A whole reply that is understood is written for any client as JSON which that format understands itself;
 * an error body, whatever it is, becomes an error of the client's format. */
#include "fuzz/wire_fuzz.h"

static void check_error(struct arena *a, const struct wire *client, struct str body)
{
    struct err e = ERR_INIT;
    wire_read_error(a, 429, body, &e);
    REQUIRE(e.kind != ERR_NONE, "no error");
    struct buf out;
    buf_init_arena(&out, a, SIZE_MAX / 4);
    client->write_error(&e, STR("req_1"), &out);
    struct err why = ERR_INIT;
    REQUIRE(json_valid(buf_str(&out), 0, &why), "error '" STR_FMT "': %s", STR_ARG(buf_str(&out)),
            why.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = str_n((const char *)data, size);
    struct wire_ctx c;
    take_pair(a, &text, &c);
    text = exact_copy(a, text);
    const struct wire *client = wire_of(c.client), *upstream = wire_of(c.upstream);
    check_error(a, client, text);

    struct err e = ERR_INIT, why = ERR_INIT;
    yyjson_val *root, *again;
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
    REQUIRE(json_parse(a, buf_str(&out), 256, &again, &why), "wrote '" STR_FMT "': %s",
            STR_ARG(buf_str(&out)), why.message);

    /* The same reply as a stream. */
    struct ir_collector *k = ir_collector_new(&c);
    ir_replay(&c, &res, ir_collect, k);
    struct ir_response collected = {0};
    (void)!ir_collected(k, &collected, &why);
out:
    pair_done(&c);
    arena_free(a);
    return 0;
}
