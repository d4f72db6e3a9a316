/* One file from a server that may do anything: in several ranges at once where it allows, gone on with after
 * any end, hashed while it is written, and put in its place only if the hash is right.
 *
 * Meanwhile the bytes are in TARGET.logitop-part, and what of it is done in TARGET.logitop-part.json: [bytes
 * of each chunk]. Both stay when the work is stopped or fails; the bytes are hashed again when it goes on, so
 * nothing is believed. */
#ifndef LOGITOP_MODELS_DOWNLOAD_H
#define LOGITOP_MODELS_DOWNLOAD_H

#include "base/sha256.h"
#include "models/http.h"

enum download_state {
    DOWNLOAD_RUNNING,
    DOWNLOAD_WAITING,  /* before it is tried again */
    DOWNLOAD_CHECKING, /* all is there but the hash of it */
};

struct download {
    struct service service;
    const char *url;
    const char *target; /* path of the finished file; its folder is there */
    const char *digest; /* that it must have */
    uint64_t size;      /* that it must have */
    /* Called often, from the calling thread: bytes that are there. */
    void (*progress)(void *ctx, uint64_t done, enum download_state state);
    void *ctx;
};

/* STATUS_STOPPED when service.stop was set; STATUS_FAILED in one line. */
int download(const struct download *download, struct err *err);

#endif
