/* Two branches of a conversation beside each other, or above one another where the screen is narrow. They
 * scroll together; what both say is dimmed, the token with which they part is marked. */
#ifndef LOGITOP_UI_COMPARE_H
#define LOGITOP_UI_COMPARE_H

#include "ui/canvas.h"
#include "ui/rows.h"
#include "ui/tokens.h"
#include "ui/ui.h"

struct compare { /* zero-initialise */
    struct chat_entry *entries[2];
    size_t cap[2];
    uint64_t first[2]; /* ids of the messages it shows; others begin at the place where they part */
    long top;          /* first line in view; drawing keeps it within the text */
    int page;          /* lines of the last drawing */
};

void compare_draw(struct compare *compare, const struct ui_compare *of, enum colour_mode colour, bool digits,
                  struct canvas *canvas, struct rect rect);
void compare_free(struct compare *compare);

#endif
