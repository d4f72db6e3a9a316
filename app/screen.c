#include "app/screen.h"

#include "app/archive.h"
#include "app/branch_list.h"
#include "app/chat.h"
#include "app/chat_list.h"
#include "app/exporting.h"
#include "app/lookup.h"
#include "app/model_choice.h"
#include "app/model_menu.h"
#include "app/out.h"
#include "app/paths.h"
#include "app/scoring.h"
#include "app/signals.h"
#include "app/slash.h"
#include "app/transcript.h"
#include "app/view.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ui/ui.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOTICE_MS = 4000, DRAFT_MS = 500 };

struct later { /* an action that waits until the chat it is meant for is open */
    struct ui_action action;
    char *text; /* owned; action.text points to it */
};

struct screen {
    struct ui *ui;
    struct chat chat;
    struct inspect inspect;
    struct scoring score;
    struct branch_list branches;
    struct archive archive;
    struct err told;       /* of the archive: nothing is kept, or it was damaged; once more at the end */
    struct lookup *lookup; /* of kept chats; NULL: nothing is kept */
    struct chat_list chats;
    bool opening;                /* a chat is looked up, to be gone on with; it comes with these options: */
    const struct options *given; /* or NULL */
    struct later *later;         /* [n_later] what is to be done in it, */
    size_t n_later, cap_later;
    const char
        *first; /* after the first question, of the command line; NULL: it is asked, or there is none */
    struct model_menu models;
    struct exporting exporting;
    struct view view;
    struct buf hint;     /* what could be typed in the box */
    const char *file;    /* what is loaded, for the status line */
    bool returned_waits; /* chat.returned, for the box to be empty */
    bool typed;          /* since the box was last looked at for the draft */
    size_t waiting;      /* bytes of questions that waited or came back then */
    int64_t draft_due;
    int64_t escape_ns; /* when Esc was pressed last with nothing to end; 0: not */
    bool quit;
    int exit_code;
    struct err gone; /* why the screen had to be left; code 0: nothing went wrong */
};

static void leave(struct screen *screen, int exit_code) {
    screen->quit = true;
    screen->exit_code = exit_code;
}

/* ---- what the person wants ---- */

static void tell(struct screen *screen, const struct err *err) {
    ui_notice(screen->ui, NOTICE_MS, "%s", err->text);
}

/* Can kept chats be read? */
static bool can_look(const struct screen *screen, struct err *err) {
    if (!archive_store(&screen->chat, err)) return false;
    if (!screen->lookup) err_set(err, STATUS_FAILED, "the kept chats cannot be read in this run");
    return screen->lookup != NULL;
}

static void list_chats(struct screen *screen, const struct buf *words) {
    struct err err = {0};
    branch_list_close(&screen->branches);
    if (can_look(screen, &err))
        chat_list_open(&screen->chats, screen->lookup, words);
    else
        tell(screen, &err);
}

/* The keys go on meanwhile; what they ask for waits, but for what ends it. */
static void open_chat(struct screen *screen, int64_t id, const struct options *given) {
    struct err err = {0};
    bool busy = chat_busy(&screen->chat);
    if (busy) err_set(&err, STATUS_BUSY, "still answering; Esc stops it");
    if (busy || !can_look(screen, &err)) {
        tell(screen, &err);
        return;
    }
    lookup_chat(screen->lookup, id);
    screen->opening = true;
    screen->given = given; /* until then the header says so */
}

static void take_chat(struct screen *screen, struct lookup_answer *answer) {
    struct buf line = {0}, draft = {0};
    struct err err = answer->err;
    screen->opening = false;
    if (!err.code) archive_take(&screen->archive, &answer->chat, screen->given, &line, &draft, &err);
    if (err.code)
        tell(screen, &err);
    else
        ui_notice(screen->ui, NOTICE_MS, "%s", line.data);
    if (draft.len && ui_input_empty(screen->ui)) ui_input_set(screen->ui, draft.data, draft.len);
    ui_follow(screen->ui);
    buf_free(&line);
    buf_free(&draft);
}

