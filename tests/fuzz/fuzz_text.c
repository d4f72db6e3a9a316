/* Any bytes through the sanitiser: nothing harmful leaves it, any split of a stream gives the same, rows
 * cover the text and stay when it grows, keys end. The first three bytes choose splits and widths; the rest
 * is the text. */
#include "base/text.h"
#include "base/utf8.h"
#include "ui/canvas.h"
#include "ui/keys.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact) {
    if (!fact) abort();
}

static void check_harmless(const struct buf *out) {
    for (size_t at = 0; at < out->len;) {
        uint32_t c = 0;
        int n = utf8_decode(out->data + at, out->len - at, &c);
        require(n > 0 && (c >= 0x20 || c == '\n') && !(c >= 0x7F && c <= 0x9F));
        require(!(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2060 && c <= 0x206F) &&
                !(c >= 0xE0000 && c <= 0xE0FFF));
        at += (size_t)n;
    }
}

static void check_filter(const char *text, size_t len, size_t portion, const struct buf *whole) {
    struct text_filter filter = {0};
    struct buf out = {0};
    for (size_t at = 0; at < len; at += portion)
        text_filter_feed(&filter, text + at, portion < len - at ? portion : len - at, &out);
    text_filter_end(&filter, &out);
    require(out.len == whole->len && (out.len == 0 || memcmp(out.data, whole->data, out.len) == 0));
    buf_free(&out);
}

static void check_rows(const char *text, size_t len, size_t part, unsigned width) {
    struct text_row row = {.newline = true}, early = {.newline = true};
    bool same = true;
    while (row.next < len || row.newline) {
        size_t start = row.next;
        text_wrap(text, len, start, width, &row);
        require(row.start == start && row.end >= start && row.next >= row.end && row.next <= len);
        require(row.next > start || len == start);
        if (!same || start > part) continue;
        text_wrap(text, part, start, width, &early);
        same = early.seen + TEXT_WRAP_TAIL <= part;
        if (same) require(early.end == row.end && early.next == row.next && early.cells == row.cells);
    }
}

static void check_keys(const char *text, size_t len, size_t portion) {
    struct keys keys = {0};
    struct key key;
    for (size_t at = 0; at < len; at += portion) {
        keys_feed(&keys, text + at, portion < len - at ? portion : len - at, 0);
        while (keys_next(&keys, 0, &key)) require(key.code != KEY_CODE_NONE);
    }
    while (keys_next(&keys, KEYS_ESCAPE_NS, &key)) require(key.code != KEY_CODE_NONE);
    require(keys.pasting || keys.at == keys.in.len);
    keys_free(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    const char *text = (const char *)data + 3;
    size_t len = size - 3, portion = data[0] % 16 + 1, part = len * data[1] / 255;
    unsigned width = data[2] % 60 + 2;
    struct buf whole = {0}, again = {0}, quoted = {0};
    text_sanitize(&whole, text, len);
    check_harmless(&whole);
    text_sanitize(&again, whole.data, whole.len);
    require(again.len == whole.len && (again.len == 0 || memcmp(again.data, whole.data, again.len) == 0));
    check_filter(text, len, portion, &whole);
    check_rows(text, len, part, width);
    check_keys(text, len, portion);
    text_quote(&quoted, text, len, width + 2);
    check_harmless(&quoted);
    require(text_width(quoted.data, quoted.len) <= width + 2);
    struct buf cut = {0};
    text_cut_line(&cut, text, len, width + 2);
    check_harmless(&cut);
    require(text_width(cut.data, cut.len) <= width + 2);
    buf_free(&cut);
    struct canvas canvas = {0};
    canvas_resize(&canvas, 2, (int)width);
    canvas_text(&canvas, 0, 0, (int)width, STYLE_TEXT, text, len);
    canvas_text_end(&canvas, 1, 0, (int)width, STYLE_TEXT, text, len);
    canvas_free(&canvas);
    buf_free(&whole);
    buf_free(&quoted);
    buf_free(&again);
    return 0;
}
