#include "ui/capture.h"

#include "base/fd.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static volatile int emergency_saved = -1, emergency_read = -1;

/* The pipe's ends never block: a library that writes more than anybody reads loses the surplus, not its time.
 */
int capture_open(struct capture *capture, struct err *err) {
    int ends[2];
    *capture = (struct capture){.saved_fd = -1, .read_fd = -1};
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(err, STATUS_FAILED, "no pipe for standard error: %s", strerror(errno));
    capture->saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (capture->saved_fd < 0 || dup2(ends[1], STDERR_FILENO) < 0) {
        err_set(err, STATUS_FAILED, "standard error cannot be redirected: %s", strerror(errno));
        if (capture->saved_fd >= 0) close(capture->saved_fd);
        capture->saved_fd = -1;
        close(ends[0]);
        close(ends[1]);
        return STATUS_FAILED;
    }
    close(ends[1]);
    capture->read_fd = ends[0];
    emergency_read = ends[0];
    emergency_saved = capture->saved_fd;
    return STATUS_OK;
}

void capture_take(struct capture *capture) {
    char bytes[4096];
    ssize_t n;
    if (capture->read_fd < 0) return;
    while ((n = read(capture->read_fd, bytes, sizeof bytes)) > 0)
        buf_append(&capture->text, bytes, (size_t)n);
    if (capture->text.len > CAPTURE_MAX) { /* keep the newest half, from a line's beginning */
        size_t cut = capture->text.len - CAPTURE_MAX / 2;
        const char *line = memchr(capture->text.data + cut, '\n', capture->text.len - cut);
        if (line) cut = (size_t)(line + 1 - capture->text.data);
        memmove(capture->text.data, capture->text.data + cut, capture->text.len - cut);
        capture->text.len -= cut;
    }
}

void capture_close(struct capture *capture, bool dump) {
    if (capture->saved_fd < 0) return;
    emergency_saved = emergency_read = -1;
    capture_take(capture);
    dup2(capture->saved_fd, STDERR_FILENO);
    if (dump && capture->text.len) {
        struct buf clean = {0};
        bool terminal = isatty(STDERR_FILENO);
        if (terminal) text_sanitize(&clean, capture->text.data, capture->text.len);
        fd_write_all(STDERR_FILENO, terminal ? clean.data : capture->text.data,
                     terminal ? clean.len : capture->text.len);
        buf_free(&clean);
    }
    close(capture->saved_fd);
    close(capture->read_fd);
    buf_free(&capture->text);
    *capture = (struct capture){.saved_fd = -1, .read_fd = -1};
}

void capture_emergency(void) {
    int saved = emergency_saved, from = emergency_read;
    emergency_saved = emergency_read = -1;
    if (saved < 0) return;
    dup2(saved, STDERR_FILENO);
    char bytes[1024];
    ssize_t n;
    while ((n = read(from, bytes, sizeof bytes)) > 0) fd_write_all(saved, bytes, (size_t)n);
}
