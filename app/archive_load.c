/* A kept chat becomes the one that is shown. */
#include "app/archive.h"

#include "app/record_json.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---- */

/* Text of any bytes: as a string where it is UTF-8, else as an array of bytes. */
static json_t *text_json(const struct buf *text) {
    json_t *string = json_stringn(text->data ? text->data : "", text->len);
    return string ? string : json_byte_array(text->data, text->len);
}

static void text_from_json(const json_t *value, struct buf *text) {
    size_t i;
    json_t *byte;
    buf_append(text, json_string_value(value), json_string_length(value));
    json_array_foreach(value, i, byte) buf_putc(text, (char)json_integer_value(byte));
}

char *archive_settings(const struct chat *chat) {
    json_t *all = json_object(), *settings = json_object();
    for (const struct setting *s = setting_table; s->name; s++) {
        struct buf value = {0};
        field_print(&s->field, &chat->settings, &value);
        json_object_set_new(settings, s->name, json_string(value.data ? value.data : ""));
        buf_free(&value);
    }
    json_object_set_new(all, "settings", settings);
    json_object_set_new(all, "attempt", json_integer(chat->settings.sampling.attempt));
    json_object_set_new(all, "system", text_json(&chat->system));
    if (chat->variables.len) json_object_set_new(all, "template", json_loads(chat->variables.data, 0, NULL));
    json_object_set_new(all, "fold", json_boolean(chat->fold));
    char *text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return text ? text : xstrdup("{}");
}

static bool is_given(const struct options *given, const char *name) {
    return given && given->given & option_given_bit(name);
}

/* What this version does not know, or finds wrong, stays as it is. */
static void read_settings(struct chat *chat, const char *json, const struct options *given) {
    json_t *all = json_loads(json, 0, NULL), *value;
    const char *name;
    json_object_foreach(json_object_get(all, "settings"), name, value) {
        const char *text = json_string_value(value);
        if (text && !is_given(given, name)) setting_set(&chat->settings, name, text, NULL);
    }
    chat->settings.sampling.attempt = (uint32_t)json_integer_value(json_object_get(all, "attempt"));
    if (!is_given(given, "system")) {
        buf_clear(&chat->system);
        text_from_json(json_object_get(all, "system"), &chat->system);
    }
    const json_t *variables = json_object_get(all, "template");
    if (!is_given(given, "template-var")) {
        char *text = json_is_object(variables) ? json_dumps(variables, JSON_COMPACT) : NULL;
        buf_clear(&chat->variables);
        if (text) buf_puts(&chat->variables, text);
        free(text);
    }
    if (!is_given(given, "fold-system")) chat->fold = json_is_true(json_object_get(all, "fold"));
    json_decref(all);
}

int archive_wanted(const struct archive *archive, const struct options *options, enum archive_wish *wish,
                   int64_t *id, struct err *err) {
    bool newest = options->resume_newest || (options->resume && strcmp(options->resume, "last") == 0);
    *wish = ARCHIVE_NEW;
    if (!newest && !options->resume) return STATUS_OK;
    if (!archive_store(archive->chat, err)) return STATUS_UNSUPPORTED;
    char *end = NULL;
    *id = newest ? STORE_NEWEST : strtoll(options->resume, &end, 10);
    if (end && *options->resume && (*end || *id <= 0))
        return err_set(err, STATUS_USAGE, "--resume: found \"%s\", expected the number of a chat, or last",
                       options->resume);
    *wish = newest || *options->resume ? ARCHIVE_CHAT : ARCHIVE_LIST;
    return STATUS_OK;
}

/* ---- messages ---- */

static void load_tokens(struct said *said, const struct store_message *message) {
    uint32_t begin = 0;
    for (size_t i = 0; i < message->n_tokens; i++) {
        const struct store_token *from = &message->tokens[i];
        uint32_t n_top = from->n_top <= CANDIDATES_MAX + 1 ? from->n_top : CANDIDATES_MAX + 1;
        struct kept_token token = {.id = from->id,
                                   .position = from->position,
                                   .rank = from->rank,
                                   .n_top = n_top,
                                   .ms = from->ms,
                                   .logit = from->logit,
                                   .prob = from->prob,
                                   .log_sum_exp = from->log_sum_exp,
                                   .entropy = from->entropy,
                                   .end = from->ended,
                                   .picked = from->picked,
                                   .top = from->top};
        said_append_kept(said, &token, message->text + begin, from->end - begin);
        begin = from->end;
    }
    buf_append(&said->text, message->text + begin, message->len - begin);
}

