/* codec.h - hex, base64, hashes and random bytes. */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H
#include "base/buf.h"

#define SHA256_SIZE 32
void sha256(struct str data, uint8_t out[SHA256_SIZE]);
void random_bytes(void *p, size_t n);                         /* from the system; never fails */
uint64_t random_u64(void);                                    /* fast, per thread, not for secrets */
void random_hex(char *out, size_t digits);                    /* writes digits lower-case hex characters, no NUL */
struct str random_id(struct arena *a, const char *prefix, size_t hex_digits); /* "req_" + digits */
struct str uuid_of(struct arena *a, struct str text);         /* always the same of a text: RFC 9562, version 8, of its SHA-256 */
struct str random_uuid(struct arena *a);                      /* RFC 9562, version 4 */

void hex_encode(char *out, const void *p, size_t n);          /* 2n characters, no NUL */
bool hex_decode(void *out, struct str hex) MUST_USE;          /* hex.n / 2 bytes; false: odd or not hex */
struct str base64_encode(struct arena *a, struct str bytes);  /* RFC 4648, 4, padded */
bool base64_decode(struct arena *a, struct str text, struct str *out) MUST_USE; /* both alphabets, padding and white space optional */
bool ct_eq(const void *a, const void *b, size_t n);           /* in constant time */
#endif
