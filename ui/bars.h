/* The lines around the conversation: header, status, input box, key bar. */
#ifndef LOGITOP_UI_BARS_H
#define LOGITOP_UI_BARS_H

#include "ui/screen.h"

void header_draw(const struct ui_status *status, struct canvas *canvas, struct rect rect);
/* Rows that what is told takes, 1..most: figures take one. */
int status_rows(const struct screen *screen, const struct ui_model *model, int columns, int most);
void status_draw(const struct screen *screen, const struct ui_model *model, struct canvas *canvas,
                 struct rect rect);
int box_rows(const struct box *box, int columns, int most); /* rows it wants, 1..most */
void box_draw(const struct screen *screen, const struct ui_model *model, struct canvas *canvas,
              struct rect rect);
void keys_draw(const struct screen *screen, const struct ui_model *model, struct canvas *canvas,
               struct rect rect);

#endif