/* What a command wants shown or taken. */
static void show(struct screen *screen, const struct slash_result *result) {
    const char *text = result->text.data ? result->text.data : "";
    size_t len = result->text.len;
    struct err err;
    switch (result->show) {
    case SLASH_SHOW_NONE: break;
    case SLASH_SHOW_COPY:
        if (ui_copy(screen->ui, text, len, &err) < 0)
            tell(screen, &err);
        else
            ui_notice(screen->ui, NOTICE_MS, "%zu bytes sent to the clipboard of your terminal", len);
        break;
    case SLASH_SHOW_PLAIN: ui_show_plain(screen->ui, text, len); break;
    case SLASH_SHOW_FIND: ui_find(screen->ui, text, len); break;
    case SLASH_SHOW_THEME: ui_theme_show(screen->ui); break;
    }
}

static int list_branches(struct screen *screen, struct err *err) {
    if (!screen->branches.open) return branch_list_open(&screen->branches, &screen->chat.conversation, err);
    branch_list_close(&screen->branches);
    return STATUS_OK;
}

/* What a command wants done beside the screen, or a list that may have no rows: at most one of them. */
static int begin_result(struct screen *screen, const struct slash_result *result, struct err *err) {
    const char *path = result->export_path.data ? result->export_path.data : "";
    if (result->export)
        return exporting_begin(&screen->exporting, &screen->chat, result->export_format, path, err);
    if (result->pull.len) return model_menu_pull(&screen->models, result->pull.data, err);
    if (result->list == SLASH_LIST_BRANCHES) return list_branches(screen, err);
    if (result->score.len)
        return scoring_begin(&screen->score, &screen->chat, result->score.data, result->score.len, err);
    return STATUS_OK;
}

static void show_tokens(struct screen *screen, struct slash_result *result) {
    ui_show_parts(screen->ui, result->title,
                  (struct ui_parts){token_page_next, token_page_free, result->tokens});
    result->tokens = NULL;
}

/* kept: what failed stays in the box, where it can be mended. */
static void run_slash(struct screen *screen, const char *text, size_t len, bool kept) {
    struct slash_result result = {0};
    struct err err = {0};
    int status = slash_run(&screen->chat, text, len, &result, &err);
    if (status == STATUS_OK) status = begin_result(screen, &result, &err);
    if (status < 0) {
        tell(screen, &err);
        if (kept) ui_input_set(screen->ui, text, len);
    }
    if (result.list == SLASH_LIST_MODELS) model_menu_open(&screen->models);
    if (*result.line) ui_notice(screen->ui, NOTICE_MS, "%s", result.line);
    if (result.open) open_chat(screen, result.open_id, NULL);
    if (result.list == SLASH_LIST_CHATS)
        list_chats(screen, &result.query);
    else if (result.tokens)
        show_tokens(screen, &result);
    else if (result.page.len && !result.list)
        ui_show_text(screen->ui, result.title, result.page.data, result.page.len);
    if (result.box.len) ui_input_set(screen->ui, result.box.data, result.box.len);
    show(screen, &result);
    if (result.quit) leave(screen, 0);
    slash_result_free(&result);
}

/* What cannot be sent now stays in the box. */
static void submit(struct screen *screen, const char *text, size_t len) {
    if (slash_is(text, len)) {
        run_slash(screen, text, len,
                  memchr(text, ' ', len)); /* a name alone is typed as fast as it is mended */
        return;
    }
    struct chat *chat = &screen->chat;
    struct err err = {0};
    size_t skip = len > 1 && text[0] == '/' && text[1] == '/';
    bool later = chat_busy(chat) && !chat->editing;
    if ((later ? chat_queue : chat_send)(chat, text + skip, len - skip, &err) < 0) {
        tell(screen, &err);
        ui_input_set(screen->ui, text, len);
        return;
    }
    ui_follow(screen->ui);
}

/* Tab behind a slash. */
static void complete(struct screen *screen, const char *text, size_t len) {
    struct buf line = {0}, choices = {0}; /* but for files they are shown already: hint_of() */
    if (!slash_complete_path(text, len, &line, &choices))
        slash_complete(text, len, &line, &choices);
    else if (choices.len && line.len == len)
        ui_notice(screen->ui, NOTICE_MS, "%s", choices.data);
    if (line.len > len) ui_input_set(screen->ui, line.data, line.len);
    buf_free(&line);
    buf_free(&choices);
}

/* Stop what runs: an answer, or loading. False if nothing does. */
static bool stop(struct screen *screen) {
    if (chat_stop(&screen->chat) || chat_model_cancel(&screen->chat)) return true;
    if (screen->chat.state != CHAT_LOADING) return false;
    leave(screen, signals_exit_code(SIGINT));
    return true;
}

