/* replies.c - writes the mock's answers. Text is deterministic and already escaped for JSON. */
#include "replies.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define JSON_BODY_BYTES 1002
#define EVENT_BYTES 290
#define TEXT_MAX_BYTES 1024
#define PROMPT_TOKENS 187
#define CHAT_HEAD                                                                                 \
    "\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"%s\",\"created\":1741569952," \
    "\"model\":\"bench-model-2025-04-14\",\"service_tier\":\"default\","                          \
    "\"system_fingerprint\":\"fp_50cad350e4\""
#define RESPONSES_OBJECT                                                                         \
    "{\"id\":\"resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b\",\"object\":\"response\"," \
    "\"created_at\":1741569952,\"status\":\"%s\",\"error\":null,\"incomplete_details\":null,"    \
    "\"instructions\":null,\"max_output_tokens\":null,\"model\":\"bench-model-2025-04-14\""
#define RESPONSES_ITEM_ID "msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b"

const struct bytes reply_not_found = {
    .data = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    .len = sizeof "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" - 1,
};

struct writer {
    FILE *file;
    char *data;
    size_t len;
};

static void writer_open(struct writer *w)
{
    w->file = open_memstream(&w->data, &w->len);
    if (w->file == NULL)
        die("no memory for a reply");
}

static struct bytes writer_take(struct writer *w)
{
    if (fclose(w->file) == EOF)
        die("no memory for a reply");
    return (struct bytes){.data = w->data, .len = w->len};
}

/* Fills exactly `len` bytes with words; `turn` makes neighbouring events differ. About one event
 * in eight holds an escape and a character of two bytes, as prose does. */
static void text_fill(char *out, size_t len, size_t turn)
{
    static const char *const words[] = {
        "water ", "finds ", "the ", "lowest ", "gate ",  "and ",     "every ", "channel ",
        "keeps ", "its ",   "own ", "level ",  "until ", "someone ", "lifts ", "a board; ",
    };
    size_t at = 0;
    static const char prose[] = "\\n\\\"r\xc3\xa9pit\\\" ";
    if (turn % 8 == 7 && len >= sizeof prose - 1) {
        memcpy(out, prose, sizeof prose - 1);
        at = sizeof prose - 1;
    }
    for (size_t i = turn * 5; at < len; i++) {
        const char *word = words[i % (sizeof words / sizeof *words)];
        size_t n = strlen(word);
        if (n > len - at)
            n = len - at;
        memcpy(out + at, word, n);
        at += n;
    }
    out[len] = '\0';
}

static void json_body(FILE *f, enum format format, const char *text)
{
    switch (format) {
    case FORMAT_CHAT:
        (void)fprintf(
            f,
            "{" CHAT_HEAD ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
            "\"content\":\"%s\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
            "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,"
            "\"completion_tokens\":100,\"total_tokens\":%d,\"prompt_tokens_details\":"
            "{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}",
            "chat.completion", text, PROMPT_TOKENS, PROMPT_TOKENS + 100);
        return;
    case FORMAT_RESPONSES:
        (void)fprintf(
            f,
            RESPONSES_OBJECT
            ",\"output\":[{\"type\":\"message\",\"id\":\"" RESPONSES_ITEM_ID
            "\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":"
            "\"output_text\",\"text\":\"%s\",\"annotations\":[]}]}],"
            "\"usage\":{\"input_tokens\":%d,\"input_tokens_details\":{\"cached_tokens\":0},"
            "\"output_tokens\":100,\"output_tokens_details\":{\"reasoning_tokens\":0},"
            "\"total_tokens\":%d}}",
            "completed", text, PROMPT_TOKENS, PROMPT_TOKENS + 100);
        return;
    case FORMAT_MESSAGES:
        (void)fprintf(
            f,
            "{\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":"
            "\"assistant\",\"model\":\"bench-model-2025-04-14\",\"content\":[{\"type\":"
            "\"text\",\"text\":\"%s\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,"
            "\"usage\":{\"input_tokens\":%d,\"cache_creation_input_tokens\":0,"
            "\"cache_read_input_tokens\":0,\"output_tokens\":100,\"service_tier\":"
            "\"standard\"}}",
            text, PROMPT_TOKENS);
        return;
    case FORMAT_GEMINI:
        (void)fprintf(
            f,
            "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\"}],\"role\":"
            "\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":"
            "{\"promptTokenCount\":%d,\"candidatesTokenCount\":100,\"totalTokenCount\":%d,"
            "\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":%d}]},"
            "\"modelVersion\":\"bench-model-2025-04-14\",\"responseId\":"
            "\"mHnFaKqLHcaWz7IPsdCl0A4\"}",
            text, PROMPT_TOKENS, PROMPT_TOKENS + 100, PROMPT_TOKENS);
        return;
    case FORMAT_COUNT:
        break;
    }
    die("no such format");
}

