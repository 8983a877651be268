/* media.h - what kind of file some bytes are, by their first bytes. */
#ifndef WIRE_MEDIA_H
#define WIRE_MEDIA_H
#include "base/str.h"

struct str wire_media_of_base64(struct str base64); /* "image/png"; empty when unknown */
#endif
