/* examples.h - an example for every body of the control plane in the OpenAPI document: written by hand where a caller needs to see how it
 * is meant, made from the shape elsewhere. */
#ifndef API_EXAMPLES_H
#define API_EXAMPLES_H
#include "api/endpoint.h"
#include "json/shape.h"

void example_request(const struct endpoint *e, struct jw *w); /* of a row with an in-shape */
void example_value(const struct shape *s, struct jw *w);      /* of what an out-shape writes */
#endif
