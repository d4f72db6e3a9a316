/* Descriptors. */
#ifndef LOGITOP_BASE_FD_H
#define LOGITOP_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

/* All of it, in as many writes as that takes. False, and errno tells why, where it cannot be written.
 * Async-signal-safe. */
bool fd_write_all(int fd, const void *bytes, size_t len);

/* Of an event descriptor (eventfd(2)): make it readable; and no longer, if it is. Any thread. */
void fd_wake(int fd);
void fd_calm(int fd);

#endif
