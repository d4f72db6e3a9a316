#include "base/utf8.h"

/* How many bytes of text[0..len) are a valid beginning of one character, and how many the whole would have.
 * The second byte has a narrower range after E0, ED, F0 and F4 (Unicode table 3-7). */
static int scan(const unsigned char *p, size_t len, int *whole) {
    unsigned low = 0x80, high = 0xBF;
    if (len == 0) return 0;
    if (p[0] < 0x80) return *whole = 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) *whole = 2;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF) *whole = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4) *whole = 4;
    else return *whole = 0;
    if (p[0] == 0xE0) low = 0xA0;
    if (p[0] == 0xED) high = 0x9F;
    if (p[0] == 0xF0) low = 0x90;
    if (p[0] == 0xF4) high = 0x8F;
    int got = 1;
    while (got < *whole && (size_t)got < len && p[got] >= low && p[got] <= high) {
        got++;
        low = 0x80;
        high = 0xBF;
    }
    return got;
}

int utf8_decode(const char *text, size_t len, uint32_t *code_point) {
    const unsigned char *p = (const unsigned char *)text;
    int whole = 0, got = scan(p, len, &whole);
    if (len == 0) return 0;
    if (whole == 0) return -1;
    if (got < whole) return (size_t)got == len ? 0 : -1;
    static const unsigned char first_mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t c = p[0] & first_mask[whole];
    for (int i = 1; i < whole; i++) c = c << 6 | (p[i] & 0x3Fu);
    *code_point = c;
    return whole;
}

int utf8_bad_length(const char *text, size_t len) {
    int whole = 0, got = scan((const unsigned char *)text, len, &whole);
    return got > 0 ? got : 1;
}

int utf8_encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        if (c >= 0xD800 && c <= 0xDFFF) return 0;
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    if (c > 0x10FFFF) return 0;
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool utf8_valid(const char *text, size_t len) {
    uint32_t code_point;
    for (size_t at = 0, n; at < len; at += n) {
        int length = utf8_decode(text + at, len - at, &code_point);
        if (length <= 0) return false;
        n = (size_t)length;
    }
    return true;
}

size_t utf8_incomplete_tail(const char *text, size_t len) {
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];
        if (c < 0x80) return 0;
        if (c >= 0xC0) {
            uint32_t ignored;
            return utf8_decode(text + len - back, back, &ignored) == 0 ? back : 0;
        }
    }
    return 0;
}
