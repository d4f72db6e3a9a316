#include "app/export.h"

#include "app/new_file.h"
#include "app/record_json.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[EXPORT_FORMAT_COUNT] = {
    [EXPORT_MD] = "md", [EXPORT_JSON] = "json", [EXPORT_JSONL] = "jsonl"};

int export_format_find(const char *name, size_t len, enum export_format *format, struct err *err) {
    for (int i = 0; i < EXPORT_FORMAT_COUNT; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            *format = (enum export_format)i;
            return STATUS_OK;
        }
    return err_set(err, STATUS_USAGE, "/export: found \"%.*s\", expected md, json or jsonl, and a file name",
                   (int)(len < 40 ? len : 40), name);
}

char *export_file_name(const char *title, enum export_format format) {
    enum { STEM_MAX = 48 };
    struct buf stem = {0}, name = {0};
    size_t len = title ? strlen(title) : 0, used;
    for (size_t at = 0; at < len && stem.len < STEM_MAX; at += used) {
        struct text_piece piece;
        unsigned char c = (unsigned char)title[at];
        used = text_next(title + at, len - at, false, 0, &piece);
        bool more_than_ascii = used > 1 && piece.kind == TEXT_KIND_WORD && (c >= 0x80 || isalnum(c));
        if (more_than_ascii && stem.len + piece.n_out <= STEM_MAX)
            buf_append(&stem, piece.out, piece.n_out); /* as it is shown: nothing that deceives */
        else if (isalnum(c))
            buf_putc(&stem, (char)tolower(c));
        else if (stem.len && stem.data[stem.len - 1] != '-')
            buf_putc(&stem, '-');
    }
    while (stem.len && stem.data[stem.len - 1] == '-') stem.data[--stem.len] = '\0';
    if (!stem.len) buf_puts(&stem, "chat");
    buf_printf(&name, "%s.%s", stem.data, names[format]);
    for (int i = 2; access(name.data, F_OK) == 0 && i < 10000; i++) {
        buf_clear(&name);
        buf_printf(&name, "%s-%d.%s", stem.data, i, names[format]);
    }
    buf_free(&stem);
    return buf_take(&name);
}

/* ---- as Markdown ---- */

static void print_markdown(const struct chat *chat, const char *title, struct buf *out) {
    static const char *const heads[] = {[SAID_BY_SYSTEM] = "System",
                                        [SAID_BY_USER] = "You",
                                        [SAID_BY_MODEL] = "Model",
                                        [SAID_BY_PROGRAM] = NULL};
    buf_printf(out, "# %s\n", title ? title : "A chat");
    if (chat->info) {
        buf_puts(out, "\n*");
        chat_model_title(chat, out);
        buf_puts(out, "*\n");
    }
    for (size_t i = 0; i < chat->conversation.n; i++) {
        const struct said *said = chat->conversation.messages[i];
        if (!heads[said->by]) continue;
        buf_printf(out, "\n## %s\n\n", heads[said->by]);
        buf_append(out, said->text.data, said->text.len);
        if (!said->text.len || said->text.data[said->text.len - 1] != '\n') buf_putc(out, '\n');
    }
}

/* ---- as JSON ---- */

static struct token_record record_of(const struct said *said, size_t i) {
    const struct kept_token *token = &said->tokens[i];
    struct token_record record = {.index = (uint32_t)i, .end = token->end, .ms = token->ms};
    record.result = (struct step_result){.position = token->position,
                                         .id = token->id,
                                         .logit = token->logit,
                                         .prob = token->prob,
                                         .log_sum_exp = token->log_sum_exp,
                                         .entropy = token->entropy,
                                         .rank = token->rank};
    return record;
}

/* As --jsonl writes it. Candidates of another vocabulary than the model's have no text that could be told. */
static json_t *token_json(const struct chat *chat, const struct said *said, size_t i) {
    static struct token_record record; /* too large for the stack to be pleasant */
    const struct kept_token *token = &said->tokens[i];
    record = record_of(said, i);
    if (conversation_knows_ids(&chat->conversation, said))
        for (; record.result.n_top < token->n_top && record.result.n_top <= CANDIDATES_MAX;
             record.result.n_top++)
            record.result.top[record.result.n_top] = kept_token_candidate(token, record.result.n_top);
    json_t *object = record_json(chat->engine, &record);
    size_t begin = said_token_begin(said, i),
           len = said->shown[i].end - begin; /* what was said, whatever the model is now */
    json_object_set_new(object, "text", json_lossy(said->text.data + begin, len));
    json_object_set_new(object, "bytes", json_byte_array(said->text.data + begin, len));
    if (token->picked) json_object_set_new(object, "picked", json_true());
    return object;
}

