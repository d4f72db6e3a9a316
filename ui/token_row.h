/* A row of a message as it is written: its tokens' colours, digits below them, the cursor, marks. */
#ifndef LOGITOP_UI_TOKEN_ROW_H
#define LOGITOP_UI_TOKEN_ROW_H

#include "ui/canvas.h"
#include "ui/find.h"
#include "ui/rows.h"
#include "ui/tokens.h"
#include "ui/ui.h"

struct token_pen {
    enum colour_mode colour;
    bool text, digits;     /* which of a row's two lines; both where they are in view */
    bool has_cursor, last; /* last: the last row that is shown; what follows has its cursor here */
    struct ui_range here;  /* bytes under the cursor */
    struct ui_range mark;  /* in STYLE_MARK; empty: none */
    size_t dim;            /* bytes before this are dimmed */
};

/* Bytes of a message's token; empty for one that has none. */
struct ui_range token_range(const struct ui_message *message, size_t token);

/* Text at row y, digits at y + 1, or at y if the text is not drawn. marks: NULL, nothing is searched. The
 * first cell under the cursor gets the canvas's cursor. */
void token_row_draw(const struct ui_message *message, const struct chat_row *row, struct find_marks *marks,
                    const struct token_pen *pen, struct canvas *canvas, int y, int x, int limit);

#endif
