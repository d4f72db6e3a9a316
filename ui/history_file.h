/* The file of what was sent before, as lines below one that names the format: libedit writes and reads them
 * (ui/editor.c). What is here keeps it from reading or writing more than it has to. */
#ifndef LOGITOP_UI_HISTORY_FILE_H
#define LOGITOP_UI_HISTORY_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The newest lines that take `most` bytes, but one in any case, as a file of their own: its descriptor, the
 * caller's. -1: the file is no longer than that, or cannot be read. */
int history_file_newest(const char *path, size_t most);

/* Are there more than `most` lines? Then only the newest `kept` stay. A new file takes the old one's place
 * when it is whole: neither a full disk nor the end of the program costs what was there. A link goes on
 * leading to it. */
void history_file_trim(const char *path, size_t most, size_t kept);

#endif
