/* A grid of cells that views draw into. No curses here: it is shown by ui/term.c, compared by tests.
 *
 * Cells are only ever made from pieces of the sanitiser (base/text.h), so that no escape can be in one. Rows
 * and columns count from 0 at the top left; drawing outside is cut off. A wide character never straddles an
 * edge: where only one column is left a blank stands instead. */
#ifndef LOGITOP_UI_CANVAS_H
#define LOGITOP_UI_CANVAS_H

#include "base/buf.h"
#include "ui/style.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CELL_MARKS_MAX = 4 }; /* curses has room for so many on a base */

struct cell {
    uint32_t c;                     /* base character; 0: right half of the wide one before */
    uint32_t marks[CELL_MARKS_MAX]; /* zero-width ones on it; 0 ends */
    uint8_t style, width;
};

/* What the terminal's font has: everything, boxes and shades (the Linux console), or ASCII alone. What it
 * lacks is drawn as something like it. */
enum glyphs { GLYPHS_ALL, GLYPHS_BOXES, GLYPHS_ASCII };

struct rect {
    int row, column, rows, columns;
};

/* A part of the screen that answers to a click. */
enum area_kind {
    AREA_KEY,       /* as the key of binding `value` */
    AREA_ENTER,     /* as the Enter key */
    AREA_ROW,       /* row `value` of those that the list shows */
    AREA_CANDIDATE, /* candidate `value` */
};
struct area {
    struct rect rect;
    enum area_kind kind;
    size_t value;
};

struct canvas {
    struct cell *cells; /* [rows][columns] */
    int rows, columns;
    enum glyphs glyphs;
    int cursor_row, cursor_column; /* -1: no cursor */
    uint64_t n_put;                /* cells written since canvas_clear(): what drawing costs */
    struct area *areas;            /* [n_areas] since then */
    size_t n_areas, cap_areas;
};

void canvas_resize(struct canvas *canvas, int rows, int columns); /* cleared */
void canvas_clear(struct canvas *canvas);
void canvas_clear_around(struct canvas *canvas, struct rect rect); /* all but this */
void canvas_free(struct canvas *canvas);

/* Draw text on one row from `column` up to, not including, `limit`. LF is drawn as a blank. Text that does
 * not fit is cut; canvas_text_end() cuts it with an ellipsis. Stand-ins get their own style if `style` is
 * STYLE_TEXT. Returns the column after what was drawn. */
int canvas_text(struct canvas *canvas, int row, int column, int limit, enum style style, const char *text,
                size_t len);
int canvas_text_end(struct canvas *canvas, int row, int column, int limit, enum style style, const char *text,
                    size_t len);
__attribute__((format(printf, 6, 7))) int canvas_printf(struct canvas *canvas, int row, int column, int limit,
                                                        enum style style, const char *fmt, ...);
/* One piece's cells. A piece that does not fit before `limit` leaves blanks there and returns limit. */
struct text_piece;
int canvas_piece(struct canvas *canvas, int row, int column, int limit, enum style style,
                 const struct text_piece *piece);
/* Words broken to rows of the rect's width; what the last of its rows has no room for is cut with an
 * ellipsis. canvas_words_rows(): how many rows they want, at least 1. */
void canvas_words(struct canvas *canvas, struct rect rect, enum style style, const char *text);
int canvas_words_rows(const char *text, int width);
void canvas_fill(struct canvas *canvas, struct rect rect, enum style style, uint32_t c);
void canvas_restyle(struct canvas *canvas, struct rect rect, enum style style); /* keeps the characters */

void canvas_area(struct canvas *canvas, struct rect rect, enum area_kind kind, size_t value);
const struct area *canvas_area_at(const struct canvas *canvas, int row, int column); /* NULL: none */

bool cell_equal(const struct cell *a, const struct cell *b);

/* The screen as text, a line a row, blanks at the ends cut. With `styles` a second picture follows: a letter
 * a cell. */
void canvas_dump(const struct canvas *canvas, bool styles, struct buf *out);

#endif
