/* The whole screen, drawn into a canvas: layout and views. No terminal here. */
#ifndef LOGITOP_UI_SCREEN_H
#define LOGITOP_UI_SCREEN_H

#include "ui/canvas.h"
#include "ui/chat.h"
#include "ui/compare.h"
#include "ui/keymap.h"
#include "ui/pager.h"
#include "ui/picker.h"
#include "ui/score.h"
#include "ui/ui.h"

enum {
    SCREEN_MIN_ROWS = 8,
    SCREEN_MIN_COLUMNS = 30,
    PANEL_RIGHT_FROM = 110,
    PANEL_BELOW_FROM = 80,
    PANEL_ROWS_FROM = 20
};

struct box {          /* the input line as the editor has it */
    const char *text; /* [len] UTF-8 */
    size_t len, cursor;
    const char *search; /* Ctrl-R: the pattern typed so far; NULL: not searching */
};

struct screen {
    struct chat chat;
    struct pager pager;
    struct picker picker;
    struct compare compare;
    struct score score;
    struct box box;
    bool panel_off;
    bool panel_holds; /* it stays as it was drawn last, on the same canvas, where it stands there still */
    struct rect panel_drawn;             /* without rows: it was not */
    bool panel_listed;                   /* candidates, not where they will come; that does not hold */
    bool inspecting, comparing, scoring; /* what the app shows */
    bool typing;                         /* a token, in the box */
    enum colour_mode colour;
    bool digits; /* levels below the tokens as digits too: no colours here, or none that can be told apart */
    char notice[512];
    bool notice_on;
};

/* Whose keys they are. */
enum key_context screen_keys(const struct screen *screen);
/* What the app shows decides who has the keys: before the next key, drawn or not. */
void screen_follow(struct screen *screen, const struct ui_model *model);
/* Scroll the page, the comparison or the score; false if there is none, or the action does not scroll. */
bool screen_scroll_view(struct screen *screen, int action);
void screen_draw(struct screen *screen, const struct ui_model *model, struct canvas *canvas);
void screen_free(struct screen *screen);

#endif
