/* /score: how probable the model finds a text, token by token. UI thread only. */
#ifndef LOGITOP_APP_SCORING_H
#define LOGITOP_APP_SCORING_H

#include "app/chat.h"
#include "ui/ui.h"

struct scoring { /* zero-initialise */
    bool open;
    struct chat *chat;
    uint64_t request; /* the newest; its events come as long as it computes */
    struct buf text;
    struct ui_token *tokens; /* [n] */
    size_t n, cap;
    size_t n_scored; /* those that have a probability */
    uint64_t id;     /* of this text, for the ui */
    struct ui_score view;
    struct err failed; /* why there is no more of it; code 0: it goes on, or is done */
};

/* The text is copied, and the engine asked. STATUS_USAGE where there is none; STATUS_BUSY while an answer
 * runs. */
int scoring_begin(struct scoring *score, struct chat *chat, const char *text, size_t len, struct err *err);
void scoring_close(struct scoring *score); /* no longer shown; the engine stops */
void scoring_free(struct scoring *score);
/* For the ui; NULL: closed. */
const struct ui_score *scoring_view(struct scoring *score);

#endif
