#include "app/plain.h"

#include "app/model_choice.h"
#include "app/archive.h"
#include "app/chat_internal.h"
#include "app/out.h"
#include "app/record_json.h"
#include "app/signals.h"
#include "app/vocabulary.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One answer under way. */
struct answer {
    struct options *options;
    struct engine *engine;
    struct out out;
    struct buf text;  /* what is asked */
    struct chat chat; /* --save, --resume, --continue: the same as a chat that is kept, */
    struct archive archive;
    bool opened;        /* both are */
    struct said *words; /* the answer in it; NULL: it is not kept */
    struct buf said;    /* --json: the answer */
    json_t *tokens;     /* --json: its records */
    bool running;       /* a request was taken */
    bool over;          /* nothing more to wait for */
    bool progress;      /* a line of progress is on standard error */
    int exit_code;
};

enum { REQUEST = 1 };

static bool resumes(const struct options *options) {
    return options->resume || options->resume_newest;
}

/* ---- what is asked ---- */

static void cut_newlines(struct buf *text) {
    while (text->len && (text->data[text->len - 1] == '\n' || text->data[text->len - 1] == '\r'))
        text->data[--text->len] = '\0';
}

/* Standard input first, then the text. Without a template bytes are taken as they are. */
static int gather(struct answer *answer, struct err *err) {
    const struct options *options = answer->options;
    const char *given = options->prompt ? options->prompt : options->text.data;
    if (options->resume && !*options->resume)
        return err_set(
            err, STATUS_USAGE,
            "--resume: found no number, expected one, or last: without a terminal there is no list");
    bool from_terminal = isatty(STDIN_FILENO);
    if (!from_terminal || !given) {
        if (from_terminal)
            out_error("reading the question from the terminal; Ctrl-D on an empty line ends it");
        int status = read_all_bytes(STDIN_FILENO, "standard input", &answer->text, err);
        if (status < 0) return status;
    }
    if (!options->raw) cut_newlines(&answer->text);
    if (given && *given) {
        if (answer->text.len && !options->raw) buf_puts(&answer->text, "\n\n");
        buf_puts(&answer->text, given);
    }
    if (!answer->text.len)
        return err_set(err, STATUS_USAGE,
                       "nothing to answer: found no text on standard input and none with -p");
    return STATUS_OK;
}

/* The kept chat that the options ask for. */
static int resume(struct answer *answer, struct err *err) {
    struct archive *archive = &answer->archive;
    struct buf line = {0}, draft = {0};
    enum archive_wish wish;
    int64_t id;
    if (archive->off.code) {
        archive->notice.code = STATUS_OK; /* that is the failure itself */
        return err_set(err, STATUS_FAILED, "%s", archive->off.text);
    }
    int status = archive_wanted(archive, answer->options, &wish, &id, err);
    if (status == STATUS_OK) status = archive_resume(archive, id, answer->options, &line, &draft, err);
    buf_free(&line);
    buf_free(&draft); /* it stays where it is */
    return status;
}

/* The question in the chat that it is kept in: a new one, or one that goes on. */
static int put_question(struct answer *answer, struct err *err) {
    struct chat *chat = &answer->chat;
    chat_open(chat, answer->engine, answer->options);
    chat->info = answer->engine->ops->info(answer->engine);
    chat->conversation.vocabulary = vocabulary_fingerprint(answer->engine);
    archive_open(&answer->archive, chat, answer->options);
    archive_wait(&answer->archive);
    answer->opened = true;
    int status = resumes(answer->options) ? resume(answer, err) : STATUS_OK;
    if (status < 0) return status;
    if (!chat->began) chat->began = time(NULL);
    conversation_add(&chat->conversation, SAID_BY_USER, answer->text.data, answer->text.len);
    answer->words = conversation_add(&chat->conversation, SAID_BY_MODEL, "", 0);
    return STATUS_OK;
}

/* A question that got no word is asked again, and not kept. */
static void close_chat(struct answer *answer) {
    struct err err = {0};
    if (!answer->opened) return;
    if (answer->words && answer->words->n_tokens) chat_change_done(&answer->chat);
    if (answer->archive.notice.code) out_error("%s", answer->archive.notice.text);
    if (archive_close(&answer->archive, &err) < 0) out_error("%s", err.text);
    answer->chat.engine = NULL; /* closed below */
    chat_close(&answer->chat);
}

static const struct settings *settings_of(const struct answer *answer) {
    return answer->words ? &answer->chat.settings : &answer->options->settings;
}

