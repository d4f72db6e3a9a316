#include "base/text.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* A cluster is cut after so many code points or cells, so that hostile text cannot make one without end. */
enum { CLUSTER_CODE_POINTS_MAX = 256, CLUSTER_CELLS_MAX = 8 };

enum character {
    CLASS_PLAIN,
    CLASS_SPACE,
    CLASS_TAB,
    CLASS_LF,
    CLASS_CR,
    CLASS_CONTROL,
    CLASS_HIDDEN,  /* zero-width, bidi, separators: shown as <U+XXXX> */
    CLASS_REPLACE, /* private use, unassigned */
    CLASS_MARK,    /* shown on top of its base */
    CLASS_TAG,
    CLASS_SELECTOR, /* U+FE00-FE0F */
    CLASS_JOINER,   /* ZWJ */
    CLASS_NON_JOINER,
    CLASS_TONE, /* emoji skin tones */
};

static bool is_invisible(uint32_t c) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x061C, 0x061C},   {0x115F, 0x1160}, {0x17B4, 0x17B5},
        {0x180B, 0x180F},   {0x200B, 0x200B},   {0x200E, 0x200F},   {0x2028, 0x202E}, {0x2060, 0x206F},
        {0x2800, 0x2800},   {0x3164, 0x3164},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB},
        {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0080, 0xE0FFF},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

static bool is_jamo_tail(uint32_t c) {
    return (c >= 0x1161 && c <= 0x11FF) || (c >= 0xD7B0 && c <= 0xD7FB);
}

int text_code_point_width(uint32_t c) {
    if (c < 0x7F) return 1;
    return is_jamo_tail(c) || c == 0x200C || c == 0x200D ? 0 : utf8proc_charwidth((utf8proc_int32_t)c);
}

static enum character classify_other(uint32_t c) {
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS: return CLASS_REPLACE;
    case UTF8PROC_CATEGORY_CC: return CLASS_CONTROL;
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return CLASS_HIDDEN;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME: return CLASS_MARK;
    case UTF8PROC_CATEGORY_ZS: return c == 0x00A0 || c == 0x2007 || c == 0x202F ? CLASS_PLAIN : CLASS_SPACE;
    default: break;
    }
    if (text_code_point_width(c) > 0) return CLASS_PLAIN;
    return is_jamo_tail(c) || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_MC ? CLASS_MARK
                                                                                             : CLASS_HIDDEN;
}

static enum character classify(uint32_t c) {
    if (c == '\n') return CLASS_LF;
    if (c == '\r') return CLASS_CR;
    if (c == '\t') return CLASS_TAB;
    if (c == ' ') return CLASS_SPACE;
    if (c < 0x20 || (c >= 0x7F && c <= 0x9F)) return CLASS_CONTROL;
    if (c < 0x7F) return CLASS_PLAIN;
    if (c == 0x200D) return CLASS_JOINER;
    if (c == 0x200C) return CLASS_NON_JOINER;
    if (c >= 0xFE00 && c <= 0xFE0F) return CLASS_SELECTOR;
    if (c >= 0xE0000 && c <= 0xE007F) return CLASS_TAG;
    if (c >= 0x1F3FB && c <= 0x1F3FF) return CLASS_TONE;
    if (is_invisible(c)) return CLASS_HIDDEN;
    return classify_other(c);
}

static bool is_emoji(uint32_t c) {
    return utf8proc_get_property((utf8proc_int32_t)c)->boundclass ==
           UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
}

/* Scripts whose spelling needs ZWJ and ZWNJ: Arabic and its kin, the Indic ones, Myanmar, Khmer, Mongolian.
 */
static bool is_joining_script(uint32_t c) {
    return (c >= 0x0600 && c <= 0x0DFF) || (c >= 0x1000 && c <= 0x109F) || (c >= 0x1780 && c <= 0x18AF) ||
           (c >= 0xA8E0 && c <= 0xA8FF) || (c >= 0xFB50 && c <= 0xFDFF) || (c >= 0xFE70 && c <= 0xFEFE);
}

