#include "app/conversation.h"

#include "app/record_json.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct said *conversation_add(struct conversation *conversation, enum said_by by, const char *text,
                              size_t len) {
    struct said *said = xcalloc(1, sizeof *said);
    said->id = ++conversation->last_id;
    said->by = by;
    buf_append(&said->text, text, len);
    grow_array(&conversation->messages, &conversation->cap, conversation->n + 1,
               sizeof *conversation->messages);
    conversation->messages[conversation->n++] = said;
    return said;
}

static void said_free(struct said *said) {
    buf_free(&said->text);
    buf_free(&said->note);
    free(said->ids);
    free(said->tokens);
    free(said->shown);
    arena_free(&said->arena);
    free(said);
}

void conversation_remove_last(struct conversation *conversation) {
    if (conversation->n) said_free(conversation->messages[--conversation->n]);
}

void conversation_clear(struct conversation *conversation) {
    while (conversation->n) conversation_remove_last(conversation);
    free(conversation->messages);
    conversation->messages = NULL;
    conversation->cap = 0;
}

static bool is_sent(const struct said *said) {
    return said->by != SAID_BY_PROGRAM && !said->dropped;
}

struct said *conversation_last(const struct conversation *conversation) {
    for (size_t i = conversation->n; i > 0; i--)
        if (is_sent(conversation->messages[i - 1])) return conversation->messages[i - 1];
    return NULL;
}

void conversation_system(struct conversation *conversation, const char *text, size_t len) {
    if (conversation->n && conversation->messages[0]->by == SAID_BY_SYSTEM) {
        said_free(conversation->messages[0]);
        conversation->n--;
        memmove(conversation->messages, conversation->messages + 1,
                conversation->n * sizeof *conversation->messages);
    }
    if (!len) return;
    struct said *said = conversation_add(conversation, SAID_BY_SYSTEM, text, len);
    memmove(conversation->messages + 1, conversation->messages,
            (conversation->n - 1) * sizeof *conversation->messages);
    conversation->messages[0] = said;
}

void said_append(struct said *said, struct engine *engine, const struct token_record *record) {
    const struct step_result *result = &record->result;
    if (!record->end) {
        size_t len;
        const char *text = record_text(engine, record, &len);
        buf_append(&said->text, text, len);
        grow_array(&said->ids, &said->cap_ids, said->n_ids + 1, sizeof *said->ids);
        said->ids[said->n_ids++] = result->id;
    }
    grow_array(&said->tokens, &said->cap_tokens, said->n_tokens + 1, sizeof *said->tokens);
    grow_array(&said->shown, &said->cap_shown, said->n_tokens + 1, sizeof *said->shown);
    uint32_t n_top = result->n_top <= CANDIDATES_MAX + 1 ? result->n_top : CANDIDATES_MAX + 1;
    struct candidate *top = arena_alloc(&said->arena, n_top * sizeof *top);
    memcpy(top, result->top, n_top * sizeof *top);
    said->tokens[said->n_tokens] = (struct kept_token){.id = result->id,
                                                       .position = result->position,
                                                       .rank = result->rank,
                                                       .n_top = n_top,
                                                       .ms = record->ms,
                                                       .logit = result->logit,
                                                       .prob = result->prob,
                                                       .log_sum_exp = result->log_sum_exp,
                                                       .entropy = result->entropy,
                                                       .end = record->end,
                                                       .top = top};
    said->shown[said->n_tokens] = (struct ui_token){.end = (uint32_t)said->text.len,
                                                    .prob = expf(result->logit - result->log_sum_exp),
                                                    .entropy = result->entropy,
                                                    .rank = result->rank};
    said->n_tokens++;
}

struct message *conversation_messages(const struct conversation *conversation, size_t *n) {
    static const char *const roles[] = {
        [SAID_BY_SYSTEM] = "system", [SAID_BY_USER] = "user", [SAID_BY_MODEL] = "assistant"};
    struct message *messages = xcalloc(conversation->n + 1, sizeof *messages);
    *n = 0;
    for (size_t i = 0; i < conversation->n; i++) {
        const struct said *said = conversation->messages[i];
        if (!is_sent(said)) continue;
        messages[(*n)++] = (struct message){.role = roles[said->by],
                                            .text = said->text.data ? said->text.data : "",
                                            .len = said->text.len,
                                            .ids = said->n_ids ? said->ids : NULL,
                                            .n_ids = said->n_ids};
    }
    return messages;
}

bool conversation_drop_oldest(struct conversation *conversation) {
    size_t first = 0, next;
    while (first < conversation->n &&
           (!is_sent(conversation->messages[first]) || conversation->messages[first]->by != SAID_BY_USER))
        first++;
    for (next = first + 1; next < conversation->n; next++)
        if (is_sent(conversation->messages[next]) && conversation->messages[next]->by == SAID_BY_USER) break;
    if (next >= conversation->n) return false;
    for (size_t i = first; i < next; i++) {
        struct said *said = conversation->messages[i];
        if (said->by == SAID_BY_PROGRAM) continue;
        said->dropped = true;
        buf_clear(&said->note);
        buf_puts(&said->note, "[no longer sent]");
    }
    return true;
}

void conversation_print(const struct conversation *conversation, struct buf *out) {
    static const char *const names[] = {[SAID_BY_SYSTEM] = "system",
                                        [SAID_BY_USER] = "you",
                                        [SAID_BY_MODEL] = "bot",
                                        [SAID_BY_PROGRAM] = "--"};
    for (size_t i = 0; i < conversation->n; i++) {
        const struct said *said = conversation->messages[i];
        buf_printf(out, "%s: ", names[said->by]);
        buf_append(out, said->text.data, said->text.len);
        if (!said->text.len || said->text.data[said->text.len - 1] != '\n') buf_putc(out, '\n');
        if (said->by == SAID_BY_MODEL && said->note.len) buf_printf(out, "     %s\n", said->note.data);
        buf_putc(out, '\n');
    }
}
