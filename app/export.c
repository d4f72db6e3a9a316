#include "app/export_internal.h"

#include "app/archive.h"
#include "app/paths.h"
#include "app/signals.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/thread.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct export {
    struct export_copy copy;
    struct new_file file;
    char *shown; /* its name */
    pthread_t thread;
    int wake_fd;
    int64_t began;
    atomic_bool stop;
    int status; /* the thread's, and */
    struct err err;
};

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

const char *export_format_name(enum export_format format) {
    return names[format];
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

/* ---- the copy ---- */

/* The root is a message only where there is a system text. */
static bool is_message(const struct said *said) {
    return said && (said->parent || said->text.len);
}

static void copy_tokens(struct export_message *message, const struct said *said, bool candidates) {
    size_t n_top = 0;
    message->n_tokens = said->n_tokens;
    if (!said->n_tokens) return;
    message->tokens = xmalloc(said->n_tokens * sizeof *message->tokens);
    message->ends = xmalloc(said->n_tokens * sizeof *message->ends);
    memcpy(message->tokens, said->tokens, said->n_tokens * sizeof *message->tokens);
    for (size_t i = 0; i < said->n_tokens; i++) {
        message->ends[i] = said->shown[i].end;
        if (!candidates) message->tokens[i].n_top = 0;
        n_top += message->tokens[i].n_top;
    }
    kept_candidate *to = message->candidates = xmalloc((n_top + 1) * sizeof *to);
    for (size_t i = 0; i < said->n_tokens; i++) {
        struct kept_token *token = &message->tokens[i];
        if (token->n_top) memcpy(to, token->top, token->n_top * sizeof *to);
        token->top = to;
        to += token->n_top;
    }
}

static void copy_message(struct export_copy *copy, const struct chat *chat, const struct said *said) {
    struct export_message *message = &copy->messages[copy->n++];
    bool with_tokens = copy->format != EXPORT_MD;
    *message = (struct export_message){.id = said->id,
                                       .parent = is_message(said->parent) ? said->parent->id : 0,
                                       .born = said->born,
                                       .by = said->by,
                                       .dropped = said->dropped};
    buf_append(&message->text, said->text.data, said->text.len);
    buf_append(&message->note, said->note.data, said->note.len);
    /* Candidates of another vocabulary than the model's have no text that could be told. */
    if (with_tokens) copy_tokens(message, said, conversation_knows_ids(&chat->conversation, said));
}

static void copy_texts(struct export_texts *texts, const struct chat *chat) {
    struct engine *engine = chat->engine;
    texts->n = chat->info->n_vocab;
    texts->ends = xmalloc((texts->n + 1) * sizeof *texts->ends);
    for (uint32_t id = 0; id < texts->n; id++) {
        size_t len;
        const char *text = engine->ops->token_text(engine, (int32_t)id, &len);
        buf_append(&texts->bytes, text, len);
        texts->ends[id] = texts->bytes.len;
    }
}

static void copy_chat(struct export_copy *copy, const struct chat *chat, const char *title) {
    const struct conversation *conversation = &chat->conversation;
    bool all = copy->format == EXPORT_JSON;
    size_t n = all ? conversation->all.n : conversation->n;
    copy->title = title ? xstrdup(title) : NULL;
    copy->seed = chat->settings.sampling.seed;
    copy->leaf = conversation->messages[conversation->n - 1]->id;
    if (chat->info) {
        buf_puts(&copy->model, chat->info->model_name);
        chat_model_title(chat, &copy->model_title);
        if (copy->format != EXPORT_MD) copy_texts(&copy->texts, chat);
    }
    copy->messages = xcalloc(n, sizeof *copy->messages);
    for (size_t i = 0; i < n; i++) {
        const struct said *said = all ? conversation->all.at[i] : conversation->messages[i];
        if (is_message(said)) copy_message(copy, chat, said);
    }
}

static void copy_free(struct export_copy *copy) {
    for (size_t i = 0; i < copy->n; i++) {
        struct export_message *message = &copy->messages[i];
        buf_free(&message->text);
        buf_free(&message->note);
        free(message->tokens);
        free(message->ends);
        free(message->candidates);
    }
    free(copy->messages);
    free(copy->title);
    buf_free(&copy->model);
    buf_free(&copy->model_title);
    buf_free(&copy->texts.bytes);
    free(copy->texts.ends);
}

/* ---- the thread ---- */

static void *run(void *context) {
    struct export *export = context;
    export->status = export_write(&export->copy, &export->file, &export->stop, &export->err);
    if (export->status == STATUS_OK)
        export->status = new_file_finish(&export->file, &export->err);
    else
        new_file_give_up(&export->file);
    fd_wake(export->wake_fd);
    return NULL;
}

static void export_free(struct export *export) {
    if (export->wake_fd >= 0) close(export->wake_fd);
    copy_free(&export->copy);
    free(export->shown);
    free(export);
}

int export_begin(struct export **out, const struct chat *chat, enum export_format format, const char *path,
                 struct err *err) {
    *out = NULL;
    if (!chat->conversation.n)
        return err_set(err, STATUS_USAGE, "there is nothing to export: nothing was said");
    const struct archive *archive = archive_of(chat);
    const char *title = archive ? archive_title(archive) : NULL;
    char *name = path ? path_expand(path) : export_file_name(title, format);
    struct export *export = xcalloc(1, sizeof *export);
    export->began = clock_ns();
    export->copy.format = format;
    export->shown = path_shown(name);
    export->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int number = export->wake_fd < 0 ? errno : 0;
    int status = number ? STATUS_OK : new_file_begin(&export->file, name, 0600, err);
    if (status == STATUS_OK && !number) {
        copy_chat(&export->copy, chat, title);
        number = thread_start(&export->thread, run, export);
        if (number) new_file_give_up(&export->file);
    }
    if (number) status = err_set(err, STATUS_FAILED, "%s: no thread to write it: %s", name, strerror(number));
    free(name);
    if (status == STATUS_OK)
        *out = export;
    else
        export_free(export);
    return status;
}

/* ---- the owner's side ---- */

const char *export_path(const struct export *export) {
    return export->shown;
}

int export_wake_fd(const struct export *export) {
    return export ? export->wake_fd : -1;
}

int64_t export_began(const struct export *export) {
    return export->began;
}

void export_wait(struct export *export) {
    struct pollfd fds[] = {{.fd = export->wake_fd, .events = POLLIN}, {.fd = signals_fd(), .events = POLLIN}};
    while (!fds[0].revents) {
        if (poll(fds, 2, -1) < 0) fds[0].revents = fds[1].revents = 0;
        if (!fds[1].revents) continue;
        atomic_store(&export->stop, true);
        signals_next();
    }
}

int export_end(struct export *export, struct err *err) {
    if (!export) return STATUS_OK;
    pthread_join(export->thread, NULL);
    int status = export->status;
    if (status < 0) *err = export->err;
    export_free(export);
    return status;
}
