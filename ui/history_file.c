#include "ui/history_file.h"

#include "base/buf.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is there of them. */
static void read_at(int fd, off_t from, size_t len, struct buf *out) {
    buf_clear(out);
    char *room = buf_reserve(out, len);
    ssize_t n = 1;
    while (out->len < len && n > 0) {
        n = pread(fd, room + out->len, len - out->len, from + (off_t)out->len);
        if (n > 0) out->len += (size_t)n;
    }
}

/* The first line with its end, or nothing. */
static void read_format(int fd, struct buf *out) {
    enum { FORMAT_MAX = 64 };
    read_at(fd, 0, FORMAT_MAX, out);
    char *end = out->len ? memchr(out->data, '\n', out->len) : NULL;
    out->len = end ? (size_t)(end + 1 - out->data) : 0;
}

/* Whole lines of a file of this size, from `skip` of them on. */
static void read_newest(int fd, size_t first, size_t size, size_t most, struct buf *out, size_t *skip) {
    const char *newline = NULL;
    for (size_t len = most; !newline; len *= 2) {
        if (len >= size - first) {
            read_at(fd, (off_t)first, size - first, out);
            *skip = 0;
            return;
        }
        read_at(fd, (off_t)(size - len), len, out);
        newline = out->len > 1 ? memchr(out->data, '\n', out->len - 1) : NULL;
        if (newline) *skip = (size_t)(newline + 1 - out->data);
        if (out->len < len) return; /* somebody cut it */
    }
}

static int file_of(const struct buf *format, const char *lines, size_t len) {
    int fd = memfd_create("history", MFD_CLOEXEC);
    if (fd < 0) return -1;
    if (fd_write_all(fd, format->data, format->len) && fd_write_all(fd, lines, len)) return fd;
    close(fd);
    return -1;
}

int history_file_newest(const char *path, size_t most) {
    struct stat file;
    struct buf format = {0}, lines = {0};
    size_t skip = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), newest = -1;
    if (fd >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_size > (off_t)most) {
        read_format(fd, &format);
        read_newest(fd, format.len, (size_t)file.st_size, most, &lines, &skip);
        if (format.len) newest = file_of(&format, lines.data + skip, lines.len - skip);
    }
    if (fd >= 0) close(fd);
    buf_free(&format);
    buf_free(&lines);
    return newest;
}

/* ---- too many lines ---- */

/* Where the newest `kept` of more than `most` lines begin; 0: they are not so many. */
static size_t begin_of(const struct buf *whole, size_t first, size_t most, size_t kept) {
    size_t n = 0, begin = 0;
    const char *at = whole->data + whole->len;
    while ((at = memrchr(whole->data + first, '\n', (size_t)(at - whole->data) - first))) {
        if (n++ == kept) begin = (size_t)(at + 1 - whole->data);
        if (n > most) return begin;
    }
    return 0;
}

static bool write_new(const char *path, const struct buf *format, const char *lines, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                  0600); /* never readable by others, not even at first */
    if (fd < 0) return false;
    bool written = fd_write_all(fd, format->data, format->len) && fd_write_all(fd, lines, len);
    return close(fd) == 0 && written;
}

void history_file_trim(const char *path, size_t most, size_t kept) {
    struct stat file;
    struct buf format = {0}, whole = {0}, fresh = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t begin = 0;
    if (fd >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode)) {
        read_format(fd, &format);
        read_at(fd, 0, (size_t)file.st_size, &whole);
        if (format.len) begin = begin_of(&whole, format.len, most, kept);
    }
    if (fd >= 0) close(fd);
    char *real = begin ? realpath(path, NULL) : NULL;
    if (real) {
        buf_printf(&fresh, "%s.%ld", real, (long)getpid());
        bool done = write_new(fresh.data, &format, whole.data + begin, whole.len - begin) &&
                    rename(fresh.data, real) == 0;
        if (!done) unlink(fresh.data);
    }
    free(real);
    buf_free(&format);
    buf_free(&whole);
    buf_free(&fresh);
}
