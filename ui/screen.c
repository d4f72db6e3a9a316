#include "ui/screen.h"

#include "ui/bars.h"
#include "ui/panel.h"

#include <limits.h>
#include <string.h>

enum { BOX_ROWS_MAX = 8, STATUS_ROWS_MAX = 4, PANEL_BELOW_ROWS = 6 };

enum panel_place { PANEL_NONE, PANEL_RIGHT, PANEL_BELOW, PANEL_STRIP };

struct layout {
    struct rect header, chat, panel, status, box, keys;
    enum panel_place place;
    bool too_small;
};

/* Inspect mode has the panel always, and more room for it. */
static enum panel_place panel_place(const struct screen *screen, int rows, int columns) {
    if (screen->panel_off && !screen->inspecting) return PANEL_NONE;
    if (columns < PANEL_BELOW_FROM || rows < PANEL_ROWS_FROM) return PANEL_STRIP;
    return columns < PANEL_RIGHT_FROM ? PANEL_BELOW : PANEL_RIGHT;
}

static int between(int value, int least, int most) {
    return value < least ? least : value > most ? most : value;
}

/* Header, conversation (with the panel beside or below), status, box, keys; status and box grow at the
 * conversation's cost. */
static void layout_compute(struct layout *layout, const struct screen *screen, int rows, int columns,
                           int n_box, int n_status) {
    *layout = (struct layout){.too_small = rows < SCREEN_MIN_ROWS || columns < SCREEN_MIN_COLUMNS,
                              .place = panel_place(screen, rows, columns)};
    int y = rows - 1;
    layout->header = (struct rect){0, 0, 1, columns};
    layout->keys = (struct rect){y, 0, 1, columns};
    layout->box = (struct rect){y -= n_box, 0, n_box, columns};
    layout->status = (struct rect){y -= n_status, 0, n_status, columns};
    if (layout->place == PANEL_STRIP) layout->panel = (struct rect){--y, 0, 1, columns};
    if (layout->place == PANEL_BELOW) {
        int height = screen->inspecting ? between(rows / 3, PANEL_BELOW_ROWS, 14) : PANEL_BELOW_ROWS;
        y -= height;
        layout->panel = (struct rect){y, 0, height, columns};
    }
    layout->chat = (struct rect){1, 0, y - 1, columns};
    if (layout->place == PANEL_RIGHT) {
        /* the same for both where there is room: inspect mode wraps the conversation as it was */
        int width = between(columns * 2 / 5, screen->inspecting ? 58 : 50, 76);
        layout->chat.columns = columns - width;
        layout->panel = (struct rect){1, columns - width, y - 1, width};
    }
}

static void draw_panel(const struct layout *layout, const struct ui_model *model, struct canvas *canvas) {
    switch (layout->place) {
    case PANEL_NONE: break;
    case PANEL_RIGHT: panel_draw_right(model, canvas, layout->panel); break;
    case PANEL_BELOW: panel_draw_below(model, canvas, layout->panel); break;
    case PANEL_STRIP: panel_draw_strip(model, canvas, layout->panel); break;
    }
}

enum key_context screen_keys(const struct screen *screen) {
    if (screen->pager.on) return KEY_VIEW;
    if (screen->picker.id) return KEY_PICKER;
    if (screen->comparing || screen->scoring) return KEY_VIEW;
    if (screen->chat.find.state == FIND_ON) return KEY_FIND;
    return screen->inspecting && !screen->typing ? KEY_INSPECT : KEY_BOX;
}

void screen_follow(struct screen *screen, const struct ui_model *model) {
    picker_sync(&screen->picker, model->picker);
    screen->inspecting = model->inspect != NULL;
    screen->comparing = model->compare != NULL;
    screen->scoring = model->score != NULL;
    if (!screen->comparing) compare_free(&screen->compare);
    if (!screen->scoring) score_free(&screen->score);
}

