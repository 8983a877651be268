/* zone.h - time zones by their IANA names: how far the clocks of a place are from UTC at a moment. Read from the system's tz database when
 * it is loaded, pure after that. */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H
#include "base/arena.h"
#include "base/err.h"

struct zone;                                                  /* opaque: laid out in zone.c */
/* "Europe/Berlin", "UTC" (or empty), "+05:30". NULL: ERR_INPUT "unknown_time_zone". Lives in the arena. Blocking: reads a file. */
const struct zone *zone_load(struct arena *a, struct str name, struct err *e);
/* The same of the bytes of a TZif file (RFC 8536); NULL: they are none. */
const struct zone *zone_parse(struct arena *a, struct str bytes);
int32_t zone_offset_s(const struct zone *z, int64_t unix_s);  /* seconds east of UTC */
#endif
