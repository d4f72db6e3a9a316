/* Standard output of plain mode: raw bytes into files and pipes, sanitised text onto a terminal. */
#ifndef LOGITOP_APP_OUT_H
#define LOGITOP_APP_OUT_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct out {
    int fd;
    bool terminal;
    struct text_filter filter;
    bool line_open;   /* something was written after the last newline */
    bool reader_gone; /* a write said EPIPE */
};

void out_open(struct out *out, int fd);
/* STATUS_STOPPED: a signal came while the reader was slow; STATUS_FAILED: the reader is gone, or an error. */
int out_text(struct out *out, const char *text, size_t len, struct err *err);   /* what a model said */
int out_bytes(struct out *out, const char *bytes, size_t len, struct err *err); /* as it is: JSON lines */
int out_end(struct out *out,
            struct err *err);    /* what the sanitiser held back, and on a terminal the end of the line */
void out_close(struct out *out); /* frees what was never written; the descriptor stays open */

/* One line of the program's own on standard error: "logitop: ...", sanitised. */
__attribute__((format(printf, 1, 2))) void out_error(const char *fmt, ...);

/* All of a descriptor until its end. STATUS_STOPPED when a signal came. */
int read_all_bytes(int fd, const char *name, struct buf *to, struct err *err);
int read_input(const char *path, struct buf *to, struct err *err); /* NULL or "-": standard input */

#endif
