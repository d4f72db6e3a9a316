/* The candidates of the shown moment: beside the conversation, below it, or in one line. In inspect mode with
 * the cursor's token, the selected candidate, and what each stage of the sampler chain made of them. */
#ifndef LOGITOP_UI_PANEL_H
#define LOGITOP_UI_PANEL_H

#include "ui/canvas.h"
#include "ui/ui.h"

void panel_draw_right(const struct ui_model *model, struct canvas *canvas, struct rect rect);
void panel_draw_below(const struct ui_model *model, struct canvas *canvas, struct rect rect);
void panel_draw_strip(const struct ui_model *model, struct canvas *canvas, struct rect rect);

#endif
