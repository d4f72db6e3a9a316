#include "ui/picker.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { GUTTER = 3, GAP = 2, INDENT = 2, FIRST_MIN = 24, COLUMN_MAX = 32, BELOW_MAX = 3 };

void picker_free(struct picker *picker) {
    free(picker->rows);
    buf_free(&picker->filter);
    *picker = (struct picker){0};
}

/* ---- which rows ---- */

static bool row_has(const struct ui_picker *list, const struct ui_picker_row *row, const char *word,
                    size_t len) {
    for (size_t i = 0; i < list->n_columns; i++) {
        const char *text = row->columns[i];
        if (text && text_find(text, strlen(text), word, len) != SIZE_MAX) return true;
    }
    return false;
}

/* Every word of the filter is somewhere in the row. */
static bool row_matches(const struct ui_picker *list, const struct ui_picker_row *row,
                        const struct buf *filter) {
    size_t at = 0;
    while (at < filter->len) {
        size_t end = at;
        while (end < filter->len && filter->data[end] != ' ') end++;
        if (end > at && !row_has(list, row, filter->data + at, end - at)) return false;
        at = end + 1;
    }
    return true;
}

static void find_rows(struct picker *picker, const struct ui_picker *list) {
    picker->n = 0;
    grow_array(&picker->rows, &picker->cap, list->n_rows + 1, sizeof *picker->rows);
    for (size_t i = 0; i < list->n_rows; i++) {
        const struct ui_picker_row *row = &list->rows[i];
        if (list->searches || row_matches(list, row, &picker->filter))
            picker->rows[picker->n++] = (struct picker_row){i, row->id, row->why != NULL};
    }
}

static size_t find_current(const struct picker *picker, const struct ui_picker *list) {
    for (size_t i = 0; i < picker->n && picker->filter.len == 0; i++)
        if (list->rows[picker->rows[i].index].current) return i;
    return 0;
}

/* Its row again, or where it was if that is gone. */
static size_t find_again(const struct picker *picker, uint64_t id) {
    for (size_t i = 0; i < picker->n; i++)
        if (picker->rows[i].id == id) return i;
    return picker->at < picker->n ? picker->at : picker->n ? picker->n - 1 : 0;
}

void picker_sync(struct picker *picker, const struct ui_picker *list) {
    if (!list) {
        if (picker->id) picker_free(picker);
        return;
    }
    bool found = picker->searching && !list->searching;
    bool fresh = picker->stale || found || picker->id != list->id;
    if (picker->id != list->id) picker_free(picker);
    const struct picker_row *selected = picker_selected(picker);
    uint64_t id = selected ? selected->id : 0;
    picker->id = list->id;
    picker->deletes = list->deletes;
    picker->searches = list->searches;
    picker->searching = list->searching;
    picker->stale = false;
    find_rows(picker, list);
    picker->at = fresh ? find_current(picker, list) : find_again(picker, id);
}

const struct picker_row *picker_selected(const struct picker *picker) {
    return picker->at < picker->n ? &picker->rows[picker->at] : NULL;
}

void picker_move(struct picker *picker, long rows) {
    if (picker->n == 0) return;
    long last = (long)picker->n - 1, at = (long)picker->at;
    picker->at = (size_t)(rows > last - at ? last : rows < -at ? 0 : at + rows);
}

void picker_type(struct picker *picker, const char *text, size_t len) {
    buf_append(&picker->filter, text, len);
    picker->stale = true;
}

void picker_erase(struct picker *picker, bool all) {
    size_t keep = 0;
    for (size_t at = 0; !all && at < picker->filter.len;) {
        struct text_piece piece;
        keep = at;
        at += text_next(picker->filter.data + at, picker->filter.len - at, false, 0, &piece);
    }
    picker->stale = picker->filter.len != keep;
    picker->filter.len = keep;
}

/* ---- drawing ---- */

struct columns {
    size_t n;                      /* as many as there is room for */
    int at[UI_PICKER_COLUMNS + 1]; /* first cell of each; at[n]: after the last, with the gap */
};

static int cells_of(const char *text) {
    return text ? (int)text_width(text, strlen(text)) : 0;
}

/* The rows in view decide the widths; the first column has the rest, and the last ones give way to it. */
static struct columns columns_of(const struct picker *picker, const struct ui_picker *list, int x, int limit,
                                 int rows) {
    int width[UI_PICKER_COLUMNS] = {0};
    struct columns columns = {.n = list->n_columns};
    for (size_t c = 0; c < columns.n; c++) {
        width[c] = cells_of(list->heads[c]);
        for (size_t i = picker->top; i < picker->n && i < picker->top + (size_t)rows; i++) {
            int cells = cells_of(list->rows[picker->rows[i].index].columns[c]);
            if (cells > width[c]) width[c] = cells;
        }
        if (c > 0 && width[c] > COLUMN_MAX) width[c] = COLUMN_MAX;
    }
    int rest = limit - x + GAP;
    for (size_t c = 1; c < columns.n; c++) rest -= width[c] + GAP;
    int least = list->first_width ? (int)list->first_width : FIRST_MIN;
    while (columns.n > 1 && rest - GAP < least) rest += width[--columns.n] + GAP;
    columns.at[0] = x;
    for (size_t c = 0; c < columns.n; c++) columns.at[c + 1] = columns.at[c] + (c ? width[c] + GAP : rest);
    return columns;
}