/* What was put into the box to be edited goes; the message stays as it is. */
static bool stop_editing(struct screen *screen) {
    if (!screen->chat.editing) return false;
    screen->chat.editing = NULL;
    ui_input_clear(screen->ui, true);
    return true;
}

/* Ctrl-C: stop, else clear the box, else leave when pressed twice. */
static void interrupt(struct screen *screen) {
    if (stop(screen)) return;
    if (!ui_input_empty(screen->ui)) {
        ui_input_clear(screen->ui, true);
        screen->chat.editing = NULL;
    } else if (!model_menu_stop(&screen->models) && ui_interrupt_again(screen->ui))
        leave(screen, signals_exit_code(SIGINT));
}

/* The box holds what the template refused, changed or not. */
static int fold(struct screen *screen, const struct ui_action *action, struct err *err) {
    if (!screen->chat.wants_fold)
        return err_set(err, STATUS_USAGE,
                       "the template takes the system text as it is: there is nothing to fold");
    int status = chat_fold(&screen->chat, action->text, action->len, err);
    if (status < 0) return status;
    ui_input_clear(screen->ui, true);
    ui_follow(screen->ui);
    return STATUS_OK;
}

/* ---- the list of branches ---- */

static int go_to_branch(struct screen *screen, uint64_t id, struct err *err) {
    struct chat *chat = &screen->chat;
    struct said *said = conversation_find(&chat->conversation, id);
    int status = said ? chat_switch(chat, said, err) : STATUS_OK;
    if (status < 0) return status;
    branch_list_close(&screen->branches);
    if (!said) return STATUS_OK;
    size_t n = chat_uncached(chat);
    if (n) ui_notice(screen->ui, NOTICE_MS, "the next answer computes about %zu tokens anew", n);
    ui_follow(screen->ui);
    return STATUS_OK;
}

/* ---- lists: at most one is open ---- */

static const struct ui_picker *shown_list(const struct screen *screen) {
    if (screen->branches.open) return &screen->branches.picker;
    return screen->chats.open ? &screen->chats.picker : NULL;
}

static bool close_list(struct screen *screen) {
    bool any = shown_list(screen) != NULL;
    branch_list_close(&screen->branches);
    chat_list_close(&screen->chats);
    return any;
}

static int pick(struct screen *screen, uint64_t id, struct err *err) {
    if (chat_busy(&screen->chat)) /* the list stays, for when it ended */
        return err_set(err, STATUS_BUSY, "still answering; Esc closes the list, Esc again stops the answer");
    if (screen->branches.open) return go_to_branch(screen, id, err);
    close_list(screen);
    open_chat(screen, (int64_t)id, NULL);
    return STATUS_OK;
}

static int delete_chat(struct screen *screen, int64_t id, struct err *err) {
    struct buf line = {0};
    int status = chat_list_delete(&screen->chats, &screen->archive, id, &line, err);
    if (line.len) ui_notice(screen->ui, NOTICE_MS, "%s", line.data);
    buf_free(&line);
    return status;
}

/* ---- inspect mode ---- */

/* What came back unasked, once there is room for it. */
static void give_back(struct screen *screen) {
    struct buf *returned = &screen->chat.returned;
    bool waits = returned->len && !ui_input_empty(screen->ui);
    if (waits && !screen->returned_waits)
        ui_notice(screen->ui, NOTICE_MS, "what was not answered comes back when the box is empty");
    screen->returned_waits = waits;
    if (!returned->len || waits) return;
    ui_input_set(screen->ui, returned->data, returned->len);
    buf_clear(returned);
}

/* A question that waits goes back into the box. */
static bool take_back(struct screen *screen) {
    return chat_busy(&screen->chat) && chat_unqueue(&screen->chat);
}

/* Esc with nothing to end: twice in a row it goes back into what was said, token by token. */
static void escape_again(struct screen *screen) {
    enum { AGAIN_MS = 600 };
    int64_t now = clock_ns();
    bool again = screen->escape_ns && now - screen->escape_ns < AGAIN_MS * (int64_t)1000000;
    screen->escape_ns = again ? 0 : now;
    struct err err = {0};
    if (again && ui_input_empty(screen->ui) && inspect_enter(&screen->inspect, &err) < 0) tell(screen, &err);
}

