/* A growable run of bytes. `data` is NULL or holds `len` bytes followed by a NUL that `len` does not count. */
#ifndef LOGITOP_BASE_BUF_H
#define LOGITOP_BASE_BUF_H

#include <stddef.h>

struct buf {
    char *data;
    size_t len, cap;
};

void buf_free(struct buf *buf);  /* frees the bytes, leaves an empty buffer */
void buf_clear(struct buf *buf); /* keeps the memory */
void buf_append(struct buf *buf, const void *bytes, size_t size);
void buf_puts(struct buf *buf, const char *text);
void buf_putc(struct buf *buf, char c);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *buf, const char *fmt, ...);
char *buf_reserve(struct buf *buf, size_t more); /* room for `more` bytes after `len`; returns data + len */
char *buf_take(struct buf *buf); /* the bytes, never NULL, now the caller's (free()); leaves an empty buffer */

/* Make room for one more item in a plain array: `*items` holds `*cap` items of `size` bytes. */
void grow_array(void *items_pointer, size_t *cap, size_t needed, size_t size);

#endif