static void piece_add(struct text_piece *piece, uint32_t c) {
    piece->n_out = (uint8_t)(piece->n_out + utf8_encode(c, piece->out + piece->n_out));
}

__attribute__((format(printf, 2, 3))) static void piece_stand_in(struct text_piece *piece, const char *fmt,
                                                                 ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(piece->out, sizeof piece->out, fmt, args);
    va_end(args);
    piece->n_out = piece->width = (uint8_t)n;
    piece->kind = TEXT_KIND_STAND_IN;
    piece->altered = true;
}

static void piece_replacement(struct text_piece *piece) {
    piece_add(piece, 0xFFFD);
    piece->width = 1;
    piece->kind = TEXT_KIND_STAND_IN;
    piece->altered = true;
}

/* Length of the flag sequence's tags at text[0..len): 2..6 tag letters or digits and the end tag. 0: none.
 * -1: cannot be said yet. */
static int tag_sequence(const char *text, size_t len, bool more) {
    size_t at = 0;
    for (int n = 0;; n++) {
        uint32_t c;
        int got = utf8_decode(text + at, len - at, &c);
        if (got == 0) return more ? -1 : 0;
        if (got < 0) return 0;
        at += (size_t)got;
        if (c == 0xE007F) return n >= 2 ? (int)at : 0;
        bool tag = (c >= 0xE0030 && c <= 0xE0039) || (c >= 0xE0061 && c <= 0xE007A);
        if (!tag || n == 6) return 0;
    }
}

struct cluster { /* a piece in the making */
    struct text_piece *piece;
    uint32_t base, last; /* code points: the first, the newest consumed */
    utf8proc_int32_t state;
    int n_code_points, n_marks;
};

static bool cluster_extends(struct cluster *cluster, uint32_t c) {
    return !utf8proc_grapheme_break_stateful((utf8proc_int32_t)cluster->last, (utf8proc_int32_t)c,
                                             &cluster->state);
}

static void cluster_take(struct cluster *cluster, uint32_t c, int len) {
    cluster->last = c;
    cluster->n_code_points++;
    cluster->piece->len += (size_t)len;
}

static void cluster_mark(struct cluster *cluster, uint32_t c) {
    if (++cluster->n_marks > TEXT_MARKS_MAX) {
        cluster->piece->altered = true;
        return;
    }
    piece_add(cluster->piece, c);
    if (cluster->piece->kind == TEXT_KIND_SPACE) cluster->piece->kind = TEXT_KIND_WORD;
}

/* Emoji ZWJ emoji: show the base alone. Takes both, or nothing. Returns whether the cluster goes on. */
static bool cluster_joiner(struct cluster *cluster, const char *text, size_t len, bool more, int joiner_len) {
    if (is_joining_script(cluster->base)) {
        cluster_take(cluster, 0x200D, joiner_len);
        cluster_mark(cluster, 0x200D);
        return true;
    }
    if (!is_emoji(cluster->base)) return false;
    uint32_t next;
    int got = utf8_decode(text + joiner_len, len - (size_t)joiner_len, &next);
    if (got == 0) cluster->piece->open = more;
    if (got <= 0 || !is_emoji(next)) return false;
    cluster_take(cluster, 0x200D, joiner_len);
    if (cluster_extends(cluster, next)) cluster_take(cluster, next, got);
    cluster->piece->altered = true;
    return true;
}

static bool cluster_tags(struct cluster *cluster, const char *text, size_t len, bool more) {
    if (cluster->base != 0x1F3F4 || cluster->n_code_points != 1) return false;
    int tags = tag_sequence(text, len, more);
    if (tags < 0) cluster->piece->open = true;
    if (tags <= 0) return false;
    cluster_take(cluster, 0xE007F, tags);
    cluster->piece->altered = true;
    return true;
}

