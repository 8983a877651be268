/* http.c - the words that server and client share. */
#include "http/http.h"

#include "base/banned.h"

const char *http_method_name(enum http_method m)
{
    switch (m) {
    case HTTP_GET:
        return "GET";
    case HTTP_HEAD:
        return "HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    case HTTP_DELETE:
        return "DELETE";
    case HTTP_OPTIONS:
        return "OPTIONS";
    case HTTP_OTHER:
        break;
    }
    return "OTHER";
}

static const struct word reasons[] = {
    {"Continue", 100},
    {"Switching Protocols", 101},
    {"OK", 200},
    {"Created", 201},
    {"Accepted", 202},
    {"No Content", 204},
    {"Partial Content", 206},
    {"Moved Permanently", 301},
    {"Found", 302},
    {"See Other", 303},
    {"Not Modified", 304},
    {"Temporary Redirect", 307},
    {"Permanent Redirect", 308},
    {"Bad Request", 400},
    {"Unauthorized", 401},
    {"Payment Required", 402},
    {"Forbidden", 403},
    {"Not Found", 404},
    {"Method Not Allowed", 405},
    {"Not Acceptable", 406},
    {"Request Timeout", 408},
    {"Conflict", 409},
    {"Gone", 410},
    {"Length Required", 411},
    {"Precondition Failed", 412},
    {"Content Too Large", 413},
    {"URI Too Long", 414},
    {"Unsupported Media Type", 415},
    {"Range Not Satisfiable", 416},
    {"Expectation Failed", 417},
    {"Misdirected Request", 421},
    {"Unprocessable Content", 422},
    {"Locked", 423},
    {"Failed Dependency", 424},
    {"Too Early", 425},
    {"Upgrade Required", 426},
    {"Precondition Required", 428},
    {"Too Many Requests", 429},
    {"Request Header Fields Too Large", 431},
    {"Unavailable For Legal Reasons", 451},
    {"Client Closed Request", 499},
    {"Internal Server Error", 500},
    {"Not Implemented", 501},
    {"Bad Gateway", 502},
    {"Service Unavailable", 503},
    {"Gateway Timeout", 504},
    {"HTTP Version Not Supported", 505},
    {"Insufficient Storage", 507},
    {"Overloaded", 529},
    {0},
};

const char *http_reason(int status)
{
    return status == 200 ? "OK" : word_text(reasons, status, "Unknown");
}

struct str http_header_get(const struct http_header *h, size_t n, const char *lower_name)
{
    struct str name = str_of(lower_name);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(h[i].name, name))
            return h[i].value.p ? h[i].value : STR("");
    }
    return STR_NONE;
}
