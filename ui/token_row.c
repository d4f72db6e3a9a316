#include "ui/token_row.h"

#include "base/text.h"

struct ui_range token_range(const struct ui_message *message, size_t token) {
    uint32_t start = token ? message->tokens[token - 1].end : 0;
    return (struct ui_range){start, message->tokens[token].end};
}

static bool under_cursor(const struct token_pen *pen, size_t start, size_t end) {
    return pen->has_cursor && start < pen->here.end && end > pen->here.start;
}

/* The cursor on what has no cell of its own in this row, of which bytes up to `drawn` have: a line's end,
 * blanks over the edge, an end token. */
static void draw_cursor_end(const struct token_pen *pen, const struct chat_row *row, size_t drawn,
                            struct canvas *canvas, int y, int x, int limit) {
    enum { RETURN = 0x21B5 };
    bool empty = pen->here.start == pen->here.end;
    bool begins = pen->here.start < row->next || pen->last, reaches = pen->here.end > drawn;
    if (!pen->has_cursor || !begins || !(empty ? pen->here.start >= row->start : reaches)) return;
    if (x >= limit) x = limit - 1;
    canvas_fill(canvas, (struct rect){y, x, 1, 1}, STYLE_CURSOR, !empty && row->newline ? RETURN : ' ');
    if (canvas->cursor_row >= 0) return;
    canvas->cursor_row = y;
    canvas->cursor_column = x;
}

/* A row of the text as it is, with its tokens' colours, and their levels on the line below. */
void token_row_draw(const struct ui_message *message, const struct chat_row *row, struct find_marks *marks,
                    const struct token_pen *pen, struct canvas *canvas, int y, int x, int limit) {
    size_t n_tokens = message->tokens ? message->n_tokens : 0;
    size_t token = n_tokens ? token_find(message, row->start) : 0, told = SIZE_MAX;
    enum style plain = message->role == UI_ROLE_NOTE ? STYLE_DIM : STYLE_TEXT;
    int start = x, digits_y = pen->text ? y + 1 : y;
    size_t at = row->start;
    while (at < row->end && x < limit) {
        struct text_piece piece;
        size_t from = at;
        at += text_next(message->text + at, row->end - at, false, (unsigned)(x - start), &piece);
        while (token < n_tokens && message->tokens[token].end < at)
            token++; /* a cluster has its last token's colour */
        enum style style = plain;
        if (token < n_tokens && pen->colour != COLOUR_MODE_OFF)
            style = token_style(&message->tokens[token], pen->colour);
        else if (token < n_tokens && message->tokens[token].picked)
            style = STYLE_PICKED;
        if (pen->digits && token < n_tokens && token != told) {
            int level = token_level(&message->tokens[token], pen->colour);
            if (level >= 0) canvas_printf(canvas, digits_y, x, limit, style, "%d", level);
            told = token;
        }
        if (at <= pen->dim) style = STYLE_DIM;
        if (from < pen->mark.end && at > pen->mark.start) style = STYLE_MARK;
        if (piece.kind == TEXT_KIND_STAND_IN && style == STYLE_TEXT) style = STYLE_STAND_IN;
        if (marks) style = find_marks_style(marks, from, style);
        if (under_cursor(pen, from, at)) {
            style = STYLE_CURSOR;
            if (pen->text && canvas->cursor_row < 0) canvas->cursor_row = y, canvas->cursor_column = x;
        }
        if (pen->text)
            x = canvas_piece(canvas, y, x, limit, style, &piece);
        else
            x += piece.width;
    }
    if (pen->text) draw_cursor_end(pen, row, at, canvas, y, x, limit);
}