/* Look at what follows the cluster, at text[0..len): take it in and return true, or leave it. */
static bool cluster_grow(struct cluster *cluster, const char *text, size_t len, bool more) {
    struct text_piece *piece = cluster->piece;
    uint32_t c;
    int got = utf8_decode(text, len, &c);
    if (got == 0) piece->open = more;
    if (got <= 0 || c < 0x80 || cluster->n_code_points >= CLUSTER_CODE_POINTS_MAX) return false;
    enum character kind = classify(c);
    bool extends = cluster_extends(cluster, c);
    if (kind == CLASS_MARK && !is_jamo_tail(c))
        extends = true; /* it has no cell of its own, whatever the cluster rules say */
    if (!extends) return false;
    switch (kind) {
    case CLASS_MARK:
        cluster_take(cluster, c, got);
        cluster_mark(cluster, c);
        return true;
    case CLASS_SELECTOR:
        cluster_take(cluster, c, got);
        piece->altered = true;
        return true;
    case CLASS_JOINER: return cluster_joiner(cluster, text, len, more, got);
    case CLASS_NON_JOINER:
        if (!is_joining_script(cluster->base)) return false;
        cluster_take(cluster, c, got);
        cluster_mark(cluster, c);
        return true;
    case CLASS_TONE:
        if (!is_emoji(cluster->base)) return false;
        cluster_take(cluster, c, got);
        piece->altered = true;
        return true;
    case CLASS_TAG: return cluster_tags(cluster, text, len, more);
    case CLASS_PLAIN: { /* regional indicators, Hangul syllables of parts, spacing marks */
        int width = text_code_point_width(c);
        if (piece->width + width > CLUSTER_CELLS_MAX || piece->n_out > TEXT_OUT_MAX - 8) return false;
        cluster_take(cluster, c, got);
        piece_add(piece, c);
        piece->width = (uint8_t)(piece->width + width);
        return true;
    }
    default: return false;
    }
}

/* A piece that is one code point by itself. False if c begins a cluster. */
static bool single_piece(uint32_t c, enum character kind, const char *rest, size_t n_rest, bool more,
                         unsigned column, struct text_piece *piece) {
    switch (kind) {
    case CLASS_LF: piece->kind = TEXT_KIND_NEWLINE; return true;
    case CLASS_CR:
        if (n_rest == 0 && more)
            piece->len = 0;
        else if (n_rest > 0 && rest[0] == '\n') {
            piece->len++;
            piece->kind = TEXT_KIND_NEWLINE;
        } else
            piece_stand_in(piece, "^M");
        return true;
    case CLASS_TAB:
        piece->kind = TEXT_KIND_SPACE;
        piece->n_out = piece->width = (uint8_t)(TEXT_TAB - column % TEXT_TAB);
        memset(piece->out, ' ', piece->n_out);
        return true;
    case CLASS_CONTROL:
        if (c < 0x80)
            piece_stand_in(piece, "^%c", (int)(c ^ 0x40));
        else
            piece_stand_in(piece, "<%02X>", c);
        return true;
    case CLASS_TAG:
        if (c >= 0xE0020 && c < 0xE007F)
            piece_stand_in(piece, "<tag:%c>", (int)(c - 0xE0000));
        else
            piece_stand_in(piece, "<tag:%02X>", c - 0xE0000);
        return true;
    case CLASS_REPLACE: piece_replacement(piece); return true;
    case CLASS_HIDDEN:
    case CLASS_SELECTOR:
    case CLASS_JOINER:
    case CLASS_NON_JOINER:
    case CLASS_TONE: piece_stand_in(piece, "<U+%04X>", c); return true;
    case CLASS_PLAIN:
    case CLASS_SPACE:
    case CLASS_MARK: break;
    }
    return false;
}

