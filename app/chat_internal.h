/* Shared by the files of the chat. */
#ifndef LOGITOP_APP_CHAT_INTERNAL_H
#define LOGITOP_APP_CHAT_INTERNAL_H

#include "app/chat.h"

/* Call a function of the keeper, if there is one: KEEP(chat, said_closed, said). */
#define KEEP(chat, what, ...)                                                                                \
    do {                                                                                                     \
        const struct chat_keeper *keeper_ = (chat)->keeper;                                                  \
        if (keeper_) keeper_->what(keeper_->ctx, __VA_ARGS__);                                               \
    } while (0)

int chat_check_idle(const struct chat *chat, struct err *err);
int chat_check_not_busy(const struct chat *chat, struct err *err);

/* A change to the tree is made between these: begin; then nodes are added and the path moves; then it is
 * either done, and the keeper hears of it, or given up, and all is as it was before. */
void chat_change_begin(struct chat *chat);
void chat_change_done(struct chat *chat);
void chat_change_give_up(struct chat *chat);

/* Within a change: answer the leaf in a new node below it. On failure nothing is left of the change. */
int chat_ask(struct chat *chat, struct err *err);
/* Within a change or not: go on with this answer, which is the leaf, by at most `limit` tokens; 0: as many as
 * the settings say. */
int chat_submit(struct chat *chat, struct said *answer, bool continuing, uint32_t limit, struct err *err);

/* The engine goes, and with it what it was asked to look at: those who asked are told. */
void chat_looks_end(struct chat *chat);

/* ---- chat_model.c ---- */
void chat_model_ready(struct chat *chat); /* the engine is there: if it is another one than before */
bool chat_model_failed(struct chat *chat, const struct err *err); /* true: there is another to go back to */
bool chat_model_pump(struct chat *chat);                          /* of the one that is coming */
void chat_tell(struct chat *chat, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* chat->notice */

/* In chat.c: what begins with a model that can speak. */
void chat_ready(struct chat *chat);

/* The line below an answer of `n_tokens` that ended so: why, how many they are, how fast the newest came. */
void said_write_note(struct said *answer, size_t n_tokens, const struct engine_event *done);

#endif
