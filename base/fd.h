/* Descriptors. */
#ifndef LOGITOP_BASE_FD_H
#define LOGITOP_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

/* All of it, in as many writes as that takes. False, and errno tells why, where it cannot be written.
 * Async-signal-safe. */
bool fd_write_all(int fd, const void *bytes, size_t len);

#endif
