/* A mapped file that another program cuts short ends the process with SIGBUS where it is read. A guard on the
 * mapping turns that into zeros and a flag: the reader goes on, and whoever owns the mapping asks the flag
 * before believing the numbers. The handler is installed with a guard, unless it is there; SIGBUS anywhere
 * else goes to the handler that was there before. */
#ifndef LOGITOP_INFER_GGUF_GUARD_H
#define LOGITOP_INFER_GGUF_GUARD_H

#include <stdbool.h>
#include <stddef.h>

int guard_add(void *begin, size_t size); /* a handle, or -1: too many (64) */
bool guard_hit(int handle);              /* something in it was gone. Any thread */
void guard_remove(int handle);           /* before unmapping; nobody may read it any more */

#endif
