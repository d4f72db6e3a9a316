/* A text over the conversation: help, log, whatever the app shows. */
#ifndef LOGITOP_UI_PAGER_H
#define LOGITOP_UI_PAGER_H

#include "base/buf.h"
#include "ui/canvas.h"

struct pager {
    bool on;
    char title[128];
    struct buf text;
    long top; /* first row shown; drawing keeps it within the text */
    int page; /* rows of the last drawing */
};

void pager_open(struct pager *pager, const char *title, const char *text, size_t len);
void pager_close(struct pager *pager);
void pager_draw(struct pager *pager, struct canvas *canvas, struct rect rect);
void pager_free(struct pager *pager);

#endif
