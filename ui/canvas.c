#include "ui/canvas.h"

#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cell blank = {.c = ' ', .width = 1};

void canvas_resize(struct canvas *canvas, int rows, int columns) {
    canvas->rows = rows > 0 ? rows : 1;
    canvas->columns = columns > 0 ? columns : 1;
    canvas->cells =
        xrealloc(canvas->cells, (size_t)canvas->rows * (size_t)canvas->columns * sizeof *canvas->cells);
    canvas_clear(canvas);
}

void canvas_clear(struct canvas *canvas) {
    canvas_clear_around(canvas, (struct rect){0});
}

static bool rect_holds(const struct rect *rect, int row, int column) {
    return row >= rect->row && row < rect->row + rect->rows && column >= rect->column &&
           column < rect->column + rect->columns;
}

void canvas_clear_around(struct canvas *canvas, struct rect rect) {
    for (int y = 0; y < canvas->rows; y++)
        for (int x = 0; x < canvas->columns; x++)
            if (!rect_holds(&rect, y, x)) canvas->cells[y * canvas->columns + x] = blank;
    canvas->cursor_row = canvas->cursor_column = -1;
    canvas->n_put = 0;
    canvas->n_areas = 0;
}

void canvas_free(struct canvas *canvas) {
    free(canvas->cells);
    free(canvas->areas);
    *canvas = (struct canvas){0};
}

/* ---- what answers to clicks ---- */

void canvas_area(struct canvas *canvas, struct rect rect, enum area_kind kind, size_t value) {
    grow_array(&canvas->areas, &canvas->cap_areas, canvas->n_areas + 1, sizeof *canvas->areas);
    canvas->areas[canvas->n_areas++] = (struct area){rect, kind, value};
}

const struct area *canvas_area_at(const struct canvas *canvas, int row, int column) {
    for (size_t i = 0; i < canvas->n_areas; i++)
        if (rect_holds(&canvas->areas[i].rect, row, column)) return &canvas->areas[i];
    return NULL;
}

/* ---- cells ---- */

static struct cell *cell_at(struct canvas *canvas, int row, int column) {
    return &canvas->cells[row * canvas->columns + column];
}

/* Make column `column` free: a wide character that covers it with either half becomes blanks. */
static void cell_clear(struct canvas *canvas, int row, int column) {
    struct cell *cell = cell_at(canvas, row, column);
    if (cell->c == 0 && column > 0) {
        struct cell *left = cell - 1;
        uint8_t style = left->style;
        *left = blank;
        left->style = style;
    }
    if (cell->width == 2 && column + 1 < canvas->columns) {
        uint8_t style = cell[1].style;
        cell[1] = blank;
        cell[1].style = style;
    }
    *cell = blank;
}

/* Our own drawing in the characters there are. */
static uint32_t glyph(enum glyphs glyphs, uint32_t c) {
    static const char arrows[] = "<^>v", blocks[] = "__..--##"; /* U+2190.., U+2581.. */
    if (glyphs == GLYPHS_ALL || c < 0x2000) return c;
    if (c == 0x2026) return '~';
    if (c == 0x21B5) return ' ';
    if (c >= 0x2581 && c < 0x2588) return (uint32_t)blocks[c - 0x2581];
    if (glyphs == GLYPHS_BOXES) return c;
    if (c >= 0x2190 && c <= 0x2193) return (uint32_t)arrows[c - 0x2190];
    switch (c) {
    case 0x2022: return '*';
    case 0x2500: return '-';
    case 0x2502: return '|';
    case 0x253C: return '+';
    case 0x2588: return '#';
    case 0x258C: return '=';
    case 0x2591: return '.';
    default: return c;
    }
}

static void put(struct canvas *canvas, int row, int column, enum style style, uint32_t c, int width) {
    for (int i = 0; i < width; i++) {
        cell_clear(canvas, row, column + i);
        struct cell *cell = cell_at(canvas, row, column + i);
        cell->c = i == 0 ? glyph(canvas->glyphs, c) : 0;
        cell->width = (uint8_t)(i == 0 ? width : 0);
        cell->style = (uint8_t)style;
    }
    canvas->n_put += (uint64_t)width;
}

static void put_mark(struct cell *cell, uint32_t mark) {
    for (int i = 0; i < CELL_MARKS_MAX; i++)
        if (cell->marks[i] == 0) {
            cell->marks[i] = mark;
            return;
        }
}

int canvas_piece(struct canvas *canvas, int row, int column, int limit, enum style style,
                 const struct text_piece *piece) {
    if (limit > canvas->columns) limit = canvas->columns;
    if (row < 0 || row >= canvas->rows || column < 0 || column >= limit) return column;
    if (piece->kind == TEXT_KIND_NEWLINE) {
        put(canvas, row, column, style, ' ', 1);
        return column + 1;
    }
    bool breakable =
        piece->kind == TEXT_KIND_STAND_IN || piece->kind == TEXT_KIND_SPACE; /* ASCII: may be cut anywhere */
    if (column + piece->width > limit && !breakable) {
        while (column < limit) put(canvas, row, column++, style, ' ', 1);
        return limit;
    }
    struct cell *base = NULL;
    for (size_t at = 0; at < piece->n_out;) {
        uint32_t c = 0;
        int n = utf8_decode(piece->out + at, piece->n_out - at, &c);
        if (n <= 0) break;
        at += (size_t)n;
        int width = text_code_point_width(c);
        if (width == 0) {
            if (base) put_mark(base, c);
            continue;
        }
        if (column + width > limit) break;
        put(canvas, row, column, style, c, width);
        base = cell_at(canvas, row, column);
        column += width;
    }
    return column;
}

