#include "tokenizer/normalize.h"

#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/chars.h"
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A stretch of text that NFC sees as one: a character and the active ones after it (CHAR_NFC_ACTIVE). What is
 * not active is never changed and never combined with what is before it, so stretches are independent. */
struct stretch {
    utf8proc_int32_t *chars, *sorted;
    size_t n, cap, sorted_cap;
};

static void add_decomposed(struct stretch *s, uint32_t code_point) {
    enum { LONGEST = 8 }; /* the longest canonical decomposition has 4 */
    int boundary = 0;
    grow_array(&s->chars, &s->cap, s->n + LONGEST, sizeof *s->chars);
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code_point, s->chars + s->n, LONGEST,
                                                 UTF8PROC_DECOMPOSE, &boundary);
    if (n > 0 && n <= LONGEST)
        s->n += (size_t)n;
    else
        s->chars[s->n++] = (utf8proc_int32_t)code_point;
}

static unsigned combining_class(utf8proc_int32_t c) {
    return (unsigned)utf8proc_get_property(c)->combining_class;
}

/* Canonical order: marks between two starters by their combining class, equal ones as they were. Counting, so
 * that a long run of marks costs no more than its length. */
static void order_marks(struct stretch *s) {
    for (size_t from = 0, to; from < s->n; from = to) {
        size_t count[257] = {0};
        bool ordered = true;
        for (to = from; to < s->n; to++) {
            unsigned class = combining_class(s->chars[to]);
            if (class == 0) break;
            if (to > from && class < combining_class(s->chars[to - 1])) ordered = false;
            count[class + 1]++;
        }
        if (!ordered) {
            grow_array(&s->sorted, &s->sorted_cap, to - from, sizeof *s->sorted);
            for (int class = 0; class < 256; class ++) count[class + 1] += count[class];
            for (size_t i = from; i < to; i++) s->sorted[count[combining_class(s->chars[i])]++] = s->chars[i];
            memcpy(s->chars + from, s->sorted, (to - from) * sizeof *s->chars);
        }
        while (to < s->n && combining_class(s->chars[to]) == 0) to++;
    }
}

static void flush(struct stretch *s, struct buf *out) {
    order_marks(s);
    utf8proc_ssize_t n =
        utf8proc_normalize_utf32(s->chars, (utf8proc_ssize_t)s->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char bytes[4];
        buf_append(out, bytes, (size_t)utf8_encode((uint32_t)s->chars[i], bytes));
    }
    s->n = 0;
}

static size_t skip_ascii(const char *text, size_t len, size_t at) {
    for (uint64_t eight; len - at >= 8; at += 8) {
        memcpy(&eight, text + at, 8);
        if (eight & 0x8080808080808080u) break;
    }
    while (at < len && (unsigned char)text[at] < 0x80) at++;
    return at;
}

/* The next active character at or after `at`, or len. `*before` becomes the character it may combine with, or
 * itself. */
static size_t find_active(const char *text, size_t len, size_t at, size_t *before) {
    size_t n;
    bool joins = false;
    *before = at;
    while (at < len) {
        size_t ascii = at;
        at = skip_ascii(text, len, at);
        if (at > ascii) {
            joins = true;
            *before = at - 1;
            continue;
        }
        uint32_t c = char_decode(text + at, len - at, &n);
        if (char_lookup(c) & CHAR_NFC_ACTIVE) break;
        joins = c != CHAR_NONE;
        *before = at;
        at += n;
    }
    if (!joins) *before = at;
    return at;
}

static void add_ends(struct offsets *ends, size_t n, size_t first, size_t step) {
    if (!ends || !n) return;
    grow_array(&ends->at, &ends->cap, ends->n + n, sizeof *ends->at);
    for (size_t i = 0; i < n; i++) ends->at[ends->n++] = (uint32_t)(first + i * step);
}

bool normalize_nfc(const char *text, size_t len, struct buf *out, struct offsets *ends) {
    size_t before, n, start = out->len, copied = 0;
    size_t at = find_active(text, len, 0, &before);
    if (at == len) return false;
    struct stretch s = {0};
    for (; at < len; at = find_active(text, len, at, &before)) {
        buf_append(out, text + copied, before - copied);
        add_ends(ends, before - copied, copied + 1, 1);
        if (before < at) add_decomposed(&s, char_decode(text + before, at - before, &n));
        for (; at < len; at += n) {
            uint32_t c = char_decode(text + at, len - at, &n);
            if (!(char_lookup(c) & CHAR_NFC_ACTIVE)) break;
            add_decomposed(&s, c);
        }
        size_t from = out->len;
        flush(&s, out);
        size_t same = 0; /* a base that nothing was joined to, marks that were in order */
        while (from + same < out->len && before + same < at && out->data[from + same] == text[before + same])
            same++;
        add_ends(ends, same, before + 1, 1);
        add_ends(ends, out->len - from - same, at, 0);
        copied = at;
    }
    buf_append(out, text + copied, len - copied);
    add_ends(ends, len - copied, copied + 1, 1);
    free(s.chars);
    free(s.sorted);
    if (out->len - start == len && memcmp(out->data + start, text, len) == 0) {
        out->len = start;
        out->data[start] = 0;
        if (ends) ends->n = 0;
        return false;
    }
    return true;
}
