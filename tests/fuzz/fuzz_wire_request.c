/* A request that is understood is written for any upstream as JSON which that format understands itself. */
#include "fuzz/wire_fuzz.h"

/* A conversation without a word may become an empty list, which the reader rightly refuses. */
static bool says_something(const struct ir_request *req)
{
    for (const struct ir_message *m = req->messages.first; m; m = m->next)
        for (const struct ir_part *p = m->parts.first; p; p = p->next)
            if (p->kind != IR_OPAQUE && p->kind != IR_REASONING && p->text.n > 0)
                return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = str_n((const char *)data, size);
    struct wire_ctx c;
    take_pair(a, &text, &c);
    text = exact_copy(a, text);
    const struct wire *client = wire_of(c.client), *upstream = wire_of(c.upstream);
    struct err e = ERR_INIT;
    yyjson_val *root;
    struct ir_request req;
    ir_request_init(&req);
    if (!json_parse(a, text, 0, &root, &e))
        goto out;
    if (!client->read_request(&c, root, &req, &e)) {
        REQUIRE(e.kind != ERR_NONE && e.message[0], "refused without a reason");
        goto out;
    }
    if (req.model.n == 0)
        req.model = STR("m"); /* Google's comes from the path */
    c.req = &req;
    c.is_stream = req.is_stream;
    (void)ir_estimate_tokens(&req);
    struct buf out;
    buf_init_arena(&out, a, SIZE_MAX / 4);
    if (!upstream->write_request(&c, &req, &out, &e)) {
        REQUIRE(e.kind != ERR_NONE && e.message[0], "refused without a reason");
        goto out;
    }
    REQUIRE(!buf_failed(&out), "request does not fit");
    struct err why = ERR_INIT;
    yyjson_val *again;
    REQUIRE(json_parse(a, buf_str(&out), 256, &again, &why), "wrote '" STR_FMT "': %s",
            STR_ARG(buf_str(&out)), why.message);
    struct wire_ctx c2;
    wire_ctx_init(&c2, a);
    c2.scratch = c.scratch;
    c2.client = c2.upstream = c.upstream;
    struct ir_request back;
    ir_request_init(&back);
    bool is_read = upstream->read_request(&c2, again, &back, &why);
    REQUIRE(is_read || !says_something(&req), "%s wrote '" STR_FMT "': %s", upstream->name,
            STR_ARG(buf_str(&out)), why.message);
out:
    pair_done(&c);
    arena_free(a);
    return 0;
}
