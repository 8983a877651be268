/* price_list.h - prices by the hundred: the public list that most gateways read, OpenRouter's list of models, our own format, and the
 * one that the program brings along. Decimals are read as they are written, without floating point. */
#ifndef DOMAIN_PRICE_LIST_H
#define DOMAIN_PRICE_LIST_H
#include "domain/price.h"

struct price_import {
    enum price_source source;
    struct str provider;        /* of what the list itself does not tell; empty: as it says */
    struct str provenance;
    int64_t valid_from_ms;
};
/* Reads the public price list (model -> input_cost_per_token, …), OpenRouter's list of models, or {"prices":{"provider/model":{…}}}: which
 * of them it is shows. What cannot be used is skipped, and said why; so is what an entry that is used is priced without. */
bool price_list_read(struct arena *a, yyjson_val *root, const struct price_import *how, struct price_rows *out, struct err *e) MUST_USE;
bool price_shipped(struct arena *a, struct price_rows *out, struct err *e) MUST_USE; /* what the program brings along */
/* One entry or an array of them, named "provider/model": rows of that source are added. */
bool price_entry_read(struct arena *a, struct str name, yyjson_val *value, enum price_source source, struct price_rows *out,
                      struct err *e) MUST_USE;
#endif
