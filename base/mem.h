/* Small allocations that may end the program. Sizes that come from a file are checked against the file first,
 * so that only a machine out of memory gets here; big buffers (weights, KV cache) are allocated by their owners,
 * who answer a failure with an error. */
#ifndef LOGITOP_BASE_MEM_H
#define LOGITOP_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* Never return NULL. The caller frees with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
char *xmemdup(const void *bytes, size_t size); /* adds a NUL after the copy */

/* Called once with one line just before the program ends for lack of memory: the terminal's owner restores the
 * screen there. NULL: nothing. */
extern void (*xmalloc_last_words)(void);

/* a*b and a+b; false when the result does not fit. */
static inline int size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline int size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

#endif
