/* The branches of a conversation to choose from, as the screen shows them: a row for each message where ways
 * part and for the beginning, those below it indented. UI thread only. */
#ifndef LOGITOP_APP_BRANCH_LIST_H
#define LOGITOP_APP_BRANCH_LIST_H

#include "app/conversation.h"
#include "ui/ui.h"

struct branch_list { /* zero-initialise */
    bool open;
    struct ui_picker picker;    /* what is shown while it is open; ids of rows are those of messages */
    struct ui_picker_row *rows; /* [cap_rows] */
    size_t cap_rows;
    struct arena arena; /* their texts */
};

/* STATUS_USAGE: nothing was said yet. Open it again after the tree changed. */
int branch_list_open(struct branch_list *list, const struct conversation *conversation, struct err *err);
void branch_list_close(struct branch_list *list);
void branch_list_free(struct branch_list *list);

#endif
