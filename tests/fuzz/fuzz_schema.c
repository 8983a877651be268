/* A schema, cleaned for any target, is JSON and stays clean. */
#include "fuzz/fuzz.h"
#include "wire/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct str text = str_n((const char *)data, size);
    enum schema_profile profile = (enum schema_profile)(take_byte(&text) % 5);
    unsigned flags = take_byte(&text) & 0x7f;
    struct err e = ERR_INIT;
    yyjson_val *root, *again;
    if (json_parse(a, text, 0, &root, &e)) {
        struct str clean = schema_clean_text(a, root, profile, flags);
        if (clean.n) {
            REQUIRE(json_parse(a, clean, 256, &again, &e), "cleaned to '" STR_FMT "': %s",
                    STR_ARG(clean), e.message);
            struct str twice = schema_clean_text(a, again, profile, flags);
            REQUIRE(json_valid(twice, 256, &e) || twice.n == 0, "the second time: %s", e.message);
        }
        struct str back = schema_from_gemini_text(a, root);
        REQUIRE(back.n == 0 || json_valid(back, 256, &e), "from gemini: %s", e.message);
    }
    arena_free(a);
    return 0;
}