/* Esc closes the first that there is. */
static void escape(struct screen *screen) {
    struct inspect *inspect = &screen->inspect;
    if (close_list(screen)) return;
    if (inspect_compared(inspect))
        inspect->compare = 0;
    else if (screen->score.open)
        scoring_close(&screen->score);
    else if (take_back(screen) || stop(screen))
        return;
    else if (inspect->on)
        inspect_leave(inspect);
    else if (!stop_editing(screen) && !model_menu_stop(&screen->models))
        escape_again(screen);
}

static int switch_inspect(struct screen *screen, struct err *err) {
    if (!screen->inspect.on) return inspect_enter(&screen->inspect, err);
    inspect_leave(&screen->inspect);
    return STATUS_OK;
}

/* What a person wants of the token under the cursor. What is to be edited goes into the box, outside of
 * inspect mode. */
static int act_on_token(struct screen *screen, const struct ui_action *action, struct err *err) {
    struct inspect *inspect = &screen->inspect;
    struct buf box = {0};
    int status = STATUS_OK;
    inspect_update(inspect); /* an action before this one may have changed the path */
    switch (action->type) {
    case UI_ACTION_TAKE: status = inspect_take(inspect, &box, err); break;
    case UI_ACTION_TYPED: status = inspect_typed(inspect, action->text, action->len, &box, err); break;
    case UI_ACTION_EDIT: status = inspect_edit(inspect, &box, err); break;
    case UI_ACTION_STEP: status = inspect_step(inspect, err); break;
    case UI_ACTION_CONTINUE: status = inspect_go_on(inspect, err); break;
    case UI_ACTION_REROLL: status = inspect_reroll(inspect, err); break;
    case UI_ACTION_SIBLING_BACK:
    case UI_ACTION_SIBLING_ON:
        status = inspect_sibling(inspect, action->type == UI_ACTION_SIBLING_ON, err);
        break;
    case UI_ACTION_COMPARE: status = inspect_compare(inspect, err); break;
    case UI_ACTION_POINT: inspect_point(inspect, action->id, action->offset); break;
    case UI_ACTION_CANDIDATE: inspect_select(inspect, action->id); break;
    default: inspect_move(inspect, action->type); break;
    }
    if (status == STATUS_OK && box.len) {
        inspect_leave(inspect);
        ui_input_set(screen->ui, box.data, box.len);
        ui_notice(screen->ui, NOTICE_MS, "edit it; Enter puts it on a branch of its own, Esc leaves it");
    }
    buf_free(&box);
    return status;
}

static int walk(struct screen *screen, int (*step)(struct chat *, struct err *), struct err *err) {
    int status = step(&screen->chat, err);
    size_t n = status < 0 ? 0 : chat_uncached(&screen->chat);
    if (n) ui_notice(screen->ui, NOTICE_MS, "the next answer computes about %zu tokens anew", n);
    return status;
}

