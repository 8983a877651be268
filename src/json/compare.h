/* compare.h - what became of the values of one document in another that was made from it. */
#ifndef JSON_COMPARE_H
#define JSON_COMPARE_H
#include "json/json.h"

enum json_fate {
    JSON_KEPT,       /* the same value at the same place */
    JSON_MAPPED,     /* the same value at another place or within a text, or another value where the same thing is said */
    JSON_DROPPED,    /* left out, as whoever made the second document says */
    JSON_ADDED,      /* of the second document only */
    JSON_UNCOMPARED, /* of the first only, and nobody says why */
};
extern const struct word json_fate_words[]; /* "kept", … */
struct json_leaf {    /* one that holds nothing further: a text, number, true, false, null, [] or {} */
    int fate;         /* enum json_fate */
    struct str from, to; /* places, "messages[0].content"; empty where it is not */
};

/* Places that say the same thing in different documents. The first row that fits a place counts. */
struct json_kin {
    const char *place; /* the end of a place without its indices, "usage.input_tokens"; "^id": a whole one; "tool_choice.*": all below and itself */
    const char *value; /* only where this stands, as JSON text; NULL: whatever does */
    int what;          /* from 1; the same thing has the same number */
    bool differs;      /* it may be said with another value */
};
struct json_compare {
    const struct json_kin *kin; /* ends with a row without a place; NULL: none */
    const struct str *dropped;  /* names of what was left out: "top_k", "tools.strict", "stop[4]" */
    size_t n_dropped;
    size_t max; /* leaves of either document */
};
/* In the order of the first document, then what stood within a text of it, then what was added; in the arena. Values that say little by
 * themselves (short ones, true, null) count as the same thing only under the same name. JSON and data: URLs are looked for within texts.
 * false: more than max leaves in either. */
bool json_compare(struct arena *a, yyjson_val *from, yyjson_val *to, const struct json_compare *how, struct json_leaf **out, size_t *n)
    MUST_USE;
#endif