size_t text_next(const char *text, size_t len, bool more, unsigned column, struct text_piece *piece) {
    memset(piece, 0, offsetof(struct text_piece, out));
    unsigned char first = (unsigned char)text[0];
    if (first > 0x20 && first < 0x7F && len > 1 && (unsigned char)text[1] < 0x80) { /* most of all text */
        piece->len = piece->width = piece->n_out = 1;
        piece->out[0] = text[0];
        return 1;
    }
    uint32_t c;
    int got = utf8_decode(text, len, &c);
    if (got == 0 && more) return 0;
    if (got <= 0) {
        piece->len = (size_t)utf8_bad_length(text, len);
        piece_replacement(piece);
        return piece->len;
    }
    piece->len = (size_t)got;
    enum character kind = classify(c);
    if (kind == CLASS_MARK && is_jamo_tail(c))
        kind = CLASS_HIDDEN; /* they only ever sit on other parts of Hangul */
    if (single_piece(c, kind, text + got, len - (size_t)got, more, column, piece)) return piece->len;
    struct cluster cluster = {.piece = piece, .base = c, .last = c, .n_code_points = 1};
    if (kind == CLASS_MARK) {
        cluster.base = 0x25CC;
        piece_add(piece, cluster.base);
        piece->width = 1;
        piece->altered = true;
        cluster_mark(&cluster, c);
    } else {
        piece->kind = kind == CLASS_SPACE ? TEXT_KIND_SPACE : TEXT_KIND_WORD;
        piece_add(piece, c);
        piece->width = (uint8_t)text_code_point_width(c);
    }
    while (cluster_grow(&cluster, text + piece->len, len - piece->len, more)) {}
    return piece->len;
}

/* ---- whole texts and streams ---- */

static void emit(struct buf *out, const struct text_piece *piece, size_t from) {
    if (piece->kind == TEXT_KIND_NEWLINE)
        buf_putc(out, '\n');
    else
        buf_append(out, piece->out + from, piece->n_out - from);
}

/* Cells of a piece on one line, where LF is a blank. */
static unsigned line_cells(const struct text_piece *piece) {
    return piece->kind == TEXT_KIND_NEWLINE ? 1 : piece->width;
}

static void sanitize(struct buf *out, const char *text, size_t len, bool one_line) {
    unsigned column = 0;
    for (size_t at = 0; at < len;) {
        struct text_piece piece;
        at += text_next(text + at, len - at, false, column, &piece);
        if (piece.kind == TEXT_KIND_NEWLINE && one_line)
            buf_putc(out, ' ');
        else
            emit(out, &piece, 0);
        column = piece.kind == TEXT_KIND_NEWLINE && !one_line ? 0 : column + line_cells(&piece);
    }
}

void text_sanitize(struct buf *out, const char *text, size_t len) {
    sanitize(out, text, len, false);
}

void text_sanitize_line(struct buf *out, const char *text, size_t len) {
    sanitize(out, text, len, true);
}

void text_cut_line(struct buf *out, const char *text, size_t len, unsigned max_cells) {
    struct text_piece piece;
    size_t kept = 0;
    unsigned cells = 0;
    if (text_width(text, len) <= max_cells) {
        text_sanitize_line(out, text, len);
        return;
    }
    while (kept < len) {
        text_next(text + kept, len - kept, false, cells, &piece);
        if (cells + line_cells(&piece) + 3 > max_cells) break;
        cells += line_cells(&piece);
        kept += piece.len;
    }
    text_sanitize_line(out, text, kept);
    buf_puts(out, "...");
}

unsigned text_width(const char *text, size_t len) {
    unsigned column = 0;
    for (size_t at = 0; at < len;) {
        struct text_piece piece;
        at += text_next(text + at, len - at, false, column, &piece);
        column += line_cells(&piece);
    }
    return column;
}

static void filter_run(struct text_filter *filter, bool more, struct buf *out) {
    size_t at = 0;
    while (at < filter->held.len) {
        struct text_piece piece;
        if (text_next(filter->held.data + at, filter->held.len - at, more, filter->column, &piece) == 0)
            break;
        emit(out, &piece, filter->emitted);
        if (piece.open) { /* keep its bytes, remember what was given of it */
            filter->emitted = piece.n_out;
            break;
        }
        filter->emitted = 0;
        filter->column = piece.kind == TEXT_KIND_NEWLINE ? 0 : filter->column + piece.width;
        at += piece.len;
    }
    if (at == 0) return;
    memmove(filter->held.data, filter->held.data + at, filter->held.len - at);
    filter->held.len -= at;
}

void text_filter_feed(struct text_filter *filter, const char *text, size_t len, struct buf *out) {
    buf_append(&filter->held, text, len);
    filter_run(filter, true, out);
}

