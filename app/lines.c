/* The line mode: a terminal that knows no screen. The terminal itself edits the line. */
#include "app/amount.h"
#include "app/archive.h"
#include "app/chat.h"
#include "app/exporting.h"
#include "app/model_choice.h"
#include "app/out.h"
#include "app/paths.h"
#include "app/plain.h"
#include "app/pull_command.h"
#include "app/signals.h"
#include "app/slash.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct lines {
    struct chat chat;
    struct archive archive;
    struct out out;
    struct buf input;  /* read and not used yet */
    uint64_t shown_id; /* message that is being written out */
    size_t shown;      /* its bytes that are out */
    bool input_over, quit;
    bool tells_done, bell; /* at the end of an answer: a word, a ring */
    int exit_code;
};

static int prompt(struct lines *lines, struct err *err) {
    return out_bytes(&lines->out, "> ", 2, err);
}

/* What is new of the answer. */
static int write_answer(struct lines *lines, struct err *err) {
    const struct said *said = conversation_last(&lines->chat.conversation);
    if (!said || said->by != SAID_BY_MODEL) return STATUS_OK;
    if (said->id != lines->shown_id) {
        lines->shown_id = said->id;
        lines->shown = 0;
    }
    int status = out_text(&lines->out, said->text.data + lines->shown, said->text.len - lines->shown, err);
    lines->shown = said->text.len;
    return status;
}

static int finish_answer(struct lines *lines, struct err *err) {
    const struct chat *chat = &lines->chat;
    int status = out_end(&lines->out, err);
    const struct said *said = conversation_last(&chat->conversation);
    if (chat->error.code)
        out_error("%s", chat->error.text);
    else if (said && said->note.len)
        out_error("%s%s", lines->tells_done ? "done: " : "", said->note.data);
    if (lines->bell) out_bytes(&lines->out, "\a", 1, NULL);
    if (chat->returned.len && !chat->wants_fold) out_error("the question was not kept; ask again");
    buf_clear(&lines->chat.returned);
    return status < 0 ? status : prompt(lines, err);
}

/* There is nowhere to show it beside the chat: the chat waits. */
static void fetch(struct lines *lines, const char *name) {
    struct err err = {0};
    char *path = NULL;
    int status = pull_check_name(name, &err);
    if (status == STATUS_OK) status = pull_wait(name, NULL, &path, &err);
    signals_forget_interrupt(); /* it was meant for this; others are for the program, and were taken by this
                                 */
    lines->quit = signals_ending() != 0;
    if (lines->quit) lines->exit_code = signals_exit_code(signals_ending());
    if (status < 0)
        out_error("%s", err.text);
    else
        out_error("%s is here: /model goes on with it", path_name(path));
    free(path);
}

/* Ctrl-C gives it up and nothing more. */
static void export(const struct lines *lines, const struct slash_result *result) {
    struct exporting exporting = {0};
    struct buf line = {0};
    struct err err = {0};
    const char *path = result->export_path.data ? result->export_path.data : "";
    if (exporting_begin(&exporting, &lines->chat, result->export_format, path, &err) == STATUS_OK)
        exporting_finish(&exporting, &line, &err);
    out_error("%s", err.code ? err.text : line.data);
    signals_forget_interrupt();
    buf_free(&line);
}

static int list_chats(struct lines *lines, const char *words, struct buf *page, struct err *err) {
    enum { SHOWN = 50 };
    struct store *store = archive_store(&lines->chat, err);
    struct arena arena = {0};
    struct store_row *rows;
    size_t n;
    if (!store) return STATUS_UNSUPPORTED;
    int status = store_list(store, words, SHOWN, &arena, &rows, &n, err);
    if (status == STATUS_OK && !n)
        out_error(*words ? "no kept chat has these words" : "nothing was kept yet");
    for (size_t i = 0; i < n; i++) {
        char when[AMOUNT_MAX];
        buf_printf(page, "%5lld  %-12s  %s\n", (long long)rows[i].id,
                   amount_moment(rows[i].changed, time(NULL), when), rows[i].title);
    }
    if (n) buf_puts(page, "/open NUMBER opens one, /open WORDS looks for words\n");
    arena_free(&arena);
    return status;
}

