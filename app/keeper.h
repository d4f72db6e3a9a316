/* What a chat tells of itself to whoever keeps it (a store): one table of functions, told of every change
 * that must outlive the program as soon as it is made. Nothing here may fail for the chat: a keeper that
 * cannot write deals with that itself. All calls come from the UI thread; what they are given is borrowed for
 * the call. A node's `kept` is the keeper's to set. */
#ifndef LOGITOP_APP_KEEPER_H
#define LOGITOP_APP_KEEPER_H

#include <stddef.h>

struct chat;
struct said;

struct chat_keeper {
    void *ctx;
    /* The first message of a new conversation comes next; `chat` holds its date, system text and settings.
     * Before that nothing was said, and nothing needs to be kept. */
    void (*conversation_begun)(void *ctx, const struct chat *chat);
    /* A node, below a parent that was told before (or the root), with the text and the tokens that it has
     * already. */
    void (*said_added)(void *ctx, const struct chat *chat, struct said *said);
    /* Its tokens from `first` on are new, and the text from where they begin. Told as they come. */
    void (*tokens_appended)(void *ctx, const struct chat *chat, struct said *said, size_t first);
    /* An answer ended, or something else about the message changed that is no text: note, dropped. */
    void (*said_closed)(void *ctx, const struct chat *chat, struct said *said);
    /* A node that has no children goes: not a word was said in it. It is freed after the call. */
    void (*said_removed)(void *ctx, const struct chat *chat, struct said *said);
    /* The active path ends elsewhere: at `leaf` (the root: before the first message). */
    void (*leaf_changed)(void *ctx, const struct chat *chat, struct said *leaf);
    /* System text, template variables, folding, or a setting. */
    void (*settings_changed)(void *ctx, const struct chat *chat);
};

#endif
