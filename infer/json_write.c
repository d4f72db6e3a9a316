#include "infer/json_write.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void separate(struct json_writer *w) {
    if (w->more) buf_putc(w->out, ',');
    w->more = true;
}

void json_write_open(struct json_writer *w, char bracket) {
    separate(w);
    buf_putc(w->out, bracket);
    w->more = false;
}

void json_write_close(struct json_writer *w, char bracket) {
    buf_putc(w->out, bracket);
    w->more = true;
}

/* Controls, and characters that reorder, hide or forge text: not to be seen raw. */
static bool unsafe(uint32_t c) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 0x1F},        {0x7F, 0x9F},       {0xAD, 0xAD},     {0x34F, 0x34F},   {0x61C, 0x61C},
                  {0x115F, 0x1160}, {0x180E, 0x180E},   {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},
                  {0x3164, 0x3164}, {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB},
                  {0xE000, 0xF8FF}, {0xE0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

static void put_escape(struct buf *out, uint32_t c) {
    switch (c) {
    case '\b': buf_puts(out, "\\b"); return;
    case '\t': buf_puts(out, "\\t"); return;
    case '\n': buf_puts(out, "\\n"); return;
    case '\f': buf_puts(out, "\\f"); return;
    case '\r': buf_puts(out, "\\r"); return;
    default: break;
    }
    if (c < 0x10000) {
        buf_printf(out, "\\u%04x", c);
    } else {
        c -= 0x10000;
        buf_printf(out, "\\u%04x\\u%04x", 0xD800 + (c >> 10), 0xDC00 + (c & 0x3FF));
    }
}

static void put_string(struct buf *out, const char *text, size_t len) {
    buf_putc(out, '"');
    for (size_t at = 0; at < len;) {
        uint32_t c;
        int n = utf8_decode(text + at, len - at, &c);
        if (n <= 0) {
            buf_puts(out, "\xEF\xBF\xBD");
            at += n == 0 ? len - at : (size_t)utf8_bad_length(text + at, len - at);
            continue;
        }
        if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (unsafe(c)) {
            put_escape(out, c);
        } else {
            buf_append(out, text + at, (size_t)n);
        }
        at += (size_t)n;
    }
    buf_putc(out, '"');
}

void json_write_key(struct json_writer *w, const char *key) {
    separate(w);
    put_string(w->out, key, strlen(key));
    buf_putc(w->out, ':');
    w->more = false;
}

void json_write_bytes(struct json_writer *w, const char *text, size_t len) {
    separate(w);
    put_string(w->out, text, len);
}

void json_write_text(struct json_writer *w, const char *text) {
    json_write_bytes(w, text, strlen(text));
}

void json_write_natural(struct json_writer *w, uint64_t value) {
    separate(w);
    buf_printf(w->out, "%" PRIu64, value);
}

void json_write_integer(struct json_writer *w, int64_t value) {
    separate(w);
    buf_printf(w->out, "%" PRId64, value);
}

void json_write_real(struct json_writer *w, double value) {
    separate(w);
    if (isfinite(value))
        buf_printf(w->out, "%.9g", value);
    else
        buf_puts(w->out, "null");
}

void json_write_bool(struct json_writer *w, bool value) {
    separate(w);
    buf_puts(w->out, value ? "true" : "false");
}
