/* Standard error while the screen is up: what libraries and drivers write there is kept, the newest of it,
 * instead of tearing the screen. One at a time in a process. */
#ifndef LOGITOP_UI_CAPTURE_H
#define LOGITOP_UI_CAPTURE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct capture {
    int saved_fd; /* the true standard error; -1: not capturing */
    int read_fd;  /* readable when something was written */
    struct buf text;
};

enum { CAPTURE_MAX = 256 << 10 };

int capture_open(struct capture *capture, struct err *err);
void capture_take(struct capture *capture);             /* move what was written into `text`; never waits */
void capture_close(struct capture *capture, bool dump); /* dump: write it to the true standard error */
void capture_emergency(
    void); /* async-signal-safe: standard error as it was, and what came in last written to it */

#endif
