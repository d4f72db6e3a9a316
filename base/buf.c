#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf) {
    buf->len = 0;
    if (buf->data) buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t more) {
    size_t need = buf->len + more + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap * 2 : 64;
        if (cap < need) cap = need;
        buf->data = xrealloc(buf->data, cap);
        buf->cap = cap;
        buf->data[buf->len] = '\0';
    }
    return buf->data + buf->len;
}

void buf_append(struct buf *buf, const void *bytes, size_t size) {
    char *to = buf_reserve(buf, size);
    if (size) memcpy(to, bytes, size);
    buf->len += size;
    buf->data[buf->len] = '\0';
}

void buf_puts(struct buf *buf, const char *text) { buf_append(buf, text, strlen(text)); }

void buf_putc(struct buf *buf, char c) { buf_append(buf, &c, 1); }

void buf_printf(struct buf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (size > 0) {
        vsnprintf(buf_reserve(buf, (size_t)size), (size_t)size + 1, fmt, again);
        buf->len += (size_t)size;
    }
    va_end(again);
}

char *buf_take(struct buf *buf) {
    buf_reserve(buf, 0);
    char *data = buf->data;
    *buf = (struct buf){0};
    return data;
}

void grow_array(void *items_pointer, size_t *cap, size_t needed, size_t size) {
    if (needed <= *cap) return;
    size_t to = *cap ? *cap * 2 : 16;
    if (to < needed) to = needed;
    void **items = items_pointer;
    *items = xrealloc(*items, to * size);
    *cap = to;
}
