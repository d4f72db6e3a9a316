#include "app/archive.h"

#include "app/paths.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- from the chat's structs to the store's ---- */

static struct store_token *tokens_of(const struct said *said, size_t first) {
    struct store_token *tokens = xcalloc(said->n_tokens - first + 1, sizeof *tokens);
    for (size_t i = first; i < said->n_tokens; i++) {
        const struct kept_token *from = &said->tokens[i];
        tokens[i - first] = (struct store_token){.id = from->id,
                                                 .position = from->position,
                                                 .rank = from->rank,
                                                 .end = said->shown[i].end,
                                                 .ms = from->ms,
                                                 .logit = from->logit,
                                                 .prob = from->prob,
                                                 .log_sum_exp = from->log_sum_exp,
                                                 .entropy = from->entropy,
                                                 .ended = from->end,
                                                 .picked = from->picked,
                                                 .n_top = from->n_top,
                                                 .top = from->top};
    }
    return tokens;
}

static struct store_message message_of(const struct said *said) {
    static const enum store_role roles[] = {[SAID_BY_SYSTEM] = STORE_SYSTEM,
                                            [SAID_BY_USER] = STORE_USER,
                                            [SAID_BY_MODEL] = STORE_MODEL,
                                            [SAID_BY_PROGRAM] = STORE_NOTE};
    bool first = !said->parent || !said->parent->parent; /* the root is kept with the settings */
    return (struct store_message){.number = said->id,
                                  .parent = first ? 0 : said->parent->id,
                                  .role = roles[said->by],
                                  .born = said->born,
                                  .dropped = said->dropped,
                                  .text = said->text.data,
                                  .len = said->text.len,
                                  .note = said->note.data ? said->note.data : "",
                                  .vocabulary = said->n_ids ? said->vocabulary : 0};
}

static struct store_facts facts_of(const struct archive *archive, const char *settings) {
    const struct chat *chat = archive->chat;
    return (struct store_facts){.title = archive->title.data,
                                .named = archive->named,
                                .model = chat->info ? chat->info->model_name : "",
                                .settings = settings,
                                .began = chat->began};
}

/* The first words that were said: a line, as long as a list shows. */
static void make_title(struct buf *title, const struct said *said) {
    enum { TITLE_MAX = 200 };
    size_t skip = 0;
    while (skip < said->text.len && strchr(" \t\r\n", said->text.data[skip])) skip++;
    const char *text = said->text.data + skip;
    const char *end = memchr(text, '\n', said->text.len - skip);
    size_t len = end ? (size_t)(end - text) : said->text.len - skip;
    if (len > TITLE_MAX) len = TITLE_MAX;
    while (len && len < said->text.len - skip && ((unsigned char)text[len] & 0xC0) == 0x80) len--;
    buf_append(title, text, len);
}

/* ---- what the chat tells ---- */

static void change(struct archive *archive) {
    char *settings = archive_settings(archive->chat);
    struct store_facts facts = facts_of(archive, settings);
    store_change(archive->store, archive->conversation, &facts);
    free(settings);
}

static void begin(struct archive *archive) {
    char *settings = archive_settings(archive->chat);
    struct store_facts facts = facts_of(archive, settings);
    archive->conversation = store_begin(archive->store, &facts);
    free(settings);
}

static void put(struct archive *archive, struct said *said) {
    if (!said->parent) return;
    struct store_message message = message_of(said);
    struct store_token *tokens = tokens_of(said, 0);
    message.tokens = tokens;
    message.n_tokens = said->n_tokens;
    if (said->open) message.note = NULL;
    if (said->by == SAID_BY_MODEL && archive->chat->info) message.model = archive->chat->info->model_name;
    if (said->open) message.vocabulary = said->vocabulary; /* of the ids that will come */
    store_add(archive->store, archive->conversation, &message);
    if (!said->open) store_end(archive->store, &message);
    said->kept = said->text.len + 1;
    free(tokens);
}

static void conversation_begun(void *ctx, const struct chat *chat) {
    struct archive *archive = ctx;
    (void)chat;
    buf_clear(&archive->title);
    archive->named = false;
    begin(archive);
}

static void said_added(void *ctx, const struct chat *chat, struct said *said) {
    struct archive *archive = ctx;
    (void)chat;
    if (said->by == SAID_BY_USER && !archive->title.len) {
        make_title(&archive->title, said);
        change(archive);
    }
    put(archive, said);
}

/* `kept` counts the bytes that the store has, and one. */
static void tokens_appended(void *ctx, const struct chat *chat, struct said *said, size_t first) {
    struct archive *archive = ctx;
    (void)chat;
    if (!said->kept) return;
    struct store_token *tokens = tokens_of(said, first);
    size_t begin = said->kept - 1;
    store_append(archive->store, said->id, said->text.data + begin, said->text.len - begin, first, tokens,
                 said->n_tokens - first);
    said->kept = said->text.len + 1;
    free(tokens);
}

static void said_closed(void *ctx, const struct chat *chat, struct said *said) {
    struct archive *archive = ctx;
    (void)chat;
    if (!said->kept) return;
    struct store_message message = message_of(said);
    store_end(archive->store, &message);
}

static void said_removed(void *ctx, const struct chat *chat, struct said *said) {
    struct archive *archive = ctx;
    (void)chat;
    if (said->kept) store_remove(archive->store, said->id);
    /* The first question goes back into the box: the one that will be asked gives the title. */
    if (said->by == SAID_BY_USER && !said->parent->parent && said->parent->n_children == 1 && !archive->named)
        buf_clear(&archive->title);
}

