/* media.h - what kind of file some bytes are, by their first bytes; samples as a file. */
#ifndef WIRE_MEDIA_H
#define WIRE_MEDIA_H
#include "base/arena.h"

/* Samples of Google's and OpenAI's speech models: 16 bit, little endian, mono, 24 kHz. */
#define MEDIA_PCM16 "audio/L16;codec=pcm;rate=24000"
/* Such samples (base64, of that type) with the head of a WAV file; empty when they are something else. */
struct str wire_wav_of_pcm(struct arena *a, struct str media_type, struct str base64);
struct str wire_media_of_base64(struct str base64); /* "image/png"; empty when unknown */
#endif
