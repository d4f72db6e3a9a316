#include "app/view.h"

#include "app/archive.h"
#include "app/record_json.h"

#include <math.h>
#include <stdlib.h>

static void fill_status(struct view *view, const struct chat *chat, const char *file) {
    static const enum ui_state states[] = {[CHAT_LOADING] = UI_STATE_LOADING,
                                           [CHAT_IDLE] = UI_STATE_IDLE,
                                           [CHAT_PREFILL] = UI_STATE_PREFILL,
                                           [CHAT_ANSWERING] = UI_STATE_GENERATING,
                                           [CHAT_FAILED] = UI_STATE_FAILED};
    struct ui_status *status = &view->model.status;
    *status =
        (struct ui_status){.state = chat->moving ? UI_STATE_LOADING : states[chat->state], .model = file};
    status->progress_done = chat->progress_done;
    status->progress_total = chat->progress_total;
    if (chat->info) {
        buf_clear(&view->name);
        chat_model_title(chat, &view->name);
        status->model = view->name.data;
        status->device = chat->info->device;
        status->context_size = chat->info->context_size;
        status->memory_used = chat->info->memory_used;
        status->memory_total = chat->info->memory_total;
    }
    status->context_used = chat_context_used(chat);
    status->tps_now = chat_tps_now(chat);
    status->tps_mean = chat_busy(chat) ? chat_tps_mean(chat) : stats_decode_tps(&chat->stats);
    if (chat->has_stats && !chat_busy(chat)) { /* those of the last answer */
        status->prefill_tps = stats_prefill_tps(&chat->stats);
        status->prompt_tokens = chat->stats.prompt_tokens;
        status->cached_tokens = chat->stats.cached_tokens;
    }
    if (chat->error.code) status->error = chat->error.text;
    const struct archive *archive = archive_of(chat);
    status->chat = archive ? archive_title(archive) : NULL;
}

struct ui_message view_message(struct said *said) {
    static const enum ui_role roles[] = {[SAID_BY_SYSTEM] = UI_ROLE_SYSTEM,
                                         [SAID_BY_USER] = UI_ROLE_YOU,
                                         [SAID_BY_MODEL] = UI_ROLE_BOT,
                                         [SAID_BY_PROGRAM] = UI_ROLE_NOTE};
    size_t n_siblings, sibling = said_index(said, &n_siblings);
    const struct thinking *thinking = said_thinking(said);
    return (struct ui_message){.id = said->id,
                               .version = said->version,
                               .role = roles[said->by],
                               .open = said->open,
                               .text = said->text.data,
                               .len = said->text.len,
                               .tokens = said->shown,
                               .n_tokens = said->n_tokens,
                               .sibling = (uint32_t)sibling + 1,
                               .n_siblings = (uint32_t)n_siblings,
                               .thinking = thinking->ranges,
                               .n_thinking = thinking->n,
                               .note = said->note.len ? said->note.data : NULL};
}

enum {
    WAITING_ID = INT32_MAX
}; /* of a question that is not asked yet: no message of the conversation has it */

static void fill_messages(struct view *view, const struct chat *chat, const struct inspect *inspect) {
    const struct conversation *conversation = &chat->conversation;
    grow_array(&view->messages, &view->cap_messages, conversation->n + 2, sizeof *view->messages);
    for (size_t i = 0, from = 0; i < conversation->n; i++) {
        struct said *said = conversation->messages[i];
        struct ui_message *message = &view->messages[i];
        *message = view_message(said);
        size_t n;
        const struct ui_token *shown = inspect->on ? inspect_shown(inspect, said, &from, &n) : NULL;
        if (!shown) continue;
        message->tokens = shown;
        message->n_tokens = n;
    }
    view->model.messages = view->messages;
    view->model.n_messages = conversation->n;
    view->model.waits = chat->waiting.len > 0;
    if (view->model.waits && !inspect->on)
        view->messages[view->model.n_messages++] = (struct ui_message){
            .id = WAITING_ID,
            .version = chat->n_waited,
            .role = UI_ROLE_YOU,
            .text = chat->waiting.data,
            .len = chat->waiting.len,
            .note = chat->state == CHAT_LOADING ? "[waits for the model]"
                                                : "[waits for the answer; Esc or Up takes it back]"};
}

static void fill_candidate(struct ui_candidate *to, const struct chat *chat, const struct kept_token *token,
                           uint32_t i) {
    struct candidate from = kept_token_candidate(token, i);
    struct engine *engine = chat->engine;
    *to = (struct ui_candidate){.id = from.id,
                                .control = engine->ops->token_is_control(engine, from.id),
                                .chosen = from.id == token->id,
                                .rank = from.id == token->id ? token->rank : i + 1,
                                .raw = expf(from.logit - token->log_sum_exp),
                                .final = from.prob,
                                .cut = stage_name(from.cut)};
    to->text = engine->ops->token_text(engine, from.id, &to->len);
}

