/* What is known of tokens as looks: levels 0 (a surprise) to 9 (sure), their colours, digits and legend, and
 * strips that show many tokens in a line. The digit says what the colour says, for those who see no colours.
 */
#ifndef LOGITOP_UI_TOKENS_H
#define LOGITOP_UI_TOKENS_H

#include "ui/canvas.h"
#include "ui/ui.h"

enum colour_mode {
    COLOUR_MODE_OFF,
    COLOUR_MODE_PROB,    /* tenths of the raw probability */
    COLOUR_MODE_RANK,    /* 9 is the best, 8 the second, ... */
    COLOUR_MODE_ENTROPY, /* of the choice; 9 is none, 0 more than 5 bits */
    COLOUR_MODE_COUNT
};

int token_level(const struct ui_token *token, enum colour_mode mode); /* 0..9; -1: not known, or mode off */
enum style token_style(const struct ui_token *token, enum colour_mode mode);
/* Index of the first token that ends behind `offset` of the message's text; n_tokens if none does. */
size_t token_find(const struct ui_message *message, size_t offset);

/* What the levels mean, at the right end of [x, limit): as much of it as fits. Returns where it begins. */
int legend_draw(enum colour_mode mode, bool digits, struct canvas *canvas, int y, int x, int limit);

/* Three rows from y on, a cell a token, those around the moment's above one another:
 *
 *     p  9987698729       tenths of the probability
 *     H  ▁▂▅▁▁▂▁▁▃▁ <6    entropy in bits, a full block is 6
 *     ms ▅▅▆▅▅▅▇▅▅▅ <9.8  a full block is the longest
 *
 * cursor: the moment's cells are marked. */
void strips_draw(const struct ui_position *position, bool cursor, struct canvas *canvas, int y, int x,
                 int limit);

#endif