void text_filter_end(struct text_filter *filter, struct buf *out) {
    filter_run(filter, false, out);
    buf_free(&filter->held);
    *filter = (struct text_filter){0};
}

/* ---- tokens in quotes ---- */

/* The next bit of a quoted text into `out`; its cells into *cells. Returns bytes taken. */
static size_t quote_next(struct buf *out, const char *text, size_t len, unsigned *cells) {
    static const char escaped[] = "\n\t\r\"\\", letters[] = "ntr\"\\";
    const char *special = text[0] ? strchr(escaped, text[0]) : NULL;
    if (special) {
        buf_printf(out, "\\%c", letters[special - escaped]);
        *cells = 2;
        return 1;
    }
    uint32_t c;
    if (utf8_decode(text, len, &c) <= 0) {
        buf_printf(out, "\\x%02X", (unsigned char)text[0]);
        *cells = 4;
        return 1;
    }
    struct text_piece piece;
    size_t n = text_next(text, len, false, 0, &piece);
    buf_append(out, piece.out, piece.n_out);
    *cells = piece.width;
    return n;
}

void text_quote(struct buf *out, const char *text, size_t len, unsigned max_cells) {
    buf_putc(out, '"');
    unsigned room = max_cells - 2, used = 0;
    size_t fits = out->len; /* up to here an ellipsis still fits behind */
    for (size_t at = 0; at < len;) {
        unsigned cells = 0;
        at += quote_next(out, text + at, len - at, &cells);
        used += cells;
        if (used > room) {
            out->len = fits;
            buf_puts(out, "\xE2\x80\xA6");
            break;
        }
        if (used + 1 <= room) fits = out->len;
    }
    buf_putc(out, '"');
}

/* ---- rows ---- */

void text_wrap(const char *text, size_t len, size_t start, unsigned width, struct text_row *row) {
    size_t at = start, break_end = start, break_next = start;
    unsigned column = 0, break_cells = 0;
    bool in_space = false;
    while (at < len) {
        struct text_piece piece;
        size_t n = text_next(text + at, len - at, false, column, &piece);
        if (piece.kind == TEXT_KIND_NEWLINE) {
            *row = (struct text_row){start, at, at + n, column < width ? column : width, true, at + n};
            return;
        }
        if (piece.kind == TEXT_KIND_SPACE) {
            if (!in_space) break_end = at, break_cells = column;
            break_next = at + n;
        } else {
            if (piece.width == 2 && at > start && !in_space)
                break_end = break_next = at, break_cells = column;
            if (column + piece.width > width && at > start) {
                if (break_next == start) break_end = break_next = at, break_cells = column;
                *row = (struct text_row){start, break_end, break_next, break_cells, false, at + n};
                return;
            }
        }
        in_space = piece.kind == TEXT_KIND_SPACE;
        column += piece.width;
        at += n;
        if (piece.width == 2 && !in_space) break_end = break_next = at, break_cells = column;
    }
    *row = (struct text_row){start, at, at, column < width ? column : width, false, at};
}

/* ---- clusters of an editor ---- */

static size_t line_start(const uint32_t *text, size_t at) {
    while (at > 0 && text[at - 1] != '\n') at--;
    return at;
}

size_t text_cluster_after(const uint32_t *text, size_t n, size_t at) {
    if (at >= n) return n;
    utf8proc_int32_t state = 0;
    for (size_t i = line_start(text, at) + 1; i < n; i++) {
        bool breaks = utf8proc_grapheme_break_stateful((utf8proc_int32_t)text[i - 1],
                                                       (utf8proc_int32_t)text[i], &state);
        if (i > at && breaks) return i;
    }
    return n;
}

size_t text_cluster_before(const uint32_t *text, size_t n, size_t at) {
    if (at > n) at = n;
    if (at == 0) return 0;
    size_t from = line_start(text, at), last = from == at ? at - 1 : from;
    utf8proc_int32_t state = 0;
    for (size_t i = from + 1; i < at; i++)
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)text[i - 1], (utf8proc_int32_t)text[i],
                                             &state))
            last = i;
    return last;
}
