/* Files that a person asks for: what is there already is somebody's, and stays; what is not whole yet has
 * another name, beside the one it will have. */
#ifndef LOGITOP_APP_NEW_FILE_H
#define LOGITOP_APP_NEW_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/stat.h>

/* All of the text, or no file. */
int new_file_write(const char *path, mode_t mode, const struct buf *text, struct err *err);

/* The same in parts: one call of finish or give_up for each begin that succeeded. Any thread. */
struct new_file {
    int fd;
    char *path, *temporary; /* owned */
};
int new_file_begin(struct new_file *file, const char *path, mode_t mode, struct err *err);
int new_file_append(struct new_file *file, const char *bytes, size_t len, struct err *err);
int new_file_finish(struct new_file *file, struct err *err); /* STATUS_OK: it has its name */
void new_file_give_up(struct new_file *file);                /* as if it had never been */

#endif
