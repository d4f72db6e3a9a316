/* The conversation: messages broken into rows, scrolled, drawn.
 *
 * Rows of a message are kept until its text or the width changes; of a growing message only the last few are
 * made anew, and only messages that come into view (or lie between the view and the end) are broken at all.
 * So a frame costs what is visible, however long the conversation is.
 *
 * The view either follows the end, or stays: then its first row is (top_message, top_row), and that message's
 * byte top_offset keeps it in place when the width changes. */
#ifndef LOGITOP_UI_CHAT_H
#define LOGITOP_UI_CHAT_H

#include "ui/canvas.h"
#include "ui/find.h"
#include "ui/rows.h"
#include "ui/tokens.h"
#include "ui/ui.h"

struct chat_cursor { /* which token, and the room it was last brought into view in */
    uint64_t message, before;
    size_t token, lines;
    int width, rows;
};

struct chat {
    struct chat_entry *entries; /* [cap_entries], by the message's place */
    size_t cap_entries;
    bool raw;            /* as it is written, no markdown */
    bool unfolded;       /* thinking is shown */
    bool digits;         /* a line below each row of tokens that tells their levels */
    enum rows_form form; /* of the last drawing */
    bool stays;          /* false: follows the end */
    size_t top_message, top_row, top_offset, top_lines; /* top_row: in lines, of which a row has top_lines */
    uint64_t top_id;
    long pending; /* rows to scroll at the next drawing, negative: back */
    bool pending_top;
    int page;          /* rows of the last drawing */
    size_t rows_below; /* rows under the view at the last drawing */
    struct find find;
    int click_row, click_column; /* a click that the next drawing answers; row 0: none */
    uint64_t clicked;            /* the message it fell on, 0: none; and where in its text */
    size_t clicked_at;
    struct chat_cursor cursor; /* of inspect mode, at the last drawing */
    size_t rows_seen;          /* rows under the view when it was moved last: those that came since are new */
    uint64_t n_wrapped;        /* bytes broken into rows so far: what it costs */
};

void chat_free(struct chat *chat);
void chat_scroll(struct chat *chat, long rows);
void chat_scroll_page(struct chat *chat, int direction);
void chat_scroll_top(struct chat *chat);
void chat_follow(struct chat *chat);
void chat_click(struct chat *chat, int row, int column); /* the next drawing sets `clicked` */
void chat_draw(struct chat *chat, const struct ui_model *model, enum colour_mode colour,
               struct canvas *canvas, struct rect rect);

#endif
