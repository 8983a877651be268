/* places.h - where the formats say the same things, for whoever compares a body with what it became. */
#ifndef WIRE_PLACES_H
#define WIRE_PLACES_H
#include "json/compare.h"

extern const struct json_kin wire_places[];
#endif