static void act(struct screen *screen, const struct ui_action *action) {
    struct chat *chat = &screen->chat;
    struct err err = {0};
    int status = STATUS_OK;
    if (action->type == UI_ACTION_MODELS) close_list(screen); /* one at a time */
    if (model_menu_act(&screen->models, action)) return;
    switch (action->type) {
    case UI_ACTION_SUBMIT: submit(screen, action->text, action->len); break;
    case UI_ACTION_INTERRUPT: interrupt(screen); break;
    case UI_ACTION_ESCAPE: escape(screen); break;
    case UI_ACTION_BRANCHES: status = list_branches(screen, &err); break;
    case UI_ACTION_CHATS:
        if (!close_list(screen)) list_chats(screen, &(struct buf){0});
        break;
    case UI_ACTION_PICK: status = pick(screen, action->id, &err); break;
    case UI_ACTION_PICK_DELETE: status = delete_chat(screen, (int64_t)action->id, &err); break;
    case UI_ACTION_FILTER: chat_list_filter(&screen->chats, screen->lookup, action->text, action->len); break;
    case UI_ACTION_EOF:
        if (!chat_busy(chat)) leave(screen, 0);
        break;
    case UI_ACTION_SUSPEND: ui_suspend(screen->ui); break;
    case UI_ACTION_QUIT: leave(screen, 0); break;
    case UI_ACTION_NEW: status = chat_new(chat, &err); break;
    case UI_ACTION_REGENERATE: status = chat_regenerate(chat, &err); break;
    case UI_ACTION_CONTINUE:
        status = screen->inspect.on ? act_on_token(screen, action, &err) : chat_continue(chat, &err);
        break;
    case UI_ACTION_ANSWER_NOW: status = chat_answer_now(chat, &err); break;
    case UI_ACTION_UNDO: status = walk(screen, chat_undo, &err); break;
    case UI_ACTION_REDO: status = walk(screen, chat_redo, &err); break;
    case UI_ACTION_INSPECT: status = switch_inspect(screen, &err); break;
    case UI_ACTION_EXPORT: run_slash(screen, "/export jsonl", strlen("/export jsonl"), false); break;
    case UI_ACTION_POINT:
        if (!screen->inspect.on) status = inspect_enter(&screen->inspect, &err);
        if (status == STATUS_OK) status = act_on_token(screen, action, &err);
        break;
    case UI_ACTION_COPY: run_slash(screen, "/copy", 5, false); break;
    case UI_ACTION_COMPLETE: complete(screen, action->text, action->len); break;
    case UI_ACTION_FOLD: status = fold(screen, action, &err); break;
    default:
        if (screen->inspect.on) status = act_on_token(screen, action, &err);
        break;
    }
    if (status < 0) tell(screen, &err);
}

/* ---- what waits for a chat ---- */

static void expect_draft(struct screen *screen) {
    if (!screen->typed) screen->draft_due = clock_ns() + (int64_t)DRAFT_MS * 1000000;
    screen->typed = true;
}

static void ask_first(struct screen *screen) {
    const char *first = screen->first;
    screen->first = NULL;
    if (first) chat_send(&screen->chat, first, strlen(first), NULL);
    if (!first || !ui_input_empty(screen->ui)) return;
    ui_input_set(screen->ui, first, strlen(first)); /* Up brings it back, as what is typed */
    ui_input_clear(screen->ui, true);
}

static void do_later(struct screen *screen) {
    size_t done = 0;
    if (!screen->opening) ask_first(screen);
    for (; done < screen->n_later && !screen->opening && !screen->quit; done++) {
        act(screen, &screen->later[done].action);
        free(screen->later[done].text);
    }
    screen->n_later -= done;
    if (done) memmove(screen->later, screen->later + done, screen->n_later * sizeof *screen->later);
}

/* Nothing that was meant for that chat is done in another one; a question goes into the box. */
static void cancel_opening(struct screen *screen) {
    const char *question = screen->first;
    lookup_forget(screen->lookup, LOOKUP_CHAT);
    screen->opening = false;
    screen->first = NULL;
    for (size_t i = 0; i < screen->n_later && !question; i++)
        if (screen->later[i].action.type == UI_ACTION_SUBMIT) question = screen->later[i].text;
    if (question && ui_input_empty(screen->ui)) ui_input_set(screen->ui, question, strlen(question));
    for (size_t i = 0; i < screen->n_later; i++) free(screen->later[i].text);
    screen->n_later = 0;
    ui_notice(screen->ui, NOTICE_MS, "the chat was not opened");
}

static void act_or_wait(struct screen *screen, const struct ui_action *action) {
    enum ui_action_type type = action->type;
    bool ends = type == UI_ACTION_QUIT || type == UI_ACTION_EOF || type == UI_ACTION_SUSPEND;
    if (!screen->opening || ends) {
        act(screen, action);
    } else if (type == UI_ACTION_INTERRUPT || type == UI_ACTION_ESCAPE) {
        cancel_opening(screen);
    } else {
        grow_array(&screen->later, &screen->cap_later, screen->n_later + 1, sizeof *screen->later);
        struct later *later = &screen->later[screen->n_later++];
        *later = (struct later){*action, action->text ? xmalloc(action->len + 1) : NULL};
        if (!later->text) return;
        memcpy(later->text, action->text, action->len);
        later->text[action->len] = 0;
        later->action.text = later->text;
    }
}

/* Of the box, where there is room for it; else the next start finds it. */
static void take_draft(struct screen *screen, const struct lookup_answer *answer) {
    if (!answer->draft || !ui_input_empty(screen->ui)) return;
    ui_input_set(screen->ui, answer->draft, strlen(answer->draft));
    store_forget_draft(screen->archive.store, answer->draft_id);
    expect_draft(screen);
}

