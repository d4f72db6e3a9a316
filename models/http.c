#include "models/http.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { BODY_MAX = 16 << 20, REDIRECTS_MAX = 10, CONNECT_SECONDS = 20 };

/* ---- a reply's head ---- */

void reply_clear(struct reply *reply) {
    free(reply->next);
    *reply = (struct reply){.retry_after = -1, .first = -1, .total = -1};
}

/* The value of a header line of this name, without blanks around it; NULL if it is another. */
static char *header_value(const char *line, size_t len, const char *name) {
    size_t n = strlen(name);
    if (len <= n || strncasecmp(line, name, n) || line[n] != ':') return NULL;
    const char *at = line + n + 1, *end = line + len;
    while (at < end && strchr(" \t", *at)) at++;
    while (end > at && strchr(" \t\r\n", end[-1])) end--;
    return xmemdup(at, (size_t)(end - at));
}

/* "bytes 100-199/5000" */
static void read_range(struct reply *reply, const char *text) {
    long long first, last, total;
    if (sscanf(text, "bytes %lld-%lld/%lld", &first, &last, &total) != 3) return;
    reply->first = first;
    reply->total = total;
}

/* <https://...>; rel="next" */
static void read_link(struct reply *reply, const char *text) {
    const char *end = strchr(text, '>');
    if (*text != '<' || !end || !strstr(end, "\"next\"")) return;
    free(reply->next);
    reply->next = xmemdup(text + 1, (size_t)(end - text - 1));
}

size_t reply_header(char *bytes, size_t size, size_t n, void *ctx) {
    struct reply *reply = ctx;
    size_t len = size * n;
    char *value;
    if (len > 9 && strncmp(bytes, "HTTP/", 5) == 0) { /* of each redirect, too: the last one counts */
        reply_clear(reply);
        const char *blank = memchr(bytes, ' ', len);
        if (blank && len - (size_t)(blank - bytes) >= 4)
            reply->status = strtol((char[]){blank[1], blank[2], blank[3], 0}, NULL, 10);
    } else if ((value = header_value(bytes, len, "Content-Range"))) {
        read_range(reply, value);
        free(value);
    } else if ((value = header_value(bytes, len, "Content-Length"))) {
        if (reply->status == 200) reply->total = strtoll(value, NULL, 10);
        free(value);
    } else if ((value = header_value(bytes, len, "Retry-After"))) {
        char *end;
        long long seconds = strtoll(value, &end, 10);
        time_t date = *end ? curl_getdate(value, NULL) : -1, now = time(NULL);
        if (!*end && seconds >= 0) reply->retry_after = seconds;
        if (date >= 0) reply->retry_after = date > now ? date - now : 0;
        free(value);
    } else if ((value = header_value(bytes, len, "X-Error-Code"))) {
        snprintf(reply->error_code, sizeof reply->error_code, "%s", value);
        free(value);
    } else if ((value = header_value(bytes, len, "Link"))) {
        read_link(reply, value);
        free(value);
    }
    return len;
}

/* ---- faults ---- */

unsigned http_tries(void) {
    const char *value = getenv("LOGITOP_RETRIES");
    return value && *value >= '0' && *value <= '9' ? (unsigned)strtoul(value, NULL, 10) : HTTP_TRIES;
}

int http_pause_ms(unsigned n, int64_t retry_after) {
    if (retry_after >= 0) return (int)(retry_after > HTTP_PATIENCE ? HTTP_PATIENCE : retry_after) * 1000;
    return n > 5 ? 8000 : 250 << n;
}

bool http_may_pass(long status) {
    return status == 408 || status == 429 || status >= 500;
}

bool http_was_cut(CURLcode code) {
    switch (code) {
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_COULDNT_CONNECT:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY: return true;
    default: return false;
    }
}

static bool is_gated(const struct reply *reply) {
    return strcmp(reply->error_code, "GatedRepo") == 0 || (reply->status == 403 && !*reply->error_code);
}

int http_refused(const struct service *service, const struct reply *reply, struct err *err) {
    const char *what = service->what, *page = service->page;
    if (is_gated(reply) && service->token)
        return err_set(err, STATUS_FAILED,
                       "%s is gated, and the account of HF_TOKEN has no access yet: accept its terms at %s",
                       what, page);
    if (is_gated(reply))
        return err_set(err, STATUS_FAILED,
                       "%s is gated: accept its terms at %s, then set HF_TOKEN to a token of that account",
                       what, page);
    if (reply->status == 401 || reply->status == 403)
        return err_set(err, STATUS_FAILED,
                       service->token
                           ? "%s is not there, or HF_TOKEN is no longer valid or may not see it: look at %s"
                           : "%s is not there, or private: look at %s; for a private one set HF_TOKEN",
                       what, page);
    if (reply->status == 404 || reply->status == 410)
        return err_set(err, STATUS_FAILED, "%s is not there: check the name at %s", what, page);
    if (reply->status == 429 && reply->retry_after > 0)
        return err_set(err, STATUS_FAILED,
                       "%s has too many requests and asks to wait %lld s; then the same command goes on "
                       "where this one ended%s",
                       service->endpoint, (long long)reply->retry_after,
                       service->token ? "" : " (with HF_TOKEN the limit is higher)");
    if (reply->status == 429)
        return err_set(
            err, STATUS_FAILED,
            "%s has too many requests: try again later; the same command goes on where this one ended",
            service->endpoint);
    if (reply->status >= 500)
        return err_set(err, STATUS_FAILED,
                       "%s fails (HTTP %ld): try again later; the same command goes on where this one ended",
                       service->endpoint, reply->status);
    return err_set(err, STATUS_FAILED, "%s: found HTTP status %ld, expected 200", what, reply->status);
}

