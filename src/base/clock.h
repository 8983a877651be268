/* clock.h - the two clocks, and how times are written. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include "base/buf.h"

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);                                  /* Unix time */
void clock_rfc3339(struct buf *b, int64_t wall_ms);           /* 2025-01-02T03:04:05.678Z */
void clock_rfc3339_ns(struct buf *b, int64_t wall_ns);        /* …05.678901234Z */
void clock_http_date(struct buf *b, int64_t wall_ms);         /* RFC 9110, 5.6.7: IMF-fixdate */
bool clock_parse_http_date(struct str s, int64_t *wall_ms) MUST_USE;
bool clock_parse_rfc3339(struct str s, int64_t *wall_ms) MUST_USE;
#endif
