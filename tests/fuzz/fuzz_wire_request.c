/* A request that is understood is written for any upstream as JSON which that format understands itself; and what one
 * format has read of its own and written again stays as it is from then on. */
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

/* `text` read and written by one format; false when it refuses. */
static bool rewrite(struct wire_ctx *like, const struct wire *w, struct str text, struct str *out)
{
    struct arena *a = like->arena;
    struct wire_ctx c;
    struct ir_request req;
    struct err e = ERR_INIT;
    struct buf b;
    wire_ctx_init(&c, a);
    c.scratch = like->scratch;
    c.client = c.upstream = w->id;
    c.now_ms = like->now_ms;
    c.seed = like->seed;
    c.allow_hosted_tools = like->allow_hosted_tools;
    c.req = &req;
    ir_request_init(&req);
    buf_init_arena(&b, a, SIZE_MAX / 4);
    if (!w->read_request(&c, must_parse(a, "request", text), &req, &e) ||
        !w->write_request(&c, &req, &b, &e)) {
        REQUIRE(e.kind != ERR_NONE && e.message[0], "refused without a reason");
        return false;
    }
    *out = buf_str(&b);
    return true;
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
    struct str once = buf_str(&out), twice, thrice;
    (void)must_parse(a, "request", once);
    if (!rewrite(&c, upstream, once, &twice)) {
        REQUIRE(!says_something(&req), "%s refuses what it wrote: " STR_FMT, upstream->name,
                STR_ARG(once));
        goto out;
    }
    REQUIRE(rewrite(&c, upstream, twice, &thrice), "%s refuses what it wrote: " STR_FMT,
            upstream->name, STR_ARG(twice));
    REQUIRE(str_eq(twice, thrice), "%s: not stable:\n" STR_FMT "\n" STR_FMT, upstream->name,
            STR_ARG(twice), STR_ARG(thrice));
out:
    pair_done(&c);
    arena_free(a);
    return 0;
}