static int submit(struct answer *answer, struct err *err) {
    const struct options *options = answer->options;
    const struct chat *chat = &answer->chat;
    bool kept = options->save || resumes(options);
    if (kept && put_question(answer, err) < 0) return err->code;
    const struct settings *settings = settings_of(answer);
    const struct buf *variables = kept ? &chat->variables : &options->template_variables;
    struct message messages[2] = {
        {.role = "system", .text = options->system, .len = options->system ? strlen(options->system) : 0},
        {.role = "user", .text = answer->text.data, .len = answer->text.len}};
    struct engine_request request = {.id = REQUEST,
                                     .messages = options->system ? messages : messages + 1,
                                     .n_messages = options->system ? 2 : 1,
                                     .sampling = settings->sampling,
                                     .fold_system = kept ? chat->fold : options->fold_system,
                                     .template_variables = variables->len ? variables->data : NULL,
                                     .began = kept ? chat->began : 0,
                                     .top_k = settings->top,
                                     .n_predict = settings->n_predict};
    struct message *all = kept ? conversation_messages(&chat->conversation, &request.n_messages) : NULL;
    if (kept) {
        request.messages = all;
        request.n_messages--; /* the empty answer */
    } else if (options->raw) {
        request.messages = NULL;
        request.n_messages = 0;
        request.raw = answer->text.data;
        request.raw_len = answer->text.len;
    }
    int status = answer->engine->ops->submit(answer->engine, &request, err);
    free(all);
    if (status == STATUS_OK) answer->running = true;
    return status;
}

/* ---- what comes out ---- */

