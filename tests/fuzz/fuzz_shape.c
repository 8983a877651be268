/* A struct filled from any JSON is written as JSON that fills it the same again; a refusal names a field. */
#include "fuzz/fuzz.h"
#include "json/shape.h"

enum colour {
    RED = 1,
    GREEN
};
static const struct word colours[] = {{"red", RED}, {"green", GREEN}, {0}};
struct point {
    int32_t x;
    uint32_t y;
};
struct thing {
    struct str name;
    bool on;
    int64_t n;
    double d;
    enum colour colour;
    struct strs tags;
    struct point at;
    struct shape_list path;
    yyjson_val *extra;
};
static const struct shape point_shape = SHAPE_STRICT(
    struct point, FIELD(struct point, x, REQUIRED, "X"), FIELD(struct point, y, 0, "Y"));
static const struct shape thing_shape = SHAPE(
    struct thing, FIELD(struct thing, name, NOT_EMPTY | NULL_EMPTY, "Name"),
    FIELD(struct thing, on, 0, "On"), FIELD(struct thing, n, NOT_NEGATIVE, "N"),
    FIELD(struct thing, d, 0, "D"), FIELD_ENUM(struct thing, colour, colours, 0, "C"),
    FIELD(struct thing, tags, OMIT_EMPTY, "T"),
    FIELD_OBJECT(struct thing, at, &point_shape, 0, "A"),
    FIELD_LIST(struct thing, path, &point_shape, 0, "P"),
    FIELD(struct thing, extra, OMIT_EMPTY, "E"));

static struct str write_thing(struct arena *a, const struct thing *t)
{
    struct buf b;
    buf_init_arena(&b, a, SIZE_MAX / 4);
    struct jw w = jw_on(&b);
    shape_write(&thing_shape, t, &w);
    REQUIRE(!buf_failed(&b), "does not fit");
    return buf_str(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct err e = ERR_INIT;
    yyjson_val *root;
    struct thing t = {.colour = RED}, back = {.colour = RED};
    uint64_t present = 0;
    if (json_parse(a, str_n((const char *)data, size), 0, &root, &e)) {
        if (shape_read(&thing_shape, a, root, &t, &present, &e)) {
            REQUIRE(present >> 9 == 0, "a field that does not exist");
            struct str text = write_thing(a, &t);
            REQUIRE(json_parse(a, text, 0, &root, &e), "no JSON: %s", e.message);
            REQUIRE(shape_read(&thing_shape, a, root, &back, NULL, &e), "refused what it wrote: %s",
                    e.message);
            REQUIRE(str_eq(write_thing(a, &back), text), "reads back differently");
        } else {
            REQUIRE(e.kind == ERR_INPUT && e.message[0], "refused without a reason");
            REQUIRE(e.field[0] || !yyjson_is_obj(root), "refused without a field");
        }
    }
    arena_free(a);
    return 0;
}
