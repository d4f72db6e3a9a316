/* Walking and branching the conversation. */
#include "app/chat_internal.h"

int chat_edit_begin(struct chat *chat, struct said *said, struct err *err) {
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    chat->editing = said;
    return STATUS_OK;
}

int chat_edit(struct chat *chat, struct said *said, const char *text, size_t len, struct err *err) {
    if (said->by == SAID_BY_SYSTEM) {
        chat->editing = NULL;
        return chat_set_system(chat, text, len, err);
    }
    if (said->by == SAID_BY_PROGRAM)
        return err_set(err, STATUS_USAGE, "this is a note of the program, expected a message");
    int status = said->by == SAID_BY_USER ? chat_check_idle(chat, err) : chat_check_not_busy(chat, err);
    if (status < 0) return status;
    chat_change_begin(chat);
    conversation_go(&chat->conversation, said->parent);
    conversation_add(&chat->conversation, said->by, text, len);
    if (said->by == SAID_BY_USER)
        status = chat_ask(chat, err);
    else
        chat_change_done(chat);
    if (status < 0) return status;
    chat->edited = said;
    chat->editing = NULL;
    return STATUS_OK;
}

int chat_switch(struct chat *chat, struct said *said, struct err *err) {
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    struct said *leaf = said_deepest(said);
    if (leaf == conversation_leaf(&chat->conversation)) return STATUS_OK;
    chat_change_begin(chat);
    conversation_go(&chat->conversation, leaf);
    chat_change_done(chat);
    return STATUS_OK;
}

static int step(struct chat *chat, bool (*go)(struct conversation *), const char *what, struct err *err) {
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    if (!go(&chat->conversation)) return err_set(err, STATUS_USAGE, "there is nothing to %s", what);
    chat->editing = NULL;
    chat->last_said = chat->conversation.last_id;
    chat_change_done(chat);
    return STATUS_OK;
}

int chat_undo(struct chat *chat, struct err *err) {
    return step(chat, conversation_undo, "undo", err);
}

int chat_redo(struct chat *chat, struct err *err) {
    return step(chat, conversation_redo, "redo", err);
}
