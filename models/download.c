#include "models/download.h"

#include "base/clock.h"
#include "models/partial.h"

#include <stdlib.h>
#include <string.h>

enum { LANES = 4, HASH_AT_ONCE = 8 << 20, POLL_MS = 100, NOTE_MS = 1000 };

/* One request under way. */
struct lane {
    struct work *work;
    CURL *easy; /* NULL: free */
    struct curl_slist *headers;
    struct reply reply;
    size_t chunk;
    uint64_t at, end; /* next byte to come, and where the range ends */
    bool taking;      /* the head was looked at and is right */
    int refused;      /* a status of what is wrong with the reply, in work->err; STATUS_OK */
};

struct work {
    const struct download *d;
    struct partial partial;
    CURLM *multi;
    struct lane lanes[LANES];
    bool ranges_known, ranges; /* the server does give ranges */
    unsigned failures;         /* in a row without a byte */
    uint64_t reached;          /* the most bytes there were */
    int64_t wait_until_ns, noted_ns;
    struct err err;
};

/* ---- what comes in ---- */

static int look_at_head(struct lane *lane) {
    struct work *work = lane->work;
    const struct reply *reply = &lane->reply;
    uint64_t size = work->partial.size;
    if (reply->status == 206) {
        if (reply->first != (int64_t)lane->at || reply->total != (int64_t)size)
            return err_set(&work->err, STATUS_FAILED,
                           "%s: the server's file has %lld bytes from byte %lld on, expected %llu from %llu",
                           work->d->service.what, (long long)reply->total, (long long)reply->first,
                           (unsigned long long)size, (unsigned long long)lane->at);
        work->ranges_known = work->ranges = true;
        return STATUS_OK;
    }
    if (reply->total >= 0 && reply->total != (int64_t)size)
        return err_set(&work->err, STATUS_FAILED, "%s: the server's file has %lld bytes, expected %llu",
                       work->d->service.what, (long long)reply->total, (unsigned long long)size);
    /* 200: all of it, from the beginning. One that gave ranges before is in disorder: it is asked again. */
    if (work->ranges) return STATUS_BUSY;
    work->ranges_known = true;
    lane->at = 0;
    lane->end = size;
    return work->partial.total ? partial_restart(&work->partial, &work->err) : STATUS_OK;
}

static size_t take_bytes(char *bytes, size_t size, size_t count, void *ctx) {
    struct lane *lane = ctx;
    size_t n = size * count;
    if (lane->reply.status != 200 && lane->reply.status != 206) return n; /* a page of words about a fault */
    if (!lane->taking) {
        lane->refused = look_at_head(lane);
        if (lane->refused) return 0;
        lane->taking = true;
    }
    if (n > lane->end - lane->at) {
        lane->refused = err_set(&lane->work->err, STATUS_FAILED,
                                "%s: the server sends more than was asked for", lane->work->d->service.what);
        return 0;
    }
    lane->refused = partial_write(&lane->work->partial, lane->at, bytes, n, &lane->work->err);
    lane->at += n;
    return lane->refused ? 0 : n;
}

/* ---- lanes ---- */