int canvas_text(struct canvas *canvas, int row, int column, int limit, enum style style, const char *text,
                size_t len) {
    if (limit > canvas->columns) limit = canvas->columns;
    int start = column;
    for (size_t at = 0; at < len && column < limit;) {
        struct text_piece piece;
        at += text_next(text + at, len - at, false, (unsigned)(column - start), &piece);
        enum style used = piece.kind == TEXT_KIND_STAND_IN && style == STYLE_TEXT ? STYLE_STAND_IN : style;
        column = canvas_piece(canvas, row, column, limit, used, &piece);
    }
    return column;
}

int canvas_text_end(struct canvas *canvas, int row, int column, int limit, enum style style, const char *text,
                    size_t len) {
    if (limit > canvas->columns) limit = canvas->columns;
    int start = column, room = limit - column;
    if (room <= 0) return column;
    size_t fits = 0; /* bytes that leave a column for the ellipsis */
    for (size_t at = 0; at < len;) {
        struct text_piece piece;
        at += text_next(text + at, len - at, false, (unsigned)(column - start), &piece);
        column += piece.kind == TEXT_KIND_NEWLINE ? 1 : piece.width;
        if (column - start < room) fits = at;
        if (column - start > room) {
            column = canvas_text(canvas, row, start, limit, style, text, fits);
            return canvas_text(canvas, row, column, limit, style, "\xE2\x80\xA6", 3);
        }
    }
    return canvas_text(canvas, row, start, limit, style, text, len);
}

int canvas_printf(struct canvas *canvas, int row, int column, int limit, enum style style, const char *fmt,
                  ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) return column;
    return canvas_text(canvas, row, column, limit, style, text, strlen(text));
}

static struct rect clip(const struct canvas *canvas, struct rect rect) {
    if (rect.row < 0) rect.rows += rect.row, rect.row = 0;
    if (rect.column < 0) rect.columns += rect.column, rect.column = 0;
    if (rect.rows > canvas->rows - rect.row) rect.rows = canvas->rows - rect.row;
    if (rect.columns > canvas->columns - rect.column) rect.columns = canvas->columns - rect.column;
    return rect;
}

void canvas_words(struct canvas *canvas, struct rect rect, enum style style, const char *text) {
    size_t len = strlen(text);
    int limit = rect.column + rect.columns;
    struct text_row row = {0};
    for (int i = 0; i < rect.rows && row.next < len && rect.columns >= 2; i++) {
        bool last = i + 1 == rect.rows;
        text_wrap(text, len, row.next, (unsigned)rect.columns, &row);
        canvas_text_end(canvas, rect.row + i, rect.column, limit, style, text + row.start,
                        (last ? len : row.end) - row.start);
    }
}

int canvas_words_rows(const char *text, int width) {
    size_t len = strlen(text);
    struct text_row row = {0};
    int n = 0;
    for (; width >= 2 && row.next < len; n++) text_wrap(text, len, row.next, (unsigned)width, &row);
    return n > 1 ? n : 1;
}

void canvas_fill(struct canvas *canvas, struct rect rect, enum style style, uint32_t c) {
    rect = clip(canvas, rect);
    for (int row = rect.row; row < rect.row + rect.rows; row++)
        for (int column = rect.column; column < rect.column + rect.columns; column++)
            put(canvas, row, column, style, c, 1);
}

void canvas_restyle(struct canvas *canvas, struct rect rect, enum style style) {
    rect = clip(canvas, rect);
    for (int row = rect.row; row < rect.row + rect.rows; row++)
        for (int column = rect.column; column < rect.column + rect.columns; column++)
            cell_at(canvas, row, column)->style = (uint8_t)style;
}

bool cell_equal(const struct cell *a, const struct cell *b) {
    return a->c == b->c && a->style == b->style && a->width == b->width &&
           memcmp(a->marks, b->marks, sizeof a->marks) == 0;
}

static void dump_end_row(struct buf *out, size_t start) {
    while (out->len > start && out->data[out->len - 1] == ' ') out->len--;
    buf_putc(out, '\n');
}

void canvas_dump(const struct canvas *canvas, bool styles, struct buf *out) {
    static const char letters[] = ".dSbeByosxC-gGkKpENRcmPHi`#tfF0123456789";
    _Static_assert(sizeof letters == STYLE_COUNT + 1, "a letter a style");
    for (int row = 0; row < canvas->rows; row++) {
        size_t start = out->len;
        for (int column = 0; column < canvas->columns; column++) {
            const struct cell *cell = &canvas->cells[row * canvas->columns + column];
            char bytes[4];
            if (cell->c) buf_append(out, bytes, (size_t)utf8_encode(cell->c, bytes));
            for (int i = 0; i < CELL_MARKS_MAX && cell->marks[i]; i++)
                buf_append(out, bytes, (size_t)utf8_encode(cell->marks[i], bytes));
        }
        dump_end_row(out, start);
    }
    for (int row = 0; styles && row < canvas->rows; row++) {
        size_t start = out->len;
        for (int column = 0; column < canvas->columns; column++) {
            char letter = letters[canvas->cells[row * canvas->columns + column].style];
            buf_putc(out, letter == '.' ? ' ' : letter);
        }
        dump_end_row(out, start);
    }
}