/* A line that is written over and over, for people who wait at a terminal. */
static void show_progress(struct answer *answer, const char *what, uint64_t done, uint64_t total) {
    if (!total || !isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r%s %u %%  ", what, (unsigned)(done * 100 / total));
    answer->progress = true;
}

static void clear_progress(struct answer *answer) {
    if (answer->progress) fprintf(stderr, "\r%*s\r", 40, "");
    answer->progress = false;
}

/* A device that was lost is always told. That there never was one, like progress, is for people. */
static void show_notice(struct answer *answer, const struct engine_event *event) {
    clear_progress(answer);
    if (event->request || isatty(STDERR_FILENO)) out_error("%s", event->error.text);
}

static int write_json(struct answer *answer, json_t *value, struct err *err) {
    char *line = json_line(value, answer->out.terminal);
    int status = out_bytes(&answer->out, line, strlen(line), err);
    free(line);
    json_decref(value);
    return status;
}

static int on_token(struct answer *answer, const struct token_record *record, struct err *err) {
    const struct options *options = answer->options;
    clear_progress(answer);
    if (answer->words) said_append(answer->words, answer->engine, record);
    if (options->jsonl) return write_json(answer, record_json(answer->engine, record), err);
    if (options->json) json_array_append_new(answer->tokens, record_json(answer->engine, record));
    if (record->end) return STATUS_OK;
    size_t len;
    const char *text = record_text(answer->engine, record, &len);
    if (!options->json) return out_text(&answer->out, text, len, err);
    buf_append(&answer->said, text, len);
    return STATUS_OK;
}

static void print_stats(const struct answer *answer, const struct engine_stats *stats) {
    if (!isatty(STDERR_FILENO) || answer->options->json || answer->options->jsonl) return;
    fprintf(stderr, "%u tokens, %.1f tok/s; prompt %u (%u cached)\n", stats->tokens, stats_decode_tps(stats),
            stats->prompt_tokens, stats->cached_tokens);
}

/* Why there is no answer, and what may help. What a template refuses is no wrong usage of the program. */
static struct err failure_of(const struct answer *answer, const struct engine_event *event) {
    struct err err = event->error;
    if (event->done.reason == ENGINE_CONTEXT_FULL) err.code = STATUS_CONTEXT_FULL;
    if (err.code == STATUS_USAGE && !answer->options->raw) err.code = STATUS_FAILED;
    if (event->done.wants_fold)
        err_set(&err, STATUS_FAILED, "%s; --fold-system puts the system text into the first message",
                event->error.text);
    if (err.code >= 0) err_set(&err, STATUS_FAILED, "the engine failed without a word");
    return err;
}

static int on_done(struct answer *answer, const struct engine_event *event, struct err *err) {
    const struct options *options = answer->options;
    enum engine_reason reason = event->done.reason;
    bool failed = reason == ENGINE_ERROR || reason == ENGINE_CONTEXT_FULL;
    struct err failure = {0};
    if (failed) failure = failure_of(answer, event);
    answer->over = true;
    if (answer->words) said_write_note(answer->words, event->done.stats.tokens, event);
    clear_progress(answer);
    int status = STATUS_OK;
    if (options->json || options->jsonl) {
        json_t *line = done_json(reason, &event->done.stats, settings_of(answer)->sampling.seed,
                                 failed ? failure.text : NULL);
        if (options->json) {
            json_t *whole = json_object();
            json_object_set_new(whole, "text", json_lossy(answer->said.data, answer->said.len));
            json_object_set_new(whole, "bytes", json_byte_array(answer->said.data, answer->said.len));
            json_object_set(whole, "tokens", answer->tokens);
            json_object_update(whole, line);
            json_decref(line);
            line = whole;
        }
        status = write_json(answer, line, err);
    } else {
        status = out_end(&answer->out, err);
    }
    if (status < 0) return status;
    print_stats(answer, &event->done.stats);
    if (reason == ENGINE_STOPPED) answer->exit_code = signals_exit_code(signals_ending());
    if (!failed) return STATUS_OK;
    *err = failure;
    return err->code;
}

static int on_event(struct answer *answer, const struct engine_event *event, struct err *err) {
    switch (event->type) {
    case ENGINE_LOADING:
        show_progress(answer, "loading", event->progress.done, event->progress.total);
        return STATUS_OK;
    case ENGINE_PREFILL:
        show_progress(answer, "reading", event->progress.done, event->progress.total);
        return STATUS_OK;
    case ENGINE_NOTICE: show_notice(answer, event); return STATUS_OK;
    case ENGINE_READY:
        clear_progress(answer);
        if (answer->running) return STATUS_OK; /* on another device, in the middle of the answer */
        if (answer->options->chosen_model && !answer->options->incognito)
            model_note_used(answer->options->chosen_model);
        return submit(answer, err);
    case ENGINE_FAILED:
        clear_progress(answer);
        *err = event->error;
        return err->code < 0 ? (int)err->code : err_set(err, STATUS_MODEL, "the model could not be loaded");
    case ENGINE_TOKEN: return on_token(answer, &event->token, err);
    case ENGINE_PROMPT:
    case ENGINE_STAGES: return STATUS_OK;
    case ENGINE_DONE: return on_done(answer, event, err);
    }
    return STATUS_OK;
}

/* ---- the loop ---- */

static int take_events(struct answer *answer, struct err *err) {
    static struct engine_event event; /* too large for the stack to be pleasant */
    while (!answer->over && answer->engine->ops->next(answer->engine, &event)) {
        int status = on_event(answer, &event, err);
        if (status < 0) return status;
    }
    return STATUS_OK;
}

/* A first signal stops the answer, and what was said comes out; a second one does not wait for that. */
static int take_signals(struct answer *answer, unsigned *n_signals, struct err *err) {
    while (signals_next()) {
        if (!answer->running || ++*n_signals > 1) return err_set(err, STATUS_STOPPED, "stopped");
        answer->engine->ops->stop(answer->engine, REQUEST);
    }
    return STATUS_OK;
}

static int wait_for_answer(struct answer *answer, struct err *err) {
    unsigned n_signals = 0;
    for (;;) {
        int status = take_events(answer, err);
        if (status < 0 || answer->over) return status;
        struct pollfd fds[2] = {{.fd = answer->engine->ops->wake_fd(answer->engine), .events = POLLIN},
                                {.fd = signals_fd(), .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return err_set(err, STATUS_FAILED, "cannot wait: %s", strerror(errno));
        if ((status = take_signals(answer, &n_signals, err)) < 0) return status;
    }
}

/* Signals and a reader that went away have exit codes of their own and need no words. */
static int quiet_exit_code(const struct answer *answer, int status) {
    if (signals_ending() && (status < 0 || answer->exit_code)) return signals_exit_code(signals_ending());
    if (status < 0 && answer->out.reader_gone) return signals_exit_code(SIGPIPE);
    return status < 0 ? status : answer->exit_code;
}

int plain_answer(struct options *options, struct err *err) {
    struct answer answer = {.options = options};
    if (!(answer.engine = open_engine(options, err))) return err->code;
    out_open(&answer.out, STDOUT_FILENO);
    if (options->json) answer.tokens = json_array();
    int status = gather(&answer, err);
    if (status == STATUS_OK) status = wait_for_answer(&answer, err);
    int exit_code = quiet_exit_code(&answer, status);
    clear_progress(&answer);
    close_chat(&answer);
    answer.engine->ops->close(answer.engine);
    out_close(&answer.out);
    buf_free(&answer.text);
    buf_free(&answer.said);
    json_decref(answer.tokens);
    return exit_code;
}