static int lane_start(struct work *work, struct lane *lane, size_t chunk, struct err *err) {
    const struct download *d = work->d;
    char range[64];
    uint64_t begin = chunk * work->partial.chunk;
    *lane = (struct lane){.work = work, .chunk = chunk, .at = begin + work->partial.done[chunk]};
    lane->end = begin + partial_chunk_size(&work->partial, chunk);
    reply_clear(&lane->reply);
    lane->easy = http_open(&d->service, d->url, &lane->headers, err);
    if (!lane->easy) return STATUS_MEMORY;
    snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)lane->at,
             (unsigned long long)lane->end - 1);
    curl_easy_setopt(lane->easy, CURLOPT_RANGE, range);
    /* a connection each: over one of HTTP/2 they would share what it gives */
    curl_easy_setopt(lane->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(lane->easy, CURLOPT_HEADERFUNCTION, reply_header);
    curl_easy_setopt(lane->easy, CURLOPT_HEADERDATA, &lane->reply);
    curl_easy_setopt(lane->easy, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(lane->easy, CURLOPT_WRITEDATA, lane);
    curl_easy_setopt(lane->easy, CURLOPT_PRIVATE, lane);
    curl_multi_add_handle(work->multi, lane->easy);
    return STATUS_OK;
}

static void lane_end(struct work *work, struct lane *lane) {
    if (!lane->easy) return;
    curl_multi_remove_handle(work->multi, lane->easy);
    curl_easy_cleanup(lane->easy);
    curl_slist_free_all(lane->headers);
    reply_clear(&lane->reply);
    lane->easy = NULL;
    lane->headers = NULL;
}

static bool chunk_taken(const struct work *work, size_t chunk) {
    for (int i = 0; i < LANES; i++)
        if (work->lanes[i].easy && work->lanes[i].chunk == chunk) return true;
    return false;
}

/* The chunks in their order; one lane until it is known that there are ranges, and while the server is in
 * trouble. */
static int fill_lanes(struct work *work, struct err *err) {
    int most = work->ranges && !work->failures ? LANES : 1, busy = 0;
    size_t chunk = 0;
    if (clock_ns() < work->wait_until_ns) return STATUS_OK;
    for (int i = 0; i < LANES; i++) busy += work->lanes[i].easy != NULL;
    for (int i = 0; i < LANES && busy < most; i++) {
        if (work->lanes[i].easy) continue;
        while (chunk < work->partial.n_chunks &&
               (work->partial.done[chunk] == partial_chunk_size(&work->partial, chunk) ||
                chunk_taken(work, chunk)))
            chunk++;
        if (chunk == work->partial.n_chunks) break;
        int status = lane_start(work, &work->lanes[i], chunk, err);
        if (status < 0) return status;
        busy++;
    }
    return STATUS_OK;
}

/* A request ended without all its bytes. STATUS_OK: it is tried again after a while. */
static int try_again(struct work *work, const struct lane *lane, CURLcode code, struct err *err) {
    const struct service *service = &work->d->service;
    const struct reply *reply = &lane->reply;
    long status = reply->status;
    bool answered = code == CURLE_OK && status != 200 && status != 206;
    if (lane->refused == STATUS_BUSY) code = CURLE_PARTIAL_FILE;
    if (code == CURLE_COULDNT_RESOLVE_HOST && work->reached)
        code = CURLE_COULDNT_CONNECT; /* the network went away */
    if (lane->refused && lane->refused != STATUS_BUSY) {
        *err = work->err;
        return lane->refused;
    }
    bool again = answered ? http_may_pass(status) : code == CURLE_OK || http_was_cut(code);
    if (work->partial.total > work->reached) work->failures = 0;
    work->reached = work->partial.total > work->reached ? work->partial.total : work->reached;
    bool patient = work->failures++ < http_tries() && !(answered && reply->retry_after > HTTP_PATIENCE);
    if (!again || !patient) {
        if (answered) return http_refused(service, reply, err);
        return http_failed(service, code ? code : CURLE_PARTIAL_FILE, err);
    }
    int64_t until =
        clock_ns() + (int64_t)http_pause_ms(work->failures - 1, answered ? reply->retry_after : -1) * 1000000;
    if (until > work->wait_until_ns) work->wait_until_ns = until;
    return STATUS_OK;
}

static int take_ends(struct work *work, struct err *err) {
    CURLMsg *message;
    int left, status = STATUS_OK;
    while (status == STATUS_OK && (message = curl_multi_info_read(work->multi, &left))) {
        struct lane *lane;
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&lane);
        bool whole = code == CURLE_OK && lane->taking && lane->at == lane->end;
        if (whole)
            work->failures = 0;
        else
            status = try_again(work, lane, code, err);
        lane_end(work, lane);
    }
    return status;
}

/* ---- the whole ---- */

static bool is_waiting(const struct work *work) {
    for (int i = 0; i < LANES; i++)
        if (work->lanes[i].easy) return false;
    return clock_ns() < work->wait_until_ns;
}

static int fetch(struct work *work, struct err *err) {
    const struct download *d = work->d;
    struct partial *partial = &work->partial;
    while (partial->total < partial->size) {
        int running, status = fill_lanes(work, err);
        if (status == STATUS_OK && curl_multi_perform(work->multi, &running) != CURLM_OK)
            status = err_set(err, STATUS_FAILED, "%s: the network library failed", d->service.what);
        if (status == STATUS_OK) status = take_ends(work, err);
        if (status < 0) return status;
        if (d->service.stop && atomic_load(d->service.stop)) return err_set(err, STATUS_STOPPED, "stopped");
        bool more = partial_hash(partial, HASH_AT_ONCE);
        if (clock_ns() - work->noted_ns > NOTE_MS * (int64_t)1000000) {
            if ((status = partial_note(partial, err)) < 0) return status;
            work->noted_ns = clock_ns();
        }
        d->progress(d->ctx, partial->total, is_waiting(work) ? DOWNLOAD_WAITING : DOWNLOAD_RUNNING);
        curl_multi_poll(work->multi, NULL, 0, more ? 0 : POLL_MS, NULL);
    }
    return STATUS_OK;
}

static int check(struct work *work, struct err *err) {
    const struct download *d = work->d;
    while (partial_hash(&work->partial, HASH_AT_ONCE)) {
        if (work->partial.hashed < work->partial.size && d->service.stop && atomic_load(d->service.stop))
            return err_set(err, STATUS_STOPPED, "stopped");
        d->progress(d->ctx, work->partial.total, DOWNLOAD_CHECKING);
    }
    int status = partial_finish(&work->partial, d->target, d->digest, err);
    return status < 0 && err ? err_prefix(err, "%s", d->service.what) : status;
}

int download(const struct download *d, struct err *err) {
    struct work *work = calloc(1, sizeof *work);
    if (!work) return err_set(err, STATUS_MEMORY, "no memory for a request");
    work->d = d;
    int status = partial_open(&work->partial, d->target, d->size, err);
    if (status == STATUS_OK && !(work->multi = curl_multi_init()))
        status = err_set(err, STATUS_MEMORY, "no memory for a request");
    if (status == STATUS_OK) status = fetch(work, err);
    if (status == STATUS_OK) status = check(work, err);
    for (int i = 0; i < LANES; i++) lane_end(work, &work->lanes[i]);
    curl_multi_cleanup(work->multi);
    partial_close(&work->partial);
    free(work);
    return status;
}
