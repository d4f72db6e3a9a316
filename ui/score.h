/* A text and how probable the model found it: its tokens in colours, and the least likely ones in a table. */
#ifndef LOGITOP_UI_SCORE_H
#define LOGITOP_UI_SCORE_H

#include "ui/canvas.h"
#include "ui/rows.h"
#include "ui/tokens.h"
#include "ui/ui.h"

struct score { /* zero-initialise */
    struct chat_entry entry;
    long top; /* first row in view; drawing keeps it within the text */
    int page; /* rows of the last drawing */
};

/* colour: off is by probability here, for that is what it is about. */
void score_draw(struct score *score, const struct ui_score *of, enum colour_mode colour, bool digits,
                struct canvas *canvas, struct rect rect);
void score_free(struct score *score);

#endif
