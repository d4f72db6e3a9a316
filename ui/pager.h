/* A text over the conversation: help, log, whatever the app shows. */
#ifndef LOGITOP_UI_PAGER_H
#define LOGITOP_UI_PAGER_H

#include "base/buf.h"
#include "base/text.h"
#include "ui/canvas.h"
#include "ui/ui.h"

struct pager_row { /* [start, end) of the text, so many columns in */
    size_t start, end;
    int indent;
    bool heading;
};

struct pager {
    bool on;
    char title[128];
    struct buf text;
    struct ui_parts parts; /* what there is more of it; next NULL: nothing */
    struct pager_row
        *rows; /* [n_rows] for a text of this width: a page may be long, and a key costs what is seen */
    size_t n_rows, cap_rows;
    struct text_row last; /* where they go on */
    unsigned hang;        /* columns that a line goes on with */
    int width;            /* 0: there are none yet */
    uint64_t n_wrapped;   /* bytes broken into rows so far: what it costs */
    long top;             /* first row shown; drawing keeps it within the text, once that is all there */
    int page;             /* rows of the last drawing */
};

void pager_open(struct pager *pager, const char *title, const char *text, size_t len);
void pager_close(struct pager *pager);
void pager_draw(struct pager *pager, struct canvas *canvas, struct rect rect);
void pager_free(struct pager *pager);

#endif