static struct said *load_message(struct conversation *conversation, struct said *parent,
                                 const struct store_message *message) {
    static const enum said_by by[] = {[STORE_SYSTEM] = SAID_BY_SYSTEM,
                                      [STORE_USER] = SAID_BY_USER,
                                      [STORE_MODEL] = SAID_BY_MODEL,
                                      [STORE_NOTE] = SAID_BY_PROGRAM};
    struct said *said = conversation_put(conversation, parent, by[message->role], NULL, 0);
    load_tokens(said, message);
    said->born = message->born;
    said->dropped = message->dropped;
    said->kept = said->text.len + 1;
    said->vocabulary = message->vocabulary;
    if (message->note) buf_puts(&said->note, message->note);
    if (!message->note && said->by == SAID_BY_MODEL) buf_puts(&said->note, "[interrupted, /continue]");
    parent->recent = said;
    return said;
}

static void load_messages(struct conversation *conversation, struct store_conversation *kept) {
    struct said *root = conversation_root(conversation), *leaf = root;
    struct said **nodes = xcalloc(kept->n + 1, sizeof *nodes);
    for (size_t i = 0; i < kept->n; i++) {
        struct store_message *message = &kept->messages[i];
        nodes[i] = load_message(conversation, message->parent ? nodes[message->parent - 1] : root, message);
        said_thinking(nodes[i]); /* looked for here, so that the screen need not */
        if (message->number == kept->leaf) leaf = nodes[i];
        free((void *)message->tokens);
        message->tokens = NULL;
    }
    conversation_go(conversation, leaf);
    free(nodes);
}

int kept_chat_load(struct store *store, int64_t id, struct kept_chat *out, struct err *err) {
    *out = (struct kept_chat){0};
    int status = store_load(store, id, &out->kept, err);
    if (status == STATUS_OK) load_messages(&out->conversation, &out->kept);
    return status;
}

void kept_chat_free(struct kept_chat *chat) {
    store_conversation_free(&chat->kept);
    conversation_clear(&chat->conversation);
}

static void tell(const struct archive *archive, const struct store_conversation *kept, struct buf *line) {
    const struct chat *chat = archive->chat;
    buf_printf(line, "chat %lld, %zu message%s; ", (long long)kept->id, kept->n, kept->n == 1 ? "" : "s");
    size_t said = chat_uncached(chat), shown = chat_context_used(chat); /* with what the template wrote */
    if (said)
        buf_printf(line, "about %zu tokens are read again with the next question",
                   shown > said ? shown : said);
    else
        buf_puts(line, "it is read again with the next question");
    const char *model = chat->info ? chat->info->model_name : NULL;
    if (model && *kept->facts.model && strcmp(model, kept->facts.model))
        buf_printf(line, " (it was %s that answered)", kept->facts.model);
}

/* Under the ids that its messages go by from now on. */
static store_handle resume(struct archive *archive, const struct store_conversation *kept) {
    const struct said_stack *all = &archive->chat->conversation.all; /* the root is not kept */
    uint64_t *ids = xcalloc(kept->n + 1, sizeof *ids);
    for (size_t i = 0; i < kept->n; i++) ids[i] = all->at[i + 1]->id;
    store_handle handle = store_resume(archive->store, kept, ids);
    free(ids);
    return handle;
}

int archive_take(struct archive *archive, struct kept_chat *taken, const struct options *given,
                 struct buf *line, struct buf *draft, struct err *err) {
    struct chat *chat = archive->chat;
    const struct store_conversation *kept = &taken->kept;
    if (!archive_store(chat, err)) return STATUS_UNSUPPORTED;
    int status = chat_new(chat, err);
    if (status < 0) return status;
    read_settings(chat, kept->facts.settings, given);
    conversation_take(&chat->conversation, &taken->conversation);
    conversation_system(&chat->conversation, chat->system.data, chat->system.len);
    archive->conversation = resume(archive, kept);
    buf_clear(&archive->title);
    buf_puts(&archive->title, kept->facts.title);
    archive->named = kept->facts.named;
    chat->began = kept->facts.began;
    chat->told_conversation = true;
    chat->told_leaf = conversation_leaf(&chat->conversation);
    chat->last_said = chat->conversation.last_id;
    if (kept->draft) buf_puts(draft, kept->draft);
    archive->draft_of = archive->conversation;
    buf_clear(&archive->draft);
    buf_append(&archive->draft, draft->data, draft->len);
    tell(archive, kept, line);
    return STATUS_OK;
}

int archive_resume(struct archive *archive, int64_t id, const struct options *given, struct buf *line,
                   struct buf *draft, struct err *err) {
    struct kept_chat kept;
    struct store *store = archive_store(archive->chat, err);
    if (!store) return STATUS_UNSUPPORTED;
    int status = kept_chat_load(store, id, &kept, err);
    if (status == STATUS_OK) status = archive_take(archive, &kept, given, line, draft, err);
    kept_chat_free(&kept);
    return status;
}
