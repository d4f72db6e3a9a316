#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void (*xmalloc_last_words)(void);

static void *checked(void *p, size_t size) {
    if (p) return p;
    if (xmalloc_last_words) xmalloc_last_words();
    fprintf(stderr, "logitop: out of memory (%zu bytes wanted)\n", size);
    exit(4);
}

void *xmalloc(size_t size) { return checked(malloc(size ? size : 1), size); }

void *xcalloc(size_t count, size_t size) {
    return checked(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *xrealloc(void *old, size_t size) { return checked(realloc(old, size ? size : 1), size); }

char *xmemdup(const void *bytes, size_t size) {
    char *copy = xmalloc(size + 1);
    if (size) memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

char *xstrdup(const char *text) { return xmemdup(text, strlen(text)); }