int http_failed(const struct service *service, CURLcode code, struct err *err) {
    if (code == CURLE_TOO_MANY_REDIRECTS)
        return err_set(err, STATUS_FAILED, "%s: found more than %d redirects, expected the file",
                       service->what, REDIRECTS_MAX);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, STATUS_FAILED,
                       "%s does not answer: try again later; the same command goes on where this one ended",
                       service->endpoint);
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
        code == CURLE_COULDNT_RESOLVE_PROXY)
        return err_set(err, STATUS_FAILED, "cannot reach %s (%s): is there a network?", service->endpoint,
                       curl_easy_strerror(code));
    if (http_was_cut(code))
        return err_set(
            err, STATUS_FAILED,
            "%s: the connection was cut again and again; the same command goes on where this one ended",
            service->what);
    return err_set(err, STATUS_FAILED, "%s: %s", service->what, curl_easy_strerror(code));
}

/* ---- requests ---- */

static void init(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

CURL *http_open(const struct service *service, const char *url, struct curl_slist **headers,
                struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init);
    CURL *easy = curl_easy_init();
    *headers = NULL;
    if (!easy) {
        err_set(err, STATUS_MEMORY, "no memory for a request");
        return NULL;
    }
    struct buf line = {0};
    if (service->token) { /* the library sends this one to the first server only */
        buf_printf(&line, "Authorization: Bearer %s", service->token);
        *headers = curl_slist_append(*headers, line.data);
        buf_clear(&line);
    }
    if (service->accept) {
        buf_printf(&line, "Accept: %s", service->accept);
        *headers = curl_slist_append(*headers, line.data);
    }
    buf_free(&line);
    const char *protocols = strncmp(service->endpoint, "https:", 6) == 0 ? "https" : "http,https";
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "logitop");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
#else
    long allowed = strcmp(protocols, "https") ? CURLPROTO_HTTP | CURLPROTO_HTTPS : CURLPROTO_HTTPS;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, allowed);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, allowed);
#endif
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    const char *stall = getenv("LOGITOP_STALL");
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
                     stall && atol(stall) > 0 ? atol(stall) : (long)HTTP_STALL_SECONDS);
    return easy;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx) {
    struct buf *body = ctx;
    if (body->len + size * n > BODY_MAX) return 0;
    buf_append(body, bytes, size * n);
    return size * n;
}

static int watch_stop(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    const struct service *service = ctx;
    return service->stop && atomic_load(service->stop);
}

/* False when it was stopped meanwhile. */
static bool pause_for(const struct service *service, int ms) {
    for (; ms > 0; ms -= 50) {
        if (service->stop && atomic_load(service->stop)) return false;
        usleep(50 * 1000);
    }
    return true;
}

static CURLcode get_once(const struct service *service, const char *url, struct buf *body,
                         struct reply *reply, char **moved, struct err *err) {
    struct curl_slist *headers;
    CURL *easy = http_open(service, url, &headers, err);
    if (!easy) return CURLE_OUT_OF_MEMORY;
    buf_clear(body);
    reply_clear(reply);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, reply_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, reply);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, watch_stop);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, service);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    CURLcode code = curl_easy_perform(easy);
    char *effective = NULL;
    if (moved && curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &effective) == CURLE_OK && effective) {
        free(*moved);
        *moved = xstrdup(effective);
    }
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    return code;
}

int http_get(const struct service *service, const char *url, struct buf *body, struct reply *reply,
             char **moved, struct err *err) {
    unsigned tries = http_tries();
    for (unsigned n = 0;; n++) {
        CURLcode code = get_once(service, url, body, reply, moved, err);
        if (code == CURLE_ABORTED_BY_CALLBACK) return err_set(err, STATUS_STOPPED, "stopped");
        if (code == CURLE_OK && reply->status == 200) return STATUS_OK;
        bool again =
            code ? http_was_cut(code) && code != CURLE_COULDNT_CONNECT : http_may_pass(reply->status);
        if (!again || n >= tries || reply->retry_after > HTTP_PATIENCE)
            return code ? http_failed(service, code, err) : http_refused(service, reply, err);
        if (!pause_for(service, http_pause_ms(n, code ? -1 : reply->retry_after)))
            return err_set(err, STATUS_STOPPED, "stopped");
    }
}
