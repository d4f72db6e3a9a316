/* Text that came from outside (a model, a file, a person) on its way to a terminal: one sanitiser for all of
 * it, cell widths, clusters and line breaking.
 *
 * The bytes themselves are never changed by this module: what is stored, copied or fed to a model stays
 * exact. Only what is shown is made here, cluster by cluster, by text_next(). What leaves it holds no control
 * character but LF, no escape, nothing that reorders, hides or forges text:
 *
 *   - C0, DEL, C1 are ^[ ^M ^? <9B>; CR LF is LF; TAB becomes blanks
 *   - bidi controls, separators, annotations, zero-width characters are <U+202E>
 *   - tag characters are <tag:x>; a whole flag sequence is shown as its black flag
 *   - variation selectors after a visible base are not shown; others are <U+FE0F>
 *   - of ZWJ sequences and skin tones the base emoji alone is shown: it has one width in every terminal
 *   - ZWJ and ZWNJ are kept in Arabic and Indic words; elsewhere they are <U+200D>
 *   - combining marks: at most TEXT_MARKS_MAX a base; a mark without a base sits on U+25CC
 *   - private use, unassigned, not UTF-8: U+FFFD
 *
 * What was sanitised once stays as it is when sanitised again. Widths are utf8proc's, not the locale's. All
 * functions may be called from any thread. */
#ifndef LOGITOP_BASE_TEXT_H
#define LOGITOP_BASE_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_MARKS_MAX = 8, TEXT_TAB = 4, TEXT_OUT_MAX = 64 };

enum text_kind {
    TEXT_KIND_WORD,     /* shown as it is */
    TEXT_KIND_SPACE,    /* a place to break the line: blanks and TAB */
    TEXT_KIND_NEWLINE,  /* LF or CR LF: out is empty, width 0 */
    TEXT_KIND_STAND_IN, /* out stands for something that must not be shown: worth a style of its own */
};

/* One cluster as it is shown. */
struct text_piece {
    size_t len; /* bytes of the text it covers; 0 only where text_next() says so */
    enum text_kind kind;
    bool open;     /* it ends at the end of the text and `more` was true: the next bytes may belong to it */
    bool altered;  /* something was dropped or replaced */
    uint8_t width; /* cells */
    uint8_t n_out; /* bytes of out */
    char out[TEXT_OUT_MAX]; /* valid UTF-8; further bytes of an open piece only ever append to it */
};

/* The cluster at text[0..len), len > 0. `column` (cells since the line's beginning) places TAB stops. `more`:
 * bytes may follow text[len). Returns piece->len. That is 0 only if `more` and nothing can be said yet (the
 * beginning of a UTF-8 character, or CR that may be CR LF). */
size_t text_next(const char *text, size_t len, bool more, unsigned column, struct text_piece *piece);

/* Cells of one code point of a piece's `out`: 2, 1, or 0 for one that sits on the character before it. */
int text_code_point_width(uint32_t code_point);

/* Append the shown form of a whole text. LF stays LF. */
void text_sanitize(struct buf *out, const char *text, size_t len);
/* The same on one line: LF becomes a blank. For titles, names, error lines. */
void text_sanitize_line(struct buf *out, const char *text, size_t len);
/* The same, at most max_cells wide (>= 4): a longer one ends in "...". */
void text_cut_line(struct buf *out, const char *text, size_t len, unsigned max_cells);
unsigned text_width(const char *text, size_t len); /* cells of the shown form of one line */

/* Offset of the first place where `what` [n] stands in the text, upper and lower case being the same (simple
 * lower case of each code point, no normalisation); SIZE_MAX: nowhere. */
size_t text_find(const char *text, size_t len, const char *what, size_t n);

/* The sanitiser for a stream that is written as it comes (plain mode on a terminal): fed in any portions it
 * gives the same bytes as text_sanitize() of the whole, each as early as it is certain. Zero-initialise; end
 * once. */
struct text_filter {
    struct buf held; /* bytes of the piece that is still open */
    size_t emitted;  /* bytes of its `out` that were given already */
    unsigned column;
};
void text_filter_feed(struct text_filter *filter, const char *text, size_t len, struct buf *out);
void text_filter_end(struct text_filter *filter,
                     struct buf *out); /* gives the rest and frees; may be used again */

/* A token or another short run of bytes in double quotes, at most max_cells wide (>= 4) with the quotes;
 * longer ones end in U+2026 before the quote. LF is \n, TAB \t, a quote \", a backslash \\, bytes that are no
 * character \xE2. */
void text_quote(struct buf *out, const char *text, size_t len, unsigned max_cells);

/* One row of a text broken to `width` cells (>= 2): the cells shown are text[start..end), the next row begins
 * at `next`. Rows break after blanks (which hang over the edge unshown), around wide characters, or where a
 * word is wider than the row. */
struct text_row {
    size_t start, end, next;
    unsigned cells; /* shown width */
    bool newline;   /* ended by LF: another row follows even at the end of the text */
    size_t seen;    /* bytes looked at to find this: appending never changes a row when len >= seen +
                       TEXT_WRAP_TAIL */
};
enum { TEXT_WRAP_TAIL = 32 };
/* The row that begins at `start` (<= len). It depends only on the bytes from its start on. */
void text_wrap(const char *text, size_t len, size_t start, unsigned width, struct text_row *row);

/* Cluster boundaries in code points, for an editor: the start of the cluster before `at` (0 if none), the end
 * of the one at `at` (n if none). */
size_t text_cluster_before(const uint32_t *text, size_t n, size_t at);
size_t text_cluster_after(const uint32_t *text, size_t n, size_t at);

#endif