static void take_list(struct screen *screen, const struct lookup_answer *answer) {
    struct err err = {0};
    bool first = !screen->chats.picker.rows;
    if (!screen->chats.open || chat_list_found(&screen->chats, &screen->archive, answer, &err) == STATUS_OK)
        return;
    tell(screen, &err);
    if (first) chat_list_close(&screen->chats);
}

static void take_answers(struct screen *screen) {
    struct lookup_answer *answer;
    while ((answer = lookup_take(screen->lookup))) {
        switch (answer->kind) {
        case LOOKUP_LIST: take_list(screen, answer); break;
        case LOOKUP_CHAT:
            take_chat(screen, answer);
            do_later(screen);
            break;
        case LOOKUP_DRAFT: take_draft(screen, answer); break;
        case LOOKUP_KIND_COUNT: break;
        }
        lookup_answer_free(answer);
    }
}

static void take_export(struct screen *screen) {
    struct buf line = {0};
    struct err err = {0};
    if (exporting_done(&screen->exporting, &line, &err))
        ui_notice(screen->ui, NOTICE_MS, "%s", err.code ? err.text : line.data);
    buf_free(&line);
}

/* ---- the loop ---- */

static void take_signals(struct screen *screen) {
    int number;
    while ((number = signals_next())) {
        switch (number) {
        case SIGWINCH: ui_resized(screen->ui); break;
        case SIGTSTP: ui_suspend(screen->ui); break;
        case SIGCONT: ui_resumed(screen->ui); break;
        case SIGINT: /* the keyboard's Ctrl-C is a key here: this one was sent by somebody */
            if (!stop(screen)) leave(screen, signals_exit_code(SIGINT));
            break;
        default: leave(screen, signals_exit_code(number)); break;
        }
    }
}

static void take_events(struct screen *screen) {
    struct chat *chat = &screen->chat;
    struct archive *archive = &screen->archive;
    archive_pump(archive);
    if (archive->notice.code) {
        tell(screen, &archive->notice);
        if (!archive->failing.code) screen->told = archive->notice;
    }
    archive->notice.code = STATUS_OK;
    bool was_busy = chat_busy(chat);
    if (!chat_pump(chat)) return;
    if (was_busy && !chat_busy(chat)) ui_bell(screen->ui);
    if (chat->has_notice) ui_notice(screen->ui, NOTICE_MS, "%s", chat->notice.data);
    chat->has_notice = false;
    /* A model that never came leaves nothing to look at. One that was lost leaves the conversation. */
    if (chat->state == CHAT_FAILED && !chat->conversation.n && ui_input_empty(screen->ui)) {
        screen->gone = chat->error;
        leave(screen, status_exit_code(chat->error.code));
    }
}

/* The box has the beginning of a command: how it could go on. */
static const char *hint_of(struct screen *screen) {
    struct buf box = {0};
    buf_clear(&screen->hint);
    if (ui_input_begins(screen->ui, '/')) ui_input_text(screen->ui, &box);
    slash_hint(&screen->chat, box.data, box.len, &screen->hint);
    buf_free(&box);
    return screen->hint.len ? screen->hint.data : NULL;
}

/* What was not sent yet, half a second after a key and at the end: questions that came back or wait for the
 * model, and the box. A command is no draft. */
static void keep_draft(struct screen *screen) {
    const struct buf *waiting = &screen->chat.waiting, *returned = &screen->chat.returned;
    if (waiting->len + returned->len != screen->waiting) expect_draft(screen);
    screen->waiting = waiting->len + returned->len;
    if (!screen->quit && (screen->opening || !screen->typed || clock_ns() < screen->draft_due)) return;
    struct buf box = {0}, text = {0};
    ui_input_text(screen->ui, &box);
    buf_append(&text, returned->data, returned->len);
    if (text.len && waiting->len) buf_putc(&text, '\n');
    buf_append(&text, waiting->data, waiting->len);
    if (box.len && box.data[0] != '/') {
        if (text.len) buf_putc(&text, '\n');
        buf_append(&text, box.data, box.len);
    }
    if (!box.len || box.data[0] != '/') archive_draft(&screen->archive, text.data, text.len);
    buf_free(&box);
    buf_free(&text);
    screen->typed = false;
}

