/* compare.h - what became of the values of one document in another that was made from it. */
#ifndef JSON_COMPARE_H
#define JSON_COMPARE_H
#include "json/json.h"

enum json_fate {
    JSON_KEPT,    /* the same value at the same place */
    JSON_MAPPED,  /* the same value at another place, or another value at the same */
    JSON_DROPPED, /* of the first document only */
    JSON_ADDED,   /* of the second only */
};
extern const struct word json_fate_words[]; /* "kept", … */
struct json_leaf {    /* one that holds nothing further: a text, number, true, false, null, [] or {} */
    int fate;         /* enum json_fate */
    struct str from, to; /* places, "messages[0].content"; empty where it is not */
};
/* In the order of the first document, then what was added; in the arena. Values that say little by themselves (short ones, true, null) count
 * as the same thing only under the same name. false: more than max leaves in either. */
bool json_compare(struct arena *a, yyjson_val *from, yyjson_val *to, size_t max, struct json_leaf **out, size_t *n) MUST_USE;
#endif
