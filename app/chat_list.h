/* The list of kept chats to choose from, as the screen shows it. UI thread only. */
#ifndef LOGITOP_APP_CHAT_LIST_H
#define LOGITOP_APP_CHAT_LIST_H

#include "app/archive.h"
#include "app/lookup.h"
#include "ui/ui.h"

struct chat_list { /* zero-initialise */
    bool open;
    struct ui_picker picker;    /* what is shown while it is open */
    struct buf title, words;    /* the words it was opened with */
    struct buf filter;          /* and those typed into it */
    bool searched;              /* there are any */
    int64_t deleting;           /* asked for once; the second time it is done */
    struct ui_picker_row *rows; /* [cap_rows] */
    size_t cap_rows;
    struct arena arena; /* their texts */
};

/* Rows are found by `lookup`; until they are here the list shows those of before. */
void chat_list_open(struct chat_list *list, struct lookup *lookup, const struct buf *words);
void chat_list_filter(struct chat_list *list, struct lookup *lookup, const char *text, size_t len);
/* The answer to what was asked last; STATUS_FAILED: it could not be found, and there are no rows. */
int chat_list_found(struct chat_list *list, const struct archive *archive, const struct lookup_answer *answer,
                    struct err *err);
/* The first time it only says what a second time does; STATUS_USAGE: not this one. `line` gets the words. */
int chat_list_delete(struct chat_list *list, struct archive *archive, int64_t id, struct buf *line,
                     struct err *err);
void chat_list_close(struct chat_list *list);
void chat_list_free(struct chat_list *list);

#endif