static void leaf_changed(void *ctx, const struct chat *chat, struct said *leaf) {
    struct archive *archive = ctx;
    (void)chat;
    store_leaf(archive->store, archive->conversation, leaf->parent ? leaf->id : 0);
}

static void settings_changed(void *ctx, const struct chat *chat) {
    struct archive *archive = ctx;
    if (chat->told_conversation) change(archive);
}

/* ---- opening and closing ---- */

static void keep_nothing(struct archive *archive) {
    archive->chat->keeper = NULL;
    if (!archive->off.code) return;
    archive->notice = archive->off;
    err_prefix(&archive->notice, "this chat is not kept");
}

void archive_open(struct archive *archive, struct chat *chat, const struct options *options) {
    *archive = (struct archive){.chat = chat, .incognito = options->incognito};
    archive->keeper = (struct chat_keeper){archive,     conversation_begun, said_added,   tokens_appended,
                                           said_closed, said_removed,       leaf_changed, settings_changed};
    if (!archive->incognito) {
        char *path = path_data("chats.db", &archive->off);
        if (path) store_open(&archive->store, path, &archive->off);
        free(path);
    }
    archive->epoch = 1;
    chat->incognito = archive->incognito;
    chat->keeper = &archive->keeper;
    if (!archive->store) keep_nothing(archive);
}

void archive_wait(struct archive *archive) {
    if (!archive->store || store_wait(archive->store, NULL) == STATUS_OK) return;
    archive_pump(archive);
}

int archive_close(struct archive *archive, struct err *err) {
    struct chat *chat = archive->chat;
    if (archive->store && chat->answer && chat->answer->kept) { /* left in the middle */
        struct store_message message = message_of(chat->answer);
        message.note = "[interrupted, /continue]";
        store_end(archive->store, &message);
    }
    int status = store_close(archive->store, err);
    if (chat->keeper == &archive->keeper) chat->keeper = NULL;
    buf_free(&archive->title);
    buf_free(&archive->draft);
    *archive = (struct archive){0};
    return status;
}

/* The database was replaced, or somebody else deleted this chat: all that is in memory goes in anew. */
static void put_all(struct archive *archive) {
    struct conversation *conversation = &archive->chat->conversation;
    archive->conversation = 0;
    archive->draft_of = 0;
    buf_clear(&archive->draft);
    if (!archive->chat->told_conversation) return;
    begin(archive);
    for (size_t i = 0; i < conversation->all.n; i++) put(archive, conversation->all.at[i]);
    leaf_changed(archive, archive->chat, conversation_leaf(conversation));
}

int archive_wake_fd(const struct archive *archive) {
    return archive->store && !archive->off.code ? store_wake_fd(archive->store) : -1;
}

bool archive_pump(struct archive *archive) {
    struct store_look look;
    if (!archive->store || archive->off.code) return false;
    store_look(archive->store, &look);
    if (look.refused.code) {
        archive->off = look.refused;
        keep_nothing(archive);
        return true;
    }
    if (look.epoch != archive->epoch) {
        archive->epoch = look.epoch;
        put_all(archive);
    }
    bool changed = look.notice.code || look.error.code != archive->failing.code;
    if (look.notice.code) archive->notice = look.notice;
    if (look.error.code && !archive->failing.code) {
        archive->notice = look.error;
        err_prefix(&archive->notice, "not saved yet, and tried again");
    }
    archive->failing = look.error;
    return changed;
}

/* ---- telling ---- */

struct archive *archive_of(const struct chat *chat) {
    bool mine = chat->keeper && chat->keeper->said_added == said_added;
    return mine ? chat->keeper->ctx : NULL;
}

struct store *archive_store(const struct chat *chat, struct err *err) {
    struct archive *archive = archive_of(chat);
    if (archive && archive->store) return archive->store;
    err_set(err, STATUS_UNSUPPORTED, "no chats are kept: %s",
            chat->incognito ? "incognito" : "they could not be opened");
    return NULL;
}

const char *archive_mark(const struct archive *archive) {
    if (archive->incognito) return "incognito";
    if (!archive->store || archive->off.code) return "not kept";
    return archive->failing.code ? "not saved" : NULL;
}

const char *archive_title(const struct archive *archive) {
    return archive->chat->told_conversation && archive->title.len ? archive->title.data : NULL;
}

int64_t archive_id(const struct archive *archive) {
    return archive->chat->told_conversation ? store_id(archive->store, archive->conversation) : 0;
}

int archive_name(struct archive *archive, const char *title, struct err *err) {
    if (!archive->chat->told_conversation)
        return err_set(err, STATUS_USAGE, "there is nothing to name yet: nothing was said");
    buf_clear(&archive->title);
    buf_puts(&archive->title, title);
    archive->named = true;
    change(archive);
    return STATUS_OK;
}

void archive_draft(struct archive *archive, const char *text, size_t len) {
    if (!archive->store || archive->off.code) return;
    store_handle of = archive->chat->told_conversation ? archive->conversation : 0;
    struct buf *draft = &archive->draft;
    if (of == archive->draft_of && draft->len == len && (!len || memcmp(draft->data, text, len) == 0)) return;
    if (of != archive->draft_of && draft->len) store_draft(archive->store, archive->draft_of, "", 0);
    if (len || (of == archive->draft_of && draft->len)) store_draft(archive->store, of, text, len);
    archive->draft_of = of;
    buf_clear(draft);
    buf_append(draft, text, len);
}
