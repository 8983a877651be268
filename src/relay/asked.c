/* asked.c - how much a JSON request brings and lets come back: the latter read with its model, in the one look at its members that every
 * request gets. */
#include "relay/request.h"

enum {
    OLD,
    NEW,
    RESPONSES,
    GOOGLE,
    OLLAMA,
    CHOICES
};
#define MAX_OUT_TOKENS 1000000
#define BLOB_MIN 512     /* a run of so many base64 characters is an image, a file, audio */
#define BLOB_TOKENS 1000 /* about what one costs */

void asked_wants(struct json_want want[ASKED_WANTS])
{
    static const char *const keys[ASKED_WANTS] = {[OLD] = "max_tokens",
                                                  [NEW] = "max_completion_tokens",
                                                  [RESPONSES] = "max_output_tokens",
                                                  [GOOGLE] = "generationConfig",
                                                  [OLLAMA] = "options",
                                                  [CHOICES] = "n"};
    for (size_t i = 0; i < ASKED_WANTS; i++)
        want[i] = (struct json_want){.key = keys[i]};
}

/* A member of a JSON object; -1: absent, no integer, no object. */
static int64_t int_in(struct str object, const char *name)
{
    struct json_scan scan;
    struct json_want want[] = {{.key = name}};
    int64_t v;
    if (!object.n || object.p[0] != '{' || !json_scan_object(object, want, 1, 0, &scan, NULL) ||
        !str_to_int(str_n(object.p + want[0].span.at, want[0].span.n), &v))
        return -1;
    return v;
}

void asked_take(struct relay *rl, const struct json_want want[ASKED_WANTS])
{
    int64_t v[ASKED_WANTS], most = -1;
    struct str google = STR_NONE;
    for (size_t i = 0; i < ASKED_WANTS; i++) {
        struct str text = str_n(rl->body.p + want[i].span.at, want[i].span.n);
        if (i == GOOGLE)
            v[i] = int_in(google = text, "maxOutputTokens");
        else if (i == OLLAMA)
            v[i] = int_in(text, "num_predict");
        else if (!text.n || !str_to_int(text, &v[i]))
            v[i] = -1;
        if (i != CHOICES && v[i] > most)
            most = v[i];
    }
    int64_t n = v[CHOICES], many = int_in(google, "candidateCount");
    n = many > n ? many : n;
    rl->asked_output = most < MAX_OUT_TOKENS ? most : MAX_OUT_TOKENS;
    rl->asked_choices = n < 1 ? 1 : n < 128 ? n : 128;
}

static bool is_base64(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=' || c == '-' || c == '_';
}

/* Four bytes a token, but for what is no text. A long run of base64 covers every BLOB_MIN-th byte: only from those it is looked for. */
int64_t asked_input(struct str body)
{
    size_t text = body.n + 1;
    int64_t blobs = 0;
    for (size_t i = BLOB_MIN - 1; i < body.n; i += BLOB_MIN) {
        if (!is_base64((unsigned char)body.p[i]))
            continue;
        size_t from = i, to = i + 1;
        while (from > 0 && is_base64((unsigned char)body.p[from - 1]))
            from--;
        while (to < body.n && is_base64((unsigned char)body.p[to]))
            to++;
        if (to - from >= BLOB_MIN) {
            blobs++;
            text -= to - from;
        }
        i = to - to % BLOB_MIN - 1; /* the next look is behind this run */
    }
    return (int64_t)(text / 4) + blobs * BLOB_TOKENS;
}
