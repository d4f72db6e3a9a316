#include "app/out.h"

#include "app/signals.h"
#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void out_open(struct out *out, int fd) {
    *out = (struct out){.fd = fd, .terminal = isatty(fd)};
}

int out_bytes(struct out *out, const char *bytes, size_t len, struct err *err) {
    if (len) out->line_open = bytes[len - 1] != '\n';
    while (len) {
        ssize_t n = write(out->fd, bytes, len);
        if (n < 0 && errno == EINTR) {
            if (signals_ending()) return err_set(err, STATUS_STOPPED, "stopped");
            continue;
        }
        if (n < 0) {
            out->reader_gone = errno == EPIPE;
            return err_set(err, STATUS_FAILED, "cannot write the answer: %s", strerror(errno));
        }
        bytes += n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

int out_text(struct out *out, const char *text, size_t len, struct err *err) {
    if (!out->terminal) return out_bytes(out, text, len, err);
    struct buf clean = {0};
    text_filter_feed(&out->filter, text, len, &clean);
    int status = out_bytes(out, clean.data, clean.len, err);
    buf_free(&clean);
    return status;
}

int out_end(struct out *out, struct err *err) {
    if (!out->terminal) return STATUS_OK;
    struct buf clean = {0};
    text_filter_end(&out->filter, &clean);
    if (clean.len ? clean.data[clean.len - 1] != '\n' : out->line_open) buf_putc(&clean, '\n');
    int status = out_bytes(out, clean.data, clean.len, err);
    buf_free(&clean);
    return status;
}

void out_close(struct out *out) {
    buf_free(&out->filter.held);
}

void out_error(const char *fmt, ...) {
    struct buf clean = {0};
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text_sanitize_line(&clean, text, strlen(text));
    fprintf(stderr, "logitop: %s\n", clean.data ? clean.data : "");
    buf_free(&clean);
}

int read_all_bytes(int fd, const char *name, struct buf *to, struct err *err) {
    for (;;) {
        char *room = buf_reserve(to, 65536);
        ssize_t n = read(fd, room, 65536);
        if (n > 0) {
            to->len += (size_t)n;
            to->data[to->len] = '\0';
        } else if (n == 0) {
            return STATUS_OK;
        } else if (errno != EINTR) {
            return err_set(err, STATUS_FAILED, "cannot read %s: %s", name, strerror(errno));
        } else if (signals_ending()) {
            return err_set(err, STATUS_STOPPED, "stopped");
        }
    }
}

int read_input(const char *path, struct buf *to, struct err *err) {
    if (!path || strcmp(path, "-") == 0) return read_all_bytes(STDIN_FILENO, "standard input", to, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set(err, STATUS_FAILED, "cannot read %s: %s", path, strerror(errno));
    int status = read_all_bytes(fd, path, to, err);
    close(fd);
    return status;
}