static void draw_cell(const struct columns *columns, size_t c, bool right, int indent, const char *text,
                      enum style style, struct canvas *canvas, int y) {
    if (!text) return;
    int x = columns->at[c] + indent, limit = columns->at[c + 1] - GAP;
    int slack = limit - x - cells_of(text);
    if (right && slack > 0) x += slack;
    canvas_text_end(canvas, y, x, limit, style, text, strlen(text));
}

static void draw_row(const struct picker *picker, const struct ui_picker *list, const struct columns *columns,
                     size_t i, struct canvas *canvas, struct rect rect, int y) {
    const struct ui_picker_row *row = &list->rows[picker->rows[i].index];
    int x = rect.column + 1, limit = columns->at[1] - GAP;
    int indent = (int)row->depth * INDENT, most = (limit - columns->at[0]) / 2;
    if (indent > most) indent = most;
    for (size_t c = 0; c < columns->n; c++)
        draw_cell(columns, c, list->right >> c & 1, c ? 0 : indent, row->columns[c],
                  row->why ? STYLE_CUT
                  : c      ? STYLE_DIM
                           : STYLE_TEXT,
                  canvas, y);
    if (row->current) canvas_text(canvas, y, x + 1, limit, STYLE_CHOSEN, "*", 1);
    if (i != picker->at) return;
    canvas_text(canvas, y, x, limit, STYLE_PROMPT, ">", 1);
    canvas_restyle(canvas, (struct rect){y, rect.column, 1, rect.columns}, STYLE_SELECTED);
}

static void draw_head(const struct picker *picker, const struct ui_picker *list, struct canvas *canvas,
                      struct rect rect) {
    int y = rect.row, x = rect.column + 1, limit = rect.column + rect.columns - 1;
    const char *title = list->title ? list->title : "";
    int after = canvas_text_end(canvas, y, x, limit, STYLE_STRONG, title, strlen(title));
    if (limit - after > 20 && list->searching)
        canvas_printf(canvas, y, after + 2, limit, STYLE_DIM, "searching ...");
    else if (limit - after > 20 && picker->n)
        canvas_printf(canvas, y, after + 2, limit, STYLE_DIM, "%zu of %zu", picker->at + 1, picker->n);
    y++;
    x = canvas_printf(canvas, y, x, limit, STYLE_PROMPT, "/ ");
    if (picker->filter.len == 0)
        canvas_printf(canvas, y, x, limit, STYLE_DIM, list->searches ? "type to search" : "type to filter");
    /* Its end is what is being typed. */
    size_t from = 0;
    while (picker->filter.len - from > 0 &&
           (int)text_width(picker->filter.data + from, picker->filter.len - from) >= limit - x) {
        struct text_piece piece;
        from += text_next(picker->filter.data + from, picker->filter.len - from, false, 0, &piece);
    }
    if (picker->filter.len > from)
        x = canvas_text(canvas, y, x, limit, STYLE_TEXT, picker->filter.data + from,
                        picker->filter.len - from);
    canvas->cursor_row = y;
    canvas->cursor_column = x < limit ? x : limit - 1;
}

static bool has_heads(const struct ui_picker *list) {
    for (size_t c = 0; c < list->n_columns; c++)
        if (list->heads[c]) return true;
    return false;
}

/* Below the rows: why the selected one cannot be picked, or why there is none. NULL: nothing. */
static const char *words_below(const struct picker *picker, const struct ui_picker *list) {
    if (picker->n) return list->rows[picker->rows[picker->at].index].why;
    if (list->searching) return NULL; /* the first line says so */
    return list->n_rows || list->searches ? "nothing matches" : list->empty;
}

/* Title, filter, heads, rows, and a line or more below them. */
void picker_draw(struct picker *picker, const struct ui_picker *list, struct canvas *canvas,
                 struct rect rect) {
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    draw_head(picker, list, canvas, rect);
    int y = rect.row + 2, limit = rect.column + rect.columns - 1, x = rect.column + 1 + GUTTER;
    const char *below = words_below(picker, list);
    int n_below = below && rect.rows > 10 ? canvas_words_rows(below, limit - x) : 1;
    if (n_below > BELOW_MAX) n_below = BELOW_MAX;
    int head = has_heads(list) && rect.rows > 6, rows = rect.rows - 2 - n_below - head;
    picker->page = rows > 1 ? rows : 1;
    if (picker->at < picker->top) picker->top = picker->at;
    if (picker->at >= picker->top + (size_t)picker->page) picker->top = picker->at + 1 - (size_t)picker->page;
    if (picker->top + (size_t)picker->page > picker->n)
        picker->top = picker->n > (size_t)picker->page ? picker->n - (size_t)picker->page : 0;
    struct columns columns = columns_of(picker, list, x, limit, rows);
    for (size_t c = 0; head && c < columns.n; c++)
        draw_cell(&columns, c, list->right >> c & 1, 0, list->heads[c], STYLE_DIM, canvas, y);
    y += head;
    for (size_t i = picker->top; i < picker->n && rows > 0; i++, rows--, y++) {
        draw_row(picker, list, &columns, i, canvas, rect, y);
        canvas_area(canvas, (struct rect){y, rect.column, 1, rect.columns}, AREA_ROW, i);
    }
    if (below)
        canvas_words(canvas, (struct rect){rect.row + rect.rows - n_below, x, n_below, limit - x},
                     STYLE_NOTICE, below);
}
