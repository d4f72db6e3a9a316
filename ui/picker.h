/* A list to choose from, over the conversation: rows with columns, a filter typed above them.
 *
 * The app says what is in it (struct ui_picker), here is what the person does with it. Keys move within the
 * rows that the last picker_sync() found, so a filter that was typed must be synced before the next key. */
#ifndef LOGITOP_UI_PICKER_H
#define LOGITOP_UI_PICKER_H

#include "ui/canvas.h"
#include "ui/ui.h"

struct picker_row {
    size_t index; /* in the list */
    uint64_t id;
    bool grey;
};

struct picker {              /* zero-initialise */
    uint64_t id;             /* of the list it shows; 0: none */
    struct buf filter;       /* UTF-8 */
    bool stale;              /* the filter changed after the rows were found */
    bool deletes, searches;  /* as the list says, */
    bool searching;          /* when it was synced last */
    bool picks;              /* the first of the rows that come is to be picked */
    struct picker_row *rows; /* [n] those that match */
    size_t n, cap;
    size_t at, top; /* of these: the selected one, the first in view */
    int page;       /* rows of the last drawing */
};

/* Follow the app; NULL ends it. The selection stays on its row; a new filter, and what a search found, begins
 * at the first. */
void picker_sync(struct picker *picker, const struct ui_picker *list);
void picker_move(struct picker *picker, long rows); /* beyond the ends: to the end */
void picker_type(struct picker *picker, const char *text, size_t len);
void picker_erase(struct picker *picker, bool all); /* the last cluster of the filter, or all of it */
const struct picker_row *picker_selected(const struct picker *picker); /* NULL: there is no row */
void picker_draw(struct picker *picker, const struct ui_picker *list, struct canvas *canvas,
                 struct rect rect);
void picker_free(struct picker *picker);

#endif
