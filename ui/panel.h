/* The candidates of the shown position: beside the conversation, below it, or in one line. */
#ifndef LOGITOP_UI_PANEL_H
#define LOGITOP_UI_PANEL_H

#include "ui/canvas.h"
#include "ui/ui.h"

void panel_draw_right(const struct ui_position *position, struct canvas *canvas, struct rect rect);
void panel_draw_below(const struct ui_position *position, struct canvas *canvas, struct rect rect);
void panel_draw_strip(const struct ui_position *position, struct canvas *canvas, struct rect rect);

#endif
