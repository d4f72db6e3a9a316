#include "app/new_file.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int new_file_write(const char *path, mode_t mode, const struct buf *text, struct err *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return err_set(err, STATUS_FAILED, errno == EEXIST ? "%s: there is such a file already" : "%s: %s",
                       path, strerror(errno));
    int failed = fd_write_all(fd, text->data, text->len) ? 0 : errno;
    if (close(fd) && !failed) failed = errno;
    if (!failed) return STATUS_OK;
    unlink(path);
    return err_set(err, STATUS_FAILED, "%s: %s", path, strerror(failed));
}