bool screen_scroll_view(struct screen *screen, int action) {
    if (screen_keys(screen) != KEY_VIEW) return false;
    long *top = screen->pager.on    ? &screen->pager.top
                : screen->comparing ? &screen->compare.top
                                    : &screen->score.top;
    int page = screen->pager.on    ? screen->pager.page
               : screen->comparing ? screen->compare.page
                                   : screen->score.page;
    page = page > 2 ? page - 1 : 1;
    switch (action) {
    case UI_ACTION_LINE_UP: --*top; return true;
    case UI_ACTION_LINE_DOWN: ++*top; return true;
    case UI_ACTION_PAGE_UP: *top -= page; return true;
    case UI_ACTION_PAGE_DOWN: *top += page; return true;
    case UI_ACTION_TOP: *top = 0; return true;
    case UI_ACTION_BOTTOM: *top = LONG_MAX / 2; return true;
    default: return false;
    }
}

static void draw_body(struct screen *screen, const struct ui_model *model, const struct layout *layout,
                      bool held, struct canvas *canvas) {
    struct rect page = {1, 0, layout->status.row - 1, canvas->columns};
    if (screen->pager.on)
        pager_draw(&screen->pager, canvas, page);
    else if (model->picker)
        picker_draw(&screen->picker, model->picker, canvas, page); /* it has the cursor */
    else if (model->compare)
        compare_draw(&screen->compare, model->compare, screen->colour, screen->digits, canvas, page);
    else if (model->score)
        score_draw(&screen->score, model->score, screen->colour, screen->digits, canvas, page);
    else {
        screen->chat.digits = screen->digits && screen->colour != COLOUR_MODE_OFF;
        chat_draw(&screen->chat, model, screen->colour, canvas, layout->chat);
        if (!held) draw_panel(layout, model, canvas);
    }
}

static bool rect_equal(const struct rect *a, const struct rect *b) {
    return a->row == b->row && a->column == b->column && a->rows == b->rows && a->columns == b->columns;
}

/* All is drawn anew; true: but for the panel, which stands where it is to stand. */
static bool clear(struct screen *screen, const struct ui_model *model, const struct layout *layout,
                  struct canvas *canvas) {
    bool covered = screen->pager.on || model->picker || model->compare || model->score;
    bool held = screen->panel_holds && !covered && layout->panel.rows &&
                screen->panel_listed == (model->shown != NULL) &&
                rect_equal(&layout->panel, &screen->panel_drawn);
    canvas_clear_around(canvas, held ? layout->panel : (struct rect){0});
    screen->panel_drawn = covered ? (struct rect){0} : layout->panel;
    screen->panel_listed = model->shown != NULL;
    return held;
}

void screen_draw(struct screen *screen, const struct ui_model *model, struct canvas *canvas) {
    struct layout layout;
    int most = canvas->rows / 3 < BOX_ROWS_MAX ? canvas->rows / 3 : BOX_ROWS_MAX;
    screen_follow(screen, model);
    layout_compute(&layout, screen, canvas->rows, canvas->columns, 1, 1);
    if (layout.too_small) {
        canvas_clear(canvas);
        screen->panel_drawn = (struct rect){0};
        canvas_printf(canvas, 0, 0, canvas->columns, STYLE_NOTICE, "%dx%d is too small", canvas->columns,
                      canvas->rows);
        canvas_printf(canvas, 1, 0, canvas->columns, STYLE_DIM, "%dx%d will do", SCREEN_MIN_COLUMNS,
                      SCREEN_MIN_ROWS);
        return;
    }
    layout_compute(&layout, screen, canvas->rows, canvas->columns,
                   box_rows(&screen->box, canvas->columns, most > 1 ? most : 1),
                   status_rows(screen, model, canvas->columns, canvas->rows < 16 ? 2 : STATUS_ROWS_MAX));
    bool held = clear(screen, model, &layout, canvas);
    header_draw(&model->status, canvas, layout.header);
    draw_body(screen, model, &layout, held, canvas);
    box_draw(screen, model, canvas, layout.box);
    status_draw(screen, model, canvas,
                layout.status); /* behind the box: a search that is typed has the cursor */
    keys_draw(screen, model, canvas, layout.keys);
}

void screen_free(struct screen *screen) {
    chat_free(&screen->chat);
    pager_free(&screen->pager);
    picker_free(&screen->picker);
    compare_free(&screen->compare);
    score_free(&screen->score);
}
