/* Walking and branching the conversation. */
#include "app/chat_internal.h"

#include <stdio.h>

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

/* ---- another way at a token ---- */

/* Put behind the answer by a person. Where it stands in the place of a token whose candidates are known, they
 * are its own too. */
static void put_token(struct chat *chat, struct said *answer, int32_t id, const struct kept_token *instead) {
    struct kept_token token = {
        .id = id, .picked = true, .end = chat->engine->ops->token_is_end(chat->engine, id)};
    if (instead) {
        token.position = instead->position;
        token.log_sum_exp = instead->log_sum_exp;
        token.entropy = instead->entropy;
        token.top = instead->top;
        for (uint32_t i = 0; i < instead->n_top; i++) {
            struct candidate candidate = kept_token_candidate(instead, i);
            if (candidate.id != id) continue;
            token.n_top = instead->n_top;
            token.logit = candidate.logit;
            token.prob = candidate.prob;
            token.rank = id == instead->id ? instead->rank : i + 1;
        }
    }
    size_t len;
    const char *text = chat->engine->ops->token_text(chat->engine, id, &len);
    said_append_kept(answer, &token, text, token.end ? 0 : len);
}

/* Ended by a person: nothing is asked. */
static void close_fork(struct chat *chat, struct said *answer) {
    buf_puts(&answer->note, "[ended here by you]");
    chat_change_done(chat);
    KEEP(chat, said_closed, chat, answer);
}

int chat_fork(struct chat *chat, struct said *said, const struct chat_fork *fork, struct err *err) {
    const struct said *from = fork->from ? fork->from : said;
    size_t keep = fork->keep;
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    if (said->by != SAID_BY_MODEL)
        return err_set(err, STATUS_USAGE, "only an answer of the model can go another way at a token");
    while (keep && from->tokens[keep - 1].end) keep--;
    chat_change_begin(chat);
    conversation_go(&chat->conversation, said->parent);
    struct said *answer = conversation_add(&chat->conversation, SAID_BY_MODEL, "", 0);
    said_copy_tokens(answer, from, keep);
    if (from->thinking.prompted && keep) thinking_begin(&answer->thinking, from->thinking.prompted);
    const struct kept_token *instead = keep < from->n_tokens ? &from->tokens[keep] : NULL;
    for (size_t i = 0; i < fork->n_ids; i++) {
        put_token(chat, answer, fork->ids[i], i ? NULL : instead);
        if (!answer->tokens[answer->n_tokens - 1].end) continue;
        close_fork(chat, answer);
        return STATUS_OK;
    }
    if (fork->reroll) {
        chat->settings.sampling.attempt++;
        KEEP(chat, settings_changed, chat);
    }
    status = chat_submit(chat, answer, answer->text.len > 0, fork->limit, err);
    if (status < 0)
        chat_change_give_up(chat);
    else
        chat_change_done(chat);
    return status;
}

int chat_go_on(struct chat *chat, struct said *said, uint32_t limit, struct err *err) {
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    if (said->by != SAID_BY_MODEL || said != conversation_leaf(&chat->conversation) || said->n_children)
        return chat_fork(chat, said, &(struct chat_fork){.keep = said->n_tokens, .limit = limit}, err);
    return chat_submit(chat, said, said->text.len > 0, limit, err);
}

/* ---- thinking ---- */

int chat_answer_now(struct chat *chat, struct err *err) {
    struct said *said = conversation_leaf(&chat->conversation);
    const char *end = said->by == SAID_BY_MODEL ? said_thinking(said)->end : NULL;
    if (!end) return err_set(err, STATUS_USAGE, "the model is not thinking: there is nothing to cut short");
    if (chat_busy(chat)) { /* what it says until it stops is kept; then this is called again */
        chat->answer_now = true;
        chat_stop(chat);
        return STATUS_OK;
    }
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    if (said->n_children) return err_set(err, STATUS_USAGE, "this thinking has an answer already");
    enum { IDS_MAX = 16 };
    int32_t ids[IDS_MAX];
    char text[64];
    bool line = said->text.len && said->text.data[said->text.len - 1] != '\n'; /* which is to be ended */
    int len = snprintf(text, sizeof text, "%s%s\n\n", line ? "\n" : "", end);
    size_t n = chat->engine->ops->encode(chat->engine, text, (size_t)len, true, ids, IDS_MAX),
           first = said->n_tokens;
    for (size_t i = 0; i < n && i < IDS_MAX; i++) put_token(chat, said, ids[i], NULL);
    KEEP(chat, tokens_appended, chat, said, first);
    return chat_submit(chat, said, true, 0, err);
}

/* ---- walking ---- */

/* What was wrong was so elsewhere. */
static void leave_error(struct chat *chat) {
    if (chat->state != CHAT_FAILED) chat->error.code = STATUS_OK;
}

int chat_switch(struct chat *chat, struct said *said, struct err *err) {
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    struct said *leaf = said_deepest(said);
    if (leaf == conversation_leaf(&chat->conversation)) return STATUS_OK;
    chat_change_begin(chat);
    conversation_go(&chat->conversation, leaf);
    leave_error(chat);
    chat_change_done(chat);
    return STATUS_OK;
}

static int step(struct chat *chat, bool (*go)(struct conversation *), const char *what, struct err *err) {
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    if (!go(&chat->conversation)) return err_set(err, STATUS_USAGE, "there is nothing to %s", what);
    chat->editing = NULL;
    leave_error(chat);
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
