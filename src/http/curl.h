/* curl.h - the calls of client.h through libcurl: for origins behind a proxy or with HTTP/2.
 * A call that client.h hands out starts with a call_base, which says whose it is. */
#ifndef HTTP_CURL_H
#define HTTP_CURL_H
#include "http/client.h"

struct call_base {
    bool is_curl;
};
struct curl_client;
struct curl_call;
struct curl_client *curl_client_new(struct loop *l, const struct http_client_conf *conf, struct http_client_stats *stats);
void curl_client_free(struct curl_client *c);                 /* cuts what is open, silently; may outlive the call until the loop ends */
struct curl_call *curl_call_start(struct curl_client *c, const struct http_out *out, const struct http_call_handler *h, void *arg);
void curl_call_cancel(struct curl_call *call);
void curl_call_pause(struct curl_call *call);
void curl_call_resume(struct curl_call *call);
bool curl_call_send(struct curl_call *call, struct str bytes);
void curl_call_send_end(struct curl_call *call);
bool curl_call_is_sent(const struct curl_call *call);
bool curl_call_is_reused(const struct curl_call *call);
/* Opens libcurl, from any thread: before anything else of it, and before an origin is used that needs it, so that no loop
 * waits for the disk. */
bool curl_start_once(struct err *e) MUST_USE;
#endif