static int sooner(int a, int b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static int timeout_ms(const struct screen *screen) {
    int ms = sooner(ui_timeout_ms(screen->ui), exporting_timeout_ms(&screen->exporting));
    if (!screen->typed || screen->opening) return ms;
    int64_t left = (screen->draft_due - clock_ns()) / 1000000 + 1;
    return sooner(ms, left > 0 ? (int)left : 0);
}

/* What the header warns of. */
static const char *mark_of(const struct screen *screen) {
    const char *mark = screen->opening ? "opening a chat" : exporting_mark(&screen->exporting);
    return mark ? mark : archive_mark(&screen->archive);
}

static bool step(void *context) {
    struct screen *screen = context;
    struct engine *engine = screen->chat.engine;
    enum { ENGINE = UI_FDS, SIGNALS, ARCHIVE, LOOKUP, EXPORT, MODELS, N_FDS = MODELS + MODEL_MENU_FDS };
    struct pollfd fds[N_FDS];
    struct err err = {0};
    struct ui_action action;
    ui_poll_fds(screen->ui, fds);
    fds[ENGINE] = (struct pollfd){.fd = engine->ops->wake_fd(engine), .events = POLLIN};
    fds[SIGNALS] = (struct pollfd){.fd = signals_fd(), .events = POLLIN};
    fds[ARCHIVE] = (struct pollfd){.fd = archive_wake_fd(&screen->archive), .events = POLLIN};
    fds[LOOKUP] = (struct pollfd){.fd = lookup_wake_fd(screen->lookup), .events = POLLIN};
    fds[EXPORT] = (struct pollfd){.fd = export_wake_fd(screen->exporting.export), .events = POLLIN};
    model_menu_fds(&screen->models, fds + MODELS);
    if (poll(fds, N_FDS, timeout_ms(screen)) < 0) {
        for (int i = 0; i < N_FDS; i++) fds[i].revents = 0;
        if (errno != EINTR) leave(screen, 1);
    }
    take_signals(screen);
    if (fds[0].revents) expect_draft(screen);
    if (!screen->quit && ui_input(screen->ui, fds, &err) < 0) leave(screen, signals_exit_code(SIGHUP));
    while (!screen->quit && ui_next_action(screen->ui, &action)) act_or_wait(screen, &action);
    model_menu_pump(&screen->models);
    take_events(screen);
    take_answers(screen);
    take_export(screen);
    give_back(screen);
    keep_draft(screen);
    if (screen->quit) return false;
    inspect_update(&screen->inspect);
    if (screen->inspect.on && screen->inspect.has_failed) tell(screen, &screen->inspect.failed);
    screen->inspect.has_failed = false;
    view_fill(&screen->view, &screen->chat, &screen->inspect, screen->file);
    screen->view.model.status.mark = mark_of(screen);
    screen->view.model.picker = shown_list(screen);
    model_menu_view(&screen->models, &screen->view.model);
    screen->view.model.commands = hint_of(screen);
    screen->view.model.score = screen->view.model.compare ? NULL : scoring_view(&screen->score);
    ui_draw(screen->ui, &screen->view.model);
    return true;
}

/* ---- before and after ---- */

/* What was being written is finished: a person who leaves has asked for both. */
static void finish_export(struct screen *screen) {
    enum { SOON_MS = 200 };
    const struct export *export = screen->exporting.export;
    struct pollfd fd = {.fd = export_wake_fd(export), .events = POLLIN};
    struct buf line = {0};
    struct err err = {0};
    if (export && poll(&fd, 1, SOON_MS) == 0)
        out_error("%s is still being written; Ctrl-C gives it up", export_path(export));
    if (exporting_finish(&screen->exporting, &line, &err)) out_error("%s", err.code ? err.text : line.data);
    buf_free(&line);
}

/* The first one; they are all on standard error, which stands on the terminal behind the screen. */
static void tell_problems(struct ui *ui, const struct buf *problems) {
    size_t first = strcspn(problems->data, "\n"), more = 0;
    for (size_t at = first + 1; at < problems->len; at++) more += problems->data[at] == '\n';
    if (more)
        ui_notice(ui, 2 * NOTICE_MS, "%.*s (and %zu more, told again when you leave)", (int)first,
                  problems->data, more);
    else
        ui_notice(ui, 2 * NOTICE_MS, "%.*s", (int)first, problems->data);
}

static int open_screen(struct screen *screen, const struct options *options, struct err *err) {
    static const enum ui_colour colours[] = {
        [WHEN_AUTO] = UI_COLOUR_AUTO, [WHEN_ALWAYS] = UI_COLOUR_ALWAYS, [WHEN_NEVER] = UI_COLOUR_NEVER};
    static const enum ui_bell bells[] = {
        [WHEN_AUTO] = UI_BELL_AUTO, [WHEN_ALWAYS] = UI_BELL_ALWAYS, [WHEN_NEVER] = UI_BELL_NEVER};
    struct err no_history = {0};
    char *history = options->incognito ? NULL : path_state("history", &no_history);
    struct ui_options ui = {.in_fd = STDIN_FILENO,
                            .out_fd = STDOUT_FILENO,
                            .colour = colours[options->colour],
                            .bell = bells[options->bell],
                            .mouse = options->mouse,
                            .history_path = history,
                            .keep_stderr = !isatty(STDERR_FILENO)};
    int status = ui_open(&screen->ui, &ui, err);
    if (status == STATUS_OK && no_history.code)
        ui_notice(screen->ui, NOTICE_MS, "no history: %s", no_history.text);
    if (status == STATUS_OK && options->config_problems.len)
        tell_problems(screen->ui, &options->config_problems);
    free(history);
    return status;
}

/* A file that is not there is told before the screen changes. */
static int check_model(struct options *options, const char **file, struct err *err) {
    *file = options->script;
    if (options->script) return STATUS_OK;
    int status = options_model(options, file, err);
    if (status == STATUS_OK && access(*file, R_OK))
        return err_set(err, STATUS_MODEL, "%s: %s", *file, strerror(errno));
    return status;
}

/* What the options ask for, or what was left in the box. */
static void begin(struct screen *screen, const struct options *options) {
    struct err err = {0};
    enum archive_wish wish;
    int64_t id;
    if (screen->archive.store && !(screen->lookup = lookup_open(screen->archive.store, &err)))
        tell(screen, &err);
    else if (archive_wanted(&screen->archive, options, &wish, &id, &err) < 0)
        tell(screen, &err);
    else if (wish == ARCHIVE_LIST)
        list_chats(screen, &options->text);
    else if (wish == ARCHIVE_CHAT)
        open_chat(screen, id, options);
    else if (screen->lookup)
        lookup_draft(screen->lookup);
    screen->first = options_first(options);
    do_later(screen);
}

int screen_chat(struct options *options, struct err *err) {
    struct screen screen = {0};
    const char *file;
    int status = check_model(options, &file, err);
    if (status < 0) return status;
    screen.file = path_name(file);
    if ((status = open_screen(&screen, options, err)) < 0) return status;
    xmalloc_last_words = ui_emergency_restore;
    signals_add_screen();
    ui_resized(screen.ui); /* in the moment before */
    struct engine *engine = open_engine(options, err);
    if (!engine) {
        ui_close(screen.ui);
        return err->code;
    }
    chat_open(&screen.chat, engine, options);
    inspect_open(&screen.inspect, &screen.chat);
    archive_open(&screen.archive, &screen.chat, options);
    screen.models = (struct model_menu){.ui = screen.ui, .chat = &screen.chat};
    begin(&screen, options);
    ui_run(screen.ui, step, &screen);
    xmalloc_last_words = NULL;
    ui_close(screen.ui);
    model_menu_close(&screen.models);
    transcript_print(&screen.chat);
    finish_export(&screen);
    branch_list_free(&screen.branches);
    lookup_close(screen.lookup);
    for (size_t i = 0; i < screen.n_later; i++) free(screen.later[i].text);
    free(screen.later);
    struct err unsaved = {0};
    if (screen.told.code) out_error("%s", screen.told.text);
    if (archive_close(&screen.archive, &unsaved) < 0) out_error("%s", unsaved.text);
    chat_list_free(&screen.chats);
    view_free(&screen.view);
    buf_free(&screen.hint);
    inspect_close(&screen.inspect);
    scoring_free(&screen.score);
    chat_close(&screen.chat);
    if (screen.gone.code) *err = screen.gone;
    return screen.gone.code ? (int)screen.gone.code : screen.exit_code;
}
