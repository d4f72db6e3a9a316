#include "ui/pager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void drop_parts(struct pager *pager) {
    if (pager->parts.free) pager->parts.free(pager->parts.context);
    pager->parts = (struct ui_parts){0};
}

void pager_open(struct pager *pager, const char *title, const char *text, size_t len) {
    drop_parts(pager);
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
    drop_parts(pager);
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

/* Of all the text that is there: the rows that there are not yet, or all of them for another width. */
static void make_rows(struct pager *pager, int width) {
    const char *text = pager->text.data ? pager->text.data : "";
    size_t len = pager->text.len;
    struct text_row *row = &pager->last;
    bool whole = !pager->parts.next;
    struct pager_row made = {0};
    while (whole && len > 0 && text[len - 1] == '\n') len--;
    if (pager->width != width) {
        *row = (struct text_row){.newline = true};
        pager->n_rows = 0;
        pager->width = width;
    }
    if (row->next < len) pager->n_wrapped += len - row->next;
    while (row->next < len || (whole && row->newline && row->next == len)) {
        made.indent = row->newline ? 0 : (int)pager->hang;
        if (row->newline) made.heading = is_heading(text, len, row->next);
        text_wrap(text, len, row->next, (unsigned)(width - made.indent), row);
        if (!made.indent) pager->hang = hang_of(text + row->start, row->end - row->start, (unsigned)width);
        made.start = row->start;
        made.end = row->end;
        grow_array(&pager->rows, &pager->cap_rows, pager->n_rows + 1, sizeof *pager->rows);
        pager->rows[pager->n_rows++] = made;
    }
}

static void take_part(struct pager *pager) {
    if (pager->parts.next && !pager->parts.next(pager->parts.context, &pager->text)) drop_parts(pager);
}

void pager_draw(struct pager *pager, struct canvas *canvas, struct rect rect) {
    struct rect body = {rect.row + 2, rect.column + 1, rect.rows - 3, rect.columns - 2};
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    if (body.rows < 1 || body.columns < 10) return;
    take_part(pager);
    make_rows(pager, body.columns);
    long rows = (long)pager->n_rows, last = rows - body.rows, top = pager->top > last ? last : pager->top;
    if (top < 0) top = 0;
    if (!pager->parts.next || pager->top < 0) pager->top = top;
    pager->page = body.rows;
    canvas_text_end(canvas, rect.row, rect.column + 1, rect.column + rect.columns - 1, STYLE_STRONG,
                    pager->title, strlen(pager->title));
    const char *text = pager->text.data ? pager->text.data : "";
    for (long i = 0; i < body.rows && top + i < rows; i++) {
        const struct pager_row *row = &pager->rows[top + i];
        canvas_text(canvas, body.row + (int)i, body.column + row->indent, body.column + body.columns,
                    row->heading ? STYLE_HEADING : STYLE_TEXT, text + row->start, row->end - row->start);
    }
    if (last > 0)
        canvas_printf(canvas, rect.row + rect.rows - 1, rect.column + 1, rect.column + rect.columns,
                      STYLE_DIM, pager->parts.next ? "%ld-%ld ..." : "%ld-%ld of %ld", top + 1,
                      top + body.rows, rows);
}