/* All that was said, since there is no screen to look at. */
static void write_conversation(struct lines *lines) {
    struct buf said = {0}, clean = {0};
    conversation_print(&lines->chat.conversation, &said);
    if (said.len) text_sanitize(&clean, said.data, said.len);
    if (clean.len) out_bytes(&lines->out, clean.data, clean.len, NULL);
    buf_free(&said);
    buf_free(&clean);
}

static int open_chat(struct lines *lines, int64_t id, const struct options *given, struct err *err) {
    struct buf line = {0}, draft = {0};
    int status = archive_resume(&lines->archive, id, given, &line, &draft, err);
    if (status == STATUS_OK) write_conversation(lines);
    if (line.len) out_error("%s", line.data);
    if (draft.len) out_error("not sent yet: %s", draft.data);
    buf_free(&line);
    buf_free(&draft);
    return status;
}

/* One line of the person. A failure is told and the chat goes on. */
static void take_line(struct lines *lines, const char *text, size_t len) {
    struct err wrong = {0};
    struct slash_result result = {0};
    int status = STATUS_OK;
    if (!len) {
        /* an empty line says nothing */
    } else if (slash_is(text, len)) {
        status = slash_run(&lines->chat, text, len, &result, &wrong);
    } else {
        size_t skip = len > 1 && text[0] == '/' && text[1] == '/';
        status = chat_send(&lines->chat, text + skip, len - skip, &wrong);
    }
    if (status == STATUS_OK && result.open) status = open_chat(lines, result.open_id, NULL, &wrong);
    if (status == STATUS_OK && result.list == SLASH_LIST_CHATS)
        status = list_chats(lines, result.query.data ? result.query.data : "", &result.page, &wrong);
    struct buf clean = {0};
    while (result.tokens && token_page_next(result.tokens, &result.page)) continue;
    if (result.page.len) text_sanitize(&clean, result.page.data, result.page.len);
    if (result.show == SLASH_SHOW_PLAIN)
        text_sanitize(&clean, result.text.data, result.text.len), buf_putc(&clean, '\n');
    if (status < 0) out_error("%s", wrong.text);
    if (result.show == SLASH_SHOW_COPY)
        out_error("no clipboard from here; /copy file NAME writes it to a file");
    if (result.show == SLASH_SHOW_FIND) out_error("nothing to search here: what was said is above");
    if (*result.line) out_error("%s", result.line);
    if (result.export) export(lines, &result);
    if (result.pull.len) fetch(lines, result.pull.data);
    if (result.score.len) out_error("/score needs a screen; `logitop score` does it without one");
    if (result.box.len) out_error("the next line takes the place of: %s", result.box.data);
    if (clean.len) out_bytes(&lines->out, clean.data, clean.len, NULL);
    buf_free(&clean);
    lines->quit |= result.quit;
    slash_result_free(&result);
}

/* Lines that came in; none is taken while an answer runs, so that typing ahead is kept. */
static int take_input(struct lines *lines, struct err *err) {
    while (!lines->quit && lines->chat.state != CHAT_LOADING && !chat_busy(&lines->chat)) {
        char *newline = lines->input.len ? memchr(lines->input.data, '\n', lines->input.len) : NULL;
        if (!newline) {
            if (lines->input_over) lines->quit = true;
            return STATUS_OK;
        }
        size_t len = (size_t)(newline - lines->input.data);
        take_line(lines, lines->input.data, len);
        memmove(lines->input.data, newline + 1, lines->input.len - len - 1);
        lines->input.len -= len + 1;
        if (!chat_busy(&lines->chat) && !lines->quit) {
            int status = prompt(lines, err);
            if (status < 0) return status;
        }
    }
    return STATUS_OK;
}

static void read_input_bytes(struct lines *lines) {
    char *room = buf_reserve(&lines->input, 4096);
    ssize_t n = read(STDIN_FILENO, room, 4096);
    if (n > 0) lines->input.len += (size_t)n;
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) lines->input_over = true;
}

/* Ctrl-C stops an answer; with none it leaves. */
static void take_signals(struct lines *lines) {
    int number;
    while ((number = signals_next())) {
        if (number == SIGINT && chat_stop(&lines->chat)) {
            signals_forget_interrupt();
            continue;
        }
        lines->quit = true;
        lines->exit_code = signals_exit_code(number);
    }
}