/* What the tokens of this message were drawn with where that is known, else what the next one will be. */
static const struct sampling *sampling_of(const struct chat *chat, const struct said *said) {
    return said && said->id == chat->drawn_id ? &chat->drawn : &chat->settings.sampling;
}

/* Of one moment: the record of the token that came then, or NULL, at this place in the context. */
static void show_moment(struct view *view, const struct chat *chat, const struct kept_token *record,
                        uint32_t position, const struct sampling *sampling) {
    static const struct kept_token nothing;
    const struct kept_token *token = record ? record : &nothing;
    for (uint32_t i = 0; i < token->n_top; i++) fill_candidate(&view->candidates[i], chat, token, i);
    buf_clear(&view->chain);
    settings_print_chain(sampling, &view->chain);
    view->position = (struct ui_position){.position = position,
                                          .chain = view->chain.data,
                                          .candidates = view->candidates,
                                          .n = token->n_top,
                                          .n_vocab = chat->info->n_vocab,
                                          .entropy = token->entropy,
                                          .rank = token->rank,
                                          .ms = token->ms};
    view->model.shown = &view->position;
}

/* The newest token and what else could have come in its place. */
static void show_newest(struct view *view, const struct chat *chat) {
    const struct said *said = chat_shown(chat);
    if (!said) return;
    const struct kept_token *token = &said->tokens[said->n_tokens - 1];
    bool known = conversation_knows_ids(&chat->conversation, said);
    show_moment(view, chat, known ? token : NULL, token->position + 1, sampling_of(chat, said));
    view->position.foreign = !known;
    view->position.strip = said->shown;
    view->position.n_strip = said->n_tokens;
    view->position.strip_at = said->n_tokens - 1;
}

/* The token under the cursor. */
static void show_inspected(struct view *view, const struct chat *chat, const struct inspect *inspect) {
    const struct inspect_token *token = inspect_token(inspect);
    if (!token) return;
    const struct kept_token *record = inspect_record(token);
    bool staged = inspect->staged == inspect->cursor; /* anew, as an answer would be drawn now */
    bool own = inspect->listed || !token->kept;       /* its place is that in the list */
    show_moment(view, chat, record,
                own ? (uint32_t)inspect->cursor : token->said->tokens[token->index].position + 1,
                staged ? &chat->settings.sampling : sampling_of(chat, token->said));
    for (size_t i = 0; token->said && i < view->model.n_messages; i++) {
        const struct ui_message *message = &view->messages[i];
        if (message->id != token->said->id || token->index >= message->n_tokens) continue;
        view->position.strip = message->tokens;
        view->position.n_strip = message->n_tokens;
        view->position.strip_at = token->index;
    }
}

/* What can do nothing now is not offered. */
static uint64_t actions_off(const struct chat *chat) {
    const struct said *last = conversation_last(&chat->conversation);
    bool nothing = chat_busy(chat) || !last || last->by == SAID_BY_SYSTEM || chat->state != CHAT_IDLE;
    uint64_t off = 0;
    if (!last) off |= UI_OFF(UI_ACTION_INSPECT);
    if (!chat->conversation.root || !chat->conversation.root->n_children) off |= UI_OFF(UI_ACTION_BRANCHES);
    if (nothing) off |= UI_OFF(UI_ACTION_CONTINUE) | UI_OFF(UI_ACTION_REGENERATE);
    if (chat_busy(chat) || !last) off |= UI_OFF(UI_ACTION_NEW);
    if (chat_busy(chat))
        off |= UI_OFF(UI_ACTION_TAKE) | UI_OFF(UI_ACTION_STEP) | UI_OFF(UI_ACTION_REROLL) |
               UI_OFF(UI_ACTION_EDIT);
    if (chat_busy(chat) || !chat->conversation.past.n) off |= UI_OFF(UI_ACTION_UNDO);
    if (!chat->wants_fold) off |= UI_OFF(UI_ACTION_FOLD);
    return off;
}

void view_fill(struct view *view, const struct chat *chat, struct inspect *inspect, const char *file) {
    fill_status(view, chat, file);
    fill_messages(view, chat, inspect);
    view->model.shown = NULL;
    if (chat->info && inspect->on)
        show_inspected(view, chat, inspect);
    else if (chat->info)
        show_newest(view, chat);
    view->model.inspect = inspect_view(inspect);
    view->model.compare = view_compare(view, chat, inspect);
    view->model.off = actions_off(chat);
    view->model.editing = chat->editing != NULL;
    view->model.hint = chat->editing ? "Enter makes a branch with what you type here, Esc leaves it"
                       : chat->waiting.len && chat->state == CHAT_LOADING
                           ? "your question is sent when the model is there"
                           : "ask something, /help lists commands";
}

void view_free(struct view *view) {
    free(view->messages);
    for (int i = 0; i < 2; i++) {
        free(view->ways[i]);
        buf_free(&view->titles[i]);
    }
    buf_free(&view->name);
    buf_free(&view->chain);
}