static const char *role_name(const struct said *said) {
    static const char *const roles[] = {[SAID_BY_SYSTEM] = "system",
                                        [SAID_BY_USER] = "user",
                                        [SAID_BY_MODEL] = "assistant",
                                        [SAID_BY_PROGRAM] = "note"};
    return roles[said->by];
}

/* The root is a message only where there is a system text. */
static bool is_message(const struct said *said) {
    return said && (said->parent || said->text.len);
}

static json_t *message_json(const struct said *said) {
    json_t *object = json_object();
    json_object_set_new(object, "id", json_integer((json_int_t)said->id));
    json_object_set_new(object, "parent",
                        is_message(said->parent) ? json_integer((json_int_t)said->parent->id) : json_null());
    json_object_set_new(object, "role", json_string(role_name(said)));
    json_object_set_new(object, "born", json_integer(said->born));
    json_t *text = json_stringn(said->text.data ? said->text.data : "", said->text.len);
    if (!text) { /* no UTF-8 */
        text = json_lossy(said->text.data, said->text.len);
        json_object_set_new(object, "bytes", json_byte_array(said->text.data, said->text.len));
    }
    json_object_set_new(object, "text", text);
    if (said->dropped) json_object_set_new(object, "dropped", json_true());
    if (said->note.len) json_object_set_new(object, "note", json_lossy(said->note.data, said->note.len));
    return object;
}

static void print_json(const struct chat *chat, const char *title, struct buf *out) {
    const struct conversation *conversation = &chat->conversation;
    json_t *all = json_object(), *messages = json_array();
    json_object_set_new(all, "title", title ? json_lossy(title, strlen(title)) : json_null());
    json_object_set_new(all, "model", chat->info ? json_string(chat->info->model_name) : json_null());
    json_object_set_new(all, "seed", json_integer((json_int_t)chat->settings.sampling.seed));
    json_object_set_new(all, "leaf",
                        conversation->n
                            ? json_integer((json_int_t)conversation->messages[conversation->n - 1]->id)
                            : json_null());
    for (size_t i = 0; i < conversation->all.n; i++) {
        const struct said *said = conversation->all.at[i];
        if (!is_message(said)) continue;
        json_t *message = message_json(said), *tokens = json_array();
        for (size_t t = 0; t < said->n_tokens; t++) json_array_append_new(tokens, token_json(chat, said, t));
        if (said->n_tokens) json_object_set(message, "tokens", tokens);
        json_decref(tokens);
        json_array_append_new(messages, message);
    }
    json_object_set_new(all, "messages", messages);
    char *text = json_line(all, false);
    buf_puts(out, text);
    free(text);
    json_decref(all);
}

static void print_line(json_t *value, struct buf *out) {
    char *text = json_line(value, false);
    buf_puts(out, text);
    free(text);
    json_decref(value);
}

static void print_jsonl(const struct chat *chat, struct buf *out) {
    for (size_t i = 0; i < chat->conversation.n; i++) {
        const struct said *said = chat->conversation.messages[i];
        json_t *line = json_object();
        json_object_set_new(line, "message", message_json(said));
        print_line(line, out);
        for (size_t t = 0; t < said->n_tokens; t++) print_line(token_json(chat, said, t), out);
    }
}

int export_chat(const struct chat *chat, const char *title, enum export_format format, const char *path,
                struct err *err) {
    struct buf text = {0};
    if (!chat->conversation.n)
        return err_set(err, STATUS_USAGE, "there is nothing to export: nothing was said");
    switch (format) {
    case EXPORT_MD: print_markdown(chat, title, &text); break;
    case EXPORT_JSON: print_json(chat, title, &text); break;
    default: print_jsonl(chat, &text); break;
    }
    int status = new_file_write(path, 0600, &text, err);
    buf_free(&text);
    return status;
}
