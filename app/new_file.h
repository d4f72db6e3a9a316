/* Files that a person asks for: what is there already is somebody's, and stays. */
#ifndef LOGITOP_APP_NEW_FILE_H
#define LOGITOP_APP_NEW_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/stat.h>

/* All of the text, or no file. */
int new_file_write(const char *path, mode_t mode, const struct buf *text, struct err *err);

#endif
