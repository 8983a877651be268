/* The quick reading of heads against llhttp: whatever quick.c takes, llhttp takes, and reads the same from it. Every byte of
 * usual heads is replaced by others, left out and doubled. */
#include "http/parser.h"
#include "http/quick.h"
#include "unit/unit.h"

struct reading { /* of llhttp */
    struct head head;
    bool is_head_whole;
};

static struct reading *reading_of(llhttp_t *p)
{
    return p->data;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    return head_target(&reading_of(p)->head, at, n, 100000) ? 0 : HPE_USER;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    return head_name(&reading_of(p)->head, at, n, 100000) ? 0 : HPE_USER;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    return head_value(&reading_of(p)->head, at, n, 100000) ? 0 : HPE_USER;
}

static int on_value_complete(llhttp_t *p)
{
    head_value_end(&reading_of(p)->head);
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    reading_of(p)->is_head_whole = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
};

static bool is_same(struct head *a, struct head *b)
{
    struct http_header x[64], y[64];
    if (a->n != b->n || a->n > 64 || !str_eq(head_copy(a, NULL, x), head_copy(b, NULL, y)))
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!str_eq(x[i].name, y[i].name) || !str_eq(x[i].value, y[i].value))
            return false;
    return true;
}

static bool is_as_llhttp_says(struct str text, bool is_reply, struct head *h, const struct quick *q)
{
    struct reading r = {.is_head_whole = false};
    llhttp_t p;
    head_init(&r.head);
    llhttp_init(&p, is_reply ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    p.data = &r;
    unsigned unusual = F_CHUNKED | F_TRANSFER_ENCODING | F_UPGRADE | F_CONNECTION_CLOSE;
    bool ok = llhttp_execute(&p, text.p, text.n) == HPE_PAUSED && r.is_head_whole &&
              is_same(h, &r.head) && p.http_major == 1 && p.http_minor == 1 &&
              llhttp_should_keep_alive(&p) == 1 && !(p.flags & unusual) &&
              ((p.flags & F_CONTENT_LENGTH) != 0) == (q->content_length >= 0) &&
              (q->content_length < 0 || p.content_length == (uint64_t)q->content_length) &&
              (is_reply ? p.status_code == q->status
                        : p.method == (q->is_get ? LLHTTP_GET : LLHTTP_POST)) &&
              str_ends(str_first(text, q->head_n), STR("\r\n\r\n"));
    head_done(&r.head);
    return ok;
}

/* true: quick.c took it. One assertion only where it is wrong: Check notes each that holds. */
static bool compare(struct str text, bool is_reply)
{
    const struct quick_limits limits = {60000, 8000, 60};
    struct head h;
    struct quick q;
    head_init(&h);
    bool is_taken = is_reply ? quick_reply(text, limits.max_head_bytes, &h, &q)
                             : quick_request(text, &limits, &h, &q);
    if (is_taken ? !is_as_llhttp_says(text, is_reply, &h, &q) : h.n > 0 || h.text.n > 0)
        ck_abort_msg("read otherwise: " STR_FMT, STR_ARG(text));
    head_done(&h);
    return is_taken;
}

/* Of letters, digits and bytes beyond ASCII a few will do. */
static int next_byte(int c)
{
    c++;
    return c > 0x80 ? c + 0x3e
           : (c > '1' && c < '9') || (c > 'b' && c < 'z') || (c > 'B' && c < 'Z')
               ? c + (c < 'A' ? 7 : 23)
               : c;
}

static unsigned vary(const char *head, bool is_reply)
{
    char text[1024];
    size_t n = strlen(head);
    unsigned n_taken = 0;
    ck_assert_uint_lt(n + 1, sizeof text);
    ck_assert_msg(compare(str_n(head, n), is_reply), "not taken: %s", head);
    for (size_t at = 0; at < n; at++) {
        memcpy(text, head, n);
        for (int c = 0; c < 256; c = next_byte(c)) {
            text[at] = (char)c;
            n_taken += compare(str_n(text, n), is_reply);
        }
        memcpy(text, head, at);
        memcpy(text + at, head + at + 1, n - at - 1);
        n_taken += compare(str_n(text, n - 1), is_reply); /* left out */
        memcpy(text + at, head + at, n - at);
        memmove(text + at + 1, text + at, n - at);
        n_taken += compare(str_n(text, n + 1), is_reply); /* doubled */
        if (compare(str_first(str_n(head, n), at), is_reply))
            ck_abort_msg("taken without its end");
    }
    return n_taken;
}

START_TEST(reads_requests_as_llhttp_does)
{
    static const char *const heads[] = {
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a:1\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer sk-0123456789abcdef\r\nContent-Length: 748\r\n\r\n",
        "GET /v1/models?limit=20&after=a%20b HTTP/1.1\r\nhost: [::1]:80\r\nConnection: "
        "keep-alive\r\n"
        "Accept:  */*  \r\nX-A_b: 1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST /v1beta/models/a-b.c:streamGenerateContent?alt=sse HTTP/1.1\r\nHost: a\r\n"
        "X-Goog-Api-Key: k\r\ncontent-length: 0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        ck_assert_uint_gt(vary(heads[i], false), 10);
}
END_TEST

START_TEST(reads_replies_as_llhttp_does)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1002\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\ncontent-length: 0\r\nConnection: "
        "Keep-Alive\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        ck_assert_uint_gt(vary(heads[i], true), 10);
}
END_TEST

START_TEST(leaves_what_is_unusual)
{
    static const char *const requests[] = {
        "PUT / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    static const char *const replies[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        ck_assert_msg(!compare(str_of(requests[i]), false), "taken: %s", requests[i]);
    for (size_t i = 0; i < ARRAY_LEN(replies); i++)
        ck_assert_msg(!compare(str_of(replies[i]), true), "taken: %s", replies[i]);
}
END_TEST

START_TEST(keeps_to_its_limits)
{
    struct str text = STR("GET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
    const struct {
        struct quick_limits limits;
        bool is_taken;
    } cases[] = {
        {{text.n, 4, 2}, true},
        {{text.n - 1, 4, 2}, false},
        {{text.n, 3, 2}, false},
        {{text.n, 4, 1}, false},
    };
    struct head h;
    struct quick q;
    head_init(&h);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_int_eq(quick_request(text, &cases[i].limits, &h, &q), cases[i].is_taken);
    head_done(&h);
}
END_TEST

UNIT_MAIN("http_quick", reads_requests_as_llhttp_does, reads_replies_as_llhttp_does,
          leaves_what_is_unusual, keeps_to_its_limits)
