/* The chat as the screen wants it: fills ui/ui.h's structs. Nothing is copied that stays. */
#ifndef LOGITOP_APP_VIEW_H
#define LOGITOP_APP_VIEW_H

#include "app/chat.h"
#include "app/inspect.h"
#include "ui/ui.h"

struct view {
    struct ui_model model; /* for ui_draw() until the next view_fill() */
    struct ui_message *messages;
    size_t cap_messages;
    struct ui_position position;
    struct ui_candidate candidates[CANDIDATES_MAX + 1];
    struct buf name, chain;
    struct ui_compare compare;  /* two ways beside each other, */
    struct ui_message *ways[2]; /* their messages, */
    struct buf titles[2];
};

/* file: what is being loaded, shown until the model tells its name. */
void view_fill(struct view *view, const struct chat *chat, struct inspect *inspect, const char *file);
void view_free(struct view *view);

/* One message as the ui shows it. */
struct ui_message view_message(struct said *said);
/* view_compare.c: the active path beside the one that inspect compares it with; NULL: none is compared. */
const struct ui_compare *view_compare(struct view *view, const struct chat *chat,
                                      const struct inspect *inspect);

#endif
