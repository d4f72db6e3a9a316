#include "base/text.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

/* The next code point without case; bytes that are no character stand for themselves. */
static uint32_t take(const char *text, size_t len, size_t *at) {
    uint32_t c = 0;
    int got = utf8_decode(text + *at, len - *at, &c);
    if (got > 0) {
        *at += (size_t)got;
        return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    }
    c = 0x80000000u | (unsigned char)text[*at];
    *at += 1;
    return c;
}

static bool begins(const char *text, size_t len, const char *what, size_t n) {
    size_t a = 0, b = 0;
    while (b < n) {
        if (a >= len) return false;
        if (take(text, len, &a) != take(what, n, &b)) return false;
    }
    return true;
}

size_t text_find(const char *text, size_t len, const char *what, size_t n) {
    for (size_t at = 0; at < len;) {
        if (begins(text + at, len - at, what, n)) return at;
        take(text, len, &at);
    }
    return n == 0 ? 0 : SIZE_MAX;
}
