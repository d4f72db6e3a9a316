#include "app/new_file.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed(const char *path, int number, struct err *err) {
    return err_set(err, STATUS_FAILED, number == EEXIST ? "%s: there is such a file already" : "%s: %s", path,
                   strerror(number));
}

int new_file_begin(struct new_file *file, const char *path, mode_t mode, struct err *err) {
    enum { TRIES = 100 }; /* what a program that was killed left stays */
    struct stat there;
    if (lstat(path, &there) == 0) return failed(path, EEXIST, err);
    struct buf name = {0};
    int fd = -1;
    for (int i = 1; fd < 0 && i <= TRIES; i++) {
        buf_clear(&name);
        buf_printf(&name, i > 1 ? "%s.part-%d" : "%s.part", path, i);
        fd = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    int number = errno;
    if (fd < 0) {
        buf_free(&name);
        return failed(path, number, err);
    }
    *file = (struct new_file){.fd = fd, .path = xstrdup(path), .temporary = buf_take(&name)};
    return STATUS_OK;
}

int new_file_append(struct new_file *file, const char *bytes, size_t len, struct err *err) {
    return fd_write_all(file->fd, bytes, len) ? STATUS_OK : failed(file->path, errno, err);
}

/* 0, or an errno: EEXIST if the name was taken meanwhile. */
static int give_name(const struct new_file *file) {
    if (renameat2(AT_FDCWD, file->temporary, AT_FDCWD, file->path, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    if (link(file->temporary, file->path)) return errno; /* a file system without that, NFS for one */
    unlink(file->temporary);
    return 0;
}

static void forget(struct new_file *file) {
    free(file->path);
    free(file->temporary);
    *file = (struct new_file){.fd = -1};
}

int new_file_finish(struct new_file *file, struct err *err) {
    int number = close(file->fd) ? errno : give_name(file);
    int status = number ? failed(file->path, number, err) : STATUS_OK;
    if (number) unlink(file->temporary);
    forget(file);
    return status;
}

void new_file_give_up(struct new_file *file) {
    close(file->fd);
    unlink(file->temporary);
    forget(file);
}

int new_file_write(const char *path, mode_t mode, const struct buf *text, struct err *err) {
    struct new_file file;
    int status = new_file_begin(&file, path, mode, err);
    if (status < 0) return status;
    status = new_file_append(&file, text->data, text->len, err);
    if (status == STATUS_OK) return new_file_finish(&file, err);
    new_file_give_up(&file);
    return status;
}
