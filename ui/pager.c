#include "ui/pager.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pager_open(struct pager *pager, const char *title, const char *text, size_t len) {
    buf_clear(&pager->text);
    buf_append(&pager->text, text, len);
    snprintf(pager->title, sizeof pager->title, "%s", title);
    pager->top = 0;
    pager->width = 0;
    pager->on = true;
}

void pager_close(struct pager *pager) {
    pager_free(pager);
}

void pager_free(struct pager *pager) {
    buf_free(&pager->text);
    free(pager->rows);
    *pager = (struct pager){0};
}

/* The column at which a line goes on that is too wide: that of its last column, where it is a row of a table
 * (two spaces between columns), else the first. */
static unsigned hang_of(const char *line, size_t len, unsigned columns) {
    size_t last = 0;
    for (size_t i = 2; i < len; i++)
        if (line[i - 2] == ' ' && line[i - 1] == ' ' && line[i] != ' ') last = i;
    size_t width = text_width(line, last);
    return width <= columns / 2 ? (unsigned)width : 0;
}

/* Does a heading begin here: a line without columns, behind a blank one or none, before another one? */
static bool is_heading(const char *text, size_t len, size_t at) {
    bool apart = at == 0 || (at > 1 && text[at - 1] == '\n' && text[at - 2] == '\n');
    const char *newline = memchr(text + at, '\n', len - at);
    if (!apart || !newline || newline == text + at || newline + 1 == text + len || newline[1] == '\n')
        return false;
    for (const char *p = text + at; p < newline; p++)
        if (p[0] == ' ' && (p == text + at || p[1] == ' ')) return false;
    return true;
}

static void make_rows(struct pager *pager, int width) {
    const char *text = pager->text.data ? pager->text.data : "";
    size_t len = pager->text.len;
    while (len > 0 && text[len - 1] == '\n') len--;
    struct text_row row = {.newline = true};
    struct pager_row made = {0};
    unsigned hang = 0;
    pager->n_rows = 0;
    pager->width = width;
    pager->n_wrapped += len;
    while (row.next < len || row.newline) {
        made.indent = row.newline ? 0 : (int)hang;
        if (row.newline) made.heading = is_heading(text, len, row.next);
        text_wrap(text, len, row.next, (unsigned)(width - made.indent), &row);
        if (!made.indent) hang = hang_of(text + row.start, row.end - row.start, (unsigned)width);
        made.start = row.start;
        made.end = row.end;
        grow_array(&pager->rows, &pager->cap_rows, pager->n_rows + 1, sizeof *pager->rows);
        pager->rows[pager->n_rows++] = made;
    }
}

void pager_draw(struct pager *pager, struct canvas *canvas, struct rect rect) {
    struct rect body = {rect.row + 2, rect.column + 1, rect.rows - 3, rect.columns - 2};
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    if (body.rows < 1 || body.columns < 10) return;
    if (pager->width != body.columns) make_rows(pager, body.columns);
    long rows = (long)pager->n_rows, last = rows - body.rows;
    if (pager->top > last) pager->top = last;
    if (pager->top < 0) pager->top = 0;
    pager->page = body.rows;
    canvas_text_end(canvas, rect.row, rect.column + 1, rect.column + rect.columns - 1, STYLE_STRONG,
                    pager->title, strlen(pager->title));
    const char *text = pager->text.data ? pager->text.data : "";
    for (long i = 0; i < body.rows && pager->top + i < rows; i++) {
        const struct pager_row *row = &pager->rows[pager->top + i];
        canvas_text(canvas, body.row + (int)i, body.column + row->indent, body.column + body.columns,
                    row->heading ? STYLE_HEADING : STYLE_TEXT, text + row->start, row->end - row->start);
    }
    if (last > 0)
        canvas_printf(canvas, rect.row + rect.rows - 1, rect.column + 1, rect.column + rect.columns,
                      STYLE_DIM, "%ld-%ld of %ld", pager->top + 1, pager->top + body.rows, rows);
}
