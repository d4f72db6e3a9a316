#include "base/log.h"

#include "base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int log_fd = -1;
static int64_t log_start;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

void log_open(const char *path) {
    pthread_mutex_lock(&log_lock);
    if (log_fd < 0) {
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        log_start = clock_ns();
    }
    pthread_mutex_unlock(&log_lock);
}

void log_close(void) {
    pthread_mutex_lock(&log_lock);
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
    pthread_mutex_unlock(&log_lock);
}

void log_line(const char *fmt, ...) {
    pthread_mutex_lock(&log_lock);
    if (log_fd >= 0) {
        char raw[1024], out[4 * sizeof raw + 32];
        va_list args;
        va_start(args, fmt);
        vsnprintf(raw, sizeof raw, fmt, args);
        va_end(args);
        int at = snprintf(out, 32, "%10.3f ms ", (double)(clock_ns() - log_start) / 1e6);
        for (const char *p = raw; *p; p++) {
            unsigned char c = (unsigned char)*p;
            if (c >= 0x20 && c != 0x7F) out[at++] = *p;
            else at += snprintf(out + at, 5, "\\x%02X", c);
        }
        out[at++] = '\n';
        if (write(log_fd, out, (size_t)at) < 0) { /* a full disk must not stop the chat */
        }
    }
    pthread_mutex_unlock(&log_lock);
}