static struct bytes json_reply(enum format format)
{
    char text[TEXT_MAX_BYTES + 1];
    struct writer w;
    writer_open(&w);
    json_body(w.file, format, "");
    struct bytes bare = writer_take(&w);
    text_fill(text, JSON_BODY_BYTES - bare.len, 0);
    free(w.data);

    writer_open(&w);
    (void)fprintf(
        w.file,
        "HTTP/1.1 200 OK\r\nDate: Sat, 01 Nov 2025 12:00:00 GMT\r\nContent-Type: "
        "application/json\r\nContent-Length: %d\r\nx-request-id: req_0123456789abcdef\r\n\r\n",
        JSON_BODY_BYTES);
    json_body(w.file, format, text);
    return writer_take(&w);
}

static void stream_head(FILE *f)
{
    (void)fputs("HTTP/1.1 200 OK\r\nDate: Sat, 01 Nov 2025 12:00:00 GMT\r\nContent-Type: "
                "text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n"
                "x-request-id: req_0123456789abcdef\r\n\r\n",
                f);
}

/* One event in an HTTP chunk of its own, as upstreams send them. */
static void chunk(FILE *f, const char *event)
{
    (void)fprintf(f, "%zx\r\n%s\r\n", strlen(event), event);
}

__attribute__((format(printf, 2, 3))) static void chunkf(FILE *f, const char *format, ...)
{
    char *event = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&event, format, args) == -1)
        die("no memory for an event");
    va_end(args);
    chunk(f, event);
    free(event);
}

