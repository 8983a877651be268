/* cidr.h - lists of address ranges: "10.0.0.0/8, 192.168.*.*, 192.0.2.7, 2001:db8::/32". */
#ifndef HTTP_CIDR_H
#define HTTP_CIDR_H
#include "base/err.h"

#define CIDR_BYTES 16
/* A numeric address as 16 bytes, IPv4 mapped into IPv6, so that both spellings of one are the same. */
bool address_parse(struct str text, uint8_t out[CIDR_BYTES]) MUST_USE;
bool address_is_v4(const uint8_t address[CIDR_BYTES]);
bool address_is_loopback(const uint8_t address[CIDR_BYTES]);
bool cidr_parse(struct str range, uint8_t base[CIDR_BYTES], unsigned *bits) MUST_USE; /* bits: of the 128 */
bool cidr_list_check(struct str list, struct err *e) MUST_USE; /* ERR_INPUT naming the range at fault */
bool cidr_list_has(struct str list, struct str address);       /* false: also when either is not well-formed */
#endif
