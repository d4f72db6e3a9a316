#include "ui/pager.h"

#include "base/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

void pager_open(struct pager *pager, const char *title, const char *text, size_t len) {
    buf_clear(&pager->text);
    buf_append(&pager->text, text, len);
    snprintf(pager->title, sizeof pager->title, "%s", title);
    pager->top = 0;
    pager->on = true;
}

void pager_close(struct pager *pager) {
    pager->on = false;
    buf_free(&pager->text);
}

void pager_free(struct pager *pager) {
    buf_free(&pager->text);
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

/* Calls for each row: draws those in view, or only counts (canvas NULL). Returns the number of rows. */
static long walk(const struct pager *pager, struct canvas *canvas, struct rect rect) {
    const char *text = pager->text.data ? pager->text.data : "";
    size_t len = pager->text.len;
    while (len > 0 && text[len - 1] == '\n') len--;
    struct text_row row = {.newline = true};
    unsigned hang = 0;
    long n = 0;
    enum style style = STYLE_TEXT;
    while (row.next < len || row.newline) {
        unsigned indent = row.newline ? 0 : hang;
        if (canvas && row.newline) style = is_heading(text, len, row.next) ? STYLE_HEADING : STYLE_TEXT;
        text_wrap(text, len, row.next, (unsigned)rect.columns - indent, &row);
        if (!indent) hang = hang_of(text + row.start, row.end - row.start, (unsigned)rect.columns);
        if (canvas && n >= pager->top && n < pager->top + rect.rows)
            canvas_text(canvas, rect.row + (int)(n - pager->top), rect.column + (int)indent,
                        rect.column + rect.columns, style, text + row.start, row.end - row.start);
        n++;
    }
    return n;
}

void pager_draw(struct pager *pager, struct canvas *canvas, struct rect rect) {
    struct rect body = {rect.row + 2, rect.column + 1, rect.rows - 3, rect.columns - 2};
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    if (body.rows < 1 || body.columns < 10) return;
    long rows = walk(pager, NULL, body), last = rows - body.rows;
    if (pager->top > last) pager->top = last;
    if (pager->top < 0) pager->top = 0;
    pager->page = body.rows;
    canvas_text_end(canvas, rect.row, rect.column + 1, rect.column + rect.columns - 1, STYLE_STRONG,
                    pager->title, strlen(pager->title));
    walk(pager, canvas, body);
    if (last > 0)
        canvas_printf(canvas, rect.row + rect.rows - 1, rect.column + 1, rect.column + rect.columns,
                      STYLE_DIM, "%ld-%ld of %ld", pager->top + 1, pager->top + body.rows, rows);
}