static void stream_preamble(FILE *f, enum format format)
{
    switch (format) {
    case FORMAT_CHAT:
        chunkf(f,
               "data: {" CHAT_HEAD ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
               "\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
               "chat.completion.chunk");
        return;
    case FORMAT_RESPONSES:
        chunkf(
            f,
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,"
            "\"response\":" RESPONSES_OBJECT ",\"output\":[],\"usage\":null}}\n\n",
            "in_progress");
        chunkf(f,
               "event: response.in_progress\ndata: {\"type\":\"response.in_progress\","
               "\"sequence_number\":1,\"response\":" RESPONSES_OBJECT
               ",\"output\":[],\"usage\":null}}\n\n",
               "in_progress");
        chunk(f,
              "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\","
              "\"sequence_number\":2,\"output_index\":0,\"item\":{\"id\":\"" RESPONSES_ITEM_ID
              "\",\"type\":\"message\",\"status\":\"in_progress\",\"content\":[],\"role\":"
              "\"assistant\"}}\n\n");
        chunk(f,
              "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\","
              "\"sequence_number\":3,\"item_id\":\"" RESPONSES_ITEM_ID "\",\"output_index\":0,"
              "\"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],"
              "\"logprobs\":[],\"text\":\"\"}}\n\n");
        return;
    case FORMAT_MESSAGES:
        chunkf(f,
               "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":"
               "\"bench-model-2025-04-14\",\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":"
               "\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,"
               "\"stop_sequence\":null,\"usage\":{\"input_tokens\":%d,"
               "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
               "\"output_tokens\":1}}}\n\n",
               PROMPT_TOKENS);
        chunk(f, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
                 "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
        chunk(f, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
        return;
    case FORMAT_GEMINI:
    case FORMAT_COUNT:
        return;
    }
}

static void delta_event(FILE *f, enum format format, size_t turn, const char *text)
{
    switch (format) {
    case FORMAT_CHAT:
        (void)fprintf(f,
                      "data: {" CHAT_HEAD
                      ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                      "\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                      "chat.completion.chunk", text);
        return;
    case FORMAT_RESPONSES:
        (void)fprintf(f,
                      "event: response.output_text.delta\ndata: {\"type\":"
                      "\"response.output_text.delta\",\"sequence_number\":%zu,\"item_id\":"
                      "\"" RESPONSES_ITEM_ID "\",\"output_index\":0,\"content_index\":0,"
                      "\"delta\":\"%s\",\"logprobs\":[]}\n\n",
                      turn + 4, text);
        return;
    case FORMAT_MESSAGES:
        (void)fprintf(f,
                      "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                      "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%s\"}}\n\n",
                      text);
        return;
    case FORMAT_GEMINI:
        (void)fprintf(
            f,
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"%s\"}],"
            "\"role\": \"model\"},\"index\": 0}],\"modelVersion\": "
            "\"bench-model-2025-04-14\",\"responseId\": \"mHnFaKqLHcaWz7IPsdCl0A4\"}\r\n\r\n",
            text);
        return;
    case FORMAT_COUNT:
        return;
    }
}

/* Writes one delta and adds its text to `whole`. */
static void stream_delta(FILE *f, enum format format, size_t turn, FILE *whole)
{
    char text[TEXT_MAX_BYTES + 1];
    struct writer w;
    writer_open(&w);
    delta_event(w.file, format, turn, "");
    size_t bare = writer_take(&w).len;
    free(w.data);
    text_fill(text, bare < EVENT_BYTES - 16 ? EVENT_BYTES - bare : 16, turn);

    writer_open(&w);
    delta_event(w.file, format, turn, text);
    (void)writer_take(&w);
    chunk(f, w.data);
    free(w.data);
    (void)fputs(text, whole);
}

static void stream_end(FILE *f, enum format format, size_t deltas, const char *whole)
{
    size_t total = PROMPT_TOKENS + deltas;
    switch (format) {
    case FORMAT_CHAT:
        chunkf(f,
               "data: {" CHAT_HEAD ",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
               "\"finish_reason\":\"stop\"}]}\n\n",
               "chat.completion.chunk");
        chunkf(f,
               "data: {" CHAT_HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":%d,"
               "\"completion_tokens\":%zu,\"total_tokens\":%zu,\"prompt_tokens_details\":"
               "{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n",
               "chat.completion.chunk", PROMPT_TOKENS, deltas, total);
        chunk(f, "data: [DONE]\n\n");
        break;
    case FORMAT_RESPONSES:
        chunkf(f,
               "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\","
               "\"sequence_number\":%zu,\"item_id\":\"" RESPONSES_ITEM_ID "\",\"output_index\":0,"
               "\"content_index\":0,\"text\":\"%s\",\"logprobs\":[]}\n\n",
               deltas + 4, whole);
        chunkf(f,
               "event: response.content_part.done\ndata: {\"type\":\"response.content_part.done\","
               "\"sequence_number\":%zu,\"item_id\":\"" RESPONSES_ITEM_ID "\",\"output_index\":0,"
               "\"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],"
               "\"logprobs\":[],\"text\":\"%s\"}}\n\n",
               deltas + 5, whole);
        chunkf(f,
               "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\","
               "\"sequence_number\":%zu,\"output_index\":0,\"item\":{\"id\":\"" RESPONSES_ITEM_ID
               "\",\"type\":\"message\",\"status\":\"completed\",\"content\":[{\"type\":"
               "\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"%s\"}],\"role\":"
               "\"assistant\"}}\n\n",
               deltas + 6, whole);
        chunkf(f,
               "event: response.completed\ndata: {\"type\":\"response.completed\","
               "\"sequence_number\":%zu,\"response\":" RESPONSES_OBJECT
               ",\"output\":[{\"id\":\"" RESPONSES_ITEM_ID "\",\"type\":\"message\",\"status\":"
               "\"completed\",\"content\":[{\"type\":\"output_text\",\"annotations\":[],"
               "\"logprobs\":[],\"text\":\"%s\"}],\"role\":\"assistant\"}],\"usage\":"
               "{\"input_tokens\":%d,\"input_tokens_details\":{\"cached_tokens\":0},"
               "\"output_tokens\":%zu,\"output_tokens_details\":{\"reasoning_tokens\":0},"
               "\"total_tokens\":%zu}}}\n\n",
               deltas + 7, "completed", whole, PROMPT_TOKENS, deltas, total);
        break;
    case FORMAT_MESSAGES:
        chunk(f,
              "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
        chunkf(f,
               "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
               "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":%zu}}\n\n",
               deltas);
        chunk(f, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        break;
    case FORMAT_GEMINI:
        chunkf(f,
               "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": "
               "\"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": "
               "{\"promptTokenCount\": %d,\"candidatesTokenCount\": %zu,\"totalTokenCount\": %zu,"
               "\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": %d}]},"
               "\"modelVersion\": \"bench-model-2025-04-14\",\"responseId\": "
               "\"mHnFaKqLHcaWz7IPsdCl0A4\"}\r\n\r\n",
               PROMPT_TOKENS, deltas, total, PROMPT_TOKENS);
        break;
    case FORMAT_COUNT:
        return;
    }
    (void)fputs("0\r\n\r\n", f);
}

static struct bytes joined(const struct bytes *piece, size_t count)
{
    struct writer w;
    writer_open(&w);
    for (size_t i = 0; i < count; i++)
        (void)fwrite(piece[i].data, 1, piece[i].len, w.file);
    return writer_take(&w);
}

static void stream_replies(struct replies *r, enum format format, size_t deltas)
{
    struct writer w;
    struct writer whole;
    r->pieces = deltas + 2;
    r->piece = must_alloc(NULL, r->pieces * sizeof *r->piece);

    writer_open(&w);
    stream_head(w.file);
    stream_preamble(w.file, format);
    r->piece[0] = writer_take(&w);

    writer_open(&whole);
    for (size_t i = 0; i < deltas; i++) {
        writer_open(&w);
        stream_delta(w.file, format, i, whole.file);
        r->piece[i + 1] = writer_take(&w);
    }
    (void)writer_take(&whole);

    writer_open(&w);
    stream_end(w.file, format, deltas, whole.data);
    r->piece[deltas + 1] = writer_take(&w);
    free(whole.data);

    r->opening = joined(r->piece, 2);
    r->stream = joined(r->piece, r->pieces);
}

void replies_build(struct replies *r, enum format format, size_t deltas)
{
    r->json = json_reply(format);
    stream_replies(r, format, deltas);
}