static int turn(struct lines *lines, struct err *err) {
    struct chat *chat = &lines->chat;
    bool was_busy = chat_busy(chat), was_loading = chat->state == CHAT_LOADING;
    archive_pump(&lines->archive);
    if (lines->archive.notice.code) out_error("%s", lines->archive.notice.text);
    lines->archive.notice.code = STATUS_OK;
    chat_pump(chat);
    int status = STATUS_OK;
    if (chat->state == CHAT_FAILED && !chat_busy(chat)) {
        *err = chat->error;
        return err->code < 0 ? (int)err->code : STATUS_FAILED;
    }
    if (chat->has_notice) {
        out_error("%s", chat->notice.data);
        chat->has_notice = false;
        if (chat->state == CHAT_IDLE && !was_loading && !was_busy) status = prompt(lines, err);
    }
    if (was_busy || chat_busy(chat)) status = write_answer(lines, err);
    if (status == STATUS_OK && was_busy && !chat_busy(chat)) status = finish_answer(lines, err);
    if (status == STATUS_OK && was_loading && chat->state == CHAT_IDLE) status = prompt(lines, err);
    return status < 0 ? status : take_input(lines, err);
}

static int run(struct lines *lines, struct err *err) {
    while (!lines->quit) {
        int status = turn(lines, err);
        if (status < 0) return status;
        if (lines->quit) break;
        struct engine *engine = lines->chat.engine;
        struct engine *coming = lines->chat.coming;
        struct pollfd fds[] = {{.fd = engine->ops->wake_fd(engine), .events = POLLIN},
                               {.fd = signals_fd(), .events = POLLIN},
                               {.fd = lines->input_over ? -1 : STDIN_FILENO, .events = POLLIN},
                               {.fd = coming ? coming->ops->wake_fd(coming) : -1, .events = POLLIN},
                               {.fd = archive_wake_fd(&lines->archive), .events = POLLIN}};
        if (poll(fds, sizeof fds / sizeof *fds, -1) < 0 && errno != EINTR)
            return err_set(err, STATUS_FAILED, "cannot wait: %s", strerror(errno));
        if (fds[2].revents) read_input_bytes(lines);
        take_signals(lines);
    }
    return lines->exit_code;
}

/* What the options ask for. */
static void begin(struct lines *lines, const struct options *options) {
    struct err err = {0};
    enum archive_wish wish;
    int64_t id;
    int status = archive_wanted(&lines->archive, options, &wish, &id, &err);
    struct buf open = {0};
    buf_printf(&open, "/open %s", options->text.data ? options->text.data : "");
    if (status == STATUS_OK && wish == ARCHIVE_LIST) take_line(lines, open.data, open.len);
    buf_free(&open);
    if (status == STATUS_OK && wish == ARCHIVE_CHAT) status = open_chat(lines, id, options, &err);
    if (status < 0) out_error("%s", err.text);
}

int plain_lines(struct options *options, struct err *err) {
    struct lines lines = {.tells_done = options->accessible, .bell = options->bell == WHEN_ALWAYS};
    struct engine *engine = open_engine(options, err);
    if (!engine) return err->code;
    out_open(&lines.out, STDOUT_FILENO);
    chat_open(&lines.chat, engine, options);
    archive_open(&lines.archive, &lines.chat, options);
    begin(&lines, options);
    const char *first = options_first(options);
    if (first) chat_send(&lines.chat, first, strlen(first), NULL);
    out_error("a plain terminal: question and answer line by line; /help lists commands, Ctrl-D leaves");
    int status = run(&lines, err);
    if (status == STATUS_OK) out_end(&lines.out, NULL);
    struct err unsaved = {0};
    if (archive_close(&lines.archive, &unsaved) < 0) out_error("%s", unsaved.text);
    chat_close(&lines.chat);
    out_close(&lines.out);
    buf_free(&lines.input);
    /* A terminal that went away says so by a signal and by failing writes, in any order. */
    if (status < 0 && signals_ending()) return signals_exit_code(signals_ending());
    return status;
}
