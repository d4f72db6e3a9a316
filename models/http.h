/* What both protocols need of HTTP: requests that stay at their server, replies as they are, faults in words.
 */
#ifndef LOGITOP_MODELS_HTTP_H
#define LOGITOP_MODELS_HTTP_H

#include "base/buf.h"
#include "base/err.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A server and what is wanted of it, for requests and for messages. Borrowed strings. */
struct service {
    const char *endpoint; /* "https://huggingface.co": where requests begin */
    const char *what;     /* "user/repo" */
    const char *page;     /* where a person can read about it: "https://huggingface.co/user/repo" */
    const char *token;    /* sent to the endpoint and to nobody else; NULL */
    const char *accept;   /* a media type, or NULL */
    const atomic_bool *stop;
};

/* A reply's head. */
struct reply {
    long status;
    char error_code[64];  /* X-Error-Code of the hub: "GatedRepo" */
    int64_t retry_after;  /* seconds; -1: not told */
    int64_t first, total; /* Content-Range of a 206, or Content-Length of a 200; -1: not told */
    char *next;           /* Link: <next>; rel="next"; free() it */
};
void reply_clear(struct reply *reply);
size_t reply_header(char *bytes, size_t size, size_t n, void *reply); /* CURLOPT_HEADERFUNCTION */

enum { HTTP_STALL_SECONDS = 30, HTTP_TRIES = 5 };
unsigned
http_tries(void); /* in a row without a byte before it is given up: $LOGITOP_RETRIES, or HTTP_TRIES */

/* An easy handle with what is common to all requests; *headers is to be freed after it. NULL and err without
 * memory. */
CURL *http_open(const struct service *service, const char *url, struct curl_slist **headers, struct err *err);

/* All of a small reply (16 MiB), tried again where that may help. `moved` is where redirects ended: the
 * caller's, or NULL. */
int http_get(const struct service *service, const char *url, struct buf *body, struct reply *reply,
             char **moved, struct err *err);

/* A status that is no success, in words and with what to do. */
int http_refused(const struct service *service, const struct reply *reply, struct err *err);
bool http_may_pass(long status);  /* it may be otherwise in a moment: 408, 429, 5xx */
bool http_was_cut(CURLcode code); /* the same of a connection */
/* A request that failed below HTTP. */
int http_failed(const struct service *service, CURLcode code, struct err *err);

/* Milliseconds to wait after the n-th failure (0...), or before what the server asked for. */
int http_pause_ms(unsigned n, int64_t retry_after);
enum { HTTP_PATIENCE = 60 }; /* seconds that a server may ask to wait: beyond, the person is told */

#endif
